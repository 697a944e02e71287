//! JetStream's errors: the number that clients look at, an HTTP-like code, and a text. Only those that this server can cause.
//!
//! Called by the checks and by the session. The numbers are nats-server's (its `errors.json`, 2.15), since clients compare them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An error as an answer carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// Of the kind of HTTP's.
    pub code: u16,
    /// Which error.
    #[serde(default)]
    pub err_code: u16,
    /// For people.
    #[serde(default)]
    pub description: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.description, self.err_code)
    }
}

macro_rules! errors {
    ($($name:ident = $number:literal, $code:literal, $text:literal;)*) => {
        /// Which error.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $text] $name = $number,)*
        }

        impl Code {
            /// All of them, by name.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code of HTTP's kind, and the text; `{}` in it stands for what a case adds.
            #[must_use]
            fn parts(self) -> (u16, &'static str) {
                match self {
                    $(Self::$name => ($code, $text),)*
                }
            }
        }
    };
}

errors! {
    AtomicPublishContainsDuplicateMessage = 10201, 400, "atomic publish batch contains duplicate message id";
    AtomicPublishDisabled = 10174, 400, "atomic publish is disabled";
    AtomicPublishIncompleteBatch = 10176, 400, "atomic publish batch is incomplete";
    AtomicPublishInvalidBatchCommit = 10200, 400, "atomic publish batch commit is invalid";
    AtomicPublishInvalidBatchId = 10179, 400, "atomic publish batch ID is invalid";
    AtomicPublishMissingSeq = 10175, 400, "atomic publish sequence is missing";
    AtomicPublishTooLargeBatch = 10199, 400, "atomic publish batch is too large: {}";
    AtomicPublishTooManyInflight = 10210, 429, "atomic publish too many inflight";
    AtomicPublishUnsupportedHeaderBatch = 10177, 400, "atomic publish unsupported header used: {}";
    BadRequest = 10003, 400, "bad request";
    BatchPublishDisabled = 10205, 400, "batch publish is disabled";
    ClusterRequired = 10010, 503, "JetStream clustering support required";
    ConsumerAckFlowControlNeedsFlowControl = 10219, 400, "flow control ack policy requires flow control";
    ConsumerAckFlowControlNeedsPush = 10218, 400, "flow control ack policy requires a push based consumer";
    ConsumerAckPolicyInvalid = 10181, 400, "consumer ack policy invalid";
    ConsumerAckWaitNegative = 10183, 400, "consumer ack wait needs to be positive";
    ConsumerAlreadyExists = 10148, 400, "consumer already exists";
    ConsumerBackOffNegative = 10184, 400, "consumer backoff needs to be positive";
    ConsumerCreate = 10012, 500, "{}";
    ConsumerCreateFilterSubjectMismatch = 10131, 400, "Consumer create request did not match filtered subject from create subject";
    ConsumerDeliverCycle = 10081, 400, "consumer deliver subject forms a cycle";
    ConsumerDeliverToWildcards = 10079, 400, "consumer deliver subject has wildcards";
    ConsumerDescriptionTooLong = 10107, 400, "consumer description is too long, maximum allowed is {}";
    ConsumerDirectRequiresEphemeral = 10091, 400, "consumer direct requires an ephemeral consumer";
    ConsumerDirectRequiresPush = 10090, 400, "consumer direct requires a push based consumer";
    ConsumerDoesNotExist = 10149, 400, "consumer does not exist";
    ConsumerDuplicateFilterSubjects = 10136, 400, "consumer cannot have both FilterSubject and FilterSubjects specified";
    ConsumerDurableAndNameMismatch = 10132, 400, "Consumer Durable and Name have to be equal if both are provided";
    ConsumerDurableNameNotInSubject = 10016, 400, "consumer expected to be durable but no durable name set in subject";
    ConsumerDurableNameNotMatchSubject = 10017, 400, "consumer name in subject does not match durable name in request";
    ConsumerDurableNameNotSet = 10018, 400, "consumer expected to be durable but a durable name was not set";
    ConsumerEmptyFilter = 10139, 400, "consumer filter in FilterSubjects cannot be empty";
    ConsumerEmptyGroupName = 10161, 400, "Group name cannot be an empty string";
    ConsumerEphemeralWithDurableName = 10020, 400, "consumer expected to be ephemeral but a durable name was set in request";
    ConsumerExistingActive = 10105, 400, "consumer already exists and is still active";
    ConsumerFlowControlNeedsHeartbeats = 10108, 400, "consumer with flow control also needs heartbeats";
    ConsumerFlowControlRequiresPush = 10089, 400, "consumer flow control requires a push based consumer";
    ConsumerHeartbeatRequiresPush = 10088, 400, "consumer idle heartbeat requires a push based consumer";
    ConsumerInactiveThresholdExcess = 10153, 400, "consumer inactive threshold exceeds system limit of {}";
    ConsumerInvalidDeliverSubject = 10112, 400, "invalid push consumer deliver subject";
    ConsumerInvalidGroupName = 10162, 400, "Valid priority group name must match A-Z, a-z, 0-9, -_/=)+ and may not exceed 16 characters";
    ConsumerInvalidPolicy = 10094, 400, "{}";
    ConsumerInvalidPriorityGroup = 10160, 400, "Provided priority group does not exist for this consumer";
    ConsumerInvalidReset = 10204, 400, "invalid reset: {}";
    ConsumerInvalidSampling = 10095, 400, "failed to parse consumer sampling configuration: {}";
    ConsumerMaxDeliverBackoff = 10116, 400, "max deliver is required to be > length of backoff values";
    ConsumerMaxPendingAckExcess = 10121, 400, "consumer max ack pending exceeds system limit of {}";
    ConsumerMaxPendingAckPolicyRequired = 10082, 400, "consumer requires ack policy for max ack pending";
    ConsumerMaxRequestExpiresTooSmall = 10115, 400, "consumer max request expires needs to be >= 1ms";
    ConsumerMetadataLength = 10135, 400, "consumer metadata exceeds maximum size of {}";
    ConsumerMultipleFiltersNotAllowed = 10137, 400, "consumer with multiple subject filters cannot use subject based API";
    ConsumerNameContainsPathSeparators = 10127, 400, "Consumer name can not contain path separators";
    ConsumerNameExists = 10013, 400, "consumer name already in use";
    ConsumerNameTooLong = 10102, 400, "consumer name is too long, maximum allowed is {}";
    ConsumerNotFound = 10014, 404, "consumer not found";
    ConsumerOverlappingSubjectFilters = 10138, 400, "consumer subject filters cannot overlap";
    ConsumerPinnedTtlWithoutPolicy = 10197, 400, "PinnedTTL cannot be set when PriorityPolicy is none";
    ConsumerPriorityGroupWithPolicyNone = 10196, 400, "consumer can not have priority groups when policy is none";
    ConsumerPriorityPolicyWithoutGroup = 10159, 400, "Setting PriorityPolicy requires at least one PriorityGroup to be set";
    ConsumerPullRequiresAck = 10084, 400, "consumer in pull mode requires explicit ack policy on workqueue stream";
    ConsumerPullWithRateLimit = 10086, 400, "consumer in pull mode can not have rate limit set";
    ConsumerPushMaxWaiting = 10080, 400, "consumer in push mode can not set max waiting";
    ConsumerPushWithPriorityGroup = 10178, 400, "priority groups can not be used with push consumers";
    ConsumerReplicasExceedsStream = 10126, 400, "consumer config replica count exceeds parent stream";
    ConsumerReplicasShouldMatchStream = 10134, 400, "consumer config replicas must match interest retention stream's replicas";
    ConsumerSmallHeartbeat = 10083, 400, "consumer idle heartbeat needs to be >= 100ms";
    ConsumerStoreFailed = 10104, 500, "error creating store for consumer: {}";
    ConsumerWorkQueueMultipleUnfiltered = 10099, 400, "multiple non-filtered consumers not allowed on workqueue stream";
    ConsumerWorkQueueNotDeliverAll = 10101, 400, "consumer must be deliver all on workqueue stream";
    ConsumerWorkQueueNotUnique = 10100, 400, "filtered consumer not unique on workqueue stream";
    ConsumerWorkQueueRequiresExplicitAck = 10098, 400, "workqueue stream requires explicit ack";
    InsufficientResources = 10023, 503, "insufficient resources";
    InvalidJson = 10025, 400, "invalid JSON: {}";
    MaximumConsumersLimit = 10026, 400, "maximum consumers limit reached";
    MaximumStreamsLimit = 10027, 400, "maximum number of streams reached";
    MemoryResourcesExceeded = 10028, 500, "insufficient memory resources available";
    StorageResourcesExceeded = 10047, 500, "insufficient storage resources available";
    MessageIncrDisabled = 10168, 400, "message counters is disabled";
    MessageSchedulesDisabled = 10188, 400, "message schedules is disabled";
    MessageSchedulesPatternInvalid = 10189, 400, "message schedules pattern is invalid";
    MessageSchedulesRollupInvalid = 10192, 400, "message schedules invalid rollup";
    MessageSchedulesSchedulerInvalid = 10212, 400, "message schedules invalid scheduler";
    MessageSchedulesSourceInvalid = 10203, 400, "message schedules source is invalid";
    MessageSchedulesTargetInvalid = 10190, 400, "message schedules target is invalid";
    MessageSchedulesTimeZoneInvalid = 10223, 400, "message schedules time zone is invalid";
    MessageSchedulesTtlInvalid = 10191, 400, "message schedules invalid per-message TTL";
    MessageTtlDisabled = 10166, 400, "per-message TTL is disabled";
    MessageTtlInvalid = 10165, 400, "invalid per-message TTL";
    NoMessageFound = 10037, 404, "no message found";
    NotEmptyRequest = 10038, 400, "expected an empty request payload";
    NotEnabled = 10076, 503, "JetStream not enabled";
    NotEnabledForAccount = 10039, 503, "JetStream not enabled for account";
    Pedantic = 10157, 400, "pedantic mode: {}";
    ReplicasCountNegative = 10133, 400, "replicas count cannot be negative";
    RequiredApiLevel = 10185, 412, "JetStream minimum api level required";
    SequenceNotFound = 10043, 400, "sequence {} not found";
    SnapshotDeliverSubjectInvalid = 10015, 400, "deliver subject not valid";
    StreamCreate = 10049, 500, "{}";
    StreamDelete = 10050, 500, "{}";
    StreamDuplicateMessageConflict = 10158, 409, "duplicate message id is in process";
    StreamExpectedLastSeqPerSubjectInvalid = 10193, 400, "missing sequence for expected last sequence per subject";
    StreamGeneral = 10051, 500, "{}";
    StreamHeaderExceedsMaximum = 10097, 400, "header size exceeds maximum allowed of 64k";
    StreamInvalidConfig = 10052, 500, "{}";
    StreamMessageExceedsMaximum = 10054, 400, "message size exceeds maximum allowed";
    StreamMismatch = 10056, 400, "stream name in subject does not match request";
    StreamMsgDeleteFailed = 10057, 500, "{}";
    StreamNameContainsPathSeparators = 10128, 400, "Stream name can not contain path separators";
    StreamNameExists = 10058, 400, "stream name already in use with a different configuration";
    StreamNotFound = 10059, 404, "stream not found";
    StreamNotMatch = 10060, 400, "expected stream does not match";
    StreamPurgeFailed = 10110, 500, "{}";
    StreamReplicasNotSupported = 10074, 500, "replicas > 1 not supported in non-clustered mode";
    StreamRestore = 10062, 500, "restore failed: {}";
    StreamRollupFailed = 10111, 500, "{}";
    StreamSealed = 10109, 400, "invalid operation on sealed stream";
    StreamSnapshot = 10064, 500, "snapshot failed: {}";
    StreamStoreFailed = 10077, 503, "{}";
    StreamSubjectOverlap = 10065, 400, "subjects overlap with an existing stream";
    StreamUpdate = 10069, 500, "{}";
    StreamTransformInvalidDestination = 10156, 400, "stream transform: {}";
    StreamTransformInvalidSource = 10155, 400, "stream transform source: {}";
    StreamWrongLastMsgId = 10070, 400, "wrong last msg ID: {}";
    StreamWrongLastSequenceConstant = 10164, 400, "wrong last sequence";
    StreamWrongLastSequence = 10071, 400, "wrong last sequence: {}";
}

impl Code {
    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The error, if its text is always the same.
    #[must_use]
    pub fn error(self) -> ApiError {
        let (code, text) = self.parts();
        debug_assert!(!text.contains("{}"), "{self:?} says more");
        ApiError { code, err_code: self.number(), description: text.to_owned() }
    }

    /// The error, with what this case adds to its text.
    #[must_use]
    pub fn with(self, what: impl fmt::Display) -> ApiError {
        let (code, text) = self.parts();
        debug_assert!(text.contains("{}"), "{self:?} says nothing more");
        ApiError { code, err_code: self.number(), description: text.replacen("{}", &what.to_string(), 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_error_has_a_number_of_its_own() {
        let numbers: BTreeSet<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
    }

    #[test]
    fn an_error_is_written_with_its_three_fields() {
        let error = Code::StreamWrongLastSequence.with(7);
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"code":400,"err_code":10071,"description":"wrong last sequence: 7"}"#);
    }
}
