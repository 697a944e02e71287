//! What hubs and operators ask of the registry, and what it has to tell.

use crate::id::{Boot, Call, ExchangeId, HubId, NamespaceId, QueueId, Revision, SessionId, ShardId};
use crate::op::Define;
use crate::outcome::Done;
use crate::queue::QueueSpec;
use crate::refusal::{Access, Object, Refusal};
use crate::session::Principal;
use crate::stream::PartitionSpec;
use crate::value::Arguments;
use std::sync::Arc;

/// A request to the registry.
#[derive(Clone, Debug)]
pub enum RegistryOp {
    /// A session's work on definitions. Answer: [`RegistryEffect::Answer`] when it is durable here and at the shards it concerns,
    /// and after the snapshot that shows it was published (S11). Deleting a queue does not come here: see
    /// [`crate::shard::ShardOp::Close`].
    Define {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Whose request.
        session: SessionId,
        /// On whose grants.
        principal: Principal,
        /// The namespace's name.
        namespace: String,
        /// What.
        define: Define,
    },
    /// A hub needs the internal stream of a namespace where groups live ([`crate::group::GROUP_STREAM`]). Answer: `Done::Stream`, at
    /// once if it is there.
    GroupStream {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Where.
        namespace: NamespaceId,
    },
    /// An operator's work: users, grants, namespaces, policies. Same answer; `hub` and `call` as the driver likes them.
    Administer {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// What.
        change: Change,
    },
    /// From a shard: see [`crate::shard::ShardEffect::Closing`].
    Closing {
        /// Which queue.
        queue: QueueId,
    },
    /// From a shard: see [`crate::shard::ShardEffect::Applied`].
    Applied {
        /// By whom.
        shard: ShardId,
        /// What.
        revision: Revision,
        /// The queue, if it was about one.
        queue: Option<QueueId>,
    },
    /// A session is gone: what it owns is removed (S12).
    SessionGone {
        /// Which.
        session: SessionId,
    },
}

/// An operator's change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Make a namespace; being there is fine.
    PutNamespace {
        /// Name.
        name: String,
        /// Most queues in it.
        queues_max: Option<u64>,
        /// Most connections to it.
        connections_max: Option<u64>,
    },
    /// Remove a namespace and all in it.
    DeleteNamespace {
        /// Name.
        name: String,
    },
    /// Make or change a user.
    PutUser(User),
    /// Remove a user and its grants.
    DeleteUser {
        /// Name.
        name: String,
    },
    /// Keep this of a user's password for SCRAM, in place of what is kept for the same hash. The user is made if it is not there.
    PutScram {
        /// The user.
        user: String,
        /// What.
        secret: ScramSecret,
    },
    /// Forget what is kept of a user's password for SCRAM with this hash.
    DeleteScram {
        /// The user.
        user: String,
        /// Which.
        hash: ScramHash,
    },
    /// Give a user grants in a namespace, in place of earlier ones; its rights stay.
    PutGrant(Grant),
    /// Take the grants and rights of a user in a namespace away.
    DeleteGrant {
        /// The user.
        user: String,
        /// The namespace.
        namespace: String,
    },
    /// Bound the keys that a user may use with a topic exchange, in place of an earlier bound. The user must have a grant in the namespace.
    PutKeyGrant(KeyGrant),
    /// Take such a bound away; not having it is fine.
    DeleteKeyGrant {
        /// The user.
        user: String,
        /// The namespace.
        namespace: String,
        /// The exchange.
        exchange: String,
    },
    /// Let a user into a namespace; without a grant it may do nothing there. Being let in is fine.
    Admit {
        /// The user.
        user: String,
        /// The namespace.
        namespace: String,
    },
    /// Give a right, beside the user's grant; having it is fine. The user is made if it is not there, and let into the namespace.
    PutRight(Right),
    /// Take a right away; not having it is fine.
    DeleteRight(Right),
    /// Make or change a policy.
    PutPolicy(Policy),
    /// Remove a policy.
    DeletePolicy {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// An operator's policy.
        operator: bool,
    },
}

/// A user. The hash is RabbitMQ's form, so that its definitions can be taken over: base64 of a 4-byte salt and
/// SHA-256(salt ‖ password).
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// The salted hash; empty: no password lets in.
    pub password_hash: String,
    /// Tags, such as `administrator`.
    pub tags: Vec<String>,
    /// What is kept of the password for SCRAM, at most one for each hash.
    pub scram: Vec<ScramSecret>,
}

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramHash {
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

/// What a server keeps of a password for SCRAM (RFC 5802, 3): enough to check a proof and to prove that it knows the user, and not
/// enough to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// By which hash.
    pub hash: ScramHash,
    /// Random.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2, at least 4096.
    pub iterations: u32,
    /// H(client key).
    pub stored_key: Vec<u8>,
    /// HMAC(salted password, "Server Key").
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramSecret")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// A user as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountInfo {
    /// Name.
    pub name: String,
    /// Tags.
    pub tags: Vec<String>,
    /// For which hashes something is kept for SCRAM, and with how many iterations.
    pub scram: Vec<(ScramHash, u32)>,
    /// Its grants, by namespace.
    pub grants: Vec<Grant>,
    /// Its rights, by namespace.
    pub rights: Vec<Right>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// Regular expressions of object names, as RabbitMQ's permissions: matched anywhere unless anchored; empty matches nothing
/// but the empty name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The user.
    pub user: String,
    /// The namespace.
    pub namespace: String,
    /// What it may configure.
    pub configure: String,
    /// What it may write to.
    pub write: String,
    /// What it may read from.
    pub read: String,
}

/// Which keys a user may publish to a topic exchange with, and bind to it with: regular expressions as RabbitMQ's topic permissions, beside
/// what its [`Grant`] allows. `{username}` and `{namespace}` stand for the names of the user and of the namespace. A user may use any key with
/// an exchange for which it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// The user.
    pub user: String,
    /// The namespace.
    pub namespace: String,
    /// The exchange; it need not be there, and only matters if it is a topic exchange.
    pub exchange: String,
    /// Keys to publish with.
    pub write: String,
    /// Keys to bind with.
    pub read: String,
}

/// One thing that a user may do to objects of a kind, beside what its [`Grant`] allows: kept and told as it was given (Kafka: a rule of an
/// access control list that allows).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The namespace.
    pub namespace: String,
    /// The user.
    pub user: String,
    /// To what kind of object.
    pub object: Object,
    /// The object's name; `*` for all of the kind.
    pub name: String,
    /// It is the beginning of a name.
    pub is_prefix: bool,
    /// What.
    pub verb: Verb,
}

/// What a [`Right`] lets a user do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// All of the following.
    All,
    /// Read records and positions.
    Read,
    /// Append records.
    Write,
    /// Make it.
    Create,
    /// Remove it, or records in it.
    Delete,
    /// Change it otherwise than by its settings.
    Alter,
    /// Look at it.
    Describe,
    /// Change its settings.
    AlterSettings,
    /// Look at its settings.
    DescribeSettings,
}

impl Verb {
    /// Whether it allows an access. Nothing but looking follows from [`Verb::Describe`] and [`Verb::DescribeSettings`]; who may do anything to
    /// an object may look at it.
    #[must_use]
    pub fn allows(self, access: Access) -> bool {
        match self {
            Self::All => true,
            Self::Read => access == Access::Read,
            Self::Write => access == Access::Write,
            Self::Create | Self::Delete | Self::Alter | Self::AlterSettings => access == Access::Configure,
            Self::Describe | Self::DescribeSettings => false,
        }
    }
}

impl Right {
    /// Whether it is about the object of this kind and name.
    #[must_use]
    pub fn covers(&self, object: Object, name: &str) -> bool {
        let named =
            if self.is_prefix { name.starts_with(&self.name) } else { self.name == name || self.name == "*" };
        self.object == object && named
    }
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AppliesTo {
    /// Queues and exchanges.
    All,
    /// All queues.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Exchanges.
    Exchanges,
}

/// Settings for all objects whose name matches; of several the one with the highest priority. An operator's policy is merged
/// with a user's, the stricter limit wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Regular expression.
    pub pattern: String,
    /// What it applies to.
    pub applies_to: AppliesTo,
    /// Higher wins.
    pub priority: i64,
    /// An operator's policy.
    pub operator: bool,
    /// Settings by RabbitMQ's policy keys, such as `max-length`.
    pub definition: Arguments,
}

/// What the registry has to tell.
#[derive(Clone, Debug)]
pub enum RegistryEffect {
    /// The newest snapshot is to be published to every hub, before any later effect is carried out. The driver takes it from the
    /// machine.
    Publish {
        /// Its revision.
        revision: Revision,
    },
    /// To a hub.
    Answer {
        /// Who.
        hub: HubId,
        /// Which.
        call: Call,
        /// What.
        answer: Result<Done, Refusal>,
    },
    /// To a shard.
    Put {
        /// Which.
        shard: ShardId,
        /// This change.
        revision: Revision,
        /// The queue.
        queue: Arc<QueueSpec>,
    },
    /// To a shard.
    Drop {
        /// Which.
        shard: ShardId,
        /// This change.
        revision: Revision,
        /// The queue.
        queue: QueueId,
    },
    /// To a shard, at the start.
    Sync {
        /// Which.
        shard: ShardId,
        /// The present revision.
        revision: Revision,
        /// This start.
        boot: Boot,
        /// Its queues.
        queues: Vec<Arc<QueueSpec>>,
        /// Its partitions.
        partitions: Vec<PartitionSpec>,
    },
    /// To a shard. It goes by [`RegistryEffect::Drop`].
    PutPartition {
        /// Which.
        shard: ShardId,
        /// This change.
        revision: Revision,
        /// The partition.
        partition: PartitionSpec,
    },
    /// To a shard: close a queue whose owner is gone, or that lost its namespace. See [`crate::shard::ShardOp::Close`].
    Close {
        /// Which.
        shard: ShardId,
        /// The queue.
        queue: QueueId,
    },
    /// An exchange with `auto_delete` lost its last rule and is gone: for listings and logs.
    ExchangeGone {
        /// Which.
        exchange: ExchangeId,
    },
}
