//! A message of NATS that was kept until its time, as its stream publishes it then (ADR-51 of NATS).
//!
//! Called by the hub when it moves one. Body and headers stay, but for those that said what was to be done with it; where it samples another
//! subject they are those of the sample. Not here: when that is (the dialect reads it, the shard keeps it).

use crate::nats::{self, Parts};
use crate::{Draft, Origin, View};
use bytes::BytesMut;
use stele_model::repeat::Moment;

/// Header: when a message is published. All that begins with it speaks of that.
pub const SCHEDULE: &str = "Nats-Schedule";
/// Header: by the clocks of which time zone.
pub const TIME_ZONE: &str = "Nats-Schedule-Time-Zone";
/// Header: the subject that it is published to then.
pub const TARGET: &str = "Nats-Schedule-Target";
/// Header: the subject whose last message is published in its place.
pub const SAMPLE: &str = "Nats-Schedule-Source";
/// Header: the time to live of what is published.
pub const TARGET_TTL: &str = "Nats-Schedule-TTL";
/// Header: which messages what is published takes the place of.
pub const TARGET_ROLLUP: &str = "Nats-Schedule-Rollup";
/// Header of what is published: the subject of the message that was kept.
pub const SCHEDULER: &str = "Nats-Scheduler";
/// Header of what is published: when the message that was kept is published again, or [`PURGE`].
pub const NEXT: &str = "Nats-Schedule-Next";
/// Value of [`NEXT`]: it is gone.
pub const PURGE: &str = "purge";

/// What names of headers begin with that have been obeyed, or would be obeyed again. [`SCHEDULER`] begins with the first.
const OBEYED: [&str; 5] = [SCHEDULE, "Nats-Expected-", "Nats-Msg-Id", "Nats-TTL", "Nats-Rollup"];

/// Appends to `out` what a message becomes at its time, published to `exchange`: it or `sample`, with the time that it is published `next`, if
/// it is. `false`: it does not say where to; nothing is written.
///
/// # Panics
/// If exchange or subject is longer than 65 535 bytes: they come from a record that has them.
#[must_use]
pub fn write(
    view: &View<'_>,
    sample: Option<&View<'_>>,
    next: Option<Moment>,
    exchange: &[u8],
    out: &mut BytesMut,
) -> bool {
    let said = |name: &str| {
        let mut headers = Parts::of(view).headers();
        headers.find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    };
    let target = said(TARGET).filter(|key| !key.is_empty() && key.len() <= usize::from(u16::MAX));
    let Some(key) = target else { return false };
    let content = sample.unwrap_or(view);
    let (_, shown) = nats::shown(content);
    let mut block = nats::BLOCK.to_vec();
    for (name, value) in (Parts { reply: b"", block: &shown }).headers() {
        if !OBEYED.iter().any(|start| name.starts_with(start.as_bytes())) {
            nats::put_line(&mut block, name, value);
        }
    }
    nats::put_line(&mut block, SCHEDULER.as_bytes(), view.key());
    let next = next.map_or_else(|| PURGE.to_owned(), |next| next.to_string());
    nats::put_line(&mut block, NEXT.as_bytes(), next.as_bytes());
    for (name, of) in [("Nats-TTL", TARGET_TTL), ("Nats-Rollup", TARGET_ROLLUP)] {
        if let Some(value) = said(of).filter(|value| !value.is_empty()) {
            nats::put_line(&mut block, name.as_bytes(), value);
        }
    }
    block.extend_from_slice(b"\r\n");
    let mut properties = BytesMut::new();
    Parts { reply: b"", block: &block }.write(&mut properties);
    let draft = Draft {
        origin: Origin::Nats,
        persistent: true,
        ttl_ms: None,
        exchange,
        key,
        properties: &properties,
        history: b"",
        ..Draft::of(content)
    };
    draft.write(content.body(), out);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(block: &str) -> BytesMut {
        let mut out = BytesMut::new();
        let parts = Parts { reply: b"_INBOX.1", block: block.as_bytes() };
        nats::write(&mut out, (b"amq.topic", b"later.1", b"body"), parts, 5);
        out
    }

    #[test]
    fn a_message_is_published_to_its_target_without_what_was_said_for_its_schedule() {
        let block = "NATS/1.0\r\nNats-Schedule: @at 2030-01-01T00:00:00Z\r\nNats-Schedule-Target: orders\r\n\
            Nats-Msg-Id: 1\r\nNats-Rollup: sub\r\nA: b\r\n\r\n";
        let mut out = BytesMut::new();
        assert!(write(&View::parse(&kept(block)).unwrap(), None, None, b"amq.topic", &mut out));
        let view = View::parse(&out).unwrap();
        assert_eq!((view.key(), view.body()), (&b"orders"[..], &b"body"[..]));
        let should = "NATS/1.0\r\nA: b\r\nNats-Scheduler: later.1\r\nNats-Schedule-Next: purge\r\n\r\n";
        let parts = Parts::of(&view);
        assert_eq!((parts.reply, std::str::from_utf8(parts.block)), (&b""[..], Ok(should)));
    }

    #[test]
    fn a_message_that_does_not_say_where_to_is_not_published() {
        let mut out = BytesMut::new();
        let kept = kept("NATS/1.0\r\nA: b\r\n\r\n");
        assert!(!write(&View::parse(&kept).unwrap(), None, None, b"amq.topic", &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn what_is_published_again_and_again_says_when_it_comes_next_and_how_long_it_lives() {
        let block = "NATS/1.0\r\nNats-Schedule: @every 5m\r\nNats-Schedule-Target: orders\r\nNats-TTL: 1h\r\n\
            Nats-Schedule-TTL: 5m\r\nNats-Schedule-Rollup: sub\r\nA: b\r\n\r\n";
        let (kept, mut out) = (kept(block), BytesMut::new());
        let next = Moment { ms: 1_500, offset_s: 3600 };
        assert!(write(&View::parse(&kept).unwrap(), None, Some(next), b"amq.topic", &mut out));
        let view = View::parse(&out).unwrap();
        let should = "NATS/1.0\r\nA: b\r\nNats-Scheduler: later.1\r\n\
            Nats-Schedule-Next: 1970-01-01T01:00:01.5+01:00\r\nNats-TTL: 5m\r\nNats-Rollup: sub\r\n\r\n";
        assert_eq!(std::str::from_utf8(Parts::of(&view).block), Ok(should));
    }

    #[test]
    fn a_sample_is_published_whatever_dialect_it_came_in_through() {
        let block = "NATS/1.0\r\nNats-Schedule: @every 5m\r\nNats-Schedule-Target: orders\r\nA: b\r\n\r\n";
        let (kept, mut sampled) = (kept(block), BytesMut::new());
        let parts = Parts { reply: b"", block: b"NATS/1.0\r\nNats-Msg-Id: 7\r\nC: d\r\n\r\n" };
        nats::write(&mut sampled, (b"amq.topic", b"sensor", b"warm"), parts, 9);
        let amqp = nats::as_amqp091(&View::parse(&sampled).unwrap()).unwrap();
        for (sample, headers) in [(&sampled[..], "C: d"), (&amqp[..], "C: d")] {
            let (schedule, sample) = (View::parse(&kept).unwrap(), View::parse(sample).unwrap());
            let mut out = BytesMut::new();
            assert!(write(&schedule, Some(&sample), None, b"amq.topic", &mut out));
            let view = View::parse(&out).unwrap();
            assert_eq!((view.key(), view.body(), view.time()), (&b"orders"[..], &b"warm"[..], 9));
            let should = format!(
                "NATS/1.0\r\n{headers}\r\nNats-Scheduler: later.1\r\nNats-Schedule-Next: purge\r\n\r\n"
            );
            assert_eq!(std::str::from_utf8(Parts::of(&view).block), Ok(&should[..]));
        }
    }
}
