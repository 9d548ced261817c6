//! Every edit an administrator makes, one file per noun: sources, repositories, subscriptions, packages.
//!
//! Each is one database write, with a transaction where history moves, and then a new catalog: the next request
//! sees it.

mod add;
mod binary;
mod landing;
mod make;
mod plan;
mod remove;
mod remove_build;
mod repo;
mod source;
mod subscription;
mod upload;
mod uploads;

pub use binary::AddedBuild;
pub use remove_build::RemovedBuild;
pub use uploads::{Upload, Uploads};

use crate::db::DbError;
use crate::model::change::Counts;
use crate::model::name::Name;
use crate::model::time::Timestamp;

use super::{Repo, RepoError};

/// Who asks: written into the transaction.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

/// What becomes of a request for something that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// Refuse.
    Fail,
    /// `--succeed-on-existing`: leave it as it is.
    Succeed,
    /// `--replace`: put the new bytes in its place.
    Replace,
}

/// What adding one upload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// New in the source.
    New,
    /// The version was there and has other bytes now.
    Replaced,
    /// The version was there and stays.
    Existing,
}

/// Which releases `rspm remove` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `@all`: listed and archived.
    All,
    /// `@current`: the listed one.
    Current,
    /// `@1.2.3`.
    Version(String),
}

/// Changes to a repository's row; `None` leaves a field.
#[derive(Clone, Debug, Default)]
pub struct RepoEdit {
    /// New name.
    pub name: Option<Name>,
    /// New description; empty clears it.
    pub description: Option<String>,
    /// Listed publicly or not.
    pub hidden: Option<bool>,
}

/// What a write found that forbids it; nothing was written then.
type Refused<T> = Result<T, RepoError>;

impl Repo {
    /// Lets the next request see what was written.
    async fn seen(&self) -> Result<(), RepoError> {
        Ok(self.state.catalog.refresh(&self.state.db).await?)
    }
}

/// A name taken between the look and the write.
fn taken(error: DbError, noun: &str, name: &Name) -> RepoError {
    match error {
        DbError::Conflict(_) => already(noun, name.as_str()),
        other => other.into(),
    }
}

fn already(noun: &str, name: &str) -> RepoError {
    RepoError::Conflict(format!(
        "the {noun} '{name}' exists already; choose another name, or use --succeed-on-existing"
    ))
}

/// A publish of an administrator: what was made now was published now.
fn publish(
    kind: crate::db::tx::TxKind,
    now: Timestamp,
    counts: Counts,
    actor: &Actor,
) -> crate::db::clock::Publish {
    crate::db::clock::Publish {
        now,
        source: None,
        repo: None,
        kind,
        started_at: now,
        published_from: Some(now),
        published_to: Some(now),
        counts,
        actor: actor.0.clone(),
        comment: String::new(),
        trees: Vec::new(),
        repo_steps: Vec::new(),
    }
}
