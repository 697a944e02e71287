//! What the server itself publishes for this client: answers to requests that no other client serves.
//!
//! They are collected while a call of the driver lasts and leave as one live batch, by the way that any publish takes: so they reach whoever
//! listens to the reply subject. What an account may ask the system is answered here: `$SYS.REQ.USER.INFO` at once, and who is there and what
//! went through the account when the driver has told; one such question of a connection after the other. Bound: [`QUESTIONS_MAX`].

use super::Connection;
use super::permissions::Listed;
use crate::jet::stored::Message;
use crate::jet::time::Time;
use crate::roll::{self, Addressed, Wanted};
use bytes::BytesMut;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use stele_model::id::{Now, Ticket};
use stele_model::live::{LiveBatch, LiveItem};
use stele_model::op::{Op, Submit};
use stele_model::roll::{Clients, RollCall};
use stele_model::session::Outbox;

/// Subjects that the server answers for.
const USER_INFO: &[u8] = b"$SYS.REQ.USER.INFO";
const CONNZ: [&[u8]; 2] = [b"$SYS.REQ.ACCOUNT.PING.CONNZ", b"$SYS.REQ.SERVER.PING.CONNZ"];
const STATZ: &[u8] = b"$SYS.REQ.ACCOUNT.PING.STATZ";

/// Questions about an account that may wait for each other.
const QUESTIONS_MAX: usize = 64;

/// The ticket of what has no answer.
const UNANSWERED: Ticket = Ticket(u64::MAX);

/// Messages for the live path.
#[derive(Default)]
pub(crate) struct Answers {
    items: Vec<LiveItem>,
    bytes: BytesMut,
}

impl Answers {
    /// Publishes a message; `reply` and `headers` may be empty, `headers` is a whole block.
    pub(crate) fn publish(&mut self, subject: &[u8], reply: &[u8], headers: &[u8], payload: &[u8]) {
        LiveBatch::put(&mut self.items, &mut self.bytes, (subject, reply), (headers, payload));
    }

    /// Hands everything to the hub.
    pub(super) fn leave(&mut self, out: &mut Outbox) {
        if self.items.is_empty() {
            return;
        }
        let (items, bytes) = (std::mem::take(&mut self.items), self.bytes.split().freeze());
        let batch = Arc::new(LiveBatch { bytes, items, ..LiveBatch::default() });
        out.submits.push(Submit { ticket: UNANSWERED, lane: 0, op: Op::Live(batch) });
    }
}

/// Questions about the account that wait for the driver's answer: the first is under way.
#[derive(Default)]
pub(super) struct Questions(VecDeque<Question>);

struct Question {
    reply: Vec<u8>,
    what: What,
}

enum What {
    Clients(Wanted),
    Sums,
}

#[derive(Serialize)]
struct Answer<'a, T> {
    server: ServerInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Wrong>,
}

/// What is wrong with a request.
#[derive(Serialize)]
struct Wrong {
    code: u16,
    description: String,
}

#[derive(Serialize)]
struct ServerInfo<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
    ver: &'a str,
    jetstream: bool,
    /// What the server can: 1 is JetStream.
    flags: u32,
    time: Time,
}

#[derive(Serialize)]
struct UserData<'a> {
    user: &'a str,
    account: &'a str,
    account_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Listed>,
}

impl Connection {
    /// Whether the server answers what is published to a subject.
    pub(super) fn serves(subject: &[u8]) -> bool {
        subject == USER_INFO || subject == STATZ || CONNZ.contains(&subject)
    }

    /// Answers a request to a subject that the server serves, or asks the driver for what the answer needs.
    pub(super) fn serve(&mut self, now: Now, message: &Message<'_>, out: &mut Outbox) {
        let Message { subject, reply, body, .. } = *message;
        if reply.is_empty() {
            return;
        }
        if subject == USER_INFO {
            let data = UserData {
                user: &self.user,
                account: self.account(),
                account_name: self.account(),
                permissions: self.permissions.listed(),
            };
            let json = self.told(now, Ok(data));
            return self.answers.publish(reply, b"", b"", &json);
        }
        match self.question(subject, body) {
            Ok(None) => {}
            Ok(Some(what)) => {
                self.questions.0.push_back(Question { reply: reply.to_vec(), what });
                if self.questions.0.len() == 1 {
                    self.ask_next(out);
                }
            }
            Err(wrong) => {
                let json = self.told::<()>(now, Err(wrong));
                self.answers.publish(reply, b"", b"", &json);
            }
        }
    }

    /// What is asked; `None`: other servers are.
    fn question(&self, subject: &[u8], body: &[u8]) -> Result<Option<What>, Wrong> {
        let wrong = |(code, description)| Wrong { code, description };
        let addressed: Addressed = roll::read(body).map_err(|why| wrong((400, why.to_string())))?;
        let what = if subject == STATZ {
            What::Sums
        } else {
            What::Clients(Wanted::of_request(body, self.account()).map_err(wrong)?)
        };
        if !addressed.is(&self.profile.server_name, &self.profile.host) {
            return Ok(None);
        }
        if self.questions.0.len() >= QUESTIONS_MAX {
            return Err(wrong((503, "too many requests of one connection".to_owned())));
        }
        Ok(Some(what))
    }

    fn ask_next(&self, out: &mut Outbox) {
        let Some(question) = self.questions.0.front() else { return };
        let listens = matches!(&question.what, What::Clients(wanted) if wanted.listens());
        out.roll_call = Some(RollCall { account: self.account().to_owned(), listens });
    }

    /// The driver has told who is there.
    pub(super) fn answer_question(&mut self, now: Now, clients: &Clients, out: &mut Outbox) {
        let Some(Question { reply, what }) = self.questions.0.pop_front() else { return };
        let server = &self.profile.server_id;
        let data = match what {
            What::Clients(wanted) => wanted.connz(now, server, clients),
            What::Sums => roll::statz(now, server, self.account(), clients),
        };
        let json = self.told(now, Ok(data));
        self.answers.publish(&reply, b"", b"", &json);
        self.answers.leave(out);
        self.ask_next(out);
    }

    /// The answer's JSON.
    fn told<T: Serialize>(&self, now: Now, data: Result<T, Wrong>) -> Vec<u8> {
        let profile = &self.profile;
        let server = ServerInfo {
            name: &profile.server_name,
            host: &profile.host,
            id: &profile.server_id,
            ver: crate::profile::VERSION,
            jetstream: profile.jetstream,
            flags: u32::from(profile.jetstream),
            time: Time::from(now),
        };
        let (data, error) = match data {
            Ok(data) => (Some(data), None),
            Err(wrong) => (None, Some(wrong)),
        };
        serde_json::to_vec(&Answer { server, data, error }).expect("texts become JSON")
    }
}
