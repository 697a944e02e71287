//! The same client load on Stele and on the real peer; prints ratios.

fn main() {}
