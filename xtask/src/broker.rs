//! Whom the conformance scripts talk to: our own release binary, started here, or a peer that somebody else started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use stele_testkit::broker::{Broker, Settings};

use crate::command;
use crate::conform::Dialect;
use crate::programs;
use crate::provision;
use crate::workspace::Workspace;

/// Away from a developer's own broker and the peers, and below the ports that the kernel hands out by itself (from 32 768).
const PORT_OFFSET: u16 = 11_000;
/// Another one, for who shares the machine with another run.
const PORT_OFFSET_VARIABLE: &str = "STELE_CONFORM_PORT_OFFSET";
/// Users that scripts log in as: those that `peers/kafka.sh` gives the real one, the second of which may do what scripts let it do, and
/// the one that `peers/rabbitmq.sh` does, which has no password but a certificate.
const USERS: [&str; 7] = [
    "conform-client.tags=conform",
    "admin.password=admin-secret",
    "admin.tags=administrator",
    "alice.password=alice-secret",
    "alice.configure=^$",
    "alice.write=^$",
    "alice.read=^$",
];

/// A broker under test.
pub(crate) enum Subject {
    Ours { dialect: Dialect, broker: Broker, certificates: PathBuf },
    Peer(Peer),
}

/// A broker that is not ours to start.
pub(crate) struct Peer {
    pub(crate) dialect: Dialect,
    /// As its clients are told where it is.
    pub(crate) address: String,
    /// Where it speaks TLS, in the same form.
    pub(crate) tls: Option<String>,
    /// Where it speaks TLS and wants a login.
    pub(crate) sasl_tls: Option<String>,
    pub(crate) authority: Option<PathBuf>,
    /// Where it wants a login, if that is another address.
    pub(crate) sasl: Option<String>,
    /// How another server of its kind is started, for cases that need a configuration of their own.
    pub(crate) server: Option<String>,
    /// What such a server shows its clients.
    pub(crate) certificates: PathBuf,
    /// A shell command that restarts it and returns when it is ready.
    pub(crate) restart: Option<String>,
}

impl Subject {
    /// Start our own binary on fresh data: `program`, or a release binary that is built now.
    pub(crate) fn ours(workspace: &Workspace, dialect: Dialect, program: Option<&Path>) -> Result<Self> {
        let certificates = provision::certificates(workspace)?;
        let data_dir = workspace.target("conform/stele-data");
        if data_dir.exists() {
            std::fs::remove_dir_all(&data_dir).with_context(|| format!("remove {}", data_dir.display()))?;
        }
        let program = match program {
            Some(program) => program.to_owned(),
            None => programs::built(workspace, "stele")?,
        };
        // A NATS client that is offered TLS takes it, whatever its address says; those cases start servers of their own.
        let file = |name: &str| certificates.join(name).display().to_string();
        let tls = match dialect {
            Dialect::Amqp091 | Dialect::Kafka => vec![
                ("tls.cert", file("server.pem")),
                ("tls.key", file("server.key")),
                ("tls.client_ca", file("client.pem")),
                ("tls.client_certificates", "accepted".to_owned()),
                ("tls.login_from", "common_name".to_owned()),
            ],
            Dialect::Nats => Vec::new(),
        };
        let tls = tls.into_iter().map(|(key, value)| format!("{key}={value}"));
        let users = USERS.iter().map(|setting| format!("auth.users.{setting}"));
        let arguments = tls.chain(users).flat_map(|setting| ["--set".into(), setting.into()]);
        let settings =
            Settings { program, data_dir, port_offset: port_offset()?, arguments: arguments.collect() };
        Ok(Self::Ours { dialect, broker: Broker::start(settings)?, certificates })
    }

    /// What every script is told about the broker.
    pub(crate) fn arguments(&self, command: &mut Command) {
        match self {
            Self::Ours { dialect: Dialect::Kafka, broker, certificates } => {
                let address = broker.kafka().to_string();
                command.args(["--bootstrap", &address, "--sasl", &address]);
                command.args(["--tls", &address, "--sasl-tls", &address]);
                command.arg("--ca").arg(certificates.join("client.pem"));
            }
            Self::Ours { dialect: Dialect::Nats, broker, certificates } => {
                command.args(["--url", &format!("nats://{}", broker.nats())]);
                let program =
                    std::path::absolute(broker.program()).unwrap_or_else(|_| broker.program().into());
                command.args(["--server", &format!("{} nats-server", program.display())]);
                command.arg("--tls").arg(certificates);
            }
            Self::Ours { dialect: Dialect::Amqp091, broker, certificates } => {
                let port = broker.amqp().port();
                command.args(["--url", &format!("amqp://guest:guest@127.0.0.1:{port}/")]);
                command.args(["--tls-url", &format!("amqps://guest:guest@127.0.0.1:{port}/")]);
                command.arg("--ca").arg(certificates.join("client.pem"));
            }
            Self::Peer(peer) if peer.dialect == Dialect::Kafka => {
                command.args(["--bootstrap", &peer.address]);
                if let Some(sasl) = &peer.sasl {
                    command.args(["--sasl", sasl]);
                }
                if let (Some(tls), Some(sasl_tls), Some(authority)) =
                    (&peer.tls, &peer.sasl_tls, &peer.authority)
                {
                    command.args(["--tls", tls, "--sasl-tls", sasl_tls]).arg("--ca").arg(authority);
                }
            }
            Self::Peer(peer) if peer.dialect == Dialect::Nats => {
                command.args(["--url", &peer.address]);
                if let Some(server) = &peer.server {
                    command.args(["--server", server]).arg("--tls").arg(&peer.certificates);
                }
            }
            Self::Peer(peer) => {
                command.args(["--url", &peer.address]);
                if let (Some(url), Some(authority)) = (&peer.tls, &peer.authority) {
                    command.args(["--tls-url", url]).arg("--ca").arg(authority);
                }
            }
        }
    }

    /// Restart the broker on the data it has; `false` if nobody said how.
    pub(crate) fn restart(&mut self) -> Result<bool> {
        match self {
            Self::Ours { broker, .. } => {
                broker.kill()?;
                broker.start_again()?;
                Ok(true)
            }
            Self::Peer(Peer { restart: Some(restart), .. }) => {
                command::run(
                    Command::new("sh")
                        .args(["-c", restart])
                        .stdin(std::process::Stdio::null())
                        .stdout(std::io::stderr()),
                )?;
                Ok(true)
            }
            Self::Peer(Peer { restart: None, .. }) => Ok(false),
        }
    }
}

fn port_offset() -> Result<u16> {
    match std::env::var(PORT_OFFSET_VARIABLE) {
        Ok(given) => given.parse().with_context(|| format!("understand {PORT_OFFSET_VARIABLE}={given}")),
        Err(_) => Ok(PORT_OFFSET),
    }
}
