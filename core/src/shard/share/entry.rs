//! The bytes of entries about shared groups.
//!
//! Called by their verbs (writing) and through [`super::super::entry`] (reading). The layout is a document first: `docs/format-entries.md`.
//! What must hold: readable for one replay window (S35); reading borrows, is bounded, and never panics.

use super::spec;
use crate::shard::bytes::{Input, Runs, put_runs, put_text};
use crate::shard::entry::begin;
use crate::share::ShareNumber;
use bytes::BufMut;
use stele_model::id::{Now, Position, QueueId};
use stele_model::settle::Run;
use stele_model::share::{Reached, ShareSettings};

/// The first and the last kind of entry about shared groups.
pub(in crate::shard) const FIRST_KIND: u8 = 40;
/// See [`FIRST_KIND`].
pub(in crate::shard) const LAST_KIND: u8 = 45;

mod kind {
    pub(super) const PUT: u8 = 40;
    pub(super) const GONE: u8 = 41;
    pub(super) const DELIVERED: u8 = 42;
    pub(super) const PASSED: u8 = 43;
    pub(super) const ENDED: u8 = 44;
    pub(super) const RESTS: u8 = 45;
}

/// One entry about shared groups, borrowed from the log.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::shard) enum ShareEntry<'a> {
    Put(Box<Put>),
    Gone { number: ShareNumber },
    Delivered { number: ShareNumber, runs: Runs<'a> },
    Passed { number: ShareNumber, reached: Reached },
    Ended { number: ShareNumber, how: Ended, runs: Runs<'a> },
    Rests { number: ShareNumber, until: Option<Now>, runs: Runs<'a> },
}

/// The group is there, like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Put {
    pub(super) number: ShareNumber,
    pub(super) partition: QueueId,
    pub(super) name: String,
    pub(super) created: Now,
    /// Where it begins; of a group that is there it means nothing.
    pub(super) next: Position,
    pub(super) settings: ShareSettings,
}

/// How deliveries of a shared group have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Ended {
    /// Done.
    Accepted,
    /// Not wanted any more.
    Terminated,
    /// Delivered as often as may be.
    GivenUp,
    /// The record is not there any more.
    Lost,
}

pub(super) fn put_put(out: &mut Vec<u8>, of: &Put) {
    begin(out, kind::PUT, 0);
    out.put_u64_le(of.number.0);
    out.put_u64_le(of.partition.0);
    put_text(out, &of.name);
    out.put_u64_le(of.created.0);
    out.put_u64_le(of.next.0);
    spec::put(out, &of.settings);
}

pub(super) fn put_gone(out: &mut Vec<u8>, number: ShareNumber) {
    begin(out, kind::GONE, 0);
    out.put_u64_le(number.0);
}

pub(super) fn put_delivered(out: &mut Vec<u8>, number: ShareNumber, runs: &[Run]) {
    begin(out, kind::DELIVERED, 0);
    out.put_u64_le(number.0);
    put_runs(out, runs);
}

pub(super) fn put_passed(out: &mut Vec<u8>, number: ShareNumber, reached: Reached) {
    begin(out, kind::PASSED, 0);
    out.put_u64_le(number.0);
    out.put_u64_le(reached.sequence);
    out.put_u64_le(reached.next.0);
}

pub(super) fn put_ended(out: &mut Vec<u8>, number: ShareNumber, how: Ended, runs: &[Run]) {
    begin(out, kind::ENDED, 0);
    out.put_u64_le(number.0);
    out.put_u8(match how {
        Ended::Accepted => 1,
        Ended::Terminated => 2,
        Ended::GivenUp => 3,
        Ended::Lost => 4,
    });
    put_runs(out, runs);
}

pub(super) fn put_rests(out: &mut Vec<u8>, number: ShareNumber, until: Option<Now>, runs: &[Run]) {
    begin(out, kind::RESTS, 0);
    out.put_u64_le(number.0);
    out.put_u64_le(until.map_or(0, |until| until.0));
    put_runs(out, runs);
}

/// Reads what follows the four bytes that every entry begins with.
pub(in crate::shard) fn read<'a>(kind: u8, input: &mut Input<'a>) -> Result<ShareEntry<'a>, String> {
    let number = ShareNumber(input.u64("group")?);
    Ok(match kind {
        kind::PUT => ShareEntry::Put(Box::new(Put {
            number,
            partition: QueueId(input.u64("partition")?),
            name: input.text("group")?,
            created: Now(input.u64("time")?),
            next: Position(input.u64("position")?),
            settings: spec::read(input)?,
        })),
        kind::GONE => ShareEntry::Gone { number },
        kind::DELIVERED => ShareEntry::Delivered { number, runs: rest(input)? },
        kind::PASSED => {
            let sequence = input.u64("sequence")?;
            ShareEntry::Passed {
                number,
                reached: Reached { sequence, next: Position(input.u64("position")?) },
            }
        }
        kind::ENDED => {
            let how = match input.u8("end")? {
                1 => Ended::Accepted,
                2 => Ended::Terminated,
                3 => Ended::GivenUp,
                4 => Ended::Lost,
                other => return Err(format!("ends deliveries in unknown way {other}")),
            };
            ShareEntry::Ended { number, how, runs: rest(input)? }
        }
        kind::RESTS => {
            let until = Some(Now(input.u64("time")?)).filter(|until| until.0 > 0);
            ShareEntry::Rests { number, until, runs: rest(input)? }
        }
        other => return Err(format!("is of unknown kind {other}")),
    })
}

/// All that is left, as runs.
fn rest<'a>(input: &mut Input<'a>) -> Result<Runs<'a>, String> {
    let runs = input.runs()?;
    input.0 = &[];
    Ok(runs)
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
