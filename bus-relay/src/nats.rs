//! Publishing to streams of NATS JetStream: one connection per worker, and the stream's word on each message.
//!
//! A message of a batch is sent behind the other and all are confirmed together. Its id is its `Nats-Msg-Id`, so a stream does not even
//! store a copy that comes within its window.
//!
//! The client would connect anew by itself and go on with what is in its buffer, while what was on the wire is lost: behind those, first
//! deliveries would be out of order. So a connection that ends here stays ended, and the worker opens another and begins with its oldest row.

use crate::publish::{Address, Fault, Message, Outcome, Publisher, Refusal, Target};
use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::jetstream::context::{
    ContextBuilder, GetStreamByNameErrorKind, PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Auth, AuthError, Client, ConnectOptions, ServerAddr};
use std::collections::HashSet;
use std::error::Error as _;
use std::future::IntoFuture as _;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a connection, and for an answer about streams.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the confirm of a message.
const CONFIRM: Duration = Duration::from_secs(60);
/// Confirms that may be awaited at once: more than a batch has.
const INFLIGHT_MAX: usize = 2 * crate::relay::BATCH_MAX;
/// Subjects remembered as taken by a stream; when there are more the memory starts anew.
const KNOWN_MAX: usize = 10_000;
/// By which a stream knows copies.
const DEDUPE_ID: &str = "Nats-Msg-Id";

/// A server with JetStream.
#[derive(Clone)]
pub struct Nats {
    server: ServerAddr,
    name: String,
    authority: Option<PathBuf>,
}

/// Without user and password.
impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Nats").field(&self.place()).finish()
    }
}

impl Nats {
    /// Reads a URL: `nats://user:password@host:port`, `nats://token@…`; `tls://…` where the server must speak TLS. `name` is what the
    /// server shows of the connection.
    ///
    /// # Errors
    /// It is no URL that can be connected to. The text does not repeat the URL.
    pub fn new(url: &str, name: &str) -> Result<Self, String> {
        let is_ours = ["nats://", "tls://"].iter().any(|scheme| url.starts_with(scheme));
        let server = ServerAddr::from_str(url).ok().filter(|server| is_ours && !server.host().is_empty());
        let server = server.ok_or("expected nats://user:password@host:port or tls://…")?;
        Ok(Self { server, name: name.to_owned(), authority: None })
    }

    /// Certificates, as PEM, of the authorities that the server's is checked by, instead of the machine's.
    #[must_use]
    pub fn authority(mut self, file: Option<PathBuf>) -> Self {
        self.authority = file;
        self
    }

    /// Host and port, for people.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}://{}:{}", self.server.scheme(), self.server.host(), self.server.port())
    }

    fn login(&self) -> Auth {
        let decoded = |text: &str| crate::percent::decoded(text);
        let (user, password) = (self.server.username().map(decoded), self.server.password().map(decoded));
        let mut login = Auth::new();
        match password {
            Some(password) => (login.username, login.password) = (user, Some(password)),
            None => login.token = user,
        }
        login
    }

    async fn connect(&self) -> Result<Client, async_nats::ConnectError> {
        let (login, used) = (self.login(), Arc::new(AtomicBool::new(false)));
        // Asked at every attempt to connect, and so what keeps the client from a second connection.
        let mut options = ConnectOptions::with_auth_callback(move |_nonce| {
            let answer = match used.swap(true, Ordering::Relaxed) {
                false => Ok(login.clone()),
                true => Err(AuthError::new("a connection that has ended stays ended")),
            };
            std::future::ready(answer)
        });
        options = options.name(&self.name).max_reconnects(1).connection_timeout(CONNECT);
        options = options.request_timeout(Some(CONNECT)).require_tls(self.server.tls_required());
        if let Some(file) = &self.authority {
            options = options.add_root_certificates(file.clone());
        }
        options.connect(self.server.clone()).await
    }
}

impl Target for Nats {
    type Publisher = NatsPublisher;

    async fn open(&self) -> Result<NatsPublisher, Fault> {
        let place = self.place();
        let client = timeout(CONNECT, self.connect())
            .await
            .map_err(|_| Fault::Connection(format!("could not connect to {place} within {CONNECT:?}")))?
            .map_err(|error| Fault::Connection(format!("could not connect to {place}: {}", said(&error))))?;
        let builder =
            ContextBuilder::new().timeout(CONNECT).ack_timeout(CONFIRM).max_ack_inflight(INFLIGHT_MAX);
        let jetstream = builder.build(client.clone());
        // Said now: without JetStream no message would ever be confirmed.
        jetstream
            .query_account()
            .await
            .map_err(|error| Fault::Connection(format!("{place} has no JetStream: {}", said(&error))))?;
        Ok(NatsPublisher { client, jetstream, known: HashSet::new() })
    }
}

/// A connection.
pub struct NatsPublisher {
    client: Client,
    jetstream: Context,
    /// Subjects that a stream takes.
    known: HashSet<String>,
}

impl Publisher for NatsPublisher {
    async fn admit(&mut self, message: &Message) -> Result<Outcome, Fault> {
        let lines = match lines(message) {
            Ok(lines) => lines,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let (bytes, max) = (size(&lines) + message.payload.len(), self.client.max_payload());
        if bytes > max {
            let reason = format!("it has {bytes} bytes with its headers, the server takes {max}");
            return Ok(Outcome::Refused(Refusal::lasting(reason)));
        }
        self.stream(&message.address).await
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        let mut confirms = Vec::with_capacity(batch.len());
        for message in batch {
            let lines = lines(message).expect("only what was admitted is published");
            let payload = bytes::Bytes::copy_from_slice(&message.payload);
            let publish = PublishMessage::build().headers(lines).payload(payload);
            let subject = message.address.name().to_owned();
            confirms.push(self.jetstream.send_publish(subject, publish).await.map_err(cut)?);
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for (message, confirm) in batch.iter().zip(confirms) {
            outcomes.push(match confirm.into_future().await {
                Ok(_) => Outcome::Confirmed,
                Err(error) => self.refused(message.address.name(), error)?,
            });
        }
        Ok(outcomes)
    }
}

impl NatsPublisher {
    /// Looks which stream takes the subject, and makes one if none does; once per connection.
    async fn stream(&mut self, address: &Address) -> Result<Outcome, Fault> {
        let subject = address.name();
        if self.known.contains(subject) {
            return Ok(Outcome::Confirmed);
        }
        if !is_subject(subject) {
            let reason = format!("{subject:?} is not a subject that can be published to");
            return Ok(Outcome::Refused(Refusal::lasting(reason)));
        }
        match self.jetstream.stream_by_subject(subject).await {
            Ok(_) => {}
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => {
                let Some(config) = config(address) else {
                    let reason = format!("no stream takes the subject {subject:?}");
                    return Ok(Outcome::Refused(Refusal::passing(reason)));
                };
                if let Err(error) = self.jetstream.get_or_create_stream(config).await {
                    let reason = format!("no stream takes the subject {subject:?}, and {}", said(&error));
                    return Ok(Outcome::Refused(Refusal::passing(reason)));
                }
            }
            Err(error) => return Err(Fault::Connection(said(&error))),
        }
        if self.known.len() == KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(subject.to_owned());
        Ok(Outcome::Confirmed)
    }

    fn refused(&mut self, subject: &str, error: PublishError) -> Result<Outcome, Fault> {
        let refusal = match error.kind() {
            PublishErrorKind::StreamNotFound => {
                self.known.remove(subject);
                Refusal::passing(said(&error))
            }
            PublishErrorKind::MaxPayloadExceeded => Refusal::lasting(said(&error)),
            PublishErrorKind::Other => {
                let by_stream =
                    error.source().and_then(|why| why.downcast_ref::<async_nats::jetstream::Error>());
                let code = by_stream.map(async_nats::jetstream::Error::error_code);
                let lasting = code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
                Refusal { reason: said(&error), lasting }
            }
            _ => return Err(cut(error)),
        };
        Ok(Outcome::Refused(refusal))
    }
}

/// The stream that is made for an address: named as the exchange, for all subjects below it, or for the one where there is no key.
fn config(address: &Address) -> Option<Config> {
    let below = format!("{}.", address.exchange);
    let subjects = match address.routing_key.as_str() {
        "" => address.exchange.clone(),
        key if key.starts_with(&below) => format!("{below}>"),
        key => key.to_owned(),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let name: String = address.exchange.chars().map(plain).collect();
    let can_be_made = address.is_made() && !name.is_empty();
    can_be_made.then(|| Config { name, subjects: vec![subjects], ..Config::default() })
}

/// Whether a server takes it: no empty part, no wildcard, nothing of the server's own.
fn is_subject(subject: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "*"
            && part != ">"
            && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    subject.split('.').all(is_part) && !subject.starts_with('$') && !subject.starts_with("_INBOX.")
}

fn lines(message: &Message) -> Result<HeaderMap, Refusal> {
    let mut lines = HeaderMap::new();
    let own = message.lines().into_iter().filter(|(name, _)| !name.starts_with("Nats-"));
    for (name, text) in own.chain([(DEDUPE_ID, message.id.clone())]) {
        let refused = || Refusal::lasting(format!("header {name:.80}: not a line of text"));
        let key = HeaderName::from_str(name).map_err(|_| refused())?;
        lines.insert(key, HeaderValue::from_str(&text).map_err(|_| refused())?);
    }
    Ok(lines)
}

/// Bytes of the headers on the wire.
fn size(lines: &HeaderMap) -> usize {
    let line = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        let name: &str = name.as_ref();
        values.iter().map(|value| name.len() + value.as_str().len() + 4).sum::<usize>()
    };
    "NATS/1.0\r\n\r\n".len() + lines.iter().map(line).sum::<usize>()
}

fn cut(error: PublishError) -> Fault {
    Fault::Connection(said(&error))
}

/// The client's words, and those of what was behind them.
fn said(error: &dyn std::error::Error) -> String {
    let (text, why) = (error.to_string(), error.source().map(ToString::to_string));
    match why {
        Some(why) if !text.contains(&why) => format!("{text}: {why}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Exchange;
    use crate::route::Route;
    use crate::testing::row;

    #[test]
    fn a_message_carries_its_id_twice_and_its_headers() {
        let lines = lines(&Route::default().message(row(7, "a-1")).unwrap()).unwrap();
        for (name, text) in [
            ("Nats-Msg-Id", "id-7"),
            ("id", "id-7"),
            ("key", "a-1"),
            ("type", "OrderPlaced"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(lines.get(name).map(HeaderValue::as_str), Some(text), "{name}");
        }
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn what_a_line_cannot_hold_is_refused_with_its_name() {
        let mut message = Route::default().message(row(7, "a-1")).unwrap();
        message.headers.insert("note".into(), "two\r\nlines".into());
        let refusal = lines(&message).unwrap_err();
        assert!(refusal.lasting && refusal.reason.contains("header note"), "{refusal:?}");
    }

    #[test]
    fn a_stream_is_made_for_what_is_below_its_exchange() {
        let address = |exchange: &str, key: &str, declare| {
            let (exchange, routing_key) = (exchange.to_owned(), key.to_owned());
            config(&Address { exchange, routing_key, declare, must_route: false })
                .map(|config| (config.name, config.subjects))
        };
        let made = |name: &str, subject: &str| Some((name.to_owned(), vec![subject.to_owned()]));
        assert_eq!(
            address("outbox.event", "outbox.event.order", Exchange::Topic),
            made("outbox_event", "outbox.event.>")
        );
        assert_eq!(address("EVENTS", "orders.placed", Exchange::Topic), made("EVENTS", "orders.placed"));
        assert_eq!(address("Shop:Order", "", Exchange::Fanout), made("Shop_Order", "Shop:Order"));
        assert_eq!(address("", "work", Exchange::Existing), None);
    }

    #[test]
    fn what_is_no_subject_is_known_before_it_is_sent() {
        for subject in ["outbox.event.order", "Shop.Contracts:OrderPlaced", "a>b"] {
            assert!(is_subject(subject), "{subject}");
        }
        for subject in ["", "a..b", "a.", "a b", "a.*", "a.>", "$JS.API.INFO", "_INBOX.x"] {
            assert!(!is_subject(subject), "{subject}");
        }
    }

    #[test]
    fn no_text_holds_a_password() {
        let nats = Nats::new("nats://ann:hunt%20er2@example.org", "relay").unwrap();
        assert_eq!(format!("{nats:?}"), "Nats(\"nats://example.org:4222\")");
        assert_eq!(nats.login().password.as_deref(), Some("hunt er2"));
        assert_eq!(
            Nats::new("nats://secret@example.org", "relay").unwrap().login().token.as_deref(),
            Some("secret")
        );
        for url in ["ann:hunter2@example.org", "http://ann:hunter2@example.org", "nats://ann:hunter2@:4222"] {
            assert!(!Nats::new(url, "relay").unwrap_err().contains("hunter2"), "{url}");
        }
    }
}
