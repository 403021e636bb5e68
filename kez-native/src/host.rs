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

    /// By a synced temporary file and a rename, so that a crash or a full disk leaves the old
    /// content.
    fn write(&self, path: &Path, bytes: &[u8], access: Access, replace: bool) -> io::Result<()> {
        let (mode, dir_mode) = match access {
            Access::Private => (0o600, 0o700),
            Access::Public => (0o644, 0o755),
        };
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
        done.map(drop).map_err(|e| e.error)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
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

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any>> {
        make_dir(path.parent().unwrap_or(Path::new(".")), 0o700)?;
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        #[cfg(unix)]
        return Ok(Box::new(Lock { link: link(path)?, _file: file }));
        #[cfg(not(unix))]
        Ok(Box::new(file))
    }
}

/// A lock that the npm command sees too. Node has none of the system's: there a link names the
/// owner, which a dead one loses.
#[cfg(unix)]
struct Lock {
    link: PathBuf,
    /// Let go of after the link.
    _file: fs::File,
}

#[cfg(unix)]
impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is noticed by its dead owner.
        let _ = fs::remove_file(&self.link);
    }
}

/// Makes the link of a lock, once it is nobody else's.
#[cfg(unix)]
fn link(path: &Path) -> io::Result<PathBuf> {
    use rustix::{
        io::Errno,
        process::{Pid, test_kill_process},
    };

    let mut name = path.as_os_str().to_owned();
    name.push(".node");
    let mine = PathBuf::from(name);
    let this = process::id().to_string();
    loop {
        match std::os::unix::fs::symlink(&this, &mine) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| mine),
        }
        let owner = match fs::read_link(&mine) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            owner => owner?,
        };
        // What has this process's number was left by an earlier one.
        let other = owner.to_str().filter(|number| **number != *this);
        let pid = other.and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
        let alive = pid.is_some_and(|pid| match test_kill_process(pid) {
            Ok(()) => true,
            Err(error) => error == Errno::PERM,
        });
        if alive {
            std::thread::sleep(std::time::Duration::from_millis(20));
        } else if let Err(error) = fs::remove_file(&mine)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
}

fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(dir)
}

/// A place in the system's keyring.
fn keyring(name: &str) -> keyring::Result<keyring::Entry> {
    // Its own word is that there is none; why not is told by the status alone.
    if let Err(error) = keyring::Entry::store_status() {
        return Err(keyring::Error::NoStorageAccess(error.to_string().into()));
    }
    keyring::Entry::new("kez", name)
}
