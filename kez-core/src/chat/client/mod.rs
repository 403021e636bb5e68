//! A chat client: one device at one server (SPEC.md, "Chat clients"). What it needs of its
//! machine, a [`Platform`] gives; nothing that the server says is believed.
//!
//! Every step is *load, process, store or discard*: what was received is stored before it is
//! acknowledged, and what is sent is stored before it is posted. A process that is killed at any
//! moment goes on where it was: entries are told apart by their positions, own ones by their ids.

mod account;
mod conversation;
mod gate;
mod moving;
mod record;
mod server;
mod sync;

pub use account::{Account, Contact};
pub use conversation::Overview;
pub use record::{Entry, EntryKind, State};

use super::{Device, Random, SealedKey, Vault};
use crate::{
    Chain, Code, Error, Head, History, Identity, Result, SecretKey, Timestamp,
    json::Value,
    transport::{Call, Failure},
};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::cell::Cell;
use zeroize::Zeroizing;

/// What a client needs of its machine.
#[expect(async_fn_in_trait, reason = "driven on one thread, as the verifier's transport")]
pub trait Platform {
    /// Asks the server. Gives status and body.
    ///
    /// # Errors
    /// A code of kind network.
    async fn call(&self, call: Call) -> core::result::Result<(u16, Vec<u8>), Failure>;
    /// What was stored last under a name, of lower-case letters, digits, `-` and `/`.
    ///
    /// # Errors
    /// `storage_failed`.
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Stores, whole or not at all, and durably when it returns. Without data, removes.
    ///
    /// # Errors
    /// `storage_failed`; what was there is then as it was.
    async fn save(&self, name: &str, data: Option<&[u8]>) -> Result<()>;
    /// The names under which something is stored.
    ///
    /// # Errors
    /// `storage_failed`.
    async fn names(&self) -> Result<Vec<String>>;
    /// The verified sigchain of a primary; of one's own too. `sources` are further places where it
    /// may be.
    async fn history(&self, primary: &Identity, sources: &[String]) -> History;
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// A client. One process at a time may use a device's records; the platform sees to it.
pub struct Client<P> {
    platform: P,
    random: Random,
    vault: Vault,
    device: Device,
    sealed: SealedKey,
    account: Account,
    /// When the last request was signed: no two are at the same moment.
    signed_at: Cell<u64>,
    /// The head of one's own chain, when it was asked last.
    head: Cell<Option<Head>>,
    /// The last accepted commits of conversations, for the next acknowledgement to tell. If they
    /// are lost, the items that brought them come again.
    accepted: BTreeMap<String, u64>,
}

impl<P> core::fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Client({:?})", self.account)
    }
}

/// How many key packages for single use are kept ready.
const READY: u64 = 20;

impl<P: Platform> Client<P> {
    /// Takes a device up that was registered here.
    ///
    /// # Errors
    /// `state_refused` if it was not, or was moved elsewhere; `storage_failed`.
    pub async fn open(platform: P, secret: SecretKey, random: Random) -> Result<Self> {
        let vault = Vault::of(&secret, random.clone());
        moving::refuse_moved(&platform, &vault).await?;
        let data = platform.load(account::NAME).await?;
        let data = data.ok_or_else(|| Error::about(Code::StateRefused, "no account"))?;
        let (account, certificate, sealed) = Account::read(&vault.open(account::NAME, &data)?)?;
        let device = Device::new(secret, certificate, random.clone())?;
        Ok(Self::of(platform, random, vault, device, sealed, account))
    }

    /// Registers a handle for a device that is on its chain, or brings a further device of the
    /// handle's owner. `record` signs the handle's record with the key that stands for the
    /// identity.
    ///
    /// # Errors
    /// `handle_taken`, `device_unknown`, those of the server and of the storage.
    pub async fn register(
        platform: P,
        secret: SecretKey,
        random: Random,
        chain: &Chain,
        record: &super::SignedHandle,
    ) -> Result<Self> {
        let vault = Vault::of(&secret, random.clone());
        moving::refuse_moved(&platform, &vault).await?;
        let certificate = super::Certificate::of(chain, secret.public().identity())?;
        let sealed = SealedKey::generate(&random)?;
        let account = Account::new(record.record());
        let device = Device::new(secret, certificate, random.clone())?;
        let client = Self::of(platform, random, vault, device, sealed, account);
        client.post_handle(record, chain).await?;
        // From now on it can be taken up, whatever happens to the rest.
        client.save_account().await?;
        client.put_bundle().await?;
        client.refill().await?;
        Ok(client)
    }

    fn of(
        platform: P,
        random: Random,
        vault: Vault,
        device: Device,
        sealed: SealedKey,
        account: Account,
    ) -> Self {
        let (signed_at, head, accepted) = Default::default();
        Self { platform, random, vault, device, sealed, account, signed_at, head, accepted }
    }

    /// The account.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The device.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// The platform that was handed in.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    fn now(&self) -> Timestamp {
        Timestamp::since_epoch(core::time::Duration::from_millis(self.platform.now_ms()))
    }

    fn me(&self) -> &Identity {
        self.device.certificate().primary()
    }

    async fn load_bytes(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(data) = self.platform.load(name).await? else { return Ok(None) };
        self.vault.open(name, &data).map(Some)
    }

    async fn save_bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let data = self.vault.seal(name, bytes)?;
        self.platform.save(name, Some(&data)).await
    }

    async fn load(&self, name: &str) -> Result<Option<Value>> {
        let Some(text) = self.load_bytes(name).await? else { return Ok(None) };
        let refused = |_| Error::about(Code::StateRefused, name);
        Value::parse_canonical(&text).map(Some).map_err(refused)
    }

    async fn save(&self, name: &str, value: &Value) -> Result<()> {
        self.save_bytes(name, value.to_canonical().as_bytes()).await
    }

    async fn save_account(&self) -> Result<()> {
        let value = self.account.to_value(&self.device, &self.sealed);
        self.save(account::NAME, &value).await
    }

    /// Makes key packages until there are enough, and one of last resort. Each one's secret is
    /// stored before it is published.
    ///
    /// # Errors
    /// Those of the server and of the storage.
    pub async fn refill(&self) -> Result<()> {
        let ready = self.key_packages_left().await?;
        if ready > READY / 2 {
            return Ok(());
        }
        let mut packages = Vec::new();
        for n in ready..=READY {
            // The one of last resort is renewed along with the others.
            let package = self.device.key_package(n == READY, self.now())?;
            let name = record::key_package_name(&package.id());
            let data = self.vault.seal(&name, &package.secret)?;
            self.platform.save(&name, Some(&data)).await?;
            packages.push((package, n == READY));
        }
        self.put_key_packages(&packages).await
    }
}
