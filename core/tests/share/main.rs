//! Shared groups: what they do one thing at a time, and random operations with crashes against a model too simple to be wrong.

mod features;
mod rig;
