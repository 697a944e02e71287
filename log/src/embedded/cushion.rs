//! A file of zeroes that is kept for nothing but to be given up: a disk may be full to the last byte when the process is killed, and a
//! start has to write a manifest before it can cut or free anything.
//!
//! Written when a log opens, and by the background when space has come back. Given up by a start on a full disk; piece by piece by the
//! running log, when the pool has nothing more to give. Its name ends like that of everything unfinished, so any version clears it away.

use crate::disk::{Disk, Purpose};
use crate::embedded::Options;
use crate::embedded::supply::{PIECE_PAGES, ZEROES};
use crate::format::page::PAGE_BYTES;
use std::io;

/// The file's name.
pub(crate) const NAME: &str = "cushion.new";

/// Enough for the manifest of 20 000 segments; less where segments are small.
const BYTES_MAX: u64 = 1 << 20;

/// It is given up in so many pieces: whoever else fills the disk may take what a manifest frees again, and the next manifest needs its own.
const PIECES: u64 = 8;

/// What space is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A manifest: without it no segment comes into use or out of it.
    Manifest,
    /// More than that. Half of the cushion stays for manifests.
    Much,
}

/// How long the file should be.
pub(crate) fn bytes(options: &Options) -> u64 {
    BYTES_MAX.min(options.segment_bytes / 4).next_multiple_of(PAGE_BYTES as u64)
}

/// The cushion of one log.
#[derive(Debug)]
pub(crate) struct Cushion {
    /// As long as it should be, and as it is.
    whole: u64,
    pages: u64,
}

impl Cushion {
    /// Finds the cushion, and makes it whole as far as there is space.
    ///
    /// # Errors
    /// Those of the file system, but for want of space.
    pub(crate) fn open(disk: &dyn Disk, options: &Options) -> io::Result<Self> {
        let whole = bytes(options) / PAGE_BYTES as u64;
        let found = disk.list()?.into_iter().find(|file| file.name == NAME);
        let pages = found.map_or(0, |file| file.bytes / PAGE_BYTES as u64);
        let mut cushion = Self { whole, pages };
        cushion.grow(disk)?;
        Ok(cushion)
    }

    /// Makes it whole again if there is space for two. Bytes written.
    ///
    /// # Errors
    /// Those of the file system, but for want of space.
    pub(crate) fn restore(&mut self, disk: &dyn Disk) -> io::Result<Option<u64>> {
        // For two: what it was given up for is perhaps still being written.
        if self.pages == self.whole || disk.free_bytes()? < 2 * self.whole * PAGE_BYTES as u64 {
            return Ok(None);
        }
        let before = self.pages;
        self.grow(disk)?;
        Ok(self.pages.checked_sub(before).map(|pages| pages * PAGE_BYTES as u64))
    }

    /// Gives a piece up. `false`: there is none for that.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn give_up(&mut self, disk: &dyn Disk, needs: Needs) -> io::Result<bool> {
        let stays = if needs == Needs::Manifest { 0 } else { self.whole / 2 };
        let left = self.pages.saturating_sub(self.whole.div_ceil(PIECES)).max(stays);
        if left >= self.pages {
            return Ok(false);
        }
        disk.open(NAME, Purpose::Bulk)?.cut(left)?;
        self.pages = left;
        Ok(true)
    }

    /// Writes what is missing, as far as there is space.
    fn grow(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let free = disk.free_bytes()? / PAGE_BYTES as u64;
        let end = self.whole.min(self.pages + free);
        if end <= self.pages {
            return Ok(());
        }
        let file = disk.open(NAME, Purpose::Bulk)?;
        while self.pages < end {
            let piece = (end - self.pages).min(PIECE_PAGES as u64);
            match file.write(self.pages, &ZEROES[..usize::try_from(piece).unwrap_or(PIECE_PAGES)]) {
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                other => other?,
            }
            self.pages += piece;
        }
        file.sync()
    }
}
