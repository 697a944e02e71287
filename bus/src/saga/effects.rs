//! What a step wants to say, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::message::Message;
use crate::name::TypeName;

/// Compensations that an instance remembers at most.
pub(super) const COMPENSATIONS_MAX: usize = 256;

/// Where a note goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    /// To everyone who consumes the type.
    All,
    /// To one destination, as [`crate::Destination::parse`] reads it.
    One(String),
    /// To whoever asked.
    Asker,
    /// Back to this saga, later.
    Self_,
}

/// A message as a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Where it goes.
    pub to: To,
    /// Its type.
    pub kind: TypeName,
    /// URNs of its type and supertypes.
    pub types: Vec<String>,
    /// What it keeps its order with.
    pub key: Option<String>,
    /// Its correlation id.
    pub correlation_id: Option<Uuid>,
    /// The payload.
    pub body: Value,
    /// Not before so long has passed.
    pub wait: Option<Duration>,
}

/// Effects of one step.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    pub(super) notes: Vec<Note>,
    /// Timeouts that were set or cancelled, by URN.
    pub(super) cancelled: BTreeSet<String>,
    pub(super) compensations: Vec<Note>,
    pub(super) compensate: bool,
    /// Why a message could not become a value; fails the attempt.
    pub(super) broken: Option<String>,
}

impl Effects {
    /// To everyone who consumes the type.
    pub fn publish<M: Message>(&mut self, message: &M) {
        self.say(To::All, message, None);
    }

    /// To one destination (`"queue:name"`).
    pub fn send<M: Message>(&mut self, to: impl Into<String>, message: &M) {
        self.say(To::One(to.into()), message, None);
    }

    /// To whoever sent the event, if an answer is wanted.
    pub fn respond<M: Message>(&mut self, message: &M) {
        self.say(To::Asker, message, None);
    }

    /// Back to this saga after a while. One timeout per type: setting it again replaces the one before.
    pub fn after<M: Message>(&mut self, wait: Duration, message: &M) {
        self.cancelled.insert(M::name().urn());
        self.say(To::Self_, message, Some(wait));
    }

    /// The timeout of this type means nothing any more, even if it is on its way.
    pub fn cancel<M: Message>(&mut self) {
        let urn = M::name().urn();
        self.notes.retain(|note| note.to != To::Self_ || note.types.first() != Some(&urn));
        self.cancelled.insert(urn);
    }

    /// If this act has to be undone, send this.
    pub fn compensate_with<M: Message>(&mut self, to: impl Into<String>, message: &M) {
        if let Some(note) = self.note(To::One(to.into()), message, None) {
            self.compensations.push(note);
        }
    }

    /// Undo: send what [`Self::compensate_with`] recorded until now, the newest first, and forget it.
    pub fn compensate(&mut self) {
        self.compensate = true;
    }

    /// Messages of type `M` that this step says, for tests.
    pub fn said<M: Message>(&self) -> Vec<M> {
        let name = M::name();
        let of_type = self.notes.iter().filter(|note| note.kind == name);
        of_type.filter_map(|note| serde_json::from_value(note.body.clone()).ok()).collect()
    }

    /// All that this step says, for tests.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn say<M: Message>(&mut self, to: To, message: &M, wait: Option<Duration>) {
        if let Some(note) = self.note(to, message, wait) {
            self.notes.push(note);
        }
    }

    fn note<M: Message>(&mut self, to: To, message: &M, wait: Option<Duration>) -> Option<Note> {
        let kind = M::name();
        let types = std::iter::once(kind.urn()).chain(M::supertypes().iter().map(TypeName::urn)).collect();
        match serde_json::to_value(message) {
            Ok(body) => {
                let (key, correlation_id) = (message.key(), message.correlation_id());
                Some(Note { to, kind, types, key, correlation_id, body, wait })
            }
            Err(error) => {
                self.broken = Some(format!("encode {kind}: {error}"));
                None
            }
        }
    }
}

/// What a saga's row holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Body<S> {
    pub(super) state: S,
    /// Oldest first.
    #[serde(default)]
    pub(super) compensations: Vec<Note>,
    /// By URN, the token that a timeout must bring to mean something.
    #[serde(default)]
    pub(super) timeouts: BTreeMap<String, Uuid>,
}
