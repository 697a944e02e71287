//! Where messages for an IO thread go in, and how another thread takes its turn while it sleeps (ADR 0011).
//!
//! Waking a thread costs more than what it is woken for, if that is one message for one socket. So who brings little to a thread that
//! sleeps tries its lock and does the work: finds the listeners, writes to their sockets. What must hold: nobody waits for a lock here, so two that
//! lend to each other cannot hang; who is left something that a sleeping thread must see to wakes it after all.

use super::Io;
use super::message::{IoMessage, Wiring};
use crate::node::inbox::Inbox;
use crate::node::rest::{Doze, Rest};
use mio::{Events, Poll};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stele_model::id::HubId;

/// Bytes that are carried to the end for a thread that sleeps. With more it pays to wake it, since two then work side by side.
const LENT_BYTES_MAX: usize = 8 << 10;

/// Bytes of live publishes that may wait at a thread; above it no publisher of such is read. What waits is latency, and with less that waits
/// the caches are warmer.
const INBOX_BYTES_MAX: usize = 128 << 10;

/// Turns made for a sleeping thread, one after the other, before it is woken after all.
const LENT_TURNS_MAX: u32 = 4;

/// An IO thread to send messages to.
#[derive(Clone)]
pub(crate) struct Door {
    inbox: Inbox<IoMessage>,
    /// `None`: the thread has not begun, or has ended.
    io: Arc<Mutex<Option<Io>>>,
    /// Other IO threads that read nothing until this one has taken what it was sent: bits by number modulo 64.
    waiting: Arc<AtomicU64>,
}

impl Door {
    /// The door of a thread that has not begun.
    pub(crate) fn new(inbox: Inbox<IoMessage>) -> Self {
        Self { inbox, io: Arc::default(), waiting: Arc::default() }
    }

    /// Leaves a message of `bytes` bytes, and wakes the thread if it sleeps.
    pub(crate) fn send(&self, message: IoMessage, bytes: usize) {
        self.inbox.send(message, bytes);
    }

    /// Whether so much waits here that `who` should not bring more. Then it is told when that has changed.
    pub(super) fn is_behind(&self, who: HubId) -> bool {
        let is_behind = || self.inbox.weight() >= INBOX_BYTES_MAX;
        if !is_behind() {
            return false;
        }
        self.waiting.fetch_or(bit(who), Ordering::SeqCst);
        // All may have been taken before we said that we wait.
        is_behind()
    }

    /// What waited has been taken: those who wait for that go on.
    pub(super) fn let_go_on(&self, doors: &[Self]) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let waiting = self.waiting.swap(0, Ordering::SeqCst);
        let waiting = (0..).map(HubId).zip(doors).filter(|(hub, _)| waiting & bit(*hub) != 0);
        waiting.for_each(|(_, door)| door.inbox.prod());
    }

    /// Turns the machine of this door until it is told to stop.
    pub(super) fn run(&self, mut poll: Poll, wiring: Wiring) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut rest = Rest::new(wiring.lookouts.clone());
        *self.lock() = Some(Io::new(poll.registry().try_clone()?, wiring)?);
        let ended = loop {
            let timeout = match self.lock().as_mut().map(|io| io.turn(&events)) {
                Some(Ok(Some(timeout))) => timeout,
                Some(Err(error)) => break Err(error),
                Some(Ok(None)) | None => break Ok(()),
            };
            let mut sockets = Sockets { poll: &mut poll, events: &mut events, longest: timeout.0 };
            let waited = match timeout.0 {
                Some(Duration::ZERO) => sockets.ask(timeout.0),
                _ => rest.wait(sockets),
            };
            if let Err(error) = waited {
                break Err(error);
            }
            self.inbox.awake();
        };
        *self.lock() = None;
        ended
    }

    /// The thread sleeps, and something was left for it: do it, or wake the thread.
    fn lend(&self) {
        for _ in 0..LENT_TURNS_MAX {
            // Not ours if the thread has just woken for another reason, or somebody else is at it.
            let Ok(mut io) = self.io.try_lock() else { break };
            if io.as_mut().is_none_or(Io::lent_turn) {
                break;
            }
            drop(io);
            if self.inbox.may_sleep() {
                return;
            }
        }
        self.inbox.rouse();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Io>> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IO thread's sleep in its poll.
struct Sockets<'a> {
    poll: &'a mut Poll,
    events: &'a mut Events,
    longest: Option<Duration>,
}

impl Sockets<'_> {
    fn ask(&mut self, longest: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(self.events, longest) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

impl Doze for Sockets<'_> {
    type Error = io::Error;

    fn look(&mut self) -> io::Result<bool> {
        self.ask(Some(Duration::ZERO))?;
        Ok(!self.events.is_empty())
    }

    fn sleep(&mut self) -> io::Result<()> {
        self.ask(self.longest)
    }
}

/// What one turn brings to IO threads: everything is left with them first, then those that sleep are seen to, each once.
#[derive(Default)]
pub(crate) struct Round {
    /// Threads that sleep: which, and how many bytes were left with it.
    asleep: Vec<(usize, usize)>,
}

impl Round {
    /// Leaves a message of `bytes` bytes.
    pub(crate) fn leave(&mut self, doors: &[Door], hub: HubId, message: IoMessage, bytes: usize) {
        let n = usize::from(hub.0);
        if doors[n].inbox.leave(message, bytes) {
            self.asleep.push((n, 0));
        }
        if let Some((_, left)) = self.asleep.iter_mut().find(|(of, _)| *of == n) {
            *left += bytes;
        }
    }

    /// Sees to those that sleep. `lends`: the caller has time to do a little for them.
    pub(crate) fn finish(&mut self, doors: &[Door], lends: bool) {
        for (n, bytes) in self.asleep.drain(..) {
            if lends && is_little(bytes) {
                doors[n].lend();
            } else {
                doors[n].inbox.rouse();
            }
        }
    }
}

fn bit(hub: HubId) -> u64 {
    1 << (hub.0 % 64)
}

/// Whether so many bytes are carried to the end by who brings them.
fn is_little(bytes: usize) -> bool {
    bytes <= LENT_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::super::budget::{Budget, Budgets};
    use super::super::message::{Arrival, Dialect, Guests, Patience, Rules};
    use super::super::transport::Security;
    use super::*;
    use crate::node::clock::{Clock, Machine};
    use crate::node::logins::Logins;
    use crate::node::rest::Lookouts;
    use crate::node::seats::Seats;
    use crate::node::stop::Stop;
    use arc_swap::ArcSwap;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicUsize;
    use stele_hub::Snapshot;
    use stele_model::id::{Now, Ticket};
    use stele_model::outcome::{Deliveries, Outcome, Wake};
    use stele_model::session::{Outbox, Principal, Rejected, Session};

    /// Says hello, and nothing else.
    struct Greeter;

    impl Session for Greeter {
        fn greet(&mut self, _: Now, out: &mut Outbox) {
            out.write.buffer().extend_from_slice(b"hello");
        }
        fn receive(&mut self, _: Now, input: &[u8], _: &mut Outbox) -> usize {
            input.len()
        }
        fn complete(&mut self, _: Now, _: Ticket, _: Outcome, _: &mut Outbox) {}
        fn authenticated(&mut self, _: Now, _: Result<Principal, Rejected>, _: &mut Outbox) {}
        fn deliver(&mut self, _: Now, _: &Deliveries, _: &mut Outbox) {}
        fn wake(&mut self, _: Now, _: Wake, _: &mut Outbox) {}
        fn deadline(&self) -> Option<Now> {
            None
        }
        fn expire(&mut self, _: Now, _: &mut Outbox) {}
        fn client(&self) -> &str {
            "greeter"
        }
    }

    /// An IO thread that sleeps, and how often it was woken. Nobody runs it: what is done is done by who lends.
    struct Sleeper {
        doors: Vec<Door>,
        woken: Arc<AtomicUsize>,
        _poll: Poll,
    }

    impl Sleeper {
        fn new() -> Self {
            let woken = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&woken);
            let inbox = Inbox::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            let poll = Poll::new().unwrap();
            let doors = vec![Door::new(inbox.clone())];
            let wiring = Wiring {
                hub: HubId(0),
                inbox,
                hubs: doors.clone(),
                shards: Vec::new(),
                registry: Inbox::new(|| {}),
                snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
                clock: Arc::new(Clock::of(Box::new(Machine), None)),
                stop: Stop::default(),
                patience: Patience { pending_bytes_max: 1 << 20, write_deadline_ms: 1000 },
                rules: Rules {
                    sessions: Box::new(|_, _| Box::new(Greeter)),
                    guests: Arc::new(Guests::default()),
                },
                logins: Logins::start(1).unwrap(),
                lookouts: Lookouts::new(0),
                service: |_| Box::new(Greeter),
                budgets: Arc::new(Budgets {
                    unfinished: Budget::new(usize::MAX),
                    unread: Budget::new(usize::MAX),
                }),
                frame_bytes_max: 1024,
                seed: [1, 2],
            };
            let io = Io::new(poll.registry().try_clone().unwrap(), wiring).unwrap();
            *doors[0].lock() = Some(io);
            let sleeper = Self { doors, woken, _poll: poll };
            sleeper.turn();
            sleeper
        }

        /// The thread's own turn, after which it sleeps.
        fn turn(&self) {
            let turned = self.doors[0].lock().as_mut().unwrap().turn(&Events::with_capacity(1)).unwrap();
            assert!(turned.is_some());
        }

        /// Brings a connection, as a message of so many bytes; the client's end.
        fn connect(&self, bytes: usize, lends: bool) -> TcpStream {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, peer) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let (socket, security) = (mio::net::TcpStream::from_std(socket), Security::Either(None));
            let seat = Seats::new(1).take().unwrap();
            let arrival = Arrival { socket, peer, security, dialect: Dialect::Nats, seat };
            let mut round = Round::default();
            round.leave(&self.doors, HubId(0), IoMessage::Connection(arrival), bytes);
            round.finish(&self.doors, lends);
            client
        }

        fn woken(&self) -> usize {
            self.woken.load(Ordering::SeqCst)
        }
    }

    fn is_greeted(client: &mut TcpStream) -> bool {
        client.set_nonblocking(true).unwrap();
        matches!(client.read(&mut [0; 16]), Ok(5))
    }

    #[test]
    fn who_brings_little_to_a_thread_that_sleeps_does_its_work_and_wakes_nobody() {
        let sleeper = Sleeper::new();
        assert!(is_greeted(&mut sleeper.connect(LENT_BYTES_MAX, true)));
        assert!(is_greeted(&mut sleeper.connect(0, true)), "it sleeps again, as far as others know");
        assert_eq!(sleeper.woken(), 0);
    }

    #[test]
    fn who_brings_much_or_has_no_time_wakes_the_thread_once() {
        for (bytes, lends) in [(LENT_BYTES_MAX + 1, true), (0, false)] {
            let sleeper = Sleeper::new();
            let mut first = sleeper.connect(bytes, lends);
            let mut second = sleeper.connect(bytes, lends);
            assert_eq!(sleeper.woken(), 1);
            assert!(!is_greeted(&mut first));
            sleeper.turn();
            assert!(is_greeted(&mut first) && is_greeted(&mut second));
        }
    }

    #[test]
    fn a_thread_that_is_at_work_is_woken_and_not_waited_for() {
        let sleeper = Sleeper::new();
        let at_work = sleeper.doors[0].lock();
        let mut client = sleeper.connect(0, true);
        assert_eq!(sleeper.woken(), 1);
        assert!(!is_greeted(&mut client));
        drop(at_work);
    }

    #[test]
    fn who_waits_for_space_is_woken_when_it_is_there() {
        let (full, waiting) = (Sleeper::new(), Sleeper::new());
        let doors = [full.doors[0].clone(), waiting.doors[0].clone()];
        assert!(!doors[0].is_behind(HubId(1)));
        let _clients = [(); 2].map(|()| full.connect(INBOX_BYTES_MAX / 2, false));
        assert!(doors[0].is_behind(HubId(1)));
        doors[0].inbox.take(&mut Vec::new());
        doors[0].let_go_on(&doors);
        assert_eq!(waiting.woken(), 1);
        assert!(!doors[0].is_behind(HubId(1)));
        doors[0].let_go_on(&doors);
        assert_eq!(waiting.woken(), 1, "nobody waits any more");
    }
}
