//! The hub's answers: which request they belong to, and what is said to the client.

use super::Connection;
use super::ticket::{Awaited, Pending, Waiting};
use crate::codec::field::ShortStr;
use crate::codec::method::Method;
use crate::refuse::{Exception, refused};
use stele_model::id::Ticket;
use stele_model::outcome::{Done, Outcome};
use stele_model::session::Outbox;

impl Connection {
    /// The answer to a ticket.
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        if let Outcome::LaneFailed { lane, refusal, .. } = outcome {
            return self.lane_failed(ticket, lane, &refusal, out);
        }
        match self.tickets.take(ticket) {
            Some(Pending::Publish(publishing)) => self.published(&publishing, outcome, out),
            Some(Pending::Waiting) => match self.waiting.take_if(|waiting| waiting.ticket == ticket) {
                Some(waiting) => {
                    let (channel, method) = (waiting.channel, waiting.method);
                    self.waited(waiting, outcome, out)
                        .or_else(|exception| self.fail(channel, exception.by(method), out))
                }
                // Its channel has failed meanwhile.
                None => Ok(()),
            },
            Some(Pending::ConsumerGone) => {
                self.consumer_gone(ticket, out);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The answer that the parsing has waited for.
    fn waited(&mut self, waiting: Waiting, outcome: Outcome, out: &mut Outbox) -> Result<(), Exception> {
        let number = waiting.channel;
        if let Awaited::Opened = waiting.what {
            return self.opened(outcome, out);
        }
        let done = match outcome {
            Outcome::Done(done) => done,
            Outcome::Refused(refusal) => return Err(refused(&refusal)),
            Outcome::LaneFailed { .. } | Outcome::Published(_) => unreachable!("these answer publishes"),
        };
        let count = |ready: u64| u32::try_from(ready).unwrap_or(u32::MAX);
        match (waiting.what, done) {
            (Awaited::Unit(reply), Done::Unit) => {
                if let Some(reply) = reply {
                    self.reply(number, &reply, out);
                }
            }
            (Awaited::Queue { no_wait }, Done::Queue { name, ready, consumers }) => {
                self.declared(number, name, (ready, consumers), no_wait, out);
            }
            (Awaited::Deleted { no_wait }, Done::Deleted { ready }) => {
                if !no_wait {
                    self.reply(number, &Method::QueueDeleteOk { message_count: count(ready) }, out);
                }
            }
            (Awaited::Purged { no_wait }, Done::Purged { count: purged }) => {
                if !no_wait {
                    self.reply(number, &Method::QueuePurgeOk { message_count: count(purged) }, out);
                }
            }
            (Awaited::Subscribed { subscription, mut consumer, no_wait }, done) => {
                let Some(channel) = self.channels.live(number) else { return Ok(()) };
                match done {
                    Done::Subscribed { counts_deliveries, is_stream, .. } => {
                        consumer.counts_deliveries = counts_deliveries;
                        consumer.is_stream = is_stream;
                    }
                    Done::Replies { address } => channel.replies = Some((subscription, address)),
                    other => unreachable!("the hub answers basic.consume with {other:?}"),
                }
                channel.consumers.insert(consumer.tag.clone(), subscription);
                if !no_wait {
                    let consumer_tag = ShortStr(&consumer.tag);
                    self.reply(number, &Method::BasicConsumeOk { consumer_tag }, out);
                }
                self.consumers.insert(subscription, *consumer);
            }
            (Awaited::Unsubscribed { subscription, tag, no_wait }, Done::Unsubscribed) => {
                self.forget_consumer(subscription);
                if !no_wait {
                    self.reply(number, &Method::BasicCancelOk { consumer_tag: ShortStr(&tag) }, out);
                }
            }
            (Awaited::Got { no_ack }, Done::Got { queue, counts_deliveries, delivery, ready }) => {
                return self.got(number, no_ack, delivery, (queue, counts_deliveries, ready), out);
            }
            (what, done) => unreachable!("the hub answers {what:?} with {done:?}"),
        }
        Ok(())
    }
}
