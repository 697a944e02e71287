//! The level of the API, and the marks of it in metadata: what a stream or consumer needs is kept with it, what the server offers is
//! added to answers.

use super::consumer::{AckPolicy, ConsumerConfig, PriorityPolicy};
use super::stream::{PersistMode, StreamConfig};
use std::collections::BTreeMap;

/// The level of the API that is offered: that of nats-server 2.15, whose requests are all understood (or refused by name).
pub const API_LEVEL: u32 = 5;
/// The version of nats-server that clients are told: they switch features on by it.
pub const SERVER_VERSION: &str = "2.15.2";

const REQUIRED: &str = "_nats.req.level";
const VERSION: &str = "_nats.ver";
const LEVEL: &str = "_nats.level";

/// Whether an entry of metadata is the server's.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    [REQUIRED, VERSION, LEVEL].contains(&name)
}

/// Whether a request needs a higher level than is offered (header `Nats-Required-Api-Level`); what is no number is one.
#[must_use]
pub fn is_beyond(required: Option<&str>) -> bool {
    required.is_some_and(|level| level.parse::<u32>().map_or(true, |level| level > API_LEVEL))
}

fn stamp(metadata: &mut BTreeMap<String, String>, needs: &[(bool, u32)]) {
    metadata.retain(|name, _| name != VERSION && name != LEVEL);
    let level = needs.iter().filter(|(is, _)| *is).map(|(_, level)| *level).max().unwrap_or(0);
    metadata.insert(REQUIRED.to_owned(), level.to_string());
}

/// Marks a stream with the level that it needs.
pub fn stamp_stream(config: &mut StreamConfig) {
    let needs = [
        (config.allow_msg_ttl || config.subject_delete_marker_ttl > 0, 1),
        (config.allow_msg_counter || config.allow_atomic || config.allow_msg_schedules, 2),
        (config.persist_mode == PersistMode::Async, 2),
        (config.allow_batched, 4),
    ];
    stamp(&mut config.metadata, &needs);
}

/// Marks a consumer with the level that it needs.
pub fn stamp_consumer(config: &mut ConsumerConfig) {
    let priority = config.priority_policy != PriorityPolicy::None
        || config.priority_timeout != 0
        || !config.priority_groups.is_empty();
    let needs = [
        (config.pause_until.is_some_and(|until| !until.is_zero()) || priority, 1),
        (config.ack_policy == AckPolicy::FlowControl, 4),
    ];
    stamp(&mut config.metadata, &needs);
}

/// Adds what the server offers, for an answer.
pub fn show(metadata: &mut BTreeMap<String, String>) {
    metadata.insert(VERSION.to_owned(), SERVER_VERSION.to_owned());
    metadata.insert(LEVEL.to_owned(), API_LEVEL.to_string());
}
