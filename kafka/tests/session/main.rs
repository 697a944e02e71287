//! A session against a hub that is too simple to be wrong: what clients ask, and what they are answered.

mod admin;
mod fetch;
mod groups;
mod log_dirs;
mod login;
mod produce;
mod rights;
mod support;
mod versions;
