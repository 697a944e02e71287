//! Bundles of records that are stored whole or not at all.
//!
//! Called by [`super::super::publish`] for each record that its publisher puts into a bundle. Records of a bundle wait in memory until it ends;
//! then all are decided on together, and stored by one entry, or none is. What must hold: nothing of a bundle that waits is logged, so a crash
//! is its end (S1); what is decided on at its end is the state then, with the bundle's own records in it; what waits is bounded
//! ([`BUNDLES_MAX`], [`WAITING_BYTES_MAX`]), and nothing waits longer than [`IDLE_MS_MAX`] for the next record.

use super::Shard;
use super::marks;
use super::store::{check_due, check_ends, check_last};
use crate::shard::Mutant;
use crate::shard::effect::Turn;
use crate::stream::Partition;
use crate::stream::dedupe::ID_BYTES_MAX;
use crate::stream::records::Marks;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::{Lsn, Now, Position, QueueId};
use stele_model::publish::Publishes;
use stele_model::refusal::Refusal;
use stele_model::share::ShareNews;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{
    Abandoned, BundleAbandoned, BundleEnd, BundleRefusal, BundleTerms, Discard, RecordRefusal,
    RecordSettings, Rollup, Terms, Ttl,
};
use stele_record::View;

/// Records of one bundle.
const RECORDS_MAX: u32 = 1000;
/// Bundles that wait in one partition.
const OF_PARTITION_MAX: usize = 50;
/// Bundles that wait in a shard.
const BUNDLES_MAX: usize = 1000;
/// Bytes of all records that wait in a shard.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Longest name of a bundle, bytes.
const ID_MAX: usize = 64;
/// Longest wait for the next record of a bundle, ms.
const IDLE_MS_MAX: u64 = 10_000;

/// What waits for the end of its bundle.
#[derive(Debug, Default)]
pub(in crate::shard) struct Bundles {
    waiting: BTreeMap<(QueueId, Bytes), Waiting>,
    /// Bytes of all of them.
    bytes: usize,
    /// No bundle is over before this; `None`: there is none.
    due: Option<Now>,
    /// Those that came to nothing, to be told.
    abandoned: Vec<(QueueId, Bytes, Abandoned)>,
}

#[derive(Debug, Default)]
struct Waiting {
    records: Vec<BundleRecord>,
    /// Bytes that they take in an entry.
    bytes: usize,
    due: Now,
}

/// A record of a bundle.
#[derive(Debug)]
pub(in crate::shard) struct BundleRecord {
    pub(in crate::shard) record: Bytes,
    pub(in crate::shard) terms: Terms,
}

/// What came of a record of a bundle.
#[derive(Debug)]
pub(in crate::shard) enum Joined {
    /// It waits for the others.
    Waits,
    /// It ends its bundle, which is to be stored: these.
    Ends(Vec<BundleRecord>),
    /// The bundle is no more, if there was one.
    Refused(Refusal),
}

impl Bundles {
    fn take(&mut self, key: &(QueueId, Bytes)) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }

    pub(in crate::shard) fn deadline(&self) -> Option<Now> {
        if self.abandoned.is_empty() { self.due } else { Some(Now(0)) }
    }

    /// Forgets bundles that nobody goes on with.
    pub(in crate::shard) fn expire(&mut self, now: Now) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        for ((partition, id), _) in self.waiting.extract_if(.., |_, waiting| waiting.due <= now) {
            self.abandoned.push((partition, id, Abandoned::Timeout));
        }
        self.due = self.waiting.values().map(|waiting| waiting.due).min();
        self.bytes = self.waiting.values().map(|waiting| waiting.bytes).sum();
    }

    /// A partition is gone.
    pub(in crate::shard) fn forget(&mut self, partition: QueueId) {
        self.waiting.retain(|(of, _), _| *of != partition);
        self.bytes = self.waiting.values().map(|waiting| waiting.bytes).sum();
    }

    fn of_partition(&self, id: QueueId) -> usize {
        self.waiting.range((id, Bytes::new())..).take_while(|((of, _), _)| *of == id).count()
    }
}

impl Shard {
    /// Tells who listens of bundles that came to nothing.
    pub(super) fn tell_abandoned(&mut self, turn: &mut Turn<'_>) {
        for (id, bundle, why) in std::mem::take(&mut self.streams.bundles.abandoned) {
            let Some(partition) = self.streams.partitions.get(&id) else { continue };
            let (partition, at) = (Arc::clone(&partition.spec), turn.now());
            let news = ShareNews::Abandoned(BundleAbandoned { partition, bundle, at, why });
            self.tell_listeners(Lsn(0), &news, turn);
        }
    }

    /// Takes up a record of a bundle; `bytes_max`: what one entry can hold of them.
    pub(in crate::shard) fn bundle(
        &mut self,
        id: QueueId,
        (batch, item): (&Publishes, u32),
        terms: &Terms,
        bytes_max: usize,
        now: Now,
    ) -> Joined {
        let is_half = self.makes(Mutant::HalfBundle);
        let Some(partition) = self.streams.partitions.get(&id) else { return Joined::Waits };
        let Some(settings) = partition.by_record() else { return Joined::Waits };
        let bundles = &mut self.streams.bundles;
        bundles.expire(now);
        let of = Joining { partition, settings, terms, bytes_max, now };
        let ended = of.join(bundles, batch.record(item)).and_then(|ended| match ended {
            Some(mut records) => {
                if is_half {
                    records.pop();
                }
                check(partition, settings, &records, now).map(|()| Joined::Ends(records))
            }
            None => Ok(Joined::Waits),
        });
        ended.unwrap_or_else(|why| {
            let stream = partition.spec.stream.clone();
            Joined::Refused(Refusal::Stream(StreamRefusal::Record { stream, why }))
        })
    }
}

/// A record that joins its bundle.
struct Joining<'a> {
    partition: &'a Partition,
    settings: &'a RecordSettings,
    terms: &'a Terms,
    bytes_max: usize,
    now: Now,
}

impl Joining<'_> {
    /// The whole bundle, if the record ends it.
    fn join(&self, bundles: &mut Bundles, record: &[u8]) -> Result<Option<Vec<BundleRecord>>, RecordRefusal> {
        let Some(BundleTerms { id, sequence, end }) = &self.terms.bundle else { return Ok(None) };
        self.check_single(record)?;
        if !self.settings.bundles {
            return Err(RecordRefusal::Bundle(BundleRefusal::Disabled));
        }
        if id.len() > ID_MAX {
            return Err(RecordRefusal::Bundle(BundleRefusal::Id));
        }
        let sequence = sequence.ok_or(RecordRefusal::Bundle(BundleRefusal::NoSequence))?;
        let key = (self.partition.spec.id, id.clone());
        let size = sequence.saturating_sub(u64::from(*end == BundleEnd::Before));
        let is_large = size > u64::from(RECORDS_MAX);
        let too_large = || RecordRefusal::Bundle(BundleRefusal::TooLarge { max: RECORDS_MAX });
        if !bundles.waiting.contains_key(&key) {
            if sequence != 1 {
                return Err(if is_large {
                    too_large()
                } else {
                    RecordRefusal::Bundle(BundleRefusal::Incomplete)
                });
            }
            let is_full = bundles.waiting.len() >= BUNDLES_MAX || bundles.bytes >= WAITING_BYTES_MAX;
            if is_full || bundles.of_partition(key.0) >= OF_PARTITION_MAX {
                return Err(RecordRefusal::Bundle(BundleRefusal::TooMany));
            }
        }
        // Whatever goes wrong from here on is the bundle's end: so it is taken, and put back.
        let mut waiting = bundles.take(&key).unwrap_or_default();
        let mut abandon = |why| bundles.abandoned.push((key.0, key.1.clone(), why));
        match end {
            BundleEnd::Unknown => return Err(RecordRefusal::Bundle(BundleRefusal::End)),
            BundleEnd::Unsupported => {
                abandon(Abandoned::Unsupported);
                return Err(RecordRefusal::Bundle(BundleRefusal::Unsupported));
            }
            BundleEnd::More | BundleEnd::Here | BundleEnd::Before => {}
        }
        let is_next = sequence == waiting.records.len() as u64 + 1;
        if !is_next || (sequence == 1 && *end == BundleEnd::Before) {
            abandon(Abandoned::Incomplete);
            return Err(RecordRefusal::Bundle(BundleRefusal::Incomplete));
        }
        if is_large {
            abandon(Abandoned::TooLarge);
            return Err(too_large());
        }
        if self.terms.impossible {
            let is_due = self.terms.due.is_some() && !self.settings.due;
            return Err(if is_due { RecordRefusal::NoDue } else { RecordRefusal::Impossible });
        }
        if *end != BundleEnd::Before {
            waiting.bytes += record.len() + marks::bytes_max(&Marks::of(self.terms, self.now));
            let bytes_max = self.bytes_max.min(WAITING_BYTES_MAX.saturating_sub(bundles.bytes));
            if waiting.bytes > bytes_max {
                bundles.abandoned.push((key.0, key.1, Abandoned::TooLarge));
                return Err(RecordRefusal::Bundle(BundleRefusal::TooLarge {
                    max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
                }));
            }
            let terms = Terms { bundle: None, ..self.terms.clone() };
            // A copy: else what waits would hold all that came with it.
            waiting.records.push(BundleRecord { record: Bytes::copy_from_slice(record), terms });
        }
        if *end != BundleEnd::More {
            return Ok(Some(waiting.records));
        }
        waiting.due = self.now.plus_ms(IDLE_MS_MAX);
        bundles.due = Some(bundles.due.map_or(waiting.due, |due| due.min(waiting.due)));
        bundles.bytes += waiting.bytes;
        bundles.waiting.insert(key, waiting);
        Ok(None)
    }

    /// What is refused of a single record, whatever bundle it is in.
    fn check_single(&self, record: &[u8]) -> Result<(), RecordRefusal> {
        if self.settings.sealed {
            return Err(RecordRefusal::Sealed);
        }
        let max = self.partition.spec.settings.batch_bytes_max;
        let content = View::parse(record).map_or(record.len(), |view| view.content_bytes());
        if content > max as usize { Err(RecordRefusal::TooLarge { max }) } else { Ok(()) }
    }
}

/// Whether a whole bundle may be stored: each record on the state with those before it in.
fn check(
    partition: &Partition,
    settings: &RecordSettings,
    bundle: &[BundleRecord],
    now: Now,
) -> Result<(), RecordRefusal> {
    let mut before = Before::default();
    for (n, BundleRecord { record, terms }) in (0..).zip(bundle) {
        let subject = View::parse(record).map_or(&[][..], |view| view.key());
        check_terms(partition, settings, (terms, subject), (n, &mut before), now)?;
        *before.subjects.entry(subject).or_default() += 1;
        before.dues.insert(subject, terms.due.is_some());
        before.bytes += record.len() as u64;
        check_room(partition, settings, (terms, subject), n + 1, &before)?;
    }
    Ok(())
}

/// What of a bundle comes before a record.
#[derive(Default)]
struct Before<'a> {
    /// How many of each subject.
    subjects: BTreeMap<&'a [u8], u64>,
    /// Whether the last of each subject waits for its time.
    dues: BTreeMap<&'a [u8], bool>,
    ids: BTreeSet<&'a [u8]>,
    bytes: u64,
}

fn check_terms<'a>(
    partition: &Partition,
    settings: &RecordSettings,
    (terms, subject): (&'a Terms, &[u8]),
    (n, before): (u64, &mut Before<'a>),
    now: Now,
) -> Result<(), RecordRefusal> {
    let Some(records) = &partition.records else { return Ok(()) };
    if terms.last_id.is_some() {
        return Err(RecordRefusal::Bundle(BundleRefusal::LastId));
    }
    if terms.stream.as_ref().is_some_and(|stream| *stream != partition.spec.stream) {
        return Err(RecordRefusal::OtherStream);
    }
    check_due(settings, terms, subject)?;
    if terms.ttl != Ttl::Stream && !settings.record_ttl {
        return Err(RecordRefusal::NoTtl);
    }
    if let Some(id) = &terms.id {
        let now_ms = now.ms().max(records.last_ms);
        let is_known = || records.dedupe.get(id, now_ms, settings.dedupe_ms).is_some();
        let is_there = settings.dedupe_ms > 0 && is_known();
        if id.len() > ID_BYTES_MAX || is_there || !before.ids.insert(id) {
            return Err(RecordRefusal::Bundle(BundleRefusal::Duplicate));
        }
    }
    if let Some(end) = terms.end {
        let is = Position(partition.end.0 + n);
        if end != is {
            return Err(RecordRefusal::WrongEnd { is });
        }
        if n > 0 {
            return Err(RecordRefusal::Bundle(BundleRefusal::Condition));
        }
    }
    if let Some(expected) = &terms.last {
        let of = expected.subjects.as_ref().map_or(subject, |pattern| pattern.as_bytes());
        if before.subjects.contains_key(of) {
            return Err(RecordRefusal::Bundle(BundleRefusal::Condition));
        }
        check_last(partition, subject, expected)?;
    }
    match terms.ends.as_ref().and_then(|ends| before.dues.get(&ends[..])) {
        None => check_ends(partition, terms, subject)?,
        Some(true) if terms.ends.as_deref() != Some(subject) => {}
        Some(_) => return Err(RecordRefusal::NotDue),
    }
    match terms.rollup {
        Some(_) if !settings.rollup || settings.deny_purge => Err(RecordRefusal::NoRollup),
        Some(Rollup::Subject) if before.subjects.contains_key(subject) => {
            Err(RecordRefusal::Bundle(BundleRefusal::Rollup(Rollup::Subject)))
        }
        Some(Rollup::All) if n > 0 => Err(RecordRefusal::Bundle(BundleRefusal::Rollup(Rollup::All))),
        _ => Ok(()),
    }
}

/// Whether a stream that refuses what it has no room for has room for so many records of a bundle.
fn check_room(
    partition: &Partition,
    settings: &RecordSettings,
    (terms, subject): (&Terms, &[u8]),
    count: u64,
    with: &Before<'_>,
) -> Result<(), RecordRefusal> {
    let Discard::New { per_subject } = settings.discard else { return Ok(()) };
    let Some(records) = &partition.records else { return Ok(()) };
    if settings.records_max.is_some_and(|max| partition.count() + count > max) {
        return Err(RecordRefusal::RecordsMax);
    }
    let bytes_max = partition.spec.settings.retention_bytes;
    if bytes_max.is_some_and(|max| partition.bytes + with.bytes > max) {
        return Err(RecordRefusal::BytesMax);
    }
    let there = || {
        let number = records.subjects.find(subject);
        number.map_or(0, |number| records.subjects.positions(number).count_from(partition.start))
    };
    let of_subject = || there() + with.subjects.get(subject).copied().unwrap_or(0);
    let is_full = per_subject
        && terms.rollup.is_none()
        && settings.per_subject_max.is_some_and(|max| of_subject() > max);
    if is_full { Err(RecordRefusal::PerSubjectMax) } else { Ok(()) }
}
