//! Helpers for tests on the real binary: start, kill, clients.
