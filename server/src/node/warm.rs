//! Memory for blocks that was touched before a shard needs it.
//!
//! Clearing 2 MB that nobody has had yet took a virtual machine up to 7 ms, in the middle of a shard's turn and about once for every 2 MB that were
//! published: the 99th percentile of all confirms (ADR 0016). So a thread of the node's touches buffers beforehand. What must hold: a shard never waits for it, and
//! has at most [`SPARE`] of them; one that nobody publishes to has none.

use bytes::BytesMut;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use stele_core::runner::buffers::{BUFFER_BYTES, Buffers};

/// Buffers that are kept ready for a shard.
const SPARE: usize = 2;

/// Bytes that the kernel gives out at a time, at least.
const PAGE_BYTES: usize = 4096;

/// The thread that touches, for all shards. It ends with the last of them.
pub(crate) struct Warmer {
    orders: Sender<SyncSender<BytesMut>>,
}

impl Warmer {
    /// # Errors
    /// No thread could be started.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, ordered) = channel::<SyncSender<BytesMut>>();
        let run = move || {
            for to in ordered {
                // Who ordered may be gone.
                let _ = to.try_send(touched());
            }
        };
        thread::Builder::new().name("warmer".to_owned()).spawn(run)?;
        Ok(Self { orders })
    }

    /// Buffers for one shard.
    pub(crate) fn buffers(&self) -> Box<dyn Buffers> {
        let (here, ready) = sync_channel(SPARE);
        Box::new(Warm { orders: self.orders.clone(), here, ready, ordered: 0 })
    }
}

fn touched() -> BytesMut {
    let mut buffer = BytesMut::zeroed(BUFFER_BYTES);
    // Zeroes are not there yet if the kernel has promised them.
    buffer.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
    buffer.clear();
    buffer
}

struct Warm {
    orders: Sender<SyncSender<BytesMut>>,
    /// Where what is ordered is to be left.
    here: SyncSender<BytesMut>,
    ready: Receiver<BytesMut>,
    /// Ordered and not taken.
    ordered: usize,
}

impl Buffers for Warm {
    fn next(&mut self) -> BytesMut {
        let ready = self.ready.try_recv().ok();
        self.ordered -= usize::from(ready.is_some());
        while self.ordered < SPARE && self.orders.send(self.here.clone()).is_ok() {
            self.ordered += 1;
        }
        ready.unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_gets_buffers_at_once_and_soon_those_that_were_touched() {
        let (orders, ordered) = channel();
        let mut warm = Warmer { orders }.buffers();
        let mut take = || {
            let buffer = warm.next();
            (buffer.is_empty() && buffer.capacity() >= BUFFER_BYTES).then(|| buffer.as_ptr())
        };
        assert!(take().is_some() && take().is_some(), "nobody is waited for");
        let orders: Vec<SyncSender<BytesMut>> = ordered.try_iter().collect();
        assert_eq!(orders.len(), SPARE, "no more are ordered while none is taken");
        let mut made = Vec::new();
        for to in orders {
            let buffer = touched();
            made.push(Some(buffer.as_ptr()));
            to.try_send(buffer).unwrap();
        }
        assert_eq!([take(), take()], made[..]);
        assert_eq!(ordered.try_iter().count(), SPARE);
    }
}
