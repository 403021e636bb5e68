//! OpenMLS and kez-core in one group: invitations, messages and changes both ways.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use hpke::kem::X25519HkdfSha256;
use kez_core::{
    Chain, Event, Op, Scheme, SecretKey, Timestamp,
    chat::{
        About, Body, CAPABILITY, Certificate, Change, Device, Group, KeyPackage, Message,
        MessageId, Random, Received,
    },
};
use openmls::prelude::{
    tls_codec::{Deserialize as _, Serialize as _},
    *,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::types::SignatureScheme;
use std::{sync::Arc, time::SystemTime};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
const ABOUT: u16 = 0xf4b5;

fn now() -> Timestamp {
    Timestamp::since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).unwrap();
    out
}

fn random() -> Random {
    Arc::new(|out: &mut [u8]| {
        getrandom::fill(out).unwrap();
        Ok(())
    })
}

/// Somebody with one device on a chain: the primary, the device's secret and its certificate.
fn person() -> (kez_core::Identity, SecretKey, Certificate) {
    let owner = SecretKey::from_bytes(Scheme::Ed25519, bytes()).unwrap();
    let device = SecretKey::from_bytes(Scheme::Ed25519, bytes()).unwrap();
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    let op = Op::AddDevice {
        device: device.public().clone(),
        caps: vec![CAPABILITY.into()],
        not_after: None,
        name: None,
    };
    let mut event = Event::new(chain.name().clone(), None, now(), op).to_envelope().unwrap();
    event.sign(&owner, &[0; 32]).unwrap();
    event.sign(&device, &[0; 32]).unwrap();
    chain.append(&event, now()).unwrap();
    let certificate = Certificate::of(&chain, device.public().identity()).unwrap();
    (chain.name().clone(), device, certificate)
}

fn text(words: &str) -> Message {
    Message {
        id: MessageId::from_bytes(bytes()),
        at: now(),
        count: 1,
        body: Body::Text(words.into()),
        head: None,
    }
}

/// A device whose MLS is OpenMLS.
struct Other {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
}

impl Other {
    fn new(device: &SecretKey, certificate: &Certificate) -> Self {
        let public = device.public().to_bytes().to_vec();
        let private = device.expose_bytes().to_vec();
        let signer = SignatureKeyPair::from_raw(SignatureScheme::ED25519, private, public.clone());
        let credential = BasicCredential::new(certificate.as_bytes().to_vec());
        let credential =
            CredentialWithKey { credential: credential.into(), signature_key: public.into() };
        Self { provider: OpenMlsRustCrypto::default(), signer, credential }
    }

    fn capabilities() -> Capabilities {
        Capabilities::new(
            None,
            Some(&[SUITE]),
            Some(&[ExtensionType::Unknown(ABOUT)]),
            None,
            Some(&[CredentialType::Basic]),
        )
    }

    fn key_package(&self) -> Vec<u8> {
        let bundle = openmls::prelude::KeyPackage::builder()
            .leaf_node_capabilities(Self::capabilities())
            .build(SUITE, &self.provider, &self.signer, self.credential.clone())
            .unwrap();
        MlsMessageOut::from(bundle.key_package().clone()).tls_serialize_detached().unwrap()
    }

    fn join(&self, welcome: &[u8]) -> MlsGroup {
        let message = MlsMessageIn::tls_deserialize_exact(welcome).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { panic!("no welcome") };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .build();
        StagedWelcome::new_from_welcome(&self.provider, &config, welcome, None)
            .unwrap()
            .into_group(&self.provider)
            .unwrap()
    }

    /// Takes a message of the group: its plaintext, or nothing for a change.
    fn take(&self, group: &mut MlsGroup, message: &[u8]) -> Option<Vec<u8>> {
        let message = MlsMessageIn::tls_deserialize_exact(message).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        match group.process_message(&self.provider, message).unwrap().into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => Some(message.into_bytes()),
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                group.merge_staged_commit(&self.provider, *commit).unwrap();
                None
            }
            other => panic!("{other:?}"),
        }
    }

    fn write(&self, group: &mut MlsGroup, words: &str) -> Vec<u8> {
        let plaintext = text(words).to_plaintext().unwrap();
        let message = group.create_message(&self.provider, &self.signer, plaintext.as_bytes());
        message.unwrap().tls_serialize_detached().unwrap()
    }

    fn renew(&self, group: &mut MlsGroup) -> Vec<u8> {
        let parameters = LeafNodeParameters::default();
        let bundle = group.self_update(&self.provider, &self.signer, parameters).unwrap();
        let commit = bundle.into_commit().tls_serialize_detached().unwrap();
        group.merge_pending_commit(&self.provider).unwrap();
        commit
    }
}

fn words(received: Received) -> String {
    match received {
        Received::Message { message: Message { body: Body::Text(text), .. }, .. } => text,
        other => panic!("{other:?}"),
    }
}

/// Messages and changes, in both directions, until both have gone through several epochs.
fn talk(ours: &mut Group<X25519HkdfSha256>, theirs: (&Other, &mut MlsGroup)) {
    let (other, group) = theirs;
    for round in 0..3 {
        let hello = ours.encrypt(&text(&format!("ours {round}"))).unwrap();
        let plaintext = other.take(group, &hello).unwrap();
        let message = Message::read(&plaintext).unwrap();
        assert_eq!(message.body, Body::Text(format!("ours {round}")));
        let hello = other.write(group, &format!("theirs {round}"));
        assert_eq!(words(ours.process(&hello).unwrap()), format!("theirs {round}"));
        // Each renews its keys.
        let commit = ours.commit(&Change::default(), now()).unwrap();
        ours.confirm().unwrap();
        assert!(other.take(group, &commit.message).is_none());
        let commit = other.renew(group);
        assert!(matches!(ours.process(&commit).unwrap(), Received::Changed { .. }));
        assert_eq!(ours.epoch(), group.epoch().as_u64());
        let theirs = group.epoch_authenticator().as_slice();
        assert_eq!(&ours.authenticator().unwrap()[..], theirs);
    }
}

#[test]
fn openmls_joins_ours() {
    let ((alice, key, certificate), (_, other, others)) = (person(), person());
    let device = Device::<X25519HkdfSha256>::new(key, certificate, random()).unwrap();
    let other = Other::new(&other, &others);
    let mut ours = device.create(bytes(), &About::group("both", alice), now()).unwrap();
    let change = Change { add: vec![other.key_package()], ..Change::default() };
    let commit = ours.commit(&change, now()).unwrap();
    ours.confirm().unwrap();
    let mut group = other.join(&commit.welcome.unwrap());
    assert_eq!(ours.members().unwrap().len(), 2);
    talk(&mut ours, (&other, &mut group));
    // Removed, it is told so.
    let gone = others.device().identity().clone();
    let change = Change { remove: vec![gone], ..Change::default() };
    let commit = ours.commit(&change, now()).unwrap();
    ours.confirm().unwrap();
    other.take(&mut group, &commit.message);
    assert!(!group.is_active());
}

#[test]
fn ours_joins_openmls() {
    let ((_, key, certificate), (bob, other, others)) = (person(), person());
    let device = Device::<X25519HkdfSha256>::new(key, certificate, random()).unwrap();
    let other = Other::new(&other, &others);
    let about = format!(r#"{{"kind":"group","name":"theirs","people":["{bob}"]}}"#);
    let about = Extension::Unknown(ABOUT, UnknownExtension(about.into_bytes()));
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .capabilities(Other::capabilities())
        .with_group_context_extensions(Extensions::single(about).unwrap())
        .build();
    let id = GroupId::from_slice(&bytes::<32>());
    let credential = other.credential.clone();
    let mut group =
        MlsGroup::new_with_group_id(&other.provider, &other.signer, &config, id, credential)
            .unwrap();
    let package: KeyPackage = device.key_package(false, now()).unwrap();
    let message = MlsMessageIn::tls_deserialize_exact(&package.public).unwrap();
    let MlsMessageBodyIn::KeyPackage(theirs) = message.extract() else { panic!("no key package") };
    let theirs = theirs.validate(other.provider.crypto(), ProtocolVersion::Mls10).unwrap();
    let (_, welcome, _) = group.add_members(&other.provider, &other.signer, &[theirs]).unwrap();
    group.merge_pending_commit(&other.provider).unwrap();
    let welcome = welcome.tls_serialize_detached().unwrap();
    let (mut ours, _) = device.join(&welcome, (&package.id(), &package.secret)).unwrap();
    assert_eq!(ours.about().unwrap().name.as_deref(), Some("theirs"));
    talk(&mut ours, (&other, &mut group));
}
