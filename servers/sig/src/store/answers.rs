//! Bundles in memory, as they are served, so that most reads need no storage.

use axum::body::Bytes;
use kez_core::{Head, log::Proof};
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many bytes of bundles are kept.
const MAX_BYTES: usize = 64 << 20;
/// Larger bundles are read each time.
const MAX_BUNDLE: usize = 1 << 20;
/// How many chains, those included that are just being read.
const MAX_CHAINS: NonZeroUsize = NonZeroUsize::new(100_000).expect("it is not 0");

/// A chain as it is served.
pub(super) struct Stored {
    pub(super) head: Head,
    /// The head's entry in the log.
    pub(super) leaf: u64,
    pub(super) bundle: Bytes,
    /// The proof that was given last: from which size, for which checkpoint.
    pub(super) proof: Mutex<Option<(u64, Arc<Proof>)>>,
}

impl Stored {
    pub(super) const fn new(head: Head, leaf: u64, bundle: Bytes) -> Self {
        Self { head, leaf, bundle, proof: Mutex::new(None) }
    }
}

/// The place of a chain. The version tells a reader whether the chain changed since it asked the
/// storage.
struct Slot {
    version: u64,
    stored: Option<Arc<Stored>>,
}

pub(super) struct Answers(Mutex<Inner>);

struct Inner {
    slots: LruCache<Box<str>, Slot>,
    bytes: usize,
    versions: u64,
}

impl Default for Answers {
    fn default() -> Self {
        let slots = LruCache::new(MAX_CHAINS);
        Self(Mutex::new(Inner { slots, bytes: 0, versions: 0 }))
    }
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Stored>> {
        self.lock().slots.get(name)?.stored.clone()
    }

    /// A ticket with which to keep what the storage will say.
    pub(super) fn ticket(&self, name: &str) -> u64 {
        let mut inner = self.lock();
        if let Some(slot) = inner.slots.get(name) {
            return slot.version;
        }
        inner.versions += 1;
        let version = inner.versions;
        let slot = Slot { version, stored: None };
        if let Some((_, old)) = inner.slots.push(name.into(), slot) {
            inner.forget(&old);
        }
        version
    }

    /// Keeps what the storage said, unless the chain has changed since the ticket was given.
    pub(super) fn keep(&self, name: &str, ticket: u64, stored: &Arc<Stored>) {
        if stored.bundle.len() > MAX_BUNDLE {
            return;
        }
        let mut inner = self.lock();
        let Some(slot) = inner.slots.get_mut(name).filter(|slot| slot.version == ticket) else {
            return;
        };
        if slot.stored.replace(stored.clone()).is_none() {
            inner.bytes += stored.bundle.len();
        }
        while inner.bytes > MAX_BYTES {
            let Some((_, slot)) = inner.slots.pop_lru() else { break };
            inner.forget(&slot);
        }
    }

    /// Forgets a chain that has changed. After this nobody is given what it was before.
    pub(super) fn forget(&self, name: &str) {
        let mut inner = self.lock();
        inner.versions += 1;
        let version = inner.versions;
        if let Some(slot) = inner.slots.get_mut(name) {
            slot.version = version;
            if let Some(stored) = slot.stored.take() {
                inner.bytes -= stored.bundle.len();
            }
        }
    }
}

impl Inner {
    fn forget(&mut self, slot: &Slot) {
        self.bytes -= slot.stored.as_ref().map_or(0, |stored| stored.bundle.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kez_core::ObjectId;

    #[test]
    fn what_changed_meanwhile_is_not_kept() {
        let answers = Answers::default();
        let name = "ed25519:abab";
        let stored = |seq: u64| {
            let head = Head { seq, id: ObjectId::digest("event", &seq.to_be_bytes()) };
            Arc::new(Stored::new(head, seq, Bytes::from_static(b"a line\n")))
        };
        let old = answers.ticket(name);
        answers.forget(name);
        answers.keep(name, old, &stored(1));
        assert!(answers.get(name).is_none());
        let new = answers.ticket(name);
        assert_ne!(old, new);
        answers.keep(name, new, &stored(2));
        assert_eq!(answers.get(name).unwrap().head.seq, 2);
        assert_eq!(answers.lock().bytes, 7);
        // A second reader with the same ticket changes nothing.
        answers.keep(name, new, &stored(2));
        assert_eq!(answers.lock().bytes, 7);
        answers.forget(name);
        assert!(answers.get(name).is_none());
        assert_eq!(answers.lock().bytes, 0);
        // A place that was given up is not filled.
        let old = answers.ticket(name);
        answers.lock().slots.pop(name);
        answers.keep(name, old, &stored(1));
        assert!(answers.get(name).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let answers = Answers::default();
        let large = Bytes::from(vec![b'x'; MAX_BUNDLE]);
        for n in 0..100 {
            let name = &format!("ed25519:{n:064x}");
            let head = Head { seq: 1, id: ObjectId::digest("event", b"") };
            let ticket = answers.ticket(name);
            answers.keep(name, ticket, &Arc::new(Stored::new(head, n, large.clone())));
        }
        let inner = answers.lock();
        assert_eq!(inner.bytes, MAX_BYTES);
        let kept = inner.slots.iter().filter(|(_, slot)| slot.stored.is_some()).count();
        assert_eq!(kept, MAX_BYTES / MAX_BUNDLE);
    }
}
