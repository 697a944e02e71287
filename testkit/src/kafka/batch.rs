//! Record batches of format 2, plain and packed, and the records in them.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Answer, Body};

const HEAD_BYTES: usize = 61;
const GZIP: i16 = 1;

/// Producer and epoch of a batch that nobody numbers.
pub const NOBODY: (i64, i16) = (-1, -1);

/// An idempotent producer's batch of these values.
///
/// # Panics
/// There are more than 2^31.
#[must_use]
pub fn plain(producer: (i64, i16), sequence: u64, values: &[Vec<u8>]) -> Vec<u8> {
    let mut records = Vec::new();
    for (index, value) in values.iter().enumerate() {
        record(&mut records, index, value);
    }
    whole(0, producer, sequence, values.len(), &records)
}

/// A batch of as many times the same record, all at its first offset, packed by gzip; it is never there unpacked.
///
/// # Errors
/// It cannot be packed.
///
/// # Panics
/// `count` is above 2^31.
pub fn gzip(count: usize, value: &[u8]) -> Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let mut one = Vec::new();
    record(&mut one, 0, value);
    for _ in 0..count {
        packer.write_all(&one)?;
    }
    Ok(whole(GZIP, NOBODY, 0, count, &packer.finish()?))
}

fn record(records: &mut Vec<u8>, index: usize, value: &[u8]) {
    let mut record = vec![0];
    for number in [0, index as i64, -1, value.len() as i64] {
        varint(&mut record, number); // time, offset, no key, length of the value
    }
    record.extend(value);
    varint(&mut record, 0);
    varint(records, record.len() as i64);
    records.extend(record);
}

fn whole(attributes: i16, producer: (i64, i16), sequence: u64, count: usize, records: &[u8]) -> Vec<u8> {
    let count = i32::try_from(count).expect("fewer than 2^31 records");
    let sequence = i32::try_from(sequence % (1 << 31)).expect("smaller than 2^31");
    // A broker may forget a producer whose last record is old, so a made-up time would allow what is judged here.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let covered = Body::default().i16(attributes).i32(count - 1).i64(now).i64(now);
    let mut covered = covered.i64(producer.0).i16(producer.1).i32(sequence).i32(count).0;
    covered.extend(records);
    let mut whole = Body::default().i64(0).i32((covered.len() + 9) as i32).i32(-1).i8(2).0;
    whole.extend(crc32c(&covered).to_be_bytes());
    whole.extend(covered);
    whole
}

/// Offsets and values of all whole batches in what was fetched.
///
/// # Errors
/// Something in it is damaged.
pub fn records(mut fetched: &[u8]) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some(head) = fetched.first_chunk::<12>() {
        let base = u64::from_be_bytes(*head.first_chunk().expect("eight of twelve"));
        let length = 12 + u32::from_be_bytes(*head[8..].first_chunk().expect("the last four")) as usize;
        let Some((whole, rest)) = fetched.split_at_checked(length) else { break };
        fetched = rest;
        ensure!(length >= HEAD_BYTES, "a batch of {length} bytes");
        let crc = u32::from_be_bytes(*whole[17..].first_chunk().expect("inside the head"));
        ensure!(crc == crc32c(&whole[21..]), "a damaged batch at offset {base}");
        let mut answer = Answer { bytes: whole.to_vec(), at: HEAD_BYTES - 4 };
        for _ in 0..answer.count()? {
            unvarint(&mut answer)?; // length
            answer.take(1)?;
            let (_, offset) = (unvarint(&mut answer)?, unvarint(&mut answer)?);
            let key = unvarint(&mut answer)?;
            answer.take(usize::try_from(key).unwrap_or(0))?;
            let bytes = unvarint(&mut answer)?;
            let value = answer.take(usize::try_from(bytes).unwrap_or(0))?.to_vec();
            ensure!(unvarint(&mut answer)? == 0, "headers that nobody sent");
            found.push((base + offset as u64, value));
        }
    }
    Ok(found)
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn unvarint(answer: &mut Answer) -> Result<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = answer.chunk()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    anyhow::bail!("a number without end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written_and_a_changed_one_is_not() {
        let values = [b"one".to_vec(), vec![7; 300]];
        let mut written = plain((5, 0), 9, &values);
        written[..8].copy_from_slice(&40u64.to_be_bytes());
        let found = records(&written).unwrap();
        assert_eq!(found, [(40, values[0].clone()), (41, values[1].clone())]);
        assert!(records(&written[..written.len() - 1]).unwrap().is_empty());
        *written.last_mut().unwrap() ^= 1;
        assert!(records(&written).is_err());
    }
}
