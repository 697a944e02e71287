//! The bytes of what a stream does with its records one by one (`docs/format-registry.md`).

use super::super::bytes::{Reader, Writer, Wrong};
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
const ECHO: u16 = 64;
const RENAME: u16 = 128;
const BUNDLES: u16 = 256;
const DUE: u16 = 512;
const ALL: u16 = 1023;

pub(super) fn write(out: &mut Writer, of: &RecordSettings) {
    out.count(of.subjects.len());
    of.subjects.iter().for_each(|pattern| out.bytes(pattern.as_bytes()));
    out.maybe(of.records_max, Writer::u64);
    out.maybe(of.per_subject_max, Writer::u64);
    out.u8(match of.discard {
        Discard::Old => 1,
        Discard::New { per_subject: false } => 2,
        Discard::New { per_subject: true } => 3,
    });
    out.u64(of.dedupe_ms);
    out.u8(match of.storage {
        Storage::Durable => 1,
        Storage::Memory => 2,
    });
    out.u8(match of.retention {
        Retention::Limits => 1,
        Retention::Interest => 2,
        Retention::Work => 3,
    });
    out.u64(of.first.0);
    out.maybe(of.groups_max, Writer::u32);
    out.maybe(of.marker_ttl_ms, Writer::u64);
    let flag = |is: bool, bit: u16| if is { bit } else { 0 };
    out.u16(
        flag(of.rollup, ROLLUP)
            | flag(of.record_ttl, RECORD_TTL)
            | flag(of.deny_delete, DENY_DELETE)
            | flag(of.deny_purge, DENY_PURGE)
            | flag(of.sealed, SEALED)
            | flag(of.no_ack, NO_ACK)
            | flag(of.echo.is_some(), ECHO)
            | flag(of.rename.is_some(), RENAME)
            | flag(of.bundles, BUNDLES)
            | flag(of.due, DUE),
    );
    if let Some(Echo { to, head_only }) = &of.echo {
        out.bool(*head_only);
        renaming(out, to);
    }
    if let Some(to) = &of.rename {
        renaming(out, to);
    }
}

pub(super) fn read(input: &mut Reader<'_>) -> Result<RecordSettings, Wrong> {
    let count = input.count()?;
    let subjects = (0..count).map(|_| pattern(input)).collect::<Result<_, Wrong>>()?;
    let records_max = input.maybe(Reader::u64)?;
    let per_subject_max = input.maybe(Reader::u64)?;
    let discard = match input.u8()? {
        1 => Discard::Old,
        2 => Discard::New { per_subject: false },
        3 => Discard::New { per_subject: true },
        other => return Err(format!("discard of unknown kind {other}")),
    };
    let dedupe_ms = input.u64()?;
    let storage = match input.u8()? {
        1 => Storage::Durable,
        2 => Storage::Memory,
        other => return Err(format!("storage of unknown kind {other}")),
    };
    let retention = match input.u8()? {
        1 => Retention::Limits,
        2 => Retention::Interest,
        3 => Retention::Work,
        other => return Err(format!("retention of unknown kind {other}")),
    };
    let first = Position(input.u64()?);
    let groups_max = input.maybe(Reader::u32)?;
    let marker_ttl_ms = input.maybe(Reader::u64)?;
    let flags = input.u16()?;
    if flags & !ALL != 0 {
        return Err(format!("settings {flags:#x} of a stream's records are unknown"));
    }
    let echo = if flags & ECHO != 0 {
        let head_only = input.bool()?;
        Some(Echo { to: read_renaming(input)?, head_only })
    } else {
        None
    };
    let rename = if flags & RENAME != 0 { Some(read_renaming(input)?) } else { None };
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
        rollup: flags & ROLLUP != 0,
        record_ttl: flags & RECORD_TTL != 0,
        due: flags & DUE != 0,
        marker_ttl_ms,
        deny_delete: flags & DENY_DELETE != 0,
        deny_purge: flags & DENY_PURGE != 0,
        sealed: flags & SEALED != 0,
        no_ack: flags & NO_ACK != 0,
        bundles: flags & BUNDLES != 0,
        rename,
        echo,
    })
}

fn renaming(out: &mut Writer, of: &Renaming) {
    let mut bytes = Vec::new();
    of.write(&mut bytes);
    out.bytes(&bytes);
}

fn read_renaming(input: &mut Reader<'_>) -> Result<Renaming, Wrong> {
    Renaming::read(&input.bytes()?).ok_or_else(|| "a renaming of subjects is malformed".to_owned())
}

fn pattern(input: &mut Reader<'_>) -> Result<Pattern, Wrong> {
    Pattern::new(input.bytes()?).ok_or_else(|| "a pattern of subjects is malformed".to_owned())
}
