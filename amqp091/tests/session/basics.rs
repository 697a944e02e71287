//! A thin slice of AMQP: connect, declare, publish, confirm, consume, acknowledge.

use crate::support::{check, check_from_start};

#[test]
fn a_publish_is_confirmed_when_the_hub_has_answered() {
    check(
        "
        > confirm.select 1
        < confirm.select-ok 1
        > basic.publish 1 exchange=e routing_key=k body=one persistent
        > basic.publish 1 exchange=e routing_key=k body=two persistent mandatory
        ! publish lane=1 exchange=e key=k awaited persistent body=one
        ! publish lane=1 exchange=e key=k mandatory awaited persistent body=two
        = published
        < basic.ack 1 delivery_tag: 2, multiple: true
        > basic.publish 1 exchange=e routing_key=k
        ! publish lane=1 exchange=e key=k awaited body=
        = published
        < basic.ack 1 delivery_tag: 3, multiple: false
        ",
    );
}

#[test]
fn a_connection_ends_when_both_sides_have_said_so() {
    check(
        "
        > channel.close 1
        ! close-lane lane=1
        < channel.close-ok 1
        > connection.close 0
        < connection.close-ok 0
        ! end closed by the client
        ",
    );
}

#[test]
fn who_does_not_speak_amqp_is_told_what_to_speak() {
    check_from_start(
        "
        > octets 47 45 54 20 2f 20 48 54
        < header [0, 0, 9, 1]
        ! end the client does not speak AMQP 0-9-1
        ",
    );
}

#[test]
fn a_queue_is_declared_bound_and_consumed() {
    check(
        "
        > queue.declare 1 queue=q durable
        ! DeclareQueue { name: \"q\", passive: false, durable: true, exclusive: false, auto_delete: false, arguments: {} } lane=1
        = queue name=q ready=3
        < queue.declare-ok 1 queue: \"q\", message_count: 3, consumer_count: 0
        > queue.bind 1 exchange=e routing_key=a.*
        ! Bind(Rule { source: \"e\", destination: Queue(\"q\"), key: b\"a.*\", arguments: {} }) lane=1
        = unit
        < queue.bind-ok 1
        > basic.qos 1 count=10
        < basic.qos-ok 1
        > basic.consume 1 consumer_tag=c
        ! Subscribe { subscription: 1, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: Some(10), bytes_max: 2097152, priority: 0 } lane=1
        = subscribed queue=7
        < basic.consume-ok 1 consumer_tag: \"c\"
        @ deliver sub=1 queue=7 positions=4,5 exchange=e key=a.b body=hello
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 1, redelivered: false, exchange: \"e\", routing_key: \"a.b\"
        < content 1 body=5:hello
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 2, redelivered: false, exchange: \"e\", routing_key: \"a.b\"
        < content 1 body=5:hello
        > basic.ack 1 tag=1
        > basic.ack 1 tag=2
        ! Accept sub=1 queue=7 positions=4..=5
        @ drained
        ! credit sub=1 bytes=86
        > basic.cancel 1 consumer_tag=c
        ! unsubscribe sub=1 lane=1
        = unsubscribed
        < basic.cancel-ok 1 consumer_tag: \"c\"
        ",
    );
}

#[test]
fn ends_of_lines_in_names_are_passed_over_where_something_is_defined_and_only_there() {
    check(
        "
        > queue.declare 1 queue=a↵b↵
        ! DeclareQueue { name: \"ab\", passive: false, durable: false, exclusive: false, auto_delete: false, arguments: {} } lane=1
        = queue name=ab ready=0
        < queue.declare-ok 1 queue: \"ab\", message_count: 0, consumer_count: 0
        > queue.bind 1 queue=↵ab exchange=e↵ routing_key=k
        ! Bind(Rule { source: \"e\", destination: Queue(\"ab\"), key: b\"k\", arguments: {} }) lane=1
        = unit
        < queue.bind-ok 1
        > basic.consume 1 queue=ab↵ consumer_tag=c
        ! Subscribe { subscription: 1, queue: \"ab\\r\\n\", direct_reply: false, no_ack: false, exclusive: false, messages_max: None, bytes_max: 2097152, priority: 0 } lane=1
        = subscribed queue=7 counts
        < basic.consume-ok 1 consumer_tag: \"c\"
        > queue.delete 1 queue=ab↵
        ! DeleteQueue { name: \"ab\", if_unused: false, if_empty: false } lane=1
        = deleted ready=0
        < queue.delete-ok 1 message_count: 0
        "
    );
}
