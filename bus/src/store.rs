//! The seam between the pipeline and whatever keeps state: one unit of work per attempt, which holds the inbox row, the handler's
//! own writes, saga rows and outgoing messages, and commits them together or not at all.
//!
//! Implemented by [`direct::Direct`] (no state), [`memory::MemoryStore`], and the SQL stores of `stele-bus-sql`. Called by the
//! pipeline, in this order for each attempt:
//!
//! 1. [`Store::begin`] with the inbox key. [`Begun::Done`]: the message had its effect before; `unsent` is sent, the delivery accepted.
//! 2. The handler runs. Extractors may borrow the unit of work through [`crate::Context::with_work`]; what it publishes is collected.
//! 3. It failed: [`UnitOfWork::rollback`]. Else [`UnitOfWork::commit`] with all that it published.
//! 4. What `commit` gives back ([`Committed::to_send`]) is sent now and confirmed; then [`Store::sent`].
//! 5. The delivery is accepted.
//!
//! A crash between any two steps leads to step 1 again. What must hold: after a successful `commit`, `begin` with the same key says
//! `Done`, and every message given to `commit` has been sent, is in an outbox of the store, or is in `unsent`.

pub mod direct;
pub mod memory;

use std::any::Any;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::outgoing::Outgoing;
use crate::transport::BoxFuture;

/// A message's effect at one consumer happens once; this names the pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InboxKey {
    /// The endpoint's name.
    pub consumer: String,
    /// The message's id.
    pub message_id: Uuid,
}

/// Why a store could not do what was asked; the attempt fails with it and is retried like any other.
#[derive(Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// An error that is only a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }
}

/// Opens units of work.
pub trait Store: Send + Sync + 'static {
    /// Begin an attempt. `key` is `None` where the endpoint has no inbox or the message no id.
    fn begin(&self, key: Option<InboxKey>) -> BoxFuture<'_, Result<Begun, StoreError>>;

    /// All of [`Committed::to_send`] (or of `unsent`) has been confirmed by the broker.
    fn sent<'a>(&'a self, key: &'a InboxKey) -> BoxFuture<'a, Result<(), StoreError>> {
        let _ = key; // a store that sends by a relay has nothing to remember
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether an endpoint can ask for an inbox, and a saga for its rows.
    fn keeps_state(&self) -> bool;
}

/// The answer to [`Store::begin`].
pub enum Begun {
    /// First time: do the work.
    Fresh(Box<dyn UnitOfWork>),
    /// It was done before.
    Done {
        /// What that work published and is not known to be sent.
        unsent: Vec<Outgoing>,
    },
}

/// One attempt's state. Dropping it without a word is a rollback.
pub trait UnitOfWork: Any + Send {
    /// For extractors that know the concrete type.
    fn as_any(&mut self) -> &mut dyn Any;

    /// Rows of sagas, inside this unit of work; `None` if the store keeps none.
    fn sagas(&mut self) -> Option<&mut dyn SagaStore>;

    /// Make everything last, the messages included.
    fn commit(self: Box<Self>, outgoing: Vec<Outgoing>)
    -> BoxFuture<'static, Result<Committed, CommitError>>;

    /// Undo everything.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The answer to [`UnitOfWork::commit`].
#[derive(Debug, Default)]
pub struct Committed {
    /// What the pipeline must send itself; empty where a relay does it.
    pub to_send: Vec<Outgoing>,
}

/// Why a unit of work was not committed; nothing of it lasts.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed a saga's row meanwhile: load again, run again.
    #[error("a saga's row was changed meanwhile")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A saga's row as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct SagaRow {
    /// Grows by one with each change, from 1.
    pub version: u64,
    /// State, compensations and timeouts; opaque to the store.
    pub body: Value,
}

/// What is to become of a saga's row.
#[derive(Clone, Debug, PartialEq)]
pub enum SagaChange {
    /// There was none; it gets version 1.
    Insert(Value),
    /// There was one of this version; it gets the next.
    Update {
        /// The version that was read.
        version: u64,
        /// The new body.
        body: Value,
    },
    /// There was one of this version; it goes.
    Delete {
        /// The version that was read.
        version: u64,
    },
}

/// Saga rows inside a unit of work. The key is `(saga, instance)`.
pub trait SagaStore: Send {
    /// Read a row.
    fn load<'a>(
        &'a mut self,
        saga: &'a str,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Option<SagaRow>, StoreError>>;

    /// Change a row if it is still as it was read. A conflict may be reported here or by the commit.
    fn save<'a>(
        &'a mut self,
        saga: &'a str,
        instance: &'a str,
        change: SagaChange,
    ) -> BoxFuture<'a, Result<(), CommitError>>;
}
