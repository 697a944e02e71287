//! A whole node in one deterministic process: clients, hubs, shards, a fault disk, crashes; by seed.

fn main() {}
