//! Routing: the hub of one IO thread, the registry of definitions, router, grants, policies, flow. Pure.
//!
//! Read in this order: [`registry`] (what there is, and how it changes), [`registry::snapshot`] (what everybody else sees of it),
//! [`router`] (which rules take a record), [`live`] (who hears it without its being stored), [`map`] (what both are made of). This crate depends on `model` and `record` only, so that a
//! shard cannot route and a hub cannot store (S6).

pub mod hub;
pub mod live;
pub mod map;
pub mod registry;
pub mod router;
#[cfg(test)]
mod testing;

pub use hub::{Hub, HubMessage, HubOut};
pub use registry::snapshot::Snapshot;
pub use registry::{Registry, Setup};
