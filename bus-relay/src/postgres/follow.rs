//! Following the write-ahead log: a relay is woken by the commit itself instead of looking every few milliseconds.
//!
//! The log only says *when* to look. Rows are read, ordered and deleted as always, by lane, and the workers' polling goes on underneath:
//! a slot that is late, lost or refused costs time and nothing else. So the slot can be temporary, and nothing is kept for a relay that
//! was killed.
//!
//! What bounds it: the slot ends with its session; what was received is acknowledged at once; and when the database keeps more log for
//! it than [`Follow::kept_bytes_max`] (some transaction stays open), the slot is given up for a while.

use super::table::Shape;
use super::tunnel::Tunnel;
use super::{Database, PgOutbox, failed};
use crate::metrics::Metrics;
use crate::relay::{Nudge, Relay};
use crate::source::SourceError;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, query};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often the kept log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pauses between attempts, doubled from the first to the last.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Largest message of the stream: rows come without their payloads where the database can leave them out, but some cannot.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Postgres 15 publishes chosen columns.
const COLUMNS_SINCE: i32 = 150_000;

/// Bounds of following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// So much log the database may keep for the relay's slot, in bytes; 1 GiB by default.
    pub kept_bytes_max: u64,
}

impl Default for Follow {
    fn default() -> Self {
        Self { kept_bytes_max: 1 << 30 }
    }
}

/// Wakes a relay at each commit that wrote into its outbox, until it is dropped.
#[derive(Debug)]
pub struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts to follow the log on the current tokio runtime. While it cannot be followed the relay polls, and a warning says why.
pub fn follow(outbox: PgOutbox, relay: &Relay, bounds: Follow) -> Follower {
    let (nudge, metrics) = (relay.nudger(), relay.metrics());
    Follower(tokio::spawn(async move {
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            let Err(error) = session(&outbox, &nudge, &metrics, bounds).await;
            metrics.set_following(false, 0);
            pause = if begun.elapsed() > PAUSE.1 { PAUSE.0 } else { pause };
            tracing::warn!(%error, retry_s = pause.as_secs(), "the log is not followed: the relay polls");
            sleep(pause).await;
            pause = PAUSE.1.min(pause * 2);
        }
    }))
}

/// What a database lacks for being followed, in words; empty: nothing.
///
/// # Errors
/// The session has ended.
pub async fn missing(connection: &mut PgConnection) -> Result<Vec<String>, SourceError> {
    let row = query(
        "select current_setting('wal_level'), rolreplication or rolsuper, current_user::text \
         from pg_roles where rolname = current_user",
    )
    .fetch_one(connection)
    .await
    .map_err(failed("look at the settings"))?;
    let read = |error| failed("look at the settings")(error);
    let level: String = row.try_get(0).map_err(read)?;
    let may: bool = row.try_get(1).map_err(read)?;
    let mut missing = Vec::new();
    if level != "logical" {
        missing.push(format!("wal_level is {level}, not logical"));
    }
    if !may {
        let user: String = row.try_get(2).map_err(read)?;
        missing.push(format!("the user {user} has not the attribute replication"));
    }
    Ok(missing)
}

/// One slot, from its making to the first failure.
async fn session(
    outbox: &PgOutbox,
    nudge: &Nudge,
    metrics: &Arc<Metrics>,
    bounds: Follow,
) -> Result<Infallible, SourceError> {
    let mut control = outbox.database.connect().await?;
    if let Some(missing) = missing(&mut control).await?.into_iter().next() {
        return Err(SourceError(missing));
    }
    let shape = Shape::look(&mut control, &outbox.name, outbox.layout).await?;
    let publication = publication(&mut control, &shape).await?;
    let pid: i32 = query("select pg_backend_pid()")
        .fetch_one(&mut control)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed("name the slot"))?;
    let slot = format!("{publication}_{pid}");
    let tunnel = Tunnel::open(&outbox.database).await?;
    let mut stream = open(&outbox.database, tunnel.as_ref(), &slot, &publication).await.map_err(cut)?;
    metrics.set_following(true, 0);
    tracing::info!(slot, "the log is followed");
    nudge.nudge(); // for what was committed before the slot was there

    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = stream.recv() => match event.map_err(cut)? {
                Some(ReplicationEvent::Commit { end_lsn, .. }) => {
                    nudge.nudge_early();
                    stream.update_applied_lsn(end_lsn);
                }
                Some(ReplicationEvent::KeepAlive { wal_end, .. }) => stream.update_applied_lsn(wal_end),
                Some(_) => {}
                None => return Err(SourceError("the stream ended".into())),
            },
            _ = look.tick() => {
                let kept = kept_bytes(&mut control, &slot).await.map_err(failed("look at the slot"))?;
                metrics.set_following(true, kept);
                if kept > bounds.kept_bytes_max {
                    let max = bounds.kept_bytes_max;
                    return Err(SourceError(format!("the database keeps {kept} bytes of log, more than {max}")));
                }
            }
        }
    }
}

/// The publication of the table's inserts, made if it is not there. Its name.
async fn publication(connection: &mut PgConnection, shape: &Shape) -> Result<String, SourceError> {
    let name = format!("stele_outbox_{}", shape.oid);
    make_publication(connection, shape, &name)
        .await
        .map_err(failed(&format!("make the publication {name}")))?;
    Ok(name)
}

async fn make_publication(
    connection: &mut PgConnection,
    shape: &Shape,
    name: &str,
) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    // Two relays that start together: one makes it, the other finds it.
    let lock = format!("select pg_advisory_xact_lock({}, -2)", shape.oid as u32 as i32);
    tx.execute(AssertSqlSafe(lock)).await?;
    let row = query(
        "select current_setting('server_version_num')::int, exists (select from pg_publication where pubname = $1)",
    )
    .bind(name)
    .fetch_one(&mut *tx)
    .await?;
    let (version, is_there): (i32, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !is_there {
        let columns = if version >= COLUMNS_SINCE { format!(" ({})", shape.ord()) } else { String::new() };
        let table = &shape.name;
        let make =
            format!("create publication \"{name}\" for table {table}{columns} with (publish = 'insert')");
        tx.execute(AssertSqlSafe(make)).await?;
    }
    tx.commit().await
}

/// A stream over a temporary slot. Making the slot waits for the transactions that are open now.
async fn open(
    database: &Database,
    tunnel: Option<&Tunnel>,
    slot: &str,
    publication: &str,
) -> Result<ReplicationClient, PgWireError> {
    let mut config = config(database, slot, publication);
    if let Some(tunnel) = tunnel {
        config.host = tunnel.folder().to_string_lossy().into_owned();
    }
    config.max_message_size = MESSAGE_BYTES_MAX;
    config.application_name = Some("stele outbox".into());
    let mut stream = ReplicationClient::connect_gated(config).await?;
    let make = format!("CREATE_REPLICATION_SLOT \"{slot}\" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    stream.simple_query(&make).await?;
    stream.start().await?;
    stream.wait_started().await?;
    Ok(stream)
}

/// Without TLS, which is the tunnel's.
fn config(database: &Database, slot: &str, publication: &str) -> ReplicationConfig {
    let options = &database.0;
    let url = options.to_url_lossy(); // the only way to the password
    let password = url.password().map(crate::percent::decoded).unwrap_or_default();
    let host = match options.get_socket() {
        Some(folder) => folder.to_string_lossy().into_owned(),
        None => options.get_host().to_owned(),
    };
    let user = options.get_username();
    let name = options.get_database().unwrap_or(user);
    let config = ReplicationConfig::new(host, user, password, name, slot, publication);
    config.with_port(options.get_port()).with_start_lsn(Lsn(0))
}

/// Log between the slot's oldest need and the end.
async fn kept_bytes(connection: &mut PgConnection, slot: &str) -> Result<u64, sqlx::Error> {
    let text = "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 \
        from pg_replication_slots where slot_name = $1";
    let kept: Option<i64> = query(text).bind(slot).fetch_one(connection).await?.try_get(0)?;
    Ok(kept.unwrap_or(0).unsigned_abs())
}

fn cut(error: PgWireError) -> SourceError {
    SourceError(format!("could not follow the log: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_reaches_the_second_connection_as_it_was_given() {
        let database = Database::new("postgres://ann:p%40ss%2Fw%C3%B6rd%25@example.org:5433/shop").unwrap();
        let config = config(&database, "s", "p");
        assert_eq!((config.user.as_str(), config.password.as_str()), ("ann", "p@ss/wörd%"));
        assert_eq!(
            (config.host.as_str(), config.port, config.database.as_str()),
            ("example.org", 5433, "shop")
        );
    }
}
