//! Memory in whole pages, aligned as `O_DIRECT` wants it. Everything that reaches a disk does so as a run of [`Page`]s.

use bytemuck::{Pod, Zeroable};

/// Bytes of a page: the unit of writing, of alignment and of tearing.
pub const PAGE_BYTES: usize = 4096;

/// One page, aligned to its own size.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
pub struct Page([u8; PAGE_BYTES]);

const _: () = assert!(size_of::<Page>() == PAGE_BYTES && align_of::<Page>() == PAGE_BYTES);

impl Page {
    /// A page of zeroes.
    pub const ZERO: Self = Self([0; PAGE_BYTES]);

    /// The page's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; PAGE_BYTES] {
        &self.0
    }

    /// The page's bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        &mut self.0
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Page(crc {:08x})", super::crc(&self.0))
    }
}

/// The bytes of a run of pages.
#[must_use]
pub fn bytes_of(pages: &[Page]) -> &[u8] {
    bytemuck::cast_slice(pages)
}

/// The bytes of a run of pages, to be filled.
pub fn bytes_of_mut(pages: &mut [Page]) -> &mut [u8] {
    bytemuck::cast_slice_mut(pages)
}

/// The whole pages of `bytes`, if these begin where a page may.
#[must_use]
pub fn whole(bytes: &[u8]) -> Option<&[Page]> {
    bytemuck::try_cast_slice(&bytes[..bytes.len() / PAGE_BYTES * PAGE_BYTES]).ok()
}

/// How many pages hold `bytes`.
#[must_use]
pub const fn pages_for(bytes: usize) -> usize {
    bytes.div_ceil(PAGE_BYTES)
}

/// `bytes`, followed by zeroes up to a whole number of pages.
#[must_use]
pub fn padded(bytes: &[u8]) -> Vec<Page> {
    let mut pages = vec![Page::ZERO; pages_for(bytes.len())];
    bytes_of_mut(&mut pages)[..bytes.len()].copy_from_slice(bytes);
    pages
}
