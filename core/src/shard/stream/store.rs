//! Storing published records in streams that tell their records apart: conditions, and where each record went.
//!
//! Called by [`super::super::publish`], record by record where one has terms or the stream may refuse, else for a whole run. What must hold:
//! a condition is decided on the state with all before it in; what is stored is told to who waits for it; a duplicate is told where the
//! first one is, and stores nothing.

use super::Shard;
use crate::shard::Mutant;
use crate::shard::entry::Target;
use crate::shard::publish::Head;
use crate::stream::Partition;
use crate::stream::dedupe::ID_BYTES_MAX;
use crate::stream::records::{Incoming, Marks};
use crate::stream::schedules::Coming;
use stele_model::id::{Now, Place, Position, QueueId};
use stele_model::publish::Publishes;
use stele_model::refusal::Refusal;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{Discard, LastOf, RecordRefusal, RecordSettings, Terms, Ttl};
use stele_record::View;

/// What is to be done with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Decided {
    Take,
    /// It is there already.
    Duplicate(Position),
    Refuse(Refusal),
}

impl<'a> Marks<'a> {
    /// What is logged of these terms, of a record that comes now.
    pub(in crate::shard) fn of(terms: &'a Terms, now: Now) -> Self {
        let Terms { id, rollup, ttl, due, ends, marker, .. } = terms;
        let due = due.as_ref().map(|due| Coming::of(due, *ttl, now.ms()));
        Self { id: id.as_deref(), rollup: *rollup, ttl: *ttl, due, ends: ends.as_deref(), marker: *marker }
    }
}

impl Shard {
    /// Whether a run for this partition has to be looked at record by record.
    pub(in crate::shard) fn is_choosy(&self, id: QueueId, batch: &Publishes) -> bool {
        let settings = self.streams.partitions.get(&id).map(|partition| &partition.spec.settings);
        let Some((settings, by_record)) = settings.and_then(|of| Some((of, of.records.as_ref()?))) else {
            return false;
        };
        let refuses = match by_record.discard {
            Discard::Old => false,
            Discard::New { per_subject } => {
                by_record.records_max.is_some()
                    || settings.retention_bytes.is_some()
                    || per_subject && by_record.per_subject_max.is_some()
            }
        };
        refuses || by_record.sealed || !batch.terms.is_empty()
    }

    /// Decides on one record. All records before it are in the partition.
    pub(in crate::shard) fn decide_record(
        &self,
        id: QueueId,
        batch: &Publishes,
        item: u32,
        now: Now,
    ) -> Decided {
        let Some(partition) = self.streams.partitions.get(&id) else { return Decided::Take };
        let Some(settings) = partition.by_record() else { return Decided::Take };
        let record = batch.record(item);
        let view = View::parse(record);
        let (subject, content) =
            view.map_or((&[][..], record.len()), |view| (view.key(), view.content_bytes()));
        let refuse = |why| {
            let stream = partition.spec.stream.clone();
            Decided::Refuse(Refusal::Stream(StreamRefusal::Record { stream, why }))
        };
        if let Some(terms) = batch.terms(item) {
            if let Some(long) = terms.id.as_ref().filter(|id| id.len() > ID_BYTES_MAX) {
                let what = format!("bytes of a record's id, which has {}", long.len());
                return Decided::Refuse(Refusal::Limit { what, max: ID_BYTES_MAX as u64 });
            }
            match check_terms(partition, settings, terms, subject, now) {
                Ok(None) => {}
                Ok(Some(_)) if self.makes(Mutant::ForgottenId) => {}
                Err(_) if self.makes(Mutant::LooseCondition) => {}
                Ok(Some(position)) => return Decided::Duplicate(position),
                Err(why) => return refuse(why),
            }
        }
        match check_room(partition, settings, (record.len(), content), subject) {
            Ok(()) => Decided::Take,
            Err(why) => refuse(why),
        }
    }

    /// Puts the records of a bundle into a partition, each with its own terms, the same in replay.
    pub(in crate::shard) fn admit_bundle(
        &mut self,
        target: &Target,
        place: Place,
        (bytes, heads): (&[u8], &[Head]),
        marks: &[Marks<'_>],
        time: Now,
    ) {
        for ((n, head), marks) in (0..).zip(heads).zip(marks) {
            let target = Target { first: Position(target.first.0 + n), ..*target };
            self.admit_singles(&target, place, (bytes, std::slice::from_ref(head)), marks, time);
        }
    }

    /// Puts records into a partition that tells them apart, the same in replay.
    pub(in crate::shard) fn admit_singles(
        &mut self,
        target: &Target,
        place: Place,
        (bytes, heads): (&[u8], &[Head]),
        marks: &Marks<'_>,
        time: Now,
    ) {
        let Some(partition) = self.streams.partitions.get_mut(&target.queue) else { return };
        assert!(target.first == partition.end, "I32: positions are given densely");
        let (live, shares) = (&mut self.live, &mut self.shares);
        let of = shares.gone_of(target.queue);
        let mut gone = of.map(|of| if marks.rollup.is_none() { &mut of.told } else { &mut of.untold });
        for head in heads {
            let place = Place { at: place.at + head.at, ..place };
            let subject = bytes.get(head.at as usize..).map_or(&[][..], |record| head.key(record));
            live.held(place.lsn, u64::from(head.len));
            let incoming = Incoming { place, len: head.len, subject, marks };
            partition.admit_single(&incoming, time, |batch| {
                live.let_go(batch.place.lsn, batch.len);
                gone.iter_mut().for_each(|gone| gone.push(batch.first));
            });
        }
    }
}

/// Whether a record may be published again, if it is to be. That the stream allows none comes before what is wrong with one.
pub(super) fn check_due(
    settings: &RecordSettings,
    terms: &Terms,
    subject: &[u8],
) -> Result<(), RecordRefusal> {
    if !settings.due && (terms.due.is_some() || terms.ends.is_some()) {
        return Err(RecordRefusal::NoDue);
    }
    let Some(due) = &terms.due else { return Ok(()) };
    if terms.impossible {
        return Err(RecordRefusal::Impossible);
    }
    if due.how.ttl != Ttl::Stream && !settings.record_ttl {
        return Err(RecordRefusal::NoTtl);
    }
    let captured = |subject: &[u8]| settings.subjects.iter().any(|pattern| pattern.matches(subject));
    if !captured(&due.subject) || due.subject == subject {
        return Err(RecordRefusal::WrongDue);
    }
    let fits = |sample: &[u8]| captured(sample) && sample != subject && sample != due.subject;
    if due.how.sample.as_deref().is_none_or(fits) { Ok(()) } else { Err(RecordRefusal::WrongSample) }
}

/// Whether what stands at the subject that a record ends waits for its time. That nothing stands there is no fault.
pub(super) fn check_ends(partition: &Partition, terms: &Terms, subject: &[u8]) -> Result<(), RecordRefusal> {
    let Some(ends) = &terms.ends else { return Ok(()) };
    let waits = partition.last_of(ends).is_none_or(|last| partition.is_due(last));
    if waits && ends != subject { Ok(()) } else { Err(RecordRefusal::NotDue) }
}

/// `Ok(Some)`: it is there already.
fn check_terms(
    partition: &Partition,
    settings: &RecordSettings,
    terms: &Terms,
    subject: &[u8],
    now: Now,
) -> Result<Option<Position>, RecordRefusal> {
    let Some(records) = &partition.records else { return Ok(None) };
    if terms.stream.as_ref().is_some_and(|stream| *stream != partition.spec.stream) {
        return Err(RecordRefusal::OtherStream);
    }
    check_due(settings, terms, subject)?;
    if terms.impossible {
        return Err(RecordRefusal::Impossible);
    }
    if terms.ttl != Ttl::Stream && !settings.record_ttl {
        return Err(RecordRefusal::NoTtl);
    }
    if terms.rollup.is_some() && (!settings.rollup || settings.deny_purge) {
        return Err(RecordRefusal::NoRollup);
    }
    if let Some(id) = terms.id.as_ref().filter(|_| settings.dedupe_ms > 0)
        && let Some(position) = records.dedupe.get(id, now.ms().max(records.last_ms), settings.dedupe_ms)
    {
        return Ok(Some(position));
    }
    if terms.end.is_some_and(|end| end != partition.end) {
        return Err(RecordRefusal::WrongEnd { is: partition.end });
    }
    if let Some(expected) = &terms.last_id
        && records.last_id.as_ref() != Some(expected)
    {
        return Err(RecordRefusal::WrongLastId { is: records.last_id.clone() });
    }
    if let Some(expected) = &terms.last {
        check_last(partition, subject, expected)?;
    }
    check_ends(partition, terms, subject)?;
    Ok(None)
}

/// Whether the last record of a subject, or of those that are named, is the expected one.
pub(super) fn check_last(
    partition: &Partition,
    subject: &[u8],
    expected: &LastOf,
) -> Result<(), RecordRefusal> {
    let last = match &expected.subjects {
        Some(subjects) => partition.last(subjects),
        None => partition.last_of(subject),
    };
    let is = last.filter(|last| *last >= partition.start);
    if is == expected.position { Ok(()) } else { Err(RecordRefusal::WrongLast { is }) }
}

/// Whether the stream's settings let a record in, of which `content` is what its publisher wrote into it, bytes.
fn check_room(
    partition: &Partition,
    settings: &RecordSettings,
    (bytes, content): (usize, usize),
    subject: &[u8],
) -> Result<(), RecordRefusal> {
    let max = partition.spec.settings.batch_bytes_max;
    if settings.sealed {
        return Err(RecordRefusal::Sealed);
    }
    if content > max as usize {
        return Err(RecordRefusal::TooLarge { max });
    }
    let Discard::New { per_subject } = settings.discard else { return Ok(()) };
    let Some(records) = &partition.records else { return Ok(()) };
    let of_subject = || {
        let id = records.subjects.find(subject);
        id.map_or(0, |id| records.subjects.positions(id).count_from(partition.start))
    };
    let at_subject_max = || settings.per_subject_max.is_some_and(|max| of_subject() >= max);
    if per_subject && at_subject_max() {
        return Err(RecordRefusal::PerSubjectMax);
    }
    // One of its subject makes room for it, so the count stays.
    let replaces = || !per_subject && at_subject_max();
    if settings.records_max.is_some_and(|max| partition.count() >= max) && !replaces() {
        return Err(RecordRefusal::RecordsMax);
    }
    let bytes_max = partition.spec.settings.retention_bytes;
    if bytes_max.is_some_and(|max| partition.bytes + bytes as u64 > max) {
        return Err(RecordRefusal::BytesMax);
    }
    Ok(())
}
