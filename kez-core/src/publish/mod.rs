//! Publishing. Of a chain: what a place does not have of it yet (SPEC.md, "Sigchain server"). Of a
//! proof (feature `publish`): writing it where only the account's owner can, so that what is there
//! of others' stays, and a second run changes nothing.

#[cfg(feature = "publish")]
mod accounts;
#[cfg(feature = "publish")]
mod ap;
#[cfg(feature = "publish")]
mod bluesky;
#[cfg(feature = "publish")]
mod bunker;
mod chain;
#[cfg(feature = "publish")]
mod device;
#[cfg(feature = "publish")]
mod dns;
#[cfg(feature = "publish")]
mod github;
#[cfg(feature = "publish")]
mod nip44;
#[cfg(feature = "publish")]
mod nostr;
#[cfg(feature = "publish")]
mod oauth;

pub use chain::{appended_at_server, given_as_evidence, missing_at_server, server_url};
#[cfg(feature = "publish")]
pub use {
    accounts::{Author, Change, Credential, Placed, Publisher, Web, merge},
    ap::{App, OUT_OF_BAND},
    bunker::{Remote, bunker},
    device::DeviceCode,
    oauth::{AuthorizationRequest, Client},
};
