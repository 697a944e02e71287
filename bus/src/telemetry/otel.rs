//! OpenTelemetry: a producer and a consumer span and figures for each message, by the semantic conventions for messaging.
//!
//! Only the API is used: what becomes of spans and figures is decided by the provider that the application installs. W3C contexts are
//! read and written here, so no propagator needs to be installed.

use std::sync::{Mutex, OnceLock, PoisonError};

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, KeyValue, global};
use tokio::time::Instant;

use super::Ending;
use crate::delivery::Delivery;
use crate::headers::{Headers, find, names};
use crate::name::TypeName;
use crate::outgoing::Outgoing;
use crate::transport::TransportError;

const SCOPE: &str = "stele-bus";

/// The span of a message in hand.
pub(super) struct Span {
    span: Mutex<global::BoxedSpan>,
    begun: Instant,
    attributes: Vec<KeyValue>,
}

struct Figures {
    sent: Counter<u64>,
    operation: Histogram<f64>,
    consumed: Counter<u64>,
    duration: Histogram<f64>,
    retries: Counter<u64>,
}

fn figures() -> &'static Figures {
    static FIGURES: OnceLock<Figures> = OnceLock::new();
    FIGURES.get_or_init(|| {
        let meter = global::meter(SCOPE);
        Figures {
            sent: meter.u64_counter("messaging.client.sent.messages").with_unit("{message}").build(),
            operation: meter.f64_histogram("messaging.client.operation.duration").with_unit("s").build(),
            consumed: meter.u64_counter("messaging.client.consumed.messages").with_unit("{message}").build(),
            duration: meter.f64_histogram("messaging.process.duration").with_unit("s").build(),
            retries: meter.u64_counter("stele.bus.retries").with_unit("{retry}").build(),
        }
    })
}

impl Span {
    pub(super) fn start(system: &'static str, delivery: &Delivery, kind: &TypeName) -> Self {
        let attributes = vec![
            KeyValue::new("messaging.system", system),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", delivery.endpoint.clone()),
        ];
        let id = delivery.message_id().map(|id| KeyValue::new("messaging.message.id", id.to_string()));
        let conversation = delivery.envelope.conversation_id;
        let conversation =
            conversation.map(|id| KeyValue::new("messaging.message.conversation_id", id.to_string()));
        let own = [KeyValue::new("messaging.masstransit.message_type", kind.to_string())];
        let tracer = global::tracer(SCOPE);
        let builder = tracer
            .span_builder(format!("process {}", delivery.endpoint))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes.iter().cloned().chain(own).chain(id).chain(conversation));
        let text = |name| find(&delivery.properties.headers, name).and_then(|value| value.as_text());
        let parent = remote(text(names::TRACEPARENT), text(names::TRACESTATE));
        let span = tracer.build_with_context(builder, &parent);
        Self { span: Mutex::new(span), begun: Instant::now(), attributes }
    }

    pub(super) fn traceparent(&self) -> Option<String> {
        write(self.span.lock().unwrap_or_else(PoisonError::into_inner).span_context())
    }

    pub(super) fn end(&self, ending: &Ending<'_>, retries: u32) {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        let (word, failure) = match ending {
            Ending::Done => ("done", None),
            Ending::Released => ("released", None),
            Ending::Redelivered(failure) => ("redelivered", Some(failure)),
            Ending::Failed(failure) => ("failed", Some(failure)),
        };
        span.set_attribute(KeyValue::new("stele.bus.ending", word));
        let mut attributes = self.attributes.clone();
        if let Some(failure) = failure {
            attributes.push(KeyValue::new("error.type", failure.kind()));
            span.set_attribute(KeyValue::new("error.type", failure.kind()));
            span.set_status(Status::error(failure.to_string()));
        }
        span.end();
        let figures = figures();
        figures.consumed.add(1, &attributes);
        figures.duration.record(self.begun.elapsed().as_secs_f64(), &attributes);
        if retries > 0 {
            figures.retries.add(u64::from(retries), &attributes);
        }
    }
}

/// A producer span for a message that is composed, and its context. Its parent stands in the headers where something is consumed, and is
/// otherwise what the caller's own code has made current.
pub(super) fn create(system: &'static str, to: &str, is_caused: bool, headers: &Headers) -> Option<String> {
    let text = |name| find(headers, name).and_then(|value| value.as_text());
    let parent = match is_caused {
        true => remote(text(names::TRACEPARENT), text(names::TRACESTATE)),
        false => Context::current(),
    };
    let tracer = global::tracer(SCOPE);
    let builder =
        tracer.span_builder(format!("create {to}")).with_kind(SpanKind::Producer).with_attributes([
            KeyValue::new("messaging.system", system),
            KeyValue::new("messaging.operation.name", "create"),
            KeyValue::new("messaging.operation.type", "create"),
            KeyValue::new("messaging.destination.name", to.to_owned()),
        ]);
    let mut span = tracer.build_with_context(builder, &parent);
    span.end();
    write(span.span_context()).or_else(|| write(parent.span().span_context()))
}

fn remote(parent: Option<&str>, state: Option<&str>) -> Context {
    match parent.and_then(|parent| read(parent, state)) {
        Some(parent) => Context::new().with_remote_span_context(parent),
        None => Context::new(),
    }
}

/// The sending of some messages.
pub(super) struct Sending {
    system: &'static str,
    destinations: Vec<String>,
    begun: Instant,
}

impl Sending {
    pub(super) fn start(system: &'static str, messages: &[Outgoing]) -> Self {
        let destinations = messages.iter().map(|message| message.destination.name()).collect();
        Self { system, destinations, begun: Instant::now() }
    }

    pub(super) fn end(self, answers: &[Result<(), TransportError>]) {
        let (figures, seconds) = (figures(), self.begun.elapsed().as_secs_f64());
        for (destination, answer) in self.destinations.into_iter().zip(answers) {
            let mut attributes = vec![
                KeyValue::new("messaging.system", self.system),
                KeyValue::new("messaging.operation.name", "send"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.destination.name", destination),
            ];
            if let Err(error) = answer {
                let kind = match error {
                    TransportError::Unavailable(_) => "unavailable",
                    TransportError::Refused(_) => "refused",
                    TransportError::Unsupported(_) => "unsupported",
                };
                attributes.push(KeyValue::new("error.type", kind));
            }
            figures.sent.add(1, &attributes);
            figures.operation.record(seconds, &attributes);
        }
    }
}

/// `00-<trace>-<span>-<flags>`.
fn write(span: &SpanContext) -> Option<String> {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), flags))
}

fn read(parent: &str, state: Option<&str>) -> Option<SpanContext> {
    let mut parts = parent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let state = state.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_w3c_context_reads_back_as_it_was_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(write(&read(text, Some("vendor=1")).unwrap()).unwrap(), text);
        for broken in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-0-0-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert!(read(broken, None).is_none(), "{broken}");
        }
    }
}
