//! Mistakes made on purpose, to prove that the tests would notice them: `cargo test -p stele-log --features mutants`.
//!
//! Without the feature every question is answered by a constant `false`. A mutant acts on the thread that asked for it, so it is
//! used with the polled form.

/// A mistake.
#[cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "it is for tests of other crates"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Commits are written without a sync.
    CommitUnsynced,
    /// The first invalid block is the end, whatever stands behind it.
    TrustTheTear,
    /// A segment is given up before what settled its last record is durable.
    RetireEarly,
    /// A promoted segment is not synced before it takes over.
    PromoteUnsynced,
    /// A snapshot gets its name before it is synced.
    SnapshotUnsynced,
    /// The manifest gets its name before it is synced.
    ManifestUnsynced,
    /// Records are handed out unchecked.
    SkipFrameCrc,
    /// A failed write is tried again.
    RetryWrite,
}

#[cfg(feature = "mutants")]
mod active {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Makes this mistake on this thread, until told otherwise.
    pub fn set(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    pub(crate) fn on(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod active {
    pub(crate) const fn on(_: super::Mutant) -> bool {
        false
    }
}

pub(crate) use active::on;
#[cfg(feature = "mutants")]
pub use active::set;
