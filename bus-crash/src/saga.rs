//! The saga of an order: placed, then billed, then closed. Run by a whole bus over a store in the database, and killed like the others.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use stele_bus::saga::{Next, OnMissing, Saga, SagaDef};
use stele_bus::transport::amqp::Amqp;
use stele_bus::{Bus, Retry};
use stele_bus_sql::postgres::PgStore;
use stele_bus_sql::sqlite::SqliteStore;

use crate::database::Pool;
use crate::event::{OrderBilled, OrderClosed, OrderPlaced};

/// Its queue.
pub(crate) const ORDER_SAGA: &str = "crash.order-saga";

/// How often it was told that its order is billed; more than once is a broken promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Closing {
    billed: i64,
}

impl Saga for Closing {
    const NAME: &'static str = "crash-closing";

    fn define(saga: &mut SagaDef<Self>) {
        saga.starts(|m: &OrderPlaced| m.order_id, |_, _| Next::Stay(Self { billed: 0 }));
        saga.on(
            |m: &OrderBilled| m.order_id,
            |state, m, fx| {
                fx.publish(&OrderClosed { closed_order_id: m.order_id });
                Next::Stay(Self { billed: state.billed + 1 })
            },
        );
        // Both events come over the same queue, but not in order once one of them was released.
        saga.missing(OnMissing::Redeliver(vec![Duration::from_millis(200); 500]));
    }
}

fn bus(broker: &str, pool: Option<Pool>) -> Result<Bus> {
    let builder = Bus::builder(Amqp::new(broker)?);
    let builder = match pool {
        Some(Pool::Pg(pool)) => builder.store(PgStore::new(pool)),
        Some(Pool::Sqlite(pool)) => builder.store(SqliteStore::new(pool)),
        None => builder.store(stele_bus::store::memory::MemoryStore::default()),
    };
    // A database that is cut off is no reason to give an event up.
    let patience = Retry::exponential(Duration::from_millis(20)..Duration::from_secs(1), 1000);
    let endpoint = builder.endpoint(ORDER_SAGA, |e| e.saga::<Closing>().concurrency(8).retry(patience));
    Ok(endpoint.build()?)
}

/// Makes its queue, so that nothing is lost before it runs.
pub(crate) async fn declare(broker: &str) -> Result<()> {
    let bus = bus(broker, None)?;
    bus.declare().await?;
    bus.stop().await;
    Ok(())
}

/// Takes events until it is killed. Unlike the other parts it goes on by itself when a connection is cut.
pub(crate) async fn run(broker: &str, pool: Pool) -> Result<()> {
    let bus = bus(broker, Some(pool))?;
    bus.start().await?;
    std::future::pending::<()>().await;
    Ok(())
}
