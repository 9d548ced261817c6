//! The valid tokens of the database, in memory. A request is compared with the table alone. A change raises
//! `clock.catalog` like a publish, so each server reads it with the news of a publish.

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

/// Pauses between attempts to read changed tokens.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Minimum interval between reads that unknown tokens cause.
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
    /// It is valid before this time.
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
    reading: tokio::sync::Mutex<()>,
    /// When an unknown token last caused a read.
    unknown_at: AtomicI64,
}

impl Tokens {
    /// Reads the tokens of the database.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open(db: &Db, catalog: &CatalogHandle) -> Result<Tokens, DbError> {
        let tokens = Tokens(Arc::new(Inner {
            db: db.clone(),
            catalog: catalog.clone(),
            table: ArcSwap::default(),
            reading: tokio::sync::Mutex::default(),
            unknown_at: AtomicI64::new(i64::MIN),
        }));
        tokens.refresh().await?;
        Ok(tokens)
    }

    /// The token with this digest, if it is valid at `now`.
    #[must_use]
    pub fn get(&self, digest: &Sha256, now: Timestamp) -> Option<Arc<Token>> {
        let table = self.0.table.load();
        let token = table.by_digest.get(digest)?;
        token.expires_at.is_none_or(|end| now < end).then(|| Arc::clone(token))
    }

    /// As [`Tokens::get`]; reads changed tokens first if the token is unknown and no unknown one caused a read within the
    /// last second: another server may have created it just now.
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
    /// Those of the database.
    pub async fn refresh(&self) -> Result<(), DbError> {
        let _reading = self.0.reading.lock().await;
        let known = self.0.table.load_full();
        let revision = known.revision;
        let (changed, newest) = self.0.db.read(move |c| db::token::changed_since(c, revision)).await?;
        if !changed.is_empty() {
            let mut table = Table::clone(&known);
            changed.into_iter().for_each(|row| table.apply(row));
            table.revision = newest;
            self.0.table.store(Arc::new(table));
        }
        Ok(())
    }

    /// Reads changed tokens after every change of the catalog, until the future is dropped.
    pub async fn follow(&self) {
        let mut changes = self.0.catalog.changes();
        loop {
            // The first read: what changed before this call.
            changes.borrow_and_update();
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.refresh().await {
                tracing::warn!("could not read changed tokens; trying again: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
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

/// The grant of the rows of a token. A scope that this program does not know, of a later version, permits nothing.
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

/// The rows of a grant.
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
        let only = Grant::new(vec![
            Scope::ReposRead(Selection::Only(vec![RepoId(3), RepoId(5)])),
            Scope::SourcesWrite(Selection::All),
            Scope::GlobalAdmin,
        ]);
        assert_eq!(grant(&rows(&only)), only);
        let unknown = db::token::ScopeRow { scope: "later:scope".to_owned(), object: 0 };
        assert_eq!(grant(&[unknown]), Grant::default());
    }
}
