//! The one switch that ends a node, and the reason.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Shared by all threads of a node.
#[derive(Clone, Default)]
pub struct Stop {
    shared: Arc<(Mutex<Option<Reason>>, Condvar)>,
}

/// Why a node ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// It cannot go on: what broke.
    Failed(String),
}

impl Stop {
    /// Asks for an orderly end.
    pub fn ask(&self) {
        self.set(Reason::Asked);
    }

    /// The node cannot go on. The first reason stands.
    pub fn fail(&self, why: String) {
        tracing::error!(why, "the node cannot go on");
        self.set(Reason::Failed(why));
    }

    /// Waits for the end of the node.
    #[must_use]
    pub fn wait(&self) -> Reason {
        let (reason, changed) = &*self.shared;
        let mut reason = reason.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(reason) = reason.clone() {
                return reason;
            }
            reason = changed.wait(reason).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The reason, if the node is to end.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: Reason) {
        let (reason, changed) = &*self.shared;
        reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        changed.notify_all();
    }
}
