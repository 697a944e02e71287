//! One run: a fresh database, proxies before both servers, the processes, the breaking of things, the calm after it, the judgement.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use stele_testkit::postgres::Cluster;
use stele_testkit::random::Random;
use tokio::time::sleep;
use uuid::Uuid;

use crate::database::Pool;
use crate::judge::{Evidence, Verdict};
use crate::proxy::{Proxy, Server};
use crate::role::Part;
use crate::tap::Tap;
use crate::{Mutant, Store};

/// Time between two breakings.
const BREAK_MS: std::ops::Range<u64> = 40..250;
/// When nothing has moved for so long with nothing left to relay or consume, what has not arrived is lost.
const SILENCE: Duration = Duration::from_secs(30);
/// For a wrong design, which is going to lose something.
const SILENCE_WRONG: Duration = Duration::from_secs(2);
/// Longest calm.
const DRAIN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(50);

const PARTS: [Part; 9] = [
    Part::Produce,
    Part::Produce,
    Part::Produce,
    Part::Relay,
    Part::Relay,
    Part::Consume,
    Part::Consume,
    Part::Saga,
    Part::Saga,
];

/// What is run.
pub(crate) struct Scene<'a> {
    pub(crate) store: Store,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    pub(crate) broker: &'a str,
    pub(crate) program: &'a Path,
}

/// What producers said, before they died too.
#[derive(Default)]
struct Said {
    committed: HashSet<Uuid>,
    rolled_back: HashSet<Uuid>,
}

impl Scene<'_> {
    pub(crate) async fn play(&self) -> Result<Verdict> {
        let mut random = Random::new(self.seed);
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("shop.db").display().to_string();
        let cluster = match self.store {
            Store::Postgres | Store::Debezium | Store::Interop | Store::Nats => {
                Some(Cluster::start(&["fsync=off", "wal_level=logical"])?)
            }
            Store::Sqlite => None,
        };
        let pool = Pool::open(&cluster.as_ref().map_or(file.clone(), Cluster::url)).await?;
        match (self.store, &cluster) {
            (Store::Interop, Some(cluster)) => self.migrate(&cluster.url())?,
            _ => pool.migrate().await?,
        }
        let names = self.store.names();
        let tap = Tap::open(self.broker, self.store).await?;
        let (before_server, server) = self.broker.rsplit_once(['@', '/']).context("the broker has a URL")?;
        let to_broker =
            Proxy::start(Server::Tcp(server.parse().context("the broker is an address")?)).await?;
        let to_database = match &cluster {
            Some(cluster) => Some(Proxy::start(Server::Unix(cluster.socket())).await?),
            None => None,
        };
        let database = match &to_database {
            Some(proxy) => format!("postgres://stele@{}/postgres?sslmode=disable", proxy.address),
            None => file,
        };
        let between = &self.broker[before_server.len()..self.broker.len() - server.len()];
        let broker = format!("{before_server}{between}{}", to_broker.address);

        let said = Arc::new(Mutex::new(Said::default()));
        let start = |part: Part, seed: u64| {
            let mut process =
                Process { part, child: self.command(part, seed, &database, &broker).spawn()?, ears: None };
            process.listen(&said);
            anyhow::Ok(process)
        };
        let mut processes = Vec::new();
        // A wrong design is looked for in the outbox; the saga would only slow that down.
        let takes_part = |part: &Part| *part != Part::Saga || (names.has_saga && self.mutant.is_none());
        for part in PARTS.into_iter().filter(takes_part) {
            processes.push(start(part, random.any())?);
        }
        let (end, mut kills, mut cuts) = (Instant::now() + self.time, 0, 0);
        while Instant::now() < end {
            sleep(Duration::from_millis(BREAK_MS.start + random.below(BREAK_MS.end - BREAK_MS.start))).await;
            match random.below(6) {
                0 => cuts += to_broker.cut(&mut random),
                1 => cuts += to_database.as_ref().map_or(0, |proxy| proxy.cut(&mut random)),
                _ => {
                    let index = random.index(processes.len());
                    processes[index].kill();
                    kills += 1;
                }
            }
            revive(&mut processes, &mut random, start)?;
        }
        // The calm: no more orders, and nothing is broken any more.
        processes.retain_mut(|process| {
            let stays = process.part != Part::Produce;
            if !stays {
                process.kill();
            }
            stays
        });
        let evidence = Evidence { kills, cuts, ..Evidence::default() };
        let alive = || revive(&mut processes, &mut random, start);
        let mut evidence = self.drain(&pool, &tap, evidence, alive).await?;
        let said = std::mem::take(&mut *said.lock().expect("nothing panics with it"));
        (evidence.committed, evidence.rolled_back) = (said.committed, said.rolled_back);
        Ok(evidence.judge())
    }

    /// Waits until everything has arrived, or nothing moves any more.
    async fn drain(
        &self,
        pool: &Pool,
        tap: &Tap,
        mut evidence: Evidence,
        mut keep_alive: impl FnMut() -> Result<()>,
    ) -> Result<Evidence> {
        let silence = if self.mutant.is_some() { SILENCE_WRONG } else { SILENCE };
        let (start, mut moved_at, mut before) = (Instant::now(), Instant::now(), (0, 0, 0));
        loop {
            keep_alive()?;
            evidence.orders = pool.orders().await?;
            evidence.effects = pool.effects().await?;
            if self.store.names().has_saga && self.mutant.is_none() {
                evidence.sagas = Some(pool.sagas().await?);
            }
            let (pending, waiting) = (pool.pending(self.store.names().outbox).await?, tap.waiting().await?);
            let now = (tap.count(), evidence.effects.len(), pending);
            if now != before {
                (before, moved_at) = (now, Instant::now());
            }
            evidence.arrivals = tap.arrivals();
            let idle = pending == 0 && waiting == 0;
            // A wrong relay may also leave rows for ever.
            let quiet = moved_at.elapsed() > silence && (idle || self.mutant.is_some());
            if (idle && evidence.is_complete()) || quiet || start.elapsed() > DRAIN {
                return Ok(evidence);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn command(&self, part: Part, seed: u64, database: &str, broker: &str) -> Command {
        let mut command;
        if self.store.is_debezium() && part == Part::Relay {
            command = Command::new(self.program);
            command.args(["outbox", "relay", "--table", "events", "--layout", "debezium"]);
            command.args(["--postgres", database, "--to", broker]);
            if seed.is_multiple_of(2) {
                // Half of them hear of commits by the log, and hardly look by themselves.
                command.args(["--mode", "wal", "--poll-max", "5s"]);
            }
        } else if self.store == Store::Interop {
            command = self.interop(database);
            command.env("AMQP_URL", broker).arg(name(part));
            if part == Part::Produce {
                let (start, count) = (format!("s{seed:x}"), u32::MAX.to_string());
                command.args(["--start", &start, "--count", &count, "--aggregates", "4"]);
                command.args(["--rollback-every", "7", "--hold-every", "20", "--hold-ms", "60"]);
            }
        } else {
            command = Command::new(std::env::current_exe().expect("we are a program"));
            command.args(["role", name(part), "--scene", name(self.store), "--seed", &seed.to_string()]);
            command.args(["--database", database, "--broker", broker]);
            if let Some(mutant) = self.mutant {
                command.args(["--mutant", name(mutant)]);
            }
        }
        // Their ends are what this is about; their words would only be repeated.
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

impl Scene<'_> {
    /// The interop application on a database.
    fn interop(&self, database: &str) -> Command {
        let mut command = Command::new(self.program.with_file_name("interop"));
        command.env("DATABASE_URL", database);
        command
    }

    fn migrate(&self, database: &str) -> Result<()> {
        let status = self.interop(database).arg("migrate").env("AMQP_URL", self.broker).status();
        let status = status.context("run interop, which is built by: cargo build --release -p interop")?;
        ensure!(status.success(), "interop migrate failed");
        Ok(())
    }
}

/// Starts anew what was killed or has ended over a cut connection.
fn revive(
    processes: &mut [Process],
    random: &mut Random,
    start: impl Fn(Part, u64) -> Result<Process>,
) -> Result<()> {
    for process in processes {
        if process.has_ended() {
            *process = start(process.part, random.any())?;
        }
    }
    Ok(())
}

/// A value's name on the command line.
fn name(value: impl clap::ValueEnum) -> &'static str {
    let value = value.to_possible_value().expect("no value is skipped");
    // Leaked once for each of a handful of values per process start.
    String::leak(value.get_name().to_owned())
}

/// A process, killed with SIGKILL.
struct Process {
    part: Part,
    child: Child,
    ears: Option<JoinHandle<()>>,
}

impl Process {
    /// Notes what it says until its pipe ends.
    fn listen(&mut self, said: &Arc<Mutex<Said>>) {
        let (out, said) = (self.child.stdout.take().expect("it is piped"), Arc::clone(said));
        self.ears = Some(std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut said = said.lock().expect("nothing panics with it");
                match line.split_once(' ') {
                    Some(("COMMITTED", id)) => drop(id.parse().map(|id| said.committed.insert(id))),
                    Some(("ROLLEDBACK", id)) => drop(id.parse().map(|id| said.rolled_back.insert(id))),
                    _ => {}
                }
            }
        }));
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and takes in its last words.
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(ears) = self.ears.take() {
            let _ = ears.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
