//! `basic.consume`, `basic.cancel`, `basic.get`, `basic.qos`.

use super::Connection;
use super::publish::REPLY_TO;
use super::ticket::{Awaited, Waiting};
use super::values::{made_up_name, type_name};
use crate::codec::field::ShortStr;
use crate::codec::method::Method;
use crate::profile::{CONSUMER_BYTES_MAX, CONSUMERS_PER_CHANNEL_MAX};
use crate::refuse::{Code, Exception};
use stele_model::id::{Now, Position};
use stele_model::op::{Credit, Get, Op, Subscribe};
use stele_model::session::Outbox;
use stele_model::stream::StreamStart;
use stele_record::table::{Table, Value};

/// A consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    /// Its channel.
    pub(super) channel: u16,
    /// Its consumer tag.
    pub(super) tag: Box<[u8]>,
    /// Deliveries are settled as they are sent.
    pub(super) no_ack: bool,
    /// Its own limit; the channel's comes on top.
    pub(super) prefetch: Option<u32>,
    /// The queue counts failed deliveries, and the client is shown the count.
    pub(super) counts_deliveries: bool,
    /// The queue is a stream: the client is shown offsets.
    pub(super) is_stream: bool,
    /// Octets of records that were written and whose credit was not given back.
    pub(super) owed_bytes: u64,
}

impl Connection {
    fn next_subscription(&mut self) -> u64 {
        self.subscription_last += 1;
        self.subscription_last
    }

    /// What an empty name means: the queue last declared on the channel.
    pub(super) fn queue_name(&self, number: u16, queue: ShortStr<'_>) -> Result<String, Exception> {
        if !queue.0.is_empty() {
            return Ok(queue.text());
        }
        let last = self.channels.get(number).map(|channel| channel.queue_last.as_str()).unwrap_or_default();
        if last.is_empty() {
            return Err(Exception::new(Code::NotFound, "no previously declared queue"));
        }
        Ok(last.to_owned())
    }

    /// `basic.consume`.
    pub(super) fn consume(
        &mut self,
        now: Now,
        number: u16,
        method: &Method<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let Method::BasicConsume { queue, consumer_tag, no_ack, exclusive, no_wait, arguments, .. } = *method
        else {
            unreachable!("called for basic.consume only")
        };
        let queue = self.queue_name(number, queue)?;
        let direct_reply = queue.as_bytes() == REPLY_TO;
        let subscription = self.next_subscription();
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        if channel.consumers.contains_key(consumer_tag.0) {
            let text = format!("attempt to reuse consumer tag '{}'", consumer_tag.text());
            return Err(Exception::new(Code::NotAllowed, text));
        }
        if channel.consumers.len() >= CONSUMERS_PER_CHANNEL_MAX {
            let text = format!("reached maximum ({CONSUMERS_PER_CHANNEL_MAX}) of consumers per channel");
            return Err(Exception::new(Code::NotAllowed, text));
        }
        if direct_reply && !no_ack {
            return Err(Exception::new(Code::PreconditionFailed, "reply consumer cannot acknowledge"));
        }
        if direct_reply && channel.replies.is_some() {
            return Err(Exception::new(Code::PreconditionFailed, "reply consumer already set"));
        }
        let priority = priority(&queue, &self.peer.virtual_host, arguments)?;
        let prefetch = (channel.prefetch > 0).then_some(u32::from(channel.prefetch));
        let tag: Box<[u8]> = match consumer_tag.0 {
            [] => made_up_name("amq.ctag-", self.seed, subscription).into_bytes().into(),
            given => given.into(),
        };
        let start = stream_start(now, &queue, &self.peer.virtual_host, arguments)?;
        let consumer = Box::new(Consumer {
            channel: number,
            tag,
            no_ack,
            prefetch,
            counts_deliveries: false,
            is_stream: false,
            owed_bytes: 0,
        });
        let subscribe = Subscribe {
            subscription,
            queue,
            direct_reply,
            no_ack,
            exclusive,
            messages_max: if no_ack { None } else { smaller(prefetch, channel.window.max()) },
            bytes_max: CONSUMER_BYTES_MAX,
            priority,
            start,
        };
        let what = Awaited::Subscribed { subscription, consumer, no_wait };
        self.ask(Waiting::new(number, method, what), Op::Subscribe(subscribe), out);
        Ok(())
    }

    /// `basic.cancel`. An unknown tag is as good as cancelled.
    pub(super) fn cancel(&mut self, number: u16, tag: &[u8], no_wait: bool, out: &mut Outbox) {
        let method = Method::BasicCancel { consumer_tag: ShortStr(tag), no_wait };
        let subscription = self.channels.live(number).and_then(|channel| channel.consumers.get(tag).copied());
        match subscription {
            Some(subscription) => {
                let what = Awaited::Unsubscribed { subscription, tag: tag.into(), no_wait };
                self.ask(Waiting::new(number, &method, what), Op::Unsubscribe { subscription }, out);
            }
            None if no_wait => {}
            None => self.reply(number, &Method::BasicCancelOk { consumer_tag: ShortStr(tag) }, out),
        }
    }

    /// Takes a consumer out of the tables. Its deliveries wait on for their acknowledgements.
    pub(super) fn forget_consumer(&mut self, subscription: u64) -> Option<Consumer> {
        let consumer = self.consumers.remove(&subscription)?;
        if let Some(channel) = self.channels.live(consumer.channel) {
            channel.consumers.remove(&consumer.tag);
            if channel.replies.as_ref().is_some_and(|(replies, _)| *replies == subscription) {
                channel.replies = None;
            }
            channel.window.forget(subscription, &mut self.settles);
        }
        Some(consumer)
    }

    /// The server has ended a consumer.
    pub(super) fn cancelled(&mut self, subscription: u64, out: &mut Outbox) {
        let Some(consumer) = self.forget_consumer(subscription) else { return };
        self.settles.flush(out);
        if self.peer.cancel_notify {
            let consumer_tag = ShortStr(&consumer.tag);
            self.reply(consumer.channel, &Method::BasicCancel { consumer_tag, no_wait: true }, out);
        }
    }

    /// `basic.get`.
    pub(super) fn get(
        &mut self,
        number: u16,
        queue: ShortStr<'_>,
        no_ack: bool,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let method = Method::BasicGet { reserved_1: 0, queue, no_ack };
        let queue = self.queue_name(number, queue)?;
        let fresh = self.next_subscription();
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        if channel.get_subscription == 0 {
            channel.get_subscription = fresh;
        }
        let get = Get { queue, subscription: channel.get_subscription, no_ack };
        self.ask(Waiting::new(number, &method, Awaited::Got { no_ack }), Op::Get(get), out);
        Ok(())
    }

    /// The channel's limit has changed: its consumers hold no more than fits, and get what fits now.
    fn limit_consumers(&mut self, consumers: Vec<u64>, shared: Option<u32>, out: &mut Outbox) {
        let of = |subscription: u64| {
            let consumer = self.consumers.get(&subscription).filter(|consumer| !consumer.no_ack)?;
            let messages_max = smaller(consumer.prefetch, shared).unwrap_or(u32::MAX);
            Some(Credit { subscription, bytes: 0, messages_max: Some(messages_max) })
        };
        let credits: Vec<Credit> = consumers.into_iter().filter_map(of).collect();
        if !credits.is_empty() {
            self.tell(0, Op::Credit(credits), out);
        }
    }

    /// `basic.qos`.
    pub(super) fn qos(
        &mut self,
        number: u16,
        size: u32,
        count: u16,
        global: bool,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        if size != 0 {
            return Err(Exception::new(Code::NotImplemented, format!("prefetch_size!=0 ({size})")));
        }
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        if global {
            let shared = (count > 0).then_some(u32::from(count));
            channel.window.limit(shared);
            let consumers = channel.consumers.values().copied().collect();
            self.limit_consumers(consumers, shared, out);
        } else {
            channel.prefetch = count;
        }
        self.reply(number, &Method::BasicQosOk {}, out);
        self.release_held_back(number, out)
    }
}

/// The smaller of two limits.
fn smaller(own: Option<u32>, shared: Option<u32>) -> Option<u32> {
    own.into_iter().chain(shared).min()
}

/// The argument `x-priority`. Other arguments of a consumer mean nothing here, as in RabbitMQ's classic queues.
fn priority(queue: &str, virtual_host: &str, arguments: Table<'_>) -> Result<i32, Exception> {
    let number = match arguments.find(b"x-priority") {
        None => return Ok(0),
        Some(Value::I64(number)) => i32::try_from(number).map_err(|_| "number is too large".to_owned()),
        Some(Value::U64(number)) => i32::try_from(number).map_err(|_| "number is too large".to_owned()),
        Some(other) => Err(format!("expected integer, got {}", type_name(&other))),
    };
    let text =
        |why| format!("invalid arg 'x-priority' for queue '{queue}' in vhost '{virtual_host}': \"{why}\"");
    number.map_err(|why| Exception::new(Code::PreconditionFailed, text(why)))
}

/// The argument `x-stream-offset`; queues that are no streams pass it over. Without it a reader of a stream gets what comes next.
fn stream_start(
    now: Now,
    queue: &str,
    virtual_host: &str,
    arguments: Table<'_>,
) -> Result<Option<StreamStart>, Exception> {
    let start = match arguments.find(b"x-stream-offset") {
        None => return Ok(None),
        Some(Value::Str(b"first")) => StreamStart::First,
        Some(Value::Str(b"last")) => StreamStart::Last,
        Some(Value::Str(b"next")) => StreamStart::Next,
        Some(Value::Timestamp(seconds)) => StreamStart::Time(seconds.saturating_mul(1000)),
        Some(Value::U64(offset)) => StreamStart::Position(Position(offset)),
        Some(Value::I64(offset)) => StreamStart::Position(Position(u64::try_from(offset).unwrap_or(0))),
        Some(other) => {
            let age = match other {
                Value::Str(text) => std::str::from_utf8(text).ok().and_then(age_ms),
                _ => None,
            };
            let Some(age_ms) = age else {
                let told = match other {
                    Value::Str(text) => format!("longstr,<<\"{}\">>", String::from_utf8_lossy(text)),
                    _ => type_name(&other).to_owned(),
                };
                let thing = format!("queue '{queue}' in vhost '{virtual_host}'");
                let why = format!("{{invalid_stream_offset_arg,{{{told}}}}}");
                let text = format!("invalid arg 'x-stream-offset' for {thing}: {why}");
                return Err(Exception::new(Code::PreconditionFailed, text));
            };
            StreamStart::Time(now.ms().saturating_sub(age_ms))
        }
    };
    Ok(Some(start))
}

/// How long ago: a number and one of the units Y, M, D, h, m, s.
fn age_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let seconds: u64 = match unit {
        "Y" => 365 * 24 * 60 * 60,
        "M" => 30 * 24 * 60 * 60,
        "D" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use stele_record::table::put_table;

    fn start(value: Value<'_>) -> Result<Option<StreamStart>, String> {
        let mut octets = BytesMut::new();
        put_table(&mut octets, |table| table.entry(b"x-stream-offset", value));
        let found =
            stream_start(Now(7_200_000_000), "q", "/", Table::of(octets.get(4..).unwrap_or_default()));
        found.map_err(|exception| exception.text)
    }

    #[test]
    fn a_stream_is_read_from_every_kind_of_offset() {
        let cases = [
            (Value::Str(b"first"), StreamStart::First),
            (Value::Str(b"last"), StreamStart::Last),
            (Value::Str(b"next"), StreamStart::Next),
            (Value::I64(5), StreamStart::Position(Position(5))),
            (Value::I64(-5), StreamStart::Position(Position(0))),
            (Value::Timestamp(3), StreamStart::Time(3000)),
            (Value::Str(b"1h"), StreamStart::Time(3_600_000)),
            (Value::Str(b"9Y"), StreamStart::Time(0)),
        ];
        for (value, expected) in cases {
            assert_eq!(start(value), Ok(Some(expected)), "{value:?}");
        }
        assert_eq!(stream_start(Now(0), "q", "/", Table::default()), Ok(None));
    }

    #[test]
    fn an_offset_that_cannot_be_is_told_in_rabbitmqs_words() {
        let text = "invalid arg 'x-stream-offset' for queue 'q' in vhost '/': \
                    {invalid_stream_offset_arg,{longstr,<<\"soonish\">>}}";
        assert_eq!(start(Value::Str(b"soonish")), Err(text.to_owned()));
        assert!(start(Value::Bool(true)).is_err());
    }
}
