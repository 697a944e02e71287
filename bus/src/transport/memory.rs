//! A broker in this process: for tests, and for buses whose parts all live in one process.
//!
//! Same seam, same topology, same order guarantees as a real one; delays run on tokio's clock, so a paused runtime makes them virtual.
//! With [`Chaos`] it reorders and repeats, from a seed. Nothing survives the process. Not here: assertions (`stele-bus-test`).

mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use self::queue::{Queue, Stored};
use super::{BoxFuture, Replies, Stop, Subscription, Transport, TransportError};
use crate::ids::split_mix;
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::time::Clock;
use crate::topology::Topology;

/// Messages that all queues together hold; more is refused.
pub const MESSAGES_MAX: usize = 1_000_000;
/// Messages that the journal remembers.
const JOURNAL_MAX: usize = 100_000;

/// What a broker may legally do to test its users. All chances in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// The same seed gives the same run.
    pub seed: u64,
    /// Deliver another message than the oldest.
    pub reorder: u8,
    /// Deliver a message once more after it was accepted.
    pub duplicate: u8,
}

/// A broker in this process. Clones are the same broker.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// Grows with every change, for those who wait for quiet.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Queues bound to each type's exchange.
    bindings: BTreeMap<String, BTreeSet<String>>,
    queues: BTreeMap<String, Queue>,
    /// Scheduled messages that have not left.
    waiting: BTreeSet<ScheduleToken>,
    delayed: usize,
    journal: Vec<Outgoing>,
    chaos: Option<Chaos>,
    chance: u64,
    replies: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl Memory {
    /// An empty broker that reads this clock.
    pub fn new(clock: Clock) -> Self {
        let changed = watch::Sender::new(0);
        Self(Arc::new(Shared { clock, state: Mutex::default(), changed }))
    }

    /// From now on, with chaos.
    pub fn set_chaos(&self, chaos: Chaos) {
        let mut state = self.state();
        state.chaos = Some(chaos);
        state.chance = chaos.seed;
    }

    /// All that was sent, oldest first; what is scheduled stands here when it was handed over.
    pub fn journal(&self) -> Vec<Outgoing> {
        self.state().journal.clone()
    }

    /// What lies in a queue, in hand included, oldest first.
    pub fn queued(&self, queue: &str) -> Vec<Outgoing> {
        self.state().queues.get(queue).map(Queue::messages).unwrap_or_default()
    }

    /// Messages that wait for their time.
    pub fn delayed(&self) -> usize {
        self.state().delayed
    }

    /// Whether every queue that somebody reads is empty and nothing is in hand.
    pub fn is_quiet(&self) -> bool {
        self.state().queues.values().all(Queue::is_quiet)
    }

    /// Wait until [`Self::is_quiet`]. What is scheduled for later does not count.
    pub async fn quiet(&self) {
        let mut changed = self.0.changed.subscribe();
        while !self.is_quiet() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Put a message into its queues now.
    fn route(&self, message: &Outgoing) -> Result<(), TransportError> {
        let mut state = self.state();
        let names: BTreeSet<String> = match &message.destination {
            Destination::Type { name, supertypes } => {
                let exchanges = std::iter::once(name).chain(supertypes).map(|name| name.exchange());
                exchanges.filter_map(|exchange| state.bindings.get(&exchange)).flatten().cloned().collect()
            }
            Destination::Queue(name) | Destination::Exchange(name) => {
                state.bindings.get(name).cloned().unwrap_or_else(|| BTreeSet::from([name.clone()]))
            }
            Destination::Address { address, .. } => {
                let name = address.rsplit('/').next().unwrap_or_default();
                let name = name.split('?').next().unwrap_or_default().to_owned();
                if !state.queues.contains_key(&name) && !state.bindings.contains_key(&name) {
                    return Err(TransportError::Refused(format!("nobody is at {address}")));
                }
                state.bindings.get(&name).cloned().unwrap_or_else(|| BTreeSet::from([name]))
            }
        };
        if state.queues.values().map(Queue::len).sum::<usize>() + names.len() > MESSAGES_MAX {
            return Err(TransportError::Refused("the broker in memory is full".into()));
        }
        for name in names {
            state.queues.entry(name).or_default().push(Stored::new(message.clone()));
        }
        drop(state);
        self.touch();
        Ok(())
    }

    fn accept(&self, message: Outgoing) -> Result<(), TransportError> {
        {
            let mut state = self.state();
            if state.journal.len() < JOURNAL_MAX {
                state.journal.push(message.clone());
            }
            if message.not_before.is_some() {
                state.delayed += 1;
                state.waiting.extend(message.token);
            }
        }
        let Some(at) = message.not_before else { return self.route(&message) };
        let wait = at.since(self.0.clock.now());
        let broker = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let leaves = {
                let mut state = broker.state();
                state.delayed -= 1;
                message.token.is_none_or(|token| state.waiting.remove(&token))
            };
            if leaves {
                let _ = broker.route(&message); // its addressee may be gone by now
            }
            broker.touch();
        });
        Ok(())
    }

    fn attach(&self, name: &str, credit: u16) -> Subscription {
        let (sender, incoming) = mpsc::channel(usize::from(credit.max(1)));
        self.state().queues.entry(name.to_owned()).or_default().attach();
        let stop = queue::pump(self.clone(), name.to_owned(), credit, sender);
        Subscription { incoming, stop }
    }
}

impl State {
    /// A number below `below`, from the seed.
    fn roll(&mut self, below: u64) -> u64 {
        split_mix(&mut self.chance) % below.max(1)
    }

    fn happens(&mut self, percent: u8) -> bool {
        percent > 0 && self.roll(100) < u64::from(percent)
    }
}

impl Transport for Memory {
    fn system(&self) -> &'static str {
        "memory"
    }

    fn address(&self, destination: &Destination) -> String {
        address(destination)
    }

    fn declare<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<(), TransportError>> {
        let mut state = self.state();
        for endpoint in &topology.endpoints {
            state.queues.entry(endpoint.name.clone()).or_default();
            for kind in &endpoint.types {
                state.bindings.entry(kind.name.exchange()).or_default().insert(endpoint.name.clone());
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), TransportError>>> {
        let answers = batch.into_iter().map(|message| self.accept(message)).collect();
        Box::pin(std::future::ready(answers))
    }

    fn subscribe<'a>(
        &'a self,
        queue: &'a str,
        credit: u16,
    ) -> BoxFuture<'a, Result<Subscription, TransportError>> {
        let subscription = self.attach(queue, credit);
        Box::pin(std::future::ready(Ok(subscription)))
    }

    fn replies(&self) -> BoxFuture<'_, Result<Replies, TransportError>> {
        let name = {
            let mut state = self.state();
            state.replies += 1;
            format!("replies-{}", state.replies)
        };
        let subscription = self.attach(&name, 256);
        let address = address(&Destination::Queue(name));
        Box::pin(std::future::ready(Ok(Replies { address, reply_to: None, subscription })))
    }

    fn cancel<'a>(
        &'a self,
        _destination: &'a Destination,
        token: ScheduleToken,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        let found = self.state().waiting.remove(&token);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Addresses of a broker in memory: `loopback://localhost/name`.
pub fn address(destination: &Destination) -> String {
    let name = match destination {
        Destination::Type { name, .. } => name.exchange(),
        Destination::Queue(name) | Destination::Exchange(name) => name.clone(),
        Destination::Address { address, .. } => return address.clone(),
    };
    format!("loopback://localhost/{name}")
}

impl Stop for watch::Sender<bool> {
    fn stop(&self) -> BoxFuture<'_, ()> {
        self.send_replace(true);
        Box::pin(std::future::ready(()))
    }
}
