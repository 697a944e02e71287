//! The command line as types.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// One durable log, many dialects: a message broker for the clients of RabbitMQ, Kafka and NATS.
#[derive(Debug, Parser)]
#[command(name = "stele", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a broker for development: loopback only, user guest with password guest.
    Dev(Dev),
    /// Run a broker as configured.
    Serve(Serve),
    /// Run a broker that is set up as nats-server is: its options and its configuration files.
    #[command(disable_help_flag = true)]
    NatsServer {
        /// As nats-server takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        line: Vec<String>,
    },
    /// Let a small shop talk through a broker, and count every order through to its end.
    Demo(Demo),
    /// Check the logs of a data directory, offline, and name what is damaged.
    Verify {
        /// A data directory, or one log in it.
        dir: PathBuf,
    },
    /// Print the logs of a data directory, offline, block by block.
    DumpLog {
        /// A data directory, or one log in it.
        dir: PathBuf,
    },
    /// Give up the damaged end of a log, offline. Without the flag: say what that would take away.
    TruncateLog {
        /// One log: registry or shard-N in a data directory.
        dir: PathBuf,
        /// Really do it. The number is that of the block that the damage begins with, as this command says without the flag.
        #[arg(long, value_name = "BLOCK")]
        cut_from_block: Option<u64>,
    },
    /// Make a lost or damaged manifest again from the segments of a log, offline.
    RebuildManifest {
        /// One log: registry or shard-N in a data directory.
        dir: PathBuf,
    },
    /// Look at what this machine offers a broker: ports, handles, disk.
    Doctor(Doctor),
    /// Ask a running broker whether it trusts the wall clock.
    Clock(Clock),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Take committed rows out of an outbox table and publish them, in order.
    #[cfg(feature = "outbox")]
    #[command(subcommand)]
    Outbox(crate::outbox::Verb),
    /// Print the version.
    Version {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Dev {
    /// Where everything durable lives [default: stele-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Add this to every port, to run beside another broker.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port_offset: u16,
    /// PEM file: certificate chain; turns on TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file: private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Set any key of the configuration.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Serve {
    /// The configuration.
    #[arg(long, value_name = "FILE", env = "STELE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where everything durable lives.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Set any key of the configuration.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// How long orders are placed, such as 20s, 500ms or 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub(crate) time: Duration,
    /// Orders placed per second, 1 – 10000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Use this broker instead of starting one, by AMQP alone. Objects named stele-demo.* are made there and removed again.
    #[arg(long, value_name = "amqp://…")]
    pub(crate) url: Option<String>,
    /// Where the HTTP API of that broker is [default: its host, AMQP port + 10000].
    #[arg(long, value_name = "HOST:PORT", requires = "url")]
    pub(crate) api: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// The directory to look at.
    #[arg(long, value_name = "DIR", default_value = "stele-data")]
    pub(crate) data_dir: PathBuf,
    /// As in `stele dev`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port_offset: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Clock {
    /// Where the broker's HTTP API is.
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:15672")]
    pub(crate) api: String,
    /// Who asks. To confirm takes an administrator.
    #[arg(long, global = true, value_name = "NAME", default_value = "guest")]
    pub(crate) user: String,
    /// The user's password.
    #[arg(
        long,
        global = true,
        env = "STELE_API_PASSWORD",
        hide_env_values = true,
        default_value = "guest",
        hide_default_value = true
    )]
    pub(crate) password: String,
    #[command(subcommand)]
    pub(crate) verb: Option<ClockVerb>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ClockVerb {
    /// Say that the wall clock has rightly jumped: what is old by it goes now.
    Confirm,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Report everything that is wrong; exit with 1 if anything is.
    Check(Serve),
    /// Print every setting as TOML, secrets left out.
    Show {
        #[command(flatten)]
        sources: Serve,
        /// Where each value was said.
        #[arg(long)]
        origin: bool,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, as in limits.heartbeat_s=30")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Longest time of a demo.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let found = units.iter().find_map(|(unit, ms)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_millis(number.checked_mul(*ms)?))
    });
    let duration = found.ok_or("expected a number with ms, s, m or h, as in 20s")?;
    if duration.is_zero() || duration > DURATION_MAX {
        return Err("expected more than nothing and at most 24h".into());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_take_a_number_and_a_unit() {
        for (text, ms) in [("20s", 20_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "20", "s", "-1s", "0s", "25h", "99999999999999999999h", "1.5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
