//! What a crash may bring back: the state of a shard at the end of each block, and a snapshot that was begun at one of them.
//!
//! A world tells it where blocks end, and asks it for the shard after a crash. What must hold there, whatever the world: a replay of the log
//! brings back what was there when its last block ended, and so do a snapshot and the rest of the log.

use super::Check;
use bytes::Bytes;
use std::collections::BTreeMap;
use stele_core::shard::{LoggedState, Shard};
use stele_core::testing::MemoryLog;
use stele_model::id::{Lsn, ShardId};
use stele_model::machine::{Journal, Machine};

/// Of one world's shard; `M` is what the world remembers of its model beside each state.
pub(crate) struct Past<M = ()> {
    shard: ShardId,
    states: BTreeMap<Lsn, (LoggedState, M)>,
    /// The last that was written, and the block it was begun after.
    snapshot: Option<(Lsn, Vec<Bytes>)>,
    /// The block after which one was begun that is being written, as it was when it began.
    begun: Option<Lsn>,
    /// The earliest block that a crash may cut at: a world says so when it is sure that no crash takes what was logged before.
    pub(crate) floor: Lsn,
}

impl<M: Clone> Past<M> {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self { shard, states: BTreeMap::new(), snapshot: None, begun: None, floor: Lsn(0) }
    }

    /// Ends the block under construction.
    pub(crate) fn seal(&mut self, log: &mut MemoryLog, shard: &Shard, model: M) {
        self.states.insert(log.seal(), (shard.logged(), model));
    }

    /// Begins a snapshot; the block has ended.
    pub(crate) fn begin_snapshot(&mut self, log: &MemoryLog, shard: &mut Shard) {
        self.begun = Some(log.tail());
        shard.begin_snapshot();
    }

    /// Writes the next items of the snapshot that was begun.
    pub(crate) fn write_on(&mut self, shard: &mut Shard, steps: usize) {
        let Some(lsn) = self.begun else { return };
        let Some(chunks) = (0..steps).find_map(|_| shard.step_snapshot()) else { return };
        (self.snapshot, self.begun) = (Some((lsn, chunks)), None);
    }

    /// The process dies; blocks after one that may have been the last durable one, so many `back`, are lost. Returns the shard that comes back,
    /// not yet started and making no mistake, and what was remembered of the model.
    pub(crate) fn crash(
        &mut self,
        log: &mut MemoryLog,
        back: usize,
        from_snapshot: bool,
    ) -> Result<(Shard, M), String> {
        let ends: Vec<Lsn> = self.states.range(self.floor..).map(|(lsn, _)| *lsn).collect();
        let through = ends[ends.len() - 1 - back % ends.len()];
        *log = log.cut(through);
        let mut shard = Shard::new(self.shard);
        log.replay(Lsn(0), &mut shard).map_err(|why| format!("replay: {why}"))?;
        let (state, model) = &self.states[&through];
        same(&shard.logged(), state, "replay")?;
        self.snapshot.take_if(|(lsn, _)| *lsn > through);
        if let Some((lsn, chunks)) = &self.snapshot {
            let mut restored = Shard::restore(chunks)?;
            same(&restored.logged(), &self.states[lsn].0, "snapshot")?;
            log.replay(*lsn, &mut restored).map_err(|why| format!("snapshot and rest: {why}"))?;
            same(&restored.logged(), state, "snapshot and rest")?;
            if from_snapshot {
                shard = restored;
            }
        }
        let model = model.clone();
        self.states.retain(|lsn, _| *lsn <= through);
        Ok((shard, model))
    }
}

/// Compares two states, and tells their lines from a little before the first to the last that differ.
pub(crate) fn same(is: &LoggedState, should: &LoggedState, what: &str) -> Check {
    if is == should {
        return Ok(());
    }
    let (is, should) = (format!("{is:#?}"), format!("{should:#?}"));
    let (mut is, mut should): (Vec<_>, Vec<_>) = (is.lines().collect(), should.lines().collect());
    while is.last().is_some() && is.last() == should.last() {
        is.pop();
        should.pop();
    }
    let alike = is.iter().zip(&should).take_while(|(is, should)| is == should).count();
    let first = alike.saturating_sub(3);
    let (is, should) = (is.split_off(first).join("\n"), should.split_off(first).join("\n"));
    Err(format!("{what}: from line {first} is {is}\nshould be {should}"))
}
