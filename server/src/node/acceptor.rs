//! The thread that takes connections and deals them out to the IO threads, one after the other.

use crate::node::complaints::Complaints;
use crate::node::inbox::Inbox;
use crate::node::io::{Arrival, Dialect, IoMessage, Security};
use crate::node::seats::Seats;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Pause after the kernel refused a connection for want of handles, so that others have time to end.
const NO_HANDLES_PAUSE: Duration = Duration::from_millis(100);

const WAKE: Token = Token(usize::MAX);

/// A port to listen on.
pub(crate) struct Listener {
    /// Bound already, so that a taken port was noticed at the start.
    pub socket: TcpListener,
    /// Plain or TLS.
    pub security: Security,
    /// What its clients speak.
    pub dialect: Dialect,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// The address is taken, or not ours.
    pub(crate) fn bind(address: SocketAddr, security: Security, dialect: Dialect) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address)?, security, dialect })
    }
}

/// What a client of a dialect is told for which there is no place; nothing where the dialect has no word for it.
pub(crate) type Refusals = Box<dyn Fn(Dialect, SocketAddr) -> Vec<u8> + Send>;

/// The running acceptor. Dropping it leaves it running; see [`Acceptor::stop`].
pub(crate) struct Acceptor {
    stopping: Arc<AtomicBool>,
    waker: mio::Waker,
}

impl Acceptor {
    /// Starts to accept.
    ///
    /// # Errors
    /// When the kernel has no more handles or threads.
    pub(crate) fn start(
        mut listeners: Vec<Listener>,
        hubs: Vec<Inbox<IoMessage>>,
        seats: Arc<Seats>,
        refusals: Refusals,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        for (n, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listener.socket, Token(n), Interest::READABLE)?;
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let door = Door { hubs, seats, refusals, next: 0, complaints: Complaints::default() };
        thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || accept(poll, &listeners, door, &stop))?;
        Ok(Self { stopping, waker })
    }

    /// Takes no more connections; the ports are free again soon after.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "could not wake the acceptor");
        }
    }
}

fn accept(mut poll: Poll, listeners: &[Listener], mut door: Door, stop: &AtomicBool) {
    let mut events = Events::with_capacity(16);
    // The kernel tells only once of connections that wait; after a refusal for want of handles we ask again by ourselves.
    let mut again = false;
    while !stop.load(Ordering::SeqCst) {
        let timeout = again.then_some(NO_HANDLES_PAUSE);
        if let Err(error) = poll.poll(&mut events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "the acceptor cannot go on");
            return;
        }
        again = false;
        for listener in listeners {
            loop {
                match listener.socket.accept() {
                    Ok((socket, peer)) => door.admit(socket, peer, listener),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        door.complaints.about(|| format!("could not accept a connection: {error}"));
                        again = true;
                        break;
                    }
                }
            }
        }
    }
}

/// Where connections come in.
struct Door {
    hubs: Vec<Inbox<IoMessage>>,
    seats: Arc<Seats>,
    refusals: Refusals,
    next: usize,
    complaints: Complaints,
}

impl Door {
    /// To the next IO thread; or closed at once, if there are as many connections as there may be.
    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr, listener: &Listener) {
        let Some(seat) = self.seats.take() else {
            let connections_max = self.seats.max();
            if !listener.security.is_tls_first() {
                // Who does not take it at once is closed without it.
                let _ = socket.write_all(&(self.refusals)(listener.dialect, peer));
            }
            return self.complaints.about(|| format!("refused a connection: there are {connections_max}"));
        };
        let hub = &self.hubs[self.next % self.hubs.len()];
        let (security, dialect) = (listener.security.clone(), listener.dialect);
        hub.send(IoMessage::Connection(Arrival { socket, peer, security, dialect, seat }), 0);
        self.next += 1;
    }
}
