//! The configuration of topics by Kafka's names: what each may be, what it is by default, and what a stream makes of it.
//!
//! A topic keeps what its clients wrote ([`StreamInfo::arguments`]) beside what follows from it ([`StreamSettings`]). Where both
//! speak of the same thing the settings are shown, so that a stream of another dialect reads right too.

use crate::refuse::{Code, Fault};
use std::collections::BTreeMap;
use stele_model::stream::{StreamInfo, StreamSettings, TimeKind};
use stele_model::value::{Arguments, Value};
use stele_record::batch::compression::{Codec, Packing};

/// The type of a configuration, by its number in DescribeConfigs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub(super) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One configuration of a topic.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    /// Smallest number; for texts and lists the values that are allowed, separated by bars (empty: any).
    allowed: Allowed,
    /// For UIs.
    pub(super) documentation: &'static str,
}

#[derive(Debug)]
enum Allowed {
    Any,
    AtLeast(i64),
    Within(i64, i64),
    OneOf(&'static [&'static str]),
    SomeOf(&'static [&'static str]),
    /// A star, or pairs of a partition and a broker.
    Replicas,
}

macro_rules! settings {
    ($($name:literal $kind:ident $default:literal $allowed:expr, $documentation:literal;)*) => {
        /// All of them, by name. Kafka 4.3's names and defaults.
        pub(super) const SETTINGS: &[Setting] = &[$(Setting {
            name: $name, kind: Kind::$kind, default: $default, allowed: $allowed, documentation: $documentation,
        },)*];
    };
}

use Allowed::{Any, AtLeast, OneOf, Replicas, SomeOf, Within};

settings! {
    "cleanup.policy" List "delete" SomeOf(&["delete", "compact"]),
        "What happens to old records: 'delete' by age and size, 'compact' keeps the last record of each key, or both.";
    "compression.gzip.level" Int "-1" OneOf(&["-1", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        "How hard gzip tries where compression.type asks for it; -1: as it does by itself.";
    "compression.lz4.level" Int "9" Within(1, 17), "Accepted; LZ4 has one level here, its fastest.";
    "compression.type" Text "producer" OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "The codec of stored batches; 'producer' keeps each as it was sent.";
    "compression.zstd.level" Int "3" Within(-131_072, 22),
        "How hard Zstandard tries where compression.type asks for it; above 19 as hard as at 19.";
    "delete.retention.ms" Long "86400000" AtLeast(0),
        "How long a record without a value stays in a compacted topic.";
    "file.delete.delay.ms" Long "60000" AtLeast(0), "Accepted; files are removed when nothing needs them.";
    "flush.messages" Long "9223372036854775807" AtLeast(1), "Accepted; what is acknowledged is synced.";
    "flush.ms" Long "9223372036854775807" AtLeast(0), "Accepted; what is acknowledged is synced.";
    "follower.replication.throttled.replicas" List "" Replicas, "Accepted; there are no followers.";
    "index.interval.bytes" Int "4096" AtLeast(0), "Accepted; every batch is indexed.";
    "leader.replication.throttled.replicas" List "" Replicas, "Accepted; there are no followers.";
    "local.retention.bytes" Long "-2" AtLeast(-2), "Accepted; there is no remote storage.";
    "local.retention.ms" Long "-2" AtLeast(-2), "Accepted; there is no remote storage.";
    "max.compaction.lag.ms" Long "9223372036854775807" AtLeast(1), "Accepted; compaction is continuous.";
    "max.message.bytes" Int "1048588" AtLeast(0), "Largest batch, as sent.";
    "message.timestamp.after.max.ms" Long "3600000" AtLeast(0),
        "How far a producer's timestamp may lie in the future.";
    "message.timestamp.before.max.ms" Long "9223372036854775807" AtLeast(0),
        "How far a producer's timestamp may lie in the past.";
    "message.timestamp.type" Text "CreateTime" OneOf(&["CreateTime", "LogAppendTime"]),
        "Whose clock a record's timestamp is.";
    "min.cleanable.dirty.ratio" Double "0.5" Any, "Accepted; compaction is continuous.";
    "min.compaction.lag.ms" Long "0" AtLeast(0), "How long a record stays untouched by compaction.";
    "min.insync.replicas" Int "1" AtLeast(1), "Accepted; there is one copy.";
    "preallocate" Boolean "false" Any, "Accepted; files are always preallocated.";
    "remote.log.copy.disable" Boolean "false" Any, "Accepted; there is no remote storage.";
    "remote.log.delete.on.disable" Boolean "false" Any, "Accepted; there is no remote storage.";
    "remote.storage.enable" Boolean "false" OneOf(&["false"]), "There is no remote storage.";
    "retention.bytes" Long "-1" Any, "Size of a partition above which its oldest batches go; below 0: none.";
    "retention.ms" Long "604800000" AtLeast(-1), "Age at which batches go; -1: never.";
    "segment.bytes" Int "1073741824" AtLeast(1 << 20), "Accepted; segments belong to all topics together.";
    "segment.index.bytes" Int "10485760" AtLeast(4), "Accepted; see segment.bytes.";
    "segment.jitter.ms" Long "0" AtLeast(0), "Accepted; see segment.bytes.";
    "segment.ms" Long "604800000" AtLeast(1), "Accepted; see segment.bytes.";
    "stele.capture" Boolean "false" Any, "Other dialects' publishes to the topic's name are appended to it.";
    "unclean.leader.election.enable" Boolean "false" Any, "Accepted; there is one copy.";
}

/// What a client wrote, by name.
pub(super) type Written = BTreeMap<String, String>;

/// The configuration of that name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// Checks one value.
    pub(super) fn check(&self, value: &str) -> Result<(), Fault> {
        let fits = match (self.kind, &self.allowed) {
            (Kind::Boolean, OneOf(words)) => words.contains(&value),
            (Kind::Boolean, _) => matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
            (Kind::Int, AtLeast(min)) => value.parse::<i32>().is_ok_and(|number| i64::from(number) >= *min),
            (Kind::Long, AtLeast(min)) => value.parse::<i64>().is_ok_and(|number| number >= *min),
            (Kind::Int, Within(min, max)) => {
                value.parse::<i64>().is_ok_and(|number| (*min..=*max).contains(&number))
            }
            (Kind::Int, OneOf(words)) => words.contains(&value),
            (Kind::Short | Kind::Int | Kind::Long, _) => value.parse::<i64>().is_ok(),
            (Kind::Double, _) => value.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
            (Kind::Text, OneOf(words)) => words.contains(&value),
            (Kind::List, SomeOf(words)) => elements(value).all(|word| words.contains(&word)),
            (Kind::List, Replicas) => value == "*" || elements(value).all(is_replica),
            (Kind::Text | Kind::List, _) => true,
        };
        let text = || format!("Invalid value {value} for configuration {}", self.name);
        if fits { Ok(()) } else { Err(Fault::new(Code::InvalidConfig, text())) }
    }
}

/// A partition and a broker, as in `0:1`.
fn is_replica(pair: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    pair.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

/// The configuration of Kafka's brokers from which a topic's comes when nobody says: its name; `None`: it has none, or no value.
pub(super) fn broker_name(setting: &Setting) -> Option<String> {
    let name = setting.name;
    Some(match name {
        "max.message.bytes" => "message.max.bytes".to_owned(),
        "compression.gzip.level"
        | "compression.lz4.level"
        | "compression.type"
        | "compression.zstd.level"
        | "min.insync.replicas"
        | "unclean.leader.election.enable" => name.to_owned(),
        "delete.retention.ms" | "max.compaction.lag.ms" | "min.compaction.lag.ms" => {
            format!("log.cleaner.{name}")
        }
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio".to_owned(),
        "file.delete.delay.ms" => "log.segment.delete.delay.ms".to_owned(),
        "flush.messages" => "log.flush.interval.messages".to_owned(),
        "segment.index.bytes" => "log.index.size.max.bytes".to_owned(),
        "cleanup.policy"
        | "index.interval.bytes"
        | "local.retention.bytes"
        | "local.retention.ms"
        | "message.timestamp.after.max.ms"
        | "message.timestamp.before.max.ms"
        | "message.timestamp.type"
        | "preallocate"
        | "retention.bytes"
        | "segment.bytes" => format!("log.{name}"),
        _ => return None,
    })
}

/// The elements of a list; an empty text has none.
pub(super) fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|_| !list.trim().is_empty())
}

/// Takes a value up. Blanks around it do not count.
pub(super) fn write(written: &mut Written, name: &str, value: &str) {
    written.insert(name.to_owned(), value.trim().to_owned());
}

/// Checks all that a client wrote.
pub(super) fn check(written: &Written) -> Result<(), Fault> {
    let invalid = |text: String| Fault::new(Code::InvalidConfig, text);
    for (name, value) in written {
        let unknown = || invalid(format!("Unknown topic config name: {name}"));
        find(name).ok_or_else(unknown)?.check(value)?;
    }
    let (min, max) = (number(written, "min.compaction.lag.ms"), number(written, "max.compaction.lag.ms"));
    if min > max {
        let text = format!("min.compaction.lag.ms ({min}) is more than max.compaction.lag.ms ({max})");
        return Err(invalid(text));
    }
    Ok(())
}

/// What is written, or the default.
fn value<'w>(written: &'w Written, name: &str) -> &'w str {
    let default = find(name).map_or("", |setting| setting.default);
    written.get(name).map_or(default, String::as_str)
}

/// The same as a number.
fn number(written: &Written, name: &str) -> i64 {
    value(written, name).parse().unwrap_or(-1)
}

/// What a stream makes of it. What is not written has Kafka's default.
pub(super) fn settings(written: &Written) -> StreamSettings {
    let value = |name: &str| value(written, name);
    let number = |name: &str| number(written, name);
    let limit = |name: &str| u64::try_from(number(name)).ok();
    let policy = |word: &str| elements(value("cleanup.policy")).any(|element| element == word);
    StreamSettings {
        retention_ms: limit("retention.ms"),
        retention_bytes: limit("retention.bytes"),
        delete: policy("delete"),
        compact: policy("compact"),
        compact_after_ms: limit("min.compaction.lag.ms").unwrap_or_default(),
        tombstone_ms: limit("delete.retention.ms").unwrap_or_default(),
        batch_bytes_max: u32::try_from(number("max.message.bytes")).unwrap_or_default(),
        capture: value("stele.capture").eq_ignore_ascii_case("true"),
        time: if value("message.timestamp.type") == "LogAppendTime" {
            TimeKind::Append
        } else {
            TimeKind::Producer
        },
        records: None,
    }
}

/// To be kept beside the settings.
pub(super) fn arguments(written: &Written) -> Arguments {
    written.iter().map(|(name, value)| (name.clone(), Value::Text(value.clone()))).collect()
}

/// What clients of this dialect wrote of a topic.
pub(super) fn written(info: &StreamInfo) -> Written {
    let ours = info.arguments.iter().filter(|(name, _)| find(name).is_some());
    ours.filter_map(|(name, value)| Some((name.clone(), value.as_text()?.to_owned()))).collect()
}

/// The present value of a configuration, and whether it is not the default.
pub(super) fn present(info: &StreamInfo, setting: &Setting) -> (String, bool) {
    let settings = &info.settings;
    let limit = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
    let value = match setting.name {
        "retention.ms" => limit(settings.retention_ms),
        "retention.bytes" => limit(settings.retention_bytes),
        "cleanup.policy" => match (settings.delete, settings.compact) {
            (true, true) => "compact,delete",
            (true, false) => "delete",
            (false, true) => "compact",
            (false, false) => "",
        }
        .to_owned(),
        "min.compaction.lag.ms" => settings.compact_after_ms.to_string(),
        "delete.retention.ms" => settings.tombstone_ms.to_string(),
        "max.message.bytes" => settings.batch_bytes_max.to_string(),
        "stele.capture" => settings.capture.to_string(),
        "message.timestamp.type" => match settings.time {
            TimeKind::Append => "LogAppendTime",
            TimeKind::Producer => "CreateTime",
        }
        .to_owned(),
        name => info.arguments.get(name).and_then(Value::as_text).unwrap_or(setting.default).to_owned(),
    };
    let differs = value != setting.default || info.arguments.contains_key(setting.name);
    (value, differs)
}

/// What a producer's connection must know of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Stored batches have this codec; `None`: the producer's.
    pub(super) codec: Option<Packing>,
    /// Timestamps are ours.
    pub(super) log_append_time: bool,
    /// How far a timestamp may lie in the past, ms.
    pub(super) before_ms: i64,
    /// How far a timestamp may lie in the future, ms.
    pub(super) after_ms: i64,
    /// Records need keys.
    pub(super) compact: bool,
    /// Largest batch, octets.
    pub(super) batch_bytes_max: u32,
}

impl Rules {
    pub(super) fn of(info: &StreamInfo) -> Self {
        let number = |name| {
            let text = find(name).map(|setting| present(info, setting).0);
            text.and_then(|text| text.parse().ok()).unwrap_or(i64::MAX)
        };
        let word = find("compression.type").map(|setting| present(info, setting).0).unwrap_or_default();
        let level = find(&format!("compression.{word}.level"))
            .and_then(|setting| present(info, setting).0.parse().ok());
        Self {
            codec: Codec::named(&word).map(|codec| Packing { codec, level }),
            log_append_time: info.settings.time == TimeKind::Append,
            before_ms: number("message.timestamp.before.max.ms"),
            after_ms: number("message.timestamp.after.max.ms"),
            compact: info.settings.compact,
            batch_bytes_max: info.settings.batch_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for setting in SETTINGS {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
        }
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
    }

    #[test]
    fn what_is_written_is_shown_and_means_something() {
        let write = |pairs: &[(&str, &str)]| -> Written {
            let mut written = Written::new();
            pairs.iter().for_each(|(name, value)| super::write(&mut written, name, value));
            written
        };
        let written = write(&[
            ("cleanup.policy", "compact, delete"),
            ("retention.ms", "-1"),
            ("message.timestamp.type", "LogAppendTime"),
            ("segment.ms", " 1000 "),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "7"),
        ]);
        check(&written).unwrap();
        let settings = settings(&written);
        assert_eq!((settings.retention_ms, settings.delete, settings.compact), (None, true, true));
        assert_eq!(settings.time, TimeKind::Append);
        let info = StreamInfo {
            name: "t".to_owned(),
            uuid: Default::default(),
            partitions: Vec::new(),
            settings,
            arguments: arguments(&written),
            internal: false,
        };
        let shown = |name| present(&info, find(name).unwrap());
        assert_eq!(shown("cleanup.policy"), ("compact,delete".to_owned(), true));
        assert_eq!(shown("segment.ms"), ("1000".to_owned(), true));
        assert_eq!(shown("max.message.bytes"), ("1048588".to_owned(), false));
        let rules = Rules::of(&info);
        assert!(rules.compact);
        assert_eq!(rules.codec, Some(Packing { codec: Codec::Zstd, level: Some(7) }));
        for (name, value) in [
            ("retention.ms", "x"),
            ("cleanup.policy", "keep"),
            ("no.such", "1"),
            ("remote.storage.enable", "true"),
            ("cleanup.policy", ","),
            ("segment.bytes", "1048575"),
            ("leader.replication.throttled.replicas", "0:1,1"),
            ("compression.gzip.level", "0"),
            ("compression.zstd.level", "23"),
        ] {
            assert!(check(&write(&[(name, value)])).is_err(), "{name}");
        }
        let lags = [("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "50")];
        assert!(check(&write(&lags)).is_err(), "the least lag is more than the most");
        for (name, value) in [
            ("cleanup.policy", ""),
            ("retention.bytes", "-3"),
            ("leader.replication.throttled.replicas", "0:1, 1:1"),
            ("follower.replication.throttled.replicas", "*"),
            ("compression.lz4.level", "17"),
        ] {
            assert_eq!(check(&write(&[(name, value)])), Ok(()), "{name}");
        }
    }
}
