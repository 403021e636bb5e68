//! This machine as the command sees it.

use kez_cli::{Access, Host, Stat, Stream};
use kez_core::chat::Random;
use std::{
    any::Any,
    fs, io,
    io::{IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};
use zeroize::Zeroizing;

/// The machine that the command runs on.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Host for Machine {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn config_dir(&self) -> Option<PathBuf> {
        directories::ProjectDirs::from("", "", "kez").map(|dirs| dirs.config_dir().to_owned())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(crate::since_epoch().as_millis()).unwrap_or(u64::MAX)
    }

    fn randomness(&self) -> Random {
        Arc::new(crate::fill_random)
    }

    fn is_terminal(&self, stream: Stream) -> bool {
        match stream {
            Stream::In => io::stdin().is_terminal(),
            Stream::Out => io::stdout().is_terminal(),
            Stream::Err => io::stderr().is_terminal(),
        }
    }

    fn print(&self, stream: Stream, text: &str) {
        if stream == Stream::Err {
            let _ = io::stderr().lock().write_all(text.as_bytes());
            return;
        }
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // As a shell shows a command that SIGPIPE ended.
            process::exit(141);
        }
    }

    fn read_stdin(&self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().lock().read(buffer)
    }

    fn ask_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        rpassword::prompt_password(prompt).map(Zeroizing::new)
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let meta = fs::symlink_metadata(path)?;
        #[cfg(unix)]
        let mode = Some(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777);
        #[cfg(not(unix))]
        let mode = None;
        Ok(Stat { is_file: meta.is_file(), len: meta.len(), mode })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    /// Writes a temporary file, syncs it, renames it and syncs the directory, so that a crash or a
    /// full disk leaves the old content or the new.
    fn write(&self, path: &Path, bytes: &[u8], access: Access, replace: bool) -> io::Result<()> {
        let (mode, dir_mode) = match access {
            Access::Private => (0o600, 0o700),
            Access::Public => (0o644, 0o755),
        };
        let dir = parent(path);
        make_dir(dir, dir_mode)?;
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = builder.tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let done = if replace { file.persist(path) } else { file.persist_noclobber(path) };
        done.map_err(|e| e.error)?;
        sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        sync_dir(parent(path))
    }

    fn run(&self, program: &Path, input: &str) -> io::Result<i32> {
        let mut child = process::Command::new(program).stdin(process::Stdio::piped()).spawn()?;
        // A program that does not read is none of our business.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        Ok(child.wait()?.code().unwrap_or(-1))
    }

    fn keyring_get(&self, name: &str) -> io::Result<Option<Zeroizing<String>>> {
        match keyring(name).and_then(|entry| entry.get_password()) {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn keyring_set(&self, name: &str, secret: Option<&str>) -> io::Result<()> {
        let done = keyring(name).and_then(|entry| match secret {
            Some(secret) => entry.set_password(secret),
            None => entry.delete_credential(),
        });
        match done {
            Ok(()) => Ok(()),
            // What shall be removed, and is not there.
            Err(keyring::Error::NoEntry) if secret.is_none() => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any>>> {
        make_dir(parent(path), 0o700)?;
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        #[cfg(unix)]
        return Ok(NodeLock::take(path)?.map(|node| Box::new((node, file)) as Box<dyn Any>));
        #[cfg(not(unix))]
        Ok(Some(Box::new(file)))
    }

    fn sleep(&self, milliseconds: u32) {
        std::thread::sleep(std::time::Duration::from_millis(milliseconds.into()));
    }
}

/// The lock that the npm command takes. Node has no access to the system's locks, so a symbolic link
/// names the process that holds it. This command takes both.
#[cfg(unix)]
struct NodeLock(PathBuf);

#[cfg(unix)]
impl Drop for NodeLock {
    fn drop(&mut self) {
        // If this fails, the next command sees that the process has ended.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
impl NodeLock {
    /// `None` if a running process holds the lock.
    fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut name = path.as_os_str().to_owned();
        name.push(".node");
        let link = PathBuf::from(name);
        let this = process_name(process::id()).unwrap_or_else(|| process::id().to_string());
        loop {
            match std::os::unix::fs::symlink(&this, &link) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done.map(|()| Some(Self(link))),
            }
            let owner = match fs::read_link(&link) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                owner => owner?.to_string_lossy().into_owned(),
            };
            let pid = owner.split(':').next().and_then(|pid| pid.parse().ok());
            if owner != this && pid.and_then(process_name).is_some_and(|name| name == owner) {
                return Ok(None);
            }
            // Another process may have replaced the stale link while this one looked its owner up.
            let unchanged = fs::read_link(&link).is_ok_and(|now| now.to_string_lossy() == owner);
            if unchanged
                && let Err(error) = fs::remove_file(&link)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
    }
}

/// Names a running process so that no later one has the same name: process ids are reused, so its
/// start time belongs to the name. `None` if the process has ended. The npm command does the same.
#[cfg(unix)]
fn process_name(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        // `pid (command) state …`: the start, in ticks since the boot, is the 22nd field.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        return Some(format!("{pid}:{}:{}", fields.get(19)?, boot.trim()));
    }
    let mut ps = process::Command::new("ps");
    ps.args(["-o", "lstart=", "-p", &pid.to_string()]).env("LC_ALL", "C").env("TZ", "UTC");
    let start = String::from_utf8(ps.output().ok()?.stdout).ok()?;
    let start = start.split_whitespace().collect::<Vec<_>>().join("-");
    (!start.is_empty()).then(|| format!("{pid}:{start}"))
}

/// Makes a directory and those above it. The names of new ones are synced.
fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let missing: Vec<&Path> = missing.collect();
    builder.create(dir)?;
    missing.into_iter().try_for_each(|dir| sync_dir(parent(dir)))
}

/// The directory of a file.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a directory durable. Other systems than Unix do so themselves.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(dir)?.sync_all() } else { Ok(()) }
}

/// A place in the system's keyring.
fn keyring(name: &str) -> keyring::Result<keyring::Entry> {
    // Its own word is that there is none; why not is told by the status alone.
    if let Err(error) = keyring::Entry::store_status() {
        return Err(keyring::Error::NoStorageAccess(error.to_string().into()));
    }
    keyring::Entry::new("kez", name)
}
