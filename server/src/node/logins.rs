//! Checks of passwords that take long on purpose (bcrypt's), on threads of their own: the client that logs in waits, others do not.
//!
//! IO threads leave a [`Check`] and get its result as a message. What must hold: a thread that serves clients never computes such a hash; as many
//! checks wait as [`WAITING_MAX`] says, and more are refused; what nobody waits for any more (the client is gone, or its time to log in is
//! over) is not computed.

use super::inbox::Inbox;
use super::io::IoMessage;
use crate::passwords;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use stele_model::id::SessionId;

/// Checks that may wait for a thread.
const WAITING_MAX: usize = 1024;

/// A user, and the hash of its secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Its name.
    pub user: String,
    /// The hash; a secret.
    pub hash: String,
}

/// Which of some hashes a secret fits.
pub(crate) struct Check {
    /// Whose login it is.
    pub session: SessionId,
    /// Of several checks of a session, which.
    pub number: u64,
    /// Where the result goes.
    pub answer: Inbox<IoMessage>,
    /// What the client said.
    pub secret: String,
    /// What it may fit.
    pub candidates: Vec<Fit>,
    /// Gone when nobody waits any more.
    pub waits: Weak<()>,
}

/// Where checks are left.
#[derive(Clone)]
pub(crate) struct Logins(SyncSender<Check>);

impl Logins {
    /// Starts `threads` threads, which end when the last of those who can ask is gone.
    ///
    /// # Errors
    /// When the kernel has no more threads.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (to, from) = sync_channel(WAITING_MAX);
        let from = Arc::new(Mutex::new(from));
        for n in 0..threads.max(1) {
            let from = Arc::clone(&from);
            thread::Builder::new().name(format!("login-{n}")).spawn(move || work(&from))?;
        }
        Ok(Self(to))
    }

    /// Leaves a check; `false`: too many wait.
    #[must_use]
    pub(crate) fn offer(&self, check: Check) -> bool {
        self.0.try_send(check).is_ok()
    }
}

fn work(checks: &Mutex<Receiver<Check>>) {
    loop {
        let next = checks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Check { session, number, answer, secret, candidates, waits }) = next else { return };
        let fits = |fit: &Fit| waits.strong_count() > 0 && passwords::verify(&secret, &fit.hash);
        let fit = candidates.into_iter().find(fits);
        answer.send(IoMessage::Checked(session, number, fit), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const HASH: &str = "$2a$04$f9pLmFkRL2i807BWBnA0nei3hdqWQa1XUcebLSdLCzmW1qpHfIvPu";

    /// What becomes of a check; `waits`: whether somebody still waits for it.
    fn ask(secret: &str, waits: bool) -> Option<Fit> {
        let (woken, wake) = channel();
        let answer = Inbox::new(move || {
            let _ = woken.send(());
        });
        assert!(answer.may_sleep());
        let waiting = Arc::new(());
        let check = Check {
            session: SessionId::default(),
            number: 7,
            answer: answer.clone(),
            secret: secret.into(),
            candidates: ["other", HASH].map(|hash| Fit { user: "ann".into(), hash: hash.into() }).into(),
            waits: if waits { Arc::downgrade(&waiting) } else { Weak::new() },
        };
        assert!(Logins::start(1).unwrap().offer(check));
        wake.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut messages = Vec::new();
        answer.take(&mut messages);
        let Some(IoMessage::Checked(_, 7, fit)) = messages.pop() else { panic!("no answer to the check") };
        fit
    }

    #[test]
    fn a_secret_is_found_to_fit_the_hash_that_it_was_made_into() {
        assert!(ask("a-long-enough-secret-1", true).is_some_and(|fit| fit.hash == HASH));
        assert!(ask("a-long-enough-secret-2", true).is_none());
    }

    #[test]
    fn what_nobody_waits_for_is_not_computed() {
        assert!(ask("a-long-enough-secret-1", false).is_none());
    }
}
