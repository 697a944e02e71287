//! What a power cut may leave of a [`FaultDisk`].
//!
//! A cut may come between any two calls and in the middle of a write. What was synced is there. Of what was not, any subset of
//! the 4-KiB pages is there, each whole or torn at a 512-byte sector; of creates, renames, removes and cuts a prefix is there, as
//! journalling file systems keep their order.

use super::{FaultDisk, Inode, Op, Shared, Tree};
use crate::format::page::PAGE_BYTES;
use std::sync::Arc;

const SECTOR_BYTES: usize = 512;

/// A pending page: written, not synced.
#[derive(Clone, Debug)]
struct Pending {
    inode: Inode,
    page: usize,
    data: Shared,
}

/// Walks along the trace of a disk; stands before the first call in the beginning.
#[derive(Clone, Debug)]
pub struct Crashes {
    trace: Arc<[Op]>,
    at: usize,
    durable: Tree,
    pages: Vec<Pending>,
    names: Vec<Op>,
    mark: Option<u64>,
}

/// Which of the states that a power cut may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Only what was synced.
    Nothing,
    /// All that was written.
    Everything,
    /// A subset, drawn by this number.
    Some(u64),
}

impl FaultDisk {
    /// The power cuts that may have happened since this disk was made.
    #[must_use]
    pub fn crashes(&self) -> Crashes {
        let inner = self.inner();
        Crashes {
            trace: inner.trace.as_slice().into(),
            at: 0,
            durable: inner.origin.clone(),
            pages: Vec::new(),
            names: Vec::new(),
            mark: None,
        }
    }
}

impl Crashes {
    /// Goes on to the next place where the power may fail: in the middle of the next call. `false` at the end of the trace.
    pub fn advance(&mut self) -> bool {
        let trace = Arc::clone(&self.trace);
        if let Some(op) = trace.get(self.at) {
            self.apply(op);
            self.at += 1;
        }
        self.at < trace.len()
    }

    /// The last number noted by [`FaultDisk::mark`] before this place.
    #[must_use]
    pub fn mark(&self) -> Option<u64> {
        self.mark
    }

    /// How much is undecided here: unsynced pages and names. With 0 all choices are the same.
    #[must_use]
    pub fn undecided(&self) -> usize {
        self.pages.len() + self.names.len() + self.in_progress().len()
    }

    /// The disk as the power cut leaves it.
    #[must_use]
    pub fn image(&self, choice: Choice) -> FaultDisk {
        let mut tree = self.durable.clone();
        let mut dice = Dice(match choice {
            Choice::Some(seed) => seed,
            Choice::Nothing | Choice::Everything => 0,
        });
        let kept = match choice {
            Choice::Nothing => 0,
            Choice::Everything => self.names.len(),
            Choice::Some(_) => dice.below(self.names.len() + 1),
        };
        for op in &self.names[..kept] {
            rename(&mut tree, op);
        }
        for pending in self.pages.iter().chain(&self.in_progress()) {
            let sectors = PAGE_BYTES / SECTOR_BYTES;
            let whole = match choice {
                Choice::Nothing => 0,
                Choice::Everything => sectors,
                // A third each: absent, whole, torn.
                Choice::Some(_) => match dice.below(3) {
                    0 => 0,
                    1 => sectors,
                    _ => dice.below(sectors),
                },
            };
            if whole > 0 {
                let data = torn(&tree, pending, whole * SECTOR_BYTES);
                tree.write(pending.inode, pending.page, &[data]);
            }
        }
        let named: Vec<Inode> = tree.names.values().copied().collect();
        tree.files.retain(|inode, _| named.contains(inode));
        FaultDisk::of_tree(tree)
    }

    /// Pages of the write that is under way when the power fails.
    fn in_progress(&self) -> Vec<Pending> {
        match self.trace.get(self.at) {
            Some(Op::Write { inode, page, data, .. }) => pending(*inode, *page, data).collect(),
            _ => Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { inode, .. } => {
                self.durable.files.entry(*inode).or_default();
                self.names.push(op.clone());
            }
            Op::Rename { .. } | Op::Remove { .. } | Op::Cut { .. } => self.names.push(op.clone()),
            Op::Write { inode, page, data, durable: true } => {
                let range = *page..*page + data.len();
                self.pages.retain(|pending| pending.inode != *inode || !range.contains(&pending.page));
                self.durable.write(*inode, *page, data);
            }
            Op::Write { inode, page, data, durable: false } => {
                self.pages.extend(pending(*inode, *page, data))
            }
            Op::Sync { inode } => {
                let (synced, rest) = self.pages.drain(..).partition(|pending| pending.inode == *inode);
                self.pages = rest;
                let synced: Vec<Pending> = synced;
                for pending in synced {
                    self.durable.write(pending.inode, pending.page, &[pending.data]);
                }
            }
            Op::SyncDir => {
                for op in std::mem::take(&mut self.names) {
                    rename(&mut self.durable, &op);
                }
            }
            Op::Mark(number) => self.mark = Some(*number),
        }
    }
}

fn pending(inode: Inode, page: usize, data: &[Shared]) -> impl Iterator<Item = Pending> {
    data.iter().enumerate().map(move |(i, data)| Pending { inode, page: page + i, data: Arc::clone(data) })
}

fn rename(tree: &mut Tree, op: &Op) {
    match op {
        Op::Create { name, inode } => {
            tree.names.insert(name.clone(), *inode);
        }
        Op::Rename { from, to } => {
            tree.rename(from, to);
        }
        Op::Remove { name } => {
            tree.names.remove(name);
        }
        Op::Cut { inode, len } => tree.cut(*inode, *len),
        Op::Write { .. } | Op::Sync { .. } | Op::SyncDir | Op::Mark(_) => {}
    }
}

/// The page with its first bytes new and the rest as they were.
fn torn(tree: &Tree, pending: &Pending, bytes: usize) -> Shared {
    if bytes == PAGE_BYTES {
        return Arc::clone(&pending.data);
    }
    let old = tree.files.get(&pending.inode).and_then(|file| file.get(pending.page));
    let mut page = old.map_or(crate::format::page::Page::ZERO, |page| **page);
    page.bytes_mut()[..bytes].copy_from_slice(&pending.data.bytes()[..bytes]);
    Arc::new(page)
}

/// Splitmix64: enough to draw subsets.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap_or(0)
    }
}
