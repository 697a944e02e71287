//! What is done to the shard, at random.

use proptest::prelude::*;

/// How a delivery is settled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Accept,
    Release(u16),
    Extend,
    Terminate,
}

/// What a group is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// 0 none, 1 all, 2 and above explicit.
    pub(crate) settle: u8,
    pub(crate) lease_ms: u16,
    pub(crate) backoff: bool,
    pub(crate) deliveries_max: Option<u8>,
    pub(crate) pending_max: Option<u8>,
    pub(crate) push: bool,
    pub(crate) memory: bool,
    pub(crate) from_new: bool,
    pub(crate) dead_letter: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Batches of so many records.
    Append(Vec<u8>),
    Put {
        group: u8,
        settings: Settings,
    },
    Delete(u8),
    Pull {
        group: u8,
        count: u8,
        no_wait: bool,
        expires_ms: Option<u16>,
    },
    Push {
        group: u8,
        bytes: u16,
    },
    Credit {
        nth: u8,
        bytes: u16,
    },
    Untake(u8),
    SessionGone(u8),
    /// Of what was delivered and not settled (`nth` of it), or of any position.
    Settle {
        group: u8,
        how: How,
        picks: Vec<(bool, u8)>,
        awaited: bool,
        right_delivery: bool,
    },
    Pause {
        group: u8,
        ms: Option<u16>,
    },
    /// At the floor, or some place: there, or still to come.
    Reset {
        group: u8,
        at: Option<u8>,
    },
    Trim(u8),
    /// A hub has found places for the records of a move.
    Moved(u8),
    Pass(u16),
    Seal,
    Snapshot,
    Crash {
        back: u8,
        from_snapshot: bool,
    },
}

fn settings() -> impl Strategy<Value = Settings> {
    let bounds = (prop::option::of(1..4u8), prop::option::of(1..7u8));
    let kind = (0..5u8, 1..400u16, any::<bool>());
    let often = prop::bool::weighted;
    let traits = (often(0.2), often(0.2), often(0.2), often(0.5));
    (kind, bounds, traits).prop_map(|((settle, lease_ms, backoff), (deliveries_max, pending_max), traits)| {
        let (push, memory, from_new, dead_letter) = traits;
        Settings {
            settle,
            lease_ms,
            backoff,
            deliveries_max,
            pending_max,
            push,
            memory,
            from_new,
            dead_letter,
        }
    })
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => Just(How::Accept),
        2 => Just(How::Release(0)),
        2 => (1..600u16).prop_map(How::Release),
        1 => Just(How::Extend),
        1 => Just(How::Terminate),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let group = 0..3u8;
    let picks = prop::collection::vec((prop::bool::weighted(0.9), any::<u8>()), 1..6);
    let settle = (group.clone(), how(), picks, prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    let pull = (group.clone(), 1..6u8, prop::bool::weighted(0.2), prop::option::of(0..900u16));
    prop_oneof![
        10 => prop::collection::vec(1..5u8, 1..4).prop_map(Op::Append),
        4 => (group.clone(), settings()).prop_map(|(group, settings)| Op::Put { group, settings }),
        1 => group.clone().prop_map(Op::Delete),
        12 => pull.prop_map(|(group, count, no_wait, expires_ms)| Op::Pull { group, count, no_wait, expires_ms }),
        2 => (group.clone(), 1..400u16).prop_map(|(group, bytes)| Op::Push { group, bytes }),
        2 => (any::<u8>(), 1..300u16).prop_map(|(nth, bytes)| Op::Credit { nth, bytes }),
        1 => any::<u8>().prop_map(Op::Untake),
        1 => any::<u8>().prop_map(Op::SessionGone),
        14 => settle.prop_map(|(group, how, picks, awaited, right_delivery)| {
            Op::Settle { group, how, picks, awaited, right_delivery }
        }),
        1 => (group.clone(), prop::option::of(0..500u16)).prop_map(|(group, ms)| Op::Pause { group, ms }),
        2 => (group, prop::option::of(0..40u8)).prop_map(|(group, at)| Op::Reset { group, at }),
        2 => any::<u8>().prop_map(Op::Trim),
        2 => any::<u8>().prop_map(Op::Moved),
        6 => (0..500u16).prop_map(Op::Pass),
        4 => Just(Op::Seal),
        1 => Just(Op::Snapshot),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(back, from_snapshot)| Op::Crash { back, from_snapshot }),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..70)
}
