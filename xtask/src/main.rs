//! The project's chores: test, arrows, tidy, conform, ci.

fn main() {}
