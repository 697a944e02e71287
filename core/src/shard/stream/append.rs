//! Appending batches: the hot path of streams.
//!
//! All parts of a request that fit stand in one entry, each batch once, as its dialect wrote it. What must hold: positions are given
//! densely, when the entry is written; a numbered repeat is answered with its first position and stores nothing, the records for other
//! readers included; the answer waits for the entry, and for the tail where it says that something is there already or refused (S2).

use super::super::Mutant;
use super::super::effect::Turn;
use super::super::entry::Target;
use super::super::publish::Head;
use super::entry::{self, APPEND_HEAD_BYTES, KEY_BYTES, PART_HEAD_BYTES_MAX};
use super::{Shard, unknown};
use crate::stream::Admitted;
use crate::stream::producers::Numbering;
use crate::stream::records::Marks;
use smallvec::SmallVec;
use std::{iter, mem};
use stele_model::id::{Lsn, Now, Place, QueueId};
use stele_model::machine::Urgency;
use stele_model::publish::ShardPublish;
use stele_model::refusal::Refusal;
use stele_model::shard::ShardEffect;
use stele_model::stream::records::RecordRefusal;
use stele_model::stream::{Appended, Batch, Format, KeyMark, PartResult, ShardAppend, StreamRefusal};

/// Records without a key that a refusal names.
const MISSING_MAX: usize = 1000;

/// A request on its way into entries.
struct Appending {
    urgency: Urgency,
    parts: Vec<(QueueId, Batch)>,
    records: Vec<(u32, ShardPublish)>,
    results: Vec<PartResult<Appended>>,
    /// Parts that go into the next entry; no partition twice.
    pending: SmallVec<[u32; 16]>,
    pending_bytes: usize,
    /// What the answer waits for.
    after: Lsn,
}

impl Shard {
    pub(in crate::shard) fn append_batches(&mut self, of: ShardAppend, turn: &mut Turn<'_>) {
        let ShardAppend { hub, call, awaited, parts, records } = of;
        let urgency = if awaited { Urgency::Urgent } else { Urgency::Rides };
        let results = Vec::with_capacity(parts.len());
        let mut to = Appending {
            urgency,
            parts,
            records,
            results,
            pending: SmallVec::new(),
            pending_bytes: APPEND_HEAD_BYTES,
            after: Lsn(0),
        };
        for n in 0..to.parts.len() {
            self.append_part(&mut to, n as u32, turn);
        }
        self.append_pending(&mut to, turn);
        if self.makes(Mutant::EarlyAppend) {
            to.after = Lsn(0);
        }
        turn.say(to.after, ShardEffect::Appended { hub, call, parts: to.results });
    }

    /// Decides on one part: it becomes pending, or has its answer.
    fn append_part(&mut self, to: &mut Appending, n: u32, turn: &mut Turn<'_>) {
        let (id, bytes) = {
            let (id, batch) = &to.parts[n as usize];
            (*id, batch.bytes.len() + PART_HEAD_BYTES_MAX + batch.keys.len() * KEY_BYTES)
        };
        let most = turn.journal.entry_bytes_max();
        let again = to.pending.iter().any(|n| to.parts[*n as usize].0 == id);
        if again || to.pending_bytes + bytes > most {
            self.append_pending(to, turn);
        }
        let bytes_max = most - APPEND_HEAD_BYTES - PART_HEAD_BYTES_MAX;
        let decided = self.decide_batch(id, &to.parts[n as usize].1, bytes_max);
        let stored = decided == Ok(None);
        self.publish_records(to, n, stored, turn);
        if stored {
            to.pending.push(n);
            to.pending_bytes += bytes;
            // Its place is kept until the entry is written.
            to.results.push(Ok(Appended::Listeners));
            return;
        }
        to.after = to.after.max(turn.journal.tail());
        to.results.push(decided.map(|at| at.unwrap_or(Appended::Listeners)));
    }

    /// `Ok(None)`: it is to be stored. `Ok(Some)`: it is there already.
    #[expect(clippy::result_large_err, reason = "once per batch, and the refusal is moved on as it is")]
    fn decide_batch(&self, id: QueueId, batch: &Batch, bytes_max: usize) -> PartResult<Option<Appended>> {
        let Some(partition) = self.streams.partitions.get(&id) else { return Err(unknown()) };
        let bytes_max = bytes_max.saturating_sub(batch.keys.len() * KEY_BYTES);
        let max = partition.spec.settings.batch_bytes_max.min(u32::try_from(bytes_max).unwrap_or(u32::MAX));
        if batch.bytes.len() > max as usize {
            return Err(Refusal::Stream(StreamRefusal::TooLarge { max }));
        }
        assert!(batch.count > 0, "I33: a dialect appends batches of at least one record");
        if partition.records.is_some() {
            let stream = partition.spec.stream.clone();
            return Err(Refusal::Stream(StreamRefusal::Record { stream, why: RecordRefusal::NotSingle }));
        }
        let keys = u32::try_from(batch.keys.len()).unwrap_or(u32::MAX);
        if partition.compaction.is_some() && keys != batch.count {
            let lacking = (keys..batch.count).take(MISSING_MAX).collect();
            return Err(Refusal::Stream(StreamRefusal::KeysMissing(lacking)));
        }
        let Some(producer) = &batch.producer else { return Ok(None) };
        match partition.producers.check(producer, batch.count).map_err(Refusal::Stream)? {
            Numbering::Next => Ok(None),
            Numbering::Repeat(_) if self.makes(Mutant::RepeatTaken) => Ok(None),
            Numbering::Repeat(first) => Ok(Some(Appended::At { first, start: partition.start })),
        }
    }

    /// What other readers get of the part is stored before it, if it is stored; else it counts as taken.
    fn publish_records(&mut self, to: &mut Appending, n: u32, stored: bool, turn: &mut Turn<'_>) {
        if to.records.is_empty() {
            return;
        }
        let (of_part, others) = mem::take(&mut to.records).into_iter().partition(|(part, _)| *part == n);
        to.records = others;
        let of_part: Vec<(u32, ShardPublish)> = of_part;
        for (_, publish) in of_part {
            if stored {
                self.publish(publish, turn);
                continue;
            }
            let (hub, call) = (publish.hub, publish.call);
            let (refused, gone, stored) = (Vec::new(), Vec::new(), Vec::new());
            turn.say_present(ShardEffect::Published { hub, call, refused, gone, stored });
        }
    }

    /// Writes what is pending as one entry, and puts it into the partitions.
    fn append_pending(&mut self, to: &mut Appending, turn: &mut Turn<'_>) {
        let pending = mem::take(&mut to.pending);
        to.pending_bytes = APPEND_HEAD_BYTES;
        if pending.is_empty() {
            return;
        }
        entry::begin_append(turn.scratch, pending.len() as u32);
        for n in &pending {
            let (id, batch) = &to.parts[*n as usize];
            let partition =
                self.streams.partitions.get(id).expect("only parts that can be appended are pending");
            entry::put_part(turn.scratch, *id, partition.end, batch, partition.compaction.is_some());
        }
        let head_len = turn.scratch.len();
        let mut pieces: SmallVec<[&[u8]; 17]> = SmallVec::new();
        pieces.push(turn.scratch);
        pieces.extend(pending.iter().map(|n| &to.parts[*n as usize].1.bytes[..]));
        let place = turn.journal.append(to.urgency, &pieces);
        drop(pieces);
        let time = turn.now();
        to.after = to.after.max(place.lsn);
        let mut at = place.at + head_len as u32;
        for n in pending {
            let (id, batch) = &to.parts[n as usize];
            let Some(partition) = self.streams.partitions.get(id) else { continue };
            let (first, start) = (partition.end, partition.start);
            let admitted = Admitted {
                first,
                count: batch.count,
                place: Place { lsn: place.lsn, at },
                len: batch.bytes.len() as u32,
                format: batch.format,
                newest_ms: batch.time_max_ms,
                producer: batch.producer,
            };
            at += admitted.len;
            self.admit_batch(*id, &admitted, batch.keys.iter().copied(), time);
            to.results[n as usize] = Ok(Appended::At { first, start });
            self.came_to(*id, place.lsn, turn);
        }
    }

    /// Puts a batch into a partition, the same in replay. `false`: there is no such partition.
    pub(in crate::shard) fn admit_batch(
        &mut self,
        id: QueueId,
        batch: &Admitted,
        keys: impl ExactSizeIterator<Item = KeyMark>,
        time: Now,
    ) -> bool {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return false };
        partition.admit(batch, keys, time);
        self.live.held(batch.place.lsn, u64::from(batch.len));
        true
    }

    /// Puts a run of published records into a partition, as one batch or one by one, the same in replay. `false`: there is no such
    /// partition.
    pub(in crate::shard) fn admit_run(
        &mut self,
        target: &Target,
        place: Place,
        (bytes, heads): (&[u8], &[Head]),
        marks: &Marks<'_>,
        time: Now,
    ) -> bool {
        if self.streams.partitions.get(&target.queue).is_some_and(|of| of.records.is_some()) {
            self.admit_singles(target, place, (bytes, heads), marks, time);
            return true;
        }
        let admitted = Admitted {
            first: target.first,
            count: heads.len() as u32,
            place,
            len: bytes.len() as u32,
            format: Format::Records,
            newest_ms: None,
            producer: None,
        };
        self.admit_batch(target.queue, &admitted, iter::empty(), time)
    }

    /// Something was appended in block `lsn`: who waits for it is told after it.
    pub(in crate::shard) fn came_to(&mut self, id: QueueId, lsn: Lsn, turn: &mut Turn<'_>) {
        self.wake_all(id, lsn, turn);
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        partition.after = lsn;
        self.grown(id);
        self.serve_stream(id, turn);
        self.feed_shares(id, turn);
    }
}
