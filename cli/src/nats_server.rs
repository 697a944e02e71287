//! `stele nats-server …`: a broker that is set up, and behaves as a process, like nats-server: its command line and configuration language,
//! its log lines, pid file, ports file and signals. A translator: the settings that come out are the broker's own, and the ports of other
//! dialects are off.

mod scratch;

use crate::run::Broker;
use crate::say;
use crate::signals::{Deeds, End, Signals};
use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use rustix::process::{Pid, Signal, kill_process};
use scratch::Scratch;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use stele_nats::front::args::Args;
use stele_nats::front::conf::{Sources as Texts, parse};
use stele_nats::front::options::Setup;
use stele_nats::jet::time::Time;
use stele_nats::jet::versions::{API_LEVEL, SERVER_VERSION};
use stele_server::config::{Config, Flag, Sources, load};
use stele_server::node::{LameDuck, nats_server_id};

/// Smallest segment of a log.
const LEAST_SEGMENT: &str = "1 MiB";

const USAGE: &str = "\
usage: stele nats-server [options], as nats-server has them:
  -a, --addr HOST        -p, --port PORT         -n, --name NAME       -m, --http_port PORT
  -c, --config FILE      -t (check only)         -P, --pid FILE        --ports_file_dir DIR
  -js, --jetstream       -sd, --store_dir DIR    -l, --log FILE        -D, -V, -DV (log more)
  --user USER            --pass PASSWORD         --auth TOKEN
  --tls --tlsverify      --tlscert FILE          --tlskey FILE         --tlscacert FILE
  -sl, --signal SIGNAL=PID (stop, quit, term, reload, reopen, ldm)     -v, --version
and one of our own:
  --without NAME,...     Start without what these directives of the configuration ask for (leafnodes, websocket, ...)
";

pub(crate) fn run(line: &[String]) -> anyhow::Result<ExitCode> {
    let args = match Args::parse(line.iter().cloned()) {
        Ok(args) => args,
        Err(why) => {
            // nats-server shows what can be said, and ends as if it had been asked for that.
            eprint!("{why}\n{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    if args.help {
        say(USAGE)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.version {
        say(&format!("nats-server: v{SERVER_VERSION}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some((signal, whose)) = &args.signal {
        return send(signal, whose.as_deref());
    }
    let Read { setup, digest } = match read(&args) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("nats-server: {why:#}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for problem in &setup.problems {
        let file = problem.place.and(args.config.as_ref()).map(|file| format!("{file}:")).unwrap_or_default();
        let kind = if problem.is_error { "" } else { "warning: " };
        eprintln!("nats-server: {kind}{file}{problem}");
    }
    if setup.has_errors() {
        return Ok(ExitCode::FAILURE);
    }
    if args.check {
        let file = args.config.as_deref().unwrap_or("(none)");
        config(&setup, &std::env::temp_dir())?;
        say(&format!("nats-server: configuration file {file} is valid ({digest})\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    serve(&args, &setup, &digest)
}

/// What files and environment are to the configuration language.
struct Surroundings {
    /// Where included files are looked for.
    dir: PathBuf,
}

impl Texts for Surroundings {
    fn include(&self, name: &str) -> Result<String, String> {
        let path: PathBuf = self.dir.join(name).components().collect();
        fs::read_to_string(&path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => format!("open {}: no such file or directory", path.display()),
            _ => format!("open {}: {why}", path.display()),
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// A setup, and the digest of the file that it comes from.
struct Read {
    setup: Setup,
    /// As nats-server shows it: of the values as JSON.
    digest: String,
}

fn read(args: &Args) -> anyhow::Result<Read> {
    let mut setup = Setup::default();
    setup.leave_out(&args.without).map_err(|why| anyhow::anyhow!("{why}"))?;
    let mut json = serde_json::json!({});
    if let Some(file) = &args.config {
        let text = fs::read_to_string(file).with_context(|| format!("could not read {file}"))?;
        let dir = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        let block = parse(&text, &Surroundings { dir }).map_err(|error| anyhow::anyhow!("{error}"))?;
        setup.read(&block);
        json = block.to_json();
    }
    args.apply(&mut setup).map_err(|why| anyhow::anyhow!("{why}"))?;
    setup.finish();
    let octets = digest(&SHA256, format!("{json}\n").as_bytes());
    let hex: String = octets.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Read { setup, digest: format!("sha256:{hex}") })
}

/// The broker's settings. `store`: where everything durable lives unless that is said.
fn config(setup: &Setup, store: &Path) -> anyhow::Result<Config> {
    let off = |key: &'static str| (key, "off".to_owned());
    let level = if setup.process.debug || setup.process.trace { "debug" } else { "warn" };
    let mut defaults = vec![
        off("listen.amqp"),
        off("listen.kafka"),
        off("listen.http"),
        off("listen.metrics"),
        off("listen.nats_monitor"),
        ("data_dir", store.to_string_lossy().into_owned()),
        ("logging.filter", level.to_owned()),
    ];
    if !setup.process.jetstream {
        // Nothing is stored: its log takes as little of the disk as it can.
        defaults
            .extend([("log.segment_bytes", LEAST_SEGMENT.to_owned()), ("threads.shards", "1".to_owned())]);
    }
    // Without streams their directory is nobody's concern.
    let is_asked = |key: &str| setup.process.jetstream || key != "data_dir";
    let flags = setup.settings.iter().filter(|setting| is_asked(&setting.key)).map(|setting| Flag {
        flag: setting.said_by.clone(),
        key: setting.key.clone(),
        value: setting.value.clone(),
    });
    Ok(load(&Sources { dev: defaults, file: None, env: Vec::new(), flags: flags.collect() })?.config)
}

/// Lines as nats-server writes them: test suites wait for some.
#[derive(Clone)]
struct Log(Arc<Mutex<Option<LogFile>>>);

struct LogFile {
    path: PathBuf,
    file: fs::File,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Log {
    fn open(file: Option<&str>) -> anyhow::Result<Self> {
        let open = |file: &str| LogFile::open(file.into()).with_context(|| format!("could not open {file}"));
        Ok(Self(Arc::new(Mutex::new(file.map(open).transpose()?))))
    }

    /// Somebody has moved the file away: from now on lines go to a new one of its name.
    fn reopen(&self) {
        self.note("Trapped \"user defined signal 1\" signal");
        let said = {
            let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match file.as_ref().map(|old| LogFile::open(old.path.clone())) {
                None => return,
                Some(Ok(new)) => {
                    *file = Some(new);
                    Ok(())
                }
                Some(Err(why)) => Err(why),
            }
        };
        match said {
            Ok(()) => self.note("File log re-opened"),
            Err(why) => self.error(&format!("Could not open the log file again, the old one stays: {why}")),
        }
    }

    fn note(&self, text: &str) {
        self.line("INF", text);
    }

    fn error(&self, text: &str) {
        self.line("ERR", text);
    }

    /// The server cannot go on.
    fn fatal(&self, text: &str) -> ExitCode {
        self.line("FTL", text);
        ExitCode::FAILURE
    }

    fn line(&self, level: &str, text: &str) {
        let now = at(SystemTime::now());
        let line = format!("[{}] {} [{level}] {text}\n", std::process::id(), shown(now));
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A log that cannot be written to has nowhere to say so.
        let _ = match file.as_mut() {
            Some(log) => log.file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// A moment, to the microsecond.
pub(crate) fn at(moment: SystemTime) -> Time {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_unix_nanos(i64::try_from(since.as_micros()).unwrap_or(0).saturating_mul(1000))
}

/// `2006/01/02 15:04:05.000000`
fn shown(at: Time) -> String {
    let text = at.to_string();
    let (date, time) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let (second, part) = time.split_once('.').unwrap_or((time, ""));
    format!("{} {second}.{part:0<6}", date.replace('-', "/"))
}

fn serve(args: &Args, setup: &Setup, digest: &str) -> anyhow::Result<ExitCode> {
    let process = &setup.process;
    let log = Log::open(process.log_file.as_deref())?;
    // Without JetStream nothing is to be kept.
    let scratch = (!process.jetstream).then(|| Scratch::new(&std::env::temp_dir())).transpose()?;
    let store = match &scratch {
        Some(scratch) => scratch.path().to_owned(),
        None => std::env::temp_dir().join("nats").join("stele"),
    };
    let config = config(setup, &store)?;
    stele_server::logging::start(&config.logging);
    log.note(&format!("Starting nats-server (Stele {})", crate::version::VERSION));
    log.note(&format!("  Version:  {SERVER_VERSION}"));
    log.note(&format!("  Name:     {}", config.nats.server_name));
    log.note(&format!("  ID:       {}", nats_server_id()));
    if let Some(file) = &args.config {
        log.note(&format!("Using configuration file: {file} ({digest})"));
    }
    if process.jetstream
        && let Err(why) = storage(&config.data_dir, &log)
    {
        return Ok(log.fatal(&format!("Can't start JetStream: {why}")));
    }
    let broker = match Broker::start(&config) {
        Ok(broker) => broker,
        Err(failure) if failure.is_of_port() => {
            return Ok(log.fatal(&format!("Error listening on port: {failure}")));
        }
        Err(failure) => return Ok(log.fatal(&failure.to_string())),
    };
    if let Some(at) = broker.nats_monitor() {
        log.note(&format!("Starting http monitor on {at}"));
    }
    let signals = Signals::take()?;
    let files = Files::write(setup, broker.nats(), broker.nats_monitor())?;
    if let Some(at) = broker.nats() {
        log.note(&format!("Listening for client connections on {at}"));
    }
    log.note("Server is ready");
    let stop = broker.stopper();
    let reload = || match reload(&broker, args, &store) {
        Ok(()) => log.note("Reloaded server configuration"),
        Err(why) => log.error(&format!("Failed to reload server configuration: {why:#}")),
    };
    let leave = || {
        log.note("Entering lame duck mode, stop accepting new clients");
        broker.leave(LameDuck { grace_ms: process.lame_duck_grace_ms, duration_ms: process.lame_duck_ms });
        true
    };
    let deeds = Deeds { reload, reopen: || log.reopen(), leave };
    let end = signals.wait(move || drop(stop.wait()), &deeds);
    match end {
        End::Signal(name) => log.note(&format!("Trapped \"{}\" signal", as_go_says(name))),
        End::Node => {}
    }
    log.note("Initiating Shutdown...");
    drop(files);
    let reason = broker.stop();
    log.note("Server Exiting..");
    Ok(match reason {
        stele_server::node::Reason::Asked => ExitCode::SUCCESS,
        stele_server::node::Reason::Failed(_) => ExitCode::FAILURE,
    })
}

/// Where streams live, told as nats-server tells it: test suites remove what they find there.
fn storage(dir: &Path, log: &Log) -> Result<(), String> {
    log.note("Starting JetStream");
    match fs::metadata(dir) {
        Ok(there) if !there.is_dir() => return Err("storage directory is not a directory".to_owned()),
        Ok(_) => {}
        Err(_) => {
            fs::create_dir_all(dir).map_err(|why| format!("could not create storage directory - {why}"))?;
        }
    }
    log.note("---------------- JETSTREAM ----------------");
    log.note(&format!("  Store Directory: \"{}\"", dir.display()));
    log.note(&format!("  API Level:       {API_LEVEL}"));
    log.note("-------------------------------------------");
    Ok(())
}

/// SIGHUP: users and the certificate are read again; what else has changed counts from the next start on.
fn reload(broker: &Broker, args: &Args, store: &Path) -> anyhow::Result<()> {
    let Read { setup, .. } = read(args)?;
    if let Some(problem) = setup.problems.iter().find(|problem| problem.is_error) {
        anyhow::bail!("{problem}");
    }
    broker.reload();
    broker.read_users_again(&config(&setup, store)?)
}

/// A signal's name in Go's words, which stand in nats-server's log.
fn as_go_says(signal: &str) -> &str {
    match signal {
        "SIGTERM" => "terminated",
        "SIGINT" => "interrupt",
        other => other,
    }
}

/// Files that say where a running server is; removed at its end.
struct Files(Vec<PathBuf>);

impl Files {
    fn write(setup: &Setup, nats: Option<SocketAddr>, monitor: Option<SocketAddr>) -> anyhow::Result<Self> {
        let mut files = Self(Vec::new());
        let id = std::process::id();
        if let Some(file) = &setup.process.pid_file {
            files.put(PathBuf::from(file), &id.to_string())?;
        }
        if let Some(dir) = &setup.process.ports_file_dir {
            let urls = |scheme: &str, at: Option<SocketAddr>| -> Vec<String> {
                at.into_iter().map(|at| format!("{scheme}://{}", reachable(at))).collect()
            };
            let ports =
                serde_json::json!({ "nats": urls("nats", nats), "monitoring": urls("http", monitor) });
            files.put(Path::new(dir).join(format!("nats-server_{id}.ports")), &ports.to_string())?;
        }
        Ok(files)
    }

    fn put(&mut self, path: PathBuf, text: &str) -> anyhow::Result<()> {
        fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        self.0.push(path);
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            // Somebody may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

/// An address as a client on this machine reaches it.
pub(crate) fn reachable(at: SocketAddr) -> SocketAddr {
    if at.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], at.port())) } else { at }
}

/// Sends a running server a signal. `whose`: its number, or a file with it.
fn send(signal: &str, whose: Option<&str>) -> anyhow::Result<ExitCode> {
    let whose = whose.context("whose? say --signal SIGNAL=PID, or =FILE with the number in it")?;
    let number = match whose.parse::<i32>() {
        Ok(number) => number,
        Err(_) => {
            let text = fs::read_to_string(whose).with_context(|| format!("could not read {whose}"))?;
            text.trim().parse().with_context(|| format!("no number in {whose}"))?
        }
    };
    let pid = Pid::from_raw(number).with_context(|| format!("{number} is no process"))?;
    let signal = match signal {
        "stop" => Signal::KILL,
        "quit" => Signal::INT,
        "term" => Signal::TERM,
        "reopen" => Signal::USR1,
        "reload" => Signal::HUP,
        _ => Signal::USR2,
    };
    kill_process(pid, signal).with_context(|| format!("could not signal process {number}"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_has_the_time_as_nats_server_writes_it() {
        let at: Time = "2024-01-02T03:04:05.5Z".parse().unwrap();
        assert_eq!(shown(at), "2024/01/02 03:04:05.500000");
    }
}
