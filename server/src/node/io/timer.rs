//! A timer for times shorter than the millisecond in which polls count: it ends the sleep of an IO thread as a socket does.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use stele_model::id::Now;

/// By it the poll tells that time is over.
const TIMER: Token = Token(usize::MAX - 1);

pub(super) struct Timer {
    handle: OwnedFd,
    /// When it will go off.
    set: Option<Now>,
}

impl Timer {
    /// # Errors
    /// When the kernel has no more handles.
    pub(super) fn new(registry: &Registry) -> std::io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let handle = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Told at each edge: it need not be read.
        registry.register(&mut SourceFd(&handle.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self { handle, set: None })
    }

    /// What the poll has told.
    pub(super) fn note(&mut self, token: Token) {
        if token == TIMER {
            self.set = None;
        }
    }

    /// Ends the poll's sleep at `due`, or soon after. One that was set to another time before does not go off then.
    ///
    /// # Errors
    /// None that a valid handle and time can cause.
    pub(super) fn set(&mut self, now: Now, due: Now) -> std::io::Result<()> {
        if self.set == Some(due) {
            return Ok(());
        }
        // 0 would switch it off.
        let us = due.0.saturating_sub(now.0).max(1);
        let value = Timespec {
            tv_sec: (us / 1_000_000).cast_signed(),
            tv_nsec: ((us % 1_000_000) * 1_000).cast_signed(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.handle, TimerfdTimerFlags::empty(), &once)?;
        self.set = Some(due);
        Ok(())
    }
}
