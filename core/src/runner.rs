//! Joins a state machine to its log: operations go in, blocks go down, effects come out once what they wait for is durable.
//!
//! Called by the thread that owns the machine (in the server), and by the simulator's scheduler. Holds no clock: `now` is
//! handed in. What must hold: an effect never leaves before its block is durable (I1); one block is being written while the
//! next fills, and nobody waits for a block to become fuller (STORAGE §1); entries that nobody waits for do not start a
//! commit (S3). Not here: where records' bytes go when memory is short (the log keeps them), and joining deliveries to their
//! bytes (`runner::dispatch`).

pub mod buffers;
pub mod dispatch;
mod memory;
mod open;
mod pace;

use buffers::Buffers;
use memory::{Memory, Wave};
use open::Open;
use pace::Pace;
use std::collections::VecDeque;
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{AppendError, Block, Completion, LogStore, ReadError};
use stele_model::machine::{Effects, Journal, Machine};

use bytes::Bytes;

/// Time between two snapshots while the log has no room and something is still logged, milliseconds.
const SNAPSHOT_FULL_MS: u64 = 1_000;

/// Time between two questions to the log whether it has room, milliseconds: each may be a system call, and turns are many.
const ROOM_ASK_MS: u64 = 100;

/// How a runner behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Longest time that an entry nobody waits for stays unwritten, milliseconds.
    pub ride_ms_max: u64,
    /// Riding bytes that start a commit by themselves.
    pub ride_bytes_max: usize,
    /// Largest body that is written on the machine's own thread when the log is idle, bytes.
    pub inline_bytes_max: usize,
    /// Bytes of blocks that memory may keep for readers, until [`Runner::set_memory_max`] says otherwise.
    pub memory_bytes_max: usize,
    /// Log bytes between two snapshots.
    pub snapshot_bytes: u64,
    /// Time between two snapshots when there was anything to log, milliseconds.
    pub snapshot_ms: u64,
    /// Log bytes that a start may have replayed without a snapshot being due at once: who is killed again and again would replay more
    /// each time.
    pub replay_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ride_ms_max: 2,
            ride_bytes_max: 64 << 10,
            inline_bytes_max: 16 << 10,
            memory_bytes_max: 256 << 20,
            snapshot_bytes: 4 << 30,
            snapshot_ms: 60_000,
            replay_bytes_max: 16 << 20,
        }
    }
}

/// Why a machine could not be brought back from its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// The log or its snapshot could not be read.
    Read(ReadError),
    /// The snapshot is of another version, or wrong.
    Snapshot(String),
    /// An entry is of another version, or wrong.
    Entry {
        /// Where.
        place: Place,
        /// What is wrong.
        why: String,
    },
}

/// What a runner has done since it started; plain sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks handed to the log.
    pub commits: u64,
    /// Their bodies, bytes.
    pub commit_bytes: u64,
    /// Their entries.
    pub entries: u64,
    /// Microseconds from hand-over to durable, added up; the log measures them.
    pub commit_us: u64,
    /// Blocks written on the machine's own thread.
    pub inline_commits: u64,
    /// Snapshots handed to the log.
    pub snapshots: u64,
}

/// A machine on its log.
pub struct Runner<M: Machine, L: LogStore> {
    machine: M,
    log: L,
    settings: Settings,
    pace: Pace,
    open: Open,
    /// Sealed, not yet handed to the log.
    sealed: VecDeque<Block>,
    sealed_bytes: usize,
    /// Handed to the log, not yet durable.
    in_flight: VecDeque<Lsn>,
    durable: Lsn,
    /// Effects by the block they wait for: index 0 waits for `durable + 1`.
    held: VecDeque<Vec<M::Effect>>,
    ready: Vec<M::Effect>,
    memory: Memory,
    /// Changes that wait until all that was decided before them has left.
    waves: VecDeque<Noted>,
    /// The first waves, so many, wait for fetches only.
    waves_left: usize,
    /// How far blocks and volatile pieces had come when changes were last noted.
    noted: (Lsn, Lsn),
    fetches: Fetches,
    snapshot: SnapshotState,
    broken: Option<String>,
    full: bool,
    stats: Stats,
    effects: Effects<M::Effect>,
    completions: Vec<Completion>,
}

/// Reads from the log that are under way; records let go of after they began stay until they end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// How many were ever begun.
    pub begun: u64,
    /// Number of the oldest that has not ended; equal to `begun` if there is none.
    pub oldest: u64,
}

/// What a turn changed, until the log may be told.
struct Noted {
    wave: Wave,
    /// Records that the log has asked for: what is let go of meanwhile stays in place for its readers.
    survivors: Option<Survivors>,
    /// Once all that was decided before has left: the fetches begun by then, which may read what the wave lets go of.
    begun: Option<u64>,
}

/// The log's range and the records in it.
type Survivors = ((Lsn, Lsn), Vec<(Place, u32)>);

#[derive(Default)]
struct SnapshotState {
    /// Begun after this block, and being written turn by turn.
    begun: Option<Lsn>,
    /// Written, waiting for its block to be durable.
    pending: Option<(Lsn, Vec<Bytes>)>,
    /// With the log, not yet known to be durable.
    writing: bool,
    /// Durable: the log below is not needed for replay any more, but was not told so yet.
    trim_due: Option<Lsn>,
    bytes_since: u64,
    last_at: Now,
    /// When the log was last asked whether it has room.
    asked_at: Now,
}

impl<M: Machine, L: LogStore> Runner<M, L> {
    /// Brings a machine back: the newest snapshot by `restore` (or a fresh one, if it is handed `None`), then the rest of the log by
    /// [`Machine::apply`], then [`Machine::started`].
    ///
    /// # Errors
    /// Nothing is passed over: an unreadable snapshot or entry stops the start.
    pub fn start(
        log: L,
        settings: Settings,
        now: Now,
        restore: impl FnOnce(Option<Vec<Bytes>>) -> Result<M, String>,
    ) -> Result<Self, StartError> {
        let (from, chunks) = match log.load_snapshot().map_err(StartError::Read)? {
            Some((lsn, chunks)) => (lsn, Some(chunks)),
            None => (Lsn(0), None),
        };
        let mut machine = restore(chunks).map_err(StartError::Snapshot)?;
        let tail = log.tail().map_err(StartError::Read)?;
        let replayed = replay(&log, &mut machine, from, tail)?;
        let mut pace = Pace::new(now, replayed.time);
        let time = pace.at(now);
        let is_long = replayed.bytes > settings.replay_bytes_max || log.is_scattered();
        let bytes_since = replayed.bytes.max(if is_long { settings.snapshot_bytes } else { 0 });
        let mut runner = Self {
            machine,
            settings,
            pace,
            open: Open::new(Lsn(tail.0 + 1), time, log.limits()),
            log,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
            in_flight: VecDeque::new(),
            durable: tail,
            held: VecDeque::new(),
            ready: Vec::new(),
            memory: Memory::new(settings.memory_bytes_max),
            waves: VecDeque::new(),
            waves_left: 0,
            noted: (Lsn(0), Lsn(0)),
            fetches: Fetches::default(),
            snapshot: SnapshotState { bytes_since, last_at: time, ..SnapshotState::default() },
            broken: None,
            full: false,
            stats: Stats::default(),
            effects: Vec::new(),
            completions: Vec::new(),
        };
        runner.machine.started(&mut runner.open, &mut runner.effects);
        runner.hold_effects();
        Ok(runner)
    }

    /// Takes one operation. Cheap; nothing is written before [`Self::turn`].
    pub fn take(&mut self, now: Now, op: M::Op) {
        self.open.advance(self.pace.at(now));
        self.machine.take(op, &mut self.open, &mut self.effects);
        self.hold_effects();
    }

    /// Ends a turn: lets the machine do what is due, hands blocks to the log, and moves the effects that may leave to `out`. `idle`: no
    /// further operation is waiting, so a small block may be written at once on this thread.
    pub fn turn(&mut self, now: Now, idle: bool, out: &mut Vec<M::Effect>) {
        let now = self.pace.at(now);
        self.open.advance(now);
        if self.machine.deadline().is_some_and(|due| due <= now) {
            self.machine.tick(&mut self.open, &mut self.effects);
            self.hold_effects();
        }
        self.let_go();
        self.collect();
        // Publishers are held back, so perhaps nobody else appends.
        self.full = self.full && !self.log.has_room();
        self.commit(now, idle);
        self.collect();
        self.advance_snapshot(now);
        self.note_changes();
        out.append(&mut self.ready);
    }

    /// When [`Self::turn`] has something to do by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        let ride = self.open.oldest().map(|since| since.plus_ms(self.settings.ride_ms_max));
        let ride = if self.in_flight.is_empty() { ride } else { None };
        let snapshot = self.snapshot.begun.map(|_| Now(0));
        [ride, snapshot, self.machine.deadline()]
            .into_iter()
            .flatten()
            .min()
            .map(|due| self.pace.clock_at(due))
    }

    /// Bytes that wait for the log. The driver stops taking operations above its bound and goes on when completions lower it.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.sealed_bytes + self.open.len()
    }

    /// Starts to write everything, also what nobody waits for; for an orderly end. Done when [`Self::settled`].
    pub fn flush(&mut self) {
        self.open.hurry();
    }

    /// Everything taken so far is durable, and every effect has left.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty() && self.in_flight.is_empty() && self.ready.is_empty()
    }

    /// The log cannot be written any more; what and why. What was in flight is unknown, and no effect leaves any more.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The log has no space for more.
    #[must_use]
    pub fn full(&self) -> bool {
        self.full
    }

    /// The bytes of a record if memory holds them. Only for records of durable blocks, and volatile ones.
    #[must_use]
    pub fn bytes(&self, place: Place, len: u32) -> Option<Bytes> {
        self.memory.bytes(place, len)
    }

    /// Bytes of blocks that memory keeps for readers.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory.held_bytes()
    }

    /// How many it may keep from now on; what is over goes at once, the oldest first.
    pub fn set_memory_max(&mut self, bytes: usize) {
        self.memory.set_max(bytes);
    }

    /// Where memory for blocks comes from, from now on.
    pub fn set_buffers(&mut self, buffers: Box<dyn Buffers>) {
        self.open.set_buffers(buffers);
    }

    /// The whole body of a block, if memory holds it.
    #[must_use]
    pub fn block(&self, lsn: Lsn) -> Option<&Bytes> {
        self.memory.block(lsn)
    }

    /// How far the driver's reads from the log have come.
    pub fn set_fetches(&mut self, fetches: Fetches) {
        self.fetches = fetches;
    }

    /// The machine, to look at.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The log, to look at.
    #[must_use]
    pub fn log(&self) -> &L {
        &self.log
    }

    /// Sums since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { commit_us: self.log.commit_us(), ..self.stats }
    }

    /// The last durable block.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    fn hold_effects(&mut self) {
        for (after, effect) in self.effects.drain(..) {
            if after <= self.durable {
                self.ready.push(effect);
                continue;
            }
            assert!(after <= self.open.lsn(), "I2: an effect waits for a block that was begun");
            let slot = (after.0 - self.durable.0 - 1) as usize;
            if self.held.len() <= slot {
                self.held.resize_with(slot + 1, Vec::new);
            }
            self.held[slot].push(effect);
        }
    }

    /// What the machine took hold of and let go of this turn, to be passed on when what it decided before has left.
    fn note_changes(&mut self) {
        if let Some((piece, bytes)) = self.open.take_volatile() {
            self.memory.add_volatile(piece, bytes);
        }
        let mut changes = Vec::new();
        self.machine.live_changes(&mut changes);
        let survivors = self.survivors();
        let come_to = (self.open.tail(), self.open.volatile_tail());
        if !changes.is_empty() || survivors.is_some() || self.noted != come_to {
            self.noted = come_to;
            let wave = Wave { through: come_to.0, volatile_through: come_to.1, changes };
            self.waves.push_back(Noted { wave, survivors, begun: None });
        }
    }

    /// Passes on the changes of earlier turns: their deliveries have left, with the bytes.
    fn let_go(&mut self) {
        for noted in self.waves.iter_mut().skip(self.waves_left) {
            if noted.wave.through > self.durable {
                break;
            }
            // What was decided before has left by the end of the last turn, and its fetches have begun.
            noted.begun = Some(self.fetches.begun);
            self.waves_left += 1;
        }
        while let Some(noted) = self.waves.front()
            && noted.begun.is_some_and(|begun| begun <= self.fetches.oldest)
        {
            self.memory.wave(&noted.wave);
            if !noted.wave.changes.is_empty() {
                self.log.live(&noted.wave.changes);
            }
            self.waves_left -= 1;
            if let Some(Noted { survivors: Some((range, records)), .. }) = self.waves.pop_front() {
                self.log.survivors(range, records);
            }
        }
        // The log takes a block of which it was told nothing for dead, so it trims only what it has been told all of.
        if let Some(lsn) = self.snapshot.trim_due
            && self.waves.front().is_none_or(|noted| noted.wave.through > lsn)
        {
            self.snapshot.trim_due = None;
            self.log.trim(lsn);
        }
    }

    /// Hands over as much as the log takes. A block that could still grow goes only when nothing is in flight: what comes
    /// meanwhile shares its sync. Blocks that are as large as they should be may queue up behind one another.
    fn commit(&mut self, now: Now, idle: bool) {
        self.open.take_sealed(&mut self.sealed, &mut self.sealed_bytes);
        while self.broken.is_none() && (self.in_flight.len() as u32) < self.log.limits().in_flight_max {
            if self.sealed.is_empty() && !(self.in_flight.is_empty() && self.seal_if_due(now)) {
                return;
            }
            let Some(block) = self.sealed.front().cloned() else { return };
            let alone = self.sealed.len() == 1 && self.in_flight.is_empty();
            let inline = idle && alone && block.body.len() <= self.settings.inline_bytes_max;
            let (lsn, bytes, entries) = (block.lsn, block.body.len(), block.entries);
            match self.append(block, inline) {
                Ok(()) => {
                    self.stats.inline_commits += u64::from(inline);
                    self.handed_over(lsn, bytes, entries);
                }
                Err(AppendError::Full) => return,
                Err(error) => self.fail(format!("append block {lsn}: {error:?}")),
            }
        }
    }

    /// A full log takes what was begun into its reserve; the driver sees [`Self::full`] and sends nothing more that needs space.
    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError> {
        let result = self.log.append(block.clone(), inline);
        self.full = result == Err(AppendError::Full);
        if !self.full {
            return result;
        }
        self.log.use_reserve(true);
        let result = self.log.append(block, inline);
        self.log.use_reserve(false);
        result
    }

    fn handed_over(&mut self, lsn: Lsn, bytes: usize, entries: u32) {
        let block = self.sealed.pop_front();
        assert!(block.as_ref().is_some_and(|block| block.lsn == lsn), "I3: blocks go down in order");
        if let Some(block) = block {
            self.memory.add(lsn, block.body);
        }
        self.sealed_bytes -= bytes;
        self.in_flight.push_back(lsn);
        self.snapshot.bytes_since += bytes as u64;
        self.stats.commits += 1;
        self.stats.commit_bytes += bytes as u64;
        self.stats.entries += u64::from(entries);
    }

    /// Seals the open block if somebody waits for it, or if what rides in it has waited long enough.
    fn seal_if_due(&mut self, now: Now) -> bool {
        let rode = self.open.oldest().is_some_and(|since| since.plus_ms(self.settings.ride_ms_max) <= now);
        let due = self.open.urgent() || rode || self.open.len() >= self.settings.ride_bytes_max;
        if !due || self.open.is_empty() {
            return false;
        }
        self.open.seal();
        self.open.take_sealed(&mut self.sealed, &mut self.sealed_bytes);
        self.begin_snapshot(now);
        true
    }

    fn collect(&mut self) {
        self.log.poll(&mut self.completions);
        for completion in std::mem::take(&mut self.completions) {
            match completion {
                Completion::Durable(through) => self.release(through),
                Completion::Failed(error) => self.fail(format!("write the log: {error:?}")),
            }
        }
    }

    /// What waited for blocks up to `through` may leave.
    fn release(&mut self, through: Lsn) {
        while self.in_flight.front().is_some_and(|lsn| *lsn <= through) {
            self.in_flight.pop_front();
        }
        while self.durable < through {
            self.durable.0 += 1;
            if let Some(mut effects) = self.held.pop_front() {
                self.ready.append(&mut effects);
            }
        }
    }

    fn fail(&mut self, why: String) {
        if self.broken.is_none() {
            self.broken = Some(why);
        }
    }

    /// What the log wants to know before it moves records, as of now.
    fn survivors(&mut self) -> Option<Survivors> {
        let range = self.log.wanted()?;
        let mut records = Vec::new();
        self.machine.live_in(range, &mut records);
        Some((range, records))
    }

    /// Begins a snapshot of the state as of the block just sealed, if it is time for one.
    fn begin_snapshot(&mut self, now: Now) {
        let state = &mut self.snapshot;
        if state.writing || state.begun.is_some() || state.pending.is_some() || state.bytes_since == 0 {
            return;
        }
        let waited = |ms: u64| state.last_at.plus_ms(ms) <= now;
        let mut due = state.bytes_since >= self.settings.snapshot_bytes || waited(self.settings.snapshot_ms);
        if !due && waited(SNAPSHOT_FULL_MS) && state.asked_at.plus_ms(ROOM_ASK_MS) <= now {
            // Only a snapshot lets the log give back what readers have drained. Somebody else may have stopped the publishers before it was full.
            state.asked_at = now;
            due = !self.log.has_room();
        }
        if !due {
            return;
        }
        assert!(self.open.is_empty(), "I4: a snapshot is of a whole number of blocks");
        state.begun = Some(Lsn(self.open.lsn().0 - 1));
        self.machine.begin_snapshot();
        state.bytes_since = 0;
        state.last_at = now;
    }

    fn advance_snapshot(&mut self, now: Now) {
        if self.open.is_empty() && self.sealed.is_empty() && self.in_flight.is_empty() {
            self.begin_snapshot(now);
        }
        if let Some(lsn) = self.snapshot.begun
            && let Some(chunks) = self.machine.step_snapshot()
        {
            self.snapshot.begun = None;
            self.snapshot.pending = Some((lsn, chunks));
        }
        if self.snapshot.pending.as_ref().is_some_and(|(lsn, _)| *lsn <= self.durable)
            && let Some((lsn, chunks)) = self.snapshot.pending.take()
        {
            self.log.snapshot(lsn, chunks);
            self.snapshot.writing = true;
            self.stats.snapshots += 1;
        }
        if let Some(lsn) = self.log.snapshot_done() {
            self.snapshot.writing = false;
            self.snapshot.trim_due = Some(lsn);
        }
    }
}

/// What was replayed.
struct Replayed {
    /// Of the last block.
    time: Now,
    /// Of all their bodies.
    bytes: u64,
}

/// Applies all entries after `from`.
fn replay<M: Machine, L: LogStore>(
    log: &L,
    machine: &mut M,
    from: Lsn,
    tail: Lsn,
) -> Result<Replayed, StartError> {
    const READ_BYTES: usize = 8 << 20;
    let mut next = Lsn(from.0 + 1);
    let mut replayed = Replayed { time: Now(0), bytes: 0 };
    while next <= tail {
        let mut failed = None;
        let before = next;
        log.read(next, READ_BYTES, &mut |block: Block| {
            if failed.is_some() {
                return;
            }
            if block.lsn != next {
                let what = format!("the log gave block {} where {next} was due", block.lsn);
                failed = Some(StartError::Read(ReadError::Corrupt { at: next, what }));
                return;
            }
            next.0 += 1;
            replayed.time = block.time;
            replayed.bytes += block.body.len() as u64;
            failed = apply_block(machine, &block).err();
        })
        .map_err(StartError::Read)?;
        if let Some(error) = failed {
            return Err(error);
        }
        if next == before {
            let what = format!("the log gave nothing for block {next}, its tail is {tail}");
            return Err(StartError::Read(ReadError::Corrupt { at: next, what }));
        }
    }
    Ok(replayed)
}

fn apply_block<M: Machine>(machine: &mut M, block: &Block) -> Result<(), StartError> {
    let mut at = 0usize;
    for _ in 0..block.entries {
        let place = Place { lsn: block.lsn, at: at as u32 + open::ENTRY_HEAD_BYTES as u32 };
        let wrong = |why: &str| StartError::Entry { place, why: why.to_owned() };
        let head = block
            .body
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>())
            .ok_or_else(|| wrong("the block ends early"))?;
        let end = at + open::ENTRY_HEAD_BYTES + u32::from_le_bytes(*head) as usize;
        let entry = block
            .body
            .get(at + open::ENTRY_HEAD_BYTES..end)
            .ok_or_else(|| wrong("the entry is longer than its block"))?;
        machine.apply(place, block.time, entry).map_err(|why| StartError::Entry { place, why })?;
        at = end;
    }
    if at == block.body.len() {
        return Ok(());
    }
    let place = Place { lsn: block.lsn, at: at as u32 };
    Err(StartError::Entry { place, why: format!("{} bytes after the last entry", block.body.len() - at) })
}

#[cfg(test)]
mod tests;
