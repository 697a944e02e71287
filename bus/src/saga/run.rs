//! One event of a saga inside a unit of work: load, step, save, say.

use uuid::Uuid;

use super::effects::{Body, COMPENSATIONS_MAX, Effects, Note, To};
use super::{Event, Next, OnMissing, Saga};
use crate::compose::{EncodeError, SendOptions};
use crate::context::Context;
use crate::delivery::Delivery;
use crate::failure::Failure;
use crate::handler::{Erased, read};
use crate::message::Message;
use crate::outgoing::Destination;
use crate::pipeline::RedeliverLater;
use crate::store::{SagaChange, SagaRow, UnitOfWork};
use crate::transport::BoxFuture;

/// The header that a timeout brings back.
const TIMEOUT: &str = "Stele-Saga-Timeout";

/// An event with what to do when its instance is not there.
pub(super) struct Runs<S, M> {
    pub(super) event: Event<S, M>,
    pub(super) missing: OnMissing,
}

impl<S: Saga, M: Message> Erased for Runs<S, M> {
    fn consume(&self, cx: Context) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let Some(mut work) = cx.take_work() else {
                return Err(Failure::new("stele_bus::WorkKept", "a layer took the unit of work"));
            };
            let outcome = self.run(&cx, &mut *work).await;
            cx.put_work(work);
            outcome
        })
    }

    /// Events of one instance keep their order.
    fn key(&self, delivery: &Delivery) -> Option<String> {
        read::<M>(delivery).ok().map(|message| (self.event.correlate)(&message))
    }
}

impl<S: Saga, M: Message> Runs<S, M> {
    async fn run(&self, cx: &Context, work: &mut dyn UnitOfWork) -> Result<(), Failure> {
        let message = read::<M>(cx.delivery())?;
        let instance = (self.event.correlate)(&message);
        let Some(rows) = work.sagas() else {
            return Err(Failure::last("stele_bus::Store", "the store keeps no sagas"));
        };
        let row = rows.load(S::NAME, &instance).await?;
        let (version, before) = match row {
            Some(row) => {
                let (version, body) = unpack::<S>(row)?;
                (Some(version), Some(body))
            }
            None => (None, None),
        };
        let urn = M::name().urn();
        let token = cx.delivery().header(TIMEOUT).and_then(|token| token.as_str()).map(str::to_owned);
        if let Some(token) = &token {
            let awaited = before.as_ref().and_then(|body| body.timeouts.get(&urn));
            if awaited.is_none_or(|awaited| awaited.to_string() != *token) {
                return Ok(()); // cancelled, replaced, or its instance is over
            }
        }
        let mut effects = Effects::default();
        let (next, mut body) = match (before, &self.event.start, &self.event.step) {
            (Some(body), _, Some(step)) => (step(body.state.clone(), &message, &mut effects), Some(body)),
            (Some(_), _, None) => return Ok(()), // a copy of what started it
            (None, Some(start), _) => (start(&message, &mut effects), None),
            (None, None, _) => return self.missing(&instance),
        };
        if let Some(why) = effects.broken.take() {
            return Err(Failure::last("stele_bus::Encode", why));
        }
        let mut notes = effects.notes;
        if let (true, Some(body)) = (effects.compensate, &mut body) {
            notes.extend(std::mem::take(&mut body.compensations).into_iter().rev());
        }
        let state = match next {
            Next::Ignore => return Ok(()),
            Next::Done => None,
            Next::Stay(state) => Some(state),
        };
        let (mut compensations, mut timeouts) =
            body.map(|body| (body.compensations, body.timeouts)).unwrap_or_default();
        if token.is_some() {
            timeouts.remove(&urn);
        }
        timeouts.retain(|urn, _| !effects.cancelled.contains(urn));
        compensations.extend(effects.compensations);
        if compensations.len() > COMPENSATIONS_MAX {
            return Err(Failure::last(
                "stele_bus::Saga",
                format!("more than {COMPENSATIONS_MAX} compensations"),
            ));
        }
        for note in notes {
            if let Some(token) = say(cx, &note)? {
                timeouts.insert(note.kind.urn(), token);
            }
        }
        let body =
            state.map(|state| serde_json::to_value(Body { state, compensations, timeouts })).transpose()?;
        let change = match (version, body) {
            (None, None) => return Ok(()),
            (None, Some(body)) => SagaChange::Insert(body),
            (Some(version), Some(body)) => SagaChange::Update { version, body },
            (Some(version), None) => SagaChange::Delete { version },
        };
        rows.save(S::NAME, &instance, change).await?;
        Ok(())
    }

    fn missing(&self, instance: &str) -> Result<(), Failure> {
        let why = format!("saga {} has no instance {instance}", S::NAME);
        match &self.missing {
            OnMissing::Ignore => Ok(()),
            OnMissing::Fault => Err(Failure::new("stele_bus::MissingInstance", why)),
            OnMissing::Redeliver(waits) => Err(RedeliverLater { why, waits: waits.clone() }.into()),
        }
    }
}

fn unpack<S: Saga>(row: SagaRow) -> Result<(u64, Body<S>), Failure> {
    let body = serde_json::from_value(row.body).map_err(|error| {
        Failure::last("stele_bus::Saga", format!("row of saga {} is unreadable: {error}", S::NAME))
    })?;
    Ok((row.version, body))
}

/// Leave a note with the attempt; a timeout gets a token.
fn say(cx: &Context, note: &Note) -> Result<Option<Uuid>, EncodeError> {
    let delivery = cx.delivery();
    let mut options = SendOptions { correlation_id: note.correlation_id, ..SendOptions::default() };
    let mut token = None;
    let destination = match &note.to {
        To::All => {
            let supertypes =
                note.types.iter().skip(1).filter_map(|urn| crate::TypeName::parse(urn).ok()).collect();
            Destination::Type { name: note.kind.clone(), supertypes }
        }
        To::One(to) => Destination::parse(to),
        To::Asker => {
            let Some(address) = delivery.envelope.response_address.clone() else { return Ok(None) };
            options.request_id = delivery.envelope.request_id;
            Destination::Address { address, reply_to: delivery.properties.reply_to.clone() }
        }
        To::Self_ => {
            let new = cx.new_id();
            options.headers.insert(TIMEOUT.into(), new.to_string().into());
            options.not_before = note.wait.map(|wait| cx.now().after(wait));
            token = Some(new);
            Destination::Queue(delivery.endpoint.clone())
        }
    };
    let outgoing = cx.composer().compose_parts(
        destination,
        &note.body,
        note.kind.clone(),
        &note.types,
        note.key.clone(),
        None,
        options,
        Some(delivery),
    )?;
    cx.push_outgoing(outgoing);
    Ok(token)
}
