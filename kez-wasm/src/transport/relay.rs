//! Nostr relays through `WebSocket`. gloo-net's socket is not used: when it is dropped it leaves a
//! listener behind where there is no global `CloseEvent` (Node 22, the package `ws`), and the
//! socket's end then calls into freed memory and throws.

use super::{Browser, Limit, check_url, words};
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use js_sys::{Array, Reflect};
use kez_core::{
    Code,
    json::Value,
    relay::{MAX_MESSAGE, Next, Query, answered},
    transport::{Answer, CONNECT_SECONDS, Failure, Via},
};
use std::pin::pin;
use wasm_bindgen::{JsCast as _, prelude::*};
use web_sys::{Event, MessageEvent, WebSocket};

/// How long opening a socket may take.
const CONNECT_MILLIS: u32 = CONNECT_SECONDS as u32 * 1000;

/// What happens to a socket.
enum Happening {
    Open,
    Text(String),
    /// Something else than text, which no relay sends.
    Other,
    Closed,
}

/// An open or opening socket, closed when it is dropped.
struct Socket {
    socket: WebSocket,
    happenings: UnboundedReceiver<Happening>,
    _open: Closure<dyn FnMut(Event)>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _end: Closure<dyn FnMut(Event)>,
}

impl Socket {
    fn new(socket: WebSocket) -> Self {
        let (sender, happenings) = unbounded();
        // Nobody listens any more only when the socket is dropped.
        let tell = sender.clone();
        let open = Closure::new(move |_: Event| drop(tell.unbounded_send(Happening::Open)));
        let tell = sender.clone();
        let message = Closure::new(move |event: MessageEvent| {
            let text = event.data().as_string();
            let _ = tell.unbounded_send(text.map_or(Happening::Other, Happening::Text));
        });
        let end = Closure::new(move |_: Event| drop(sender.unbounded_send(Happening::Closed)));
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onerror(Some(end.as_ref().unchecked_ref()));
        socket.set_onclose(Some(end.as_ref().unchecked_ref()));
        Self { socket, happenings, _open: open, _message: message, _end: end }
    }

    /// Sends, and hands over what comes, until the conversation is over.
    async fn converse<T>(
        mut self,
        first: Vec<String>,
        mut receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
    ) -> Result<T, Failure> {
        let refused = |why: &str| Failure::new(Code::RelayRefused, why);
        let send = |text: &str| self.socket.send_with_str(text).map_err(|e| refused(&words(&e)));
        let opening = pin!(self.happenings.next());
        match select(opening, Limit::of(None, CONNECT_MILLIS).aborted()).await {
            Either::Left((Some(Happening::Open), _)) => {}
            Either::Left(_) => {
                return Err(Failure::new(Code::ConnectFailed, "the connection failed"));
            }
            Either::Right((failure, _)) => return Err(failure),
        }
        first.iter().try_for_each(|text| send(text))?;
        while let Some(happening) = self.happenings.next().await {
            let text = match happening {
                Happening::Text(text) => text,
                Happening::Open | Happening::Other => continue,
                Happening::Closed => break,
            };
            if text.len() > MAX_MESSAGE {
                let why = "the relay sends too large a message";
                return Err(Failure::new(Code::BodyTooLarge, why));
            }
            match receive(&text)? {
                Next::Wait => {}
                Next::Send(texts) => texts.iter().try_for_each(|text| send(text))?,
                Next::Done(result) => return Ok(result),
            }
        }
        Err(refused("the relay closed the connection"))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onerror(None);
        self.socket.set_onclose(None);
        // A socket that was never open may mind, which is nobody's business any more.
        let _ = self.socket.close();
    }
}

impl Browser {
    fn connect(&self, url: &str) -> Result<Socket, Failure> {
        let target = check_url(url, self.loopback)?;
        let socket = match &self.web_socket {
            None => WebSocket::new(&target.href()),
            Some(class) => Reflect::construct(class, &Array::of1(&target.href().into()))
                .map(JsCast::unchecked_into),
        };
        let failed = |e: JsValue| Failure::new(Code::ConnectFailed, words(&e));
        socket.map(Socket::new).map_err(failed)
    }

    /// Holds a conversation within its time.
    pub(crate) async fn converse<T>(
        &self,
        url: &str,
        first: Vec<String>,
        limit: &Limit,
        receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
    ) -> Result<T, Failure> {
        let talk = pin!(self.connect(url)?.converse(first, receive));
        match select(talk, limit.aborted()).await {
            Either::Left((result, _)) => result,
            Either::Right((failure, _)) => Err(failure),
        }
    }

    /// Asks for everything that matches the filters. What came before a failure is an answer too.
    pub(super) async fn relay(
        &self,
        url: &str,
        filters: &[Value],
        limit: &Limit,
    ) -> Result<Answer, Failure> {
        let mut query = Query::new(filters.to_vec());
        let first = query.start();
        let talk = self.converse(url, first, limit, |text| Ok(query.receive(text)));
        let answers = match talk.await {
            Ok(answers) => Ok(answers),
            // A socket does not say why it was not opened.
            Err(failure) if failure.code == Code::ConnectFailed => {
                Err(self.without_address(url, failure, limit).await)
            }
            Err(failure) => Ok(query.stop(&failure)),
        };
        Ok(Answer { body: answered(answers?)?, via: Via::Direct, fetched_at: self.now() })
    }
}
