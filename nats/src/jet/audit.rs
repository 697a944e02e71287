//! What is told of each request to the API while somebody listens to it: who has asked what, and what was answered.
//!
//! Called by [`super::serve`]. What must hold: as long as nobody listens a request costs one comparison; of the first one it is not
//! known yet, so it is told to whoever there is. Not here: who may listen.

use super::api::Api;
use super::time::Time;
use bytes::Bytes;
use serde::Serialize;
use stele_model::live::Interest;

/// Where it is published.
pub const SUBJECT: &str = "$JS.EVENT.ADVISORY.API";
/// The number under which that is watched.
const WATCH: u32 = 0;

/// Who asks, as advisories name them.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// When it came.
    pub start: Time,
    /// Its address.
    pub host: String,
    /// Its number.
    pub id: u64,
    /// Its account.
    pub acc: String,
    /// Who it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What it calls the connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its library's language.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// Its library's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ver: String,
    /// The server it is connected to.
    pub server: String,
    /// How it came.
    pub kind: &'static str,
    /// What it speaks.
    pub client_type: &'static str,
}

/// A request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request's subject.
    pub subject: &'a str,
    /// Its payload.
    pub request: &'a [u8],
    /// What was answered.
    pub response: &'a [u8],
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    id: &'a str,
    timestamp: Time,
    server: &'a str,
    client: &'a Client,
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request: &'a str,
    response: &'a str,
}

impl Client {
    /// What is published of a request of this client, as JSON.
    #[must_use]
    pub fn body(&self, id: &str, at: Time, asked: &Asked<'_>) -> Vec<u8> {
        let (request, response) =
            (String::from_utf8_lossy(asked.request), String::from_utf8_lossy(asked.response));
        let body = Body {
            r#type: "io.nats.jetstream.advisory.v1.api_audit",
            id,
            timestamp: at,
            server: &self.server,
            client: self,
            subject: asked.subject,
            request: &request,
            response: &response,
        };
        serde_json::to_vec(&body).expect("an advisory is a map with names")
    }
}

/// Whether such requests are told of; `refused`: it was answered by an error.
#[must_use]
pub fn is_told(api: &Api<'_>, refused: bool) -> bool {
    match api {
        Api::MessageGet(_) => refused,
        Api::ConsumerReset(_) | Api::Unknown | Api::DirectGet { .. } | Api::Next(_) => false,
        _ => true,
    }
}

/// Whether somebody listens.
#[derive(Debug, Default)]
pub(super) struct Listening {
    known: Known,
    changes: Vec<Interest>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nobody has asked for anything, so it was not looked.
    #[default]
    Unasked,
    /// It is looked whether somebody does.
    Unsure,
    There,
    Nobody,
}

impl Listening {
    /// A request comes.
    pub(super) fn asked(&mut self) {
        self.known = match self.known {
            Known::Unasked => {
                self.changes
                    .push(Interest::Watch { watch: WATCH, subject: Bytes::from_static(SUBJECT.as_bytes()) });
                Known::Unsure
            }
            Known::Unsure => Known::Nobody,
            known => known,
        };
    }

    /// The hub has looked.
    pub(super) fn seen(&mut self, is_there: bool) {
        self.known = if is_there { Known::There } else { Known::Nobody };
    }

    /// The client works in another account from now on.
    pub(super) fn moves(&mut self) {
        if self.known != Known::Unasked {
            self.changes.push(Interest::Unwatch { watch: WATCH });
            self.known = Known::Unasked;
        }
    }

    /// Somebody does, or may.
    pub(super) fn perhaps(&self) -> bool {
        matches!(self.known, Known::There | Known::Unsure)
    }

    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = Interest> + '_ {
        self.changes.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_as_nats_server_tells_it() {
        let client = Client {
            start: Time::ZERO,
            host: "127.0.0.1".to_owned(),
            id: 7,
            acc: "$G".to_owned(),
            user: String::new(),
            name: String::new(),
            lang: String::new(),
            ver: String::new(),
            server: "s".to_owned(),
            kind: "Client",
            client_type: "nats",
        };
        let asked = Asked { subject: "$JS.API.STREAM.NAMES", request: b"", response: b"{\"a\":1}" };
        let expected = r#"{"type":"io.nats.jetstream.advisory.v1.api_audit","id":"x","timestamp":"0001-01-01T00:00:00Z","server":"s","client":{"start":"0001-01-01T00:00:00Z","host":"127.0.0.1","id":7,"acc":"$G","server":"s","kind":"Client","client_type":"nats"},"subject":"$JS.API.STREAM.NAMES","response":"{\"a\":1}"}"#;
        assert_eq!(String::from_utf8(client.body("x", Time::ZERO, &asked)).unwrap(), expected);
    }

    #[test]
    fn it_is_looked_once_whether_somebody_listens() {
        let mut listening = Listening::default();
        assert!(!listening.perhaps());
        listening.asked();
        assert!(listening.perhaps() && listening.take_changes().count() == 1);
        listening.asked();
        assert!(!listening.perhaps() && listening.take_changes().count() == 0);
        listening.seen(true);
        listening.asked();
        assert!(listening.perhaps());
        listening.moves();
        assert!(!listening.perhaps() && listening.take_changes().count() == 1);
    }
}
