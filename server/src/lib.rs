//! Sockets, threads, TLS, clock, HTTP: the only crate that joins dialects, hub, core and log.
//!
//! Read in this order: [`config`] (what can be set), [`node`] (what runs), [`inspect`] (what the outer parts ask of a running node), then
//! the outer parts themselves: [`http`], [`metrics`], [`tls`], [`passwords`], [`scram`], [`logging`], [`ports`].

pub mod config;
mod handles;
pub mod http;
pub mod inspect;
pub mod logging;
pub mod metrics;
mod nkey;
pub mod node;
pub mod passwords;
pub mod ports;
pub mod scram;
pub mod tls;
