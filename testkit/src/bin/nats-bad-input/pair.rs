//! A publisher and a subscriber who do nothing wrong.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use stele_testkit::nats::Connection;
use stele_testkit::siege::steady::{Pair, Shared};

const SUBJECT: &str = "bad-input.pair";

/// Start both.
pub(crate) fn start(address: SocketAddr) -> Result<Pair> {
    let mut reader = Connection::open(address)?;
    reader.subscribe(SUBJECT, 1)?;
    reader.fence()?;
    let writer = Connection::open(address)?;
    Pair::start(move |shared| write(writer, shared), move |shared| read(reader, shared))
}

fn write(mut connection: Connection, shared: &Shared) -> Result<()> {
    shared.paced(|bodies| bodies.iter().try_for_each(|body| connection.publish(SUBJECT, "", &[], body)))?;
    connection.fence()
}

/// Each message once, in order.
fn read(mut connection: Connection, shared: &Shared) -> Result<()> {
    let mut next = 0;
    while !shared.stopped() {
        if let Some(message) = connection.message_within(Duration::from_millis(200))? {
            shared.came(&message.body, &mut next)?;
        }
    }
    Ok(())
}
