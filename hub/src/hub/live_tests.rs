//! What a hub counts of live publishes: who published, what nobody heard, and who heard it by which filter.

use super::stage::{Stage, check, id};
use super::*;
use bytes::{Bytes, BytesMut};
use stele_model::flow::Flow;
use stele_model::live::{Interest, Live, LiveBatch, LiveSubscribe};

/// Session `session` listens, as its subscription `subscription`.
fn listen(stage: &mut Stage, session: u64, subscription: u32, filter: &str, group: Option<&str>) {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let subscribe = LiveSubscribe { subscription, filter: text(filter), group: group.map(text) };
    let live = Live { interest: vec![(0, Interest::Subscribe(subscribe))], ..Live::default() };
    stage.hub.live(Now(0), id(session), &live, &[], &mut HubOut::default());
}

fn stop(stage: &mut Stage, session: u64, subscription: u32) {
    let live = Live {
        interest: vec![(0, Interest::Unsubscribe { subscription, hits_max: None })],
        ..Live::default()
    };
    stage.hub.live(Now(0), id(session), &live, &[], &mut HubOut::default());
}

/// Session `session` publishes a body of five bytes to each subject.
fn publish(stage: &mut Stage, session: u64, subjects: &[&str]) {
    let (mut items, mut bytes) = (Vec::new(), BytesMut::new());
    for subject in subjects {
        LiveBatch::put(&mut items, &mut bytes, (subject.as_bytes(), b""), (b"", b"12345"));
    }
    let live = Live { items, ..Live::default() };
    stage.hub.live(Now(0), id(session), &live, &bytes, &mut HubOut::default());
}

/// Edges that have counted something, in words.
fn counted(stage: &mut Stage) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let edges = stage.hub.flow().edges.into_iter().map(|(edge, Flow { records, bytes })| match edge {
        Edge::Published { party, .. } => format!("{} published {records} {bytes}", party.principal),
        Edge::Unrouted { .. } => format!("unrouted {records} {bytes}"),
        Edge::Heard { filter, group, .. } => {
            let group = group.map_or_else(String::new, |group| format!(" {}", text(&group)));
            format!("heard {}{group} {records} {bytes}", text(&filter))
        }
        Edge::Routed { rule, .. } => format!("routed {} {records}", text(&rule)),
        other => panic!("{other:?}"),
    });
    edges.collect()
}

#[test]
fn live_publishes_are_counted_by_who_publishes_and_by_who_hears_them_by_which_filter() {
    let mut stage = Stage::new();
    listen(&mut stage, 2, 0, "orders.*", None);
    listen(&mut stage, 2, 1, "orders.new", Some("q"));
    publish(&mut stage, 1, &["orders.new", "orders.old", "nobody"]);
    let once = ["guest published 3 15", "heard orders.* 2 10", "heard orders.new q 1 5", "unrouted 1 5"];
    assert_eq!(counted(&mut stage), once);
    assert_eq!(counted(&mut stage), once, "what is counted is counted once");
    publish(&mut stage, 1, &["orders.new"]);
    assert_eq!(counted(&mut stage)[1..3], ["heard orders.* 3 15", "heard orders.new q 2 10"]);
}

#[test]
fn what_a_subscription_had_is_counted_although_it_has_ended_or_its_session_is_gone() {
    let mut stage = Stage::new();
    listen(&mut stage, 1, 0, "a", None);
    listen(&mut stage, 2, 0, "b", None);
    publish(&mut stage, 1, &["a", "b"]);
    stop(&mut stage, 1, 0);
    stage.line("> 2 detach");
    assert_eq!(counted(&mut stage), ["guest published 2 10", "heard a 1 5", "heard b 1 5"]);
    stage.hub.prune_flows();
    assert_eq!(counted(&mut stage), ["guest published 2 10"], "an edge without a subscription is let go of");
}

#[test]
fn listeners_that_leave_uncounted_do_not_take_others_with_them() {
    let mut stage = Stage::new();
    for session in [1, 2] {
        listen(&mut stage, session, 0, "r", None);
    }
    for gone in [1, 2] {
        publish(&mut stage, 2, &["r"]);
        stage.line(&format!("> {gone} detach"));
    }
    let counted = counted(&mut stage);
    assert_eq!(counted, ["guest published 2 10", "heard r 3 15"]);
}

#[test]
fn what_is_stored_is_counted_by_its_route_and_not_again() {
    let mut stage = check("~ queue q\n~ bind amq.topic q a");
    listen(&mut stage, 2, 0, "a", None);
    publish(&mut stage, 1, &["a"]);
    let counted = counted(&mut stage);
    assert_eq!(counted.len(), 3, "{counted:?}");
    assert!(counted[0].starts_with("guest published 1 ") && counted[2] == "routed a 1", "{counted:?}");
    assert_eq!(counted[1], "heard a 1 5");
}

#[test]
fn what_no_socket_brought_is_stored_only_if_that_is_wanted() {
    let mut stage = check("~ queue q\n~ bind amq.topic q a");
    for is_stored in [false, true] {
        let (mut items, mut bytes) = (Vec::new(), BytesMut::new());
        LiveBatch::put(&mut items, &mut bytes, (b"a", b""), (b"", b"12345"));
        let batch = LiveBatch { bytes: bytes.freeze(), items, is_stored, ..LiveBatch::default() };
        let mut out = HubOut::default();
        stage.submit(1, 0, Op::Live(Arc::new(batch)), &mut out);
        let stores = out.shards.iter().filter(|(_, op)| matches!(op, ShardOp::Publish(_))).count();
        assert_eq!(stores, usize::from(is_stored));
    }
    let counted = counted(&mut stage);
    assert!(counted.iter().any(|edge| edge == "routed a 1"), "{counted:?}");
}

#[test]
fn what_another_dialect_publishes_to_live_listeners_alone_is_not_unrouted() {
    let mut stage = Stage::new();
    listen(&mut stage, 2, 0, "a.*", None);
    stage.line("> 1 publish amq.topic|a.b amq.topic|a.c amq.topic|other");
    let counted = counted(&mut stage);
    assert_eq!(counted.len(), 3, "{counted:?}");
    assert!(
        counted[0].starts_with("guest published 3 ") && counted[1].starts_with("heard a.* 2 "),
        "{counted:?}"
    );
    assert!(counted[2].starts_with("unrouted 1 "), "{counted:?}");
}
