//! Stele's own counters, read from its metrics endpoint in the Prometheus text format.
//!
//! A counter that is absent stays absent in the report: the generator measures any build, also one without metrics.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A scrape reads no more than this.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Sums over all label sets, by name.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads `/metrics`; without an answer there are no metrics.
    pub(crate) fn scrape(address: SocketAddr) -> Self {
        Self::fetch(address).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn fetch(address: SocketAddr) -> std::io::Result<String> {
        let patience = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    }

    fn parse(text: &str) -> Self {
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("stele_")) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let value = line.rsplit_once("} ").or_else(|| line.split_once(' ')).map(|(_, value)| value);
            let value = value.and_then(|value| value.split_ascii_whitespace().next()?.parse::<f64>().ok());
            if let Some(value) = value {
                *sums.entry(name.to_owned()).or_insert(0.0) += value;
            }
        }
        Self(sums)
    }

    /// How far a counter has come since `before`.
    pub(crate) fn since(&self, before: &Self, name: &str) -> Option<f64> {
        Some(self.0.get(name)? - before.0.get(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let before =
            Metrics::parse("stele_io_reads_total{thread=\"0\"} 1\nstele_io_reads_total{thread=\"1\"} 2\n");
        let after = Metrics::parse(
            "HTTP/1.1 200 OK\r\n\r\n# TYPE stele_io_reads counter\nstele_io_reads_total{a=\"x } y\"} 10 1700000000\nstele_up 1\n",
        );
        assert_eq!(after.since(&before, "stele_io_reads_total"), Some(7.0));
        assert_eq!(after.since(&before, "stele_up"), None);
    }
}
