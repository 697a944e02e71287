//! The brokers under test as processes: starting Stele, finding whoever listens on a port, reading what they have used.
//!
//! Used by `main` (start, find) and by every scenario (samples). Figures come from `/proc` of the whole process tree, so that a
//! broker in a chroot or with helper processes is counted in full. Not here: starting the peer, which its script does.

pub(crate) mod metrics;
pub(crate) mod proc;

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Url;
use crate::mirror::{self, Fault};
use metrics::Metrics;
use proc::Usage;

/// Time a broker may take until its port answers, and until it has ended.
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(20);
/// Ports of a broker without offset.
const AMQP_PORT: u16 = 5672;
const METRICS_PORT: u16 = 15692;

/// An AMQP broker.
pub(crate) struct Server {
    pub url: Url,
    pub process: Process,
}

/// Whoever listens on a port.
pub(crate) struct Process {
    port: u16,
    /// Where Stele shows its counters; the peer has others, which are not read.
    metrics: Option<SocketAddr>,
}

/// What a broker has used and counted up to now.
pub(crate) struct Sample {
    pub usage: Usage,
    /// Used by this process, the load generator.
    pub generator: Usage,
    pub metrics: Metrics,
}

impl Server {
    /// The peer under `url`.
    pub(crate) fn peer(url: Url) -> Result<Self> {
        answers(&url)?;
        Ok(Self { process: Process::at(url.port, None), url })
    }

    /// A running Stele under `url`.
    pub(crate) fn stele(url: Url) -> Result<Self> {
        answers(&url)?;
        Ok(Self { process: Process::at(url.port, Some(AMQP_PORT)), url })
    }

    /// A mirror in this process. Its CPU is the generator's too.
    pub(crate) fn mirror() -> Result<Self> {
        let url = mirror::start(Fault::None)?;
        Ok(Self { process: Process::at(url.port, None), url })
    }
}

impl Process {
    /// Behind `port`. Of a Stele also where that is without offset: its metrics port is as far away.
    pub(crate) fn at(port: u16, without_offset: Option<u16>) -> Self {
        let offset = without_offset.and_then(|usual| port.checked_sub(usual));
        let metrics = offset.map(|offset| SocketAddr::from(([127, 0, 0, 1], METRICS_PORT + offset)));
        Self { port, metrics }
    }

    /// Reads all counters.
    pub(crate) fn sample(&self) -> Result<Sample> {
        let metrics = self.metrics.map(Metrics::scrape).unwrap_or_default();
        Ok(Sample { usage: self.usage()?, generator: Usage::of(&[std::process::id()])?, metrics })
    }

    /// CPU, disk and memory of the process tree behind the port.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let listeners = proc::listeners(self.port)?;
        ensure!(!listeners.is_empty(), "no process of this machine listens on port {}", self.port);
        Usage::of(&proc::with_children(&listeners)?)
    }
}

fn answers(url: &Url) -> Result<()> {
    TcpStream::connect((url.host.as_str(), url.port)).with_context(|| format!("nothing answers on {url}"))?;
    Ok(())
}

/// A Stele started here, with its data in a directory of its own; ended when dropped.
pub(crate) struct Started {
    child: Child,
    directory: tempfile::TempDir,
}

impl Started {
    /// Starts `stele dev` and waits until it answers.
    pub(crate) fn stele(binary: &Path, scratch: &Path, port_offset: u16) -> Result<(Self, Server)> {
        let port = AMQP_PORT + port_offset;
        ensure!(proc::listeners(port)?.is_empty(), "port {port} is taken: choose another --port-offset");
        let directory = tempfile::Builder::new().prefix("stele-bench-").tempdir_in(scratch)?;
        let output = File::create(directory.path().join("output"))?;
        let child = Command::new(binary)
            .args(["dev", "--port-offset", &port_offset.to_string(), "--data-dir"])
            .arg(directory.path().join("data"))
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let mut started = Self { child, directory };
        let url: Url = format!("amqp://guest:guest@127.0.0.1:{port}/").parse().expect("an address of ours");
        let deadline = Instant::now() + START_MAX;
        while answers(&url).is_err() {
            if started.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("stele did not start: {}", started.last_words());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok((started, Server::stele(url)?))
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `stele` binary: the one named, or beside this one, or the workspace's release build.
pub(crate) fn binary(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = named {
        ensure!(path.is_file(), "no such file: {}", path.display());
        return Ok(path);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("stele")));
    let mut places = beside.into_iter().chain([PathBuf::from("target/release/stele")]);
    places
        .find(|path| path.is_file())
        .context("no stele binary: build it with `cargo build --release` or name it with --stele-bin")
}
