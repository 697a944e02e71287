//! JetStream as a session serves it: requests, acknowledgements and publishes of its client become operations, and what comes back
//! becomes messages to the reply subjects, by the live path.
//!
//! A request of the API is a function of its message and of what the hub has said so far (as in the Kafka dialect): it says what to ask
//! next, or its answer ([`Step`]). Nothing is kept of a stream or consumer here, so nothing has to be kept in step.
//! Called by the session for messages to `$JS.API.>` and `$JS.ACK.>`, for messages that streams may capture, and for the hub's answers to its
//! own tickets ([`Jet::is_mine`]). What must hold: every request with a reply subject is answered once; settles leave in the order
//! of the acknowledgements.
//!
//! Not here: who may publish where (the session), push consumers ([`super::push`]).

mod account;
mod acks;
mod consumers;
mod messages;
mod publishes;
mod pulls;
mod streams;

use super::ack;
use super::advisory::{Action, Advisory, Event};
use super::api::{self, Api};
use super::audit::{self, Asked, Client, Listening};
use super::error::{ApiError, Code};
use super::limits::Limits;
use super::outgoing::Outgoing;
use super::publish::header;
use super::pull::Status;
use super::refuse::refused;
use super::reply;
use super::stored::Message;
use super::time::Time;
use super::versions;
use bytes::Bytes;
use pulls::Puller;
pub(super) use pulls::{Named, render};
use serde::Serialize;
use std::collections::BTreeMap;
use stele_model::id::{Now, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Done, Outcome};
use stele_model::session::Outbox;
use stele_model::share::{ShareRef, ShareSettle, ShareSettles};
use stele_model::stream::{PartitionRef, StreamRef};

/// Tickets from here on are JetStream's; the session's own are below.
const FIRST_TICKET: u64 = 1 << 63;

/// What is open for one client.
#[derive(Debug)]
pub struct Jet {
    numbers: Numbers,
    /// Requests that wait for the hub, by a number of their own.
    asking: BTreeMap<u64, Asking>,
    /// What the hub was asked: for which request, and as which part of it.
    parts: BTreeMap<u64, (u64, usize)>,
    /// Pull requests that are not met, by the number of their taker, which is that of their ticket.
    pulls: BTreeMap<u64, Puller>,
    /// Acknowledgements that are to be acknowledged: where to.
    settling: BTreeMap<u64, Bytes>,
    counts: Counts,
    limits: Limits,
    /// The server's name.
    server: String,
    /// Who the client is, once it has asked for something; `None`: nobody hears what is asked.
    client: Option<Box<Client>>,
    listening: Listening,
    desk: Desk,
}

/// Numbers and names that are never the same twice.
#[derive(Debug)]
struct Numbers {
    seed: u64,
    last: u64,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.last += 1;
        FIRST_TICKET + self.last
    }

    /// A name for a consumer that has none: eight letters or digits.
    fn name(&mut self) -> String {
        const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut mixed = mix(self.seed ^ mix(self.next()));
        let mut letter = || {
            let at = usize::try_from(mixed % 62).unwrap_or(0);
            mixed /= 62;
            char::from(LETTERS[at])
        };
        (0..8).map(|_| letter()).collect()
    }
}

/// A number that looks nothing like the one before (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What was asked of the API.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    total: u64,
    errors: u64,
}

/// A request and what was asked for it.
#[derive(Debug)]
struct Asking {
    request: Request,
    /// Answers to earlier questions, one list for each time it asked.
    stages: Vec<Vec<Outcome>>,
    parts: Vec<Option<Outcome>>,
    missing: usize,
}

/// A request, kept until it is answered.
#[derive(Clone, Debug)]
struct Request {
    subject: String,
    reply: Bytes,
    body: Bytes,
    is_beyond: bool,
    /// How many the client had sent before it.
    before: u64,
}

/// What is to be done next for a request.
enum Step {
    /// Ask all of this, and come back with the answers. Not empty.
    Ask(Vec<Op>),
    /// JSON.
    Json(Vec<u8>),
    /// A message: header block, and body.
    Message(Vec<u8>, Bytes),
    /// Several messages, and the status that ends them.
    Messages(Vec<(Vec<u8>, Bytes)>, Status),
    /// A status.
    Status(Status),
}

/// What a request's function may know.
struct Call<'a> {
    now: Now,
    api: &'a Api<'a>,
    body: &'a [u8],
    stages: &'a [Vec<Outcome>],
    counts: Counts,
    limits: Limits,
    server: &'a str,
}

type Stepped = Result<Step, ApiError>;

impl Call<'_> {
    /// An answer.
    fn done<T: Serialize>(&self, content: T) -> Stepped {
        Ok(Step::Json(reply::answer(self.api, &Ok(content))))
    }

    /// The answers of one stage; empty if it was not asked yet.
    fn stage(&self, n: usize) -> &[Outcome] {
        self.stages.get(n).map_or(&[], Vec::as_slice)
    }

    /// The only answer of one stage.
    fn answer(&self, n: usize) -> Option<Result<&Done, ApiError>> {
        self.stage(n).first().map(done)
    }
}

/// What was done, or why not.
fn done(outcome: &Outcome) -> Result<&Done, ApiError> {
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::Refused(refusal) => Err(refused(refusal)),
        Outcome::LaneFailed { refusal, .. } => Err(refused(refusal)),
        Outcome::Published(_) => unreachable!("a request publishes nothing: {outcome:?}"),
    }
}

fn partition(stream: &str) -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(stream.to_owned()), index: 0 }
}

fn share(stream: &str, consumer: &str) -> ShareRef {
    ShareRef { of: partition(stream), group: consumer.to_owned() }
}

/// What leaves at the end of a call.
#[derive(Debug, Default)]
struct Desk {
    submits: Vec<Submit>,
    outgoing: Outgoing,
    settles: Vec<ShareSettle>,
}

impl Desk {
    fn submit(&mut self, ticket: u64, op: Op) {
        self.submits.push(Submit { ticket: Ticket(ticket), lane: 0, op });
    }

    /// Publishes a message to where an answer is expected.
    fn say(&mut self, to: &[u8], headers: &[u8], body: &[u8]) {
        if !to.is_empty() {
            self.outgoing.put((to, b""), (headers, body));
        }
    }

    /// The same for a message that was stored: it is shown with its own subject.
    fn deliver(&mut self, to: &[u8], message: &Message<'_>) {
        let Message { subject, reply, headers, body } = *message;
        self.outgoing.put_as(subject, (to, reply), (headers, body));
    }

    fn status(&mut self, to: &[u8], status: &Status) {
        self.say(to, status.block().as_bytes(), b"");
    }

    fn flush(&mut self, out: &mut Outbox, ticket: u64) {
        out.submits.append(&mut self.submits);
        if !self.outgoing.is_empty() {
            let op = self.outgoing.take(None);
            out.submits.push(Submit { ticket: Ticket(ticket), lane: 0, op });
        }
    }
}

impl Jet {
    /// For a client that has just come. `seed` must be random: names are made of it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            numbers: Numbers { seed, last: 0 },
            asking: BTreeMap::new(),
            parts: BTreeMap::new(),
            pulls: BTreeMap::new(),
            settling: BTreeMap::new(),
            counts: Counts::default(),
            limits: Limits::default(),
            server: String::new(),
            client: None,
            listening: Listening::default(),
            desk: Desk::default(),
        }
    }

    /// What the client's account may have, and what the server is called, once that is known. It may be another account than before.
    pub fn admit(&mut self, limits: Limits, server: &str) {
        self.limits = limits;
        server.clone_into(&mut self.server);
        self.client = None;
        self.listening.moves();
    }

    /// Whether it does not know who asks.
    #[must_use]
    pub fn is_strange(&self) -> bool {
        self.client.is_none()
    }

    /// Who asks.
    pub fn introduce(&mut self, client: Client) {
        self.client = Some(Box::new(client));
    }

    /// Somebody listens to what is asked of the API, or nobody does any more.
    pub fn listened(&mut self, is_there: bool) {
        self.listening.seen(is_there);
    }

    /// Whether a message to this subject is a request or an acknowledgement, which only [`Self::receive`] sees.
    #[must_use]
    pub fn takes(subject: &[u8]) -> bool {
        subject.starts_with(api::PREFIX.as_bytes()) || subject.starts_with(ack::PREFIX.as_bytes())
    }

    /// Whether the answer with this ticket is for [`Self::complete`].
    #[must_use]
    pub fn is_mine(ticket: Ticket) -> bool {
        ticket.0 >= FIRST_TICKET
    }

    /// How many requests and batches wait for the hub: the session bounds them by not reading.
    #[must_use]
    pub fn open(&self) -> usize {
        self.asking.len() + self.settling.len()
    }

    /// A message for which [`Self::takes`] is true.
    pub fn receive(&mut self, now: Now, message: &Message<'_>) {
        let Ok(subject) = std::str::from_utf8(message.subject) else { return };
        if subject.starts_with(ack::PREFIX) {
            return self.acknowledge(subject, message);
        }
        let Some(api) = Api::parse(subject) else { return };
        let is_beyond = versions::is_beyond(header(message.headers, "Nats-Required-Api-Level"));
        if let Api::Next(consumer) = api {
            return self.pull(consumer, is_beyond, message.reply, message.body);
        }
        self.counts.total += 1;
        if self.client.is_some() {
            self.listening.asked();
        }
        let request = Request {
            subject: subject.to_owned(),
            reply: Bytes::copy_from_slice(message.reply),
            body: Bytes::copy_from_slice(message.body),
            is_beyond,
            before: self.counts.total - 1,
        };
        let number = self.numbers.next();
        self.advance(now, number, request, Vec::new());
    }

    /// Takes a request a step on.
    fn advance(&mut self, now: Now, number: u64, request: Request, stages: Vec<Vec<Outcome>>) {
        let Some(api) = Api::parse(&request.subject) else { return };
        let call = Call {
            now,
            api: &api,
            body: &request.body,
            stages: &stages,
            counts: Counts { total: request.before, ..self.counts },
            limits: self.limits,
            server: &self.server,
        };
        let step = match api {
            Api::DirectGet { .. } if request.is_beyond => {
                Ok(Step::Status(Status::new(412, "Required Api Level")))
            }
            Api::DirectGet { .. } if !self.limits.is_enabled => Ok(Step::Status(Status::no_responders())),
            _ if !self.limits.is_enabled => Err(Code::NotEnabledForAccount.error()),
            _ if request.is_beyond => Err(Code::RequiredApiLevel.error()),
            _ => step(&call, &mut self.numbers),
        };
        match step {
            Ok(Step::Ask(ops)) => {
                assert!(!ops.is_empty(), "who asks nothing has the answer");
                for (part, op) in ops.iter().cloned().enumerate() {
                    let ticket = self.numbers.next();
                    self.parts.insert(ticket, (number, part));
                    self.desk.submit(ticket, op);
                }
                let (parts, missing) = (ops.iter().map(|_| None).collect(), ops.len());
                self.asking.insert(number, Asking { request, stages, parts, missing });
            }
            Ok(Step::Json(body)) => {
                self.desk.say(&request.reply, b"", &body);
                self.audit(now, &api, &request, (&body, false));
                if let Some((stream, action)) = changed(&api, &stages) {
                    self.advise(now, stream, action);
                }
            }
            Ok(Step::Message(headers, body)) => self.desk.say(&request.reply, &headers, &body),
            Ok(Step::Messages(messages, end)) => {
                for (headers, body) in messages {
                    self.desk.say(&request.reply, &headers, &body);
                }
                self.desk.status(&request.reply, &end);
            }
            Ok(Step::Status(status)) => self.desk.status(&request.reply, &status),
            Err(error) => {
                self.counts.errors += 1;
                let body = reply::answer(&api, &Err::<(), _>(error));
                self.desk.say(&request.reply, b"", &body);
                self.audit(now, &api, &request, (&body, true));
            }
        }
    }

    /// Tells whoever listens what was asked and answered.
    fn audit(&mut self, now: Now, api: &Api<'_>, request: &Request, (response, refused): (&[u8], bool)) {
        let Some(client) = self.client.as_ref().filter(|_| self.listening.perhaps()) else { return };
        if audit::is_told(api, refused) {
            let id = self.numbers.name();
            let asked = Asked { subject: &request.subject, request: &request.body, response };
            let body = client.body(&id, Time::from(now), &asked);
            self.desk.say(audit::SUBJECT.as_bytes(), b"", &body);
        }
    }

    /// Tells whoever listens what became of a stream.
    fn advise(&mut self, now: Now, stream: &str, action: Action) {
        let (id, at, event) = (self.numbers.name(), Time::from(now), Event::Stream(action));
        let advisory = Advisory { stream, consumer: "", id, at, event };
        self.desk.say(advisory.subject().as_bytes(), b"", &advisory.body());
    }

    /// The hub's answer to a ticket for which [`Self::is_mine`] is true.
    pub fn complete(&mut self, now: Now, ticket: Ticket, outcome: Outcome) {
        let ticket = ticket.0;
        if let Some((number, part)) = self.parts.remove(&ticket) {
            self.heard(now, number, part, outcome);
        } else if let Some(reply) = self.settling.remove(&ticket) {
            // An acknowledgement that came too late is answered, too: its sender has nothing more to do.
            self.desk.say(&reply, b"", b"");
        } else if self.pulls.contains_key(&ticket) {
            self.pull_refused(ticket, &outcome);
        } else if let Outcome::Published(published) = outcome {
            self.published(&published);
        }
    }

    fn heard(&mut self, now: Now, number: u64, part: usize, outcome: Outcome) {
        let Some(asking) = self.asking.get_mut(&number) else { return };
        let place = asking.parts.get_mut(part).expect("the ticket names a part");
        assert!(place.replace(outcome).is_none(), "a part is answered once");
        asking.missing -= 1;
        if asking.missing > 0 {
            return;
        }
        let Some(Asking { request, mut stages, parts, .. }) = self.asking.remove(&number) else { return };
        stages.push(parts.into_iter().flatten().collect());
        self.advance(now, number, request, stages);
    }

    /// Hands over what has come together since the last time.
    pub fn flush(&mut self, out: &mut Outbox) {
        self.flush_settles();
        let items = out.live.items.len() as u32;
        out.live.interest.extend(self.listening.take_changes().map(|change| (items, change)));
        let ticket = self.numbers.next();
        self.desk.flush(out, ticket);
    }

    fn flush_settles(&mut self) {
        let settles = std::mem::take(&mut self.desk.settles);
        if !settles.is_empty() {
            let ticket = self.numbers.next();
            self.desk.submit(ticket, Op::SettleShares(ShareSettles { settles, awaited: false }));
        }
    }
}

/// The stream that a request has changed, if it was answered without an error after these stages.
fn changed<'a>(api: &Api<'a>, stages: &[Vec<Outcome>]) -> Option<(&'a str, Action)> {
    match *api {
        Api::StreamCreate(name) => {
            // One that was there already was only looked at.
            let is_new = !matches!(stages.get(1)?.first()?, Outcome::Done(Done::Records(_)));
            is_new.then_some((name, Action::Create))
        }
        Api::StreamUpdate(name) => Some((name, Action::Modify)),
        Api::StreamDelete(name) => Some((name, Action::Delete)),
        _ => None,
    }
}

/// Which request is whose.
fn step(call: &Call<'_>, numbers: &mut Numbers) -> Stepped {
    match *call.api {
        Api::Info => account::info(call),
        Api::StreamCreate(name) => streams::create(call, name),
        Api::StreamUpdate(name) => streams::update(call, name),
        Api::StreamNames => streams::names(call),
        Api::StreamList => streams::list(call),
        Api::StreamInfo(name) => streams::info(call, name),
        Api::StreamDelete(name) => streams::delete(call, name),
        Api::StreamPurge(name) => streams::purge(call, name),
        Api::MessageGet(name) => messages::get(call, name),
        Api::MessageDelete(name) => messages::delete(call, name),
        Api::DirectGet { stream, subject } => Ok(messages::direct(call, stream, subject)),
        Api::ConsumerCreate(named) => consumers::create(call, named, numbers),
        Api::ConsumerNames(stream) => consumers::names(call, stream),
        Api::ConsumerList(stream) => consumers::list(call, stream),
        Api::ConsumerInfo(of) => consumers::info(call, of),
        Api::ConsumerDelete(of) => consumers::delete(call, of),
        Api::ConsumerPause(of) => consumers::pause(call, of),
        Api::ConsumerUnpin(of) => consumers::unpin(call, of),
        Api::ConsumerReset(of) => consumers::reset(call, of),
        Api::StreamSnapshot(_) => Err(Code::StreamSnapshot.with("not supported by this server")),
        Api::StreamRestore(_) => Err(Code::StreamRestore.with("not supported by this server")),
        Api::Cluster(_) => Err(Code::ClusterRequired.error()),
        Api::Unknown => Err(Code::BadRequest.error()),
        Api::Next(_) => unreachable!("pull requests do not come here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jet::stream::StreamConfig;
    use crate::jet::{settings, stream_check};
    use std::sync::Arc;
    use stele_model::stream::{StreamInfo, StreamUuid};

    /// Where the last call of `jet` published to, and the ticket of the last question that it asked.
    fn said(jet: &mut Jet) -> (Vec<String>, Option<Ticket>) {
        let (mut out, mut subjects, mut asked) = (Outbox::default(), Vec::new(), None);
        jet.flush(&mut out);
        for Submit { ticket, op, .. } in out.submits {
            match op {
                Op::Live(batch) => subjects.extend(batch.items.iter().map(|item| {
                    let at = item.at as usize;
                    let subject = &batch.bytes[at..at + usize::from(item.subject_len)];
                    String::from_utf8(subject.to_vec()).unwrap()
                })),
                _ => asked = Some(ticket),
            }
        }
        (subjects, asked)
    }

    fn request<'a>(subject: &'a str, body: &'a str) -> Message<'a> {
        Message { subject: subject.as_bytes(), reply: b"inbox", headers: b"", body: body.as_bytes() }
    }

    fn there() -> Outcome {
        let asked = StreamConfig { name: "S".to_owned(), ..StreamConfig::default() };
        let config = stream_check::create(asked, "S").unwrap();
        let info = StreamInfo {
            name: "S".to_owned(),
            uuid: StreamUuid::default(),
            partitions: Vec::new(),
            settings: settings::of_stream(&config),
            arguments: settings::arguments(&config, Time::ZERO),
            internal: false,
        };
        Outcome::Done(Done::Streams(vec![Ok(Arc::new(info))]))
    }

    #[test]
    fn who_listens_hears_that_a_stream_is_gone() {
        let mut jet = Jet::new(1);
        jet.receive(Now(1), &request("$JS.API.STREAM.DELETE.S", ""));
        let (_, asked) = said(&mut jet);
        jet.complete(Now(2), asked.unwrap(), there());
        let (subjects, asked) = said(&mut jet);
        assert!(subjects.is_empty(), "it is still there: {subjects:?}");
        jet.complete(Now(3), asked.unwrap(), Outcome::Done(Done::Streams(Vec::new())));
        assert_eq!(said(&mut jet).0, ["inbox", "$JS.EVENT.ADVISORY.STREAM.DELETED.S"]);
    }

    #[test]
    fn every_answer_to_a_delivery_is_answered() {
        let mut jet = Jet::new(1);
        jet.receive(Now(1), &request("$JS.ACK.S.C.1.2.3.4.5", "rubbish"));
        assert_eq!(said(&mut jet), (vec!["inbox".to_owned()], None));
        jet.receive(Now(2), &request("$JS.ACK.S.C.1.2.3.4.5", "+TERM"));
        let (_, asked) = said(&mut jet);
        jet.complete(Now(3), asked.unwrap(), Outcome::Done(Done::Streams(Vec::new())));
        assert_eq!(said(&mut jet).0, ["inbox"]);
    }
}
