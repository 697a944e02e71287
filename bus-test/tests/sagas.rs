//! Sagas: one end for every order of events, whatever is repeated, reordered or killed; timeouts, compensation, missing instances.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stele_bus::saga::{Effects, Next, OnMissing, Saga, SagaDef, step};
use stele_bus::{BusBuilder, Message};
use stele_bus_test::{Harness, Plan, explore, explore_one, run};

macro_rules! messages {
    ($($name:ident = $urn:literal)*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
            #[message(urn = $urn, key = order)]
            struct $name {
                order: u32,
            }
        )*
    };
}

messages! {
    Ordered = "Test:Ordered"
    Paid = "Test:Paid"
    Packed = "Test:Packed"
    Unavailable = "Test:Unavailable"
    PaymentLate = "Test:PaymentLate"
    Ship = "Test:Ship"
    Refund = "Test:Refund"
    Restock = "Test:Restock"
    Expired = "Test:Expired"
}

const MINUTE: Duration = Duration::from_secs(60);

/// Shipped when it is both paid and packed, in whatever order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    Open { paid: bool, packed: bool },
    Shipped,
    Undone,
}

impl Order {
    fn settle(paid: bool, packed: bool, order: u32, fx: &mut Effects) -> Next<Self> {
        if paid && packed {
            fx.send("queue:shipping", &Ship { order });
            return Next::Stay(Self::Shipped);
        }
        Next::Stay(Self::Open { paid, packed })
    }
}

impl Saga for Order {
    const NAME: &'static str = "order";

    fn define(saga: &mut SagaDef<Self>) {
        saga.starts(
            |m: &Ordered| m.order,
            |m, fx| {
                fx.after(15 * MINUTE, &PaymentLate { order: m.order });
                Next::Stay(Self::Open { paid: false, packed: false })
            },
        );
        saga.on(
            |m: &Paid| m.order,
            |state, m, fx| match state {
                Self::Open { packed, .. } => {
                    fx.cancel::<PaymentLate>();
                    fx.compensate_with("queue:money", &Refund { order: m.order });
                    Self::settle(true, packed, m.order, fx)
                }
                Self::Shipped | Self::Undone => Next::Ignore,
            },
        );
        saga.on(
            |m: &Packed| m.order,
            |state, m, fx| match state {
                Self::Open { paid, .. } => {
                    fx.compensate_with("queue:store", &Restock { order: m.order });
                    Self::settle(paid, true, m.order, fx)
                }
                Self::Shipped | Self::Undone => Next::Ignore,
            },
        );
        saga.on(
            |m: &Unavailable| m.order,
            |_, _, fx| {
                fx.compensate();
                Next::Stay(Self::Undone)
            },
        );
        saga.on(
            |m: &PaymentLate| m.order,
            |_, m, fx| {
                fx.publish(&Expired { order: m.order });
                Next::Done
            },
        );
        saga.missing(OnMissing::Redeliver(vec![Duration::from_secs(1); 20]));
    }
}

fn describe(bus: BusBuilder) -> BusBuilder {
    bus.endpoint("order", |e| e.saga::<Order>().concurrency(8))
}

#[test]
fn a_step_is_tested_without_a_bus() {
    let (next, fx) = step(Some(Order::Open { paid: true, packed: false }), &Packed { order: 1 }).unwrap();
    assert_eq!(next, Next::Stay(Order::Shipped));
    assert_eq!(fx.said::<Ship>(), [Ship { order: 1 }]);
    assert!(step::<Order, _>(None, &Packed { order: 1 }).is_none());
    assert!(step::<Order, _>(None, &Ship { order: 1 }).is_none());
}

/// All events of five orders at once, the starting ones last.
async fn everything(h: Harness) {
    for order in 0..5 {
        h.bus().publish(&Packed { order }).await.unwrap();
        h.bus().publish(&Paid { order }).await.unwrap();
    }
    for order in 0..5 {
        h.bus().publish(&Ordered { order }).await.unwrap();
    }
    h.advance(30 * MINUTE).await;
    let states: Vec<_> = (0..5).map(|order| (order.to_string(), Order::Shipped)).collect();
    assert_eq!(h.sagas::<Order>(), states);
    let mut shipped: Vec<u32> = h.sent::<Ship>("shipping").iter().map(|ship| ship.order).collect();
    shipped.sort_unstable();
    assert_eq!(shipped, [0, 1, 2, 3, 4], "each once");
    assert!(h.published::<Expired>().is_empty());
    assert!(h.errors("order").is_empty(), "{:?}", h.errors("order"));
}

#[test]
fn any_interleaving_copy_and_crash_ends_as_the_serial_run_does() {
    explore(300, describe, everything);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let journal = |seed| {
        let journal = std::cell::RefCell::new(Vec::new());
        explore_one(Plan::from_seed(seed), describe, async |h: Harness| {
            for order in 0..5 {
                for _ in 0..2 {
                    h.bus().publish(&Paid { order }).await.unwrap();
                    h.bus().publish(&Ordered { order }).await.unwrap();
                }
            }
            h.advance(30 * MINUTE).await;
            *journal.borrow_mut() = h.broker().journal();
        });
        journal.into_inner()
    };
    for seed in [3, 4, 5] {
        let (once, twice) = (journal(seed), journal(seed));
        assert!(once.len() > 10);
        assert!(once == twice, "seed {seed}");
    }
    assert!(journal(3) != journal(4));
}

#[test]
fn a_timeout_fires_unless_it_was_cancelled() {
    run(describe, async |h| {
        h.publish(&Ordered { order: 1 }).await;
        h.publish(&Ordered { order: 2 }).await;
        h.publish(&Paid { order: 2 }).await;
        h.advance(14 * MINUTE).await;
        assert!(h.published::<Expired>().is_empty());
        h.advance(2 * MINUTE).await;
        assert_eq!(h.published::<Expired>(), [Expired { order: 1 }]);
        assert_eq!(h.saga::<Order>(1), None);
        assert_eq!(h.saga::<Order>(2), Some(Order::Open { paid: true, packed: false }));
    });
}

#[test]
fn compensations_are_sent_newest_first_and_once() {
    run(describe, async |h| {
        h.publish(&Ordered { order: 1 }).await;
        h.publish(&Paid { order: 1 }).await;
        h.publish(&Packed { order: 1 }).await;
        h.publish(&Unavailable { order: 1 }).await;
        h.publish(&Unavailable { order: 1 }).await;
        assert_eq!(h.saga::<Order>(1), Some(Order::Undone));
        let journal = h.broker().journal();
        let kinds: Vec<String> =
            journal.iter().filter_map(|message| Some(message.kind.as_ref()?.to_string())).collect();
        let undone: Vec<&str> =
            kinds.iter().map(String::as_str).filter(|kind| kind.contains(":Re")).collect();
        assert_eq!(undone, ["Test:Restock", "Test:Refund"]);
    });
}

#[test]
fn an_event_whose_instance_never_comes_ends_in_the_error_queue() {
    run(describe, async |h| {
        h.publish(&Paid { order: 9 }).await;
        assert!(h.errors("order").is_empty());
        h.advance(MINUTE).await;
        assert_eq!(h.errors("order").len(), 1);
        assert_eq!(h.faulted::<Paid>().len(), 1);
    });
}
