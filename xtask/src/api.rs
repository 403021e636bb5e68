//! The servers against their own OpenAPI documents, by schemathesis.

use crate::{
    Result, demo,
    setup::{self, quietly, root},
};
use kez_core::{
    Chain, Event, Identity, ObjectId, Op, Scheme, SecretKey, Timestamp,
    chat::{CAPABILITY, HandleRecord},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// The secrets that RFC 8032, section 7.1, prints: of the identity, and of its device.
const OWNER: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const DEVICE: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";

/// A process that ends with this.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The servers: what they answer to a thousand requests, good and bad, is what their documents say.
///
/// # Errors
/// Where it is not.
pub fn run() -> Result<()> {
    let schemathesis = setup::schemathesis()?;
    type Fill = fn(&str) -> Result<()>;
    let servers: [(&str, Fill, &str); 2] =
        [("sig", publish, "openapi_media"), ("chat", register, "openapi_hooks")];
    for (which, fill, hooks) in servers {
        let (mut server, url) = serve(which, &root().join("target/api").join(which))?;
        fill(&url)?;
        let mut tests = Command::new(&schemathesis);
        tests.args(["run", &format!("{url}/openapi.json"), "--max-examples", "50", "--seed", "1"]);
        // A grammar of keys says more than a schema can, so what fits the schema may be refused.
        tests.args(["--exclude-checks", "positive_data_acceptance"]);
        // A stream does not end; and a handle that was given up is nobody's for good.
        tests.args(["--exclude-path-regex", "stream$", "--exclude-method", "DELETE"]);
        tests.args(["--no-color", "--warnings", "off"]);
        tests.env("SCHEMATHESIS_HOOKS", hooks).env("KEZ_API_DEVICE", DEVICE);
        let folders = ["common", which].map(|of| root().join("servers").join(of).join("tests"));
        tests.env("PYTHONPATH", std::env::join_paths(folders)?);
        tests.env("PYTHONDONTWRITEBYTECODE", "1");
        tests.current_dir(root().join("target"));
        quietly(&mut tests)?;
        if let Some(status) = server.0.try_wait()? {
            return Err(format!("the server ended: {status}").into());
        }
    }
    Ok(())
}

/// Builds one of the servers and starts it with an empty folder. Gives its URL.
///
/// # Errors
/// What the compiler or the server says.
pub fn serve(which: &str, data: &Path) -> Result<(Running, String)> {
    start(which, data, &["--listen", "127.0.0.1:0"])
}

/// The chat server, with the files of the web app, at a name that passkeys can be bound to.
///
/// # Errors
/// As for [`serve`].
pub fn serve_app(data: &Path, app: &Path, port: u16) -> Result<(Running, String)> {
    let (listen, origin) = (format!("127.0.0.1:{port}"), format!("http://localhost:{port}"));
    let app = app.to_str().ok_or("a path that is no text")?;
    let (running, _) =
        start("chat", data, &["--listen", &listen, "--origin", &origin, "--app", app])?;
    Ok((running, origin))
}

fn start(which: &str, data: &Path, options: &[&str]) -> Result<(Running, String)> {
    let program = demo::build()?.join(format!("kez-{which}-server"));
    let _ = fs::remove_dir_all(data);
    let mut command = Command::new(program);
    command.args(options).arg("--data").arg(data);
    let owner = if which == "sig" { "--chain-rate" } else { "--device-rate" };
    command.args(["--address-rate", "1000000", owner, "1000000"]);
    if which == "sig" {
        command.args(["--read-rate", "1000000"]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").ok_or("no address")?.to_owned();
    Ok((running, url))
}

/// A chain of one event, signed by these keys.
fn chain(op: Op, keys: &[&SecretKey]) -> Result<Chain> {
    let [owner, ..] = keys else { return Err("no key".into()) };
    let name = owner.public().identity().clone();
    let at = Timestamp::from_seconds(1_795_262_400);
    let mut event = Event::new(name.clone(), None, at, op).to_envelope()?;
    for key in keys {
        event.sign(key, &[0; 32])?;
    }
    let mut chain = Chain::new(&name)?;
    chain.append(&event, at)?;
    Ok(chain)
}

/// Publishes the chain that the document's examples name.
fn publish(url: &str) -> Result<()> {
    let key = SecretKey::from_text(Scheme::Ed25519, OWNER)?;
    let op = Op::Add {
        subject: Identity::parse("github:jason")?,
        claim: ObjectId::digest("claim", b"{}"),
        account: None,
        url: None,
    };
    let chain = chain(op, &[&key])?;
    ureq::post(format!("{url}/v1/sigchains/{}", chain.name()))
        .content_type("application/jsonl")
        .send(chain.to_bundle())?;
    Ok(())
}

/// Registers the handle that the document's examples name.
fn register(url: &str) -> Result<()> {
    let key = SecretKey::from_text(Scheme::Ed25519, OWNER)?;
    let device = SecretKey::from_text(Scheme::Ed25519, DEVICE)?;
    let op = Op::AddDevice {
        device: device.public().clone(),
        caps: vec![CAPABILITY.to_owned()],
        not_after: None,
        name: None,
    };
    let chain = chain(op, &[&key, &device])?;
    let record = HandleRecord {
        handle: "alice".parse()?,
        server: url.to_owned(),
        primary: chain.name().clone(),
        created_at: Timestamp::from_seconds(1_795_262_400),
        sources: Vec::new(),
    };
    let mut record = record.to_envelope()?;
    record.sign(&key, &[0; 32])?;
    let body = serde_json::json!({
        "record": record.to_canonical(),
        "chain": chain.to_bundle(),
    });
    ureq::post(format!("{url}/v1/handles")).send_json(body)?;
    Ok(())
}
