//! The servers against their own OpenAPI documents, by schemathesis.

use crate::{
    Result,
    setup::{self, quietly, root},
};
use kez_core::{Event, Identity, ObjectId, Op, Scheme, SecretKey, Timestamp};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A process that ends with this.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sigchain server: what it answers to a thousand requests, good and bad, is what its document
/// says.
///
/// # Errors
/// Where it is not.
pub fn run() -> Result<()> {
    let schemathesis = setup::schemathesis()?;
    let (mut server, url) = serve(&root().join("target/api/sig"))?;
    publish(&url)?;
    let mut tests = Command::new(schemathesis);
    tests.args(["run", &format!("{url}/openapi.json"), "--max-examples", "50", "--seed", "1"]);
    // A grammar of keys says more than a schema can, so what fits the schema may be refused.
    tests.args(["--exclude-checks", "positive_data_acceptance"]);
    // A stream does not end.
    tests.args(["--exclude-path-regex", "stream$", "--no-color", "--warnings", "off"]);
    tests.env("SCHEMATHESIS_HOOKS", "openapi_hooks");
    tests.env("PYTHONPATH", root().join("servers/sig/tests"));
    tests.env("PYTHONDONTWRITEBYTECODE", "1");
    tests.current_dir(root().join("target"));
    quietly(&mut tests)?;
    match server.0.try_wait()? {
        None => Ok(()),
        Some(status) => Err(format!("the server ended: {status}").into()),
    }
}

/// Builds the sigchain server and starts it with an empty folder. Gives its URL.
///
/// # Errors
/// What the compiler or the server says.
pub fn serve(data: &Path) -> Result<(Running, String)> {
    let mut cargo = Command::new(env!("CARGO"));
    quietly(cargo.current_dir(root()).args(["build", "-p", "kez-sig-server"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    let _ = fs::remove_dir_all(data);
    let mut command = Command::new(target.join("debug/kez-sig-server"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
    command.args(["--address-rate", "1000000", "--chain-rate", "1000000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").ok_or("no address")?.to_owned();
    Ok((running, url))
}

/// Publishes the chain that the document's examples name, of the first key of RFC 8032, section 7.1, whose secret is printed there.
fn publish(url: &str) -> Result<()> {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let key = SecretKey::from_text(Scheme::Ed25519, seed)?;
    let name = key.public().identity().clone();
    let op = Op::Add {
        subject: Identity::parse("github:jason")?,
        claim: ObjectId::digest("claim", b"{}"),
        account: None,
        url: None,
    };
    let at = Timestamp::from_seconds(1_795_262_400);
    let mut event = Event::new(name.clone(), None, at, op).to_envelope()?;
    event.sign(&key, &[0; 32])?;
    let body = format!("{}\n", event.to_canonical());
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap_or(url))?;
    write!(
        stream,
        "POST /v1/sigchains/{name} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 201") { Ok(()) } else { Err(answer.into()) }
}
