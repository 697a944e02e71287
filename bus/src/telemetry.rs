//! The one place that knows tracing and metrics: W3C context in headers, spans and figures by the messaging conventions.
//!
//! Called by composer and pipeline. Without the feature `otel` it hands the consumed message's context on and nothing else.

#[cfg(feature = "otel")]
mod otel;

use crate::delivery::Delivery;
use crate::failure::Failure;
use crate::headers::{Headers, find, names};
use crate::name::TypeName;
use crate::outgoing::{Destination, Outgoing};
use crate::transport::TransportError;

/// How the handling of a message ended.
pub(crate) enum Ending<'a> {
    Done,
    Released,
    Redelivered(&'a Failure),
    Failed(&'a Failure),
}

/// The handling of one message, from its first attempt to its end.
pub(crate) struct Process {
    #[cfg(feature = "otel")]
    span: otel::Span,
}

impl Process {
    pub(crate) fn start(system: &'static str, delivery: &Delivery, kind: &TypeName) -> Self {
        #[cfg(not(feature = "otel"))]
        let _ = (system, delivery, kind);
        Self {
            #[cfg(feature = "otel")]
            span: otel::Span::start(system, delivery, kind),
        }
    }

    /// The context that messages caused by this one carry, if it differs from the one that came in.
    pub(crate) fn trace(&self) -> Option<String> {
        #[cfg(feature = "otel")]
        return self.span.traceparent();
        #[cfg(not(feature = "otel"))]
        None
    }

    pub(crate) fn end(&self, ending: Ending<'_>, retries: u32) {
        #[cfg(feature = "otel")]
        self.span.end(&ending, retries);
        #[cfg(not(feature = "otel"))]
        match ending {
            Ending::Done | Ending::Released => {}
            Ending::Redelivered(failure) | Ending::Failed(failure) => {
                tracing::trace!(%failure, retries, "ended")
            }
        }
    }
}

/// Put a context into the headers of a message that is composed: what is consumed hands its own on; with `otel` it is that of a producer
/// span between the two.
pub(crate) fn inject(
    system: &'static str,
    to: &Destination,
    consumed: Option<&Delivery>,
    headers: &mut Headers,
) {
    for name in [names::TRACEPARENT, names::TRACESTATE] {
        if let Some(value) = consumed.and_then(|delivery| find(&delivery.properties.headers, name)) {
            headers.insert(name.into(), value.clone());
        }
    }
    if let Some(trace) = consumed.and_then(|delivery| delivery.trace.as_ref()) {
        headers.insert(names::TRACEPARENT.into(), trace.as_str().into());
    }
    #[cfg(not(feature = "otel"))]
    let _ = (system, to);
    #[cfg(feature = "otel")]
    if let Some(trace) = otel::create(system, &to.name(), consumed.is_some(), headers) {
        headers.insert(names::TRACEPARENT.into(), trace.into());
    }
}

/// The sending of some messages.
pub(crate) struct Sending {
    #[cfg(feature = "otel")]
    sending: otel::Sending,
}

impl Sending {
    pub(crate) fn start(system: &'static str, messages: &[Outgoing]) -> Self {
        #[cfg(not(feature = "otel"))]
        let _ = (system, messages);
        Self {
            #[cfg(feature = "otel")]
            sending: otel::Sending::start(system, messages),
        }
    }

    pub(crate) fn end(self, answers: &[Result<(), TransportError>]) {
        #[cfg(not(feature = "otel"))]
        let _ = answers;
        #[cfg(feature = "otel")]
        self.sending.end(answers);
    }
}
