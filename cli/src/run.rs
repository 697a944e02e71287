//! `stele dev` and `stele serve`: settings, listeners, node, banner; then waiting; then the end in reverse order.

use crate::args::{Dev, Serve};
use crate::banner::Banner;
use crate::monitor::{Bound, Monitor};
use crate::signals::{Deeds, End, Signals};
use crate::{config, say};
use std::fmt;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use stele_log::OpenError;
use stele_server::config::Config;
use stele_server::http::{HttpServer, Listeners};
use stele_server::inspect::Gate;
use stele_server::node::{LameDuck, Node, Reason, StartError, Stop};
use stele_server::{logging, ports};

/// By which verb it runs: what helps differs.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Dev { port_offset: u16 },
    Serve,
}

pub(crate) fn dev(args: &Dev) -> anyhow::Result<ExitCode> {
    run(&config::dev(args)?.config, Mode::Dev { port_offset: args.port_offset })
}

pub(crate) fn serve(args: &Serve) -> anyhow::Result<ExitCode> {
    let loaded = stele_server::config::load(&config::sources(args))?;
    run(&loaded.config, Mode::Serve)
}

fn run(config: &Config, mode: Mode) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    logging::start(&config.logging);
    if let Some(warning) = config::warning(config) {
        tracing::warn!("{warning}");
    }
    let broker = Broker::start(config).map_err(|failure| anyhow::anyhow!("{}", failure.with_help(mode)))?;
    let signals = Signals::take()?;
    broker.announce(config, mode, began)?;
    let stop = broker.node.stop();
    let deeds = Deeds { reload: || broker.reload(), reopen: || {}, leave: || false };
    let end = signals.wait(move || drop(stop.wait()), &deeds);
    if let End::Signal(name) = end {
        tracing::info!(signal = name, "stopping");
    }
    Ok(match broker.stop() {
        Reason::Asked => ExitCode::SUCCESS,
        Reason::Failed(_) => ExitCode::FAILURE,
    })
}

/// A running node with its HTTP listeners.
pub(crate) struct Broker {
    gate: Arc<Gate>,
    http: HttpServer,
    node: Arc<Node>,
    monitor: Option<Monitor>,
    api: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl Broker {
    /// Binds HTTP first, so that health can be asked while the node recovers.
    pub(crate) fn start(config: &Config) -> Result<Self, Failure> {
        let listeners = Listeners::bind(config.listen.http, config.listen.metrics)
            .map_err(|(address, why)| Failure::of_port(address, &why))?;
        let at = |listener: &Option<std::net::TcpListener>| listener.as_ref()?.local_addr().ok();
        let (api, metrics) = (at(&listeners.api), at(&listeners.metrics));
        let gate = Arc::new(Gate::default());
        let http = HttpServer::start(listeners, Arc::clone(&gate))
            .map_err(|why| Failure::other(format!("could not start the http thread: {why}"), None))?;
        let bound = match config.listen.nats_monitor.map(Bound::new).transpose() {
            Ok(bound) => bound,
            Err((address, why)) => {
                http.stop();
                return Err(Failure::of_port(address, &why));
            }
        };
        match Node::start(config) {
            Ok(node) => {
                gate.open(Arc::clone(&node) as _);
                let start =
                    |bound| Monitor::start(bound, config, node.addresses().nats, Arc::clone(&node) as _);
                let monitor = bound.map(start);
                let monitor = monitor.transpose().map_err(|why| {
                    Failure::other(format!("could not start the monitoring thread: {why}"), None)
                })?;
                Ok(Self { gate, http, node, monitor, api, metrics })
            }
            Err(error) => {
                http.stop();
                Err(Failure::of_node(&error))
            }
        }
    }

    /// Reads the certificate again; what is wrong with it is logged, and the one in use stays.
    pub(crate) fn reload(&self) {
        match self.node.reload_tls() {
            Ok(()) => tracing::info!("certificate and key were read again"),
            Err(error) => tracing::error!(%error, "the certificate in use stays"),
        }
    }

    /// Lets in whom a configuration names that was read again, and turns out whom it does not.
    pub(crate) fn read_users_again(&self, config: &Config) -> anyhow::Result<()> {
        Ok(self.node.read_users_again(config)?)
    }

    /// Says goodbye to clients one after the other; the node ends when none is left.
    pub(crate) fn leave(&self, pace: LameDuck) {
        self.node.leave(pace);
    }

    /// Where AMQP clients connect.
    pub(crate) fn amqp(&self) -> Option<SocketAddr> {
        self.node.addresses().amqp
    }

    /// Where Kafka's clients connect.
    pub(crate) fn kafka(&self) -> Option<SocketAddr> {
        self.node.addresses().kafka
    }

    /// Where NATS clients connect.
    pub(crate) fn nats(&self) -> Option<SocketAddr> {
        self.node.addresses().nats
    }

    /// Where nats-server's monitoring endpoints are.
    pub(crate) fn nats_monitor(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(Monitor::address)
    }

    /// To wait for its end.
    pub(crate) fn stopper(&self) -> Stop {
        self.node.stop()
    }

    /// Where the HTTP API is.
    pub(crate) fn api(&self) -> Option<SocketAddr> {
        self.api
    }

    /// Ends in order: no health, goodbye to clients, everything taken is durable. Blocks until it is done; the reason why it ended.
    pub(crate) fn stop(self) -> Reason {
        self.gate.close();
        drop(self.monitor);
        self.node.shutdown();
        tracing::debug!("the node has stopped");
        self.http.stop();
        let reason = self.node.stop().reason().unwrap_or(Reason::Asked);
        tracing::info!("stopped");
        reason
    }

    /// The banner on a terminal; a log line elsewhere.
    fn announce(&self, config: &Config, mode: Mode, began: Instant) -> io::Result<()> {
        let addresses = self.node.addresses();
        let ready_in = began.elapsed();
        if matches!(mode, Mode::Dev { .. }) && io::stdout().is_terminal() {
            let banner = Banner {
                data_dir: &config.data_dir,
                ready_in,
                amqp: addresses.amqp,
                amqps: addresses.amqps,
                kafka: addresses.kafka,
                nats: addresses.nats,
                nats_monitor: self.nats_monitor(),
                http: self.api,
                metrics: self.metrics,
            };
            return say(&banner.text());
        }
        let shown = |address: Option<SocketAddr>| address.map_or("off".into(), |address| address.to_string());
        tracing::info!(
            version = crate::version::VERSION,
            data_dir = %config.data_dir.display(),
            amqp = shown(addresses.amqp),
            amqps = shown(addresses.amqps),
            kafka = shown(addresses.kafka),
            nats = shown(addresses.nats),
            nats_monitor = shown(self.nats_monitor()),
            http = shown(self.api),
            metrics = shown(self.metrics),
            ready_in_ms = ready_in.as_millis() as u64,
            "ready"
        );
        Ok(())
    }
}

/// Why a broker did not start.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    text: String,
    is_of_port: bool,
    help: Option<Help>,
}

/// What an operator can do about it.
#[derive(Clone, Debug)]
enum Help {
    /// Another port.
    Port,
    /// Another data directory, or the end of who uses this one.
    DataDir,
    /// To look at what is left of a log.
    Damage(PathBuf),
}

impl Failure {
    fn of_port(address: SocketAddr, why: &io::Error) -> Self {
        let is_taken = why.kind() == io::ErrorKind::AddrInUse;
        let text = match ports::holder(address) {
            Some(holder) if is_taken => format!("could not listen on {address}: {holder} listens there"),
            _ => format!("could not listen on {address}: {why}"),
        };
        Self { text, is_of_port: true, help: is_taken.then_some(Help::Port) }
    }

    fn of_node(error: &StartError) -> Self {
        let help = match error {
            StartError::Listen { address, why, .. } => return Self::of_port(*address, why),
            StartError::Log { why: OpenError::Locked(_), .. } => Some(Help::DataDir),
            StartError::Log { why: OpenError::Damaged(_), dir } | StartError::Replay { dir, .. } => {
                Some(Help::Damage(dir.clone()))
            }
            _ => None,
        };
        Self::other(error.to_string(), help)
    }

    fn other(text: String, help: Option<Help>) -> Self {
        Self { text, is_of_port: false, help }
    }

    /// Whether a port could not be had.
    pub(crate) fn is_of_port(&self) -> bool {
        self.is_of_port
    }

    fn with_help(&self, mode: Mode) -> String {
        let help = match (&self.help, mode) {
            (None, _) => return self.text.clone(),
            (Some(Help::Port), Mode::Dev { port_offset }) => {
                format!("to move all ports: stele dev --port-offset {}", config::other_offset(port_offset))
            }
            (Some(Help::Port), Mode::Serve) => {
                "to move a port: --set listen.amqp=ADDRESS:PORT, or in [listen] of the configuration".into()
            }
            (Some(Help::DataDir), _) => {
                "a data directory is for one broker: stop the other, or name another by --data-dir".into()
            }
            (Some(Help::Damage(dir)), _) => {
                format!("nothing was changed; stele verify {} names all that is damaged", dir.display())
            }
        };
        format!("{}\n  {help}", self.text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
