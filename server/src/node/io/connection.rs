//! One connection of an IO thread: its socket, its session, and the bytes between them.

use super::budget::Share;
use super::login::{Checking, Login};
use super::message::{Arrival, Dialect, Patience};
use super::pace::{Brought, Pace};
use super::transport::Transport;
use super::unread::Asked;
use crate::node::seats::Seat;
use bytes::{Buf, Bytes, BytesMut};
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use stele_model::id::{Now, SessionId};
use stele_model::session::{Outbox, Session};

/// Pieces handed to one write.
const PIECES_MAX: usize = 64;

/// Bytes written to one connection in one turn: others wait meanwhile.
const TURN_BYTES_MAX: usize = 256 << 10;

/// Reads in a row of a connection that is read in paces.
const PACED_READS_MAX: usize = 16;

pub(super) struct Connection {
    pub(super) id: SessionId,
    pub(super) dialect: Dialect,
    pub(super) session: Box<dyn Session + Send>,
    pub(super) outbox: Outbox,
    /// Input the session was not done with.
    pub(super) tail: BytesMut,
    /// The kernel said that there is something, and nobody has found the end of it yet.
    pub(super) readable: bool,
    /// When it is read.
    pub(super) pace: Pace,
    /// What the last read of it brought.
    pub(super) brought: Brought,
    /// Its last read was a long one.
    pub(super) floods: bool,
    /// It was delivered to since its last read, so what it says next may be what somebody waits for.
    pub(super) heard: bool,
    /// The kernel is asked not to tell when there is something to read.
    pub(super) is_deaf: bool,
    /// The kernel said that the client's end of it is closed, or broken: what is left is to be read to the end.
    pub(super) is_ending: bool,
    /// The session does not want to be read.
    pub(super) paused: bool,
    /// The session may be able to go on with its tail.
    pub(super) resume: bool,
    /// Deliveries were made since the session was last told that its bytes have left.
    pub(super) undrained: bool,
    /// Since when it waits to be written.
    pub(super) dirty: Option<Now>,
    /// We are done; the client may still be reading.
    pub(super) lingering: bool,
    /// Since when the kernel takes nothing, although something waits.
    pub(super) stuck: Option<Now>,
    /// The deadline in force.
    pub(super) armed: Option<Now>,
    /// What it has begun to send and not finished, as far as that is counted.
    pub(super) unfinished: Share,
    /// What it has asked for by reads.
    pub(super) asked: Asked,
    /// What it has asked for by reads and not taken, as far as that is counted.
    pub(super) unread: Share,
    /// Its right to be here, and in its namespace; given back when it is dropped. `None`: it is the server's own.
    pub(super) seat: Option<Seat>,
    /// Where it comes from, and since when it is here; `None`: it is the server's own.
    pub(super) peer: Option<(SocketAddr, Now)>,
    /// Who its client is.
    pub(super) login: Option<Login>,
    /// What is being found out of that.
    pub(super) checking: Option<Checking>,
    transport: Transport,
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
}

/// What came of a write.
pub(super) struct Flushed {
    /// So many bytes were taken.
    pub(super) bytes: usize,
    /// There is more, which the kernel may take: the turn is over.
    pub(super) more: bool,
}

pub(super) enum ReadEnd {
    /// So much of the buffer is the session's input; so many bytes of it are new.
    Bytes {
        input: usize,
        bytes: usize,
    },
    Nothing,
    Closed(String),
}

impl Connection {
    pub(super) fn open(
        id: SessionId,
        arrival: Arrival,
        session: Box<dyn Session + Send>,
        registry: &Registry,
        (token, now): (Token, Now),
    ) -> io::Result<Self> {
        let Arrival { mut socket, security, dialect, seat, peer } = arrival;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut connection =
            Self::new((id, dialect), session, Some(seat), Transport::new(socket, security, now)?);
        connection.peer = Some((peer, now));
        Ok(connection)
    }

    /// A session of the server's own: it has no socket.
    pub(super) fn inner(id: SessionId, dialect: Dialect, session: Box<dyn Session + Send>) -> Self {
        Self::new((id, dialect), session, None, Transport::none())
    }

    fn new(
        (id, dialect): (SessionId, Dialect),
        session: Box<dyn Session + Send>,
        seat: Option<Seat>,
        transport: Transport,
    ) -> Self {
        Self {
            id,
            dialect,
            session,
            outbox: Outbox::default(),
            tail: BytesMut::new(),
            readable: false,
            pace: Pace::default(),
            brought: Brought::default(),
            floods: false,
            heard: false,
            is_deaf: false,
            is_ending: false,
            paused: false,
            resume: false,
            undrained: false,
            dirty: None,
            lingering: false,
            stuck: None,
            armed: None,
            unfinished: Share::default(),
            asked: Asked::default(),
            unread: Share::default(),
            seat,
            peer: None,
            login: None,
            checking: None,
            transport,
            pending: VecDeque::new(),
            pending_bytes: 0,
        }
    }

    /// Whether it is the server's own.
    pub(super) fn is_inner(&self) -> bool {
        self.seat.is_none()
    }

    /// Reads once, up to `bytes_max` bytes, behind what the session left: so that a frame is always in one piece. `buffer` has space for
    /// both; how much of it is the session's input, and how much of that has just come. Who is read in paces is read until nothing is left:
    /// what a client's kernel has gathered comes piece by piece, each when the one before was taken.
    pub(super) fn read(&mut self, buffer: &mut [u8], bytes_max: usize) -> ReadEnd {
        let kept = self.tail.len();
        let Some(space) = buffer.get_mut(kept..kept + bytes_max) else { return ReadEnd::Nothing };
        let reads_max = if self.pace.due().is_some() { PACED_READS_MAX } else { 1 };
        let mut bytes = 0;
        for _ in 0..reads_max {
            match self.transport.read(&mut space[bytes..]) {
                // The end is found again by the next read.
                Ok(0) if bytes == 0 => return ReadEnd::Closed("the client closed the connection".to_owned()),
                Ok(0) => break,
                Ok(more) => bytes += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if bytes == 0 => return ReadEnd::Closed(error.to_string()),
                Err(_) => break,
            }
            if bytes == bytes_max {
                break;
            }
        }
        if bytes == 0 {
            return ReadEnd::Nothing;
        }
        if let Some(user) = self.transport.certified() {
            self.session.certified(user.as_deref());
        }
        let tail = std::mem::take(&mut self.tail);
        buffer[..kept].copy_from_slice(&tail);
        ReadEnd::Bytes { input: kept + bytes, bytes }
    }

    /// Whether a read that was not full has left nothing, so that the kernel tells of whatever comes then. Not so with TLS, which may hold
    /// something back, or when the end has come, of which it has told already.
    pub(super) fn tells_of_more(&self) -> bool {
        !self.is_ending && self.transport.is_plain()
    }

    /// Whether what comes is still for the session.
    pub(super) fn takes_input(&self) -> bool {
        !self.lingering && self.outbox.close.is_none()
    }

    pub(super) fn unwritten(&self) -> usize {
        self.pending_bytes + self.outbox.write.len()
    }

    /// Whether what it is sent may wait for more: live publishes, and no last words.
    pub(super) fn may_gather(&self) -> bool {
        self.dialect.is_live() && self.outbox.close.is_none()
    }

    pub(super) fn wants_write(&self) -> bool {
        self.unwritten() > 0 || self.outbox.close.is_some() || self.transport.wants_write()
    }

    /// Writes as much as the kernel takes, or as a turn may cost; returns how many bytes that was.
    pub(super) fn flush(&mut self, now: Now) -> io::Result<Flushed> {
        let (pending, pending_bytes) = (&mut self.pending, &mut self.pending_bytes);
        self.outbox.write.take(|piece| {
            *pending_bytes += piece.len();
            pending.push_back(piece);
        });
        let (mut wrote, mut is_full) = (0, false);
        while !self.pending.is_empty() && !is_full && wrote < TURN_BYTES_MAX {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let (mut count, mut left) = (0, TURN_BYTES_MAX - wrote);
            for (slice, piece) in slices.iter_mut().zip(&self.pending) {
                if left == 0 {
                    break;
                }
                let len = piece.len().min(left);
                *slice = IoSlice::new(&piece[..len]);
                left -= len;
                count += 1;
            }
            match self.transport.write(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    wrote += bytes;
                    self.written(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_full = true,
                Err(error) => return Err(error),
            }
        }
        self.transport.flush()?;
        self.stuck = match self.stuck {
            _ if self.pending.is_empty() => None,
            Some(since) if wrote == 0 => Some(since),
            _ => Some(now),
        };
        Ok(Flushed { bytes: wrote, more: !is_full && !self.pending.is_empty() })
    }

    /// Whether the client has left so much, or for so long, that it is cut.
    pub(super) fn is_lagging(&self, now: Now, patience: Patience) -> bool {
        self.dialect.is_live()
            && (self.unwritten() > patience.pending_bytes_max
                || self.stuck_due(patience).is_some_and(|due| due <= now))
    }

    /// When it will have been stuck for too long.
    fn stuck_due(&self, patience: Patience) -> Option<Now> {
        let since = self.stuck.filter(|_| self.dialect.is_live())?;
        Some(since.plus_ms(patience.write_deadline_ms))
    }

    /// When to look at it even if nothing happens.
    pub(super) fn due(&self, patience: Patience) -> Option<Now> {
        let dues = [self.session.deadline(), self.stuck_due(patience), self.transport.due()];
        dues.into_iter().flatten().min()
    }

    /// Whether its client has let the time for TLS go by. One that was waited for in silence is spoken to from now on.
    pub(super) fn is_late(&mut self, now: Now) -> bool {
        self.transport.is_late(now)
    }

    fn written(&mut self, mut bytes: usize) {
        self.pending_bytes -= bytes;
        while let Some(piece) = self.pending.front_mut() {
            if piece.len() > bytes {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.pending.pop_front();
        }
    }

    pub(super) fn close_write(&mut self) -> io::Result<()> {
        self.transport.close_write()
    }

    /// Lets the kernel tell, or not tell, when there is something to read. If something is there, it tells at once.
    pub(super) fn listen(&mut self, registry: &Registry, token: Token, on: bool) -> io::Result<()> {
        let Some(socket) = self.transport.socket().filter(|_| self.is_deaf == on) else { return Ok(()) };
        let interest = if on { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
        registry.reregister(socket, token, interest)?;
        self.is_deaf = !on;
        Ok(())
    }

    pub(super) fn shut(&mut self, registry: &Registry) {
        if let Some(socket) = self.transport.socket() {
            // It is closed by dropping it in any case; an error here means that it is closed already.
            let _ = registry.deregister(socket);
        }
    }
}
