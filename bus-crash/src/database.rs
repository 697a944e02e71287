//! The application's tables in either database: orders, effects, and one row per aggregate whose lock its writers share.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Executor as _, Row as _, query};
use stele_bus_sql::{postgres, sqlite};
use uuid::Uuid;

use crate::judge::Order;

/// Aggregates that all producers share.
pub(crate) const AGGREGATES: u64 = 12;

const TABLES: &str =
    "create table orders (order_id text primary key, aggregate_id text not null, seq bigint not null);
create table effects (order_id text primary key, n bigint not null);
create table aggregates (id text primary key, seq bigint not null);";

/// Debezium's layout, as the interop contract has it.
const EVENTS: &str = "create table events (id uuid, aggregatetype varchar, aggregateid varchar, type varchar, payload jsonb, \
     created_at timestamptz default now());";

/// Where the wrong relay keeps its place.
const CURSOR: &str = "create table relay_cursor (only_one int primary key, ord bigint not null); \
     insert into relay_cursor values (1, 0);";

/// A database.
#[derive(Clone)]
pub(crate) enum Pool {
    Pg(PgPool),
    Sqlite(SqlitePool),
}

impl Pool {
    /// `postgres://…`, or the path of a file.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("postgres://") {
            return Ok(Self::Pg(PgPoolOptions::new().max_connections(2).connect(url).await?));
        }
        let options = SqliteConnectOptions::new().filename(url).create_if_missing(true);
        let options = options
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .busy_timeout(std::time::Duration::from_secs(20));
        Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(2).connect_with(options).await?))
    }

    pub(crate) async fn migrate(&self) -> Result<()> {
        let aggregates = (0..AGGREGATES).map(|n| format!("insert into aggregates values ('a-{n}', 0);"));
        let rows = aggregates.collect::<String>();
        match self {
            Self::Pg(pool) => {
                postgres::migrate(pool).await?;
                pool.execute(AssertSqlSafe(format!("{TABLES}{EVENTS}{CURSOR}{rows}"))).await?;
            }
            Self::Sqlite(pool) => {
                sqlite::migrate(pool).await?;
                pool.execute(AssertSqlSafe(format!("{TABLES}{rows}"))).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn orders(&self) -> Result<Vec<Order>> {
        // Also for the tables of the interop application, where an id is a uuid and a number is shorter.
        const IN_PG: &str = "select order_id::text, aggregate_id, seq::int8 from orders";
        const TEXT: &str = "select order_id, aggregate_id, seq from orders";
        let rows: Vec<(String, String, i64)> = match self {
            Self::Pg(pool) => sqlx::query_as(IN_PG).fetch_all(pool).await?,
            Self::Sqlite(pool) => sqlx::query_as(TEXT).fetch_all(pool).await?,
        };
        rows.into_iter().map(|(id, aggregate, seq)| Ok(Order { id: id.parse()?, aggregate, seq })).collect()
    }

    pub(crate) async fn effects(&self) -> Result<HashMap<Uuid, i64>> {
        const IN_PG: &str = "select order_id::text, n::int8 from effects";
        const TEXT: &str = "select order_id, n from effects";
        let rows: Vec<(String, i64)> = match self {
            Self::Pg(pool) => sqlx::query_as(IN_PG).fetch_all(pool).await?,
            Self::Sqlite(pool) => sqlx::query_as(TEXT).fetch_all(pool).await?,
        };
        rows.into_iter().map(|(id, n)| Ok((id.parse()?, n))).collect()
    }

    /// How often each saga was told that its order is billed.
    pub(crate) async fn sagas(&self) -> Result<HashMap<Uuid, i64>> {
        const IN_PG: &str = "select instance, body::text from saga where name = 'crash-closing'";
        const TEXT: &str = "select instance, body from saga where name = 'crash-closing'";
        let rows: Vec<(String, String)> = match self {
            Self::Pg(pool) => sqlx::query_as(IN_PG).fetch_all(pool).await?,
            Self::Sqlite(pool) => sqlx::query_as(TEXT).fetch_all(pool).await?,
        };
        let read = |(id, body): (String, String)| {
            let body: serde_json::Value = serde_json::from_str(&body)?;
            let billed = body["state"]["billed"].as_i64().context("a saga's row has its state")?;
            Ok((id.parse()?, billed))
        };
        rows.into_iter().map(read).collect()
    }

    /// Rows of this table that no relay has taken yet.
    pub(crate) async fn pending(&self, outbox: &'static str) -> Result<i64> {
        let text = AssertSqlSafe(format!("select count(*) from {outbox}"));
        Ok(match self {
            Self::Pg(pool) => sqlx::query_scalar(text).fetch_one(pool).await?,
            Self::Sqlite(pool) => sqlx::query_scalar(text).fetch_one(pool).await?,
        })
    }
}

const NEXT: &str = "update aggregates set seq = seq + 1 where id = $1 returning seq";
const ORDER: &str = "insert into orders values ($1, $2, $3)";
const EFFECT: &str =
    "insert into effects values ($1, 1) on conflict (order_id) do update set n = effects.n + 1";

/// The same application code for two databases, which sqlx has no common type for.
macro_rules! application {
    ($module:ident, $connection:ty) => {
        pub(crate) mod $module {
            use super::*;

            /// Takes the aggregate's lock, its next number, and stores the order.
            pub(crate) async fn place(on: &mut $connection, id: Uuid, aggregate: &str) -> Result<i64> {
                let seq: i64 = query(NEXT).bind(aggregate).fetch_one(&mut *on).await?.try_get(0)?;
                query(ORDER).bind(id.to_string()).bind(aggregate).bind(seq).execute(on).await?;
                Ok(seq)
            }

            /// The consumer's work.
            pub(crate) async fn bill(on: &mut $connection, id: Uuid) -> Result<()> {
                query(EFFECT).bind(id.to_string()).execute(on).await?;
                Ok(())
            }
        }
    };
}

application!(in_pg, PgConnection);
application!(in_sqlite, SqliteConnection);

/// A row in Debezium's layout.
pub(crate) async fn insert_event(
    on: &mut PgConnection,
    aggregate: (&str, &str),
    kind: &str,
    payload: &impl serde::Serialize,
) -> Result<()> {
    let text = "insert into events (id, aggregatetype, aggregateid, type, payload) \
        values (gen_random_uuid(), $1, $2, $3, $4::jsonb)";
    let payload = serde_json::to_string(payload)?;
    query(text).bind(aggregate.0).bind(aggregate.1).bind(kind).bind(payload).execute(on).await?;
    Ok(())
}
