//! Where the next block goes, and its bytes. Runs on the thread that appends; the journal only writes what comes out.
//!
//! Encoding here, not on the journal's thread, lets the next block be made while the last one is being written. A large body is not even
//! copied: the shard makes it where a page may begin, and its whole pages are written from there.

use crate::disk::Disk;
use crate::embedded::catalog::Catalog;
use crate::embedded::lock;
use crate::embedded::supply::{Ready, Source, Supply};
use crate::embedded::table::{Segment, State, Table};
use crate::format::block::{self, Head, Layout, flags};
use crate::format::footer::Footer;
use crate::format::page::{self, PAGE_BYTES, Page};
use crate::format::segment::{Kind, SegmentHead};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use stele_model::id::Lsn;
use stele_model::log::{AppendError, Block};

/// Pages to be written in one go, and where.
pub(crate) struct Write {
    pub(crate) segment: Arc<Segment>,
    /// Set with the first write to a segment: how its file comes to be.
    pub(crate) install: Option<Source>,
    pub(crate) page: u32,
    pub(crate) pages: Vec<Page>,
    /// Pages that go between those, before the one of this number, from where they stand in a block's body.
    body: Option<(usize, Bytes)>,
    /// The block that is durable once this is written, and when it was appended; `None` for a marker.
    pub(crate) block: Option<(Lsn, Instant)>,
}

impl Write {
    /// Everything, in order.
    pub(crate) fn parts(&self) -> [&[Page]; 3] {
        let Some((at, body)) = &self.body else { return [&self.pages, &[], &[]] };
        let (front, back) = self.pages.split_at(*at);
        [front, page::whole(body).expect("it was looked at when the block was placed"), back]
    }

    /// Pages in all.
    pub(crate) fn len(&self) -> usize {
        self.parts().map(<[_]>::len).iter().sum()
    }
}

/// What all blocks of a log have in common.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) identity: u64,
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
}

/// The end of the log: the last block that was placed, and the room behind it.
pub(crate) struct Tail {
    identity: Identity,
    pub(crate) lsn: Lsn,
    chain: u32,
    time: u64,
    active: Option<Active>,
    /// The segment that was left with the last block; the background seals it.
    left: Option<Arc<Segment>>,
    /// The next segment is not ready yet, and soon needed.
    hurry: bool,
}

struct Active {
    segment: Arc<Segment>,
    install: Option<Source>,
    /// The next free page.
    page: u32,
    /// Pages that may be used.
    pages: u32,
    blocks: usize,
    /// Whether the last thing in it is a marker.
    marked: bool,
}

impl Active {
    /// Whether `pages` more fit, and a marker and the footer behind them.
    fn fits(&self, pages: usize) -> bool {
        let footer = Footer::pages(self.blocks + 1, 0);
        self.page as usize + pages + 1 + footer <= self.pages as usize
    }
}

impl Tail {
    pub(crate) fn new(identity: Identity, lsn: Lsn, chain: u32) -> Self {
        Self { identity, lsn, chain, time: 0, active: None, left: None, hurry: false }
    }

    /// Places a block and encodes it into `buffer`, but for the whole pages of a large body that begins where a page may. With `reserve` it may use the last ready segment.
    ///
    /// # Errors
    /// [`AppendError::Full`]; the tail is as it was.
    pub(crate) fn place(
        &mut self,
        block: &Block,
        reserve: bool,
        buffer: Vec<Page>,
        around: Around<'_>,
    ) -> Result<Write, AppendError> {
        assert_eq!(block.lsn.0, self.lsn.0 + 1, "S20: blocks are numbered densely");
        let layout = Layout::of(block.body.len());
        self.make_room(block.lsn, layout.pages, reserve, around)?;
        let active = self.active.as_mut().expect("room was made in it");
        let before = usize::from(active.page == 0);
        let stands = page::whole(&block.body).filter(|_| layout.body_at == PAGE_BYTES).map_or(0, <[_]>::len);
        let mut pages = buffer;
        pages.resize(before + layout.pages - stands, Page::ZERO);
        if before == 1 {
            pages[0] = self.identity.head(&active.segment, block.lsn, self.chain).encode();
        }
        let at = active.page + u32::from(before == 1);
        let head = Head {
            flags: 0,
            lsn: block.lsn,
            epoch: self.identity.epoch,
            writer: self.identity.identity,
            time: block.time.0,
            salt: active.segment.salt,
            chain: self.chain,
            page: at,
            entries: block.entries,
            body_bytes: u32::try_from(block.body.len()).expect("checked against the limits"),
            table_crc: 0,
            crc: 0,
        };
        let head = match &mut pages[before..] {
            [front, back @ ..] if stands > 0 => block::encode_around(head, &block.body, front, back),
            pages => block::encode(head, &block.body, pages),
        };
        let page = active.page;
        active.page = at + pages_u32(layout.pages);
        active.blocks += 1;
        active.marked = false;
        active.note(&head, around.table);
        (self.lsn, self.chain, self.time) = (block.lsn, head.crc, block.time.0);
        let install = active.install.take();
        Ok(Write {
            segment: Arc::clone(&active.segment),
            install,
            page,
            pages,
            body: (stands > 0).then(|| (before + 1, block.body.slice(..stands * PAGE_BYTES))),
            block: Some((block.lsn, Instant::now())),
        })
    }

    /// Goes on to another segment if the block does not fit into this one.
    fn make_room(
        &mut self,
        lsn: Lsn,
        pages: usize,
        reserve: bool,
        around: Around<'_>,
    ) -> Result<(), AppendError> {
        let mut supply = lock(around.supply);
        let fits = self.active.as_ref().is_some_and(|active| active.fits(pages));
        let segments = usize::from(!fits);
        if (!reserve && !supply.has(around.disk, segments)) || (!fits && !supply.has_any(around.disk)) {
            return Err(AppendError::Full);
        }
        if fits {
            let active = self.active.as_ref().expect("it fits there");
            let left = active.pages - active.page - pages_u32(pages);
            if reserve && !supply.can_restart(around.disk, left, active.pages) {
                return Err(AppendError::Full);
            }
            let late = active.page / 3 > active.pages / 4;
            self.hurry |= late && supply.hurry();
            return Ok(());
        }
        let Ready { number, pages: room, source } =
            supply.take(around.disk, around.catalog).expect("counted above");
        drop(supply);
        // Nothing is in it yet: `last` stands below `first`.
        let mut state =
            State { first: lsn, last: Lsn(lsn.0 - 1), chain: self.chain, room, ..State::default() };
        let install = match source {
            Source::Prepared(file, promise) => {
                (state.file, state.promise) = (Some(file), promise);
                None
            }
            other => Some(other),
        };
        let segment = Segment::new(self.identity.identity, number, Kind::Log, state);
        let active = Active { segment, install, page: 0, pages: room, blocks: 0, marked: true };
        assert!(active.fits(pages + 1), "the largest block fits into an empty segment");
        if let Some(left) = self.active.replace(active) {
            assert!(self.left.replace(left.segment).is_none(), "the one before was handed over");
        }
        Ok(())
    }

    /// A marker behind the last block, unless there is one.
    pub(crate) fn marker(&mut self, buffer: Vec<Page>) -> Option<Write> {
        let active = self.active.as_mut().filter(|active| !active.marked)?;
        let mut pages = buffer;
        pages.resize(1, Page::ZERO);
        let head = Head {
            flags: flags::MARKER,
            lsn: self.lsn,
            epoch: self.identity.epoch,
            writer: self.identity.identity,
            time: self.time,
            salt: active.segment.salt,
            chain: self.chain,
            page: active.page,
            entries: 0,
            body_bytes: 0,
            table_crc: 0,
            crc: 0,
        };
        block::encode(head, &[], &mut pages);
        let page = active.page;
        active.page += 1;
        active.marked = true;
        lock(&active.segment.state).pages = active.page;
        Some(Write {
            segment: Arc::clone(&active.segment),
            install: None,
            page,
            pages,
            body: None,
            block: None,
        })
    }

    /// Whether the background has to make the next segment ready, if that was not asked before.
    pub(crate) fn hurry(&mut self) -> bool {
        std::mem::take(&mut self.hurry)
    }

    /// The segment that no block goes to any more since the last call.
    pub(crate) fn left(&mut self) -> Option<Arc<Segment>> {
        self.left.take()
    }
}

/// What the tail needs to know of its surroundings.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) supply: &'a Mutex<Supply>,
    pub(crate) catalog: &'a Catalog,
    pub(crate) table: &'a Table,
}

impl Active {
    /// Lets readers find the block.
    fn note(&self, head: &Head, table: &Table) {
        let mut state = lock(&self.segment.state);
        let begins = state.index.is_empty();
        state.index.push(head.page);
        (state.last, state.chain, state.pages) = (head.lsn, head.crc, self.page);
        state.time = if begins {
            (head.time, head.time)
        } else {
            (state.time.0.min(head.time), state.time.1.max(head.time))
        };
        drop(state);
        if begins {
            table.insert(Arc::clone(&self.segment));
        }
    }
}

impl Identity {
    pub(crate) fn head(&self, segment: &Segment, first: Lsn, chain: u32) -> SegmentHead {
        SegmentHead {
            kind: segment.kind,
            shard: self.shard,
            identity: self.identity,
            number: segment.number,
            salt: segment.salt,
            epoch: self.epoch,
            first,
            chain,
        }
    }
}

fn pages_u32(pages: usize) -> u32 {
    u32::try_from(pages).expect("a block has few pages")
}
