//! Repositories and their versioned lists of subscriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{Conn, DbError, Value, ids, source};
use crate::db::engine::columns::{insert, row, select};
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

/// Returns the repositories with these ids, by id.
pub fn list(c: &mut dyn Conn, repos: RangeInclusive<RepoId>) -> Result<Vec<Repo>, DbError> {
    const LIST: &str = select!(Repo, "WHERE id >= $1 AND id <= $2 ORDER BY id");
    c.all(LIST, &[(*repos.start()).into(), (*repos.end()).into()])
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
    create_all(c, std::slice::from_ref(repo), now)
}

/// Like [`create`], for several repositories, which get the next ids in their order; returns the first id.
pub fn create_all(c: &mut dyn Conn, repos: &[NewRepo], now: Timestamp) -> Result<RepoId, DbError> {
    let first = ids::reserve(c, ids::Sequence::Repo, repos.len())?;
    insert!(c, "repo", (first..).zip(repos), |(id, repo)| {
        id: id,
        name: repo.name.as_str(),
        kind: repo.kind.as_str(),
        description: repo.description.as_str(),
        hidden: repo.hidden,
        authenticated: repo.authenticated,
        created_at: now,
        changes: repo.changes.as_str(),
    })?;
    Ok(RepoId(first))
}

/// Changes a repository. Call `clock::bump_catalog` afterwards. Returns false if the repository does not exist.
///
/// # Errors
/// [`DbError::Conflict`] if the new name is taken.
pub fn edit(c: &mut dyn Conn, id: RepoId, edit: &Edit) -> Result<bool, DbError> {
    Ok(edit_all(c, &BTreeMap::from([(id, edit.clone())]))? == 1)
}

/// Like [`edit`], for several repositories; returns the number of those that exist.
pub fn edit_all(c: &mut dyn Conn, edits: &BTreeMap<RepoId, Edit>) -> Result<u64, DbError> {
    const EDIT: &str = "UPDATE repo SET name = coalesce($1, name), description = coalesce($2, description), \
        hidden = coalesce($3, hidden), authenticated = coalesce($4, authenticated), changes = coalesce($5, changes) \
        WHERE id = $6";
    let row = |(id, edit): (&RepoId, &Edit)| -> Vec<Value> {
        vec![
            edit.name.as_ref().map(Name::as_str).into(),
            edit.description.as_deref().into(),
            edit.hidden.into(),
            edit.authenticated.into(),
            edit.changes.map(ChangePolicy::as_str).into(),
            (*id).into(),
        ]
    };
    c.execute_many(EDIT, &edits.iter().map(row).collect::<Vec<_>>())
}

/// Deletes repositories, their subscription lists and their fixed URLs, not their transactions. Call `clock::bump_catalog`
/// afterwards. Returns the number of those that existed.
pub fn delete(c: &mut dyn Conn, repos: &BTreeSet<RepoId>) -> Result<u64, DbError> {
    const FIXED_URL_TREES: &str =
        "DELETE FROM fixed_url_tree WHERE token IN (SELECT token FROM fixed_url WHERE repo_id = $1)";
    supersede_promotions(c, repos)?;
    let rows: Vec<Vec<Value>> = repos.iter().map(|repo| vec![(*repo).into()]).collect();
    for sql in [
        "DELETE FROM subscription WHERE repo_id = $1",
        "DELETE FROM subscription_list WHERE repo_id = $1",
        "DELETE FROM repo_step WHERE repo_id = $1",
        "DELETE FROM withheld_alarm WHERE repo_id = $1",
        FIXED_URL_TREES,
        "DELETE FROM fixed_url WHERE repo_id = $1",
    ] {
        c.execute_many(sql, &rows)?;
    }
    c.execute_many("DELETE FROM repo WHERE id = $1", &rows)
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

/// A list of subscriptions of a transaction.
pub(in crate::db) struct PublishedStep<'a> {
    pub(in crate::db) step: &'a NewRepoStep,
    pub(in crate::db) tx: TxId,
    pub(in crate::db) at: Timestamp,
}

row! {
    /// The current list of a repository.
    pub(in crate::db) struct CurrentList from
        "(SELECT r.id AS repo_id, r.name, coalesce((SELECT max(s.seq) FROM repo_step s WHERE s.repo_id = r.id), 0) AS seq \
        FROM repo r WHERE r.id >= $1 AND r.id <= $2) c"
    {
        pub(in crate::db) repo: RepoId = "c.repo_id",
        /// The name of the repository.
        pub(in crate::db) name: String = "c.name",
        /// The number of the list; 0 if there is none.
        pub(in crate::db) seq: i64 = "c.seq",
        pub(in crate::db) subscriptions: Vec<Subscription> = "coalesce((SELECT string_agg(u.source_id || ' ' || u.label, ',' \
            ORDER BY u.position) FROM subscription u WHERE u.repo_id = c.repo_id AND u.seq = c.seq), '')" => entries,
    }
}

/// Writes the next subscription lists of repositories, each of another one; returns their lists from before. Requested
/// promotions of the repositories are superseded. A deleted source can be in a list only if it is in the current one. Fails
/// with [`DbError::NoRepo`]; [`DbError::SourceDeleted`].
pub(in crate::db) fn add_steps(
    c: &mut dyn Conn,
    steps: &[PublishedStep<'_>],
) -> Result<BTreeMap<RepoId, CurrentList>, DbError> {
    let repos: BTreeSet<RepoId> = steps.iter().map(|new| new.step.repo).collect();
    let (Some(first), Some(last)) = (repos.first(), repos.last()) else { return Ok(BTreeMap::new()) };
    let current: Vec<CurrentList> = c.all(CurrentList::SELECT, &[(*first).into(), (*last).into()])?;
    let current: BTreeMap<RepoId, CurrentList> = current.into_iter().map(|list| (list.repo, list)).collect();
    let mut new_sources = BTreeSet::new();
    for PublishedStep { step, .. } in steps {
        let before = current.get(&step.repo).ok_or(DbError::NoRepo(step.repo))?;
        let is_new = |new: &SourceId| before.subscriptions.iter().all(|old| old.source != *new);
        new_sources.extend(step.subscriptions.iter().map(|entry| entry.source).filter(is_new));
    }
    source::check_exist(c, new_sources)?;
    let seq = |step: &NewRepoStep| current.get(&step.repo).map_or(1, |before| before.seq + 1);
    insert!(c, "repo_step", steps.iter(), |PublishedStep { step, tx, at }| {
        repo_id: step.repo,
        seq: seq(step),
        at: *at,
        tx_id: *tx,
        pinned_at: step.pinned_at,
        withheld: Some(step.withheld.as_slice()).filter(|withheld| !withheld.is_empty()),
    })?;
    supersede_promotions(c, &repos)?;
    let lists = || steps.iter().map(|new| new.step).filter(|step| !step.subscriptions.is_empty());
    let entries = lists().flat_map(|step| (1_i64..).zip(&step.subscriptions).map(move |entry| (step, entry)));
    insert!(c, "subscription", entries, |(step, (position, entry))| {
        repo_id: step.repo,
        seq: seq(step),
        position: position,
        source_id: entry.source,
        label: entry.label.as_str(),
    })?;
    let text = |entry: &Subscription| format!("{} {}", entry.source, entry.label);
    insert!(c, "subscription_list", lists(), |step| {
        repo_id: step.repo,
        seq: seq(step),
        entries: step.subscriptions.iter().map(text).collect::<Vec<_>>().join(","),
    })?;
    Ok(current)
}

/// Ends the requested promotions to repositories that changed or were deleted.
pub fn supersede_promotions(c: &mut dyn Conn, repos: &BTreeSet<RepoId>) -> Result<(), DbError> {
    const FIND: &str = "SELECT DISTINCT repo_id FROM promotion WHERE repo_id >= $1 AND repo_id <= $2";
    const UPDATE: &str =
        "UPDATE promotion SET state = 'superseded' WHERE state = 'requested' AND repo_id = $1";
    let (Some(first), Some(last)) = (repos.first(), repos.last()) else { return Ok(()) };
    let promoted: Vec<RepoId> = c.all(FIND, &[(*first).into(), (*last).into()])?;
    let changed = promoted.into_iter().filter(|repo| repos.contains(repo));
    c.execute_many(UPDATE, &changed.map(|repo| vec![repo.into()]).collect::<Vec<_>>()).map(drop)
}
