//! Runs seeds and reports those that fail: `cargo run --release -p stele-sim -- --seeds 100`.
//!
//! Exit code 0 if every seed passed; 1 if one failed; 2 if the arguments are wrong.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use stele_sim::mutant::{self, MUTANTS};
use stele_sim::world::{Buffers, Options, Report, run};

/// One seed in so many is run twice, and both runs must have done the same.
const TWICE_ONE_IN: u64 = 10;

struct Arguments {
    seeds: u64,
    from: u64,
    threads: u64,
    options: Options,
}

const USAGE: &str = "usage: stele-sim [--seeds N] [--from S] [--mutant NAME] [--steps M] \
                     [--buffers one|normal|mixed] [--threads T] [--verbose]";

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n{USAGE}\nmutants: {}", names());
            return ExitCode::from(2);
        }
    };
    // A panic is a failure of its seed like any other; it is reported with it.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("panic at {at}");
    }));
    let failed = run_all(&arguments);
    println(&format!("{} passed, {failed} failed", arguments.seeds - failed));
    ExitCode::from(u8::from(failed > 0))
}

/// Runs all seeds on several threads; a run itself is on one. Returns how many failed.
fn run_all(arguments: &Arguments) -> u64 {
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let printing = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= arguments.seeds {
                        return;
                    }
                    let report = run_one(arguments.from + n, &arguments.options);
                    if !report.failures.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let _one_at_a_time = printing.lock();
                        print(&report);
                    }
                }
            });
        }
    });
    failed.into_inner()
}

fn run_one(seed: u64, options: &Options) -> Report {
    let mut report = run(seed, options);
    if seed.is_multiple_of(TWICE_ONE_IN) && report.failures.is_empty() {
        let again = run(seed, options);
        if (again.hash, again.steps) != (report.hash, report.steps) {
            report.failures.push(("W14", "two runs of this seed differ".to_owned()));
        }
    }
    report
}

fn print(report: &Report) {
    println(&format!(
        "seed {} fails after {} steps, {} restarts:",
        report.seed, report.steps, report.restarts
    ));
    report.trace.iter().for_each(|line| println(&format!("    {line}")));
    report
        .failures
        .iter()
        .for_each(|(rule, what)| println(&format!("  seed {} {rule}: {what}", report.seed)));
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn println(line: &str) {
    println!("{line}");
}

fn names() -> String {
    let names: Vec<_> = MUTANTS.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { seeds: 100, from: 1, threads: 2, options: Options::default() };
    while let Some(word) = words.next() {
        if word == "--verbose" {
            arguments.options.verbose = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} wants a number, not '{value}'"));
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--steps" => arguments.options.steps = number()?,
            "--threads" => arguments.threads = number()?.clamp(1, 64),
            "--mutant" => {
                let mutant = mutant::named(&value).ok_or_else(|| format!("no mutant '{value}'"))?;
                arguments.options.mutant = Some(mutant);
            }
            "--buffers" => {
                arguments.options.buffers = match value.as_str() {
                    "one" => Buffers::One,
                    "normal" => Buffers::Normal,
                    "mixed" => Buffers::Mixed,
                    _ => return Err(format!("--buffers is one, normal or mixed, not '{value}'")),
                };
            }
            _ => return Err(format!("unknown argument '{word}'")),
        }
    }
    Ok(arguments)
}
