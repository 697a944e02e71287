//! Replay: the table from entries to changes of the logged state.
//!
//! Called for each entry of the log at a start, and by tests that compare a replay with the live state. What must hold: nothing here depends
//! on attached state (S1). An entry that does not fit the state is an error, never passed over.

use super::Shard;
use super::bytes::Runs;
use super::entry::{Entry, Publish};
use super::publish::read_heads;
use crate::queue::dead_letter::Moving;
use crate::queue::lease::NOBODY;
use crate::queue::{Queue, positions};
use crate::stream::records::Marks;
use std::sync::Arc;
use stele_model::id::{Now, Place, Position, QueueId};
use stele_model::settle::How;

impl Shard {
    pub(super) fn replay(&mut self, place: Place, time: Now, entry: &[u8]) -> Result<(), String> {
        match Entry::parse(entry)? {
            Entry::Publish(publish) => self.replay_publish(place, time, &publish),
            Entry::Settle { queue, how, runs } => self.replay_settle(queue, how, runs),
            Entry::Assign { queue, runs } => {
                let queue = self.known(queue)?;
                each(runs, |position| {
                    let record = queue.ready.take(position).ok_or_else(|| not_there(position))?;
                    queue.leases.insert(record, NOBODY);
                    Ok(())
                })
            }
            Entry::Removed { queue, runs, .. } => {
                let queue = self.queues.get_mut(&queue).ok_or_else(|| unknown(queue))?;
                each(runs, |position| {
                    let record = queue.ready.take(position).ok_or_else(|| not_there(position))?;
                    self.live.gone(&record);
                    Ok(())
                })
            }
            Entry::Purged { queue } => {
                if self.purged(queue) {
                    Ok(())
                } else {
                    Err(unknown(queue))
                }
            }
            Entry::Moving { number, queue, reason, runs } => {
                let queue = self.known(queue)?;
                let mut records = Vec::new();
                each(runs, |position| {
                    records.push(queue.take_anywhere(position).ok_or_else(|| not_there(position))?);
                    Ok(())
                })?;
                let moving = Moving::Queue { queue: Arc::clone(&queue.spec), reason, records };
                self.moves.replay(number, moving)
            }
            Entry::Moved { number } => {
                let moving = self.moves.end(number).ok_or_else(|| format!("ends unknown move {number}"))?;
                moving.let_go(&mut self.live);
                Ok(())
            }
            Entry::Put { revision, spec } => {
                self.place(revision, Arc::new(*spec));
                Ok(())
            }
            Entry::Dropped { revision, queue } => {
                self.revision = self.revision.max(revision);
                if !self.remove_partition(queue) {
                    self.known(queue)?;
                    self.remove(queue, |_, _| ());
                }
                Ok(())
            }
            Entry::Closing { queue } => {
                self.known(queue)?.closing = true;
                Ok(())
            }
            Entry::OwnersGone { .. } => {
                self.owners_gone();
                Ok(())
            }
            Entry::Synced { revision, boot } => {
                self.synced(revision, boot);
                Ok(())
            }
            Entry::Group(entry) => self.replay_group(time, entry),
            Entry::Share(entry) => self.replay_share(entry),
            Entry::Stream(entry) => self.replay_stream(place, time, &entry),
            Entry::Started => {
                self.lease_nothing();
                Ok(())
            }
        }
    }

    fn replay_publish(&mut self, place: Place, time: Now, publish: &Publish<'_>) -> Result<(), String> {
        let mut heads = Vec::new();
        let mut at = place.at + publish.records_at;
        for run in publish.runs() {
            heads.clear();
            read_heads(run.records, run.count, &mut heads)?;
            for target in run.targets() {
                let run_place = Place { lsn: place.lsn, at };
                if let Some(partition) = self.streams.partitions.get(&target.queue) {
                    if target.first != partition.end || run.count == 0 {
                        return Err(format!("appends at {} of partition {}", target.first, target.queue));
                    }
                    if let Some(bundle) = &publish.bundle {
                        self.admit_bundle(&target, run_place, (run.records, &heads), bundle, time);
                        continue;
                    }
                    let marks = publish.marks.as_ref().unwrap_or(&Marks::NONE);
                    self.admit_run(&target, run_place, (run.records, &heads), marks, time);
                    continue;
                }
                let queue = self.known(target.queue)?;
                if target.first < queue.next {
                    return Err(format!("uses position {} of queue {} again", target.first, target.queue));
                }
                self.admit(&target, run_place, time, &heads);
            }
            at += run.records.len() as u32;
        }
        if let Some(link) = publish.link {
            self.links.taken(link);
        }
        Ok(())
    }

    fn replay_settle(&mut self, queue: QueueId, how: How, runs: Runs<'_>) -> Result<(), String> {
        let queue = self.queues.get_mut(&queue).ok_or_else(|| unknown(queue))?;
        each(runs, |position| {
            queue.end(position, how, &mut self.live).map(|_| ()).ok_or_else(|| not_there(position))
        })
    }

    fn known(&mut self, queue: QueueId) -> Result<&mut Queue, String> {
        match self.queues.get_mut(&queue) {
            Some(queue) => Ok(queue),
            None => Err(unknown(queue)),
        }
    }
}

fn unknown(queue: QueueId) -> String {
    format!("speaks of unknown queue {queue}")
}

fn not_there(position: Position) -> String {
    format!("speaks of position {position}, which is not there")
}

fn each(runs: Runs<'_>, mut take: impl FnMut(Position) -> Result<(), String>) -> Result<(), String> {
    for run in runs.iter() {
        for position in positions(&[run]) {
            take(position)?;
        }
    }
    Ok(())
}
