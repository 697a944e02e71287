//! Prometheus metrics: a snapshot of the node's counters and of the process, encoded when it is asked for. Nothing is counted here,
//! so nothing is paid on the paths that count.
//!
//! Names are `stele_<subsystem>_<unit>_total`, in seconds and bytes. Not here: detail per queue, whose number has no bound.

use crate::inspect::{Counters, Gate, Inspect};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::fs;
use std::sync::Arc;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is scraped at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// The node's counters.
    pub counters: Counters,
    /// Number of queues.
    pub queues: u64,
    /// Ready records of all queues.
    pub ready: u64,
    /// Bytes of these.
    pub ready_bytes: u64,
    /// Unsettled deliveries of all queues.
    pub unsettled: u64,
    /// Records that died in a queue, ever.
    pub dead_lettered: u64,
    /// Memory the process has in use, bytes.
    pub resident_bytes: u64,
    /// Files and sockets the process holds open.
    pub files_open: u64,
    /// The wall clock has jumped: nothing goes by age.
    pub clock_jumped: bool,
    /// There was a node to ask.
    pub up: bool,
}

impl Snapshot {
    /// Asks the node and the operating system.
    #[must_use]
    pub fn take(node: Option<&dyn Inspect>) -> Self {
        let mut snapshot =
            Self { resident_bytes: resident_bytes(), files_open: files_open(), ..Self::default() };
        let Some(node) = node else { return snapshot };
        snapshot.up = true;
        snapshot.counters = node.counters();
        snapshot.clock_jumped = node.clock_away_s().is_some();
        for queue in node.queues() {
            snapshot.queues += 1;
            snapshot.ready += queue.ready;
            snapshot.ready_bytes += queue.ready_bytes;
            snapshot.unsettled += queue.unsettled;
            snapshot.dead_lettered += queue.dead_lettered;
        }
        snapshot
    }

    /// The text of a scrape.
    #[must_use]
    pub fn encode(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes any text");
        text
    }
}

/// A counter or a gauge: name (without `_total`), help, value.
type Row<T> = (&'static str, &'static str, fn(&Snapshot) -> T);

const COUNTERS: &[Row<u64>] = &[
    ("stele_io_reads", "Reads of client sockets that brought something", |s| s.counters.io_reads),
    ("stele_io_read_bytes", "Bytes read from clients", |s| s.counters.io_read_bytes),
    ("stele_io_writes", "Writes to client sockets", |s| s.counters.io_writes),
    ("stele_io_written_bytes", "Bytes written to clients", |s| s.counters.io_written_bytes),
    ("stele_io_messages_in", "Messages published by clients", |s| s.counters.messages_in),
    ("stele_io_messages_out", "Messages sent to clients", |s| s.counters.messages_out),
    ("stele_publish_unrouted", "Published messages that no rule took", |s| s.counters.messages_unrouted),
    ("stele_publish_confirmed", "Publishes told to be safe", |s| s.counters.publishes_confirmed),
    ("stele_publish_refused", "Publishes told to be refused", |s| s.counters.publishes_refused),
    ("stele_amqp_confirm_frames", "Frames that told so; one may stand for many", |s| {
        s.counters.confirm_frames
    }),
    ("stele_log_commits", "Durable writes of the logs", |s| s.counters.log_commits),
    ("stele_log_commit_bytes", "Bytes they wrote", |s| s.counters.log_commit_bytes),
    ("stele_connections_accepted", "Connections accepted", |s| s.counters.connections_accepted),
    ("stele_connections_refused", "Connections turned away", |s| s.counters.connections_refused),
    ("stele_connections_cut", "Connections cut because they did not take what they listen to", |s| {
        s.counters.connections_cut
    }),
    ("stele_queue_dead_letters", "Records that died in the queues that are there", |s| s.dead_lettered),
];

const SECONDS: &[Row<f64>] =
    &[("stele_log_commit_seconds", "Time from the submit of durable writes to their end", |s| {
        s.counters.log_commit_us as f64 / 1e6
    })];

const GAUGES: &[Row<u64>] = &[
    ("stele_up", "1 while the node runs", |s| s.up.into()),
    ("stele_connections", "Open connections", |s| s.counters.connections_now),
    ("stele_queues", "Queues", |s| s.queues),
    ("stele_queue_ready", "Ready records of all queues", |s| s.ready),
    ("stele_queue_ready_bytes", "Bytes of ready records of all queues", |s| s.ready_bytes),
    ("stele_queue_unsettled", "Unsettled deliveries of all queues", |s| s.unsettled),
    ("stele_clock_jumped", "1 while the wall clock has jumped, so that nothing goes by age", |s| {
        s.clock_jumped.into()
    }),
    ("process_resident_memory_bytes", "Memory in use", |s| s.resident_bytes),
    ("process_open_fds", "Open files and sockets", |s| s.files_open),
];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in COUNTERS {
            put(&mut encoder, name, help, &ConstCounter::new(value(self)))?;
        }
        for (name, help, value) in SECONDS {
            put(&mut encoder, name, help, &ConstCounter::new(value(self)))?;
        }
        for (name, help, value) in GAUGES {
            put(&mut encoder, name, help, &ConstGauge::new(value(self)))?;
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// The routes of the metrics port.
pub(crate) fn router(gate: Arc<Gate>) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(gate)
}

async fn scrape(State(gate): State<Arc<Gate>>) -> Response {
    let text = tokio::task::spawn_blocking(move || Snapshot::take(gate.node().as_deref()).encode());
    match text.await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the node does not answer\n").into_response(),
    }
}

/// The second number of `statm` is the resident set in pages; 0 where there is no such file.
fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// 0 where there is no `/proc`.
fn files_open() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Reads what a scraper reads: name and value of each sample.
    fn samples(text: &str) -> BTreeMap<String, f64> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, value) = line.split_once(' ').expect("a sample has a name and a value");
                (name.to_owned(), value.parse().expect("a value is a number"))
            })
            .collect()
    }

    #[test]
    fn a_scrape_has_every_metric_with_its_value_and_ends_properly() {
        let counters = Counters {
            io_reads: 1,
            messages_in: 2,
            messages_out: 3,
            log_commits: 4,
            log_commit_bytes: 5,
            log_commit_us: 1_500_000,
            confirm_frames: 6,
            publishes_confirmed: 7,
            connections_now: 8,
            ..Counters::default()
        };
        let text =
            Snapshot { counters, queues: 9, ready: 10, unsettled: 11, ..Snapshot::take(None) }.encode();
        assert!(text.ends_with("# EOF\n"));
        let samples = samples(&text);
        for (name, value) in [
            ("stele_io_reads_total", 1.0),
            ("stele_io_messages_in_total", 2.0),
            ("stele_io_messages_out_total", 3.0),
            ("stele_log_commits_total", 4.0),
            ("stele_log_commit_bytes_total", 5.0),
            ("stele_log_commit_seconds_total", 1.5),
            ("stele_amqp_confirm_frames_total", 6.0),
            ("stele_publish_confirmed_total", 7.0),
            ("stele_connections", 8.0),
            ("stele_queues", 9.0),
            ("stele_queue_ready", 10.0),
            ("stele_queue_unsettled", 11.0),
            ("stele_up", 0.0),
        ] {
            assert_eq!(samples.get(name), Some(&value), "{name}");
        }
        assert_eq!(samples.len(), COUNTERS.len() + SECONDS.len() + GAUGES.len());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_knows_its_size() {
        assert!(resident_bytes() > 100_000);
        assert!(files_open() >= 3);
    }
}
