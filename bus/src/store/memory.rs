//! Inbox, unsent messages and saga rows in this process's memory: for tests, and for services whose state may die with them.
//!
//! All changes of a unit of work are made under one lock in `commit`, so a crash of a *handler* leaves nothing half done. The inbox
//! remembers the last [`MemoryStore::with_inbox_max`] messages.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Begun, CommitError, Committed, InboxKey, SagaChange, SagaRow, SagaStore, Store, StoreError, UnitOfWork,
};
use crate::outgoing::Outgoing;
use crate::transport::BoxFuture;

/// Messages that the inbox remembers unless told otherwise.
pub const INBOX_MAX: usize = 100_000;

/// Keeps state in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    inbox_max: usize,
}

#[derive(Default)]
struct Tables {
    /// What each message published and is not known to be sent.
    inbox: BTreeMap<InboxKey, Vec<Outgoing>>,
    /// Oldest first; what is dropped when the inbox is full.
    order: VecDeque<InboxKey>,
    sagas: BTreeMap<(String, String), SagaRow>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_inbox_max(INBOX_MAX)
    }
}

impl MemoryStore {
    /// An empty store that remembers `inbox_max` messages.
    pub fn with_inbox_max(inbox_max: usize) -> Self {
        Self { tables: Arc::default(), inbox_max }
    }

    /// The row of a saga's instance.
    pub fn saga(&self, saga: &str, instance: &str) -> Option<SagaRow> {
        self.tables().sagas.get(&(saga.to_owned(), instance.to_owned())).cloned()
    }

    /// All instances of a saga with their rows, in the order of their keys.
    pub fn sagas(&self, saga: &str) -> Vec<(String, SagaRow)> {
        let tables = self.tables();
        let rows = tables.sagas.iter().filter(|((name, _), _)| name == saga);
        rows.map(|((_, instance), row)| (instance.clone(), row.clone())).collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic elsewhere cannot leave the tables half changed: changes are checked first, then made.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn begin(&self, key: Option<InboxKey>) -> BoxFuture<'_, Result<Begun, StoreError>> {
        let known = key.as_ref().and_then(|key| self.tables().inbox.get(key).cloned());
        let begun = match known {
            Some(unsent) => Begun::Done { unsent },
            None => Begun::Fresh(Box::new(Work { store: self.clone(), key, changes: BTreeMap::new() })),
        };
        Box::pin(ready(Ok(begun)))
    }

    fn sent<'a>(&'a self, key: &'a InboxKey) -> BoxFuture<'a, Result<(), StoreError>> {
        if let Some(unsent) = self.tables().inbox.get_mut(key) {
            *unsent = Vec::new();
        }
        Box::pin(ready(Ok(())))
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

/// Changes that are not made yet.
struct Work {
    store: MemoryStore,
    key: Option<InboxKey>,
    changes: BTreeMap<(String, String), SagaChange>,
}

impl UnitOfWork for Work {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn sagas(&mut self) -> Option<&mut dyn SagaStore> {
        Some(self)
    }

    fn commit(
        self: Box<Self>,
        outgoing: Vec<Outgoing>,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let Work { store, key, changes } = *self;
        Box::pin(ready(store.tables().commit(store.inbox_max, key, changes, outgoing)))
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}

impl Tables {
    fn commit(
        &mut self,
        inbox_max: usize,
        key: Option<InboxKey>,
        changes: BTreeMap<(String, String), SagaChange>,
        outgoing: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        // Two deliveries of one message at once: the second sees the first's row, as a unique index would tell it.
        let doubled = key.as_ref().is_some_and(|key| self.inbox.contains_key(key));
        let stale = changes.iter().any(|(name, change)| {
            let version = self.sagas.get(name).map(|row| row.version);
            match change {
                SagaChange::Insert(_) => version.is_some(),
                SagaChange::Update { version: read, .. } | SagaChange::Delete { version: read } => {
                    version != Some(*read)
                }
            }
        });
        if doubled || stale {
            return Err(CommitError::Conflict);
        }
        for (name, change) in changes {
            match change {
                SagaChange::Insert(body) => self.sagas.insert(name, SagaRow { version: 1, body }),
                SagaChange::Update { version, body } => {
                    self.sagas.insert(name, SagaRow { version: version + 1, body })
                }
                SagaChange::Delete { .. } => self.sagas.remove(&name),
            };
        }
        if let Some(key) = key {
            self.inbox.insert(key.clone(), outgoing.clone());
            self.order.push_back(key);
            while self.order.len() > inbox_max {
                let oldest = self.order.pop_front();
                oldest.and_then(|key| self.inbox.remove(&key));
            }
        }
        Ok(Committed { to_send: outgoing })
    }
}

impl SagaStore for Work {
    fn load<'a>(
        &'a mut self,
        saga: &'a str,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Option<SagaRow>, StoreError>> {
        Box::pin(ready(Ok(self.store.saga(saga, instance))))
    }

    fn save<'a>(
        &'a mut self,
        saga: &'a str,
        instance: &'a str,
        change: SagaChange,
    ) -> BoxFuture<'a, Result<(), CommitError>> {
        self.changes.insert((saga.to_owned(), instance.to_owned()), change);
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn work(store: &MemoryStore, id: u128) -> Option<Box<dyn UnitOfWork>> {
        let key = InboxKey { consumer: "c".into(), message_id: Uuid::from_u128(id) };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match store.begin(Some(key)).as_mut().poll(&mut cx) {
            std::task::Poll::Ready(Ok(Begun::Fresh(work))) => Some(work),
            _ => None,
        }
    }

    fn now<T>(mut future: BoxFuture<'_, T>) -> T {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("this store never waits"),
        }
    }

    #[test]
    fn of_two_writers_of_one_version_the_second_meets_a_conflict() {
        let store = MemoryStore::default();
        let (mut first, mut second) = (work(&store, 1).unwrap(), work(&store, 2).unwrap());
        for work in [&mut first, &mut second] {
            now(work.sagas().unwrap().save("s", "1", SagaChange::Insert(Value::Null))).unwrap();
        }
        now(first.commit(Vec::new())).unwrap();
        assert!(matches!(now(second.commit(Vec::new())), Err(CommitError::Conflict)));
        assert_eq!(store.saga("s", "1").unwrap().version, 1);
        assert!(work(&store, 2).is_some(), "what was not committed is not in the inbox");
    }

    #[test]
    fn the_inbox_forgets_the_oldest_when_it_is_full() {
        let store = MemoryStore::with_inbox_max(2);
        for id in 1..=3 {
            now(work(&store, id).unwrap().commit(Vec::new())).unwrap();
        }
        assert!(work(&store, 1).is_some() && work(&store, 2).is_none() && work(&store, 3).is_none());
    }
}
