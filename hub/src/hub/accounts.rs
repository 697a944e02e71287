//! Administration over a session: an administrator's changes, and the list of users with what they may do.

use super::requests::Request;
use super::{Hub, HubOut, Open};
use stele_model::id::{SessionId, Ticket};
use stele_model::outcome::Done;
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::registry::{AccountInfo, Change, RegistryOp};

/// The tag of users who may administer.
const ADMINISTRATOR: &str = "administrator";

impl Hub {
    pub(super) fn administer(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        change: Change,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        self.check_administrator(session)?;
        let call = self.call(Open::Request { session, ticket, request: Request::Administer });
        out.registry.push(RegistryOp::Administer { hub: self.id, call, change });
        Ok(())
    }

    /// All users, by name.
    pub(super) fn accounts(&self, session: SessionId) -> Result<Done, Refusal> {
        self.check_administrator(session)?;
        let namespaces = self.snapshot.namespaces();
        let accounts = self.snapshot.users().into_iter().map(|account| {
            let user = &account.user;
            let permits = || namespaces.iter().filter_map(|namespace| namespace.permits(&user.name));
            AccountInfo {
                name: user.name.clone(),
                tags: user.tags.clone(),
                scram: user.scram.iter().map(|secret| (secret.hash, secret.iterations)).collect(),
                grants: permits().map(|permits| permits.grant.clone()).collect(),
                rights: permits().flat_map(|permits| permits.rights.iter().cloned()).collect(),
            }
        });
        Ok(Done::Accounts(accounts.collect()))
    }

    fn check_administrator(&self, session: SessionId) -> Result<(), Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        let user = &attached.principal.name;
        let account = self.snapshot.user(user);
        if account.is_some_and(|account| account.user.tags.iter().any(|tag| tag == ADMINISTRATOR)) {
            return Ok(());
        }
        let name = namespace.name.to_string();
        let (access, object) = (Access::Configure, Object::Namespace);
        Err(Refusal::Denied { access, object, namespace: name.clone(), name, user: user.clone() })
    }
}
