//! What shared groups do, one thing at a time.

use crate::rig::{
    PARTITION, RECORD_BYTES, Rig, answer, bytes, ends, events, got, positions, runs, session, taker, want,
};
use stele_model::id::{Lsn, Now, Position, QueueId, Revision};
use stele_model::machine::Journal;
use stele_model::queue::DeadLetter;
use stele_model::settle::Run;
use stele_model::shard::{ShardEffect, ShardOp};
use stele_model::share::{
    DEAD_LETTER_BYTES_MAX, Expect, Pace, PullEnd, PullLeft, PullWant, PushSettings, Reached, SettlePolicy,
    ShareAnswer, ShareEffect, ShareEvent, ShareHow, ShareNews, ShareRefusal, ShareSettings, ShareStart,
    ShareVerb,
};

fn second() -> ShareSettings {
    ShareSettings { lease_us: 1_000_000, ..ShareSettings::default() }
}

fn none() -> PullLeft {
    PullLeft::default()
}

fn release(delay_us: u64) -> ShareHow {
    ShareHow::Release { delay_us }
}

#[test]
fn a_pull_gets_what_is_there_and_what_comes_until_it_has_all() {
    let mut rig = Rig::with(second());
    rig.append(3);
    let said = rig.pull(1, want(5));
    assert_eq!(got(&said), [(1, 0, 1, 1, 2), (1, 1, 1, 2, 1), (1, 2, 1, 3, 0)]);
    assert_eq!(ends(&said), []);
    let said = rig.append(4);
    assert_eq!(got(&said), [(1, 3, 1, 4, 3), (1, 4, 1, 5, 2)]);
    assert_eq!(ends(&said), [(1, PullEnd::Complete { left: none() })]);
    assert_eq!(rig.info().pending, 2);
}

#[test]
fn a_delivery_waits_for_its_record_and_nothing_that_is_decided_starts_a_commit() {
    let mut rig = Rig::with(second());
    rig.pull(1, want(1));
    let said = rig.append(1);
    let after = said.iter().find(|(_, effect)| matches!(effect, ShardEffect::Shared { .. })).unwrap().0;
    assert_eq!(after, rig.log.tail());
    rig.log.seal();
    let urgent = rig.log.urgent();
    rig.accept(&[0]);
    rig.pull(2, want(1));
    assert_eq!(rig.log.urgent(), urgent);
    rig.append(1);
    let urgent = rig.log.urgent();
    let said = rig.settle_runs(ShareHow::Accept, runs(&[1]), 0, true);
    assert_eq!(answer(&said), (rig.log.tail(), Ok(ShareAnswer::Settled { count: 1 })));
    assert_eq!(rig.log.urgent(), urgent + 1, "somebody waits");
}

#[test]
fn what_is_not_settled_in_its_lease_comes_again_before_anything_new() {
    let mut rig = Rig::with(second());
    rig.append(3);
    rig.pull(1, want(2));
    rig.accept(&[0]);
    assert_eq!(positions(&rig.pass_ms(1001)), []);
    assert_eq!(got(&rig.pull(2, want(2))), [(2, 1, 2, 3, 1), (2, 2, 1, 4, 0)]);
    let info = rig.info();
    assert_eq!((info.unsettled, info.redelivered, info.delivered.sequence), (2, 1, 4));
    assert_eq!(info.floor, Reached { sequence: 1, next: Position(1) });
}

#[test]
fn the_first_settle_counts_and_the_floor_moves_over_neighbours_only() {
    let mut rig = Rig::with(second());
    rig.append(4);
    rig.pull(1, want(4));
    rig.accept(&[2]);
    assert_eq!(rig.info().floor, Reached { sequence: 0, next: Position(0) });
    rig.accept(&[0]);
    assert_eq!(rig.info().floor, Reached { sequence: 1, next: Position(1) });
    let again = rig.settle_runs(ShareHow::Accept, runs(&[2, 0, 9]), 0, true);
    assert_eq!(answer(&again).1, Ok(ShareAnswer::Settled { count: 0 }));
    rig.accept(&[1]);
    assert_eq!(rig.info().floor, Reached { sequence: 3, next: Position(3) });
}

#[test]
fn a_settle_may_ask_for_one_delivery_of_the_record() {
    let mut rig = Rig::with(second());
    rig.append(1);
    rig.pull(1, want(1));
    rig.pass_ms(1001);
    rig.pull(2, want(1));
    let late = rig.settle_runs(ShareHow::Accept, runs(&[0]), 1, true);
    assert_eq!(answer(&late).1, Ok(ShareAnswer::Settled { count: 0 }));
    let right = rig.settle_runs(ShareHow::Accept, runs(&[0]), 2, true);
    assert_eq!(answer(&right).1, Ok(ShareAnswer::Settled { count: 1 }));
}

#[test]
fn a_released_record_comes_again_at_once_or_after_its_rest() {
    let mut rig = Rig::with(second());
    rig.append(2);
    rig.pull(1, want(2));
    rig.pull(2, want(9));
    assert_eq!(got(&rig.settle(release(0), &[1])), [(2, 1, 2, 3, 0)]);
    assert_eq!(positions(&rig.settle(release(5_000_000), &[0])), []);
    rig.accept(&[1]);
    assert_eq!(positions(&rig.pass_ms(4_999)), []);
    assert_eq!(positions(&rig.pass_ms(1)), [0]);
}

#[test]
fn work_in_progress_keeps_the_lease() {
    let mut rig = Rig::with(second());
    rig.append(1);
    rig.pull(1, want(1));
    rig.pull(2, want(1));
    rig.pass_ms(900);
    rig.settle(ShareHow::Extend, &[0]);
    assert_eq!(positions(&rig.pass_ms(900)), []);
    assert_eq!(positions(&rig.pass_ms(101)), [0]);
}

#[test]
fn a_list_of_leases_holds_delivery_by_delivery() {
    let settings = ShareSettings { backoff_us: vec![1_000_000, 5_000_000], ..ShareSettings::default() };
    let mut rig = Rig::with(settings);
    rig.append(1);
    rig.pull(1, want(9));
    assert_eq!(positions(&rig.pass_ms(1_000)), [0]);
    assert_eq!(positions(&rig.pass_ms(4_999)), []);
    assert_eq!(positions(&rig.pass_ms(1)), [0]);
    assert_eq!(positions(&rig.pass_ms(5_000)), [0], "the last holds for all others");
}

#[test]
fn a_record_that_was_delivered_as_often_as_may_be_is_given_up() {
    let mut rig = Rig::with(ShareSettings { deliveries_max: Some(2), ..second() });
    rig.listen();
    rig.append(2);
    rig.pull(1, want(9));
    assert_eq!(positions(&rig.pass_ms(1000)), [0, 1]);
    let said = rig.settle(release(0), &[0]);
    let exhausted = |at| ShareEvent::Exhausted { position: Position(at), deliveries: 2 };
    assert_eq!(events(&said)[1..], [exhausted(0)]);
    let said = rig.pass_ms(1000);
    assert_eq!((events(&said), positions(&said)), (vec![exhausted(1)], vec![]));
    let info = rig.info();
    assert_eq!((info.unsettled, info.floor.next), (0, Position(2)));
}

#[test]
fn a_terminated_record_never_comes_again_and_listeners_hear_why() {
    let mut rig = Rig::with(second());
    rig.listen();
    rig.append(1);
    rig.pull(1, want(2));
    let said = rig.settle(ShareHow::Terminate { reason: "poison".to_owned() }, &[0]);
    let (position, reason) = (Position(0), "poison".to_owned());
    assert_eq!(events(&said), [ShareEvent::Terminated { position, sequence: 1, deliveries: 1, reason }]);
    assert_eq!(positions(&rig.pass_ms(100_000)), []);
}

#[test]
fn new_records_wait_while_as_many_are_unsettled_as_may_be() {
    let mut rig = Rig::with(ShareSettings { pending_max: Some(2), ..second() });
    rig.append(4);
    assert_eq!(positions(&rig.pull(1, want(9))), [0, 1]);
    assert_eq!(positions(&rig.accept(&[0])), [2]);
    assert_eq!(positions(&rig.settle(release(0), &[1])), [1], "one that comes again is no more than before");
    assert_eq!(ends(&rig.pull(2, PullWant { no_wait: true, ..want(1) })), [(2, PullEnd::OthersWait)]);
}

#[test]
fn a_pull_that_does_not_wait_takes_what_is_there() {
    let mut rig = Rig::with(second());
    let no_wait = |count| PullWant { no_wait: true, ..want(count) };
    assert_eq!(ends(&rig.pull(1, no_wait(1))), [(1, PullEnd::NoRecords)]);
    rig.append(2);
    let said = rig.pull(2, no_wait(5));
    assert_eq!((positions(&said), ends(&said)), (vec![0, 1], vec![(2, PullEnd::NoRecords)]));
    let patient = PullWant { expires_us: Some(1000), ..no_wait(5) };
    assert_eq!(ends(&rig.pull(3, patient)), []);
    let said = rig.append(1);
    assert_eq!((positions(&said), ends(&said)), (vec![2], vec![(3, PullEnd::NoRecords)]));
}

#[test]
fn a_pull_ends_when_its_time_is_over_and_tells_what_it_did_not_get() {
    let mut rig = Rig::with(ShareSettings::default());
    rig.append(1);
    let bytes_max = Some(1000);
    rig.pull(1, PullWant { expires_us: Some(2_000_000), bytes_max, ..want(3) });
    assert_eq!(ends(&rig.pass_ms(1999)), []);
    let left = PullLeft { count: 2, bytes: 1000 - RECORD_BYTES };
    assert_eq!(ends(&rig.pass_ms(1)), [(1, PullEnd::Expired { left })]);
    assert_eq!(rig.info().waiting, 0);
}

#[test]
fn a_pull_that_bounds_bytes_gets_whole_records_only() {
    let mut rig = Rig::with(second());
    rig.append(5);
    let said = rig.pull(1, PullWant { bytes_max: Some(2 * RECORD_BYTES + 1), ..want(5) });
    let left = PullLeft { count: 3, bytes: 1 };
    assert_eq!((positions(&said), ends(&said)), (vec![0, 1], vec![(1, PullEnd::TooLarge { left })]));
    let said = rig.pull(2, PullWant { bytes_max: Some(100), ..want(1) });
    let left = PullLeft { count: 0, bytes: 100 - RECORD_BYTES };
    assert_eq!((positions(&said), ends(&said)), (vec![2], vec![(2, PullEnd::Complete { left })]));
}

#[test]
fn a_pull_that_asks_for_too_much_is_told_the_bound() {
    let settings = ShareSettings {
        pull_count_max: Some(5),
        pull_bytes_max: Some(100),
        pull_expires_us_max: Some(7),
        waiting_max: 1,
        ..second()
    };
    let mut rig = Rig::with(settings);
    assert_eq!(ends(&rig.pull(1, want(6))), [(1, PullEnd::CountOver { max: 5 })]);
    let long = PullWant { expires_us: Some(8), ..want(1) };
    assert_eq!(ends(&rig.pull(1, long)), [(1, PullEnd::ExpiresOver { max_us: 7 })]);
    let large = PullWant { bytes_max: Some(101), ..want(1) };
    assert_eq!(ends(&rig.pull(1, large)), [(1, PullEnd::BytesOver { max: 100 })]);
    assert_eq!(ends(&rig.pull(1, want(1))), []);
    assert_eq!(ends(&rig.pull(2, want(1))), [(2, PullEnd::WaitingOver)]);
    rig.ask(ShardOp::Untake { taker: taker(1) });
    assert_eq!(ends(&rig.pull(2, want(1))), []);
}

#[test]
fn a_push_gets_records_against_credit_and_signs_of_life_between() {
    let push = PushSettings { heartbeat_us: Some(5_000_000), rate_bytes_max: None };
    let mut rig = Rig::with(ShareSettings { push: Some(push), settle: SettlePolicy::None, ..second() });
    assert_eq!(ends(&rig.pull(2, want(1))), [(2, PullEnd::IsPush)]);
    let said = rig.push(1, 2 * RECORD_BYTES);
    assert_eq!(answer(&said).1, Ok(ShareAnswer::Attached));
    assert_eq!(positions(&rig.append(5)), [0, 1]);
    let said = rig.ask(ShardOp::TakerCredit { taker: taker(1), bytes: RECORD_BYTES });
    assert_eq!(got(&said), [(1, 2, 1, 3, 2)]);
    rig.pass_ms(1000);
    let said = rig.pass_ms(4000);
    let idle = said.iter().find_map(|(_, effect)| match effect {
        ShardEffect::Shared { what: ShareEffect::Say(ShareNews::Idle { taker, delivered }), .. } => {
            Some((*taker, *delivered))
        }
        _ => None,
    });
    assert_eq!(idle, Some((1, Reached { sequence: 3, next: Position(3) })));
    assert_eq!(rig.info().unsettled, 0, "a delivery is the end");
}

#[test]
fn a_push_that_is_bound_in_rate_rests_between_records() {
    let push = PushSettings { heartbeat_us: None, rate_bytes_max: Some(RECORD_BYTES) };
    let mut rig = Rig::with(ShareSettings { push: Some(push), settle: SettlePolicy::None, ..second() });
    for _ in 0..3 {
        rig.append(1);
    }
    assert_eq!(positions(&rig.push(1, 1 << 20)), [0]);
    assert_eq!(positions(&rig.pass_ms(999)), []);
    assert_eq!(positions(&rig.pass_ms(1)), [1]);
    assert_eq!(positions(&rig.pass_ms(1000)), [2]);
}

#[test]
fn takers_of_a_push_take_turns() {
    let push = Some(PushSettings::default());
    let mut rig = Rig::with(ShareSettings { push, pending_max: None, ..second() });
    rig.push(1, 1 << 20);
    rig.push(2, 1 << 20);
    let said = rig.append(400);
    let count = |number| got(&said).iter().filter(|(to, ..)| *to == number).count();
    assert_eq!((count(1) + count(2), count(1).min(count(2)) > 100), (400, true));
}

#[test]
fn accepting_one_accepts_all_before_it_where_the_group_says_so() {
    let mut rig = Rig::with(ShareSettings { settle: SettlePolicy::All, ..second() });
    rig.append(6);
    rig.pull(1, want(5));
    let said = rig.settle_runs(ShareHow::Accept, runs(&[2]), 0, true);
    assert_eq!(answer(&said).1, Ok(ShareAnswer::Settled { count: 3 }));
    assert_eq!(rig.info().floor, Reached { sequence: 3, next: Position(3) });
    let beyond = rig.settle_runs(ShareHow::Accept, runs(&[5]), 0, true);
    assert_eq!(answer(&beyond).1, Ok(ShareAnswer::Settled { count: 0 }), "it was not delivered");
}

#[test]
fn more_settles_than_fit_a_turn_are_done_in_steps_and_answered_at_the_end() {
    let mut rig = Rig::with(ShareSettings { pending_max: None, ..second() });
    for _ in 0..100 {
        rig.append(100);
    }
    rig.pull(1, want(10_000));
    rig.tick();
    assert_eq!(rig.info().unsettled, 10_000);
    let all = vec![Run { first: Position(0), count: 10_000 }];
    let said = rig.settle_runs(ShareHow::Accept, all, 0, true);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(answer(&rig.tick()).1, Ok(ShareAnswer::Settled { count: 10_000 }));
    assert_eq!(rig.info().unsettled, 0);
}

#[test]
fn a_group_begins_where_it_asks_to() {
    let mut rig = Rig::new(None);
    rig.append(3);
    rig.pass_ms(1000);
    rig.append(2);
    let then = Now(rig.log.now().0 - 500_000);
    let starts = [
        (ShareStart::All, 0),
        (ShareStart::Last, 4),
        (ShareStart::New, 5),
        (ShareStart::Position(Position(2)), 2),
        (ShareStart::Position(Position(77)), 77),
        (ShareStart::Time(then), 3),
        (ShareStart::Time(Now(u64::MAX)), 5),
    ];
    for (n, (start, next)) in starts.into_iter().enumerate() {
        let put = rig.put(&format!("g{n}"), ShareSettings { start, ..second() }, Expect::New).1;
        let Ok(ShareAnswer::Put { created: true, info }) = put else { panic!("{put:?}") };
        assert_eq!(info.delivered, Reached { sequence: 0, next: Position(next) }, "{start:?}");
    }
}

#[test]
fn records_come_as_they_came_until_the_group_has_caught_up() {
    let mut rig = Rig::new(None);
    for ms in [0, 300, 50] {
        rig.pass_ms(ms);
        rig.append(1);
    }
    rig.pass_ms(10_000);
    rig.put("g", ShareSettings { pace: Pace::Original, lease_us: 60_000_000, ..second() }, Expect::New)
        .1
        .unwrap();
    assert_eq!(positions(&rig.pull(1, want(9))), [0]);
    assert_eq!(positions(&rig.pass_ms(299)), []);
    assert_eq!(positions(&rig.pass_ms(1)), [1]);
    assert_eq!(positions(&rig.pass_ms(50)), [2]);
    assert_eq!(positions(&rig.append(1)), [3]);
}

#[test]
fn a_paused_group_gives_nothing_out_until_its_time_or_a_word() {
    let mut rig = Rig::with(second());
    rig.append(3);
    let until = Some(rig.log.now().plus_ms(500));
    assert!(matches!(rig.verb("g", ShareVerb::Pause(until)).1, Ok(ShareAnswer::Info(_))));
    assert_eq!(positions(&rig.pull(1, want(1))), []);
    assert_eq!(positions(&rig.pass_ms(500)), [0]);
    rig.verb("g", ShareVerb::Pause(Some(Now(u64::MAX)))).1.unwrap();
    assert_eq!(positions(&rig.pull(2, want(1))), []);
    rig.restart();
    assert_eq!(positions(&rig.pull(3, want(1))), []);
    assert_eq!(positions(&rig.verb("g", ShareVerb::Pause(None)).0), [0], "the lease went with the process");
}

#[test]
fn an_unused_group_goes_and_a_used_one_stays() {
    let mut rig = Rig::with(ShareSettings { inactive_us: Some(5_000_000), durable: false, ..second() });
    rig.listen();
    rig.pass_ms(4_000);
    rig.pull(1, PullWant { expires_us: Some(60_000_000), ..want(1) });
    assert_eq!(events(&rig.pass_ms(59_000)), []);
    assert_eq!(ends(&rig.pass_ms(1_000)).len(), 1);
    assert_eq!(events(&rig.pass_ms(4_999)), []);
    assert_eq!(events(&rig.pass_ms(1)), [ShareEvent::Deleted]);
    assert_eq!(rig.verb("g", ShareVerb::Info).1, Err(ShareRefusal::Unknown));
}

#[test]
fn a_restart_brings_durable_groups_back_with_their_counts_and_no_others() {
    let mut rig = Rig::with(second());
    rig.put("m", ShareSettings { memory: true, ..second() }, Expect::New).1.unwrap();
    rig.put("e", ShareSettings { durable: false, ..second() }, Expect::New).1.unwrap();
    rig.append(4);
    rig.pull(1, want(3));
    rig.settle(release(60_000_000), &[1]);
    rig.accept(&[0]);
    rig.restart();
    let info = rig.info();
    assert_eq!((info.unsettled, info.floor.next, info.delivered.sequence), (2, Position(1), 3));
    assert_eq!(got(&rig.pull(2, want(9))), [(2, 2, 2, 4, 1), (2, 3, 1, 5, 0)], "a rest goes on");
    assert_eq!(positions(&rig.pass_ms(1000)), [2, 3]);
    assert_eq!(positions(&rig.pass_ms(59_000)), [1, 2, 3]);
    for gone in ["m", "e"] {
        assert_eq!(rig.verb(gone, ShareVerb::Info).1, Err(ShareRefusal::Unknown));
    }
}

#[test]
fn records_removed_under_a_group_are_settled_for_it() {
    let mut rig = Rig::with(ShareSettings { pending_max: Some(3), ..second() });
    for _ in 0..6 {
        rig.append(1);
    }
    rig.pull(1, want(9));
    rig.trim(2);
    assert_eq!(positions(&rig.tick()), [3, 4], "room is made at once");
    assert_eq!(rig.info().floor.next, Position(2));
    rig.trim(6);
    rig.tick();
    let info = rig.info();
    assert_eq!((info.unsettled, info.pending), (0, 0));
}

#[test]
fn settings_change_but_for_those_that_never_do() {
    let mut rig = Rig::with(second());
    let same = rig.put("g", second(), Expect::New).1;
    assert!(matches!(same, Ok(ShareAnswer::Put { created: false, .. })));
    let longer = ShareSettings { lease_us: 9, ..second() };
    assert_eq!(rig.put("g", longer.clone(), Expect::New).1, Err(ShareRefusal::Exists));
    assert!(rig.put("g", longer.clone(), Expect::There).1.is_ok());
    assert_eq!(rig.put("h", longer, Expect::There).1, Err(ShareRefusal::Unknown));
    let fixed = [
        (ShareSettings { start: ShareStart::New, ..second() }, "start"),
        (ShareSettings { settle: SettlePolicy::All, ..second() }, "settle"),
        (ShareSettings { memory: true, ..second() }, "memory"),
        (ShareSettings { push: Some(PushSettings::default()), ..second() }, "push"),
    ];
    for (settings, name) in fixed {
        assert_eq!(rig.put("g", settings, Expect::Any).1, Err(ShareRefusal::Fixed(name)));
    }
    let invalid = ShareSettings { lease_us: 0, ..second() };
    assert_eq!(rig.put("i", invalid, Expect::Any).1, Err(ShareRefusal::Invalid("lease_us")));
    assert_eq!(rig.put("", second(), Expect::Any).1, Err(ShareRefusal::InvalidName));
    let key = Some("x".repeat(DEAD_LETTER_BYTES_MAX + 1));
    let dead_letter = Some(DeadLetter { exchange: String::new(), key });
    let dead = ShareSettings { dead_letter, ..second() };
    assert_eq!(rig.put("i", dead, Expect::Any).1, Err(ShareRefusal::Invalid("dead_letter")));
    let kept = ShareSettings { headers_only: true, pending_max: Some(7), ..second() };
    rig.put("g", kept.clone(), Expect::There).1.unwrap();
    rig.restart();
    assert_eq!(rig.info().settings, kept);
}

#[test]
fn a_group_that_is_deleted_or_loses_its_partition_ends_its_pulls() {
    let mut rig = Rig::with(second());
    rig.listen();
    rig.pull(1, want(1));
    let (said, answer) = rig.verb("g", ShareVerb::Delete);
    assert_eq!((ends(&said), answer), (vec![(1, PullEnd::Gone)], Ok(ShareAnswer::Deleted)));
    assert_eq!(ends(&rig.pull(1, want(1))), [(1, PullEnd::Unknown)]);
    rig.put("g", second(), Expect::New).1.unwrap();
    rig.pull(1, want(1));
    let said = rig.ask(ShardOp::Drop { revision: Revision(2), queue: PARTITION });
    assert_eq!((ends(&said), events(&said)), (vec![(1, PullEnd::Gone)], vec![ShareEvent::Deleted]));
    rig.restart();
    assert_eq!(rig.shard.logged().shares, []);
}

#[test]
fn a_session_that_goes_takes_its_pulls_with_it_but_not_what_it_holds() {
    let mut rig = Rig::with(second());
    rig.append(1);
    rig.pull(11, want(5));
    rig.ask(ShardOp::SessionGone { session: session(1) });
    rig.append(1);
    assert_eq!(rig.info().waiting, 0);
    assert_eq!(positions(&rig.pull(21, want(5))), [1]);
    assert_eq!(positions(&rig.pass_ms(1000)), [0, 1]);
}

#[test]
fn neighbours_of_many_batches_in_one_place_are_one_range() {
    let mut rig = Rig::with(second());
    rig.append(3);
    let said = rig.pull(1, want(2));
    let ranges = bytes(&rig, &said);
    assert_eq!(ranges.len(), 1);
    assert_eq!(ranges[0].len() as u64, 3 * RECORD_BYTES, "a batch comes whole");
}

#[test]
fn groups_are_listed_by_name_a_page_at_a_time() {
    let mut rig = Rig::new(None);
    for name in ["c", "a", "b"] {
        rig.put(name, second(), Expect::New).1.unwrap();
    }
    let of = stele_model::share::ShardShares {
        hub: stele_model::id::HubId(0),
        call: stele_model::id::Call(1),
        partition: PARTITION,
        offset: 1,
        count_max: 1,
    };
    let said = rig.ask(ShardOp::Shares(of));
    let Ok(ShareAnswer::Listed { groups, total: 3 }) = answer(&said).1 else { panic!("{said:?}") };
    assert_eq!(groups.iter().map(|info| &info.group[..]).collect::<Vec<_>>(), ["b"]);
    let elsewhere = stele_model::share::ShardShares { partition: QueueId(5), ..of };
    let none = Ok(ShareAnswer::Listed { groups: Vec::new(), total: 0 });
    assert_eq!(answer(&rig.ask(ShardOp::Shares(elsewhere))).1, none);
}

#[test]
fn ends_wait_for_the_records_before_them() {
    let mut rig = Rig::with(second());
    rig.pull(1, PullWant { expires_us: Some(0), ..want(2) });
    rig.append(1);
    let said = rig.tick();
    let (after, _) = said.iter().find(|(_, effect)| matches!(effect, ShardEffect::Shared { .. })).unwrap();
    assert_eq!(ends(&said).len(), 1);
    assert_eq!(*after, rig.log.tail());
    assert!(*after > Lsn(0));
}
