//! One worker of a relay: reads the oldest rows of its lanes, publishes them, deletes what was confirmed; again and again.
//!
//! What must hold: a row is deleted only after its confirm; of one aggregate a row is sent only after all rows before it were sent on the
//! same connection, or are confirmed; after any failure everything not deleted is read again from the lane's oldest row.

use crate::held::{HELD_MAX, Held};
use crate::metrics::Metrics;
use crate::publish::{Fault, Message, Outcome, Publisher, Refusal, Target};
use crate::relay::{Settings, Wake};
use crate::row::{Place, Row};
use crate::source::{Reader, Source, SourceError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// How often lanes are shared out anew.
const BALANCE_EVERY: Duration = Duration::from_secs(1);
/// How often the first worker counts what waits.
const BACKLOG_EVERY: Duration = Duration::from_secs(5);
/// While rows have come within this time, pauses stay short.
const RECENT: Duration = Duration::from_secs(2);
/// The log tells of a commit before others see it: so often a worker that found nothing looks again, after this pause and twice as long
/// each time. All of them take 63 ms.
const EARLY_LOOKS: u32 = 6;
const EARLY_PAUSE: Duration = Duration::from_millis(1);
/// Pauses between attempts to connect.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("database: {0}")]
    Source(#[from] SourceError),
    #[error("broker: {0}")]
    Target(#[from] Fault),
}

pub(crate) struct Worker<S, T> {
    number: usize,
    source: Arc<S>,
    target: Arc<T>,
    settings: Settings,
    metrics: Arc<Metrics>,
    ready: Arc<watch::Sender<bool>>,
    held: Held,
    /// So many rows are sent one by one, after the broker ended a connection over one of them.
    careful: usize,
    /// Whether the last session got as far as reading.
    worked: bool,
}

/// A row on its way.
struct Item {
    place: Place,
    aggregate: String,
    message: Message,
}

impl<S: Source, T: Target> Worker<S, T> {
    pub(crate) fn new(
        number: usize,
        source: Arc<S>,
        target: Arc<T>,
        settings: Settings,
        metrics: Arc<Metrics>,
        ready: Arc<watch::Sender<bool>>,
    ) -> Self {
        Self {
            number,
            source,
            target,
            settings,
            metrics,
            ready,
            held: Held::default(),
            careful: 0,
            worked: false,
        }
    }

    /// Works until told to stop; connects anew as often as needed.
    pub(crate) async fn run(mut self, mut nudged: watch::Receiver<Wake>, mut stop: watch::Receiver<bool>) {
        let mut pause = RECONNECT_MIN;
        while !*stop.borrow() {
            self.worked = false;
            let Err(failure) = self.session(&mut nudged, &mut stop).await else { return };
            self.metrics.set_lanes(self.number, 0);
            self.metrics.add_fault();
            pause = if self.worked { RECONNECT_MIN } else { RECONNECT_MAX.min(pause * 2) };
            let retry_ms = pause.as_millis() as u64;
            tracing::warn!(worker = self.number, %failure, retry_ms, "the relay lost a connection");
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// From connecting to being told to stop, or to the first failure.
    async fn session(
        &mut self,
        nudged: &mut watch::Receiver<Wake>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        // The broker first: who cannot publish shall own no lanes.
        let mut publisher = self.target.open().await?;
        let mut reader = self.source.open().await?;
        let mut idle = Idle::new(&self.settings);
        let (mut balance_at, mut backlog_at) = (Instant::now(), Instant::now());
        while !*stop.borrow_and_update() {
            nudged.mark_unchanged();
            let now = Instant::now();
            if now >= balance_at {
                self.metrics.set_lanes(self.number, reader.balance().await?);
                balance_at = now + BALANCE_EVERY;
            }
            if self.number == 0 && now >= backlog_at {
                self.metrics.set_backlog(reader.backlog().await?);
                backlog_at = now + BACKLOG_EVERY;
            }
            let waiting = self.held.waiting(now);
            let is_full = self.held.count() >= HELD_MAX && !waiting.is_empty();
            let rows = match is_full {
                true => Vec::new(),
                false => reader.read(&waiting, self.settings.batch).await?,
            };
            self.worked = true;
            self.ready.send_replace(true);
            if rows.is_empty() {
                let until =
                    idle.pause(now).min(balance_at).min(self.held.next().unwrap_or(balance_at).max(now));
                tokio::select! {
                    () = sleep_until(until) => {}
                    _ = nudged.changed() => idle.woken(*nudged.borrow()),
                    _ = stop.changed() => {}
                }
            } else {
                idle.saw_rows(now);
                self.relay(&mut reader, &mut publisher, rows).await?;
            }
        }
        Ok(())
    }

    /// One batch, from its rows to their deletion.
    async fn relay(
        &mut self,
        reader: &mut S::Reader,
        publisher: &mut T::Publisher,
        rows: Vec<Row>,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let items = self.admit(reader, publisher, rows).await?;
        let mut confirmed = Vec::with_capacity(items.len());
        let mut stuck = HashSet::new();
        let mut end = Ok(());
        for wave in waves(items, self.settings.strict, self.careful > 0) {
            let wave: Vec<Item> = wave.into_iter().filter(|item| !stuck.contains(&item.aggregate)).collect();
            if wave.is_empty() {
                continue;
            }
            match self.publish(reader, publisher, wave, &mut stuck, &mut confirmed).await {
                Ok(()) => {}
                Err(failure) => {
                    end = Err(failure);
                    break;
                }
            }
        }
        // Also what was confirmed before a connection ended: every row that stays is a copy more.
        if !confirmed.is_empty() {
            self.metrics.add_relayed(confirmed.len(), start.elapsed());
            reader.delete(&confirmed).await?;
        }
        self.metrics.set_held(self.held.count());
        end
    }

    /// The rows that can be sent; the others are refused, and what is behind them in their aggregate waits.
    async fn admit(
        &mut self,
        reader: &mut S::Reader,
        publisher: &mut T::Publisher,
        rows: Vec<Row>,
    ) -> Result<Vec<Item>, Failure> {
        let mut stuck = HashSet::new();
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let (place, aggregate) = (row.place, row.aggregate_id.clone());
            if stuck.contains(&aggregate) {
                continue;
            }
            let refusal = match self.settings.route.message(row) {
                Err(refusal) => refusal,
                Ok(message) => match publisher.admit(&message).await? {
                    Outcome::Refused(refusal) => refusal,
                    Outcome::Confirmed => {
                        items.push(Item { place, aggregate, message });
                        continue;
                    }
                },
            };
            self.refused(reader, place, &aggregate, &refusal).await?;
            stuck.insert(aggregate);
        }
        Ok(items)
    }

    /// Sends one wave. Its confirmed rows are added to `confirmed`, the aggregates of the others to `stuck`.
    async fn publish(
        &mut self,
        reader: &mut S::Reader,
        publisher: &mut T::Publisher,
        wave: Vec<Item>,
        stuck: &mut HashSet<String>,
        confirmed: &mut Vec<Place>,
    ) -> Result<(), Failure> {
        let (head, messages): (Vec<(Place, String)>, Vec<Message>) =
            wave.into_iter().map(|item| ((item.place, item.aggregate), item.message)).unzip();
        let outcomes = match publisher.publish(&messages).await {
            Ok(outcomes) => outcomes,
            Err(Fault::Message(reason)) => {
                match &head[..] {
                    [(place, aggregate)] => {
                        self.refused(reader, *place, aggregate, &Refusal::lasting(&reason)).await?;
                        self.careful = self.careful.saturating_sub(1);
                    }
                    _ => self.careful = head.len(),
                }
                return Err(Fault::Message(reason).into());
            }
            Err(fault) => return Err(fault.into()),
        };
        assert_eq!(outcomes.len(), head.len(), "a publisher says what became of each message");
        self.careful = self.careful.saturating_sub(head.len());
        for ((place, aggregate), outcome) in head.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Confirmed => {
                    if !stuck.contains(&aggregate) {
                        self.held.release(&aggregate);
                    }
                    confirmed.push(place);
                }
                Outcome::Refused(refusal) => {
                    if stuck.insert(aggregate.clone()) {
                        self.refused(reader, place, &aggregate, &refusal).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds the aggregate back, or parks the row.
    async fn refused(
        &mut self,
        reader: &mut S::Reader,
        place: Place,
        aggregate: &str,
        refusal: &Refusal,
    ) -> Result<(), SourceError> {
        self.metrics.add_refused();
        let attempts = self.held.refuse(aggregate, Instant::now());
        let reason = &refusal.reason;
        let park = refusal.lasting && self.settings.park_after.is_some_and(|after| attempts >= after);
        if park {
            reader.park(place, reason).await?;
            self.held.release(aggregate);
            self.metrics.add_parked();
            tracing::error!(aggregate, ord = place.ord, attempts, reason, "a row was parked");
        } else {
            tracing::warn!(
                aggregate,
                ord = place.ord,
                attempts,
                reason,
                "a row was refused; its aggregate waits"
            );
        }
        Ok(())
    }
}

/// Cuts a batch into parts that are sent one after the other, each when the one before is confirmed. Rows of an aggregate keep their order.
fn waves(items: Vec<Item>, strict: bool, careful: bool) -> Vec<Vec<Item>> {
    if careful {
        return items.into_iter().map(|item| vec![item]).collect();
    }
    if !strict {
        return vec![items];
    }
    let mut waves: Vec<Vec<Item>> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in items {
        let nth = seen.entry(item.aggregate.clone()).or_default();
        if waves.len() == *nth {
            waves.push(Vec::new());
        }
        waves[*nth].push(item);
        *nth += 1;
    }
    waves
}

/// How long to pause when there is nothing to do: short while there was something lately, then longer and longer.
struct Idle {
    min: Duration,
    max: Duration,
    pause: Duration,
    recent_until: Instant,
    /// Looks that are still owed to an early wake.
    early: u32,
}

impl Idle {
    fn new(settings: &Settings) -> Self {
        Self {
            min: settings.poll_min,
            max: settings.poll_max,
            pause: settings.poll_min,
            recent_until: Instant::now(),
            early: 0,
        }
    }

    fn saw_rows(&mut self, now: Instant) {
        self.early = 0;
        self.pause = self.min;
        self.recent_until = now + RECENT;
    }

    /// Somebody said that rows are there.
    fn woken(&mut self, wake: Wake) {
        self.early = if wake.is_early { EARLY_LOOKS } else { 0 };
    }

    fn pause(&mut self, now: Instant) -> Instant {
        if self.early > 0 {
            self.early -= 1;
            return now + EARLY_PAUSE * 2_u32.pow(EARLY_LOOKS - 1 - self.early);
        }
        if now >= self.recent_until {
            self.pause = self.max.min(self.pause * 3 / 2);
        }
        now + self.pause
    }
}

#[cfg(test)]
mod tests;
