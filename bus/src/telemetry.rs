//! The one place that knows tracing and metrics: W3C context in headers, spans and figures by the messaging conventions.
//!
//! Called by composer and pipeline. Without the feature `otel` it hands the consumed message's context on and nothing else.

use crate::delivery::Delivery;
use crate::headers::{Headers, find, names};

/// Put the current context into the headers of a message that leaves.
pub(crate) fn inject(consumed: Option<&Delivery>, headers: &mut Headers) {
    let Some(delivery) = consumed else { return };
    for name in [names::TRACEPARENT, names::TRACESTATE] {
        if let Some(value) = find(&delivery.properties.headers, name) {
            headers.insert(name.into(), value.clone());
        }
    }
}
