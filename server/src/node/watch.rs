//! Once a second: is the clock right, and is there space on the disk?

use crate::node::clock::Clock;
use crate::node::inbox::Inbox;
use crate::node::io::{IoMessage, Source};
use crate::node::shard::ShardMessage;
use crate::node::stop::Stop;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use stele_log::Volume;
use stele_model::shard::ShardOp;

/// How often the time is noted for the next process.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Lets all shards know whether the wall clock has jumped.
pub(crate) fn tell_of_clock(shards: &[Inbox<ShardMessage>], jumped: bool) {
    shards.iter().for_each(|shard| shard.send(ShardMessage::Ops(vec![ShardOp::Clock { jumped }]), 0));
}

/// What the watch looks at, and whom it tells.
pub(crate) struct Watch {
    /// The data directory.
    pub dir: PathBuf,
    /// Free bytes below which publishers are blocked.
    pub free_bytes_min: u64,
    /// The logs on it.
    pub volume: Arc<Volume>,
    /// The time.
    pub clock: Arc<Clock>,
    /// All IO threads.
    pub hubs: Vec<Inbox<IoMessage>>,
    /// All shards.
    pub shards: Vec<Inbox<ShardMessage>>,
    /// Ends the watch.
    pub stop: Stop,
}

impl Watch {
    /// Starts the thread. It ends by itself soon after the node was told to.
    ///
    /// # Errors
    /// When the thread could not be started.
    pub(crate) fn start(self) -> std::io::Result<()> {
        thread::Builder::new().name("watch".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(&self) {
        let mut blocked = false;
        let mut away = None;
        let mut noted = Instant::now();
        self.note_clock(&mut away, self.clock.away_s());
        while self.stop.reason().is_none() {
            self.note_clock(&mut away, self.clock.slew());
            if noted.elapsed() >= NOTE_EVERY {
                noted = Instant::now();
                self.clock.write_note();
            }
            let low = self.low_on_space();
            if low != blocked {
                blocked = low;
                self.tell(blocked);
            }
            thread::park_timeout(Duration::from_secs(1));
        }
    }

    /// Shards keep what would go by age while the clock is in doubt.
    fn note_clock(&self, before: &mut Option<i64>, away: Option<i64>) {
        match (*before, away) {
            (None, Some(seconds)) => tracing::error!(
                seconds,
                "the wall clock has jumped; nothing goes by age until it is set back, or confirmed by `stele clock confirm`"
            ),
            (Some(_), None) => tracing::info!("the wall clock is trusted again"),
            _ => {}
        }
        if before.is_some() != away.is_some() {
            tell_of_clock(&self.shards, away.is_some());
        }
        *before = away;
    }

    fn low_on_space(&self) -> bool {
        match rustix::fs::statvfs(&self.dir) {
            Ok(space) => {
                let free = space.f_bavail.saturating_mul(space.f_frsize);
                free < self.free_bytes_min
                    && free.saturating_add(self.volume.ready_bytes()) < self.free_bytes_min
            }
            Err(error) => {
                tracing::warn!(%error, "could not ask for the free space of the data directory");
                false
            }
        }
    }

    fn tell(&self, blocked: bool) {
        let alarm = blocked.then(|| "low on disk".to_owned());
        tracing::warn!(blocked, free_bytes_min = self.free_bytes_min, "disk space");
        self.hubs.iter().for_each(|hub| hub.send(IoMessage::Alarm(Source::Disk, alarm.clone()), 0));
    }
}
