//! A client that writes requests, a driver that carries octets and time, and the toy hub behind it.

pub(crate) mod toy;

use bytes::BytesMut;
use std::sync::Arc;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::frame;
use stele_kafka::codec::wire::Wire;
use stele_kafka::{Connection, Profile};
use stele_model::id::{Now, PrincipalId};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Done, Outcome, Wake};
use stele_model::registry::ScramSecret;
use stele_model::session::{Authenticate, Outbox, Principal, Rejected, Session};
use stele_record::batch::builder::Builder;
use stele_record::batch::compression::Codec;
use toy::Toy;

/// A connection, its driver and its hub.
pub(crate) struct Run {
    session: Connection,
    pub(crate) now: Now,
    pub(crate) hub: Toy,
    input: Vec<u8>,
    output: Vec<u8>,
    out: Outbox,
    correlation_id: i32,
    /// Feed the session one octet at a time.
    pub(crate) one_by_one: bool,
    /// Who may come without a name.
    pub(crate) takes_nobody: bool,
    /// User, password, and what is kept for SCRAM.
    pub(crate) user: Option<(String, String, Vec<ScramSecret>)>,
    /// What was asked of the hub, in order.
    pub(crate) ops: Vec<Op>,
    /// Answers are held back.
    pub(crate) hold: bool,
    held: Vec<Submit>,
    pub(crate) closed: Option<String>,
    /// What the client was called when the driver was asked who it is.
    pub(crate) client_when_asked: Option<String>,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self::with(Profile::default())
    }

    pub(crate) fn with(profile: Profile) -> Self {
        let now = Now(1_000_000_000_000_000);
        Self {
            session: Connection::new(Arc::new(profile), "10.0.0.1", [7; 32], now),
            now,
            hub: Toy::default(),
            input: Vec::new(),
            output: Vec::new(),
            out: Outbox::default(),
            correlation_id: 0,
            one_by_one: false,
            takes_nobody: true,
            user: None,
            ops: Vec::new(),
            hold: false,
            held: Vec::new(),
            closed: None,
            client_when_asked: None,
        }
    }

    /// Sends a request and goes on until nothing more happens.
    pub(crate) fn send<'a>(&mut self, api: ApiKey, version: i16, message: &impl Wire<'a>) -> i32 {
        self.correlation_id += 1;
        let mut octets = BytesMut::new();
        frame::request(api, version, (self.correlation_id, "client-1"), message, &mut octets);
        self.octets(&octets);
        self.correlation_id
    }

    /// Sends octets as they are.
    pub(crate) fn octets(&mut self, octets: &[u8]) {
        let step = if self.one_by_one { 1 } else { octets.len().max(1) };
        for piece in octets.chunks(step) {
            self.input.extend_from_slice(piece);
            self.turn();
        }
    }

    /// Sends a request and takes the octets of its answer, without size and header.
    pub(crate) fn call<'a>(&mut self, api: ApiKey, version: i16, message: &impl Wire<'a>) -> Vec<u8> {
        let expected = self.send(api, version, message);
        let (correlation_id, body) = self.answer(api, version).expect("an answer");
        assert_eq!(correlation_id, expected);
        body
    }

    /// The next answer that has come.
    pub(crate) fn answer(&mut self, api: ApiKey, version: i16) -> Option<(i32, Vec<u8>)> {
        let (octets, used) = frame::frame(&self.output, 1 << 28).expect("the session writes frames")?;
        let correlation_id = i32::from_be_bytes(octets[..4].try_into().unwrap());
        let tags = usize::from(api.is_flexible(version) && api != ApiKey::ApiVersions);
        let body = octets[4 + tags..].to_vec();
        self.output.drain(..used);
        Some((correlation_id, body))
    }

    /// Whether nothing is left to read.
    pub(crate) fn is_silent(&self) -> bool {
        self.output.is_empty()
    }

    /// The octets that have come, as they are.
    pub(crate) fn raw(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Time passes.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(limit) = self.session.deadline().filter(|limit| *limit <= end) {
            self.now = self.now.max(limit);
            self.session.expire(self.now, &mut self.out);
            self.turn();
        }
        self.now = end;
    }

    /// Something happens to the session.
    pub(crate) fn wake(&mut self, what: Wake) {
        self.session.wake(self.now, what, &mut self.out);
        self.turn();
    }

    /// What was held back is answered.
    pub(crate) fn release(&mut self) {
        self.hold = false;
        for submit in std::mem::take(&mut self.held) {
            self.serve(submit);
        }
        self.turn();
    }

    /// Fetches that wait are woken although nothing came.
    pub(crate) fn wake_for_nothing(&mut self) {
        self.hub.wake_for_nothing();
        self.turn();
    }

    /// Driver and hub work until nothing is left to do.
    fn turn(&mut self) {
        for _ in 0..10_000 {
            let used = self.session.receive(self.now, &self.input, &mut self.out);
            self.input.drain(..used);
            let output = &mut self.output;
            self.out.write.take(|piece| output.extend_from_slice(&piece));
            self.closed = self.closed.take().or(self.out.close.take());
            let asked = self.out.authenticate.take();
            let submits = std::mem::take(&mut self.out.submits);
            let wakes = self.hub.wakes();
            if used == 0 && asked.is_none() && submits.is_empty() && wakes.is_empty() {
                return;
            }
            asked.into_iter().for_each(|asked| self.authenticate(asked));
            for submit in submits {
                self.ops.push(submit.op.clone());
                if self.hold && !matches!(submit.op, Op::Open { .. }) {
                    self.held.push(submit);
                } else {
                    self.serve(submit);
                }
            }
            for watch in wakes {
                self.session.wake(self.now, Wake::Appended { watch }, &mut self.out);
            }
        }
        panic!("the session asks for ever");
    }

    fn serve(&mut self, submit: Submit) {
        let Submit { ticket, op, .. } = submit;
        let outcome = match op {
            Op::Open { .. } => Outcome::Done(Done::Opened),
            Op::Unwatch { watch } => return self.hub.unwatch(watch),
            op => self.hub.answer(self.now, op),
        };
        self.session.complete(self.now, ticket, outcome, &mut self.out);
    }

    fn authenticate(&mut self, asked: Authenticate) {
        self.client_when_asked = Some(self.session.client().to_owned());
        let known = |name: &str| self.user.as_ref().filter(|(user, ..)| user == name);
        let name = match &asked {
            Authenticate::Nobody => self.takes_nobody.then(|| "nobody".to_owned()),
            Authenticate::Password { user, password } => {
                known(user).filter(|(_, right, _)| right == password).map(|(user, ..)| user.clone())
            }
            Authenticate::Token { .. } | Authenticate::Signature { .. } => panic!("not of Kafka: {asked:?}"),
            Authenticate::Proven { user } => known(user).map(|(user, ..)| user.clone()),
            Authenticate::Scram { user, hash } => {
                let kept = known(user).and_then(|(.., kept)| kept.iter().find(|secret| secret.hash == *hash));
                let secret = kept.cloned().ok_or(Rejected);
                return self.session.scram(self.now, secret, &mut self.out);
            }
        };
        let principal = name.map(|name| Principal { id: PrincipalId(1), name }).ok_or(Rejected);
        self.session.authenticated(self.now, principal, &mut self.out);
    }
}

/// A batch of records with these values, as a client would send it.
pub(crate) fn batch(codec: Codec, timestamp: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = Builder::default();
    for (value, n) in values.iter().zip(0..) {
        let key = format!("key-{value}");
        builder.put(
            n,
            timestamp + i64::from(n),
            (Some(key.as_bytes()), Some(value.as_bytes())),
            std::iter::empty(),
        );
    }
    builder.finish(0, -1, codec).to_vec()
}
