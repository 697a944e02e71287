//! Exchanges, queues and bindings: from methods to [`Define`].

use super::Connection;
use super::publish::REPLY_TO;
use super::ticket::{Awaited, Waiting};
use super::values::arguments;
use crate::codec::field::ShortStr;
use crate::codec::method::Method;
use crate::refuse::{Code, Exception};
use bytes::Bytes;
use stele_model::op::{Define, DestinationName, Op, Rule};
use stele_model::session::Outbox;

impl Connection {
    /// `exchange.*`.
    pub(super) fn exchange_method(
        &mut self,
        number: u16,
        method: &Method<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let (define, reply) = match *method {
            Method::ExchangeDeclare {
                exchange,
                kind,
                passive,
                durable,
                auto_delete,
                internal,
                no_wait,
                arguments: table,
                ..
            } => {
                let (name, kind, arguments) = (defined(exchange), kind.text(), arguments(table));
                let define = Define::DeclareExchange {
                    name,
                    kind,
                    passive,
                    durable,
                    auto_delete,
                    internal,
                    arguments,
                };
                (define, (!no_wait).then_some(Method::ExchangeDeclareOk {}))
            }
            Method::ExchangeDelete { exchange, if_unused, no_wait, .. } => {
                let define = Define::DeleteExchange { name: defined(exchange), if_unused };
                (define, (!no_wait).then_some(Method::ExchangeDeleteOk {}))
            }
            Method::ExchangeBind { destination, source, routing_key, no_wait, arguments: table, .. } => {
                let destination = DestinationName::Exchange(defined(destination));
                let rule = rule(source, destination, routing_key.0, arguments(table));
                (Define::Bind(rule), (!no_wait).then_some(Method::ExchangeBindOk {}))
            }
            Method::ExchangeUnbind {
                destination, source, routing_key, no_wait, arguments: table, ..
            } => {
                let destination = DestinationName::Exchange(defined(destination));
                let rule = rule(source, destination, routing_key.0, arguments(table));
                (Define::Unbind(rule), (!no_wait).then_some(Method::ExchangeUnbindOk {}))
            }
            _ => unreachable!("called for exchange.* only"),
        };
        self.ask(Waiting::new(number, method, Awaited::Unit(reply)), Op::Define(define), out);
        Ok(())
    }

    /// `queue.*`.
    pub(super) fn queue_method(
        &mut self,
        number: u16,
        method: &Method<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let (op, what) = match *method {
            Method::QueueDeclare { queue, no_wait, .. } if queue.0 == REPLY_TO => {
                // The pseudo queue is there for everybody.
                self.declared(number, queue.text(), (0, 0), no_wait, out);
                return Ok(());
            }
            Method::QueueDeclare {
                queue,
                passive,
                durable,
                exclusive,
                auto_delete,
                no_wait,
                arguments: table,
                ..
            } => {
                let name = defined(queue);
                if passive && name.is_empty() {
                    let text = format!("no queue '' in vhost '{}'", self.peer.virtual_host);
                    return Err(Exception::new(Code::NotFound, text));
                }
                let arguments = arguments(table);
                let define =
                    Define::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments };
                (Op::Define(define), Awaited::Queue { no_wait })
            }
            Method::QueueBind { queue, exchange, routing_key, no_wait, arguments: table, .. } => {
                let (queue, key) = self.shortcuts(number, queue, routing_key)?;
                let rule = rule(exchange, DestinationName::Queue(queue), &key, arguments(table));
                let reply = (!no_wait).then_some(Method::QueueBindOk {});
                (Op::Define(Define::Bind(rule)), Awaited::Unit(reply))
            }
            Method::QueueUnbind { queue, exchange, routing_key, arguments: table, .. } => {
                let (queue, key) = self.shortcuts(number, queue, routing_key)?;
                let rule = rule(exchange, DestinationName::Queue(queue), &key, arguments(table));
                (Op::Define(Define::Unbind(rule)), Awaited::Unit(Some(Method::QueueUnbindOk {})))
            }
            Method::QueuePurge { queue, no_wait, .. } => {
                let queue = self.queue_name(number, queue)?;
                (Op::Purge { queue }, Awaited::Purged { no_wait })
            }
            Method::QueueDelete { queue, if_unused, if_empty, no_wait, .. } => {
                let name = in_one_line(self.queue_name(number, queue)?);
                (Op::Define(Define::DeleteQueue { name, if_unused, if_empty }), Awaited::Deleted { no_wait })
            }
            _ => unreachable!("called for queue.* only"),
        };
        self.ask(Waiting::new(number, method, what), op, out);
        Ok(())
    }

    /// A queue was declared: name, ready messages, consumers.
    pub(super) fn declared(
        &mut self,
        number: u16,
        name: String,
        (ready, consumers): (u64, u32),
        no_wait: bool,
        out: &mut Outbox,
    ) {
        if !no_wait {
            let message_count = u32::try_from(ready).unwrap_or(u32::MAX);
            let queue = ShortStr::cut(name.as_bytes());
            self.reply(
                number,
                &Method::QueueDeclareOk { queue, message_count, consumer_count: consumers },
                out,
            );
        }
        if let Some(channel) = self.channels.live(number) {
            channel.queue_last = name;
        }
    }

    /// Without a queue's name, the last one declared is meant; without a key as well, its name is the key.
    fn shortcuts(
        &self,
        number: u16,
        queue: ShortStr<'_>,
        routing_key: ShortStr<'_>,
    ) -> Result<(String, Bytes), Exception> {
        let name = in_one_line(self.queue_name(number, queue)?);
        if name.as_bytes() == REPLY_TO {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Exception::new(Code::AccessRefused, text));
        }
        let key = match (queue.0, routing_key.0) {
            ([], []) => Bytes::copy_from_slice(name.as_bytes()),
            (_, key) => Bytes::copy_from_slice(key),
        };
        Ok((name, key))
    }
}

fn rule(
    source: ShortStr<'_>,
    destination: DestinationName,
    key: &[u8],
    arguments: stele_model::value::Arguments,
) -> Rule {
    Rule { source: defined(source), destination, key: Bytes::copy_from_slice(key), arguments }
}

/// The name of what a method defines.
fn defined(name: ShortStr<'_>) -> String {
    in_one_line(name.text())
}

/// RabbitMQ's rule: what defines or binds something passes over ends of lines in its name, what publishes to it or reads from it does not.
fn in_one_line(mut name: String) -> String {
    name.retain(|sign| !matches!(sign, '\r' | '\n'));
    name
}
