//! File handles: how many connections the process can afford.
//!
//! A log keeps its segments open, and one that cannot open the next ends the node; so clients, of which anybody can send more, never get
//! the last handles. Asked by the node when it starts its acceptor, and by the HTTP server.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Handles that AMQP connections leave to logs and HTTP, at least.
const KEPT_MIN: usize = 16;

/// Of so many handles one is for a connection of an HTTP listener.
const HTTP_DIVISOR: usize = 16;

/// How many of `wanted` AMQP connections there are handles for, after the limit was raised as far as it may. To be called when all else is
/// open. A quarter of what is left, at least [`KEPT_MIN`], is kept for logs and HTTP.
pub(crate) fn amqp_connections_max(wanted: usize) -> usize {
    raise();
    let Some(handles_max) = handles_max() else { return wanted };
    // Where the kernel does not list them we do not know; the usual number is less than this.
    let open = std::fs::read_dir("/proc/self/fd").map_or(128, Iterator::count);
    let room = affordable(handles_max, open);
    if room < wanted {
        tracing::info!(wanted, room, handles_max, "fewer connections than configured: too few file handles");
    }
    wanted.min(room)
}

/// How many of `wanted` connections an HTTP listener may have.
pub(crate) fn http_connections_max(wanted: usize) -> usize {
    raise();
    handles_max().map_or(wanted, |handles_max| wanted.min(handles_max / HTTP_DIVISOR).max(1))
}

fn affordable(handles_max: usize, open: usize) -> usize {
    let left = handles_max.saturating_sub(open);
    left.saturating_sub((left / 4).max(KEPT_MIN)).max(1)
}

fn handles_max() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|handles| usize::try_from(handles).unwrap_or(usize::MAX))
}

fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the limit of file handles");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_handles_to_the_logs_but_one_may_always_come() {
        assert_eq!(affordable(64, 30), 18);
        assert_eq!(affordable(1024, 24), 750);
        assert_eq!(affordable(64, 63), 1);
        assert_eq!(affordable(64, 100), 1);
    }
}
