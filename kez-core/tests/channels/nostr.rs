//! Relays are never trusted; the key's own are asked as well.

use super::*;

fn event(key: &SecretKey, text: &str, at: i64) -> String {
    key.sign_nostr_event(&carrier(text, Timestamp::from_seconds(at)), &[0; 32]).unwrap()
}

/// KEZ-NOS-01, KEZ-NOS-02, KEZ-NOS-03
#[test]
fn relays_are_never_trusted() {
    let owner = SecretKey::from_bytes(Scheme::Nostr, [2; 32]).unwrap();
    let mallory = SecretKey::from_bytes(Scheme::Nostr, [3; 32]).unwrap();
    let subject = owner.public().identity().to_string();
    let good = event(&owner, &compact(&subject), NOW - 10);
    let (one, two) = ("wss://one.example", "wss://two.example");
    let both = |a: &[&String], b: &[&String]| Recorded::default().relay(one, a).relay(two, b);
    both(&[&good], &[]).expect(&subject, None);
    Recorded::default().relay(two, &[&good]).expect(&subject, None);
    // Another author's event, a forged signature, and one whose content was changed.
    let theirs = event(&mallory, &compact(&subject), NOW);
    both(&[&theirs], &[]).expect(&subject, Some(Code::ProofNotFound));
    let changed = good.replace("kez:z1:", "kez:z1:A");
    both(&[&changed], &[]).expect(&subject, Some(Code::ProofNotFound));
    // The newest wins, wherever it is; what is dated far ahead does not count.
    let removed = event(&owner, "nothing any more", NOW - 5);
    both(&[&good], &[&removed]).expect(&subject, Some(Code::ProofNotFound));
    let ahead = event(&owner, "from the future", NOW + 901);
    both(&[&good, &ahead], &[]).expect(&subject, None);
    // One relay has nothing and the other does not answer: that is not "no proof".
    Recorded::default().relay(one, &[]).expect(&subject, Some(Code::ConnectFailed));
    both(&[], &[]).expect(&subject, Some(Code::ProofNotFound));
    // Of equal dates the lowest id wins, on every relay the same.
    let other = event(&owner, "another text", NOW - 10);
    let id = |e: &str| {
        NostrEvent::from_json(&Value::parse_foreign(e.as_bytes()).unwrap())
            .map(|(k, e)| e.id(&k))
            .unwrap()
    };
    let wanted = if id(&good) < id(&other) { None } else { Some(Code::ProofNotFound) };
    both(&[&good, &other], &[]).expect(&subject, wanted);
    both(&[&other], &[&good]).expect(&subject, wanted);
}

/// NIP-09, NIP-40: what its author has ended does not count, and neither does an older event.
#[test]
fn events_that_their_author_ended() {
    let owner = SecretKey::from_bytes(Scheme::Nostr, [2; 32]).unwrap();
    let mallory = SecretKey::from_bytes(Scheme::Nostr, [3; 32]).unwrap();
    let subject = owner.public().identity().to_string();
    let text = compact(&subject);
    let signed = |key: &SecretKey, kind, at, content: &str, tags: &[[&str; 2]]| {
        let tags = tags.iter().map(|tag| tag.map(str::to_owned).to_vec()).collect();
        let event = NostrEvent { created_at: at, kind, tags, content: content.to_owned() };
        (event.id(key.public()), key.sign_nostr_event(&event, &[0; 32]).unwrap())
    };
    let proof = |at, tags: &[[&str; 2]]| {
        let tags: Vec<_> = [["d", "kez"]].iter().chain(tags).copied().collect();
        signed(&owner, kez_core::NOSTR_KIND, at, &text, &tags)
    };
    let expect = |events: &[&String], reason| {
        let both = Recorded::default().relay("wss://one.example", events);
        both.relay("wss://two.example", &[]).expect(&subject, reason);
    };
    let gone = Some(Code::ProofNotFound);
    let (past, soon) = ((NOW - 1).to_string(), (NOW + 60).to_string());
    expect(&[&proof(NOW - 10, &[["expiration", &soon]]).1], None);
    expect(&[&proof(NOW - 10, &[["expiration", "never"]]).1], None);
    let expired = proof(NOW - 10, &[["expiration", &past]]).1;
    expect(&[&expired], gone);
    expect(&[&expired, &proof(NOW - 20, &[]).1], gone);
    // Deleted by its id or by its address; what came after a deletion counts.
    let (id, event) = proof(NOW - 10, &[]);
    let id = kez_core::hex::encode(&id);
    let author = kez_core::hex::encode(&owner.public().to_bytes());
    let address = format!("{}:{author}:kez", kez_core::NOSTR_KIND);
    let delete = |key, at, tag| signed(key, 5, at, "", &[tag]).1;
    expect(&[&event, &delete(&owner, NOW - 5, ["e", &id])], gone);
    expect(&[&event, &delete(&owner, NOW - 5, ["a", &address])], gone);
    expect(&[&event, &delete(&owner, NOW - 15, ["a", &address])], None);
    expect(&[&event, &delete(&mallory, NOW - 5, ["e", &id])], None);
    expect(&[&event, &delete(&mallory, NOW - 5, ["a", &address])], None);
}

/// NIP-65: the relays that the key's owner writes to are asked as well.
#[test]
fn relays_of_the_key() {
    let owner = SecretKey::from_bytes(Scheme::Nostr, [2; 32]).unwrap();
    let subject = owner.public().identity().to_string();
    let list = |relays: &[(&str, &str)]| {
        let tag = |(url, mark): &(&str, &str)| {
            let words = ["r", url, mark];
            words.iter().filter(|w| !w.is_empty()).map(|w| (*w).to_owned()).collect()
        };
        let tags = relays.iter().map(tag).collect();
        let event = NostrEvent { created_at: NOW - 9, kind: 10_002, tags, content: String::new() };
        owner.sign_nostr_event(&event, &[0; 32]).unwrap()
    };
    let proof = event(&owner, &compact(&subject), NOW - 10);
    let home = "wss://home.example";
    let listed =
        list(&[("wss://read.example", "read"), (home, ""), ("wss://one.example/", "write")]);
    let found = Recorded::default()
        .relay("wss://one.example", &[&listed])
        .relay("wss://two.example", &[])
        .relay(home, &[&proof]);
    found.expect(&subject, None);
    assert!(!found.asked.borrow().iter().any(|url| url.contains("read.example")));
}
