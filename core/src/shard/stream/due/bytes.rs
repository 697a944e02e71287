//! The bytes of schedules, in a record's terms and in a snapshot; of moves of records whose time has come, in entries and in a snapshot.
//!
//! The layout stands in `docs/format-entries.md`.

use super::{AllCome, Come, logged_due};
use crate::queue::dead_letter::{MOVE_RECORDS_MAX, Moving};
use crate::shard::Shard;
use crate::shard::bytes::{Input, put_text};
use crate::stream::Partition;
use crate::stream::schedules::Schedule;
use bytes::{BufMut, Bytes};
use std::sync::Arc;
use stele_model::id::{Lsn, NamespaceId, Now, Place, Position, QueueId};
use stele_model::repeat::{Clock, Moment, Repeat};
use stele_model::stream::due::{DueMove, DueRecord, How};
use stele_model::stream::records::{RecordAt, Ttl};

/// Kind of the item of a partition's schedules in a snapshot.
pub(in crate::shard) const SCHEDULES: u8 = 11;
/// Kind of the item of a move of records whose time has come.
pub(in crate::shard) const DUE_MOVE: u8 = 12;

/// Most bytes of a schedule without its texts.
const SCHEDULE_BYTES_MAX: usize = 64;

const EVERY: u8 = 1;
const CLOCK: u8 = 2;
const EITHER: u8 = 4;
const SAMPLE: u8 = 8;
const ROLLUP: u8 = 16;
const TTL: u8 = 32;
const NEVER: u8 = 64;

const NEXT: u8 = 1;

/// Most bytes of what [`put_schedule`] writes.
pub(in crate::shard) fn schedule_bytes_max(of: &Schedule) -> usize {
    let zone = match &of.repeat {
        Some(Repeat::Clock(clock)) => clock.zone.len(),
        _ => 0,
    };
    SCHEDULE_BYTES_MAX + zone + of.how.sample.as_ref().map_or(0, Bytes::len)
}

/// Appends a schedule.
///
/// # Panics
/// If a subject or the name of a zone is longer than 65 535 bytes: they come from a record, which has them with such lengths.
pub(in crate::shard) fn put_schedule(out: &mut Vec<u8>, of: &Schedule) {
    let Schedule { repeat, how } = of;
    let repeats = match repeat {
        None => 0,
        Some(Repeat::Every(_)) => EVERY,
        Some(Repeat::Clock(clock)) => CLOCK | if clock.either { EITHER } else { 0 },
    };
    let sample = if how.sample.is_some() { SAMPLE } else { 0 };
    out.put_u8(repeats | sample | asks(how.ttl, how.rollup));
    match repeat {
        None => {}
        Some(Repeat::Every(ms)) => out.put_u64_le(*ms),
        Some(Repeat::Clock(of)) => {
            out.put_u64_le(of.seconds);
            out.put_u64_le(of.minutes);
            out.put_u32_le(of.hours);
            out.put_u32_le(of.days);
            out.put_u16_le(of.months);
            out.put_u8(of.weekdays);
            put_text(out, &of.zone);
        }
    }
    if let Some(sample) = &how.sample {
        put_subject(out, sample);
    }
    if let Ttl::Ms(ms) = how.ttl {
        out.put_u64_le(ms);
    }
}

/// Reads what [`put_schedule`] wrote.
pub(in crate::shard) fn read_schedule(input: &mut Input<'_>) -> Result<Schedule, String> {
    let flags = input.u8("schedule")?;
    let repeat = match flags & (EVERY | CLOCK | EITHER) {
        0 => None,
        EVERY => Some(Repeat::Every(input.u64("schedule")?)),
        clock if clock & EVERY == 0 && clock & CLOCK != 0 => Some(Repeat::Clock(Box::new(Clock {
            seconds: input.u64("schedule")?,
            minutes: input.u64("schedule")?,
            hours: input.u32("schedule")?,
            days: input.u32("schedule")?,
            months: input.u16("schedule")?,
            weekdays: input.u8("schedule")?,
            either: clock & EITHER != 0,
            zone: input.text("zone")?,
        }))),
        _ => return Err(format!("has a schedule that repeats in unknown way {flags:#x}")),
    };
    let sample = if flags & SAMPLE != 0 { Some(Bytes::copy_from_slice(read_subject(input)?)) } else { None };
    let (ttl, rollup) = read_asks(flags, input)?;
    Ok(Schedule { repeat, how: How { sample, ttl, rollup } })
}

/// Appends a subject: a u16 length and as many bytes.
pub(in crate::shard) fn put_subject(out: &mut Vec<u8>, subject: &[u8]) {
    out.put_u16_le(u16::try_from(subject.len()).expect("a subject is shorter than 64 KiB"));
    out.put_slice(subject);
}

/// Reads what [`put_subject`] wrote.
pub(in crate::shard) fn read_subject<'a>(input: &mut Input<'a>) -> Result<&'a [u8], String> {
    let len = input.u16("subject")?;
    input.bytes(usize::from(len), "subject")
}

/// Flags of what is asked of the stream that takes what is published. A time to live in ms follows at the end.
fn asks(ttl: Ttl, rollup: bool) -> u8 {
    let ttl = match ttl {
        Ttl::Stream => 0,
        Ttl::Ms(_) => TTL,
        Ttl::Never => NEVER,
    };
    ttl | if rollup { ROLLUP } else { 0 }
}

fn read_asks(flags: u8, input: &mut Input<'_>) -> Result<(Ttl, bool), String> {
    let ttl = match flags & (TTL | NEVER) {
        0 => Ttl::Stream,
        TTL => Ttl::Ms(input.u64("time to live")?),
        NEVER => Ttl::Never,
        _ => return Err("has a schedule with two times to live".to_owned()),
    };
    Ok((ttl, flags & ROLLUP != 0))
}

/// Appends what an entry says of records whose time has come.
pub(in crate::shard) fn put_come(out: &mut Vec<u8>, of: &AllCome, records: &[Come]) {
    out.put_u64_le(of.partition.0);
    out.put_u64_le(of.moving);
    out.put_u32_le(records.len() as u32);
    for Come { position, next, sample } in records {
        out.put_u64_le(position.0);
        out.put_u8(if next.is_some() { NEXT } else { 0 } | if sample.is_some() { SAMPLE } else { 0 });
        put_next(out, *next);
        if let Some(sample) = sample {
            out.put_u64_le(sample.0);
        }
    }
}

/// Reads what [`put_come`] wrote.
pub(in crate::shard) fn read_come(input: &mut Input<'_>) -> Result<AllCome, String> {
    let (partition, moving) = (QueueId(input.u64("partition")?), input.u64("move")?);
    let count = input.u32("records")? as usize;
    if count > MOVE_RECORDS_MAX {
        return Err(format!("publishes {count} records"));
    }
    let record = |_| {
        let position = Position(input.u64("record")?);
        let flags = input.u8("record")?;
        let next = read_next(flags, input)?;
        let sample = if flags & SAMPLE != 0 { Some(Position(input.u64("record")?)) } else { None };
        Ok(Come { position, next, sample })
    };
    let records = (0..count).map(record).collect::<Result<_, String>>()?;
    Ok(AllCome { partition, moving, records })
}

fn put_next(out: &mut Vec<u8>, next: Option<Moment>) {
    if let Some(next) = next {
        out.put_u64_le(next.ms);
        out.put_i32_le(next.offset_s);
    }
}

fn read_next(flags: u8, input: &mut Input<'_>) -> Result<Option<Moment>, String> {
    if flags & NEXT == 0 {
        return Ok(None);
    }
    let ms = input.u64("time")?;
    Ok(Some(Moment { ms, offset_s: input.u32("time")?.cast_signed() }))
}

/// Writes the schedules of a partition, behind it; nothing, if it has none.
pub(in crate::shard) fn put_schedules(out: &mut Vec<u8>, of: &Partition) {
    let Some(records) = of.records.as_ref().filter(|_| !of.is_volatile()) else { return };
    let schedules: Vec<_> = records.schedules.iter().filter(|(at, ..)| *at >= of.start).collect();
    if schedules.is_empty() {
        return;
    }
    out.put_u8(SCHEDULES);
    out.put_u64_le(of.spec.id.0);
    out.put_u32_le(schedules.len() as u32);
    for (position, at_ms, schedule) in schedules {
        out.put_u64_le(position.0);
        out.put_u64_le(at_ms);
        put_schedule(out, schedule);
    }
}

/// Reads what [`put_schedules`] wrote.
pub(in crate::shard) fn read_schedules(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let id = QueueId(input.u64("partition")?);
    let partition = shard.streams.partitions.get_mut(&id);
    let records = partition.and_then(|of| of.records.as_mut());
    let records = records.ok_or_else(|| format!("has schedules of unknown partition {id}"))?;
    for _ in 0..input.u32("schedules")? {
        let (position, at_ms) = (Position(input.u64("record")?), input.u64("time")?);
        records.schedules.put(position, at_ms, Arc::new(read_schedule(input)?));
    }
    Ok(())
}

/// Writes a move. Records in memory only are left out.
pub(in crate::shard) fn put_due_move(out: &mut Vec<u8>, number: u64, of: &DueMove) {
    let of = logged_due(of);
    out.put_u8(DUE_MOVE);
    out.put_u64_le(number);
    out.put_u64_le(of.partition.0);
    out.put_u64_le(of.namespace.0);
    out.put_u32_le(of.records.len() as u32);
    for DueRecord { record, sample, next, ttl, rollup } in &of.records {
        let next_flag = if next.is_some() { NEXT } else { 0 };
        let sample_flag = if sample.is_some() { SAMPLE } else { 0 };
        out.put_u8(next_flag | sample_flag | asks(*ttl, *rollup));
        put_at(out, record);
        sample.iter().for_each(|sample| put_at(out, sample));
        put_next(out, *next);
        if let Ttl::Ms(ms) = ttl {
            out.put_u64_le(*ms);
        }
    }
}

/// Reads what [`put_due_move`] wrote.
pub(in crate::shard) fn read_due_move(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let number = input.u64("move")?;
    let (partition, namespace) = (QueueId(input.u64("partition")?), NamespaceId(input.u64("namespace")?));
    let mut records = Vec::new();
    for _ in 0..input.u32("records")? {
        let flags = input.u8("record")?;
        let record = read_at(input)?;
        let sample = if flags & SAMPLE != 0 { Some(read_at(input)?) } else { None };
        let next = read_next(flags, input)?;
        let (ttl, rollup) = read_asks(flags, input)?;
        records.push(DueRecord { record, sample, next, ttl, rollup });
    }
    let moving = Moving::Due(Arc::new(DueMove { partition, namespace, records }));
    moving.hold(&mut shard.live);
    shard.moves.restore(number, moving);
    Ok(())
}

fn put_at(out: &mut Vec<u8>, of: &RecordAt) {
    out.put_u64_le(of.place.lsn.0);
    out.put_u32_le(of.place.at);
    out.put_u32_le(of.len);
    out.put_u64_le(of.position.0);
    out.put_u64_le(of.appended.0);
}

fn read_at(input: &mut Input<'_>) -> Result<RecordAt, String> {
    let place = Place { lsn: Lsn(input.u64("record")?), at: input.u32("record")? };
    let len = input.u32("record")?;
    let (position, appended) = (Position(input.u64("record")?), Now(input.u64("record")?));
    Ok(RecordAt { place, len, position, appended })
}
