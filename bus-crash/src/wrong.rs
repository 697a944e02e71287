//! Designs that people build, each with one mistake, in the place of the right source of rows. The relay around them is the right one.

use anyhow::Result;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Connection as _, Executor as _, Row as _, query};
use stele_bus_relay::{Backlog, LANES, Place, Reader, Row, Source, SourceError};

const COLUMNS: &str = "ord, id::text, aggregate_id, type, destination, payload";

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        place: Place { lane: 0, ord: row.try_get(0)? },
        id: row.try_get(1)?,
        aggregate_type: String::new(),
        aggregate_id: row.try_get(2)?,
        kind: row.try_get(3)?,
        destination: row.try_get(4)?,
        content_type: None,
        headers: None,
        properties: None,
        payload: row.try_get(5)?,
    })
}

fn failed(error: sqlx::Error) -> SourceError {
    SourceError(error.to_string())
}

async fn connect(url: &str) -> Result<PgConnection, SourceError> {
    let options: PgConnectOptions = url.parse().map_err(failed)?;
    PgConnection::connect_with(&options).await.map_err(failed)
}

/// Reads what is behind the highest number that it has seen: a transaction that commits later with a lower number is passed over.
pub(crate) struct CursorById(pub(crate) String);

pub(crate) struct CursorReader(PgConnection);

impl Source for CursorById {
    type Reader = CursorReader;

    async fn open(&self) -> Result<CursorReader, SourceError> {
        Ok(CursorReader(connect(&self.0).await?))
    }
}

impl Reader for CursorReader {
    async fn balance(&mut self) -> Result<u16, SourceError> {
        Ok(LANES)
    }

    async fn read(&mut self, _: &[String], count_max: usize) -> Result<Vec<Row>, SourceError> {
        let text = sqlx::AssertSqlSafe(format!(
            "select {COLUMNS} from outbox where ord > (select ord from relay_cursor) order by ord limit $1"
        ));
        let rows = query(text).bind(count_max as i64).fetch_all(&mut self.0).await;
        rows.and_then(|rows| rows.iter().map(row).collect()).map_err(failed)
    }

    async fn delete(&mut self, places: &[Place]) -> Result<(), SourceError> {
        let ords: Vec<i64> = places.iter().map(|place| place.ord).collect();
        let text = "with gone as (delete from outbox where ord = any($1)) \
            update relay_cursor set ord = greatest(ord, (select max(n) from unnest($1) n))";
        query(text).bind(ords).execute(&mut self.0).await.map(drop).map_err(failed)
    }

    async fn park(&mut self, _: Place, reason: &str) -> Result<(), SourceError> {
        Err(SourceError(reason.into()))
    }

    async fn backlog(&mut self) -> Result<Backlog, SourceError> {
        Ok(Backlog::default())
    }
}

/// Locks the oldest rows that nobody else has locked: two workers have rows of one aggregate at a time.
pub(crate) struct SkipLocked(pub(crate) String);

pub(crate) struct SkipReader(PgConnection);

impl Source for SkipLocked {
    type Reader = SkipReader;

    async fn open(&self) -> Result<SkipReader, SourceError> {
        let mut connection = connect(&self.0).await?;
        connection.execute("begin").await.map_err(failed)?;
        Ok(SkipReader(connection))
    }
}

impl Reader for SkipReader {
    async fn balance(&mut self) -> Result<u16, SourceError> {
        Ok(LANES)
    }

    async fn read(&mut self, _: &[String], count_max: usize) -> Result<Vec<Row>, SourceError> {
        let text = sqlx::AssertSqlSafe(format!(
            "select {COLUMNS} from outbox order by ord limit $1 for update skip locked"
        ));
        let rows = query(text).bind(count_max as i64).fetch_all(&mut self.0).await;
        rows.and_then(|rows| rows.iter().map(row).collect()).map_err(failed)
    }

    async fn delete(&mut self, places: &[Place]) -> Result<(), SourceError> {
        let ords: Vec<i64> = places.iter().map(|place| place.ord).collect();
        query("delete from outbox where ord = any($1)")
            .bind(ords)
            .execute(&mut self.0)
            .await
            .map_err(failed)?;
        self.0.execute("commit; begin").await.map(drop).map_err(failed)
    }

    async fn park(&mut self, _: Place, reason: &str) -> Result<(), SourceError> {
        Err(SourceError(reason.into()))
    }

    async fn backlog(&mut self) -> Result<Backlog, SourceError> {
        Ok(Backlog::default())
    }
}

/// The right source, but rows are deleted as they are read: what is on its way when the relay dies is gone.
pub(crate) struct DeleteFirst<S>(pub(crate) S);

pub(crate) struct DeleteFirstReader<R>(R);

impl<S: Source> Source for DeleteFirst<S> {
    type Reader = DeleteFirstReader<S::Reader>;

    async fn open(&self) -> Result<Self::Reader, SourceError> {
        Ok(DeleteFirstReader(self.0.open().await?))
    }
}

impl<R: Reader> Reader for DeleteFirstReader<R> {
    async fn balance(&mut self) -> Result<u16, SourceError> {
        self.0.balance().await
    }

    async fn read(&mut self, without: &[String], count_max: usize) -> Result<Vec<Row>, SourceError> {
        let rows = self.0.read(without, count_max).await?;
        let places: Vec<Place> = rows.iter().map(|row| row.place).collect();
        self.0.delete(&places).await?;
        Ok(rows)
    }

    async fn delete(&mut self, _: &[Place]) -> Result<(), SourceError> {
        Ok(())
    }

    async fn park(&mut self, place: Place, reason: &str) -> Result<(), SourceError> {
        self.0.park(place, reason).await
    }

    async fn backlog(&mut self) -> Result<Backlog, SourceError> {
        self.0.backlog().await
    }
}
