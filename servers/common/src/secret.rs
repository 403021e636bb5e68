//! Files with a secret in one line, which only their owner can read.

use crate::sqlite::Failure;
use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

/// How long a file may be, in bytes.
const MOST: u64 = 4096;

/// Reads the file, or makes it with the line that `make` gives.
///
/// # Errors
/// What the file system says, or `make`.
pub fn open<E: From<Failure>>(
    path: &Path,
    make: impl FnOnce() -> Result<String, E>,
) -> Result<String, E> {
    let failed = |e| E::from(Failure::of(path)(e));
    let text = match fs::File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(MOST).read_to_string(&mut text).map_err(failed)?;
            text
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = make()?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path).map_err(failed)?;
            let written = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n"));
            written.and_then(|()| file.sync_all()).map_err(failed)?;
            text
        }
        Err(e) => return Err(failed(e)),
    };
    Ok(text.trim().to_owned())
}
