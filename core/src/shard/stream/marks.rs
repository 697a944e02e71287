//! The bytes of what is logged of a record's terms, in a publish entry.
//!
//! Called by [`super::super::entry`]. The layout stands in `docs/format-entries.md`.

use crate::shard::bytes::Input;
use crate::stream::records::Marks;
use bytes::BufMut;
use stele_model::stream::records::{Rollup, Ttl};

const ID: u8 = 1;
const ROLLUP_SUBJECT: u8 = 2;
const ROLLUP_ALL: u8 = 4;
const TTL: u8 = 8;
const NEVER: u8 = 16;
const MARKER: u8 = 32;
const DUE: u8 = 64;
const ALL: u8 = 127;
/// Most bytes of it without the id.
pub(in crate::shard) const MARKS_BYTES_MAX: usize = 11;

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
    let id = if of.id.is_some() { ID } else { 0 };
    let due = if of.due.is_some() { DUE } else { 0 };
    out.put_u8(id | rollup | ttl | due | if of.marker { MARKER } else { 0 });
    if let Some(id) = of.id {
        out.put_u16_le(u16::try_from(id.len()).expect("I73: long ids are refused"));
        out.put_slice(id);
    }
    if let Ttl::Ms(ms) = of.ttl {
        out.put_u64_le(ms);
    }
    if let Some(ms) = of.due {
        assert!(of.ttl == Ttl::Stream, "I77: a record that is published again has no time to live");
        out.put_u64_le(ms);
    }
}

/// Reads what [`put`] wrote.
pub(in crate::shard) fn read<'a>(input: &mut Input<'a>) -> Result<Marks<'a>, String> {
    let flags = input.u8("terms")?;
    if flags & !ALL != 0 {
        return Err(format!("has a record with unknown terms {flags:#x}"));
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
    let ttl = match flags & (TTL | NEVER | DUE) {
        0 | DUE => Ttl::Stream,
        TTL => Ttl::Ms(input.u64("time")?),
        NEVER => Ttl::Never,
        _ => return Err("has a record with two times to live".to_owned()),
    };
    let due = (flags & DUE != 0).then(|| input.u64("time")).transpose()?;
    Ok(Marks { id, rollup, ttl, due, marker: flags & MARKER != 0 })
}
