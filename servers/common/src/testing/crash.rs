//! Servers that are killed at a system call, by strace.

use super::Process;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// The system calls that change files.
pub const CALLS: &[&str] = &[
    "openat",
    "pwrite64",
    "write",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "mkdir",
    "chmod",
    "fchmod",
];

/// Runs a program under strace. With a call and a number, each of its threads is killed, and the
/// process with it, before its call of that number.
fn traced(command: &Command, log: &Path, inject: Option<(&str, u32)>) -> Command {
    let mut strace = Command::new("strace");
    // The server is our child, and strace is not.
    strace.args(["-D", "-f", "-qq", "-o"]).arg(log);
    match inject {
        Some((call, count)) => {
            strace.args(["-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={count}")]);
        }
        None => {
            strace.args(["-e", &format!("trace={}", CALLS.join(","))]);
        }
    }
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stderr(Stdio::null());
    strace
}

/// Starts a server that is to be killed at a call. `None` if that is before it listens.
fn start(command: &mut Command) -> Option<Process> {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("this test needs strace");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let read = output.read_line(&mut line);
    let Some(url) = line.trim().strip_prefix("listening on ").filter(|_| read.is_ok()) else {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    Some(Process { child, url: url.to_owned(), metrics: None })
}

/// For each call that changes files, starts a server on a new folder, uses it, and kills it before
/// that call. Then `check` looks at what is there. Returns the number of kills.
///
/// # Panics
/// If strace is missing, or if the server is never killed.
pub fn kill_at_every_call<T>(
    dir: &Path,
    command: impl Fn(&Path) -> Command,
    script: impl Fn(Option<&Process>) -> T,
    check: impl Fn(&Path, T, &str),
) -> u32 {
    let log = dir.join("strace");
    let data = dir.join("whole");
    let whole = start(&mut traced(&command(&data), &log, None)).expect("it listens");
    script(Some(&whole));
    whole.terminate();
    // The most calls of each kind that one thread makes.
    let mut by_thread: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in fs::read_to_string(&log).unwrap_or_default().lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if CALLS.contains(&call) {
            *by_thread.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u32> = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    let mut kills = 0;
    for (call, count) in most {
        for number in 1..=count {
            let data = dir.join(format!("{call}{number}"));
            let command = &mut traced(&command(&data), &log, Some((&call, number)));
            let mut server = start(command);
            let done = script(server.as_ref());
            let killed = match &mut server {
                None => true,
                Some(server) => {
                    let status = server.child.try_wait();
                    !matches!(status, Ok(None))
                }
            };
            kills += u32::from(killed);
            drop(server);
            check(&data, done, &format!("killed before {call} {number}"));
            let _ = fs::remove_dir_all(&data);
        }
    }
    assert!(kills > 0, "it is never killed");
    kills
}
