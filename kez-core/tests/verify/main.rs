//! From sources and proofs to verdicts (SPEC.md, "Sources" and "Verdicts"), on a network that is
//! an object in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod budget;
mod forks;
mod proofs;
mod sources;
mod world;
