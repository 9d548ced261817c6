//! In-memory table of the tokens that are not revoked. Requests are checked against this table only. A change of tokens
//! raises `clock.catalog`, as a publish does, so that each server reads it when the catalog changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::access::{Grant, Scope, ScopeKind, Selection};
use crate::catalog::CatalogHandle;
use crate::db::{self, Db, DbError};
use crate::model::digest::Sha256;
use crate::model::identity::Identity;
use crate::model::ids::{RepoId, SourceId};
use crate::model::time::{SECOND, Timestamp};

/// First pause between attempts to read changed tokens; it doubles after each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Maximum pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Minimum interval between reads that unknown tokens cause, in microseconds.
const UNKNOWN_INTERVAL: i64 = SECOND;

/// A valid token.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// Its identity in lists.
    pub guid: Identity,
    /// The person or service that uses it.
    pub user: Box<str>,
    /// Its scopes.
    pub grant: Grant,
    /// End of its validity; `None` if it never expires.
    pub expires_at: Option<Timestamp>,
}

/// The tokens that are not revoked, and the newest revision that was read.
#[derive(Clone, Debug, Default)]
struct Table {
    by_digest: HashMap<Sha256, Arc<Token>>,
    revision: i64,
}

/// The tokens in memory; clones share them.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    db: Db,
    catalog: CatalogHandle,
    table: ArcSwap<Table>,
    /// Serializes reads.
    read_lock: tokio::sync::Mutex<()>,
    /// Time of the last read that an unknown token caused, in microseconds since the epoch.
    unknown_at: AtomicI64,
}

impl Tokens {
    /// Reads the tokens of the database.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open(db: &Db, catalog: &CatalogHandle) -> Result<Tokens, DbError> {
        let tokens = Tokens(Arc::new(Inner {
            db: db.clone(),
            catalog: catalog.clone(),
            table: ArcSwap::default(),
            read_lock: tokio::sync::Mutex::default(),
            unknown_at: AtomicI64::new(i64::MIN),
        }));
        tokens.refresh().await?;
        Ok(tokens)
    }

    /// Returns the token with this digest, if it is valid at `now`.
    #[must_use]
    pub fn get(&self, digest: &Sha256, now: Timestamp) -> Option<Arc<Token>> {
        let table = self.0.table.load();
        let token = table.by_digest.get(digest)?;
        token.expires_at.is_none_or(|end| now < end).then(|| Arc::clone(token))
    }

    /// Like [`Tokens::get`], but reads changed tokens if the token is unknown, at most once per second: another server may
    /// have created the token.
    pub async fn find(&self, digest: &Sha256, now: Timestamp) -> Option<Arc<Token>> {
        if let Some(token) = self.get(digest, now) {
            return Some(token);
        }
        let last = self.0.unknown_at.load(Ordering::Relaxed);
        let is_due = now.0.saturating_sub(last) >= UNKNOWN_INTERVAL || now.0 < last;
        let claim = || self.0.unknown_at.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed);
        if !is_due || claim().is_err() {
            return None;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!("could not read changed tokens: {error}");
        }
        self.get(digest, now)
    }

    /// Reads the tokens that changed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refresh(&self) -> Result<(), DbError> {
        let _guard = self.0.read_lock.lock().await;
        let table = self.0.table.load_full();
        let revision = table.revision;
        let (rows, newest) = self.0.db.read(move |c| db::token::changed_since(c, revision)).await?;
        if !rows.is_empty() {
            let mut table = Table::clone(&table);
            rows.into_iter().for_each(|row| table.apply(row));
            table.revision = newest;
            self.0.table.store(Arc::new(table));
        }
        Ok(())
    }

    /// Reads changed tokens after every change of the catalog, until the future is dropped.
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
    fn apply(&mut self, row: db::token::Token) {
        if row.revoked_at.is_some() {
            self.by_digest.remove(&row.digest);
            return;
        }
        let token = Token {
            guid: row.guid,
            user: row.user.into(),
            grant: grant(&row.scopes),
            expires_at: row.expires_at,
        };
        self.by_digest.insert(row.digest, Arc::new(token));
    }
}

/// Returns the grant in the rows of a token. A scope of a later version, which this program does not know, permits nothing.
pub(super) fn grant(rows: &[db::token::ScopeRow]) -> Grant {
    let (mut repositories, mut sources, mut is_admin) = (None, None, false);
    for row in rows {
        match row.scope.parse() {
            Ok(ScopeKind::ReposRead) => add(&mut repositories, row.object, RepoId),
            Ok(ScopeKind::SourcesWrite) => add(&mut sources, row.object, SourceId),
            Ok(ScopeKind::GlobalAdmin) => is_admin = true,
            Err(_) => {}
        }
    }
    let scopes = [
        repositories.map(Scope::ReposRead),
        sources.map(Scope::SourcesWrite),
        is_admin.then_some(Scope::GlobalAdmin),
    ];
    Grant::new(scopes.into_iter().flatten().collect())
}

/// Adds an object to a selection; 0 stands for all objects.
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

/// Returns the rows of a grant.
pub(super) fn rows(grant: &Grant) -> Vec<db::token::ScopeRow> {
    let row = |kind: ScopeKind, object| db::token::ScopeRow { scope: kind.as_str().to_owned(), object };
    let scopes = grant.scopes().iter().flat_map(|scope| match scope {
        Scope::ReposRead(Selection::All) => vec![row(ScopeKind::ReposRead, 0)],
        Scope::ReposRead(Selection::Only(ids)) => {
            ids.iter().map(|id| row(ScopeKind::ReposRead, id.0)).collect()
        }
        Scope::SourcesWrite(Selection::All) => vec![row(ScopeKind::SourcesWrite, 0)],
        Scope::SourcesWrite(Selection::Only(ids)) => {
            ids.iter().map(|id| row(ScopeKind::SourcesWrite, id.0)).collect()
        }
        Scope::GlobalAdmin => vec![row(ScopeKind::GlobalAdmin, 0)],
    });
    scopes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
