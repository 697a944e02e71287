//! The block under construction, and the volatile memory beside it: what a machine sees as its [`Journal`].

use super::buffers::{BUFFER_BYTES, Buffers, Fresh};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{BODY_ALIGN, Block, Limits};
use stele_model::machine::{Journal, Urgency, VOLATILE};

/// Bytes before each entry in a block's body: its length.
pub(super) const ENTRY_HEAD_BYTES: usize = 4;

/// Blocks from this size on are large: worth to be written without a copy.
const LARGE_BYTES: usize = 64 << 10;

pub(super) struct Open {
    buffers: Box<dyn Buffers>,
    lsn: Lsn,
    clock: Now,
    /// When the block was opened: the time of its entries.
    time: Now,
    limits: Limits,
    body: BytesMut,
    entries: u32,
    urgent: bool,
    /// When the oldest entry was appended.
    oldest: Option<Now>,
    sealed: VecDeque<Block>,
    volatile: BytesMut,
    volatile_piece: u64,
}

impl Open {
    pub(super) fn new(lsn: Lsn, now: Now, limits: Limits) -> Self {
        assert!(limits.block_bytes_best <= limits.block_bytes_max, "the best block is a possible one");
        Self {
            buffers: Box::new(Fresh),
            lsn,
            clock: now,
            time: now,
            limits,
            body: BytesMut::new(),
            entries: 0,
            urgent: false,
            oldest: None,
            sealed: VecDeque::new(),
            volatile: BytesMut::new(),
            volatile_piece: 1,
        }
    }

    /// Takes its memory from there from now on.
    pub(super) fn set_buffers(&mut self, buffers: Box<dyn Buffers>) {
        self.buffers = buffers;
    }

    /// Time goes on; the time of an open block stays.
    pub(super) fn advance(&mut self, now: Now) {
        self.clock = self.clock.max(now);
        if self.entries == 0 {
            self.time = self.clock;
        }
    }

    pub(super) fn lsn(&self) -> Lsn {
        self.lsn
    }

    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0 && self.sealed.is_empty()
    }

    pub(super) fn urgent(&self) -> bool {
        self.urgent
    }

    pub(super) fn oldest(&self) -> Option<Now> {
        self.oldest
    }

    /// Whatever is in the block is to be written now.
    pub(super) fn hurry(&mut self) {
        self.urgent |= self.entries > 0;
    }

    pub(super) fn seal(&mut self) {
        assert!(self.entries > 0, "an empty block is not sealed");
        let body = self.body.split().freeze();
        if body.len() >= LARGE_BYTES {
            self.expect_large(body.len());
        }
        self.sealed.push_back(Block { lsn: self.lsn, time: self.time, entries: self.entries, body });
        self.lsn.0 += 1;
        self.entries = 0;
        self.time = self.clock;
        self.urgent = false;
        self.oldest = None;
    }

    /// The next block is likely as long as the last: it begins where it need not be moved half-way, and can be written from.
    fn expect_large(&mut self, bytes: usize) {
        if self.body.capacity() < bytes + BODY_ALIGN {
            self.body = self.buffers.next();
        }
        let gap = self.body.as_ptr().align_offset(BODY_ALIGN);
        self.body.put_bytes(0, gap);
        self.body.advance(gap);
    }

    /// Moves the sealed blocks on.
    pub(super) fn take_sealed(&mut self, to: &mut VecDeque<Block>, bytes: &mut usize) {
        for block in self.sealed.drain(..) {
            *bytes += block.body.len();
            to.push_back(block);
        }
    }

    /// The volatile bytes since the last call, with their piece's number.
    pub(super) fn take_volatile(&mut self) -> Option<(Lsn, Bytes)> {
        if self.volatile.is_empty() {
            return None;
        }
        let piece = Lsn(VOLATILE | self.volatile_piece);
        self.volatile_piece += 1;
        Some((piece, self.volatile.split().freeze()))
    }

    /// The last piece that has volatile bytes, taken or not.
    pub(super) fn volatile_tail(&self) -> Lsn {
        Lsn(VOLATILE | if self.volatile.is_empty() { self.volatile_piece - 1 } else { self.volatile_piece })
    }

    /// Makes room for so many bytes more. What the buffer has is moved to another one, if nothing before it has been let go.
    fn reserve(buffer: &mut BytesMut, bytes: usize, buffers: &mut dyn Buffers) {
        if buffer.capacity() - buffer.len() >= bytes || buffer.try_reclaim(bytes) {
            return;
        }
        let whole = buffer.len() + bytes;
        let mut next = if whole <= BUFFER_BYTES {
            buffers.next()
        } else {
            BytesMut::with_capacity(whole + BUFFER_BYTES)
        };
        next.extend_from_slice(buffer);
        *buffer = next;
    }
}

impl Journal for Open {
    fn now(&self) -> Now {
        self.time
    }

    fn tail(&self) -> Lsn {
        if self.entries == 0 { Lsn(self.lsn.0 - 1) } else { self.lsn }
    }

    fn append(&mut self, urgency: Urgency, parts: &[&[u8]]) -> Place {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        assert!(len <= self.entry_bytes_max(), "an entry of {len} bytes does not fit a block");
        let whole = ENTRY_HEAD_BYTES + len;
        if self.entries > 0 && self.body.len() + whole > self.limits.block_bytes_best as usize {
            self.seal();
        }
        Self::reserve(&mut self.body, whole, &mut *self.buffers);
        self.body.extend_from_slice(&(len as u32).to_le_bytes());
        let place = Place { lsn: self.lsn, at: self.body.len() as u32 };
        for part in parts {
            self.body.extend_from_slice(part);
        }
        self.entries += 1;
        self.urgent |= urgency == Urgency::Urgent;
        self.oldest.get_or_insert(self.clock);
        place
    }

    fn keep(&mut self, bytes: &[u8]) -> Place {
        Self::reserve(&mut self.volatile, bytes.len(), &mut *self.buffers);
        let place = Place { lsn: Lsn(VOLATILE | self.volatile_piece), at: self.volatile.len() as u32 };
        self.volatile.extend_from_slice(bytes);
        place
    }

    fn entry_bytes_max(&self) -> usize {
        self.limits.block_bytes_max as usize - ENTRY_HEAD_BYTES
    }
}
