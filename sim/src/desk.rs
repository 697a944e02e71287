//! What all clients of a run share: the step and the time, numbers that must differ between them, the history they write, and
//! the oracle that reads it.

use crate::history::shared::{MessageId, SharedEvent};
use crate::history::stream::{BatchId, Part, StreamEvent};
use crate::history::{Event, RecordId, Step};
use crate::oracle::Oracle;
use std::collections::{BTreeMap, VecDeque};
use stele_model::id::{HubId, Now, Position, SessionId};

/// Lines of the trace that are kept for a failure's report.
const TRACE_LINES: usize = 80;

/// Which part of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The standing definitions are made.
    SetUp,
    /// Clients do what they like.
    Run,
    /// Clients come to an end; nothing fails any more.
    Finish,
    /// The queues are emptied and looked at.
    Close,
}

/// See the file's head.
#[derive(Debug)]
pub struct Desk {
    /// Number of the present step.
    pub step: Step,
    /// Virtual time.
    pub now: Now,
    /// Where the run is.
    pub phase: Phase,
    /// The judge.
    pub oracle: Oracle,
    /// Addresses for direct replies that were given out.
    pub addresses: BTreeMap<SessionId, String>,
    /// How far somebody was told that a partition goes.
    pub ends: BTreeMap<Part, Position>,
    /// How far somebody was told that the stream by subject goes.
    pub jet_end: Position,
    appends: BTreeMap<BatchId, (Part, u32)>,
    streams: u64,
    records: u64,
    removals: u64,
    sessions: BTreeMap<HubId, u64>,
    trace: VecDeque<String>,
    /// Print every line at once.
    verbose: bool,
    hash: u64,
}

impl Desk {
    /// An empty desk.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self {
            step: 0,
            now: Now(1_700_000_000_000_000),
            phase: Phase::SetUp,
            oracle: Oracle::default(),
            addresses: BTreeMap::new(),
            ends: BTreeMap::new(),
            jet_end: Position(0),
            appends: BTreeMap::new(),
            streams: 0,
            records: 0,
            removals: 0,
            sessions: BTreeMap::new(),
            trace: VecDeque::new(),
            verbose,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Something that a client did or saw.
    pub fn event(&mut self, event: &Event) {
        self.note(|| event.to_string());
        match event {
            Event::Stream(event) => self.remember(event),
            Event::Shared(SharedEvent::Stored { position, .. }) => {
                self.jet_end = self.jet_end.max(Position(position.0 + 1));
            }
            _ => {}
        }
        self.oracle.observe(self.step, event);
    }

    fn remember(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Appended { batch, part, count, .. } => {
                self.appends.insert(*batch, (*part, *count));
            }
            StreamEvent::Stored { batch, first } => {
                if let Some((part, count)) = self.appends.remove(batch) {
                    let end = self.ends.entry(part).or_default();
                    *end = (*end).max(Position(first.0 + u64::from(count)));
                }
            }
            _ => {}
        }
    }

    /// A batch's number that was not used before.
    pub fn next_batch(&mut self) -> BatchId {
        self.streams += 1;
        BatchId(self.streams)
    }

    /// A message's number that was not used before.
    pub fn next_message(&mut self) -> MessageId {
        self.streams += 1;
        MessageId(self.streams)
    }

    /// A number for a watch or a commit that was not used before.
    pub fn next_stream_number(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    /// A line of the trace. All lines together make the hash that two runs of a seed must share.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>6} {:>7} {}", self.step, self.now.0 % 100_000_000, line());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.verbose {
            eprintln!("{line}");
        }
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    /// Hash of all lines so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn trace(&self) -> impl Iterator<Item = &str> {
        self.trace.iter().map(String::as_str)
    }

    /// A record's number that was not used before.
    pub fn next_record(&mut self) -> RecordId {
        self.records += 1;
        RecordId(self.records)
    }

    /// Number of the next question about removal.
    pub fn next_removal(&mut self) -> u64 {
        self.removals += 1;
        self.removals
    }

    /// A session that was not there before.
    pub fn next_session(&mut self, hub: HubId) -> SessionId {
        let number = self.sessions.entry(hub).or_default();
        *number += 1;
        SessionId { hub, number: *number }
    }
}
