//! The recommendation service: learns from completed orders, answers questions, and cannot stand one product.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stele_bus::transport::Transport;
use stele_bus::{Bus, Msg, Respond, Retry, State, store::Store};

use crate::Outcome;
use crate::contracts::{OrderCompleted, Recommend, Recommendation};

/// How often each product was bought.
#[derive(Clone, Default)]
pub(crate) struct Taste(Arc<Mutex<BTreeMap<String, u32>>>);

#[derive(Debug, thiserror::Error)]
#[error("no model can learn from {0}")]
struct Unlearnable(String);

async fn learn(Msg(m): Msg<OrderCompleted>, State(taste): State<Taste>) -> Result<(), Unlearnable> {
    if m.product == "cursed-idol" {
        return Err(Unlearnable(m.product));
    }
    *taste.0.lock().unwrap_or_else(PoisonError::into_inner).entry(m.product).or_insert(0) += 1;
    Ok(())
}

async fn recommend(Msg(m): Msg<Recommend>, State(taste): State<Taste>) -> Respond<Recommendation> {
    let taste = taste.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut products: Vec<_> = taste.iter().filter(|(name, _)| **name != m.product).collect();
    products.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let products = products.into_iter().map(|(name, _)| name.clone()).take(3).collect();
    Respond(Recommendation { order_id: m.order_id, products })
}

/// The service: what it cannot learn goes to its error queue, with a fault, and nobody else is held up.
pub(crate) fn service(transport: impl Transport, store: impl Store) -> Outcome<Bus> {
    let bus = Bus::builder(transport).store(store).state(Taste::default());
    Ok(bus
        .endpoint("shop-recommendation", |e| e.handle(learn).retry(Retry::immediate(2)))
        .handle(recommend)
        .build()?)
}
