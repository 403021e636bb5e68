//! The user's directory: keys, own chains, remembered chains, cache and configuration.

use kez_core::{Chain, Code, Error, Identity, Memory, Result, Timestamp, chain_path};
use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// `KEZ_HOME`, or the platform's configuration directory for `kez`.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// Turns an I/O error into `storage_failed` with the path.
pub fn storage(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |e| Error::about(Code::StorageFailed, format!("{}: {e}", path.display()))
}

impl Home {
    /// Finds the directory; it is made when something is first written.
    ///
    /// # Errors
    /// `storage_failed` if neither `KEZ_HOME` nor the user's home is known.
    pub fn find() -> Result<Self> {
        if let Some(root) = std::env::var_os("KEZ_HOME").filter(|v| !v.is_empty()) {
            return Ok(Self { root: root.into() });
        }
        directories::ProjectDirs::from("", "", "kez")
            .map(|dirs| Self { root: dirs.config_dir().to_owned() })
            .ok_or_else(|| Error::about(Code::StorageFailed, "no home directory: set KEZ_HOME"))
    }

    /// A directory at that path.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// A path below the directory.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn own_chain(&self, chain: &Identity) -> PathBuf {
        self.path(&format!("sigchains/{}.jsonl", chain_path(chain)))
    }

    fn seen_chain(&self, chain: &Identity) -> PathBuf {
        self.path(&format!("seen/{}.jsonl", chain_path(chain)))
    }

    /// The user's own chains, replayed.
    ///
    /// # Errors
    /// `storage_failed`, or what a damaged chain file fails with.
    pub fn chains(&self, now: Timestamp) -> Result<Vec<Chain>> {
        let mut chains = Vec::new();
        for scheme in ["nostr", "ed25519"] {
            let dir = self.path(&format!("sigchains/{scheme}"));
            let entries = match fs::read_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(storage(&dir))?,
            };
            for entry in entries {
                let path = entry.map_err(storage(&dir))?.path();
                if path.extension().is_some_and(|e| e == "jsonl") {
                    let bundle = fs::read(&path).map_err(storage(&path))?;
                    chains.push(Chain::replay(&bundle, None, now)?);
                }
            }
        }
        chains.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(chains)
    }

    /// Writes an own chain, whole or not at all.
    ///
    /// # Errors
    /// `storage_failed`; the old file is then as it was.
    pub fn save_chain(&self, chain: &Chain) -> Result<PathBuf> {
        let path = self.own_chain(chain.name());
        write_private(&path, chain.to_bundle().as_bytes())?;
        Ok(path)
    }

    /// Holds the directory's lock until the returned file is dropped, so that two commands do
    /// not append to one chain at once.
    ///
    /// # Errors
    /// `storage_failed`.
    pub fn lock(&self) -> Result<fs::File> {
        make_dir(&self.root)?;
        let path = self.path("lock");
        let file = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(storage(&path))?;
        file.lock().map_err(storage(&path))?;
        Ok(file)
    }
}

impl Memory for Home {
    fn chain(&self, primary: &Identity) -> Option<Vec<u8>> {
        fs::read(self.seen_chain(primary)).ok()
    }

    fn remember(&self, primary: &Identity, bundle: &str) {
        let path = self.seen_chain(primary);
        if fs::read(&path).is_ok_and(|old| old == bundle.as_bytes()) {
            return;
        }
        if let Err(error) = write_private(&path, bundle.as_bytes()) {
            eprintln!("kez: warning: the chain's head could not be remembered: {error}");
        }
    }
}

/// Makes a directory and its parents, readable by the user only.
///
/// # Errors
/// `storage_failed`.
pub fn make_dir(dir: &Path) -> Result<()> {
    make_dir_with(dir, 0o700)
}

fn make_dir_with(dir: &Path, mode: u32) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(dir).map_err(storage(dir))
}

/// Writes a file of the user's own: readable by the user only, whole or not at all.
///
/// # Errors
/// `storage_failed`.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, bytes, 0o600, 0o700, true)
}

/// As [`write_private`], but never over a file that is there.
///
/// # Errors
/// `storage_failed`; `key_exists` if there is such a file.
pub fn write_private_new(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, bytes, 0o600, 0o700, false)
}

/// Writes a file that others are to read, whole or not at all.
///
/// # Errors
/// `storage_failed`.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, bytes, 0o644, 0o755, true)
}

/// By a synced temporary file and a rename, so that a crash or a full disk leaves the old content.
fn write_atomic(path: &Path, bytes: &[u8], mode: u32, dir_mode: u32, replace: bool) -> Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir_with(dir, dir_mode)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = builder.tempfile_in(dir).map_err(storage(path))?;
    file.write_all(bytes).map_err(storage(path))?;
    file.as_file().sync_all().map_err(storage(path))?;
    let done = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    match done {
        Ok(_) => Ok(()),
        Err(e) if !replace && e.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::about(Code::KeyExists, path.display()))
        }
        Err(e) => Err(storage(path)(e.error)),
    }
}
