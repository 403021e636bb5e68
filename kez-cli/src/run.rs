//! Parse, dispatch, exit code.

use crate::{
    args::{Cli, Command, Global, VerifyCommand},
    auth,
    cache::{CachePolicy, Cached},
    chat, claim, clock,
    config::Config,
    doctor,
    home::{Home, storage},
    host::{Access, Host, Net, Settings, Stream},
    import, key,
    keystore::Keystore,
    output::Out,
    publish, sigchain, verify,
};
use clap::{CommandFactory as _, Parser as _};
use kez_core::{Code, Error, Identity, Progress, Result, SecretKey, Timestamp, Verifier};
use std::{
    io::{self, Read},
    path::Path,
};
use zeroize::Zeroizing;

/// Runs the command with its arguments, the program's name first, on a host, and with the network
/// that `connect` makes. Gives the exit code, which follows the verdict.
pub async fn run<N: Net>(
    arguments: impl IntoIterator<Item = String>,
    host: &dyn Host,
    connect: impl FnOnce(Settings) -> N,
) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let stream = if error.use_stderr() { Stream::Err } else { Stream::Out };
            let text = error.render();
            let text = if host.is_terminal(stream) && host.env("NO_COLOR").is_none() {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            host.print(stream, &text);
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    let out = Out::new(host, cli.global.json, cli.global.no_color);
    match dispatch(cli, host, &out, connect).await {
        Ok(code) => code,
        Err(error) => out.failure(&error),
    }
}

async fn dispatch<N: Net>(
    cli: Cli,
    host: &dyn Host,
    out: &Out<'_>,
    connect: impl FnOnce(Settings) -> N,
) -> Result<u8> {
    match cli.command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kez", &mut text);
            host.print(Stream::Out, &String::from_utf8_lossy(&text));
            return Ok(0);
        }
        Command::Man { dir } => return man(host, dir.as_deref()),
        Command::Explain { code } => return explain(out, code.as_deref()),
        _ => {}
    }
    let home = Home::find(host)?;
    home.recover()?;
    let config = Config::load(&home, cli.global.danger_allow_loopback)?;
    if config.danger_allow_loopback {
        out.hint("kez: warning: plain http and servers on this machine are allowed (tests only)");
    }
    let mut global = cli.global;
    // A file is judged offline; the caches of chains still serve.
    global.offline |= matches!(cli.command, Command::Verify(VerifyCommand::File { .. }));
    let policy = CachePolicy { max_age: global.max_age, offline: global.offline };
    let context = Context {
        host,
        home: &home,
        net: Cached::new(connect(config.settings()), &home, policy)
            .with_clocks(clock::trusted(&config.endpoints()?)),
        now: global.at.unwrap_or_else(|| host.now()),
        config,
        global,
    };
    match cli.command {
        Command::Key(command) => key::run(&context, out, command),
        Command::Claim(command) => claim::run(&context, out, command).await,
        Command::Verify(command) => verify::run(&context, out, command).await,
        Command::Id { identity, limit } => verify::id(&context, out, &identity, limit).await,
        Command::Graph { identity, format, limit, out: file } => {
            verify::graph(&context, out, &identity, limit, format, file.as_deref()).await
        }
        Command::Sigchain(command) => sigchain::run(&context, out, command).await,
        Command::Publish(wish) => publish::run(&context, out, wish).await,
        Command::Auth(command) => auth::run(&context, out, command).await,
        Command::Import(args) => import::run(&context, out, args).await,
        Command::Doctor(args) => doctor::run(&context, out, args).await,
        Command::Watch(args) => doctor::watch(&context, out, args).await,
        Command::Chat(command) => chat::run(&context, out, command).await,
        Command::Completions { .. } | Command::Man { .. } | Command::Explain { .. } => Ok(0),
    }
}

/// What every command needs.
pub(crate) struct Context<'a, N> {
    pub(crate) host: &'a dyn Host,
    pub(crate) home: &'a Home<'a>,
    pub(crate) net: Cached<'a, N>,
    pub(crate) config: Config,
    pub(crate) global: Global,
    pub(crate) now: Timestamp,
}

impl<'a, N: Net> Context<'a, N> {
    pub(crate) fn keys(&self) -> Keystore<'a> {
        Keystore::of(self.home)
    }

    pub(crate) fn verifier<'b>(
        &'b self,
        progress: &'b dyn Fn(Progress<'_>),
    ) -> Result<Verifier<'b, Cached<'a, N>, Home<'a>>> {
        self.verifier_over(&self.net, progress)
    }

    /// A verifier that asks everybody anew, whatever the cache has.
    pub(crate) fn fresh_verifier<'b>(
        &'b self,
        progress: &'b dyn Fn(Progress<'_>),
    ) -> Result<Verifier<'b, N, Home<'a>>> {
        self.verifier_over(&self.net.net, progress)
    }

    fn verifier_over<'b, T>(
        &'b self,
        transport: &'b T,
        progress: &'b dyn Fn(Progress<'_>),
    ) -> Result<Verifier<'b, T, Home<'a>>> {
        let mut sources = Vec::new();
        let mut bundles = Vec::new();
        for source in &self.global.source {
            if source.contains("://") {
                sources.push(source.clone());
            } else {
                bundles.push(self.read_input(Path::new(source), kez_core::chain::MAX_BUNDLE)?);
            }
        }
        Ok(Verifier {
            transport,
            memory: self.home,
            endpoints: self.config.endpoints()?,
            sources,
            bundles,
            now: self.now,
            clock: self.host.now(),
            progress,
            budget: None,
        })
    }

    /// Reads a file, or stdin for `-`, up to a limit.
    pub(crate) fn read_input(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        if path != Path::new("-") {
            return self.home.read(path, limit);
        }
        let mut bytes = Vec::new();
        let mut stdin = self.stdin().take(limit as u64 + 1);
        stdin.read_to_end(&mut bytes).map_err(storage(path))?;
        if bytes.len() > limit {
            return Err(Error::about(Code::TooLarge, format!("more than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Standard input.
    pub(crate) const fn stdin(&self) -> Stdin<'a> {
        Stdin(self.host)
    }

    /// Asks for a secret on the terminal.
    pub(crate) fn ask(&self, prompt: &str, code: Code) -> Result<Zeroizing<String>> {
        self.host.ask_secret(prompt).map_err(|e| Error::about(code, e.kind()))
    }

    /// The passphrase of a stored key: from the file that was named, or from the terminal.
    pub(crate) fn passphrase(&self, prompt: &str) -> Result<Zeroizing<String>> {
        if let Some(path) = &self.global.passphrase_file {
            let bytes = Zeroizing::new(self.read_input(path, 4096)?);
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| Error::about(Code::PassphraseNeeded, "the file is not text"))?;
            let text = text.strip_suffix('\n').unwrap_or(text);
            return Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()));
        }
        if !self.host.is_terminal(Stream::In) {
            return Err(Code::PassphraseNeeded.into());
        }
        self.ask(prompt, Code::PassphraseNeeded)
    }

    /// A new passphrase, typed twice on a terminal.
    pub(crate) fn new_passphrase(&self) -> Result<Zeroizing<String>> {
        let first = self.passphrase("New passphrase: ")?;
        if first.is_empty() {
            return Err(Error::about(Code::PassphraseNeeded, "it is empty"));
        }
        if self.global.passphrase_file.is_none() && *first != *self.passphrase("Once more: ")? {
            return Err(Error::about(Code::PassphraseWrong, "the two are not the same"));
        }
        Ok(first)
    }

    /// Opens the stored key of an identity.
    pub(crate) fn open_key_of(&self, identity: &Identity) -> Result<SecretKey> {
        let entry = self.keys().list()?.into_iter().find(|entry| entry.identity == *identity);
        let entry = entry.ok_or_else(|| Error::about(Code::KeyNotFound, identity))?;
        self.open(&entry.name)
    }

    /// Opens a stored key, asking for its passphrase if it has one.
    pub(crate) fn open(&self, name: &str) -> Result<SecretKey> {
        self.keys().open(name, || self.passphrase(&format!("Passphrase of key {name}: ")))
    }
}

/// Standard input as a reader.
pub(crate) struct Stdin<'a>(&'a dyn Host);

impl Read for Stdin<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_stdin(buffer)
    }
}

/// The manual page, or the pages of all commands in a directory.
fn man(host: &dyn Host, dir: Option<&Path>) -> Result<u8> {
    fn pages(command: &clap::Command, write: &dyn Fn(&str, &[u8]) -> Result<()>) -> Result<()> {
        let page = clap_mangen::Man::new(command.clone());
        let mut text = Vec::new();
        let name = page.get_filename();
        page.render(&mut text).map_err(storage(Path::new(&name)))?;
        write(&name, &text)?;
        command.get_subcommands().filter(|c| !c.is_hide_set()).try_for_each(|c| pages(c, write))
    }
    let mut command = Cli::command();
    let Some(dir) = dir else {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(command);
        page.render(&mut text).map_err(storage(Path::new("stdout")))?;
        host.print(Stream::Out, &String::from_utf8_lossy(&text));
        return Ok(0);
    };
    command.build();
    pages(&command, &|name, text| {
        let path = dir.join(name);
        host.write(&path, text, Access::Public, true).map_err(storage(&path))
    })?;
    Ok(0)
}

fn explain(out: &Out<'_>, code: Option<&str>) -> Result<u8> {
    let one = |code: Code| {
        serde_json::json!({
            "schema": "kez.code/1",
            "code": code.as_str(),
            "kind": code.kind().as_str(),
            "status": code.status().as_str(),
            "summary": code.summary(),
            "remedy": code.remedy(),
        })
    };
    match code {
        Some(name) => {
            let code = Code::from_name(name)
                .ok_or_else(|| Error::about(Code::Usage, format!("there is no code {name}")))?;
            let text = format!(
                "{code} ({}; a verification ends as {})\n{}\n{}",
                code.kind().as_str(),
                code.status().as_str(),
                code.summary(),
                code.remedy()
            );
            out.result(&one(code), &text);
        }
        None => {
            for code in Code::ALL {
                out.result(&one(*code), &format!("{:<20} {}", code.as_str(), code.summary()));
            }
        }
    }
    Ok(0)
}
