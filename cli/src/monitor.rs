//! nats-server's monitoring endpoints: `/healthz`, `/varz`, `/connz`, `/subsz` and `/jsz`, as JSON in nats-server's words.
//!
//! Started with the broker where `listen.nats_monitor` says so. One thread, one request at a time, each bounded in size and time: who asks is a
//! person or a script. What is not known here is left out, not made up. Parts: [`clients`] (`/connz`, `/subsz`), [`jetstream`] (`/jsz`),
//! [`server`] (`/varz`, `/healthz`); queries are read by [`Query`].

mod clients;
mod jetstream;
mod server;

use crate::nats_server::reachable;
use serde_json::{Value, json};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use stele_nats::front::query::Query;
use stele_server::config::{Config, Nats};
use stele_server::inspect::Inspect;

/// Longest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Longest wait for a request, and for its reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// The running endpoints.
pub(crate) struct Monitor {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What is told.
struct Told {
    node: Arc<dyn Inspect>,
    nats: Nats,
    listen: Option<SocketAddr>,
    here: SocketAddr,
    store: PathBuf,
    tls: bool,
    max_connections: u32,
    start: SystemTime,
    began: Instant,
}

/// The endpoints' port, before anybody is answered: who comes early waits.
pub(crate) struct Bound(TcpListener);

impl Bound {
    /// Takes the port.
    pub(crate) fn new(at: SocketAddr) -> Result<Self, (SocketAddr, io::Error)> {
        TcpListener::bind(at).map(Self).map_err(|why| (at, why))
    }
}

impl Monitor {
    /// Answers from now on. `nats`: where clients connect.
    pub(crate) fn start(
        bound: Bound,
        config: &Config,
        nats: Option<SocketAddr>,
        node: Arc<dyn Inspect>,
    ) -> io::Result<Self> {
        let Bound(listener) = bound;
        let address = listener.local_addr()?;
        let told = Told {
            node,
            nats: config.nats.clone(),
            listen: nats,
            here: address,
            store: config.data_dir.clone(),
            tls: config.tls.is_some(),
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

    /// Where they are.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The thread waits for a client: this is the last one.
        let _ = TcpStream::connect_timeout(&reachable(self.address), PATIENCE);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut socket: TcpStream, told: &Told) -> io::Result<()> {
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
    let target = line.split_whitespace().nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, body) = match told.answer(path, &Query::parse(query)) {
        Answer::Good(body) => ("200 OK", body),
        Answer::Unwell(body) => ("503 Service Unavailable", body),
        Answer::Bad(why) => ("400 Bad Request", json!({ "error": why })),
        Answer::Unknown => ("404 Not Found", json!({ "error": "not found" })),
    };
    let body = serde_json::to_string_pretty(&body)?;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())
}

/// What a page says.
enum Answer {
    /// As asked.
    Good(Value),
    /// The server does not serve, and why.
    Unwell(Value),
    /// What was asked makes no sense.
    Bad(String),
    /// There is no such page.
    Unknown,
}

impl From<Result<Value, String>> for Answer {
    fn from(result: Result<Value, String>) -> Self {
        result.map_or_else(Self::Bad, Self::Good)
    }
}

impl Told {
    fn answer(&self, path: &str, query: &Query) -> Answer {
        match path {
            "/healthz" => self.healthz(),
            "/varz" => Answer::Good(self.varz()),
            "/jsz" => self.jsz(query).into(),
            "/connz" => self.connz(query).into(),
            "/subsz" | "/subscriptionsz" => self.subsz(query).into(),
            "/" => Answer::Good(json!({ "endpoints": ["/healthz", "/varz", "/connz", "/subsz", "/jsz"] })),
            _ => Answer::Unknown,
        }
    }

    /// Now, as nats-server writes it.
    fn now() -> String {
        crate::nats_server::at(SystemTime::now()).to_string()
    }
}
