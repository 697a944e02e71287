//! The words that dialects and core share: ids, operations, outcomes, effects. Pure.
//!
//! Read in this order: [`session`] (the seam of a dialect), [`op`] and [`outcome`] (what goes over it), [`publish`] and [`settle`]
//! (the two hot ones), [`live`] (what is heard and not stored), [`stream`], [`subject`], [`group`] and [`share`] (what is replayed, by
//! which names, and who has read how far), [`shard`] and [`registry`] (what hubs ask of the machines), [`machine`] (the shape of a machine) and [`log`]
//! (what it stands on). Nothing here has behaviour beyond taking itself apart and together.

pub mod flow;
pub mod group;
pub mod id;
pub mod live;
pub mod log;
pub mod machine;
pub mod op;
pub mod outcome;
pub mod publish;
pub mod queue;
pub mod refusal;
pub mod registry;
pub mod repeat;
pub mod roll;
pub mod session;
pub mod settle;
pub mod shard;
pub mod share;
pub mod stream;
pub mod subject;
pub mod value;
