//! What a shard logs: the bytes of its entries.
//!
//! Called by the shard's verbs (writing) and by `apply` (reading). The layout is a document first: `docs/format-entries.md`, and a
//! golden test below holds both to it. What must hold: publish entries are readable for ever, others for one replay window (S35);
//! reading borrows, is bounded, and never panics.

use super::bytes::{Input, Runs, put_runs};
use super::group::{self, GroupEntry};
use super::share::{self, ShareEntry};
use super::spec;
use super::stream::{StreamEntry, marks};
use crate::stream::records::Marks;
use bytes::BufMut;
use stele_model::id::{Boot, Position, QueueId, Revision, ShardId};
use stele_model::publish::LinkNumber;
use stele_model::queue::QueueSpec;
use stele_model::settle::{How, Run};
use stele_model::shard::DeathReason;

/// Version of every kind of entry.
const VERSION: u8 = 1;
/// Kinds of entries.
mod kind {
    pub(super) const PUBLISH: u8 = 1;
    pub(super) const SETTLE: u8 = 2;
    pub(super) const ASSIGN: u8 = 3;
    pub(super) const REMOVED: u8 = 4;
    pub(super) const PURGED: u8 = 5;
    pub(super) const MOVING: u8 = 6;
    pub(super) const MOVED: u8 = 7;
    pub(super) const PUT: u8 = 8;
    pub(super) const DROPPED: u8 = 9;
    pub(super) const CLOSING: u8 = 10;
    pub(super) const OWNERS_GONE: u8 = 11;
    pub(super) const SYNCED: u8 = 12;
    pub(super) const STARTED: u8 = 13;
}
/// Bit in the position of a publish entry's target: the queue refused the record, which goes to its dead letters (S6).
const DIVERTED: u64 = 1 << 63;
/// Flags of a publish entry.
const LINKED: u8 = 1;
const MARKED: u8 = 2;
const BUNDLE: u8 = 4;
/// Bytes of a run's head and of each of its targets in a publish entry.
pub(crate) const PUBLISH_RUN_BYTES: usize = 12;
/// See [`PUBLISH_RUN_BYTES`].
pub(crate) const PUBLISH_TARGET_BYTES: usize = 16;
/// Bytes of a publish entry before its runs, with a link.
pub(crate) const PUBLISH_HEAD_BYTES: usize = 18;

/// Why records are gone without a settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Delivered to a reader that settles nothing.
    Delivered,
    /// To make room.
    DropHead,
    /// Their time was over.
    Expired,
    /// Their deliveries failed too often.
    DeliveryLimit,
}

/// One entry, borrowed from the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry<'a> {
    Publish(Publish<'a>),
    Settle { queue: QueueId, how: How, runs: Runs<'a> },
    Assign { queue: QueueId, runs: Runs<'a> },
    Removed { queue: QueueId, why: Why, runs: Runs<'a> },
    Purged { queue: QueueId },
    Moving { number: u64, queue: QueueId, reason: DeathReason, runs: Runs<'a> },
    Moved { number: u64 },
    Put { revision: Revision, spec: Box<QueueSpec> },
    Dropped { revision: Revision, queue: QueueId },
    Closing { queue: QueueId },
    OwnersGone { boot: Boot },
    Synced { revision: Revision, boot: Boot },
    Started,
    Group(GroupEntry),
    Share(ShareEntry<'a>),
    Stream(StreamEntry<'a>),
}

/// Records and where they went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish<'a> {
    pub(crate) link: Option<LinkNumber>,
    /// Terms of its only record.
    pub(crate) marks: Option<Marks<'a>>,
    /// Terms of each record of its only run: a bundle.
    pub(crate) bundle: Option<Vec<Marks<'a>>>,
    runs: Vec<PublishRun<'a>>,
    /// Offset of the first record in the entry.
    pub(crate) records_at: u32,
}

/// Neighbours that went to the same queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublishRun<'a> {
    /// How many records.
    pub(crate) count: u32,
    /// They, back to back.
    pub(crate) records: &'a [u8],
    targets: &'a [[u8; PUBLISH_TARGET_BYTES]],
}

/// A queue that a run went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) queue: QueueId,
    /// Position of the run's first record.
    pub(crate) first: Position,
    /// Not into the queue, but to its dead letters.
    pub(crate) diverted: bool,
}

impl<'a> Publish<'a> {
    pub(crate) fn runs(&self) -> impl Iterator<Item = &PublishRun<'a>> {
        self.runs.iter()
    }
}

impl<'a> PublishRun<'a> {
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> + use<'a> {
        self.targets.iter().map(|bytes| {
            let [q0, q1, q2, q3, q4, q5, q6, q7, first @ ..] = *bytes;
            let first = u64::from_le_bytes(first);
            Target {
                queue: QueueId(u64::from_le_bytes([q0, q1, q2, q3, q4, q5, q6, q7])),
                first: Position(first & !DIVERTED),
                diverted: first & DIVERTED != 0,
            }
        })
    }
}

/// Begins a publish entry; then, for each run, [`put_publish_run`]; then the records.
pub(crate) fn begin_publish(out: &mut Vec<u8>, link: Option<LinkNumber>, runs: u32) {
    out.clear();
    out.put_slice(&[kind::PUBLISH, VERSION, if link.is_some() { LINKED } else { 0 }, 0]);
    out.put_u32_le(runs);
    if let Some(link) = link {
        out.put_u16_le(link.from.0);
        out.put_u64_le(link.number);
    }
}

/// Appends the head of a run and its targets.
pub(crate) fn put_publish_run(out: &mut Vec<u8>, count: u32, bytes: u32, targets: &[Target]) {
    out.put_u32_le(count);
    out.put_u32_le(bytes);
    out.put_u32_le(targets.len() as u32);
    for target in targets {
        out.put_u64_le(target.queue.0);
        out.put_u64_le(target.first.0 | if target.diverted { DIVERTED } else { 0 });
    }
}

/// Appends the terms of each record of a bundle, behind the only run of a publish entry.
pub(crate) fn put_bundle(out: &mut Vec<u8>, of: &[Marks<'_>]) {
    if let Some(flags) = out.get_mut(2) {
        *flags |= BUNDLE;
    }
    of.iter().for_each(|of| marks::put(out, of));
}

/// Appends the terms of the only record of a publish entry, behind its run.
pub(crate) fn put_marks(out: &mut Vec<u8>, of: &Marks<'_>) {
    if let Some(flags) = out.get_mut(2) {
        *flags |= MARKED;
    }
    marks::put(out, of);
}

pub(crate) fn put_settle(out: &mut Vec<u8>, queue: QueueId, how: How, runs: &[Run]) {
    let how = match how {
        How::Accept => 1,
        How::Reject => 2,
        How::Release { seen, counted } => 4 | u8::from(seen) | u8::from(counted) << 1,
    };
    put_runs_of(out, kind::SETTLE, how, queue, runs);
}

pub(crate) fn put_assign(out: &mut Vec<u8>, queue: QueueId, runs: &[Run]) {
    put_runs_of(out, kind::ASSIGN, 0, queue, runs);
}

pub(crate) fn put_removed(out: &mut Vec<u8>, queue: QueueId, why: Why, runs: &[Run]) {
    let why = match why {
        Why::Delivered => 1,
        Why::DropHead => 2,
        Why::Expired => 3,
        Why::DeliveryLimit => 4,
    };
    put_runs_of(out, kind::REMOVED, why, queue, runs);
}

pub(crate) fn put_moving(out: &mut Vec<u8>, number: u64, queue: QueueId, reason: DeathReason, runs: &[Run]) {
    let reason = match reason {
        DeathReason::Rejected => 1,
        DeathReason::Expired => 2,
        DeathReason::MaxLength => 3,
        DeathReason::DeliveryLimit => 4,
    };
    begin(out, kind::MOVING, reason);
    out.put_u64_le(queue.0);
    out.put_u64_le(number);
    put_runs(out, runs);
}

/// Appends an entry of one of the kinds that are head and runs.
fn put_runs_of(out: &mut Vec<u8>, kind: u8, detail: u8, queue: QueueId, runs: &[Run]) {
    begin(out, kind, detail);
    out.put_u64_le(queue.0);
    put_runs(out, runs);
}

pub(crate) fn put_purged(out: &mut Vec<u8>, queue: QueueId) {
    begin(out, kind::PURGED, 0);
    out.put_u64_le(queue.0);
}

pub(crate) fn put_moved(out: &mut Vec<u8>, number: u64) {
    begin(out, kind::MOVED, 0);
    out.put_u64_le(number);
}

pub(crate) fn put_put(out: &mut Vec<u8>, revision: Revision, of: &QueueSpec) {
    begin(out, kind::PUT, 0);
    out.put_u64_le(revision.0);
    spec::put(out, of);
}

pub(crate) fn put_dropped(out: &mut Vec<u8>, revision: Revision, queue: QueueId) {
    begin(out, kind::DROPPED, 0);
    out.put_u64_le(queue.0);
    out.put_u64_le(revision.0);
}

pub(crate) fn put_closing(out: &mut Vec<u8>, queue: QueueId) {
    begin(out, kind::CLOSING, 0);
    out.put_u64_le(queue.0);
}

pub(crate) fn put_owners_gone(out: &mut Vec<u8>, boot: Boot) {
    begin(out, kind::OWNERS_GONE, 0);
    out.put_u64_le(boot.0);
}

pub(crate) fn put_synced(out: &mut Vec<u8>, revision: Revision, boot: Boot) {
    begin(out, kind::SYNCED, 0);
    out.put_u64_le(revision.0);
    out.put_u64_le(boot.0);
}

pub(crate) fn put_started(out: &mut Vec<u8>) {
    begin(out, kind::STARTED, 0);
}

/// Begins an entry of this kind.
pub(crate) fn begin(out: &mut Vec<u8>, kind: u8, detail: u8) {
    out.clear();
    out.put_slice(&[kind, VERSION, detail, 0]);
}

impl<'a> Entry<'a> {
    /// Reads the entry that `bytes` are, exactly.
    ///
    /// # Errors
    /// What is wrong with it, fit to stand after "the entry".
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut input = Input(bytes);
        let kind = input.u8("kind")?;
        let version = input.u8("version")?;
        let detail = input.u8("detail")?;
        let zero = input.u8("detail")?;
        if version != VERSION || zero != 0 {
            return Err(format!("is of version {version}, kind {kind}"));
        }
        if kind == kind::PUBLISH {
            return publish(bytes.len(), detail, input);
        }
        let of_runs = matches!(kind, kind::SETTLE | kind::ASSIGN | kind::REMOVED | kind::MOVING);
        if !of_runs && detail != 0 {
            return Err(format!("has detail {detail}, kind {kind}"));
        }
        if let Some(entry) = StreamEntry::parse(kind, bytes.len(), input)? {
            return Ok(Self::Stream(entry));
        }
        let entry = match kind {
            kind::SETTLE => {
                let queue = QueueId(input.u64("queue")?);
                return Ok(Self::Settle { queue, how: how(detail)?, runs: input.runs()? });
            }
            kind::ASSIGN => {
                let queue = QueueId(input.u64("queue")?);
                return Ok(Self::Assign { queue, runs: input.runs()? });
            }
            kind::REMOVED => {
                let queue = QueueId(input.u64("queue")?);
                return Ok(Self::Removed { queue, why: why(detail)?, runs: input.runs()? });
            }
            kind::MOVING => {
                let queue = QueueId(input.u64("queue")?);
                let number = input.u64("number")?;
                return Ok(Self::Moving { number, queue, reason: reason(detail)?, runs: input.runs()? });
            }
            kind::PURGED => Self::Purged { queue: QueueId(input.u64("queue")?) },
            kind::MOVED => Self::Moved { number: input.u64("number")? },
            kind::PUT => {
                let revision = Revision(input.u64("revision")?);
                Self::Put { revision, spec: Box::new(spec::read(&mut input)?) }
            }
            kind::DROPPED => {
                let queue = QueueId(input.u64("queue")?);
                Self::Dropped { queue, revision: Revision(input.u64("revision")?) }
            }
            kind::CLOSING => Self::Closing { queue: QueueId(input.u64("queue")?) },
            kind::OWNERS_GONE => Self::OwnersGone { boot: Boot(input.u64("boot")?) },
            kind::SYNCED => {
                let revision = Revision(input.u64("revision")?);
                Self::Synced { revision, boot: Boot(input.u64("boot")?) }
            }
            kind::STARTED => Self::Started,
            group::FIRST_KIND..=group::LAST_KIND => Self::Group(group::read(kind, &mut input)?),
            share::FIRST_KIND..=share::LAST_KIND => Self::Share(share::read(kind, &mut input)?),
            other => return Err(format!("is of unknown kind {other}")),
        };
        input.end()?;
        Ok(entry)
    }
}

fn publish(len: usize, flags: u8, mut input: Input<'_>) -> Result<Entry<'_>, String> {
    if flags & !(LINKED | MARKED | BUNDLE) != 0 {
        return Err(format!("has publish flags {flags}"));
    }
    let count = input.u32("runs")?;
    let link = if flags & LINKED != 0 {
        let from = ShardId(input.u16("link")?);
        Some(LinkNumber { from, number: input.u64("link")? })
    } else {
        None
    };
    let mut heads = Vec::new();
    for _ in 0..count {
        let (records, bytes, targets) = (input.u32("run")?, input.u32("run")?, input.u32("run")?);
        let len = (targets as usize).saturating_mul(PUBLISH_TARGET_BYTES);
        let (targets, _) = input.bytes(len, "targets")?.as_chunks::<PUBLISH_TARGET_BYTES>();
        heads.push((records, bytes, targets));
    }
    let marks = if flags & MARKED != 0 { Some(marks::read(&mut input)?) } else { None };
    let bundle = if flags & BUNDLE != 0 {
        let &[(records, ..)] = &heads[..] else { return Err("has a bundle of several runs".to_owned()) };
        Some((0..records).map(|_| marks::read(&mut input)).collect::<Result<_, _>>()?)
    } else {
        None
    };
    let records_at = (len - input.0.len()) as u32;
    let mut runs = Vec::with_capacity(heads.len());
    for (count, bytes, targets) in heads {
        runs.push(PublishRun { count, records: input.bytes(bytes as usize, "records")?, targets });
    }
    input.end()?;
    Ok(Entry::Publish(Publish { link, marks, bundle, runs, records_at }))
}

fn how(detail: u8) -> Result<How, String> {
    match detail {
        1 => Ok(How::Accept),
        2 => Ok(How::Reject),
        4..=7 => Ok(How::Release { seen: detail & 1 != 0, counted: detail & 2 != 0 }),
        _ => Err(format!("settles in unknown way {detail}")),
    }
}

fn why(detail: u8) -> Result<Why, String> {
    match detail {
        1 => Ok(Why::Delivered),
        2 => Ok(Why::DropHead),
        3 => Ok(Why::Expired),
        4 => Ok(Why::DeliveryLimit),
        _ => Err(format!("removes for unknown reason {detail}")),
    }
}

fn reason(detail: u8) -> Result<DeathReason, String> {
    match detail {
        1 => Ok(DeathReason::Rejected),
        2 => Ok(DeathReason::Expired),
        3 => Ok(DeathReason::MaxLength),
        4 => Ok(DeathReason::DeliveryLimit),
        _ => Err(format!("moves for unknown reason {detail}")),
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
