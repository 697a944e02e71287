//! Outbox tables in SQLite: the same rows without lanes.
//!
//! A database has one writer at a time, so the order of numbers is the order of commits; and one relay, which holds a lock on a file
//! beside the database for as long as it lives.

use crate::row::{LANES, Place, Row};
use crate::source::{Backlog, READ_BYTES, Reader, Source, SourceError};
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::{ConnectOptions as _, Executor as _, Row as _, query};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for the writer before us.
const BUSY: Duration = Duration::from_secs(10);

/// The outbox and its dead rows, as SQL that may be run again.
pub const TABLES: &str = "
create table if not exists outbox (
  ord integer primary key autoincrement,  -- never used again, so that a late deletion cannot meet a new row
  id text not null,
  aggregate_type text,
  aggregate_id text,
  type text not null,
  destination text,
  content_type text,
  headers text,
  properties text,
  payload blob not null,
  created_at real not null default ((julianday('now') - 2440587.5) * 86400.0)
);
create table if not exists outbox_dead (
  dead integer primary key autoincrement,
  id text not null,
  aggregate_type text,
  aggregate_id text,
  type text not null,
  destination text,
  content_type text,
  headers text,
  properties text,
  payload blob not null,
  reason text not null,
  parked_at real not null default ((julianday('now') - 2440587.5) * 86400.0)
);
";

/// An outbox in a database file.
#[derive(Clone, Debug)]
pub struct SqliteOutbox {
    file: PathBuf,
}

impl SqliteOutbox {
    /// The outbox of this file, which must be there.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(&self.file).busy_timeout(BUSY);
        options.journal_mode(SqliteJournalMode::Wal).disable_statement_logging().connect().await
    }

    /// Puts all dead rows back at the end of the outbox, oldest first; how many.
    ///
    /// # Errors
    /// The database cannot be opened or changed.
    pub async fn replay(&self) -> Result<u64, SourceError> {
        let replay = async {
            let mut connection = self.connect().await?;
            connection.execute("begin immediate").await?;
            let text = "insert into outbox (id, aggregate_type, aggregate_id, type, destination, content_type, headers, \
                properties, payload) select id, aggregate_type, aggregate_id, type, destination, content_type, \
                headers, properties, payload from outbox_dead order by dead";
            let count = query(text).execute(&mut connection).await?.rows_affected();
            connection.execute("delete from outbox_dead; commit").await?;
            Ok(count)
        };
        replay.await.map_err(failed("put rows back"))
    }
}

fn lock_file(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-relay");
    name.into()
}

fn failed(what: &'static str) -> impl FnOnce(sqlx::Error) -> SourceError {
    move |error| SourceError(format!("could not {what}: {error}"))
}

impl Source for SqliteOutbox {
    type Reader = SqliteReader;

    async fn open(&self) -> Result<SqliteReader, SourceError> {
        let connection = self.connect().await.map_err(failed("open the database"))?;
        let path = lock_file(&self.file);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock =
            lock.map_err(|error| SourceError(format!("could not open {}: {error}", path.display())))?;
        Ok(SqliteReader { connection, lock, owned: false })
    }
}

/// A connection, and the lock once nobody else has it.
pub struct SqliteReader {
    connection: SqliteConnection,
    lock: File,
    owned: bool,
}

impl SqliteReader {
    async fn try_read(&mut self, without: &[String], count_max: usize) -> Result<Vec<Row>, sqlx::Error> {
        let text = "select ord, id, aggregate_type, coalesce(aggregate_id, id), type, destination, content_type, \
            headers, properties, payload from outbox where coalesce(aggregate_id, id) not in (select value from json_each(?)) \
            order by ord limit ?";
        let without = serde_json::Value::from(without).to_string();
        let mut found = query(text).bind(without).bind(count_max as i64).fetch(&mut self.connection);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.try_next().await? {
            let row = read_row(&row)?;
            bytes += row.payload.len();
            rows.push(row);
            if bytes >= READ_BYTES {
                break;
            }
        }
        Ok(rows)
    }

    async fn try_park(&mut self, place: Place, reason: &str) -> Result<(), sqlx::Error> {
        self.connection.execute("begin immediate").await?;
        let text = "insert into outbox_dead (id, aggregate_type, aggregate_id, type, destination, content_type, headers, \
            properties, payload, reason) select id, aggregate_type, aggregate_id, type, destination, content_type, \
            headers, properties, payload, ? from outbox where ord = ?";
        query(text).bind(reason).bind(place.ord).execute(&mut self.connection).await?;
        query("delete from outbox where ord = ?").bind(place.ord).execute(&mut self.connection).await?;
        self.connection.execute("commit").await.map(drop)
    }

    async fn try_backlog(&mut self) -> Result<Backlog, sqlx::Error> {
        let text = "select (select count(*) from (select 1 from outbox limit ?)), \
            (select (julianday('now') - 2440587.5) * 86400.0 - created_at from outbox order by ord limit 1), \
            (select count(*) from (select 1 from outbox_dead limit ?))";
        let max = Backlog::PENDING_MAX as i64;
        let row = query(text).bind(max).bind(max).fetch_one(&mut self.connection).await?;
        let (pending, age, dead): (i64, Option<f64>, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let oldest_age = age.map(|age| Duration::try_from_secs_f64(age.max(0.0)).unwrap_or_default());
        Ok(Backlog { pending: pending as u64, oldest_age, dead: dead as u64, scheduled: 0 })
    }
}

fn read_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        place: Place { lane: 0, ord: row.try_get(0)? },
        id: row.try_get(1)?,
        aggregate_type: row.try_get::<Option<String>, _>(2)?.unwrap_or_default(),
        aggregate_id: row.try_get(3)?,
        kind: row.try_get(4)?,
        destination: row.try_get(5)?,
        content_type: row.try_get(6)?,
        headers: row.try_get(7)?,
        properties: row.try_get(8)?,
        payload: row.try_get(9)?,
    })
}

impl Reader for SqliteReader {
    async fn balance(&mut self) -> Result<u16, SourceError> {
        // The lock is the file's and ends with this reader. Somebody else's is no error.
        self.owned = self.owned || self.lock.try_lock().is_ok();
        Ok(if self.owned { LANES } else { 0 })
    }

    async fn read(&mut self, without: &[String], count_max: usize) -> Result<Vec<Row>, SourceError> {
        if !self.owned {
            return Ok(Vec::new());
        }
        self.try_read(without, count_max).await.map_err(failed("read the outbox"))
    }

    async fn delete(&mut self, places: &[Place]) -> Result<(), SourceError> {
        let ords: serde_json::Value = places.iter().map(|place| place.ord).collect();
        let delete =
            query("delete from outbox where ord in (select value from json_each(?))").bind(ords.to_string());
        delete.execute(&mut self.connection).await.map_err(failed("delete what was confirmed"))?;
        Ok(())
    }

    async fn park(&mut self, place: Place, reason: &str) -> Result<(), SourceError> {
        self.try_park(place, reason).await.map_err(failed("park a row"))
    }

    async fn backlog(&mut self) -> Result<Backlog, SourceError> {
        self.try_backlog().await.map_err(failed("count what waits"))
    }
}
