//! Snapshots on disk: written beside the log in small pieces, chunk by chunk, each chunk once for as long as it does not change.
//!
//! A snapshot file holds the chunks that are new in it and a table of all chunks, in whichever file they stand. The one before
//! is kept until the new one is durable, and longer while chunks in it are used. A damaged one is reported, never passed over.

use crate::disk::{Disk, DiskFile, Purpose, is_out_of_handles};
use crate::embedded::supply::PIECE_PAGES;
use crate::format::page::{PAGE_BYTES, Page, bytes_of, bytes_of_mut, pages_for};
use crate::format::snapshot::{ChunkAt, SnapshotHead, encode_table};
use crate::format::{Flaw, crc};
use crate::mutant::{self, Mutant};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use stele_model::id::Lsn;

const NAME_NEW: &str = "snap.new";
const PREFIX: &str = "snap-";

/// A snapshot file's name.
pub(crate) fn name(lsn: Lsn) -> String {
    format!("{PREFIX}{lsn:020}", lsn = lsn.0)
}

/// The snapshot a file belongs to, by its name.
pub(crate) fn lsn_of(name: &str) -> Option<Lsn> {
    name.strip_prefix(PREFIX)?.parse().ok().map(Lsn)
}

/// The last snapshot that is durable, for the next one to lean on.
#[derive(Default)]
pub(crate) struct Previous {
    /// Where each chunk stands, by address and length in memory. The chunks are held, so that no address is used again.
    places: HashMap<(usize, usize), ChunkAt>,
    _held: Vec<Bytes>,
}

/// A snapshot being written.
pub(crate) struct Writing {
    lsn: Lsn,
    identity: u64,
    chunks: Vec<Bytes>,
    file: Option<Arc<dyn DiskFile>>,
    /// Where the chunks so far stand.
    table: Vec<ChunkAt>,
    reuse: HashMap<(usize, usize), ChunkAt>,
    /// The next free page.
    page: u32,
    /// Bytes of the current chunk that are written.
    written: usize,
}

fn key(chunk: &Bytes) -> (usize, usize) {
    (chunk.as_ptr() as usize, chunk.len())
}

impl Writing {
    /// A snapshot, not begun.
    pub(crate) fn of(identity: u64, lsn: Lsn, chunks: Vec<Bytes>, previous: &Previous) -> Self {
        let reuse = reusable(&chunks, previous, lsn);
        let table = Vec::with_capacity(chunks.len());
        Self { lsn, identity, chunks, file: None, table, reuse, page: 1, written: 0 }
    }

    fn file(&mut self, disk: &dyn Disk) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        remove_if_there(disk, NAME_NEW)?;
        let file = disk.open(NAME_NEW, Purpose::Bulk)?;
        Ok(Arc::clone(self.file.insert(file)))
    }

    /// Writes one piece; bytes written. `None`: all chunks are written, [`Self::finish`] is due. May be called again after an error.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn step(&mut self, disk: &dyn Disk) -> io::Result<Option<u64>> {
        let file = self.file(disk)?;
        while let Some(chunk) = self.chunks.get(self.table.len()) {
            if let Some(at) = self.reuse.get(&key(chunk)).copied() {
                self.table.push(at);
                continue;
            }
            let piece = &chunk[self.written..chunk.len().min(self.written + PIECE_PAGES * PAGE_BYTES)];
            let pages = crate::format::page::padded(piece);
            let at = self.page + u32::try_from(self.written / PAGE_BYTES).expect("a chunk is small");
            file.write(u64::from(at), &pages)?;
            self.written += piece.len();
            if self.written == chunk.len() {
                let len = u32::try_from(chunk.len()).expect("a chunk is shorter than 4 GiB");
                let at = ChunkAt { file: self.lsn, page: self.page, len, crc: crc(chunk) };
                self.page += u32::try_from(pages_for(chunk.len())).expect("a chunk has few pages");
                self.written = 0;
                self.reuse.insert(key(chunk), at);
                self.table.push(at);
            }
            return Ok(Some((pages.len() * PAGE_BYTES) as u64));
        }
        Ok(None)
    }

    /// Makes the snapshot durable and removes files that nothing needs any more. May be called again for want of space.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn finish(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let (table, table_crc) = encode_table(&self.table);
        let file = self.file(disk)?;
        file.write(u64::from(self.page), &table)?;
        let chunks = u32::try_from(self.table.len()).expect("fewer than 2^32 chunks");
        let head =
            SnapshotHead { identity: self.identity, lsn: self.lsn, table_page: self.page, chunks, table_crc };
        file.write(0, &[head.encode()])?;
        if !mutant::on(Mutant::SnapshotUnsynced) {
            file.sync()?;
        }
        disk.rename(NAME_NEW, &name(self.lsn))?;
        disk.sync_dir()?;
        let needed: BTreeSet<Lsn> = self.table.iter().map(|at| at.file).chain([self.lsn]).collect();
        match remove_others(disk, &needed) {
            // They are removed with the next one.
            Err(error) if is_out_of_handles(&error) => Ok(()),
            other => other,
        }
    }

    /// What the next snapshot can lean on.
    pub(crate) fn done(self) -> (Lsn, Previous) {
        let places = self.chunks.iter().map(key).zip(self.table).collect();
        (self.lsn, Previous { places, _held: self.chunks })
    }
}

/// Chunks that need not be written again: those of the last snapshot, except in files that are mostly out of use, so that old
/// files go away in time.
fn reusable(chunks: &[Bytes], previous: &Previous, lsn: Lsn) -> HashMap<(usize, usize), ChunkAt> {
    let mut pages: BTreeMap<Lsn, (usize, u32)> = BTreeMap::new();
    let known: HashMap<_, _> = chunks
        .iter()
        .filter(|chunk| !chunk.is_empty())
        .filter_map(|chunk| previous.places.get(&key(chunk)).map(|at| (key(chunk), *at)))
        .collect();
    for at in known.values() {
        pages.entry(at.file).or_default().0 += pages_for(at.len as usize);
    }
    for at in previous.places.values() {
        let end = at.page + u32::try_from(pages_for(at.len as usize)).unwrap_or(u32::MAX);
        let file = pages.entry(at.file).or_default();
        file.1 = file.1.max(end);
    }
    let worth = |at: &ChunkAt| pages.get(&at.file).is_some_and(|(used, all)| used * 2 >= *all as usize);
    known.into_iter().filter(|(_, at)| at.file != lsn && worth(at)).collect()
}

fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_others(disk: &dyn Disk, needed: &BTreeSet<Lsn>) -> io::Result<()> {
    for found in disk.list()? {
        if lsn_of(&found.name).is_some_and(|lsn| !needed.contains(&lsn)) {
            disk.remove(&found.name)?;
        }
    }
    Ok(())
}

/// What is wrong with a snapshot, and in which file.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) file: String,
    pub(crate) page: u64,
    pub(crate) flaw: Flaw,
}

/// The newest snapshot's number; `None` if there is none.
///
/// # Errors
/// Those of the file system.
pub(crate) fn newest(disk: &dyn Disk) -> io::Result<Option<Lsn>> {
    Ok(disk.list()?.iter().filter_map(|found| lsn_of(&found.name)).max())
}

/// Reads snapshot `lsn`, checking everything.
///
/// # Errors
/// Those of the file system.
pub(crate) fn load(disk: &dyn Disk, identity: u64, lsn: Lsn) -> io::Result<Result<Vec<Bytes>, Damaged>> {
    let own = name(lsn);
    let damaged = |file: &str, page: u64, flaw| Ok(Err(Damaged { file: file.to_owned(), page, flaw }));
    let file = disk.open(&own, Purpose::Read)?;
    let mut first = [Page::ZERO];
    if file.read(0, &mut first)? == 0 {
        return damaged(&own, 0, Flaw::Short);
    }
    let head = match SnapshotHead::decode(&first[0]) {
        Ok(head) if head.identity == identity && head.lsn == lsn => head,
        Ok(_) => return damaged(&own, 0, Flaw::Salt),
        Err(flaw) => return damaged(&own, 0, flaw),
    };
    let Some(table) = read(&*file, head.table_page, head.table_pages())? else {
        return damaged(&own, u64::from(head.table_page), Flaw::Short);
    };
    let table = match head.table(bytes_of(&table)) {
        Ok(table) => table,
        Err(flaw) => return damaged(&own, u64::from(head.table_page), flaw),
    };
    let mut files: BTreeMap<Lsn, Arc<dyn DiskFile>> = BTreeMap::from([(lsn, file)]);
    let mut chunks = Vec::with_capacity(table.len());
    for at in table {
        let file = match files.get(&at.file) {
            Some(file) => Arc::clone(file),
            None => match disk.open(&name(at.file), Purpose::Read) {
                Ok(file) => Arc::clone(files.entry(at.file).or_insert(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return damaged(&name(at.file), 0, Flaw::Short);
                }
                Err(error) => return Err(error),
            },
        };
        match read_chunk(&*file, &at)? {
            Ok(chunk) => chunks.push(chunk),
            Err(flaw) => return damaged(&name(at.file), u64::from(at.page), flaw),
        }
    }
    Ok(Ok(chunks))
}

fn read_chunk(file: &dyn DiskFile, at: &ChunkAt) -> io::Result<Result<Bytes, Flaw>> {
    let Some(mut pages) = read(file, at.page, pages_for(at.len as usize))? else {
        return Ok(Err(Flaw::Short));
    };
    let (chunk, padding) = bytes_of_mut(&mut pages).split_at(at.len as usize);
    if crc(chunk) != at.crc {
        return Ok(Err(Flaw::Crc));
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Ok(Err(Flaw::Padding));
    }
    Ok(Ok(Bytes::copy_from_slice(chunk)))
}

/// Exactly `count` pages, or `None` if the file is shorter.
fn read(file: &dyn DiskFile, page: u32, count: usize) -> io::Result<Option<Vec<Page>>> {
    if u64::from(page) + count as u64 > file.pages()? {
        return Ok(None);
    }
    let mut pages = vec![Page::ZERO; count];
    Ok((file.read(u64::from(page), &mut pages)? == count).then_some(pages))
}
