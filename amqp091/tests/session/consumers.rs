//! Consuming: windows, settles, cancels, what a record has gone through.

use crate::support::check;

fn check_consuming(transcript: &str) {
    let start = "
        > basic.consume 1 queue=q consumer_tag=c
        ! Subscribe { subscription: 1, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: None, bytes_max: 2097152, priority: 0 } lane=1
        = subscribed queue=7 counts
        < basic.consume-ok 1 consumer_tag: \"c\"
        ";
    check(&[start, transcript].concat());
}

/// The line of a delivery to consumer `c`, and that of its content.
fn delivered(tag: u32, redelivered: bool, content: &str) -> String {
    format!(
        "< basic.deliver 1 consumer_tag: \"c\", delivery_tag: {tag}, redelivered: {redelivered}, exchange: \"e\", routing_key: \"k\"
        < content 1 {content}\n"
    )
}

#[test]
fn settles_say_how_deliveries_end() {
    let five: String = (1..=5).map(|tag| delivered(tag, false, "body=0:")).collect();
    check_consuming(&format!(
        "
        @ deliver sub=1 queue=7 positions=1,2,3,4,5 exchange=e key=k
        {five}
        > basic.nack 1 tag=2 requeue
        ! Release {{ seen: true, counted: false }} sub=1 queue=7 positions=2..=2
        > basic.reject 1 tag=3 requeue
        ! Release {{ seen: true, counted: true }} sub=1 queue=7 positions=3..=3
        > basic.reject 1 tag=4
        ! Reject sub=1 queue=7 positions=4..=4
        > basic.ack 1 tag=5 multiple
        ! Accept sub=1 queue=7 positions=1..=1
        ! Accept sub=1 queue=7 positions=5..=5
        > basic.ack 1 tag=0 multiple
        > basic.ack 1 tag=5
        ! close-lane lane=1
        ! unsubscribe sub=1 lane=0
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - unknown delivery tag 5\", class_id: 60, method_id: 80
        "
    ));
}

#[test]
fn tag_zero_with_multiple_means_all_and_recover_gives_all_back() {
    let two: String = (1..=2).map(|tag| delivered(tag, false, "body=0:")).collect();
    let again = delivered(3, true, "body=0:");
    check_consuming(&format!(
        "
        @ deliver sub=1 queue=7 positions=1,2 exchange=e key=k
        {two}
        > basic.ack 1 tag=0 multiple
        ! Accept sub=1 queue=7 positions=1..=2
        @ deliver sub=1 queue=7 positions=3 exchange=e key=k redelivered
        {again}
        > basic.recover 1 requeue
        ! Release {{ seen: true, counted: false }} sub=1 queue=7 positions=3..=3
        < basic.recover-ok 1
        > basic.recover 1
        ! close-lane lane=1
        ! unsubscribe sub=1 lane=0
        < connection.close 0 reply_code: 540, reply_text: \"NOT_IMPLEMENTED - requeue=false\", class_id: 60, method_id: 110
        "
    ));
}

#[test]
fn a_shared_window_holds_deliveries_back() {
    let (one, two, three) =
        (delivered(1, false, "body=0:"), delivered(2, false, "body=0:"), delivered(3, false, "body=0:"));
    check(&format!(
        "
        > basic.qos 1 count=2 global
        < basic.qos-ok 1
        > basic.consume 1 queue=q consumer_tag=c
        ! Subscribe {{ subscription: 1, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: Some(2), bytes_max: 2097152, priority: 0 }} lane=1
        = subscribed queue=7
        < basic.consume-ok 1 consumer_tag: \"c\"
        > basic.consume 1 queue=q consumer_tag=d
        ! Subscribe {{ subscription: 2, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: Some(2), bytes_max: 2097152, priority: 0 }} lane=1
        = subscribed queue=7
        < basic.consume-ok 1 consumer_tag: \"d\"
        @ deliver sub=1 queue=7 positions=1,2 exchange=e key=k
        {one}
        {two}
        @ deliver sub=2 queue=7 positions=3,4 exchange=e key=k
        @ deliver sub=1 queue=7 positions=5 exchange=e key=k
        > basic.ack 1 tag=1
        ! Accept sub=1 queue=7 positions=1..=1
        {}
        > basic.cancel 1 consumer_tag=d
        ! unsubscribe sub=2 lane=1
        = unsubscribed
        ! Release {{ seen: false, counted: false }} sub=2 queue=7 positions=4..=4
        < basic.cancel-ok 1 consumer_tag: \"d\"
        > basic.ack 1 tag=2
        ! Accept sub=1 queue=7 positions=2..=2
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 4, redelivered: false, exchange: \"e\", routing_key: \"k\"
        < content 1 body=0:
        ",
        three.replace("\"c\"", "\"d\"")
    ));
}

#[test]
fn the_server_may_end_a_consumer() {
    check_consuming(
        "
        @ cancelled sub=1
        < basic.cancel 1 consumer_tag: \"c\", no_wait: true
        > basic.cancel 1 consumer_tag=c
        < basic.cancel-ok 1 consumer_tag: \"c\"
        ",
    );
}

#[test]
fn a_cancel_is_answered_also_if_the_server_was_faster() {
    check_consuming(
        "
        > basic.cancel 1 consumer_tag=c
        ! unsubscribe sub=1 lane=1
        @ cancelled sub=1
        < basic.cancel 1 consumer_tag: \"c\", no_wait: true
        = unsubscribed
        < basic.cancel-ok 1 consumer_tag: \"c\"
        ",
    );
}

#[test]
fn a_key_longer_than_a_short_string_is_cut() {
    let (long, cut) = ("k".repeat(300), "k".repeat(255));
    check_consuming(&format!(
        "
        @ deliver sub=1 queue=7 positions=1 exchange=e key={long}
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 1, redelivered: false, exchange: \"e\", routing_key: \"{cut}\"
        < content 1 body=0:
        "
    ));
}

#[test]
fn a_consumer_tag_is_used_once_at_a_time() {
    check_consuming(
        "
        > basic.consume 1 queue=q consumer_tag=c
        ! close-lane lane=1
        ! unsubscribe sub=1 lane=0
        < connection.close 0 reply_code: 530, reply_text: \"NOT_ALLOWED - attempt to reuse consumer tag 'c'\", class_id: 60, method_id: 20
        ",
    );
}

#[test]
fn a_priority_is_a_number() {
    check(
        "
        > basic.consume 1 queue=q consumer_tag=c arg:x-priority=high
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \\\"expected integer, got longstr\\\"\", class_id: 60, method_id: 20
        ",
    );
}

#[test]
fn one_message_is_read_at_a_time() {
    check(
        "
        > basic.get 1 queue=q
        ! Get { queue: \"q\", subscription: 1, no_ack: false } lane=1
        = got none queue=7
        < basic.get-empty 1 reserved_1: \"\"
        > basic.get 1 queue=q
        ! Get { queue: \"q\", subscription: 1, no_ack: false } lane=1
        = got queue=7 position=9 ready=4 exchange=e key=k body=hello redelivered
        < basic.get-ok 1 delivery_tag: 1, redelivered: true, exchange: \"e\", routing_key: \"k\", message_count: 4
        < content 1 body=5:hello
        > basic.ack 1 tag=1
        ! Accept sub=1 queue=7 positions=9..=9
        ",
    );
}

#[test]
fn deaths_and_failed_deliveries_are_shown() {
    let properties = "headers={\"x-delivery-count\": 2}";
    let failed = delivered(1, true, &format!("{properties} body=0:"));
    let death = |reason: &str, count: u32, before: &str| {
        format!("{{{before}\"count\": {count}, \"reason\": \"{reason}\", \"queue\": \"dead\", \"time\": @99")
    };
    let (rejected, expired) =
        (death("rejected", 1, ""), death("expired", 1, "\"original-expiration\": \"50\", "));
    let dead = format!(
        "< basic.deliver 1 consumer_tag: \"c\", delivery_tag: 2, redelivered: false, exchange: \"dlx\", routing_key: \"k\"
        < content 1 headers={{\"x-death\": [{rejected}, \"exchange\": \"dlx\", \"routing-keys\": [\"k\"]}}, {expired}, \"exchange\": \"e\", \"routing-keys\": [\"k\"]}}], \
        \"x-first-death-exchange\": \"e\", \"x-first-death-queue\": \"dead\", \"x-first-death-reason\": \"expired\", \
        \"x-last-death-exchange\": \"dlx\", \"x-last-death-queue\": \"dead\", \"x-last-death-reason\": \"rejected\"}} body=1:x"
    );
    check_consuming(&format!(
        "
        @ deliver sub=1 queue=7 positions=1 exchange=e key=k redelivered failures=2
        {failed}
        @ deliver sub=1 queue=7 positions=2 exchange=e key=k expiration=50 died=expired,rejected body=x
        {dead}
        "
    ));
}

#[test]
fn a_large_body_is_cut_into_frames() {
    let body = "x".repeat(200_000);
    let whole = delivered(1, false, &format!("body=200000:{body}"));
    check_consuming(&format!("@ deliver sub=1 queue=7 positions=1 exchange=e key=k repeat=200000\n{whole}"));
}

#[test]
fn replies_come_straight_to_the_channel() {
    check(
        "
        > basic.publish 1 routing_key=server reply_to=amq.rabbitmq.reply-to
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - fast reply consumer does not exist\", class_id: 60, method_id: 40
        > channel.close-ok 1
        > channel.open 1
        < channel.open-ok 1 reserved_1: \"\"
        > basic.consume 1 queue=amq.rabbitmq.reply-to consumer_tag=r no_ack
        ! Subscribe { subscription: 1, queue: \"amq.rabbitmq.reply-to\", direct_reply: true, no_ack: true, exclusive: false, messages_max: None, bytes_max: 2097152, priority: 0 } lane=1
        = replies address=amq.rabbitmq.reply-to.g1h2
        < basic.consume-ok 1 consumer_tag: \"r\"
        > basic.publish 1 routing_key=server reply_to=amq.rabbitmq.reply-to body=question
        ! publish lane=1 exchange= key=server reply_to=amq.rabbitmq.reply-to.g1h2 body=question
        @ deliver sub=1 queue=0 positions=0 key=amq.rabbitmq.reply-to.g1h2 body=answer
        < basic.deliver 1 consumer_tag: \"r\", delivery_tag: 1, redelivered: false, exchange: \"\", routing_key: \"amq.rabbitmq.reply-to.g1h2\"
        < content 1 body=6:answer
        > channel.open 2
        < channel.open-ok 2 reserved_1: \"\"
        > basic.consume 2 queue=amq.rabbitmq.reply-to consumer_tag=r
        ! close-lane lane=2
        < channel.close 2 reply_code: 406, reply_text: \"PRECONDITION_FAILED - reply consumer cannot acknowledge\", class_id: 60, method_id: 20
        ",
    );
}

#[test]
fn a_new_limit_of_the_channel_counts_for_consumers_that_are_there() {
    check(
        "
        > basic.qos 1 count=3
        < basic.qos-ok 1
        > basic.qos 1 count=1 global
        < basic.qos-ok 1
        > basic.consume 1 queue=q consumer_tag=c
        ! Subscribe { subscription: 1, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: Some(1), bytes_max: 2097152, priority: 0 } lane=1
        = subscribed queue=7 counts
        < basic.consume-ok 1 consumer_tag: \"c\"
        > basic.qos 1 count=2 global
        ! credit sub=1 bytes=0 messages=2
        < basic.qos-ok 1
        > basic.qos 1 count=0 global
        ! credit sub=1 bytes=0 messages=3
        < basic.qos-ok 1
        ",
    );
}
