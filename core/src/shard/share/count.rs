//! How many records wait for a group: known at once, or found out in steps of several turns (S7).
//!
//! Who asks about a group while that is under way is answered when it is known; takers wait, and get nothing before. Attached state: after a
//! restart it is found out anew. Bounds: a turn has so many looks ([`Turn::looks`]) for all groups together; a step tells of [`TOLD_MAX`].

use super::answer;
use crate::shard::effect::Turn;
use crate::shard::{Mutant, Shard};
use crate::share::ShareNumber;
use crate::share::counting::{Held, Listing, Told};
use std::ops::Bound;
use std::sync::Arc;
use stele_model::id::Position;
use stele_model::share::{ShardShares, ShareAnswer};

/// Groups told in one answer.
const PAGE_MAX: u32 = 1024;
/// Groups told in one step.
const TOLD_MAX: usize = 64;
/// Positions let go of in one step.
const BURIED_MAX: usize = 16_384;

impl Shard {
    /// How many records wait for a group, as far as this turn finds out; if it does not, the group is looked at again.
    pub(super) fn count_share(&mut self, number: ShareNumber, turn: &mut Turn<'_>) -> Option<u64> {
        let share = self.shares.groups.get(&number)?;
        let id = share.partition;
        let mut waiting = share.waiting(self.streams.partitions.get(&id)?);
        if waiting.is_none() {
            let searches = share.searches();
            let share = self.shares.groups.get_mut(&number)?;
            let partition = self.streams.partitions.get_mut(&id)?;
            if share.count_on(partition, &mut turn.looks) {
                waiting = share.waiting(partition);
            }
            if searches && !share.searches() {
                // Until now each record might have been a last one.
                self.sweep_interest(id, Position(0));
            }
        }
        let hasty = self.makes(Mutant::HastyCount).then_some(0);
        match waiting.or(hasty) {
            Some(_) => self.answer_held(number, turn),
            None => _ = self.shares.again.insert(number),
        }
        waiting
    }

    /// Answers with what the group is like, once that is known.
    pub(super) fn tell_of_share(&mut self, number: ShareNumber, held: Held, turn: &mut Turn<'_>) {
        self.put_right(number, turn);
        if let Some(share) = self.shares.groups.get_mut(&number) {
            share.held.push(held);
            self.count_share(number, turn);
        }
    }

    fn answer_held(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number).filter(|share| !share.held.is_empty()) else {
            return;
        };
        let info = Box::new(self.info_of(share));
        let held = self.shares.groups.get_mut(&number).map(|share| std::mem::take(&mut share.held));
        for Held { to, after, told } in held.into_iter().flatten() {
            let info = info.clone();
            match told {
                Told::Nothing => {
                    answer(turn, after.max(turn.journal.tail()), to, Ok(ShareAnswer::Info(info)))
                }
                Told::Put { created } => answer(turn, after, to, Ok(ShareAnswer::Put { created, info })),
                Told::Reset(at) => answer(turn, after, to, Ok(ShareAnswer::Reset { at, info })),
            }
        }
    }

    pub(in crate::shard) fn list_shares(&mut self, of: ShardShares, turn: &mut Turn<'_>) {
        let names = self.shares.of.get(&of.partition).map(|of| &of.names);
        let before = usize::try_from(of.offset).unwrap_or(usize::MAX).checked_sub(1);
        let behind = before.and_then(|n| names.and_then(|names| names.keys().nth(n).or(names.keys().last())));
        let listing = Listing { of, behind: behind.cloned(), groups: Vec::new() };
        self.shares.counting.listings.push_back(listing);
        if self.shares.counting.listings.len() == 1 {
            self.step_counting(turn);
        }
    }

    /// Goes on with the listing that was asked for first, and lets go of some of what is buried.
    pub(super) fn step_counting(&mut self, turn: &mut Turn<'_>) {
        if let Some(buried) = self.shares.counting.buried.last_mut() {
            (0..BURIED_MAX).for_each(|_| _ = buried.pop_first());
            self.shares.counting.buried.pop_if(|buried| buried.is_empty());
        }
        if let Some(making) = self.shares.counting.makings.pop_front() {
            self.go_on_making(making, turn);
        }
        let Some(mut listing) = self.shares.counting.listings.pop_front() else { return };
        for _ in 0..TOLD_MAX {
            let full = listing.groups.len() >= listing.of.count_max.min(PAGE_MAX) as usize;
            let Some((name, number)) = self.behind(&listing).filter(|_| !full) else {
                let total = self.shares.of.get(&listing.of.partition).map_or(0, |of| of.names.len() as u64);
                let after = turn.journal.tail();
                let said = ShareAnswer::Listed { groups: listing.groups, total };
                return answer(turn, after, (listing.of.hub, listing.of.call), Ok(said));
            };
            self.put_right(number, turn);
            if self.count_share(number, turn).is_none() {
                break;
            }
            listing.groups.extend(self.shares.groups.get(&number).map(|share| self.info_of(share)));
            listing.behind = Some(name);
        }
        self.shares.counting.listings.push_front(listing);
    }

    /// The next group of a listing.
    fn behind(&self, listing: &Listing) -> Option<(Arc<str>, ShareNumber)> {
        let names = &self.shares.of.get(&listing.of.partition)?.names;
        let from = listing.behind.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (name, number) = names.range::<Arc<str>, _>((from, Bound::Unbounded)).next()?;
        Some((Arc::clone(name), *number))
    }
}
