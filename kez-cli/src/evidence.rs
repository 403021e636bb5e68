//! Evidence of forks at sigchain servers: `kez sigchain export --evidence` reads it, and
//! `kez sigchain publish --evidence` gives a server another history than the one that it has.

use crate::{
    host::{Access, Net},
    output::{Out, clean},
    places::{Places, give_evidence},
    run::Context,
};
use kez_core::{
    Chain, Code, Error, Fork, Result, evidence_request, fork::read_evidence, transport::Body,
};
use serde::Serialize;
use std::path::Path;

/// What one server answered.
#[derive(Serialize)]
struct Answer {
    server: String,
    /// How many fork objects of this chain it has.
    objects: usize,
    /// Why its evidence is not known, or not all of it.
    reason: Option<Code>,
}

/// Prints or writes the fork objects of all servers, each once, one a line. Returns the exit code.
///
/// # Errors
/// `usage` without a server; that of the first server, if all of them fail.
pub(super) async fn export(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &Chain,
    servers: Vec<String>,
    file: Option<&Path>,
) -> Result<u8> {
    let servers = named_or_configured(context, chain, servers)?;
    let (mut objects, mut answers, mut failed) = (Vec::new(), Vec::new(), None);
    for server in &servers {
        let (forks, error) = ask(context, chain, server).await;
        let reason = error.as_ref().map(Error::code);
        answers.push(Answer { server: server.clone(), objects: forks.len(), reason });
        for object in forks.iter().map(Fork::to_canonical) {
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        if let Some(error) = error {
            out.hint(&format!("kez: warning: {error}"));
            failed.get_or_insert(error);
        }
    }
    let code = match failed {
        Some(error) if objects.is_empty() && answers.iter().all(|a| a.reason.is_some()) => {
            return Err(error);
        }
        Some(error) => error.code().status().exit_code(),
        None => 0,
    };
    let evidence: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let value = serde_json::json!({
        "schema": "kez.evidence/1",
        "chain": chain.name(),
        "servers": answers,
        "evidence": evidence,
    });
    match file {
        Some(path) => {
            context.home.write(path, evidence.as_bytes(), Access::Public)?;
            let path = clean(&path.display().to_string());
            out.result(&value, &format!("wrote {} fork objects to {path}", objects.len()));
        }
        None if out.json || !objects.is_empty() => out.result(&value, &evidence),
        None => out.hint("kez: the servers have no evidence of another history"),
    }
    Ok(code)
}

/// The servers that the user named, else those of the configuration.
fn named_or_configured(
    context: &Context<'_, impl Net>,
    chain: &Chain,
    named: Vec<String>,
) -> Result<Vec<String>> {
    let servers =
        if named.is_empty() { Places::configured(context, chain)?.servers } else { named };
    if servers.is_empty() {
        let why = "name a server with --server, or as sig_servers in config.toml";
        return Err(Error::about(Code::Usage, why));
    }
    Ok(servers)
}

/// Gives servers the chain, although they may have another history.
///
/// # Errors
/// `usage` without a server; that of the first server that refuses it.
pub(super) async fn give(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &Chain,
    servers: Vec<String>,
) -> Result<u8> {
    for server in named_or_configured(context, chain, servers)? {
        let is_evidence = give_evidence(&context.net.net, chain, &server).await?;
        let value = serde_json::json!({
            "schema": "kez.published/1",
            "chain": chain.name(),
            "head": chain.head(),
            "place": server,
            "evidence": is_evidence,
        });
        let what = if is_evidence { "stored as evidence of a fork at" } else { "published" };
        out.result(&value, &format!("{what} {}", clean(&server)));
    }
    Ok(0)
}

/// A server's evidence on a chain. What verifies counts, even if the rest does not.
async fn ask(
    context: &Context<'_, impl Net>,
    chain: &Chain,
    server: &str,
) -> (Vec<Fork>, Option<Error>) {
    let request = evidence_request(server.trim_end_matches('/'), chain.name());
    let place = request.place();
    let fail = |code, why: &str| (Vec::new(), Some(Error::about(code, format!("{place}: {why}"))));
    let answer = match context.net.net.fetch(&request).await {
        Ok(answer) => answer,
        Err(failure) => {
            return fail(failure.code, failure.detail.as_deref().unwrap_or("no answer"));
        }
    };
    let bytes = match answer.body {
        Body::Http { status: 200, bytes, .. } => bytes,
        Body::Http { status: 404 | 405 | 410, .. } => return (Vec::new(), None),
        Body::Http { status, .. } => {
            return fail(Code::HttpStatus, &format!("HTTP status {status}"));
        }
        _ => return fail(Code::ResponseRefused, "no HTTP answer"),
    };
    let (mut forks, mut error) = read_evidence(&bytes, context.host.now());
    let all = forks.len();
    forks.retain(|fork| fork.chain() == chain.name());
    if forks.len() < all {
        error.get_or_insert_with(|| {
            Error::about(Code::ForkRefused, format!("{place}: evidence of another chain"))
        });
    }
    (forks, error)
}
