//! The channel `nostr`: nostr keys.

mod lookup;

pub(crate) use lookup::*;
pub use lookup::{carrier, chain_carrier, chain_filters};
