//! Shared groups in a snapshot, and back.
//!
//! Called by [`super::super::snapshot`]. Only groups that are logged, and after the partitions, which they need. The layout stands in `docs/format-entries.md`.

use super::entry::{self, Put};
use super::spec;
use crate::queue::dead_letter::Moving;
use crate::shard::Shard;
use crate::shard::bytes::{Input, put_text};
use crate::share::{Share, ShareNumber};
use crate::shelf::Shelved;
use bytes::{BufMut, Bytes};
use std::sync::Arc;
use stele_model::id::{Lsn, Now, Place, Position, QueueId};
use stele_model::machine::VOLATILE;
use stele_model::share::{DeadRecord, ShareMove};
use stele_model::stream::{Format, Found};

/// Kind of a shared group's item.
pub(in crate::shard) const SHARE: u8 = 8;
/// Kind of the item of a move out of a shared group.
pub(in crate::shard) const SHARE_MOVE: u8 = 9;

impl Shelved for Share {
    type Key = ShareNumber;

    fn write(&self, _: &ShareNumber, out: &mut Vec<u8>, _: &mut Vec<Bytes>) {
        if self.logs() {
            put(out, self);
        }
    }
}

fn put(out: &mut Vec<u8>, share: &Share) {
    out.put_u8(SHARE);
    out.put_u64_le(share.number.0);
    out.put_u64_le(share.partition.0);
    put_text(out, &share.name);
    out.put_u64_le(share.created.0);
    out.put_u64_le(share.next.0);
    spec::put(out, &share.settings);
    if let Some(lasts) = &share.lasts {
        out.put_u64_le(lasts.from.0);
        out.put_u64_le(lasts.below.0);
    }
    out.put_u64_le(share.sequence);
    out.put_u64_le(share.pending.count());
    for (position, slot) in share.pending.iter() {
        out.put_u64_le(position.0);
        out.put_u64_le(slot.sequence);
        out.put_u32_le(slot.deliveries);
        out.put_u64_le(slot.rest().map_or(0, |until| until.0));
    }
}

/// Writes a move out of a shared group. Records in memory only are left out.
pub(in crate::shard) fn put_share_move(out: &mut Vec<u8>, number: u64, of: &ShareMove) {
    out.put_u8(SHARE_MOVE);
    out.put_u64_le(number);
    entry::put_move_head(out, of);
    let lasting = of.records.iter().filter(|record| is_lasting(record));
    out.put_u32_le(lasting.clone().count() as u32);
    for DeadRecord { position, deliveries, batch } in lasting {
        out.put_u64_le(position.0);
        out.put_u32_le(*deliveries);
        out.put_u64_le(batch.place.lsn.0);
        out.put_u32_le(batch.place.at);
        out.put_u32_le(batch.len);
        out.put_u8(match batch.format {
            Format::Records => 1,
            Format::KafkaBatch => 2,
        });
        out.put_u64_le(batch.first.0);
        out.put_u32_le(batch.count);
        out.put_u64_le(batch.appended.0);
    }
}

pub(in crate::shard) fn read_share_move(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let number = input.u64("move")?;
    let mut of = entry::read_move_head(input)?;
    for _ in 0..input.u32("records")? {
        let (position, deliveries) = (Position(input.u64("record")?), input.u32("record")?);
        let place = Place { lsn: Lsn(input.u64("record")?), at: input.u32("record")? };
        let len = input.u32("record")?;
        let format = match input.u8("record")? {
            1 => Format::Records,
            2 => Format::KafkaBatch,
            other => return Err(format!("has a batch of unknown form {other}")),
        };
        let (first, count) = (Position(input.u64("record")?), input.u32("record")?);
        if count == 0 {
            return Err("has a batch without records".to_owned());
        }
        let appended = Now(input.u64("record")?);
        let batch = Found { place, len, format, first, count, epoch: 0, appended };
        of.records.push(DeadRecord { position, deliveries, batch });
    }
    let moving = Moving::Share(Arc::new(of));
    moving.hold(&mut shard.live);
    shard.moves.restore(number, moving);
    Ok(())
}

fn is_lasting(record: &DeadRecord) -> bool {
    record.batch.place.lsn.0 & VOLATILE == 0
}

/// A move as a replay must bring it back.
pub(in crate::shard) fn logged_move(of: &ShareMove) -> ShareMove {
    let mut of = of.clone();
    of.records.retain(is_lasting);
    of
}

pub(in crate::shard) fn read_share(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let put = Put {
        number: ShareNumber(input.u64("group")?),
        partition: QueueId(input.u64("partition")?),
        name: input.text("group")?,
        created: Now(input.u64("time")?),
        next: Position(input.u64("position")?),
        settings: spec::read(input)?,
    };
    let number = put.number;
    if !shard.streams.partitions.contains_key(&put.partition) {
        return Err(format!("has a group of unknown partition {}", put.partition));
    }
    shard.place_share(put);
    let Some(share) = super::of_number(&mut shard.shares, number) else { return Ok(()) };
    if let Some(lasts) = &mut share.lasts {
        lasts.from = Position(input.u64("last ones")?);
        lasts.below = Position(input.u64("last ones")?);
    }
    let sequence = input.u64("sequence")?;
    let count = input.u64("deliveries")?;
    share.sequence = sequence;
    let mut from = Position(0);
    for _ in 0..count {
        let position = Position(input.u64("delivery")?);
        let (sequence, deliveries) = (input.u64("delivery")?, input.u32("delivery")?);
        let rest = Some(Now(input.u64("delivery")?)).filter(|until| until.0 > 0);
        if position < from || position >= share.next {
            return Err(format!("has a delivery of position {position} out of order"));
        }
        from = Position(position.0 + 1);
        share.pending.restore(position, sequence, deliveries, rest);
    }
    share.low = share.pending.first().map_or(share.next, |(first, _)| first);
    Ok(())
}
