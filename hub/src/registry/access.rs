//! What a user may do in a namespace: by its grant, compiled regular expressions of names as RabbitMQ's permissions, by its rights, one
//! by one as Kafka's lists of them, and with which keys of topic exchanges, as RabbitMQ's topic permissions.
//!
//! Made anew when either changes; a hub keeps the answers it got for as long as they are the same object.

use regex::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use stele_model::refusal::{Access, Object};
use stele_model::registry::{Grant, KeyGrant, Right};

/// The user that the server's own sessions are. No client can be it: names of users have no control characters on any wire.
pub const SYSTEM: &str = "\0system";

/// Most bytes that a compiled expression may take: bounds what one grant or policy can cost.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// The names that an expression matches.
#[derive(Clone, Debug)]
enum Names {
    /// Each one: nearly every grant is so, and is asked for each request.
    All,
    Like(Regex),
}

impl Names {
    /// An empty permission matches the empty name only, hence nothing.
    fn of(text: &str) -> Result<Self, String> {
        Ok(match text {
            ".*" => Self::All,
            "" => Self::Like(pattern("^$")?),
            text => Self::Like(pattern(text)?),
        })
    }

    fn contain(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Like(expression) => expression.is_match(name),
        }
    }
}

/// A grant, compiled, and rights.
#[derive(Clone, Debug)]
pub struct Permits {
    /// As given.
    pub grant: Grant,
    /// As given.
    pub rights: BTreeSet<Right>,
    /// By exchange.
    keys: BTreeMap<Box<str>, KeyPermits>,
    configure: Names,
    write: Names,
    read: Names,
}

/// A bound on keys, compiled.
#[derive(Clone, Debug)]
struct KeyPermits {
    grant: KeyGrant,
    write: Names,
    read: Names,
}

impl KeyPermits {
    fn of(grant: KeyGrant) -> Result<Self, (Access, String)> {
        let expression = |access, text: &str| {
            // What a name has of an expression's signs stands for itself.
            let named = text.replace("{username}", &regex::escape(&grant.user));
            let named = named.replace("{namespace}", &regex::escape(&grant.namespace));
            Names::of(&named).map_err(|why| (access, why))
        };
        let (write, read) =
            (expression(Access::Write, &grant.write)?, expression(Access::Read, &grant.read)?);
        Ok(Self { grant, write, read })
    }
}

impl Permits {
    /// Compiles a grant.
    ///
    /// # Errors
    /// Which of the expressions cannot be read, and why.
    pub fn of(grant: Grant, rights: BTreeSet<Right>) -> Result<Self, (Access, String)> {
        let expression = |access, text: &str| Names::of(text).map_err(|why| (access, why));
        Ok(Self {
            configure: expression(Access::Configure, &grant.configure)?,
            write: expression(Access::Write, &grant.write)?,
            read: expression(Access::Read, &grant.read)?,
            grant,
            rights,
            keys: BTreeMap::new(),
        })
    }

    /// The same with the bounds on keys of `other`.
    #[must_use]
    pub fn with_keys_of(mut self, other: Option<&Self>) -> Self {
        self.keys = other.map(|other| other.keys.clone()).unwrap_or_default();
        self
    }

    /// Bounds the keys of one exchange.
    ///
    /// # Errors
    /// Which of the expressions cannot be read, and why.
    pub fn put_keys(&mut self, grant: KeyGrant) -> Result<(), (Access, String)> {
        self.keys.insert(grant.exchange.as_str().into(), KeyPermits::of(grant)?);
        Ok(())
    }

    /// Bounds the keys of an exchange no more. `false`: they were not.
    pub fn remove_keys(&mut self, exchange: &str) -> bool {
        self.keys.remove(exchange).is_some()
    }

    /// All bounds on keys, by exchange.
    pub fn key_grants(&self) -> impl Iterator<Item = &KeyGrant> {
        self.keys.values().map(|keys| &keys.grant)
    }

    /// The bound on the keys of an exchange.
    #[must_use]
    pub fn key_grant(&self, exchange: &str) -> Option<&KeyGrant> {
        self.keys.get(exchange).map(|keys| &keys.grant)
    }

    /// Whether some exchange's keys are bounded.
    #[must_use]
    pub fn bounds_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a key of a topic exchange may be used: published with, or bound with.
    #[must_use]
    pub fn allows_key(&self, access: Access, exchange: &str, key: &[u8]) -> bool {
        let Some(keys) = self.keys.get(exchange) else { return true };
        let key = String::from_utf8_lossy(key);
        match access {
            Access::Write => keys.write.contain(&key),
            Access::Read => keys.read.contain(&key),
            Access::Configure => true,
        }
    }

    /// Those of [`SYSTEM`].
    pub(crate) fn everything() -> &'static Arc<Self> {
        static EVERYTHING: LazyLock<Arc<Permits>> = LazyLock::new(|| {
            let all = || ".*".to_owned();
            let (user, namespace) = (SYSTEM.to_owned(), String::new());
            let grant = Grant { user, namespace, configure: all(), write: all(), read: all() };
            Arc::new(Permits::of(grant, BTreeSet::new()).expect("these expressions can be read"))
        });
        &EVERYTHING
    }

    /// The grant of who is let in and may do nothing.
    #[must_use]
    pub fn nothing(user: String, namespace: String) -> Grant {
        let none = String::new;
        Grant { user, namespace, configure: none(), write: none(), read: none() }
    }

    /// Whether `access` to the object of this kind and name is granted. The default exchange goes by `amq.default`.
    #[must_use]
    pub fn allows(&self, access: Access, object: Object, name: &str) -> bool {
        let name = if name.is_empty() { "amq.default" } else { name };
        let granted = match access {
            Access::Configure => self.configure.contain(name),
            Access::Write => self.write.contain(name),
            Access::Read => self.read.contain(name),
        };
        granted || self.rights.iter().any(|right| right.verb.allows(access) && right.covers(object, name))
    }

    /// Whether the user may look at the object: who may do anything to it may.
    #[must_use]
    pub fn shows(&self, object: Object, name: &str) -> bool {
        let any = [Access::Read, Access::Write, Access::Configure];
        any.iter().any(|access| self.allows(*access, object, name))
            || self.rights.iter().any(|right| right.covers(object, name))
    }
}

/// Compiles an expression of an operator.
///
/// # Errors
/// Why it cannot be read. Look-around and back-references, which RabbitMQ's PCRE has, are among the reasons.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES_MAX).build();
    compiled.map_err(|error| error.to_string().lines().last().unwrap_or("invalid").to_owned())
}
