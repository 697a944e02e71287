//! The bytes of a partition's settings, in entries and snapshots.
//!
//! Called by [`super::entry`] and [`super::snapshot`]. The layout stands in `docs/format-entries.md`.

mod records;

use crate::shard::bytes::{Input, put_text};
use bytes::BufMut;
use stele_model::id::{NamespaceId, QueueId};
use stele_model::stream::{PartitionSpec, StreamSettings, TimeKind};

const DELETE: u8 = 1;
const COMPACT: u8 = 2;
const CAPTURE: u8 = 4;
const APPEND_TIME: u8 = 8;
const RETENTION_MS: u8 = 16;
const RETENTION_BYTES: u8 = 32;
const RECORDS: u8 = 64;
const ALL: u8 = 127;

/// Appends a partition's settings.
pub(super) fn put(out: &mut Vec<u8>, spec: &PartitionSpec) {
    let of = &spec.settings;
    let flag = |is: bool, bit: u8| if is { bit } else { 0 };
    out.put_u64_le(spec.id.0);
    out.put_u64_le(spec.namespace.0);
    put_text(out, &spec.stream);
    out.put_u32_le(spec.index);
    out.put_u8(
        flag(of.delete, DELETE)
            | flag(of.compact, COMPACT)
            | flag(of.capture, CAPTURE)
            | flag(of.time == TimeKind::Append, APPEND_TIME)
            | flag(of.retention_ms.is_some(), RETENTION_MS)
            | flag(of.retention_bytes.is_some(), RETENTION_BYTES)
            | flag(of.records.is_some(), RECORDS),
    );
    out.put_u32_le(of.batch_bytes_max);
    out.put_u64_le(of.compact_after_ms);
    out.put_u64_le(of.tombstone_ms);
    for number in [of.retention_ms, of.retention_bytes].into_iter().flatten() {
        out.put_u64_le(number);
    }
    if let Some(records) = &of.records {
        records::put(out, records);
    }
}

/// Reads what [`put`] wrote.
pub(super) fn read(input: &mut Input<'_>) -> Result<PartitionSpec, String> {
    let id = QueueId(input.u64("partition")?);
    let namespace = NamespaceId(input.u64("namespace")?);
    let stream = input.text("stream")?;
    let index = input.u32("index")?;
    let flags = input.u8("flags")?;
    if flags & !ALL != 0 {
        return Err(format!("settings {flags:#x} of a partition are unknown"));
    }
    let batch_bytes_max = input.u32("settings")?;
    let compact_after_ms = input.u64("settings")?;
    let tombstone_ms = input.u64("settings")?;
    let mut number = |bit: u8| (flags & bit != 0).then(|| input.u64("settings")).transpose();
    let mut settings = StreamSettings {
        retention_ms: number(RETENTION_MS)?,
        retention_bytes: number(RETENTION_BYTES)?,
        delete: flags & DELETE != 0,
        compact: flags & COMPACT != 0,
        compact_after_ms,
        tombstone_ms,
        batch_bytes_max,
        capture: flags & CAPTURE != 0,
        time: if flags & APPEND_TIME != 0 { TimeKind::Append } else { TimeKind::Producer },
        records: None,
    };
    if flags & RECORDS != 0 {
        settings.records = Some(Box::new(records::read(input)?));
    }
    Ok(PartitionSpec { id, namespace, stream, index, settings })
}
