//! Where mls-rs lays down one group and takes one key package from, and the snapshot of it.

use super::suite::Refused;
use alloc::{sync::Arc, vec, vec::Vec};
use mls_rs::{GroupStateStorage, KeyPackageStorage};
use mls_rs_core::{
    group::{EpochRecord, GroupState},
    key_package::KeyPackageData,
};
use sha2::{Digest as _, Sha256};
use spin::Mutex;
use zeroize::Zeroizing;

/// The version of snapshots, their first byte.
const VERSION: u8 = 3;
/// How many epochs back a late message can be decrypted.
const EPOCHS: usize = 5;

/// One group and one key package. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    id: Vec<u8>,
    /// The state but for the tree.
    state: Option<Zeroizing<Vec<u8>>>,
    tree: Tree,
    /// Since which epoch a leaf has had its holder, where that was not always so.
    since: Vec<(u32, u64)>,
    epochs: Vec<EpochRecord>,
    package: Option<(Vec<u8>, KeyPackageData)>,
}

/// The public tree: most of what a group is, and it changes with the epoch alone. So its SHA-256,
/// which every snapshot has, is made once an epoch.
#[derive(Default)]
struct Tree {
    epoch: Option<u64>,
    hash: [u8; 32],
    bytes: Arc<[u8]>,
}

impl Tree {
    fn new(epoch: u64, bytes: &[u8]) -> Self {
        Self { epoch: Some(epoch), hash: Sha256::digest(bytes).into(), bytes: bytes.into() }
    }
}

impl Shelf {
    /// With a key package of that id, for joining.
    pub(super) fn with_package(id: Vec<u8>, package: KeyPackageData) -> Self {
        let kept = Kept { package: Some((id, package)), ..Kept::default() };
        Self(Arc::new(Mutex::new(kept)))
    }

    /// The key package that was made, or is left.
    pub(super) fn take_package(&self) -> Option<(Vec<u8>, KeyPackageData)> {
        self.0.lock().package.take()
    }

    /// The group's id.
    pub(super) fn id(&self) -> Vec<u8> {
        self.0.lock().id.clone()
    }

    /// Leaves got other holders in that epoch. What is older than all epochs that are kept says
    /// nothing any more.
    pub(super) fn came(&self, leaves: impl Iterator<Item = u32>, epoch: u64) {
        let mut kept = self.0.lock();
        for leaf in leaves {
            kept.since.retain(|(index, _)| *index != leaf);
            kept.since.push((leaf, epoch));
        }
        let oldest = kept.epochs.first().map_or(epoch, |record| record.id);
        kept.since.retain(|(_, since)| *since > oldest);
    }

    /// Since which epoch a leaf has had its holder.
    pub(super) fn since(&self, leaf: u32) -> u64 {
        let kept = self.0.lock();
        kept.since.iter().find(|(index, _)| *index == leaf).map_or(0, |(_, since)| *since)
    }

    /// The epoch that the tree is of.
    pub(super) fn tree_epoch(&self) -> Option<u64> {
        self.0.lock().tree.epoch
    }

    pub(super) fn tree(&self) -> Arc<[u8]> {
        self.0.lock().tree.bytes.clone()
    }

    pub(super) fn put_tree(&self, epoch: u64, tree: &[u8]) {
        self.0.lock().tree = Tree::new(epoch, tree);
    }

    /// A version, then every part after its length of 4 bytes: id, state, since when leaves have
    /// had their holders, the epoch of the tree and its SHA-256, and of each epoch its number and
    /// data.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let kept = self.0.lock();
        let mut out = Zeroizing::new(vec![VERSION]);
        let mut put = |part: &[u8]| {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(part);
        };
        put(&kept.id);
        put(kept.state.as_ref().map_or(&[][..], |state| state));
        let since =
            |(leaf, epoch): &(u32, u64)| [&leaf.to_be_bytes()[..], &epoch.to_be_bytes()].concat();
        put(&kept.since.iter().flat_map(since).collect::<Vec<u8>>());
        put(&[&kept.tree.epoch.unwrap_or_default().to_be_bytes()[..], &kept.tree.hash].concat());
        for epoch in &kept.epochs {
            put(&epoch.id.to_be_bytes());
            put(&epoch.data);
        }
        out
    }

    /// Reads a snapshot, and the tree that belongs to it.
    pub(super) fn read(bytes: &[u8], tree: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let mut take = || -> Option<Option<&[u8]>> {
            if rest.is_empty() {
                return Some(None);
            }
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            rest = after;
            Some(Some(part))
        };
        let id = take()??.to_vec();
        let state = Zeroizing::new(take()??.to_vec());
        let (since, []) = take()??.as_chunks::<12>() else { return None };
        let since = since.iter().filter_map(|entry| {
            let (leaf, epoch) = entry.split_first_chunk::<4>()?;
            Some((u32::from_be_bytes(*leaf), u64::from_be_bytes(epoch.try_into().ok()?)))
        });
        let since = since.collect();
        let (epoch, hash) = take()??.split_first_chunk()?;
        let tree = Tree::new(u64::from_be_bytes(*epoch), tree);
        if tree.hash != *hash {
            return None;
        }
        let mut epochs = Vec::new();
        while let Some(number) = take()? {
            let number = u64::from_be_bytes(number.try_into().ok()?);
            epochs.push(EpochRecord::new(number, Zeroizing::new(take()??.to_vec())));
        }
        let kept = Kept { id, state: Some(state), tree, since, epochs, package: None };
        Some(Self(Arc::new(Mutex::new(kept))))
    }
}

impl GroupStateStorage for Shelf {
    type Error = Refused;

    fn state(&self, id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        let kept = self.0.lock();
        Ok(kept.state.clone().filter(|_| kept.id == id))
    }

    fn epoch(&self, id: &[u8], epoch: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        let kept = self.0.lock();
        let found = kept.epochs.iter().find(|e| e.id == epoch && kept.id == id);
        Ok(found.map(|e| e.data.clone()))
    }

    fn write(
        &mut self,
        state: GroupState,
        new: Vec<EpochRecord>,
        changed: Vec<EpochRecord>,
    ) -> Result<(), Refused> {
        let mut kept = self.0.lock();
        kept.id = state.id;
        kept.state = Some(state.data);
        kept.epochs.extend(new);
        for epoch in changed {
            if let Some(old) = kept.epochs.iter_mut().find(|old| old.id == epoch.id) {
                *old = epoch;
            }
        }
        let spare = kept.epochs.len().saturating_sub(EPOCHS);
        kept.epochs.drain(..spare);
        Ok(())
    }

    fn max_epoch_id(&self, id: &[u8]) -> Result<Option<u64>, Refused> {
        let kept = self.0.lock();
        Ok(kept.epochs.last().map(|e| e.id).filter(|_| kept.id == id))
    }
}

impl KeyPackageStorage for Shelf {
    type Error = Refused;

    fn delete(&mut self, _: &[u8]) -> Result<(), Refused> {
        self.0.lock().package = None;
        Ok(())
    }

    fn insert(&mut self, id: Vec<u8>, package: KeyPackageData) -> Result<(), Refused> {
        self.0.lock().package = Some((id, package));
        Ok(())
    }

    fn get(&self, id: &[u8]) -> Result<Option<KeyPackageData>, Refused> {
        let kept = self.0.lock();
        Ok(kept.package.as_ref().filter(|p| p.0 == id).map(|p| p.1.clone()))
    }
}
