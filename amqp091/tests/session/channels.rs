//! Channels: their errors, their closing, what is passed over meanwhile.

use crate::support::check;

#[test]
fn an_error_closes_the_channel_and_what_follows_is_passed_over() {
    check(
        "
        > queue.declare 1 queue=q passive
        ! DeclareQueue { name: \"q\", passive: true, durable: false, exclusive: false, auto_delete: false, arguments: {} } lane=1
        = refused why=missing name=q
        ! close-lane lane=1
        < channel.close 1 reply_code: 404, reply_text: \"NOT_FOUND - no queue 'q' in vhost '/'\", class_id: 50, method_id: 10
        > basic.publish 1 exchange=e body=lost
        > basic.qos 1 count=1
        > channel.close-ok 1
        > channel.open 1
        < channel.open-ok 1 reserved_1: \"\"
        ",
    );
}

#[test]
fn closes_may_cross() {
    check(
        "
        > basic.ack 1 tag=5
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - unknown delivery tag 5\", class_id: 60, method_id: 80
        > channel.close 1
        < channel.close-ok 1
        > channel.close-ok 1
        > channel.open 1
        < channel.open-ok 1 reserved_1: \"\"
        ",
    );
}

#[test]
fn a_refused_publish_closes_its_channel_before_a_later_method_is_answered() {
    check(
        "
        > channel.open 2
        < channel.open-ok 2 reserved_1: \"\"
        > basic.publish 1 exchange=gone routing_key=a
        > basic.publish 2 exchange=here routing_key=b
        > basic.qos 1 count=1
        ! publish lane=1 exchange=gone key=a body=
        ! publish lane=2 exchange=here key=b body=
        = lane-failed lane=1 item=0 why=missing object=exchange name=gone
        ! close-lane lane=1
        < channel.close 1 reply_code: 404, reply_text: \"NOT_FOUND - no exchange 'gone' in vhost '/'\", class_id: 60, method_id: 40
        = published dropped=0
        > basic.qos 2 count=1
        < basic.qos-ok 2
        ",
    );
}

#[test]
fn a_method_that_waits_is_dropped_with_its_channel() {
    check(
        "
        > basic.publish 1 exchange=gone
        > queue.purge 1 queue=q
        ! publish lane=1 exchange=gone key= body=
        ! purge q lane=1
        = lane-failed lane=1 item=0 why=missing object=exchange name=gone
        ! close-lane lane=1
        < channel.close 1 reply_code: 404, reply_text: \"NOT_FOUND - no exchange 'gone' in vhost '/'\", class_id: 60, method_id: 40
        = published dropped=0
        > channel.close-ok 1
        > channel.open 1
        < channel.open-ok 1 reserved_1: \"\"
        ",
    );
}

#[test]
fn a_late_failure_does_not_hit_the_next_channel_of_that_number() {
    check(
        "
        > basic.publish 1 exchange=gone
        > basic.ack 1 tag=1
        ! publish lane=1 exchange=gone key= body=
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - unknown delivery tag 1\", class_id: 60, method_id: 80
        > channel.close-ok 1
        > channel.open 1
        < channel.open-ok 1 reserved_1: \"\"
        = lane-failed lane=1 item=0 why=missing object=exchange name=gone
        = published dropped=0
        ",
    );
}

#[test]
fn closing_a_channel_gives_back_what_it_holds() {
    check(
        "
        > basic.consume 1 queue=q consumer_tag=c
        ! Subscribe { subscription: 1, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: None, bytes_max: 2097152, priority: 0 } lane=1
        = subscribed queue=7
        < basic.consume-ok 1 consumer_tag: \"c\"
        @ deliver sub=1 queue=7 positions=4,5,6 exchange=e key=k
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 1, redelivered: false, exchange: \"e\", routing_key: \"k\"
        < content 1 body=0:
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 2, redelivered: false, exchange: \"e\", routing_key: \"k\"
        < content 1 body=0:
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 3, redelivered: false, exchange: \"e\", routing_key: \"k\"
        < content 1 body=0:
        > basic.ack 1 tag=2
        ! Accept sub=1 queue=7 positions=5..=5
        > channel.close 1
        ! close-lane lane=1
        ! unsubscribe sub=1 lane=0
        ! Release { seen: true, counted: true } sub=1 queue=7 positions=4..=4
        ! Release { seen: true, counted: true } sub=1 queue=7 positions=6..=6
        = unsubscribed
        < channel.close-ok 1
        @ deliver sub=1 queue=7 positions=7 exchange=e key=k
        ! Release { seen: false, counted: false } sub=1 queue=7 positions=7..=7
        ",
    );
}

#[test]
fn a_stopped_flow_is_not_implemented() {
    let close = "< connection.close 0 reply_code: 540, reply_text: \"NOT_IMPLEMENTED -";
    check(&format!(
        "> channel.flow 1\n! close-lane lane=1\n{close} active=false\", class_id: 20, method_id: 20"
    ));
    check("> channel.flow 1 active\n< channel.flow-ok 1 active: true");
}

#[test]
fn an_empty_name_means_the_queue_last_declared() {
    check(
        "
        > queue.declare 1 exclusive
        ! DeclareQueue { name: \"\", passive: false, durable: false, exclusive: true, auto_delete: false, arguments: {} } lane=1
        = queue name=amq.gen-1
        < queue.declare-ok 1 queue: \"amq.gen-1\", message_count: 0, consumer_count: 0
        > queue.bind 1 exchange=e
        ! Bind(Rule { source: \"e\", destination: Queue(\"amq.gen-1\"), key: b\"amq.gen-1\", arguments: {} }) lane=1
        = unit
        < queue.bind-ok 1
        > queue.delete 1 no_wait
        ! DeleteQueue { name: \"amq.gen-1\", if_unused: false, if_empty: false } lane=1
        = deleted ready=0
        > channel.open 2
        < channel.open-ok 2 reserved_1: \"\"
        > queue.purge 2
        ! close-lane lane=2
        < channel.close 2 reply_code: 404, reply_text: \"NOT_FOUND - no previously declared queue\", class_id: 50, method_id: 30
        > queue.declare 1 passive
        ! close-lane lane=1
        < channel.close 1 reply_code: 404, reply_text: \"NOT_FOUND - no queue '' in vhost '/'\", class_id: 50, method_id: 10
        ",
    );
}

#[test]
fn arguments_keep_their_kinds() {
    check(
        "
        > queue.declare 1 queue=q arg:x-max-length=5 arg:x-overflow=reject-publish
        ! DeclareQueue { name: \"q\", passive: false, durable: false, exclusive: false, auto_delete: false, arguments: {\"x-max-length\": Int(5), \"x-overflow\": Text(\"reject-publish\")} } lane=1
        = queue name=q
        < queue.declare-ok 1 queue: \"q\", message_count: 0, consumer_count: 0
        > exchange.declare 1 exchange=e kind=topic durable
        ! DeclareExchange { name: \"e\", kind: \"topic\", passive: false, durable: true, auto_delete: false, internal: false, arguments: {} } lane=1
        = unit
        < exchange.declare-ok 1
        > exchange.bind 1 destination=e source=amq.topic routing_key=a.#
        ! Bind(Rule { source: \"amq.topic\", destination: Exchange(\"e\"), key: b\"a.#\", arguments: {} }) lane=1
        = unit
        < exchange.bind-ok 1
        ",
    );
}
