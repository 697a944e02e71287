//! What a user may do in a namespace: by its grant, compiled regular expressions of names as RabbitMQ's permissions, and by its rights, one
//! by one as Kafka's lists of them.
//!
//! Made anew when either changes; a hub keeps the answers it got for as long as they are the same object.

use regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use stele_model::refusal::{Access, Object};
use stele_model::registry::{Grant, Right};

/// The user that the server's own sessions are. No client can be it: names of users have no control characters on any wire.
pub const SYSTEM: &str = "\0system";

/// Most bytes that a compiled expression may take: bounds what one grant or policy can cost.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// A grant, compiled, and rights.
#[derive(Clone, Debug)]
pub struct Permits {
    /// As given.
    pub grant: Grant,
    /// As given.
    pub rights: BTreeSet<Right>,
    configure: Regex,
    write: Regex,
    read: Regex,
}

impl Permits {
    /// Compiles a grant.
    ///
    /// # Errors
    /// Which of the expressions cannot be read, and why.
    pub fn of(grant: Grant, rights: BTreeSet<Right>) -> Result<Self, (Access, String)> {
        let expression = |access, text: &str| permission(text).map_err(|why| (access, why));
        Ok(Self {
            configure: expression(Access::Configure, &grant.configure)?,
            write: expression(Access::Write, &grant.write)?,
            read: expression(Access::Read, &grant.read)?,
            grant,
            rights,
        })
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
            Access::Configure => self.configure.is_match(name),
            Access::Write => self.write.is_match(name),
            Access::Read => self.read.is_match(name),
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

/// An empty permission matches the empty name only, hence nothing.
fn permission(text: &str) -> Result<Regex, String> {
    pattern(if text.is_empty() { "^$" } else { text })
}

/// Compiles an expression of an operator.
///
/// # Errors
/// Why it cannot be read. Look-around and back-references, which RabbitMQ's PCRE has, are among the reasons.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES_MAX).build();
    compiled.map_err(|error| error.to_string().lines().last().unwrap_or("invalid").to_owned())
}
