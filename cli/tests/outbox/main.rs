//! `stele outbox` on a real Postgres: what it says, what it refuses, and that rows arrive. The broker is a `stele dev` of the test's own.

mod brokers;
mod tls;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use stele_testkit::postgres::Cluster;

/// Longest wait for a relay.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary without any settings of ours in its environment.
fn stele(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stele"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error.
fn ended(args: &[&str]) -> (i32, String, String) {
    let output = stele(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn cluster() -> Cluster {
    Cluster::start(&["fsync=off"]).unwrap()
}

/// The table of the interop contract.
const DEBEZIUM: &str = "create table outbox(id uuid, aggregatetype varchar, aggregateid varchar, type varchar, payload jsonb, \
     created_at timestamptz default now())";

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker on free ports; its AMQP address.
fn broker(data_dir: &std::path::Path) -> (Running, SocketAddr) {
    let (running, ready) = broker_with(data_dir, &[]);
    (running, address(&ready, "amqp"))
}

/// Where a broker said that it listens.
fn address(ready: &serde_json::Value, dialect: &str) -> SocketAddr {
    ready[dialect].as_str().unwrap().parse().unwrap()
}

/// A broker on free ports, and what it said when it was ready.
fn broker_with(data_dir: &std::path::Path, args: &[&str]) -> (Running, serde_json::Value) {
    let free = ["amqp", "kafka", "nats", "nats_monitor", "http", "metrics"]
        .map(|port| format!("listen.{port}=127.0.0.1:0"));
    let mut command = stele(&[&["dev"], args].concat());
    command.args(free.iter().flat_map(|set| ["--set", set])).arg("--data-dir").arg(data_dir);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    let ready = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
        .find(|line| line["message"] == "ready");
    (running, ready.expect("the broker became ready"))
}

/// A relay that has said READY.
fn relay(args: &[&str]) -> Running {
    let mut child = stele(&[&["outbox", "relay"], args].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let running = Running(child);
    assert_eq!(said, "READY\n");
    running
}

/// A port that nobody else takes: each time another, on a loopback address of this process alone, below those that are given out.
fn nobodys() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, a | 64, b, c), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// What a relay serves as metrics.
fn scrape(metrics: &str) -> String {
    let mut stream = TcpStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Returns when the outbox is empty.
fn emptied(cluster: &Cluster) {
    let deadline = Instant::now() + PATIENCE;
    while cluster.sql("select count(*) from outbox").unwrap() != "0" {
        assert!(Instant::now() < deadline, "rows are left");
    }
}

#[test]
fn tables_are_printed_without_a_database() {
    let (code, text, _) = ended(&["outbox", "ddl", "--table", "shop.events"]);
    assert!(code == 0 && text.contains("create table if not exists \"shop\".\"events\" ("), "{text}");
    let (code, text, _) = ended(&["outbox", "ddl", "--layout", "debezium"]);
    assert!(
        code == 0 && text.contains("alter table \"outbox\" add column if not exists stele_ord"),
        "{text}"
    );
}

#[test]
fn what_is_printed_is_what_a_relay_wants() {
    let cluster = cluster();
    for (layout, before) in [("bus", ""), ("debezium", DEBEZIUM)] {
        let (_, ddl, _) = ended(&["outbox", "ddl", "--layout", layout]);
        cluster.sql(&format!("drop table if exists outbox, outbox_dead; {before}; {ddl}")).unwrap();
        let (code, text, _) = ended(&["outbox", "check", "--postgres", &cluster.url(), "--layout", layout]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&format!("layout {layout}\n  a relay can work with it")), "{text}");
    }
}

#[test]
fn a_table_that_is_none_is_named_with_what_it_has() {
    let cluster = cluster();
    cluster.sql("create table notes(id int, text varchar)").unwrap();
    for (table, part) in
        [("nothing", "there is no table \"nothing\""), ("notes", "it has the columns id, text")]
    {
        let (code, _, error) = ended(&["outbox", "check", "--postgres", &cluster.url(), "--table", table]);
        assert!(code == 1 && error.contains(part), "{code} {error}");
    }
    cluster.sql(DEBEZIUM).unwrap();
    let (code, _, error) = ended(&["outbox", "stats", "--postgres", &cluster.url(), "--layout", "bus"]);
    assert!(code == 1 && error.contains("has the layout debezium, not bus"), "{error}");
    let (code, text, _) = ended(&["outbox", "check", "--postgres", &cluster.url()]);
    assert!(code == 0 && text.contains("the relay will add the column stele_ord"), "{text}");
}

#[test]
fn nobody_there_is_said_at_once_and_no_text_holds_a_password() {
    let cluster = cluster();
    cluster.sql(DEBEZIUM).unwrap();
    let free = nobodys();
    let nobody = format!("postgres://ann:hunter2@{free}/shop");
    let no_broker = format!("amqp://ann:hunter2@{free}/shop");
    for (from, to, part) in [
        (
            nobody.as_str(),
            no_broker.as_str(),
            format!("could not connect to postgres://{}:{}/shop", free.ip(), free.port()),
        ),
        (&cluster.url(), &no_broker, format!("could not connect to amqp://{free}/shop")),
        ("ann:hunter2", &no_broker, "--postgres: expected postgres://".into()),
        (&cluster.url(), "http://ann:hunter2@x", "--to: expected amqp://".into()),
        (
            &cluster.url(),
            &format!("nats://ann:hunter2@{free}"),
            format!("could not connect to nats://{free}"),
        ),
        (
            &cluster.url(),
            &format!("kafka://ann:hunter2@{free}"),
            format!("could not connect to kafka://{free}"),
        ),
    ] {
        let (code, out, error) = ended(&["outbox", "relay", "--postgres", from, "--to", to]);
        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        assert!(error.contains(&part), "no {part:?} in {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let (code, _, error) = ended(&["outbox", "relay", "--to", &no_broker]);
    assert!(code == 2 && error.contains("--postgres"), "{error}");
    let (code, _, error) = ended(&["outbox", "relay", "--route", "{x}", "--to", &no_broker]);
    assert!(code == 2 && error.contains("{aggregatetype}") && !error.contains("hunter2"), "{error}");
}

#[test]
fn rows_that_were_there_and_rows_that_come_are_relayed_and_the_relay_ends_at_sigterm() {
    let (cluster, data) = (cluster(), tempfile::tempdir().unwrap());
    cluster.sql(DEBEZIUM).unwrap();
    let insert = |count: u32| {
        let values = format!(
            "select gen_random_uuid(), 'order', 'a-' || n % 7, 'Placed', jsonb_build_object('n', n) from generate_series(1, {count}) n"
        );
        cluster
            .sql(&format!("insert into outbox(id, aggregatetype, aggregateid, type, payload) {values}"))
            .unwrap();
    };
    insert(500);
    let (_broker, amqp) = broker(data.path());
    let metrics = nobodys().to_string();
    let (url, to) = (cluster.url(), format!("amqp://guest:guest@{amqp}"));
    let args = ["--postgres", &url, "--to", &to, "--layout", "debezium", "--metrics", &metrics];
    let mut relay = relay(&args);
    insert(500);
    emptied(&cluster);

    let text = scrape(&metrics);
    assert!(
        text.contains("\noutbox_relayed_total 1000\n") && text.contains("outbox_oldest_age_seconds"),
        "{text}"
    );

    let (code, stats, _) = ended(&["outbox", "stats", "--json", "--postgres", &url]);
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((code, &stats["pending"]), (0, &0.into()), "{stats}");
    let lanes: i64 =
        stats["relays"].as_array().unwrap().iter().map(|relay| relay["lanes"].as_i64().unwrap()).sum();
    assert!(lanes > 0, "{stats}");

    kill_process(Pid::from_child(&relay.0), Signal::TERM).unwrap();
    assert_eq!(relay.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_relay_that_follows_the_log_looks_when_a_commit_says_so_and_leaves_no_slot_behind() {
    let (cluster, data) =
        (Cluster::start(&["fsync=off", "wal_level=logical"]).unwrap(), tempfile::tempdir().unwrap());
    cluster.sql(DEBEZIUM).unwrap();
    let (_broker, amqp) = broker(data.path());
    let metrics = nobodys().to_string();
    let (url, to) = (cluster.url(), format!("amqp://guest:guest@{amqp}"));
    let (code, text, _) = ended(&["outbox", "check", "--postgres", &url]);
    assert!(code == 0 && text.contains("its log can be followed"), "{text}");
    // It would look by itself once in ten minutes.
    let args = ["--postgres", &url, "--to", &to, "--mode", "wal", "--poll-min", "600s", "--poll-max", "600s"];
    let mut relay = relay(&[&args[..], &["--metrics", &metrics]].concat());
    let deadline = Instant::now() + PATIENCE;
    while !scrape(&metrics).contains("\noutbox_log_followed 1\n") {
        assert!(Instant::now() < deadline, "the log is not followed");
    }
    let insert = "insert into outbox(id, aggregatetype, aggregateid, type, payload) values (gen_random_uuid(), 'order', 'a', 'T', '{}')";
    for _ in 0..3 {
        cluster.sql(insert).unwrap();
        emptied(&cluster);
    }
    let slots =
        "select count(*) from pg_replication_slots where slot_name like 'stele_outbox_%' and temporary";
    assert_eq!(cluster.sql(slots).unwrap(), "1");
    relay.0.kill().unwrap();
    relay.0.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while cluster.sql(slots).unwrap() != "0" {
        assert!(Instant::now() < deadline, "a relay that was killed keeps the log");
    }
}

#[test]
fn a_log_that_cannot_be_followed_is_said_and_polled() {
    let (cluster, data) = (cluster(), tempfile::tempdir().unwrap());
    cluster.sql(DEBEZIUM).unwrap();
    let (_broker, amqp) = broker(data.path());
    let (url, to) = (cluster.url(), format!("amqp://guest:guest@{amqp}"));
    let (code, text, _) = ended(&["outbox", "check", "--postgres", &url]);
    assert!(code == 0 && text.contains("cannot be followed: wal_level is replica, not logical"), "{text}");
    let _relay = relay(&["--postgres", &url, "--to", &to, "--mode", "wal"]);
    cluster.sql("insert into outbox(id, aggregatetype, aggregateid, type, payload) values (gen_random_uuid(), 'order', 'a', 'T', '{}')").unwrap();
    emptied(&cluster);
}

#[test]
fn a_row_that_no_broker_takes_is_parked_listed_and_replayed() {
    let (cluster, data) = (cluster(), tempfile::tempdir().unwrap());
    let (_, ddl, _) = ended(&["outbox", "ddl"]);
    cluster.sql(&ddl).unwrap();
    let row = "insert into outbox(id, aggregate_id, type, destination, payload) values";
    cluster
        .sql(&format!("{row} ('00000000-0000-0000-0000-000000000001', 'a', 'T', 'nowhere', 'x')"))
        .unwrap();
    cluster
        .sql(&format!("{row} ('00000000-0000-0000-0000-000000000002', 'a', 'T', 'exchange:T', 'y')"))
        .unwrap();
    let (_broker, amqp) = broker(data.path());
    let (url, to) = (cluster.url(), format!("amqp://guest:guest@{amqp}"));
    let _relay = relay(&["--postgres", &url, "--to", &to, "--park-after", "2"]);
    emptied(&cluster);

    let (code, list, _) = ended(&["outbox", "dead", "list", "--postgres", &url]);
    assert!(code == 0 && list.starts_with("1\t00000000-0000-0000-0000-000000000001\ta\t"), "{list}");
    assert!(list.contains("destination \"nowhere\"") && list.lines().count() == 1, "{list}");
    cluster
        .sql("update outbox_dead set body = jsonb_set(body::jsonb, '{destination}', '\"exchange:T\"')::json")
        .unwrap();
    let (code, text, _) = ended(&["outbox", "dead", "replay", "--all", "--postgres", &url]);
    assert_eq!((code, text.as_str()), (0, "1 rows put back\n"));
    emptied(&cluster);
    let (code, list, _) = ended(&["outbox", "dead", "list", "--postgres", &url]);
    assert_eq!((code, list.as_str()), (0, ""));
    let (code, text, _) = ended(&["outbox", "dead", "replay", "7", "--postgres", &url]);
    assert_eq!((code, text.as_str()), (1, "0 rows put back\n"));
}
