//! The data folder: one process at a time writes to it, and its disk has room.

use crate::sqlite::Failure;
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The name of the locked file.
const LOCK: &str = "lock";

/// How long a process waits for one that is about to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A locked data folder. The lock ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock is released when the file is closed")] File);

impl Lock {
    /// Locks a data folder, and creates the folder if it is missing.
    ///
    /// # Errors
    /// `Storage` if another process has locked it, or with the file system's error.
    pub fn acquire(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(Failure::of(dir))?;
        let path = dir.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Failure::of(&path))?;
        let end = Instant::now() + PATIENCE;
        let mut locked = file.try_lock();
        while matches!(locked, Err(TryLockError::WouldBlock)) && Instant::now() < end {
            std::thread::sleep(PATIENCE / 20);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Failure::Storage(format!(
                "{}: another process uses this folder. Stop it first, or choose another folder",
                dir.display()
            ))),
            Err(TryLockError::Error(e)) => Err(Failure::of(&path)(e)),
        }
    }
}

/// How much can still be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Nothing: not even what the reserve is for.
    None,
    /// Only what the reserve is for, such as revocations.
    Reserve,
    /// Anything.
    Plenty,
}

/// How long the state of the disk is remembered.
const REMEMBER: Duration = Duration::from_secs(1);
/// The largest reserve in bytes.
const RESERVE: u64 = 64 << 20;

/// Watches the room for a file: its quota, and the free space of its disk. The last eighth of the
/// quota and of the disk, 64 MiB of each at most, are a reserve.
pub struct Space {
    dir: PathBuf,
    quota: Option<u64>,
    disk: Mutex<Option<(Instant, Room)>>,
}

impl Space {
    /// The room for a file in `dir` that may grow to `quota` bytes.
    #[must_use]
    pub fn new(dir: &Path, quota: Option<u64>) -> Self {
        Self { dir: dir.into(), quota, disk: Mutex::default() }
    }

    /// The bytes of the reserve, by the quota.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.quota.map_or(RESERVE, |quota| (quota / 8).min(RESERVE))
    }

    /// How much room there is, if `used` bytes of the quota are used.
    #[must_use]
    pub fn room(&self, used: u64) -> Room {
        let quota = self.quota.map_or(Room::Plenty, |quota| {
            if used >= quota {
                Room::None
            } else if used >= quota - self.reserve() {
                Room::Reserve
            } else {
                Room::Plenty
            }
        });
        quota.min(self.disk())
    }

    /// As [`Space::room`], but the disk is asked anew.
    #[must_use]
    pub fn room_now(&self, used: u64) -> Room {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.room(used)
    }

    /// The room on the disk. A disk that cannot be asked has plenty: writes then fail with their
    /// own error.
    fn disk(&self) -> Room {
        let mut known = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, room)) = *known
            && at.elapsed() < REMEMBER
        {
            return room;
        }
        let room = disk(&self.dir).map_or(Room::Plenty, |(total, free)| {
            let reserve = (total / 8).min(RESERVE);
            if free < reserve / 8 {
                Room::None
            } else if free < reserve {
                Room::Reserve
            } else {
                Room::Plenty
            }
        });
        *known = Some((Instant::now(), room));
        room
    }
}

/// The size of a disk and its free bytes.
#[cfg(unix)]
fn disk(dir: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Some((bytes(disk.f_blocks), bytes(disk.f_bavail)))
}

#[cfg(not(unix))]
fn disk(_: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path()).unwrap();
        let error = Lock::acquire(dir.path()).unwrap_err().to_string();
        assert!(error.contains("another process uses this folder"), "{error}");
        drop(first);
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn the_last_eighth_of_a_quota_is_a_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path(), Some(800));
        let rooms = [0, 699, 700, 799, 800].map(|used| space.room(used));
        assert_eq!(rooms, [Room::Plenty, Room::Plenty, Room::Reserve, Room::Reserve, Room::None]);
        assert_eq!(Space::new(dir.path(), None).room(u64::MAX), Room::Plenty);
    }
}
