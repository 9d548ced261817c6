//! Sessions of browsers: the secret is in a cookie, its digest in the database. Each server caches a session for one
//! second, so that a session ends on all servers within a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::secret;
use super::sign_in::SignedIn;
use super::tokens::{self, Token, TokenKind, Tokens};
use crate::state::State;
use base::access::Grant;
use base::config::Authentication;
use base::model::digest::Sha256;
use base::model::ids::Identity;
use base::model::time::Timestamp;
use store::db::author::{Author, AuthorKind};
use store::db::token::ScopeRow;
use store::db::{self, Db, DbError, audit};

const CACHE_TIME: Duration = Duration::from_secs(1);
/// Maximum interval between writes of the last use.
const USE_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of sessions in memory; when it is reached, the cache is emptied.
const CAPACITY: usize = 10_000;
/// Maximum duration of a sign-in of a browser.
const LOGIN_TIME: Duration = Duration::from_secs(600);
/// Maximum number of sign-ins of browsers in progress.
const MAX_LOGINS: i64 = 10_000;
/// Number of characters of the secret: 256 bits in hexadecimal.
const LENGTH: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    pub lifetime: Duration,
    /// Time without a request after which a session ends.
    pub inactivity: Duration,
}

/// The sessions; clones share the cache.
#[derive(Clone)]
pub struct Sessions(Arc<SessionState>);

struct SessionState {
    db: Db,
    cache: Mutex<HashMap<Sha256, CachedSession>>,
}

#[derive(Clone)]
struct CachedSession {
    read_at: Timestamp,
    last_used_at: Timestamp,
    token: Arc<Token>,
}

impl Sessions {
    pub fn new(db: &Db) -> Sessions {
        Sessions(Arc::new(SessionState { db: db.clone(), cache: Mutex::default() }))
    }

    /// Creates a session and returns the secret for the cookie.
    pub async fn create(
        &self,
        tokens: &Tokens,
        user: &SignedIn,
        address: Option<IpAddr>,
        limits: SessionLimits,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, DbError> {
        let secret = new_secret();
        let row = db::session::Session {
            digest: secret::digest(&secret),
            guid: Identity(rand::random()),
            user: user.user.clone(),
            unique_id: user.unique_id.clone(),
            scopes: scope_text(&user.grant),
            revision: tokens.revision(),
            created_at: now,
            last_used_at: now,
            expires_at: now + limits.lifetime,
        };
        let author = author(&row.user, address, now);
        // SECURITY: the identity is recorded too, because some providers let users choose their name.
        let detail = format!("session {}; identity {}; {}", row.guid, row.unique_id, row.scopes);
        let write = self.0.db.write(move |c| {
            db::session::create(c, &row)?;
            audit::record_by(c, &author, "sign in", "user", &row.user, audit::SUCCESS, &detail)
        });
        write.await?;
        Ok(secret)
    }

    /// Returns the session with this secret, if it is valid at `now`.
    pub async fn find(
        &self,
        tokens: &Tokens,
        secret: &str,
        limits: SessionLimits,
        now: Timestamp,
    ) -> Result<Option<Arc<Token>>, DbError> {
        if !is_well_formed(secret) {
            return Ok(None);
        }
        let digest = secret::digest(secret);
        let cached = self.0.cache.lock().get(&digest).cloned();
        let is_fresh =
            |cached: &CachedSession| cached.read_at <= now && now.since(cached.read_at) < CACHE_TIME;
        let cached = match cached.filter(is_fresh) {
            Some(cached) => cached,
            None => match self.read(digest, now).await? {
                Some(cached) => cached,
                None => return Ok(None),
            },
        };
        let idle = now.since(cached.last_used_at);
        if idle >= limits.inactivity || !tokens.is_valid(&cached.token, now) {
            return Ok(None);
        }
        if idle >= use_interval(limits) {
            // A failed write is only logged, so that a session remains valid while the database accepts no writes.
            match self.0.db.write(move |c| db::session::record_use(c, digest, now)).await {
                Err(error) => tracing::warn!("could not record the use of a session: {error}"),
                Ok(()) => {
                    if let Some(cached) = self.0.cache.lock().get_mut(&digest) {
                        cached.last_used_at = now;
                    }
                }
            }
        }
        Ok(Some(cached.token))
    }

    async fn read(&self, digest: Sha256, now: Timestamp) -> Result<Option<CachedSession>, DbError> {
        let row = self.0.db.read(move |c| db::session::find(c, digest)).await?;
        let mut cache = self.0.cache.lock();
        let Some(row) = row else {
            cache.remove(&digest);
            return Ok(None);
        };
        if cache.len() >= CAPACITY {
            cache.clear();
        }
        let token = Token::without_row(
            TokenKind::Session { revision: row.revision },
            row.guid,
            digest,
            &row.user,
            &row.unique_id,
            grant(&row.scopes),
            row.expires_at,
        );
        let cached = CachedSession { read_at: now, last_used_at: row.last_used_at, token: Arc::new(token) };
        cache.insert(digest, cached.clone());
        Ok(Some(cached))
    }

    /// Ends the session with this secret: immediately on this server, within a second on others.
    pub async fn end(
        &self,
        secret: &str,
        user: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), DbError> {
        let (digest, user) = (secret::digest(secret), user.to_owned());
        let author = author(&user, address, now);
        let write = self.0.db.write(move |c| {
            db::session::delete(c, digest)?;
            audit::record_by(c, &author, "sign out", "user", &user, audit::SUCCESS, "")
        });
        write.await?;
        self.0.cache.lock().remove(&digest);
        Ok(())
    }

    /// Begins a sign-in of a browser with this secret; `return_to` is the path to which the browser returns. Returns
    /// false if too many sign-ins are in progress.
    pub async fn begin_login(&self, secret: &str, return_to: &str, now: Timestamp) -> Result<bool, DbError> {
        let (digest, return_to) = (secret::digest(secret), return_to.to_owned());
        let end = now + LOGIN_TIME;
        self.0.db.write(move |c| db::session::begin_login(c, digest, &return_to, now, end, MAX_LOGINS)).await
    }

    /// Ends a sign-in. The first call with the secret of the sign-in, within ten minutes, returns the path to which the
    /// browser returns; other calls return `None`.
    pub async fn end_login(&self, secret: &str, now: Timestamp) -> Result<Option<String>, DbError> {
        let digest = secret::digest(secret);
        self.0.db.write(move |c| db::session::end_login(c, digest, now)).await
    }

    /// Removes ended sessions and sign-ins from the database periodically, until the future is dropped.
    pub async fn run_sweeps(&self, state: &State) {
        loop {
            let config = state.config.load_full();
            let Authentication { session_lifetime, session_inactivity, session_sweep, .. } =
                config.authentication;
            let limits = SessionLimits { lifetime: session_lifetime, inactivity: session_inactivity };
            tokio::time::sleep(session_sweep).await;
            if let Err(error) = self.sweep(limits, (state.clock)()).await {
                tracing::warn!("could not remove ended sessions; trying again later: {error}");
            }
        }
    }

    /// Removes ended sessions and sign-ins from the database.
    pub async fn sweep(&self, limits: SessionLimits, now: Timestamp) -> Result<(), DbError> {
        let unused_since = now - limits.inactivity;
        self.0.db.write(move |c| db::session::sweep(c, now, unused_since)).await
    }
}

/// Returns the interval between writes of the last use. It is at most half of the inactivity limit, so
/// that a session in use does not end because its last use is not written yet.
fn use_interval(limits: SessionLimits) -> Duration {
    USE_INTERVAL.min(limits.inactivity / 2)
}

/// Returns the author of a sign-in or a sign-out.
pub(super) fn author(user: &str, address: Option<IpAddr>, at: Timestamp) -> Author {
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    Author { kind: AuthorKind::Session, name: user.to_owned(), address, at }
}

/// Returns 256 random bits in hexadecimal.
pub fn new_secret() -> Zeroizing<String> {
    Zeroizing::new(hex::encode(rand::random::<[u8; LENGTH / 2]>()))
}

/// Returns whether [`new_secret`] can return this text.
pub fn is_well_formed(secret: &str) -> bool {
    secret.len() == LENGTH && secret.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the text of a grant in the database: `scope=object`, separated by spaces.
pub(super) fn scope_text(grant: &Grant) -> String {
    let rows = tokens::rows(grant);
    let words: Vec<String> = rows.iter().map(|row| format!("{}={}", row.scope, row.object)).collect();
    words.join(" ")
}

/// Parses a text of [`scope_text`] to a grant. Ignores words that it cannot parse.
pub(super) fn grant(text: &str) -> Grant {
    let row = |word: &str| {
        let (scope, object) = word.split_once('=')?;
        Some(ScopeRow { scope: scope.to_owned(), object: object.parse().ok()? })
    };
    tokens::grant(&text.split_whitespace().filter_map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::access::{Scope, Selection};
    use base::model::ids::RepoId;

    #[test]
    fn a_grant_is_read_back_from_its_text() {
        let scopes = vec![Scope::ReposRead(Selection::Only(vec![RepoId(3), RepoId(5)])), Scope::GlobalAdmin];
        let expected = Grant::new(scopes);
        assert_eq!(scope_text(&expected), "repos:read=3 repos:read=5 global:admin=0");
        assert_eq!(grant(&scope_text(&expected)), expected);
        assert_eq!(grant("later:scope=0 repos:read repos:read=x"), Grant::default());
    }

    #[test]
    fn the_use_of_a_session_is_written_before_it_ends() {
        let interval = |seconds| {
            let (lifetime, inactivity) = (Duration::from_secs(86_400), Duration::from_secs(seconds));
            use_interval(SessionLimits { lifetime, inactivity })
        };
        assert_eq!(
            [interval(86_400), interval(60), interval(3)],
            [60_000, 30_000, 1_500].map(Duration::from_millis)
        );
    }

    #[test]
    fn a_secret_has_256_bits() {
        let (one, two) = (new_secret(), new_secret());
        assert!(is_well_formed(&one) && is_well_formed(&two) && *one != *two);
        assert!(!is_well_formed("") && !is_well_formed(&one[1..]) && !is_well_formed(&"g".repeat(64)));
    }
}
