//! Clients that do harm, from an address of their own, and what an honest client sees meanwhile.

use super::Process;
use std::{
    fmt, fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The address of the attacker. Honest clients are 127.0.0.1.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Connects from an address of this machine.
///
/// # Errors
/// What the system says.
pub fn connect(from: IpAddr, server: &Process) -> std::io::Result<TcpStream> {
    let to: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}

/// What one kind of client does. Requests are made anew for each connection.
pub struct Attack<'a> {
    /// Its name in the table.
    pub name: &'static str,
    /// How many connections it keeps open.
    pub connections: usize,
    /// What it sends first.
    pub first: &'a (dyn Fn(u64) -> Vec<u8> + Sync),
    /// What it sends then, again and again.
    pub more: &'a [u8],
    /// How many bytes it reads at a time.
    pub reads: usize,
    /// The time between two rounds over all connections.
    pub pause: Duration,
}

impl Attack<'_> {
    /// Attacks until it is told to stop, from some threads. Counts the connections that were made.
    fn run(&self, server: &Process, stop: &AtomicBool, made: &AtomicU64) {
        let mut open: Vec<TcpStream> = Vec::new();
        let mut buffer = vec![0; self.reads.max(1)];
        while !stop.load(Ordering::Relaxed) {
            let missing = self.connections.saturating_sub(open.len());
            for _ in 0..missing {
                let Ok(mut stream) = connect(ATTACKER, server) else { break };
                let number = made.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
                if stream.write_all(&(self.first)(number)).is_ok() {
                    let _ = stream.set_nonblocking(true);
                    open.push(stream);
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
            open.retain_mut(|stream| {
                let read = self.reads == 0
                    || match stream.read(&mut buffer) {
                        Ok(0) => false,
                        Ok(_) => true,
                        Err(e) => e.kind() == ErrorKind::WouldBlock,
                    };
                read && (self.more.is_empty() || {
                    let sent = stream.write(self.more);
                    sent.map_or_else(|e| e.kind() == ErrorKind::WouldBlock, |count| count > 0)
                })
            });
            thread::sleep(self.pause);
        }
    }
}

/// What an honest client saw.
#[derive(Debug)]
pub struct Seen {
    name: &'static str,
    /// Milliseconds.
    times: Vec<f64>,
    failures: u32,
    memory: u64,
    cpu: Duration,
    disk: u64,
    connections: u64,
    time: Duration,
}

impl Seen {
    /// The time of 99 in 100 requests, in milliseconds.
    #[must_use]
    pub fn p99(&self) -> f64 {
        self.times.get(self.times.len() * 99 / 100).copied().unwrap_or(f64::INFINITY)
    }

    /// Requests that were not answered as they should.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// The names of the columns.
pub const COLUMNS: &str = "| attack, by one address | honest requests | failed | p50 ms | p99 ms | longest ms | \
    most memory MiB | processor | disk MiB an hour | connections tried |\n|---|---|---|---|---|---|---|---|---|---|";

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, times, failures, memory, cpu, disk, connections, time } = self;
        let middle = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        let last = times.last().copied().unwrap_or(f64::NAN);
        let share = 100.0 * cpu.as_secs_f64() / time.as_secs_f64();
        let disk = *disk as f64 / f64::from(1 << 20) * 3600.0 / time.as_secs_f64();
        write!(
            f,
            "| {name} | {} | {failures} | {middle:.1} | {:.1} | {last:.1} | {memory} | {share:.0} % \
             | {disk:.0} | {connections} |",
            times.len(),
            self.p99(),
        )
    }
}

/// Attacks a server for a time, while an honest client works: `honest` does one round of requests,
/// times each, and fails if an answer is not what it should be.
pub fn attack(
    server: &Process,
    data: &Path,
    attack: &Attack<'_>,
    time: Duration,
    mut honest: impl FnMut(&mut dyn FnMut(Duration)) -> Result<(), String>,
) -> Seen {
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let (before, size) = (cpu(server), disk(data));
    let start = Instant::now();
    let (mut times, mut failures, mut most) = (Vec::new(), 0, 0);
    thread::scope(|scope| {
        let attacker = scope.spawn(|| attack.run(server, &stop, &made));
        // Also if the honest client panics.
        let ends = Stop(&stop);
        while start.elapsed() < time {
            let mut note = |taken: Duration| times.push(taken.as_secs_f64() * 1000.0);
            if let Err(error) = honest(&mut note) {
                eprintln!("{}: {error}", attack.name);
                failures += 1;
            }
            most = memory(server).max(most);
            thread::sleep(Duration::from_millis(50));
        }
        drop(ends);
        let _ = attacker.join();
    });
    times.sort_by(f64::total_cmp);
    Seen {
        name: attack.name,
        times,
        failures,
        memory: most,
        cpu: cpu(server).saturating_sub(before),
        disk: disk(data).saturating_sub(size),
        connections: made.into_inner(),
        time: start.elapsed(),
    }
}

/// Stops an attack when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The resident memory of a server in MiB.
#[must_use]
pub fn memory(server: &Process) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", server.child.id()));
    let text = text.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    size.unwrap_or_default() / 1024
}

/// The processor time of a server, in steps of 10 ms.
#[must_use]
pub fn cpu(server: &Process) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/stat", server.child.id()));
    let text = text.unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split(' ').skip(12).take(2).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// The bytes of a folder's files.
#[must_use]
pub fn disk(data: &Path) -> u64 {
    let files = fs::read_dir(data).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}
