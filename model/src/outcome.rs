//! What sessions are told: answers, deliveries, and what happens to them unasked.

use crate::group::{GroupAnswer, GroupChanges, GroupRefusal, Listed};
use crate::id::{Position, QueueId};
use crate::publish::Publishes;
use crate::refusal::Refusal;
use crate::registry::AccountInfo;
use crate::share::{ShareAnswer, ShareNews, ShareRefusal};
use crate::stream::echo::Echoes;
use crate::stream::records::{RecordsAnswer, Stored};
use crate::stream::{Appended, Ends, PartResult, ReadPart, Sought, StreamInfo};
use bytes::Bytes;
use std::sync::Arc;

/// Answer to a submit.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As asked.
    Done(Done),
    /// Not done.
    Refused(Refusal),
    /// A publish of this lane was refused as a whole. Everything the lane submitted after it is dropped. Another answer for
    /// the rest of the batch follows.
    LaneFailed {
        /// The lane.
        lane: u16,
        /// Item of the batch.
        item: u32,
        /// Why.
        refusal: Refusal,
    },
    /// Everything awaited of the batch is durable in all queues that took it, but for what is listed.
    Published(Published),
}

/// The end of a batch of publishes.
#[derive(Clone, Debug)]
pub struct Published {
    /// The batch, for what has to be sent back.
    pub batch: Arc<Publishes>,
    /// Items with `mandatory` that no queue took, in order; these count as accepted all the same.
    pub unroutable: Vec<u32>,
    /// Items that at least one queue refused, in order, and why. The others that took them keep them (S19).
    pub refused: Vec<(u32, Refusal)>,
    /// Items of failed lanes that were dropped, in order: no confirm is owed.
    pub dropped: Vec<u32>,
    /// Awaited items that streams which tell records apart took, and where; by item, unless several shards answered. A stream that
    /// does not acknowledge is left out.
    pub stored: Vec<Stored>,
}

/// What was done.
#[derive(Clone, Debug)]
pub enum Done {
    /// Nothing to tell.
    Unit,
    /// The namespace is open.
    Opened,
    /// The queue is there.
    Queue {
        /// Its name.
        name: String,
        /// Ready records.
        ready: u64,
        /// Consumers.
        consumers: u32,
    },
    /// The queue is gone.
    Deleted {
        /// Ready records it had.
        ready: u64,
    },
    /// Ready records were removed.
    Purged {
        /// How many.
        count: u64,
    },
    /// Deliveries follow.
    Subscribed {
        /// The queue, as settles name it.
        queue: QueueId,
        /// Its type is one that counts failed deliveries for the client to see (AMQP: quorum).
        counts_deliveries: bool,
        /// It is a partition of a stream: deliveries have their position in it.
        is_stream: bool,
    },
    /// Replies follow.
    Replies {
        /// The address to give to others in place of the pseudo queue's name.
        address: String,
    },
    /// No more.
    Unsubscribed,
    /// The record, or `None`: the queue has no ready one.
    Got {
        /// As settles name it.
        queue: QueueId,
        /// See [`Done::Subscribed`].
        counts_deliveries: bool,
        /// The record.
        delivery: Option<(Bytes, Delivery)>,
        /// Ready records left.
        ready: u64,
    },
    /// The stream as it is now (or was, if it is gone).
    Stream(Arc<StreamInfo>),
    /// Streams, in the order asked for, or by name.
    Streams(Vec<PartResult<Arc<StreamInfo>>>),
    /// One for each part.
    Appended(Vec<PartResult<Appended>>),
    /// One for each part.
    Read(Vec<PartResult<ReadPart>>),
    /// One for each part.
    Sought(Vec<PartResult<Sought>>),
    /// One for each part: the ends after it.
    Trimmed(Vec<PartResult<Ends>>),
    /// See [`crate::op::Op::Records`].
    Records(RecordsAnswer),
    /// The number.
    Producer(u64),
    /// What the group says.
    Group(Result<GroupAnswer, GroupRefusal>),
    /// All groups, by name.
    Groups(Vec<Listed>),
    /// All users, by name.
    Accounts(Vec<AccountInfo>),
    /// What is known of the groups of a home.
    GroupChanges(GroupChanges),
    /// What the shared group says.
    Share(Result<ShareAnswer, ShareRefusal>),
}

/// Records for one subscription.
#[derive(Clone, Debug)]
pub struct Deliveries {
    /// Number of the session's subscription.
    pub subscription: u64,
    /// Where they came from; settles name it. `QueueId(0)` for direct replies, which are never settled.
    pub queue: QueueId,
    /// Memory that holds the records.
    pub blocks: Vec<Bytes>,
    /// In queue order.
    pub items: Vec<Delivery>,
}

/// One delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Index into [`Deliveries::blocks`].
    pub block: u32,
    /// Offset of the record in the block, bytes.
    pub at: u32,
    /// Length of the record, bytes.
    pub len: u32,
    /// Place in the queue.
    pub position: Position,
    /// It was delivered before.
    pub redelivered: bool,
    /// Earlier deliveries that failed and counted.
    pub failures: u32,
}

impl Deliveries {
    /// The record of `delivery`; empty if the ranges are not inside (which would be our mistake, not the client's).
    #[must_use]
    pub fn record(&self, delivery: &Delivery) -> &[u8] {
        self.blocks
            .get(delivery.block as usize)
            .and_then(|block| block.get(delivery.at as usize..)?.get(..delivery.len as usize))
            .unwrap_or(&[])
    }
}

/// What happens to a session without its asking.
#[derive(Clone, Debug)]
pub enum Wake {
    /// A subscription was ended by the server (its queue is gone, for example).
    Cancelled {
        /// Which.
        subscription: u64,
    },
    /// Something was appended to what a read watches (see [`crate::stream::Reads::watch`]), or one of its partitions is gone.
    Appended {
        /// Which watch.
        watch: u64,
    },
    /// Somebody listens to a watched subject now, or nobody does any more (see [`crate::live::Interest::Watch`]).
    Interest {
        /// Which watch.
        watch: u32,
        /// Whether somebody listens.
        is_there: bool,
    },
    /// Something for a taker of a shared group, or for who listens to them.
    Shared(Box<ShareNews>),
    /// A stream has stored records, and tells of them.
    Echo(Box<Echoes>),
    /// Publishers must stop: why.
    Blocked(String),
    /// Publishers may go on.
    Unblocked,
    /// The server ends before long: clients do well to go elsewhere.
    Leaving,
    /// The server or an operator wants the connection to end: why.
    Close(String),
    /// What had been written has left, or nearly: byte credit may be given back, held-back deliveries go on.
    Drained,
}
