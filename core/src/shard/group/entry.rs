//! The bytes of entries about groups.
//!
//! Called by the verbs (writing) and by `shard::entry` (reading). The layout stands in `docs/format-entries.md`.

use crate::group::known::{Generation, Profile};
use crate::group::reading::Reading;
use crate::shard::bytes::{Input, put_text};
use crate::shard::entry::begin;
use bytes::{BufMut, Bytes};
use std::sync::Arc;
use stele_model::id::{Position, QueueId};

const GENERATION: u8 = 32;
const MEMBER: u8 = 33;
const POSITIONS: u8 = 34;
const FORGOTTEN: u8 = 35;
const GROUP_GONE: u8 = 36;
const NUMBERS: u8 = 37;
const HOME_GONE: u8 = 38;
const READING: u8 = 39;

/// The kinds of entries that are about groups.
pub(in crate::shard) const FIRST_KIND: u8 = GENERATION;
/// See [`FIRST_KIND`].
pub(in crate::shard) const LAST_KIND: u8 = READING;

const HAS_INSTANCE: u8 = 1;
const HAS_READS: u8 = 2;

/// One entry about groups.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupEntry {
    Of { home: QueueId, group: String, what: What },
    Numbers { epoch: u64 },
    HomeGone { home: QueueId },
}

/// What it says of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Generation(Generation),
    Member { old: String, profile: Profile },
    Reading(Reading),
    Positions(Vec<PositionEntry>),
    Forgotten(Vec<QueueId>),
    Gone,
}

/// A position that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PositionEntry {
    pub(crate) partition: QueueId,
    pub(crate) position: Position,
    pub(crate) epoch: i32,
    pub(crate) metadata: Box<str>,
}

impl PositionEntry {
    /// Bytes in an entry.
    pub(super) fn bytes(&self) -> usize {
        22 + self.metadata.len()
    }
}

fn begin_of(out: &mut Vec<u8>, kind: u8, home: QueueId, group: &str) {
    begin(out, kind, 0);
    out.put_u64_le(home.0);
    put_text(out, group);
}

pub(crate) fn put_generation(out: &mut Vec<u8>, home: QueueId, group: &str, of: &Generation) {
    begin_of(out, GENERATION, home, group);
    write_generation(out, of);
}

pub(crate) fn put_member(out: &mut Vec<u8>, home: QueueId, group: &str, old: &str, of: &Profile) {
    begin_of(out, MEMBER, home, group);
    put_text(out, old);
    write_profile(out, of);
}

pub(crate) fn put_reading(out: &mut Vec<u8>, home: QueueId, group: &str, of: &Reading) {
    begin_of(out, READING, home, group);
    write_reading(out, of);
}

pub(crate) fn put_positions(out: &mut Vec<u8>, home: QueueId, group: &str, of: &[PositionEntry]) {
    begin_of(out, POSITIONS, home, group);
    out.put_u32_le(of.len() as u32);
    for of in of {
        out.put_u64_le(of.partition.0);
        out.put_u64_le(of.position.0);
        out.put_i32_le(of.epoch);
        put_text(out, &of.metadata);
    }
}

pub(crate) fn put_forgotten(out: &mut Vec<u8>, home: QueueId, group: &str, of: &[QueueId]) {
    begin_of(out, FORGOTTEN, home, group);
    out.put_u32_le(of.len() as u32);
    of.iter().for_each(|partition| out.put_u64_le(partition.0));
}

pub(crate) fn put_group_gone(out: &mut Vec<u8>, home: QueueId, group: &str) {
    begin_of(out, GROUP_GONE, home, group);
}

pub(crate) fn put_numbers(out: &mut Vec<u8>, epoch: u64) {
    begin(out, NUMBERS, 0);
    out.put_u64_le(epoch);
}

pub(crate) fn put_home_gone(out: &mut Vec<u8>, home: QueueId) {
    begin(out, HOME_GONE, 0);
    out.put_u64_le(home.0);
}

/// Appends a generation, in entries and snapshots.
pub(super) fn write_generation(out: &mut Vec<u8>, of: &Generation) {
    out.put_i32_le(of.number);
    put_text(out, &of.kind);
    put_text(out, &of.protocol);
    put_text(out, &of.leader);
    out.put_u32_le(of.members.len() as u32);
    for (profile, part) in &of.members {
        write_profile(out, profile);
        write_blob(out, part);
    }
}

/// Appends which partitions the members of a group read, in entries and snapshots.
pub(super) fn write_reading(out: &mut Vec<u8>, of: &Reading) {
    out.put_u32_le(of.iter().len() as u32);
    for (stream, partitions) in of.iter() {
        put_text(out, stream);
        out.put_u32_le(partitions.len() as u32);
        partitions.iter().for_each(|partition| out.put_u64_le(partition.0));
    }
}

fn write_profile(out: &mut Vec<u8>, of: &Profile) {
    put_text(out, &of.number);
    let instance = if of.instance.is_some() { HAS_INSTANCE } else { 0 };
    let reads = if of.reads.is_some() { HAS_READS } else { 0 };
    out.put_u8(instance | reads);
    if let Some(instance) = &of.instance {
        put_text(out, instance);
    }
    put_text(out, &of.client);
    put_text(out, &of.host);
    out.put_u32_le(of.session_ms);
    out.put_u32_le(of.rebalance_ms);
    out.put_u32_le(of.protocols.len() as u32);
    for (name, metadata) in &of.protocols {
        put_text(out, name);
        write_blob(out, metadata);
    }
    if let Some(reads) = &of.reads {
        out.put_u32_le(reads.len() as u32);
        reads.iter().for_each(|name| put_text(out, name));
    }
}

fn write_blob(out: &mut Vec<u8>, blob: &[u8]) {
    out.put_u32_le(blob.len() as u32);
    out.put_slice(blob);
}

/// Reads what follows the head of an entry of one of these kinds.
pub(in crate::shard) fn read(kind: u8, input: &mut Input<'_>) -> Result<GroupEntry, String> {
    if kind == NUMBERS {
        return Ok(GroupEntry::Numbers { epoch: input.u64("epoch")? });
    }
    let home = QueueId(input.u64("home")?);
    if kind == HOME_GONE {
        return Ok(GroupEntry::HomeGone { home });
    }
    let group = input.text("group")?;
    let what = match kind {
        GENERATION => What::Generation(read_generation(input)?),
        MEMBER => What::Member { old: input.text("old member")?, profile: read_profile(input)? },
        POSITIONS => {
            let mut positions = Vec::new();
            for _ in 0..input.u32("positions")? {
                positions.push(read_position(input)?);
            }
            What::Positions(positions)
        }
        READING => What::Reading(read_reading(input)?),
        FORGOTTEN => What::Forgotten(read_partitions(input)?),
        GROUP_GONE => What::Gone,
        other => return Err(format!("is of unknown kind {other}")),
    };
    Ok(GroupEntry::Of { home, group, what })
}

fn read_partitions(input: &mut Input<'_>) -> Result<Vec<QueueId>, String> {
    let mut partitions = Vec::new();
    for _ in 0..input.u32("partitions")? {
        partitions.push(QueueId(input.u64("partition")?));
    }
    Ok(partitions)
}

/// Reads what [`write_reading`] wrote.
pub(super) fn read_reading(input: &mut Input<'_>) -> Result<Reading, String> {
    let mut reading = Reading::default();
    for _ in 0..input.u32("streams")? {
        let stream = input.text("stream")?;
        reading.joined(&stream, &read_partitions(input)?);
    }
    Ok(reading)
}

fn read_position(input: &mut Input<'_>) -> Result<PositionEntry, String> {
    Ok(PositionEntry {
        partition: QueueId(input.u64("partition")?),
        position: Position(input.u64("position")?),
        epoch: input.u32("epoch")? as i32,
        metadata: input.text("metadata")?.into(),
    })
}

/// Reads what [`write_generation`] wrote.
pub(super) fn read_generation(input: &mut Input<'_>) -> Result<Generation, String> {
    let mut generation = Generation {
        number: input.u32("generation")? as i32,
        kind: input.text("kind of protocol")?,
        protocol: input.text("protocol")?,
        leader: input.text("leader")?,
        members: Vec::new(),
    };
    for _ in 0..input.u32("members")? {
        let profile = Arc::new(read_profile(input)?);
        generation.members.push((profile, read_blob(input)?));
    }
    Ok(generation)
}

fn read_profile(input: &mut Input<'_>) -> Result<Profile, String> {
    let number = input.text("member")?;
    let flags = input.u8("member")?;
    if flags & !(HAS_INSTANCE | HAS_READS) != 0 {
        return Err(format!("has a member with unknown flags {flags:#x}"));
    }
    let instance = (flags & HAS_INSTANCE != 0).then(|| input.text("instance")).transpose()?;
    let mut profile = Profile {
        number,
        instance,
        client: input.text("client")?,
        host: input.text("host")?,
        session_ms: input.u32("session time")?,
        rebalance_ms: input.u32("rebalance time")?,
        protocols: Vec::new(),
        reads: None,
    };
    for _ in 0..input.u32("protocols")? {
        let name = input.text("protocol")?;
        profile.protocols.push((name, read_blob(input)?));
    }
    if flags & HAS_READS != 0 {
        let mut reads = Vec::new();
        for _ in 0..input.u32("streams")? {
            reads.push(input.text("stream")?);
        }
        profile.reads = Some(reads);
    }
    Ok(profile)
}

fn read_blob(input: &mut Input<'_>) -> Result<Bytes, String> {
    let len = input.u32("bytes")? as usize;
    input.bytes(len, "bytes").map(Bytes::copy_from_slice)
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
