//! One case after another, each small.

use super::rig::{HOME, OTHER, Rig, join, of, partition, session};
use bytes::Bytes;
use stele_core::group::GroupSettings;
use stele_core::testing::MemoryLog;
use stele_model::group::{GroupAnswer, GroupRefusal, GroupState, GroupVerb, Join, Leaver, MemberRef};
use stele_model::id::{QueueId, Revision};
use stele_model::machine::Machine;
use stele_model::refusal::Refusal;
use stele_model::shard::{Answer, ShardEffect, ShardOp};

#[test]
fn a_member_joins_gets_its_part_beats_commits_and_leaves() {
    let mut rig = Rig::new();
    let number = rig.alone();
    assert!(number.starts_with("a-"), "{number}");
    assert_eq!(rig.heartbeat(1, &number), Ok(GroupAnswer::Unit));
    assert_eq!(rig.commit(of(1, &number), &[(7, 42)]), Ok(GroupAnswer::Committed(vec![Ok(())])));
    assert_eq!(rig.positions(), [(7, 42)]);
    assert_eq!(rig.leave(&number), Ok(GroupAnswer::Left(vec![Ok(())])));
    assert_eq!(rig.heartbeat(1, &number), Err(GroupRefusal::UnknownMember));
    assert_eq!(rig.positions(), [(7, 42)]);
}

#[test]
fn a_second_member_makes_the_first_join_again() {
    let mut rig = Rig::new();
    let first = rig.alone();
    let second = rig.join(join("b"));
    assert_eq!(rig.heard(second), None);
    assert_eq!(rig.heartbeat(1, &first), Err(GroupRefusal::Rebalancing));
    let mut again = join("a");
    again.of.member.clone_from(&first);
    let again = rig.join(again);
    assert_eq!(rig.joined(again), (2, first.clone(), first.clone()));
    let (generation, other, leader) = rig.joined(second);
    assert_eq!((generation, &leader), (2, &first));
    let waits = rig.sync(&of(2, &other), &[]);
    assert_eq!(rig.heard(waits), None);
    let leads = rig.sync(&of(2, &first), &[(&first, "one"), (&other, "two")]);
    assert_eq!((rig.part(leads), rig.part(waits)), ("one".to_owned(), "two".to_owned()));
}

#[test]
fn a_restart_keeps_members_parts_and_positions_and_nobody_joins_again() {
    let mut rig = Rig::new();
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 42), (8, 1)]).unwrap();
    rig.pass_ms(9_000);
    rig.restart();
    rig.pass_ms(9_000);
    assert_eq!(rig.heartbeat(1, &number), Ok(GroupAnswer::Unit));
    let synced = rig.sync(&of(1, &number), &[]);
    assert_eq!(rig.part(synced), "all");
    assert_eq!(rig.positions(), [(7, 42), (8, 1)]);
}

fn again(client: &str, number: &str) -> Join {
    let mut of = join(client);
    of.of.member = number.to_owned();
    of
}

fn fixed(instance: &str, number: &str) -> Join {
    let mut of = again("s", number);
    of.of.instance = Some(instance.to_owned());
    of
}

/// Two members in generation 2, the first leads; both have their parts.
fn pair(rig: &mut Rig) -> (String, String) {
    let first = rig.alone();
    let asked = rig.join(join("b"));
    rig.join(again("a", &first));
    let second = rig.joined(asked).1;
    rig.sync(&of(2, &first), &[(&first, "one"), (&second, "two")]);
    let part = rig.sync(&of(2, &second), &[]);
    assert_eq!(rig.part(part), "two");
    (first, second)
}

fn state(rig: &mut Rig) -> GroupState {
    match rig.now(GroupVerb::Describe) {
        Ok(GroupAnswer::Described(of)) => of.state,
        other => panic!("described, not {other:?}"),
    }
}

#[test]
fn a_new_member_may_have_to_come_back_with_its_number() {
    let mut rig = Rig::new();
    let first = rig.join(Join { number_first: true, ..join("a") });
    let Some(Err(GroupRefusal::MemberIdRequired(number))) = rig.heard(first) else { panic!("a number") };
    assert_eq!(state(&mut rig), GroupState::Empty);
    let asked = rig.join(again("a", &number));
    assert_eq!(rig.joined(asked), (1, number.clone(), number));
}

#[test]
fn a_number_that_nobody_joins_with_is_forgotten_after_the_session_time() {
    let mut rig = Rig::new();
    let asked = rig.join(Join { number_first: true, ..join("a") });
    let Some(Err(GroupRefusal::MemberIdRequired(number))) = rig.heard(asked) else { panic!("a number") };
    rig.pass_ms(10_001);
    let asked = rig.join(again("a", &number));
    assert_eq!(rig.heard(asked), Some(Err(GroupRefusal::UnknownMember)));
    assert_eq!(state(&mut rig), GroupState::Dead);
}

#[test]
fn a_silent_member_goes_after_its_session_time_and_the_others_join_again() {
    let mut rig = Rig::new();
    let (first, second) = pair(&mut rig);
    rig.pass_ms(9_000);
    assert_eq!(rig.heartbeat(2, &first), Ok(GroupAnswer::Unit));
    rig.pass_ms(1_001);
    assert_eq!(rig.heartbeat(2, &second), Err(GroupRefusal::UnknownMember));
    assert_eq!(rig.heartbeat(2, &first), Err(GroupRefusal::Rebalancing));
    let asked = rig.join(again("a", &first));
    assert_eq!(rig.joined(asked), (3, first.clone(), first));
}

#[test]
fn who_does_not_join_in_time_is_left_behind_and_another_leads() {
    let mut rig = Rig::new();
    let (first, second) = pair(&mut rig);
    let third = rig.join(join("c"));
    let asked = rig.join(again("b", &second));
    for _ in 0..7 {
        rig.pass_ms(9_000);
        drop(rig.heartbeat(2, &first));
    }
    assert_eq!(rig.joined(asked), (3, second.clone(), second));
    assert_eq!(rig.joined(third).0, 3);
    assert_eq!(rig.heartbeat(2, &first), Err(GroupRefusal::UnknownMember));
}

#[test]
fn who_does_not_ask_for_its_part_in_time_is_removed() {
    let mut rig = Rig::new();
    let first = rig.alone();
    let second = rig.join(join("b"));
    rig.join(again("a", &first));
    let second = rig.joined(second).1;
    let asked = rig.sync(&of(2, &first), &[(&first, "all")]);
    assert_eq!(rig.part(asked), "all");
    for _ in 0..7 {
        rig.pass_ms(9_000);
        drop((rig.heartbeat(2, &first), rig.heartbeat(2, &second)));
    }
    assert_eq!(rig.heartbeat(2, &second), Err(GroupRefusal::UnknownMember));
    assert_eq!(rig.heartbeat(2, &first), Err(GroupRefusal::Rebalancing));
}

#[test]
fn a_join_while_the_leader_divides_sends_everybody_back() {
    let mut rig = Rig::new();
    let first = rig.alone();
    let second = rig.join(join("b"));
    rig.join(again("a", &first));
    let second = rig.joined(second).1;
    let waits = rig.sync(&of(2, &second), &[]);
    rig.join(join("c"));
    assert_eq!(rig.heard(waits), Some(Err(GroupRefusal::Rebalancing)));
    let late = rig.sync(&of(2, &first), &[(&first, "all")]);
    assert_eq!(rig.heard(late), Some(Err(GroupRefusal::Rebalancing)));
    let commit = rig.commit(of(2, &first), &[(7, 1)]);
    assert_eq!(
        commit,
        Ok(GroupAnswer::Committed(vec![Ok(())])),
        "while others join, the last generation commits"
    );
}

#[test]
fn a_commit_waits_for_the_parts() {
    let mut rig = Rig::new();
    let asked = rig.join(join("a"));
    let number = rig.joined(asked).1;
    assert_eq!(rig.commit(of(1, &number), &[(7, 1)]), Err(GroupRefusal::Rebalancing));
    assert_eq!(rig.commit(of(0, &number), &[(7, 1)]), Err(GroupRefusal::IllegalGeneration));
    assert_eq!(rig.commit(of(-1, ""), &[(7, 1)]), Err(GroupRefusal::UnknownMember));
    assert_eq!(rig.positions(), []);
}

#[test]
fn who_divides_by_hand_commits_while_there_are_no_members() {
    let mut rig = Rig::new();
    assert_eq!(rig.commit(of(3, "x"), &[(7, 1)]), Err(GroupRefusal::Unknown));
    assert_eq!(rig.commit(of(-1, ""), &[(7, 5)]), Ok(GroupAnswer::Committed(vec![Ok(())])));
    rig.restart();
    assert_eq!(rig.positions(), [(7, 5)]);
    assert_eq!(state(&mut rig), GroupState::Empty);
}

#[test]
fn the_way_that_most_like_best_is_chosen_among_those_that_all_know() {
    let mut rig = Rig::new();
    let ways = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
    let first = rig.join(Join { protocols: ways(&["x", "a", "b"]), ..join("a") });
    let first = rig.joined(first).1;
    let second = rig.join(Join { protocols: ways(&["b", "a"]), ..join("b") });
    let third = rig.join(Join { protocols: ways(&["b", "a", "x"]), ..join("c") });
    let none = rig.join(Join { protocols: ways(&["x", "z"]), ..join("d") });
    assert_eq!(rig.heard(none), Some(Err(GroupRefusal::InconsistentProtocol)));
    let kind = rig.join(Join { kind: "writer".to_owned(), ..join("e") });
    assert_eq!(rig.heard(kind), Some(Err(GroupRefusal::InconsistentProtocol)));
    rig.join(Join { protocols: ways(&["x", "a", "b"]), ..again("a", &first) });
    for asked in [second, third] {
        let Some(Ok(GroupAnswer::Joined { protocol, .. })) = rig.heard(asked) else { panic!("joined") };
        assert_eq!(protocol, "b");
    }
}

#[test]
fn a_follower_that_brings_nothing_new_stays_and_one_that_does_rebalances() {
    let mut rig = Rig::new();
    let (first, second) = pair(&mut rig);
    let asked = rig.join(again("b", &second));
    assert_eq!(rig.joined(asked), (2, second.clone(), first.clone()));
    let mut other = again("b", &second);
    other.protocols[0].1 = Bytes::from_static(b"new");
    let asked = rig.join(other);
    assert_eq!(rig.heard(asked), None);
    assert_eq!(rig.heartbeat(2, &first), Err(GroupRefusal::Rebalancing));
}

#[test]
fn a_static_member_that_starts_again_keeps_its_part_and_fences_who_it_was() {
    let mut rig = Rig::new();
    let asked = rig.join(fixed("i", ""));
    let (_, old, _) = rig.joined(asked);
    let who = |member: &str| MemberRef { instance: Some("i".to_owned()), ..of(1, member) };
    let part = rig.sync(&who(&old), &[(&old, "mine")]);
    assert_eq!(rig.part(part), "mine");
    let asked = rig.join(fixed("i", ""));
    let Some(Ok(GroupAnswer::Joined { generation: 1, member: new, keep_parts: true, .. })) = rig.heard(asked)
    else {
        panic!("it is back in its generation")
    };
    assert_ne!(new, old);
    let fenced = rig.now(GroupVerb::Heartbeat { of: who(&old) });
    assert_eq!(fenced, Err(GroupRefusal::FencedInstance));
    rig.restart();
    let part = rig.sync(&who(&new), &[]);
    assert_eq!(rig.part(part), "mine");
}

#[test]
fn an_operator_removes_a_static_member_by_its_instance() {
    let mut rig = Rig::new();
    let asked = rig.join(fixed("i", ""));
    rig.joined(asked);
    let leavers =
        ["i", "other"].map(|name| Leaver { member: String::new(), instance: Some(name.to_owned()) });
    let left = rig.now(GroupVerb::Leave { members: leavers.to_vec() });
    assert_eq!(left, Ok(GroupAnswer::Left(vec![Ok(()), Err(GroupRefusal::UnknownMember)])));
    assert_eq!(state(&mut rig), GroupState::Empty);
}

#[test]
fn a_member_that_never_learned_its_number_goes_with_its_connection() {
    let mut rig = Rig::new();
    let first = rig.alone();
    let lost = rig.ask_from(7, "g", GroupVerb::Join(join("b")), Vec::new());
    rig.take(ShardOp::SessionGone { session: session(7) });
    let asked = rig.join(again("a", &first));
    assert_eq!(rig.joined(asked), (2, first.clone(), first));
    assert_eq!(rig.heard(lost), None);
}

#[test]
fn the_first_of_a_group_waits_for_others_while_they_come() {
    let settings = GroupSettings { initial_delay_ms: 3_000, ..GroupSettings::default() };
    let mut rig = Rig::with(settings);
    let first = rig.join(join("a"));
    rig.pass_ms(2_000);
    let second = rig.join(join("b"));
    rig.pass_ms(1_500);
    assert_eq!(rig.heard(first), None);
    rig.pass_ms(3_000);
    assert_eq!((rig.joined(first).0, rig.joined(second).0), (1, 1));
}

#[test]
fn positions_of_a_stream_that_is_read_are_not_forgotten() {
    let mut rig = Rig::new();
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 1), (8, 2)]).unwrap();
    let verb = GroupVerb::Forget { of: vec![partition("orders", 0), partition("other", 0)] };
    let asked = rig.ask_from(1, "g", verb.clone(), vec![Some(QueueId(7)), Some(QueueId(8))]);
    let said = rig.heard(asked);
    let subscribed = Err(Refusal::Group(GroupRefusal::Subscribed));
    assert_eq!(said, Some(Ok(GroupAnswer::Committed(vec![subscribed, Ok(())]))));
    assert_eq!(rig.positions(), [(7, 1)]);
    rig.restart();
    assert_eq!(rig.positions(), [(7, 1)]);
    rig.leave(&number).unwrap();
    let asked = rig.ask_from(1, "g", verb, vec![Some(QueueId(7)), Some(QueueId(8))]);
    assert_eq!(rig.heard(asked), Some(Ok(GroupAnswer::Committed(vec![Ok(()), Ok(())]))));
    assert_eq!(rig.positions(), []);
}

#[test]
fn a_group_of_which_nobody_can_tell_what_it_reads_forgets_nothing_while_it_has_members() {
    let mut rig = Rig::new();
    let asked = rig.join(Join { reads: None, ..join("a") });
    rig.joined(asked);
    let verb = GroupVerb::Forget { of: vec![partition("orders", 0)] };
    let asked = rig.ask_from(1, "g", verb, vec![Some(QueueId(7))]);
    assert_eq!(rig.heard(asked), Some(Err(GroupRefusal::NotEmpty)));
}

#[test]
fn positions_of_a_stream_that_no_member_reads_go_a_while_after_their_commit() {
    let settings = GroupSettings { retention_ms: 60_000, empty_ms: 5_000, ..GroupSettings::default() };
    let mut rig = Rig::with(settings);
    let number = rig.alone();
    let beat = |rig: &mut Rig, generation, seconds| {
        for _ in 0..seconds / 5 {
            rig.pass_ms(5_000);
            assert_eq!(rig.heartbeat(generation, &number), Ok(GroupAnswer::Unit));
        }
    };
    let newer = 10; // of the stream that it reads, and made after it joined
    rig.commit(of(1, &number), &[(7, 1), (newer, 1), (OTHER, 2)]).unwrap();
    beat(&mut rig, 1, 55);
    assert_eq!(rig.positions(), [(7, 1), (OTHER, 2), (newer, 1)]);
    beat(&mut rig, 1, 15);
    assert_eq!(rig.positions(), [(7, 1), (newer, 1)]);
    rig.restart();
    rig.commit(of(1, &number), &[(OTHER, 3)]).unwrap();
    beat(&mut rig, 1, 100);
    assert_eq!(rig.positions(), [(7, 1), (newer, 1)], "what the group reads is logged");
    // In a log from before that nobody has said since the restart what it reads, so all may be read.
    let reading = 39; // its entry's kind
    rig.restart_without(reading);
    rig.commit(of(1, &number), &[(OTHER, 3)]).unwrap();
    beat(&mut rig, 1, 100);
    assert_eq!(rig.positions(), [(7, 1), (OTHER, 3), (newer, 1)]);
    rig.commit(of(1, &number), &[(newer, 1)]).unwrap();
    let joined = rig.join(again("a", &number));
    assert_eq!(rig.joined(joined).0, 2);
    rig.sync(&of(2, &number), &[(&number, "all")]);
    rig.commit(of(2, &number), &[(newer, 2)]).unwrap();
    beat(&mut rig, 2, 100);
    assert_eq!(rig.positions(), [(7, 1), (newer, 2)]);
}

#[test]
fn positions_go_a_week_after_the_last_member_and_the_group_with_them() {
    let mut rig = Rig::new();
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 1)]).unwrap();
    rig.leave(&number).unwrap();
    let day_ms = 24 * 60 * 60 * 1000;
    rig.pass_ms(6 * day_ms);
    rig.restart();
    rig.pass_ms(day_ms - 1000);
    assert_eq!(rig.positions(), [(7, 1)]);
    rig.pass_ms(20 * 60 * 1000);
    assert_eq!(state(&mut rig), GroupState::Dead);
    rig.restart();
    assert_eq!(state(&mut rig), GroupState::Dead);
}

#[test]
fn a_group_with_members_is_not_deleted_and_an_empty_one_is() {
    let mut rig = Rig::new();
    assert_eq!(rig.now(GroupVerb::Delete), Err(GroupRefusal::Unknown));
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 1)]).unwrap();
    assert_eq!(rig.now(GroupVerb::Delete), Err(GroupRefusal::NotEmpty));
    rig.leave(&number).unwrap();
    assert_eq!(rig.now(GroupVerb::Delete), Ok(GroupAnswer::Unit));
    rig.restart();
    assert_eq!((state(&mut rig), rig.positions()), (GroupState::Dead, Vec::new()));
}

#[test]
fn what_a_partition_that_is_gone_was_read_to_is_forgotten() {
    let mut rig = Rig::new();
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 1), (8, 2)]).unwrap();
    rig.take(ShardOp::PartitionsGone { partitions: vec![QueueId(8), QueueId(9)] });
    rig.tick();
    assert_eq!(rig.positions(), [(7, 1)]);
    rig.restart();
    assert_eq!(rig.positions(), [(7, 1)]);
}

#[test]
fn a_home_that_is_gone_takes_its_groups_along() {
    let mut rig = Rig::new();
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 1)]).unwrap();
    let waits = rig.join(join("b"));
    let mut effects = Vec::new();
    let gone = ShardOp::Drop { revision: Revision(1), queue: HOME };
    rig.shard.take(gone, &mut rig.log, &mut effects);
    let refused = effects.iter().any(|(_, effect)| {
        let unknown = Ok(Answer::Group(Err(GroupRefusal::Unknown)));
        matches!(effect, ShardEffect::Answer { call, answer, .. } if call.0 == waits.0 && *answer == unknown)
    });
    assert!(refused, "{effects:?}");
    rig.restart();
    assert_eq!(state(&mut rig), GroupState::Dead);
}

#[test]
fn a_reader_of_a_home_sees_what_holds_in_the_order_in_which_it_was_logged() {
    let mut rig = Rig::new();
    let number = rig.alone();
    rig.commit(of(1, &number), &[(7, 1), (8, 2)]).unwrap();
    rig.commit(of(1, &number), &[(7, 3)]).unwrap();
    let changes = |rig: &mut Rig, from: u64| {
        let said = rig.changes(from);
        let each = said.1.iter().map(|of| {
            let what = match &of.what {
                Ok(known) => (known.partition.0, known.position.0),
                Err(generation) => (0, generation.generation as u64),
            };
            (of.at.0, of.group.clone(), what)
        });
        (said.0.0, each.collect::<Vec<_>>())
    };
    let g = || "g".to_owned();
    let all = (4, vec![(0, g(), (0, 1)), (2, g(), (8, 2)), (3, g(), (7, 3))]);
    assert_eq!(changes(&mut rig, 0), all);
    rig.restart();
    assert_eq!(changes(&mut rig, 0), all);
    assert_eq!(changes(&mut rig, 3), (4, vec![(3, g(), (7, 3))]));
    rig.leave(&number).unwrap();
    assert_eq!(changes(&mut rig, 4), (5, vec![(4, g(), (0, 2))]));
}

#[test]
fn everything_is_bounded() {
    let settings = GroupSettings {
        members_max: 2,
        groups_max: 2,
        positions_max: 1,
        metadata_bytes_max: 3,
        name_bytes_max: 5,
        member_bytes_max: 400,
        ..GroupSettings::default()
    };
    let mut rig = Rig::with(settings);
    let refused = |rig: &mut Rig, of: Join| {
        let asked = rig.join(of);
        match rig.heard(asked) {
            Some(Err(refusal)) => refusal,
            other => panic!("refused, not {other:?}"),
        }
    };
    assert_eq!(refused(&mut rig, Join { session_ms: 5_999, ..join("a") }), GroupRefusal::SessionTime);
    assert_eq!(refused(&mut rig, Join { session_ms: 1_800_001, ..join("a") }), GroupRefusal::SessionTime);
    assert_eq!(refused(&mut rig, fixed("longer", "")), GroupRefusal::InvalidName);
    let heavy = vec![("range".to_owned(), Bytes::from(vec![0; 400]))];
    assert_eq!(refused(&mut rig, Join { protocols: heavy, ..join("a") }), GroupRefusal::MetadataTooLarge);
    let none = Join { protocols: Vec::new(), ..join("a") };
    assert_eq!(refused(&mut rig, none), GroupRefusal::InconsistentProtocol);
    for name in ["", "longer"] {
        let asked = rig.ask_from(1, name, GroupVerb::Describe, Vec::new());
        assert_eq!(rig.heard(asked), Some(Err(GroupRefusal::InvalidName)));
    }
    let (first, _) = pair(&mut rig);
    assert_eq!(refused(&mut rig, join("c")), GroupRefusal::Full);
    let two = rig.commit(of(2, &first), &[(7, 1), (8, 1)]);
    let Ok(GroupAnswer::Committed(two)) = two else { panic!("committed, not {two:?}") };
    assert!(two[0].is_ok() && matches!(two[1], Err(Refusal::Limit { max: 1, .. })), "{two:?}");
    rig.ask_from(1, "h", GroupVerb::Join(join("a")), Vec::new());
    let third = rig.ask_from(1, "i", GroupVerb::Join(join("a")), Vec::new());
    assert_eq!(rig.heard(third), Some(Err(GroupRefusal::Full)));
}

#[test]
fn ten_thousand_members_beat_and_come_back_after_a_restart() {
    let mut rig = Rig::new();
    rig.log = MemoryLog::new(12 << 20);
    let asked: Vec<_> = (0..10_000).map(|_| rig.join(join("m"))).collect();
    let first = rig.joined(asked[0]).1;
    let gather = rig.join(again("m", &first));
    assert_eq!(rig.joined(gather).0, 2);
    let numbers: Vec<String> = asked[1..].iter().map(|asked| rig.joined(*asked).1).collect();
    for number in &numbers {
        rig.sync(&of(2, number), &[]);
    }
    rig.sync(&of(2, &first), &[(&first, "all")]);
    assert_eq!(state(&mut rig), GroupState::Stable);
    for _ in 0..3 {
        rig.pass_ms(4_000);
        assert_eq!(rig.heartbeat(2, &first), Ok(GroupAnswer::Unit));
        for number in &numbers {
            assert_eq!(rig.heartbeat(2, number), Ok(GroupAnswer::Unit));
        }
    }
    rig.restart();
    rig.pass_ms(10_001);
    assert_eq!(state(&mut rig), GroupState::Empty);
}
