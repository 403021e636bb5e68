//! A device that moves: all that it keeps as one encrypted blob (SPEC.md, "State"). Where it was it
//! ends first, for a device that lives twice uses its keys twice.

use super::{Client, Platform, account};
use crate::{
    Code, Error, Result, SecretKey,
    chat::{Random, Vault},
    json::{Members, Value},
};
use alloc::{string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The name of the blob, and of the record that stays where the device was.
const MOVED: &str = "moved";

impl<P: Platform> Client<P> {
    /// Ends a device, and gives all that it kept as one blob, encrypted under its key: whoever has
    /// both can take it up by [`Client::import`], at one place, once. Nothing is lost when this is
    /// cut off: done again, it gives the same blob, for as long as the storage has it.
    ///
    /// # Errors
    /// `state_refused` if there is no device of that key here, `storage_failed`.
    pub async fn export(platform: &P, secret: &SecretKey, random: Random) -> Result<Vec<u8>> {
        let vault = Vault::of(secret, random);
        let blob = match left(platform, &vault).await? {
            Some(blob) => blob,
            None => {
                let own = platform.load(account::NAME).await?;
                let own = own.ok_or_else(|| Error::about(Code::StateRefused, "no account"))?;
                vault.open(account::NAME, &own)?;
                let mut records = Vec::new();
                for name in names(platform).await? {
                    let data = platform.load(&name).await?;
                    records.extend(data.map(|d| (name, Value::String(STANDARD.encode(d)))));
                }
                let all = Value::object([
                    ("version", Value::Int(1)),
                    ("records", Value::object(records)),
                ]);
                let blob = vault.seal(MOVED, all.to_canonical().as_bytes())?;
                platform.save(MOVED, Some(&blob)).await?;
                blob
            }
        };
        for name in names(platform).await? {
            platform.save(&name, None).await?;
        }
        Ok(blob)
    }

    /// Takes a device up that was ended elsewhere by [`Client::export`]. Cut off, it can be done
    /// again.
    ///
    /// # Errors
    /// `state_refused` if there was a device here before, or if it is no blob of this key;
    /// `storage_failed`.
    pub async fn import(
        platform: P,
        secret: SecretKey,
        random: Random,
        blob: &[u8],
    ) -> Result<Self> {
        let vault = Vault::of(&secret, random.clone());
        refuse_moved(&platform, &vault).await?;
        if platform.load(account::NAME).await?.is_some() {
            return Err(Error::about(Code::StateRefused, "there is a device here"));
        }
        let text = vault.open(MOVED, blob)?;
        let records = read(&text).map_err(|_| Error::about(Code::StateRefused, MOVED))?;
        // Without its account it cannot be taken up, so that comes last.
        let (last, first): (Vec<_>, Vec<_>) =
            records.iter().partition(|(name, _)| name == account::NAME);
        for (name, data) in first.into_iter().chain(last) {
            platform.save(name, Some(data)).await?;
        }
        Self::open(platform, secret, random).await
    }
}

/// Refuses a place that the device of this vault has left: it must not come back to life there.
pub(super) async fn refuse_moved(platform: &impl Platform, vault: &Vault) -> Result<()> {
    match left(platform, vault).await? {
        Some(_) => Err(Error::about(Code::StateRefused, "this device was moved elsewhere")),
        None => Ok(()),
    }
}

/// What the device of this vault has left behind.
async fn left(platform: &impl Platform, vault: &Vault) -> Result<Option<Vec<u8>>> {
    let blob = platform.load(MOVED).await?;
    Ok(blob.filter(|blob| vault.open(MOVED, blob).is_ok()))
}

/// What a living device has stored.
async fn names(platform: &impl Platform) -> Result<Vec<String>> {
    let mut names = platform.names().await?;
    names.retain(|name| name != MOVED);
    Ok(names)
}

fn read(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let value = Value::parse_canonical(text)?;
    let mut m = Members::of(&value)?;
    super::record::version(&mut m)?;
    let Value::Object(records) = m.required("records")? else {
        return Err(Code::MemberType.into());
    };
    m.finish()?;
    let mut all = Vec::new();
    for (name, data) in records {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // Names may be those of files.
        let ok = name.split('/').all(|part| !part.is_empty() && part.chars().all(plain));
        let data = data.as_str().filter(|_| ok).ok_or(Code::StateRefused)?;
        all.push((name.clone(), STANDARD.decode(data).map_err(|_| Code::StateRefused)?));
    }
    Ok(all)
}
