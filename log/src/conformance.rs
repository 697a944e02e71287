//! What every engine must do, as one suite: run by the tests of each engine and of each test double, with a fresh log.
//!
//! Panics at the first thing that is wrong. It knows the seam only; what crashes and faults may do is tested per engine.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use stele_model::id::{Lsn, Now};
use stele_model::log::{AppendError, BODY_ALIGN, Block, Completion, LogStore, ReadError};

/// How often a log is polled before something that never comes is called missing.
const PATIENCE: usize = 1_000_000;

/// The body of every other one begins where a log may write from ([`BODY_ALIGN`]).
fn block(lsn: u64, len: usize) -> Block {
    let mut body = BytesMut::with_capacity(BODY_ALIGN + 1 + len);
    let gap = body.as_ptr().align_offset(BODY_ALIGN) + (lsn % 2) as usize;
    body.put_bytes(0, gap);
    body.advance(gap);
    body.extend((0..len).map(|i| (i as u64 * 31 + lsn * 7) as u8));
    Block { lsn: Lsn(lsn), time: Now(lsn * 1000), entries: 3, body: body.freeze() }
}

/// Runs the whole suite on a log that is empty.
pub fn conformance(log: &mut dyn LogStore) {
    assert_eq!(log.tail(), Ok(Lsn(0)), "a new log is empty");
    assert_eq!(log.load_snapshot(), Ok(None), "a new log has no snapshot");
    assert_eq!(blocks(log, 1, usize::MAX), Ok(vec![]), "reading behind the tail gives nothing");
    let appended = becomes_durable_in_order(log);
    reads_what_was_appended(log, &appended);
    refuses_what_is_too_large(log, &appended);
    keeps_snapshots(log);
}

fn blocks(log: &dyn LogStore, from: u64, bytes_max: usize) -> Result<Vec<Block>, ReadError> {
    let mut blocks = Vec::new();
    log.read(Lsn(from), bytes_max, &mut |block| blocks.push(block))?;
    Ok(blocks)
}

/// Polls until `lsn` is durable.
fn settle(log: &mut dyn LogStore, lsn: Lsn) {
    let mut told = Lsn(0);
    for _ in 0..PATIENCE {
        let mut out = Vec::new();
        log.poll(&mut out);
        for completion in out {
            match completion {
                Completion::Durable(durable) => {
                    assert!(durable > told, "completions only go forward");
                    told = durable;
                }
                Completion::Failed(error) => panic!("the log failed: {error:?}"),
            }
        }
        if told >= lsn {
            assert_eq!(told, lsn, "nothing is durable that was not appended");
            assert_eq!(log.tail(), Ok(lsn), "the tail is the last durable block");
            return;
        }
        std::thread::yield_now();
    }
    panic!("block {lsn} never became durable");
}

fn becomes_durable_in_order(log: &mut dyn LogStore) -> Vec<Block> {
    let limits = log.limits();
    assert!(limits.block_bytes_best <= limits.block_bytes_max && limits.in_flight_max > 0);
    let largest = limits.block_bytes_max as usize;
    let large = [17_000, largest, 81_920, 70_000, 70_000].map(|len| len.min(largest));
    let lens = [10, 0, 1, 4096].into_iter().chain(large).chain([3]);
    let appended: Vec<Block> = (1..).zip(lens).map(|(lsn, len)| block(lsn, len)).collect();
    for group in appended.chunks(limits.in_flight_max as usize) {
        for block in group {
            assert_eq!(log.append(block.clone(), block.body.len() < 100), Ok(()));
        }
        settle(log, group[group.len() - 1].lsn);
    }
    appended
}

fn reads_what_was_appended(log: &dyn LogStore, appended: &[Block]) {
    assert_eq!(blocks(log, 1, usize::MAX).as_deref(), Ok(appended));
    assert_eq!(blocks(log, 4, usize::MAX).as_deref(), Ok(&appended[3..]));
    let some = blocks(log, 1, 1).expect("it is there");
    assert!(!some.is_empty() && some.len() < appended.len(), "a bound ends a read, after one block at least");
    assert_eq!(some, appended[..some.len()]);
}

fn refuses_what_is_too_large(log: &mut dyn LogStore, appended: &[Block]) {
    let next = appended.len() as u64 + 1;
    let too_large = block(next, log.limits().block_bytes_max as usize + 1);
    assert_eq!(log.append(too_large, false), Err(AppendError::TooLarge));
    assert_eq!(log.append(block(next, 5), true), Ok(()), "a refusal leaves the log as it was");
    settle(log, Lsn(next));
}

fn keeps_snapshots(log: &mut dyn LogStore) {
    let tail = log.tail().expect("the log is in order");
    let shared = Bytes::from(vec![7; 70_000]);
    let first = vec![shared.clone(), Bytes::new(), Bytes::from_static(b"one")];
    let second = vec![shared, Bytes::from_static(b"another")];
    snapshot(log, Lsn(tail.0 - 1), &first);
    snapshot(log, tail, &second);
    log.trim(tail);
    assert_eq!(blocks(log, tail.0 + 1, usize::MAX), Ok(vec![]), "what stands above a trim is read as before");
}

fn snapshot(log: &mut dyn LogStore, lsn: Lsn, chunks: &[Bytes]) {
    log.snapshot(lsn, chunks.to_vec());
    let done = (0..PATIENCE).find_map(|_| {
        log.poll(&mut Vec::new());
        std::thread::yield_now();
        log.snapshot_done()
    });
    assert_eq!(done, Some(lsn), "a snapshot becomes durable");
    assert_eq!(log.snapshot_done(), None, "and is told once");
    assert_eq!(log.load_snapshot(), Ok(Some((lsn, chunks.to_vec()))));
}
