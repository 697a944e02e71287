//! What a stream may be configured to: defaults filled in, contradictions refused, in nats-server's words and order.
//!
//! Called by the session for a create or update request, before the hub is asked. Whether another stream has the name or the subjects
//! is the registry's to say. What this server does not do is refused here as well ([`unsupported`]), or told not to be given; never passed over.

use super::consumer::ConsumerConfig;
use super::error::{ApiError, Code};
use super::mapping;
use super::stream::{
    ConsumerLimits, Discard, PersistMode, Placement, Republish, Retention, Storage, StreamConfig,
    SubjectTransform,
};
use super::subject::{NAME_BYTES_MAX, collide, contains, is_name, is_valid};
use super::time::{MILLISECOND, SECOND};
use super::versions;
use std::fmt;

/// Longest description, octets.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Octets of all metadata, names and values.
pub const METADATA_BYTES_MAX: usize = 128 << 10;
/// How long message ids are remembered unless said otherwise, nanoseconds.
pub const DUPLICATE_WINDOW: i64 = 120 * SECOND;
/// Shortest age and duplicate window, nanoseconds.
const WINDOW_MIN: i64 = 100 * MILLISECOND;
/// Most replicas that can be asked for anywhere.
const REPLICAS_MAX: i64 = 5;

fn invalid(why: impl fmt::Display) -> ApiError {
    Code::StreamInvalidConfig.with(why)
}

fn pedantic(why: impl fmt::Display) -> ApiError {
    Code::Pedantic.with(why)
}

/// What [`Code::StreamInvalidConfig`] says if `wrong`.
fn refuse_if(wrong: bool, why: &str) -> Result<(), ApiError> {
    if wrong { Err(invalid(why)) } else { Ok(()) }
}

/// A request to make a stream: what it is to be, with defaults. `named`: the stream's name in the request's subject.
///
/// # Errors
/// What is wrong with it.
pub fn create(mut config: StreamConfig, named: &str) -> Result<StreamConfig, ApiError> {
    versions::stamp_stream(&mut config);
    if config.name != named {
        return Err(Code::StreamMismatch.error());
    }
    if named.contains(['/', '\\']) {
        return Err(Code::StreamNameContainsPathSeparators.error());
    }
    refuse_if(config.sealed, "stream configuration for create can not be sealed")?;
    refuse_if(
        config.mirror_direct && config.mirror.is_none(),
        "stream has no mirror but does have mirror direct",
    )?;
    let config = check(config)?;
    single_server(&config)?;
    unsupported(&config)?;
    without_batches(config)
}

/// A request to change a stream, before the stream is looked up.
///
/// # Errors
/// What is wrong with it, whatever the stream is now.
pub fn update(config: StreamConfig, named: &str) -> Result<StreamConfig, ApiError> {
    let mut config = check(config)?;
    if config.name != named {
        return Err(Code::StreamMismatch.error());
    }
    versions::stamp_stream(&mut config);
    Ok(config)
}

/// Whether a stream that is `old` may become `new`, which was [`update`]d; a sealed one has some fields set.
///
/// # Errors
/// What cannot change.
pub fn update_from(old: &StreamConfig, mut new: StreamConfig) -> Result<StreamConfig, ApiError> {
    single_server(&new)?;
    let work_queue = [old.retention, new.retention].contains(&Retention::WorkQueue);
    let changes: [(bool, &str); 10] = [
        (new.storage != old.storage, "stream configuration update can not change storage type"),
        (
            new.retention != old.retention && work_queue,
            "stream configuration update can not change retention policy to/from workqueue",
        ),
        (old.sealed && !new.sealed, "stream configuration update can not unseal a sealed stream"),
        (
            old.deny_delete && !new.deny_delete,
            "stream configuration update can not cancel deny message deletes",
        ),
        (old.deny_purge && !new.deny_purge, "stream configuration update can not cancel deny purge"),
        (old.allow_msg_ttl && !new.allow_msg_ttl, "message TTL status can not be disabled"),
        (
            old.allow_msg_counter != new.allow_msg_counter,
            "stream configuration update can not change message counter setting",
        ),
        (old.allow_msg_schedules && !new.allow_msg_schedules, "message schedules can not be disabled"),
        (old.persist_mode != new.persist_mode, "stream configuration update can not change persist mode"),
        (
            // Positions that were given stay; only a new stream can begin somewhere else.
            new.first_seq != 0 && new.first_seq != old.first_seq,
            "stream configuration update can not change first sequence",
        ),
    ];
    for (wrong, why) in changes {
        refuse_if(wrong, why)?;
    }
    unsupported(&new)?;
    if new.sealed {
        new.max_age = 0;
        new.discard = Discard::New;
        (new.deny_delete, new.deny_purge) = (true, true);
        new.allow_rollup_hdrs = false;
    }
    without_batches(new)
}

/// Which of a stream's consumers have more than it will allow them, if what it allows is changed and bounds anything; what they had before does
/// not count.
pub fn beyond<'a>(
    (old, new): (&ConsumerLimits, &ConsumerLimits),
    consumers: impl IntoIterator<Item = &'a ConsumerConfig>,
) -> Vec<&'a str> {
    if !narrows(old, new) {
        return Vec::new();
    }
    let exceeds = |value: i64, max: i64| max > 0 && value > max;
    let is_beyond = |config: &&ConsumerConfig| {
        exceeds(config.inactive_threshold, new.inactive_threshold)
            || exceeds(config.max_ack_pending, new.max_ack_pending)
    };
    consumers.into_iter().filter(is_beyond).map(|config| &config.name[..]).collect()
}

/// Whether consumers that are there may have more than a stream allows from now on.
#[must_use]
pub fn narrows(old: &ConsumerLimits, new: &ConsumerLimits) -> bool {
    let bounds = |old: i64, new: i64| new > 0 && new != old;
    bounds(old.inactive_threshold, new.inactive_threshold) || bounds(old.max_ack_pending, new.max_ack_pending)
}

/// Batches that are answered now and then (fast ones) are allowed by nobody here, and the answer says so: tools ask for them whether they send
/// any or not. Who wants no change of what it asked for is refused.
fn without_batches(mut config: StreamConfig) -> Result<StreamConfig, ApiError> {
    if !config.allow_batched {
        return Ok(config);
    }
    if config.pedantic {
        return Err(pedantic("fast batches of publishes are not supported by this server"));
    }
    config.allow_batched = false;
    versions::stamp_stream(&mut config);
    Ok(config)
}

/// Whether two configurations are the same to a client that makes a stream again: what the server adds does not count.
#[must_use]
pub fn is_same(one: &StreamConfig, other: &StreamConfig) -> bool {
    let bare = |config: &StreamConfig| {
        let mut config = config.clone();
        config.metadata.retain(|name, _| !versions::is_ours(name));
        config.pedantic = false;
        config
    };
    bare(one) == bare(other)
}

/// Defaults and contradictions that need nothing but the configuration.
fn check(mut config: StreamConfig) -> Result<StreamConfig, ApiError> {
    names(&config)?;
    replicas(&mut config)?;
    limits(&mut config)?;
    windows(&mut config)?;
    combinations(&mut config)?;
    persistence(&config)?;
    subjects(&mut config)?;
    transform(&config)?;
    republish(&mut config)?;
    if config.placement == Some(Placement::default()) {
        config.placement = None;
    }
    let preferred = config.placement.as_ref().is_some_and(|placement| !placement.preferred.is_empty());
    refuse_if(preferred, "preferred server not permitted in placement")?;
    Ok(config)
}

fn names(config: &StreamConfig) -> Result<(), ApiError> {
    if !is_name(&config.name) {
        return Err(invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'"));
    }
    if config.name.len() > NAME_BYTES_MAX {
        return Err(invalid(format_args!("stream name is too long, maximum allowed is {NAME_BYTES_MAX}")));
    }
    if config.description.len() > DESCRIPTION_BYTES_MAX {
        let text = format_args!("stream description is too long, maximum allowed is {DESCRIPTION_BYTES_MAX}");
        return Err(invalid(text));
    }
    let metadata: usize = config.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata > METADATA_BYTES_MAX {
        return Err(invalid(format_args!(
            "stream metadata exceeds maximum size of {METADATA_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

fn replicas(config: &mut StreamConfig) -> Result<(), ApiError> {
    if config.num_replicas == 0 {
        config.num_replicas = 1;
    }
    if config.num_replicas > REPLICAS_MAX {
        return Err(invalid(format_args!("maximum replicas is {REPLICAS_MAX}")));
    }
    if config.num_replicas < 0 { Err(Code::ReplicasCountNegative.error()) } else { Ok(()) }
}

/// One server is all there is.
fn single_server(config: &StreamConfig) -> Result<(), ApiError> {
    if config.num_replicas > 1 { Err(Code::StreamReplicasNotSupported.error()) } else { Ok(()) }
}

/// 0 and anything below −1 stand for "no limit".
fn limits(config: &mut StreamConfig) -> Result<(), ApiError> {
    let strict = config.pedantic;
    let unlimited = |value: i64, name: &str| match value {
        ..-1 if strict => Err(pedantic(format_args!("{name} must be set to -1"))),
        ..=0 => Ok(-1),
        1.. => Ok(value),
    };
    config.max_msgs = unlimited(config.max_msgs, "max_msgs")?;
    config.max_msgs_per_subject = unlimited(config.max_msgs_per_subject, "max_msgs_per_subject")?;
    config.max_bytes = unlimited(config.max_bytes, "max_bytes")?;
    let size = unlimited(i64::from(config.max_msg_size), "max_msg_size")?;
    config.max_msg_size = i32::try_from(size).unwrap_or(i32::MAX);
    config.max_consumers = unlimited(config.max_consumers, "max_consumers")?;
    Ok(())
}

fn windows(config: &mut StreamConfig) -> Result<(), ApiError> {
    refuse_if(config.max_age < 0, "max age can not be negative")?;
    refuse_if(config.max_age != 0 && config.max_age < WINDOW_MIN, "max age needs to be >= 100ms")?;
    if config.duplicate_window == 0 && config.mirror.is_none() && config.sources.is_empty() {
        let shortened = config.max_age != 0 && config.max_age < DUPLICATE_WINDOW;
        if shortened && config.pedantic {
            return Err(pedantic("duplicate window cannot be bigger than max age"));
        }
        config.duplicate_window = if shortened { config.max_age } else { DUPLICATE_WINDOW };
    }
    let window = config.duplicate_window;
    refuse_if(window < 0, "duplicates window can not be negative")?;
    refuse_if(
        config.max_age != 0 && window > config.max_age,
        "duplicates window can not be larger then max age",
    )?;
    refuse_if(window > 0 && window < WINDOW_MIN, "duplicates window needs to be >= 100ms")
}

fn combinations(config: &mut StreamConfig) -> Result<(), ApiError> {
    refuse_if(config.deny_purge && config.allow_rollup_hdrs, "roll-ups require the purge permission")?;
    if config.allow_msg_counter {
        let new = config.discard == Discard::New;
        refuse_if(new, "counter stream cannot use discard new")?;
        refuse_if(config.allow_msg_ttl, "counter stream cannot use message TTLs")?;
        refuse_if(config.allow_msg_schedules, "counter stream cannot use message schedules")?;
        let limits = config.retention == Retention::Limits;
        refuse_if(!limits, "counter stream can only use limits retention")?;
    }
    if config.discard_new_per_subject {
        let new = config.discard == Discard::New;
        refuse_if(!new, "discard new per subject requires discard new policy to be set")?;
        let limited = config.max_msgs_per_subject > 0;
        refuse_if(!limited, "discard new per subject requires max msgs per subject > 0")?;
    }
    markers(config)?;
    if config.allow_msg_schedules {
        refuse_if(config.discard == Discard::New, "message scheduling cannot use discard new")?;
        let why = "message scheduling cannot be set if roll-ups are disabled";
        needs_rollup(config, why)?;
    }
    Ok(())
}

fn markers(config: &mut StreamConfig) -> Result<(), ApiError> {
    let ttl = config.subject_delete_marker_ttl;
    refuse_if(ttl < 0, "subject delete marker TTL must not be negative")?;
    if ttl == 0 {
        return Ok(());
    }
    refuse_if(ttl < SECOND, "subject delete marker TTL must be at least 1 second")?;
    let strict = config.pedantic && !config.allow_msg_ttl;
    refuse_if(strict, "subject delete marker cannot be set if message TTLs are disabled")?;
    config.allow_msg_ttl = true;
    needs_rollup(config, "subject delete marker cannot be set if roll-ups are disabled")
}

fn needs_rollup(config: &mut StreamConfig, why: &str) -> Result<(), ApiError> {
    if !config.allow_rollup_hdrs {
        refuse_if(config.pedantic, why)?;
        (config.allow_rollup_hdrs, config.deny_purge) = (true, false);
    }
    Ok(())
}

fn persistence(config: &StreamConfig) -> Result<(), ApiError> {
    if config.persist_mode == PersistMode::Default {
        return Ok(());
    }
    let file = config.storage == Storage::File;
    refuse_if(!file, "async persist mode is only supported on file storage")?;
    let replicated = config.num_replicas > 1;
    refuse_if(replicated, "async persist mode is not supported on replicated streams")?;
    refuse_if(config.allow_atomic, "async persist mode is not supported with atomic batch publish")
}

fn subjects(config: &mut StreamConfig) -> Result<(), ApiError> {
    if config.subjects.is_empty() {
        if config.mirror.is_none() && config.sources.is_empty() {
            config.subjects.push(config.name.clone());
        }
        return Ok(());
    }
    let mut rest = &config.subjects[..];
    while let Some((subject, behind)) = rest.split_first() {
        refuse_if(!is_valid(subject), "invalid subject")?;
        if !config.no_ack {
            may_acknowledge(subject)?;
        }
        if let Some(other) = behind.iter().find(|other| collide(subject, other)) {
            return Err(invalid(format_args!("subject {subject:?} overlaps with {other:?}")));
        }
        rest = behind;
    }
    Ok(())
}

/// An acknowledgement of what goes to the system's own subjects would be answered where a reply is expected.
fn may_acknowledge(subject: &str) -> Result<(), ApiError> {
    refuse_if(subject == ">", "capturing all subjects requires no-ack to be true")?;
    let api = ["$JS.>", "$JSC.>", "$NRG.>"].iter().any(|space| collide(subject, space));
    let why = "subjects that overlap with jetstream api require no-ack to be true";
    refuse_if(api && !contains("$JS.EVENT.>", subject), why)?;
    let system = collide(subject, "$SYS.>") && !contains("$SYS.ACCOUNT.>", subject);
    refuse_if(system, "subjects that overlap with system api require no-ack to be true")
}

fn transform(config: &StreamConfig) -> Result<(), ApiError> {
    let Some(SubjectTransform { src, dest }) = &config.subject_transform else { return Ok(()) };
    if !src.is_empty() && !is_valid(src) {
        return Err(Code::StreamTransformInvalidSource.with(format_args!("invalid subject {src}")));
    }
    let wrong = |why| Code::StreamTransformInvalidDestination.with(why);
    mapping::parse_strictly(src, dest).map(drop).map_err(wrong)
}

/// What is published again is not stored again by the same stream.
fn republish(config: &mut StreamConfig) -> Result<(), ApiError> {
    let strict = config.pedantic;
    let Some(of) = &mut config.republish else { return Ok(()) };
    if of.src.is_empty() {
        if strict {
            return Err(pedantic("republish source can not be empty"));
        }
        ">".clone_into(&mut of.src);
    }
    // Everything under the subject that it was stored by: that is no circle, if all is stored by another.
    if let (">", ">", Some(transform), [subject]) =
        (&*of.src, &*of.dest, &config.subject_transform, &config.subjects[..])
        && transform.src == *subject
    {
        if strict {
            return Err(pedantic("implicit republish based on subject transform"));
        }
        (of.src, of.dest) = (transform.dest.clone(), transform.dest.clone());
    }
    let cycle = !of.dest.is_empty() && config.subjects.iter().any(|subject| collide(&of.dest, subject));
    refuse_if(cycle, "stream configuration for republish destination forms a cycle")?;
    mapping::parse(&of.src, &of.dest).map_err(|_| {
        let Republish { src, dest, .. } = of;
        invalid(format_args!(
            "stream configuration for republish with transform from '{src}' to '{dest}' not valid"
        ))
    })?;
    Ok(())
}

/// What nats-server does and this server does not (docs/dialects/nats.md). Better refused than passed over.
///
/// # Errors
/// What is asked for in vain.
pub fn unsupported(config: &StreamConfig) -> Result<(), ApiError> {
    let asked = [
        (config.mirror.is_some(), "mirror"),
        (!config.sources.is_empty(), "sources"),
        (config.allow_msg_counter, "allow_msg_counter"),
    ];
    match asked.into_iter().find(|(is, _)| *is) {
        Some((_, name)) => Err(invalid(format_args!("{name} is not supported by this server"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_that_have_more_than_a_changed_stream_allows_are_named() {
        let consumer = |name: &str, (inactive_threshold, max_ack_pending)| ConsumerConfig {
            name: name.to_owned(),
            inactive_threshold,
            max_ack_pending,
            ..ConsumerConfig::default()
        };
        let consumers = [consumer("a", (0, -1)), consumer("b", (5, 1000)), consumer("c", (9, 10))];
        let limits =
            |(inactive_threshold, max_ack_pending)| ConsumerLimits { inactive_threshold, max_ack_pending };
        let found = |old, new| beyond((&limits(old), &limits(new)), &consumers).join(" ");
        assert_eq!(found((0, 0), (0, 999)), "b");
        assert_eq!(found((0, 0), (0, 1000)), "");
        assert_eq!(found((0, 0), (8, 0)), "c");
        assert_eq!(found((0, 0), (4, 9)), "b c");
        // All bounds are looked at if one of them changes, and none if none does, or they are only lifted.
        assert_eq!(found((8, 20), (8, 1000)), "c");
        assert_eq!(found((8, 20), (8, 20)), "");
        assert_eq!(found((8, 20), (8, 0)), "");
    }

    #[test]
    fn fast_batches_that_were_asked_for_are_told_not_to_be_allowed() {
        let asked = |pedantic| StreamConfig {
            name: "s".to_owned(),
            allow_batched: true,
            pedantic,
            ..StreamConfig::default()
        };
        let plain = create(StreamConfig { name: "s".to_owned(), ..StreamConfig::default() }, "s").unwrap();
        assert_eq!(create(asked(false), "s"), Ok(plain.clone()));
        let changed = update_from(&plain, update(asked(false), "s").unwrap()).unwrap();
        assert!(!changed.allow_batched);
        assert_eq!(create(asked(true), "s").unwrap_err().err_code, 10157);
    }
}
