//! OffsetCommit (key 8), OffsetFetch (9), OffsetDelete (47): how far groups have read.

use super::groups::{ask, code};
use super::serve::{Context, Stages, Step, group, streams};
use crate::codec::generated::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use crate::codec::generated::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::codec::generated::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::codec::wire::{Text, Uuid};
use crate::refuse::{Code, Fault};
use std::collections::BTreeMap;
use stele_model::group::{Commit, GroupAnswer, GroupVerb, MemberRef};
use stele_model::id::Position;
use stele_model::op::{Op, StreamsWanted};
use stele_model::outcome::Outcome;
use stele_model::stream::{PartitionRef, StreamRef, StreamUuid};

/// First version of OffsetCommit and OffsetFetch that names topics by id.
const BY_ID_FIRST: i16 = 10;
/// First version of OffsetCommit that tells of a group that is not there.
const UNKNOWN_GROUP_FIRST: i16 = 9;
/// First version of OffsetFetch that asks for many groups.
const MANY_FIRST: i16 = 8;
/// First version of OffsetFetch with an error of its own beside those of partitions.
const GROUP_ERROR_FIRST: i16 = 2;

fn partition(stream: StreamRef, index: i32) -> PartitionRef {
    PartitionRef { stream, index: u32::try_from(index).unwrap_or(u32::MAX) }
}

/// One code for each of `count` positions, or the group's for all of them.
fn codes(outcome: &Outcome, count: usize) -> Vec<Code> {
    match group(outcome) {
        Ok(GroupAnswer::Committed(results)) => results.iter().map(code).collect(),
        Ok(other) => unreachable!("a group answers a commit with {other:?}"),
        Err(fault) => vec![fault.code; count],
    }
}

/// OffsetCommit.
pub(super) fn commit<'a>(
    context: &mut Context<'_>,
    request: OffsetCommitRequest<'a>,
    stages: &'a Stages,
) -> Step<OffsetCommitResponse<'a>> {
    let by_id = context.version >= BY_ID_FIRST;
    let mut positions = Vec::new();
    for topic in &request.topics {
        let stream = || match by_id {
            true => StreamRef::Uuid(StreamUuid(topic.topic_id.0)),
            false => StreamRef::Name(topic.name.to_string()),
        };
        positions.extend(topic.partitions.iter().map(|part| {
            let of = partition(stream(), part.partition_index);
            let metadata = part.committed_metadata.as_deref().unwrap_or_default().to_owned();
            Commit { of, position: kept(part.committed_offset), epoch: part.committed_leader_epoch, metadata }
        }));
    }
    let count = positions.len();
    let codes = match stages.first() {
        Some(outcomes) => codes(&outcomes[0], count),
        None if count == 0 => Vec::new(),
        None => {
            let of = MemberRef {
                generation: request.generation_id_or_member_epoch,
                member: request.member_id.to_string(),
                instance: request.group_instance_id.as_ref().map(ToString::to_string),
            };
            return Step::Ask(vec![ask(&request.group_id, GroupVerb::Commit { of, positions })]);
        }
    };
    let mut codes = codes.into_iter().map(|code| match code {
        Code::GroupIdNotFound if context.version < UNKNOWN_GROUP_FIRST => Code::IllegalGeneration,
        code => code,
    });
    let mut result = |part: &OffsetCommitRequestPartition<'_>| {
        let code = codes.next().expect("each position is answered");
        OffsetCommitResponsePartition { partition_index: part.partition_index, error_code: code.number() }
    };
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(&mut result).collect(),
    });
    Step::Answer(OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() })
}

/// OffsetDelete.
pub(super) fn delete<'a>(
    _: &mut Context<'_>,
    request: OffsetDeleteRequest<'a>,
    stages: &'a Stages,
) -> Step<OffsetDeleteResponse<'a>> {
    let all = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)));
    let of: Vec<_> = all
        .map(|(topic, part)| partition(StreamRef::Name(topic.name.to_string()), part.partition_index))
        .collect();
    let Some(outcomes) = stages.first() else {
        return Step::Ask(vec![ask(&request.group_id, GroupVerb::Forget { of })]);
    };
    let mut codes = match group(&outcomes[0]) {
        Ok(GroupAnswer::Committed(results)) => results.iter().map(code),
        Ok(other) => unreachable!("a group answers a deletion of offsets with {other:?}"),
        Err(fault) => {
            let error_code = fault.code.number();
            return Step::Answer(OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() });
        }
    };
    let topics = request.topics.iter().map(|topic| OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|part| OffsetDeleteResponsePartition {
                partition_index: part.partition_index,
                error_code: codes.next().expect("each partition is answered").number(),
            })
            .collect(),
    });
    Step::Answer(OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() })
}

/// A group that is asked for, whatever the version.
struct Wanted<'a> {
    group: Text<'a>,
    /// `None`: all that is known.
    topics: Option<Vec<(Text<'a>, Uuid, Vec<i32>)>>,
}

fn wanted<'a>(request: OffsetFetchRequest<'a>, version: i16) -> Vec<Wanted<'a>> {
    if version < MANY_FIRST {
        let topics = request.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, Uuid::default(), topic.partition_indexes)).collect()
        });
        return vec![Wanted { group: request.group_id, topics }];
    }
    let groups = request.groups.into_iter().map(|group| {
        let topics = group.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.topic_id, topic.partition_indexes)).collect()
        });
        Wanted { group: group.group_id, topics }
    });
    groups.collect()
}

/// OffsetFetch.
pub(super) fn fetch<'a>(
    context: &mut Context<'_>,
    request: OffsetFetchRequest<'a>,
    stages: &'a Stages,
) -> Step<OffsetFetchResponse<'a>> {
    let version = context.version;
    let by_id = version >= BY_ID_FIRST;
    let groups = wanted(request, version);
    let Some(outcomes) = stages.first() else {
        let ops = groups.iter().map(|wanted| ask(&wanted.group, positions(wanted, by_id)));
        let ops: Vec<Op> = ops.collect();
        if ops.is_empty() {
            return Step::Answer(OffsetFetchResponse::default());
        }
        return Step::Ask(ops);
    };
    let known: Vec<Result<&[Commit], Fault>> = outcomes.iter().map(found).collect();
    let mut names = Names::default();
    if by_id {
        let refs = refs(&groups, &known);
        match stages.get(1) {
            None if refs.is_empty() => {}
            None => return Step::Ask(vec![Op::Streams(StreamsWanted::These(refs))]),
            Some(outcomes) => names.learn(&outcomes[0], refs.len()),
        }
    }
    let answered = groups.into_iter().zip(known).map(|(wanted, known)| answer(wanted, known, by_id, &names));
    let answered: Vec<OffsetFetchResponseGroup<'a>> = answered.collect();
    if version >= MANY_FIRST {
        return Step::Answer(OffsetFetchResponse { groups: answered, ..OffsetFetchResponse::default() });
    }
    let group = answered.into_iter().next().unwrap_or_default();
    let error_code = group.error_code;
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(old_partition).collect(),
    });
    let mut topics: Vec<OffsetFetchResponseTopic<'a>> = topics.collect();
    if version < GROUP_ERROR_FIRST {
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = if error_code == 0 { partition.error_code } else { error_code };
        }
    }
    Step::Answer(OffsetFetchResponse { topics, error_code, ..OffsetFetchResponse::default() })
}

fn positions(wanted: &Wanted<'_>, by_id: bool) -> GroupVerb {
    let of = wanted.topics.as_ref().map(|topics| {
        let each = topics.iter().flat_map(|(name, id, indexes)| {
            let stream = match by_id {
                true => StreamRef::Uuid(StreamUuid(id.0)),
                false => StreamRef::Name(name.to_string()),
            };
            indexes.iter().map(move |index| partition(stream.clone(), *index))
        });
        each.collect()
    });
    GroupVerb::Positions { of }
}

fn found(outcome: &Outcome) -> Result<&[Commit], Fault> {
    match group(outcome)? {
        GroupAnswer::Positions(commits) => Ok(commits),
        other => unreachable!("a group answers positions with {other:?}"),
    }
}

/// The topics whose names or ids must be found: those asked for by id, and those of groups that were asked for as a whole.
fn refs(groups: &[Wanted<'_>], known: &[Result<&[Commit], Fault>]) -> Vec<StreamRef> {
    let mut refs: Vec<StreamRef> = Vec::new();
    for (wanted, known) in groups.iter().zip(known) {
        match (&wanted.topics, known) {
            (Some(topics), _) => {
                refs.extend(topics.iter().map(|(_, id, _)| StreamRef::Uuid(StreamUuid(id.0))))
            }
            (None, Ok(commits)) => refs.extend(commits.iter().map(|commit| commit.of.stream.clone())),
            (None, Err(_)) => {}
        }
    }
    refs.sort();
    refs.dedup();
    refs
}

/// Names and ids of topics.
#[derive(Default)]
struct Names {
    by_id: BTreeMap<Uuid, String>,
    by_name: BTreeMap<String, Uuid>,
}

impl Names {
    fn learn(&mut self, outcome: &Outcome, count: usize) {
        for info in streams(outcome, count).into_iter().flatten() {
            self.by_id.insert(Uuid(info.uuid.0), info.name.clone());
            self.by_name.insert(info.name.clone(), Uuid(info.uuid.0));
        }
    }
}

fn name(commit: &Commit) -> &str {
    match &commit.of.stream {
        StreamRef::Name(name) => name,
        StreamRef::Uuid(_) => unreachable!("the hub names the streams of positions"),
    }
}

fn answer<'a>(
    wanted: Wanted<'a>,
    known: Result<&'a [Commit], Fault>,
    by_id: bool,
    names: &Names,
) -> OffsetFetchResponseGroup<'a> {
    let (commits, error_code) = match known {
        Ok(commits) => (commits, Code::None),
        Err(fault) => (&[][..], fault.code),
    };
    let mut found: BTreeMap<&str, BTreeMap<u32, &'a Commit>> = BTreeMap::new();
    for commit in commits {
        found.entry(name(commit)).or_default().insert(commit.of.index, commit);
    }
    let topics = match wanted.topics {
        None => {
            let all = found.into_iter().map(|(name, parts)| {
                let topic_id = names.by_name.get(name).copied().unwrap_or_default();
                let partitions = parts.into_values().map(committed).collect();
                OffsetFetchResponseTopics { name: name.to_owned().into(), topic_id, partitions }
            });
            all.collect()
        }
        Some(topics) => {
            let asked = topics.into_iter().map(|(name, topic_id, indexes)| {
                let known_name =
                    if by_id { names.by_id.get(&topic_id).map(String::as_str) } else { Some(&*name) };
                let parts = known_name.and_then(|name| found.get(name));
                let partitions = indexes.into_iter().map(|index| {
                    let commit = u32::try_from(index).ok().and_then(|index| parts?.get(&index));
                    let code = if known_name.is_some() { Code::None } else { Code::UnknownTopicId };
                    commit.map_or_else(|| none(index, code), |commit| committed(commit))
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopics { name, topic_id, partitions }
            });
            asked.collect()
        }
    };
    OffsetFetchResponseGroup { group_id: wanted.group, topics, error_code: error_code.number() }
}

/// An offset as a group keeps it. Clients commit those below zero too (KafkaJS says "from the start" and "from the end" so) and are told
/// them again: nobody else reads these numbers.
fn kept(offset: i64) -> Position {
    Position(offset.cast_unsigned())
}

/// An offset that a group has kept.
pub(super) fn told(position: Position) -> i64 {
    position.0.cast_signed()
}

fn committed(commit: &Commit) -> OffsetFetchResponsePartitions<'_> {
    OffsetFetchResponsePartitions {
        partition_index: i32::try_from(commit.of.index).unwrap_or(i32::MAX),
        committed_offset: told(commit.position),
        committed_leader_epoch: commit.epoch,
        metadata: Some((&commit.metadata).into()),
        error_code: Code::None.number(),
    }
}

fn none<'a>(partition_index: i32, code: Code) -> OffsetFetchResponsePartitions<'a> {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        metadata: Some(Text::default()),
        error_code: code.number(),
        ..OffsetFetchResponsePartitions::default()
    }
}

fn old_partition(part: OffsetFetchResponsePartitions<'_>) -> OffsetFetchResponsePartition<'_> {
    OffsetFetchResponsePartition {
        partition_index: part.partition_index,
        committed_offset: part.committed_offset,
        committed_leader_epoch: part.committed_leader_epoch,
        metadata: part.metadata,
        error_code: part.error_code,
    }
}
