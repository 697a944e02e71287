//! What an IO thread is sent, what it tells, and what it is wired to.

use super::budget::Budgets;
use super::leave::Farewell;
use super::roll::Calling;
use super::services::Inquiry;
use super::transport::Security;
use crate::node::clock::Clock;
use crate::node::inbox::Inbox;
use crate::node::logins::{Fit, Logins};
use crate::node::registry::RegistryMessage;
use crate::node::rest::Lookouts;
use crate::node::seats::Seat;
use crate::node::shard;
use crate::node::stop::Stop;
use arc_swap::ArcSwap;
use mio::net::TcpStream;
use mio::{Poll, Token};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use stele_hub::Snapshot;
use stele_hub::hub::HubMessage;
use stele_model::flow::FlowCounts;
use stele_model::id::{Call, HubId, Now, SessionId, ShardId};
use stele_model::live::SubjectGrants;
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::roll::Clients;
use stele_model::session::Session;
use stele_model::shard::ToHub;

/// By it the poll of an IO thread tells that the inbox has something.
const INBOX: Token = Token(usize::MAX);

/// What an IO thread is sent.
pub(crate) enum IoMessage {
    /// What a shard has released.
    Shard(ShardId, Vec<ToHub>),
    /// An answer of the registry.
    Registry(Call, Result<Done, Refusal>),
    /// From another hub.
    Hub(HubMessage),
    /// A new connection.
    Connection(Arrival),
    /// All connections have too much unfinished, or not read, and the one that has stalled longest is here.
    MakeWay,
    /// Publishers must stop, and why; or, as far as this source is concerned, may go on.
    Alarm(Source, Option<String>),
    /// Which hash the secret of a session's login fits; by the number of the check.
    Checked(SessionId, u64, Option<Fit>),
    /// Users were read again.
    Rules(Box<Rules>),
    /// Say goodbye to every client, slowly.
    Leave(Arc<Farewell>),
    /// Tell who is here.
    Clients {
        /// With what they listen to.
        listens: bool,
        /// Whom to tell.
        to: SyncSender<Clients>,
    },
    /// Add who is here to what a session has asked for.
    Roll(Arc<Calling>),
    /// All have: tell the session.
    Rolled(Arc<Calling>),
    /// Ask JetStream.
    Inquire(Inquiry),
    /// Tell what you hold.
    Report(SyncSender<IoReport>),
    /// Say goodbye to every client, and end.
    Stop,
}

/// A connection that was accepted.
pub(crate) struct Arrival {
    /// Its socket.
    pub socket: TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Plain or TLS.
    pub security: Security,
    /// What it speaks.
    pub dialect: Dialect,
    /// Its right to be here.
    pub seat: Seat,
}

/// What the clients of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// AMQP 0-9-1.
    Amqp,
    /// Kafka.
    Kafka,
    /// NATS.
    Nats,
}

impl Dialect {
    /// Whether its clients are sent what they did not grant credit for, so that one who does not take it has to be cut.
    pub(crate) fn is_live(self) -> bool {
        self == Self::Nats
    }

    /// Its word in the flow graph.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Kafka => "kafka",
            Self::Nats => "nats",
        }
    }
}

/// Who raises an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The watch over the disk.
    Disk,
    /// A shard whose log is full.
    Log(ShardId),
}

/// What an IO thread has done and holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct IoReport {
    /// The flow its hub counted.
    pub flow: FlowCounts,
    /// Its sums.
    pub counters: IoCounters,
    /// Open connections.
    pub connections: u64,
}

/// Sums of an IO thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IoCounters {
    /// Reads of sockets that brought something.
    pub reads: u64,
    /// Bytes they brought.
    pub read_bytes: u64,
    /// Records published.
    pub messages_in: u64,
    /// Records delivered.
    pub messages_out: u64,
    /// Records whose publisher was told that they are safe.
    pub confirmed: u64,
    /// Records whose publisher was told that a queue refused them.
    pub refused: u64,
    /// Times that publishers were told so: one may stand for many.
    pub confirm_writes: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Bytes they took.
    pub written_bytes: u64,
    /// Logins refused.
    pub rejected: u64,
    /// Connections ever accepted.
    pub accepted: u64,
    /// Connections that were cut because they did not take what they listen to.
    pub cut: u64,
}

impl IoCounters {
    /// Counts what a session asks for.
    pub(super) fn asked(&mut self, op: &Op) {
        match op {
            Op::Publish(batch) => self.messages_in += batch.items.len() as u64,
            Op::Append(appends) => {
                self.messages_in += appends.parts.iter().map(|part| u64::from(part.batch.count)).sum::<u64>();
            }
            _ => {}
        }
    }

    /// Counts what a session is told.
    pub(super) fn answered(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Published(done) => {
                let kept = done.batch.items.len() - done.refused.len() - done.dropped.len();
                self.confirmed += kept as u64;
                self.refused += done.refused.len() as u64;
                self.confirm_writes += 1;
            }
            Outcome::Done(Done::Read(parts)) => {
                let batches = parts.iter().flatten().flat_map(|part| &part.batches);
                self.messages_out += batches.map(|batch| u64::from(batch.count)).sum::<u64>();
            }
            _ => {}
        }
    }
}

/// Where an IO thread's messages go, and what it shares.
pub(crate) struct Wiring {
    /// Its hub's number.
    pub hub: HubId,
    /// Its own inbox.
    pub inbox: Inbox<IoMessage>,
    /// By hub, itself included.
    pub hubs: Vec<super::Door>,
    /// By shard.
    pub shards: Vec<shard::Door>,
    /// The registry.
    pub registry: Inbox<RegistryMessage>,
    /// Definitions.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The time.
    pub clock: Arc<Clock>,
    /// Told when the thread cannot go on.
    pub stop: Stop,
    /// How long those who listen live are waited for.
    pub patience: Patience,
    /// By which clients come in.
    pub rules: Rules,
    /// Checks passwords where that takes long.
    pub logins: Logins,
    /// Which IO threads may look for events before they sleep.
    pub lookouts: Lookouts,
    /// Makes the server's own session for a namespace.
    pub service: fn(&str) -> Box<dyn Session + Send>,
    /// What all connections share.
    pub budgets: Arc<Budgets>,
    /// Largest frame that a session takes, bytes.
    pub frame_bytes_max: usize,
    /// Unguessable numbers for addresses made up here; the same for all hubs of a node.
    pub seed: [u64; 2],
}

/// By which rules clients come in.
pub(crate) struct Rules {
    /// Makes the session of a new connection.
    pub sessions: Sessions,
    /// What is known of clients besides the definitions.
    pub guests: Arc<Guests>,
}

/// What a client that listens live may leave with us before it is cut: others must not wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Bytes that wait for it.
    pub pending_bytes_max: usize,
    /// Milliseconds in which it takes nothing, although something waits.
    pub write_deadline_ms: u64,
}

/// What the configuration says of clients besides what stands in the registry. The same for all IO threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests {
    /// The user that Kafka's clients are who do not log in; `None`: they must.
    pub anonymous_kafka: Option<String>,
    /// The same for those of NATS.
    pub anonymous_nats: Option<String>,
    /// Users of NATS by name.
    pub nats: BTreeMap<String, NatsUser>,
}

/// How a user logs in by NATS, and what it may do there.
#[derive(Clone, Debug)]
pub(crate) struct NatsUser {
    /// A token that stands for it.
    pub token: Option<String>,
    /// A public key whose holder it is.
    pub nkey: Option<String>,
    /// Where it works.
    pub namespace: String,
    /// Subjects; `None`: all.
    pub grants: Option<Arc<SubjectGrants>>,
}

impl Guests {
    /// Who clients of a dialect are that say nothing of themselves.
    pub(super) fn anonymous(&self, dialect: Dialect) -> Option<&str> {
        match dialect {
            Dialect::Amqp => None,
            Dialect::Kafka => self.anonymous_kafka.as_deref(),
            Dialect::Nats => self.anonymous_nats.as_deref(),
        }
    }
}

/// Makes sessions.
pub(crate) type Sessions = Box<dyn FnMut(&Arrival, Now) -> Box<dyn Session + Send> + Send>;

/// Makes the poll of an IO thread and the inbox that wakes it.
///
/// # Errors
/// When the kernel has no more handles.
pub(crate) fn mailbox() -> io::Result<(Poll, Inbox<IoMessage>)> {
    let poll = Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), INBOX)?;
    let inbox = Inbox::new(move || {
        if let Err(error) = waker.wake() {
            tracing::error!(%error, "could not wake an io thread");
        }
    });
    Ok((poll, inbox))
}
