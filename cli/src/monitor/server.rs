//! `/varz`: the server as a whole; `/healthz`: whether it serves.

use super::{Answer, Told};
use serde_json::{Value, json};
use std::fs;
use stele_nats::jet::versions::SERVER_VERSION;
use stele_nats::roll::lasting;
use stele_server::inspect::Readiness;
use stele_server::node::nats_server_id;

impl Told {
    /// nats-server's questions about streams and leaders are all answered by this: what serves has all it holds.
    pub(super) fn healthz(&self) -> Answer {
        match self.node.readiness() {
            Readiness::Ready => Answer::Good(json!({ "status": "ok" })),
            Readiness::Starting(why) | Readiness::Stopping(why) => {
                Answer::Unwell(json!({ "status": "unavailable", "error": why }))
            }
        }
    }

    pub(super) fn varz(&self) -> Value {
        let counters = self.node.counters();
        let clients = self.node.clients(false);
        let here = || clients.lines.iter().filter(|line| line.gone.is_none());
        let mut traffic = clients.gone;
        here().for_each(|line| traffic.add(&line.view.traffic));
        let subscriptions: u64 = here().map(|line| u64::from(line.view.listens_count)).sum();
        let nats = &self.nats;
        let nanos = |ms: u64| ms.saturating_mul(1_000_000);
        let seconds = |ms: u64| ms as f64 / 1e3;
        json!({
            "server_id": nats_server_id(),
            "server_name": nats.server_name,
            "version": SERVER_VERSION,
            "proto": 1,
            "go": "none",
            "host": self.listen.map(|at| at.ip().to_string()),
            "port": self.listen.map(|at| at.port()),
            "http_host": self.here.ip().to_string(),
            "http_port": self.here.port(),
            "auth_required": nats.anonymous.is_none(),
            "auth_timeout": seconds(nats.auth_timeout_ms),
            "tls_required": self.tls && nats.tls != stele_server::config::NatsTls::Optional,
            "max_connections": self.max_connections,
            "max_payload": nats.payload_bytes_max,
            "max_control_line": nats.control_line_bytes_max,
            "max_pending": nats.pending_bytes_max,
            "max_subscriptions": nats.subscriptions_max,
            "ping_interval": nanos(nats.ping_interval_ms),
            "ping_max": nats.pings_out_max,
            "write_deadline": nanos(nats.write_deadline_ms),
            "start": crate::nats_server::at(self.start).to_string(),
            "now": Self::now(),
            "uptime": lasting(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            "mem": memory_bytes(),
            "cpu": cpu_percent(self.began.elapsed().as_secs_f64()),
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "connections": counters.connections_now,
            "total_connections": counters.connections_accepted,
            "subscriptions": subscriptions,
            "slow_consumers": counters.connections_cut,
            "slow_consumer_stats": { "clients": counters.connections_cut, "routes": 0, "gateways": 0, "leafs": 0 },
            "in_msgs": traffic.messages_in,
            "out_msgs": traffic.messages_out,
            "in_bytes": traffic.bytes_in,
            "out_bytes": traffic.bytes_out,
            "routes": 0,
            "remotes": 0,
            "leafnodes": 0,
            "jetstream": self.jetstream(),
        })
    }
}

/// Memory in use; 0 where the system does not say.
fn memory_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Time of processors since the process began, in percent of one; 0 where the system does not say.
fn cpu_percent(seconds: f64) -> f64 {
    let Ok(text) = fs::read_to_string("/proc/self/stat") else { return 0.0 };
    // The program's name stands in parentheses, and may have blanks.
    let behind = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    let used = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    (used / seconds.max(0.001) * 1000.0).round() / 10.0
}
