//! What the commands and the integration tests share: set-up, and the local servers.

pub mod api;
pub mod check;
pub mod cross;
pub mod demo;
pub mod generate;
pub mod npm;
mod order;
pub mod setup;
pub mod size;
mod split;
pub mod testnet;
pub mod vectors;
pub mod wasm;
pub mod web;

/// Errors here end the command, so that their text is all that matters.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Does two things at the same time, such as two builds: a module of WebAssembly is linked by one
/// core alone.
///
/// # Errors
/// Those of either; the first one's are given as their words alone.
pub fn both<A: Send, B>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let first = scope.spawn(|| first().map_err(|error| error.to_string()));
        let second = second();
        Ok((first.join().map_err(|_| "it broke")??, second?))
    })
}
