//! `stele-bench bus`: what the bus costs per message over hand-written code; how fast an outbox in Postgres is drained, how late a row
//! arrives, what its insert costs, how fast a consumer with inbox and outbox is; how long a user's crate takes to build. A private Postgres
//! on this machine with its defaults (`fsync` on), and any broker.
//!
//! Unlike the rest of this crate it runs the project's own library, since that is what is measured; what arrived is counted and its order
//! checked by a consumer of its own.

mod build;
mod consumer;
mod dispatch;
mod drain;
mod insert;
mod latency;
mod setting;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::client::Url;
use crate::report::number;
use crate::server::{Started, binary};
use setting::Setting;

/// What is measured.
#[derive(Args)]
pub(crate) struct Options {
    /// A running broker; without it a Stele is started.
    #[arg(long)]
    broker: Option<Url>,
    /// The binary to start; by default the one beside this command or in target/release.
    #[arg(long)]
    stele_bin: Option<PathBuf>,
    /// Added to every port of a Stele started here.
    #[arg(long, default_value_t = 2_500)]
    port_offset: u16,
    /// Rows of the backlog that is drained.
    #[arg(long, default_value_t = 200_000)]
    rows: u32,
    /// Aggregates that they belong to.
    #[arg(long, default_value_t = 1_000)]
    aggregates: u32,
    /// Messages that consumers handle.
    #[arg(long, default_value_t = 20_000)]
    messages: u32,
    /// Seconds per kind of insert.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Only these.
    #[arg(long, value_delimiter = ',', value_parser = ["dispatch", "drain", "latency", "insert", "consumer", "build"])]
    only: Vec<String>,
}

/// A figure with what it should be.
struct Figure {
    name: &'static str,
    values: Vec<f64>,
    unit: &'static str,
    aim: Option<Aim>,
}

#[derive(Clone, Copy)]
enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

/// Runs all and prints them. Fails if something was lost, doubled or out of order.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        options.rows >= 1_000 && options.aggregates >= 1 && options.messages >= 100,
        "too little to measure"
    );
    let started = match &options.broker {
        Some(_) => None,
        None => Some(Started::stele(
            &binary(options.stele_bin.clone())?,
            &std::env::temp_dir(),
            options.port_offset,
        )?),
    };
    let url = match (&options.broker, &started) {
        (Some(url), _) => url.clone(),
        (None, Some((_, server))) => server.url.clone(),
        (None, None) => unreachable!("one of both"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut figures: Vec<Figure> = Vec::new();
    for round in 1..=options.rounds {
        let mut found: Vec<Figure> = Vec::new();
        if wanted("dispatch") {
            found.extend(dispatch::run(&url, options.messages)?);
        }
        if wanted("build") && round == 1 {
            found.extend(build::run()?);
        }
        runtime.block_on(async {
            if ["drain", "latency", "insert", "consumer"].iter().all(|name| !wanted(name)) {
                return Ok(());
            }
            let setting = Setting::open(&url).await?;
            if wanted("drain") {
                found.extend(drain::run(&setting, options.rows, options.aggregates).await?);
            }
            if wanted("latency") {
                found.extend(latency::run(&setting).await?);
            }
            if wanted("insert") {
                found.extend(insert::run(&setting, options.seconds).await?);
            }
            if wanted("consumer") {
                found.extend(consumer::run(&setting, options.messages).await?);
            }
            anyhow::Ok(())
        })?;
        for figure in found {
            println!("round {round}: {:<52} {:>12} {}", figure.name, number(figure.values[0]), figure.unit);
            match figures.iter_mut().find(|known| known.name == figure.name) {
                Some(known) => known.values.extend(figure.values),
                None => figures.push(figure),
            }
        }
    }
    println!();
    for figure in figures {
        let median = crate::report::median(figure.values);
        let verdict = match figure.aim {
            None => String::new(),
            Some(Aim::AtLeast(aim)) => format!("aim ≥ {} – {}", number(aim), word(median >= aim)),
            Some(Aim::AtMost(aim)) => format!("aim ≤ {} – {}", number(aim), word(median <= aim)),
        };
        println!("{:<52} {:>12} {:<8} {verdict}", figure.name, number(median), figure.unit);
    }
    Ok(())
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn figure(name: &'static str, value: f64, unit: &'static str, aim: Option<Aim>) -> Figure {
    Figure { name, values: vec![value], unit, aim }
}
