//! Pull requests: attached to their group, and their records published to where they were asked for.

use super::{Jet, share};
use crate::jet::ack::AckSubject;
use crate::jet::api::Consumer;
use crate::jet::consumer::ConsumerConfig;
use crate::jet::pull::{Pull, Status, check_pull, parse_pull};
use crate::jet::stored::{FIRST_LINE, Message, put_block};
use crate::jet::time::short;
use crate::subject::is_subset;
use bytes::Bytes;
use stele_model::id::Now;
use stele_model::op::Op;
use stele_model::outcome::Outcome;
use stele_model::share::{self, PullEnd, PullWant, ShareDelivery, ShareNews, ShareRecords};
use stele_record::View;

/// A pull request that is not met.
#[derive(Debug)]
pub(super) struct Puller {
    reply: Bytes,
    stream: String,
    consumer: String,
    /// It asked for signs of life: then it hears of their end, and need not be told that it cannot wait.
    lively: bool,
    bounds_bytes: bool,
    /// Messages and, if they are bounded, bytes that may still come, as its client counts them: the group counts stored records.
    left: (u64, u64),
}

/// Nanoseconds that a client gave, in microseconds; `None`: it gave none.
fn us(nanos: i64) -> Option<u64> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(|nanos| nanos.div_ceil(1000))
}

fn want(pull: &Pull) -> PullWant {
    PullWant {
        count: u32::try_from(pull.batch.max(1)).unwrap_or(u32::MAX),
        bytes_max: u64::try_from(pull.max_bytes).ok().filter(|bytes| *bytes > 0),
        // A time in the past is over at once.
        expires_us: if pull.expires < 0 { Some(0) } else { us(pull.expires) },
        no_wait: pull.no_wait,
        heartbeat_us: us(pull.idle_heartbeat),
    }
}

impl Jet {
    pub(super) fn pull(&mut self, of: Consumer<'_>, is_beyond: bool, reply: &[u8], body: &[u8]) {
        if is_beyond {
            return self.desk.status(reply, &Status::new(412, "Required Api Level"));
        }
        // The group knows its own bounds; what is left is what no group here allows.
        let any = ConsumerConfig::default();
        match parse_pull(body).and_then(|pull| check_pull(&pull, &any).map(|()| pull)) {
            Ok(pull) => self.attach(of, reply, &pull),
            Err(status) => self.desk.status(reply, &status),
        }
    }

    pub(super) fn attach(&mut self, of: Consumer<'_>, reply: &[u8], pull: &Pull) {
        if reply.is_empty() {
            return;
        }
        // What was settled before it is settled first.
        self.flush_settles();
        let taker = self.numbers.next();
        let puller = Puller {
            reply: Bytes::copy_from_slice(reply),
            stream: of.stream.to_owned(),
            consumer: of.name.to_owned(),
            lively: pull.idle_heartbeat > 0,
            bounds_bytes: pull.max_bytes > 0,
            left: (pull.batch.max(1).unsigned_abs(), u64::try_from(pull.max_bytes).unwrap_or(0)),
        };
        self.pulls.insert(taker, puller);
        let op = Op::Pull(share::Pull {
            share: share(of.stream, of.name),
            taker,
            want: want(pull),
            heard_at: Some(Bytes::copy_from_slice(reply)),
        });
        self.desk.submit(taker, op);
    }

    /// The client does not listen to `filter` any more: its pulls that would be answered there end, unless it `hears` the answers otherwise.
    /// Else a record would be leased to nobody.
    pub fn unheard(&mut self, filter: &[u8], hears: impl Fn(&[u8]) -> bool) {
        let is_lost = |puller: &Puller| is_subset(&puller.reply, filter) && !hears(&puller.reply);
        let lost: Vec<u64> =
            self.pulls.iter().filter(|(_, puller)| is_lost(puller)).map(|(taker, _)| *taker).collect();
        for taker in lost {
            self.pulls.remove(&taker);
            let ticket = self.numbers.next();
            self.desk.submit(ticket, Op::Untake { taker });
        }
    }

    /// There is no such stream, or no grant for it: nobody answers there.
    pub(super) fn pull_refused(&mut self, taker: u64, outcome: &Outcome) {
        if let Outcome::Refused(_) = outcome
            && let Some(puller) = self.pulls.remove(&taker)
        {
            self.desk.status(&puller.reply, &Status::no_responders());
        }
    }

    /// Something for a pull of this client. False if it is for none.
    pub fn shared(&mut self, news: &ShareNews) -> bool {
        match news {
            ShareNews::Records(records) => self.records(records),
            ShareNews::Ended { taker, why } => self.pull_ended(*taker, *why),
            ShareNews::Idle { taker, delivered } => {
                let Some(puller) = self.pulls.get(taker) else { return false };
                let status = Status::heartbeat(delivered.sequence, delivered.next.0, None);
                self.desk.status(&puller.reply, &status);
                true
            }
            ShareNews::Event(_) | ShareNews::Abandoned(_) => false,
        }
    }

    fn records(&mut self, records: &ShareRecords) -> bool {
        let Some(puller) = self.pulls.get_mut(&records.taker) else { return false };
        let (mut block, mut reply) = (Vec::new(), Vec::new());
        for item in &records.items {
            let Ok(view) = View::parse(records.record(item)) else { continue };
            let headers_only = records.headers_only;
            let to = Named { stream: &puller.stream, consumer: &puller.consumer, headers_only };
            let message = render(to, item, &view, (&mut block, &mut reply));
            let names = message.subject.len() + message.reply.len();
            let bytes = (names + message.headers.len() + message.body.len()) as u64;
            let (messages_left, bytes_left) = puller.left;
            puller.left = (messages_left.saturating_sub(1), bytes_left.saturating_sub(bytes));
            self.desk.deliver(&puller.reply, &message);
        }
        true
    }

    /// The server stops: where each pull waits, and what it is told. None is left.
    pub fn stop(&mut self) -> impl Iterator<Item = (Bytes, Vec<u8>)> + use<> {
        std::mem::take(&mut self.pulls).into_values().map(|puller| {
            let (messages, bytes) = puller.left;
            (puller.reply, Status::shutdown(messages, bytes).block().into_bytes())
        })
    }

    fn pull_ended(&mut self, taker: u64, why: PullEnd) -> bool {
        let Some(puller) = self.pulls.remove(&taker) else { return false };
        // A client that is told the group's bytes would wait for those that it does not know of.
        let left = |left: share::PullLeft| (u64::from(left.count), puller.left.1);
        let status = match why {
            PullEnd::Complete { .. } => {
                let (messages, bytes) = puller.left;
                if !puller.bounds_bytes || bytes == 0 {
                    return true;
                }
                Status::batch_completed(messages, bytes)
            }
            PullEnd::NoRecords => Status::no_messages(),
            PullEnd::OthersWait => Status::new(408, "Requests Pending"),
            PullEnd::Expired { left: rest } => {
                let (messages, bytes) = left(rest);
                Status::timeout(messages, bytes)
            }
            PullEnd::TooLarge { left: rest } => {
                let (messages, bytes) = left(rest);
                Status::too_large(messages, bytes)
            }
            PullEnd::CountOver { max } => Status::new(409, format!("Exceeded MaxRequestBatch of {max}")),
            PullEnd::BytesOver { max } => Status::new(409, format!("Exceeded MaxRequestMaxBytes of {max}")),
            PullEnd::ExpiresOver { max_us } => {
                let nanos = i64::try_from(max_us.saturating_mul(1000)).unwrap_or(i64::MAX);
                Status::new(409, format!("Exceeded MaxRequestExpires of {}", short(nanos)))
            }
            PullEnd::WaitingOver if puller.lively => return true,
            PullEnd::Unheard => return true,
            PullEnd::WaitingOver => Status::max_waiting(),
            PullEnd::Unknown => Status::no_responders(),
            PullEnd::Gone => Status::deleted(),
            PullEnd::IsPush => Status::new(409, "Consumer is push based"),
        };
        self.desk.status(&puller.reply, &status);
        true
    }
}

/// Whose delivery it is, and how it is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::jet) struct Named<'a> {
    pub(in crate::jet) stream: &'a str,
    pub(in crate::jet) consumer: &'a str,
    /// Without its body.
    pub(in crate::jet) headers_only: bool,
}

/// A delivery as a message. `room`: where its header block and its reply subject are written.
pub(in crate::jet) fn render<'a>(
    to: Named<'_>,
    item: &ShareDelivery,
    view: &View<'a>,
    room: (&'a mut Vec<u8>, &'a mut Vec<u8>),
) -> Message<'a> {
    let (block, reply) = room;
    block.clear();
    put_block(view, block);
    let mut body = view.body();
    if to.headers_only {
        if block.is_empty() {
            block.extend_from_slice(FIRST_LINE);
        }
        block.extend_from_slice(format!("Nats-Msg-Size: {}\r\n", body.len()).as_bytes());
        body = &[];
    }
    if !block.is_empty() {
        block.extend_from_slice(b"\r\n");
    }
    let subject = AckSubject {
        stream: to.stream,
        consumer: to.consumer,
        delivered: u64::from(item.delivery),
        stream_seq: item.position.0 + 1,
        consumer_seq: item.sequence,
        stored_nanos: nanos(item.appended),
        pending: item.pending,
    };
    reply.clear();
    subject.put(reply);
    Message { subject: view.key(), reply, headers: block, body }
}

fn nanos(at: Now) -> i64 {
    i64::try_from(at.0.saturating_mul(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::session::Outbox;

    fn pull(jet: &mut Jet, reply: &[u8]) -> u64 {
        let mut out = Outbox::default();
        jet.attach(Consumer { stream: "S", name: "c" }, reply, &parse_pull(b"1").unwrap());
        jet.flush(&mut out);
        let [submit] = &out.submits[..] else { panic!("{:?}", out.submits) };
        let Op::Pull(pull) = &submit.op else { panic!("{submit:?}") };
        pull.taker
    }

    fn ended(jet: &mut Jet, filter: &[u8], still: &[u8]) -> Vec<u64> {
        let mut out = Outbox::default();
        jet.unheard(filter, |reply| is_subset(reply, still));
        jet.flush(&mut out);
        out.submits
            .iter()
            .map(|submit| if let Op::Untake { taker } = submit.op { taker } else { 0 })
            .collect()
    }

    #[test]
    fn what_a_pull_leaves_is_told_in_the_bytes_that_its_client_counts() {
        let status = |left: u64| {
            let mut jet = Jet::new(1);
            let mut out = Outbox::default();
            let pull = parse_pull(br#"{"batch":3,"max_bytes":1000}"#).unwrap();
            jet.attach(Consumer { stream: "S", name: "c" }, b"inbox", &pull);
            let taker = *jet.pulls.keys().next().unwrap();
            jet.pulls.get_mut(&taker).unwrap().left = (1, left);
            let why = PullEnd::Complete { left: share::PullLeft { count: 0, bytes: 0 } };
            assert!(jet.shared(&ShareNews::Ended { taker, why }));
            jet.flush(&mut out);
            let live = out.submits.iter().find_map(|submit| match &submit.op {
                Op::Live(batch) => Some(String::from_utf8_lossy(&batch.bytes).into_owned()),
                _ => None,
            });
            live.unwrap_or_default()
        };
        let told = status(400);
        assert!(told.contains("Nats-Pending-Messages: 1\r\nNats-Pending-Bytes: 400\r\n"), "{told}");
        assert_eq!(status(0), "");
    }

    #[test]
    fn a_pull_ends_with_the_last_subscription_to_its_answers_and_no_other_does() {
        let mut jet = Jet::new(1);
        let (one, other) = (pull(&mut jet, b"inbox.1"), pull(&mut jet, b"inbox.2"));
        assert_eq!(ended(&mut jet, b"inbox.3", b""), [0_u64; 0]);
        assert_eq!(ended(&mut jet, b"inbox.1", b"inbox.*"), [0_u64; 0]);
        assert_eq!(ended(&mut jet, b"inbox.1", b"inbox.2"), [one]);
        assert_eq!(ended(&mut jet, b"inbox.>", b""), [other]);
        assert_eq!(ended(&mut jet, b"inbox.>", b""), [0_u64; 0]);
    }
}
