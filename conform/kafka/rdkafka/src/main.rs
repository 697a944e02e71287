//! The conformance cases that rust-rdkafka can express. Prints one line of JSON per case; `cargo xtask conform kafka` reads them.
//!
//! The same rules as in `../python/rig.py`, so that the same case gives the same answer: a case prints what it observed, not whether that
//! was right. Nothing of ours is linked in.

mod groups;
mod records;
mod rig;
mod secure;
mod topics;

use anyhow::Result;
use clap::Parser;
use serde_json::json;

use crate::rig::{Case, Rig};

/// Where the broker is: plainly, where a login is wanted, and both again with TLS, under an authority.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    sasl: Option<String>,
    #[arg(long)]
    tls: Option<String>,
    #[arg(long)]
    sasl_tls: Option<String>,
    #[arg(long)]
    ca: Option<String>,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

impl Arguments {
    fn has_what_is_needed(&self, case: &Case) -> bool {
        match case.name.split('_').next() {
            Some("sasl") => self.sasl.is_some(),
            Some("tls") => self.tls.is_some(),
            _ => true,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let chosen =
        |case: &&Case| arguments.only.is_empty() || arguments.only.iter().any(|name| name == case.name);
    let cases = topics::CASES.iter().chain(records::CASES).chain(groups::CASES).chain(secure::CASES);
    for case in cases.filter(chosen).filter(|case| arguments.has_what_is_needed(case)) {
        let mut rig = Rig::new(case.name, &arguments, &runtime)?;
        let seen = match (case.run)(&mut rig) {
            Ok(answer) => json!({ "case": case.name, "answer": answer }),
            // An answer that differs.
            Err(error) => {
                let why = format!("{error:?}");
                json!({ "case": case.name, "answer": { "broken": format!("{error:#}") }, "why": why })
            }
        };
        rig.close();
        println!("{seen}");
    }
    Ok(())
}
