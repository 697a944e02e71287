//! What work on streams comes to: the facts to log, or why not. Reads the state, changes nothing.
//!
//! A stream's name is taken in the same space as those of queues, and a stream of several partitions takes the names under which
//! dialects with one sequence only know them (S25). What the settings mean to a dialect is the dialect's business; what comes here is
//! in our own words, but for AMQP's `x-queue-type: stream`, which [`super::arguments`] translates.

use super::arguments::{Made, StreamAsked, check_arguments};
use super::define::{Who, check_name, check_room, missing};
use super::entry::{Fact, PartitionsFact, StreamFact};
use super::names::secret;
use super::snapshot::{Namespace, Sequence, Stream};
use super::{Decision, PARTITIONS_MAX, QUEUES_MAX, Registry};
use std::sync::Arc;
use stele_model::group::{GROUP_HOMES, GROUP_STREAM};
use stele_model::id::{NamespaceId, QueueId, ShardId};
use stele_model::op::CreateStream;
use stele_model::outcome::Done;
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::stream::records::RecordRefusal;
use stele_model::stream::{StreamInfo, StreamRef, StreamRefusal, StreamSettings, StreamUuid};
use stele_model::value::Arguments;

/// Patterns of subjects of one stream.
const SUBJECTS_MAX: usize = 1024;

type Decided = Result<Decision, Refusal>;

impl Registry {
    pub(super) fn create_stream(&self, who: &Who<'_>, asked: CreateStream) -> Decided {
        let made = who.made(Object::Stream, &asked.name);
        who.check(Access::Configure, Object::Stream, &asked.name)?;
        if asked.name.is_empty() {
            return Err(made.invalid("name", "empty"));
        }
        check_name(made)?;
        check_not_internal(&asked.name)?;
        check_names_free(who.namespace, &asked.name, 0..asked.partitions)?;
        if !(1..=PARTITIONS_MAX).contains(&asked.partitions) {
            let why = format!("between 1 and {PARTITIONS_MAX} were expected, not {}", asked.partitions);
            return Err(made.invalid("partitions", why));
        }
        check_records(made, who.namespace, &asked.settings, asked.partitions)?;
        self.check_room_for(asked.partitions)?;
        let CreateStream { name, uuid, partitions, settings, arguments, check_only } = asked;
        let info = StreamInfo {
            name,
            uuid: self.uuid(uuid),
            partitions: self.place(partitions),
            settings,
            arguments,
            internal: false,
        };
        Ok(made_as_told(who.namespace.id, info, check_only))
    }

    pub(super) fn alter_stream(
        &self,
        who: &Who<'_>,
        stream: &StreamRef,
        (settings, arguments): (StreamSettings, Arguments),
        check_only: bool,
    ) -> Decided {
        let stream = who.stream_to_change(stream)?;
        let made = who.made(Object::Stream, &stream.name);
        check_records(made, who.namespace, &settings, stream.len())?;
        let settings = altered(made, &stream.info.settings, settings)?;
        let info = StreamInfo { settings, arguments, ..(*stream.info).clone() };
        let is_same = info == *stream.info;
        let facts = if check_only || is_same { Vec::new() } else { vec![fact_of(stream.namespace, &info)] };
        Ok(Decision { facts, done: Done::Stream(Arc::new(info)) })
    }

    pub(super) fn add_partitions(
        &self,
        who: &Who<'_>,
        stream: &StreamRef,
        partitions: u32,
        check_only: bool,
    ) -> Decided {
        let stream = who.stream_to_change(stream)?;
        let (there, made) = (stream.len(), who.made(Object::Stream, &stream.name));
        if stream.info.settings.records.is_some() {
            return Err(
                made.invalid("partitions", "a stream that tells its records apart has one".to_owned())
            );
        }
        if partitions <= there || partitions > PARTITIONS_MAX {
            let why = format!("between {} and {PARTITIONS_MAX} were expected, not {partitions}", there + 1);
            return Err(made.invalid("partitions", why));
        }
        // A stream of one is known by its own name alone, so that becoming several takes all the others.
        let first_taken = if there == 1 { 0 } else { there };
        check_parts_free(who.namespace, &stream.name, first_taken..partitions)?;
        self.check_room_for(partitions - there)?;
        let further = self.place(partitions - there);
        let mut info = (*stream.info).clone();
        info.partitions.extend(&further);
        let fact = PartitionsFact { stream: info.uuid, first: there, partitions: further };
        let facts = if check_only { Vec::new() } else { vec![Fact::Partitions(fact)] };
        Ok(Decision { facts, done: Done::Stream(Arc::new(info)) })
    }

    pub(super) fn delete_stream(&self, who: &Who<'_>, stream: &StreamRef) -> Decided {
        let stream = who.stream_to_change(stream)?;
        let facts = vec![Fact::StreamGone(stream.info.uuid)];
        Ok(Decision { facts, done: Done::Stream(stream.info.clone()) })
    }

    /// The internal stream where the groups of a namespace live; made once, when it is first asked for.
    pub(super) fn decide_group_stream(&self, namespace: NamespaceId) -> Decided {
        let found = self.state.root.namespace_by_id(namespace);
        let namespace = found.ok_or_else(|| missing(Object::Namespace, "", ""))?;
        if let Some(there) = namespace.stream(GROUP_STREAM) {
            return Ok(Decision { facts: Vec::new(), done: Done::Stream(there.info.clone()) });
        }
        check_names_free(namespace, GROUP_STREAM, 0..GROUP_HOMES)?;
        self.check_room_for(GROUP_HOMES)?;
        let info = StreamInfo {
            name: GROUP_STREAM.to_owned(),
            uuid: self.uuid(StreamUuid::default()),
            partitions: self.place(GROUP_HOMES),
            settings: StreamSettings { delete: false, compact: true, ..StreamSettings::default() },
            arguments: Arguments::new(),
            internal: true,
        };
        Ok(made_as_told(namespace.id, info, false))
    }

    /// A queue of type `stream`, made or found to be as it is asked for. The caller has checked name and grant.
    pub(super) fn declare_stream(&self, who: &Who<'_>, name: &str, asked: StreamAsked) -> Decided {
        let done = Done::Queue { name: name.to_owned(), ready: 0, consumers: 0 };
        if let Some(Sequence::Partition(stream, _)) = who.namespace.sequence(name) {
            asked.check_equivalent(who.made(Object::Queue, name), &stream.info)?;
            return Ok(Decision { facts: Vec::new(), done });
        }
        check_not_internal(name)?;
        check_names_free(who.namespace, name, 0..1)?;
        self.check_room_for(1)?;
        let info = StreamInfo {
            name: name.to_owned(),
            uuid: self.uuid(StreamUuid::default()),
            partitions: self.place(1),
            settings: asked.settings,
            arguments: asked.arguments,
            internal: false,
        };
        let Decision { facts, .. } = made_as_told(who.namespace.id, info, false);
        Ok(Decision { facts, done })
    }

    fn check_room_for(&self, further: u32) -> Result<(), Refusal> {
        let there = self.state.root.queues.len() + self.state.root.partitions.len();
        check_room("queues and partitions", there as u64 + u64::from(further) - 1, QUEUES_MAX)
    }

    /// Numbers and homes for so many partitions: always the shard that has the fewest, so that they are dealt out in turn.
    fn place(&self, partitions: u32) -> Vec<(QueueId, ShardId)> {
        let mut counts = self.state.shard_queues.clone();
        let numbers = (self.state.next.queue..).take(partitions as usize);
        let emptiest = |counts: &mut Vec<u64>| {
            let at = (0..counts.len()).min_by_key(|at| counts[*at]).expect("there is a shard");
            counts[at] += 1;
            ShardId(u16::try_from(at).expect("shards are numbered by u16"))
        };
        numbers.map(|number| (QueueId(number), emptiest(&mut counts))).collect()
    }

    /// The stable number asked for; one made up where none was, or where it is taken.
    fn uuid(&self, asked: StreamUuid) -> StreamUuid {
        let root = &self.state.root;
        let mut uuid = asked;
        let mut n = 0;
        while uuid == StreamUuid::default() || root.stream(uuid).is_some() {
            let half = |at| secret(self.setup.seed, &[root.revision.0, root.boot.0, n, at]);
            uuid = StreamUuid((u128::from(half(0)) << 64 | u128::from(half(1))).to_be_bytes());
            n += 1;
        }
        uuid
    }
}

impl<'a> Who<'a> {
    /// A stream that the principal may change.
    fn stream_to_change(&self, named: &StreamRef) -> Result<&'a Arc<Stream>, Refusal> {
        let unknown = |why| Err(Refusal::Stream(why));
        let stream = match named {
            StreamRef::Name(name) => {
                self.check(Access::Configure, Object::Stream, name)?;
                self.namespace.stream(name)
            }
            StreamRef::Uuid(uuid) => {
                let Some(stream) = self.namespace.stream_by_uuid(*uuid) else {
                    return unknown(StreamRefusal::UnknownUuid);
                };
                self.check(Access::Configure, Object::Stream, &stream.name)?;
                Some(stream)
            }
        };
        let Some(stream) = stream else { return unknown(StreamRefusal::UnknownStream) };
        check_not_internal(&stream.name)?;
        Ok(stream)
    }
}

fn made_as_told(namespace: NamespaceId, info: StreamInfo, check_only: bool) -> Decision {
    let partitions = PartitionsFact { stream: info.uuid, first: 0, partitions: info.partitions.clone() };
    let facts =
        if check_only { Vec::new() } else { vec![fact_of(namespace, &info), Fact::Partitions(partitions)] };
    Decision { facts, done: Done::Stream(Arc::new(info)) }
}

fn fact_of(namespace: NamespaceId, info: &StreamInfo) -> Fact {
    Fact::Stream(StreamFact {
        uuid: info.uuid,
        namespace,
        name: info.name.clone(),
        internal: info.internal,
        settings: info.settings.clone(),
        arguments: info.arguments.clone(),
    })
}

/// What a stream does with single records is possible, and no other stream captures what it captures.
fn check_records(
    made: Made<'_>,
    namespace: &Namespace,
    settings: &StreamSettings,
    partitions: u32,
) -> Result<(), Refusal> {
    let Some(records) = &settings.records else { return Ok(()) };
    if partitions != 1 {
        return Err(made.invalid("partitions", "a stream that tells its records apart has one".to_owned()));
    }
    if settings.compact || settings.capture {
        return Err(made.invalid("records", "not together with compaction or capture by name".to_owned()));
    }
    if records.subjects.len() > SUBJECTS_MAX {
        return Err(made.invalid("subjects", format!("more than {SUBJECTS_MAX}")));
    }
    for (n, pattern) in records.subjects.iter().enumerate() {
        if let Some(other) = records.subjects[..n].iter().find(|other| other.overlaps(pattern)) {
            return Err(made.invalid("subjects", format!("'{pattern}' overlaps '{other}'")));
        }
    }
    let others = namespace.streams.values().filter(|other| *other.name != *made.name);
    for other in others {
        let theirs = other.info.settings.records.iter().flat_map(|records| &records.subjects);
        if theirs.into_iter().any(|theirs| records.subjects.iter().any(|ours| ours.overlaps(theirs))) {
            let (stream, why) = (other.name.to_string(), RecordRefusal::SubjectsOverlap);
            return Err(Refusal::Stream(StreamRefusal::Record { stream, why }));
        }
    }
    Ok(())
}

/// The settings of a stream that is there, with what never changes as it was.
fn altered(
    made: Made<'_>,
    is: &StreamSettings,
    mut asked: StreamSettings,
) -> Result<StreamSettings, Refusal> {
    match (&is.records, &mut asked.records) {
        (None, None) => {}
        (Some(is), Some(asked)) if is.storage == asked.storage => {
            if is.sealed && !asked.sealed {
                return Err(made.invalid("sealed", "a stream stays sealed".to_owned()));
            }
            asked.first = is.first;
        }
        (Some(_), Some(_)) => return Err(made.invalid("storage", "it never changes".to_owned())),
        _ => {
            return Err(
                made.invalid("records", "a stream tells its records apart from the beginning".to_owned())
            );
        }
    }
    Ok(asked)
}

/// The name of the groups' stream is the system's.
fn check_not_internal(name: &str) -> Result<(), Refusal> {
    if name != GROUP_STREAM {
        return Ok(());
    }
    let why = format!("stream '{name}' belongs to the system");
    Err(Refusal::Reserved { object: Object::Stream, name: name.to_owned(), why })
}

/// Nobody has the name, nor one of those under which the partitions are known.
fn check_names_free(namespace: &Namespace, name: &str, parts: std::ops::Range<u32>) -> Result<(), Refusal> {
    if namespace.stream(name).is_some() || namespace.sequence(name).is_some() {
        return Err(exists(name));
    }
    check_parts_free(namespace, name, parts)
}

fn check_parts_free(namespace: &Namespace, name: &str, parts: std::ops::Range<u32>) -> Result<(), Refusal> {
    if parts.end <= 1 {
        return Ok(());
    }
    let mut names = parts.take(PARTITIONS_MAX as usize).map(|index| format!("{name}-{index}"));
    match names.find(|part| namespace.queue(part).is_some() || namespace.stream(part).is_some()) {
        Some(taken) => Err(exists(&taken)),
        None => Ok(()),
    }
}

fn exists(name: &str) -> Refusal {
    Refusal::Exists { object: Object::Stream, name: name.to_owned() }
}

/// The refusal of a queue with these arguments whose name a stream has.
pub(super) fn check_not_stream(
    made: Made<'_>,
    arguments: &Arguments,
    namespace: &Namespace,
) -> Result<(), Refusal> {
    let stream = match namespace.sequence(made.name) {
        Some(Sequence::Partition(stream, _)) => stream,
        _ => match namespace.stream(made.name) {
            Some(stream) => stream,
            None => return Ok(()),
        },
    };
    check_arguments(made, arguments, &stream.info)?;
    Err(made.is_stream())
}
