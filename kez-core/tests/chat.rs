//! Chat: certificates, conversations, sealed envelopes, handles and signed requests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use kez_core::{
    Chain, Code, Envelope, Event, Identity, Op, Reason, Result, Scheme, SecretKey, Timestamp,
    chat::{
        About, Body, Bundle, CAPABILITY, Certificate, Change, Commit, Device, Evidence, Group,
        Handle, HandleRecord, KeyPackage, Kind, Member, Message, MessageId, Random, Received,
        SealedKey, SignedBundle, SignedHandle, Vault,
        auth::{Binds, Credentials, Request, WINDOW_MS},
        open, safety_number, seal,
    },
    commitment,
    json::Value,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const NOW: Timestamp = Timestamp::from_seconds(1_795_262_400);

fn random() -> Random {
    Arc::new(|out: &mut [u8]| {
        getrandom::fill(out).unwrap();
        Ok(())
    })
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).unwrap();
    out
}

fn secret(scheme: Scheme) -> SecretKey {
    SecretKey::from_bytes(scheme, bytes()).unwrap()
}

fn copy(key: &SecretKey) -> SecretKey {
    SecretKey::from_bytes(key.public().scheme(), *key.expose_bytes()).unwrap()
}

/// Somebody with a sigchain.
struct Person {
    key: SecretKey,
    chain: Chain,
}

impl Person {
    fn new(scheme: Scheme) -> Self {
        let key = secret(scheme);
        let chain = Chain::new(key.public().identity()).unwrap();
        Self { key, chain }
    }

    fn primary(&self) -> &Identity {
        self.chain.name()
    }

    fn append(&mut self, op: Op, next: Option<&SecretKey>, signers: &[&SecretKey]) {
        let mut event = Event::new(self.primary().clone(), self.chain.head(), NOW, op);
        event.next = next.map(|key| commitment(key.public().identity()));
        let mut envelope = event.to_envelope().unwrap();
        for signer in signers {
            envelope.sign(signer, &[0; 32]).unwrap();
        }
        self.chain.append(&envelope, NOW).unwrap();
    }

    fn add_device_key(&mut self, device: &SecretKey, caps: &[&str], not_after: Option<Timestamp>) {
        let op = Op::AddDevice {
            device: device.public().clone(),
            caps: caps.iter().map(|cap| (*cap).to_owned()).collect(),
            not_after,
            name: None,
        };
        let key = copy(&self.key);
        self.append(op, None, &[&key, device]);
    }

    fn device(&mut self) -> Device {
        let secret = secret(Scheme::Ed25519);
        self.add_device_key(&secret, &[CAPABILITY], None);
        let certificate = Certificate::of(&self.chain, secret.public().identity()).unwrap();
        Device::new(secret, certificate, random()).unwrap()
    }

    fn revoke(&mut self, device: &Identity) -> Evidence {
        let op = Op::RevokeDevice { device: device.clone(), reason: Reason::Compromised };
        let key = copy(&self.key);
        self.append(op, None, &[&key]);
        Evidence::of(&self.chain, device).unwrap()
    }

    fn rotate(&mut self, to: SecretKey, next: Option<&SecretKey>, since: Option<u64>) {
        let reason = if since.is_some() { Reason::Compromised } else { Reason::Retired };
        let op = Op::Rotate { to: to.public().clone(), reason, compromised_since: since };
        let old = std::mem::replace(&mut self.key, to);
        let new = copy(&self.key);
        if self.chain.next().is_some() {
            self.append(op, next, &[&new]);
        } else {
            self.append(op, next, &[&old, &new]);
        }
    }
}

fn name(device: &Device) -> &Identity {
    device.certificate().device().identity()
}

fn text(words: &str) -> Message {
    Message {
        id: MessageId::from_bytes(bytes()),
        at: NOW,
        count: 1,
        body: Body::Text(words.into()),
        head: None,
    }
}

fn words(received: &Received) -> (&str, &Identity) {
    match received {
        Received::Message { from, message: Message { body: Body::Text(text), .. } } => {
            (text, from.device())
        }
        other => panic!("not a text: {other:?}"),
    }
}

/// Adds devices by one change, and gives their groups.
fn add(group: &mut Group, devices: &[&Device]) -> (Commit, Vec<Group>) {
    let packages: Vec<KeyPackage> =
        devices.iter().map(|d| d.key_package(false, NOW).unwrap()).collect();
    let add = packages.iter().map(|p| p.public.clone()).collect();
    let commit = group.commit(&Change { add, ..Change::default() }, NOW).unwrap();
    group.confirm().unwrap();
    let welcome = commit.welcome.as_deref().unwrap();
    let ids = KeyPackage::ids_in(welcome).unwrap();
    let join = |(device, package): (&&Device, &KeyPackage)| {
        assert!(ids.contains(&package.id()));
        let (group, spent) = device.join(welcome, (&package.id(), &package.secret)).unwrap();
        assert!(spent);
        group
    };
    let groups = devices.iter().zip(&packages).map(join).collect();
    (commit, groups)
}

fn direct(a: &Person, b: &Person, device: &Device) -> Group {
    let about = About::direct(a.primary().clone(), b.primary().clone());
    device.create(bytes(), &about, NOW).unwrap()
}

/// What a change is refused with.
fn refused<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.unwrap_err().code()
}

/// KEZ-CONV-01, KEZ-CONV-02, KEZ-MSG-02
#[test]
fn two_people_talk() {
    let (mut alice, mut bob) = (Person::new(Scheme::Nostr), Person::new(Scheme::Ed25519));
    let (phone, laptop) = (alice.device(), bob.device());
    let mut hers = direct(&alice, &bob, &phone);
    let (_, mut his) = add(&mut hers, &[&laptop]);
    let mut his = his.remove(0);
    assert_eq!(hers.id(), his.id());
    assert_eq!(*hers.authenticator().unwrap(), *his.authenticator().unwrap());

    let hello = hers.encrypt(&text("hello")).unwrap();
    assert!(!hello.windows(5).any(|w| w == b"hello"));
    assert_eq!(words(&his.process(&hello).unwrap()), ("hello", name(&phone)));
    // The same again, a copy that was tampered with, and one's own have no effect.
    assert_eq!(refused(his.process(&hello)), Code::MessageRefused);
    let more = hers.encrypt(&text("more")).unwrap();
    for at in [0, 8, 50, more.len() - 1] {
        let mut copy = more.clone();
        copy[at] ^= 1;
        // mls-rs does not look at the version that the first two bytes tell.
        if at > 1 {
            assert_eq!(refused(his.process(&copy)), Code::MessageRefused, "byte {at}");
        }
    }
    assert_eq!(refused(hers.process(&more)), Code::MessageRefused);
    assert_eq!(refused(his.process(&more[..more.len() - 1])), Code::MessageRefused);
    assert_eq!(refused(his.process(b"")), Code::MessageRefused);
    assert_eq!(words(&his.process(&more).unwrap()).0, "more");
}

#[test]
fn messages_come_in_any_order_and_late() {
    let (mut alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Ed25519));
    let (phone, laptop) = (alice.device(), bob.device());
    let mut hers = direct(&alice, &bob, &phone);
    let (_, mut his) = add(&mut hers, &[&laptop]);
    let mut his = his.remove(0);
    let sent: Vec<_> = (0..20).map(|n| hers.encrypt(&text(&n.to_string())).unwrap()).collect();
    for n in (0..20).rev().filter(|n| n % 3 > 0) {
        assert_eq!(words(&his.process(&sent[n]).unwrap()).0, n.to_string());
    }
    // Written before a change, ordered after it.
    let renewed = his.commit(&Change::default(), NOW).unwrap();
    his.confirm().unwrap();
    assert!(matches!(hers.process(&renewed.message).unwrap(), Received::Changed { .. }));
    for n in (0..20).filter(|n| n % 3 == 0) {
        assert_eq!(words(&his.process(&sent[n]).unwrap()).0, n.to_string());
    }
}

#[test]
fn snapshots_carry_everything() {
    let (mut alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Nostr));
    let (phone, laptop) = (alice.device(), bob.device());
    let mut hers = direct(&alice, &bob, &phone);
    let (_, mut his) = add(&mut hers, &[&laptop]);
    let mut his = his.remove(0);
    let early = hers.encrypt(&text("early")).unwrap();
    let renewed = hers.commit(&Change::default(), NOW).unwrap();
    // A change that waits survives too, and is confirmed by its own entry of the log.
    let mut hers = phone.load(&hers.snapshot(), &hers.tree()).unwrap();
    assert!(hers.waits());
    assert_eq!(refused(hers.encrypt(&text("no"))), Code::CommitConflict);
    assert!(matches!(hers.process(&renewed.message).unwrap(), Received::Changed { .. }));
    assert!(!hers.waits());
    his.process(&renewed.message).unwrap();
    let mut his = laptop.load(&his.snapshot(), &his.tree()).unwrap();
    assert_eq!(words(&his.process(&early).unwrap()).0, "early");
    let now = hers.encrypt(&text("now")).unwrap();
    assert_eq!(words(&his.process(&now).unwrap()).0, "now");

    let snapshot = his.snapshot();
    let tree = his.tree();
    assert_eq!(refused(phone.load(&snapshot, &tree)), Code::StateRefused);
    assert_eq!(refused(laptop.load(&snapshot[..snapshot.len() / 2], &tree)), Code::StateRefused);
    assert_eq!(refused(laptop.load(&[], &tree)), Code::StateRefused);
    // A message leaves the tree as it is, and a change does not; none stands for another.
    assert_eq!(hers.tree(), tree);
    let renewed = hers.commit(&Change::default(), NOW).unwrap();
    assert_eq!(hers.tree(), tree);
    hers.confirm().unwrap();
    assert_ne!(hers.tree(), tree);
    assert_eq!(refused(phone.load(&hers.snapshot(), &tree)), Code::StateRefused);
    assert_eq!(refused(phone.load(&hers.snapshot(), &[])), Code::StateRefused);
    // What fails leaves the one that it was.
    let mut forged = renewed.message.clone();
    *forged.last_mut().unwrap() ^= 1;
    his.process(&forged).unwrap_err();
    assert_eq!((his.tree(), his.epoch() + 1), (tree.clone(), hers.epoch()));
    his.process(&renewed.message).unwrap();
    assert_eq!(his.tree(), hers.tree());
    let mut other = snapshot.to_vec();
    other[0] = 1;
    assert_eq!(refused(laptop.load(&other, &tree)), Code::StateRefused);
}

/// KEZ-CONV-05
#[test]
fn the_loser_of_two_changes_gives_way() {
    let (mut alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Ed25519));
    let (phone, laptop) = (alice.device(), bob.device());
    let mut hers = direct(&alice, &bob, &phone);
    let (_, mut his) = add(&mut hers, &[&laptop]);
    let mut his = his.remove(0);
    let won = hers.commit(&Change::default(), NOW).unwrap();
    let lost = his.commit(&Change::default(), NOW).unwrap();
    hers.confirm().unwrap();
    his.abandon().unwrap();
    his.process(&won.message).unwrap();
    // The change that lost is of an epoch that is over.
    assert_eq!(refused(hers.process(&lost.message)), Code::MessageRefused);
    assert_eq!(hers.epoch(), his.epoch());
    let hello = his.encrypt(&text("hello")).unwrap();
    assert_eq!(words(&hers.process(&hello).unwrap()).0, "hello");
    assert_eq!(refused(hers.confirm()), Code::CommitRefused);
}

/// KEZ-CONV-03, KEZ-CERT-04
#[test]
fn devices_come_and_go() {
    let (mut alice, mut bob) = (Person::new(Scheme::Nostr), Person::new(Scheme::Nostr));
    let (phone, laptop, tablet) = (alice.device(), bob.device(), bob.device());
    let mut hers = direct(&alice, &bob, &phone);
    let (_, mut his) = add(&mut hers, &[&laptop]);
    let mut his = his.remove(0);
    // His own device adds the other one.
    let (commit, mut third) = add(&mut his, &[&tablet]);
    let mut third = third.remove(0);
    match hers.process(&commit.message).unwrap() {
        Received::Changed { by, added, removed, about } => {
            assert_eq!(by.device(), name(&laptop));
            assert_eq!(added[0].device().identity(), name(&tablet));
            assert!(removed.is_empty() && about.is_none());
        }
        other => panic!("{other:?}"),
    }
    let hello = hers.encrypt(&text("to both")).unwrap();
    assert_eq!(words(&his.process(&hello).unwrap()).0, "to both");
    assert_eq!(words(&third.process(&hello).unwrap()).0, "to both");

    // She may not remove his device by her own word, but by his revocation.
    let remove = vec![name(&tablet).clone()];
    let bare = Change { remove: remove.clone(), ..Change::default() };
    assert_eq!(refused(hers.commit(&bare, NOW)), Code::CommitRefused);
    let wrong = alice.device();
    let other = alice.revoke(name(&wrong));
    let wrong = Change { remove: remove.clone(), evidence: vec![other], ..Change::default() };
    assert_eq!(refused(hers.commit(&wrong, NOW)), Code::CommitRefused);
    let evidence = vec![bob.revoke(name(&tablet))];
    let change = Change { remove, evidence, ..Change::default() };
    let commit = hers.commit(&change, NOW).unwrap();
    hers.confirm().unwrap();
    assert!(matches!(his.process(&commit.message).unwrap(), Received::Changed { .. }));
    match third.process(&commit.message).unwrap() {
        Received::Removed { by } => assert_eq!(by.device(), name(&phone)),
        other => panic!("{other:?}"),
    }
    // What is written from now on, the device does not read, nor can it write.
    let secret = hers.encrypt(&text("without it")).unwrap();
    assert_eq!(refused(third.process(&secret)), Code::MessageRefused);
    assert_eq!(words(&his.process(&secret).unwrap()).0, "without it");
    if let Ok(late) = third.encrypt(&text("let me in")) {
        assert_eq!(refused(his.process(&late)), Code::MessageRefused);
    }
    let gone = bob.chain.devices().find(|d| d.key == *name(&tablet)).unwrap();
    assert!(gone.revoked.is_some());
    let certificate = tablet.certificate();
    assert_eq!(refused(certificate.check(&bob.chain, NOW)), Code::DeviceRevoked);
    assert_eq!(refused(Certificate::of(&bob.chain, name(&tablet))), Code::DeviceRevoked);
    laptop.certificate().check(&bob.chain, NOW).unwrap();
}

/// KEZ-CERT-05: key packages are of the one cipher suite.
#[test]
fn the_one_cipher_suite() {
    let package = Person::new(Scheme::Ed25519).device().key_package(false, NOW).unwrap().public;
    // MLSMessage: mls10, mls_key_package; KeyPackage: mls10, the suite.
    assert_eq!(package[..8], [0, 1, 0, 5, 0, 1, 0, 0x4f]);
}

/// KEZ-CONV-13: a third person has made a conversation of two, and invites one of them.
#[test]
fn a_stranger_in_a_direct_conversation() {
    let (alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Ed25519));
    let mut mallory = Person::new(Scheme::Ed25519);
    let (laptop, evil) = (bob.device(), mallory.device());
    let about = About::direct(alice.primary().clone(), bob.primary().clone());
    let mut theirs = evil.create(bytes(), &about, NOW).unwrap();
    let package = laptop.key_package(false, NOW).unwrap();
    let change = Change { add: vec![package.public.clone()], ..Change::default() };
    // Her own client refuses already to make the welcome, or else his refuses to join.
    match theirs.commit(&change, NOW) {
        Err(error) => assert_eq!(error.code(), Code::CommitRefused),
        Ok(commit) => {
            let welcome = commit.welcome.as_deref().unwrap();
            let joined = laptop.join(welcome, (&package.id(), &package.secret));
            assert_eq!(refused(joined.map(drop)), Code::WelcomeRefused);
        }
    }
}

/// KEZ-CONV-14
#[test]
fn no_more_than_256_devices() {
    let (mut alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Ed25519));
    let (phone, laptop) = (alice.device(), bob.device());
    let mut hers = direct(&alice, &bob, &phone);
    let package = laptop.key_package(false, NOW).unwrap().public;
    let change = Change { add: vec![package; 256], ..Change::default() };
    assert_eq!(refused(hers.commit(&change, NOW)), Code::TooLarge);
}

/// KEZ-CONV-03
#[test]
fn only_the_two_are_in_a_direct_conversation() {
    let (mut alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Ed25519));
    let mut mallory = Person::new(Scheme::Ed25519);
    let (phone, laptop, evil) = (alice.device(), bob.device(), mallory.device());
    let mut hers = direct(&alice, &bob, &phone);
    let (_, _his) = add(&mut hers, &[&laptop]);
    let package = evil.key_package(false, NOW).unwrap().public;
    let change = Change { add: vec![package], ..Change::default() };
    assert_eq!(refused(hers.commit(&change, NOW)), Code::CommitRefused);
    let about = About::group("not this", alice.primary().clone());
    let change = Change { about: Some(about), ..Change::default() };
    assert_eq!(refused(hers.commit(&change, NOW)), Code::CommitRefused);
    let stranger = Change { remove: vec![name(&evil).clone()], ..Change::default() };
    assert_eq!(refused(hers.commit(&stranger, NOW)), Code::DeviceUnknown);
}

/// KEZ-CONV-01, KEZ-CONV-03
/// KEZ-MSG-02: who has left writes late, and the leaf is somebody else's by then.
/// KEZ-MSG-07
#[test]
fn a_late_message_is_nobody_elses() {
    let mut people: Vec<Person> = (0..4).map(|_| Person::new(Scheme::Ed25519)).collect();
    let devices: Vec<Device> = people.iter_mut().map(Person::device).collect();
    let about = About::group("three", people[0].primary().clone());
    let mut first = devices[0].create(bytes(), &about, NOW).unwrap();
    let (_, mut groups) = add(&mut first, &[&devices[1], &devices[2]]);
    let [leaves, stays] = &mut groups[..] else { panic!() };
    let late = leaves.encrypt(&text("late")).unwrap();
    let timely = stays.encrypt(&text("timely")).unwrap();
    let change = Change {
        add: vec![devices[3].key_package(false, NOW).unwrap().public],
        remove: vec![name(&devices[1]).clone()],
        ..Change::default()
    };
    // Members are told in the order of their leaves.
    let leaf = |group: &Group, device: &Device| {
        group.members().unwrap().iter().position(|m| m.device() == name(device)).unwrap()
    };
    let before = leaf(&first, &devices[1]);
    let commit = first.commit(&change, NOW).unwrap();
    first.confirm().unwrap();
    stays.process(&commit.message).unwrap();
    assert_eq!(leaf(&first, &devices[3]), before);
    // For who made the change, who followed it, and after a restart.
    let mut again = devices[0].load(&first.snapshot(), &first.tree()).unwrap();
    for group in [&mut first, stays, &mut again] {
        assert_eq!(refused(group.process(&late)), Code::MessageRefused);
    }
    for group in [&mut first, &mut again] {
        assert_eq!(words(&group.process(&timely).unwrap()), ("timely", name(&devices[2])));
    }
}

#[test]
fn ten_people_in_a_group() {
    let mut people: Vec<Person> = (0..10)
        .map(|n| Person::new(if n % 2 == 0 { Scheme::Ed25519 } else { Scheme::Nostr }))
        .collect();
    let devices: Vec<Device> = people.iter_mut().map(Person::device).collect();
    let about = About::group("ten", people[0].primary().clone());
    let mut first = devices[0].create(bytes(), &about, NOW).unwrap();
    let others: Vec<&Device> = devices.iter().skip(1).take(8).collect();
    let (_, mut groups) = add(&mut first, &others);
    groups.insert(0, first);
    let deliver = |groups: &mut [Group], from: usize, entry: &[u8]| {
        for (n, group) in groups.iter_mut().enumerate() {
            if n != from {
                group.process(entry).unwrap();
            }
        }
    };
    // Everybody writes.
    for from in 0..groups.len() {
        let entry = groups[from].encrypt(&text(&format!("from {from}"))).unwrap();
        deliver(&mut groups, from, &entry);
    }
    // One who is no admin may add nobody, and remove nobody else.
    let package = devices[9].key_package(false, NOW).unwrap().public;
    let change = Change { add: vec![package], ..Change::default() };
    assert_eq!(refused(groups[3].commit(&change, NOW)), Code::CommitRefused);
    let change = Change { remove: vec![name(&devices[5]).clone()], ..Change::default() };
    assert_eq!(refused(groups[3].commit(&change, NOW)), Code::CommitRefused);
    let mut more = about.clone();
    more.people.push(people[3].primary().clone());
    let change = Change { about: Some(more.clone()), ..Change::default() };
    assert_eq!(refused(groups[3].commit(&change, NOW)), Code::CommitRefused);
    // An admin makes one of them an admin, who then may.
    let commit = groups[0].commit(&change, NOW).unwrap();
    groups[0].confirm().unwrap();
    deliver(&mut groups, 0, &commit.message);
    assert_eq!(groups[3].about().unwrap(), more);
    let (commit, mut tenth) = add(&mut groups[3], &[&devices[9]]);
    deliver(&mut groups, 3, &commit.message);
    groups.append(&mut tenth);
    assert_eq!(groups[9].members().unwrap().len(), 10);
    let change = Change { remove: vec![name(&devices[5]).clone()], ..Change::default() };
    let commit = groups[3].commit(&change, NOW).unwrap();
    groups[3].confirm().unwrap();
    let mut gone = groups.remove(5);
    assert!(matches!(gone.process(&commit.message).unwrap(), Received::Removed { .. }));
    deliver(&mut groups, 3, &commit.message);
    let entry = groups[8].encrypt(&text("the tenth")).unwrap();
    deliver(&mut groups, 8, &entry);
    assert_eq!(refused(gone.process(&entry)), Code::MessageRefused);
    let all: Vec<_> = groups.iter().map(|g| g.authenticator().unwrap().to_vec()).collect();
    assert!(all.iter().all(|one| *one == all[0]));
    assert_eq!(groups[0].about().unwrap().kind, Kind::Group);
    let member: Member = groups[0].members().unwrap().remove(0);
    assert_eq!(member.primary(), people[0].primary());
}

/// KEZ-CERT-01, KEZ-CERT-02, KEZ-CERT-04
#[test]
fn certificates_follow_rotations() {
    // Without commitment, and with.
    for committed in [false, true] {
        let mut person = Person::new(Scheme::Nostr);
        let keys: Vec<SecretKey> = (0..3).map(|_| secret(Scheme::Ed25519)).collect();
        if committed {
            let op = Op::Add {
                subject: Identity::parse("github:jason").unwrap(),
                claim: kez_core::ObjectId::digest("claim", b"{}"),
                account: None,
                url: None,
            };
            let key = copy(&person.key);
            person.append(op, Some(&keys[0]), &[&key]);
        }
        let early = person.device();
        for n in 0..2 {
            person.rotate(copy(&keys[n]), committed.then(|| &keys[n + 1]), None);
        }
        let late = person.device();
        for device in [&early, &late] {
            device.certificate().check(&person.chain, NOW).unwrap();
            let again = Certificate::read(device.certificate().as_bytes()).unwrap();
            assert_eq!(again.primary(), person.primary());
        }
        let lines = late.certificate().as_bytes().iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines, if committed { 4 } else { 3 });
        // Without the events that lead to the key, it is nobody's.
        let text = String::from_utf8(late.certificate().as_bytes().to_vec()).unwrap();
        let cut: String = text.split_inclusive('\n').skip(1).collect();
        assert_eq!(refused(Certificate::read(cut.as_bytes())), Code::CertificateRefused);
        let turned: String = text.split_inclusive('\n').rev().collect();
        assert_eq!(refused(Certificate::read(turned.as_bytes())), Code::CertificateRefused);
        let evidence = person.revoke(name(&late));
        assert_eq!(evidence.primary(), person.primary());
        assert_eq!(Evidence::read(evidence.as_bytes()).unwrap(), evidence);
    }
}

/// KEZ-CERT-01, KEZ-CERT-02, KEZ-CERT-03
#[test]
fn certificates_that_are_none() {
    let mut alice = Person::new(Scheme::Ed25519);
    let mut mallory = Person::new(Scheme::Ed25519);
    let device = alice.device();
    let text = String::from_utf8(device.certificate().as_bytes().to_vec()).unwrap();
    for bad in [
        String::new(),
        "{}\n".into(),
        text.trim_end().into(),
        text.replace("chat/1", "chat/2"),
        format!("{text}{text}"),
        text.repeat(100),
    ] {
        assert_eq!(refused(Certificate::read(bad.as_bytes())), Code::CertificateRefused, "{bad}");
        assert_eq!(refused(Evidence::read(bad.as_bytes())), Code::CertificateRefused);
    }
    // Mallory signs an event that says it is of Alice's chain.
    let evil = secret(Scheme::Ed25519);
    let op = Op::AddDevice {
        device: evil.public().clone(),
        caps: vec![CAPABILITY.into()],
        not_after: None,
        name: None,
    };
    let event = Event::new(alice.primary().clone(), alice.chain.head(), NOW, op);
    let mut envelope = event.to_envelope().unwrap();
    envelope.sign(&mallory.key, &[0; 32]).unwrap();
    envelope.sign(&evil, &[0; 32]).unwrap();
    let line = format!("{}\n", envelope.to_canonical());
    assert_eq!(refused(Certificate::read(line.as_bytes())), Code::CertificateRefused);
    // A device that may not chat, and one whose certificate is of another.
    let silent = secret(Scheme::Ed25519);
    mallory.add_device_key(&silent, &["other/1"], None);
    let silent = silent.public().identity();
    assert_eq!(refused(Certificate::of(&mallory.chain, silent)), Code::DeviceUnknown);
    let stolen: Result<Device> = Device::new(evil, device.certificate().clone(), random());
    assert_eq!(refused(stolen), Code::CertificateRefused);
    // An event that is well signed, but not on the chain that others know.
    let chain = Chain::new(alice.primary()).unwrap();
    assert_eq!(refused(device.certificate().check(&chain, NOW)), Code::CertificateRefused);
    // A device whose time is over.
    let brief = secret(Scheme::Ed25519);
    alice.add_device_key(&brief, &[CAPABILITY], Some(NOW.plus(60)));
    let brief = Certificate::of(&alice.chain, brief.public().identity()).unwrap();
    brief.check(&alice.chain, NOW).unwrap();
    assert_eq!(refused(brief.check(&alice.chain, NOW.plus(60))), Code::DeviceRevoked);
}

/// KEZ-CONV-04
#[test]
fn key_packages() {
    let (mut alice, mut bob) = (Person::new(Scheme::Ed25519), Person::new(Scheme::Ed25519));
    let (phone, laptop) = (alice.device(), bob.device());
    let package = laptop.key_package(false, NOW).unwrap();
    let (owner, id) = KeyPackage::owner(&package.public, &random()).unwrap();
    assert_eq!((owner.primary(), id), (bob.primary(), package.id()));
    assert!(package.public.len() < 4096, "{}", package.public.len());
    assert_eq!(refused(KeyPackage::owner(b"no", &random())), Code::KeyPackageRefused);
    // Tampered with, out of date, or too early.
    let mut hers = direct(&alice, &bob, &phone);
    let mut bad = package.public.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let change = |package: &[u8]| Change { add: vec![package.to_vec()], ..Change::default() };
    assert_eq!(refused(hers.commit(&change(&bad), NOW)), Code::KeyPackageRefused);
    assert_eq!(refused(hers.commit(&change(b"no"), NOW)), Code::KeyPackageRefused);
    for later in [-7200, 31 * 86_400] {
        let commit = hers.commit(&change(&package.public), NOW.plus(later));
        assert_eq!(refused(commit), Code::KeyPackageRefused, "{later}");
    }
    assert_eq!(hers.members().unwrap().len(), 1);
    // A clock that is an hour behind does no harm.
    hers.commit(&change(&package.public), NOW.plus(-3500)).unwrap();
    hers.abandon().unwrap();
    // One of last resort serves twice.
    let package = laptop.key_package(true, NOW).unwrap();
    for _ in 0..2 {
        let mut group = direct(&alice, &bob, &phone);
        let commit = group.commit(&change(&package.public), NOW).unwrap();
        let welcome = commit.welcome.unwrap();
        let (_, spent) = laptop.join(&welcome, (&package.id(), &package.secret)).unwrap();
        assert!(!spent);
        let other = laptop.key_package(false, NOW).unwrap();
        let wrong = laptop.join(&welcome, (&other.id(), &other.secret));
        assert_eq!(refused(wrong), Code::WelcomeRefused);
        let cut = laptop.join(&welcome[..welcome.len() - 9], (&package.id(), &package.secret));
        assert_eq!(refused(cut), Code::WelcomeRefused);
    }
    assert_eq!(refused(KeyPackage::ids_in(&package.public)), Code::WelcomeRefused);
}

#[test]
fn broken_randomness_makes_nothing() {
    let mut alice = Person::new(Scheme::Ed25519);
    let broken = Arc::new(AtomicBool::new(false));
    let switch = broken.clone();
    let random: Random = Arc::new(move |out: &mut [u8]| {
        if switch.load(Ordering::Relaxed) {
            return Err(Code::StorageFailed.into());
        }
        getrandom::fill(out).unwrap();
        Ok(())
    });
    let key = secret(Scheme::Ed25519);
    alice.add_device_key(&key, &[CAPABILITY], None);
    let certificate = Certificate::of(&alice.chain, key.public().identity()).unwrap();
    let vault = Vault::of(&key, random.clone());
    let device: Device = Device::new(key, certificate, random.clone()).unwrap();
    let about = About::direct(alice.primary().clone(), alice.primary().clone());
    // A conversation with oneself names one person once.
    assert_eq!(refused(device.create(bytes(), &about, NOW)), Code::CommitRefused);
    let about = About { people: vec![alice.primary().clone()], ..about };
    let mut group = device.create(bytes(), &about, NOW).unwrap();
    let sealed_for = SealedKey::generate(&random).unwrap();
    broken.store(true, Ordering::Relaxed);
    assert_eq!(refused(group.encrypt(&text("no"))), Code::MessageRefused);
    assert!(group.commit(&Change::default(), NOW).is_err());
    assert!(device.key_package(false, NOW).is_err());
    assert!(device.create(bytes(), &about, NOW).is_err());
    assert_eq!(refused(SealedKey::generate(&random)), Code::StorageFailed);
    let sealed = seal(sealed_for.public(), "a", "b", b"c", &random);
    assert_eq!(refused(sealed), Code::StorageFailed);
    assert_eq!(refused(vault.seal("a", b"b")), Code::StorageFailed);
    broken.store(false, Ordering::Relaxed);
    group.encrypt(&text("yes")).unwrap();
}

/// KEZ-MSG-01
#[test]
fn messages_are_canonical_and_bounded() {
    let message = text("line\nnext");
    let plain = message.to_plaintext().unwrap();
    assert_eq!(Message::read(plain.as_bytes()).unwrap(), message);
    let long = text(&"x".repeat(16 * 1024 + 1));
    assert_eq!(refused(long.to_plaintext()), Code::TooLarge);
    assert_eq!(refused(text("").to_plaintext()), Code::TextRefused);
    let zero = Message { count: 0, ..text("x") };
    assert_eq!(refused(zero.to_plaintext()), Code::MemberType);
    let later = plain.replace(r#""type":"text""#, r#""type":"video""#);
    let read = Message::read(later.as_bytes()).unwrap();
    assert_eq!(read.body, Body::Unknown("video".into()));
    assert_eq!(refused(read.to_plaintext()), Code::TypeUnknown);
    assert_eq!(refused(Message::read(b"{ }")), Code::JsonNotCanonical);
    assert_eq!(refused(MessageId::parse("zz")), Code::IdRefused);
}

/// KEZ-SEAL-01
#[test]
fn sealed_envelopes() {
    let random = random();
    let (key, other) =
        (SealedKey::generate(&random).unwrap(), SealedKey::generate(&random).unwrap());
    let envelope = seal(key.public(), "welcome", "bob", b"secret", &random).unwrap();
    assert_eq!(&**open(&key, "welcome", "bob", &envelope).unwrap(), b"secret");
    assert_eq!(refused(open(&other, "welcome", "bob", &envelope)), Code::SealedRefused);
    assert_eq!(refused(open(&key, "link", "bob", &envelope)), Code::SealedRefused);
    assert_eq!(refused(open(&key, "welcome", "eve", &envelope)), Code::SealedRefused);
    for at in [0, 1, 600, 1120, envelope.len() - 1] {
        let mut bad = envelope.clone();
        bad[at] ^= 1;
        assert_eq!(refused(open(&key, "welcome", "bob", &bad)), Code::SealedRefused, "{at}");
    }
    for len in [0, 1, 1000, 1121] {
        assert_eq!(refused(open(&key, "welcome", "bob", &envelope[..len])), Code::SealedRefused);
    }
    assert_eq!(refused(seal(b"short", "a", "b", b"c", &random)), Code::KeyRefused);
    let again = SealedKey::from_bytes(key.expose_bytes()).unwrap();
    assert_eq!(again.public(), key.public());
    assert!(!format!("{key:?}").contains(&kez_core::hex::encode(key.expose_bytes())));
}

#[test]
fn vaults() {
    let device = secret(Scheme::Ed25519);
    let vault = Vault::of(&device, random());
    let record = vault.seal("group", b"state").unwrap();
    assert_eq!(&**vault.open("group", &record).unwrap(), b"state");
    assert_ne!(record, vault.seal("group", b"state").unwrap());
    assert_eq!(refused(vault.open("other", &record)), Code::StateRefused);
    assert_eq!(refused(vault.open("group", &record[..20])), Code::StateRefused);
    let other = Vault::of(&secret(Scheme::Ed25519), random());
    assert_eq!(refused(other.open("group", &record)), Code::StateRefused);
    let carried = Vault::with_key(zeroize::Zeroizing::new([7; 32]), random());
    let record = carried.seal("x", b"y").unwrap();
    assert_eq!(&**carried.open("x", &record).unwrap(), b"y");
}

/// KEZ-SAFE-01
#[test]
fn safety_numbers_change_with_devices() {
    let (mut alice, mut bob) = (Person::new(Scheme::Nostr), Person::new(Scheme::Ed25519));
    let (phone, laptop) = (alice.device(), bob.device());
    let side = |person: &Person, devices: &[&Device]| {
        (person.primary().clone(), devices.iter().map(|d| name(d).clone()).collect())
    };
    let (a, b) = (side(&alice, &[&phone]), side(&bob, &[&laptop]));
    let number = safety_number(&a, &b);
    assert_eq!(number, safety_number(&b, &a));
    assert!(number.split(' ').all(|group| group.len() == 5 && group.parse::<u32>().is_ok()));
    let tablet = bob.device();
    assert_ne!(number, safety_number(&a, &side(&bob, &[&laptop, &tablet])));
}

fn signed(record: &HandleRecord, key: &SecretKey) -> Envelope {
    let mut envelope = record.to_envelope().unwrap();
    envelope.sign(key, &[0; 32]).unwrap();
    envelope
}

/// KEZ-HANDLE-01, KEZ-HANDLE-02, KEZ-HANDLE-03
#[test]
fn handles() {
    for good in ["a", "alice", "a-b_c", "0x0", &"a".repeat(32)] {
        assert_eq!(good.parse::<Handle>().unwrap().as_str(), good);
    }
    for bad in
        ["", "-a", "a-", "_", "A", "ä", "a.b", "a b", "a/b", ">", "*", "root", &"a".repeat(33)]
    {
        assert_eq!(refused(bad.parse::<Handle>()), Code::HandleRefused, "{bad}");
    }
    let mut alice = Person::new(Scheme::Nostr);
    let server = "https://chat.example";
    let alice_name: Handle = "alice".parse().unwrap();
    let record = HandleRecord {
        handle: alice_name.clone(),
        server: server.into(),
        primary: alice.primary().clone(),
        created_at: NOW,
        sources: vec!["https://sig.example/v1/chains/x".into()],
    };
    let handle = SignedHandle::read(signed(&record, &alice.key)).unwrap();
    assert_eq!(handle.record(), &record);
    handle.check(&alice_name, server, &alice.chain).unwrap();
    let other: Handle = "bob".parse().unwrap();
    assert_eq!(refused(handle.check(&other, server, &alice.chain)), Code::HandleUnproven);
    assert_eq!(
        refused(handle.check(&alice_name, "https://evil.example", &alice.chain)),
        Code::HandleUnproven
    );
    let mallory = Person::new(Scheme::Nostr);
    assert_eq!(refused(handle.check(&alice_name, server, &mallory.chain)), Code::HandleUnproven);
    // Signed by somebody else: its signature verifies, and proves nothing.
    let forged = SignedHandle::read(signed(&record, &mallory.key)).unwrap();
    assert_eq!(refused(forged.check(&alice_name, server, &alice.chain)), Code::HandleUnproven);
    // After a rotation the old key's word stands, unless the key is declared stolen.
    alice.device();
    let mut stolen = Person { key: copy(&alice.key), chain: alice.chain.clone() };
    alice.rotate(secret(Scheme::Ed25519), None, None);
    handle.check(&alice_name, server, &alice.chain).unwrap();
    stolen.rotate(secret(Scheme::Ed25519), None, Some(1));
    assert_eq!(refused(handle.check(&alice_name, server, &stolen.chain)), Code::HandleUnproven);
    let value = Value::parse(handle.envelope().to_canonical().as_bytes()).unwrap();
    assert_eq!(SignedHandle::read(Envelope::from_value(value).unwrap()).unwrap(), handle);
}

/// KEZ-SEAL-02
#[test]
fn bundles() {
    let mut alice = Person::new(Scheme::Nostr);
    let device = alice.device();
    let key = SealedKey::generate(&random()).unwrap();
    let bundle = Bundle {
        primary: alice.primary().clone(),
        device: name(&device).clone(),
        sealed_key: key.public().to_vec(),
        created_at: NOW,
        expires_at: NOW.plus(30 * 86_400),
    };
    let sign = |bundle: &Bundle, by: &SecretKey| {
        let mut envelope = bundle.to_envelope().unwrap();
        envelope.sign(by, &[0; 32]).unwrap();
        envelope
    };
    let signed = sign(&bundle, device.secret());
    assert_eq!(SignedBundle::read(signed.clone(), NOW).unwrap().bundle(), &bundle);
    for later in [-601, 30 * 86_400] {
        let read = SignedBundle::read(signed.clone(), NOW.plus(later));
        assert_eq!(refused(read), Code::BundleRefused, "{later}");
    }
    let forged = sign(&bundle, &secret(Scheme::Ed25519));
    assert_eq!(refused(SignedBundle::read(forged, NOW)), Code::BundleRefused);
    let long = Bundle { expires_at: NOW.plus(31 * 86_400), ..bundle.clone() };
    assert_eq!(refused(long.to_envelope()), Code::ExpiryRefused);
    let short = Bundle { sealed_key: vec![1; 32], ..bundle };
    assert_eq!(refused(short.to_envelope()), Code::BundleRefused);
}

/// KEZ-AUTH-01, KEZ-AUTH-02, KEZ-AUTH-03
#[test]
fn requests_are_signed_for_one_place() {
    let device = secret(Scheme::Ed25519);
    let at_ms = 1_795_262_400_000;
    let base = Request {
        origin: "https://chat.example",
        method: "GET",
        path: "/v1/inbox/alice",
        binds: Binds::Nothing,
        at_ms,
    };
    let requests = [
        base,
        Request { binds: Binds::Since(0), ..base },
        Request { binds: Binds::Since(1), ..base },
        Request { binds: Binds::Body(b""), ..base },
        Request { binds: Binds::Body(b"{}"), ..base },
        Request { path: "/v1/inbox/alice/stream", ..base },
        Request { path: "/v1/inbox/bob", ..base },
        Request { method: "POST", ..base },
        Request { origin: "https://evil.example", ..base },
    ];
    for (n, request) in requests.iter().enumerate() {
        let credentials = request.sign(&device).unwrap();
        let header = Credentials::from_header(&credentials.to_header()).unwrap();
        assert_eq!(header, credentials);
        let query = credentials.to_query();
        let (name, auth) = query.split_once('&').unwrap();
        let name = name.strip_prefix("device=").unwrap();
        let auth = auth.strip_prefix("auth=").unwrap();
        assert_eq!(Credentials::from_query(name, auth).unwrap(), credentials);
        // Good for this request, and no other.
        for (m, other) in requests.iter().enumerate() {
            assert_eq!(credentials.verify(other, at_ms).is_ok(), n == m, "{n} for {m}");
        }
        for now in [at_ms - WINDOW_MS, at_ms + WINDOW_MS] {
            credentials.verify(request, now).unwrap();
        }
        for now in [at_ms - WINDOW_MS - 1, at_ms + WINDOW_MS + 1] {
            assert_eq!(refused(credentials.verify(request, now)), Code::AuthRefused);
        }
        let shown = format!("{credentials:?}");
        assert!(!credentials.to_header().rsplit('=').next().is_some_and(|sig| shown.contains(sig)));
    }
    let good = base.sign(&device).unwrap();
    let later = Request { at_ms: at_ms + 1, ..base }.sign(&device).unwrap();
    assert_ne!(good.nonce(), later.nonce());
    let header = good.to_header();
    assert_eq!(refused(Credentials::from_header("Bearer x")), Code::AuthMissing);
    for bad in [
        header.replace("device=", "key="),
        header.replace("ts=1", "ts=01"),
        header.replace("ts=", "ts=+"),
        header[..header.len() - 2].into(),
        format!("{header},more=1"),
        header.to_uppercase().replace("KEZ DEVICE=", "KEZ device="),
    ] {
        assert_eq!(refused(Credentials::from_header(&bad)), Code::AuthRefused, "{bad}");
    }
    assert_eq!(refused(Credentials::from_query("00", "1")), Code::AuthRefused);
    assert_eq!(refused(base.sign(&secret(Scheme::Nostr))), Code::KeyExpected);
}
