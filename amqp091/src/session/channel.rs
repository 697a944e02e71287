//! Channels: their table, their opening and their three ends (by the client, by an error, with the connection).

use super::Connection;
use super::confirm::Confirms;
use super::content::Content;
use super::deliver::Window;
use super::settle::Unacked;
use super::ticket::{Awaited, Pending, Waiting};
use super::tx::Transaction;
use crate::codec::field::{LongStr, ShortStr};
use crate::codec::method::{Method, put_method};
use crate::refuse::{Code, Exception, refused};
use std::collections::BTreeMap;
use stele_model::id::Ticket;
use stele_model::op::{Op, Submit};
use stele_model::refusal::Refusal;
use stele_model::session::Outbox;
use stele_model::settle::How;

/// One open channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Tells this channel from an earlier one of the same number, for answers that come late.
    pub(super) incarnation: u32,
    /// `channel.close` was sent: nothing counts but its answer.
    closing: bool,
    /// The message that is coming in.
    pub(super) content: Content,
    /// In confirm mode: what was not confirmed yet.
    pub(super) confirms: Option<Confirms>,
    /// In transaction mode: what was done since the last commit or rollback.
    pub(super) tx: Option<Transaction>,
    /// Batches with publishes of this channel that were not answered.
    pub(super) batches: u32,
    /// The last delivery tag given.
    pub(super) delivery_tag: u64,
    /// Deliveries that wait for an acknowledgement.
    pub(super) unacked: Unacked,
    /// For consumers started from now on; 0: no limit.
    pub(super) prefetch: u16,
    /// What all consumers share.
    pub(super) window: Window,
    /// Subscriptions by consumer tag.
    pub(super) consumers: BTreeMap<Box<[u8]>, u64>,
    /// The consumer of direct replies: its subscription, and the address to give out.
    pub(super) replies: Option<(u64, String)>,
    /// Under which deliveries of `basic.get` are held; 0: none was made.
    pub(super) get_subscription: u64,
    /// The queue that an empty name means.
    pub(super) queue_last: String,
}

impl Channel {
    fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            closing: false,
            content: Content::default(),
            confirms: None,
            tx: None,
            batches: 0,
            delivery_tag: 0,
            unacked: Unacked::default(),
            prefetch: 0,
            window: Window::default(),
            consumers: BTreeMap::new(),
            replies: None,
            get_subscription: 0,
            queue_last: String::new(),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn expects_content(&self) -> bool {
        !matches!(self.content, Content::Idle)
    }
}

/// The channels by number. Found by index: this stands on the path of every message.
#[derive(Debug, Default)]
pub(super) struct Channels {
    table: Vec<Option<Box<Channel>>>,
    open: u16,
    max: u16,
    incarnation_last: u32,
}

impl Channels {
    /// As negotiated.
    pub(super) fn limit(&mut self, max: u16) {
        self.max = max;
    }

    pub(super) fn get(&self, number: u16) -> Option<&Channel> {
        self.table.get(usize::from(number))?.as_deref()
    }

    pub(super) fn slot(&mut self, number: u16) -> Option<&mut Channel> {
        self.table.get_mut(usize::from(number))?.as_deref_mut()
    }

    /// The channel if it is open and nothing ended it.
    pub(super) fn live(&mut self, number: u16) -> Option<&mut Channel> {
        self.slot(number).filter(|channel| !channel.closing)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> {
        (0..=self.max).filter(|number| self.get(*number).is_some())
    }

    fn insert(&mut self, number: u16) -> Result<(), Exception> {
        if number > self.max || self.open >= self.max {
            let text = format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({})",
                self.open, self.max
            );
            return Err(Exception::new(Code::NotAllowed, text));
        }
        let index = usize::from(number);
        if self.table.len() <= index {
            self.table.resize_with(index + 1, || None);
        }
        self.incarnation_last += 1;
        self.table[index] = Some(Box::new(Channel::new(self.incarnation_last)));
        self.open += 1;
        Ok(())
    }

    fn remove(&mut self, number: u16) {
        if let Some(slot) = self.table.get_mut(usize::from(number))
            && slot.take().is_some()
        {
            self.open -= 1;
        }
    }
}

impl Connection {
    /// A method on a channel that is not open.
    pub(super) fn open_channel(
        &mut self,
        number: u16,
        method: &Method<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        match method {
            Method::ChannelOpen { .. } => {
                self.channels.insert(number).map_err(|exception| exception.by(method.id()))?;
                self.reply(number, &Method::ChannelOpenOk { reserved_1: LongStr(b"") }, out);
                Ok(())
            }
            // Late answers to a close that the client has crossed with its own.
            Method::ChannelCloseOk {} => Ok(()),
            _ => Err(Exception::new(Code::ChannelError, "expected 'channel.open'").by(method.id())),
        }
    }

    /// `channel.close` by the client. It is answered when its consumers are gone from their queues, so that a queue which lives as
    /// long as its consumers is gone as well.
    pub(super) fn close_channel(&mut self, number: u16, method: &Method<'_>, out: &mut Outbox) {
        self.flush(out);
        let left = self.release_channel(number, out);
        self.settles.flush(out);
        if left.is_empty() {
            return self.closed(number, out);
        }
        self.waiting = Some(Waiting::new(number, method, Awaited::Closed { left }));
    }

    /// One consumer of a closed channel is gone.
    pub(super) fn consumer_gone(&mut self, ticket: Ticket, out: &mut Outbox) {
        let Some(Waiting { channel, what: Awaited::Closed { left }, .. }) = &mut self.waiting else { return };
        left.retain(|waited| *waited != ticket);
        let channel = *channel;
        if left.is_empty() {
            self.waiting = None;
            self.closed(channel, out);
        }
    }

    fn closed(&mut self, number: u16, out: &mut Outbox) {
        self.channels.remove(number);
        self.reply(number, &Method::ChannelCloseOk {}, out);
    }

    /// Ends a channel with a reason the client is told. What it sends until it has answered is passed over.
    pub(super) fn fail_channel(&mut self, number: u16, exception: &Exception, out: &mut Outbox) {
        self.flush(out);
        self.release_channel(number, out);
        self.settles.flush(out);
        let text = exception.reply_text();
        let (class_id, method_id) = exception.method;
        let reply_text = ShortStr(text.as_bytes());
        let close =
            Method::ChannelClose { reply_code: exception.code as u16, reply_text, class_id, method_id };
        put_method(out.write.buffer(), number, &close);
    }

    /// Gives back what the channel holds, and marks it as closing. Returns the requests by which its consumers end.
    pub(super) fn release_channel(&mut self, number: u16, out: &mut Outbox) -> Vec<Ticket> {
        let Some(channel) = self.channels.live(number) else { return Vec::new() };
        let next = Channel { closing: true, ..Channel::new(channel.incarnation) };
        let mut gone = std::mem::replace(channel, next);
        self.assembly_bytes -= gone.content.bytes_len();
        if let Some(tx) = &gone.tx {
            gone.unacked.put_back(tx.held());
        }
        self.tell(number, Op::CloseLane, out);
        let mut ends = Vec::with_capacity(gone.consumers.len());
        for subscription in gone.consumers.into_values() {
            self.consumers.remove(&subscription);
            let ticket = self.tickets.issue(Pending::ConsumerGone);
            out.submits.push(Submit { ticket, lane: 0, op: Op::Unsubscribe { subscription } });
            ends.push(ticket);
        }
        // RabbitMQ 4.3 counts a closed channel as a failed delivery, where deliveries are counted.
        gone.unacked.drain(|held| {
            self.settles.add(
                held.subscription,
                held.queue,
                How::Release { seen: true, counted: true },
                held.position,
            );
        });
        gone.window.release(&mut self.settles);
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.channel == number) {
            // What a failed lane asked for is dropped by the hub: no answer comes.
            self.tickets.take(waiting.ticket);
        }
        ends
    }

    /// A method on a channel that waits for `channel.close-ok`. Never an error: the two sides talk past one another.
    pub(super) fn closing_method(&mut self, number: u16, payload: &[u8], out: &mut Outbox) -> usize {
        match Method::decode(payload) {
            Ok(Method::ChannelCloseOk {}) => self.channels.remove(number),
            Ok(Method::ChannelClose { .. }) => self.reply(number, &Method::ChannelCloseOk {}, out),
            _ => {}
        }
        0
    }

    /// The hub has refused a publish as a whole.
    pub(super) fn lane_failed(
        &mut self,
        ticket: Ticket,
        lane: u16,
        refusal: &Refusal,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let incarnation = self.tickets.get(ticket).and_then(|pending| pending.incarnation(lane));
        if self.channels.live(lane).map(|channel| channel.incarnation) != incarnation {
            return Ok(());
        }
        self.fail(lane, refused(refusal).by((60, 40)), out)
    }
}
