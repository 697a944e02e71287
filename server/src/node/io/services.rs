//! Sessions of the server's own: one for each namespace, on one IO thread of the node, and for a moment one for each question that an
//! operator has. They have no socket and no user, and do what no client's session can: what has to go on when no client is there to
//! ask for it.

use super::Io;
use super::connection::Connection;
use super::message::Dialect;
use std::sync::mpsc::SyncSender;
use stele_hub::registry::access::SYSTEM;
use stele_model::flow::Party;
use stele_model::id::{HubId, PrincipalId, SessionId};
use stele_model::session::{Principal, Session};

/// A question to JetStream.
pub(crate) struct Inquiry {
    /// Where.
    pub namespace: String,
    /// What, behind `$JS.API.`.
    pub subject: String,
    /// The request.
    pub body: String,
    /// Whom to tell the answer.
    pub to: SyncSender<Vec<u8>>,
}

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
            let session = (self.wiring.service)(&namespace.name);
            let slot = self.begin(session);
            self.services.insert(namespace.id, slot);
        }
    }

    /// Begins a session of the server's own; its slot.
    fn begin(&mut self, session: Box<dyn Session + Send>) -> usize {
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        self.accepted += 1;
        let id = SessionId { hub: self.wiring.hub, number: (self.accepted << 24) | slot as u64 };
        let client = session.client().to_owned();
        let principal = Principal { id: PrincipalId(0), name: SYSTEM.to_owned() };
        let party = Party { principal: "system".to_owned(), client, dialect: Dialect::Nats.word() };
        self.hub.attach(id, principal, party);
        self.touched.push(slot);
        entry.insert(Connection::inner(id, Dialect::Nats, session));
        slot
    }

    /// Asks JetStream on behalf of an operator.
    pub(super) fn inquire(&mut self, inquiry: Inquiry) {
        let Inquiry { namespace, subject, body, to } = inquiry;
        // Who asked may have given up waiting.
        let answer = move |answer: &[u8]| drop(to.try_send(answer.to_vec()));
        let session = stele_nats::jet::inquiry::Inquiry::new(&namespace, &subject, &body, Box::new(answer));
        self.begin(Box::new(session));
    }

    /// Ends all of them.
    pub(super) fn end_services(&mut self) {
        for slot in std::mem::take(&mut self.services).into_values() {
            self.remove(slot, "the server is being stopped");
        }
    }
}
