//! From a file of one server to a stream that several share, and back.

use super::{
    FILE, Quotas, Refusal, SCHEMA,
    command::Command,
    directory,
    stream::{self, Stream},
};
use kez_server::{
    nats::{self, Log},
    replica::{self, Shared as _},
    sqlite::Failure,
};
use rusqlite::{Connection, types::ValueRef};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

/// The tables, those first that others point to.
const TABLES: [&str; 11] = [
    "handles",
    "chains",
    "devices",
    "key_packages",
    "conversations",
    "members",
    "rosters",
    "entries",
    "inbox",
    "senders",
    "blocks",
];
/// How many bytes one message has, but for its last row.
const MESSAGE: usize = 256 * 1024;

/// A value of a row.
#[derive(Clone, Debug, Deserialize, Hash, Serialize)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    fn of(value: ValueRef<'_>) -> Result<Self, Failure> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
            ValueRef::Real(_) => return Err(Failure::Storage("a number with a point".into())),
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 8,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => rusqlite::types::Null.into(),
            Self::Integer(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Blob(bytes) => bytes.as_slice().into(),
        })
    }
}

/// Puts what a folder has into a new stream, checks that the stream gives the same, and makes the
/// folder a copy of it. The old file stays beside, as `chat.db.migrated`. No server may use the
/// folder meanwhile. Gives the number of handles.
///
/// # Errors
/// What the file system, SQLite or NATS says; a stream that has messages already; a server that
/// writes to the file. The folder is then as it was.
pub async fn to_nats(
    dir: &Path,
    quotas: Quotas,
    settings: &nats::Settings,
) -> Result<u64, Refusal> {
    let file = dir.join(FILE);
    fs::metadata(&file).map_err(Failure::of(&file))?;
    let db = SCHEMA.open(&file, None)?;
    let (_, log, key) = stream::open(dir, quotas, settings).await?;
    let publish = async |db: &Connection, log: &Log| {
        for table in TABLES {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            let mut query = db.prepare(&format!("SELECT * FROM {table}"))?;
            let mut all = query.query([])?;
            while let Some(row) = all.next()? {
                let row = cells(row)?;
                bytes += row.iter().map(Cell::len).sum::<usize>();
                rows.push(row);
                if bytes > MESSAGE {
                    let rows = std::mem::take(&mut rows);
                    let full = Command::Rows { table: table.into(), rows };
                    replica::send(log, stream::entry(&key, &full)?).await?;
                    bytes = 0;
                }
            }
            let rest = Command::Rows { table: table.into(), rows };
            replica::send(log, stream::entry(&key, &rest)?).await?;
        }
        // Which changes nothing any more, and gives all keys their values.
        for command in directory::commands(db)? {
            replica::send(log, stream::entry(&key, &command?)?).await?;
        }
        Ok(())
    };
    let copy = async || copied(dir, quotas, settings).await;
    let moved = replica::move_in((dir, FILE), db, log, totals, publish, copy).await?;
    Ok(moved.first().map_or(0, |(handles, _)| *handles))
}

/// Makes the copy of a stream that a folder has, brought up to its end, a file of its own. No
/// server may use the stream from then on. Gives the number of handles.
///
/// # Errors
/// What the file system, SQLite or NATS says.
pub async fn to_file(
    dir: &Path,
    quotas: Quotas,
    settings: &nats::Settings,
) -> Result<u64, Refusal> {
    let all = copied(dir, quotas, settings).await?;
    leave(dir)?;
    Ok(all.first().map_or(0, |(handles, _)| *handles))
}

/// Makes the copy of a stream that a folder has a file of its own, as it is.
///
/// # Errors
/// What the file system or SQLite says; a file that is no copy.
pub fn leave(dir: &Path) -> Result<(), Refusal> {
    replica::leave(&SCHEMA.open(&dir.join(FILE), None)?, &stream::TABLES)?;
    Ok(())
}

/// Copies the stream, up to its end.
async fn copied(dir: &Path, quotas: Quotas, settings: &nats::Settings) -> Result<Totals, Refusal> {
    let (store, writer) = Stream::join(dir, quotas, settings, false).await?;
    store.copied().await?;
    let all = store.read(totals).await?;
    drop(store);
    let joined = tokio::task::spawn_blocking(|| writer.join()).await;
    let broke = || Failure::Storage("the writer broke".into());
    joined.ok().and_then(Result::ok).ok_or_else(broke)?;
    Ok(all)
}

/// Of each table, how many rows it has, and what tells it from another.
type Totals = Vec<(u64, u64)>;

fn totals(db: &Connection) -> Result<Totals, Refusal> {
    let table = |name: &&str| {
        // The order is that of the keys.
        let mut query = db.prepare(&format!("SELECT * FROM {name}"))?;
        let (mut rows, mut count, mut hasher) = (query.query([])?, 0, DefaultHasher::new());
        while let Some(row) = rows.next()? {
            count += 1;
            cells(row)?.hash(&mut hasher);
        }
        Ok((count, hasher.finish()))
    };
    TABLES.iter().map(table).collect()
}

fn cells(row: &rusqlite::Row<'_>) -> Result<Vec<Cell>, Failure> {
    (0..row.as_ref().column_count()).map(|n| Cell::of(row.get_ref(n)?)).collect()
}

/// Takes rows of a table, as long as nobody has posted.
pub(super) fn insert(db: &Connection, table: &str, rows: &[Vec<Cell>]) -> Result<(), Refusal> {
    if !replica::is_new(db)? || !TABLES.contains(&table) {
        return Err(Refusal::Quota("of migrations".into()));
    }
    for row in rows {
        let places = vec!["?"; row.len()].join(", ");
        let mut insert = db.prepare_cached(&format!("INSERT INTO {table} VALUES ({places})"))?;
        insert.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(())
}
