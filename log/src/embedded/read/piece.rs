//! Memory for what is read in one piece. It comes back when the last slice of it is gone: to clear a megabyte for each read anew would cost
//! as much as checking it.

use crate::embedded::lock;
use crate::format::page::{PAGE_BYTES, Page, bytes_of};
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// Pieces that are kept for the next read: what one answer takes of a log when a megabyte of each of a dozen partitions is wanted.
const KEPT_MAX: usize = 12;

/// Pieces of one size, of one log.
#[derive(Debug)]
pub(crate) struct Pieces {
    pages: usize,
    free: Mutex<Vec<Vec<Page>>>,
}

/// Pages to read into; what they held before is still in them.
#[derive(Debug)]
pub(super) struct Piece {
    pages: Vec<Page>,
    home: Arc<Pieces>,
    /// Bytes that were read.
    bytes: usize,
}

impl Pieces {
    /// Pieces of so many pages.
    pub(crate) fn new(pages: u32) -> Arc<Self> {
        Arc::new(Self { pages: pages as usize, free: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>) -> Piece {
        let free = lock(&self.free).pop();
        let pages = free.unwrap_or_else(|| bytemuck::allocation::zeroed_vec(self.pages));
        Piece { pages, home: Arc::clone(self), bytes: 0 }
    }
}

impl Piece {
    /// Fills the first `pages`; `read` says how many it got.
    pub(super) fn fill<E>(
        mut self,
        pages: usize,
        read: impl FnOnce(&mut [Page]) -> Result<usize, E>,
    ) -> Result<Bytes, E> {
        self.bytes = read(&mut self.pages[..pages])? * PAGE_BYTES;
        Ok(Bytes::from_owner(self))
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &bytes_of(&self.pages)[..self.bytes]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut free = lock(&self.home.free);
        if free.len() < KEPT_MAX {
            free.push(std::mem::take(&mut self.pages));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_with_its_last_slice_and_only_a_few_are_kept() {
        let pieces = Pieces::new(2);
        let fill = |byte: u8| {
            let piece = pieces.take().fill(1, |pages| {
                pages[0].bytes_mut().fill(byte);
                Ok::<_, ()>(1)
            });
            piece.expect("it was read")
        };
        let slice = fill(7).slice(10..20);
        assert_eq!(lock(&pieces.free).len(), 0);
        assert_eq!(slice[..], [7; 10]);
        drop(slice);
        assert_eq!(lock(&pieces.free).len(), 1);
        let many: Vec<_> = (0..20).map(fill).collect();
        assert!(many.iter().enumerate().all(|(n, piece)| piece.len() == PAGE_BYTES && piece[9] == n as u8));
        drop(many);
        assert_eq!(lock(&pieces.free).len(), KEPT_MAX);
    }
}
