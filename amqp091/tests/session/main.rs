//! Transcripts of conversations with a session: see `support` for how they are written.

mod basics;
mod channels;
mod consumers;
mod handshake;
mod publishes;
mod support;
mod transactions;
mod walk;
