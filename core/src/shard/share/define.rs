//! Shared groups come, change and go.
//!
//! What must hold: a group is made where its partition is (S12), by one entry that says where it begins, so that replay depends on no
//! search; what never changes is refused, not passed over; an answer waits for the entry.

use super::entry::{self, Put};
use super::{answer, answer_present, say};
use crate::shard::effect::Turn;
use crate::shard::{Mutant, Shard};
use crate::share::counting::{Held, Making, Told};
use crate::share::{Share, ShareNumber};
use crate::stream::Partition;
use crate::stream::tally::Walk;
use std::sync::Arc;
use stele_model::id::{Call, HubId, Lsn, Now, Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::queue::DeadLetter;
use stele_model::refusal::Refusal;
use stele_model::share::{
    ARGUMENTS_BYTES_MAX, BACKOFF_MAX, DEAD_LETTER_BYTES_MAX, Expect, FILTERS_MAX, PullEnd, ShardShare,
    ShareAnswer, ShareEvent, ShareNews, ShareRefusal, ShareSettings, ShareStart, ShareVerb,
};
use stele_model::stream::StreamRefusal;

/// Groups of a partition.
const SHARES_MAX: u64 = 100_000;
/// Bytes of a group's name.
const NAME_BYTES_MAX: usize = 255;

/// Where an answer goes.
type To = (HubId, Call);

impl Shard {
    pub(in crate::shard) fn ask_share(&mut self, ask: ShardShare, turn: &mut Turn<'_>) {
        let ShardShare { session, call, partition, group, verb } = ask;
        let to = (session.hub, call);
        if !self.streams.partitions.contains_key(&partition) {
            let refusal = Refusal::Stream(StreamRefusal::UnknownPartition);
            return turn.answer_present(to, Err(refusal));
        }
        let number = self.shares.number(partition, &group);
        match (verb, number) {
            (ShareVerb::Put { settings, expect }, _) => {
                self.put_share(to, (partition, group), (settings, expect), None, turn);
            }
            (_, None) => answer_present(turn, to, Err(ShareRefusal::Unknown)),
            (ShareVerb::Delete, Some(number)) => {
                let after = self.delete_share(number, PullEnd::Gone, turn);
                answer(turn, after, to, Ok(ShareAnswer::Deleted));
            }
            (ShareVerb::Info, Some(number)) => {
                self.tell_of_share(number, Held { to, after: Lsn(0), told: Told::Nothing }, turn);
            }
            (ShareVerb::Pause(until), Some(number)) => self.pause_share(to, number, until, turn),
            (ShareVerb::Reset(at), Some(number)) => self.reset_share(to, number, at, turn),
        }
    }

    /// Makes or changes a group. `at`: where it begins, if that has been looked for.
    fn put_share(
        &mut self,
        to: To,
        (id, group): (QueueId, String),
        (settings, expect): (Box<ShareSettings>, Expect),
        at: Option<Position>,
        turn: &mut Turn<'_>,
    ) {
        if let Some(number) = self.shares.number(id, &group) {
            return self.change_share(to, number, *settings, expect, turn);
        }
        let decided = match self.decide_share(id, &group, &settings) {
            _ if expect == Expect::There => Err(ShareRefusal::Unknown),
            decided => decided,
        };
        if let Err(refusal) = decided {
            return answer_present(turn, to, Err(refusal));
        }
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        if let Some(next) = at.or_else(|| start_of(partition, &settings)) {
            return self.make_share(to, (id, group), *settings, next, turn);
        }
        let (below, walk, last) = (partition.end, Walk::default(), None);
        let making = Making { to, partition: id, group, settings, expect, below, walk, last };
        self.shares.counting.makings.push_back(making);
    }

    /// Goes on to look for where a group begins, and makes it when that is found.
    pub(super) fn go_on_making(&mut self, mut of: Making, turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get(&of.partition) else {
            let refusal = Refusal::Stream(StreamRefusal::UnknownPartition);
            return turn.answer_present(of.to, Err(refusal));
        };
        let filters = &of.settings.filters;
        if !partition.last_on(filters, of.below, &mut of.walk, &mut turn.looks, &mut of.last) {
            return self.shares.counting.makings.push_back(of);
        }
        let at = of.last.unwrap_or(of.below).max(partition.start);
        self.put_share(of.to, (of.partition, of.group), (of.settings, of.expect), Some(at), turn);
    }

    fn decide_share(
        &self,
        partition: QueueId,
        group: &str,
        settings: &ShareSettings,
    ) -> Result<(), ShareRefusal> {
        if group.is_empty() || group.len() > NAME_BYTES_MAX {
            return Err(ShareRefusal::InvalidName);
        }
        let count = self.shares.of.get(&partition).map_or(0, |of| of.names.len() as u64);
        if count >= SHARES_MAX {
            return Err(ShareRefusal::Full { max: SHARES_MAX });
        }
        let max = self.streams.partitions.get(&partition).and_then(|of| of.by_record()?.groups_max);
        if let Some(max) = max.map(u64::from).filter(|max| count >= *max) {
            return Err(ShareRefusal::Full { max });
        }
        check(settings)?;
        self.fits_retention(partition, None, settings)
    }

    fn make_share(
        &mut self,
        to: To,
        (id, group): (QueueId, String),
        settings: ShareSettings,
        next: Position,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now();
        let number = ShareNumber(self.shares.last.0 + 1);
        let put = Put { number, partition: id, name: group, created: now, next, settings };
        let after = log_put(&put, turn);
        self.place_share(put);
        if let Some(share) = super::of_number(&mut self.shares, number)
            && let Some(partition) = self.streams.partitions.get(&id)
        {
            share.start(now, partition);
        }
        self.shares.set_timer(number, now);
        let Some(share) = self.shares.groups.get(&number) else { return };
        self.tell(share, after, now, || ShareEvent::Created, turn);
        self.tell_of_share(number, Held { to, after, told: Told::Put { created: true } }, turn);
    }

    fn change_share(
        &mut self,
        to: To,
        number: ShareNumber,
        settings: ShareSettings,
        expect: Expect,
        turn: &mut Turn<'_>,
    ) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let same = *share.settings == settings;
        let decided = match expect {
            Expect::New if !same => Err(ShareRefusal::Exists),
            _ => check(&settings)
                .and_then(|()| fixed(&share.settings, &settings))
                .and_then(|()| self.fits_retention(share.partition, Some(number), &settings)),
        };
        if let Err(refusal) = decided {
            return answer_present(turn, to, Err(refusal));
        }
        let after = if same { turn.journal.tail() } else { self.alter_share(number, settings, turn) };
        let Some(share) = self.shares.groups.get(&number) else { return };
        if !same {
            self.tell(share, after, turn.now(), || ShareEvent::Updated, turn);
        }
        self.tell_of_share(number, Held { to, after, told: Told::Put { created: false } }, turn);
        self.advance_share(number, turn);
    }

    fn pause_share(&mut self, to: To, number: ShareNumber, until: Option<Now>, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let settings = ShareSettings { pause_until: until, ..(*share.settings).clone() };
        let same = *share.settings == settings;
        let after = if same { turn.journal.tail() } else { self.alter_share(number, settings, turn) };
        let Some(share) = self.shares.groups.get(&number) else { return };
        if !same {
            self.tell(share, after, turn.now(), || ShareEvent::Paused { until }, turn);
        }
        self.tell_of_share(number, Held { to, after, told: Told::Nothing }, turn);
        self.advance_share(number, turn);
    }

    fn reset_share(&mut self, to: To, number: ShareNumber, at: Option<Position>, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let Some(partition) = self.streams.partitions.get(&share.partition) else { return };
        let at = match at.map_or(Ok(share.floor().next), |at| may_begin(partition, &share.settings, at)) {
            Ok(at) => at,
            Err(refusal) => return answer_present(turn, to, Err(refusal)),
        };
        let logs = share.logs() && !self.makes(Mutant::UnloggedReset);
        let after = match logs {
            true => turn.log(Urgency::Urgent, |out| entry::put_reset(out, number, at)).lsn,
            false => turn.journal.tail(),
        };
        let id = share.partition;
        self.begin_again(number, at);
        if let Some(share) = super::of_number(&mut self.shares, number) {
            (share.delivered_at, share.settled_at, share.replay) = (None, None, None);
        }
        self.sweep_interest(id, Position(0));
        self.tell_of_share(number, Held { to, after, told: Told::Reset(at) }, turn);
        self.advance_share(number, turn);
    }

    /// A group begins again, the same in replay.
    pub(super) fn begin_again(&mut self, number: ShareNumber, at: Position) {
        let Some(share) = self.shares.groups.get_mut(&number) else { return };
        share.reset(at);
        self.forget_counts(number);
    }

    /// What was found of the group's records has to be found anew.
    fn forget_counts(&mut self, number: ShareNumber) {
        let Some(share) = self.shares.groups.get_mut(&number) else { return };
        if let Some(lasts) = share.lasts.as_mut().filter(|lasts| lasts.walk.is_some()) {
            lasts.walk = Some(Walk::default());
            self.shares.counting.bury(std::mem::take(&mut lasts.left));
        }
        if let Some(partition) = self.streams.partitions.get_mut(&share.partition) {
            partition.forget_count(number.0);
        }
    }

    /// Logs other settings of a group and takes them up. Returns the block to wait for.
    fn alter_share(&mut self, number: ShareNumber, settings: ShareSettings, turn: &mut Turn<'_>) -> Lsn {
        let Some(share) = self.shares.groups.get(&number) else { return Lsn(0) };
        let Share { partition, created, next, .. } = *share;
        let put = Put { number, partition, name: share.name.to_string(), created, next, settings };
        let after = log_put(&put, turn);
        self.place_share(put);
        after
    }

    /// Makes or changes a group, the same in replay.
    pub(super) fn place_share(&mut self, put: Put) {
        let Put { number, partition, name, created, next, settings } = put;
        let settings = Arc::new(settings);
        match self.shares.groups.get_mut(&number) {
            Some(share) => {
                share.settings = settings;
                share.scanned = share.next;
                share.recheck = Some(Position(0));
                self.forget_counts(number);
            }
            None => {
                let name: Arc<str> = name.into();
                self.shares.insert(Share::new(number, (partition, name), created, settings, next));
            }
        }
    }

    /// A group goes: its pulls end, and who listens is told. Returns the block to wait for.
    pub(super) fn delete_share(&mut self, number: ShareNumber, why: PullEnd, turn: &mut Turn<'_>) -> Lsn {
        let logs = self.shares.groups.get(&number).is_some_and(|share| share.logs());
        let after =
            if logs { turn.log(Urgency::Urgent, |out| entry::put_gone(out, number)).lsn } else { Lsn(0) };
        self.forget_share(number, why, after, turn);
        after
    }

    /// As [`Self::delete_share`], logged already.
    pub(super) fn forget_share(
        &mut self,
        number: ShareNumber,
        why: PullEnd,
        after: Lsn,
        turn: &mut Turn<'_>,
    ) {
        let Some(mut share) = self.shares.remove(number) else { return };
        if let Some(partition) = self.streams.partitions.get_mut(&share.partition) {
            partition.forget_count(number.0);
        }
        if let Some(lasts) = &mut share.lasts {
            self.shares.counting.bury(std::mem::take(&mut lasts.left));
        }
        for held in &share.held {
            answer(turn, held.after.max(after), held.to, Err(ShareRefusal::Unknown));
        }
        self.sweep_interest(share.partition, Position(0));
        for to in share.takers.ids() {
            let after = after.max(share.takers.after(to));
            say(turn, after, to, ShareNews::Ended { taker: to.number, why });
        }
        self.tell(&share, after, turn.now(), || ShareEvent::Deleted, turn);
    }

    /// The partition goes, and all its groups with it; after block `after`.
    pub(in crate::shard) fn drop_shares(&mut self, id: QueueId, after: Lsn, turn: &mut Turn<'_>) {
        let Some(of) = self.shares.of.get(&id) else { return };
        let numbers: Vec<ShareNumber> = of.names.values().copied().collect();
        for number in numbers {
            self.forget_share(number, PullEnd::Gone, after, turn);
        }
    }

    /// As [`Self::drop_shares`], the same in replay and told to nobody.
    pub(in crate::shard) fn remove_shares(&mut self, id: QueueId) {
        let Some(of) = self.shares.of.get(&id) else { return };
        let numbers: Vec<ShareNumber> = of.names.values().copied().collect();
        for number in numbers {
            self.shares.remove(number);
        }
    }
}

/// Logs a group that lasts. Returns the block to wait for.
fn log_put(put: &Put, turn: &mut Turn<'_>) -> Lsn {
    if !put.settings.logged() {
        return Lsn(0);
    }
    turn.log(Urgency::Urgent, |out| entry::put_put(out, put)).lsn
}

/// Where a new group begins; `None`: that has to be looked for.
fn start_of(partition: &Partition, settings: &ShareSettings) -> Option<Position> {
    let first_of = |first: Option<Position>| first.map_or(partition.end, |first| first.max(partition.start));
    Some(match settings.start {
        ShareStart::All => partition.start,
        ShareStart::Last => first_of(partition.last_at_once(&settings.filters)?),
        // The last ones are found when the group starts.
        ShareStart::New | ShareStart::LastPerSubject => partition.end,
        ShareStart::Position(position) => position.max(partition.start),
        ShareStart::Time(time) => {
            let ms = time.0.div_ceil(1000);
            first_of(partition.index.appended_at(partition.start, ms).map(|batch| batch.first))
        }
    })
}

/// Whether a group that began as its settings say may begin again at a place of one's choice.
fn may_begin(
    partition: &Partition,
    settings: &ShareSettings,
    at: Position,
) -> Result<Position, ShareRefusal> {
    match settings.start {
        ShareStart::Position(first) if at < first => Err(ShareRefusal::BeforePosition),
        ShareStart::Time(_) if Some(at) < start_of(partition, settings) => Err(ShareRefusal::BeforeTime),
        ShareStart::All | ShareStart::Position(_) | ShareStart::Time(_) => Ok(at),
        ShareStart::Last | ShareStart::New | ShareStart::LastPerSubject => Err(ShareRefusal::NoPlace),
    }
}

/// Whether a group can be like this.
fn check(settings: &ShareSettings) -> Result<(), ShareRefusal> {
    let wrong = [
        (settings.lease_us == 0, "lease_us"),
        (settings.backoff_us.len() > BACKOFF_MAX, "backoff_us"),
        (settings.filters.len() > FILTERS_MAX, "filters"),
        (settings.waiting_max == 0, "waiting_max"),
        (settings.deliveries_max == Some(0), "deliveries_max"),
        (settings.pending_max == Some(0), "pending_max"),
        (settings.arguments.len() > ARGUMENTS_BYTES_MAX, "arguments"),
        (settings.dead_letter.as_ref().is_some_and(is_long), "dead_letter"),
    ];
    match wrong.into_iter().find(|(is, _)| *is) {
        Some((_, name)) => Err(ShareRefusal::Invalid(name)),
        None => Ok(()),
    }
}

fn is_long(target: &DeadLetter) -> bool {
    let key = target.key.as_ref().map_or(0, String::len);
    key.max(target.exchange.len()) > DEAD_LETTER_BYTES_MAX
}

/// Whether a group that is like this may become like that.
fn fixed(is: &ShareSettings, to: &ShareSettings) -> Result<(), ShareRefusal> {
    let changed = [
        (is.start != to.start, "start"),
        (is.settle != to.settle, "settle"),
        (is.durable != to.durable, "durable"),
        (is.memory != to.memory, "memory"),
        (is.pace != to.pace, "pace"),
        (is.push.is_some() != to.push.is_some(), "push"),
    ];
    match changed.into_iter().find(|(is, _)| *is) {
        Some((_, name)) => Err(ShareRefusal::Fixed(name)),
        None => Ok(()),
    }
}
