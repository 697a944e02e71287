//! A stretch of a partition's index: batches as varints, each said by its difference from the one before.
//!
//! Called by [`super::index`]. A chunk's memory *is* its snapshot form, so a full chunk is encoded once and a snapshot shares it
//! (STORAGE §3). What must hold: batches come in the order of their positions and blocks; what a snapshot brings is checked once, by
//! [`Chunk::parse`], and believed afterwards. Every [`RESTART`]th batch is said by its difference from the chunk's first one, so that a
//! search opens 32 batches and not all. Batches at the head go by a count, others by a bit beside the bytes ([`Chunk::take`]), so that
//! taking one out writes nothing anew; the index does that when half are gone. The layout stands in `docs/format-entries.md`.

use super::single::{SINGLE_BYTES_MAX, Single};
use bytes::{BufMut, Bytes};
use stele_model::id::{Lsn, Place, Position};
use stele_model::stream::Format;

/// A chunk is sealed before it grows beyond this, bytes.
const CHUNK_BYTES_MAX: usize = 8 << 10;
/// Most bytes of one encoded batch.
const ENTRY_BYTES_MAX: usize = 5 * 3 + 10 * 4 + SINGLE_BYTES_MAX;
/// Bytes before the batches: first position, block, time.
const HEAD_BYTES: usize = 24;
/// Batches between two that are said relative to the chunk's first one.
const RESTART: u32 = 32;

/// What the index knows of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Position of its first record.
    pub(crate) first: Position,
    /// Positions it takes.
    pub(crate) count: u32,
    /// Of its bytes.
    pub(crate) place: Place,
    /// How many they are.
    pub(crate) len: u32,
    pub(crate) format: Format,
    /// The key of each of its records is known.
    pub(crate) keyed: bool,
    /// When it was appended, ms.
    pub(crate) appended_ms: u64,
    /// The newest time in it, ms.
    pub(crate) newest_ms: u64,
    /// Of a stream that tells its records apart; then `count` is 1.
    pub(crate) single: Option<Single>,
}

impl Stored {
    /// The position behind its last record.
    pub(crate) fn end(&self) -> Position {
        Position(self.first.0 + u64::from(self.count))
    }
}

/// What the next batch is said relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Base {
    position: u64,
    lsn: u64,
    appended_ms: u64,
}

#[derive(Debug)]
enum Body {
    Growing(Vec<u8>),
    Sealed(Bytes),
}

/// Batches, never none.
#[derive(Debug)]
pub(crate) struct Chunk {
    body: Body,
    base: Base,
    /// The last batch said.
    last: Base,
    count: u32,
    /// Batches at the head that are gone.
    pub(super) gone: u32,
    /// A bit for each that is gone; empty as long as only those at the head are.
    holes: Vec<u64>,
    /// Batches that are gone, those at the head included.
    gone_all: u32,
    /// The newest time of all.
    pub(super) newest_ms: u64,
    /// Where every [`RESTART`]th batch begins.
    restarts: Vec<u16>,
}

impl Chunk {
    pub(super) fn new(first: &Stored) -> Self {
        let base = Base { position: first.first.0, lsn: first.place.lsn.0, appended_ms: first.appended_ms };
        let mut bytes = Vec::with_capacity(2 * HEAD_BYTES);
        bytes.put_u64_le(base.position);
        bytes.put_u64_le(base.lsn);
        bytes.put_u64_le(base.appended_ms);
        let mut chunk = Self {
            body: Body::Growing(bytes),
            base,
            last: base,
            count: 0,
            gone: 0,
            holes: Vec::new(),
            gone_all: 0,
            newest_ms: 0,
            restarts: Vec::new(),
        };
        chunk.push(first);
        chunk
    }

    /// Batches, those that are gone included.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The first position said, gone or not.
    pub(super) fn first(&self) -> Position {
        Position(self.base.position)
    }

    /// The position behind the last batch.
    pub(super) fn end(&self) -> Position {
        Position(self.last.position)
    }

    /// The first and the last block it speaks of.
    pub(super) fn blocks(&self) -> (Lsn, Lsn) {
        (Lsn(self.base.lsn), Lsn(self.last.lsn))
    }

    /// When its last batch was appended.
    pub(super) fn appended_ms(&self) -> u64 {
        self.last.appended_ms
    }

    pub(super) fn has_room(&self) -> bool {
        matches!(&self.body, Body::Growing(bytes) if bytes.len() + ENTRY_BYTES_MAX <= CHUNK_BYTES_MAX)
    }

    /// Appends a batch: behind all others, in the same or a later block, and not earlier.
    pub(super) fn push(&mut self, of: &Stored) {
        let restarts = self.count.is_multiple_of(RESTART);
        let before = if restarts { self.base } else { self.last };
        assert!(
            of.first.0 >= self.last.position
                && of.place.lsn.0 >= self.last.lsn
                && of.appended_ms >= self.last.appended_ms,
            "I30: batches come in order"
        );
        let Body::Growing(out) = &mut self.body else {
            unreachable!("I31: only a growing chunk takes batches")
        };
        if restarts {
            self.restarts.push(u16::try_from(out.len()).expect("I31: a chunk is shorter than 64 KiB"));
        }
        let kind = match of.format {
            Format::Records => 0,
            Format::KafkaBatch => 1,
        };
        put(out, of.first.0 - before.position);
        // No batch has no records: that says "a single record", of which more is known.
        let count = if of.single.is_some() { 0 } else { u64::from(of.count) };
        put(out, count << 2 | u64::from(of.keyed) << 1 | kind);
        put(out, of.place.lsn.0 - before.lsn);
        put(out, u64::from(of.place.at));
        put(out, u64::from(of.len));
        put(out, of.appended_ms - before.appended_ms);
        let newer = of.newest_ms.wrapping_sub(of.appended_ms).cast_signed();
        put(out, ((newer << 1) ^ (newer >> 63)).cast_unsigned());
        if let Some(single) = of.single {
            single.put(out, of.appended_ms);
        }
        self.last = Base { position: of.end().0, lsn: of.place.lsn.0, appended_ms: of.appended_ms };
        self.newest_ms = self.newest_ms.max(of.newest_ms);
        self.count += 1;
    }

    /// No more is appended; the memory is as long as it must be.
    pub(super) fn seal(&mut self) {
        if let Body::Growing(bytes) = &mut self.body {
            self.body = Body::Sealed(Bytes::from(std::mem::take(bytes).into_boxed_slice()));
        }
    }

    /// Batches that are not gone.
    pub(super) fn alive(&self) -> u32 {
        self.count - self.gone_all
    }

    /// One more at the head is gone, and all gone ones that it kept from being so.
    pub(super) fn drop_first(&mut self) {
        self.gone += 1;
        self.gone_all += 1;
        while self.is_hole(self.gone) {
            self.gone += 1;
        }
    }

    /// Takes out the batch that holds `position`.
    pub(super) fn take(&mut self, position: Position) -> Option<Stored> {
        let mut batches = self.all_from(position);
        let batch = batches.next().filter(|batch| batch.first <= position)?;
        let n = batches.n - 1;
        // Also at the head: a snapshot tells of those that are gone there only where they are below the start.
        let word = n as usize / 64;
        if word >= self.holes.len() {
            self.holes.resize(self.count.div_ceil(64) as usize, 0);
        }
        self.holes[word] |= 1 << (n % 64);
        self.gone_all += 1;
        while self.is_hole(self.gone) {
            self.gone += 1;
        }
        Some(batch)
    }

    fn is_hole(&self, n: u32) -> bool {
        is_hole(&self.holes, n)
    }

    /// The bits of those that are gone, for a snapshot.
    pub(super) fn holes(&self) -> &[u64] {
        &self.holes
    }

    /// Takes up the bits of a snapshot.
    pub(super) fn restore_holes(&mut self, holes: Vec<u64>) -> Result<(), String> {
        let within = holes.len() <= self.count.div_ceil(64) as usize;
        let behind = (self.count..holes.len() as u32 * 64).any(|n| is_hole(&holes, n));
        if !within || behind {
            return Err("holes of a partition's index are behind its batches".to_owned());
        }
        self.gone_all = holes.iter().map(|word| word.count_ones()).sum();
        self.holes = holes;
        while self.is_hole(self.gone) {
            self.gone += 1;
        }
        Ok(())
    }

    /// All that are not gone, in order.
    pub(super) fn batches(&self) -> Batches<'_> {
        self.starting_at(self.gone)
    }

    /// Those with an end above `position`.
    pub(super) fn batches_from(&self, position: Position) -> Batches<'_> {
        self.all_from(position)
    }

    /// The last one that is not gone.
    pub(super) fn last(&self) -> Option<Stored> {
        // Mostly it is the last of all; else all are looked at.
        self.batches_from(Position(self.end().0.saturating_sub(1))).last().or_else(|| self.batches().last())
    }

    /// The newest time of all that are not gone; those gone at the head count still.
    pub(super) fn newest(&self) -> Option<u64> {
        if self.holes.is_empty() {
            return Some(self.newest_ms);
        }
        self.batches().map(|batch| batch.newest_ms).max()
    }

    /// How many with an end above `position`.
    pub(super) fn alive_from(&self, position: Position) -> u32 {
        if position <= self.first() { self.alive() } else { self.batches_from(position).count() as u32 }
    }

    /// How many restarts stand at `position` or below.
    fn restarts_up_to(&self, position: Position) -> usize {
        let is_below = |at: &u16| {
            let gap = self.bytes().get(usize::from(*at)..).and_then(|mut rest| take(&mut rest));
            self.base.position + gap.unwrap_or(0) <= position.0
        };
        // Mostly none is missing and each has one record: then its number tells, and nothing is searched for.
        let number = position.0.saturating_sub(self.base.position) / u64::from(RESTART);
        let guess = usize::try_from(number).unwrap_or(usize::MAX).saturating_add(1);
        let fits = |n: usize| self.restarts.get(n).is_none_or(|next| !is_below(next));
        if self.restarts.get(guess - 1).is_some_and(is_below) && fits(guess) {
            return guess;
        }
        self.restarts.partition_point(is_below)
    }

    fn all_from(&self, position: Position) -> Batches<'_> {
        let above = self.restarts_up_to(position);
        let from = (above.saturating_sub(1) as u32 * RESTART).max(self.gone);
        let mut batches = self.starting_at(from);
        loop {
            let here = batches.clone();
            if batches.decode().is_none_or(|batch| batch.end() > position) {
                return here;
            }
        }
    }

    /// Its bytes for a snapshot; shared once it is sealed.
    pub(super) fn to_bytes(&self) -> Bytes {
        match &self.body {
            Body::Growing(bytes) => Bytes::copy_from_slice(bytes),
            Body::Sealed(bytes) => bytes.clone(),
        }
    }

    /// Takes up the bytes of a snapshot, checked batch by batch.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, String> {
        let wrong = || format!("chunk of {} bytes of a partition's index does not add up", bytes.len());
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or_else(wrong)?;
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[at + n]));
        let base = Base { position: long(0), lsn: long(8), appended_ms: long(16) };
        let rest = bytes.get(HEAD_BYTES..).unwrap_or(&[]);
        let mut batches = Batches { rest, base, last: base, n: 0, holes: &[] };
        let (mut restarts, mut newest_ms) = (Vec::new(), 0);
        while !batches.rest.is_empty() {
            if batches.n.is_multiple_of(RESTART) {
                restarts.push(u16::try_from(bytes.len() - batches.rest.len()).map_err(|_| wrong())?);
            }
            let before = batches.last;
            let batch = batches.next().ok_or_else(wrong)?;
            let ordered = batch.first.0 >= before.position && batch.place.lsn.0 >= before.lsn;
            if !ordered || batch.count == 0 || batch.appended_ms < before.appended_ms {
                return Err(wrong());
            }
            newest_ms = batch.newest_ms.max(newest_ms);
        }
        let (count, last) = (batches.n, batches.last);
        if count == 0 {
            return Err(wrong());
        }
        let (holes, body) = (Vec::new(), Body::Sealed(bytes));
        Ok(Self { base, last, count, gone: 0, holes, gone_all: 0, newest_ms, restarts, body })
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let body = match &self.body {
            Body::Growing(bytes) => bytes.capacity(),
            Body::Sealed(bytes) => bytes.len(),
        };
        size_of::<Self>() + body + 2 * self.restarts.capacity() + 8 * self.holes.capacity()
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Growing(bytes) => bytes,
            Body::Sealed(bytes) => bytes,
        }
    }

    fn starting_at(&self, n: u32) -> Batches<'_> {
        let restart = n / RESTART;
        let at = self.restarts.get(restart as usize).map_or(self.bytes().len(), |at| usize::from(*at));
        let mut batches = Batches {
            rest: self.bytes().get(at..).unwrap_or(&[]),
            base: self.base,
            last: self.base,
            n: restart * RESTART,
            holes: &self.holes,
        };
        while batches.n < n && batches.decode().is_some() {}
        batches
    }
}

/// Bit `n` of a list of bits, which ends with the last one that is set.
fn is_hole(holes: &[u64], n: u32) -> bool {
    holes.get(n as usize / 64).is_some_and(|word| word >> (n % 64) & 1 != 0)
}

/// Reads batches one after the other; none by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Batches<'a> {
    rest: &'a [u8],
    base: Base,
    last: Base,
    /// The next one's number.
    n: u32,
    /// Those that are passed over.
    holes: &'a [u64],
}

impl Iterator for Batches<'_> {
    type Item = Stored;

    fn next(&mut self) -> Option<Stored> {
        while is_hole(self.holes, self.n) {
            self.decode()?;
        }
        self.decode()
    }
}

impl Batches<'_> {
    /// The next batch, gone or not.
    fn decode(&mut self) -> Option<Stored> {
        if self.rest.is_empty() {
            return None;
        }
        let before = if self.n.is_multiple_of(RESTART) { self.base } else { self.last };
        let rest = &mut self.rest;
        let first = before.position.checked_add(take(rest)?)?;
        let kind = take(rest)?;
        let lsn = before.lsn.checked_add(take(rest)?)?;
        let at = u32::try_from(take(rest)?).ok()?;
        let len = u32::try_from(take(rest)?).ok()?;
        let appended_ms = before.appended_ms.checked_add(take(rest)?)?;
        let newer = take(rest)?;
        let newer = (newer >> 1).cast_signed() ^ -((newer & 1).cast_signed());
        let count = u32::try_from(kind >> 2).ok()?;
        let single = if count == 0 { Some(Single::take(rest, appended_ms)?) } else { None };
        let count = count.max(1);
        self.last = Base { position: first.checked_add(u64::from(count))?, lsn, appended_ms };
        self.n += 1;
        Some(Stored {
            first: Position(first),
            count,
            place: Place { lsn: Lsn(lsn), at },
            len,
            format: if kind & 1 == 0 { Format::Records } else { Format::KafkaBatch },
            keyed: kind & 2 != 0,
            appended_ms,
            newest_ms: appended_ms.wrapping_add(newer.cast_unsigned()),
            single,
        })
    }
}

/// Appends a number, seven bits a byte, the low ones first.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off; `None`: it is longer than 64 bits, or not all there.
pub(super) fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
