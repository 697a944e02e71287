//! A message of NATS that was kept until its time, as its stream publishes it then (ADR-51 of NATS).
//!
//! Called by the hub when it moves one. Body and headers stay, but for those that said what was to be done with it. Not here: when that is
//! (the dialect reads it, the shard keeps it).

use crate::nats::{self, Parts};
use crate::{Draft, Origin, View};
use bytes::BytesMut;

/// Header: when a message is published. All that begins with it speaks of that.
pub const SCHEDULE: &str = "Nats-Schedule";
/// Header: the subject that it is published to then.
pub const TARGET: &str = "Nats-Schedule-Target";
/// Header of what is published: the subject of the message that was kept.
pub const SCHEDULER: &str = "Nats-Scheduler";
/// Header of what is published: what becomes of the message that was kept.
pub const NEXT: &str = "Nats-Schedule-Next";
/// Value of [`NEXT`]: it is gone.
pub const PURGE: &str = "purge";

/// What names of headers begin with that have been obeyed, or would be obeyed again. [`SCHEDULER`] begins with the first.
const OBEYED: [&str; 5] = [SCHEDULE, "Nats-Expected-", "Nats-Msg-Id", "Nats-TTL", "Nats-Rollup"];

/// Appends to `out` what a message becomes at its time, published to `exchange`. `false`: it does not say where to; nothing is written.
///
/// # Panics
/// If exchange or subject is longer than 65 535 bytes: they come from a record that has them.
#[must_use]
pub fn write(view: &View<'_>, exchange: &[u8], out: &mut BytesMut) -> bool {
    let parts = Parts::of(view);
    let target = parts.headers().find(|(name, _)| *name == TARGET.as_bytes());
    let Some((_, key)) = target.filter(|(_, key)| !key.is_empty() && key.len() <= usize::from(u16::MAX))
    else {
        return false;
    };
    let mut block = nats::BLOCK.to_vec();
    for (name, value) in parts.headers() {
        if !OBEYED.iter().any(|start| name.starts_with(start.as_bytes())) {
            nats::put_line(&mut block, name, value);
        }
    }
    nats::put_line(&mut block, SCHEDULER.as_bytes(), view.key());
    nats::put_line(&mut block, NEXT.as_bytes(), PURGE.as_bytes());
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
        ..Draft::of(view)
    };
    draft.write(view.body(), out);
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
        assert!(write(&View::parse(&kept(block)).unwrap(), b"amq.topic", &mut out));
        let view = View::parse(&out).unwrap();
        assert_eq!((view.key(), view.body()), (&b"orders"[..], &b"body"[..]));
        let should = "NATS/1.0\r\nA: b\r\nNats-Scheduler: later.1\r\nNats-Schedule-Next: purge\r\n\r\n";
        let parts = Parts::of(&view);
        assert_eq!((parts.reply, std::str::from_utf8(parts.block)), (&b""[..], Ok(should)));
    }

    #[test]
    fn a_message_that_does_not_say_where_to_is_not_published() {
        let mut out = BytesMut::new();
        assert!(!write(&View::parse(&kept("NATS/1.0\r\nA: b\r\n\r\n")).unwrap(), b"amq.topic", &mut out));
        assert!(out.is_empty());
    }
}
