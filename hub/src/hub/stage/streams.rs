//! The stage's words for streams and groups. A partition is `stream:index`; in what a shard is asked it is told by its place.

use crate::registry::snapshot::Snapshot;
use crate::testing::named;
use bytes::Bytes;
use std::fmt::Write as _;
use stele_model::group::{
    Commit, GroupAnswer, GroupChange, GroupRequest, GroupState, GroupVerb, Known, KnownChange, KnownPosition,
    Listed, MemberRef, ShardGroupAnswer,
};
use stele_model::id::{Call, Now, Position, QueueId, SessionId};
use stele_model::op::{Define, Op, StreamsWanted};
use stele_model::outcome::Done;
use stele_model::refusal::Refusal;
use stele_model::registry::Change;
use stele_model::shard::{Answer, ShardOp, ToHub};
use stele_model::stream::{
    Append, Appended, Appends, Batch, Ends, Format, PartResult, PartitionRef, Read, ReadBatch, ReadPart,
    Reads, SeekBy, Sought, StreamRef, StreamRefusal, StreamUuid,
};

fn partition(word: &str) -> PartitionRef {
    let (stream, index) = word.split_once(':').unwrap();
    PartitionRef { stream: named(stream), index: index.parse().unwrap() }
}

fn append(word: &str) -> Append {
    let batch = Batch {
        bytes: Bytes::from_static(b"batch"),
        format: Format::KafkaBatch,
        count: 2,
        time_max_ms: None,
        producer: None,
        keys: Vec::new(),
    };
    Append { to: partition(word), batch }
}

pub(in crate::hub) fn op(words: &[&str]) -> Op {
    let commit = |word: &&str| Commit {
        of: partition(word),
        position: Position(3),
        epoch: -1,
        metadata: String::new(),
    };
    let group = |group: &str, verb| Op::Group(GroupRequest { group: group.into(), verb });
    match words {
        ["append", parts @ ..] => {
            let parts = parts.iter().map(|part| append(part)).collect();
            Op::Append(Appends { parts, awaited: true, records: None })
        }
        ["read", bytes_max, watch, parts @ ..] => {
            let read =
                |part: &&str| Read { of: partition(part), from: Position(0), bytes_max: 1000, stable: false };
            let watch = watch.parse().ok();
            Op::Read(Reads {
                parts: parts.iter().map(read).collect(),
                bytes_max: bytes_max.parse().unwrap(),
                watch,
            })
        }
        ["unwatch", watch] => Op::Unwatch { watch: watch.parse().unwrap() },
        ["seek", parts @ ..] => Op::Seek(parts.iter().map(|part| (partition(part), SeekBy::Start)).collect()),
        ["trim", parts @ ..] => Op::Trim(parts.iter().map(|part| (partition(part), Position(5))).collect()),
        ["producer"] => Op::NewProducer,
        ["streams"] => Op::Streams(StreamsWanted::All),
        ["streams", names @ ..] => {
            Op::Streams(StreamsWanted::These(names.iter().map(|name| named(name)).collect()))
        }
        ["commit", of, parts @ ..] => {
            let positions = parts.iter().map(commit).collect();
            group(of, GroupVerb::Commit { of: MemberRef::default(), positions })
        }
        ["positions", of] => group(of, GroupVerb::Positions { of: None }),
        ["describe", of] => group(of, GroupVerb::Describe),
        ["delete-group", of] => group(of, GroupVerb::Delete),
        ["groups"] => Op::Groups,
        ["group-changes", home] => {
            Op::GroupChanges { home: home.parse().unwrap(), from: Position(0), count_max: 10 }
        }
        ["forget", of, uuid_of] => {
            let stream = StreamRef::Uuid(StreamUuid(uuid_of.parse::<u128>().unwrap().to_be_bytes()));
            group(of, GroupVerb::Forget { of: vec![PartitionRef { stream, index: 0 }] })
        }
        ["delete-stream", name] => Op::Define(Define::DeleteStream { stream: named(name) }),
        ["accounts"] => Op::Accounts,
        ["administer"] => Op::Administer(Change::DeleteUser { name: "nobody".into() }),
        other => panic!("cannot submit {other:?}"),
    }
}

fn ends() -> Ends {
    Ends { start: Position(1), stable: Position(9), end: Position(9), epoch: 0, bytes: 0 }
}

/// Lengths of batches, separated by commas; `gone` for a partition that is not there any more.
fn read_part(word: &&str) -> PartResult<ReadPart> {
    if **word == *"gone" {
        return Err(Refusal::Stream(StreamRefusal::UnknownPartition));
    }
    let batch = |len: &str| ReadBatch {
        block: 0,
        at: 0,
        len: len.parse().unwrap(),
        format: Format::KafkaBatch,
        first: Position(0),
        count: 1,
        epoch: 0,
        appended_ms: 0,
    };
    let batches = word.split(',').filter(|len| *len != "-").map(batch).collect();
    Ok(ReadPart { ends: ends(), batches, ..ReadPart::default() })
}

pub(super) fn message(words: &[&str]) -> ToHub {
    let call = |text: &str| Call(text.parse().unwrap());
    let answer = |of, answer| ToHub::Answer { call: call(of), answer: Ok(answer) };
    match words {
        ["appended", of, first @ ..] => {
            let appended = |first: &&str| {
                let first = Position(first.parse().unwrap());
                Ok(Appended::At { first, start: Position(0) })
            };
            ToHub::Appended { call: call(of), parts: first.iter().map(appended).collect() }
        }
        ["read", of, parts @ ..] => {
            ToHub::Read { call: call(of), parts: parts.iter().map(read_part).collect() }
        }
        ["sought", of, positions @ ..] => {
            let sought = |position: &&str| {
                let position = Some(Position(position.parse().unwrap()));
                Ok(Sought { ends: ends(), position, batch: None })
            };
            ToHub::Sought { call: call(of), parts: positions.iter().map(sought).collect() }
        }
        ["woken", session, watch] => {
            let session = super::id(session.parse().unwrap());
            ToHub::Woken { session, watch: watch.parse().unwrap() }
        }
        ["trimmed", of, count] => {
            answer(of, Answer::Trimmed((0..count.parse().unwrap()).map(|_| Ok(ends())).collect()))
        }
        ["producer", of] => answer(of, Answer::Producer(77)),
        ["committed", of, count] => {
            let parts = (0..count.parse().unwrap()).map(|_| Ok(())).collect();
            answer(of, Answer::Group(Ok(ShardGroupAnswer::Plain(GroupAnswer::Committed(parts)))))
        }
        ["positions", of, partitions @ ..] => {
            let known = |id: &&str| KnownPosition {
                partition: QueueId(id.parse().unwrap()),
                position: Position(4),
                epoch: 0,
                metadata: String::new(),
            };
            let known = partitions.iter().map(known).collect();
            answer(of, Answer::Group(Ok(ShardGroupAnswer::Positions(known))))
        }
        ["changes", of, partition] => {
            let known = KnownPosition {
                partition: QueueId(partition.parse().unwrap()),
                position: Position(4),
                epoch: 0,
                metadata: String::new(),
            };
            let (at, time, group) = (Position(1), Now(0), "g".to_owned());
            let change = KnownChange { at, time, group, what: Ok(known) };
            answer(of, Answer::Group(Ok(ShardGroupAnswer::Changes(Position(2), vec![change]))))
        }
        ["listed", of, groups @ ..] => {
            let listed = |group: &&str| Listed {
                group: (*group).into(),
                kind: "consumer".into(),
                state: GroupState::Stable,
            };
            let listed = groups.iter().map(listed).collect();
            answer(of, Answer::Group(Ok(ShardGroupAnswer::Listed(listed))))
        }
        other => panic!("cannot answer {other:?}"),
    }
}

/// A queue by its name, a partition as `stream:index`.
pub(super) fn name(snapshot: &Snapshot, id: QueueId) -> String {
    match (snapshot.queue(id), snapshot.partition(id)) {
        (Some(queue), _) => queue.name.to_string(),
        (None, Some((stream, index))) => format!("{}:{index}", stream.name),
        (None, None) => format!("gone:{id}"),
    }
}

pub(super) fn op_text(op: &ShardOp, snapshot: &Snapshot) -> String {
    let name = |id: &QueueId| name(snapshot, *id);
    let names = |ids: Vec<String>| ids.join(" ");
    let of = |SessionId { number, .. }: SessionId| number;
    match op {
        ShardOp::Append(append) => {
            let parts = append.parts.iter().map(|(id, _)| name(id)).collect();
            let mut text = format!("append call={} {}", append.call, names(parts));
            for (part, publish) in &append.records {
                let to: Vec<_> = publish.routes.iter().flatten().map(name).collect();
                write!(text, " +{part}:call={}>{}", publish.call, to.join(",")).unwrap();
            }
            text
        }
        ShardOp::Read(read) => {
            let parts = read.parts.iter().map(|part| name(&part.partition)).collect();
            let watch = read.watch.map_or(String::new(), |watch| format!(" watch={watch}"));
            format!("read call={} {}{watch}", read.call, names(parts))
        }
        ShardOp::Unwatch { session, watch } => format!("unwatch {} {watch}", of(*session)),
        ShardOp::Seek { call, parts, .. } => {
            format!("seek call={call} {}", names(parts.iter().map(|(id, _)| name(id)).collect()))
        }
        ShardOp::Trim { call, parts, .. } => {
            format!("trim call={call} {}", names(parts.iter().map(|(id, _)| name(id)).collect()))
        }
        ShardOp::NewProducer { call, .. } => format!("producer call={call}"),
        ShardOp::Group(group) => {
            let there = |id: &Option<QueueId>| id.as_ref().map_or("none".to_owned(), name);
            let parts = group.partitions.iter().map(there).collect();
            format!("group call={} {} at {} {}", group.call, group.group, name(&group.home), names(parts))
                .trim_end()
                .to_owned()
        }
        ShardOp::Groups { call, home, .. } => format!("groups call={call} {}", name(home)),
        ShardOp::GroupChanges { call, home, .. } => format!("group-changes call={call} {}", name(home)),
        ShardOp::PartitionsGone { partitions } => format!("partitions-gone {}", partitions.len()),
        other => panic!("a hub does not ask {other:?}"),
    }
}

fn parts_text<T>(parts: &[PartResult<T>], show: impl Fn(&T) -> String) -> String {
    let part = |part: &PartResult<T>| match part {
        Ok(part) => show(part),
        Err(Refusal::Stream(why)) => format!("{why:?}"),
        Err(refusal) => super::refusal_text(refusal).replace(' ', "-"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}

pub(super) fn done_text(done: &Done) -> Option<String> {
    Some(match done {
        Done::Appended(parts) => format!(
            "appended {}",
            parts_text(parts, |part| match part {
                Appended::At { first, .. } => first.to_string(),
                Appended::Listeners => "listeners".to_owned(),
            })
        ),
        Done::Read(parts) => format!(
            "read {}",
            parts_text(parts, |part| {
                let lens: Vec<_> = part.batches.iter().map(|batch| batch.len.to_string()).collect();
                if lens.is_empty() { "-".to_owned() } else { lens.join(",") }
            })
        ),
        Done::Sought(parts) => {
            format!("sought {}", parts_text(parts, |part| part.position.unwrap_or_default().to_string()))
        }
        Done::Trimmed(parts) => format!("trimmed {}", parts_text(parts, |ends| ends.start.to_string())),
        Done::Streams(parts) => {
            let show = |info: &std::sync::Arc<stele_model::stream::StreamInfo>| {
                format!("{}*{}", info.name, info.partitions.len())
            };
            format!("streams {}", parts_text(parts, show))
        }
        Done::Group(Ok(GroupAnswer::Committed(parts))) => {
            format!("committed {}", parts_text(parts, |()| "ok".to_owned()))
        }
        Done::Group(Ok(GroupAnswer::Positions(positions))) => {
            let show = |commit: &Commit| match &commit.of.stream {
                StreamRef::Name(name) => {
                    format!("{name}:{}@{}", commit.of.index, commit.position)
                }
                other => format!("{other:?}"),
            };
            format!("positions {}", positions.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Done::Groups(listed) => {
            let names: Vec<_> = listed.iter().map(|listed| listed.group.as_str()).collect();
            format!("groups {}", names.join(" ")).trim_end().to_owned()
        }
        Done::Stream(_) => "Stream(StreamInfo)".to_owned(),
        Done::GroupChanges(changes) => {
            let show = |change: &GroupChange| match &change.what {
                Known::Position(commit) => format!("{:?}", commit.of.stream),
                Known::Generation(generation) => generation.generation.to_string(),
            };
            let changes: Vec<_> = changes.changes.iter().map(show).collect();
            format!("changes {}", changes.join(" "))
        }
        Done::Accounts(accounts) => {
            let names: Vec<_> = accounts.iter().map(|account| account.name.as_str()).collect();
            format!("accounts {}", names.join(" "))
        }
        _ => return None,
    })
}
