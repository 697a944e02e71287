//! Publisher confirms: which publishes of a channel wait, and what is said when batches are answered.
//!
//! What must hold: `multiple` covers a tag only when everything up to it is settled; a return stands before its ack.

use super::Connection;
use super::publish::{LaneRun, Publishing};
use super::ticket::{Awaited, Waiting};
use crate::codec::content::{put_body, put_header};
use crate::codec::field::ShortStr;
use crate::codec::hot::{ACK_FRAME_BYTES, put_confirm};
use crate::codec::method::{Method, put_method};
use crate::refuse::{Code, Exception};
use bytes::BytesMut;
use std::collections::VecDeque;
use stele_model::id::Ticket;
use stele_model::outcome::{Outcome, Published};
use stele_model::session::Outbox;
use stele_record::View;

/// Tags of a channel in confirm mode.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// The last tag given.
    last: u64,
    /// Batches that were not confirmed all, in order of their tags: first tag, and whether it was answered out of order.
    open: VecDeque<(u64, bool)>,
}

impl Confirms {
    /// The tag of the next publish.
    pub(super) fn issue(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A batch with these tags is under way.
    pub(super) fn opened(&mut self, first: u64) {
        self.open.push_back((first, false));
    }

    /// The batch that starts with `first` was answered. Whether everything before it was, too.
    fn settled(&mut self, first: u64) -> bool {
        let is_floor = self.open.front().is_some_and(|(front, _)| *front == first);
        if let Ok(index) = self.open.binary_search_by_key(&first, |(first, _)| *first) {
            self.open[index].1 = true;
        }
        while self.open.front().is_some_and(|(_, settled)| *settled) {
            self.open.pop_front();
        }
        is_floor
    }
}

impl Connection {
    /// The answer to a batch.
    pub(super) fn published(
        &mut self,
        publishing: &Publishing,
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        self.in_flight_bytes -= publishing.bytes;
        let Outcome::Published(published) = outcome else {
            unreachable!("the hub answers publishes with {outcome:?}")
        };
        for lane in &publishing.lanes {
            let live =
                self.channels.live(lane.channel).filter(|channel| channel.incarnation == lane.incarnation);
            let Some(channel) = live else { continue };
            channel.batches -= 1;
            let buffer = out.write.buffer();
            return_unroutable(lane.channel, &published, self.frame_bytes_max, buffer);
            if lane.awaited > 0
                && let Some(confirms) = &mut channel.confirms
            {
                confirm(lane, confirms.settled(lane.first), &published, &mut self.last_ack, buffer);
            }
            if let Some(tx) = &mut channel.tx {
                let is_ours = |n: &u32| {
                    published.batch.items.get(*n as usize).is_some_and(|item| item.lane == lane.channel)
                };
                tx.refused |= published.refused.iter().any(|(n, _)| is_ours(n));
            }
        }
        self.publishes_answered(out)
    }

    /// If a method waits for the publishes of its channel, it may go on when these are answered.
    fn publishes_answered(&mut self, out: &mut Outbox) -> Result<(), Exception> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        let number = waiting.channel;
        if self.channels.get(number).is_some_and(|channel| channel.batches > 0) {
            return Ok(());
        }
        match waiting.what {
            Awaited::Publishes => self.waiting = None,
            Awaited::Committed => {
                self.waiting = None;
                return self.committed(number, out).or_else(|exception| self.fail(number, exception, out));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether publishes of the channel are under way; then parsing stops until they are answered.
    pub(super) fn wait_for_publishes(&mut self, number: u16, out: &mut Outbox) -> bool {
        if self.blocked.is_some() || self.channels.get(number).is_none_or(|channel| channel.batches == 0) {
            return false;
        }
        self.flush(out);
        self.waiting =
            Some(Waiting { ticket: Ticket(0), channel: number, method: (0, 0), what: Awaited::Publishes });
        true
    }

    pub(super) fn confirm_select(
        &mut self,
        number: u16,
        no_wait: bool,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        if let Some(channel) = self.channels.live(number) {
            if channel.tx.is_some() {
                return Err(Exception::new(
                    Code::PreconditionFailed,
                    "cannot switch from tx to confirm mode",
                ));
            }
            channel.confirms.get_or_insert_default();
        }
        if !no_wait {
            self.reply(number, &Method::ConfirmSelectOk {}, out);
        }
        Ok(())
    }
}

/// Confirms the part of a batch that one channel published.
fn confirm(
    lane: &LaneRun,
    is_floor: bool,
    published: &Published,
    last_ack: &mut Option<LastAck>,
    out: &mut BytesMut,
) {
    let last = lane.first + lane.awaited - 1;
    if published.refused.is_empty() && published.dropped.is_empty() && is_floor {
        return acknowledge(lane.channel, lane.first, last, last_ack, out);
    }
    let (mut refused, mut dropped) =
        (published.refused.iter().peekable(), published.dropped.iter().peekable());
    let mut tag = lane.first;
    let mut accepted = Vec::new();
    for (item, n) in published.batch.items.iter().zip(0_u32..) {
        let is_refused = refused.next_if(|(refused, _)| *refused == n).is_some();
        let is_dropped = dropped.next_if(|dropped| **dropped == n).is_some();
        if item.lane != lane.channel || !item.awaited {
            continue;
        }
        if is_refused {
            put_confirm(out, lane.channel, tag, false, false);
        } else if !is_dropped {
            accepted.push(tag);
        }
        tag += 1;
    }
    if is_floor && published.dropped.is_empty() {
        if let Some(last) = accepted.last() {
            // What was refused is settled by its nack; the rest up to here is accepted.
            put_confirm(out, lane.channel, *last, accepted.len() > 1, true);
        }
    } else {
        accepted.iter().for_each(|tag| put_confirm(out, lane.channel, *tag, false, true));
    }
}

/// The confirm that was written last. While it is the last thing in the output it can be made to cover more: clients that flush
/// each publish make many batches to one commit (88 k confirm frames a second in the prototype, a tenth of that with this).
#[derive(Clone, Copy, Debug)]
pub(super) struct LastAck {
    channel: u16,
    tag: u64,
    /// Length of the output just after it.
    end: usize,
}

/// One `basic.ack` for `first` to `last`, before which everything is settled.
fn acknowledge(channel: u16, first: u64, last: u64, last_ack: &mut Option<LastAck>, out: &mut BytesMut) {
    let continues =
        last_ack.is_some_and(|ack| ack.channel == channel && ack.tag + 1 == first && ack.end == out.len());
    if continues {
        out.truncate(out.len() - ACK_FRAME_BYTES);
    }
    put_confirm(out, channel, last, continues || last > first, true);
    *last_ack = Some(LastAck { channel, tag: last, end: out.len() });
}

/// Sends back the mandatory publishes of a channel that no queue took.
fn return_unroutable(channel: u16, published: &Published, frame_bytes_max: u32, out: &mut BytesMut) {
    for n in &published.unroutable {
        if published.batch.items.get(*n as usize).is_none_or(|item| item.lane != channel) {
            continue;
        }
        let view = View::parse(published.batch.record(*n)).expect("a record that this session wrote");
        let returned = Method::BasicReturn {
            reply_code: 312,
            reply_text: ShortStr(b"NO_ROUTE"),
            exchange: ShortStr(view.exchange()),
            routing_key: ShortStr(view.key()),
        };
        put_method(out, channel, &returned);
        put_header(out, channel, view.properties_bytes(), view.body().len() as u64);
        put_body(out, channel, view.body(), frame_bytes_max);
    }
}
