//! Who a client is: what a dialect's session asks to be found out, looked up in definitions and configuration.

use super::connection::Connection;
use super::message::Guests;
use crate::{nkey, passwords};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use stele_hub::Snapshot;
use stele_model::id::Now;
use stele_model::session::{Authenticate, Principal, Rejected};

/// Who the client is; `None`: the session was told what it needs to find out.
pub(super) fn authenticate(
    snapshot: &Snapshot,
    guests: &Guests,
    now: Now,
    ask: &Authenticate,
    connection: &mut Connection,
) -> Option<Result<Principal, Rejected>> {
    let account = match ask {
        Authenticate::Password { user, password } => {
            let account = snapshot.user(user);
            account.filter(|account| passwords::verify(password, &account.user.password_hash))
        }
        Authenticate::Proven { user } => snapshot.user(user),
        Authenticate::Nobody => guests.anonymous(connection.dialect).and_then(|user| snapshot.user(user)),
        Authenticate::Token { token } => {
            let is_it = |known: &str| verify_slices_are_equal(known.as_bytes(), token.as_bytes()).is_ok();
            let named = guests.nats.iter().find(|(_, user)| user.token.as_deref().is_some_and(is_it));
            named.and_then(|(name, _)| snapshot.user(name))
        }
        Authenticate::Signature { key, signed, signature } => {
            let named = guests.nats.iter().find(|(_, user)| user.nkey.as_ref() == Some(key));
            let named = named.filter(|_| nkey::verify(key, signed.as_bytes(), signature));
            named.and_then(|(name, _)| snapshot.user(name))
        }
        Authenticate::Scram { user, hash } => {
            let kept = snapshot.user(user).map(|account| account.user.scram.as_slice()).unwrap_or_default();
            let secret = kept.iter().find(|secret| secret.hash == *hash).cloned().ok_or(Rejected);
            connection.session.scram(now, secret, &mut connection.outbox);
            return None;
        }
    };
    let principal = account.map(|account| Principal { id: account.id, name: account.user.name.clone() });
    if let Some(user) = principal.as_ref().and_then(|principal| guests.nats.get(&principal.name)) {
        connection.session.admitted(&user.namespace, user.grants.clone());
    }
    Some(principal.ok_or(Rejected))
}
