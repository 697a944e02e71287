//! Reading: from where the last read ended, with a watch where there was nothing more.

use super::{Asked, Streamer};
use crate::desk::{Desk, Phase};
use crate::history::stream::{BatchId, Part, StreamEvent};
use crate::history::{Event, Step};
use crate::topology::{STREAMS, partition};
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::refusal::Refusal;
use stele_model::stream::{Ends, PartResult, Read, ReadPart, Reads, StreamRefusal};

#[derive(Debug)]
pub(super) struct Reader {
    part: Part,
    next: Position,
    /// A read is under way.
    reading: bool,
    /// It waits to be woken.
    watch: Option<u64>,
    /// As the closer: it has come to the end.
    pub(super) done: bool,
}

impl Reader {
    pub(super) fn new(part: Part) -> Self {
        Self { part, next: Position(0), reading: false, watch: None, done: false }
    }

    pub(super) fn cut_off(&mut self) {
        self.reading = false;
        self.watch = None;
    }

    pub(super) fn woken(&mut self, watch: u64) {
        if self.watch == Some(watch) {
            self.watch = None;
        }
    }

    pub(super) fn may_read(&self) -> bool {
        !self.reading && self.watch.is_none()
    }

    /// It has read all that anybody was told to be stored.
    pub(super) fn has_all(&self, desk: &Desk) -> bool {
        desk.ends.get(&self.part).is_none_or(|end| self.next >= *end)
    }
}

impl Streamer {
    pub(super) fn read(&mut self, desk: &mut Desk) {
        if self.readers.is_empty() {
            return;
        }
        let reader = self.rng.below(self.readers.len() as u64) as usize;
        if let Some(watch) = self.readers[reader].watch {
            if self.rng.chance(1, 4) {
                self.readers[reader].watch = None;
                self.line.tell(0, Op::Unwatch { watch });
            }
            return;
        }
        if !self.readers[reader].reading {
            self.read_on(desk, reader);
        }
    }

    pub(super) fn read_on(&mut self, desk: &mut Desk, reader: usize) {
        let watched = self.rng.chance(1, 2) && desk.phase != Phase::Close;
        let watch = watched.then(|| desk.next_stream_number());
        let of = &mut self.readers[reader];
        of.reading = true;
        let bytes_max = *self.rng.pick(&[1, 300, 5_000]);
        let part = Read { of: partition(of.part), from: of.next, bytes_max, stable: false };
        let reads = Reads { parts: vec![part], bytes_max: 5_000, watch };
        self.ask(Op::Read(reads), Asked::Read { reader, asked: desk.step, watch });
    }

    /// The closer reads the next partition on.
    pub(super) fn look(&mut self, desk: &mut Desk) {
        if let Some(reader) = self.readers.iter().position(|reader| !reader.done) {
            self.read_on(desk, reader);
        }
    }

    pub(super) fn was_read(
        &mut self,
        desk: &mut Desk,
        reader: usize,
        asked: Step,
        watch: Option<u64>,
        parts: Vec<PartResult<ReadPart>>,
    ) {
        let closer = self.closer;
        let of = &mut self.readers[reader];
        of.reading = false;
        let Some(read) = parts.into_iter().next() else { return };
        let (from, part) = (of.next, of.part);
        let read = match read {
            Ok(read) => read,
            Err(Refusal::Stream(StreamRefusal::OutOfRange { ends })) if ends.start > from => {
                of.next = ends.start;
                return desk.event(&read_event(part, asked, ends.start, ends, Vec::new(), closer));
            }
            Err(refusal) => {
                let what = format!("a read of {part} from {from} is refused: {refusal:?}");
                return desk.oracle.violate("W22", desk.step, what);
            }
        };
        let batches: Vec<_> = read
            .batches
            .iter()
            .map(|batch| (batch_id(&read.batch(batch)), batch.first, batch.count))
            .collect();
        if let Some((_, first, count)) = batches.last() {
            of.next = Position(first.0 + u64::from(*count));
        }
        let at_end = of.next >= read.ends.end;
        of.done |= closer && at_end;
        of.watch = watch.filter(|_| at_end && batches.is_empty());
        if let Some(watch) = watch.filter(|_| of.watch.is_none()) {
            self.line.tell(0, Op::Unwatch { watch });
        }
        desk.event(&read_event(part, asked, from, read.ends, batches, closer));
    }

    /// Removes what was read, where the stream is one for that.
    pub(super) fn trim(&mut self, desk: &mut Desk) {
        let Some(reader) = self.readers.iter().find(|reader| STREAMS[reader.part.stream].trimmed) else {
            return;
        };
        let (part, below) = (reader.part, reader.next);
        desk.event(&Event::Stream(StreamEvent::TrimAsked { part, below }));
        self.ask(Op::Trim(vec![(partition(part), below)]), Asked::Trim);
    }
}

fn read_event(
    part: Part,
    asked: Step,
    from: Position,
    ends: Ends,
    batches: Vec<(Option<BatchId>, Position, u32)>,
    last: bool,
) -> Event {
    Event::Stream(StreamEvent::Read { part, asked, from, ends: (ends.start, ends.end), batches, last })
}

/// The number in a batch's bytes.
fn batch_id(bytes: &[u8]) -> Option<BatchId> {
    let digits = bytes.strip_prefix(b"b")?.split(|byte| *byte == b';').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(BatchId)
}
