//! The project's chores, one command each: `cargo xtask test | arrows | tidy | conform | codegen | fuzz | ci`.
//!
//! Called by people and by `.ci/run`. Every chore ends non-zero when it found something, and names it on standard error. Nothing here
//! is linked into the broker, and nothing here knows a wire format: the conformance scripts do, and this crate only compares answers.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod arrows;
mod broker;
mod bus;
mod codegen;
mod command;
mod conform;
mod crossing;
mod fuzz;
mod guard;
mod limit;
mod programs;
mod provision;
mod step;
mod suite;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that proves the project, step by step; closes with "N passed, N failed".
    Test(suite::Options),
    /// The same as `test`, with the settings of continuous integration.
    Ci,
    /// Check that crates depend on each other only along the allowed arrows.
    Arrows,
    /// Check file headers, banned words, links in documents and the length of files.
    Tidy,
    /// Exchange every kind of the bus's messages with peers in Python and JavaScript that share no code with it.
    ConformBus(bus::Options),
    /// Send records between the dialects with their official clients, by every row of `docs/dialects/crossing.md`.
    ConformCrossing(crossing::Options),
    /// Run the official clients of a dialect and compare what they observe with what the real broker answers.
    Conform(conform::Options),
    /// Write the code that is made from a protocol's own definitions.
    Codegen(codegen::Options),
    /// Look for inputs that break a decoder, guided by what each input reaches (`fuzz/`).
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended =
        if guard::is_guarded() { run(arguments.chore).map(|()| ExitCode::SUCCESS) } else { guard::run() };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}"); // a finding, not a bug of ours: no backtrace
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    let workspace = Workspace::find()?;
    match chore {
        Chore::Test(options) => suite::run(&workspace, &options),
        Chore::Ci => suite::run(&workspace, &suite::Options::ci()),
        Chore::Arrows => arrows::check(&workspace),
        Chore::Tidy => tidy::check(&workspace),
        Chore::ConformBus(options) => bus::run(&workspace, &options),
        Chore::ConformCrossing(options) => crossing::run(&workspace, &options),
        Chore::Conform(options) => conform::run(&workspace, &options),
        Chore::Codegen(options) => codegen::run(&workspace, &options),
        Chore::Fuzz(options) => fuzz::run(&workspace, &options),
    }
}
