//! One queue in memory, and the pump that feeds its subscription.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use super::super::{BoxFuture, Incoming, Settle, Settler, Stop, TransportError, Verdict};
use super::{Memory, State};
use crate::outgoing::Outgoing;
use crate::time::Timestamp;

pub(super) struct Stored {
    message: Outgoing,
    redelivered: bool,
    /// Counted from when it reached the queue.
    expires: Option<Timestamp>,
}

impl Stored {
    pub(super) fn new(message: Outgoing) -> Self {
        Self { message, redelivered: false, expires: None }
    }
}

/// Messages in order, and those that are in somebody's hands.
#[derive(Default)]
pub(super) struct Queue {
    ready: VecDeque<Stored>,
    in_hand: BTreeMap<u64, Stored>,
    next_tag: u64,
    /// Subscriptions; with none, messages may lie here for ever.
    readers: usize,
}

impl Queue {
    pub(super) fn push(&mut self, stored: Stored) {
        self.ready.push_back(stored);
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.in_hand.len()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.in_hand.is_empty() && (self.readers == 0 || self.ready.is_empty())
    }

    pub(super) fn messages(&self) -> Vec<Outgoing> {
        self.in_hand.values().chain(&self.ready).map(|stored| stored.message.clone()).collect()
    }

    /// One more reads, until its pump ends.
    pub(super) fn attach(&mut self) {
        self.readers += 1;
    }
}

struct Hand {
    broker: Memory,
    queue: String,
    credit: Arc<Semaphore>,
}

/// Start to feed a subscription; the answer stops it.
pub(super) fn pump(
    broker: Memory,
    queue: String,
    credit: u16,
    sender: mpsc::Sender<Incoming>,
) -> Arc<dyn Stop> {
    let (stop, mut stopped) = watch::channel(false);
    let credit = Arc::new(Semaphore::new(usize::from(credit.max(1))));
    let hand = Arc::new(Hand { broker: broker.clone(), queue: queue.clone(), credit: credit.clone() });
    let mut changed = broker.0.changed.subscribe();
    tokio::spawn(async move {
        loop {
            let permit = tokio::select! {
                biased; // or the same seed would not give the same run
                permit = credit.acquire() => permit,
                _ = stopped.changed() => break,
                () = sender.closed() => break,
            };
            let Ok(permit) = permit else { break };
            let taken = broker.state().take(&queue, broker.0.clock.now());
            match taken {
                Some((tag, stored_message, redelivered)) => {
                    permit.forget(); // comes back when the delivery is settled
                    let incoming = Incoming {
                        properties: stored_message.properties,
                        body: stored_message.body,
                        redelivered,
                        exchange: String::new(),
                        settle: Settle::new(hand.clone(), tag),
                    };
                    if sender.send(incoming).await.is_err() {
                        broker.state().settle(&queue, tag, Verdict::Release);
                        break;
                    }
                }
                None => {
                    drop(permit);
                    tokio::select! {
                        biased;
                        _ = changed.changed() => {}
                        _ = stopped.changed() => break,
                        () = sender.closed() => break,
                    }
                }
            }
        }
        if let Some(queue) = broker.state().queues.get_mut(&queue) {
            queue.readers -= 1;
        }
        broker.touch();
    });
    Arc::new(stop)
}

impl State {
    /// The next message of a queue, into somebody's hands.
    fn take(&mut self, name: &str, now: Timestamp) -> Option<(u64, Outgoing, bool)> {
        let reorder = self.chaos.map_or(0, |chaos| chaos.reorder);
        loop {
            let len = self.queues.get(name)?.ready.len();
            let at = if len > 1 && self.happens(reorder) { self.roll(len as u64) } else { 0 };
            let queue = self.queues.get_mut(name)?;
            let mut stored = queue.ready.remove(usize::try_from(at).unwrap_or(0))?;
            let ttl = stored.message.properties.expiration_ms;
            let expires = stored
                .expires
                .or_else(|| Some(Timestamp(stored.message.properties.timestamp? * 1000 + ttl?)));
            if ttl.is_some() && expires.is_some_and(|at| at < now) {
                continue;
            }
            stored.expires = expires;
            queue.next_tag += 1;
            let tag = queue.next_tag;
            let (message, redelivered) = (stored.message.clone(), stored.redelivered);
            queue.in_hand.insert(tag, stored);
            return Some((tag, message, redelivered));
        }
    }

    fn settle(&mut self, name: &str, tag: u64, verdict: Verdict) {
        let duplicate = self.chaos.map_or(0, |chaos| chaos.duplicate);
        let again = verdict == Verdict::Release || self.happens(duplicate);
        let Some(queue) = self.queues.get_mut(name) else { return };
        let Some(mut stored) = queue.in_hand.remove(&tag) else { return };
        if again {
            stored.redelivered = true;
            queue.ready.push_front(stored);
        }
    }
}

impl Settler for Hand {
    fn settle(&self, tag: u64, verdict: Verdict) -> BoxFuture<'_, Result<(), TransportError>> {
        self.broker.state().settle(&self.queue, tag, verdict);
        self.credit.add_permits(1);
        self.broker.touch();
        Box::pin(std::future::ready(Ok(())))
    }
}
