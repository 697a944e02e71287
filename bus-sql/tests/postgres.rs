//! The Postgres store against a real one: what one unit of work keeps together, and the way of a message from it to a transport.

#![cfg(feature = "postgres")]

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::query;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stele_bus::policy::Retry;
use stele_bus::store::{Begun, CommitError, InboxKey, SagaChange, Store as _, UnitOfWork};
use stele_bus::transport::Transport as _;
use stele_bus::transport::memory::Memory;
use stele_bus::{Bus, Composer, Context, Failure, Msg, Outgoing, ScheduleToken, SendOptions, Timestamp};
use stele_bus_relay::postgres::{Database, PgOutbox, Scheduled};
use stele_bus_relay::relay::{self, Settings};
use stele_bus_relay::{Fault, Message, Outcome, Publisher, Target};
use stele_bus_sql::postgres::{self, PgStore, PgWork, Tx};
use stele_bus_sql::relay::OverTransport;
use stele_testkit::postgres::Cluster;
use uuid::Uuid;

#[derive(stele_bus::Message, serde::Serialize, serde::Deserialize)]
#[message(urn = "Shop:Placed", key = order)]
struct Placed {
    order: u64,
}

async fn database() -> (Cluster, PgPool) {
    let cluster = Cluster::start(&["fsync=off"]).unwrap();
    let pool = PgPoolOptions::new().max_connections(4).connect(&cluster.url()).await.unwrap();
    postgres::migrate(&pool).await.unwrap();
    postgres::migrate(&pool).await.unwrap();
    (cluster, pool)
}

fn composer() -> Composer {
    Composer::new(Arc::new(|destination| format!("{destination:?}")))
}

fn placed(order: u64) -> Outgoing {
    composer().publish(&Placed { order }, SendOptions::default()).unwrap()
}

fn key(number: u128) -> Option<InboxKey> {
    Some(InboxKey { consumer: "bill".into(), message_id: Uuid::from_u128(number) })
}

async fn fresh(store: &PgStore, key: Option<InboxKey>) -> Box<dyn UnitOfWork> {
    match store.begin(key).await.unwrap() {
        Begun::Fresh(work) => work,
        Begun::Done { .. } => panic!("it was done before"),
    }
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    let text = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(text).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn work_inbox_and_messages_last_together_or_not_at_all() {
    let (_cluster, pool) = database().await;
    query("create table effects (n int)").execute(&pool).await.unwrap();
    let store = PgStore::new(pool.clone());
    for (end, rows) in [(false, 0), (true, 1)] {
        let mut work = fresh(&store, key(1)).await;
        let tx = work.as_any().downcast_mut::<PgWork>().unwrap().transaction().unwrap();
        query("insert into effects values (1)").execute(&mut **tx).await.unwrap();
        match end {
            true => drop(work.commit(vec![placed(1), placed(2)]).await.unwrap()),
            false => work.rollback().await,
        }
        for (table, each) in [("effects", 1), ("inbox", 1), ("outbox", 2)] {
            assert_eq!(count(&pool, table).await, rows * each, "{table}");
        }
    }
    assert!(matches!(store.begin(key(1)).await.unwrap(), Begun::Done { unsent } if unsent.is_empty()));
    assert!(matches!(store.begin(key(2)).await.unwrap(), Begun::Fresh(_)));
    assert_eq!(postgres::forget(&pool, std::time::Duration::ZERO).await.unwrap(), 1);
}

#[tokio::test]
async fn a_copy_that_comes_meanwhile_waits_and_is_seen_as_done() {
    let (_cluster, pool) = database().await;
    let store = PgStore::new(pool);
    let first = fresh(&store, key(1)).await;
    let copy = tokio::spawn({
        let store = store.clone();
        async move { matches!(store.begin(key(1)).await.unwrap(), Begun::Done { .. }) }
    });
    tokio::task::yield_now().await;
    assert!(!copy.is_finished());
    first.commit(Vec::new()).await.unwrap();
    assert!(copy.await.unwrap());
}

#[tokio::test]
async fn a_saga_row_that_was_changed_meanwhile_is_a_conflict() {
    let (_cluster, pool) = database().await;
    let store = PgStore::new(pool.clone());
    let mut work = fresh(&store, None).await;
    let sagas = work.sagas().unwrap();
    assert_eq!(sagas.load("order", "7").await.unwrap(), None);
    sagas.save("order", "7", SagaChange::Insert("waiting".into())).await.unwrap();
    work.commit(Vec::new()).await.unwrap();

    let mut work = fresh(&store, None).await;
    let sagas = work.sagas().unwrap();
    let row = sagas.load("order", "7").await.unwrap().unwrap();
    assert_eq!((row.version, row.body), (1, "waiting".into()));
    sagas.save("order", "7", SagaChange::Update { version: 1, body: "paid".into() }).await.unwrap();
    work.commit(Vec::new()).await.unwrap();

    let changes = [
        SagaChange::Insert("again".into()),
        SagaChange::Update { version: 1, body: "late".into() },
        SagaChange::Delete { version: 1 },
    ];
    for change in changes {
        let mut work = fresh(&store, None).await;
        let conflict = work.sagas().unwrap().save("order", "7", change.clone()).await;
        assert!(matches!(conflict, Err(CommitError::Conflict)), "{change:?}");
        work.rollback().await;
    }
    let mut work = fresh(&store, None).await;
    work.sagas().unwrap().save("order", "7", SagaChange::Delete { version: 2 }).await.unwrap();
    work.commit(Vec::new()).await.unwrap();
    assert_eq!(count(&pool, "saga").await, 0);
}

/// A broker that writes down what it is sent.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Message>>>);

impl Target for Notes {
    type Publisher = Self;

    async fn open(&self) -> Result<Self, Fault> {
        Ok(self.clone())
    }
}

impl Publisher for Notes {
    async fn admit(&mut self, _: &Message) -> Result<Outcome, Fault> {
        Ok(Outcome::Confirmed)
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        self.0.lock().unwrap().extend_from_slice(batch);
        Ok(vec![Outcome::Confirmed; batch.len()])
    }
}

#[tokio::test]
async fn what_is_published_through_a_transaction_is_relayed_when_it_is_committed() {
    let (cluster, pool) = database().await;
    let source = PgOutbox::new(Database::new(&cluster.url()).unwrap(), "outbox".parse().unwrap(), None);
    let notes = Notes::default();
    let mut relay = relay::start(source, notes.clone(), Settings::default());
    relay.ready().await;
    let mut committed = Vec::new();
    for order in 0..20 {
        let mut tx = pool.begin().await.unwrap();
        let id = postgres::publish(&mut tx, &composer(), &Placed { order: 7 }).await.unwrap();
        if order % 2 == 0 {
            tx.commit().await.unwrap();
            committed.push(id.to_string());
        }
    }
    relay.nudge();
    while count(&pool, "outbox").await > 0 {
        tokio::task::yield_now().await;
    }
    relay.stop().await;
    let notes = notes.0.lock().unwrap();
    assert_eq!(notes.iter().map(|message| message.id.clone()).collect::<Vec<_>>(), committed);
    assert_eq!(notes[0].address.exchange, "Shop:Placed");
    assert!(notes[0].properties.bus.is_some());
}

#[tokio::test]
async fn over_the_bus_s_own_transport_messages_leave_as_they_were_composed() {
    let (cluster, pool) = database().await;
    let messages: Vec<Outgoing> = (0..5).map(|order| placed(order % 2)).collect();
    let mut tx = pool.begin().await.unwrap();
    postgres::append(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();
    let source = PgOutbox::new(Database::new(&cluster.url()).unwrap(), "outbox".parse().unwrap(), None);
    let memory = Memory::default();
    let relay = relay::start(source, OverTransport(Arc::new(memory.clone())), Settings::default());
    while count(&pool, "outbox").await > 0 {
        tokio::task::yield_now().await;
    }
    relay.stop().await;
    let mut sent = memory.journal();
    // Two workers have lanes of their own: order is kept per key.
    let of_key = |messages: &[Outgoing]| -> Vec<Outgoing> {
        messages.iter().filter(|message| message.key.as_deref() == Some("0")).cloned().collect()
    };
    assert_eq!(of_key(&sent), of_key(&messages));
    sent.sort_by_key(|message| messages.iter().position(|known| known.id == message.id));
    assert_eq!(sent, messages);
}

/// A message for a time from now, with its token.
fn scheduled(order: u64, wait: Duration) -> (Outgoing, ScheduleToken) {
    let token = ScheduleToken(Uuid::from_u128(order.into()));
    let not_before = Some(Timestamp::now().after(wait));
    let options = SendOptions { not_before, token: Some(token), ..SendOptions::default() };
    (composer().publish(&Placed { order }, options).unwrap(), token)
}

#[tokio::test]
async fn a_scheduled_row_waits_in_the_table_until_its_time_or_is_taken_back() {
    let (cluster, pool) = database().await;
    let mut connection = pool.acquire().await.unwrap();
    let (later, token) = scheduled(3, Duration::from_secs(600));
    postgres::append(&mut connection, &[later, placed(1)]).await.unwrap();
    let (sink, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let source = PgOutbox::new(Database::new(&cluster.url()).unwrap(), "outbox".parse().unwrap(), None);
    let relay = relay::start(source, Watched(sink), Settings::default());
    assert_eq!(taken.recv().await.unwrap(), placed_kind(), "what is not scheduled leaves at once");
    let (soon, _) = scheduled(2, Duration::from_millis(700));
    let due = soon.not_before.unwrap();
    postgres::append(&mut connection, &[soon]).await.unwrap();
    assert_eq!(taken.recv().await.unwrap(), placed_kind());
    assert!(Timestamp::now() >= due, "a scheduled row left before its time");
    assert!(postgres::cancel(&mut connection, token).await.unwrap());
    assert!(!postgres::cancel(&mut connection, token).await.unwrap());
    relay.stop().await;
    assert_eq!(count(&pool, "outbox").await, 0);
}

#[tokio::test]
async fn a_scheduled_row_is_handed_on_at_once_to_a_target_that_keeps_its_time() {
    let (cluster, pool) = database().await;
    let mut connection = pool.acquire().await.unwrap();
    let (message, token) = scheduled(2, Duration::from_secs(600));
    postgres::append(&mut connection, std::slice::from_ref(&message)).await.unwrap();
    let source = PgOutbox::new(Database::new(&cluster.url()).unwrap(), "outbox".parse().unwrap(), None);
    let memory = Memory::default();
    let target = OverTransport(Arc::new(memory.clone()));
    let relay = relay::start(source.scheduled(Scheduled::HandedOn), target, Settings::default());
    while count(&pool, "outbox").await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(memory.delayed(), 1);
    assert!(
        memory.cancel(&message.destination, token).await.unwrap(),
        "by the bus, as any scheduled message"
    );
    relay.stop().await;
}

fn placed_kind() -> String {
    "Shop:Placed".into()
}

/// A target that tells the type of what it is given.
#[derive(Clone)]
struct Watched(tokio::sync::mpsc::UnboundedSender<String>);

impl Target for Watched {
    type Publisher = Self;

    async fn open(&self) -> Result<Self, Fault> {
        Ok(self.clone())
    }
}

impl Publisher for Watched {
    async fn admit(&mut self, _: &Message) -> Result<Outcome, Fault> {
        Ok(Outcome::Confirmed)
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        batch.iter().for_each(|message| drop(self.0.send(message.kind.clone())));
        Ok(batch.iter().map(|_| Outcome::Confirmed).collect())
    }
}

async fn bill(Msg(placed): Msg<Placed>, mut tx: Tx, cx: Context) -> Result<(), Failure> {
    query("insert into effects values ($1)").bind(placed.order as i32).execute(&mut **tx).await?;
    cx.publish(&Placed { order: placed.order + 100 })?;
    match cx.attempt() {
        0 => Err(Failure::new("test", "the first attempt fails")),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_handler_s_transaction_holds_its_work_and_its_messages_and_a_failed_attempt_leaves_nothing() {
    let (_cluster, pool) = database().await;
    query("create table effects (n int)").execute(&pool).await.unwrap();
    let bus = Bus::builder(Memory::default())
        .store(PgStore::new(pool.clone()))
        .endpoint("bill", |endpoint| endpoint.handle(bill).retry(Retry::immediate(1)).inbox(true))
        .build()
        .unwrap();
    bus.start().await.unwrap();
    bus.publish(&Placed { order: 7 }).await.unwrap();
    while count(&pool, "effects").await == 0 {
        tokio::task::yield_now().await;
    }
    bus.stop().await;
    for table in ["effects", "inbox", "outbox"] {
        assert_eq!(count(&pool, table).await, 1, "{table}");
    }
}
