//! How a node comes up: locks its directory, brings registry and shards back from their logs, binds its ports, starts its threads.

use super::acceptor::{Acceptor, Listener};
use super::bell::Bell;
use super::clock::Clock;
use super::inbox::Inbox;
use super::io::{self, Dialect, IoMessage, Patience, Rules, Security, Silence, TimedTls};
use super::logins::Logins;
use super::memory::Memory;
use super::readers::Readers;
use super::registry::{self, RegistryMessage};
use super::rest::Lookouts;
use super::seats::Seats;
use super::shard::{self, ShardMessage};
use super::stop::Stop;
use super::warm::Warmer;
use super::watch::{self, Watch};
use super::{Addresses, Node, Threads, dialects};
use crate::config::{Config, NamespaceSetting, Nats, NatsTls, PolicySetting, UserSetting};
use crate::handles;
use crate::tls::{Tls, TlsError};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use stele_core::group::GroupSettings;
use stele_core::runner::{self, Runner, Settings};
use stele_core::shard::Shard;
use stele_hub::{Registry, Setup, Snapshot};
use stele_log::disk::real::RealDisk;
use stele_log::{Embedded, OpenError, Options, Recovery, Volume};
use stele_model::id::{HubId, Now, ShardId};
use stele_model::log::ReadError;
use stele_model::machine::Machine;
use stele_model::registry::{Change, Grant, KeyGrant, Policy, User};

/// Most shards that a node takes by itself; more make blocks smaller (STORAGE §1).
const SHARDS_MAX: usize = 8;

/// Longest wait for the shards to agree with the registry at the start.
const AGREE: Duration = Duration::from_secs(60);

/// Segments of the registry's log, bytes: it is small and written seldom.
const REGISTRY_SEGMENT_BYTES: u64 = 16 << 20;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A log could not be opened.
    #[error("could not open the log in {}: {why}", dir.display())]
    Log {
        /// Where.
        dir: PathBuf,
        /// Why.
        why: OpenError,
    },
    /// A machine could not be brought back.
    #[error("could not bring back what the log in {} holds: {why}", dir.display())]
    Replay {
        /// Where.
        dir: PathBuf,
        /// Why.
        why: String,
    },
    /// A port could not be listened on.
    #[error("could not listen on {address} ({what}): {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// For what.
        what: &'static str,
        /// Why.
        why: std::io::Error,
    },
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A namespace, user or policy of the configuration was refused.
    #[error("could not put `{key}` of the configuration in place: {why}")]
    Object {
        /// Its section.
        key: String,
        /// Why.
        why: String,
    },
    /// The machine gives no more threads or handles, or the directory cannot be used.
    #[error("could not {what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// Why.
        why: std::io::Error,
    },
}

/// Says what could not be read of a log; its engine names file and byte.
fn unreadable(error: ReadError) -> String {
    match error {
        ReadError::Trimmed { first } => format!("it begins with block {first}, and needs what was before"),
        ReadError::Corrupt { at, what } => format!("block {at}: {what}"),
        ReadError::Unavailable(why) => why,
    }
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> StartError {
    move |why| StartError::System { what: what.to_owned(), why }
}

/// The inbox of a thread that sleeps by its bell.
fn inbox_with_bell<T: Send + 'static>() -> (Inbox<T>, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    (Inbox::new(ring(&bell)), bell)
}

fn ring(bell: &Arc<Bell>) -> impl Fn() + Send + Sync + 'static + use<> {
    let bell = Arc::clone(bell);
    move || bell.ring()
}

pub(super) fn start(config: &Config) -> Result<Arc<Node>, StartError> {
    let tls = config.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
    let (listeners, addresses) = bind(config, tls.as_ref())?;
    let shard_count = shard_count(config)?;
    let hub_count = usize::from(config.threads.io.unwrap_or(0)).max(default_threads().min(SHARDS_MAX));
    let stop = Stop::default();

    let (registry_inbox, registry_bell) = inbox_with_bell();
    let (shard_inboxes, shard_bells): (Vec<_>, Vec<_>) = (0..shard_count).map(|_| inbox_with_bell()).unzip();

    // They are on one disk.
    let volume = Arc::new(Volume::default());
    let (registry_log, _) =
        open_log(config, "registry", 0, registry_options(config, &volume), ring(&registry_bell))?;
    let mut shard_logs = Vec::new();
    for (n, bell) in shard_bells.iter().enumerate() {
        let options = shard_options(config, n, shard_count, &volume);
        shard_logs.push(open_log(config, &format!("shard-{n}"), n as u16, options, ring(bell))?);
    }
    let clock = Arc::new(Clock::start(&config.data_dir));

    let readers = readers(&shard_logs, &shard_inboxes)?;
    let registry = registry_runner(config, registry_log, &clock, shard_count)?;
    let mut shards = Vec::new();
    for (n, (log, _)) in shard_logs.into_iter().enumerate() {
        shards.push(shard_runner(config, log, &clock, ShardId(n as u16), shard_count)?);
    }
    let snapshot = Arc::new(ArcSwap::new(registry.machine().current()));

    let mut polls = Vec::new();
    let mut hubs = Vec::new();
    for _ in 0..hub_count {
        let (poll, inbox) = io::mailbox().map_err(system("make an io thread's mailbox"))?;
        polls.push(poll);
        hubs.push(inbox);
    }
    let io_doors: Vec<_> = hubs.iter().cloned().map(io::Door::new).collect();

    watch::tell_of_clock(&shard_inboxes, clock.away_s().is_some());

    let mut threads = Threads::default();
    let mut doors = Vec::new();
    let lookouts = Lookouts::new(cores() / 2);
    let memory = Arc::new(Memory::new(config.log.memory_bytes as usize, shards.len()));
    let warmer = Warmer::start().map_err(system("start the thread that touches memory"))?;
    for ((n, mut runner), (inbox, bell)) in
        shards.into_iter().enumerate().zip(shard_inboxes.iter().zip(&shard_bells))
    {
        let wiring = shard::Wiring {
            shard: ShardId(n as u16),
            inbox: inbox.clone(),
            bell: Arc::clone(bell),
            lookouts: lookouts.clone(),
            hubs: io_doors.clone(),
            registry: registry_inbox.clone(),
            readers: readers.clone(),
            memory: Arc::clone(&memory),
            clock: Arc::clone(&clock),
            stop: stop.clone(),
        };
        runner.set_buffers(warmer.buffers());
        let driver = shard::Driver::new(runner, wiring);
        doors.push(driver.door());
        threads.shards.push(spawn(format!("shard-{n}"), move || driver.run())?);
    }
    let (agreed, agree) = sync_channel(1);
    let wiring = registry::Wiring {
        inbox: registry_inbox.clone(),
        bell: registry_bell,
        hubs: hubs.clone(),
        shards: shard_inboxes.clone(),
        snapshot: Arc::clone(&snapshot),
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        agreed,
    };
    let run = move || registry::run(registry, &wiring);
    threads.registry.push(spawn("registry".to_owned(), run)?);
    until_agreed(&agree, &stop).map_err(|why| StartError::Replay { dir: config.data_dir.clone(), why })?;
    put_objects(config, &registry_inbox, &snapshot.load())?;

    // One for all hubs: each must know the addresses for direct replies that another has given out.
    let hub_seed = seed()?;
    let guests = Arc::new(dialects::guests(config));
    let budgets = Arc::new(io::Budgets {
        unfinished: io::Budget::new(config.limits.unfinished_bytes_max as usize),
        unread: io::Budget::new(config.limits.unread_bytes_max as usize),
    });
    let logins =
        Logins::start(default_threads()).map_err(system("start the threads that check passwords"))?;
    for (n, poll) in polls.into_iter().enumerate() {
        let wiring = io::Wiring {
            hub: HubId(n as u16),
            inbox: hubs[n].clone(),
            hubs: io_doors.clone(),
            shards: doors.clone(),
            registry: registry_inbox.clone(),
            snapshot: Arc::clone(&snapshot),
            clock: Arc::clone(&clock),
            stop: stop.clone(),
            rules: Rules { sessions: dialects::sessions(config, &addresses)?, guests: Arc::clone(&guests) },
            logins: logins.clone(),
            lookouts: lookouts.clone(),
            patience: Patience {
                pending_bytes_max: usize::try_from(config.nats.pending_bytes_max).unwrap_or(usize::MAX),
                write_deadline_ms: config.nats.write_deadline_ms,
            },
            budgets: Arc::clone(&budgets),
            service: dialects::service,
            frame_bytes_max: config.limits.frame_bytes_max as usize,
            seed: hub_seed,
        };
        threads.io.push(spawn(format!("io-{n}"), move || io::run(poll, wiring))?);
    }
    let watch = Watch {
        dir: config.data_dir.clone(),
        free_bytes_min: free_bytes_min(config),
        volume,
        clock: Arc::clone(&clock),
        hubs: hubs.clone(),
        shards: shard_inboxes.clone(),
        stop: stop.clone(),
    };
    watch.start().map_err(system("start the watch"))?;
    let seats = Seats::new(handles::amqp_connections_max(config.limits.connections_max as usize));
    let refusals = dialects::refusals(config, &addresses)?;
    let acceptor =
        Acceptor::start(listeners, hubs.clone(), seats, refusals).map_err(system("start the acceptor"))?;
    let threads = Mutex::new(threads);
    Ok(Arc::new(Node {
        stop,
        snapshot,
        hubs,
        shards: shard_inboxes,
        registry: registry_inbox,
        acceptor,
        addresses,
        clock,
        tls,
        threads,
    }))
}

/// Waits for the shards to take the registry's word, or for what ends that wait for good.
fn until_agreed(agree: &Receiver<()>, stop: &Stop) -> Result<(), String> {
    let since = Instant::now();
    while since.elapsed() < AGREE {
        if agree.recv_timeout(Duration::from_millis(50)).is_ok() {
            return Ok(());
        }
        if let Some(super::Reason::Failed(why)) = stop.reason() {
            return Err(why);
        }
    }
    Err(format!("registry and shards did not agree within {} s", AGREE.as_secs()))
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let what = format!("start thread {name}");
    thread::Builder::new().name(name).spawn(run).map_err(|why| StartError::System { what, why })
}

fn default_threads() -> usize {
    (cores() / 2).max(1)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// As many as the data directory was made with, else as configured, else by the machine.
fn shard_count(config: &Config) -> Result<usize, StartError> {
    let exists = |n: &usize| config.data_dir.join(format!("shard-{n}")).is_dir();
    let made_with = (0..).take_while(exists).count();
    if made_with > 0 {
        return Ok(made_with);
    }
    std::fs::create_dir_all(&config.data_dir)
        .map_err(system(&format!("make the data directory {}", config.data_dir.display())))?;
    Ok(config.threads.shards.map_or_else(|| default_threads().min(SHARDS_MAX), usize::from))
}

fn shard_options(config: &Config, n: usize, shards: usize, volume: &Arc<Volume>) -> Options {
    Options {
        shard: n as u16,
        margin_bytes: margin_bytes(config),
        segment_bytes: config.log.segment_bytes,
        log_bytes_max: (config.log.budget_bytes / shards as u64).max(4 * config.log.segment_bytes),
        volume: Arc::clone(volume),
        ..Options::default()
    }
}

fn registry_options(config: &Config, volume: &Arc<Volume>) -> Options {
    let segment_bytes = config.log.segment_bytes.min(REGISTRY_SEGMENT_BYTES);
    let (margin_bytes, log_bytes_max) = (margin_bytes(config), 4 * segment_bytes);
    let volume = Arc::clone(volume);
    Options { segment_bytes, margin_bytes, pool_min: 2, log_bytes_max, volume, ..Options::default() }
}

/// Free bytes that no log takes for records, bytes; small where segments are, so that a small volume can be used at all.
fn margin_bytes(config: &Config) -> u64 {
    free_bytes_min(config).min(Options::default().margin_bytes)
}

/// Free bytes below which publishers are blocked.
fn free_bytes_min(config: &Config) -> u64 {
    2 * config.log.segment_bytes
}

fn open_log(
    config: &Config,
    name: &str,
    shard: u16,
    options: Options,
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<(Embedded, Recovery), StartError> {
    let dir = config.data_dir.join(name);
    let disk = RealDisk::open(&dir).map_err(system(&format!("open the directory {}", dir.display())))?;
    let options = Options { shard, ..options };
    Embedded::threaded(Arc::new(disk), options, Box::new(wake)).map_err(|why| StartError::Log { dir, why })
}

fn readers(logs: &[(Embedded, Recovery)], inboxes: &[Inbox<ShardMessage>]) -> Result<Readers, StartError> {
    let pairs = logs.iter().zip(inboxes);
    let pairs = pairs.map(|((log, _), inbox)| (log.reader(), inbox.clone()));
    Readers::start(pairs.collect()).map_err(system("start the reader pool"))
}

fn settings(config: &Config, shards: usize) -> Settings {
    Settings { memory_bytes_max: config.log.memory_bytes as usize / shards.max(1), ..Settings::default() }
}

fn registry_runner(
    config: &Config,
    log: Embedded,
    clock: &Clock,
    shards: usize,
) -> Result<Runner<Registry, Embedded>, StartError> {
    let setup = Setup { shards: shards as u16, seed: seed()?, first_user: first_user(config) };
    let restore = |chunks: Option<Vec<bytes::Bytes>>| match chunks {
        Some(chunks) => Registry::restore(setup, &chunks),
        None => Ok(Registry::new(setup)),
    };
    let settings = Settings { memory_bytes_max: 4 << 20, snapshot_bytes: 8 << 20, ..settings(config, 1) };
    bring_back(&config.data_dir.join("registry"), log, settings, clock.log_now(), restore)
}

fn shard_runner(
    config: &Config,
    log: Embedded,
    clock: &Clock,
    shard: ShardId,
    shards: usize,
) -> Result<Runner<Shard, Embedded>, StartError> {
    let groups = GroupSettings {
        initial_delay_ms: config.kafka.group_initial_delay_ms,
        session_ms_min: config.kafka.group_session_ms_min,
        session_ms_max: config.kafka.group_session_ms_max,
        retention_ms: config.kafka.offsets_retention_minutes * 60 * 1000,
        ..GroupSettings::default()
    };
    let restore = |chunks: Option<Vec<bytes::Bytes>>| match chunks {
        Some(chunks) => Shard::restore(&chunks).map(|shard| shard.with_groups(groups)),
        None => Ok(Shard::new(shard).with_groups(groups)),
    };
    let dir = config.data_dir.join(format!("shard-{shard}"));
    bring_back(&dir, log, settings(config, shards), clock.log_now(), restore)
}

fn bring_back<M: Machine>(
    dir: &Path,
    log: Embedded,
    settings: Settings,
    now: Now,
    restore: impl FnOnce(Option<Vec<bytes::Bytes>>) -> Result<M, String>,
) -> Result<Runner<M, Embedded>, StartError> {
    Runner::start(log, settings, now, restore).map_err(|why| StartError::Replay {
        dir: dir.to_owned(),
        why: match why {
            runner::StartError::Read(error) => unreadable(error),
            runner::StartError::Snapshot(why) => format!("the snapshot: {why}"),
            runner::StartError::Entry { place, why } => {
                format!("block {}, byte {}: {why}", place.lsn, place.at)
            }
        },
    })
}

fn bind(config: &Config, tls: Option<&Arc<Tls>>) -> Result<(Vec<Listener>, Addresses), StartError> {
    let mut listeners = Vec::new();
    let mut addresses = Addresses::default();
    let mut listen = |address, what, security, dialect| {
        let wrong = |why| StartError::Listen { address, what, why };
        let listener = Listener::bind(address, security, dialect).map_err(wrong)?;
        let bound = listener.socket.local_addr().map_err(wrong)?;
        listeners.push(listener);
        Ok::<_, StartError>(bound)
    };
    if let Some(address) = config.listen.amqp {
        addresses.amqp = Some(listen(address, "amqp", Security::Either(tls.cloned()), Dialect::Amqp)?);
    }
    if let (Some(address), Some(tls)) = (config.listen.amqps, tls) {
        addresses.amqps = Some(listen(address, "amqps", Security::Tls(Arc::clone(tls)), Dialect::Amqp)?);
    }
    if let Some(address) = config.listen.kafka {
        addresses.kafka = Some(listen(address, "kafka", Security::Either(tls.cloned()), Dialect::Kafka)?);
    }
    if let Some(address) = config.listen.nats {
        let security = match tls {
            Some(tls) if config.nats.tls != NatsTls::Optional => Security::Timed(nats_tls(config, tls)),
            tls => Security::Either(tls.cloned()),
        };
        addresses.nats = Some(listen(address, "nats", security, Dialect::Nats)?);
    }
    Ok((listeners, addresses))
}

/// TLS for NATS where it must be.
fn nats_tls(config: &Config, tls: &Arc<Tls>) -> TimedTls {
    let Nats { tls: begins, tls_wait_ms, tls_first_ms, .. } = config.nats;
    let silence = match (begins, tls_first_ms) {
        (NatsTls::First, 0) => Silence::Always,
        (NatsTls::First, ms) => Silence::For { ms },
        (NatsTls::Optional | NatsTls::Required, _) => Silence::Never,
    };
    TimedTls { identity: Arc::clone(tls), wait_ms: tls_wait_ms, silence }
}

/// Numbers that nobody can guess, for names that are made up here.
fn seed() -> Result<[u64; 2], StartError> {
    let number = u128::from_le_bytes(random()?);
    Ok([number as u64, (number >> 64) as u64])
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| system("draw random numbers")(std::io::Error::other("the generator failed")))?;
    Ok(bytes)
}

/// A new data directory has one user. The configuration's administrator takes that place; without one it is `guest`, whom no password
/// lets in.
fn first_user(config: &Config) -> User {
    let administrator =
        |(_, user): &(&String, &UserSetting)| user.tags.iter().any(|tag| tag == "administrator");
    match config.users.iter().find(administrator) {
        Some((name, user)) => user_of(name, user),
        None => User {
            name: "guest".to_owned(),
            password_hash: String::new(),
            tags: Vec::new(),
            scram: Vec::new(),
        },
    }
}

/// Puts in place what a configuration that was read again says of users: new ones are let in, changed ones by what is said of them now,
/// and who is here without being somebody any more is turned out.
pub(super) fn read_users_again(node: &Node, config: &Config) -> Result<(), StartError> {
    put_objects(config, &node.registry, &node.snapshot.load())?;
    let guests = Arc::new(dialects::guests(config));
    for hub in &node.hubs {
        let sessions = dialects::sessions(config, &node.addresses)?;
        let rules = Rules { sessions, guests: Arc::clone(&guests) };
        hub.send(IoMessage::Rules(Box::new(rules)), 0);
    }
    Ok(())
}

/// What the configuration wants in the registry, put there at every start: namespaces, users, policies. Users that an earlier one has put
/// there are removed, as far as that is asked for.
fn put_objects(
    config: &Config,
    registry: &Inbox<RegistryMessage>,
    there: &Snapshot,
) -> Result<(), StartError> {
    let namespaces = config.namespaces.iter().map(|(name, setting)| {
        let NamespaceSetting { queues_max, connections_max, .. } = *setting;
        let change = Change::PutNamespace { name: name.clone(), queues_max, connections_max };
        (format!("namespaces.{name}"), change)
    });
    let users = config.users.iter().flat_map(|(name, setting)| {
        // A namespace that has no section of its own is made without limits.
        let made = (!config.namespaces.contains_key(&setting.namespace)).then(|| {
            let namespace = setting.namespace.clone();
            Change::PutNamespace { name: namespace, queues_max: None, connections_max: None }
        });
        let changes = made.into_iter().chain(user_changes(name, setting, there));
        changes.map(move |change| (format!("auth.users.{name}"), change))
    });
    let policies = config
        .policies
        .iter()
        .map(|(name, setting)| (format!("policies.{name}"), Change::PutPolicy(policy(name, setting))));
    let unnamed = there.users().into_iter().map(|account| &account.user).filter(|user| {
        let tag = config.users_removed_by_tag.as_ref();
        tag.is_some_and(|tag| user.tags.contains(tag)) && !config.users.contains_key(&user.name)
    });
    let removed = unnamed
        .map(|user| (format!("auth.users.{}", user.name), Change::DeleteUser { name: user.name.clone() }));
    for (key, change) in namespaces.chain(users).chain(policies).chain(removed) {
        let (answer, result) = sync_channel(1);
        registry.send(RegistryMessage::Administer(change, answer), 0);
        let why = match result.recv_timeout(AGREE) {
            Ok(Ok(_)) => continue,
            Ok(Err(refusal)) => format!("{refusal:?}"),
            Err(_) => "the registry does not answer".to_owned(),
        };
        return Err(StartError::Object { key, why });
    }
    Ok(())
}

fn policy(name: &str, setting: &PolicySetting) -> Policy {
    Policy {
        namespace: setting.namespace.clone(),
        name: name.to_owned(),
        pattern: setting.pattern.clone(),
        applies_to: setting.applies_to,
        priority: setting.priority,
        operator: setting.operator,
        definition: setting.definition.clone(),
    }
}

fn user_of(name: &str, setting: &UserSetting) -> User {
    let UserSetting { password_hash, tags, scram, .. } = setting.clone();
    User { name: name.to_owned(), password_hash, tags, scram }
}

fn user_changes(name: &str, setting: &UserSetting, there: &Snapshot) -> Vec<Change> {
    let mut user = user_of(name, setting);
    if let Some(known) = there.user(name).filter(|_| user.scram.is_empty()) {
        // A password that is given as its hash says nothing about SCRAM: what an administrator has put there stays.
        user.scram.clone_from(&known.user.scram);
    }
    let grant = Grant {
        user: name.to_owned(),
        namespace: setting.namespace.clone(),
        configure: setting.configure.clone(),
        write: setting.write.clone(),
        read: setting.read.clone(),
    };
    let mut changes = vec![Change::PutUser(user), Change::PutGrant(grant)];
    changes.extend(setting.topics.iter().map(|(exchange, (write, read))| {
        Change::PutKeyGrant(KeyGrant {
            user: name.to_owned(),
            namespace: setting.namespace.clone(),
            exchange: exchange.clone(),
            write: write.clone(),
            read: read.clone(),
        })
    }));
    // What the configuration does not say any more was said by an earlier one: nobody else can say it.
    let known = there.namespace(&setting.namespace).and_then(|namespace| namespace.permits(name));
    let known = known.into_iter().flat_map(|permits| permits.key_grants());
    let gone = known.filter(|known| !setting.topics.contains_key(&known.exchange));
    changes.extend(gone.map(|known| Change::DeleteKeyGrant {
        user: name.to_owned(),
        namespace: known.namespace.clone(),
        exchange: known.exchange.clone(),
    }));
    changes
}
