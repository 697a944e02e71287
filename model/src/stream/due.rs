//! Records that wait in their stream for a time, to be published again then.
//!
//! A publisher asks for it by [`Due`], beside the record. At its time the shard begins a move ([`DueMove`], S6): once, then the record leaves
//! its stream; or again and again, then it stays. A record counts only as long as it is the last one of its subject. How what is published
//! looks is for the dialect's words in the record to say.

use crate::id::{NamespaceId, QueueId};
use crate::repeat::{Moment, Repeat};
use crate::stream::records::{RecordAt, Ttl};
use bytes::Bytes;

/// What its publisher asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub when: When,
    /// To which subject: one that the stream captures, and not the record's own.
    pub subject: Bytes,
    /// What.
    pub how: How,
}

/// When a record is published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Once, ms since the Unix epoch; a time that is past is now.
    At(u64),
    /// Again and again, for the first time behind that at which the record comes.
    Each(Repeat),
}

/// What is published of a record. By default it is what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// The last record of this subject in its place, if there is one. The stream captures it; it is neither the record's own nor where it
    /// goes.
    pub sample: Option<Bytes>,
    /// With this time to live.
    pub ttl: Ttl,
    /// Others of the subject that it goes to make room for it.
    pub rollup: bool,
}

/// Records on their way out of a stream, since their time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMove {
    /// Of which partition they are records.
    pub partition: QueueId,
    /// Where its stream lives.
    pub namespace: NamespaceId,
    /// The records.
    pub records: Vec<DueRecord>,
}

/// One record of a [`DueMove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueRecord {
    /// That which waited.
    pub record: RecordAt,
    /// That which is published in its place.
    pub sample: Option<RecordAt>,
    /// When it is published again; `None`: it has left the stream.
    pub next: Option<Moment>,
    /// See [`How::ttl`].
    pub ttl: Ttl,
    /// See [`How::rollup`].
    pub rollup: bool,
}

impl DueMove {
    /// All records that it needs the bytes of: each that waited, and behind it that which is published in its place.
    pub fn places(&self) -> impl Iterator<Item = &RecordAt> {
        self.records.iter().flat_map(|of| [Some(&of.record), of.sample.as_ref()]).flatten()
    }
}
