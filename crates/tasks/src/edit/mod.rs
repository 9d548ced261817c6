//! Administrative edits. Each file is named after its object: sources, repositories, subscriptions, packages.
//!
//! Each edit is one database write, which publishes a transaction if the edit changes history. The same write reads the
//! new catalog, so that the next request sees the change.

pub mod add;
pub mod add_binary;
pub mod block_rule;
pub mod curated;
pub mod curation;
mod edited_source;
pub mod fixed_url;
pub mod guard_conflicts;
pub mod import;
mod last_plan;
pub mod metadata;
pub mod name_guard;
pub mod package;
mod past_days;
mod plan;
mod prepare;
pub mod project;
pub mod promotion;
pub mod python;
pub mod remove;
pub mod remove_binary;
pub mod repo;
pub mod source;
pub mod state;
pub mod subscription;
pub mod upload;
mod upload_body;
mod uploads;

pub use upload_body::UploadKind;
pub use uploads::{Upload, Uploads};

use base::model::ids::TxId;
use base::model::kind::{ChangePolicy, RepoKind};
use base::model::name::Name;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::publish::edit::apply_unless_refused;
use runtime::state::State;
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, DbError, WriteError};

/// The user who made the edit, as recorded in the transaction.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

/// The action when the object already exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    Fail,
    /// `--succeed-on-existing`: leave it unchanged.
    Succeed,
    /// `--replace`: replace it with the new file.
    Replace,
}

/// The result of adding one upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddStatus {
    New,
    Replaced,
    /// The version existed and was left unchanged.
    Existing,
}

/// The releases selected by `rspm remove`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoveScope {
    /// `@all`: the listed and all archived releases.
    All,
    /// `@current`: the listed release.
    Current,
    /// `@1.2.3`.
    Version(String),
}

impl RemoveScope {
    /// The selected releases of a package, for the audit trail.
    fn of(&self, package: &str) -> String {
        match self {
            RemoveScope::All => format!("{package}, all releases"),
            RemoveScope::Current => format!("{package}, the listed release"),
            RemoveScope::Version(version) => format!("{package} {version}"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct NewRepo {
    pub name: Name,
    pub kind: RepoKind,
    pub description: String,
    pub authenticated: bool,
    pub changes: ChangePolicy,
}

impl NewRepo {
    /// Returns a repository that everyone may read and that accepts all changes.
    pub fn open(name: &Name, kind: RepoKind, description: &str) -> NewRepo {
        let (name, description) = (name.clone(), description.to_owned());
        NewRepo { name, kind, description, authenticated: false, changes: ChangePolicy::Any }
    }
}

/// Changes to a repository; `None` leaves a field unchanged.
#[derive(Clone, Debug, Default)]
pub struct RepoEdit {
    pub name: Option<Name>,
    /// New description; empty clears it.
    pub description: Option<String>,
    pub hidden: Option<bool>,
    pub authenticated: Option<bool>,
    pub changes: Option<ChangePolicy>,
}

/// The result of a write that may be refused.
pub(crate) type Write<T> = Result<T, WriteError<RepoError>>;

/// The transaction, `None` if nothing changed, and the selected versions or files.
type SelectedResult = (Option<TxId>, Vec<String>);

async fn apply<T, F>(state: &State, edit: F) -> Result<T, RepoError>
where
    T: Send + 'static,
    F: Fn(&mut dyn Conn) -> Write<T> + Send + 'static,
{
    Ok(apply_unless_refused(state, edit).await?)
}

/// Converts a database conflict: another edit used the name between the check and the write.
fn name_conflict(error: WriteError<RepoError>, noun: &str, name: &Name) -> RepoError {
    match error {
        WriteError::Db(DbError::Conflict(_)) => exists_already(noun, name.as_str()),
        other => other.into(),
    }
}

fn exists_already(noun: &str, name: &str) -> RepoError {
    RepoError::Conflict(format!(
        "the {noun} '{name}' exists already; choose another name, or use --succeed-on-existing"
    ))
}

/// Returns the publish of a removal of releases or files of a package.
fn removal(state: &State, package: &str, scope: &RemoveScope, comment: &str, actor: &Actor) -> Publish {
    let publish = publish(TxKind::Remove, (state.clock)(), actor);
    Publish { comment: comment.to_owned(), subject: scope.of(package), ..publish }
}

/// Returns the publish of an administrative edit, with `now` as its publication time.
fn publish(kind: TxKind, now: Timestamp, actor: &Actor) -> Publish {
    Publish { published_from: Some(now), published_to: Some(now), ..Publish::new(kind, now, now, &actor.0) }
}
