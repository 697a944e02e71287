//! A consumer that asks for everything and reads nothing: the broker may fill its socket, not its own memory.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use stele_testkit::random::Random;
use tokio::io::AsyncWriteExt;

use crate::wire::{self, Connection, name};

/// Far more than two socket buffers hold.
const RECORDS: usize = 512;
const RECORD_BYTES: usize = 32 << 10;
/// How long it does not read.
const DEAF: Duration = Duration::from_secs(2);

pub(super) async fn attempt(address: SocketAddr, number: u32, _: Random) -> Result<&'static str> {
    let queue = format!("bad-input.deaf.{number}");
    let mut publisher = Connection::open(address).await?;
    publisher
        .stream
        .write_all(&wire::method(1, 50, 10, wire::Arguments::default().u16(0).short(&queue).raw(&[0]).u32(0)))
        .await?;
    publisher.until((50, 11)).await?;
    publisher.stream.write_all(&wire::confirm_select()).await?;
    publisher.until((85, 11)).await?;
    let record = wire::publish(&queue, &vec![b'x'; RECORD_BYTES]).concat();
    for _ in 0..RECORDS {
        publisher.stream.write_all(&record).await?;
    }
    publisher.until(name::ACK).await?;

    let mut deaf = Connection::open(address).await?;
    deaf.stream.write_all(&wire::consume(&queue, true)).await?;
    tokio::time::sleep(DEAF).await; // what it does is to let time pass
    drop(deaf);

    publisher
        .stream
        .write_all(&wire::method(1, 50, 40, wire::Arguments::default().u16(0).short(&queue).raw(&[0])))
        .await?;
    publisher.until((50, 41)).await?;
    Ok("survived")
}
