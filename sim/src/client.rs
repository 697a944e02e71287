//! A client with its session, speaking the words of `model` to a hub: publishes with confirms, consumers, single reads, settles of
//! every kind, definitions that race with publishes, direct replies, sudden ends.
//!
//! Which of these a client likes is drawn once per run, so that runs differ in kind and not only in order. It writes what it
//! does and sees into the history and knows nothing of what should come of it; that is the oracle's affair.

mod act;
mod hear;
mod publish;

use crate::desk::{Desk, Phase};
use crate::history::{Event, Held, RecordId};
use crate::link::{Line, Link};
use crate::rng::Rng;
use std::collections::BTreeMap;
use stele_model::id::{HubId, QueueId, SessionId, Ticket};
use stele_model::op::{Credit, Op, Submit};
use stele_model::outcome::{Deliveries, Outcome, Wake};
use stele_model::settle::{How, Run, Settle};

/// From a client to its hub.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of what is said are submits")]
pub enum Said {
    /// A session begins.
    Connect(SessionId),
    /// It asks for something.
    Submit(SessionId, Submit),
    /// It is gone.
    Disconnect(SessionId),
}

/// From a hub to a client.
#[derive(Clone, Debug)]
pub enum Heard {
    /// An answer.
    Outcome(SessionId, Ticket, Outcome),
    /// Records.
    Deliver(SessionId, Deliveries),
    /// Something else.
    Wake(SessionId, Wake),
}

impl Heard {
    /// The session that it is meant for.
    pub(crate) fn to(&self) -> SessionId {
        let (Self::Outcome(to, ..) | Self::Deliver(to, _) | Self::Wake(to, _)) = self;
        *to
    }
}

/// Requests without an answer, at most.
const AWAITED_MAX: usize = 6;
/// Deliveries without a settle, at most, before the client settles some.
const HELD_MAX: usize = 24;
/// Number under which single reads are held.
const GETS: u64 = 1 << 40;

/// See the file's head.
#[derive(Debug)]
pub struct Client {
    line: Line<Asked>,
    rng: Rng,
    likes: act::Likes,
    /// Actions left.
    left: u32,
    numbers: u64,
    readers: BTreeMap<u64, Reader>,
    held: Vec<(String, Held)>,
}

/// What a ticket stands for.
#[derive(Clone, Debug)]
enum Asked {
    Open,
    Publish(Vec<RecordId>),
    Subscribe(u64),
    Unsubscribe(u64),
    Get { queue: String, no_ack: bool },
    Removal(u64),
    Other,
}

/// A subscription, from question to end.
#[derive(Clone, Debug)]
struct Reader {
    queue: String,
    no_ack: bool,
    subscribed: bool,
    /// Asked to end; `true`: and answered.
    ended: Option<bool>,
    /// Byte credit not yet given back.
    owed: u64,
}

impl Client {
    /// A client of `hub` that acts `actions` times.
    #[must_use]
    pub fn new(hub: HubId, actions: u32, mut rng: Rng) -> Self {
        Self {
            line: Line::new(hub),
            likes: act::Likes::draw(&mut rng),
            rng,
            left: actions,
            numbers: 0,
            readers: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    /// Its hub.
    #[must_use]
    pub fn hub(&self) -> HubId {
        self.line.hub
    }

    /// It has nothing more to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.line.link == Link::Over
    }

    /// It waits for answers and cannot do anything meanwhile.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.line.link == Link::Opening
            || (self.line.link == Link::Up && self.line.awaited.len() >= AWAITED_MAX)
    }

    /// What it waits for, for a report.
    #[must_use]
    pub fn awaits(&self) -> String {
        self.line.awaits()
    }

    /// Does something by itself.
    pub fn act(&mut self, desk: &mut Desk) -> Vec<Said> {
        match self.line.link {
            Link::Down if desk.phase == Phase::Finish => self.line.link = Link::Over,
            Link::Down => self.line.connect(desk, Asked::Open),
            Link::Up => {
                self.give_credit_back();
                if desk.phase == Phase::Finish { self.finish(desk) } else { self.do_something(desk) }
            }
            Link::Opening | Link::Over => {}
        }
        self.line.said()
    }

    /// The node has stopped.
    pub fn cut_off(&mut self) {
        self.line.cut();
        self.forget();
    }

    fn disconnect(&mut self, desk: &mut Desk) {
        self.line.disconnect(desk);
        desk.addresses.remove(&self.line.session);
        self.forget();
    }

    fn forget(&mut self) {
        self.readers.clear();
        self.held.clear();
    }

    fn ask(&mut self, lane: u16, op: Op, asked: Asked) {
        self.line.ask(lane, op, asked);
    }

    fn tell(&mut self, lane: u16, op: Op) {
        self.line.tell(lane, op);
    }

    fn give_credit_back(&mut self) {
        let mut credits = Vec::new();
        for (subscription, reader) in &mut self.readers {
            if reader.owed > 0 {
                let bytes = std::mem::take(&mut reader.owed);
                credits.push(Credit { subscription: *subscription, bytes, messages_max: None });
            }
        }
        if !credits.is_empty() {
            self.tell(0, Op::Credit(credits));
        }
    }

    /// Ends deliveries that were taken out of `held`, each in its own way.
    fn settle(&mut self, desk: &mut Desk, ends: Vec<(String, Held, How)>) {
        let mut settles: Vec<Settle> = Vec::new();
        for (queue, held, how) in ends {
            let run = Run { first: held.position, count: 1 };
            match settles.last_mut() {
                Some(last)
                    if last.how == how
                        && (last.subscription, last.queue) == (held.subscription, held.queue) =>
                {
                    match last.runs.last_mut() {
                        Some(run) if run.first.0 + u64::from(run.count) == held.position.0 => run.count += 1,
                        _ => last.runs.push(run),
                    }
                }
                _ => settles.push(Settle {
                    subscription: held.subscription,
                    queue: held.queue,
                    how,
                    runs: vec![run],
                }),
            }
            desk.event(&Event::Settled { session: self.line.session, queue, held, how });
        }
        if !settles.is_empty() {
            self.tell(0, Op::Settle(settles));
        }
    }
}

/// The number in a record's body.
#[must_use]
pub fn record_id(record: &[u8]) -> Option<RecordId> {
    let body = stele_record::View::parse(record).ok()?.body();
    let digits = body.strip_prefix(b"r")?.split(|byte| *byte == b';').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(RecordId)
}

/// The queue that direct replies seem to come from.
const REPLIES: QueueId = QueueId(0);
