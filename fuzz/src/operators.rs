//! What operators write: the two configuration languages, and queries to the monitor.

use crate::Target;
use stele_server::config;

pub(crate) const TARGETS: &[Target] = &[
    ("configuration", configuration),
    ("nats-configuration", nats_configuration),
    ("monitor-queries", stele_nats::fuzz::query),
];

/// Ours. What passes is shown as text that passes again and is shown the same.
fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(loaded) = config::parse(text) else { return };
    let shown = loaded.show(false);
    let again = config::parse(&shown).expect("what is shown can be read");
    assert_eq!(again.show(false), shown, "what was shown is what was read");
}

fn nats_configuration(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        stele_nats::jet::fuzz::configuration(text);
    }
}
