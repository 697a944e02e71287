//! Segments in use, and which of them holds a block. Shared by the appender, the journal, the background and all readers.
//!
//! Who holds an `Arc<Segment>` pins the segment's incarnation: its file is recycled only when nobody else does.

use crate::disk::{Disk, DiskFile, Purpose};
use crate::embedded::scan::Scan;
use crate::embedded::volume::Promise;
use crate::embedded::{PANICKED, lock};
use crate::format::Flaw;
use crate::format::footer::Footer;
use crate::format::manifest::{Entry, Sealed};
use crate::format::page::{PAGE_BYTES, Page, bytes_of};
use crate::format::segment::{self, Kind};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, RwLock, Weak};
use stele_model::id::Lsn;

/// Memory for the footers of sealed segments that are being read.
const FOOTERS_BYTES_MAX: usize = 64 << 20;
/// Sealed segments that are open at once, each with a file descriptor.
const FOOTERS_MAX: usize = 256;

/// A sweep so close behind the first one is a part of the same fetch, or a reader at its side: 32 MB.
const BESIDE_PAGES: u32 = 8192;

/// The name of a segment's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("seg-{number:010}")
}

/// One segment file while it is in use.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) salt: u64,
    pub(crate) state: Mutex<State>,
}

/// What changes about a segment.
#[derive(Default)]
pub(crate) struct State {
    /// First block, or of the range it was made from.
    pub(crate) first: Lsn,
    /// Last block placed; below `first` while there is none.
    pub(crate) last: Lsn,
    /// Checksum of the last block's header.
    pub(crate) chain: u32,
    /// Pages used by header, blocks and markers; the footer follows.
    pub(crate) pages: u32,
    /// Pages that may be used, while blocks go to it.
    pub(crate) room: u32,
    /// Pages of the whole file, once sealed.
    pub(crate) file_pages: u64,
    /// The manifest says that it is sealed.
    pub(crate) sealed: bool,
    /// Earliest and latest block time.
    pub(crate) time: (u64, u64),
    /// Where the blocks stand, until it is sealed.
    pub(crate) index: Vec<u32>,
    /// The file, while it is open.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    /// The footer of a sealed segment, while it is in memory.
    pub(crate) footer: Option<Arc<Footer>>,
    /// How far sweeps of readers have come in it.
    pub(crate) swept: u32,
    /// The space that it grows into, until it is sealed.
    pub(crate) promise: Option<Promise>,
    /// Bytes that the machine refers to.
    pub(crate) live_bytes: i64,
    /// The block whose durability the last change of `live_bytes` waits for.
    pub(crate) live_at: Lsn,
}

impl State {
    /// Pages from the start that no write changes any more. Behind the last durable block of a segment in use nothing is settled.
    pub(crate) fn settled_pages(&self) -> u32 {
        if self.sealed { self.pages } else { 0 }
    }
}

/// A segment's file and where things stand in it.
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) footer: Arc<Footer>,
}

impl Segment {
    pub(crate) fn new(identity: u64, number: u64, kind: Kind, state: State) -> Arc<Self> {
        Arc::new(Self { number, kind, salt: segment::salt(identity, number), state: Mutex::new(state) })
    }

    pub(crate) fn name(&self) -> String {
        file_name(self.number)
    }

    /// Whether a sweep of these pages is the first here, or goes beside the first; notes how far it comes.
    pub(crate) fn sweep(&self, pages: &Range<u32>) -> bool {
        let mut state = lock(&self.state);
        let is_first = state.swept < state.pages && pages.start + BESIDE_PAGES >= state.swept;
        state.swept = state.swept.max(pages.end);
        is_first
    }

    /// What the manifest will say of it once it is sealed.
    pub(crate) fn entry(&self) -> Entry {
        let state = lock(&self.state);
        let sealed =
            Sealed { first: state.first, last: state.last, chain: state.chain, footer_page: state.pages };
        let file_pages = u32::try_from(state.file_pages).unwrap_or(u32::MAX);
        Entry { number: self.number, kind: self.kind, file_pages, sealed: Some(sealed) }
    }

    /// The footer, as far as the segment goes now.
    pub(crate) fn footer(&self) -> Footer {
        let state = lock(&self.state);
        Footer {
            salt: self.salt,
            first: state.first,
            last: state.last,
            time: state.time,
            index: state.index.clone(),
            moves: Vec::new(),
        }
    }

    /// The page that the block `lsn` begins at, and the page where the next thing begins.
    pub(crate) fn span(footer: &Footer, block: usize, pages: u32) -> Option<(u32, u32)> {
        let page = *footer.index.get(block)?;
        Some((page, footer.index.get(block + 1).copied().unwrap_or(pages)))
    }
}

/// Segments by their first block.
#[derive(Default)]
pub(crate) struct Table {
    segments: RwLock<BTreeMap<Lsn, Arc<Segment>>>,
    loaded: Mutex<Loaded>,
}

/// Sealed segments whose footers are in memory, oldest first, with their sizes.
#[derive(Default)]
struct Loaded {
    footers: VecDeque<(Weak<Segment>, usize)>,
    bytes: usize,
}

impl Table {
    /// The segment that holds the block, or the records that survived of it.
    pub(crate) fn covering(&self, lsn: Lsn) -> Option<Arc<Segment>> {
        let segments = self.segments.read().expect(PANICKED);
        let (_, segment) = segments.range(..=lsn).next_back()?;
        (lsn <= lock(&segment.state).last).then(|| Arc::clone(segment))
    }

    pub(crate) fn insert(&self, segment: Arc<Segment>) {
        let first = lock(&segment.state).first;
        let mut segments = self.segments.write().expect(PANICKED);
        let before = segments.insert(first, segment);
        assert!(before.is_none(), "two segments begin with block {first}");
    }

    /// Takes `gone` out and puts `new`, which holds what survives of them, in: one step for readers and for [`Self::live`].
    pub(crate) fn replace(&self, gone: &[Arc<Segment>], new: Option<&Arc<Segment>>) {
        let mut segments = self.segments.write().expect(PANICKED);
        let (mut live_bytes, mut live_at) = (0, Lsn(0));
        for segment in gone {
            let state = lock(&segment.state);
            live_bytes += state.live_bytes;
            live_at = live_at.max(state.live_at);
            let was = segments.remove(&state.first);
            assert!(
                was.is_some_and(|was| Arc::ptr_eq(&was, segment)),
                "a move is a compare-and-set: the segment at block {} is still the one it began with",
                state.first
            );
        }
        if let Some(new) = new {
            let mut state = lock(&new.state);
            (state.live_bytes, state.live_at) = (live_bytes, live_at);
            let before = segments.insert(state.first, Arc::clone(new));
            assert!(before.is_none(), "promoted ranges do not overlap");
        }
    }

    /// Counts what the machine refers to. `at`: the block that must be durable before a segment may go because of it.
    /// `true`: some segment became empty.
    pub(crate) fn live(&self, changes: &[(Lsn, i64)], at: Lsn) -> bool {
        let segments = self.segments.read().expect(PANICKED);
        let mut emptied = false;
        for (lsn, bytes) in changes {
            // Of a block that is gone nothing survives, so there is nothing to count.
            let Some((_, segment)) = segments.range(..=*lsn).next_back() else { continue };
            let mut state = lock(&segment.state);
            if *lsn <= state.last {
                state.live_bytes += bytes;
                state.live_at = at;
                emptied |= state.live_bytes <= 0;
            }
        }
        emptied
    }

    /// The segments whose blocks are in `range`.
    pub(crate) fn within(&self, range: (Lsn, Lsn)) -> Vec<Arc<Segment>> {
        let segments = self.segments.read().expect(PANICKED);
        segments.range(range.0..=range.1).map(|(_, segment)| Arc::clone(segment)).collect()
    }

    /// The segment of the last block.
    pub(crate) fn newest(&self) -> Option<Arc<Segment>> {
        let segments = self.segments.read().expect(PANICKED);
        segments.last_key_value().map(|(_, segment)| Arc::clone(segment))
    }

    /// All segments, by their first block.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        let segments = self.segments.read().expect(PANICKED);
        segments.values().cloned().collect()
    }

    /// Opens a segment for reading: its file, and its footer from memory, from the file or, if that is damaged, by a scan.
    ///
    /// # Errors
    /// Those of the file system; `InvalidData` with a [`Flaw`] if neither footer nor blocks can be read.
    pub(crate) fn open(&self, disk: &dyn Disk, segment: &Arc<Segment>) -> io::Result<Opened> {
        let known = lock(&segment.state).file.clone();
        let file = match known {
            Some(file) => file,
            None => {
                let file = disk.open(&segment.name(), Purpose::Serve)?;
                Arc::clone(lock(&segment.state).file.get_or_insert(file))
            }
        };
        let (blocks, pages) = {
            let state = lock(&segment.state);
            if let Some(footer) = &state.footer {
                return Ok(Opened { file, footer: Arc::clone(footer) });
            }
            if !state.sealed {
                let (first, last) = (state.first, state.last);
                let (time, index) = (state.time, state.index.clone());
                let footer = Footer { salt: segment.salt, first, last, time, index, moves: Vec::new() };
                return Ok(Opened { file, footer: Arc::new(footer) });
            }
            ((state.first, state.last), state.pages)
        };
        // Not under the lock: a scan of a whole segment takes long, and the appending thread counts what is alive under it.
        let footer = Arc::new(load_footer(&*file, segment, blocks, pages)?);
        let before = lock(&segment.state).footer.replace(Arc::clone(&footer));
        if before.is_none() {
            self.remember(segment, footer.memory_bytes());
        }
        Ok(Opened { file, footer })
    }

    /// Closes the files of sealed segments that nobody reads at the moment; they are opened again when somebody does.
    pub(crate) fn close_idle(&self) {
        let mut loaded = lock(&self.loaded);
        loaded.bytes = 0;
        for segment in loaded.footers.drain(..).filter_map(|(segment, _)| segment.upgrade()) {
            let mut state = lock(&segment.state);
            (state.footer, state.file) = (None, None);
        }
    }

    /// Counts a footer in memory and lets go of the oldest ones beyond the bound.
    pub(crate) fn remember(&self, segment: &Arc<Segment>, bytes: usize) {
        let mut loaded = lock(&self.loaded);
        loaded.footers.push_back((Arc::downgrade(segment), bytes));
        loaded.bytes += bytes;
        while loaded.footers.len() > 1
            && (loaded.bytes > FOOTERS_BYTES_MAX || loaded.footers.len() > FOOTERS_MAX)
        {
            let Some((oldest, bytes)) = loaded.footers.pop_front() else { break };
            loaded.bytes -= bytes;
            if let Some(oldest) = oldest.upgrade().filter(|oldest| !Arc::ptr_eq(oldest, segment)) {
                let mut state = lock(&oldest.state);
                (state.footer, state.file) = (None, None);
            }
        }
    }
}

fn load_footer(
    file: &dyn DiskFile,
    segment: &Segment,
    (first, last): (Lsn, Lsn),
    pages: u32,
) -> io::Result<Footer> {
    let invalid = |flaw: Flaw| io::Error::new(io::ErrorKind::InvalidData, flaw);
    match read_footer(file, u64::from(pages))? {
        Ok(footer) if footer.salt == segment.salt => return Ok(footer),
        Ok(_) if segment.kind == Kind::Promoted => return Err(invalid(Flaw::Salt)),
        Err(flaw) if segment.kind == Kind::Promoted => return Err(invalid(flaw)),
        Ok(_) | Err(_) => {}
    }
    // The footer of a log segment holds nothing that its blocks do not say.
    let index = Scan::new(file, segment.salt).index(1, pages)?.map_err(invalid)?;
    let count = last.0 + 1 - first.0;
    if index.len() as u64 != count {
        return Err(invalid(Flaw::Short));
    }
    Ok(Footer { salt: segment.salt, first, last, time: (0, 0), index, moves: Vec::new() })
}

/// Reads the footer that begins at `page`.
pub(crate) fn read_footer(file: &dyn DiskFile, page: u64) -> io::Result<Result<Footer, Flaw>> {
    let mut first = [Page::ZERO];
    if file.read(page, &mut first)? == 0 {
        return Ok(Err(Flaw::Short));
    }
    let pages = match Footer::pages_of(first[0].bytes()) {
        Ok(pages) => pages as u64,
        Err(flaw) => return Ok(Err(flaw)),
    };
    if pages > file.pages()?.saturating_sub(page) {
        return Ok(Err(Flaw::Short));
    }
    let mut whole = vec![Page::ZERO; usize::try_from(pages).unwrap_or(0)];
    let read = file.read(page, &mut whole)?;
    Ok(Footer::decode(&bytes_of(&whole)[..read * PAGE_BYTES]))
}
