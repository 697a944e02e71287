//! The shop's audit: reads the stream of all orders as a Kafka client, with requests written by hand. One API in one version (Fetch, 4) and
//! plain batches are all that it takes, so that the demo carries no Kafka library; real clients are in `conform/kafka`.

use super::ledger::{Event, Ledger, Step};
use super::shop::{EVENTS, Shop};
use anyhow::{Context as _, ensure};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for records, ms.
const WAIT_MS: i32 = 500;
/// Most bytes of one answer.
const ANSWER_BYTES_MAX: i32 = 4 << 20;

/// Reads until the connection ends.
pub(crate) async fn audit(shop: Shop, kafka: SocketAddr) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(kafka).await.context("the audit could not connect")?;
    let mut offset = 0;
    loop {
        socket.write_all(&fetch(offset)).await?;
        let len = socket.read_i32().await.context("the audit was sent away")?;
        ensure!((0..2 * ANSWER_BYTES_MAX).contains(&len), "an answer of {len} bytes");
        let mut answer = vec![0; len as usize];
        socket.read_exact(&mut answer).await?;
        let records = records(&answer)?;
        offset = batches(records, offset, |key, value| {
            if key == Event::Placed.subject().as_bytes() {
                match shop.order_in(value) {
                    Some(order) => shop.ledger(|ledger| ledger.step(order, Step::Audited, false)),
                    None => shop.ledger(Ledger::stranger),
                }
            }
        })
        .context("the audit cannot read a batch")?;
    }
}

/// A fetch of the events' only partition.
fn fetch(offset: i64) -> Vec<u8> {
    let mut request = Vec::new();
    let text = |request: &mut Vec<u8>, text: &str| {
        request.extend((text.len() as u16).to_be_bytes());
        request.extend(text.as_bytes());
    };
    // API key and version, correlation id, client id; then replica, wait, least and most bytes, isolation level.
    request.extend([0, 1, 0, 4, 0, 0, 0, 7]);
    text(&mut request, "stele-demo.audit");
    for number in [-1, WAIT_MS, 1, ANSWER_BYTES_MAX] {
        request.extend(number.to_be_bytes());
    }
    request.push(0);
    request.extend(1_i32.to_be_bytes());
    text(&mut request, EVENTS);
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend(offset.to_be_bytes());
    request.extend(ANSWER_BYTES_MAX.to_be_bytes());
    [&(request.len() as i32).to_be_bytes(), &request[..]].concat()
}

/// Takes numbers and bytes from the front of an answer.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> anyhow::Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len).context("an answer ends early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number<const N: usize>(&mut self) -> anyhow::Result<i64> {
        let bytes = self.bytes(N)?;
        let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
        Ok(bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte)))
    }

    /// Seven bits a byte, the lowest first, the sign in the lowest bit.
    fn varint(&mut self) -> anyhow::Result<i64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.number::<1>()? as u8;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        anyhow::bail!("a number of more than 64 bits")
    }

    /// As many bytes as a number before them says; none if it is negative.
    fn counted(&mut self, len: i64) -> anyhow::Result<&'a [u8]> {
        self.bytes(usize::try_from(len).unwrap_or(0))
    }
}

/// The batches in the answer to [`fetch`].
fn records(answer: &[u8]) -> anyhow::Result<&[u8]> {
    let mut input = Input(answer);
    input.bytes(4 + 4 + 4)?; // correlation id, throttle time, number of topics
    let name = input.number::<2>()?;
    input.counted(name)?;
    input.bytes(4 + 4)?; // number of partitions, index
    let error = input.number::<2>()?;
    ensure!(error == 0, "a fetch was refused with error {error}");
    input.bytes(8 + 8)?; // high watermark, last stable offset
    ensure!(input.number::<4>()? <= 0, "nothing here is aborted");
    let len = input.number::<4>()?;
    input.counted(len)
}

/// Shows key and value of each record from `offset` on; the offset to go on from.
fn batches(records: &[u8], offset: i64, mut show: impl FnMut(&[u8], &[u8])) -> anyhow::Result<i64> {
    let (mut input, mut next) = (Input(records), offset);
    while !input.0.is_empty() {
        let first = input.number::<8>()?;
        let len = input.number::<4>()?;
        let mut batch = Input(input.counted(len)?);
        batch.bytes(4)?; // leader epoch
        ensure!(batch.number::<1>()? == 2, "a batch of another magic than 2");
        batch.bytes(4)?; // checksum
        ensure!(batch.number::<2>()? & 7 == 0, "a batch is compressed");
        let last = batch.number::<4>()?;
        batch.bytes(8 + 8 + 8 + 2 + 4)?; // times, producer, epoch, sequence
        for _ in 0..batch.number::<4>()? {
            let len = batch.varint()?;
            let mut record = Input(batch.counted(len)?);
            record.bytes(1)?;
            record.varint()?;
            let at = first + record.varint()?;
            let len = record.varint()?;
            let key = record.counted(len)?;
            let len = record.varint()?;
            let value = record.counted(len)?;
            if at >= offset {
                show(key, value);
            }
        }
        next = next.max(first + last + 1);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One batch of one record, at offset 5.
    const BATCH: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 59, 0, 0, 0, 0, 2, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        0, 0, 0, 1, 18, 0, 0, 0, 2, b'k', 4, b'v', b'w', 0,
    ];

    #[test]
    fn a_batch_is_shown_from_the_offset_on() {
        let mut shown = Vec::new();
        let next = batches(BATCH, 5, |key, value| shown.push((key.to_vec(), value.to_vec()))).unwrap();
        assert_eq!((next, shown), (6, vec![(b"k".to_vec(), b"vw".to_vec())]));
        assert_eq!(batches(BATCH, 6, |_, _| panic!("it was shown before")).unwrap(), 6);
    }

    #[test]
    fn every_shorter_batch_is_an_error() {
        for len in 1..BATCH.len() {
            assert!(batches(&BATCH[..len], 0, |_, _| {}).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn numbers_keep_their_signs() {
        assert_eq!(Input(&[0xff, 0xfe]).number::<2>().unwrap(), -2);
        assert_eq!(Input(&[3]).varint().unwrap(), -2);
        assert_eq!(Input(&[0xac, 0x02]).varint().unwrap(), 150);
    }
}
