//! The remaining JSON requests of the API; those about configurations are [`super::stream::StreamConfig`] and
//! [`super::consumer_check::CreateConsumer`].

use super::error::{ApiError, Code};
use super::pull::Status;
use super::time::Time;
use serde::Deserialize;

/// A page of a listing, optionally filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Page {
    /// Entries to pass over; below 0 stands for 0.
    pub offset: i64,
    /// Only streams that capture something of this.
    pub subject: String,
}

impl Page {
    /// Entries to pass over, of `total`.
    #[must_use]
    pub fn offset(&self, total: usize) -> usize {
        usize::try_from(self.offset).unwrap_or(0).min(total)
    }
}

/// A page of a listing of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumersPage {
    /// Entries to pass over; below 0 stands for 0.
    pub offset: i64,
}

/// Who loses its pin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnpinRequest {
    /// Of which priority group.
    pub group: String,
}

impl UnpinRequest {
    /// Whether there could be such a group.
    ///
    /// # Errors
    /// If none is named, or none can be called so.
    pub fn check_name(&self) -> Result<(), ApiError> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_/=)+".contains(c);
        if self.group.is_empty() {
            return Err(Code::InvalidJson.with("consumer group not specified"));
        }
        if self.group.len() > 16 || !self.group.chars().all(is_letter) {
            return Err(Code::ConsumerInvalidGroupName.error());
        }
        Ok(())
    }
}

/// What is to be told of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamInfoRequest {
    /// Subjects to pass over.
    pub offset: i64,
    /// Tell which sequences are gone.
    pub deleted_details: bool,
    /// Tell how many messages these subjects have.
    pub subjects_filter: String,
}

/// What is to be purged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PurgeRequest {
    /// Only below this sequence; 0: all.
    pub seq: u64,
    /// Only these subjects.
    pub filter: String,
    /// All but so many.
    pub keep: u64,
}

impl PurgeRequest {
    /// # Errors
    /// If both bounds are given.
    pub fn check(&self) -> Result<(), ApiError> {
        if self.seq > 0 && self.keep > 0 { Err(Code::BadRequest.error()) } else { Ok(()) }
    }
}

/// A message to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeleteRequest {
    /// Which.
    pub seq: u64,
    /// Its bytes need not be overwritten. They never are at once, so this changes nothing.
    pub no_erase: bool,
}

/// A message, or several, to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GetRequest {
    /// This one; or where to begin.
    pub seq: u64,
    /// The last one of this subject.
    pub last_by_subj: String,
    /// The next one of this subject.
    pub next_by_subj: String,
    /// How many.
    pub batch: i64,
    /// How many bytes.
    pub max_bytes: i64,
    /// The first one stored then or later.
    pub start_time: Option<Time>,
    /// The last ones of these subjects.
    pub multi_last: Vec<String>,
    /// Nothing above.
    pub up_to_seq: u64,
    /// Nothing later.
    pub up_to_time: Option<Time>,
    /// Without headers.
    pub no_hdr: bool,
}

/// Which message is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// This one.
    Seq(u64),
    /// The last one of a subject or pattern.
    Last(&'a str),
    /// The first one of a subject or pattern at or behind a place.
    Next {
        /// The pattern.
        subject: &'a str,
        /// The place.
        from: From,
    },
    /// The first one at or behind a place.
    First(From),
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A sequence; 0: the first.
    Seq(u64),
    /// When it was stored.
    Time(Time),
}

impl GetRequest {
    /// For a request that is answered by JSON.
    ///
    /// # Errors
    /// If it names none or several messages.
    pub fn one(&self) -> Result<Which<'_>, ApiError> {
        let several = self.batch > 0 || self.max_bytes > 0;
        match self.which() {
            Some(which) if !several => Ok(which),
            _ => Err(Code::BadRequest.error()),
        }
    }

    fn which(&self) -> Option<Which<'_>> {
        let (last, next) = (&self.last_by_subj, &self.next_by_subj);
        let contradiction = (self.seq > 0 && !last.is_empty())
            || (self.start_time.is_some() && (self.seq > 0 || !last.is_empty()))
            || (!last.is_empty() && !next.is_empty());
        let from = self.start_time.map_or(From::Seq(self.seq), From::Time);
        match () {
            () if contradiction => None,
            () if !next.is_empty() => Some(Which::Next { subject: next, from }),
            () if !last.is_empty() => Some(Which::Last(last)),
            () if self.start_time.is_some() => Some(Which::First(from)),
            () if self.seq > 0 => Some(Which::Seq(self.seq)),
            () => None,
        }
    }

    /// For a request that is answered by the message itself. `subject`: of the request's own subject.
    ///
    /// # Errors
    /// The status to answer with.
    pub fn direct<'a>(&'a self, subject: Option<&'a str>) -> Result<Direct<'a>, Status> {
        let bad = || Status::new(408, "Bad Request");
        if let Some(subject) = subject {
            let plain = Self { no_hdr: self.no_hdr, max_bytes: self.max_bytes, ..Self::default() };
            let is_one = *self == plain && !subject.is_empty();
            return if is_one { Ok(Direct::One(Which::Last(subject))) } else { Err(bad()) };
        }
        let multi = !self.multi_last.is_empty();
        let said = self.seq > 0 || multi || self.start_time.is_some();
        if !said && self.last_by_subj.is_empty() && self.next_by_subj.is_empty() {
            return Err(Status::new(408, "Empty Request"));
        }
        let contradiction = (!self.last_by_subj.is_empty() && (self.batch > 0 || multi))
            || (!self.next_by_subj.is_empty() && multi)
            || (self.up_to_seq > 0 && self.up_to_time.is_some());
        match self.which() {
            _ if contradiction => Err(bad()),
            _ if multi => Ok(Direct::Lasts),
            Some(Which::Last(_)) if self.batch > 0 => Err(bad()),
            Some(which) if self.batch > 0 => Ok(Direct::Batch(which)),
            Some(which) => Ok(Direct::One(which)),
            None => Err(bad()),
        }
    }
}

/// What is to be answered by messages themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direct<'a> {
    /// One.
    One(Which<'a>),
    /// Several in a row, from this one on; [`GetRequest::batch`] says how many.
    Batch(Which<'a>),
    /// The last ones of [`GetRequest::multi_last`].
    Lasts,
}

/// Until when a consumer delivers nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PauseRequest {
    /// Unset, or past: not at all.
    pub pause_until: Time,
}

/// Where a consumer begins again. As nats-server reads it: of all requests in this one unknown fields mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ResetRequest {
    /// 0: behind what is acknowledged.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    #[test]
    fn a_get_names_one_message() {
        let read = |text: &str| json::read::<GetRequest>(text.as_bytes()).unwrap();
        let seq = read(r#"{"seq":3}"#);
        assert_eq!(seq.one(), Ok(Which::Seq(3)));
        let next = read(r#"{"seq":3,"next_by_subj":"a.>"}"#);
        assert_eq!(next.one(), Ok(Which::Next { subject: "a.>", from: From::Seq(3) }));
        for wrong in ["{}", r#"{"seq":3,"last_by_subj":"a"}"#, r#"{"seq":3,"batch":2}"#] {
            assert_eq!(read(wrong).one().unwrap_err().err_code, 10003, "{wrong}");
        }
    }

    #[test]
    fn a_pin_is_taken_from_a_group_that_could_be() {
        let check =
            |group: &str| UnpinRequest { group: group.to_owned() }.check_name().map_err(|of| of.err_code);
        assert_eq!([check("a-1"), check(""), check("a b")], [Ok(()), Err(10025), Err(10162)]);
        assert_eq!(check("12345678901234567"), Err(10162));
    }

    #[test]
    fn a_direct_get_by_subject_says_nothing_else() {
        let none = GetRequest::default();
        assert_eq!(none.direct(Some("a")), Ok(Direct::One(Which::Last("a"))));
        assert_eq!(none.direct(None).unwrap_err().text, "Empty Request");
        let seq = GetRequest { seq: 1, ..GetRequest::default() };
        assert_eq!(seq.direct(Some("a")).unwrap_err().text, "Bad Request");
        assert_eq!(seq.direct(None), Ok(Direct::One(Which::Seq(1))));
        assert_eq!(GetRequest { batch: 2, ..seq }.direct(None), Ok(Direct::Batch(Which::Seq(1))));
        let lasts = GetRequest { multi_last: vec!["a".to_owned()], ..GetRequest::default() };
        assert_eq!(lasts.direct(None), Ok(Direct::Lasts));
        let both = GetRequest { next_by_subj: "b".to_owned(), ..lasts };
        assert_eq!(both.direct(None).unwrap_err().text, "Bad Request");
        let last = GetRequest { last_by_subj: "a".to_owned(), batch: 2, ..GetRequest::default() };
        assert_eq!(last.direct(None).unwrap_err().text, "Bad Request");
    }
}
