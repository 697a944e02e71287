//! Leaving slowly, as nats-server does in its lame duck mode: clients are told, have a while to go by themselves, and are then closed one
//! after the other, so that not all of them knock at the next server at once.
//!
//! What must hold: each client is told before any is closed; when the last thread has no clients left, the node is asked to end.

use super::Io;
use crate::node::stop::Stop;
use std::sync::Arc;
use stele_model::id::Now;
use stele_model::outcome::Wake;

/// Longest pause between two clients that are closed, microseconds: few of them do not take the whole time.
const PAUSE_US_MAX: u64 = 1_000_000;

/// How slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LameDuck {
    /// Nobody is closed for so long, milliseconds.
    pub grace_ms: u64,
    /// All are closed within this time, milliseconds, the grace included.
    pub duration_ms: u64,
}

/// Shared by all IO threads that have clients to say goodbye to; the last one that lets go of it ends the node.
pub(crate) struct Farewell {
    pub(crate) pace: LameDuck,
    pub(crate) stop: Stop,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

/// A thread that leaves.
pub(super) struct Leaving {
    farewell: Arc<Farewell>,
    /// When the next client is closed; `None`: all were told to go.
    next: Option<Now>,
    pause_us: u64,
}

impl Leaving {
    /// When to go on.
    pub(super) fn due(&self) -> Option<Now> {
        self.next
    }
}

impl Io {
    /// Tells everybody to go elsewhere.
    pub(super) fn begin_to_leave(&mut self, now: Now, farewell: Arc<Farewell>) {
        if self.leaving.is_some() || self.stopping.is_some() {
            return;
        }
        self.wake_all(now, &Wake::Leaving);
        let LameDuck { grace_ms, duration_ms } = farewell.pace;
        let clients = self.connections.iter().filter(|(_, connection)| !connection.is_inner()).count() as u64;
        let over_us = duration_ms.saturating_sub(grace_ms).saturating_mul(1000);
        let pause_us = (over_us / clients.max(1)).min(PAUSE_US_MAX);
        self.leaving = Some(Leaving { farewell, next: Some(now.plus_ms(grace_ms)), pause_us });
    }

    /// Closes whose time has come.
    pub(super) fn leave(&mut self, now: Now) {
        let Some(Leaving { next, pause_us, .. }) = &mut self.leaving else { return };
        while let Some(due) = next.filter(|due| *due <= now) {
            let mut there = self.connections.iter_mut();
            let there = there.find(|(_, connection)| !connection.is_inner() && connection.takes_input());
            *next = there.map(|(slot, connection)| {
                connection.session.wake(
                    now,
                    Wake::Close("lame duck mode".to_owned()),
                    &mut connection.outbox,
                );
                self.touched.push(slot);
                Now(due.0 + *pause_us)
            });
        }
        if self.connections.iter().all(|(_, connection)| connection.is_inner())
            && let Some(Leaving { farewell, .. }) = self.leaving.take()
        {
            drop(farewell);
        }
    }
}
