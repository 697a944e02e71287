//! Confirming publishers and acknowledging consumers, with lapin, until the broker is gone.
//!
//! One consumer per queue, so that the order of deliveries is the order of the queue. A publisher never sends a record twice: what was not
//! confirmed stays open, and may be delivered or not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm,
};
use stele_testkit::ledger::{Ledger, Publisher, Queue};
use stele_testkit::random::Random;
use tokio::task::JoinSet;

use crate::body;

const QUEUES: usize = 3;
const PUBLISHERS: usize = 5;
/// The last publisher sends to all queues at once.
const FANOUT: Publisher = PUBLISHERS - 1;
const EXCHANGE: &str = "kill-loop";
/// Unconfirmed records of one publisher.
const WINDOW: usize = 200;
/// Records of one publisher between two kills; it then waits for the kill.
const RECORDS_MAX: u64 = 20_000;
const BODY_BYTES_MAX: u64 = 2_000;
const PREFETCH: u16 = 100;
/// One acknowledgement covers so many deliveries.
const ACK_RUN: usize = 10;
/// After so many of them a consumer asks for something, and knows by the answer that they are durable.
const ACK_RUNS_BETWEEN_QUESTIONS: u32 = 16;
/// How long a client may need to notice that its broker is gone.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// How long a queue may be silent before it counts as drained; its count must be 0 then.
const SILENCE: Duration = Duration::from_secs(10);
const DRAIN_PATIENCE: Duration = Duration::from_secs(600);

/// Which publisher sends to which queues.
pub(crate) fn publishers() -> Vec<Vec<Queue>> {
    (0..PUBLISHERS)
        .map(|publisher| if publisher == FANOUT { (0..QUEUES).collect() } else { vec![publisher % QUEUES] })
        .collect()
}

/// The ledger, also after a task that held it has panicked: the panic is reported by its own task.
pub(crate) fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Tasks that run until the broker is gone.
pub(crate) struct Load {
    tasks: JoinSet<()>,
}

impl Load {
    /// Wait until every client has noticed that the broker is gone; those that have not are dropped.
    pub(crate) async fn end(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_PATIENCE, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Make the topology anew.
pub(crate) async fn declare(url: &str) -> Result<()> {
    let connection = connect(url).await?;
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;
    for queue in 0..QUEUES {
        channel.queue_delete(name(queue).as_str().into(), QueueDeleteOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(name(queue).as_str().into(), durable, FieldTable::default()).await?;
        channel
            .queue_bind(
                name(queue).as_str().into(),
                EXCHANGE.into(),
                "".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Start all publishers and consumers, each on a connection of its own.
pub(crate) async fn start(url: &str, ledger: &Arc<Mutex<Ledger>>, seed: u64) -> Result<Load> {
    let mut tasks = JoinSet::new();
    for queue in 0..QUEUES {
        let connection = connect(url).await?;
        let channel = connection.create_channel().await?;
        let ledger = Arc::clone(ledger);
        tasks.spawn(async move {
            // The end of the connection is the end of the task, whatever its error says.
            let _ = consume(&channel, queue, &ledger, None).await;
            drop(connection);
        });
    }
    for publisher in 0..PUBLISHERS {
        let connection = connect(url).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let ledger = Arc::clone(ledger);
        let random = Random::new(seed ^ publisher as u64);
        tasks.spawn(async move {
            publish(&channel, publisher, &ledger, random).await;
            drop(connection);
        });
    }
    Ok(Load { tasks })
}

/// Consume what is left in all queues, until they are empty.
pub(crate) async fn drain(url: &str, ledger: &Arc<Mutex<Ledger>>) -> Result<()> {
    for queue in 0..QUEUES {
        let connection = connect(url).await?;
        let channel = connection.create_channel().await?;
        let drained = consume(&channel, queue, ledger, Some(SILENCE));
        tokio::time::timeout(DRAIN_PATIENCE, drained)
            .await
            .with_context(|| format!("drain queue {queue}"))??;
        let left = ready(&channel, queue).await?;
        if left > 0 {
            bail!("drain queue {queue}: {left} records are ready and not delivered");
        }
        connection.close(200, "done".into()).await?;
    }
    Ok(())
}

async fn publish(channel: &Channel, publisher: Publisher, ledger: &Mutex<Ledger>, mut random: Random) {
    let mut open: VecDeque<(u64, PublisherConfirm)> = VecDeque::new();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let queue = name(publisher % QUEUES);
    let (exchange, key) = if publisher == FANOUT { (EXCHANGE, "") } else { ("", queue.as_str()) };
    for _ in 0..RECORDS_MAX {
        let number = locked(ledger).sent(publisher);
        let size = usize::try_from(random.below(BODY_BYTES_MAX)).expect("a body fits memory");
        let body = body::write(publisher, number, size);
        match channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                &body,
                persistent.clone(),
            )
            .await
        {
            Ok(confirm) => open.push_back((number, confirm)),
            Err(_) => break, // the broker is gone
        }
        if open.len() >= WINDOW && !settle_oldest(&mut open, publisher, ledger).await {
            break;
        }
    }
    while !open.is_empty() {
        settle_oldest(&mut open, publisher, ledger).await; // some may have been confirmed before the end
    }
}

/// Wait for the oldest open confirm; false if the broker is gone.
async fn settle_oldest(
    open: &mut VecDeque<(u64, PublisherConfirm)>,
    publisher: Publisher,
    ledger: &Mutex<Ledger>,
) -> bool {
    let Some((number, confirm)) = open.pop_front() else { return true };
    match confirm.await {
        Ok(Confirmation::Ack(_)) => locked(ledger).confirmed(publisher, number),
        Ok(_) => locked(ledger).violation(format!(
            "publisher {publisher}: {number} was refused, though nothing limits its queue"
        )),
        Err(_) => return false,
    }
    true
}

/// Consume and acknowledge until the connection ends, or until nothing has come for as long as `silence` says.
async fn consume(
    channel: &Channel,
    queue: Queue,
    ledger: &Mutex<Ledger>,
    silence: Option<Duration>,
) -> Result<()> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(name(queue).as_str().into(), "".into(), options, FieldTable::default()).await?;
    let mut run: Vec<(Publisher, u64)> = Vec::new();
    let (mut last, mut runs) = (0, 0u32);
    loop {
        // A run that is not full is settled after a while as well, or it would be held until the kill.
        let patience =
            if run.is_empty() { silence.unwrap_or(Duration::MAX) } else { Duration::from_millis(50) };
        match tokio::time::timeout(patience, consumer.next()).await {
            Ok(Some(delivery)) => {
                let delivery = delivery?;
                last = delivery.delivery_tag;
                match body::read(&delivery.data) {
                    Some((publisher, number)) => {
                        locked(ledger).delivered(publisher, queue, number);
                        run.push((publisher, number));
                    }
                    None => locked(ledger).violation(format!(
                        "damaged: a record of {} bytes in queue {queue}",
                        delivery.data.len()
                    )),
                }
                if run.len() < ACK_RUN {
                    continue;
                }
            }
            Ok(None) => return Ok(()),
            Err(_) if run.is_empty() => return Ok(()), // silence
            Err(_) => {}
        }
        channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        {
            let mut ledger = locked(ledger);
            run.drain(..).for_each(|(publisher, number)| ledger.settled(publisher, queue, number));
        }
        runs += 1;
        if runs % ACK_RUNS_BETWEEN_QUESTIONS == 0 {
            ready(channel, queue).await?;
            locked(ledger).settles_are_durable(queue);
        }
    }
}

/// How many records the queue has ready, by a passive declare.
async fn ready(channel: &Channel, queue: Queue) -> Result<u32> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let found = channel.queue_declare(name(queue).as_str().into(), passive, FieldTable::default()).await?;
    Ok(found.message_count())
}

async fn connect(url: &str) -> Result<Connection> {
    Connection::connect(url, ConnectionProperties::default())
        .await
        .with_context(|| format!("connect to {url}"))
}

fn name(queue: Queue) -> String {
    format!("kill-loop.{queue}")
}
