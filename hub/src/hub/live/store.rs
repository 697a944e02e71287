//! Live publishes that are stored too: an item whose subject a queue is bound to, or a stream captures, becomes a record (S13, DESIGN §4).
//!
//! Nobody pays where nobody stores: whether the namespace has any such rule or stream is looked at once for a batch, and routes are kept. Answers
//! to AMQP's addresses pass here as well: a direct reply goes to its session, and what is published to `amq.default.` and a queue's name
//! takes the way of the default exchange.

use super::super::plan::Choice;
use super::super::publish::Notes;
use super::super::replies::Address;
use super::super::routes::{Resolved, Wanted};
use super::super::{Hub, HubOut};
use crate::registry::snapshot::{Exchange, Namespace, Snapshot};
use crate::router::resolve::{Found, SUBJECTS};
use bytes::BytesMut;
use std::sync::Arc;
use stele_model::id::{NamespaceId, Now, SessionId, Ticket};
use stele_model::live::{LiveItem, LiveView};
use stele_model::publish::{Publish, Publishes};
use stele_model::stream::records::Terms;
use stele_record::nats::{self, Parts};
use stele_record::{HEAD_BYTES, View};

/// What every address of AMQP's begins with.
const AMQP: &[u8] = b"amq.";

/// What a batch comes to besides what is heard of it.
#[derive(Default)]
pub(in super::super) struct Store {
    bytes: BytesMut,
    items: Vec<Publish>,
    terms: Vec<(u32, Terms)>,
    replies: Vec<(u32, Address)>,
}

/// Where items of a batch may be stored.
pub(super) struct Shelves<'a> {
    namespace: &'a Arc<Namespace>,
    snapshot: &'a Snapshot,
    /// The exchange of the subject space, if anything leads away from it.
    subjects: Option<&'a Arc<Exchange>>,
}

impl<'a> Shelves<'a> {
    /// `None`: there is no such namespace.
    pub(super) fn of(snapshot: &'a Snapshot, namespace: NamespaceId) -> Option<Self> {
        let namespace = snapshot.namespace_by_id(namespace)?;
        let subjects = namespace.exchange(SUBJECTS).filter(|_| namespace.stores_subjects());
        Some(Self { namespace, snapshot, subjects })
    }
}

/// Where one item goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Nowhere.
    None,
    /// Along a route.
    Route(Choice),
    /// Along a route that depends on the headers of each.
    ByHeaders,
    /// To the session that waits for the answer.
    Reply(Address),
}

impl Hub {
    /// Where an item of this subject goes.
    pub(super) fn way(&mut self, shelves: &Shelves<'_>, subject: &[u8]) -> Way {
        if subject.starts_with(AMQP) {
            if let Some(token) = subject.strip_prefix(nats::DIRECT_REPLY) {
                return self.reply_address(token).map_or(Way::None, Way::Reply);
            }
            if let Some(queue) = subject.strip_prefix(nats::DEFAULT_EXCHANGE) {
                let exchange = shelves.namespace.exchange("");
                return exchange.map_or(Way::None, |exchange| self.route_live(shelves, exchange, queue));
            }
        }
        shelves.subjects.map_or(Way::None, |exchange| self.route_live(shelves, exchange, subject))
    }

    fn route_live(&mut self, shelves: &Shelves<'_>, exchange: &Exchange, key: &[u8]) -> Way {
        let Shelves { namespace, snapshot, .. } = shelves;
        let wanted = Wanted { namespace, revision: snapshot.revision(), exchange, key };
        let kept = self.routes.find(wanted, &mut self.flows);
        if kept.resolved.by_headers {
            return Way::ByHeaders;
        }
        if kept.resolved.is_empty() {
            return Way::None;
        }
        let choice = &mut kept.choices[1];
        if !self.plan.knows(*choice) {
            *choice = self.plan.choose(&kept.resolved, true);
        }
        Way::Route(*choice)
    }

    /// Takes an item along its way; whether anybody gets it.
    pub(super) fn store(
        &mut self,
        now: Now,
        shelves: &Shelves<'_>,
        way: Way,
        (view, item, terms): (LiveView<'_>, &LiveItem, Option<&Terms>),
    ) -> bool {
        if matches!(way, Way::None) {
            return false;
        }
        let n = u32::try_from(self.store.items.len()).expect("a batch has fewer than 4 Gi items");
        let publish = self.store.put(now, (view, item));
        let choice = match way {
            Way::None => return false,
            Way::Route(choice) => choice,
            Way::Reply(address) => {
                self.store.replies.push((n, address));
                self.store.items.push(publish);
                return true;
            }
            Way::ByHeaders => {
                let record = &self.store.bytes[publish.record.start as usize..];
                let resolved = resolve_by_headers(shelves, record)
                    .map(|(exchange, found)| Resolved::of(exchange.id, found, &mut self.flows));
                let Some(resolved) = resolved.filter(|resolved| !resolved.is_empty()) else {
                    self.store.bytes.truncate(publish.record.start as usize);
                    return false;
                };
                self.plan.choose(&Arc::new(resolved), true)
            }
        };
        self.plan.add(choice, n, publish.record.end - publish.record.start, publish.awaited);
        self.store.terms.extend(terms.map(|terms| (n, terms.clone())));
        self.store.items.push(publish);
        true
    }

    /// Sends what is to be stored; the answer comes by the ticket.
    pub(super) fn send_store(&mut self, session: SessionId, ticket: Ticket, out: &mut HubOut) {
        if self.store.items.is_empty() {
            return;
        }
        let Some(mut attached) = self.sessions.remove(&session.number) else { return };
        attached.open += 1;
        self.count_published(&mut attached);
        let namespace = attached.namespace.as_ref().map(|(id, _)| *id);
        self.sessions.insert(session.number, attached);
        let Store { bytes, items, terms, replies } = std::mem::take(&mut self.store);
        let batch = Arc::new(Publishes { bytes: bytes.freeze(), items, terms, ..Publishes::default() });
        let notes = Notes { replies, namespace, ..Notes::default() };
        self.send_batch(session, ticket, batch, notes, out);
    }
}

fn resolve_by_headers<'a>(shelves: &Shelves<'a>, record: &[u8]) -> Option<(&'a Arc<Exchange>, Found)> {
    let exchange = shelves.subjects?;
    let amqp = nats::as_amqp091(&View::parse(record).ok()?)?;
    let view = View::parse(&amqp).ok()?;
    let mut found = Found::default();
    found.resolve(shelves.namespace, exchange, &[view.key()], view.headers_table());
    Some((exchange, found))
}

impl Store {
    /// Writes an item as a record. A key after `amq.default.` is the queue's name alone.
    fn put(&mut self, now: Now, (view, item): (LiveView<'_>, &LiveItem)) -> Publish {
        let offset = |bytes: usize| u32::try_from(bytes).expect("a batch is shorter than 4 GiB");
        let subject = view.slice(item.subject());
        let queue = subject.strip_prefix(nats::DEFAULT_EXCHANGE);
        let parts = Parts { reply: view.slice(item.reply()), block: view.slice(item.headers()) };
        let start = self.bytes.len();
        let exchange = if queue.is_some() { "" } else { SUBJECTS };
        let key = queue.unwrap_or(subject);
        nats::write(&mut self.bytes, (exchange.as_bytes(), key, view.slice(item.body())), parts, now.0);
        let exchange_at = offset(start + HEAD_BYTES);
        let key_at = exchange_at + offset(exchange.len());
        Publish {
            record: offset(start)..offset(self.bytes.len()),
            exchange: exchange_at..key_at,
            key: key_at..key_at + offset(key.len()),
            extra_keys: 0..0,
            lane: 0,
            mandatory: false,
            awaited: item.reply_len > 0,
            persistent: true,
        }
    }
}
