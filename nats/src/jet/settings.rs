//! JetStream's configurations as the settings of `model`, and back: streams as streams that tell their records apart, consumers as shared
//! groups. The configuration itself is kept beside the settings, as JSON, so that it can be echoed.
//!
//! What must hold: a configuration that passed the checks has settings; sequence = position + 1 (S23).

use super::consumer::{AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, ReplayPolicy, SequenceInfo};
use super::mapping;
use super::stream::{
    Discard, Republish, Retention, Storage, StreamConfig, StreamInfo, StreamState, SubjectTransform,
};
use super::time::{MILLISECOND, Time};
use super::versions;
use bytes::Bytes;
use std::collections::BTreeMap;
use stele_model::id::{Now, Position};
use stele_model::queue::DeadLetter;
use stele_model::share::{Pace, PushSettings, Reached, SettlePolicy, ShareInfo, ShareSettings, ShareStart};
use stele_model::stream::echo::Echo;
use stele_model::stream::records::{self, RecordSettings};
use stele_model::stream::{self, StreamSettings, TimeKind};
use stele_model::subject::Pattern;
use stele_model::subject::renaming::Renaming;
use stele_model::value::{Arguments, Value};

/// The argument of a stream that holds its configuration.
const CONFIG: &str = "nats.config";
/// The argument of a stream that holds when it was made, nanoseconds since the Unix epoch.
const CREATED: &str = "nats.created";
/// The argument of a stream that says whether its messages may be got without the API.
const DIRECT: &str = "nats.allow_direct";
/// The entry of a consumer's metadata that names the subject to which messages go that it gives up, or that are terminated. Ours:
/// nats-server has nothing like it.
pub const DEAD_LETTER: &str = "stele.dead_letter_subject";
/// The exchange that stands for the one space of subjects.
pub const SUBJECTS: &str = "amq.topic";

/// Something above 0, or no limit.
fn limit(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

fn limit_u32(value: i64) -> Option<u32> {
    limit(value).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

/// Whole milliseconds, rounded up; `None` for 0.
fn ms(nanos: i64) -> Option<u64> {
    limit(nanos).map(|nanos| nanos.div_ceil(MILLISECOND.unsigned_abs()))
}

/// Whole microseconds, rounded up; `None` for 0.
fn us(nanos: i64) -> Option<u64> {
    limit(nanos).map(|nanos| nanos.div_ceil(1000))
}

fn patterns(subjects: &[String]) -> Vec<Pattern> {
    subjects.iter().filter_map(|subject| Pattern::new(subject.clone())).collect()
}

/// What a stream is set to.
#[must_use]
pub fn of_stream(config: &StreamConfig) -> StreamSettings {
    let records = RecordSettings {
        subjects: patterns(&config.subjects),
        records_max: limit(config.max_msgs),
        per_subject_max: limit(config.max_msgs_per_subject),
        discard: match config.discard {
            Discard::Old => records::Discard::Old,
            Discard::New => records::Discard::New { per_subject: config.discard_new_per_subject },
        },
        dedupe_ms: ms(config.duplicate_window).unwrap_or(0),
        storage: match config.storage {
            Storage::File => records::Storage::Durable,
            Storage::Memory => records::Storage::Memory,
        },
        retention: match config.retention {
            Retention::Limits => records::Retention::Limits,
            Retention::Interest => records::Retention::Interest,
            Retention::WorkQueue => records::Retention::Work,
        },
        first: Position(config.first_seq.saturating_sub(1)),
        groups_max: limit_u32(config.max_consumers),
        rollup: config.allow_rollup_hdrs,
        record_ttl: config.allow_msg_ttl,
        due: config.allow_msg_schedules,
        marker_ttl_ms: ms(config.subject_delete_marker_ttl),
        deny_delete: config.deny_delete,
        deny_purge: config.deny_purge,
        sealed: config.sealed,
        no_ack: config.no_ack,
        bundles: config.allow_atomic,
        rename: config.subject_transform.as_ref().and_then(rename),
        echo: config.republish.as_ref().and_then(echo),
    };
    let defaults = StreamSettings::default();
    StreamSettings {
        retention_ms: ms(config.max_age),
        retention_bytes: limit(config.max_bytes),
        batch_bytes_max: limit_u32(i64::from(config.max_msg_size)).unwrap_or(defaults.batch_bytes_max),
        time: TimeKind::Append,
        records: Some(Box::new(records)),
        ..defaults
    }
}

fn rename(of: &SubjectTransform) -> Option<Renaming> {
    mapping::parse(&of.src, &of.dest).ok().flatten()
}

fn echo(of: &Republish) -> Option<Echo> {
    let to = mapping::parse(&of.src, &of.dest).ok().flatten()?;
    Some(Echo { to, head_only: of.headers_only })
}

/// What is kept beside a stream's settings. `created`: when it was made.
#[must_use]
pub fn arguments(config: &StreamConfig, created: Time) -> Arguments {
    let text = serde_json::to_string(config).expect("a configuration is a map with names");
    Arguments::from([
        (CONFIG.to_owned(), Value::Text(text)),
        (CREATED.to_owned(), Value::Int(created.unix_nanos())),
        (DIRECT.to_owned(), Value::Bool(config.allow_direct)),
    ])
}

/// Whether a stream's messages may be got without the API.
#[must_use]
pub fn allows_direct(info: &stream::StreamInfo) -> bool {
    matches!(info.arguments.get(DIRECT), Some(Value::Bool(true)))
}

/// When a stream was made.
#[must_use]
pub fn created(info: &stream::StreamInfo) -> Time {
    info.arguments.get(CREATED).and_then(Value::as_int).map_or(Time::ZERO, Time::from_unix_nanos)
}

/// A stream's configuration; `None` if it does not tell its records apart, so that it is none of JetStream's.
#[must_use]
pub fn config_of(info: &stream::StreamInfo) -> Option<StreamConfig> {
    let records = info.settings.records.as_deref()?;
    let kept = info.arguments.get(CONFIG).and_then(Value::as_text);
    let kept = kept.and_then(|text| serde_json::from_str(text).ok());
    Some(kept.unwrap_or_else(|| from_settings(&info.name, &info.settings, records)))
}

/// The configuration of a stream that another dialect made: what can be said of it in these words.
fn from_settings(name: &str, settings: &StreamSettings, records: &RecordSettings) -> StreamConfig {
    let unlimited = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    let nanos = |ms: Option<u64>| {
        ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(MILLISECOND))
    };
    StreamConfig {
        name: name.to_owned(),
        subjects: records.subjects.iter().map(ToString::to_string).collect(),
        retention: match records.retention {
            records::Retention::Limits => Retention::Limits,
            records::Retention::Interest => Retention::Interest,
            records::Retention::Work => Retention::WorkQueue,
        },
        max_consumers: unlimited(records.groups_max.map(u64::from)),
        max_msgs: unlimited(records.records_max),
        max_bytes: unlimited(settings.retention_bytes),
        max_age: nanos(settings.retention_ms),
        max_msgs_per_subject: unlimited(records.per_subject_max),
        max_msg_size: -1,
        discard: if records.discard == records::Discard::Old { Discard::Old } else { Discard::New },
        discard_new_per_subject: records.discard == records::Discard::New { per_subject: true },
        storage: match records.storage {
            records::Storage::Durable => Storage::File,
            records::Storage::Memory => Storage::Memory,
        },
        num_replicas: 1,
        no_ack: records.no_ack,
        duplicate_window: nanos(Some(records.dedupe_ms)),
        sealed: records.sealed,
        deny_delete: records.deny_delete,
        deny_purge: records.deny_purge,
        allow_rollup_hdrs: records.rollup,
        allow_msg_ttl: records.record_ttl,
        allow_atomic: records.bundles,
        allow_msg_schedules: records.due,
        subject_delete_marker_ttl: nanos(records.marker_ttl_ms),
        ..StreamConfig::default()
    }
}

/// What is in a stream.
#[must_use]
pub fn state(of: &records::StreamState) -> StreamState {
    let counted = of.counted.iter();
    StreamState {
        messages: of.records,
        bytes: of.bytes,
        // A stream that never had a message does not say where it begins, unless it was told to.
        first_seq: if of.end.0 == 0 { 0 } else { of.first.0 + 1 },
        first_ts: of.first_at.map_or(Time::ZERO, Time::from),
        last_seq: of.end.0,
        last_ts: of.last_at.map_or(Time::ZERO, Time::from),
        num_subjects: of.subjects,
        subjects: counted.map(|(name, count)| (String::from_utf8_lossy(name).into_owned(), *count)).collect(),
        num_deleted: of.holes,
        deleted: of.hole_list.iter().map(|position| position.0 + 1).collect(),
        consumer_count: u64::from(of.groups),
    }
}

/// All of a stream that is told.
#[must_use]
pub fn stream_info(config: StreamConfig, created: Time, of: &records::StreamState, now: Now) -> StreamInfo {
    StreamInfo { config, created, state: state(of), ts: Time::from(now) }
}

/// What a consumer is set to.
#[must_use]
pub fn of_consumer(config: &ConsumerConfig) -> ShareSettings {
    let defaults = ShareSettings::default();
    let json = serde_json::to_vec(config).expect("a configuration is a map with names");
    ShareSettings {
        filters: patterns(config.filters()),
        start: start(config),
        settle: match config.ack_policy {
            AckPolicy::None => SettlePolicy::None,
            AckPolicy::All => SettlePolicy::All,
            AckPolicy::Explicit | AckPolicy::FlowControl => SettlePolicy::Explicit,
        },
        lease_us: us(config.ack_wait).unwrap_or(defaults.lease_us),
        backoff_us: config.backoff.iter().map(|wait| us(*wait).unwrap_or(1)).collect(),
        deliveries_max: limit_u32(config.max_deliver),
        pending_max: limit_u32(config.max_ack_pending),
        waiting_max: limit_u32(config.max_waiting).unwrap_or(defaults.waiting_max),
        pull_count_max: limit_u32(config.max_batch),
        pull_bytes_max: limit(config.max_bytes),
        pull_expires_us_max: us(config.max_expires),
        pace: match config.replay_policy {
            ReplayPolicy::Instant => Pace::Instant,
            ReplayPolicy::Original => Pace::Original,
        },
        headers_only: config.headers_only,
        inactive_us: us(config.inactive_threshold),
        pause_until: config.pause_until.filter(|until| !until.is_zero()).map(moment),
        dead_letter: config
            .metadata
            .get(DEAD_LETTER)
            .map(|subject| DeadLetter { exchange: SUBJECTS.to_owned(), key: Some(subject.clone()) }),
        durable: config.is_durable(),
        memory: config.mem_storage,
        push: config.is_push().then(|| PushSettings {
            heartbeat_us: us(config.idle_heartbeat),
            rate_bytes_max: (config.rate_limit_bps > 0).then(|| (config.rate_limit_bps / 8).max(1)),
        }),
        sampled_percent: sampled_percent(&config.sample_freq),
        arguments: Bytes::from(json),
    }
}

/// The percentage that is written, at most a hundred.
fn sampled_percent(written: &str) -> u8 {
    let percent = written.strip_suffix('%').unwrap_or(written).parse().unwrap_or(0);
    u32::min(percent, 100) as u8
}

/// The time in microseconds; the Unix epoch for what was before it.
fn moment(time: Time) -> Now {
    Now(u64::try_from(time.unix_nanos() / 1000).unwrap_or(0))
}

/// What a request to pause means.
#[must_use]
pub fn pause(until: Time) -> Option<Now> {
    (!until.is_zero()).then(|| moment(until))
}

fn start(config: &ConsumerConfig) -> ShareStart {
    match config.deliver_policy {
        DeliverPolicy::All => ShareStart::All,
        DeliverPolicy::Last => ShareStart::Last,
        DeliverPolicy::New => ShareStart::New,
        DeliverPolicy::ByStartSequence => {
            ShareStart::Position(Position(config.opt_start_seq.saturating_sub(1)))
        }
        DeliverPolicy::ByStartTime => ShareStart::Time(moment(config.opt_start_time.unwrap_or_default())),
        DeliverPolicy::LastPerSubject => ShareStart::LastPerSubject,
    }
}

/// A consumer's configuration as it was asked for, with the pause that it has now, and the level that it needs for it.
#[must_use]
pub fn consumer_config(info: &ShareInfo) -> ConsumerConfig {
    let mut config = serde_json::from_slice(&info.settings.arguments).unwrap_or_else(|_| ConsumerConfig {
        name: info.group.clone(),
        durable_name: if info.settings.durable { info.group.clone() } else { String::new() },
        filter_subjects: info.settings.filters.iter().map(ToString::to_string).collect(),
        metadata: BTreeMap::new(),
        ..ConsumerConfig::default()
    });
    config.pause_until = info.settings.pause_until.map(Time::from);
    if !config.metadata.is_empty() {
        versions::stamp_consumer(&mut config);
    }
    config
}

/// All of a consumer that is told.
#[must_use]
pub fn consumer_info(stream: &str, info: &ShareInfo, now: Now) -> ConsumerInfo {
    let reached = |reached: Reached, at: Option<Now>| SequenceInfo {
        consumer_seq: reached.sequence,
        stream_seq: reached.next.0,
        last_active: at.map(Time::from),
    };
    let left = info.settings.pause_until.map_or(0, |until| until.0.saturating_sub(now.0));
    ConsumerInfo {
        stream_name: stream.to_owned(),
        name: info.group.clone(),
        created: Time::from(info.created),
        config: consumer_config(info),
        delivered: reached(info.delivered, info.delivered_at),
        ack_floor: reached(info.floor, info.settled_at),
        num_ack_pending: info.unsettled,
        num_redelivered: info.redelivered,
        num_waiting: u64::from(info.waiting),
        num_pending: info.pending,
        push_bound: info.attached > 0,
        paused: left > 0,
        pause_remaining: i64::try_from(left).unwrap_or(i64::MAX).saturating_mul(1000),
        ts: Time::from(now),
    }
}

/// A group `c` that has just been made like this.
#[cfg(test)]
pub(super) fn new_group(settings: ShareSettings) -> ShareInfo {
    ShareInfo {
        group: "c".to_owned(),
        created: Now(1),
        settings,
        delivered: Reached::default(),
        floor: Reached::default(),
        delivered_at: None,
        settled_at: None,
        unsettled: 0,
        redelivered: 0,
        pending: 0,
        waiting: 0,
        attached: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{consumer_check, stream_check};
    use super::*;
    use stele_model::stream::StreamUuid;

    fn info(config: &StreamConfig) -> stream::StreamInfo {
        stream::StreamInfo {
            name: config.name.clone(),
            uuid: StreamUuid::default(),
            partitions: Vec::new(),
            settings: of_stream(config),
            arguments: arguments(config, Time::from_unix_nanos(5)),
            internal: false,
        }
    }

    #[test]
    fn a_streams_configuration_is_told_as_it_was_asked_for() {
        let asked =
            StreamConfig { name: "s".to_owned(), max_msgs: 5, allow_direct: true, ..StreamConfig::default() };
        let config = stream_check::create(asked, "s").unwrap();
        let info = info(&config);
        assert_eq!(config_of(&info), Some(config));
        assert_eq!(created(&info), Time::from_unix_nanos(5));
        assert!(allows_direct(&info));
        let records = info.settings.records.unwrap();
        assert_eq!(
            (records.records_max, records.per_subject_max, records.dedupe_ms),
            (Some(5), None, 120_000)
        );
    }

    #[test]
    fn what_another_dialect_made_is_told_as_far_as_it_can_be() {
        let config =
            stream_check::create(StreamConfig { name: "s".to_owned(), ..StreamConfig::default() }, "s")
                .unwrap();
        let bare = stream::StreamInfo { arguments: Arguments::new(), ..info(&config) };
        let told = config_of(&bare).unwrap();
        assert!(stream_check::is_same(&told, &config), "{told:?}");
        let settings = StreamSettings { records: None, ..bare.settings.clone() };
        assert_eq!(config_of(&stream::StreamInfo { settings, ..bare }), None);
    }

    #[test]
    fn a_consumers_limits_become_settings() {
        let stream =
            stream_check::create(StreamConfig { name: "s".to_owned(), ..StreamConfig::default() }, "s")
                .unwrap();
        let asked = ConsumerConfig {
            durable_name: "c".to_owned(),
            name: "c".to_owned(),
            ack_policy: AckPolicy::Explicit,
            backoff: vec![1_000_000_000, 1],
            max_deliver: 4,
            ..ConsumerConfig::default()
        };
        let config = consumer_check::check(asked, &stream, false).unwrap();
        let settings = of_consumer(&config);
        assert_eq!(settings.backoff_us, [1_000_000, 1]);
        assert_eq!(
            (settings.deliveries_max, settings.pending_max, settings.waiting_max),
            (Some(4), Some(1000), 512)
        );
        assert!(settings.logged() && settings.push.is_none());
    }

    #[test]
    fn a_consumer_needs_a_higher_level_as_long_as_it_has_a_pause() {
        let stream = StreamConfig { name: "s".to_owned(), ..StreamConfig::default() };
        let stream = stream_check::create(stream, "s").unwrap();
        let asked = ConsumerConfig { name: "c".to_owned(), ..ConsumerConfig::default() };
        let settings = of_consumer(&consumer_check::check(asked, &stream, false).unwrap());
        for (pause_until, level) in [(None, "0"), (Some(Now(5)), "1"), (None, "0")] {
            let settings = ShareSettings { pause_until, ..settings.clone() };
            let info = new_group(settings);
            let config = consumer_config(&info);
            assert_eq!(config.metadata.get("_nats.req.level").map(String::as_str), Some(level));
        }
    }

    #[test]
    fn a_consumer_names_the_subject_of_its_dead_letters_in_its_metadata() {
        let stream =
            stream_check::create(StreamConfig { name: "s".to_owned(), ..StreamConfig::default() }, "s")
                .unwrap();
        let asked = |subject: &str, ack_policy| ConsumerConfig {
            ack_policy,
            metadata: BTreeMap::from([(DEAD_LETTER.to_owned(), subject.to_owned())]),
            ..ConsumerConfig::default()
        };
        let config =
            consumer_check::check(asked("dead.letters", AckPolicy::Explicit), &stream, false).unwrap();
        let target = of_consumer(&config).dead_letter.unwrap();
        assert_eq!((&target.exchange[..], target.key.as_deref()), (SUBJECTS, Some("dead.letters")));
        let refused = |subject: &str, policy| {
            consumer_check::check(asked(subject, policy), &stream, false).unwrap_err().err_code
        };
        // The stream captures its own name.
        for subject in ["", "dead.*", "a b", "$JS.API.INFO", "s"] {
            assert_eq!(refused(subject, AckPolicy::Explicit), 10012, "{subject}");
        }
        assert_eq!(refused("dead", AckPolicy::None), 10012);
    }
}
