//! What is done to the shard, at random.

use proptest::prelude::*;

/// How a batch is numbered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    /// As it should be.
    Next,
    /// As the batch so many before the last.
    Repeat(u8),
    /// Leaving some out.
    Gap,
    /// By a new incarnation, from 0 or not.
    Reborn(bool),
    /// By an old incarnation.
    Old,
}

/// One batch.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) partition: u8,
    pub(crate) count: u32,
    pub(crate) len: u16,
    /// The newest time, relative to now; `None`: there is none in it.
    pub(crate) time: Option<i16>,
    pub(crate) producer: Option<(u8, Number)>,
    /// Keys of its records, for compacted partitions; high ones end the key.
    pub(crate) keys: [u8; 5],
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append {
        parts: Vec<Part>,
        awaited: bool,
    },
    /// Records, to the partitions of this mask and, by its highest bit, to a queue.
    Publish {
        mask: u8,
        lens: Vec<u16>,
        persistent: bool,
    },
    Read {
        parts: Vec<(u8, u8, u16)>,
        bytes_max: u16,
        watch: Option<u8>,
    },
    Unwatch(u8),
    SessionGone,
    Seek {
        partition: u8,
        by: u8,
        ms: i16,
    },
    Trim {
        partition: u8,
        at: u8,
    },
    /// New settings: age, bytes.
    Put {
        partition: u8,
        age: Option<u16>,
        bytes: Option<u16>,
        append_time: bool,
        /// Time untouched, and stay of tombstones.
        compact: Option<(u16, u16)>,
    },
    Replace(u8),
    Clock(bool),
    Pass(u16),
    /// A day and more.
    PassLong,
    Seal,
    Snapshot,
    Crash {
        back: u8,
        from_snapshot: bool,
    },
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        6 => Just(Number::Next),
        2 => (0..7u8).prop_map(Number::Repeat),
        1 => Just(Number::Gap),
        1 => any::<bool>().prop_map(Number::Reborn),
        1 => Just(Number::Old),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    let time = prop::option::of(-500..500i16);
    let producer = prop::option::of((0..3u8, number()));
    let keys = any::<[u8; 5]>();
    (0..3u8, 1..6u32, 1..900u16, time, producer, keys).prop_map(
        |(partition, count, len, time, producer, keys)| Part { partition, count, len, time, producer, keys },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let append = (prop::collection::vec(part(), 1..6), any::<bool>());
    let reads = prop::collection::vec((0..4u8, any::<u8>(), 0..3000u16), 1..4);
    let compact = prop::option::of((0..700u16, 0..700u16));
    let put = (0..3u8, prop::option::of(0..1000u16), prop::option::of(0..4000u16), any::<bool>(), compact);
    let publish = (0..16u8, prop::collection::vec(1..500u16, 1..12), any::<bool>());
    prop_oneof![
        4 => publish.prop_map(|(mask, lens, persistent)| Op::Publish { mask, lens, persistent }),
        12 => append.prop_map(|(parts, awaited)| Op::Append { parts, awaited }),
        5 => (reads, 0..6000u16, prop::option::of(0..3u8))
            .prop_map(|(parts, bytes_max, watch)| Op::Read { parts, bytes_max, watch }),
        1 => (0..3u8).prop_map(Op::Unwatch),
        1 => Just(Op::SessionGone),
        3 => (0..4u8, 0..6u8, -600..600i16).prop_map(|(partition, by, ms)| Op::Seek { partition, by, ms }),
        2 => (0..4u8, any::<u8>()).prop_map(|(partition, at)| Op::Trim { partition, at }),
        2 => put.prop_map(|(partition, age, bytes, append_time, compact)| {
            Op::Put { partition, age, bytes, append_time, compact }
        }),
        1 => (0..3u8).prop_map(Op::Replace),
        1 => any::<bool>().prop_map(Op::Clock),
        4 => (0..800u16).prop_map(Op::Pass),
        1 => Just(Op::PassLong),
        3 => Just(Op::Seal),
        1 => Just(Op::Snapshot),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(back, from_snapshot)| Op::Crash { back, from_snapshot }),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..60)
}
