//! Spans, figures and W3C contexts of the feature `otel`, as the semantic conventions for messaging name them.
//!
//! One test: the providers are the process's.

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde::{Deserialize, Serialize};
use stele_bus::headers::{HeaderValue, find, names};
use stele_bus::{Context, Failure, Message, Msg, Retry, SendOptions};
use stele_bus_test::run;

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop:Ordered")]
struct Ordered {
    order: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop:Billed")]
struct Billed {
    order: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

async fn bill(Msg(Ordered { order }): Msg<Ordered>, cx: Context) -> Result<(), Failure> {
    if order == 0 {
        return Err(No.into());
    }
    cx.publish(&Billed { order })?;
    Ok(())
}

async fn archive(_: Msg<Billed>) {}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found: Option<&KeyValue> = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[test]
fn spans_and_figures_have_the_names_of_the_conventions_and_contexts_go_through() {
    let spans = InMemorySpanExporter::default();
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build());
    let figures = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(figures.clone()).with_interval(Duration::from_secs(3600)).build();
    let meters = SdkMeterProvider::builder().with_reader(reader).build();
    global::set_meter_provider(meters.clone());

    run(
        |bus| {
            bus.endpoint("billing", |e| e.handle(bill).retry(Retry::immediate(2)))
                .endpoint("archive", |e| e.handle(archive))
        },
        async |h| {
            // As a foreign service sends it: with a context of its own.
            let mut foreign =
                h.bus().composer().publish(&Ordered { order: 7 }, SendOptions::default()).unwrap();
            let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
            foreign.properties.headers.insert(names::TRACEPARENT.into(), parent.into());
            foreign.properties.headers.insert(names::TRACESTATE.into(), "vendor=1".into());
            h.bus().send_outgoing(foreign).await.unwrap();
            h.quiet().await;
            let billed = h
                .broker()
                .journal()
                .into_iter()
                .find(|message| message.kind.as_ref().is_some_and(|kind| kind.name() == "Billed"));
            let headers = billed.unwrap().properties.headers;
            let text = |name| find(&headers, name).and_then(HeaderValue::as_text).map(str::to_owned);
            assert!(text(names::TRACEPARENT).unwrap().starts_with(&format!("00-{TRACE}-")));
            assert_eq!(text(names::TRACESTATE).as_deref(), Some("vendor=1"));
            h.publish(&Ordered { order: 0 }).await;
        },
    );

    let spans = spans.get_finished_spans().unwrap();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let process = named("process billing");
    let done = process.iter().find(|span| span.span_context.trace_id().to_string() == TRACE).unwrap();
    assert_eq!(done.span_kind, SpanKind::Consumer);
    assert_eq!(done.parent_span_id.to_string(), "00f067aa0ba902b7");
    for (name, value) in [
        ("messaging.system", "memory"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "billing"),
    ] {
        assert_eq!(attribute(done, name).as_deref(), Some(value), "{name}");
    }
    assert!(attribute(done, "messaging.message.id").is_some());
    assert!(attribute(done, "messaging.message.conversation_id").is_some());
    // foreign → process billing → create Shop:Billed → process archive
    let create = named("create Shop:Billed");
    assert_eq!(
        (create[0].span_kind.clone(), create[0].parent_span_id),
        (SpanKind::Producer, done.span_context.span_id())
    );
    let archived = named("process archive");
    assert_eq!(archived[0].parent_span_id, create[0].span_context.span_id());
    assert_eq!(archived[0].span_context.trace_id().to_string(), TRACE);
    let failed = process.iter().find(|span| attribute(span, "error.type").is_some()).unwrap();
    assert!(matches!(failed.status, Status::Error { .. }));
    assert_eq!(attribute(failed, "stele.bus.ending").as_deref(), Some("failed"));

    meters.force_flush().unwrap();
    let found = figures.get_finished_metrics().unwrap();
    let names: BTreeSet<&str> = found
        .iter()
        .flat_map(|resource| resource.scope_metrics())
        .flat_map(|scope| scope.metrics())
        .map(|metric| metric.name())
        .collect();
    let expected = [
        "messaging.client.consumed.messages",
        "messaging.client.operation.duration",
        "messaging.client.sent.messages",
        "messaging.process.duration",
        "stele.bus.retries",
    ];
    assert_eq!(names, BTreeSet::from(expected));
}
