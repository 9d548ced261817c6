//! Repositories and their versioned lists of subscriptions.

use std::ops::RangeInclusive;

use super::{Conn, DbError, Value, ids, source};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::ids::{RepoId, Seq, SourceId, TxId};
use base::model::kind::{ChangePolicy, RepoKind};
use base::model::name::Name;
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Repo from "repo" {
        pub id: RepoId,
        pub name: String,
        pub kind: RepoKind,
        pub description: String,
        pub hidden: bool,
        /// Whether it is served only to authenticated clients.
        pub authenticated: bool,
        pub created_at: Timestamp,
        pub changes: ChangePolicy,
    }
}

#[derive(Clone, Debug)]
pub struct NewRepo {
    pub name: Name,
    pub kind: RepoKind,
    pub description: String,
    pub hidden: bool,
    pub authenticated: bool,
    pub changes: ChangePolicy,
}

/// A change to a repository; `None` leaves a property unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    pub name: Option<Name>,
    pub description: Option<String>,
    pub hidden: Option<bool>,
    pub authenticated: Option<bool>,
    pub changes: Option<ChangePolicy>,
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Subscription from "subscription" {
        pub source: SourceId = "source_id",
        /// The subscribed part: empty for all, or a Bioconductor version.
        pub label: String,
    }
}

row! {
    /// A subscription list in force from an instant on.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RepoStep from "repo_step" {
        pub repo: RepoId = "repo_id",
        /// Its number, from 1.
        pub seq: i64,
        pub at: Timestamp,
        pub tx: TxId = "tx_id",
        /// The subscriptions, in order of precedence. An earlier program has not written them as one value.
        pub subscriptions: Vec<Subscription> = "coalesce(\
            (SELECT l.entries FROM subscription_list l WHERE l.repo_id = repo_step.repo_id AND l.seq = repo_step.seq), \
            (SELECT string_agg(u.source_id || ' ' || u.label, ',' ORDER BY u.position) FROM subscription u \
            WHERE u.repo_id = repo_step.repo_id AND u.seq = repo_step.seq), '')" => entries,
        /// The cut-off time of the states of the sources, exclusive; `None` for the newest states.
        pub pinned_at: Option<Timestamp>,
        pub has_withheld: bool = "CASE WHEN withheld IS NULL THEN 0 ELSE 1 END",
    }
}

/// Decodes subscriptions that are one value: `4 ,2 3.20`.
fn entries(cells: &mut Cells) -> Result<Vec<Subscription>, DbError> {
    let text = String::decode(cells)?;
    // Lists that grow would take half of the time.
    let mut entries = Vec::with_capacity(text.matches(',').count() + 1);
    for entry in text.split_terminator(',') {
        let (source, label) = entry.split_once(' ').unwrap_or_default();
        let source = source.parse().map_err(|_| cells.shape("other text", "a list of subscriptions"))?;
        entries.push(Subscription { source: SourceId(source), label: label.to_owned() });
    }
    Ok(entries)
}

pub const ALL: RangeInclusive<RepoId> = RepoId(i64::MIN)..=RepoId(i64::MAX);

/// Returns every repository, by id.
pub fn list(c: &mut dyn Conn) -> Result<Vec<Repo>, DbError> {
    c.all(select!(Repo, "ORDER BY id"), &[])
}

pub fn get(c: &mut dyn Conn, id: RepoId) -> Result<Option<Repo>, DbError> {
    c.first(select!(Repo, "WHERE id = $1"), &[id.into()])
}

pub fn by_name(c: &mut dyn Conn, name: &str) -> Result<Option<Repo>, DbError> {
    c.first(select!(Repo, "WHERE name = $1"), &[name.into()])
}

/// Creates a repository without subscriptions. Call `clock::bump_catalog` afterwards.
///
/// # Errors
/// [`DbError::Conflict`] if the name is taken.
pub fn create(c: &mut dyn Conn, repo: &NewRepo, now: Timestamp) -> Result<RepoId, DbError> {
    const CREATE: &str = "INSERT INTO repo (id, name, kind, description, hidden, authenticated, created_at, changes) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let id = RepoId(ids::reserve(c, ids::Sequence::Repo, 1)?);
    let params: [Value; 8] = [
        id.into(),
        repo.name.as_str().into(),
        repo.kind.as_str().into(),
        repo.description.as_str().into(),
        repo.hidden.into(),
        repo.authenticated.into(),
        now.into(),
        repo.changes.as_str().into(),
    ];
    c.execute(CREATE, &params)?;
    Ok(id)
}

/// Changes a repository. Call `clock::bump_catalog` afterwards. Returns false if the repository does not exist.
///
/// # Errors
/// [`DbError::Conflict`] if the new name is taken.
pub fn edit(c: &mut dyn Conn, id: RepoId, edit: &Edit) -> Result<bool, DbError> {
    const EDIT: &str = "UPDATE repo SET name = $1, description = $2, hidden = $3, authenticated = $4, changes = $5 \
        WHERE id = $6";
    let Some(old) = get(c, id)? else { return Ok(false) };
    let params: [Value; 6] = [
        edit.name.as_ref().map_or(old.name.as_str(), Name::as_str).into(),
        edit.description.as_deref().unwrap_or(&old.description).into(),
        edit.hidden.unwrap_or(old.hidden).into(),
        edit.authenticated.unwrap_or(old.authenticated).into(),
        edit.changes.unwrap_or(old.changes).as_str().into(),
        id.into(),
    ];
    Ok(c.execute(EDIT, &params)? == 1)
}

/// Deletes a repository, its subscription lists and its fixed URLs, not its transactions. Call `clock::bump_catalog`
/// afterwards. Returns false if the repository does not exist.
pub fn delete(c: &mut dyn Conn, id: RepoId) -> Result<bool, DbError> {
    c.execute("DELETE FROM subscription WHERE repo_id = $1", &[id.into()])?;
    c.execute("DELETE FROM subscription_list WHERE repo_id = $1", &[id.into()])?;
    c.execute("DELETE FROM repo_step WHERE repo_id = $1", &[id.into()])?;
    c.execute("DELETE FROM withheld_alarm WHERE repo_id = $1", &[id.into()])?;
    super::fixed_url::delete_of_repo(c, id)?;
    supersede_promotions(c, id)?;
    Ok(c.execute("DELETE FROM repo WHERE id = $1", &[id.into()])? == 1)
}

/// Returns the subscription lists of these repositories that follow the list with a number, 0 for all, by repository, oldest
/// first.
pub fn steps(c: &mut dyn Conn, repos: RangeInclusive<RepoId>, after: Seq) -> Result<Vec<RepoStep>, DbError> {
    const STEPS: &str =
        select!(RepoStep, "WHERE repo_id >= $1 AND repo_id <= $2 AND seq > $3 ORDER BY repo_id, seq");
    c.all(STEPS, &[(*repos.start()).into(), (*repos.end()).into(), after.into()])
}

/// Returns the current subscription list, in order of precedence.
pub fn subscriptions(c: &mut dyn Conn, repo: RepoId) -> Result<Vec<Subscription>, DbError> {
    const SELECT: &str = select!(
        Subscription,
        "WHERE repo_id = $1 AND seq = (SELECT max(seq) FROM repo_step WHERE repo_id = $1) ORDER BY position"
    );
    c.all(SELECT, &[repo.into()])
}

/// Returns the names and policies of the repositories whose current lists have a source, by id.
pub fn subscribers(c: &mut dyn Conn, source: SourceId) -> Result<Vec<(String, ChangePolicy)>, DbError> {
    const SELECT: &str = "SELECT r.name, r.changes FROM repo r WHERE EXISTS (SELECT 1 FROM subscription u \
        WHERE u.repo_id = r.id AND u.source_id = $1 \
        AND u.seq = (SELECT max(s.seq) FROM repo_step s WHERE s.repo_id = r.id)) ORDER BY r.id";
    c.all(SELECT, &[source.into()])
}

/// The complete new subscription list of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRepoStep {
    pub repo: RepoId,
    pub subscriptions: Vec<Subscription>,
    /// The cut-off time of the states of the sources, exclusive; `None` for the newest states.
    pub pinned_at: Option<Timestamp>,
    /// The versions that rules withhold at the cut-off time, as [`withheld`] returns them; empty if there are none.
    pub withheld: Vec<u8>,
}

/// Returns the versions that rules withheld when the list was promoted; empty if there are none.
pub fn withheld(c: &mut dyn Conn, repo: RepoId, seq: Seq) -> Result<Vec<u8>, DbError> {
    const SELECT: &str =
        "SELECT withheld FROM repo_step WHERE repo_id = $1 AND seq = $2 AND withheld IS NOT NULL";
    Ok(c.first(SELECT, &[repo.into(), seq.into()])?.unwrap_or_default())
}

/// Writes the next subscription list. Requested promotions of the repository are superseded. A deleted source can be in
/// the list only if it is in the current one. Fails with [`DbError::NoRepo`]; [`DbError::SourceDeleted`].
pub(in crate::db) fn add_step(
    c: &mut dyn Conn,
    step: &NewRepoStep,
    at: Timestamp,
    tx: TxId,
) -> Result<(), DbError> {
    const NEXT: &str = "SELECT coalesce(max(seq), 0) + 1 FROM repo_step WHERE repo_id = $1";
    const STEP: &str = "INSERT INTO repo_step (repo_id, seq, at, tx_id, pinned_at, withheld) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    const ENTRY: &str = "INSERT INTO subscription (repo_id, seq, position, source_id, label) \
        VALUES ($1, $2, $3, $4, $5)";
    const LIST: &str = "INSERT INTO subscription_list (repo_id, seq, entries) \
        SELECT repo_id, seq, string_agg(source_id || ' ' || label, ',' ORDER BY position) FROM subscription \
        WHERE repo_id = $1 AND seq = $2 GROUP BY repo_id, seq";
    if get(c, step.repo)?.is_none() {
        return Err(DbError::NoRepo(step.repo));
    }
    let current = subscriptions(c, step.repo)?;
    for new in step.subscriptions.iter().filter(|new| current.iter().all(|old| old.source != new.source)) {
        source::check_exists(c, new.source)?;
    }
    let seq: i64 = c.first(NEXT, &[step.repo.into()])?.ok_or(DbError::NoRepo(step.repo))?;
    let withheld = (!step.withheld.is_empty()).then_some(step.withheld.as_slice());
    let params: [Value; 6] = [
        step.repo.into(),
        seq.into(),
        at.into(),
        tx.into(),
        step.pinned_at.map(|at| at.0).into(),
        withheld.map_or(Value::Null, Value::from),
    ];
    c.execute(STEP, &params)?;
    supersede_promotions(c, step.repo)?;
    for (position, s) in (1_i64..).zip(&step.subscriptions) {
        let label = s.label.as_str().into();
        c.execute(ENTRY, &[step.repo.into(), seq.into(), position.into(), s.source.into(), label])?;
    }
    c.execute(LIST, &[step.repo.into(), seq.into()]).map(drop)
}

/// Ends the requested promotions to a repository that changed or was deleted.
pub fn supersede_promotions(c: &mut dyn Conn, repo: RepoId) -> Result<(), DbError> {
    const UPDATE: &str =
        "UPDATE promotion SET state = 'superseded' WHERE state = 'requested' AND repo_id = $1";
    c.execute(UPDATE, &[repo.into()]).map(drop)
}
