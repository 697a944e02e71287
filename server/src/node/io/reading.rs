//! Reading sockets: whose turn it is, who may be read at all, and what the bytes come to.
//!
//! Each connection that has something is read once in a turn, through one buffer for all of them. Who publishes message by message is read in
//! paces ([`super::pace`]): the kernel is asked not to tell of its bytes, and a timer does. What must hold: a connection over a bound is not
//! read (S29), and is read again when the bound is no longer reached; no edge that the kernel has told of is forgotten.

use super::Io;
use super::connection::{Connection, ReadEnd};
use super::pace::Brought;
use super::size::{self, ReadSize};
use super::timer::Timer;
use mio::{Events, Registry, Token};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use stele_model::id::{HubId, Now};
use stele_model::session::Outbox;

/// Bytes asked for in one read of a socket, where that is not up to [`ReadSize`].
const READ_BYTES: usize = 128 << 10;

/// Bytes a session may leave unread, beyond its largest frame; above it the socket is not read.
const TAIL_BYTES: usize = 128 << 10;

/// Publishes and requests of one session that may be unanswered; above it the socket is not read.
const OPEN_SUBMITS_MAX: usize = 256;

/// Bytes that wait to be written; above it the socket is not read.
pub(super) const WRITE_BYTES_MAX: usize = 4 << 20;

/// Bytes of operations that may wait at a shard; above it no socket is read.
const SHARD_INBOX_BYTES_MAX: usize = 32 << 20;

/// The same for who is read in paces.
const PACED_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(PACED_BYTES_MAX <= size::BYTES_MAX, "the buffer has space for it");
const _: () = assert!(READ_BYTES <= size::BYTES_MAX, "the buffer has space for either");

/// Whom to read, and into what.
pub(super) struct Reading {
    buffer: Vec<u8>,
    /// Slots that may have more to read.
    ready: VecDeque<usize>,
    /// Slots that are read in paces, in the order of their times.
    paced: BTreeSet<(Now, usize)>,
    timer: Timer,
    size: ReadSize,
}

impl Reading {
    pub(super) fn new(registry: &Registry, frame_bytes_max: usize) -> io::Result<Self> {
        let buffer = vec![0; frame_bytes_max + TAIL_BYTES + size::BYTES_MAX];
        let (ready, paced) = (VecDeque::new(), BTreeSet::new());
        Ok(Self { buffer, ready, paced, timer: Timer::new(registry)?, size: ReadSize::default() })
    }

    /// Sees to it that the poll ends when the next connection that is read in paces is due; whether that is now.
    pub(super) fn set_timer(&mut self, now: Now) -> io::Result<bool> {
        let Some((due, _)) = self.paced.first() else { return Ok(false) };
        if *due > now {
            self.timer.set(now, *due)?;
        }
        Ok(*due <= now)
    }

    /// Whether somebody waits to be read.
    pub(super) fn is_stalled(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl Io {
    pub(super) fn note_ready(&mut self, now: Now, events: &Events) {
        for event in events {
            let Token(slot) = event.token();
            let Some(connection) = self.connections.get_mut(slot) else {
                self.reading.timer.note(event.token());
                continue;
            };
            if event.is_writable() && connection.wants_write() && connection.dirty.is_none() {
                connection.dirty = Some(now);
                self.dirty.push(slot);
            }
            connection.is_ending |= event.is_read_closed() || event.is_error();
            let has_come = event.is_readable() || connection.is_ending;
            if has_come && !connection.readable && connection.pace.due().is_none() {
                connection.readable = true;
                self.reading.ready.push_back(slot);
            }
        }
    }

    /// Whether somebody may be read at once.
    pub(super) fn can_read(&self) -> bool {
        self.reading.ready.iter().any(|&slot| self.may_read(slot))
    }

    /// Whether what is to be written may wait for more: there is more to read, and nobody waits for an answer.
    pub(super) fn may_gather(&self, now: Now) -> bool {
        !self.reading.size.is_hurried(now) && self.can_read()
    }

    fn may_read(&self, slot: usize) -> bool {
        let Some(connection) = self.connections.get(slot) else { return true };
        connection.lingering
            || (!connection.paused
                && connection.tail.len() < self.wiring.frame_bytes_max + TAIL_BYTES
                && connection.unwritten() < WRITE_BYTES_MAX
                && self.hub.open_submits(connection.id) < OPEN_SUBMITS_MAX
                && self.wiring.shards.iter().all(|shard| shard.weight() < SHARD_INBOX_BYTES_MAX)
                && !(connection.floods && connection.dialect.is_live() && self.others_are_behind()))
    }

    /// Whether another hub has not yet taken what it was sent of live publishes. It wakes us when it does.
    fn others_are_behind(&self) -> bool {
        let own = self.wiring.hub;
        let mut others = (0..).map(HubId).zip(&self.wiring.hubs).filter(|(hub, _)| *hub != own);
        others.any(|(_, door)| door.is_behind(own))
    }

    /// Reads each connection that has something, once.
    pub(super) fn read_ready(&mut self, now: Now) {
        self.call_paced(now);
        for _ in 0..self.reading.ready.len() {
            let Some(slot) = self.reading.ready.pop_front() else { return };
            if !self.may_read(slot) {
                self.reading.ready.push_back(slot);
                continue;
            }
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let is_live = connection.dialect.is_live();
            let is_paced = connection.pace.due().is_some();
            let asked = match is_live {
                _ if is_paced => PACED_BYTES_MAX,
                true => self.reading.size.bytes(now, slot),
                false => READ_BYTES,
            };
            match connection.read(&mut self.reading.buffer, asked) {
                ReadEnd::Bytes { input, bytes } => {
                    self.counters.reads += 1;
                    self.counters.read_bytes += bytes as u64;
                    connection.brought = Brought { full: bytes == asked, ..Brought::default() };
                    let buffer = std::mem::take(&mut self.reading.buffer);
                    let used = self.feed(now, slot, &buffer[..input]);
                    if let Some(connection) = self.connections.get_mut(slot) {
                        connection.tail.extend_from_slice(&buffer[used..input]);
                    }
                    self.reading.buffer = buffer;
                    self.note_unfinished(now, slot);
                    self.read_again(now, slot, (bytes, asked));
                }
                ReadEnd::Nothing => {
                    connection.readable = false;
                    connection.pace.note(now, Brought::default());
                }
                ReadEnd::Closed(why) => {
                    self.remove(slot, &why);
                    continue;
                }
            }
            self.touched.push(slot);
            self.refresh();
            self.pump(now);
        }
    }

    /// Those who are read in paces and whose time has come.
    fn call_paced(&mut self, now: Now) {
        while let Some(&(due, slot)) = self.reading.paced.first()
            && due <= now
        {
            self.reading.paced.pop_first();
            // The place may be another connection's by now, or be read at once again.
            let is_it = |connection: &&mut Connection| connection.pace.due() == Some(due);
            if let Some(connection) = self.connections.get_mut(slot).filter(is_it)
                && !connection.readable
            {
                connection.readable = true;
                self.reading.ready.push_back(slot);
            }
        }
    }

    /// After a read of so many bytes, of as many as were asked for: when the next one is.
    fn read_again(&mut self, now: Now, slot: usize, (bytes, asked): (usize, usize)) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.dialect.is_live() && connection.pace.due().is_none() {
            let talks = !connection.floods && (connection.brought.urgent || connection.heard);
            self.reading.size.note(now, slot, bytes, talks);
        }
        connection.heard = false;
        connection.floods = bytes >= size::SHORT_BYTES_MAX;
        connection.pace.note(now, connection.brought);
        match connection.pace.due() {
            // The kernel had no more, and tells when it has.
            None if bytes < asked && connection.tells_of_more() => connection.readable = false,
            None => self.reading.ready.push_back(slot),
            Some(due) => {
                connection.readable = false;
                self.reading.paced.insert((due, slot));
                // Now, and not when it is served: what comes from here on is told as soon as it is listened to again.
                self.listen(slot);
            }
        }
    }

    /// Has the kernel tell of a connection's bytes, unless it is read in paces.
    pub(super) fn listen(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let on = connection.pace.due().is_none();
        if let Err(error) = connection.listen(&self.registry, Token(slot), on) {
            self.remove(slot, &error.to_string());
        }
    }

    /// Hands a session its input, and carries out what it wants of the live path while the bytes are there; how many of them it is done
    /// with.
    pub(super) fn feed(&mut self, now: Now, slot: usize, input: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return input.len() };
            if !connection.takes_input() {
                return input.len();
            }
            let rest = &input[used..];
            let written = connection.outbox.write.len();
            used += connection.session.receive(now, rest, &mut connection.outbox).min(rest.len());
            connection.brought.add(&connection.outbox, written);
            let again = std::mem::take(&mut connection.outbox.again);
            if !connection.outbox.live.is_empty() {
                let mut live = std::mem::take(&mut connection.outbox.live);
                let session = connection.id;
                // Whoever has seen a subscription of another hub's session reaches it.
                self.take_inbox(now);
                self.counters.messages_in += live.items.len() as u64;
                self.hub.live(now, session, &live, rest, &mut self.out);
                self.tell_heard(now, session, live.view(rest));
                live.clear();
                if let Some(connection) = self.connections.get_mut(slot) {
                    connection.outbox.live = live;
                }
            }
            if !again || used == input.len() {
                return used;
            }
        }
    }
}

impl Brought {
    /// What a session made of its input; it had so many bytes to write before.
    fn add(&mut self, outbox: &Outbox, written: usize) {
        self.publishes += u32::try_from(outbox.live.items.len()).unwrap_or(u32::MAX);
        self.urgent |= outbox.live.items.iter().any(|item| item.reply_len > 0)
            || !outbox.live.interest.is_empty()
            || !outbox.submits.is_empty()
            || outbox.write.len() > written
            || outbox.authenticate.is_some()
            || outbox.close.is_some();
    }
}
