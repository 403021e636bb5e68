//! Chat: conversations by MLS (RFC 9420) whose members are the devices of sigchains (SPEC.md,
//! "Chat").
//!
//! With the feature `handle`: what clients and servers say to each other. With `chat`: devices,
//! conversations, and everything secret.

pub mod auth;
#[cfg(feature = "chat")]
mod certificate;
#[cfg(feature = "chat")]
pub mod client;
#[cfg(feature = "chat")]
mod group;
mod handle;
#[cfg(feature = "chat")]
mod message;
#[cfg(feature = "chat")]
mod safety;
#[cfg(feature = "chat")]
mod sealed;
#[cfg(feature = "chat")]
mod shelf;
#[cfg(feature = "chat")]
mod stream;
#[cfg(feature = "chat")]
mod suite;
#[cfg(feature = "chat")]
mod vault;

pub use handle::{Bundle, Handle, HandleRecord, SEALED_KEY, SignedBundle, SignedHandle};
#[cfg(feature = "chat")]
pub use {
    certificate::{Certificate, Evidence, MAX_CERTIFICATE},
    group::{
        About, Change, Commit, Device, Group, KeyPackage, Kind, MAX_MEMBERS, Member, Received,
    },
    message::{Body, MAX_TEXT, Message, MessageId},
    safety::safety_number,
    sealed::{SealedKey, open, seal},
    stream::{EventReader, StreamEvent},
    suite::{Kem, Random, XWing},
    vault::Vault,
};

/// The capability of devices that chat, as `add_device` names it.
pub const CAPABILITY: &str = "chat/1";
/// The largest body of a request and of a message, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// How long a key package or bundle may be used, in seconds: 30 days.
pub const LIFETIME: i64 = 30 * 86_400;
