//! The bus's stores in Postgres and SQLite. What a handler writes, its inbox row, its sagas and what it publishes are one local
//! transaction: all of it lasts or nothing does. A relay then takes the messages to the broker.
//!
//! Used by services. [`postgres::PgStore`] and [`sqlite::SqliteStore`] are given to the bus as its store; [`postgres::Tx`] is how a
//! handler reaches the transaction; [`postgres::append`] writes outbox rows through any transaction of the caller's own. The relay is
//! `stele-bus-relay`: inside the process it publishes over the bus's transport ([`relay::OverTransport`]), outside it is
//! `stele outbox relay`, on the same table.
//!
//! Deliberately not here: the relay's order and ownership of lanes (`stele-bus-relay`), and an ambient transaction: who wants to take part
//! is handed one.

pub mod row;

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub mod relay;

/// What is said of a transaction that a handler has not given back.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn in_use() -> stele_bus::store::StoreError {
    stele_bus::store::StoreError::new("the handler still holds the transaction")
}

/// What a database or a codec says, as the bus's error.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> stele_bus::store::StoreError {
    stele_bus::store::StoreError(Box::new(error))
}
