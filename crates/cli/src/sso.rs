//! `rspm login sso`, single sign-on: the device flow (RFC 8628 with PKCE, RFC 7636) of Posit Package Manager, and the
//! exchange of the identity token for an access token (RFC 8693).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Digest;
use tokio::time::{Instant, sleep};
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::error::CliError;
use super::output::{note, shortened};
use super::remote;
use base::model::errors::error_chain;

/// Maximum size of a response, in bytes.
const MAX_RESPONSE: usize = 64 << 10;
/// Maximum length of a text of the server that is shown, in characters.
const MAX_TEXT: usize = 500;
/// Timeout of a request, which the server may hold open until the user has signed in.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Interval of polls if the server states none, in seconds.
const INTERVAL: u64 = 5;
/// Maximum interval of polls, in seconds.
const MAX_INTERVAL: u64 = 60;
/// Lifetime of a code if the server states none, in seconds.
const LIFETIME: u64 = 300;
/// Maximum lifetime of a code, in seconds.
const MAX_LIFETIME: u64 = 3600;
/// The variable with the file of an identity token, which a CI system provides; it replaces the device flow.
const IDENTITY_TOKEN_FILE: &str = "PACKAGEMANAGER_IDENTITY_TOKEN_FILE";

/// Response to `POST /__api__/device`.
#[derive(Deserialize)]
struct Device {
    device_code: String,
    #[serde(default)]
    user_code: String,
    #[serde(default)]
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: String,
    interval: Option<u64>,
    expires_in: Option<u64>,
}

/// Response to `POST /__api__/device_access`.
#[derive(Deserialize)]
struct Identity {
    id_token: String,
}

/// Response to `POST /__api__/token`.
#[derive(Deserialize)]
struct Access {
    access_token: String,
}

/// An error of the endpoints, RFC 6749 5.2.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Signs in and returns the access token.
pub(super) async fn sign_in(address: &str, verifies_tls: bool) -> Result<Zeroizing<String>, CliError> {
    let (client, address) = remote::http_client(address, verifies_tls)?;
    let endpoints = Endpoints { client, address };
    let identity = match identity_token()? {
        Some(token) => token,
        None => endpoints.device_flow().await?,
    };
    let body = form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", identity.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ]);
    match endpoints.post::<Access>("token", body).await? {
        Ok(access) if !access.access_token.is_empty() => Ok(Zeroizing::new(access.access_token)),
        Ok(_) => Err(endpoints.failure("it returned no token")),
        Err((status, refusal)) => Err(endpoints.refused(status, &refusal)),
    }
}

/// Returns the first line of the file that `PACKAGEMANAGER_IDENTITY_TOKEN_FILE` names.
fn identity_token() -> Result<Option<Zeroizing<String>>, CliError> {
    let Some(path) = std::env::var_os(IDENTITY_TOKEN_FILE).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = std::path::PathBuf::from(path);
    let text = std::fs::read_to_string(&path);
    let text = text.map(Zeroizing::new).map_err(|source| CliError::Local {
        operation: format!("read {}, which {IDENTITY_TOKEN_FILE} names", path.display()),
        source,
    })?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        let path = path.display();
        return Err(CliError::refused(format!(
            "{path}, which {IDENTITY_TOKEN_FILE} names, contains no token"
        )));
    }
    Ok(Some(Zeroizing::new(line.to_owned())))
}

/// The endpoints of a server for signing in.
struct Endpoints {
    client: reqwest::Client,
    address: String,
}

impl Endpoints {
    /// Asks the user to sign in with a browser, and returns the identity token.
    async fn device_flow(&self) -> Result<Zeroizing<String>, CliError> {
        let verifier = Zeroizing::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let challenge = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier.as_bytes()));
        let body = form(&[("code_challenge_method", "S256"), ("code_challenge", challenge.as_str())]);
        let device = match self.post::<Device>("device", body).await? {
            Ok(device) => device,
            Err((StatusCode::NOT_FOUND, _)) => {
                return Err(CliError::refused(format!(
                    "{} has no single sign-on; use a token of rspm create token: rspm login",
                    self.address
                )));
            }
            Err((status, refusal)) => return Err(self.refused(status, &refusal)),
        };
        show(&device).map_err(|problem| self.failure(problem))?;
        let lifetime = Duration::from_secs(device.expires_in.unwrap_or(LIFETIME).min(MAX_LIFETIME));
        let mut interval = device.interval.unwrap_or(INTERVAL).clamp(1, MAX_INTERVAL);
        let deadline = Instant::now() + lifetime;
        loop {
            sleep(Duration::from_secs(interval)).await;
            if Instant::now() >= deadline {
                return Err(CliError::refused(
                    "the sign-in was not completed in time; run rspm login sso again",
                ));
            }
            let body =
                form(&[("device_code", device.device_code.as_str()), ("code_verifier", verifier.as_str())]);
            match self.post::<Identity>("device_access", body).await? {
                Ok(identity) => return Ok(Zeroizing::new(identity.id_token)),
                Err((StatusCode::BAD_REQUEST, refusal)) => match refusal.error.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => interval = (interval + 5).min(MAX_INTERVAL),
                    "access_denied" => {
                        return Err(CliError::refused("the sign-in was denied in the browser"));
                    }
                    "expired_token" => {
                        return Err(CliError::refused("the code has expired; run rspm login sso again"));
                    }
                    _ => return Err(self.refused(StatusCode::BAD_REQUEST, &refusal)),
                },
                Err((status, refusal)) => return Err(self.refused(status, &refusal)),
            }
        }
    }

    /// Sends a form. Returns the response, or the status and the error of a refusal.
    async fn post<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: String,
    ) -> Result<Result<T, (StatusCode, Refusal)>, CliError> {
        let request = self
            .client
            .post(format!("{}/__api__/{endpoint}", self.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .timeout(REQUEST_TIMEOUT)
            .body(body);
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = remote::body(&mut response, MAX_RESPONSE).await;
        let bytes = bytes.map_err(|error| self.unreachable(&error))?.map(Zeroizing::new);
        let bytes = bytes.ok_or_else(|| self.failure("its response is too long"))?;
        if status == StatusCode::OK {
            // SECURITY: the message of the parser is not shown, because it may quote a token.
            let value = serde_json::from_slice(&bytes);
            return value.map(Ok).map_err(|_| self.failure("its response is not one that rspm understands"));
        }
        Ok(Err((status, serde_json::from_slice(&bytes).unwrap_or_default())))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        // The message of the error itself repeats the address.
        let reason = std::error::Error::source(error).map_or_else(|| "no response".to_owned(), error_chain);
        CliError::Unreachable { address: self.address.clone(), reason }
    }

    fn failure(&self, problem: &str) -> CliError {
        CliError::refused(format!("cannot sign in to {}: {problem}", self.address))
    }

    fn refused(&self, status: StatusCode, refusal: &Refusal) -> CliError {
        let Refusal { error, error_description } = refusal;
        let text = if error_description.is_empty() { error } else { error_description };
        self.failure(format!("{status} {}", shortened(text, MAX_TEXT)).trim())
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

/// Prints where to sign in.
fn show(device: &Device) -> Result<(), &'static str> {
    let is_url = |text: &str| {
        url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    };
    let addresses = [&device.verification_uri_complete, &device.verification_uri];
    let address = addresses
        .into_iter()
        .find(|address| is_url(address))
        .ok_or("its response has no address of a sign-in page")?;
    note(format!(
        "To sign in, open this page in a browser, and compare the code {}:\n\n  {}\n",
        shortened(&device.user_code, MAX_TEXT),
        shortened(address, MAX_TEXT)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_shown_only_if_it_is_on_the_web() {
        let device = |complete: &str, uri: &str| Device {
            device_code: String::new(),
            user_code: String::new(),
            verification_uri: uri.to_owned(),
            verification_uri_complete: complete.to_owned(),
            interval: None,
            expires_in: None,
        };
        assert!(show(&device("https://a.example/d?c=1", "")).is_ok());
        assert!(show(&device("", "http://localhost/d")).is_ok());
        for uri in ["", "file:///etc/passwd", "javascript:alert(1)", "\u{1b}[2J"] {
            assert!(show(&device(uri, uri)).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_form_is_encoded() {
        assert_eq!(form(&[("a", "b&c"), ("d", "é")]), "a=b%26c&d=%C3%A9");
    }
}
