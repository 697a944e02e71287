//! Metadata (key 3) and DescribeTopicPartitions (75): which topics there are, and who leads their partitions. One node leads all.
//!
//! A topic that is not there is made, if the client and the server's settings allow it, before the answer goes out.

use super::serve::{Context, Stages, Step, done, streams};
use super::topics::{METADATA_TOPIC, collides, collision, is_name, may_collide, new_topic, take_repeated};
use crate::codec::generated::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use crate::codec::generated::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::codec::wire::{Text, Uuid};
use crate::profile;
use crate::refuse::{Code, refused};
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::group::GROUP_STREAM;
use stele_model::op::{Define, Op, StreamsWanted};
use stele_model::outcome::Done;
use stele_model::refusal::{Object, Refusal};
use stele_model::stream::{PartResult, StreamInfo, StreamRef, StreamRefusal, StreamUuid};

/// First version in which no list of topics, rather than an empty one, stands for all.
const NULL_IS_ALL_FIRST: i16 = 1;
/// First version whose clients say whether topics may be made for them; before, they may.
const SAYS_CREATE_FIRST: i16 = 4;

/// Metadata.
pub(super) fn metadata<'a>(
    context: &mut Context<'_>,
    mut request: MetadataRequest<'a>,
    stages: &'a Stages,
) -> Step<MetadataResponse<'a>> {
    if let Some(topics) = &mut request.topics {
        take_repeated(topics, |topic| (topic.name.clone(), topic.topic_id.0));
    }
    let asked = request.topics.as_deref();
    let all = asked.is_none_or(|topics| topics.is_empty() && context.version < NULL_IS_ALL_FIRST);
    let asked = asked.unwrap_or_default();
    let Some(first) = stages.first() else {
        let wanted = match (all, asked.is_empty()) {
            (true, _) => StreamsWanted::All,
            (false, true) => return Step::Answer(answer(context, Vec::new())),
            (false, false) => StreamsWanted::These(asked.iter().map(wanted).collect()),
        };
        return Step::Ask(vec![Op::Streams(wanted)]);
    };
    let mut found = streams(&first[0], asked.len());
    if all {
        let topics = found.iter().flatten().map(described).collect();
        return Step::Answer(answer(context, topics));
    }
    let mut missing = missing(context, &request, &found);
    let looks = missing.iter().any(|at| asked[*at].name.as_deref().is_some_and(may_collide));
    let (later, others) = match stages[1..].split_first() {
        _ if !looks => (&stages[1..], Vec::new()),
        None => return Step::Ask(vec![Op::Streams(StreamsWanted::All)]),
        Some((all, later)) => (later, streams(&all[0], 0)),
    };
    missing.retain(|at| {
        let there = || others.iter().flatten().map(|info| info.name.as_str());
        let name = asked[*at].name.as_deref().filter(|name| may_collide(name)).unwrap_or_default();
        let collides = collides(name, there()).map(|other| collision(name, other).text);
        if let Some(why) = &collides {
            let (object, name, why) = (Object::Stream, name.to_owned(), why.clone());
            found[*at] = Err(Refusal::Reserved { object, name, why });
        }
        collides.is_none()
    });
    match later.first() {
        None if missing.is_empty() => {}
        None => {
            let create = missing.iter().filter_map(|at| asked[*at].name.as_deref());
            let (partitions, defaults) = (context.profile.partitions, Default::default());
            let create = create
                .map(|name| Define::CreateStream(new_topic(context.identity, name, partitions, &defaults)));
            return Step::Ask(create.map(Op::Define).collect());
        }
        Some(made) => {
            for (at, made) in missing.into_iter().zip(made) {
                found[at] = match done(made) {
                    Ok(Done::Stream(info)) => Ok(info.clone()),
                    Err(refusal) => Err(refusal.clone()),
                    Ok(other) => unreachable!("the hub answers a new stream with {other:?}"),
                };
            }
        }
    }
    let topics = asked.iter().zip(&found).map(|(asked, found)| topic(asked, found)).collect();
    Step::Answer(answer(context, topics))
}

fn wanted(topic: &MetadataRequestTopic<'_>) -> StreamRef {
    match &topic.name {
        Some(name) if topic.topic_id == Uuid::default() => StreamRef::Name(name.to_string()),
        _ => StreamRef::Uuid(StreamUuid(topic.topic_id.0)),
    }
}

/// Indexes of the topics that are to be made, each name once.
fn missing(
    context: &Context<'_>,
    request: &MetadataRequest<'_>,
    found: &[PartResult<Arc<StreamInfo>>],
) -> Vec<usize> {
    let allowed = request.allow_auto_topic_creation || context.version < SAYS_CREATE_FIRST;
    if !context.profile.auto_create || !allowed {
        return Vec::new();
    }
    let asked = request.topics.iter().flatten().zip(found).enumerate();
    let mut seen = BTreeSet::new();
    let missing = asked.filter(|(_, (topic, found))| {
        let unknown =
            matches!(found, Err(Refusal::Stream(StreamRefusal::UnknownStream) | Refusal::Missing { .. }));
        let may_be_made = |name: &&str| is_name(name) && ![GROUP_STREAM, METADATA_TOPIC].contains(name);
        let name = topic.name.as_deref().filter(may_be_made);
        unknown && name.is_some_and(|name| seen.insert(name.to_owned()))
    });
    missing.map(|(at, _)| at).collect()
}

fn topic<'a>(
    asked: &MetadataRequestTopic<'a>,
    found: &PartResult<Arc<StreamInfo>>,
) -> MetadataResponseTopic<'a> {
    let refusal = match found {
        Ok(info) => return described(info),
        Err(refusal) => refusal,
    };
    let code = match (refusal, asked.name.as_deref()) {
        // Somebody else has made it meanwhile.
        (Refusal::Exists { .. }, _) => Code::LeaderNotAvailable,
        (_, Some(name)) if !is_name(name) => Code::InvalidTopic,
        (refusal, _) => refused(refusal).code,
    };
    MetadataResponseTopic {
        error_code: code.number(),
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        ..MetadataResponseTopic::default()
    }
}

fn described(info: &Arc<StreamInfo>) -> MetadataResponseTopic<'static> {
    MetadataResponseTopic {
        name: Some(info.name.clone().into()),
        topic_id: Uuid(info.uuid.0),
        is_internal: info.internal,
        partitions: indexes(info)
            .map(|index| MetadataResponsePartition { partition_index: index, ..partition() })
            .collect(),
        ..MetadataResponseTopic::default()
    }
}

/// Filled in by [`answer`]: the node is the same for all.
fn partition() -> MetadataResponsePartition {
    MetadataResponsePartition { leader_epoch: profile::LEADER_EPOCH, ..MetadataResponsePartition::default() }
}

fn indexes(info: &StreamInfo) -> impl Iterator<Item = i32> {
    (0..).take(info.partitions.len())
}

fn answer<'a>(context: &Context<'_>, mut topics: Vec<MetadataResponseTopic<'a>>) -> MetadataResponse<'a> {
    let profile = context.profile;
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.leader_id = profile.node_id;
        partition.replica_nodes = vec![profile.node_id];
        partition.isr_nodes = vec![profile.node_id];
    }
    let broker = MetadataResponseBroker {
        node_id: profile.node_id,
        host: profile.host.clone().into(),
        port: i32::from(profile.port),
        rack: None,
    };
    MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some(profile.cluster_id.clone().into()),
        controller_id: profile.node_id,
        topics,
        ..MetadataResponse::default()
    }
}

/// DescribeTopicPartitions: topics by name, a bounded number of partitions at a time; the cursor says where to go on.
pub(super) fn describe_partitions<'a>(
    context: &mut Context<'_>,
    request: DescribeTopicPartitionsRequest<'a>,
    stages: &'a Stages,
) -> Step<DescribeTopicPartitionsResponse<'a>> {
    let start = request.cursor.as_ref();
    let after = |name: &str| start.is_none_or(|cursor| name >= &*cursor.topic_name);
    let names: BTreeSet<Text<'a>> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    if start.is_some_and(|cursor| is_astray(cursor, &names)) {
        return Step::Answer(astray(names));
    }
    let names: Vec<Text<'a>> = names.into_iter().filter(|name| after(name)).collect();
    let Some(stage) = stages.first() else {
        let these = names.iter().map(|name| StreamRef::Name(name.to_string())).collect();
        let all = request.topics.is_empty();
        if !all && names.is_empty() {
            return Step::Answer(DescribeTopicPartitionsResponse::default());
        }
        return Step::Ask(vec![Op::Streams(if all {
            StreamsWanted::All
        } else {
            StreamsWanted::These(these)
        })]);
    };
    let mut found: Vec<(Text<'a>, PartResult<Arc<StreamInfo>>)> = if request.topics.is_empty() {
        let found = streams(&stage[0], 0).into_iter().flatten();
        found.map(|info| (info.name.clone().into(), Ok(info))).collect()
    } else {
        names.iter().cloned().zip(streams(&stage[0], names.len())).collect()
    };
    found.retain(|(name, _)| after(name));
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(1).max(1);
    let mut left = asked.min(profile::PARTITIONS_DESCRIBED_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for (name, found) in found {
        let first = match start {
            Some(cursor) if cursor.topic_name == name => cursor.partition_index,
            _ => 0,
        };
        if left == 0 {
            let cursor = DescribeTopicPartitionsResponseCursor { topic_name: name, partition_index: first };
            response.next_cursor = Some(cursor);
            break;
        }
        let info = match found {
            Ok(info) => info,
            Err(refusal) => {
                let error_code = if is_name(&name) { refused(&refusal).code } else { Code::InvalidTopic };
                response.topics.push(DescribeTopicPartitionsResponseTopic {
                    error_code: error_code.number(),
                    name: Some(name),
                    ..DescribeTopicPartitionsResponseTopic::default()
                });
                continue;
            }
        };
        let mut rest = indexes(&info).skip(usize::try_from(first).unwrap_or_default());
        let node = context.profile.node_id;
        let partitions: Vec<_> = rest.by_ref().take(left).map(|index| one_partition(index, node)).collect();
        left -= partitions.len();
        response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: Uuid(info.uuid.0),
            is_internal: info.internal,
            partitions,
            ..DescribeTopicPartitionsResponseTopic::default()
        });
        if let Some(partition_index) = rest.next() {
            let cursor = DescribeTopicPartitionsResponseCursor { topic_name: name, partition_index };
            response.next_cursor = Some(cursor);
            break;
        }
    }
    Step::Answer(response)
}

/// Whether a cursor is none that an answer to these topics, or to all, can have had.
fn is_astray(cursor: &Cursor<'_>, names: &BTreeSet<Text<'_>>) -> bool {
    cursor.partition_index < 0 || !names.is_empty() && !names.contains(&*cursor.topic_name)
}

/// The answer has no other place for it: every topic that was asked for has the error.
fn astray<'a>(names: BTreeSet<Text<'a>>) -> DescribeTopicPartitionsResponse<'a> {
    let topics = names.into_iter().map(|name| DescribeTopicPartitionsResponseTopic {
        error_code: Code::InvalidRequest.number(),
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..DescribeTopicPartitionsResponse::default() }
}

fn one_partition(partition_index: i32, node: i32) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        partition_index,
        leader_id: node,
        leader_epoch: profile::LEADER_EPOCH,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..DescribeTopicPartitionsResponsePartition::default()
    }
}
