//! The handler's transaction as an argument: `async fn handle(Msg(m): Msg<M>, mut tx: Tx)`.
//!
//! It is taken out of the unit of work and put back when it is dropped; a handler that keeps it beyond its own end fails its attempt.

use super::SqliteWork;
use sqlx::{Sqlite, Transaction};
use std::ops::{Deref, DerefMut};
use stele_bus::{Context, Extract, Failure};

/// The transaction that the inbox row stands in and that the handler's messages will stand in. Use it as `&mut **tx`.
pub struct Tx {
    /// `None` only while it is dropped.
    tx: Option<Transaction<'static, Sqlite>>,
    cx: Context,
}

impl Extract for Tx {
    async fn extract(cx: &Context) -> Result<Self, Failure> {
        let tx = cx.with_work(|work: &mut SqliteWork| work.tx.take()).flatten();
        let tx = tx.ok_or_else(|| {
            Failure::new(
                "stele_bus_sql::Tx",
                "the endpoint has no SQLite store, or its transaction is taken out already",
            )
        })?;
        Ok(Self { tx: Some(tx), cx: cx.clone() })
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let tx = self.tx.take();
        self.cx.with_work(|work: &mut SqliteWork| work.tx = tx);
    }
}

impl Deref for Tx {
    type Target = Transaction<'static, Sqlite>;

    fn deref(&self) -> &Self::Target {
        self.tx.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.tx.as_mut().expect("it is there until it is dropped")
    }
}
