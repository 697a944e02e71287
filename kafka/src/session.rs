//! The state machine of one connection: bytes and time in, bytes and submits out ([`Session`]).
//!
//! Called by the driver of a socket. What must hold: answers leave in the order of their requests, whenever they are ready; what a
//! request asks of the hub is asked in the order of the requests. Each request has a place in [`slot::Slots`] until it is answered.
//! Most APIs are a function of the request and of what the hub has said so far ([`serve`]); produce, fetch and the login have states
//! of their own. Each has a file below.
//!
//! Not here: where records lie, who may do what, passwords (the driver answers [`Outbox::authenticate`]).

mod api_versions;
mod cluster;
mod configs;
mod credentials;
mod fetch;
mod group_admin;
mod groups;
mod groups_topic;
mod log_dirs;
mod login;
mod metadata;
mod offsets;
mod positions;
mod produce;
mod producers;
mod rights;
mod scram;
mod serve;
mod settings;
mod slot;
mod topics;

use crate::codec::api::ApiKey;
use crate::codec::frame::{self, Request, Violation};
use crate::profile::{self, Profile};
use bytes::{Bytes, BytesMut};
use fetch::{Fetching, GroupsId};
use login::Login;
use produce::KnownTopics;
use serve::Identity;
use slot::{Slot, Slots, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{Now, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Deliveries, Outcome, Wake};
use stele_model::registry::ScramSecret;
use stele_model::session::{Outbox, Principal, Rejected, Session};

/// One connection.
#[derive(Debug)]
pub struct Connection {
    profile: Arc<Profile>,
    identity: Identity,
    login: Login,
    slots: Slots,
    tickets: Tickets,
    /// Fetches that wait, by the number of their watch, which is that of their slot.
    fetching: BTreeMap<u64, Fetching>,
    /// Octets that they may bring together.
    fetching_bytes: u64,
    topics: KnownTopics,
    groups_id: GroupsId,
    /// A large request that has not come whole.
    assembly: Assembly,
    /// The server wants producers to stop.
    blocked: bool,
    /// The driver was asked not to read.
    paused: bool,
    closed: bool,
}

/// What the hub was asked: for which slot, and as which part of it.
#[derive(Debug, Default)]
struct Tickets {
    last: u64,
    open: BTreeMap<u64, (u64, usize)>,
}

impl Tickets {
    fn issue(&mut self, slot: u64, part: usize) -> Ticket {
        self.last += 1;
        self.open.insert(self.last, (slot, part));
        Ticket(self.last)
    }
}

/// The octets of a request that did not come in one read: kept here, so that a large one is moved once.
#[derive(Debug, Default)]
struct Assembly {
    octets: BytesMut,
    /// Octets of the whole frame, its size included; 0: none is under way.
    frame_bytes: usize,
}

/// Room for the first part of a large request; more is taken as its octets come.
const ASSEMBLY_FIRST: usize = 256 << 10;

/// Whether an API is for those who are known, so that the driver is asked whether it takes strangers. A frame's key tells as soon as
/// it is there: a large first request is then held to the bound of those who are known.
fn needs_login(key: i16) -> bool {
    !matches!(ApiKey::of(key), Some(ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate))
}

impl Connection {
    /// A connection that has just been accepted, from a client at `host`. `seed` must be random: nonces and ids are made of it.
    ///
    /// # Panics
    /// If the profile is not valid ([`Profile::is_valid`]): drivers check it when they read their configuration.
    #[must_use]
    pub fn new(profile: Arc<Profile>, host: &str, seed: [u8; 32], now: Now) -> Self {
        assert!(profile.is_valid(), "the profile's numbers are within their bounds");
        Self {
            login: Login::new(now),
            identity: Identity::new(host, seed),
            profile,
            slots: Slots::default(),
            tickets: Tickets::default(),
            fetching: BTreeMap::new(),
            fetching_bytes: 0,
            topics: KnownTopics::default(),
            groups_id: GroupsId::default(),
            assembly: Assembly::default(),
            blocked: false,
            paused: false,
            closed: false,
        }
    }

    /// Whether the next request may be looked at now.
    fn may_parse(&self) -> bool {
        !self.closed
            && !self.login.is_checking()
            && !self.topics.is_asking()
            && !self.slots.is_full()
            && self.fetching_bytes < profile::FETCHES_BYTES_MAX
    }

    fn request_bytes_max(&self) -> u32 {
        if self.login.is_open() { self.profile.request_bytes_max } else { profile::REQUEST_BYTES_STRANGER }
    }

    /// One request, or a part of a large one. Returns the octets used; `None`: wait.
    fn step(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> Result<Option<usize>, Violation> {
        if self.assembly.frame_bytes > 0 {
            return self.assemble(now, input, out);
        }
        if !self.login.is_begun() && self.greet(input, out)? {
            return Ok(None);
        }
        let Some((octets, used)) = frame::frame(input, self.request_bytes_max())? else {
            return Ok(self.begin_assembly(input));
        };
        self.request(now, Bytes::copy_from_slice(octets), out)?;
        Ok(Some(used))
    }

    /// Looks at the start of the first request: whether it has to wait for the driver's word, or for more of itself.
    fn greet(&mut self, input: &[u8], out: &mut Outbox) -> Result<bool, Violation> {
        // A size that nobody may claim ends the connection before anything is asked.
        let whole = frame::frame(input, self.profile.request_bytes_max)?.is_some();
        let Some(key) = input.get(4..).and_then(<[u8]>::first_chunk) else { return Ok(!whole) };
        if !needs_login(i16::from_be_bytes(*key)) {
            return Ok(false);
        }
        // The name that comes with the first request is the one that listings show.
        match frame::client_id(input) {
            Some(client_id) => self.identity.called(client_id),
            None if whole => {}
            None => return Ok(true),
        }
        self.say_nobody(out);
        Ok(true)
    }

    /// Takes the start of a frame whose size is known over into memory of our own.
    fn begin_assembly(&mut self, input: &[u8]) -> Option<usize> {
        let (size, _) = input.split_first_chunk::<4>()?;
        self.assembly.frame_bytes = 4 + u32::from_be_bytes(*size) as usize;
        self.assembly.octets = BytesMut::with_capacity(self.assembly.frame_bytes.min(ASSEMBLY_FIRST));
        self.assembly.octets.extend_from_slice(input);
        Some(input.len())
    }

    fn assemble(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> Result<Option<usize>, Violation> {
        let missing = self.assembly.frame_bytes - self.assembly.octets.len();
        let more = input.get(..missing.min(input.len())).unwrap_or_default();
        self.assembly.octets.extend_from_slice(more);
        if self.assembly.octets.len() < self.assembly.frame_bytes {
            return Ok((!more.is_empty()).then_some(more.len()));
        }
        let octets = std::mem::take(&mut self.assembly).octets.split_off(4).freeze();
        self.request(now, octets, out)?;
        Ok(Some(more.len()))
    }

    /// One whole request, without its size.
    fn request(&mut self, now: Now, octets: Bytes, out: &mut Outbox) -> Result<(), Violation> {
        if self.login.takes_token() {
            self.raw_token(&octets, out);
            return Ok(());
        }
        let request = Request::parse(&octets)?;
        let api = ApiKey::of(request.key).filter(|api| serve::is_served(*api));
        let Some(api) = api.filter(|api| api.has(request.version)) else {
            return self.unknown_version(&request, out);
        };
        let (client_id, body) = request.open(api)?;
        self.identity.called(client_id.as_deref());
        let body_at = octets.len() - body.len();
        let (version, correlation_id) = (request.version, request.correlation_id);
        let slot = Slot::new(api, version, correlation_id, octets.slice(body_at..));
        if !self.login.is_open() {
            return self.login_request(slot, out);
        }
        let number = self.slots.push(slot);
        match api {
            ApiKey::Produce => self.produce_held(now, out)?,
            ApiKey::Fetch => self.fetch(now, number, out)?,
            ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => self.late_login(number),
            _ => self.advance(number, out)?,
        }
        Ok(())
    }

    /// An API or version that is not spoken. A client that does not know us yet is told what is; others cannot read any answer.
    fn unknown_version(&mut self, request: &Request<'_>, out: &mut Outbox) -> Result<(), Violation> {
        if request.key == ApiKey::ApiVersions as i16 {
            let slot = Slot::new(ApiKey::ApiVersions, 0, request.correlation_id, Bytes::new());
            let number = self.slots.push(slot);
            self.answer(number, &api_versions::unsupported());
            return Ok(());
        }
        let text = format!("version {} of API key {} is not spoken here", request.version, request.key);
        self.end(text, out);
        Ok(())
    }

    /// Asks the hub for one part of a slot's answer.
    fn ask(&mut self, slot: u64, part: usize, op: Op, out: &mut Outbox) {
        let ticket = self.tickets.issue(slot, part);
        out.submits.push(Submit { ticket, lane: 0, op });
    }

    fn end(&mut self, why: impl Into<String>, out: &mut Outbox) {
        if !self.closed {
            self.closed = true;
            self.assembly = Assembly::default();
            out.close = Some(why.into());
        }
    }

    fn violated(&mut self, violation: Violation, out: &mut Outbox) {
        self.end(violation.to_string(), out);
    }

    /// What every call ends with: answers that are due, and whether the driver may go on reading.
    fn settle(&mut self, out: &mut Outbox) {
        if !self.closed {
            self.slots.write_ready(&mut out.write);
        }
        let pause = self.slots.is_heavy(self.paused);
        if pause != self.paused {
            self.paused = pause;
            out.pause = Some(pause);
        }
    }
}

impl Session for Connection {
    fn receive(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> usize {
        let mut used = 0;
        while self.may_parse() {
            match self.step(now, input.get(used..).unwrap_or_default(), out) {
                Ok(None) => break,
                Ok(Some(more)) => used += more,
                Err(violation) => self.violated(violation, out),
            }
        }
        self.settle(out);
        if self.closed { input.len() } else { used }
    }

    fn complete(&mut self, now: Now, ticket: Ticket, outcome: Outcome, out: &mut Outbox) {
        let Some((slot, part)) = self.tickets.open.remove(&ticket.0) else {
            self.opened(&outcome, out);
            return self.settle(out);
        };
        let done = match self.slots.get(slot).map(|slot| (slot.api, &slot.state)) {
            Some((ApiKey::Produce, _)) => self.produced(now, slot, outcome, out),
            Some((ApiKey::Fetch, _)) => self.fetched(now, slot, part, outcome, out),
            Some((_, State::Asking(_))) => self.heard(slot, part, outcome, out),
            Some(_) | None => Ok(()),
        };
        if let Err(violation) = done {
            self.violated(violation, out);
        }
        self.settle(out);
    }

    fn authenticated(&mut self, _: Now, result: Result<Principal, Rejected>, out: &mut Outbox) {
        self.credentials_checked(result, out);
        self.settle(out);
    }

    fn scram(&mut self, _: Now, secret: Result<ScramSecret, Rejected>, out: &mut Outbox) {
        self.scram_secret(secret, out);
        self.settle(out);
    }

    fn deliver(&mut self, _: Now, _: &Deliveries, _: &mut Outbox) {
        unreachable!("a Kafka session never subscribes");
    }

    fn unfinished_bytes(&self) -> usize {
        self.assembly.octets.len()
    }

    fn wake(&mut self, now: Now, what: Wake, out: &mut Outbox) {
        match what {
            Wake::Appended { watch } => self.appended(now, watch, out),
            Wake::Blocked(_) => self.blocked = true,
            Wake::Unblocked => self.unblocked(now, out),
            Wake::Close(why) => self.end(why, out),
            Wake::Leaving
            | Wake::Cancelled { .. }
            | Wake::Interest { .. }
            | Wake::Drained
            | Wake::Shared(_)
            | Wake::Echo(_) => {}
        }
        self.settle(out);
    }

    fn deadline(&self) -> Option<Now> {
        if self.closed {
            return None;
        }
        self.fetching.values().filter_map(Fetching::deadline).chain(self.login.deadline()).min()
    }

    fn expire(&mut self, now: Now, out: &mut Outbox) {
        if self.login.deadline().is_some_and(|limit| limit <= now) {
            self.end("the login took too long", out);
        }
        self.fetches_due(now, out);
        self.settle(out);
    }

    fn client(&self) -> &str {
        self.identity.client()
    }
}
