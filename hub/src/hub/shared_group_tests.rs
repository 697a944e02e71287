//! What a hub does with shared groups: who is asked, who is answered, and what is kept of a taker.

use super::stage::{Stage, check, id};
use super::*;
use bytes::{Bytes, BytesMut};
use stele_model::id::{HubId, Now, Position, QueueId};
use stele_model::live::{Interest, Live, LiveSubscribe};
use stele_model::publish::LinkNumber;
use stele_model::queue::DeadLetter;
use stele_model::settle::Run;
use stele_model::shard::{Answer, Move, MoveOut, MoveRecords};
use stele_model::share::{
    DeadRecord, Pull, PullEnd, PullWant, Push, Reached, ShareAnswer, ShareDeath, ShareHow, ShareMove,
    ShareNews, ShareRef, ShareRefusal, ShareRequest, ShareSettle, ShareSettles, ShareVerb, Take, TakerCredit,
};
use stele_model::stream::{Format, Found, PartitionRef, StreamRef};
use stele_record::nats::{self, Parts};
use stele_record::{View, dead};

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
    Op::Pull(Pull {
        share: of("s", 0),
        taker,
        want: PullWant { count: 1, ..PullWant::default() },
        heard_at: None,
    })
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
fn a_pull_whose_answers_nobody_would_hear_ends_and_takes_nothing() {
    let mut stage = check("~ stream s 2");
    let heard_at = |taker, subject: &'static str| {
        let Op::Pull(pull) = pull(taker) else { unreachable!() };
        Op::Pull(Pull { heard_at: Some(Bytes::from_static(subject.as_bytes())), ..pull })
    };
    let out = ask(&mut stage, 1, heard_at(7, "inbox.1"));
    assert!(out.shards.is_empty(), "{:?}", out.shards);
    let [(to, Wake::Shared(news))] = &out.wakes[..] else { panic!("{:?}", out.wakes) };
    assert_eq!(*to, id(1));
    assert!(matches!(**news, ShareNews::Ended { taker: 7, why: PullEnd::Unheard }));
    assert_eq!((out.completions.len(), stage.hub.open_submits(id(1))), (0, 0), "no answer is owed");
    // Whoever it is that listens.
    let subscribe = LiveSubscribe { subscription: 3, filter: Bytes::from_static(b"inbox.*"), group: None };
    let live = Live { interest: vec![(0, Interest::Subscribe(subscribe))], ..Live::default() };
    stage.hub.live(Now(1), id(2), &live, b"", &mut HubOut::default());
    assert_eq!(ask(&mut stage, 1, heard_at(8, "inbox.1")).shards.len(), 1);
    assert!(ask(&mut stage, 1, heard_at(9, "inbox.1.deeper")).shards.is_empty());
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

fn dead_letter(stage: &Stage, subject: &str) -> ToHub {
    let mut record = BytesMut::new();
    nats::write(&mut record, (b"amq.topic", b"orders.1", b"body"), Parts::default(), 1);
    let batch = Found {
        place: Default::default(),
        len: record.len() as u32,
        format: Format::Records,
        first: Position(4),
        count: 1,
        epoch: 0,
        appended: Now(1),
    };
    let of = ShareMove {
        partition: QueueId(99),
        namespace: stage.world.registry.current().namespace("/").unwrap().id,
        stream: "ORDERS".to_owned(),
        group: "workers".to_owned(),
        target: DeadLetter { exchange: "amq.topic".to_owned(), key: Some(subject.to_owned()) },
        why: ShareDeath::Terminated { reason: "broken".to_owned() },
        records: vec![DeadRecord { position: Position(4), deliveries: 2, batch }],
    };
    let of = Move { from: ShardId(0), number: 7, out_of: MoveOut::Share(of.into()) };
    ToHub::Move(MoveRecords { of, bytes: vec![record.freeze()] })
}

#[test]
fn a_dead_letter_of_a_group_is_published_to_its_subject_with_its_circumstances() {
    let mut stage = check("~ queue q\n~ bind amq.topic q dead.#");
    let dead = dead_letter(&stage, "dead.orders");
    let out = from_shard(&mut stage, 0, dead);
    let [(_, ShardOp::Publish(publish))] = &out.shards[..] else { panic!("{:?}", out.shards) };
    assert_eq!(publish.link, Some(LinkNumber { from: ShardId(0), number: 7 }));
    let view = View::parse(publish.batch.record(0)).unwrap();
    assert_eq!((view.key(), view.body()), (&b"dead.orders"[..], &b"body"[..]));
    let parts = Parts::of(&view);
    let header = |name: &str| parts.headers().find(|(of, _)| *of == name.as_bytes()).map(|(_, value)| value);
    assert_eq!(header(dead::SEQUENCE), Some(&b"5"[..]));
    assert_eq!(header(dead::REASON), Some(&b"terminated"[..]));
    assert_eq!(header(dead::DETAIL), Some(&b"broken"[..]));
    let call = publish.call;
    let (refused, gone, stored) = (Vec::new(), Vec::new(), Vec::new());
    let out = from_shard(&mut stage, 1, ToHub::Published { call, refused, gone, stored });
    assert!(matches!(out.shards[..], [(ShardId(0), ShardOp::Moved { number: 7 })]));
}

#[test]
fn who_listens_live_hears_a_dead_letter_and_nobody_need_store_it() {
    let mut stage = check("");
    let subscribe = LiveSubscribe { subscription: 3, filter: Bytes::from_static(b"dead.>"), group: None };
    let interest = vec![(0, Interest::Subscribe(subscribe))];
    let live = Live { interest, ..Live::default() };
    stage.hub.live(Now(1), id(1), &live, b"", &mut HubOut::default());
    let dead = dead_letter(&stage, "dead.orders");
    let out = from_shard(&mut stage, 0, dead);
    assert!(matches!(out.shards[..], [(ShardId(0), ShardOp::Moved { number: 7 })]), "{:?}", out.shards);
    let [heard] = &out.heard[..] else { panic!("{:?}", out.heard) };
    assert_eq!((heard.runs.len(), heard.hits.len()), (1, 1));
}
