//! Clients that stop in the middle of the handshake, and clients that are merely slow.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use stele_testkit::random::Random;
use tokio::io::AsyncWriteExt;

use crate::wire::{self, Connection, HEADER, name};

/// Between two pieces of a slow client; the whole handshake takes it about a second.
const PAUSE: Duration = Duration::from_millis(20);
const PIECE_BYTES: usize = 3;

/// A part of the handshake, then silence: the broker must not wait for ever.
pub(super) async fn half_open(address: SocketAddr, _: u32, mut random: Random) -> Result<&'static str> {
    let handshake = handshake();
    let part = random.index(handshake.len() - 1);
    let mut connection = Connection::connect(address).await?;
    connection.stream.write_all(&handshake[..part]).await?;
    connection.refused().await?;
    Ok("ended")
}

/// The whole handshake, a few bytes at a time: slow is not wrong.
pub(super) async fn slow(address: SocketAddr, _: u32, _: Random) -> Result<&'static str> {
    let mut connection = Connection::connect(address).await?;
    let mut pause = tokio::time::interval(PAUSE);
    for piece in handshake().chunks(PIECE_BYTES) {
        pause.tick().await;
        connection.stream.write_all(piece).await?;
    }
    connection.until(name::OPEN_OK).await?;
    Ok("opened")
}

fn handshake() -> Vec<u8> {
    [HEADER.to_vec(), wire::start_ok("guest"), wire::tune_and_open().concat()].concat()
}
