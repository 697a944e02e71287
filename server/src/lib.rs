//! Sockets, threads, TLS, clock, HTTP: the only crate that joins dialects, hub, core and log.

pub mod config;
pub mod logging;
pub mod passwords;
pub mod ports;
pub mod tls;
