//! The bytes of what a stream does with its records one by one, in a partition's settings.

use crate::shard::bytes::Input;
use bytes::{BufMut, Bytes};
use stele_model::id::Position;
use stele_model::stream::echo::Echo;
use stele_model::stream::records::{Discard, RecordSettings, Retention, Storage};
use stele_model::subject::Pattern;
use stele_model::subject::renaming::Renaming;

const ROLLUP: u16 = 1;
const RECORD_TTL: u16 = 2;
const DENY_DELETE: u16 = 4;
const DENY_PURGE: u16 = 8;
const SEALED: u16 = 16;
const NO_ACK: u16 = 32;
const RECORDS_MAX: u16 = 64;
const PER_SUBJECT_MAX: u16 = 128;
const GROUPS_MAX: u16 = 256;
const MARKER_TTL: u16 = 512;
const ECHO: u16 = 1024;
const RENAME: u16 = 2048;
const BUNDLES: u16 = 4096;
const DUE: u16 = 8192;
const ALL: u16 = 16383;

pub(super) fn put(out: &mut Vec<u8>, of: &RecordSettings) {
    let flag = |is: bool, bit: u16| if is { bit } else { 0 };
    out.put_u16_le(
        flag(of.rollup, ROLLUP)
            | flag(of.record_ttl, RECORD_TTL)
            | flag(of.deny_delete, DENY_DELETE)
            | flag(of.deny_purge, DENY_PURGE)
            | flag(of.sealed, SEALED)
            | flag(of.no_ack, NO_ACK)
            | flag(of.records_max.is_some(), RECORDS_MAX)
            | flag(of.per_subject_max.is_some(), PER_SUBJECT_MAX)
            | flag(of.groups_max.is_some(), GROUPS_MAX)
            | flag(of.marker_ttl_ms.is_some(), MARKER_TTL)
            | flag(of.echo.is_some(), ECHO)
            | flag(of.rename.is_some(), RENAME)
            | flag(of.bundles, BUNDLES)
            | flag(of.due, DUE),
    );
    out.put_u8(match of.discard {
        Discard::Old => 1,
        Discard::New { per_subject: false } => 2,
        Discard::New { per_subject: true } => 3,
    });
    out.put_u8(match of.storage {
        Storage::Durable => 1,
        Storage::Memory => 2,
    });
    out.put_u8(match of.retention {
        Retention::Limits => 1,
        Retention::Interest => 2,
        Retention::Work => 3,
    });
    out.put_u64_le(of.dedupe_ms);
    out.put_u64_le(of.first.0);
    let groups_max = of.groups_max.map(u64::from);
    for number in [of.records_max, of.per_subject_max, groups_max, of.marker_ttl_ms].into_iter().flatten() {
        out.put_u64_le(number);
    }
    out.put_u32_le(of.subjects.len() as u32);
    for pattern in &of.subjects {
        out.put_u16_le(pattern.as_bytes().len() as u16);
        out.put_slice(pattern.as_bytes());
    }
    if let Some(Echo { to, head_only }) = &of.echo {
        out.put_u8(u8::from(*head_only));
        put_renaming(out, to);
    }
    if let Some(to) = &of.rename {
        put_renaming(out, to);
    }
}

fn put_renaming(out: &mut Vec<u8>, of: &Renaming) {
    let mut bytes = Vec::new();
    of.write(&mut bytes);
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(&bytes);
}

fn read_renaming(input: &mut Input<'_>) -> Result<Renaming, String> {
    let len = input.u32("renaming")? as usize;
    let bytes = input.bytes(len, "renaming")?;
    Renaming::read(bytes).ok_or_else(|| "a partition has a malformed renaming of subjects".to_owned())
}

pub(super) fn read(input: &mut Input<'_>) -> Result<RecordSettings, String> {
    let flags = input.u16("flags")?;
    if flags & !ALL != 0 {
        return Err(format!("settings {flags:#x} of a partition's records are unknown"));
    }
    let has = |bit: u16| flags & bit != 0;
    let discard = match input.u8("discard")? {
        1 => Discard::Old,
        2 => Discard::New { per_subject: false },
        3 => Discard::New { per_subject: true },
        other => return Err(format!("discard {other} of a partition is unknown")),
    };
    let storage = match input.u8("storage")? {
        1 => Storage::Durable,
        2 => Storage::Memory,
        other => return Err(format!("storage {other} of a partition is unknown")),
    };
    let retention = match input.u8("retention")? {
        1 => Retention::Limits,
        2 => Retention::Interest,
        3 => Retention::Work,
        other => return Err(format!("retention {other} of a partition is unknown")),
    };
    let dedupe_ms = input.u64("settings")?;
    let first = Position(input.u64("settings")?);
    let mut number = |bit: u16| has(bit).then(|| input.u64("settings")).transpose();
    let (records_max, per_subject_max) = (number(RECORDS_MAX)?, number(PER_SUBJECT_MAX)?);
    let groups_max = number(GROUPS_MAX)?.map(u32::try_from).transpose();
    let groups_max = groups_max.map_err(|_| "a partition has a bound of too many groups".to_owned())?;
    let marker_ttl_ms = number(MARKER_TTL)?;
    let mut subjects = Vec::new();
    for _ in 0..input.u32("subjects")? {
        let len = usize::from(input.u16("subject")?);
        let text = Bytes::copy_from_slice(input.bytes(len, "subject")?);
        subjects.push(Pattern::new(text).ok_or("a partition has a malformed pattern of subjects")?);
    }
    let echo = if has(ECHO) {
        let head_only = match input.u8("echo")? {
            0 => false,
            1 => true,
            other => return Err(format!("an echo of kind {other} is unknown")),
        };
        Some(Echo { to: read_renaming(input)?, head_only })
    } else {
        None
    };
    let rename = if has(RENAME) { Some(read_renaming(input)?) } else { None };
    Ok(RecordSettings {
        subjects,
        records_max,
        per_subject_max,
        discard,
        dedupe_ms,
        storage,
        retention,
        first,
        groups_max,
        rollup: has(ROLLUP),
        record_ttl: has(RECORD_TTL),
        due: has(DUE),
        marker_ttl_ms,
        deny_delete: has(DENY_DELETE),
        deny_purge: has(DENY_PURGE),
        sealed: has(SEALED),
        no_ack: has(NO_ACK),
        bundles: has(BUNDLES),
        rename,
        echo,
    })
}
