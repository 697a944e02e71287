//! The bytes of entries about shared groups.
//!
//! Called by their verbs (writing) and through [`super::super::entry`] (reading). The layout is a document first: `docs/format-entries.md`.
//! What must hold: readable for one replay window (S35); reading borrows, is bounded, and never panics.

use super::spec;
use crate::queue::dead_letter::MOVE_RECORDS_MAX;
use crate::shard::bytes::{Input, Runs, put_runs, put_text};
use crate::shard::entry::begin;
use crate::share::ShareNumber;
use bytes::BufMut;
use stele_model::id::{NamespaceId, Now, Position, QueueId};
use stele_model::queue::DeadLetter;
use stele_model::settle::Run;
use stele_model::share::{Reached, ShareDeath, ShareMove, ShareSettings};

/// The first and the last kind of entry about shared groups.
pub(in crate::shard) const FIRST_KIND: u8 = 40;
/// See [`FIRST_KIND`].
pub(in crate::shard) const LAST_KIND: u8 = 47;

mod kind {
    pub(super) const PUT: u8 = 40;
    pub(super) const GONE: u8 = 41;
    pub(super) const DELIVERED: u8 = 42;
    pub(super) const PASSED: u8 = 43;
    pub(super) const ENDED: u8 = 44;
    pub(super) const RESTS: u8 = 45;
    pub(super) const MOVING: u8 = 46;
    pub(super) const RESET: u8 = 47;
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
    Moving(Box<Leaving>),
    Reset { number: ShareNumber, at: Position },
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

/// Records of a group have ended, and are on the move to its dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Leaving {
    /// The group whose deliveries end; `None`: it is not logged.
    pub(super) number: Option<ShareNumber>,
    /// Of the move.
    pub(super) moving: u64,
    /// The move but for its records.
    pub(super) head: ShareMove,
    pub(super) records: Vec<LeavingRecord>,
}

/// See [`Leaving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct LeavingRecord {
    pub(super) position: Position,
    pub(super) deliveries: u32,
    /// It leaves the stream, too: nobody else needs it.
    pub(super) gone: bool,
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

pub(super) fn put_reset(out: &mut Vec<u8>, number: ShareNumber, at: Position) {
    begin(out, kind::RESET, 0);
    out.put_u64_le(number.0);
    out.put_u64_le(at.0);
}

pub(super) fn put_moving(out: &mut Vec<u8>, of: &Leaving) {
    begin(out, kind::MOVING, 0);
    out.put_u64_le(of.number.map_or(0, |number| number.0));
    out.put_u64_le(of.moving);
    put_move_head(out, &of.head);
    out.put_u32_le(of.records.len() as u32);
    for record in &of.records {
        out.put_u64_le(record.position.0);
        out.put_u32_le(record.deliveries);
        out.put_u8(u8::from(record.gone));
    }
}

/// All of a move but its records.
pub(super) fn put_move_head(out: &mut Vec<u8>, of: &ShareMove) {
    out.put_u64_le(of.partition.0);
    out.put_u64_le(of.namespace.0);
    put_text(out, &of.stream);
    put_text(out, &of.group);
    put_text(out, &of.target.exchange);
    out.put_u8(u8::from(of.target.key.is_some()));
    of.target.key.iter().for_each(|key| put_text(out, key));
    match &of.why {
        ShareDeath::Exhausted => out.put_u8(1),
        ShareDeath::Terminated { reason } => {
            out.put_u8(2);
            put_text(out, reason);
        }
    }
}

/// See [`put_move_head`].
pub(super) fn read_move_head(input: &mut Input<'_>) -> Result<ShareMove, String> {
    let (partition, namespace) = (QueueId(input.u64("partition")?), NamespaceId(input.u64("namespace")?));
    let (stream, group) = (input.text("stream")?, input.text("group")?);
    let exchange = input.text("target")?;
    let key = (input.u8("target")? != 0).then(|| input.text("target")).transpose()?;
    let why = match input.u8("reason")? {
        1 => ShareDeath::Exhausted,
        2 => ShareDeath::Terminated { reason: input.text("reason")? },
        other => return Err(format!("moves for unknown reason {other}")),
    };
    let target = DeadLetter { exchange, key };
    Ok(ShareMove { partition, namespace, stream, group, target, why, records: Vec::new() })
}

fn read_leaving(number: ShareNumber, input: &mut Input<'_>) -> Result<Leaving, String> {
    let number = Some(number).filter(|number| number.0 > 0);
    let moving = input.u64("move")?;
    let head = read_move_head(input)?;
    let count = input.u32("records")? as usize;
    if count > MOVE_RECORDS_MAX {
        return Err(format!("moves {count} records"));
    }
    let record = |_| {
        let (position, deliveries) = (Position(input.u64("record")?), input.u32("record")?);
        Ok(LeavingRecord { position, deliveries, gone: input.u8("record")? != 0 })
    };
    let records = (0..count).map(record).collect::<Result<_, String>>()?;
    Ok(Leaving { number, moving, head, records })
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
        kind::MOVING => ShareEntry::Moving(Box::new(read_leaving(number, input)?)),
        kind::RESET => ShareEntry::Reset { number, at: Position(input.u64("position")?) },
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
