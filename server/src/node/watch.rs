//! Once a second: is the clock right, and is there space on the disk?

use crate::node::clock::Clock;
use crate::node::inbox::Inbox;
use crate::node::io::{IoMessage, Source};
use crate::node::stop::Stop;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use stele_log::Volume;

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
        let mut away = false;
        while self.stop.reason().is_none() {
            let jumped = self.clock.slew();
            if let (Some(seconds), false) = (jumped, away) {
                tracing::error!(seconds, "the wall clock has jumped; the node keeps its own time");
            }
            away = jumped.is_some();
            let low = self.low_on_space();
            if low != blocked {
                blocked = low;
                self.tell(blocked);
            }
            thread::park_timeout(Duration::from_secs(1));
        }
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
