//! `interop serve`: a service that speaks the envelope, without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use stele_bus::store::memory::MemoryStore;
use stele_bus::transport::amqp::Amqp;
use stele_bus::{Bus, Context, Either, Failure, Msg, Respond, Retry, State};
use uuid::Uuid;

use crate::contracts::{
    CheckOrderStatus, OrderAccepted, OrderNotFound, OrderStatusResult, OrderSubmitted, SubmitOrder,
};

/// Orders that were taken.
type Orders = Arc<Mutex<BTreeSet<Uuid>>>;

/// Attempts at messages that ask to fail, by message id.
type Attempts = Arc<Mutex<BTreeMap<Uuid, u32>>>;

/// It was asked for.
#[derive(Debug, thiserror::Error)]
#[error("this order asked to fail: {0}")]
struct AskedToFail(String);

async fn submit(
    Msg(order): Msg<SubmitOrder>,
    State(orders): State<Orders>,
    State(attempts): State<Attempts>,
    cx: Context,
) -> Result<Respond<OrderAccepted>, Failure> {
    let SubmitOrder { order_id, customer, amount, behavior } = order;
    cx.publish(&OrderSubmitted { order_id, customer, amount })?;
    let behavior = behavior.unwrap_or_else(|| "ok".into());
    if behavior == "fail" {
        return Err(AskedToFail(behavior).into());
    }
    if let Some(times) = behavior.strip_prefix("flaky:").and_then(|times| times.parse().ok()) {
        let id = cx.message_id().unwrap_or(order_id);
        let attempt = {
            let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = attempts.entry(id).or_insert(0);
            *attempt += 1;
            *attempt
        };
        if attempt <= times {
            return Err(AskedToFail(behavior).into());
        }
    }
    orders.lock().unwrap_or_else(PoisonError::into_inner).insert(order_id);
    Ok(Respond(OrderAccepted { order_id }))
}

async fn check(
    Msg(CheckOrderStatus { order_id }): Msg<CheckOrderStatus>,
    State(orders): State<Orders>,
) -> Either<Respond<OrderStatusResult>, Respond<OrderNotFound>> {
    if orders.lock().unwrap_or_else(PoisonError::into_inner).contains(&order_id) {
        Either::Left(Respond(OrderStatusResult { order_id, status: "Submitted".into() }))
    } else {
        Either::Right(Respond(OrderNotFound { order_id }))
    }
}

pub(crate) async fn run(amqp_url: &str) -> Result<()> {
    let bus = Bus::builder(Amqp::new(amqp_url)?)
        .store(MemoryStore::default())
        .state(Orders::default())
        .state(Attempts::default())
        .endpoint("submit-order", |endpoint| endpoint.handle(submit).retry(Retry::immediate(3)))
        .endpoint("check-order-status", |endpoint| endpoint.handle(check).retry(Retry::immediate(3)))
        .build()?;
    bus.start().await.context("start")?;
    crate::say("READY");
    crate::asked_to_stop().await?;
    bus.stop().await;
    Ok(())
}
