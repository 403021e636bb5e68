//! What the command needs of the machine that it runs on.

use kez_core::{
    Timestamp,
    chat::{Random, StreamEvent},
    publish::Web,
    transport::{Answer, Call, Failure, Request},
};
use std::{
    any::Any,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    In,
    /// Standard output: data.
    Out,
    /// Standard error: everything else.
    Err,
}

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The user alone: 0600, in directories of 0700.
    Private,
    /// Everybody: 0644, in directories of 0755.
    Public,
}

/// What is known of a file without opening it. Links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Whether it is a plain file.
    pub is_file: bool,
    /// The length in bytes.
    pub len: u64,
    /// The permission bits, where the system has such.
    pub mode: Option<u32>,
}

/// Files, terminal, clock and randomness.
pub trait Host {
    /// A variable of the environment.
    fn env(&self, name: &str) -> Option<String>;
    /// The user's configuration directory for `kez`.
    fn config_dir(&self) -> Option<PathBuf>;
    /// What the clock says has passed since 1970, in milliseconds.
    fn now_ms(&self) -> u64;
    /// The clock's time.
    fn now(&self) -> Timestamp {
        Timestamp::since_epoch(Duration::from_millis(self.now_ms()))
    }
    /// The system's randomness.
    fn randomness(&self) -> Random;
    /// 32 bytes of the system's randomness.
    ///
    /// # Errors
    /// `storage_failed` if it has none to give, on which nothing may go on.
    fn random(&self) -> kez_core::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        self.randomness()(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether a stream is a terminal.
    fn is_terminal(&self, stream: Stream) -> bool;
    /// Writes to a stream. A closed pipe ends the program, as in other commands.
    fn print(&self, stream: Stream, text: &str);
    /// Reads some of standard input.
    ///
    /// # Errors
    /// Those of the system.
    fn read_stdin(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Asks on the terminal, without echo.
    ///
    /// # Errors
    /// Those of the system.
    fn ask_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>>;

    /// Reads a file, up to one byte more than a limit.
    ///
    /// # Errors
    /// Those of the system.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// Looks at a file.
    ///
    /// # Errors
    /// Those of the system.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// The names in a directory.
    ///
    /// # Errors
    /// Those of the system.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Writes a file whole or not at all, and makes the directories above it. When it returns, the
    /// file, its name and these directories survive a power failure. Without `replace`, an existing
    /// file makes it fail with `AlreadyExists`.
    ///
    /// # Errors
    /// Those of the system; an old file is then as it was.
    fn write(&self, path: &Path, bytes: &[u8], access: Access, replace: bool) -> io::Result<()>;
    /// Removes a file, durably when it returns.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Runs a program to its end, with a text on its standard input, and gives its exit code.
    ///
    /// # Errors
    /// Those of the system.
    fn run(&self, program: &Path, input: &str) -> io::Result<i32>;
    /// What the system's keyring has under a name.
    ///
    /// # Errors
    /// Those of the keyring: there may be none.
    fn keyring_get(&self, name: &str) -> io::Result<Option<Zeroizing<String>>>;
    /// Puts a secret into the system's keyring, in the place of one that is there; nothing removes
    /// it.
    ///
    /// # Errors
    /// As [`Host::keyring_get`].
    fn keyring_set(&self, name: &str, secret: Option<&str>) -> io::Result<()>;
    /// Takes the lock of a path, and holds it until the result is dropped or the process ends. Makes
    /// the file, which stays. `None` if another process, or this one, holds it.
    ///
    /// # Errors
    /// Those of the system.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any>>>;
    /// Blocks for this many milliseconds.
    fn sleep(&self, milliseconds: u32);
}

/// What the network is made with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The resolvers to ask, in order: `https://…/dns-query`, or `address:port`.
    pub resolvers: Vec<String>,
    /// Tests only: hosts that are served elsewhere, by base URL.
    pub hosts: BTreeMap<String, String>,
    /// Tests only: allows plain http and addresses in loopback.
    pub danger_allow_loopback: bool,
}

/// A stream of events.
#[expect(async_fn_in_trait, reason = "driven on one thread, as the core's trait")]
pub trait Events {
    /// The next event; `None` at the end. A stream that is silent for longer than its server
    /// ever is, is at its end.
    ///
    /// # Errors
    /// A code of kind network.
    async fn next(&mut self) -> Result<Option<StreamEvent>, Failure>;
}

/// For how long a stream may be silent, in seconds: three times what servers are.
pub const SILENCE: u32 = 45;

/// A place on this machine where a browser comes back (RFC 8252, section 7.3).
#[expect(async_fn_in_trait, reason = "driven on one thread, as the core's trait")]
pub trait Redirect {
    /// The port of 127.0.0.1.
    fn port(&self) -> u16;
    /// Waits for the browser, no longer than so many seconds, and gives the query that it brings.
    ///
    /// # Errors
    /// `timeout`, or why nothing can be heard.
    async fn query(self, seconds: u32) -> Result<String, Failure>;
}

/// The network: fetches, and publishes.
#[expect(async_fn_in_trait, reason = "driven on one thread, as the core's trait")]
pub trait Net: Web {
    /// An open stream of events.
    type Events: Events;
    /// Fetches; with an ETag the server may answer 304.
    ///
    /// # Errors
    /// A code of kind network.
    async fn fetch_if(&self, request: &Request, etag: Option<&str>) -> Result<Answer, Failure>;
    /// As [`Web::call`], to one of KEZ's servers, whose kept connections can be relied on.
    ///
    /// # Errors
    /// A code of kind network.
    async fn ask(&self, call: Call) -> Result<Answer, Failure>;
    /// Opens a stream of events. Its URL may be a secret, and is in no failure.
    ///
    /// # Errors
    /// A code of kind network; `http_status` with the status.
    async fn listen(&self, url: &str) -> Result<Self::Events, Failure>;
    /// A place where a browser comes back.
    type Redirect: Redirect;
    /// Listens for a browser that comes back, and shows it this page then.
    ///
    /// # Errors
    /// `connect_failed` if nothing can be listened on.
    async fn redirect(&self, page: &'static str) -> Result<Self::Redirect, Failure>;
}
