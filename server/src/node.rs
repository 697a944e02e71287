//! A running node: the registry, shards and IO threads of one data directory, and how they start and end.
//!
//! Started by the command line, looked at through [`Inspect`]. Threads: one for each IO hub, one for each shard and one for the registry
//! (each with a journal thread inside its log), an acceptor, a small reader pool, and a watch that looks at clock and disk once a second.
//! They share nothing but inboxes and the published snapshot of definitions.

mod acceptor;
mod bell;
mod clock;
mod complaints;
mod dialects;
mod inbox;
mod inspect;
mod io;
mod logins;
mod memory;
mod readers;
mod registry;
mod rest;
mod seats;
mod shard;
mod start;
mod stop;
mod warm;
mod watch;

pub use dialects::server_id as nats_server_id;
pub use io::LameDuck;
pub use start::StartError;
pub use stop::{Reason, Stop};

use crate::config::Config;
use crate::tls::{Tls, TlsError};
use acceptor::Acceptor;
use arc_swap::ArcSwap;
use clock::Clock;
use inbox::Inbox;
use io::{Farewell, IoMessage};
use registry::RegistryMessage;
use shard::ShardMessage;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use stele_hub::Snapshot;

/// A running node.
pub struct Node {
    stop: Stop,
    snapshot: Arc<ArcSwap<Snapshot>>,
    hubs: Vec<Inbox<IoMessage>>,
    shards: Vec<Inbox<ShardMessage>>,
    registry: Inbox<RegistryMessage>,
    acceptor: Acceptor,
    addresses: Addresses,
    clock: Arc<Clock>,
    tls: Option<Arc<Tls>>,
    threads: Mutex<Threads>,
}

/// Where a node's clients connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// AMQP; TLS too where a certificate is configured.
    pub amqp: Option<SocketAddr>,
    /// AMQP over TLS only.
    pub amqps: Option<SocketAddr>,
    /// Kafka; TLS too where a certificate is configured.
    pub kafka: Option<SocketAddr>,
    /// NATS.
    pub nats: Option<SocketAddr>,
}

/// Handles of the threads, in the order in which they are to end.
#[derive(Default)]
struct Threads {
    io: Vec<JoinHandle<()>>,
    shards: Vec<JoinHandle<()>>,
    registry: Vec<JoinHandle<()>>,
}

impl Node {
    /// Opens the data directory, brings everything back, and serves.
    ///
    /// # Errors
    /// What could not be opened, read or bound, and what helps.
    pub fn start(config: &Config) -> Result<Arc<Self>, StartError> {
        start::start(config)
    }

    /// Where clients connect.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The switch that ends the node, to be asked from a signal handler, and waited for.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Reads certificate and key again; new connections get the new ones.
    ///
    /// # Errors
    /// What is wrong with the files; the ones in use stay.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.reload())
    }

    /// Reads namespaces, users and policies again, and who may come in; clients whose login does not hold any more are turned out.
    /// The other settings stay as they were at the start.
    ///
    /// # Errors
    /// What was refused of it; what stands before it is in place.
    pub fn read_users_again(&self, config: &Config) -> Result<(), StartError> {
        start::read_users_again(self, config)
    }

    /// Leaves slowly: no new connections, and those that are here are told and closed one after the other. When none is left, the node asks
    /// itself to stop (see [`Self::stop`]).
    pub fn leave(&self, pace: LameDuck) {
        self.acceptor.stop();
        let farewell = Arc::new(Farewell { pace, stop: self.stop() });
        self.hubs.iter().for_each(|hub| hub.send(IoMessage::Leave(Arc::clone(&farewell)), 0));
    }

    /// Ends in order: no new connections, goodbye to every client, everything taken is made durable. Blocks until it is done. Calling it
    /// again does nothing.
    pub fn shutdown(&self) {
        self.stop.ask();
        self.acceptor.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        self.hubs.iter().for_each(|hub| hub.send(IoMessage::Stop, 0));
        join(threads.io);
        self.shards.iter().for_each(|shard| shard.send(ShardMessage::Stop, 0));
        join(threads.shards);
        self.registry.send(RegistryMessage::Stop, 0);
        join(threads.registry);
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        let name = thread.thread().name().unwrap_or("a thread").to_owned();
        if thread.join().is_err() {
            tracing::error!(name, "a thread ended by a panic");
        }
    }
}
