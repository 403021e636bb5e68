//! The channel `bluesky`: Bluesky (atproto) accounts.

mod lookup;

pub use lookup::SCOPE;
pub(crate) use lookup::*;
