//! What every comparison is told, whatever the dialect: which Stele, for how long, how often, in which form the result comes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::report::Forms;
use crate::server::{self, Server, Started, proc};

/// Most seconds of a round.
const SECONDS_MAX: f64 = 3600.0;

/// Options that all commands with a peer share.
#[derive(Args)]
pub(crate) struct Terms {
    /// The binary to start; by default the one beside this command or in target/release.
    #[arg(long)]
    stele_bin: Option<PathBuf>,
    /// Added to every port of a Stele started here.
    #[arg(long, default_value_t = 300)]
    pub(crate) port_offset: u16,
    /// Where scratch files go, and the data of a Stele started here; the disk that is probed.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Seconds measured per round.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Rounds per scenario, alternating between the brokers; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) forms: Forms,
}

impl Terms {
    pub(crate) fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Starts a Stele of our own; it ends when it is dropped.
    pub(crate) fn start_stele(&self) -> Result<(Started, Server)> {
        let binary = server::binary(self.stele_bin.clone())?;
        Started::stele(&binary, &self.scratch(), self.port_offset)
    }

    /// The first line of a report: how it is measured, and how busy the machine is.
    pub(crate) fn announcement(&self) -> Result<String> {
        let (load, cores) = (proc::load_average()?, std::thread::available_parallelism()?);
        let Self { rounds, seconds, .. } = self;
        Ok(format!("{rounds} rounds of {seconds} s; load average at the start: {load} on {cores} cores"))
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number")?;
    (seconds > 0.0 && seconds <= SECONDS_MAX)
        .then_some(seconds)
        .ok_or_else(|| format!("expected more than 0 and at most {SECONDS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_some_time_and_an_hour_at_most() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "3601", "nan", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
