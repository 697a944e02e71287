//! The bytes of a queue's settings, in entries and snapshots.
//!
//! Called by [`super::entry`] and [`super::snapshot`]. The layout stands in `docs/format-entries.md`.

use super::bytes::{Input, put_text};
use bytes::BufMut;
use stele_model::id::{HubId, NamespaceId, QueueId, SessionId};
use stele_model::queue::{DeadLetter, Overflow, QueueKind, QueueSettings, QueueSpec};

const DURABLE: u8 = 1;
const AUTO_DELETE: u8 = 2;
const SINGLE_ACTIVE: u8 = 4;

const TTL: u16 = 1;
const EXPIRES: u16 = 2;
const LENGTH: u16 = 4;
const BYTES: u16 = 8;
const DEAD_LETTER: u16 = 16;
const DEAD_LETTER_KEY: u16 = 32;
const PRIORITY: u16 = 64;
const DELIVERY: u16 = 128;
const OWNER: u16 = 256;
const ALL: u16 = 511;

/// Appends a queue's settings.
pub(crate) fn put(out: &mut Vec<u8>, spec: &QueueSpec) {
    let of = &spec.settings;
    let key = of.dead_letter.as_ref().and_then(|dead_letter| dead_letter.key.as_deref());
    let mut present = 0;
    let mut note = |is: bool, bit: u16| present |= if is { bit } else { 0 };
    note(of.ttl_ms.is_some(), TTL);
    note(of.expires_ms.is_some(), EXPIRES);
    note(of.length_max.is_some(), LENGTH);
    note(of.bytes_max.is_some(), BYTES);
    note(of.dead_letter.is_some(), DEAD_LETTER);
    note(key.is_some(), DEAD_LETTER_KEY);
    note(of.priority_max.is_some(), PRIORITY);
    note(of.delivery_max.is_some(), DELIVERY);
    note(of.owner.is_some(), OWNER);
    out.put_u64_le(spec.id.0);
    out.put_u64_le(spec.namespace.0);
    put_text(out, &spec.name);
    out.put_u8(match of.kind {
        QueueKind::Classic => 1,
        QueueKind::Quorum => 2,
    });
    out.put_u8(match of.overflow {
        Overflow::DropHead => 1,
        Overflow::RejectPublish => 2,
        Overflow::RejectPublishDlx => 3,
    });
    let flag = |is: bool, bit: u8| if is { bit } else { 0 };
    out.put_u8(
        flag(of.durable, DURABLE) | flag(of.auto_delete, AUTO_DELETE) | flag(of.single_active, SINGLE_ACTIVE),
    );
    out.put_u16_le(present);
    for number in [of.ttl_ms, of.expires_ms, of.length_max, of.bytes_max].into_iter().flatten() {
        out.put_u64_le(number);
    }
    if let Some(dead_letter) = &of.dead_letter {
        put_text(out, &dead_letter.exchange);
    }
    if let Some(key) = key {
        put_text(out, key);
    }
    if let Some(priority) = of.priority_max {
        out.put_u8(priority);
    }
    if let Some(delivery) = of.delivery_max {
        out.put_u32_le(delivery);
    }
    if let Some(owner) = of.owner {
        out.put_u16_le(owner.hub.0);
        out.put_u64_le(owner.number);
    }
}

/// Reads what [`put`] wrote.
pub(crate) fn read(input: &mut Input<'_>) -> Result<QueueSpec, String> {
    let id = QueueId(input.u64("queue")?);
    let namespace = NamespaceId(input.u64("namespace")?);
    let name = input.text("name")?;
    let kind = match input.u8("queue type")? {
        1 => QueueKind::Classic,
        2 => QueueKind::Quorum,
        other => return Err(format!("queue type {other} is unknown")),
    };
    let overflow = match input.u8("overflow")? {
        1 => Overflow::DropHead,
        2 => Overflow::RejectPublish,
        3 => Overflow::RejectPublishDlx,
        other => return Err(format!("overflow {other} is unknown")),
    };
    let flags = input.u8("flags")?;
    let present = input.u16("settings")?;
    if flags & !(DURABLE | AUTO_DELETE | SINGLE_ACTIVE) != 0 || present & !ALL != 0 {
        return Err(format!("settings {flags:#x} {present:#x} are unknown"));
    }
    let mut settings = QueueSettings {
        kind,
        overflow,
        durable: flags & DURABLE != 0,
        auto_delete: flags & AUTO_DELETE != 0,
        single_active: flags & SINGLE_ACTIVE != 0,
        ..QueueSettings::default()
    };
    let mut number = |bit: u16| (present & bit != 0).then(|| input.u64("settings")).transpose();
    settings.ttl_ms = number(TTL)?;
    settings.expires_ms = number(EXPIRES)?;
    settings.length_max = number(LENGTH)?;
    settings.bytes_max = number(BYTES)?;
    let mut text = |bit: u16| (present & bit != 0).then(|| input.text("dead letters")).transpose();
    let exchange = text(DEAD_LETTER)?;
    let key = text(DEAD_LETTER_KEY)?;
    settings.dead_letter = exchange.map(|exchange| DeadLetter { exchange, key });
    if present & PRIORITY != 0 {
        settings.priority_max = Some(input.u8("priority")?);
    }
    if present & DELIVERY != 0 {
        settings.delivery_max = Some(input.u32("delivery limit")?);
    }
    if present & OWNER != 0 {
        let hub = HubId(input.u16("owner")?);
        settings.owner = Some(SessionId { hub, number: input.u64("owner")? });
    }
    Ok(QueueSpec { id, namespace, name, settings })
}
