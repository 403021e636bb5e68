//! Futures that the facade drives. It polls them itself, in a `try`, so that a panic in the
//! middle rejects the promise that waits for it instead of hanging it.

use js_sys::Function;
use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};
use wasm_bindgen::prelude::*;

thread_local! {
    /// What to call when a task can go on, by the task's number.
    static WAKERS: RefCell<(u32, Vec<(u32, Function)>)> =
        const { RefCell::new((0, Vec::new())) };
}

struct Number(u32);

impl Wake for Number {
    fn wake(self: Arc<Self>) {
        let mine =
            |wakers: &[(u32, Function)]| Some(wakers.iter().find(|w| w.0 == self.0)?.1.clone());
        let function = WAKERS.with_borrow(|(_, wakers)| mine(wakers));
        if let Some(function) = function {
            // The facade's function only schedules, and does not throw.
            let _ = function.call0(&JsValue::UNDEFINED);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        WAKERS.with_borrow_mut(|(_, wakers)| wakers.retain(|w| w.0 != self.number));
    }
}

type Work = Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>;

/// Work in progress.
#[wasm_bindgen]
pub struct Task {
    work: Work,
    number: u32,
    waker: Waker,
}

impl Task {
    /// Wraps work; `wake` is called whenever it can go on.
    pub fn new(
        work: impl Future<Output = Result<JsValue, JsValue>> + 'static,
        wake: Function,
    ) -> Self {
        let number = WAKERS.with_borrow_mut(|(last, wakers)| {
            *last += 1;
            wakers.push((*last, wake));
            *last
        });
        Self { work: Box::pin(work), number, waker: Waker::from(Arc::new(Number(number))) }
    }
}

#[wasm_bindgen]
impl Task {
    /// Goes on as far as it can. Gives `[result]` when the work is done, and nothing before.
    ///
    /// # Errors
    /// What the work ends with.
    pub fn poll(&mut self) -> Result<Option<js_sys::Array>, JsValue> {
        match self.work.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => result.map(|value| Some(js_sys::Array::of1(&value))),
            Poll::Pending => Ok(None),
        }
    }
}
