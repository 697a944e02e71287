//! The hot path: a batch of publishes becomes one part for each shard.
//!
//! Neighbours mostly go to the same exchange with the same key, so an item is compared with the one before it first; then the kept
//! routes are asked; then the router. Grants are looked at when the exchange changes. Measured by `examples/route.rs`.

use super::join::OpenBatch;
use super::plan::Choice;
use super::replies::Address;
use super::routes::{Resolved, Wanted};
use super::session::Attached;
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::{Exchange, Namespace};
use crate::router::ExchangeKind;
use crate::router::resolve::Found;
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::flow::{Edge, Flow};
use stele_model::id::{ExchangeId, NamespaceId, Now, QueueId, SessionId, Ticket};
use stele_model::outcome::{Outcome, Published};
use stele_model::publish::{Publish, Publishes};
use stele_model::refusal::{Access, Object, Refusal};
use stele_record::table::Table;
use stele_record::{View, nats};

/// What a batch has come to, besides what is in the plan.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) unroutable: Vec<u32>,
    pub(super) dropped: Vec<u32>,
    pub(super) replies: Vec<(u32, Address)>,
    pub(super) namespace: Option<NamespaceId>,
    /// What no queue took and somebody heard live, by exchange: it is not unrouted.
    pub(super) heard_alone: SmallVec<[(ExchangeId, Flow); 1]>,
}

impl Hub {
    pub(super) fn publish(
        &mut self,
        _: Now,
        session: SessionId,
        ticket: Ticket,
        batch: Arc<Publishes>,
        out: &mut HubOut,
    ) {
        // Taken out for the time of the batch, so that the parts of the hub can be used side by side.
        let Some(mut attached) = self.sessions.remove(&session.number) else { return };
        let mut notes = Notes::default();
        let snapshot = self.snapshot.clone();
        let namespace = attached.namespace.as_ref().and_then(|(id, _)| snapshot.namespace_by_id(*id));
        let mut before: Option<(&Publish, Choice)> = None;
        let mut to: Option<(&Publish, &Arc<Exchange>)> = None;
        for (n, item) in (0..).zip(&batch.items) {
            if !attached.failed.is_empty() && attached.failed.contains(&item.lane) {
                notes.dropped.push(n);
                continue;
            }
            let choice = match before {
                Some((last, choice)) if batch.is_alike(last, item) => choice,
                _ => match self.direct_reply((session, &attached), &batch, item) {
                    Some(address) => {
                        match address {
                            Ok(address) => notes.replies.push((n, address)),
                            Err(()) if item.mandatory => notes.unroutable.push(n),
                            Err(()) => {}
                        }
                        continue;
                    }
                    None => match self.route(&mut attached, namespace, &mut to, &batch, item) {
                        Ok((choice, may_repeat)) => {
                            before = may_repeat.then_some((item, choice));
                            choice
                        }
                        Err(refusal) => {
                            let lane = item.lane;
                            let failed = Outcome::LaneFailed { lane, item: n, refusal };
                            out.completions.push((session, ticket, failed));
                            attached.failed.insert(lane);
                            notes.dropped.push(n);
                            continue;
                        }
                    },
                },
            };
            if item.mandatory && self.plan.is_nowhere(choice) {
                notes.unroutable.push(n);
            }
            self.plan.add(choice, n, item.record.end - item.record.start, item.awaited);
        }
        if let Some(namespace) = namespace {
            self.let_hear(namespace.id, &batch, &mut notes, out);
        }
        self.count_published(&mut attached);
        for (exchange, flow) in notes.heard_alone.drain(..) {
            let unrouted = self.flows.edge(Edge::Unrouted { exchange });
            self.flows.take_back(unrouted, flow);
        }
        if attached.leaving {
            out.completions.retain(|(of, ..)| *of != session);
        }
        self.sessions.insert(session.number, attached);
        notes.namespace = namespace.map(|namespace| namespace.id);
        self.send_batch(session, ticket, batch, notes, out);
    }

    /// The route of an item; also whether the next item takes it too if it looks the same. `to` is the exchange that the last item
    /// before it was let through to.
    fn route<'a>(
        &mut self,
        attached: &mut Attached,
        namespace: Option<&'a Arc<Namespace>>,
        to: &mut Option<(&'a Publish, &'a Arc<Exchange>)>,
        batch: &Publishes,
        item: &'a Publish,
    ) -> Result<(Choice, bool), Refusal> {
        let namespace = namespace.ok_or_else(super::no_namespace)?;
        let name = batch.slice(&item.exchange);
        let exchange = match *to {
            Some((last, exchange)) if batch.slice(&last.exchange) == name => exchange,
            _ => writable(attached, namespace, name)?,
        };
        *to = Some((item, exchange));
        if exchange.kind == ExchangeKind::Topic && attached.bounds_keys() {
            let user = &attached.principal.name;
            let extra = usize::from(item.extra_keys.start)..usize::from(item.extra_keys.end);
            let extra = batch.extra_keys.get(extra).unwrap_or_default().iter().map(|key| &key[..]);
            for key in std::iter::once(batch.slice(&item.key)).chain(extra) {
                namespace.check_key(user, Access::Write, exchange, key)?;
            }
        }
        if item.extra_keys.is_empty() {
            let (revision, key) = (self.snapshot.revision(), batch.slice(&item.key));
            let kept = self.routes.find(Wanted { namespace, revision, exchange, key }, &mut self.flows);
            if !kept.resolved.by_headers {
                let choice = &mut kept.choices[usize::from(item.persistent)];
                if !self.plan.knows(*choice) {
                    *choice = self.plan.choose(&kept.resolved, item.persistent);
                }
                return Ok((*choice, true));
            }
        }
        let resolved = self.resolve_record(namespace, exchange, batch, item, QueueId(0));
        Ok((self.plan.choose(&Arc::new(resolved), item.persistent), false))
    }

    /// Finds the route of one record by all its keys and its headers; only to queues from `since` on.
    pub(super) fn resolve_record(
        &mut self,
        namespace: &Namespace,
        exchange: &Exchange,
        batch: &Publishes,
        item: &Publish,
        since: QueueId,
    ) -> Resolved {
        let mut keys: SmallVec<[&[u8]; 8]> = smallvec::smallvec![batch.slice(&item.key)];
        let extra = usize::from(item.extra_keys.start)..usize::from(item.extra_keys.end);
        keys.extend(batch.extra_keys.get(extra).unwrap_or_default().iter().map(|key| &key[..]));
        let record = batch.slice(&item.record);
        let amqp = View::parse(record).ok().and_then(|view| nats::as_amqp091(&view));
        let view = View::parse(amqp.as_deref().unwrap_or(record));
        let headers = view.map_or_else(|_| Table::default(), |view| view.headers_table());
        let mut found = Found::default();
        found.resolve(namespace, exchange, &keys, headers);
        found.hits.retain(|hit| hit.queue >= since);
        Resolved::of(exchange.id, found, &mut self.flows)
    }

    pub(super) fn count_published(&mut self, attached: &mut Attached) {
        let Attached { party, published, .. } = attached;
        self.plan.count(&mut self.flows, |flows, resolved, records, bytes| {
            let exchange = resolved.exchange;
            let edge = match published.iter().find(|(known, _)| *known == exchange) {
                Some((_, edge)) => *edge,
                None => {
                    let edge = flows.edge(Edge::Published { party: party.clone(), exchange });
                    published.push((exchange, edge));
                    edge
                }
            };
            flows.add(edge, records, bytes);
        });
    }

    pub(super) fn send_batch(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        batch: Arc<Publishes>,
        notes: Notes,
        out: &mut HubOut,
    ) {
        let Notes { unroutable, dropped, replies, namespace, .. } = notes;
        self.send_replies(&batch, replies, out);
        let (refused, stored) = (Vec::new(), Vec::new());
        let published = Published { batch, unroutable, refused, dropped, stored };
        self.batch_last += 1;
        let waiting = self.send_plan(self.batch_last, &published.batch, false, out);
        if waiting == 0 {
            return self.complete(session, ticket, Outcome::Published(published), out);
        }
        let spread = std::mem::take(&mut self.plan.spread);
        let horizon = self.snapshot.next_queue;
        let closed = std::collections::BTreeMap::new();
        let open = OpenBatch { session, ticket, namespace, published, waiting, spread, closed, horizon };
        self.batches.insert(self.batch_last, Box::new(open));
    }

    /// Sends what is planned for a batch; tells how many answers are due.
    fn send_plan(&mut self, number: u64, batch: &Arc<Publishes>, again: bool, out: &mut HubOut) -> u32 {
        let Self { id, plan, calls, call_last, .. } = self;
        let part = |_| {
            *call_last += 1;
            let call = stele_model::id::Call(*call_last);
            calls.insert(call, Box::new(Open::Publish { batch: number, again }));
            call
        };
        plan.send(*id, batch, None, part, &mut out.shards)
    }

    /// Routes items whose queues were all gone once more, to queues that are new since (S9). What finds none is unroutable.
    pub(super) fn route_again(&mut self, number: u64, open: &mut OpenBatch, gone: &[u32], out: &mut HubOut) {
        let batch = open.published.batch.clone();
        let snapshot = self.snapshot.clone();
        let namespace = open.namespace.and_then(|id| snapshot.namespace_by_id(id));
        for n in gone.iter().copied() {
            let Some(item) = batch.items.get(n as usize) else { continue };
            if !open.is_lost(n) {
                continue;
            }
            let exchange = std::str::from_utf8(batch.slice(&item.exchange)).ok();
            let found = namespace.zip(exchange).and_then(|(namespace, name)| {
                let exchange = namespace.exchange(name)?;
                Some(self.resolve_record(namespace, exchange, &batch, item, open.horizon))
            });
            match found.filter(|resolved| !resolved.is_empty()) {
                Some(resolved) => {
                    let choice = self.plan.choose(&Arc::new(resolved), item.persistent);
                    self.plan.add(choice, n, item.record.end - item.record.start, item.awaited);
                }
                None if item.mandatory => open.published.unroutable.push(n),
                None => {}
            }
        }
        self.plan.count(&mut self.flows, |_, _, _, _| {});
        open.waiting += self.send_plan(number, &batch, true, out);
        self.plan.spread.clear();
    }
}

/// The exchange, if the session may publish to it.
fn writable<'a>(
    attached: &mut Attached,
    namespace: &'a Namespace,
    name: &[u8],
) -> Result<&'a Arc<Exchange>, Refusal> {
    let name = String::from_utf8_lossy(name);
    let permits = namespace.permits(&attached.principal.name);
    let namespace_name = || namespace.name.to_string();
    if !attached.may_write(permits, &name) {
        let user = attached.principal.name.clone();
        return Err(Refusal::Denied {
            access: Access::Write,
            object: Object::Exchange,
            name: name.into_owned(),
            namespace: namespace_name(),
            user,
        });
    }
    match namespace.exchange(&name) {
        Some(exchange) if exchange.internal => {
            Err(Refusal::InternalExchange { name: name.into_owned(), namespace: namespace_name() })
        }
        Some(exchange) => Ok(exchange),
        None => Err(Refusal::Missing {
            object: Object::Exchange,
            name: name.into_owned(),
            namespace: namespace_name(),
        }),
    }
}

/// Items that need no second look.
trait Alike {
    fn is_alike(&self, last: &Publish, item: &Publish) -> bool;
}

impl Alike for Publishes {
    fn is_alike(&self, last: &Publish, item: &Publish) -> bool {
        last.persistent == item.persistent
            && item.extra_keys.is_empty()
            && self.slice(&last.key) == self.slice(&item.key)
            && self.slice(&last.exchange) == self.slice(&item.exchange)
    }
}
