//! Deliveries: from records to `basic.deliver` or `basic.get-ok` with their contents.
//!
//! The usual record is sent as it is stored: method frame by hand, its properties, its body. One that has died before gets
//! `x-death` and its kin (see [`super::render`]). What must hold: deliveries of a channel take tags in the order they are
//! written; a channel's shared window is never exceeded: what does not fit is held back here, in order.

use super::Connection;
use super::render::{self, Shown};
use super::settle::{Held, Settles};
use crate::codec::content::{put_body, put_header, share_body};
use crate::codec::field::ShortStr;
use crate::codec::hot::{Deliver, put_deliver};
use crate::codec::method::{Method, put_method};
use crate::profile::SHARE_BYTES_MIN;
use crate::refuse::{Code, Exception};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use stele_model::id::{Position, QueueId};
use stele_model::op::{Credit, Op};
use stele_model::outcome::{Deliveries, Delivery};
use stele_model::session::{Outbox, Output};
use stele_model::settle::How;
use stele_record::{View, nats};

/// What a `basic.deliver` and the frames around its content usually take at most, beyond the record that they are made of.
const METHOD_OCTETS: usize = 96;

/// What came and was never shown to the client.
const UNSEEN: How = How::Release { seen: false, counted: false };

/// The prefetch that all consumers of a channel share (`basic.qos` with `global`), and what waits for room in it.
#[derive(Debug, Default)]
pub(super) struct Window {
    max: Option<u32>,
    /// Deliveries that wait for their acknowledgement.
    used: u32,
    /// What is held back, each from an index on. Bounded by the credit of the consumers.
    held_back: VecDeque<(Deliveries, usize)>,
}

impl Window {
    pub(super) fn max(&self) -> Option<u32> {
        self.max
    }

    pub(super) fn limit(&mut self, max: Option<u32>) {
        self.max = max;
    }

    fn has_room(&self) -> bool {
        self.max.is_none_or(|max| self.used < max)
    }

    /// So many deliveries were settled.
    pub(super) fn free(&mut self, count: u32) {
        self.used -= count;
    }

    /// Gives everything back that is held.
    pub(super) fn release(&mut self, settles: &mut Settles) {
        for (batch, from) in self.held_back.drain(..) {
            give_back_unseen(&batch, from, settles);
        }
    }

    /// Gives back what is held for one consumer.
    pub(super) fn forget(&mut self, subscription: u64, settles: &mut Settles) {
        self.held_back.retain(|(batch, from)| {
            let keep = batch.subscription != subscription;
            if !keep {
                give_back_unseen(batch, *from, settles);
            }
            keep
        });
    }
}

fn give_back_unseen(batch: &Deliveries, from: usize, settles: &mut Settles) {
    for delivery in batch.items.iter().skip(from) {
        settles.add(batch.subscription, batch.queue, UNSEEN, delivery.position);
    }
}

impl Connection {
    /// Records for a consumer.
    pub(super) fn delivered(&mut self, batch: &Deliveries, out: &mut Outbox) -> Result<(), Exception> {
        let number = self.consumers.get(&batch.subscription).map(|consumer| consumer.channel);
        let Some(channel) = number.and_then(|number| self.channels.live(number)) else {
            // Cancelled while they were under way.
            give_back_unseen(batch, 0, &mut self.settles);
            return Ok(());
        };
        let holds = !channel.window.held_back.is_empty();
        let sent = if holds { 0 } else { self.send(batch, 0, out)? };
        if sent < batch.items.len()
            && let Some(channel) = number.and_then(|number| self.channels.live(number))
        {
            channel.window.held_back.push_back((batch.clone(), sent));
        }
        Ok(())
    }

    /// Sends what was held back, as far as there is room now.
    pub(super) fn release_held_back(&mut self, number: u16, out: &mut Outbox) -> Result<(), Exception> {
        loop {
            let Some(channel) = self.channels.live(number) else { return Ok(()) };
            if !channel.window.has_room() {
                return Ok(());
            }
            let Some((batch, from)) = channel.window.held_back.pop_front() else { return Ok(()) };
            let sent = self.send(&batch, from, out)?;
            if sent < batch.items.len()
                && let Some(channel) = self.channels.live(number)
            {
                channel.window.held_back.push_front((batch, sent));
            }
        }
    }

    /// Writes deliveries from index `from` on, as many as the window takes; returns the index of the first that was not.
    fn send(&mut self, batch: &Deliveries, from: usize, out: &mut Outbox) -> Result<usize, Exception> {
        let frame_bytes_max = self.frame_bytes_max;
        let Some(consumer) = self.consumers.get_mut(&batch.subscription) else {
            return Ok(batch.items.len());
        };
        let Some(channel) = self.channels.live(consumer.channel) else { return Ok(batch.items.len()) };
        let mut octets = 0;
        let mut sent = from;
        for delivery in batch.items.iter().skip(from) {
            if !consumer.no_ack && !channel.window.has_room() {
                break;
            }
            out.write.make_room((delivery.len as usize).min(SHARE_BYTES_MIN) + METHOD_OCTETS);
            let view = record(batch.record(delivery), delivery.position)?;
            channel.delivery_tag += 1;
            let deliver = Deliver {
                consumer_tag: &consumer.tag,
                delivery_tag: channel.delivery_tag,
                redelivered: delivery.redelivered,
                exchange: ShortStr::cut(view.exchange()).0,
                routing_key: ShortStr::cut(view.key()).0,
            };
            put_deliver(out.write.buffer(), consumer.channel, &deliver);
            let shown = Shown {
                failures: if consumer.counts_deliveries { delivery.failures } else { 0 },
                offset: consumer.is_stream.then_some(delivery.position),
            };
            let block = batch.blocks.get(delivery.block as usize);
            put_content(&mut out.write, consumer.channel, &view, shown, block, frame_bytes_max)?;
            if !consumer.no_ack {
                channel.unacked.push(Held {
                    tag: channel.delivery_tag,
                    subscription: batch.subscription,
                    queue: batch.queue,
                    position: delivery.position,
                    in_window: true,
                });
                channel.window.used += 1;
            }
            octets += u64::from(delivery.len);
            sent += 1;
        }
        if consumer.owed_bytes == 0 && octets > 0 {
            self.owed.push(batch.subscription);
        }
        consumer.owed_bytes += octets;
        Ok(sent)
    }

    /// What was written has left: the queues may send more.
    pub(super) fn give_back(&mut self, out: &mut Outbox) {
        let mut credits = Vec::with_capacity(self.owed.len());
        for subscription in self.owed.drain(..) {
            if let Some(consumer) = self.consumers.get_mut(&subscription) {
                let bytes = std::mem::take(&mut consumer.owed_bytes);
                credits.push(Credit { subscription, bytes, messages_max: None });
            }
        }
        if !credits.is_empty() {
            self.tell(0, Op::Credit(credits), out);
        }
    }

    /// The answer to `basic.get`: a record, if there was one.
    pub(super) fn got(
        &mut self,
        number: u16,
        no_ack: bool,
        got: Option<(Bytes, Delivery)>,
        origin: (QueueId, bool, u64),
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let (queue, counts_deliveries, ready) = origin;
        let frame_bytes_max = self.frame_bytes_max;
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        let Some((bytes, delivery)) = got else {
            self.reply(number, &Method::BasicGetEmpty { reserved_1: ShortStr(b"") }, out);
            return Ok(());
        };
        let view = record(&bytes, delivery.position)?;
        channel.delivery_tag += 1;
        let get_ok = Method::BasicGetOk {
            delivery_tag: channel.delivery_tag,
            redelivered: delivery.redelivered,
            exchange: ShortStr::cut(view.exchange()),
            routing_key: ShortStr::cut(view.key()),
            message_count: u32::try_from(ready).unwrap_or(u32::MAX),
        };
        put_method(out.write.buffer(), number, &get_ok);
        let shown =
            Shown { failures: if counts_deliveries { delivery.failures } else { 0 }, ..Shown::default() };
        put_content(&mut out.write, number, &view, shown, Some(&bytes), frame_bytes_max)?;
        if !no_ack {
            channel.unacked.push(Held {
                tag: channel.delivery_tag,
                subscription: channel.get_subscription,
                queue,
                position: delivery.position,
                in_window: false,
            });
        }
        Ok(())
    }
}

/// Reads a stored record. Damage is told, never passed over.
fn record(bytes: &[u8], position: Position) -> Result<View<'_>, Exception> {
    View::parse(bytes).map_err(|damage| damaged(position, damage))
}

fn damaged(position: Position, damage: stele_record::Damage) -> Exception {
    Exception::new(Code::InternalError, format!("the record at position {position} is damaged: {damage}"))
}

/// Header and body. `block` is the memory that the record lies in, for a large body to be shared.
fn put_content(
    out: &mut Output,
    channel: u16,
    view: &View<'_>,
    shown: Shown,
    block: Option<&Bytes>,
    frame_bytes_max: u32,
) -> Result<(), Exception> {
    if let Some(amqp) = nats::as_amqp091(view) {
        let view = record(&amqp, Position(0))?;
        return put_content(out, channel, &view, shown, Some(&amqp), frame_bytes_max);
    }
    let body = view.body();
    if view.history_bytes().is_empty() && shown == Shown::default() {
        put_header(out.buffer(), channel, view.properties_bytes(), body.len() as u64);
    } else {
        let history = view.history().map_err(|damage| damaged(Position(0), damage))?;
        let properties = render::properties(view, &history, shown);
        put_header(out.buffer(), channel, &properties, body.len() as u64);
    }
    match block {
        Some(block) if body.len() >= SHARE_BYTES_MIN => {
            let out = RefCell::new(out);
            let small = |octets: &[u8]| out.borrow_mut().buffer().extend_from_slice(octets);
            share_body(
                small,
                |piece| out.borrow_mut().share(piece),
                channel,
                &block.slice_ref(body),
                frame_bytes_max,
            );
        }
        _ => put_body(out.buffer(), channel, body, frame_bytes_max),
    }
    Ok(())
}
