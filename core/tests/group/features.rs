//! One case after another, each small.

use super::rig::{Rig, join, of};
use stele_model::group::{GroupAnswer, GroupRefusal};

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
