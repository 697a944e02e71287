//! Groups as their members see them: phases of a rebalance, static members, commits, restarts; and random runs against a simple model.

mod features;
mod rig;
