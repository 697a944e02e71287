//! Lays flags over environment over file over defaults, remembers where each value came from, and collects everything that is
//! wrong instead of the first thing only.

use super::input::Input;
use super::{Config, SETTINGS, Setting, nearest};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// What the environment variables of settings start with.
const ENV_PREFIX: &str = "STELE__";

/// Most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// By the verb `dev`.
    Dev,
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// In a file that cannot be read.
    Unread(PathBuf),
    /// In an environment variable.
    Env(String),
    /// In a flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Dev => f.write_str("stele dev"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Unread(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value given by a flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as the user knows it, for example `--data-dir`.
    pub flag: String,
    /// The key it sets.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What is laid over the defaults, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What the verb `dev` says, see [`Config::dev`].
    pub dev: Vec<(&'static str, String)>,
    /// The file.
    pub file: Option<PathBuf>,
    /// The environment; variables of others are passed over.
    pub env: Vec<(String, String)>,
    /// The command line.
    pub flags: Vec<Flag>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

/// Everything that is wrong, in the order of the sources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Settings with their origins.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    origins: BTreeMap<Vec<String>, Origin>,
}

impl Loaded {
    /// Every setting as a line of TOML, secrets left out; with `origin`, each with where it was said.
    #[must_use]
    pub fn show(&self, origin: bool) -> String {
        let mut lines = Vec::new();
        for setting in SETTINGS {
            let names: Vec<&str> = if setting.key.contains("NAME") {
                super::settings::names(&self.config, setting.key)
            } else {
                vec![""]
            };
            for name in names {
                let path = path_of(setting, name);
                let from = self.origins.get(&path).unwrap_or(&Origin::Default);
                let line = match (setting.show)(&self.config, name) {
                    Some(value) => format!("{} = {value}", dotted(&path)),
                    None if *from == Origin::Default => continue,
                    None => format!("# {} is set, not shown", dotted(&path)),
                };
                lines.push(if origin { format!("{line:<60} # {from}") } else { line });
            }
        }
        lines.join("\n") + "\n"
    }

    /// Where a key was said.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        self.origins.get(&path).cloned().unwrap_or(Origin::Default)
    }
}

/// Loads all sources.
///
/// # Errors
/// Everything that is wrong in them: a file that cannot be read, keys that do not exist, values of the wrong type or out of
/// range, settings that contradict each other.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader::default();
    for (key, value) in &sources.dev {
        loader.set(&split(key), &Input::Text(value.clone()), Origin::Dev);
    }
    if let Some(path) = &sources.file {
        loader.file(path);
    }
    for (name, value) in &sources.env {
        if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            loader.set(&path, &Input::Text(value.clone()), Origin::Env(name.clone()));
        }
    }
    for Flag { flag, key, value } in &sources.flags {
        loader.set(&split(key), &Input::Text(value.clone()), Origin::Flag(flag.clone()));
    }
    loader.end()
}

/// Loads what a configuration file says, from its text. Places are told as if its path were empty.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader::default();
    loader.text(Path::new(""), text);
    loader.end()
}

#[derive(Default)]
struct Loader {
    loaded: Loaded,
    errors: Vec<ConfigError>,
}

impl Loader {
    fn wrong(&mut self, origin: Origin, reason: String) {
        self.errors.push(ConfigError { origin, reason });
    }

    fn set(&mut self, path: &[String], input: &Input, origin: Origin) {
        let Some((setting, name)) = find(path) else {
            return self.unknown(path, origin);
        };
        match (setting.read)(&mut self.loaded.config, name, input) {
            Ok(()) => {
                self.loaded.origins.insert(path.to_vec(), origin);
            }
            Err(reason) => self.wrong(origin, format!("`{}`: {reason}", dotted(path))),
        }
    }

    fn unknown(&mut self, path: &[String], origin: Origin) {
        let key = dotted(path);
        if is_section(path) {
            return self.wrong(origin, format!("`{key}` is a section, not a value"));
        }
        let candidates = candidates(path);
        let hint = nearest(&key, candidates.iter().map(String::as_str))
            .map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
        self.wrong(origin, format!("unknown key `{key}`{hint}"));
    }

    fn file(&mut self, path: &Path) {
        match read(path) {
            Ok(text) => self.text(path, &text),
            Err(reason) => self.wrong(Origin::Unread(path.to_owned()), reason),
        }
    }

    fn text(&mut self, path: &Path, text: &str) {
        let told = self.errors.len();
        let place = |offset: usize| {
            let (line, column) = line_column(text, offset);
            Origin::File { path: path.to_owned(), line, column }
        };
        match DeTable::parse(text) {
            Ok(table) => self.table(&mut Vec::new(), table.get_ref(), &place),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                self.wrong(place(offset), error.message().to_owned());
            }
        }
        self.errors[told..].sort_by_key(|error| match error.origin {
            Origin::File { line, column, .. } => (line, column),
            _ => (0, 0),
        });
    }

    fn table(&mut self, path: &mut Vec<String>, table: &DeTable<'_>, place: &dyn Fn(usize) -> Origin) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            let origin = place(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) if find(path).is_none() => {
                    if is_section(path) {
                        self.table(path, inner, place);
                    } else {
                        self.unknown(path, origin);
                    }
                }
                other => self.set(path, &input(other), origin),
            }
            path.pop();
        }
    }

    fn end(mut self) -> Result<Loaded, ConfigErrors> {
        if self.errors.is_empty() {
            self.contradictions();
        }
        if self.errors.is_empty() { Ok(self.loaded) } else { Err(ConfigErrors(self.errors)) }
    }

    /// What no single key can tell.
    fn contradictions(&mut self) {
        let config = self.loaded.config.clone();
        let mut wrong = |key: &str, reason: String| {
            let origin = self.loaded.origin(key);
            self.errors.push(ConfigError { origin, reason });
        };
        match &config.tls {
            Some(tls) => {
                for (path, key) in [(&tls.cert, "tls.cert"), (&tls.key, "tls.key")] {
                    if path.as_os_str().is_empty() {
                        let said = if key == "tls.cert" { "tls.key" } else { "tls.cert" };
                        wrong(said, format!("`[tls]` needs both certificate and key; `{key}` is missing"));
                        break;
                    }
                }
                for (said, key) in [
                    (tls.login_from.is_some(), "tls.login_from"),
                    (tls.client_may_lack, "tls.client_certificates"),
                ] {
                    if said && tls.client_ca.is_none() {
                        wrong(key, format!("`{key}` needs `tls.client_ca`"));
                    }
                }
            }
            None if config.listen.amqps.is_some() => {
                wrong("listen.amqps", "`listen.amqps` needs `tls.cert` and `tls.key`".into());
            }
            None => {}
        }
        if config.log.budget_bytes < 4 * config.log.segment_bytes {
            wrong(
                "log.budget_bytes",
                "`log.budget_bytes` is less than four times `log.segment_bytes`".into(),
            );
        }
        if config.kafka.group_session_ms_min > config.kafka.group_session_ms_max {
            wrong(
                "kafka.group_session_ms_min",
                "`kafka.group_session_ms_min` is more than `kafka.group_session_ms_max`".into(),
            );
        }
        for (first, second, address) in shared_addresses(&config) {
            wrong(second, format!("`{first}` and `{second}` are both {address}"));
        }
        for name in config.users.keys() {
            let said = |key: &str| self.loaded.origins.contains_key(&user_path(name, key));
            if said("password") && said("password_hash") {
                let origin = self.loaded.origins[&user_path(name, "password")].clone();
                let reason = format!("user `{name}` has both `password` and `password_hash`");
                self.errors.push(ConfigError { origin, reason });
            }
        }
    }
}

fn user_path(name: &str, key: &str) -> Vec<String> {
    ["auth", "users", name, key].map(str::to_owned).to_vec()
}

fn shared_addresses(config: &Config) -> Vec<(&'static str, &'static str, SocketAddr)> {
    let all = config.listen.all();
    let mut shared = Vec::new();
    for (i, (first, a)) in all.iter().enumerate() {
        for (second, b) in &all[i + 1..] {
            if let (Some(a), Some(b)) = (a, b)
                && a == b
                && a.port() != 0
            {
                shared.push((*first, *second, *a));
            }
        }
    }
    shared
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("could not read: {error}");
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("is {bytes} bytes; a configuration has at most {FILE_BYTES_MAX}"));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn input(value: &DeValue<'_>) -> Input {
    match value {
        DeValue::String(text) => Input::Text(text.to_string()),
        // TOML integers have 64 bits; what does not fit is told as text, which no number accepts.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Input::Text(number.as_str().to_owned()), Input::Integer),
        DeValue::Array(items) => {
            let words = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            });
            words.collect::<Option<_>>().map_or(Input::Other("an array of other things"), Input::List)
        }
        DeValue::Float(_) => Input::Other("a float"),
        DeValue::Boolean(_) => Input::Other("a boolean"),
        DeValue::Datetime(_) => Input::Other("a date"),
        DeValue::Table(_) => Input::Other("a table"),
    }
}

fn split(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

/// The setting a path names, and what stands for `NAME`.
fn find(path: &[String]) -> Option<(&'static Setting, &str)> {
    SETTINGS.iter().find_map(|setting| {
        let mut name = "";
        let mut pattern = setting.key.split('.');
        for segment in path {
            match pattern.next()? {
                "NAME" if !segment.is_empty() => name = segment,
                word if word == segment => {}
                _ => return None,
            }
        }
        pattern.next().is_none().then_some((setting, name))
    })
}

/// Some setting lies below this path.
fn is_section(path: &[String]) -> bool {
    SETTINGS.iter().any(|setting| {
        let pattern: Vec<&str> = setting.key.split('.').collect();
        pattern.len() > path.len()
            && pattern.iter().zip(path).all(|(word, segment)| *word == "NAME" || word == segment)
    })
}

/// What an unknown path may have been meant to be: settings and sections, `NAME` replaced by what the path has there.
fn candidates(path: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for setting in SETTINGS {
        let words: Vec<&str> = setting.key.split('.').collect();
        let words: Vec<&str> = words
            .iter()
            .enumerate()
            .map(|(i, word)| if *word == "NAME" { path.get(i).map_or(*word, String::as_str) } else { *word })
            .collect();
        for len in 1..=words.len() {
            let candidate = words[..len].join(".");
            // A section is meant only where a section was typed; and a name fits anything, so only what is before it can be meant.
            let named = setting.key.split('.').nth(len - 1) == Some("NAME");
            let is_near = !named || path.first().is_some_and(|typed| nearest(typed, [words[0]]).is_some());
            if (len == words.len() || (len == path.len() && is_near)) && !all.contains(&candidate) {
                all.push(candidate);
            }
        }
    }
    all
}

fn path_of(setting: &Setting, name: &str) -> Vec<String> {
    setting.key.split('.').map(|word| if word == "NAME" { name } else { word }.to_owned()).collect()
}

/// A path as a TOML key.
fn dotted(path: &[String]) -> String {
    let bare = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    let words = path
        .iter()
        .map(|word| if bare(word) { word.clone() } else { toml::Value::from(word.as_str()).to_string() });
    words.collect::<Vec<_>>().join(".")
}

fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
