//! Definitions on their way: most go to the registry; a queue is deleted, and counted, by its shard (S10).

use super::replies::is_reply_name;
use super::requests::{Request, Source, usable};
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::Sequence;
use stele_model::id::{Call, HubId, Now, QueueId, SessionId, Ticket};
use stele_model::op::Define;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::registry::RegistryOp;
use stele_model::shard::ShardOp;
use stele_model::stream::{PartResult, SeekBy, Sought, StreamRef};

/// How often a declaration is tried that meets a queue on its way out. The registry hears of a closing queue before the hub does, so
/// that once is enough; the bound is there in case something is wrong.
const TRIES_MAX: u32 = 8;

impl Hub {
    pub(super) fn define(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        define: Define,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        match define {
            Define::DeleteQueue { name, if_unused, if_empty } => {
                self.delete_queue(session, ticket, &name, (if_unused, if_empty), out)
            }
            Define::DeclareQueue { name, passive, .. } if passive || is_reply_name(&name) => {
                self.look(session, ticket, &name, out)
            }
            Define::DeclareExchange { name, passive: true, .. } => {
                let found = self.exchange_is_there(session, &name)?;
                self.complete(session, ticket, Outcome::Done(found), out);
                Ok(())
            }
            define => self.ask_registry(session, ticket, define, 0, out),
        }
    }

    fn ask_registry(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        define: Define,
        tries: u32,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        let (principal, namespace) = (attached.principal.clone(), namespace.name.to_string());
        let declare = matches!(define, Define::DeclareQueue { .. }).then(|| define.clone());
        let is_deletion = matches!(define, Define::DeleteStream { .. });
        let request = Request::Define { declare, tries, is_deletion };
        let call = self.call(Open::Request { session, ticket, request });
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.defined = true;
            attached.defining += usize::from(tries == 0);
        }
        out.registry.push(RegistryOp::Define { hub: self.id, call, session, principal, namespace, define });
        Ok(())
    }

    fn exchange_is_there(&self, session: SessionId, name: &str) -> Result<Done, Refusal> {
        let (_, namespace) = self.namespace_of(session)?;
        if name.is_empty() {
            let why = "operation not permitted on the default exchange".to_owned();
            return Err(Refusal::Reserved { object: Object::Exchange, name: String::new(), why });
        }
        let missing = || Refusal::Missing {
            object: Object::Exchange,
            name: name.to_owned(),
            namespace: namespace.name.to_string(),
        };
        namespace.exchange(name).map(|_| Done::Unit).ok_or_else(missing)
    }

    /// A passive declaration: what is in it?
    fn look(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        name: &str,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let (_, namespace) = self.namespace_of(session)?;
        if self.is_reply_address(name.as_bytes()) {
            let done = Done::Queue { name: name.to_owned(), ready: 0, consumers: 1 };
            self.complete(session, ticket, Outcome::Done(done), out);
            return Ok(());
        }
        let found = usable(namespace, session, name)?;
        if found.is_stream {
            self.define_at_shard(
                session,
                ticket,
                Request::DeclaredStream { queue: found.name },
                |hub, call| {
                    out.shards.push((found.shard, count_stream(hub, call, found.id)));
                },
            );
            return Ok(());
        }
        let Source { id, shard, name: queue, .. } = found;
        let request = Request::Declared { declare: None, tries: 0, queue };
        self.define_at_shard(session, ticket, request, |hub, call| {
            out.shards.push((shard, ShardOp::Status { hub, call, queue: id }));
        });
        Ok(())
    }

    fn delete_queue(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        name: &str,
        (if_unused, if_empty): (bool, bool),
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let queue = match self.queue_for(session, Access::Configure, name) {
            Ok(queue) => queue,
            Err(Refusal::Missing { object: Object::Queue, .. }) => {
                self.complete(session, ticket, Outcome::Done(Done::Deleted { ready: 0 }), out);
                return Ok(());
            }
            Err(refusal) => return Err(refusal),
        };
        if queue.is_stream {
            return self.delete_stream_as_queue(session, ticket, name, out);
        }
        let Source { id, shard, name: queue, .. } = queue;
        self.define_at_shard(session, ticket, Request::Delete { queue }, |hub, call| {
            let answer = Some((hub, call));
            out.shards.push((shard, ShardOp::Close { answer, queue: id, if_unused, if_empty }));
        });
        Ok(())
    }

    /// A stream under the name of its only partition goes; one partition of several does not go alone.
    fn delete_stream_as_queue(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        name: &str,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        if namespace.stream(name).is_none() {
            let what = format!("'{name}' is one of several partitions; deleting it alone");
            return Err(Refusal::NotImplemented { what });
        }
        let (principal, namespace) = (attached.principal.clone(), namespace.name.to_string());
        let define = Define::DeleteStream { stream: StreamRef::Name(name.to_owned()) };
        self.define_at_shard(session, ticket, Request::DeleteStream, |hub, call| {
            out.registry.push(RegistryOp::Define { hub, call, session, principal, namespace, define });
        });
        Ok(())
    }

    /// What a stream holds that was declared in the words for queues.
    pub(super) fn stream_counted(
        &mut self,
        now: Now,
        call: Call,
        parts: Vec<PartResult<Sought>>,
        out: &mut HubOut,
    ) {
        let Some(Open::Request { session, ticket, request: Request::DeclaredStream { queue } }) =
            self.ended(call)
        else {
            return;
        };
        let answer = match parts.into_iter().next() {
            Some(Ok(Sought { ends, .. })) => {
                let ready = ends.end.0.saturating_sub(ends.start.0);
                Ok(Done::Queue { name: queue.to_string(), ready, consumers: 0 })
            }
            Some(Err(refusal)) => Err(refusal),
            None => unreachable!("a shard answers every part"),
        };
        self.conclude(now, session, ticket, answer, out);
    }

    fn define_at_shard(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        request: Request,
        ask: impl FnOnce(stele_model::id::HubId, Call),
    ) {
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.defining += 1;
        }
        let call = self.call(Open::Request { session, ticket, request });
        ask(self.id, call);
    }

    /// The registry's answer. A declared queue is counted before the client hears of it.
    pub(super) fn defined(&mut self, now: Now, call: Call, answer: Result<Done, Refusal>, out: &mut HubOut) {
        let Some(Open::Request { session, ticket, request }) = self.ended(call) else { return };
        if let (Request::DeleteStream | Request::Define { is_deletion: true, .. }, Ok(Done::Stream(gone))) =
            (&request, &answer)
        {
            self.partitions_gone(session, &gone.partitions, out);
        }
        let (declare, tries) = match request {
            Request::Define { declare, tries, .. } => (declare, tries),
            Request::GroupStream { group } => {
                return self.group_stream_made(session, ticket, *group, answer, out);
            }
            Request::DeleteStream => {
                let answer = answer.map(|_| Done::Deleted { ready: 0 });
                return self.conclude(now, session, ticket, answer, out);
            }
            Request::Administer => {
                let outcome = answer.map_or_else(Outcome::Refused, Outcome::Done);
                return self.complete(session, ticket, outcome, out);
            }
            _ => return,
        };
        if let Ok(Done::Queue { name, .. }) = &answer {
            let namespace = self.namespace_of(session).ok().map(|(_, namespace)| namespace);
            let found = namespace.and_then(|namespace| namespace.sequence(name));
            if let Some(Sequence::Partition(..)) = found {
                let (id, shard) = found.map(|found| (found.id(), found.shard())).unwrap_or_default();
                let request = Request::DeclaredStream { queue: name.as_str().into() };
                let call = self.call(Open::Request { session, ticket, request });
                out.shards.push((shard, count_stream(self.id, call, id)));
                return;
            }
            if let Some(Sequence::Queue(queue)) = found {
                let (id, shard, queue) = (queue.id(), queue.shard, queue.name.clone());
                let request = Request::Declared { declare, tries, queue };
                let call = self.call(Open::Request { session, ticket, request });
                out.shards.push((shard, ShardOp::Status { hub: self.id, call, queue: id }));
                return;
            }
        }
        self.conclude(now, session, ticket, answer, out);
    }

    /// The queue that was found equal to what was asked for is closing: ask for it once more (S10).
    pub(super) fn declare_again(
        &mut self,
        now: Now,
        session: SessionId,
        ticket: Ticket,
        request: Request,
        out: &mut HubOut,
    ) {
        let Request::Declared { declare: Some(define), tries, queue } = request else { return };
        let again = if tries < TRIES_MAX {
            self.ask_registry(session, ticket, define, tries + 1, out)
        } else {
            Err(Refusal::Unavailable { why: format!("queue '{queue}' is being deleted") })
        };
        if let Err(refusal) = again {
            self.conclude(now, session, ticket, Err(refusal), out);
        }
    }

    /// The end of a definition: what waited for it goes on.
    pub(super) fn conclude(
        &mut self,
        now: Now,
        session: SessionId,
        ticket: Ticket,
        answer: Result<Done, Refusal>,
        out: &mut HubOut,
    ) {
        self.complete(session, ticket, answer.map_or_else(Outcome::Refused, Outcome::Done), out);
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.defining -= 1;
            self.take_held(now, session, out);
        }
    }
}

/// Asks for a partition's ends.
fn count_stream(hub: HubId, call: Call, partition: QueueId) -> ShardOp {
    ShardOp::Seek { hub, call, parts: vec![(partition, SeekBy::Start)] }
}
