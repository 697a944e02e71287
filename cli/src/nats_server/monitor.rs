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
use std::time::{Duration, Instant};
use stele_nats::jet::versions::SERVER_VERSION;
use stele_server::config::Config;
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
    server_name: String,
    host: String,
    port: u16,
    max_payload: u32,
    max_connections: u32,
    began: Instant,
}

impl Monitor {
    /// Listens at `at` (`host:port`).
    pub(super) fn start(at: &str, config: &Config, node: Arc<dyn Inspect>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(at).with_context(|| format!("could not listen on {at}"))?;
        let address = listener.local_addr()?;
        let listen = config.listen.nats;
        let told = Told {
            node,
            server_name: config.nats.server_name.clone(),
            host: listen.map_or_else(String::new, |at| at.ip().to_string()),
            port: listen.map_or(0, |at| at.port()),
            max_payload: config.nats.payload_bytes_max,
            max_connections: config.limits.connections_max,
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
        let seconds = self.began.elapsed().as_secs();
        json!({
            "server_name": self.server_name,
            "version": SERVER_VERSION,
            "proto": 1,
            "host": self.host,
            "port": self.port,
            "max_payload": self.max_payload,
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
