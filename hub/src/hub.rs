//! The hub of one IO thread: takes what its sessions ask, finds out where it goes, and joins the answers.
//!
//! Called by the driver of the thread: submits of sessions, answers of shards and of the registry, messages of other hubs, each with
//! the newest snapshot loaded before ([`Hub::replace_snapshot`], S11). What must hold: names are resolved and grants checked here
//! and nowhere later; every request of a session gets one answer, in whatever order, unless its lane has failed; nothing here
//! outlives the process. Not here: what is stored (shards), what is defined (the registry), how it looks on a wire (sessions).

mod accounts;
mod catch_up;
mod define;
mod flow;
mod groups;
mod join;
mod joint;
mod listen;
mod live;
mod moves;
mod plan;
mod publish;
mod records;
mod replies;
mod requests;
mod routes;
mod session;
mod shared_groups;
mod streams;
mod watch;

pub use live::{Heard, LiveForward};
pub use replies::{HubMessage, Reply};

use crate::live::{Interests, Slot};
use crate::registry::snapshot::{Namespace, Snapshot};
use catch_up::Waiting;
use flow::Flows;
use join::OpenBatch;
use joint::{Joint, Share};
use plan::Plan;
use requests::Request;
use routes::Routes;
use session::Attached;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::flow::{Edge, FlowCounts, Party};
use stele_model::id::{Call, HubId, Now, SessionId, ShardId, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Deliveries, Done, Outcome, Published, Wake};
use stele_model::refusal::{Object, Refusal};
use stele_model::registry::RegistryOp;
use stele_model::session::Principal;
use stele_model::shard::{ShardOp, ToHub};

/// Requests of one session that may be without an answer; beyond it they are refused. Drivers stop reading a session long before
/// ([`Hub::open_submits`]).
pub const OPEN_SUBMITS_MAX: usize = 1 << 16;

/// Where a hub writes: the driver carries it out, in the order of each list, completions before deliveries.
#[derive(Debug, Default)]
pub struct HubOut {
    /// For shards.
    pub shards: Vec<(ShardId, ShardOp)>,
    /// For the registry.
    pub registry: Vec<RegistryOp>,
    /// For other hubs.
    pub hubs: Vec<(HubId, HubMessage)>,
    /// Hubs, this one too, that are to be told that this one is done with what it had under way: by [`HubMessage::Passed`] with the number, once all
    /// else here has been carried out and no session has anything left to say.
    pub passed: Vec<(HubId, u64)>,
    /// Answers for sessions of this hub.
    pub completions: Vec<(SessionId, Ticket, Outcome)>,
    /// Records for sessions of this hub.
    pub deliveries: Vec<(SessionId, Deliveries)>,
    /// Live publishes for sessions of this hub; before anything else is handed in.
    pub heard: Vec<Heard>,
    /// What sessions of this hub did not ask for.
    pub wakes: Vec<(SessionId, Wake)>,
}

/// See the module.
pub struct Hub {
    id: HubId,
    hubs: u16,
    shards: u16,
    seed: [u64; 2],
    snapshot: Arc<Snapshot>,
    /// Boxed, as are the next two: they come and go with each publish, and a tree moves what stands behind them.
    sessions: BTreeMap<u64, Box<Attached>>,
    calls: BTreeMap<Call, Box<Open>>,
    call_last: u64,
    batches: BTreeMap<u64, Box<OpenBatch>>,
    batch_last: u64,
    joints: BTreeMap<u64, Joint>,
    joint_last: u64,
    watch_last: u64,
    /// Who waits for all hubs, by number.
    waiting: BTreeMap<u64, Waiting>,
    waiting_last: u64,
    /// Shards that have not yet answered for a move.
    moves: BTreeMap<(ShardId, u64), u32>,
    routes: Routes,
    flows: Flows,
    plan: Plan,
    interests: Interests,
    /// Sessions that hear something of the live batch at hand.
    touched: Vec<Slot>,
    draft: live::Draft,
    store: live::Store,
}

/// What an answer is for.
enum Open {
    /// A part of a batch of publishes.
    Publish {
        /// Which batch.
        batch: u64,
        /// Its items were routed for the second time (S9).
        again: bool,
    },
    /// A share of a request whose parts went to several shards.
    Share {
        /// Which request.
        joint: u64,
        /// Places of the share's parts in the answer.
        places: Vec<u32>,
    },
    /// A part of a move.
    Move {
        /// The shard it leaves, and its number there.
        of: (ShardId, u64),
    },
    /// A request of a session.
    Request {
        /// Whose.
        session: SessionId,
        /// Its name for it.
        ticket: Ticket,
        /// What.
        request: Request,
    },
}

impl Hub {
    /// A hub without sessions. `seed` is random and the same for all hubs of a process: addresses for direct replies are signed
    /// with it.
    #[must_use]
    pub fn new(id: HubId, hubs: u16, shards: u16, seed: [u64; 2], snapshot: Arc<Snapshot>) -> Self {
        Self {
            id,
            hubs,
            shards,
            seed,
            snapshot,
            sessions: BTreeMap::new(),
            calls: BTreeMap::new(),
            call_last: 0,
            batches: BTreeMap::new(),
            batch_last: 0,
            joints: BTreeMap::new(),
            joint_last: 0,
            watch_last: 0,
            waiting: BTreeMap::new(),
            waiting_last: 0,
            moves: BTreeMap::new(),
            routes: Routes::new(seed[0]),
            flows: Flows::default(),
            plan: Plan::new(shards),
            interests: Interests::new(seed, id, hubs),
            touched: Vec::new(),
            draft: live::Draft::default(),
            store: live::Store::default(),
        }
    }

    /// Routes by this snapshot from now on. Called after each read and before anything is submitted or handed in (S11); an older
    /// one than before is passed over.
    pub fn replace_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        if snapshot.revision() >= self.snapshot.revision() {
            self.snapshot = snapshot;
        }
    }

    /// A session has authenticated. A second call replaces who it is (its secret was updated).
    pub fn attach(&mut self, session: SessionId, principal: Principal, party: Party) {
        assert_eq!(session.hub, self.id, "a session is attached to its own hub");
        if self.flows.wants_pruning() {
            self.prune_flows();
        }
        match self.sessions.get_mut(&session.number) {
            Some(attached) => attached.become_other(principal, party),
            None => {
                self.sessions.insert(session.number, Box::new(Attached::new(principal, party)));
            }
        }
    }

    /// A session is gone: its subscriptions end, what it owns is removed. What it asked for before is still done.
    pub fn detach(&mut self, session: SessionId, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        if attached.held.is_empty() {
            self.forget(session, out);
        } else {
            attached.leaving = true;
        }
    }

    fn forget(&mut self, session: SessionId, out: &mut HubOut) {
        let Some(attached) = self.sessions.remove(&session.number) else { return };
        if let Some(slot) = attached.listens {
            self.interests.leave(slot);
            self.tell_interest(out);
        }
        for shard in attached.touched {
            out.shards.push((shard, ShardOp::SessionGone { session }));
        }
        if attached.defined {
            out.registry.push(RegistryOp::SessionGone { session });
        }
    }

    /// A request of a session. Requests of one session are taken in order: what depends on definitions waits for the session's
    /// own that are under way.
    pub fn submit(&mut self, now: Now, session: SessionId, submit: Submit, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        if attached.leaving {
            return;
        }
        if !attached.must_wait(&submit.op) {
            self.take(now, session, submit, out);
        } else if attached.held.len() < OPEN_SUBMITS_MAX {
            attached.held.push_back(submit);
        } else {
            attached.open += 1;
            self.refuse_one_more(session, submit.ticket, submit.op, out);
        }
    }

    /// Answers what comes when too much is open already.
    fn refuse_one_more(&mut self, session: SessionId, ticket: Ticket, op: Op, out: &mut HubOut) {
        let what = "open requests of a connection".to_owned();
        let refusal = Refusal::Limit { what, max: OPEN_SUBMITS_MAX as u64 };
        let outcome = match op {
            Op::Publish(batch) => {
                let refused = (0..).zip(&batch.items).map(|(n, _)| (n, refusal.clone())).collect();
                let (unroutable, dropped) = (Vec::new(), Vec::new());
                let stored = Vec::new();
                Outcome::Published(Published { batch, unroutable, refused, dropped, stored })
            }
            _ => Outcome::Refused(refusal),
        };
        self.complete(session, ticket, outcome, out);
    }

    fn take(&mut self, now: Now, session: SessionId, submit: Submit, out: &mut HubOut) {
        let Submit { ticket, lane, op } = submit;
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        if attached.failed.contains(&lane) && !matches!(op, Op::CloseLane | Op::Publish(_)) {
            return; // dropped unanswered, as everything of a failed lane
        }
        if session::is_answered(&op) {
            attached.open += 1;
            if attached.open > OPEN_SUBMITS_MAX {
                return self.refuse_one_more(session, ticket, op, out);
            }
        }
        let refused = match op {
            Op::Open { namespace } => {
                let opened = self.open(session, &namespace);
                self.complete(session, ticket, opened.map_or_else(Outcome::Refused, Outcome::Done), out);
                Ok(())
            }
            Op::CloseLane => {
                attached.failed.remove(&lane);
                Ok(())
            }
            Op::Publish(batch) => {
                self.publish(now, session, ticket, batch, out);
                Ok(())
            }
            Op::Live(batch) => {
                self.live_batch(now, (session, ticket), batch, out);
                Ok(())
            }
            Op::Settle(settles) => {
                self.settle(session, settles, out);
                Ok(())
            }
            Op::Credit(credits) => {
                self.credit(session, &credits, out);
                Ok(())
            }
            Op::Subscribe(subscribe) => self.subscribe(session, ticket, subscribe, out),
            Op::Unsubscribe { subscription } => {
                self.unsubscribe(session, ticket, subscription, out);
                Ok(())
            }
            Op::Get(get) => self.get(session, ticket, get, out),
            Op::Purge { queue } => self.purge(session, ticket, &queue, out),
            Op::Define(define) => self.define(session, ticket, define, out),
            Op::Append(appends) => {
                self.append(session, ticket, appends, out);
                Ok(())
            }
            Op::Read(reads) => {
                self.read(session, ticket, reads, out);
                Ok(())
            }
            Op::Unwatch { watch } => {
                self.unwatch(session, watch, out);
                Ok(())
            }
            Op::Seek(parts) => {
                self.seek(session, ticket, parts, out);
                Ok(())
            }
            Op::Trim(parts) => {
                self.trim(session, ticket, parts, out);
                Ok(())
            }
            Op::Records(request) => self.records(session, ticket, request, out),
            Op::NewProducer => {
                self.new_producer(session, ticket, out);
                Ok(())
            }
            Op::Streams(wanted) => self.tell(session, ticket, self.streams(session, wanted), out),
            Op::Accounts => self.tell(session, ticket, self.accounts(session), out),
            Op::Administer(change) => self.administer(session, ticket, change, out),
            Op::Group(request) => self.group(session, ticket, request, out),
            Op::Groups => self.groups(session, ticket, out),
            Op::GroupChanges { home, from, count_max } => {
                self.group_changes(session, ticket, (home, from, count_max), out)
            }
            Op::Share(request) => self.ask_shared_group(session, ticket, request, out),
            Op::Shares { of, offset, count_max } => {
                self.list_shared_groups(session, ticket, &of, (offset, count_max), out)
            }
            Op::Pull(pull) => self.pull(session, pull, out),
            Op::Push(push) => self.push(session, ticket, push, out),
            Op::Untake { taker } => {
                self.untake(session, taker, out);
                Ok(())
            }
            Op::TakerCredit(credits) => {
                self.taker_credit(session, &credits, out);
                Ok(())
            }
            Op::SettleShares(settles) => {
                self.settle_shared(session, ticket, settles, out);
                Ok(())
            }
            Op::ShareListen { on } => {
                self.listen_to_shared(session, on, out);
                Ok(())
            }
            Op::CatchUp => {
                self.catch_up(session, ticket, out);
                Ok(())
            }
        };
        if let Err(refusal) = refused {
            self.complete(session, ticket, Outcome::Refused(refusal), out);
        }
    }

    /// An answer that needed nobody else.
    fn tell(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        told: Result<Done, Refusal>,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        self.complete(session, ticket, Outcome::Done(told?), out);
        Ok(())
    }

    fn open(&mut self, session: SessionId, name: &str) -> Result<Done, Refusal> {
        let namespace = self.snapshot.namespace(name).ok_or_else(|| Refusal::Missing {
            object: Object::Namespace,
            name: name.to_owned(),
            namespace: name.to_owned(),
        })?;
        let attached = self.sessions.get_mut(&session.number).expect("it was found before");
        if namespace.permits(&attached.principal.name).is_none() {
            let user = attached.principal.name.clone();
            return Err(Refusal::NamespaceDenied { namespace: name.to_owned(), user });
        }
        attached.namespace = Some((namespace.id, namespace.name.clone()));
        Ok(Done::Opened)
    }

    /// Something a shard has to tell this hub or one of its sessions.
    pub fn from_shard(&mut self, now: Now, shard: ShardId, message: ToHub, out: &mut HubOut) {
        match message {
            ToHub::Published { call, refused, gone, stored } => {
                self.published(now, call, (refused, &gone, &stored), out);
            }
            ToHub::Records { call, answer } => self.records_answered(call, answer, out),
            ToHub::Answer { call, answer } => self.answered(now, call, answer, out),
            ToHub::Got { call, queue, counts_deliveries, record, ready } => {
                self.got(call, queue, counts_deliveries, record, ready, out);
            }
            ToHub::Deliver { session, deliveries } => self.deliver(session, deliveries, out),
            ToHub::Cancelled { subscription } => self.cancelled(subscription, out),
            ToHub::Shared { session, news } => self.shared_news(session, news, out),
            ToHub::Echo { session, echoes } => self.echoed(shard, session, echoes, out),
            ToHub::Woken { session, watch } => self.woken(shard, session, watch, out),
            ToHub::Appended { call, parts } => self.shared(call, Share::Appended(parts), out),
            ToHub::Read { call, parts } => self.shared(call, Share::Read(parts), out),
            ToHub::Sought { call, parts } if self.is_share(call) => {
                self.shared(call, Share::Sought(parts), out);
            }
            ToHub::Sought { call, parts } => self.stream_counted(now, call, parts, out),
            ToHub::Move(records) => {
                assert_eq!(records.of.from, shard, "a shard moves its own records");
                self.move_records(now, records, out);
            }
        }
    }

    /// The registry's answer to a definition. Answers to calls that are not this hub's (an operator's) are passed over.
    pub fn from_registry(&mut self, now: Now, call: Call, answer: Result<Done, Refusal>, out: &mut HubOut) {
        self.defined(now, call, answer, out);
    }

    /// What the flow graph has counted so far.
    #[must_use]
    pub fn flow(&mut self) -> FlowCounts {
        self.count_heard();
        self.flows.counts()
    }

    /// Requests of a session that have no answer yet, held ones included: the driver stops reading above a bound of its own.
    #[must_use]
    pub fn open_submits(&self, session: SessionId) -> usize {
        self.sessions.get(&session.number).map_or(0, |attached| attached.open + attached.held.len())
    }

    /// The namespace a session works in, as it is now.
    fn namespace_of(&self, session: SessionId) -> Result<(&Attached, &Arc<Namespace>), Refusal> {
        let attached = self.sessions.get(&session.number).ok_or_else(no_namespace)?;
        let (id, name) = attached.namespace.as_ref().ok_or_else(no_namespace)?;
        let missing = || Refusal::Missing {
            object: Object::Namespace,
            name: name.to_string(),
            namespace: name.to_string(),
        };
        Ok((attached, self.snapshot.namespace_by_id(*id).ok_or_else(missing)?))
    }

    fn call(&mut self, open: Open) -> Call {
        self.call_last += 1;
        let call = Call(self.call_last);
        self.calls.insert(call, Box::new(open));
        call
    }

    /// What a call was for that is answered now.
    fn ended(&mut self, call: Call) -> Option<Open> {
        self.calls.remove(&call).map(|open| *open)
    }

    fn complete(&mut self, session: SessionId, ticket: Ticket, outcome: Outcome, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        attached.open -= 1;
        if !attached.leaving {
            out.completions.push((session, ticket, outcome));
        }
    }

    /// Takes up what waited for a session's definitions.
    fn take_held(&mut self, now: Now, session: SessionId, out: &mut HubOut) {
        while let Some(attached) = self.sessions.get_mut(&session.number) {
            if attached.defining > 0 && !attached.held.front().is_some_and(session::is_definition) {
                return;
            }
            let Some(submit) = attached.held.pop_front() else {
                if attached.leaving {
                    self.forget(session, out);
                }
                return;
            };
            self.take(now, session, submit, out);
        }
    }

    /// Adds up what live listeners had.
    fn count_heard(&mut self) {
        let Self { interests, flows, .. } = self;
        interests.count(|count| flows.add(count.edge, count.records, count.bytes));
    }

    /// Lets go of counts whose party or queue is gone, and of all that points to them.
    fn prune_flows(&mut self) {
        self.count_heard();
        let parties: BTreeSet<_> = self.sessions.values().map(|attached| attached.party.clone()).collect();
        let readers = self.sessions.values().flat_map(|attached| attached.readers.values());
        let asked = self.calls.values().filter_map(|open| match &**open {
            Open::Request { request, .. } => request.edge(),
            Open::Publish { .. } | Open::Move { .. } | Open::Share { .. } => None,
        });
        let taken = self.sessions.values().flat_map(|attached| {
            attached
                .takers
                .values()
                .map(|taker| taker.edge)
                .chain(attached.taken.iter().map(|taken| taken.edge))
        });
        let heard = self.interests.edges();
        let held: BTreeSet<_> =
            readers.map(|reader| reader.edge).chain(asked).chain(taken).chain(heard).collect();
        let snapshot = &self.snapshot;
        self.flows.prune(|edge, number| match edge {
            Edge::Published { party, .. } | Edge::Appended { party, .. } | Edge::Read { party, .. } => {
                parties.contains(party)
            }
            Edge::Heard { .. } | Edge::Taken { .. } => held.contains(&number),
            Edge::Delivered { party, queue } => {
                held.contains(&number) || (parties.contains(party) && snapshot.shard_of(*queue).is_some())
            }
            Edge::Committed { party, stream, .. } => {
                parties.contains(party) && snapshot.stream(*stream).is_some()
            }
            Edge::Routed { queue, .. } | Edge::DeadLettered { queue, .. } => {
                snapshot.shard_of(*queue).is_some()
            }
            Edge::Unrouted { .. } => true,
        });
        self.routes.clear();
    }
}

fn no_namespace() -> Refusal {
    Refusal::Missing { object: Object::Namespace, name: String::new(), namespace: String::new() }
}

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod shared_group_tests;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
