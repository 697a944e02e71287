//! What is answered on the HTTP port. Every answer but health needs a login and a node.

use super::login::{self, Refused, Wish};
use super::rates::Samples;
use super::{Graph, flow};
use crate::inspect::{Counters, Gate, Inspect, Readiness, StreamView};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the handlers share.
struct Api {
    gate: Arc<Gate>,
    samples: Mutex<Samples>,
}

/// The routes, and the task that samples the flow for rates until `stopped`. Must be called inside the runtime.
pub(super) fn router(gate: Arc<Gate>, stopped: watch::Receiver<bool>) -> Router {
    let api = Arc::new(Api { gate, samples: Mutex::default() });
    tokio::spawn(sample(Arc::clone(&api), stopped));
    Router::new()
        .route("/healthz", get(health))
        .route("/api/flow", get(flow_graph))
        .route("/api/overview", get(overview))
        .route("/api/streams", get(streams))
        .route("/api/clock", get(clock))
        .route("/api/clock/confirm", post(confirm_clock))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is nothing here") })
        .with_state(api)
}

async fn sample(api: Arc<Api>, mut stopped: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(SAMPLE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = every.tick() => {}
        }
        let Some(node) = api.gate.node() else { continue };
        if let Some(counts) = blocking(move || node.flow()).await {
            api.samples.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now(), counts);
        }
    }
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    let gate = Arc::clone(&api.gate);
    match blocking(move || gate.readiness()).await {
        Some(Readiness::Ready) => (StatusCode::OK, "ready\n").into_response(),
        Some(Readiness::Starting(why)) => unavailable(&format!("starting: {why}\n")),
        Some(Readiness::Stopping(why)) => unavailable(&format!("stopping: {why}\n")),
        None => unavailable("the node does not answer\n"),
    }
}

fn unavailable(text: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, text.to_owned()).into_response()
}

async fn flow_graph(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let shared = Arc::clone(&api);
    look(&api.gate, headers, move |node| {
        let (counts, names, queues) = (node.flow(), node.names(), node.queues());
        let now = Instant::now();
        let samples = shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let graph: Graph = flow::graph(&counts, &names, &queues, |edge, flow| samples.rate(edge, now, flow));
        graph
    })
    .await
}

/// The answer to `GET /api/overview`.
#[derive(Serialize)]
struct Overview {
    product: &'static str,
    version: &'static str,
    connections: u64,
    exchanges: usize,
    queues: usize,
    messages_ready: u64,
    messages_unsettled: u64,
    messages_in: u64,
    messages_out: u64,
    messages_unrouted: u64,
    publishes_confirmed: u64,
}

async fn overview(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    look(&api.gate, headers, |node| {
        let Counters {
            connections_now,
            messages_in,
            messages_out,
            messages_unrouted,
            publishes_confirmed,
            ..
        } = node.counters();
        let (names, queues) = (node.names(), node.queues());
        Overview {
            product: "Stele",
            version: env!("CARGO_PKG_VERSION"),
            connections: connections_now,
            exchanges: names.exchanges.len(),
            queues: queues.len(),
            messages_ready: queues.iter().map(|queue| queue.ready).sum(),
            messages_unsettled: queues.iter().map(|queue| queue.unsettled).sum(),
            messages_in,
            messages_out,
            messages_unrouted,
            publishes_confirmed,
        }
    })
    .await
}

/// One stream in the answer to `GET /api/streams`.
#[derive(Serialize)]
struct StreamLine {
    namespace: String,
    name: String,
    uuid: String,
    internal: bool,
    partitions: Vec<PartitionLine>,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
    compact: bool,
    capture: bool,
}

#[derive(Serialize)]
struct PartitionLine {
    id: u64,
    shard: u16,
}

async fn streams(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    look(&api.gate, headers, |node| {
        let line = |StreamView { namespace, info }: StreamView| StreamLine {
            namespace,
            name: info.name.clone(),
            uuid: format!("{:032x}", u128::from_be_bytes(info.uuid.0)),
            internal: info.internal,
            partitions: info
                .partitions
                .iter()
                .map(|(id, shard)| PartitionLine { id: id.0, shard: shard.0 })
                .collect(),
            retention_ms: info.settings.retention_ms.filter(|_| info.settings.delete),
            retention_bytes: info.settings.retention_bytes.filter(|_| info.settings.delete),
            compact: info.settings.compact,
            capture: info.settings.capture,
        };
        node.streams().into_iter().map(line).collect::<Vec<_>>()
    })
    .await
}

/// The answer to `GET /api/clock`: whether what is old goes, and if not, how far the wall clock has jumped (S28).
#[derive(Serialize)]
struct ClockView {
    trusted: bool,
    jumped_s: i64,
}

impl ClockView {
    fn of(away_s: Option<i64>) -> Self {
        Self { trusted: away_s.is_none(), jumped_s: away_s.unwrap_or(0) }
    }
}

async fn clock(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    look(&api.gate, headers, |node| ClockView::of(node.clock_away_s())).await
}

/// Answers with what was confirmed.
async fn confirm_clock(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    answer(&api.gate, headers, Wish::Change, |node| ClockView::of(node.confirm_clock())).await
}

/// Checks the login and answers with what `view` sees of the node.
async fn look<V, T>(gate: &Gate, headers: HeaderMap, view: V) -> Response
where
    V: FnOnce(&dyn Inspect) -> T + Send + 'static,
    T: Serialize + Send + 'static,
{
    answer(gate, headers, Wish::Look, view).await
}

async fn answer<V, T>(gate: &Gate, headers: HeaderMap, wish: Wish, view: V) -> Response
where
    V: FnOnce(&dyn Inspect) -> T + Send + 'static,
    T: Serialize + Send + 'static,
{
    let Some(node) = gate.node() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the node is not running");
    };
    let seen = blocking(move || {
        login::check(&*node, &headers, wish)?;
        Ok(view(&*node))
    });
    match seen.await {
        Some(Ok(seen)) => Json(seen).into_response(),
        Some(Err(Refused::Unknown)) => {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"Stele\"")];
            (ask, problem(StatusCode::UNAUTHORIZED, "who are you? wrong or missing user and password"))
                .into_response()
        }
        Some(Err(Refused::Forbidden)) => problem(
            StatusCode::FORBIDDEN,
            match wish {
                Wish::Look => "this takes the tag `administrator` or `monitoring`",
                Wish::Change => "this takes the tag `administrator`",
            },
        ),
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "the node does not answer"),
    }
}

fn problem(status: StatusCode, reason: &str) -> Response {
    (status, Json(serde_json::json!({ "error": reason }))).into_response()
}

/// Runs what may block on a thread for that; `None`: it panicked, or the process stops.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
