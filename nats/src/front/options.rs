//! nats-server's directives as settings of ours, and as what the process itself does.
//!
//! What must hold: every directive of a configuration is translated, or is among the [`Problem`]s: as an error if the server would be
//! another one without it (nats-server, too, refuses what it does not know), as a warning if it only tunes what works otherwise here.

use super::conf::{Block, Node, Value};
use crate::jet::time::{MILLISECOND, SECOND, parse_short};
use std::fmt;

/// The user that clients are who need not say who they are.
pub const ANYBODY: &str = "default";

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Where the monitoring endpoints are.
    pub monitor: Option<String>,
}

/// A directive that is not, or not wholly, translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The directive, with the blocks it stands in.
    pub directive: String,
    /// The line, if it stands in a file.
    pub line: Option<u32>,
    /// What is to be said.
    pub what: String,
    /// The server must not start.
    pub is_error: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}: {}", self.directive, self.what),
            None => write!(f, "{}: {}", self.directive, self.what),
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
    ("tls.timeout", "the time to log in bounds TLS as well"),
    ("tls.cipher_suites", "cipher suites are those of the TLS library"),
    ("tls.curve_preferences", "curves are those of the TLS library"),
];

impl Setup {
    fn problem(&mut self, directive: &str, line: Option<u32>, what: impl Into<String>, is_error: bool) {
        self.problems.push(Problem { directive: directive.to_owned(), line, what: what.into(), is_error });
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
            "authorization." => self.authorization(key, node),
            "jetstream." => self.jetstream(key, node),
            _ => Ok(false),
        };
        match done {
            Ok(true) => {}
            Err(why) => self.problem(&name, Some(node.line), why, true),
            Ok(false) => match WITHOUT_EFFECT.iter().find(|(known, _)| *known == name) {
                Some((_, why)) => {
                    self.problem(&name, Some(node.line), format!("has no effect: {why}"), false)
                }
                None => self.problem(&name, Some(node.line), "is not supported by this server", true),
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
                self.port = Some(port);
            }
            "host" | "net" => self.host = Some(text(node)?),
            "port" => self.port = Some(port(node)?),
            "http" | "monitor" => {
                let (host, port) = endpoint(node)?;
                self.http_host = host;
                self.http_port = Some(port);
            }
            "http_port" | "monitor_port" => self.http_port = Some(port(node)?),
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
            "no_auth_user" => self.no_auth_user = Some(text(node)?),
            "tls" => return self.block("tls.", node),
            "authorization" | "auth" => return self.block("authorization.", node),
            "jetstream" => return self.jetstream_as_a_whole(node),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tls(&mut self, key: &str, node: &Node) -> Result<bool, String> {
        match key {
            "cert_file" => self.set("tls.cert", text(node)?, "tls.cert_file"),
            "key_file" => self.set("tls.key", text(node)?, "tls.key_file"),
            // Authorities are asked for only if clients are verified; without that they say nothing here.
            "ca_file" => self.set("tls.client_ca", text(node)?, "tls.ca_file"),
            "verify" => {
                if !truth(node)? {
                    self.settings.retain(|setting| setting.key != "tls.client_ca");
                }
            }
            "handshake_first" | "first" | "immediate" => {
                if truth(node).unwrap_or(true) {
                    self.set("nats.tls", "first", "tls.handshake_first");
                }
            }
            _ => return Ok(false),
        }
        if !self.settings.iter().any(|setting| setting.key == "nats.tls") {
            self.set("nats.tls", "required", "tls");
        }
        Ok(true)
    }

    fn authorization(&mut self, key: &str, node: &Node) -> Result<bool, String> {
        match key {
            "user" | "username" => {
                let user = text(node)?;
                self.user(&user, None);
            }
            "password" | "pass" => {
                // It belongs to the user of the same block, which may come before or after it.
                let password = text(node)?;
                self.set("", password, "authorization.password");
            }
            "token" => self.token(&text(node)?),
            "timeout" => self.set("nats.auth_timeout_ms", ms(node)?, "authorization.timeout"),
            "users" => {
                let Value::List(users) = &node.value else { return Err("an array is expected".to_owned()) };
                for user in users {
                    self.listed_user(user)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn listed_user(&mut self, node: &Node) -> Result<(), String> {
        let Value::Block(block) = &node.value else { return Err("users are blocks".to_owned()) };
        let of = |keys: &[&str]| keys.iter().find_map(|key| block.get(key)).map(text).transpose();
        let (name, key) = (of(&["user", "username"])?, of(&["nkey"])?);
        let Some(user) = name.or_else(|| key.clone()) else { return Err("a user has no name".to_owned()) };
        self.user(&user, of(&["password", "pass"])?.as_deref());
        if let Some(key) = key {
            self.set(&format!("auth.users.{user}.nats_nkey"), key, "nkey");
        }
        for (key, node) in &block.0 {
            match key.as_str() {
                "user" | "username" | "password" | "pass" | "nkey" => {}
                "permissions" | "permission" | "authorization" => self.permissions(&user, node)?,
                other => {
                    let name = format!("authorization.users.{other}");
                    self.problem(&name, Some(node.line), "is not supported by this server", true);
                }
            }
        }
        Ok(())
    }

    /// What a user may publish to and subscribe to.
    fn permissions(&mut self, user: &str, node: &Node) -> Result<(), String> {
        let Value::Block(block) = &node.value else { return Err("permissions are a block".to_owned()) };
        for (key, node) in &block.0 {
            let what = match key.as_str() {
                "publish" | "pub" | "import" => "publish",
                "subscribe" | "sub" | "export" => "subscribe",
                other => {
                    let name = format!("authorization.users.permissions.{other}");
                    self.problem(&name, Some(node.line), "is not supported by this server", true);
                    continue;
                }
            };
            match &node.value {
                Value::Block(lists) => {
                    for (list, node) in &lists.0 {
                        if list != "allow" && list != "deny" {
                            return Err(format!("{list:?} is neither allow nor deny"));
                        }
                        self.set(
                            &format!("auth.users.{user}.nats_{what}_{list}"),
                            subjects(node)?,
                            "permissions",
                        );
                    }
                }
                _ => {
                    self.set(&format!("auth.users.{user}.nats_{what}_allow"), subjects(node)?, "permissions")
                }
            }
        }
        Ok(())
    }

    /// A token stands for a user of its own.
    pub fn token(&mut self, token: &str) {
        self.user("token", None);
        self.set("auth.users.token.nats_token", token, "token");
    }

    /// Somebody who may log in.
    pub fn user(&mut self, user: &str, password: Option<&str>) {
        self.has_users = true;
        let key = format!("auth.users.{user}.tags");
        self.set(&key, "", "user");
        if let Some(password) = password {
            self.password(user, password);
        }
    }

    fn password(&mut self, user: &str, password: &str) {
        let is_bcrypt = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|mark| password.starts_with(mark));
        if is_bcrypt {
            let what = "passwords as bcrypt hashes are not supported by this server";
            return self.problem(&format!("password of {user}"), None, what, true);
        }
        self.set(&format!("auth.users.{user}.password"), password, "password");
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

    /// Where the monitoring endpoints are.
    pub fn monitor(&mut self, port: u16) {
        self.http_port = Some(port);
    }

    /// Everything is said: addresses are put together, and who may come in without a name.
    pub fn finish(&mut self) {
        let host = self.host.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let port = self.port.unwrap_or(4222);
        self.set("listen.nats", address(&host, port), "listen");
        self.process.monitor =
            self.http_port.map(|port| address(self.http_host.as_ref().unwrap_or(&host), port));
        self.join_password();
        let anybody = match self.no_auth_user.clone() {
            Some(user) => Some(user),
            None if self.has_users => None,
            None => {
                self.set(&format!("auth.users.{ANYBODY}.tags"), "", "nobody is named");
                Some(ANYBODY.to_owned())
            }
        };
        if let Some(user) = anybody {
            self.set("nats.anonymous", user, "no_auth_user");
        }
    }

    /// A password that stands beside its user.
    fn join_password(&mut self) {
        let Some(at) = self.settings.iter().rposition(|setting| setting.key.is_empty()) else { return };
        let password = self.settings.remove(at).value;
        self.settings.retain(|setting| !setting.key.is_empty());
        let user = self.settings.iter().find_map(|setting| {
            Some(setting.key.strip_prefix("auth.users.")?.strip_suffix(".tags")?.to_owned())
        });
        match user {
            Some(user) => self.password(&user, &password),
            None => self.problem("authorization.password", None, "there is no user for it", true),
        }
    }
}

fn address(host: &str, port: u16) -> String {
    // Port −1 of nats-server is 0 here: any that is free.
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

fn text(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::List(_) | Value::Block(_) => Err("a text is expected".to_owned()),
    }
}

/// One subject, or several, as words between commas.
fn subjects(node: &Node) -> Result<String, String> {
    let Value::List(nodes) = &node.value else { return text(node) };
    Ok(nodes.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(","))
}

fn truth(node: &Node) -> Result<bool, String> {
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

/// A port; −1 stands for any that is free.
fn port(node: &Node) -> Result<u16, String> {
    match &node.value {
        Value::Int(-1) => Ok(0),
        Value::Int(number) => u16::try_from(*number).map_err(|_| format!("{number} is no port")),
        _ => Err("a port is expected".to_owned()),
    }
}

/// `host:port` or `port`.
fn endpoint(node: &Node) -> Result<(Option<String>, u16), String> {
    let Value::Text(text) = &node.value else { return Ok((None, port(node)?)) };
    let (host, number) = text.rsplit_once(':').ok_or("host and port are expected")?;
    let number: i64 = number.parse().map_err(|_| format!("{number:?} is no port"))?;
    let port = port(&Node { line: node.line, value: Value::Int(number) })?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(((!host.is_empty()).then(|| host.to_owned()), port))
}

/// A duration, or seconds, in whole milliseconds.
fn ms(node: &Node) -> Result<String, String> {
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

#[cfg(test)]
mod tests {
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

    fn setup(text: &str) -> Setup {
        let mut setup = Setup::default();
        setup.read(&parse(text, &Nothing).unwrap());
        setup.finish();
        setup
    }

    fn value<'s>(setup: &'s Setup, key: &str) -> Option<&'s str> {
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
        assert_eq!(setup.process.monitor.as_deref(), Some("127.0.0.1:8222"));
        assert_eq!(value(&setup, "nats.payload_bytes_max"), Some("2097152"));
        assert_eq!(value(&setup, "nats.ping_interval_ms"), Some("20"));
        assert_eq!(value(&setup, "data_dir"), Some("/tmp/x"));
        assert_eq!(value(&setup, "nats.anonymous"), Some(ANYBODY));
        assert!(setup.process.jetstream && setup.process.debug);
    }

    #[test]
    fn users_are_named_in_both_ways() {
        let one = setup("authorization { password: \"s3cret\", user: derek, timeout: 1 }");
        assert_eq!(value(&one, "auth.users.derek.password"), Some("s3cret"));
        assert_eq!(value(&one, "nats.auth_timeout_ms"), Some("1000"));
        assert_eq!(value(&one, "nats.anonymous"), None);
        let many = setup(
            "authorization { users = [ {user: a, password: b}, {nkey: UX, permissions: {publish: [\"x.>\", y], sub: {deny: z}}} ] }\n\
             no_auth_user: a",
        );
        assert_eq!(value(&many, "auth.users.a.password"), Some("b"));
        assert_eq!(value(&many, "auth.users.UX.nats_nkey"), Some("UX"));
        assert_eq!(value(&many, "auth.users.UX.nats_publish_allow"), Some("x.>,y"));
        assert_eq!(value(&many, "auth.users.UX.nats_subscribe_deny"), Some("z"));
        assert_eq!(value(&many, "nats.anonymous"), Some("a"));
    }

    #[test]
    fn a_bcrypt_hash_is_not_taken_for_a_password() {
        let hashed = setup("authorization { user: a, password: $2a$11$x }");
        assert!(hashed.has_errors() && value(&hashed, "auth.users.a.password").is_none());
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let setup = setup("cluster { port: 1 }\nlogtime: false\nport: many\ntls { pinned_certs: [] }");
        let said: Vec<String> = setup.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "line 1: cluster: is not supported by this server",
                "line 2: logtime: has no effect: log lines always have their time",
                "line 3: port: a port is expected",
                "line 4: tls.pinned_certs: is not supported by this server",
            ]
        );
        assert!(setup.has_errors());
    }
}
