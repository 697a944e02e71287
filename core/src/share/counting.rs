//! What was asked and found of groups, and is not done with in one turn.
//!
//! Called by [`crate::shard`], which takes the steps. Attached state.

use crate::stream::tally::Walk;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use stele_model::id::{Call, HubId, Lsn, Position, QueueId};
use stele_model::share::{Expect, ShardShares, ShareInfo, ShareSettings};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) listings: VecDeque<Listing>,
    pub(crate) makings: VecDeque<Making>,
    /// Positions that nobody needs any more, too many to let go of at once.
    pub(crate) buried: Vec<BTreeSet<Position>>,
}

/// A group that is to be made, and where it begins is still looked for.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) to: (HubId, Call),
    pub(crate) partition: QueueId,
    pub(crate) group: String,
    pub(crate) settings: Box<ShareSettings>,
    pub(crate) expect: Expect,
    /// The last record below is looked for: the partition's end when that began.
    pub(crate) below: Position,
    pub(crate) walk: Walk,
    pub(crate) last: Option<Position>,
}

/// A page of groups that is being told.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) of: ShardShares,
    /// Behind which name to go on.
    pub(crate) behind: Option<Arc<str>>,
    pub(crate) groups: Vec<ShareInfo>,
}

/// An answer that tells of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) to: (HubId, Call),
    /// The block it waits for besides.
    pub(crate) after: Lsn,
    pub(crate) told: Told,
}

/// What an answer tells besides what the group is like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Nothing,
    /// It was put, and was new or not.
    Put {
        created: bool,
    },
    /// It begins again here.
    Reset(Position),
}

impl Counting {
    pub(crate) fn is_idle(&self) -> bool {
        self.listings.is_empty() && self.makings.is_empty() && self.buried.is_empty()
    }

    pub(crate) fn bury(&mut self, positions: BTreeSet<Position>) {
        self.buried.extend(Some(positions).filter(|positions| !positions.is_empty()));
    }
}
