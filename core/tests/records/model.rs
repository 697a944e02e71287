//! A stream that tells its records apart: a list of records, looked through from the front each time.

use stele_model::id::Position;
use stele_model::stream::StreamSettings;
use stele_model::stream::records::{Discard, LastOf, RecordRefusal, RecordSettings, Rollup, Terms, Ttl};
use stele_model::subject::Pattern;

/// A record that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) position: u64,
    pub(crate) subject: Vec<u8>,
    pub(crate) len: u64,
    pub(crate) came_ms: u64,
    /// When it goes by its own time; `u64::MAX`: never, whatever the stream's age.
    pub(crate) expires: Option<u64>,
    pub(crate) marker: bool,
    /// At its own time it leaves to be published again.
    pub(crate) due: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) settings: StreamSettings,
    pub(crate) records: Vec<Record>,
    pub(crate) end: u64,
    /// All ids that ever came: when, and where.
    pub(crate) ids: Vec<(Vec<u8>, u64, u64)>,
    pub(crate) last_id: Option<Vec<u8>>,
    /// Positions of those that have left to be published again, since they were looked at.
    pub(crate) left: Vec<u64>,
}

impl Model {
    pub(crate) fn by_record(&self) -> &RecordSettings {
        self.settings.records.as_deref().expect("the stream tells records apart")
    }

    pub(crate) fn matching(&self, pattern: &Pattern) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().filter(|record| pattern.matches(&record.subject))
    }

    pub(crate) fn start(&self) -> u64 {
        self.records.first().map_or(self.end, |first| first.position)
    }

    fn of(&self, subject: &[u8]) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().filter(move |record| record.subject == subject)
    }

    fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.len).sum()
    }

    /// `Ok(Some)`: it is there already.
    pub(crate) fn decide(
        &self,
        subject: &[u8],
        len: u64,
        terms: Option<&Terms>,
        now_ms: u64,
    ) -> Result<Option<u64>, RecordRefusal> {
        let settings = self.by_record();
        if let Some(Terms { id, end, last, last_id, due, .. }) = terms {
            if due.as_ref().is_some_and(|due| due.subject == subject) {
                return Err(RecordRefusal::WrongDue);
            }
            let known = |(is, came, _): &&(Vec<u8>, u64, u64)| {
                id.as_ref().is_some_and(|id| is == id) && came + settings.dedupe_ms > now_ms
            };
            if let Some((.., position)) = self.ids.iter().rev().find(known) {
                return Ok(Some(*position));
            }
            if end.is_some_and(|end| end.0 != self.end) {
                return Err(RecordRefusal::WrongEnd { is: Position(self.end) });
            }
            if last_id.as_ref().is_some_and(|id| self.last_id.as_deref() != Some(id)) {
                return Err(RecordRefusal::WrongLastId { is: self.last_id.clone().map(Into::into) });
            }
            if let Some(LastOf { subjects, position }) = last {
                let last = match subjects {
                    Some(pattern) => self.matching(pattern).next_back(),
                    None => self.of(subject).next_back(),
                };
                let is = last.map(|last| Position(last.position));
                if is != *position {
                    return Err(RecordRefusal::WrongLast { is });
                }
            }
        }
        let Discard::New { per_subject } = settings.discard else { return Ok(None) };
        let at_subject_max =
            settings.per_subject_max.is_some_and(|max| self.of(subject).count() as u64 >= max);
        if per_subject && at_subject_max {
            return Err(RecordRefusal::PerSubjectMax);
        }
        let full = settings.records_max.is_some_and(|max| self.records.len() as u64 >= max);
        if full && (per_subject || !at_subject_max) {
            return Err(RecordRefusal::RecordsMax);
        }
        if self.settings.retention_bytes.is_some_and(|max| self.bytes() + len > max) {
            return Err(RecordRefusal::BytesMax);
        }
        Ok(None)
    }

    pub(crate) fn append(&mut self, subject: &[u8], len: u64, terms: Option<&Terms>, now_ms: u64) {
        let plain = Terms::default();
        let terms = terms.unwrap_or(&plain);
        let expires = match terms.ttl {
            Ttl::Stream => terms.due.as_ref().map(|due| due.at_ms.max(now_ms)),
            Ttl::Ms(ms) => Some(now_ms + ms),
            Ttl::Never => Some(u64::MAX),
        };
        let position = self.end;
        self.end += 1;
        let (subject, marker) = (subject.to_vec(), terms.marker);
        self.last_id = terms.id.as_ref().map(|id| id.to_vec());
        self.ids.extend(self.last_id.clone().map(|id| (id, now_ms, position)));
        match terms.rollup {
            Some(Rollup::All) => self.records.clear(),
            Some(Rollup::Subject) => self.records.retain(|record| record.subject != subject),
            None => {}
        }
        self.records.push(Record {
            position,
            subject: subject.clone(),
            len,
            came_ms: now_ms,
            expires,
            marker,
            due: terms.due.is_some(),
        });
        if let Some(max) = self.by_record().per_subject_max {
            while self.of(&subject).count() as u64 > max {
                let oldest = self.records.iter().position(|record| record.subject == subject);
                self.records.remove(oldest.expect("it has some"));
            }
        }
        self.push_out();
    }

    /// The oldest make room.
    pub(crate) fn push_out(&mut self) {
        let settings = self.by_record().clone();
        while settings.discard == Discard::Old
            && self.records.len() > 1
            && (settings.records_max.is_some_and(|max| self.records.len() as u64 > max)
                || self.settings.retention_bytes.is_some_and(|max| self.bytes() > max))
        {
            self.records.remove(0);
        }
    }

    /// What is over by time goes; the subjects whose last record it was and that get a marker.
    pub(crate) fn age(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let max = self.settings.retention_ms;
        let is_over = |record: &Record| {
            let old = max.is_some_and(|max| record.came_ms + max <= now_ms);
            record.expires.map_or(old, |at| at <= now_ms || old && at != u64::MAX)
        };
        let leaves = |record: &Record| record.due && record.expires.is_some_and(|at| at <= now_ms);
        let ended = |record: &&Record| {
            let last = self.of(&record.subject).next_back().map(|last| last.position);
            is_over(record) && !record.marker && !leaves(record) && last == Some(record.position)
        };
        let mut ended: Vec<Record> = self.records.iter().filter(ended).cloned().collect();
        if self.by_record().marker_ttl_ms.is_none() {
            ended.clear();
        }
        self.left.extend(self.records.iter().filter(|record| leaves(record)).map(|record| record.position));
        self.records.retain(|record| !is_over(record));
        ended.into_iter().map(|record| record.subject).collect()
    }
}
