//! Outbox, inbox and sagas in SQLite, for services with a database of their own in a file.
//!
//! One unit of work is one immediate transaction: it holds the database's only write lock from its first statement, so copies of a
//! message never meet, and no statement of it can find the database locked. Keep handlers short.

mod saga;
mod tx;

use crate::row::NewRow;
use crate::{failed, in_use};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Executor as _, Sqlite, Transaction, query};
use std::any::Any;
use std::time::Duration;
use stele_bus::store::{Begun, CommitError, Committed, InboxKey, SagaStore, Store, StoreError, UnitOfWork};
use stele_bus::transport::BoxFuture;
use stele_bus::{Composer, Message, Outgoing, SendOptions};
use stele_bus_relay::relay::Nudge;
use stele_bus_relay::sqlite;
pub use tx::Tx;
use uuid::Uuid;

/// Inbox and sagas, as SQL; the outbox is [`sqlite::TABLES`].
const TABLES: &str = "
create table if not exists inbox (
  consumer text not null,
  message_id text not null,
  received_at integer not null default (unixepoch()),
  primary key (consumer, message_id)
) without rowid;
create table if not exists saga (
  name text not null,
  instance text not null,
  version integer not null,
  body text not null,
  updated_at integer not null default (unixepoch()),
  primary key (name, instance)
) without rowid;";

/// All tables of the bus, as SQL that may be run again.
#[must_use]
pub fn tables() -> String {
    format!("{}{TABLES}\n", sqlite::TABLES)
}

/// How the transactions of a unit of work begin.
pub const BEGIN: &str = "begin immediate";

/// Makes all tables of the bus that are not there.
///
/// # Errors
/// The database cannot be opened, or tables may not be made.
pub async fn migrate(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin_with(BEGIN).await?;
    tx.execute(AssertSqlSafe(tables())).await?;
    tx.commit().await
}

/// Writes messages into the outbox, through any transaction of the caller's: they leave when it is committed, and never otherwise.
/// Begin it with [`BEGIN`], or it may find the database locked.
///
/// # Errors
/// The database refused; the transaction is then good for nothing but a rollback.
pub async fn append(connection: &mut SqliteConnection, messages: &[Outgoing]) -> Result<(), sqlx::Error> {
    const INSERT: &str = "insert into outbox (id, type, aggregate_id, destination, content_type, headers, properties, payload) \
        values (?, ?, ?, ?, ?, ?, ?, ?)";
    for row in messages.iter().map(NewRow::of) {
        let insert = query(INSERT)
            .bind(row.id.to_string())
            .bind(row.kind)
            .bind(row.aggregate_id)
            .bind(row.destination)
            .bind(row.content_type)
            .bind(row.headers)
            .bind(row.properties)
            .bind(row.payload.to_vec());
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Publishes one message through the caller's transaction. For code outside of handlers, such as a web request; call
/// [`Nudge::nudge`] after the commit if the relay is in this process.
///
/// # Errors
/// The message cannot be encoded, or the database refused. The message's id otherwise.
pub async fn publish<M: Message>(
    connection: &mut SqliteConnection,
    composer: &Composer,
    message: &M,
) -> Result<Uuid, StoreError> {
    let outgoing = composer.publish(message, SendOptions::default()).map_err(failed)?;
    append(connection, std::slice::from_ref(&outgoing)).await.map_err(failed)?;
    Ok(outgoing.id)
}

/// Forgets inbox rows older than `age`, at most 10 000; how many. A copy that comes later than that has its effect again.
///
/// # Errors
/// The database cannot be reached.
pub async fn forget(pool: &SqlitePool, age: Duration) -> Result<u64, sqlx::Error> {
    let done = query(
        "delete from inbox where (consumer, message_id) in (select consumer, message_id from inbox \
         where received_at < unixepoch() - ? limit 10000)",
    );
    Ok(done.bind(age.as_secs() as i64).execute(pool).await?.rows_affected())
}

/// Outbox, inbox and sagas in Sqlite, as the bus's store.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
    nudge: Option<Nudge>,
}

impl SqliteStore {
    /// A store over connections of this pool; its tables are made by [`migrate`].
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool, nudge: None }
    }

    /// Wakes the relay of this process whenever something was committed.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.nudge = Some(nudge);
        self
    }

    async fn try_begin(&self, key: Option<InboxKey>) -> Result<Begun, sqlx::Error> {
        let mut tx = self.pool.begin_with(BEGIN).await?;
        if let Some(key) = key {
            let insert =
                query("insert into inbox (consumer, message_id) values (?, ?) on conflict do nothing");
            let done = insert.bind(&key.consumer).bind(key.message_id.to_string()).execute(&mut *tx).await?;
            if done.rows_affected() == 0 {
                tx.rollback().await?;
                return Ok(Begun::Done { unsent: Vec::new() });
            }
        }
        Ok(Begun::Fresh(Box::new(SqliteWork { tx: Some(tx), nudge: self.nudge.clone() })))
    }
}

impl Store for SqliteStore {
    fn begin(&self, key: Option<InboxKey>) -> BoxFuture<'_, Result<Begun, StoreError>> {
        Box::pin(async move { self.try_begin(key).await.map_err(failed) })
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

/// One attempt's transaction.
#[derive(Debug)]
pub struct SqliteWork {
    /// `None` while a [`Tx`] has it.
    tx: Option<Transaction<'static, Sqlite>>,
    nudge: Option<Nudge>,
}

impl SqliteWork {
    /// The transaction, unless a [`Tx`] of this attempt is still alive.
    ///
    /// # Errors
    /// It is.
    pub fn transaction(&mut self) -> Result<&mut Transaction<'static, Sqlite>, StoreError> {
        self.tx.as_mut().ok_or_else(in_use)
    }
}

impl UnitOfWork for SqliteWork {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn sagas(&mut self) -> Option<&mut dyn SagaStore> {
        Some(self)
    }

    fn commit(
        mut self: Box<Self>,
        outgoing: Vec<Outgoing>,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        Box::pin(async move {
            let mut tx = self.tx.take().ok_or_else(in_use)?;
            append(&mut tx, &outgoing).await.map_err(failed)?;
            tx.commit().await.map_err(failed)?;
            if let Some(nudge) = self.nudge.filter(|_| !outgoing.is_empty()) {
                nudge.nudge();
            }
            Ok(Committed::default())
        })
    }

    fn rollback(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(tx) = self.tx.take()
                && let Err(error) = tx.rollback().await
            {
                // The connection is gone, and the transaction with it.
                tracing::debug!(%error, "a rollback was not answered");
            }
        })
    }
}
