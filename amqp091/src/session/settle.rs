//! `basic.ack`, `basic.nack`, `basic.reject`, `basic.recover`: from delivery tags to runs of positions.

use super::Connection;
use crate::codec::hot::{Settle as ClientSettle, Verb};
use crate::profile::UNACKED_SPARSE;
use crate::refuse::{Code, Exception};
use std::collections::VecDeque;
use stele_model::id::{Position, QueueId, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::session::Outbox;
use stele_model::settle::{How, Run, Settle};

/// A delivery that waits for its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Its delivery tag.
    pub(super) tag: u64,
    /// Who got it.
    pub(super) subscription: u64,
    /// From where.
    pub(super) queue: QueueId,
    /// From which place.
    pub(super) position: Position,
    /// It counts in the channel's window.
    pub(super) in_window: bool,
}

/// Deliveries of a channel that wait, in the order of their tags. A settled one leaves a hole, so that the rest need not move;
/// holes are packed when they are most of it, so that one delivery that is never acknowledged does not pin the later ones.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    entries: VecDeque<(bool, Held)>,
    live: usize,
}

impl Unacked {
    pub(super) fn push(&mut self, held: Held) {
        debug_assert!(self.entries.back().is_none_or(|(_, last)| last.tag < held.tag), "tags grow");
        self.entries.push_back((true, held));
        self.live += 1;
    }

    /// Where the live entry of this tag is.
    fn find(&self, tag: u64) -> Option<usize> {
        let (_, first) = self.entries.front()?;
        let guess = usize::try_from(tag.checked_sub(first.tag)?).ok()?;
        let is = |index: usize| self.entries.get(index).is_some_and(|(_, held)| held.tag == tag);
        let index = if is(guess) {
            guess
        } else {
            self.entries.binary_search_by_key(&tag, |(_, held)| held.tag).ok()?
        };
        self.entries[index].0.then_some(index)
    }

    /// Takes one out.
    fn take(&mut self, index: usize) -> Held {
        let (live, held) = &mut self.entries[index];
        *live = false;
        let held = *held;
        self.live -= 1;
        self.pack();
        held
    }

    /// Takes all out, from the oldest to the one at `index`.
    fn take_through(&mut self, index: usize, mut each: impl FnMut(Held)) {
        for (live, held) in self.entries.drain(..=index) {
            if live {
                self.live -= 1;
                each(held);
            }
        }
        self.pack();
    }

    /// Takes all out.
    pub(super) fn drain(&mut self, each: impl FnMut(Held)) {
        if let Some(last) = self.entries.len().checked_sub(1) {
            self.take_through(last, each);
        }
    }

    /// Puts entries back that were taken out, to their places.
    pub(super) fn put_back(&mut self, back: impl Iterator<Item = Held>) {
        let mut entries: Vec<(bool, Held)> = self.entries.drain(..).filter(|(live, _)| *live).collect();
        entries.extend(back.map(|held| (true, held)));
        entries.sort_by_key(|(_, held)| held.tag);
        self.live = entries.len();
        self.entries = entries.into();
    }

    fn pack(&mut self) {
        while self.entries.front().is_some_and(|(live, _)| !live) {
            self.entries.pop_front();
        }
        if self.entries.len() > 1024 + UNACKED_SPARSE * self.live {
            self.entries.retain(|(live, _)| *live);
        }
    }
}

/// Settles of one turn, gathered into runs.
#[derive(Debug, Default)]
pub(super) struct Settles(Vec<Settle>);

/// How many of the last settles a new position is tried with: consumers of a few queues on one channel take turns.
const RECENT: usize = 8;

impl Settles {
    pub(super) fn add(&mut self, subscription: u64, queue: QueueId, how: How, position: Position) {
        // Direct replies are nowhere to be settled.
        if queue == QueueId(0) {
            return;
        }
        let mut recent = self.0.iter_mut().rev().take(RECENT);
        let same = recent
            .find(|settle| settle.subscription == subscription && settle.queue == queue && settle.how == how);
        let Some(settle) = same else {
            let runs = vec![Run { first: position, count: 1 }];
            self.0.push(Settle { subscription, queue, how, runs });
            return;
        };
        match settle.runs.last_mut() {
            Some(run) if run.first.0 + u64::from(run.count) == position.0 && run.count < u32::MAX => {
                run.count += 1
            }
            _ => settle.runs.push(Run { first: position, count: 1 }),
        }
    }

    pub(super) fn flush(&mut self, out: &mut Outbox) {
        if !self.0.is_empty() {
            let op = Op::Settle(std::mem::take(&mut self.0));
            out.submits.push(Submit { ticket: Ticket(0), lane: 0, op });
        }
    }
}

impl Connection {
    /// A client's settle.
    pub(super) fn settle(
        &mut self,
        number: u16,
        settle: &ClientSettle,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let how = match settle.verb {
            Verb::Ack => How::Accept,
            // As RabbitMQ 4.3: a nack gives back without blame, a reject counts.
            Verb::Nack { requeue: true } => How::Release { seen: true, counted: false },
            Verb::Reject { requeue: true } => How::Release { seen: true, counted: true },
            Verb::Nack { requeue: false } | Verb::Reject { requeue: false } => How::Reject,
        };
        let (settles, tag) = (&mut self.settles, settle.delivery_tag);
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        let mut freed = 0;
        let tx = &mut channel.tx;
        let mut end = |held: Held| match tx {
            Some(tx) => tx.settle(held, how),
            None => {
                freed += u32::from(held.in_window);
                settles.add(held.subscription, held.queue, how, held.position);
            }
        };
        if tag == 0 && settle.multiple {
            channel.unacked.drain(end);
        } else {
            let unknown = || Exception::new(Code::PreconditionFailed, format!("unknown delivery tag {tag}"));
            let index = channel.unacked.find(tag).ok_or_else(unknown)?;
            if settle.multiple {
                channel.unacked.take_through(index, end);
            } else {
                end(channel.unacked.take(index));
            }
        }
        channel.window.free(freed);
        self.release_held_back(number, out)
    }

    /// `basic.recover`: everything back to its queue.
    pub(super) fn recover(&mut self, number: u16, requeue: bool, out: &mut Outbox) -> Result<(), Exception> {
        if !requeue {
            return Err(Exception::new(Code::NotImplemented, "requeue=false"));
        }
        let all = ClientSettle { verb: Verb::Nack { requeue: true }, delivery_tag: 0, multiple: true };
        self.settle(number, &all, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tag: u64) -> Held {
        Held { tag, subscription: 1, queue: QueueId(1), position: Position(tag * 10), in_window: false }
    }

    fn tags(unacked: &Unacked) -> Vec<u64> {
        unacked.entries.iter().filter(|(live, _)| *live).map(|(_, held)| held.tag).collect()
    }

    #[test]
    fn one_delivery_that_is_never_acknowledged_does_not_keep_the_later_ones() {
        let mut unacked = Unacked::default();
        for tag in 1..=100_000 {
            unacked.push(held(tag));
            if tag > 1 {
                let index = unacked.find(tag).unwrap();
                unacked.take(index);
            }
        }
        assert_eq!(tags(&unacked), [1]);
        assert!(unacked.entries.len() <= 1024 + UNACKED_SPARSE);
    }

    #[test]
    fn a_settled_tag_is_not_found_again() {
        let mut unacked = Unacked::default();
        [1, 2, 5, 7].into_iter().for_each(|tag| unacked.push(held(tag)));
        let index = unacked.find(5).unwrap();
        assert_eq!(unacked.take(index).tag, 5);
        assert_eq!(unacked.find(5), None);
        assert_eq!(unacked.find(3), None);
        let index = unacked.find(7).unwrap();
        let mut taken = Vec::new();
        unacked.take_through(index, |held| taken.push(held.tag));
        assert_eq!((taken, unacked.live, unacked.entries.len()), (vec![1, 2, 7], 0, 0));
    }

    #[test]
    fn neighbours_become_one_run() {
        let mut settles = Settles::default();
        for (subscription, position) in [(1, 4), (2, 9), (1, 5), (1, 6), (2, 10), (1, 8)] {
            settles.add(subscription, QueueId(1), How::Accept, Position(position));
        }
        let runs: Vec<Vec<(u64, u32)>> = settles
            .0
            .iter()
            .map(|settle| settle.runs.iter().map(|run| (run.first.0, run.count)).collect())
            .collect();
        assert_eq!(runs, [vec![(4, 3), (8, 1)], vec![(9, 2)]]);
    }
}
