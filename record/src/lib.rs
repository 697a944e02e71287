//! The bytes of a stored record and the lazy view of them. Pure.
