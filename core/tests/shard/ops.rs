//! What may happen in a random run.

use proptest::prelude::*;

/// One step of a run. Numbers are taken modulo whatever there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Publish {
        route: u8,
        count: u8,
        persistent: bool,
        priority: u8,
        ttl: Option<u8>,
        awaited: bool,
        linked: Option<bool>,
    },
    Subscribe {
        session: u8,
        queue: u8,
        no_ack: bool,
        messages: Option<u8>,
        bytes: u16,
        priority: i8,
    },
    Unsubscribe {
        nth: u8,
    },
    Credit {
        nth: u8,
        bytes: u16,
    },
    Settle {
        nth: u8,
        skip: u8,
        count: u8,
        how: u8,
    },
    Get {
        session: u8,
        queue: u8,
        no_ack: bool,
    },
    Purge {
        queue: u8,
    },
    SessionGone {
        session: u8,
    },
    Settings {
        queue: u8,
        kind: u8,
        max: u8,
    },
    Recreate {
        queue: u8,
    },
    Moved {
        nth: u8,
    },
    Pass {
        ms: u8,
    },
    Seal,
    Snapshot,
    WriteOn {
        steps: u8,
    },
    Crash {
        back: u8,
        from_snapshot: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let publish = (
        any::<u8>(),
        1..12u8,
        prop::bool::weighted(0.75),
        0..4u8,
        prop::option::weighted(0.2, 0..30u8),
        any::<bool>(),
        prop::option::weighted(0.1, any::<bool>()),
    );
    let publish = publish.prop_map(|(route, count, persistent, priority, ttl, awaited, linked)| {
        Op::Publish { route, count, persistent, priority, ttl, awaited, linked }
    });
    let subscribe = (0..4u8, any::<u8>(), any::<bool>(), prop::option::of(1..6u8), 40..2000u16, -1..2i8);
    let subscribe = subscribe.prop_map(|(session, queue, no_ack, messages, bytes, priority)| Op::Subscribe {
        session,
        queue,
        no_ack,
        messages,
        bytes,
        priority,
    });
    let settle = (any::<u8>(), 0..3u8, 1..6u8, any::<u8>());
    prop_oneof![
        12 => publish,
        4 => subscribe,
        1 => any::<u8>().prop_map(|nth| Op::Unsubscribe { nth }),
        4 => (any::<u8>(), 1..800u16).prop_map(|(nth, bytes)| Op::Credit { nth, bytes }),
        10 => settle.prop_map(|(nth, skip, count, how)| Op::Settle { nth, skip, count, how }),
        3 => (0..4u8, any::<u8>(), any::<bool>()).prop_map(|(session, queue, no_ack)| Op::Get { session, queue, no_ack }),
        1 => any::<u8>().prop_map(|queue| Op::Purge { queue }),
        1 => (0..4u8).prop_map(|session| Op::SessionGone { session }),
        3 => (any::<u8>(), any::<u8>(), 0..8u8).prop_map(|(queue, kind, max)| Op::Settings { queue, kind, max }),
        1 => any::<u8>().prop_map(|queue| Op::Recreate { queue }),
        3 => any::<u8>().prop_map(|nth| Op::Moved { nth }),
        4 => (1..20u8).prop_map(|ms| Op::Pass { ms }),
        4 => Just(Op::Seal),
        1 => Just(Op::Snapshot),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(back, from_snapshot)| Op::Crash { back, from_snapshot }),
        2 => (1..8u8).prop_map(|steps| Op::WriteOn { steps }),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..120)
}

/// As [`ops`], where dead letters pile up: of queues that have room for next to nothing, while few of their moves end.
pub(crate) fn crowded_ops() -> impl Strategy<Value = Vec<Op>> {
    // A limit of length or bytes; above it the head goes (the setting is that there are dead letters, again), or what comes.
    let narrow = (0..3u8, 0..2u8, 0..2u8, prop_oneof![Just(6u8), Just(3)]);
    let narrow = narrow.prop_map(|(queue, limit, max, above)| {
        [(6, 0), (limit, max), (above, 0)].map(|(kind, max)| Op::Settings { queue, kind, max })
    });
    let stays = |op: &Op| !matches!(op, Op::Moved { nth } if nth % 8 > 0);
    (prop::collection::vec(narrow, 2..4), prop::collection::vec(op(), 40..160)).prop_map(
        move |(narrow, rest)| narrow.into_iter().flatten().chain(rest.into_iter().filter(stays)).collect(),
    )
}
