//! Waiting for the end: SIGTERM, SIGINT, SIGUSR2 (nats-server's lame duck), or the node's own. SIGHUP meanwhile means "read what can be read again",
//! SIGUSR1 "open the log file again"; whoever can leave slowly is told so by SIGUSR2 and is waited for.

use std::io;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a running node is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody asked; the signal's name.
    Signal(&'static str),
    /// The node has ended, or cannot go on.
    Node,
}

/// The signals that the process takes, from [`Signals::take`] on: one that comes before it is waited for is kept.
pub(crate) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    lame_duck: Signal,
    hangup: Signal,
    log_moved: Signal,
}

/// What is done at the signals that do not end the process.
pub(crate) struct Deeds<Reload, Reopen, Leave> {
    /// At each SIGHUP.
    pub(crate) reload: Reload,
    /// At each SIGUSR1, which would end the process if nobody took it.
    pub(crate) reopen: Reopen,
    /// At SIGUSR2: `true` if the node ends by itself then.
    pub(crate) leave: Leave,
}

impl Signals {
    /// To be called before anybody is told that the process is there: until then signals end it.
    ///
    /// # Errors
    /// The operating system lets no signal handler in.
    pub(crate) fn take() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let within = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let lame_duck = signal(SignalKind::user_defined2())?;
        let hangup = signal(SignalKind::hangup())?;
        let log_moved = signal(SignalKind::user_defined1())?;
        drop(within);
        Ok(Self { runtime, terminate, interrupt, lame_duck, hangup, log_moved })
    }

    /// Blocks until there is a reason to end. `node_ended` blocks until the node has one of its own.
    pub(crate) fn wait(
        self,
        node_ended: impl FnOnce() + Send + 'static,
        deeds: &Deeds<impl Fn(), impl Fn(), impl Fn() -> bool>,
    ) -> End {
        let Self { runtime, mut terminate, mut interrupt, mut lame_duck, mut hangup, mut log_moved } = self;
        let end = runtime.block_on(async {
            let mut ended = tokio::task::spawn_blocking(node_ended);
            loop {
                tokio::select! {
                    _ = terminate.recv() => return End::Signal("SIGTERM"),
                    _ = interrupt.recv() => return End::Signal("SIGINT"),
                    _ = lame_duck.recv() => if !(deeds.leave)() {
                        return End::Signal("SIGUSR2");
                    },
                    _ = &mut ended => return End::Node,
                    _ = hangup.recv() => (deeds.reload)(),
                    _ = log_moved.recv() => (deeds.reopen)(),
                }
            }
        });
        // The thread that waits for the node may go on waiting.
        runtime.shutdown_background();
        end
    }
}
