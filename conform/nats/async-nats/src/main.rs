//! The conformance cases that async-nats can express. Prints one line of JSON per case; `cargo xtask conform nats` reads them.
//!
//! The same rules as for the other clients: a case prints what it observed, not whether that was right, and gives the answer that every
//! client gives. Nothing of ours is linked in.
#![expect(clippy::print_stdout, reason = "the answers go to standard output")]

mod buckets;
mod core;
mod rig;
mod streams;

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};

use crate::rig::{Case, Rig};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    url: String,
    /// Not used.
    #[arg(long)]
    server: Option<String>,
    /// Not used.
    #[arg(long)]
    tls: Option<String>,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cases = core::CASES.iter().chain(streams::CASES).chain(buckets::CASES);
    for case in
        cases.filter(|case| arguments.only.is_empty() || arguments.only.iter().any(|name| name == case.name))
    {
        let answer = runtime.block_on(answer(case, &arguments.url))?;
        println!("{}", json!({ "case": case.name, "answer": answer }));
    }
    Ok(())
}

async fn answer(case: &Case, url: &str) -> Result<Value> {
    let rig = Rig::new(case.name, url).await?;
    let answer = match (case.run)(rig.clone()).await {
        Ok(answer) => answer,
        Err(error) => json!({ "broken": format!("{error:#}") }), // an answer that differs
    };
    rig.clean().await;
    Ok(answer)
}
