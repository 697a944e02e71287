//! A disk in memory that records what was done to it, makes any state a power cut may leave, and fails where it is told to.
//!
//! For the tests of this crate and for the simulator. Deterministic: equal calls and equal seeds give equal bytes. Pages are
//! shared, so an image of a crash costs little. See [`crash`] for what may survive a power cut.

pub mod crash;

use super::{Disk, DiskFile, Found, Lock, LockError, Purpose};
use crate::format::page::{PAGE_BYTES, Page};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Number of a file, whatever its name is at the moment.
type Inode = u64;
/// A page's bytes, shared between the disk, its trace and its images.
type Shared = Arc<Page>;

/// Something that was done to the disk.
#[derive(Clone, Debug)]
enum Op {
    Create { name: String, inode: Inode },
    Write { inode: Inode, page: usize, data: Vec<Shared>, durable: bool },
    Sync { inode: Inode },
    Rename { from: String, to: String },
    Remove { name: String },
    Cut { inode: Inode, len: usize },
    SyncDir,
    Mark(u64),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error; nothing was done.
    Error,
    /// No space; nothing was done.
    NoSpace,
    /// An open fails for want of a handle; any other call is as usual.
    NoHandle,
    /// A write does its first half only and then fails; any other call fails at once.
    Torn,
    /// A write says that it is done, but nothing was written. Other calls are as usual.
    Lost,
    /// A write stands one page further on than asked for. Other calls are as usual.
    Misdirected,
    /// A read gives zeroes for its last page. Other calls are as usual.
    StaleRead,
}

#[derive(Clone, Debug, Default)]
struct Tree {
    files: BTreeMap<Inode, Vec<Shared>>,
    names: BTreeMap<String, Inode>,
}

#[derive(Debug, Default)]
struct Inner {
    tree: Tree,
    inode_next: Inode,
    trace: Vec<Op>,
    origin: Tree,
    calls: u64,
    faults: BTreeMap<u64, Fault>,
    pages_max: Option<usize>,
    stalled: bool,
    reads_stalled: bool,
    /// Every open fails.
    no_handles: bool,
    refused: u64,
    /// Calls that do not return for now.
    waiting: usize,
    locked: bool,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultDisk {
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

impl FaultDisk {
    /// An empty disk without limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn of_tree(tree: Tree) -> Self {
        let inode_next = tree.files.keys().next_back().map_or(0, |last| last + 1);
        let inner = Inner { origin: tree.clone(), tree, inode_next, ..Inner::default() };
        Self { inner: Arc::new((Mutex::new(inner), Condvar::new())) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same files; the trace begins anew.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::of_tree(self.inner().tree.clone())
    }

    /// Notes a number in the trace, for an oracle: "by now the log had acknowledged so much".
    pub fn mark(&self, number: u64) {
        self.inner().trace.push(Op::Mark(number));
    }

    /// Calls made so far; the next one has this number.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// Lets call number `call` fail.
    pub fn fail(&self, call: u64, fault: Fault) {
        self.inner().faults.insert(call, fault);
    }

    /// Limits the disk to so many bytes of files.
    pub fn limit(&self, bytes: u64) {
        self.inner().pages_max = Some(usize::try_from(bytes).unwrap_or(usize::MAX) / PAGE_BYTES);
    }

    /// From now on no file can be opened, or one can again.
    pub fn set_no_handles(&self, none: bool) {
        self.inner().no_handles = none;
    }

    /// How often a file could not be opened because of [`Self::set_no_handles`].
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner().refused
    }

    /// From now on writes do not return, until [`Self::release`].
    pub fn stall(&self) {
        self.inner().stalled = true;
    }

    /// From now on reads do not return, until [`Self::release`].
    pub fn stall_reads(&self) {
        self.inner().reads_stalled = true;
    }

    /// Ends [`Self::stall`] and [`Self::stall_reads`].
    pub fn release(&self) {
        let mut inner = self.inner();
        (inner.stalled, inner.reads_stalled) = (false, false);
        self.inner.1.notify_all();
    }

    /// Returns once so many calls are stalled.
    pub fn until_stalled(&self, count: usize) {
        let mut inner = self.inner();
        while inner.waiting < count {
            inner = self.wait(inner);
        }
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        self.inner.1.wait(inner).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for [`Self::release`] if `stalled` says so.
    fn wait_while<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        stalled: impl Fn(&Inner) -> bool,
    ) -> MutexGuard<'a, Inner> {
        if !stalled(&inner) {
            return inner;
        }
        inner.waiting += 1;
        self.inner.1.notify_all();
        while stalled(&inner) {
            inner = self.wait(inner);
        }
        inner.waiting -= 1;
        inner
    }

    /// Bytes in all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        (self.inner().tree.used_pages() * PAGE_BYTES) as u64
    }

    /// Flips one bit of a file, as a decaying disk does.
    pub fn flip(&self, name: &str, bit: usize) {
        self.damage(name, |pages| {
            let page = Arc::make_mut(&mut pages[bit / 8 / PAGE_BYTES]);
            page.bytes_mut()[bit / 8 % PAGE_BYTES] ^= 1 << (bit % 8);
        });
    }

    /// Fills pages of a file with zeroes.
    pub fn zero(&self, name: &str, range: Range<usize>) {
        self.damage(name, |pages| pages[range].fill(Arc::new(Page::ZERO)));
    }

    /// Cuts a file after so many pages.
    pub fn truncate(&self, name: &str, len: usize) {
        self.damage(name, |pages| pages.truncate(len));
    }

    /// One page of a file.
    #[must_use]
    pub fn page(&self, name: &str, page: usize) -> Option<Page> {
        let inner = self.inner();
        let inode = inner.tree.names.get(name)?;
        inner.tree.files.get(inode)?.get(page).map(|page| **page)
    }

    fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<Shared>)) {
        let mut inner = self.inner();
        let inode = *inner.tree.names.get(name).expect("a test damages a file that exists");
        change(inner.tree.files.entry(inode).or_default());
    }
}

impl Tree {
    fn used_pages(&self) -> usize {
        self.names.values().filter_map(|inode| self.files.get(inode)).map(Vec::len).sum()
    }

    fn write(&mut self, inode: Inode, page: usize, data: &[Shared]) {
        let file = self.files.entry(inode).or_default();
        if file.len() < page + data.len() {
            file.resize(page + data.len(), Arc::new(Page::ZERO));
        }
        file[page..page + data.len()].clone_from_slice(data);
    }

    fn cut(&mut self, inode: Inode, len: usize) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.truncate(len);
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(inode) = self.names.remove(from) else { return false };
        self.names.insert(to.to_owned(), inode);
        true
    }
}

impl Inner {
    /// Counts a call, and fails it if that was asked for.
    fn call(&mut self) -> io::Result<Option<Fault>> {
        let call = self.calls;
        self.calls += 1;
        match self.faults.remove(&call) {
            Some(Fault::Error) => Err(io::Error::other(format!("injected at call {call}"))),
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            other => Ok(other),
        }
    }

    /// As [`Self::call`], for what writes no pages.
    fn plain_call(&mut self) -> io::Result<()> {
        match self.call()? {
            Some(Fault::Torn) => Err(io::Error::other("injected")),
            _ => Ok(()),
        }
    }
}

impl Disk for FaultDisk {
    fn open(&self, name: &str, purpose: Purpose) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.inner();
        match inner.call()? {
            Some(Fault::Torn) => return Err(io::Error::other("injected")),
            Some(Fault::NoHandle) => return Err(Errno::MFILE.into()),
            _ if inner.no_handles => {
                inner.refused += 1;
                return Err(Errno::MFILE.into());
            }
            _ => {}
        }
        let inode = match inner.tree.names.get(name) {
            Some(inode) => *inode,
            None if matches!(purpose, Purpose::Read | Purpose::Serve) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            None => {
                let inode = inner.inode_next;
                inner.inode_next += 1;
                inner.tree.names.insert(name.to_owned(), inode);
                inner.tree.files.insert(inode, Vec::new());
                inner.trace.push(Op::Create { name: name.to_owned(), inode });
                inode
            }
        };
        Ok(Arc::new(FaultFile { disk: self.clone(), inode, durable: purpose == Purpose::Commit }))
    }

    fn list(&self) -> io::Result<Vec<Found>> {
        let mut inner = self.inner();
        inner.plain_call()?;
        let bytes = |inode| (inner.tree.files.get(inode).map_or(0, Vec::len) * PAGE_BYTES) as u64;
        Ok(inner
            .tree
            .names
            .iter()
            .map(|(name, inode)| Found { name: name.clone(), bytes: bytes(inode) })
            .collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.plain_call()?;
        if !inner.tree.rename(from, to) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.trace.push(Op::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.plain_call()?;
        inner.tree.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.trace.push(Op::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.plain_call()?;
        inner.trace.push(Op::SyncDir);
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Lock>, LockError> {
        let mut inner = self.inner();
        inner.plain_call()?;
        if std::mem::replace(&mut inner.locked, true) {
            return Err(LockError::Held { pid: std::process::id() });
        }
        Ok(Box::new(FaultLock { disk: self.clone() }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut inner = self.inner();
        inner.plain_call()?;
        let free = |max: usize| (max.saturating_sub(inner.tree.used_pages()) * PAGE_BYTES) as u64;
        Ok(inner.pages_max.map_or(1 << 40, free))
    }
}

struct FaultLock {
    disk: FaultDisk,
}

impl Lock for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.disk.inner().locked = false;
    }
}

struct FaultFile {
    disk: FaultDisk,
    inode: Inode,
    durable: bool,
}

impl DiskFile for FaultFile {
    fn write_parts(&self, page: u64, parts: &[&[Page]]) -> io::Result<()> {
        let mut inner = self.disk.wait_while(self.disk.inner(), |inner| inner.stalled);
        let fault = inner.call()?;
        let mut page = usize::try_from(page).expect("an offset in memory");
        let mut data: Vec<Shared> = parts.iter().copied().flatten().map(|page| Arc::new(*page)).collect();
        match fault {
            Some(Fault::Torn) => data.truncate(data.len() / 2),
            Some(Fault::Lost) => return Ok(()),
            Some(Fault::Misdirected) => page += 1,
            _ => {}
        }
        let len = inner.tree.files.get(&self.inode).map_or(0, Vec::len);
        let growth = (page + data.len()).saturating_sub(len);
        if inner.pages_max.is_some_and(|max| inner.tree.used_pages() + growth > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.tree.write(self.inode, page, &data);
        inner.trace.push(Op::Write { inode: self.inode, page, data, durable: self.durable });
        if fault == Some(Fault::Torn) {
            return Err(io::Error::other("injected after half of the write"));
        }
        Ok(())
    }

    fn read(&self, page: u64, pages: &mut [Page]) -> io::Result<usize> {
        let mut inner = self.disk.wait_while(self.disk.inner(), |inner| inner.reads_stalled);
        let fault = inner.call()?;
        if fault == Some(Fault::Torn) {
            return Err(io::Error::other("injected"));
        }
        let file = inner.tree.files.get(&self.inode).map_or(&[][..], Vec::as_slice);
        let from = file.get(usize::try_from(page).expect("an offset in memory")..).unwrap_or(&[]);
        let len = from.len().min(pages.len());
        for (to, from) in pages.iter_mut().zip(from) {
            *to = **from;
        }
        if let (Some(Fault::StaleRead), Some(last)) = (fault, len.checked_sub(1)) {
            pages[last] = Page::ZERO;
        }
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.plain_call()?;
        inner.trace.push(Op::Sync { inode: self.inode });
        Ok(())
    }

    fn cut(&self, pages: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.plain_call()?;
        let len = usize::try_from(pages).expect("a length in memory");
        inner.tree.cut(self.inode, len);
        inner.trace.push(Op::Cut { inode: self.inode, len });
        Ok(())
    }

    fn pages(&self) -> io::Result<u64> {
        let mut inner = self.disk.inner();
        inner.plain_call()?;
        Ok(inner.tree.files.get(&self.inode).map_or(0, Vec::len) as u64)
    }
}
