//! The one place that knows tracing and metrics: W3C context in headers, spans and figures by the messaging conventions.
//!
//! Called by composer and pipeline. Without the feature `otel` it hands the consumed message's context on and nothing else.

#[cfg(feature = "otel")]
mod otel;

use crate::delivery::Delivery;
use crate::failure::Failure;
use crate::headers::{Headers, find, names};
use crate::name::TypeName;

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

/// Put the current context into the headers of a message that leaves.
pub(crate) fn inject(consumed: Option<&Delivery>, headers: &mut Headers) {
    let Some(delivery) = consumed else {
        #[cfg(feature = "otel")]
        if let Some(trace) = otel::current() {
            headers.insert(names::TRACEPARENT.into(), trace.into());
        }
        return;
    };
    for name in [names::TRACEPARENT, names::TRACESTATE] {
        if let Some(value) = find(&delivery.properties.headers, name) {
            headers.insert(name.into(), value.clone());
        }
    }
    if let Some(trace) = &delivery.trace {
        headers.insert(names::TRACEPARENT.into(), trace.as_str().into());
    }
}
