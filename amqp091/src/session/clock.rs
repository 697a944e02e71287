//! Heartbeats, and the two deadlines of a connection's beginning and end.
//!
//! What must hold: a session that is not read does not age (S30), so silence counts only while the driver reads.

use super::{Connection, Phase};
use crate::codec::frame::HEARTBEAT;
use crate::profile;
use stele_model::id::Now;
use stele_model::session::Outbox;

/// What the connection knows of time.
#[derive(Debug)]
pub(super) struct Clock {
    /// When something was last heard.
    heard: Now,
    /// When something was last sent.
    sent: Now,
    /// Octets that were offered and left at the last read: offered again, they are nothing new.
    left: usize,
    /// As agreed; 0: none.
    interval_ms: u64,
    /// The end of handshake or closing.
    limit: Option<Now>,
}

impl Clock {
    pub(super) fn new(now: Now) -> Self {
        Self {
            heard: now,
            sent: now,
            left: 0,
            interval_ms: 0,
            limit: Some(now.plus_ms(profile::HANDSHAKE_MS)),
        }
    }

    pub(super) fn received(&mut self, now: Now, offered: usize) {
        if offered > self.left {
            self.heard = now;
        }
    }

    pub(super) fn left(&mut self, octets: usize) {
        self.left = octets;
    }

    pub(super) fn sent(&mut self, now: Now) {
        self.sent = now;
    }

    /// The client has named the interval.
    pub(super) fn agree(&mut self, interval_s: u16) {
        self.interval_ms = u64::from(interval_s) * 1000;
    }

    /// The handshake is over.
    pub(super) fn opened(&mut self) {
        self.limit = None;
    }

    /// The end must come within `ms`.
    pub(super) fn closing(&mut self, now: Now, ms: u64) {
        self.limit = Some(now.plus_ms(ms));
        self.interval_ms = 0;
    }

    /// The next moment something is due. `ages`: the driver reads, so silence counts.
    pub(super) fn deadline(&self, ages: bool) -> Option<Now> {
        let send = (self.interval_ms > 0).then(|| self.sent.plus_ms(self.interval_ms / 2));
        let hear = (self.interval_ms > 0 && ages).then(|| self.heard.plus_ms(self.interval_ms * 2));
        [send, hear, self.limit].into_iter().flatten().min()
    }
}

impl Connection {
    /// Whether silence of the client counts.
    pub(super) fn ages(&self) -> bool {
        !self.paused && self.may_parse()
    }

    pub(super) fn time_passed(&mut self, now: Now, out: &mut Outbox) {
        let clock = &self.clock;
        if clock.limit.is_some_and(|limit| limit <= now) {
            let why = if matches!(self.phase, Phase::Closing | Phase::Lost) {
                "the client did not answer connection.close"
            } else {
                "the handshake took too long"
            };
            return self.end(why, out);
        }
        if clock.interval_ms == 0 {
            return;
        }
        if self.ages() && clock.heard.plus_ms(clock.interval_ms * 2) <= now {
            let seconds = clock.interval_ms / 1000;
            return self.end(&format!("missed heartbeats from client, timeout: {seconds}s"), out);
        }
        if clock.sent.plus_ms(clock.interval_ms / 2) <= now {
            out.write.buffer().extend_from_slice(&HEARTBEAT);
        }
    }

    /// Ends the connection without another word.
    pub(super) fn end(&mut self, why: &str, out: &mut Outbox) {
        self.phase = Phase::Closed;
        out.close = Some(why.to_owned());
    }
}
