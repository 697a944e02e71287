//! Bytes to messages and back: Kafka's protocol guide, and the message definitions of the version we name.
//!
//! Called by the session and by nobody else outside tests. What must hold: nothing panics or reads past the input, no length is
//! believed before it is checked, what is decoded takes memory in proportion to the input. Read in this order: [`frame`] (a
//! request on the wire), [`api`] (which there are), [`generated`] (their fields), [`wire`] (the primitive types), [`produce`] and
//! [`fetch`] (the hot two, by hand). Not here: what a request means (session), the batches of records inside (crate `record`).

pub mod api;
pub mod fetch;
pub mod frame;
pub mod generated;
pub(crate) mod message;
#[cfg(test)]
mod oracle;
pub mod produce;
pub mod wire;

use std::fmt;

/// The octets are no message of this version: what is wrong. Ends the connection, as in Kafka: the two sides no longer agree on
/// what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot decode the request: {}", self.0)
    }
}
