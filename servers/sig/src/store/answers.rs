//! Bundles in memory, as they are served: small ones are cached, and a large one is shared by all
//! who read it at the same time.

use axum::body::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use kez_core::{Head, log::Proof};
use kez_server::{limit::Share, sqlite::Failure};
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::OnceCell;

/// How many bytes of bundles are cached.
const MAX_BYTES: usize = 64 << 20;
/// Larger bundles are not cached, only shared.
const MAX_BUNDLE: usize = 1 << 20;
/// How many chains, including those that are being read.
const MAX_CHAINS: NonZeroUsize = NonZeroUsize::new(100_000).expect("it is not 0");

/// A chain as it is served.
pub struct Stored {
    /// The last event.
    pub head: Head,
    /// The head's entry in the log.
    pub(super) leaf: u64,
    /// The events, one a line.
    pub bundle: Bytes,
    deflated: OnceCell<Deflated>,
    /// The proof that was made last: from which size, for which checkpoint.
    pub(super) proof: Mutex<Option<(u64, Arc<Proof>)>>,
    /// The memory of a large bundle.
    _share: Option<Share>,
}

/// A compressed bundle that more can be appended to.
#[derive(Clone)]
struct Deflated {
    /// A DEFLATE stream (RFC 1951) without its last block.
    bytes: Bytes,
    crc: u32,
}

impl Stored {
    pub(super) fn new(head: Head, leaf: u64, bundle: Bytes, share: Option<Share>) -> Self {
        let (deflated, proof) = (OnceCell::new(), Mutex::new(None));
        Self { head, leaf, bundle, deflated, proof, _share: share }
    }

    /// The bundle, followed by `more`, as a gzip file (RFC 1952) in parts. The bundle is compressed
    /// once for all readers.
    ///
    /// # Errors
    /// `Storage` if the runtime ends.
    pub async fn gzip(&self, more: &[u8]) -> Result<[Bytes; 3], Failure> {
        const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let first = self.deflated.get_or_try_init(async || {
            let bundle = self.bundle.clone();
            let compress = move || Deflated {
                bytes: deflate(&bundle, FlushCompress::Full).into(),
                crc: crc32fast::hash(&bundle),
            };
            // A large bundle takes long. The other readers wait without a thread.
            let done = tokio::task::spawn_blocking(compress).await;
            done.map_err(|e| Failure::Storage(e.to_string()))
        });
        let first = first.await?;
        let mut crc = crc32fast::Hasher::new_with_initial_len(first.crc, self.bundle.len() as u64);
        crc.update(more);
        let mut end = deflate(more, FlushCompress::Finish);
        let length = (self.bundle.len() + more.len()) as u32;
        end.extend(crc.finalize().to_le_bytes());
        end.extend(length.to_le_bytes());
        Ok([Bytes::from_static(HEADER), first.bytes.clone(), end.into()])
    }
}

/// Compresses to a stream that ends at a byte and needs nothing of what follows or precedes it.
fn deflate(data: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    loop {
        let done = compress.total_in() as usize;
        let before = out.len();
        // The output only grows, so there is no error.
        let _ = compress.compress_vec(&data[done..], &mut out, flush);
        let full = out.len() == out.capacity();
        if compress.total_in() as usize == data.len() && !full && out.len() >= before {
            return out;
        }
        out.reserve(out.len().max(64));
    }
}

/// The place of a chain. The version tells a reader whether the chain changed since it asked the
/// storage.
struct Slot {
    version: u64,
    stored: Option<Arc<Stored>>,
    /// A bundle that is too large for the cache, while a reader has it.
    large: Weak<Stored>,
    /// Held by the one reader that asks the storage.
    reading: Arc<tokio::sync::Mutex<()>>,
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

    /// The chain, if it is in memory.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Stored>> {
        let mut inner = self.lock();
        let slot = inner.slots.get(name)?;
        slot.stored.clone().or_else(|| slot.large.upgrade())
    }

    /// A ticket with which to add what the storage will answer, and the lock to hold meanwhile.
    pub(super) fn ticket(&self, name: &str) -> (u64, Arc<tokio::sync::Mutex<()>>) {
        let mut inner = self.lock();
        if let Some(slot) = inner.slots.get(name) {
            return (slot.version, slot.reading.clone());
        }
        inner.versions += 1;
        let (version, reading) = (inner.versions, Arc::default());
        let slot =
            Slot { version, stored: None, large: Weak::new(), reading: Arc::clone(&reading) };
        if let Some((_, old)) = inner.slots.push(name.into(), slot) {
            inner.forget(&old);
        }
        (version, reading)
    }

    /// Adds what the storage answered, unless the chain has changed since the ticket was given.
    pub(super) fn keep(&self, name: &str, ticket: u64, stored: &Arc<Stored>) {
        let mut inner = self.lock();
        let Some(slot) = inner.slots.get_mut(name).filter(|slot| slot.version == ticket) else {
            return;
        };
        if is_large(stored.bundle.len()) {
            slot.large = Arc::downgrade(stored);
            return;
        }
        if slot.stored.replace(stored.clone()).is_none() {
            inner.bytes += stored.bundle.len();
        }
        while inner.bytes > MAX_BYTES {
            let Some((_, slot)) = inner.slots.pop_lru() else { break };
            inner.forget(&slot);
        }
    }

    /// Removes everything.
    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.slots.clear();
        inner.bytes = 0;
    }

    /// Removes a chain that has changed. After this no reader gets what it was before.
    pub(super) fn forget(&self, name: &str) {
        let mut inner = self.lock();
        inner.versions += 1;
        let version = inner.versions;
        if let Some(slot) = inner.slots.get_mut(name) {
            slot.version = version;
            slot.large = Weak::new();
            if let Some(stored) = slot.stored.take() {
                inner.bytes -= stored.bundle.len();
            }
        }
    }
}

/// Whether a bundle of this many bytes is too large for the cache.
pub(super) const fn is_large(bytes: usize) -> bool {
    bytes > MAX_BUNDLE
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
            Arc::new(Stored::new(head, seq, Bytes::from_static(b"a line\n"), None))
        };
        let old = answers.ticket(name).0;
        answers.forget(name);
        answers.keep(name, old, &stored(1));
        assert!(answers.get(name).is_none());
        let new = answers.ticket(name).0;
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
        let old = answers.ticket(name).0;
        answers.lock().slots.pop(name);
        answers.keep(name, old, &stored(1));
        assert!(answers.get(name).is_none());
    }

    #[test]
    fn a_large_bundle_is_shared_while_it_is_read() {
        let answers = Answers::default();
        let (name, head) = ("ed25519:abab", Head { seq: 1, id: ObjectId::digest("event", b"") });
        let large = Bytes::from(vec![b'x'; MAX_BUNDLE + 1]);
        let stored = Arc::new(Stored::new(head, 0, large, None));
        answers.keep(name, answers.ticket(name).0, &stored);
        assert!(answers.get(name).is_some());
        assert_eq!(answers.lock().bytes, 0);
        drop(stored);
        assert!(answers.get(name).is_none());
    }

    #[tokio::test]
    async fn a_bundle_is_compressed_once_and_appended_to() {
        use std::io::Read as _;
        let head = Head { seq: 1, id: ObjectId::digest("event", b"") };
        for size in [0, 1, 100, 70_000, 3_000_000] {
            let bundle: Vec<u8> = (0..size).map(|n: u32| (n.wrapping_mul(n) >> 7) as u8).collect();
            let stored = Stored::new(head, 0, bundle.clone().into(), None);
            for more in [&b""[..], b"proof\n"] {
                let file = stored.gzip(more).await.unwrap().concat();
                let mut read = Vec::new();
                flate2::read::GzDecoder::new(&*file).read_to_end(&mut read).unwrap();
                assert_eq!(read, [&bundle[..], more].concat());
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        let answers = Answers::default();
        let large = Bytes::from(vec![b'x'; MAX_BUNDLE]);
        for n in 0..100 {
            let name = &format!("ed25519:{n:064x}");
            let head = Head { seq: 1, id: ObjectId::digest("event", b"") };
            let ticket = answers.ticket(name).0;
            answers.keep(name, ticket, &Arc::new(Stored::new(head, n, large.clone(), None)));
        }
        let inner = answers.lock();
        assert_eq!(inner.bytes, MAX_BYTES);
        let kept = inner.slots.iter().filter(|(_, slot)| slot.stored.is_some()).count();
        assert_eq!(kept, MAX_BYTES / MAX_BUNDLE);
    }
}
