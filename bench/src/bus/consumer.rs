//! A bus whose handler writes an effect and publishes one event of its own per message: inbox row, effect and outbox row in one
//! transaction, then the message is accepted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use sqlx::query;
use stele_bus::transport::amqp::Amqp;
use stele_bus::{Bus, Context, Failure, Msg};
use stele_bus_sql::postgres::{PgStore, Tx};

use super::setting::{CONNECTIONS, EXCHANGE, Placed, QUEUE, Setting};
use super::{Aim, Figure, figure};

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Longest time of all messages.
const PATIENCE: Duration = Duration::from_secs(300);

async fn bill(Msg(placed): Msg<Placed>, mut tx: Tx, cx: Context) -> Result<(), Failure> {
    let id = cx.message_id().ok_or_else(|| Failure::last("bench", "a message has an id"))?;
    query("insert into effects values ($1, 1)").bind(id).execute(&mut **tx).await?;
    cx.send("queue:billed", &Placed { note: "billed".into(), ..placed })?;
    Ok(())
}

pub(super) async fn run(setting: &Setting, messages: u32) -> Result<Vec<Figure>> {
    query("create table if not exists effects (id uuid primary key, n int)").execute(&setting.pool).await?;
    query("truncate effects, outbox, inbox").execute(&setting.pool).await?;
    setting.fresh_queue().await?;
    for number in 0..messages {
        let message = setting.message(format!("a-{}", number % 100), number.into())?;
        let properties = BasicProperties::default().with_message_id(message.id.to_string().into());
        let properties = properties.with_content_type("application/vnd.masstransit+json".into());
        let options = BasicPublishOptions::default();
        let publish =
            setting.channel.basic_publish(EXCHANGE.into(), "".into(), options, &message.body, properties);
        drop(publish.await?);
    }
    let bus = Bus::builder(Amqp::new(&setting.url)?)
        .store(PgStore::new(setting.pool.clone()))
        .endpoint(QUEUE, |endpoint| endpoint.handle(bill).concurrency(CONNECTIONS as u16))
        .build()?;
    let start = Instant::now();
    bus.start().await?;
    let all = i64::from(messages);
    let counts = loop {
        let text = "select (select count(*) from effects), (select count(*) from outbox), (select count(*) from inbox)";
        let counts: (i64, i64, i64) = sqlx::query_as(text).fetch_one(&setting.pool).await?;
        if counts.0 >= all || start.elapsed() > PATIENCE {
            break counts;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let rate = f64::from(messages) / start.elapsed().as_secs_f64();
    bus.stop().await;
    ensure!(counts == (all, all, all), "effects, own events and inbox rows are {counts:?}, not {all}");
    Ok(vec![figure("consumer with inbox and outbox, messages/s", rate, "", Some(Aim::AtLeast(3_000.0)))])
}
