//! The runner on a toy machine (it adds numbers up) and a log that completes when the test says so.

use super::*;
use std::cell::RefCell;
use std::rc::Rc;
use stele_model::log::{Durability, Limits};
use stele_model::machine::Urgency;

#[derive(Default)]
struct Disk {
    blocks: Vec<Block>,
    /// Blocks up to here are durable, and told so at the next poll.
    synced: u64,
    told: u64,
    full: bool,
    wanted: Option<(Lsn, Lsn)>,
    /// What the log was told: changes of liveness, and survivors.
    lives: Vec<(Lsn, i64)>,
    survivors: Option<Vec<(Place, u32)>>,
    snapshot: Option<(Lsn, Vec<Bytes>)>,
}

#[derive(Clone, Default)]
struct TestLog(Rc<RefCell<Disk>>);

impl TestLog {
    fn sync(&self) {
        let mut disk = self.0.borrow_mut();
        disk.synced = disk.blocks.len() as u64;
    }
}

impl LogStore for TestLog {
    fn limits(&self) -> Limits {
        Limits { block_bytes_max: 1 << 16, block_bytes_best: 64, in_flight_max: 1 }
    }
    fn durability(&self) -> Durability {
        Durability::Memory
    }
    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError> {
        let mut disk = self.0.borrow_mut();
        if disk.full {
            return Err(AppendError::Full);
        }
        assert_eq!(block.lsn.0, disk.blocks.len() as u64 + 1);
        disk.blocks.push(block);
        if inline {
            disk.synced = disk.blocks.len() as u64;
        }
        Ok(())
    }
    fn poll(&mut self, out: &mut Vec<Completion>) {
        let mut disk = self.0.borrow_mut();
        if disk.told < disk.synced {
            disk.told = disk.synced;
            out.push(Completion::Durable(Lsn(disk.synced)));
        }
    }
    fn read(&self, from: Lsn, _: usize, sink: &mut dyn FnMut(Block)) -> Result<(), ReadError> {
        let disk = self.0.borrow();
        disk.blocks.iter().filter(|block| block.lsn >= from).take(2).for_each(|block| sink(block.clone()));
        Ok(())
    }
    fn tail(&self) -> Result<Lsn, ReadError> {
        Ok(Lsn(self.0.borrow().blocks.len() as u64))
    }
    fn trim(&mut self, _: Lsn) {}
    fn live(&mut self, changes: &[(Lsn, i64)]) {
        self.0.borrow_mut().lives.extend(changes);
    }
    fn wanted(&mut self) -> Option<(Lsn, Lsn)> {
        self.0.borrow_mut().wanted.take()
    }
    fn survivors(&mut self, _: (Lsn, Lsn), records: Vec<(Place, u32)>) {
        self.0.borrow_mut().survivors = Some(records);
    }
    fn snapshot(&mut self, lsn: Lsn, chunks: Vec<Bytes>) {
        self.0.borrow_mut().snapshot = Some((lsn, chunks));
    }
    fn snapshot_done(&mut self) -> Option<Lsn> {
        None
    }
    fn load_snapshot(&self) -> Result<Option<(Lsn, Vec<Bytes>)>, ReadError> {
        Ok(None)
    }
}

#[derive(Default)]
struct Sum {
    sum: u64,
    /// What a snapshot says, and after how many steps more.
    frozen: Option<(u64, u32)>,
    /// Steps of a snapshot before its last.
    steps: u32,
    live: Vec<(Lsn, i64)>,
}

enum Add {
    Urgent(u64),
    Riding(u64),
    Look,
}

impl Machine for Sum {
    type Op = Add;
    type Effect = u64;

    fn take(&mut self, op: Add, journal: &mut dyn Journal, effects: &mut Effects<u64>) {
        let (urgency, number) = match op {
            Add::Urgent(number) => (Urgency::Urgent, number),
            Add::Riding(number) => (Urgency::Rides, number),
            Add::Look => return effects.push((journal.tail(), self.sum)),
        };
        let place = journal.append(urgency, &[&number.to_le_bytes()]);
        let applied = self.apply(place, journal.now(), &number.to_le_bytes());
        assert_eq!(applied, Ok(()));
        self.live.push((place.lsn, 8));
        effects.push((place.lsn, self.sum));
    }
    fn tick(&mut self, _: &mut dyn Journal, _: &mut Effects<u64>) {}
    fn deadline(&self) -> Option<Now> {
        None
    }
    fn apply(&mut self, _: Place, _: Now, entry: &[u8]) -> Result<(), String> {
        let number = entry.try_into().map_err(|_| format!("an entry of {} bytes", entry.len()))?;
        self.sum += u64::from_le_bytes(number);
        Ok(())
    }
    fn started(&mut self, _: &mut dyn Journal, _: &mut Effects<u64>) {}
    fn begin_snapshot(&mut self) {
        self.frozen = Some((self.sum, self.steps));
    }
    fn step_snapshot(&mut self) -> Option<Vec<Bytes>> {
        match self.frozen.take()? {
            (sum, 0) => Some(vec![Bytes::copy_from_slice(&sum.to_le_bytes())]),
            (sum, left) => {
                self.frozen = Some((sum, left - 1));
                None
            }
        }
    }
    fn live_changes(&mut self, out: &mut Vec<(Lsn, i64)>) {
        out.append(&mut self.live);
    }
    fn live_in(&self, _: (Lsn, Lsn), _: &mut Vec<(Place, u32)>) {}
}

fn start(log: &TestLog) -> Runner<Sum, TestLog> {
    match Runner::start(log.clone(), Settings::default(), Now(1), |_| Ok(Sum::default())) {
        Ok(runner) => runner,
        Err(error) => panic!("{error:?}"),
    }
}

fn turn(runner: &mut Runner<Sum, TestLog>, now: u64, idle: bool) -> Vec<u64> {
    let mut out = Vec::new();
    runner.turn(Now(now), idle, &mut out);
    out
}

#[test]
fn an_effect_leaves_only_after_its_block_is_durable() {
    let log = TestLog::default();
    let mut runner = start(&log);
    runner.take(Now(1), Add::Urgent(5));
    assert_eq!(turn(&mut runner, 1, false), []);
    runner.take(Now(2), Add::Urgent(6));
    runner.take(Now(2), Add::Look);
    assert_eq!(turn(&mut runner, 2, false), [], "one block is in flight, the next fills");
    log.sync();
    assert_eq!(turn(&mut runner, 3, false), [5], "the second block is only handed over now");
    log.sync();
    assert_eq!(turn(&mut runner, 4, false), [11, 11]);
    assert!(runner.settled());
}

#[test]
fn an_entry_nobody_waits_for_starts_no_commit_until_it_has_ridden_long_enough() {
    let log = TestLog::default();
    let mut runner = start(&log);
    runner.take(Now(0), Add::Riding(1));
    assert_eq!(turn(&mut runner, 10, true), []);
    assert_eq!(log.0.borrow().blocks.len(), 0);
    assert_eq!(runner.deadline(), Some(Now(2001)));
    assert_eq!(turn(&mut runner, 2001, true), [1], "written inline, since the log is idle");
    runner.take(Now(2002), Add::Riding(1));
    runner.take(Now(2002), Add::Urgent(1));
    assert_eq!(turn(&mut runner, 2002, true), [2, 3], "it rides with the urgent one");
    assert_eq!(runner.stats().commits, 2);
}

#[test]
fn what_is_larger_than_the_best_block_goes_down_in_several() {
    let log = TestLog::default();
    let mut runner = start(&log);
    (0..20).for_each(|_| runner.take(Now(1), Add::Urgent(1)));
    let mut seen = Vec::new();
    for now in 1..20 {
        seen.extend(turn(&mut runner, now, false));
        log.sync();
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
    assert!(log.0.borrow().blocks.iter().all(|block| block.body.len() <= 64));
}

#[test]
fn a_long_replay_is_followed_by_a_snapshot_so_that_the_next_one_is_short() {
    let log = TestLog::default();
    let mut runner = start(&log);
    for n in 1..=50 {
        runner.take(Now(n), Add::Urgent(n));
        turn(&mut runner, n, true);
    }
    for (replay_bytes_max, snapshots) in [(50 * 12, 0), (50 * 12 - 1, 1)] {
        let settings = Settings { replay_bytes_max, ..Settings::default() };
        let again = Runner::start(log.clone(), settings, Now(51), |_| Ok(Sum::default()));
        let Ok(mut again) = again else { panic!("it starts") };
        turn(&mut again, 51, true);
        assert_eq!(again.stats().snapshots, snapshots);
    }
}

#[test]
fn a_snapshot_is_written_turn_by_turn_and_is_of_the_block_after_which_it_began() {
    let log = TestLog::default();
    let settings = Settings { snapshot_bytes: 1, ..Settings::default() };
    let slow = |_| Ok(Sum { steps: 3, ..Sum::default() });
    let Ok(mut runner) = Runner::start(log.clone(), settings, Now(1), slow) else { panic!("it starts") };
    for n in 1..=4 {
        assert!(log.0.borrow().snapshot.is_none(), "before turn {n}");
        runner.take(Now(n), Add::Urgent(n));
        turn(&mut runner, n, true);
        assert_eq!(runner.deadline().is_some(), n < 4, "as long as it is written, another turn is due");
    }
    let sum = Bytes::copy_from_slice(&1u64.to_le_bytes());
    assert_eq!(log.0.borrow().snapshot, Some((Lsn(1), vec![sum])));
}

#[test]
fn a_machine_comes_back_from_its_log() {
    let log = TestLog::default();
    let mut runner = start(&log);
    for n in 1..=50 {
        runner.take(Now(n), Add::Urgent(n));
        turn(&mut runner, n, true);
    }
    let sum = runner.machine().sum;
    assert_eq!(start(&log).machine().sum, sum);
}

#[test]
fn a_full_log_keeps_what_it_could_not_take_and_goes_on_when_there_is_space() {
    let log = TestLog::default();
    let mut runner = start(&log);
    log.0.borrow_mut().full = true;
    runner.take(Now(1), Add::Urgent(5));
    assert_eq!(turn(&mut runner, 1, true), []);
    assert!(runner.full());
    log.0.borrow_mut().full = false;
    assert_eq!(turn(&mut runner, 2, true), [5]);
    assert!(!runner.full());
}

#[test]
fn a_block_whose_entries_do_not_add_up_stops_the_start() {
    let log = TestLog::default();
    let body = Bytes::from_static(&[8, 0, 0, 0, 1, 2]);
    log.0.borrow_mut().blocks.push(Block { lsn: Lsn(1), time: Now(1), entries: 1, body });
    let error = Runner::start(log, Settings::default(), Now(1), |_| Ok(Sum::default())).err();
    let place = Place { lsn: Lsn(1), at: 4 };
    assert_eq!(error, Some(StartError::Entry { place, why: "the entry is longer than its block".into() }));
}

#[test]
fn the_log_learns_what_was_let_go_of_only_when_no_fetch_can_want_it_any_more() {
    let log = TestLog::default();
    let mut runner = start(&log);
    runner.take(Now(1), Add::Urgent(5));
    log.0.borrow_mut().wanted = Some((Lsn(1), Lsn(1)));
    assert_eq!(
        turn(&mut runner, 1, true),
        [5],
        "durable at once; the driver now begins to fetch for this effect"
    );
    runner.set_fetches(Fetches { begun: 1, oldest: 0 });
    turn(&mut runner, 2, true);
    assert!(log.0.borrow().lives.is_empty() && log.0.borrow().survivors.is_none());
    runner.set_fetches(Fetches { begun: 2, oldest: 1 });
    turn(&mut runner, 3, true);
    assert_eq!(log.0.borrow().lives, [(Lsn(1), 8)], "a later fetch is of no concern");
    assert_eq!(log.0.borrow().survivors, Some(vec![]));
}
