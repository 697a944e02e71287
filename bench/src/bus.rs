//! What the bus costs per message over a hand-written consumer on the same client library.
//!
//! Both drain the same number of the same envelopes from a queue of a running broker, with the same credit, in one process on one thread;
//! the hand-written one parses the envelope and the payload and acknowledges, and has no retry, faults, scopes or ids. Alternating
//! rounds, medians. Printed are wall time and this process's CPU time; the second is what a shared machine disturbs least.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde::{Deserialize, Serialize};
use stele_bus::transport::amqp::Amqp;
use stele_bus::{Bus, Composer, Message, Msg, SendOptions, State};
use tokio::sync::mpsc;

const QUEUE: &str = "stele-bench-bus";
const CREDIT: u16 = 256;

/// Which broker, and how much.
#[derive(Args)]
pub(crate) struct Options {
    /// A running broker.
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    url: String,
    /// Messages of one round.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    messages: u32,
    /// Rounds of each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Bench:Job", key = number)]
struct Job {
    number: u32,
    text: String,
}

/// What the hand-written consumer reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    message_type: Vec<String>,
    message: Job,
}

/// One round: time per message.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for _ in 0..options.rounds {
        costs.entry("hand-written").or_default().push(runtime.block_on(by_hand(options))?);
        costs.entry("bus").or_default().push(runtime.block_on(by_bus(options))?);
    }
    let median = |name: &str, of: fn(&Cost) -> Duration| {
        let mut values: Vec<Duration> = costs[name].iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2].as_secs_f64() * 1e6 / f64::from(options.messages)
    };
    println!("{:<14} {:>12} {:>12}", "µs per message", "wall", "cpu");
    for name in ["hand-written", "bus"] {
        println!(
            "{name:<14} {:>12.2} {:>12.2}",
            median(name, |cost| cost.wall),
            median(name, |cost| cost.cpu)
        );
    }
    let over = |of: fn(&Cost) -> Duration| median("bus", of) - median("hand-written", of);
    println!(
        "{:<14} {:>12.2} {:>12.2}   (aim: 2)",
        "overhead",
        over(|cost| cost.wall),
        over(|cost| cost.cpu)
    );
    Ok(())
}

async fn by_hand(options: &Options) -> Result<Cost> {
    let (_connection, channel) = filled(options).await?;
    channel.basic_qos(CREDIT, BasicQosOptions::default()).await?;
    let start = (Instant::now(), cpu());
    let mut consumer = channel
        .basic_consume(QUEUE.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let mut sum = 0u64;
    for _ in 0..options.messages {
        let delivery = consumer.next().await.context("the consumer ended")??;
        let envelope: Envelope = serde_json::from_slice(&delivery.data)?;
        ensure!(envelope.message_type.iter().any(|urn| urn == "urn:message:Bench:Job"), "an unknown type");
        sum += u64::from(envelope.message.number) + envelope.message.text.len() as u64;
        channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await?;
    }
    ensure!(sum > 0, "nothing was read");
    Ok(Cost { wall: start.0.elapsed(), cpu: cpu().saturating_sub(start.1) })
}

async fn take(Msg(job): Msg<Job>, State(done): State<mpsc::UnboundedSender<u64>>) {
    let _ = done.send(u64::from(job.number) + job.text.len() as u64); // the round may be over
}

async fn by_bus(options: &Options) -> Result<Cost> {
    let (connection, _channel) = filled(options).await?;
    connection.close(200, "bye".into()).await?;
    let (sender, mut done) = mpsc::unbounded_channel::<u64>();
    let bus = Bus::builder(Amqp::new(&options.url)?)
        .state(sender)
        .endpoint(QUEUE, |endpoint| endpoint.handle(take).concurrency(CREDIT))
        .build()?;
    bus.declare().await?;
    let start = (Instant::now(), cpu());
    bus.start().await?;
    let (mut taken, mut batch) = (0, Vec::new());
    while taken < options.messages {
        batch.clear();
        let count = done.recv_many(&mut batch, 1024).await;
        ensure!(count > 0, "the bus ended");
        taken += u32::try_from(count)?;
    }
    let cost = Cost { wall: start.0.elapsed(), cpu: cpu().saturating_sub(start.1) };
    bus.stop().await;
    Ok(cost)
}

/// An empty queue with the round's envelopes in it.
async fn filled(options: &Options) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(&url(&options.url), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    let composer = Composer::new(Amqp::new(&options.url)?.addressing());
    let mut confirms = Vec::new();
    for number in 0..options.messages {
        let job = Job { number, text: "x".repeat(100) };
        let outgoing = composer.publish(&job, SendOptions::default())?;
        let content_type = "application/vnd.masstransit+json".into();
        let properties = BasicProperties::default().with_content_type(content_type);
        let sent = channel
            .basic_publish(
                "".into(),
                QUEUE.into(),
                BasicPublishOptions::default(),
                &outgoing.body,
                properties,
            )
            .await?;
        confirms.push(sent);
    }
    for confirm in confirms {
        confirm.await?;
    }
    Ok((connection, channel))
}

/// This client takes a lone slash at the end for the virtual host with the empty name.
fn url(url: &str) -> String {
    url.strip_suffix('/').unwrap_or(url).to_owned()
}

/// CPU time of this process.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(usage.tv_sec).unwrap_or(0), u32::try_from(usage.tv_nsec).unwrap_or(0))
}
