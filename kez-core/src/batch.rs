//! Verifying many signatures at once. BIP-340 signatures are checked by one random linear
//! combination, which is sound because the group has prime order; Ed25519 ones never are, since
//! a batch can accept what a single check refuses (SPEC.md, "Suites").

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

/// A signature whose check is put off.
pub(crate) struct Pending {
    pub(crate) key: Arc<Key>,
    pub(crate) suite: Suite,
    pub(crate) message: [u8; 32],
    pub(crate) sig: [u8; 64],
}

impl Pending {
    fn verify(&self) -> crate::Result<()> {
        self.key.verify(self.suite, &self.message, &self.sig)
    }
}

/// Beyond this a larger combination gains nothing more.
const CHUNK: usize = 128;

/// Verifies all; on failure gives the index of the first that does not verify, and its error.
pub(crate) fn verify(pending: &[(usize, Pending)]) -> Result<(), (usize, crate::Error)> {
    for (n, chunk) in pending.chunks(CHUNK).enumerate() {
        let (schnorr, other): (Vec<&Pending>, Vec<&Pending>) = chunk
            .iter()
            .map(|(_, p)| p)
            .partition(|p| p.suite != Suite::Ed25519 && p.key.schnorr().is_some());
        let batched = schnorr.len() < 2 || combination_holds(&schnorr);
        if batched && schnorr.len() != 1 && other.iter().all(|p| p.verify().is_ok()) {
            continue;
        }
        // One by one names the culprit, and is the authority where a batch does not hold.
        for (i, (_, one)) in chunk.iter().enumerate() {
            one.verify().map_err(|e| (n * CHUNK + i, e))?;
        }
    }
    Ok(())
}

fn scalar(bytes: [u8; 32]) -> Scalar {
    <Scalar as Reduce<FieldBytes>>::reduce(&bytes.into())
}

/// The challenge `e` of BIP-340.
fn challenge(r: &[u8], key: &[u8; 32], message: &[u8; 32]) -> Scalar {
    let tag = Sha256::digest(b"BIP0340/challenge");
    let hash = Sha256::new_with_prefix(tag)
        .chain_update(tag)
        .chain_update(r)
        .chain_update(key)
        .chain_update(message);
    scalar(hash.finalize().into())
}

/// Whether Σ aᵢsᵢ·G = Σ aᵢ·Rᵢ + Σ aᵢeᵢ·Pᵢ for coefficients that depend on all inputs, so that
/// nobody can choose signatures that cancel out.
fn combination_holds(batch: &[&Pending]) -> bool {
    let mut seed = Sha256::new_with_prefix(b"KEZ1\0batch\0");
    for p in batch {
        seed.update(p.key.to_bytes());
        seed.update(p.message);
        seed.update(p.sig);
    }
    let seed = seed.finalize();
    let mut sum = Scalar::ZERO;
    let mut terms: Vec<(ProjectivePoint, Scalar)> = Vec::with_capacity(batch.len() + 2);
    let mut keys: Vec<(&VerifyingKey, Scalar)> = Vec::new();
    for (i, p) in batch.iter().enumerate() {
        let (r, s) = p.sig.split_at(32);
        let Some(key) = p.key.schnorr() else { return false };
        // Rejects r ≥ p, s ≥ n and s = 0 exactly as a single check does.
        if k256::schnorr::Signature::from_bytes(&p.sig).is_err() {
            return false;
        }
        let (Ok(point), Ok(s)) = (VerifyingKey::from_slice(r), FieldBytes::try_from(s)) else {
            return false;
        };
        let Some(s) = Scalar::from_repr(s).into_option() else { return false };
        let a = if i == 0 {
            Scalar::ONE
        } else {
            let hash = Sha256::new_with_prefix(seed).chain_update((i as u64).to_le_bytes());
            scalar(hash.finalize().into())
        };
        sum += a * s;
        terms.push((ProjectivePoint::from(*point.as_affine()), a));
        let weight = a * challenge(r, &p.key.to_bytes(), &p.message);
        match keys.iter_mut().find(|(k, _)| *k == key) {
            Some((_, total)) => *total += weight,
            None => keys.push((key, weight)),
        }
    }
    terms.extend(keys.iter().map(|(k, w)| (ProjectivePoint::from(*k.as_affine()), *w)));
    terms.push((ProjectivePoint::GENERATOR, -sum));
    ProjectivePoint::lincomb_vartime(&terms[..]).is_identity().into()
}
