//! The end of deliveries: accepted, rejected, released; by their holder, by the end of a session, or by a restart.
//!
//! Called by the shard. What must hold: only who holds a delivery ends it, and the first end counts (S16); a settle never starts a commit
//! (S3); what is released goes back to its place, and what failed too often to the dead letters; one turn ends a bounded number (S7).

use crate::queue::lease::HolderAt;
use crate::queue::{Queue, Record, extend_runs, positions};
use crate::shard::LiveBytes;
use stele_model::id::Position;
use stele_model::settle::{How, Run};

/// Deliveries that one turn ends.
pub(crate) const SETTLE_MAX: usize = 2048;

/// Deliveries that are about to end, by whether it is logged.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) logged: Vec<Run>,
    pub(crate) unlogged: Vec<Run>,
    pub(crate) count: usize,
}

impl Ending {
    pub(crate) fn add(&mut self, queue: &Queue, record: &Record) {
        let runs = if queue.logs(record) { &mut self.logged } else { &mut self.unlogged };
        extend_runs(runs, record.position);
        self.count += 1;
    }

    /// All positions, the logged ones first.
    pub(crate) fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        positions(&self.logged).chain(positions(&self.unlogged))
    }
}

/// The same positions, each named once: a client may name one twice, and the log must not.
pub(crate) fn disjoint(mut runs: Vec<Run>) -> Vec<Run> {
    let end = |run: &Run| run.first.0.saturating_add(u64::from(run.count));
    if runs.is_sorted_by(|before, after| end(before) <= after.first.0) {
        return runs;
    }
    runs.sort_unstable_by_key(|run| run.first);
    let mut from = 0;
    for run in &mut runs {
        let (first, end) = (run.first.0.max(from), end(run));
        run.first = Position(first);
        run.count = end.saturating_sub(first) as u32;
        from = from.max(end);
    }
    runs.retain(|run| run.count > 0);
    runs
}

impl Queue {
    /// What of `runs`, which are disjoint, this holder holds, as far as fits a turn; and the runs that are left.
    pub(crate) fn held_by(&self, at: HolderAt, runs: &[Run]) -> (Ending, Vec<Run>) {
        let mut ending = Ending::default();
        for (n, run) in runs.iter().enumerate() {
            if run.count == 1 && ending.count < SETTLE_MAX {
                let lease = self.leases.find(run.first).filter(|lease| lease.holder == at);
                lease.into_iter().for_each(|lease| ending.add(self, &lease.record));
                continue;
            }
            let end = Position(run.first.0.saturating_add(u64::from(run.count)));
            for lease in self.leases.range(run.first..end) {
                if lease.holder != at {
                    continue;
                }
                if ending.count == SETTLE_MAX {
                    let from = lease.record.position;
                    let count = (end.0 - from.0) as u32;
                    let rest = std::iter::once(Run { first: from, count });
                    return (ending, rest.chain(runs[n + 1..].iter().copied()).collect());
                }
                ending.add(self, &lease.record);
            }
        }
        (ending, Vec::new())
    }

    /// Ends one delivery, live and in replay. Returns who held it, and the record if it has failed too often and is ready again.
    pub(crate) fn end(
        &mut self,
        position: Position,
        how: How,
        live: &mut LiveBytes,
    ) -> Option<(HolderAt, Option<Position>)> {
        let lease = self.leases.remove(position)?;
        let mut record = lease.record;
        match how {
            How::Accept | How::Reject => {
                live.gone(&record);
                Some((lease.holder, None))
            }
            How::Release { seen, counted } => {
                record.redelivered |= seen;
                record.failures = record.failures.saturating_add(u32::from(counted));
                self.put_back(record);
                let max = self.spec.settings.delivery_max;
                let failed = counted && max.is_some_and(|max| record.failures > max);
                Some((lease.holder, failed.then_some(position)))
            }
        }
    }

    /// Starts to release what gone sessions hold, from the lowest position.
    pub(crate) fn release_from_start(&mut self) {
        self.releasing = Some(Position(0));
    }

    /// The next leases whose session is gone, as far as fits a turn. `releasing` moves on.
    pub(crate) fn gone_leases(&mut self) -> Ending {
        let mut ending = Ending::default();
        let Some(from) = self.releasing.take() else { return ending };
        for (seen, lease) in self.leases.range(from..Position(u64::MAX)).enumerate() {
            if seen == SETTLE_MAX {
                self.releasing = Some(lease.record.position);
                break;
            }
            if self.readers.holder_at(lease.holder).is_some_and(|holder| holder.gone) {
                ending.add(self, &lease.record);
            }
        }
        ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_named_twice_are_named_once() {
        let run = |first, count| Run { first: Position(first), count };
        let overlapping = vec![run(5, 1), run(3, 4), run(5, 1), run(4, 1), run(u64::MAX, 9), run(20, 2)];
        let once: Vec<u64> = positions(&disjoint(overlapping)).map(|at| at.0).collect();
        assert_eq!(once, [3, 4, 5, 6, 20, 21]);
        let plain = vec![run(1, 2), run(3, 1), run(9, 1)];
        assert_eq!(disjoint(plain.clone()), plain);
    }
}
