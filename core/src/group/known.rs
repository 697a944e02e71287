//! What is logged of a group: its last complete generation, which partitions that reads, and positions.
//!
//! Called by the verbs and by replay, through the same functions (S1).

use super::reading::Reading;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::group::DescribedMember;
use stele_model::id::{Now, Position, QueueId};

/// Logged state of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownGroup {
    /// There is an entry of it.
    pub(crate) logged: bool,
    pub(crate) generation: Generation,
    /// When the generation was complete.
    pub(crate) time: Now,
    /// Its place in the home; `None`: there was none yet.
    pub(crate) at: Option<u64>,
    /// Which partitions its members read.
    pub(crate) reading: Reading,
    pub(crate) positions: BTreeMap<QueueId, Held>,
}

/// A complete generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) number: i32,
    pub(crate) kind: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// In the order in which they came, each with its part.
    pub(crate) members: Vec<(Arc<Profile>, Bytes)>,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) number: String,
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) session_ms: u32,
    pub(crate) rebalance_ms: u32,
    /// The ways of dividing that it knows, best first, with its metadata; each once.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Streams that it reads; `None`: nobody can tell.
    pub(crate) reads: Option<Vec<String>>,
}

/// A position that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) position: Position,
    pub(crate) epoch: i32,
    pub(crate) metadata: Box<str>,
    pub(crate) time: Now,
    /// Its place in the home.
    pub(crate) at: u64,
}

impl KnownGroup {
    /// When a position may go, if the group is empty.
    pub(crate) fn expires(&self, held: &Held, retention_ms: u64) -> Now {
        let emptied = if self.at.is_some() { self.time } else { Now(0) };
        held.time.max(emptied).plus_ms(retention_ms)
    }
}

impl Generation {
    /// Puts another member in the place of one; the part stays.
    ///
    /// # Errors
    /// There is no such member.
    pub(crate) fn replace(&mut self, old: &str, new: &Arc<Profile>) -> Result<(), String> {
        let found = self.members.iter_mut().find(|(profile, _)| profile.number == old);
        let Some((profile, _)) = found else { return Err(format!("replaces unknown member '{old}'")) };
        *profile = Arc::clone(new);
        if self.leader == old {
            self.leader.clone_from(&new.number);
        }
        Ok(())
    }
}

impl Profile {
    /// What it brought for a way of dividing.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let protocols: usize =
            self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + 8).sum();
        let reads: usize = self.reads.iter().flatten().map(|name| name.len() + 2).sum();
        let instance = self.instance.as_ref().map_or(0, String::len);
        64 + self.number.len() + instance + self.client.len() + self.host.len() + protocols + reads
    }

    pub(crate) fn described(&self, metadata: Bytes, part: Bytes) -> DescribedMember {
        DescribedMember {
            member: self.number.clone(),
            instance: self.instance.clone(),
            client: self.client.clone(),
            host: self.host.clone(),
            metadata,
            part,
        }
    }
}
