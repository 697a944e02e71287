//! Giving out records: who gets which, and which pulls end by it.
//!
//! Called by the shard when records, takers, settles or time have come. What must hold: what is to be given out again comes first and does
//! not count as new; new records only while fewer are unsettled than may be; takers have shares in turn; one call gives out a bounded
//! number (S7). The state changes by the functions that replay calls; the caller logs what was delivered.

use super::supply::{self, End, Fresh, Piece};
use super::{Replay, Share};
use crate::queue::extend_runs;
use crate::stream::Partition;
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::id::{Lsn, Now, Position, SubscriptionId};
use stele_model::machine::VOLATILE;
use stele_model::settle::Run;
use stele_model::share::{PullEnd, ShareRange, ShareSettings};
use stele_model::stream::{Format, FoundRecords};

/// Records given out in one call.
const RECORDS_MAX: u32 = 2048;
/// Records given to one taker before others have theirs.
const SHARE_MAX: u32 = 256;
/// Bytes of records in one effect, about.
const EFFECT_BYTES_MAX: u64 = 256 << 10;

/// What came of a call.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// Delivered, in order.
    pub(crate) runs: Vec<Run>,
    /// To be told, in order.
    pub(crate) steps: Vec<Step>,
    /// To be delivered again, but not there any more: they have ended.
    pub(crate) gone: Vec<Run>,
    /// There is more to give, and somebody to take it.
    pub(crate) more: bool,
    /// Everything there is was given out.
    pub(crate) at_end: bool,
    /// Records that wait for their first delivery now, but for the last ones of subjects.
    pub(crate) fresh: u64,
}

/// See [`Served::steps`].
#[derive(Debug)]
pub(crate) enum Step {
    /// Records for a taker, and the block that the last of them waits for.
    Deliver { to: SubscriptionId, after: Lsn, ranges: Vec<ShareRange> },
    /// A pull has ended.
    End { to: SubscriptionId, after: Lsn, why: PullEnd },
}

/// Why a share ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Others come first.
    Turn,
    /// Nothing is left to give.
    Empty,
    /// New records must wait for settles.
    Full,
    /// Not before a time.
    Rest,
    /// The search goes on in another turn, from here.
    Later(Position),
}

/// One call.
struct Serving<'a> {
    partition: &'a Partition,
    settings: Arc<ShareSettings>,
    /// What was never delivered.
    fresh: Fresh<'a>,
    /// The piece that is being given out.
    piece: Option<Piece>,
    /// Records that wait for their first delivery.
    waiting: u64,
    now: Now,
    left: u32,
    served: Served,
}

/// One taker's share.
#[derive(Default)]
struct Portion {
    ranges: Vec<ShareRange>,
    after: Lsn,
    bytes: u64,
    count: u32,
}

impl Share {
    /// Gives out what takers want and may have. `waiting`: records that wait for their first delivery.
    pub(crate) fn serve(&mut self, partition: &Partition, waiting: u64, now: Now) -> Served {
        let mut served = Served { fresh: waiting.saturating_sub(self.lasts_left()), ..Served::default() };
        if self.is_paused(now) {
            self.end_impatient(&mut served);
            return served;
        }
        if self.takers.head().is_none() {
            return served;
        }
        let from = self.from(partition.start);
        let mut serving = Serving {
            partition,
            settings: Arc::clone(&self.settings),
            fresh: Fresh::new(partition, from),
            piece: None,
            waiting,
            now,
            left: RECORDS_MAX,
            served,
        };
        let mut ends = Ends::Turn;
        while ends == Ends::Turn && serving.left > 0 {
            let Some(id) = self.takers.head() else { break };
            ends = serving.portion(self, id);
        }
        let (mut served, waiting) = (serving.served, serving.waiting);
        served.fresh = if ends == Ends::Empty { 0 } else { waiting.saturating_sub(self.lasts_left()) };
        match ends {
            Ends::Turn => served.more = self.takers.head().is_some(),
            Ends::Empty => {
                served.at_end = true;
                self.scanned = partition.end;
                self.replay = None;
                self.end_impatient(&mut served);
            }
            Ends::Later(position) => {
                served.more = true;
                self.scanned = position;
            }
            Ends::Full | Ends::Rest => {}
        }
        served
    }

    /// Pulls that do not wait end when there is nothing for them.
    fn end_impatient(&mut self, served: &mut Served) {
        for to in self.takers.impatient() {
            let after = self.takers.remove(to);
            served.steps.push(Step::End { to, after, why: PullEnd::NoRecords });
        }
    }

    /// When the next record may be given out that is new and was appended then.
    fn paced(&self, appended: Now) -> Now {
        match self.replay {
            Some(Replay { last: Some((given, before)), .. }) => {
                Now(given.0.saturating_add(appended.0.saturating_sub(before.0)))
            }
            _ => Now(0),
        }
    }
}

impl Serving<'_> {
    /// Gives one taker its share.
    fn portion(&mut self, share: &mut Share, id: SubscriptionId) -> Ends {
        let mut portion = Portion::default();
        let mut why = None;
        let ends = loop {
            let room = SHARE_MAX.saturating_sub(portion.count).min(self.left);
            if room == 0 || portion.bytes >= EFFECT_BYTES_MAX {
                break Ends::Turn;
            }
            if share.rests_until > self.now {
                break Ends::Rest;
            }
            let (given, stuck) = match self.again(share, id, &mut portion) {
                Some(given) => given,
                None => match self.fresh_piece(share, id, room, &mut portion) {
                    Ok(given) => given,
                    Err(ends) => break ends,
                },
            };
            self.left -= given;
            portion.count += given;
            if stuck {
                why = Some(PullEnd::TooLarge { left: share.takers.left(id) });
            } else if let Some(left) = share.takers.complete(id) {
                why = Some(PullEnd::Complete { left });
            }
            if why.is_some() || given == 0 {
                break Ends::Turn;
            }
        };
        let Portion { ranges, after, .. } = portion;
        if !ranges.is_empty() {
            share.takers.sent(id, after);
            self.served.steps.push(Step::Deliver { to: id, after, ranges });
        }
        match why {
            Some(why) => {
                let after = share.takers.remove(id);
                self.served.steps.push(Step::End { to: id, after, why });
            }
            None if ends == Ends::Turn => share.takers.turn(),
            None => {}
        }
        ends
    }

    /// Gives out one record again. `None`: there is none. Else how many were given, and whether the next was too large.
    fn again(&mut self, share: &mut Share, id: SubscriptionId, portion: &mut Portion) -> Option<(u32, bool)> {
        let mut piece = loop {
            let position = share.pending.next_ready(Position(0))?;
            match supply::at(self.partition, position) {
                Some(piece) => break piece,
                None => {
                    share.end(position);
                    extend_runs(&mut self.served.gone, position);
                }
            }
        };
        let given = share.takers.give(id, 1, piece.record_len(), self.now);
        if given.count > 0 {
            self.deliver(share, piece.split(1), self.waiting, portion);
        }
        Some((given.count, given.stuck))
    }

    /// Gives out neighbours that were never delivered.
    fn fresh_piece(
        &mut self,
        share: &mut Share,
        id: SubscriptionId,
        room: u32,
        portion: &mut Portion,
    ) -> Result<(u32, bool), Ends> {
        let open = match share.settings.pending_max.filter(|_| share.leases()) {
            Some(max) => u64::from(max).saturating_sub(share.pending.count()),
            None => u64::MAX,
        };
        let mut piece = match self.piece.take() {
            Some(piece) => piece,
            None => self.fetched(share)?,
        };
        if open == 0 {
            self.piece = Some(piece);
            return Err(Ends::Full);
        }
        let mut most = u64::from(piece.count.min(room)).min(open) as u32;
        if let Some(replay) = share.replay {
            let at = share.paced(piece.batch.appended);
            if at > self.now {
                self.piece = Some(piece);
                share.rests_until = at;
                return Err(Ends::Rest);
            }
            most = 1;
            let last = Some((self.now, piece.batch.appended));
            share.replay = (piece.from.0 + 1 < replay.until.0).then_some(Replay { last, ..replay });
        }
        let given = share.takers.give(id, most, piece.record_len(), self.now);
        if given.count > 0 {
            let records = piece.split(given.count);
            let waiting = self.waiting.saturating_sub(1);
            self.waiting = self.waiting.saturating_sub(u64::from(given.count));
            self.deliver(share, records, waiting, portion);
        }
        self.piece = Some(piece).filter(|piece| piece.count > 0);
        Ok((given.count, given.stuck))
    }

    /// The next piece of what was never delivered.
    fn fetched(&mut self, share: &mut Share) -> Result<Piece, Ends> {
        let mut none = BTreeSet::new();
        let lasts = share.lasts.as_mut().map_or(&mut none, |lasts| &mut lasts.left);
        self.fresh.next(&self.settings.filters, lasts).map_err(|end| match end {
            End::Later(position) => Ends::Later(position),
            End::Open | End::Nothing => Ends::Empty,
        })
    }

    fn deliver(&mut self, share: &mut Share, records: FoundRecords, pending: u64, portion: &mut Portion) {
        let settings = Arc::clone(&self.settings);
        let now = self.now;
        let lease = |nth: u32| Now(now.0.saturating_add(settings.lease_of(nth)));
        let sequence = share.sequence + 1;
        let mut delivery = 1;
        for n in 0..u64::from(records.count) {
            let position = Position(records.from.0 + n);
            delivery = share.deliver(position, lease);
            extend_runs(&mut self.served.runs, position);
        }
        let lsn = records.batch.place.lsn;
        if lsn.0 & VOLATILE == 0 {
            portion.after = portion.after.max(lsn);
        }
        portion.bytes += records.charged;
        if let Some(rate) = settings.push.and_then(|push| push.rate_bytes_max) {
            let us = records.charged.saturating_mul(1_000_000) / rate.max(1);
            share.rests_until = Now(share.rests_until.0.max(now.0).saturating_add(us));
        }
        push(&mut portion.ranges, ShareRange { records, delivery, sequence, pending });
    }
}

/// Adds a range; one that goes on where the last one ends in the same bytes makes it longer.
fn push(ranges: &mut Vec<ShareRange>, range: ShareRange) {
    if let Some(last) = ranges.last_mut()
        && last.delivery == 1
        && range.delivery == 1
        && follows(&last.records, &range.records)
    {
        let (to, of) = (&mut last.records, &range.records);
        if to.batch.first != of.batch.first {
            to.batch.len += of.batch.len;
            to.batch.count += of.batch.count;
        }
        to.count += of.count;
        to.charged += of.charged;
        return;
    }
    ranges.push(range);
}

/// Whether a range begins where another ends, within one batch or in one that lies right behind.
fn follows(one: &FoundRecords, next: &FoundRecords) -> bool {
    if next.from.0 != one.from.0 + u64::from(one.count) {
        return false;
    }
    let (a, b) = (&one.batch, &next.batch);
    a.first == b.first
        || (a.format == Format::Records
            && b.format == Format::Records
            && a.place.lsn == b.place.lsn
            && a.place.at + a.len == b.place.at
            && a.first.0 + u64::from(a.count) == b.first.0
            && a.appended == b.appended)
}
