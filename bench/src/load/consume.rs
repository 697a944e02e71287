//! The consuming side: one thread that reads, checks and acknowledges for a group of consumers.
//!
//! Every body is checked: its sequence number must be the one after the last, its seal must fit. So a message lost, doubled,
//! reordered or mangled on the way is found, and the line of the report is marked invalid.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::event::PollFlags;

use super::{Control, Seal, write_some};
use crate::client::{Connection, put_close};
use crate::wire::{self, Frame, Reader, method};

/// How long a closing channel may take to deliver what the broker had already sent.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// What a consumer does with the one queue it reads.
#[derive(Clone, Copy)]
pub(crate) struct Consuming {
    /// Unacknowledged messages at most; 0: no limit.
    pub prefetch: u16,
    /// Acknowledge every so many messages, `multiple`; `None`: automatic.
    pub ack_run: Option<u32>,
}

/// The sequence numbers a queue must deliver: `first`, `first + step`, …
#[derive(Clone, Copy)]
pub(crate) struct Sequence {
    pub next: u64,
    pub step: u64,
    pub body_bytes: usize,
    pub seal: Seal,
}

impl Sequence {
    fn check(&mut self, body: &[u8]) -> Result<()> {
        ensure!(
            body.len() == self.body_bytes,
            "a body of {} instead of {} bytes",
            body.len(),
            self.body_bytes
        );
        let number = self.seal.read(body)?;
        ensure!(number == self.next, "message {number} instead of {}", self.next);
        self.next += self.step;
        Ok(())
    }
}

/// One consumer on its own connection.
pub(super) struct Consumer {
    queue: String,
    link: Connection,
    sequence: Sequence,
    ack_run: Option<u32>,
    /// Body size from the last content header, until the body has come.
    header: Option<u64>,
    tag: u64,
    unacked: u32,
    acks: Vec<u8>,
}

impl Consumer {
    pub(super) fn new(mut link: Connection, queue: &str, how: Consuming, sequence: Sequence) -> Result<Self> {
        link.consume(queue, how.prefetch, how.ack_run.is_none())?;
        link.hurry()?;
        let ack_run = how.ack_run;
        Ok(Self {
            queue: queue.into(),
            link,
            sequence,
            ack_run,
            header: None,
            tag: 0,
            unacked: 0,
            acks: Vec::new(),
        })
    }

    /// Takes every whole message out of the inbox; `true` when the channel's close was answered.
    fn take(&mut self, control: &Control) -> Result<bool> {
        let mut count = 0;
        while let Some(frame) = self.link.inbox.next()? {
            match frame {
                Frame::Method(method::BASIC_DELIVER, args) => {
                    let mut args = Reader(args);
                    let tag = args.short_string().and_then(|_consumer| args.u64());
                    self.tag = tag.map_err(|v| anyhow::anyhow!("deliver: {v:?}"))?;
                }
                Frame::Header { body_bytes } => self.header = Some(body_bytes),
                Frame::Body(body) => {
                    ensure!(self.header.take() == Some(body.len() as u64), "a body in pieces");
                    self.sequence.check(body)?;
                    count += 1;
                    self.unacked += 1;
                    if self.ack_run.is_some_and(|run| self.unacked >= run) {
                        wire::put_ack(&mut self.acks, self.tag, true);
                        self.unacked = 0;
                    }
                }
                Frame::Method(method::BASIC_CANCEL, _) => bail!("the broker cancelled the consumer"),
                Frame::Method(method::CHANNEL_CLOSE_OK, _) => {
                    control.count_received(count);
                    return Ok(true);
                }
                Frame::Method(..) | Frame::Heartbeat => {}
            }
        }
        control.count_received(count);
        Ok(false)
    }

    /// Acknowledges an unfinished run, so that nothing is left when messages stop coming.
    fn ack_rest(&mut self) {
        if self.ack_run.is_some() && self.unacked > 0 {
            wire::put_ack(&mut self.acks, self.tag, true);
            self.unacked = 0;
        }
    }

    fn write(&mut self) -> Result<()> {
        if !self.acks.is_empty() {
            let sent = write_some(&mut self.link.stream, &self.acks)?;
            self.acks.drain(..sent);
        }
        Ok(())
    }

    /// Closes the channel and counts what still arrives until the broker agrees: a message delivered twice shows here.
    fn close(mut self, control: &Control) -> Result<()> {
        self.ack_rest();
        wire::put_method(&mut self.acks, 1, method::CHANNEL_CLOSE, put_close);
        let deadline = Instant::now() + CLOSE_MAX;
        while !self.take(control)? {
            ensure!(Instant::now() < deadline, "the channel did not close");
            self.write()?;
            let wants = if self.acks.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            super::poll([(&self.link.stream, wants)], super::CONSUMER_PATIENCE, false)?;
            self.link.inbox.fill(&mut self.link.stream)?;
        }
        Ok(())
    }
}

/// Runs a group of consumers until the load is over, then closes their channels.
pub(super) fn run(mut consumers: Vec<Consumer>, control: &Control) -> Result<()> {
    // What came together with `consume-ok` is already in the inbox.
    for consumer in &mut consumers {
        turn(consumer, control)?;
    }
    let alone = matches!(&consumers[..], [consumer] if consumer.ack_run == Some(1));
    while !control.has_failed() && !control.consumers_stop() {
        let wants = consumers.iter().map(|c| {
            (&c.link.stream, if c.acks.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT })
        });
        let ready = super::poll(wants, super::CONSUMER_PATIENCE, alone)?;
        let idle = ready.iter().all(|flags| flags.is_empty());
        for (consumer, ready) in consumers.iter_mut().zip(ready) {
            if idle {
                consumer.ack_rest();
            } else if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                consumer.link.inbox.fill(&mut consumer.link.stream)?;
            }
            turn(consumer, control)?;
        }
    }
    if !control.has_failed() {
        for consumer in consumers {
            consumer.close(control)?;
        }
    }
    Ok(())
}

fn turn(consumer: &mut Consumer, control: &Control) -> Result<()> {
    let taken = consumer.take(control);
    taken.and_then(|_| consumer.write()).map_err(|e| e.context(format!("consumer of {}", consumer.queue)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(number: u64, seal: Seal) -> Vec<u8> {
        let mut body = vec![b'.'; 32];
        seal.write(number, &mut body);
        body
    }

    #[test]
    fn a_lost_doubled_or_foreign_message_is_noticed() {
        let seal = Seal(7);
        let start = Sequence { next: 5, step: 10, body_bytes: 32, seal };
        let after = |numbers: &[u64]| {
            let mut sequence = start;
            numbers.iter().try_for_each(|&number| sequence.check(&body(number, seal)))
        };
        assert!(after(&[5, 15, 25]).is_ok());
        assert!(after(&[5, 25]).is_err());
        assert!(after(&[5, 5]).is_err());
        assert!({ start }.check(&body(5, Seal(8))).is_err());
        assert!({ start }.check(&body(5, seal)[..31]).is_err());
    }
}
