//! The publishing side: one thread that keeps the windows of all publishers full.
//!
//! Messages are not built one by one: a ring of ready frames is made once, and per message only the sequence number and its
//! check are written into the body before the next piece of the ring goes to the socket. So what remains is the kernel's copy.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Result, ensure};
use rustix::event::PollFlags;

use super::{Control, Seal, write_some};
use crate::client::Connection;
use crate::latency::Histogram;
use crate::wire::{self, Frame, Reader, method};

/// Size of the ring of ready frames, about that of a socket buffer: one `write` moves many messages.
const RING_BYTES: usize = 256 << 10;

/// What a publisher sends.
pub(crate) struct Publishing<'a> {
    pub exchange: &'a str,
    /// Used in turn; all of one length.
    pub routing_keys: &'a [String],
    pub body_bytes: usize,
    pub persistent: bool,
    /// Unconfirmed messages at most; `None`: no confirms.
    pub window: Option<u64>,
    /// Messages to send in all; `None`: until told to stop.
    pub count_max: Option<u64>,
    pub seal: Seal,
}

/// One publisher: its connection, its ready frames and what is not yet confirmed.
pub(super) struct Publisher {
    link: Connection,
    ring: Vec<u8>,
    slot_bytes: usize,
    slots: u64,
    body_bytes: usize,
    seal: Seal,
    published: u64,
    count_max: u64,
    /// The piece of the ring that the kernel has not taken yet.
    unsent: Range<usize>,
    confirms: Option<Confirms>,
}

impl Publisher {
    pub(super) fn new(mut link: Connection, what: &Publishing<'_>) -> Result<Self> {
        if what.window.is_some() {
            link.select_confirms()?;
        }
        link.hurry()?;
        let mode = if what.persistent { 2 } else { 1 };
        let body = vec![b'.'; what.body_bytes];
        let mut turn = Vec::new();
        for key in what.routing_keys {
            wire::put_publish(&mut turn, what.exchange, key, mode, &body);
        }
        let slot_bytes = turn.len() / what.routing_keys.len();
        let ring = turn.repeat((RING_BYTES / turn.len()).max(1));
        let slots = (ring.len() / slot_bytes) as u64;
        assert_eq!(ring.len() % slot_bytes, 0, "routing keys have one length");
        Ok(Self {
            link,
            ring,
            slot_bytes,
            slots,
            body_bytes: what.body_bytes,
            seal: what.seal,
            published: 0,
            count_max: what.count_max.unwrap_or(u64::MAX),
            unsent: 0..0,
            confirms: what.window.map(Confirms::new),
        })
    }

    /// How many messages may be sent now.
    fn room(&self, control: &Control) -> u64 {
        if control.publishers_stop() {
            return 0;
        }
        let window = self.confirms.as_ref().map_or(u64::MAX, Confirms::room);
        window.min(self.count_max - self.published).min(control.backlog_room())
    }

    fn finished(&self, control: &Control) -> bool {
        let stop = control.publishers_stop() || self.published == self.count_max;
        stop && self.unsent.is_empty() && self.confirms.as_ref().is_none_or(Confirms::is_empty)
    }

    /// Numbers the next messages in the ring and makes them the unsent piece.
    fn prepare(&mut self, control: &Control, now_ns: u64) {
        let first = self.published % self.slots;
        let count = self.room(control).min(self.slots - first);
        if count == 0 {
            return;
        }
        let start = first as usize * self.slot_bytes;
        self.unsent = start..start + count as usize * self.slot_bytes;
        for frame in self.ring[self.unsent.clone()].chunks_exact_mut(self.slot_bytes) {
            let body_at = self.slot_bytes - 1 - self.body_bytes;
            self.seal.write(self.published, &mut frame[body_at..self.slot_bytes - 1]);
            if let Some(confirms) = &mut self.confirms {
                confirms.sent(now_ns);
            }
            self.published += 1;
        }
        control.count_published(count);
    }

    fn write(&mut self, control: &Control, now_ns: u64) -> Result<()> {
        if self.unsent.is_empty() {
            self.prepare(control, now_ns);
        }
        if !self.unsent.is_empty() {
            self.unsent.start += write_some(&mut self.link.stream, &self.ring[self.unsent.clone()])?;
        }
        Ok(())
    }

    fn read(&mut self, control: &Control, clock: Instant, times: &mut Histogram) -> Result<()> {
        self.link.inbox.fill(&mut self.link.stream)?;
        let now_ns = clock.elapsed().as_nanos() as u64;
        let mut times = control.is_measuring().then_some(times);
        let mut confirmed = 0;
        while let Some(frame) = self.link.inbox.next()? {
            let Frame::Method(id, args) = frame else { continue };
            ensure!(id != method::BASIC_NACK, "the broker refused a message (basic.nack)");
            if let (method::BASIC_ACK, Some(confirms)) = (id, &mut self.confirms) {
                let mut args = Reader(args);
                let (Ok(tag), Ok(multiple)) = (args.u64(), args.u8()) else {
                    anyhow::bail!("a short basic.ack")
                };
                confirmed += confirms.confirmed(tag, multiple & 1 == 1, |sent_ns| {
                    if let Some(times) = &mut times {
                        times.add(now_ns.saturating_sub(sent_ns));
                    }
                })?;
            }
        }
        control.count_confirmed(confirmed);
        Ok(())
    }
}

/// Runs all publishers until they have sent what they should, all of it is confirmed and the broker has agreed to close: one that
/// loses a connection may drop what it has not read. Returns the publish-to-confirm times of the measured window.
pub(super) fn run(mut publishers: Vec<Publisher>, control: &Control) -> Result<Histogram> {
    let clock = Instant::now();
    let mut times = Histogram::new();
    let is_lone = |p: &Publisher| p.confirms.as_ref().is_some_and(|confirms| confirms.window == 1);
    let alone = matches!(&publishers[..], [publisher] if is_lone(publisher));
    while !control.has_failed() && !publishers.iter().all(|p| p.finished(control)) {
        let wants = publishers.iter().map(|p| {
            let write = !p.unsent.is_empty() || p.room(control) > 0;
            (&p.link.stream, if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN })
        });
        let ready = super::poll(wants, super::PUBLISHER_PATIENCE, alone)?;
        for (publisher, ready) in publishers.iter_mut().zip(ready) {
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                publisher.read(control, clock, &mut times)?;
            }
            publisher.write(control, clock.elapsed().as_nanos() as u64)?;
        }
    }
    if !control.has_failed() {
        publishers.into_iter().try_for_each(|publisher| publisher.link.close())?;
    }
    Ok(times)
}

/// When each unconfirmed message was sent. Brokers may confirm out of order, so a ring with a mark per message.
struct Confirms {
    window: u64,
    /// By tag modulo its length, a power of two; [`Self::CONFIRMED`] where the confirm has come.
    sent_ns: Box<[u64]>,
    /// Lowest tag not confirmed, and the tag of the next message. Tags count from 1.
    low: u64,
    next: u64,
    outstanding: u64,
}

impl Confirms {
    const CONFIRMED: u64 = u64::MAX;

    fn new(window: u64) -> Self {
        // Room for confirms that overtake: the window counts messages, not the distance of their tags.
        let len = (4 * window).next_power_of_two() as usize;
        Self { window, sent_ns: vec![Self::CONFIRMED; len].into(), low: 1, next: 1, outstanding: 0 }
    }

    fn is_empty(&self) -> bool {
        self.outstanding == 0
    }

    fn room(&self) -> u64 {
        let ring = self.sent_ns.len() as u64 - (self.next - self.low);
        (self.window - self.outstanding).min(ring)
    }

    fn slot(&mut self, tag: u64) -> &mut u64 {
        let index = tag as usize & (self.sent_ns.len() - 1);
        &mut self.sent_ns[index]
    }

    fn sent(&mut self, now_ns: u64) {
        assert!(self.outstanding < self.window, "a publisher keeps to its window");
        *self.slot(self.next) = now_ns;
        self.next += 1;
        self.outstanding += 1;
    }

    /// Notes a confirm, calls `each` with the sending time of every message it covers and returns how many those are.
    fn confirmed(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(u64)) -> Result<u64> {
        ensure!(tag < self.next, "confirm of message {tag}, which was not sent");
        ensure!(tag >= self.low, "second confirm of message {tag}");
        let first = if multiple { self.low } else { tag };
        let mut count = 0;
        for tag in first..=tag {
            let sent_ns = std::mem::replace(self.slot(tag), Self::CONFIRMED);
            if sent_ns != Self::CONFIRMED {
                each(sent_ns);
                count += 1;
            }
        }
        ensure!(count > 0, "second confirm of message {tag}");
        self.outstanding -= count;
        while self.low < self.next && *self.slot(self.low) == Self::CONFIRMED {
            self.low += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64) -> Confirms {
        let mut confirms = Confirms::new(4);
        (1..=count).for_each(|tag| confirms.sent(tag * 10));
        confirms
    }

    #[test]
    fn one_confirm_answers_all_before_it_when_multiple() {
        let mut confirms = sent(4);
        assert_eq!(confirms.room(), 0);
        let mut times = Vec::new();
        assert_eq!(confirms.confirmed(2, false, |ns| times.push(ns)).unwrap(), 1);
        assert_eq!(confirms.confirmed(3, true, |ns| times.push(ns)).unwrap(), 2);
        assert_eq!((times, confirms.room(), confirms.low), (vec![20, 10, 30], 3, 4));
    }

    #[test]
    fn a_confirm_nobody_waits_for_is_an_error() {
        assert!(sent(2).confirmed(3, false, |_| {}).is_err());
        let mut confirms = sent(3);
        confirms.confirmed(2, false, |_| {}).unwrap();
        assert!(confirms.confirmed(2, false, |_| {}).is_err());
        confirms.confirmed(3, true, |_| {}).unwrap();
        assert!(confirms.confirmed(1, false, |_| {}).is_err());
    }
}
