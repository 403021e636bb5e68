//! Builds, set-up and checks.
fn main() {}
