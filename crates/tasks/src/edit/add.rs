//! Adds uploaded and built source packages to a local source, in one transaction.

use super::plan::{IncomingRelease, plan_changes};
use super::uploads::StagedUpload;
use super::uploads::Uploads;
use super::{Actor, AddStatus, OnExisting, Upload, Write, apply, publish};
use base::model::change::{Counts, NewFile, NewRelease};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, ReleaseId, Seq, SourceId, TreeId, TxId};
use base::model::language::Language;
use base::model::source::{SourceKind, Supply};
use base::model::time::Timestamp;
use content::serve::{RepoError, find};
use runtime::catalog::{Catalog, Source};
use runtime::publish::edit::{EditPlan, publish_step};
use store::db::life::CurrentLife;
use store::db::tx::Publish;
use store::db::tx::TxKind;
use store::db::{self, Conn, DbError};

/// Adds uploads to a local source in one transaction, visible when this returns. The highest version of a package
/// is listed; older ones go directly to `Archive/`. The transaction is `None` when nothing changed.
///
/// # Errors
/// [`RepoError::Conflict`] when a version exists already and `existing` is [`OnExisting::Fail`];
/// [`RepoError::Storage`] when the bytes of an upload were not stored, even if its release exists already. Then
/// nothing is added.
pub async fn add(
    uploads: &Uploads,
    source: &str,
    ids: &[u64],
    existing: OnExisting,
    actor: &Actor,
) -> Result<(Option<TxId>, Vec<(Upload, AddStatus)>), RepoError> {
    let now = (uploads.state.clock)();
    let source = find::source(&uploads.state.catalog.get(), source)?.clone();
    require_language(&source, Language::R)?;
    if source.kind.supply() == Supply::Builds {
        return Err(RepoError::Invalid(format!(
            "the packages of '{}' are built from git; add a builder with rspm create git-builder, or the package to a \
             local source",
            source.name
        )));
    }
    let tree = local_tree(&uploads.state.catalog.get(), &source)?;
    let staged = uploads.get(ids, &actor.0, now).await?;
    if let Some(staged) = staged.iter().find(|staged| staged.binary_target.is_some()) {
        return Err(RepoError::Invalid(format!(
            "'{}' is a binary package; add it with rspm add binary",
            staged.upload.file
        )));
    }
    if let Some(staged) = staged.iter().find(|staged| staged.python.is_some()) {
        return Err(RepoError::Invalid(format!(
            "'{}' is a Python package; the source '{}' is of type {}; add it to one of type {}",
            staged.upload.file,
            source.name,
            source.kind,
            SourceKind::LocalPython
        )));
    }
    let publish = Publish { subject: file_names(&staged), ..publish(TxKind::Add, now, actor) };
    let transaction = AddTransaction { source, tree, existing, publish };
    let (input, consumption) = (staged.clone(), uploads.consumption(ids, &actor.0, now));
    let result = consumption.apply(&uploads.state, move |c| transaction.write(c, &input)).await;
    if let Err(RepoError::Storage(_)) = &result {
        // The objects were not stored, so the files must be uploaded again.
        uploads.remove(ids);
    }
    let (tx, statuses) = result?;
    Ok((tx, staged.into_iter().map(|staged| staged.upload).zip(statuses).collect()))
}

/// Adds the result of a build to a source built from git. Calls `finish` in the same write, with the transaction and
/// the status of the release; an error of `finish` rolls the write back. As with [`add`], an error changes nothing.
///
/// # Errors
/// As [`add`], or the upload is of a different package than `expected`.
pub async fn add_built<F>(
    uploads: &Uploads,
    (source, expected): (SourceId, &str),
    upload: &Upload,
    existing: OnExisting,
    (actor, comment): (&Actor, String),
    finish: F,
) -> Result<Option<TxId>, RepoError>
where
    F: Fn(&mut dyn Conn, Option<TxId>, AddStatus) -> Result<(), DbError> + Send + 'static,
{
    let now = (uploads.state.clock)();
    let catalog = uploads.state.catalog.get();
    let source = built_source(&catalog, source)?.clone();
    let tree = local_tree(&catalog, &source)?;
    if upload.package != expected {
        return Err(RepoError::Invalid(format!(
            "the repository contains the package '{}', and this builder builds '{expected}'",
            upload.package
        )));
    }
    let staged = uploads.get(&[upload.id], &actor.0, now).await?;
    let publish = Publish { comment, subject: file_names(&staged), ..publish(TxKind::Add, now, actor) };
    let transaction = AddTransaction { source, tree, existing, publish };
    let result = apply(&uploads.state, move |c| {
        let (tx, statuses) = transaction.write(c, &staged)?;
        finish(c, tx, statuses.first().copied().unwrap_or(AddStatus::Existing))?;
        Ok(tx)
    });
    let result = result.await;
    uploads.remove(&[upload.id]);
    result
}

/// Returns the source of a builder, whatever its name is now: it may have been renamed, and the name given to another
/// source, during the build.
///
/// # Errors
/// [`RepoError::NotFound`] if it was deleted.
pub(super) fn built_source(catalog: &Catalog, id: SourceId) -> Result<&Source, RepoError> {
    catalog.source_by_id(id).ok_or_else(|| {
        RepoError::NotFound(format!("the source of the builder, which had the number {id}, was deleted"))
    })
}

/// The names of uploads, for the audit trail.
pub(super) fn file_names(staged: &[StagedUpload]) -> String {
    staged.iter().map(|staged| staged.upload.file.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns the tree of a source that administrators may change: they can remove packages from it and add binaries to
/// it.
///
/// # Errors
/// [`RepoError::Invalid`] for a source that is neither local nor built from git.
pub(super) fn local_tree(catalog: &Catalog, source: &Source) -> Result<TreeId, RepoError> {
    let problem = match source.kind.supply() {
        Supply::Uploads | Supply::Builds => None,
        Supply::Curated => {
            Some(format!("is curated: rspm update --source={} changes its definition", source.name))
        }
        Supply::Mirror => Some(format!("is built in and filled by rspm sync --type={}", source.kind)),
        Supply::Snapshot => Some(format!(
            "is a snapshot: rspm update --source={} --snapshot=DATE --commit changes its state",
            source.name
        )),
    };
    if let Some(problem) = problem {
        let name = &source.name;
        return Err(RepoError::Invalid(format!(
            "only local sources can be changed by hand; '{name}' {problem}"
        )));
    }
    let tree = catalog.source_package_trees(source.id).next();
    tree.map(|tree| tree.id)
        .ok_or_else(|| RepoError::Invalid(format!("the source '{}' has no package list", source.name)))
}

/// Checks that a source has packages of a language.
///
/// # Errors
/// [`RepoError::Invalid`] for a source of another type.
pub(super) fn require_language(source: &Source, language: Language) -> Result<(), RepoError> {
    if source.kind.language() == language {
        return Ok(());
    }
    let language = match language {
        Language::R => "R",
        Language::Python => "Python",
    };
    let (name, kind) = (&source.name, source.kind);
    Err(RepoError::Invalid(format!("the source '{name}' is of type {kind} and has no {language} packages")))
}

/// The transaction (`None` when nothing changed), and the result for each upload.
type AddResult = (Option<TxId>, Vec<AddStatus>);

struct AddTransaction {
    source: Source,
    tree: TreeId,
    existing: OnExisting,
    publish: Publish,
}

impl AddTransaction {
    fn write(&self, c: &mut dyn Conn, staged: &[StagedUpload]) -> Write<AddResult> {
        let tree = (self.source.id, self.tree);
        publish_step(c, tree, &self.publish, |c, pending| self.plan(c, pending, staged))
    }

    fn plan(
        &self,
        c: &mut dyn Conn,
        pending: Seq,
        staged: &[StagedUpload],
    ) -> Write<EditPlan<Vec<AddStatus>>> {
        let mut statuses = vec![AddStatus::Existing; staged.len()];
        let (mut changes, mut counts) = (Vec::new(), Counts::default());
        for package in package_names(staged) {
            let indexes: Vec<usize> =
                (0..staged.len()).filter(|i| staged[*i].upload.package == package).collect();
            let mut package_plan = PackagePlan::read(c, self, pending, package)?;
            for index in indexes {
                statuses[index] = package_plan.plan_upload(c, &staged[index], self)?;
            }
            let removed_releases = package_plan.removed;
            let (package_changes, count) = plan_changes(
                &package_plan.current,
                |life| !removed_releases.contains(&life.key.release),
                package_plan.incoming,
            );
            changes.extend(package_changes);
            counts += count;
        }
        // Waits for uploads of existing releases, too: the same bytes replace a damaged or lost object.
        staged.iter().try_for_each(StagedUpload::wait_durable).map_err(RepoError::from)?;
        for (staged, _) in staged.iter().zip(&statuses).filter(|(_, status)| **status != AddStatus::Existing)
        {
            insert_blobs(c, staged, self.publish.now)?;
        }
        Ok(EditPlan { changes, counts, result: statuses })
    }
}

/// The distinct package names of the uploads, in order of first occurrence.
fn package_names(staged: &[StagedUpload]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for staged in staged {
        if !names.contains(&staged.upload.package.as_str()) {
            names.push(&staged.upload.package);
        }
    }
    names
}

/// One package of the source, and the changes planned for it.
struct PackagePlan {
    id: Option<PackageId>,
    current: Vec<CurrentLife>,
    removed: Vec<ReleaseId>,
    incoming: Vec<IncomingRelease>,
    /// Version and digest of each entry of `incoming`, in the same order.
    digests: Vec<(String, Sha256)>,
}

impl PackagePlan {
    fn read(
        c: &mut dyn Conn,
        transaction: &AddTransaction,
        pending: Seq,
        name: &str,
    ) -> Result<PackagePlan, DbError> {
        let id = db::package::by_name(c, transaction.source.id, name)?;
        let mut current = match id {
            Some(id) => db::life::current_of(c, transaction.tree, Seq(pending.0 - 1), id)?,
            None => Vec::new(),
        };
        current.sort_by_key(|life| life.key.release);
        if current.is_empty() {
            for (_, other) in db::package::by_normalized_name(c, transaction.source.id, name)? {
                if other != name {
                    tracing::warn!(package = name, other, "another package's name differs only in case");
                }
            }
        }
        Ok(PackagePlan { id, current, removed: Vec::new(), incoming: Vec::new(), digests: Vec::new() })
    }

    fn plan_upload(
        &mut self,
        c: &mut dyn Conn,
        staged: &StagedUpload,
        transaction: &AddTransaction,
    ) -> Write<AddStatus> {
        let Upload { package, version, sha256, .. } = &staged.upload;
        let current = self
            .current
            .iter()
            .find(|life| life.version == *version && !self.removed.contains(&life.key.release));
        let incoming_index = self.digests.iter().position(|(other, _)| other == version);
        let existing_sha256 = match (current, incoming_index) {
            (_, Some(index)) => Some(Some(self.digests[index].1)),
            (Some(life), None) => Some(life.sha256),
            (None, None) => None,
        };
        match (existing_sha256, transaction.existing) {
            (None, _) => {
                let release = self.incoming_release(c, staged, transaction)?;
                self.push(version, *sha256, release);
                Ok(AddStatus::New)
            }
            (Some(_), OnExisting::Fail) => Err(RepoError::Conflict(format!(
                "{package} {version} is in the source '{}' already; use --replace to replace it with this file, or \
                 --succeed-on-existing to leave it",
                transaction.source.name
            ))
            .into()),
            (Some(_), OnExisting::Succeed) => Ok(AddStatus::Existing),
            (Some(old), OnExisting::Replace) if old == Some(*sha256) => Ok(AddStatus::Existing),
            (Some(_), OnExisting::Replace) => {
                if let Some(index) = incoming_index {
                    self.incoming.remove(index);
                    self.digests.remove(index);
                } else if let Some(life) = current {
                    self.removed.push(life.key.release);
                }
                let release = self.incoming_release(c, staged, transaction)?;
                self.push(version, *sha256, release);
                Ok(AddStatus::Replaced)
            }
        }
    }

    fn push(&mut self, version: &str, sha256: Sha256, release: IncomingRelease) {
        self.incoming.push(release);
        self.digests.push((version.to_owned(), sha256));
    }

    /// Returns the release of an upload: its earlier release if the same bytes were removed before, otherwise a new one
    /// with the next revision.
    fn incoming_release(
        &self,
        c: &mut dyn Conn,
        staged: &StagedUpload,
        transaction: &AddTransaction,
    ) -> Result<IncomingRelease, DbError> {
        let version = &staged.upload.version;
        let Some(package) = self.id else {
            return Ok(IncomingRelease::New(new_release(staged, 0, transaction.publish.now)));
        };
        let Some((release_id, revision)) =
            db::life::newest_revision(c, transaction.source.id, package, version)?
        else {
            return Ok(IncomingRelease::New(new_release(staged, 0, transaction.publish.now)));
        };
        let files = db::file::by_sha256(c, staged.upload.sha256)?;
        if files.iter().any(|file| file.release == release_id && file.state == db::file::FileState::Stored) {
            return Ok(IncomingRelease::Existing { package, release: release_id, version: version.clone() });
        }
        Ok(IncomingRelease::New(new_release(staged, revision + 1, transaction.publish.now)))
    }
}

fn new_release(staged: &StagedUpload, revision: i64, now: Timestamp) -> Box<NewRelease> {
    let upload = &staged.upload;
    Box::new(NewRelease {
        package: upload.package.clone(),
        version: upload.version.clone(),
        revision,
        published_at: Some(now),
        stanza: Some(staged.stanza.clone()),
        description: Some(staged.description.clone()),
        readme: staged.readme.map(|(sha256, _)| sha256),
        files: vec![NewFile {
            name: format!("{}_{}.tar.gz", upload.package, upload.version),
            locator: String::new(),
            size: i64::try_from(upload.size).ok(),
            md5: Some(staged.md5),
            sha256: Some(upload.sha256),
            stored: true,
        }],
    })
}

/// Inserts the rows of the stored objects.
pub(super) fn insert_blobs(c: &mut dyn Conn, staged: &StagedUpload, now: Timestamp) -> Result<(), DbError> {
    for (key, size) in staged.objects() {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let class = key.directory().to_owned();
        db::blob::insert(c, &db::blob::Blob { sha256: *key.digest(), class, size, created_at: now })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
