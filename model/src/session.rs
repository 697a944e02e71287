//! The seam between the driver of a connection and its dialect's session.
//!
//! A session does no IO: bytes and time go in, bytes and submits come out. The driver owns the [`Outbox`] and empties it after
//! each call: first the submits, then the bytes.

use crate::id::{Now, PrincipalId, Ticket};
use crate::live::{Live, LiveHit, LiveView, SubjectGrants};
use crate::op::Submit;
use crate::outcome::{Deliveries, Outcome, Wake};
use crate::registry::{ScramHash, ScramSecret};
use crate::roll::{Clients, RollCall};
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;

/// A connection's protocol state.
pub trait Session {
    /// The connection is there, and nothing has come yet: for dialects whose server speaks first.
    fn greet(&mut self, _: Now, _: &mut Outbox) {}

    /// Called before the first [`Self::receive`] where clients may log in by the certificate that they show in TLS: the user that it names, or
    /// `None` if none was shown or it names nobody. A dialect without such a login has no use for it.
    fn certified(&mut self, _: Option<&str>) {}

    /// Takes input, as much of it as it can; returns how many bytes it is done with. The driver offers the rest again, with
    /// more behind it when more has come, after each [`Self::complete`], [`Self::authenticated`] or [`Self::expire`] (once the client
    /// has taken most of what was written), and at once if the session says [`Outbox::again`]: a session that must wait for an answer
    /// before it may go on parsing simply returns.
    fn receive(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> usize;

    /// The answer to a submit.
    fn complete(&mut self, now: Now, ticket: Ticket, outcome: Outcome, out: &mut Outbox);

    /// The answer to [`Outbox::authenticate`], but for [`Authenticate::Scram`]; it may take a while. Of a dialect whose clients can be looked
    /// at again (NATS), a session is told once more, unasked, when its user's rights have changed or it is nobody any more.
    fn authenticated(&mut self, now: Now, result: Result<Principal, Rejected>, out: &mut Outbox);

    /// The answer to [`Authenticate::Scram`]. A dialect that never asks is never told.
    fn scram(&mut self, _: Now, _: Result<ScramSecret, Rejected>, _: &mut Outbox) {}

    /// Called before [`Self::authenticated`] where the driver knows more of the principal: the namespace it is at home in, and what it
    /// may publish and listen to. A dialect without live interest has no use for it.
    fn admitted(&mut self, _: &str, _: Option<Arc<SubjectGrants>>) {}

    /// The answer to [`Outbox::roll_call`]. A dialect that never asks is never told.
    fn rolled(&mut self, _: Now, _: &Clients, _: &mut Outbox) {}

    /// Records for a subscription.
    fn deliver(&mut self, now: Now, batch: &Deliveries, out: &mut Outbox);

    /// Live publishes for subscriptions of this session, in order. A dialect that never listens is never told.
    fn live(&mut self, _: Now, _: LiveView<'_>, _: &[LiveHit], _: &mut Outbox) {}

    /// Items of this session's own that nobody heard and nothing stored, as far as it wants to be told
    /// ([`crate::live::LiveItem::tell_unheard`]); each with the session's own subscription that hears what is published to its reply
    /// subject.
    fn unheard(&mut self, _: Now, _: LiveView<'_>, _: &[LiveHit], _: &mut Outbox) {}

    /// Bytes it keeps of messages or requests that have not come whole: memory that its client takes without having asked for anything yet.
    fn unfinished_bytes(&self) -> usize {
        0
    }

    /// Something happened.
    fn wake(&mut self, now: Now, what: Wake, out: &mut Outbox);

    /// When [`Self::expire`] must be called if nothing else happens before.
    fn deadline(&self) -> Option<Now>;

    /// The deadline has come.
    fn expire(&mut self, now: Now, out: &mut Outbox);

    /// The client's own name for the connection and its product, for listings and flow; empty if unknown.
    fn client(&self) -> &str;

    /// The client and what it has done so far, for listings; with what it listens to, if that is asked for. `None`: the dialect keeps no such
    /// account.
    fn view(&self, _listens: bool) -> Option<ClientView> {
        None
    }
}

/// A client as its session knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientView {
    /// The number it was told.
    pub number: u64,
    /// What it calls itself.
    pub name: String,
    /// The language of its library.
    pub language: String,
    /// Its library's version.
    pub version: String,
    /// Who it is; empty until that is known.
    pub user: String,
    /// Where it works, as its dialect calls that.
    pub account: String,
    /// When something last came from it.
    pub heard: Now,
    /// How long it took to answer the last question whether it is there, microseconds.
    pub answered_in_us: Option<u64>,
    /// What it sent and got.
    pub traffic: Traffic,
    /// How many subscriptions it has.
    pub listens_count: u32,
    /// These, as far as they were asked for.
    pub listens: Vec<ListenView>,
}

/// What went through a session: messages, and bytes of headers and payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages it published.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages it was sent.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Subscriptions it has made.
    pub subscribed: u64,
}

impl Traffic {
    /// Adds another session's.
    pub fn add(&mut self, other: &Self) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
        self.subscribed += other.subscribed;
    }
}

/// What a client listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenView {
    /// The client's name for it.
    pub name: String,
    /// The subject, perhaps with wildcards.
    pub subject: String,
    /// The queue group.
    pub group: Option<String>,
}

/// Who the client has shown to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's number.
    pub id: PrincipalId,
    /// The user's name.
    pub name: String,
}

/// The client is not who it says. Deliberately without detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

/// A request to find out who the client is. The driver answers with [`Session::authenticated`] or, where it says so, with
/// [`Session::scram`]. A session asks again when a secret is updated.
#[derive(Clone, PartialEq, Eq)]
pub enum Authenticate {
    /// Check a password.
    Password {
        /// User name as given.
        user: String,
        /// Password as given; never printed.
        password: String,
    },
    /// Tell what is kept of a user's password for SCRAM (RFC 5802), so that the session can check the client's proof. Answer:
    /// [`Session::scram`].
    Scram {
        /// User name as given.
        user: String,
        /// By which hash.
        hash: ScramHash,
    },
    /// Check a token, which stands for a user.
    Token {
        /// As given; never printed.
        token: String,
    },
    /// Check that the holder of a public key signed something; the key stands for a user.
    Signature {
        /// The public key, in the text form of the dialect.
        key: String,
        /// What was to be signed: the session made it up.
        signed: String,
        /// The signature.
        signature: Vec<u8>,
    },
    /// The client has proved to the session that it is this user.
    Proven {
        /// The user.
        user: String,
    },
    /// The client says nothing of itself. Rejected unless the driver is set to take such clients for somebody.
    Nobody,
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Token { .. } => f.write_str("Token"),
            Self::Signature { key, .. } => {
                f.debug_struct("Signature").field("key", key).finish_non_exhaustive()
            }
            Self::Scram { user, hash } => {
                f.debug_struct("Scram").field("user", user).field("hash", hash).finish()
            }
            Self::Proven { user } => f.debug_struct("Proven").field("user", user).finish(),
            Self::Nobody => f.write_str("Nobody"),
        }
    }
}

/// What a session wants done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Bytes for the client.
    pub write: Output,
    /// What the bytes that [`Session::receive`] was given want of the live path; taken before the submits, and before anything else is
    /// received: an item's ranges are offsets into those bytes. Only `receive` adds to it.
    pub live: Live,
    /// Requests, in order.
    pub submits: Vec<Submit>,
    /// Find out who the client is.
    pub authenticate: Option<Authenticate>,
    /// Tell who is here; not again before the answer has come.
    pub roll_call: Option<RollCall>,
    /// End the connection after the bytes have left; the reason, for the log.
    pub close: Option<String>,
    /// What `receive` wants of the live path has to be done before it goes on: to be called again at once with the rest, if there is any.
    pub again: bool,
    /// `Some(true)`: do not read the socket until `Some(false)`.
    pub pause: Option<bool>,
}

/// Bytes on their way out: small ones copied, large ones shared.
#[derive(Debug, Default)]
pub struct Output {
    /// Pieces that nothing is added to any more, in order.
    done: Vec<Bytes>,
    /// What goes behind them.
    own: BytesMut,
    /// Shared pieces, each with the offset in `own` before which it goes.
    shared: Vec<(usize, Bytes)>,
    /// Bytes of all that is not in `own`.
    other_bytes: usize,
}

/// Copied bytes for which room was made are kept in pieces up to this size: each stays in a processor's cache until it is written.
const PIECE_BYTES: usize = 64 << 10;

impl Output {
    /// The buffer to append copied bytes to. What stands in it may be changed until room is made or everything is taken.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.own
    }

    /// Sees to it that `bytes` are appended without moving those before them. A piece that is begun for that has room for as many as
    /// there are already.
    pub fn make_room(&mut self, bytes: usize) {
        if self.own.capacity() - self.own.len() < bytes {
            self.end_pieces();
            self.own.reserve(self.other_bytes.min(PIECE_BYTES).max(bytes));
        }
    }

    /// Appends bytes without copying them. Pays from about 4 KB up.
    pub fn share(&mut self, bytes: Bytes) {
        self.other_bytes += bytes.len();
        self.shared.push((self.own.len(), bytes));
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.len() + self.other_bytes
    }

    /// Nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes everything, in order.
    pub fn take(&mut self, piece: impl FnMut(Bytes)) {
        self.end_pieces();
        self.other_bytes = 0;
        self.done.drain(..).for_each(piece);
    }

    fn end_pieces(&mut self) {
        self.other_bytes += self.own.len();
        let mut cut = 0;
        for (at, bytes) in self.shared.drain(..) {
            if at > cut {
                self.done.push(self.own.split_to(at - cut).freeze());
                cut = at;
            }
            self.done.push(bytes);
        }
        if !self.own.is_empty() {
            self.done.push(self.own.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_in_the_order_they_went_in() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"ab");
        output.share(Bytes::from_static(b"CD"));
        output.share(Bytes::from_static(b"EF"));
        output.buffer().extend_from_slice(b"gh");
        output.share(Bytes::from_static(b"I"));
        assert_eq!(output.len(), 9);
        let mut all = Vec::new();
        output.take(|piece| all.extend_from_slice(&piece));
        assert_eq!(all, b"abCDEFghI");
        assert!(output.is_empty());
    }

    #[test]
    fn what_has_room_is_never_moved_and_pieces_grow_with_what_is_there() {
        let mut output = Output::default();
        for _ in 0..300 {
            output.make_room(1_000);
            let place = output.buffer().as_ptr();
            output.buffer().extend_from_slice(&[7; 1_000]);
            assert_eq!(output.buffer().as_ptr(), place);
        }
        let mut pieces = Vec::new();
        output.take(|piece| pieces.push(piece.len()));
        assert_eq!(pieces.iter().sum::<usize>(), 300_000);
        assert_eq!(pieces[0], 1_000);
        assert!(pieces.len() < 16 && pieces.iter().all(|&piece| piece <= PIECE_BYTES), "{pieces:?}");
    }
}
