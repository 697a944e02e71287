//! Definitions on their way: most go to the registry; a queue is deleted, and counted, by its shard (S10).

use super::replies::is_reply_name;
use super::requests::{Request, usable};
use super::{Hub, HubOut, Open};
use stele_model::id::{Call, Now, SessionId, Ticket};
use stele_model::op::Define;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::registry::RegistryOp;
use stele_model::shard::ShardOp;

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
        let call = self.call(Open::Request { session, ticket, request: Request::Define { declare, tries } });
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
        let queue = usable(namespace, session, name)?;
        let (id, shard, queue) = (queue.id(), queue.shard, queue.name.clone());
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
        let (id, shard, queue) = (queue.id(), queue.shard, queue.name.clone());
        self.define_at_shard(session, ticket, Request::Delete { queue }, |hub, call| {
            let answer = Some((hub, call));
            out.shards.push((shard, ShardOp::Close { answer, queue: id, if_unused, if_empty }));
        });
        Ok(())
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
        let Some(Open::Request { session, ticket, request }) = self.calls.remove(&call) else { return };
        let Request::Define { declare, tries } = request else { return };
        if let Ok(Done::Queue { name, .. }) = &answer {
            let namespace = self.namespace_of(session).ok().map(|(_, namespace)| namespace);
            if let Some(queue) = namespace.and_then(|namespace| namespace.queue(name)) {
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
