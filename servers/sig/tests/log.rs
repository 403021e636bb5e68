//! The transparency log, read with other people's code: `signed_note` for the checkpoint,
//! `tlog_tiles` for the tiles and the proofs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Server, add, agent, append, chain_of, key};
use ed25519_dalek::{Signer as _, SigningKey};
use kez_core::{Chain, Head, Identity, Scheme, log};
use signed_note::{Note, StandardVerifier, VerifierList};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};
use tempfile::TempDir;
use tlog_tiles::{
    Checkpoint, Hash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record,
    prove_tree, record_hash,
};

/// C2SP's client: it fetches tiles, whole ones where there are such.
struct Tiles<'a>(&'a Server);

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let path = |tile: &Tile| tile.path().replacen("tile/8/", "/v1/log/tile/", 1);
        Ok(tiles.iter().map(|tile| bytes(self.0, &path(tile))).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn bytes(server: &Server, path: &str) -> Vec<u8> {
    let mut response = server.get(path);
    assert_eq!(response.status(), 200, "{path}");
    response.body_mut().read_to_vec().unwrap()
}

/// The verified checkpoint, by other people's code.
fn checkpoint(server: &Server) -> Checkpoint {
    let vkey = server.text("/v1/log/key").1;
    let verifier = StandardVerifier::new(vkey.trim()).unwrap();
    let note = Note::from_bytes(&bytes(server, "/v1/log/checkpoint")).unwrap();
    let (verified, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(verified.len(), 1);
    Checkpoint::from_bytes(note.text()).unwrap()
}

/// The entries, from the bundles of entries.
fn entries(server: &Server, size: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for tile in Tile::new_tiles(8, 0, size).into_iter().filter(|tile| tile.level() == 0) {
        let data = Tile::new(8, 0, tile.level_index(), tile.width(), true);
        let path = data.path().replacen("tile/8/data/", "/v1/log/tile/entries/", 1);
        let body = bytes(server, &path);
        let mut rest = body.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let (entry, tail) = tail.split_at(u16::from_be_bytes(*length).into());
            all.push(entry.to_vec());
            rest = tail;
        }
    }
    all
}

/// KEZ-LOG-01, KEZ-LOG-02.
#[test]
fn anybody_can_read_the_log() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--log-name", "sig.example/log"]);
    assert_eq!(checkpoint(&server).size(), 0);
    let mut accepted: Vec<(Identity, Head)> = Vec::new();
    let mut before: Vec<Checkpoint> = Vec::new();
    // More than one whole tile, and heads that come in one request are one entry.
    for n in 0..150 {
        let key = key(Scheme::Ed25519);
        let chain = chain_of(&key, 3);
        server.post(chain.name(), &chain.lines()[..2]).unwrap();
        server.post(chain.name(), &chain.lines()[2..]).unwrap();
        for seq in [2, 3] {
            accepted.push((chain.name().clone(), Head { seq, id: chain.id_at(seq).unwrap() }));
        }
        if [0, 1, 2, 7, 63, 127, 128, 149].contains(&n) {
            before.push(checkpoint(&server));
        }
    }
    let now = checkpoint(&server);
    assert_eq!((now.origin(), now.size()), ("sig.example/log", 300));
    let entries = entries(&server, now.size());
    let wanted: Vec<_> =
        accepted.iter().map(|(name, head)| log::entry(name, *head).into_bytes()).collect();
    assert_eq!(entries, wanted);
    let tiles = Tiles(&server);
    let reader = TileHashReader::new(now.size(), *now.hash(), &tiles);
    for (index, entry) in (0..).zip(&entries) {
        let proof = prove_record(now.size(), index, &reader).unwrap();
        check_record(&proof, now.size(), *now.hash(), index, record_hash(entry)).unwrap();
    }
    for old in &before {
        let proof = prove_tree(now.size(), old.size(), &reader).unwrap();
        check_tree(&proof, now.size(), *now.hash(), old.size(), *old.hash()).unwrap();
        // The server's own proof is the same, and is checked by other code.
        let path = format!("/v1/log/consistency?from={}&to={}", old.size(), now.size());
        let served = log::parse_consistency(server.text(&path).1.as_bytes()).unwrap();
        assert_eq!(served.into_iter().map(Hash).collect::<Vec<_>>(), proof);
    }
    // What never changes may be kept for ever; what is not there is not.
    let whole = server.get("/v1/log/tile/0/000");
    assert!(whole.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    for absent in ["0/001", "0/002.p/1", "1/000", "entries/001", "0/000.p/0", "9/000", "x"] {
        assert_eq!(server.text(&format!("/v1/log/tile/{absent}")).0, 404, "{absent}");
    }
    for bad in ["", "?from=1", "?from=2&to=1", "?from=0&to=301", "?from=-1&to=1", "?from=&to=1"] {
        assert_eq!(server.text(&format!("/v1/log/consistency{bad}")).0, 400, "{bad}");
    }
    // It goes on after a restart, under its name.
    server.terminate();
    let server = Server::start(dir.path(), &[]);
    let again = checkpoint(&server);
    assert_eq!((again.origin(), again.size(), again.hash()), (now.origin(), 300, now.hash()));
}

/// What a reader gets with `?log=`, checked by the core.
fn proven(server: &Server, name: &Identity, size: u64) -> (String, log::Proof) {
    let (status, body) = server.text(&format!("/v1/sigchains/{name}?log={size}"));
    assert_eq!(status, 200, "{body}");
    let (bundle, line) = log::Proof::split(body.as_bytes());
    let proof = log::Proof::parse(line.expect("a proof")).unwrap();
    proof.checkpoint.verify(&proof.key).unwrap();
    let bundle = std::str::from_utf8(bundle).unwrap().to_owned();
    let chain = Chain::replay(bundle.as_bytes(), Some(name), common::now()).unwrap();
    let entry = log::entry(name, chain.head().unwrap());
    proof.checkpoint.includes(proof.index, &entry, &proof.inclusion).unwrap();
    (bundle, proof)
}

/// KEZ-LOG-03, KEZ-LOG-04.
#[test]
fn every_answer_can_carry_its_proof() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let owner = key(Scheme::Nostr);
    let mut chain = chain_of(&owner, 1);
    let name = chain.name().clone();
    server.post(&name, chain.lines()).unwrap();
    let mut last = proven(&server, &name, 0).1.checkpoint;
    for round in 0..40 {
        for _ in 0..round % 5 {
            let other = chain_of(&key(Scheme::Ed25519), 1);
            server.post(other.name(), other.lines()).unwrap();
        }
        if round % 3 == 0 {
            let line = append(&mut chain, add(&format!("github:n{round}")), None, &[&owner]);
            server.post(&name, &[line]).unwrap();
        }
        if round % 10 == 9 {
            server.kill();
            server = Server::start(dir.path(), &[]);
        }
        let (bundle, proof) = proven(&server, &name, last.size());
        assert_eq!(bundle, chain.to_bundle());
        proof.checkpoint.extends(&last, &proof.consistency).unwrap();
        last = proof.checkpoint;
    }
    // The bundle without a proof is the bundle alone.
    assert_eq!(server.text(&format!("/v1/sigchains/{name}")).1, chain.to_bundle());
    // The same answer has the same tag, and another proof another one.
    let path = format!("{}?log={}", server.chain_url(&name), last.size());
    let tag = |path: &str| agent().get(path).call().unwrap().headers()["etag"].clone();
    let first = tag(&path);
    let again = agent().get(&path).header("if-none-match", &first).call().unwrap();
    assert_eq!(again.status(), 304);
    let other = chain_of(&key(Scheme::Ed25519), 1);
    server.post(other.name(), other.lines()).unwrap();
    assert_ne!(tag(&path), first);
    for bad in ["-1", "x", "", "1.5", "9007199254740992", "99999999999999999999"] {
        assert_eq!(server.text(&format!("/v1/sigchains/{name}?log={bad}")).0, 400, "{bad}");
    }
    assert_eq!(proven(&server, &name, 9_007_199_254_740_991).1.consistency, Vec::<[u8; 32]>::new());
}

/// A proof of anything else is refused: every byte counts.
#[test]
fn a_changed_proof_is_refused() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let owner = key(Scheme::Ed25519);
    let chain = chain_of(&owner, 2);
    server.post(chain.name(), &chain.lines()[..1]).unwrap();
    let first = proven(&server, chain.name(), 0).1;
    for _ in 0..5 {
        let other = chain_of(&key(Scheme::Ed25519), 1);
        server.post(other.name(), other.lines()).unwrap();
    }
    server.post(chain.name(), &chain.lines()[1..]).unwrap();
    let proof = proven(&server, chain.name(), 1).1;
    let entry = log::entry(chain.name(), chain.head().unwrap());
    let point = &proof.checkpoint;
    for (n, _) in proof.inclusion.iter().enumerate() {
        let mut other = proof.inclusion.clone();
        other[n][31] ^= 1;
        assert!(point.includes(proof.index, &entry, &other).is_err());
    }
    for index in (0..9).filter(|index| *index != proof.index) {
        assert!(point.includes(index, &entry, &proof.inclusion).is_err(), "{index}");
    }
    assert!(point.includes(u64::MAX, &entry, &proof.inclusion).is_err());
    assert!(
        point
            .includes(proof.index, &entry.replace("\"seq\":2", "\"seq\":3"), &proof.inclusion)
            .is_err()
    );
    for (n, _) in proof.consistency.iter().enumerate() {
        let mut other = proof.consistency.clone();
        other[n][0] ^= 1;
        assert!(point.extends(&first.checkpoint, &other).is_err());
    }
    assert!(first.checkpoint.extends(point, &proof.consistency).is_err());
    let note = point.note();
    for (at, _) in note.char_indices() {
        let mut other = note.to_owned().into_bytes();
        other[at] ^= 1;
        let Ok(other) = String::from_utf8(other) else { continue };
        let verified = log::Checkpoint::parse(&other).and_then(|point| point.verify(&proof.key));
        assert!(verified.is_err(), "{other}");
    }
    let line = proof.to_line();
    assert_eq!(log::Proof::parse(line.as_bytes()).unwrap(), proof);
    for bad in [
        line.replace("\"index\":", "\"index\":-"),
        line.replace("\"index\":", "\"inde\":"),
        line.replace("\"inclusion\":[\"", "\"inclusion\":[\"A"),
        line.replace("\"key\":\"", "\"key\":\"x"),
        line.replace('}', ",\"more\":1}"),
        line[..line.len() - 1].to_owned(),
    ] {
        assert!(log::Proof::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// A witness, emulated by C2SP's tlog-witness: its statuses and the order of its checks. The note
/// is read by `signed_note`, the proof checked by `tlog_tiles`, and `ed25519_dalek` signs.
struct Witness {
    url: String,
    vkey: String,
    /// The statuses that it answered with.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Witness {
    /// One that knows the log of this key.
    fn start(name: &'static str, seed: u8, log: Arc<Mutex<String>>) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = [&[4], key.verifying_key().as_bytes().as_slice()].concat();
        let id = signed_note::key_id(name, &public);
        let vkey = format!("{name}+{id:08x}+{}", STANDARD.encode(&public));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/witness", listener.local_addr().unwrap());
        let answers: Arc<Mutex<Vec<u16>>> = Arc::default();
        let shared = answers.clone();
        thread::spawn(move || {
            let mut seen = (0, tlog_tiles::EMPTY_HASH);
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (path, body) = request(&mut stream);
                let (status, kind, answer) = match path.as_str() {
                    "/witness/add-checkpoint" => add_checkpoint(&body, &log, &mut seen),
                    _ => (404, "text/plain", String::new()),
                };
                let answer = if status == 200 {
                    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                    let time = time.as_secs();
                    let signed = format!("cosignature/v1\ntime {time}\n{answer}");
                    let signature = key.sign(signed.as_bytes()).to_bytes();
                    let bytes = [&id.to_be_bytes()[..], &time.to_be_bytes(), &signature].concat();
                    format!("\u{2014} {name} {}\n", STANDARD.encode(bytes))
                } else {
                    answer
                };
                shared.lock().unwrap().push(status);
                let length = answer.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{answer}"
                );
            }
        });
        Self { url, vkey, answers }
    }

    fn option(&self) -> String {
        format!("{}#{}", self.url, self.vkey)
    }
}

/// Reads one request: its path and body.
fn request(stream: &mut TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (first.split(' ').nth(1).unwrap().to_owned(), String::from_utf8(body).unwrap())
}

/// Status, type and body of the answer; with 200, the text to cosign.
fn add_checkpoint(
    body: &str,
    log: &Mutex<String>,
    seen: &mut (u64, Hash),
) -> (u16, &'static str, String) {
    let plain = |status, why: &str| (status, "text/plain", why.to_owned());
    let Some((head, note)) = body.split_once("\n\n") else { return plain(400, "no checkpoint") };
    let mut lines = head.lines();
    let old = lines.next().and_then(|line| line.strip_prefix("old ")?.parse::<u64>().ok());
    let Some(old) = old else { return plain(400, "no size") };
    let Ok(proof) = lines.map(Hash::parse_hash).collect::<Result<Vec<_>, _>>() else {
        return plain(400, "no proof");
    };
    let Ok(note) = Note::from_bytes(note.as_bytes()) else { return plain(400, "no note") };
    let Ok(point) = Checkpoint::from_bytes(note.text()) else { return plain(400, "no checkpoint") };
    let verifier = StandardVerifier::new(log.lock().unwrap().trim());
    let Ok(verifier) = verifier else { return plain(404, "no log is known") };
    if point.origin() != signed_note::Verifier::name(&verifier) {
        return plain(404, "another log");
    }
    if note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_err() {
        return plain(403, "another key");
    }
    if old > point.size() {
        return plain(400, "the old size is larger");
    }
    if old != seen.0 || (old == point.size() && *point.hash() != seen.1) {
        return (409, "text/x.tlog.size", format!("{}\n", seen.0));
    }
    let grown = old == 0 && proof.is_empty()
        || old > 0 && check_tree(&proof, point.size(), *point.hash(), old, seen.1).is_ok();
    if !grown {
        return plain(422, "it did not grow");
    }
    *seen = (point.size(), *point.hash());
    (200, "text/plain", String::from_utf8(note.text().to_vec()).unwrap())
}

/// KEZ-LOG-05.
#[test]
fn witnesses_cosign_the_log() {
    let dir = TempDir::new().unwrap();
    let known: Arc<Mutex<String>> = Arc::default();
    let one = Witness::start("witness.example/one", 1, known.clone());
    let two = Witness::start("witness.example/two", 2, known.clone());
    let deaf = format!("http://127.0.0.1:1/#{}", two.vkey);
    let options = ["--witness", &one.option(), "--witness", &two.option(), "--witness", &deaf];
    let options = [&options[..], &["--metrics", "127.0.0.1:0"]].concat();
    let server = Server::start(dir.path(), &options);
    *known.lock().unwrap() = server.text("/v1/log/key").1;
    let keys = [&one, &two].map(|witness| log::NoteKey::parse(&witness.vkey).unwrap());
    let cosigned = |server: &Server, size: u64| {
        let start = Instant::now();
        loop {
            let note = server.text("/v1/log/checkpoint").1;
            let point = log::Checkpoint::parse(&note).unwrap();
            if point.size() == size && keys.iter().all(|key| point.cosigned(key).is_some()) {
                return point;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no cosignature: {note}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let owner = key(Scheme::Ed25519);
    let mut chain = chain_of(&owner, 1);
    server.post(chain.name(), chain.lines()).unwrap();
    let point = cosigned(&server, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let at = point.cosigned(&keys[0]).unwrap().seconds();
    assert!((0..30).contains(&(i64::try_from(now).unwrap() - at)));
    // By other people's code, too: the log's own signature stands as before.
    assert_eq!(checkpoint(&server).size(), 1);
    // A reader gets it with the proof.
    assert!(proven(&server, chain.name(), 0).1.checkpoint.cosigned(&keys[1]).is_some());
    for n in 0..3 {
        let line = append(&mut chain, add(&format!("github:more{n}")), None, &[&owner]);
        server.post(chain.name(), &[line]).unwrap();
        // Just appended: the newest checkpoint is not cosigned yet, but the head is in it.
        proven(&server, chain.name(), n + 1);
    }
    cosigned(&server, 4);
    let metrics = agent().get(server.metrics.as_ref().unwrap()).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).expect(name);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("kez_sig_cosignatures_total") >= 4.0);
    assert!(value("kez_sig_witness_failures_total") >= 1.0);
    assert_eq!(value("kez_sig_log_entries"), 4.0);
    // The server forgot what the witnesses saw: they say so, and it goes on from there.
    server.terminate();
    one.answers.lock().unwrap().clear();
    let server = Server::start(dir.path(), &options);
    cosigned(&server, 4);
    assert_eq!(one.answers.lock().unwrap()[..2], [409, 200]);
}
