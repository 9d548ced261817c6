//! Builds of commits and tags of git repositories: the queue, and the history of builds.
//!
//! A server claims a build for a limited time and renews the claim while it builds. Times of claims are those of the
//! database host's clock.

use std::time::Duration;

use super::ids::{self, Sequence};
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{column, row, select};
use base::model::digest::Sha256;
use base::model::ids::TxId;
use base::model::recorded_words::BuildState;
use base::model::time::Timestamp;

/// Duration of a claim without renewal.
pub const TERM: Duration = Duration::from_secs(30);

column! {
    BuildState = "a state",
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GitBuild from "git_build" {
        pub id: i64,
        pub builder: i64 = "builder_id",
        /// The tag; empty for a commit of the branch.
        pub tag: String,
        pub commit: String = "commit_sha",
        pub state: BuildState,
        pub attempt: i64,
        /// Whether its package replaces the same version.
        pub replaces: bool,
        /// The trigger: `schedule`, `webhook`, or a user name.
        pub actor: String,
        pub queued_at: Timestamp,
        pub started_at: Option<Timestamp>,
        pub ended_at: Option<Timestamp>,
        pub tx: Option<TxId> = "tx_id",
        /// The published version; empty until it is published.
        pub version: String,
        /// The reason why it failed, or a remark; one sentence.
        pub reason: String,
        pub log: Option<Sha256> = "log_sha256",
    }
}

/// A build that is put in the queue, or recorded as skipped or moved.
#[derive(Clone, Debug)]
pub struct NewBuild<'a> {
    pub builder: i64,
    /// The tag; empty for a commit of the branch.
    pub tag: &'a str,
    pub commit: &'a str,
    pub state: BuildState,
    pub reason: &'a str,
    /// Whether its package replaces the same version.
    pub replaces: bool,
    pub actor: &'a str,
}

/// Inserts a build; returns its id.
pub fn insert(c: &mut dyn Conn, build: &NewBuild<'_>, now: Timestamp) -> Result<i64, DbError> {
    const INSERT: &str = "INSERT INTO git_build (id, builder_id, tag, commit_sha, state, attempt, replaces, actor, \
        queued_at, due_at, ended_at, claim, claim_until, version, reason, log_size) \
        VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, 0, $9, '', 0, '', $10, 0)";
    let id = ids::reserve(c, Sequence::GitBuild, 1)?;
    let params = [
        id.into(),
        build.builder.into(),
        build.tag.into(),
        build.commit.into(),
        build.state.as_str().into(),
        build.replaces.into(),
        build.actor.into(),
        now.into(),
        build.state.is_final().then_some(now).into(),
        build.reason.into(),
    ];
    c.execute(INSERT, &params)?;
    Ok(id)
}

pub fn get(c: &mut dyn Conn, id: i64) -> Result<Option<GitBuild>, DbError> {
    c.first(select!(GitBuild, "WHERE id = $1"), &[id.into()])
}

pub fn by_tx(c: &mut dyn Conn, tx: TxId) -> Result<Option<GitBuild>, DbError> {
    c.first(select!(GitBuild, "WHERE tx_id = $1"), &[tx.into()])
}

/// Returns all builds of a builder, the newest first.
pub fn of_builder(c: &mut dyn Conn, builder: i64) -> Result<Vec<GitBuild>, DbError> {
    c.all(select!(GitBuild, "WHERE builder_id = $1 ORDER BY id DESC"), &[builder.into()])
}

pub fn newest(c: &mut dyn Conn, builder: i64) -> Result<Option<GitBuild>, DbError> {
    c.first(select!(GitBuild, "WHERE builder_id = $1 ORDER BY id DESC LIMIT 1"), &[builder.into()])
}

/// Returns the build of a builder that was published last.
pub fn newest_published(c: &mut dyn Conn, builder: i64) -> Result<Option<GitBuild>, DbError> {
    c.first(
        select!(
            GitBuild,
            "WHERE builder_id = $1 AND state = 'published' ORDER BY ended_at DESC, id DESC LIMIT 1"
        ),
        &[builder.into()],
    )
}

/// Returns the builds of a commit or of a tag, the newest first.
pub fn of_commit(c: &mut dyn Conn, builder: i64, tag: &str, commit: &str) -> Result<Vec<GitBuild>, DbError> {
    c.all(
        select!(GitBuild, "WHERE builder_id = $1 AND tag = $2 AND commit_sha = $3 ORDER BY id DESC"),
        &[builder.into(), tag.into(), commit.into()],
    )
}

/// Returns a page of the builds of all given builders, the newest first.
pub fn page(
    c: &mut dyn Conn,
    builders: &[i64],
    limit: usize,
    offset: usize,
) -> Result<Vec<GitBuild>, DbError> {
    let mut builds = Vec::new();
    let newest = i64::try_from(offset.saturating_add(limit)).unwrap_or(i64::MAX);
    for builder in builders {
        let params = [(*builder).into(), newest.into()];
        let newest = select!(GitBuild, "WHERE builder_id = $1 ORDER BY id DESC LIMIT $2");
        builds.extend(c.all::<GitBuild>(newest, &params)?);
    }
    builds.sort_by_key(|build| std::cmp::Reverse(build.id));
    Ok(builds.into_iter().skip(offset).take(limit).collect())
}

/// Ends the queued build of `head`, the previous commit of a branch, unless a user requested it.
pub fn supersede(c: &mut dyn Conn, builder: i64, head: &str, now: Timestamp) -> Result<(), DbError> {
    const SKIP: &str = "UPDATE git_build SET state = 'skipped', ended_at = $1, reason = 'the branch has a newer \
        commit' WHERE builder_id = $2 AND tag = '' AND state = 'queued' AND commit_sha = $3 AND replaces = 0 \
        AND NOT EXISTS (SELECT 1 FROM git_build e WHERE e.builder_id = git_build.builder_id \
        AND e.commit_sha = git_build.commit_sha AND e.tag = '' AND e.id < git_build.id)";
    c.execute(SKIP, &[now.into(), builder.into(), head.into()]).map(drop)
}

/// Ends a build that waits for another attempt, if a newer commit of its branch was found since: its package would
/// replace that of the newer commit. Builds that a user requested remain. Returns true if the build was ended.
pub fn skip_superseded(c: &mut dyn Conn, id: i64, now: Timestamp) -> Result<bool, DbError> {
    const SKIP: &str = "UPDATE git_build SET state = 'skipped', ended_at = $1, reason = 'the branch has a newer \
        commit' WHERE id = $2 AND tag = '' AND state = 'queued' AND replaces = 0 AND NOT EXISTS (SELECT 1 \
        FROM git_build e WHERE e.builder_id = git_build.builder_id AND e.commit_sha = git_build.commit_sha \
        AND e.tag = '' AND e.id < git_build.id) AND EXISTS (SELECT 1 FROM git_build n \
        WHERE n.builder_id = git_build.builder_id AND n.tag = '' AND n.commit_sha <> git_build.commit_sha \
        AND n.replaces = 0 AND n.id > git_build.id)";
    Ok(c.execute(SKIP, &[now.into(), id.into()])? == 1)
}

/// Extends the claims of builds that `holder` runs, even expired ones, unless another server has claimed them.
pub fn extend(c: &mut dyn Conn, builds: &[i64], holder: &str, clock: Timestamp) -> Result<(), DbError> {
    const EXTEND: &str = "UPDATE git_build SET claim_until = $1 WHERE id = $2 AND claim = $3 AND state IN ('fetching', \
        'building')";
    let until = c.time(clock)? + TERM;
    for id in builds {
        c.execute(EXTEND, &[until.into(), (*id).into(), holder.into()])?;
    }
    Ok(())
}

/// Returns builds with an expired claim to the queue; after `retries` attempts marks them as failed.
pub fn release_expired(c: &mut dyn Conn, clock: Timestamp, retries: i64) -> Result<(), DbError> {
    const FAIL: &str = "UPDATE git_build SET state = 'failed', ended_at = $1, claim = '', reason = 'the server ended \
        during the build' WHERE state IN ('fetching', 'building') AND claim_until < $1 AND attempt >= $2";
    const REQUEUE: &str = "UPDATE git_build SET state = 'queued', claim = '', reason = 'the server ended during the \
        build' WHERE state IN ('fetching', 'building') AND claim_until < $1";
    let now = c.time(clock)?;
    c.execute(FAIL, &[now.into(), retries.into()])?;
    c.execute(REQUEUE, &[now.into()]).map(drop)
}

/// Claims the next build for `holder`, of the builder that started a build least recently and has none running.
pub fn claim(c: &mut dyn Conn, holder: &str, clock: Timestamp) -> Result<Option<GitBuild>, DbError> {
    const NEXT: &str = "SELECT b.id FROM (SELECT builder_id, min(id) AS id FROM git_build WHERE state = 'queued' \
        AND due_at <= $1 GROUP BY builder_id) b WHERE NOT EXISTS (SELECT 1 FROM git_build r \
        WHERE r.builder_id = b.builder_id AND r.state IN ('fetching', 'building')) ORDER BY coalesce((SELECT \
        max(s.started_at) FROM git_build s WHERE s.builder_id = b.builder_id), 0), b.id LIMIT 1";
    const CLAIM: &str = "UPDATE git_build SET state = 'fetching', attempt = attempt + 1, started_at = $1, reason = '', \
        claim = $2, claim_until = $3 WHERE id = $4 AND state = 'queued'";
    let now = c.time(clock)?;
    let Some(id) = c.first::<i64>(NEXT, &[now.into()])? else { return Ok(None) };
    let params = [now.into(), holder.into(), (now + TERM).into(), id.into()];
    if c.execute(CLAIM, &params)? == 0 {
        return Ok(None);
    }
    get(c, id)
}

/// Renews a claim and records the state. Returns false if another server holds the claim, or the build has ended.
pub fn renew(
    c: &mut dyn Conn,
    id: i64,
    holder: &str,
    state: BuildState,
    clock: Timestamp,
) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE git_build SET state = $1, claim_until = $2 WHERE id = $3 AND claim = $4 \
        AND state IN ('fetching', 'building')";
    let until = c.time(clock)? + TERM;
    Ok(c.execute(RENEW, &[state.as_str().into(), until.into(), id.into(), holder.into()])? == 1)
}

#[derive(Clone, Debug)]
pub struct AttemptEnd<'a> {
    /// The new state; `Queued` for another attempt.
    pub state: BuildState,
    pub tx: Option<TxId>,
    pub version: &'a str,
    /// The reason why it failed, or a remark.
    pub reason: &'a str,
    /// The earliest time of another attempt.
    pub due_at: Timestamp,
}

/// Ends an attempt. Returns false if another server holds the claim; in that case the caller must not publish.
pub fn end(
    c: &mut dyn Conn,
    id: i64,
    holder: &str,
    result: &AttemptEnd<'_>,
    clock: Timestamp,
) -> Result<bool, DbError> {
    const END: &str = "UPDATE git_build SET state = $1, ended_at = $2, tx_id = $3, version = $4, reason = $5, \
        due_at = $6, claim = '' WHERE id = $7 AND claim = $8 AND state IN ('fetching', 'building')";
    let params = [
        result.state.as_str().into(),
        result.state.is_final().then_some(clock).into(),
        result.tx.into(),
        result.version.into(),
        Value::message(result.reason),
        result.due_at.into(),
        id.into(),
        holder.into(),
    ];
    Ok(c.execute(END, &params)? == 1)
}

/// Returns a build to the queue without counting its interrupted attempt.
pub fn return_to_queue(c: &mut dyn Conn, id: i64, holder: &str) -> Result<(), DbError> {
    const RETURN: &str = "UPDATE git_build SET state = 'queued', attempt = attempt - 1, claim = '' WHERE id = $1 AND claim = $2";
    c.execute(RETURN, &[id.into(), holder.into()]).map(drop)
}

pub fn set_log(c: &mut dyn Conn, id: i64, log: Sha256, size: i64) -> Result<(), DbError> {
    const SET: &str = "UPDATE git_build SET log_sha256 = $1, log_size = $2 WHERE id = $3";
    c.execute(SET, &[Value::opt_text(Some(log)), size.into(), id.into()]).map(drop)
}

pub fn has_log(c: &mut dyn Conn, log: Sha256) -> Result<bool, DbError> {
    let rows = c.query("SELECT 1 FROM git_build WHERE log_sha256 = $1 LIMIT 1", &[log.to_string().into()])?;
    Ok(!rows.is_empty())
}

pub fn logs(c: &mut dyn Conn) -> Result<Vec<Sha256>, DbError> {
    c.all("SELECT DISTINCT log_sha256 FROM git_build WHERE log_sha256 IS NOT NULL", &[])
}

/// Removes the logs of builds that ended before `before`, except those of the newest `keep` builds of each builder, and
/// deletes the rows of skipped commits of branches that ended before `before`. Returns the number of removed logs; the
/// sweep removes their objects. The rows of other builds remain: they record which commits and tags were built.
pub fn remove_logs(c: &mut dyn Conn, before: Timestamp, keep: i64) -> Result<u64, DbError> {
    const REMOVE: &str = "UPDATE git_build SET log_sha256 = NULL, log_size = 0 WHERE log_sha256 IS NOT NULL \
        AND ended_at < $1 AND id <= (SELECT n.id FROM git_build n WHERE n.builder_id = git_build.builder_id ORDER \
        BY n.id DESC LIMIT 1 OFFSET $2)";
    const DELETE: &str = "DELETE FROM git_build WHERE state = 'skipped' AND tag = '' AND tx_id IS NULL \
        AND ended_at < $1";
    c.execute(DELETE, &[before.into()])?;
    c.execute(REMOVE, &[before.into(), keep.into()])
}

/// Returns the numbers of builds that wait, that run, and that failed since a time.
pub fn counts(c: &mut dyn Conn, since: Timestamp) -> Result<(i64, i64, i64), DbError> {
    const WAITING: &str = "SELECT count(*) FROM git_build WHERE state = 'queued'";
    const FAILED: &str = "SELECT count(*) FROM git_build WHERE state = 'failed' AND ended_at >= $1";
    let waiting = c.first(WAITING, &[])?.unwrap_or_default();
    let failed = c.first(FAILED, &[since.into()])?.unwrap_or_default();
    Ok((waiting, count_unfinished(c)? - waiting, failed))
}

pub fn count_unfinished(c: &mut dyn Conn) -> Result<i64, DbError> {
    const COUNT: &str = "SELECT count(*) FROM git_build WHERE state IN ('queued', 'fetching', 'building')";
    Ok(c.first(COUNT, &[])?.unwrap_or_default())
}
