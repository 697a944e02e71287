//! From the protocol header to `connection.open-ok`, and the connection's own methods after that.

use super::ticket::{Awaited, Waiting};
use super::{Connection, Phase, violation};
use crate::codec::field::{LongStr, ShortStr};
use crate::codec::frame::{Frame, Kind};
use crate::codec::method::{Method, put_method};
use crate::profile;
use crate::refuse::{Code, Exception, cut, refused};
use bytes::BytesMut;
use std::ops::RangeInclusive;
use stele_model::id::Now;
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::session::{Authenticate, Outbox, Principal, Rejected};
use stele_record::table::{Table, Value, put_table};

/// What a client sends first, and what it is answered if it sends anything else (section 4.2.2).
const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// The header of 0-9, which RabbitMQ takes for 0-9-1.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

/// Who is at the other end.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// What it calls itself.
    pub(super) client: String,
    /// The user, once known.
    pub(super) user: String,
    /// The namespace, once open.
    pub(super) virtual_host: String,
    /// Clients may log in by certificate; whom its certificate names.
    pub(super) certified: Option<Option<String>>,
    /// How it has shown who it is.
    mechanism: &'static str,
    /// Wants a close in place of silence when the login fails.
    failure_close: bool,
    /// Understands a `basic.cancel` of the server.
    pub(super) cancel_notify: bool,
    /// Understands `connection.blocked`.
    pub(super) blocked: bool,
}

impl Peer {
    fn introduced(&mut self, properties: Table<'_>) {
        if let Some(Value::Table(capabilities)) = properties.find(b"capabilities") {
            let has = |name: &str| capabilities.find(name.as_bytes()) == Some(Value::Bool(true));
            self.failure_close = has("authentication_failure_close");
            self.cancel_notify = has("consumer_cancel_notify");
            self.blocked = has("connection.blocked");
        }
        let text = |name: &str| match properties.find(name.as_bytes()) {
            Some(Value::Str(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        self.client = text("connection_name").or_else(|| text("product")).unwrap_or_default();
    }
}

impl Connection {
    /// Returns the octets used; 0: wait for more.
    pub(super) fn protocol_header(&mut self, input: &[u8], out: &mut Outbox) -> usize {
        let common = input.len().min(PROTOCOL_HEADER.len());
        let is_start_of = |header: &[u8; 8]| header.starts_with(input.get(..common).unwrap_or_default());
        if !is_start_of(&PROTOCOL_HEADER) && !is_start_of(&PROTOCOL_HEADER_0_9) {
            out.write.buffer().extend_from_slice(&PROTOCOL_HEADER);
            self.end("the client does not speak AMQP 0-9-1", out);
            return input.len();
        }
        if common < PROTOCOL_HEADER.len() {
            return 0;
        }
        self.start(out);
        PROTOCOL_HEADER.len()
    }

    fn start(&mut self, out: &mut Outbox) {
        let mut properties = BytesMut::new();
        put_table(&mut properties, |table| {
            table.table("capabilities", |capabilities| {
                for name in CAPABILITIES {
                    capabilities.entry(name.as_bytes(), Value::Bool(true));
                }
            });
            table.text("cluster_name", &self.profile.cluster_name);
            table.text("copyright", "The Stele authors");
            table.text("information", "Stele; licensed under the Apache License 2.0");
            table.text("platform", &self.profile.platform);
            table.text("product", &self.profile.product);
            table.text("version", &self.profile.version);
        });
        let start = Method::ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: Table::of(properties.get(4..).unwrap_or_default()),
            // Offered also to who showed no certificate: a refusal says more than a mechanism that is not there.
            mechanisms: LongStr(match self.peer.certified {
                Some(_) => b"PLAIN AMQPLAIN EXTERNAL",
                None => b"PLAIN AMQPLAIN",
            }),
            locales: LongStr(b"en_US"),
        };
        put_method(out.write.buffer(), 0, &start);
        self.phase = Phase::Starting;
    }

    /// A method on channel 0.
    pub(super) fn connection_method(&mut self, payload: &[u8], out: &mut Outbox) -> Result<(), Exception> {
        let method = Method::decode(payload).map_err(violation)?;
        let done = match (self.phase, &method) {
            (Phase::Starting, Method::ConnectionStartOk { client_properties, mechanism, response, .. }) => {
                self.start_ok(*client_properties, mechanism.0, response.0, out)
            }
            (Phase::Tuning, Method::ConnectionTuneOk { channel_max, frame_max, heartbeat }) => {
                self.tune_ok(*channel_max, *frame_max, *heartbeat, out);
                Ok(())
            }
            (Phase::Opening, Method::ConnectionOpen { virtual_host, .. }) => {
                let namespace = virtual_host.text();
                self.peer.virtual_host.clone_from(&namespace);
                self.ask(Waiting::new(0, &method, Awaited::Opened), Op::Open { namespace }, out);
                Ok(())
            }
            (Phase::Running, Method::ConnectionUpdateSecret { .. }) => {
                // A password proves who logs in; nothing hangs on it afterwards that a new one could prolong. As RabbitMQ does with its own
                // users, whose clients send here whatever their provider of credentials renews, also other users' passwords.
                put_method(out.write.buffer(), 0, &Method::ConnectionUpdateSecretOk {});
                Ok(())
            }
            (_, Method::ConnectionClose { .. }) => {
                self.flush(out);
                put_method(out.write.buffer(), 0, &Method::ConnectionCloseOk {});
                self.end("closed by the client", out);
                Ok(())
            }
            (phase, method) => {
                let text = format!("unexpected method {} in connection state {phase:?}", method.name());
                Err(Exception::new(Code::ChannelError, text))
            }
        };
        done.map_err(|exception| exception.by(method.id()))
    }

    fn start_ok(
        &mut self,
        properties: Table<'_>,
        mechanism: &[u8],
        response: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        self.peer.introduced(properties);
        let (name, credentials) = match (mechanism, &self.peer.certified) {
            (b"PLAIN", _) => ("PLAIN", plain(response)),
            (b"AMQPLAIN", _) => ("AMQPLAIN", amqplain(response)),
            (b"EXTERNAL", Some(user)) => {
                let user = user.clone();
                self.external(user, out);
                return Ok(());
            }
            (other, _) => {
                // In silence, as RabbitMQ: a stranger is told little.
                self.end(
                    &format!("unknown authentication mechanism '{}'", String::from_utf8_lossy(other)),
                    out,
                );
                return Ok(());
            }
        };
        let text = "response to the authentication mechanism cannot be read";
        let (user, password) = credentials.ok_or_else(|| Exception::new(Code::SyntaxError, text))?;
        self.peer.mechanism = name;
        self.peer.user.clone_from(&user);
        out.authenticate = Some(Authenticate::Password { user, password });
        self.phase = Phase::Authenticating;
        Ok(())
    }

    /// The certificate is the proof; a response would ask to be somebody else (RFC 4422, appendix A), which, as in RabbitMQ, is not looked at.
    fn external(&mut self, user: Option<String>, out: &mut Outbox) {
        self.peer.mechanism = "EXTERNAL";
        self.peer.user = user.clone().unwrap_or_default();
        out.authenticate = Some(user.map_or(Authenticate::Nobody, |user| Authenticate::Proven { user }));
        self.phase = Phase::Authenticating;
    }

    /// The driver has looked at the credentials.
    pub(super) fn credentials_checked(
        &mut self,
        result: Result<Principal, Rejected>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        if self.phase != Phase::Authenticating {
            return Ok(());
        }
        let Ok(principal) = result else {
            self.phase = Phase::Starting;
            if !self.peer.failure_close {
                self.end("login refused", out);
                return Ok(());
            }
            let text = format!(
                "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                self.peer.mechanism
            );
            return Err(Exception::new(Code::AccessRefused, text));
        };
        self.peer.user = principal.name;
        let tune = Method::ConnectionTune {
            channel_max: self.profile.channel_max,
            frame_max: self.profile.frame_bytes_max,
            heartbeat: self.profile.heartbeat_s,
        };
        put_method(out.write.buffer(), 0, &tune);
        self.phase = Phase::Tuning;
        Ok(())
    }

    fn tune_ok(&mut self, channel_max: u16, frame_max: u32, heartbeat: u16, out: &mut Outbox) {
        let frames = profile::FRAME_BYTES_MIN..=self.profile.frame_bytes_max;
        let agreed = negotiated("frame_max", frame_max, frames).and_then(|()| {
            negotiated("channel_max", u32::from(channel_max), 1..=u32::from(self.profile.channel_max))
        });
        if let Err(text) = agreed {
            // In silence, as RabbitMQ.
            return self.end(&text, out);
        }
        self.frame_bytes_max = frame_max;
        self.channels.limit(channel_max);
        self.clock.agree(heartbeat);
        self.phase = Phase::Opening;
    }

    /// The namespace is open, or not.
    pub(super) fn opened(&mut self, outcome: Outcome, out: &mut Outbox) -> Result<(), Exception> {
        match outcome {
            Outcome::Done(Done::Opened) => {
                put_method(out.write.buffer(), 0, &Method::ConnectionOpenOk { reserved_1: ShortStr(b"") });
                self.phase = Phase::Running;
                self.clock.opened();
                // It may have been blocked before it was open.
                self.tell_blocked(out);
                Ok(())
            }
            Outcome::Refused(refusal) => {
                let Exception { text, .. } = refused(&refusal);
                let code = match refusal {
                    Refusal::Unavailable { .. } => Code::InternalError,
                    _ => Code::NotAllowed,
                };
                Err(Exception::new(code, text))
            }
            other => unreachable!("the hub answers connection.open with {other:?}"),
        }
    }

    /// Ends the connection with a reason the client is told.
    pub(super) fn close_connection(&mut self, now: Now, exception: &Exception, out: &mut Outbox) {
        if self.close_sent || self.phase == Phase::Closed {
            return;
        }
        let silent = self.phase == Phase::Header;
        if silent {
            return self.end(&exception.reply_text(), out);
        }
        self.flush(out);
        let numbers: Vec<u16> = self.channels.numbers().collect();
        for number in numbers {
            self.release_channel(number, out);
        }
        self.settles.flush(out);
        self.waiting = None;
        let text = exception.reply_text();
        let (class_id, method_id) = exception.method;
        let reply_text = ShortStr(text.as_bytes());
        let close =
            Method::ConnectionClose { reply_code: exception.code as u16, reply_text, class_id, method_id };
        put_method(out.write.buffer(), 0, &close);
        self.close_sent = true;
        let lost = self.phase == Phase::Lost;
        self.clock.closing(now, if lost { profile::LOST_MS } else { profile::CLOSING_MS });
        if !lost {
            self.phase = Phase::Closing;
        }
    }

    /// A frame after our `connection.close`: only its answer counts, or the client's own close.
    pub(super) fn closing_frame(&mut self, frame: &Frame<'_>, out: &mut Outbox) {
        if (frame.channel, frame.kind) != (0, Kind::Method) {
            return;
        }
        match Method::decode(frame.payload) {
            Ok(Method::ConnectionCloseOk {}) => self.end("closed by the server", out),
            Ok(Method::ConnectionClose { .. }) => {
                put_method(out.write.buffer(), 0, &Method::ConnectionCloseOk {});
                self.end("closed by both sides", out);
            }
            _ => {}
        }
    }

    /// Publishers must stop.
    pub(super) fn block(&mut self, reason: String, out: &mut Outbox) {
        let before = self.blocked.replace(reason);
        if before.is_none() {
            self.tell_blocked(out);
        }
    }

    fn tell_blocked(&mut self, out: &mut Outbox) {
        if let Some(reason) = &self.blocked
            && self.phase == Phase::Running
            && self.peer.blocked
        {
            let reason = ShortStr(cut(reason).as_bytes());
            put_method(out.write.buffer(), 0, &Method::ConnectionBlocked { reason });
        }
    }

    /// Publishers may go on.
    pub(super) fn unblock(&mut self, out: &mut Outbox) {
        let before = self.blocked.take();
        if before.is_some() && self.phase == Phase::Running && self.peer.blocked {
            put_method(out.write.buffer(), 0, &Method::ConnectionUnblocked {});
        }
        self.flush(out);
    }
}

/// What we can do, in the words clients look for.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

fn negotiated(field: &str, value: u32, range: RangeInclusive<u32>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    let unlimited = if value == 0 { " (no limit)" } else { "" };
    let (than, bound, limit) = if value != 0 && value < *range.start() {
        ("lower", "minimum", range.start())
    } else {
        ("higher", "maximum", range.end())
    };
    Err(format!("negotiated {field} = {value}{unlimited} is {than} than the {bound} allowed value ({limit})"))
}

/// `[identity] NUL user NUL password` (RFC 4616).
fn plain(response: &[u8]) -> Option<(String, String)> {
    let mut parts = response.splitn(3, |octet| *octet == 0);
    let (_identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    credentials(user, password)
}

/// A table's entries `LOGIN` and `PASSWORD`, without the table's length.
fn amqplain(response: &[u8]) -> Option<(String, String)> {
    let table = Table::of(response);
    match (table.find(b"LOGIN")?, table.find(b"PASSWORD")?) {
        (Value::Str(user), Value::Str(password)) => credentials(user, password),
        _ => None,
    }
}

/// User and password.
fn credentials(user: &[u8], password: &[u8]) -> Option<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some((text(user)?, text(password)?))
}
