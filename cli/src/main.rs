//! The stele binary: reads the command line and hands each verb to its file. Verbs return an exit code: 0 done, 1 it did not work or
//! something is wrong; 2 is the command line's own. Results go to standard output, logs and errors to standard error.

mod api;
mod args;
mod banner;
mod clock;
mod config;
mod demo;
mod doctor;
mod logs;
mod monitor;
mod nats_server;
#[cfg(feature = "outbox")]
mod outbox;
mod run;
mod signals;
mod version;

use args::{Args, Verb};
use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.verb {
        Verb::Dev(dev) => run::dev(&dev),
        Verb::Serve(serve) => run::serve(&serve),
        Verb::NatsServer { line } => nats_server::run(&line),
        Verb::Demo(demo) => demo::run(&demo),
        Verb::Verify { dir } => logs::verify(&dir),
        Verb::DumpLog { dir } => logs::dump(&dir),
        Verb::TruncateLog { dir, cut_from_block } => logs::truncate(&dir, cut_from_block),
        Verb::RebuildManifest { dir } => logs::rebuild(&dir),
        Verb::Doctor(doctor) => doctor::run(&doctor),
        Verb::Clock(clock) => clock::run(&clock),
        Verb::Config(verb) => config::run(&verb),
        #[cfg(feature = "outbox")]
        Verb::Outbox(verb) => outbox::run(verb),
        Verb::Version { json } => version::run(json),
    };
    match done {
        Ok(code) => code,
        // The reader of our output has seen enough, as in `stele … | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stele: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes to standard output at once.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
