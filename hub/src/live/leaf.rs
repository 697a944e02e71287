//! Who listens by one filter: members on this hub, and how many there are on others, outside groups and in each group.

use super::Slot;
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::id::{HubId, NamespaceId};

/// A live subscription of a session of this hub.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Whose.
    pub(super) slot: Slot,
    /// The session's number for it.
    pub(super) subscription: u32,
    /// How many records it had.
    pub(super) hits: u64,
    /// After so many it ends.
    pub(super) hits_max: u64,
    /// Bytes of records that it had and that are not counted yet.
    pub(super) bytes: u64,
}

/// Members that stand side by side: all that are in no group, or one group.
#[derive(Default)]
pub(super) struct Ring {
    /// On this hub.
    pub(super) here: Vec<Member>,
    /// How many on others, none of them 0.
    pub(super) elsewhere: SmallVec<[(HubId, u32); 2]>,
}

impl Ring {
    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }

    /// How many there are, on all hubs.
    pub(super) fn total(&self) -> u64 {
        self.here.len() as u64 + self.elsewhere.iter().map(|(_, count)| u64::from(*count)).sum::<u64>()
    }

    /// Another hub has so many.
    pub(super) fn set(&mut self, hub: HubId, count: u32) {
        self.elsewhere.retain(|(known, _)| *known != hub);
        if count > 0 {
            self.elsewhere.push((hub, count));
        }
    }
}

/// See the module.
pub(super) struct Leaf {
    pub(super) namespace: NamespaceId,
    pub(super) filter: Box<[u8]>,
    pub(super) has_wildcard: bool,
    /// Those in no group.
    pub(super) plain: Ring,
    /// By group. Few: found by looking through.
    pub(super) groups: SmallVec<[(Arc<[u8]>, Ring); 1]>,
    /// Other hubs that have plain members.
    pub(super) hubs: HubMask,
}

impl Leaf {
    pub(super) fn new(namespace: NamespaceId, filter: &[u8], has_wildcard: bool) -> Self {
        Self {
            namespace,
            filter: filter.into(),
            has_wildcard,
            plain: Ring::default(),
            groups: SmallVec::new(),
            hubs: HubMask::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    pub(super) fn ring(&self, group: Option<&[u8]>) -> Option<&Ring> {
        match group {
            None => Some(&self.plain),
            Some(name) => self.groups.iter().find(|(known, _)| **known == *name).map(|(_, ring)| ring),
        }
    }

    /// The ring of a group; made if it is not there.
    pub(super) fn ring_mut(&mut self, group: Option<&Arc<[u8]>>) -> &mut Ring {
        let Some(name) = group else { return &mut self.plain };
        let at = match self.groups.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                self.groups.push((name.clone(), Ring::default()));
                self.groups.len() - 1
            }
        };
        &mut self.groups[at].1
    }

    /// Another hub has so many members.
    pub(super) fn set_elsewhere(&mut self, group: Option<&Arc<[u8]>>, hub: HubId, count: u32) {
        self.ring_mut(group).set(hub, count);
        self.tidy();
    }

    /// Forgets groups without members, and adds up which hubs have some.
    pub(super) fn tidy(&mut self) {
        self.groups.retain(|(_, ring)| !ring.is_empty());
        self.hubs = self.plain.elsewhere.iter().map(|(hub, _)| *hub).collect();
    }
}

/// A set of hubs, by their numbers modulo 64: with more hubs it may name one too many, which finds nobody and does no harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HubMask(u64);

impl HubMask {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, hub: HubId) -> bool {
        self.0 & Self::bit(hub) != 0
    }

    pub(crate) fn add(&mut self, hub: HubId) {
        self.0 |= Self::bit(hub);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    fn bit(hub: HubId) -> u64 {
        1 << (hub.0 % 64)
    }
}

impl FromIterator<HubId> for HubMask {
    fn from_iter<T: IntoIterator<Item = HubId>>(hubs: T) -> Self {
        let mut mask = Self::default();
        hubs.into_iter().for_each(|hub| mask.add(hub));
        mask
    }
}
