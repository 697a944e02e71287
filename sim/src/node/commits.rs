//! Judges when a shard commits (W15): what nobody waits for does not start a commit; it rides for 2 ms (S3, S12).
//!
//! Knows only what the shard was asked and when its log got a block.

use std::collections::BTreeSet;
use stele_core::runner::Stats;
use stele_model::id::{Now, QueueId};
use stele_model::settle::How;
use stele_model::shard::ShardOp;

/// Longest ride, ms.
const RIDE_MS: u64 = 2;
/// A block of so many bytes may have been closed because it was long.
const LONG_BYTES: u64 = 2_000;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Commits {
    /// Something was asked since the last commit that may be waited for.
    awaited: bool,
    /// Queues that go with their owner.
    owned: BTreeSet<QueueId>,
    last: Now,
    stats: Stats,
}

impl Commits {
    pub(super) fn new(now: Now) -> Self {
        // What a start logs is awaited by those who wait for the node.
        Self { awaited: true, owned: BTreeSet::new(), last: now, stats: Stats::default() }
    }

    pub(super) fn asked(&mut self, op: &ShardOp) {
        self.awaited |= match op {
            // Nobody waits for what goes with its owner (S12).
            ShardOp::Put { queue, .. } if queue.settings.owner.is_some() => {
                self.owned.insert(queue.id);
                false
            }
            ShardOp::Close { queue, .. } | ShardOp::Drop { queue, .. } if self.owned.contains(queue) => false,
            op => may_be_awaited(op),
        };
    }

    /// Time has made the machine do something; that it may commit is not our affair.
    pub(super) fn ticked(&mut self) {
        self.awaited = true;
    }

    /// A turn has ended, and `left` bytes wait for the next. What is wrong with it, if anything.
    pub(super) fn turned(&mut self, now: Now, stats: Stats, left: usize) -> Option<String> {
        let commits = stats.commits - self.stats.commits;
        let bytes = stats.commit_bytes - self.stats.commit_bytes;
        self.stats = stats;
        if commits == 0 {
            return None;
        }
        let since = std::mem::replace(&mut self.last, now);
        let awaited = self.awaited;
        self.awaited &= left > 0;
        let early = now < since.plus_ms(RIDE_MS) && bytes < LONG_BYTES;
        (early && !awaited)
            .then(|| format!("a block was written {} µs after the last, for nobody", now.0 - since.0))
    }
}

fn may_be_awaited(op: &ShardOp) -> bool {
    match op {
        // One that is long may close the block before it.
        ShardOp::Publish(publish) => {
            publish.awaited || publish.link.is_some() || publish.batch.bytes.len() as u64 > LONG_BYTES
        }
        ShardOp::Settle { settles, .. } => {
            // Others may end as dead letters, which are moves.
            !settles
                .iter()
                .all(|settle| matches!(settle.how, How::Accept | How::Release { counted: false, .. }))
        }
        ShardOp::Credit { .. } | ShardOp::Opened(_) | ShardOp::Unsubscribe { .. } => false,
        ShardOp::Status { .. } => false,
        ShardOp::Subscribe(_) | ShardOp::Get { .. } | ShardOp::SessionGone { .. } => false,
        ShardOp::Purge { .. } | ShardOp::Close { .. } | ShardOp::Put { .. } => true,
        ShardOp::Drop { .. } | ShardOp::Sync { .. } | ShardOp::Moved { .. } => true,
        ShardOp::Append(append) => append.awaited,
        ShardOp::Read(_)
        | ShardOp::Unwatch { .. }
        | ShardOp::Seek { .. }
        | ShardOp::Groups { .. }
        | ShardOp::GroupChanges { .. } => false,
        ShardOp::Clock { .. } => false,
        ShardOp::Records(_) => true,
        ShardOp::Trim { .. } | ShardOp::NewProducer { .. } | ShardOp::PutPartition { .. } => true,
        ShardOp::Group(_) | ShardOp::PartitionsGone { .. } => true,
        ShardOp::Share(_) => true,
        ShardOp::SettleShares(settles) => settles.answer.is_some(),
        ShardOp::Shares(_) | ShardOp::Take(_) | ShardOp::Untake { .. } => false,
        ShardOp::TakerCredit { .. }
        | ShardOp::ShareListen { .. }
        | ShardOp::EchoListen { .. }
        | ShardOp::EchoTaken { .. } => false,
    }
}
