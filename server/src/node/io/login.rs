//! Who a client is: what a dialect's session asks to be found out, looked up in definitions and configuration; and, when users are read
//! again, whether it still is.
//!
//! What takes long to check is left to [`crate::node::logins`], and the session waits for it. What must hold: what was found to fit counts only if
//! it is still what is known of the user when the answer comes.

use super::connection::Connection;
use super::message::{Dialect, Guests, Rules};
use super::{Io, find};
use crate::node::logins::{Check, Fit};
use crate::{nkey, passwords};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::net::SocketAddr;
use std::sync::Arc;
use stele_hub::Snapshot;
use stele_model::flow::Party;
use stele_model::id::{Now, PrincipalId, SessionId};
use stele_model::session::{Authenticate, Principal, Rejected};

/// Who a connection's client has shown to be, and by what: kept where users can be read again.
pub(super) struct Login {
    ask: Authenticate,
    /// The hash that took long to check.
    fit: Option<Fit>,
    principal: PrincipalId,
    namespace: String,
}

/// A check that a connection waits for.
pub(super) struct Checking {
    number: u64,
    ask: Authenticate,
    /// The client was let in before.
    again: bool,
    /// As long as it is there, the check is wanted.
    _waits: Arc<()>,
}

/// What can be said of credentials at once.
enum Said {
    /// Whose they are.
    Known(Option<String>),
    /// They may be these users', if the secret fits.
    Slow(String, Vec<Fit>),
}

/// Looks up whose credentials these are. SCRAM's are not for this: the session computes the proof.
fn look_up(snapshot: &Snapshot, guests: &Guests, dialect: Dialect, ask: &Authenticate) -> Said {
    let named = |user: &str| Said::Known(Some(user.to_owned()));
    match ask {
        Authenticate::Password { user, password } => match snapshot.user(user) {
            Some(account) if passwords::is_slow(&account.user.password_hash) => {
                let hash = account.user.password_hash.clone();
                Said::Slow(password.clone(), vec![Fit { user: user.clone(), hash }])
            }
            Some(account) if passwords::verify(password, &account.user.password_hash) => named(user),
            _ => Said::Known(None),
        },
        Authenticate::Proven { user } => named(user),
        Authenticate::Nobody => Said::Known(guests.anonymous(dialect).map(str::to_owned)),
        Authenticate::Token { token } => {
            let is_it = |known: &str| verify_slices_are_equal(known.as_bytes(), token.as_bytes()).is_ok();
            let tokens = guests.nats.iter().filter_map(|(name, user)| Some((name, user.token.as_ref()?)));
            let (slow, plain): (Vec<_>, Vec<_>) = tokens.partition(|(_, known)| passwords::is_slow(known));
            match plain.iter().find(|(_, known)| is_it(known)) {
                Some((name, _)) => named(name),
                None if slow.is_empty() => Said::Known(None),
                None => {
                    let fit =
                        |(user, hash): (&String, &String)| Fit { user: user.clone(), hash: hash.clone() };
                    Said::Slow(token.clone(), slow.into_iter().map(fit).collect())
                }
            }
        }
        Authenticate::Signature { key, signed, signature } => {
            let found = guests.nats.iter().find(|(_, user)| user.nkey.as_ref() == Some(key));
            let found = found.filter(|_| nkey::verify(key, signed.as_bytes(), signature));
            Said::Known(found.map(|(name, _)| name.clone()))
        }
        Authenticate::Scram { .. } => Said::Known(None),
    }
}

/// Most characters of a name that a log line shows.
const NAME_CHARS_MAX: usize = 64;

/// What the log says of a login that was refused: clients are told to look there.
fn refused(ask: &Authenticate, dialect: &str, peer: Option<SocketAddr>) -> String {
    let who = match ask {
        Authenticate::Password { user, .. }
        | Authenticate::Proven { user }
        | Authenticate::Scram { user, .. } => {
            let name: String = user.chars().take(NAME_CHARS_MAX).collect();
            format!("of user {name:?}")
        }
        Authenticate::Token { .. } => "by a token".into(),
        Authenticate::Signature { .. } => "by a signature".into(),
        Authenticate::Nobody => "of nobody".into(),
    };
    let peer = peer.map_or_else(|| "this server".into(), |peer| peer.to_string());
    format!("refused a login {who} by {dialect} from {peer}")
}

impl Io {
    /// Finds out who the client is, and tells its session; at once, or when it is known.
    pub(super) fn authenticate(&mut self, now: Now, slot: usize, ask: Authenticate) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.resume = true;
        if let Authenticate::Scram { user, hash } = &ask {
            let kept =
                self.snapshot.user(user).map(|account| account.user.scram.as_slice()).unwrap_or_default();
            let secret = kept.iter().find(|secret| secret.hash == *hash).cloned().ok_or(Rejected);
            return connection.session.scram(now, secret, &mut connection.outbox);
        }
        match look_up(&self.snapshot, &self.wiring.rules.guests, connection.dialect, &ask) {
            Said::Known(user) => self.let_in(now, slot, ask, user, None),
            Said::Slow(secret, candidates) => self.check(now, slot, ask, (secret, candidates), false),
        }
    }

    fn check(&mut self, now: Now, slot: usize, ask: Authenticate, what: (String, Vec<Fit>), again: bool) {
        let (secret, candidates) = what;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        self.checks += 1;
        let (number, waits) = (self.checks, Arc::new(()));
        let check = Check {
            session: connection.id,
            number,
            answer: self.wiring.inbox.clone(),
            secret,
            candidates,
            waits: Arc::downgrade(&waits),
        };
        if self.wiring.logins.offer(check) {
            connection.checking = Some(Checking { number, ask, again, _waits: waits });
            return;
        }
        tracing::warn!(
            session = connection.id.number,
            "refused a login: too many wait for their password's check"
        );
        if again {
            self.look_again_at(now, slot, ask, None, None)
        } else {
            self.let_in(now, slot, ask, None, None)
        }
    }

    /// The result of a check.
    pub(super) fn checked(&mut self, now: Now, session: SessionId, number: u64, fit: Option<Fit>) {
        let Some((slot, connection)) = find(&mut self.connections, session) else { return };
        let Some(checking) = connection.checking.take_if(|checking| checking.number == number) else {
            return;
        };
        if !connection.takes_input() {
            return;
        }
        let Checking { ask, again, .. } = checking;
        // Users may have changed meanwhile.
        let said = look_up(&self.snapshot, &self.wiring.rules.guests, connection.dialect, &ask);
        let fit = fit.filter(|fit| matches!(&said, Said::Slow(_, candidates) if candidates.contains(fit)));
        let user = fit.as_ref().map(|fit| fit.user.clone());
        connection.resume = true;
        self.touched.push(slot);
        if again {
            self.look_again_at(now, slot, ask, user, fit);
        } else {
            self.let_in(now, slot, ask, user, fit);
        }
    }

    /// Tells a session who its client is, if it is anybody.
    fn let_in(&mut self, now: Now, slot: usize, ask: Authenticate, user: Option<String>, fit: Option<Fit>) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let principal = user.and_then(|user| principal(&self.snapshot, &user));
        connection.login = None;
        match &principal {
            None => {
                self.counters.rejected += 1;
                let (dialect, peer) = (connection.dialect.word(), connection.peer.map(|(peer, _)| peer));
                self.complaints.about(|| refused(&ask, dialect, peer));
            }
            Some(principal) => {
                let client = connection.session.client().to_owned();
                let dialect = connection.dialect.word();
                let party = Party { principal: principal.name.clone(), client, dialect };
                self.hub.attach(connection.id, principal.clone(), party);
                let namespace = admit(&self.wiring.rules.guests, connection, &principal.name);
                let principal = principal.id;
                connection.login =
                    connection.dialect.is_live().then_some(Login { ask, fit, principal, namespace });
            }
        }
        connection.session.authenticated(now, principal.ok_or(Rejected), &mut connection.outbox);
    }

    /// Users were read again: new clients get the new rules, and whoever is here must still be somebody.
    pub(super) fn read_users_again(&mut self, now: Now, rules: Rules) {
        self.wiring.rules = rules;
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(connection) =
                self.connections.get_mut(slot).filter(|connection| connection.takes_input())
            else {
                continue;
            };
            let Some(Login { ask, fit, .. }) = &connection.login else { continue };
            let (ask, fit) = (ask.clone(), fit.clone());
            match look_up(&self.snapshot, &self.wiring.rules.guests, connection.dialect, &ask) {
                Said::Known(user) => self.look_again_at(now, slot, ask, user, None),
                Said::Slow(_, candidates) if fit.as_ref().is_some_and(|fit| candidates.contains(fit)) => {
                    let user = fit.as_ref().map(|fit| fit.user.clone());
                    self.look_again_at(now, slot, ask, user, fit);
                }
                Said::Slow(secret, candidates) => self.check(now, slot, ask, (secret, candidates), true),
            }
        }
    }

    /// A client that was let in goes on by the rules that hold now, or is turned out: its credentials are nobody's any more, or somebody
    /// else's, or its user works elsewhere.
    fn look_again_at(
        &mut self,
        now: Now,
        slot: usize,
        ask: Authenticate,
        user: Option<String>,
        fit: Option<Fit>,
    ) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(before) = connection.login.take() else { return };
        let found = user.and_then(|user| principal(&self.snapshot, &user));
        let still = found.filter(|principal| {
            let guests = &self.wiring.rules.guests;
            let namespace = guests.nats.get(&principal.name).map_or("", |user| &user.namespace);
            principal.id == before.principal && namespace == before.namespace
        });
        if let Some(principal) = &still {
            let namespace = admit(&self.wiring.rules.guests, connection, &principal.name);
            let principal = principal.id;
            connection.login = Some(Login { ask, fit, principal, namespace });
        }
        connection.session.authenticated(now, still.ok_or(Rejected), &mut connection.outbox);
        self.touched.push(slot);
        // What it may not listen to any more ends now, not with the next command.
        self.feed(now, slot, &[]);
    }
}

fn principal(snapshot: &Snapshot, user: &str) -> Option<Principal> {
    snapshot.user(user).map(|account| Principal { id: account.id, name: account.user.name.clone() })
}

/// Tells a session what it may do; returns where it works, as far as the configuration knows.
fn admit(guests: &Guests, connection: &mut Connection, user: &str) -> String {
    let Some(user) = guests.nats.get(user) else { return String::new() };
    connection.session.admitted(&user.namespace, user.grants.clone());
    user.namespace.clone()
}
