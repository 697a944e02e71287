//! Exchanges, queues and bindings, declared idempotently.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::TransportError;
use super::link::{error, short};
use crate::name::TypeName;
use crate::topology::EndpointTopology;

/// Type exchanges → endpoint exchange → queue.
pub(super) async fn endpoint(channel: &Channel, endpoint: &EndpointTopology) -> Result<(), TransportError> {
    queue(channel, &endpoint.name).await?;
    for kind in &endpoint.types {
        message(channel, &kind.name, &kind.supertypes).await?;
        bind_exchange(channel, &endpoint.name, &kind.name.exchange()).await?;
    }
    Ok(())
}

/// A type's exchange, bound to those of its supertypes.
pub(super) async fn message(
    channel: &Channel,
    name: &TypeName,
    supertypes: &[TypeName],
) -> Result<(), TransportError> {
    let exchange = name.exchange();
    fanout(channel, &exchange).await?;
    for supertype in supertypes {
        let supertype = supertype.exchange();
        fanout(channel, &supertype).await?;
        bind_exchange(channel, &supertype, &exchange).await?;
    }
    Ok(())
}

/// A durable queue with the exchange of the same name.
pub(super) async fn queue(channel: &Channel, name: &str) -> Result<(), TransportError> {
    fanout(channel, name).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(name)?, options, FieldTable::default()).await.map_err(error)?;
    bind_queue(channel, name, name).await
}

pub(super) async fn fanout(channel: &Channel, name: &str) -> Result<(), TransportError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(short(name)?, ExchangeKind::Fanout, options, FieldTable::default())
        .await
        .map_err(error)
}

async fn bind_exchange(channel: &Channel, to: &str, from: &str) -> Result<(), TransportError> {
    let (options, none) = (ExchangeBindOptions::default(), FieldTable::default());
    channel
        .exchange_bind(short(to)?, short(from)?, ShortString::default(), options, none)
        .await
        .map_err(error)
}

async fn bind_queue(channel: &Channel, queue: &str, exchange: &str) -> Result<(), TransportError> {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(short(queue)?, short(exchange)?, ShortString::default(), options, none)
        .await
        .map_err(error)
}

/// A queue whose messages go to `exchange` after `wait_ms`, and which goes away `linger_ms` after it was last declared.
pub(super) async fn delay_queue(
    channel: &Channel,
    name: &str,
    exchange: &str,
    wait_ms: u32,
    linger_ms: u32,
) -> Result<(), TransportError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(wait_ms.into()));
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(linger_ms.into()));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(exchange.into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(name)?, options, arguments).await.map_err(error).map(drop)
}

/// Delete a queue; true if a message was in it.
pub(super) async fn delete(channel: &Channel, name: &str) -> Result<bool, TransportError> {
    let count = channel.queue_delete(short(name)?, QueueDeleteOptions::default()).await.map_err(error)?;
    Ok(count > 0)
}

/// A queue and an exchange of one name for one connection's replies; both go with it.
pub(super) async fn temporary(channel: &Channel, name: &str) -> Result<(), TransportError> {
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default;
    channel.exchange_declare(short(name)?, ExchangeKind::Fanout, options, none()).await.map_err(error)?;
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(name)?, options, none()).await.map_err(error)?;
    bind_queue(channel, name, name).await
}
