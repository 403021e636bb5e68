//! Chat, as a module of its own. It verifies the certificates of devices itself; sigchains come
//! from the verifier beside it, through the page.

use crate::{
    error::{or_throw, thrown},
    plain,
    task::Task,
};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array, futures::JsFuture};
use kez_core::{
    Chain, Code, Envelope, Error, History, Identity, Result as CoreResult, Scheme, SecretKey,
    chat::{
        EventReader, Handle, Random, SignedHandle,
        client::{Client, Platform},
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

    async fn history(&self, primary: &Identity, sources: &[String]) -> History {
        let asked = Page::history(self, primary.as_str(), sources.to_vec());
        let told = match wait(asked, Code::ChainUnreachable).await {
            Ok(told) => told,
            Err(error) => return History::Unknown(Some(error)),
        };
        let text = |name: &str| member(&told, name)?.as_string();
        let state = text("state").unwrap_or_default();
        match &*state {
            "known" => {
                let is = |name: &str| member(&told, name).is_some_and(|v| v.is_truthy());
                // The verifier of this page has checked every signature of it.
                let bundle = text("bundle").unwrap_or_default();
                match Chain::replay_trusted(bundle.as_bytes(), primary) {
                    Ok(chain) => History::Known {
                        chain: Box::new(chain),
                        rolled_back: is("rolledBack"),
                        remembered: is("remembered"),
                        settled: false,
                        refused: None,
                    },
                    Err(error) => History::Unknown(Some(error)),
                }
            }
            "absent" => History::Absent,
            _ => {
                let code = text("code").and_then(|code| Code::from_name(&code));
                let detail = text("detail").unwrap_or_default();
                History::Unknown(code.map(|code| Error::about(code, detail)))
            }
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

    /// Takes bytes, and gives `[name, data]` of each event that is complete with them.
    ///
    /// # Errors
    /// `body_too_large`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<JsValue, JsValue> {
        let events = or_throw(self.reader.push(bytes))?;
        plain(&events.into_iter().map(|event| (event.name, event.data)).collect::<Vec<_>>())
    }
}

/// A client of one device.
#[wasm_bindgen]
pub struct Chat {
    client: Rc<RefCell<Option<Client<Page>>>>,
}

impl Chat {
    fn of(client: Client<Page>) -> JsValue {
        Self { client: Rc::new(RefCell::new(Some(client))) }.into()
    }

    /// Does one thing after the other: the facade sees to the order.
    fn task<F>(&self, wake: Function, work: F) -> Task
    where
        F: AsyncFnOnce(&mut Client<Page>) -> Result<JsValue, JsValue> + 'static,
    {
        let cell = self.client.clone();
        let work = async move {
            let taken = cell.borrow_mut().take();
            let Some(mut client) = taken else {
                return Err(thrown(&Error::about(Code::Usage, "two calls at once")));
            };
            let result = work(&mut client).await;
            *cell.borrow_mut() = Some(client);
            result
        };
        Task::new(work, wake)
    }
}

fn handles(names: Vec<String>) -> Result<Vec<Handle>, JsValue> {
    or_throw(names.iter().map(|name| name.parse()).collect())
}

#[wasm_bindgen]
impl Chat {
    /// Takes a device up that was registered on this page's storage.
    ///
    /// # Errors
    /// `key_refused`.
    pub fn open(page: Page, seed: Vec<u8>, wake: Function) -> Result<Task, JsValue> {
        let secret = device(seed)?;
        let work =
            async move { or_throw(Client::open(page, secret, random()).await).map(Self::of) };
        Ok(Task::new(work, wake))
    }

    /// Registers a device: with the handle's signed record, and the bundle of the chain, which the
    /// device is on.
    ///
    /// # Errors
    /// Format codes, `signature_bad`.
    pub fn register(
        page: Page,
        seed: Vec<u8>,
        record: &str,
        bundle: &str,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let secret = device(seed)?;
        let make = || {
            let record = Envelope::from_value(Value::parse(record.as_bytes())?)?;
            let record = SignedHandle::read(record)?;
            // This page made or verified it.
            let chain = Chain::replay_trusted(bundle.as_bytes(), &record.record().primary)?;
            Ok((record, chain))
        };
        let (record, chain) = or_throw(make())?;
        let work = async move {
            let client = Client::register(page, secret, random(), &chain, &record);
            or_throw(client.await).map(Self::of)
        };
        Ok(Task::new(work, wake))
    }

    /// `{handle, server, primary, device}`.
    ///
    /// # Errors
    /// While a call is in progress.
    pub fn account(&self) -> Result<JsValue, JsValue> {
        #[derive(serde::Serialize)]
        struct Account<'a> {
            handle: &'a str,
            server: &'a str,
            primary: &'a str,
            device: &'a str,
        }
        let client = self.client.borrow();
        let client = client.as_ref().ok_or_else(|| thrown(&Code::Usage.into()))?;
        let (account, device) = (client.account(), client.device());
        plain(&Account {
            handle: account.handle.as_str(),
            server: &account.server,
            primary: device.certificate().primary().as_str(),
            device: device.secret().public().identity().as_str(),
        })
    }

    /// The URL of the stream, good for a minute, once.
    ///
    /// # Errors
    /// While a call is in progress.
    #[wasm_bindgen(js_name = streamUrl)]
    pub fn stream_url(&self) -> Result<String, JsValue> {
        let client = self.client.borrow();
        or_throw(client.as_ref().ok_or_else(|| Code::Usage.into()).and_then(Client::stream_url))
    }

    /// What a client of the server's NATS sends as its `sig`, for the nonce that it was given.
    ///
    /// # Errors
    /// While a call is in progress; for what is no nonce.
    #[wasm_bindgen(js_name = natsSignature)]
    pub fn nats_signature(&self, nonce: &str) -> Result<String, JsValue> {
        let client = self.client.borrow();
        let client = client.as_ref().ok_or_else(|| Code::Usage.into());
        or_throw(client.and_then(|client| client.nats_signature(nonce)))
    }

    /// Takes what waits, and posts what waits here.
    #[must_use]
    pub fn sync(&self, wake: Function) -> Task {
        self.task(wake, async |client| or_throw(client.sync().await).map(|()| JsValue::UNDEFINED))
    }

    /// Takes the data of an event `item` of the stream.
    #[must_use]
    pub fn pushed(&self, data: String, wake: Function) -> Task {
        self.task(wake, async move |client| {
            or_throw(client.pushed(data.as_bytes()).await).map(|()| JsValue::UNDEFINED)
        })
    }

    /// The conversation with a handle. Gives its name.
    ///
    /// # Errors
    /// `handle_refused`.
    pub fn direct(&self, handle: &str, wake: Function) -> Result<Task, JsValue> {
        let handle: Handle = or_throw(handle.parse())?;
        Ok(self.task(wake, async move |client| {
            or_throw(client.direct(&handle).await).map(JsValue::from)
        }))
    }

    /// Begins a group. Gives its name.
    ///
    /// # Errors
    /// `handle_refused`.
    #[wasm_bindgen(js_name = createGroup)]
    pub fn create_group(
        &self,
        name: String,
        people: Vec<String>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let people = handles(people)?;
        Ok(self.task(wake, async move |client| {
            or_throw(client.create_group(&name, &people).await).map(JsValue::from)
        }))
    }

    /// Adds somebody to a group, or removes somebody.
    ///
    /// # Errors
    /// `handle_refused`.
    pub fn change(
        &self,
        conversation: String,
        handle: &str,
        add: bool,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let handle: Handle = or_throw(handle.parse())?;
        Ok(self.task(wake, async move |client| {
            let done = if add {
                client.add(&conversation, &handle).await
            } else {
                client.remove(&conversation, &handle).await
            };
            or_throw(done).map(|()| JsValue::UNDEFINED)
        }))
    }

    /// Writes a text. Gives the message's name.
    #[must_use]
    pub fn send(&self, conversation: String, text: String, wake: Function) -> Task {
        self.task(wake, async move |client| {
            or_throw(client.send(&conversation, &text).await).map(|id| id.to_string().into())
        })
    }

    /// The conversations.
    #[must_use]
    pub fn conversations(&self, wake: Function) -> Task {
        self.task(wake, async |client| plain(&or_throw(client.conversations().await)?))
    }

    /// Everybody who was written to or heard of.
    #[must_use]
    pub fn contacts(&self, wake: Function) -> Task {
        self.task(wake, async |client| plain(&or_throw(client.contacts().await)?))
    }

    /// Entries of a history.
    #[must_use]
    pub fn entries(&self, conversation: String, from: u32, most: u32, wake: Function) -> Task {
        self.task(wake, async move |client| {
            let entries = client.entries(&conversation, from.into(), most as usize).await;
            plain(&or_throw(entries)?)
        })
    }

    /// What the user was not shown yet: `[conversation, entries]` each.
    #[must_use]
    pub fn news(&self, wake: Function) -> Task {
        self.task(wake, async |client| plain(&or_throw(client.news().await)?))
    }

    /// The user was shown a history up to before this place.
    #[must_use]
    pub fn shown(&self, conversation: String, until: u32, wake: Function) -> Task {
        self.task(wake, async move |client| {
            let done = client.shown(&conversation, until.into()).await;
            or_throw(done).map(|()| JsValue::UNDEFINED)
        })
    }

    /// The safety number with somebody: `[number, verified]`. With a number, verifies first.
    ///
    /// # Errors
    /// `handle_refused`.
    pub fn safety(
        &self,
        handle: &str,
        number: Option<String>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let handle: Handle = or_throw(handle.parse())?;
        Ok(self.task(wake, async move |client| {
            if let Some(number) = number {
                or_throw(client.verify(&handle, &number).await)?;
            }
            plain(&or_throw(client.safety_number(&handle).await)?)
        }))
    }

    /// Brings one's own new devices into the conversations.
    #[must_use]
    pub fn admit(&self, wake: Function) -> Task {
        self.task(wake, async move |client| {
            or_throw(client.admit().await).map(|()| JsValue::UNDEFINED)
        })
    }

    /// Takes back that a safety number was compared.
    ///
    /// # Errors
    /// `handle_refused`.
    pub fn unverify(&self, handle: &str, wake: Function) -> Result<Task, JsValue> {
        let handle: Handle = or_throw(handle.parse())?;
        Ok(self.task(wake, async move |client| {
            or_throw(client.unverify(&handle).await).map(|()| JsValue::UNDEFINED)
        }))
    }

    /// Gives the server a newer chain of one's own.
    #[wasm_bindgen(js_name = putChain)]
    #[must_use]
    pub fn put_chain(&self, bundle: String, wake: Function) -> Task {
        self.task(wake, async move |client| {
            let primary = client.device().certificate().primary().clone();
            let chain = or_throw(Chain::replay_trusted(bundle.as_bytes(), &primary))?;
            or_throw(client.put_chain(&chain).await).map(|()| JsValue::UNDEFINED)
        })
    }
}
