//! A consumer that writes an effect, its inbox row and one event of its own per message, all in one transaction, then settles.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_lite::StreamExt as _;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicPublishOptions, BasicQosOptions};
use sqlx::query;
use stele_bus::store::{Begun, InboxKey, Store as _};
use stele_bus::{Composer, SendOptions};
use stele_bus_sql::postgres::{PgStore, PgWork};
use tokio::task::JoinSet;

use super::setting::{CONNECTIONS, EXCHANGE, Placed, Setting};
use super::{Aim, Figure, figure};

const ARRIVE: Duration = Duration::from_secs(10);

pub(super) async fn run(setting: &Setting, messages: u32) -> Result<Vec<Figure>> {
    query("create table if not exists effects (id uuid primary key, n int)").execute(&setting.pool).await?;
    query("truncate effects, outbox, inbox").execute(&setting.pool).await?;
    setting.fresh_queue().await?;
    for number in 0..messages {
        let message = setting.message(format!("a-{}", number % 100), number.into())?;
        let properties = BasicProperties::default().with_message_id(message.id.to_string().into());
        let options = BasicPublishOptions::default();
        let publish =
            setting.channel.basic_publish(EXCHANGE.into(), "".into(), options, &message.body, properties);
        drop(publish.await?);
    }
    setting.channel.basic_qos(CONNECTIONS as u16 * 4, BasicQosOptions::default()).await?;
    let store = PgStore::new(setting.pool.clone());
    let (mut consumer, start) = (setting.consume(false).await?, Instant::now());
    let mut working = JoinSet::new();
    for _ in 0..messages {
        let delivery = tokio::time::timeout(ARRIVE, consumer.next()).await.context("a message was lost")?;
        let delivery = delivery.context("the broker closed the channel")??;
        if working.len() >= CONNECTIONS as usize {
            working.join_next().await.expect("there are some")??;
        }
        working.spawn(handle(store.clone(), setting.composer.clone(), delivery));
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    let rate = f64::from(messages) / start.elapsed().as_secs_f64();
    setting.end_consuming().await?;
    let text =
        "select (select count(*) from effects), (select count(*) from outbox), (select count(*) from inbox)";
    let counts: (i64, i64, i64) = sqlx::query_as(text).fetch_one(&setting.pool).await?;
    let all = i64::from(messages);
    ensure!(counts == (all, all, all), "effects, own events and inbox rows are {counts:?}, not {all}");
    Ok(vec![figure("consumer with inbox and outbox, messages/s", rate, "", Some(Aim::AtLeast(3_000.0)))])
}

async fn handle(store: PgStore, composer: Composer, delivery: Delivery) -> Result<()> {
    let message_id =
        delivery.properties.message_id().as_ref().context("a message has an id")?.as_str().parse()?;
    let key = InboxKey { consumer: "bench".into(), message_id };
    let Begun::Fresh(mut work) = store.begin(Some(key)).await? else { bail!("a copy without a fault") };
    let tx = work.as_any().downcast_mut::<PgWork>().context("the store is Postgres")?.transaction()?;
    query("insert into effects values ($1, 1)").bind(message_id).execute(&mut **tx).await?;
    let own = Placed { aggregate: message_id.to_string(), seq: 0, note: "done".into() };
    let own = composer.publish(&own, SendOptions::default())?;
    work.commit(vec![own]).await?;
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}
