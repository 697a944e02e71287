//! What happens to one delivery, from its bytes to its settlement, in the order that [`crate::policy`] states.
//!
//! Called by the runner with each message, and by nobody else. What must hold: a delivery is accepted only when its effect is committed
//! and what it published is safe, or when it has been moved to another queue, and that is safe; in doubt it is released and comes
//! again. Not here: how many run at once (runner).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::compose::{Composer, SendOptions};
use crate::context::{Context, States};
use crate::delivery::Delivery;
use crate::dispatch::Attempt;
use crate::endpoint::{Endpoint, Route};
use crate::envelope::{Envelope, Host};
use crate::failure::Failure;
use crate::fault::{ExceptionInfo, ReceiveFault, fault_of};
use crate::headers::{Headers, Properties, names};
use crate::mishap::{Crashed, Mishaps, Point};
use crate::name::TypeName;
use crate::outgoing::{Destination, Outgoing};
use crate::policy::breaker::CircuitOpen;
use crate::store::{Begun, CommitError, InboxKey, Store};
use crate::telemetry::{Ending, Process, Sending};
use crate::time::Timestamp;
use crate::transport::{Incoming, Settle, Transport, TransportError, Verdict};

/// A saga's row changed under it: so often it is loaded and run again before the retry policy is asked.
const CONFLICTS_MAX: u32 = 8;
/// A text in a header at most, in bytes: AMQP peers limit the size of all headers to a frame.
const HEADER_TEXT_MAX: usize = 4096;

/// What all endpoints of a bus share.
pub(crate) struct Core {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) composer: Composer,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) states: Arc<States>,
    pub(crate) mishaps: Option<Arc<dyn Mishaps>>,
}

/// A delivery that asks for another try later, through the broker, instead of the endpoint's redelivery policy.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct RedeliverLater {
    /// Why.
    pub why: String,
    /// Waits, the first one before the first redelivery; when they are used up the message fails.
    pub waits: Vec<Duration>,
}

/// A message that can be handled.
pub(crate) struct Ready {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) route: Arc<Route>,
    settle: Settle,
}

/// Read a message and find who takes it; `None` if it was dealt with here (unreadable, unknown).
pub(crate) async fn receive(core: &Core, endpoint: &Endpoint, incoming: Incoming) -> Option<Ready> {
    let Incoming { properties, body, redelivered, settle, .. } = incoming;
    let decoded = crate::wire::decode(&properties, &body);
    let (envelope, unreadable) = match decoded {
        Ok(envelope) => (envelope, None),
        Err(error) => (Envelope::default(), Some(error)),
    };
    let delivery = Arc::new(Delivery {
        endpoint: endpoint.name.clone(),
        input_address: endpoint.address.clone(),
        envelope,
        properties,
        body,
        redelivered,
        trace: None,
    });
    if let Some(error) = unreadable {
        tracing::warn!(endpoint = endpoint.name, %error, "moved to the error queue: unreadable");
        let failure = Failure::last("stele_bus::Unreadable", error.to_string());
        let fault = receive_fault(core, &delivery, &failure);
        let moved = to_error(core, endpoint, &delivery, None, &failure, 0);
        conclude(core, settle, fault.into_iter().chain([moved]).collect()).await;
        return None;
    }
    match endpoint.route(&delivery.envelope.message_type) {
        Some(route) => Some(Ready { route: route.clone(), delivery, settle }),
        None => {
            tracing::warn!(endpoint = endpoint.name, offered = ?delivery.envelope.message_type, "moved to the skipped queue: no consumer");
            let moved = to_skipped(core, endpoint, &delivery);
            conclude(core, settle, vec![moved]).await;
            None
        }
    }
}

/// Handle a message to its end. `stopping` resolves when the bus wants to stop: then a wait for a retry is cut short.
pub(crate) async fn handle(
    core: &Core,
    endpoint: &Endpoint,
    ready: Ready,
    stopping: impl Future<Output = ()>,
) {
    let Ready { mut delivery, route, settle } = ready;
    let _turn = match (&endpoint.turns, delivery.message_id()) {
        (Some(turns), Some(id)) => Some(turns.take(id).await),
        _ => None,
    };
    let process = Process::start(core.transport.system(), &delivery, &route.kind);
    if let Some(trace) = process.trace() {
        Arc::make_mut(&mut delivery).trace = Some(trace);
    }
    let mut stopping = std::pin::pin!(stopping);
    let mut retries = 0;
    let failure = loop {
        if let Some(rate) = endpoint.rate.as_ref().filter(|_| retries == 0) {
            rate.turn().await;
        }
        let attempt = Attempt { delivery: delivery.clone(), number: retries, route: route.clone() };
        let Err(failure) = guarded(endpoint, attempt).await else {
            endpoint.switch.iter().for_each(|switch| switch.record(true));
            process.end(Ending::Done, retries);
            settle_or_log(settle, Verdict::Accept).await;
            return;
        };
        if failure.downcast_ref::<Crashed>().is_some() {
            settle_or_log(settle, Verdict::Release).await;
            return;
        }
        let Some(wait) = endpoint.retry.wait(retries, &failure, core.chance()) else { break failure };
        tracing::debug!(endpoint = endpoint.name, kind = %route.kind, retries, %failure, "attempt failed, trying again");
        if !wait.is_zero() {
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                () = &mut stopping => {
                    process.end(Ending::Released, retries);
                    settle_or_log(settle, Verdict::Release).await;
                    return;
                }
            }
        }
        retries += 1;
    };
    let redeliver =
        failure.downcast_ref::<RedeliverLater>().map_or(&endpoint.redeliver, |later| &later.waits);
    let later = redeliver.get(delivery.redelivery_count() as usize);
    let allowed = endpoint.retry.allows(&failure) || failure.downcast_ref::<RedeliverLater>().is_some();
    if let Some(wait) = later.filter(|_| allowed) {
        tracing::info!(endpoint = endpoint.name, kind = %route.kind, %failure, ?wait, "failed, will be redelivered");
        process.end(Ending::Redelivered(&failure), retries);
        let again = redelivery(core, endpoint, &delivery, *wait);
        conclude(core, settle, vec![again]).await;
        return;
    }
    tracing::error!(endpoint = endpoint.name, kind = %route.kind, %failure, retries, "moved to the error queue");
    endpoint.switch.iter().for_each(|switch| switch.record(false));
    process.end(Ending::Failed(&failure), retries);
    let fault = fault(core, &delivery, &route, &failure);
    let moved = to_error(core, endpoint, &delivery, Some(&route), &failure, retries);
    conclude(core, settle, fault.into_iter().chain([moved]).collect()).await;
}

/// One attempt behind the circuit breaker.
async fn guarded(endpoint: &Endpoint, attempt: Attempt) -> Result<(), Failure> {
    let Some(breaker) = &endpoint.breaker else { return endpoint.dispatch.attempt(attempt).await };
    breaker.enter().map_err(|open: CircuitOpen| Failure::from(open))?;
    let outcome = endpoint.dispatch.attempt(attempt).await;
    if breaker.leave(outcome.is_ok()) {
        tracing::warn!(endpoint = endpoint.name, "circuit breaker opened");
    }
    outcome
}

/// The innermost service: a unit of work around the consumer. A conflict is loaded and run again here.
pub(crate) async fn attempt(core: &Core, inbox: bool, attempt: Attempt) -> Result<(), Failure> {
    for _ in 0..CONFLICTS_MAX {
        match once(core, inbox, &attempt).await {
            Err(failure) if matches!(failure.downcast_ref(), Some(CommitError::Conflict)) => {}
            outcome => return outcome,
        }
    }
    Err(CommitError::Conflict.into())
}

async fn once(core: &Core, inbox: bool, attempt: &Attempt) -> Result<(), Failure> {
    let Attempt { delivery, number, route } = attempt;
    let key = || Some(InboxKey { consumer: delivery.endpoint.clone(), message_id: delivery.message_id()? });
    let key = inbox.then(key).flatten();
    core.mishap(Point::BeforeWork).await?;
    let work = match core.store.begin(key.clone()).await? {
        Begun::Fresh(work) => work,
        Begun::Done { unsent } => {
            tracing::debug!(endpoint = delivery.endpoint, kind = %route.kind, "a copy of a message that had its effect");
            return deliver(core, key.as_ref(), unsent).await;
        }
    };
    let cx = Context::new(delivery.clone(), core.composer.clone(), core.states.clone(), *number, work);
    let outcome = Caught(route.run.consume(cx.clone())).await;
    let Some(work) = cx.take_work() else {
        let kept = || Failure::new("stele_bus::WorkKept", "the unit of work was not given back");
        return outcome.and_then(|()| Err(kept()));
    };
    if outcome.is_err() {
        work.rollback().await;
        return outcome;
    }
    core.mishap(Point::BeforeCommit).await?;
    let committed = work.commit(cx.take_outgoing()).await?;
    core.mishap(Point::AfterCommit).await?;
    deliver(core, key.as_ref(), committed.to_send).await?;
    core.mishap(Point::BeforeAccept).await
}

/// Send what an attempt published, and remember that it was sent.
async fn deliver(core: &Core, key: Option<&InboxKey>, messages: Vec<Outgoing>) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    send_all(core, messages).await?;
    if let Some(key) = key {
        core.store.sent(key).await?;
    }
    Ok(())
}

async fn send_all(core: &Core, messages: Vec<Outgoing>) -> Result<(), TransportError> {
    let is_answer: Vec<bool> =
        messages.iter().map(|message| matches!(message.destination, Destination::Address { .. })).collect();
    for (answer, is_answer) in core.send(messages).await.into_iter().zip(is_answer) {
        match answer {
            // Who asked is gone: its temporary address with it. Nobody can do anything about that.
            Err(TransportError::Refused(why)) if is_answer => {
                tracing::warn!(why, "an answer could not be delivered")
            }
            other => other?,
        }
    }
    Ok(())
}

/// Send what takes the delivery's place, then accept it; if that fails, release it.
async fn conclude(core: &Core, settle: Settle, messages: Vec<Outgoing>) {
    let verdict = match send_all(core, messages).await {
        Ok(()) => Verdict::Accept,
        Err(error) => {
            tracing::warn!(%error, "could not move a message, it comes again");
            Verdict::Release
        }
    };
    settle_or_log(settle, verdict).await;
}

async fn settle_or_log(settle: Settle, verdict: Verdict) {
    if let Err(error) = settle.settle(verdict).await {
        tracing::debug!(%error, ?verdict, "could not settle: the delivery comes again on another connection");
    }
}

impl Core {
    /// Send over the transport, counted.
    pub(crate) async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), TransportError>> {
        let sending = Sending::start(self.transport.system(), &messages);
        let answers = self.transport.send(messages).await;
        sending.end(&answers);
        answers
    }

    async fn mishap(&self, point: Point) -> Result<(), Failure> {
        match &self.mishaps {
            None => Ok(()),
            Some(mishaps) => {
                for _ in 0..mishaps.pauses() {
                    tokio::task::yield_now().await;
                }
                if mishaps.crashes(point) { Err(Crashed.into()) } else { Ok(()) }
            }
        }
    }

    /// Any number, for jitter.
    fn chance(&self) -> u64 {
        let (_, low) = self.composer.new_id().as_u64_pair();
        low << 2 // the two highest bits of a UUID's second half are its variant
    }
}

/// The message once more, later; same bytes, same id.
fn redelivery(core: &Core, endpoint: &Endpoint, delivery: &Delivery, wait: Duration) -> Outgoing {
    let mut properties = delivery.properties.clone();
    let count = i64::from(delivery.redelivery_count()) + 1;
    properties.headers.insert(names::REDELIVERY_COUNT.into(), count.into());
    moved(delivery, endpoint.name.clone(), properties, Some(core.composer.now().after(wait)))
}

fn moved(
    delivery: &Delivery,
    queue: String,
    properties: Properties,
    not_before: Option<Timestamp>,
) -> Outgoing {
    Outgoing {
        id: delivery.message_id().unwrap_or_default(),
        destination: Destination::Queue(queue),
        kind: None,
        key: None,
        not_before,
        token: None,
        properties,
        body: delivery.body.clone(),
    }
}

fn to_skipped(core: &Core, endpoint: &Endpoint, delivery: &Delivery) -> Outgoing {
    let mut properties = Properties { expiration_ms: None, ..delivery.properties.clone() };
    let handled = endpoint.routes.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    put(&mut properties.headers, names::REASON, "dead-letter");
    put(&mut properties.headers, names::SKIPPED_OFFERED, &delivery.envelope.message_type.join(" "));
    put(&mut properties.headers, names::SKIPPED_HANDLED, &handled);
    put_host(&mut properties.headers, core.composer.host());
    moved(delivery, format!("{}_skipped", endpoint.name), properties, None)
}

fn to_error(
    core: &Core,
    endpoint: &Endpoint,
    delivery: &Delivery,
    route: Option<&Route>,
    failure: &Failure,
    retries: u32,
) -> Outgoing {
    let mut properties = Properties { expiration_ms: None, ..delivery.properties.clone() };
    let headers = &mut properties.headers;
    put(headers, names::REASON, "fault");
    put(headers, names::FAULT_EXCEPTION_TYPE, failure.kind());
    put(headers, names::FAULT_MESSAGE, &failure.to_string());
    put(headers, names::FAULT_STACK_TRACE, &failure.causes().join("\n"));
    put(headers, names::FAULT_TIMESTAMP, &core.composer.now().to_string());
    put(headers, names::FAULT_INPUT_ADDRESS, &endpoint.address);
    if let Some(route) = route {
        put(headers, names::FAULT_CONSUMER_TYPE, route.consumer);
        put(headers, names::FAULT_MESSAGE_TYPE, &route.kind.to_string().replacen(':', ".", 1));
    }
    if retries > 0 {
        headers.insert(names::FAULT_RETRY_COUNT.into(), i64::from(retries).into());
    }
    let redelivered = delivery.redelivery_count();
    if redelivered > 0 {
        headers.insert(names::FAULT_REDELIVERY_COUNT.into(), i64::from(redelivered).into());
    }
    put_host(headers, core.composer.host());
    moved(delivery, format!("{}_error", endpoint.name), properties, None)
}

fn put(headers: &mut Headers, name: &str, text: &str) {
    let end = text.floor_char_boundary(HEADER_TEXT_MAX);
    headers.insert(name.into(), text[..end].into());
}

fn put_host(headers: &mut Headers, host: &Host) {
    let id = host.process_id.to_string();
    for (name, value) in [
        ("MT-Host-MachineName", host.machine_name.as_deref()),
        ("MT-Host-ProcessName", host.process_name.as_deref()),
        ("MT-Host-ProcessId", Some(id.as_str())),
        ("MT-Host-Assembly", host.assembly.as_deref()),
        ("MT-Host-AssemblyVersion", host.assembly_version.as_deref()),
        ("MT-Host-FrameworkVersion", host.framework_version.as_deref()),
        ("MT-Host-MassTransitVersion", host.mass_transit_version.as_deref()),
        ("MT-Host-OperatingSystemVersion", host.operating_system_version.as_deref()),
    ] {
        put(headers, name, value.unwrap_or_default());
    }
}

/// `Fault<T>` around a payload that stays JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultDraft<'a> {
    fault_id: Uuid,
    faulted_message_id: Option<Uuid>,
    timestamp: Timestamp,
    exceptions: [ExceptionInfo; 1],
    host: &'a Host,
    fault_message_types: &'a [String],
    message: &'a RawValue,
}

/// The one fault of a message that is given up: to the fault address, else the response address, else published. Its id follows from
/// the message's, so that a copy made after a crash is a copy.
fn fault(core: &Core, delivery: &Delivery, route: &Route, failure: &Failure) -> Option<Outgoing> {
    let envelope = &delivery.envelope;
    let host = core.composer.host();
    let fault_id = fault_id(core, delivery);
    let draft = FaultDraft {
        fault_id,
        faulted_message_id: delivery.message_id(),
        timestamp: core.composer.now(),
        exceptions: [ExceptionInfo::of(failure, host.process_name.as_deref())],
        host,
        fault_message_types: &envelope.message_type,
        message: &envelope.message.0,
    };
    let kind = fault_of(route.kind.clone());
    let supertypes: Vec<TypeName> = route
        .supertypes
        .iter()
        .cloned()
        .map(fault_of)
        .chain([TypeName::new("MassTransit", "Fault")])
        .collect();
    let types: Vec<String> = std::iter::once(&kind).chain(&supertypes).map(TypeName::urn).collect();
    let asked = envelope.fault_address.as_ref().or(envelope.response_address.as_ref());
    let destination = match asked {
        Some(address) => {
            Destination::Address { address: address.clone(), reply_to: delivery.properties.reply_to.clone() }
        }
        None => Destination::Type { name: kind.clone(), supertypes },
    };
    let options = SendOptions {
        message_id: Some(fault_id),
        correlation_id: envelope.correlation_id,
        request_id: envelope.request_id,
        ..SendOptions::default()
    };
    let fault =
        core.composer.compose_parts(destination, &draft, kind, &types, None, None, options, Some(delivery));
    fault.map_err(|error| tracing::error!(%error, "could not write a fault")).ok()
}

/// The same for a body that nobody could read; it has no addresses, so it is published.
fn receive_fault(core: &Core, delivery: &Delivery, failure: &Failure) -> Option<Outgoing> {
    let fault_id = fault_id(core, delivery);
    let fault = ReceiveFault {
        fault_id,
        faulted_message_id: delivery.message_id(),
        timestamp: Some(core.composer.now()),
        exceptions: vec![ExceptionInfo::of(failure, None)],
        host: Some(core.composer.host().clone()),
        fault_message_types: Vec::new(),
        content_type: delivery.properties.content_type.clone(),
    };
    let options = SendOptions { message_id: Some(fault_id), ..SendOptions::default() };
    core.composer
        .publish(&fault, options)
        .map_err(|error| tracing::error!(%error, "could not write a fault"))
        .ok()
}

fn fault_id(core: &Core, delivery: &Delivery) -> Uuid {
    match delivery.message_id() {
        Some(id) => Uuid::new_v5(&id, delivery.endpoint.as_bytes()),
        None => core.composer.new_id(),
    }
}

/// A consumer's future whose panic is a failure.
struct Caught<F>(F);

impl<F: Future<Output = Result<(), Failure>> + Unpin> Future for Caught<F> {
    type Output = Result<(), Failure>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let future = std::panic::AssertUnwindSafe(|| std::pin::Pin::new(&mut self.0).poll(cx));
        std::panic::catch_unwind(future).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text =
                text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into());
            std::task::Poll::Ready(Err(Failure::new("panic", text)))
        })
    }
}
