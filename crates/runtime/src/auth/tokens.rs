//! The valid tokens in memory: a table of those that are not revoked. Requests are checked only against it. A change of
//! tokens increments `clock.catalog`, as a publish does, so that each server reads it when refreshing its catalog.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::failures::Failures;
use super::secret::Prefix;
use super::signing_key::SigningKey;
use crate::catalog::CatalogHandle;
use base::access::{Grant, Scope, ScopeKind, Selection};
use base::encryption::key::Key;
use base::model::digest::Sha256;
use base::model::ids::{Identity, RepoId, SourceId, TokenId};
use base::model::time::Timestamp;
use base::model::trusted_publisher::TrustedPublisher;
use store::db::author::AuthorKind;
use store::db::{self, Db, DbError};

/// First pause between attempts to read changed tokens; it doubles after each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Pause before the uses of tokens are written, so that several uses are written together.
const USE_INTERVAL: Duration = Duration::from_millis(500);
/// The value of [`Token::used_on`] for a token that was not used since the start.
const NEVER: i64 = i64::MIN;
/// Minimum interval between reads of the database that are caused by unknown tokens.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of different grants in [`Table::grants`].
const MAX_GRANTS: usize = 4_096;

/// The origin of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A row of the database with this id.
    Stored(TokenId),
    /// A token that this server signed. Like a session, it contains the revision of the newest change of tokens that
    /// the server knew when it signed the token, so that the order of issue and revocation does not depend on clocks.
    Signed { revision: i64 },
    /// The session of a browser.
    Session {
        /// The revision, as for a signed token.
        revision: i64,
    },
}

/// A valid token, or a session.
#[derive(Debug)]
pub struct Token {
    pub kind: TokenKind,
    pub guid: Identity,
    /// The person or service that uses it.
    pub user: Box<str>,
    /// The identity of the user at the identity provider; `None` for a token that an administrator created.
    pub unique_id: Option<Arc<str>>,
    pub grant: Grant,
    /// End of its validity; `None` if it never expires.
    pub expires_at: Option<Timestamp>,
    /// The job of a CI system that exchanged a token of its issuer for this one.
    pub publisher: Option<Box<TrustedPublisher>>,
    /// The digest under which it is stored.
    digest: Sha256,
    /// The last day on which this server accepted the token, in days since the epoch.
    used_on: AtomicI64,
}

impl Token {
    /// Returns user and identity, as displayed in transactions and in the audit trail.
    pub fn name(&self) -> String {
        match self.kind {
            TokenKind::Stored(_) | TokenKind::Signed { .. } => format!("{} (token {})", self.user, self.guid),
            TokenKind::Session { .. } => format!("{} (session {})", self.user, self.guid),
        }
    }

    pub(super) fn digest(&self) -> Sha256 {
        self.digest
    }

    pub fn author_kind(&self) -> AuthorKind {
        match self.kind {
            TokenKind::Stored(_) | TokenKind::Signed { .. } => AuthorKind::Token,
            TokenKind::Session { .. } => AuthorKind::Session,
        }
    }

    /// Returns a token that is not a row of the table of tokens.
    pub(super) fn without_row(
        kind: TokenKind,
        guid: Identity,
        digest: Sha256,
        user: &str,
        unique_id: &str,
        grant: Grant,
        expires_at: Timestamp,
    ) -> Token {
        let expires_at = Some(expires_at);
        Token {
            kind,
            guid,
            user: user.into(),
            unique_id: Some(unique_id.into()),
            grant,
            expires_at,
            publisher: None,
            digest,
            used_on: AtomicI64::new(NEVER),
        }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        self.guid == other.guid
    }
}

impl Eq for Token {}

/// A token as an element of a set in which it is looked up by its digest.
#[derive(Clone, Debug)]
struct ByDigest(Arc<Token>);

impl Borrow<Sha256> for ByDigest {
    fn borrow(&self) -> &Sha256 {
        &self.0.digest
    }
}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &ByDigest) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for ByDigest {}

/// The tokens that are not revoked, and the newest revision that was read.
#[derive(Clone, Debug, Default)]
struct Table {
    tokens: HashSet<ByDigest>,
    /// The newest revocation of all tokens and sessions of each user: its revision and its time.
    revoked_users: HashMap<String, (i64, Timestamp)>,
    /// The signed tokens that were revoked one by one, with the times at which they expire.
    revoked_signed: HashMap<Identity, Timestamp>,
    revision: i64,
    /// Grants by their rows. Tokens with the same rows share one grant.
    grants: HashMap<Vec<db::token::ScopeRow>, Grant>,
}

/// The tokens in memory; clones share them.
#[derive(Clone)]
pub struct Tokens(Arc<TokenState>);

struct TokenState {
    db: Db,
    catalog: CatalogHandle,
    table: ArcSwap<Table>,
    read_lock: tokio::sync::Mutex<()>,
    /// Time of the last read that an unknown token caused, in microseconds since the epoch.
    unknown_at: AtomicI64,
    failures: Failures,
    /// Uses that are not written yet: at most one per token and day.
    uses: parking_lot::Mutex<Vec<(Arc<Token>, Timestamp)>>,
    /// Notified when `uses` gets an element.
    used: Notify,
    signing_key: Option<SigningKey>,
}

impl Tokens {
    /// Reads the tokens of the database. Without a key, no token can be signed.
    pub async fn open(db: &Db, catalog: &CatalogHandle, key: Option<&Key>) -> Result<Tokens, DbError> {
        let tokens = Tokens(Arc::new(TokenState {
            db: db.clone(),
            catalog: catalog.clone(),
            table: ArcSwap::default(),
            read_lock: tokio::sync::Mutex::default(),
            unknown_at: AtomicI64::new(i64::MIN),
            failures: Failures::new(),
            uses: parking_lot::Mutex::default(),
            used: Notify::new(),
            signing_key: key.and_then(|key| SigningKey::derive(key).ok()),
        }));
        tokens.refresh().await?;
        Ok(tokens)
    }

    /// Returns the token with this digest, if it is valid at `now`.
    pub fn get(&self, digest: &Sha256, now: Timestamp) -> Option<Arc<Token>> {
        let table = self.0.table.load();
        let token = table
            .tokens
            .get(digest)
            .map(|ByDigest(token)| token)
            .filter(|token| self.is_unexpired(token, now))?;
        let today = now.day_number();
        // Of several concurrent requests, only the first records the use.
        if token.used_on.load(Ordering::Relaxed) != today
            && token.used_on.swap(today, Ordering::Relaxed) != today
        {
            self.0.uses.lock().push((Arc::clone(token), now));
            self.0.used.notify_one();
        }
        Some(Arc::clone(token))
    }

    /// Returns the token with this digest, if it is valid at `now`. If the token is unknown, reads changed tokens
    /// first, at most once per second, because another server may have created the token.
    pub async fn find(&self, digest: &Sha256, now: Timestamp) -> Option<Arc<Token>> {
        if let Some(token) = self.get(digest, now) {
            return Some(token);
        }
        let last = self.0.unknown_at.load(Ordering::Relaxed);
        let is_due = now.since(Timestamp(last)) >= UNKNOWN_INTERVAL || now.0 < last;
        let claim = || self.0.unknown_at.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed);
        if !is_due || claim().is_err() {
            return None;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!("could not read changed tokens: {error}");
        }
        self.get(digest, now)
    }

    /// Returns whether a token that was valid before is still valid at `now`.
    pub fn is_valid(&self, token: &Token, now: Timestamp) -> bool {
        let table = self.0.table.load();
        let is_revoked = match token.kind {
            TokenKind::Stored(_) => !table.tokens.contains(&token.digest),
            TokenKind::Signed { revision } | TokenKind::Session { revision } => {
                table.revoked_signed.contains_key(&token.guid)
                    || table.revoked_users.get(&*token.user).is_some_and(|(revoked, _)| revision < *revoked)
            }
        };
        !is_revoked && self.is_unexpired(token, now)
    }

    /// Returns whether a token has not expired. SECURITY: a token that had expired when something was published, or a day
    /// closed, stays expired even if the clock was set back. The newest transaction may have a time in the past.
    fn is_unexpired(&self, token: &Token, now: Timestamp) -> bool {
        let published = || self.0.catalog.get().clock_at;
        token.expires_at.is_none_or(|end| now < end && published().is_none_or(|at| at < end))
    }

    /// Returns the time of the newest revocation of all tokens and sessions of a user, if there was one.
    pub(super) fn revoked_at(&self, user: &str) -> Option<Timestamp> {
        self.0.table.load().revoked_users.get(user).map(|(_, at)| *at)
    }

    /// Returns the revision of the newest change of tokens that this server has read.
    pub(super) fn revision(&self) -> i64 {
        self.0.table.load().revision
    }

    /// Returns the id of the history of the database (`clock.history`); a restored database has another one.
    pub(super) fn history(&self) -> String {
        self.0.catalog.get().history_id.clone()
    }

    pub(super) fn signing_key(&self) -> Option<&SigningKey> {
        self.0.signing_key.as_ref()
    }

    /// Counts a request with credentials that are not valid.
    ///
    /// # Errors
    /// The limit is reached; returns the seconds until the next one is accepted.
    pub fn count_failure(&self, address: IpAddr, prefix: Option<Prefix>, now: Timestamp) -> Result<(), u64> {
        self.0.failures.count(address, prefix, now)
    }

    /// Counts a sign-in of a browser, or of a device, that a client begins.
    ///
    /// # Errors
    /// The limit is reached; returns the seconds until the next one is accepted.
    pub fn count_sign_in(&self, address: IpAddr, is_of_device: bool, now: Timestamp) -> Result<(), u64> {
        self.0.failures.count_sign_in(address, is_of_device, now)
    }

    /// Counts a code of a device that a user enters; `user` is the identity at the provider. SECURITY: codes that exist
    /// are counted too, and before the lookup: otherwise the limit would not slow down guesses.
    ///
    /// # Errors
    /// The limit is reached; returns the seconds until the next one is accepted.
    pub fn count_code(&self, user: Arc<str>, now: Timestamp) -> Result<(), u64> {
        self.0.failures.count_code(user, now)
    }

    /// Counts a wrong code of a device. Ten are accepted per minute, fewer than other invalid credentials.
    ///
    /// # Errors
    /// The limit is reached; returns the seconds until the next one is accepted.
    pub fn count_wrong_code(&self, address: IpAddr, now: Timestamp) -> Result<(), u64> {
        self.0.failures.count_wrong_code(address, now)
    }

    /// Counts a change that the token does not permit. Returns whether it should be recorded in the audit trail:
    /// the number of such rows is limited.
    pub fn records_refusal(&self, token: &Token, now: Timestamp) -> bool {
        self.0.failures.records_refusal(token.guid, now)
    }

    /// Reads the tokens that changed.
    pub async fn refresh(&self) -> Result<(), DbError> {
        let _guard = self.0.read_lock.lock().await;
        let table = self.0.table.load_full();
        // One read is one snapshot of the database.
        let read = self.0.db.read(move |c| {
            let mut changed: Option<Table> = None;
            let newest = db::token::changed_since(c, table.revision, &mut |row| {
                changed.get_or_insert_with(|| Table::clone(&table)).apply(row);
            })?;
            let users = db::session::revoked_since(c, table.revision)?;
            let signed = db::session::signed_revoked_since(c, table.revision)?;
            if changed.is_none() && users.is_empty() && signed.is_empty() {
                return Ok(None);
            }
            let mut changed = changed.unwrap_or_else(|| Table::clone(&table));
            let revisions =
                users.iter().map(|user| user.revision).chain(signed.iter().map(|token| token.revision));
            changed.revision = revisions.fold(newest, i64::max);
            changed.revoked_signed.extend(signed.into_iter().map(|token| (token.guid, token.expires_at)));
            // Expired tokens are refused anyway.
            let at = db::clock::get(c)?.at;
            changed.revoked_signed.retain(|_, expires_at| *expires_at > at);
            changed.revoked_users.extend(users.into_iter().map(|user| (user.user, (user.revision, user.at))));
            Ok(Some(changed))
        });
        if let Some(table) = read.await? {
            self.0.table.store(Arc::new(table));
        }
        Ok(())
    }

    /// Writes the days on which tokens were last used, once a day per token, until the future is dropped.
    pub async fn record_uses(&self) {
        loop {
            self.0.used.notified().await;
            // Collects several uses for one write.
            tokio::time::sleep(USE_INTERVAL).await;
            let uses = std::mem::take(&mut *self.0.uses.lock());
            let rows: Vec<_> = uses
                .iter()
                .filter_map(|(token, at)| match token.kind {
                    TokenKind::Stored(id) => Some((id, token.guid, token.user.clone(), *at)),
                    TokenKind::Signed { .. } | TokenKind::Session { .. } => None,
                })
                .collect();
            let write = self.0.db.write(move |c| {
                rows.iter()
                    .try_for_each(|(id, guid, user, at)| db::token::record_use(c, *id, *guid, user, *at))
            });
            if let Err(error) = write.await {
                tracing::warn!(
                    "could not record the use of {} tokens; the next request with each of them records it: {error}",
                    uses.len()
                );
                // The next request with one of these tokens records its use again.
                uses.iter().for_each(|(token, _)| token.used_on.store(NEVER, Ordering::Relaxed));
                tokio::time::sleep(MAX_PAUSE).await;
            }
        }
    }

    /// Reads the changed tokens after each change of the catalog, until the future is dropped.
    pub async fn follow(&self) {
        let mut changes = self.0.catalog.changes();
        loop {
            // The first iteration reads the changes before this call.
            changes.borrow_and_update();
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.refresh().await {
                tracing::warn!("could not read changed tokens; trying again: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Table {
    fn apply(&mut self, row: db::token::ChangedToken) {
        if row.revoked_at.is_some() {
            self.tokens.remove(&row.digest);
            return;
        }
        let token = Token {
            guid: row.guid,
            user: row.user,
            unique_id: None,
            grant: self.shared_grant(row.scopes),
            expires_at: row.expires_at,
            publisher: None,
            kind: TokenKind::Stored(row.id),
            digest: row.digest,
            used_on: AtomicI64::new(NEVER),
        };
        self.tokens.replace(ByDigest(Arc::new(token)));
    }

    /// Returns the grant for the rows of a token; equal rows share memory, up to [`MAX_GRANTS`] grants.
    fn shared_grant(&mut self, rows: Vec<db::token::ScopeRow>) -> Grant {
        if let Some(known) = self.grants.get(&rows) {
            return known.clone();
        }
        if self.grants.len() >= MAX_GRANTS {
            self.grants.clear();
        }
        let new = grant(&rows);
        self.grants.insert(rows, new.clone());
        new
    }
}

/// Returns the grant in the rows of a token. A scope of a later version permits nothing.
pub(super) fn grant(rows: &[db::token::ScopeRow]) -> Grant {
    let (mut repositories, mut promoted, mut sources, mut others) = (None, None, None, Vec::new());
    for row in rows {
        match row.scope.parse() {
            Ok(ScopeKind::ReposRead) => add(&mut repositories, row.object, RepoId),
            Ok(ScopeKind::ReposPromote) => add(&mut promoted, row.object, RepoId),
            Ok(ScopeKind::SourcesWrite) => add(&mut sources, row.object, SourceId),
            Ok(kind) => others.extend(Scope::without_objects(kind)),
            Err(_) => {}
        }
    }
    let scopes = [
        repositories.map(Scope::ReposRead),
        promoted.map(Scope::ReposPromote),
        sources.map(Scope::SourcesWrite),
    ];
    Grant::new(scopes.into_iter().flatten().chain(others).collect())
}

/// Adds an object to a selection; 0 means all objects.
fn add<T>(selection: &mut Option<Selection<T>>, object: i64, id: fn(i64) -> T) {
    if object == 0 {
        *selection = Some(Selection::All);
        return;
    }
    match selection.get_or_insert_with(|| Selection::Only(Vec::new())) {
        Selection::All => {}
        Selection::Only(objects) => objects.push(id(object)),
    }
}

pub(super) fn rows(grant: &Grant) -> Vec<db::token::ScopeRow> {
    let row = |kind: ScopeKind, object| db::token::ScopeRow { scope: kind.as_str().to_owned(), object };
    let scopes = grant.scopes().iter().flat_map(|scope| match scope {
        Scope::ReposRead(Selection::All) => vec![row(ScopeKind::ReposRead, 0)],
        Scope::ReposRead(Selection::Only(ids)) => {
            ids.iter().map(|id| row(ScopeKind::ReposRead, id.0)).collect()
        }
        Scope::ReposPromote(Selection::All) => vec![row(ScopeKind::ReposPromote, 0)],
        Scope::ReposPromote(Selection::Only(ids)) => {
            ids.iter().map(|id| row(ScopeKind::ReposPromote, id.0)).collect()
        }
        Scope::SourcesWrite(Selection::All) => vec![row(ScopeKind::SourcesWrite, 0)],
        Scope::SourcesWrite(Selection::Only(ids)) => {
            ids.iter().map(|id| row(ScopeKind::SourcesWrite, id.0)).collect()
        }
        scope => vec![row(scope.kind(), 0)],
    });
    scopes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_with_the_same_scopes_share_their_grant() {
        let scopes = |object| vec![db::token::ScopeRow { scope: "repos:read".to_owned(), object }];
        let row = |number: u8, object, revoked_at| db::token::ChangedToken {
            id: TokenId(i64::from(number)),
            guid: Identity([number; 16]),
            digest: Sha256([number; 32]),
            user: "ann".into(),
            expires_at: None,
            revoked_at,
            scopes: scopes(object),
        };
        let mut table = Table::default();
        for (number, object) in [(1, 5), (2, 5), (3, 6)] {
            table.apply(row(number, object, None));
        }
        let token = |table: &Table, number: u8| {
            table.tokens.get(&Sha256([number; 32])).map(|found| Arc::clone(&found.0))
        };
        let first = token(&table, 1).expect("a token");
        let address = |number| token(&table, number).expect("a token").grant.scopes().as_ptr();
        assert_eq!(address(1), address(2));
        assert_ne!(address(1), address(3));
        // The number of cached grants stays limited.
        for object in 10..=10 + i64::try_from(MAX_GRANTS).expect("small") {
            table.apply(row(4, object, None));
        }
        assert!(table.grants.len() <= MAX_GRANTS);
        let last = token(&table, 4).expect("a token");
        assert_eq!(last.grant, grant(&scopes(10 + i64::try_from(MAX_GRANTS).expect("small"))), "replaced");
        table.apply(row(2, 5, Some(Timestamp(0))));
        assert!(!table.tokens.contains(&Sha256([2; 32])));
        assert_eq!(token(&table, 1), Some(first), "the others stay");
    }

    #[test]
    fn a_grant_is_read_back_from_its_rows() {
        let expected = Grant::new(vec![
            Scope::ReposRead(Selection::Only(vec![RepoId(3), RepoId(5)])),
            Scope::SourcesWrite(Selection::All),
            Scope::GlobalAdmin,
        ]);
        assert_eq!(grant(&rows(&expected)), expected);
        let unknown_scope = db::token::ScopeRow { scope: "later:scope".to_owned(), object: 0 };
        assert_eq!(grant(&[unknown_scope]), Grant::default());
    }
}
