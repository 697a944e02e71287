//! `stele outbox relay`: both sides looked at, the workers started, READY; then waiting for SIGTERM.

use super::{Mode, RelayArgs, metrics};
use crate::say;
use anyhow::{Context as _, anyhow, ensure};
use std::process::ExitCode;
use std::time::Duration;
use stele_bus_relay::broker::Broker;
use stele_bus_relay::postgres::PgOutbox;
use stele_bus_relay::postgres::follow::{Follow, Follower, follow};
use stele_bus_relay::relay::{self, Settings};
use stele_bus_relay::route::Route;
use stele_bus_relay::{Relay, Target as _};
use stele_server::config::{LogFormat, Logging};
use stele_server::logging;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Clients call it an error when a connection ends; what concerns the relay comes back as a result.
const LOG: &str =
    "info,lapin=off,async_nats=off,rskafka=off,pgwire_replication=off,rustls_platform_verifier=off,sqlx=warn";
/// Longest time that the batches in hand may take at the end.
const STOP: Duration = Duration::from_secs(10);

pub(super) fn run(args: &RelayArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(args)?;
    let target = Broker::new(&args.to, "stele outbox relay", args.to_ca.clone());
    let target = target.map_err(|error| anyhow!("--to: {error}"))?;
    let database = args.table.database()?;
    logging::start(&Logging { filter: LOG.into(), format: LogFormat::Auto });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let working = async {
            let source = PgOutbox::new(database.clone(), args.table.table.clone(), args.table.layout.into());
            let layout = source.prepare().await?;
            // Said now, not in a log line that comes again and again.
            drop(target.open().await.map_err(|error| anyhow!("{error}"))?);
            let listener = match args.metrics {
                Some(address) => Some(TcpListener::bind(address).await.context("listen for metrics")?),
                None => None,
            };
            let mut relay = relay::start(source.clone(), target.clone(), settings.clone());
            relay.ready().await;
            let bounds = Follow { kept_bytes_max: args.wal_keep_max << 20 };
            let follower = (args.mode == Mode::Wal).then(|| follow(source, &relay, bounds));
            if let Some(listener) = listener {
                tokio::spawn(metrics::serve(listener, relay.metrics()));
            }
            let (from, to) = (database.place(), target.place());
            tracing::info!(%from, table = %args.table.table, %layout, %to, workers = settings.workers, "ready");
            say("READY\n")?;
            anyhow::Ok((relay, follower))
        };
        let mut relay: Option<(Relay, Option<Follower>)> = None;
        tokio::pin!(working);
        let mut starting = true;
        let name = loop {
            tokio::select! {
                started = &mut working, if starting => {
                    relay = Some(started?);
                    starting = false;
                }
                _ = terminate.recv() => break "SIGTERM",
                _ = interrupt.recv() => break "SIGINT",
            }
        };
        tracing::info!(signal = name, "stopping");
        if let Some((relay, follower)) = relay {
            drop(follower);
            let relayed = relay.metrics();
            if tokio::time::timeout(STOP, relay.stop()).await.is_err() {
                tracing::warn!("a batch in hand was left to the next relay");
            }
            tracing::info!(relayed = relayed.relayed(), "stopped");
        }
        Ok(ExitCode::SUCCESS)
    });
    // A blocked connection shall not keep the process.
    runtime.shutdown_background();
    done
}

fn settings(args: &RelayArgs) -> anyhow::Result<Settings> {
    ensure!(args.poll_min <= args.poll_max, "--poll-min is longer than --poll-max");
    Ok(Settings {
        workers: args.workers.into(),
        batch: args.batch.into(),
        poll_min: args.poll_min,
        poll_max: args.poll_max,
        strict: args.strict,
        park_after: (args.park_after > 0).then_some(args.park_after),
        route: Route { exchange: args.exchange.clone(), key: args.route.clone() },
    })
}
