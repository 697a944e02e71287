//! An outbox and a broker in memory, for the tests of the relay: both fail when they are told to.

use crate::publish::{Fault, Message, Outcome, Publisher, Refusal, Target};
use crate::row::{Place, Row};
use crate::source::{Backlog, Reader, Source, SourceError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// A row of an order.
pub(crate) fn row(ord: i64, aggregate: &str) -> Row {
    Row {
        place: Place { lane: 0, ord },
        id: format!("id-{ord}"),
        aggregate_type: "order".into(),
        aggregate_id: aggregate.into(),
        kind: "OrderPlaced".into(),
        destination: None,
        content_type: Some("application/json".into()),
        headers: None,
        properties: None,
        payload: b"{}".to_vec(),
    }
}

/// What both sides hold and what will go wrong.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) rows: BTreeMap<i64, Row>,
    pub(crate) dead: Vec<(i64, String)>,
    /// Ids in the order of their arrival, copies too.
    pub(crate) arrived: Vec<String>,
    /// What happens to the next batches, oldest first; nothing: all are confirmed.
    pub(crate) plan: VecDeque<Trouble>,
    /// Ids that end the connection.
    pub(crate) poison: Vec<String>,
    pub(crate) reads: u64,
    pub(crate) sessions: u64,
}

/// What goes wrong with one batch.
pub(crate) enum Trouble {
    /// So many arrive, then the connection is cut and nobody knows.
    CutAfter(usize),
    /// This id is not taken, all others are.
    Refuse(&'static str),
}

#[derive(Clone, Default)]
pub(crate) struct Shared(pub(crate) Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

impl Source for Shared {
    type Reader = Self;

    async fn open(&self) -> Result<Self, SourceError> {
        self.with(|world| world.sessions += 1);
        Ok(self.clone())
    }
}

impl Reader for Shared {
    async fn balance(&mut self) -> Result<u16, SourceError> {
        Ok(crate::LANES)
    }

    async fn read(&mut self, without: &[String], count_max: usize) -> Result<Vec<Row>, SourceError> {
        Ok(self.with(|world| {
            world.reads += 1;
            let rows = world.rows.values().filter(|row| !without.contains(&row.aggregate_id));
            rows.take(count_max).cloned().collect()
        }))
    }

    async fn delete(&mut self, places: &[Place]) -> Result<(), SourceError> {
        self.with(|world| places.iter().for_each(|place| drop(world.rows.remove(&place.ord))));
        Ok(())
    }

    async fn park(&mut self, place: Place, reason: &str) -> Result<(), SourceError> {
        self.with(|world| {
            world.rows.remove(&place.ord);
            world.dead.push((place.ord, reason.into()));
        });
        Ok(())
    }

    async fn backlog(&mut self) -> Result<Backlog, SourceError> {
        Ok(self.with(|world| Backlog { pending: world.rows.len() as u64, ..Backlog::default() }))
    }
}

impl Target for Shared {
    type Publisher = Self;

    async fn open(&self) -> Result<Self, Fault> {
        Ok(self.clone())
    }
}

impl Publisher for Shared {
    async fn admit(&mut self, message: &Message) -> Result<Outcome, Fault> {
        Ok(match message.kind.as_str() {
            "TooLong" => Outcome::Refused(Refusal::lasting("too long")),
            _ => Outcome::Confirmed,
        })
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        self.with(|world| {
            let trouble = world.plan.pop_front();
            let mut outcomes = Vec::new();
            for (index, message) in batch.iter().enumerate() {
                if world.poison.contains(&message.id) {
                    return Err(Fault::Message("poison".into()));
                }
                match &trouble {
                    Some(Trouble::CutAfter(count)) if index == *count => {
                        return Err(Fault::Connection("cut".into()));
                    }
                    Some(Trouble::Refuse(id)) if message.id == *id => {
                        outcomes.push(Outcome::Refused(Refusal::passing("full")));
                    }
                    _ => {
                        world.arrived.push(message.id.clone());
                        outcomes.push(Outcome::Confirmed);
                    }
                }
            }
            if let Some(Trouble::CutAfter(_)) = trouble {
                return Err(Fault::Connection("cut".into()));
            }
            Ok(outcomes)
        })
    }
}
