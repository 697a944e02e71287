//! Groups over streams that tell their records apart: by subject, by the last of each, and by what is settled.

use crate::item::item;
use crate::rig::{PARTITION, Rig, abandoned, ends, events, got, positions, want};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use stele_model::id::{Call, HubId, Position};
use stele_model::publish::{Publishes, RoutedRun, ShardPublish};
use stele_model::shard::ShardOp;
use stele_model::share::{
    Expect, PullEnd, PullWant, Reached, SettlePolicy, ShareAnswer, ShareEvent, ShareHow, ShareRefusal,
    ShareSettings, ShareStart, ShareVerb,
};
use stele_model::stream::records::{
    Abandoned, BundleEnd, BundleTerms, PurgeOf, RecordSettings, RecordsAsk, Retention, ShardRecords, Terms,
};
use stele_model::subject::Pattern;
use stele_record::{Draft, Origin};

pub(crate) fn rig(retention: Retention) -> Rig {
    Rig::of(RecordSettings { retention, ..RecordSettings::default() })
}

pub(crate) fn publish(rig: &mut Rig, subjects: &[&str]) -> crate::rig::Said {
    publish_with(rig, subjects, Vec::new())
}

/// With terms for some of the records.
pub(crate) fn publish_with(rig: &mut Rig, subjects: &[&str], terms: Vec<(u32, Terms)>) -> crate::rig::Said {
    let (mut bytes, mut items) = (BytesMut::new(), Vec::new());
    for subject in subjects {
        let start = bytes.len() as u32;
        let draft = Draft {
            origin: Origin::Amqp091,
            persistent: true,
            priority: 0,
            ttl_ms: None,
            time: 0,
            exchange: b"",
            key: subject.as_bytes(),
            properties: &[],
            history: &[],
        };
        draft.write(b"body", &mut bytes);
        items.push(item(start..bytes.len() as u32));
    }
    let runs = vec![RoutedRun { items: 0..subjects.len() as u32, route: 0, volatile: false }];
    let batch = Arc::new(Publishes { bytes: bytes.freeze(), items, extra_keys: Vec::new(), terms });
    let (hub, call, link, awaited) = (HubId(0), Call(9), None, true);
    let routes = vec![std::iter::once(PARTITION).collect()];
    rig.ask(ShardOp::Publish(ShardPublish { hub, call, awaited, link, batch, runs, routes }))
}

pub(crate) fn filtered(filters: &[&'static str]) -> ShareSettings {
    let filters = filters.iter().map(|text| Pattern::new(*text).unwrap()).collect();
    ShareSettings { filters, ..ShareSettings::default() }
}

pub(crate) fn make(rig: &mut Rig, group: &str, settings: ShareSettings) {
    rig.put(group, settings, Expect::New).1.expect("it can be made");
}

pub(crate) fn there(rig: &mut Rig) -> u64 {
    rig.tick();
    let logged = rig.shard.logged();
    logged.partitions[0].batches.iter().map(|batch| u64::from(batch.count)).sum()
}

#[test]
fn a_group_gets_only_the_subjects_that_it_wants_and_counts_only_them() {
    let mut rig = rig(Retention::Limits);
    publish(&mut rig, &["a.1", "b.1", "a.2", "c"]);
    make(&mut rig, "g", filtered(&["a.*", "c"]));
    assert_eq!(rig.info().pending, 3);
    assert_eq!(got(&rig.pull(1, want(2))), [(1, 0, 1, 1, 2), (1, 2, 1, 2, 1)]);
    publish(&mut rig, &["b.2", "a.3"]);
    assert_eq!(rig.info().pending, 2);
    assert_eq!(got(&rig.pull(2, want(9))), [(2, 3, 1, 3, 1), (2, 5, 1, 4, 0)]);
    assert_eq!(positions(&publish(&mut rig, &["b.3", "c", "b.4"])), [7]);
    rig.accept(&[0, 2, 3, 5, 7]);
    assert_eq!(rig.info().floor.next, Position(8));
    assert_eq!(ends(&rig.pull(3, PullWant { no_wait: true, ..want(1) })), [(3, PullEnd::NoRecords)]);
}

#[test]
fn a_group_begins_with_the_last_record_of_each_subject_and_goes_on_after_a_restart() {
    let mut rig = rig(Retention::Limits);
    publish(&mut rig, &["a", "b", "a", "c", "b", "x.y"]);
    let settings = ShareSettings { start: ShareStart::LastPerSubject, ..filtered(&["*"]) };
    make(&mut rig, "g", settings.clone());
    assert_eq!(rig.info().pending, 3);
    assert_eq!(got(&rig.pull(1, want(2))), [(1, 2, 1, 1, 2), (1, 3, 1, 2, 1)]);
    rig.accept(&[2]);
    publish(&mut rig, &["a", "c"]);
    rig.restart();
    assert_eq!(rig.info().pending, 3);
    let all = [(2, 3, 2, 3, 3), (2, 4, 1, 4, 2), (2, 6, 1, 5, 1), (2, 7, 1, 6, 0)];
    assert_eq!(got(&rig.pull(2, want(9))), all);
    let last = ShareSettings { start: ShareStart::Last, ..filtered(&["x.>"]) };
    make(&mut rig, "last", last);
    rig.accept(&[3, 4, 6, 7]);
    assert_eq!((rig.info().unsettled, rig.info().floor.next), (0, Position(8)));
}

#[test]
fn a_group_of_last_records_begins_again_with_those_from_its_floor_on() {
    let mut rig = rig(Retention::Limits);
    publish(&mut rig, &["a", "b", "a", "c", "b"]);
    make(&mut rig, "g", ShareSettings { start: ShareStart::LastPerSubject, ..filtered(&[]) });
    assert_eq!(positions(&rig.pull(1, want(2))), [2, 3]);
    rig.accept(&[2]);
    publish(&mut rig, &["a"]);
    let reset = |rig: &mut Rig, at: Option<u64>| rig.verb("g", ShareVerb::Reset(at.map(Position))).1;
    assert!(matches!(reset(&mut rig, None), Ok(ShareAnswer::Reset { at: Position(3), .. })));
    assert_eq!(reset(&mut rig, Some(0)), Err(ShareRefusal::NoPlace));
    rig.restart();
    let all = [(2, 3, 1, 1, 2), (2, 4, 1, 2, 1), (2, 5, 1, 3, 0)];
    assert_eq!(got(&rig.pull(2, want(9))), all);
}

#[test]
fn a_group_of_last_records_that_needs_no_settles_goes_on_where_it_was_after_a_restart() {
    let mut rig = rig(Retention::Limits);
    publish(&mut rig, &["a", "b", "a", "c", "b"]);
    let (start, settle) = (ShareStart::LastPerSubject, SettlePolicy::None);
    make(&mut rig, "g", ShareSettings { start, settle, ..filtered(&[]) });
    assert_eq!(positions(&rig.pull(1, want(2))), [2, 3]);
    publish(&mut rig, &["a"]);
    rig.restart();
    assert_eq!(got(&rig.pull(2, want(1))), [(2, 4, 1, 3, 1)]);
    rig.restart();
    assert_eq!(got(&rig.pull(3, want(9))), [(3, 5, 1, 4, 0)]);
}

#[test]
fn a_purge_counts_as_delivered_and_settled_also_after_a_restart() {
    let mut rig = rig(Retention::Limits);
    publish(&mut rig, &["a", "b", "a", "c", "b"]);
    make(&mut rig, "g", filtered(&[]));
    assert_eq!(positions(&rig.pull(1, want(2))), [0, 1]);
    let purge = PurgeOf { subjects: None, below: Some(Position(4)), keep: None };
    let (hub, call, ask) = (HubId(0), Call(1), RecordsAsk::Purge(purge));
    rig.ask(ShardOp::Records(ShardRecords { hub, call, partition: PARTITION, ask }));
    for _ in 0..2 {
        rig.tick();
        let info = rig.info();
        let at = Reached { sequence: 2, next: Position(4) };
        assert_eq!((info.delivered, info.floor, info.unsettled, info.pending), (at, at, 0, 1));
        rig.restart();
    }
    assert_eq!(got(&rig.pull(2, want(9))), [(2, 4, 1, 3, 0)]);
}

#[test]
fn a_delivery_is_over_when_its_record_is_deleted_or_makes_room() {
    let settings = RecordSettings { records_max: Some(5), ..RecordSettings::default() };
    let mut rig = Rig::of(settings);
    rig.listen();
    publish(&mut rig, &["a", "b", "a", "b", "a"]);
    make(&mut rig, "g", filtered(&[]));
    rig.pull(1, want(4));
    let lost = |said: &crate::rig::Said| -> Vec<u64> {
        let each = events(said).into_iter();
        let each = each.filter_map(|event| match event {
            ShareEvent::Lost { position, deliveries: 1, .. } => Some(position.0),
            _ => None,
        });
        each.collect()
    };
    rig.accept(&[0]);
    assert_eq!(lost(&rig.remove(2)), [2]);
    assert_eq!((rig.info().unsettled, rig.info().floor.next), (2, Position(1)));
    assert_eq!(lost(&publish(&mut rig, &["a", "a", "a"])), [1]);
    assert_eq!((rig.info().unsettled, rig.info().floor.next), (1, Position(3)));
    assert_eq!(lost(&rig.remove(4)), [], "it was not delivered");
    rig.restart();
    assert_eq!((rig.info().unsettled, rig.info().floor.next), (1, Position(3)));
}

#[test]
fn accepted_deliveries_are_sampled_as_often_as_the_group_says() {
    for (percent, settle, likely) in [
        (100, SettlePolicy::Explicit, 1000..1001),
        (10, SettlePolicy::Explicit, 50..150),
        (0, SettlePolicy::Explicit, 0..1),
        (100, SettlePolicy::All, 0..1),
    ] {
        let settings = ShareSettings { sampled_percent: percent, settle, ..ShareSettings::default() };
        let mut rig = Rig::with(settings);
        rig.listen();
        (0..10).for_each(|_| _ = rig.append(100));
        rig.pull(1, want(1000));
        rig.pass_ms(5);
        let told = events(&rig.accept(&(0..1000).collect::<Vec<_>>()));
        assert!(likely.contains(&told.len()), "{percent} {settle:?}: {}", told.len());
        let took =
            |event: &ShareEvent| matches!(event, ShareEvent::Accepted { deliveries: 1, took_us: 5000, .. });
        assert!(told.iter().all(took), "{told:?}");
    }
}

#[test]
fn who_listens_hears_why_a_bundle_came_to_nothing() {
    let mut rig = Rig::of(RecordSettings { bundles: true, ..RecordSettings::default() });
    rig.listen();
    let mut send = |id: &'static str, sequence: u64| {
        let (id, end) = (Bytes::from_static(id.as_bytes()), BundleEnd::More);
        let bundle = Some(BundleTerms { id, sequence: Some(sequence), end });
        publish_with(&mut rig, &["a"], vec![(0, Terms { bundle, ..Terms::default() })]);
        rig.tick()
    };
    assert_eq!(abandoned(&send("none", 2)), [], "it was never begun");
    assert_eq!(abandoned(&send("gap", 1)), []);
    assert_eq!(abandoned(&send("gap", 3)), [("gap".into(), Abandoned::Incomplete)]);
    assert_eq!(abandoned(&send("left", 1)), []);
    rig.pass_ms(9_000);
    assert_eq!(abandoned(&rig.pass_ms(1_000)), [("left".into(), Abandoned::Timeout)]);
}

#[test]
fn a_group_does_not_begin_again_before_its_start() {
    let mut rig =
        Rig::with(ShareSettings { start: ShareStart::Position(Position(2)), ..ShareSettings::default() });
    rig.append(5);
    let reset = |rig: &mut Rig, at: u64| rig.verb("g", ShareVerb::Reset(Some(Position(at)))).1;
    assert_eq!(positions(&rig.pull(1, want(9))), [2, 3, 4]);
    assert_eq!(reset(&mut rig, 1), Err(ShareRefusal::BeforePosition));
    assert!(
        matches!(reset(&mut rig, 4), Ok(ShareAnswer::Reset { at: Position(4), info }) if info.pending == 1)
    );
    assert_eq!((rig.info().floor.next, rig.info().unsettled), (Position(4), 1), "the pull goes on");
    assert!(
        matches!(reset(&mut rig, 7), Ok(ShareAnswer::Reset { at: Position(7), info }) if info.pending == 0)
    );
    assert_eq!(positions(&rig.append(4)), [7, 8]);
}

#[test]
fn a_record_of_a_work_stream_goes_when_it_is_settled_and_no_two_groups_may_want_it() {
    let mut rig = rig(Retention::Work);
    make(&mut rig, "g", filtered(&["a.*"]));
    let refused = |rig: &mut Rig, settings| rig.put("h", settings, Expect::New).1.unwrap_err();
    assert_eq!(refused(&mut rig, filtered(&["a.1"])), ShareRefusal::Overlap);
    assert_eq!(refused(&mut rig, filtered(&[])), ShareRefusal::Overlap);
    let unsettled = ShareSettings { settle: SettlePolicy::None, ..filtered(&["b"]) };
    assert_eq!(refused(&mut rig, unsettled), ShareRefusal::NeedsSettles);
    make(&mut rig, "h", filtered(&["b"]));
    publish(&mut rig, &["a.1", "b", "a.2"]);
    assert_eq!(there(&mut rig), 3);
    rig.pull(1, want(9));
    rig.accept(&[2]);
    assert_eq!(there(&mut rig), 2);
    rig.settle(ShareHow::Terminate { reason: String::new() }, &[0]);
    assert_eq!(there(&mut rig), 1);
    rig.restart();
    assert_eq!(there(&mut rig), 1);
}

#[test]
fn a_record_of_an_interest_stream_goes_when_all_who_want_it_have_settled_it() {
    let mut rig = rig(Retention::Interest);
    publish(&mut rig, &["a"]);
    assert_eq!(there(&mut rig), 0, "nobody is there");
    make(&mut rig, "g", filtered(&[]));
    make(&mut rig, "h", filtered(&["a"]));
    make(&mut rig, "n", ShareSettings { settle: SettlePolicy::None, ..filtered(&["c"]) });
    publish(&mut rig, &["a", "b", "c"]);
    assert_eq!(there(&mut rig), 3);
    rig.pull(1, want(9));
    rig.accept(&[1, 2]);
    assert_eq!(there(&mut rig), 2, "h wants the first");
    rig.verb("h", ShareVerb::Delete).1.unwrap();
    assert_eq!(there(&mut rig), 1, "nobody wants it any more");
    rig.accept(&[3]);
    assert_eq!(there(&mut rig), 1, "n has not had it");
    rig.verb("n", ShareVerb::Delete).1.unwrap();
    assert_eq!(there(&mut rig), 0);
}
