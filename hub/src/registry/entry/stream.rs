//! Facts about streams, and their bytes.

use super::super::bytes::{Reader, Writer, Wrong};
use super::records;
use stele_model::id::{NamespaceId, QueueId, ShardId};
use stele_model::stream::{StreamSettings, StreamUuid, TimeKind};
use stele_model::value::Arguments;

/// Bit of the byte of the time: what the stream does with its records follows.
const RECORDS: u8 = 16;

/// See [`super::Fact::Stream`].
#[derive(Clone, Debug, PartialEq)]
pub struct StreamFact {
    /// Its stable number.
    pub uuid: StreamUuid,
    /// Where.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: String,
    /// Made by the system.
    pub internal: bool,
    /// What it does.
    pub settings: StreamSettings,
    /// As given.
    pub arguments: Arguments,
}

/// See [`super::Fact::Partitions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionsFact {
    /// Of which stream.
    pub stream: StreamUuid,
    /// Index of the first one.
    pub first: u32,
    /// Number and home of each: numbers of the same space as queues.
    pub partitions: Vec<(QueueId, ShardId)>,
}

impl StreamFact {
    pub(super) fn write(&self, out: &mut Writer) {
        out.array(self.uuid.0);
        out.u64(self.namespace.0);
        out.text(&self.name);
        out.bool(self.internal);
        let StreamSettings {
            retention_ms,
            retention_bytes,
            delete,
            compact,
            compact_after_ms,
            tombstone_ms,
            batch_bytes_max,
            capture,
            time,
            records,
        } = &self.settings;
        out.maybe(*retention_ms, Writer::u64);
        out.maybe(*retention_bytes, Writer::u64);
        out.bool(*delete);
        out.bool(*compact);
        out.u64(*compact_after_ms);
        out.u64(*tombstone_ms);
        out.u32(*batch_bytes_max);
        out.bool(*capture);
        let time = match time {
            TimeKind::Producer => 1,
            TimeKind::Append => 2,
        };
        out.u8(time | if records.is_some() { RECORDS } else { 0 });
        if let Some(records) = records {
            records::write(out, records);
        }
        out.arguments(&self.arguments);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            uuid: StreamUuid(input.array()?),
            namespace: NamespaceId(input.u64()?),
            name: input.text()?,
            internal: input.bool()?,
            settings: settings(input)?,
            arguments: input.arguments()?,
        })
    }
}

fn settings(input: &mut Reader<'_>) -> Result<StreamSettings, Wrong> {
    let mut settings = StreamSettings {
        retention_ms: input.maybe(Reader::u64)?,
        retention_bytes: input.maybe(Reader::u64)?,
        delete: input.bool()?,
        compact: input.bool()?,
        compact_after_ms: input.u64()?,
        tombstone_ms: input.u64()?,
        batch_bytes_max: input.u32()?,
        capture: input.bool()?,
        ..StreamSettings::default()
    };
    let time = input.u8()?;
    settings.time = match time & !RECORDS {
        1 => TimeKind::Producer,
        2 => TimeKind::Append,
        other => return Err(format!("time of unknown kind {other}")),
    };
    if time & RECORDS != 0 {
        settings.records = Some(Box::new(records::read(input)?));
    }
    Ok(settings)
}

impl PartitionsFact {
    pub(super) fn write(&self, out: &mut Writer) {
        out.array(self.stream.0);
        out.u32(self.first);
        out.count(self.partitions.len());
        for (id, shard) in &self.partitions {
            out.u64(id.0);
            out.u16(shard.0);
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Wrong> {
        let (stream, first, count) = (StreamUuid(input.array()?), input.u32()?, input.count()?);
        let partition = |input: &mut Reader<'_>| Ok((QueueId(input.u64()?), ShardId(input.u16()?)));
        let partitions = (0..count).map(|_| partition(input)).collect::<Result<_, Wrong>>()?;
        Ok(Self { stream, first, partitions })
    }
}
