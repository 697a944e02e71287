//! Where log lines go and how they look: standard error, as text on a terminal and as JSON elsewhere. Started once by the command
//! line, before anything else.
//!
//! Secrets are kept out at their types: what holds a password prints without it.

use crate::config::{LogFormat, Logging};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging for the process. The second call in a process changes nothing.
pub fn start(logging: &Logging) {
    let filter = EnvFilter::builder().parse_lossy(&logging.filter);
    let terminal = std::io::stderr().is_terminal();
    let text = match logging.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that the process has a subscriber already, which is then used.
    let _ = if text {
        builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

/// Can the filter be understood?
///
/// # Errors
/// The reason, in words for the operator.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::builder()
        .parse(filter)
        .map(|_| ())
        .map_err(|error| format!("\"{filter}\" is no log filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_makes_no_sense_is_refused_before_the_start() {
        check_filter("info,stele_server=debug").unwrap();
        let error = check_filter("info,stele_server=loud").unwrap_err();
        assert!(error.contains("stele_server=loud"), "{error}");
    }
}
