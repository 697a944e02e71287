//! Live publishes: from one session's read to the sessions that listen, here and on other hubs, without a shard.
//!
//! Neighbours mostly have the same subject, so who hears it is looked up when the subject changes. Sessions here are told of ranges into
//! the bytes that the read brought; nothing is copied for them. Other hubs get one batch together, with bytes of its own, and find their
//! listeners themselves, so that interest is looked at where it is kept and nothing is shared but the batch.

mod crossing;
mod store;

pub(super) use store::Store;

use super::session::{Attached, LiveEdges};
use super::{Hub, HubMessage, HubOut};
use crate::live::{Chosen, HubMask, Interests, Reach, Slot, Told};
use crate::registry::snapshot::Snapshot;
use crate::router::resolve::SUBJECTS;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use stele_model::flow::{Edge, Flow};
use stele_model::id::{ExchangeId, HubId, NamespaceId, Now, SessionId, Ticket};
use stele_model::live::{Interest, Live, LiveBatch, LiveHit, LiveItem, LiveSubscribe, LiveView};
use stele_model::outcome::Wake;
use stele_model::stream::records::Terms;
use store::{Shelves, Way};

/// Messages from this length on are worth a copy that all share, bytes: sessions hand pieces of it to the kernel.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// What sessions of this hub hear of one batch. The driver tells them at once, while the bytes are there.
#[derive(Debug, Default)]
pub struct Heard {
    /// The batch; `None`: the read that the hub was given.
    pub batch: Option<Arc<LiveBatch>>,
    /// Who hears what: ranges of `hits`.
    pub runs: Vec<(SessionId, Range<usize>)>,
    /// For each run, in the order of items.
    pub hits: Vec<LiveHit>,
    /// Items of the read that nobody heard although an answer is expected, each with the publisher's own subscription to its reply
    /// subject; see [`stele_model::session::Session::unheard`].
    pub unheard: Vec<LiveHit>,
}

/// Live publishes for other hubs.
#[derive(Debug)]
pub struct LiveForward {
    namespace: NamespaceId,
    batch: Arc<LiveBatch>,
    /// Hubs with listeners outside groups, by runs of items: each with the item it ends before.
    runs: Vec<(u32, HubMask)>,
    /// Items that one member of a group is to hear, in order.
    chosen: Vec<(u32, Chosen)>,
    /// How often it was sent on, because a group's members had gone meanwhile.
    hops: u16,
}

impl LiveForward {
    /// Bytes of the batch.
    pub(super) fn weight(&self) -> usize {
        self.batch.bytes.len()
    }
}

/// What other hubs are to hear of the batch at hand. The memory is kept from batch to batch.
#[derive(Default)]
pub(super) struct Draft {
    runs: Vec<(u32, HubMask)>,
    chosen: Vec<(u32, Chosen)>,
    hubs: HubMask,
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.hubs.is_empty()
    }

    fn plain(&mut self, item: u32, hubs: HubMask) {
        self.hubs.merge(hubs);
        match self.runs.last_mut() {
            Some((end, same)) if *same == hubs => *end = item + 1,
            _ => self.runs.push((item + 1, hubs)),
        }
    }

    fn group(&mut self, item: u32, chosen: Chosen) {
        self.hubs.add(chosen.hub);
        self.chosen.push((item, chosen));
    }
}

/// Who publishes a batch.
#[derive(Clone, Copy)]
struct Publisher {
    namespace: NamespaceId,
    /// Its place among those who listen; `None`: it is none of them.
    slot: Option<Slot>,
    /// It does not hear itself.
    mute: bool,
    now: Now,
}

/// What was published of a batch, but for what is stored: that is counted with its route.
#[derive(Default)]
struct Passed {
    /// What somebody heard.
    reached: Flow,
    /// What nobody heard.
    unheard: Flow,
}

/// The batch that is published.
#[derive(Clone, Copy)]
struct Batch<'a> {
    view: LiveView<'a>,
    terms: &'a [(u32, Terms)],
}

impl Hub {
    /// What one read of a session's socket wants of the live path; `bytes` are those that were read. The driver tells sessions what
    /// comes of it ([`HubOut::heard`]) before it goes on.
    pub fn live(&mut self, now: Now, session: SessionId, live: &Live, bytes: &[u8], out: &mut HubOut) {
        let Some((namespace, slot)) = self.listener(session) else { return };
        let access = self.subject_access(session, !live.interest.is_empty());
        let batch = Batch { view: live.view(bytes), terms: &live.terms };
        let by = Publisher { namespace, slot: Some(slot), mute: live.mute, now };
        let snapshot = self.snapshot.clone();
        let shelves = Shelves::of(&snapshot, namespace);
        let mut heard = Heard::default();
        let mut passed = Passed::default();
        let mut from = 0;
        for (until, change) in &live.interest {
            if access.write {
                self.publish_live(by, batch, from..*until, shelves.as_ref(), (&mut heard, &mut passed));
            }
            if access.read || !matches!(change, Interest::Subscribe(_)) {
                self.take_interest(session, (namespace, slot), change);
            }
            from = *until;
        }
        if access.write {
            let end = u32::try_from(live.items.len()).expect("a read has fewer than 4 Gi items");
            self.publish_live(by, batch, from..end, shelves.as_ref(), (&mut heard, &mut passed));
        }
        self.count_passed(session, &passed);
        self.tell_interest(out);
        self.send_heard(namespace, batch.view, heard, out);
        self.send_store(session, live.ticket, out);
    }

    /// Whether a session may publish to subjects and listen to them at all, by its grant in the namespace: as for AMQP's clients, it is
    /// that for the exchange of the subject space. Whether it may listen is looked up only if it wants to (`listens`).
    fn subject_access(&mut self, session: SessionId, listens: bool) -> SubjectAccess {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return SubjectAccess::default() };
        let namespace = attached.namespace.as_ref().and_then(|(id, _)| self.snapshot.namespace_by_id(*id));
        let permits = namespace.and_then(|namespace| namespace.permits(&attached.principal.name));
        let write = attached.may_write(permits, SUBJECTS);
        let read = listens && attached.may_read(permits, SUBJECTS);
        SubjectAccess { write, read }
    }

    /// Live publishes that no socket brought.
    pub(super) fn live_batch(
        &mut self,
        now: Now,
        (session, ticket): (SessionId, Ticket),
        batch: Arc<LiveBatch>,
        out: &mut HubOut,
    ) {
        let Some((namespace, slot)) = self.listener(session) else { return };
        let by = Publisher { namespace, slot: Some(slot), mute: false, now };
        let is_stored = batch.is_stored;
        let Passed { mut reached, unheard } = self.hear_batch(by, batch, out);
        if is_stored {
            self.send_store(session, ticket, out);
        }
        // What a session says without having been asked is not missed if nobody hears it.
        reached.merge(unheard);
        self.count_passed(session, &Passed { reached, ..Passed::default() });
    }

    /// Lets whoever listens hear a batch; what is to be stored of it is put aside.
    fn hear_batch(&mut self, by: Publisher, batch: Arc<LiveBatch>, out: &mut HubOut) -> Passed {
        let mut heard = Heard { batch: Some(batch.clone()), ..Heard::default() };
        let mut passed = Passed::default();
        let end = u32::try_from(batch.items.len()).expect("a batch has fewer than 4 Gi items");
        let items = Batch { view: batch.view(), terms: &[] };
        let snapshot = self.snapshot.clone();
        let shelves = if batch.is_stored { Shelves::of(&snapshot, by.namespace) } else { None };
        self.publish_live(by, items, 0..end, shelves.as_ref(), (&mut heard, &mut passed));
        self.send_heard(by.namespace, batch.view(), heard, out);
        passed
    }

    /// Counts what a session has published live.
    fn count_passed(&mut self, session: SessionId, passed: &Passed) {
        let mut all = passed.reached;
        all.merge(passed.unheard);
        if all.records == 0 {
            return;
        }
        let Self { sessions, snapshot, flows, .. } = self;
        let Some(attached) = sessions.get_mut(&session.number) else { return };
        let edges = match attached.live {
            Some(edges) => edges,
            None => {
                let Some(exchange) = subjects(snapshot, attached) else { return };
                let party = attached.party.clone();
                let published = flows.edge(Edge::Published { party, exchange });
                let unrouted = flows.edge(Edge::Unrouted { exchange });
                *attached.live.insert(LiveEdges { published, unrouted })
            }
        };
        flows.add(edges.published, all.records, all.bytes);
        flows.add(edges.unrouted, passed.unheard.records, passed.unheard.bytes);
    }

    /// The edge on which it is counted what a session hears by a subscription.
    fn heard_edge(&mut self, session: SessionId, subscribe: &LiveSubscribe) -> u32 {
        let Self { sessions, snapshot, flows, .. } = self;
        let Some(attached) = sessions.get(&session.number) else { return 0 };
        let exchange = subjects(snapshot, attached);
        exchange.map_or(0, |exchange| {
            flows.heard(exchange, &attached.party, &subscribe.filter, subscribe.group.as_deref())
        })
    }

    /// Whether somebody listens to a subject, as far as this hub knows: the same that decides who hears what the session publishes.
    pub(super) fn is_heard_from(&mut self, session: SessionId, subject: &[u8]) -> bool {
        let of = self.sessions.get(&session.number).and_then(|attached| attached.namespace.as_ref());
        of.map(|(namespace, _)| *namespace).is_some_and(|namespace| self.is_heard(namespace, subject))
    }

    /// Where a session listens, and publishes.
    fn listener(&mut self, session: SessionId) -> Option<(NamespaceId, Slot)> {
        let attached = self.sessions.get_mut(&session.number)?;
        let (namespace, _) = attached.namespace.as_ref()?;
        let slot = *attached.listens.get_or_insert_with(|| self.interests.enter(session));
        Some((*namespace, slot))
    }

    fn take_interest(
        &mut self,
        session: SessionId,
        (namespace, slot): (NamespaceId, Slot),
        change: &Interest,
    ) {
        match change {
            Interest::Subscribe(subscribe) => {
                let edge = self.heard_edge(session, subscribe);
                self.interests.subscribe(slot, namespace, subscribe, edge);
            }
            Interest::Unsubscribe { subscription, hits_max } => {
                self.interests.unsubscribe(slot, *subscription, *hits_max);
            }
            Interest::Watch { watch, subject } => self.interests.watch(slot, namespace, *watch, subject),
            Interest::Unwatch { watch } => self.interests.unwatch(slot, *watch),
        }
    }

    /// Publishes some items of a batch: whoever listens hears them, and what is to be stored is put aside.
    fn publish_live(
        &mut self,
        by: Publisher,
        batch: Batch<'_>,
        items: Range<u32>,
        shelves: Option<&Shelves<'_>>,
        (heard, passed): (&mut Heard, &mut Passed),
    ) {
        let Batch { view, terms } = batch;
        let mut last: Option<Goal<'_>> = None;
        // Apart from `passed`, so that they stay in registers.
        let (mut reached, mut unheard) = (Flow::default(), Flow::default());
        for n in items {
            let Some(item) = view.item(n) else { break };
            let subject = view.slice(item.subject());
            let goal = match &last {
                Some(goal) if goal.subject == subject => goal,
                _ => {
                    let way = shelves.map_or(Way::None, |shelves| self.way(shelves, subject));
                    let reach = self.interests.reach(by.namespace, subject);
                    last.insert(Goal { subject, reach, way })
                }
            };
            let bytes = item.payload_bytes();
            if goal.is_nobody() {
                unheard.add(bytes);
                if !item.tell_unheard {
                    continue;
                }
            }
            let (count, has_ended) = self.tell_listeners(by, &goal.reach, Told { number: n, bytes });
            let is_stored = shelves.is_some_and(|shelves| {
                let terms = terms.binary_search_by_key(&n, |(item, _)| *item);
                let terms = terms.ok().map(|at| &batch.terms[at].1);
                self.store(by.now, shelves, goal.way, (view, item, terms))
            });
            if !is_stored && !goal.is_nobody() {
                reached.add(bytes);
            }
            if item.tell_unheard && count == 0 && goal.reach.hubs.is_empty() && !is_stored {
                let reply = view.slice(item.reply());
                let own = by.slot.and_then(|slot| self.interests.own_subscription(slot, by.namespace, reply));
                heard.unheard.extend(own.map(|own| LiveHit::new(own, n, false)));
            }
            if has_ended {
                last = None;
            }
        }
        passed.reached.merge(reached);
        passed.unheard.merge(unheard);
    }

    /// Lets whoever is in reach hear an item: how many of this hub and how many groups did, and whether a subscription has ended by it.
    fn tell_listeners(&mut self, by: Publisher, reach: &Reach, item: Told) -> (u32, bool) {
        if reach.is_empty() {
            return (0, false);
        }
        let Self { interests, touched, draft, .. } = self;
        let mute = by.slot.filter(|_| by.mute);
        let n = item.number;
        let plain = interests.tell_plain(reach, item, mute, touched);
        let groups = interests.tell_groups(reach, item, mute, touched, |chosen| draft.group(n, chosen));
        draft.plain(n, reach.hubs);
        (plain.0 + groups.0, plain.1 || groups.1)
    }

    /// Tells sessions here and hubs elsewhere what was published.
    fn send_heard(&mut self, namespace: NamespaceId, view: LiveView<'_>, mut heard: Heard, out: &mut HubOut) {
        if heard.batch.is_none() && self.is_worth_sharing(view) {
            heard.batch = Some(copied(view, 0..view.items.len()));
        }
        if !self.draft.is_empty() {
            let (batch, base) = match &heard.batch {
                Some(batch) => (batch.clone(), 0),
                None => own_batch(view, &self.draft),
            };
            self.draft.runs.iter_mut().for_each(|(end, _)| *end = end.saturating_sub(base));
            self.draft.chosen.iter_mut().for_each(|(item, _)| *item -= base);
            self.forward(namespace, batch, 0, out);
        }
        self.draft.runs.clear();
        self.emit(heard, out);
    }

    /// Whether one copy for all who hear of a read is cheaper than one for each: there are some, and it is long messages that they hear.
    fn is_worth_sharing(&self, view: LiveView<'_>) -> bool {
        let (Some(first), Some(last)) = (view.items.first(), view.items.last()) else { return false };
        let bytes = last.body().end - first.at as usize;
        let hears = self.touched.len() + usize::from(!self.draft.is_empty());
        hears > 1 && bytes / view.items.len() >= SHARED_BYTES_MIN
    }

    /// Sends the draft to the hubs it is for.
    fn forward(&mut self, namespace: NamespaceId, batch: Arc<LiveBatch>, hops: u16, out: &mut HubOut) {
        let Draft { runs, chosen, hubs } = std::mem::take(&mut self.draft);
        let forward = Arc::new(LiveForward { namespace, batch, runs, chosen, hops });
        let others = (0..self.hubs).map(HubId).filter(|hub| *hub != self.id && hubs.contains(*hub));
        out.hubs.extend(others.map(|hub| (hub, HubMessage::Live(forward.clone()))));
    }

    fn emit(&mut self, mut heard: Heard, out: &mut HubOut) {
        for slot in self.touched.drain(..) {
            let from = heard.hits.len();
            let session = self.interests.take_hits(slot, &mut heard.hits);
            heard.runs.push((session, from..heard.hits.len()));
        }
        if !heard.runs.is_empty() || !heard.unheard.is_empty() {
            out.heard.push(heard);
        }
    }

    /// Another hub's sessions have published what sessions of this one may hear.
    pub(super) fn live_from_hub(&mut self, forward: &LiveForward, out: &mut HubOut) {
        let LiveForward { namespace, batch, runs, chosen, hops } = forward;
        let view = batch.view();
        let Self { interests, touched, id, .. } = self;
        let mut reached = Reached { namespace: *namespace, last: None };
        let mut again = Draft::default();
        let mut chosen = chosen.iter().filter(|(_, chosen)| chosen.hub == *id).peekable();
        let mut runs = runs.iter().peekable();
        // Item by item, so that what one publisher's messages come to keeps their order for each session.
        for (n, item) in (0..).zip(view.items) {
            while runs.next_if(|(end, _)| *end <= n).is_some() {}
            let subject = view.slice(item.subject());
            let told = Told { number: n, bytes: item.payload_bytes() };
            if runs.peek().is_some_and(|(_, hubs)| hubs.contains(*id)) {
                let reach = reached.by(interests, subject);
                let (_, has_ended) = interests.tell_plain(reach, told, None, touched);
                reached.forget_if(has_ended);
            }
            while let Some((_, Chosen { group, .. })) = chosen.next_if(|(of, _)| *of == n) {
                let reach = reached.by(interests, subject);
                let (elsewhere, has_ended) = interests.tell_group(reach, group, told, touched);
                reached.forget_if(has_ended);
                if let Some(hub) = elsewhere.filter(|_| *hops < self.hubs) {
                    again.group(n, Chosen { hub, group: group.clone() });
                }
            }
        }
        if !again.is_empty() {
            self.draft = again;
            self.forward(*namespace, batch.clone(), hops + 1, out);
        }
        self.emit(Heard { batch: Some(batch.clone()), ..Heard::default() }, out);
    }

    /// Tells other hubs, and sessions that watch, of changed interest.
    pub(super) fn tell_interest(&mut self, out: &mut HubOut) {
        let Self { interests, flows, .. } = self;
        interests.count_ended(|count| flows.add(count.edge, count.records, count.bytes));
        let changes: Arc<[_]> = self.interests.take_changes().into();
        if !changes.is_empty() {
            let others = (0..self.hubs).map(HubId).filter(|hub| *hub != self.id);
            out.hubs.extend(others.map(|hub| {
                let changes = changes.clone();
                (hub, HubMessage::Interest { from: self.id, changes })
            }));
        }
        let told = self.interests.take_told();
        let wakes = told.into_iter().map(|(of, watch, is_there)| (of, Wake::Interest { watch, is_there }));
        out.wakes.extend(wakes);
    }
}

/// The exchange of the subject space that a session works in.
fn subjects(snapshot: &Snapshot, attached: &Attached) -> Option<ExchangeId> {
    let (namespace, _) = attached.namespace.as_ref()?;
    Some(snapshot.namespace_by_id(*namespace)?.exchange(SUBJECTS)?.id)
}

/// What a session's grant lets it do with subjects.
#[derive(Clone, Copy, Default)]
struct SubjectAccess {
    write: bool,
    read: bool,
}

/// A subject, who hears it, and where it is stored.
struct Goal<'a> {
    subject: &'a [u8],
    reach: Reach,
    way: Way,
}

impl Goal<'_> {
    /// What is published to it goes nowhere.
    fn is_nobody(&self) -> bool {
        self.reach.is_empty() && matches!(self.way, Way::None)
    }
}

/// The last subject and who hears it.
struct Reached<'a> {
    namespace: NamespaceId,
    last: Option<(&'a [u8], Reach)>,
}

impl<'a> Reached<'a> {
    fn by(&mut self, interests: &mut Interests, subject: &'a [u8]) -> &Reach {
        if self.last.as_ref().is_none_or(|(of, _)| *of != subject) {
            self.last = Some((subject, interests.reach(self.namespace, subject)));
        }
        &self.last.as_ref().expect("it was just looked up").1
    }

    fn forget_if(&mut self, has_ended: bool) {
        if has_ended {
            self.last = None;
        }
    }
}

/// A copy of what other hubs are to hear of a read: from the first such item to the last; and how many items come before the first.
fn own_batch(view: LiveView<'_>, draft: &Draft) -> (Arc<LiveBatch>, u32) {
    let mut first = u32::MAX;
    let mut end = 0;
    let mut from = 0;
    for (until, hubs) in &draft.runs {
        if !hubs.is_empty() {
            first = first.min(from);
            end = end.max(*until);
        }
        from = *until;
    }
    for (item, _) in &draft.chosen {
        first = first.min(*item);
        end = end.max(item + 1);
    }
    (copied(view, first as usize..end as usize), first)
}

/// Some items of a read, with bytes of their own.
fn copied(view: LiveView<'_>, items: Range<usize>) -> Arc<LiveBatch> {
    let items = view.items.get(items).unwrap_or(&[]);
    let base = items.first().map_or(0, |item| item.at);
    // With what follows the last body in the dialect's own form.
    let until = items.last().map_or(0, |item| item.body().end + if view.frames.is_empty() { 0 } else { 2 });
    let bytes = Bytes::copy_from_slice(view.slice(base as usize..until));
    let items = items.iter().map(|item| LiveItem { at: item.at - base, ..*item }).collect();
    Arc::new(LiveBatch { bytes, items, frames: view.frames, ..LiveBatch::default() })
}
