//! Mistakes that a node could make, each of which an oracle must notice: kept, and tried in a test, so that we may trust the
//! oracles' silence.
//!
//! Most are made in the joints between the parts (what a shard is told, what it logs, what it says): the parts stay as they are
//! shipped. A few the shard offers itself.

use crate::rng::Rng;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_core::shard::Mutant as Inside;
use stele_model::group::GroupVerb;
use stele_model::id::{Lsn, Now, Place, Position, QueueId};
use stele_model::machine::{Effects, Journal, Machine, Urgency};
use stele_model::publish::ShardPublish;
use stele_model::shard::{Answer, MoveOut, ShardEffect, ShardOp};
use stele_model::share::{ShareAnswer, ShareEffect, ShareVerb};
use stele_model::stream::records::BundleEnd;
use stele_model::subject::Pattern;

/// A kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// S1: what attached state decided is applied and not logged.
    ApplyOutsideLog,
    /// S2: a confirm leaves before its entry is durable.
    ConfirmEarly,
    /// S3: a settle starts a commit.
    SettleCommits,
    /// S4: after a restart nobody remembers what was handed out.
    ForgetAssign,
    /// S5: what crosses between logs carries no number, so repeats are not noticed.
    NoLinkNumbers,
    /// S6: moves that a crash interrupted are not sent again.
    MovesNotResent,
    /// S10: the condition of a delete is not asked for.
    DeleteAnyway,
    /// S13: a snapshot shows an earlier state than it says.
    StaleSnapshot,
    /// S16: a settle is lost now and then.
    SettleLost,
    /// S16: a record is handed out twice now and then.
    DeliverTwice,
    /// S16: records of one delivery come in another order.
    DeliverReversed,
    /// S19: a refusal by one queue is forgotten.
    RefusalForgotten,
    /// S29: a shard waits for a hub that waits for it.
    WaitInCircle,
    /// A delivered record differs from the published one in one bit.
    BitFlipped,
    /// The disk says that a block is synced before it is.
    SyncLies,
    /// Producers' numbers are not looked at, so a batch that is sent again is stored again.
    NumbersIgnored,
    /// A reader is not woken by an append.
    WakesLost,
    /// More is removed from a stream than was asked.
    TrimMore,
    /// A batch that is read differs from the appended one in one bit.
    ReadFlipped,
    /// Every member gets the parts of all.
    PartsDoubled,
    /// A commit of a group is answered, and another position kept.
    CommitForgotten,
    /// Settles of a shared group are answered, and some are lost.
    EndsLost,
    /// Somebody is told of a lower floor now and then.
    FloorBack,
    /// The bound on unsettled deliveries is forgotten.
    PendingIgnored,
    /// Dead letters of shared groups are not told to any hub.
    BurialsLost,
    /// Records do not leave when their time has come.
    DuesForgotten,
    /// Each submit's part of a bundle is stored by itself.
    BundlesTorn,
    /// A shared group wants one subject of its stream only.
    FilterNarrowed,
    /// A taker is told another place of a record now and then.
    PlacesShifted,
    /// One that the shard itself offers.
    Inside(Inside),
}

/// All of them, by the names they have on the command line, with the rules that must notice them.
pub const MUTANTS: &[(&str, Mutant, &[&str])] = &[
    ("apply-outside-log", Mutant::ApplyOutsideLog, &["W12"]),
    ("confirm-early", Mutant::ConfirmEarly, &["W1"]),
    ("settle-commits", Mutant::SettleCommits, &["W15"]),
    ("forget-assign", Mutant::ForgetAssign, &["W6"]),
    ("no-link-numbers", Mutant::NoLinkNumbers, &["W9", "W47", "W48"]),
    ("moves-not-resent", Mutant::MovesNotResent, &["W1", "W47", "W48"]),
    ("delete-anyway", Mutant::DeleteAnyway, &["W10"]),
    ("stale-snapshot", Mutant::StaleSnapshot, &["W13"]),
    ("settle-lost", Mutant::SettleLost, &["W5"]),
    ("deliver-twice", Mutant::DeliverTwice, &["W7", "W5"]),
    ("deliver-reversed", Mutant::DeliverReversed, &["W3"]),
    ("refusal-forgotten", Mutant::RefusalForgotten, &["W1"]),
    ("wait-in-circle", Mutant::WaitInCircle, &["W11"]),
    ("bit-flipped", Mutant::BitFlipped, &["W2"]),
    ("sync-lies", Mutant::SyncLies, &["W1", "W2", "W16"]),
    ("silent-drop-head", Mutant::Inside(Inside::SilentDropHead), &["W12"]),
    ("early-confirm", Mutant::Inside(Inside::EarlyConfirm), &["W1"]),
    ("urgent-settle", Mutant::Inside(Inside::UrgentSettle), &["W15"]),
    ("forgotten-delivery", Mutant::Inside(Inside::ForgottenDelivery), &["W12", "W6"]),
    ("unkept-leases", Mutant::Inside(Inside::UnkeptLeases), &["W13"]),
    ("taken-twice", Mutant::Inside(Inside::TakenTwice), &["W9", "W47", "W48"]),
    ("lost-move", Mutant::Inside(Inside::LostMove), &["W1", "W47", "W48"]),
    ("early-append", Mutant::Inside(Inside::EarlyAppend), &["W20"]),
    ("numbers-ignored", Mutant::NumbersIgnored, &["W21"]),
    ("repeat-taken", Mutant::Inside(Inside::RepeatTaken), &["W21"]),
    ("early-read", Mutant::Inside(Inside::EarlyRead), &["W22", "W4"]),
    ("read-flipped", Mutant::ReadFlipped, &["W23"]),
    ("trim-more", Mutant::TrimMore, &["W24"]),
    ("silent-retention", Mutant::Inside(Inside::SilentRetention), &["W12"]),
    ("wakes-lost", Mutant::WakesLost, &["W11"]),
    ("repeated-numbers", Mutant::Inside(Inside::RepeatedNumbers), &["W30"]),
    ("parts-doubled", Mutant::PartsDoubled, &["W32"]),
    ("lost-members", Mutant::Inside(Inside::LostMembers), &["W33"]),
    ("any-generation", Mutant::Inside(Inside::AnyGeneration), &["W34"]),
    ("commit-forgotten", Mutant::CommitForgotten, &["W35"]),
    ("forgotten-id", Mutant::Inside(Inside::ForgottenId), &["W41"]),
    ("loose-condition", Mutant::Inside(Inside::LooseCondition), &["W42"]),
    ("ends-lost", Mutant::EndsLost, &["W44"]),
    ("floor-back", Mutant::FloorBack, &["W45"]),
    ("pending-ignored", Mutant::PendingIgnored, &["W46"]),
    ("filter-narrowed", Mutant::FilterNarrowed, &["W40"]),
    ("places-shifted", Mutant::PlacesShifted, &["W43"]),
    ("early-records", Mutant::Inside(Inside::EarlyRecords), &["W4"]),
    ("burials-lost", Mutant::BurialsLost, &["W47", "W48"]),
    ("dues-forgotten", Mutant::DuesForgotten, &["W48"]),
    ("half-bundle", Mutant::Inside(Inside::HalfBundle), &["W49"]),
    ("bundles-torn", Mutant::BundlesTorn, &["W49"]),
    ("unlogged-terms", Mutant::Inside(Inside::UnloggedTerms), &["W12", "W13", "W41"]),
    ("unlogged-delivery", Mutant::Inside(Inside::UnloggedDelivery), &["W12", "W13"]),
    ("unlogged-settle", Mutant::Inside(Inside::UnloggedSettle), &["W12", "W13", "W44"]),
    ("urgent-end", Mutant::Inside(Inside::UrgentEnd), &["W15"]),
    ("urgent-share-settle", Mutant::Inside(Inside::UrgentShareSettle), &["W15"]),
];

impl Mutant {
    /// What the shard itself is to do wrong.
    #[must_use]
    pub fn inside(self) -> Option<Inside> {
        match self {
            Self::Inside(mutant) => Some(mutant),
            _ => None,
        }
    }
}

/// The mutant of this name.
#[must_use]
pub fn named(name: &str) -> Option<Mutant> {
    MUTANTS.iter().find(|(known, ..)| *known == name).map(|(_, mutant, _)| *mutant)
}

/// A shard whose ears, pen and mouth may be bent by a mutant.
pub struct Bent<M> {
    inner: M,
    mutant: Option<Mutant>,
    rng: Rng,
    /// Handed out since the start.
    handed_out: BTreeSet<(QueueId, Position)>,
    first_snapshot: Option<Vec<Bytes>>,
}

impl<M> Bent<M> {
    /// `inner`, bent.
    pub fn new(inner: M, mutant: Option<Mutant>, rng: Rng) -> Self {
        Self { inner, mutant, rng, handed_out: BTreeSet::new(), first_snapshot: None }
    }

    /// The machine itself.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

impl<M: Machine<Op = ShardOp, Effect = ShardEffect>> Bent<M> {
    /// What is told, as it is heard; `None`: not at all.
    fn hear(&mut self, mut op: ShardOp) -> Option<ShardOp> {
        match (self.mutant, &mut op) {
            (Some(Mutant::NoLinkNumbers), ShardOp::Publish(publish)) => publish.link = None,
            (Some(Mutant::DuesForgotten), ShardOp::Publish(publish)) => forget_dues(publish),
            (Some(Mutant::BundlesTorn), ShardOp::Publish(publish)) => tear_bundles(publish),
            (Some(Mutant::DeleteAnyway), ShardOp::Close { if_empty, .. }) => *if_empty = false,
            (Some(Mutant::NumbersIgnored), ShardOp::Append(append)) => {
                append.parts.iter_mut().for_each(|(_, batch)| batch.producer = None);
            }
            (Some(Mutant::PartsDoubled | Mutant::CommitForgotten), ShardOp::Group(ask)) => {
                bend_group(self.mutant, &mut ask.verb);
            }
            (Some(mutant), ShardOp::Share(ask)) => bend_share(mutant, &mut ask.verb),
            (Some(Mutant::EndsLost), ShardOp::SettleShares(of)) if self.rng.chance(1, 2) => {
                of.settles.iter_mut().for_each(|settle| settle.runs.clear());
            }
            (Some(Mutant::TrimMore), ShardOp::Trim { parts, .. }) => {
                parts.iter_mut().for_each(|(_, below)| below.0 += 2);
            }
            (Some(Mutant::SettleLost), ShardOp::Settle { .. }) if self.rng.chance(1, 10) => return None,
            _ => {}
        }
        Some(op)
    }

    /// What is said, as it leaves.
    fn speak(&mut self, effects: &mut Effects<ShardEffect>, from: usize) {
        let mut again = Vec::new();
        for (after, effect) in effects.iter_mut().skip(from) {
            match (self.mutant, effect) {
                (Some(Mutant::ConfirmEarly), ShardEffect::Published { .. }) => *after = Lsn(0),
                (
                    Some(Mutant::FloorBack),
                    ShardEffect::Answer { answer: Ok(Answer::Share(Ok(ShareAnswer::Info(info)))), .. },
                ) if self.rng.chance(1, 2) => info.floor.next.0 /= 2,
                (
                    Some(Mutant::PlacesShifted),
                    ShardEffect::Shared { what: ShareEffect::Deliver { ranges, .. }, .. },
                ) if self.rng.chance(1, 4) => ranges.iter_mut().for_each(|range| {
                    range.records.batch.first.0 += 1;
                    range.records.from.0 += 1;
                }),
                (Some(Mutant::RefusalForgotten), ShardEffect::Published { refused, .. }) => refused.clear(),
                (Some(Mutant::ForgetAssign), ShardEffect::Deliver { queue, records, .. }) => {
                    for grant in records {
                        grant.redelivered &= !self.handed_out.insert((*queue, grant.position));
                    }
                }
                (Some(Mutant::ForgetAssign), ShardEffect::Got { queue, record: Some(grant), .. }) => {
                    grant.redelivered &= !self.handed_out.insert((*queue, grant.position));
                }
                (Some(Mutant::DeliverReversed), ShardEffect::Deliver { records, .. }) => records.reverse(),
                (Some(Mutant::DeliverTwice), effect @ ShardEffect::Deliver { .. })
                    if self.rng.chance(1, 10) =>
                {
                    again.push((*after, effect.clone()));
                }
                _ => {}
            }
        }
        effects.append(&mut again);
        effects.retain(|(_, effect)| !self.swallows(effect));
    }

    /// What is never said.
    fn swallows(&self, effect: &ShardEffect) -> bool {
        match (self.mutant, effect) {
            (Some(Mutant::WakesLost), ShardEffect::Woken { .. }) => true,
            (Some(Mutant::BurialsLost), ShardEffect::Move(of)) => {
                matches!(of.out_of, MoveOut::Share(_) | MoveOut::Due(_))
            }
            _ => false,
        }
    }

    fn with_pen<T>(
        &mut self,
        journal: &mut dyn Journal,
        write: impl FnOnce(&mut M, &mut dyn Journal) -> T,
    ) -> T {
        let mut pen = Pen { journal, mutant: self.mutant, rng: &mut self.rng };
        write(&mut self.inner, &mut pen)
    }
}

impl<M: Machine<Op = ShardOp, Effect = ShardEffect>> Machine for Bent<M> {
    type Op = ShardOp;
    type Effect = ShardEffect;

    fn take(&mut self, op: ShardOp, journal: &mut dyn Journal, effects: &mut Effects<ShardEffect>) {
        let from = effects.len();
        if let Some(op) = self.hear(op) {
            self.with_pen(journal, |inner, pen| inner.take(op, pen, effects));
        }
        self.speak(effects, from);
    }

    fn tick(&mut self, journal: &mut dyn Journal, effects: &mut Effects<ShardEffect>) {
        let from = effects.len();
        self.with_pen(journal, |inner, pen| inner.tick(pen, effects));
        self.speak(effects, from);
    }

    fn deadline(&self) -> Option<Now> {
        self.inner.deadline()
    }

    fn apply(&mut self, place: Place, time: Now, entry: &[u8]) -> Result<(), String> {
        self.inner.apply(place, time, entry)
    }

    fn started(&mut self, journal: &mut dyn Journal, effects: &mut Effects<ShardEffect>) {
        let from = effects.len();
        self.with_pen(journal, |inner, pen| inner.started(pen, effects));
        if self.mutant == Some(Mutant::MovesNotResent) {
            effects.retain(|(_, effect)| !matches!(effect, ShardEffect::Move(_)));
        }
        self.speak(effects, from.min(effects.len()));
    }

    fn begin_snapshot(&mut self) {
        self.inner.begin_snapshot();
    }

    fn step_snapshot(&mut self) -> Option<Vec<Bytes>> {
        let now = self.inner.step_snapshot()?;
        if self.mutant != Some(Mutant::StaleSnapshot) {
            return Some(now);
        }
        Some(self.first_snapshot.get_or_insert(now).clone())
    }

    fn live_changes(&mut self, out: &mut Vec<(Lsn, i64)>) {
        self.inner.live_changes(out);
    }

    fn live_in(&self, range: (Lsn, Lsn), out: &mut Vec<(Place, u32)>) {
        self.inner.live_in(range, out);
    }
}

fn forget_dues(publish: &mut ShardPublish) {
    let mut batch = (*publish.batch).clone();
    batch.terms.iter_mut().for_each(|(_, terms)| terms.due = None);
    publish.batch = Arc::new(batch);
}

/// Each submit's part of a bundle is taken for a bundle of its own, which ends with it.
fn tear_bundles(publish: &mut ShardPublish) {
    let mut batch = (*publish.batch).clone();
    let first = batch.terms.iter().find_map(|(_, terms)| terms.bundle.as_ref()?.sequence);
    let last = batch.terms.len().saturating_sub(1);
    for (n, (_, terms)) in batch.terms.iter_mut().enumerate() {
        let Some((bundle, first)) = terms.bundle.as_mut().zip(first) else { continue };
        bundle.sequence = bundle.sequence.map(|sequence| sequence - first + 1);
        if n == last && bundle.end == BundleEnd::More {
            bundle.end = BundleEnd::Here;
        }
    }
    publish.batch = Arc::new(batch);
}

fn bend_share(mutant: Mutant, verb: &mut ShareVerb) {
    let ShareVerb::Put { settings, .. } = verb else { return };
    match mutant {
        Mutant::PendingIgnored => settings.pending_max = None,
        Mutant::FilterNarrowed => settings.filters = Pattern::new("jet.a").into_iter().collect(),
        _ => {}
    }
}

fn bend_group(mutant: Option<Mutant>, verb: &mut GroupVerb) {
    match verb {
        GroupVerb::Sync { parts, .. } if mutant == Some(Mutant::PartsDoubled) => {
            let all: Bytes = parts.iter().flat_map(|(_, part)| part.to_vec()).collect();
            parts.iter_mut().for_each(|(_, part)| *part = all.clone());
        }
        GroupVerb::Commit { positions, .. } if mutant == Some(Mutant::CommitForgotten) => {
            positions.iter_mut().for_each(|commit| commit.position.0 /= 2);
        }
        _ => {}
    }
}

/// A journal that may write other things than it is told.
struct Pen<'a> {
    journal: &'a mut dyn Journal,
    mutant: Option<Mutant>,
    rng: &'a mut Rng,
}

/// Entries without a record in them are shorter than this, bytes.
const SHORT_BYTES: usize = 64;

impl Journal for Pen<'_> {
    fn now(&self) -> Now {
        self.journal.now()
    }

    fn tail(&self) -> Lsn {
        self.journal.tail()
    }

    fn append(&mut self, urgency: Urgency, parts: &[&[u8]]) -> Place {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let short_ride = urgency == Urgency::Rides && len < SHORT_BYTES;
        match self.mutant {
            Some(Mutant::ApplyOutsideLog) if short_ride && self.rng.chance(1, 5) => {
                Place { lsn: self.journal.tail(), at: 0 }
            }
            Some(Mutant::SettleCommits) => self.journal.append(Urgency::Urgent, parts),
            _ => self.journal.append(urgency, parts),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Place {
        self.journal.keep(bytes)
    }

    fn entry_bytes_max(&self) -> usize {
        self.journal.entry_bytes_max()
    }
}
