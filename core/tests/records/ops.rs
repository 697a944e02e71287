//! What is done to the stream, at random.

use proptest::prelude::*;
use stele_model::stream::records::{Discard, Rollup, Ttl};

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) subject: u8,
    pub(crate) len: u8,
    pub(crate) id: Option<u8>,
    /// A condition: 0 the end, 1 the subject's last, 2 the last of a pattern, 3 the last id; and whether it shall hold.
    pub(crate) condition: Option<(u8, bool)>,
    pub(crate) rollup: Option<Rollup>,
    pub(crate) ttl: Ttl,
    pub(crate) marker: bool,
    /// After so many milliseconds it is published again, or should be to its own subject, which cannot be; and then whether that is repeated.
    pub(crate) due: Option<(u16, bool, bool)>,
    /// What waits at this subject is ended.
    pub(crate) ends: Option<u8>,
    /// It has no terms at all.
    pub(crate) plain: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Publish {
        sent: Vec<Sent>,
        awaited: bool,
    },
    /// A bundle that ends so: 0 not at all, 1 with its last record, 2 behind it, 3 with one missing before the last.
    Bundle {
        sent: Vec<Sent>,
        end: u8,
    },
    Delete(u8),
    Purge {
        pattern: Option<u8>,
        below: Option<u8>,
        keep: Option<u8>,
    },
    Get {
        at: u8,
        pattern: u8,
    },
    Scan {
        pattern: u8,
        from: u8,
        count: u8,
    },
    Lasts {
        pattern: u8,
        as_of: Option<u8>,
    },
    Put {
        settings: Settings,
    },
    Clock(bool),
    Pass(u16),
    Seal,
    Snapshot,
    Crash {
        back: u8,
        from_snapshot: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) records_max: Option<u8>,
    pub(crate) per_subject_max: Option<u8>,
    pub(crate) bytes_max: Option<u16>,
    pub(crate) age_ms: Option<u16>,
    pub(crate) discard: Discard,
    pub(crate) marker_ttl_ms: Option<u16>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let rollup = prop_oneof![8 => Just(None), 1 => Just(Some(Rollup::Subject)), 1 => Just(Some(Rollup::All))];
    let ttl = prop_oneof![
        4 => Just(Ttl::Stream),
        2 => (1..3000u64).prop_map(Ttl::Ms),
        1 => Just(Ttl::Never),
    ];
    (
        0..8u8,
        0..40u8,
        prop::option::of(0..6u8),
        prop::option::of((0..4u8, prop::bool::weighted(0.7))),
        rollup,
        ttl,
        (prop::bool::weighted(0.2), due(), prop::option::weighted(0.1, 0..8u8)),
        prop::bool::weighted(0.5),
    )
        .prop_map(|(subject, len, id, condition, rollup, ttl, (marker, due, ends), plain)| Sent {
            subject,
            len,
            id,
            condition,
            rollup,
            ttl,
            marker,
            due,
            ends,
            plain,
        })
}

fn due() -> impl Strategy<Value = Option<(u16, bool, bool)>> {
    prop::option::weighted(0.2, (0..3000u16, prop::bool::weighted(0.1), any::<bool>()))
}

fn settings() -> impl Strategy<Value = Settings> {
    let discard = prop_oneof![
        2 => Just(Discard::Old),
        1 => Just(Discard::New { per_subject: false }),
        1 => Just(Discard::New { per_subject: true }),
    ];
    (
        prop::option::of(1..20u8),
        prop::option::weighted(0.3, 1..5u8),
        prop::option::weighted(0.3, 200..2000u16),
        prop::option::weighted(0.5, 500..4000u16),
        discard,
        prop::option::weighted(0.4, 500..2000u16),
    )
        .prop_map(|(records_max, per_subject_max, bytes_max, age_ms, discard, marker_ttl_ms)| Settings {
            records_max,
            per_subject_max,
            bytes_max,
            age_ms,
            discard,
            marker_ttl_ms,
        })
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (prop::collection::vec(sent(), 1..8), any::<bool>())
            .prop_map(|(sent, awaited)| Op::Publish { sent, awaited }),
        6 => (prop::collection::vec(sent(), 1..8), 0..4u8).prop_map(|(sent, end)| Op::Bundle { sent, end }),
        3 => any::<u8>().prop_map(Op::Delete),
        2 => (prop::option::of(0..6u8), prop::option::of(any::<u8>()), prop::option::of(0..4u8))
            .prop_map(|(pattern, below, keep)| Op::Purge { pattern, below, keep }),
        2 => (any::<u8>(), 0..6u8).prop_map(|(at, pattern)| Op::Get { at, pattern }),
        2 => (0..6u8, any::<u8>(), 1..9u8)
            .prop_map(|(pattern, from, count)| Op::Scan { pattern, from, count }),
        1 => (0..6u8, prop::option::of(any::<u8>()))
            .prop_map(|(pattern, as_of)| Op::Lasts { pattern, as_of }),
        1 => settings().prop_map(|settings| Op::Put { settings }),
        1 => any::<bool>().prop_map(Op::Clock),
        3 => (1..2500u16).prop_map(Op::Pass),
        3 => Just(Op::Seal),
        1 => Just(Op::Snapshot),
        1 => (0..4u8, any::<bool>())
            .prop_map(|(back, from_snapshot)| Op::Crash { back, from_snapshot }),
    ];
    prop::collection::vec(op, 1..60)
}
