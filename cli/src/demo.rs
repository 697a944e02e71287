//! `stele demo`: a small shop over real AMQP connections, against a broker of its own, where others read along by Kafka and NATS, or one
//! it is pointed at. Prints the flow as it happens, then what `/api/flow` says of it; exit code 1 if an order was lost or invented, or its
//! status is not what it should be.

mod api;
mod audit;
mod board;
mod ledger;
mod shop;
mod statuses;

use crate::args::Demo;
use crate::run::Broker;
use crate::say;
use anyhow::Context as _;
use board::Board;
use lapin::uri::AMQPUri;
use ledger::{Readers, Tally};
use shop::{Service, Shop};
use statuses::Statuses;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stele_server::config::{Config, Sources};
use stele_server::logging;
use tokio::task::JoinSet;

/// Longest wait for the last orders to come to their ends.
const DRAIN: Duration = Duration::from_secs(30);
/// How often the ledger is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is logged beside the demo's own lines. Lapin calls it an error when a broker ends the connection after its last word, as they
/// all do; what concerns the demo comes back as a result.
const DEMO_LOG: &str = "warn,lapin=off";
const LINE_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Demo) -> anyhow::Result<ExitCode> {
    let (own, target) = match &args.url {
        Some(url) => (None, Target::of(url, args.api.as_deref())?),
        None => {
            let own = OwnBroker::start()?;
            let target = own.target()?;
            (Some(own), target)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = runtime.block_on(play(args, &target));
    // Lapin's tasks end with the runtime, before the broker.
    drop(runtime);
    if let Some(own) = own {
        own.broker.stop();
    }
    let tally = tally?;
    say(&format!("\n{}", tally.verdict()))?;
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A broker on free ports, with a data directory that goes with it.
struct OwnBroker {
    broker: Broker,
    _data_dir: tempfile::TempDir,
}

impl OwnBroker {
    fn start() -> anyhow::Result<Self> {
        let data_dir = tempfile::Builder::new().prefix("stele-demo-").tempdir()?;
        let mut dev = Config::dev(0).context("the known ports are below 65536")?;
        for (key, value) in dev.iter_mut().filter(|(key, _)| key.starts_with("listen.")) {
            let is_wanted = !matches!(*key, "listen.metrics" | "listen.nats_monitor");
            *value = if is_wanted { "127.0.0.1:0" } else { "off" }.into();
        }
        dev.push(("data_dir", data_dir.path().to_string_lossy().into_owned()));
        dev.push(("logging.filter", DEMO_LOG.into()));
        let loaded = stele_server::config::load(&Sources { dev, ..Sources::default() })?;
        logging::start(&loaded.config.logging);
        let broker = Broker::start(&loaded.config).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        Ok(Self { broker, _data_dir: data_dir })
    }

    fn target(&self) -> anyhow::Result<Target> {
        let amqp = self.broker.amqp().context("the demo's broker listens for AMQP")?;
        let api = self.broker.api().context("the demo's broker listens for HTTP")?;
        let target = Target::of(&format!("amqp://guest:guest@{amqp}/%2f"), Some(&api.to_string()))?;
        Ok(Target { kafka: self.broker.kafka(), nats: self.broker.nats(), ..target })
    }
}

/// A broker to talk to.
struct Target {
    url: String,
    /// Host and AMQP port, without the login.
    shown: String,
    api: String,
    user: String,
    password: String,
    /// Where Kafka's clients connect, if it is a broker of our own.
    kafka: Option<SocketAddr>,
    /// The same for NATS' clients.
    nats: Option<SocketAddr>,
}

impl Target {
    fn of(url: &str, api: Option<&str>) -> anyhow::Result<Self> {
        let uri: AMQPUri = url
            .parse()
            .map_err(|error| anyhow::anyhow!("--url is amqp://USER:PASSWORD@HOST:PORT/VHOST: {error}"))?;
        let (host, port) = (&uri.authority.host, uri.authority.port);
        let api = match (api, port.checked_add(10_000)) {
            (Some(api), _) => api.to_owned(),
            (None, Some(port)) => format!("{host}:{port}"),
            (None, None) => anyhow::bail!("give --api HOST:PORT: AMQP port + 10000 is above 65535"),
        };
        Ok(Self {
            url: url.to_owned(),
            shown: format!("{host}:{port}"),
            api,
            user: uri.authority.userinfo.username.clone(),
            password: uri.authority.userinfo.password.clone(),
            kafka: None,
            nats: None,
        })
    }
}

async fn play(args: &Demo, target: &Target) -> anyhow::Result<Tally> {
    let readers = Readers { kafka: target.kafka.is_some(), nats: target.nats.is_some() };
    let shop = Shop::new(&target.url, readers);
    shop.open().await.with_context(|| format!("could not open a shop on {}", target.shown))?;
    say(&format!(
        "a shop on {}: {} orders a second for {:?}; some payments fail, a few always\n",
        target.shown, args.rate, args.time
    ))?;
    let mut services = JoinSet::new();
    for service in Service::ALL {
        services.spawn(shop.clone().serve(service));
    }
    if let Some(kafka) = target.kafka {
        services.spawn(audit::audit(shop.clone(), kafka));
    }
    if let Some(nats) = target.nats {
        services.spawn(Board::open(nats).await?.hear(shop.clone()));
        services.spawn(Statuses::open(nats).await?.keep(shop.clone()));
    }
    let work = async {
        let end = async {
            tokio::select! {
                () = tokio::time::sleep(args.time) => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        shop.place_orders(args.rate, end).await?;
        drain(&shop).await;
        if let Some(nats) = target.nats {
            let statuses = statuses::read(nats).await.context("could not read the statuses")?;
            shop.ledger(|ledger| ledger.compare(&statuses));
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = work => done?,
        lines = lines(&shop) => lines?,
        Some(ended) = services.join_next() => ended.context("a service panicked")?.context("a service ended")?,
    }
    let tally = shop.ledger(|ledger| ledger.tally());
    say(&format!("  end  {tally}\n\n{}", flow_text(target).await))?;
    services.shutdown().await;
    shop.close().await?;
    Ok(tally)
}

/// Waits until every order is at its end, or for as long as [`DRAIN`].
async fn drain(shop: &Shop) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let until = Instant::now() + DRAIN;
    while !shop.ledger(|ledger| ledger.complete()) && Instant::now() < until {
        look.tick().await;
    }
}

/// One line a second, for ever.
async fn lines(shop: &Shop) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut every = tokio::time::interval_at(tokio::time::Instant::now() + LINE_EVERY, LINE_EVERY);
    loop {
        every.tick().await;
        let tally = shop.ledger(|ledger| ledger.tally());
        say(&format!("{:>4} s {tally}\n", began.elapsed().as_secs()))?;
    }
}

async fn flow_text(target: &Target) -> String {
    match api::flow(&target.api, &target.user, &target.password).await {
        Ok(graph) => format!("http://{}/api/flow says\n{}", target.api, api::summary(&graph)),
        Err(error) => format!("no flow from http://{}/api/flow: {error:#}\n", target.api),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_found_beside_amqp_unless_it_is_named() {
        let target = |url, api| Target::of(url, api).unwrap();
        assert_eq!(target("amqp://ann:pw@broker:6672/%2f", None).api, "broker:16672");
        assert_eq!(target("amqp://localhost", None).api, "localhost:15672");
        assert_eq!(target("amqp://localhost", Some("h:1")).api, "h:1");
        let shown = target("amqp://ann:pw@broker:6672/%2f", None).shown;
        assert_eq!(shown, "broker:6672", "the password is not shown");
        assert!(Target::of("amqp://localhost:60000", None).is_err());
        assert!(Target::of("http://localhost", None).is_err());
    }
}
