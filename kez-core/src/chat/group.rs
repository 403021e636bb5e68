//! Conversations: MLS groups whose every leaf is a device (SPEC.md, "Conversations"). All of
//! mls-rs stays behind this file, `shelf.rs` and `suite.rs`, so that another library could take its
//! place.

use super::{
    Certificate, Evidence, LIFETIME, Message, Random,
    shelf::Shelf,
    suite::{Kem, Refused, Suite, XWing},
};
use crate::{
    Code, Error, Identity, Result, SecretKey, Timestamp,
    json::{Members, Value},
};
use alloc::{borrow::ToOwned, string::String, sync::Arc, vec, vec::Vec};
use core::{fmt, marker::PhantomData};
use mls_rs::{
    CipherSuite, Client, Extension, ExtensionList, IdentityProvider, MlsMessage,
    MlsMessageDescription, WireFormat,
    client_builder::{
        BaseConfig, PaddingMode, WithCryptoProvider, WithGroupStateStorage, WithIdentityProvider,
        WithKeyPackageRepo, WithMlsRules,
    },
    error::MlsError,
    extension::{ExtensionType, MlsExtension as _, recommended::LastResortKeyPackageExt},
    group::{CommitEffect, ContentType, ExportedTree, ReceivedMessage, proposal::Proposal},
    identity::{Credential, CredentialType, SigningIdentity, basic::BasicCredential},
    mls_rs_codec::{MlsDecode as _, MlsEncode as _},
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
    time::MlsTime,
};
use mls_rs_core::{identity::MemberValidationContext, key_package::KeyPackageData};
use zeroize::Zeroizing;

/// The extension that says what a conversation is, of those for private use.
const ABOUT: ExtensionType = ExtensionType::new(0xf4b5);
/// The most members of a conversation: devices, not people.
pub const MAX_MEMBERS: usize = 256;

type Config<K> = WithMlsRules<
    DefaultMlsRules,
    WithIdentityProvider<
        Vouched,
        WithGroupStateStorage<
            Shelf,
            WithKeyPackageRepo<Shelf, WithCryptoProvider<Suite<K>, BaseConfig>>,
        >,
    >,
>;
type Inner<K> = mls_rs::Group<Config<K>>;

/// What a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of two people, for ever.
    Direct,
    /// Of any number, kept by its admins.
    Group,
}

/// What the members of a conversation know of it, and the server does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Of two people, or a group.
    pub kind: Kind,
    /// A group's name.
    pub name: Option<String>,
    /// Of a direct conversation its two people, of a group its admins; by primary.
    pub people: Vec<Identity>,
}

impl About {
    /// A conversation of two people.
    #[must_use]
    pub fn direct(a: Identity, b: Identity) -> Self {
        Self { kind: Kind::Direct, name: None, people: vec![a, b] }
    }

    /// A group with its first admin.
    #[must_use]
    pub fn group(name: impl Into<String>, admin: Identity) -> Self {
        Self { kind: Kind::Group, name: Some(name.into()), people: vec![admin] }
    }

    /// Whether somebody may add and remove anybody.
    #[must_use]
    pub fn has_admin(&self, person: &Identity) -> bool {
        self.kind == Kind::Group && self.people.contains(person)
    }

    pub(super) fn to_value(&self) -> Value {
        let people = self.people.iter().map(|p| p.as_str().into()).collect();
        let mut members = vec![
            ("kind", Value::from(if self.kind == Kind::Direct { "direct" } else { "group" })),
            ("people", Value::Array(people)),
        ];
        members.extend(self.name.as_deref().map(|name| ("name", name.into())));
        Value::object(members)
    }

    fn to_extensions(&self) -> Result<ExtensionList> {
        let text = self.to_value().to_canonical();
        let mut list = ExtensionList::new();
        list.set(Extension::new(ABOUT, text.into_bytes()));
        Self::read(&list)?;
        Ok(list)
    }

    fn read(list: &ExtensionList) -> Result<Self> {
        let refused = || Error::about(Code::CommitRefused, "what the conversation is");
        let data = list.get(ABOUT).filter(|_| list.len() == 1).ok_or_else(refused)?;
        let value = Value::parse_canonical(&data.extension_data)?;
        let mut m = Members::of(&value)?;
        let kind = match m.text("kind")? {
            "direct" => Kind::Direct,
            "group" => Kind::Group,
            _ => return Err(refused()),
        };
        let name = m.optional_text("name")?;
        name.map(|name| crate::claim::check_text(name, "name")).transpose()?;
        let mut people = Vec::new();
        for person in m.array("people")? {
            let person = Identity::from_canonical(person.as_str().unwrap_or_default())?;
            if !person.is_key() || people.contains(&person) {
                return Err(refused());
            }
            people.push(person);
        }
        m.finish()?;
        let ok = match kind {
            // A conversation with oneself, over several devices, has one person.
            Kind::Direct => name.is_none() && matches!(people.len(), 1 | 2),
            Kind::Group => name.is_some() && matches!(people.len(), 1..=32),
        };
        if !ok {
            return Err(refused());
        }
        Ok(Self { kind, name: name.map(ToOwned::to_owned), people })
    }
}

/// A member of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    index: u32,
    /// Who it is.
    pub certificate: Certificate,
}

impl Member {
    /// The device's key.
    #[must_use]
    pub const fn device(&self) -> &Identity {
        self.certificate.device().identity()
    }

    /// The person.
    #[must_use]
    pub const fn primary(&self) -> &Identity {
        self.certificate.primary()
    }
}

/// A key package: with it others add a device to conversations while it is offline.
pub struct KeyPackage {
    /// What is published, about 3 KiB.
    pub public: Vec<u8>,
    /// What the device keeps, by [`KeyPackage::id`].
    pub secret: Zeroizing<Vec<u8>>,
    id: Vec<u8>,
}

impl fmt::Debug for KeyPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPackage({})", self.id())
    }
}

impl KeyPackage {
    /// Its name in welcomes, 64 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// The names of the key packages that a welcome is for.
    ///
    /// # Errors
    /// `welcome_refused` if it is no welcome.
    pub fn ids_in(welcome: &[u8]) -> Result<Vec<String>> {
        let message = MlsMessage::from_bytes(welcome).map_err(|_| Code::WelcomeRefused)?;
        if message.wire_format() != WireFormat::Welcome {
            return Err(Code::WelcomeRefused.into());
        }
        Ok(message.welcome_key_package_references().iter().map(|id| hex(id)).collect())
    }

    /// Whose a published key package is, and its name. Its signature is checked when it is used.
    ///
    /// # Errors
    /// `key_package_refused`.
    pub fn owner(public: &[u8], random: &Random) -> Result<(Certificate, String)> {
        Self::owner_of::<XWing>(public, random)
    }

    fn owner_of<K: Kem>(public: &[u8], random: &Random) -> Result<(Certificate, String)> {
        let refused = || Error::from(Code::KeyPackageRefused);
        let message = MlsMessage::from_bytes(public).map_err(|_| refused())?;
        let suite = Suite::<K>::new(random.clone());
        let id = message.key_package_reference(&suite).ok().flatten().ok_or_else(refused)?;
        let package = message.as_key_package().ok_or_else(refused)?;
        let certificate = certificate(package.signing_identity(), false).map_err(|_| refused())?;
        Ok((certificate, hex(&id)))
    }
}

fn hex(bytes: &[u8]) -> String {
    crate::hex::encode(bytes)
}

/// How a conversation shall change.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Key packages of the devices that join.
    pub add: Vec<Vec<u8>>,
    /// The devices that go.
    pub remove: Vec<Identity>,
    /// What the conversation shall be from now on.
    pub about: Option<About>,
    /// For devices of others that go: the revocations.
    pub evidence: Vec<Evidence>,
}

/// A change that waits for its place in the conversation's log.
#[derive(Clone, Debug)]
pub struct Commit {
    /// For the log.
    pub message: Vec<u8>,
    /// For those who join, to be sealed for each.
    pub welcome: Option<Vec<u8>>,
}

/// What came out of a log's entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Received {
    /// A message, and the device that wrote it.
    Message {
        /// Who wrote it.
        from: Member,
        /// What it says.
        message: Message,
    },
    /// The conversation changed.
    Changed {
        /// Who changed it.
        by: Member,
        /// Who joined.
        added: Vec<Certificate>,
        /// Who went.
        removed: Vec<Member>,
        /// What the conversation is now, where that changed.
        about: Option<About>,
    },
    /// This device was removed: it can read no further.
    Removed {
        /// Who removed it.
        by: Member,
    },
}

/// A device that takes part in conversations. The suite's KEM is X-Wing; tests of
/// interoperation have another.
pub struct Device<K = XWing> {
    secret: Arc<SecretKey>,
    certificate: Arc<Certificate>,
    random: Random,
    kem: PhantomData<fn() -> K>,
}

impl<K> Clone for Device<K> {
    fn clone(&self) -> Self {
        let Self { secret, certificate, random, kem } = self;
        Self {
            secret: secret.clone(),
            certificate: certificate.clone(),
            random: random.clone(),
            kem: *kem,
        }
    }
}

impl<K> fmt::Debug for Device<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.secret.public())
    }
}

impl<K: Kem> Device<K> {
    /// The device of that key and certificate.
    ///
    /// # Errors
    /// `certificate_refused` if it is of another key.
    pub fn new(secret: SecretKey, certificate: Certificate, random: Random) -> Result<Self> {
        if secret.public() != certificate.device() {
            return Err(Error::about(Code::CertificateRefused, "it is of another device"));
        }
        let (secret, certificate) = (Arc::new(secret), Arc::new(certificate));
        Ok(Self { secret, certificate, random, kem: PhantomData })
    }

    /// Who this device is.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The device's key.
    #[must_use]
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    fn client(&self, shelf: &Shelf) -> Client<Config<K>> {
        let credential = BasicCredential::new(self.certificate.as_bytes().to_vec());
        let key = self.secret.public().to_bytes().to_vec();
        let encryption = EncryptionOptions::new(true, PaddingMode::Padme);
        let rules = DefaultMlsRules::new()
            .with_commit_options(CommitOptions::new())
            .with_encryption_options(encryption);
        Client::builder()
            .crypto_provider(Suite::<K>::new(self.random.clone()))
            .key_package_repo(shelf.clone())
            .group_state_storage(shelf.clone())
            .identity_provider(Vouched)
            .mls_rules(rules)
            .extension_type(ABOUT)
            .key_package_lifetime(core::time::Duration::from_secs(LIFETIME.unsigned_abs()))
            .signing_identity(
                SigningIdentity::new(credential.into_credential(), key.into()),
                self.secret.expose_bytes().to_vec().into(),
                CipherSuite::new(K::SUITE),
            )
            .build()
    }

    /// Makes a key package, from an hour ago on for clocks that go wrong. One of last resort may
    /// be used more than once, when the others are spent.
    ///
    /// # Errors
    /// `key_package_refused` if the library refuses, which it does for broken randomness.
    pub fn key_package(&self, last_resort: bool, now: Timestamp) -> Result<KeyPackage> {
        let refused = |_| Error::from(Code::KeyPackageRefused);
        let shelf = Shelf::default();
        let mut extensions = ExtensionList::new();
        if last_resort {
            let extension = LastResortKeyPackageExt.into_extension();
            extensions.set(extension.map_err(|_| Error::from(Code::KeyPackageRefused))?);
        }
        let message = self
            .client(&shelf)
            .generate_key_package_message(extensions, ExtensionList::new(), Some(time(now, -3600)))
            .map_err(refused)?;
        let public = message.to_bytes().map_err(refused)?;
        let (id, data) = shelf.take_package().ok_or(Code::KeyPackageRefused)?;
        let secret = data.mls_encode_to_vec().map_err(|_| Error::from(Code::KeyPackageRefused))?;
        Ok(KeyPackage { public, secret: Zeroizing::new(secret), id })
    }

    /// Begins a conversation, with this device as its only member. `id` is 32 random bytes.
    ///
    /// # Errors
    /// `commit_refused` for an [`About`] that no conversation may have.
    pub fn create(&self, id: [u8; 32], about: &About, now: Timestamp) -> Result<Group<K>> {
        let shelf = Shelf::default();
        let extensions = about.to_extensions()?;
        let mut inner = self
            .client(&shelf)
            .create_group_with_id(
                id.to_vec(),
                extensions,
                ExtensionList::new(),
                Some(time(now, -3600)),
            )
            .map_err(|_| Code::CommitRefused)?;
        keep(&mut inner, &shelf).map_err(|_| Code::StateRefused)?;
        Ok(Group { inner, shelf, device: self.clone() })
    }

    /// Joins by a welcome, with the id and the secret of the key package that it is for. Gives
    /// whether that is used up, which one of last resort is not.
    ///
    /// # Errors
    /// `welcome_refused`.
    pub fn join(&self, welcome: &[u8], package: (&str, &[u8])) -> Result<(Group<K>, bool)> {
        let refused = || Error::from(Code::WelcomeRefused);
        let id = crate::hex::decode::<32>(package.0).ok_or_else(refused)?;
        let data = KeyPackageData::mls_decode(&mut &*package.1).map_err(|_| refused())?;
        let shelf = Shelf::with_package(id.to_vec(), data);
        let message = MlsMessage::from_bytes(welcome).map_err(|_| refused())?;
        // Without a time: whether the others' key packages were in date was for those to see who
        // added them, and clocks must not decide who may join.
        let (mut inner, _) =
            self.client(&shelf).join_group(None, &message, None).map_err(|_| refused())?;
        keep(&mut inner, &shelf).map_err(|_| Code::StateRefused)?;
        let spent = shelf.take_package().is_none();
        let group = Group { inner, shelf, device: self.clone() };
        let about = group.about().map_err(|_| refused())?;
        let strangers = group.members()?;
        let strangers = strangers.iter().any(|m| !about.people.contains(m.primary()));
        if (about.kind == Kind::Direct && strangers) || group.id().len() != 32 {
            return Err(refused());
        }
        Ok((group, spent))
    }

    /// Takes a conversation up again from its snapshot and its tree.
    ///
    /// # Errors
    /// `state_refused`.
    pub fn load(&self, snapshot: &[u8], tree: &[u8]) -> Result<Group<K>> {
        let shelf = Shelf::read(snapshot, tree).ok_or(Code::StateRefused)?;
        let inner = self.reload(&shelf, &shelf.id()).map_err(|_| Code::StateRefused)?;
        let own = inner.current_member_signing_identity().map_err(|_| Code::StateRefused)?;
        if own.signature_key.as_bytes() != self.secret.public().to_bytes() {
            return Err(Error::about(Code::StateRefused, "it is of another device"));
        }
        Ok(Group { inner, shelf, device: self.clone() })
    }

    fn reload(&self, shelf: &Shelf, id: &[u8]) -> core::result::Result<Inner<K>, MlsError> {
        let tree = ExportedTree::from_bytes(&shelf.tree())?;
        self.client(shelf).load_group_with_ratchet_tree(id, tree)
    }
}

/// Lays a group down: all of it but the tree, and that where it is a new one.
fn keep<K: Kem>(inner: &mut Inner<K>, shelf: &Shelf) -> core::result::Result<(), MlsError> {
    inner.write_to_storage_without_ratchet_tree()?;
    let epoch = inner.current_epoch();
    if shelf.tree_epoch() != Some(epoch) {
        shelf.put_tree(epoch, &inner.export_tree().to_bytes()?);
    }
    Ok(())
}

/// A conversation, as one device has it.
///
/// Whatever fails leaves it as it was: the library's group may be half changed by then (a
/// tampered copy burns the key of a message), so it is taken up again from the last snapshot.
/// After whatever succeeds, [`Group::snapshot`] has to be stored before anything is sent, and
/// [`Group::tree`] before that, if the epoch is a new one.
pub struct Group<K: Kem = XWing> {
    inner: Inner<K>,
    shelf: Shelf,
    device: Device<K>,
}

impl<K: Kem> fmt::Debug for Group<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} at epoch {})", hex(self.id()), self.epoch())
    }
}

impl<K: Kem> Group<K> {
    /// The conversation's name, 32 bytes.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        self.inner.group_id()
    }

    /// How many changes there were.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.current_epoch()
    }

    /// What the conversation is.
    ///
    /// # Errors
    /// `commit_refused`, which no conversation that was joined here gives.
    pub fn about(&self) -> Result<About> {
        About::read(self.inner.context().extensions())
    }

    /// The members, in the order of their leaves.
    ///
    /// # Errors
    /// `certificate_refused`, which no conversation that was joined here gives.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.inner.roster().members_iter().map(|leaf| member(&leaf)).collect()
    }

    /// A value that all members in this epoch have in common, and nobody else: 32 bytes.
    ///
    /// # Errors
    /// `state_refused`.
    pub fn authenticator(&self) -> Result<Zeroizing<Vec<u8>>> {
        let secret = self.inner.epoch_authenticator().map_err(|_| Code::StateRefused)?;
        Ok(Zeroizing::new(secret.as_bytes().to_vec()))
    }

    /// The state but for the tree, secret: a version byte, then what the library wants to keep.
    #[must_use]
    pub fn snapshot(&self) -> Zeroizing<Vec<u8>> {
        self.shelf.to_bytes()
    }

    /// The tree of all members' keys, which is most of what a group is, and stays as it is for a whole
    /// epoch.
    #[must_use]
    pub fn tree(&self) -> Arc<[u8]> {
        self.shelf.tree()
    }

    /// Does something that may leave the library's group half changed.
    fn attempt<T>(
        &mut self,
        code: Code,
        act: impl FnOnce(&mut Inner<K>) -> Result<T, Failure>,
    ) -> Result<T> {
        let done = act(&mut self.inner).and_then(|done| {
            keep(&mut self.inner, &self.shelf)?;
            Ok(done)
        });
        done.map_err(|failure| {
            let id = self.id().to_vec();
            match self.device.reload(&self.shelf, &id) {
                Ok(inner) => self.inner = inner,
                Err(_) => return Code::StateRefused.into(),
            }
            match failure {
                Failure::Mls => code.into(),
                Failure::Ours(error) => error,
            }
        })
    }

    /// As [`Group::attempt`], for what begins an epoch: some leaves may have other holders then.
    fn advance<T>(
        &mut self,
        code: Code,
        act: impl FnOnce(&mut Inner<K>) -> Result<T, Failure>,
    ) -> Result<T> {
        let before = holders(&self.inner);
        let done = self.attempt(code, act)?;
        let mut new = holders(&self.inner);
        new.retain(|holder| !before.contains(holder));
        self.shelf.came(new.into_iter().map(|(index, _)| index), self.epoch());
        Ok(done)
    }

    /// Encrypts a message.
    ///
    /// # Errors
    /// `text_refused`, `too_large`; `commit_conflict` while a change of one's own waits.
    pub fn encrypt(&mut self, message: &Message) -> Result<Vec<u8>> {
        let plaintext = message.to_plaintext()?;
        if self.waits() {
            return Err(Error::about(Code::CommitConflict, "a change waits"));
        }
        self.attempt(Code::MessageRefused, |inner| {
            let message = inner.encrypt_application_message(plaintext.as_bytes(), Vec::new())?;
            Ok(message.to_bytes()?)
        })
    }

    /// Whether a change of one's own waits for its place in the log.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.inner.has_pending_commit()
    }

    /// Prepares a change. It takes effect by [`Group::confirm`], or when it comes back from the
    /// log; [`Group::abandon`] drops it. An empty change renews this device's keys.
    ///
    /// # Errors
    /// `commit_refused` if the rules do not allow it, `key_package_refused`, `device_unknown` for
    /// one that is no member, `too_large`.
    pub fn commit(&mut self, change: &Change, now: Timestamp) -> Result<Commit> {
        let members = self.members()?;
        let about = self.about()?;
        let own = self.inner.current_member_index();
        let mut added = Vec::new();
        let mut packages = Vec::new();
        for package in &change.add {
            let message = MlsMessage::from_bytes(package).map_err(|_| Code::KeyPackageRefused)?;
            let signer = message.as_key_package().ok_or(Code::KeyPackageRefused)?;
            let read = certificate(signer.signing_identity(), true);
            added.push(read.map_err(|_| Code::KeyPackageRefused)?);
            packages.push(message);
        }
        let mut removed = Vec::new();
        for device in &change.remove {
            let member = members.iter().find(|m| m.device() == device);
            removed.push(member.ok_or_else(|| Error::about(Code::DeviceUnknown, device))?);
        }
        if members.len() + added.len() > MAX_MEMBERS {
            return Err(Error::about(Code::TooLarge, "a conversation has at most 256 devices"));
        }
        let by = members.iter().find(|m| m.index == own).ok_or(Code::StateRefused)?;
        permit(&about, &members, by, &added, &removed, change.about.as_ref(), &change.evidence)?;
        let extensions = change.about.as_ref().map(About::to_extensions).transpose()?;
        let evidence: Vec<&[u8]> = change.evidence.iter().map(Evidence::as_bytes).collect();
        let evidence = evidence.join(&b"\n"[..]);
        let removed: Vec<u32> = removed.iter().map(|m| m.index).collect();
        self.attempt(Code::KeyPackageRefused, |inner| {
            inner.clear_pending_commit();
            let mut builder = inner.commit_builder().commit_time(time(now, 0));
            for package in packages {
                builder = builder.add_member(package)?;
            }
            for index in removed {
                builder = builder.remove_member(index)?;
            }
            if let Some(extensions) = extensions {
                builder = builder.set_group_context_ext(extensions)?;
            }
            let output = builder.authenticated_data(evidence).build()?;
            let welcome = output.welcome_messages().first().map(MlsMessage::to_bytes);
            Ok(Commit {
                message: output.commit_message().to_bytes()?,
                welcome: welcome.transpose()?,
            })
        })
    }

    /// The change that waits has its place in the log.
    ///
    /// # Errors
    /// `commit_refused` if none waits.
    pub fn confirm(&mut self) -> Result<()> {
        self.advance(Code::CommitRefused, |inner| {
            inner.apply_pending_commit()?;
            Ok(())
        })
    }

    /// The change that waits was not accepted.
    ///
    /// # Errors
    /// `state_refused`.
    pub fn abandon(&mut self) -> Result<()> {
        self.attempt(Code::StateRefused, |inner| {
            inner.clear_pending_commit();
            Ok(())
        })
    }

    /// Takes an entry of the log. A change of one's own that waits is confirmed by its own entry.
    ///
    /// # Errors
    /// `message_refused` for what cannot be decrypted or comes twice, `commit_refused` for a
    /// change that is forged or not allowed. Both have no effect.
    pub fn process(&mut self, entry: &[u8]) -> Result<Received> {
        let message = MlsMessage::from_bytes(entry).map_err(|_| Code::MessageRefused)?;
        let MlsMessageDescription::PrivateProtocolMessage { group_id, epoch_id, content_type } =
            message.description()
        else {
            return Err(Error::about(Code::MessageRefused, "not encrypted"));
        };
        if group_id != self.id() {
            return Err(Error::about(Code::MessageRefused, "of another conversation"));
        }
        match content_type {
            ContentType::Commit => self.process_commit(message),
            _ => self.process_message(message, epoch_id),
        }
    }

    fn process_message(&mut self, message: MlsMessage, epoch: u64) -> Result<Received> {
        let shelf = self.shelf.clone();
        self.attempt(Code::MessageRefused, |inner| {
            let ReceivedMessage::ApplicationMessage(received) =
                inner.process_incoming_message(message)?
            else {
                return Err(refused());
            };
            // Of an earlier epoch, its author may have left, and the leaf be another's.
            let gone = shelf.since(received.sender_index) > epoch;
            if gone || !received.authenticated_data.is_empty() {
                return Err(refused());
            }
            let leaf = inner.member_at_index(received.sender_index).ok_or_else(refused)?;
            let from = member(&leaf).map_err(Failure::Ours)?;
            let message = Message::read(received.data()).map_err(Failure::Ours)?;
            Ok(Received::Message { from, message })
        })
    }

    /// A change is held against the group before it.
    fn process_commit(&mut self, message: MlsMessage) -> Result<Received> {
        let members = self.members()?;
        let about = self.about()?;
        self.advance(Code::MessageRefused, |inner| {
            let ReceivedMessage::Commit(commit) = inner.process_incoming_message(message)? else {
                return Err(refused());
            };
            let holder =
                |index: u32| members.iter().find(|m| m.index == index).cloned().ok_or_else(refused);
            let refuse = |about: &str| Failure::Ours(Error::about(Code::CommitRefused, about));
            let by = holder(commit.committer)?;
            let (epoch, gone) = match &commit.effect {
                CommitEffect::NewEpoch(epoch) => (epoch, false),
                CommitEffect::Removed { new_epoch, .. } => (new_epoch, true),
                CommitEffect::ReInit(_) => return Err(refuse("a new beginning")),
            };
            let mut added = Vec::new();
            let mut removed = Vec::new();
            let mut changed = None;
            for info in epoch.applied_proposals() {
                match &info.proposal {
                    Proposal::Add(add) => {
                        let read = certificate(add.signing_identity(), false);
                        added.push(read.map_err(|_| refuse("a certificate"))?);
                    }
                    Proposal::Remove(remove) => removed.push(holder(remove.to_remove())?),
                    Proposal::GroupContextExtensions(list) => {
                        changed = Some(About::read(list).map_err(Failure::Ours)?);
                    }
                    _ => return Err(refuse("an unknown proposal")),
                }
            }
            let evidence =
                read_evidence(&commit.authenticated_data).map_err(|_| refuse("the evidence"))?;
            let gone_ones: Vec<&Member> = removed.iter().collect();
            permit(&about, &members, &by, &added, &gone_ones, changed.as_ref(), &evidence)
                .map_err(Failure::Ours)?;
            if gone {
                return Ok(Received::Removed { by });
            }
            Ok(Received::Changed { by, added, removed, about: changed })
        })
    }
}

fn refused() -> Failure {
    Failure::Ours(Code::MessageRefused.into())
}

/// A leaf and whose it is.
fn member(leaf: &mls_rs::group::Member) -> Result<Member> {
    let certificate = certificate(&leaf.signing_identity, false)?;
    Ok(Member { index: leaf.index, certificate })
}

/// Each leaf with the key of who has it.
fn holders<K: Kem>(inner: &Inner<K>) -> Vec<(u32, Vec<u8>)> {
    let key = |leaf: mls_rs::group::Member| {
        (leaf.index, leaf.signing_identity.signature_key.as_bytes().to_vec())
    };
    inner.roster().members_iter().map(key).collect()
}

/// Who may change what, decided by the change and the conversation's own data alone, so that all
/// members decide alike.
fn permit(
    about: &About,
    members: &[Member],
    by: &Member,
    added: &[Certificate],
    removed: &[&Member],
    changed: Option<&About>,
    evidence: &[Evidence],
) -> Result<()> {
    let refuse = |about: &dyn fmt::Display| Err(Error::about(Code::CommitRefused, about));
    let direct = about.kind == Kind::Direct;
    let admin = about.has_admin(by.primary());
    if let Some(changed) = changed
        && (!admin || changed.kind != about.kind)
    {
        return refuse(&"only an admin may change what a group is");
    }
    for certificate in added {
        let person = certificate.primary();
        let present = if direct {
            about.people.contains(person)
        } else {
            members.iter().any(|m| m.primary() == person)
        };
        if !present && !admin {
            return refuse(&format_args!("{person} may be added by admins of groups alone"));
        }
    }
    for member in removed {
        let own = member.primary() == by.primary();
        // A device with an end is gone after it; when that is, no two clocks agree on.
        let ended = member.certificate.not_after().is_some();
        let shown = evidence
            .iter()
            .any(|e| e.device() == member.device() && e.primary() == member.primary());
        if !own && !admin && !ended && !shown {
            return refuse(&format_args!("{} may not be removed by others", member.device()));
        }
    }
    Ok(())
}

/// Revocations as they stand in a change's authenticated data, an empty line between two.
fn read_evidence(data: &[u8]) -> Result<Vec<Evidence>> {
    let mut all = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\n\n").map_or(rest.len(), |at| at + 1);
        let (one, further) = rest.split_at(end);
        all.push(Evidence::read(one)?);
        rest = further.strip_prefix(b"\n").unwrap_or(further);
        if all.len() > 32 {
            return Err(Error::about(Code::TooLarge, "at most 32 revocations"));
        }
    }
    Ok(all)
}

/// Why the library's group has to be taken up again.
enum Failure {
    /// The library's word, which says no more outside than that it refused.
    Mls,
    Ours(Error),
}

impl From<MlsError> for Failure {
    fn from(_: MlsError) -> Self {
        Self::Mls
    }
}

fn time(now: Timestamp, seconds: i64) -> MlsTime {
    MlsTime::from(now.plus(seconds).seconds().unsigned_abs())
}

/// The certificate in a leaf, which must be of the leaf's key.
fn certificate(leaf: &SigningIdentity, verify: bool) -> Result<Certificate> {
    let Credential::Basic(basic) = &leaf.credential else {
        return Err(Error::about(Code::CertificateRefused, "another kind of credential"));
    };
    let read = if verify { Certificate::read } else { Certificate::read_again };
    let certificate = read(basic.identifier())?;
    if certificate.device().to_bytes() != leaf.signature_key.as_bytes() {
        return Err(Error::about(Code::CertificateRefused, "it is of another device"));
    }
    Ok(certificate)
}

/// The authentication service of MLS: the events that vouch for a device.
#[derive(Clone, Copy, Debug)]
struct Vouched;

impl IdentityProvider for Vouched {
    type Error = Refused;

    fn validate_member(
        &self,
        leaf: &SigningIdentity,
        _: Option<MlsTime>,
        _: MemberValidationContext<'_>,
    ) -> Result<(), Refused> {
        Ok(certificate(leaf, true).map(drop)?)
    }

    fn validate_external_sender(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: Option<&ExtensionList>,
    ) -> Result<(), Refused> {
        Err(Refused)
    }

    fn identity(&self, leaf: &SigningIdentity, _: &ExtensionList) -> Result<Vec<u8>, Refused> {
        Ok(leaf.signature_key.as_bytes().to_vec())
    }

    fn valid_successor(
        &self,
        before: &SigningIdentity,
        after: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<bool, Refused> {
        Ok(before == after)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![CredentialType::BASIC]
    }
}
