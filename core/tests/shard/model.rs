//! The model: what clients may expect of a queue, in the plainest form.

use stele_model::id::{Lsn, SubscriptionId};
use stele_model::queue::{Overflow, QueueSpec};
use stele_model::settle::How;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Leased(SubscriptionId),
    /// On the way to the dead letters.
    Moving,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: u32,
    pub(crate) persistent: bool,
    pub(crate) priority: u8,
    pub(crate) expires_us: Option<u64>,
    pub(crate) len: u32,
    pub(crate) body_len: u64,
    pub(crate) state: State,
    pub(crate) redelivered: bool,
    pub(crate) failures: u32,
    /// What its confirm waited for; `None`: it was refused, and stands here only as a dead letter.
    pub(crate) confirmed_after: Option<Lsn>,
}

impl Item {
    fn is_over(&self, now_us: u64) -> bool {
        self.expires_us.is_some_and(|at| at <= now_us)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) id: SubscriptionId,
    pub(crate) no_ack: bool,
    pub(crate) messages_max: Option<u32>,
    pub(crate) bytes_max: i64,
    pub(crate) bytes: i64,
    pub(crate) priority: i32,
}

pub(crate) struct Queue {
    pub(crate) spec: QueueSpec,
    /// In the order in which they came.
    pub(crate) items: Vec<Item>,
    pub(crate) readers: Vec<Reader>,
    /// The latest block of a record that was delivered.
    pub(crate) delivered_after: Lsn,
    /// Too many moves are under way, or soon may be: what is over its time or too much may stay for now.
    pub(crate) is_patient: bool,
}

impl Queue {
    pub(crate) fn new(spec: QueueSpec) -> Self {
        Self { spec, items: Vec::new(), readers: Vec::new(), delivered_after: Lsn(0), is_patient: false }
    }

    pub(crate) fn ready(&self) -> u64 {
        self.items.iter().filter(|item| item.state == State::Ready).count() as u64
    }

    pub(crate) fn ready_bytes(&self) -> u64 {
        self.items.iter().filter(|item| item.state == State::Ready).map(|item| item.body_len).sum()
    }

    pub(crate) fn leased(&self) -> u64 {
        self.items.iter().filter(|item| matches!(item.state, State::Leased(_))).count() as u64
    }

    pub(crate) fn held(&self, id: SubscriptionId) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.state == State::Leased(id))
    }

    /// The record to be read next.
    pub(crate) fn head(&self) -> Option<usize> {
        let ready = self.items.iter().enumerate().filter(|(_, item)| item.state == State::Ready);
        ready.min_by_key(|(n, item)| (u8::MAX - item.priority, *n)).map(|(n, _)| n)
    }

    fn heads(&self) -> Vec<usize> {
        let mut heads: Vec<usize> = Vec::new();
        for (n, item) in self.items.iter().enumerate() {
            let first = heads.iter().all(|head| self.items[*head].priority != item.priority);
            if item.state == State::Ready && first {
                heads.push(n);
            }
        }
        heads
    }

    pub(crate) fn has_credit(&self, reader: &Reader) -> bool {
        let held = self.held(reader.id).count() as u32;
        let messages = reader.no_ack || reader.messages_max.is_none_or(|max| held < max);
        messages && reader.bytes > 0
    }

    /// Somebody could be given the next record.
    pub(crate) fn owes_a_delivery(&self, now_us: u64) -> bool {
        let is_good = |head: usize| !self.items[head].is_over(now_us);
        self.head().is_some_and(is_good) && self.readers.iter().any(|reader| self.has_credit(reader))
    }

    /// A record that is over its time had to stay, and stands before others.
    pub(crate) fn keeps_a_dead_head(&self, now_us: u64) -> bool {
        self.is_patient && self.heads().into_iter().any(|head| self.items[head].is_over(now_us))
    }

    pub(crate) fn expiry(&self, now_us: u64, ttl_ms: Option<u64>) -> Option<u64> {
        let ttl_ms = [self.spec.settings.ttl_ms, ttl_ms].into_iter().flatten().min()?;
        Some(now_us + ttl_ms * 1000)
    }

    pub(crate) fn is_full_for(&self, body_len: u64) -> bool {
        let of = &self.spec.settings;
        of.overflow != Overflow::DropHead
            && (of.length_max.is_some_and(|max| self.ready() + 1 > max)
                || of.bytes_max.is_some_and(|max| self.ready_bytes() + body_len > max))
    }

    /// Lets records go: to the dead letters, or away.
    pub(crate) fn dispose(&mut self, n: usize) {
        if self.spec.settings.dead_letter.is_some() {
            self.items[n].state = State::Moving;
        } else {
            self.items.remove(n);
        }
    }

    pub(crate) fn expire(&mut self, now_us: u64, strictly: bool) {
        if self.is_patient {
            return;
        }
        let over =
            |item: &Item| item.expires_us.is_some_and(|at| if strictly { at < now_us } else { at <= now_us });
        while let Some(n) = self.heads().into_iter().find(|n| over(&self.items[*n])) {
            self.dispose(n);
        }
    }

    pub(crate) fn drop_heads(&mut self) {
        let of = self.spec.settings.clone();
        while !self.is_patient
            && of.overflow == Overflow::DropHead
            && (of.length_max.is_some_and(|max| self.ready() > max)
                || of.bytes_max.is_some_and(|max| self.ready_bytes() > max))
        {
            let Some(head) = self.head() else { return };
            self.dispose(head);
        }
    }

    /// These have left a patient queue by their age or for its length, says the shard. What was rejected or refused has left it before. Which
    /// was the head when is not known, so neither is whether the queue was too long.
    pub(crate) fn leave(&mut self, ids: &[u32], by_age: bool, now_us: u64) -> Result<(), String> {
        for id in ids {
            let is_it = |item: &Item| item.id == *id && item.state == State::Ready;
            let Some(n) = self.items.iter().position(is_it) else { continue };
            let of = &self.spec.settings;
            let drops =
                of.overflow == Overflow::DropHead && (of.length_max.is_some() || of.bytes_max.is_some());
            let may = if by_age { self.items[n].is_over(now_us) } else { drops };
            if !may {
                return Err(format!("{:?} has left, and need not", self.items[n]));
            }
            self.dispose(n);
        }
        Ok(())
    }

    pub(crate) fn settle(&mut self, id: u32, how: How) {
        let Some(n) = self.items.iter().position(|item| item.id == id) else { return };
        match how {
            How::Accept => drop(self.items.remove(n)),
            How::Reject => self.dispose(n),
            How::Release { seen, counted } => {
                let item = &mut self.items[n];
                item.state = State::Ready;
                item.redelivered |= seen;
                item.failures += u32::from(counted);
                let failures = item.failures;
                if counted && self.spec.settings.delivery_max.is_some_and(|max| failures > max) {
                    self.dispose(n);
                }
            }
        }
    }
}
