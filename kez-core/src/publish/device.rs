//! GitHub's device flow (RFC 8628): the user allows it in a browser, by a short code.

use super::accounts::{Credential, FORM, Publisher, Web, form, form_value};
use crate::{Code, Error, Identity, Result, Timestamp};
use alloc::string::String;
use zeroize::Zeroizing;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How much longer is waited after GitHub said that it was asked too often (RFC 8628, section 3.5).
const SLOWER: u32 = 5;

/// A request for leave that waits for the user.
pub struct DeviceCode {
    client: String,
    secret: Zeroizing<String>,
    /// What the user types at [`DeviceCode::url`].
    pub user_code: String,
    /// The page where the user allows it.
    pub url: String,
    /// For how many seconds to wait before each question.
    pub interval: u32,
    /// When it is too late.
    pub expires_at: Timestamp,
}

/// Without the secret.
impl core::fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DeviceCode({})", self.client)
    }
}

impl DeviceCode {
    /// Begins, for an OAuth app of GitHub that has the device flow enabled, by its client id.
    ///
    /// # Errors
    /// `credential_refused` with GitHub's words for an app that is none; why GitHub could not be
    /// asked.
    pub async fn request(publisher: &Publisher<'_, impl Web>, client: &str) -> Result<Self> {
        let url = "https://github.com/login/device/code";
        let answer = ask(publisher, url, &[("client_id", client), ("scope", "gist")]).await?;
        let text = |name| form_value(&answer, name);
        let number = |name| text(name).and_then(|digits| digits.parse::<u32>().ok());
        let (Some(secret), Some(user_code), Some(page)) =
            (text("device_code"), text("user_code"), text("verification_uri"))
        else {
            return Err(refused(&answer, url));
        };
        Ok(Self {
            client: client.into(),
            secret: Zeroizing::new(secret),
            user_code,
            url: page,
            interval: number("interval").unwrap_or(SLOWER).clamp(1, 60),
            expires_at: publisher.now.plus(number("expires_in").unwrap_or(900).into()),
        })
    }

    /// Asks whether the user has allowed it: the credential, or nothing yet.
    ///
    /// # Errors
    /// `credential_refused` if the user declined, or it is too late.
    pub async fn poll(
        &mut self,
        publisher: &Publisher<'_, impl Web>,
        account: &Identity,
    ) -> Result<Option<Credential>> {
        let url = "https://github.com/login/oauth/access_token";
        let pairs =
            [("client_id", &*self.client), ("device_code", &self.secret), ("grant_type", GRANT)];
        let answer = Zeroizing::new(ask(publisher, url, &pairs).await?);
        if let Some(token) = form_value(&answer, "access_token") {
            return Ok(Some(Credential::new(account.clone(), Zeroizing::new(token))));
        }
        match form_value(&answer, "error").as_deref() {
            Some("authorization_pending") => Ok(None),
            Some("slow_down") => {
                self.interval += SLOWER;
                Ok(None)
            }
            _ => Err(refused(&answer, url)),
        }
    }
}

async fn ask(
    publisher: &Publisher<'_, impl Web>,
    url: &str,
    pairs: &[(&str, &str)],
) -> Result<String> {
    let http = publisher.send("POST", url, None, Some((FORM, form(pairs)))).await?;
    match http.status {
        // GitHub says what is wrong with 200, and that there is no such app with 404.
        200 | 404 => Ok(String::from_utf8_lossy(&http.bytes).into_owned()),
        _ => Err(http.miss().into()),
    }
}

fn refused(answer: &str, url: &str) -> Error {
    let said = form_value(answer, "error_description").or_else(|| form_value(answer, "error"));
    Error::about(Code::CredentialRefused, said.unwrap_or_else(|| url.into()))
}
