//! Reads a segment file from front to back through a window, and checks every block on the way.

use crate::disk::DiskFile;
use crate::format::Flaw;
use crate::format::block::{self, Head};
use crate::format::page::{PAGE_BYTES, Page, bytes_of};
use std::io;

/// Pages read at once, at most; a scan begins with fewer.
const WINDOW_PAGES_MAX: usize = 256;
const WINDOW_PAGES_MIN: usize = 16;

/// A reader of one segment file.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    salt: u64,
    window: Vec<Page>,
    /// Page of the file that the window begins at.
    begin: u64,
    /// Pages in the window.
    filled: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, salt: u64) -> Self {
        Self { file, salt, window: Vec::new(), begin: 0, filled: 0 }
    }

    /// Up to `count` pages from `page` on; fewer at the end of the file.
    fn pages(&mut self, page: u64, count: usize) -> io::Result<&[u8]> {
        let end = self.begin + self.filled as u64;
        if page < self.begin || page + count as u64 > end {
            self.slide(page, count)?;
        }
        let from = usize::try_from(page - self.begin).expect("the window holds it");
        let to = (from + count).min(self.filled);
        Ok(bytes_of(&self.window[from.min(to)..to]))
    }

    /// Moves the window to `page`; what it held from there on is not read again.
    fn slide(&mut self, page: u64, count: usize) -> io::Result<()> {
        let ahead = (self.window.len() * 2).clamp(WINDOW_PAGES_MIN, WINDOW_PAGES_MAX).max(count);
        let skip = usize::try_from(page.wrapping_sub(self.begin)).unwrap_or(usize::MAX).min(self.filled);
        let kept = self.filled - skip;
        self.window.copy_within(skip..self.filled, 0);
        self.window.resize(ahead.max(kept), Page::ZERO);
        self.filled = kept + self.file.read(page + kept as u64, &mut self.window[kept..])?;
        self.begin = page;
        Ok(())
    }

    /// The header page's bytes, if the file has one.
    pub(crate) fn first_page(&mut self) -> io::Result<Option<Page>> {
        self.pages(0, 1)?;
        Ok((self.filled > 0).then(|| self.window[0]))
    }

    /// The block, or marker, at `page`: its header and its body. Its place in the sequence is the caller's to judge.
    pub(crate) fn block(&mut self, page: u64) -> io::Result<Result<(Head, &[u8]), Flaw>> {
        let salt = self.salt;
        let head = match block::head(self.pages(page, 1)?) {
            Ok(head) => head,
            Err(flaw) => return Ok(Err(flaw)),
        };
        if head.salt != salt {
            return Ok(Err(Flaw::Salt));
        }
        if u64::from(head.page) != page {
            return Ok(Err(Flaw::Misplaced));
        }
        let bytes = self.pages(page, head.layout().pages)?;
        Ok(block::body(&head, bytes).map(|range| (head, &bytes[range])))
    }

    /// The pages at which the blocks from page `from` to page `to` begin, or the first flaw.
    pub(crate) fn index(&mut self, from: u32, to: u32) -> io::Result<Result<Vec<u32>, Flaw>> {
        let mut index = Vec::new();
        let mut page = from;
        while page < to {
            match self.block(u64::from(page))? {
                Ok((head, _)) => {
                    if !head.is_marker() {
                        index.push(page);
                    }
                    page += u32::try_from(head.layout().pages).unwrap_or(u32::MAX);
                }
                Err(flaw) => return Ok(Err(flaw)),
            }
        }
        Ok(Ok(index))
    }

    /// The first page from `from` on at which a valid block of this segment begins.
    pub(crate) fn find(&mut self, from: u64) -> io::Result<Option<(u64, Head)>> {
        let mut page = from;
        loop {
            if self.pages(page, 1)?.len() < PAGE_BYTES {
                return Ok(None);
            }
            if let Ok((head, _)) = self.block(page)? {
                return Ok(Some((page, head)));
            }
            page += 1;
        }
    }
}
