//! A bus under test, and what can be asked of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stele_bus::ids::Ids;
use stele_bus::saga::{Saga, state_of};
use stele_bus::store::memory::MemoryStore;
use stele_bus::time::Clock;
use stele_bus::transport::memory::{Memory, address};
use stele_bus::{
    Bus, BusBuilder, Composer, Destination, Fault, Message, Outgoing, Timestamp, TypeName, fold, wire,
};

use crate::mishaps::{Plan, Saboteur};
use crate::record::Record;

/// When virtual time starts: 2026-01-01, so that times in assertions can be written down.
const START: Timestamp = Timestamp(1_767_225_600_000);
/// A bus that is not quiet after so much virtual time never will be: some handler waits for what cannot come.
const QUIET_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// A started bus on a broker in memory.
pub struct Harness {
    broker: Memory,
    store: MemoryStore,
    record: Record,
    bus: Bus,
}

impl Harness {
    /// Start a bus. Inside a tokio runtime with its clock paused; [`crate::run`] makes one.
    ///
    /// # Panics
    /// If the bus cannot be built.
    pub async fn start(describe: impl FnOnce(BusBuilder) -> BusBuilder, plan: Option<Plan>) -> Self {
        let clock = Clock::starting_at(START);
        let (broker, store, record) = (Memory::new(clock), MemoryStore::default(), Record::default());
        let ids = Ids::seeded(plan.map_or(0, |plan| plan.seed));
        let composer = Composer::new(Arc::new(address)).with_clock_and_ids(clock, ids);
        let mut builder = describe(
            Bus::builder(broker.clone()).store(store.clone()).composer(composer).layer(record.clone()),
        );
        if let Some(plan) = plan {
            broker.set_chaos(plan.chaos());
            builder = builder.mishaps(Saboteur::new(plan));
        }
        let bus = builder.build().unwrap_or_else(|error| panic!("{error}"));
        bus.start().await.expect("a broker in memory is always there");
        Self { broker, store, record, bus }
    }

    /// The bus, for requests, schedules and everything else.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The broker.
    pub fn broker(&self) -> &Memory {
        &self.broker
    }

    /// Now, virtually.
    pub fn now(&self) -> Timestamp {
        self.bus.composer().now()
    }

    /// Publish, and wait until all that follows from it has happened.
    ///
    /// # Panics
    /// If the message cannot be encoded, or the bus does not come to rest.
    pub async fn publish<M: Message>(&self, message: &M) {
        self.bus.publish(message).await.unwrap_or_else(|error| panic!("{error}"));
        self.quiet().await;
    }

    /// Send, and wait until all that follows from it has happened.
    ///
    /// # Panics
    /// If the message cannot be encoded, or the bus does not come to rest.
    pub async fn send<M: Message>(&self, to: &str, message: &M) {
        self.bus.send(to, message).await.unwrap_or_else(|error| panic!("{error}"));
        self.quiet().await;
    }

    /// Wait until no message is on its way and no handler runs.
    ///
    /// # Panics
    /// If that never happens.
    pub async fn quiet(&self) {
        let quiet = tokio::time::timeout(QUIET_WITHIN, self.broker.quiet()).await;
        quiet.expect("the bus does not come to rest: a handler waits for something that never comes, or messages go in a circle");
    }

    /// Let virtual time pass: everything that is due on the way happens in its order.
    ///
    /// # Panics
    /// If the bus does not come to rest.
    pub async fn advance(&self, span: Duration) {
        self.quiet().await;
        tokio::time::sleep(span).await;
        self.quiet().await;
    }

    /// Messages of type `M` that were published, oldest first. Copies with the same id count once.
    pub fn published<M: Message>(&self) -> Vec<M> {
        self.payloads(|message| matches!(message.destination, Destination::Type { .. }))
    }

    /// Messages of type `M` that were sent to a queue, oldest first. Copies with the same id count once.
    pub fn sent<M: Message>(&self, queue: &str) -> Vec<M> {
        self.payloads(|message| message.destination == Destination::Queue(queue.into()))
    }

    /// Answers of type `M`, oldest first. Copies with the same id count once.
    pub fn responded<M: Message>(&self) -> Vec<M> {
        self.payloads(|message| matches!(message.destination, Destination::Address { .. }))
    }

    /// Messages of type `M` that were handled, in the order in which that ended; a copy counts again.
    pub fn consumed<M: Message>(&self) -> Vec<M> {
        let urn = M::name().urn();
        let of_type = self
            .record
            .deliveries()
            .into_iter()
            .filter(|delivery| delivery.envelope.message_type.contains(&urn));
        of_type
            .filter_map(|delivery| fold::from_slice(delivery.envelope.message.0.get().as_bytes()).ok())
            .collect()
    }

    /// Faults of messages of type `M`, wherever they went, oldest first.
    pub fn faulted<M: Message>(&self) -> Vec<Fault<M>> {
        self.payloads(|_| true)
    }

    /// What lies in an endpoint's error queue.
    pub fn errors(&self, endpoint: &str) -> Vec<Outgoing> {
        self.broker.queued(&format!("{endpoint}_error"))
    }

    /// What lies in an endpoint's queue of unknown messages.
    pub fn skipped(&self, endpoint: &str) -> Vec<Outgoing> {
        self.broker.queued(&format!("{endpoint}_skipped"))
    }

    /// The state of a saga's instance; `None` if there is none (yet, or any more).
    pub fn saga<S: Saga>(&self, instance: impl ToString) -> Option<S> {
        self.store.saga(S::NAME, &instance.to_string()).as_ref().and_then(state_of)
    }

    /// All instances of a saga, by their keys.
    pub fn sagas<S: Saga>(&self) -> Vec<(String, S)> {
        let rows = self.store.sagas(S::NAME).into_iter();
        rows.filter_map(|(instance, row)| Some((instance, state_of(&row)?))).collect()
    }

    fn payloads<M: Message>(&self, wanted: impl Fn(&Outgoing) -> bool) -> Vec<M> {
        let name: TypeName = M::name();
        let mut seen = BTreeSet::new();
        let journal = self.broker.journal().into_iter();
        let of_type = journal.filter(|message| message.kind.as_ref() == Some(&name) && wanted(message));
        let first = of_type.filter(|message| seen.insert(message.id));
        first
            .filter_map(|message| {
                let envelope = wire::decode(&message.properties, &message.body).ok()?;
                fold::from_slice(envelope.message.0.get().as_bytes()).ok()
            })
            .collect()
    }
}
