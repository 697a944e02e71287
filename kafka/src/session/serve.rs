//! Which APIs are served, and by whom: each is a function of its request and of what the hub has said so far.
//!
//! Such a function says what to ask next, or the answer ([`Step`]). The request's octets are kept and read again when the hub has
//! answered everything that was asked: that costs little, since these APIs are not the hot ones, and leaves nothing to keep in step.

use super::slot::{Asking, State};
use super::{Connection, api_versions};
use super::{
    cluster, configs, credentials, group_admin, groups, log_dirs, metadata, offsets, positions, producers,
    rights, topics,
};
use crate::codec::Malformed;
use crate::codec::api::ApiKey;
use crate::codec::frame::{self, Violation};
use crate::codec::wire::{Uuid, Wire};
use crate::profile::Profile;
use crate::refuse::{Fault, group_refused, refused};
use aws_lc_rs::digest;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use std::sync::Arc;
use stele_model::group::GroupAnswer;
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::session::{Outbox, Output};
use stele_model::stream::{PartResult, StreamInfo};

/// The first number of a ticket that [`super::Tickets`] gives.
pub(super) const FIRST_TICKET: u64 = 1;

/// Who the client is, and what is made up for it.
#[derive(Debug)]
pub(super) struct Identity {
    /// The user, once known.
    pub(super) user: String,
    /// The client's address.
    pub(super) host: String,
    client_id: String,
    software: String,
    seed: [u8; 32],
    made: u64,
}

impl Identity {
    pub(super) fn new(host: &str, seed: [u8; 32]) -> Self {
        let (user, client_id, software) = (String::new(), String::new(), String::new());
        Self { user, host: host.to_owned(), client_id, software, seed, made: 0 }
    }

    /// The name that came with a request; the first one stays.
    pub(super) fn called(&mut self, client_id: Option<&str>) {
        if self.client_id.is_empty()
            && let Some(client_id) = client_id
        {
            client_id.clone_into(&mut self.client_id);
        }
    }

    /// What the client says it is.
    pub(super) fn introduced(&mut self, name: &str, version: &str) {
        self.software = format!("{name} {version}");
    }

    /// Its name for listings: its own, else its product's.
    pub(super) fn client(&self) -> &str {
        if self.client_id.is_empty() { &self.software } else { &self.client_id }
    }

    /// Octets that nobody can guess, never the same twice.
    fn random(&mut self) -> [u8; 32] {
        self.made += 1;
        let mut octets = self.seed.to_vec();
        octets.extend_from_slice(&self.made.to_le_bytes());
        let sum = digest::digest(&digest::SHA256, &octets);
        *sum.as_ref().first_chunk().expect("SHA-256 has 32 octets")
    }

    /// A nonce without commas.
    pub(super) fn nonce(&mut self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.random())
    }

    /// A random UUID (version 4).
    pub(super) fn uuid(&mut self) -> Uuid {
        let mut octets: [u8; 16] = *self.random().first_chunk().expect("32 octets");
        octets[6] = octets[6] & 0x0f | 0x40;
        octets[8] = octets[8] & 0x3f | 0x80;
        Uuid(octets)
    }
}

/// What an API's function may know besides its request.
pub(super) struct Context<'s> {
    pub(super) profile: &'s Profile,
    pub(super) identity: &'s mut Identity,
    pub(super) version: i16,
}

/// What is to be done next for a request.
pub(super) enum Step<R> {
    /// Ask all of this, and come back with the answers. Not empty.
    Ask(Vec<Op>),
    /// The answer.
    Answer(R),
}

/// What the hub has said, one list for each time it was asked.
pub(super) type Stages = [Vec<Outcome>];

/// What was done, or why not.
pub(super) fn done(outcome: &Outcome) -> Result<&Done, &Refusal> {
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::Refused(refusal) => Err(refusal),
        Outcome::LaneFailed { .. } | Outcome::Published(_) => {
            unreachable!("a Kafka session publishes nothing: {outcome:?}")
        }
    }
}

/// Streams that were asked for, `count` of them; each has the refusal if the question itself was refused.
pub(super) fn streams(outcome: &Outcome, count: usize) -> Vec<PartResult<Arc<StreamInfo>>> {
    match done(outcome) {
        Ok(Done::Streams(streams)) => streams.clone(),
        Err(refusal) => vec![Err(refusal.clone()); count],
        Ok(other) => unreachable!("the hub answers streams with {other:?}"),
    }
}

/// What a group says.
pub(super) fn group(outcome: &Outcome) -> Result<&GroupAnswer, Fault> {
    match done(outcome) {
        Ok(Done::Group(Ok(answer))) => Ok(answer),
        Ok(Done::Group(Err(refusal))) => Err(group_refused(refusal)),
        Err(refusal) => Err(refused(refusal)),
        Ok(other) => unreachable!("the hub answers for a group with {other:?}"),
    }
}

/// A step whose kind of answer is forgotten.
enum Stepped {
    Ask(Vec<Op>),
    Answer(Output),
}

macro_rules! served {
    ($($api:ident => $step:path,)*) => {
        /// Whether an API is served: exactly these are advertised.
        pub(super) fn is_served(api: ApiKey) -> bool {
            match api {
                ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate | ApiKey::Produce | ApiKey::Fetch => true,
                $(ApiKey::$api => true,)*
                #[allow(unreachable_patterns, reason = "all may be served one day")]
                _ => false,
            }
        }

        fn step(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stepped, Malformed> {
            match call.api {
                ApiKey::ApiVersions => {
                    let request = call.api.read(context.version, call.body)?;
                    let answer = api_versions::answer(context.identity, context.version, &request);
                    Ok(Stepped::Answer(call.respond(&answer)))
                }
                $(ApiKey::$api => call.run(context, $step),)*
                other => unreachable!("{other:?} is not served this way"),
            }
        }
    };
}

served! {
    AlterConfigs => configs::alter,
    AlterUserScramCredentials => credentials::alter,
    CreateAcls => rights::create,
    CreatePartitions => topics::add_partitions,
    CreateTopics => topics::create,
    DeleteAcls => rights::delete,
    DeleteGroups => group_admin::delete,
    DeleteRecords => positions::delete_records,
    DeleteTopics => topics::delete,
    DescribeAcls => rights::describe,
    DescribeCluster => cluster::describe,
    DescribeConfigs => configs::describe,
    DescribeGroups => group_admin::describe,
    DescribeLogDirs => log_dirs::describe,
    DescribeTopicPartitions => metadata::describe_partitions,
    DescribeUserScramCredentials => credentials::describe,
    FindCoordinator => cluster::find_coordinator,
    Heartbeat => groups::heartbeat,
    IncrementalAlterConfigs => configs::alter_incrementally,
    InitProducerId => producers::init,
    JoinGroup => groups::join,
    LeaveGroup => groups::leave,
    ListConfigResources => configs::list_resources,
    ListGroups => group_admin::list,
    ListOffsets => positions::list,
    Metadata => metadata::metadata,
    OffsetCommit => offsets::commit,
    OffsetDelete => offsets::delete,
    OffsetFetch => offsets::fetch,
    OffsetForLeaderEpoch => positions::for_leader_epoch,
    SyncGroup => groups::sync,
}

/// One request being served.
struct Call<'a> {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &'a [u8],
    stages: &'a Stages,
}

impl<'a> Call<'a> {
    fn run<Q: Wire<'a>, R: Wire<'a>>(
        &self,
        context: &mut Context<'_>,
        step: fn(&mut Context<'_>, Q, &'a Stages) -> Step<R>,
    ) -> Result<Stepped, Malformed> {
        let request: Q = self.api.read(self.version, self.body)?;
        Ok(match step(context, request, self.stages) {
            Step::Ask(ops) => Stepped::Ask(ops),
            Step::Answer(answer) => Stepped::Answer(self.respond(&answer)),
        })
    }

    fn respond<'r>(&self, answer: &impl Wire<'r>) -> Output {
        let mut out = Output::default();
        frame::respond(self.api, self.version, self.correlation_id, answer, out.buffer());
        out
    }
}

impl Connection {
    /// Takes a request a step on.
    pub(super) fn advance(&mut self, number: u64, out: &mut Outbox) -> Result<(), Violation> {
        let Some(slot) = self.slots.get_mut(number) else { return Ok(()) };
        let asking = match std::mem::replace(&mut slot.state, State::Held) {
            State::Asking(asking) => asking,
            State::Held | State::Ready(_) | State::Producing(_) => Asking::default(),
        };
        let (api, version, correlation_id) = (slot.api, slot.version, slot.correlation_id);
        let body = slot.body.clone();
        let mut context = Context { profile: &self.profile, identity: &mut self.identity, version };
        let call = Call { api, version, correlation_id, body: &body, stages: &asking.stages };
        match step(&mut context, &call)? {
            Stepped::Answer(answer) => self.slots.ready(number, answer),
            Stepped::Ask(ops) => {
                assert!(!ops.is_empty(), "who asks nothing has the answer");
                let (parts, missing) = (ops.iter().map(|_| None).collect(), ops.len());
                if let Some(slot) = self.slots.get_mut(number) {
                    slot.state = State::Asking(Asking { parts, missing, ..asking });
                }
                for (part, op) in ops.into_iter().enumerate() {
                    self.ask(number, part, op, out);
                }
            }
        }
        Ok(())
    }

    /// The hub has answered one part.
    pub(super) fn heard(
        &mut self,
        number: u64,
        part: usize,
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let Some(State::Asking(asking)) = self.slots.get_mut(number).map(|slot| &mut slot.state) else {
            return Ok(());
        };
        let place = asking.parts.get_mut(part).expect("the ticket names a part");
        assert!(place.replace(outcome).is_none(), "a part is answered once");
        asking.missing -= 1;
        if asking.missing > 0 {
            return Ok(());
        }
        let stage = std::mem::take(&mut asking.parts).into_iter().flatten().collect();
        asking.stages.push(stage);
        self.advance(number, out)
    }

    /// The whole answer to a request.
    pub(super) fn answer<'r>(&mut self, number: u64, answer: &impl Wire<'r>) {
        let Some(slot) = self.slots.get(number) else { return };
        let mut octets = Output::default();
        frame::respond(slot.api, slot.version, slot.correlation_id, answer, octets.buffer());
        self.slots.ready(number, octets);
    }
}
