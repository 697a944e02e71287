//! The few lines that `stele dev` prints when it is ready.

use crate::version::VERSION;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What the banner tells.
#[derive(Clone, Debug)]
pub(crate) struct Banner<'a> {
    /// The data directory.
    pub(crate) data_dir: &'a Path,
    /// From the start of the process.
    pub(crate) ready_in: Duration,
    /// AMQP.
    pub(crate) amqp: Option<SocketAddr>,
    /// AMQP over TLS only.
    pub(crate) amqps: Option<SocketAddr>,
    /// Kafka.
    pub(crate) kafka: Option<SocketAddr>,
    /// NATS.
    pub(crate) nats: Option<SocketAddr>,
    /// nats-server's monitoring endpoints.
    pub(crate) nats_monitor: Option<SocketAddr>,
    /// HTTP API and health.
    pub(crate) http: Option<SocketAddr>,
    /// Prometheus metrics.
    pub(crate) metrics: Option<SocketAddr>,
}

impl Banner<'_> {
    /// The lines.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "stele {VERSION}  dev mode · data {} ({}) · ready in {} ms\n",
            self.data_dir.display(),
            size(disk_bytes(self.data_dir)),
            self.ready_in.as_millis(),
        );
        let mut row = |name: &str, address: Option<String>, about: &str| {
            if let Some(address) = address {
                writeln!(text, "  {name:<12} {address:<34} {about}").expect("a string takes any text");
            }
        };
        let at = |scheme: &str, address: Option<SocketAddr>, path: &str| {
            address.map(|address| format!("{scheme}://{}{path}", host(address)))
        };
        row("AMQP 0-9-1", at("amqp", self.amqp, ""), "RabbitMQ's clients; guest/guest");
        row("AMQP + TLS", at("amqps", self.amqps, ""), "also told by the first byte on the port above");
        let broker = self.kafka.map(host);
        row("Kafka", broker, "bootstrap server; no login needed, or guest/guest by SASL");
        row("NATS", at("nats", self.nats, ""), "no login needed, or guest/guest");
        row(
            "",
            at("http", self.nats_monitor, "/connz"),
            "nats-server's monitoring: varz, connz, subsz, jsz, healthz",
        );
        row("Flow", at("http", self.http, "/api/flow"), "who publishes what, and who reads it; guest/guest");
        row("Health", at("http", self.http, "/healthz"), "");
        row("Metrics", at("http", self.metrics, "/metrics"), "Prometheus");
        text.push_str("  durable: synced before every confirm · try: stele demo · stop: Ctrl-C\n");
        // Rows without a remark end in spaces.
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

fn host(address: SocketAddr) -> String {
    if address.ip().is_loopback() && address.is_ipv4() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

/// Bytes on disk below a directory; what cannot be read counts nothing. The data directory is two levels deep.
fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fn below(dir: &Path, depth: u32) -> u64 {
        let Ok(entries) = fs::read_dir(dir) else { return 0 };
        let sizes = entries.flatten().map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => below(&entry.path(), depth - 1),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        });
        sizes.sum()
    }
    below(dir, 4)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_only_what_listens() {
        let banner = Banner {
            data_dir: Path::new("/nowhere/stele-data"),
            ready_in: Duration::from_millis(38),
            amqp: Some("127.0.0.1:6672".parse().unwrap()),
            amqps: None,
            kafka: Some("127.0.0.1:10092".parse().unwrap()),
            nats: Some("127.0.0.1:5222".parse().unwrap()),
            nats_monitor: Some("127.0.0.1:9222".parse().unwrap()),
            http: Some("127.0.0.1:16672".parse().unwrap()),
            metrics: None,
        };
        let text = banner.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert!(lines[0].ends_with("dev mode · data /nowhere/stele-data (0 B) · ready in 38 ms"), "{text}");
        assert!(lines[1].contains("amqp://localhost:6672 "), "{text}");
        assert!(lines[2].contains("localhost:10092 "), "{text}");
        assert!(lines[3].contains("nats://localhost:5222 "), "{text}");
        assert!(lines[4].contains("http://localhost:9222/connz"), "{text}");
        assert!(lines[5].contains("http://localhost:16672/api/flow"), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line));
    }
}
