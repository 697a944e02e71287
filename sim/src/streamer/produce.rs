//! Appending: numbered batches are sent again, in order and under their numbers, until they are answered.

use super::{Asked, Streamer, parts};
use crate::desk::Desk;
use crate::history::Event;
use crate::history::stream::{BatchId, Part, StreamEvent};
use crate::topology::partition;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use stele_model::op::Op;
use stele_model::stream::{Append, Appended, Appends, Batch, Format, PartResult, Producer as Numbers};

/// Batches of one partition from the oldest without an answer on, at most; the shard remembers five.
const OPEN_MAX: u64 = 4;

#[derive(Debug)]
pub(super) struct Producer {
    numbers: bool,
    number: Option<u64>,
    parts: BTreeMap<Part, Line>,
}

/// What goes to one partition.
#[derive(Debug, Default)]
struct Line {
    sequence: u32,
    /// Batches ever.
    made: u64,
    /// Those without an answer, with how many were made before.
    open: VecDeque<(u64, BatchId, Append)>,
}

impl Producer {
    pub(super) fn new(numbers: bool) -> Self {
        Self { numbers, number: None, parts: BTreeMap::new() }
    }

    /// Every batch that is to be sent again was answered.
    pub(super) fn is_done(&self) -> bool {
        self.parts.values().all(|line| line.open.is_empty())
    }
}

impl Streamer {
    pub(super) fn produce(&mut self, desk: &mut Desk) {
        let Some(producer) = &self.producer else { return };
        if producer.numbers && producer.number.is_none() {
            let asked = self.line.awaited.values().any(|asked| matches!(asked, Asked::NewProducer));
            if !asked {
                self.ask(Op::NewProducer, Asked::NewProducer);
            }
            return;
        }
        let count = self.rng.between(1, 3);
        let mut batches = Vec::new();
        for _ in 0..count {
            let part = *self.rng.pick(&parts());
            batches.extend(self.batch(desk, part));
        }
        self.append(batches);
    }

    fn batch(&mut self, desk: &mut Desk, part: Part) -> Option<(BatchId, Append)> {
        let producer = self.producer.as_mut()?;
        let line = producer.parts.entry(part).or_default();
        // A later one may have been answered: what counts is how far back the shard has to remember.
        if line.open.front().is_some_and(|(before, ..)| line.made - before >= OPEN_MAX) {
            return None;
        }
        let (batch, count) = (desk.next_batch(), self.rng.between(1, 5) as u32);
        let mut bytes = format!("b{};", batch.0).into_bytes();
        bytes.resize(bytes.len() + self.rng.below(200) as usize, b'x');
        let sequence = line.sequence;
        let numbers = producer.number.map(|id| Numbers { id, epoch: 0, sequence });
        line.sequence += count;
        let append = Append {
            to: partition(part),
            batch: Batch {
                bytes: Bytes::from(bytes),
                format: Format::Records,
                count,
                time_max_ms: None,
                producer: numbers,
                keys: Vec::new(),
            },
        };
        if producer.numbers {
            line.open.push_back((line.made, batch, append.clone()));
        }
        line.made += 1;
        let producer = producer.number;
        desk.event(&Event::Stream(StreamEvent::Appended { batch, part, count, producer }));
        Some((batch, append))
    }

    fn append(&mut self, batches: Vec<(BatchId, Append)>) {
        let (ids, parts): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        if !parts.is_empty() {
            let appends = Appends { parts, awaited: true, records: None };
            self.ask(Op::Append(appends), Asked::Append(ids));
        }
    }

    /// A new session: what was not answered is sent again.
    pub(super) fn append_again(&mut self) {
        let Some(producer) = &self.producer else { return };
        let open = producer.parts.values().flat_map(|line| &line.open);
        self.append(open.map(|(_, batch, append)| (*batch, append.clone())).collect());
    }

    pub(super) fn numbered(&mut self, number: u64) {
        if let Some(producer) = &mut self.producer {
            producer.number = Some(number);
        }
    }

    pub(super) fn appended(
        &mut self,
        desk: &mut Desk,
        batches: &[BatchId],
        parts: Vec<PartResult<Appended>>,
    ) {
        for (batch, part) in batches.iter().zip(parts) {
            let batch = *batch;
            match part {
                Ok(Appended::At { first, .. }) => {
                    desk.event(&Event::Stream(StreamEvent::Stored { batch, first }));
                }
                Ok(Appended::Listeners) => {
                    let why = "somebody listens".to_owned();
                    desk.event(&Event::Stream(StreamEvent::Refused { batch, why }));
                }
                Err(refusal) => {
                    let why = format!("{refusal:?}");
                    desk.event(&Event::Stream(StreamEvent::Refused { batch, why }));
                }
            }
            for line in self.producer.iter_mut().flat_map(|producer| producer.parts.values_mut()) {
                line.open.retain(|(_, open, _)| *open != batch);
            }
        }
    }
}
