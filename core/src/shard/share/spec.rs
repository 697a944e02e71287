//! The settings of a shared group as bytes, for entries and snapshots.
//!
//! The layout stands in `docs/format-entries.md`. What must hold: reading borrows, is bounded, and never panics.

use crate::shard::bytes::{Input, put_text};
use bytes::{BufMut, Bytes};
use stele_model::id::{Now, Position};
use stele_model::queue::DeadLetter;
use stele_model::share::{
    ARGUMENTS_BYTES_MAX, BACKOFF_MAX, FILTERS_MAX, Pace, PushSettings, SettlePolicy, ShareSettings,
    ShareStart,
};
use stele_model::subject::Pattern;

const DURABLE: u16 = 1;
const MEMORY: u16 = 1 << 1;
const HEADERS_ONLY: u16 = 1 << 2;
const ORIGINAL_PACE: u16 = 1 << 3;
const DELIVERIES_MAX: u16 = 1 << 4;
const PENDING_MAX: u16 = 1 << 5;
const PULL_COUNT_MAX: u16 = 1 << 6;
const PULL_BYTES_MAX: u16 = 1 << 7;
const PULL_EXPIRES_MAX: u16 = 1 << 8;
const INACTIVE: u16 = 1 << 9;
const PAUSE: u16 = 1 << 10;
const DEAD_LETTER: u16 = 1 << 11;
const DEAD_LETTER_KEY: u16 = 1 << 12;
const PUSH: u16 = 1 << 13;
const HEARTBEAT: u16 = 1 << 14;
const RATE: u16 = 1 << 15;
/// Beside the settle policy.
const SAMPLED: u8 = 1 << 7;

pub(super) fn put(out: &mut Vec<u8>, of: &ShareSettings) {
    let bit = |is: bool, bit: u16| if is { bit } else { 0 };
    let key = of.dead_letter.as_ref().and_then(|target| target.key.as_ref());
    out.put_u16_le(
        bit(of.durable, DURABLE)
            | bit(of.memory, MEMORY)
            | bit(of.headers_only, HEADERS_ONLY)
            | bit(of.pace == Pace::Original, ORIGINAL_PACE)
            | bit(of.deliveries_max.is_some(), DELIVERIES_MAX)
            | bit(of.pending_max.is_some(), PENDING_MAX)
            | bit(of.pull_count_max.is_some(), PULL_COUNT_MAX)
            | bit(of.pull_bytes_max.is_some(), PULL_BYTES_MAX)
            | bit(of.pull_expires_us_max.is_some(), PULL_EXPIRES_MAX)
            | bit(of.inactive_us.is_some(), INACTIVE)
            | bit(of.pause_until.is_some(), PAUSE)
            | bit(of.dead_letter.is_some(), DEAD_LETTER)
            | bit(key.is_some(), DEAD_LETTER_KEY)
            | bit(of.push.is_some(), PUSH)
            | bit(of.push.is_some_and(|push| push.heartbeat_us.is_some()), HEARTBEAT)
            | bit(of.push.is_some_and(|push| push.rate_bytes_max.is_some()), RATE),
    );
    put_start(out, of.start);
    let settle = match of.settle {
        SettlePolicy::None => 1,
        SettlePolicy::All => 2,
        SettlePolicy::Explicit => 3,
    };
    out.put_u8(if of.sampled_percent > 0 { settle | SAMPLED } else { settle });
    out.put_u64_le(of.lease_us);
    out.put_u32_le(of.waiting_max);
    out.put_u16_le(of.filters.len() as u16);
    for filter in &of.filters {
        out.put_u16_le(filter.as_bytes().len() as u16);
        out.put_slice(filter.as_bytes());
    }
    out.put_u16_le(of.backoff_us.len() as u16);
    of.backoff_us.iter().for_each(|us| out.put_u64_le(*us));
    let push = of.push.unwrap_or_default();
    for number in [of.deliveries_max, of.pending_max, of.pull_count_max].into_iter().flatten() {
        out.put_u32_le(number);
    }
    let pause = of.pause_until.map(|until| until.0);
    let longs = [of.pull_bytes_max, of.pull_expires_us_max, of.inactive_us, pause, push.heartbeat_us];
    for number in longs.into_iter().chain([push.rate_bytes_max]).flatten() {
        out.put_u64_le(number);
    }
    if let Some(target) = &of.dead_letter {
        put_text(out, &target.exchange);
        target.key.iter().for_each(|key| put_text(out, key));
    }
    out.put_u32_le(of.arguments.len() as u32);
    out.put_slice(&of.arguments);
    if of.sampled_percent > 0 {
        out.put_u8(of.sampled_percent);
    }
}

fn put_start(out: &mut Vec<u8>, start: ShareStart) {
    let (kind, number) = match start {
        ShareStart::All => (1, 0),
        ShareStart::Last => (2, 0),
        ShareStart::New => (3, 0),
        ShareStart::Position(position) => (4, position.0),
        ShareStart::Time(time) => (5, time.0),
        ShareStart::LastPerSubject => (6, 0),
    };
    out.put_u8(kind);
    out.put_u64_le(number);
}

fn read_start(input: &mut Input<'_>) -> Result<ShareStart, String> {
    let (kind, number) = (input.u8("start")?, input.u64("start")?);
    Ok(match kind {
        1 => ShareStart::All,
        2 => ShareStart::Last,
        3 => ShareStart::New,
        4 => ShareStart::Position(Position(number)),
        5 => ShareStart::Time(Now(number)),
        6 => ShareStart::LastPerSubject,
        other => return Err(format!("has a group that starts in unknown way {other}")),
    })
}

pub(super) fn read(input: &mut Input<'_>) -> Result<ShareSettings, String> {
    let flags = input.u16("settings")?;
    let is = |bit: u16| flags & bit != 0;
    let start = read_start(input)?;
    let policy = input.u8("settle policy")?;
    let settle = match policy & !SAMPLED {
        1 => SettlePolicy::None,
        2 => SettlePolicy::All,
        3 => SettlePolicy::Explicit,
        other => return Err(format!("has a group that settles in unknown way {other}")),
    };
    let lease_us = input.u64("lease")?;
    let waiting_max = input.u32("bound")?;
    let filters = list(input, FILTERS_MAX, filter)?;
    let backoff_us = list(input, BACKOFF_MAX, |input| input.u64("backoff"))?;
    let mut int = |bit: u16| is(bit).then(|| input.u32("bound")).transpose();
    let deliveries_max = int(DELIVERIES_MAX)?;
    let pending_max = int(PENDING_MAX)?;
    let pull_count_max = int(PULL_COUNT_MAX)?;
    let mut long = |bit: u16| is(bit).then(|| input.u64("bound")).transpose();
    let pull_bytes_max = long(PULL_BYTES_MAX)?;
    let pull_expires_us_max = long(PULL_EXPIRES_MAX)?;
    let inactive_us = long(INACTIVE)?;
    let pause_until = long(PAUSE)?.map(Now);
    let push = PushSettings { heartbeat_us: long(HEARTBEAT)?, rate_bytes_max: long(RATE)? };
    let exchange = is(DEAD_LETTER).then(|| input.text("dead letters")).transpose()?;
    let key = is(DEAD_LETTER_KEY).then(|| input.text("dead letters")).transpose()?;
    let len = input.u32("arguments")? as usize;
    if len > ARGUMENTS_BYTES_MAX {
        return Err(format!("has a group with {len} bytes of arguments"));
    }
    let arguments = Bytes::copy_from_slice(input.bytes(len, "arguments")?);
    let sampled_percent = if policy & SAMPLED == 0 { 0 } else { input.u8("samples")? };
    Ok(ShareSettings {
        filters,
        start,
        settle,
        lease_us,
        backoff_us,
        deliveries_max,
        pending_max,
        waiting_max,
        pull_count_max,
        pull_bytes_max,
        pull_expires_us_max,
        pace: if is(ORIGINAL_PACE) { Pace::Original } else { Pace::Instant },
        headers_only: is(HEADERS_ONLY),
        inactive_us,
        pause_until,
        dead_letter: exchange.map(|exchange| DeadLetter { exchange, key }),
        durable: is(DURABLE),
        memory: is(MEMORY),
        push: is(PUSH).then_some(push),
        sampled_percent,
        arguments,
    })
}

fn filter(input: &mut Input<'_>) -> Result<Pattern, String> {
    let len = usize::from(input.u16("filter")?);
    let text = Bytes::copy_from_slice(input.bytes(len, "filter")?);
    Pattern::new(text).ok_or_else(|| "has a group with a filter that is none".to_owned())
}

/// A u16 count and as many items.
fn list<'a, T>(
    input: &mut Input<'a>,
    max: usize,
    mut item: impl FnMut(&mut Input<'a>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let count = usize::from(input.u16("count")?);
    if count > max {
        return Err(format!("has a group with a list of {count}"));
    }
    (0..count).map(|_| item(input)).collect()
}
