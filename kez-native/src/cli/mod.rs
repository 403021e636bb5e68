//! Parse, dispatch, exit code. One file a command.

mod args;
mod claim;
mod graph;
mod key;
mod output;
mod sigchain;
mod verify;

use args::{Cli, Command, Global};
use clap::{CommandFactory as _, Parser as _};
use kez_core::{Code, Error, Progress, Result, SecretKey, Timestamp, Verifier};
use kez_native::{
    config::Config,
    home::{Home, storage},
    keystore::Keystore,
    transport::{CachePolicy, Native},
};
use output::Out;
use std::{
    fs,
    io::{IsTerminal as _, Read as _},
    path::Path,
    process::ExitCode,
};
use zeroize::Zeroizing;

/// Runs the command. The exit code follows the verdict.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.global.json, cli.global.no_color);
    let code = match dispatch(cli, &out) {
        Ok(code) => code,
        Err(error) => out.failure(&error),
    };
    ExitCode::from(code)
}

fn dispatch(cli: Cli, out: &Out) -> Result<u8> {
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kez", &mut std::io::stdout());
            return Ok(0);
        }
        Command::Man { dir: Some(dir) } => {
            clap_mangen::generate_to(Cli::command(), &dir).map_err(storage(&dir))?;
            return Ok(0);
        }
        Command::Man { dir: None } => {
            let page = clap_mangen::Man::new(Cli::command());
            page.render(&mut std::io::stdout()).map_err(storage(Path::new("stdout")))?;
            return Ok(0);
        }
        Command::Explain { code } => return explain(out, code.as_deref()),
        _ => {}
    }
    let mut context = Context::new(cli.global)?;
    match cli.command {
        Command::Key(command) => key::run(&context, out, command),
        Command::Claim(command) => context.block_on(claim::run(&context, out, command))?,
        Command::Verify(command) => {
            if matches!(command, args::VerifyCommand::File { .. }) {
                // A file is judged offline; the caches of chains still serve.
                context.global.offline = true;
            }
            context.block_on(verify::run(&context, out, command))?
        }
        Command::Id { identity } => context.block_on(verify::id(&context, out, &identity))?,
        Command::Graph { identity, format, out: file } => {
            context.block_on(verify::graph(&context, out, &identity, format, file.as_deref()))?
        }
        Command::Sigchain(command) => context.block_on(sigchain::run(&context, out, command))?,
        Command::Completions { .. } | Command::Man { .. } | Command::Explain { .. } => Ok(0),
    }
}

/// What every command needs.
pub(crate) struct Context {
    pub(crate) home: Home,
    pub(crate) config: Config,
    pub(crate) global: Global,
    pub(crate) now: Timestamp,
}

impl Context {
    fn new(global: Global) -> Result<Self> {
        let home = Home::find()?;
        let config = Config::load(&home, global.danger_allow_loopback)?;
        if config.danger_allow_loopback {
            output::hint(
                "kez: warning: plain http and servers on this machine are allowed (tests only)",
            );
        }
        let now = global.at.unwrap_or_else(kez_native::now);
        Ok(Self { home, config, global, now })
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(storage(Path::new("the async runtime")))?;
        Ok(runtime.block_on(work))
    }

    pub(crate) fn keys(&self) -> Keystore {
        Keystore::of(&self.home)
    }

    /// The transport, by the user's cache options.
    pub(crate) fn transport(&self) -> Native {
        let policy = CachePolicy { max_age: self.global.max_age, offline: self.global.offline };
        Native::new(&self.home, self.config.clone(), policy)
    }

    pub(crate) fn verifier<'a>(
        &'a self,
        net: &'a Native,
        progress: &'a dyn Fn(Progress<'_>),
    ) -> Result<Verifier<'a, Native, Home>> {
        let mut sources = Vec::new();
        let mut bundles = Vec::new();
        for source in &self.global.source {
            if source.contains("://") {
                sources.push(source.clone());
            } else {
                bundles.push(read_input(Path::new(source), kez_core::chain::MAX_BUNDLE)?);
            }
        }
        Ok(Verifier {
            transport: net,
            memory: &self.home,
            endpoints: self.config.endpoints(),
            sources,
            bundles,
            now: self.now,
            clock: kez_native::now(),
            progress,
        })
    }

    /// The passphrase of a stored key: from the file that was named, or from the terminal.
    pub(crate) fn passphrase(&self, prompt: &str) -> Result<Zeroizing<String>> {
        if let Some(path) = &self.global.passphrase_file {
            let bytes = Zeroizing::new(read_input(path, 4096)?);
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| Error::about(Code::PassphraseNeeded, "the file is not text"))?;
            let text = text.strip_suffix('\n').unwrap_or(text);
            return Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Code::PassphraseNeeded.into());
        }
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|e| Error::about(Code::PassphraseNeeded, e))
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

    /// Opens a stored key, asking for its passphrase if it has one.
    pub(crate) fn open(&self, name: &str) -> Result<SecretKey> {
        self.keys().open(name, || self.passphrase(&format!("Passphrase of key {name}: ")))
    }
}

/// Reads a file, or stdin for `-`, up to a limit.
pub(crate) fn read_input(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let cap = limit as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(cap).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(cap).read_to_end(&mut bytes))
    };
    read.map_err(storage(path))?;
    if bytes.len() > limit {
        return Err(Error::about(Code::TooLarge, format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

fn explain(out: &Out, code: Option<&str>) -> Result<u8> {
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

/// A live log of the verification on stderr, if somebody is watching.
pub(crate) fn progress(event: Progress<'_>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    match event {
        // Offline nothing is asked, so there is nothing to tell.
        Progress::Answered(_, Some(Code::Offline)) => {}
        Progress::Answered(request, code) => {
            let what = code.map_or("ok", Code::as_str);
            output::hint(&format!("  {} … {what}", request.place()));
        }
        Progress::Judged(report) => {
            output::hint(&format!("  {} … {}", report.subject, report.status.as_str()));
        }
        _ => {}
    }
}
