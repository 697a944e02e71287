//! Where the pipeline can be made to die, for tests that want to see what is left.
//!
//! Used by `stele-bus-test`'s exploration; nobody else sets it. A crash here is what a killed process looks like to broker and store:
//! the unit of work is dropped, nothing is accepted, the message is delivered again.

/// A point between two steps of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the unit of work is opened.
    BeforeWork,
    /// The handler has succeeded, nothing is committed.
    BeforeCommit,
    /// Committed, nothing sent.
    AfterCommit,
    /// Sent, the delivery not accepted.
    BeforeAccept,
}

/// Decides where to die.
pub trait Mishaps: Send + Sync + 'static {
    /// Die here?
    fn crashes(&self, point: Point) -> bool;

    /// How often others get a turn first; bounded.
    fn pauses(&self) -> u32;
}

/// The process died, as far as this delivery is concerned.
#[derive(Debug, thiserror::Error)]
#[error("crashed on purpose")]
pub(crate) struct Crashed;
