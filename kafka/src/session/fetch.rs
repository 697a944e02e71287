//! Fetch (key 1): batches are read, stamped with their offsets and sent without being opened; a fetch that finds too little waits.
//!
//! A waiting fetch watches its partitions: an append wakes it, and it reads again. There are no fetch sessions: a client that asks for
//! one is answered with session 0 and goes on with full requests, as the protocol foresees. `__consumer_offsets` holds no batches:
//! what the groups know is shown in its place.

use super::Connection;
use super::groups_topic;
use super::produce::{offset, owned, stream_ref};
use super::serve::streams;
use crate::codec::fetch::{Fetch, PartitionHead, Piece, Response};
use crate::codec::frame::Violation;
use crate::codec::generated::fetch::{AbortedTransaction, FetchPartition};
use crate::codec::produce::TopicRef;
use crate::codec::wire::Uuid;
use crate::profile;
use crate::refuse::{Code, refused};
use bytes::Bytes;
use stele_model::group::GROUP_STREAM;
use stele_model::id::{Now, Position};
use stele_model::op::{Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_model::session::{Outbox, Output};
use stele_model::stream::{
    Ends, Format, PartResult, PartitionRef, Read, ReadBatch, ReadPart, Reads, StreamRef,
};
use stele_record::batch::{STAMPED_BYTES, crossing, stamp};

/// A fetch that is not answered yet.
#[derive(Debug)]
pub(super) struct Fetching {
    topics: Vec<TopicRef<'static>>,
    partitions: Vec<Wanted>,
    min_bytes: u64,
    bytes_max: u64,
    stable: bool,
    /// When it is answered with what there is.
    limit: Now,
    /// When it may read again after an append.
    look_again: Option<Now>,
    /// What the last read found; `None`: a read is under way.
    found: Option<Vec<PartResult<Part>>>,
    /// Answers of the read under way, which may come in several parts.
    parts: Vec<Option<Outcome>>,
    /// The hub watches.
    watching: bool,
    /// It reads because something was appended to what it watches.
    woken: bool,
    /// The id of the groups' topic.
    groups_id: Option<Uuid>,
}

/// What is known of the id of the groups' topic, which by-id requests may name: that of the topic, once it is there, and when it was looked
/// for.
#[derive(Debug, Default)]
pub(super) struct GroupsId {
    id: Option<Uuid>,
    looked: Option<Now>,
}

impl GroupsId {
    fn is_fresh(&self, now: Now) -> bool {
        self.id.is_some() || self.looked.is_some_and(|looked| looked.plus_ms(profile::TOPIC_FRESH_MS) > now)
    }
}

/// The part of a fetch that looks for that id.
const LOOK_UP: usize = usize::MAX;

#[derive(Debug)]
struct Wanted {
    topic: usize,
    of: FetchPartition,
}

/// What was found of one partition.
#[derive(Debug, Default)]
struct Part {
    ends: Ends,
    pieces: Vec<Piece>,
    aborted: Vec<AbortedTransaction>,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes() as u64).sum()
    }
}

impl Fetching {
    /// When something is to be done if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Now> {
        let waits = self.found.is_some();
        waits.then(|| self.look_again.map_or(self.limit, |again| again.min(self.limit)))
    }

    /// The indexes of partitions that are read, in order, and of those of the groups' topic.
    fn split(&self) -> (Vec<usize>, Vec<usize>) {
        (0..self.partitions.len()).partition(|at| !self.is_groups(*at))
    }

    /// Octets that it may bring, not counting that the first batch is whole however large it is.
    fn bytes_most(&self) -> u64 {
        let parts = self.partitions.iter().map(|wanted| wanted.of.partition_max_bytes);
        let parts: u64 = parts.map(|bytes| u64::try_from(bytes).unwrap_or_default()).sum();
        parts.min(self.bytes_max)
    }

    fn is_groups(&self, at: usize) -> bool {
        let topic = &self.topics[self.partitions[at].topic];
        match topic {
            TopicRef::Name(name) => *name == GROUP_STREAM,
            TopicRef::Id(id) => self.groups_id == Some(*id),
        }
    }

    fn is_enough(&self, now: Now) -> bool {
        let Some(found) = &self.found else { return false };
        let bytes: u64 = found.iter().flatten().map(Part::bytes).sum();
        bytes >= self.min_bytes || found.iter().any(Result::is_err) || self.limit <= now
    }
}

impl Connection {
    /// A new request.
    pub(super) fn fetch(&mut self, now: Now, number: u64, out: &mut Outbox) -> Result<(), Violation> {
        let Some(slot) = self.slots.get(number) else { return Ok(()) };
        let (version, correlation_id, body) = (slot.version, slot.correlation_id, slot.body.clone());
        let request = Fetch::parse(version, &body)?;
        let mut topics = Vec::new();
        let mut partitions = Vec::new();
        request.each(|topic| topics.push(owned(topic)), |topic, of| partitions.push(Wanted { topic, of }))?;
        if !request.is_full() {
            let mut answer = Output::default();
            let code = Code::FetchSessionIdNotFound.number();
            Response::start(version, correlation_id, (code, 0), 0, &mut answer).end(&mut answer);
            self.slots.ready(number, answer);
            return Ok(());
        }
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or_default();
        let fetching = Fetching {
            topics,
            partitions,
            min_bytes: u64::try_from(request.min_bytes).unwrap_or_default(),
            bytes_max: u64::try_from(request.max_bytes).unwrap_or_default().min(profile::FETCH_BYTES_MAX),
            stable: request.isolation_level == 1,
            limit: now.plus_ms(wait_ms.min(profile::FETCH_WAIT_MS_MAX)),
            look_again: None,
            found: None,
            parts: Vec::new(),
            watching: false,
            woken: false,
            groups_id: None,
        };
        if fetching.partitions.is_empty() {
            let fetching = Fetching { found: Some(Vec::new()), min_bytes: 0, ..fetching };
            self.fetching.insert(number, fetching);
            self.answer_fetch(number, out);
            return Ok(());
        }
        let by_id = fetching.topics.iter().any(|topic| matches!(topic, TopicRef::Id(_)));
        self.fetching_bytes += fetching.bytes_most();
        self.fetching.insert(number, fetching);
        if by_id && !self.groups_id.is_fresh(now) {
            let wanted = StreamsWanted::These(vec![StreamRef::Name(GROUP_STREAM.to_owned())]);
            self.ask(number, LOOK_UP, Op::Streams(wanted), out);
        } else {
            self.read(now, number, out);
        }
        Ok(())
    }

    /// Reads what there is, and watches for what comes.
    fn read(&mut self, now: Now, number: u64, out: &mut Outbox) {
        let Some(fetching) = self.fetching.get_mut(&number) else { return };
        fetching.groups_id = self.groups_id.id;
        let (plain, groups) = fetching.split();
        let mut ops = Vec::new();
        if !plain.is_empty() {
            // Who was woken finds something, as a rule: a watch would only have to be taken back.
            let watches = fetching.limit > now && fetching.min_bytes > 0 && !fetching.woken;
            let watch = watches.then_some(number);
            let parts = plain.iter().map(|at| {
                let Wanted { topic, of } = &fetching.partitions[*at];
                Read {
                    of: partition_ref(&fetching.topics[*topic], of.partition),
                    from: Position(u64::try_from(of.fetch_offset).unwrap_or(u64::MAX)),
                    bytes_max: u64::try_from(of.partition_max_bytes).unwrap_or_default(),
                    stable: fetching.stable,
                }
            });
            let reads = Reads { parts: parts.collect(), bytes_max: fetching.bytes_max, watch };
            fetching.watching = watch.is_some();
            ops.push(Op::Read(reads));
        }
        for at in groups {
            let of = &fetching.partitions[at].of;
            ops.push(groups_topic::changes(of.partition, of.fetch_offset));
        }
        fetching.found = None;
        fetching.look_again = None;
        fetching.parts = ops.iter().map(|_| None).collect();
        for (part, op) in ops.into_iter().enumerate() {
            self.ask(number, part, op, out);
        }
    }

    /// The hub has answered a part of a read.
    pub(super) fn fetched(
        &mut self,
        now: Now,
        number: u64,
        part: usize,
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        if part == LOOK_UP {
            let found = streams(&outcome, 1).into_iter().flatten().next();
            self.groups_id = GroupsId { id: found.map(|info| Uuid(info.uuid.0)), looked: Some(now) };
            self.read(now, number, out);
            return Ok(());
        }
        let Some(fetching) = self.fetching.get_mut(&number) else { return Ok(()) };
        let place = fetching.parts.get_mut(part).expect("the ticket names a part");
        *place = Some(outcome);
        if fetching.parts.iter().any(Option::is_none) {
            return Ok(());
        }
        fetching.take_parts();
        let woken = std::mem::take(&mut fetching.woken);
        if fetching.is_enough(now) {
            self.answer_fetch(number, out);
        } else if woken || (fetching.look_again.is_some() && fetching.min_bytes <= 1) {
            // Nobody watches now; or it was woken while it read, and what woke it may be newer than what it found.
            self.read(now, number, out);
        }
        Ok(())
    }

    /// Something was appended to what a fetch watches.
    pub(super) fn appended(&mut self, now: Now, watch: u64, out: &mut Outbox) {
        let Some(fetching) = self.fetching.get_mut(&watch) else { return };
        fetching.watching = false;
        if fetching.found.is_some() && fetching.min_bytes <= 1 {
            fetching.woken = true;
            self.read(now, watch, out);
        } else {
            // Who waits for many octets does not look at each append.
            fetching.look_again = Some(now.plus_ms(profile::LOOK_AGAIN_MS));
        }
    }

    /// Fetches whose time has come.
    pub(super) fn fetches_due(&mut self, now: Now, out: &mut Outbox) {
        let due = |fetching: &Fetching| fetching.deadline().is_some_and(|limit| limit <= now);
        let due: Vec<u64> =
            self.fetching.iter().filter(|(_, fetching)| due(fetching)).map(|(number, _)| *number).collect();
        for number in due {
            match self.fetching.get(&number) {
                Some(fetching) if fetching.limit <= now => self.answer_fetch(number, out),
                Some(_) => self.read(now, number, out),
                None => {}
            }
        }
    }

    fn answer_fetch(&mut self, number: u64, out: &mut Outbox) {
        let Some(fetching) = self.fetching.remove(&number) else { return };
        self.fetching_bytes -= fetching.bytes_most();
        if fetching.watching {
            self.unwatch(number, out);
        }
        let Some(slot) = self.slots.get(number) else { return };
        let answer = fetching.response(slot.version, slot.correlation_id);
        self.slots.ready(number, answer);
    }

    fn unwatch(&mut self, watch: u64, out: &mut Outbox) {
        let ticket = stele_model::id::Ticket(0);
        out.submits.push(stele_model::op::Submit { ticket, lane: 0, op: Op::Unwatch { watch } });
    }
}

impl Fetching {
    /// All parts of a read are there: one result for each partition.
    fn take_parts(&mut self) {
        let (plain, groups) = self.split();
        let mut outcomes = std::mem::take(&mut self.parts).into_iter().flatten();
        let mut found: Vec<Option<PartResult<Part>>> = self.partitions.iter().map(|_| None).collect();
        if !plain.is_empty() {
            let read = match outcomes.next() {
                Some(Outcome::Done(Done::Read(read))) => read,
                Some(Outcome::Refused(refusal)) => plain.iter().map(|_| Err(refusal.clone())).collect(),
                other => unreachable!("the hub answers read with {other:?}"),
            };
            assert_eq!(read.len(), plain.len(), "each part is answered");
            for (at, part) in plain.into_iter().zip(read) {
                found[at] = Some(part.map(|part| self.partitions[at].part(&part)));
            }
        }
        for at in groups {
            found[at] = Some(match outcomes.next() {
                Some(Outcome::Done(Done::GroupChanges(changes))) => {
                    let (end, batch) = groups_topic::batch(&changes);
                    let ends = Ends { stable: end, end, ..Ends::default() };
                    Ok(Part {
                        ends,
                        pieces: batch.map(Piece::Whole).into_iter().collect(),
                        aborted: Vec::new(),
                    })
                }
                Some(Outcome::Refused(refusal)) => Err(refusal),
                other => unreachable!("the hub answers group changes with {other:?}"),
            });
        }
        self.found = Some(found.into_iter().flatten().collect());
    }

    fn response(&self, version: i16, correlation_id: i32) -> Output {
        let mut out = Output::default();
        let mut response = Response::start(version, correlation_id, (0, 0), self.topics.len(), &mut out);
        let found = self.found.as_deref().unwrap_or_default();
        let mut rest: Vec<_> = self.partitions.iter().zip(found).collect();
        for (at, topic) in self.topics.iter().enumerate() {
            // Partitions stand in the order of their topics.
            let after = rest.split_off(rest.iter().take_while(|(wanted, _)| wanted.topic == at).count());
            response.topic(topic, rest.len(), &mut out);
            for (wanted, part) in rest {
                let (head, pieces) = wanted.head(part);
                response.partition(&head, pieces, &mut out);
            }
            response.end_topic(&mut out);
            rest = after;
        }
        response.end(&mut out);
        out
    }
}

impl Wanted {
    fn part(&self, read: &ReadPart) -> Part {
        let aborted = read.aborted.iter().map(|(producer, first)| AbortedTransaction {
            producer_id: offset(*producer),
            first_offset: offset(first.0),
        });
        let pieces = read.batches.iter().filter_map(|batch| piece(batch, read.batch(batch)));
        Part { ends: read.ends, pieces: pieces.collect(), aborted: aborted.collect() }
    }

    /// What is told of the partition, and its records.
    fn head<'p>(&self, part: &'p PartResult<Part>) -> (PartitionHead, &'p [Piece]) {
        let failed = |code: Code| PartitionHead {
            index: self.of.partition,
            error_code: code.number(),
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: Vec::new(),
        };
        let part = match part {
            Ok(part) => part,
            Err(refusal) => return (failed(refused(refusal).code), &[]),
        };
        if let Some(code) = epoch_fault(self.of.current_leader_epoch, part.ends.epoch) {
            return (failed(code), &[]);
        }
        let head = PartitionHead {
            index: self.of.partition,
            error_code: Code::None.number(),
            high_watermark: offset(part.ends.end.0),
            last_stable_offset: offset(part.ends.stable.0),
            log_start_offset: offset(part.ends.start.0),
            aborted: part.aborted.clone(),
        };
        (head, &part.pieces)
    }
}

/// What is wrong with the epoch that a client believes in; −1: it does not say.
pub(super) fn epoch_fault(believed: i32, is: u32) -> Option<Code> {
    let is = i32::try_from(is).unwrap_or(i32::MAX);
    match believed {
        ..0 => None,
        believed if believed < is => Some(Code::FencedLeaderEpoch),
        believed if believed > is => Some(Code::UnknownLeaderEpoch),
        _ => None,
    }
}

/// A partition in the model's words. A negative index is one that no topic has.
pub(super) fn partition_ref(topic: &TopicRef<'_>, index: i32) -> PartitionRef {
    PartitionRef { stream: stream_ref(topic), index: u32::try_from(index).unwrap_or(u32::MAX) }
}

/// A batch with its offsets; `None`: it is damaged, which readers are not told here (the log's own checks are).
fn piece(batch: &ReadBatch, octets: Bytes) -> Option<Piece> {
    let first = offset(batch.first.0);
    let epoch = i32::try_from(batch.epoch).unwrap_or(i32::MAX);
    match batch.format {
        Format::KafkaBatch => {
            let mut start: [u8; STAMPED_BYTES] = *octets.first_chunk()?;
            stamp(&mut start, first, epoch);
            Some(Piece::Stamped(start, octets.slice(STAMPED_BYTES..)))
        }
        Format::Records => crossing::batch(&octets, first, epoch).ok().map(Piece::Whole),
    }
}
