//! Where a record has died before: the part of a record that dead-lettering writes, in dialect-free form.
//!
//! Called by the core and the hub when they move a record ([`with_death`], [`History::cycles`]), by dialects when they show
//! one (AMQP: `x-death`, `x-first-death-*`, `x-last-death-*`). The rules are RabbitMQ's: newest first; the same (queue,
//! reason) again adds to the count, moves to the front and keeps the rest; what is said of the first death is said once.
//!
//! # Layout, version 1
//! Little endian. `str` is a u16 length and its bytes.
//!
//! | type | field |
//! |---|---|
//! | u8 | version, 1 |
//! | u8 | flags: bit 0, the key was replaced by a dead-letter key, so that CC and hidden keys count no more |
//! | u16 | number of hidden keys (AMQP: BCC), routed by and shown to nobody |
//! | u16 | number of deaths, at most [`DEATHS_MAX`] |
//! | str … | hidden keys |
//! | u8, str, str | reason, queue, exchange of the first death; absent without deaths |
//! | str | exchange of the last death; absent without deaths |
//! | … | deaths, newest first: u8 reason, u64 count, u64 seconds since the Unix epoch of the first such death, u32 time to live then in ms or `TTL_NONE`, str queue, str exchange, u16 number of keys, str … keys |
//!
//! Not here: which target a record goes to, and when (core, hub).

use crate::table::Value;
use crate::{Damage, Draft, TTL_NONE, View};
use bytes::{BufMut, BytesMut};

const VERSION: u8 = 1;
const FLAG_KEY_REPLACED: u8 = 1;

/// Most deaths that are kept; beyond it the oldest is forgotten. Each is another pair of queue and reason.
pub const DEATHS_MAX: u16 = 256;

/// Why a record left a queue without being accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Reason {
    /// A consumer rejected it.
    Rejected = 1,
    /// Its time to live, or the queue's, was over.
    Expired = 2,
    /// The queue was full.
    Maxlen = 3,
    /// It was delivered too often.
    DeliveryLimit = 4,
}

impl Reason {
    /// The reason as RabbitMQ spells it in `x-death`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Maxlen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }

    fn of(byte: u8) -> Result<Self, Damage> {
        match byte {
            1 => Ok(Self::Rejected),
            2 => Ok(Self::Expired),
            3 => Ok(Self::Maxlen),
            4 => Ok(Self::DeliveryLimit),
            _ => Err(Damage::Value("reason of a death")),
        }
    }
}

/// All deaths in one queue for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death<'a> {
    /// Name of the queue.
    pub queue: &'a [u8],
    /// Why.
    pub reason: Reason,
    /// How often.
    pub count: u64,
    /// When for the first time, seconds since the Unix epoch.
    pub time_s: u64,
    /// The record's own time to live in ms at the first time.
    pub ttl_ms: Option<u32>,
    /// Exchange it had been published to at the first time.
    pub exchange: &'a [u8],
    keys: Strings<'a>,
}

impl<'a> Death<'a> {
    /// Keys it had been published with at the first time, without hidden ones.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.keys
    }
}

/// What is said of the first or the last death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// Name of the queue.
    pub queue: &'a [u8],
    /// Why.
    pub reason: Reason,
    /// Exchange the record had been published to.
    pub exchange: &'a [u8],
}

/// The history of one record. Checked whole when it is parsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    flags: u8,
    hidden: Strings<'a>,
    count: u16,
    first: Option<Circumstances<'a>>,
    last_exchange: &'a [u8],
    deaths: &'a [u8],
}

impl<'a> History<'a> {
    /// Reads the history that `bytes` are, exactly. No bytes are a history without deaths.
    ///
    /// # Errors
    /// [`Damage`], whatever is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut input = Input(bytes);
        let [version, flags] = input.array()?;
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        if flags & !FLAG_KEY_REPLACED != 0 {
            return Err(Damage::Value("flags of a history"));
        }
        let hidden = u16::from_le_bytes(input.array()?);
        let count = u16::from_le_bytes(input.array()?);
        let hidden = input.strings(hidden)?;
        let mut history = Self { flags, hidden, count, first: None, last_exchange: &[], deaths: &[] };
        if count > 0 {
            let [reason] = input.array()?;
            history.first = Some(Circumstances {
                reason: Reason::of(reason)?,
                queue: input.string()?,
                exchange: input.string()?,
            });
            history.last_exchange = input.string()?;
        }
        history.deaths = input.0;
        for _ in 0..count {
            input.death()?;
        }
        if input.0.is_empty() { Ok(history) } else { Err(Damage::Long) }
    }

    /// The deaths, newest first.
    #[must_use]
    pub fn deaths(&self) -> Deaths<'a> {
        Deaths { left: self.count, input: Input(self.deaths) }
    }

    /// Whether there is no death.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first death of all.
    #[must_use]
    pub fn first(&self) -> Option<Circumstances<'a>> {
        self.first
    }

    /// The last death of all.
    #[must_use]
    pub fn last(&self) -> Option<Circumstances<'a>> {
        let newest = self.deaths().next()?;
        Some(Circumstances { queue: newest.queue, reason: newest.reason, exchange: self.last_exchange })
    }

    /// Keys that are routed by and shown to nobody.
    pub fn hidden_keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.hidden
    }

    /// Whether a dead-letter key took the place of the publisher's keys.
    #[must_use]
    pub fn key_replaced(&self) -> bool {
        self.flags & FLAG_KEY_REPLACED != 0
    }

    /// Whether a record with this history (its newest death included) must not enter `queue`: it died there before, and nobody
    /// has rejected it since, so that it would go round for ever without anybody's doing.
    #[must_use]
    pub fn cycles(&self, queue: &[u8]) -> bool {
        for death in self.deaths() {
            if death.reason == Reason::Rejected {
                return false;
            }
            if death.queue == queue {
                return true;
            }
        }
        false
    }
}

/// Iterator over deaths, newest first.
#[derive(Clone, Debug)]
pub struct Deaths<'a> {
    left: u16,
    input: Input<'a>,
}

impl<'a> Iterator for Deaths<'a> {
    type Item = Death<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.input.death().ok()
    }
}

/// A death that happens now.
#[derive(Clone, Copy, Debug)]
pub struct Dying<'a> {
    /// Name of the queue it dies in.
    pub queue: &'a [u8],
    /// Why.
    pub reason: Reason,
    /// Now, seconds since the Unix epoch.
    pub time_s: u64,
}

/// Appends to `out` the record that `view` becomes when it is dead-lettered: published to `exchange` with `key`, or with the
/// keys it has if there is no dead-letter key; without its own time to live; with one death more in its history. Properties,
/// body, priority and time stay. Exchange and key come from arguments of any length: what is beyond 65 535 bytes is cut (and
/// nothing of such a name exists).
///
/// # Errors
/// [`Damage`] if the history of `view` is damaged; nothing is written then.
pub fn with_death(
    view: &View<'_>,
    dying: Dying<'_>,
    exchange: &[u8],
    key: Option<&[u8]>,
    out: &mut BytesMut,
) -> Result<(), Damage> {
    let history = view.history()?;
    let mut bytes = BytesMut::with_capacity(view.history_bytes().len() + 256);
    put_with_death(view, &history, dying, key.is_some(), &mut bytes);
    let draft = Draft {
        ttl_ms: None,
        exchange: cut(exchange),
        key: cut(key.unwrap_or(view.key())),
        history: &bytes,
        ..Draft::of(view)
    };
    draft.write(view.body(), out);
    Ok(())
}

/// Appends the history of a new record that has hidden keys.
///
/// # Panics
/// If there are more than 65 535 keys, or one has more bytes than that.
pub fn put_hidden_keys(keys: &[&[u8]], out: &mut BytesMut) {
    out.put_slice(&[VERSION, 0]);
    out.put_u16_le(u16::try_from(keys.len()).expect("the dialect bounds the number of keys"));
    out.put_u16_le(0);
    keys.iter().for_each(|key| put_string(key, out));
}

/// All keys the record is to be routed by: its key, those in the header `CC`, hidden ones.
pub fn routing_keys<'a>(view: &View<'a>, history: &History<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let hidden = (!history.key_replaced()).then(|| history.hidden_keys());
    shown_keys(view, history).chain(hidden.into_iter().flatten())
}

/// The keys that a death is noted with: without hidden ones.
fn shown_keys<'a>(view: &View<'a>, history: &History<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let copies = if history.key_replaced() { None } else { view.headers_table().find(b"CC") };
    let copies = match copies {
        Some(Value::Array(array)) => Some(array.values()),
        _ => None,
    };
    let copies = copies.into_iter().flatten().filter_map(|value| match value {
        Value::Str(key) => Some(key),
        _ => None,
    });
    std::iter::once(view.key()).chain(copies)
}

fn put_with_death(
    view: &View<'_>,
    history: &History<'_>,
    dying: Dying<'_>,
    key_replaced: bool,
    out: &mut BytesMut,
) {
    let is_same = |death: &Death<'_>| death.queue == dying.queue && death.reason == dying.reason;
    let before = history.deaths().find(is_same);
    let others = history.deaths().filter(|death| !is_same(death)).take(usize::from(DEATHS_MAX) - 1);
    let flags = if key_replaced { FLAG_KEY_REPLACED } else { history.flags };
    out.put_slice(&[VERSION, flags]);
    out.put_u16_le(history.hidden.left);
    out.put_u16_le(1 + u16::try_from(others.clone().count()).expect("fewer than the most"));
    history.hidden_keys().for_each(|key| put_string(key, out));
    let now = Circumstances { queue: dying.queue, reason: dying.reason, exchange: view.exchange() };
    let first = history.first().unwrap_or(now);
    out.put_u8(first.reason as u8);
    put_string(first.queue, out);
    put_string(first.exchange, out);
    put_string(now.exchange, out);
    match before {
        Some(death) => put_death(&Death { count: death.count.saturating_add(1), ..death }, death.keys, out),
        None => {
            let death = Death {
                queue: dying.queue,
                reason: dying.reason,
                count: 1,
                time_s: dying.time_s,
                ttl_ms: view.ttl_ms(),
                exchange: view.exchange(),
                keys: Strings::default(),
            };
            put_death(&death, shown_keys(view, history), out);
        }
    }
    others.for_each(|death| put_death(&death, death.keys, out));
}

fn put_death<'a>(death: &Death<'_>, keys: impl Iterator<Item = &'a [u8]>, out: &mut BytesMut) {
    out.put_u8(death.reason as u8);
    out.put_u64_le(death.count);
    out.put_u64_le(death.time_s);
    out.put_u32_le(death.ttl_ms.unwrap_or(TTL_NONE));
    put_string(death.queue, out);
    put_string(death.exchange, out);
    let at = out.len();
    out.put_u16_le(0);
    let mut count = 0_u16;
    for key in keys.take(usize::from(u16::MAX)) {
        put_string(key, out);
        count += 1;
    }
    out[at..at + 2].copy_from_slice(&count.to_le_bytes());
}

/// A name longer than a length field can say is cut: AMQP's are at most 255 bytes, but an entry of `CC` may be of any length
/// (and then matches nothing).
fn put_string(string: &[u8], out: &mut BytesMut) {
    let string = cut(string);
    out.put_u16_le(u16::try_from(string.len()).expect("it was cut"));
    out.put_slice(string);
}

fn cut(string: &[u8]) -> &[u8] {
    string.get(..usize::from(u16::MAX)).unwrap_or(string)
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Damage::Short("history"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn string(&mut self) -> Result<&'a [u8], Damage> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (string, rest) = self.0.split_at_checked(len).ok_or(Damage::Short("history"))?;
        self.0 = rest;
        Ok(string)
    }

    fn strings(&mut self, count: u16) -> Result<Strings<'a>, Damage> {
        let strings = Strings { left: count, input: self.0 };
        for _ in 0..count {
            self.string()?;
        }
        Ok(strings)
    }

    fn death(&mut self) -> Result<Death<'a>, Damage> {
        let [reason] = self.array()?;
        let count = u64::from_le_bytes(self.array()?);
        let time_s = u64::from_le_bytes(self.array()?);
        let ttl_ms = u32::from_le_bytes(self.array()?);
        let queue = self.string()?;
        let exchange = self.string()?;
        let keys = u16::from_le_bytes(self.array()?);
        Ok(Death {
            queue,
            reason: Reason::of(reason)?,
            count,
            time_s,
            ttl_ms: (ttl_ms != TTL_NONE).then_some(ttl_ms),
            exchange,
            keys: self.strings(keys)?,
        })
    }
}

/// Strings that were walked over once before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Strings<'a> {
    left: u16,
    input: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut input = Input(self.input);
        let string = input.string().ok()?;
        self.input = input.0;
        Some(string)
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
