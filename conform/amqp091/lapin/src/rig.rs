//! What every case needs: connections, names, waiting with a deadline, and answers without what differs between two runs.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_lite::StreamExt;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::AMQPErrorKind;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind, Queue,
};
use serde_json::{Map, Value, json};

/// How long an event may take that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A case by its name.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Rig) -> Running,
}

/// A case under way.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Value>>>>;

/// A row of a table of cases: the function's name is the case's.
macro_rules! case {
    ($name:ident) => {
        $crate::rig::Case { name: stringify!($name), run: |rig| Box::pin($name(rig)) }
    };
}
pub(crate) use case;

/// One case's view of the broker.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    made: Rc<RefCell<Made>>,
}

#[derive(Default)]
struct Made {
    queues: Vec<String>,
    exchanges: Vec<String>,
}

/// Not durable unless a case says otherwise.
pub(crate) const TRANSIENT: QueueDeclareOptions = QueueDeclareOptions {
    passive: false,
    durable: false,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

impl Rig {
    pub(crate) fn new(name: &'static str, url: &str) -> Self {
        Self { name, url: url.to_owned(), made: Rc::default() }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let url = format!("{}%2f", self.url);
        Connection::connect(&url, ConnectionProperties::default())
            .await
            .with_context(|| format!("connect to {url}"))
    }

    pub(crate) async fn queue(
        &self,
        channel: &Channel,
        suffix: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<String> {
        let name = format!("{}{suffix}", self.name);
        channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
        self.made.borrow_mut().queues.push(name.clone());
        channel.queue_declare(name.as_str().into(), options, arguments).await?;
        Ok(name)
    }

    pub(crate) async fn exchange(
        &self,
        channel: &Channel,
        kind: ExchangeKind,
        suffix: &str,
    ) -> Result<String> {
        let name = format!("{}{suffix}", self.name);
        channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await?;
        self.made.borrow_mut().exchanges.push(name.clone());
        channel
            .exchange_declare(
                name.as_str().into(),
                kind,
                ExchangeDeclareOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(name)
    }

    /// A plain queue bound to the exchange.
    pub(crate) async fn bound(
        &self,
        channel: &Channel,
        exchange: &str,
        suffix: &str,
        key: &str,
    ) -> Result<String> {
        let queue = self.queue(channel, suffix, TRANSIENT, FieldTable::default()).await?;
        bind(channel, &queue, exchange, key).await?;
        Ok(queue)
    }

    /// Delete what the case made.
    pub(crate) async fn clean(&self) -> Result<()> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        let made = self.made.take();
        for name in made.queues {
            channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
        }
        for name in made.exchanges {
            channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await?;
        }
        connection.close(200, "done".into()).await?;
        Ok(())
    }
}

/// A channel on which every publish is confirmed.
pub(crate) async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

pub(crate) async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let options = QueueBindOptions::default();
    Ok(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await?)
}

/// Publish and wait for the confirm.
pub(crate) async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<Confirmation> {
    let options = BasicPublishOptions::default();
    Ok(channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await?)
}

/// Publish to a queue, one after the other.
pub(crate) async fn publish_all(channel: &Channel, queue: &str, bodies: &[&str]) -> Result<()> {
    for body in bodies {
        publish(channel, "", queue, body.as_bytes(), BasicProperties::default()).await?;
    }
    Ok(())
}

/// The bodies of all that is ready now.
pub(crate) async fn drain(channel: &Channel, queue: &str) -> Result<Vec<String>> {
    let mut bodies = Vec::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await? {
        bodies.push(body(&message));
    }
    Ok(bodies)
}

/// One message by basic.get, waited for.
pub(crate) async fn take(channel: &Channel, queue: &str) -> Result<BasicGetMessage> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await? {
            return Ok(message);
        }
        late(deadline).await?;
    }
}

/// Wait until so many messages are ready.
pub(crate) async fn ready(channel: &Channel, queue: &str, count: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while look(channel, queue).await?.message_count() != count {
        late(deadline).await?;
    }
    Ok(())
}

/// A passive declare.
pub(crate) async fn look(channel: &Channel, queue: &str) -> Result<Queue, lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..TRANSIENT };
    channel.queue_declare(queue.into(), passive, FieldTable::default()).await
}

/// Between two looks at something that must come.
pub(crate) async fn late(deadline: Instant) -> Result<()> {
    if Instant::now() > deadline {
        bail!("late");
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(())
}

/// A consumer that keeps what it was given, in order.
pub(crate) struct Reader {
    pub(crate) channel: Channel,
    pub(crate) consumer: Consumer,
    pub(crate) got: Vec<Delivery>,
}

impl Reader {
    /// A consumer on a channel of its own; `prefetch` 0 is no limit.
    pub(crate) async fn start(
        connection: &Connection,
        queue: &str,
        prefetch: u16,
        arguments: FieldTable,
    ) -> Result<Self> {
        let channel = connection.create_channel().await?;
        Self::on(channel, queue, prefetch, BasicConsumeOptions::default(), arguments).await
    }

    pub(crate) async fn on(
        channel: Channel,
        queue: &str,
        prefetch: u16,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> Result<Self> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
        Ok(Self { channel, consumer, got: Vec::new() })
    }

    /// Wait until so many have come in all.
    pub(crate) async fn wait(&mut self, count: usize) -> Result<()> {
        while self.got.len() < count {
            let next = tokio::time::timeout(PATIENCE, self.consumer.next()).await.context("late")?;
            self.got.push(next.context("the consumer was cancelled")??);
        }
        Ok(())
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.got.iter().map(body).collect()
    }

    pub(crate) fn redelivered(&self) -> Vec<bool> {
        self.got.iter().map(|delivery| delivery.redelivered).collect()
    }

    pub(crate) fn tags(&self) -> Vec<u64> {
        self.got.iter().map(|delivery| delivery.delivery_tag).collect()
    }
}

/// `ok`, or what was closed with which code and text.
pub(crate) fn outcome<T>(result: Result<T, lapin::Error>) -> Value {
    let error = match result {
        Ok(_) => return json!("ok"),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            let what = if matches!(error.kind(), AMQPErrorKind::Hard(_)) { "connection" } else { "channel" };
            json!([what, error.get_id(), error.get_message().as_str()])
        }
        other => json!(["client", format!("{other:?}")]),
    }
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

/// A table of arguments.
pub(crate) fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Arguments that dead-letter into another queue.
pub(crate) fn dead_letters(target: &str) -> [(&'static str, AMQPValue); 2] {
    [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", AMQPValue::LongString(target.into())),
    ]
}

/// The headers of a delivery, without times.
pub(crate) fn headers(delivery: &Delivery) -> Value {
    delivery.properties.headers().as_ref().map_or_else(|| json!({}), plain_table)
}

fn plain_table(table: &FieldTable) -> Value {
    let pairs = table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), plain(value)));
    Value::Object(pairs.collect::<Map<String, Value>>())
}

fn plain(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::LongString(value) => json!(String::from_utf8_lossy(value.as_bytes())),
        AMQPValue::Timestamp(_) => json!("<time>"),
        AMQPValue::FieldArray(values) => Value::Array(values.as_slice().iter().map(plain).collect()),
        AMQPValue::FieldTable(table) => plain_table(table),
        AMQPValue::Void => Value::Null,
        other => json!(format!("{other:?}")),
    }
}
