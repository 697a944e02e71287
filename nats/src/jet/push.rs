//! Push consumers, advisories, and what streams publish again: a session without a socket, one for each namespace of a node.
//!
//! It listens to what happens to the shared groups of its namespace. A group that is read by push has a deliver subject; while somebody
//! listens to it, the session is attached to the group and publishes its records there, by the live path. What must hold: records of a
//! consumer are published in the order of their deliveries, and signs of life between them; what is under way to a consumer is bounded
//! ([`WINDOW_BYTES`]); with flow control the bound is given back by the listener's answers, else by its session, when what it owes its
//! client has left ([`stele_model::live::LiveBatch::receipt`]). Receipts can be lost with a session, so they are not waited for longer than
//! [`RECEIPT_MS_MAX`]; a listener that takes nothing for long is cut by its own connection's bounds.
//! Called by a driver that has no bytes for it: [`Session::receive`] is called once at the start and again after each other call.
//!
//! Not here: pull requests, acknowledgements ([`super::serve`]).

#[cfg(test)]
mod tests;

use super::advisory::{self, Action, Advisory, Delivered};
use super::consumer::ConsumerConfig;
use super::outgoing::Outgoing;
use super::pull::Status;
use super::republish;
use super::serve::{Named, render};
use super::settings;
use super::time::Time;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use stele_model::id::{Now, Ticket};
use stele_model::live::{Interest, LiveHit, LiveSubscribe, LiveView};
use stele_model::op::{Op, StreamsWanted, Submit};
use stele_model::outcome::{Deliveries, Done, Outcome, Wake};
use stele_model::session::{Outbox, Principal, Rejected, Session};
use stele_model::share::{
    Push, ShareAnswer, ShareEvent, ShareHappened, ShareInfo, ShareNews, ShareRecords, ShareRef, ShareRequest,
    ShareVerb, TakerCredit,
};
use stele_model::stream::echo::Echoes;
use stele_model::stream::records::{Abandoned, BundleAbandoned};
use stele_model::stream::{PartitionRef, StreamRef};
use stele_record::View;

/// Bytes under way to one consumer's listeners.
pub const WINDOW_BYTES: u64 = 2 << 20;
/// After how many of them an answer is asked for, unless one is on its way: few, so that the window moves on while most of it is still
/// under way.
const ASK_BYTES: u64 = WINDOW_BYTES / 8;
/// Longest wait for a receipt, milliseconds.
const RECEIPT_MS_MAX: u64 = 5_000;
/// How many consumers are told of at once.
const PAGE: u32 = 256;
/// Why a delivery is over whose message is gone, in nats-server's words.
const LOST: &str = "Unacknowledged message was deleted";
/// Where answers to flow control go.
const FLOW_PREFIX: &str = "$JS.FC.";
/// The session's own subscription.
const FLOW_SUBSCRIPTION: u32 = 0;

/// A consumer: its stream, and its name.
type Key = (String, String);

/// The service of one namespace.
#[derive(Debug)]
pub struct PushService {
    namespace: String,
    last: u64,
    tickets: BTreeMap<u64, Asked>,
    consumers: BTreeMap<Key, PushConsumer>,
    /// Whose deliver subject is watched under which number.
    watches: BTreeMap<u32, Key>,
    takers: BTreeMap<u64, Key>,
    last_watch: u32,
    /// Changes of interest that wait for the next [`Session::receive`].
    interest: Vec<Interest>,
    outgoing: Outgoing,
    /// What streams publish again.
    again: Outgoing,
    credits: Vec<TakerCredit>,
    /// Where the batch at hand is to be receipted.
    receipt: Option<Bytes>,
    /// Until when receipts are waited for, in order: by the numbers of the consumer's watch and of the answer.
    overdue: VecDeque<(Now, u32, u64)>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Opening,
    Open,
}

/// What the hub was asked.
#[derive(Debug)]
enum Asked {
    Open,
    Streams,
    /// A page of a stream's consumers, from this one on.
    Page(String, u64),
    Consumer(Key),
    Attach(u64),
}

/// A consumer that pushes.
#[derive(Debug)]
struct PushConsumer {
    config: ConsumerConfig,
    watch: u32,
    /// Attached under this number.
    taker: Option<u64>,
    /// Bytes that were published since an answer was last asked for.
    unasked: u64,
    /// The answer that is waited for.
    asked: Option<Answer>,
}

/// An answer or receipt of a listener.
#[derive(Debug)]
struct Answer {
    /// Its number, by which it differs from all others.
    number: u64,
    /// Where it is published.
    subject: String,
    /// The bytes that it gives back.
    bytes: u64,
}

impl PushService {
    /// For a namespace.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            last: 0,
            tickets: BTreeMap::new(),
            consumers: BTreeMap::new(),
            watches: BTreeMap::new(),
            takers: BTreeMap::new(),
            last_watch: 0,
            interest: Vec::new(),
            outgoing: Outgoing::default(),
            again: Outgoing::default(),
            credits: Vec::new(),
            receipt: None,
            overdue: VecDeque::new(),
            phase: Phase::New,
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn ask(&mut self, asked: Asked, op: Op, out: &mut Outbox) {
        let ticket = self.number();
        self.tickets.insert(ticket, asked);
        out.submits.push(Submit { ticket: Ticket(ticket), lane: 0, op });
    }

    fn tell(&mut self, op: Op, out: &mut Outbox) {
        let ticket = Ticket(self.number());
        out.submits.push(Submit { ticket, lane: 0, op });
    }

    fn begin(&mut self, out: &mut Outbox) {
        self.phase = Phase::Open;
        self.tell(Op::ShareListen { on: true }, out);
        self.ask(Asked::Streams, Op::Streams(StreamsWanted::All), out);
        self.interest.push(Interest::Subscribe(LiveSubscribe {
            subscription: FLOW_SUBSCRIPTION,
            filter: Bytes::from(format!("{FLOW_PREFIX}>")),
            group: None,
        }));
    }

    fn ask_page(&mut self, stream: String, offset: u64, out: &mut Outbox) {
        let op = Op::Shares { of: partition(&stream), offset, count_max: PAGE };
        self.ask(Asked::Page(stream, offset), op, out);
    }

    fn ask_consumer(&mut self, key: Key, out: &mut Outbox) {
        let request = ShareRequest { share: share(&key), verb: ShareVerb::Info };
        self.ask(Asked::Consumer(key), Op::Share(request), out);
    }

    fn answered(&mut self, asked: Asked, outcome: Outcome, out: &mut Outbox) {
        match (asked, outcome) {
            (Asked::Open, Outcome::Done(_)) => self.begin(out),
            (Asked::Streams, Outcome::Done(Done::Streams(streams))) => {
                for info in streams.into_iter().flatten() {
                    if info.settings.records.is_some() {
                        self.ask_page(info.name.clone(), 0, out);
                    }
                }
            }
            (
                Asked::Page(stream, offset),
                Outcome::Done(Done::Share(Ok(ShareAnswer::Listed { groups, total }))),
            ) => {
                let next = offset + groups.len() as u64;
                if !groups.is_empty() && next < total {
                    self.ask_page(stream.clone(), next, out);
                }
                for info in groups {
                    self.put((stream.clone(), info.group.clone()), &info, out);
                }
            }
            (Asked::Consumer(key), Outcome::Done(Done::Share(Ok(ShareAnswer::Info(info))))) => {
                self.put(key, &info, out);
            }
            (Asked::Consumer(key), _) => self.remove(&key, out),
            (Asked::Attach(taker), Outcome::Refused(_) | Outcome::Done(Done::Share(Err(_)))) => {
                self.detached(taker);
            }
            // A namespace or stream that is gone has no consumers.
            _ => {}
        }
    }

    /// A consumer is there like this.
    fn put(&mut self, key: Key, info: &ShareInfo, out: &mut Outbox) {
        let config = settings::consumer_config(info);
        if !config.is_push() {
            return;
        }
        let moved =
            self.consumers.get(&key).is_some_and(|old| old.config.deliver_subject != config.deliver_subject);
        if moved {
            self.remove(&key, out);
        }
        if let Some(old) = self.consumers.get_mut(&key) {
            old.config = config;
            return;
        }
        self.last_watch += 1;
        let watch = self.last_watch;
        let subject = Bytes::from(config.deliver_subject.clone());
        self.interest.push(Interest::Watch { watch, subject });
        self.watches.insert(watch, key.clone());
        self.consumers.insert(key, PushConsumer { config, watch, taker: None, unasked: 0, asked: None });
    }

    /// A consumer is gone.
    fn remove(&mut self, key: &Key, out: &mut Outbox) {
        let Some(consumer) = self.consumers.remove(key) else { return };
        self.watches.remove(&consumer.watch);
        self.interest.push(Interest::Unwatch { watch: consumer.watch });
        if let Some(taker) = consumer.taker {
            self.takers.remove(&taker);
            self.tell(Op::Untake { taker }, out);
        }
    }

    fn detached(&mut self, taker: u64) {
        let consumer = self.takers.remove(&taker).and_then(|key| self.consumers.get_mut(&key));
        if let Some(consumer) = consumer {
            consumer.taker = None;
        }
    }

    /// Somebody listens to a deliver subject now, or nobody does any more.
    fn listened(&mut self, watch: u32, is_there: bool, out: &mut Outbox) {
        let Some(key) = self.watches.get(&watch).cloned() else { return };
        let number = self.number();
        let Some(consumer) = self.consumers.get_mut(&key) else { return };
        match (is_there, consumer.taker) {
            (true, None) => {
                (consumer.taker, consumer.unasked, consumer.asked) = (Some(number), 0, None);
                self.takers.insert(number, key.clone());
                let push = Push { share: share(&key), taker: number, bytes_max: WINDOW_BYTES };
                self.ask(Asked::Attach(number), Op::Push(push), out);
            }
            (false, Some(taker)) => {
                consumer.taker = None;
                self.takers.remove(&taker);
                self.tell(Op::Untake { taker }, out);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn records(&mut self, now: Now, records: &ShareRecords) {
        let number = self.number();
        let Some(key) = self.takers.get(&records.taker) else { return };
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let to = consumer.config.deliver_subject.as_bytes();
        let (mut block, mut reply, mut bytes) = (Vec::new(), Vec::new(), 0);
        for item in &records.items {
            bytes += u64::from(item.len);
            let Ok(view) = View::parse(records.record(item)) else { continue };
            let named = Named { stream: &key.0, consumer: &key.1, headers_only: records.headers_only };
            let message = render(named, item, &view, (&mut block, &mut reply));
            let parts = (message.headers, message.body);
            self.outgoing.put_as(message.subject, (to, message.reply), parts);
        }
        consumer.unasked += bytes;
        if consumer.unasked < ASK_BYTES || consumer.asked.is_some() {
            return;
        }
        let subject = format!("{FLOW_PREFIX}{}.{}.{number}", key.0, key.1);
        if consumer.config.flow_control {
            let block = Status::flow_control().block();
            let parts = (block.as_bytes(), &b""[..]);
            self.outgoing.put((to, subject.as_bytes()), parts);
        } else {
            self.receipt = Some(Bytes::copy_from_slice(subject.as_bytes()));
            self.overdue.push_back((now.plus_ms(RECEIPT_MS_MAX), consumer.watch, number));
        }
        let bytes = std::mem::take(&mut consumer.unasked);
        consumer.asked = Some(Answer { number, subject, bytes });
    }

    /// A listener has come to where it was asked to answer.
    fn flow_answered(&mut self, subject: &[u8]) {
        let Ok(subject) = std::str::from_utf8(subject) else { return };
        let mut tokens = subject.strip_prefix(FLOW_PREFIX).unwrap_or_default().split('.');
        let (Some(stream), Some(name)) = (tokens.next(), tokens.next()) else { return };
        let Some(consumer) = self.consumers.get_mut(&(stream.to_owned(), name.to_owned())) else { return };
        if let Some(answer) = consumer.asked.take_if(|answer| answer.subject == subject)
            && let Some(taker) = consumer.taker
        {
            self.credits.push(TakerCredit { taker, bytes: answer.bytes });
        }
        self.forget_answered();
    }

    /// The consumer whose answer of this number is waited for.
    fn waiting(&mut self, watch: u32, number: u64) -> Option<&mut PushConsumer> {
        let consumer = self.consumers.get_mut(self.watches.get(&watch)?)?;
        consumer.asked.as_ref().is_some_and(|answer| answer.number == number).then_some(consumer)
    }

    /// What has come need not be waited for.
    fn forget_answered(&mut self) {
        while let Some(&(_, watch, number)) = self.overdue.front()
            && self.waiting(watch, number).is_none()
        {
            self.overdue.pop_front();
        }
    }

    /// Receipts that have not come: their sessions are gone, or as good as that.
    fn go_on_without(&mut self, now: Now) {
        while let Some((_, watch, number)) = self.overdue.pop_front_if(|(due, ..)| *due <= now) {
            let Some(consumer) = self.waiting(watch, number) else { continue };
            if let Some((answer, taker)) = consumer.asked.take().zip(consumer.taker) {
                self.credits.push(TakerCredit { taker, bytes: answer.bytes });
            }
        }
        self.forget_answered();
    }

    /// Records were stored by a stream that publishes them again.
    fn stored(&mut self, echoes: &Echoes) {
        let mut block = Vec::new();
        for (record, of) in echoes.records.iter().zip(&echoes.items) {
            let Ok(view) = View::parse(record) else { continue };
            let Some((subject, body)) = republish::message(&echoes.partition, &view, of, &mut block) else {
                continue;
            };
            self.again.put((&subject, b""), (&block, body));
        }
    }

    /// Nothing came for a while.
    fn idle(&mut self, taker: u64, consumer_seq: u64, stream_seq: u64) {
        let consumer = self.takers.get(&taker).and_then(|key| self.consumers.get(key));
        let Some(consumer) = consumer else { return };
        let stalled = consumer.asked.as_ref().map(|answer| answer.subject.clone());
        let block = Status::heartbeat(consumer_seq, stream_seq, stalled).block();
        let to = (consumer.config.deliver_subject.as_bytes(), &b""[..]);
        self.outgoing.put(to, (block.as_bytes(), b""));
    }

    fn happened(&mut self, event: &ShareHappened, out: &mut Outbox) {
        let key: Key = (event.partition.stream.clone(), event.group.to_string());
        match event.what {
            ShareEvent::Created | ShareEvent::Updated => self.ask_consumer(key.clone(), out),
            ShareEvent::Deleted => self.remove(&key, out),
            ShareEvent::Paused { .. }
            | ShareEvent::Exhausted { .. }
            | ShareEvent::Terminated { .. }
            | ShareEvent::Accepted { .. }
            | ShareEvent::Lost { .. }
            | ShareEvent::Released { .. } => {}
        }
        self.advise(&key.0, &key.1, event.at, told(&event.what));
    }

    /// A batch was abandoned.
    fn abandoned(&mut self, of: &BundleAbandoned) {
        let reason = match of.why {
            Abandoned::Timeout => "timeout",
            Abandoned::TooLarge => "large",
            Abandoned::Incomplete => "incomplete",
            Abandoned::Unsupported => "unsupported",
        };
        let batch = String::from_utf8_lossy(&of.bundle).into_owned();
        let event = advisory::Event::BatchAbandoned { batch, reason };
        self.advise(&of.partition.stream, "", of.at, event);
    }

    fn advise(&mut self, stream: &str, consumer: &str, at: Now, event: advisory::Event) {
        let id = format!("{:x}.{:x}", at.0, self.number());
        let advisory = Advisory { stream, consumer, id, at: Time::from(at), event };
        let (subject, body) = (advisory.subject(), advisory.body());
        self.outgoing.put((subject.as_bytes(), b""), (b"", &body));
    }

    /// Hands over what has come together.
    fn flush(&mut self, out: &mut Outbox) {
        if !self.outgoing.is_empty() {
            let receipt = self.receipt.take();
            let op = self.outgoing.take(receipt);
            self.tell(op, out);
        }
        if !self.again.is_empty() {
            let op = self.again.take_to_store();
            self.tell(op, out);
        }
        let credits = std::mem::take(&mut self.credits);
        if !credits.is_empty() {
            self.tell(Op::TakerCredit(credits), out);
        }
    }
}

/// An event in the words of advisories.
fn told(what: &ShareEvent) -> advisory::Event {
    let message = |position: stele_model::id::Position, consumer_seq: u64, deliveries: u32| Delivered {
        stream_seq: position.0 + 1,
        consumer_seq,
        deliveries: u64::from(deliveries),
    };
    match what {
        ShareEvent::Created => advisory::Event::Consumer(Action::Create),
        ShareEvent::Updated => advisory::Event::Consumer(Action::Modify),
        ShareEvent::Deleted => advisory::Event::Consumer(Action::Delete),
        ShareEvent::Paused { until } => advisory::Event::Paused { until: until.map(Time::from) },
        ShareEvent::Exhausted { position, deliveries } => {
            advisory::Event::MaxDeliveries(message(*position, 0, *deliveries))
        }
        ShareEvent::Terminated { position, sequence, deliveries, reason } => advisory::Event::Terminated {
            message: message(*position, *sequence, *deliveries),
            reason: reason.clone(),
        },
        ShareEvent::Lost { position, sequence, deliveries } => advisory::Event::Terminated {
            message: message(*position, *sequence, *deliveries),
            reason: LOST.to_owned(),
        },
        ShareEvent::Accepted { position, sequence, deliveries, took_us } => advisory::Event::Acknowledged {
            message: message(*position, *sequence, *deliveries),
            took_nanos: took_us * 1000,
        },
        ShareEvent::Released { position, sequence, deliveries } => {
            advisory::Event::Naked(message(*position, *sequence, *deliveries))
        }
    }
}

fn partition(stream: &str) -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(stream.to_owned()), index: 0 }
}

fn share((stream, group): &Key) -> ShareRef {
    ShareRef { of: partition(stream), group: group.clone() }
}

impl Session for PushService {
    fn receive(&mut self, _: Now, input: &[u8], out: &mut Outbox) -> usize {
        if self.phase == Phase::New {
            self.phase = Phase::Opening;
            let namespace = self.namespace.clone();
            self.ask(Asked::Open, Op::Open { namespace }, out);
        }
        out.live.interest.extend(self.interest.drain(..).map(|change| (0, change)));
        input.len()
    }

    fn complete(&mut self, _: Now, ticket: Ticket, outcome: Outcome, out: &mut Outbox) {
        if let Some(asked) = self.tickets.remove(&ticket.0) {
            self.answered(asked, outcome, out);
        }
        self.flush(out);
    }

    fn authenticated(&mut self, _: Now, _: Result<Principal, Rejected>, _: &mut Outbox) {}

    fn deliver(&mut self, _: Now, _: &Deliveries, _: &mut Outbox) {
        unreachable!("the service subscribes to no queue");
    }

    fn live(&mut self, _: Now, view: LiveView<'_>, hits: &[LiveHit], out: &mut Outbox) {
        for hit in hits {
            if let Some(item) = view.item(hit.item()) {
                self.flow_answered(view.slice(item.subject()));
            }
        }
        self.flush(out);
    }

    fn wake(&mut self, now: Now, what: Wake, out: &mut Outbox) {
        match what {
            Wake::Interest { watch, is_there } => self.listened(watch, is_there, out),
            Wake::Shared(news) => match *news {
                ShareNews::Records(records) => self.records(now, &records),
                ShareNews::Idle { taker, delivered } => {
                    self.idle(taker, delivered.sequence, delivered.next.0);
                }
                ShareNews::Ended { taker, .. } => self.detached(taker),
                ShareNews::Event(event) => self.happened(&event, out),
                ShareNews::Abandoned(of) => self.abandoned(&of),
            },
            Wake::Echo(echoes) => self.stored(&echoes),
            Wake::Cancelled { .. }
            | Wake::Appended { .. }
            | Wake::Blocked(_)
            | Wake::Unblocked
            | Wake::Leaving
            | Wake::Close(_)
            | Wake::Drained => {}
        }
        self.flush(out);
    }

    fn deadline(&self) -> Option<Now> {
        self.overdue.front().map(|(due, ..)| *due)
    }

    fn expire(&mut self, now: Now, out: &mut Outbox) {
        self.go_on_without(now);
        self.flush(out);
    }

    fn client(&self) -> &str {
        "push consumers"
    }
}
