//! Adds uploads and the results of builds to a source, in one transaction, and plans this for source packages of R.

use std::sync::Arc;

use super::edited_source::EditedSource;
use super::plan::{IncomingRelease, plan_changes};
use super::uploads::{StagedUpload, Uploads};
use super::{Actor, AddStatus, OnExisting, Upload, Write, apply, project, publish};
use base::model::change::{Counts, NewFile, NewRelease};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, ReleaseId, Seq, SourceId, TxId};
use base::model::kind::{Language, Layout, SourceKind, Supply};
use base::model::time::Timestamp;
use content::serve::{RepoError, find, name_audit};
use formats::language;
use formats::r::name::SourceFileName;
use runtime::publish::edit::{EditPlan, publish_step};
use store::db::life::CurrentLife;
use store::db::tx::{Publish, TxKind};
use store::db::{self, Conn, DbError};

/// Adds uploads to a local source in one transaction, visible when this returns. The highest version of an R package
/// is listed; older ones go directly to `Archive/`. An existing file of a project with the same bytes is unchanged, yanked or
/// not; a signature and attestations that were uploaded with it replace earlier ones. Different bytes under a name that
/// was used before require [`OnExisting::Replace`], because lock files of clients contain the old digest; so does another
/// file for a distribution that was added before, whatever its bytes, because installers would choose different ones.
/// The transaction is `None` when nothing changed. The sentences are the warnings about the new names.
///
/// # Errors
/// [`RepoError::Conflict`] when a version of an R package exists already and `existing` is [`OnExisting::Fail`], and for
/// two files of a project with one name or distribution; [`RepoError::FileExists`] for one that requires
/// [`OnExisting::Replace`]; [`RepoError::Invalid`] for a source or an upload of another type; [`RepoError::Storage`] when
/// the bytes of an upload were not stored, even if its release exists already. Then nothing is added.
pub async fn add(
    uploads: &Uploads,
    source: &str,
    ids: &[u64],
    existing: OnExisting,
    actor: &Actor,
) -> Result<(Option<TxId>, Vec<(Upload, AddStatus)>, Vec<String>), RepoError> {
    let now = (uploads.state.clock)();
    let catalog = uploads.state.catalog.get();
    let source = EditedSource::for_uploads(&catalog, find::source(&catalog, source)?)?;
    let staged = uploads.get(ids, &actor.0, now).await?;
    staged.iter().try_for_each(|staged| check_type(&source, staged))?;
    let publish = Publish { subject: file_names(&staged), ..publish(TxKind::Add, now, actor) };
    let addition = Addition { source, existing, replaces_versions: false, publish };
    let state = Arc::clone(&uploads.state);
    let (staged, ((tx, statuses), warnings)) = add_staged(uploads, staged, actor, now, move |c, staged| {
        addition.write(c, staged, |c, result| {
            let new = staged.iter().zip(&result.1).filter(|(_, status)| **status == AddStatus::New);
            let names = new.map(|(staged, _)| staged.upload.package.clone()).collect();
            let warnings = name_audit::warnings(c, &state, addition.source.id, &names)?;
            Ok((result, warnings))
        })
    })
    .await?;
    Ok((tx, staged.into_iter().map(|staged| staged.upload).zip(statuses).collect(), warnings))
}

/// Checks that an upload is of the type that a source has.
pub(super) fn check_type(source: &EditedSource, staged: &StagedUpload) -> Result<(), RepoError> {
    let (file, language) = (&staged.upload.file, staged.kind().language());
    match staged.binary_target {
        _ if language != source.kind.language() => Err(other_type(source, file, language)),
        Some(_) => {
            Err(RepoError::Invalid(format!("'{file}' is a binary package; add it with rspm add binary")))
        }
        None => Ok(()),
    }
}

/// Checks that the name of a file is not one that only files of another language have.
pub(super) fn check_name(source: &EditedSource, file: &str) -> Result<(), RepoError> {
    let has_name = |language: &Language| match language::of(*language).projects() {
        Some(projects) => projects.check_name(file).is_ok(),
        None => SourceFileName::parse_archived(file).is_ok(),
    };
    if has_name(&source.kind.language()) {
        return Ok(());
    }
    let other = Language::ALL.into_iter().find(has_name);
    other.map_or(Ok(()), |language| Err(other_type(source, file, language)))
}

fn other_type(EditedSource { name, kind, .. }: &EditedSource, file: &str, language: Language) -> RepoError {
    let advice = match (language.layout(), SourceKind::find(language, Supply::Uploads)) {
        (Layout::Projects, Some(kind)) => format!("; add it to one of type {kind}"),
        (Layout::Projects, None) | (Layout::Lists, _) => String::new(),
    };
    let a_package = language::of(language).nouns().a_package;
    RepoError::Invalid(format!("'{file}' is {a_package}; the source '{name}' is of type {kind}{advice}"))
}

/// Adds uploads by a write, and returns them with its result. The same write removes the uploads.
pub(super) async fn add_staged<T, F>(
    uploads: &Uploads,
    staged: Vec<StagedUpload>,
    actor: &Actor,
    now: Timestamp,
    write: F,
) -> Result<(Vec<StagedUpload>, T), RepoError>
where
    T: Send + 'static,
    F: Fn(&mut dyn Conn, &[StagedUpload]) -> Write<T> + Send + 'static,
{
    let ids: Vec<u64> = staged.iter().map(|staged| staged.upload.id).collect();
    let (input, consumption) = (staged.clone(), uploads.consumption(&ids, &actor.0, now));
    let result = consumption.apply(&uploads.state, move |c| write(c, &input)).await;
    if let Err(RepoError::Storage(_)) = &result {
        // The objects were not stored, so the files must be uploaded again.
        uploads.remove(&ids);
    }
    Ok((staged, result?))
}

/// Who publishes a build, and the comment of the transaction.
pub struct BuildOrigin<'a> {
    pub actor: &'a Actor,
    pub comment: String,
}

/// Adds the files of a build to a source built from git. With [`OnExisting::Replace`], other files of the
/// version are no longer listed: they were built from another commit. Calls `finish` in the same write, with the
/// transaction and the status of the files; its error rolls the write back. As with [`add`], an error changes nothing.
///
/// # Errors
/// As [`add`], or a file is of a different package than `expected`.
pub async fn add_built<F>(
    uploads: &Uploads,
    source: SourceId,
    expected: &str,
    files: &[Upload],
    existing: OnExisting,
    BuildOrigin { actor, comment }: BuildOrigin<'_>,
    finish: F,
) -> Result<Option<TxId>, RepoError>
where
    F: Fn(&mut dyn Conn, Option<TxId>, AddStatus) -> Result<(), DbError> + Send + 'static,
{
    let now = (uploads.state.clock)();
    let source = EditedSource::of_builder(&uploads.state.catalog.get(), source)?;
    if let Some(other) = files.iter().find(|file| file.package != expected) {
        return Err(RepoError::Invalid(format!(
            "the repository contains the package '{}', and this builder builds '{expected}'",
            other.package
        )));
    }
    let ids: Vec<u64> = files.iter().map(|file| file.id).collect();
    let staged = uploads.get(&ids, &actor.0, now).await?;
    let publish = Publish { comment, subject: file_names(&staged), ..publish(TxKind::Add, now, actor) };
    let replaces_versions = existing == OnExisting::Replace;
    let addition = Addition { source, existing, replaces_versions, publish };
    let result = apply(&uploads.state, move |c| {
        addition.write(c, &staged, |c, (tx, statuses)| {
            let most =
                [AddStatus::Replaced, AddStatus::New].into_iter().find(|status| statuses.contains(status));
            finish(c, tx, most.unwrap_or(AddStatus::Existing))?;
            Ok(tx)
        })
    });
    let result = result.await;
    uploads.remove(&ids);
    result
}

/// The names of uploads, for the audit trail.
pub(super) fn file_names(staged: &[StagedUpload]) -> String {
    staged.iter().map(|staged| staged.upload.file.as_str()).collect::<Vec<_>>().join(", ")
}

/// The transaction (`None` when nothing changed), and the result for each upload.
pub(super) type AddResult = (Option<TxId>, Vec<AddStatus>);

/// An edit that adds source packages of R, or files of projects, to a source.
pub(super) struct Addition {
    pub(super) source: EditedSource,
    pub(super) existing: OnExisting,
    /// Whether added files of a project replace all files of their version, those with other names too.
    pub(super) replaces_versions: bool,
    pub(super) publish: Publish,
}

impl Addition {
    /// Writes the rows, runs `finish`, and waits until the objects are durable: last, because they become so while the rows are
    /// written. Only with SQLite, which has no other server, does an object become durable after its upload. Also waits for
    /// uploads of existing releases: the same bytes replace a damaged or lost object.
    fn write<T>(
        &self,
        c: &mut dyn Conn,
        staged: &[StagedUpload],
        finish: impl FnOnce(&mut dyn Conn, AddResult) -> Write<T>,
    ) -> Write<T> {
        let result = self.step(c, staged)?;
        let result = finish(c, result)?;
        staged.iter().try_for_each(StagedUpload::wait_durable).map_err(RepoError::from)?;
        Ok(result)
    }

    /// Writes the rows, before the objects are durable. After a refusal the tree is still claimed, and nothing else is written.
    pub(super) fn step(&self, c: &mut dyn Conn, staged: &[StagedUpload]) -> Write<AddResult> {
        let EditedSource { id, tree, kind, .. } = self.source;
        match kind.layout() {
            Layout::Lists => {
                publish_step(c, id, tree, &self.publish, |c, pending| self.plan_r(c, pending, staged))
            }
            Layout::Projects => publish_step(c, id, tree, &self.publish, |c, pending| {
                project::add::plan(self, c, pending, staged)
            }),
        }
    }

    fn plan_r(
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
                package_plan.incoming.into_iter().map(|incoming| incoming.release).collect(),
            );
            changes.extend(package_changes);
            counts += count;
        }
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
    incoming: Vec<PlannedUpload>,
}

struct PlannedUpload {
    release: IncomingRelease,
    sha256: Sha256,
}

impl PackagePlan {
    fn read(c: &mut dyn Conn, addition: &Addition, pending: Seq, name: &str) -> Result<PackagePlan, DbError> {
        let id = db::package::by_name(c, addition.source.id, name)?;
        let mut current = match id {
            Some(id) => db::life::current_of(c, addition.source.tree, Seq(pending.0 - 1), id)?,
            None => Vec::new(),
        };
        current.sort_by_key(|life| life.key.release);
        if current.is_empty() {
            for (_, other) in db::package::by_normalized_name(c, addition.source.id, name)? {
                if other != name {
                    tracing::warn!(package = name, other, "another package's name differs only in case");
                }
            }
        }
        Ok(PackagePlan { id, current, removed: Vec::new(), incoming: Vec::new() })
    }

    fn plan_upload(
        &mut self,
        c: &mut dyn Conn,
        staged: &StagedUpload,
        addition: &Addition,
    ) -> Write<AddStatus> {
        let Upload { package, version, sha256, .. } = &staged.upload;
        let current = self
            .current
            .iter()
            .find(|life| life.version == *version && !self.removed.contains(&life.key.release));
        let incoming_index = self.incoming.iter().position(|incoming| incoming.release.version() == version);
        let existing_sha256 = match (current, incoming_index) {
            (_, Some(index)) => Some(Some(self.incoming[index].sha256)),
            (Some(life), None) => Some(life.sha256),
            (None, None) => None,
        };
        let place = || format!("{package} {version} is in the source '{}'", addition.source.name);
        let status = add_status(existing_sha256, *sha256, addition.existing, place)?;
        match status {
            AddStatus::Existing => return Ok(status),
            AddStatus::New => {}
            AddStatus::Replaced => {
                if let Some(index) = incoming_index {
                    self.incoming.remove(index);
                } else if let Some(life) = current {
                    self.removed.push(life.key.release);
                }
            }
        }
        let release = self.incoming_release(c, staged, addition)?;
        self.incoming.push(PlannedUpload { release, sha256: *sha256 });
        Ok(status)
    }

    /// Returns the earlier release of an upload if the same bytes were removed before, else a new one.
    fn incoming_release(
        &self,
        c: &mut dyn Conn,
        staged: &StagedUpload,
        addition: &Addition,
    ) -> Result<IncomingRelease, DbError> {
        let version = &staged.upload.version;
        let new = |revision| IncomingRelease::New(new_release(staged, revision, addition.publish.date()));
        let Some(package) = self.id else { return Ok(new(0)) };
        let newest = db::life::newest_revision(c, addition.source.id, package, version)?;
        let Some((release, revision)) = newest else { return Ok(new(0)) };
        if db::file::is_stored(c, release, staged.upload.sha256)? {
            return Ok(IncomingRelease::Existing { package, release, version: version.clone() });
        }
        Ok(new(revision + 1))
    }
}

/// Returns what an upload does where the bytes `existing` are already, in the `place` that the error names. The digest of
/// existing bytes may be unknown.
pub(super) fn add_status(
    existing: Option<Option<Sha256>>,
    new: Sha256,
    on_existing: OnExisting,
    place: impl FnOnce() -> String,
) -> Result<AddStatus, RepoError> {
    match (existing, on_existing) {
        (None, _) => Ok(AddStatus::New),
        (Some(_), OnExisting::Succeed) => Ok(AddStatus::Existing),
        (Some(old), OnExisting::Replace) if old == Some(new) => Ok(AddStatus::Existing),
        (Some(_), OnExisting::Replace) => Ok(AddStatus::Replaced),
        (Some(_), OnExisting::Fail) => Err(RepoError::Conflict(format!(
            "{} already; use --replace to replace it with this file, or --succeed-on-existing to leave it",
            place()
        ))),
    }
}

fn new_release(staged: &StagedUpload, revision: i64, published_at: Timestamp) -> Box<NewRelease> {
    let upload = &staged.upload;
    Box::new(NewRelease {
        package: upload.package.clone(),
        version: upload.version.clone(),
        revision,
        published_at: Some(published_at),
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
