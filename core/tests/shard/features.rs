//! One thing that queues do per test.

use crate::rig::{
    READING, Reading, Rig, answer, batch, durable, grants, published, session, spec, subscription,
};
use stele_model::id::{Call, HubId, Lsn, Position, QueueId, ShardId};
use stele_model::machine::{Journal, Machine};
use stele_model::publish::{LinkNumber, RoutedRun, ShardPublish};
use stele_model::queue::{DeadLetter, Overflow, QueueKind, QueueSettings};
use stele_model::refusal::Refusal;
use stele_model::settle::How;
use stele_model::shard::{Answer, DeathReason, ShardEffect, ShardOp};

const SEEN: How = How::Release { seen: true, counted: true };

fn dead_letters() -> Option<DeadLetter> {
    Some(DeadLetter { exchange: "dead".to_owned(), key: None })
}

#[test]
fn a_confirm_and_a_delivery_wait_for_the_record_and_nothing_else() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, Reading { messages_max: Some(1), ..READING });
    let first = rig.publish(&["a"]);
    let block = rig.log.seal();
    assert_eq!(published(&first).0, block);
    assert!(first.iter().all(|(after, _)| *after == block));
    rig.publish(&["b"]);
    rig.log.seal();
    let urgent = rig.log.urgent();
    let next = rig.settle(10, How::Accept, &[0]);
    assert_eq!(rig.deliveries(&next), [(10, vec!["b".to_owned()])]);
    assert_eq!(next[0].0, Lsn(block.0 + 1), "its record is in the second block, the settle in the third");
    assert_eq!(rig.log.urgent(), urgent, "S3: settles and assigns ride");
}

#[test]
fn a_volatile_record_waits_for_its_predecessor_and_its_confirm_for_nothing() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    rig.publish(&["logged"]);
    let said = rig.publish_to(&[1], &[("volatile", 0, None)], false, None);
    assert_eq!(published(&said).0, Lsn(0));
    let delivery = said.iter().find(|(_, effect)| matches!(effect, ShardEffect::Deliver { .. })).unwrap();
    assert_eq!(delivery.0, rig.log.tail());
}

#[test]
fn a_queue_that_does_not_last_logs_no_records() {
    let mut rig = Rig::with(QueueSettings::default());
    let entries = rig.log.entries().len();
    rig.publish(&["a", "b"]);
    rig.subscribe(10, READING);
    rig.settle(10, How::Accept, &[0, 1]);
    assert_eq!(rig.log.entries().len(), entries);
    assert_eq!(rig.counts(1).unwrap().accepted, 2);
}

#[test]
fn a_payload_is_stored_once_for_all_queues_of_its_route() {
    let mut rig = Rig::with(durable());
    (2..=9).for_each(|id| drop(rig.put(id, durable())));
    let before = rig.log.entries().len();
    let body = "x".repeat(1000);
    rig.publish_to(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[(&body, 0, None)], true, None);
    let [entry] = &rig.log.entries()[before..] else { panic!("one entry") };
    assert!(entry.bytes.len() < 1250, "{}", entry.bytes.len());
}

#[test]
fn publishes_to_an_unknown_or_closing_queue_are_gone() {
    let mut rig = Rig::with(durable());
    let said = rig.publish_to(&[8], &[("a", 0, None), ("b", 0, None)], true, None);
    assert_eq!(published(&said).2, [0, 1]);
    rig.close(false, false);
    assert_eq!(published(&rig.publish(&["c"])).2, [0]);
}

#[test]
fn a_link_takes_each_number_once_and_a_repeat_waits_for_the_tail() {
    let mut rig = Rig::with(durable());
    let link = Some(LinkNumber { from: ShardId(7), number: 5 });
    rig.publish_to(&[1], &[("a", 0, None)], true, link);
    let again = rig.publish_to(&[1], &[("a", 0, None)], true, link);
    assert_eq!(published(&again), (rig.log.tail(), vec![], vec![]));
    assert_eq!(rig.ready(), 1);
    rig.restart();
    rig.publish_to(&[1], &[("a", 0, None)], true, link);
    assert_eq!(rig.ready(), 1);
}

#[test]
fn a_link_whose_records_were_volatile_is_remembered_too() {
    let mut rig = Rig::with(durable());
    let link = Some(LinkNumber { from: ShardId(7), number: 5 });
    rig.publish_to(&[1], &[("a", 0, None)], false, link);
    rig.restart();
    rig.publish_to(&[1], &[("a", 0, None)], true, link);
    assert_eq!(rig.ready(), 0);
}

/// Found by the simulator, seed 147: the number stood in an entry of its own, behind the volatile record, and a crash between the two
/// brought the first record twice.
#[test]
fn what_a_link_brings_is_one_entry_with_its_number_whatever_is_volatile_of_it() {
    let mut rig = Rig::with(durable());
    let before = rig.log.entries().len();
    let run = |items, volatile| RoutedRun { items, route: 0, volatile };
    rig.ask(ShardOp::Publish(ShardPublish {
        hub: HubId(0),
        call: Call(9),
        awaited: true,
        link: Some(LinkNumber { from: ShardId(7), number: 5 }),
        batch: batch(&[("a", 0, None), ("b", 0, None), ("c", 0, None)], true),
        runs: vec![run(0..1, false), run(1..2, true), run(2..3, false)],
        routes: vec![[QueueId(1)].into_iter().collect()],
    }));
    assert_eq!(rig.log.entries().len() - before, 1);
    let said = rig.subscribe(1, READING);
    assert_eq!(rig.deliveries(&said), [(1, ["a", "b", "c"].map(str::to_owned).to_vec())]);
}

#[test]
fn two_records_go_to_two_readers() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    rig.subscribe(20, READING);
    let said = rig.publish(&["a", "b"]);
    assert_eq!(rig.deliveries(&said), [(10, vec!["a".to_owned()]), (20, vec!["b".to_owned()])]);
}

#[test]
fn a_higher_reader_is_served_until_it_is_blocked() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    rig.subscribe(20, Reading { priority: 5, messages_max: Some(2), ..READING });
    let said = rig.publish(&["a", "b", "c"]);
    let expected = [(20, vec!["a".to_owned(), "b".to_owned()]), (10, vec!["c".to_owned()])];
    assert_eq!(rig.deliveries(&said), expected);
}

#[test]
fn byte_credit_ends_with_the_record_that_uses_it_up_and_comes_back() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, Reading { bytes_max: 1, ..READING });
    assert_eq!(grants(&rig.publish(&["a", "b", "c"])).len(), 1, "a record larger than all credit passes");
    assert_eq!(grants(&rig.credit(10, 33)).len(), 0, "34 bytes are under way, one was credit");
    assert_eq!(grants(&rig.credit(10, 1)).len(), 1);
}

#[test]
fn a_reader_whose_limit_was_raised_gets_more_at_once_and_one_whose_limit_was_lowered_when_it_has_settled() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, Reading { messages_max: Some(1), ..READING });
    assert_eq!(grants(&rig.publish(&["a", "b", "c", "d", "e"])).len(), 1);
    assert_eq!(grants(&rig.limit(10, 3)).len(), 2);
    assert_eq!(grants(&rig.limit(10, 2)).len(), 0);
    assert_eq!(grants(&rig.settle(10, How::Accept, &[1])).len(), 0, "two are still held");
    assert_eq!(grants(&rig.settle(10, How::Accept, &[2])).len(), 1);
}

#[test]
fn one_consumer_is_active_and_the_next_in_line_takes_over() {
    let mut rig = Rig::with(QueueSettings { single_active: true, ..durable() });
    rig.subscribe(10, Reading { messages_max: Some(1), ..READING });
    rig.subscribe(20, READING);
    let said = rig.publish(&["a", "b"]);
    assert_eq!(rig.deliveries(&said), [(10, vec!["a".to_owned()])]);
    let said = rig.session_gone(1);
    assert_eq!(rig.deliveries(&said), [(20, vec!["a".to_owned(), "b".to_owned()])]);
    assert!(grants(&said)[0].redelivered && !grants(&said)[1].redelivered);
}

#[test]
fn an_exclusive_consumer_keeps_others_out() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, Reading { exclusive: true, ..READING });
    let refused = answer(&rig.subscribe(20, READING)).1;
    assert!(matches!(refused, Err(Refusal::ExclusiveConsumer { name, .. }) if name == "q1"));
    rig.unsubscribe(10);
    rig.subscribe(20, READING);
    assert!(answer(&rig.subscribe(10, Reading { exclusive: true, ..READING })).1.is_err());
}

#[test]
fn nobody_waits_for_a_queue_with_an_owner_and_lost_revisions_of_its_process_are_forgotten() {
    let mut rig = Rig::with(durable());
    let urgent = rig.log.urgent();
    for id in 2..6 {
        let said = rig.put(id, QueueSettings { owner: Some(session(1)), ..durable() });
        assert!(matches!(said[..], [(Lsn(0), ShardEffect::Applied { .. })]), "{said:?}");
    }
    assert_eq!(rig.log.urgent(), urgent, "they start no commit");
    rig.restart();
    // The registry has lost those revisions, and gives their numbers again.
    rig.lose_revisions(4);
    rig.sync(2, vec![spec(1, durable()).into()]);
    assert!(rig.counts(2).is_none());
    rig.put(9, durable());
    assert!(rig.counts(9).is_some(), "a revision of the new process is no repeat");
}

#[test]
fn the_end_of_a_queue_with_an_owner_waits_for_what_was_given_out_and_starts_no_commit() {
    let mut rig = Rig::with(QueueSettings { owner: Some(session(1)), ..durable() });
    rig.subscribe(10, READING);
    let given = rig.publish(&["a"]).into_iter().find_map(|(after, effect)| match effect {
        ShardEffect::Deliver { .. } => Some(after),
        _ => None,
    });
    let given = given.unwrap();
    rig.pass_ms(1);
    rig.put(2, durable());
    assert!(rig.log.tail() > given);
    let urgent = rig.log.urgent();
    let closing = rig.close(false, false);
    assert!(matches!(closing[..], [(after, ShardEffect::Closing { .. })] if after == given), "{closing:?}");
    let gone = rig.drop_queue(1);
    let [(cancelled, ShardEffect::Cancelled { .. }), (deleted, ShardEffect::Answer { .. }), (applied, _)] =
        gone[..]
    else {
        panic!("{gone:?}")
    };
    assert_eq!([cancelled, deleted, applied], [given; 3]);
    assert_eq!(rig.log.urgent(), urgent, "nobody waits for it to be durable");
    rig.restart();
    assert!(rig.counts(1).is_none());
    rig.drop_queue(2);
    assert!(rig.log.urgent() > urgent);
}

#[test]
fn an_owned_queue_is_for_its_session_only_and_goes_when_its_process_has() {
    let mut rig = Rig::with(QueueSettings { owner: Some(session(1)), ..durable() });
    assert!(matches!(answer(&rig.subscribe(20, READING)).1, Err(Refusal::Locked { .. })));
    assert!(answer(&rig.subscribe(10, READING)).1.is_ok());
    rig.restart();
    rig.put(2, durable());
    rig.sync(2, vec![spec(2, durable()).into(), spec(3, durable()).into()]);
    assert!(rig.counts(1).is_none() && rig.counts(2).is_some() && rig.counts(3).is_some());
}

#[test]
fn an_unacknowledged_delivery_ends_as_it_is_sent() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, Reading { no_ack: true, messages_max: Some(1), ..READING });
    assert_eq!(
        grants(&rig.publish(&["a", "b"])).len(),
        2,
        "messages are not counted without acknowledgements"
    );
    rig.restart();
    assert_eq!(rig.ready(), 0);
}

#[test]
fn requeued_records_return_to_their_places_whatever_the_order() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    rig.publish(&["a", "b", "c"]);
    rig.unsubscribe(10);
    rig.settle(10, SEEN, &[2]);
    rig.settle(10, SEEN, &[0, 1]);
    rig.publish(&["d"]);
    let said = rig.subscribe(20, READING);
    assert_eq!(rig.deliveries(&said)[0].1, ["a", "b", "c", "d"]);
    let redelivered: Vec<bool> = grants(&said).iter().map(|grant| grant.redelivered).collect();
    assert_eq!(redelivered, [true, true, true, false]);
}

#[test]
fn the_first_settle_wins_and_nobody_settles_for_others() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    rig.publish(&["a"]);
    rig.settle(11, How::Accept, &[0]);
    rig.settle(20, How::Accept, &[0]);
    assert_eq!(rig.counts(1).unwrap().unsettled, 1);
    rig.settle(10, How::Accept, &[0]);
    rig.settle(10, SEEN, &[0]);
    let counts = rig.counts(1).unwrap();
    assert_eq!((counts.ready, counts.unsettled, counts.accepted), (0, 0, 1));
}

#[test]
fn leases_of_a_dead_process_are_ready_again_marked_and_counted() {
    let mut rig = Rig::with(QueueSettings { kind: QueueKind::Quorum, ..durable() });
    rig.subscribe(10, Reading { messages_max: Some(2), ..READING });
    rig.publish(&["a", "b", "c"]);
    rig.settle(10, SEEN, &[0]);
    rig.restart();
    let said = rig.subscribe(10, READING);
    let found: Vec<_> = grants(&said).iter().map(|grant| (grant.redelivered, grant.failures)).collect();
    assert_eq!(found, [(true, 1), (true, 0), (false, 0)]);
    assert_eq!(answer(&said).1, Ok(Answer::Subscribed { counts_deliveries: true }));
}

#[test]
fn a_get_takes_one_and_tells_what_is_left() {
    let mut rig = Rig::with(durable());
    rig.publish(&["a", "b"]);
    let got = |said: &crate::rig::Said| match &said[0] {
        (after, ShardEffect::Got { record, ready, .. }) => (*after, record.map(|of| of.position), *ready),
        other => panic!("{other:?}"),
    };
    let block = rig.log.seal();
    assert_eq!(got(&rig.get(10, false)), (block, Some(Position(0)), 1));
    assert_eq!(got(&rig.get(10, true)), (block, Some(Position(1)), 0));
    assert_eq!(got(&rig.get(10, true)), (rig.log.tail(), None, 0));
    rig.settle(10, SEEN, &[0, 1]);
    assert_eq!(rig.ready(), 1, "only the first was held");
}

#[test]
fn priorities_go_first_and_are_capped() {
    let mut rig = Rig::with(QueueSettings { priority_max: Some(5), ..durable() });
    let messages = [("low", 0, None), ("top", 200, None), ("five", 5, None), ("one", 1, None)];
    rig.publish_to(&[1], &messages, true, None);
    let said = rig.subscribe(10, READING);
    assert_eq!(rig.deliveries(&said)[0].1, ["top", "five", "one", "low"]);
    let mut rig = Rig::with(durable());
    rig.publish_to(&[1], &messages, true, None);
    let said = rig.subscribe(10, READING);
    assert_eq!(rig.deliveries(&said)[0].1, ["low", "top", "five", "one"], "no priorities without a maximum");
}

#[test]
fn a_full_queue_drops_its_head_or_refuses() {
    let mut rig = Rig::with(QueueSettings { length_max: Some(2), ..durable() });
    rig.publish(&["a", "b", "c"]);
    let said = rig.subscribe(10, READING);
    assert_eq!(rig.deliveries(&said)[0].1, ["b", "c"]);
    rig.publish(&["d", "e", "f"]);
    assert_eq!(rig.counts(1).unwrap().unsettled, 5, "delivered records do not count");

    let refuse = QueueSettings { bytes_max: Some(3), overflow: Overflow::RejectPublish, ..durable() };
    let mut rig = Rig::with(refuse);
    let said = rig.publish(&["aa", "bb", "c", "d"]);
    let (after, refused, _) = published(&said);
    assert_eq!(after, rig.log.tail());
    let full = Refusal::Full { name: "q1".to_owned() };
    assert_eq!(refused, [(1, full.clone()), (3, full)]);
    assert_eq!(rig.counts(1).unwrap().ready_bytes, 3);
}

#[test]
fn what_a_full_queue_refuses_may_go_to_the_dead_letters() {
    let overflow = Overflow::RejectPublishDlx;
    let of = QueueSettings { length_max: Some(1), overflow, dead_letter: dead_letters(), ..durable() };
    let mut rig = Rig::with(of);
    let said = rig.publish(&["a", "b"]);
    assert_eq!(published(&said).1.len(), 1);
    assert_eq!(rig.moves(&said), [(1, DeathReason::MaxLength, vec!["b".to_owned()])]);
    assert_eq!((rig.ready(), rig.counts(1).unwrap().unsettled), (1, 0));
    let again = rig.restart();
    assert_eq!(rig.moves(&again), [(1, DeathReason::MaxLength, vec!["b".to_owned()])]);
}

#[test]
fn time_to_live_is_the_shorter_one_and_counts_at_the_head() {
    let mut rig = Rig::with(QueueSettings { ttl_ms: Some(50), ..durable() });
    rig.publish_to(&[1], &[("long", 0, Some(1000)), ("short", 0, Some(10))], true, None);
    rig.pass_ms(20);
    assert_eq!(rig.ready(), 2, "the short one waits behind the long one");
    rig.pass_ms(30);
    assert_eq!(rig.ready(), 0);
    assert!(rig.shard.deadline().is_none());
}

#[test]
fn nothing_goes_by_age_while_the_clock_is_in_doubt_and_all_that_is_due_afterwards() {
    let mut rig = Rig::with(QueueSettings { ttl_ms: Some(50), ..durable() });
    for id in 2..=600 {
        rig.put(id, QueueSettings { ttl_ms: Some(50), expires_ms: Some(80), ..durable() });
        rig.publish_to(&[id], &[("a", 0, None)], true, None);
    }
    rig.publish(&["a", "b"]);
    rig.ask(ShardOp::Clock { jumped: true });
    let said = rig.pass_ms(100_000);
    assert!(said.is_empty(), "{said:?}");
    assert!(rig.shard.deadline().is_none(), "nothing is waited for");
    let got = rig.get(7, true);
    assert!(got.iter().any(|(_, effect)| matches!(effect, ShardEffect::Got { record: Some(_), .. })));
    rig.subscribe(10, Reading { messages_max: Some(1), ..READING });
    rig.unsubscribe(10);
    rig.publish(&["c"]);
    assert_eq!((rig.ready(), rig.counts(600).unwrap().ready), (1, 1));
    rig.pass_ms(100);
    rig.ask(ShardOp::Clock { jumped: false });
    let said = rig.tick();
    let closing = said.iter().filter(|(_, effect)| matches!(effect, ShardEffect::Closing { .. })).count();
    assert_eq!((rig.ready(), rig.counts(600).unwrap().ready, closing), (0, 0, 599));
}

#[test]
fn no_time_to_live_means_at_once_or_never() {
    let mut rig = Rig::with(QueueSettings { dead_letter: dead_letters(), ..durable() });
    let said = rig.publish_to(&[1], &[("a", 0, Some(0))], true, None);
    assert_eq!(rig.moves(&said), [(1, DeathReason::Expired, vec!["a".to_owned()])]);
    rig.subscribe(10, READING);
    let said = rig.publish_to(&[1], &[("b", 0, Some(0))], true, None);
    assert_eq!(rig.deliveries(&said)[0].1, ["b"]);
}

#[test]
fn a_rejected_record_moves_until_it_has_arrived_and_is_sent_again_after_a_restart() {
    let mut rig = Rig::with(QueueSettings { dead_letter: dead_letters(), ..durable() });
    rig.subscribe(10, READING);
    rig.publish(&["a", "b"]);
    let said = rig.settle(10, How::Reject, &[0]);
    assert_eq!(rig.moves(&said), [(1, DeathReason::Rejected, vec!["a".to_owned()])]);
    assert_eq!(said[0].0, rig.log.tail(), "it leaves once it is logged");
    let again = rig.restart();
    assert_eq!(rig.moves(&again), [(1, DeathReason::Rejected, vec!["a".to_owned()])]);
    rig.ask(stele_model::shard::ShardOp::Moved { number: 1 });
    let again = rig.restart();
    assert_eq!(rig.moves(&again), []);
    assert_eq!(rig.ready(), 1);
}

#[test]
fn a_record_that_fails_too_often_is_a_dead_letter() {
    let of = QueueSettings { kind: QueueKind::Quorum, delivery_max: Some(2), ..durable() };
    let mut rig = Rig::with(QueueSettings { dead_letter: dead_letters(), ..of.clone() });
    rig.subscribe(10, READING);
    let mut failures = vec![grants(&rig.publish(&["a"]))[0].failures];
    let mut said = rig.settle(10, SEEN, &[0]);
    while let Some(grant) = grants(&said).first() {
        failures.push(grant.failures);
        said = rig.settle(10, SEEN, &[0]);
    }
    assert_eq!(failures, [0, 1, 2]);
    assert_eq!(rig.moves(&said), [(1, DeathReason::DeliveryLimit, vec!["a".to_owned()])]);
}

#[test]
fn moves_under_way_are_bounded_and_go_on_when_one_ends() {
    let mut rig = Rig::with(QueueSettings { ttl_ms: Some(5), dead_letter: dead_letters(), ..durable() });
    let bodies: Vec<&str> = std::iter::repeat_n("x", 1000).collect();
    (0..30).for_each(|_| drop(rig.publish(&bodies)));
    let mut said = rig.pass_ms(5);
    let mut moved = 0;
    loop {
        let moves = rig.moves(&said);
        assert!(moves.len() <= 64 && moves.iter().all(|(_, _, bodies)| bodies.len() <= 256));
        if moves.is_empty() {
            break;
        }
        said = Vec::new();
        for (number, _, bodies) in moves {
            moved += bodies.len();
            rig.ask(stele_model::shard::ShardOp::Moved { number });
        }
        said.append(&mut rig.tick());
    }
    assert_eq!((moved, rig.ready()), (30_000, 0));
}

#[test]
fn a_queue_goes_after_its_last_consumer_and_not_before_a_first() {
    let mut rig = Rig::with(QueueSettings { auto_delete: true, ..durable() });
    let closing = |said: &crate::rig::Said| {
        said.iter().any(|(_, effect)| matches!(effect, ShardEffect::Closing { .. }))
    };
    assert!(!closing(&rig.pass_ms(1000)));
    rig.subscribe(10, READING);
    rig.subscribe(20, READING);
    assert!(!closing(&rig.unsubscribe(10)));
    assert!(closing(&rig.session_gone(2)));
    assert!(closing(&rig.restart()), "a wish that was not answered is told again");
}

#[test]
fn an_unused_queue_expires_and_use_puts_it_off() {
    let mut rig = Rig::with(QueueSettings { expires_ms: Some(100), ..durable() });
    rig.pass_ms(90);
    rig.get(10, true);
    assert!(rig.pass_ms(90).is_empty());
    rig.subscribe(10, READING);
    assert!(rig.pass_ms(500).is_empty());
    rig.unsubscribe(10);
    assert!(rig.pass_ms(99).is_empty());
    assert!(matches!(rig.pass_ms(1)[..], [(_, ShardEffect::Closing { .. })]));
}

#[test]
fn conditions_on_a_deletion_are_decided_here_and_the_answer_waits_for_the_drop() {
    let mut rig = Rig::with(durable());
    rig.publish(&["a"]);
    assert!(matches!(answer(&rig.close(false, true)).1, Err(Refusal::NotEmpty { .. })));
    rig.subscribe(10, READING);
    assert!(matches!(answer(&rig.close(true, false)).1, Err(Refusal::InUse { .. })));
    let said = rig.close(false, true);
    assert!(matches!(said[..], [(_, ShardEffect::Closing { .. })]), "the one record is delivered");
    assert!(matches!(answer(&rig.subscribe(20, READING)).1, Err(Refusal::Missing { .. })));
    let said = rig.drop_queue(1);
    assert_eq!(answer(&said), (rig.log.tail(), Ok(Answer::Deleted { ready: 0 })));
    let cancelled = |(_, effect): &(Lsn, ShardEffect)| matches!(effect, ShardEffect::Cancelled { subscription: to } if *to == subscription(10));
    assert!(said.iter().any(cancelled));
    assert_eq!(answer(&rig.close(false, false)).1, Ok(Answer::Deleted { ready: 0 }), "gone is gone");
}

#[test]
fn a_purge_takes_the_ready_ones_at_once_and_gives_their_bytes_back_in_steps() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, Reading { messages_max: Some(1), ..READING });
    let bodies: Vec<&str> = std::iter::repeat_n("x", 1000).collect();
    (0..40).for_each(|_| drop(rig.publish(&bodies)));
    assert_eq!(answer(&rig.purge()).1, Ok(Answer::Purged { count: 39_999 }));
    assert_eq!((rig.ready(), rig.counts(1).unwrap().unsettled), (0, 1));
    rig.tick();
    let mut changes = Vec::new();
    rig.shard.live_changes(&mut changes);
    assert_eq!(changes.iter().map(|(_, bytes)| bytes).sum::<i64>(), 34);
    rig.restart();
    assert_eq!(rig.ready(), 1);
}

#[test]
fn what_a_session_held_returns_in_order_in_steps() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    let bodies: Vec<&str> = std::iter::repeat_n("x", 1000).collect();
    (0..20).for_each(|_| drop(rig.publish(&bodies)));
    assert_eq!(rig.counts(1).unwrap().unsettled, 20_000);
    rig.session_gone(1);
    assert!(rig.counts(1).unwrap().unsettled > 0, "one turn is bounded");
    rig.tick();
    assert_eq!(rig.ready(), 20_000);
    let mut said = rig.subscribe(20, READING);
    said.append(&mut rig.tick());
    let positions: Vec<u64> = grants(&said).iter().map(|grant| grant.position.0).collect();
    assert_eq!(positions, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn a_settle_of_many_is_ended_in_steps() {
    let mut rig = Rig::with(durable());
    rig.subscribe(10, READING);
    let bodies: Vec<&str> = std::iter::repeat_n("x", 1000).collect();
    (0..20).for_each(|_| drop(rig.publish(&bodies)));
    let all: Vec<u64> = (0..20_000).collect();
    rig.settle(10, How::Accept, &all);
    rig.tick();
    let counts = rig.counts(1).unwrap();
    assert_eq!((counts.unsettled, counts.accepted), (0, 20_000));
}

#[test]
fn a_registry_that_repeats_itself_is_answered_and_changes_nothing() {
    let mut rig = Rig::new();
    let said = rig.put(1, durable());
    assert!(matches!(said[..], [(Lsn(1), ShardEffect::Applied { .. })]));
    let entries = rig.log.entries().len();
    assert!(matches!(rig.put(1, durable())[..], [(_, ShardEffect::Applied { .. })]));
    assert_eq!(rig.log.entries().len(), entries);
}

#[test]
fn a_lower_limit_applies_to_what_is_there() {
    let mut rig = Rig::with(durable());
    rig.publish(&["a", "b", "c"]);
    rig.put(1, QueueSettings { length_max: Some(1), ..durable() });
    assert_eq!(rig.ready(), 1);
    rig.restart();
    assert_eq!(rig.ready(), 1);
}

#[test]
fn a_record_too_large_for_the_log_is_refused_and_the_others_stand() {
    let mut rig = Rig::with(durable());
    let huge = "x".repeat(2 << 20);
    let said = rig.publish(&["a", &huge, "b"]);
    assert!(matches!(&published(&said).1[..], [(1, Refusal::Limit { .. })]));
    assert_eq!(rig.ready(), 2);
}

#[test]
fn a_batch_larger_than_an_entry_is_split() {
    let mut rig = Rig::with(durable());
    let large = "x".repeat(400 << 10);
    let said = rig.publish(&[&large, &large, &large, &large, &large]);
    assert_eq!(published(&said).0, rig.log.tail());
    assert_eq!(rig.ready(), 5);
    rig.restart();
    assert_eq!(rig.ready(), 5);
}
