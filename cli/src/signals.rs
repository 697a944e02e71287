//! Waiting for the end: SIGTERM, SIGINT, SIGUSR2 (nats-server's lame duck), or the node's own. SIGHUP meanwhile means "read what can be read again";
//! whoever can leave slowly is told so by SIGUSR2 and is waited for.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Why a running node is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody asked; the signal's name.
    Signal(&'static str),
    /// The node has ended, or cannot go on.
    Node,
}

/// Blocks until there is a reason to end. `node_ended` blocks until the node has one of its own; `reload` is called at each SIGHUP, `leave` at
/// SIGUSR2: `true` if the node ends by itself then.
///
/// # Errors
/// The operating system lets no signal handler in.
pub(crate) fn wait(
    node_ended: impl FnOnce() + Send + 'static,
    reload: impl Fn(),
    leave: impl Fn() -> bool,
) -> io::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut lame_duck = signal(SignalKind::user_defined2())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ended = tokio::task::spawn_blocking(node_ended);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(End::Signal("SIGTERM")),
                _ = interrupt.recv() => return Ok(End::Signal("SIGINT")),
                _ = lame_duck.recv() => if !leave() {
                    return Ok(End::Signal("SIGUSR2"));
                },
                _ = &mut ended => return Ok(End::Node),
                _ = hangup.recv() => reload(),
            }
        }
    });
    // The thread that waits for the node may go on waiting.
    runtime.shutdown_background();
    end
}
