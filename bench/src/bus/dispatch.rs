//! What the bus costs per message over hand-written consumers on the same client library, and alone without a broker.
//!
//! All drain the same number of the same envelopes with the same credit in one process on one thread. The hand-written ones parse the
//! envelope and the payload and acknowledge, and have no retry, faults, scopes or ids: one takes a message at a time, the other has a
//! task for each, as the bus does. Figures are this process's CPU time, which a shared machine disturbs least, and the time on the wall.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde::{Deserialize, Serialize};
use stele_bus::topology::Topology;
use stele_bus::transport::amqp::Amqp;
use stele_bus::transport::memory::address;
use stele_bus::transport::{
    BoxFuture, Incoming, Replies, Settle, Settler, Stop, Subscription, Transport, TransportError, Verdict,
};
use stele_bus::{Bus, Composer, Destination, Message, Msg, Outgoing, ScheduleToken, SendOptions, State};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Aim, Figure, figure};
use crate::client::Url;

const QUEUE: &str = "stele-bench-bus";
const CREDIT: u16 = 256;

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Bench:Job", key = number)]
struct Job {
    number: u32,
    text: String,
}

/// What a hand-written consumer reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    message_type: Vec<String>,
    message: Job,
}

/// One round.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    fn since(start: (Instant, Duration)) -> Self {
        Self { wall: start.0.elapsed(), cpu: cpu().saturating_sub(start.1) }
    }

    /// Microseconds per message: CPU, wall.
    fn per(self, messages: u32) -> (f64, f64) {
        let per = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(messages);
        (per(self.cpu), per(self.wall))
    }
}

pub(super) fn run(broker: &Url, messages: u32) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = broker.to_string();
    let serial = runtime.block_on(one_at_a_time(&url, messages))?.per(messages);
    let tasks = runtime.block_on(a_task_each(&url, messages))?.per(messages);
    let bus = runtime.block_on(by_bus(&url, messages))?.per(messages);
    let parsed = parse_alone(messages)?.per(messages);
    let alone = runtime.block_on(without_broker(messages))?.per(messages);
    Ok(vec![
        figure("hand-written, one at a time, CPU per message", serial.0, "µs", None),
        figure("hand-written, a task each, CPU per message", tasks.0, "µs", None),
        figure("bus, CPU per message", bus.0, "µs", None),
        figure("hand-written, one at a time, time per message", serial.1, "µs", None),
        figure("hand-written, a task each, time per message", tasks.1, "µs", None),
        figure("bus, time per message", bus.1, "µs", None),
        figure("bus over a task each, CPU per message", bus.0 - tasks.0, "µs", Some(Aim::AtMost(2.0))),
        figure("bus over one at a time, CPU per message", bus.0 - serial.0, "µs", Some(Aim::AtMost(2.0))),
        figure("bus over one at a time, CPU", bus.0 / serial.0, "×", None),
        figure("bus without a broker over parsing alone", alone.0 - parsed.0, "µs", None),
    ])
}

fn read(data: &[u8]) -> Result<u64> {
    let envelope: Envelope = serde_json::from_slice(data)?;
    ensure!(envelope.message_type.iter().any(|urn| urn == "urn:message:Bench:Job"), "an unknown type");
    Ok(u64::from(envelope.message.number) + envelope.message.text.len() as u64)
}

async fn consume(channel: &Channel) -> Result<lapin::Consumer> {
    channel.basic_qos(CREDIT, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?)
}

async fn one_at_a_time(url: &str, messages: u32) -> Result<Cost> {
    let (_connection, channel) = filled(url, messages).await?;
    let start = (Instant::now(), cpu());
    let mut consumer = consume(&channel).await?;
    let mut sum = 0;
    for _ in 0..messages {
        let delivery = consumer.next().await.context("the consumer ended")??;
        sum += read(&delivery.data)?;
        channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await?;
    }
    ensure!(sum > 0, "nothing was read");
    Ok(Cost::since(start))
}

async fn a_task_each(url: &str, messages: u32) -> Result<Cost> {
    let (_connection, channel) = filled(url, messages).await?;
    let start = (Instant::now(), cpu());
    let mut consumer = consume(&channel).await?;
    let mut working = JoinSet::new();
    for _ in 0..messages {
        let delivery = consumer.next().await.context("the consumer ended")??;
        while let Some(done) = working.try_join_next() {
            done??;
        }
        let work = async move |delivery: Delivery| {
            let sum = read(&delivery.data)?;
            delivery.ack(BasicAckOptions::default()).await?;
            anyhow::Ok(sum)
        };
        working.spawn(work(delivery));
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(Cost::since(start))
}

async fn take(Msg(job): Msg<Job>, State(done): State<mpsc::UnboundedSender<u64>>) {
    let _ = done.send(u64::from(job.number) + job.text.len() as u64); // the round may be over
}

/// A started bus takes all messages that its transport has.
async fn drain(transport: impl Transport, messages: u32) -> Result<Cost> {
    let (sender, mut done) = mpsc::unbounded_channel::<u64>();
    let bus = Bus::builder(transport)
        .state(sender)
        .endpoint(QUEUE, |endpoint| endpoint.handle(take).concurrency(CREDIT))
        .build()?;
    bus.declare().await?;
    let start = (Instant::now(), cpu());
    bus.start().await?;
    let (mut taken, mut batch) = (0, Vec::new());
    while taken < messages {
        batch.clear();
        let count = done.recv_many(&mut batch, 1024).await;
        ensure!(count > 0, "the bus ended");
        taken += u32::try_from(count)?;
    }
    let cost = Cost::since(start);
    bus.stop().await;
    Ok(cost)
}

async fn by_bus(url: &str, messages: u32) -> Result<Cost> {
    let (connection, _channel) = filled(url, messages).await?;
    connection.close(200, "bye".into()).await?;
    drain(Amqp::new(url)?, messages).await
}

async fn without_broker(messages: u32) -> Result<Cost> {
    drain(Feed { messages }, messages).await
}

fn parse_alone(messages: u32) -> Result<Cost> {
    let body = composed(&Composer::new(Arc::new(address)), 7)?.body;
    let start = (Instant::now(), cpu());
    let mut sum = 0;
    for _ in 0..messages {
        sum += read(std::hint::black_box(&body))?;
    }
    ensure!(sum > 0, "nothing was read");
    Ok(Cost::since(start))
}

fn composed(composer: &Composer, number: u32) -> Result<Outgoing> {
    Ok(composer.publish(&Job { number, text: "x".repeat(100) }, SendOptions::default())?)
}

/// An empty queue with the round's envelopes in it.
async fn filled(url: &str, messages: u32) -> Result<(Connection, Channel)> {
    // This client takes a lone slash at the end for the virtual host with the empty name.
    let address = url.strip_suffix('/').unwrap_or(url);
    let connection = Connection::connect(address, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    let composer = Composer::new(Amqp::new(url)?.addressing());
    let mut confirms = Vec::new();
    for number in 0..messages {
        let outgoing = composed(&composer, number)?;
        let content_type = "application/vnd.masstransit+json".into();
        let properties = BasicProperties::default().with_content_type(content_type);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), QUEUE.into(), options, &outgoing.body, properties);
        confirms.push(sent.await?);
    }
    for confirm in confirms {
        confirm.await?;
    }
    Ok((connection, channel))
}

/// CPU time of this process.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(usage.tv_sec).unwrap_or(0), u32::try_from(usage.tv_nsec).unwrap_or(0))
}

/// A transport that has so many messages and takes every settlement.
struct Feed {
    messages: u32,
}

impl Transport for Feed {
    fn system(&self) -> &'static str {
        "feed"
    }

    fn address(&self, destination: &Destination) -> String {
        address(destination)
    }

    fn declare<'a>(&'a self, _: &'a Topology) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(ready(Ok(())))
    }

    fn send(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), TransportError>>> {
        Box::pin(ready(batch.iter().map(|_| Ok(())).collect()))
    }

    fn subscribe<'a>(
        &'a self,
        _: &'a str,
        credit: u16,
    ) -> BoxFuture<'a, Result<Subscription, TransportError>> {
        let message = composed(&Composer::new(Arc::new(address)), 7).expect("a job is JSON");
        let (sender, incoming) = mpsc::channel(credit.into());
        let (settler, messages) = (Arc::new(Deaf), self.messages);
        tokio::spawn(async move {
            for number in 0..messages {
                let incoming = Incoming {
                    properties: message.properties.clone(),
                    body: message.body.clone(),
                    redelivered: false,
                    exchange: String::new(),
                    settle: Settle::new(settler.clone(), number.into()),
                };
                if sender.send(incoming).await.is_err() {
                    return;
                }
            }
            sender.closed().await; // or the bus would subscribe again
        });
        Box::pin(ready(Ok(Subscription { incoming, stop: Arc::new(Deaf) })))
    }

    fn replies(&self) -> BoxFuture<'_, Result<Replies, TransportError>> {
        Box::pin(ready(Err(TransportError::Unsupported("replies".into()))))
    }

    fn cancel<'a>(
        &'a self,
        _: &'a Destination,
        _: ScheduleToken,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        Box::pin(ready(Ok(false)))
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

/// Does nothing with what it is told.
struct Deaf;

impl Stop for Deaf {
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

impl Settler for Deaf {
    fn settle(&self, _: u64, _: Verdict) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(ready(Ok(())))
    }
}
