//! Names and times of the queues in which messages wait. Pure.

use crate::outgoing::{Destination, ScheduleToken};

/// A queue stays so long after its messages have left.
const LINGER_MS: u32 = 600_000;
/// The longest wait: the broker's times are 32 bits of milliseconds, and the queue must outlive its message.
pub(super) const WAIT_MS_MAX: u32 = 45 * 24 * 3600 * 1000 - LINGER_MS;

/// Where a message waits, and how long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) queue: String,
    pub(super) exchange: String,
    pub(super) wait_ms: u32,
    pub(super) linger_ms: u32,
}

/// The queue for a wait of `ms`; `None` if it is longer than a broker can count.
pub(super) fn wait(destination: &Destination, ms: u64, token: Option<ScheduleToken>) -> Option<Wait> {
    let exchange = exchange_of(destination);
    let exact = u32::try_from(ms).ok().filter(|ms| *ms <= WAIT_MS_MAX)?.max(1);
    let (queue, wait_ms) = match token {
        Some(token) => (scheduled_queue(&exchange, token), exact),
        None => {
            let shared = round_up(exact).min(WAIT_MS_MAX);
            (format!("{exchange}_delay_{shared}"), shared)
        }
    };
    Some(Wait { queue, exchange, wait_ms, linger_ms: wait_ms + LINGER_MS })
}

/// The queue in which one scheduled message waits.
pub(super) fn scheduled_queue(exchange: &str, token: ScheduleToken) -> String {
    format!("{exchange}_delay_{}", token.0)
}

/// The exchange behind a destination.
pub(super) fn exchange_of(destination: &Destination) -> String {
    match destination {
        Destination::Type { name, .. } => name.exchange(),
        Destination::Queue(name) | Destination::Exchange(name) => name.clone(),
        Destination::Address { address, .. } => name_in(address),
    }
}

/// The last part of an address: `rabbitmq://host/vhost/name?temporary=true` names `name`.
pub(super) fn name_in(address: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.strip_prefix("queue:").or_else(|| name.strip_prefix("exchange:")).unwrap_or(name);
    percent_decoded(name)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Up to two significant digits, so that few waits share few queues.
fn round_up(ms: u32) -> u32 {
    let mut unit = 1;
    while ms / unit >= 100 {
        unit *= 10;
    }
    ms.div_ceil(unit).saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_wait_has_two_digits_and_is_never_shorter() {
        for (ms, rounded) in
            [(1, 1), (99, 99), (101, 110), (4_999, 5_000), (299_998, 300_000), (12_345, 13_000)]
        {
            assert_eq!(round_up(ms), rounded);
        }
        let queue = Destination::Queue("a".into());
        assert_eq!(wait(&queue, 4_998, None).unwrap().queue, "a_delay_5000");
        assert!(wait(&queue, u64::from(WAIT_MS_MAX) + 1, None).is_none());
        assert!(wait(&queue, u64::from(WAIT_MS_MAX), None).unwrap().linger_ms > WAIT_MS_MAX);
    }

    #[test]
    fn the_name_in_an_address_is_its_last_part() {
        for (address, name) in [
            ("rabbitmq://h/v/bus-x?temporary=true", "bus-x"),
            ("rabbitmq://h:5673/a%2Fb", "a/b"),
            ("queue:x", "x"),
            ("rabbitmq://h/Shop:Type", "Shop:Type"),
            ("rabbitmq://h/100%", "100%"),
        ] {
            assert_eq!(name_in(address), name, "{address}");
        }
    }
}
