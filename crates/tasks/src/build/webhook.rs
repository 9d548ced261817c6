//! Webhooks: authenticated requests of git servers that trigger a poll. The body is only used to verify the signature.

use std::sync::Arc;

use ring::hmac;
use zeroize::Zeroizing;

use super::credential::{decrypt, encryption_key};
use super::{Builds, poll};
use content::serve::RepoError;
use store::db::git_builder::{self, GitBuilder};

/// Maximum number of concurrent polls caused by webhooks, with at most one for each host: a git server sends a webhook for
/// every push, a recorded request can be sent again, and some servers do not answer polls.
pub(super) const POLLS: usize = 8;

/// Headers that may authenticate a request. `gitlab` is a secret, so `Debug` is not implemented.
#[derive(Clone, Copy, Default)]
pub struct Signatures<'a> {
    /// `X-Hub-Signature-256` of GitHub, Bitbucket (as `X-Hub-Signature`) and Gitea: `sha256=` and an HMAC.
    pub hub: Option<&'a str>,
    /// `X-Gitea-Signature` of Gitea and Forgejo: an HMAC.
    pub gitea: Option<&'a str>,
    /// `X-Gitlab-Token` of GitLab: the secret itself.
    pub gitlab: Option<&'a str>,
}

impl Signatures<'_> {
    /// Returns whether a header contains `tag`, the HMAC of the body, or equals the secret, in constant time.
    fn verify(&self, key: &hmac::Key, secret: &str, tag: &hmac::Tag) -> bool {
        // Compares HMACs of the values, so that the duration does not depend on the values.
        let is_equal = |expected: &[u8], sent: &[u8]| {
            hmac::verify(key, sent, hmac::sign(key, expected).as_ref()).is_ok()
        };
        let is_signed = |digits: &str| hex::decode(digits).is_ok_and(|sent| is_equal(tag.as_ref(), &sent));
        self.hub.and_then(|text| text.strip_prefix("sha256=")).is_some_and(is_signed)
            || self.gitea.is_some_and(is_signed)
            || self.gitlab.is_some_and(|token| is_equal(secret.as_bytes(), token.as_bytes()))
    }
}

/// The verification of a request. The body is hashed while it is read, and not stored.
pub struct SignatureVerification {
    /// `None` if there is no such builder.
    builder: Option<GitBuilder>,
    /// The key and the secret; `None` for a builder without a secret.
    secret: Option<(hmac::Key, Zeroizing<String>)>,
    context: hmac::Context,
}

/// Begins the verification of a request for the builder with this number.
pub async fn begin(builds: &Builds, builder: i64) -> Result<SignatureVerification, RepoError> {
    let builder = builds.state.db.read(move |c| git_builder::get(c, builder)).await?;
    let encrypted = builder.as_ref().and_then(|builder| builder.webhook_secret.clone());
    let secret = match (encrypted, encryption_key(builds)) {
        (Some(encrypted), Ok(key)) => decrypt(&key, &encrypted),
        _ => None,
    };
    let secret = secret.map(|secret| (hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), secret));
    // Without a secret, the same work is done, so that the response time does not show whether there is one.
    let context = match &secret {
        Some((key, _)) => hmac::Context::with_key(key),
        None => hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])),
    };
    Ok(SignatureVerification { builder, secret, context })
}

impl SignatureVerification {
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Starts a poll of the builder if the request is signed with its secret, or if the client may change its source
    /// (`may_write`, called with the name of the source). Returns false otherwise. Clients cannot distinguish an
    /// unknown builder or one without a secret from a wrong signature.
    pub fn finish(
        self,
        builds: &Arc<Builds>,
        signatures: &Signatures<'_>,
        may_write: impl Fn(&str) -> bool,
    ) -> bool {
        let SignatureVerification { builder, secret, context } = self;
        let tag = context.sign();
        let Some(builder) = builder else { return false };
        let is_signed = secret.is_some_and(|(key, secret)| signatures.verify(&key, &secret, &tag));
        let has_token = || {
            let catalog = builds.state.catalog.get();
            catalog.source_by_id(builder.source).is_some_and(|source| may_write(source.name.as_str()))
        };
        if !is_signed && !has_token() {
            return false;
        }
        if begin_poll(builds, builder.id) {
            tokio::spawn(poll_repeatedly(Arc::clone(builds), builder));
        }
        true
    }
}

/// Polls a builder, and repeats the poll if further webhooks arrived during it.
async fn poll_repeatedly(builds: Arc<Builds>, builder: GitBuilder) {
    let _entry = Entry { builds: &builds, builder: builder.id };
    let host = poll::name(&builder);
    let host_lock = builds.hosts.host_lock(&host);
    let _guard = host_lock.lock().await;
    loop {
        // The git server may have requested a pause in an earlier response.
        tokio::time::sleep(builds.hosts.remaining_pause(&host, (builds.state.clock)())).await;
        let slot = builds.hook_slots.acquire().await;
        // `poll` logs and records errors.
        let _ = poll::poll(&builds, &builder, "webhook").await;
        drop(slot);
        if !is_repeated(&builds, builder.id) {
            return;
        }
    }
}

/// Removes the entry in `webhook_polls` if a poll panics, so that later webhooks start another poll.
struct Entry<'a> {
    builds: &'a Builds,
    builder: i64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.builds.webhook_polls.lock().remove(&self.builder);
        }
    }
}

/// Returns whether the caller must start a poll. Otherwise the running poll is repeated when it has ended.
fn begin_poll(builds: &Builds, builder: i64) -> bool {
    let mut polls = builds.webhook_polls.lock();
    let is_polled = polls.contains_key(&builder);
    polls.insert(builder, is_polled);
    !is_polled
}

/// Returns whether a further webhook arrived during the poll.
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
        // The example from GitHub's documentation.
        let digits = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (hub, wrong) = (format!("sha256={digits}"), format!("sha256={}", digits.replace('7', "8")));
        let verify = |signatures: Signatures<'_>, body: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            signatures.verify(&key, secret, &hmac::sign(&key, body))
        };
        let none = Signatures::default();
        assert!(verify(Signatures { hub: Some(&hub), ..none }, body));
        assert!(verify(Signatures { gitea: Some(digits), ..none }, body));
        assert!(verify(Signatures { gitlab: Some(secret), ..none }, body));
        let wrong_ones = [
            none,
            Signatures { hub: Some(&wrong), ..none },
            Signatures { hub: Some(digits), ..none },
            Signatures { hub: Some("sha256="), ..none },
            Signatures { gitea: Some("zz"), ..none },
            Signatures { gitlab: Some("It's a secret to everybody"), ..none },
            Signatures { gitlab: Some(""), ..none },
        ];
        for (number, bad) in wrong_ones.into_iter().enumerate() {
            assert!(!verify(bad, body), "{number}");
        }
        assert!(!verify(Signatures { hub: Some(&hub), ..none }, b"Hello, World"));
    }
}
