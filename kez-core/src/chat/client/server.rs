//! What is asked of the server.

use super::{Call, Client, Platform, record};
use crate::{
    Chain, Code, Error, Identity, Kind, Result,
    chat::{
        Bundle, Handle, KeyPackage, LIFETIME, SignedHandle,
        auth::{Binds, Request},
    },
    json::{Members, Value},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

const JSON: &str = "application/json";
/// For how many conversations an acknowledgement names the last accepted commit; the next one names
/// the rest.
const ACCEPTED: usize = 100;

/// An item of an inbox or of a log.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) kind: ItemKind,
    pub(super) conversation: String,
    pub(super) position: u64,
    pub(super) id: String,
    pub(super) device: Option<String>,
    pub(super) body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    Message,
    Commit,
    Welcome,
}

impl Item {
    pub(super) fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let kind = match m.text("kind")? {
            "message" => ItemKind::Message,
            "commit" => ItemKind::Commit,
            "welcome" => ItemKind::Welcome,
            other => return Err(Error::about(Code::TypeUnknown, other)),
        };
        let conversation = m.text("conversation")?;
        // It becomes part of a record's name.
        if crate::hex::decode::<32>(conversation).is_none() {
            return Err(Error::about(Code::IdRefused, conversation));
        }
        Ok(Self {
            seq: m.optional_int("seq")?.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
            kind,
            conversation: conversation.to_owned(),
            position: record::number(&mut m, "position")?,
            id: m.optional_text("id")?.unwrap_or_default().to_owned(),
            device: m.optional_text("device")?.map(ToOwned::to_owned),
            body: record::unbase64(&mut m, "body")?,
        })
    }
}

/// A key package of a device, as the server gave it.
pub(super) struct Claimed {
    pub(super) device: String,
    pub(super) bundle: String,
    pub(super) key_package: Vec<u8>,
}

impl<P: Platform> Client<P> {
    /// A request that the device signs.
    async fn signed(
        &self,
        method: &'static str,
        path: &str,
        since: Option<u64>,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let body = body.map(Value::to_canonical);
        let binds = match (&body, since) {
            (Some(body), _) => Binds::Body(body.as_bytes()),
            (None, Some(since)) => Binds::Since(since),
            (None, None) => Binds::Nothing,
        };
        let authorization = Some(self.credentials(method, path, binds)?.to_header());
        let query = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let url = format!("{}{path}{query}", self.account.server);
        self.call(Call {
            method,
            url,
            authorization,
            dpop: None,
            body: body.map(|body| (JSON, body)),
        })
        .await
    }

    pub(super) fn credentials(
        &self,
        method: &str,
        path: &str,
        binds: Binds<'_>,
    ) -> Result<crate::chat::auth::Credentials> {
        let at_ms = self.platform.now_ms().max(self.signed_at.get() + 1);
        self.signed_at.set(at_ms);
        let request = Request { origin: &self.account.server, method, path, binds, at_ms };
        request.sign(self.device.secret())
    }

    async fn call(&self, call: Call) -> Result<(u16, Value)> {
        let url = call.url.clone();
        let failed = |failure: crate::transport::Failure| {
            let detail = failure.detail.unwrap_or_else(|| url.clone());
            Error::about(failure.code, detail)
        };
        let (status, body) = self.platform.call(call).await.map_err(failed)?;
        read_answer(status, &body)
    }

    /// An answer that is no conflict.
    fn good((status, value): (u16, Value)) -> Result<Value> {
        if status == 409 { Err(problem(status, &value)) } else { Ok(value) }
    }

    pub(super) async fn post_handle(&self, record: &SignedHandle, chain: &Chain) -> Result<()> {
        let body = Value::object([
            ("record", Value::String(record.envelope().to_canonical())),
            ("chain", Value::String(chain.to_bundle())),
        ]);
        let call = Call {
            method: "POST",
            url: format!("{}/v1/handles", self.account.server),
            authorization: None,
            dpop: None,
            body: Some((JSON, body.to_canonical())),
        };
        Self::good(self.call(call).await?).map(drop)
    }

    /// Brings the chain that the server has up to date.
    ///
    /// # Errors
    /// `forked` if the server has another history, those of the network.
    pub async fn put_chain(&self, chain: &Chain) -> Result<()> {
        let call = Call {
            method: "PUT",
            url: self.chain_url(self.account.handle.as_str()),
            authorization: None,
            dpop: None,
            body: Some(("application/jsonl", chain.to_bundle())),
        };
        Self::good(self.call(call).await?).map(drop)
    }

    /// Where the server has a handle's chain.
    pub(super) fn chain_url(&self, handle: &str) -> String {
        format!("{}/v1/handles/{handle}/chain", self.account.server)
    }

    /// The signed record of a handle.
    pub(super) async fn get_handle(&self, handle: &str) -> Result<SignedHandle> {
        let call = Call {
            method: "GET",
            url: format!("{}/v1/handles/{handle}", self.account.server),
            authorization: None,
            dpop: None,
            body: None,
        };
        let value = Self::good(self.call(call).await?)?;
        let text = value.get("record").and_then(Value::as_str).unwrap_or_default();
        SignedHandle::read(crate::Envelope::from_value(Value::parse(text.as_bytes())?)?)
    }

    /// Publishes this device's key for sealed envelopes.
    pub(super) async fn put_bundle(&self) -> Result<()> {
        let now = self.now();
        let bundle = Bundle {
            primary: self.me().clone(),
            device: self.device.secret().public().identity().clone(),
            sealed_key: self.sealed.public().to_vec(),
            created_at: now,
            expires_at: now.plus(LIFETIME),
        };
        let mut bundle = bundle.to_envelope()?;
        bundle.sign(self.device.secret(), &[0; 32])?;
        let path =
            format!("/v1/devices/{}/bundle", self.device.secret().public().identity().value());
        let body = Value::object([("bundle", Value::String(bundle.to_canonical()))]);
        Self::good(self.signed("PUT", &path, None, Some(&body)).await?).map(drop)
    }

    pub(super) async fn key_packages_left(&self) -> Result<u64> {
        let value = Self::good(self.signed("GET", "/v1/keypackages", None, None).await?)?;
        record::number(&mut Members::of(&value)?, "count")
    }

    pub(super) async fn put_key_packages(&self, packages: &[(KeyPackage, bool)]) -> Result<()> {
        let packages = packages.iter().map(|(package, last_resort)| {
            Value::object([
                ("id", Value::String(package.id())),
                ("body", record::base64(&package.public)),
                ("last_resort", Value::Bool(*last_resort)),
            ])
        });
        let body = Value::object([("packages", Value::Array(packages.collect()))]);
        Self::good(self.signed("POST", "/v1/keypackages", None, Some(&body)).await?).map(drop)
    }

    pub(super) async fn claim(&self, handle: &str) -> Result<Vec<Claimed>> {
        let path = format!("/v1/handles/{handle}/keypackages/claim");
        let body = Value::Object(Vec::new());
        let value = Self::good(self.signed("POST", &path, None, Some(&body)).await?)?;
        let read = |value: &Value| {
            let mut m = Members::of(value)?;
            Ok(Claimed {
                device: m.text("device")?.to_owned(),
                bundle: m.text("bundle")?.to_owned(),
                key_package: record::unbase64(&mut m, "key_package")?,
            })
        };
        Members::of(&value)?.array("packages")?.iter().map(read).collect()
    }

    pub(super) async fn post_conversation(&self, id: &str) -> Result<()> {
        let body = Value::object([("id", Value::from(id))]);
        Self::good(self.signed("POST", "/v1/conversations", None, Some(&body)).await?).map(drop)
    }

    /// Whether it has its place; if not, another commit was before it.
    pub(super) async fn post_commit(&self, conversation: &str, body: &str) -> Result<bool> {
        let path = format!("/v1/conversations/{conversation}/commits");
        let body = Value::parse_canonical(body.as_bytes())?;
        let (status, value) = self.signed("POST", &path, None, Some(&body)).await?;
        let conflict = Code::CommitConflict.as_str();
        if status == 409 && value.get("code").and_then(Value::as_str) == Some(conflict) {
            return Ok(false);
        }
        Self::good((status, value)).map(|_| true)
    }

    pub(super) async fn post_message(
        &self,
        conversation: &str,
        id: &str,
        body: &[u8],
    ) -> Result<()> {
        let body = Value::object([
            ("conversation", Value::from(conversation)),
            ("id", Value::from(id)),
            ("body", record::base64(body)),
        ]);
        Self::good(self.signed("POST", "/v1/messages", None, Some(&body)).await?).map(drop)
    }

    /// A page of the inbox, and the position of its newest item.
    pub(super) async fn get_inbox(&self, since: u64) -> Result<(Vec<Item>, u64)> {
        let path = format!("/v1/inbox/{}", self.account.handle);
        let value = Self::good(self.signed("GET", &path, Some(since), None).await?)?;
        let mut m = Members::of(&value)?;
        let items = m.array("items")?.iter().map(Item::from_value).collect::<Result<_>>()?;
        Ok((items, record::number(&mut m, "last")?))
    }

    /// Acknowledges the inbox up to a position, and tells which commits were accepted.
    pub(super) async fn post_ack(&mut self, seq: u64) -> Result<()> {
        let path = format!("/v1/inbox/{}/ack", self.account.handle);
        let told: Vec<(String, u64)> =
            self.accepted.iter().take(ACCEPTED).map(|(id, at)| (id.clone(), *at)).collect();
        let accepted = told.iter().map(|(conversation, position)| {
            let conversation = Value::from(conversation.as_str());
            Value::object([("conversation", conversation), ("position", record::int(*position))])
        });
        let body = Value::object([
            ("seq", record::int(seq)),
            ("accepted", Value::Array(accepted.collect())),
        ]);
        Self::good(self.signed("POST", &path, None, Some(&body)).await?)?;
        self.accepted.retain(|id, at| !told.iter().any(|(told, then)| told == id && then == at));
        Ok(())
    }

    pub(super) async fn get_log(&self, conversation: &str, since: u64) -> Result<Vec<Item>> {
        let path = format!("/v1/conversations/{conversation}/log");
        let value = Self::good(self.signed("GET", &path, Some(since), None).await?)?;
        Members::of(&value)?.array("items")?.iter().map(Item::from_value).collect()
    }

    /// The handles to which a conversation is delivered, by the server's word.
    pub(super) async fn get_recipients(&self, conversation: &str) -> Result<Vec<String>> {
        let path = format!("/v1/conversations/{conversation}");
        let value = Self::good(self.signed("GET", &path, None, None).await?)?;
        record::texts(Members::of(&value)?.array("recipients")?)
    }

    /// Blocks a handle at the server: nothing that it posts comes into the inbox any more, and it is
    /// not told. In a conversation with others, its messages can still come by the log.
    ///
    /// # Errors
    /// `quota_exceeded` beyond 1,000 handles; those of the network.
    pub async fn block(&self, handle: &Handle) -> Result<()> {
        let body = Value::Object(Vec::new());
        let path = self.block_path(handle);
        Self::good(self.signed("PUT", &path, None, Some(&body)).await?).map(drop)
    }

    /// Ends the block of a handle. What it posted meanwhile stays away.
    ///
    /// # Errors
    /// Those of the network.
    pub async fn unblock(&self, handle: &Handle) -> Result<()> {
        let path = self.block_path(handle);
        Self::good(self.signed("DELETE", &path, None, None).await?).map(drop)
    }

    /// The handles that are blocked, sorted.
    ///
    /// # Errors
    /// Those of the network.
    pub async fn blocked(&self) -> Result<Vec<String>> {
        let path = format!("/v1/inbox/{}/blocks", self.account.handle);
        let value = Self::good(self.signed("GET", &path, None, None).await?)?;
        record::texts(Members::of(&value)?.array("blocks")?)
    }

    fn block_path(&self, other: &Handle) -> String {
        format!("/v1/inbox/{}/blocks/{other}", self.account.handle)
    }

    /// The URL of this device's stream, from where the inbox was taken. It is good for a minute,
    /// once, and must not be logged.
    ///
    /// # Errors
    /// None that a device's key gives.
    pub fn stream_url(&self) -> Result<String> {
        let path = format!("/v1/inbox/{}/stream", self.account.handle);
        let query = self.credentials("GET", &path, Binds::Nothing)?.to_query();
        Ok(format!("{}{path}?{query}&since={}", self.account.server, self.account.cursor))
    }

    /// Whether an identity is this client's own.
    pub(super) fn is_me(&self, primary: &Identity) -> bool {
        primary == self.me()
    }
}

/// What the server says of a failure, by its code if that is known here.
/// Reads an answer by its status first: what stands between the client and the server, such as a
/// proxy or a captive portal, may answer in HTML. Both are trouble of the network, to be waited out.
fn read_answer(status: u16, body: &[u8]) -> Result<(u16, Value)> {
    let good = (200..300).contains(&status) || status == 409;
    let value = match body {
        [] => Value::Null,
        body => match Value::parse_foreign(body) {
            Ok(value) => value,
            Err(_) if good => return Err(Error::about(Code::ResponseRefused, "it is no JSON")),
            Err(_) => Value::Null,
        },
    };
    if good { Ok((status, value)) } else { Err(problem(status, &value)) }
}

/// The error that a problem reports. A server that is in trouble itself has no say in what is wrong
/// here: its codes of other kinds, such as `storage_failed`, are not the client's.
fn problem(status: u16, value: &Value) -> Error {
    let code = value.get("code").and_then(Value::as_str).and_then(Code::from_name);
    let detail = value.get("detail").and_then(Value::as_str);
    let trouble = status >= 500 || matches!(status, 408 | 429);
    match (code, detail) {
        (Some(code), _) if trouble && code.kind() != Kind::Network => match status {
            507 => Error::about(Code::QuotaExceeded, "the server's storage is full"),
            _ => Error::about(Code::HttpStatus, format!("{status} {code}")),
        },
        (Some(code), Some(detail)) => Error::about(code, detail),
        (Some(code), None) => code.into(),
        (None, _) if status == 429 => Error::about(Code::RateLimited, status),
        (None, _) => Error::about(Code::HttpStatus, status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16, body: &str) -> Code {
        read_answer(status, body.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn the_status_counts_before_the_body() {
        let html = "<html><h1>502 Bad Gateway</h1></html>";
        for status in [403, 500, 502, 503, 504, 511] {
            assert_eq!(code(status, html), Code::HttpStatus, "{status}");
        }
        assert_eq!(code(429, html), Code::RateLimited);
        // A captive portal.
        assert_eq!(code(200, html), Code::ResponseRefused);
        for (status, name, expected) in [
            (503, "storage_failed", Code::HttpStatus),
            (500, "storage_failed", Code::HttpStatus),
            (507, "storage_failed", Code::QuotaExceeded),
            (507, "quota_exceeded", Code::QuotaExceeded),
            (503, "rate_limited", Code::RateLimited),
            (502, "json_syntax", Code::HttpStatus),
            (400, "too_large", Code::TooLarge),
            (401, "device_revoked", Code::DeviceRevoked),
        ] {
            let body = format!(r#"{{"code":"{name}","status":{status}}}"#);
            assert_eq!(code(status, &body), expected, "{status} {name}");
        }
        assert_eq!(read_answer(204, b"").unwrap(), (204, Value::Null));
    }
}
