//! `__consumer_offsets` as tools read it: what the groups know, written as the records that Kafka's coordinator would have kept.
//!
//! Nothing is stored there; see [`stele_model::group`]. Formats: offset commits have a key of version 1 and a value of version 3,
//! generations a key of version 2 and a value of version 3. Fetch reads it, by name and by id, and ListOffsets knows its ends; its
//! offsets are the places of what is logged.

use super::offsets::told;
use super::produce::offset;
use crate::codec::wire::{Text, Wire, Writer};
use crate::profile;
use bytes::{Bytes, BytesMut};
use stele_model::group::{Commit, DescribedMember, GroupChange, GroupChanges, Known, KnownGeneration};
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::stream::StreamRef;
use stele_record::batch::builder::Builder;
use stele_record::batch::compression::Codec;

/// What to ask for a read of one of its partitions.
pub(super) fn changes(partition: i32, from: i64) -> Op {
    Op::GroupChanges {
        home: u32::try_from(partition).unwrap_or(u32::MAX),
        from: Position(u64::try_from(from).unwrap_or(u64::MAX)),
        count_max: profile::GROUP_CHANGES_MAX,
    }
}

/// What to ask for the end of one of its partitions: a read from behind all there can be.
pub(super) fn end(partition: i32) -> Op {
    changes(partition, i64::MAX)
}

/// The end of the partition, and the changes as one batch, unless there are none.
pub(super) fn batch(changes: &GroupChanges) -> (Position, Option<Bytes>) {
    let Some(first) = changes.changes.first() else { return (changes.end, None) };
    let mut builder = Builder::default();
    for change in &changes.changes {
        let Ok(delta) = i32::try_from(change.at.0 - first.at.0) else { break };
        let (key, value) = record(change);
        let timestamp = offset(change.time.ms());
        builder.put(delta, timestamp, (Some(&key), Some(&value)), std::iter::empty());
    }
    (changes.end, Some(builder.finish(offset(first.at.0), profile::LEADER_EPOCH, Codec::None)))
}

fn record(change: &GroupChange) -> (BytesMut, BytesMut) {
    let (mut key, mut value) = (BytesMut::new(), BytesMut::new());
    let group = Text::from(&change.group);
    let time = offset(change.time.ms());
    match &change.what {
        Known::Position(commit) => {
            fields(&mut key, &[&1_i16, &group, &topic(commit), &index(commit)]);
            let metadata = Text::from(&commit.metadata);
            fields(&mut value, &[&3_i16, &told(commit.position), &commit.epoch, &metadata, &time]);
        }
        Known::Generation(generation) => {
            fields(&mut key, &[&2_i16, &group]);
            put_generation(&mut value, generation, time);
        }
    }
    (key, value)
}

fn topic(commit: &Commit) -> Text<'_> {
    match &commit.of.stream {
        StreamRef::Name(name) => Text::from(name),
        StreamRef::Uuid(_) => Text::from(""),
    }
}

fn index(commit: &Commit) -> i32 {
    i32::try_from(commit.of.index).unwrap_or(i32::MAX)
}

fn put_generation(out: &mut BytesMut, known: &KnownGeneration, time: i64) {
    let optional = |text: &'_ String| (!text.is_empty()).then(|| Text::from(text.clone()));
    fields(out, &[&3_i16, &Text::from(&known.kind), &known.generation]);
    fields(out, &[&optional(&known.protocol), &optional(&known.leader), &time]);
    fields(out, &[&i32::try_from(known.members.len()).unwrap_or(i32::MAX)]);
    for (member, session_ms, rebalance_ms) in &known.members {
        let DescribedMember { member, instance, client, host, metadata, part } = member;
        let ms = |ms: u32| i32::try_from(ms).unwrap_or(i32::MAX);
        let instance = instance.as_ref().map(Text::from);
        fields(out, &[&Text::from(member), &instance, &Text::from(client), &Text::from(host)]);
        fields(out, &[&ms(*rebalance_ms), &ms(*session_ms), &&metadata[..], &&part[..]]);
    }
}

/// A field of these records: the primitive types of messages, in the encoding with fixed lengths.
trait Field {
    fn put(&self, writer: &mut Writer<'_>);
}

impl<'a, T: Wire<'a>> Field for T {
    fn put(&self, writer: &mut Writer<'_>) {
        self.write(writer);
    }
}

fn fields(out: &mut BytesMut, fields: &[&dyn Field]) {
    let mut writer = Writer { out, version: 0, flexible: false };
    fields.iter().for_each(|field| field.put(&mut writer));
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::Now;
    use stele_model::stream::PartitionRef;
    use stele_record::batch::Batch;

    #[test]
    fn a_commit_reads_as_in_kafka() {
        let of = PartitionRef { stream: StreamRef::Name("t".to_owned()), index: 2 };
        let commit = Commit { of, position: Position(9), epoch: 0, metadata: "m".to_owned() };
        let what = Known::Position(commit);
        let change = GroupChange { at: Position(40), time: Now(5_000), group: "g".to_owned(), what };
        let (end, octets) = batch(&GroupChanges { end: Position(41), changes: vec![change] });
        let octets = octets.unwrap();
        let (batch, _) = Batch::first(&octets).unwrap();
        batch.verify().unwrap();
        assert_eq!((end, batch.head().base_offset), (Position(41), 40));
        let contents = batch.contents(1000).unwrap();
        let record = contents.records().next().unwrap().unwrap();
        assert_eq!(record.key, Some(&b"\0\x01\0\x01g\0\x01t\0\0\0\x02"[..]));
        let value = b"\0\x03\0\0\0\0\0\0\0\x09\0\0\0\0\0\x01m\0\0\0\0\0\0\0\x05";
        assert_eq!(record.value, Some(&value[..]));
    }
}
