//! DescribeConfigs (key 32), AlterConfigs (33), IncrementalAlterConfigs (44), ListConfigResources (74).
//!
//! Topics' configurations can be changed; the broker's are its own file's, and are shown. It has no loggers with names, so none is shown, and
//! each that a client names is unknown.

use super::serve::{Context, Stages, Step, done, streams};
use super::settings::{self, Kind, SETTINGS, Written, elements, find};
use super::topics::{is_name, repeated};
use crate::codec::generated::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::codec::generated::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use crate::codec::generated::{alter_configs, incremental_alter_configs};
use crate::codec::wire::Text;
use crate::profile::Profile;
use crate::refuse::{Code, Fault, refused};
use std::sync::Arc;
use stele_model::op::{Define, Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::stream::{PartResult, StreamInfo, StreamRef};

/// A topic's configurations.
const TOPIC: i8 = 2;
/// A broker's.
const BROKER: i8 = 4;
/// A broker's loggers.
const LOGGER: i8 = 8;
/// Where a value comes from: a client wrote it.
const DYNAMIC_TOPIC: i8 = 1;
/// Where a value comes from: the broker's own configuration.
const STATIC_BROKER: i8 = 4;
/// Where a value comes from: nobody wrote it.
const DEFAULT: i8 = 5;
/// What else Kafka has configurations of: client metrics, groups.
const OTHERS: [i8; 2] = [16, 32];
/// First version that lists more than the configurations of client metrics, of which there are none.
const LIST_ALL_FIRST: i16 = 1;

/// Where a topic's value comes from.
pub(super) fn source(differs: bool) -> i8 {
    if differs { DYNAMIC_TOPIC } else { DEFAULT }
}

/// DescribeConfigs.
pub(super) fn describe<'a>(
    context: &mut Context<'_>,
    request: DescribeConfigsRequest<'a>,
    stages: &'a Stages,
) -> Step<DescribeConfigsResponse<'a>> {
    let topics = request.resources.iter().filter(|resource| resource.resource_type == TOPIC);
    let names: Vec<&str> = topics.map(|resource| &*resource.resource_name).collect();
    let found = match look_up(&names, stages) {
        Ok(found) => found,
        Err(ops) => return Step::Ask(ops),
    };
    let mut found = found.into_iter();
    let results = request.resources.iter().map(|resource| {
        let configs = match resource.resource_type {
            TOPIC => match found.next().expect("each topic was looked up") {
                Ok(info) => Ok(topic_configs(&info, resource, &request)),
                Err(refusal) => Err(not_found(&resource.resource_name, &refusal)),
            },
            BROKER if resource.resource_name.is_empty() => Ok(Vec::new()), // Defaults for all brokers: nobody can write any.
            BROKER => is_this_node(context.profile, &resource.resource_name)
                .map(|()| broker_configs(context.profile, resource, &request)),
            LOGGER => is_this_node(context.profile, &resource.resource_name).map(|()| Vec::new()),
            other => {
                Err(Fault::new(Code::InvalidRequest, format!("there are no configurations of kind {other}")))
            }
        };
        let (configs, fault) = match configs {
            Ok(configs) => (configs, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        DescribeConfigsResult {
            error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
            error_message: fault.map(|fault| fault.text.into()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        }
    });
    Step::Answer(DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() })
}

/// Why there is no such topic.
fn not_found(name: &str, refusal: &Refusal) -> Fault {
    if is_name(name) {
        return refused(refusal);
    }
    Fault::new(Code::InvalidTopic, format!("Topic name is invalid: '{name}'"))
}

/// The topics of these names, or what to ask to find them.
fn look_up(names: &[&str], stages: &Stages) -> Result<Vec<PartResult<Arc<StreamInfo>>>, Vec<Op>> {
    match stages.first() {
        _ if names.is_empty() => Ok(Vec::new()),
        Some(outcomes) => Ok(streams(&outcomes[0], names.len())),
        None => {
            let these = names.iter().map(|name| StreamRef::Name((*name).to_owned())).collect();
            Err(vec![Op::Streams(StreamsWanted::These(these))])
        }
    }
}

fn is_wanted(resource: &DescribeConfigsResource<'_>, name: &str) -> bool {
    resource
        .configuration_keys
        .as_ref()
        .is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key == name))
}

fn topic_configs<'a>(
    info: &StreamInfo,
    resource: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Vec<DescribeConfigsResourceResult<'a>> {
    let wanted = SETTINGS.iter().filter(|setting| is_wanted(resource, setting.name));
    let configs = wanted.map(|setting| {
        let (value, differs) = settings::present(info, setting);
        let synonym = |name: Text<'a>, value: &str, source: i8| DescribeConfigsSynonym {
            name,
            value: Some(value.to_owned().into()),
            source,
        };
        let mut synonyms = Vec::new();
        if request.include_synonyms {
            synonyms.extend(differs.then(|| synonym(setting.name.into(), &value, DYNAMIC_TOPIC)));
            let broker = settings::broker_name(setting);
            synonyms.extend(broker.map(|name| synonym(name.into(), setting.default, DEFAULT)));
        }
        DescribeConfigsResourceResult {
            name: setting.name.into(),
            value: Some(value.into()),
            config_source: source(differs),
            synonyms,
            config_type: setting.kind as i8,
            documentation: request.include_documentation.then(|| setting.documentation.into()),
            ..DescribeConfigsResourceResult::default()
        }
    });
    configs.collect()
}

/// Whether a resource is of this node.
fn is_this_node(profile: &Profile, name: &str) -> Result<(), Fault> {
    if name.parse() == Ok(profile.node_id) {
        return Ok(());
    }
    Err(Fault::new(Code::InvalidRequest, format!("there is no broker '{name}', this is {}", profile.node_id)))
}

fn broker_configs<'a>(
    profile: &Profile,
    resource: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Vec<DescribeConfigsResourceResult<'a>> {
    let default = |name| find(name).map_or("", |setting| setting.default).to_owned();
    let listener = format!("PLAINTEXT://{}:{}", profile.host, profile.port);
    let configs = [
        ("advertised.listeners", listener, Kind::List),
        ("auto.create.topics.enable", profile.auto_create.to_string(), Kind::Boolean),
        ("broker.id", profile.node_id.to_string(), Kind::Int),
        ("default.replication.factor", "1".to_owned(), Kind::Int),
        ("delete.topic.enable", "true".to_owned(), Kind::Boolean),
        ("group.initial.rebalance.delay.ms", profile.group_initial_delay_ms.to_string(), Kind::Int),
        ("group.max.session.timeout.ms", profile.session_ms.end().to_string(), Kind::Int),
        ("group.min.session.timeout.ms", profile.session_ms.start().to_string(), Kind::Int),
        ("log.cleanup.policy", default("cleanup.policy"), Kind::List),
        ("log.dirs", profile.log_dir.clone(), Kind::List),
        ("log.retention.bytes", default("retention.bytes"), Kind::Long),
        ("log.retention.ms", default("retention.ms"), Kind::Long),
        ("message.max.bytes", default("max.message.bytes"), Kind::Int),
        ("min.insync.replicas", "1".to_owned(), Kind::Int),
        ("node.id", profile.node_id.to_string(), Kind::Int),
        ("num.partitions", profile.partitions.to_string(), Kind::Int),
        ("offsets.retention.minutes", profile.offsets_retention_minutes.to_string(), Kind::Int),
        ("offsets.topic.replication.factor", "1".to_owned(), Kind::Short),
        ("socket.request.max.bytes", profile.request_bytes_max.to_string(), Kind::Int),
    ];
    let wanted = configs.into_iter().filter(|(name, ..)| is_wanted(resource, name));
    let synonym = |name: &'static str, value: &str| DescribeConfigsSynonym {
        name: name.into(),
        value: Some(value.to_owned().into()),
        source: STATIC_BROKER,
    };
    let shown = wanted.map(|(name, value, kind)| DescribeConfigsResourceResult {
        name: name.into(),
        synonyms: request.include_synonyms.then(|| synonym(name, &value)).into_iter().collect(),
        value: Some(value.into()),
        read_only: true,
        config_source: STATIC_BROKER,
        config_type: kind as i8,
        documentation: request.include_documentation.then(|| meaning(name).into()),
        ..DescribeConfigsResourceResult::default()
    });
    shown.collect()
}

/// What a configuration of the broker means.
fn meaning(name: &str) -> &'static str {
    match name {
        "advertised.listeners" => "Where clients are told to connect to.",
        "auto.create.topics.enable" => "Whether a topic that is asked for is made.",
        "broker.id" | "node.id" => "The number of this node.",
        "default.replication.factor" => "Copies of a topic that is made by itself.",
        "delete.topic.enable" => "Whether topics can be deleted.",
        "group.initial.rebalance.delay.ms" => "How long the first member of an empty group waits for others.",
        "group.max.session.timeout.ms" => "The longest session time that a member may ask for.",
        "group.min.session.timeout.ms" => "The shortest session time that a member may ask for.",
        "log.cleanup.policy" => "What cleanup.policy is where a topic does not say.",
        "log.dirs" => "Where everything durable lives.",
        "log.retention.bytes" => "What retention.bytes is where a topic does not say.",
        "log.retention.ms" => "What retention.ms is where a topic does not say.",
        "message.max.bytes" => "What max.message.bytes is where a topic does not say.",
        "min.insync.replicas" => "Copies that a record needs before it is acknowledged.",
        "num.partitions" => "Partitions of a topic that does not say how many.",
        "offsets.retention.minutes" => "How long an empty group keeps its offsets.",
        "offsets.topic.replication.factor" => "Copies of what groups know.",
        "socket.request.max.bytes" => "The largest request that is read.",
        _ => "",
    }
}

/// What one resource shall become.
struct Change<'a> {
    kind: i8,
    name: Text<'a>,
    what: What<'a>,
}

enum What<'a> {
    /// This and nothing else.
    All(Vec<(Text<'a>, Option<Text<'a>>)>),
    /// One step after the other: 0 set, [`DELETE`], 2 append, 3 subtract.
    Steps(Vec<(Text<'a>, i8, Option<Text<'a>>)>),
}

/// The step that takes a value away.
const DELETE: i8 = 1;

impl What<'_> {
    /// The first name that is there more than once.
    fn twice(&self) -> Option<&str> {
        let mut twice = match self {
            Self::All(configs) => repeated(configs.iter().map(|(name, _)| &**name)),
            Self::Steps(steps) => repeated(steps.iter().map(|(name, ..)| &**name)),
        };
        twice.pop_first()
    }

    /// What becomes of the node's loggers: they can be changed one by one, and there is none.
    fn of_loggers(&self) -> Result<(), Fault> {
        let wrong = |text: &str| Fault::new(Code::InvalidRequest, text);
        match self {
            _ if self.twice().is_some() => Err(wrong("a logger is there twice")),
            Self::All(_) => Err(wrong("loggers are changed one by one")),
            Self::Steps(steps) => match steps.first() {
                None => Ok(()),
                Some((name, DELETE, _) | (name, 0, Some(_))) => {
                    Err(Fault::new(Code::InvalidConfig, format!("Logger {name} does not exist!")))
                }
                Some((_, 0, None)) => Err(wrong("a logger is set to a level")),
                Some(_) => Err(wrong("a logger is set or deleted")),
            },
        }
    }

    /// What is written afterwards.
    fn of(&self, before: Written, info: &StreamInfo) -> Result<Written, Fault> {
        let invalid = |text: String| Fault::new(Code::InvalidConfig, text);
        let missing = |name: &str| {
            let text = format!("Null value not supported for topic configs: {name}");
            Fault::new(Code::InvalidRequest, text)
        };
        if let Some(name) = self.twice() {
            return Err(Fault::new(Code::InvalidRequest, format!("{name} is there twice")));
        }
        let mut written = before;
        match self {
            Self::All(configs) => {
                written.clear();
                for (name, value) in configs {
                    let value = value.as_deref().ok_or_else(|| missing(name))?;
                    settings::write(&mut written, name, value);
                }
            }
            Self::Steps(steps) => {
                for (name, operation, value) in steps {
                    if *operation == DELETE {
                        written.remove(&**name);
                        continue;
                    }
                    let setting = find(name);
                    let setting =
                        setting.ok_or_else(|| invalid(format!("Unknown topic config name: {name}")))?;
                    let value = value.as_deref().ok_or_else(|| missing(name));
                    match operation {
                        0 => settings::write(&mut written, name, value?),
                        2 | 3 if setting.kind == Kind::List => {
                            let value = value?;
                            let (now, _) = settings::present(info, setting);
                            let mut list: Vec<&str> = elements(&now).collect();
                            list.retain(|element| !elements(value).any(|other| other == *element));
                            if *operation == 2 {
                                list.extend(elements(value));
                            }
                            settings::write(&mut written, name, &list.join(","));
                        }
                        2 | 3 => {
                            let text = format!("{name} is no list");
                            return Err(invalid(text));
                        }
                        other => {
                            return Err(Fault::new(Code::InvalidRequest, format!("no operation {other}")));
                        }
                    };
                }
            }
        }
        settings::check(&written)?;
        Ok(written)
    }
}

/// Looks the topics up, changes them, and tells what became of each resource.
fn change<'a>(
    profile: &Profile,
    changes: &[Change<'a>],
    check_only: bool,
    stages: &Stages,
) -> Step<Vec<Result<(), Fault>>> {
    let topics = changes.iter().filter(|change| change.kind == TOPIC);
    let names: Vec<&str> = topics.map(|change| &*change.name).collect();
    let found = match look_up(&names, stages) {
        Ok(found) => found,
        Err(ops) => return Step::Ask(ops),
    };
    let mut found = found.into_iter();
    let twice = repeated(changes.iter().map(|change| (change.kind, &*change.name)));
    let planned: Vec<Result<Option<Op>, Fault>> = changes
        .iter()
        .map(|change| {
            let is_twice = twice.contains(&(change.kind, &*change.name));
            if change.kind == LOGGER && !is_twice {
                return is_this_node(profile, &change.name)
                    .and_then(|()| change.what.of_loggers())
                    .map(|()| None);
            }
            if ![TOPIC, LOGGER].contains(&change.kind) {
                let text = "only configurations of topics can be changed";
                return Err(Fault::new(Code::InvalidRequest, text));
            }
            let info = (change.kind == TOPIC).then(|| found.next().expect("each topic was looked up"));
            let Some(info) = info.filter(|_| !change.name.is_empty() && !is_twice) else {
                let text = format!("'{}' is nameless, or there twice", change.name);
                return Err(Fault::new(Code::InvalidRequest, text));
            };
            let info = info.map_err(|refusal| not_found(&change.name, &refusal))?;
            let written = change.what.of(settings::written(&info), &info)?;
            Ok(Some(Op::Define(Define::AlterStream {
                stream: StreamRef::Name(info.name.clone()),
                settings: settings::settings(&written),
                arguments: settings::arguments(&written),
                check_only,
            })))
        })
        .collect();
    let asked = planned.iter().flatten().flatten().count();
    let outcomes = match stages.get(1) {
        Some(outcomes) => outcomes.as_slice(),
        None if asked == 0 => &[],
        None => return Step::Ask(planned.into_iter().flatten().flatten().collect()),
    };
    let mut outcomes = outcomes.iter();
    let mut altered = |_| alteration(outcomes.next().expect("each change that was asked for is answered"));
    let results = planned.into_iter().map(|planned| planned.and_then(|op| op.map_or(Ok(()), &mut altered)));
    Step::Answer(results.collect())
}

fn alteration(outcome: &Outcome) -> Result<(), Fault> {
    match done(outcome) {
        Ok(Done::Stream(_)) => Ok(()),
        Err(refusal) => Err(refused(refusal)),
        Ok(other) => unreachable!("the hub answers for a stream with {other:?}"),
    }
}

/// AlterConfigs: what is not named has its default again.
pub(super) fn alter<'a>(
    context: &mut Context<'_>,
    request: alter_configs::AlterConfigsRequest<'a>,
    stages: &'a Stages,
) -> Step<alter_configs::AlterConfigsResponse<'a>> {
    let changes = request.resources.into_iter().map(|resource| Change {
        kind: resource.resource_type,
        name: resource.resource_name,
        what: What::All(resource.configs.into_iter().map(|config| (config.name, config.value)).collect()),
    });
    let changes: Vec<Change<'a>> = changes.collect();
    match change(context.profile, &changes, request.validate_only, stages) {
        Step::Ask(ops) => Step::Ask(ops),
        Step::Answer(results) => {
            let responses = changes.into_iter().zip(results).map(|(change, result)| {
                let fault = result.err();
                alter_configs::AlterConfigsResourceResponse {
                    error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
                    error_message: fault.map(|fault| fault.text.into()),
                    resource_type: change.kind,
                    resource_name: change.name,
                }
            });
            let responses = responses.collect();
            Step::Answer(alter_configs::AlterConfigsResponse { responses, throttle_time_ms: 0 })
        }
    }
}

/// IncrementalAlterConfigs.
pub(super) fn alter_incrementally<'a>(
    context: &mut Context<'_>,
    request: incremental_alter_configs::IncrementalAlterConfigsRequest<'a>,
    stages: &'a Stages,
) -> Step<incremental_alter_configs::IncrementalAlterConfigsResponse<'a>> {
    let changes = request.resources.into_iter().map(|resource| {
        let steps = resource.configs.into_iter();
        Change {
            kind: resource.resource_type,
            name: resource.resource_name,
            what: What::Steps(
                steps.map(|config| (config.name, config.config_operation, config.value)).collect(),
            ),
        }
    });
    let changes: Vec<Change<'a>> = changes.collect();
    match change(context.profile, &changes, request.validate_only, stages) {
        Step::Ask(ops) => Step::Ask(ops),
        Step::Answer(results) => {
            let responses = changes.into_iter().zip(results).map(|(change, result)| {
                let fault = result.err();
                incremental_alter_configs::AlterConfigsResourceResponse {
                    error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
                    error_message: fault.map(|fault| fault.text.into()),
                    resource_type: change.kind,
                    resource_name: change.name,
                }
            });
            let responses = responses.collect();
            Step::Answer(incremental_alter_configs::IncrementalAlterConfigsResponse {
                responses,
                throttle_time_ms: 0,
            })
        }
    }
}

/// ListConfigResources: what has configurations.
pub(super) fn list_resources<'a>(
    context: &mut Context<'_>,
    request: ListConfigResourcesRequest,
    stages: &'a Stages,
) -> Step<ListConfigResourcesResponse<'a>> {
    let is_kind = |kind: &i8| matches!(*kind, TOPIC | BROKER | LOGGER) || OTHERS.contains(kind);
    if !request.resource_types.iter().all(is_kind) {
        let error_code = Code::UnsupportedVersion.number();
        return Step::Answer(ListConfigResourcesResponse {
            error_code,
            ..ListConfigResourcesResponse::default()
        });
    }
    let all = request.resource_types.is_empty();
    let wants =
        |kind: i8| context.version >= LIST_ALL_FIRST && (all || request.resource_types.contains(&kind));
    let mut config_resources: Vec<ConfigResource<'a>> = Vec::new();
    if wants(TOPIC) {
        let Some(outcomes) = stages.first() else {
            return Step::Ask(vec![Op::Streams(StreamsWanted::All)]);
        };
        let topics = streams(&outcomes[0], 0).into_iter().flatten();
        config_resources.extend(
            topics
                .map(|info| ConfigResource { resource_name: info.name.clone().into(), resource_type: TOPIC }),
        );
    }
    for resource_type in [BROKER, LOGGER].into_iter().filter(|kind| wants(*kind)) {
        let resource_name = context.profile.node_id.to_string().into();
        config_resources.push(ConfigResource { resource_name, resource_type });
    }
    Step::Answer(ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() })
}
