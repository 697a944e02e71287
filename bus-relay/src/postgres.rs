//! Outbox tables in Postgres: our own layout and Debezium's, found by looking at the table's columns.
//!
//! A session owns lanes by advisory locks, so a relay that dies gives them up at once, and reads only what is committed. Because locks
//! belong to the session, the connection must not go through a pooler that shares sessions between transactions.

pub mod ddl;
pub mod table;

pub mod look;
mod reader;

pub mod dead;
#[cfg(feature = "follow")]
pub mod follow;
#[cfg(feature = "follow")]
mod tunnel;

use crate::source::{Source, SourceError};
pub use reader::PgReader;
pub use sqlx::postgres::PgConnection as Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::str::FromStr;
use std::time::Duration;
use table::{Layout, Name, Shape};
use tokio::time::timeout;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What a session is set to. The plans must be those over the index whatever the statistics say, which are always old for a table that
/// fills and empties. A deletion that a crash of the database undoes only makes copies, so nobody waits for its sync. A relay whose
/// machine vanished must not own lanes for hours.
const SESSION: &str = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; \
     set enable_mergejoin = off; set synchronous_commit = off; set tcp_keepalives_idle = 10; \
     set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3";

/// A database that can be connected to.
#[derive(Clone)]
pub struct Database(PgConnectOptions);

/// Without user and password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.place()).finish()
    }
}

impl Database {
    /// Reads a URL such as `postgres://user:password@host:5432/name?sslmode=require`.
    ///
    /// # Errors
    /// It is none. The text does not repeat the URL.
    pub fn new(url: &str) -> Result<Self, String> {
        let scheme = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        let expected = "expected postgres://user:password@host:port/database";
        let options = PgConnectOptions::from_str(url).ok().filter(|_| scheme).ok_or(expected)?;
        Ok(Self(options.application_name("stele outbox").disable_statement_logging()))
    }

    /// Host, port and name, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let (host, port) = (self.0.get_host(), self.0.get_port());
        format!("postgres://{host}:{port}/{}", self.0.get_database().unwrap_or("?"))
    }

    /// Connects.
    ///
    /// # Errors
    /// The database cannot be reached or does not let us in.
    pub async fn connect(&self) -> Result<PgConnection, SourceError> {
        let place = self.place();
        let connecting = timeout(CONNECT, self.0.connect()).await;
        connecting
            .map_err(|_| SourceError(format!("could not connect to {place} within {CONNECT:?}")))?
            .map_err(|error| SourceError(format!("could not connect to {place}: {}", said(&error))))
    }
}

/// An outbox table.
#[derive(Clone, Debug)]
pub struct PgOutbox {
    database: Database,
    name: Name,
    layout: Option<Layout>,
    scheduled: Scheduled,
}

/// What becomes of rows that say when they are to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduled {
    /// They wait in the table; they may leave up to a second late.
    #[default]
    Wait,
    /// They are handed on at once to a target that keeps their time, such as the bus over its own transport.
    HandedOn,
}

impl PgOutbox {
    /// A table of this name; `layout` is found out where it is not said.
    #[must_use]
    pub fn new(database: Database, name: Name, layout: Option<Layout>) -> Self {
        Self { database, name, layout, scheduled: Scheduled::default() }
    }

    /// What becomes of scheduled rows; they wait by default.
    #[must_use]
    pub fn scheduled(mut self, scheduled: Scheduled) -> Self {
        self.scheduled = scheduled;
        self
    }

    /// Makes what the relay needs and is not there: see [`ddl::prepare`]. Safe to be done by several relays at a time, and again.
    ///
    /// # Errors
    /// There is no such table, it has another layout, or we may not change it.
    pub async fn prepare(&self) -> Result<Layout, SourceError> {
        let mut connection = self.database.connect().await?;
        let shape = ddl::prepare(&mut connection, &self.name, self.layout).await?;
        // Nothing is left to be told that would matter.
        let _ = connection.close().await;
        Ok(shape.layout)
    }
}

impl Source for PgOutbox {
    type Reader = PgReader;

    async fn open(&self) -> Result<PgReader, SourceError> {
        let mut connection = self.database.connect().await?;
        connection.execute(AssertSqlSafe(SESSION)).await.map_err(failed("set up the session"))?;
        let shape = Shape::look(&mut connection, &self.name, self.layout).await?;
        if !shape.is_prepared() {
            return Err(SourceError(format!(
                "the table {} is not prepared: see stele outbox ddl",
                self.name
            )));
        }
        PgReader::new(connection, &shape, self.scheduled).await
    }
}

/// For `map_err`: what was tried, and what the database said.
pub(crate) fn failed(what: &str) -> impl FnOnce(sqlx::Error) -> SourceError {
    let what = what.to_owned();
    move |error| SourceError(format!("could not {what}: {}", said(&error)))
}

/// The database's own words without the library's around them.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_holds_a_password() {
        let database = Database::new("postgres://ann:hunter2@example.org:5433/shop").unwrap();
        assert_eq!(format!("{database:?}"), "Database(\"postgres://example.org:5433/shop\")");
        for url in ["mysql://ann:hunter2@example.org/shop", "ann:hunter2", "postgres://ann:hunter2@x:port/"] {
            assert!(!Database::new(url).unwrap_err().contains("hunter2"), "{url}");
        }
    }
}
