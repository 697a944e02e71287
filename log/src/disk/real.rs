//! A directory of the machine's file system. Commits go past the page cache (`O_DIRECT|O_DSYNC`) where the file system allows
//! it, else through it and `fdatasync`: on a zero-written file 48–59 µs against 69–77 µs for 4 KiB. Records that memory no longer holds
//! are read through the page cache, where what several readers want is found, or past it, when nobody else has wanted them.

use super::{Disk, DiskFile, Found, Lock, LockError, Purpose};
use crate::format::page::{PAGE_BYTES, Page, bytes_of, bytes_of_mut};
use rustix::fd::OwnedFd;
use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev};
use std::io::{self, IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK_NAME: &str = "LOCK";

/// A directory on the machine's disk.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    dir: OwnedFd,
}

impl RealDisk {
    /// Opens the directory at `path`, and makes it, with what leads to it, where it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open_existing(path)
    }

    /// Opens the directory at `path`, which must exist; for tools that only look.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open_existing(path: &Path) -> io::Result<Self> {
        let dir = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), dir })
    }

    fn open_at(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        fs::openat(&self.dir, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR | Mode::RGRP)
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str, purpose: Purpose) -> io::Result<Arc<dyn DiskFile>> {
        let (flags, direct) = match purpose {
            Purpose::Read => (OFlags::RDONLY, OFlags::DIRECT),
            Purpose::Serve => (OFlags::RDONLY, OFlags::empty()),
            Purpose::Commit => (OFlags::RDWR | OFlags::CREATE, OFlags::DIRECT | OFlags::DSYNC),
            Purpose::Bulk => (OFlags::RDWR | OFlags::CREATE, OFlags::DIRECT),
        };
        let (fd, sync_each) = match self.open_at(name, flags | direct) {
            Ok(fd) => (fd, false),
            Err(Errno::INVAL) => (self.open_at(name, flags)?, purpose == Purpose::Commit),
            Err(error) => return Err(error.into()),
        };
        let serves = purpose == Purpose::Serve;
        // A file system that refuses this has no other way than its page cache.
        let past = if serves { self.open_at(name, flags | OFlags::DIRECT).ok() } else { None };
        Ok(Arc::new(RealFile { fd, sync_each, serves, past }))
    }

    fn list(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) => about,
                // Renamed or removed by another thread since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (about.is_file(), entry.file_name().into_string()) {
                found.push(Found { name, bytes: about.len() });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(&self.dir, name, fs::AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.dir)?)
    }

    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        let fd = self.open_at(LOCK_NAME, OFlags::RDWR | OFlags::CREATE).map_err(io::Error::from)?;
        match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = [0; 16];
                let len = rustix::io::pread(&fd, &mut text[..], 0).unwrap_or(0);
                let pid = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.trim().parse().ok());
                return Err(LockError::Held { pid: pid.unwrap_or(0) });
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let pid = format!("{}\n", std::process::id());
        // Over what stands there, for on a full disk there is no other page. A full disk does not keep from the lock, which is held already.
        match rustix::io::pwrite(&fd, pid.as_bytes(), 0) {
            Ok(len) => fs::ftruncate(&fd, len as u64).map_err(io::Error::from)?,
            Err(Errno::NOSPC) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        Ok(Box::new(RealLock { _fd: fd }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let about = fs::fstatvfs(&self.dir)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}

/// The lock ends when the descriptor is closed, also by `kill -9`.
struct RealLock {
    _fd: OwnedFd,
}

impl Lock for RealLock {}

struct RealFile {
    fd: OwnedFd,
    /// The file system refused `O_DIRECT`, so each commit is followed by an `fdatasync`.
    sync_each: bool,
    /// Opened for [`Purpose::Serve`], through the page cache.
    serves: bool,
    /// The same file, past the page cache.
    past: Option<OwnedFd>,
}

impl RealFile {
    fn read_by(fd: &OwnedFd, page: u64, pages: &mut [Page]) -> io::Result<usize> {
        let bytes = bytes_of_mut(pages);
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pread(fd, &mut bytes[done..], page * PAGE_BYTES as u64 + done as u64) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            // A read that ends inside a page has met the end of the file; asking again there is refused by `O_DIRECT`.
            if !done.is_multiple_of(PAGE_BYTES) {
                break;
            }
        }
        Ok(done / PAGE_BYTES)
    }
}

impl DiskFile for RealFile {
    fn write_parts(&self, page: u64, parts: &[&[Page]]) -> io::Result<()> {
        let parts = parts.iter().filter(|part| !part.is_empty());
        let mut slices: Vec<_> = parts.map(|part| IoSlice::new(bytes_of(part))).collect();
        let mut rest = &mut slices[..];
        let mut at = page * PAGE_BYTES as u64;
        while !rest.is_empty() {
            match pwritev(&self.fd, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => {
                    IoSlice::advance_slices(&mut rest, len);
                    at += len as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.sync_each { self.sync() } else { Ok(()) }
    }

    fn read(&self, page: u64, pages: &mut [Page]) -> io::Result<usize> {
        Self::read_by(&self.fd, page, pages)
    }

    fn read_once(&self, page: u64, pages: &mut [Page]) -> io::Result<usize> {
        Self::read_by(self.past.as_ref().unwrap_or(&self.fd), page, pages)
    }

    fn read_held(&self, page: u64, pages: &mut [Page]) -> io::Result<usize> {
        if !self.serves {
            return Ok(0);
        }
        let mut into = [IoSliceMut::new(bytes_of_mut(pages))];
        match preadv2(&self.fd, &mut into, page * PAGE_BYTES as u64, ReadWriteFlags::NOWAIT) {
            Ok(len) => Ok(len / PAGE_BYTES),
            // Not there, or the file system cannot tell.
            Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fs::fdatasync(&self.fd)?)
    }

    fn cut(&self, pages: u64) -> io::Result<()> {
        Ok(fs::ftruncate(&self.fd, pages * PAGE_BYTES as u64)?)
    }

    fn pages(&self) -> io::Result<u64> {
        let about = fs::fstat(&self.fd)?;
        Ok(u64::try_from(about.st_size).unwrap_or(0) / PAGE_BYTES as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let held = disk.lock().unwrap();
        match disk.lock() {
            Err(LockError::Held { pid }) => assert_eq!(pid, std::process::id()),
            other => panic!("locked twice: {:?}", other.is_ok()),
        }
        drop(held);
        assert!(disk.lock().is_ok());
    }

    #[test]
    fn pages_read_back_and_a_read_past_the_end_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let file = disk.open("a", Purpose::Commit).unwrap();
        let mut page = Page::ZERO;
        page.bytes_mut()[7] = 9;
        file.write(1, &[page; 2]).unwrap();
        assert_eq!(file.pages().unwrap(), 3);
        let mut read = [Page::ZERO; 4];
        assert_eq!(file.read(1, &mut read).unwrap(), 2);
        assert_eq!(read[1].bytes(), page.bytes());
        assert_eq!(disk.list().unwrap(), [Found { name: "a".into(), bytes: 3 * PAGE_BYTES as u64 }]);
    }
}
