//! The connection, and what is known to be there: the streams, and the consumers that are queues.
//!
//! There are two of them. The one to receive on connects anew by itself; subscriptions end when the connection does (`epoch`), so that the
//! runner makes what it needs again. The one to send on ends with its connection: a client that connects anew goes on with what is in its
//! buffer, while what was on the wire is lost, and that would come behind it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull::Config as PullConfig;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy};
use async_nats::{Auth, AuthError, Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::{OnceCell, watch};

use super::names::{self, Names};
use super::{ACK_WAIT, TransportError};

/// How long a connection may take to be made, and an answer of the server to come.
const ANSWER: Duration = Duration::from_secs(10);
/// Confirms that may be awaited at once.
pub(super) const INFLIGHT_MAX: usize = 100_000;
/// Messages of one queue that all its receivers have in hand.
const IN_HAND_MAX: i64 = 100_000;
/// Queues remembered as made; when there are more, all are forgotten and made again.
const KNOWN_MAX: usize = 50_000;

pub(super) struct Link {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) names: Names,
    /// Grows whenever the connection is lost.
    pub(super) epoch: watch::Receiver<u64>,
    /// The task that moves delayed messages on, once somebody needs it.
    pub(super) mover: OnceLock<tokio::task::AbortHandle>,
    streams: OnceCell<()>,
    known: Mutex<BTreeSet<String>>,
}

impl Link {
    pub(super) async fn open(
        server: &ServerAddr,
        names: Names,
        connected: Arc<AtomicBool>,
    ) -> Result<Self, TransportError> {
        let (lost, epoch) = watch::channel(0);
        let flag = connected.clone();
        let options = named(ConnectOptions::new()).event_callback(move |event| {
            match event {
                Event::Connected => flag.store(true, Ordering::Relaxed),
                Event::Disconnected | Event::Closed => {
                    flag.store(false, Ordering::Relaxed);
                    lost.send_modify(|count| *count += 1);
                }
                other => tracing::debug!(%other, "nats"),
            }
            std::future::ready(())
        });
        let client = options.connect(server.clone()).await.map_err(unavailable)?;
        connected.store(true, Ordering::Relaxed);
        Ok(Self::new(client, names, epoch))
    }

    /// One that ends with its connection.
    pub(super) async fn open_once(server: &ServerAddr, names: Names) -> Result<Self, TransportError> {
        let (login, used) = (login(server), AtomicBool::new(false));
        // Asked at every attempt to connect, and so what keeps the client from a second connection.
        let options = ConnectOptions::with_auth_callback(move |_nonce| {
            std::future::ready(match used.swap(true, Ordering::Relaxed) {
                false => Ok(login.clone()),
                true => Err(AuthError::new("a connection that has ended stays ended")),
            })
        });
        let options = named(options).max_reconnects(1).require_tls(server.tls_required());
        let client = options.connect(server.clone()).await.map_err(unavailable)?;
        Ok(Self::new(client, names, watch::Sender::new(0).subscribe()))
    }

    fn new(client: Client, names: Names, epoch: watch::Receiver<u64>) -> Self {
        let builder =
            ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).max_ack_inflight(INFLIGHT_MAX);
        let jetstream = builder.build(client.clone());
        let (streams, known, mover) = (OnceCell::new(), Mutex::default(), OnceLock::new());
        Self { client, jetstream, names, epoch, mover, streams, known }
    }

    /// Make the streams unless they are there.
    pub(super) async fn streams(&self) -> Result<(), TransportError> {
        let make = || async {
            let messages = StreamConfig {
                name: self.names.stream(),
                subjects: self.names.subjects(),
                retention: RetentionPolicy::Interest,
                discard: DiscardPolicy::New,
                ..StreamConfig::default()
            };
            let delays = StreamConfig {
                name: self.names.delays(),
                subjects: self.names.delay_subjects(),
                retention: RetentionPolicy::WorkQueue,
                discard: DiscardPolicy::New,
                ..StreamConfig::default()
            };
            for config in [messages, delays] {
                self.jetstream.get_or_create_stream(config).await.map_err(unavailable)?;
            }
            Ok(())
        };
        self.streams.get_or_try_init(make).await.copied()
    }

    /// Make a queue unless this connection knows it. Types are added to those it takes already, never removed: another version of the
    /// service may need them still.
    pub(super) async fn queue(&self, name: &str, types: BTreeSet<String>) -> Result<(), TransportError> {
        let token = names::token(name);
        let what = format!("{token} {types:?}");
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&what) {
            return Ok(());
        }
        self.streams().await?;
        let durable = names::consumer(&token);
        let stream = self.names.stream();
        let found = self.jetstream.get_consumer_from_stream::<PullConfig, _, _>(&durable, &stream).await;
        let mut subjects = types;
        subjects.insert(self.names.of_queue(name));
        let mut before = BTreeSet::new();
        if let Ok(consumer) = &found {
            let config = &consumer.cached_info().config;
            before.extend(config.filter_subjects.iter().cloned());
            before.extend(Some(config.filter_subject.clone()).filter(|subject| !subject.is_empty()));
        }
        if !subjects.is_subset(&before) {
            subjects.extend(before);
            self.consumer(durable, subjects.into_iter().collect()).await?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(what);
        Ok(())
    }

    async fn consumer(&self, durable: String, mut subjects: Vec<String>) -> Result<(), TransportError> {
        let mut config = PullConfig {
            durable_name: Some(durable),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: IN_HAND_MAX,
            ..PullConfig::default()
        };
        match subjects.len() {
            1 => config.filter_subject = subjects.swap_remove(0),
            _ => config.filter_subjects = subjects,
        }
        self.jetstream.create_consumer_on_stream(config, self.names.stream()).await.map_err(api)?;
        Ok(())
    }

    /// The consumer behind a queue that was made.
    pub(super) async fn find(&self, queue: &str) -> Result<Consumer<PullConfig>, TransportError> {
        let durable = names::consumer(&names::token(queue));
        self.jetstream.get_consumer_from_stream(&durable, self.names.stream()).await.map_err(api)
    }

    /// Something that was believed to be there is not.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) async fn close(&self) {
        // Settlements are on their way still. While the connection is lost the client would wait for the next one.
        if !matches!(tokio::time::timeout(ANSWER, self.client.flush()).await, Ok(Ok(()))) {
            tracing::debug!("close: the connection is gone already");
        }
        let _ = self.client.drain().await; // gone as well
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(mover) = self.mover.get() {
            mover.abort();
        }
    }
}

fn named(options: ConnectOptions) -> ConnectOptions {
    options.name("stele-bus").connection_timeout(ANSWER).request_timeout(Some(ANSWER))
}

/// As the address says: user and password, or a token.
fn login(server: &ServerAddr) -> Auth {
    let (user, password) = (server.username().map(str::to_owned), server.password().map(str::to_owned));
    let mut login = Auth::new();
    match password {
        Some(password) => (login.username, login.password) = (user, Some(password)),
        None => login.token = user,
    }
    login
}

/// The server could not be asked.
pub(super) fn unavailable(error: impl std::fmt::Display) -> TransportError {
    TransportError::Unavailable(error.to_string())
}

/// What the server said about a consumer. Its words do not tell whether it helps to ask again, so it may.
fn api(error: impl std::fmt::Display) -> TransportError {
    TransportError::Unavailable(error.to_string())
}
