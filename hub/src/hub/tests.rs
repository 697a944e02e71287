//! What a hub does, as transcripts in the notation of [`super::stage`].

use super::stage::{SEED, Stage, check, id, party, subscribe};
use super::*;
use proptest::prelude::*;
use stele_model::id::PrincipalId;
use stele_record::View;

#[test]
fn a_batch_is_split_by_shard_and_answered_when_all_have_answered() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x b k
         > 1 publish |a |a x|k |b
         ! 0 publish call=1 0-2>a
         ! 1 publish call=2 2-3>b
         = 1 published 2
         = 0 published 1
         < 1 1 published",
    );
}

#[test]
fn neighbours_of_other_keys_that_go_the_same_way_are_one_run() {
    check(
        "~ queue a
         ~ bind amq.topic a #
         > 1 publish amq.topic|k.1 amq.topic|k.2 amq.topic|k.3 |a
         ! 0 publish call=1 0-3>a",
    );
}

#[test]
fn queues_that_keep_records_are_told_apart_from_those_that_do_not() {
    check(
        "~ queue a
         ~ queue other
         ~ transient t
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x t k
         > 1 publish x|k x|k|t x|k
         ! 0 publish call=1 0>a 0~>t 1~>a,t 2>a 2~>t",
    );
}

#[test]
fn what_no_queue_takes_is_told_if_it_is_mandatory() {
    check(
        "~ exchange x direct
         > 1 publish x|k x|k|m |none|m
         < 1 1 published unroutable=[1, 2]",
    );
}

#[test]
fn a_refused_publish_fails_its_lane_and_no_other() {
    check(
        "~ queue a
         ~ internal i
         > 1 publish |a|1 none|k|1 |a|1 |a|2 i|k|2
         < 1 1 lane 1 failed at 1: no exchange none in /
         < 1 1 lane 2 failed at 4: internal i
         ! 0 publish call=1 0>a 3>a
         = 0 published 1
         < 1 1 published dropped=[1, 2, 4]
         > 1/1 purge a
         > 1 publish |a|1 |a|3
         ! 0 publish call=2 1>a
         > 1/1 close-lane
         > 1 publish |a|1
         ! 0 publish call=3 0>a",
    );
}

#[test]
fn a_publish_needs_a_write_grant_of_the_exchange() {
    check(
        "~ queue a
         ~ exchange x fanout
         ~ exchange y fanout
         > 3 publish x|k |a|1 y|k|2 y|k|2
         < 3 1 lane 2 failed at 2: write y
         ! 0 publish call=1 1>a
         > 3 publish missing|k|4
         < 3 2 lane 4 failed at 0: write missing
         < 3 2 published dropped=[0]",
    );
}

#[test]
fn a_bound_on_keys_holds_for_every_key_of_a_publish_to_its_topic_exchange_and_for_no_other() {
    check(
        "~ queue a
         ~ exchange x topic
         ~ bind x a #
         ~ keys x ^{username}[.]ok ^r
         > 3 publish x|low.ok.1 x|low.no|2 |a|3
         < 3 1 lane 2 failed at 1: Write key low.no of x
         ! 0 publish call=1 0>a 2>a
         > 3 publish x|low.ok|cc=other|4
         < 3 2 lane 4 failed at 0: Write key other of x
         < 3 2 published dropped=[0]
         > 1 publish x|low.no
         ! 0 publish call=2 0>a",
    );
}

#[test]
fn one_refusal_refuses_the_item_and_the_first_reason_stands() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x b k
         > 1 publish x|k x|k
         ! 0 publish call=1 0-1>a
         ! 1 publish call=2 0-1>b
         = 1 full 2 1
         = 0 full 1 0 1
         < 1 1 published refused=[0, 1]",
    );
}

#[test]
fn an_item_whose_queues_are_gone_is_routed_once_more_to_what_is_new() {
    check(
        "~ queue a
         ~ exchange x topic
         ~ bind x a #
         > 1 publish x|k|m x|k
         ! 0 publish call=1 0-1>a
         ~ gone a
         ~ queue b
         ~ bind x b #
         = 0 gone 1 0 1
         ! 0 publish call=2 0-1>b
         = 0 gone 2 0 1
         < 1 1 published unroutable=[0]
         # A queue that was there at first has what it should have.
         ~ queue c
         ~ bind x c #
         > 1 publish x|k
         ! 0 publish call=3 0>b
         ! 1 publish call=4 0>c
         = 1 gone 4 0
         = 0 published 3
         < 1 2 published",
    );
}

#[test]
fn an_item_is_unroutable_only_when_every_way_it_went_is_closed() {
    check(
        "~ queue a
         ~ queue b
         ~ transient t
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x b k
         ~ bind x t k
         > 1 publish x|k|m x|k|m
         ! 0 publish call=1 0-1>a 0-1~>t
         ! 1 publish call=2 0-1>b
         = 0 gone 1 0 1 0
         = 1 gone 2 0 1
         < 1 1 published unroutable=[0]",
    );
}

#[test]
fn a_route_is_found_again_when_what_it_depends_on_has_changed() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange x direct
         ~ exchange y fanout
         ~ bind x a k
         > 1 publish x|k
         ! 0 publish call=1 0>a
         ~ bind-exchange x y k
         > 1 publish x|k
         ! 0 publish call=2 0>a
         ~ bind y b k
         > 1 publish x|k
         ! 0 publish call=3 0>a
         ! 1 publish call=4 0>b
         ~ gone a
         > 1 publish x|k |a
         ! 1 publish call=5 0>b
         ~ queue a
         > 1 publish |a
         ! 0 publish call=6 0>a",
    );
}

#[test]
fn a_fanout_ignores_keys_unless_it_leads_to_an_exchange_that_does_not() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange f fanout
         ~ exchange d direct
         ~ bind f a k
         > 1 publish f|1 f|2
         ! 0 publish call=1 0-1>a
         ~ bind-exchange f d k
         ~ bind d b 2
         > 1 publish f|1 f|2
         ! 0 publish call=2 0-1>a
         ! 1 publish call=3 1>b",
    );
}

#[test]
fn headers_and_further_keys_are_looked_at_record_by_record() {
    check(
        "~ queue a
         ~ queue other
         ~ queue b
         ~ bind-any amq.headers a color
         ~ bind-any amq.headers b shape
         > 1 publish amq.headers|k|h=color amq.headers|k|h=shape amq.headers|k amq.headers|k|h=color
         ! 0 publish call=1 0>a 1>b 3>a
         > 1 publish |a|cc=b |a |none|cc=a
         ! 0 publish call=2 0>a,b 1-2>a",
    );
}

#[test]
fn a_declaration_is_counted_before_it_is_answered_and_what_follows_waits() {
    check(
        "> 1 declare q
         ! registry define call=1
         > 1 bind amq.direct q k
         ! registry define call=2
         > 1 publish amq.direct|k|m
         > 1 declare r
         > 2 publish amq.direct|k|m
         < 2 5 published unroutable=[0]
         = registry
         < 1 2 Unit
         ! 0 status call=3 q
         = 0 status 3
         < 1 1 Queue { name: \"q\", ready: 4, consumers: 2 }
         ! 0 publish call=4 0>q
         ! registry define call=5",
    );
}

#[test]
fn a_declaration_that_meets_a_closing_queue_is_tried_again() {
    check(
        "~ queue q
         > 1 declare q
         ! registry define call=1
         = registry
         ! 0 status call=2 q
         ~ gone q
         = 0 missing 2
         ! registry define call=3
         = registry
         ! 0 status call=4 q
         = 0 status 4
         < 1 1 Queue { name: \"q\", ready: 4, consumers: 2 }",
    );
}

#[test]
fn a_queue_is_deleted_by_its_shard() {
    check(
        "~ queue q
         ~ exclusive own
         > 1 delete q
         ! 0 close call=1 q
         > 1 declare q
         ! registry define call=2
         ~ gone q
         = 0 deleted 1
         < 1 1 Deleted { ready: 5 }
         > 1 delete none
         < 1 3 Deleted { ready: 0 }
         > 2 delete own
         < 2 4 refused locked own
         > 3 delete q
         < 3 5 refused Configure q",
    );
}

#[test]
fn passive_declarations_count_what_is_there() {
    check(
        "~ queue q
         > 1 passive q
         ! 0 status call=1 q
         = 0 status 1
         < 1 1 Queue { name: \"q\", ready: 4, consumers: 2 }
         > 1 passive none
         < 1 2 refused no queue none in /",
    );
}

#[test]
fn readers_are_attached_served_and_let_go() {
    check(
        "~ queue q
         > 1 subscribe 1 q
         ! 0 subscribe call=1 q
         = 0 subscribed 1
         < 1 1 Subscribed { queue: QueueId(1), counts_deliveries: false, is_stream: false }
         = 0 deliver 1 1
         < 1 deliver 1 to 1
         > 1 settle q q
         ! 0 settle q,q
         > 1 credit 1
         ! 0 credit q
         > 1 credit 2
         > 1 get q
         ! 0 get call=2 q
         = 0 got 2
         < 1 5 got 1
         > 1 purge q
         ! 0 purge call=3 q
         = 0 purged 3
         < 1 6 Purged { count: 3 }
         > 1 unsubscribe 1
         ! 0 unsubscribe call=4 q
         = 0 unsubscribed 4
         < 1 7 Unsubscribed
         > 1 unsubscribe 1
         < 1 8 Unsubscribed
         > 1 subscribe 2 q
         ! 0 subscribe call=5 q
         = 0 subscribed 5
         < 1 9 Subscribed { queue: QueueId(1), counts_deliveries: false, is_stream: false }
         = 0 cancelled 1 2
         < 1 Cancelled { subscription: 2 }
         = 0 cancelled 1 2
         > 3 subscribe 1 q
         < 3 10 refused Read q
         > 1 subscribe 3 none
         < 1 11 refused no queue none in /
         > 1 subscribe 4 q
         ! 0 subscribe call=6 q
         = 0 missing 6
         < 1 12 refused no queue q in /
         > 1 detach
         ! 0 gone 1
         > 1 get q",
    );
}

#[test]
fn what_a_session_published_behind_a_definition_is_routed_after_it_is_gone() {
    check(
        "> 1 declare q
         ! registry define call=1
         > 1 publish |q
         > 1 detach
         = registry
         ! 0 status call=2 q
         = 0 status 2
         ! 0 publish call=3 0>q
         ! registry gone 1
         = 0 published 3",
    );
}

#[test]
fn a_reply_reaches_its_requester_and_nobody_else_can() {
    let mut stage = check(
        "> 1 subscribe 7 amq.rabbitmq.reply-to
         < 1 1 replies
         > 2 publish |REPLY|m |REPLYx|m |amq.rabbitmq.reply-to.AAAA|m
         < 2 2 published unroutable=[1, 2]
         < 1 deliver 1 to 7
         > 2 passive REPLY
         < 2 3 Queue { name: \"REPLY\", ready: 0, consumers: 1 }
         > 1 publish |REPLY|m
         < 1 4 published
         < 1 deliver 1 to 7
         > 1 unsubscribe 7
         < 1 5 Unsubscribed
         > 2 publish |REPLY|m
         < 2 6 published unroutable=[0]
         > 2 declare REPLY
         < 2 7 refused no queue REPLY in /",
    );
    // To another hub's session: signed alike, handed over unseen.
    let mut other = Hub::new(HubId(1), 2, 2, SEED, stage.world.registry.current());
    let there = SessionId { hub: HubId(1), number: 1 };
    other.attach(there, Principal { id: PrincipalId(1), name: "guest".into() }, party());
    let mut out = HubOut::default();
    let submit = |ticket, op| Submit { ticket: Ticket(ticket), lane: 0, op };
    other.submit(Now(0), there, submit(1, Op::Open { namespace: "/".into() }), &mut out);
    other.submit(Now(0), there, submit(2, Op::Subscribe(subscribe("7", replies::PREFIX))), &mut out);
    let Some((_, _, Outcome::Done(Done::Replies { address }))) = out.completions.pop() else { panic!() };
    stage.address = address;
    let mut sent = stage.line("> 2 publish |REPLY|m");
    let (hub, message) = sent.hubs.pop().unwrap();
    assert_eq!((hub, stage.told(sent)), (HubId(1), "< 2 8 published\n".to_owned()));
    let mut out = HubOut::default();
    other.from_hub(Now(0), message, &mut out);
    assert_eq!(View::parse(&out.deliveries[0].1.blocks[0]).unwrap().body(), b"body");
}

#[test]
fn dead_letters_are_routed_when_they_move_and_the_source_hears_when_all_have_them() {
    check(
        "~ queue q dlx d
         ~ queue b
         ~ queue c
         ~ exchange d direct
         ~ bind d b k
         ~ bind d c k
         ~ bind d c other
         = 0 move q rejected |k |other |none
         ! 1 publish call=1 link=0:1 0>b
         ! 0 publish call=2 link=0:1 0-1>c
         = 0 published 2
         = 1 full 1 0
         ! 0 moved 1
         # Without the exchange, or without a route, they are gone.
         = 0 move q expired |none
         ! 0 moved 1
         ~ queue lost dlx nowhere
         = 1 move lost expired |k
         ! 1 moved 1",
    );
}

#[test]
fn a_dead_letter_does_not_go_round_unless_somebody_rejects_it() {
    check(
        "~ queue q dlx d
         ~ exchange d fanout
         ~ bind d q k
         = 0 move q expired |k
         ! 0 moved 1
         = 0 move q rejected |k
         ! 0 publish call=1 link=0:1 0>q",
    );
}

#[test]
fn each_edge_of_the_flow_graph_counts_what_went_over_it() {
    let mut stage = check(
        "~ queue q dlx d
         ~ exchange d fanout
         ~ bind amq.topic q a.*
         > 1 publish amq.topic|a.b amq.topic|a.c amq.topic|other
         ! 0 publish call=1 0-1>q
         > 1 subscribe 1 q
         ! 0 subscribe call=2 q
         = 0 subscribed 2
         < 1 2 Subscribed { queue: QueueId(1), counts_deliveries: false, is_stream: false }
         = 0 deliver 1 1
         < 1 deliver 1 to 1
         = 0 move q expired |k
         ! 0 moved 1",
    );
    let counted: Vec<_> = stage
        .hub
        .flow()
        .edges
        .into_iter()
        .map(|(edge, flow)| match edge {
            Edge::Published { .. } => format!("published {}", flow.records),
            Edge::Routed { rule, .. } => {
                format!("routed {} {}", String::from_utf8_lossy(&rule), flow.records)
            }
            Edge::Appended { .. } | Edge::Read { .. } | Edge::Committed { .. } | Edge::Taken { .. } => {
                panic!("no stream is used here")
            }
            Edge::Heard { .. } => panic!("nobody listens here"),
            Edge::Unrouted { .. } => format!("unrouted {}", flow.records),
            Edge::Delivered { .. } => format!("delivered {} {}", flow.records, flow.bytes),
            Edge::DeadLettered { reason, .. } => format!("dead {reason} {}", flow.records),
        })
        .collect();
    // One unrouted is the dead letter's own.
    let expected =
        ["published 3", "routed a.* 2", "unrouted 1", "unrouted 1", "delivered 1 4", "dead expired 1"];
    assert_eq!(counted, expected);
}

proptest! {
    #[test]
    fn every_queue_gets_what_its_rules_take_once_and_in_order(
        rules in prop::collection::btree_set((0_usize..6, 0_u8..5), 0..14),
        items in prop::collection::vec((0_u8..6, any::<bool>(), any::<bool>()), 0..60),
    ) {
        let mut stage = Stage::new();
        // Every other pair of queues is durable; they lie on the two shards in turn.
        let names = ["a", "b", "c", "d", "e", "f"];
        for (at, name) in names.into_iter().enumerate() {
            stage.prepare(&[if at % 4 < 2 { "queue" } else { "transient" }, name]);
        }
        stage.prepare(&["exchange", "x", "direct"]);
        for (queue, key) in &rules {
            stage.prepare(&["bind", "x", names[*queue], &key.to_string()]);
        }
        let words: Vec<_> = items
            .iter()
            .map(|(key, is_transient, is_mandatory)| {
                let transient = if *is_transient { "|t" } else { "" };
                format!("x|{key}{transient}{}", if *is_mandatory { "|m" } else { "" })
            })
            .collect();
        let batch = stage.batch(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let mut out = HubOut::default();
        stage.submit(1, 0, Op::Publish(Arc::new(batch)), &mut out);
        let mut got = vec![Vec::new(); names.len()];
        for (shard, op) in std::mem::take(&mut out.shards) {
            let ShardOp::Publish(publish) = op else { panic!("only publishes were submitted") };
            for run in &publish.runs {
                for id in &publish.routes[run.route as usize] {
                    let at = names.iter().position(|name| stage.queue_id(name) == *id).unwrap();
                    prop_assert_eq!(at % 2, usize::from(shard.0), "to the shard it lives on");
                    got[at].extend(run.items.clone().map(|n| (n, run.volatile)));
                }
            }
            let done = ToHub::Published { call: publish.call, refused: Vec::new(), gone: Vec::new(), stored: Vec::new() };
            stage.hub.from_shard(Now(0), shard, done, &mut out);
        }
        for (at, got) in got.into_iter().enumerate() {
            let taken = (0_u32..).zip(&items).filter(|(_, (key, ..))| rules.contains(&(at, *key)));
            let expected: Vec<_> = taken.map(|(n, (_, is_transient, _))| (n, *is_transient || at % 4 >= 2)).collect();
            prop_assert_eq!(got, expected, "queue {}", names[at]);
        }
        let Some((_, _, Outcome::Published(published))) = out.completions.pop() else {
            panic!("a batch is answered when all its shards have answered")
        };
        let nowhere = |key: &u8| !rules.iter().any(|(_, other)| other == key);
        let told = (0_u32..).zip(&items).filter(|(_, (key, _, is_mandatory))| *is_mandatory && nowhere(key));
        prop_assert_eq!(published.unroutable, told.map(|(n, _)| n).collect::<Vec<_>>());
    }
}

#[test]
fn beyond_the_bound_requests_are_refused_and_publishes_too() {
    let mut stage = check("> 1 declare q\n ! registry define call=1");
    let mut out = HubOut::default();
    for _ in 0..OPEN_SUBMITS_MAX {
        stage.submit(1, 0, Op::Purge { queue: "q".into() }, &mut out);
    }
    assert!(out.completions.is_empty());
    let batch = Arc::new(stage.batch(&["|q", "|q"]));
    stage.submit(1, 0, Op::Publish(batch), &mut out);
    stage.submit(1, 0, Op::Purge { queue: "q".into() }, &mut out);
    let told = stage.told(out);
    assert!(told.contains("published refused=[0, 1]"), "{told}");
    assert!(told.contains("refused Limit"), "{told}");
}

#[test]
fn open_submits_are_those_without_an_answer() {
    let mut stage = check(
        "~ queue q
         > 1 publish |q
         ! 0 publish call=1 0>q
         > 1 get q
         ! 0 get call=2 q",
    );
    assert_eq!(stage.hub.open_submits(id(1)), 2);
    let out = stage.line("= 0 published 1");
    assert_eq!(stage.told(out), "< 1 1 published\n");
    assert_eq!(stage.hub.open_submits(id(1)), 1);
}
