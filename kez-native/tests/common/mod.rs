//! Runs the real `kez` in a home of its own.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod testnet;

use kez_sig_server::{
    Server,
    store::{Options, Store},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

/// The command under test: the native one, or the one that `KEZ` names with its first arguments,
/// as in `node npm/dist/cli.js`.
pub fn kez() -> Command {
    let named = std::env::var("KEZ").unwrap_or_default();
    let mut words = named.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(env!("CARGO_BIN_EXE_kez")));
    command.args(words);
    // KEZ-TRN-10: nothing listens there, so that a command that asked this proxy would fail.
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    {
        command.env(name, "http://127.0.0.1:9");
    }
    command
}

/// A user: a home directory and the command.
pub struct User {
    pub home: PathBuf,
    /// Whether it is the native command in any case.
    pub native: bool,
}

/// What a command gave.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The JSON object that was printed; with several, the first.
    pub fn json(&self) -> Value {
        let line = self.stdout.lines().next().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("{e}: {:?}\n{}", self.stdout, self.stderr))
    }

    /// Asserts exit code, status and reason of a report.
    pub fn expect(&self, code: i32, status: &str, reason: Option<&str>) -> Value {
        let json = self.json();
        assert_eq!(
            (self.code, json["status"].as_str(), json["reason"].as_str()),
            (code, Some(status), reason),
            "{}\n{}",
            self.stdout,
            self.stderr
        );
        json
    }

    /// Asserts that the command failed as a whole with this code.
    pub fn fails(&self, exit: i32, code: &str) {
        let json = self.json();
        assert_eq!((self.code, json["code"].as_str()), (exit, Some(code)), "{}", self.stdout);
    }
}

impl User {
    /// A user with this configuration and no key.
    pub fn new(name: &str, config: &str) -> Self {
        let home = folder(name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("config.toml"), config).unwrap();
        Self { home, native: false }
    }

    /// This user, by the native command whatever `KEZ` says.
    pub fn native(self) -> Self {
        Self { native: true, ..self }
    }

    /// A second copy of a user, as on another machine.
    pub fn copy(&self, name: &str) -> Self {
        let home = self.home.with_file_name(name);
        let _ = fs::remove_dir_all(&home);
        let done = Command::new("cp").arg("-r").arg(&self.home).arg(&home).status().unwrap();
        assert!(done.success());
        Self { home, native: self.native }
    }

    /// Runs `kez --json …`, with text on stdin.
    pub fn run_with(&self, stdin: &str, args: &[&str]) -> Run {
        self.run_in(stdin, args, |_| {})
    }

    /// As [`User::run_with`], in an environment that is changed.
    pub fn run_in(&self, stdin: &str, args: &[&str], change: impl FnOnce(&mut Command)) -> Run {
        let mut command = self.command(args);
        change(&mut command);
        let Output { status, stdout, stderr } = self.output(stdin, command);
        Run {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// The command `kez --json …` in this home.
    pub fn command(&self, args: &[&str]) -> Command {
        let native = || Command::new(env!("CARGO_BIN_EXE_kez"));
        let mut command = if self.native { native() } else { kez() };
        command.arg("--json").args(args).env("KEZ_HOME", &self.home).env_remove("NO_COLOR");
        command
    }

    fn output(&self, stdin: &str, mut command: Command) -> Output {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The command may end without reading, which is not this helper's business.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that asks for leave in a browser: what it printed for that is answered on its
    /// stdin, and is left out of what it gave.
    pub fn conversation(&self, args: &[&str], answer: impl FnOnce(&Value) -> String) -> Run {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut stdout = String::new();
        output.read_line(&mut stdout).unwrap();
        let asked: Value = serde_json::from_str(&stdout).unwrap_or_default();
        if asked["schema"] == "kez.authorize/1" {
            stdout.clear();
            // As above: what asks a browser reads nothing here.
            let _ = writeln!(child.stdin.take().unwrap(), "{}", answer(&asked));
        }
        output.read_to_string(&mut stdout).unwrap();
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        Run { code: status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Runs `kez --json …`.
    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with("", args)
    }

    /// Runs a command that must succeed, and gives its JSON.
    pub fn ok(&self, args: &[&str]) -> Value {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}\n{}\n{}", run.stdout, run.stderr);
        run.json()
    }

    /// The user's own chain.
    pub fn bundle(&self) -> String {
        self.ok(&["sigchain", "export"])["bundle"].as_str().unwrap().to_owned()
    }

    /// Makes an unencrypted key and gives its identity.
    pub fn key(&self, name: &str, kind: &str) -> String {
        let json = self.ok(&["key", "new", "--name", name, "--type", kind, "--no-passphrase"]);
        json["identity"].as_str().unwrap().to_owned()
    }

    /// Makes a claim in a format and gives its text.
    pub fn claim(&self, subject: &str, format: &str, more: &[&str]) -> String {
        let args = [&["claim", "create", subject, "--format", format], more].concat();
        self.ok(&args)["text"].as_str().unwrap().to_owned()
    }

    /// Verifies an identity, freshly fetched.
    pub fn verify(&self, subject: &str, more: &[&str]) -> Run {
        self.run(&[&["--max-age", "0s", "verify", "id", subject], more].concat())
    }
}

/// A folder of that name which is not there yet.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// The real sigchain server, on a free port, until the process ends; and its store.
pub fn sig_server(data: &Path, quota: Option<u64>) -> (String, Store) {
    let options = Options { quota, log_name: None };
    let (store, _) = Store::open(data, &options).unwrap();
    let server = Server::new(store.clone());
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            server.serve(listener, std::future::pending()).await.unwrap();
        });
    });
    (told.recv().unwrap(), store)
}
