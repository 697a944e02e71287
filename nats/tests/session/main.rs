//! Transcripts of connections: `a>` and `b>` is what a client sends, `a<` and `b<` what it is sent, `@ MS` lets time pass, `!` speaks of the server.
//!
//! Every line ends with CR LF on the wire; `|` in a line stands for one. What a line causes is written behind it, in the order of clients. Each
//! transcript is also played byte by byte.

mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use stele_model::id::Now;
use stele_model::session::{Authenticate, Outbox, Session as _};
use stele_nats::{Arrival, Connection, Profile};
use support::check;

#[test]
fn a_message_goes_to_who_subscribed_and_a_pong_comes_after_it() {
    check(
        "a> SUB foo 1
         a> PUB foo 5|hello|PING
         a< MSG foo 1 5|hello|PONG|INFO
         b> PUB foo re.ply 2|hi
         a< MSG foo 1 re.ply 2|hi
         b> PUB bar 0|",
    );
}

#[test]
fn without_jetstream_its_requests_are_messages() {
    check(
        "a> SUB $JS.API.> 1
         b> PUB $JS.API.INFO 0|
         a< MSG $JS.API.INFO 1 0|",
    );
}

#[test]
fn a_request_to_jetstream_is_heard_by_who_listens_to_requests() {
    check(
        "! j with jetstream
         a> SUB $JS.API.> 1|SUB $JS.ACK.> 2
         j> PUB $JS.API.INFO re.ply 3|abc
         a< MSG $JS.API.INFO 1 re.ply 3|abc",
    );
}

#[test]
fn who_waits_for_a_pull_is_told_that_the_server_stops() {
    check(
        "! j with jetstream
         j> SUB in.* 5|PUB $JS.API.CONSUMER.MSG.NEXT.S.c in.1 1|3|PUB $JS.API.CONSUMER.MSG.NEXT.S.c elsewhere 1|3
         ! stop
         a< INFO|closed
         b< INFO|closed
         j< HMSG in.1 5 81 81|NATS/1.0 409 Server Shutdown|Nats-Pending-Messages: 3|Nats-Pending-Bytes: 0|||INFO|closed",
    );
}

#[test]
fn what_clients_say_of_themselves_is_passed_over_where_nobody_is_named() {
    for (ignores_credentials, is_nobody) in [(true, true), (false, false)] {
        let profile = Profile { ignores_credentials, ..Profile::default() };
        let arrival = Arrival { client_id: 1, ip: "127.0.0.1".to_owned(), nonce: String::new() };
        let mut session = Connection::new(Arc::new(profile), arrival, Now(0));
        let mut out = Outbox::default();
        session.receive(Now(0), b"CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\n", &mut out);
        assert_eq!(matches!(out.authenticate, Some(Authenticate::Nobody)), is_nobody);
    }
}

#[test]
fn headers_reach_who_understands_them_and_others_get_the_payload() {
    check(
        "! c without headers
         a> SUB foo 1
         c> SUB foo 9
         a> HPUB foo 19 21|NATS/1.0|A: 12||hi
         a< HMSG foo 1 19 21|NATS/1.0|A: 12||hi
         c< MSG foo 9 2|hi",
    );
}

#[test]
fn a_subscription_ends_after_as_many_messages_as_it_wanted() {
    check(
        "a> SUB foo 1
         a> UNSUB 1 2
         b> PUB foo 1|x|PUB foo 1|y|PUB foo 1|z
         a< MSG foo 1 1|x|MSG foo 1 1|y
         a> SUB foo 2
         b> PUB foo 0|
         a< MSG foo 2 0|
         a> UNSUB 2 1
         b> PUB foo 0|",
    );
}

#[test]
fn a_name_that_was_freed_in_a_read_is_kept_for_messages_of_that_read() {
    check(
        "a> SUB foo old|PUB foo 1|x|UNSUB old|SUB bar new|PUB foo 1|y|PUB bar 1|z
         a< MSG foo old 1|x|MSG bar new 1|z",
    );
}

#[test]
fn of_a_queue_group_one_hears_each_message() {
    check(
        "a> SUB foo q 1|SUB foo q 2
         b> PUB foo 1|x|PUB foo 1|y
         a< MSG foo 1 1|x|MSG foo 2 1|y",
    );
}

#[test]
fn who_does_not_want_its_own_messages_back_gets_those_of_others() {
    check(
        "! d without echo
         d> SUB foo 1|PUB foo 2|me
         b> PUB foo 3|you
         d< MSG foo 1 3|you",
    );
}

#[test]
fn a_request_that_nobody_hears_is_answered_at_once() {
    check(
        "a> SUB inbox.* 7
         a> PUB nobody inbox.1 3|abc
         a< HMSG inbox.1 7 38 38|NATS/1.0 503|Nats-Subject: nobody||
         a> PUB nobody 3|abc",
    );
}

#[test]
fn a_verbose_client_is_told_that_each_command_was_understood() {
    check(
        "! v verbose
         v> SUB foo 1
         v< +OK
         v> UNSUB 1
         v< +OK
         v> PUB foo 0|
         v< +OK
         v> PING
         v< PONG",
    );
}

#[test]
fn subjects_that_cannot_be_are_refused_and_the_connection_stays() {
    check(
        "a> SUB foo. 1
         a< -ERR 'Invalid Subject'
         a> SUB foo..bar 1
         a< -ERR 'Invalid Subject'
         ! p pedantic
         p> PUB foo.* 0|
         p< -ERR 'Invalid Publish Subject'
         p> PING
         p< PONG",
    );
}

#[test]
fn messages_that_repeat_a_line_are_told_apart_from_those_that_do_not() {
    check(
        "a> SUB foo 1
         a> SUB fob 2
         b> PUB foo 1|x|PUB foo 1|y|PUB foo 1|z|PUB fob 1|q|PUB foo 2|ab|PUB foo 2|PI|PING
         a< MSG foo 1 1|x|MSG foo 1 1|y|MSG foo 1 1|z|MSG fob 2 1|q|MSG foo 1 2|ab|MSG foo 1 2|PI
         b< PONG|INFO
         b> PUB foo 1|x|PUB foo 1|yz|PING
         a< MSG foo 1 1|x
         b< -ERR 'Unknown Protocol Operation'|closed",
    );
    check(
        "! v verbose
         v> PUB foo 1|x|PUB foo 1|y
         v< +OK|+OK
         ! p pedantic
         p> PUB foo.* 1|x|PUB foo.* 1|y
         p< -ERR 'Invalid Publish Subject'|-ERR 'Invalid Publish Subject'
         ! r restricted
         r> PUB secret 1|x|PUB secret 1|y
         r< -ERR 'Permissions Violation for Publish to \"secret\"'|-ERR 'Permissions Violation for Publish to \"secret\"'",
    );
}

#[test]
fn what_is_no_command_ends_the_connection() {
    check(
        "a> NONSENSE
         a< -ERR 'Unknown Protocol Operation'|closed",
    );
    check(
        "a> PUB foo 2000000
         a< -ERR 'Maximum Payload Violation'|closed",
    );
    check(
        "a> PUB foo
         a< closed",
    );
}

#[test]
fn a_long_message_comes_whole() {
    let body = "x".repeat(200_000);
    check(&format!(
        "a> SUB foo 1
             b> PUB foo 200000|{body}|PUB foo 1|y
             a< MSG foo 1 200000|{body}|MSG foo 1 1|y"
    ));
}

#[test]
fn a_silent_client_is_asked_and_given_up() {
    check(
        "@ 122000
         a< PING
         b< PING
         b> PONG
         @ 120000
         a< PING
         b< PING
         @ 120000
         a< -ERR 'Stale Connection'|closed
         b< PING",
    );
}

#[test]
fn more_subscriptions_than_allowed_are_refused() {
    check(
        "! subscriptions 2
         e> SUB a 1|SUB b 2|SUB c 3
         e< -ERR 'maximum subscriptions exceeded'",
    );
}

#[test]
fn permissions_are_told_by_name() {
    check(
        r#"! r restricted
         r> PUB secret 1|x
         r< -ERR 'Permissions Violation for Publish to "secret"'
         r> SUB secret 1
         r< -ERR 'Permissions Violation for Subscription to "secret"'
         r> SUB secret q 1
         r< -ERR 'Permissions Violation for Subscription to "secret" using queue "q"'
         r> SUB open.> 1
         a> PUB open.x 1|x|PUB open.closed 1|x
         r< MSG open.x 1 1|x"#,
    );
}

#[test]
fn somebody_who_is_not_known_is_shown_the_door() {
    check(
        "! x unknown
         x< -ERR 'Authorization Violation'|closed",
    );
}

#[test]
fn a_leaving_server_says_so() {
    check(
        "! stop
         a< INFO|closed
         b< INFO|closed",
    );
}

#[test]
fn an_account_is_told_who_is_there_in_the_order_of_its_questions() {
    let asked = r#"a> SUB inbox 1|PUB $SYS.REQ.SERVER.PING.CONNZ inbox 24|{"server_name":"nobody"}|PUB $SYS.REQ.ACCOUNT.PING.CONNZ inbox 28|{"subscriptions":true,"x":1}|PUB $SYS.REQ.ACCOUNT.PING.STATZ inbox 0||PUB $SYS.REQ.ACCOUNT.PING.CONNZ inbox 13|{"sort":"ab"}"#;
    for answers in support::answers(asked) {
        // What is wrong is said at once, what has to be asked for comes when the driver has told it.
        let (refused, told): (Vec<Value>, Vec<Value>) =
            answers.into_iter().partition(|answer| answer.get("error").is_some());
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0]["error"]["description"], "invalid sorting option: ab");
        let [clients, sums] = &told[..] else { panic!("{told:?}") };
        assert_eq!(clients["data"]["total"], 2);
        assert_eq!(clients["data"]["connections"][0]["subscriptions_list"], json!(["inbox"]));
        let received = sums["data"]["account_statz"][0]["received"]["msgs"].as_u64();
        assert!(received.is_some_and(|count| count > 7), "who is gone counts: {received:?}");
    }
}

#[test]
fn the_server_tells_a_user_who_it_is() {
    check(
        r#"a> SUB inbox 1|PUB $SYS.REQ.USER.INFO inbox 0|
         a< MSG inbox 1 236|{"server":{"name":"stele","host":"0.0.0.0","id":"NAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","ver":"2.15.2","jetstream":false,"flags":0,"time":"1970-01-01T00:00:01Z"},"data":{"user":"u","account":"$G","account_name":"$G"}}"#,
    );
}
