//! The attacks, as a table. Each makes so many attempts, many at a time, and tells how they ended; an attempt that did not end well is an error.

mod broken;
mod claim;
mod deaf;
mod flood;
mod login;
mod stall;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use anyhow::{Context, Result};
use stele_testkit::random::Random;
use tokio::task::JoinSet;

/// Attempts that are under way at the same time.
const TOGETHER_MAX: u32 = 100;

/// One way to be a bad client.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// How many attempts are made.
    pub(crate) count: u32,
    pub(crate) run: fn(SocketAddr, u32, u64) -> Running,
}

/// An attack under way.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Outcome>>>>;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "broken-frames",
        count: 2_000,
        run: |address, count, seed| each(address, count, seed, broken::attempt),
    },
    Attack {
        name: "oversized-claims",
        count: 300,
        run: |address, count, seed| each(address, count, seed, claim::attempt),
    },
    Attack {
        name: "wrong-login",
        count: 300,
        run: |address, count, seed| each(address, count, seed, login::attempt),
    },
    Attack {
        name: "half-open",
        count: 100,
        run: |address, count, seed| each(address, count, seed, stall::half_open),
    },
    Attack { name: "slow", count: 100, run: |address, count, seed| each(address, count, seed, stall::slow) },
    Attack {
        name: "deaf-consumer",
        count: 10,
        run: |address, count, seed| each(address, count, seed, deaf::attempt),
    },
    Attack {
        name: "open-and-drop",
        count: 10_000,
        run: |address, count, seed| each(address, count, seed, flood::attempt),
    },
];

/// How the attempts ended, counted.
#[derive(Default)]
pub(crate) struct Outcome(BTreeMap<String, u32>);

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(end, count)| format!("{end} {count}")).collect();
        formatter.write_str(&parts.join(", "))
    }
}

/// Make all attempts, each with a random source of its own; the first that goes wrong ends the attack.
fn each<F>(address: SocketAddr, count: u32, seed: u64, attempt: fn(SocketAddr, u32, Random) -> F) -> Running
where
    F: Future<Output = Result<&'static str>> + Send + 'static,
{
    Box::pin(async move {
        let mut outcome = Outcome::default();
        let mut tasks = JoinSet::new();
        for number in 0..count {
            if number >= TOGETHER_MAX {
                note(&mut outcome, tasks.join_next().await)?;
            }
            let random = Random::new(seed.wrapping_add(u64::from(number)));
            tasks.spawn(async move {
                attempt(address, number, random).await.with_context(|| format!("attempt {number}"))
            });
        }
        while let Some(ended) = tasks.join_next().await {
            note(&mut outcome, Some(ended))?;
        }
        Ok(outcome)
    })
}

fn note(
    outcome: &mut Outcome,
    ended: Option<Result<Result<&'static str>, tokio::task::JoinError>>,
) -> Result<()> {
    let end = ended.context("wait for an attempt")???;
    *outcome.0.entry(end.to_owned()).or_default() += 1;
    Ok(())
}
