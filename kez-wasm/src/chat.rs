//! Chat, which is split off the library's module (`xtask/src/split.rs`): its exports are those of the
//! classes `Chat` and `Events`. It verifies the certificates of devices itself; sigchains come
//! from the verifier beside it, through the page.

use crate::{
    error::{or_throw, thrown},
    task::Task,
};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array, futures::JsFuture};
use kez_core::{
    Chain, Code, Envelope, Error, History, Identity, Known, Result as CoreResult, Scheme,
    SecretKey,
    chat::{
        Device, EventReader, Handle, Random, SignedHandle,
        auth::nats_signature,
        client::{Account, Client, Contact, Entry, Overview, Platform},
    },
    json::Value,
    transport::{Call, Failure},
};
use std::{cell::RefCell, rc::Rc, sync::Arc};
use wasm_bindgen::{JsCast as _, prelude::*};
use zeroize::Zeroize as _;

#[wasm_bindgen]
extern "C" {
    /// What the client needs of the page.
    #[wasm_bindgen(typescript_type = "object")]
    pub type Page;

    /// Asks the server. Gives `[status, body]`.
    #[wasm_bindgen(method, catch)]
    fn call(
        this: &Page,
        method: &str,
        url: &str,
        authorization: Option<String>,
        kind: Option<String>,
        body: Option<String>,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn load(this: &Page, name: &str) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn save(this: &Page, name: &str, data: Option<Vec<u8>>) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn names(this: &Page) -> Result<Promise, JsValue>;
    /// What `history` of the verifier gives.
    #[wasm_bindgen(method, catch)]
    fn history(this: &Page, primary: &str, sources: Vec<String>) -> Result<Promise, JsValue>;
    /// Milliseconds since 1970.
    #[wasm_bindgen(method)]
    fn now(this: &Page) -> f64;
}

/// What a promise of the page gives, or the code and words of what it throws.
async fn wait(promise: Result<Promise, JsValue>, usual: Code) -> CoreResult<JsValue> {
    let done = match promise {
        Ok(promise) => JsFuture::from(promise).await,
        Err(error) => Err(error),
    };
    done.map_err(|error| {
        let text = |name: &str| Reflect::get(&error, &name.into()).ok()?.as_string();
        let code = text("code").and_then(|code| Code::from_name(&code)).unwrap_or(usual);
        Error::about(code, text("message").unwrap_or_default())
    })
}

fn member(value: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(value, &name.into()).ok().filter(|value| !value.is_undefined())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a status, a time")]
impl Platform for Page {
    async fn call(&self, call: Call) -> Result<(u16, Vec<u8>), Failure> {
        let (kind, body) = call.body.map_or((None, None), |(kind, body)| (Some(kind), Some(body)));
        let kind = kind.map(str::to_owned);
        let asked = Page::call(self, call.method, &call.url, call.authorization, kind, body);
        let answer = wait(asked, Code::ConnectFailed)
            .await
            .map_err(|e| Failure::new(e.code(), e.context().unwrap_or_default()))?;
        let answer: Array = answer.unchecked_into();
        let status = answer.get(0).as_f64().unwrap_or_default() as u16;
        Ok((status, Uint8Array::new(&answer.get(1)).to_vec()))
    }

    async fn load(&self, name: &str) -> CoreResult<Option<Vec<u8>>> {
        let data = wait(Page::load(self, name), Code::StorageFailed).await?;
        let there = !data.is_undefined() && !data.is_null();
        Ok(there.then(|| Uint8Array::new(&data).to_vec()))
    }

    async fn save(&self, name: &str, data: Option<&[u8]>) -> CoreResult<()> {
        let saved = Page::save(self, name, data.map(<[u8]>::to_vec));
        wait(saved, Code::StorageFailed).await.map(drop)
    }

    async fn names(&self) -> CoreResult<Vec<String>> {
        let names = wait(Page::names(self), Code::StorageFailed).await?;
        Ok(Array::from(&names).iter().filter_map(|name| name.as_string()).collect())
    }

    async fn history(&self, primary: &Identity, sources: &[String]) -> History {
        let asked = Page::history(self, primary.as_str(), sources.to_vec());
        let told = match wait(asked, Code::ChainUnreachable).await {
            Ok(told) => told,
            Err(error) => return History::Unknown(error),
        };
        let text = |name: &str| member(&told, name)?.as_string();
        let state = text("state").unwrap_or_default();
        let doubt = || {
            let code = Code::from_name(&text("code")?)?;
            Some(Error::about(code, text("detail").unwrap_or_default()))
        };
        match &*state {
            "known" => {
                let is = |name: &str| member(&told, name).is_some_and(|v| v.is_truthy());
                // The verifier of this page has checked every signature of it.
                let bundle = text("bundle").unwrap_or_default();
                match Chain::replay_trusted(bundle.as_bytes(), primary) {
                    Ok(chain) => History::Known(Box::new(Known {
                        chain,
                        doubt: doubt(),
                        unchecked: is("remembered"),
                        settled: false,
                        refused: None,
                    })),
                    Err(error) => History::Unknown(error),
                }
            }
            "absent" => History::Absent,
            "unchecked" => History::Unchecked,
            _ => History::Unknown(doubt().unwrap_or_else(|| Code::ChainUnreachable.into())),
        }
    }

    fn now_ms(&self) -> u64 {
        self.now() as u64
    }
}

fn random() -> Random {
    Arc::new(crate::fill_random)
}

fn device(mut seed: Vec<u8>) -> Result<SecretKey, JsValue> {
    let bytes = <[u8; 32]>::try_from(&seed[..]);
    seed.zeroize();
    let bytes = or_throw(bytes.map_err(|_| Code::KeyRefused.into()))?;
    or_throw(SecretKey::from_bytes(Scheme::Ed25519, bytes))
}

/// Reads the events of a stream.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Events {
    reader: EventReader,
}

#[wasm_bindgen]
impl Events {
    /// At the start of a stream.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes, and gives name and data of each event that is complete with them, one after the
    /// other.
    ///
    /// # Errors
    /// `body_too_large`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, JsValue> {
        let events = or_throw(self.reader.push(bytes))?;
        Ok(events.into_iter().flat_map(|event| [event.name, event.data]).collect())
    }
}

/// A client of one device. What is asked at once, it has beside the client, which may be at work.
#[wasm_bindgen]
pub struct Chat {
    client: Rc<RefCell<Option<Client<Page>>>>,
    account: Account,
    device: Device,
}

impl Chat {
    fn of(client: Client<Page>) -> JsValue {
        let (account, device) = (client.account().clone(), client.device().clone());
        Self { client: Rc::new(RefCell::new(Some(client))), account, device }.into()
    }
}

#[wasm_bindgen]
impl Chat {
    /// Does what [`begin`] knows by that name, with a device's key, these words and this blob. Gives
    /// a [`Chat`], or bytes.
    ///
    /// # Errors
    /// `key_refused`.
    pub fn begin(
        page: Page,
        seed: Vec<u8>,
        what: String,
        words: Vec<String>,
        blob: Vec<u8>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let secret = device(seed)?;
        let work = async move { or_throw(begin(page, secret, &what, &words, &blob).await) };
        Ok(Task::new(work, wake))
    }

    /// `{handle, server, primary, device}`, as JSON.
    #[must_use]
    pub fn account(&self) -> String {
        let members = [
            ("handle", self.account.handle.as_str()),
            ("server", &self.account.server),
            ("primary", self.device.certificate().primary().as_str()),
            ("device", self.device.secret().public().identity().as_str()),
        ];
        Value::object(members.map(|(name, text)| (name, Value::from(text)))).to_canonical()
    }

    /// What a client of the server's NATS sends as its `sig`, for the nonce that it was given, at
    /// this time in milliseconds since 1970.
    ///
    /// # Errors
    /// `auth_refused` for what is no nonce.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time")]
    #[wasm_bindgen(js_name = natsSignature)]
    pub fn nats_signature(&self, nonce: &str, at_ms: f64) -> Result<String, JsValue> {
        let secret = self.device.secret();
        or_throw(nats_signature(secret, &self.account.server, nonce, at_ms as u64))
    }

    /// Does what [`work`] knows by that name, with these words. Gives what comes of it as JSON. One
    /// after the other: the facade sees to the order.
    #[must_use]
    pub fn run(&self, what: String, words: Vec<String>, wake: Function) -> Task {
        let cell = self.client.clone();
        let work = async move {
            let taken = cell.borrow_mut().take();
            let Some(mut client) = taken else {
                return Err(thrown(&Error::about(Code::Usage, "two calls at once")));
            };
            let result = work(&mut client, &what, &words).await;
            *cell.borrow_mut() = Some(client);
            or_throw(result).map(|value| value.to_canonical().into())
        };
        Task::new(work, wake)
    }
}

/// How a client comes and goes, by one entrance as [`work`] is one.
async fn begin(
    page: Page,
    secret: SecretKey,
    what: &str,
    words: &[String],
    blob: &[u8],
) -> CoreResult<JsValue> {
    let client = match (what, words) {
        // A device that was registered with this page's storage.
        ("open", []) => Client::open(page, secret, random()).await?,
        // A new one, by the handle's signed record and the bundle of the chain, which it is on.
        ("register", [record, bundle]) => {
            let record = Envelope::from_value(Value::parse(record.as_bytes())?)?;
            let record = SignedHandle::read(record)?;
            // This page made or verified it.
            let chain = Chain::replay_trusted(bundle.as_bytes(), &record.record().primary)?;
            Client::register(page, secret, random(), &chain, &record).await?
        }
        // Ends it, and gives all that it kept.
        ("export", []) => {
            let blob = Client::export(&page, &secret, random()).await?;
            return Ok(Uint8Array::from(&blob[..]).into());
        }
        // One that was ended elsewhere.
        ("import", []) => Client::import(page, secret, random(), blob).await?,
        _ => return Err(Error::about(Code::Usage, what)),
    };
    Ok(Chat::of(client))
}

/// What the facade may ask of a client. One entrance instead of a binding each: what JavaScript and
/// Rust need to call each other weighs more than what is called.
async fn work(client: &mut Client<Page>, what: &str, words: &[String]) -> CoreResult<Value> {
    let word = |n: usize| words.get(n).map_or("", String::as_str);
    let number = |n: usize| word(n).parse::<u64>().map_err(|_| Error::from(Code::Usage));
    // Whose name a word is.
    let handle = |n: usize| word(n).parse::<Handle>();
    match what {
        // Takes what waits, and posts what waits here.
        "sync" => client.sync().await?,
        // The URL of the stream, good for a minute, once.
        "stream" => return Ok(Value::String(client.stream_url()?)),
        // The data of an event `item` of the stream.
        "pushed" => client.pushed(word(0).as_bytes()).await?,
        // The conversation with somebody; gives its name.
        "direct" => return Ok(client.direct(&handle(0)?).await?.as_str().into()),
        // A group with a name, of these people; gives its name.
        "group" => {
            let people = words.iter().skip(1).map(|name| name.parse());
            let people = people.collect::<CoreResult<Vec<Handle>>>()?;
            return Ok(client.create_group(word(0), &people).await?.as_str().into());
        }
        "add" => client.add(word(0), &handle(1)?).await?,
        "leave" => client.leave(word(0)).await?,
        "remove" => client.remove(word(0), &handle(1)?).await?,
        // A text into a conversation; gives the message's name.
        "send" => return Ok(Value::String(client.send(word(0), word(1)).await?.to_string())),
        "conversations" => return Ok(list(client.conversations().await?, Overview::to_json)),
        "contacts" => return Ok(list(client.contacts().await?, Contact::to_json)),
        // Of a conversation, from a place on, at most so many.
        "entries" => {
            let most = usize::try_from(number(2)?).unwrap_or(usize::MAX);
            return Ok(list(client.entries(word(0), number(1)?, most).await?, Entry::to_json));
        }
        // `[conversation, entries]` each.
        "news" => {
            let pair = |(id, entries): &(String, Vec<Entry>)| {
                let entries = Value::Array(entries.iter().map(Entry::to_json).collect());
                Value::Array(vec![id.as_str().into(), entries])
            };
            return Ok(list(client.news().await?, pair));
        }
        // A history, up to before a place.
        "shown" => client.shown(word(0), number(1)?).await?,
        // `[number, verified]`; with a number, verifies first.
        "safety" => {
            let handle = handle(0)?;
            if words.len() > 1 {
                client.verify(&handle, word(1)).await?;
            }
            let (number, verified) = client.safety_number(&handle).await?;
            return Ok(Value::Array(vec![Value::String(number), Value::Bool(verified)]));
        }
        "unverify" => client.unverify(&handle(0)?).await?,
        // One's own new devices, into the conversations.
        "admit" => client.admit().await?,
        // A newer chain of one's own, for the server.
        "chain" => {
            let primary = client.device().certificate().primary().clone();
            let chain = Chain::replay_trusted(word(0).as_bytes(), &primary)?;
            client.put_chain(&chain).await?;
        }
        _ => return Err(Error::about(Code::Usage, what)),
    }
    Ok(Value::Null)
}

fn list<T>(items: Vec<T>, each: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(each).collect())
}
