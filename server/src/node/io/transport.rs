//! A connection's socket, plain or with TLS. On a port that allows both, the first byte tells (0x16 begins a TLS handshake).

use crate::config::LoginFrom;
use crate::tls::{Tls, named};
use mio::net::TcpStream;
use rustls::ServerConnection;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use stele_model::id::Now;

/// First byte of a TLS record that carries a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a listener expects of its clients.
#[derive(Clone)]
pub(crate) enum Security {
    /// TLS, always.
    Tls(Arc<Tls>),
    /// The first byte tells. Without a certificate a TLS handshake is refused.
    Either(Option<Arc<Tls>>),
    /// TLS, always, and in time.
    Timed(TimedTls),
}

/// TLS that is agreed on in time, or the connection ends.
#[derive(Clone)]
pub(crate) struct TimedTls {
    pub(crate) identity: Arc<Tls>,
    /// Longest wait from the first moment on, milliseconds.
    pub(crate) wait_ms: u64,
    pub(crate) silence: Silence,
}

/// Whether we say nothing before the client begins TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// We speak first, plain; the client answers by TLS.
    Never,
    /// So for a while; then we speak.
    For {
        /// So many milliseconds.
        ms: u64,
    },
    /// All that is said is encrypted.
    Always,
}

impl Security {
    fn identity(&self) -> Option<&Tls> {
        match self {
            Self::Tls(identity) | Self::Timed(TimedTls { identity, .. }) => Some(identity),
            Self::Either(identity) => identity.as_deref(),
        }
    }

    /// Whether a client may expect that nothing is said in plain.
    pub(crate) fn is_tls_first(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Timed(TimedTls { silence, .. }) => *silence != Silence::Never,
            Self::Either(_) => false,
        }
    }
}

pub(super) struct Transport {
    /// `None`: the session is the server's own, and has nobody to speak with.
    socket: Option<TcpStream>,
    state: State,
    /// When the client is spoken to although it has not begun TLS.
    silent_until: Option<Now>,
    /// When it is gone if TLS is not agreed on.
    agreed_until: Option<Now>,
    /// What of the client's certificate names the user it may log in as; nothing once that was told.
    login_from: Option<LoginFrom>,
}

enum State {
    /// Nothing has come yet.
    Undecided {
        identity: Option<Arc<Tls>>,
        must_be_tls: bool,
    },
    Plain,
    Tls(Box<ServerConnection>),
}

impl Transport {
    pub(super) fn new(socket: TcpStream, security: Security, now: Now) -> io::Result<Self> {
        let (mut silent_until, mut agreed_until) = (None, None);
        let login_from = security.identity().and_then(Tls::login_from);
        let state = match security {
            Security::Tls(identity) => tls(&identity)?,
            Security::Either(identity) => State::Undecided { identity, must_be_tls: false },
            Security::Timed(TimedTls { identity, wait_ms, silence }) => {
                let began = match silence {
                    Silence::For { ms } => *silent_until.insert(now.plus_ms(ms)),
                    Silence::Never | Silence::Always => now,
                };
                agreed_until = Some(began.plus_ms(wait_ms));
                match silence {
                    Silence::Always => tls(&identity)?,
                    _ => State::Undecided { identity: Some(identity), must_be_tls: true },
                }
            }
        };
        Ok(Self { socket: Some(socket), state, silent_until, agreed_until, login_from })
    }

    /// For a session of the server's own.
    pub(super) fn none() -> Self {
        Self { socket: None, state: State::Plain, silent_until: None, agreed_until: None, login_from: None }
    }

    /// When to look whether the client [`Self::is_late`].
    pub(super) fn due(&self) -> Option<Now> {
        self.silent_until.or(self.agreed_until).filter(|_| !self.is_agreed())
    }

    /// Whether the client has let the time for TLS go by; from the end of the silence on it is spoken to.
    pub(super) fn is_late(&mut self, now: Now) -> bool {
        self.silent_until = self.silent_until.filter(|until| now < *until);
        !self.is_agreed() && self.agreed_until.is_some_and(|until| until <= now)
    }

    fn is_agreed(&self) -> bool {
        matches!(&self.state, State::Tls(tls) if !tls.is_handshaking())
    }

    /// Reads what the client said, decrypted. `WouldBlock` only when the socket has nothing more.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(socket) = &mut self.socket else { return Err(io::ErrorKind::WouldBlock.into()) };
        if let State::Undecided { identity, must_be_tls } = &mut self.state {
            let mut first = [0];
            if socket.peek(&mut first)? == 0 {
                return Ok(0);
            }
            self.state = match (first[0], identity.take()) {
                (TLS_HANDSHAKE, Some(identity)) => tls(&identity)?,
                (TLS_HANDSHAKE, None) => {
                    return Err(io::Error::other("the client speaks TLS, but no certificate is configured"));
                }
                _ if *must_be_tls => {
                    return Err(io::Error::other("the client does not speak TLS, which is required"));
                }
                _ => State::Plain,
            };
        }
        match &mut self.state {
            State::Undecided { .. } => Err(io::ErrorKind::WouldBlock.into()),
            State::Plain => socket.read(into),
            State::Tls(tls) => read_tls(tls, socket, into),
        }
    }

    /// Writes some of `pieces`, encrypted where that was agreed.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // What nobody is there to read is written at once.
        let Some(socket) = &mut self.socket else { return Ok(pieces.iter().map(|piece| piece.len()).sum()) };
        let State::Tls(tls) = &mut self.state else {
            return match self.silent_until {
                Some(_) => Err(io::ErrorKind::WouldBlock.into()),
                None => socket.write_vectored(pieces),
            };
        };
        // rustls takes up to its own buffer's limit; what the kernel does not take of that stays there.
        while tls.wants_write() {
            tls.write_tls(socket)?;
        }
        match tls.writer().write_vectored(pieces)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }

    /// Encrypted bytes that the kernel has not taken yet go on.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let (State::Tls(tls), Some(socket)) = (&mut self.state, &mut self.socket) else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Once, and only after something was read through TLS where certificates log in: whom the client's names, if it showed one.
    pub(super) fn certified(&mut self) -> Option<Option<String>> {
        let State::Tls(tls) = &self.state else { return None };
        let from = self.login_from.take()?;
        Some(tls.peer_certificates().and_then(|chain| named(chain.first()?, from)))
    }

    /// Whether the bytes of the socket are the client's words.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    pub(super) fn wants_write(&self) -> bool {
        matches!(&self.state, State::Tls(tls) if tls.wants_write())
    }

    pub(super) fn close_write(&mut self) -> io::Result<()> {
        if let State::Tls(tls) = &mut self.state {
            tls.send_close_notify();
            self.flush()?;
        }
        self.socket.as_ref().map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write))
    }

    pub(super) fn socket(&mut self) -> Option<&mut TcpStream> {
        self.socket.as_mut()
    }
}

fn tls(identity: &Tls) -> io::Result<State> {
    Ok(State::Tls(Box::new(ServerConnection::new(identity.current()).map_err(io::Error::other)?)))
}

fn read_tls(tls: &mut ServerConnection, socket: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A client that closes without saying so in TLS has closed all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            other => return other,
        }
        if tls.read_tls(socket)? == 0 {
            return Ok(0);
        }
        if let Err(error) = tls.process_new_packets() {
            // The alert that says why is already in the queue; it goes out if the kernel takes it at once.
            let _ = tls.write_tls(socket);
            return Err(io::Error::other(error));
        }
    }
}
