//! nats-server's monitoring endpoints: `/healthz`, `/varz`, `/jsz`, `/connz` and `/subsz`, as JSON, with the fields that can be told.
//!
//! One thread, one request at a time, each bounded in size and time: who asks is a person or a script. What is not known here
//! (single connections and subscriptions) is left out, not made up.

use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use stele_nats::jet::versions::SERVER_VERSION;
use stele_server::config::{Config, Nats};
use stele_server::inspect::{Inspect, Readiness};

/// Longest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Longest wait for a request, and for its reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// The running endpoints.
pub(super) struct Monitor {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What is told.
struct Told {
    node: Arc<dyn Inspect>,
    nats: Nats,
    listen: Option<SocketAddr>,
    max_connections: u32,
    start: SystemTime,
    began: Instant,
}

/// The endpoints' port, before anybody is answered: who comes early waits.
pub(super) struct Bound(TcpListener);

impl Bound {
    /// Takes the port of `at` (`host:port`).
    pub(super) fn new(at: &str) -> anyhow::Result<Self> {
        TcpListener::bind(at).map(Self).with_context(|| format!("could not listen on {at}"))
    }
}

impl Monitor {
    /// Answers from now on.
    pub(super) fn start(bound: Bound, config: &Config, node: Arc<dyn Inspect>) -> anyhow::Result<Self> {
        let Bound(listener) = bound;
        let address = listener.local_addr()?;
        let told = Told {
            node,
            nats: config.nats.clone(),
            listen: config.listen.nats,
            max_connections: config.limits.connections_max,
            start: SystemTime::now(),
            began: Instant::now(),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let run = move || {
            for socket in listener.incoming() {
                if until.load(Ordering::Acquire) {
                    return;
                }
                // A client that goes away, or says nothing, gets no answer.
                let _ = socket.and_then(|socket| serve(socket, &told));
            }
        };
        let thread = std::thread::Builder::new().name("monitor".into()).spawn(run)?;
        Ok(Self { address, ended, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The thread waits for a client: this is the last one.
        let _ = TcpStream::connect_timeout(&super::reachable(self.address), PATIENCE);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut socket: TcpStream, told: &Told) -> std::io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match socket.read(&mut piece)? {
            0 => return Ok(()),
            len => head.extend_from_slice(&piece[..len]),
        }
    }
    let line = String::from_utf8_lossy(&head);
    let path = line.split_whitespace().nth(1).unwrap_or("/");
    let path = path.split('?').next().unwrap_or("/");
    let (status, body) = match told.answer(path) {
        Some((true, body)) => ("200 OK", body),
        Some((false, body)) => ("503 Service Unavailable", body),
        None => ("404 Not Found", json!({ "error": "not found" })),
    };
    let body = serde_json::to_string_pretty(&body)?;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())
}

impl Told {
    /// The answer for a path, and whether all is well.
    fn answer(&self, path: &str) -> Option<(bool, Value)> {
        Some((
            true,
            match path {
                "/healthz" => {
                    return Some(match self.node.readiness() {
                        Readiness::Ready => (true, json!({ "status": "ok" })),
                        Readiness::Starting(why) | Readiness::Stopping(why) => {
                            (false, json!({ "status": "unavailable", "error": why }))
                        }
                    });
                }
                "/varz" => self.varz(),
                "/jsz" => self.jsz(),
                "/connz" => {
                    let now = self.node.counters().connections_now;
                    json!({ "num_connections": now, "total": now, "offset": 0, "limit": 0, "connections": [] })
                }
                "/subsz" | "/subscriptionsz" => json!({ "total": 0, "offset": 0, "limit": 0 }),
                "/" => json!({ "endpoints": ["/healthz", "/varz", "/jsz", "/connz", "/subsz"] }),
                _ => return None,
            },
        ))
    }

    fn varz(&self) -> Value {
        let counters = self.node.counters();
        let nats = &self.nats;
        let ms = |ms: u64| ms.saturating_mul(1_000_000);
        let seconds = self.began.elapsed().as_secs();
        json!({
            "server_name": nats.server_name,
            "version": SERVER_VERSION,
            "proto": 1,
            "host": self.listen.map(|at| at.ip().to_string()),
            "port": self.listen.map(|at| at.port()),
            "auth_required": nats.anonymous.is_none(),
            "max_payload": nats.payload_bytes_max,
            "max_control_line": nats.control_line_bytes_max,
            "max_pending": nats.pending_bytes_max,
            "max_subscriptions": nats.subscriptions_max,
            "ping_interval": ms(nats.ping_interval_ms),
            "ping_max": nats.pings_out_max,
            "write_deadline": ms(nats.write_deadline_ms),
            "start": super::at(self.start).to_string(),
            "now": super::at(SystemTime::now()).to_string(),
            "max_connections": self.max_connections,
            "uptime": format!("{seconds}s"),
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "connections": counters.connections_now,
            "total_connections": counters.connections_accepted,
            "in_msgs": counters.messages_in,
            "out_msgs": counters.messages_out,
            "in_bytes": counters.io_read_bytes,
            "out_bytes": counters.io_written_bytes,
            "jetstream": { "stats": { "streams": self.streams() } },
        })
    }

    fn jsz(&self) -> Value {
        json!({ "streams": self.streams(), "api": { "level": stele_nats::jet::versions::API_LEVEL } })
    }

    fn streams(&self) -> usize {
        self.node.streams().iter().filter(|stream| stream.info.settings.records.is_some()).count()
    }
}
