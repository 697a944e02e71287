//! Transactions: what is kept, what a commit does, what a rollback forgets.

use crate::support::{Run, check};

fn check_tx(transcript: &str) {
    let start = "
        > tx.select 1
        < tx.select-ok 1
        > basic.consume 1 queue=q consumer_tag=c
        ! Subscribe { subscription: 1, queue: \"q\", direct_reply: false, no_ack: false, exclusive: false, messages_max: None, bytes_max: 2097152, priority: 0 } lane=1
        = subscribed queue=7
        < basic.consume-ok 1 consumer_tag: \"c\"
        @ deliver sub=1 queue=7 positions=1 exchange=e key=k
        < basic.deliver 1 consumer_tag: \"c\", delivery_tag: 1, redelivered: false, exchange: \"e\", routing_key: \"k\"
        < content 1 body=0:
        ";
    check(&[start, transcript].concat());
}

#[test]
fn a_commit_publishes_and_then_settles() {
    check_tx(
        "
        > basic.publish 1 exchange=e routing_key=a body=one
        > basic.publish 1 exchange=e routing_key=b bare
        > content 1 size=6 no-body
        > body 1 body=two
        > body 1 body=two
        > basic.ack 1 tag=1
        > tx.commit 1
        ! publish lane=1 exchange=e key=a awaited body=one
        ! publish lane=1 exchange=e key=b awaited body=twotwo
        = published
        ! Accept sub=1 queue=7 positions=1..=1
        < tx.commit-ok 1
        > tx.commit 1
        < tx.commit-ok 1
        ",
    );
}

#[test]
fn a_rollback_forgets_publishes_and_gives_acknowledgements_back() {
    check_tx(
        "
        > basic.publish 1 exchange=e routing_key=a body=one
        > basic.ack 1 tag=1
        > tx.rollback 1
        < tx.rollback-ok 1
        > basic.reject 1 tag=1
        > tx.commit 1
        ! Reject sub=1 queue=7 positions=1..=1
        < tx.commit-ok 1
        ",
    );
}

#[test]
fn a_commit_that_a_queue_refuses_ends_the_channel() {
    check_tx(
        "
        > basic.publish 1 exchange=e routing_key=a body=one
        > tx.commit 1
        ! publish lane=1 exchange=e key=a awaited body=one
        = published refused=0
        ! close-lane lane=1
        ! unsubscribe sub=1 lane=0
        ! Release { seen: true, counted: true } sub=1 queue=7 positions=1..=1
        < channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED - partial tx completion\", class_id: 90, method_id: 20
        ",
    );
}

#[test]
fn what_was_acknowledged_and_not_committed_goes_back_with_the_channel() {
    check_tx(
        "
        > basic.ack 1 tag=1
        > basic.publish 1 exchange=gone
        > tx.commit 1
        ! publish lane=1 exchange=gone key= awaited body=
        = lane-failed lane=1 item=0 why=missing object=exchange name=gone
        ! close-lane lane=1
        ! unsubscribe sub=1 lane=0
        ! Release { seen: true, counted: true } sub=1 queue=7 positions=1..=1
        < channel.close 1 reply_code: 404, reply_text: \"NOT_FOUND - no exchange 'gone' in vhost '/'\", class_id: 60, method_id: 40
        = published dropped=0
        ",
    );
}

#[test]
fn confirms_and_transactions_exclude_each_other() {
    let close = "! close-lane lane=1\n< channel.close 1 reply_code: 406, reply_text: \"PRECONDITION_FAILED -";
    check(&format!(
        "> tx.select 1\n< tx.select-ok 1\n> confirm.select 1\n{close} cannot switch from tx to confirm mode\", class_id: 85, method_id: 10"
    ));
    check(&format!(
        "> confirm.select 1\n< confirm.select-ok 1\n> tx.select 1\n{close} cannot switch from confirm to tx mode\", class_id: 90, method_id: 10"
    ));
    check(&format!("> tx.commit 1\n{close} channel is not transactional\", class_id: 90, method_id: 20"));
}

#[test]
fn a_commit_of_many_keys_is_more_than_one_batch_also_while_blocked() {
    let keys: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let mut run = Run::opened(false);
    run.steps("> channel.open 1\n> tx.select 1");
    for _ in 0..40 {
        run.steps(&format!("> basic.publish 1 exchange=e CC={}", keys.join(",")));
    }
    run.steps("@ blocked low on disk");
    let mut seen = run.steps("> tx.commit 1");
    seen.extend(run.steps("@ unblocked"));
    assert_eq!(seen.iter().filter(|line| line.starts_with("! publish")).count(), 40);
    assert!(run.steps("= published").contains(&"< tx.commit-ok 1".to_owned()));
}
