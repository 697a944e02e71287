//! One connection of an IO thread: its socket, its session, and the bytes between them.

use super::login::{Checking, Login};
use super::message::{Arrival, Dialect, Patience};
use super::transport::Transport;
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

pub(super) struct Connection {
    pub(super) id: SessionId,
    pub(super) dialect: Dialect,
    pub(super) session: Box<dyn Session>,
    pub(super) outbox: Outbox,
    /// Input the session was not done with.
    pub(super) tail: BytesMut,
    /// The kernel said that there is something, and nobody has found the end of it yet.
    pub(super) readable: bool,
    /// The kernel takes bytes.
    pub(super) writable: bool,
    /// The session does not want to be read.
    pub(super) paused: bool,
    /// The session may be able to go on with its tail.
    pub(super) resume: bool,
    /// Deliveries were made since the session was last told that its bytes have left.
    pub(super) undrained: bool,
    /// We are done; the client may still be reading.
    pub(super) lingering: bool,
    /// Since when the kernel takes nothing, although something waits.
    pub(super) stuck: Option<Now>,
    /// The deadline in force.
    pub(super) armed: Option<Now>,
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
        session: Box<dyn Session>,
        registry: &Registry,
        (token, now): (Token, Now),
    ) -> io::Result<Self> {
        let Arrival { mut socket, security, dialect, seat, peer } = arrival;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut connection = Self::new((id, dialect), session, Some(seat), Transport::new(socket, security)?);
        connection.peer = Some((peer, now));
        Ok(connection)
    }

    /// A session of the server's own: it has no socket.
    pub(super) fn inner(id: SessionId, dialect: Dialect, session: Box<dyn Session>) -> Self {
        Self::new((id, dialect), session, None, Transport::none())
    }

    fn new(
        (id, dialect): (SessionId, Dialect),
        session: Box<dyn Session>,
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
            writable: false,
            paused: false,
            resume: false,
            undrained: false,
            lingering: false,
            stuck: None,
            armed: None,
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
    /// both; how much of it is the session's input, and how much of that has just come.
    pub(super) fn read(&mut self, buffer: &mut [u8], bytes_max: usize) -> ReadEnd {
        let kept = self.tail.len();
        let Some(space) = buffer.get_mut(kept..kept + bytes_max) else { return ReadEnd::Nothing };
        let bytes = match self.transport.read(space) {
            Ok(0) => return ReadEnd::Closed("the client closed the connection".to_owned()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadEnd::Nothing,
            Err(error) => return ReadEnd::Closed(error.to_string()),
        };
        let tail = std::mem::take(&mut self.tail);
        buffer[..kept].copy_from_slice(&tail);
        ReadEnd::Bytes { input: kept + bytes, bytes }
    }

    /// Whether what comes is still for the session.
    pub(super) fn takes_input(&self) -> bool {
        !self.lingering && self.outbox.close.is_none()
    }

    pub(super) fn unwritten(&self) -> usize {
        self.pending_bytes + self.outbox.write.len()
    }

    pub(super) fn wants_write(&self) -> bool {
        self.unwritten() > 0 || self.outbox.close.is_some() || self.transport.wants_write()
    }

    /// Writes as much as the kernel takes; returns how many bytes that was.
    pub(super) fn flush(&mut self, now: Now) -> io::Result<usize> {
        let (pending, pending_bytes) = (&mut self.pending, &mut self.pending_bytes);
        self.outbox.write.take(|piece| {
            *pending_bytes += piece.len();
            pending.push_back(piece);
        });
        let mut wrote = 0;
        while !self.pending.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pending) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            match self.transport.write(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    wrote += bytes;
                    self.written(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.transport.flush()?;
        self.stuck = match self.stuck {
            _ if self.pending.is_empty() => None,
            Some(since) if wrote == 0 => Some(since),
            _ => Some(now),
        };
        Ok(wrote)
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
        self.session.deadline().into_iter().chain(self.stuck_due(patience)).min()
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

    pub(super) fn shut(&mut self, registry: &Registry) {
        if let Some(socket) = self.transport.socket() {
            // It is closed by dropping it in any case; an error here means that it is closed already.
            let _ = registry.deregister(socket);
        }
    }
}
