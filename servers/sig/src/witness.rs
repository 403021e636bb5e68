//! Witnesses of the log (C2SP's tlog-witness): they are asked to cosign its newest checkpoint, and
//! do so only if it extends what they saw before. Readers that trust them need not trust us.

use crate::{
    metrics::Metrics,
    store::{Refusal, Store},
};
use futures_util::future::join_all;
use kez_core::log::{Checkpoint, NoteKey};
use reqwest::{Client, StatusCode, redirect::Policy};
use std::{fmt::Write as _, time::Duration};

/// A checkpoint is sent to the witnesses this often at most.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long a witness may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const MAX_ANSWER: usize = 16 * 1024;

/// A witness.
#[derive(Clone, Debug)]
pub struct Witness {
    url: String,
    key: NoteKey,
    /// The size of the tree that it saw last, as far as we know.
    seen: u64,
}

impl Witness {
    /// Reads `URL#KEY`: where the witness takes checkpoints, without `/add-checkpoint`, and its
    /// public key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (url, key) =
            text.split_once('#').ok_or_else(|| format!("{text}: a witness is URL#KEY"))?;
        let key = NoteKey::parse_witness(key).map_err(|e| format!("{text}: {e}"))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key, seen: 0 })
    }

    /// Asks for a cosignature; gives its line.
    async fn cosign(
        &mut self,
        client: &Client,
        store: &Store,
        checkpoint: &Checkpoint,
    ) -> Result<String, String> {
        for _ in 0..2 {
            let old = self.seen.min(checkpoint.size());
            let proof = store.consistency(old, checkpoint.size()).await;
            let proof = proof.map_err(|e: Refusal| e.to_string())?;
            let mut body = format!("old {old}\n");
            for hash in kez_core::log::to_base64(&proof) {
                // Writing to a string does not fail.
                let _ = writeln!(body, "{hash}");
            }
            body.push('\n');
            body.push_str(checkpoint.note());
            let request = client.post(format!("{}/add-checkpoint", self.url)).body(body);
            let mut response = request.send().await.map_err(|e| e.without_url().to_string())?;
            let status = response.status();
            let mut bytes = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|e| e.without_url().to_string())?
            {
                if bytes.len() + chunk.len() > MAX_ANSWER {
                    return Err("its answer is too long".into());
                }
                bytes.extend_from_slice(&chunk);
            }
            let answer = String::from_utf8(bytes).map_err(|e| e.to_string())?;
            match status {
                StatusCode::OK => {
                    self.seen = checkpoint.size();
                    return Ok(answer);
                }
                // It saw another size than we thought, and says which.
                StatusCode::CONFLICT => {
                    self.seen = answer.trim().parse().map_err(|_| "it names no size".to_owned())?;
                }
                status => return Err(format!("status {status}")),
            }
        }
        Err("it does not agree about the log's size".into())
    }
}

/// Has each new checkpoint cosigned and publishes it, for ever.
pub(crate) async fn run(store: Store, mut witnesses: Vec<Witness>, metrics: Metrics) {
    let client = Client::builder().redirect(Policy::none()).timeout(LIMIT).build();
    let client = match client {
        Ok(client) => client,
        Err(e) => return tracing::error!("witnesses cannot be asked: {e}"),
    };
    let mut checkpoints = store.checkpoints();
    loop {
        let newest = checkpoints.borrow_and_update().clone();
        let mut complete = true;
        // The tree of no entries needs no witness, and most refuse it.
        if newest.size() > 0 {
            let asked = witnesses.iter_mut().map(async |witness| {
                let line = witness.cosign(&client, &store, &newest).await;
                (witness.key.clone(), line)
            });
            let mut cosigned = (*newest).clone();
            for (key, line) in join_all(asked).await {
                let with = line.and_then(|line| {
                    cosigned.with_cosignature(&key, &line).map_err(|e| e.to_string())
                });
                match with {
                    Ok(with) => {
                        metrics.cosignatures.inc();
                        cosigned = with;
                    }
                    Err(why) => {
                        metrics.witness_failures.inc();
                        complete = false;
                        tracing::warn!(witness = key.name(), "no cosignature: {why}");
                    }
                }
            }
            if cosigned != *newest {
                store.publish(cosigned);
            }
        }
        tokio::time::sleep(PAUSE).await;
        if complete && checkpoints.changed().await.is_err() {
            return;
        }
    }
}
