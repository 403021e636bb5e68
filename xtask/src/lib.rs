//! What the commands and the integration tests share: set-up, and the local servers.

pub mod api;
pub mod check;
pub mod cross;
pub mod demo;
pub mod generate;
pub mod npm;
pub mod setup;
pub mod size;
pub mod testnet;
pub mod vectors;
pub mod wasm;
pub mod web;

/// Errors here end the command, so that their text is all that matters.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
