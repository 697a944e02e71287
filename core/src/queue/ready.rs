//! The index of ready records: a chunked first-in-first-out list of 16 bytes a record.
//!
//! Called by [`super::priority`], which keeps one such list for each priority in use. A chunk's memory *is* its snapshot form, so
//! a full chunk is encoded once, and a snapshot shares it (S16, STORAGE §3). What must hold: records come in order of position and
//! leave at the head only; nothing grows beyond a chunk, so no push ever moves more than 64 KB. Not here: returned records, leases.
//!
//! # A sealed chunk's bytes
//! Little endian. 32 bytes of head: u32 records, u32 trait runs, u64 position of the first record, u64 block that logged places
//! count from, u64 block that volatile places count from (`u64::MAX`: none of that kind). Then 16 bytes for each record: u32 block
//! less the base, u32 offset in the block, u32 length, u32 position less the first one, with [`KEPT`] set for a volatile place. Then
//! 16 bytes for each trait run: u32 first record, u32 bytes before the body, u64 time of expiry in µs.

use super::Record;
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use std::collections::VecDeque;
use stele_model::id::{Lsn, Now, Place, Position};
use stele_model::machine::VOLATILE;

/// Bytes before the entries of a chunk.
const HEAD_BYTES: usize = 32;
/// Bytes of one record in a chunk, and of one trait run.
const ENTRY_BYTES: usize = 16;
/// A chunk is sealed before it grows beyond this.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Records in the first chunk of a list; each further one may have four times as many.
const RECORDS_FIRST: u32 = 16;
/// A list that ran empty keeps its chunk's memory up to this many records.
const RECORDS_KEPT: u32 = 32;
/// Marks a volatile place in an entry's last word.
const KEPT: u32 = 1 << 31;
/// "No place of this kind yet" for a chunk's bases.
const UNSET: u64 = u64::MAX;

/// Ready records of one priority, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    chunks: VecDeque<Box<Chunk>>,
    len: u64,
}

impl Fifo {
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends a record that was never delivered. Its position is above all others here.
    pub(crate) fn push(&mut self, record: &Record) {
        if !self.chunks.back().is_some_and(|last| last.takes(record)) {
            self.grow();
        }
        if let Some(last) = self.chunks.back_mut() {
            last.push(record);
        }
        self.len += 1;
    }

    /// The oldest record.
    pub(crate) fn head(&self) -> Option<Record> {
        self.chunks.front().and_then(|chunk| chunk.get(chunk.read))
    }

    /// Takes the oldest record.
    pub(crate) fn pop(&mut self) -> Option<Record> {
        let others = self.chunks.len() > 1;
        let chunk = self.chunks.front_mut()?;
        let record = chunk.get(chunk.read)?;
        chunk.advance();
        self.len -= 1;
        if chunk.is_read() && (others || !chunk.clear()) {
            self.chunks.pop_front();
        }
        Some(record)
    }

    /// All records, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.records())
    }

    /// Records in the blocks of `range`; whole chunks outside it are passed over.
    pub(crate) fn in_blocks(&self, range: (Lsn, Lsn)) -> impl Iterator<Item = Record> + '_ {
        let next_base = |n: usize| self.chunks.get(n + 1).map_or(UNSET, |chunk| chunk.logged);
        self.chunks
            .iter()
            .enumerate()
            .filter(move |(n, chunk)| {
                let next = next_base(*n);
                chunk.logged != UNSET && chunk.logged <= range.1.0 && (next == UNSET || next >= range.0.0)
            })
            .flat_map(|(_, chunk)| chunk.records())
            .filter(move |record| (range.0..=range.1).contains(&record.place.lsn))
    }

    /// Chunks for a snapshot: how many records of each were read already, and its bytes. Full chunks are shared, not copied.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (u32, Bytes)> + '_ {
        self.chunks.iter().filter(|chunk| !chunk.is_read()).map(|chunk| (chunk.read, chunk.to_bytes()))
    }

    /// Takes up a chunk of a snapshot behind the others.
    pub(crate) fn restore(&mut self, read: u32, bytes: Bytes) -> Result<(), String> {
        let chunk = Chunk::parse(read, bytes)?;
        if chunk.is_read() {
            return Ok(());
        }
        self.len += u64::from(chunk.count - chunk.read);
        self.chunks.push_back(Box::new(chunk));
        Ok(())
    }

    fn grow(&mut self) {
        let records_max = match self.chunks.back_mut() {
            Some(last) => {
                last.seal();
                last.records_max.saturating_mul(4)
            }
            None => RECORDS_FIRST,
        };
        self.chunks.push_back(Box::new(Chunk::new(records_max)));
    }
}

/// A stretch of records; appended to until it is full, read from its head.
#[derive(Debug)]
struct Chunk {
    body: Body,
    /// Records read already.
    read: u32,
    count: u32,
    records_max: u32,
    position: u64,
    /// Block that logged places count from.
    logged: u64,
    /// Block that volatile places count from, without the mark.
    kept: u64,
    traits: SmallVec<[TraitRun; 1]>,
    /// The trait run that holds for the record at `read`.
    trait_at: u32,
}

#[derive(Debug)]
enum Body {
    Growing(BytesMut),
    Sealed(Bytes),
}

/// What neighbouring records have in common, so that it costs nothing per record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraitRun {
    from: u32,
    overhead: u32,
    expires: Now,
}

impl Chunk {
    fn new(records_max: u32) -> Self {
        let fits = ((CHUNK_BYTES_MAX - HEAD_BYTES) / ENTRY_BYTES) as u32 - 1;
        let records_max = records_max.min(fits);
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + (records_max as usize + 1) * ENTRY_BYTES);
        bytes.put_bytes(0, HEAD_BYTES);
        Self {
            body: Body::Growing(bytes),
            read: 0,
            count: 0,
            records_max,
            position: 0,
            logged: UNSET,
            kept: UNSET,
            traits: SmallVec::new(),
            trait_at: 0,
        }
    }

    fn is_read(&self) -> bool {
        self.read == self.count
    }

    /// Makes room for other records in the same memory; `false` if it is not worth keeping.
    fn clear(&mut self) -> bool {
        let Body::Growing(bytes) = &mut self.body else { return false };
        if self.records_max > RECORDS_KEPT {
            return false;
        }
        bytes.truncate(HEAD_BYTES);
        (self.read, self.count, self.trait_at) = (0, 0, 0);
        (self.logged, self.kept) = (UNSET, UNSET);
        self.traits.clear();
        true
    }

    /// Whether the record can be said relative to the chunk's bases, and fits.
    fn takes(&self, record: &Record) -> bool {
        let Body::Growing(bytes) = &self.body else { return false };
        if self.count == 0 {
            return true;
        }
        let (base, lsn) = match record.place.lsn.0 {
            lsn if lsn & VOLATILE != 0 => (self.kept, lsn & !VOLATILE),
            lsn => (self.logged, lsn),
        };
        let delta = if base == UNSET { Some(0) } else { lsn.checked_sub(base) };
        let distance = record.position.0.checked_sub(self.position);
        self.count < self.records_max
            && bytes.len() + (self.traits.len() + 2) * ENTRY_BYTES <= CHUNK_BYTES_MAX
            && delta.is_some_and(|delta| delta <= u64::from(u32::MAX))
            && distance.is_some_and(|distance| distance < u64::from(KEPT))
    }

    fn push(&mut self, record: &Record) {
        if self.count == 0 {
            self.position = record.position.0;
        }
        let lsn = record.place.lsn.0 & !VOLATILE;
        let (base, mark) =
            if record.place.lsn.0 & VOLATILE != 0 { (&mut self.kept, KEPT) } else { (&mut self.logged, 0) };
        if *base == UNSET {
            *base = lsn;
        }
        let delta = (lsn - *base) as u32;
        let distance = (record.position.0 - self.position) as u32;
        let mut entry = [0; ENTRY_BYTES];
        entry[0..4].copy_from_slice(&delta.to_le_bytes());
        entry[4..8].copy_from_slice(&record.place.at.to_le_bytes());
        entry[8..12].copy_from_slice(&record.len.to_le_bytes());
        entry[12..16].copy_from_slice(&(distance | mark).to_le_bytes());
        let same = self
            .traits
            .last()
            .is_some_and(|last| last.overhead == record.overhead && last.expires == record.expires);
        if !same {
            self.traits.push(TraitRun {
                from: self.count,
                overhead: record.overhead,
                expires: record.expires,
            });
        }
        match &mut self.body {
            Body::Growing(bytes) => bytes.extend_from_slice(&entry),
            Body::Sealed(_) => unreachable!("I10: only a growing chunk takes records"),
        }
        self.count += 1;
    }

    fn get(&self, n: u32) -> Option<Record> {
        if n >= self.count {
            return None;
        }
        let mut at = self.trait_at as usize;
        while self.traits.get(at + 1).is_some_and(|next| next.from <= n) {
            at += 1;
        }
        Some(self.record(n, self.traits.get(at)?))
    }

    fn record(&self, n: u32, of: &TraitRun) -> Record {
        let from = HEAD_BYTES + n as usize * ENTRY_BYTES;
        let entry = self.bytes()[from..].first_chunk::<ENTRY_BYTES>();
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] =
            *entry.expect("I10: a chunk has bytes for all its records");
        let delta = u64::from(u32::from_le_bytes([a0, a1, a2, a3]));
        let last = u32::from_le_bytes([d0, d1, d2, d3]);
        let lsn = if last & KEPT != 0 { (self.kept + delta) | VOLATILE } else { self.logged + delta };
        Record {
            position: Position(self.position + u64::from(last & !KEPT)),
            place: Place { lsn: Lsn(lsn), at: u32::from_le_bytes([b0, b1, b2, b3]) },
            len: u32::from_le_bytes([c0, c1, c2, c3]),
            overhead: of.overhead,
            expires: of.expires,
            priority: 0,
            redelivered: false,
            failures: 0,
        }
    }

    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let mut at = self.trait_at as usize;
        (self.read..self.count).filter_map(move |n| {
            while self.traits.get(at + 1).is_some_and(|next| next.from <= n) {
                at += 1;
            }
            Some(self.record(n, self.traits.get(at)?))
        })
    }

    fn advance(&mut self) {
        self.read += 1;
        if self.traits.get(self.trait_at as usize + 1).is_some_and(|next| next.from <= self.read) {
            self.trait_at += 1;
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Growing(bytes) => bytes,
            Body::Sealed(bytes) => bytes,
        }
    }

    fn seal(&mut self) {
        if let Body::Growing(bytes) = &mut self.body {
            let mut bytes = std::mem::take(bytes);
            finish(&mut bytes, self.count, self.position, (self.logged, self.kept), &self.traits);
            self.body = Body::Sealed(bytes.freeze());
        }
    }

    fn to_bytes(&self) -> Bytes {
        match &self.body {
            Body::Sealed(bytes) => bytes.clone(),
            Body::Growing(bytes) => {
                let mut copy = BytesMut::with_capacity(bytes.len() + self.traits.len() * ENTRY_BYTES);
                copy.extend_from_slice(bytes);
                finish(&mut copy, self.count, self.position, (self.logged, self.kept), &self.traits);
                copy.freeze()
            }
        }
    }

    fn parse(read: u32, bytes: Bytes) -> Result<Self, String> {
        let wrong = || format!("chunk of {} bytes does not add up", bytes.len());
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or_else(wrong)?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| head[at + n]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[at + n]));
        let (count, runs) = (word(0), word(4));
        let entries_end = HEAD_BYTES + count as usize * ENTRY_BYTES;
        if bytes.len() != entries_end + runs as usize * ENTRY_BYTES || read > count {
            return Err(wrong());
        }
        let mut traits: SmallVec<[TraitRun; 1]> = SmallVec::new();
        for run in bytes[entries_end..].as_chunks::<ENTRY_BYTES>().0 {
            let [a0, a1, a2, a3, b0, b1, b2, b3, time @ ..] = *run;
            traits.push(TraitRun {
                from: u32::from_le_bytes([a0, a1, a2, a3]),
                overhead: u32::from_le_bytes([b0, b1, b2, b3]),
                expires: Now(u64::from_le_bytes(time)),
            });
        }
        let ordered = traits.windows(2).all(|pair| pair[0].from < pair[1].from);
        if count > 0 && (!ordered || traits.first().is_none_or(|first| first.from != 0)) {
            return Err(wrong());
        }
        let trait_at = traits.iter().take_while(|run| run.from <= read).count().saturating_sub(1) as u32;
        Ok(Self {
            read,
            count,
            records_max: count.max(RECORDS_FIRST),
            position: long(8),
            logged: long(16),
            kept: long(24),
            traits,
            trait_at,
            body: Body::Sealed(bytes),
        })
    }
}

/// Writes the head, and the trait runs behind the entries.
fn finish(bytes: &mut BytesMut, count: u32, position: u64, bases: (u64, u64), traits: &[TraitRun]) {
    bytes[0..4].copy_from_slice(&count.to_le_bytes());
    bytes[4..8].copy_from_slice(&(traits.len() as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&position.to_le_bytes());
    bytes[16..24].copy_from_slice(&bases.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&bases.1.to_le_bytes());
    for run in traits {
        bytes.put_u32_le(run.from);
        bytes.put_u32_le(run.overhead);
        bytes.put_u64_le(run.expires.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::NEVER;

    fn record(n: u64) -> Record {
        Record {
            position: Position(n),
            place: Place { lsn: Lsn(1 + n / 10), at: (n % 10) as u32 * 50 },
            len: 50,
            overhead: 34,
            expires: NEVER,
            priority: 0,
            redelivered: false,
            failures: 0,
        }
    }

    #[test]
    fn records_leave_in_the_order_they_came_over_many_chunks() {
        let mut fifo = Fifo::default();
        (0..20_000).for_each(|n| fifo.push(&record(n)));
        assert_eq!(fifo.len(), 20_000);
        assert!(fifo.iter().eq((0..20_000).map(record)));
        (0..20_000).for_each(|n| assert_eq!(fifo.pop(), Some(record(n))));
        assert_eq!((fifo.pop(), fifo.len()), (None, 0));
        fifo.push(&record(20_000));
        assert_eq!(fifo.head(), Some(record(20_000)));
    }

    #[test]
    fn what_changes_from_record_to_record_is_kept() {
        let mut fifo = Fifo::default();
        let odd = |n: u64| Record { overhead: 30 + (n % 7) as u32, expires: Now(n / 3), ..record(n) };
        (0..5_000).for_each(|n| fifo.push(&odd(n)));
        assert!(fifo.iter().eq((0..5_000).map(odd)));
        (0..5_000).for_each(|n| assert_eq!(fifo.pop(), Some(odd(n))));
    }

    #[test]
    fn volatile_places_and_far_positions_start_a_chunk_where_they_must() {
        let mut fifo = Fifo::default();
        let mixed: Vec<Record> = (0..300u64)
            .map(|n| {
                let lsn = if n % 3 == 0 { Lsn(VOLATILE | (7 + n)) } else { Lsn(n << 25) };
                Record {
                    position: Position(n << 24),
                    place: Place { lsn, at: u32::MAX - n as u32 },
                    ..record(n)
                }
            })
            .collect();
        mixed.iter().for_each(|record| fifo.push(record));
        assert!(fifo.iter().eq(mixed.iter().copied()));
    }

    #[test]
    fn a_full_chunk_is_the_same_allocation_in_each_snapshot_and_reads_back() {
        let mut fifo = Fifo::default();
        (0..10_000).for_each(|n| fifo.push(&record(n)));
        (0..700).for_each(|n| assert_eq!(fifo.pop(), Some(record(n))));
        let (first, second): (Vec<_>, Vec<_>) = (fifo.sealed().collect(), fifo.sealed().collect());
        let shared = first.iter().zip(&second).filter(|(a, b)| a.1.as_ptr() == b.1.as_ptr()).count();
        assert_eq!(shared, first.len() - 1, "all but the growing one");
        assert!(first.iter().all(|(_, bytes)| bytes.len() <= CHUNK_BYTES_MAX));
        let mut back = Fifo::default();
        first.into_iter().for_each(|(read, bytes)| back.restore(read, bytes).unwrap());
        back.push(&record(10_000));
        assert!(back.iter().eq((700..=10_000).map(record)));
    }

    #[test]
    fn a_damaged_chunk_is_an_error() {
        let mut fifo = Fifo::default();
        (0..100).for_each(|n| fifo.push(&record(n)));
        let (_, bytes) = fifo.sealed().next().unwrap();
        for short in 0..bytes.len() {
            assert!(Fifo::default().restore(0, bytes.slice(..short)).is_err());
        }
        assert!(Fifo::default().restore(u32::MAX, bytes).is_err());
    }

    #[test]
    fn blocks_are_found_without_reading_all_chunks() {
        let mut fifo = Fifo::default();
        (0..20_000).for_each(|n| fifo.push(&record(n)));
        let found: Vec<u64> = fifo.in_blocks((Lsn(500), Lsn(501))).map(|record| record.position.0).collect();
        assert_eq!(found, (4990..5010).collect::<Vec<_>>());
    }

    #[test]
    fn a_ready_record_costs_at_most_seventeen_bytes() {
        let mut fifo = Fifo::default();
        (0..1_000_000).for_each(|n| fifo.push(&record(n)));
        let bytes: usize = fifo
            .chunks
            .iter()
            .map(|chunk| match &chunk.body {
                Body::Growing(bytes) => bytes.capacity() + size_of::<Chunk>(),
                Body::Sealed(bytes) => bytes.len() + size_of::<Chunk>(),
            })
            .sum();
        assert!(bytes <= 17_000_000, "{bytes}");
    }
}
