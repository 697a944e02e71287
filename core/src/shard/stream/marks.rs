//! The bytes of what is logged of a record's terms, in a publish entry.
//!
//! Called by [`super::super::entry`]. The layout stands in `docs/format-entries.md`.

use super::due::bytes as due;
use crate::shard::bytes::Input;
use crate::stream::records::Marks;
use crate::stream::schedules::Coming;
use bytes::BufMut;
use std::sync::Arc;
use stele_model::stream::records::{Rollup, Ttl};

const ID: u8 = 1;
const ROLLUP_SUBJECT: u8 = 2;
const ROLLUP_ALL: u8 = 4;
const TTL: u8 = 8;
const NEVER: u8 = 16;
const MARKER: u8 = 32;
const DELAY: u8 = 64;
/// A second octet of flags follows.
const MORE: u8 = 128;

const SCHEDULE: u8 = 1;
const ENDS: u8 = 2;

/// Most bytes of it without id, schedule and subject.
const MARKS_BYTES_MAX: usize = 24;

/// Most bytes of what [`put`] writes.
pub(in crate::shard) fn bytes_max(of: &Marks<'_>) -> usize {
    let schedule = of.due.as_ref().and_then(|due| due.schedule.as_ref());
    let texts = [of.id, of.ends].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
    MARKS_BYTES_MAX + texts + schedule.map_or(0, |of| due::schedule_bytes_max(of))
}

/// Appends them.
///
/// # Panics
/// If the id is longer than 64 KiB: longer ones are refused before.
pub(in crate::shard) fn put(out: &mut Vec<u8>, of: &Marks<'_>) {
    let ttl = match of.ttl {
        Ttl::Stream => 0,
        Ttl::Ms(_) => TTL,
        Ttl::Never => NEVER,
    };
    let rollup = match of.rollup {
        None => 0,
        Some(Rollup::Subject) => ROLLUP_SUBJECT,
        Some(Rollup::All) => ROLLUP_ALL,
    };
    let schedule = of.due.as_ref().and_then(|due| due.schedule.as_ref());
    let delay = of.due.as_ref().filter(|due| due.schedule.is_none());
    let flag = |is: bool, bit: u8| if is { bit } else { 0 };
    let more = flag(schedule.is_some(), SCHEDULE) | flag(of.ends.is_some(), ENDS);
    let id = flag(of.id.is_some(), ID);
    out.put_u8(
        id | rollup | ttl | flag(delay.is_some(), DELAY) | flag(of.marker, MARKER) | flag(more != 0, MORE),
    );
    if more != 0 {
        out.put_u8(more);
    }
    if let Some(id) = of.id {
        out.put_u16_le(u16::try_from(id.len()).expect("I73: long ids are refused"));
        out.put_slice(id);
    }
    if let Ttl::Ms(ms) = of.ttl {
        out.put_u64_le(ms);
    }
    if let Some(due) = &of.due {
        assert!(
            delay.is_none() || of.ttl == Ttl::Stream,
            "I77: a record that is published once, as it is, has no time to live"
        );
        out.put_u64_le(due.at_ms);
    }
    if let Some(schedule) = schedule {
        due::put_schedule(out, schedule);
    }
    if let Some(ends) = of.ends {
        due::put_subject(out, ends);
    }
}

/// Reads what [`put`] wrote.
pub(in crate::shard) fn read<'a>(input: &mut Input<'a>) -> Result<Marks<'a>, String> {
    let flags = input.u8("terms")?;
    let more = if flags & MORE != 0 { input.u8("terms")? } else { 0 };
    if more & !(SCHEDULE | ENDS) != 0 {
        return Err(format!("has a record with unknown terms {more:#x}"));
    }
    let id = if flags & ID != 0 {
        let len = usize::from(input.u16("id")?);
        Some(input.bytes(len, "id")?)
    } else {
        None
    };
    let rollup = match flags & (ROLLUP_SUBJECT | ROLLUP_ALL) {
        0 => None,
        ROLLUP_SUBJECT => Some(Rollup::Subject),
        ROLLUP_ALL => Some(Rollup::All),
        _ => return Err("has a record that rolls up twice".to_owned()),
    };
    let ttl = match flags & (TTL | NEVER | DELAY) {
        0 | DELAY => Ttl::Stream,
        TTL => Ttl::Ms(input.u64("time")?),
        NEVER => Ttl::Never,
        _ => return Err("has a record with two times to live".to_owned()),
    };
    let due = match (flags & DELAY != 0, more & SCHEDULE != 0) {
        (false, false) => None,
        (true, false) => Some(Coming { at_ms: input.u64("time")?, schedule: None }),
        (false, true) => {
            let at_ms = input.u64("time")?;
            Some(Coming { at_ms, schedule: Some(Arc::new(due::read_schedule(input)?)) })
        }
        (true, true) => return Err("has a record with two schedules".to_owned()),
    };
    let ends = if more & ENDS != 0 { Some(due::read_subject(input)?) } else { None };
    Ok(Marks { id, rollup, ttl, due, ends, marker: flags & MARKER != 0 })
}
