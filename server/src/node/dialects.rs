//! The sessions of new connections, by what their listener speaks. The only place that names the dialects' crates beside the settings.

use super::Addresses;
use super::acceptor::Refusals;
use super::io::{Arrival, Dialect, Guests, NatsUser, Sessions};
use super::start::{StartError, random};
use crate::config::{Config, NatsTls, UserSetting};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use stele_amqp091::profile as amqp091;
use stele_amqp091::session::Connection as Amqp091;
use stele_hub::registry::PARTITIONS_MAX;
use stele_model::id::Now;
use stele_model::session::{Outbox, Session};
use stele_nats::jet::push::PushService;

/// Largest message: a record is one piece, and a block holds 15.5 MiB, or a quarter of a segment if that is less.
const MESSAGE_BYTES_MAX: u32 = 15 << 20;

/// Room in a block for what a record is besides its body, and for its entry.
const RECORD_OVERHEAD_BYTES: u32 = 160 << 10;

/// Addresses of this machine for which a profile is kept.
const PROFILES_MAX: usize = 64;

/// What a NATS client signs, before it is written as text; as many as with nats-server.
const NONCE_BYTES: usize = 11;

/// What makes the session of each new connection of an IO thread. `here`: where clients come to.
pub(super) fn sessions(config: &Config, here: &Addresses) -> Result<Sessions, StartError> {
    let mut amqp = amqp091(config)?;
    let mut kafka = Kafka::new(config)?;
    let nats = Nats::new(config, here)?;
    Ok(Box::new(move |arrival: &Arrival, now| match arrival.dialect {
        Dialect::Amqp => Box::new(amqp(now)),
        Dialect::Kafka => Box::new(kafka.session(arrival, now)),
        Dialect::Nats => Box::new(nats.session(arrival.peer, now)),
    }))
}

/// What a client is told for which there is no place.
pub(super) fn refusals(config: &Config, here: &Addresses) -> Result<Refusals, StartError> {
    let nats = Nats::new(config, here)?;
    Ok(Box::new(move |dialect, peer| match dialect {
        Dialect::Nats => nats.refusal(peer),
        Dialect::Amqp | Dialect::Kafka => Vec::new(),
    }))
}

/// What the configuration says of clients besides what goes into the registry.
pub(super) fn guests(config: &Config) -> Guests {
    let of = |user: &UserSetting| NatsUser {
        token: user.nats.token.clone(),
        nkey: user.nats.nkey.clone(),
        namespace: user.namespace.clone(),
        grants: user.nats.grants(),
    };
    Guests {
        anonymous_kafka: config.kafka.anonymous.clone(),
        anonymous_nats: config.nats.anonymous.clone(),
        nats: config.users.iter().map(|(name, user)| (name.clone(), of(user))).collect(),
    }
}

/// The server's own session for a namespace: it pushes what consumers are to get of streams.
pub(super) fn service(namespace: &str) -> Box<dyn Session + Send> {
    Box::new(PushService::new(namespace))
}

fn amqp091(config: &Config) -> Result<impl FnMut(Now) -> Amqp091 + use<>, StartError> {
    let block_bytes = u32::try_from(config.log.segment_bytes / 4).unwrap_or(u32::MAX);
    let message_bytes_max = MESSAGE_BYTES_MAX.min(block_bytes - RECORD_OVERHEAD_BYTES);
    let limits = config.limits;
    let profile = Arc::new(amqp091::Profile {
        frame_bytes_max: limits.frame_bytes_max.min(amqp091::FRAME_BYTES_MAX),
        channel_max: limits.channels_max.min(amqp091::CHANNEL_MAX),
        heartbeat_s: limits.heartbeat_s,
        message_bytes_max: limits.message_bytes_max.min(message_bytes_max),
        ..amqp091::Profile::default()
    });
    let mut number = u64::from_le_bytes(random()?);
    Ok(move |now| {
        number = number.wrapping_add(1);
        Amqp091::new(Arc::clone(&profile), number, now)
    })
}

/// Makes Kafka's sessions.
struct Kafka {
    profile: stele_kafka::Profile,
    advertised: (Option<String>, Option<u16>),
    /// By the address that clients came to: it is what they are told to come to again, unless the configuration says otherwise.
    profiles: BTreeMap<SocketAddr, Arc<stele_kafka::Profile>>,
    seed: [u8; 24],
    number: u64,
}

impl Kafka {
    fn new(config: &Config) -> Result<Self, StartError> {
        let kafka = &config.kafka;
        let profile = stele_kafka::Profile {
            request_bytes_max: kafka.request_bytes_max,
            auto_create: kafka.auto_create,
            partitions: kafka.partitions,
            partitions_max: PARTITIONS_MAX,
            session_ms: milliseconds(kafka.group_session_ms_min)..=milliseconds(kafka.group_session_ms_max),
            group_initial_delay_ms: kafka.group_initial_delay_ms,
            offsets_retention_minutes: kafka.offsets_retention_minutes,
            log_dir: config.data_dir.display().to_string(),
            login: kafka.anonymous.is_none(),
            ..stele_kafka::Profile::default()
        };
        let advertised = (kafka.advertised_host.clone(), kafka.advertised_port);
        Ok(Self { profile, advertised, profiles: BTreeMap::new(), seed: random()?, number: 0 })
    }

    fn session(&mut self, arrival: &Arrival, now: Now) -> stele_kafka::Connection {
        // A socket that is closed already has no address any more; its session will not say much.
        let here = arrival.socket.local_addr().unwrap_or(arrival.peer);
        let profile = self.profile_for(here);
        self.number += 1;
        let mut seed = [0; 32];
        let (random, number) = seed.split_at_mut(self.seed.len());
        random.copy_from_slice(&self.seed);
        number.copy_from_slice(&self.number.to_le_bytes());
        stele_kafka::Connection::new(profile, &arrival.peer.ip().to_string(), seed, now)
    }

    fn profile_for(&mut self, here: SocketAddr) -> Arc<stele_kafka::Profile> {
        if let Some(profile) = self.profiles.get(&here) {
            return Arc::clone(profile);
        }
        if self.profiles.len() >= PROFILES_MAX {
            self.profiles.clear();
        }
        let (host, port) = self.advertised.clone();
        let profile = Arc::new(stele_kafka::Profile {
            host: host.unwrap_or_else(|| shown(here.ip())),
            port: port.unwrap_or(here.port()),
            ..self.profile.clone()
        });
        self.profiles.insert(here, Arc::clone(&profile));
        profile
    }
}

/// A time of the configuration as Kafka's protocol carries it; what is configured fits.
fn milliseconds(ms: u32) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}

/// Makes sessions of NATS.
struct Nats {
    profile: Arc<stele_nats::Profile>,
    /// Unguessable, and counted on for each connection: what clients with a key sign.
    nonce: u128,
}

/// The last number of a NATS connection; they are told apart by it over all IO threads.
static CLIENT_ID: AtomicU64 = AtomicU64::new(0);

impl Nats {
    fn new(config: &Config, here: &Addresses) -> Result<Self, StartError> {
        let nats = &config.nats;
        let is_available = config.tls.is_some();
        let tls = stele_nats::profile::TlsUse {
            is_available,
            is_required: is_available && nats.tls != NatsTls::Optional,
            verifies: config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
        };
        let limits = stele_nats::codec::Limits {
            control_line_bytes_max: nats.control_line_bytes_max as usize,
            payload_bytes_max: nats.payload_bytes_max as usize,
        };
        // What is bound: a configured port of 0 is any that was free.
        let listen = here.nats.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let profile = stele_nats::Profile {
            server_id: server_id(),
            server_name: nats.server_name.clone(),
            host: listen.ip().to_string(),
            port: listen.port(),
            auth_required: nats.anonymous.is_none(),
            has_keys: config.users.values().any(|user| user.nats.nkey.is_some()),
            ignores_credentials: nats.anonymous.is_some() && !nats.checks_credentials,
            jetstream: nats.jetstream,
            accounts: config
                .namespaces
                .iter()
                .map(|(name, setting)| (name.clone(), setting.jetstream))
                .collect(),
            tls,
            limits,
            subscriptions_max: nats.subscriptions_max,
            ping_interval_ms: nats.ping_interval_ms,
            pings_out_max: nats.pings_out_max,
            auth_timeout_ms: nats.auth_timeout_ms,
            ..stele_nats::Profile::default()
        };
        let nonce = u128::from_le_bytes(random()?);
        Ok(Self { profile: Arc::new(profile), nonce })
    }

    /// Who speaks, as nats-server says it before anything else, and that there is no place.
    fn refusal(&self, peer: SocketAddr) -> Vec<u8> {
        let (mut out, mut bytes) = (Outbox::default(), Vec::new());
        self.session(peer, Now::default()).greet(Now::default(), &mut out);
        out.write.take(|piece| bytes.extend_from_slice(&piece));
        bytes.extend_from_slice(b"-ERR 'maximum connections exceeded'\r\n");
        bytes
    }

    fn session(&self, peer: SocketAddr, now: Now) -> stele_nats::Connection {
        let client_id = CLIENT_ID.fetch_add(1, Ordering::Relaxed) + 1;
        let nonce = self.nonce.wrapping_add(client_id.into());
        let arrival = stele_nats::Arrival {
            client_id,
            ip: shown(peer.ip()),
            nonce: URL_SAFE_NO_PAD.encode(&nonce.to_le_bytes()[..NONCE_BYTES]),
        };
        stele_nats::Connection::new(Arc::clone(&self.profile), arrival, now)
    }
}

/// The number by which NATS clients know the server, in the letters of a public key. One for a process.
#[must_use]
pub fn server_id() -> String {
    static ID: OnceLock<String> = OnceLock::new();
    let made = || {
        let random: [u8; 55] = random().unwrap_or([0; 55]);
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let letters = random.iter().map(|byte| char::from(letters[usize::from(byte % 32)]));
        std::iter::once('N').chain(letters).collect()
    };
    ID.get_or_init(made).clone()
}

/// An address as clients can use it: one of version 4 that came through a socket of version 6 is written as what it is.
fn shown(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}
