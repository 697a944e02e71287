//! How fast push consumers go: against what their listeners have taken.

use super::*;
use bytes::BytesMut;
use stele_model::id::Position;
use stele_model::live::LiveBatch;
use stele_model::share::ShareDelivery;
use stele_record::nats::{Parts, write};

/// A service with one consumer whose deliver subject somebody listens to, and what it wants since.
struct Pushing {
    service: PushService,
    out: Outbox,
    taker: u64,
}

impl Pushing {
    fn new(config: &ConsumerConfig) -> Self {
        let (mut service, mut out) = (PushService::new("/"), Outbox::default());
        let info = settings::new_group(settings::of_consumer(config));
        service.put(("s".to_owned(), "c".to_owned()), &info, &mut out);
        service.wake(Now(1), Wake::Interest { watch: 1, is_there: true }, &mut out);
        let taker = out.submits.drain(..).find_map(|submit| match submit.op {
            Op::Push(push) => Some(push.taker),
            _ => None,
        });
        Self { service, out, taker: taker.expect("it is attached") }
    }

    /// So many bytes of records come from the shard.
    fn records(&mut self, now: Now, bytes: usize) {
        let mut record = BytesMut::new();
        write(&mut record, (b"amq.topic", b"a", &vec![7; bytes]), Parts::default(), 0);
        let len = u32::try_from(record.len()).unwrap();
        let item = ShareDelivery {
            block: 0,
            at: 0,
            len,
            delivery: 1,
            position: Position(0),
            sequence: 1,
            appended: Now(1),
            pending: 0,
        };
        let blocks = vec![record.freeze()];
        let records = ShareRecords { taker: self.taker, headers_only: false, blocks, items: vec![item] };
        self.service.wake(now, Wake::Shared(Box::new(ShareNews::Records(records))), &mut self.out);
    }

    /// Where the batches since the last look are to be receipted, and the credit that was given back.
    fn told(&mut self) -> (Vec<Bytes>, u64) {
        let (mut receipts, mut credit) = (Vec::new(), 0);
        for submit in self.out.submits.drain(..) {
            match submit.op {
                Op::Live(batch) => receipts.extend(batch.receipt.clone()),
                Op::TakerCredit(given) => credit += given.iter().map(|of| of.bytes).sum::<u64>(),
                _ => {}
            }
        }
        (receipts, credit)
    }

    /// Something is published where receipts go.
    fn receipted(&mut self, subject: &[u8]) {
        let (mut items, mut bytes) = (Vec::new(), BytesMut::new());
        LiveBatch::put(&mut items, &mut bytes, (subject, b""), (b"", b""));
        let batch = LiveBatch { bytes: bytes.freeze(), items, ..LiveBatch::default() };
        let hit = LiveHit::new(FLOW_SUBSCRIPTION, 0, false);
        self.service.live(Now(2), batch.view(), &[hit], &mut self.out);
    }
}

fn plain() -> ConsumerConfig {
    ConsumerConfig { deliver_subject: "to".to_owned(), ..ConsumerConfig::default() }
}

#[test]
fn credit_comes_back_when_the_listener_has_taken_what_was_pushed() {
    let mut pushing = Pushing::new(&plain());
    let most = usize::try_from(ASK_BYTES).unwrap() - 1000;
    pushing.records(Now(1), most);
    assert_eq!(pushing.told(), (vec![], 0));
    pushing.records(Now(1), most);
    let (receipts, credit) = pushing.told();
    assert_eq!((receipts.len(), credit), (1, 0));
    pushing.records(Now(1), 2 * most);
    assert_eq!(pushing.told(), (vec![], 0), "one receipt is waited for at a time");
    pushing.receipted(b"$JS.FC.s.c.999");
    assert_eq!(pushing.told().1, 0, "that was for another");
    pushing.receipted(&receipts[0]);
    let (_, credit) = pushing.told();
    assert!((2 * most..2 * most + 1000).contains(&usize::try_from(credit).unwrap()), "{credit}");
    pushing.receipted(&receipts[0]);
    assert_eq!(pushing.told().1, 0, "once");
    assert_eq!(pushing.service.deadline(), None);
}

#[test]
fn a_receipt_that_does_not_come_is_not_waited_for_for_ever() {
    let mut pushing = Pushing::new(&plain());
    pushing.records(Now(1), 600_000);
    pushing.told();
    let due = pushing.service.deadline().unwrap();
    assert_eq!(due, Now(1).plus_ms(RECEIPT_MS_MAX));
    pushing.service.expire(due, &mut pushing.out);
    assert!(pushing.told().1 >= 600_000);
    assert_eq!(pushing.service.deadline(), None);
}

#[test]
fn with_flow_control_it_is_the_client_that_answers() {
    let config = ConsumerConfig { flow_control: true, idle_heartbeat: 1_000_000_000, ..plain() };
    let mut pushing = Pushing::new(&config);
    pushing.records(Now(1), 600_000);
    let asked = pushing.service.consumers.values().find_map(|of| of.asked.as_ref()).unwrap();
    let subject = asked.subject.clone();
    assert_eq!(pushing.told(), (vec![], 0));
    assert_eq!(pushing.service.deadline(), None);
    pushing.receipted(subject.as_bytes());
    assert!(pushing.told().1 >= 600_000);
}
