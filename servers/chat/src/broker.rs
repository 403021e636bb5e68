//! Who is told of what came in: a channel for each inbox that somebody listens to.

use axum::body::Bytes;
use kez_server::topics::{self, Topics};

/// How many items may wait for a subscriber. One that is slower reads from the storage.
pub const SLOTS: usize = 64;

/// What subscribers are told.
#[derive(Clone, Debug)]
pub enum News {
    /// An item, as it is sent: rendered once for all.
    Item {
        /// Its position in the inbox.
        position: u64,
        /// The event of the stream.
        frame: Bytes,
    },
    /// The devices of the inbox's owner changed: whoever listens has to be let in again.
    Devices,
}

/// A subscriber of an inbox, until it is dropped.
pub type Subscription = topics::Subscription<News>;

/// Tells the subscribers of an inbox. The storage is the truth: what is lost here is read there.
pub trait Broker: Send + Sync {
    /// Tells whoever listens now. Nobody listening is no error.
    fn publish(&self, inbox: &str, news: News);
    /// Listens from now on.
    fn subscribe(&self, inbox: &str) -> Subscription;
    /// How many inboxes somebody listens to.
    fn inboxes(&self) -> usize;
}

/// The broker of a server that is alone.
#[derive(Clone)]
pub struct Local(Topics<News>);

impl Default for Local {
    fn default() -> Self {
        Self(Topics::new(SLOTS))
    }
}

impl Broker for Local {
    fn publish(&self, inbox: &str, news: News) {
        self.0.publish(inbox, news);
    }

    fn subscribe(&self, inbox: &str) -> Subscription {
        self.0.subscribe(inbox)
    }

    fn inboxes(&self) -> usize {
        self.0.len()
    }
}
