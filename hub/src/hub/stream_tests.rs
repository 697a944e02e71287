//! What a hub does with streams and groups, as transcripts in the notation of [`super::stage`].

use super::stage::{check, id};
use super::*;
use stele_model::id::QueueId;
use stele_model::stream::Appends;

#[test]
fn appends_are_taken_apart_by_shard_and_answered_in_the_clients_order() {
    check(
        "~ stream s 3
         > 1 append s:1 s:0 t:0 s:2 s:9
         ! 1 append call=1 s:1
         ! 0 append call=2 s:0 s:2
         = 0 appended 2 10 20
         = 1 appended 1 30
         < 1 1 appended 30 10 UnknownStream 20 UnknownPartition",
    );
}

#[test]
fn what_needs_no_shard_is_answered_at_once() {
    check(
        "~ stream s 1
         > 1 append t:0
         < 1 1 appended UnknownStream
         > 3 append s:0
         < 3 2 appended write-s
         > 3 read 100 - s:0
         < 3 3 read Read-s",
    );
}

#[test]
fn several_shards_share_one_budget_in_the_order_of_importance() {
    check(
        "~ stream s 2
         > 1 read 100 - s:1 s:0
         ! 1 read call=1 s:1
         ! 0 read call=2 s:0
         = 0 read 2 30,10
         = 1 read 1 60,20
         < 1 1 read 60,20 -
         > 1 read 10 - s:0 s:1
         ! 0 read call=3 s:0
         ! 1 read call=4 s:1
         = 1 read 4 5
         = 0 read 3 60
         < 1 2 read 60 -",
    );
}

#[test]
fn a_watch_over_several_shards_wakes_once() {
    check(
        "~ stream s 2
         > 1 read 100 7 s:0 s:1
         ! 0 read call=1 s:0 watch=1
         ! 1 read call=2 s:1 watch=1
         = 0 read 1 -
         = 1 read 2 -
         < 1 1 read - -
         = 1 woken 1 1
         < 1 Appended { watch: 7 }
         ! 0 unwatch 1 1
         # The number is used again; the first watch's other wake comes late and is nobody's.
         > 1 read 100 7 s:0 s:1
         ! 0 read call=3 s:0 watch=2
         ! 1 read call=4 s:1 watch=2
         = 0 woken 1 1
         > 1 unwatch 7
         ! 0 unwatch 1 2
         ! 1 unwatch 1 2
         = 0 woken 1 2",
    );
}

#[test]
fn a_session_that_goes_is_gone_for_every_shard_it_read_from() {
    check(
        "~ stream s 2
         > 1 read 100 1 s:1
         ! 1 read call=1 s:1 watch=1
         > 1 detach
         ! 1 gone 1
         = 1 read 1 -
         = 1 woken 1 1",
    );
}

#[test]
fn searches_and_trims_are_joined_too_and_a_trim_needs_the_grant_to_configure() {
    check(
        "~ stream s 2
         > 1 seek s:0 s:1
         ! 0 seek call=1 s:0
         ! 1 seek call=2 s:1
         = 1 sought 2 20
         = 0 sought 1 10
         < 1 1 sought 10 20
         > 1 trim s:0 x:0
         ! 0 trim call=3 s:0
         = 0 trimmed 3 1
         < 1 2 trimmed 1 UnknownStream
         > 3 trim s:0
         < 3 3 trimmed Configure-s",
    );
}

#[test]
fn streams_are_told_to_who_may_do_something_with_them() {
    check(
        "~ stream s 2
         ~ stream r1 1
         > 1 streams
         < 1 1 streams r1*1 s*2
         > 3 streams
         < 3 2 streams r1*1
         > 1 streams s none
         < 1 3 streams s*2 UnknownStream
         > 3 streams s
         < 3 4 streams Read-s",
    );
}

#[test]
fn a_producers_number_comes_from_a_shard() {
    check(
        "> 1 producer
         ! 1 producer call=1
         = 1 producer 1
         < 1 1 Producer(77)",
    );
}

#[test]
fn the_homes_of_groups_are_made_when_the_first_is_asked() {
    check(
        "> 1 describe g
         ! registry groups call=1
         = registry
         ! 1 group call=2 g at __consumer_offsets:3
         > 1 describe g
         ! 1 group call=3 g at __consumer_offsets:3
         > 3 describe g
         < 3 3 refused Read g",
    );
}

#[test]
fn positions_go_by_number_and_come_back_by_name() {
    let mut stage = check(
        "~ stream s 2
         > 1 describe g
         ! registry groups call=1
         = registry
         ! 1 group call=2 g at __consumer_offsets:3
         > 1 commit g s:1 none:0 s:0
         ! 1 group call=3 g at __consumer_offsets:3 s:1 none s:0
         = 1 committed 3 3
         < 1 2 committed ok UnknownStream ok
         > 1 positions g
         ! 1 group call=4 g at __consumer_offsets:3
         = 1 positions 4 2 99 1
         < 1 3 positions s:1@4 s:0@4",
    );
    let committed = stage.hub.flow().edges.into_iter().filter_map(|(edge, flow)| match edge {
        Edge::Committed { group, .. } => Some((group, flow.records)),
        _ => None,
    });
    assert_eq!(committed.collect::<Vec<_>>(), [("g".to_owned(), 2)]);
}

#[test]
fn what_a_home_knows_is_told_with_names_and_a_stream_that_goes_is_told_to_the_homes() {
    check(
        "~ stream s 2
         > 1 group-changes 3
         < 1 1 refused Stream(UnknownStream)
         > 1 describe g
         ! registry groups call=1
         = registry
         ! 1 group call=2 g at __consumer_offsets:3
         > 1 group-changes 3
         ! 1 group-changes call=3 __consumer_offsets:3
         = 1 changes 3 2
         < 1 3 changes Name(\"s\")
         > 1 delete-stream s
         ! registry define call=4
         = registry
         < 1 4 Stream(StreamInfo)
         ! 0 partitions-gone 2
         ! 1 partitions-gone 2",
    );
}

#[test]
fn groups_of_all_homes_are_listed_by_name() {
    let mut stage = check("> 1 groups\n < 1 1 groups");
    stage.line("> 1 describe g");
    stage.told(HubOut::default());
    let namespace = stage.hub.snapshot.namespace("/").unwrap().id;
    stage.world.take(RegistryOp::GroupStream { hub: HubId(0), call: Call(1), namespace });
    stage.hub.replace_snapshot(stage.world.registry.current());
    let out = stage.line("> 1 groups");
    assert_eq!(out.shards.len(), 50, "every home is asked");
    let mut told = String::new();
    for (n, (shard, op)) in out.shards.into_iter().enumerate() {
        let ShardOp::Groups { call, .. } = op else { panic!("only listings") };
        let names = if n % 25 == 0 { format!(" g{}", 50 - n) } else { String::new() };
        let out = stage.line(&format!("= {shard} listed {call}{names}"));
        told += &stage.told(out);
    }
    assert_eq!(told, "< 1 3 groups g25 g50\n");
}

#[test]
fn who_listens_to_a_stream_through_the_topic_exchange_gets_its_records_too() {
    let mut stage = check(
        "~ stream s 2
         ~ queue a
         ~ queue b
         ~ bind amq.topic a s
         ~ bind amq.topic b #
         > 1 append s:0 s:1
         < 1 1 appended listeners listeners",
    );
    let records = || vec![Arc::new(stage.batch(&["amq.topic|s"])), Arc::new(stage.batch(&["amq.topic|s"]))];
    let Op::Append(Appends { parts, awaited, .. }) = op("append s:0 s:1") else { unreachable!() };
    let appends = Appends { parts, awaited, records: Some(records()) };
    let mut out = HubOut::default();
    stage.submit(1, 0, Op::Append(appends), &mut out);
    let told = stage.told(out);
    // Queue a lives on shard 0 and b on shard 1: each record is stored with the append where that is, beside it elsewhere.
    let expected = "! 1 publish call=2 0>b
                    ! 0 publish call=3 0>a
                    ! 0 append call=5 s:0 +0:call=1>a
                    ! 1 append call=6 s:1 +0:call=4>b";
    let expected: Vec<_> = expected.lines().map(str::trim).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    for line in
        ["= 1 published 2", "= 0 published 3", "= 0 published 1", "= 0 appended 5 7", "= 1 published 4"]
    {
        let out = stage.line(line);
        assert_eq!(stage.told(out), "", "after {line}");
    }
    let out = stage.line("= 1 appended 6 8");
    assert_eq!(stage.told(out), "< 1 2 appended 7 8\n");
}

fn op(line: &str) -> Op {
    super::stage::stream_op(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn a_stream_that_captures_its_name_takes_what_is_published_to_it_and_not_its_own_twice() {
    check(
        "~ stream s 1
         > 1 publish amq.topic|s|m
         < 1 1 published unroutable=[0]
         ~ capture s
         > 1 publish amq.topic|s|m amq.topic|s.x|m
         ! 0 publish call=1 0>s:0
         > 1 append s:0
         ! 0 append call=2 s:0
         > 2 publish amq.direct|s
         < 2 4 published",
    );
}

#[test]
fn partitions_are_reached_by_name_through_the_default_exchange_and_by_rules() {
    check(
        "~ stream s 1
         ~ stream t 2
         ~ bind amq.direct t-1 k
         > 1 publish |s |t-0 |t-1 |t-2 amq.direct|k
         ! 0 publish call=1 0>s:0 2>t:1 4>t:1
         ! 1 publish call=2 1>t:0",
    );
}

#[test]
fn a_stream_in_the_words_for_queues_is_counted_read_and_deleted() {
    check(
        "~ stream s 1
         > 1 passive s
         ! 0 seek call=1 s:0
         = 0 sought 1 1
         < 1 1 Queue { name: \"s\", ready: 8, consumers: 0 }
         > 1 get s
         < 1 2 refused get s not for streams
         > 1 purge s
         < 1 3 refused purge s not for streams
         > 1 delete s
         ! registry define call=2
         = registry
         < 1 4 Deleted { ready: 0 }
         > 1 passive s
         < 1 5 refused no queue s in /",
    );
}

#[test]
fn only_administrators_administer() {
    check(
        "> 1 accounts
         < 1 1 accounts guest low
         > 3 accounts
         < 3 2 refused Configure /
         > 3 administer
         < 3 3 refused Configure /
         > 1 administer
         ! registry change call=1
         = registry
         < 1 4 Unit",
    );
}

#[test]
fn settles_of_a_partition_find_its_shard() {
    let stage = check("~ stream s 2");
    let mut out = HubOut::default();
    let (queue, _) = stage.hub.snapshot.namespace("/").unwrap().stream("s").unwrap().partition(1).unwrap();
    assert_ne!(queue, QueueId(0));
    let settle = stele_model::settle::Settle {
        subscription: 1,
        queue,
        how: stele_model::settle::How::Accept,
        runs: vec![stele_model::settle::Run { first: stele_model::id::Position(0), count: 1 }],
    };
    stage.hub.settle(id(1), vec![settle], &mut out);
    assert!(matches!(out.shards[..], [(ShardId(1), ShardOp::Settle { .. })]));
}
