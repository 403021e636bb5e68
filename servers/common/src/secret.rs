//! Files with a secret in one line, which only their owner can read.

use crate::sqlite::Failure;
use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

/// How long a file may be, in bytes.
const MOST: u64 = 4096;

/// Reads the file, or creates it with the line that `make` returns. The file is there with all of
/// its contents or not at all, also if the process or the machine stops meanwhile.
///
/// # Errors
/// What the file system says, or `make`.
pub fn open<E: From<Failure>>(
    path: &Path,
    make: impl FnOnce() -> Result<String, E>,
) -> Result<String, E> {
    let failed = |e| E::from(Failure::of(path)(e));
    match read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(path, &make()?).map_err(failed)?;
            // Another process may have been faster: its file counts.
            read(path).map_err(failed)
        }
        done => done.map_err(failed),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

/// Writes a new file beside the path, and links it there unless there is one.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("new{}", std::process::id()));
    // Left by a process that had this id and was killed.
    let _ = fs::remove_file(&new);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&new, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    };
    fs::remove_file(&new)?;
    linked?;
    #[cfg(unix)]
    {
        let dir = path.parent().filter(|dir| *dir != Path::new(""));
        fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
