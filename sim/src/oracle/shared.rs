//! Judges what clients of a stream by subject and of its shared group saw (W40–W48; bundles: [`super::bundles`]).
//!
//! The stream is a list of messages at positions; nothing is removed from it. The group shows each of them until somebody ends it;
//! what was terminated is among its dead letters.

use super::bundles::Bundles;
use super::stream::Wrong;
use crate::history::Step;
use crate::history::shared::{MessageId, SharedEvent};
use crate::topology::PENDING_MAX;
use std::collections::{BTreeMap, BTreeSet};
use stele_model::id::Position;

/// What has been seen of the stream and its group.
#[derive(Debug, Default)]
pub(super) struct Shared {
    messages: BTreeMap<MessageId, Message>,
    /// What was seen at a place, by an answer, a delivery or the final look.
    places: BTreeMap<Position, MessageId>,
    shown: BTreeSet<Position>,
    /// Shown in this run of the node, and nobody has asked to end them.
    held: BTreeSet<Position>,
    /// Somebody has asked in this run to end them; perhaps too late, so that they are shown once more.
    ending: BTreeSet<Position>,
    /// Ends that were asked, by number.
    asked: BTreeMap<u64, Vec<Position>>,
    /// Ends that were answered, and when.
    ended: BTreeMap<Position, Step>,
    /// Floors that were told, each higher than the one before, with the step of the answer.
    floors: Vec<(Step, Position)>,
    /// Those that somebody has asked to accept, and to terminate.
    accepting: BTreeSet<Position>,
    terminating: BTreeSet<Position>,
    buried: BTreeSet<MessageId>,
    /// Messages that wait for their time; and what was published, each with what it says of its next time.
    delayed: BTreeMap<MessageId, Delayed>,
    published: BTreeSet<(MessageId, String)>,
    /// Those that still wait at the end.
    waiting: BTreeSet<MessageId>,
    bundles: Bundles,
    looked: bool,
}

#[derive(Debug)]
struct Delayed {
    repeats: bool,
    answered: bool,
}

#[derive(Debug)]
struct Message {
    expected: Option<Position>,
    stored: Option<Position>,
}

impl Shared {
    pub(super) fn observe(&mut self, step: Step, event: &SharedEvent) -> Result<(), Wrong> {
        match event {
            SharedEvent::Published { message, expected, .. } => {
                self.messages.insert(*message, Message { expected: *expected, stored: None });
                Ok(())
            }
            SharedEvent::Stored { message, position } => self.stored(*message, *position),
            SharedEvent::Refused { message, why } => self.refused(*message, why),
            SharedEvent::Shown { asked, position, message } => self.shown(*asked, *position, *message),
            SharedEvent::EndAsked { number, positions, terminates } => {
                let asked = if *terminates { &mut self.terminating } else { &mut self.accepting };
                asked.extend(positions);
                positions.iter().for_each(|position| {
                    self.held.remove(position);
                    self.ending.insert(*position);
                });
                if let Some(number) = number {
                    self.asked.insert(*number, positions.clone());
                }
                Ok(())
            }
            SharedEvent::Ended { number } => {
                for position in self.asked.remove(number).unwrap_or_default() {
                    self.ended.entry(position).or_insert(step);
                }
                Ok(())
            }
            SharedEvent::Told { asked, floor, unsettled } => self.told(step, *asked, *floor, *unsettled),
            SharedEvent::Delayed { message, repeats } => {
                self.delayed.insert(*message, Delayed { repeats: *repeats, answered: false });
                Ok(())
            }
            SharedEvent::Kept { message } => {
                self.delayed.get_mut(message).into_iter().for_each(|delayed| delayed.answered = true);
                Ok(())
            }
            SharedEvent::Later { messages } => {
                messages.iter().try_for_each(|(message, next)| self.waited(*message, next.as_deref()))
            }
            SharedEvent::Bundled { messages } => {
                self.bundles.sent(messages);
                Ok(())
            }
            SharedEvent::Whole { messages, last } => {
                self.bundles.whole(messages, *last);
                Ok(())
            }
            SharedEvent::LookedForBundles { messages } => self.bundles.looked(messages),
            SharedEvent::Buried { messages } => messages.iter().try_for_each(|message| self.dead(*message)),
            SharedEvent::Looked { messages } => {
                self.looked = true;
                messages.iter().try_for_each(|(position, message)| self.place(*position, *message))
            }
        }
    }

    /// The node has stopped: what was shown is shown anew, if it was not ended.
    pub(super) fn stopped(&mut self) {
        self.held.clear();
        self.ending.clear();
    }

    fn stored(&mut self, id: MessageId, position: Position) -> Result<(), Wrong> {
        let Some(message) = self.messages.get_mut(&id) else { return Ok(()) };
        if let Some(before) = message.stored.replace(position).filter(|before| *before != position) {
            return Err(("W41", format!("message {} is at {position}, and was at {before}", id.0)));
        }
        if let Some(expected) = message.expected.filter(|expected| *expected != position) {
            return Err(("W42", format!("message {} is at {position}, and was for {expected} only", id.0)));
        }
        self.place(position, Some(id))
    }

    fn refused(&mut self, id: MessageId, why: &str) -> Result<(), Wrong> {
        match self.messages.get(&id) {
            Some(Message { expected: None, .. }) => {
                Err(("W42", format!("message {} asks for nothing, and is refused: {why}", id.0)))
            }
            _ => Ok(()),
        }
    }

    /// A place is one message's for ever, and a message has one place.
    fn place(&mut self, position: Position, id: Option<MessageId>) -> Result<(), Wrong> {
        let Some(id) = id.filter(|id| self.messages.contains_key(id)) else {
            return Err(("W43", format!("at {position} stands what nobody published")));
        };
        if let Some(other) = self.places.insert(position, id).filter(|other| *other != id) {
            return Err(("W43", format!("at {position} stands message {}, where {} was", id.0, other.0)));
        }
        // Places are few, and a second one of a message is the rarest thing: a search will do.
        let twice = self.places.iter().find(|(at, other)| **other == id && **at != position);
        match twice {
            Some((at, _)) => Err(("W41", format!("message {} stands at {at} and at {position}", id.0))),
            None => Ok(()),
        }
    }

    fn shown(&mut self, asked: Step, position: Position, id: Option<MessageId>) -> Result<(), Wrong> {
        self.place(position, id)?;
        // What was given to an earlier request may have been under way.
        if let Some(step) = self.ended.get(&position).filter(|step| **step < asked) {
            return Err(("W44", format!("{position} was settled at step {step}, and is shown again")));
        }
        let told = self.floors.iter().rev().find(|(step, _)| *step < asked);
        if let Some((step, floor)) = told.filter(|(_, floor)| position < *floor) {
            return Err(("W45", format!("{position} is shown, and the floor was {floor} at step {step}")));
        }
        self.shown.insert(position);
        if !self.ending.contains(&position) {
            self.held.insert(position);
        }
        if self.held.len() > PENDING_MAX as usize {
            let what = format!("{:?} are in the hands of takers, and {PENDING_MAX} may be", self.held);
            return Err(("W46", what));
        }
        Ok(())
    }

    fn told(&mut self, step: Step, asked: Step, floor: Position, unsettled: u64) -> Result<(), Wrong> {
        let before = self.floors.iter().rev().find(|(answered, _)| *answered < asked);
        if let Some((answered, before)) = before.filter(|(_, before)| floor < *before) {
            return Err(("W45", format!("the floor is {floor}, and was {before} at step {answered}")));
        }
        if self.floors.last().is_none_or(|(_, last)| *last < floor) {
            self.floors.push((step, floor));
        }
        if unsettled > u64::from(PENDING_MAX) {
            return Err(("W46", format!("{unsettled} are unsettled, and {PENDING_MAX} may be")));
        }
        Ok(())
    }

    /// A dead letter is a message that somebody terminated, once.
    fn dead(&mut self, id: Option<MessageId>) -> Result<(), Wrong> {
        let Some(id) = id else { return Err(("W47", "a dead letter is nobody's message".to_owned())) };
        let place = self.places.iter().find(|(_, other)| **other == id).map(|(at, _)| *at);
        if !place.is_some_and(|at| self.terminating.contains(&at)) {
            return Err(("W47", format!("message {} is a dead letter, and nobody terminated it", id.0)));
        }
        if self.buried.insert(id) {
            Ok(())
        } else {
            Err(("W47", format!("message {} is two dead letters", id.0)))
        }
    }

    /// At the end what has waited was published, once for each of its times; and it waits no more, unless it repeats.
    fn waited(&mut self, id: Option<MessageId>, next: Option<&str>) -> Result<(), Wrong> {
        let Some((id, of)) = id.and_then(|id| Some((id, self.delayed.get(&id)?))) else {
            return Err(("W48", "something waits for its time that nobody published".to_owned()));
        };
        let is_new = match next {
            Some(next) => self.published.insert((id, next.to_owned())),
            None if of.repeats => self.waiting.insert(id),
            None => return Err(("W48", format!("message {} waits for ever", id.0))),
        };
        if is_new { Ok(()) } else { Err(("W48", format!("message {} is there twice: {next:?}", id.0))) }
    }

    /// What was to be kept, answered so, and was never published, or, if it repeats, waits no more.
    fn not_published(&self) -> impl Iterator<Item = Wrong> + '_ {
        let is_there = |id: &MessageId, repeats: bool| match repeats {
            true => self.waiting.contains(id),
            false => self.published.iter().any(|(published, _)| published == id),
        };
        let answered = self.delayed.iter().filter(|(_, of)| of.answered);
        let lost = answered.filter(move |(id, of)| !is_there(id, of.repeats));
        lost.map(|(id, _)| ("W48", format!("message {} was kept for its time, and is not there", id.0)))
    }

    /// What was terminated, answered so, and accepted by nobody, but is no dead letter.
    fn not_buried(&self) -> impl Iterator<Item = Wrong> + '_ {
        let answered = self.terminating.iter().filter(|at| self.ended.contains_key(at));
        let certain = answered.filter(|at| !self.accepting.contains(at));
        let lost = certain.filter(|at| !self.places.get(at).is_some_and(|id| self.buried.contains(id)));
        lost.map(|at| ("W47", format!("{at} was terminated, and is no dead letter")))
    }

    /// At the end every message that was answered stands where it was said to, and was shown.
    pub(super) fn close(&self) -> Vec<Wrong> {
        if !self.looked && !self.messages.is_empty() {
            return vec![("W40", "nobody looked into the stream".to_owned())];
        }
        let answered = self.messages.iter().filter_map(|(id, message)| Some((id, message.stored?)));
        let lost = answered.filter(|(_, position)| !self.shown.contains(position));
        let lost = lost.map(|(id, position)| {
            ("W40", format!("message {} at {position} was answered, and nobody was shown it", id.0))
        });
        lost.chain(self.not_buried()).chain(self.not_published()).chain(self.bundles.close()).collect()
    }
}
