//! Dead letters of shared groups: records that are given up or terminated move to where the group says, and are in one place at any time.

use crate::rig::{Rig, Said, events, positions, want};
use crate::subjects::{filtered, make, publish, rig, there};
use std::collections::VecDeque;
use stele_model::id::{Lsn, Position};
use stele_model::machine::{Journal, Machine, VOLATILE};
use stele_model::queue::DeadLetter;
use stele_model::shard::{MoveOut, ShardEffect, ShardOp};
use stele_model::share::{
    REASON_BYTES_MAX, ShareDeath, ShareEvent, ShareHow, ShareMove, ShareSettings, ShareVerb,
};
use stele_model::stream::records::{RecordSettings, Retention, Storage};

fn dead_letters() -> ShareSettings {
    let dead_letter = Some(DeadLetter { exchange: "x".to_owned(), key: Some("dead".to_owned()) });
    ShareSettings { lease_us: 1_000_000, deliveries_max: Some(2), dead_letter, ..ShareSettings::default() }
}

fn moves(said: &Said) -> Vec<(u64, ShareMove)> {
    let each = said.iter().filter_map(|(_, effect)| match effect {
        ShardEffect::Move(of) => match &of.out_of {
            MoveOut::Share(share) => Some((of.number, (**share).clone())),
            MoveOut::Queue { .. } | MoveOut::Due(_) => None,
        },
        _ => None,
    });
    each.collect()
}

fn dead(said: &Said) -> Vec<(u64, Vec<(u64, u32)>)> {
    let records =
        |of: ShareMove| of.records.iter().map(|dead| (dead.position.0, dead.deliveries)).collect::<Vec<_>>();
    moves(said).into_iter().map(|(number, of)| (number, records(of))).collect()
}

fn terminate(reason: &str) -> ShareHow {
    ShareHow::Terminate { reason: reason.to_owned() }
}

/// Bytes that the shard refers to, summed over all blocks since the last call.
fn live(rig: &mut Rig) -> i64 {
    let mut changes = Vec::new();
    rig.shard.live_changes(&mut changes);
    changes.iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn what_is_terminated_or_given_up_moves_with_its_circumstances() {
    let mut rig = Rig::with(dead_letters());
    rig.listen();
    rig.append(3);
    rig.pull(1, want(3));
    let said = rig.settle(terminate("broken"), &[1]);
    let [(1, of)] = &moves(&said)[..] else { panic!("{said:?}") };
    assert_eq!((&of.stream[..], &of.group[..]), ("s", "g"));
    assert_eq!(of.target.key.as_deref(), Some("dead"));
    assert_eq!(of.why, ShareDeath::Terminated { reason: "broken".to_owned() });
    let [record] = &of.records[..] else { panic!("{of:?}") };
    assert_eq!((record.position, record.deliveries), (Position(1), 1));
    assert!(rig.log.read(record.batch.place, record.batch.len).is_some());
    assert!(matches!(events(&said)[..], [ShareEvent::Terminated { .. }]), "listeners hear of it as before");
    assert_eq!(rig.info().unsettled, 2);

    rig.pass_ms(1001);
    assert_eq!(positions(&rig.pull(2, want(2))), [0, 2]);
    let said = rig.pass_ms(1001);
    assert_eq!(dead(&said), [(2, vec![(0, 2), (2, 2)])]);
    assert_eq!(moves(&said)[0].1.why, ShareDeath::Exhausted);
    assert_eq!(events(&said).len(), 2);
    assert_eq!((rig.info().unsettled, rig.info().floor.next), (0, Position(3)));
}

#[test]
fn a_move_is_sent_again_after_a_restart_until_the_record_has_arrived() {
    let mut rig = Rig::with(dead_letters());
    rig.append(2);
    rig.pull(1, want(2));
    rig.settle(terminate(""), &[0]);
    assert_eq!(dead(&rig.restart()), [(1, vec![(0, 1)])]);
    rig.verb("g", ShareVerb::Delete).1.expect("it is there");
    rig.trim(2);
    assert_eq!(dead(&rig.restart()), [(1, vec![(0, 1)])], "neither its group nor its stream need have it");
    rig.ask(ShardOp::Moved { number: 1 });
    assert_eq!(dead(&rig.restart()), []);
}

#[test]
fn a_crash_finds_a_record_of_a_work_stream_in_one_place() {
    let mut rig = rig(Retention::Work);
    make(&mut rig, "g", ShareSettings { deliveries_max: None, ..dead_letters() });
    publish(&mut rig, &["a", "b"]);
    rig.log.seal();
    rig.pull(1, want(2));
    let before = rig.log.seal();
    rig.settle(terminate(""), &[0]);
    assert_eq!(there(&mut rig), 1, "it leaves the stream as it begins to move");
    let after = rig.log.seal();
    for through in [before, after] {
        let said = rig.restart_at(through);
        let moves: usize = dead(&said).iter().map(|(_, records)| records.len()).sum();
        let waits = rig.info().unsettled as usize - 1;
        assert_eq!((moves, waits, there(&mut rig)), if through == before { (0, 1, 2) } else { (1, 0, 1) });
        if through == before {
            // The other end of the story, once more.
            rig.pull(1, want(2));
            rig.settle(terminate(""), &[0]);
            rig.log.seal();
        }
    }
}

#[test]
fn a_move_holds_the_bytes_of_its_records_whatever_becomes_of_the_stream() {
    let mut rig = rig(Retention::Work);
    make(&mut rig, "g", dead_letters());
    publish(&mut rig, &["a"]);
    let of_one = live(&mut rig);
    rig.pull(1, want(1));
    rig.settle(terminate(""), &[0]);
    assert_eq!(live(&mut rig), 0, "what the stream has let go of the move holds");
    let mut named = Vec::new();
    rig.shard.live_in((Lsn(0), rig.log.tail()), &mut named);
    assert_eq!(named.len(), 1);
    rig.ask(ShardOp::Moved { number: 1 });
    assert_eq!(live(&mut rig), -of_one);
}

#[test]
fn a_record_in_memory_moves_as_long_as_the_process_lives() {
    let settings = RecordSettings { storage: Storage::Memory, ..RecordSettings::default() };
    let mut rig = Rig::of(settings);
    make(&mut rig, "g", dead_letters());
    publish(&mut rig, &["a"]);
    rig.pull(1, want(1));
    let said = rig.settle(terminate(""), &[0]);
    let [(1, of)] = &moves(&said)[..] else { panic!("{said:?}") };
    assert!(of.records[0].batch.place.lsn.0 & VOLATILE != 0);
    assert_eq!(dead(&rig.restart()), []);
    publish(&mut rig, &["a", "b"]);
    rig.pull(2, want(1));
    let said = rig.settle(terminate(""), &[1]);
    assert_eq!(dead(&said), [(2, vec![(1, 1)])], "no number is used twice");
}

#[test]
fn what_is_not_in_the_stream_any_more_does_not_move() {
    let mut rig = rig(Retention::Limits);
    make(&mut rig, "g", dead_letters());
    publish(&mut rig, &["a", "b"]);
    rig.pull(1, want(2));
    let gone = rig.remove(0);
    assert_eq!(dead(&gone), []);
    assert_eq!(dead(&rig.settle(terminate(""), &[0, 1])), [(1, vec![(1, 1)])]);
    assert_eq!(rig.info().unsettled, 0);
}

#[test]
fn a_group_waits_with_what_it_gives_up_while_too_many_moves_are_under_way() {
    const RECORDS: u64 = 20_000;
    let mut rig = Rig::with(ShareSettings { deliveries_max: Some(1), pending_max: None, ..dead_letters() });
    for _ in 0..RECORDS / 100 {
        rig.append(100);
    }
    let pulls = RECORDS / 1000;
    for number in 1..=pulls {
        rig.pull(number, want(1000));
        rig.pass_ms(1);
    }
    assert_eq!(rig.info().delivered.sequence, RECORDS);
    let mut open: VecDeque<_> = dead(&rig.pass_ms(1001)).into();
    assert_eq!(positions(&rig.pull(pulls + 1, want(1))), [], "nothing is given out meanwhile");
    let (mut moved, mut most) = (Vec::new(), 0);
    while let Some((number, records)) = open.pop_front() {
        most = most.max(open.len() + 1);
        moved.extend(records.into_iter().map(|(at, _)| at));
        open.extend(dead(&rig.ask(ShardOp::Moved { number })));
        open.extend(dead(&rig.tick()));
    }
    assert!((64..=64 + 2048 / 256 + 1).contains(&most), "{most} moves at once");
    moved.sort_unstable();
    assert_eq!(moved, (0..RECORDS).collect::<Vec<_>>());
    rig.append(1);
    assert_eq!(rig.info().pending, 0, "and it goes on");
}

#[test]
fn a_long_reason_is_cut() {
    let mut rig = Rig::with(dead_letters());
    rig.append(1);
    rig.pull(1, want(1));
    let said = rig.settle(terminate(&"ö".repeat(70_000)), &[0]);
    let ShareDeath::Terminated { reason } = &moves(&said)[0].1.why else { panic!("{said:?}") };
    assert!(reason.len() <= REASON_BYTES_MAX && reason.starts_with("öö"));
    assert_eq!(dead(&rig.restart()), [(1, vec![(0, 1)])]);
}

#[test]
fn only_some_subjects_of_a_group_with_dead_letters_leave_an_interest_stream_for_others() {
    let mut rig = rig(Retention::Interest);
    make(&mut rig, "g", dead_letters());
    make(&mut rig, "h", filtered(&["b"]));
    publish(&mut rig, &["a", "b"]);
    rig.pull(1, want(2));
    assert_eq!(dead(&rig.settle(terminate(""), &[0, 1])), [(1, vec![(0, 1), (1, 1)])]);
    assert_eq!(there(&mut rig), 1, "another group wants the second");
    rig.restart();
    assert_eq!(there(&mut rig), 1);
}
