//! SUB and UNSUB: the client's names for its subscriptions, and the numbers that the hub knows them by.

use super::Connection;
use crate::subject;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use stele_model::live::{Interest, LiveSubscribe};
use stele_model::session::{ListenView, Outbox};

/// A client's name for a subscription.
pub(super) type Sid = SmallVec<[u8; 16]>;

/// A subscription as the client asked for it.
#[derive(Clone, Default)]
pub(super) struct Named {
    pub(super) sid: Sid,
    pub(super) subject: Bytes,
    pub(super) queue: Option<Bytes>,
}

impl Named {
    /// For listings.
    pub(super) fn view(&self) -> ListenView {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let group = self.queue.as_deref().map(text);
        ListenView { name: text(&self.sid), subject: text(&self.subject), group }
    }
}

/// See the module.
pub(super) struct Subscriptions {
    count_max: u32,
    /// Ever.
    made: u64,
    numbers: BTreeMap<Sid, u32>,
    /// By number. What has ended keeps its name until the number is used again: messages of the same read may still come for it.
    named: Vec<Named>,
    free: Vec<u32>,
    /// Numbers that are free from the next read on.
    freed: Vec<u32>,
}

impl Subscriptions {
    pub(super) fn new(count_max: u32) -> Self {
        let (numbers, named) = (BTreeMap::new(), Vec::new());
        Self { count_max, made: 0, numbers, named, free: Vec::new(), freed: Vec::new() }
    }

    /// A new read has begun.
    pub(super) fn reclaim(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The client's name of a number.
    pub(super) fn sid(&self, number: u32) -> &[u8] {
        self.named.get(number as usize).map_or(&[], |named| &named.sid[..])
    }

    /// How many go on.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.numbers.len()).expect("subscriptions are bounded")
    }

    /// How many were made, ever.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Those that go on.
    pub(super) fn all(&self) -> impl Iterator<Item = &Named> {
        self.numbers.values().filter_map(|number| self.named.get(*number as usize))
    }

    /// A subscription has ended by itself.
    pub(super) fn ended(&mut self, number: u32) {
        let Some(Named { sid, .. }) = self.named.get(number as usize) else { return };
        if self.numbers.get(sid) == Some(&number) {
            self.numbers.remove(sid);
            self.freed.push(number);
        }
    }

    fn is_full(&self) -> bool {
        self.numbers.len() >= self.count_max as usize
    }

    fn add(&mut self, named: Named) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.named.push(Named::default());
            u32::try_from(self.named.len() - 1).expect("subscriptions are bounded")
        });
        self.made += 1;
        self.numbers.insert(named.sid.clone(), number);
        self.named[number as usize] = named;
        number
    }

    /// Its subject, if there was one of that name.
    fn remove(&mut self, sid: &[u8]) -> Option<Bytes> {
        let number = self.numbers.remove(sid)?;
        self.freed.push(number);
        Some(self.named[number as usize].subject.clone())
    }
}

impl Connection {
    pub(super) fn subscribe(&mut self, subject: &[u8], queue: Option<&[u8]>, sid: &[u8], out: &mut Outbox) {
        if !self.permissions.may_subscribe(subject, queue) {
            return Self::may_not_subscribe(subject, queue, out);
        }
        if self.subscriptions.is_full() {
            return Self::error(out, "maximum subscriptions exceeded");
        }
        if !subject::is_valid(subject) {
            return Self::error(out, "Invalid Subject");
        }
        self.ok(out);
        // A name that is in use stands for what it stood for.
        if self.subscriptions.numbers.contains_key(sid) {
            return;
        }
        let filter = Bytes::copy_from_slice(subject);
        let group = queue.map(Bytes::copy_from_slice);
        let named = Named { sid: sid.into(), subject: filter.clone(), queue: group.clone() };
        let subscription = self.subscriptions.add(named);
        change(Interest::Subscribe(LiveSubscribe { subscription, filter, group }), out);
    }

    fn may_not_subscribe(subject: &[u8], queue: Option<&[u8]>, out: &mut Outbox) {
        let subject = String::from_utf8_lossy(subject);
        let mut text = format!("Permissions Violation for Subscription to {subject:?}");
        if let Some(queue) = queue {
            let queue = String::from_utf8_lossy(queue);
            text = format!("{text} using queue {queue:?}");
        }
        Self::error(out, &text);
    }

    /// What the client may do has changed: it is told of subscriptions that end by that.
    pub(super) fn end_what_is_not_allowed(&mut self, out: &mut Outbox) {
        let may = |named: &&Named| self.permissions.may_subscribe(&named.subject, named.queue.as_deref());
        let ended: Vec<Named> = self.subscriptions.all().filter(|named| !may(named)).cloned().collect();
        for Named { sid, subject, queue } in ended {
            Self::may_not_subscribe(&subject, queue.as_deref(), out);
            let Some(subscription) = self.subscriptions.numbers.get(&sid).copied() else { continue };
            self.remove(&sid);
            change(Interest::Unsubscribe { subscription, hits_max: None }, out);
        }
    }

    fn remove(&mut self, sid: &[u8]) {
        let Some(filter) = self.subscriptions.remove(sid) else { return };
        let subscriptions = &self.subscriptions;
        self.jet.unheard(&filter, |reply| {
            subscriptions.all().any(|named| subject::is_subset(reply, &named.subject))
        });
    }

    pub(super) fn unsubscribe(&mut self, sid: &[u8], max: Option<u64>, out: &mut Outbox) {
        self.ok(out);
        let Some(subscription) = self.subscriptions.numbers.get(sid).copied() else { return };
        if max.is_none() {
            self.remove(sid);
        }
        change(Interest::Unsubscribe { subscription, hits_max: max }, out);
    }

    pub(super) fn forget_subscriptions(&mut self, out: &mut Outbox) {
        for (_, subscription) in std::mem::take(&mut self.subscriptions.numbers) {
            self.subscriptions.freed.push(subscription);
            change(Interest::Unsubscribe { subscription, hits_max: None }, out);
        }
    }
}

fn change(interest: Interest, out: &mut Outbox) {
    let items = u32::try_from(out.live.items.len()).expect("a read has fewer than 4 Gi messages");
    out.live.interest.push((items, interest));
}
