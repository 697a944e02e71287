//! The roll: which clients are here, and which were here of late.
//!
//! Made by the driver of connections, for those who look at the server from outside and for sessions that ask who else is in their account
//! ([`crate::session::Outbox::roll_call`]). Not here: what a client may see of others; a session asks for its own account only.

use crate::session::{ClientView, Traffic};
use std::net::SocketAddr;

/// Clients, for listings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Those who are here, and the last of those who were.
    pub lines: Vec<ClientLine>,
    /// What went through all who are gone.
    pub gone: Traffic,
}

/// A client, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLine {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Since when it is here, microseconds; of one who is gone, since when it was.
    pub open_us: u64,
    /// Since when nothing has come from it, microseconds.
    pub silent_us: u64,
    /// Bytes that wait to be taken by it.
    pub pending_bytes: u64,
    /// Why it is gone, and since when, microseconds.
    pub gone: Option<(String, u64)>,
    /// What its session knows.
    pub view: ClientView,
}

/// A session wants the roll of an account. Answer: [`crate::session::Session::rolled`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollCall {
    /// Whose clients, as [`ClientView::account`] calls it.
    pub account: String,
    /// With what they listen to.
    pub listens: bool,
}

impl Clients {
    /// Adds what another part of the server knows.
    pub fn add(&mut self, mut other: Self) {
        self.lines.append(&mut other.lines);
        self.gone.add(&other.gone);
    }
}
