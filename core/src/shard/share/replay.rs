//! Replay of entries about shared groups: from entries to changes of the logged state.
//!
//! What must hold: nothing here depends on attached state (S1). An entry that does not fit the state is an error, never passed over.

use super::entry::ShareEntry;
use crate::queue::positions;
use crate::shard::Shard;
use crate::shard::bytes::Runs;
use crate::share::pending::NEVER;
use crate::share::{Share, ShareNumber};
use stele_model::id::Position;

impl Shard {
    pub(in crate::shard) fn replay_share(&mut self, entry: ShareEntry<'_>) -> Result<(), String> {
        match entry {
            ShareEntry::Put(put) => {
                if !self.streams.partitions.contains_key(&put.partition) {
                    return Err(format!("makes a group of unknown partition {}", put.partition));
                }
                self.place_share(*put);
            }
            ShareEntry::Gone { number } => {
                self.shares.remove(number).ok_or_else(|| unknown(number))?;
            }
            ShareEntry::Delivered { number, runs } => {
                let share = self.known_share(number)?;
                each(runs, |position| {
                    share.deliver(position, |_| NEVER);
                    Ok(())
                })?;
            }
            ShareEntry::Passed { number, reached } => self.known_share(number)?.passed(reached),
            ShareEntry::Ended { number, runs, .. } => {
                let share = self.known_share(number)?;
                each(runs, |position| share.end(position).map(|_| ()).ok_or_else(|| not_there(position)))?;
            }
            ShareEntry::Rests { number, until, runs } => {
                let share = self.known_share(number)?;
                each(runs, |position| {
                    share.pending.find(position).ok_or_else(|| not_there(position))?;
                    share.pending.release(position, until);
                    Ok(())
                })?;
            }
            ShareEntry::Moving(of) => self.replay_dead(*of)?,
            ShareEntry::Reset { number, at } => {
                self.known_share(number)?;
                self.begin_again(number, at);
            }
        }
        Ok(())
    }

    fn known_share(&mut self, number: ShareNumber) -> Result<&mut Share, String> {
        super::of_number(&mut self.shares, number).ok_or_else(|| unknown(number))
    }
}

fn unknown(number: ShareNumber) -> String {
    format!("speaks of unknown group {}", number.0)
}

fn not_there(position: Position) -> String {
    format!("speaks of a delivery of position {position}, which is not there")
}

fn each(runs: Runs<'_>, mut take: impl FnMut(Position) -> Result<(), String>) -> Result<(), String> {
    runs.iter().try_for_each(|run| positions(&[run]).try_for_each(&mut take))
}
