//! The channel `nostr`: nostr keys, and sigchains on nostr relays.

mod chain;
mod events;
mod lookup;

pub use chain::{
    carrier_source, chain_authors, chain_carrier, chain_failure, chain_filters, chain_request,
    further_filters, source_url,
};
pub use events::carrier;
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) use events::{EXTERNAL_IDENTITIES, RELAY_LIST, ask_relays, newest};
#[cfg(feature = "publish")]
pub(crate) use events::{is_proof, newest_own, proof_filters};
pub(crate) use {events::further_relays, lookup::NostrLookup};
