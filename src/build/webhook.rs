//! Webhooks: a signed request of a git server that triggers a poll. Its body is not read for anything else.

use std::sync::Arc;

use ring::hmac;

use super::credential::{decrypt, encryption_key};
use super::{Builds, poll};
use crate::db::git_builder;
use crate::serve::RepoError;

/// Maximum number of concurrent polls of webhooks: a git server sends a webhook for every push, and a request can be
/// repeated.
pub(super) const POLLS: usize = 2;

/// Headers of a request that may authenticate it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signatures<'a> {
    /// `X-Hub-Signature-256` of GitHub, Bitbucket (as `X-Hub-Signature`) and Gitea: `sha256=` and an HMAC.
    pub hub: Option<&'a str>,
    /// `X-Gitea-Signature` of Gitea and Forgejo: an HMAC.
    pub gitea: Option<&'a str>,
    /// `X-Gitlab-Token` of GitLab: the secret itself.
    pub gitlab: Option<&'a str>,
}

impl Signatures<'_> {
    /// Returns true if one of them is that of the body. Takes the same time for every wrong one.
    fn verify(&self, secret: &str, body: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let is_signed =
            |digits: &str| hex::decode(digits).is_ok_and(|tag| hmac::verify(&key, body, &tag).is_ok());
        // Compares digests with a secret key, so that the time does not depend on the token.
        let is_secret = |token: &str| {
            let tag = hmac::sign(&key, secret.as_bytes());
            hmac::verify(&key, token.as_bytes(), tag.as_ref()).is_ok()
        };
        self.hub.and_then(|text| text.strip_prefix("sha256=")).is_some_and(is_signed)
            || self.gitea.is_some_and(is_signed)
            || self.gitlab.is_some_and(is_secret)
    }
}

/// What may authorize a request.
pub struct Authorization<'a> {
    /// Signatures of the body with the builder's secret.
    pub signatures: Signatures<'a>,
    /// The body.
    pub body: &'a [u8],
    /// Whether the client has a token with which it may change the source of this name.
    pub may_write: &'a (dyn Fn(&str) -> bool + std::marker::Sync),
}

/// Starts a poll of the builder with this number, if the request is signed with its secret or has a token for its source.
/// Returns false otherwise; an unknown builder and one without a secret cannot be distinguished from a wrong signature.
///
/// # Errors
/// Database errors.
pub async fn receive(
    builds: &Arc<Builds>,
    builder: i64,
    authorization: Authorization<'_>,
) -> Result<bool, RepoError> {
    let builder = builds.state.db.read(move |c| git_builder::get(c, builder)).await?;
    let Some(builder) = builder else { return Ok(false) };
    let secret = match (&builder.webhook_secret, encryption_key(builds)) {
        (Some(encrypted), Ok(key)) => decrypt(&key, encrypted),
        _ => None,
    };
    let Authorization { signatures, body, may_write } = authorization;
    let is_signed = secret.is_some_and(|secret| signatures.verify(&secret, body));
    let has_token = || {
        let catalog = builds.state.catalog.get();
        catalog.source_by_id(builder.source).is_some_and(|source| may_write(source.name.as_str()))
    };
    if !is_signed && !has_token() {
        return Ok(false);
    }
    if !begin(builds, builder.id) {
        return Ok(true);
    }
    let builds = Arc::clone(builds);
    tokio::spawn(async move {
        let _slot = builds.hook_slots.acquire().await;
        loop {
            // `poll` logs and records errors.
            let _ = poll::poll(&builds, &builder, "webhook").await;
            if !is_repeated(&builds, builder.id) {
                return;
            }
        }
    });
    Ok(true)
}

/// Returns true if a poll is to be started; otherwise the running one is repeated when it has ended.
fn begin(builds: &Builds, builder: i64) -> bool {
    let mut polls = builds.webhook_polls.lock();
    let is_polled = polls.contains_key(&builder);
    polls.insert(builder, is_polled);
    !is_polled
}

/// Returns true if a further webhook arrived during the poll.
fn is_repeated(builds: &Builds, builder: i64) -> bool {
    let mut polls = builds.webhook_polls.lock();
    match polls.get_mut(&builder) {
        Some(again) if *again => {
            *again = false;
            true
        }
        Some(_) | None => {
            polls.remove(&builder);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signatures_with_the_secret_are_accepted() {
        let (secret, body) = ("It's a Secret to Everybody", b"Hello, World!");
        // The example of GitHub's documentation.
        let digits = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (hub, wrong) = (format!("sha256={digits}"), format!("sha256={}", digits.replace('7', "8")));
        let none = Signatures::default();
        assert!(Signatures { hub: Some(&hub), ..none }.verify(secret, body));
        assert!(Signatures { gitea: Some(digits), ..none }.verify(secret, body));
        assert!(Signatures { gitlab: Some(secret), ..none }.verify(secret, body));
        for bad in [
            none,
            Signatures { hub: Some(&wrong), ..none },
            Signatures { hub: Some(digits), ..none },
            Signatures { hub: Some("sha256="), ..none },
            Signatures { gitea: Some("zz"), ..none },
            Signatures { gitlab: Some("It's a secret to everybody"), ..none },
            Signatures { gitlab: Some(""), ..none },
        ] {
            assert!(!bad.verify(secret, body), "{bad:?}");
        }
        assert!(!Signatures { hub: Some(&hub), ..none }.verify(secret, b"Hello, World"));
    }
}
