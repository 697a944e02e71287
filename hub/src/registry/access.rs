//! Grants, compiled: what a user may do in a namespace, by regular expressions of names as RabbitMQ's permissions.
//!
//! Compiled once, when the grant is made; a hub keeps the answers it got for as long as the grant is the same object.

use regex::{Regex, RegexBuilder};
use stele_model::refusal::Access;
use stele_model::registry::Grant;

/// Most bytes that a compiled expression may take: bounds what one grant or policy can cost.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// One grant, compiled.
#[derive(Clone, Debug)]
pub struct Permits {
    /// As given.
    pub grant: Grant,
    configure: Regex,
    write: Regex,
    read: Regex,
}

impl Permits {
    /// Compiles a grant.
    ///
    /// # Errors
    /// Which of the expressions cannot be read, and why.
    pub fn of(grant: Grant) -> Result<Self, (Access, String)> {
        let expression = |access, text: &str| permission(text).map_err(|why| (access, why));
        Ok(Self {
            configure: expression(Access::Configure, &grant.configure)?,
            write: expression(Access::Write, &grant.write)?,
            read: expression(Access::Read, &grant.read)?,
            grant,
        })
    }

    /// Whether `access` to the object of this name is granted. The default exchange goes by `amq.default`.
    #[must_use]
    pub fn allows(&self, access: Access, name: &str) -> bool {
        let name = if name.is_empty() { "amq.default" } else { name };
        match access {
            Access::Configure => self.configure.is_match(name),
            Access::Write => self.write.is_match(name),
            Access::Read => self.read.is_match(name),
        }
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
