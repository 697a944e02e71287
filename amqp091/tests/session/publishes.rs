//! Publishing: confirms, returns, what is refused.

use crate::support::{Run, check};

fn check_confirming(transcript: &str) {
    check(&["> confirm.select 1\n< confirm.select-ok 1\n", transcript].concat());
}

#[test]
fn what_no_queue_takes_is_returned_before_its_confirm() {
    check_confirming(
        "
        > basic.publish 1 exchange=e routing_key=a body=first mandatory
        > basic.publish 1 exchange=e routing_key=b body=second mandatory
        ! publish lane=1 exchange=e key=a mandatory awaited body=first
        ! publish lane=1 exchange=e key=b mandatory awaited body=second
        = published unroutable=0
        < basic.return 1 reply_code: 312, reply_text: \"NO_ROUTE\", exchange: \"e\", routing_key: \"a\"
        < content 1 body=5:first
        < basic.ack 1 delivery_tag: 2, multiple: true
        ",
    );
}

#[test]
fn a_refused_publish_is_a_nack_between_acks() {
    check_confirming(
        "
        > basic.publish 1 exchange=e routing_key=a
        ! publish lane=1 exchange=e key=a awaited body=
        > basic.publish 1 exchange=e routing_key=b
        ! publish lane=1 exchange=e key=b awaited body=
        > basic.publish 1 exchange=e routing_key=c
        ! publish lane=1 exchange=e key=c awaited body=
        = published refused=1
        < basic.ack 1 delivery_tag: 1, multiple: false
        < basic.nack 1 delivery_tag: 2, multiple: false, requeue: false
        < basic.ack 1 delivery_tag: 3, multiple: false
        ",
    );
}

#[test]
fn answers_out_of_order_are_never_multiple_above_the_floor() {
    check_confirming(
        "
        > basic.publish 1 exchange=e routing_key=a
        ! publish lane=1 exchange=e key=a awaited body=
        > basic.publish 1 exchange=e routing_key=b
        ! publish lane=1 exchange=e key=b awaited body=
        > basic.publish 1 exchange=e routing_key=c
        ! publish lane=1 exchange=e key=c awaited body=
        = published newest-first
        < basic.ack 1 delivery_tag: 3, multiple: false
        < basic.ack 1 delivery_tag: 2, multiple: false
        < basic.ack 1 delivery_tag: 1, multiple: false
        > basic.publish 1 exchange=e routing_key=d
        ! publish lane=1 exchange=e key=d awaited body=
        = published
        < basic.ack 1 delivery_tag: 4, multiple: false
        ",
    );
}

#[test]
fn batches_that_are_answered_in_one_turn_share_a_confirm() {
    check_confirming(
        "
        > basic.publish 1 exchange=e routing_key=a
        ! publish lane=1 exchange=e key=a awaited body=
        > basic.publish 1 exchange=e routing_key=b
        ! publish lane=1 exchange=e key=b awaited body=
        = published
        < basic.ack 1 delivery_tag: 2, multiple: true
        ",
    );
}

#[test]
fn a_confirm_is_not_stretched_over_other_words() {
    check_confirming(
        "
        > channel.open 2
        > confirm.select 2
        < channel.open-ok 2 reserved_1: \"\"
        < confirm.select-ok 2
        > basic.publish 1 exchange=e
        ! publish lane=1 exchange=e key= awaited body=
        > basic.publish 2 exchange=e
        ! publish lane=2 exchange=e key= awaited body=
        > basic.publish 1 exchange=e
        ! publish lane=1 exchange=e key= awaited body=
        = published
        < basic.ack 1 delivery_tag: 1, multiple: false
        < basic.ack 2 delivery_tag: 1, multiple: false
        < basic.ack 1 delivery_tag: 2, multiple: false
        ",
    );
}

#[test]
fn immediate_is_not_implemented() {
    check(
        "
        > basic.publish 1 exchange=e immediate
        ! close-lane lane=1
        < connection.close 0 reply_code: 540, reply_text: \"NOT_IMPLEMENTED - immediate=true\", class_id: 60, method_id: 40
        ",
    );
}

#[test]
fn a_message_may_be_as_large_as_is_set_and_no_larger() {
    check(
        "
        > basic.publish 1 exchange=e bare
        > content 1 size=1001 no-body
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000\", class_id: 60, method_id: 40
        > body 1 body=goes-on-for-a-while
        > channel.close-ok 1
        > channel.open 1
        < channel.open-ok 1 reserved_1: \"\"
        ",
    );
}

#[test]
fn a_body_in_pieces_is_one_message() {
    check(
        "
        > basic.publish 1 exchange=e routing_key=k bare
        > content 1 size=9 no-body
        > body 1 body=one
        > heartbeat 0
        > body 1 body=two
        > body 1 body=six
        ! publish lane=1 exchange=e key=k body=onetwosix
        ",
    );
}

#[test]
fn messages_of_two_channels_may_be_mixed() {
    check(
        "
        > channel.open 2
        < channel.open-ok 2 reserved_1: \"\"
        > basic.publish 1 exchange=e routing_key=a bare
        > basic.publish 2 exchange=e routing_key=b bare
        > content 2 body=second
        > content 1 body=first
        ! publish lane=2 exchange=e key=b body=second
        ! publish lane=1 exchange=e key=a body=first
        ",
    );
}

#[test]
fn more_body_than_was_named_is_a_frame_error() {
    check(
        "
        > basic.publish 1 exchange=e bare
        > content 1 size=2 body=three
        ! close-lane lane=1
        < connection.close 0 reply_code: 501, reply_text: \"FRAME_ERROR - content body frame exceeds remaining content size\", class_id: 0, method_id: 0
        ",
    );
}

#[test]
fn copies_route_as_well_and_hidden_ones_are_not_shown() {
    check(
        "
        > basic.publish 1 exchange=e routing_key=k CC=c1,c2 BCC=b body=x
        ! publish lane=1 exchange=e key=k+c1+c2+b headers={\"CC\": [\"c1\", \"c2\"]} body=x
        > basic.publish 1 exchange=e cc-text=no
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\\\"CC\\\",longstr}\", class_id: 60, method_id: 40
        ",
    );
}

#[test]
fn an_expiration_is_a_number_of_milliseconds() {
    check(
        "> basic.publish 1 exchange=e expiration=60000\n! publish lane=1 exchange=e key= ttl_ms=60000 expiration=60000 body=",
    );
    let faults = [
        ("soon", "no_integer"),
        ("-1", "{value_negative,-1}"),
        ("1.5", "{leftover_string,\\\".5\\\"}"),
        ("4294967296", "{value_too_big,4294967296}"),
    ];
    for (expiration, why) in faults {
        check(&format!(
            "> basic.publish 1 exchange=e expiration={expiration}
            ! close-lane lane=1
            < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - invalid expiration '{expiration}': {why}\", class_id: 60, method_id: 40"
        ));
    }
}

#[test]
fn a_user_speaks_for_itself() {
    check(
        "
        > basic.publish 1 exchange=e user_id=guest
        ! publish lane=1 exchange=e key= user_id=guest body=
        > basic.publish 1 exchange=e user_id=somebody
        ! close-lane lane=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'\", class_id: 60, method_id: 40
        ",
    );
}

#[test]
fn blocked_publishers_are_told_and_their_publishes_held() {
    check(
        "
        @ blocked low on disk
        < connection.blocked 0 reason: \"low on disk\"
        > basic.publish 1 exchange=e body=held
        > basic.qos 1 count=1
        < basic.qos-ok 1
        @ unblocked
        ! publish lane=1 exchange=e key= body=held
        < connection.unblocked 0
        ",
    );
}

#[test]
fn a_blocked_publisher_is_not_read_beyond_a_bound() {
    let body = "x".repeat(1000);
    let keys: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let publish = format!("> basic.publish 1 exchange=e CC={} body={body}\n", keys.join(","));
    let mut run = Run::opened(false);
    run.steps("> channel.open 1");
    run.steps("@ blocked low on disk");
    let mut paused = false;
    for _ in 0..40 {
        paused |= run.steps(&publish).contains(&"! pause true".to_owned());
    }
    assert!(paused, "the driver was asked to stop reading");
    let seen = run.steps("@ unblocked");
    assert!(seen.contains(&"! pause false".to_owned()));
    let count = seen.iter().filter(|line| line.starts_with("! publish")).count();
    assert_eq!(count, 40, "everything that was held or not read comes out");
}
