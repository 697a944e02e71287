//! How entries change what is known of groups: when they are logged, and in replay.

use super::entry::{self, GroupEntry, PositionEntry, What};
use super::{Mutant, Seat};
use crate::group::Group;
use crate::group::known::{Generation, Held, Profile};
use crate::group::place::Places;
use crate::group::reading::Reading;
use crate::shard::Shard;
use std::sync::Arc;
use stele_model::id::{Now, QueueId};
use stele_model::machine::Urgency;

/// Bytes that the head of an entry of positions has, besides the name.
const HEAD_BYTES: usize = 32;

impl Seat<'_, '_> {
    /// Logs the generation that is complete now.
    pub(super) fn log_generation(&mut self) {
        let generation = self.complete_generation();
        let (home, name) = (self.home, Arc::clone(&self.name));
        self.turn.log(Urgency::Urgent, |out| entry::put_generation(out, home, &name, &generation));
        take_generation(self.group, self.places, generation, self.turn.now());
    }

    /// Logs that a member of the complete generation has another number, and says other things of itself.
    pub(super) fn log_replaced(&mut self, old: &str, id: u64) {
        let Some(member) = self.group.roster.get(id) else { return };
        let profile = Arc::clone(&member.profile);
        let (home, name) = (self.home, Arc::clone(&self.name));
        self.turn.log(Urgency::Urgent, |out| entry::put_member(out, home, &name, old, &profile));
        let taken = take_member(self.group, self.places, old, &profile, self.turn.now());
        assert!(taken.is_ok(), "I41: members of a stable group are those of its logged generation");
    }

    /// Logs which partitions the members read, unless that is known. It starts no commit: it stands before what it matters to, and what is lost
    /// counts as read.
    pub(super) fn log_reading(&mut self) {
        let most = self.turn.journal.entry_bytes_max().saturating_sub(HEAD_BYTES + self.name.len());
        let fits = self.group.reading.bytes() <= most;
        let reading = if fits { self.group.reading.clone() } else { Reading::default() };
        if !self.group.known.logged || reading == self.group.known.reading {
            return;
        }
        let (home, name) = (self.home, Arc::clone(&self.name));
        if !self.makes(Mutant::UnloggedReading) {
            self.turn.log(Urgency::Rides, |out| entry::put_reading(out, home, &name, &reading));
        }
        self.group.known.reading = reading;
    }

    /// Logs positions, in as many entries as they need.
    pub(super) fn log_positions(&mut self, positions: Vec<PositionEntry>) {
        let most = self.turn.journal.entry_bytes_max().saturating_sub(HEAD_BYTES + self.name.len());
        let (home, name) = (self.home, Arc::clone(&self.name));
        let mut rest = &positions[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|of| {
                bytes += of.bytes();
                bytes <= most
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            rest = later;
            let logged = if self.makes(Mutant::UnloggedPosition) { &now[..now.len().min(1)] } else { now };
            self.turn.log(Urgency::Urgent, |out| entry::put_positions(out, home, &name, logged));
            let time = self.turn.now();
            for position in now {
                take_position(self.group, self.places, position, time);
            }
        }
    }

    /// Logs that positions are forgotten, in as many entries as they need.
    pub(super) fn log_forgotten(&mut self, partitions: &[QueueId]) {
        let most = self.turn.journal.entry_bytes_max().saturating_sub(HEAD_BYTES + self.name.len()) / 8;
        let (home, name) = (self.home, Arc::clone(&self.name));
        for partitions in partitions.chunks(most.max(1)) {
            self.turn.log(Urgency::Urgent, |out| entry::put_forgotten(out, home, &name, partitions));
            for partition in partitions {
                take_forgotten(self.group, self.places, *partition);
            }
        }
    }

    /// Logs that the group is gone, if it was ever logged, and forgets what was known of it.
    pub(super) fn log_gone(&mut self, urgency: Urgency) {
        if self.group.known.logged {
            let (home, name) = (self.home, Arc::clone(&self.name));
            self.turn.log(urgency, |out| entry::put_group_gone(out, home, &name));
        }
        self.places.forget(&self.group.known);
        self.group.known = Default::default();
        self.group.generation = 0;
        self.group.kind.clear();
    }

    /// This process gives numbers from now on: those of earlier ones are not given again.
    pub(super) fn begin_numbers(&mut self) {
        let numbers = &mut self.around.numbers;
        if !numbers.begun {
            numbers.begun = true;
            let epoch = numbers.epoch + 1;
            if self.mutant != Some(Mutant::RepeatedNumbers) {
                numbers.epoch = epoch;
                self.turn.log(Urgency::Urgent, |out| entry::put_numbers(out, epoch));
            }
        }
    }
}

impl Shard {
    pub(in crate::shard) fn replay_group(&mut self, time: Now, entry: GroupEntry) -> Result<(), String> {
        let (home, name, what) = match entry {
            GroupEntry::Numbers { epoch } => {
                self.groups.around.numbers.epoch = epoch;
                return Ok(());
            }
            GroupEntry::HomeGone { home } => {
                self.groups.remove_home(home);
                return Ok(());
            }
            GroupEntry::Of { home, group, what } => (home, group, what),
        };
        let known = self.groups.find(home, &name).is_some_and(|group| group.known.logged);
        if !known && !matches!(what, What::Generation(_) | What::Positions(_)) {
            return Err(format!("speaks of unknown group '{name}'"));
        }
        if what == What::Gone {
            self.groups.remove(home, &name);
            return Ok(());
        }
        self.groups.make(home, &name);
        let Some((group, places)) = self.groups.find_mut(home, &name) else { return Ok(()) };
        match what {
            What::Generation(generation) => take_generation(group, places, generation, time),
            What::Member { old, profile } => {
                take_member(group, places, &old, &Arc::new(profile), time)?;
            }
            What::Reading(reading) => group.known.reading = reading,
            What::Positions(positions) => {
                positions.iter().for_each(|position| take_position(group, places, position, time));
            }
            What::Forgotten(partitions) => {
                for partition in partitions {
                    if !take_forgotten(group, places, partition) {
                        return Err(format!("forgets unknown partition {partition} of group '{name}'"));
                    }
                }
            }
            What::Gone => {}
        }
        Ok(())
    }
}

fn take_generation(group: &mut Group, places: &mut Places, generation: Generation, time: Now) {
    let known = &mut group.known;
    known.logged = true;
    known.generation = generation;
    known.time = time;
    known.at = Some(places.log(known.at, group.number, None));
}

fn take_member(
    group: &mut Group,
    places: &mut Places,
    old: &str,
    profile: &Arc<Profile>,
    time: Now,
) -> Result<(), String> {
    let known = &mut group.known;
    known.generation.replace(old, profile)?;
    known.time = time;
    known.at = Some(places.log(known.at, group.number, None));
    Ok(())
}

fn take_position(group: &mut Group, places: &mut Places, of: &PositionEntry, time: Now) {
    let known = &mut group.known;
    known.logged = true;
    let before = known.positions.get(&of.partition).map(|held| held.at);
    let at = places.log(before, group.number, Some(of.partition));
    let PositionEntry { partition, position, epoch, metadata } = of.clone();
    known.positions.insert(partition, Held { position, epoch, metadata, time, at });
}

fn take_forgotten(group: &mut Group, places: &mut Places, partition: QueueId) -> bool {
    let Some(held) = group.known.positions.remove(&partition) else { return false };
    places.end(held.at);
    true
}
