//! libFuzzer's `main` for all decoders: the environment variable `STELE_FUZZ` says which of [`TARGETS`] gets the bytes, `list` names them.
//!
//! Run by `cargo xtask fuzz`, which compiles this and all of ours with counters for coverage. A target returns for any input: what it
//! asserts are statements about the decoder. What is found becomes a test where the mistake was. Not here: where the
//! decoders are; each dialect has its entry points in its own `fuzz` module, where bounded random runs use them in `cargo test`.

#![no_main]

mod clients;
mod disk;
mod operators;
mod stored;

use std::sync::OnceLock;

/// A decoder by its name.
type Target = (&'static str, fn(&[u8]));

/// All of them.
const TARGETS: &[&[Target]] = &[clients::TARGETS, operators::TARGETS, stored::TARGETS, disk::TARGETS];

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: choose(), |input: &[u8]| {
    let target = CHOSEN.get().expect("one was chosen before the first input");
    target(input);
});

fn choose() {
    let name = std::env::var("STELE_FUZZ").unwrap_or_default();
    let all = || TARGETS.iter().copied().flatten();
    let Some((_, target)) = all().find(|(known, _)| *known == name) else {
        all().for_each(|(known, _)| println!("{known}"));
        std::process::exit(i32::from(name != "list"));
    };
    CHOSEN.get_or_init(|| *target);
}
