//! All methods of AMQP 0-9-1 and RabbitMQ's extensions, from one table.
//!
//! The table below is the description; enum, reader and writer are made from it. Reserved fields are part of the table, since
//! they are part of the bytes. The hot methods have hand-written twins in [`super::hot`].

use super::Violation;
use super::field::{Field, LongStr, Reader, Secret, ShortStr, Writer};
use super::frame::{Kind, put_frame};
use bytes::BytesMut;
use stele_record::table::Table;

macro_rules! methods {
    ($($class:literal $method:literal $text:literal $name:ident { $($field:ident: $of:ty),* $(,)? })*) => {
        /// One method and its arguments, borrowed. Names and order of the fields are the specification's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the table is the specification's; each field is documented there")]
        pub enum Method<'a> {
            $($name { $($field: $of),* },)*
        }

        impl<'a> Method<'a> {
            /// Reads the payload of a method frame.
            ///
            /// # Errors
            /// [`Violation::UnknownMethod`], or [`Violation::Syntax`] if fields are short, left over, or hold a damaged table.
            pub fn decode(payload: &'a [u8]) -> Result<Self, Violation> {
                let (class, method, fields) = id(payload)?;
                let mut reader = Reader::new(fields);
                let decoded = match (class, method) {
                    $(($class, $method) => Self::$name { $($field: Field::read(&mut reader)?),* },)*
                    _ => return Err(Violation::UnknownMethod { class, method }),
                };
                reader.end()?;
                Ok(decoded)
            }

            /// Class and number.
            #[must_use]
            pub fn id(&self) -> (u16, u16) {
                match self {
                    $(Self::$name { .. } => ($class, $method),)*
                }
            }

            /// The name, as the specification writes it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $text,)*
                }
            }

            /// Appends the payload of a method frame.
            ///
            /// # Panics
            /// If a short string has more than 255 octets.
            pub fn encode(&self, out: &mut BytesMut) {
                let (class, method) = self.id();
                let mut writer = Writer::new(out);
                class.write(&mut writer);
                method.write(&mut writer);
                match self {
                    $(Self::$name { $($field),* } => { $($field.write(&mut writer);)* })*
                }
            }
        }
    };
}

/// Class, method and the octets of the fields.
pub(crate) fn id(payload: &[u8]) -> Result<(u16, u16, &[u8]), Violation> {
    let ([c0, c1, m0, m1], fields) = payload.split_first_chunk::<4>().ok_or(Violation::Syntax("method"))?;
    Ok((u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*m0, *m1]), fields))
}

/// Appends a method frame.
///
/// # Panics
/// As [`Method::encode`].
pub fn put_method(out: &mut BytesMut, channel: u16, method: &Method<'_>) {
    put_frame(out, Kind::Method, channel, |out| method.encode(out));
}

methods! {
    10 10 "connection.start" ConnectionStart {
        version_major: u8, version_minor: u8, server_properties: Table<'a>, mechanisms: LongStr<'a>, locales: LongStr<'a>,
    }
    10 11 "connection.start-ok" ConnectionStartOk {
        client_properties: Table<'a>, mechanism: ShortStr<'a>, response: Secret<'a>, locale: ShortStr<'a>,
    }
    10 20 "connection.secure" ConnectionSecure { challenge: LongStr<'a> }
    10 21 "connection.secure-ok" ConnectionSecureOk { response: Secret<'a> }
    10 30 "connection.tune" ConnectionTune { channel_max: u16, frame_max: u32, heartbeat: u16 }
    10 31 "connection.tune-ok" ConnectionTuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 }
    10 40 "connection.open" ConnectionOpen { virtual_host: ShortStr<'a>, reserved_1: ShortStr<'a>, reserved_2: bool }
    10 41 "connection.open-ok" ConnectionOpenOk { reserved_1: ShortStr<'a> }
    10 50 "connection.close" ConnectionClose {
        reply_code: u16, reply_text: ShortStr<'a>, class_id: u16, method_id: u16,
    }
    10 51 "connection.close-ok" ConnectionCloseOk {}
    10 60 "connection.blocked" ConnectionBlocked { reason: ShortStr<'a> }
    10 61 "connection.unblocked" ConnectionUnblocked {}
    10 70 "connection.update-secret" ConnectionUpdateSecret { new_secret: Secret<'a>, reason: ShortStr<'a> }
    10 71 "connection.update-secret-ok" ConnectionUpdateSecretOk {}

    20 10 "channel.open" ChannelOpen { reserved_1: ShortStr<'a> }
    20 11 "channel.open-ok" ChannelOpenOk { reserved_1: LongStr<'a> }
    20 20 "channel.flow" ChannelFlow { active: bool }
    20 21 "channel.flow-ok" ChannelFlowOk { active: bool }
    20 40 "channel.close" ChannelClose { reply_code: u16, reply_text: ShortStr<'a>, class_id: u16, method_id: u16 }
    20 41 "channel.close-ok" ChannelCloseOk {}

    30 10 "access.request" AccessRequest {
        realm: ShortStr<'a>, exclusive: bool, passive: bool, active: bool, write: bool, read: bool,
    }
    30 11 "access.request-ok" AccessRequestOk { reserved_1: u16 }

    40 10 "exchange.declare" ExchangeDeclare {
        reserved_1: u16, exchange: ShortStr<'a>, kind: ShortStr<'a>, passive: bool, durable: bool, auto_delete: bool,
        internal: bool, no_wait: bool, arguments: Table<'a>,
    }
    40 11 "exchange.declare-ok" ExchangeDeclareOk {}
    40 20 "exchange.delete" ExchangeDelete { reserved_1: u16, exchange: ShortStr<'a>, if_unused: bool, no_wait: bool }
    40 21 "exchange.delete-ok" ExchangeDeleteOk {}
    40 30 "exchange.bind" ExchangeBind {
        reserved_1: u16, destination: ShortStr<'a>, source: ShortStr<'a>, routing_key: ShortStr<'a>, no_wait: bool,
        arguments: Table<'a>,
    }
    40 31 "exchange.bind-ok" ExchangeBindOk {}
    40 40 "exchange.unbind" ExchangeUnbind {
        reserved_1: u16, destination: ShortStr<'a>, source: ShortStr<'a>, routing_key: ShortStr<'a>, no_wait: bool,
        arguments: Table<'a>,
    }
    40 51 "exchange.unbind-ok" ExchangeUnbindOk {}

    50 10 "queue.declare" QueueDeclare {
        reserved_1: u16, queue: ShortStr<'a>, passive: bool, durable: bool, exclusive: bool, auto_delete: bool,
        no_wait: bool, arguments: Table<'a>,
    }
    50 11 "queue.declare-ok" QueueDeclareOk { queue: ShortStr<'a>, message_count: u32, consumer_count: u32 }
    50 20 "queue.bind" QueueBind {
        reserved_1: u16, queue: ShortStr<'a>, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, no_wait: bool,
        arguments: Table<'a>,
    }
    50 21 "queue.bind-ok" QueueBindOk {}
    50 30 "queue.purge" QueuePurge { reserved_1: u16, queue: ShortStr<'a>, no_wait: bool }
    50 31 "queue.purge-ok" QueuePurgeOk { message_count: u32 }
    50 40 "queue.delete" QueueDelete {
        reserved_1: u16, queue: ShortStr<'a>, if_unused: bool, if_empty: bool, no_wait: bool,
    }
    50 41 "queue.delete-ok" QueueDeleteOk { message_count: u32 }
    50 50 "queue.unbind" QueueUnbind {
        reserved_1: u16, queue: ShortStr<'a>, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, arguments: Table<'a>,
    }
    50 51 "queue.unbind-ok" QueueUnbindOk {}

    60 10 "basic.qos" BasicQos { prefetch_size: u32, prefetch_count: u16, global: bool }
    60 11 "basic.qos-ok" BasicQosOk {}
    60 20 "basic.consume" BasicConsume {
        reserved_1: u16, queue: ShortStr<'a>, consumer_tag: ShortStr<'a>, no_local: bool, no_ack: bool, exclusive: bool,
        no_wait: bool, arguments: Table<'a>,
    }
    60 21 "basic.consume-ok" BasicConsumeOk { consumer_tag: ShortStr<'a> }
    60 30 "basic.cancel" BasicCancel { consumer_tag: ShortStr<'a>, no_wait: bool }
    60 31 "basic.cancel-ok" BasicCancelOk { consumer_tag: ShortStr<'a> }
    60 40 "basic.publish" BasicPublish {
        reserved_1: u16, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, mandatory: bool, immediate: bool,
    }
    60 50 "basic.return" BasicReturn {
        reply_code: u16, reply_text: ShortStr<'a>, exchange: ShortStr<'a>, routing_key: ShortStr<'a>,
    }
    60 60 "basic.deliver" BasicDeliver {
        consumer_tag: ShortStr<'a>, delivery_tag: u64, redelivered: bool, exchange: ShortStr<'a>, routing_key: ShortStr<'a>,
    }
    60 70 "basic.get" BasicGet { reserved_1: u16, queue: ShortStr<'a>, no_ack: bool }
    60 71 "basic.get-ok" BasicGetOk {
        delivery_tag: u64, redelivered: bool, exchange: ShortStr<'a>, routing_key: ShortStr<'a>, message_count: u32,
    }
    60 72 "basic.get-empty" BasicGetEmpty { reserved_1: ShortStr<'a> }
    60 80 "basic.ack" BasicAck { delivery_tag: u64, multiple: bool }
    60 90 "basic.reject" BasicReject { delivery_tag: u64, requeue: bool }
    60 100 "basic.recover-async" BasicRecoverAsync { requeue: bool }
    60 110 "basic.recover" BasicRecover { requeue: bool }
    60 111 "basic.recover-ok" BasicRecoverOk {}
    60 120 "basic.nack" BasicNack { delivery_tag: u64, multiple: bool, requeue: bool }

    85 10 "confirm.select" ConfirmSelect { no_wait: bool }
    85 11 "confirm.select-ok" ConfirmSelectOk {}

    90 10 "tx.select" TxSelect {}
    90 11 "tx.select-ok" TxSelectOk {}
    90 20 "tx.commit" TxCommit {}
    90 21 "tx.commit-ok" TxCommitOk {}
    90 30 "tx.rollback" TxRollback {}
    90 31 "tx.rollback-ok" TxRollbackOk {}
}
