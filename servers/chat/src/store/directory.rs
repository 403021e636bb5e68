//! Handles, their sigchains, devices and key packages.

use super::{Command, Refusal, Store};
use kez_core::{
    Chain, Code, Envelope, Error, Event, Identity, Op, Timestamp,
    chat::{CAPABILITY, Handle, SignedBundle, SignedHandle},
    fork::Fork,
    json::Value,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many key packages of a device are kept, those of last resort apart.
const MAX_KEY_PACKAGES: u64 = 20;

/// A handle, as it is served.
#[derive(Clone, Debug)]
pub struct HandleRow {
    /// The signed record.
    pub record: String,
    /// The identity.
    pub person: String,
    /// The devices in force that have a bundle: key and signed bundle.
    pub devices: Vec<(String, String)>,
}

/// A device, as requests are judged by.
#[derive(Clone, Debug)]
pub struct DeviceRow {
    /// The identity.
    pub person: String,
    /// The handle of the identity here.
    pub handle: String,
    /// Whether it was not revoked, nor is its time over.
    pub active: bool,
    /// When its time is over, if it is limited.
    pub not_after: Option<Timestamp>,
}

/// How long a stream or connection of a device may last: `most`, but not beyond the device's time.
pub(crate) fn life(not_after: Option<Timestamp>, most: Duration) -> Duration {
    let Some(end) = not_after else { return most };
    let end = Duration::from_secs(end.seconds().try_into().unwrap_or_default());
    end.saturating_sub(kez_server::since_epoch()).min(most)
}

/// A key package to keep.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NewKeyPackage {
    /// Its name, 64 hex digits.
    pub id: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Whether it is the one of last resort.
    pub last_resort: bool,
}

/// A device's key package that was taken out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The device's key.
    pub device: String,
    /// The device's signed bundle.
    pub bundle: String,
    /// The key package.
    pub body: Vec<u8>,
}

impl Store {
    /// Registers a handle, or takes a newer record of the same identity.
    ///
    /// # Errors
    /// `Taken`, also after its release or if the identity has another handle here; `Invalid` for
    /// a chain that is another history than the one that is kept.
    pub async fn register(&self, handle: SignedHandle, chain: Chain) -> Result<bool, Refusal> {
        let (handle, chain) = (Box::new(handle), Box::new(chain));
        self.write(Command::Register { handle, chain }).await?.flag()
    }

    /// Gives a handle up. Nobody gets it again; what waits for it is dropped.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn release(&self, handle: String) -> Result<(), Refusal> {
        self.write(Command::Release { handle }).await.map(drop)
    }

    /// A handle with its devices.
    ///
    /// # Errors
    /// `Absent` with `handle_unknown`, `Failed`.
    pub async fn handle(&self, handle: Handle, now: Timestamp) -> Result<HandleRow, Refusal> {
        self.read(move |db| {
            let (person, record) = find_handle(db, handle.as_str())?;
            let devices = reachable(db, &person, now)?;
            Ok(HandleRow { record, person, devices })
        })
        .await
    }

    /// The sigchain of a handle's owner, as the server knows it.
    ///
    /// # Errors
    /// `Absent` with `handle_unknown`, `Failed`.
    pub async fn chain(&self, handle: Handle) -> Result<String, Refusal> {
        self.read(move |db| {
            let (person, _) = find_handle(db, handle.as_str())?;
            load_chain(db, &person)?.ok_or_else(|| Refusal::absent(Code::ChainEmpty, &person))
        })
        .await
    }

    /// Takes a longer chain of a handle's owner, or the branch that settles a fork.
    ///
    /// # Errors
    /// `Absent`, `Invalid` with `chain_id` for another's chain and `forked` for another history that
    /// the committed key does not settle.
    pub async fn update_chain(&self, handle: Handle, chain: Chain) -> Result<bool, Refusal> {
        let (handle, chain) = (handle.to_string(), Box::new(chain));
        self.write(Command::UpdateChain { handle, chain }).await?.flag()
    }

    /// Who a device is.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn device(
        &self,
        device: Identity,
        now: Timestamp,
    ) -> Result<Option<DeviceRow>, Refusal> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT devices.person, handles.handle,
                        active = 1 AND (not_after IS NULL OR not_after > ?2), not_after
                 FROM devices JOIN handles ON handles.person = devices.person WHERE device = ?1",
            )?;
            let row = query.query_row(params![device.as_str(), now.seconds()], |row| {
                Ok(DeviceRow {
                    person: row.get(0)?,
                    handle: row.get(1)?,
                    active: row.get(2)?,
                    not_after: row.get::<_, Option<_>>(3)?.map(Timestamp::from_seconds),
                })
            });
            Ok(row.optional()?)
        })
        .await
    }

    /// Keeps a device's bundle.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn put_bundle(&self, bundle: SignedBundle) -> Result<(), Refusal> {
        let device = bundle.bundle().device.to_string();
        let bundle = bundle.envelope().to_canonical();
        self.write(Command::PutBundle { device, bundle }).await.map(drop)
    }

    /// Keeps key packages of a device, and tells how many there are for single use.
    ///
    /// # Errors
    /// `Quota` if there are too many, `Failed`.
    pub async fn put_key_packages(
        &self,
        device: Identity,
        packages: Vec<NewKeyPackage>,
        expires: Timestamp,
    ) -> Result<u64, Refusal> {
        let (device, expires) = (device.to_string(), expires.seconds());
        self.write(Command::PutKeyPackages { device, packages, expires }).await?.count()
    }

    /// How many key packages for single use a device has left.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn key_packages(&self, device: Identity) -> Result<u64, Refusal> {
        self.read(move |db| count_packages(db, device.as_str())).await
    }

    /// Takes one key package of every device in force of a handle: one for single use, or else
    /// the one of last resort, which stays.
    ///
    /// # Errors
    /// `Absent`, `Failed`.
    pub async fn claim(&self, handle: Handle, now: Timestamp) -> Result<Vec<Claimed>, Refusal> {
        let (handle, now) = (handle.to_string(), now.seconds());
        self.write(Command::Claim { handle, now }).await?.claimed()
    }
}

/// [`Store::register`]. Gives whether the handle is new, and whether the chain has changed.
pub(super) fn register(
    db: &Connection,
    handle: &SignedHandle,
    chain: &Chain,
) -> Result<(bool, bool), Refusal> {
    let record = handle.record();
    let (name, person) = (record.handle.as_str(), record.primary.as_str());
    let taken = |about: &str| Refusal::Taken(Error::about(Code::HandleTaken, about));
    let mut query =
        db.prepare_cached("SELECT person, record, created FROM handles WHERE handle = ?")?;
    let found = query
        .query_row([name], |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(2)?)));
    let new = match found.optional()? {
        Some((owner, _)) if owner.as_deref() != Some(person) => {
            return Err(taken(name));
        }
        Some((_, created)) if record.created_at.seconds() < created => {
            return Err(taken("there is a newer record"));
        }
        Some(_) => false,
        None => true,
    };
    let other: Option<String> = db
        .prepare_cached("SELECT handle FROM handles WHERE person = ?1 AND handle <> ?2")?
        .query_row([person, name], |row| row.get(0))
        .optional()?;
    if let Some(other) = other {
        return Err(taken(&format!("the identity is {other} here")));
    }
    db.prepare_cached(
        "INSERT INTO handles (handle, person, record, created, seen) VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (handle) DO UPDATE SET record = ?3, created = ?4",
    )?
    .execute(params![
        name,
        person,
        handle.envelope().to_canonical(),
        record.created_at.seconds()
    ])?;
    Ok((new, save_chain(db, chain)?))
}

/// [`Store::release`].
pub(super) fn release(db: &Connection, handle: &str) -> Result<(), Refusal> {
    for table in ["members", "inbox", "senders", "blocks"] {
        db.execute(&format!("DELETE FROM {table} WHERE handle = ?"), [handle])?;
    }
    let person: Option<String> = db
        .query_row("SELECT person FROM handles WHERE handle = ?", [handle], |row| row.get(0))
        .optional()?
        .flatten();
    if let Some(person) = person {
        for sql in [
            "DELETE FROM key_packages WHERE device IN (SELECT device FROM devices WHERE person = ?)",
            "DELETE FROM devices WHERE person = ?",
            "DELETE FROM chains WHERE person = ?",
        ] {
            db.execute(sql, [&person])?;
        }
    }
    db.execute(
        "UPDATE handles SET person = NULL, record = NULL, items = 0, bytes = 0, request_items = 0,
         request_bytes = 0 WHERE handle = ?",
        [handle],
    )?;
    Ok(())
}

/// [`Store::update_chain`].
pub(super) fn update_chain(db: &Connection, handle: &str, chain: &Chain) -> Result<bool, Refusal> {
    old_chain(db, handle, chain)?;
    save_chain(db, chain)
}

/// [`Store::put_bundle`].
pub(super) fn put_bundle(db: &Connection, device: &str, bundle: &str) -> Result<(), Refusal> {
    db.prepare_cached("UPDATE devices SET bundle = ?2 WHERE device = ?1")?
        .execute([device, bundle])?;
    Ok(())
}

/// [`Store::put_key_packages`].
pub(super) fn put_key_packages(
    db: &Connection,
    device: &str,
    packages: &[NewKeyPackage],
    expires: i64,
) -> Result<u64, Refusal> {
    for package in packages {
        if package.last_resort {
            db.prepare_cached("DELETE FROM key_packages WHERE device = ? AND last_resort = 1")?
                .execute([device])?;
        }
        db.prepare_cached(
            "INSERT INTO key_packages (id, device, last_resort, expires, body)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            package.id,
            device,
            package.last_resort,
            expires,
            package.body
        ])?;
    }
    let count = count_packages(db, device)?;
    if count > MAX_KEY_PACKAGES {
        return Err(Refusal::Quota("of key packages".into()));
    }
    Ok(count)
}

/// [`Store::claim`].
pub(super) fn claim(db: &Connection, handle: &str, now: i64) -> Result<Vec<Claimed>, Refusal> {
    let (person, _) = find_handle(db, handle)?;
    let mut claimed = Vec::new();
    for (device, bundle) in reachable(db, &person, Timestamp::from_seconds(now))? {
        let mut query = db.prepare_cached(
            "SELECT id, last_resort, body FROM key_packages
             WHERE device = ?1 AND expires > ?2
             ORDER BY last_resort, expires LIMIT 1",
        )?;
        let found = query.query_row(params![device, now], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get(2)?))
        });
        let Some((id, last_resort, body)) = found.optional()? else { continue };
        if !last_resort {
            db.prepare_cached("DELETE FROM key_packages WHERE id = ?")?.execute([&id])?;
        }
        claimed.push(Claimed { device, bundle, body });
    }
    Ok(claimed)
}

/// What makes of an empty directory the one that is there, its key packages apart; on this one it
/// changes nothing.
pub(super) fn commands(
    db: &Connection,
) -> Result<impl Iterator<Item = Result<Command, Refusal>>, Refusal> {
    let texts = |sql: &str| -> rusqlite::Result<Vec<String>> {
        db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let handles = texts("SELECT handle FROM handles")?;
    let devices = texts("SELECT device FROM devices WHERE bundle IS NOT NULL")?;
    let handles = handles.into_iter().map(|handle| {
        let (person, record) = match find_handle(db, &handle) {
            Err(Refusal::Absent(_)) => return Ok(Command::Release { handle }),
            found => found?,
        };
        let record = Value::parse(record.as_bytes()).and_then(Envelope::from_value);
        let handle = Box::new(record.and_then(SignedHandle::read)?);
        let bundle = load_chain(db, &person)?.unwrap_or_default();
        let chain = Chain::replay_trusted(bundle.as_bytes(), &handle.record().primary)?;
        Ok(Command::Register { handle, chain: Box::new(chain) })
    });
    let devices = devices.into_iter().map(|device| {
        let mut query = db.prepare_cached("SELECT bundle FROM devices WHERE device = ?")?;
        let bundle = query.query_row([&device], |row| row.get(0))?;
        Ok(Command::PutBundle { device, bundle })
    });
    Ok(handles.chain(devices))
}

/// The identity of a handle and its record.
pub(super) fn find_handle(db: &Connection, handle: &str) -> Result<(String, String), Refusal> {
    let mut query = db.prepare_cached(
        "SELECT person, record FROM handles WHERE handle = ? AND person IS NOT NULL",
    )?;
    let found = query.query_row([handle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    found.ok_or_else(|| Refusal::absent(Code::HandleUnknown, handle))
}

/// Whether a handle has an owner: `None` if it never had one, `Some(false)` if it was released.
pub(super) fn has_owner(db: &Connection, handle: &str) -> Result<Option<bool>, Refusal> {
    let mut query = db.prepare_cached("SELECT person IS NOT NULL FROM handles WHERE handle = ?")?;
    Ok(query.query_row([handle], |row| row.get(0)).optional()?)
}

/// Whether a device of a handle is in force; `None` if it is not a device of that handle.
pub(super) fn is_in_force(
    db: &Connection,
    handle: &str,
    device: &str,
    now: Timestamp,
) -> Result<Option<bool>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT active = 1 AND (not_after IS NULL OR not_after > ?3)
         FROM devices JOIN handles ON handles.person = devices.person
         WHERE device = ?1 AND handle = ?2",
    )?;
    let found = query.query_row(params![device, handle, now.seconds()], |row| row.get(0));
    Ok(found.optional()?)
}

/// The devices in force of an identity that have a bundle: key and signed bundle.
fn reachable(
    db: &Connection,
    person: &str,
    now: Timestamp,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT device, bundle FROM devices WHERE person = ?1 AND active = 1
         AND bundle IS NOT NULL AND (not_after IS NULL OR not_after > ?2) ORDER BY device",
    )?;
    let rows =
        query.query_map(params![person, now.seconds()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn load_chain(db: &Connection, person: &str) -> Result<Option<String>, Refusal> {
    let mut query = db.prepare_cached("SELECT bundle FROM chains WHERE person = ?")?;
    Ok(query.query_row([person], |row| row.get(0)).optional()?)
}

/// The bytes of the events that a chain adds to the stored one, or [`Growth::Other`] if not all of
/// them take power from keys and devices.
///
/// # Errors
/// As [`update_chain`].
pub(super) fn growth(db: &Connection, handle: &str, chain: &Chain) -> Result<Growth, Refusal> {
    let old = old_chain(db, handle, chain)?;
    if !is_news(old.as_deref(), chain)? {
        return Ok(Growth::None);
    }
    let old = Chain::replay_trusted(old.unwrap_or_default().as_bytes(), chain.name())?;
    let same = |seq: &usize| old.events().get(*seq) == chain.events().get(*seq);
    let common = (0..chain.events().len()).take_while(same).count();
    let urgent = |event: &Event| {
        matches!(event.op, Op::Revoke { .. } | Op::Rotate { .. } | Op::RevokeDevice { .. })
    };
    if !chain.events()[common..].iter().all(urgent) {
        return Ok(Growth::Other);
    }
    Ok(Growth::Urgent(chain.lines()[common..].iter().map(|line| line.len() as u64 + 1).sum()))
}

/// What a chain adds to the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Nothing.
    None,
    /// So many bytes of revocations and rotations.
    Urgent(u64),
    /// Other events, too.
    Other,
}

/// The stored chain of a handle's owner, whose new chain this is.
fn old_chain(db: &Connection, handle: &str, chain: &Chain) -> Result<Option<String>, Refusal> {
    let (person, _) = find_handle(db, handle)?;
    if person != chain.name().as_str() {
        return Err(Error::about(Code::ChainId, chain.name()).into());
    }
    load_chain(db, &person)
}

/// Whether a chain continues the stored one, or settles a fork with it.
///
/// # Errors
/// `forked` for another history, unless it is the branch of the committed key.
fn is_news(old: Option<&str>, chain: &Chain) -> Result<bool, Refusal> {
    let Some(old) = old else { return Ok(true) };
    let bundle = chain.to_bundle();
    if old.starts_with(&bundle) {
        return Ok(false);
    }
    if bundle.starts_with(old) {
        return Ok(true);
    }
    let old = Chain::replay_trusted(old.as_bytes(), chain.name())?;
    let longer = chain.events().len() > old.events().len();
    match Fork::of(old, chain.clone())?.map(Fork::into_settled) {
        // Common events are the same, and their signatures differ.
        None => Ok(longer),
        Some(Ok(settled)) if settled == *chain => Ok(true),
        Some(_) => Err(Error::about(Code::Forked, chain.name()).into()),
    }
}

/// Stores a chain that continues the stored one, or settles a fork with it. Gives whether that
/// changed anything.
///
/// # Errors
/// `forked` for another history, unless it is the branch of the committed key.
fn save_chain(db: &Connection, chain: &Chain) -> Result<bool, Refusal> {
    let person = chain.name().as_str();
    if !is_news(load_chain(db, person)?.as_deref(), chain)? {
        return Ok(false);
    }
    db.prepare_cached(
        "INSERT INTO chains (person, bundle) VALUES (?1, ?2)
         ON CONFLICT (person) DO UPDATE SET bundle = ?2",
    )?
    .execute([person, &chain.to_bundle()])?;
    let inbox: i64 = db
        .prepare_cached("SELECT inbox FROM handles WHERE person = ?")?
        .query_row([person], |row| row.get(0))?;
    // A compromised key's devices vanish from the chain altogether.
    db.prepare_cached("UPDATE devices SET active = 0 WHERE person = ?")?.execute([person])?;
    for device in chain.devices().filter(|d| d.can(CAPABILITY)) {
        // A device that is new needs nothing of what is there already.
        db.prepare_cached(
            "INSERT INTO devices (device, person, active, not_after, acked)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (device) DO UPDATE SET active = ?3, not_after = ?4 WHERE person = ?2",
        )?
        .execute(params![
            device.key.as_str(),
            person,
            device.revoked.is_none(),
            device.not_after.map(Timestamp::seconds),
            inbox
        ])?;
    }
    for sql in [
        "DELETE FROM key_packages WHERE device IN
         (SELECT device FROM devices WHERE person = ? AND active = 0)",
        "UPDATE devices SET bundle = NULL WHERE person = ? AND active = 0",
    ] {
        db.prepare_cached(sql)?.execute([person])?;
    }
    Ok(true)
}

fn count_packages(db: &Connection, device: &str) -> Result<u64, Refusal> {
    let mut query = db
        .prepare_cached("SELECT count(*) FROM key_packages WHERE device = ? AND last_resort = 0")?;
    Ok(query.query_row([device], |row| row.get(0))?)
}
