//! Groups: named shared reading state over streams: who is a member, who reads what, and how far each partition was read.
//!
//! The members agree among themselves (Kafka's classic protocol): each brings opaque metadata for each way of dividing that it knows; the
//! group chooses one that all know; one member, the leader, divides; the group passes each member its part. What the bytes mean is the
//! members' business. Members, generation and parts are logged when a generation is complete, positions when they are committed, so that
//! a restart does not make members join again; heartbeats are not logged, after a restart every member's time begins anew.
//!
//! A group lives on the shard of the partition of the internal stream that its name leads to, beside that partition (S12): which one, the
//! hub decides and tells by [`ShardGroup::home`].
//!
//! Nothing is stored in the partitions of the internal stream. Who wants to read them (tools do) is shown what the groups know instead:
//! whatever is logged of a group takes the next place of its home, and [`crate::op::Op::GroupChanges`] tells, in this order, what still holds,
//! as a log that keeps the last value of each key. The dialect writes it in the bytes that its clients expect.

use crate::id::{Call, HubId, Now, Position, QueueId, SessionId};
use crate::stream::PartitionRef;
use bytes::Bytes;

/// Name of the internal stream whose partitions are the homes of groups.
pub const GROUP_STREAM: &str = "__consumer_offsets";
/// How many homes.
pub const GROUP_HOMES: u32 = 50;

/// A request to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRequest {
    /// Its name.
    pub group: String,
    /// What.
    pub verb: GroupVerb,
}

/// Who speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRef {
    /// The generation it believes in; negative: none.
    pub generation: i32,
    /// Its number as the group gave it; empty: none yet.
    pub member: String,
    /// The name it keeps over restarts (static member).
    pub instance: Option<String>,
}

/// What can be asked of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupVerb {
    /// Become a member, or remain one in the next generation. Answer, when all have come or their time is over: [`GroupAnswer::Joined`].
    Join(Join),
    /// The leader brings the parts, others wait for theirs. Answer, when the leader has: [`GroupAnswer::Synced`].
    Sync {
        /// Who.
        of: MemberRef,
        /// Kind of protocol and its name as the member believes them to be; `None`: not said.
        protocol: (Option<String>, Option<String>),
        /// From the leader: each member's part.
        parts: Vec<(String, Bytes)>,
    },
    /// Still there. Answer: [`GroupAnswer::Unit`].
    Heartbeat {
        /// Who.
        of: MemberRef,
    },
    /// Leave. Answer: [`GroupAnswer::Left`].
    Leave {
        /// Who.
        members: Vec<Leaver>,
    },
    /// Remember how far partitions were read. Answer when durable: [`GroupAnswer::Committed`].
    Commit {
        /// Who; a negative generation: somebody who divides by hand, allowed while the group has no members.
        of: MemberRef,
        /// What.
        positions: Vec<Commit>,
    },
    /// How far partitions were read. Answer: [`GroupAnswer::Positions`].
    Positions {
        /// Which; `None`: all known.
        of: Option<Vec<PartitionRef>>,
    },
    /// Forget positions of streams that no member reads. Answer: [`GroupAnswer::Committed`]; a group with members of which nobody can tell
    /// what they read refuses it as [`GroupRefusal::NotEmpty`]. The hub names streams by name here, also those asked for by their stable number.
    Forget {
        /// Which.
        of: Vec<PartitionRef>,
    },
    /// Tell everything. Answer: [`GroupAnswer::Described`].
    Describe,
    /// Remove an empty group. Answer when durable: [`GroupAnswer::Unit`].
    Delete,
}

/// See [`GroupVerb::Join`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who; without a member number, give one.
    pub of: MemberRef,
    /// A new member without an instance is first told its number ([`GroupRefusal::MemberIdRequired`]) and joins with it.
    pub number_first: bool,
    /// The client's name for itself.
    pub client: String,
    /// Its address.
    pub host: String,
    /// Without a heartbeat for so long it is gone, milliseconds.
    pub session_ms: u32,
    /// How long others wait for it to join a new generation, milliseconds.
    pub rebalance_ms: u32,
    /// What kind of protocol; never interpreted.
    pub kind: String,
    /// The ways of dividing that it knows, best first, each with its metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// Names of the streams that it means to read, as its dialect finds them in the metadata; `None`: nobody can tell. What members read
    /// is not forgotten (see [`GroupVerb::Forget`]).
    pub reads: Option<Vec<String>>,
}

/// See [`GroupVerb::Leave`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// Its number; empty if it is named by its instance.
    pub member: String,
    /// The name it keeps.
    pub instance: Option<String>,
}

/// See [`GroupVerb::Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Of which partition.
    pub of: PartitionRef,
    /// The next position to read; told again as it was said, whatever it is.
    pub position: Position,
    /// The partition's epoch when it was read; negative: not said.
    pub epoch: i32,
    /// The client's remark.
    pub metadata: String,
}

/// What a group answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAnswer {
    /// Done.
    Unit,
    /// A generation begins.
    Joined {
        /// Its number.
        generation: i32,
        /// Kind of protocol.
        kind: String,
        /// The way of dividing that was chosen.
        protocol: String,
        /// Who divides.
        leader: String,
        /// Who was asked for.
        member: String,
        /// For the leader: all members with instance and metadata. Else empty.
        members: Vec<(String, Option<String>, Bytes)>,
        /// For a leader that came back under its instance: the parts still stand, it need not divide.
        keep_parts: bool,
    },
    /// A member's part.
    Synced {
        /// Kind of protocol.
        kind: String,
        /// The way of dividing.
        protocol: String,
        /// The part.
        part: Bytes,
    },
    /// For each who leaves: gone, or why not.
    Left(Vec<Result<(), GroupRefusal>>),
    /// For each position: remembered (or forgotten), or why not.
    Committed(Vec<Result<(), crate::refusal::Refusal>>),
    /// The positions, with the stream's present name; those asked for that are unknown are left out.
    Positions(Vec<Commit>),
    /// Everything.
    Described(Described),
}

/// A group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state.
    pub state: GroupState,
    /// Kind of protocol.
    pub kind: String,
    /// The way of dividing in force.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its number.
    pub member: String,
    /// The name it keeps.
    pub instance: Option<String>,
    /// The client's name.
    pub client: String,
    /// Its address.
    pub host: String,
    /// What it brought for the way of dividing in force.
    pub metadata: Bytes,
    /// Its part.
    pub part: Bytes,
}

/// Where a group is between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members; positions perhaps.
    Empty,
    /// Waiting for members to join.
    Joining,
    /// Waiting for the leader to divide.
    Dividing,
    /// Every member has its part.
    Stable,
    /// There is no such group.
    Dead,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub group: String,
    /// Kind of protocol.
    pub kind: String,
    /// Its state.
    pub state: GroupState,
}

/// Why a group does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRefusal {
    /// No member of that number.
    UnknownMember,
    /// Join with this number.
    MemberIdRequired(String),
    /// Another generation is in force.
    IllegalGeneration,
    /// A new generation begins: join again.
    Rebalancing,
    /// Another member has taken over the instance.
    FencedInstance,
    /// The member knows no way of dividing that all others know, or another kind of protocol.
    InconsistentProtocol,
    /// The session time is not within bounds.
    SessionTime,
    /// It has members.
    NotEmpty,
    /// There is no such group.
    Unknown,
    /// It has as many members as it may.
    Full,
    /// Its members read the stream.
    Subscribed,
    /// The remark, or what the leader brought, is too long.
    MetadataTooLarge,
    /// The name of the group, or of the member's instance, is not possible (empty, too long).
    InvalidName,
}

/// What is known of the groups of a home, by [`crate::op::Op::GroupChanges`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChanges {
    /// The place after the last one.
    pub end: Position,
    /// What still holds, by place.
    pub changes: Vec<GroupChange>,
}

/// One thing known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    /// Its place among all that was logged of the groups of this home: grows, never used again.
    pub at: Position,
    /// When it was logged.
    pub time: Now,
    /// The group.
    pub group: String,
    /// What.
    pub what: Known,
}

/// See [`GroupChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// How far a partition was read. Between shard and hub the stream has no name, see [`KnownChange`].
    Position(Commit),
    /// The last generation that is complete.
    Generation(KnownGeneration),
}

/// A generation that is complete. Without members the group is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownGeneration {
    /// Its number.
    pub generation: i32,
    /// Kind of protocol.
    pub kind: String,
    /// The way of dividing; empty without members.
    pub protocol: String,
    /// Who divided; empty without members.
    pub leader: String,
    /// Its members, with [`Join::session_ms`] and [`Join::rebalance_ms`] of each.
    pub members: Vec<(DescribedMember, u32, u32)>,
}

// What follows is between hubs and shards.

/// A request to a group, its partitions resolved. Answer: `Answer::Group`, perhaps much later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardGroup {
    /// Who asks; its join is forgotten with it.
    pub session: SessionId,
    /// Who is answered.
    pub hub: HubId,
    /// Number for the answer.
    pub call: Call,
    /// The partition of [`GROUP_STREAM`] where the group lives.
    pub home: QueueId,
    /// The group's name.
    pub group: String,
    /// What. Partitions are named by their numbers in `partitions`, in the order in which the verb names them.
    pub verb: GroupVerb,
    /// The partitions that the verb names; `None`: there is no such one.
    pub partitions: Vec<Option<QueueId>>,
    /// For a join: the partitions of each stream of [`Join::reads`], in its order; of one that is not there, none.
    pub reads: Vec<Vec<QueueId>>,
}

/// Positions as a shard knows them: by number of the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPosition {
    /// Which partition.
    pub partition: QueueId,
    /// See [`Commit::position`].
    pub position: Position,
    /// See [`Commit::epoch`].
    pub epoch: i32,
    /// See [`Commit::metadata`].
    pub metadata: String,
}

/// A shard's answer about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardGroupAnswer {
    /// As it is.
    Plain(GroupAnswer),
    /// Positions, whose streams the hub names.
    Positions(Vec<KnownPosition>),
    /// All groups of a home.
    Listed(Vec<Listed>),
    /// What is known of the groups of a home, whose streams the hub names: the place after the last one, and what still holds, by place.
    Changes(Position, Vec<KnownChange>),
}

/// As [`GroupChange`], positions by number of the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownChange {
    /// See [`GroupChange::at`].
    pub at: Position,
    /// See [`GroupChange::time`].
    pub time: Now,
    /// See [`GroupChange::group`].
    pub group: String,
    /// See [`GroupChange::what`].
    pub what: Result<KnownPosition, KnownGeneration>,
}
