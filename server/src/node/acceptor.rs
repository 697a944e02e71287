//! The thread that takes connections and deals them out to the IO threads, one after the other.

use crate::node::inbox::Inbox;
use crate::node::io::{IoMessage, Security};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::io;
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
    /// What its clients speak.
    pub security: Security,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// The address is taken, or not ours.
    pub(crate) fn bind(address: SocketAddr, security: Security) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address)?, security })
    }
}

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
    pub(crate) fn start(mut listeners: Vec<Listener>, hubs: Vec<Inbox<IoMessage>>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        for (n, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listener.socket, Token(n), Interest::READABLE)?;
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || accept(poll, &listeners, &hubs, &stop))?;
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

fn accept(mut poll: Poll, listeners: &[Listener], hubs: &[Inbox<IoMessage>], stop: &AtomicBool) {
    let mut events = Events::with_capacity(16);
    let mut next = 0;
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
                    Ok((socket, _)) => {
                        hubs[next % hubs.len()]
                            .send(IoMessage::Connection(socket, listener.security.clone()), 0);
                        next += 1;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a connection");
                        again = true;
                        break;
                    }
                }
            }
        }
    }
}
