//! Streams: appends, reads, searches and trims are taken apart by shard, and what is asked about streams is looked up.
//!
//! What must hold: a partition is resolved by name or stable number against one snapshot, and grants are checked where it is resolved;
//! a part that cannot be asked for is answered by itself, and the others go on; one wake for each watch, from whichever shard comes first
//! ([`super::watch`]). Records for readers of other dialects ([`super::listen`]) cost nothing where nobody listens.

use super::joint::Parts;
use super::requests::Request;
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::{Namespace, Stream};
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::flow::Edge;
use stele_model::id::{Position, QueueId, SessionId, ShardId, Ticket};
use stele_model::op::StreamsWanted;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::shard::ShardOp;
use stele_model::stream::{
    Appended, Appends, PartResult, PartitionRef, Reads, SeekBy, ShardAppend, ShardRead, ShardReadPart,
    StreamInfo, StreamRef, StreamRefusal,
};

/// A partition that was found, and what it is part of.
pub(super) struct Partition {
    pub(super) stream: Arc<Stream>,
    pub(super) id: QueueId,
    pub(super) shard: ShardId,
}

/// What one shard is asked for: the parts, and their places in the answer.
type Asked<T> = (ShardId, Vec<u32>, Vec<T>);

/// What each shard is asked for, in the order in which they came up.
pub(super) struct Shares<T>(SmallVec<[Asked<T>; 2]>);

/// An answer as far as it is known.
type Known<T> = Vec<Option<PartResult<T>>>;

impl<T> Shares<T> {
    pub(super) fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Puts a part to its shard's; tells which it is there.
    pub(super) fn add(&mut self, shard: ShardId, place: usize, part: T) -> u32 {
        let place = u32::try_from(place).expect("parts of a request are bounded by its size");
        let at = match self.0.iter().position(|(of, ..)| *of == shard) {
            Some(at) => at,
            None => {
                self.0.push((shard, Vec::new(), Vec::new()));
                self.0.len() - 1
            }
        };
        let (_, places, parts) = &mut self.0[at];
        places.push(place);
        parts.push(part);
        u32::try_from(parts.len() - 1).expect("as above")
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (ShardId, Vec<u32>, Vec<T>)> {
        self.0.into_iter()
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.0.iter().map(|(shard, ..)| *shard)
    }
}

impl Hub {
    /// A partition that the session may access so.
    pub(super) fn partition(
        &self,
        session: SessionId,
        access: Access,
        named: &PartitionRef,
    ) -> Result<Partition, Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        let stream = stream_for(namespace, &attached.principal.name, Some(access), &named.stream)?;
        let Some((id, shard)) = stream.partition(named.index) else {
            return Err(Refusal::Stream(StreamRefusal::UnknownPartition));
        };
        Ok(Partition { stream: stream.clone(), id, shard })
    }

    pub(super) fn append(&mut self, session: SessionId, ticket: Ticket, appends: Appends, out: &mut HubOut) {
        let Appends { parts, awaited, records } = appends;
        let found: Vec<_> =
            parts.iter().map(|part| self.partition(session, Access::Write, &part.to)).collect();
        if records.is_none() && self.anybody_listens(session, &found) {
            let parts = found.into_iter().map(|found| found.map(|_| Appended::Listeners)).collect();
            return self.complete(session, ticket, Outcome::Done(Done::Appended(parts)), out);
        }
        let mut answers: Known<Appended> = vec![None; parts.len()];
        let mut shares = Shares::new();
        let mut heard = Vec::new();
        let mut records = records.map(Vec::into_iter);
        for (place, (part, found)) in parts.into_iter().zip(found).enumerate() {
            let records = records.as_mut().and_then(Iterator::next);
            match found {
                Err(refusal) => answers[place] = Some(Err(refusal)),
                Ok(Partition { stream, id, shard }) => {
                    let (count, bytes) = (u64::from(part.batch.count), part.batch.bytes.len() as u64);
                    self.count_appended(session, &stream, count, bytes);
                    let at = shares.add(shard, place, (id, part.batch));
                    heard.extend(records.map(|records| (stream, (shard, at), records)));
                }
            }
        }
        let joint = self.joint(session, ticket, Parts::Appended(answers));
        let mut stored = self.store_for_listeners(session, joint, awaited, heard, out);
        for (shard, places, parts) in shares.into_iter() {
            let call = self.share(joint, places);
            let records = stored.remove(&shard).unwrap_or_default();
            out.shards
                .push((shard, ShardOp::Append(ShardAppend { hub: self.id, call, awaited, parts, records })));
        }
        self.asked(joint, out);
    }

    fn count_appended(&mut self, session: SessionId, stream: &Stream, records: u64, bytes: u64) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        let (uuid, party) = (stream.info.uuid, &attached.party);
        let edge = || Edge::Appended { party: party.clone(), stream: uuid };
        let edge = attached.appended.edge(uuid, || self.flows.edge(edge()));
        self.flows.add(edge, records, bytes);
    }

    pub(super) fn read(&mut self, session: SessionId, ticket: Ticket, reads: Reads, out: &mut HubOut) {
        let Reads { parts, bytes_max, watch } = reads;
        let mut answers = Vec::with_capacity(parts.len());
        let mut streams = Vec::with_capacity(parts.len());
        let mut shares = Shares::new();
        for (place, part) in parts.iter().enumerate() {
            match self.partition(session, Access::Read, &part.of) {
                Err(refusal) => {
                    answers.push(Some(Err(refusal)));
                    streams.push(Default::default());
                }
                Ok(Partition { stream, id, shard }) => {
                    let (from, bytes_max, stable) = (part.from, part.bytes_max, part.stable);
                    shares.add(shard, place, ShardReadPart { partition: id, from, bytes_max, stable });
                    answers.push(None);
                    streams.push(stream.info.uuid);
                }
            }
        }
        let watch = watch.and_then(|watch| self.watch(session, watch, shares.shards().collect(), out));
        let joint = self.joint(session, ticket, Parts::Read { parts: answers, bytes_max, streams });
        for (shard, places, parts) in shares.into_iter() {
            let call = self.share(joint, places);
            self.touch(session, shard);
            out.shards.push((shard, ShardOp::Read(ShardRead { session, call, parts, bytes_max, watch })));
        }
        self.asked(joint, out);
    }

    pub(super) fn seek(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        parts: Vec<(PartitionRef, SeekBy)>,
        out: &mut HubOut,
    ) {
        let (shares, answers) = self.split(session, Access::Read, parts);
        let joint = self.joint(session, ticket, Parts::Sought(answers));
        for (shard, places, parts) in shares.into_iter() {
            let call = self.share(joint, places);
            out.shards.push((shard, ShardOp::Seek { hub: self.id, call, parts }));
        }
        self.asked(joint, out);
    }

    pub(super) fn trim(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        parts: Vec<(PartitionRef, Position)>,
        out: &mut HubOut,
    ) {
        let (shares, answers) = self.split(session, Access::Configure, parts);
        let joint = self.joint(session, ticket, Parts::Trimmed(answers));
        for (shard, places, parts) in shares.into_iter() {
            let call = self.share(joint, places);
            out.shards.push((shard, ShardOp::Trim { hub: self.id, call, parts }));
        }
        self.asked(joint, out);
    }

    /// Parts by shard, and the answer so far: what is refused already.
    fn split<T, A>(
        &self,
        session: SessionId,
        access: Access,
        parts: Vec<(PartitionRef, T)>,
    ) -> (Shares<(QueueId, T)>, Known<A>) {
        let mut shares = Shares::new();
        let mut answers = Vec::with_capacity(parts.len());
        for (place, (named, what)) in parts.into_iter().enumerate() {
            match self.partition(session, access, &named) {
                Err(refusal) => answers.push(Some(Err(refusal))),
                Ok(found) => {
                    shares.add(found.shard, place, (found.id, what));
                    answers.push(None);
                }
            }
        }
        (shares, answers)
    }

    /// Any shard gives numbers that no other gives: each hub asks its own in turn.
    pub(super) fn new_producer(&mut self, session: SessionId, ticket: Ticket, out: &mut HubOut) {
        let call = self.call(Open::Request { session, ticket, request: Request::Producer });
        let shard = ShardId((call.0 % u64::from(self.shards)) as u16);
        out.shards.push((shard, ShardOp::NewProducer { hub: self.id, call }));
    }

    /// What a session may know of streams: whoever may do anything with one may look at it.
    pub(super) fn streams(&self, session: SessionId, wanted: StreamsWanted) -> Result<Done, Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        let user = &attached.principal.name;
        let info = |stream: &Arc<Stream>| stream.info.clone();
        let streams: Vec<PartResult<Arc<StreamInfo>>> = match wanted {
            StreamsWanted::All => {
                let Some(permits) = namespace.permits(user) else { return Ok(Done::Streams(Vec::new())) };
                let may = |stream: &&Arc<Stream>| permits.shows(Object::Stream, &stream.name);
                namespace.streams().into_iter().filter(may).map(|stream| Ok(info(stream))).collect()
            }
            StreamsWanted::These(streams) => {
                streams.iter().map(|named| stream_for(namespace, user, None, named).map(info)).collect()
            }
        };
        Ok(Done::Streams(streams))
    }

    /// A shard has a trace of the session, and is told when it goes.
    pub(super) fn touch(&mut self, session: SessionId, shard: ShardId) {
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.touched.insert(shard);
        }
    }
}

/// A stream that a user may access so, or may look at. Of a name that is not there it is told only to who might have it.
pub(super) fn stream_for<'a>(
    namespace: &'a Namespace,
    user: &str,
    access: Option<Access>,
    named: &StreamRef,
) -> Result<&'a Arc<Stream>, Refusal> {
    let found = match named {
        StreamRef::Name(name) => namespace.stream(name),
        StreamRef::Uuid(uuid) => namespace.stream_by_uuid(*uuid),
    };
    let name = match (named, found) {
        (StreamRef::Name(name), _) => name.as_str(),
        (StreamRef::Uuid(_), Some(stream)) => &stream.name,
        (StreamRef::Uuid(_), None) => return Err(Refusal::Stream(StreamRefusal::UnknownUuid)),
    };
    let permits = namespace.permits(user);
    let is_allowed = permits.is_some_and(|permits| match access {
        Some(access) => permits.allows(access, Object::Stream, name),
        None => permits.shows(Object::Stream, name),
    });
    if !is_allowed {
        let access = access.unwrap_or(Access::Read);
        return Err(Refusal::Denied {
            access,
            object: Object::Stream,
            name: name.to_owned(),
            namespace: namespace.name.to_string(),
            user: user.to_owned(),
        });
    }
    found.ok_or(Refusal::Stream(StreamRefusal::UnknownStream))
}
