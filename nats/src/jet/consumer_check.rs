//! What a consumer may be configured to: defaults filled in, contradictions refused, in nats-server's words and order.
//!
//! Called by the session for a create request, with the stream's configuration at hand. What depends on the stream's other consumers
//! (work queues, their number) is in [`beside`]; what depends on the consumer that is there already in [`update_from`].

use super::consumer::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
use super::error::{ApiError, Code};
use super::settings::DEAD_LETTER;
use super::stream::{Retention, StreamConfig};
use super::stream_check::{DESCRIPTION_BYTES_MAX, METADATA_BYTES_MAX};
use super::subject::{NAME_BYTES_MAX, collide, contains, is_literal, is_name, is_publishable, is_valid};
use super::time::{MILLISECOND, SECOND, short};
use super::versions;
use serde::Deserialize;
use stele_model::share::DEAD_LETTER_BYTES_MAX;

/// How long an acknowledgement is waited for unless said otherwise, nanoseconds.
pub const ACK_WAIT: i64 = 30 * SECOND;
/// Most deliveries without an acknowledgement unless said otherwise.
pub const ACK_PENDING: i64 = 1000;
/// Most pull requests that wait unless said otherwise.
pub const WAITING: i64 = 512;
/// After how long without readers a consumer that is not durable goes unless said otherwise, nanoseconds.
pub const INACTIVE: i64 = 5 * SECOND;
/// How long a pinned client may be silent unless said otherwise, nanoseconds.
const PINNED: i64 = 120 * SECOND;
/// Longest name of a priority group, octets.
const GROUP_BYTES_MAX: usize = 16;

/// Whether a consumer that is there is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// Does not matter.
    #[default]
    #[serde(rename = "")]
    Either,
    /// Must not be there, or be the same.
    #[serde(rename = "create")]
    Create,
    /// Must be there.
    #[serde(rename = "update")]
    Update,
}

/// A request to make or change a consumer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CreateConsumer {
    /// Whose.
    pub stream_name: String,
    /// What it does.
    pub config: ConsumerConfig,
    /// Whether it must be there.
    pub action: Action,
    /// Refuse rather than correct.
    pub pedantic: bool,
}

/// What the subject of a create request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The consumer, unless the server shall make a name up.
    pub consumer: Option<&'a str>,
    /// The filter.
    pub filter: Option<&'a str>,
    /// The old form for durable consumers.
    pub durable: bool,
}

/// Checks a request against its own subject, before the stream is looked up. Sets the consumer's name, if it is known.
///
/// # Errors
/// What does not fit.
pub fn named(request: &mut CreateConsumer, named: Named<'_>) -> Result<(), ApiError> {
    let config = &mut request.config;
    if named.stream != request.stream_name {
        return Err(Code::StreamMismatch.error());
    }
    let name = named.consumer.unwrap_or(&config.name);
    if name.contains(['/', '\\']) {
        return Err(Code::ConsumerNameContainsPathSeparators.error());
    }
    if named.durable && config.durable_name.is_empty() {
        return Err(Code::ConsumerDurableNameNotSet.error());
    }
    match named.consumer {
        Some(name) if config.is_durable() && config.durable_name != name => {
            return Err(Code::ConsumerDurableNameNotMatchSubject.error());
        }
        Some(name) => name.clone_into(&mut config.name),
        None if config.is_durable() => return Err(Code::ConsumerEphemeralWithDurableName.error()),
        None => {}
    }
    if let Some(filter) = named.filter {
        if !config.filter_subjects.is_empty() {
            return Err(Code::ConsumerMultipleFiltersNotAllowed.error());
        }
        if config.filter_subject != filter {
            return Err(Code::ConsumerCreateFilterSubjectMismatch.error());
        }
    }
    if config.num_replicas > 1 { Err(Code::StreamReplicasNotSupported.error()) } else { Ok(()) }
}

/// What a consumer of `stream` is to be, with defaults.
///
/// # Errors
/// What is wrong with it.
pub fn check(
    mut config: ConsumerConfig,
    stream: &StreamConfig,
    pedantic: bool,
) -> Result<ConsumerConfig, ApiError> {
    versions::stamp_consumer(&mut config);
    unset(&mut config, pedantic)?;
    defaults(&mut config, stream, pedantic)?;
    names(&config)?;
    replicas(&config, stream)?;
    acknowledging(&config)?;
    if config.is_push() {
        push(&config, stream)?
    } else {
        pull(&config, stream)?
    }
    bounds(&config, stream)?;
    filters(&config)?;
    start(&config)?;
    rest(&config)?;
    priorities(&config)?;
    dead_letters(&config, stream)?;
    unsupported(&config)?;
    Ok(config)
}

/// After how long without readers it goes; the default for one that is not durable is stamped once it is certain to be made.
pub fn stamp_inactive(config: &mut ConsumerConfig) {
    if !config.is_durable() && config.inactive_threshold <= 0 {
        config.inactive_threshold = INACTIVE;
    }
}

/// What is below zero means "not set".
fn unset(config: &mut ConsumerConfig, pedantic: bool) -> Result<(), ApiError> {
    let floor = |value: &mut i64, least: i64, unset: i64, why: &str| {
        if *value < least {
            if pedantic {
                return Err(Code::Pedantic.with(why));
            }
            *value = unset;
        }
        Ok(())
    };
    floor(&mut config.max_deliver, -1, -1, "max_deliver must be set to -1")?;
    floor(&mut config.max_waiting, 0, 0, "max_waiting must not be negative")?;
    floor(&mut config.max_ack_pending, -1, -1, "max_ack_pending must be set to -1")?;
    floor(&mut config.max_batch, 0, 0, "max_batch must not be negative")?;
    floor(&mut config.max_expires, 0, 0, "max_expires must not be negative")?;
    floor(&mut config.max_bytes, 0, 0, "max_bytes must not be negative")?;
    floor(&mut config.idle_heartbeat, 0, 0, "idle_heartbeat must not be negative")?;
    floor(&mut config.inactive_threshold, 0, 0, "inactive_threshold must not be negative")?;
    floor(&mut config.priority_timeout, 0, 0, "priority_timeout must not be negative")?;
    if config.max_deliver == 0 {
        config.max_deliver = -1;
    }
    Ok(())
}

fn defaults(config: &mut ConsumerConfig, stream: &StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    if !config.is_push() && config.max_waiting == 0 {
        config.max_waiting = WAITING;
    }
    let waits = matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::All);
    if config.ack_wait == 0 && waits {
        config.ack_wait = ACK_WAIT;
    }
    if let Some(first) = config.backoff.first() {
        if pedantic && config.ack_wait != *first {
            return Err(Code::Pedantic.with("first backoff value has to equal batch AckWait"));
        }
        config.ack_wait = *first;
    }
    let limits = &stream.consumer_limits;
    if config.max_ack_pending == 0 {
        if pedantic && limits.max_ack_pending > 0 {
            return Err(
                Code::Pedantic.with("max_ack_pending must be set if it's configured in stream limits")
            );
        }
        config.max_ack_pending = limits.max_ack_pending;
    }
    if config.inactive_threshold == 0 {
        if pedantic && limits.inactive_threshold > 0 {
            let why = "inactive_threshold must be set if it's configured in stream limits";
            return Err(Code::Pedantic.with(why));
        }
        config.inactive_threshold = limits.inactive_threshold;
    }
    if config.max_ack_pending == 0 && config.ack_policy != AckPolicy::None {
        config.max_ack_pending = ACK_PENDING;
    }
    if config.priority_policy == PriorityPolicy::PinnedClient && config.priority_timeout == 0 {
        config.priority_timeout = PINNED;
    }
    Ok(())
}

fn names(config: &ConsumerConfig) -> Result<(), ApiError> {
    let invalid = |why: &str| Err(Code::StreamInvalidConfig.with(why));
    if !config.name.is_empty() && !is_name(&config.name) {
        return invalid("consumer name can not contain '.', '*', '>', '\\', '/'");
    }
    if !config.durable_name.is_empty() && !is_name(&config.durable_name) {
        return invalid("consumer durable name can not contain '.', '*', '>', '\\', '/'");
    }
    if config.name.len().max(config.durable_name.len()) > NAME_BYTES_MAX {
        return Err(Code::ConsumerNameTooLong.with(NAME_BYTES_MAX));
    }
    Ok(())
}

fn replicas(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    if config.num_replicas > stream.num_replicas {
        return Err(Code::ConsumerReplicasExceedsStream.error());
    }
    if config.num_replicas < 0 {
        return Err(Code::ReplicasCountNegative.error());
    }
    let other = config.num_replicas != 0 && config.num_replicas != stream.num_replicas;
    if stream.retention != Retention::Limits && other {
        return Err(Code::ConsumerReplicasShouldMatchStream.error());
    }
    Ok(())
}

fn acknowledging(config: &ConsumerConfig) -> Result<(), ApiError> {
    if config.backoff.iter().any(|wait| *wait < 0) {
        return Err(Code::ConsumerBackOffNegative.error());
    }
    if config.ack_wait < 0 {
        return Err(Code::ConsumerAckWaitNegative.error());
    }
    if config.ack_policy == AckPolicy::FlowControl && !config.is_push() {
        return Err(Code::ConsumerAckFlowControlNeedsPush.error());
    }
    backoff(config)?;
    if config.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(Code::ConsumerDescriptionTooLong.with(DESCRIPTION_BYTES_MAX));
    }
    Ok(())
}

/// Each entry of the list must have its delivery.
fn backoff(config: &ConsumerConfig) -> Result<(), ApiError> {
    let len = i64::try_from(config.backoff.len()).unwrap_or(i64::MAX);
    if len > 0 && config.max_deliver != -1 && len > config.max_deliver {
        return Err(Code::ConsumerMaxDeliverBackoff.error());
    }
    Ok(())
}

fn push(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let to = &config.deliver_subject;
    let error = if !is_literal(to) {
        Code::ConsumerDeliverToWildcards
    } else if !is_valid(to) {
        Code::ConsumerInvalidDeliverSubject
    } else if stream.subjects.iter().any(|subject| contains(subject, to)) {
        Code::ConsumerDeliverCycle
    } else if config.max_waiting != 0 {
        Code::ConsumerPushMaxWaiting
    } else if config.max_ack_pending > 0 && config.ack_policy == AckPolicy::None {
        Code::ConsumerMaxPendingAckPolicyRequired
    } else if (1..100 * MILLISECOND).contains(&config.idle_heartbeat) {
        Code::ConsumerSmallHeartbeat
    } else {
        return Ok(());
    };
    Err(error.error())
}

fn pull(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let error = if config.ack_policy == AckPolicy::None && stream.retention == Retention::WorkQueue {
        Code::ConsumerPullRequiresAck
    } else if config.rate_limit_bps > 0 {
        Code::ConsumerPullWithRateLimit
    } else if config.idle_heartbeat > 0 {
        Code::ConsumerHeartbeatRequiresPush
    } else if config.flow_control {
        Code::ConsumerFlowControlRequiresPush
    } else if (1..MILLISECOND).contains(&config.max_expires) {
        Code::ConsumerMaxRequestExpiresTooSmall
    } else {
        return Ok(());
    };
    Err(error.error())
}

/// The stream's bounds for its consumers.
fn bounds(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let limits = &stream.consumer_limits;
    if limits.max_ack_pending > 0 && config.max_ack_pending > limits.max_ack_pending {
        return Err(Code::ConsumerMaxPendingAckExcess.with(limits.max_ack_pending));
    }
    if limits.inactive_threshold > 0 && config.inactive_threshold > limits.inactive_threshold {
        return Err(Code::ConsumerInactiveThresholdExcess.with(short(limits.inactive_threshold)));
    }
    if config.direct && !config.is_push() {
        return Err(Code::ConsumerDirectRequiresPush.error());
    }
    if config.direct && config.is_durable() {
        return Err(Code::ConsumerDirectRequiresEphemeral.error());
    }
    Ok(())
}

fn filters(config: &ConsumerConfig) -> Result<(), ApiError> {
    if !config.filter_subject.is_empty() && !config.filter_subjects.is_empty() {
        return Err(Code::ConsumerDuplicateFilterSubjects.error());
    }
    if config.filter_subjects.iter().any(String::is_empty) {
        return Err(Code::ConsumerEmptyFilter.error());
    }
    let mut rest = config.filters();
    while let Some((filter, behind)) = rest.split_first() {
        if !is_valid(filter) {
            return Err(Code::StreamInvalidConfig.with("invalid subject"));
        }
        if behind.iter().any(|other| contains(filter, other) || contains(other, filter)) {
            return Err(Code::ConsumerOverlappingSubjectFilters.error());
        }
        rest = behind;
    }
    Ok(())
}

fn start(config: &ConsumerConfig) -> Result<(), ApiError> {
    use DeliverPolicy::{All, ByStartSequence, ByStartTime, Last, LastPerSubject, New};
    let name = match config.deliver_policy {
        All => "all",
        Last => "last",
        New => "new",
        ByStartSequence => "by start sequence",
        ByStartTime => "by start time",
        LastPerSubject => "last per subject",
    };
    let set = |what: &str| {
        let text =
            format!("consumer delivery policy is deliver {name}, but optional start {what} is also set");
        Err(Code::ConsumerInvalidPolicy.with(text))
    };
    let missing = |what: &str| {
        let text = format!("consumer delivery policy is deliver {name}, but optional {what} is not set");
        Err(Code::ConsumerInvalidPolicy.with(text))
    };
    let (sequence, time) = (config.opt_start_seq > 0, config.opt_start_time.is_some());
    match config.deliver_policy {
        ByStartSequence if !sequence => missing("start sequence"),
        ByStartTime if !time => missing("start time"),
        // The doubled word is nats-server's.
        ByStartTime if sequence => set("start sequence"),
        All | Last | New | LastPerSubject if sequence => set("sequence"),
        All | Last | New | LastPerSubject | ByStartSequence if time => set("time"),
        LastPerSubject if config.filters().is_empty() => missing("filter subject"),
        _ => Ok(()),
    }
}

fn rest(config: &ConsumerConfig) -> Result<(), ApiError> {
    let sample = config.sample_freq.strip_suffix('%').unwrap_or(&config.sample_freq);
    if !config.sample_freq.is_empty() && sample.parse::<u32>().is_err() {
        return Err(Code::ConsumerInvalidSampling.with(format_args!("{sample:?} is not a percentage")));
    }
    if config.flow_control && config.idle_heartbeat == 0 {
        return Err(Code::ConsumerFlowControlNeedsHeartbeats.error());
    }
    if config.is_durable() && !config.name.is_empty() && config.name != config.durable_name {
        return Err(Code::ConsumerDurableAndNameMismatch.error());
    }
    let metadata: usize = config.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata > METADATA_BYTES_MAX {
        return Err(Code::ConsumerMetadataLength.with(format_args!("{}KB", METADATA_BYTES_MAX / 1024)));
    }
    Ok(())
}

fn priorities(config: &ConsumerConfig) -> Result<(), ApiError> {
    let error = if config.priority_policy == PriorityPolicy::None {
        if !config.priority_groups.is_empty() {
            Code::ConsumerPriorityGroupWithPolicyNone
        } else if config.priority_timeout > 0 {
            Code::ConsumerPinnedTtlWithoutPolicy
        } else {
            return Ok(());
        }
    } else if config.is_push() {
        Code::ConsumerPushWithPriorityGroup
    } else if config.priority_groups.is_empty() {
        Code::ConsumerPriorityPolicyWithoutGroup
    } else if config.priority_groups.iter().any(String::is_empty) {
        Code::ConsumerEmptyGroupName
    } else if !config.priority_groups.iter().all(|name| is_group_name(name)) {
        Code::ConsumerInvalidGroupName
    } else {
        return Ok(());
    };
    Err(error.error())
}

fn is_group_name(name: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'/' | b'_' | b'=' | b'-');
    name.len() <= GROUP_BYTES_MAX && name.bytes().all(allowed)
}

/// Where messages go that are given up or terminated: a subject that can be published to, and that does not lead back to the consumer.
fn dead_letters(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let Some(subject) = config.metadata.get(DEAD_LETTER) else { return Ok(()) };
    let comes_back = |filter: &String| contains(filter, subject);
    let is_captured = stream.subjects.iter().any(|of| contains(of, subject));
    let wrong = if !is_publishable(subject) || subject.len() > DEAD_LETTER_BYTES_MAX {
        "is not a subject to publish to"
    } else if subject.starts_with("$JS.") || subject.starts_with("$SYS.") {
        "is a subject of the server"
    } else if config.ack_policy == AckPolicy::None {
        "needs acknowledgements"
    } else if is_captured && (config.filters().is_empty() || config.filters().iter().any(comes_back)) {
        "leads back to the consumer"
    } else {
        return Ok(());
    };
    Err(Code::ConsumerCreate.with(format_args!("metadata {DEAD_LETTER}: {subject:?} {wrong}")))
}

/// What nats-server does and this server does not (docs/dialects/nats.md). Better refused than passed over.
fn unsupported(config: &ConsumerConfig) -> Result<(), ApiError> {
    let asked = [
        (config.priority_policy != PriorityPolicy::None, "priority_policy"),
        (config.ack_policy == AckPolicy::FlowControl, "ack_policy flow_control"),
        (config.direct, "direct"),
        (config.sourcing, "sourcing"),
    ];
    match asked.into_iter().find(|(is, _)| *is) {
        Some((_, name)) => {
            Err(Code::ConsumerCreate.with(format_args!("{name} is not supported by this server")))
        }
        None => Ok(()),
    }
}

/// Whether a new consumer fits beside the others of its stream. `others`: their configurations, without one of the same name.
///
/// # Errors
/// What does not fit.
pub fn beside<'c>(
    config: &ConsumerConfig,
    stream: &StreamConfig,
    is_new: bool,
    others: impl IntoIterator<Item = &'c ConsumerConfig>,
) -> Result<(), ApiError> {
    let others: Vec<&ConsumerConfig> = others.into_iter().collect();
    let full = stream.max_consumers > 0 && others.len() as u64 >= stream.max_consumers.unsigned_abs();
    if is_new && full {
        return Err(Code::MaximumConsumersLimit.error());
    }
    if stream.retention != Retention::WorkQueue {
        return Ok(());
    }
    if is_new && config.ack_policy != AckPolicy::Explicit {
        return Err(Code::ConsumerWorkQueueRequiresExplicitAck.error());
    }
    if is_new && config.deliver_policy != DeliverPolicy::All {
        return Err(Code::ConsumerWorkQueueNotDeliverAll.error());
    }
    if others.is_empty() {
        return Ok(());
    }
    if config.filters().is_empty() {
        return Err(Code::ConsumerWorkQueueMultipleUnfiltered.error());
    }
    let overlaps = |other: &ConsumerConfig| {
        other.filters().is_empty()
            || other.filters().iter().any(|theirs| config.filters().iter().any(|ours| collide(ours, theirs)))
    };
    if others.into_iter().any(overlaps) { Err(Code::ConsumerWorkQueueNotUnique.error()) } else { Ok(()) }
}

/// Whether a consumer that is `old` may become `new`, which was checked. `bound`: somebody listens to the old deliver subject.
///
/// # Errors
/// What cannot change.
pub fn update_from(old: &ConsumerConfig, new: &ConsumerConfig, bound: bool) -> Result<(), ApiError> {
    let changes = [
        (old.deliver_policy != new.deliver_policy, "deliver policy can not be updated"),
        (old.mem_storage != new.mem_storage, "storage type can not be updated"),
        (old.opt_start_seq != new.opt_start_seq, "start sequence can not be updated"),
        (old.opt_start_time != new.opt_start_time, "start time can not be updated"),
        (old.ack_policy != new.ack_policy, "ack policy can not be updated"),
        (old.replay_policy != new.replay_policy, "replay policy can not be updated"),
        (old.idle_heartbeat != new.idle_heartbeat, "heart beats can not be updated"),
        (old.flow_control != new.flow_control, "flow control can not be updated"),
        (!old.is_push() && new.is_push(), "can not update pull consumer to push based"),
        (old.is_push() && !new.is_push(), "can not update push consumer to pull based"),
    ];
    if let Some((_, why)) = changes.into_iter().find(|(is, _)| *is) {
        return Err(Code::ConsumerCreate.with(why));
    }
    if old.deliver_subject != new.deliver_subject && bound {
        return Err(Code::ConsumerNameExists.error());
    }
    if old.max_waiting != new.max_waiting {
        return Err(Code::ConsumerCreate.with("max waiting can not be updated"));
    }
    backoff(new)
}

/// Whether two configurations are the same to a client that makes a consumer again: what the server adds does not count.
#[must_use]
pub fn is_same(one: &ConsumerConfig, other: &ConsumerConfig) -> bool {
    let bare = |config: &ConsumerConfig| {
        let mut config = config.clone();
        config.metadata.retain(|name, _| !versions::is_ours(name));
        config
    };
    bare(one) == bare(other)
}

/// Whether records are delivered as far apart as they came.
#[must_use]
pub fn is_original(config: &ConsumerConfig) -> bool {
    config.replay_policy == ReplayPolicy::Original
}
