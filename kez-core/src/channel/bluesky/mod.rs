//! The channel `bluesky`: Bluesky (atproto) accounts.

mod lookup;
mod xrpc;

pub use lookup::SCOPE;
pub(crate) use lookup::*;
