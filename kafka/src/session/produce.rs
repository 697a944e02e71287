//! Produce (key 0): batches are checked, stamped where the topic asks for it, and handed on as they are.
//!
//! What must hold: requests are appended in their order, so while the topics of one are looked up no other is begun. How a batch is checked
//! stands in [`check`].

mod check;

use super::Connection;
use super::settings::Rules;
use super::slot::State;
use crate::codec::api::ApiKey;
use crate::codec::frame::Violation;
use crate::codec::generated::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use crate::codec::produce::{PartitionProduce, Produce, TopicRef};
use crate::codec::wire::Uuid;
use crate::profile;
use crate::refuse::{Code, Fault, refused};
use check::{Bad, check};
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::Now;
use stele_model::op::{Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_model::publish::Publishes;
use stele_model::refusal::Refusal;
use stele_model::session::{Outbox, Output};
use stele_model::stream::{
    Append, Appended, Appends, PartResult, PartitionRef, StreamInfo, StreamRef, StreamRefusal, StreamUuid,
};
use stele_record::batch::crossing;

/// What is known of the topics that the client produces to.
#[derive(Debug, Default)]
pub(super) struct KnownTopics {
    known: BTreeMap<StreamRef, Known>,
    /// The slot whose topics are being looked up.
    asking: Option<(u64, Vec<StreamRef>)>,
}

#[derive(Debug)]
struct Known {
    found: Result<(Arc<StreamInfo>, Rules), Refusal>,
    learned: Now,
}

impl KnownTopics {
    /// Nothing is parsed while an answer is awaited.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    fn is_fresh(&self, topic: &StreamRef, now: Now) -> bool {
        self.known.get(topic).is_some_and(|known| known.learned.plus_ms(profile::TOPIC_FRESH_MS) > now)
    }

    /// Whether a topic has this partition, as far as is known: one that came since is not.
    fn has(&self, topic: &StreamRef, index: i32) -> bool {
        let info = self.known.get(topic).and_then(|known| known.found.as_ref().ok());
        info.is_some_and(|(info, _)| in_topic(index, info).is_ok())
    }

    fn learn(&mut self, topics: Vec<StreamRef>, infos: Vec<PartResult<Arc<StreamInfo>>>, now: Now) {
        if self.known.len() + topics.len() > profile::TOPICS_KEPT_MAX {
            self.known.clear();
        }
        for (topic, info) in topics.into_iter().zip(infos) {
            let found = info.map(|info| (info.clone(), Rules::of(&info)));
            self.known.insert(topic, Known { found, learned: now });
        }
    }
}

/// A request whose batches are being appended.
#[derive(Debug)]
pub(super) struct Producing {
    acks: i16,
    topics: Vec<TopicRef<'static>>,
    partitions: Vec<PartitionState>,
    /// What was submitted, in case the records are wanted too.
    parts: Vec<Append>,
    /// Into which topic each goes.
    into: Vec<Arc<StreamInfo>>,
}

#[derive(Debug)]
struct PartitionState {
    topic: usize,
    index: i32,
    /// The index of the part that was submitted, or why none was.
    part: Result<usize, Bad>,
    /// Set where timestamps are ours, ms.
    log_append_time: Option<u64>,
}

impl Connection {
    /// Begins all requests that may be, in order: a new one at once, unless others must be first.
    pub(super) fn produce_held(&mut self, now: Now, out: &mut Outbox) -> Result<(), Violation> {
        if self.blocked {
            return Ok(());
        }
        for number in self.slots.held(ApiKey::Produce) {
            if self.topics.is_asking() {
                break;
            }
            self.begin_produce(now, number, false, out)?;
        }
        Ok(())
    }

    /// Publishers may go on.
    pub(super) fn unblocked(&mut self, now: Now, out: &mut Outbox) {
        self.blocked = false;
        if let Err(violation) = self.produce_held(now, out) {
            self.violated(violation, out);
        }
    }

    /// Looks the topics up, or appends. `asked`: what is known is new, even if it is bad.
    fn begin_produce(
        &mut self,
        now: Now,
        number: u64,
        asked: bool,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let Some(slot) = self.slots.get(number) else { return Ok(()) };
        let (version, body) = (slot.version, slot.body.clone());
        let request = Produce::parse(version, &body)?;
        let mut topics = Vec::new();
        let mut partitions = Vec::new();
        request.each(|topic| topics.push(owned(topic)), |partition| partitions.push(partition))?;
        if !asked {
            let all: Vec<StreamRef> = topics.iter().map(stream_ref).collect();
            let is_there = |of: &PartitionProduce<'_>| self.topics.has(&all[of.topic], of.index);
            if !all.iter().all(|topic| self.topics.is_fresh(topic, now)) || !partitions.iter().all(is_there) {
                let wanted = StreamsWanted::These(all.clone());
                self.topics.asking = Some((number, all));
                self.ask(number, 0, Op::Streams(wanted), out);
                return Ok(());
            }
        }
        let whole = self.whole_request_fault(&request);
        let mut producing = Producing {
            acks: request.acks,
            topics,
            partitions: Vec::new(),
            parts: Vec::new(),
            into: Vec::new(),
        };
        for partition in partitions {
            let (topic, index) = (partition.topic, partition.index);
            let stream = stream_ref(&producing.topics[topic]);
            let found = self.topics.known.get(&stream).map(|known| known.found.clone());
            let found = found.unwrap_or(Err(Refusal::Stream(StreamRefusal::UnknownStream)));
            // The octets of the request are shared with the log from here on.
            let records = partition.records.map(|records| body.slice_ref(records)).unwrap_or_default();
            let checked = match (&whole, found) {
                (Some(fault), _) => Err(Bad::from(fault.clone())),
                (None, Err(refusal)) => Err(refused(&refusal).into()),
                (None, Ok((info, rules))) => in_topic(index, &info)
                    .and_then(|index| Ok((index, check(&records, &rules, version, now)?, info, rules))),
            };
            let mut log_append_time = None;
            let part = checked.map(|(index, batch, info, rules)| {
                log_append_time = rules.log_append_time.then(|| now.ms());
                producing.parts.push(Append { to: PartitionRef { stream, index }, batch });
                producing.into.push(info);
                producing.parts.len() - 1
            });
            producing.partitions.push(PartitionState { topic, index, part, log_append_time });
        }
        self.topics.known.retain(|_, known| known.found.is_ok());
        self.submit_produce(number, producing, None, out);
        Ok(())
    }

    /// What is wrong with the request as a whole; every partition is told so.
    fn whole_request_fault(&self, request: &Produce<'_>) -> Option<Fault> {
        if !matches!(request.acks, -1..=1) {
            return Some(Fault::new(Code::InvalidRequiredAcks, "acks must be -1, 0 or 1"));
        }
        request.transactional_id.is_some().then(Fault::transactional)
    }

    fn submit_produce(
        &mut self,
        number: u64,
        producing: Producing,
        records: Option<Vec<Arc<Publishes>>>,
        out: &mut Outbox,
    ) {
        if producing.parts.is_empty() {
            return self.answer_produce(number, &producing, &[], out);
        }
        let op =
            Op::Append(Appends { parts: producing.parts.clone(), awaited: producing.acks != 0, records });
        if let Some(slot) = self.slots.get_mut(number) {
            slot.state = State::Producing(Box::new(producing));
        }
        self.ask(number, 0, op, out);
    }

    /// The hub has answered: topics, or an append.
    pub(super) fn produced(
        &mut self,
        now: Now,
        number: u64,
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        if let Some((_, topics)) = self.topics.asking.take_if(|(slot, _)| *slot == number) {
            let infos = match outcome {
                Outcome::Done(Done::Streams(infos)) => infos,
                Outcome::Refused(refusal) => topics.iter().map(|_| Err(refusal.clone())).collect(),
                other => unreachable!("the hub answers streams with {other:?}"),
            };
            self.topics.learn(topics, infos, now);
            self.begin_produce(now, number, true, out)?;
            return self.produce_held(now, out);
        }
        let Some(slot) = self.slots.get_mut(number) else { return Ok(()) };
        let State::Producing(producing) = std::mem::replace(&mut slot.state, State::Held) else {
            unreachable!("an append is answered once");
        };
        let parts = match outcome {
            Outcome::Done(Done::Appended(parts)) => parts,
            Outcome::Refused(refusal) => producing.parts.iter().map(|_| Err(refusal.clone())).collect(),
            other => unreachable!("the hub answers append with {other:?}"),
        };
        if parts.iter().any(|part| matches!(part, Ok(Appended::Listeners))) {
            let mut producing = *producing;
            let records = producing.opened(now);
            self.submit_produce(number, producing, Some(records), out);
            return Ok(());
        }
        if parts.iter().any(Result::is_err) {
            // The topic is not what it was believed to be, perhaps.
            self.topics.known.clear();
        }
        self.answer_produce(number, &producing, &parts, out);
        Ok(())
    }

    fn answer_produce(
        &mut self,
        number: u64,
        producing: &Producing,
        parts: &[PartResult<Appended>],
        out: &mut Outbox,
    ) {
        let mut responses: Vec<TopicProduceResponse<'_>> = Vec::with_capacity(producing.topics.len());
        for topic in &producing.topics {
            let (name, topic_id) = match topic {
                TopicRef::Name(name) => (name.clone(), Uuid::default()),
                TopicRef::Id(id) => ("".into(), *id),
            };
            responses.push(TopicProduceResponse { name, topic_id, partition_responses: Vec::new() });
        }
        let mut failed = false;
        for partition in &producing.partitions {
            let response = response(partition, parts);
            failed |= response.error_code != Code::None.number();
            responses[partition.topic].partition_responses.push(response);
        }
        if producing.acks != 0 {
            return self.answer(number, &ProduceResponse { responses, ..ProduceResponse::default() });
        }
        self.slots.ready(number, Output::default());
        if failed {
            // The only way to tell.
            self.end("a batch that asked for no answer was refused", out);
        }
    }
}

/// The partition's index, if the topic has it.
fn in_topic(index: i32, info: &StreamInfo) -> Result<u32, Bad> {
    let there = u32::try_from(index).ok().filter(|index| (*index as usize) < info.partitions.len());
    there.ok_or_else(|| refused(&Refusal::Stream(StreamRefusal::UnknownPartition)).into())
}

fn response<'r>(partition: &PartitionState, parts: &[PartResult<Appended>]) -> PartitionProduceResponse<'r> {
    let bad = match &partition.part {
        Err(bad) => bad.clone(),
        Ok(part) => match parts.get(*part).expect("each part is answered") {
            Ok(Appended::At { first, start }) => {
                return PartitionProduceResponse {
                    index: partition.index,
                    base_offset: offset(first.0),
                    log_append_time_ms: partition.log_append_time.map_or(-1, offset),
                    log_start_offset: offset(start.0),
                    ..PartitionProduceResponse::default()
                };
            }
            Ok(Appended::Listeners) => unreachable!("records were submitted"),
            Err(refusal) => {
                let records = match refusal {
                    Refusal::Stream(StreamRefusal::KeysMissing(records)) => records.clone(),
                    _ => Vec::new(),
                };
                Bad { fault: refused(refusal), records }
            }
        },
    };
    let record = |index: &u32| BatchIndexAndErrorMessage {
        batch_index: i32::try_from(*index).unwrap_or(i32::MAX),
        batch_index_error_message: Some(bad.fault.text.clone().into()),
    };
    PartitionProduceResponse {
        index: partition.index,
        error_code: bad.fault.code.number(),
        base_offset: -1,
        record_errors: bad.records.iter().map(record).collect(),
        error_message: Some(bad.fault.text.clone().into()),
        ..PartitionProduceResponse::default()
    }
}

/// A number of ours as one of Kafka's.
pub(super) fn offset(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The same topic, without a borrow.
pub(super) fn owned(topic: TopicRef<'_>) -> TopicRef<'static> {
    match topic {
        TopicRef::Name(name) => TopicRef::Name(name.into_owned().into()),
        TopicRef::Id(id) => TopicRef::Id(id),
    }
}

/// A topic in the model's words.
pub(super) fn stream_ref(topic: &TopicRef<'_>) -> StreamRef {
    match topic {
        TopicRef::Name(name) => StreamRef::Name(name.to_string()),
        TopicRef::Id(id) => StreamRef::Uuid(StreamUuid(id.0)),
    }
}

impl Producing {
    /// The records of all parts for readers of other dialects. Damage inside a batch ends them early: its own consumers see it too. Parts
    /// that would take too much memory together with those before them are refused, so that nobody misses what others get.
    fn opened(&mut self, now: Now) -> Vec<Arc<Publishes>> {
        let mut left = profile::LISTENED_BYTES_MAX;
        let mut submitted = std::mem::take(&mut self.parts).into_iter().zip(std::mem::take(&mut self.into));
        let mut records = Vec::new();
        for partition in self.partitions.iter_mut().filter(|partition| partition.part.is_ok()) {
            let (part, info) = submitted.next().expect("each good partition was submitted");
            let Some(publishes) = crossing::publishes(&part.batch.bytes, &info.name, now, left) else {
                let text = "readers of other protocols listen, for whom this is too much in one request";
                partition.part = Err(Fault::new(Code::MessageTooLarge, text).into());
                continue;
            };
            left = left.saturating_sub(publishes.bytes.len() + size_of_val(&publishes.items[..]));
            partition.part = Ok(records.len());
            records.push(Arc::new(publishes));
            self.parts.push(part);
            self.into.push(info);
        }
        records
    }
}
