//! The HTTP listeners: health and API on one port, metrics on another. The command line starts them before the node, so that health
//! can be asked while it recovers, and stops them after it.
//!
//! One thread serves both; whatever asks the node runs on a blocking thread. Bounds: [`CONNECTIONS_MAX`] at a time (more wait in
//! the kernel's queue), [`HEAD_TIMEOUT`] for a request's head and between requests. Not here: what the numbers mean
//! ([`crate::inspect`]), users (the registry's).

mod api;
mod flow;
mod login;
mod rates;
#[cfg(test)]
mod tests;

pub use flow::{EdgeView, Graph, NodeView, Unrouted};
pub use rates::{Rate, WINDOW_SAMPLES};

use crate::handles;
use crate::inspect::Gate;
use crate::metrics;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Most connections of one listener at a time.
pub const CONNECTIONS_MAX: usize = 256;

/// Longest wait for a request's head, also between requests.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for answers under way when stopping.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A pause after an accept that failed for want of resources, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running listeners.
#[derive(Debug)]
pub struct HttpServer {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What listens where.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Health and API.
    pub api: Option<TcpListener>,
    /// Metrics.
    pub metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds the two.
    ///
    /// # Errors
    /// The address that could not be bound, and why.
    pub fn bind(
        api: Option<SocketAddr>,
        metrics: Option<SocketAddr>,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let bind = |address: Option<SocketAddr>| {
            address.map(|address| TcpListener::bind(address).map_err(|error| (address, error))).transpose()
        };
        Ok(Self { api: bind(api)?, metrics: bind(metrics)? })
    }
}

impl HttpServer {
    /// Serves until [`Self::stop`].
    ///
    /// # Errors
    /// The operating system refuses a thread or an event queue.
    pub fn start(listeners: Listeners, gate: Arc<Gate>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let mut serving = Vec::new();
        // Sockets and tasks belong to the runtime that is entered where they are made.
        let entered = runtime.enter();
        if let Some(listener) = listeners.api {
            serving.push((into_tokio(listener)?, api::router(Arc::clone(&gate), stopped.clone())));
        }
        if let Some(listener) = listeners.metrics {
            serving.push((into_tokio(listener)?, metrics::router(gate)));
        }
        drop(entered);
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async move {
                let tasks: Vec<_> = serving
                    .into_iter()
                    .map(|(listener, router)| tokio::spawn(serve(listener, router, stopped.clone())))
                    .collect();
                for task in tasks {
                    task.await.expect("a listener's task does not panic");
                }
            });
            runtime.shutdown_timeout(STOP_TIMEOUT);
        })?;
        Ok(Self { stop, thread })
    }

    /// Closes the listeners, waits a little for answers under way, and ends the thread.
    pub fn stop(self) {
        // No receiver: the thread has ended already.
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the http thread panicked");
        }
    }
}

fn into_tokio(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Accepts and serves connections of one listener until told to stop.
async fn serve(listener: tokio::net::TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(handles::http_connections_max(CONNECTIONS_MAX)));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept an http connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an http connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!("http connections were cut at the stop");
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}
