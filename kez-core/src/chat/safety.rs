//! Safety numbers: what two people compare to know that nobody stands between them (SPEC.md,
//! "Safety numbers").

use crate::Identity;
use alloc::{format, string::String, vec::Vec};
use sha2::{Digest as _, Sha256};

/// 60 digits, in twelve groups of five, from two identities and the devices of each that are in
/// force. Both sides get the same; it changes when somebody's devices do.
///
/// ```
/// use kez_core::{Scheme, SecretKey, chat::safety_number};
/// let secret = |n: u8| SecretKey::from_bytes(Scheme::Ed25519, [n; 32]).unwrap();
/// let key = |n: u8| secret(n).public().identity().clone();
/// let alice = (key(1), vec![key(2), key(3)]);
/// let bob = (key(4), vec![key(5)]);
/// let number = safety_number(&alice, &bob);
/// assert_eq!(number, safety_number(&bob, &(key(1), vec![key(3), key(2)])));
/// assert_eq!(number.len(), 60 + 11);
/// ```
#[must_use]
pub fn safety_number(a: &(Identity, Vec<Identity>), b: &(Identity, Vec<Identity>)) -> String {
    let mut halves = [half(a), half(b)];
    halves.sort();
    halves.join(" ")
}

/// 30 digits of one side: of 5,200 rounds of SHA-256, so that a search for a look-alike costs.
fn half((primary, devices): &(Identity, Vec<Identity>)) -> String {
    let mut names: Vec<&str> = devices.iter().map(Identity::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut input = Vec::from(primary.as_str());
    for name in names {
        input.push(b'\n');
        input.extend_from_slice(name.as_bytes());
    }
    let mut hash: [u8; 32] =
        Sha256::new_with_prefix(b"KEZ1\0safety\0").chain_update(&input).finalize().into();
    for _ in 0..5200 {
        hash = Sha256::new_with_prefix(hash).chain_update(&input).finalize().into();
    }
    let group = |bytes: &[u8]| {
        let n = bytes.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        format!("{:05}", n % 100_000)
    };
    hash.chunks_exact(5).take(6).map(group).collect::<Vec<_>>().join(" ")
}
