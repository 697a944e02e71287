//! Each rule, broken by hand once in a history of a few lines.

use super::Oracle;
use crate::history::{Delivery, Event, Held, Publish, RecordId, Removal, RemovalKind};
use bytes::{Bytes, BytesMut};
use stele_model::id::{HubId, Position, QueueId, SessionId};
use stele_model::settle::How;
use stele_record::{Draft, Origin};

const ANN: SessionId = SessionId { hub: HubId(0), number: 1 };
const BOB: SessionId = SessionId { hub: HubId(0), number: 2 };

/// Tells events one by one.
#[derive(Default)]
struct Teller {
    oracle: Oracle,
    step: u64,
}

impl Teller {
    fn tell(&mut self, event: &Event) -> &mut Self {
        self.step += 1;
        self.oracle.observe(self.step, event);
        self
    }

    /// Publishes by `ANN` and confirms.
    fn confirmed(&mut self, record: u64, queue: &str) -> &mut Self {
        self.published(record, queue);
        self.tell(&Event::Confirmed { record: RecordId(record), returned: false })
    }

    fn published(&mut self, record: u64, queue: &str) -> &mut Self {
        self.tell(&Event::Published(Publish {
            record: RecordId(record),
            session: ANN,
            lane: 1,
            queues: vec![queue.to_owned()],
            certain: !queue.starts_with("spare"),
            persistent: true,
            awaited: true,
            bytes: bytes(record),
        }))
    }

    fn shown(&mut self, record: u64, queue: &str, position: u64, redelivered: bool) -> &mut Self {
        self.delivered(ANN, record, queue, position, redelivered, false)
    }

    fn delivered(
        &mut self,
        session: SessionId,
        record: u64,
        queue: &str,
        position: u64,
        redelivered: bool,
        no_ack: bool,
    ) -> &mut Self {
        let held = held(record, position);
        let queue = queue.to_owned();
        let bytes = bytes(record);
        self.tell(&Event::Delivered(Delivery { session, queue, held, no_ack, redelivered, bytes }))
    }

    fn settled(&mut self, record: u64, queue: &str, position: u64, how: How) -> &mut Self {
        let held = held(record, position);
        self.tell(&Event::Settled { session: ANN, queue: queue.to_owned(), held, how })
    }

    fn crash(&mut self) -> &mut Self {
        self.tell(&Event::Stopped { orderly: false })
    }

    fn rules(&mut self) -> Vec<&'static str> {
        self.oracle.close(self.step);
        self.oracle.violations().iter().map(|wrong| wrong.rule).collect()
    }
}

fn held(record: u64, position: u64) -> Held {
    Held { subscription: 1, queue: QueueId(9), position: Position(position), record: Some(RecordId(record)) }
}

fn bytes(record: u64) -> Bytes {
    let mut out = BytesMut::new();
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time: 1,
        exchange: b"",
        key: b"a",
        properties: &[0, 0],
        history: &[],
    };
    draft.write(format!("r{record};").as_bytes(), &mut out);
    out.freeze()
}

#[test]
fn a_confirmed_record_that_is_accepted_is_no_violation() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).settled(1, "a", 0, How::Accept);
    assert_eq!(teller.rules(), [""; 0]);
}

#[test]
fn a_confirmed_record_that_never_comes_is_lost() {
    assert_eq!(Teller::default().confirmed(1, "a").rules(), ["W1"]);
}

#[test]
fn an_unconfirmed_record_that_was_shown_and_does_not_come_back_is_lost() {
    assert_eq!(Teller::default().published(1, "a").shown(1, "a", 0, false).crash().rules(), ["W1"]);
    assert_eq!(Teller::default().published(1, "a").crash().rules(), [""; 0]);
}

#[test]
fn a_record_nobody_published_is_invented() {
    assert_eq!(Teller::default().shown(1, "a", 0, false).rules(), ["W2"]);
}

#[test]
fn a_record_from_a_queue_it_was_not_routed_to_is_invented() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "b", 0, false);
    assert_eq!(teller.rules()[0], "W2");
}

#[test]
fn places_run_in_the_order_of_publishing() {
    let mut teller = Teller::default();
    teller.published(1, "a").published(2, "a").shown(2, "a", 0, false).shown(1, "a", 1, false);
    teller.settled(1, "a", 1, How::Accept).settled(2, "a", 0, How::Accept);
    assert_eq!(teller.rules(), ["W3"]);
}

#[test]
fn what_was_settled_before_a_confirmed_publish_does_not_come_back() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).settled(1, "a", 0, How::Accept);
    teller.confirmed(2, "a").crash();
    teller.shown(1, "a", 0, true).settled(1, "a", 0, How::Accept);
    teller.shown(2, "a", 1, false).settled(2, "a", 1, How::Accept);
    assert_eq!(teller.rules(), ["W5"]);
}

#[test]
fn what_was_settled_just_before_a_crash_may_come_back() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).settled(1, "a", 0, How::Accept).crash();
    teller.shown(1, "a", 0, true).settled(1, "a", 0, How::Accept);
    assert_eq!(teller.rules(), [""; 0]);
}

#[test]
fn what_was_durably_handed_out_comes_back_with_the_mark() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).confirmed(2, "a").crash();
    teller.shown(1, "a", 0, false).settled(1, "a", 0, How::Accept);
    teller.shown(2, "a", 1, false).settled(2, "a", 1, How::Accept);
    assert_eq!(teller.rules(), ["W6"]);
}

#[test]
fn two_readers_never_hold_one_record() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).delivered(BOB, 1, "a", 0, true, true);
    assert_eq!(teller.rules(), ["W7"]);
}

#[test]
fn a_record_stands_in_a_queue_once() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).settled(1, "a", 0, How::Accept);
    teller.shown(1, "a", 5, false).settled(1, "a", 5, How::Accept);
    assert!(teller.rules().contains(&"W9"));
}

#[test]
fn a_delete_if_empty_does_not_take_a_ready_record_along() {
    let kind = RemovalKind::DeleteIfEmpty;
    let removal = Removal { number: 1, session: ANN, queue: "spare.0".to_owned(), kind };
    let mut teller = Teller::default();
    teller.confirmed(1, "spare.0").tell(&Event::RemovalAsked(removal));
    teller.tell(&Event::RemovalAnswered { number: 1, done: true });
    assert_eq!(teller.rules(), ["W10"]);
}

#[test]
fn a_rejected_record_without_a_target_is_gone_and_one_with_a_target_is_there() {
    let mut teller = Teller::default();
    teller.confirmed(1, "a").shown(1, "a", 0, false).settled(1, "a", 0, How::Reject);
    assert_eq!(teller.rules(), [""; 0]);
    let mut teller = Teller::default();
    teller.confirmed(1, "work").shown(1, "work", 0, false).settled(1, "work", 0, How::Reject);
    assert_eq!(teller.rules(), ["W1"]);
}

#[test]
fn a_standing_queue_is_found() {
    let looked = Event::LookedFor { queue: "a".to_owned(), found: false };
    assert_eq!(Teller::default().tell(&looked).rules(), ["W16"]);
}
