//! One record of a publish, as a hub brings it. Used by the test programs beside this folder.

use std::ops::Range;
use stele_model::publish::Publish;

/// Persistent, awaited, to no exchange and without a key.
pub(crate) fn item(record: Range<u32>) -> Publish {
    Publish {
        record,
        exchange: 0..0,
        key: 0..0,
        extra_keys: 0..0,
        lane: 1,
        mandatory: false,
        awaited: true,
        persistent: true,
    }
}
