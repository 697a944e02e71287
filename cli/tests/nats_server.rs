//! `stele nats-server` as a process: what a test suite or an operator that knows nats-server does with one. Each case runs the real binary in a
//! directory of its own, which is also where its temporary files go.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stele"));
    command.arg("nats-server").args(args).current_dir(dir).env_clear().env("TMPDIR", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A server that is ready, on a port that was free.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Server {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = command(dir, &[&["-a", "127.0.0.1", "-p", "-1"], args].concat()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, log, address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let line = server.until("Listening for client connections on ");
        server.address = line.rsplit(' ').next().unwrap().parse().unwrap();
        server.until("Server is ready");
        server
    }

    /// The next line of the log with this in it.
    fn until(&mut self, what: &str) -> String {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the log ended before it said {what:?}");
        }
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it; its exit code, if it was not killed.
    fn end(mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.child.wait().unwrap().code()
    }
}

/// What a server says that does not start, and its exit code.
fn failed(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = command(dir, args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn info(address: SocketAddr) -> serde_json::Value {
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap()
}

#[test]
fn a_client_is_told_the_port_that_was_free() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("n.conf"), "{\n  \"http\": \"127.0.0.1:-1\"\n}\n").unwrap();
    let server = Server::start(dir.path(), &["-c", "n.conf", "--ports_file_dir", "."]);
    assert_eq!(info(server.address)["port"], server.address.port());
    let ports =
        fs::read_to_string(dir.path().join(format!("nats-server_{}.ports", server.child.id()))).unwrap();
    let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
    assert_eq!(ports["nats"][0], format!("nats://{}", server.address));
    let monitor: SocketAddr = ports["monitoring"][0].as_str().unwrap()["http://".len()..].parse().unwrap();
    let mut page = String::new();
    let mut socket = TcpStream::connect(monitor).unwrap();
    std::io::Write::write_all(&mut socket, b"GET /varz HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    socket.read_to_string(&mut page).unwrap();
    assert!(page.contains(&format!("\"port\": {}", server.address.port())), "{page}");
    assert_eq!(server.end(Signal::TERM), Some(0));
}

#[test]
fn a_log_file_that_was_moved_is_opened_again_at_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    server.signal(Signal::USR1);
    server.until("Trapped \"user defined signal 1\" signal");
    server.signal(Signal::TERM);
    server.until("Trapped \"terminated\" signal");
    assert_eq!(server.child.wait().unwrap().code(), Some(0), "without a log file there is none to open");

    let log = dir.path().join("n.log");
    let ready = |log: &PathBuf, what: &str| {
        while !fs::read_to_string(log).unwrap_or_default().contains(what) {
            std::thread::yield_now();
        }
    };
    let mut child = command(dir.path(), &["-p", "-1", "-l", "n.log"]).spawn().unwrap();
    ready(&log, "Server is ready");
    fs::rename(&log, dir.path().join("n.old")).unwrap();
    kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
    ready(&log, "File log re-opened");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(fs::read_to_string(&log).unwrap().contains("Server Exiting"));
}

#[test]
fn a_server_that_cannot_start_says_why_in_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, said) = failed(dir.path(), &["-a", "127.0.0.1", "-p", &port]);
    assert!(code == Some(1) && said.contains("[FTL] Error listening on port: "), "{said}");
    fs::write(dir.path().join("file"), "").unwrap();
    let (code, said) = failed(dir.path(), &["-p", "-1", "-js", "-sd", "file"]);
    let why = "[FTL] Can't start JetStream: storage directory is not a directory";
    assert!(code == Some(1) && said.contains(why), "{said}");
    let (code, said) = failed(dir.path(), &["-p", "-1", "--cluster", "nats://127.0.0.1:-1"]);
    assert_eq!((code, &said[..]), (Some(1), "nats-server: --cluster: is not supported by this server\n"));
}

#[test]
fn where_streams_are_is_told_and_what_killed_servers_leave_elsewhere_is_little_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &["-p", "-1", "-js", "-sd", "store"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().ends_with("  Store Directory: \"store\"")));
    child.kill().unwrap();
    child.wait().unwrap();

    let left = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_string_lossy().contains("stele-nats-server-")).collect::<Vec<_>>()
    };
    // Where streams would be is nobody's concern if there are none.
    let server = Server::start(dir.path(), &["-sd", "unused"]);
    server.end(Signal::KILL);
    assert!(!dir.path().join("unused").exists());
    let of_the_dead = left();
    let files = of_the_dead.iter().flat_map(|at| walk(at)).collect::<Vec<_>>();
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(of_the_dead.len() == 1 && bytes < 32 << 20, "{bytes} bytes in {of_the_dead:?}");
    let server = Server::start(dir.path(), &[]);
    assert!(!of_the_dead[0].exists() && left().len() == 1);
    assert_eq!(server.end(Signal::TERM), Some(0));
    assert!(left().is_empty());
}

fn walk(at: &Path) -> Vec<PathBuf> {
    if at.is_file() {
        return vec![at.to_owned()];
    }
    fs::read_dir(at).unwrap().flat_map(|entry| walk(&entry.unwrap().path())).collect()
}
