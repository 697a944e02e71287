//! nats-server's directives as settings of ours, and as what the process itself does.
//!
//! What must hold: every directive of a configuration is translated, or is among the [`Problem`]s: as an error if the server would be
//! another one without it (nats-server, too, refuses what it does not know), as a warning if it only tunes what works otherwise here.

use super::conf::{Block, Node, Value};
use crate::jet::time::{MILLISECOND, SECOND, parse_short};
use std::collections::BTreeMap;
use std::fmt;

/// The user that clients are who need not say who they are.
pub const ANYBODY: &str = "default";

/// By this tag a store knows users that come from a configuration of nats-server's: who is taken out of it goes from the store, too.
const TAG: &str = "nats-server";

/// A configuration, translated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Keys and values of the server's settings; later ones count.
    pub settings: Vec<Setting>,
    /// What the process does itself.
    pub process: Process,
    /// What could not be translated.
    pub problems: Vec<Problem>,
    host: Option<String>,
    port: Option<u16>,
    http_host: Option<String>,
    http_port: Option<u16>,
    /// Somebody is named who may log in.
    has_users: bool,
    no_auth_user: Option<String>,
    /// The namespaces of accounts that are named, and whether they ask for JetStream.
    pub(super) accounts: BTreeMap<String, bool>,
    /// Whose certificates clients may show, and what says so.
    authorities: Option<(String, String)>,
    /// Clients must show one.
    verifies: bool,
    /// Clients may go without TLS although it is there.
    allows_plain: bool,
    /// Directives that are left out rather than refused.
    left_out: Vec<String>,
}

/// A key of the server's settings with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The value, as text.
    pub value: String,
    /// The directive that says so, for errors.
    pub said_by: String,
}

/// What the process does itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Write the process' number here.
    pub pid_file: Option<String>,
    /// Write the ports here.
    pub ports_file_dir: Option<String>,
    /// Write the log here.
    pub log_file: Option<String>,
    /// Log more.
    pub debug: bool,
    /// Log everything.
    pub trace: bool,
    /// Serve JetStream.
    pub jetstream: bool,
    /// In lame duck mode, all clients are closed within this time, milliseconds.
    pub lame_duck_ms: u64,
    /// And none before this one.
    pub lame_duck_grace_ms: u64,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            pid_file: None,
            ports_file_dir: None,
            log_file: None,
            debug: false,
            trace: false,
            jetstream: false,
            lame_duck_ms: 120_000,
            lame_duck_grace_ms: 10_000,
        }
    }
}

/// Shortest lame duck mode, milliseconds.
const LAME_DUCK_MS_MIN: u64 = 30_000;

/// A directive that is not, or not wholly, translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The directive, with the blocks it stands in.
    pub directive: String,
    /// Line and characters before it, if it stands in a file.
    pub place: Option<(u32, u32)>,
    /// What is to be said.
    pub what: String,
    /// The server must not start.
    pub is_error: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        match self.directive.as_str() {
            "" => f.write_str(&self.what),
            directive => write!(f, "{directive}: {}", self.what),
        }
    }
}

/// Directives that tune what is otherwise here, and why they change nothing.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("logtime", "log lines always have their time"),
    ("logtime_utc", "log lines have their time in UTC"),
    ("log_size_limit", "rotate the log by other means"),
    ("log_max_num", "rotate the log by other means"),
    ("max_traced_msg_len", "messages are not traced"),
    ("connect_error_reports", "there are no routes"),
    ("reconnect_error_reports", "there are no routes"),
    ("disable_sublist_cache", "there is no such cache"),
    ("sublist_cache", "there is no such cache"),
    ("prof_port", "there is no such port"),
    ("no_fast_producer_stall", "producers are not stalled"),
    ("server_tags", "there is no cluster"),
    ("tags", "there is no cluster"),
    ("jetstream.sync_interval", "what is acknowledged is always synced"),
    ("jetstream.sync", "what is acknowledged is always synced"),
    ("jetstream.max_mem", "memory streams are bounded by their own limits"),
    ("jetstream.max_memory_store", "memory streams are bounded by their own limits"),
    ("jetstream.max_mem_store", "memory streams are bounded by their own limits"),
    ("jetstream.max_file", "file streams are bounded by their own limits and by the disk"),
    ("jetstream.max_file_store", "file streams are bounded by their own limits and by the disk"),
    ("jetstream.unique_tag", "there is no cluster"),
    ("jetstream.strict", "requests are always read strictly"),
    ("tls.cipher_suites", "cipher suites are those of the TLS library"),
    ("tls.curve_preferences", "curves are those of the TLS library"),
];

/// What nats-server takes `handshake_first: auto` for.
const TLS_FIRST_MS_AUTO: u64 = 50;

/// Directives of nats-server's that are not here, besides [`MAY_BE_LEFT_OUT`]: told from what nobody knows.
const NOT_SUPPORTED: &[&str] = &[
    "accounts",
    "operator",
    "operators",
    "roots",
    "root",
    "resolver",
    "resolver_tls",
    "resolver_preload",
    "system_account",
    "system",
    "trusted",
    "trusted_keys",
    "no_system_account",
    "no_sys_acc",
    "default_sentinel",
    "ocsp",
    "ocsp_cache",
    "http_base_path",
    "mappings",
    "maps",
    "no_header_support",
    "max_traced_msg_len",
    "max_sub_tokens",
    "max_subscription_tokens",
    "default_js_domain",
    "proxies",
    "jetstream.domain",
    "jetstream.key",
    "jetstream.cipher",
    "jetstream.prev_key",
    "jetstream.tpm",
    "jetstream.limits",
    "jetstream.extension_hint",
    "jetstream.max_outstanding_catchup",
    "jetstream.max_buffered_msgs",
    "jetstream.max_buffered_size",
    "jetstream.request_queue_limit",
];

/// More of them, which may be left out if whoever starts the server says so: without them there are fewer ways to it, and it is none the less strict.
const MAY_BE_LEFT_OUT: &[&str] = &[
    "cluster",
    "cluster_name",
    "gateway",
    "leaf",
    "leafnodes",
    "mqtt",
    "websocket",
    "ws",
    "https",
    "https_port",
    "client_advertise",
    "syslog",
    "remote_syslog",
];

impl Setup {
    /// Names directives that are to be left out with a warning where they would be refused, so that a configuration can be used as it stands.
    ///
    /// # Errors
    /// One that may not be left out.
    pub fn leave_out(&mut self, names: &[String]) -> Result<(), String> {
        if let Some(name) = names.iter().find(|name| !MAY_BE_LEFT_OUT.contains(&name.as_str())) {
            let all = MAY_BE_LEFT_OUT.join(", ");
            return Err(format!("--without: {name:?} cannot be left out; what can: {all}"));
        }
        self.left_out = names.to_vec();
        Ok(())
    }

    /// The server must not start with an option of the command line.
    pub(super) fn refuse_flag(&mut self, name: &str) {
        self.problem(&format!("--{name}"), None, "is not supported by this server", true);
    }

    fn problem(&mut self, directive: &str, at: Option<&Node>, what: impl Into<String>, is_error: bool) {
        let place = at.map(|node| (node.line, node.column));
        self.problems.push(Problem { directive: directive.to_owned(), place, what: what.into(), is_error });
    }

    /// The server must not start with a directive.
    pub(super) fn refuse(&mut self, directive: &str, at: &Node, what: &str) {
        self.problem(directive, Some(at), what, true);
    }

    /// Something is otherwise here, and the server starts all the same.
    pub(super) fn warn(&mut self, directive: &str, at: &Node, what: &str) {
        self.problem(directive, Some(at), what, false);
    }

    /// What stands here cannot be, whatever else is said.
    pub(super) fn refuse_here(&mut self, at: &Node, what: &str) -> Result<bool, String> {
        self.problem("", Some(at), what, true);
        Ok(true)
    }

    /// A directive that is not translated, unless it is a variable: nats-server does not know it either, or it is named.
    pub(super) fn unknown(&mut self, within: &str, key: &str, node: &Node) {
        if node.is_variable {
            return;
        }
        let name = format!("{within}{key}");
        if self.left_out.contains(&name) {
            return self.problem(&name, Some(node), "is left out, as --without says", false);
        }
        let is_theirs = [NOT_SUPPORTED, MAY_BE_LEFT_OUT].iter().any(|names| names.contains(&name.as_str()));
        if matches!(within, "" | "jetstream.") && !is_theirs {
            let what = format!("unknown field {key:?}");
            return self.problem("", Some(node), what, true);
        }
        self.problem(&name, Some(node), "is not supported by this server", true);
    }

    /// Puts a setting in place.
    pub fn set(&mut self, key: &str, value: impl Into<String>, said_by: &str) {
        self.settings.push(Setting { key: key.to_owned(), value: value.into(), said_by: said_by.to_owned() });
    }

    /// Whether anything keeps the server from starting.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.is_error)
    }

    /// Translates a configuration, on top of what is there.
    pub fn read(&mut self, block: &Block) {
        for (key, node) in &block.0 {
            self.directive("", &key.to_ascii_lowercase(), node);
        }
    }

    /// One directive. `within`: the block it stands in, with a dot behind it; empty at the top.
    fn directive(&mut self, within: &str, key: &str, node: &Node) {
        let name = format!("{within}{key}");
        let done = match within {
            "" => self.top(key, node),
            "tls." => self.tls(key, node),
            "jetstream." => self.jetstream(key, node),
            _ => Ok(false),
        };
        match done {
            Ok(true) => {}
            Err(why) => self.problem(&name, Some(node), why, true),
            Ok(false) => match WITHOUT_EFFECT.iter().find(|(known, _)| *known == name) {
                Some((_, why)) => self.problem(&name, Some(node), format!("has no effect: {why}"), false),
                None => self.unknown(within, key, node),
            },
        }
    }

    fn block(&mut self, within: &str, node: &Node) -> Result<bool, String> {
        let Value::Block(block) = &node.value else { return Err("a block is expected".to_owned()) };
        for (key, node) in &block.0 {
            self.directive(within, &key.to_ascii_lowercase(), node);
        }
        Ok(true)
    }

    fn top(&mut self, key: &str, node: &Node) -> Result<bool, String> {
        match key {
            "listen" => {
                let (host, port) = endpoint(node)?;
                self.host = host.or(self.host.take());
                self.port = port;
            }
            "host" | "net" => self.host = Some(text(node)?),
            "port" => self.port = port(node)?,
            "http" | "monitor" => {
                let (host, port) = endpoint(node)?;
                self.http_host = host;
                self.http_port = port;
            }
            "http_port" | "monitor_port" => self.http_port = port(node)?,
            "server_name" => self.set("nats.server_name", text(node)?, key),
            "max_connections" | "max_conn" => self.set("limits.connections_max", number(node)?, key),
            "max_payload" => self.set("nats.payload_bytes_max", number(node)?, key),
            "max_control_line" => self.set("nats.control_line_bytes_max", number(node)?, key),
            "max_pending" => self.set("nats.pending_bytes_max", number(node)?, key),
            "max_subscriptions" | "max_subs" => self.set("nats.subscriptions_max", number(node)?, key),
            "ping_interval" => self.set("nats.ping_interval_ms", ms(node)?, key),
            "ping_max" => self.set("nats.pings_out_max", number(node)?, key),
            "write_deadline" => self.set("nats.write_deadline_ms", ms(node)?, key),
            "pid_file" | "pidfile" => self.process.pid_file = Some(text(node)?),
            "ports_file_dir" => self.process.ports_file_dir = Some(text(node)?),
            "log_file" | "logfile" => self.process.log_file = Some(text(node)?),
            "debug" => self.process.debug = truth(node)?,
            "trace" => self.process.trace = truth(node)?,
            "lame_duck_duration" => {
                self.process.lame_duck_ms = ms(node)?.parse().map_err(|_| "a duration is expected")?;
                if self.process.lame_duck_ms < LAME_DUCK_MS_MIN {
                    let what =
                        format!("invalid lame_duck_duration of {}, minimum is 30 seconds", text(node)?);
                    return self.refuse_here(node, &what);
                }
            }
            "lame_duck_grace_period" => {
                self.process.lame_duck_grace_ms = ms(node)?.parse().map_err(|_| "a duration is expected")?;
            }
            "no_auth_user" => self.no_auth_user = Some(text(node)?),
            "allow_non_tls" => self.allows_plain = truth(node)?,
            "tls" => {
                self.block("tls.", node)?;
                if !self.settings.iter().any(|setting| setting.key == "nats.tls") {
                    self.set("nats.tls", "required", "tls");
                }
            }
            "authorization" | "auth" => return self.authorization(node),
            "accounts" => return self.accounts(node),
            "jetstream" => return self.jetstream_as_a_whole(node),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tls(&mut self, key: &str, node: &Node) -> Result<bool, String> {
        match key {
            "cert_file" => self.set("tls.cert", text(node)?, "tls.cert_file"),
            "key_file" => self.set("tls.key", text(node)?, "tls.key_file"),
            "ca_file" => self.authorities(&text(node)?, "tls.ca_file"),
            "verify" => self.verify(truth(node)?),
            "handshake_first" | "first" | "immediate" => match truth(node) {
                Ok(true) => self.set("nats.tls", "first", "tls.handshake_first"),
                Ok(false) => {}
                Err(_) => {
                    self.set("nats.tls", "first", "tls.handshake_first");
                    self.set("nats.tls_first_ms", first_ms(node)?, "tls.handshake_first");
                }
            },
            "timeout" => self.set("nats.tls_wait_ms", ms(node)?, "tls.timeout"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A token stands for a user of its own.
    pub fn token(&mut self, token: &str) {
        self.user("token", None);
        self.set("auth.users.token.nats_token", token, "token");
    }

    /// Whether somebody of this name may log in already.
    pub(super) fn has_user(&self, user: &str) -> bool {
        let key = format!("auth.users.{user}.tags");
        self.settings.iter().any(|setting| setting.key == key)
    }

    /// Whose certificates clients may show.
    pub fn authorities(&mut self, file: &str, said_by: &str) {
        self.authorities = Some((file.to_owned(), said_by.to_owned()));
    }

    /// Whether clients must show a certificate.
    pub fn verify(&mut self, verifies: bool) {
        self.verifies = verifies;
    }

    /// Somebody who may log in.
    pub fn user(&mut self, user: &str, password: Option<&str>) {
        self.has_users = true;
        let key = format!("auth.users.{user}.tags");
        self.set(&key, TAG, "user");
        if let Some(password) = password {
            self.password(user, password);
        }
    }

    fn password(&mut self, user: &str, password: &str) {
        let key = if super::is_bcrypt(password) { "password_hash" } else { "password" };
        self.set(&format!("auth.users.{user}.{key}"), password, "password");
    }

    fn jetstream_as_a_whole(&mut self, node: &Node) -> Result<bool, String> {
        match &node.value {
            Value::Block(_) => {
                self.process.jetstream = true;
                self.block("jetstream.", node)
            }
            Value::Text(word) if word.eq_ignore_ascii_case("enabled") => {
                self.process.jetstream = true;
                Ok(true)
            }
            Value::Text(word) if word.eq_ignore_ascii_case("disabled") => Ok(true),
            _ => {
                self.process.jetstream = truth(node)?;
                Ok(true)
            }
        }
    }

    fn jetstream(&mut self, key: &str, node: &Node) -> Result<bool, String> {
        match key {
            "store_dir" | "storedir" | "store" => self.set("data_dir", text(node)?, "jetstream.store_dir"),
            "enabled" | "enable" => self.process.jetstream = truth(node)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where clients connect.
    pub fn listen(&mut self, host: Option<String>, port: Option<u16>) {
        self.host = host.or(self.host.take());
        self.port = port.or(self.port);
    }

    /// Where the monitoring endpoints are; `None`: where the configuration says.
    pub fn monitor(&mut self, port: Option<u16>) {
        self.http_port = port.or(self.http_port);
    }

    /// Everything is said: addresses are put together, and who may come in without a name.
    pub fn finish(&mut self) {
        let host = self.host.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let port = self.port.unwrap_or(4222);
        self.set("listen.nats", address(&host, port), "listen");
        if let Some(port) = self.http_port {
            self.set("listen.nats_monitor", address(self.http_host.as_ref().unwrap_or(&host), port), "http");
        }
        self.finish_tls();
        let Process { lame_duck_ms, lame_duck_grace_ms, .. } = self.process;
        if lame_duck_grace_ms >= lame_duck_ms {
            let what = "has to be shorter than lame_duck_duration";
            self.problem("lame_duck_grace_period", None, what, true);
        }
        let accounts = std::mem::take(&mut self.accounts);
        if !accounts.is_empty() && self.process.jetstream {
            // Where accounts are named, those have it that ask for it.
            let global = (!accounts.contains_key("/")).then(|| ("/".to_owned(), false));
            for (account, _) in accounts.into_iter().chain(global).filter(|(_, asks)| !asks) {
                self.set(&format!("namespaces.{account}.jetstream"), "no", "accounts");
            }
        }
        self.set("nats.jetstream", if self.process.jetstream { "yes" } else { "no" }, "jetstream");
        self.set("auth.remove_tagged", TAG, "users");
        let anybody = match self.no_auth_user.clone() {
            Some(user) => Some(user),
            None if self.has_users => None,
            None => {
                self.set(&format!("auth.users.{ANYBODY}.tags"), TAG, "nobody is named");
                // Clients may say who they are all the same: nobody minds.
                self.set("nats.checks_credentials", "no", "nobody is named");
                Some(ANYBODY.to_owned())
            }
        };
        if let Some(user) = anybody {
            self.set("nats.anonymous", user, "no_auth_user");
        }
    }

    /// TLS as it is wanted: with a certificate, and clients verified by authorities or not at all.
    fn finish_tls(&mut self) {
        let has = |key: &str| self.settings.iter().any(|setting| setting.key == key);
        if has("nats.tls") && !(has("tls.cert") && has("tls.key")) {
            self.problem("tls", None, "TLS needs a certificate and its key", true);
        }
        match (self.verifies, self.authorities.take()) {
            (true, Some((file, said_by))) => self.set("tls.client_ca", file, &said_by),
            (true, None) => {
                let what = "clients cannot be verified without a file of authorities (ca_file, --tlscacert)";
                self.problem("tls.verify", None, what, true);
            }
            (false, Some(_)) => {
                let what = "has no effect: clients are not asked for certificates (verify, --tlsverify)";
                self.problem("tls.ca_file", None, what, false);
            }
            (false, None) => {}
        }
        if self.allows_plain {
            if self.settings.iter().any(|setting| setting.key == "nats.tls" && setting.value == "first") {
                let what = "a handshake before anything else leaves no plain connections";
                self.problem("allow_non_tls", None, what, true);
            } else if self.settings.iter().any(|setting| setting.key == "nats.tls") {
                self.set("nats.tls", "optional", "allow_non_tls");
            }
        }
    }
}

fn address(host: &str, port: u16) -> String {
    let host = match host {
        "localhost" => "127.0.0.1",
        "" => "0.0.0.0",
        other => other,
    };
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

pub(super) fn text(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::List(_) | Value::Block(_) => Err("a text is expected".to_owned()),
    }
}

/// One subject, or several, as words between commas.
pub(super) fn subjects(node: &Node) -> Result<String, String> {
    let Value::List(nodes) = &node.value else { return text(node) };
    Ok(nodes.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(","))
}

pub(super) fn truth(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Bool(truth) => Ok(*truth),
        _ => Err("true or false is expected".to_owned()),
    }
}

fn number(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Int(number) if *number >= 0 => Ok(number.to_string()),
        _ => Err("a number is expected".to_owned()),
    }
}

/// A port of nats-server's as one of ours: −1 stands for any that is free, which is 0 here; 0 for what is usual.
pub(super) fn port_of(number: i64) -> Result<Option<u16>, String> {
    match number {
        -1 => Ok(Some(0)),
        0 => Ok(None),
        _ => u16::try_from(number).map(Some).map_err(|_| format!("{number} is no port")),
    }
}

fn port(node: &Node) -> Result<Option<u16>, String> {
    match &node.value {
        Value::Int(number) => port_of(*number),
        _ => Err("a port is expected".to_owned()),
    }
}

/// `host:port` or `port`.
fn endpoint(node: &Node) -> Result<(Option<String>, Option<u16>), String> {
    let Value::Text(text) = &node.value else { return Ok((None, port(node)?)) };
    let (host, number) = text.rsplit_once(':').ok_or("host and port are expected")?;
    let number: i64 = number.parse().map_err(|_| format!("{number:?} is no port"))?;
    let port = port_of(number)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(((!host.is_empty()).then(|| host.to_owned()), port))
}

/// A duration, or seconds, in whole milliseconds.
pub(super) fn ms(node: &Node) -> Result<String, String> {
    let nanos = match &node.value {
        Value::Int(seconds) => seconds.saturating_mul(SECOND),
        #[expect(clippy::cast_possible_truncation, reason = "a configured time is short")]
        Value::Float(seconds) => (seconds * 1e9) as i64,
        Value::Text(text) => parse_short(text).map_err(|_| format!("{text:?} is no duration"))?,
        Value::Bool(_) | Value::List(_) | Value::Block(_) => return Err("a duration is expected".to_owned()),
    };
    if nanos < 0 {
        return Err("a duration is expected".to_owned());
    }
    Ok(nanos.div_euclid(MILLISECOND).to_string())
}

/// How long clients may begin TLS before they are told INFO: "auto", or a duration.
fn first_ms(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(word) if word == "auto" => Ok(TLS_FIRST_MS_AUTO.to_string()),
        _ => ms(node),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::conf::{Sources, parse};
    use super::*;

    struct Nothing;

    impl Sources for Nothing {
        fn include(&self, _: &str) -> Result<String, String> {
            Err("no files here".to_owned())
        }

        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    pub(in super::super) fn setup(text: &str) -> Setup {
        let mut setup = Setup::default();
        setup.read(&parse(text, &Nothing).unwrap());
        setup.finish();
        setup
    }

    pub(in super::super) fn value<'s>(setup: &'s Setup, key: &str) -> Option<&'s str> {
        setup.settings.iter().rev().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }

    #[test]
    fn directives_become_settings() {
        let setup = setup(
            "listen: localhost:4333\nhttp: 8222\nserver_name: one\nmax_payload: 2MB\nping_interval: \"20ms\"\nping_max: 3\n\
             write_deadline: 2s\njetstream { store_dir: /tmp/x }\npid_file: /tmp/p\ndebug: true",
        );
        assert_eq!(setup.problems, []);
        assert_eq!(value(&setup, "listen.nats"), Some("127.0.0.1:4333"));
        assert_eq!(value(&setup, "listen.nats_monitor"), Some("127.0.0.1:8222"));
        assert_eq!(value(&setup, "nats.payload_bytes_max"), Some("2097152"));
        assert_eq!(value(&setup, "nats.ping_interval_ms"), Some("20"));
        assert_eq!(value(&setup, "data_dir"), Some("/tmp/x"));
        assert_eq!(value(&setup, "nats.anonymous"), Some(ANYBODY));
        assert_eq!(value(&setup, "nats.checks_credentials"), Some("no"));
        assert!(setup.process.jetstream && setup.process.debug);
    }

    #[test]
    fn a_port_of_0_is_the_usual_one_and_one_below_any_that_is_free() {
        let usual = setup("port: 0, http: 0");
        assert_eq!(value(&usual, "listen.nats"), Some("0.0.0.0:4222"));
        assert_eq!(value(&usual, "listen.nats_monitor"), None);
        let free = setup("listen: \"127.0.0.1:-1\", http: \"127.0.0.1:-1\"");
        assert_eq!(value(&free, "listen.nats"), Some("127.0.0.1:0"));
        assert_eq!(value(&free, "listen.nats_monitor"), Some("127.0.0.1:0"));
    }

    #[test]
    fn what_may_be_left_out_is_a_warning_if_it_was_named() {
        let block = parse("websocket { port: -1, no_tls: true }\noperator: x", &Nothing).unwrap();
        let mut setup = Setup::default();
        setup.leave_out(&["websocket".to_owned()]).unwrap();
        setup.read(&block);
        let said: Vec<_> =
            setup.problems.iter().map(|problem| (problem.to_string(), problem.is_error)).collect();
        let left_out = "1:0: websocket: is left out, as --without says".to_owned();
        assert_eq!(
            said,
            [(left_out, false), ("2:0: operator: is not supported by this server".to_owned(), true)]
        );
        let refused = Setup::default().leave_out(&["operator".to_owned()]).unwrap_err();
        assert!(refused.starts_with("--without: \"operator\" cannot be left out"), "{refused}");
    }

    #[test]
    fn a_lame_duck_takes_half_a_minute_at_least_and_its_grace_is_shorter() {
        let slow = setup("lame_duck_duration: \"40s\", lame_duck_grace_period: 5");
        assert_eq!(slow.problems, []);
        assert_eq!((slow.process.lame_duck_ms, slow.process.lame_duck_grace_ms), (40_000, 5_000));
        assert!(setup("lame_duck_duration: \"10s\"").has_errors());
        assert!(setup("lame_duck_duration: \"30s\", lame_duck_grace_period: \"30s\"").has_errors());
    }

    #[test]
    fn clients_are_verified_by_authorities_or_the_server_does_not_start() {
        let files = "cert_file: c, key_file: k";
        let wholly = setup(&format!("tls {{ {files}, ca_file: a, verify: true }}"));
        assert_eq!(wholly.problems, []);
        assert_eq!(value(&wholly, "tls.client_ca"), Some("a"));
        assert_eq!(value(&wholly, "nats.tls"), Some("required"));
        assert!(setup(&format!("tls {{ {files}, verify: true }}")).has_errors());
        let unasked = setup(&format!("tls {{ {files}, ca_file: a }}"));
        assert!(!unasked.has_errors() && unasked.problems.len() == 1);
        assert_eq!(value(&unasked, "tls.client_ca"), None);
        assert!(setup("tls { verify: true, ca_file: a }").has_errors());
        let both = setup(&format!("allow_non_tls: true\ntls {{ {files} }}"));
        assert_eq!(value(&both, "nats.tls"), Some("optional"));
        for (delay, ms) in [("200ms", "200"), ("auto", "50")] {
            let first = setup(&format!("tls {{ {files}, handshake_first: {delay}, timeout: 0.3 }}"));
            assert_eq!(value(&first, "nats.tls"), Some("first"));
            assert_eq!(value(&first, "nats.tls_first_ms"), Some(ms));
            assert_eq!(value(&first, "nats.tls_wait_ms"), Some("300"));
        }
        assert!(setup(&format!("tls {{ {files}, handshake_first: soon }}")).has_errors());
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let setup = setup(
            "cluster { port: 1 }\nlogtime: false\nport: many\ntls { pinned_certs: [] }\nno_such: 1\nNAME = 1\nhttp: $NAME",
        );
        let said: Vec<String> = setup.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "1:0: cluster: is not supported by this server",
                "2:0: logtime: has no effect: log lines always have their time",
                "3:0: port: a port is expected",
                "4:6: tls.pinned_certs: is not supported by this server",
                "5:0: unknown field \"no_such\"",
                "tls: TLS needs a certificate and its key",
            ]
        );
        assert!(setup.has_errors());
    }
}
