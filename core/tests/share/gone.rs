//! Groups and records that go: purged by subject, pushed out by a limit, rolled up.

use crate::rig::{PARTITION, Rig, Said, events, positions, taker, want};
use crate::subjects::{filtered, make, publish, publish_with};
use stele_model::id::{Call, HubId, Position};
use stele_model::shard::{ShardEffect, ShardOp};
use stele_model::share::{
    Reached, SettlePolicy, ShardTake, ShareAnswer, ShareEvent, ShareInfo, ShareSettings, ShareStart,
    ShareVerb, Take,
};
use stele_model::stream::records::{
    PurgeOf, RecordSettings, RecordsAsk, Rollup, ShardRecords, ShardRecordsAnswer, Terms,
};
use stele_model::subject::Pattern;

/// One record of each subject in turn.
fn rig(settings: RecordSettings) -> Rig {
    let mut rig = Rig::of(settings);
    publish(&mut rig, &["a", "b", "a", "b", "a", "b", "a", "b"]);
    rig.listen();
    rig
}

fn take(rig: &mut Rig, group: &str, count: u32) -> Vec<u64> {
    let taker = taker(u64::from(group.as_bytes()[0]));
    let (group, how) = (group.to_owned(), Take::Pull(want(count)));
    positions(&rig.ask(ShardOp::Take(ShardTake { taker, partition: PARTITION, group, how })))
}

fn info(rig: &mut Rig, group: &str) -> ShareInfo {
    match rig.verb(group, ShareVerb::Info).1 {
        Ok(ShareAnswer::Info(info)) => *info,
        other => panic!("{other:?}"),
    }
}

/// Delivered and floor as (sequence, position behind), then what is unsettled and what waits.
fn place(rig: &mut Rig, group: &str) -> [(u64, u64); 3] {
    let info = info(rig, group);
    let pair = |of: Reached| (of.sequence, of.next.0);
    [pair(info.delivered), pair(info.floor), (info.unsettled, info.pending)]
}

/// How many went.
fn purge(rig: &mut Rig, subjects: &'static str, below: Option<u64>, keep: Option<u64>) -> (u64, Said) {
    let of = PurgeOf { subjects: Pattern::new(subjects), below: below.map(Position), keep };
    let (hub, call, ask) = (HubId(0), Call(1), RecordsAsk::Purge(of));
    let mut said = rig.ask(ShardOp::Records(ShardRecords { hub, call, partition: PARTITION, ask }));
    said.extend(rig.tick());
    let removed = said.iter().find_map(|(_, effect)| match effect {
        ShardEffect::Records { answer: Ok(ShardRecordsAnswer::Removed(count)), .. } => Some(*count),
        _ => None,
    });
    (removed.expect("it is answered"), said)
}

fn lost(said: &Said) -> Vec<u64> {
    let each = events(said).into_iter().filter_map(|event| match event {
        ShareEvent::Lost { position, .. } => Some(position.0),
        _ => None,
    });
    each.collect()
}

#[test]
fn a_group_that_wants_nothing_else_goes_on_behind_what_is_purged_by_subject_also_after_a_restart() {
    let cases = [
        ("a", None, None, 4, 8),
        ("a", None, Some(1), 3, 6),
        ("a", Some(3), None, 2, 4),
        ("x", None, None, 0, 0),
    ];
    for (subject, below, keep, gone, next) in cases {
        let mut rig = rig(RecordSettings::default());
        let wanted: [(&str, &[&'static str]); 4] =
            [("all", &[]), ("mine", &["a"]), ("other", &["b"]), ("some", &["a", "b"])];
        for (group, filters) in wanted {
            make(&mut rig, group, filtered(filters));
        }
        assert_eq!(purge(&mut rig, subject, below, keep).0, gone);
        let start = u64::from(gone > 0);
        for _ in 0..2 {
            let left = 8 - gone;
            assert_eq!(place(&mut rig, "mine"), [(0, next), (0, next), (0, 4 - gone)], "{subject} {keep:?}");
            assert_eq!(place(&mut rig, "all"), [(0, start), (0, start), (0, left)]);
            assert_eq!(place(&mut rig, "some"), [(0, start), (0, start), (0, left)]);
            assert_eq!(place(&mut rig, "other"), [(0, 0), (0, 0), (0, 4)]);
            rig.restart();
        }
    }
}

#[test]
fn deliveries_of_what_is_purged_by_subject_are_over_and_nobody_hears_of_it() {
    let mut rig = rig(RecordSettings::default());
    for (group, filters) in [("all", &[][..]), ("mine", &["a"]), ("keeps", &["a"])] {
        make(&mut rig, group, filtered(filters));
        take(&mut rig, group, 3);
    }
    let (gone, said) = purge(&mut rig, "a", None, Some(2));
    assert_eq!((gone, lost(&said)), (2, vec![]));
    assert_eq!(place(&mut rig, "all"), [(3, 3), (1, 1), (1, 5)]);
    assert_eq!(place(&mut rig, "mine"), [(3, 5), (2, 4), (1, 1)]);
    assert_eq!(purge(&mut rig, "*", None, None).0, 6);
    for _ in 0..2 {
        assert_eq!(place(&mut rig, "all"), [(3, 8), (3, 8), (0, 0)]);
        assert_eq!(place(&mut rig, "mine"), [(3, 8), (3, 8), (0, 0)]);
        rig.restart();
    }
}

#[test]
fn a_delivery_is_over_when_another_record_of_its_subject_has_come() {
    let mut rig = rig(RecordSettings { per_subject_max: Some(4), ..RecordSettings::default() });
    for group in ["all", "too"] {
        make(&mut rig, group, filtered(&[]));
        assert_eq!(take(&mut rig, group, 3), [0, 1, 2]);
    }
    assert_eq!(lost(&publish(&mut rig, &["a"])), [0, 0]);
    assert_eq!(lost(&publish(&mut rig, &["a", "b", "b"])), [1, 2, 1, 2]);
    assert_eq!(place(&mut rig, "all"), [(3, 3), (3, 3), (0, 8)]);
    rig.restart();
    assert_eq!(place(&mut rig, "too"), [(3, 3), (3, 3), (0, 8)]);
}

#[test]
fn what_is_rolled_up_is_gone_as_if_it_was_purged() {
    for (rollup, mine, all) in [
        (Rollup::Subject, [(2, 8), (2, 8), (0, 1)], [(2, 2), (1, 1), (1, 4)]),
        (Rollup::All, [(2, 8), (2, 8), (0, 1)], [(2, 8), (2, 8), (0, 1)]),
    ] {
        let mut rig = rig(RecordSettings { rollup: true, ..RecordSettings::default() });
        for (group, filters) in [("all", &[][..]), ("mine", &["a"])] {
            make(&mut rig, group, filtered(filters));
            take(&mut rig, group, 2);
        }
        let terms = vec![(0, Terms { rollup: Some(rollup), ..Terms::default() })];
        let mut said = publish_with(&mut rig, &["a"], terms);
        said.extend(rig.tick());
        assert_eq!(lost(&said), []);
        assert_eq!((place(&mut rig, "mine"), place(&mut rig, "all")), (mine, all), "{rollup:?}");
    }
}

#[test]
fn more_deliveries_than_a_turn_looks_at_are_over_soon_after_their_records() {
    let mut rig = Rig::of(RecordSettings { per_subject_max: Some(1), ..RecordSettings::default() });
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let subjects: Vec<&str> = names.iter().map(String::as_str).collect();
    // The start stays where it is.
    publish(&mut rig, &["stays"]);
    publish(&mut rig, &subjects);
    let groups: Vec<String> = (0..70_u8).map(|n| char::from(b'0' + n).to_string()).collect();
    for group in &groups {
        make(&mut rig, group, filtered(&[]));
        take(&mut rig, group, 101);
    }
    publish(&mut rig, &subjects);
    rig.tick();
    for group in &groups {
        assert_eq!(place(&mut rig, group), [(101, 101), (0, 0), (1, 1000)]);
    }
}

#[test]
fn the_floor_stays_where_it_was_until_the_oldest_delivery_ends() {
    for (settle, second) in
        [(SettlePolicy::Explicit, [(4, 8), (2, 5), (2, 0)]), (SettlePolicy::All, [(4, 8), (2, 4), (2, 0)])]
    {
        let mut rig = rig(RecordSettings::default());
        let settings = ShareSettings { settle, ..filtered(&["b"]) };
        make(&mut rig, "g", settings);
        take(&mut rig, "g", 4);
        assert_eq!(place(&mut rig, "g"), [(4, 8), (0, 0), (4, 0)]);
        rig.accept(&[1]);
        rig.accept(&[3]);
        assert_eq!(place(&mut rig, "g"), second);
        rig.accept(&[5]);
        rig.accept(&[7]);
        publish(&mut rig, &["a", "a", "b"]);
        take(&mut rig, "g", 1);
        assert_eq!(place(&mut rig, "g"), [(5, 11), (4, 8), (1, 0)]);
        rig.restart();
        assert_eq!(place(&mut rig, "g"), [(5, 11), (4, 8), (1, 0)]);
    }
}

#[test]
fn a_group_that_begins_with_last_records_is_told_where_these_are() {
    let mut rig = rig(RecordSettings::default());
    publish(&mut rig, &["c"]);
    rig.remove(8);
    make(&mut rig, "g", ShareSettings { start: ShareStart::LastPerSubject, ..filtered(&["*"]) });
    assert_eq!(place(&mut rig, "g"), [(0, 6), (0, 6), (0, 2)]);
    assert_eq!(take(&mut rig, "g", 1), [6]);
    assert_eq!(place(&mut rig, "g"), [(1, 7), (0, 6), (1, 1)]);
    rig.accept(&[6]);
    assert_eq!(take(&mut rig, "g", 1), [7]);
    assert_eq!(place(&mut rig, "g"), [(2, 8), (1, 7), (1, 0)]);
}
