//! What the server itself publishes for this client: answers to requests that no other client serves.
//!
//! They are collected while a call of the driver lasts and leave as one live batch, by the way that any publish takes: so they reach whoever
//! listens to the reply subject. `$SYS.REQ.USER.INFO` is answered here.

use super::Connection;
use super::permissions::Listed;
use crate::jet::time::Time;
use bytes::BytesMut;
use serde::Serialize;
use std::sync::Arc;
use stele_model::id::{Now, Ticket};
use stele_model::live::{LiveBatch, LiveItem};
use stele_model::op::{Op, Submit};
use stele_model::session::Outbox;

/// Subjects that the server answers for.
const USER_INFO: &[u8] = b"$SYS.REQ.USER.INFO";

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

#[derive(Serialize)]
struct UserInfo<'a> {
    server: ServerInfo<'a>,
    data: UserData<'a>,
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
        subject == USER_INFO
    }

    /// Answers a request, if the server serves its subject.
    pub(super) fn serve(&mut self, now: Now, subject: &[u8], reply: &[u8]) {
        if subject != USER_INFO || reply.is_empty() {
            return;
        }
        let profile = &self.profile;
        let info = UserInfo {
            server: ServerInfo {
                name: &profile.server_name,
                host: &profile.host,
                id: &profile.server_id,
                ver: crate::profile::VERSION,
                jetstream: profile.jetstream,
                flags: u32::from(profile.jetstream),
                time: Time::from(now),
            },
            data: UserData {
                user: &self.user,
                account: self.account(),
                account_name: self.account(),
                permissions: self.permissions.listed(),
            },
        };
        let json = serde_json::to_vec(&info).expect("texts become JSON");
        self.answers.publish(reply, b"", b"", &json);
    }
}
