//! Verifying BIP-340 signatures, one or many: many by one random linear combination, which is
//! sound because the group has prime order. Ed25519 signatures are never combined, since a batch
//! can accept what a single check refuses (SPEC.md, "Suites").

use crate::{Key, Suite};
use alloc::{sync::Arc, vec::Vec};
use k256::{
    FieldBytes, ProjectivePoint, Scalar,
    elliptic_curve::{
        PrimeField,
        group::Group,
        ops::{LinearCombination, Reduce},
    },
    schnorr::VerifyingKey,
};
use sha2::{Digest as _, Sha256};
use wnaf::{WnafBase, WnafScalar, array::sizes::U5};

/// A signature whose check is put off.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) key: Arc<Key>,
    pub(crate) suite: Suite,
    pub(crate) message: [u8; 32],
    pub(crate) sig: [u8; 64],
}

impl Pending {
    /// Bytes that are equal for equal signatures of one message by one key.
    pub(crate) fn name(&self) -> Vec<u8> {
        let key = self.key.identity().as_str().as_bytes();
        [key, self.suite.as_str().as_bytes(), &self.message, &self.sig].concat()
    }

    fn verify(&self) -> crate::Result<()> {
        self.key.verify(self.suite, &self.message, &self.sig)
    }

    fn schnorr(&self) -> Option<Schnorr<'_>> {
        let key = self.key.schnorr().filter(|_| self.suite != Suite::Ed25519)?;
        Some(Schnorr { key, message: &self.message, sig: &self.sig })
    }
}

/// A BIP-340 signature.
#[derive(Clone, Copy)]
pub(crate) struct Schnorr<'a> {
    pub(crate) key: &'a VerifyingKey,
    pub(crate) message: &'a [u8],
    pub(crate) sig: &'a [u8; 64],
}

/// Beyond this a larger combination gains little more.
const CHUNK: usize = 256;

/// Verifies all; on failure gives the index of the first that does not verify, and its error.
pub(crate) fn verify(pending: &[(usize, Pending)]) -> Result<(), (usize, crate::Error)> {
    for (n, chunk) in pending.chunks(CHUNK).enumerate() {
        let schnorr: Vec<Schnorr<'_>> = chunk.iter().filter_map(|(_, p)| p.schnorr()).collect();
        let batched = schnorr.len() > 1 && all_hold(&schnorr);
        // One by one names the culprit.
        for (i, (_, one)) in chunk.iter().enumerate() {
            if !batched || one.schnorr().is_none() {
                one.verify().map_err(|e| (n * CHUNK + i, e))?;
            }
        }
    }
    Ok(())
}

fn scalar(bytes: [u8; 32]) -> Scalar {
    <Scalar as Reduce<FieldBytes>>::reduce(&bytes.into())
}

/// A hash that has taken BIP-340's tag in, for the challenge `e`.
fn challenge() -> Sha256 {
    let tag = Sha256::digest(b"BIP0340/challenge");
    Sha256::new_with_prefix(tag).chain_update(tag)
}

/// What coefficients are drawn from: all that is combined.
fn seed(signed: &[Schnorr<'_>]) -> Sha256 {
    let mut seed = Sha256::new_with_prefix(b"KEZ1\0batch\0");
    for Schnorr { key, message, sig } in signed {
        seed.update(key.to_bytes());
        seed.update((message.len() as u64).to_le_bytes());
        seed.update(message);
        seed.update(sig);
    }
    Sha256::new_with_prefix(seed.finalize())
}

/// Whether Σ aᵢsᵢ·G = Σ aᵢ·Rᵢ + Σ aᵢeᵢ·Pᵢ, where Rᵢ is the even point at r (BIP-340, "Batch
/// Verification"). The coefficients have 128 bits and depend on all inputs, so that nobody can
/// choose signatures that cancel out; the first is 1, so that a single signature is checked by
/// BIP-340's own equation, without the inversion that gives R its coordinates. Few keys sign, and
/// each Rᵢ stands there once: its short coefficient saves half of the work.
pub(crate) fn all_hold(signed: &[Schnorr<'_>]) -> bool {
    let (challenge, seed) = (challenge(), (signed.len() > 1).then(|| seed(signed)));
    let mut sum = Scalar::ZERO;
    let mut points = ProjectivePoint::IDENTITY;
    let mut terms: Vec<(WnafBase<ProjectivePoint, U5>, WnafScalar<Scalar, U5>)> = Vec::new();
    let mut keys: Vec<(&VerifyingKey, Scalar)> = Vec::new();
    for (i, &Schnorr { key, message, sig }) in signed.iter().enumerate() {
        let (r, s) = sig.split_at(32);
        // Refuses r ≥ p, s ≥ n and s = 0; the next one, an r without a point.
        if k256::schnorr::Signature::from_bytes(sig).is_err() {
            return false;
        }
        let (Ok(point), Ok(s)) = (VerifyingKey::from_slice(r), FieldBytes::try_from(s)) else {
            return false;
        };
        let Some(s) = Scalar::from_repr(s).into_option() else { return false };
        let point = ProjectivePoint::from(*point.as_affine());
        let a = match &seed {
            Some(seed) if i > 0 => {
                let hash = seed.clone().chain_update((i as u64).to_le_bytes()).finalize();
                terms.push((WnafBase::new(&point), WnafScalar::from_le_bytes(&hash[..16])));
                Scalar::from(hash[..16].try_into().map_or(0, u128::from_le_bytes))
            }
            _ => {
                points += point;
                Scalar::ONE
            }
        };
        sum += a * s;
        let e = challenge.clone().chain_update(r).chain_update(key.to_bytes());
        let weight = a * scalar(e.chain_update(message).finalize().into());
        match keys.iter_mut().find(|(k, _)| *k == key) {
            Some((_, total)) => *total += weight,
            None => keys.push((key, weight)),
        }
    }
    points += WnafBase::multiscalar_mul(terms.iter().map(|(table, digits)| (table, digits)));
    let mut rest: Vec<_> =
        keys.iter().map(|(k, w)| (ProjectivePoint::from(*k.as_affine()), *w)).collect();
    rest.push((ProjectivePoint::GENERATOR, -sum));
    (points + ProjectivePoint::lincomb_vartime(&rest[..])).is_identity().into()
}

#[cfg(test)]
mod tests {
    use super::{Schnorr, all_hold};
    use crate::{Identity, Key, Scheme, SecretKey};
    use std::vec::Vec;

    /// The library's own check, one by one.
    fn library(one: &Schnorr<'_>) -> bool {
        let sig = k256::schnorr::Signature::from_bytes(one.sig);
        sig.is_ok_and(|sig| one.key.verify_raw(one.message, &sig).is_ok())
    }

    /// Whatever bit is turned in a signature or a message, what k256 says of each is said, alone and among others
    /// (KEZ-SIG-06).
    #[test]
    fn as_the_library_says() {
        let secrets =
            [[1; 32], [2; 32], [3; 32]].map(|b| SecretKey::from_bytes(Scheme::Nostr, b).unwrap());
        let keys: Vec<Key> = secrets.iter().map(|s| s.public().clone()).collect();
        let digest = |n: u8| [n; 32];
        let sigs: Vec<[u8; 64]> = (0..9u8)
            .map(|n| secrets[usize::from(n % 3)].sign(&digest(n), &[n; 32]).unwrap().1)
            .collect();
        let messages: Vec<[u8; 32]> = (0..9).map(digest).collect();
        let all = |messages: &[[u8; 32]], sigs: &[[u8; 64]]| {
            let each: Vec<Schnorr<'_>> = (0..9)
                .map(|n| Schnorr {
                    key: keys[n % 3].schnorr().unwrap(),
                    message: &messages[n],
                    sig: &sigs[n],
                })
                .collect();
            for one in &each {
                assert_eq!(all_hold(&[*one]), library(one));
            }
            assert_eq!(all_hold(&each), each.iter().all(library));
            all_hold(&each)
        };
        assert!(all(&messages, &sigs));
        for bit in 0..64 * 8 {
            let (mut messages, mut sigs) = (messages.clone(), sigs.clone());
            sigs[bit % 9][bit / 8] ^= 1 << (bit % 8);
            assert!(!all(&messages, &sigs));
            sigs[bit % 9][bit / 8] ^= 1 << (bit % 8);
            messages[bit % 9][bit / 16] ^= 1 << (bit % 8);
            assert!(!all(&messages, &sigs));
        }
        let mut swapped = sigs.clone();
        swapped.swap(0, 3);
        assert!(!all(&messages, &swapped));
        // Two of one key, the one too large by as much as the other is too small: equal coefficients would let them through.
        let mut moved = sigs;
        let n = (32..64).find(|n| moved[3][*n] < 0xff && moved[6][*n] > 0).unwrap();
        moved[3][n] += 1;
        moved[6][n] -= 1;
        assert!(!all(&messages, &moved));
    }

    /// Out of range, or no point: refused before anything is computed.
    #[test]
    fn out_of_range() {
        let key = Key::from_identity(
            &Identity::from_canonical(
                "nostr:npub1sn0wdenkukak0d9dfczzeacvhkrgz92ak56egt7vdgzn8pv2wfqqhrjdv9",
            )
            .unwrap(),
        )
        .unwrap();
        for sig in [[0xff; 64], [0; 64], core::array::from_fn(|n| if n < 32 { 5 } else { 1 })] {
            let one = Schnorr { key: key.schnorr().unwrap(), message: &[1; 32], sig: &sig };
            assert!(!all_hold(&[one]) && !library(&one));
        }
    }
}
