//! A second opinion: RabbitMQ's own PerfTest, unmodified, as the load generator for both brokers.
//!
//! It runs on a JVM on the same cores and flushes per message, so it may itself be the limit; broker CPU per message is the
//! steadier figure. Used by the `perftest` command. Jars come from Maven Central by the ordinary client. Not here: a check that
//! every message came once, which PerfTest does not make.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};

use crate::client::Connection;
use crate::report::{Aim, Bound, Column, Figures, Line, Section};
use crate::scenario::Target;

/// The version that the figures of this project are taken with.
const VERSION: &str = "2.22.1";

/// One way to call PerfTest.
pub(crate) struct Scenario {
    name: &'static str,
    about: &'static str,
    /// Producers, queues and consumers.
    pairs: u32,
    /// Unconfirmed messages per producer, and prefetch of a consumer.
    window: u32,
}

const AIMS: &[Aim] = &[
    Aim { column: Column::Rate, bound: Bound::RatioAtLeast(3.0) },
    Aim { column: Column::Cpu, bound: Bound::RatioAtMost(1.0 / 6.0) },
];

/// The durable loads of the `amqp` command.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "perftest-1",
        about: "1 producer, 1 queue, 1 consumer; 1 KB persistent, confirmed; window and prefetch 2 000, acks in runs of 100",
        pairs: 1,
        window: 2_000,
    },
    Scenario {
        name: "perftest-10",
        about: "10 producers, 10 queues, 10 consumers; 1 KB persistent, confirmed; window and prefetch 500, acks in runs of 100",
        pairs: 10,
        window: 500,
    },
];

impl Scenario {
    /// Runs one round.
    pub(crate) fn run(&self, target: &Target<'_>, jars: &Path, seconds: f64) -> Result<Figures> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let name = format!("stele-bench-perftest-{}-{}", std::process::id(), RUNS.fetch_add(1, Relaxed));
        let seconds = seconds.ceil();
        let before = target.server.process.usage()?;
        let averages = self.call(target, jars, seconds, &name);
        let after = target.server.process.usage()?;

        let mut link = Connection::open(&target.server.url)?;
        let queues: Vec<_> = (1..=self.pairs).map(|index| format!("{name}-{index}")).collect();
        link.delete_queues(&queues)?;
        link.delete_exchange(&name)?;

        let averages = averages?;
        let mut figures = Figures::default();
        figures.set(Column::Rate, averages.received_per_s);
        figures.set(Column::ConfirmP50, averages.confirm_p50_us);
        figures.set(Column::ConfirmP99, averages.confirm_p99_us);
        // While the JVM starts the broker idles, so all its CPU belongs to the seconds of load.
        let cpu_us = after.cpu_us.saturating_sub(before.cpu_us) as f64;
        figures.set(Column::Cpu, cpu_us / (averages.received_per_s * seconds));
        figures.set(Column::Resident, after.resident_bytes as f64 / 1e6);
        Ok(figures)
    }

    /// PerfTest declares durable queues `name-1`, `name-2`, … on an exchange `name`, and leaves them.
    fn call(&self, target: &Target<'_>, jars: &Path, seconds: f64, name: &str) -> Result<Averages> {
        let pairs = self.pairs.to_string();
        let window = self.window.to_string();
        // To the Java client a path of "/" is the vhost of an empty name.
        let url = target.server.url.to_string();
        let mut java = Command::new("java");
        java.arg("-cp").arg(jars.join("*")).arg("com.rabbitmq.perf.PerfTest");
        java.args(["-h", url.trim_end_matches('/'), "-z", &seconds.to_string()]);
        java.args(["-x", &pairs, "-y", &pairs, "-f", "persistent", "-s", "1024"]);
        java.args(["-c", &window, "-q", &window, "-A", "100", "-ad", "false", "-e", name]);
        java.args(["-qp", &format!("{name}-%d"), "-qpf", "1", "-qpt", &pairs]);
        if let Some(kind) = target.queue_kind {
            java.args(["-qa", &format!("x-queue-type={kind}")]);
        }
        let output = java.stdin(Stdio::null()).output().context("start java")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "PerfTest ended with {}: {}", output.status, complaint.trim());
        Averages::parse(&text).with_context(|| format!("no averages in PerfTest's output: {text}{complaint}"))
    }

    /// The section of the report.
    pub(crate) fn section(&self, lines: Vec<Line>) -> Section {
        Section { name: self.name, about: self.about, main: Column::Rate, aims: AIMS, lines }
    }
}

/// What PerfTest prints at its end.
#[derive(Debug, PartialEq)]
struct Averages {
    received_per_s: f64,
    confirm_p50_us: f64,
    confirm_p99_us: f64,
}

impl Averages {
    fn parse(text: &str) -> Option<Self> {
        let after = |words: &str| text.lines().rev().find_map(|line| Some(line.split_once(words)?.1));
        let received = after("receiving rate avg: ")?.split(' ').next()?;
        let latency = after("confirm latency min/median/75th/95th/99th ")?.split(' ').next()?;
        let latencies: Option<Vec<f64>> = latency.split('/').map(|value| value.parse().ok()).collect();
        let [_min, median, _p75, _p95, p99] = latencies?[..] else { return None };
        Some(Self { received_per_s: received.parse().ok()?, confirm_p50_us: median, confirm_p99_us: p99 })
    }
}

/// Fetches PerfTest and what it needs with Maven; returns the directory with the jars.
pub(crate) fn fetch(scratch: &Path) -> Result<PathBuf> {
    let project = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>stele-bench</groupId><artifactId>perftest</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies><dependency><groupId>com.rabbitmq</groupId><artifactId>perf-test</artifactId>\
         <version>{VERSION}</version></dependency></dependencies></project>"
    );
    std::fs::write(scratch.join("pom.xml"), project)?;
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-Dstyle.color=never", "dependency:copy-dependencies", "-DoutputDirectory=jars"])
        .current_dir(scratch);
    let status = maven.stdin(Stdio::null()).stdout(std::io::stderr()).status().context("start mvn")?;
    ensure!(status.success(), "mvn could not fetch PerfTest: {status}");
    Ok(scratch.join("jars"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averages_at_the_end_are_read_and_not_a_second_before() {
        let text = "id: t, time 1.0 s, sent: 1 msg/s, received: 2 msg/s, confirm latency: 1/2/3/4/5 µs\n\
                    test stopped (Reached time limit)\n\
                    id: t, sending rate avg: 28231 msg/s\n\
                    id: t, receiving rate avg: 28193 msg/s\n\
                    id: t, consumer latency min/median/75th/95th/99th 6510/55115/158476/221426/248541 µs\n\
                    id: t, confirm latency min/median/75th/95th/99th 1914/45185/55794/84442/135078 µs\n";
        let expected =
            Averages { received_per_s: 28_193.0, confirm_p50_us: 45_185.0, confirm_p99_us: 135_078.0 };
        assert_eq!(Averages::parse(text), Some(expected));
        assert_eq!(Averages::parse("test stopped"), None);
    }
}
