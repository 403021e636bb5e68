//! Hosts with a network between them, on this machine: network namespaces, whose links can be cut
//! and made slow. It takes no administrator, but a kernel that lets users have namespaces.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Says that this process has a network of its own.
const INSIDE: &str = "KEZ_OWN_NETWORK";
/// How fast a slow link is.
const SLOW: &str = "tbf rate 256kbit burst 8kb latency 3s";

/// Where a test goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It ran once more, as the administrator of a network of its own, and is done.
    Elsewhere,
    /// It is there.
    OwnNetwork,
    /// This machine's kernel does not let it.
    Here,
}

/// Runs the test of this name once more, as the administrator of a network of its own.
#[must_use]
pub fn move_out(test: &str) -> Place {
    if std::env::var_os(INSIDE).is_some() {
        return Place::OwnNetwork;
    }
    let unshare = || command("unshare --user --map-root-user --net --");
    let all = format!(
        "ip link add kez type bridge && ip link add kez0 type veth && \
         tc qdisc add dev kez0 root {SLOW}"
    );
    let able = unshare().args(["sh", "-c", &all]).output();
    if !able.is_ok_and(|output| output.status.success()) {
        eprintln!("no network namespaces here: links are not cut");
        return Place::Here;
    }
    let mut again = unshare();
    again.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    assert!(again.env(INSIDE, "1").status().unwrap().success(), "in a network of its own");
    Place::Elsewhere
}

/// A program with words between blanks, which may be the administrator's.
fn command(words: &str) -> Command {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(words).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn run(words: &str) {
    assert!(command(words).status().unwrap().success(), "{words}");
}

/// Hosts on one bridge, which this process is on, too. It ends with the value.
pub struct Network {
    /// What holds each host's namespace.
    hosts: Vec<Child>,
}

impl Network {
    /// So many hosts.
    #[must_use]
    pub fn new(count: usize) -> Self {
        run("ip link set lo up");
        run("ip link add kez type bridge");
        run("ip addr add 10.77.0.254/24 dev kez");
        run("ip link set kez up");
        Self { hosts: (0..count).map(Self::host).collect() }
    }

    fn host(n: usize) -> Child {
        // It ends with the test.
        let mut command = command("setpriv --pdeathsig KILL -- unshare --net -- sleep infinity");
        let host = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let id = host.id();
        let space = |process: &str| -> Option<PathBuf> {
            fs::read_link(format!("/proc/{process}/ns/net")).ok()
        };
        while space(&id.to_string()) == space("self") {
            thread::sleep(Duration::from_millis(5));
        }
        run(&format!("ip link add kez{n} type veth peer name eth0 netns {id}"));
        run(&format!("ip link set kez{n} master kez up"));
        let inside = format!("nsenter --target {id} --net -- ip");
        run(&format!("{inside} addr add {}/24 dev eth0", Self::address(n)));
        run(&format!("{inside} link set eth0 up"));
        run(&format!("{inside} link set lo up"));
        host
    }

    /// The address of a host.
    #[must_use]
    pub fn address(n: usize) -> String {
        format!("10.77.0.{}", n + 1)
    }

    /// What runs a program on a host: it goes before the program's words.
    #[must_use]
    pub fn enter(&self, n: usize) -> Vec<String> {
        let id = self.hosts[n].id().to_string();
        ["nsenter", "--target", &id, "--net", "--"].map(str::to_owned).into()
    }

    /// Cuts a host off: what goes there or comes from there is lost, and nobody is told.
    pub fn cut(&self, n: usize) {
        run(&format!("ip link set kez{n} down"));
    }

    /// Cuts a host off from the other hosts, but not from this process.
    pub fn split(&self, n: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != n) {
            let inside = self.enter(n).join(" ");
            run(&format!("{inside} ip route add blackhole {}", Self::address(other)));
        }
    }

    /// Both ends of a host's link: what sets how fast they are, and their names.
    fn ends(&self, n: usize) -> [(String, String); 2] {
        let inside = format!("{} tc", self.enter(n).join(" "));
        [("tc".into(), format!("kez{n}")), (inside, "eth0".into())]
    }

    /// Makes a host's link slow, both ways.
    pub fn slow(&self, n: usize) {
        for (tc, device) in self.ends(n) {
            run(&format!("{tc} qdisc add dev {device} root {SLOW}"));
        }
    }

    /// Makes a host's link as it was.
    pub fn heal(&self, n: usize) {
        run(&format!("ip link set kez{n} up"));
        run(&format!("{} ip route flush type blackhole", self.enter(n).join(" ")));
        for (tc, device) in self.ends(n) {
            let mut delete = command(&format!("{tc} qdisc del dev {device} root"));
            // There is none where it was cut.
            let _ = delete.stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}
