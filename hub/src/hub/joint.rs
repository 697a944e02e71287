//! Requests whose parts go to several shards: each shard answers for its own, and when all have, the client gets one answer.
//!
//! Every part has its place in the answer from the start; what needs no shard (a refusal) is put there at once. The bound: one of these
//! for each open submit of a session, and as many calls as there are shards, and for appends somebody listens to also as many as
//! shards that store for listeners.

use super::{Hub, HubOut, Open};
use stele_model::flow::Edge;
use stele_model::group::Listed;
use stele_model::id::{Call, SessionId, Ticket};
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::share::ShareAnswer;
use stele_model::stream::{Appended, Ends, PartResult, ReadPart, Sought, StreamUuid};

/// A request of which some shards have not answered yet.
pub(super) struct Joint {
    pub(super) session: SessionId,
    pub(super) ticket: Ticket,
    /// The answer as far as it is known.
    pub(super) parts: Parts,
    /// Answers that are due.
    pub(super) waiting: u32,
}

/// An answer in parts; `None`: not known yet.
pub(super) enum Parts {
    /// To an append.
    Appended(Vec<Option<PartResult<Appended>>>),
    /// To a read.
    Read {
        /// The parts.
        parts: Vec<Option<PartResult<ReadPart>>>,
        /// See [`stele_model::stream::Reads::bytes_max`].
        bytes_max: u64,
        /// The stream of each part, for the flow graph.
        streams: Vec<StreamUuid>,
    },
    /// To a seek.
    Sought(Vec<Option<PartResult<Sought>>>),
    /// To a trim.
    Trimmed(Vec<Option<PartResult<Ends>>>),
    /// To a listing of groups: what was heard so far.
    Groups(Vec<Listed>),
    /// To settles of shared groups: how many so far.
    Settled(u64),
}

/// A shard's answer to its share.
pub(super) enum Share {
    Appended(Vec<PartResult<Appended>>),
    Read(Vec<PartResult<ReadPart>>),
    Sought(Vec<PartResult<Sought>>),
    Trimmed(Vec<PartResult<Ends>>),
    Groups(Vec<Listed>),
    Settled(u64),
    /// Stored for listeners, who have no part in the answer.
    Stored,
}

impl Hub {
    /// Opens a joint request; calls for its shares follow.
    pub(super) fn joint(&mut self, session: SessionId, ticket: Ticket, parts: Parts) -> u64 {
        self.joint_last += 1;
        self.joints.insert(self.joint_last, Joint { session, ticket, parts, waiting: 0 });
        self.joint_last
    }

    /// The number of one more share: `places` are those of its parts in the answer.
    pub(super) fn share(&mut self, joint: u64, places: Vec<u32>) -> Call {
        if let Some(open) = self.joints.get_mut(&joint) {
            open.waiting += 1;
        }
        self.call(Open::Share { joint, places })
    }

    /// All shares are asked for; if there are none the answer is complete.
    pub(super) fn asked(&mut self, joint: u64, out: &mut HubOut) {
        if self.joints.get(&joint).is_some_and(|open| open.waiting == 0) {
            self.close(joint, out);
        }
    }

    /// A shard has answered for its share.
    pub(super) fn shared(&mut self, call: Call, share: Share, out: &mut HubOut) {
        let Some(Open::Share { joint, places }) = self.ended(call) else { return };
        let Some(open) = self.joints.get_mut(&joint) else { return };
        open.waiting -= 1;
        match (&mut open.parts, share) {
            (Parts::Appended(parts), Share::Appended(answers)) => put(parts, &places, answers),
            (Parts::Read { parts, .. }, Share::Read(answers)) => put(parts, &places, answers),
            (Parts::Sought(parts), Share::Sought(answers)) => put(parts, &places, answers),
            (Parts::Trimmed(parts), Share::Trimmed(answers)) => put(parts, &places, answers),
            (Parts::Groups(all), Share::Groups(listed)) => all.extend(listed),
            (Parts::Settled(all), Share::Settled(count)) => *all += count,
            (_, Share::Stored) => {}
            _ => unreachable!("a shard answers what it was asked"),
        }
        if open.waiting == 0 {
            self.close(joint, out);
        }
    }

    /// A shard cannot answer for its share at all: every part of it is refused.
    pub(super) fn share_refused(&mut self, call: Call, refusal: &Refusal, out: &mut HubOut) {
        let Some(Open::Share { joint, places }) = self.calls.get(&call).map(Box::as_ref) else { return };
        let Some(open) = self.joints.get(joint) else { return };
        let count = places.len();
        let share = match open.parts {
            Parts::Appended(_) => Share::Appended(vec![Err(refusal.clone()); count]),
            Parts::Read { .. } => Share::Read((0..count).map(|_| Err(refusal.clone())).collect()),
            Parts::Sought(_) => Share::Sought((0..count).map(|_| Err(refusal.clone())).collect()),
            Parts::Trimmed(_) => Share::Trimmed(vec![Err(refusal.clone()); count]),
            Parts::Groups(_) => Share::Groups(Vec::new()),
            Parts::Settled(_) => Share::Settled(0),
        };
        self.shared(call, share, out);
    }

    fn close(&mut self, joint: u64, out: &mut HubOut) {
        let Some(Joint { session, ticket, parts, .. }) = self.joints.remove(&joint) else { return };
        let done = match parts {
            Parts::Appended(parts) => Done::Appended(all(parts)),
            Parts::Read { parts, bytes_max, streams } => {
                let mut parts = all(parts);
                fit(&mut parts, bytes_max);
                self.count_read(session, &parts, &streams);
                Done::Read(parts)
            }
            Parts::Sought(parts) => Done::Sought(all(parts)),
            Parts::Trimmed(parts) => Done::Trimmed(all(parts)),
            Parts::Groups(mut listed) => {
                listed.sort_by(|a, b| a.group.cmp(&b.group));
                Done::Groups(listed)
            }
            Parts::Settled(count) => Done::Share(Ok(ShareAnswer::Settled { count })),
        };
        self.complete(session, ticket, Outcome::Done(done), out);
    }

    fn count_read(&mut self, session: SessionId, parts: &[PartResult<ReadPart>], streams: &[StreamUuid]) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        for (part, stream) in parts.iter().zip(streams) {
            let Ok(part) = part else { continue };
            if part.batches.is_empty() {
                continue;
            }
            let records = part.batches.iter().map(|batch| u64::from(batch.count)).sum();
            let bytes = part.batches.iter().map(|batch| u64::from(batch.len)).sum();
            let party = &attached.party;
            let edge = || Edge::Read { stream: *stream, party: party.clone() };
            let edge = attached.read.edge(*stream, || self.flows.edge(edge()));
            self.flows.add(edge, records, bytes);
        }
    }
}

fn put<T>(parts: &mut [Option<T>], places: &[u32], answers: Vec<T>) {
    assert_eq!(places.len(), answers.len(), "a shard answers every part of its share");
    for (place, answer) in places.iter().zip(answers) {
        parts[*place as usize] = Some(answer);
    }
}

fn all<T>(parts: Vec<Option<T>>) -> Vec<T> {
    parts.into_iter().map(|part| part.expect("every part was answered or put there")).collect()
}

/// Keeps to the budget that all parts share: each shard was given all of it, since it cannot know what the others have. The first batch of
/// the answer stays even if it is larger.
fn fit(parts: &mut [PartResult<ReadPart>], bytes_max: u64) {
    let (mut bytes, mut is_first) = (0_u64, true);
    for part in parts.iter_mut().flatten() {
        let fits = part.batches.iter().take_while(|batch| {
            let room = bytes < bytes_max && bytes + u64::from(batch.len) <= bytes_max;
            let takes = std::mem::take(&mut is_first) || room;
            bytes += u64::from(batch.len);
            takes
        });
        let count = fits.count();
        if count < part.batches.len() {
            part.batches.truncate(count);
            // What would come later in the order must not slip in where something was left out.
            bytes = bytes.max(bytes_max);
        }
        if part.batches.is_empty() {
            part.blocks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stele_model::id::Position;
    use stele_model::stream::{Format, ReadBatch};

    fn part(lens: &[u32]) -> PartResult<ReadPart> {
        let batch = |len: &u32| ReadBatch {
            block: 0,
            at: 0,
            len: *len,
            format: Format::Records,
            first: Position(0),
            count: 1,
            epoch: 0,
            appended_ms: 0,
        };
        Ok(ReadPart { batches: lens.iter().map(batch).collect(), ..ReadPart::default() })
    }

    proptest! {
        #[test]
        fn batches_are_taken_in_order_as_long_as_they_fit(
            lens in prop::collection::vec(prop::collection::vec(1_u32..50, 0..4), 0..5), bytes_max in 0_u64..120,
        ) {
            let mut parts: Vec<_> = lens.iter().map(|lens| part(lens)).collect();
            fit(&mut parts, bytes_max);
            let kept: Vec<_> = parts.iter().flatten().map(|part| part.batches.len()).collect();
            let in_order: Vec<_> = lens.iter().flatten().copied().collect();
            let mut fits = 0;
            let mut sum = 0;
            for (n, len) in in_order.iter().enumerate() {
                sum += u64::from(*len);
                if n > 0 && sum > bytes_max {
                    break;
                }
                fits += 1;
                if sum > bytes_max {
                    break;
                }
            }
            prop_assert_eq!(kept.iter().sum::<usize>(), fits);
            let mut left = fits;
            for (kept, lens) in kept.iter().zip(&lens) {
                prop_assert_eq!(*kept, left.min(lens.len()));
                left -= kept;
            }
        }
    }
}
