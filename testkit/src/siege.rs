//! What the drivers `bad-input`, `kafka-bad-input` and `nats-bad-input` have in common: what they are told, whom they attack, and what must hold afterwards.
//!
//! All attacks are made twice, and the memory after the second pass is compared with that after the first, so that what is made once is
//! not taken for a leak. After each the broker lives and takes connections. What an attack is, and the healthy pair beside it, is the driver's.
#![expect(clippy::print_stdout, reason = "the drivers speak on standard output")]

pub mod steady;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::broker::{self, Broker, Settings};
use crate::memory::{Memory, lowest_kib};
use crate::process;
use crate::random::Random;

/// How often all attacks are made.
const PASSES: u32 = 2;
/// How long the memory after the first pass is watched for its lowest.
const MEMORY_CALM: Duration = Duration::from_secs(5);

/// Who is attacked, with what, and what must hold.
#[derive(Args)]
pub struct Siege {
    /// Decides what is broken and where.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only what has this name.
    #[arg(long)]
    pub only: Option<String>,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// What the pair must keep of its rate. On a machine that others use too, less can be asked for.
    #[arg(long, default_value_t = 0.9)]
    pub rate_kept_min: f64,
    /// What the broker's memory may be after the second pass, as a multiple of that after the first. On a busy machine pages come back late.
    #[arg(long, default_value_t = 1.1)]
    memory_grown_max: f64,
    /// What the broker's memory may be at any time, MiB.
    #[arg(long, default_value_t = 1 << 10)]
    memory_peak_max: u64,
    /// Added to all ports of the binary; every driver has a default of its own.
    #[arg(long)]
    port_offset: Option<u16>,
    /// Another broker: its address on loopback.
    #[arg(long)]
    pub address: Option<SocketAddr>,
    /// The other broker's process, to watch its memory.
    #[arg(long, requires = "address")]
    pid: Option<u32>,
}

/// Where brokers of ours are started.
pub struct Stage {
    /// The binary.
    pub program: PathBuf,
    /// An empty one, for them alone.
    pub folder: PathBuf,
    /// Added to all ports.
    pub port_offset: u16,
}

impl Stage {
    /// A broker with these settings, each as `key=value`.
    ///
    /// # Errors
    /// [`Broker::start`].
    pub fn start(&self, program: PathBuf, settings: &[&str]) -> Result<Broker> {
        let arguments = settings.iter().flat_map(|setting| ["--set", setting]).map(OsString::from).collect();
        let data_dir = self.folder.join("data");
        Broker::start(Settings { program, data_dir, port_offset: self.port_offset, arguments })
    }
}

/// Who is attacked.
pub struct Besieged<'a> {
    siege: &'a Siege,
    /// If it is ours.
    broker: Option<Broker>,
    /// Where it is attacked.
    pub address: SocketAddr,
    pid: Option<u32>,
}

impl Siege {
    /// Whether what has this name takes place.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    /// An empty folder of that name beside this program, and what is started there; its ports are moved by `port_offset` if nothing is said.
    ///
    /// # Errors
    /// What an earlier run left cannot be removed.
    pub fn stage(&self, folder: &str, port_offset: u16) -> Result<Stage> {
        let program = broker::program(self.program.clone())?;
        let port_offset = self.port_offset.unwrap_or(port_offset);
        Ok(Stage { program, folder: broker::empty_folder(folder)?, port_offset })
    }

    /// The other broker, or one of ours on a [`Self::stage`] with these settings, attacked at the address that `port` names.
    ///
    /// # Errors
    /// The other one is not on loopback, or ours does not start.
    pub fn begin(
        &self,
        folder: &str,
        port_offset: u16,
        settings: &[&str],
        port: fn(&Broker) -> SocketAddr,
    ) -> Result<Besieged<'_>> {
        let broker = match self.address {
            Some(_) => None,
            None => {
                let stage = self.stage(folder, port_offset)?;
                Some(stage.start(stage.program.clone(), settings)?)
            }
        };
        let address = self.address.or_else(|| broker.as_ref().map(port)).context("find an address")?;
        ensure!(address.ip().is_loopback(), "attacks are made on loopback only");
        let pid = self.pid.or_else(|| broker.as_ref().map(Broker::pid));
        Ok(Besieged { siege: self, broker, address, pid })
    }

    /// What to say if the pair was kept from its work: its rate while the attack went on, and alone.
    #[must_use]
    pub fn slowed(&self, attack: &str, rate: f64, alone: f64) -> Option<String> {
        let kept = rate / alone;
        (kept < self.rate_kept_min).then(|| format!("{attack}: the pair kept {kept:.2} of its rate"))
    }

    /// An error that names every fault.
    ///
    /// # Errors
    /// There is one.
    pub fn judge(&self, faults: &[String]) -> Result<()> {
        if faults.is_empty() {
            return Ok(());
        }
        bail!("seed {}:\n  {}", self.seed, faults.join("\n  "))
    }
}

impl Besieged<'_> {
    /// Makes all attacks, by name, in as many passes as there are; all that was wrong. `make` makes one, with a seed, and says what was wrong
    /// beside it; `connects` tries whether the broker still takes connections.
    ///
    /// # Errors
    /// The broker ended, or takes none.
    pub fn attack<A>(
        &mut self,
        attacks: &[(&str, A)],
        mut make: impl FnMut(&A, u64) -> Option<String>,
        connects: impl Fn() -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut random = Random::new(self.siege.seed);
        let (mut faults, mut before) = (Vec::new(), None);
        for pass in 1..=PASSES {
            for (name, attack) in attacks {
                faults.extend(make(attack, random.any()));
                if let Some(broker) = &mut self.broker {
                    ensure!(broker.alive()?, "{name}: the broker ended\n{}", broker.last_words());
                }
                connects().with_context(|| format!("connect after {name}"))?;
            }
            if pass == 1 {
                before = self.pid.map(|pid| lowest_kib(pid, MEMORY_CALM)).transpose()?;
            }
        }
        if let Some((pid, before)) = self.pid.zip(before) {
            let memory = Memory::settled(pid, before, self.siege.memory_grown_max)?;
            match memory.fault() {
                None => println!("{memory}"),
                Some(fault) => faults.push(fault),
            }
            let peak_mib = process::peak_kib(pid)? >> 10;
            println!("memory: {peak_mib} MiB at most");
            if peak_mib > self.siege.memory_peak_max {
                faults.push(format!("memory: {peak_mib} MiB at most"));
            }
        }
        Ok(faults)
    }
}
