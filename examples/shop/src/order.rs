//! The order service: takes orders, and sees each through by a saga with a timeout and compensation.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stele_bus::saga::{Effects, Next, OnMissing, Saga, SagaDef};
use stele_bus::transport::Transport;
use stele_bus::{Bus, Context, Either, Failure, Msg, Respond, store::Store};
use uuid::Uuid;

use crate::contracts::{
    OrderAccepted, OrderCancelled, OrderCompleted, OrderPlaced, OrderRefused, PaymentLate, PaymentRefused,
    PaymentTaken, PlaceOrder, ReleaseStock, ReserveStock, StockMissing, StockReserved, TakePayment,
};
use crate::{Outcome, inventory, payment};

/// How long a customer may take to pay; short, because somebody is watching.
const PATIENCE: Duration = Duration::from_secs(5);

/// An order on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Order {
    Reserving { customer: String, product: String },
    AwaitingPayment { product: String },
    Completed,
    Cancelled,
}

fn cancel(order_id: Uuid, why: &str, fx: &mut Effects) -> Next<Order> {
    fx.compensate();
    fx.publish(&OrderCancelled { order_id, why: why.into() });
    Next::Stay(Order::Cancelled)
}

impl Saga for Order {
    const NAME: &'static str = "shop-order";

    fn define(saga: &mut SagaDef<Self>) {
        saga.starts(
            |m: &OrderPlaced| m.order_id,
            |m, fx| {
                let (customer, product) = (m.customer.clone(), m.product.clone());
                fx.send(inventory::QUEUE, &ReserveStock { order_id: m.order_id, product: product.clone() });
                Next::Stay(Self::Reserving { customer, product })
            },
        );
        saga.on(
            |m: &StockReserved| m.order_id,
            |state, m, fx| match state {
                Self::Reserving { customer, product } => {
                    let order_id = m.order_id;
                    fx.compensate_with(
                        inventory::QUEUE,
                        &ReleaseStock { order_id, product: product.clone() },
                    );
                    fx.send(payment::QUEUE, &TakePayment { order_id, customer });
                    fx.after(PATIENCE, &PaymentLate { order_id });
                    Next::Stay(Self::AwaitingPayment { product })
                }
                _ => Next::Ignore,
            },
        );
        saga.on(
            |m: &StockMissing| m.order_id,
            |state, m, fx| match state {
                Self::Reserving { .. } => cancel(m.order_id, "out of stock", fx),
                _ => Next::Ignore,
            },
        );
        saga.on(
            |m: &PaymentTaken| m.order_id,
            |state, m, fx| match state {
                Self::AwaitingPayment { product } => {
                    fx.cancel::<PaymentLate>();
                    fx.publish(&OrderCompleted { order_id: m.order_id, product });
                    Next::Stay(Self::Completed)
                }
                _ => Next::Ignore,
            },
        );
        saga.on(
            |m: &PaymentRefused| m.order_id,
            |state, m, fx| match state {
                Self::AwaitingPayment { .. } => {
                    fx.cancel::<PaymentLate>();
                    cancel(m.order_id, "payment refused", fx)
                }
                _ => Next::Ignore,
            },
        );
        saga.on(
            |m: &PaymentLate| m.order_id,
            |state, m, fx| match state {
                Self::AwaitingPayment { .. } => cancel(m.order_id, "payment late", fx),
                _ => Next::Ignore,
            },
        );
        saga.missing(OnMissing::Redeliver(vec![Duration::from_millis(200); 20]));
    }
}

async fn place(
    Msg(order): Msg<PlaceOrder>,
    cx: Context,
) -> Result<Either<Respond<OrderAccepted>, Respond<OrderRefused>>, Failure> {
    let PlaceOrder { order_id, customer, product } = order;
    if product.is_empty() {
        return Ok(Either::Right(Respond(OrderRefused { order_id, why: "no product was named".into() })));
    }
    cx.publish(&OrderPlaced { order_id, customer, product })?;
    Ok(Either::Left(Respond(OrderAccepted { order_id })))
}

/// The service on this broker, with its state in this store.
pub(crate) fn service(transport: impl Transport, store: impl Store) -> Outcome<Bus> {
    let bus = Bus::builder(transport).store(store);
    Ok(bus.endpoint("shop-order", |e| e.handle(place)).saga::<Order>("shop-order-saga").build()?)
}
