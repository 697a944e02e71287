//! Connections that are opened and dropped, at every stage of their life.

use std::net::SocketAddr;

use anyhow::Result;
use stele_testkit::random::Random;
use tokio::io::AsyncWriteExt;

use crate::wire::{self, Connection, HEADER};

pub(super) async fn attempt(address: SocketAddr, number: u32, _: Random) -> Result<&'static str> {
    match number % 4 {
        0 => drop(Connection::connect(address).await?),
        1 => Connection::connect(address).await?.stream.write_all(HEADER).await?,
        2 => drop(Connection::open(address).await?),
        _ => {
            let mut connection = Connection::open(address).await?;
            connection.stream.write_all(&[wire::own_queue(), wire::consume("", false)].concat()).await?;
            connection.until((60, 21)).await?;
        }
    }
    Ok("dropped by us")
}
