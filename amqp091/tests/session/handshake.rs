//! The connection's beginning, its end, its heartbeats.

use crate::support::{check, check_from_start};
use std::sync::Arc;
use stele_amqp091::codec::frame::frame;
use stele_amqp091::codec::method::Method;
use stele_amqp091::profile::{FRAME_BYTES_HANDSHAKE, Profile};
use stele_amqp091::session::Connection;
use stele_model::id::Now;
use stele_model::session::{Outbox, Session};
use stele_record::table::Value;

const TO_TUNE: &str = "
    > header
    < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN\", locales: \"en_US\"
    > connection.start-ok 0 mechanism=PLAIN response=|guest|guest blocked failure_close
    ! authenticate guest guest
    = authenticated
    < connection.tune 0 channel_max: 2047, frame_max: 131072, heartbeat: 60
";

fn check_from_tune(transcript: &str) {
    check_from_start(&[TO_TUNE, transcript].concat());
}

#[test]
fn a_wrong_password_is_told_to_those_who_understand() {
    check_from_start(
        "
        > header
        < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN\", locales: \"en_US\"
        > connection.start-ok 0 mechanism=PLAIN response=|guest|wrong blocked failure_close
        ! authenticate guest wrong
        = rejected
        < connection.close 0 reply_code: 403, reply_text: \"ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.\", class_id: 0, method_id: 0
        > connection.close-ok 0
        ! end closed by the server
        ",
    );
}

#[test]
fn a_wrong_password_is_met_with_silence_otherwise() {
    check_from_start(
        "
        > header
        < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN\", locales: \"en_US\"
        > connection.start-ok 0 mechanism=PLAIN response=|guest|wrong
        ! authenticate guest wrong
        = rejected
        ! end login refused
        ",
    );
}

#[test]
fn an_unknown_mechanism_is_met_with_silence() {
    check_from_start(
        "
        > header
        < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN\", locales: \"en_US\"
        > connection.start-ok 0 mechanism=MAGIC response=x
        ! end unknown authentication mechanism 'MAGIC'
        ",
    );
}

#[test]
fn a_certificate_logs_in_whom_it_names() {
    check_from_start(
        "
        @ certified CN=worker
        > header
        < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN EXTERNAL\", locales: \"en_US\"
        > connection.start-ok 0 mechanism=EXTERNAL response=somebody-else
        ! authenticate CN=worker by certificate
        = authenticated
        < connection.tune 0 channel_max: 2047, frame_max: 131072, heartbeat: 60
        ",
    );
}

#[test]
fn without_a_certificate_external_is_refused_with_a_reason() {
    check_from_start(
        "
        @ certified
        > header
        < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN EXTERNAL\", locales: \"en_US\"
        > connection.start-ok 0 mechanism=EXTERNAL response= blocked failure_close
        ! authenticate nobody
        = rejected
        < connection.close 0 reply_code: 403, reply_text: \"ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile.\", class_id: 0, method_id: 0
        > connection.close-ok 0
        ! end closed by the server
        ",
    );
}

#[test]
fn external_is_unknown_where_certificates_log_nobody_in() {
    check_from_start(
        "
        > header
        < connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN\", locales: \"en_US\"
        > connection.start-ok 0 mechanism=EXTERNAL response=
        ! end unknown authentication mechanism 'EXTERNAL'
        ",
    );
}

#[test]
fn limits_beyond_ours_end_the_connection() {
    check_from_tune(
        "
        > connection.tune-ok 0 channel_max=2047 frame_max=0 heartbeat=0
        ! end negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)
        ",
    );
    check_from_tune(
        "
        > connection.tune-ok 0 channel_max=2047 frame_max=4096 heartbeat=0
        ! end negotiated frame_max = 4096 is lower than the minimum allowed value (8192)
        ",
    );
    check_from_tune(
        "
        > connection.tune-ok 0 channel_max=2048 frame_max=8192 heartbeat=0
        ! end negotiated channel_max = 2048 is higher than the maximum allowed value (2047)
        ",
    );
}

#[test]
fn an_unknown_vhost_is_not_allowed() {
    check_from_tune(
        "
        > connection.tune-ok 0 channel_max=2047 frame_max=131072 heartbeat=0
        > connection.open 0 virtual_host=nowhere
        ! open nowhere lane=0
        = refused why=missing object=namespace name=nowhere
        < connection.close 0 reply_code: 530, reply_text: \"NOT_ALLOWED - vhost nowhere not found\", class_id: 10, method_id: 40
        ",
    );
}

#[test]
fn who_comes_while_publishers_are_blocked_is_told() {
    check_from_tune(
        "
        @ blocked low on disk
        > connection.tune-ok 0 channel_max=2047 frame_max=131072 heartbeat=0
        > connection.open 0 virtual_host=/
        ! open / lane=0
        = opened
        < connection.open-ok 0 reserved_1: \"\"
        < connection.blocked 0 reason: \"low on disk\"
        ",
    );
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    check_from_tune(
        "
        @ seconds 11
        ! end the handshake took too long
        ",
    );
}

#[test]
fn heartbeats_are_sent_at_half_the_interval_and_missed_after_two() {
    check_from_tune(
        "
        > connection.tune-ok 0 channel_max=2047 frame_max=131072 heartbeat=4
        > connection.open 0 virtual_host=/
        ! open / lane=0
        = opened
        < connection.open-ok 0 reserved_1: \"\"
        @ seconds 1
        @ seconds 1
        < heartbeat
        > heartbeat 0
        @ seconds 2
        < heartbeat
        @ seconds 5
        < heartbeat
        @ seconds 1
        ! end missed heartbeats from client, timeout: 4s
        ",
    );
}

#[test]
fn a_client_that_does_not_answer_a_close_is_left() {
    check(
        "
        @ close shutting down
        ! close-lane lane=1
        < connection.close 0 reply_code: 320, reply_text: \"CONNECTION_FORCED - shutting down\", class_id: 0, method_id: 0
        > channel.open 7
        > basic.publish 7 exchange=e
        @ seconds 31
        ! end the client did not answer connection.close
        ",
    );
}

#[test]
fn a_connection_is_closed_once() {
    check(
        "
        > octets 07 00 00 00 00 00 00 ce
        ! close-lane lane=1
        < connection.close 0 reply_code: 501, reply_text: \"FRAME_ERROR - unknown frame type 7\", class_id: 0, method_id: 0
        @ close shutting down
        > octets ff ff ff
        @ seconds 2
        ! end the client did not answer connection.close
        ",
    );
}

#[test]
fn who_asks_whose_rules_hold_is_told_rabbitmqs_and_who_keeps_them() {
    let mut session = Connection::new(Arc::new(Profile::default()), 1, Now(0));
    let mut out = Outbox::default();
    session.receive(Now(0), b"AMQP\0\0\x09\x01", &mut out);
    let octets = out.write.buffer().to_vec();
    let (frame, _) = frame(&octets, FRAME_BYTES_HANDSHAKE).unwrap().unwrap();
    let Ok(Method::ConnectionStart { server_properties, .. }) = Method::decode(frame.payload) else {
        panic!("connection.start comes first");
    };
    let text = |name: &str| match server_properties.find(name.as_bytes()) {
        Some(Value::Str(text)) => String::from_utf8(text.to_vec()).unwrap(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("product"), "RabbitMQ", "kombu looks for it");
    let version: Vec<u32> = text("version").split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 10, 0], "NServiceBus asks for that");
    assert!(text("platform").starts_with("Stele "), "{}", text("platform"));
}

#[test]
fn a_new_secret_changes_nothing_for_who_is_logged_in() {
    check(
        "
        > connection.update-secret 0 secret=fresh reason=expired
        < connection.update-secret-ok 0
        > connection.update-secret 0 secret=bad reason=expired
        < connection.update-secret-ok 0
        > channel.close 1
        ! close-lane lane=1
        < channel.close-ok 1
        ",
    );
}

#[test]
fn frames_that_break_the_protocol_end_the_connection_with_its_codes() {
    let cases = [
        // An unknown frame type.
        (
            "octets 07 00 00 00 00 00 00 ce",
            "501, reply_text: \"FRAME_ERROR - unknown frame type 7\", class_id: 0, method_id: 0",
        ),
        // A wrong end.
        (
            "octets 01 00 01 00 00 00 00 00",
            "501, reply_text: \"FRAME_ERROR - invalid frame end marker 0\", class_id: 0, method_id: 0",
        ),
        // More than was agreed.
        (
            "octets 01 00 01 00 10 00 00",
            "501, reply_text: \"FRAME_ERROR - frame of 1048576 octets is larger than the agreed 131072\", class_id: 0, method_id: 0",
        ),
        // A method that ends early.
        (
            "octets 01 00 01 00 00 00 05 00 32 00 0a 00 ce",
            "501, reply_text: \"FRAME_ERROR - cannot decode method\", class_id: 0, method_id: 0",
        ),
        // A method that does not exist.
        (
            "octets 01 00 01 00 00 00 04 00 3c 03 e7 ce",
            "503, reply_text: \"COMMAND_INVALID - unknown method 999 of class 60\", class_id: 0, method_id: 0",
        ),
        // Content on the connection's own channel.
        (
            "content 0 body=x",
            "504, reply_text: \"CHANNEL_ERROR - content on channel 0\", class_id: 0, method_id: 0",
        ),
        // A body without a method.
        (
            "body 1 body=x",
            "505, reply_text: \"UNEXPECTED_FRAME - unexpected Body frame on channel 1\", class_id: 0, method_id: 0",
        ),
        // A method of the connection on a channel.
        (
            "connection.open 1",
            "503, reply_text: \"COMMAND_INVALID - connection.open cannot come on a channel\", class_id: 10, method_id: 40",
        ),
        // Twice the same channel.
        (
            "channel.open 1",
            "504, reply_text: \"CHANNEL_ERROR - second 'channel.open' seen\", class_id: 20, method_id: 10",
        ),
        // A channel that is not open.
        (
            "basic.qos 9",
            "504, reply_text: \"CHANNEL_ERROR - expected 'channel.open'\", class_id: 60, method_id: 10",
        ),
    ];
    for (sent, close) in cases {
        check(&format!("> {sent}\n! close-lane lane=1\n< connection.close 0 reply_code: {close}"));
    }
}
