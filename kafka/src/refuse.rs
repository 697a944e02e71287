//! Kafka's words for "no": error codes. Clients act on them, so each refusal has the code that Kafka 4.3 would give.
//!
//! Called by the session. Every [`Refusal`] has its place here, by a `match` without `_`.

use stele_model::group::GroupRefusal;
use stele_model::refusal::{Object, Refusal};
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::RecordRefusal;

/// Error codes of the protocol guide, as far as we give them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i16)]
pub enum Code {
    /// Our mistake.
    UnknownServerError = -1,
    /// Fine.
    None = 0,
    /// The offset is not within the partition.
    OffsetOutOfRange = 1,
    /// A batch is damaged.
    CorruptMessage = 2,
    /// No such topic, or no such partition of it.
    UnknownTopicOrPartition = 3,
    /// The topic is being made: try again.
    LeaderNotAvailable = 5,
    /// A batch is over the topic's limit.
    MessageTooLarge = 10,
    /// The remark with an offset is too long.
    OffsetMetadataTooLarge = 12,
    /// The name is not possible.
    InvalidTopic = 17,
    /// `acks` is none of −1, 0, 1.
    InvalidRequiredAcks = 21,
    /// Another generation is in force.
    IllegalGeneration = 22,
    /// No way of dividing that all members know.
    InconsistentGroupProtocol = 23,
    /// The group's name is not possible.
    InvalidGroupId = 24,
    /// No such member.
    UnknownMemberId = 25,
    /// The session time is out of bounds.
    InvalidSessionTimeout = 26,
    /// Join again.
    RebalanceInProgress = 27,
    /// No grant for the topic.
    TopicAuthorizationFailed = 29,
    /// No grant for the group.
    GroupAuthorizationFailed = 30,
    /// No grant for the cluster.
    ClusterAuthorizationFailed = 31,
    /// A timestamp is out of the topic's bounds.
    InvalidTimestamp = 32,
    /// No such SASL mechanism.
    UnsupportedSaslMechanism = 33,
    /// Not at this point of the login.
    IllegalSaslState = 34,
    /// The version of an API is not spoken.
    UnsupportedVersion = 35,
    /// A topic of that name is there.
    TopicAlreadyExists = 36,
    /// The number of partitions is not possible.
    InvalidPartitions = 37,
    /// The replication factor is not possible.
    InvalidReplicationFactor = 38,
    /// The assignment of replicas is not possible.
    InvalidReplicaAssignment = 39,
    /// A configuration is not possible.
    InvalidConfig = 40,
    /// The request contradicts itself.
    InvalidRequest = 42,
    /// A bound was reached.
    PolicyViolation = 44,
    /// The numbers of a producer's batches do not follow each other.
    OutOfOrderSequenceNumber = 45,
    /// There is a newer incarnation of the producer.
    InvalidProducerEpoch = 47,
    /// No grant for the transactional id.
    TransactionalIdAuthorizationFailed = 53,
    /// The disk does not do it.
    KafkaStorageError = 56,
    /// The login failed.
    SaslAuthenticationFailed = 58,
    /// Nothing is known of the producer.
    UnknownProducerId = 59,
    /// The group has members.
    NonEmptyGroup = 68,
    /// No such group.
    GroupIdNotFound = 69,
    /// No such fetch session.
    FetchSessionIdNotFound = 70,
    /// The client knows an older leader.
    FencedLeaderEpoch = 74,
    /// The client knows a newer leader.
    UnknownLeaderEpoch = 75,
    /// The codec is not allowed in this version.
    UnsupportedCompressionType = 76,
    /// Ask again.
    OffsetNotAvailable = 78,
    /// Join with the id in the answer.
    MemberIdRequired = 79,
    /// The group is full.
    GroupMaxSizeReached = 81,
    /// Another member has the instance's id.
    FencedInstanceId = 82,
    /// The group's members read the topic.
    GroupSubscribedToTopic = 86,
    /// A record is not possible.
    InvalidRecord = 87,
    /// No such thing.
    ResourceNotFound = 91,
    /// The same thing twice in one request.
    DuplicateResource = 92,
    /// The credential is not possible.
    UnacceptableCredential = 93,
    /// No topic has this id.
    UnknownTopicId = 100,
    /// The endpoint is for brokers.
    MismatchedEndpointType = 114,
    /// There are no endpoints of this kind.
    UnsupportedEndpointType = 115,
}

impl Code {
    /// The number.
    #[must_use]
    pub fn number(self) -> i16 {
        self as i16
    }
}

/// A code, and the sentence for answers that have room for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code.
    pub code: Code,
    /// What is wrong.
    pub text: String,
}

impl Fault {
    /// With a sentence.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Whoever names a transaction: the code ends a transactional producer at once.
    pub fn transactional() -> Self {
        Self::new(Code::TransactionalIdAuthorizationFailed, "transactions are not spoken here")
    }
}

/// The code and sentence of a refusal.
#[must_use]
pub fn refused(refusal: &Refusal) -> Fault {
    let (code, text) = match refusal {
        Refusal::Stream(refusal) => return stream_refused(refusal),
        Refusal::Group(refusal) => return group_refused(refusal),
        Refusal::Exists { object: Object::Stream, name } => {
            (Code::TopicAlreadyExists, format!("Topic '{name}' already exists."))
        }
        Refusal::Exists { object, name } => {
            (Code::TopicAlreadyExists, format!("{object} '{name}' already exists"))
        }
        Refusal::Missing { object, name, .. } => match object {
            Object::Stream | Object::Queue | Object::Exchange | Object::Namespace => {
                (Code::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
            }
            Object::Group => (Code::GroupIdNotFound, format!("there is no group '{name}'")),
        },
        Refusal::Inequivalent { name, argument, asked, is, .. } => {
            (Code::InvalidConfig, format!("{argument} of '{name}' is {is}, not {asked}"))
        }
        Refusal::InvalidArgument { argument, why, .. } => match argument.as_str() {
            "partitions" => (Code::InvalidPartitions, why.clone()),
            "name" => (Code::InvalidTopic, why.clone()),
            _ => (Code::InvalidConfig, format!("{argument}: {why}")),
        },
        Refusal::UnknownExchangeKind { kind } => {
            (Code::InvalidRequest, format!("unknown exchange type '{kind}'"))
        }
        Refusal::Reserved { why, .. } => (Code::InvalidTopic, why.clone()),
        Refusal::Denied { object, name, user, .. } => {
            let code = match object {
                Object::Stream | Object::Queue | Object::Exchange => Code::TopicAuthorizationFailed,
                Object::Group => Code::GroupAuthorizationFailed,
                Object::Namespace => Code::ClusterAuthorizationFailed,
            };
            (code, format!("user '{user}' may not do this to {object} '{name}'"))
        }
        Refusal::KeyDenied { key, exchange, user, .. } => {
            let text = format!("user '{user}' may not use key '{key}' with exchange '{exchange}'");
            (Code::TopicAuthorizationFailed, text)
        }
        Refusal::NamespaceDenied { user, .. } => {
            (Code::ClusterAuthorizationFailed, format!("user '{user}' may not use this cluster"))
        }
        Refusal::InternalExchange { name, .. } => {
            (Code::InvalidTopic, format!("'{name}' is of the system's own"))
        }
        Refusal::Locked { name, .. } | Refusal::ExclusiveConsumer { name, .. } => {
            (Code::PolicyViolation, format!("'{name}' is in exclusive use"))
        }
        Refusal::InUse { object, name, .. } => {
            (Code::PolicyViolation, format!("{object} '{name}' is in use"))
        }
        Refusal::NotEmpty { name, .. } => (Code::NonEmptyGroup, format!("'{name}' is not empty")),
        Refusal::Full { name } => (Code::PolicyViolation, format!("'{name}' is full")),
        Refusal::Limit { what, max } => {
            (Code::PolicyViolation, format!("the limit of {what} ({max}) is reached"))
        }
        Refusal::NotImplemented { what } => {
            (Code::UnsupportedVersion, format!("{what}: this broker does not do it"))
        }
        Refusal::Unavailable { why } => (Code::KafkaStorageError, format!("not available now: {why}")),
    };
    Fault { code, text }
}

fn stream_refused(refusal: &StreamRefusal) -> Fault {
    let (code, text) = match refusal {
        StreamRefusal::UnknownStream => (Code::UnknownTopicOrPartition, "there is no such topic".to_owned()),
        StreamRefusal::UnknownUuid => (Code::UnknownTopicId, "no topic has this id".to_owned()),
        StreamRefusal::UnknownPartition => {
            (Code::UnknownTopicOrPartition, "the topic has no such partition".to_owned())
        }
        StreamRefusal::OutOfRange { ends } => {
            let text = format!("the partition holds offsets {} to {}", ends.start, ends.end);
            (Code::OffsetOutOfRange, text)
        }
        StreamRefusal::TooLarge { max } => {
            (Code::MessageTooLarge, format!("a batch may have at most {max} bytes in this topic"))
        }
        StreamRefusal::OutOfSequence => (
            Code::OutOfOrderSequenceNumber,
            "the sequence number does not follow the producer's last one".to_owned(),
        ),
        StreamRefusal::ProducerFenced => {
            (Code::InvalidProducerEpoch, "there is a newer incarnation of this producer".to_owned())
        }
        StreamRefusal::UnknownProducer => {
            (Code::UnknownProducerId, "nothing is known of this producer".to_owned())
        }
        StreamRefusal::KeysMissing(_) => {
            (Code::InvalidRecord, "records of a compacted topic need keys".to_owned())
        }
        StreamRefusal::Record { stream, why } => return record_refused(stream, why),
    };
    Fault { code, text }
}

/// Topics whose records are told apart by subject were made by another dialect: what they are set to may refuse ours.
fn record_refused(topic: &str, why: &RecordRefusal) -> Fault {
    let (code, why) = match why {
        RecordRefusal::NotSingle => (Code::InvalidRecord, "it takes single records, not batches"),
        RecordRefusal::RecordsMax | RecordRefusal::BytesMax | RecordRefusal::PerSubjectMax => {
            (Code::PolicyViolation, "it is full and refuses")
        }
        RecordRefusal::TooLarge { .. } => (Code::MessageTooLarge, "the record is larger than it allows"),
        RecordRefusal::Sealed
        | RecordRefusal::NoDelete
        | RecordRefusal::NoPurge
        | RecordRefusal::NoRollup
        | RecordRefusal::Impossible
        | RecordRefusal::Bundle(_)
        | RecordRefusal::NoDue
        | RecordRefusal::WrongDue
        | RecordRefusal::WrongSample
        | RecordRefusal::NotDue
        | RecordRefusal::NoTtl => (Code::PolicyViolation, "its settings do not allow this"),
        RecordRefusal::OtherStream
        | RecordRefusal::WrongEnd { .. }
        | RecordRefusal::WrongLast { .. }
        | RecordRefusal::WrongLastId { .. } => (Code::PolicyViolation, "a condition does not hold"),
        RecordRefusal::SubjectsOverlap => (Code::PolicyViolation, "it captures some of the same subjects"),
        RecordRefusal::NoRecord => (Code::OffsetOutOfRange, "there is no record at this offset"),
        RecordRefusal::NotByRecord => (Code::InvalidRequest, "it does not tell its records apart"),
    };
    Fault { code, text: format!("topic {topic}: {why}") }
}

/// The code and sentence of a group's refusal.
#[must_use]
pub fn group_refused(refusal: &GroupRefusal) -> Fault {
    let (code, text) = match refusal {
        GroupRefusal::UnknownMember => (Code::UnknownMemberId, "the group has no such member"),
        GroupRefusal::MemberIdRequired(_) => (Code::MemberIdRequired, "join again with the member id given"),
        GroupRefusal::IllegalGeneration => (Code::IllegalGeneration, "another generation is in force"),
        GroupRefusal::Rebalancing => (Code::RebalanceInProgress, "the group is rebalancing"),
        GroupRefusal::FencedInstance => {
            (Code::FencedInstanceId, "another member has taken over the instance id")
        }
        GroupRefusal::InconsistentProtocol => (
            Code::InconsistentGroupProtocol,
            "the member's protocols do not fit those of the group's other members",
        ),
        GroupRefusal::SessionTime => (Code::InvalidSessionTimeout, "the session timeout is out of bounds"),
        GroupRefusal::NotEmpty => (Code::NonEmptyGroup, "the group has members"),
        GroupRefusal::Unknown => (Code::GroupIdNotFound, "there is no such group"),
        GroupRefusal::Full => (Code::GroupMaxSizeReached, "the group has as many members as it may"),
        GroupRefusal::Subscribed => (Code::GroupSubscribedToTopic, "members of the group read the topic"),
        GroupRefusal::MetadataTooLarge => (Code::OffsetMetadataTooLarge, "the metadata is too long"),
        GroupRefusal::InvalidName => (Code::InvalidGroupId, "the group id is not possible"),
    };
    Fault::new(code, text)
}
