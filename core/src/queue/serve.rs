//! Who reads a queue, with how much credit, and whose turn it is.
//!
//! Called by the shard when records or credit have come. What must hold: a record is granted only against credit in messages and in
//! bytes (S18); higher priorities go first until they are blocked, equal ones take turns; all of this is attached state and dies with
//! the process (S1). Not here: taking records from the queue and logging it (`shard::deliver`).

use super::Record;
use super::lease::HolderAt;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use stele_model::id::{Lsn, SubscriptionId};
use stele_model::shard::{Grant, ShardSubscribe};

/// Records given to one reader before its equals have theirs, at most.
const SHARE_MAX: u64 = 64;

/// Room that is made for grants before they are counted.
const GRANTS_EXPECTED_MAX: u64 = 512;

/// The sessions that read a queue or hold something of it.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    slots: Vec<Option<Holder>>,
    free: Vec<HolderAt>,
    by_id: BTreeMap<SubscriptionId, HolderAt>,
    /// Readers with credit: by priority, then by who was served longest ago.
    open: BTreeSet<(Reverse<i32>, u64, HolderAt)>,
    /// Counts servings, so that equals take turns.
    turn: u64,
    count: u32,
    /// Single active consumer: the one.
    active: Option<HolderAt>,
    exclusive: bool,
}

/// A subscription or get that reads or holds records.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) id: SubscriptionId,
    /// Unsettled deliveries.
    pub(crate) held: u64,
    pub(crate) reader: Option<Reader>,
    /// Granted this turn, not yet sent.
    pub(crate) grants: Grants,
    /// The session is gone: what it holds is being released.
    pub(crate) gone: bool,
}

/// A live subscription.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) no_ack: bool,
    messages_max: Option<u32>,
    bytes_max: i64,
    /// What is left. The last record may take it below 0, so that a record larger than all credit passes.
    bytes: i64,
    priority: i32,
    /// Order of arrival, and later of service.
    turn: u64,
}

/// Grants on their way into one effect.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(crate) records: Vec<Grant>,
    pub(crate) bytes: u64,
    /// What the last of them waits for.
    pub(crate) after: Lsn,
}

/// How a reader stands after a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Granted and not yet sent.
    pub(crate) bytes: u64,
    /// There is credit for more.
    pub(crate) open: bool,
}

/// Why a reader is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// Somebody reads alone, or this one wants to and is not.
    Exclusive,
}

impl Readers {
    /// Live subscriptions.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Attaches a reader.
    pub(crate) fn add(&mut self, of: &ShardSubscribe, single_active: bool) -> Result<HolderAt, NotNow> {
        if self.exclusive || (of.exclusive && self.count > 0) {
            return Err(NotNow::Exclusive);
        }
        let at = self.holder(of.subscription);
        self.close(at);
        self.turn += 1;
        let bytes_max = i64::try_from(of.bytes_max).unwrap_or(i64::MAX);
        let reader = Reader {
            no_ack: of.no_ack,
            messages_max: of.messages_max,
            bytes_max,
            bytes: bytes_max,
            priority: of.priority,
            turn: self.turn,
        };
        if let Some(holder) = self.holder_at_mut(at)
            && holder.reader.replace(reader).is_none()
        {
            self.count += 1;
        }
        self.exclusive = of.exclusive;
        if single_active && self.active.is_none() {
            self.active = Some(at);
        }
        self.update(at);
        Ok(at)
    }

    /// Detaches a reader; its deliveries stay its own. `false`: there is none.
    pub(crate) fn remove(&mut self, id: SubscriptionId, single_active: bool) -> bool {
        let Some(&at) = self.by_id.get(&id) else { return false };
        self.close(at);
        let Some(Some(holder)) = self.slots.get_mut(at as usize) else { return false };
        if holder.reader.take().is_none() {
            return false;
        }
        self.count -= 1;
        self.exclusive = false;
        self.active = self.active.filter(|active| *active != at);
        if single_active && self.active.is_none() {
            self.active = self.next_active();
        }
        self.forget_idle(at);
        true
    }

    /// The holder of this name, made if need be.
    pub(crate) fn holder(&mut self, id: SubscriptionId) -> HolderAt {
        if let Some(&at) = self.by_id.get(&id) {
            return at;
        }
        let holder = Holder { id, held: 0, reader: None, grants: Grants::default(), gone: false };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = Some(holder);
                at
            }
            None => {
                self.slots.push(Some(holder));
                (self.slots.len() - 1) as HolderAt
            }
        };
        self.by_id.insert(id, at);
        at
    }

    /// The holder of this name, if there is one.
    pub(crate) fn find(&self, id: SubscriptionId) -> Option<HolderAt> {
        self.by_id.get(&id).copied()
    }

    /// Subscriptions and gets of one session.
    pub(crate) fn of_session(&self, session: stele_model::id::SessionId) -> Vec<SubscriptionId> {
        let from = SubscriptionId { session, number: 0 };
        let to = SubscriptionId { session, number: u64::MAX };
        self.by_id.range(from..=to).map(|(id, _)| *id).collect()
    }

    pub(crate) fn holder_at_mut(&mut self, at: HolderAt) -> Option<&mut Holder> {
        self.slots.get_mut(at as usize).and_then(Option::as_mut)
    }

    pub(crate) fn holder_at(&self, at: HolderAt) -> Option<&Holder> {
        self.slots.get(at as usize).and_then(Option::as_ref)
    }

    /// All that read, in the order of their names.
    pub(crate) fn reading(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.by_id
            .iter()
            .filter(|(_, at)| self.holder_at(**at).is_some_and(|holder| holder.reader.is_some()))
            .map(|(id, _)| *id)
    }

    /// Sessions that read or hold something, each once.
    pub(crate) fn sessions(&self) -> Vec<stele_model::id::SessionId> {
        let mut sessions: Vec<_> = self.by_id.keys().map(|id| id.session).collect();
        sessions.dedup();
        sessions
    }

    /// Bytes have left for the client.
    pub(crate) fn give_bytes(&mut self, id: SubscriptionId, bytes: u64) {
        let Some(&at) = self.by_id.get(&id) else { return };
        if let Some(reader) = self.holder_at_mut(at).and_then(|holder| holder.reader.as_mut()) {
            let given = i64::try_from(bytes).unwrap_or(i64::MAX);
            reader.bytes = reader.bytes.saturating_add(given).min(reader.bytes_max);
        }
        self.update(at);
    }

    /// So many records may be unsettled from now on.
    pub(crate) fn limit(&mut self, id: SubscriptionId, messages_max: u32) {
        let Some(&at) = self.by_id.get(&id) else { return };
        if let Some(reader) = self.holder_at_mut(at).and_then(|holder| holder.reader.as_mut()) {
            reader.messages_max = Some(messages_max);
        }
        self.update(at);
    }

    /// A lease of this holder began.
    pub(crate) fn began(&mut self, at: HolderAt) {
        if let Some(holder) = self.holder_at_mut(at) {
            holder.held += 1;
        }
        self.update(at);
    }

    /// A lease of this holder ended. A holder that neither reads nor holds is forgotten.
    pub(crate) fn ended(&mut self, at: HolderAt, count: u64) {
        let Some(holder) = self.holder_at_mut(at) else { return };
        assert!(holder.held >= count, "I13: only what is held is settled");
        holder.held -= count;
        self.update(at);
        self.forget_idle(at);
    }

    /// The session is gone: it reads no more.
    pub(crate) fn mark_gone(&mut self, id: SubscriptionId, single_active: bool) {
        let Some(at) = self.find(id) else { return };
        if let Some(holder) = self.holder_at_mut(at) {
            holder.gone = true;
            holder.grants = Grants::default();
        }
        self.remove(id, single_active);
        self.forget_idle(at);
    }

    /// Whose turn it is, and how many records of `ready` are its share.
    pub(crate) fn next(&self, ready: u64) -> Option<(HolderAt, u64)> {
        if let Some(active) = self.active {
            let reader = self.holder_at(active)?;
            return reader.has_credit().then_some((active, ready));
        }
        let mut open = self.open.iter();
        let (priority, _, at) = open.next()?;
        if open.next().is_none_or(|(other, _, _)| other != priority) {
            return Some((*at, ready));
        }
        Some((*at, (ready / self.open.len() as u64).clamp(1, SHARE_MAX)))
    }

    /// Whether the reader's deliveries end as they are sent; `None`: it does not read.
    pub(crate) fn no_ack(&self, at: HolderAt) -> Option<bool> {
        self.holder_at(at)?.reader.as_ref().map(|reader| reader.no_ack)
    }

    /// Up to `count` grants to this reader follow: room is made once.
    pub(crate) fn expect(&mut self, at: HolderAt, count: u64) {
        let Some(holder) = self.holder_at_mut(at) else { return };
        let Some(reader) = &holder.reader else { return };
        let room = match reader.messages_max {
            Some(max) if !reader.no_ack => u64::from(max).saturating_sub(holder.held),
            _ => u64::MAX,
        };
        holder.grants.records.reserve(count.min(room).min(GRANTS_EXPECTED_MAX) as usize);
    }

    /// Grants a record to a reader with credit, `charged` bytes of it. [`Self::served`] must follow.
    pub(crate) fn grant(&mut self, at: HolderAt, record: &Record, charged: u32, after: Lsn) -> Granted {
        let Some(holder) = self.holder_at_mut(at) else { return Granted { bytes: 0, open: false } };
        holder.grants.records.push(record.grant());
        holder.grants.bytes += u64::from(record.len);
        holder.grants.after = holder.grants.after.max(after);
        if let Some(reader) = &mut holder.reader {
            reader.bytes -= i64::from(charged);
            holder.held += u64::from(!reader.no_ack);
        }
        Granted { bytes: holder.grants.bytes, open: holder.has_credit() }
    }

    /// Whether somebody has credit.
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The reader was served; the next of its equals is next.
    pub(crate) fn served(&mut self, at: HolderAt) {
        self.close(at);
        self.turn += 1;
        let turn = self.turn;
        if let Some(reader) = self.holder_at_mut(at).and_then(|holder| holder.reader.as_mut()) {
            reader.turn = turn;
        }
        self.update(at);
    }

    /// Puts the reader in or out of those with credit.
    fn update(&mut self, at: HolderAt) {
        let Some(holder) = self.holder_at(at) else { return };
        let Some(reader) = &holder.reader else { return };
        let key = (Reverse(reader.priority), reader.turn, at);
        if holder.has_credit() {
            self.open.insert(key);
        } else {
            self.open.remove(&key);
        }
    }

    fn close(&mut self, at: HolderAt) {
        if let Some(reader) = self.holder_at(at).and_then(|holder| holder.reader.as_ref()) {
            let key = (Reverse(reader.priority), reader.turn, at);
            self.open.remove(&key);
        }
    }

    /// The first in line: highest priority, then first come.
    fn next_active(&self) -> Option<HolderAt> {
        let line = self.by_id.values().filter_map(|at| {
            let reader = self.holder_at(*at)?.reader.as_ref()?;
            Some((Reverse(reader.priority), reader.turn, *at))
        });
        line.min().map(|(_, _, at)| at)
    }

    fn forget_idle(&mut self, at: HolderAt) {
        let Some(Some(holder)) = self.slots.get(at as usize) else { return };
        if holder.held > 0 || holder.reader.is_some() {
            return;
        }
        self.by_id.remove(&holder.id);
        self.slots[at as usize] = None;
        self.free.push(at);
        if self.by_id.is_empty() {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }
}

impl Holder {
    fn has_credit(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| {
            let messages = reader.no_ack || reader.messages_max.is_none_or(|max| self.held < u64::from(max));
            reader.bytes > 0 && messages
        })
    }
}
