//! Judges what clients of streams saw (W20–W25).
//!
//! A partition is a list of batches at positions. What was seen at a position is there for ever, or removed with all before it.

use crate::history::Step;
use crate::history::stream::{BatchId, Part, StreamEvent};
use crate::topology::STREAMS;
use std::collections::BTreeMap;
use stele_model::id::Position;

/// A broken rule, and how.
pub(super) type Wrong = (&'static str, String);

/// What has been seen of streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    batches: BTreeMap<BatchId, Batch>,
    /// What was seen at a place: by an answer, or by a read.
    places: BTreeMap<(Part, Position), BatchId>,
    /// The end that the answers to appends speak of, with the step of the answer; both grow.
    ends: BTreeMap<Part, Vec<(Step, Position)>>,
    /// The highest position below which somebody wanted to remove.
    trims: BTreeMap<Part, Position>,
    /// Where the final look into a partition began, and how far it came.
    looked: BTreeMap<Part, (Position, Position)>,
}

#[derive(Debug)]
struct Batch {
    part: Part,
    count: u32,
    producer: Option<u64>,
    stored: Option<Position>,
    seen: Option<Position>,
}

impl Streams {
    pub(super) fn observe(&mut self, step: Step, event: &StreamEvent) -> Result<(), Wrong> {
        match event {
            StreamEvent::Appended { batch, part, count, producer } => {
                let (part, count, producer) = (*part, *count, *producer);
                self.batches.insert(*batch, Batch { part, count, producer, stored: None, seen: None });
                Ok(())
            }
            StreamEvent::Stored { batch, first } => self.stored(step, *batch, *first),
            StreamEvent::Refused { batch, why } => {
                Err(("W20", format!("batch {} was refused: {why}", batch.0)))
            }
            StreamEvent::Read { part, asked, from, ends, batches, last } => {
                self.ends_fit(*part, *asked, *from, *ends)?;
                self.read(*part, *from, batches)?;
                if *last {
                    let next = batches.last().map_or(*from, |(_, first, count)| after(*first, *count));
                    let looked = self.looked.entry(*part).or_insert((*from, *from));
                    looked.1 = next;
                }
                Ok(())
            }
            StreamEvent::TrimAsked { part, below } => {
                let most = self.trims.entry(*part).or_default();
                *most = (*most).max(*below);
                Ok(())
            }
        }
    }

    fn stored(&mut self, step: Step, id: BatchId, first: Position) -> Result<(), Wrong> {
        let Some(batch) = self.batches.get_mut(&id) else { return Ok(()) };
        if let Some(before) = batch.stored.filter(|before| *before != first) {
            return Err(("W21", format!("batch {} is at {first}, and was at {before}", id.0)));
        }
        batch.stored = Some(first);
        let (part, end) = (batch.part, after(first, batch.count));
        let ends = self.ends.entry(part).or_default();
        if ends.last().is_none_or(|(_, last)| *last < end) {
            ends.push((step, end));
        }
        self.place(part, first, id)
    }

    /// One batch is at a place, and one place is a batch's.
    fn place(&mut self, part: Part, first: Position, id: BatchId) -> Result<(), Wrong> {
        if let Some(other) = self.places.insert((part, first), id)
            && other != id
        {
            let what = format!("at {first} of {part} stands batch {}, where {} was seen", id.0, other.0);
            return Err(("W22", what));
        }
        let Some(batch) = self.batches.get_mut(&id) else { return Ok(()) };
        if let Some(before) = batch.seen.replace(first).filter(|before| *before != first) {
            return Err(("W21", format!("batch {} of {part} stands at {before} and at {first}", id.0)));
        }
        Ok(())
    }

    /// The ends are those of all that was answered before the read was asked, and the start goes only where it may.
    fn ends_fit(
        &self,
        part: Part,
        asked: Step,
        from: Position,
        (start, end): (Position, Position),
    ) -> Result<(), Wrong> {
        let known = self.ends.get(&part).map_or(&[][..], Vec::as_slice);
        let answered = known.iter().rev().find(|(step, _)| *step < asked).map(|(_, end)| *end);
        if answered.is_some_and(|answered| end < answered) || end < start {
            let what = format!("{part} ends at {end}, read from {from}; {answered:?} was answered before");
            return Err(("W20", what));
        }
        let rule = &STREAMS[part.stream];
        let most = self.trims.get(&part).copied().unwrap_or_default();
        if start > most && rule.retention_bytes.is_none() {
            return Err(("W24", format!("{part} begins at {start}, and nobody removed that much ({most})")));
        }
        Ok(())
    }

    fn read(
        &mut self,
        part: Part,
        from: Position,
        batches: &[(Option<BatchId>, Position, u32)],
    ) -> Result<(), Wrong> {
        let mut next = None;
        for (id, first, count) in batches {
            let Some(id) = id.filter(|id| self.batches.contains_key(id)) else {
                return Err(("W23", format!("at {first} of {part} are bytes that nobody appended")));
            };
            let batch = &self.batches[&id];
            if (batch.part, batch.count) != (part, *count) {
                return Err((
                    "W23",
                    format!("batch {} of {} is read from {part} at {first}", id.0, batch.part),
                ));
            }
            let follows = next.map_or(*first <= from && from < after(*first, *count), |next| *first == next);
            if !follows {
                let what = format!("a read of {part} from {from} goes on at {first}, after {next:?}");
                return Err(("W22", what));
            }
            next = Some(after(*first, *count));
            self.in_order(part, id, *first)?;
            self.place(part, *first, id)?;
        }
        Ok(())
    }

    /// Batches of one producer stand in the order in which it made them.
    fn in_order(&self, part: Part, id: BatchId, first: Position) -> Result<(), Wrong> {
        let Some(producer) = self.batches[&id].producer else { return Ok(()) };
        let of = |at: &BatchId| self.batches.get(at).and_then(|batch| batch.producer) == Some(producer);
        let before = self.places.range((part, Position(0))..(part, first)).rev().find(|(_, at)| of(at));
        match before {
            Some((_, before)) if *before > id => {
                let what = format!("batch {} stands behind batch {} of one producer", id.0, before.0);
                Err(("W25", what))
            }
            _ => Ok(()),
        }
    }

    /// The final look has seen every batch that was answered, and is not removed.
    pub(super) fn close(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        for (id, batch) in &self.batches {
            let Some(first) = batch.stored else { continue };
            let Some((start, end)) = self.looked.get(&batch.part) else {
                wrong.push(("W20", format!("nobody looked into {}", batch.part)));
                continue;
            };
            if first >= *start && after(first, batch.count) > *end {
                let what = format!("batch {} at {first} of {} was answered, and is lost", id.0, batch.part);
                wrong.push(("W20", what));
            }
        }
        wrong
    }
}

fn after(first: Position, count: u32) -> Position {
    Position(first.0 + u64::from(count))
}
