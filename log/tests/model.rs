//! Any sequence of verbs, power cuts and restarts, against a model that is a list.

mod scene;

use proptest::prelude::*;
use scene::options;
use std::sync::Arc;
use stele_log::disk::fault::FaultDisk;
use stele_log::disk::fault::crash::Choice;
use stele_log::{Embedded, Options};
use stele_model::id::{Lsn, Now};
use stele_model::log::{Block, Completion, LogStore};

#[derive(Clone, Debug)]
enum Verb {
    Append { len: usize, inline: bool },
    Poll,
    Work,
    Idle,
    Hold(bool),
    Snapshot,
    Trim,
    Read { back: usize, bytes_max: usize },
    Restart,
    PowerCut(u64),
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        8 => (0..16_000_usize, any::<bool>()).prop_map(|(len, inline)| Verb::Append { len, inline }),
        8 => Just(Verb::Poll),
        4 => Just(Verb::Work),
        1 => Just(Verb::Idle),
        1 => any::<bool>().prop_map(Verb::Hold),
        2 => Just(Verb::Snapshot),
        2 => Just(Verb::Trim),
        3 => (0..20_usize, 1..40_000_usize).prop_map(|(back, bytes_max)| Verb::Read { back, bytes_max }),
        1 => Just(Verb::Restart),
        1 => any::<u64>().prop_map(Verb::PowerCut),
    ]
}

/// The log and what it should be.
struct Pair {
    disk: FaultDisk,
    log: Embedded,
    appended: Vec<Block>,
    durable: usize,
    snapshot: usize,
    count: u64,
}

fn open(disk: &FaultDisk) -> (Embedded, stele_log::Recovery) {
    Embedded::polled(Arc::new(disk.clone()), Options { pool_min: 2, ..options() }).unwrap()
}

impl Pair {
    fn new() -> Self {
        let disk = FaultDisk::new();
        let (log, _) = open(&disk);
        Self { disk, log, appended: Vec::new(), durable: 0, snapshot: 0, count: 0 }
    }

    fn reopen(&mut self, disk: FaultDisk) {
        // The old process is gone, with whatever it had not written.
        let (log, report) = open(&disk);
        (self.log, self.disk) = (log, disk);
        let tail = report.tail.0 as usize;
        assert!((self.durable..=self.appended.len()).contains(&tail), "durable ⊆ recovered ⊆ appended");
        self.appended.truncate(tail);
        self.durable = tail;
        let snapshot = report.snapshot.map_or(0, |lsn| lsn.0 as usize);
        assert!(snapshot >= self.snapshot && snapshot <= tail);
        self.snapshot = snapshot;
        let mut replayed = Vec::new();
        self.log.read(Lsn(snapshot as u64 + 1), usize::MAX, &mut |block| replayed.push(block)).unwrap();
        assert_eq!(replayed, self.appended[snapshot..]);
    }

    fn step(&mut self, verb: Verb) {
        match verb {
            Verb::Append { len, inline } => {
                // No two appends carry the same bytes, also after blocks were lost.
                self.count += 1;
                let body: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + self.count * 7) as u8).collect();
                let lsn = Lsn(self.appended.len() as u64 + 1);
                let block = Block { lsn, time: Now(self.count), entries: 1, body: body.into() };
                self.log.append(block.clone(), inline).unwrap();
                self.appended.push(block);
            }
            Verb::Poll => {
                let mut out = Vec::new();
                self.log.poll(&mut out);
                for completion in out {
                    match completion {
                        Completion::Durable(lsn) => self.durable = lsn.0 as usize,
                        Completion::Failed(error) => panic!("{error:?}"),
                    }
                }
                assert!(self.durable <= self.appended.len());
            }
            Verb::Work => drop(self.log.work().then_some(())),
            Verb::Idle => self.log.idle(),
            Verb::Hold(hold) => self.log.hold(hold),
            Verb::Snapshot => {
                let lsn = Lsn(self.appended.len() as u64);
                self.log.snapshot(lsn, vec![lsn.0.to_le_bytes().to_vec().into()]);
            }
            Verb::Trim => {
                if let Some(lsn) = self.log.snapshot_done() {
                    self.snapshot = lsn.0 as usize;
                    self.log.trim(lsn);
                }
            }
            Verb::Read { back, bytes_max } => self.read(back, bytes_max),
            Verb::Restart => self.reopen(self.disk.copy()),
            Verb::PowerCut(seed) => {
                let mut crashes = self.disk.crashes();
                while crashes.advance() {}
                self.reopen(crashes.image(Choice::Some(seed)));
            }
        }
    }

    fn read(&self, back: usize, bytes_max: usize) {
        let tail = self.log.tail().unwrap().0 as usize;
        assert!(tail >= self.durable && tail <= self.appended.len());
        let from = tail.saturating_sub(back).max(self.snapshot);
        let mut found = Vec::new();
        self.log.read(Lsn(from as u64 + 1), bytes_max, &mut |block| found.push(block)).unwrap();
        assert_eq!(found, self.appended[from..from + found.len()]);
        let bytes = |blocks: &[Block]| blocks.iter().map(|block| block.body.len().max(1)).sum::<usize>();
        let enough = bytes(&found) >= bytes_max || from + found.len() == tail;
        let last = found.len().saturating_sub(1);
        assert!(enough && bytes(&found[..last]) < bytes_max, "as much as was asked for, and hardly more");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_of_which_a_power_cut_takes_what_was_not_durable(verbs in prop::collection::vec(verb(), 1..120)) {
        let mut pair = Pair::new();
        for verb in verbs {
            pair.step(verb);
        }
    }
}
