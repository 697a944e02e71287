//! A shard: the state machine that holds queues, and the table of what it can be asked.
//!
//! Called by `crate::runner`, or by a test's journal. One door for change: a verb decides, appends an entry, and changes the logged state
//! by the same functions that `apply` uses in replay (S1). What must hold: no turn is long (S7): whatever may be large is done in steps
//! that [`Machine::tick`] goes on with. Each verb has a file; here is only the table. Not here: bytes of records, files, clocks.

mod apply;
mod attach;
mod bytes;
mod define;
mod deliver;
mod effect;
mod entry;
mod group;
mod leave;
mod live;
mod logged;
mod publish;
mod settle;
mod share;
mod snapshot;
mod spec;
mod stream;
mod work;

pub use group::{LoggedGroup, LoggedGroups, LoggedPosition};
pub use logged::{
    LoggedBatch, LoggedPartition, LoggedProducer, LoggedQueue, LoggedRecord, LoggedSingle, LoggedState,
    LoggedSubjects,
};
pub use share::{LoggedPending, LoggedShare};
pub use stream::PartitionCounts;

use crate::group::{GroupSettings, Groups};
use crate::link::Links;
use crate::queue::Queue;
use crate::queue::dead_letter::Moves;
use crate::queue::serve::Readers;
use crate::share::Shares;
use crate::shelf::Shelf;
use ::bytes::Bytes;
use effect::Turn;
use live::Live;
use share::Settling;
use snapshot::Writing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use stele_model::id::{Boot, Call, HubId, Lsn, Now, Place, QueueId, Revision, SessionId, ShardId};
use stele_model::machine::{Effects, Journal, Machine};
use stele_model::shard::{QueueCounts, ShardEffect, ShardOp};
use stream::Streams;
use work::Work;

pub(crate) use live::Live as LiveBytes;

/// The durable state of the queues of one shard, and who reads them.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    queues: Shelf<Queue>,
    groups: Groups,
    links: Links,
    moves: Moves,
    streams: Streams,
    shares: Shares,
    /// Settles of shared groups that did not fit a turn.
    settling: VecDeque<Settling>,
    /// The registry's last word.
    revision: Revision,
    boot: Boot,
    live: Live,
    attached: Attached,
    work: Work,
    /// Memory for entries under construction.
    scratch: Vec<u8>,
    /// The wall clock has jumped: nothing goes by age (S28).
    clock_jumped: bool,
    mutant: Option<Mutant>,
    /// A snapshot that is being written.
    writing: Option<Writing>,
    /// Items of it that one step writes at most.
    step_items: u32,
}

/// What dies with the process, besides the readers of each queue.
#[derive(Debug, Default)]
struct Attached {
    /// Queues that a session reads or holds records of.
    sessions: BTreeMap<SessionId, BTreeSet<QueueId>>,
    /// Who waits for a queue to be gone.
    closes: BTreeMap<QueueId, Vec<(HubId, Call)>>,
}

/// A mistake to make on purpose, to see that an oracle notices. Named after the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Drop-head is not logged (S1).
    SilentDropHead,
    /// Confirms wait for nothing (S2).
    EarlyConfirm,
    /// Settles start a commit (S3).
    UrgentSettle,
    /// A restart forgets that a record was delivered (S4).
    ForgottenDelivery,
    /// A snapshot shows leases as they are when it is written, not as they were when it began (S7).
    UnkeptLeases,
    /// A repeated submit of a link is taken again (S5).
    TakenTwice,
    /// A restart does not send unfinished moves again (S6).
    LostMove,
    /// A volatile record does not wait for its predecessors (S14).
    HastyVolatile,
    /// Byte credit is not counted (S18).
    FreeBytes,
    /// A group takes commits of members of any generation.
    AnyGeneration,
    /// Members get their parts before the generation is durable (S2).
    EarlyParts,
    /// A restart makes the members of groups join again.
    LostMembers,
    /// A restart begins members' numbers from the start.
    RepeatedNumbers,
    /// Not all positions of a commit are logged (S1).
    UnloggedPosition,
    /// Which partitions members of groups read is not logged (S1).
    UnloggedReading,
    /// Appends are answered before they are durable (S2).
    EarlyAppend,
    /// Reads tell of what is not durable (S2).
    EarlyRead,
    /// What goes by age or bytes is not logged (S1, S21).
    SilentRetention,
    /// A repeat of a numbered batch is stored again.
    RepeatTaken,
    /// The ids of records are not compared (S27).
    ForgottenId,
    /// What a publisher expects of a stream is not checked.
    LooseCondition,
    /// The terms of a record are not logged (S1).
    UnloggedTerms,
    /// Age counts although the clock has jumped (S28).
    JumpedClock,
    /// A watch wakes more than once.
    StaleWatch,
    /// Deliveries of shared groups are not logged (S1).
    UnloggedDelivery,
    /// Settles of shared groups are not logged (S1).
    UnloggedSettle,
    /// A bundle is stored without its last record.
    HalfBundle,
    /// That a group begins again is not logged (S1).
    UnloggedReset,
    /// Rests of released records are not logged (S1).
    UnloggedRest,
    /// Shared groups give out what is not durable (S2).
    EarlyRecords,
    /// A group tells how many records wait before all are counted.
    HastyCount,
    /// What is released to a shared group comes again when its lease ends, not before.
    LateRelease,
    /// Settles of shared groups start a commit (S3).
    UrgentShareSettle,
    /// The end of a queue that goes with its owner starts a commit (S12).
    UrgentEnd,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(id: ShardId) -> Self {
        Self {
            id,
            queues: Shelf::default(),
            groups: Groups::default(),
            links: Links::default(),
            moves: Moves::default(),
            streams: Streams::default(),
            shares: Shares::default(),
            settling: VecDeque::new(),
            revision: Revision(0),
            boot: Boot(0),
            live: Live::default(),
            attached: Attached::default(),
            work: Work::default(),
            scratch: Vec::new(),
            clock_jumped: false,
            mutant: None,
            writing: None,
            step_items: snapshot::STEP_ITEMS,
        }
    }

    /// Takes up the state of a snapshot; the log from there on is applied next.
    ///
    /// # Errors
    /// What is wrong with the snapshot.
    pub fn restore(chunks: &[Bytes]) -> Result<Self, String> {
        snapshot::restore(chunks)
    }

    /// The same shard, making a mistake on purpose; for tests of tests.
    #[must_use]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// The same shard with other bounds and times of groups.
    #[must_use]
    pub fn with_groups(mut self, settings: GroupSettings) -> Self {
        self.groups.around.settings = settings;
        self
    }

    /// The same shard, writing snapshots in steps of so many items at most, so that more happens between them.
    #[must_use]
    pub fn with_snapshot_steps(mut self, items_max: u32) -> Self {
        self.step_items = items_max;
        self
    }

    /// Counts of each queue, in the order of their numbers. Costs nothing per record.
    pub fn counts(&self) -> impl Iterator<Item = QueueCounts> + '_ {
        self.queues.values().map(|queue| QueueCounts {
            queue: queue.spec.id,
            ready: queue.ready.count(),
            ready_bytes: queue.ready.body_bytes(),
            unsettled: queue.leases.count(),
            consumers: queue.readers.count(),
            published: queue.sums.published,
            delivered: queue.sums.delivered,
            accepted: queue.sums.accepted,
            dead_lettered: queue.sums.dead_lettered,
        })
    }

    /// Counts of each partition, in the order of their numbers. Costs nothing per batch.
    pub fn partition_counts(&self) -> impl Iterator<Item = PartitionCounts> + '_ {
        self.streams.counts()
    }

    /// The logged state in a form to compare: what a replay of the log must lead to (S1). Costs time and memory for each record.
    #[must_use]
    pub fn logged(&self) -> LoggedState {
        logged::of(self)
    }

    fn makes(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn perform(&mut self, op: ShardOp, turn: &mut Turn<'_>) {
        match op {
            ShardOp::Publish(publish) => self.take_publish(publish, turn),
            ShardOp::Settle { session, settles } => self.settle(session, settles, turn),
            ShardOp::Credit { session, queue, credit } => self.credit(session, queue, credit, turn),
            ShardOp::Opened(of) => self.opened(&of, turn),
            ShardOp::Subscribe(subscribe) => self.subscribe(&subscribe, turn),
            ShardOp::Unsubscribe { call, subscription, queue } => {
                self.unsubscribe(call, subscription, queue, turn);
            }
            ShardOp::Get { call, subscription, queue, no_ack } => {
                self.get(call, subscription, queue, no_ack, turn);
            }
            ShardOp::Purge { hub, call, queue } => self.purge((hub, call), queue, turn),
            ShardOp::Status { hub, call, queue } => self.status((hub, call), queue, turn),
            ShardOp::Close { answer, queue, if_unused, if_empty } => {
                self.close(answer, queue, if_unused, if_empty, turn);
            }
            ShardOp::SessionGone { session } => {
                self.session_gone(session, turn);
                self.group_session_gone(session, turn);
                self.share_session_gone(session, turn);
            }
            ShardOp::Put { revision, queue } => self.put(revision, queue, turn),
            ShardOp::Drop { revision, queue } => {
                self.drop_home(queue, turn);
                if !self.drop_partition(revision, queue, turn) {
                    self.drop_queue(revision, queue, turn);
                }
            }
            ShardOp::Sync { revision, boot, queues, partitions } => {
                self.sync_partitions(revision, partitions, turn);
                self.sync(revision, boot, queues, turn);
            }
            ShardOp::Moved { number } => self.moved(number, turn),
            ShardOp::PutPartition { revision, partition } => self.put_partition(revision, partition, turn),
            ShardOp::Append(append) => self.append_batches(append, turn),
            ShardOp::Read(read) => self.read(read, turn),
            ShardOp::Unwatch { session, watch } => self.unwatch(session, watch),
            ShardOp::Seek { hub, call, parts } => self.seek((hub, call), &parts, turn),
            ShardOp::Trim { hub, call, parts } => self.trim((hub, call), &parts, turn),
            ShardOp::Records(of) => self.records(of, turn),
            ShardOp::NewProducer { hub, call } => self.new_producer((hub, call), turn),
            ShardOp::Clock { jumped } => self.clock(jumped),
            ShardOp::Group(ask) => self.ask_group(ask, turn),
            ShardOp::Groups { hub, call, home } => self.list_groups((hub, call), home, turn),
            ShardOp::GroupChanges { hub, call, home, from, count_max } => {
                self.group_changes((hub, call), home, from.0, count_max, turn);
            }
            ShardOp::PartitionsGone { partitions } => self.partitions_gone(partitions),
            ShardOp::Share(ask) => self.ask_share(ask, turn),
            ShardOp::Shares(of) => self.list_shares(of, turn),
            ShardOp::Take(take) => self.take_share(take, turn),
            ShardOp::Untake { taker } => self.untake_share(taker, turn),
            ShardOp::TakerCredit { taker, bytes } => self.taker_credit(taker, bytes, turn),
            ShardOp::SettleShares(settles) => self.settle_shares(settles, turn),
            ShardOp::ShareListen { session, on } => self.share_listen(session, on),
            ShardOp::EchoListen { session, namespace } => self.echo_listen(session, namespace),
            ShardOp::EchoTaken { session, bytes } => self.echo_taken(session, bytes),
        }
    }

    /// Runs a verb with a turn made of the caller's journal and effects.
    fn turn(
        &mut self,
        journal: &mut dyn Journal,
        effects: &mut Effects<ShardEffect>,
        verb: impl FnOnce(&mut Self, &mut Turn<'_>),
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        verb(self, &mut Turn::new(journal, effects, &mut scratch));
        self.scratch = scratch;
    }

    /// Remembers that a session reads the queue or holds something of it.
    fn note_session(&mut self, session: SessionId, queue: QueueId) {
        self.attached.sessions.entry(session).or_default().insert(queue);
    }
}

impl Machine for Shard {
    type Op = ShardOp;
    type Effect = ShardEffect;

    fn take(&mut self, op: ShardOp, journal: &mut dyn Journal, effects: &mut Effects<ShardEffect>) {
        self.turn(journal, effects, |shard, turn| shard.perform(op, turn));
    }

    fn tick(&mut self, journal: &mut dyn Journal, effects: &mut Effects<ShardEffect>) {
        self.turn(journal, effects, |shard, turn| {
            shard.step(turn);
            shard.step_streams(turn);
            turn.replenish();
            shard.step_shares(turn);
        });
    }

    fn deadline(&self) -> Option<Now> {
        let own = [self.work.deadline(), self.groups.deadline()];
        own.into_iter().chain([self.streams_deadline(), self.shares_deadline()]).flatten().min()
    }

    fn apply(&mut self, place: Place, time: Now, entry: &[u8]) -> Result<(), String> {
        self.replay(place, time, entry)
    }

    fn started(&mut self, journal: &mut dyn Journal, effects: &mut Effects<ShardEffect>) {
        self.turn(journal, effects, |shard, turn| {
            shard.start(turn);
            shard.start_shares(turn);
        });
        self.start_streams();
    }

    fn begin_snapshot(&mut self) {
        snapshot::begin(self);
    }

    fn step_snapshot(&mut self) -> Option<Vec<Bytes>> {
        snapshot::step(self)
    }

    fn live_changes(&mut self, out: &mut Vec<(Lsn, i64)>) {
        self.live.take(out);
    }

    fn live_in(&self, range: (Lsn, Lsn), out: &mut Vec<(Place, u32)>) {
        logged::in_blocks(self, range, out);
    }
}

/// A queue's readers, wherever the queue may be.
fn readers(queues: &mut Shelf<Queue>, queue: QueueId) -> Option<&mut Readers> {
    queues.get_mut(&queue).map(|queue| &mut queue.readers)
}
