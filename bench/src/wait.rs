//! How the generators' threads wait for their sockets.
//!
//! A thread sleeps in `poll`, as clients do. One that drives a single client with one thing under way stays awake: else what is measured is
//! mostly how long the kernel takes to wake the generator, the same with any broker, and the more of the line the faster the broker is.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, Timespec};

/// How long a thread stays awake at most, before it sleeps after all.
const AWAKE_MAX: Duration = Duration::from_millis(2);

/// Waits until a socket is ready for what it wants, or `patience`, less than a second, is over.
///
/// # Errors
/// The kernel's.
pub(crate) fn poll(sockets: &mut [PollFd<'_>], patience: Duration, awake: bool) -> Result<()> {
    let start = Instant::now();
    while awake && start.elapsed() < patience.min(AWAKE_MAX) {
        if ask(sockets, Duration::ZERO)? {
            return Ok(());
        }
        std::hint::spin_loop();
    }
    ask(sockets, patience.saturating_sub(start.elapsed())).map(drop)
}

fn ask(sockets: &mut [PollFd<'_>], patience: Duration) -> Result<bool> {
    let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
    match rustix::event::poll(sockets, Some(&patience)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error).context("poll"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::PollFlags;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_ready_is_told_asleep_and_awake_and_patience_ends() {
        let (mut there, here) = UnixStream::pair().unwrap();
        let ready = |awake| {
            let mut sockets = [PollFd::new(&here, PollFlags::IN)];
            poll(&mut sockets, Duration::from_millis(5), awake).unwrap();
            !sockets[0].revents().is_empty()
        };
        assert_eq!([false, true].map(ready), [false, false]);
        there.write_all(b"x").unwrap();
        assert_eq!([false, true].map(ready), [true, true]);
    }
}
