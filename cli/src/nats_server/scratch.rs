//! Where a server without JetStream keeps the little that it must: a directory of its own, gone when it ends.
//!
//! Test suites kill their servers, and nobody removes what those leave; so each one that starts removes what the dead have left. A directory
//! is somebody's as long as its mark is locked: that holds between containers as well, where numbers of processes do not.

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "stele-nats-server-";
/// Locked while the directory is in use.
const MARK: &str = "in-use";

/// A directory and the right to it. The directory goes first when it is dropped.
pub(super) struct Scratch {
    dir: TempDir,
    _mark: File,
}

impl Scratch {
    /// A new one among the others in `within`; those of the dead go.
    pub(super) fn new(within: &Path) -> anyhow::Result<Self> {
        sweep(within);
        let make = || -> io::Result<Self> {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(within)?;
            // It has its name only once it is locked: nobody sees one that is not.
            let early = dir.path().join("new");
            let mark = File::create(&early)?;
            flock(&mark, FlockOperation::NonBlockingLockExclusive)?;
            fs::rename(early, dir.path().join(MARK))?;
            Ok(Self { dir, _mark: mark })
        };
        make().with_context(|| format!("could not make a directory in {}", within.display()))
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what nobody uses any more. What cannot be read or removed is somebody else's.
fn sweep(within: &Path) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(mark) = File::open(entry.path().join(MARK)) else { continue };
        if flock(&mark, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_have_left_goes_and_what_is_in_use_stays() {
        let within = tempfile::tempdir().unwrap();
        let used = Scratch::new(within.path()).unwrap();
        let left = within.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(MARK), "").unwrap();
        fs::write(left.join("seg-1"), "records").unwrap();
        let unmarked = within.path().join(format!("{PREFIX}just-made"));
        fs::create_dir(&unmarked).unwrap();
        let mine = Scratch::new(within.path()).unwrap();
        assert!(!left.exists(), "its server was killed");
        assert!(used.path().is_dir() && mine.path().is_dir() && unmarked.is_dir());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
