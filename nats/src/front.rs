//! nats-server's way of being set up: its configuration language, its directives and its command line, translated into our settings.
//!
//! Called by the command line's `nats-server` verb, and [`query`] by the monitoring port. A translator, not a second configuration: what comes out are keys and values of
//! the server's own settings, and what the process itself does (files, log lines). What must hold: a directive that is not supported
//! is named, never passed over ([`options::Problem`]).
//!
//! Not here: reading files and environment (the caller hands them in), what the settings mean.

pub mod args;
pub mod conf;
pub mod options;
pub mod query;
mod users;

/// Whether a password is written as its bcrypt hash, by nats-server's rule: a mark, two digits, and something.
#[must_use]
pub fn is_bcrypt(password: &str) -> bool {
    let marked = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().find_map(|mark| password.strip_prefix(mark));
    let cost = marked.and_then(|rest| rest.split_once('$')).map(|(cost, _)| cost.as_bytes());
    matches!(cost, Some([a, b]) if a.is_ascii_digit() && b.is_ascii_digit())
}
