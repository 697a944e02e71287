//! The broker that is killed: our own binary, or another one that a shell command kills and restarts.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stele_testkit::broker::{Broker, Settings};

/// What is killed.
pub(crate) struct Victim {
    url: String,
    how: How,
}

enum How {
    Ours(Box<Broker>),
    Command(String),
}

impl Victim {
    /// The release binary, on fresh data beside it.
    pub(crate) fn ours(program: Option<PathBuf>, port_offset: u16) -> Result<Self> {
        let folder =
            std::env::current_exe()?.parent().context("find the folder of this program")?.to_path_buf();
        let data_dir = folder.join("kill-loop-data");
        if data_dir.exists() {
            std::fs::remove_dir_all(&data_dir).with_context(|| format!("remove {}", data_dir.display()))?;
        }
        let program = program.unwrap_or_else(|| folder.join("stele"));
        let broker = Broker::start(Settings { program, data_dir, port_offset, arguments: Vec::new() })?;
        Ok(Self {
            url: format!("amqp://guest:guest@{}/%2f", broker.amqp()),
            how: How::Ours(Box::new(broker)),
        })
    }

    /// A broker that somebody else started.
    pub(crate) fn other(url: &str, restart: &str) -> Self {
        Self { url: url.to_owned(), how: How::Command(restart.to_owned()) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Kill it, without a word of warning.
    pub(crate) fn kill(&mut self) -> Result<()> {
        match &mut self.how {
            How::Ours(broker) => broker.kill(),
            How::Command(restart) => {
                let status = Command::new("sh")
                    .args(["-c", restart])
                    .stdin(Stdio::null())
                    .status()
                    .with_context(|| format!("start {restart}"))?;
                ensure!(status.success(), "{restart} ended with {status}");
                Ok(())
            }
        }
    }

    /// Start it again. `recovering`: kill it once more that long after its start, and start it again.
    pub(crate) fn start(&mut self, recovering: Option<Duration>) -> Result<()> {
        match (&mut self.how, recovering) {
            (How::Ours(broker), None) => broker.start_again(),
            (How::Ours(broker), Some(after)) => {
                broker.start_and_kill(after)?;
                broker.start_again()
            }
            (How::Command(_), _) => Ok(()), // the command started it
        }
    }
}
