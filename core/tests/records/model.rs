//! A stream that tells its records apart: a list of records, looked through from the front each time.

use stele_model::id::Position;
use stele_model::repeat::Repeat;
use stele_model::stream::StreamSettings;
use stele_model::stream::due::{Due, How, When};
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
    /// It waits to be published again.
    pub(crate) due: Option<Waits>,
}

/// When a record is published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) at_ms: u64,
    /// And so long after, whole seconds; `None`: once, then it is gone.
    pub(crate) every_ms: Option<u64>,
    /// Once, as it is: it is published before it goes by age.
    pub(crate) plain: bool,
}

impl Waits {
    fn of(terms: &Terms, now_ms: u64) -> Option<Self> {
        let Due { when, how, .. } = terms.due.as_ref()?;
        let (at_ms, every_ms) = match when {
            When::At(at_ms) => (*at_ms, None),
            When::Each(Repeat::Every(ms)) => ((now_ms + 500) / 1000 * 1000 + ms, Some(*ms)),
            When::Each(Repeat::Clock(_)) => unreachable!("nobody sends one"),
        };
        let plain = every_ms.is_none() && *how == How::default() && terms.ttl == Ttl::Stream;
        Some(Self { at_ms: at_ms.max(now_ms), every_ms, plain })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) settings: StreamSettings,
    pub(crate) records: Vec<Record>,
    pub(crate) end: u64,
    /// All ids that ever came: when, and where.
    pub(crate) ids: Vec<(Vec<u8>, u64, u64)>,
    pub(crate) last_id: Option<Vec<u8>>,
    /// Positions of those that were published again, since they were looked at.
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
        if let Some(Terms { id, end, last, last_id, due, ends, .. }) = terms {
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
            if let Some(ends) = ends {
                let waits = self.of(ends).next_back().is_none_or(|last| last.due.is_some());
                if !waits || ends == subject {
                    return Err(RecordRefusal::NotDue);
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
            Ttl::Stream => None,
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
            due: Waits::of(terms, now_ms),
        });
        let last = terms.ends.as_ref().and_then(|ends| self.of(ends).next_back());
        if let Some(ended) = last.filter(|last| last.due.is_some()).map(|last| last.position) {
            self.records.retain(|record| record.position != ended);
        }
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

    /// What is over by time goes, and what waits for its time is published; the subjects whose last record went and that get a marker.
    pub(crate) fn age(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let max = self.settings.retention_ms;
        let is_last = |record: &Record| {
            self.of(&record.subject).next_back().is_some_and(|last| last.position == record.position)
        };
        let comes = |record: &Record| record.due.filter(|due| due.at_ms <= now_ms);
        let is_over = |record: &Record| {
            let old = max.is_some_and(|max| record.came_ms + max <= now_ms);
            let gone = record.expires.map_or(old, |at| at <= now_ms || old && at != u64::MAX);
            let saved = comes(record).is_some_and(|due| due.plain);
            (gone && !saved) || comes(record).is_some_and(|_| !is_last(record))
        };
        let (over, mut rest): (Vec<Record>, Vec<Record>) = self.records.iter().cloned().partition(is_over);
        let ended = over.into_iter().filter(|record| !record.marker && is_last(record));
        let mut ended: Vec<Vec<u8>> = ended.map(|record| record.subject).collect();
        if self.by_record().marker_ttl_ms.is_none() {
            ended.clear();
        }
        for record in &mut rest {
            while let Some(due) = record.due.as_mut().filter(|due| due.at_ms <= now_ms) {
                self.left.push(record.position);
                match due.every_ms {
                    None => record.due = None,
                    Some(every) => {
                        let next = |ms: u64| (ms + 500) / 1000 * 1000 + every;
                        let at_ms = next(due.at_ms);
                        due.at_ms = if at_ms < now_ms { next(now_ms) } else { at_ms };
                    }
                }
            }
        }
        let published = |record: &Record| self.left.contains(&record.position);
        rest.retain(|record| record.due.is_some() || !published(record));
        self.records = rest;
        ended
    }
}
