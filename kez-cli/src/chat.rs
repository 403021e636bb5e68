//! `kez chat`.

mod moving;

use crate::{
    args::{ChatCommand, Own, WithAccount},
    claim,
    home::{Lock, storage},
    host::{Access, Events as _, Net},
    output::{Out, clean, indented},
    run::Context,
    sigchain,
    transaction::Transaction,
};
use kez_core::{
    Chain, Code, Error, History, Identity, Op, Result, Scheme, SecretKey,
    chat::{
        CAPABILITY, Handle, HandleRecord, Kind, MAX_TEXT, SignedHandle,
        client::{Client, Entry, EntryKind, Overview, Platform, State},
    },
    transport::{Body, Call, Failure},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest record that is read, in bytes.
const MAX_RECORD: usize = 64 * 1024 * 1024;
/// The file beside an account's records that the command which uses the account locks.
const LOCK: &str = "lock";

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: ChatCommand,
) -> Result<u8> {
    match command {
        ChatCommand::Register { handle, server, device, not_after, key, no_passphrase, own } => {
            let new = Registration { handle, server, device, not_after, no_passphrase };
            register(context, out, new, key.as_deref(), &own).await?;
        }
        ChatCommand::Devices { handle, account } => {
            devices(context, out, handle.as_ref(), &account).await?;
        }
        ChatCommand::Send { to, text, account } => {
            let text = match text {
                Some(text) => text,
                None => {
                    // A line feed at the end is not part of the text.
                    let bytes = context.read_input(Path::new("-"), MAX_TEXT + 1)?;
                    let text = String::from_utf8(bytes);
                    let text = text.map_err(|_| Error::about(Code::TextRefused, "not UTF-8"))?;
                    text.trim_end_matches('\n').to_owned()
                }
            };
            let account = Account::choose(context, &account)?;
            let mut seat = account.sit().await?;
            let conversation = seat.find(&to, true).await?;
            let id = seat.client.send(&conversation, &text).await?;
            let (kind, name) = seat.title(&conversation).await?;
            let value = serde_json::json!({
                "schema": "kez.chat.sent/1",
                "conversation": conversation,
                "kind": kind,
                "to": name,
                "id": id.to_string(),
            });
            let group = if kind == "group" { "the group " } else { "" };
            out.result(&value, &format!("sent to {group}{}: {id}", clean(&name)));
        }
        ChatCommand::Listen { once, account } => {
            let account = Account::choose(context, &account)?;
            listen(&account, out, once).await?;
        }
        ChatCommand::List { account } => {
            let account = Account::choose(context, &account)?;
            let seat = account.sit().await?;
            for overview in seat.client.conversations().await? {
                seat.show_conversation(out, &overview).await?;
            }
        }
        ChatCommand::History { with, last, account } => {
            let account = Account::choose(context, &account)?;
            let mut seat = account.sit().await?;
            let conversation = seat.find(&with, false).await?;
            let all = seat.client.conversations().await?;
            let count = all.iter().find(|c| c.id == conversation).map_or(0, |c| c.entries);
            let from = last.map_or(0, |last| count.saturating_sub(last));
            let entries = seat.client.entries(&conversation, from, usize::MAX).await?;
            for entry in &entries {
                seat.show(out, &conversation, entry).await?;
            }
            seat.client.shown(&conversation, count).await?;
        }
        ChatCommand::Verify { handle, number, forget, account } => {
            let account = Account::choose(context, &account)?;
            let seat = account.sit().await?;
            if let Some(number) = &number {
                seat.client.verify(&handle, number).await?;
            } else if forget {
                seat.client.unverify(&handle).await?;
            }
            let (shown, verified) = seat.client.safety_number(&handle).await?;
            let contact = seat.client.resolve(&handle).await?;
            let value = serde_json::json!({
                "schema": "kez.chat.safety/1",
                "handle": handle.as_str(),
                "primary": contact.primary,
                "number": shown,
                "verified": verified,
            });
            let text = format!("{handle} is {}\n{shown}", contact.primary);
            out.result(&value, &text);
            out.hint(if verified {
                "kez: verified: their devices are those that you compared"
            } else {
                "kez: compare it with theirs, by voice or side by side; then `--number` with theirs"
            });
        }
        ChatCommand::Group { name, handles, account } => {
            let account = Account::choose(context, &account)?;
            let mut seat = account.sit().await?;
            let conversation = seat.client.create_group(&name, &handles).await?;
            let value =
                serde_json::json!({ "schema": "kez.chat.group/1", "conversation": conversation });
            out.result(&value, &conversation);
        }
        ChatCommand::Add { group, handle, account } => {
            let account = Account::choose(context, &account)?;
            let mut seat = account.sit().await?;
            let conversation = seat.find(&group, false).await?;
            seat.client.add(&conversation, &handle).await?;
            out.hint(&format!("kez: {handle} is in the group"));
        }
        ChatCommand::Leave { group, account } => {
            let account = Account::choose(context, &account)?;
            let mut seat = account.sit().await?;
            let conversation = seat.find(&group, false).await?;
            seat.client.leave(&conversation).await?;
            out.hint("kez: you are out of the group");
        }
        ChatCommand::Remove { group, handle, account } => {
            let account = Account::choose(context, &account)?;
            let mut seat = account.sit().await?;
            let conversation = seat.find(&group, false).await?;
            seat.client.remove(&conversation, &handle).await?;
            out.hint(&format!("kez: {handle} is out of the group"));
        }
        ChatCommand::Block { handle: Some(handle), account } => {
            Account::choose(context, &account)?.sit().await?.client.block(&handle).await?;
            out.hint(&format!("kez: {handle} no longer reaches your inbox"));
        }
        ChatCommand::Block { handle: None, account } => {
            let seat = Account::choose(context, &account)?;
            let blocked = seat.sit().await?.client.blocked().await?;
            let value = serde_json::json!({ "schema": "kez.chat.blocked/1", "blocked": blocked });
            out.result(&value, &blocked.join("\n"));
        }
        ChatCommand::Unblock { handle, account } => {
            Account::choose(context, &account)?.sit().await?.client.unblock(&handle).await?;
            out.hint(&format!("kez: {handle} reaches your inbox again"));
        }
        ChatCommand::Export { file, account } => {
            moving::export(context, out, &file, &account).await?;
        }
        ChatCommand::Import { file, device, no_passphrase } => {
            moving::import(context, out, &file, &device, no_passphrase).await?;
        }
    }
    Ok(0)
}

/// What is known of an account without its key.
#[derive(Clone, Serialize, Deserialize)]
struct Public {
    kez_chat: u8,
    handle: String,
    server: String,
    /// The name of the device's key in the key store.
    device: String,
    primary: String,
    /// The head of the chain that the server was given last.
    published: Option<String>,
}

/// An account of this machine.
struct Account<'a, N> {
    context: &'a Context<'a, N>,
    /// The file of what is known without the key.
    card: PathBuf,
    dir: PathBuf,
    /// The device's key, asked for once.
    secret: SecretKey,
}

/// `alice@chat.example`; the port belongs to the host. Files are named after it.
fn account_name(handle: &Handle, server: &str) -> Result<String> {
    let host = server.split_once("://").map_or(server, |(_, host)| host);
    let host = host.replace([':', '[', ']'], "_");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(Error::about(Code::UrlRefused, server));
    }
    Ok(format!("{handle}@{host}"))
}

impl<'a, N: Net> Account<'a, N> {
    /// The account that is meant.
    fn choose(context: &'a Context<'a, N>, named: &WithAccount) -> Result<Self> {
        let root = context.home.path("chat");
        let names = context.home.list(&root)?;
        let mut names: Vec<&str> = names.iter().filter_map(|n| n.strip_suffix(".json")).collect();
        if let Some(named) = &named.account {
            names.retain(|name| name == named);
        }
        let name = match names[..] {
            [name] => name,
            [] => {
                return Err(Error::about(Code::Usage, "register first: kez chat register"));
            }
            _ => return Err(Error::about(Code::Usage, "several accounts: name one by --account")),
        };
        let card = root.join(format!("{name}.json"));
        let secret = context.open(&read_public(context, &card)?.device)?;
        Ok(Self { context, card, dir: root.join(name), secret })
    }

    /// Takes the account up, alone: another command waits until this one is done.
    async fn sit(&self) -> Result<Seat<'_, N>> {
        let lock = lock(self.context, &self.dir)?;
        let secret = copy(&self.secret)?;
        let desk = Desk { context: self.context, dir: self.dir.clone() };
        let client = Client::open(desk, secret, self.context.host.randomness()).await?;
        let seat = Seat { client, _lock: lock };
        self.publish(&seat).await?;
        Ok(seat)
    }

    /// Gives the server the newest own chain, once.
    async fn publish(&self, seat: &Seat<'_, N>) -> Result<()> {
        let own = seat.client.device().certificate().primary();
        let chain = self.context.home.chain(own)?;
        let Some((chain, head)) = chain.and_then(|c| c.head().map(|head| (c, head))) else {
            return Ok(());
        };
        let head = head.id.to_string();
        let mut public = read_public(self.context, &self.card)?;
        if public.published.as_ref() == Some(&head) {
            return Ok(());
        }
        // A server that cannot be reached gets it another time.
        if seat.client.put_chain(&chain).await.is_ok() {
            public.published = Some(head);
            write_public(self.context, &self.card, &public)?;
        }
        Ok(())
    }
}

fn copy(secret: &SecretKey) -> Result<SecretKey> {
    SecretKey::from_bytes(secret.public().scheme(), *secret.expose_bytes())
}

fn read_public(context: &Context<'_, impl Net>, path: &Path) -> Result<Public> {
    let refused = || Error::about(Code::StateRefused, path.display());
    let public: Public =
        serde_json::from_slice(&context.home.read(path, 64 * 1024)?).map_err(|_| refused())?;
    if public.kez_chat == 1 { Ok(public) } else { Err(refused()) }
}

fn write_public(context: &Context<'_, impl Net>, path: &Path, public: &Public) -> Result<()> {
    let text = serde_json::to_vec_pretty(public).map_err(|_| Code::StateRefused)?;
    context.home.write(path, &text, Access::Private)
}

/// Takes the lock of an account's directory, until the result is dropped.
fn lock(context: &Context<'_, impl Net>, dir: &Path) -> Result<Lock> {
    context.home.lock_file(&dir.join(LOCK))
}

/// What the client gets of this machine.
struct Desk<'a, N> {
    context: &'a Context<'a, N>,
    dir: PathBuf,
}

impl<N: Net> Platform for Desk<'_, N> {
    async fn call(&self, call: Call) -> Result<(u16, Vec<u8>), Failure> {
        let answer = self.context.net.net.ask(call).await?;
        match answer.body {
            Body::Http { status, bytes, .. } => Ok((status, bytes)),
            _ => Err(Failure::new(Code::ResponseRefused, "no HTTP answer")),
        }
    }

    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.context.home.look_up(&self.dir.join(name), MAX_RECORD)
    }

    async fn save(&self, name: &str, data: Option<&[u8]>) -> Result<()> {
        let path = self.dir.join(name);
        match data {
            Some(data) => self.context.home.write(&path, data, Access::Private),
            None => match self.context.host.remove(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(storage(&path)),
            },
        }
    }

    async fn names(&self) -> Result<Vec<String>> {
        let (mut names, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            for entry in self.context.home.list(&self.dir.join(&folder))? {
                let name = if folder.is_empty() { entry } else { format!("{folder}/{entry}") };
                let path = self.dir.join(&name);
                let is_file = self.context.host.stat(&path).map_err(storage(&path))?.is_file;
                if is_file { names.push(name) } else { folders.push(name) }
            }
        }
        names.retain(|name| name != LOCK);
        Ok(names)
    }

    async fn history(&self, primary: &Identity, sources: &[String]) -> History {
        let progress = |_: kez_core::Progress<'_>| {};
        let mut verifier = match self.context.verifier(&progress) {
            Ok(verifier) => verifier,
            Err(error) => return History::Unknown(error),
        };
        verifier.sources.extend(sources.iter().cloned());
        // A damaged one counts for nothing here; whoever writes to it says so.
        let own = self.context.home.chain(primary).unwrap_or_default();
        verifier.bundles.extend(own.map(|chain| chain.to_bundle().into_bytes()));
        verifier.history(primary, &[], None).await
    }

    fn now_ms(&self) -> u64 {
        self.context.host.now_ms()
    }
}

/// An account that was taken up.
struct Seat<'a, N> {
    client: Client<Desk<'a, N>>,
    _lock: Lock,
}

impl<N: Net> Seat<'_, N> {
    /// Finds a conversation: by the handle of the other person, by the name of a group, or by the
    /// start of its id, in this order. With `begin`, one with a person is begun if there is none.
    ///
    /// Anyone can name a group as they like. So a group's name counts only where nobody has that
    /// handle, and only for groups that the user takes part in.
    async fn find(&mut self, what: &str, begin: bool) -> Result<String> {
        let all = self.client.conversations().await?;
        if all.iter().any(|c| c.id == what) {
            return Ok(what.to_owned());
        }
        let handle = what.parse::<Handle>();
        if let Ok(handle) = &handle
            && let Some(id) = self.find_person(handle, &all, begin).await?
        {
            return Ok(id);
        }
        let named = |c: &&Overview| c.about.name.as_deref() == Some(what);
        let groups: Vec<&Overview> = all.iter().filter(named).collect();
        let found: Vec<&Overview> = if groups.is_empty() {
            all.iter().filter(|c| what.len() >= 6 && c.id.starts_with(what)).collect()
        } else {
            groups.into_iter().filter(|c| !begin || c.state != State::Request).collect()
        };
        match found[..] {
            [one] => Ok(one.id.clone()),
            [] => {
                let invitation = all.iter().find(named).map(|c| {
                    format!("{what}: an invitation, not accepted yet; its id is {}", c.id)
                });
                Err(match (invitation, handle) {
                    (None, Err(error)) => error,
                    (None, Ok(handle)) if begin => Error::about(Code::HandleUnknown, handle),
                    (invitation, _) => {
                        let about = invitation.unwrap_or_else(|| what.to_owned());
                        Error::about(Code::ConversationUnknown, about)
                    }
                })
            }
            _ => {
                let about = format!("{what}: several conversations; name one by its id");
                Err(Error::about(Code::Usage, about))
            }
        }
    }

    /// The conversation with a person. `None` if nobody has the handle or, without `begin`, if there
    /// is no conversation.
    async fn find_person(
        &mut self,
        handle: &Handle,
        all: &[Overview],
        begin: bool,
    ) -> Result<Option<String>> {
        let contacts = self.client.contacts().await?;
        if let Some(contact) = contacts.iter().find(|c| c.handle == *handle) {
            let direct = all.iter().filter(|c| {
                c.about.kind == Kind::Direct
                    && c.about.people.contains(&contact.primary)
                    && !(begin && c.state == State::Removed)
            });
            if let Some(found) = direct.min_by(|a, b| a.id.cmp(&b.id)) {
                return Ok(Some(found.id.clone()));
            }
        }
        if !begin {
            return Ok(None);
        }
        match self.client.direct(handle).await {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == Code::HandleUnknown => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a message went, in words: a person's handle, or a group's name.
    async fn title(&self, conversation: &str) -> Result<(&'static str, String)> {
        let all = self.client.conversations().await?;
        let Some(found) = all.iter().find(|c| c.id == conversation) else {
            return Ok(("group", String::new()));
        };
        if found.about.kind != Kind::Direct {
            return Ok(("group", found.about.name.clone().unwrap_or_default()));
        }
        let own = self.client.device().certificate().primary();
        let other = found.about.people.iter().find(|person| *person != own).unwrap_or(own);
        Ok(("direct", self.called(other).await?))
    }

    /// How somebody is called: by the handle, if that is known.
    async fn called(&self, person: &Identity) -> Result<String> {
        if person == self.client.device().certificate().primary() {
            return Ok(self.client.account().handle.to_string());
        }
        let contacts = self.client.contacts().await?;
        let known = contacts.iter().find(|c| c.primary == *person);
        Ok(known.map_or_else(|| person.to_string(), |c| c.handle.to_string()))
    }

    async fn show_conversation(&self, out: &Out<'_>, overview: &Overview) -> Result<()> {
        let mut people = Vec::new();
        for person in &overview.people {
            people.push(self.called(person).await?);
        }
        let value = serde_json::json!({
            "schema": "kez.chat.conversation/1",
            "conversation": overview.id,
            "kind": if overview.about.kind == Kind::Direct { "direct" } else { "group" },
            "name": overview.about.name,
            "state": overview.state.as_str(),
            "people": people,
            "devices": overview.devices,
            "epoch": overview.epoch,
            "entries": overview.entries,
            "waiting": overview.waiting,
        });
        let name = overview.about.name.clone().unwrap_or_default();
        let text = format!(
            "{}  {:<8} {} {}",
            &overview.id[..12],
            overview.state.as_str(),
            clean(&name),
            clean(&people.join(", "))
        );
        out.result(&value, text.trim_end());
        Ok(())
    }

    async fn show(&self, out: &Out<'_>, conversation: &str, entry: &Entry) -> Result<()> {
        let from = match &entry.from {
            Some(person) => Some(self.called(person).await?),
            None => None,
        };
        let (kind, about) = match &entry.kind {
            EntryKind::Text(text) => ("text", text.clone()),
            EntryKind::Unknown(kind) => ("unknown", kind.clone()),
            EntryKind::Joined(person) => ("joined", self.called(person).await?),
            EntryKind::Left(person) => ("left", self.called(person).await?),
            EntryKind::Refused(code) => ("refused", code.to_string()),
            _ => ("changed", String::new()),
        };
        let value = serde_json::json!({
            "schema": "kez.chat.entry/1",
            "conversation": conversation,
            "index": entry.index,
            "at": entry.at,
            "from": from,
            "primary": entry.from,
            "device": entry.device,
            "id": entry.id.map(|id| id.to_string()),
            "kind": kind,
            kind: about,
            "doubt": entry.doubt,
        });
        let doubt = entry.doubt.map(|code| format!(" [{code}]")).unwrap_or_default();
        let who = from.unwrap_or_default();
        let text = match kind {
            "text" => format!("{} {who}{doubt}: {}", entry.at, indented(&about)),
            _ => format!("{} {who} * {kind} {}{doubt}", entry.at, clean(&about)),
        };
        out.result(&value, text.trim_end());
        Ok(())
    }

    /// Prints what was not shown yet. What this device wrote itself, its user knows.
    async fn show_news(&self, out: &Out<'_>) -> Result<()> {
        let own = self.client.device().secret().public().identity();
        for (conversation, entries) in self.client.news().await? {
            for entry in &entries {
                if entry.device.as_ref() != Some(own) {
                    self.show(out, &conversation, entry).await?;
                }
            }
            let until = entries.last().map_or(0, |entry| entry.index + 1);
            self.client.shown(&conversation, until).await?;
        }
        Ok(())
    }
}

/// Prints what comes, until the process is ended. Between two events other commands may use the
/// account.
async fn listen<N: Net>(account: &Account<'_, N>, out: &Out<'_>, once: bool) -> Result<()> {
    let mut wait = 0;
    loop {
        let opened = {
            let mut seat = account.sit().await?;
            match seat.client.sync().await {
                Ok(()) => {
                    seat.show_news(out).await?;
                    let admitted = seat.client.admit().await;
                    if once {
                        return admitted;
                    }
                    match admitted {
                        Err(error) if error.code().kind() != kez_core::Kind::Network => {
                            return Err(error);
                        }
                        // Another time.
                        _ => seat.client.stream_url(),
                    }
                }
                Err(error) if once || error.code().kind() != kez_core::Kind::Network => {
                    seat.show_news(out).await?;
                    return Err(error);
                }
                Err(error) => Err(error),
            }
        };
        let failed = match opened {
            Ok(url) => follow(account, out, &url, &mut wait).await?,
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            out.hint(&format!("kez: {error}; trying again"));
            wait = (wait * 2).clamp(500, 60_000);
        }
        account.context.net.net.pause(wait).await;
    }
}

/// Follows one stream to its end. Gives what it failed with, if it did.
async fn follow<N: Net>(
    account: &Account<'_, N>,
    out: &Out<'_>,
    url: &str,
    wait: &mut u32,
) -> Result<Option<Error>> {
    let net = &account.context.net.net;
    let failed = |failure: Failure| {
        let detail = failure.detail.unwrap_or_default();
        Ok(Some(Error::about(failure.code, detail)))
    };
    let mut events = match net.listen(url).await {
        Ok(events) => events,
        Err(failure) => return failed(failure),
    };
    out.hint("kez: listening");
    *wait = 500;
    loop {
        match events.next().await {
            Ok(Some(event)) if event.name == "item" => {
                let mut seat = account.sit().await?;
                let done = seat.client.pushed(event.data.as_bytes()).await;
                seat.show_news(out).await?;
                match done {
                    Ok(()) => {}
                    Err(error) if error.code().kind() == kez_core::Kind::Network => {
                        return Ok(Some(error));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(Some(event)) if event.name == "end" => return Ok(None),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(failure) => return failed(failure),
        }
    }
}

struct Registration {
    handle: Handle,
    server: String,
    device: String,
    not_after: Option<i64>,
    no_passphrase: bool,
}

/// Adds a device to the own chain, and registers the handle with it. Cut off anywhere, it goes on
/// when it is run again.
async fn register(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    new: Registration,
    key: Option<&str>,
    own: &Own,
) -> Result<()> {
    let _lock = context.home.lock()?;
    let server = new.server.trim_end_matches('/').to_owned();
    let mut chain = match sigchain::own_chain(context, own) {
        Err(error) if error.code() == Code::ChainEmpty => {
            Chain::new(&claim::signing_key(context, key)?.identity)?
        }
        other => other?,
    };
    let desk = Desk { context, dir: PathBuf::new() };
    // The handle's server may know devices that another machine added.
    let url = format!("{server}/v1/handles/{}/chain", new.handle);
    if let History::Known(known) = desk.history(chain.name(), &[url]).await
        && known.chain.events().len() > chain.events().len()
    {
        chain = known.chain;
    }
    let owner = sigchain::current_key(context, &chain)?;
    let mut transaction = Transaction::new();
    let secret = match context.keys().entry(&new.device) {
        Ok(_) => context.open(&new.device)?,
        Err(error) if error.code() == Code::KeyNotFound => {
            let secret = SecretKey::from_bytes(Scheme::Ed25519, context.host.random()?)?;
            let passphrase = if new.no_passphrase {
                out.hint("kez: warning: the device's key is stored unencrypted");
                None
            } else {
                Some(context.new_passphrase()?)
            };
            let passphrase = passphrase.as_ref().map(|p| p.as_str());
            context.keys().add(&mut transaction, &new.device, &secret, passphrase)?;
            secret
        }
        Err(error) => return Err(error),
    };
    if !chain.devices().any(|d| d.key == *secret.public().identity()) {
        let op = Op::AddDevice {
            device: secret.public().clone(),
            caps: vec![CAPABILITY.into()],
            not_after: new.not_after.map(|s| context.now.plus(s)),
            name: None,
        };
        sigchain::extend(context, out, &mut chain, op, &[&owner, &secret], transaction)?;
    }
    let record = HandleRecord {
        handle: new.handle.clone(),
        server: server.clone(),
        primary: chain.name().clone(),
        created_at: context.host.now(),
        sources: Vec::new(),
    };
    let mut record = record.to_envelope()?;
    record.sign(&owner, &context.host.random()?)?;
    let record = SignedHandle::read(record)?;
    let name = account_name(&new.handle, &server)?;
    let dir = context.home.path("chat").join(&name);
    let desk = Desk { context, dir: dir.clone() };
    let device = secret.public().identity().clone();
    let random = context.host.randomness();
    Client::register(desk, secret, random, &chain, &record).await?;
    let public = Public {
        kez_chat: 1,
        handle: new.handle.to_string(),
        server: server.clone(),
        device: new.device,
        primary: chain.name().to_string(),
        published: chain.head().map(|head| head.id.to_string()),
    };
    write_public(context, &dir.with_file_name(format!("{name}.json")), &public)?;
    tell_account(out, &name, &public, &device);
    Ok(())
}

fn tell_account(out: &Out<'_>, name: &str, public: &Public, device: &Identity) {
    let value = serde_json::json!({
        "schema": "kez.chat.account/1",
        "account": name,
        "handle": public.handle,
        "server": public.server,
        "primary": public.primary,
        "device": device,
    });
    out.result(&value, &format!("{name} is {}, device {device}", public.primary));
}

async fn devices(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    handle: Option<&Handle>,
    account: &WithAccount,
) -> Result<()> {
    let account = Account::choose(context, account)?;
    let seat = account.sit().await?;
    let own = seat.client.account().handle.clone();
    let handle = handle.unwrap_or(&own);
    let primary = if *handle == own {
        seat.client.device().certificate().primary().clone()
    } else {
        seat.client.resolve(handle).await?.primary
    };
    let url = format!("{}/v1/handles/{handle}/chain", seat.client.account().server);
    let history = seat.client.platform().history(&primary, &[url]).await;
    let chain = match &history {
        History::Known(known) => &known.chain,
        other => return Err(other.doubt().unwrap_or_else(|| Code::ChainUnreachable.into())),
    };
    for device in chain.devices().filter(|d| d.can(CAPABILITY)) {
        let this = device.key == *seat.client.device().secret().public().identity();
        let value = serde_json::json!({
            "schema": "kez.chat.device/1",
            "handle": handle.as_str(),
            "device": device.key,
            "seq": device.seq,
            "not_after": device.not_after,
            "revoked": device.revoked,
            "this": this,
        });
        let mut text = device.key.to_string();
        if let Some(revoked) = &device.revoked {
            text.push_str(&format!("  revoked {}", revoked.at));
        }
        if let Some(until) = &device.not_after {
            text.push_str(&format!("  until {until}"));
        }
        if this {
            text.push_str("  (this one)");
        }
        out.result(&value, &text);
    }
    Ok(())
}
