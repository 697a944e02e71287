//! ListOffsets (key 2), OffsetForLeaderEpoch (23), DeleteRecords (21): where partitions begin and end.
//!
//! The hub finds the batch of a time; the record in it is found here, since only a dialect reads its batches.

use super::fetch::epoch_fault;
use super::groups_topic;
use super::produce::offset;
use super::serve::{Context, Stages, Step, done};
use crate::codec::generated::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::codec::generated::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse,
};
use crate::codec::generated::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use crate::profile;
use crate::refuse::{Code, refused};
use std::collections::BTreeSet;
use stele_model::group::GROUP_STREAM;
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::stream::{Ends, Format, PartResult, PartitionRef, ReadBatch, SeekBy, Sought, StreamRef};
use stele_record::View;
use stele_record::batch::Batch;

/// Times that mean a place.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
/// Octets that the batches of one request may unpack to; the last may take more. Clients ask again for what is behind.
const OPENED_BYTES_MAX: usize = 128 << 20;
/// First version in which OFFSET_NOT_AVAILABLE may be answered; before, LEADER_NOT_AVAILABLE says the same.
const ASKS_AGAIN_FIRST: i16 = 5;
/// The end of what consumers may see, in DeleteRecords.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn partition(topic: &str, index: i32) -> PartitionRef {
    PartitionRef {
        stream: StreamRef::Name(topic.to_owned()),
        index: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

/// Looks for positions, each of a partition by topic and index; `Err`: what to ask first. In the groups' topic nothing is stored, so its ends
/// are those of what is shown there, and it knows no times.
fn look(parts: &[(&str, i32, SeekBy)], stages: &Stages) -> Result<Vec<PartResult<Sought>>, Vec<Op>> {
    let is_groups = |topic: &str| topic == GROUP_STREAM;
    let plain = parts.iter().filter(|(topic, ..)| !is_groups(topic));
    let plain: Vec<_> = plain.map(|(topic, index, by)| (partition(topic, *index), *by)).collect();
    let plain_len = plain.len();
    let Some(outcomes) = stages.first() else {
        let homes = parts.iter().filter(|(topic, ..)| is_groups(topic));
        let seek = (plain_len > 0).then_some(Op::Seek(plain));
        let ops: Vec<Op> =
            seek.into_iter().chain(homes.map(|(_, index, _)| groups_topic::end(*index))).collect();
        return if ops.is_empty() { Ok(Vec::new()) } else { Err(ops) };
    };
    let mut outcomes = outcomes.iter();
    let found = if plain_len > 0 { outcomes.next().map(|outcome| sought(outcome, plain_len)) } else { None };
    let mut found = found.unwrap_or_default().into_iter();
    let all = parts.iter().map(|(topic, _, by)| {
        if !is_groups(topic) {
            return found.next().expect("each part is answered");
        }
        let end = match done(outcomes.next().expect("each home is answered")) {
            Ok(Done::GroupChanges(changes)) => changes.end,
            Err(refusal) => return Err(refusal.clone()),
            Ok(other) => unreachable!("the hub answers group changes with {other:?}"),
        };
        let position = match by {
            SeekBy::Start => Some(Position(0)),
            SeekBy::End { .. } => Some(end),
            SeekBy::Time(_) | SeekBy::Appended(_) | SeekBy::NewestTime => None,
        };
        Ok(Sought { ends: Ends { stable: end, end, ..Ends::default() }, position, batch: None })
    });
    Ok(all.collect())
}

/// What was sought, `count` of it; each has the refusal if the question itself was refused.
pub(super) fn sought(outcome: &Outcome, count: usize) -> Vec<PartResult<Sought>> {
    match done(outcome) {
        Ok(Done::Sought(sought)) => sought.clone(),
        Err(refusal) => vec![Err(refusal.clone()); count],
        Ok(other) => unreachable!("the hub answers seek with {other:?}"),
    }
}

/// How to look for a time; `None`: nothing can be there.
fn seek(timestamp: i64, stable: bool) -> Option<SeekBy> {
    Some(match timestamp {
        LATEST => SeekBy::End { stable },
        EARLIEST | EARLIEST_LOCAL => SeekBy::Start,
        MAX_TIMESTAMP => SeekBy::NewestTime,
        _ => SeekBy::Time(u64::try_from(timestamp).ok()?),
    })
}

/// First version in which each special time may be asked for.
fn is_known(timestamp: i64, version: i16) -> bool {
    match timestamp {
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        EARLIEST_PENDING_UPLOAD => version >= 11,
        _ => timestamp >= EARLIEST,
    }
}

fn all<'r, 'a>(
    request: &'r ListOffsetsRequest<'a>,
) -> impl Iterator<Item = (&'r ListOffsetsTopic<'a>, &'r ListOffsetsPartition)> {
    request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)))
}

fn unlisted(part: &ListOffsetsPartition, code: Code) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: part.partition_index,
        error_code: code.number(),
        ..ListOffsetsPartitionResponse::default()
    }
}

/// ListOffsets.
pub(super) fn list<'a>(
    context: &mut Context<'_>,
    request: ListOffsetsRequest<'a>,
    stages: &'a Stages,
) -> Step<ListOffsetsResponse<'a>> {
    let stable = request.isolation_level == 1;
    let mut seen = BTreeSet::new();
    let mut asked = Vec::new();
    let mut twice = Vec::new();
    // A time may cost the opening of a batch: nobody gets many of them out of one.
    for (topic, part) in all(&request) {
        let first = seen.insert((&*topic.name, part.partition_index));
        twice.push(!first);
        let by = seek(part.timestamp, stable).filter(|_| first);
        asked.extend(by.map(|by| (&*topic.name, part.partition_index, by)));
    }
    let found = match look(&asked, stages) {
        Ok(found) => found,
        Err(ops) => return Step::Ask(ops),
    };
    let (mut found, mut twice) = (found.into_iter(), twice.into_iter());
    let version = context.version;
    let mut opening = Opening { left: OPENED_BYTES_MAX };
    let mut answer = |part: &ListOffsetsPartition| {
        if twice.next() == Some(true) {
            return unlisted(part, Code::InvalidRequest);
        }
        let found = seek(part.timestamp, stable).map(|_| found.next().expect("each part is answered"));
        listed(part, found, version, &mut opening)
    };
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(&mut answer).collect(),
    });
    Step::Answer(ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() })
}

fn listed(
    part: &ListOffsetsPartition,
    found: Option<PartResult<Sought>>,
    version: i16,
    opening: &mut Opening,
) -> ListOffsetsPartitionResponse {
    let none = unlisted(part, Code::None);
    let failed = |code: Code| unlisted(part, code);
    if !is_known(part.timestamp, version) {
        return failed(Code::UnsupportedVersion);
    }
    let sought = match found {
        None => return none, // Nothing is stored elsewhere.
        Some(Err(refusal)) => return failed(refused(&refusal).code),
        Some(Ok(sought)) => sought,
    };
    if let Some(code) = epoch_fault(part.current_leader_epoch, sought.ends.epoch) {
        return failed(code);
    }
    let Some(position) = sought.position else { return none };
    let leader_epoch = i32::try_from(sought.ends.epoch).unwrap_or(i32::MAX);
    let batch = sought.batch.as_ref().filter(|_| part.timestamp >= 0 || part.timestamp == MAX_TIMESTAMP);
    let Some((batch, octets)) = batch else {
        return ListOffsetsPartitionResponse { offset: offset(position.0), leader_epoch, ..none };
    };
    match opening.record(batch, octets, sought.ends.start, part.timestamp) {
        Some((offset, timestamp)) => ListOffsetsPartitionResponse { offset, timestamp, leader_epoch, ..none },
        None if version < ASKS_AGAIN_FIRST => failed(Code::LeaderNotAvailable),
        None => failed(Code::OffsetNotAvailable),
    }
}

/// What the batches of one request may still unpack to, octets.
struct Opening {
    left: usize,
}

impl Opening {
    /// Offset and time of the first record of a batch at or after a time, or of the newest; the partition may start in the middle of the
    /// batch. Where none can be found, its first offset. `None`: the request has had its share of opening.
    fn record(&mut self, batch: &ReadBatch, octets: &[u8], start: Position, time: i64) -> Option<(i64, i64)> {
        let (mut first, mut wanted, mut newest) = (None, None, None::<(i64, i64)>);
        self.each_time(batch, octets, |at, its| {
            if at < offset(start.0) {
                return;
            }
            first.get_or_insert((at, its));
            if its >= time {
                wanted.get_or_insert((at, its));
            }
            newest = newest.filter(|newest| newest.1 >= its).or(Some((at, its)));
        })?;
        let found = if time == MAX_TIMESTAMP { newest } else { wanted.or(first) };
        Some(found.unwrap_or((offset(batch.first.0), -1)))
    }

    /// Shows offset and time of each record of a batch, in order, or of the batch as a whole where its records have no times of their own.
    /// `None`: it would have to be opened, and the request has had its share of that.
    fn each_time(&mut self, batch: &ReadBatch, octets: &[u8], mut each: impl FnMut(i64, i64)) -> Option<()> {
        let first = offset(batch.first.0);
        match batch.format {
            Format::KafkaBatch => {
                let Ok((stored, _)) = Batch::first(octets) else { return Some(()) };
                let head = stored.head();
                if head.attributes.is_log_append_time() {
                    each(first, head.max_timestamp);
                    return Some(());
                }
                if self.left == 0 {
                    return None;
                }
                let contents = stored.contents(profile::UNPACKED_BYTES_MAX);
                let unpacked = contents.as_ref().map_or(profile::UNPACKED_BYTES_MAX, |of| of.octets().len());
                self.left = self.left.saturating_sub(unpacked);
                let Ok(contents) = contents else { return Some(()) };
                contents.records().map_while(Result::ok).for_each(|record| {
                    let time = head.base_timestamp.saturating_add(record.timestamp_delta);
                    each(first + i64::from(record.offset_delta), time);
                });
            }
            Format::Records => {
                let (mut rest, mut at) = (octets, first);
                while let Ok((view, after)) = View::first(rest) {
                    each(at, offset(view.time() / 1000));
                    (rest, at) = (after, at + 1);
                }
            }
        }
        Some(())
    }
}

/// OffsetForLeaderEpoch: where an epoch ended, so that a consumer sees whether what it has read was lost.
pub(super) fn for_leader_epoch<'a>(
    _: &mut Context<'_>,
    request: OffsetForLeaderEpochRequest<'a>,
    stages: &'a Stages,
) -> Step<OffsetForLeaderEpochResponse<'a>> {
    let all = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)));
    let asked: Vec<_> =
        all.map(|(topic, part)| (&*topic.topic, part.partition, SeekBy::End { stable: false })).collect();
    let mut found = match look(&asked, stages) {
        Ok(found) => found.into_iter(),
        Err(ops) => return Step::Ask(ops),
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|part| {
            let none = EpochEndOffset { partition: part.partition, ..EpochEndOffset::default() };
            let failed = |code: Code| EpochEndOffset { error_code: code.number(), ..none.clone() };
            let ends = match found.next().expect("each part is answered") {
                Ok(sought) => sought.ends,
                Err(refusal) => return failed(refused(&refusal).code),
            };
            if let Some(code) = epoch_fault(part.current_leader_epoch, ends.epoch) {
                return failed(code);
            }
            let epoch = i32::try_from(ends.epoch).unwrap_or(i32::MAX);
            // An epoch that was never in force, or one of which nobody knows the end, has none.
            if part.leader_epoch != epoch {
                return none;
            }
            EpochEndOffset { leader_epoch: epoch, end_offset: offset(ends.end.0), ..none }
        });
        OffsetForLeaderTopicResult { topic: topic.topic.clone(), partitions: partitions.collect() }
    });
    Step::Answer(OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    })
}

/// DeleteRecords: what is below an offset goes; −1 stands for all there is.
pub(super) fn delete_records<'a>(
    _: &mut Context<'_>,
    request: DeleteRecordsRequest<'a>,
    stages: &'a Stages,
) -> Step<DeleteRecordsResponse<'a>> {
    let all =
        || request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)));
    let count = all().count();
    let ends: Vec<PartResult<Ends>> = match stages.first() {
        None if count == 0 => return Step::Answer(DeleteRecordsResponse::default()),
        None => {
            let end = SeekBy::End { stable: false };
            let asked = all().map(|(topic, part)| (partition(&topic.name, part.partition_index), end));
            return Step::Ask(vec![Op::Seek(asked.collect())]);
        }
        Some(outcomes) => {
            sought(&outcomes[0], count).into_iter().map(|one| one.map(|one| one.ends)).collect()
        }
    };
    let to = |asked: i64, ends: &PartResult<Ends>| -> Result<Position, Code> {
        let ends = ends.as_ref().map_err(|refusal| refused(refusal).code)?;
        let to = if asked == HIGH_WATERMARK { ends.end.0 } else { u64::try_from(asked).unwrap_or(u64::MAX) };
        if to > ends.end.0 { Err(Code::OffsetOutOfRange) } else { Ok(Position(to)) }
    };
    let plans: Vec<Result<Position, Code>> =
        all().zip(&ends).map(|((_, part), ends)| to(part.offset, ends)).collect();
    let trims = all().zip(&plans).filter_map(|((topic, part), plan)| {
        Some((partition(&topic.name, part.partition_index), *plan.as_ref().ok()?))
    });
    let trims: Vec<_> = trims.collect();
    let trimmed = match stages.get(1) {
        None if trims.is_empty() => Vec::new(),
        None => return Step::Ask(vec![Op::Trim(trims)]),
        Some(outcomes) => trimmed(&outcomes[0], trims.len()),
    };
    let mut trimmed = trimmed.into_iter();
    let mut plans = plans.into_iter();
    let mut result = |index: i32| {
        let plan = plans.next().expect("each part has a plan");
        let ends = plan.and_then(|_| {
            let ends = trimmed.next().expect("each part is answered");
            ends.map_err(|refusal| refused(&refusal).code)
        });
        DeleteRecordsPartitionResult {
            partition_index: index,
            low_watermark: ends.as_ref().map_or(-1, |ends| offset(ends.start.0)),
            error_code: ends.err().unwrap_or(Code::None).number(),
        }
    };
    let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|part| result(part.partition_index)).collect(),
    });
    Step::Answer(DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() })
}

fn trimmed(outcome: &Outcome, count: usize) -> Vec<Result<Ends, Refusal>> {
    match done(outcome) {
        Ok(Done::Trimmed(ends)) => ends.clone(),
        Err(refusal) => vec![Err(refusal.clone()); count],
        Ok(other) => unreachable!("the hub answers trim with {other:?}"),
    }
}
