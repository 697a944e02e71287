//! What an operator can set, where each value came from, and what is wrong with it.
//!
//! The command line loads it once at the start ([`load`]) and hands [`Config`] to the node. Precedence: flags, then environment
//! (`STELE__SECTION__KEY`), then file, then defaults. [`SETTINGS`] is the one list of keys: loading, `config show` and the check
//! of `docs/configuration.md` walk it. A value that passed is in range and believed from then on.
//!
//! Not here: what can change while the node runs (users, policies: the registry's), and reading the files that `[tls]` names.

mod input;
mod load;
mod nats;
mod objects;
mod settings;
mod suggest;
#[cfg(test)]
mod tests;

pub use load::{ConfigError, ConfigErrors, Flag, Loaded, Origin, Sources, load, parse};
pub use nats::NatsUserSetting;
pub use objects::{NamespaceSetting, PolicySetting};
pub use settings::{SETTINGS, Setting};
pub use suggest::nearest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use stele_model::registry::ScramSecret;

/// All settings, in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// How the work is spread over the machine.
    pub threads: Threads,
    /// Where clients and operators connect.
    pub listen: Listen,
    /// Certificate and key; `None`: no TLS on any port.
    pub tls: Option<TlsFiles>,
    /// Users by name, put into the registry at every start.
    pub users: BTreeMap<String, UserSetting>,
    /// Users with this tag that are not among [`Self::users`] are removed at every start: a configuration that was theirs has taken them
    /// out.
    pub users_removed_by_tag: Option<String>,
    /// Namespaces by name, put into the registry at every start.
    pub namespaces: BTreeMap<String, NamespaceSetting>,
    /// Policies by name, put into the registry at every start.
    pub policies: BTreeMap<String, PolicySetting>,
    /// What Kafka's clients are told.
    pub kafka: Kafka,
    /// What NATS clients are told.
    pub nats: Nats,
    /// What one client may claim.
    pub limits: Limits,
    /// How much the durable log may use.
    pub log: LogLimits,
    /// What is written about the node's doings.
    pub logging: Logging,
}

/// How the work is spread over the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Threads that serve sockets, 1–1024; `None`: as many as the machine suggests.
    pub io: Option<u16>,
    /// Shards, each with a thread and a log of its own, 1–1024; `None`: as many as the machine suggests. An existing data
    /// directory keeps the number it was made with.
    pub shards: Option<u16>,
}

/// Where clients and operators connect. `None`: not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// AMQP; with `[tls]` set, TLS is told from plain by the first byte.
    pub amqp: Option<SocketAddr>,
    /// AMQP over TLS only.
    pub amqps: Option<SocketAddr>,
    /// Kafka; with `[tls]` set, TLS is told from plain by the first byte.
    pub kafka: Option<SocketAddr>,
    /// NATS; TLS as [`Nats::tls`] says.
    pub nats: Option<SocketAddr>,
    /// nats-server's monitoring endpoints (`/varz`, `/connz`, `/jsz` and others), without login.
    pub nats_monitor: Option<SocketAddr>,
    /// HTTP API and health.
    pub http: Option<SocketAddr>,
    /// Prometheus metrics, without login.
    pub metrics: Option<SocketAddr>,
}

impl Listen {
    /// All addresses by the keys of their settings.
    #[must_use]
    pub fn all(&self) -> [(&'static str, Option<SocketAddr>); 7] {
        let Self { amqp, amqps, kafka, nats, nats_monitor, http, metrics } = *self;
        [
            ("listen.amqp", amqp),
            ("listen.amqps", amqps),
            ("listen.kafka", kafka),
            ("listen.nats", nats),
            ("listen.nats_monitor", nats_monitor),
            ("listen.http", http),
            ("listen.metrics", metrics),
        ]
    }
}

/// What Kafka's clients are told, and may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// The host that clients are told to connect to; `None`: the address that each came to.
    pub advertised_host: Option<String>,
    /// The port that clients are told to connect to; `None`: the one that each came to.
    pub advertised_port: Option<u16>,
    /// The user that clients are who do not log in; `None`: they must.
    pub anonymous: Option<String>,
    /// Topics that are not there are made when a client asks for them.
    pub auto_create: bool,
    /// Partitions of a topic when nobody says, 1–4096.
    pub partitions: u32,
    /// Largest request, 1 MiB–100 MiB.
    pub request_bytes_max: u32,
    /// How long the first member of an empty group waits for others, 0–60 000 ms.
    pub group_initial_delay_ms: u64,
    /// Shortest session time that a group accepts, 1–86 400 000 ms.
    pub group_session_ms_min: u32,
    /// Longest session time that a group accepts, 1–86 400 000 ms, at least the shortest.
    pub group_session_ms_max: u32,
    /// How long positions stay that nobody uses, 1–5 256 000 minutes.
    pub offsets_retention_minutes: u64,
}

/// What NATS clients are told, and may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nats {
    /// What the server calls itself.
    pub server_name: String,
    /// The user that clients are who do not say who they are; `None`: they must.
    pub anonymous: Option<String>,
    /// What clients say of who they are counts. `false`: all are `anonymous`, if that is set.
    pub checks_credentials: bool,
    /// JetStream is there. Without it its requests are messages that nobody hears.
    pub jetstream: bool,
    /// How TLS begins, where there is a certificate.
    pub tls: NatsTls,
    /// Longest wait until TLS is agreed where it must be, milliseconds.
    pub tls_wait_ms: u64,
    /// How long a client is listened to before INFO where TLS comes first, milliseconds; one that does not begin meanwhile is told INFO, and
    /// begins then. 0: it is not.
    pub tls_first_ms: u64,
    /// Longest headers and payload of a message, 1 B–14 MiB.
    pub payload_bytes_max: u32,
    /// Longest arguments of a control line, 512 B–16 KiB.
    pub control_line_bytes_max: u32,
    /// Subscriptions of one connection, 1–1 048 576.
    pub subscriptions_max: u32,
    /// Bytes that wait for a client; one who leaves more is cut. 64 KiB–1 GiB.
    pub pending_bytes_max: u64,
    /// A client who takes nothing for so long although something waits is cut, milliseconds.
    pub write_deadline_ms: u64,
    /// A silent client is asked after so many milliseconds whether it is there.
    pub ping_interval_ms: u64,
    /// Most such questions without an answer.
    pub pings_out_max: u32,
    /// Longest wait for CONNECT, milliseconds.
    pub auth_timeout_ms: u64,
}

/// How TLS begins on a NATS connection, where there is a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatsTls {
    /// After INFO, if the client wants it.
    Optional,
    /// After INFO, always.
    Required,
    /// Before anything is said, always.
    First,
}

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients' certificates; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
    /// Clients without a certificate are let in, to log in otherwise.
    pub client_may_lack: bool,
    /// What of a client's certificate names the user it logs in as by SASL EXTERNAL; `None`: certificates log nobody in.
    pub login_from: Option<LoginFrom>,
}

/// A part of a certificate that names a user, in RabbitMQ's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFrom {
    /// The whole subject, as RFC 4514 writes it.
    DistinguishedName,
    /// The subject's common names.
    CommonName,
    /// The first DNS name among the alternative names.
    SubjectAlternativeName,
}

impl LoginFrom {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DistinguishedName, Self::CommonName, Self::SubjectAlternativeName];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DistinguishedName => "distinguished_name",
            Self::CommonName => "common_name",
            Self::SubjectAlternativeName => "subject_alternative_name",
        }
    }
}

/// A user as the configuration gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSetting {
    /// See [`crate::passwords`]; empty: no password lets in.
    pub password_hash: String,
    /// See [`crate::scram`]; empty if the password is not known but as its hash.
    pub scram: Vec<ScramSecret>,
    /// Tags, such as `administrator`.
    pub tags: Vec<String>,
    /// What holds for it as a NATS client.
    pub nats: NatsUserSetting,
    /// The namespace (AMQP: vhost) the three patterns are granted in.
    pub namespace: String,
    /// Regular expression: what it may configure.
    pub configure: String,
    /// Regular expression: what it may write to.
    pub write: String,
    /// Regular expression: what it may read from.
    pub read: String,
    /// Bounds on keys of topic exchanges: expressions of keys to publish with and to bind with, by exchange.
    pub topics: BTreeMap<String, (String, String)>,
}

/// What one client may claim. What goes beyond is refused in the words of its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame offered to AMQP clients, 8 KiB–128 KiB.
    pub frame_bytes_max: u32,
    /// Most connections at a time, 1–1 000 000; fewer if the process has too few file handles.
    pub connections_max: u32,
    /// Most channels of one connection, 1–2047.
    pub channels_max: u16,
    /// Heartbeat offered to clients, 0–3 600 seconds; 0: none.
    pub heartbeat_s: u16,
    /// Largest record, 1 KiB–15 MiB: it must fit into one block of the log.
    pub message_bytes_max: u32,
    /// Bytes of messages and requests that have not come whole, over all connections, 64 MiB–1 TiB.
    pub unfinished_bytes_max: u64,
    /// Bytes of records that were asked for and not taken, over all connections, 64 MiB–1 TiB.
    pub unread_bytes_max: u64,
}

/// How much the durable log may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Size of a log segment, 1 MiB–1 GiB, a multiple of 4 KiB.
    pub segment_bytes: u64,
    /// Log kept before survivors are moved out of it, over all shards; at least four segments.
    pub budget_bytes: u64,
    /// Recent blocks kept in memory, over all shards; from 1 MiB.
    pub memory_bytes: u64,
}

/// What is written about the node's doings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// What to write: levels by target, as in `info,stele_server=debug`.
    pub filter: String,
    /// How to write it.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text each.
    Text,
    /// One JSON object each.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let everywhere = |port| Some(SocketAddr::from(([0, 0, 0, 0], port)));
        Self {
            data_dir: PathBuf::from("stele-data"),
            threads: Threads { io: None, shards: None },
            listen: Listen {
                amqp: everywhere(ports::AMQP),
                amqps: None,
                kafka: everywhere(ports::KAFKA),
                nats: everywhere(ports::NATS),
                nats_monitor: None,
                http: everywhere(ports::HTTP),
                metrics: everywhere(ports::METRICS),
            },
            tls: None,
            users: BTreeMap::new(),
            users_removed_by_tag: None,
            namespaces: BTreeMap::new(),
            policies: BTreeMap::new(),
            kafka: Kafka {
                advertised_host: None,
                advertised_port: None,
                anonymous: None,
                auto_create: true,
                partitions: 1,
                request_bytes_max: 100 << 20,
                group_initial_delay_ms: 0,
                group_session_ms_min: 6_000,
                group_session_ms_max: 1_800_000,
                offsets_retention_minutes: 7 * 24 * 60,
            },
            nats: Nats {
                server_name: "stele".into(),
                anonymous: None,
                checks_credentials: true,
                jetstream: true,
                tls: NatsTls::Optional,
                payload_bytes_max: 1 << 20,
                control_line_bytes_max: 4096,
                subscriptions_max: 1 << 20,
                pending_bytes_max: 64 << 20,
                write_deadline_ms: 10_000,
                ping_interval_ms: 120_000,
                pings_out_max: 2,
                auth_timeout_ms: 2_000,
                tls_wait_ms: 2_000,
                tls_first_ms: 0,
            },
            limits: Limits {
                frame_bytes_max: 128 << 10,
                connections_max: 65_536,
                channels_max: 2047,
                heartbeat_s: 60,
                message_bytes_max: 15 << 20,
                unfinished_bytes_max: 512 << 20,
                unread_bytes_max: 512 << 20,
            },
            log: LogLimits { segment_bytes: 128 << 20, budget_bytes: 8 << 30, memory_bytes: 256 << 20 },
            logging: Logging { filter: "info".into(), format: LogFormat::Auto },
        }
    }
}

impl Default for UserSetting {
    fn default() -> Self {
        let everything = || ".*".to_owned();
        Self {
            password_hash: String::new(),
            scram: Vec::new(),
            tags: Vec::new(),
            nats: NatsUserSetting::default(),
            namespace: "/".into(),
            configure: everything(),
            write: everything(),
            read: everything(),
            topics: BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for UserSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserSetting")
            .field("tags", &self.tags)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The ports that clients expect.
pub mod ports {
    /// AMQP.
    pub const AMQP: u16 = 5672;
    /// AMQP over TLS.
    pub const AMQPS: u16 = 5671;
    /// Kafka.
    pub const KAFKA: u16 = 9092;
    /// NATS.
    pub const NATS: u16 = 4222;
    /// nats-server's monitoring endpoints.
    pub const NATS_MONITOR: u16 = 8222;
    /// HTTP API and health.
    pub const HTTP: u16 = 15672;
    /// Prometheus metrics.
    pub const METRICS: u16 = 15692;
}

impl Config {
    /// The settings of `stele dev`, to be put below environment and flags: loopback only, the known ports each plus
    /// `port_offset`, and one user `guest` whose password is `guest`, for whom clients of Kafka and NATS are taken
    /// that do not log in. `None`: a port would be above 65 535.
    #[must_use]
    pub fn dev(port_offset: u16) -> Option<Vec<(&'static str, String)>> {
        let address = |port: u16| Some(format!("127.0.0.1:{}", port.checked_add(port_offset)?));
        Some(vec![
            ("listen.amqp", address(ports::AMQP)?),
            ("listen.kafka", address(ports::KAFKA)?),
            ("listen.nats", address(ports::NATS)?),
            ("listen.nats_monitor", address(ports::NATS_MONITOR)?),
            ("listen.http", address(ports::HTTP)?),
            ("listen.metrics", address(ports::METRICS)?),
            ("auth.users.guest.password", "guest".into()),
            ("auth.users.guest.tags", "administrator".into()),
            ("kafka.anonymous", "guest".into()),
            ("nats.anonymous", "guest".into()),
        ])
    }
}
