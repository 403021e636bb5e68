//! Several real servers behind one address.

use super::{RATES, Server};
use kez_server::testing::{Nats, Process};
use std::{
    fs, io,
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use tempfile::TempDir;

/// What stands before the servers: each connection goes to the next of them.
pub struct Front {
    /// Where clients come: the origin of all.
    pub server: Server,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Front {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = targets.clone();
        thread::spawn(move || {
            let turn = AtomicUsize::new(0);
            for client in listener.incoming().map_while(Result::ok) {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let all = all.lock().unwrap().clone();
                // Whoever is gone is passed over.
                let mut tries = (0..all.len()).map(|n| &all[(turn + n) % all.len()]);
                let Some(server) = tries.find_map(|at| TcpStream::connect(at).ok()) else {
                    continue;
                };
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                        let _ = from.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        // It ends with the test, as a process would.
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        Self { server: Server(Process { child, url, metrics: None }), targets }
    }

    pub fn lead_to<'a>(&self, servers: impl IntoIterator<Item = &'a Server>) {
        let all = servers.into_iter().map(|server| server.address().to_owned()).collect();
        *self.targets.lock().unwrap() = all;
    }

    /// Starts a server behind it.
    pub fn start(&self, data: &Path, nats: &Nats, options: &[&str]) -> Option<Server> {
        self.run(command(data, &nats.url()), options)
    }

    /// Starts a server by a command.
    pub fn run(&self, mut command: Command, options: &[&str]) -> Option<Server> {
        command.args(["--origin", self.server.url()]).args(options);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(out), &mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        if url.is_none() {
            child.wait().unwrap();
        }
        url.map(|url| Server(Process { child, url, metrics: None }))
    }
}

pub fn command(data: &Path, nats: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
    for rate in RATES {
        command.args([rate, "1000000000"]);
    }
    let log = fs::File::options().create(true).append(true).open(data.join("messages")).unwrap();
    command.env("NATS_URL", nats).stderr(log);
    command
}

/// Data folders of several servers, which share a key.
pub fn folders(count: usize) -> Vec<TempDir> {
    let all: Vec<_> = (0..count).map(|_| TempDir::new().unwrap()).collect();
    let key = "5a".repeat(32);
    all.iter().for_each(|dir| fs::write(dir.path().join("cluster.key"), &key).unwrap());
    all
}
