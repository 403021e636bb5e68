//! A nostr key that signs elsewhere, asked through a relay (NIP-46).

use super::{
    accounts::{Author, Credential, Publisher, Web, form_value},
    nip44::Conversation,
};
use crate::{
    Code, Error, Identity, Key, NOSTR_KIND, NostrEvent, Result, Scheme, SecretKey,
    channel::EXTERNAL_IDENTITIES,
    hex,
    json::{Members, Value},
    relay::{Next, Publish, subscribed},
};
use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use zeroize::Zeroizing;

/// The kind of NIP-46's events.
const KIND: u16 = 24_133;
/// For how long an answer is waited for, in seconds: the user may have to allow it.
const PATIENCE: u64 = 120;
/// How many relays a signer may be asked through.
const MAX_RELAYS: usize = 8;

/// A remote signer: its key, the relays where it listens, and the key by which it knows us.
pub(super) struct Bunker {
    signer: Key,
    relays: Vec<String>,
    ours: SecretKey,
}

/// Makes a credential of a `bunker://` URL, by which the signer has not yet been asked.
///
/// # Errors
/// `credential_refused` for a text that is no such URL, without any of it; `storage_failed`.
pub fn bunker(
    publisher: &Publisher<'_, impl Web>,
    account: &Identity,
    url: &str,
) -> Result<Credential> {
    let refused = || Error::about(Code::CredentialRefused, "no bunker:// URL");
    let rest = url.trim().strip_prefix("bunker://").ok_or_else(refused)?;
    let (signer, query) = rest.split_once('?').ok_or_else(refused)?;
    let signer = hex::decode::<32>(signer.trim_end_matches('/')).ok_or_else(refused)?;
    let signer = Key::from_bytes(Scheme::Nostr, &signer)?;
    let relays = query.split('&').filter_map(|pair| form_value(pair, "relay"));
    let relays: Vec<String> = relays.take(MAX_RELAYS).collect();
    if relays.is_empty() {
        return Err(refused());
    }
    let secret = Zeroizing::new(form_value(query, "secret").unwrap_or_default());
    let ours = SecretKey::from_bytes(Scheme::Nostr, publisher.web.random()?)?;
    Ok(Credential::of_bunker(account.clone(), secret, Bunker { signer, relays, ours }))
}

impl Bunker {
    pub(super) fn to_value(&self) -> Value {
        let text = |text: &str| Value::String(text.into());
        Value::object([
            ("signer", text(self.signer.identity().as_str())),
            ("relays", Value::Array(self.relays.iter().map(|url| text(url)).collect())),
            ("key", Value::String(hex::encode(self.ours.expose_bytes()))),
        ])
    }

    pub(super) fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let signer = Identity::from_canonical(m.text("signer")?)?;
        let relays = m.optional_array("relays")?.unwrap_or_default().iter();
        let bunker = Self {
            signer: Key::from_identity(&signer)?,
            relays: relays.filter_map(Value::as_str).map(String::from).collect(),
            ours: SecretKey::from_text(Scheme::Nostr, m.text("key")?)?,
        };
        m.finish()?;
        Ok(bunker)
    }
}

/// A nostr account whose key signs elsewhere.
pub struct Remote<'a, W> {
    publisher: &'a Publisher<'a, W>,
    key: Key,
    credential: &'a Credential,
    bunker: &'a Bunker,
}

/// Without what is secret.
impl<W> core::fmt::Debug for Remote<'_, W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Remote({})", self.key)
    }
}

impl<'a, W: Web> Remote<'a, W> {
    pub(super) fn of(publisher: &'a Publisher<'a, W>, credential: &'a Credential) -> Result<Self> {
        let key = Key::from_identity(credential.account())?;
        let refused = || Error::about(Code::CredentialRefused, "no remote signer");
        let bunker = credential.bunker().ok_or_else(refused)?;
        Ok(Self { publisher, key, credential, bunker })
    }

    /// Makes us known to the signer, by the URL's secret and with no more leave than we need, and
    /// asks for whom it signs.
    pub(super) async fn sign_in(&self) -> Result<()> {
        let wanted = [NOSTR_KIND, EXTERNAL_IDENTITIES].map(|kind| format!("sign_event:{kind}"));
        let signer = hex::encode(&self.bunker.signer.to_bytes());
        let words = [&*signer, self.credential.secret(), &wanted.join(",")];
        let answer = self.ask("connect", &words).await?;
        if answer != "ack" && answer != self.credential.secret() {
            return Err(Error::about(Code::CredentialRefused, "the signer does not know us"));
        }
        let author = self.ask("get_public_key", &[]).await?;
        if author != hex::encode(&self.key.to_bytes()) {
            let author =
                hex::decode(&author).and_then(|key| Key::from_bytes(Scheme::Nostr, &key).ok());
            let author = author.map(|key| key.to_string()).unwrap_or_default();
            return Err(Error::about(Code::CredentialOther, author));
        }
        Ok(())
    }

    /// Asks through the first relay that can be reached.
    async fn ask(&self, method: &str, words: &[&str]) -> Result<String> {
        let mut last = Error::about(Code::CredentialRefused, "no relay");
        for relay in &self.bunker.relays {
            match self.ask_through(relay, method, words).await {
                Err(error) if error.code() == Code::ConnectFailed => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    async fn ask_through(&self, relay: &str, method: &str, words: &[&str]) -> Result<String> {
        let Bunker { signer, ours, .. } = self.bunker;
        let conversation = Conversation::new(ours, signer)?;
        let id = hex::encode(&self.publisher.web.random()?[..16]);
        let text = |text: &str| Value::String(text.into());
        let request = Value::object([
            ("id", text(&id)),
            ("method", text(method)),
            ("params", Value::Array(words.iter().map(|word| text(word)).collect())),
        ]);
        let request = Zeroizing::new(request.to_canonical());
        let content = conversation.seal(&request, &self.publisher.web.random()?)?;
        let now = self.publisher.now.seconds();
        let to = Vec::from([String::from("p"), hex::encode(&signer.to_bytes())]);
        let event = NostrEvent { created_at: now, kind: KIND, tags: Vec::from([to]), content };
        let event = ours.sign_nostr_event(&event, &self.publisher.web.random()?)?;
        let one = |text: String| Value::Array(Vec::from([Value::String(text)]));
        // Only what comes from now on: answers are kept by no relay.
        let filter = Value::object([
            ("authors", one(hex::encode(&signer.to_bytes()))),
            ("kinds", Value::Array(Vec::from([Value::Int(KIND.into())]))),
            ("#p", one(hex::encode(&ours.public().to_bytes()))),
        ]);
        let subscribe = Value::Array(Vec::from([text("REQ"), text("kez"), filter])).to_canonical();
        let mut publish = Publish::new([event]);
        let first = [Some(subscribe), publish.request()].into_iter().flatten().collect();
        let receive = |said: &str| {
            let Some(event) = subscribed(said)? else {
                // The relay's word on the request; that it was taken is no answer yet.
                return publish.receive(said).map(|_| Next::Wait);
            };
            Ok(self.answer(&conversation, &event, &id).map_or(Next::Wait, Next::Done))
        };
        let talked = self.publisher.web.talk(relay, PATIENCE, first, receive).await;
        let answer = talked.map_err(|failure| failure.at(relay))?;
        answer.map_err(|why| Error::about(Code::CredentialRefused, why))
    }

    /// What an event answers to a request; nothing if it is no answer to it.
    fn answer(
        &self,
        conversation: &Conversation,
        event: &Value,
        id: &str,
    ) -> Option<core::result::Result<String, String>> {
        let (by, event) = NostrEvent::from_json(event).ok()?;
        if by != self.bunker.signer || event.kind != KIND {
            return None;
        }
        let answer = conversation.open(&event.content).ok()?;
        let answer = Value::parse_foreign(answer.as_bytes()).ok()?;
        let text = |name| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("id") != id {
            return None;
        }
        let (result, error) = (text("result"), text("error"));
        if result == "auth_url" {
            // The answer comes when the user has allowed it there.
            (self.publisher.visit)(error);
            return None;
        }
        let error: String = error.chars().take(200).collect();
        Some(if error.is_empty() { Ok(result.into()) } else { Err(error) })
    }
}

impl<W: Web> Author for Remote<'_, W> {
    fn key(&self) -> &Key {
        &self.key
    }

    async fn sign(&self, event: &NostrEvent) -> Result<String> {
        self.ask("sign_event", &[&event.to_unsigned(&self.key)]).await
    }
}
