//! The relay's way out over the bus's own transport, whatever broker that speaks to: in memory, AMQP, NATS.
//!
//! Given to [`stele_bus_relay::relay::start`] together with an outbox. Rows that the bus did not write are not for this target.

use crate::row;
use std::sync::Arc;
use stele_bus::Outgoing;
use stele_bus::transport::{Transport, TransportError};
use stele_bus_relay::{Fault, Message, Outcome, Publisher, Refusal, Target};

/// Publishes over a transport that is shared with the bus.
#[derive(Clone)]
pub struct OverTransport(pub Arc<dyn Transport>);

impl Target for OverTransport {
    type Publisher = Self;

    async fn open(&self) -> Result<Self, Fault> {
        Ok(self.clone())
    }
}

impl Publisher for OverTransport {
    async fn admit(&mut self, message: &Message) -> Result<Outcome, Fault> {
        Ok(match row::outgoing(message.properties.bus.as_ref(), &[]) {
            Some(_) => Outcome::Confirmed,
            None => Outcome::Refused(Refusal::lasting("the row was not written by the bus")),
        })
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        let outgoing: Vec<Outgoing> = batch
            .iter()
            .map(|message| {
                row::outgoing(message.properties.bus.as_ref(), &message.payload).expect("admitted")
            })
            .collect();
        let answers = self.0.send(outgoing).await;
        assert_eq!(answers.len(), batch.len(), "a transport answers each message");
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok(()) => Ok(Outcome::Confirmed),
                // What was behind it may have arrived or not; everything unconfirmed is sent again, in order.
                Err(TransportError::Unavailable(reason)) => Err(Fault::Connection(reason)),
                Err(error) => Ok(Outcome::Refused(Refusal::lasting(error.to_string()))),
            })
            .collect()
    }
}
