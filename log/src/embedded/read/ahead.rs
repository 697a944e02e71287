//! What a walk through the log will want next, read while its last answer is on its way.
//!
//! A consumer that catches up asks, takes what it is sent, and asks for what follows: without this the disk sleeps while the answer is
//! written, and the socket while the disk reads. The reader pool calls [`Reader::read_on`] when it has nothing else to do; sweeps look
//! here first. Only pages that no write can change any more are kept, by the number of their segment, which is never used again. What
//! is here is checked like what comes from disk.

use super::Reader;
use super::sweep::{BYTES_MIN, PAGES_MAX};
use crate::embedded::lock;
use crate::embedded::table::{Opened, Segment};
use crate::format::page::PAGE_BYTES;
use crate::format::segment::Kind;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use stele_model::id::{Lsn, Place};

/// Pieces of one log that are kept, 9 MB: what an answer takes of it when a megabyte of each of a dozen partitions is wanted.
const PIECES_MAX: usize = 8;

/// Pieces that were read ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they were read; the oldest leaves for the next.
    held: VecDeque<Held>,
    /// What is being read: who wants it waits for it.
    coming: Option<(u64, Range<u32>)>,
}

/// Whole blocks of a segment.
#[derive(Clone, Debug)]
pub(super) struct Held {
    segment: u64,
    pub(super) pages: Range<u32>,
    pub(super) bytes: Bytes,
}

impl Ahead {
    /// The piece that holds these pages.
    pub(super) fn find(&self, segment: u64, pages: &Range<u32>) -> Option<Held> {
        let holds =
            |of: u64, held: &Range<u32>| of == segment && held.start <= pages.start && pages.end <= held.end;
        let is_coming =
            |state: &mut State| state.coming.as_ref().is_some_and(|(of, coming)| holds(*of, coming));
        let state =
            self.came.wait_while(lock(&self.state), is_coming).unwrap_or_else(PoisonError::into_inner);
        state.held.iter().find(|held| holds(held.segment, &held.pages)).cloned()
    }

    /// These pages will be read now, unless others are.
    fn begin(&self, segment: u64, pages: &Range<u32>) -> bool {
        let mut state = lock(&self.state);
        let is_free = state.coming.is_none();
        if is_free {
            state.coming = Some((segment, pages.clone()));
        }
        is_free
    }

    /// They were read, or could not be.
    fn end(&self, new: Option<Held>) {
        let mut state = lock(&self.state);
        state.coming = None;
        if let Some(new) = new {
            if state.held.len() == PIECES_MAX {
                state.held.pop_front();
            }
            state.held.push_back(new);
        }
        self.came.notify_all();
    }
}

impl Reader {
    /// Reads a piece of what somebody will want next who has just been given these records, if that looks like a walk; `false` when
    /// there is no more to be read for it now. Never more than about as much as the records were and two pieces, and only while no commit
    /// needs the disk.
    #[must_use]
    pub fn read_on(&self, records: &[(Place, u32)]) -> bool {
        let bytes: usize = records.iter().map(|(_, len)| *len as usize).sum();
        let places = || records.iter().map(|(place, _)| *place);
        let (Some(first), Some(last)) = (places().min(), places().max()) else { return false };
        if bytes < BYTES_MIN || !self.waits || !self.volume.budget.is_quiet() {
            return false;
        }
        let pieces_max = (bytes.div_ceil(PAGES_MAX as usize * PAGE_BYTES) + 2).min(PIECES_MAX);
        self.next_piece(first, last, bytes, pieces_max).is_some()
    }

    /// Reads the first piece behind `last` that is not held, of at most `pieces_max`.
    fn next_piece(&self, first: Place, last: Place, bytes: usize, pieces_max: usize) -> Option<()> {
        let (mut segment, mut opened) = self.sealed(last.lsn)?;
        let mut block = Self::address(&segment, &opened, last)?.block + 1;
        if let Some(from) = Self::address(&segment, &opened, first) {
            let page = |block: usize| opened.footer.index.get(block).copied();
            let passed = page(block - 1)?.saturating_sub(page(from.block)?);
            // Who wants less than half of what he passes is no walk.
            if passed as usize * PAGE_BYTES > bytes * 2 {
                return None;
            }
        }
        for _ in 0..pieces_max {
            if block >= opened.footer.index.len() {
                let next = Lsn(lock(&segment.state).last.0 + 1);
                (segment, opened) = self.sealed(next)?;
                block = 0;
            }
            let used = lock(&segment.state).pages;
            let page = |block: usize| opened.footer.index.get(block).copied().unwrap_or(used);
            let start = page(block);
            if let Some(held) = self.ahead.find(segment.number, &(start..page(block + 1))) {
                block = opened.footer.index.partition_point(|page| *page < held.pages.end);
                continue;
            }
            let mut end = block + 1;
            while end < opened.footer.index.len() && page(end + 1) - start <= PAGES_MAX {
                end += 1;
            }
            let pages = start..page(end);
            if pages.len() as u32 > PAGES_MAX {
                return None;
            }
            if !self.ahead.begin(segment.number, &pages) {
                return None;
            }
            let read = self.piece(&segment, &opened, &pages).ok();
            let is_read = read.is_some();
            self.ahead.end(read.map(|bytes| Held { segment: segment.number, pages, bytes }));
            return is_read.then_some(());
        }
        None
    }

    /// The segment that holds a block, if no write can change it any more.
    fn sealed(&self, lsn: Lsn) -> Option<(Arc<Segment>, Opened)> {
        let segment = self.table.covering(lsn).filter(|segment| segment.kind == Kind::Log)?;
        if lock(&segment.state).settled_pages() == 0 {
            return None;
        }
        let opened = self.open(&segment, lsn).ok()?;
        Some((segment, opened))
    }
}
