//! The transparency log over heads (SPEC.md, "Transparency log"): each head that was accepted is
//! an entry, in the transaction that stores the event. The tree's nodes stand in the same file;
//! their arithmetic is `tlog_tiles`'s.

use crate::store::Refusal;
use kez_core::{
    Code, Error, Head, Identity, ObjectId, Scheme, SecretKey,
    log::{self as core_log, Checkpoint, MAX_SIZE, NoteKey, Signer},
};
use kez_server::{secret, sqlite::Failure};
use rusqlite::{Connection, params};
use std::path::Path;
use tlog_tiles::{Hash, HashReader, Tile};

/// The tables: the entries, and the nodes in the order in which they come to be.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS log (
    leaf INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL REFERENCES chains (id),
    seq INTEGER NOT NULL,
    id BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS nodes (
    node INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT;
";

/// The name of the key's file.
pub const KEY_FILE: &str = "log.key";
/// C2SP's tiles hold 256 hashes.
const TILE_HEIGHT: u8 = 8;

/// The log's signing key.
pub struct LogKey {
    public: NoteKey,
    secret: SecretKey,
}

impl LogKey {
    /// Reads the key from a folder, or makes one. A new key's name is `name`, or one of its own.
    ///
    /// # Errors
    /// What the file system says; a damaged file; a key that has another name than `name`.
    pub fn open(dir: &Path, name: Option<&str>) -> Result<Self, Refusal> {
        let path = dir.join(KEY_FILE);
        let text = secret::open(&path, || Self::make(name))?;
        let key = Self::parse(&text).ok_or_else(|| {
            Refusal::storage(format!("{}: the log's key is damaged", path.display()))
        })?;
        match name {
            Some(name) if name != key.public.name() => Err(Refusal::storage(format!(
                "the log is called {}, and a log keeps its name",
                key.public.name()
            ))),
            _ => Ok(key),
        }
    }

    /// The name and the seed in one line: `name+seed`.
    fn make(name: Option<&str>) -> Result<String, Refusal> {
        let seed = kez_server::random()?;
        let secret = SecretKey::from_bytes(Scheme::Ed25519, seed)?;
        let own = format!("kez-sig/{}", kez_core::hex::encode(&secret.public().to_bytes()[..8]));
        let name = name.unwrap_or(&own);
        NoteKey::new(name, Signer::Log, secret.public())?;
        Ok(format!("{name}+{}", kez_core::hex::encode(&seed)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, seed) = text.split_once('+')?;
        let secret = SecretKey::from_text(Scheme::Ed25519, seed).ok()?;
        let public = NoteKey::new(name, Signer::Log, secret.public()).ok()?;
        Some(Self { public, secret })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &NoteKey {
        &self.public
    }

    /// Signs the head of the log as it stands in the file.
    pub(crate) fn checkpoint(&self, db: &Connection, size: u64) -> Result<Checkpoint, Refusal> {
        let root = tlog_tiles::tree_hash(size, &Nodes(db)).map_err(broken)?;
        Ok(Checkpoint::sign(&self.public, &self.secret, size, &root.0)?)
    }
}

fn broken(error: tlog_tiles::Error) -> Refusal {
    Refusal::storage(format!("the log: {error}"))
}

/// The nodes, as the library asks for them.
struct Nodes<'a>(&'a Connection);

impl HashReader for Nodes<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let failed = |e: rusqlite::Error| tlog_tiles::Error::InvalidInput(e.to_string());
        let mut query =
            self.0.prepare_cached("SELECT hash FROM nodes WHERE node = ?").map_err(failed)?;
        let hashes = indexes.iter().map(|index| query.query_row([index], |row| row.get(0)));
        hashes.map(|hash| hash.map(Hash).map_err(failed)).collect()
    }
}

/// How many entries there are.
///
/// # Errors
/// `Storage`, also if the nodes are not those of so many entries.
pub(crate) fn size(db: &Connection) -> Result<u64, Refusal> {
    let next = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u64>(0));
    let size = next("SELECT coalesce(max(leaf) + 1, 0) FROM log")?;
    let nodes = next("SELECT coalesce(max(node) + 1, 0) FROM nodes")?;
    if nodes == tlog_tiles::stored_hash_count(size) {
        Ok(size)
    } else {
        Err(Refusal::storage(format!("the log has {size} entries and {nodes} nodes")))
    }
}

/// Adds an entry at `leaf`, which is the log's size.
pub(crate) fn add(
    db: &Connection,
    leaf: u64,
    chain: i64,
    name: &Identity,
    head: Head,
) -> Result<(), Refusal> {
    if leaf >= MAX_SIZE {
        return Err(Failure::Full.into());
    }
    let entry = core_log::entry(name, head);
    let nodes = tlog_tiles::stored_hashes(leaf, entry.as_bytes(), &Nodes(db)).map_err(broken)?;
    db.prepare_cached("INSERT INTO log (leaf, chain, seq, id) VALUES (?, ?, ?, ?)")?
        .execute(params![leaf, chain, head.seq, head.id.as_bytes()])?;
    let mut insert = db.prepare_cached("INSERT INTO nodes (node, hash) VALUES (?, ?)")?;
    for (node, hash) in (tlog_tiles::stored_hash_index(0, leaf)..).zip(nodes) {
        insert.execute(params![node, hash.0])?;
    }
    Ok(())
}

/// Reads an entry's text back.
pub(crate) fn read_entry(text: &[u8]) -> Result<(Identity, Head), Error> {
    #[derive(serde::Deserialize)]
    struct Entry {
        chain: String,
        id: String,
        seq: u64,
    }
    let Entry { chain, id, seq } =
        serde_json::from_slice(text).map_err(|e| Error::about(Code::JsonSyntax, e))?;
    Ok((Identity::from_canonical(&chain)?, Head { seq, id: ObjectId::parse(&id)? }))
}

/// The entries of a range, in their order.
pub(crate) fn entries(db: &Connection, from: u64, to: u64) -> Result<Vec<String>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT chains.name, log.seq, log.id FROM log JOIN chains ON chains.id = log.chain
         WHERE log.leaf >= ?1 AND log.leaf < ?2 ORDER BY log.leaf",
    )?;
    let mut rows = query.query(params![from, to])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, seq, id) = (row.get::<_, String>(0)?, row.get(1)?, row.get::<_, [u8; 32]>(2)?);
        let id = ObjectId::parse(&kez_core::hex::encode(&id))?;
        all.push(core_log::entry(&Identity::from_canonical(&name)?, Head { seq, id }));
    }
    Ok(all)
}

/// Proof that an entry is in the tree of that size.
pub(crate) fn inclusion(
    db: &Connection,
    size: u64,
    leaf: u64,
) -> Result<Vec<core_log::Hash>, Refusal> {
    let proof = tlog_tiles::prove_record(size, leaf, &Nodes(db)).map_err(broken)?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// Proof that the tree of one size grew from that of another. From nothing, or from a larger
/// one, there is none.
pub(crate) fn consistency(
    db: &Connection,
    from: u64,
    to: u64,
) -> Result<Vec<core_log::Hash>, Refusal> {
    if from == 0 || from > to {
        return Ok(Vec::new());
    }
    let proof = tlog_tiles::prove_tree(to, from, &Nodes(db)).map_err(broken)?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// A tile by its path in C2SP's layout, as far as a tree of that size has it: whole tiles are
/// immutable. `None` for what is not there or no path.
pub(crate) fn tile(db: &Connection, path: &str, size: u64) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(tile) = parse_tile(path) else { return Ok(None) };
    let first = tile.level_index().checked_shl(TILE_HEIGHT.into()).unwrap_or(u64::MAX);
    let level = u32::from(tile.level()) * u32::from(TILE_HEIGHT);
    let there = size.checked_shr(level).unwrap_or(0);
    if first.saturating_add(tile.width().into()) > there {
        return Ok(None);
    }
    if !tile.is_data() {
        return Ok(Some(tile.read_data(&Nodes(db)).map_err(broken)?));
    }
    let mut bytes = Vec::new();
    for entry in entries(db, first, first + u64::from(tile.width()))? {
        let length = u16::try_from(entry.len()).map_err(|_| Error::from(Code::TooLarge))?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry.as_bytes());
    }
    Ok(Some(bytes))
}

/// `0/x001/234.p/56` or `entries/000`.
fn parse_tile(path: &str) -> Option<Tile> {
    let (level, rest) = path.split_once('/')?;
    let level = match level {
        "entries" => "data",
        // The library panics where levels go on, and at a width of 0.
        "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" => level,
        _ => return None,
    };
    let width = rest.split_once(".p/").map(|(_, width)| width);
    if width.is_some_and(|width| !width.starts_with(|c: char| ('1'..='9').contains(&c))) {
        return None;
    }
    Tile::from_path(&format!("tile/{TILE_HEIGHT}/{level}/{rest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_paths() {
        for good in
            ["0/000", "0/x001/234.p/56", "7/000.p/1", "entries/000", "entries/x001/000.p/255"]
        {
            assert!(parse_tile(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "0",
            "0/",
            "8/000",
            "64/000",
            "255/000",
            "-1/000",
            "data/000",
            "entries",
            "0/0",
            "0/00",
            "0/000.p/0",
            "0/000.p/00",
            "0/000.p/+0",
            "0/000.p/+1",
            "0/000.p/256",
            "0/000.p/-1",
            "0/000.p/",
            "0/1000",
            "0/x000/001",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
            "0/000/",
            "0//000",
            "x/../0/000",
        ] {
            assert!(parse_tile(bad).is_none(), "{bad}");
        }
    }
}
