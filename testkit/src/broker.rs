//! A `stele dev` in a child process: started, awaited until it is ready, killed, started again on the same data.
//!
//! Who owns a [`Broker`] owns its process: it is killed when the value is dropped. Readiness is what an operator would ask for,
//! `GET /healthz` answered with 200, never a pause.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a broker may take from its start to its first 200, recovery included.
pub const READY_PATIENCE: Duration = Duration::from_secs(180);

const AMQP_PORT: u16 = 5672;
const KAFKA_PORT: u16 = 9092;
const NATS_PORT: u16 = 4222;
const NATS_MONITOR_PORT: u16 = 8222;
const HTTP_PORT: u16 = 15672;
const POLL: Duration = Duration::from_millis(20);

/// What is started, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary.
    pub program: PathBuf,
    /// Handed over as `--data-dir`; made when it is not there.
    pub data_dir: PathBuf,
    /// Handed over as `--port-offset` and added to every port below.
    pub port_offset: u16,
    /// Further arguments of `stele dev`.
    pub arguments: Vec<OsString>,
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    child: Child,
}

impl Broker {
    /// Start the program and wait until it says that it is ready.
    ///
    /// # Errors
    /// A port is in use, the program cannot be started, ends early, or is not ready within [`READY_PATIENCE`]; the end of its output is part of the error.
    pub fn start(settings: Settings) -> Result<Self> {
        // Or we would wait for, and then test, the broker of somebody else.
        let ports = [AMQP_PORT, KAFKA_PORT, NATS_PORT, NATS_MONITOR_PORT, HTTP_PORT];
        for port in ports.map(|port| port + settings.port_offset) {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("use port {port}"))?;
        }
        std::fs::create_dir_all(&settings.data_dir)
            .with_context(|| format!("make {}", settings.data_dir.display()))?;
        let child = spawn(&settings)?;
        let mut broker = Self { settings, child };
        broker.ready()?;
        Ok(broker)
    }

    /// End the process as a power cut would, without a word of warning, and wait until the kernel has taken it back.
    ///
    /// # Errors
    /// The process cannot be signalled or waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill the broker")?;
        self.child.wait().context("wait for the killed broker")?;
        Ok(())
    }

    /// Start a killed broker again on the data it left.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.settings)?;
        self.ready()
    }

    /// Start a killed broker again and kill it after a while, most likely in the middle of its recovery.
    ///
    /// # Errors
    /// The program cannot be started or killed.
    pub fn start_and_kill(&mut self, after: Duration) -> Result<()> {
        self.child = spawn(&self.settings)?;
        std::thread::sleep(after);
        self.kill()
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// The process cannot be asked.
    pub fn alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("look at the broker's process")?.is_none())
    }

    /// The process id, for those who measure it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where AMQP, with or without TLS, is spoken.
    #[must_use]
    pub fn amqp(&self) -> SocketAddr {
        self.address(AMQP_PORT)
    }

    /// Where Kafka's protocol is spoken.
    #[must_use]
    pub fn kafka(&self) -> SocketAddr {
        self.address(KAFKA_PORT)
    }

    /// Where NATS is spoken.
    #[must_use]
    pub fn nats(&self) -> SocketAddr {
        self.address(NATS_PORT)
    }

    /// The binary that was started.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.settings.program
    }

    /// Where HTTP is spoken.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.address(HTTP_PORT)
    }

    /// The last lines that the broker wrote, for a message about its end.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(log_path(&self.settings.data_dir)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port + self.settings.port_offset))
    }

    fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().context("look at the broker's process")? {
                bail!("start the broker: it ended with {status}\n{}", self.last_words());
            }
            if matches!(http_status(self.http(), "/healthz"), Ok(200)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("start the broker: not ready within {READY_PATIENCE:?}\n{}", self.last_words());
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if the process is already gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of one `GET`.
///
/// # Errors
/// Nobody listens, or the answer is not HTTP.
pub fn http_status(address: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 12]; // "HTTP/1.1 200"
    stream.read_exact(&mut head)?;
    let status = std::str::from_utf8(&head)?.split(' ').nth(1).context("read a status line")?;
    Ok(status.parse()?)
}

/// The binary that is named, or the `stele` beside this program.
///
/// # Errors
/// This program has no folder.
pub fn program(named: Option<PathBuf>) -> Result<PathBuf> {
    named.map_or_else(|| Ok(folder()?.join("stele")), Ok)
}

/// An empty folder of that name beside this program, for the data of its brokers.
///
/// # Errors
/// What an earlier run left cannot be removed.
pub fn empty_folder(name: &str) -> Result<PathBuf> {
    let folder = folder()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where this program stands.
fn folder() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().context("find the folder of this program")?.to_path_buf())
}

fn spawn(settings: &Settings) -> Result<Child> {
    let path = log_path(&settings.data_dir);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    let mut command = Command::new(&settings.program);
    command.arg("dev").arg("--data-dir").arg(&settings.data_dir);
    command.arg("--port-offset").arg(settings.port_offset.to_string()).args(&settings.arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("start {}", settings.program.display()))
}

/// Beside the data, not in it: what is in the data directory is the broker's.
fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}
