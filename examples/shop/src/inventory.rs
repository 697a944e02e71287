//! The inventory service: puts products aside and back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stele_bus::transport::Transport;
use stele_bus::{Bus, Context, Failure, Msg, State, store::Store};

use crate::Outcome;
use crate::contracts::{ReleaseStock, ReserveStock, StockMissing, StockReserved};

pub(crate) const QUEUE: &str = "queue:shop-inventory";

/// Pieces of each product.
#[derive(Clone, Default)]
pub(crate) struct Shelves(Arc<Mutex<BTreeMap<String, u32>>>);

impl Shelves {
    pub(crate) fn with(products: &[(&str, u32)]) -> Self {
        Self(Arc::new(Mutex::new(
            products.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        )))
    }

    pub(crate) fn count(&self, product: &str) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(product).copied().unwrap_or(0)
    }

    fn take(&self, product: &str) -> bool {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match shelves.get_mut(product) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    fn put_back(&self, product: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(product.to_owned()).or_insert(0) += 1;
    }
}

async fn reserve(
    Msg(m): Msg<ReserveStock>,
    State(shelves): State<Shelves>,
    cx: Context,
) -> Result<(), Failure> {
    let order_id = m.order_id;
    if shelves.take(&m.product) {
        cx.publish(&StockReserved { order_id })?;
    } else {
        cx.publish(&StockMissing { order_id })?;
    }
    Ok(())
}

async fn release(Msg(m): Msg<ReleaseStock>, State(shelves): State<Shelves>) {
    shelves.put_back(&m.product);
}

/// The service: orders of one id are handled in order, copies once.
pub(crate) fn service(transport: impl Transport, store: impl Store, shelves: Shelves) -> Outcome<Bus> {
    let bus = Bus::builder(transport).store(store).state(shelves);
    Ok(bus.endpoint("shop-inventory", |e| e.handle(reserve).handle(release).partition_by_key(8)).build()?)
}
