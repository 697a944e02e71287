//! nats-server's command line: `-c FILE`, `-p PORT` and the rest, as Go's flag package reads them: one dash or two, `-flag value` or `-flag=value`.

use super::options::{Setup, port_of};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The configuration to be read first; what the command line says counts more.
    pub config: Option<String>,
    /// Only check the configuration.
    pub check: bool,
    /// Only say the version.
    pub version: bool,
    /// Only show what can be said.
    pub help: bool,
    /// Send a signal to a running server: its name, and whose (a number, or a file with one).
    pub signal: Option<(String, Option<String>)>,
    /// Directives that are to be left out, not refused; ours, not nats-server's.
    pub without: Vec<String>,
    /// What nats-server knows and we do not do.
    refused: Vec<&'static str>,
    /// The rest, in order.
    said: Vec<(Flag, String)>,
}

/// What changes the setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Host,
    Port,
    Name,
    Debug,
    Trace,
    User,
    Pass,
    Token,
    HttpPort,
    Pid,
    PortsDir,
    Log,
    JetStream,
    StoreDir,
    Tls,
    TlsVerify,
    TlsCert,
    TlsKey,
    TlsCa,
    DebugAndTrace,
    LogTime,
    WithoutEffect,
}

/// Names, what they mean, and whether they are switches.
const FLAGS: &[(&[&str], Flag, bool)] = &[
    (&["a", "addr", "net"], Flag::Host, false),
    (&["p", "port"], Flag::Port, false),
    (&["n", "name", "server_name"], Flag::Name, false),
    (&["D", "debug"], Flag::Debug, true),
    (&["V", "trace", "VV"], Flag::Trace, true),
    (&["DV", "DVV"], Flag::DebugAndTrace, true),
    (&["T", "logtime", "logtime_utc"], Flag::LogTime, true),
    (&["user"], Flag::User, false),
    (&["pass"], Flag::Pass, false),
    (&["auth"], Flag::Token, false),
    (&["m", "http_port"], Flag::HttpPort, false),
    (&["P", "pid"], Flag::Pid, false),
    (&["ports_file_dir"], Flag::PortsDir, false),
    (&["l", "log"], Flag::Log, false),
    (&["js", "jetstream"], Flag::JetStream, true),
    (&["sd", "store_dir"], Flag::StoreDir, false),
    (&["tls"], Flag::Tls, true),
    (&["tlsverify"], Flag::TlsVerify, true),
    (&["tlscert"], Flag::TlsCert, false),
    (&["tlskey"], Flag::TlsKey, false),
    (&["tlscacert"], Flag::TlsCa, false),
    (&["log_size_limit", "max_traced_msg_len"], Flag::WithoutEffect, false),
];

/// Options of nats-server's that are not here, and whether they are switches: told from what nobody knows.
const NOT_SUPPORTED: &[(&[&str], bool)] = &[
    (&["ms", "https_port"], false),
    (&["client_advertise"], false),
    (&["s", "syslog"], true),
    (&["r", "remote_syslog"], false),
    (&["routes"], false),
    (&["cluster"], false),
    (&["cluster_name"], false),
    (&["cluster_listen"], false),
    (&["cluster_advertise"], false),
    (&["connect_retries"], false),
    (&["no_advertise"], true),
    (&["profile"], false),
];

fn not_supported(name: &str) -> Option<(&'static [&'static str], bool)> {
    NOT_SUPPORTED.iter().copied().find(|(names, _)| names.contains(&name))
}

/// Signals, as `--signal` names them.
pub const SIGNALS: [&str; 6] = ["stop", "quit", "term", "reload", "reopen", "ldm"];

impl Args {
    /// Reads a command line, without the program's name.
    ///
    /// # Errors
    /// What is not known, or lacks its value.
    pub fn parse(line: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::default();
        let mut line = line.into_iter();
        while let Some(word) = line.next() {
            let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                return Err(format!("unrecognized command: {word:?}"));
            };
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let mut value = || {
                given
                    .clone()
                    .or_else(|| line.next())
                    .ok_or_else(|| format!("flag needs an argument: -{name}"))
            };
            match name {
                "c" | "config" => args.config = Some(value()?),
                "t" => args.check = true,
                "v" | "version" => args.version = true,
                "h" | "help" => args.help = true,
                "sl" | "signal" => args.signal = Some(signal(&value()?)?),
                "without" => args.without.extend(value()?.split(',').map(|word| word.trim().to_owned())),
                _ if let Some((names, is_switch)) = not_supported(name) => {
                    if !is_switch {
                        value()?;
                    }
                    args.refused.extend(names.last());
                }
                _ => {
                    let found = FLAGS.iter().find(|(names, ..)| names.contains(&name));
                    let Some((_, flag, is_switch)) = found else {
                        return Err(format!("flag provided but not supported: -{name}"));
                    };
                    let value =
                        if *is_switch { given.unwrap_or_else(|| "true".to_owned()) } else { value()? };
                    args.said.push((*flag, value));
                }
            }
        }
        Ok(args)
    }

    /// Puts what the command line says on top of a setup.
    ///
    /// # Errors
    /// A value that cannot be.
    pub fn apply(&self, setup: &mut Setup) -> Result<(), String> {
        for name in &self.refused {
            setup.refuse_flag(name);
        }
        let mut user: Option<&str> = None;
        let mut pass: Option<&str> = None;
        for (flag, value) in &self.said {
            let is_on = || match value.as_str() {
                "true" | "1" | "t" => Ok(true),
                "false" | "0" | "f" => Ok(false),
                other => Err(format!("{other:?} is neither true nor false")),
            };
            let port = || port_of(value.parse().map_err(|_| format!("{value:?} is no port"))?);
            match flag {
                Flag::Host => setup.listen(Some(value.clone()), None),
                Flag::Port => setup.listen(None, port()?),
                Flag::Name => setup.set("nats.server_name", value, "-n"),
                Flag::Debug => setup.process.debug = is_on()?,
                Flag::Trace => setup.process.trace = is_on()?,
                Flag::DebugAndTrace => {
                    setup.process.debug = is_on()?;
                    setup.process.trace = is_on()?;
                }
                Flag::User => user = Some(value),
                Flag::Pass => pass = Some(value),
                Flag::Token => setup.token(value),
                Flag::HttpPort => setup.monitor(port()?),
                Flag::Pid => setup.process.pid_file = Some(value.clone()),
                Flag::PortsDir => setup.process.ports_file_dir = Some(value.clone()),
                Flag::Log => setup.process.log_file = Some(value.clone()),
                Flag::JetStream => setup.process.jetstream = is_on()?,
                Flag::StoreDir => setup.set("data_dir", value, "-sd"),
                Flag::Tls => {
                    if is_on()? {
                        setup.set("nats.tls", "required", "--tls");
                    }
                }
                Flag::TlsCert => setup.set("tls.cert", value, "--tlscert"),
                Flag::TlsKey => setup.set("tls.key", value, "--tlskey"),
                Flag::TlsCa => setup.authorities(value, "--tlscacert"),
                Flag::TlsVerify => {
                    if is_on()? {
                        setup.set("nats.tls", "required", "--tlsverify");
                    }
                    setup.verify(is_on()?);
                }
                // Log lines always have their time.
                Flag::LogTime => drop(is_on()?),
                Flag::WithoutEffect => {}
            }
        }
        match (user, pass) {
            (Some(user), pass) => setup.user(user, pass),
            (None, Some(_)) => return Err("a password without a user".to_owned()),
            (None, None) => {}
        }
        Ok(())
    }
}

/// `reload`, or `reload=1234`, or `reload=/path/to/pid`.
fn signal(text: &str) -> Result<(String, Option<String>), String> {
    let (name, whose) = match text.split_once('=') {
        Some((name, whose)) => (name, Some(whose.to_owned())),
        None => (text, None),
    };
    if SIGNALS.contains(&name) {
        Ok((name.to_owned(), whose))
    } else {
        Err(format!("unknown signal {name:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let args = parse("-c /tmp/x.conf -p 4333 --js -sd=/tmp/js -DV --signal ldm=77").unwrap();
        assert_eq!(args.config.as_deref(), Some("/tmp/x.conf"));
        assert_eq!(args.signal, Some(("ldm".to_owned(), Some("77".to_owned()))));
        let mut setup = Setup::default();
        args.apply(&mut setup).unwrap();
        setup.finish();
        assert!(setup.process.jetstream && setup.process.debug && setup.process.trace);
        let listen = setup.settings.iter().find(|setting| setting.key == "listen.nats").unwrap();
        assert_eq!(listen.value, "0.0.0.0:4333");
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(parse("--bogus x").unwrap_err(), "flag provided but not supported: -bogus");
        let mut clustered = Setup::default();
        parse("--routes nats://x -ms 8443 --log_size_limit 5").unwrap().apply(&mut clustered).unwrap();
        let said: Vec<String> = clustered.problems.iter().map(ToString::to_string).collect();
        let refused =
            ["--routes: is not supported by this server", "--https_port: is not supported by this server"];
        assert_eq!(said, refused);
        assert!(clustered.has_errors());
        assert_eq!(parse("-p").unwrap_err(), "flag needs an argument: -p");
        assert_eq!(parse("start").unwrap_err(), "unrecognized command: \"start\"");
        assert_eq!(parse("-sl nope").unwrap_err(), "unknown signal \"nope\"");
        let mut unverified = Setup::default();
        parse("--tlsverify --tlscert c --tlskey k").unwrap().apply(&mut unverified).unwrap();
        unverified.finish();
        assert!(unverified.has_errors(), "authorities are missing");
        let mut setup = Setup::default();
        assert!(parse("-p 99999").unwrap().apply(&mut setup).is_err());
    }
}
