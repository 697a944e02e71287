//! `stele version`.

use crate::say;
use std::process::ExitCode;

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let version = serde_json::json!({
            "product": "stele",
            "version": VERSION,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        });
        say(&format!("{version}\n"))?;
    } else {
        say(&format!("stele {VERSION}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
