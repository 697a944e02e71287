//! Outbox, inbox and sagas in Postgres.
//!
//! One unit of work is one transaction. The inbox row is its first statement, so a second copy of a message that arrives meanwhile waits
//! for the first to be committed or undone, and then is seen as done, or does the work.

mod saga;
mod tx;

use crate::row::NewRow;
use crate::{failed, in_use};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Executor as _, Postgres, Transaction, query};
use std::any::Any;
use std::time::Duration;
use stele_bus::store::{Begun, CommitError, Committed, InboxKey, SagaStore, Store, StoreError, UnitOfWork};
use stele_bus::transport::BoxFuture;
use stele_bus::{Composer, Message, Outgoing, ScheduleToken, SendOptions};
use stele_bus_relay::postgres::{ddl, table::Name};
use stele_bus_relay::relay::Nudge;
pub use tx::Tx;
use uuid::Uuid;

/// Inbox and sagas, as SQL; the outbox is [`ddl::bus`].
const TABLES: &str = "
create table if not exists inbox (
  consumer text not null,        -- the endpoint
  message_id uuid not null,
  received_at timestamptz not null default now(),
  primary key (consumer, message_id)
);
create index if not exists inbox_received_at on inbox using brin (received_at);
create table if not exists saga (
  name text not null,
  instance text not null,
  version bigint not null,       -- grows by one with each change, from 1
  body json not null,
  updated_at timestamptz not null default now(),
  primary key (name, instance)
);";

/// All tables of the bus, as SQL that may be run again.
#[must_use]
pub fn tables() -> String {
    let outbox: Name = "outbox".parse().expect("a plain name");
    format!("{}{TABLES}\n", ddl::bus(&outbox))
}

/// Makes all tables of the bus that are not there. Services that start together may do it at a time.
///
/// # Errors
/// The database cannot be reached, or tables may not be made.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    // "if not exists" is no help against two who look at the same time.
    query("select pg_advisory_xact_lock(hashtext('stele-bus-sql'), 0)").execute(&mut *tx).await?;
    tx.execute(AssertSqlSafe(tables())).await?;
    tx.commit().await
}

/// Writes messages into the outbox, through any transaction of the caller's: they leave when it is committed, and never otherwise.
///
/// # Errors
/// The database refused; the transaction is then good for nothing but a rollback.
pub async fn append(connection: &mut PgConnection, messages: &[Outgoing]) -> Result<(), sqlx::Error> {
    const ONE: &str = "insert into outbox (id, type, aggregate_id, destination, content_type, headers, properties, payload, available_at) \
        values ($1, $2, $3, $4, $5, $6::json, $7::json, $8, to_timestamp($9))";
    // One statement and one round trip also for many; their order is that of the arrays.
    const MANY: &str = "insert into outbox (id, type, aggregate_id, destination, content_type, headers, properties, payload, available_at) \
        select n.id, n.type, n.aggregate_id, n.destination, n.content_type, n.headers::json, n.properties::json, n.payload, to_timestamp(n.at) \
        from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::float8[]) \
        with ordinality as n(id, type, aggregate_id, destination, content_type, headers, properties, payload, at, nth) order by nth";
    let mut rows: Vec<NewRow> = messages.iter().map(NewRow::of).collect();
    let insert = match rows.pop() {
        None => return Ok(()),
        Some(row) if rows.is_empty() => query(ONE)
            .bind(row.id)
            .bind(row.kind)
            .bind(row.aggregate_id)
            .bind(row.destination)
            .bind(row.content_type)
            .bind(row.headers)
            .bind(row.properties)
            .bind(row.payload.to_vec())
            .bind(row.available_at),
        Some(last) => {
            rows.push(last);
            let of = |column: fn(&NewRow) -> String| rows.iter().map(column).collect::<Vec<String>>();
            query(MANY)
                .bind(rows.iter().map(|row| row.id).collect::<Vec<Uuid>>())
                .bind(of(|row| row.kind.clone()))
                .bind(rows.iter().map(|row| row.aggregate_id.clone()).collect::<Vec<Option<String>>>())
                .bind(of(|row| row.destination.clone()))
                .bind(rows.iter().map(|row| row.content_type.clone()).collect::<Vec<Option<String>>>())
                .bind(of(|row| row.headers.clone()))
                .bind(of(|row| row.properties.clone()))
                .bind(rows.iter().map(|row| row.payload.to_vec()).collect::<Vec<Vec<u8>>>())
                .bind(rows.iter().map(|row| row.available_at).collect::<Vec<Option<f64>>>())
        }
    };
    insert.execute(connection).await.map(drop)
}

/// Publishes one message through the caller's transaction. For code outside of handlers, such as a web request; call
/// [`Nudge::nudge`] after the commit if the relay is in this process.
///
/// # Errors
/// The message cannot be encoded, or the database refused. The message's id otherwise.
pub async fn publish<M: Message>(
    connection: &mut PgConnection,
    composer: &Composer,
    message: &M,
) -> Result<Uuid, StoreError> {
    let outgoing = composer.publish(message, SendOptions::default()).map_err(failed)?;
    append(connection, std::slice::from_ref(&outgoing)).await.map_err(failed)?;
    Ok(outgoing.id)
}

/// Takes a scheduled message back that waits in the outbox, through any transaction; `false` if it has left the table.
///
/// Rows wait there for `stele outbox relay` only: a relay over the bus's own transport hands them on at once, and they are taken back by
/// [`stele_bus::Bus::cancel`].
///
/// # Errors
/// The database refused.
pub async fn cancel(connection: &mut PgConnection, token: ScheduleToken) -> Result<bool, sqlx::Error> {
    let text = "delete from outbox where available_at is not null and properties -> 'bus' ->> 'token' = $1";
    Ok(query(text).bind(token.0.to_string()).execute(connection).await?.rows_affected() > 0)
}

/// Forgets inbox rows older than `age`, at most 10 000; how many. A copy that comes later than that has its effect again.
///
/// # Errors
/// The database cannot be reached.
pub async fn forget(pool: &PgPool, age: Duration) -> Result<u64, sqlx::Error> {
    let done = query(
        "delete from inbox where (consumer, message_id) in (select consumer, message_id from inbox \
         where received_at < now() - make_interval(secs => $1) limit 10000)",
    );
    Ok(done.bind(age.as_secs_f64()).execute(pool).await?.rows_affected())
}

/// Outbox, inbox and sagas in Postgres, as the bus's store.
#[derive(Clone, Debug)]
pub struct PgStore {
    pool: PgPool,
    nudge: Option<Nudge>,
}

impl PgStore {
    /// A store over connections of this pool; its tables are made by [`migrate`].
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, nudge: None }
    }

    /// Wakes the relay of this process whenever something was committed.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.nudge = Some(nudge);
        self
    }

    async fn try_begin(&self, key: Option<InboxKey>) -> Result<Begun, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        if let Some(key) = key {
            let insert =
                query("insert into inbox (consumer, message_id) values ($1, $2) on conflict do nothing");
            let done = insert.bind(&key.consumer).bind(key.message_id).execute(&mut *tx).await?;
            if done.rows_affected() == 0 {
                tx.rollback().await?;
                return Ok(Begun::Done { unsent: Vec::new() });
            }
        }
        Ok(Begun::Fresh(Box::new(PgWork { tx: Some(tx), nudge: self.nudge.clone() })))
    }
}

impl Store for PgStore {
    fn begin(&self, key: Option<InboxKey>) -> BoxFuture<'_, Result<Begun, StoreError>> {
        Box::pin(async move { self.try_begin(key).await.map_err(failed) })
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

/// One attempt's transaction.
#[derive(Debug)]
pub struct PgWork {
    /// `None` while a [`Tx`] has it.
    tx: Option<Transaction<'static, Postgres>>,
    nudge: Option<Nudge>,
}

impl PgWork {
    /// The transaction, unless a [`Tx`] of this attempt is still alive.
    ///
    /// # Errors
    /// It is.
    pub fn transaction(&mut self) -> Result<&mut Transaction<'static, Postgres>, StoreError> {
        self.tx.as_mut().ok_or_else(in_use)
    }
}

impl UnitOfWork for PgWork {
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
