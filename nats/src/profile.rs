//! What a server is set to: one for all its NATS connections.

use crate::codec::Limits as CodecLimits;
use crate::jet::limits::Limits;
use std::collections::BTreeMap;

/// The version of nats-server that we are like; clients switch features on by it.
pub const VERSION: &str = "2.15.2";

/// The settings, with nats-server's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The server's number, in the form of a public key (`N…`).
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Address that it listens on, as clients are told.
    pub host: String,
    /// Port that it listens on.
    pub port: u16,
    /// The namespace of clients that belong to no other: the account `$G`.
    pub namespace: String,
    /// Clients must say who they are; otherwise they may, and are somebody the driver knows.
    pub auth_required: bool,
    /// Clients may log in by a key, and get something to sign.
    pub has_keys: bool,
    /// TLS: whether there is a certificate, whether clients must use it, and whether they must show one.
    pub tls: TlsUse,
    /// Nobody has to say who they are, and what they say of it is not looked at.
    pub ignores_credentials: bool,
    /// There are streams.
    pub jetstream: bool,
    /// What accounts may have of JetStream, by namespace; those that are not named have no limits.
    pub accounts: BTreeMap<String, Limits>,
    /// What clients may send.
    pub limits: CodecLimits,
    /// Most subscriptions of a connection.
    pub subscriptions_max: u32,
    /// A client that says nothing for so long is asked whether it is there, milliseconds.
    pub ping_interval_ms: u64,
    /// Most such questions without an answer.
    pub pings_out_max: u32,
    /// Longest wait for CONNECT where clients must say who they are, milliseconds.
    pub auth_timeout_ms: u64,
}

/// How clients use TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsUse {
    /// They may.
    pub is_available: bool,
    /// They must.
    pub is_required: bool,
    /// They must show a certificate.
    pub verifies: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            server_id: format!("N{}", "A".repeat(55)),
            server_name: "stele".to_owned(),
            host: "0.0.0.0".to_owned(),
            port: 4222,
            namespace: "/".to_owned(),
            auth_required: false,
            has_keys: false,
            tls: TlsUse::default(),
            ignores_credentials: false,
            jetstream: false,
            accounts: BTreeMap::new(),
            limits: CodecLimits { control_line_bytes_max: 4096, payload_bytes_max: 1 << 20 },
            subscriptions_max: 1 << 20,
            ping_interval_ms: 120_000,
            pings_out_max: 2,
            auth_timeout_ms: 2_000,
        }
    }
}
