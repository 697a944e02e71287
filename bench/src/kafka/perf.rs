//! A second opinion: Kafka's own `ProducerPerformance`, unmodified, on both brokers.
//!
//! Its JVM runs on the same cores and may be the limit; the broker's CPU per record is the steadier figure.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};

use super::Target;
use super::client::Client;
use crate::report::{Aim, Bound, Column, Figures, Line, Section};

const PARTITIONS: u32 = 12;
/// What one JVM sends in a second at best, about; so many times the seconds asked for are sent.
const RECORDS_PER_S: f64 = 300_000.0;
const AIMS: &[Aim] = &[Aim { column: Column::Rate, bound: Bound::RatioAtLeast(1.0) }];

/// One round.
pub(super) fn run(target: &Target<'_>, classpath: &str, seconds: f64) -> Result<Figures> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let topic = format!("stele-bench-perf-{}-{}", std::process::id(), RUNS.fetch_add(1, Relaxed));
    let topics = [topic];
    let mut client = Client::connect(target.server.address)?;
    client.create(&topics, PARTITIONS, target.configs)?;
    let before = target.server.process.usage()?;
    let text = call(target, classpath, &topics[0], (RECORDS_PER_S * seconds) as u64);
    let after = target.server.process.usage()?;
    client.delete(&topics)?;
    let text = text?;
    let found =
        Totals::parse(&text).with_context(|| format!("no totals in what the tool printed: {text}"))?;
    let mut figures = Figures::default();
    figures.set(Column::Rate, found.records_per_s);
    figures.set(Column::ConfirmP50, found.p50_ms * 1e3);
    figures.set(Column::ConfirmP99, found.p99_ms * 1e3);
    figures.set(Column::Cpu, after.cpu_us.saturating_sub(before.cpu_us) as f64 / found.records);
    figures.set(Column::Resident, after.resident_bytes as f64 / 1e6);
    Ok(figures)
}

/// The section of the report.
pub(super) fn section(lines: Vec<Line>) -> Section {
    Section {
        name: "producer-perf",
        about: "Kafka's own tool: 1 KB to 12 partitions, idempotent, linger 5 ms, batches of 128 KB; stele synced, kafka not",
        main: Column::Rate,
        aims: AIMS,
        lines,
    }
}

fn call(target: &Target<'_>, classpath: &str, topic: &str, records: u64) -> Result<String> {
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-cp", classpath, "org.apache.kafka.tools.ProducerPerformance"]);
    java.args(["--topic", topic, "--num-records", &records.to_string()]);
    java.args(["--record-size", "1024", "--throughput", "-1"]);
    let address = format!("bootstrap.servers={}", target.server.address);
    java.args(["--producer-props", &address, "acks=all", "linger.ms=5", "batch.size=131072"]);
    let output = java.stdin(Stdio::null()).output().context("start java")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the tool ended with {}: {}", output.status, complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The tool's last line.
#[derive(Debug, PartialEq)]
struct Totals {
    records: f64,
    records_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Totals {
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().rev().find(|line| line.contains("ms 99th"))?;
        let parts: Vec<&str> = line.split(", ").collect();
        let number = |text: &str| text.trim().split(' ').next()?.parse::<f64>().ok();
        let ending =
            |unit: &str| number(parts.iter().find(|part| part.trim_end_matches('.').ends_with(unit))?);
        let rate = parts.iter().find(|part| part.contains("records/sec"))?;
        Some(Self {
            records: number(parts.first()?)?,
            records_per_s: number(rate)?,
            p50_ms: ending("ms 50th")?,
            p99_ms: ending("ms 99th")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_at_the_end_are_read() {
        let text = "20000 records sent, 4000.0 records/sec (1.00 MB/sec), 3.0 ms avg latency, 9.0 ms max latency.\n\
                    600000 records sent, 69348.1 records/sec (67.72 MB/sec), 12.40 ms avg latency, 351.00 ms max latency, 3 ms 50th, 46 ms 95th, 251 ms 99th, 351 ms 99.9th.\n";
        let expected = Totals { records: 600_000.0, records_per_s: 69_348.1, p50_ms: 3.0, p99_ms: 251.0 };
        assert_eq!(Totals::parse(text), Some(expected));
        assert_eq!(Totals::parse("nothing"), None);
    }
}
