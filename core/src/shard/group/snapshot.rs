//! What is known of groups, in snapshots of the shard.
//!
//! One item for each home with its places, then one for each group, and one for what that reads. The layout stands in `docs/format-entries.md`.

use super::entry::{read_generation, read_reading, write_generation, write_reading};
use crate::group::known::{Held, KnownGroup};
use crate::group::{Group, GroupNumber, Groups};
use crate::shard::bytes::{Input, put_text};
use crate::shelf::Shelved;
use bytes::{BufMut, Bytes};
use stele_model::id::{Now, Position, QueueId};

/// What a snapshot says of the homes that have logged anything: where the next place is. Their groups follow.
pub(in crate::shard) fn homes(groups: &Groups) -> Vec<(QueueId, u64)> {
    let homes = groups.homes.iter().map(|(id, home)| (*id, home.places.next()));
    homes.filter(|(_, next)| *next > 0).collect()
}

pub(in crate::shard) fn put_home(out: &mut Vec<u8>, (home, next): (QueueId, u64)) {
    out.put_u8(GROUP);
    out.put_u64_le(home.0);
    put_text(out, "");
    out.put_u64_le(next);
}

impl Shelved for Group {
    type Key = GroupNumber;

    fn write(&self, _: &GroupNumber, out: &mut Vec<u8>, _: &mut Vec<Bytes>) {
        if self.known.logged {
            out.put_u8(GROUP);
            out.put_u64_le(self.home.0);
            put_text(out, &self.name);
            put_known(out, &self.known);
            if self.known.reading.iter().len() > 0 {
                out.put_u8(READING);
                out.put_u64_le(self.home.0);
                put_text(out, &self.name);
                write_reading(out, &self.known.reading);
            }
        }
    }
}

fn put_known(out: &mut Vec<u8>, known: &KnownGroup) {
    write_generation(out, &known.generation);
    out.put_u64_le(known.time.0);
    out.put_u64_le(known.at.unwrap_or(u64::MAX));
    out.put_u32_le(known.positions.len() as u32);
    for (partition, held) in &known.positions {
        out.put_u64_le(partition.0);
        out.put_u64_le(held.position.0);
        out.put_i32_le(held.epoch);
        put_text(out, &held.metadata);
        out.put_u64_le(held.time.0);
        out.put_u64_le(held.at);
    }
}

/// Kind of a home's or group's item.
pub(in crate::shard) const GROUP: u8 = 3;
/// Kind of the item behind a group's that says which partitions it reads.
pub(in crate::shard) const READING: u8 = 13;

/// Reads one item.
pub(in crate::shard) fn read_home(groups: &mut Groups, input: &mut Input<'_>) -> Result<(), String> {
    let home = QueueId(input.u64("home")?);
    let name = input.text("group")?;
    if name.is_empty() {
        groups.homes.entry(home).or_default().places.set_next(input.u64("next place")?);
        return Ok(());
    }
    let known = read_known(input)?;
    groups.make(home, &name);
    let Some((group, places)) = groups.find_mut(home, &name) else { return Ok(()) };
    restore(group, places, known)
}

/// Reads which partitions a group reads.
pub(in crate::shard) fn read_group_reading(groups: &mut Groups, input: &mut Input<'_>) -> Result<(), String> {
    let home = QueueId(input.u64("home")?);
    let name = input.text("group")?;
    let reading = read_reading(input)?;
    let (group, _) = groups.find_mut(home, &name).ok_or_else(|| format!("has no group '{name}'"))?;
    group.known.reading = reading;
    Ok(())
}

fn restore(
    group: &mut Group,
    places: &mut crate::group::place::Places,
    known: KnownGroup,
) -> Result<(), String> {
    let each = known.positions.iter().map(|(partition, held)| (held.at, Some(*partition)));
    for (at, of) in each.chain(known.at.map(|at| (at, None))) {
        if at >= places.next() {
            return Err(format!("has a group's place {at}, and {} comes next", places.next()));
        }
        places.restore(at, group.number, of);
    }
    group.known = known;
    Ok(())
}

fn read_known(input: &mut Input<'_>) -> Result<KnownGroup, String> {
    let generation = read_generation(input)?;
    let time = Now(input.u64("time")?);
    let at = Some(input.u64("place")?).filter(|at| *at != u64::MAX);
    let mut known = KnownGroup { logged: true, generation, time, at, ..KnownGroup::default() };
    for _ in 0..input.u32("positions")? {
        let partition = QueueId(input.u64("partition")?);
        let held = Held {
            position: Position(input.u64("position")?),
            epoch: input.u32("epoch")? as i32,
            metadata: input.text("metadata")?.into(),
            time: Now(input.u64("time")?),
            at: input.u64("place")?,
        };
        known.positions.insert(partition, held);
    }
    Ok(known)
}
