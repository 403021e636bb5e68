//! From an identity to its verdict: where chains are found, what their copies are together, what
//! a proof and a chain say of an account, and the driver that asks (SPEC.md, "Sources" and
//! "Verdicts").

mod ask;
mod budget;
mod graph;
mod history;
mod judge;
mod report;
mod sources;
mod verifier;

pub use budget::{Budget, DEFAULT_ACCOUNTS};
pub use graph::Graph;
pub use history::{History, Known};
pub use judge::{Case, Verdict, judge};
pub use report::{Lookup, Note, Report, Status};
pub use sources::evidence_request;
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) use verifier::look_up;
pub use verifier::{Memory, NoMemory, Progress, Question, Verifier};
