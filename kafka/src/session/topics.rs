//! CreateTopics (key 19), DeleteTopics (20), CreatePartitions (37).
//!
//! There is one node and one copy of everything. A replication factor is taken as written up to a bound, since many applications
//! write 3 and mean "safe"; assignments must name this node.

use super::serve::{Context, Identity, Stages, Step, done, streams};
use super::settings::{self, SETTINGS, Written};
use crate::codec::generated::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use crate::codec::generated::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::codec::generated::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::codec::wire::{Text, Uuid};
use crate::profile::{Profile, TOPIC_NAME_BYTES_MAX};
use crate::refuse::{Code, Fault, refused};
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::op::{CreateStream, Define, Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_model::stream::{StreamInfo, StreamRef, StreamUuid};

/// Where Kafka's controllers keep what they know. Clients that see a topic of this name take it for that.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// First version that names topics by id.
const DELETE_BY_ID_FIRST: i16 = 6;

/// Whether a topic may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(inner)
}

/// Whether a name has a character for which Kafka's metrics have only one.
pub(super) fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// The other name that differs from this one in dots and underscores only, if there is one among `others`.
pub(super) fn collides<'o>(name: &str, mut others: impl Iterator<Item = &'o str>) -> Option<&'o str> {
    let same = |a: u8, b: u8| a == b || matches!((a, b), (b'.', b'_') | (b'_', b'.'));
    others.find(|other| {
        *other != name
            && other.len() == name.len()
            && other.bytes().zip(name.bytes()).all(|(a, b)| same(a, b))
    })
}

/// What the client is told of a name that collides.
pub(super) fn collision(name: &str, other: &str) -> Fault {
    Fault::new(Code::InvalidTopic, format!("Topic '{name}' collides with existing topic: {other}"))
}

/// A topic to be made.
pub(super) fn new_topic(
    identity: &mut Identity,
    name: &str,
    partitions: u32,
    written: &Written,
) -> CreateStream {
    CreateStream {
        name: name.to_owned(),
        uuid: StreamUuid(identity.uuid().0),
        partitions,
        settings: settings::settings(written),
        arguments: settings::arguments(written),
        check_only: false,
    }
}

/// The stream that a definition was about.
fn stream(outcome: &Outcome) -> Result<&Arc<StreamInfo>, Fault> {
    match done(outcome) {
        Ok(Done::Stream(info)) => Ok(info),
        Err(refusal) => Err(refused(refusal)),
        Ok(other) => unreachable!("the hub answers for a stream with {other:?}"),
    }
}

/// Names that are there more than once.
pub(super) fn repeated<N: Ord>(names: impl Iterator<Item = N>) -> BTreeSet<N> {
    let mut seen = BTreeSet::new();
    names.filter_map(|name| seen.replace(name)).collect()
}

/// Leaves of each name the first, since an answer has each name once; returns those that were there again.
pub(super) fn take_repeated<T, N: Ord>(topics: &mut Vec<T>, name: impl Fn(&T) -> N) -> BTreeSet<N> {
    let twice = repeated(topics.iter().map(&name));
    let mut seen = BTreeSet::new();
    topics.retain(|topic| seen.insert(name(topic)));
    twice
}

fn once<N: Ord>(twice: &BTreeSet<N>, name: &N) -> Result<(), Fault> {
    if twice.contains(name) {
        return Err(Fault::new(Code::InvalidRequest, "Duplicate topic name."));
    }
    Ok(())
}

/// CreateTopics.
pub(super) fn create<'a>(
    context: &mut Context<'_>,
    mut request: CreateTopicsRequest<'a>,
    stages: &'a Stages,
) -> Step<CreateTopicsResponse<'a>> {
    let twice = take_repeated(&mut request.topics, |topic| topic.name.clone());
    let topics = request.topics.iter();
    let mut checked: Vec<_> = topics
        .map(|topic| once(&twice, &topic.name).and_then(|()| creatable(context.profile, topic)))
        .collect();
    // Names that may collide need to know all others first.
    let looks = request.topics.iter().any(|topic| may_collide(&topic.name));
    let (stages, others) = match stages.split_first() {
        _ if !looks => (stages, Vec::new()),
        None => return Step::Ask(vec![Op::Streams(StreamsWanted::All)]),
        Some((all, stages)) => (stages, streams(&all[0], 0)),
    };
    for (at, topic) in request.topics.iter().enumerate().filter(|(_, topic)| may_collide(&topic.name)) {
        let there = others.iter().flatten().map(|info| info.name.as_str());
        let earlier = request.topics.iter().zip(&checked).take(at).filter(|(_, checked)| checked.is_ok());
        let collides = collides(&topic.name, there.chain(earlier.map(|(topic, _)| &*topic.name)));
        let fault = collides.map(|other| collision(&topic.name, other));
        if let Some(fault) = fault.filter(|_| checked[at].is_ok()) {
            checked[at] = Err(fault);
        }
    }
    let Some(outcomes) = stages.first() else {
        let mut ops = Vec::new();
        for (topic, checked) in request.topics.iter().zip(&checked) {
            if let Ok((partitions, written)) = checked {
                let mut create = new_topic(context.identity, &topic.name, *partitions, written);
                create.check_only = request.validate_only;
                ops.push(Op::Define(Define::CreateStream(create)));
            }
        }
        if ops.is_empty() {
            return Step::Answer(created(&request, checked, &[]));
        }
        return Step::Ask(ops);
    };
    Step::Answer(created(&request, checked, outcomes))
}

/// How many partitions, and with which configuration; or what is wrong.
fn creatable(profile: &Profile, topic: &CreatableTopic<'_>) -> Result<(u32, Written), Fault> {
    if !is_name(&topic.name) {
        let text = format!("Topic name is invalid: '{}'", topic.name);
        return Err(Fault::new(Code::InvalidTopic, text));
    }
    if topic.name == METADATA_TOPIC {
        return Err(Fault::new(
            Code::InvalidRequest,
            format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
        ));
    }
    let partitions = if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, -1 | 1..) || topic.replication_factor > profile.replication_max
        {
            let max = profile.replication_max;
            let text = format!("Replication factor must be -1 or 1 to {max}");
            return Err(Fault::new(Code::InvalidReplicationFactor, text));
        }
        match topic.num_partitions {
            -1 => Some(profile.partitions),
            number => {
                u32::try_from(number).ok().filter(|number| (1..=profile.partitions_max).contains(number))
            }
        }
    } else {
        Some(assigned(profile, topic)?)
    };
    let max = profile.partitions_max;
    let text = || format!("Number of partitions must be -1 or 1 to {max}");
    let partitions = partitions.ok_or_else(|| Fault::new(Code::InvalidPartitions, text()))?;
    let mut written = Written::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let text = format!("Null value not supported for topic configs: {}", config.name);
            return Err(Fault::new(Code::InvalidConfig, text));
        };
        settings::write(&mut written, &config.name, value);
    }
    settings::check(&written)?;
    Ok((partitions, written))
}

/// How many partitions are assigned by hand.
fn assigned(profile: &Profile, topic: &CreatableTopic<'_>) -> Result<u32, Fault> {
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let text = "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.";
        return Err(Fault::new(Code::InvalidRequest, text));
    }
    let mut indexes: Vec<i32> =
        topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    let dense = indexes.iter().zip(0..).all(|(index, expected)| *index == expected);
    let ours = topic.assignments.iter().all(|assignment| assignment.broker_ids == [profile.node_id]);
    let count = u32::try_from(indexes.len()).ok().filter(|count| *count <= profile.partitions_max);
    let fault = || {
        let text =
            format!("partitions must be numbered from 0 and be assigned to broker {}", profile.node_id);
        Fault::new(Code::InvalidReplicaAssignment, text)
    };
    count.filter(|_| dense && ours).ok_or_else(fault)
}

fn created<'a>(
    request: &CreateTopicsRequest<'a>,
    checked: Vec<Result<(u32, Written), Fault>>,
    outcomes: &[Outcome],
) -> CreateTopicsResponse<'a> {
    let mut outcomes = outcomes.iter();
    let topics = request.topics.iter().zip(checked).map(|(topic, checked)| {
        let made =
            checked.and_then(|_| stream(outcomes.next().expect("each topic that was asked for is answered")));
        match made {
            Ok(info) => CreatableTopicResult {
                name: topic.name.clone(),
                topic_id: if request.validate_only { Uuid::default() } else { Uuid(info.uuid.0) },
                num_partitions: i32::try_from(info.partitions.len()).unwrap_or(i32::MAX),
                replication_factor: if topic.replication_factor > 0 { topic.replication_factor } else { 1 },
                configs: Some(configs(info)),
                ..CreatableTopicResult::default()
            },
            Err(fault) => CreatableTopicResult {
                name: topic.name.clone(),
                error_code: fault.code.number(),
                error_message: Some(fault.text.into()),
                ..CreatableTopicResult::default()
            },
        }
    });
    CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() }
}

fn configs(info: &StreamInfo) -> Vec<CreatableTopicConfigs<'static>> {
    let configs = SETTINGS.iter().map(|setting| {
        let (value, differs) = settings::present(info, setting);
        CreatableTopicConfigs {
            name: setting.name.into(),
            value: Some(value.into()),
            config_source: super::configs::source(differs),
            ..CreatableTopicConfigs::default()
        }
    });
    configs.collect()
}

/// DeleteTopics.
pub(super) fn delete<'a>(
    context: &mut Context<'_>,
    request: DeleteTopicsRequest<'a>,
    stages: &'a Stages,
) -> Step<DeleteTopicsResponse<'a>> {
    let named = |name: &Text<'a>| DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::default() };
    let mut topics: Vec<DeleteTopicState<'a>> = if context.version >= DELETE_BY_ID_FIRST {
        request.topics
    } else {
        request.topic_names.iter().map(named).collect()
    };
    let key = |topic: &DeleteTopicState<'a>| (topic.name.clone(), topic.topic_id.0);
    let twice = take_repeated(&mut topics, key);
    let checked: Vec<Result<StreamRef, Fault>> =
        topics.iter().map(|topic| once(&twice, &key(topic)).and_then(|()| deletable(topic))).collect();
    let outcomes = match stages.first() {
        Some(outcomes) => outcomes.as_slice(),
        None => {
            let ops = checked.iter().flatten().cloned();
            let ops: Vec<Op> = ops.map(|stream| Op::Define(Define::DeleteStream { stream })).collect();
            if !ops.is_empty() {
                return Step::Ask(ops);
            }
            &[]
        }
    };
    let mut outcomes = outcomes.iter();
    let mut deleted = |_| stream(outcomes.next().expect("each topic that was asked for is answered"));
    let responses =
        topics.into_iter().zip(checked).map(|(topic, checked)| match checked.and_then(&mut deleted) {
            Ok(info) => DeletableTopicResult {
                name: Some(info.name.as_str().into()),
                topic_id: Uuid(info.uuid.0),
                ..DeletableTopicResult::default()
            },
            Err(fault) => DeletableTopicResult {
                name: topic.name,
                topic_id: topic.topic_id,
                error_code: fault.code.number(),
                error_message: Some(fault.text.into()),
            },
        });
    Step::Answer(DeleteTopicsResponse { responses: responses.collect(), ..DeleteTopicsResponse::default() })
}

/// What is to be deleted: by name or by id.
fn deletable(topic: &DeleteTopicState<'_>) -> Result<StreamRef, Fault> {
    match &topic.name {
        Some(name) if topic.topic_id == Uuid::default() => Ok(StreamRef::Name(name.to_string())),
        None if topic.topic_id != Uuid::default() => Ok(StreamRef::Uuid(StreamUuid(topic.topic_id.0))),
        _ => {
            let text = "a topic is deleted by its name or by its id";
            Err(Fault::new(Code::InvalidRequest, text))
        }
    }
}

/// CreatePartitions.
pub(super) fn add_partitions<'a>(
    context: &mut Context<'_>,
    mut request: CreatePartitionsRequest<'a>,
    stages: &'a Stages,
) -> Step<CreatePartitionsResponse<'a>> {
    let twice = take_repeated(&mut request.topics, |topic| topic.name.clone());
    // Whoever says where the new ones go must say it of each: how many there are is to be known first.
    let looks = request.topics.iter().any(|topic| topic.assignments.is_some());
    let (there, stages) = match stages.split_first() {
        _ if !looks => (Vec::new(), stages),
        None => {
            let names = request.topics.iter().map(|topic| StreamRef::Name(topic.name.to_string()));
            return Step::Ask(vec![Op::Streams(StreamsWanted::These(names.collect()))]);
        }
        Some((found, stages)) => (streams(&found[0], request.topics.len()), stages),
    };
    let mut there = there.into_iter().map(Result::ok);
    let checked: Vec<Result<u32, Fault>> = request
        .topics
        .iter()
        .map(|topic| {
            let there = there.next().flatten();
            once(&twice, &topic.name).and_then(|()| addable(context.profile, topic, there.as_deref()))
        })
        .collect();
    let outcomes = match stages.first() {
        Some(outcomes) => outcomes.as_slice(),
        None => {
            let asked = request.topics.iter().zip(&checked).filter_map(|(topic, checked)| {
                let stream = StreamRef::Name(topic.name.to_string());
                let (partitions, check_only) = (*checked.as_ref().ok()?, request.validate_only);
                Some(Op::Define(Define::AddPartitions { stream, partitions, check_only }))
            });
            let asked: Vec<Op> = asked.collect();
            if !asked.is_empty() {
                return Step::Ask(asked);
            }
            &[]
        }
    };
    let mut outcomes = outcomes.iter();
    let results = request.topics.iter().zip(checked).map(|(topic, checked)| {
        let done =
            checked.and_then(|_| stream(outcomes.next().expect("each topic that was asked for is answered")));
        let fault = done.err();
        CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
            error_message: fault.map(|fault| fault.text.into()),
        }
    });
    Step::Answer(CreatePartitionsResponse {
        results: results.collect(),
        ..CreatePartitionsResponse::default()
    })
}

/// The number of partitions afterwards; that it grows is the registry's to see. `there` is the topic, where its assignments matter.
fn addable(
    profile: &Profile,
    topic: &CreatePartitionsTopic<'_>,
    there: Option<&StreamInfo>,
) -> Result<u32, Fault> {
    if let (Some(assignments), Some(there)) = (&topic.assignments, there) {
        let asked = usize::try_from(topic.count).unwrap_or_default();
        let ours = assignments.iter().all(|assignment| assignment.broker_ids == [profile.node_id]);
        // A number that does not grow is refused as that.
        if asked > there.partitions.len() && !(ours && there.partitions.len() + assignments.len() == asked) {
            let text = format!("each new partition must be assigned to broker {}", profile.node_id);
            return Err(Fault::new(Code::InvalidReplicaAssignment, text));
        }
    }
    let count = u32::try_from(topic.count).ok().filter(|count| (1..=profile.partitions_max).contains(count));
    let text = || format!("Number of partitions must be 1 to {}", profile.partitions_max);
    count.ok_or_else(|| Fault::new(Code::InvalidPartitions, text()))
}
