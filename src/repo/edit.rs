//! Every edit an administrator makes: sources, repositories, subscriptions, packages.

use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::model::ids::TxId;
use crate::model::name::Name;
use crate::model::repository::RepoKind;
use crate::model::source::SourceKind;

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

/// A package archive an administrator handed in: validated, rewritten, in storage, and not yet part of a source.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Number to name it by; forgotten after an hour.
    pub id: u64,
    /// The file's name as given.
    pub file: String,
    /// From DESCRIPTION.
    pub package: String,
    /// From DESCRIPTION.
    pub version: String,
    /// Of the bytes as given.
    pub original: Sha256,
    /// Of the bytes as stored.
    pub sha256: Sha256,
    /// Of the bytes as stored.
    pub size: u64,
}

/// What adding one upload did.
#[derive(Clone, Debug, PartialEq, Eq)]
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

#[allow(unused_variables)]
impl Repo {
    /// Creates a source. Only `local` is made by hand; `cran`, `bioconductor` and `pypi` are built in.
    pub async fn create_source(
        &self,
        name: &Name,
        kind: SourceKind,
        existing: OnExisting,
    ) -> Result<(), RepoError> {
        todo!()
    }
    /// Renames a source.
    pub async fn rename_source(&self, name: &str, new_name: &Name) -> Result<(), RepoError> {
        todo!()
    }
    /// Deletes a source that no repository subscribes to.
    pub async fn delete_source(&self, name: &str) -> Result<(), RepoError> {
        todo!()
    }
    /// Creates a repository.
    pub async fn create_repo(
        &self,
        name: &Name,
        kind: RepoKind,
        description: &str,
        existing: OnExisting,
    ) -> Result<(), RepoError> {
        todo!()
    }
    /// Changes a repository's name, description or visibility.
    pub async fn edit_repo(&self, name: &str, edit: RepoEdit) -> Result<(), RepoError> {
        todo!()
    }
    /// Deletes a repository.
    pub async fn delete_repo(&self, name: &str) -> Result<(), RepoError> {
        todo!()
    }
    /// Appends a source to a repository's subscriptions.
    pub async fn subscribe(
        &self,
        repo: &str,
        source: &str,
        existing: OnExisting,
        actor: &Actor,
    ) -> Result<(), RepoError> {
        todo!()
    }
    /// Takes a source out of a repository's subscriptions.
    pub async fn unsubscribe(&self, repo: &str, source: &str, actor: &Actor) -> Result<(), RepoError> {
        todo!()
    }
    /// Sets the complete order; it must name exactly the subscribed sources.
    pub async fn reorder(&self, repo: &str, sources: &[String], actor: &Actor) -> Result<(), RepoError> {
        todo!()
    }
    /// Takes in a package archive from a stream of bytes: recognised by content, validated, rewritten, stored.
    pub async fn upload(
        &self,
        file: &str,
        body: futures_util::stream::BoxStream<'static, Result<bytes::Bytes, std::io::Error>>,
    ) -> Result<Upload, RepoError> {
        todo!()
    }
    /// Makes uploads part of a local source: one publish for all of them, visible when this returns.
    pub async fn add(
        &self,
        source: &str,
        uploads: &[u64],
        existing: OnExisting,
        actor: &Actor,
    ) -> Result<(Option<TxId>, Vec<(Upload, Added)>), RepoError> {
        todo!()
    }
    /// Removes releases of a package from a local source; older snapshots still serve them. Returns the versions.
    pub async fn remove(
        &self,
        source: &str,
        package: &str,
        scope: Scope,
        comment: &str,
        actor: &Actor,
    ) -> Result<Vec<String>, RepoError> {
        todo!()
    }
}
