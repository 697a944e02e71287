//! Pure matching: which rules of one exchange take a record. Called by [`resolve`], changed by the registry rule by rule.
//!
//! What must hold: adding or removing a rule is O(log n) and leaves clones as they were (S11); matching allocates nothing for
//! the usual small sets; a rule is the same whatever the order in which its neighbours came. Not here: which exchange and which
//! grants (the hub), and what a name stands for (the registry).

pub mod captures;
pub mod headers;
pub mod partition;
pub mod resolve;
pub mod trie;

use crate::map::Map;
use bytes::Bytes;
use headers::HeaderMatch;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use stele_model::id::{ExchangeId, QueueId, ShardId};
use stele_model::value::Arguments;
use trie::Trie;

/// How an exchange chooses among its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExchangeKind {
    /// The rule's key is the record's.
    Direct,
    /// The rule's key is a pattern of words.
    Topic,
    /// Every rule.
    Fanout,
    /// The rule's arguments match the record's headers.
    Headers,
}

impl ExchangeKind {
    /// The word that clients use for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
        }
    }

    /// The kind a client means by `word`.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Direct, Self::Topic, Self::Fanout, Self::Headers].into_iter().find(|kind| kind.word() == word)
    }
}

/// Where a rule leads. What is said of a queue never changes, so that matching need not look the queue up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a queue.
    Queue {
        /// Which.
        id: QueueId,
        /// The shard it lives on.
        shard: ShardId,
        /// Persistent records in it outlive a restart.
        durable: bool,
    },
    /// To another exchange.
    Exchange {
        /// Which.
        id: ExchangeId,
        /// Its name.
        name: Arc<str>,
    },
}

impl Target {
    /// Its number, by kind.
    #[must_use]
    pub fn id(&self) -> TargetId {
        match self {
            Self::Queue { id, .. } => TargetId::Queue(*id),
            Self::Exchange { id, .. } => TargetId::Exchange(*id),
        }
    }
}

/// What tells one target from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetId {
    /// A queue.
    Queue(QueueId),
    /// An exchange.
    Exchange(ExchangeId),
}

/// A rule as its exchange holds it. Two are the same if target, key and arguments are.
#[derive(Clone, Debug)]
pub struct BoundRule {
    /// Where it leads.
    pub target: Target,
    /// Routing key or pattern.
    pub key: Bytes,
    /// Arguments as given.
    pub arguments: Arguments,
    /// `arguments` in the registry's own encoding: equal bytes, equal arguments.
    pub encoded: Bytes,
    /// `arguments` as a headers exchange understands them.
    pub headers: HeaderMatch,
}

impl PartialEq for BoundRule {
    fn eq(&self, other: &Self) -> bool {
        self.target.id() == other.target.id() && self.key == other.key && self.encoded == other.encoded
    }
}

impl Eq for BoundRule {}

impl Hash for BoundRule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target.id().hash(state);
        self.key.hash(state);
        self.encoded.hash(state);
    }
}

/// A set of rules.
pub type Rules = Map<Arc<BoundRule>, ()>;

/// The rules of one exchange, arranged for matching.
#[derive(Clone)]
pub enum Router {
    /// By key.
    Direct(Map<Bytes, Ended>),
    /// By pattern.
    Topic(Trie),
    /// All, always.
    Fanout(Rules),
    /// By headers; looked at one after the other.
    Headers(Rules),
}

impl Router {
    /// Without rules.
    #[must_use]
    pub fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(Map::default()),
            ExchangeKind::Topic => Self::Topic(Trie::default()),
            ExchangeKind::Fanout => Self::Fanout(Map::default()),
            ExchangeKind::Headers => Self::Headers(Map::default()),
        }
    }

    /// Adds a rule that is not there.
    pub fn add(&mut self, rule: Arc<BoundRule>) {
        match self {
            Self::Direct(keys) => match keys.get_mut(&rule.key) {
                Some(ended) => ended.add(rule),
                None => {
                    keys.insert(rule.key.clone(), Ended::One(rule));
                }
            },
            Self::Topic(trie) => trie.add(rule),
            Self::Fanout(rules) | Self::Headers(rules) => {
                rules.insert(rule, ());
            }
        }
    }

    /// Removes a rule; not being there is fine.
    pub fn remove(&mut self, rule: &BoundRule) {
        match self {
            Self::Direct(keys) => {
                let Some(ended) = keys.get_mut(&rule.key) else { return };
                ended.remove(rule);
                if ended.is_empty() {
                    keys.remove(&rule.key);
                }
            }
            Self::Topic(trie) => trie.remove(rule),
            Self::Fanout(rules) | Self::Headers(rules) => {
                rules.remove(rule);
            }
        }
    }

    /// Whether it has no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Direct(keys) => keys.is_empty(),
            Self::Topic(trie) => trie.is_empty(),
            Self::Fanout(rules) | Self::Headers(rules) => rules.is_empty(),
        }
    }

    /// Hands every rule that takes a record with this key and these headers to `found`, each once.
    pub fn matching<'a>(
        &'a self,
        key: &[u8],
        headers: stele_record::table::Table<'_>,
        mut found: impl FnMut(&'a Arc<BoundRule>),
    ) {
        match self {
            Self::Direct(keys) => {
                if let Some(ended) = keys.get(key) {
                    ended.each(&mut found);
                }
            }
            Self::Topic(trie) => trie.matching(key, found),
            Self::Fanout(rules) => rules.iter().for_each(|(rule, ())| found(rule)),
            Self::Headers(rules) => {
                rules
                    .iter()
                    .filter(|(rule, ())| rule.headers.takes(headers))
                    .for_each(|(rule, ())| found(rule));
            }
        }
    }
}

/// Rules that end at one place; nearly always there is one.
#[derive(Clone, Default)]
pub enum Ended {
    /// None.
    #[default]
    None,
    /// One.
    One(Arc<BoundRule>),
    /// Any number.
    Many(Rules),
}

impl Ended {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(rules) => rules.is_empty(),
        }
    }

    fn add(&mut self, rule: Arc<BoundRule>) {
        match std::mem::take(self) {
            Self::None => *self = Self::One(rule),
            Self::One(first) => {
                let mut rules = Rules::default();
                rules.insert(first, ());
                rules.insert(rule, ());
                *self = Self::Many(rules);
            }
            Self::Many(mut rules) => {
                rules.insert(rule, ());
                *self = Self::Many(rules);
            }
        }
    }

    fn remove(&mut self, rule: &BoundRule) {
        match self {
            Self::None => {}
            Self::One(only) if **only == *rule => *self = Self::None,
            Self::One(_) => {}
            Self::Many(rules) => {
                rules.remove(rule);
            }
        }
    }

    fn each<'a>(&'a self, found: &mut impl FnMut(&'a Arc<BoundRule>)) {
        match self {
            Self::None => {}
            Self::One(rule) => found(rule),
            Self::Many(rules) => rules.iter().for_each(|(rule, ())| found(rule)),
        }
    }
}

#[cfg(test)]
mod tests;
