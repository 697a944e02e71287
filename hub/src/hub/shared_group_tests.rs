//! What a hub does with shared groups: who is asked, who is answered, and what is kept of a taker.

use super::stage::{Stage, check, id};
use super::*;
use stele_model::id::{HubId, Position};
use stele_model::settle::Run;
use stele_model::shard::Answer;
use stele_model::share::{
    Pull, PullEnd, PullWant, Push, Reached, ShareAnswer, ShareHow, ShareNews, ShareRef, ShareRefusal,
    ShareRequest, ShareSettle, ShareSettles, ShareVerb, Take, TakerCredit,
};
use stele_model::stream::{PartitionRef, StreamRef};

fn of(stream: &str, index: u32) -> ShareRef {
    let of = PartitionRef { stream: StreamRef::Name(stream.to_owned()), index };
    ShareRef { of, group: "g".to_owned() }
}

fn ask(stage: &mut Stage, session: u64, op: Op) -> HubOut {
    let mut out = HubOut::default();
    stage.submit(session, 0, op, &mut out);
    out
}

fn from_shard(stage: &mut Stage, shard: u16, message: ToHub) -> HubOut {
    let mut out = HubOut::default();
    stage.hub.from_shard(Now(1_000_000), ShardId(shard), message, &mut out);
    out
}

fn pull(taker: u64) -> Op {
    Op::Pull(Pull { share: of("s", 0), taker, want: PullWant { count: 1, ..PullWant::default() } })
}

fn ended(session: u64, taker: u64) -> ToHub {
    let news = Box::new(ShareNews::Ended { taker, why: PullEnd::NoRecords });
    ToHub::Shared { session: id(session), news }
}

#[test]
fn a_pull_goes_to_its_partitions_shard_and_is_over_with_its_end() {
    let mut stage = check("~ stream s 2");
    let out = ask(&mut stage, 1, pull(7));
    let [(shard, ShardOp::Take(take))] = &out.shards[..] else { panic!("{:?}", out.shards) };
    assert_eq!((take.taker.number, &take.group[..]), (7, "g"));
    assert!(matches!(take.how, Take::Pull(PullWant { count: 1, .. })));
    assert_eq!((out.completions.len(), stage.hub.open_submits(id(1))), (0, 0), "no answer is owed");
    let shard = shard.0;
    assert_eq!(from_shard(&mut stage, shard, ended(1, 7)).wakes.len(), 1);
    assert_eq!(from_shard(&mut stage, shard, ended(1, 7)).wakes.len(), 0, "it is over");
    assert!(ask(&mut stage, 1, Op::Untake { taker: 7 }).shards.is_empty());
}

#[test]
fn what_the_user_may_not_read_is_refused() {
    let mut stage = check("~ stream s 1");
    for op in [pull(1), Op::Share(ShareRequest { share: of("s", 0), verb: ShareVerb::Info })] {
        let out = ask(&mut stage, 3, op);
        assert!(matches!(&out.completions[..], [(_, _, Outcome::Refused(Refusal::Denied { .. }))]));
        assert!(out.shards.is_empty());
    }
    let missing = Op::Share(ShareRequest { share: of("t", 0), verb: ShareVerb::Info });
    assert!(matches!(&ask(&mut stage, 1, missing).completions[..], [(_, _, Outcome::Refused(_))]));
    assert_eq!((stage.hub.open_submits(id(3)), stage.hub.open_submits(id(1))), (0, 0));
}

#[test]
fn awaited_settles_of_several_shards_have_one_answer_and_others_none() {
    let mut stage = check("~ stream s 2");
    let runs = vec![Run { first: Position(3), count: 1 }];
    let settle =
        |index| ShareSettle { share: of("s", index), how: ShareHow::Accept, runs: runs.clone(), delivery: 0 };
    let settles = |awaited| Op::SettleShares(ShareSettles { settles: vec![settle(0), settle(1)], awaited });
    let out = ask(&mut stage, 1, settles(false));
    assert_eq!((out.shards.len(), out.completions.len(), stage.hub.open_submits(id(1))), (2, 0, 0));
    let out = ask(&mut stage, 1, settles(true));
    let calls: Vec<(u16, Call)> = out
        .shards
        .iter()
        .filter_map(|(shard, op)| match op {
            ShardOp::SettleShares(settles) => settles.answer.map(|(hub, call)| {
                assert_eq!(hub, HubId(0));
                (shard.0, call)
            }),
            _ => None,
        })
        .collect();
    assert_eq!(calls.len(), 2);
    let settled =
        |call| ToHub::Answer { call, answer: Ok(Answer::Share(Ok(ShareAnswer::Settled { count: 1 }))) };
    assert!(from_shard(&mut stage, calls[0].0, settled(calls[0].1)).completions.is_empty());
    let out = from_shard(&mut stage, calls[1].0, settled(calls[1].1));
    let [(_, _, Outcome::Done(Done::Share(said)))] = &out.completions[..] else { panic!("{out:?}") };
    assert_eq!(*said, Ok(ShareAnswer::Settled { count: 2 }));
}

#[test]
fn a_push_that_is_refused_leaves_nothing_behind_and_one_that_is_attached_has_credit() {
    let mut stage = check("~ stream s 1");
    let push = |taker| Op::Push(Push { share: of("s", 0), taker, bytes_max: 100 });
    for (taker, answer) in [(4, Err(ShareRefusal::IsPull)), (5, Ok(ShareAnswer::Attached))] {
        let out = ask(&mut stage, 1, push(taker));
        let [(shard, ShardOp::Take(take))] = &out.shards[..] else { panic!("{out:?}") };
        let Take::Push { call, bytes_max: 100 } = take.how else { panic!("{take:?}") };
        let is_attached = answer.is_ok();
        let out = from_shard(&mut stage, shard.0, ToHub::Answer { call, answer: Ok(Answer::Share(answer)) });
        assert!(matches!(&out.completions[..], [(_, _, Outcome::Done(Done::Share(_)))]));
        let credit = Op::TakerCredit(vec![TakerCredit { taker, bytes: 9 }]);
        assert_eq!(ask(&mut stage, 1, credit).shards.len(), usize::from(is_attached));
    }
    let idle = Box::new(ShareNews::Idle { taker: 5, delivered: Reached::default() });
    assert_eq!(from_shard(&mut stage, 0, ToHub::Shared { session: id(1), news: idle }).wakes.len(), 1);
    let mut out = HubOut::default();
    stage.hub.detach(id(1), &mut out);
    assert!(out.shards.iter().any(|(_, op)| matches!(op, ShardOp::SessionGone { .. })));
}
