//! What a process that is going to be killed runs. Each exits with an error when a connection is lost; the scene starts it again. Only the
//! relay goes on by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use futures_lite::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use stele_bus::store::{Begun, InboxKey, Store as _, UnitOfWork};
use stele_bus::{Composer, Outgoing, SendOptions};
use stele_bus_relay::amqp::Amqp;
use stele_bus_relay::postgres::{Database, PgOutbox};
use stele_bus_relay::relay::{self, Relay, Settings};
use stele_bus_relay::sqlite::SqliteOutbox;
use stele_bus_sql::postgres::{self, PgStore, PgWork};
use stele_bus_sql::sqlite::{self, SqliteStore, SqliteWork};
use stele_testkit::random::Random;
use tokio::time::sleep;

use crate::database::{AGGREGATES, Pool, in_pg, in_sqlite, insert_event};
use crate::event::{Event, OrderBilled, OrderPlaced};
use crate::wrong::{CursorById, DeleteFirst, SkipLocked};
use crate::{Mutant, Store, nats, saga};

/// One transaction in so many is rolled back, and one in so many stays open for a while.
const ROLLBACK_ONE_IN: u64 = 7;
const HOLD_ONE_IN: u64 = 20;
const HOLD_MS_MAX: u64 = 120;
/// How long the wrong consumer takes between its settling and its commit: a kill must find it there.
const WRONG_PAUSE: Duration = Duration::from_millis(10);

/// A process of the application.
#[derive(Args)]
pub(crate) struct Role {
    #[arg(value_enum)]
    part: Part,
    #[arg(long, value_enum)]
    scene: Store,
    #[arg(long)]
    database: String,
    #[arg(long)]
    broker: String,
    #[arg(long)]
    seed: u64,
    #[arg(long, value_enum)]
    mutant: Option<Mutant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Produce,
    Relay,
    Consume,
    Saga,
}

impl Role {
    pub(crate) async fn run(&self) -> Result<()> {
        match self.part {
            Part::Produce => self.produce().await,
            Part::Relay => self.relay().await,
            Part::Consume if self.scene == Store::Nats => self.consume_from_stream().await,
            Part::Consume => self.consume().await,
            Part::Saga => saga::run(&self.broker, Pool::open(&self.database).await?).await,
        }
    }

    /// Orders without end: one transaction each, the outcome said when it is known.
    async fn produce(&self) -> Result<()> {
        let (pool, mut random) = (Pool::open(&self.database).await?, Random::new(self.seed));
        loop {
            let id = composer().new_id();
            let aggregate = format!("a-{}", random.below(AGGREGATES));
            let commit = random.below(ROLLBACK_ONE_IN) != 0;
            let hold =
                (random.below(HOLD_ONE_IN) == 0).then(|| Duration::from_millis(random.below(HOLD_MS_MAX)));
            match &pool {
                Pool::Pg(pool) => {
                    let mut tx = pool.begin().await?;
                    let seq = in_pg::place(&mut tx, id, &aggregate).await?;
                    let placed = OrderPlaced { order_id: id, aggregate_id: aggregate.clone(), seq };
                    match self.scene {
                        Store::Debezium | Store::Nats => {
                            insert_event(&mut tx, ("order", &aggregate), "OrderPlaced", &placed).await?
                        }
                        _ => drop(postgres::publish(&mut tx, &composer(), &placed).await?),
                    }
                    sleep(hold.unwrap_or_default()).await;
                    if commit { tx.commit().await? } else { tx.rollback().await? }
                }
                Pool::Sqlite(pool) => {
                    let mut tx = pool.begin_with(sqlite::BEGIN).await?;
                    let seq = in_sqlite::place(&mut tx, id, &aggregate).await?;
                    let placed = OrderPlaced { order_id: id, aggregate_id: aggregate, seq };
                    sqlite::publish(&mut tx, &composer(), &placed).await?;
                    sleep(hold.unwrap_or_default() / 4).await; // it holds everybody up
                    if commit { tx.commit().await? } else { tx.rollback().await? }
                }
            }
            println!("{} {id}", if commit { "COMMITTED" } else { "ROLLEDBACK" });
        }
    }

    async fn relay(&self) -> Result<()> {
        let target = Amqp::new(&self.broker, "crash relay").map_err(anyhow::Error::msg)?;
        let mut settings = Settings::default();
        let relay: Relay = match (self.scene, self.mutant) {
            (Store::Debezium | Store::Nats | Store::Interop, _) => {
                bail!("this scene is relayed by another program")
            }
            (Store::Sqlite, _) => {
                settings.workers = 1;
                relay::start(SqliteOutbox::new(&self.database), target, settings)
            }
            (Store::Postgres, Some(Mutant::CursorById)) => {
                settings.workers = 1;
                relay::start(CursorById(self.database.clone()), target, settings)
            }
            (Store::Postgres, Some(Mutant::SkipLocked)) => {
                settings.batch = 5;
                relay::start(SkipLocked(self.database.clone()), target, settings)
            }
            (Store::Postgres, mutant) => {
                let database = Database::new(&self.database).map_err(anyhow::Error::msg)?;
                let outbox = PgOutbox::new(database, "outbox".parse().map_err(anyhow::Error::msg)?, None);
                match mutant {
                    Some(Mutant::DeleteBeforeConfirm) => relay::start(DeleteFirst(outbox), target, settings),
                    _ => relay::start(outbox, target, settings),
                }
            }
        };
        // Until it is killed.
        std::future::pending::<()>().await;
        relay.stop().await;
        Ok(())
    }

    /// Bills orders: inbox, effect and own event in one transaction, then the settlement.
    async fn consume(&self) -> Result<()> {
        let pool = Pool::open(&self.database).await?;
        let connection = Connection::connect(&self.broker, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(20, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let queue = self.scene.names().queue;
        let mut consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            let id = delivery.properties.message_id().as_ref().context("a message has an id")?;
            let wrong = self.mutant == Some(Mutant::AckBeforeCommit);
            if wrong {
                delivery.ack(BasicAckOptions::default()).await?;
                sleep(WRONG_PAUSE).await;
            }
            self.work(&pool, id.as_str(), &delivery.data).await?;
            if !wrong {
                delivery.ack(BasicAckOptions::default()).await?;
            }
        }
        bail!("the connection to the broker was lost")
    }

    /// The same, of a stream of JetStream.
    async fn consume_from_stream(&self) -> Result<()> {
        let pool = Pool::open(&self.database).await?;
        let mut messages = nats::consume(&self.broker, self.scene).await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let id = nats::message_id(message.headers.as_ref()).context("a message has an id")?;
            self.work(&pool, &id, &message.payload).await?;
            message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
        }
        bail!("the connection to the broker was lost")
    }

    /// One message: its inbox row, and if that is new its effect and the event that follows.
    async fn work(&self, pool: &Pool, message_id: &str, body: &[u8]) -> Result<()> {
        let Some(Event::Placed(order)) = Event::read(body) else { bail!("no order placed") };
        let key = Some(InboxKey { consumer: "bill-order".into(), message_id: message_id.parse()? });
        let begun = match pool {
            Pool::Pg(pool) => PgStore::new(pool.clone()).begin(key).await,
            Pool::Sqlite(pool) => SqliteStore::new(pool.clone()).begin(key).await,
        };
        if let Begun::Fresh(mut work) = begun? {
            let billed = OrderBilled { order_id: order.order_id };
            let outgoing = self.bill(&mut *work, &billed).await?;
            work.commit(outgoing).await?;
        }
        Ok(())
    }

    /// The effect; what is to be published with it.
    async fn bill(&self, work: &mut dyn UnitOfWork, billed: &OrderBilled) -> Result<Vec<Outgoing>> {
        if let Some(work) = work.as_any().downcast_mut::<PgWork>() {
            let tx = work.transaction()?;
            in_pg::bill(tx, billed.order_id).await?;
            if self.scene.is_debezium() {
                insert_event(tx, ("bill", &billed.order_id.to_string()), "OrderBilled", billed).await?;
                return Ok(Vec::new());
            }
        } else if let Some(work) = work.as_any().downcast_mut::<SqliteWork>() {
            in_sqlite::bill(&mut *work.transaction()?, billed.order_id).await?;
        }
        Ok(vec![composer().publish(billed, SendOptions::default())?])
    }
}

fn composer() -> Composer {
    Composer::new(Arc::new(|destination| format!("loopback://localhost/{destination:?}")))
}
