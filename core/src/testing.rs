//! A journal in memory, for tests, benchmarks and the simulator: the log as a list of entries that can be cut anywhere.
//!
//! What must hold: it behaves as the runner's journal does where a machine can see it: places count from the block's body, an entry may open
//! a block, the time of a block is that of its opening, volatile memory lies beside. Not here: effects and when they leave.

use bytes::{BufMut, Bytes, BytesMut};
use stele_model::id::{Lsn, Now, Place};
use stele_model::machine::{Journal, Machine, Urgency, VOLATILE};
use stele_record::{Draft, Origin};

/// One entry of a [`MemoryLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Of its first byte.
    pub place: Place,
    /// Of its block.
    pub time: Now,
    /// Whether it started a commit.
    pub urgency: Urgency,
    /// It.
    pub bytes: Bytes,
}

/// A log of entries in memory.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    entries: Vec<LoggedEntry>,
    lsn: Lsn,
    at: u32,
    clock: Now,
    time: Now,
    block_bytes_max: u32,
    entry_bytes_max: usize,
    /// Entries are counted, not kept; for benchmarks.
    forgetful: bool,
    urgent: u64,
    volatile: BytesMut,
}

impl MemoryLog {
    /// An empty log whose blocks and entries have at most so many bytes.
    #[must_use]
    pub fn new(block_bytes_max: u32) -> Self {
        Self {
            entries: Vec::new(),
            lsn: Lsn(1),
            at: 0,
            clock: Now(1_000_000),
            time: Now(1_000_000),
            block_bytes_max,
            entry_bytes_max: block_bytes_max as usize - 4,
            forgetful: false,
            urgent: 0,
            volatile: BytesMut::new(),
        }
    }

    /// The same log, keeping no bytes.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.forgetful = true;
        self
    }

    /// Time goes on.
    pub fn advance_ms(&mut self, ms: u64) {
        self.clock = self.clock.plus_ms(ms);
        if self.at == 0 {
            self.time = self.clock;
        }
    }

    /// Ends the block under construction, if it has entries. Returns the last block.
    pub fn seal(&mut self) -> Lsn {
        if self.at > 0 {
            self.lsn.0 += 1;
            self.at = 0;
            self.time = self.clock;
        }
        Lsn(self.lsn.0 - 1)
    }

    /// All entries so far.
    #[must_use]
    pub fn entries(&self) -> &[LoggedEntry] {
        &self.entries
    }

    /// Entries that started a commit, so far.
    #[must_use]
    pub fn urgent(&self) -> u64 {
        self.urgent
    }

    /// What a power cut leaves: everything up to and including block `through`. The next block follows.
    #[must_use]
    pub fn cut(&self, through: Lsn) -> Self {
        let mut log = self.clone();
        log.entries.retain(|entry| entry.place.lsn <= through);
        log.lsn = Lsn(through.0 + 1);
        log.at = 0;
        log.time = log.clock;
        log.volatile.clear();
        log
    }

    /// The same log without the entries of a kind, as if a version had written it that knew none.
    #[must_use]
    pub fn without(mut self, kind: u8) -> Self {
        self.entries.retain(|entry| entry.bytes.first() != Some(&kind));
        self
    }

    /// Applies the entries after block `after` to a machine.
    ///
    /// # Errors
    /// The machine's.
    pub fn replay<M: Machine>(&self, after: Lsn, machine: &mut M) -> Result<(), String> {
        for entry in self.entries.iter().filter(|entry| entry.place.lsn > after) {
            machine.apply(entry.place, entry.time, &entry.bytes)?;
        }
        Ok(())
    }

    /// The bytes at a place; `None` if they are gone or were never there.
    #[must_use]
    pub fn read(&self, place: Place, len: u32) -> Option<Bytes> {
        let slice =
            |bytes: &[u8], from: usize| bytes.get(from..from + len as usize).map(Bytes::copy_from_slice);
        if place.lsn.0 & VOLATILE != 0 {
            return slice(&self.volatile, place.at as usize);
        }
        let n = self.entries.partition_point(|entry| entry.place <= place).checked_sub(1)?;
        let entry = self.entries.get(n).filter(|entry| entry.place.lsn == place.lsn)?;
        slice(&entry.bytes, (place.at - entry.place.at) as usize)
    }
}

impl Journal for MemoryLog {
    fn now(&self) -> Now {
        self.time
    }

    fn tail(&self) -> Lsn {
        if self.at == 0 { Lsn(self.lsn.0 - 1) } else { self.lsn }
    }

    fn append(&mut self, urgency: Urgency, parts: &[&[u8]]) -> Place {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        assert!(len <= self.entry_bytes_max, "an entry of {len} bytes does not fit a block");
        if self.at as usize + 4 + len > self.block_bytes_max as usize {
            self.seal();
        }
        let place = Place { lsn: self.lsn, at: self.at + 4 };
        self.at += 4 + len as u32;
        self.urgent += u64::from(urgency == Urgency::Urgent);
        if !self.forgetful {
            let bytes = Bytes::from(parts.concat());
            self.entries.push(LoggedEntry { place, time: self.time, urgency, bytes });
        }
        place
    }

    fn keep(&mut self, bytes: &[u8]) -> Place {
        let at = self.volatile.len() as u32;
        if !self.forgetful {
            self.volatile.put_slice(bytes);
        }
        Place { lsn: Lsn(VOLATILE | 1), at }
    }

    fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }
}

/// Appends a plain record with this body.
pub fn write_record(out: &mut BytesMut, priority: u8, ttl_ms: Option<u32>, persistent: bool, body: &[u8]) {
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent,
        priority,
        ttl_ms,
        time: 0,
        exchange: b"",
        key: b"k",
        properties: &[],
        history: &[],
    };
    draft.write(body, out);
}
