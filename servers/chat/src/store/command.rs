//! What is written, each as a value: a server that is alone does it at once, and one of several
//! when the stream that they share comes to it. All that decides is in the value and in the file,
//! so that all of them do the same.

use super::{
    Claimed, Commit, Item, NewEntry, NewKeyPackage, Posted, Quotas, Refusal, conversation,
    directory,
    inbox::{self, Acknowledgement},
    migrate::{self, Cell},
    upkeep,
};
use crate::{
    api,
    broker::{self, Broker},
};
use kez_core::{Chain, chat::SignedHandle};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// Something to write. Times are seconds since 1970.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Register {
        #[serde(with = "handle")]
        handle: Box<SignedHandle>,
        #[serde(with = "chain")]
        chain: Box<Chain>,
    },
    Release {
        handle: String,
    },
    UpdateChain {
        handle: String,
        #[serde(with = "chain")]
        chain: Box<Chain>,
    },
    PutBundle {
        device: String,
        bundle: String,
    },
    PutKeyPackages {
        device: String,
        packages: Vec<NewKeyPackage>,
        expires: i64,
    },
    Claim {
        handle: String,
        now: i64,
    },
    Create {
        id: String,
        creator: String,
        most: u64,
    },
    Post {
        entry: NewEntry,
        commit: Option<Commit>,
        quotas: Quotas,
    },
    Acknowledge {
        handle: String,
        device: String,
        position: u64,
        accepted: Vec<(String, u64)>,
        now: i64,
        since: i64,
    },
    Upkeep {
        now: i64,
        before: i64,
    },
    /// Of a migration.
    Rows {
        table: String,
        rows: Vec<Vec<Cell>>,
    },
    Block {
        handle: String,
        other: String,
        on: bool,
    },
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Done,
    Flag(bool),
    Count(u64),
    Posted(Posted),
    Claimed(Vec<Claimed>),
    Migrated,
}

impl Output {
    pub(super) fn flag(self) -> Result<bool, Refusal> {
        if let Self::Flag(flag) = self { Ok(flag) } else { Err(Refusal::mixed_up()) }
    }

    pub(super) fn count(self) -> Result<u64, Refusal> {
        if let Self::Count(count) = self { Ok(count) } else { Err(Refusal::mixed_up()) }
    }

    pub(super) fn posted(self) -> Result<Posted, Refusal> {
        if let Self::Posted(posted) = self { Ok(posted) } else { Err(Refusal::mixed_up()) }
    }

    pub(super) fn claimed(self) -> Result<Vec<Claimed>, Refusal> {
        if let Self::Claimed(claimed) = self { Ok(claimed) } else { Err(Refusal::mixed_up()) }
    }
}

/// What subscribers of an inbox are told: an item, or that its owner's devices changed.
pub(super) type News = Vec<(String, Option<Item>)>;

impl Command {
    /// What it sets, by its key among what all servers share: handles, their owners' chains, and
    /// devices. A handle has no character that a key may not have.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Register { handle, .. } => Some(format!("handle.{}", handle.record().handle)),
            Self::Release { handle } => Some(format!("handle.{handle}")),
            Self::UpdateChain { handle, .. } => Some(format!("chain.{handle}")),
            Self::PutBundle { device, .. } => {
                Some(format!("device.{}", device.strip_prefix("ed25519:")?))
            }
            _ => None,
        }
    }

    /// Does it, within a transaction, and adds what is to be told.
    pub(super) fn apply(self, db: &Connection, news: &mut News) -> Result<Output, Refusal> {
        Ok(match self {
            Self::Register { handle, chain } => {
                let (new, changed) = directory::register(db, &handle, &chain)?;
                news.extend(changed.then(|| (handle.record().handle.to_string(), None)));
                Output::Flag(new)
            }
            Self::Release { handle } => {
                directory::release(db, &handle)?;
                news.push((handle, None));
                Output::Done
            }
            Self::UpdateChain { handle, chain } => {
                let changed = directory::update_chain(db, &handle, &chain)?;
                news.extend(changed.then_some((handle, None)));
                Output::Flag(changed)
            }
            Self::PutBundle { device, bundle } => {
                directory::put_bundle(db, &device, &bundle)?;
                Output::Done
            }
            Self::PutKeyPackages { device, packages, expires } => {
                Output::Count(directory::put_key_packages(db, &device, &packages, expires)?)
            }
            Self::Claim { handle, now } => Output::Claimed(directory::claim(db, &handle, now)?),
            Self::Create { id, creator, most } => {
                Output::Flag(conversation::create(db, &id, &creator, most)?)
            }
            Self::Post { entry, commit, quotas } => {
                let (posted, put) = conversation::post(db, &entry, commit, &quotas)?;
                news.extend(put.into_iter().map(|(handle, item)| (handle, Some(item))));
                Output::Posted(posted)
            }
            Self::Acknowledge { handle, device, position, accepted, now, since } => {
                let (handle, device, accepted) = (&*handle, &*device, &*accepted);
                let ack = Acknowledgement { handle, device, position, accepted, now, since };
                Output::Count(inbox::acknowledge(db, &ack)?)
            }
            Self::Upkeep { now, before } => Output::Flag(upkeep::upkeep(db, now, before)?),
            Self::Rows { table, rows } => {
                migrate::insert(db, &table, &rows)?;
                Output::Migrated
            }
            Self::Block { handle, other, on } => {
                inbox::block(db, &handle, &other, on)?;
                Output::Done
            }
        })
    }
}

/// Tells whoever listens, once it is committed.
pub(super) fn tell(broker: &dyn Broker, news: &News) {
    for (handle, item) in news {
        let news = match item {
            Some(item) => broker::News::Item { position: item.position, frame: api::frame(item) },
            None => broker::News::Devices,
        };
        broker.publish(handle, news);
    }
}

/// A time as its seconds.
pub(super) mod seconds {
    use kez_core::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.seconds())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_seconds)
    }
}

/// A handle as its signed record.
mod handle {
    use kez_core::{Envelope, chat::SignedHandle, json::Value};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        handle: &SignedHandle,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&handle.envelope().to_canonical())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<SignedHandle>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let envelope = Value::parse(text.as_bytes()).and_then(Envelope::from_value);
        envelope.and_then(SignedHandle::read).map(Box::new).map_err(D::Error::custom)
    }
}

/// A chain as its name and bundle: whoever wrote it had verified it.
mod chain {
    use kez_core::{Chain, Identity};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        chain: &Chain,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (chain.name().as_str(), chain.to_bundle()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<Chain>, D::Error> {
        let (name, bundle) = <(String, String)>::deserialize(deserializer)?;
        let name = Identity::from_canonical(&name).map_err(D::Error::custom)?;
        let chain = Chain::replay_trusted(bundle.as_bytes(), &name);
        chain.map(Box::new).map_err(D::Error::custom)
    }
}
