//! Groups: a request finds the home of its group by the group's name, with the partitions it names resolved; answers come back with
//! names.
//!
//! The homes are the partitions of an internal stream that is made when the first group of a namespace is asked for. Which home is a
//! group's must never change, so the hash is written out here: that of Java's strings, as in Kafka, over the UTF-16 code units of the name.

use super::joint::{Parts, Share};
use super::requests::Request;
use super::streams::stream_for;
use super::{Hub, HubOut, Open};
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::flow::Edge;
use stele_model::group::{
    Commit, GROUP_HOMES, GROUP_STREAM, GroupAnswer, GroupChange, GroupChanges, GroupRefusal, GroupRequest,
    GroupVerb, Known, KnownChange, KnownPosition, Listed, ShardGroup, ShardGroupAnswer,
};
use stele_model::id::{Call, Position, QueueId, SessionId, ShardId, Ticket};
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::registry::RegistryOp;
use stele_model::shard::ShardOp;
use stele_model::stream::{PartitionRef, StreamRef, StreamUuid};

/// What is kept of a request until its group has answered.
pub(super) struct GroupAsked {
    /// Parts that were refused here, with their places in the answer.
    refused: Vec<(usize, Refusal)>,
    /// Streams of which positions are committed, each with the number of positions, and the group's name.
    committed: Option<(Vec<(StreamUuid, u64)>, String)>,
}

/// The home of a group.
fn home(group: &str) -> u32 {
    let hash = group.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash & 0x7fff_ffff) % GROUP_HOMES
}

impl Hub {
    pub(super) fn group(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        request: GroupRequest,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        let access = match request.verb {
            GroupVerb::Delete | GroupVerb::Forget { .. } => Access::Configure,
            _ => Access::Read,
        };
        namespace.check(&attached.principal.name, access, Object::Group, &request.group)?;
        let Some(homes) = namespace.stream(GROUP_STREAM) else {
            let (hub, namespace) = (self.id, namespace.id);
            let request = Request::GroupStream { group: Box::new(request) };
            let call = self.call(Open::Request { session, ticket, request });
            out.registry.push(RegistryOp::GroupStream { hub, call, namespace });
            return Ok(());
        };
        let Some((home, shard)) = homes.partition(home(&request.group)) else {
            return Err(Refusal::Unavailable { why: "the homes of groups are being made".to_owned() });
        };
        let mut request = request;
        let (partitions, asked) = self.resolve(session, &request);
        let mut reads = Vec::new();
        match &mut request.verb {
            GroupVerb::Forget { of } => {
                of.iter_mut().for_each(|partition| self.name_stream(&mut partition.stream));
            }
            GroupVerb::Commit { positions, .. } => {
                positions.iter_mut().for_each(|position| self.name_stream(&mut position.of.stream));
            }
            GroupVerb::Join(join) => {
                let partitions = |name: &String| {
                    let found = namespace.stream(name).into_iter().flat_map(|stream| &stream.info.partitions);
                    found.map(|(partition, _)| *partition).collect()
                };
                reads = join.reads.iter().flatten().map(partitions).collect();
            }
            _ => {}
        }
        self.touch(session, shard);
        let call = self.call(Open::Request { session, ticket, request: Request::Group(asked) });
        let GroupRequest { group, verb } = request;
        let op = ShardGroup { session, hub: self.id, call, home, group, verb, partitions, reads };
        out.shards.push((shard, ShardOp::Group(op)));
        Ok(())
    }

    /// A group knows what its members read by name.
    fn name_stream(&self, named: &mut StreamRef) {
        if let StreamRef::Uuid(uuid) = named
            && let Some(stream) = self.snapshot.stream(*uuid)
        {
            *named = StreamRef::Name(stream.name.to_string());
        }
    }

    /// What is known of the groups of a home; it is shown to who may read the internal stream.
    pub(super) fn group_changes(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        (home, from, count_max): (u32, Position, u32),
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let (stream, index) = (StreamRef::Name(GROUP_STREAM.to_owned()), home);
        let found = self.partition(session, Access::Read, &PartitionRef { stream, index })?;
        let call = self.call(Open::Request { session, ticket, request: Request::GroupChanges });
        let (hub, home) = (self.id, found.id);
        out.shards.push((found.shard, ShardOp::GroupChanges { hub, call, home, from, count_max }));
        Ok(())
    }

    /// A home has told what it knows.
    pub(super) fn group_changed(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        end: Position,
        changes: Vec<KnownChange>,
        out: &mut HubOut,
    ) {
        let named = |KnownChange { at, time, group, what }: KnownChange| {
            let what = match what {
                Ok(position) => Known::Position(self.named(session, vec![position]).pop()?),
                Err(generation) => Known::Generation(generation),
            };
            Some(GroupChange { at, time, group, what })
        };
        let changes = changes.into_iter().filter_map(named).collect();
        let done = Done::GroupChanges(GroupChanges { end, changes });
        self.complete(session, ticket, Outcome::Done(done), out);
    }

    /// Groups forget what they know of partitions that are gone. Each shard with a home is told.
    pub(super) fn partitions_gone(
        &self,
        session: SessionId,
        partitions: &[(QueueId, ShardId)],
        out: &mut HubOut,
    ) {
        let Ok((_, namespace)) = self.namespace_of(session) else { return };
        let Some(homes) = namespace.stream(GROUP_STREAM) else { return };
        let shards: BTreeSet<_> = homes.info.partitions.iter().map(|(_, shard)| *shard).collect();
        let gone: Vec<_> = partitions.iter().map(|(id, _)| *id).collect();
        let tell = |shard| (shard, ShardOp::PartitionsGone { partitions: gone.clone() });
        out.shards.extend(shards.into_iter().map(tell));
    }

    /// The homes are there, or could not be made.
    pub(super) fn group_stream_made(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        group: GroupRequest,
        made: Result<Done, Refusal>,
        out: &mut HubOut,
    ) {
        let missing = |hub: &Self| {
            hub.namespace_of(session).is_ok_and(|(_, namespace)| namespace.stream(GROUP_STREAM).is_none())
        };
        let asked = match made {
            // What is answered was published before (S11).
            Ok(_) if missing(self) => {
                Err(Refusal::Unavailable { why: "the homes of groups are gone".to_owned() })
            }
            Ok(_) => self.group(session, ticket, group, out),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = asked {
            self.complete(session, ticket, Outcome::Refused(refusal), out);
        }
    }

    /// The numbers of the partitions that a request names, in its order. What the user may not read is not there for the group, and is
    /// answered for here.
    fn resolve(&self, session: SessionId, request: &GroupRequest) -> (Vec<Option<QueueId>>, GroupAsked) {
        let named: Vec<&PartitionRef> = match &request.verb {
            GroupVerb::Commit { positions, .. } => positions.iter().map(|position| &position.of).collect(),
            GroupVerb::Positions { of: Some(of) } | GroupVerb::Forget { of } => of.iter().collect(),
            _ => Vec::new(),
        };
        let is_commit = matches!(request.verb, GroupVerb::Commit { .. });
        let mut committed: Vec<(StreamUuid, u64)> = Vec::new();
        let mut refused = Vec::new();
        let mut partitions = Vec::with_capacity(named.len());
        for (place, named) in named.into_iter().enumerate() {
            match self.partition(session, Access::Read, named) {
                Ok(found) => {
                    partitions.push(Some(found.id));
                    let uuid = found.stream.info.uuid;
                    match committed.last_mut() {
                        Some((last, count)) if *last == uuid => *count += 1,
                        _ => committed.push((uuid, 1)),
                    }
                }
                Err(refusal) => {
                    partitions.push(None);
                    refused.push((place, refusal));
                }
            }
        }
        let committed = is_commit.then(|| (committed, request.group.clone()));
        (partitions, GroupAsked { refused, committed })
    }

    /// A group has answered.
    pub(super) fn group_answered(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        asked: GroupAsked,
        answer: Result<ShardGroupAnswer, GroupRefusal>,
        out: &mut HubOut,
    ) {
        let answer = answer.map(|answer| match answer {
            ShardGroupAnswer::Plain(GroupAnswer::Committed(mut parts)) => {
                for (place, refusal) in asked.refused {
                    if let Some(part) = parts.get_mut(place) {
                        *part = Err(refusal);
                    }
                }
                self.count_committed(session, asked.committed);
                GroupAnswer::Committed(parts)
            }
            ShardGroupAnswer::Plain(answer) => answer,
            ShardGroupAnswer::Positions(known) => GroupAnswer::Positions(self.named(session, known)),
            ShardGroupAnswer::Listed(_) | ShardGroupAnswer::Changes(..) => {
                unreachable!("a listing is not asked of one group")
            }
        });
        self.complete(session, ticket, Outcome::Done(Done::Group(answer)), out);
    }

    /// Positions with the names that their streams have now; those of streams that are gone, or not for this user, are left out.
    fn named(&self, session: SessionId, known: Vec<KnownPosition>) -> Vec<Commit> {
        let Ok((attached, namespace)) = self.namespace_of(session) else { return Vec::new() };
        let commit = |known: KnownPosition| {
            let (stream, index) = self.snapshot.partition(known.partition)?;
            let stream = StreamRef::Name(stream.name.to_string());
            stream_for(namespace, &attached.principal.name, Some(Access::Read), &stream).ok()?;
            let KnownPosition { position, epoch, metadata, .. } = known;
            Some(Commit { of: PartitionRef { stream, index }, position, epoch, metadata })
        };
        known.into_iter().filter_map(commit).collect()
    }

    fn count_committed(&mut self, session: SessionId, committed: Option<(Vec<(StreamUuid, u64)>, String)>) {
        let Some((streams, group)) = committed else { return };
        let Some(attached) = self.sessions.get(&session.number) else { return };
        for (stream, count) in streams {
            let (group, party) = (group.clone(), attached.party.clone());
            let edge = self.flows.edge(Edge::Committed { stream, group, party });
            self.flows.add(edge, count, 0);
        }
    }

    /// All groups that the session may see, from all homes.
    pub(super) fn groups(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let (_, namespace) = self.namespace_of(session)?;
        let homes = namespace.stream(GROUP_STREAM).cloned();
        let joint = self.joint(session, ticket, Parts::Groups(Vec::new()));
        for (home, shard) in homes.iter().flat_map(|homes| homes.info.partitions.iter().copied()) {
            let call = self.share(joint, Vec::new());
            out.shards.push((shard, ShardOp::Groups { hub: self.id, call, home }));
        }
        self.asked(joint, out);
        Ok(())
    }

    /// A home has told its groups.
    pub(super) fn listed(&mut self, call: Call, mut listed: Vec<Listed>, out: &mut HubOut) {
        let session = match self.calls.get(&call).map(Box::as_ref) {
            Some(Open::Share { joint, .. }) => self.joints.get(joint).map(|open| open.session),
            _ => None,
        };
        let Some(session) = session else { return };
        if let Ok((attached, namespace)) = self.namespace_of(session) {
            let permits: Option<Arc<_>> = namespace.permits(&attached.principal.name).cloned();
            let may =
                |group: &str| permits.as_ref().is_some_and(|permits| permits.shows(Object::Group, group));
            listed.retain(|listed| may(&listed.group));
        }
        self.shared(call, Share::Groups(listed), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_home_is_where_kafka_has_it() {
        // Java: "".hashCode() == 0; "group".hashCode() == 98629247; "polygenelubricants".hashCode() == Integer.MIN_VALUE.
        assert_eq!(home(""), 0);
        assert_eq!(home("group"), 98_629_247 % 50);
        assert_eq!(home("polygenelubricants"), 0);
        // Above the basic plane two units count.
        assert_eq!(home("𝄞"), ((0xd834_u32 * 31 + 0xdd1e) & 0x7fff_ffff) % 50);
    }
}
