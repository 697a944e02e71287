//! Sockets, threads, TLS, clock, HTTP: the only crate that joins dialects, hub, core and log.
