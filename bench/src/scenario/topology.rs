//! The queues, exchange and bindings of one run: fresh names, gone afterwards.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::Target;
use crate::client::{Connection, Url};
use crate::load::Seal;

/// What one run has declared.
pub(super) struct Topology {
    pub exchange: String,
    pub queues: Vec<String>,
    link: Connection,
    url: Url,
    run: u64,
}

impl Topology {
    /// Declares `count` durable queues of the target's type; no exchange yet, which means the default one.
    pub(super) fn declare(target: &Target<'_>, count: u32) -> Result<Self> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let run = now.as_nanos() as u64 + u64::from(RUNS.fetch_add(1, Relaxed));
        let queues: Vec<_> = (0..count).map(|index| format!("stele-bench-{run:x}-{index:05}")).collect();
        let url = target.server.url.clone();
        let mut topology = Self { exchange: String::new(), queues, link: Connection::open(&url)?, url, run };
        topology.link.declare_queues(&topology.queues, target.queue_kind)?;
        Ok(topology)
    }

    /// Declares the exchange that messages are published to.
    pub(super) fn declare_exchange(&mut self, kind: &str) -> Result<()> {
        let name = format!("stele-bench-{:x}", self.run);
        self.link.declare_exchange(&name, kind)?;
        self.exchange = name;
        Ok(())
    }

    /// Adds bindings (index of queue, key) to the exchange.
    pub(super) fn bind(&mut self, bindings: impl IntoIterator<Item = (usize, String)>) -> Result<()> {
        let bindings = bindings.into_iter().map(|(queue, key)| (self.queues[queue].as_str(), key));
        self.link.bind(&self.exchange, bindings)
    }

    /// Different for every publisher of every run.
    pub(super) fn seal(&self, publisher: usize) -> Seal {
        Seal(self.run.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(publisher as u64))
    }

    /// Fails when messages are left that every consumer should have seen.
    pub(super) fn ensure_empty(&mut self) -> Result<()> {
        for queue in &self.queues {
            let left = self.link.queue_depth(queue)?;
            ensure!(left == 0, "{left} messages left in {queue}");
        }
        Ok(())
    }

    /// Deletes everything and keeps the result of the run, or the first error. On a connection of its own: after a refusal the
    /// old one is closed.
    pub(super) fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        let result = result.and_then(|value| self.ensure_empty().map(|()| value));
        let deleted = self.delete().context("delete what was declared");
        result.and_then(|value| deleted.map(|()| value))
    }

    fn delete(&self) -> Result<()> {
        let mut link = Connection::open(&self.url)?;
        if !self.exchange.is_empty() {
            link.delete_exchange(&self.exchange)?;
        }
        link.delete_queues(&self.queues)
    }
}
