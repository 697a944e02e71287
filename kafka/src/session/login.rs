//! From the first request to an open namespace: SASL (PLAIN, SCRAM), or nobody where the driver takes strangers.
//!
//! SaslHandshake version 0 is followed by bare tokens in frames without a header, version 1 by SaslAuthenticate. A failed login is
//! told and the connection ended, as in Kafka.

use super::scram::{self, Challenge, ClientFirst};
use super::slot::Slot;
use super::{Connection, api_versions, serve};
use crate::codec::Malformed;
use crate::codec::api::ApiKey;
use crate::codec::frame::Violation;
use crate::codec::generated::api_versions::ApiVersionsRequest;
use crate::codec::generated::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use crate::codec::generated::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use crate::profile;
use crate::refuse::Code;
use bytes::{BufMut, Bytes};
use stele_model::id::{Now, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Done, Outcome};
use stele_model::registry::{ScramHash, ScramSecret};
use stele_model::session::{Authenticate, Outbox, Principal, Rejected};

/// Names of the mechanisms, in the order in which they are offered.
const MECHANISMS: [(&str, Mechanism); 3] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::Scram(ScramHash::Sha256)),
    ("SCRAM-SHA-512", Mechanism::Scram(ScramHash::Sha512)),
];

/// The ticket of the one request that is made before any other.
const OPEN: Ticket = Ticket(0);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mechanism {
    Plain,
    Scram(ScramHash),
}

/// How far the login is.
#[derive(Debug)]
pub(super) struct Login {
    phase: Phase,
    limit: Option<Now>,
    /// Tokens come bare.
    raw: bool,
    /// The SaslAuthenticate that is being answered.
    slot: Option<u64>,
    /// The server's last word, sent when all is well.
    last_word: String,
}

#[derive(Debug)]
enum Phase {
    /// Nothing but questions for versions.
    Strange,
    /// The driver is asked whether it takes strangers.
    Nobody,
    /// A mechanism was agreed on.
    Agreed(Mechanism),
    /// A password is being checked.
    Password,
    /// What is kept for SCRAM is being looked up.
    Secret(ClientFirst),
    /// The client is to prove that it knows the password.
    Challenged(Box<Challenge>),
    /// It has; the driver looks who it is.
    Proven,
    /// The namespace is being opened.
    Opening,
    /// All is well.
    Open,
}

impl Login {
    pub(super) fn new(now: Now) -> Self {
        let limit = Some(now.plus_ms(profile::LOGIN_MS));
        Self { phase: Phase::Strange, limit, raw: false, slot: None, last_word: String::new() }
    }

    /// Requests are served.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Something was begun, or all is well.
    pub(super) fn is_begun(&self) -> bool {
        !matches!(self.phase, Phase::Strange)
    }

    /// An answer is awaited: nothing is parsed meanwhile.
    pub(super) fn is_checking(&self) -> bool {
        match self.phase {
            Phase::Nobody | Phase::Password | Phase::Secret(_) | Phase::Proven | Phase::Opening => true,
            Phase::Strange | Phase::Agreed(_) | Phase::Challenged(_) | Phase::Open => false,
        }
    }

    /// The next frame is a bare token.
    pub(super) fn takes_token(&self) -> bool {
        self.raw && matches!(self.phase, Phase::Agreed(_) | Phase::Challenged(_))
    }

    /// When it must be over.
    pub(super) fn deadline(&self) -> Option<Now> {
        self.limit
    }
}

impl Connection {
    /// Asks the driver whether it takes clients that do not say who they are, unless nobody is taken without a login.
    pub(super) fn say_nobody(&mut self, out: &mut Outbox) {
        if self.profile.login {
            return self.end("a request without a login", out);
        }
        self.login.phase = Phase::Nobody;
        out.authenticate = Some(Authenticate::Nobody);
    }

    /// A request before the end of the login.
    pub(super) fn login_request(&mut self, slot: Slot, out: &mut Outbox) -> Result<(), Violation> {
        let (api, version, body) = (slot.api, slot.version, slot.body.clone());
        let number = self.slots.push(slot);
        match api {
            ApiKey::ApiVersions => {
                let request: ApiVersionsRequest<'_> = api.read(version, &body)?;
                let answer = api_versions::answer(&mut self.identity, version, &request);
                self.answer(number, &answer);
            }
            ApiKey::SaslHandshake => {
                let request: SaslHandshakeRequest<'_> = api.read(version, &body)?;
                self.handshake(number, version, &request, out);
            }
            ApiKey::SaslAuthenticate => {
                let request: SaslAuthenticateRequest<'_> = api.read(version, &body)?;
                self.login.slot = Some(number);
                self.token(request.auth_bytes, out);
            }
            _ => return Err(Malformed("a request in the middle of a login").into()),
        }
        Ok(())
    }

    fn handshake(&mut self, number: u64, version: i16, request: &SaslHandshakeRequest<'_>, out: &mut Outbox) {
        let found = MECHANISMS.iter().find(|(name, _)| *name == request.mechanism);
        let code = match (found, &self.login.phase) {
            (_, phase) if !matches!(phase, Phase::Strange) => Code::IllegalSaslState,
            (None, _) => Code::UnsupportedSaslMechanism,
            (Some((_, mechanism)), _) => {
                self.login.phase = Phase::Agreed(*mechanism);
                self.login.raw = version == 0;
                Code::None
            }
        };
        let mechanisms = MECHANISMS.iter().map(|(name, _)| (*name).into()).collect();
        self.answer(number, &SaslHandshakeResponse { error_code: code.number(), mechanisms });
        if code != Code::None {
            self.end_answered("the SASL mechanism was not agreed on", out);
        }
    }

    /// A token in a frame of its own.
    pub(super) fn raw_token(&mut self, octets: &Bytes, out: &mut Outbox) {
        self.token(octets, out);
    }

    fn token(&mut self, token: &[u8], out: &mut Outbox) {
        let phase = std::mem::replace(&mut self.login.phase, Phase::Strange);
        match phase {
            Phase::Agreed(Mechanism::Plain) => match plain(token) {
                Some((user, password)) => {
                    self.login.phase = Phase::Password;
                    out.authenticate = Some(Authenticate::Password { user, password });
                }
                None => self.login_failed(out),
            },
            Phase::Agreed(Mechanism::Scram(hash)) => match scram::client_first(token) {
                Some(first) => {
                    let user = first.user.clone();
                    self.login.phase = Phase::Secret(first);
                    out.authenticate = Some(Authenticate::Scram { user, hash });
                }
                None => self.login_failed(out),
            },
            Phase::Challenged(challenge) => match challenge.check(token) {
                Some(last_word) => {
                    self.login.last_word = last_word;
                    self.login.phase = Phase::Proven;
                    out.authenticate = Some(Authenticate::Proven { user: challenge.user });
                }
                None => self.login_failed(out),
            },
            // SaslAuthenticate without a handshake, or more of it than the mechanism has.
            _ => {
                self.answer_token(Code::IllegalSaslState, "no SASL exchange is under way", "", out);
                self.end_answered("SASL out of order", out);
            }
        }
    }

    /// What is kept of the user, or that nothing is.
    pub(super) fn scram_secret(&mut self, secret: Result<ScramSecret, Rejected>, out: &mut Outbox) {
        let phase = std::mem::replace(&mut self.login.phase, Phase::Strange);
        match (phase, secret) {
            (Phase::Secret(first), Ok(secret)) => {
                let nonce = self.identity.nonce();
                let (challenge, message) = scram::challenge(first, secret, &nonce);
                self.login.phase = Phase::Challenged(Box::new(challenge));
                self.answer_token(Code::None, "", &message, out);
            }
            _ => self.login_failed(out),
        }
    }

    /// The driver has looked who the client is.
    pub(super) fn credentials_checked(&mut self, result: Result<Principal, Rejected>, out: &mut Outbox) {
        match result {
            Ok(principal) => {
                self.identity.user = principal.name;
                self.login.phase = Phase::Opening;
                let namespace = self.profile.namespace.clone();
                out.submits.push(Submit { ticket: OPEN, lane: 0, op: Op::Open { namespace } });
            }
            Err(Rejected) => self.login_failed(out),
        }
    }

    /// The namespace is open, or not.
    pub(super) fn opened(&mut self, outcome: &Outcome, out: &mut Outbox) {
        if !matches!(self.login.phase, Phase::Opening) {
            return;
        }
        match outcome {
            Outcome::Done(Done::Opened) => {
                self.login.phase = Phase::Open;
                self.login.limit = None;
                let last_word = std::mem::take(&mut self.login.last_word);
                self.answer_token(Code::None, "", &last_word, out);
            }
            _ => self.login_failed(out),
        }
    }

    /// Deliberately without detail.
    fn login_failed(&mut self, out: &mut Outbox) {
        if !self.login.raw {
            let text = "Authentication failed: invalid credentials";
            self.answer_token(Code::SaslAuthenticationFailed, text, "", out);
        }
        self.end_answered("login refused", out);
    }

    /// Answers the token that is being answered, if one is: who did not log in gets no answer to it.
    fn answer_token(&mut self, code: Code, text: &str, token: &str, out: &mut Outbox) {
        if let Some(number) = self.login.slot.take() {
            let answer = SaslAuthenticateResponse {
                error_code: code.number(),
                error_message: (code != Code::None).then(|| text.into()),
                auth_bytes: token.as_bytes(),
                session_lifetime_ms: 0,
            };
            self.answer(number, &answer);
        } else if self.login.raw {
            let buffer = out.write.buffer();
            buffer.put_u32(u32::try_from(token.len()).expect("a token is short"));
            buffer.put_slice(token.as_bytes());
        }
    }

    /// SASL after the login: sessions have no end here, so nobody has to do it again.
    pub(super) fn late_login(&mut self, number: u64) {
        let error_code = Code::IllegalSaslState.number();
        if self.slots.get(number).is_some_and(|slot| slot.api == ApiKey::SaslHandshake) {
            let mechanisms = MECHANISMS.iter().map(|(name, _)| (*name).into()).collect();
            self.answer(number, &SaslHandshakeResponse { error_code, mechanisms });
        } else {
            let error_message = Some("the login is over".into());
            let answer = SaslAuthenticateResponse { error_code, error_message, ..Default::default() };
            self.answer(number, &answer);
        }
    }

    /// Sends what was answered and ends the connection.
    fn end_answered(&mut self, why: &str, out: &mut Outbox) {
        self.slots.write_ready(&mut out.write);
        self.end(why, out);
    }
}

/// `[identity] NUL user NUL password` (RFC 4616). Acting as somebody else is refused.
fn plain(token: &[u8]) -> Option<(String, String)> {
    let mut parts = token.splitn(3, |octet| *octet == 0);
    let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
    let (identity, user, password) = (text()?, text()?, text()?);
    let fits = (identity.is_empty() || identity == user) && !user.is_empty();
    fits.then_some((user, password))
}

const _: () = assert!(serve::FIRST_TICKET > OPEN.0);
