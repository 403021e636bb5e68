//! The signatures that were used lately, in two files beside the data, so that a restart does not
//! make them good again.
//!
//! A request must not wait for the disk, so that the files are written and not synced. What is
//! written survives the end of the process, however it ends, and is lost only with the machine. Each
//! file names the boot of the machine that wrote it: after another boot, or after a write that
//! failed, signatures may be missing, and the server says for how long it accepts none. Until then
//! the files say that they are incomplete, so that another restart does not forget it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

/// What identifies a used signature.
pub(crate) type Nonce = [u8; 32];

/// The files: the older one is emptied when the newer one has grown for a whole window.
const FILES: [&str; 2] = ["seen.0", "seen.1"];
/// How long a file's first line is: the id of a boot, a UUID, or another word of that length.
const HEADER: usize = 36;
/// The first line after a clean end: everything was synced.
const CLEAN: [u8; HEADER] = *b"clean-------------------------------";
/// The first line after a failed write, and as long as signatures of before may be missing.
const BROKEN: [u8; HEADER] = *b"broken------------------------------";

/// The two files.
#[derive(Debug)]
pub(crate) struct Journal {
    boot: [u8; HEADER],
    files: [File; 2],
    /// Which one is written.
    current: usize,
    /// A write failed.
    broken: bool,
    /// Signatures of before the start may be missing, and could still be used.
    doubtful: bool,
}

/// What the files have.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The signatures.
    pub(crate) nonces: HashSet<Nonce>,
    /// Whether some may be missing.
    pub(crate) incomplete: bool,
}

impl Journal {
    /// Opens the files in a folder, and makes them if they are missing. Another process must not
    /// have them open.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Found)> {
        Self::open_in(dir, boot_id())
    }

    fn open_in(dir: &Path, boot: [u8; HEADER]) -> io::Result<(Self, Found)> {
        let mut found = Found::default();
        let mut headers = 0;
        for name in FILES {
            headers += u32::from(read(&dir.join(name), &boot, &mut found)?);
        }
        // One file without its first line was just being emptied.
        let there = FILES.iter().any(|name| dir.join(name).exists());
        found.incomplete |= there && headers == 0;
        // All of them in one file, complete before it takes the place of the old one.
        let (new, first) = (dir.join("seen.new"), dir.join(FILES[0]));
        let header = if found.incomplete { BROKEN } else { boot };
        let mut file = create(&new, &header)?;
        file.write_all(&found.nonces.iter().flatten().copied().collect::<Vec<_>>())?;
        file.sync_all()?;
        fs::rename(&new, &first)?;
        let second = create(&dir.join(FILES[1]), &header)?;
        second.sync_all()?;
        File::open(dir)?.sync_all()?;
        let files = [file, second];
        let doubtful = found.incomplete;
        Ok((Self { boot, files, current: 1, broken: false, doubtful }, found))
    }

    /// Notes a signature. If that fails, the files say so from then on.
    pub(crate) fn note(&mut self, nonce: &Nonce) {
        let written = self.files[self.current].write_all(nonce);
        self.check(written);
    }

    /// Empties the older file, and continues there.
    pub(crate) fn rotate(&mut self) {
        self.current = 1 - self.current;
        let header = if self.doubtful { BROKEN } else { self.boot };
        let file = &mut self.files[self.current];
        let emptied = file.set_len(0).and_then(|()| start(file, &header));
        self.check(emptied);
    }

    /// What is missing can be used no more: a restart from now on is an ordinary one.
    pub(crate) fn settle(&mut self) {
        if std::mem::take(&mut self.doubtful) && !self.broken {
            let boot = self.boot;
            self.mark(&boot);
        }
    }

    fn check(&mut self, done: io::Result<()>) {
        let Err(error) = done else { return };
        if !self.broken {
            tracing::error!("used signatures cannot be written: {error}");
        }
        self.broken = true;
        self.mark(&BROKEN);
    }

    /// Writes the first lines anew.
    fn mark(&mut self, header: &[u8; HEADER]) {
        for file in &mut self.files {
            let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(header));
            let done = written.and_then(|()| file.seek(SeekFrom::End(0)));
            if let Err(error) = done.and_then(|_| file.sync_all()) {
                tracing::error!("used signatures cannot be written: {error}");
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let synced = self.files.iter().all(|file| file.sync_all().is_ok());
        if synced && !self.broken && !self.doubtful {
            self.mark(&CLEAN);
        }
    }
}

fn create(path: &PathBuf, boot: &[u8; HEADER]) -> io::Result<File> {
    let mut file = File::options().write(true).create(true).truncate(true).open(path)?;
    start(&mut file, boot)?;
    Ok(file)
}

fn start(file: &mut File, boot: &[u8; HEADER]) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(boot)
}

/// Reads a file, if it is there, and returns whether it has a first line. What a kill cut short was
/// not answered.
fn read(path: &Path, boot: &[u8; HEADER], found: &mut Found) -> io::Result<bool> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some((header, rest)) = bytes.split_first_chunk() else { return Ok(false) };
    found.incomplete |= header != boot && *header != CLEAN;
    found.nonces.extend(rest.as_chunks::<32>().0);
    Ok(true)
}

/// What tells one boot of the machine from another. Where the system does not say it, all are the
/// same.
fn boot_id() -> [u8; HEADER] {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.first_chunk().copied().unwrap_or([b'-'; HEADER])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    const BOOT: [u8; HEADER] = [b'a'; HEADER];

    /// Ends a journal as a kill does.
    fn kill(journal: Journal) {
        let _ = std::mem::ManuallyDrop::new(journal);
    }

    fn open(dir: &Path, boot: [u8; HEADER]) -> (Journal, Vec<u8>, bool) {
        let (journal, found) = Journal::open_in(dir, boot).unwrap();
        let mut nonces: Vec<u8> = found.nonces.iter().map(|nonce| nonce[0]).collect();
        nonces.sort_unstable();
        (journal, nonces, found.incomplete)
    }

    #[test]
    fn a_kill_loses_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let (mut journal, found, incomplete) = open(dir.path(), BOOT);
        assert!(found.is_empty() && !incomplete);
        journal.note(&[1; 32]);
        kill(journal);
        for n in 2..6 {
            let (mut journal, found, incomplete) = open(dir.path(), BOOT);
            assert_eq!((found, incomplete), ((1..n).collect(), false));
            journal.note(&[n; 32]);
            kill(journal);
        }
        // A record that was cut short was not answered.
        let mut file = File::options().append(true).open(dir.path().join("seen.1")).unwrap();
        file.write_all(&[9; 31]).unwrap();
        let (mut journal, found, incomplete) = open(dir.path(), BOOT);
        assert_eq!((found, incomplete), (vec![1, 2, 3, 4, 5], false));
        // What is older than two rotations is gone.
        journal.rotate();
        journal.note(&[6; 32]);
        journal.rotate();
        journal.note(&[7; 32]);
        kill(journal);
        assert_eq!(open(dir.path(), BOOT).1, [6, 7]);
    }

    #[test]
    fn another_boot_is_noticed_unless_the_end_was_clean() {
        let dir = tempfile::TempDir::new().unwrap();
        let (mut journal, ..) = open(dir.path(), BOOT);
        journal.note(&[1; 32]);
        drop(journal);
        let (mut journal, found, incomplete) = open(dir.path(), [b'b'; HEADER]);
        assert_eq!((found, incomplete), (vec![1], false));
        journal.note(&[2; 32]);
        kill(journal);
        let (journal, found, incomplete) = open(dir.path(), [b'c'; HEADER]);
        assert_eq!((found, incomplete), (vec![1, 2], true));
        kill(journal);
        let (mut journal, ..) = open(dir.path(), [b'c'; HEADER]);
        journal.settle();
        kill(journal);
        // A file that was just being emptied is no doubt; two are.
        fs::write(dir.path().join("seen.1"), "").unwrap();
        let (journal, _, incomplete) = open(dir.path(), [b'c'; HEADER]);
        assert!(!incomplete);
        kill(journal);
        fs::write(dir.path().join("seen.0"), "").unwrap();
        fs::write(dir.path().join("seen.1"), "").unwrap();
        assert!(open(dir.path(), [b'c'; HEADER]).2);
    }

    #[test]
    fn doubt_lasts_until_it_is_settled() {
        let dir = tempfile::TempDir::new().unwrap();
        let (mut journal, ..) = open(dir.path(), BOOT);
        journal.note(&[1; 32]);
        kill(journal);
        let boot = [b'b'; HEADER];
        // However the process ends meanwhile, and whatever it writes.
        for n in 2..8 {
            let (mut journal, found, incomplete) = open(dir.path(), boot);
            assert_eq!((found, incomplete), ((1..n).collect(), true));
            journal.note(&[n; 32]);
            if n % 2 == 0 { kill(journal) } else { drop(journal) }
        }
        let (mut journal, ..) = open(dir.path(), boot);
        journal.rotate();
        journal.rotate();
        journal.note(&[8; 32]);
        kill(journal);
        let (mut journal, found, incomplete) = open(dir.path(), boot);
        assert_eq!((found, incomplete), (vec![8], true));
        journal.note(&[9; 32]);
        journal.settle();
        journal.note(&[10; 32]);
        kill(journal);
        let (journal, found, incomplete) = open(dir.path(), boot);
        assert_eq!((found, incomplete), (vec![8, 9, 10], false));
        drop(journal);
        assert!(!open(dir.path(), [b'c'; HEADER]).2);
    }

    /// A write that fails meanwhile is a doubt of its own.
    #[test]
    fn a_failed_write_is_not_settled() {
        let dir = tempfile::TempDir::new().unwrap();
        kill(open(dir.path(), BOOT).0);
        let boot = [b'b'; HEADER];
        let (mut journal, _, incomplete) = open(dir.path(), boot);
        assert!(incomplete);
        journal.check(Err(io::ErrorKind::StorageFull.into()));
        journal.settle();
        drop(journal);
        assert!(open(dir.path(), boot).2);
    }

    #[test]
    fn a_failed_write_is_remembered() {
        let dir = tempfile::TempDir::new().unwrap();
        let (mut journal, ..) = open(dir.path(), BOOT);
        journal.note(&[1; 32]);
        // As a full disk: the file takes no more.
        journal.check(Err(io::ErrorKind::StorageFull.into()));
        journal.note(&[2; 32]);
        drop(journal);
        let (_, found, incomplete) = open(dir.path(), BOOT);
        assert_eq!((found, incomplete), (vec![1, 2], true));
    }
}
