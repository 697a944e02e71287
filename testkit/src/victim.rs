//! What the drivers `kill-loop`, `kafka-loop` and `nats-loop` kill: our own binary, or another server that a shell command kills and restarts.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::broker::{self, Broker, Settings};
use crate::random::Random;

/// One kill in so many hits a server that is still recovering,
const RECOVERING_ONE_IN: u64 = 4;
/// within this time from its start.
const RECOVERING_MS_MAX: u64 = 150;

/// What is killed.
pub enum Victim {
    /// A broker of ours.
    Ours(Box<Broker>),
    /// Somebody else's: the command that kills it and starts it again.
    Other(String),
}

impl Victim {
    /// `program`, by default the `stele` beside this one, on fresh data in a folder of that name beside this program.
    ///
    /// # Errors
    /// The data of an earlier run cannot be removed, or the broker does not start ([`Broker::start`]).
    pub fn ours(data: &str, program: Option<PathBuf>, port_offset: u16) -> Result<Self> {
        let (program, data_dir) = (broker::program(program)?, broker::empty_folder(data)?);
        let broker = Broker::start(Settings { program, data_dir, port_offset, arguments: Vec::new() })?;
        Ok(Self::Ours(Box::new(broker)))
    }

    /// The broker, if it is ours.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        match self {
            Self::Ours(broker) => Some(broker),
            Self::Other(_) => None,
        }
    }

    /// Kill it, without a word of warning.
    ///
    /// # Errors
    /// It was not running, or the command failed.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::Ours(broker) => broker.kill(),
            Self::Other(restart) => {
                let mut command = Command::new("sh");
                let status = command.args(["-c", restart]).stdin(Stdio::null()).status();
                let status = status.with_context(|| format!("start {restart}"))?;
                ensure!(status.success(), "{restart} ended with {status}");
                Ok(())
            }
        }
    }

    /// Start it again. `recovering`: kill it once more that long after its start, and start it again.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn start(&mut self, recovering: Option<Duration>) -> Result<()> {
        match (self, recovering) {
            (Self::Ours(broker), None) => broker.start_again(),
            (Self::Ours(broker), Some(after)) => {
                broker.start_and_kill(after)?;
                broker.start_again()
            }
            (Self::Other(_), _) => Ok(()), // the command started it
        }
    }
}

/// Whether, and how long after its start, the next one is killed while it recovers.
pub fn recovering(random: &mut Random) -> Option<Duration> {
    (random.below(RECOVERING_ONE_IN) == 0).then(|| Duration::from_millis(random.below(RECOVERING_MS_MAX)))
}
