// What generates the types of the npm package needs std; nothing else does.
#![cfg_attr(not(feature = "types"), no_std)]
#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
pub mod chain;
pub mod channel;
#[cfg(feature = "handle")]
pub mod chat;
pub mod claim;
pub mod dns;
mod envelope;
mod error;
mod event;
pub mod fork;
mod hash;
pub mod hex;
mod identity;
#[cfg(feature = "import")]
pub mod import;
mod input;
pub mod json;
mod key;
#[cfg(feature = "keyfile")]
pub mod keyfile;
pub mod log;
mod map;
pub mod proof;
#[cfg(test)]
mod public_vectors;
pub mod publish;
pub mod relay;
pub mod resolve;
mod time;
pub mod transport;
mod url;
mod verify;

pub use chain::{Chain, Standing};
pub use channel::BLUESKY_SCOPE;
pub use claim::{Claim, Head, SignedClaim};
pub use envelope::{Envelope, NOSTR_KIND, Signature};
pub use error::{Code, Error, Kind, Result};
pub use event::{Event, MAX_EVENT, Op, Reason, Target, chain_path};
pub use fork::Fork;
pub use hash::{ObjectId, commitment};
#[cfg(feature = "url")]
pub use identity::to_ascii;
pub use identity::{Identity, Scheme, ToAscii};
pub use input::{Input, holds_secret, parse_input};
pub use key::{Key, NostrEvent, SecretKey, Suite};
pub use proof::{Encoding, Proof};
pub use time::{MAX_SKEW, Timestamp, human_span};
pub use transport::{Endpoints, Place, Transport};
pub use verify::{
    Budget, Case, DEFAULT_ACCOUNTS, Graph, History, Known, Lookup, Memory, NoMemory, Note,
    Progress, Question, Report, Status, Verdict, Verifier, evidence_request, judge,
};
