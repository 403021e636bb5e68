//! The command `kez` under Node. What it needs of the machine comes from JavaScript objects: a
//! [`Machine`] of synchronous functions, and a network.

use crate::{
    task::Task,
    transport::{Browser, Limit, http::Stream, words},
};
use js_sys::{Array, Function, Promise, Reflect, futures::JsFuture};
use kez_cli::{Access, Host, Net, Settings, Stat, Stream as Standard};
use kez_core::{
    Code, Transport,
    chat::Random,
    publish::Web as _,
    transport::{Answer, Call, Failure, Request},
};
use std::{
    any::Any,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use wasm_bindgen::{JsCast as _, prelude::*};
use zeroize::Zeroizing;

#[wasm_bindgen]
extern "C" {
    /// The functions of the host. Those of files throw what Node throws, with its `code`.
    #[wasm_bindgen(typescript_type = "object")]
    pub type Machine;

    #[wasm_bindgen(method)]
    fn env(this: &Machine, name: &str) -> Option<String>;
    #[wasm_bindgen(method, js_name = configDir)]
    fn config_dir(this: &Machine) -> Option<String>;
    #[wasm_bindgen(method)]
    fn now(this: &Machine) -> f64;
    #[wasm_bindgen(method, js_name = isTerminal)]
    fn is_terminal(this: &Machine, stream: u8) -> bool;
    #[wasm_bindgen(method)]
    fn print(this: &Machine, stream: u8, text: &str);
    #[wasm_bindgen(method, catch, js_name = readStdin)]
    fn read_stdin(this: &Machine, length: u32) -> Result<Vec<u8>, JsValue>;
    #[wasm_bindgen(method, catch, js_name = askSecret)]
    fn ask_secret(this: &Machine, prompt: &str) -> Result<String, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn read(this: &Machine, path: &str, limit: f64) -> Result<Vec<u8>, JsValue>;
    /// Gives `[isFile, length, mode]`.
    #[wasm_bindgen(method, catch)]
    fn stat(this: &Machine, path: &str) -> Result<Array, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn list(this: &Machine, path: &str) -> Result<Vec<String>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn write(
        this: &Machine,
        path: &str,
        bytes: &[u8],
        private: bool,
        replace: bool,
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn remove(this: &Machine, path: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn run(this: &Machine, program: &str, input: &str) -> Result<i32, JsValue>;
    /// Gives the function that releases the lock; `undefined` if another process holds it.
    #[wasm_bindgen(method, catch, js_name = tryLock)]
    fn try_lock(this: &Machine, path: &str) -> Result<Option<Function>, JsValue>;
    #[wasm_bindgen(method)]
    fn sleep(this: &Machine, milliseconds: u32);
    /// Gives the `fetch` that the settings ask for.
    #[wasm_bindgen(method, js_name = fetchWith)]
    fn fetch_with(this: &Machine, loopback: bool, hosts: Array) -> Function;
    /// Gives the class of sockets that the settings ask for, if it is not the global one.
    #[wasm_bindgen(method, js_name = webSocketWith)]
    fn web_socket_with(this: &Machine, hosts: Array) -> Option<Function>;
    #[wasm_bindgen(method, getter)]
    fn exchange(this: &Machine) -> Option<Function>;
    /// Listens for a browser: `(page) => Promise<{port, query}>`, of which the query is a promise.
    #[wasm_bindgen(method, getter)]
    fn redirect(this: &Machine) -> Function;
    #[wasm_bindgen(method, catch, js_name = keyringGet)]
    fn keyring_get(this: &Machine, name: &str) -> Result<Option<String>, JsValue>;
    #[wasm_bindgen(method, catch, js_name = keyringSet)]
    fn keyring_set(this: &Machine, name: &str, secret: Option<&str>) -> Result<(), JsValue>;
    /// `now` itself, for the transport.
    #[wasm_bindgen(method, getter, js_name = now)]
    fn clock(this: &Machine) -> Function;
}

/// An I/O error of the kind that Node's `code` names.
fn io_error(thrown: &JsValue) -> io::Error {
    let code = Reflect::get(thrown, &"code".into()).ok().and_then(|code| code.as_string());
    let kind = match code.as_deref() {
        Some("ENOENT") => io::ErrorKind::NotFound,
        Some("EACCES" | "EPERM") => io::ErrorKind::PermissionDenied,
        Some("EEXIST") => io::ErrorKind::AlreadyExists,
        Some("ENOTDIR") => io::ErrorKind::NotADirectory,
        Some("EISDIR") => io::ErrorKind::IsADirectory,
        Some("ENOTEMPTY") => io::ErrorKind::DirectoryNotEmpty,
        Some("EROFS") => io::ErrorKind::ReadOnlyFilesystem,
        Some("ENOSPC") => io::ErrorKind::StorageFull,
        Some("EDQUOT") => io::ErrorKind::QuotaExceeded,
        Some("EFBIG") => io::ErrorKind::FileTooLarge,
        Some("EPIPE") => io::ErrorKind::BrokenPipe,
        Some("EINTR") => io::ErrorKind::Interrupted,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, words(thrown))
}

const fn number(stream: Standard) -> u8 {
    match stream {
        Standard::In => 0,
        Standard::Out => 1,
        Standard::Err => 2,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Releases a lock when it is dropped.
struct Lock(Function);

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails, the next command sees that the process has ended.
        let _ = self.0.call0(&JsValue::UNDEFINED);
    }
}

struct Node(Machine);

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths and modes")]
#[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
impl Host for Node {
    fn env(&self, name: &str) -> Option<String> {
        self.0.env(name)
    }

    fn config_dir(&self) -> Option<PathBuf> {
        self.0.config_dir().map(PathBuf::from)
    }

    fn now_ms(&self) -> u64 {
        self.0.now() as u64
    }

    fn randomness(&self) -> Random {
        Arc::new(crate::fill_random)
    }

    fn is_terminal(&self, stream: Standard) -> bool {
        self.0.is_terminal(number(stream))
    }

    fn print(&self, stream: Standard, text: &str) {
        self.0.print(number(stream), text);
    }

    fn read_stdin(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let bytes = self.0.read_stdin(length).map_err(|e| io_error(&e))?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn ask_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.0.ask_secret(prompt).map(Zeroizing::new).map_err(|e| io_error(&e))
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.0.read(&text(path), limit as f64).map_err(|e| io_error(&e))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let stat = self.0.stat(&text(path)).map_err(|e| io_error(&e))?;
        Ok(Stat {
            is_file: stat.get(0).is_truthy(),
            len: stat.get(1).as_f64().unwrap_or_default() as u64,
            mode: stat.get(2).as_f64().map(|mode| mode as u32),
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(&text(path)).map_err(|e| io_error(&e))
    }

    fn write(&self, path: &Path, bytes: &[u8], access: Access, replace: bool) -> io::Result<()> {
        let private = access == Access::Private;
        self.0.write(&text(path), bytes, private, replace).map_err(|e| io_error(&e))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(&text(path)).map_err(|e| io_error(&e))
    }

    fn run(&self, program: &Path, input: &str) -> io::Result<i32> {
        self.0.run(&text(program), input).map_err(|e| io_error(&e))
    }

    fn keyring_get(&self, name: &str) -> io::Result<Option<Zeroizing<String>>> {
        let secret = self.0.keyring_get(name).map_err(|e| io_error(&e))?;
        Ok(secret.map(Zeroizing::new))
    }

    fn keyring_set(&self, name: &str, secret: Option<&str>) -> io::Result<()> {
        self.0.keyring_set(name, secret).map_err(|e| io_error(&e))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any>>> {
        let release = self.0.try_lock(&text(path)).map_err(|e| io_error(&e))?;
        Ok(release.map(|release| Box::new(Lock(release)) as Box<dyn Any>))
    }

    fn sleep(&self, milliseconds: u32) {
        self.0.sleep(milliseconds);
    }
}

impl Net for Browser {
    type Events = Stream;

    async fn fetch_if(&self, request: &Request, etag: Option<&str>) -> Result<Answer, Failure> {
        let limit = self.within(request.seconds());
        match request {
            Request::Http { .. } => self.get(request, &limit, etag).await,
            other => self.fetch(other).await,
        }
    }

    async fn ask(&self, call: Call) -> Result<Answer, Failure> {
        self.call(call).await
    }

    async fn listen(&self, url: &str) -> Result<Stream, Failure> {
        self.open_events(url).await
    }

    type Redirect = Redirect;

    async fn redirect(&self, page: &'static str) -> Result<Redirect, Failure> {
        let failed = |e: JsValue| Failure::new(Code::ConnectFailed, words(&e));
        let listen = self.redirect.as_ref().ok_or(JsValue::UNDEFINED).map_err(failed)?;
        let promise = listen.call1(&JsValue::UNDEFINED, &page.into()).map_err(failed)?;
        let place = JsFuture::from(promise.unchecked_into::<Promise>()).await.map_err(failed)?;
        let member = |name: &str| Reflect::get(&place, &name.into()).map_err(failed);
        let port = member("port")?.as_f64().unwrap_or_default();
        Ok(Redirect { port: port as u16, query: member("query")?.unchecked_into() })
    }
}

/// A server of the host's, which waits for a browser.
pub struct Redirect {
    port: u16,
    query: Promise,
}

impl kez_cli::host::Redirect for Redirect {
    fn port(&self) -> u16 {
        self.port
    }

    async fn query(self, seconds: u32) -> Result<String, Failure> {
        let waited = Limit::of(None, seconds * 1000).end(self.query).await?;
        let query = waited.map_err(|e| Failure::new(Code::ConnectFailed, words(&e)))?;
        Ok(query.as_string().unwrap_or_default())
    }
}

/// Runs the command with its arguments, the program's name first. The task gives the exit code.
#[wasm_bindgen]
pub fn run(arguments: Vec<String>, machine: Machine, wake: Function) -> Task {
    let node = Node(machine);
    let work = async move {
        let connect = |settings: Settings| {
            let pair = |(host, base): (&String, &String)| {
                Array::of2(&host.as_str().into(), &base.as_str().into())
            };
            let hosts: Array = settings.hosts.iter().map(pair).collect();
            Browser {
                fetch: Some(node.0.fetch_with(settings.danger_allow_loopback, hosts.clone())),
                web_socket: node.0.web_socket_with(hosts),
                exchange: node.0.exchange(),
                redirect: Some(node.0.redirect()),
                clock: node.0.clock(),
                signal: None,
                resolvers: settings.resolvers,
                loopback: settings.danger_allow_loopback,
            }
        };
        Ok(kez_cli::run(arguments, &node, connect).await.into())
    };
    Task::new(work, wake)
}
