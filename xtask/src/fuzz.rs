//! `cargo xtask fuzz`: coverage-guided fuzzing of every decoder, by libFuzzer, with the project's own compiler.
//!
//! Builds the workspace in `fuzz/` with the counters that libFuzzer reads, and runs one target after the other for a bounded time. What a
//! target has learnt stays under `target/fuzz/learnt` for the next run, which begins with it with golden bytes, and with `fuzz/seeds`;
//! an input that broke a decoder is kept under `target/fuzz/found`. Without a sanitizer, which would need a nightly compiler: the
//! decoders have no unsafe code, so a panic, a hang or memory without bound is what there can be to find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command;
use crate::workspace::Workspace;

/// Which decoders, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these, by name; all if none is named.
    names: Vec<String>,
    /// Seconds for each.
    #[arg(long = "for", default_value_t = 30)]
    seconds: u32,
    /// Print the names, and run none.
    #[arg(long)]
    list: bool,
}

/// What libFuzzer needs of the compiler: counters for each edge, and the operands of comparisons.
const COUNTERS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What a target is started with, and how it becomes inputs.
const SEEDS: &[(&str, &str, Seeds)] = &[
    ("amqp-frames", "amqp091/tests/golden", Seeds::Files),
    ("amqp-sessions", "amqp091/tests/golden", Seeds::Files),
    ("kafka-requests", "kafka/tests/golden", Seeds::Files),
    ("registry-entries", "hub/tests/golden/registry-v1.txt", Seeds::Lines),
    ("registry-snapshots", "hub/tests/golden/registry-v1.txt", Seeds::Chunks),
    ("shard-entries", "docs/golden/shard-entries-v1.txt", Seeds::Chunks),
    ("shard-entries", "docs/golden/stream-entries-v1.txt", Seeds::Chunks),
    ("shard-entries", "docs/golden/record-entries-v1.txt", Seeds::Chunks),
    ("shard-entries", "docs/golden/due-entries-v1.txt", Seeds::Chunks),
    ("shard-entries", "docs/golden/group-entries-v1.txt", Seeds::Chunks),
    ("shard-entries", "docs/golden/share-entries-v1.txt", Seeds::Chunks),
];

#[derive(Clone, Copy)]
enum Seeds {
    /// A folder of files, each an input.
    Files,
    /// A file of lines that end in hexadecimal digits, each an input.
    Lines,
    /// The same; an input is a line's bytes with their number before them.
    Chunks,
}

/// Longest input, bytes.
const INPUT_BYTES_MAX: u32 = 8 << 10;
/// An input that takes longer has found something, seconds.
const INPUT_SECONDS_MAX: u32 = 5;
/// A target that takes more memory has found something, MiB.
const MEMORY_MIB_MAX: u32 = 1024;

/// Build, and run what was asked for; an error if a decoder was broken.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let program = build(workspace)?;
    let names = command::output(Command::new(&program).env("STELE_FUZZ", "list"))?;
    let all: Vec<&str> = names.lines().collect();
    if let Some(unknown) = options.names.iter().find(|name| !all.contains(&name.as_str())) {
        bail!("no target is called {unknown}: see --list");
    }
    if options.list {
        all.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    let wanted = |name: &&&str| options.names.is_empty() || options.names.iter().any(|named| named == **name);
    let chosen: Vec<_> = all.iter().filter(wanted).collect();
    let broken: Vec<_> = chosen
        .iter()
        .filter_map(|name| fuzz(workspace, &program, name, options.seconds).err())
        .map(|error| format!("{error:#}"))
        .collect();
    println!("{} targets, {} broken", chosen.len(), broken.len());
    if broken.is_empty() { Ok(()) } else { bail!("{}", broken.join("\n\n")) }
}

/// The program with all targets.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let version = command::output(workspace.command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("find rustc's host")?;
    let target_dir = workspace.target("fuzz/build");
    // With a target named, build scripts and macros, which run here, are compiled without counters.
    let mut cargo = workspace.command("cargo");
    cargo.args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", host]);
    command::run(cargo.arg("--target-dir").arg(&target_dir).env("RUSTFLAGS", COUNTERS.join(" ")))?;
    Ok(target_dir.join(host).join("release/stele-fuzz"))
}

fn fuzz(workspace: &Workspace, program: &Path, name: &str, seconds: u32) -> Result<()> {
    let learnt = workspace.target("fuzz/learnt").join(name);
    let found = workspace.target("fuzz/found");
    for folder in [&learnt, &found] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut fuzzer = workspace.command(program);
    fuzzer.env("STELE_FUZZ", name).args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={}/{name}-", found.display()),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ]);
    fuzzer.arg(&learnt).args(seeds(workspace, name, &learnt)?);
    println!("{name}");
    command::run(&mut fuzzer)
}

/// Folders of inputs to begin with; what has to be made of golden bytes is put among what was learnt.
fn seeds(workspace: &Workspace, name: &str, learnt: &Path) -> Result<Vec<PathBuf>> {
    let own = workspace.path("fuzz/seeds").join(name);
    let mut folders: Vec<PathBuf> = own.is_dir().then_some(own).into_iter().collect();
    for (_, path, seeds) in SEEDS.iter().filter(|(of, ..)| *of == name) {
        let path = workspace.path(path);
        if matches!(seeds, Seeds::Files) {
            folders.push(path);
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        for (n, line) in text.lines().enumerate() {
            let Some(mut bytes) = line.split_whitespace().last().and_then(unhex) else { continue };
            if matches!(seeds, Seeds::Chunks) {
                let len = u16::try_from(bytes.len()).context("a golden line is short")?;
                bytes.splice(0..0, len.to_le_bytes());
            }
            fs::write(learnt.join(format!("{stem}-{n}")), bytes)?;
        }
    }
    Ok(folders)
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
