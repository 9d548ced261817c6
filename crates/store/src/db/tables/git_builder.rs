//! Builders: each builds one package of a source from one git repository.

use super::ids::{self, Sequence};
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{column, row, select};
use base::model::ids::SourceId;
use base::model::time::Timestamp;
use base::words;

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Trigger {
        Commits = "commits",
        Tags = "tags",
    }
    else "trigger of builds"
}

column! {
    Trigger = "a trigger",
}

row! {
    #[derive(Clone, PartialEq, Eq)]
    pub struct GitBuilder from "git_builder" {
        /// Its id; 0 before it is inserted.
        pub id: i64,
        /// The source that its packages are published in.
        pub source: SourceId = "source_id",
        pub name: String,
        pub url: String,
        /// The branch; empty for the default branch.
        pub branch: String,
        pub trigger: Trigger = "build_trigger",
        /// Relative path of the package in the repository; empty for the root.
        pub sub_dir: String,
        /// Number of commits to fetch; 0 for all.
        pub clone_depth: u32,
        /// Levels of submodules to fetch.
        pub submodules: u32,
        pub vignettes: bool,
        pub credential: Option<i64> = "credential_id",
        pub webhook_secret: Option<String>,
        pub created_at: Timestamp,
        pub polled_at: Option<Timestamp>,
        pub due_at: Timestamp,
        /// Number of failed polls since the last successful one.
        pub failures: i64,
        /// The newest commit of the branch at the last poll; empty before the first poll.
        pub head: String,
        /// The reason why the last poll failed; empty if it succeeded.
        pub error: String,
    }
}

/// Returns the builders that are not deleted, by source and name.
pub fn list(c: &mut dyn Conn) -> Result<Vec<GitBuilder>, DbError> {
    c.all(select!(GitBuilder, "WHERE deleted_at IS NULL ORDER BY source_id, name"), &[])
}

/// Returns the builder with that id, unless it is deleted.
pub fn get(c: &mut dyn Conn, id: i64) -> Result<Option<GitBuilder>, DbError> {
    c.first(select!(GitBuilder, "WHERE id = $1 AND deleted_at IS NULL"), &[id.into()])
}

/// Returns the builder of a package, unless it is deleted.
pub fn by_name(c: &mut dyn Conn, source: SourceId, name: &str) -> Result<Option<GitBuilder>, DbError> {
    c.first(
        select!(GitBuilder, "WHERE source_id = $1 AND name = $2 AND deleted_at IS NULL"),
        &[source.into(), name.into()],
    )
}

/// Returns the builders that are due for a poll, the longest overdue first.
pub fn due_builders(c: &mut dyn Conn, now: Timestamp, limit: i64) -> Result<Vec<GitBuilder>, DbError> {
    c.all(
        select!(GitBuilder, "WHERE deleted_at IS NULL AND due_at <= $1 ORDER BY due_at, id LIMIT $2"),
        &[now.into(), limit.into()],
    )
}

/// Returns the earliest time at which a builder is due for a poll.
pub fn next_poll_time(c: &mut dyn Conn) -> Result<Option<Timestamp>, DbError> {
    Ok(c.first("SELECT min(due_at) FROM git_builder WHERE deleted_at IS NULL", &[])?.flatten())
}

/// Returns the name of the builder with that id, even if it is deleted.
pub fn name_of(c: &mut dyn Conn, id: i64) -> Result<String, DbError> {
    Ok(c.first("SELECT name FROM git_builder WHERE id = $1", &[id.into()])?.unwrap_or_default())
}

/// Returns the names of the builders that use a credential.
pub fn using_credential(c: &mut dyn Conn, credential: i64) -> Result<Vec<String>, DbError> {
    const FIND: &str =
        "SELECT name FROM git_builder WHERE credential_id = $1 AND deleted_at IS NULL ORDER BY name";
    c.all(FIND, &[credential.into()])
}

/// Inserts a builder; returns its id.
///
/// # Errors
/// [`DbError::Conflict`] if the source has a builder for the package.
pub fn insert(c: &mut dyn Conn, builder: &GitBuilder) -> Result<i64, DbError> {
    const INSERT: &str = "INSERT INTO git_builder (id, source_id, name, url, branch, build_trigger, sub_dir, \
        clone_depth, submodules, credential_id, webhook_secret, created_at, due_at, failures, head, error, vignettes) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, '', $15)";
    let id = ids::reserve(c, Sequence::GitBuilder, 1)?;
    let params = [
        id.into(),
        builder.source.into(),
        builder.name.as_str().into(),
        builder.url.as_str().into(),
        builder.branch.as_str().into(),
        builder.trigger.as_str().into(),
        builder.sub_dir.as_str().into(),
        i64::from(builder.clone_depth).into(),
        i64::from(builder.submodules).into(),
        builder.credential.into(),
        Value::opt_text(builder.webhook_secret.as_ref()),
        builder.created_at.into(),
        builder.due_at.into(),
        builder.head.as_str().into(),
        builder.vignettes.into(),
    ];
    c.execute(INSERT, &params)?;
    Ok(id)
}

/// Replaces the settings of a builder, including the time of its next poll. Returns false if it does not exist.
pub fn update(c: &mut dyn Conn, builder: &GitBuilder) -> Result<bool, DbError> {
    const UPDATE: &str = "UPDATE git_builder SET url = $1, branch = $2, sub_dir = $3, clone_depth = $4, \
        submodules = $5, credential_id = $6, webhook_secret = $7, due_at = $8, vignettes = $9, failures = 0, \
        error = '' WHERE id = $10 AND deleted_at IS NULL";
    let params = [
        builder.url.as_str().into(),
        builder.branch.as_str().into(),
        builder.sub_dir.as_str().into(),
        i64::from(builder.clone_depth).into(),
        i64::from(builder.submodules).into(),
        builder.credential.into(),
        Value::opt_text(builder.webhook_secret.as_ref()),
        builder.due_at.into(),
        builder.vignettes.into(),
        builder.id.into(),
    ];
    Ok(c.execute(UPDATE, &params)? == 1)
}

pub fn record_poll(
    c: &mut dyn Conn,
    id: i64,
    head: &str,
    now: Timestamp,
    due_at: Timestamp,
) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE git_builder SET polled_at = $1, due_at = $2, failures = 0, error = '', head = $3 \
        WHERE id = $4";
    c.execute(UPDATE, &[now.into(), due_at.into(), head.into(), id.into()]).map(drop)
}

pub fn record_poll_failure(
    c: &mut dyn Conn,
    id: i64,
    reason: &str,
    due_at: Timestamp,
) -> Result<(), DbError> {
    const UPDATE: &str =
        "UPDATE git_builder SET due_at = $1, failures = failures + 1, error = $2 WHERE id = $3";
    c.execute(UPDATE, &[due_at.into(), Value::message(reason), id.into()]).map(drop)
}

/// Postpones the next poll of a builder to a time, unless it is later already.
pub fn postpone(c: &mut dyn Conn, id: i64, until: Timestamp) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE git_builder SET due_at = $1 WHERE id = $2 AND due_at < $1";
    c.execute(UPDATE, &[until.into(), id.into()]).map(drop)
}

/// Marks a builder as deleted and ends its builds: a running build loses its claim, so that it publishes nothing. The
/// packages and logs remain. Returns false if the builder does not exist.
pub fn delete(c: &mut dyn Conn, id: i64, now: Timestamp) -> Result<bool, DbError> {
    const DELETE: &str = "UPDATE git_builder SET deleted_at = $1, webhook_secret = NULL, credential_id = NULL \
        WHERE id = $2 AND deleted_at IS NULL";
    const END: &str = "UPDATE git_build SET state = 'skipped', ended_at = $1, reason = 'the builder was deleted', \
        claim = '' WHERE builder_id = $2 AND state IN ('queued', 'fetching', 'building')";
    c.execute(END, &[now.into(), id.into()])?;
    Ok(c.execute(DELETE, &[now.into(), id.into()])? == 1)
}
