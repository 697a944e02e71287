//! What the drivers `kill-loop`, `kafka-loop` and `nats-loop` have in common: what they are told, the moments of the kills, how they end.
#![expect(clippy::print_stdout, reason = "the drivers speak on standard output")]

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::broker::Broker;
use crate::random::Random;
use crate::victim::{Victim, recovering};

/// How often a broker is killed, and which.
#[derive(Args)]
pub struct Kills {
    /// How often it is killed.
    #[arg(long, default_value_t = 20)]
    pub kills: u32,
    /// Decides the moments of the kills and what clients do.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Added to all ports of the binary; every driver has a default of its own.
    #[arg(long)]
    port_offset: Option<u16>,
    /// The shell command that kills another broker and starts it again; with that broker's address.
    #[arg(long)]
    restart: Option<String>,
}

/// The same, for drivers that need no more than an address to ask at.
#[derive(Args)]
pub struct KillsAt {
    /// How often, and which.
    #[command(flatten)]
    pub kills: Kills,
    /// Another broker, host:port, with fresh data; with --restart.
    #[arg(long)]
    address: Option<SocketAddr>,
}

impl KillsAt {
    /// [`Kills::victim`], and where it is asked: ours where `port` says.
    ///
    /// # Errors
    /// As there.
    pub fn victim(
        &self,
        data: &str,
        port_offset: u16,
        port: fn(&Broker) -> SocketAddr,
    ) -> Result<(Victim, SocketAddr)> {
        let victim = self.kills.victim(self.address.is_some(), data, port_offset)?;
        let address = self.address.or_else(|| victim.broker().map(port)).context("find an address")?;
        Ok((victim, address))
    }
}

impl Kills {
    /// The other broker at `address`, or one of ours with fresh data in a folder `data`, its ports moved by `port_offset` if nothing is said.
    ///
    /// # Errors
    /// One of an address and a command to restart is missing, or [`Victim::ours`].
    pub fn victim(&self, other: bool, data: &str, port_offset: u16) -> Result<Victim> {
        ensure!(
            other == self.restart.is_some(),
            "another broker is named by its address and --restart together"
        );
        match &self.restart {
            Some(restart) => Ok(Victim::Other(restart.clone())),
            None => Victim::ours(data, self.program.clone(), self.port_offset.unwrap_or(port_offset)),
        }
    }

    /// Kills it as often as told, each time after a while of `load_ms`, and prints what has been `seen` by then. The load goes on beside.
    ///
    /// # Errors
    /// [`Victim::kill`], [`Victim::start`].
    pub fn all(
        &self,
        victim: &mut Victim,
        load_ms: Range<u64>,
        random: &mut Random,
        seen: impl Fn() -> String,
    ) -> Result<()> {
        for kill in 1..=self.kills {
            wait(&load_ms, random);
            let recovering = recovering(random);
            let start = Instant::now();
            victim.kill()?;
            victim.start(recovering)?;
            println!("kill {kill}: back after {:.1} s; {}", start.elapsed().as_secs_f64(), seen());
        }
        thread::sleep(Duration::from_millis(load_ms.end)); // what was open is sent again, and read
        Ok(())
    }

    /// An error that names every broken promise.
    ///
    /// # Errors
    /// There is one.
    pub fn judge(&self, broken: &[String]) -> Result<()> {
        ensure!(
            broken.is_empty(),
            "{} promises broken, seed {}:\n  {}",
            broken.len(),
            self.seed,
            broken.join("\n  ")
        );
        Ok(())
    }
}

/// Until the next kill: the load is what the time is for.
pub fn wait(load_ms: &Range<u64>, random: &mut Random) {
    thread::sleep(Duration::from_millis(load_ms.start + random.below(load_ms.end - load_ms.start)));
}

/// How a driver ends. What it found is a finding, not a bug of its own: no backtrace.
pub fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
