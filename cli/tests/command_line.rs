//! What the binary says and how it exits, above all when something is wrong. Each case runs the real binary in a directory of its own.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The binary, run in `dir` without any settings of ours in its environment.
fn stele(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stele"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

/// Longest run of a command that is to end by itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// Exit code, standard output and standard error of a run that ends by itself.
fn ended(command: &mut Command) -> (i32, String, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (done, watched) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    let output = watched.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("the command did not end: {command:?}");
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs and expects failure with `code`; standard error.
fn fails(dir: &Path, code: i32, args: &[&str]) -> String {
    let (found, _, error) = ended(&mut stele(dir, args));
    assert_eq!(found, code, "{args:?}: {error}");
    error
}

/// Settings that keep a broker off the known ports.
const FREE_PORTS: [&str; 12] = [
    "--set",
    "listen.amqp=127.0.0.1:0",
    "--set",
    "listen.kafka=127.0.0.1:0",
    "--set",
    "listen.nats=127.0.0.1:0",
    "--set",
    "listen.nats_monitor=127.0.0.1:0",
    "--set",
    "listen.http=127.0.0.1:0",
    "--set",
    "listen.metrics=127.0.0.1:0",
];

/// A broker that runs until it is told to end.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    ready: serde_json::Value,
}

impl Running {
    fn start(dir: &Path, verb: &str, more: &[&str]) -> Self {
        let mut command = stele(dir, &[&[verb][..], &FREE_PORTS, more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut broker = Self { child, log, ready: serde_json::Value::Null };
        while broker.ready["message"] != "ready" {
            let mut line = String::new();
            assert_ne!(broker.log.read_line(&mut line).unwrap(), 0, "the broker ended before it was ready");
            broker.ready = serde_json::from_str(&line).unwrap();
        }
        broker
    }

    fn address(&self, of: &str) -> SocketAddr {
        self.ready[of].as_str().unwrap().parse().unwrap()
    }

    /// Status line and body of a `GET`.
    fn get(&self, of: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address(of)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Sends a signal; the exit code and the rest of the log.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[test]
fn the_version_comes_as_text_and_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text, _) = ended(&mut stele(dir.path(), &["version"]));
    assert_eq!((code, text.trim()), (0, concat!("stele ", env!("CARGO_PKG_VERSION"))));
    let (code, text, _) = ended(&mut stele(dir.path(), &["version", "--json"]));
    let version: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, version["version"].as_str()), (0, Some(env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_command_line_exits_with_2_and_names_what_is_near() {
    let dir = tempfile::tempdir().unwrap();
    assert!(fails(dir.path(), 2, &["serv"]).contains("serve"));
    assert!(fails(dir.path(), 2, &["dev", "--port-offset", "70000"]).contains("70000"));
    assert!(fails(dir.path(), 2, &["dev", "--tls-cert", "a.pem"]).contains("--tls-key"));
    assert!(fails(dir.path(), 2, &["dev", "--set", "x"]).contains("KEY=VALUE"));
    assert!(fails(dir.path(), 2, &["demo", "--for", "20"]).contains("as in 20s"));
}

#[test]
fn a_wrong_configuration_is_told_with_its_place_by_every_verb_that_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.toml"), "[listen]\nampq = \":1\"\n").unwrap();
    for verb in [&["serve"][..], &["config", "check"], &["config", "show"]] {
        let error = fails(dir.path(), 1, &[verb, &["--config", "s.toml"]].concat());
        assert!(
            error.contains("s.toml:2:1: unknown key `listen.ampq`; did you mean `listen.amqp`?"),
            "{error}"
        );
        let error = fails(dir.path(), 1, &[verb, &["--config", "none.toml"]].concat());
        assert!(error.contains("none.toml") && error.contains("No such file"), "{error}");
        let error = fails(dir.path(), 1, &[verb, &["--set", "limits.heartbeat_s=soon"]].concat());
        assert!(error.contains("flag --set: `limits.heartbeat_s`: expected an integer"), "{error}");
    }
    let (code, _, error) = ended(stele(dir.path(), &["dev"]).env("STELE__LISTN__AMQP", ":1"));
    assert_eq!(code, 1);
    assert!(error.contains("environment STELE__LISTN__AMQP: unknown key `listn.amqp`"), "{error}");
}

#[test]
fn a_configuration_of_nats_server_is_checked_and_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("n.conf");
    let checked = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        let line = [&["nats-server", "-c", "n.conf", "-t"][..], more].concat();
        ended(&mut stele(dir.path(), &line))
    };
    let (code, said, _) = checked("port: 4222\n", &[]);
    let digest = "797533ebd0dfba7d34a0f9337ecf147e442871f48ddfd07ed751575a5737267e";
    assert_eq!(said, format!("nats-server: configuration file n.conf is valid (sha256:{digest})\n"));
    assert_eq!(code, 0);
    for (text, wanted) in [
        ("no_such: 1\n", "nats-server: n.conf:1:0: unknown field \"no_such\"\n"),
        ("server_name: $NOWHERE\n", "variable reference for 'NOWHERE' on line 1 can not be found"),
        ("authorization {\n", "Parse error on line 2: 'Unexpected EOF processing map.'"),
        ("authorization { user: a, token: b }\n", "n.conf:1:0: Cannot have a user/pass and token"),
        ("tls { cert_file: c, key_file: k, verify: true }\n", "clients cannot be verified"),
        ("accounts { A { imports: [] } }\n", "accounts.A.imports: is not supported by this server"),
    ] {
        let (code, _, error) = checked(text, &[]);
        assert!(code == 1 && error.contains(wanted), "{text}: {code} {error}");
    }
    let (code, _, error) = checked("", &["--tlsverify", "--tlscert", "c", "--tlskey", "k"]);
    assert!(code == 1 && error.contains("clients cannot be verified"), "{error}");
    let (code, _, error) = ended(&mut stele(dir.path(), &["nats-server", "--no-such"]));
    assert!(code == 0 && error.contains("-no-such"), "as nats-server ends: {error}");
}

#[test]
fn a_nats_client_too_many_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), "dev", &["--set", "limits.connections_max=1"]);
    let mut first = silent_client_of_nats(broker.address("nats"));
    let mut second = silent_client_of_nats(broker.address("nats"));
    let mut line = String::new();
    first.read_line(&mut line).unwrap();
    assert!(line.starts_with("INFO "), "{line}");
    line.clear();
    second.read_line(&mut line).unwrap();
    assert!(line.starts_with("INFO "), "{line}");
    line.clear();
    second.read_line(&mut line).unwrap();
    assert_eq!(line, "-ERR 'maximum connections exceeded'\r\n");
    assert_eq!(broker.end(Signal::TERM).0, Some(0));
}

/// A client that only listens.
fn silent_client_of_nats(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

#[test]
fn the_shown_configuration_says_where_each_value_is_from() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.toml"), "data_dir = \"d\"\n").unwrap();
    let mut show =
        stele(dir.path(), &["config", "show", "--origin", "--config", "s.toml", "--set", "threads.io=2"]);
    let (code, text, _) = ended(show.env("STELE__LIMITS__HEARTBEAT_S", "7"));
    assert_eq!(code, 0);
    let has =
        |key: &str, origin: &str| text.lines().any(|line| line.starts_with(key) && line.ends_with(origin));
    assert!(has("data_dir = \"d\"", "# s.toml:1:1"), "{text}");
    assert!(has("limits.heartbeat_s = 7", "# environment STELE__LIMITS__HEARTBEAT_S"), "{text}");
    assert!(has("threads.io = 2", "# flag --set"), "{text}");
    assert!(has("limits.channels_max = 2047", "# default"), "{text}");
    let (code, text, _) = ended(&mut stele(dir.path(), &["config", "check", "--config", "s.toml"]));
    assert!(code == 0 && text.starts_with("s.toml: in order\n"), "{text}");
}

#[test]
fn dev_stays_on_loopback_whatever_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for key in ["amqp", "kafka", "nats", "nats_monitor", "http", "metrics"] {
        let error = fails(dir.path(), 1, &["dev", "--set", &format!("listen.{key}=0.0.0.0:0")]);
        let part = "flag --set: `stele dev` listens on loopback only, not on 0.0.0.0:0";
        assert!(error.contains(part), "{key}: {error}");
    }
    assert!(fails(dir.path(), 1, &["dev", "--port-offset", "60000"]).contains("above 65535"));
}

#[test]
fn a_taken_port_is_named_with_its_holder_and_the_flag_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let holder = format!("(process {}) listens there", std::process::id());
    for key in ["listen.amqp", "listen.http", "listen.metrics"] {
        for (verb, help) in
            [("dev", "stele dev --port-offset 1000"), ("serve", "--set listen.amqp=ADDRESS:PORT")]
        {
            let set = format!("{key}={address}");
            let error = fails(dir.path(), 1, &[&[verb][..], &FREE_PORTS, &["--set", &set]].concat());
            for part in [&format!("could not listen on {address}: "), holder.as_str(), help] {
                assert!(error.contains(part), "{verb} {key}: no {part:?} in {error}");
            }
        }
    }
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = fails(dir.path(), 1, &[&["dev"][..], &FREE_PORTS, &["--data-dir", "file"]].concat());
    assert!(error.contains("file"), "{error}");
}

#[test]
fn a_data_directory_in_use_is_told_with_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), "dev", &[]);
    let holder = format!("in use by process {}", broker.child.id());
    for (command, help) in [
        ([&["dev"][..], &FREE_PORTS].concat(), "a data directory is for one broker"),
        (vec!["verify", "stele-data"], "could not verify stele-data/registry"),
    ] {
        let error = fails(dir.path(), 1, &command);
        assert!(error.contains(help), "{error}");
        assert_eq!(error.matches(&holder).count(), 1, "{error}");
    }
    broker.end(Signal::TERM);
}

#[test]
fn a_refused_login_is_in_the_log_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), "dev", &[]);
    let mut client = TcpStream::connect(broker.address("nats")).unwrap();
    write!(client, "CONNECT {{\"verbose\":false,\"user\":\"mallory\",\"pass\":\"hunter2\"}}\r\nPING\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Authorization Violation"), "{answer}");
    let (_, log) = broker.end(Signal::TERM);
    let told =
        format!("refused a login of user \\\"mallory\\\" by nats from {}", client.local_addr().unwrap());
    assert!(log.contains(&told) && !log.contains("hunter2"), "{log}");
}

#[test]
fn certificates_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["serve"][..], &FREE_PORTS, &["--set", "tls.cert=c.pem", "--set", "tls.key=k.pem"]].concat();
    let error = fails(dir.path(), 1, &args);
    assert!(error.contains("c.pem") && error.contains("No such file"), "{error}");
}

#[test]
fn a_broker_is_healthy_when_ready_and_exits_0_at_either_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Running::start(dir.path(), "dev", &[]);
        assert!(dir.path().join("stele-data").is_dir());
        assert_eq!(broker.get("http", "/healthz"), ("HTTP/1.1 200 OK".into(), "ready\n".into()));
        assert_eq!(broker.get("http", "/api/flow").0, "HTTP/1.1 200 OK");
        assert!(broker.get("metrics", "/metrics").1.contains("\nstele_up 1\n"));
        let (code, log) = broker.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
        assert!(log.contains("\"stopped\""), "{log}");
    }
}

/// Logs in as AMQP 0-9-1 says, and then says nothing more.
fn silent_client(address: SocketAddr) -> TcpStream {
    let frame = |payload: &[u8]| {
        let head = [&[1, 0, 0][..], &(payload.len() as u32).to_be_bytes()].concat();
        [&head, payload, &[0xce]].concat()
    };
    let start_ok = b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    let tune_ok = b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0";
    let open = b"\0\x0a\0\x28\x01/\0\0";
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"AMQP\0\0\x09\x01").unwrap();
    for answer in [&start_ok[..], tune_ok, open] {
        if answer != open {
            let mut head = [0; 7];
            client.read_exact(&mut head).unwrap();
            let len = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            client.read_exact(&mut vec![0; len + 1]).unwrap();
        }
        client.write_all(&frame(answer)).unwrap();
    }
    let mut open_ok = [0; 11];
    client.read_exact(&mut open_ok).unwrap();
    assert_eq!(open_ok[7..], [0, 10, 0, 41], "the connection is open");
    client
}

#[test]
fn a_client_that_answers_nothing_does_not_hold_up_the_end() {
    // All the time that a client has to read its last bytes. A broker that is held up never takes less; a busy machine may take more.
    let held_up = Duration::from_secs(5);
    let took_less = (0..10).any(|_| {
        let dir = tempfile::tempdir().unwrap();
        let running = Running::start(dir.path(), "dev", &[]);
        let _silent = silent_client(running.address("amqp"));
        let since = std::time::Instant::now();
        assert_eq!(running.end(Signal::TERM).0, Some(0));
        since.elapsed() < held_up
    });
    assert!(took_less, "ten ends took {held_up:?} and more");
}

#[test]
fn a_clock_that_jumped_while_the_broker_was_down_is_told_until_somebody_confirms_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("stele-data");
    fs::create_dir(&data).unwrap();
    // By this note of an earlier process it should be 1970 still.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    fs::write(data.join("clock"), format!("{} {} 0\n", boot.trim(), now.tv_sec * 1_000_000)).unwrap();
    let running = Running::start(dir.path(), "dev", &[]);
    let api = running.address("http").to_string();
    let clock = |more: &[&str]| ended(stele(dir.path(), &["clock", "--api", &api]).args(more)).1;
    assert!(clock(&[]).starts_with("the wall clock has jumped by "), "{}", clock(&[]));
    assert!(clock(&["confirm"]).starts_with("confirmed: "));
    assert_eq!(clock(&[]), "the wall clock is trusted\n");
    let (code, log) = running.end(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(log.contains("was confirmed"), "{log}");
    assert_eq!(fails(dir.path(), 1, &["clock", "--api", &api]).lines().count(), 1, "nobody is there");
}

#[test]
fn a_data_directory_is_verified_and_dumped_offline_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), "dev", &[]);
    let error = fails(dir.path(), 1, &["verify", "stele-data"]);
    assert!(error.contains("stele-data/registry: lock the log"), "{error}");
    broker.end(Signal::TERM);

    let (code, text, error) = ended(&mut stele(dir.path(), &["verify", "stele-data"]));
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.contains("stele-data/registry: ") && text.contains("stele-data/shard-0: "), "{text}");
    let (code, dumped, _) = ended(&mut stele(dir.path(), &["dump-log", "stele-data/registry"]));
    assert!(code == 0 && dumped.contains("block 1 "), "{dumped}");

    // The first block stands behind the segment's head page, and what follows it says that it was acknowledged.
    let segment = dir.path().join("stele-data/registry/seg-0000000001");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (code, text, _) = ended(&mut stele(dir.path(), &["verify", "stele-data"]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("DAMAGED: seg-0000000001"), "{text}");
    assert!(text.contains("stele-data/shard-0: "), "the other logs are checked all the same: {text}");

    // What a cut would take away is said first; it is done only where the operator names the same block.
    let cut = ["truncate-log", "stele-data/registry"];
    let (code, text, _) = ended(&mut stele(dir.path(), &cut));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("gives up block 1 and everything behind it"), "{text}");
    assert!(text.contains("nothing was changed") && text.contains("--cut-from-block 1"), "{text}");
    let error = fails(dir.path(), 1, &[&cut[..], &["--cut-from-block", "2"]].concat());
    assert!(error.contains("the damage begins with block 1, not with block 2"), "{error}");
    let (code, text, _) = ended(&mut stele(dir.path(), &[&cut[..], &["--cut-from-block", "1"]].concat()));
    assert!(code == 0 && text.contains("this was done") && text.contains("nothing is damaged"), "{text}");
    let (code, text, _) = ended(&mut stele(dir.path(), &cut));
    assert!(code == 0 && text.contains("there is nothing to cut"), "{text}");

    let rebuild = ["rebuild-manifest", "stele-data/shard-0"];
    assert!(fails(dir.path(), 1, &rebuild).contains("the manifest is in order"));
    for command in ["truncate-log", "rebuild-manifest"] {
        let error = fails(dir.path(), 1, &[command, "stele-data"]);
        assert!(error.contains("say which of its logs: stele-data/registry, stele-data/shard-0"), "{error}");
    }
    fs::remove_file(dir.path().join("stele-data/shard-0/MANIFEST")).unwrap();
    let (code, text, error) = ended(&mut stele(dir.path(), &rebuild));
    assert!(code == 0 && text.contains("nothing is damaged"), "{text}{error}");

    let error = fails(dir.path(), 1, &["verify", "nowhere"]);
    assert!(error.contains("could not read the directory nowhere"), "{error}");
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert!(fails(dir.path(), 1, &["verify", "empty"]).contains("there is no log here"));
}

#[test]
fn passwords_do_not_reach_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "auth.users.ann.password=hunter2";
    let broker = Running::start(dir.path(), "serve", &["--set", secret, "--set", "logging.filter=trace"]);
    broker.get("http", "/api/flow");
    let (_, log) = broker.end(Signal::TERM);
    assert!(!log.contains("hunter2") && !log.contains("Z3Vlc3Q6Z3Vlc3Q="), "{log}");
}

#[test]
fn a_doctor_names_who_holds_a_port_and_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    // The offset that moves the highest of the known ports, metrics, onto the one we hold.
    let offset =
        taken.local_addr().unwrap().port().checked_sub(15692).expect("free ports are given from 32768 up");
    let (code, text, _) = ended(&mut stele(dir.path(), &["doctor", "--port-offset", &offset.to_string()]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    assert!(text.contains("open files") && text.contains("GiB free"), "{text}");
}

#[test]
fn the_demo_loses_nothing_on_a_broker_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text, error) = ended(&mut stele(dir.path(), &["demo", "--for", "2s"]));
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.contains("0 lost, 0 invented, all "), "{text}");
    for edge in [
        "amq.topic → payment (order.placed)",
        "payment → retry (rejected)",
        "events → audit",
        "amq.topic → board (order.*)",
        "orders → keeper",
        "keeper → statuses",
        "statuses → amq.topic",
        "amq.topic → nothing",
    ] {
        assert!(text.contains(edge), "no {edge:?} in {text}");
    }
}
