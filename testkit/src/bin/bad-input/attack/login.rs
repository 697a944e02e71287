//! Wrong credentials: a close or a drop, and never a step further.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use stele_testkit::random::Random;
use tokio::io::AsyncWriteExt;

use crate::wire::{self, Connection, HEADER, name};

pub(super) async fn attempt(address: SocketAddr, _: u32, mut random: Random) -> Result<&'static str> {
    let mut connection = Connection::connect(address).await?;
    connection.stream.write_all(HEADER).await?;
    connection.stream.write_all(&wire::start_ok(&format!("wrong-{}", random.any()))).await?;
    while let Some(frame) = connection.frame().await? {
        ensure!(frame.method() != Some(name::TUNE), "a wrong password was accepted");
        if frame.method() == Some(name::CONNECTION_CLOSE) {
            return Ok("refused");
        }
    }
    Ok("dropped")
}
