//! The errors of atproto's servers. Their names decide, not the HTTP status: a server answers 400
//! for an account that it does not have, for one that is deactivated, and for faults of its own.

use crate::channel::{Http, Miss};
use crate::{Code, json::Value};
use alloc::{format, string::String};

/// The name and the message of an error.
pub(super) fn error(http: &Http) -> Option<(String, String)> {
    let body = Value::parse_foreign(&http.bytes).ok()?;
    let text = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = Some(text("error")).filter(|name| !name.is_empty())?;
    Some((name.into(), text("message").into()))
}

/// The meaning of an error for a request about an account. Unknown names mean that the answer is
/// unknown.
pub(super) fn miss(http: &Http) -> Miss {
    let Some((name, said)) = error(http) else { return http.miss() };
    let about = |code, why: &str| Miss::at(code, http.place.clone()).because(why);
    let suspended = |why| about(Code::AccountSuspended, why);
    match name.as_str() {
        "RepoNotFound" | "AccountNotFound" | "ActorNotFound" | "NoSuchAccount" => {
            about(Code::IdentityNotFound, &name)
        }
        // What servers said before these errors had names.
        "InvalidRequest" if said.to_lowercase().starts_with("could not find repo") => {
            about(Code::IdentityNotFound, &said)
        }
        "RepoDeactivated" | "AccountDeactivated" => {
            suspended("the owner has deactivated the account for the time being")
        }
        "RepoSuspended" | "AccountSuspended" => {
            suspended("the server has suspended the account for the time being")
        }
        "RepoTakendown" | "AccountTakedown" | "AccountTakenDown" => {
            suspended("the moderators of the server have taken the account down")
        }
        "AuthRequired" | "AuthMissing" | "AuthenticationRequired" => {
            about(Code::AuthRequired, &name)
        }
        _ => {
            let mut miss = http.miss();
            if name == "RateLimitExceeded" {
                miss.code = Code::RateLimited;
            }
            miss.because(if said.is_empty() { name } else { format!("{name}: {said}") })
        }
    }
}
