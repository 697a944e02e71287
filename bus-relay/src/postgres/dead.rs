//! Rows that were parked: listed and replayed, by `stele outbox dead`.

use super::failed;
use super::table::Shape;
use crate::source::SourceError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _, query};

/// A parked row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// By which it is replayed.
    pub dead: i64,
    /// The message's id.
    pub id: String,
    /// Its aggregate.
    pub aggregate_id: String,
    /// Why it was parked.
    pub reason: String,
    /// When, as Postgres writes it.
    pub parked_at: String,
}

/// The oldest parked rows, at most `count_max`.
///
/// # Errors
/// The session has ended, or the table may not be read.
pub async fn list(
    connection: &mut PgConnection,
    shape: &Shape,
    count_max: u32,
) -> Result<Vec<Dead>, SourceError> {
    let what = "list the dead rows";
    let text = format!(
        "select dead, id, aggregate_id, reason, parked_at::text from {} order by dead limit $1",
        shape.name.beside("_dead")
    );
    let rows = query(AssertSqlSafe(text)).bind(i64::from(count_max)).fetch_all(connection).await;
    let dead = |row: &sqlx::postgres::PgRow| {
        Ok(Dead {
            dead: row.try_get(0)?,
            id: row.try_get(1)?,
            aggregate_id: row.try_get(2)?,
            reason: row.try_get(3)?,
            parked_at: row.try_get(4)?,
        })
    };
    rows.and_then(|rows| rows.iter().map(dead).collect()).map_err(failed(what))
}

/// Puts rows back at the end of the outbox, oldest first, under the ids they had; `None` means all. How many there were.
///
/// # Errors
/// The session has ended, or a row does not fit the table any more; then none was put back.
pub async fn replay(
    connection: &mut PgConnection,
    shape: &Shape,
    dead: Option<&[i64]>,
) -> Result<u64, SourceError> {
    let (name, given) = (&shape.name, shape.given());
    let text = format!(
        "with back as (delete from {} where $1::bigint[] is null or dead = any($1) returning dead, body) \
         insert into {name} ({given}) select {given} from (select b.dead as \"dead \", r.* from back b \
         cross join lateral json_populate_record(null::{name}, b.body) r order by b.dead) o order by \"dead \"",
        name.beside("_dead")
    );
    let done = query(AssertSqlSafe(text)).bind(dead).execute(connection).await;
    Ok(done.map_err(failed("put rows back"))?.rows_affected())
}
