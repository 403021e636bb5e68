//! The real servers on loopback: knot, unbound and dnsdist for DNS, DNSSEC and DoH, a nostr
//! relay, the atproto PDS with its PLC directory, snac and a secure-mode Fedify server, and an
//! emulator of GitHub's gists. All end with the value, and with the process that made it.

use crate::{
    Result,
    setup::{self, quietly},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// A loopback port that was free a moment ago, below those that the system gives to clients: a
/// server that takes seconds to come up would now and then find one of theirs taken.
///
/// # Errors
/// If none is.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(101);
    for _ in 0..12_000 {
        let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(place)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}

/// The running servers.
pub struct Testnet {
    dir: PathBuf,
    children: Vec<(String, Child)>,
    knot: u16,
    unbound: u16,
    doh: u16,
    relay: String,
    plc: String,
    pds: String,
    accounts: Value,
    snac: u16,
    snac_password: String,
    snac_token: String,
    fedify: u16,
    gist: u16,
    pages: u16,
}

/// The secret of the key `kez-test`, which may update the zone `keyed.example`.
pub const TSIG_SECRET: &str = "a2V6IHRlc3Qga2V5IG9mIHRoZSBsb2NhbCBzZXJ2ZXI=";
/// Bluesky accounts of the PDS.
pub const BLUESKY: [&str; 2] = ["alice.test", "bob.test"];
/// The host of the snac server; its user is `jason`.
pub const SOCIAL: &str = "social.example";
/// The host of the secure-mode server; its user is `carol`, and `dave` is open to everybody.
pub const SECURE: &str = "secure.example";

impl Testnet {
    /// Starts everything below an empty directory. `relay` is the program that runs a relay and
    /// prints its URL.
    ///
    /// # Errors
    /// The first server that does not come up.
    pub fn start(dir: &Path, relay: &Path) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        let mut net = Self {
            dir: dir.to_owned(),
            children: Vec::new(),
            knot: free_port()?,
            unbound: free_port()?,
            doh: free_port()?,
            relay: String::new(),
            plc: String::new(),
            pds: String::new(),
            accounts: Value::Null,
            snac: free_port()?,
            snac_password: String::new(),
            snac_token: String::new(),
            fedify: free_port()?,
            gist: free_port()?,
            pages: free_port()?,
        };
        // The slow one first, so that it starts while the others do.
        let (plc, pds) = (free_port()?, free_port()?);
        let mut arguments = vec!["pds.mjs".to_owned(), plc.to_string(), pds.to_string()];
        arguments.extend(BLUESKY.map(|handle| format!("{handle}=test-password")));
        let pds = net.node("pds", &arguments)?;
        net.start_dns()?;
        net.start_snac()?;
        let port = net.fedify.to_string();
        let fedify = ["fedify.mjs".to_owned(), port, format!("https://{SECURE}"), net.path("dave")];
        let fedify = net.node("fedify", &fedify)?;
        let raw = free_port()?;
        let gist = ["gist.mjs".to_owned(), net.gist.to_string(), raw.to_string()];
        let gist = net.node("gist", &gist)?;
        let pages = ["pages.mjs".to_owned(), net.pages.to_string(), net.path("pages")];
        let pages = net.node("pages", &pages)?;
        let relay = net.spawn("relay", &mut Command::new(relay))?;
        net.relay = first_line("relay", relay)?;
        for (name, output) in [("fedify", fedify), ("gist", gist), ("pages", pages)] {
            first_line(name, output)?;
        }
        let up: Value = serde_json::from_str(&first_line("pds", pds)?)?;
        let text = |name: &str| up[name].as_str().unwrap_or_default().to_owned();
        (net.plc, net.pds) = (text("plc"), text("pds"));
        net.accounts = up["accounts"].clone();
        Ok(net)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Starts a program that ends when this process does. Its stderr goes to `<name>.log`.
    fn spawn(
        &mut self,
        name: &str,
        command: &mut Command,
    ) -> Result<BufReader<std::process::ChildStdout>> {
        let log = fs::File::create(self.dir.join(format!("{name}.log")))?;
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        wrapped.args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            wrapped.current_dir(dir);
        }
        let mut child = wrapped
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        self.children.push((name.to_owned(), child));
        Ok(BufReader::new(output))
    }

    fn node(
        &mut self,
        name: &str,
        arguments: &[String],
    ) -> Result<BufReader<std::process::ChildStdout>> {
        self.spawn(name, Command::new(setup::node()).args(arguments).current_dir(setup::services()))
    }

    fn start_dns(&mut self) -> Result<()> {
        let dir = self.dir.join("dns");
        fs::create_dir_all(dir.join("zones"))?;
        fs::create_dir_all(dir.join("run"))?;
        let here = dir.display();
        let zones = ["example.com", "bogus.example", "plain.example", "keyed.example", "test"];
        for zone in zones {
            let text = format!(
                "$ORIGIN {zone}.\n$TTL 1\n@ SOA ns1 admin 1 3600 600 86400 1\n@ NS ns1\nns1 A 127.0.0.1\n"
            );
            fs::write(dir.join(format!("zones/{zone}.zone")), text)?;
        }
        let signed = |zone: &str| {
            if zone == "example.com" || zone == "bogus.example" { "on" } else { "off" }
        };
        let mut knot = format!(
            "server:\n    rundir: {here}/run\n    listen: 127.0.0.1@{}\ndatabase:\n    storage: {here}/run\nkey:\n  - id: kez-test\n    algorithm: hmac-sha256\n    secret: {TSIG_SECRET}\nacl:\n  - id: upd\n    address: 127.0.0.1\n    action: update\n  - id: signed\n    key: kez-test\n    action: update\ntemplate:\n  - id: default\n    storage: {here}/zones\n    file: \"%s.zone\"\nzone:\n",
            self.knot
        );
        for zone in zones {
            knot.push_str(&format!(
                "  - domain: {zone}\n    dnssec-signing: {}\n    acl: {}\n    zonefile-load: difference-no-serial\n    journal-content: all\n",
                signed(zone),
                if zone == "keyed.example" { "signed" } else { "upd" },
            ));
        }
        fs::write(dir.join("knot.conf"), knot)?;
        self.spawn("knot", Command::new("knotd").arg("-c").arg(dir.join("knot.conf")))?;
        let port = self.knot.to_string();
        wait("knot", || {
            for zone in ["example.com", "bogus.example"] {
                let keys = quietly(Command::new("kdig").args([
                    "@127.0.0.1",
                    "-p",
                    &port,
                    "+short",
                    "+timeout=1",
                    "+retry=0",
                    zone,
                    "DNSKEY",
                ]));
                if !keys.is_ok_and(|k| k.contains("257")) {
                    return false;
                }
            }
            true
        })?;
        let anchor = |zone: &str| -> Result<String> {
            let mut keymgr = Command::new("keymgr");
            keymgr.arg("-c").arg(dir.join("knot.conf")).args([zone, "dnskey"]);
            let text = quietly(&mut keymgr)?;
            Ok(text.lines().next().unwrap_or_default().to_owned())
        };
        let good = anchor("example.com.")?;
        // The resolver is told another zone's key for this one, so that it never validates.
        let bad = good.replace("example.com.", "bogus.example.");
        let mut unbound = format!(
            "server:\n  directory: \"{here}/run\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"{here}/run/unbound.pid\"\n  interface: 127.0.0.1@{}\n  do-not-query-localhost: no\n  use-syslog: no\n  aggressive-nsec: no\n  local-zone: \"test.\" nodefault\n  msg-cache-size: 0\n  rrset-cache-size: 0\n  neg-cache-size: 0\n  cache-max-ttl: 0\n  cache-max-negative-ttl: 0\n  trust-anchor: \"{good}\"\n  trust-anchor: \"{bad}\"\n  module-config: \"validator iterator\"\nremote-control:\n  control-enable: no\n",
            self.unbound
        );
        for zone in zones {
            unbound.push_str(&format!(
                "stub-zone:\n  name: \"{zone}.\"\n  stub-addr: 127.0.0.1@{}\n",
                self.knot
            ));
        }
        // There is no root here: other names fail at once.
        unbound.push_str(&format!(
            "forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{}\n",
            self.knot
        ));
        fs::write(dir.join("unbound.conf"), unbound)?;
        self.spawn(
            "unbound",
            Command::new("unbound").arg("-d").arg("-c").arg(dir.join("unbound.conf")),
        )?;
        let dnsdist = format!(
            "setSecurityPollSuffix('')\nsetLocal('127.0.0.1:{}')\nsetACL({{'127.0.0.0/8'}})\nnewServer({{address='127.0.0.1:{}', checkName='example.com.', checkType='SOA'}}):setUp()\naddDOHLocal('127.0.0.1:{}',nil,nil,{{'/dns-query'}},{{customResponseHeaders={{['access-control-allow-origin']='*'}}}})\n",
            free_port()?,
            self.unbound,
            self.doh
        );
        fs::write(dir.join("dnsdist.conf"), dnsdist)?;
        let mut dnsdist = Command::new("dnsdist");
        dnsdist.args(["--supervised", "--disable-syslog", "-C"]).arg(dir.join("dnsdist.conf"));
        self.spawn("dnsdist", &mut dnsdist)?;
        let ports = [self.unbound, self.doh];
        wait("unbound and dnsdist", || {
            ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        })
    }

    fn start_snac(&mut self) -> Result<()> {
        let snac = setup::snac()?;
        let data = self.dir.join("snac");
        let answers = format!("127.0.0.1\n{}\n{SOCIAL}\n\n\n", self.snac);
        setup::fed(Command::new(&snac).arg("init").arg(&data), &answers)?;
        let output = Command::new(&snac)
            .arg("adduser")
            .arg(&data)
            .arg("jason")
            .stdin(Stdio::null())
            .output()?;
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let password = output
            .lines()
            .find_map(|l| l.strip_prefix("User password is "))
            .ok_or("snac gave no password")?
            .trim()
            .to_owned();
        self.spawn("snac", Command::new(&snac).arg("httpd").arg(&data))?;
        let port = self.snac;
        wait("snac", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        self.snac_password = password;
        // The OAuth road of the Mastodon API, as an app would take it.
        let base = format!("http://127.0.0.1:{}", self.snac);
        let redirect = "urn:ietf:wg:oauth:2.0:oob";
        let mut app = ureq::post(format!("{base}/api/v1/apps")).send_form([
            ("client_name", "kez"),
            ("redirect_uris", redirect),
            ("scopes", "read write"),
        ])?;
        let app: Value = app.body_mut().read_json()?;
        let field = |name: &str| app[name].as_str().unwrap_or_default().to_owned();
        let (client, secret) = (field("client_id"), field("client_secret"));
        let code = self.allow(&client)?;
        let mut token = ureq::post(format!("{base}/oauth/token")).send_form([
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_id", &client),
            ("client_secret", &secret),
            ("redirect_uri", redirect),
        ])?;
        let token: Value = token.body_mut().read_json()?;
        self.snac_token = token["access_token"].as_str().ok_or("snac gave no token")?.to_owned();
        Ok(())
    }

    /// Stops the process of a server: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// There is no server of that name.
    pub fn pause(&self, server: &str) -> Result<Paused> {
        let found = self.children.iter().find(|(name, _)| name == server);
        let (_, child) = found.ok_or_else(|| format!("no server {server}"))?;
        signal("-STOP", child.id())?;
        Ok(Paused { id: child.id() })
    }

    /// The configuration of a `kez` that knows only these servers.
    #[must_use]
    pub fn config(&self) -> String {
        format!(
            "danger_allow_loopback = true\ndns = [\"http://127.0.0.1:{}/dns-query\"]\nrelays = [\"{}\"]\ngithub = \"http://127.0.0.1:{}\"\nplc = \"{}\"\nbluesky = \"{}\"\n\n[hosts]\n\"{SOCIAL}\" = \"http://127.0.0.1:{}\"\n\"{SECURE}\" = \"http://127.0.0.1:{}\"\n\"alice.test\" = \"{}\"\n\"example.com\" = \"http://127.0.0.1:{}\"\n\"openpgpkey.example.com\" = \"http://127.0.0.1:{}\"\n\"keys.openpgp.org\" = \"http://127.0.0.1:{}\"\n\"github.com\" = \"http://127.0.0.1:{}\"\n",
            self.doh,
            self.relay,
            self.gist,
            self.plc,
            self.pds,
            self.snac,
            self.fedify,
            self.pds,
            self.pages,
            self.pages,
            self.pages,
            self.gist
        )
    }

    /// The same for pages: the `config.json` of the web app.
    #[must_use]
    pub fn web_config(&self) -> Value {
        json!({ "verify": {
            "dangerAllowLoopback": true,
            "dns": [format!("http://127.0.0.1:{}/dns-query", self.doh)],
            "relays": [self.relay],
            "github": format!("http://127.0.0.1:{}", self.gist),
            "plc": self.plc,
            "bluesky": self.pds,
        }})
    }

    /// Which of these servers stands in the place of which public host, by its base URL.
    #[must_use]
    pub fn routes(&self) -> Vec<(String, String)> {
        let port = |port: u16| format!("http://127.0.0.1:{port}");
        let mut routes = vec![
            ("api.github.com".to_owned(), port(self.gist)),
            ("cloudflare-dns.com".to_owned(), port(self.doh)),
            ("plc.directory".to_owned(), self.plc.clone()),
            ("public.api.bsky.app".to_owned(), self.pds.clone()),
            (SOCIAL.to_owned(), port(self.snac)),
            ("example.com".to_owned(), port(self.pages)),
        ];
        for relay in kez_core::Endpoints::default().relays {
            let host = relay.trim_start_matches("wss://").to_owned();
            routes.push((host, self.relay.replace("ws://", "http://")));
        }
        routes
    }

    /// The validating resolver, for plain DNS.
    #[must_use]
    pub fn resolver(&self) -> String {
        format!("127.0.0.1:{}", self.unbound)
    }

    /// The name server that takes updates.
    #[must_use]
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.knot)
    }

    /// The relay's URL.
    #[must_use]
    pub fn relay(&self) -> &str {
        &self.relay
    }

    /// The `.well-known` directory of example.com.
    #[must_use]
    pub fn well_known(&self) -> PathBuf {
        self.dir.join("pages/.well-known")
    }

    /// Puts a file at example.com, and at the hosts where OpenPGP keys are asked for.
    ///
    /// # Errors
    /// Those of the system.
    pub fn page(&self, path: &str, body: &[u8]) -> Result<()> {
        let file = self.dir.join("pages").join(path);
        fs::create_dir_all(file.parent().ok_or("no directory")?)?;
        Ok(fs::write(file, body)?)
    }

    /// Sets what `dave` of [`SECURE`] shows (`profile`), or has posted under a number.
    ///
    /// # Errors
    /// Those of the system.
    pub fn dave(&self, name: &str, html: &str) -> Result<()> {
        fs::create_dir_all(self.dir.join("dave"))?;
        Ok(fs::write(self.dir.join(format!("dave/{name}.html")), html)?)
    }

    /// Keyoxide profiles with these claims, as their makers write them; see `foreign.mjs`.
    ///
    /// # Errors
    /// What the program says.
    pub fn keyoxide(&self, claims: &[&str]) -> Result<Value> {
        let mut node = Command::new(setup::node());
        node.arg("foreign.mjs").current_dir(setup::services());
        let wish = json!({ "name": "Alice", "claims": claims });
        Ok(serde_json::from_str(&setup::fed(&mut node, &wish.to_string())?)?)
    }

    /// Replaces the TXT records of a name by a real dynamic update (RFC 2136). Each value is one
    /// or several character-strings as they stand in a zone file.
    ///
    /// # Errors
    /// What the name server says.
    pub fn set_txt(&self, zone: &str, name: &str, values: &[&str]) -> Result<()> {
        let mut script = format!("server 127.0.0.1 {}\nzone {zone}.\ndel {name}. TXT\n", self.knot);
        for value in values {
            script.push_str(&format!("add {name}. 1 TXT {value}\n"));
        }
        script.push_str("send\n");
        let file = self.dir.join("update.txt");
        fs::write(&file, script)?;
        quietly(Command::new("knsupdate").arg(&file)).map(drop)
    }

    /// Puts the strings of a zone-file line, as `kez claim create --format dns` prints it, at
    /// `_kez` of a zone.
    ///
    /// # Errors
    /// What the name server says.
    pub fn load_zone_line(&self, zone: &str, line: &str) -> Result<()> {
        let strings = line.trim().split_once(" TXT ").ok_or("not a TXT line")?.1;
        self.set_txt(zone, &format!("_kez.{zone}"), &[strings])
    }

    /// Tells the gist emulator something; see its source for the operations.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn gist(&self, message: &Value) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/control", self.gist);
        Ok(ureq::post(url).send_json(message)?.body_mut().read_json()?)
    }

    /// A Bluesky account's DID.
    #[must_use]
    pub fn did(&self, handle: &str) -> &str {
        self.accounts[handle]["did"].as_str().unwrap_or_default()
    }

    fn repo(&self, handle: &str, procedure: &str, body: &Value) -> Result<()> {
        let token = self.accounts[handle]["token"].as_str().unwrap_or_default();
        ureq::post(format!("{}/xrpc/com.atproto.repo.{procedure}", self.pds))
            .header("authorization", format!("Bearer {token}"))
            .send_json(body)?;
        Ok(())
    }

    /// Writes a proof record, or removes it.
    ///
    /// # Errors
    /// What the PDS says.
    pub fn set_bluesky(&self, handle: &str, proof: Option<&str>) -> Result<()> {
        let mut body =
            json!({ "repo": self.did(handle), "collection": "org.kez.proof", "rkey": "self" });
        match proof {
            None => self.repo(handle, "deleteRecord", &body),
            Some(proof) => {
                body["record"] = json!({ "$type": "org.kez.proof", "proof": proof });
                self.repo(handle, "putRecord", &body)
            }
        }
    }

    /// The proof record of an account.
    ///
    /// # Errors
    /// What the PDS says.
    pub fn bluesky(&self, handle: &str) -> Result<String> {
        let url = format!(
            "{}/xrpc/com.atproto.repo.getRecord?repo={}&collection=org.kez.proof&rkey=self",
            self.pds,
            self.did(handle)
        );
        let record: Value = ureq::get(url).call()?.body_mut().read_json()?;
        Ok(record["value"]["proof"].as_str().unwrap_or_default().to_owned())
    }

    /// Sets an account's profile description.
    ///
    /// # Errors
    /// What the PDS says.
    pub fn set_bluesky_profile(&self, handle: &str, text: &str) -> Result<()> {
        let record = json!({ "$type": "app.bsky.actor.profile", "description": text });
        let body = json!({
            "repo": self.did(handle), "collection": "app.bsky.actor.profile", "rkey": "self", "record": record,
        });
        self.repo(handle, "putRecord", &body)
    }

    /// Takes an app password back.
    ///
    /// # Errors
    /// What the PDS says.
    pub fn revoke_app_password(&self, handle: &str, name: &str) -> Result<()> {
        let token = self.accounts[handle]["token"].as_str().unwrap_or_default();
        ureq::post(format!("{}/xrpc/com.atproto.server.revokeAppPassword", self.pds))
            .header("authorization", format!("Bearer {token}"))
            .send_json(json!({ "name": name }))?;
        Ok(())
    }

    /// The emulator of GitHub's API.
    #[must_use]
    pub fn github(&self) -> String {
        format!("http://127.0.0.1:{}", self.gist)
    }

    /// Sets the one profile field of the fediverse user.
    ///
    /// # Errors
    /// What the server says.
    pub fn set_field(&self, value: &str) -> Result<()> {
        self.set_fields(&[("KEZ", value)])
    }

    /// Sets the profile fields of the fediverse user.
    ///
    /// # Errors
    /// What the server says.
    pub fn set_fields(&self, fields: &[(&str, &str)]) -> Result<()> {
        let mut form = vec![("note".to_owned(), "a test user")];
        for (n, (name, value)) in fields.iter().enumerate() {
            form.push((format!("fields_attributes[{n}][name]"), name));
            form.push((format!("fields_attributes[{n}][value]"), value));
        }
        let boundary = "kez-test-boundary";
        let mut body = String::new();
        for (name, text) in form {
            body.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"
            ));
        }
        body.push_str(&format!("--{boundary}--\r\n"));
        ureq::patch(format!("http://127.0.0.1:{}/api/v1/accounts/update_credentials", self.snac))
            .header("authorization", format!("Bearer {}", self.snac_token))
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .send(body)?;
        Ok(())
    }

    /// Allows an app at the fediverse server, as its user would on the server's page. Gives the code
    /// that the user is shown.
    ///
    /// # Errors
    /// What the server says.
    pub fn allow(&self, client: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/oauth/x-snac-login", self.snac);
        let mut login = ureq::post(url).send_form([
            ("login", "jason"),
            ("passwd", &self.snac_password),
            ("cid", client),
            ("redir", "urn:ietf:wg:oauth:2.0:oob"),
            ("state", "s"),
        ])?;
        let code = login.body_mut().read_to_string()?;
        Ok(code.split('&').next().unwrap_or_default().to_owned())
    }

    /// A token of the fediverse user that may read and write.
    #[must_use]
    pub fn fediverse_token(&self) -> &str {
        &self.snac_token
    }

    /// The profile fields of the fediverse user, as anybody sees them: names and values.
    ///
    /// # Errors
    /// What the server says.
    pub fn fields(&self) -> Result<Vec<(String, String)>> {
        let base = format!("http://127.0.0.1:{}", self.snac);
        let url = format!("{base}/api/v1/accounts/verify_credentials");
        let authorization = format!("Bearer {}", self.snac_token);
        let mut answer = ureq::get(url).header("authorization", authorization).call()?;
        let account: Value = answer.body_mut().read_json()?;
        let text = |field: &Value, name: &str| field[name].as_str().unwrap_or_default().to_owned();
        let fields = account["source"]["fields"].as_array().cloned().unwrap_or_default();
        Ok(fields.iter().map(|f| (text(f, "name"), text(f, "value"))).collect())
    }

    /// A new app password of a Bluesky account.
    ///
    /// # Errors
    /// What the PDS says.
    pub fn app_password(&self, handle: &str, name: &str) -> Result<String> {
        let token = self.accounts[handle]["token"].as_str().unwrap_or_default();
        let url = format!("{}/xrpc/com.atproto.server.createAppPassword", self.pds);
        let mut answer = ureq::post(url)
            .header("authorization", format!("Bearer {token}"))
            .send_json(json!({ "name": name }))?;
        let made: Value = answer.body_mut().read_json()?;
        Ok(made["password"].as_str().ok_or("no password")?.to_owned())
    }

    /// What the server of that name has logged.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default()
    }
}

/// A server that does not run until this is dropped.
pub struct Paused {
    id: u32,
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = signal("-CONT", self.id);
    }
}

fn signal(name: &str, id: u32) -> Result<()> {
    quietly(Command::new("kill").args([name, &id.to_string()])).map(drop)
}

impl Drop for Testnet {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn first_line(name: &str, mut output: BufReader<std::process::ChildStdout>) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim().is_empty() {
        return Err(format!("{name} did not come up; see its log").into());
    }
    // Whatever it prints later must not block it.
    std::thread::spawn(move || {
        for line in output.lines() {
            if line.is_err() {
                break;
            }
        }
    });
    Ok(line.trim().to_owned())
}

fn wait(name: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if ready() {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    Err(format!("{name} did not come up in 30 s").into())
}
