//! The state machine of one connection: bytes and time in, bytes and submits out ([`Session`]).
//!
//! Called by the driver of a socket. What must hold: methods of a connection take effect in the order they came in; a method
//! that needs an answer from the hub stops the parsing until it is there (`Waiting`), so at most one such answer is open, while
//! any number of publishes may be; what is written for a channel stays in order. This file holds the loop and the `match`;
//! each verb has a file below.
//!
//! Not here: routing, queues, passwords (the driver answers [`Outbox::authenticate`]), deciding when to read the socket.

mod answer;
mod channel;
mod clock;
mod confirm;
mod consume;
mod content;
mod define;
mod deliver;
mod handshake;
mod publish;
mod render;
mod settle;
mod ticket;
mod tx;
mod values;

use crate::codec::frame::{self, Kind};
use crate::codec::method::{Method, put_method};
use crate::codec::{Violation, hot};
use crate::profile::{self, Profile};
use crate::refuse::{Code, Exception};
use channel::Channels;
use clock::Clock;
use confirm::LastAck;
use consume::Consumer;
use handshake::Peer;
use publish::Batch;
use settle::Settles;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{Now, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Deliveries, Outcome, Wake};
use stele_model::session::{Outbox, Principal, Rejected, Session};
use ticket::{Pending, Tickets, Waiting};

/// One connection.
#[derive(Debug)]
pub struct Connection {
    profile: Arc<Profile>,
    /// Makes names that the server gives differ between connections.
    seed: u64,
    phase: Phase,
    /// `connection.close` was sent; once is enough.
    close_sent: bool,
    clock: Clock,
    peer: Peer,
    /// As negotiated, octets.
    frame_bytes_max: u32,
    channels: Channels,
    /// By subscription.
    consumers: BTreeMap<u64, Consumer>,
    subscription_last: u64,
    batch: Batch,
    settles: Settles,
    tickets: Tickets,
    waiting: Option<Waiting>,
    /// The server wants publishers to stop: why.
    blocked: Option<String>,
    /// The driver was asked not to read.
    paused: bool,
    /// Octets of unanswered publishes.
    in_flight_bytes: u64,
    /// Octets of messages that have not come whole.
    assembly_bytes: usize,
    /// Subscriptions whose byte credit is to be given back.
    owed: Vec<u64>,
    /// Length of the output when the session last returned: if it differs, the driver has taken some.
    written: usize,
    last_ack: Option<LastAck>,
}

/// How far the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing was said yet.
    Header,
    /// `connection.start` was sent.
    Starting,
    /// The credentials are being checked.
    Authenticating,
    /// `connection.tune` was sent.
    Tuning,
    /// `connection.tune-ok` was received.
    Opening,
    /// `connection.open-ok` was sent.
    Running,
    /// `connection.close` was sent: nothing counts any more but its answer.
    Closing,
    /// As closing, but the client's frames cannot be found any more.
    Lost,
    /// The driver was told to end it.
    Closed,
}

impl Connection {
    /// A connection that has just been accepted. `seed` should differ between connections.
    ///
    /// # Panics
    /// If the profile is not valid ([`Profile::is_valid`]): drivers check it when they read their configuration.
    #[must_use]
    pub fn new(profile: Arc<Profile>, seed: u64, now: Now) -> Self {
        assert!(profile.is_valid(), "the profile's numbers are within their bounds");
        Self {
            profile,
            seed,
            phase: Phase::Header,
            close_sent: false,
            clock: Clock::new(now),
            peer: Peer::default(),
            frame_bytes_max: profile::FRAME_BYTES_HANDSHAKE,
            channels: Channels::default(),
            consumers: BTreeMap::new(),
            subscription_last: 0,
            batch: Batch::default(),
            settles: Settles::default(),
            tickets: Tickets::default(),
            waiting: None,
            blocked: None,
            paused: false,
            in_flight_bytes: 0,
            assembly_bytes: 0,
            owed: Vec::new(),
            written: 0,
            last_ack: None,
        }
    }

    /// Whether the next frame may be looked at now.
    fn may_parse(&self) -> bool {
        let full = self.in_flight_bytes > profile::IN_FLIGHT_BYTES_MAX;
        self.phase != Phase::Closed
            && self.phase != Phase::Authenticating
            && self.waiting.is_none()
            && !self.holds_enough()
            && !full
    }

    /// Whether the publishes that are held because the server blocks publishers have reached their bound.
    fn holds_enough(&self) -> bool {
        self.blocked.is_some() && self.batch.is_large()
    }

    /// One frame, or as many as belong to one message. Returns the octets used; 0: wait.
    fn step(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> Result<usize, Exception> {
        match self.phase {
            Phase::Header => return Ok(self.protocol_header(input, out)),
            Phase::Lost => return Ok(input.len()),
            _ => {}
        }
        // RabbitMQ's leniency: a frame may exceed what was agreed by its own overhead.
        let Some((frame, used)) =
            frame::frame(input, self.frame_bytes_max).map_err(|violation| self.lost(violation))?
        else {
            return Ok(0);
        };
        if self.phase == Phase::Closing {
            self.closing_frame(&frame, out);
            return Ok(used);
        }
        match (frame.channel, frame.kind) {
            (0, Kind::Heartbeat) => Ok(used),
            (0, Kind::Method) => self.connection_method(frame.payload, out).map(|()| used),
            (0, _) => Err(Exception::new(Code::ChannelError, "content on channel 0")),
            (_, Kind::Heartbeat) => Err(unexpected(&frame)),
            (_, _) if self.phase != Phase::Running => Err(unexpected(&frame)),
            (_, Kind::Method) => self.channel_method(now, &frame, used, input, out),
            (_, Kind::Header) => self.content_header(now, &frame, out).map(|()| used),
            (_, Kind::Body) => self.content_body(&frame, out).map(|()| used),
        }
    }

    /// A method on a channel. `input` holds the frame, which is `used` octets long, and what follows it.
    fn channel_method(
        &mut self,
        now: Now,
        frame: &frame::Frame<'_>,
        used: usize,
        input: &[u8],
        out: &mut Outbox,
    ) -> Result<usize, Exception> {
        let number = frame.channel;
        match self.channels.get(number) {
            Some(channel) if channel.is_closing() => {
                return Ok(used + self.closing_method(number, frame.payload, out));
            }
            Some(channel) if channel.expects_content() => {
                return Err(Exception::new(Code::UnexpectedFrame, "expected content, got a method instead"));
            }
            Some(_) => {}
            None => {
                let method = Method::decode(frame.payload).map_err(violation)?;
                return self.open_channel(number, &method, out).map(|()| used);
            }
        }
        if let Some(publish) = hot::publish(frame.payload).map_err(violation)? {
            let rest = input.get(used..).unwrap_or_default();
            let more =
                self.publish(now, number, &publish, rest, out).map_err(|exception| exception.by((60, 40)))?;
            return Ok(used + more);
        }
        if let Some(settle) = hot::settle(frame.payload) {
            let settled = self.settle(number, &settle, out);
            let id = frame.payload.get(3).map_or((60, 0), |method| (60, u16::from(*method)));
            return settled.or_else(|exception| self.fail(number, exception.by(id), out)).map(|()| used);
        }
        let method = Method::decode(frame.payload).map_err(violation)?;
        if method_waits_for_publishes(&method) && self.wait_for_publishes(number, out) {
            return Ok(0);
        }
        let done = self.channel_verb(now, number, &method, out);
        done.or_else(|exception| self.fail(number, exception.by(method.id()), out)).map(|()| used)
    }

    /// All methods of a channel that do not come for each message.
    fn channel_verb(
        &mut self,
        now: Now,
        number: u16,
        method: &Method<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        match method {
            Method::ChannelOpen { .. } => {
                Err(Exception::new(Code::ChannelError, "second 'channel.open' seen"))
            }
            Method::ChannelFlow { active: true } => {
                self.reply(number, &Method::ChannelFlowOk { active: true }, out);
                Ok(())
            }
            Method::ChannelFlow { active: false } => {
                Err(Exception::new(Code::NotImplemented, "active=false"))
            }
            Method::ChannelFlowOk { .. } => Ok(()),
            Method::ChannelClose { .. } => {
                self.close_channel(number, method, out);
                Ok(())
            }
            Method::ChannelCloseOk {} => {
                Err(Exception::new(Code::ChannelError, "'channel.close-ok' without a close"))
            }
            Method::AccessRequest { .. } => {
                self.reply(number, &Method::AccessRequestOk { reserved_1: 1 }, out);
                Ok(())
            }
            Method::ExchangeDeclare { .. }
            | Method::ExchangeDelete { .. }
            | Method::ExchangeBind { .. }
            | Method::ExchangeUnbind { .. } => self.exchange_method(number, method, out),
            Method::QueueDeclare { .. }
            | Method::QueueBind { .. }
            | Method::QueueUnbind { .. }
            | Method::QueuePurge { .. }
            | Method::QueueDelete { .. } => self.queue_method(number, method, out),
            Method::BasicQos { prefetch_size, prefetch_count, global } => {
                self.qos(number, *prefetch_size, *prefetch_count, *global, out)
            }
            Method::BasicConsume { .. } => self.consume(now, number, method, out),
            Method::BasicCancel { consumer_tag, no_wait } => {
                self.cancel(number, consumer_tag.0, *no_wait, out);
                Ok(())
            }
            Method::BasicCancelOk { .. } => Ok(()),
            Method::BasicGet { queue, no_ack, .. } => self.get(number, *queue, *no_ack, out),
            Method::BasicRecover { requeue } => {
                self.recover(number, *requeue, out)?;
                self.reply(number, &Method::BasicRecoverOk {}, out);
                Ok(())
            }
            Method::BasicRecoverAsync { requeue } => self.recover(number, *requeue, out),
            Method::ConfirmSelect { no_wait } => self.confirm_select(number, *no_wait, out),
            Method::TxSelect {} | Method::TxCommit {} | Method::TxRollback {} => {
                self.tx_method(number, method, out)
            }
            other => Err(Exception::new(
                Code::CommandInvalid,
                format!("{} cannot come on a channel", other.name()),
            )),
        }
    }

    /// Ends the channel, or the connection if the code is hard.
    fn fail(&mut self, number: u16, exception: Exception, out: &mut Outbox) -> Result<(), Exception> {
        if exception.code.is_hard() {
            return Err(exception);
        }
        self.fail_channel(number, &exception, out);
        Ok(())
    }

    fn reply(&mut self, channel: u16, method: &Method<'_>, out: &mut Outbox) {
        put_method(out.write.buffer(), channel, method);
    }

    /// Hands everything gathered so far to the hub, in the order it matters: publishes, then settles.
    fn flush(&mut self, out: &mut Outbox) {
        if self.blocked.is_none() {
            self.flush_publishes(out);
        }
        self.settles.flush(out);
    }

    /// Sends a request that will be answered, and stops parsing until then.
    fn ask(&mut self, waiting: Waiting, op: Op, out: &mut Outbox) {
        self.flush(out);
        let ticket = self.tickets.issue(Pending::Waiting);
        out.submits.push(Submit { ticket, lane: waiting.channel, op });
        self.waiting = Some(Waiting { ticket, ..waiting });
    }

    /// Sends a request that has no answer.
    fn tell(&mut self, lane: u16, op: Op, out: &mut Outbox) {
        out.submits.push(Submit { ticket: Ticket(0), lane, op });
    }

    /// The octets cannot be frames any more.
    fn lost(&mut self, violation: Violation) -> Exception {
        let exception = self::violation(violation);
        if exception.code == Code::FrameError {
            self.phase = Phase::Lost;
        }
        exception
    }

    /// Asks the driver to stop or to go on reading, when that changed.
    fn throttle(&mut self, out: &mut Outbox) {
        let bound = if self.paused { profile::IN_FLIGHT_BYTES_RESUME } else { profile::IN_FLIGHT_BYTES_MAX };
        let pause = self.holds_enough() || self.in_flight_bytes > bound;
        if pause != self.paused {
            self.paused = pause;
            out.pause = Some(pause);
        }
    }

    /// Runs `work` and keeps the books that every call has to keep.
    fn enter<R>(&mut self, now: Now, out: &mut Outbox, work: impl FnOnce(&mut Self, &mut Outbox) -> R) -> R {
        if out.write.buffer().len() != self.written {
            self.last_ack = None;
        }
        let before = out.write.len();
        let result = work(self, out);
        self.written = out.write.buffer().len();
        self.throttle(out);
        if out.write.len() != before {
            self.clock.sent(now);
        }
        result
    }
}

impl Session for Connection {
    fn certified(&mut self, user: Option<&str>) {
        self.peer.certified = Some(user.map(str::to_owned));
    }

    fn receive(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> usize {
        self.clock.received(now, input.len());
        let used = self.enter(now, out, |this, out| {
            let mut used = 0;
            while this.may_parse() {
                match this.step(now, input.get(used..).unwrap_or_default(), out) {
                    Ok(0) => break,
                    Ok(more) => used += more,
                    Err(exception) => this.close_connection(now, &exception, out),
                }
            }
            this.flush(out);
            used
        });
        self.clock.left(input.len() - used);
        used
    }

    fn complete(&mut self, now: Now, ticket: Ticket, outcome: Outcome, out: &mut Outbox) {
        self.enter(now, out, |this, out| {
            if let Err(exception) = this.answered(ticket, outcome, out) {
                this.close_connection(now, &exception, out);
            }
            this.flush(out);
        });
    }

    fn authenticated(&mut self, now: Now, result: Result<Principal, Rejected>, out: &mut Outbox) {
        self.enter(now, out, |this, out| {
            if let Err(exception) = this.credentials_checked(result, out) {
                this.close_connection(now, &exception, out);
            }
        });
    }

    fn deliver(&mut self, now: Now, batch: &Deliveries, out: &mut Outbox) {
        self.enter(now, out, |this, out| {
            if let Err(exception) = this.delivered(batch, out) {
                this.close_connection(now, &exception, out);
            }
            this.settles.flush(out);
        });
    }

    fn unfinished_bytes(&self) -> usize {
        self.assembly_bytes
    }

    fn wake(&mut self, now: Now, what: Wake, out: &mut Outbox) {
        self.enter(now, out, |this, out| match what {
            Wake::Cancelled { subscription } => this.cancelled(subscription, out),
            Wake::Blocked(reason) => this.block(reason, out),
            Wake::Unblocked => this.unblock(out),
            Wake::Close(reason) => {
                this.close_connection(now, &Exception::new(Code::ConnectionForced, reason), out);
            }
            // This dialect reads no streams by position and no shared groups, and watches no interest.
            Wake::Appended { .. }
            | Wake::Interest { .. }
            | Wake::Shared(_)
            | Wake::Echo(_)
            | Wake::Leaving => {}
            Wake::Drained => this.give_back(out),
        });
    }

    fn deadline(&self) -> Option<Now> {
        self.clock.deadline(self.ages())
    }

    fn expire(&mut self, now: Now, out: &mut Outbox) {
        self.enter(now, out, |this, out| this.time_passed(now, out));
    }

    fn client(&self) -> &str {
        &self.peer.client
    }
}

/// Methods that RabbitMQ answers only after it has looked at the publishes before them, and that we answer without the hub:
/// a failed publish must be told first.
fn method_waits_for_publishes(method: &Method<'_>) -> bool {
    matches!(
        method,
        Method::ChannelClose { .. }
            | Method::ChannelFlow { .. }
            | Method::ConfirmSelect { .. }
            | Method::BasicQos { .. }
            | Method::BasicRecover { .. }
            | Method::AccessRequest { .. }
            | Method::TxSelect {}
    )
}

/// What a violation of the codec is in AMQP's codes.
fn violation(violation: Violation) -> Exception {
    let code = match violation {
        Violation::FrameTooLarge { .. } | Violation::FrameEnd(_) | Violation::FrameKind(_) => {
            Code::FrameError
        }
        Violation::Syntax(_) => Code::FrameError,
        Violation::UnknownMethod { .. } => Code::CommandInvalid,
    };
    Exception::new(code, violation.to_string())
}

fn unexpected(frame: &frame::Frame<'_>) -> Exception {
    let text = format!("unexpected {:?} frame on channel {}", frame.kind, frame.channel);
    Exception::new(Code::UnexpectedFrame, text)
}
