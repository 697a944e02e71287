//! A store that keeps nothing: what a handler published is sent when it has succeeded, before its message is accepted.
//!
//! The default. Effects may happen twice when a process dies between the two; an inbox needs one of the other stores.

use std::any::Any;
use std::future::ready;

use super::{Begun, CommitError, Committed, InboxKey, SagaStore, Store, StoreError, UnitOfWork};
use crate::outgoing::Outgoing;
use crate::transport::BoxFuture;

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Store for Direct {
    fn begin(&self, _key: Option<InboxKey>) -> BoxFuture<'_, Result<Begun, StoreError>> {
        Box::pin(ready(Ok(Begun::Fresh(Box::new(Direct)))))
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

impl UnitOfWork for Direct {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn sagas(&mut self) -> Option<&mut dyn SagaStore> {
        None
    }

    fn commit(
        self: Box<Self>,
        outgoing: Vec<Outgoing>,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        Box::pin(ready(Ok(Committed { to_send: outgoing })))
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}
