//! Sessions of the server's own: one for each namespace, on one IO thread of the node. They have no socket and no user, and do what no
//! client's session can: what has to go on when no client is there to ask for it.

use super::Io;
use super::connection::Connection;
use super::message::Dialect;
use stele_hub::registry::access::SYSTEM;
use stele_model::flow::Party;
use stele_model::id::{HubId, PrincipalId, SessionId};
use stele_model::session::Principal;

/// The IO thread that has them.
const HOME: HubId = HubId(0);

impl Io {
    /// Begins the service of each namespace that has come, and ends that of each that is gone.
    pub(super) fn keep_services(&mut self) {
        if self.wiring.hub != HOME || self.stopping.is_some() {
            return;
        }
        let snapshot = self.snapshot.clone();
        let there = snapshot.namespaces();
        let gone: Vec<_> = self
            .services
            .keys()
            .filter(|id| there.iter().all(|namespace| namespace.id != **id))
            .copied()
            .collect();
        for id in gone {
            if let Some(slot) = self.services.remove(&id) {
                self.remove(slot, "its namespace is gone");
            }
        }
        for namespace in there {
            if self.services.contains_key(&namespace.id) {
                continue;
            }
            let entry = self.connections.vacant_entry();
            self.accepted += 1;
            let id = SessionId { hub: self.wiring.hub, number: (self.accepted << 24) | entry.key() as u64 };
            let session = (self.wiring.service)(&namespace.name);
            let client = session.client().to_owned();
            let principal = Principal { id: PrincipalId(0), name: SYSTEM.to_owned() };
            let party = Party { principal: "system".to_owned(), client, dialect: Dialect::Nats.word() };
            self.hub.attach(id, principal, party);
            self.services.insert(namespace.id, entry.key());
            self.touched.push(entry.key());
            entry.insert(Connection::inner(id, Dialect::Nats, session));
        }
    }

    /// Ends all of them.
    pub(super) fn end_services(&mut self) {
        for slot in std::mem::take(&mut self.services).into_values() {
            self.remove(slot, "the server is being stopped");
        }
    }
}
