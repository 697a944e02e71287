//! A good session with one thing broken: every attempt breaks another thing in another place.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use stele_testkit::random::Random;
use tokio::io::AsyncWriteExt;

use crate::wire::{self, Connection, End, HEADER};

/// What is done to a session at one of its frames: to the frame's bytes, or to the list of frames.
enum Breakage {
    Inside(fn(&mut [u8], &mut Random)),
    Among(fn(&mut Vec<Vec<u8>>, usize, &mut Random)),
}

use Breakage::{Among, Inside};

const BREAKAGES: &[Breakage] = &[
    Inside(flip_a_bit),
    Inside(set_a_byte),
    Among(cut_short),
    Inside(end_wrong),
    Inside(another_size),
    Inside(huge_size),
    Inside(another_kind),
    Inside(another_channel),
    Among(another_method),
    Among(twice),
    Among(moved),
    Among(left_out),
    Among(garbage_between),
    Inside(noise_inside),
    Among(deep_table),
];

/// One broken session: whatever is wrong with it, the broker ends it in time and speaks well-formed frames until then.
pub(super) async fn attempt(address: SocketAddr, number: u32, mut random: Random) -> Result<&'static str> {
    let mut frames = wire::good_session();
    let at = random.index(frames.len());
    match BREAKAGES[number as usize % BREAKAGES.len()] {
        Inside(breaks) => breaks(&mut frames[at], &mut random),
        Among(breaks) => breaks(&mut frames, at, &mut random),
    }
    let mut connection = Connection::connect(address).await?;
    let mut session = HEADER.to_vec();
    session.extend(frames.concat());
    // The broker may close before it has read all; what it said is still to be read.
    if connection.stream.write_all(&session).await.is_ok() {
        let _ = connection.stream.shutdown().await;
    }
    let end = connection
        .end()
        .await
        .with_context(|| format!("after a session broken at frame {at}: {}", session.escape_ascii()))?;
    Ok(match end {
        End::Error => "refused",
        End::Dropped => "dropped",
        End::Quiet => "harmless",
    })
}

fn flip_a_bit(frame: &mut [u8], random: &mut Random) {
    let byte = random.index(frame.len());
    frame[byte] ^= 1 << random.below(8);
}

fn set_a_byte(frame: &mut [u8], random: &mut Random) {
    let byte = random.index(frame.len());
    frame[byte] = octet(random);
}

fn cut_short(frames: &mut Vec<Vec<u8>>, at: usize, random: &mut Random) {
    let length = random.index(frames[at].len());
    frames[at].truncate(length);
    frames.truncate(at + 1);
}

fn end_wrong(frame: &mut [u8], random: &mut Random) {
    if let Some(end) = frame.last_mut() {
        *end = octet(random);
    }
}

fn another_size(frame: &mut [u8], random: &mut Random) {
    let size = u32::try_from(random.below(300)).expect("a small number");
    frame[3..7].copy_from_slice(&size.to_be_bytes());
}

fn huge_size(frame: &mut [u8], random: &mut Random) {
    let size = u32::MAX >> random.below(16);
    frame[3..7].copy_from_slice(&size.to_be_bytes());
}

fn another_kind(frame: &mut [u8], random: &mut Random) {
    frame[0] = octet(random);
}

fn another_channel(frame: &mut [u8], random: &mut Random) {
    frame[1] = octet(random);
    frame[2] = octet(random);
}

fn another_method(frames: &mut Vec<Vec<u8>>, at: usize, random: &mut Random) {
    let class = [10, 20, 30, 40, 50, 60, 85, 90, 0xff][random.index(9)];
    let arguments: Vec<u8> = (0..random.below(40)).map(|_| octet(random)).collect();
    let method = u16::from(octet(random)) / 2;
    frames.insert(at, wire::method(1, class, method, wire::Arguments::default().raw(&arguments)));
}

fn twice(frames: &mut Vec<Vec<u8>>, at: usize, _: &mut Random) {
    frames.insert(at, frames[at].clone());
}

fn moved(frames: &mut Vec<Vec<u8>>, at: usize, random: &mut Random) {
    let other = random.index(frames.len());
    let frame = frames.remove(at);
    frames.insert(other, frame);
}

fn left_out(frames: &mut Vec<Vec<u8>>, at: usize, _: &mut Random) {
    frames.remove(at);
}

fn garbage_between(frames: &mut Vec<Vec<u8>>, at: usize, random: &mut Random) {
    let garbage = (0..=random.below(2_000)).map(|_| octet(random)).collect();
    frames.insert(at, garbage);
}

fn noise_inside(frame: &mut [u8], random: &mut Random) {
    let inside = 7..frame.len() - 1;
    frame[inside].iter_mut().for_each(|byte| *byte = octet(random));
}

/// Tables in tables in tables, as arguments of a queue.
fn deep_table(frames: &mut Vec<Vec<u8>>, at: usize, random: &mut Random) {
    let mut table = Vec::new();
    for _ in 0..=random.below(4_000) {
        table =
            [b"\x01tF".as_slice(), &u32::try_from(table.len()).expect("a small table").to_be_bytes(), &table]
                .concat();
    }
    let arguments = wire::Arguments::default().u16(0).short("").raw(&[0b0000_0100]).long(&table);
    frames.insert(at, wire::method(1, 50, 10, arguments));
}

fn octet(random: &mut Random) -> u8 {
    random.any().to_le_bytes()[0]
}
