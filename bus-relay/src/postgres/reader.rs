//! A session of a relay: the lanes it owns, and the statements by which it reads, deletes and parks.

use super::table::Shape;
use super::{Scheduled, failed, look};
use crate::row::{LANES, Place, Row};
use crate::source::{Backlog, READ_BYTES, Reader, SourceError};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _, SqlStr, query};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// The lock that every session of a table shares, by which they are counted.
const MEMBER: i32 = LANES as i32;

/// Scheduled rows that enter their lanes at a time.
const ENTER_MAX: usize = 10_000;
/// Nobody remembers a time that is further away: it is asked for again before.
const SCHEDULE_AHEAD: Duration = Duration::from_secs(3600);

/// A session.
pub struct PgReader {
    connection: PgConnection,
    /// First half of the keys of its locks; the second is the lane.
    class: i32,
    lanes: BTreeSet<i16>,
    shape: Shape,
    /// Rows asked of each lane; see [`next_share`].
    share: usize,
    read: SqlStr,
    delete: SqlStr,
    park: SqlStr,
    /// `None` where the table has no scheduled rows.
    schedule: Option<Schedule>,
}

/// Scheduled rows.
struct Schedule {
    /// Puts those that are due into their lanes.
    enter: SqlStr,
    /// Seconds until the next is due.
    next: SqlStr,
    /// When that is; `None`: there is none, or nobody has looked.
    due: Option<Instant>,
    /// They enter at once: the target keeps their time.
    handed_on: bool,
}

fn sql(text: String) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

impl PgReader {
    pub(super) async fn new(
        mut connection: PgConnection,
        shape: &Shape,
        scheduled: Scheduled,
    ) -> Result<Self, SourceError> {
        let class = shape.oid as u32 as i32;
        query("select pg_advisory_lock_shared($1, $2)")
            .bind(class)
            .bind(MEMBER)
            .execute(&mut connection)
            .await
            .map_err(failed("take a seat among the relays"))?;
        let (name, lane, ord, aggregate) = (&shape.name, shape.lane(), shape.ord(), shape.aggregate());
        let selected = shape.selected();
        let read = format!(
            "select r.* from unnest($1::smallint[]) as l(lane) cross join lateral (\
               select {selected} from {name} o where {lane} = l.lane and not ({aggregate} = any($2::text[])) \
               order by o.{ord} limit $3) r order by 2 limit $4"
        );
        let delete = format!(
            "delete from {name} o using unnest($1::smallint[], $2::bigint[]) as d(lane, ord) \
             where {lane} = d.lane and o.{ord} = d.ord"
        );
        let park = format!(
            "with moved as (delete from {name} o where {lane} = $1 and o.{ord} = $2 \
               returning o.id::text as id, {aggregate} as aggregate, to_json(o) as body) \
             insert into {} (id, aggregate_id, reason, body) select id, aggregate, $3, body from moved",
            name.beside("_dead")
        );
        let handed_on = scheduled == Scheduled::HandedOn;
        let is_due = if handed_on { "available_at is not null" } else { "available_at <= clock_timestamp()" };
        let schedule = shape.has_schedule().then(|| Schedule {
            enter: sql(format!(
                "update {name} set available_at = null, ord = default where (lane, ord) in (select lane, ord from {name} \
                 where {is_due} order by available_at limit {ENTER_MAX} for update skip locked)"
            )),
            next: sql(format!(
                "select extract(epoch from min(available_at) - clock_timestamp())::float8 from {name} \
                 where available_at is not null"
            )),
            due: None,
            handed_on,
        });
        Ok(Self {
            connection,
            schedule,
            class,
            lanes: BTreeSet::new(),
            shape: shape.clone(),
            share: 1,
            read: sql(read),
            delete: sql(delete),
            park: sql(park),
        })
    }

    /// Sessions of this table, and the lanes that others own.
    async fn others(&mut self) -> Result<(u16, BTreeSet<i16>), sqlx::Error> {
        let rows = query(
            "select objid::int8, pid = pg_backend_pid() from pg_locks where locktype = 'advisory' and granted \
             and classid::int8 = $1 and objsubid = 2 and objid::int8 between 0 and $2 \
             and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(i64::from(self.class as u32))
        .bind(i64::from(MEMBER))
        .fetch_all(&mut self.connection)
        .await?;
        let (mut members, mut taken) = (0, BTreeSet::new());
        for row in rows {
            let (object, ours): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
            if object == i64::from(MEMBER) {
                members += 1;
            } else if !ours {
                taken.insert(object as i16);
            }
        }
        Ok((members, taken))
    }

    async fn try_balance(&mut self) -> Result<u16, sqlx::Error> {
        let (members, taken) = self.others().await?;
        let share = usize::from(LANES.div_ceil(members.max(1)));
        while self.lanes.len() > share {
            let lane = self.lanes.pop_last().expect("more than a share is more than none");
            let unlock = query("select pg_advisory_unlock($1, $2)").bind(self.class).bind(i32::from(lane));
            unlock.execute(&mut self.connection).await?;
        }
        let wanted = share - self.lanes.len();
        let free = |lane: &i16| !taken.contains(lane) && !self.lanes.contains(lane);
        let candidates: Vec<i32> = (0..LANES as i16).filter(free).take(wanted).map(i32::from).collect();
        if !candidates.is_empty() {
            let got = query("select lane from unnest($2::int[]) lane where pg_try_advisory_lock($1, lane)")
                .bind(self.class)
                .bind(&candidates)
                .fetch_all(&mut self.connection)
                .await?;
            for row in got {
                self.lanes.insert(row.try_get::<i32, _>(0)? as i16);
            }
        }
        Ok(self.lanes.len() as u16)
    }

    /// When the next scheduled row is due. Any session puts it into its lane, whoever owns that.
    async fn look_at_schedule(&mut self) -> Result<(), sqlx::Error> {
        let Some(schedule) = &mut self.schedule else { return Ok(()) };
        let row = query(schedule.next.clone()).fetch_one(&mut self.connection).await?;
        let wait = row.try_get::<Option<f64>, _>(0)?.map(|wait| Duration::try_from_secs_f64(wait.max(0.0)));
        schedule.due = wait.map(|wait| Instant::now() + wait.unwrap_or(SCHEDULE_AHEAD).min(SCHEDULE_AHEAD));
        Ok(())
    }

    async fn enter_due(&mut self) -> Result<(), sqlx::Error> {
        let Some(schedule) = &self.schedule else { return Ok(()) };
        if !schedule.handed_on && schedule.due.is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        query(schedule.enter.clone()).execute(&mut self.connection).await?;
        if schedule.handed_on { Ok(()) } else { self.look_at_schedule().await }
    }

    async fn try_read(&mut self, without: &[String], count_max: usize) -> Result<Vec<Row>, sqlx::Error> {
        let lanes: Vec<i16> = self.lanes.iter().copied().collect();
        self.share = self.share.max(least_share(lanes.len(), count_max));
        let mut found = query(self.read.clone())
            .bind(lanes)
            .bind(without)
            .bind(self.share as i64)
            .bind(count_max as i64)
            .fetch(&mut self.connection);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        // What lies behind the bound is not kept; the next read finds it again.
        while let Some(row) = found.try_next().await? {
            let row = read_row(&row)?;
            bytes += row.payload.len();
            rows.push(row);
            if bytes >= READ_BYTES {
                break;
            }
        }
        drop(found);
        let fullest = fullest(&rows);
        self.share =
            next_share(self.share, least_share(self.lanes.len(), count_max), count_max, rows.len(), fullest);
        Ok(rows)
    }
}

/// Rows asked of each lane when all have as many: twice what is needed, since they never have.
fn least_share(lanes: usize, count_max: usize) -> usize {
    (2 * count_max).div_ceil(lanes.max(1)).min(count_max)
}

/// How many rows the fullest lane gave.
fn fullest(rows: &[Row]) -> usize {
    let mut counts = [0; LANES as usize];
    rows.iter().for_each(|row| counts[row.place.lane as usize] += 1);
    counts.into_iter().max().unwrap_or(0)
}

/// What is asked of each lane next time. All lanes together are asked for more than a batch, and what is not taken was read for nothing; so
/// a lane is asked for little while many are full, and for more and more when one lane alone is.
fn next_share(share: usize, least: usize, count_max: usize, found: usize, fullest: usize) -> usize {
    if found >= count_max {
        least.max(share / 2)
    } else if fullest >= share {
        count_max.min(share * 2)
    } else {
        share
    }
}

fn read_row(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        place: Place { lane: row.try_get(0)?, ord: row.try_get(1)? },
        id: row.try_get(2)?,
        aggregate_type: row.try_get(3)?,
        aggregate_id: row.try_get(4)?,
        kind: row.try_get(5)?,
        destination: row.try_get(6)?,
        content_type: row.try_get(7)?,
        headers: row.try_get(8)?,
        properties: row.try_get(9)?,
        payload: row.try_get(10)?,
    })
}

impl Reader for PgReader {
    async fn balance(&mut self) -> Result<u16, SourceError> {
        self.look_at_schedule().await.map_err(failed("look at the scheduled rows"))?;
        self.try_balance().await.map_err(failed("share out the lanes"))
    }

    async fn read(&mut self, without: &[String], count_max: usize) -> Result<Vec<Row>, SourceError> {
        if self.lanes.is_empty() {
            return Ok(Vec::new());
        }
        self.enter_due().await.map_err(failed("take up scheduled rows"))?;
        self.try_read(without, count_max).await.map_err(failed("read the outbox"))
    }

    async fn delete(&mut self, places: &[Place]) -> Result<(), SourceError> {
        let (lanes, ords): (Vec<i16>, Vec<i64>) = places.iter().map(|place| (place.lane, place.ord)).unzip();
        let delete = query(self.delete.clone()).bind(lanes).bind(ords);
        delete.execute(&mut self.connection).await.map_err(failed("delete what was confirmed"))?;
        Ok(())
    }

    async fn park(&mut self, place: Place, reason: &str) -> Result<(), SourceError> {
        let park = query(self.park.clone()).bind(place.lane).bind(place.ord).bind(reason.replace('\0', ""));
        park.execute(&mut self.connection).await.map_err(failed("park a row"))?;
        Ok(())
    }

    async fn backlog(&mut self) -> Result<Backlog, SourceError> {
        look::backlog(&mut self.connection, &self.shape).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_asked_for_more_only_while_it_alone_is_full() {
        let least = least_share(32, 2_000);
        assert_eq!(least, 125);
        assert_eq!(next_share(125, least, 2_000, 125, 125), 250, "one lane is full, the others are empty");
        assert_eq!(next_share(1_500, least, 2_000, 1_500, 1_500), 2_000);
        assert_eq!(next_share(2_000, least, 2_000, 2_000, 100), 1_000, "many are full");
        assert_eq!(next_share(125, least, 2_000, 2_000, 90), 125);
        assert_eq!(next_share(500, least, 2_000, 10, 3), 500);
        assert_eq!((least_share(0, 10), least_share(64, 1)), (10, 1));
    }
}
