//! The SQLite store on a file: what one unit of work keeps together, and the relay beside it.

#![cfg(feature = "sqlite")]

use sqlx::query;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use std::sync::Arc;
use stele_bus::store::{Begun, CommitError, InboxKey, SagaChange, Store as _, UnitOfWork};
use stele_bus::{Composer, Outgoing, SendOptions};
use stele_bus_relay::sqlite::SqliteOutbox;
use stele_bus_relay::{Reader as _, Source as _};
use stele_bus_sql::sqlite::{self, SqliteStore, SqliteWork};
use uuid::Uuid;

#[derive(stele_bus::Message, serde::Serialize, serde::Deserialize)]
#[message(urn = "Shop:Placed", key = order)]
struct Placed {
    order: u64,
}

async fn database() -> (tempfile::TempDir, SqlitePool) {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("shop.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    sqlite::migrate(&pool).await.unwrap();
    sqlite::migrate(&pool).await.unwrap();
    (folder, pool)
}

fn placed(order: u64) -> Outgoing {
    let composer = Composer::new(Arc::new(|destination| format!("{destination:?}")));
    composer.publish(&Placed { order }, SendOptions::default()).unwrap()
}

fn key(number: u128) -> Option<InboxKey> {
    Some(InboxKey { consumer: "bill".into(), message_id: Uuid::from_u128(number) })
}

async fn fresh(store: &SqliteStore, key: Option<InboxKey>) -> Box<dyn UnitOfWork> {
    match store.begin(key).await.unwrap() {
        Begun::Fresh(work) => work,
        Begun::Done { .. } => panic!("it was done before"),
    }
}

#[tokio::test]
async fn work_inbox_and_messages_last_together_or_not_at_all() {
    let (folder, pool) = database().await;
    query("create table effects (n int)").execute(&pool).await.unwrap();
    let store = SqliteStore::new(pool.clone());
    let mut reader = SqliteOutbox::new(folder.path().join("shop.db")).open().await.unwrap();
    assert_eq!(reader.balance().await.unwrap(), 64);
    for (end, rows) in [(false, 0), (true, 1)] {
        let mut work = fresh(&store, key(1)).await;
        let tx = work.as_any().downcast_mut::<SqliteWork>().unwrap().transaction().unwrap();
        query("insert into effects values (1)").execute(&mut **tx).await.unwrap();
        match end {
            true => drop(work.commit(vec![placed(1), placed(2)]).await.unwrap()),
            false => work.rollback().await,
        }
        let effects: i64 = sqlx::query_scalar("select count(*) from effects").fetch_one(&pool).await.unwrap();
        assert_eq!(effects, rows);
        assert_eq!(reader.read(&[], 10).await.unwrap().len() as i64, rows * 2);
    }
    assert!(matches!(store.begin(key(1)).await.unwrap(), Begun::Done { unsent } if unsent.is_empty()));
}

#[tokio::test]
async fn one_relay_reads_in_order_parks_and_deletes_and_another_waits_for_its_end() {
    let (folder, pool) = database().await;
    let mut connection = pool.acquire().await.unwrap();
    sqlite::append(&mut connection, &[placed(1), placed(2), placed(1)]).await.unwrap();
    let outbox = SqliteOutbox::new(folder.path().join("shop.db"));
    let (mut first, mut second) = (outbox.open().await.unwrap(), outbox.open().await.unwrap());
    assert_eq!((first.balance().await.unwrap(), second.balance().await.unwrap()), (64, 0));
    assert!(second.read(&[], 10).await.unwrap().is_empty());
    let rows = first.read(&[], 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.aggregate_id.as_str()).collect::<Vec<_>>(), ["1", "2", "1"]);
    assert_eq!(first.read(&["1".into()], 10).await.unwrap().len(), 1);
    first.delete(&[rows[0].place]).await.unwrap();
    first.park(rows[1].place, "poison").await.unwrap();
    let backlog = first.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.dead), (1, 1));
    drop(first);
    assert_eq!(second.balance().await.unwrap(), 64);
    assert_eq!(outbox.replay().await.unwrap(), 1);
    let ids: Vec<String> = second.read(&[], 10).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, [rows[2].id.clone(), rows[1].id.clone()]);
}

#[tokio::test]
async fn a_saga_row_that_was_changed_meanwhile_is_a_conflict() {
    let (_folder, pool) = database().await;
    let store = SqliteStore::new(pool);
    let mut work = fresh(&store, None).await;
    work.sagas().unwrap().save("order", "7", SagaChange::Insert("waiting".into())).await.unwrap();
    work.sagas()
        .unwrap()
        .save("order", "7", SagaChange::Update { version: 1, body: "paid".into() })
        .await
        .unwrap();
    work.commit(Vec::new()).await.unwrap();
    let mut work = fresh(&store, None).await;
    let row = work.sagas().unwrap().load("order", "7").await.unwrap().unwrap();
    assert_eq!((row.version, row.body), (2, "paid".into()));
    for change in [SagaChange::Insert("again".into()), SagaChange::Update { version: 1, body: "late".into() }]
    {
        let conflict = work.sagas().unwrap().save("order", "7", change).await;
        assert!(matches!(conflict, Err(CommitError::Conflict)));
    }
    work.sagas().unwrap().save("order", "7", SagaChange::Delete { version: 2 }).await.unwrap();
    work.commit(Vec::new()).await.unwrap();
}
