//! What an account uses and may use.

use super::streams::{all, states};
use super::{Call, Step, Stepped};
use crate::jet::reply::{Account, ApiCounts};
use crate::jet::stream::Storage;
use stele_model::op::{Op, StreamsWanted};

pub(super) fn info(call: &Call<'_>) -> Stepped {
    let Some(streams) = call.answer(0) else {
        return Ok(Step::Ask(vec![Op::Streams(StreamsWanted::All)]));
    };
    let streams = all(streams)?;
    let states = match states(call, &streams, 1) {
        Ok(states) => states,
        Err(ask) => return Ok(ask),
    };
    let mut account = Account {
        memory: 0,
        storage: 0,
        reserved_memory: 0,
        reserved_storage: 0,
        streams: streams.len() as u64,
        consumers: 0,
        limits: call.limits.shown(),
        api: ApiCounts::new(call.counts.total, call.counts.errors),
    };
    for ((_, config), state) in streams.iter().zip(states) {
        let reserved = u64::try_from(config.max_bytes).unwrap_or(0);
        let bytes = state.map_or(0, |state| state.bytes);
        account.consumers += state.map_or(0, |state| u64::from(state.groups));
        match config.storage {
            Storage::File => {
                account.storage += bytes;
                account.reserved_storage += reserved;
            }
            Storage::Memory => {
                account.memory += bytes;
                account.reserved_memory += reserved;
            }
        }
    }
    call.done(account)
}
