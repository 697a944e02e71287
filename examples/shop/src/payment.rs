//! The payment service: some customers pay, some cannot, some never answer, and its bank fails now and then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stele_bus::transport::Transport;
use stele_bus::{Bus, Context, Failure, Msg, Retry, State, store::Store};
use uuid::Uuid;

use crate::Outcome;
use crate::contracts::{PaymentRefused, PaymentTaken, TakePayment};

pub(crate) const QUEUE: &str = "queue:shop-payment";

/// Orders whose first payment the bank has lost already.
pub(crate) type Lost = Arc<Mutex<BTreeSet<Uuid>>>;

#[derive(Debug, thiserror::Error)]
#[error("the bank does not answer")]
struct BankAway;

async fn pay(Msg(m): Msg<TakePayment>, State(lost): State<Lost>, cx: Context) -> Result<(), Failure> {
    let order_id = m.order_id;
    match m.customer.as_str() {
        "poor" => cx.publish(&PaymentRefused { order_id }).map(drop)?,
        "absent-minded" => {}
        "unlucky" if lost.lock().unwrap_or_else(PoisonError::into_inner).insert(order_id) => {
            return Err(BankAway.into());
        }
        _ => cx.publish(&PaymentTaken { order_id }).map(drop)?,
    }
    Ok(())
}

/// The service: the bank is asked again before a payment is given up.
pub(crate) fn service(transport: impl Transport, store: impl Store) -> Outcome<Bus> {
    let retry = Retry::exponential(Duration::from_millis(20)..Duration::from_millis(200), 4).jitter();
    let bus = Bus::builder(transport).store(store).state(Lost::default());
    Ok(bus.endpoint("shop-payment", |e| e.handle(pay).retry(retry)).build()?)
}
