//! Claims of sizes that never come: the broker must refuse them at once, not wait or make room.

use std::net::SocketAddr;

use anyhow::Result;
use stele_testkit::random::Random;
use tokio::io::AsyncWriteExt;

use crate::wire::{self, Arguments, Connection, End, kind};

/// An open connection that makes a claim and then only waits.
pub(super) async fn attempt(address: SocketAddr, number: u32, _: Random) -> Result<&'static str> {
    let mut connection = Connection::open(address).await?;
    connection.stream.write_all(&claims()[number as usize % claims().len()]).await?;
    Ok(match connection.refused().await? {
        End::Error => "refused",
        End::Dropped | End::Quiet => "dropped",
    })
}

fn claims() -> [Vec<u8>; 5] {
    let header = |body_bytes: u64| {
        wire::frame(kind::HEADER, 1, &[&[0, 60, 0, 0], body_bytes.to_be_bytes().as_slice(), &[0, 0]].concat())
    };
    let table = |claimed: u32| {
        wire::method(
            1,
            50,
            10,
            Arguments::default().u16(0).short("").raw(&[0b0000_0100]).u32(claimed).raw(b"\x01a"),
        )
    };
    [
        // A frame of 4 GiB, of a few bytes more than agreed, a body of 2^63 bytes.
        [&[kind::METHOD, 0, 1], u32::MAX.to_be_bytes().as_slice(), &[0, 60]].concat(),
        [&[kind::BODY, 0, 1], 131_100_u32.to_be_bytes().as_slice(), &[0, 60]].concat(),
        [wire::publish_method("nowhere"), header(1 << 63)].concat(),
        // A table that says it is longer than its frame.
        table(u32::MAX),
        table(100),
    ]
}
