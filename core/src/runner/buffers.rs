//! Where the memory for blocks comes from.
//!
//! The kernel hands memory out when it is first written to, up to 2 MB at a time, and clears it then. That may take as long as several turns of a
//! shard; a driver with threads has somebody else do it beforehand.

use bytes::BytesMut;

/// Blocks and volatile pieces are cut from buffers of this size, so that a trickle of small ones does not cost an allocation each.
pub const BUFFER_BYTES: usize = 2 << 20;

/// A source of buffers.
pub trait Buffers: Send {
    /// An empty buffer with space for [`BUFFER_BYTES`].
    fn next(&mut self) -> BytesMut;
}

/// Allocated when they are needed.
pub(super) struct Fresh;

impl Buffers for Fresh {
    fn next(&mut self) -> BytesMut {
        BytesMut::with_capacity(BUFFER_BYTES)
    }
}
