//! Shared groups in a snapshot, and back.
//!
//! Called by [`super::super::snapshot`]. Only groups that are logged, and after the partitions, which they need. The layout stands in `docs/format-entries.md`.

use super::entry::Put;
use super::spec;
use crate::shard::Shard;
use crate::shard::bytes::{Input, put_text};
use crate::share::{Share, ShareNumber};
use crate::shelf::Shelved;
use bytes::{BufMut, Bytes};
use stele_model::id::{Now, Position, QueueId};

/// Kind of a shared group's item.
pub(in crate::shard) const SHARE: u8 = 8;

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
    Ok(())
}
