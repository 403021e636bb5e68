//! The account's own record, and what is known of others.

use super::{Client, Platform, record};
use crate::{
    Code, Error, Head, Identity, Result, Timestamp,
    chat::{Certificate, Device, Handle, HandleRecord, SealedKey},
    hex,
    json::{Members, Value},
};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec,
    vec::Vec,
};

pub(super) const NAME: &str = "account";
const CONTACTS: &str = "contacts";

/// A device's account at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The handle.
    pub handle: Handle,
    /// The server's origin.
    pub server: String,
    /// Where the sigchain is served, besides the server itself.
    pub sources: Vec<String>,
    /// Up to where the inbox was taken.
    pub(super) cursor: u64,
}

impl Account {
    pub(super) fn new(record: &HandleRecord) -> Self {
        Self {
            handle: record.handle.clone(),
            server: record.server.clone(),
            sources: record.sources.clone(),
            cursor: 0,
        }
    }

    pub(super) fn to_value(&self, device: &Device, sealed: &SealedKey) -> Value {
        let certificate = core::str::from_utf8(device.certificate().as_bytes()).unwrap_or_default();
        Value::object([
            ("version", Value::Int(1)),
            ("handle", self.handle.as_str().into()),
            ("server", self.server.as_str().into()),
            ("sources", record::list(self.sources.iter().map(String::as_str))),
            ("cursor", record::int(self.cursor)),
            ("certificate", certificate.into()),
            ("sealed_key", Value::String(hex::encode(sealed.expose_bytes()))),
        ])
    }

    pub(super) fn read(text: &[u8]) -> Result<(Self, Certificate, SealedKey)> {
        let refused = |_| Error::about(Code::StateRefused, NAME);
        let value = Value::parse_canonical(text).map_err(refused)?;
        Self::from_value(&value).map_err(refused)
    }

    fn from_value(value: &Value) -> Result<(Self, Certificate, SealedKey)> {
        let mut m = Members::of(value)?;
        record::version(&mut m)?;
        let account = Self {
            handle: m.text("handle")?.parse()?,
            server: m.text("server")?.to_owned(),
            sources: record::texts(m.array("sources")?)?,
            cursor: record::number(&mut m, "cursor")?,
        };
        let certificate = Certificate::read(m.text("certificate")?.as_bytes())?;
        let sealed = hex::decode(m.text("sealed_key")?).ok_or(Code::StateRefused)?;
        m.finish()?;
        Ok((account, certificate, SealedKey::from_bytes(&sealed)?))
    }
}

/// Somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The identity.
    pub primary: Identity,
    /// The handle at the server.
    pub handle: Handle,
    /// Where the sigchain is served, besides the server itself.
    pub sources: Vec<String>,
    /// The devices in force when the chain was seen last.
    pub devices: Vec<Identity>,
    /// The devices that the user verified, by comparing safety numbers.
    pub verified: Option<Vec<Identity>>,
    /// When the chain could be had last.
    pub checked_at: Timestamp,
    /// The newest head of the chain that the person's own messages told.
    pub head: Option<Head>,
}

impl Contact {
    fn to_value(&self) -> Value {
        let names = |all: &[Identity]| record::list(all.iter().map(Identity::as_str));
        let mut members = vec![
            ("primary", self.primary.as_str().into()),
            ("handle", self.handle.as_str().into()),
            ("sources", record::list(self.sources.iter().map(String::as_str))),
            ("devices", names(&self.devices)),
            ("checked_at", Value::String(self.checked_at.to_string())),
        ];
        members.extend(self.verified.as_deref().map(|devices| ("verified", names(devices))));
        members.extend(self.head.map(|head| ("head", head.to_value())));
        Value::object(members)
    }

    /// As JSON, for pages.
    #[must_use]
    pub fn to_json(&self) -> Value {
        record::with_nulls(self.to_value(), &["verified", "head"])
    }

    fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let contact = Self {
            primary: Identity::from_canonical(m.text("primary")?)?,
            handle: m.text("handle")?.parse()?,
            sources: record::texts(m.array("sources")?)?,
            devices: record::identities(m.array("devices")?)?,
            verified: m.optional_array("verified")?.map(record::identities).transpose()?,
            checked_at: m.text("checked_at")?.parse()?,
            head: m.optional("head").map(Head::from_value).transpose()?,
        };
        m.finish()?;
        Ok(contact)
    }
}

impl<P: Platform> Client<P> {
    /// Everybody who was written to or heard of.
    ///
    /// # Errors
    /// `state_refused`, `storage_failed`.
    pub async fn contacts(&self) -> Result<Vec<Contact>> {
        let Some(value) = self.load(CONTACTS).await? else { return Ok(Vec::new()) };
        let refused = |_| Error::about(Code::StateRefused, CONTACTS);
        let list = value.as_array().ok_or(Code::StateRefused)?;
        list.iter().map(Contact::from_value).collect::<Result<_>>().map_err(refused)
    }

    pub(super) async fn contact(&self, primary: &Identity) -> Result<Option<Contact>> {
        Ok(self.contacts().await?.into_iter().find(|c| c.primary == *primary))
    }

    pub(super) async fn save_contact(&self, contact: Contact) -> Result<()> {
        let mut all = self.contacts().await?;
        match all.iter_mut().find(|c| c.primary == contact.primary) {
            Some(known) if *known == contact => return Ok(()),
            Some(known) => *known = contact,
            None => all.push(contact),
        }
        let list = all.iter().map(Contact::to_value).collect();
        self.save(CONTACTS, &Value::Array(list)).await
    }
}
