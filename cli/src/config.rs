//! `stele config`, and how verbs collect the sources of their settings.

use crate::args::{ConfigVerb, Dev, Serve};
use crate::say;
use anyhow::Context as _;
use std::path::Path;
use std::process::ExitCode;
use stele_server::config::{Config, Flag, Loaded, Sources, load, ports};

pub(crate) fn run(verb: &ConfigVerb) -> anyhow::Result<ExitCode> {
    match verb {
        ConfigVerb::Check(serve) => {
            let loaded = load(&sources(serve))?;
            let said = serve.config.as_ref().map_or("defaults".into(), |path| path.display().to_string());
            let warning = warning(&loaded.config).map_or(String::new(), |text| format!("note: {text}\n"));
            say(&format!("{said}: in order\n{warning}"))?;
        }
        ConfigVerb::Show { sources: serve, origin } => say(&load(&sources(serve))?.show(*origin))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is allowed and probably not meant.
pub(crate) fn warning(config: &Config) -> Option<&'static str> {
    config.users.is_empty().then_some("no users are configured; only those in the data directory can log in")
}

/// What `serve` and `config` lay over the defaults.
pub(crate) fn sources(serve: &Serve) -> Sources {
    Sources {
        dev: Vec::new(),
        file: serve.config.clone(),
        env: env(),
        flags: flags(serve.data_dir.as_deref(), &serve.set),
    }
}

/// The settings of `stele dev`.
///
/// # Errors
/// A port above 65 535, anything wrong in environment or flags, or an address that is not loopback: `guest` has a known password.
pub(crate) fn dev(dev: &Dev) -> anyhow::Result<Loaded> {
    let too_far = || format!("--port-offset {}: a port would be above 65535", dev.port_offset);
    let mut flags = flags(dev.data_dir.as_deref(), &dev.set);
    if let (Some(cert), Some(key)) = (&dev.tls_cert, &dev.tls_key) {
        let port = ports::AMQPS.checked_add(dev.port_offset).with_context(too_far)?;
        flags.push(flag("--tls-cert", "tls.cert", &cert.to_string_lossy()));
        flags.push(flag("--tls-key", "tls.key", &key.to_string_lossy()));
        flags.push(flag("--tls-cert", "listen.amqps", &format!("127.0.0.1:{port}")));
    }
    let sources =
        Sources { dev: Config::dev(dev.port_offset).with_context(too_far)?, file: None, env: env(), flags };
    let loaded = load(&sources)?;
    for (key, address) in loaded.config.listen.all() {
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            let origin = loaded.origin(key);
            anyhow::bail!(
                "{origin}: `stele dev` listens on loopback only, not on {address}; use `stele serve`"
            );
        }
    }
    Ok(loaded)
}

/// Another `--port-offset` to try where one of these ports is taken.
pub(crate) fn other_offset(port_offset: u16) -> u16 {
    const STEP: u16 = 1000;
    let other = port_offset.saturating_add(STEP);
    if Config::dev(other).is_some() { other } else { STEP }
}

fn env() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

fn flags(data_dir: Option<&Path>, set: &[(String, String)]) -> Vec<Flag> {
    let set = set.iter().map(|(key, value)| flag("--set", key, value));
    let dir = data_dir.map(|dir| flag("--data-dir", "data_dir", &dir.to_string_lossy()));
    set.chain(dir).collect()
}

fn flag(flag: &str, key: &str, value: &str) -> Flag {
    Flag { flag: flag.into(), key: key.into(), value: value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_offset_is_another_and_leaves_every_port_below_65536() {
        for (taken, other) in [(0, 1000), (1000, 2000), (49_000, 1000), (u16::MAX, 1000)] {
            assert_eq!(other_offset(taken), other);
        }
    }
}
