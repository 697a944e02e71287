//! Live interest: who hears what is published to a subject at the moment it is published, without anything being stored (S13).
//!
//! Three parties use it. A session puts what one read of its socket brought into its outbox as [`Live`]: a batch of ranges into the bytes
//! that were read, with changes of its interest between them. The hub finds out who listens, here and on other hubs, and hands
//! [`LiveHit`]s to the listeners' sessions ([`crate::session::Session::live`]). What is published without a socket (answers, another
//! dialect's records) goes the same way as an owned [`LiveBatch`] by [`crate::op::Op::Live`].
//!
//! # Subjects and filters
//! A subject is a text of words between dots. A filter is a subject in which a word may be `*` (any one word), and the last one `>` (one
//! or more words). A subject with a word that is empty reaches nobody, and such a filter hears nothing; sessions refuse both where
//! their dialect wants it.
//!
//! What must hold: interest that a session was answered for is known to every hub before the answer leaves; hits of one publisher to
//! one subscription keep its order; a publish that nobody stores touches no shard. Not here: how a record looks on a wire, who may
//! publish or listen to which subject (the dialect, with the principal's own [`SubjectGrants`]; the hub checks the namespace's grants).

use crate::id::Ticket;
use crate::stream::records::Terms;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// What one read of a socket wants of the live path. The driver hands it to the hub before the submits of the same call, together with
/// the bytes that the session was given.
#[derive(Debug, Default)]
pub struct Live {
    /// Publishes, in order.
    pub items: Vec<LiveItem>,
    /// Items with terms, in order: what a stream that stores them does with them.
    pub terms: Vec<(u32, Terms)>,
    /// Changes of interest, in order: each with the number of items that come before it.
    pub interest: Vec<(u32, Interest)>,
    /// If set, items point into these bytes, and not into those that were read.
    pub own: Option<Bytes>,
    /// The dialect in whose wire form the items are; see [`LiveView::frames`].
    pub frames: &'static str,
    /// Of the items that something stores: if there are any, they are answered as a batch of their own, by
    /// [`crate::outcome::Outcome::Published`]. An item is awaited if it has a reply subject.
    pub ticket: Ticket,
    /// The session does not hear what it publishes itself.
    pub mute: bool,
}

impl Live {
    /// Nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.interest.is_empty()
    }

    /// What was published, to look at; `read` are the bytes that were read.
    #[must_use]
    pub fn view<'a>(&'a self, read: &'a [u8]) -> LiveView<'a> {
        let Self { items, own, frames, .. } = self;
        LiveView { bytes: own.as_deref().unwrap_or(read), shared: own.as_ref(), items, frames, receipt: None }
    }

    /// Forgets what was wanted, and keeps the memory and the session's choices.
    pub fn clear(&mut self) {
        self.items.clear();
        self.terms.clear();
        self.interest.clear();
        self.own = None;
    }
}

/// One record published live: where its parts lie in the batch's bytes. They come in the order subject, reply, headers, body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveItem {
    /// Where the subject begins, bytes.
    pub at: u32,
    /// Length of the subject, bytes.
    pub subject_len: u16,
    /// Where the reply subject begins, counted from `at`.
    pub reply_at: u16,
    /// Length of the subject on which the publisher expects an answer; 0: it expects none.
    pub reply_len: u16,
    /// Where the headers begin, counted from `at`; the body follows them at once.
    pub headers_at: u16,
    /// Length of the header block, bytes; 0: none. It is lines of text: a version, then `name: value` each, then an empty one.
    pub headers_len: u32,
    /// Length of the body, bytes.
    pub body_len: u32,
    /// If nobody hears it and nothing stores it, the publisher is told by [`crate::session::Session::unheard`].
    pub tell_unheard: bool,
    /// Length of the subject that listeners are shown in place of the one they hear by, bytes: it stands before `at`. 0: the same.
    pub shown_len: u16,
}

impl LiveItem {
    /// Where the subject is that listeners are shown.
    #[must_use]
    pub fn shown(&self) -> Range<usize> {
        let at = self.at as usize;
        if self.shown_len == 0 { self.subject() } else { at.saturating_sub(usize::from(self.shown_len))..at }
    }

    /// Where the subject is.
    #[must_use]
    pub fn subject(&self) -> Range<usize> {
        let at = self.at as usize;
        at..at + usize::from(self.subject_len)
    }

    /// Where the reply subject is; empty: there is none.
    #[must_use]
    pub fn reply(&self) -> Range<usize> {
        let at = self.at as usize + usize::from(self.reply_at);
        at..at + usize::from(self.reply_len)
    }

    /// Where the headers are; empty: there are none.
    #[must_use]
    pub fn headers(&self) -> Range<usize> {
        let at = self.at as usize + usize::from(self.headers_at);
        at..at + self.headers_len as usize
    }

    /// Where the body is.
    #[must_use]
    pub fn body(&self) -> Range<usize> {
        let at = self.headers().end;
        at..at + self.body_len as usize
    }

    /// Bytes of headers and body together.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        u64::from(self.headers_len) + u64::from(self.body_len)
    }
}

/// A change of a session's interest. Subscriptions are numbered by the session; a number may be used again once its subscription has
/// ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Hear what is published from now on.
    Subscribe(LiveSubscribe),
    /// Stop hearing: at once, or when `hits_max` were had since the subscription began (at once if that many were). No answer.
    Unsubscribe {
        /// Which.
        subscription: u32,
        /// After how many.
        hits_max: Option<u64>,
    },
    /// Be told when somebody begins or ceases to listen to this subject: now, if somebody does, and at every change, by
    /// [`crate::outcome::Wake::Interest`].
    Watch {
        /// Its number, chosen by the session.
        watch: u32,
        /// The subject; no wildcards.
        subject: Bytes,
    },
    /// Be told no more. A wake that is under way may still come.
    Unwatch {
        /// Which.
        watch: u32,
    },
}

/// A live subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSubscribe {
    /// Its number, chosen by the session, dense from 0: it is an index.
    pub subscription: u32,
    /// What to hear.
    pub filter: Bytes,
    /// Of all members of a group one hears each record, whichever filter it listens by.
    pub group: Option<Bytes>,
}

/// Live publishes with the bytes they lie in, as a hub and the listeners' sessions see them.
#[derive(Clone, Copy, Debug)]
pub struct LiveView<'a> {
    /// What the items point into.
    pub bytes: &'a [u8],
    /// The same bytes, if they can be kept without copying them.
    pub shared: Option<&'a Bytes>,
    /// In order.
    pub items: &'a [LiveItem],
    /// If this is the listener's dialect: what stands between the end of an item's subject and two bytes after its body is what a message
    /// of that dialect has there, and may be copied in one piece. Empty: the parts have to be put together.
    pub frames: &'static str,
    /// See [`LiveBatch::receipt`].
    pub receipt: Option<&'a Bytes>,
}

impl<'a> LiveView<'a> {
    /// Bytes of a range; empty if the range is not inside (which would be our mistake, not the client's).
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or(&[])
    }

    /// Item `n`.
    #[must_use]
    pub fn item(&self, n: u32) -> Option<&'a LiveItem> {
        self.items.get(n as usize)
    }
}

/// Live publishes that own their bytes: those that go to other hubs, and those that no socket brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBatch {
    /// What the items point into.
    pub bytes: Bytes,
    /// In order.
    pub items: Vec<LiveItem>,
    /// See [`LiveView::frames`].
    pub frames: &'static str,
    /// A subject: each session that hears something of the batch publishes an empty record there when (nearly) all bytes that it owed its
    /// client have left. So who publishes without a socket learns how fast it may go on. `None`: nobody wants to know.
    pub receipt: Option<Bytes>,
    /// What captures or is bound to an item's subject stores it, as if a client had published it; nobody waits for that.
    pub is_stored: bool,
}

impl LiveBatch {
    /// To look at.
    #[must_use]
    pub fn view(&self) -> LiveView<'_> {
        let Self { bytes, items, frames, receipt, is_stored: _ } = self;
        LiveView { bytes, shared: Some(bytes), items, frames, receipt: receipt.as_ref() }
    }

    /// Adds a record to `items`, and its parts to `bytes`, in the layout of [`LiveItem`]. `headers` is a whole block or empty.
    ///
    /// # Panics
    /// If subject or reply are longer than 16 KiB, or the batch becomes longer than 4 GiB: who publishes checks sizes before.
    pub fn put(
        items: &mut Vec<LiveItem>,
        bytes: &mut bytes::BytesMut,
        (subject, reply): (&[u8], &[u8]),
        (headers, body): (&[u8], &[u8]),
    ) {
        let short = |len: usize| u16::try_from(len).expect("subjects are short");
        let long = |len: usize| u32::try_from(len).expect("a batch is shorter than 4 GiB");
        items.push(LiveItem {
            at: long(bytes.len()),
            subject_len: short(subject.len()),
            reply_at: short(subject.len()),
            reply_len: short(reply.len()),
            headers_at: short(subject.len() + reply.len()),
            headers_len: long(headers.len()),
            body_len: long(body.len()),
            tell_unheard: false,
            shown_len: 0,
        });
        for part in [subject, reply, headers, body] {
            bytes.extend_from_slice(part);
        }
    }

    /// The same for a record that listeners are shown under another subject than the one they hear it by: what was stored, and is
    /// published again to where it was asked for.
    ///
    /// # Panics
    /// As [`Self::put`].
    pub fn put_as(
        items: &mut Vec<LiveItem>,
        bytes: &mut bytes::BytesMut,
        shown: &[u8],
        (subject, reply): (&[u8], &[u8]),
        (headers, body): (&[u8], &[u8]),
    ) {
        bytes.extend_from_slice(shown);
        Self::put(items, bytes, (subject, reply), (headers, body));
        if let Some(item) = items.last_mut() {
            item.shown_len = u16::try_from(shown.len()).expect("subjects are short");
        }
    }
}

/// An item of a batch for one subscription of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveHit {
    /// The session's number for its subscription.
    pub subscription: u32,
    item: u32,
}

impl LiveHit {
    const LAST: u32 = 1 << 31;

    /// Item `item` for `subscription`; `is_last`: the subscription ends with it, and its number is free.
    ///
    /// # Panics
    /// If a batch has 2^31 items.
    #[must_use]
    pub fn new(subscription: u32, item: u32, is_last: bool) -> Self {
        assert!(item < Self::LAST, "a batch has fewer than 2 Gi items");
        Self { subscription, item: if is_last { item | Self::LAST } else { item } }
    }

    /// Index into the batch's items.
    #[must_use]
    pub fn item(self) -> u32 {
        self.item & !Self::LAST
    }

    /// The subscription had as many as it wanted, and has ended.
    #[must_use]
    pub fn is_last(self) -> bool {
        self.item & Self::LAST != 0
    }
}

/// What a principal may publish to and listen to, beyond its grant in the namespace. Checked by the session that speaks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectGrants {
    /// Subjects it may publish to.
    pub publish: SubjectGrant,
    /// Filters it may listen to.
    pub listen: SubjectGrant,
    /// It may answer where it was asked, whatever else is said.
    pub answers: Option<Answers>,
}

/// Allowed and denied filters. What is denied is denied, although it is allowed too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectGrant {
    /// `None`: everything that is not denied.
    pub allow: Option<Vec<SubjectFilter>>,
    /// What is not allowed.
    pub deny: Vec<SubjectFilter>,
}

/// A filter, which may be for members of a group only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectFilter {
    /// The filter.
    pub filter: Arc<str>,
    /// `Some`: for members of groups whose name this filter matches, and for nobody else.
    pub group: Option<Arc<str>>,
}

/// How a principal may answer requests that it heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// At most so many to each request; `None`: any number.
    pub count_max: Option<u32>,
    /// Not after so many milliseconds; `None`: at any time.
    pub ms_max: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn what_was_put_into_a_batch_is_where_its_item_says() {
        let (mut items, mut bytes) = (Vec::new(), BytesMut::new());
        LiveBatch::put(&mut items, &mut bytes, (b"a.b", b""), (b"", b"one"));
        LiveBatch::put(&mut items, &mut bytes, (b"c", b"re.ply"), (b"H/1\r\n\r\n", b"two"));
        let batch = LiveBatch { bytes: bytes.freeze(), items, ..LiveBatch::default() };
        let view = batch.view();
        let parts = |n| {
            let item = view.item(n).unwrap();
            [item.subject(), item.reply(), item.headers(), item.body()].map(|range| view.slice(range))
        };
        assert_eq!(parts(0), [&b"a.b"[..], b"", b"", b"one"]);
        assert_eq!(parts(1), [&b"c"[..], b"re.ply", b"H/1\r\n\r\n", b"two"]);
        assert_eq!(view.item(2), None);
    }

    #[test]
    fn a_hit_tells_its_item_and_whether_it_is_the_last() {
        for (item, is_last) in [(0, false), (0, true), (LiveHit::LAST - 1, false), (LiveHit::LAST - 1, true)]
        {
            let hit = LiveHit::new(7, item, is_last);
            assert_eq!((hit.item(), hit.is_last()), (item, is_last));
        }
    }
}
