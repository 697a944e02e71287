//! Looking at an outbox without touching it: `stele outbox stats` and `check`, and a relay's gauges.

use super::failed;
use super::table::Shape;
use crate::row::LANES;
use crate::source::{Backlog, SourceError};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _, query};
use std::time::Duration;

/// How much waits.
///
/// # Errors
/// The session has ended, or the table may not be read.
pub async fn backlog(connection: &mut PgConnection, shape: &Shape) -> Result<Backlog, SourceError> {
    try_backlog(connection, shape).await.map_err(failed("count what waits"))
}

async fn try_backlog(connection: &mut PgConnection, shape: &Shape) -> Result<Backlog, sqlx::Error> {
    let (name, lane, ord) = (&shape.name, shape.lane(), shape.ord());
    // The oldest row of each lane is the first of its part of the index; where numbers are missing any row counts.
    let age = match (shape.made_at(), shape.is_prepared()) {
        (None, _) => "null::float8".to_owned(),
        (Some(made_at), true) => format!(
            "(select extract(epoch from clock_timestamp())::float8 - min(r.at) from generate_series(0, {}) l(lane) \
             cross join lateral (select {made_at} as at from {name} o where {lane} = l.lane::smallint \
             order by o.{ord} limit 1) r)",
            LANES - 1
        ),
        (Some(made_at), false) => {
            format!("(select extract(epoch from clock_timestamp())::float8 - min({made_at}) from {name} o)")
        }
    };
    let dead = match shape.has_dead() {
        true => format!("(select count(*) from (select from {} limit $1) d)", name.beside("_dead")),
        false => "0::int8".into(),
    };
    let (now, later) = match shape.has_schedule() {
        true => ("where available_at is null", "where available_at is not null"),
        false => ("", "where false"),
    };
    let count = |which: &str| format!("(select count(*) from (select from {name} {which} limit $1) p)");
    let text = format!("select {}, {age}, {dead}, {}", count(now), count(later));
    let row = query(AssertSqlSafe(text)).bind(Backlog::PENDING_MAX as i64).fetch_one(connection).await?;
    let (pending, age, dead): (i64, Option<f64>, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let scheduled: i64 = row.try_get(3)?;
    let oldest_age = age.map(|age| Duration::try_from_secs_f64(age.max(0.0)).unwrap_or_default());
    let (pending, dead, scheduled) = (pending as u64, dead as u64, scheduled as u64);
    Ok(Backlog { pending, oldest_age, dead, scheduled })
}

/// A session that owns lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The backend's process id in the database.
    pub pid: i32,
    /// Where it connects from; `local` for a unix socket.
    pub from: String,
    /// How many lanes.
    pub lanes: i64,
}

/// Who relays this table at the moment.
///
/// # Errors
/// The session has ended.
pub async fn owners(connection: &mut PgConnection, shape: &Shape) -> Result<Vec<Owner>, SourceError> {
    let what = "look who owns lanes";
    let rows = query(
        "select l.pid, coalesce(host(a.client_addr), 'local'), count(*) filter (where l.objid::int8 < $2) \
         from pg_locks l left join pg_stat_activity a on a.pid = l.pid \
         where l.locktype = 'advisory' and l.granted and l.classid::int8 = $1 and l.objsubid = 2 \
         and l.objid::int8 between 0 and $2 \
         and l.database = (select oid from pg_database where datname = current_database()) group by 1, 2 order by 1",
    )
    .bind(shape.oid)
    .bind(i64::from(LANES))
    .fetch_all(connection)
    .await
    .map_err(failed(what))?;
    let owner = |row: &sqlx::postgres::PgRow| {
        Ok(Owner { pid: row.try_get(0)?, from: row.try_get(1)?, lanes: row.try_get(2)? })
    };
    rows.iter().map(owner).collect::<Result<_, sqlx::Error>>().map_err(failed(what))
}

/// Rights on the table that a relay needs and this user does not have.
///
/// # Errors
/// The session has ended.
pub async fn rights_missing(
    connection: &mut PgConnection,
    shape: &Shape,
) -> Result<Vec<&'static str>, SourceError> {
    let what = "look at the rights";
    let row = query(
        "select has_table_privilege($1::oid, 'select'), has_table_privilege($1::oid, 'delete'), \
         pg_has_role((select relowner from pg_class where oid = $1::oid), 'usage')",
    )
    .bind(shape.oid)
    .fetch_one(connection)
    .await
    .map_err(failed(what))?;
    let mut missing = Vec::new();
    for (index, right) in ["select", "delete", "ownership, to add what is missing"].into_iter().enumerate() {
        let has: bool = row.try_get(index).map_err(failed(what))?;
        if !has && (index < 2 || !shape.is_prepared()) {
            missing.push(right);
        }
    }
    Ok(missing)
}
