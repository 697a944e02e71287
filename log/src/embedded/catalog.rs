//! The manifest on disk: replaced as a whole, synced before a segment goes into use or out of it.

use crate::disk::{Disk, Purpose};
use crate::embedded::lock;
use crate::format::Flaw;
use crate::format::manifest::Manifest;
use crate::format::page::{Page, bytes_of};
use crate::mutant::{self, Mutant};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The manifest's file.
pub(crate) const NAME: &str = "MANIFEST";
const NAME_NEW: &str = "MANIFEST.new";

/// The manifest in memory and on disk.
pub(crate) struct Catalog {
    manifest: Mutex<Manifest>,
    numbers: AtomicU64,
}

impl Catalog {
    pub(crate) fn new(manifest: Manifest) -> Self {
        let numbers = AtomicU64::new(manifest.number_next);
        Self { manifest: Mutex::new(manifest), numbers }
    }

    /// Reads the manifest; `None` if there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<Result<Manifest, Flaw>>> {
        let file = match disk.open(NAME, Purpose::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut pages = vec![Page::ZERO; usize::try_from(file.pages()?).unwrap_or(0)];
        let read = file.read(0, &mut pages)?;
        Ok(Some(Manifest::decode(bytes_of(&pages[..read]))))
    }

    /// A number for a new segment. Used only once [`Self::commit`] has made the segment known.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes the manifest, durably when this returns. After an error nothing is known of the file, but what it held before
    /// or after the change is whole.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn commit(&self, disk: &dyn Disk, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let mut manifest = lock(&self.manifest);
        let mut next = manifest.clone();
        change(&mut next);
        next.number_next = self.numbers.load(Ordering::Relaxed);
        next.segments.sort_by_key(|entry| entry.number);
        write(disk, &next)?;
        *manifest = next;
        Ok(())
    }
}

/// Replaces the manifest on disk.
pub(crate) fn write(disk: &dyn Disk, manifest: &Manifest) -> io::Result<()> {
    replace(disk, NAME_NEW, NAME, &manifest.encode())
}

/// Writes a file under the name `new` and gives it the name `name` once it is durable.
pub(crate) fn replace(disk: &dyn Disk, new: &str, name: &str, pages: &[Page]) -> io::Result<()> {
    match disk.remove(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(new, Purpose::Bulk)?;
    file.write(0, pages)?;
    if !mutant::on(Mutant::ManifestUnsynced) {
        file.sync()?;
    }
    disk.rename(new, name)?;
    disk.sync_dir()
}
