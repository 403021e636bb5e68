//! Generated files: the test vectors, and the examples and tables of SPEC.md. Each is committed
//! and checked for staleness.

use crate::{
    Result,
    setup::root,
    vectors::{self, key, now, sign_claim},
};
use kez_core::{
    Claim, Code, Encoding, History, Identity, ObjectId, Op, Place, Proof, Reason, Report, Scheme,
    SignedClaim, Suite, Target, commitment,
    fork::{Merge, merge},
    json::Value,
    judge, proof,
    transport::Via,
};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Writes the generated files, or says which are stale.
///
/// # Errors
/// The stale files, with `check`.
pub fn run(check: bool) -> Result<()> {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    let dir = root().join("kez-core/vectors");
    for (name, case) in vectors::all()? {
        files.insert(dir.join(name), format!("{}\n", serde_json::to_string_pretty(&case)?));
    }
    let spec = root().join("SPEC.md");
    let mut text = fs::read_to_string(&spec)?;
    for (name, body) in blocks()? {
        text = replace(&text, &name, &body)?;
    }
    files.insert(spec, text);
    let mut stale = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") && !files.contains_key(&path) {
                stale.push(path.clone());
                if !check {
                    fs::remove_file(path)?;
                }
            }
        }
    }
    for (path, text) in files {
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            if !check {
                fs::create_dir_all(path.parent().unwrap_or(&path))?;
                fs::write(&path, text)?;
            }
            stale.push(path);
        }
    }
    if check && !stale.is_empty() {
        return Err(format!("stale, run `cargo xtask gen`: {stale:?}").into());
    }
    Ok(())
}

fn replace(text: &str, name: &str, body: &str) -> Result<String> {
    let open = format!("<!-- {name} -->\n");
    let start = text.find(&open).ok_or(format!("SPEC.md has no block {name}"))? + open.len();
    let end = text[start..].find("<!-- end -->").ok_or("an unclosed block")? + start;
    Ok(format!("{}\n{}\n\n{}", &text[..start], body.trim_end(), &text[end..]))
}

/// JSON for people: indented, members in canonical order.
fn pretty(value: &Value) -> Result<String> {
    let json: serde_json::Value = serde_json::from_str(&value.to_canonical())?;
    Ok(serde_json::to_string_pretty(&json)?)
}

fn fence(kind: &str, text: &str) -> String {
    format!("```{kind}\n{}\n```\n", text.trim_end())
}

fn example() -> Result<SignedClaim> {
    let owner = key(Scheme::Nostr, 1);
    let subject = Identity::from_canonical("github:jason")?;
    let mut claim = Claim::new(subject, owner.public().identity().clone(), now().plus(-60));
    claim.account = Some("12345".into());
    sign_claim(&claim, &owner)
}

fn blocks() -> Result<Vec<(String, String)>> {
    let signed = example()?;
    let owner = key(Scheme::Nostr, 1);
    let mut out = Vec::new();
    out.push((
        "example:claim".into(),
        format!(
            "{}\nIts id is `{}`. The secret keys of all examples are 32 bytes of one value:\n1 for the owner, 2 for a device, 3 for the next key.\n",
            fence("json", &pretty(&signed.envelope().to_value())?),
            signed.id()
        ),
    ));
    let mut nostr = signed.claim().to_envelope()?;
    let event = nostr.nostr_event()?;
    let event = Value::parse(owner.sign_nostr_event(&event, &[0; 32])?.as_bytes())?;
    let sig =
        event.get("sig").and_then(Value::as_str).and_then(kez_core::hex::decode).ok_or("sig")?;
    nostr.attach(owner.public(), Suite::NostrEvent, sig);
    out.push((
        "example:nostr-event".into(),
        format!(
            "{}\n{}",
            fence("json", &nostr.to_canonical()),
            fence("json", &event.to_canonical())
        ),
    ));
    let compact = proof::to_compact(signed.envelope());
    let dns = {
        let owner = key(Scheme::Ed25519, 1);
        let subject = Identity::from_canonical("dns:example.com")?;
        let claim = Claim::new(subject, owner.public().identity().clone(), now().plus(-60));
        proof::to_zone_line(
            "example.com",
            &proof::to_compact(sign_claim(&claim, &owner)?.envelope()),
        )
    };
    out.push((
        "example:encodings".into(),
        format!(
            "JSON, canonical:\n\n{}\nCompact:\n\n{}\nMarkdown:\n\n````markdown\n{}````\n\nPointer:\n\n{}\nDNS, a claim of `dns:example.com` by `{}`, as a zone-file line:\n\n{}",
            fence("json", &signed.envelope().to_canonical()),
            fence("text", &compact),
            proof::to_markdown(&signed),
            fence("text", &proof::to_pointer(&signed.claim().primary)),
            key(Scheme::Ed25519, 1).public(),
            fence("text", &dns),
        ),
    ));
    out.push(("example:chain".into(), fence("text", &chain(&signed)?)));
    out.push(("example:fork".into(), fence("json", &fork()?)));
    out.push(("example:report".into(), fence("json", &report(&signed)?)));
    let mut table =
        String::from("| code | kind | status | meaning | remedy |\n|---|---|---|---|---|\n");
    for code in Code::ALL {
        table.push_str(&format!(
            "| `{code}` | {} | {} | {} | {} |\n",
            code.kind().as_str(),
            code.status().as_str(),
            code.summary(),
            code.remedy()
        ));
    }
    out.push(("table:codes".into(), table));
    Ok(out)
}

/// One event of each operation.
fn chain(signed: &SignedClaim) -> Result<String> {
    let owner = key(Scheme::Nostr, 1);
    let device = key(Scheme::Ed25519, 2);
    let next = key(Scheme::Nostr, 3);
    let mut writer = vectors::Writer::new(key(Scheme::Nostr, 1))?;
    let claim = signed.claim();
    let mut add = writer.event(Op::Add {
        subject: claim.subject.clone(),
        claim: signed.id(),
        account: claim.account.clone(),
        url: Some("https://gist.github.com/jason/aa5a315d61ae9438b18d".into()),
    });
    add.next = Some(commitment(next.public().identity()));
    writer.push(&add, &[&owner])?;
    let event = writer.event(Op::AddDevice {
        device: device.public().clone(),
        caps: vec!["chat/1".into()],
        not_after: None,
        name: None,
    });
    writer.push(&event, &[&owner, &device])?;
    let target = Target::Claim(ObjectId::digest("claim", b"an older claim"));
    let event = writer.event(Op::Revoke { target, reason: Reason::Superseded, text: None });
    writer.push(&event, &[&owner])?;
    let event = writer.event(Op::Rotate {
        to: next.public().clone(),
        reason: Reason::Retired,
        compromised_since: None,
    });
    writer.push(&event, &[&next])?;
    let device = device.public().identity().clone();
    let event = writer.event(Op::RevokeDevice { device, reason: Reason::Retired });
    writer.push(&event, &[&next])?;
    Ok(writer.chain.to_bundle())
}

/// The smallest fork: one common event, and one more on each side.
fn fork() -> Result<String> {
    let mut one = vectors::Writer::new(key(Scheme::Nostr, 1))?;
    one.op(vectors::some_claim("github:jason", 1))?;
    let mut two = one.clone();
    one.op(vectors::some_claim("dns:a.example", 2))?;
    two.op(vectors::some_claim("dns:b.example", 3))?;
    match merge(one.chain, two.chain)? {
        Merge::Fork(fork) => Ok(fork.to_canonical()),
        Merge::Same(_) => Err("these two differ".into()),
    }
}

fn report(signed: &SignedClaim) -> Result<String> {
    let mut writer = vectors::Writer::new(key(Scheme::Nostr, 1))?;
    writer.add(signed)?;
    let target = Target::Claim(signed.id());
    writer.op(Op::Revoke { target, reason: Reason::Retired, text: None })?;
    let mut report = Report::new(signed.claim().subject.clone(), now());
    report.account.clone_from(&signed.claim().account);
    report.encoding = Some(Encoding::Compact);
    report.via = Some(Via::Direct);
    report.place = Some(Place {
        url: "https://api.github.com/gists/aa5a315d61ae9438b18d".into(),
        http_status: Some(200),
        rcode: None,
    });
    let history = History::Known {
        chain: Box::new(writer.chain),
        rolled_back: false,
        remembered: false,
        settled: false,
    };
    judge(&mut report, &Proof::Claim(signed.clone()), &history, now());
    Ok(serde_json::to_string_pretty(&report)?)
}
