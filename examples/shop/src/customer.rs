//! The customer: places orders of every kind, waits until each has ended, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use stele_bus::transport::Transport;
use stele_bus::{Bus, Fault, Msg, State, store::memory::MemoryStore};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::Outcome;
use crate::contracts::{OrderCancelled, OrderCompleted, PlaceOrder, Placed, Recommend, Recommendation};
use crate::inventory::Shelves;

/// What a customer hears about an order.
enum News {
    Completed(Uuid),
    Cancelled(Uuid, String),
    Fault(Uuid),
}
type Ear = mpsc::UnboundedSender<News>;

async fn completed(Msg(m): Msg<OrderCompleted>, State(ear): State<Ear>) {
    let _ = ear.send(News::Completed(m.order_id)); // who has heard enough may have left
}

async fn cancelled(Msg(m): Msg<OrderCancelled>, State(ear): State<Ear>) {
    let _ = ear.send(News::Cancelled(m.order_id, m.why));
}

async fn fault(Msg(m): Msg<Fault<OrderCompleted>>, State(ear): State<Ear>) {
    let _ = ear.send(News::Fault(m.message.order_id));
}

/// One row per kind of order: customer, product, and how it must end.
const KINDS: [(&str, &str, &str); 6] = [
    ("ada", "lamp", "completed"),
    ("unlucky", "lamp", "completed"),
    ("ada", "cursed-idol", "completed"),
    ("poor", "lamp", "payment refused"),
    ("absent-minded", "lamp", "payment late"),
    ("ada", "unicorn", "out of stock"),
];

pub(crate) const SHELVES: [(&str, u32); 2] = [("lamp", 10_000), ("cursed-idol", 10_000)];

/// Place `rounds` orders of each kind; an error says what was lost.
pub(crate) async fn visit(
    transport: impl Transport,
    shelves: &Shelves,
    rounds: u32,
    patience: Duration,
) -> Outcome<String> {
    let (ear, mut news) = mpsc::unbounded_channel();
    let bus = Bus::builder(transport)
        .store(MemoryStore::default())
        .state(ear)
        .endpoint("shop-customer", |e| e.handle(completed).handle(cancelled).handle(fault))
        .build()?;
    bus.start().await?;
    let mut open = BTreeMap::new();
    let mut cursed = BTreeSet::new();
    for at in 0..rounds {
        for (customer, product, ends) in KINDS {
            let order_id = bus.composer().new_id();
            let order = PlaceOrder { order_id, customer: customer.into(), product: product.into() };
            match bus
                .request(&order)
                .to("queue:shop-order")
                .await
                .with_context(|| format!("place order {at}"))?
            {
                Placed::Accepted(accepted) => {
                    ensure!(accepted.order_id == order_id, "another order was accepted")
                }
                Placed::Refused(refused) => anyhow::bail!("refused: {}", refused.why),
            }
            open.insert(order_id, ends);
            if product == "cursed-idol" {
                cursed.insert(order_id);
            }
        }
    }
    let refused =
        PlaceOrder { order_id: bus.composer().new_id(), customer: "ada".into(), product: String::new() };
    let refused: Placed = bus.request(&refused).to("queue:shop-order").await?;
    ensure!(matches!(refused, Placed::Refused(_)), "an order for nothing was accepted");
    let (placed, mut faults) = (open.len(), 0);
    while !open.is_empty() || !cursed.is_empty() {
        let heard = tokio::time::timeout(patience, news.recv()).await;
        let heard = heard
            .with_context(|| format!("{} orders have not ended: {open:?}; {faults} faults", open.len()))?;
        let (order_id, ended) = match heard.context("the customer's bus ended")? {
            News::Completed(order_id) => (order_id, "completed".to_owned()),
            News::Cancelled(order_id, why) => (order_id, why),
            News::Fault(order_id) => {
                faults += u32::from(cursed.remove(&order_id));
                continue;
            }
        };
        // Somebody else's orders may be on the same broker.
        if let Some(expected) = open.remove(&order_id) {
            ensure!(ended == expected, "order {order_id} ended as {ended}, not as {expected}");
        }
    }
    let reminder = OrderCancelled { order_id: bus.composer().new_id(), why: "forgotten".into() };
    let at = bus.composer().now().after(Duration::from_secs(3600));
    let scheduled = bus.schedule_send("queue:shop-customer", at, &reminder).await?;
    ensure!(bus.cancel(&scheduled).await?, "a scheduled message could not be taken back");
    ensure!(!bus.cancel(&scheduled).await?, "a scheduled message was taken back twice");
    let question = Recommend { order_id: bus.composer().new_id(), product: "unicorn".into() };
    let answer: Recommendation = bus.request(&question).await?;
    ensure!(answer.products == ["lamp"], "recommended: {:?}", answer.products);
    let gone = SHELVES[0].1 - shelves.count("lamp");
    ensure!(
        gone == 2 * rounds,
        "{gone} lamps are gone, not {}: compensation did not put them back",
        2 * rounds
    );
    bus.stop().await;
    Ok(format!("{placed} orders placed, all ended as they must; {faults} faults; {gone} lamps sold"))
}
