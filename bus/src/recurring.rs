//! Recurring messages: published again and again by a schedule, until cancelled.
//!
//! The schedule runs in this process. Several instances of a service may run the same one: each firing's message id follows from the
//! schedule's name and the time, so consumers with an inbox see it once. A firing that nobody is there for is left out, not made up for.

mod cron;
#[cfg(feature = "tz")]
mod zone;

use std::time::Duration;

use tokio::task::AbortHandle;
use uuid::Uuid;

pub use cron::{Cron, NotACron};
#[cfg(feature = "tz")]
pub use zone::{NoSuchZone, Zone};

use crate::bus::Bus;
use crate::compose::{SendOptions, published};
use crate::message::Message;
use crate::runner::stopped;
use crate::time::Timestamp;

/// When a recurring message is published.
///
/// ```
/// use stele_bus::Timestamp;
/// use stele_bus::recurring::Schedule;
///
/// let now = Timestamp::parse("2026-11-20T18:00:00Z").unwrap();
/// let nightly = Schedule::Cron("0 3 * * *".parse()?);
/// assert_eq!(nightly.next(now).unwrap().to_string(), "2026-11-21T03:00:00.000Z");
/// # #[cfg(feature = "tz")] {
/// let nightly = Schedule::CronIn("0 3 * * *".parse()?, "Europe/Berlin".parse()?);
/// assert_eq!(nightly.next(now).unwrap().to_string(), "2026-11-21T02:00:00.000Z");
/// # }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At multiples of this span since the epoch; at least one second.
    Every(Duration),
    /// By a cron expression, in UTC.
    Cron(Cron),
    /// By a cron expression, as the clocks of a time zone show it. When they are put forward, a time that they skip comes as much later
    /// as they were moved: with 02:00 followed by 03:00, 02:30 comes at 03:30. When they are put back, a time that they show twice comes
    /// once, the first time; with an expression for every hour it comes both times, so that `*/15 * * * *` has no gap of an hour.
    #[cfg(feature = "tz")]
    CronIn(Cron, Zone),
}

impl Schedule {
    /// The first time after `now`, if there is one within the next eight years.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(span) => {
                let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1000);
                (now.0 / ms).checked_add(1)?.checked_mul(ms).map(Timestamp)
            }
            Self::Cron(cron) => cron.next(now),
            #[cfg(feature = "tz")]
            Self::CronIn(cron, zone) => zone.next(cron, now),
        }
    }
}

/// A running schedule. Dropped, it goes on; the bus's stop ends it.
#[derive(Clone, Debug)]
pub struct Recurring(AbortHandle);

impl Recurring {
    /// No more firings.
    pub fn cancel(&self) {
        self.0.abort();
    }
}

impl Bus {
    /// Publish `message` whenever `schedule` says so. `name` is the schedule's identity among all instances.
    pub fn recurring<M: Message>(
        &self,
        name: impl Into<String>,
        schedule: Schedule,
        message: M,
    ) -> Recurring {
        let (bus, name) = (self.clone(), name.into());
        let task = self.spawn(async move {
            let stop = stopped(bus.stopping());
            let firings = async {
                while let Some(at) = schedule.next(bus.composer().now()) {
                    tokio::time::sleep(at.since(bus.composer().now())).await;
                    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name} {at}").as_bytes());
                    let options = SendOptions { message_id: Some(id), ..SendOptions::default() };
                    if let Err(error) = bus.push(published::<M>(), &message, options).await {
                        tracing::error!(name, %error, "a recurring message was left out");
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop => {}
                () = firings => {}
            }
        });
        Recurring(task)
    }
}
