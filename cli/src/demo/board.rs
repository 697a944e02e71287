//! The shop's board: hears of every order as it happens, as a NATS subscriber. Nothing is stored for it: what it misses is gone, and it misses
//! nothing, since it reads.

use super::ledger::{Event, Ledger};
use super::shop::{ORDERS, PREFIX, Shop};
use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, Message, Subscriber, jetstream};
use futures_util::StreamExt as _;
use std::net::SocketAddr;

/// See the module.
pub(crate) struct Board {
    events: Subscriber,
    _client: Client,
}

impl Board {
    /// Begins to listen: what is published from now on is heard.
    pub(crate) async fn open(nats: SocketAddr) -> anyhow::Result<Self> {
        let client = connect(nats, "board").await?;
        let events = client.subscribe(ORDERS).await?;
        // An answer to anything shows that the subscription before it was taken.
        jetstream::new(client.clone()).query_account().await.context("the board got no answer")?;
        Ok(Self { events, _client: client })
    }

    /// Hears until the connection ends.
    pub(crate) async fn hear(mut self, shop: Shop) -> anyhow::Result<()> {
        while let Some(message) = self.events.next().await {
            match event(&shop, &message) {
                Some((order, event)) => shop.ledger(|ledger| ledger.hear(order, event)),
                None => shop.ledger(Ledger::stranger),
            }
        }
        anyhow::bail!("the board was sent away")
    }
}

/// A connection of the shop's.
pub(crate) async fn connect(nats: SocketAddr, name: &str) -> anyhow::Result<Client> {
    let connecting = ConnectOptions::new().name(format!("{PREFIX}{name}")).connect(nats.to_string());
    connecting.await.with_context(|| format!("could not connect as {name}"))
}

/// What a message of this run tells of which order.
pub(crate) fn event(shop: &Shop, message: &Message) -> Option<(u64, Event)> {
    // AMQP's message id.
    let id = message.headers.as_ref()?.get(async_nats::header::NATS_MESSAGE_ID)?;
    Some((shop.order_by_id(id.as_str())?, Event::of(&message.subject)?))
}
