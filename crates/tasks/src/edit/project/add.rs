//! Plans the addition of files, with their signatures and attestations, to a source of a language with projects.

use std::collections::BTreeMap;

use super::{files, selection};
use crate::edit::add::{Addition, insert_blobs};
use crate::edit::edited_source::EditedSource;
use crate::edit::uploads::{StagedProjectFile, StagedUpload};
use crate::edit::{AddStatus, OnExisting, Upload, Write};
use base::model::change::{AttachedFiles, Counts, FileChange, LifeKey, NewProjectFile};
use base::model::digest::Sha256;
use base::model::ids::{FileId, PackageId, Seq};
use content::serve::{ExistingFile, RepoError};
use formats::language::{self, ProjectFiles, Rules, Version};
use runtime::publish::edit::EditPlan;
use store::db::project_file::{self, KnownFile, ListedFile};
use store::db::{Conn, DbError, attached_file};

/// How the language of a source reads its files.
#[derive(Clone, Copy)]
struct Reader {
    rules: &'static dyn Rules,
    files: &'static dyn ProjectFiles,
}

impl Reader {
    fn distribution(self, file: &str, version: &str) -> Distribution {
        Distribution { version: self.rules.version(version).into_owned(), variant: self.files.variant(file) }
    }
}

/// What a file stands for.
struct Distribution {
    version: Version<'static>,
    variant: Option<String>,
}

impl Distribution {
    /// Returns whether installers would choose between files of both.
    fn is_same(&self, other: &Distribution) -> bool {
        self.variant.is_some() && self.variant == other.variant && self.version == other.version
    }
}

/// The state of a project during the planning.
struct Project {
    reader: Reader,
    id: Option<PackageId>,
    files: Vec<ListedFile>,
    /// Every file that the source has or had, higher revisions first.
    known: Vec<(Distribution, KnownFile)>,
    /// The files that this edit adds, by name.
    added: BTreeMap<String, (Distribution, Sha256)>,
}

impl Project {
    fn read(
        c: &mut dyn Conn,
        source: &EditedSource,
        reader: Reader,
        pending: Seq,
        name: &str,
    ) -> Result<Project, DbError> {
        let (id, files) = selection::read(c, source, pending, name)?;
        let known = match id {
            Some(id) => project_file::known(c, source.id, id)?,
            None => Vec::new(),
        };
        let known = known.into_iter().map(|file| (reader.distribution(&file.name, &file.version), file));
        Ok(Project { reader, id, files, known: known.collect(), added: BTreeMap::new() })
    }
}

pub(in crate::edit) fn plan(
    addition: &Addition,
    c: &mut dyn Conn,
    pending: Seq,
    staged: &[StagedUpload],
) -> Write<EditPlan<Vec<AddStatus>, FileChange>> {
    let language = addition.source.kind.language();
    let rules = language::of(language);
    let reader = Reader { rules, files: files(language)? };
    let mut projects: BTreeMap<&str, Project> = BTreeMap::new();
    let (mut changes, mut outcomes) = (Vec::new(), Vec::with_capacity(staged.len()));
    let mut new_uploads: Vec<&StagedUpload> = Vec::new();
    for upload in staged {
        let name = upload.upload.package.as_str();
        if !projects.contains_key(name) {
            projects.insert(name, Project::read(c, &addition.source, reader, pending, name)?);
        }
        let Some((project, staged_file)) = projects.get_mut(name).zip(upload.project_file.as_ref()) else {
            continue;
        };
        let (status, file_changes) = plan_file(addition, c, project, upload, staged_file)?;
        outcomes.push(status);
        if !file_changes.is_empty() {
            let Upload { file, version, sha256, .. } = &upload.upload;
            project.added.insert(file.clone(), (reader.distribution(file, version), *sha256));
            new_uploads.push(upload);
        }
        changes.extend(file_changes);
    }
    if addition.replaces_versions {
        let versions: Vec<Version<'_>> =
            staged.iter().map(|upload| rules.version(&upload.upload.version)).collect();
        let is_staged = |name: &str| staged.iter().any(|upload| upload.upload.file == name);
        for project in projects.values().filter(|project| !project.added.is_empty()) {
            let replaced = project
                .files
                .iter()
                .filter(|file| !is_staged(&file.name) && versions.contains(&rules.version(&file.version)));
            let ends = replaced.map(|file| FileChange::EndLife(file.key.clone()));
            // A file of the same distribution as an added one has ended already.
            let ends: Vec<FileChange> = ends.filter(|end| !changes.contains(end)).collect();
            changes.extend(ends);
        }
    }
    for upload in new_uploads {
        insert_blobs(c, upload, addition.publish.now)?;
    }
    let mut counts = Counts::default();
    for project in projects.values().filter(|project| !project.added.is_empty()) {
        if project.files.is_empty() {
            counts.added += 1;
        } else {
            counts.updated += 1;
        }
    }
    Ok(EditPlan { changes, counts, result: outcomes })
}

fn plan_file(
    addition: &Addition,
    c: &mut dyn Conn,
    project: &Project,
    staged: &StagedUpload,
    staged_file: &StagedProjectFile,
) -> Write<(AddStatus, Vec<FileChange>)> {
    let Upload { file, sha256, version, .. } = &staged.upload;
    let distribution = project.reader.distribution(file, version);
    if project.added.get(file).is_some_and(|(_, other)| other == sha256) {
        return Ok((AddStatus::Existing, Vec::new()));
    }
    let is_other_name = |name: &&String| *name != file;
    let mut added =
        project.added.iter().filter(|(name, (other, _))| *name == file || other.is_same(&distribution));
    if let Some((name, _)) = added.next() {
        return Err(RepoError::Conflict(match Some(name).filter(is_other_name) {
            None => {
                format!("two of the files are named '{file}' and have different bytes; add one of them")
            }
            Some(name) => format!(
                "the files '{name}' and '{file}' stand for one distribution, of which installers would choose different \
                 ones; add one of them"
            ),
        })
        .into());
    }
    let earlier_files: Vec<&KnownFile> = project
        .known
        .iter()
        .filter(|(other, known)| known.name == *file || other.is_same(&distribution))
        .map(|(_, known)| known)
        .collect();
    let is_earlier = |listed: &&ListedFile| earlier_files.iter().any(|known| known.file == listed.key.file);
    let listed_files: Vec<&ListedFile> = project.files.iter().filter(is_earlier).collect();
    let listed_file = listed_files.iter().find(|listed| listed.name == *file);
    if let Some(listed_file) = listed_file.filter(|listed| listed.sha256 == *sha256) {
        let changes = attach(c, project.reader.files, listed_file, staged_file)?;
        return Ok((AddStatus::Existing, changes));
    }
    if !listed_files.is_empty() && addition.existing == OnExisting::Succeed {
        return Ok((AddStatus::Existing, Vec::new()));
    }
    let is_same_name = |known: &&&KnownFile| known.name == *file;
    let same_bytes = earlier_files.iter().filter(is_same_name).find(|known| known.sha256 == *sha256).copied();
    if addition.existing != OnExisting::Replace {
        let existing = listed_file.or(listed_files.first()).map(|listed| (&listed.name, listed.sha256));
        let removed = earlier_files.iter().find(is_same_name).or(earlier_files.first());
        let removed = removed.filter(|_| same_bytes.is_none()).map(|known| (&known.name, known.sha256));
        if let Some((name, sha256)) = existing.or(removed) {
            return Err(RepoError::FileExists(Box::new(ExistingFile {
                source_name: addition.source.name.clone(),
                file: name.clone(),
                new_file: file.clone(),
                sha256,
                is_listed: existing.is_some(),
            }))
            .into());
        }
    }
    let yanked = match listed_file.or(listed_files.first()) {
        Some(file) => file.yanked.clone(),
        None => yank_of_version(&addition.source, &project.files, version),
    };
    let mut changes: Vec<FileChange> =
        listed_files.iter().map(|file| FileChange::EndLife(file.key.clone())).collect();
    match same_bytes.zip(project.id) {
        Some((file, package)) => {
            let NewFacts { variant, changes: fact_changes } =
                new_facts(c, project.reader.files, file.file, staged_file)?;
            changes.extend(fact_changes);
            let (release, file) = (file.release, file.file);
            changes.push(FileChange::BeginLife { package, release, file, variant, yanked });
        }
        None => changes.push(FileChange::Introduce {
            file: Box::new(NewProjectFile {
                project: staged.upload.package.clone(),
                version: version.clone(),
                revision: earlier_files.iter().find(is_same_name).map_or(0, |newest| newest.revision + 1),
                name: file.clone(),
                size: i64::try_from(staged.upload.size).unwrap_or(i64::MAX),
                sha256: *sha256,
                facts: project.reader.files.with_upload_time(&staged_file.facts, addition.publish.date()),
                metadata: staged_file
                    .metadata
                    .map(|(sha256, size)| (sha256, i64::try_from(size).unwrap_or(i64::MAX))),
                attached: staged_file.attached,
            }),
            yanked,
        }),
    }
    let status = if listed_files.is_empty() { AddStatus::New } else { AddStatus::Replaced };
    Ok((status, changes))
}

/// Returns the changes after which a listed file has the files that were uploaded with it now; none if it has them.
fn attach(
    c: &mut dyn Conn,
    files: &dyn ProjectFiles,
    file: &ListedFile,
    staged_file: &StagedProjectFile,
) -> Result<Vec<FileChange>, DbError> {
    if staged_file.attached == AttachedFiles::default() {
        return Ok(Vec::new());
    }
    let LifeKey { package, release, file: id, .. } = file.key;
    let NewFacts { variant, mut changes } = new_facts(c, files, id, staged_file)?;
    if !changes.is_empty() {
        let yanked = file.yanked.clone();
        changes.push(FileChange::EndLife(file.key.clone()));
        changes.push(FileChange::BeginLife { package, release, file: id, variant, yanked });
    }
    Ok(changes)
}

/// The facts about a known file that is uploaded again.
struct NewFacts {
    variant: i64,
    /// The changes that write the facts and the files that were uploaded with the file; none if the file has them.
    changes: Vec<FileChange>,
}

fn new_facts(
    c: &mut dyn Conn,
    files: &dyn ProjectFiles,
    file: FileId,
    staged_file: &StagedProjectFile,
) -> Result<NewFacts, DbError> {
    let attached = staged_file.attached;
    let Some(newest) = attached_file::newest(c, file)? else {
        return Ok(NewFacts { variant: 0, changes: Vec::new() });
    };
    if attached.are_in(&newest.attached) {
        return Ok(NewFacts { variant: newest.variant, changes: Vec::new() });
    }
    let mut changes = vec![FileChange::Attach { file, attached }];
    let Some(facts) = files.with_attached(&newest.facts, &attached) else {
        return Ok(NewFacts { variant: newest.variant, changes });
    };
    let variant = newest.variant + 1;
    changes.push(FileChange::Facts { file, variant, facts });
    Ok(NewFacts { variant, changes })
}

/// Returns the reason why a new file of a version is yanked: the reason of the first existing file if all existing
/// files of the version are yanked. Returns `None` if the new file is not yanked.
fn yank_of_version(source: &EditedSource, files: &[ListedFile], version: &str) -> Option<String> {
    // Versions are not parsed for each of thousands of files while the database is locked.
    if files.iter().all(|file| file.yanked.is_none()) {
        return None;
    }
    let rules = language::of(source.kind.language());
    let version = rules.version(version);
    let mut version_files = files.iter().filter(|file| rules.version(&file.version) == version).peekable();
    let reason = version_files.peek()?.yanked.clone()?;
    version_files.all(|file| file.yanked.is_some()).then_some(reason)
}
