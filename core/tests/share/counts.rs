//! How many records wait for a group, where counting them takes several turns: against counting them all by hand, whatever comes, goes, is
//! given out and is asked between the steps.

use crate::judge::{self, Check, World as _};
use crate::rig::{PARTITION, Rig, Said, got, positions, session, want};
use crate::subjects::{filtered, publish};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use stele_core::shard::Mutant;
use stele_model::id::{Call, HubId, Position};
use stele_model::machine::{Journal, Machine};
use stele_model::shard::{Answer, ShardEffect, ShardOp};
use stele_model::share::{
    Expect, SettlePolicy, ShardShare, ShardShares, ShareAnswer, ShareInfo, ShareSettings, ShareStart,
    ShareVerb,
};
use stele_model::stream::records::{RecordSettings, Retention};

/// So many that a turn does not look at the names of all, nor at all records.
const SUBJECTS: usize = 5_000;

#[derive(Clone, Copy, Debug)]
enum Op {
    Publish(u16),
    Remove(u16),
    Put,
    Info,
    List,
    Pull(u8),
    Step,
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => any::<u16>().prop_map(Op::Publish),
        3 => any::<u16>().prop_map(Op::Remove),
        1 => Just(Op::Put),
        2 => Just(Op::Info),
        1 => Just(Op::List),
        2 => any::<u8>().prop_map(Op::Pull),
        6 => Just(Op::Step),
        1 => Just(Op::Restart),
    ];
    // Who asks about the group has put it before.
    prop::collection::vec(op, 1..40).prop_map(|ops| [vec![Op::Put], ops].concat())
}

fn subject(n: usize) -> String {
    format!("k.{n}.{}", n % 2)
}

fn settings() -> ShareSettings {
    ShareSettings { settle: SettlePolicy::None, ..filtered(&["k.*.1"]) }
}

fn share(rig: &mut Rig, verb: ShareVerb) -> Said {
    let (session, call, group) = (session(9), Call(2), "g".to_owned());
    rig.ask(ShardOp::Share(ShardShare { session, call, partition: PARTITION, group, verb }))
}

fn put(rig: &mut Rig, settings: ShareSettings) -> Said {
    share(rig, ShareVerb::Put { settings: Box::new(settings), expect: Expect::Any })
}

/// One turn of what is due.
fn step(rig: &mut Rig) -> Said {
    let mut effects = Vec::new();
    if rig.shard.deadline().is_some_and(|at| at <= rig.log.now()) {
        rig.shard.tick(&mut rig.log, &mut effects);
    }
    effects
}

fn infos(said: &Said) -> Vec<ShareInfo> {
    let each = said.iter().filter_map(|(_, effect)| match effect {
        ShardEffect::Answer { answer: Ok(Answer::Share(Ok(answer))), .. } => Some(answer.clone()),
        _ => None,
    });
    let infos = each.flat_map(|answer| match answer {
        ShareAnswer::Info(info) | ShareAnswer::Put { info, .. } => vec![*info],
        ShareAnswer::Listed { groups, .. } => groups,
        other => panic!("{other:?}"),
    });
    infos.collect()
}

struct World {
    rig: Rig,
    /// Which subject each record has.
    records: BTreeMap<u64, usize>,
    end: u64,
    next: u64,
    /// Requests that were not answered.
    open: usize,
}

impl judge::World for World {
    type Op = Op;

    fn begin(mutant: Option<Mutant>) -> Self {
        let mut world = Self {
            rig: Rig::of(RecordSettings::default()).making(mutant),
            records: BTreeMap::new(),
            end: 0,
            next: 0,
            open: 0,
        };
        world.publish(0..SUBJECTS);
        world
    }

    fn perform(&mut self, op: &Op) -> Check {
        let said = match *op {
            Op::Publish(n) => self.publish(std::iter::once(usize::from(n) % (SUBJECTS + 9))),
            Op::Remove(n) => {
                let Some(at) = self.records.keys().nth(usize::from(n) % self.records.len()).copied() else {
                    return Ok(());
                };
                self.records.remove(&at);
                self.rig.remove(at)
            }
            Op::Put => {
                self.open += 1;
                put(&mut self.rig, settings())
            }
            Op::Info => {
                self.open += 1;
                share(&mut self.rig, ShareVerb::Info)
            }
            Op::List => {
                let (hub, call, offset, count_max) = (HubId(0), Call(3), 0, 9);
                self.open += 1;
                self.rig.ask(ShardOp::Shares(ShardShares {
                    hub,
                    call,
                    partition: PARTITION,
                    offset,
                    count_max,
                }))
            }
            Op::Pull(n) => self.rig.pull(u64::from(n), want(u32::from(n) + 1)),
            Op::Step => step(&mut self.rig),
            Op::Restart => {
                self.open = 0;
                self.rig.restart()
            }
        };
        self.judge(&said)
    }

    fn end(mut self) -> Check {
        let said = self.rig.tick();
        self.judge(&said)?;
        if self.open == 0 { Ok(()) } else { Err(format!("{} requests are not answered", self.open)) }
    }
}

impl World {
    fn publish(&mut self, subjects: impl Iterator<Item = usize>) -> Said {
        let subjects: Vec<_> = subjects.collect();
        let names: Vec<_> = subjects.iter().map(|n| subject(*n)).collect();
        for subject in subjects {
            self.records.insert(self.end, subject);
            self.end += 1;
        }
        publish(&mut self.rig, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn judge(&mut self, said: &Said) -> Check {
        said.iter().try_for_each(|one| self.judge_one(&vec![one.clone()]))
    }

    fn judge_one(&mut self, said: &Said) -> Check {
        for (_, at, _, _, left) in got(said) {
            let waits = self.waits();
            if waits.first() != Some(&at) || left != waits.len() as u64 - 1 {
                return Err(format!("{at} is given, {left} behind it; should {:?}", waits.first()));
            }
            self.next = at + 1;
        }
        let waiting = self.waits().len() as u64;
        self.open -= infos(said).len();
        match infos(said).into_iter().find(|info| info.pending != waiting) {
            Some(info) => Err(format!("{waiting} wait, it tells of {}", info.pending)),
            None => Ok(()),
        }
    }

    /// Positions that the group was not given.
    fn waits(&self) -> Vec<u64> {
        self.records.range(self.next..).filter(|(_, n)| **n % 2 == 1).map(|(at, _)| *at).collect()
    }
}

#[test]
fn what_waits_for_a_group_is_told_right_however_long_it_takes_to_count() {
    judge::holds::<World>(100, &ops());
}

#[test]
fn a_count_that_is_told_too_soon_is_caught() {
    judge::catches::<World>(&[(Mutant::HastyCount, "it tells of")], &ops());
}

fn many() -> World {
    let mut world = World::begin(None);
    world.publish((0..SUBJECTS).filter(|n| n % 3 == 0));
    world
}

#[test]
fn a_group_that_begins_with_the_last_records_of_many_subjects_is_made_in_several_turns() {
    let mut world = many();
    let (start, settle, pending_max) = (ShareStart::LastPerSubject, SettlePolicy::Explicit, None);
    let settings = ShareSettings { start, settle, pending_max, ..settings() };
    let mut said = put(&mut world.rig, settings);
    assert!(infos(&said).is_empty(), "it takes longer");
    said.extend(world.publish([1, 3, SUBJECTS + 1].into_iter()));
    said.extend(world.rig.pull(1, want(3)));
    said.extend(world.rig.tick());
    assert_eq!(infos(&said)[0].pending, SUBJECTS as u64 / 2 + 3);
    assert_eq!(positions(&said), [1, 5, 7], "3 came again before the group was there");
    world.rig.restart();
    let mut said = world.rig.pull(2, want(100_000));
    said.extend(world.rig.tick());
    let (born, mut last) = (world.end - 3, BTreeMap::new());
    world.records.range(..born).for_each(|(at, n)| _ = last.insert(*n, *at));
    let lasts: BTreeSet<_> = last.into_iter().filter(|(n, _)| n % 2 == 1).map(|(_, at)| at).collect();
    let expected: Vec<_> = lasts.into_iter().chain(born..world.end).collect();
    assert!(positions(&said) == expected, "they go on where they were, those first that are not settled");
}

#[test]
fn a_group_that_begins_with_the_last_record_of_many_subjects_is_made_when_that_is_found() {
    for (filter, expected) in [("old.*", 1999), ("*.none", 7000)] {
        let mut rig = Rig::of(RecordSettings::default());
        let names: Vec<String> = (0..2000).map(|n| format!("old.{n}")).collect();
        let others: Vec<String> = (0..SUBJECTS).map(subject).collect();
        for names in [names, others] {
            publish(&mut rig, &names.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let settings = ShareSettings { start: ShareStart::Last, ..filtered(&[filter]) };
        let put = ShareVerb::Put { settings: Box::new(settings), expect: Expect::New };
        assert_eq!(infos(&share(&mut rig, put.clone())), [], "there is more to look at than fits a turn");
        publish(&mut rig, &["new"]);
        share(&mut rig, put);
        let made = infos(&rig.tick());
        let next: Vec<u64> = made.iter().map(|info| info.delivered.next.0).collect();
        // What came meanwhile is behind it. Who asked for the same at the same time is told of the same group.
        assert_eq!(next, [expected; 2], "{filter}");
    }
}

#[test]
fn records_that_may_be_the_last_of_their_subjects_are_kept_while_these_are_searched_for() {
    let mut rig = Rig::of(RecordSettings { retention: Retention::Interest, ..RecordSettings::default() });
    put(&mut rig, ShareSettings { settle: SettlePolicy::None, ..filtered(&["never"]) });
    let keeper = ShareSettings { settle: SettlePolicy::Explicit, ..filtered(&[]) };
    rig.put("keeper", keeper, Expect::New).1.unwrap();
    let names: Vec<_> = (0..SUBJECTS).chain(0..2).map(subject).collect();
    publish(&mut rig, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let settings = ShareSettings { start: ShareStart::LastPerSubject, ..filtered(&[]) };
    let verb = ShareVerb::Put { settings: Box::new(settings), expect: Expect::New };
    let (session, call, group) = (session(9), Call(2), "last".to_owned());
    rig.ask(ShardOp::Share(ShardShare { session, call, partition: PARTITION, group, verb }));
    let keeper = ShareVerb::Delete;
    let group = "keeper".to_owned();
    rig.ask(ShardOp::Share(ShardShare { session, call, partition: PARTITION, group, verb: keeper }));
    rig.tick();
    let there: Vec<Position> = rig.shard.logged().partitions[0].batches.iter().map(|of| of.first).collect();
    assert_eq!(there.len(), SUBJECTS, "each subject's last one");
    assert_eq!(there.first(), Some(&Position(2)), "0 and 1 came again");
}

#[test]
fn who_asks_about_a_group_that_goes_meanwhile_hears_of_it() {
    let mut world = many();
    put(&mut world.rig, settings());
    let said = share(&mut world.rig, ShareVerb::Delete);
    let count = said.iter().filter(|(_, effect)| matches!(effect, ShardEffect::Answer { .. })).count();
    assert_eq!(count, 2, "the one that made it, and the one that ended it");
}
