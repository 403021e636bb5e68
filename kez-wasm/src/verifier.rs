//! Verifying what is published: looks up, fetches, judges.

use crate::{
    error::or_throw,
    identity::{input, parse},
    plain,
    task::Task,
    time,
    transport::Browser,
};
use js_sys::{Function, Reflect};
use kez_core::{
    Budget, Code, Endpoints, Error, Identity, Input, Memory, Progress, Question, Report,
    resolve::{self, Resolved},
    transport::NamedEndpoints,
};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// A verifier and what the host hands in.
#[wasm_bindgen]
pub struct Verifier {
    at: Option<f64>,
    resolvers: Vec<String>,
    endpoints: Endpoints,
    sources: Vec<String>,
    bundles: Vec<Vec<u8>>,
    loopback: bool,
    fetch: Option<Function>,
    web_socket: Option<Function>,
    clock: Function,
    memory: HostMemory,
    progress: Option<Function>,
}

/// The host's memory of chains.
#[derive(Clone)]
pub(crate) struct HostMemory {
    recall: Option<Function>,
    remember: Option<Function>,
}

impl Memory for HostMemory {
    fn recall(&self, name: &str) -> Option<Vec<u8>> {
        let text = self.recall.as_ref()?.call1(&JsValue::UNDEFINED, &name.into());
        text.ok()?.as_string().map(String::into_bytes)
    }

    fn remember(&self, name: &str, text: &str) {
        if let Some(remember) = &self.remember {
            // A memory that fails costs rollback detection, not the verdict.
            let _ = remember.call2(&JsValue::UNDEFINED, &name.into(), &text.into());
        }
    }
}

#[wasm_bindgen]
impl Verifier {
    /// A verifier with the host's functions, from an object with `clock` and, where they are
    /// not the global ones, `fetch` and `WebSocket`, and with `recall`, `remember`, `progress`.
    ///
    /// # Errors
    /// `usage` if there is no clock.
    #[wasm_bindgen(constructor)]
    pub fn new(host: &JsValue) -> Result<Self, JsValue> {
        let member = |name: &str| Reflect::get(host, &name.into()).unwrap_or_default();
        let function = |name| member(name).dyn_into::<Function>().ok();
        let no_clock = || Error::about(Code::Usage, "no clock");
        Ok(Self {
            at: None,
            resolvers: Vec::new(),
            endpoints: Endpoints::default(),
            sources: Vec::new(),
            bundles: Vec::new(),
            loopback: false,
            fetch: function("fetch"),
            web_socket: function("WebSocket"),
            clock: or_throw(function("clock").ok_or_else(no_clock))?,
            memory: HostMemory { recall: function("recall"), remember: function("remember") },
            progress: function("progress"),
        })
    }

    /// As of when to judge, in seconds (the clock's time if it is not given); the resolvers to
    /// ask; further sources of chains; and, for tests only, whether loopback is allowed.
    pub fn settings(
        &mut self,
        at: Option<f64>,
        resolvers: Vec<String>,
        sources: Vec<String>,
        danger_allow_loopback: bool,
    ) {
        self.at = at;
        self.resolvers = resolvers;
        self.sources = sources;
        self.loopback = danger_allow_loopback;
    }

    /// Where the platforms are, if elsewhere than usual, and the witnesses of servers' logs.
    ///
    /// # Errors
    /// `log_refused` for a key of a log or witness that is none.
    pub fn endpoints(
        &mut self,
        github: Option<String>,
        plc: Option<String>,
        bluesky: Option<String>,
        relays: Option<Vec<String>>,
        sig_servers: Vec<String>,
        witnesses: Vec<String>,
    ) -> Result<(), JsValue> {
        self.endpoints = or_throw(Endpoints::named(&NamedEndpoints {
            github: github.as_deref(),
            plc: plc.as_deref(),
            bluesky: bluesky.as_deref(),
            relays: relays.as_deref(),
            sig_servers: &sig_servers,
            witnesses: &witnesses,
        }))?;
        Ok(())
    }

    /// Hands in a copy of a chain that is at hand.
    #[wasm_bindgen(js_name = addBundle)]
    pub fn add_bundle(&mut self, bundle: Vec<u8>) {
        self.bundles.push(bundle);
    }

    /// Verifies what a subject, as a user types it, shows: the reports, the best first. With `by`,
    /// a primary, proofs by other owners are ignored.
    ///
    /// # Errors
    /// Those of `Input::parse`; `key_expected` for an owner that is no key; from the task, those
    /// of `resolve::resolve`.
    pub fn verify(
        &self,
        subject: &str,
        by: Option<String>,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let (input, by) = (or_throw(input(subject))?, or_throw(owner(by))?);
        Ok(self.task(signal, wake, async move |verifier| {
            let subject = resolved(&verifier, input).await?;
            let question = Question { by: by.as_ref(), ..subject.question() };
            plain(&verifier.verify_question(&question).await)
        }))
    }

    /// The whole identity behind anything. Up to `limit` accounts are checked, or the default.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn identity(
        &self,
        query: &str,
        by: Option<String>,
        limit: Option<u32>,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let (input, by) = (or_throw(input(query))?, or_throw(owner(by))?);
        Ok(self.task(signal, wake, async move |mut verifier| {
            let query = resolved(&verifier, input).await?;
            let question = Question { by: by.as_ref(), ..query.question() };
            verifier.budget = limit.map(|limit| Budget::for_accounts(limit as usize));
            plain(&verifier.identity_question(&question).await)
        }))
    }

    /// The history of a primary: `{state, bundle, remembered, rolledBack, code, detail}`. For chat
    /// and for those who keep chains; so it is left out of what only verifies.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    #[cfg(feature = "sign")]
    pub fn history(
        &self,
        primary: &str,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            state: &'static str,
            bundle: Option<String>,
            remembered: bool,
            rolled_back: bool,
            code: Option<Code>,
            detail: Option<String>,
        }
        let primary = or_throw(Identity::from_canonical(primary))?;
        Ok(self.task(signal, wake, async move |verifier| {
            let history = verifier.history(&primary, &[], None).await;
            let doubt = history.doubt();
            let (remembered, rolled_back) = match &history {
                kez_core::History::Known(known) => (known.is_remembered(), known.is_rolled_back()),
                _ => (false, false),
            };
            plain(&Told {
                state: match &history {
                    kez_core::History::Known(_) => "known",
                    kez_core::History::Absent => "absent",
                    kez_core::History::Unchecked => "unchecked",
                    kez_core::History::Unknown(_) => "unknown",
                    kez_core::History::Forked(_) => "fork",
                },
                bundle: history.chain().map(kez_core::Chain::to_bundle),
                remembered,
                rolled_back,
                code: doubt.as_ref().map(Error::code),
                detail: doubt.as_ref().and_then(Error::context).map(str::to_owned),
            })
        }))
    }

    /// Verifies every proof in a text as if `subject` showed it (each claim's own subject if none
    /// is given); only the chains are fetched. One report for each account and owner.
    ///
    /// # Errors
    /// What the proof is refused for; `usage` for a pointer without a subject.
    #[wasm_bindgen(js_name = verifyProof)]
    pub fn verify_proof(
        &self,
        text: &str,
        subject: Option<String>,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let subject = subject.map(|subject| Identity::from_canonical(&subject)).transpose();
        let (subject, text) = (or_throw(subject)?, text.to_owned());
        Ok(self.task(signal, wake, async move |verifier| {
            plain(&or_throw(verifier.verify_text(&text, subject.as_ref()).await)?)
        }))
    }
}

/// The owner for whom an account is verified, as a user types the key.
fn owner(by: Option<String>) -> kez_core::Result<Option<Identity>> {
    let Some(by) = by else { return Ok(None) };
    let by = parse(&by)?;
    if by.is_key() { Ok(Some(by)) } else { Err(Error::about(Code::KeyExpected, by)) }
}

/// The identity that an input leads to.
async fn resolved(
    verifier: &kez_core::Verifier<'_, Browser, HostMemory>,
    input: Input,
) -> Result<Resolved, JsValue> {
    or_throw(resolve::resolve(verifier.transport, input).await.map_err(Error::from))
}

impl Verifier {
    pub(crate) fn task<F>(&self, signal: Option<AbortSignal>, wake: Function, work: F) -> Task
    where
        F: AsyncFnOnce(kez_core::Verifier<'_, Browser, HostMemory>) -> Result<JsValue, JsValue>
            + 'static,
    {
        let browser = Browser {
            fetch: self.fetch.clone(),
            web_socket: self.web_socket.clone(),
            #[cfg(feature = "cli")]
            exchange: None,
            #[cfg(feature = "cli")]
            redirect: None,
            clock: self.clock.clone(),
            signal,
            resolvers: self.resolvers.clone(),
            loopback: self.loopback,
        };
        let endpoints = self.endpoints.clone();
        let (sources, bundles) = (self.sources.clone(), self.bundles.clone());
        let (memory, progress) = (self.memory.clone(), self.progress.clone());
        let at = self.at;
        let work = async move {
            let clock = browser.now();
            let tell = |event: Progress<'_>| {
                if let (Some(progress), Ok(event)) = (&progress, event_of(&event)) {
                    // What a listener throws is its own affair.
                    let _ = progress.call1(&JsValue::UNDEFINED, &event);
                }
            };
            work(kez_core::Verifier {
                transport: &browser,
                memory: &memory,
                endpoints,
                sources,
                bundles,
                now: at.map_or(clock, time),
                clock,
                progress: &tell,
                budget: None,
            })
            .await
        };
        Task::new(work, wake)
    }
}

/// A step as `{type, place}`, `{type, place, code}` or `{type, report}`.
fn event_of(event: &Progress<'_>) -> Result<JsValue, JsValue> {
    #[derive(serde::Serialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Event<'a> {
        Asking { place: String },
        Answered { place: String, code: Option<Code> },
        Judged { report: &'a Report },
    }
    plain(&match event {
        Progress::Asking(request) => Event::Asking { place: request.place() },
        Progress::Answered(request, code) => {
            Event::Answered { place: request.place(), code: *code }
        }
        Progress::Judged(report) => Event::Judged { report },
        _ => return Err(JsValue::UNDEFINED),
    })
}

/// The relays that are asked where no others are named: for those who publish there.
#[cfg(feature = "sign")]
#[wasm_bindgen(js_name = defaultRelays)]
#[must_use]
pub fn default_relays() -> Vec<String> {
    Endpoints::default().relays
}
