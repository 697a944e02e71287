//! Where rows are: the seam between the relay and a database. Implemented by [`crate::postgres`] and [`crate::sqlite`].

use crate::row::{Place, Row};
use std::future::Future;
use std::time::Duration;

/// An outbox that can be opened. One session per worker.
pub trait Source: Send + Sync + 'static {
    /// A session of the database, which owns lanes while it lasts.
    type Reader: Reader;

    /// Opens a session that owns nothing yet.
    ///
    /// # Errors
    /// The database cannot be reached, or the table is not as expected.
    fn open(&self) -> impl Future<Output = Result<Self::Reader, SourceError>> + Send;
}

/// A session with the lanes it owns. If the session ends, so does its ownership; what it has read by then may still be published, since
/// that is a prefix of the lane.
pub trait Reader: Send {
    /// Takes lanes that nobody owns and gives back what others should have; how many are owned now. Called between two batches.
    ///
    /// # Errors
    /// The session has ended.
    fn balance(&mut self) -> impl Future<Output = Result<u16, SourceError>> + Send;

    /// The oldest committed rows of the owned lanes, ascending, at most `count_max` and about 16 MiB, without those of the aggregates in
    /// `without`.
    ///
    /// # Errors
    /// The session has ended.
    fn read(
        &mut self,
        without: &[String],
        count_max: usize,
    ) -> impl Future<Output = Result<Vec<Row>, SourceError>> + Send;

    /// Deletes rows that were confirmed; one that is gone already is no error.
    ///
    /// # Errors
    /// The session has ended.
    fn delete(&mut self, places: &[Place]) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Moves a row to the dead ones.
    ///
    /// # Errors
    /// The session has ended.
    fn park(&mut self, place: Place, reason: &str) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// How much waits in the whole table.
    ///
    /// # Errors
    /// The session has ended.
    fn backlog(&mut self) -> impl Future<Output = Result<Backlog, SourceError>> + Send;
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows not yet relayed; counted up to [`Backlog::PENDING_MAX`].
    pub pending: u64,
    /// Age of the oldest of them; `None` where there is none, or the table does not say when rows were made.
    pub oldest_age: Option<Duration>,
    /// Rows that were parked.
    pub dead: u64,
    /// Rows whose time has not come; they are not among the pending.
    pub scheduled: u64,
}

impl Backlog {
    /// Where counting ends: looking must not cost more than relaying.
    pub const PENDING_MAX: u64 = 1_000_000;
}

/// The database did not do what was asked; fits after "could not …: ". Never holds a connection string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Rows of one read stop at about so many bytes of payload.
pub(crate) const READ_BYTES: usize = 16 << 20;
