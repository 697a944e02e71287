//! What the engine needs of a disk: one flat directory of files, written and read in whole pages.
//!
//! Implemented by [`real::RealDisk`] and by [`fault::FaultDisk`], which records what was done and can fail in every way that
//! disks do. The promises an implementation makes are written at each verb; the engine relies on nothing else.

pub mod real;

pub mod fault;

use crate::format::page::Page;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading what the disk has. The file must exist.
    Read,
    /// Reading, for whoever waits for records, what the system may hold in memory. The file must exist.
    Serve,
    /// Writing, each write durable when it returns. The file is created if it is missing.
    Commit,
    /// Writing much, durable after [`DiskFile::sync`]. The file is created if it is missing.
    Bulk,
}

/// Whether the process, or the machine, has no more handles for files. Nothing was done; it may go well later.
#[must_use]
pub fn is_out_of_handles(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

/// A file in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("in use by process {pid}")]
    Held {
        /// Its id, as it wrote it down; 0 if that could not be read.
        pid: u32,
    },
    /// The lock could not be tried.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Held for as long as the directory is in use.
pub trait Lock: Send {}

/// A directory of files.
pub trait Disk: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&self, name: &str, purpose: Purpose) -> io::Result<Arc<dyn DiskFile>>;

    /// All files, sorted by name.
    ///
    /// # Errors
    /// Those of the file system.
    fn list(&self) -> io::Result<Vec<Found>>;

    /// Gives a file another name; what had that name before is gone. Atomic; durable after [`Self::sync_dir`].
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Self::sync_dir`].
    ///
    /// # Errors
    /// Those of the file system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creates, renames and removes so far durable.
    ///
    /// # Errors
    /// Those of the file system. Never retried.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// See [`LockError`].
    fn lock(&self) -> Result<Box<dyn Lock>, LockError>;

    /// Bytes that can still be written to new files.
    ///
    /// # Errors
    /// Those of the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes whole pages at `page`, one part behind the other, all of them or an error; after an error any part may have been written.
    ///
    /// # Errors
    /// Those of the file system.
    fn write_parts(&self, page: u64, parts: &[&[Page]]) -> io::Result<()>;

    /// The same with a single part.
    ///
    /// # Errors
    /// Those of the file system.
    fn write(&self, page: u64, pages: &[Page]) -> io::Result<()> {
        self.write_parts(page, &[pages])
    }

    /// Reads whole pages from `page` on; fewer than asked for at the end of the file.
    ///
    /// # Errors
    /// Those of the file system.
    fn read(&self, page: u64, pages: &mut [Page]) -> io::Result<usize>;

    /// The same as far as the system holds the pages in memory ([`Purpose::Serve`]): fewer, or none, where the disk would have to be
    /// waited for.
    ///
    /// # Errors
    /// Those of the file system.
    fn read_held(&self, _page: u64, _pages: &mut [Page]) -> io::Result<usize> {
        Ok(0)
    }

    /// The same as [`Self::read`], past the system's memory ([`Purpose::Serve`]): cheaper, and nothing of it stays there.
    ///
    /// # Errors
    /// Those of the file system.
    fn read_once(&self, page: u64, pages: &mut [Page]) -> io::Result<usize> {
        self.read(page, pages)
    }

    /// Makes what was written durable. An error means that nobody knows what is; it is never retried.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file after so many pages. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Those of the file system.
    fn cut(&self, pages: u64) -> io::Result<()>;

    /// Whole pages in the file.
    ///
    /// # Errors
    /// Those of the file system.
    fn pages(&self) -> io::Result<u64>;
}
