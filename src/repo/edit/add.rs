//! Adds uploaded source packages to a local source, in one transaction.

use super::plan::{Incoming, settle};
use super::uploads::Held;
use super::{Actor, Added, OnExisting, Refused, Upload, publish};
use crate::catalog::{Catalog, Source};
use crate::db::clock::Publish;
use crate::db::life::Current;
use crate::db::tx::TxKind;
use crate::db::{self, Conn, DbError};
use crate::model::change::{Counts, NewFile, NewRelease};
use crate::model::digest::Sha256;
use crate::model::ids::{PackageId, ReleaseId, Seq, SourceId, TreeId, TxId};
use crate::model::language::Language;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;
use crate::repo::{Repo, RepoError, find};
use crate::storage::Key;

/// Changes that are written in one batch.
const CHUNK: usize = 2000;
/// The job that claims a tree during an edit. The claim is released in the same transaction, so nothing else sees it.
pub(super) const EDIT_JOB: i64 = 0;

impl Repo {
    /// Adds uploads to a local source in one transaction, visible when this returns. The highest version of a package
    /// is listed; older ones go directly to `Archive/`. The transaction is `None` when nothing changed.
    ///
    /// # Errors
    /// [`RepoError::Conflict`] when a version exists already and `existing` is [`OnExisting::Fail`];
    /// [`RepoError::Storage`] when the bytes of an upload were not stored, even if its release exists already. Then
    /// nothing is added.
    pub async fn add(
        &self,
        source: &str,
        uploads: &[u64],
        existing: OnExisting,
        actor: &Actor,
    ) -> Result<(Option<TxId>, Vec<(Upload, Added)>), RepoError> {
        let now = (self.state.clock)();
        let source = find::source(&self.state.catalog.get(), source)?.clone();
        let tree = local_tree(&self.state.catalog.get(), &source)?;
        let staged = self.uploads.get(uploads, now)?;
        if let Some(staged) = staged.iter().find(|staged| staged.built.is_some()) {
            return Err(RepoError::Invalid(format!(
                "'{}' is a binary package; add it with rspm add binary",
                staged.upload.file
            )));
        }
        let work =
            Work { source, tree, existing, publish: publish(TxKind::Add, now, Counts::default(), actor) };
        let (input, catalog) = (staged.clone(), self.state.catalog.clone());
        let write = self.state.db.write(move |c| {
            let written = work.write(c, &input)?;
            let is_published = matches!(written, Ok((Some(_), _)));
            Ok((written, if is_published { catalog.left_by(c)? } else { None }))
        });
        let (written, catalog) = write.await?;
        if let Err(RepoError::Storage(_)) = &written {
            // They were not stored and must be uploaded again: there may be room then.
            self.uploads.forget(uploads);
        }
        let (tx, outcomes) = written?;
        match catalog {
            Some(catalog) => self.state.catalog.accept(catalog),
            None => self.seen().await?,
        }
        self.uploads.forget(uploads);
        Ok((tx, staged.into_iter().map(|staged| staged.upload).zip(outcomes).collect()))
    }
}

/// Returns the tree of a source that an administrator may change.
pub(super) fn local_tree(catalog: &Catalog, source: &Source) -> Result<TreeId, RepoError> {
    match source.kind {
        SourceKind::Local => {}
        SourceKind::Cran | SourceKind::Bioconductor | SourceKind::Pypi => {
            return Err(RepoError::Invalid(format!(
                "only local sources can be changed by hand; '{}' is built in and filled by rspm sync --type={}",
                source.name, source.kind
            )));
        }
        SourceKind::CranSnapshot
        | SourceKind::CuratedCran
        | SourceKind::Git
        | SourceKind::CuratedPypi
        | SourceKind::LocalPython
        | SourceKind::GitPython => {
            return Err(RepoError::Invalid(format!(
                "only local sources can be changed by hand; '{}' is of type {}",
                source.name, source.kind
            )));
        }
    }
    let tree = catalog.source_trees(source.id).next();
    tree.map(|tree| tree.id)
        .ok_or_else(|| RepoError::Invalid(format!("the source '{}' has no package list", source.name)))
}

/// The transaction (`None` when nothing changed), and the result for each upload.
type Outcome = (Option<TxId>, Vec<Added>);

struct Work {
    source: Source,
    tree: TreeId,
    existing: OnExisting,
    publish: Publish,
}

impl Work {
    fn write(&self, c: &mut dyn Conn, staged: &[Held]) -> Result<Refused<Outcome>, DbError> {
        let pending = db::tree::begin(c, self.tree, EDIT_JOB)?;
        let mut outcomes = vec![Added::Existing; staged.len()];
        let (mut changes, mut counts) = (Vec::new(), Counts::default());
        for package in packages(staged) {
            let places: Vec<usize> =
                (0..staged.len()).filter(|i| staged[*i].upload.package == package).collect();
            let mut one = Package::read(c, self, pending, package)?;
            for place in places {
                match one.take(c, &staged[place], self)? {
                    Ok(outcome) => outcomes[place] = outcome,
                    Err(refusal) => {
                        db::tree::release(c, self.tree)?;
                        return Ok(Err(refusal));
                    }
                }
            }
            let gone = one.gone;
            let (some, count) = settle(&one.alive, |life| !gone.contains(&life.key.release), one.incoming);
            changes.extend(some);
            counts = sum(counts, count);
        }
        // Also of existing releases: an upload of the same bytes replaces a damaged or lost object.
        if let Err(error) = staged.iter().try_for_each(Held::landed) {
            db::tree::release(c, self.tree)?;
            return Ok(Err(error.into()));
        }
        if changes.is_empty() {
            db::tree::release(c, self.tree)?;
            return Ok(Ok((None, outcomes)));
        }
        for (staged, _) in staged.iter().zip(&outcomes).filter(|(_, outcome)| **outcome != Added::Existing) {
            write_blobs(c, staged, self.publish.now)?;
        }
        let language = Language::R;
        let target = db::import::Target { tree: self.tree, pending, origin: self.source.id, language };
        for chunk in changes.chunks(CHUNK) {
            db::import::apply(c, &target, chunk)?;
        }
        let source = Some(self.source.id);
        let publish = Publish { source, counts, trees: vec![self.tree], ..self.publish.clone() };
        Ok(Ok((Some(db::clock::publish(c, &publish)?.tx), outcomes)))
    }
}

/// The distinct package names of the uploads, in order of first occurrence.
fn packages(staged: &[Held]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for staged in staged {
        if !names.contains(&staged.upload.package.as_str()) {
            names.push(&staged.upload.package);
        }
    }
    names
}

pub(super) fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        added: a.added + b.added,
        updated: a.updated + b.updated,
        archived: a.archived + b.archived,
        removed: a.removed + b.removed,
    }
}

/// One package of the source, and the changes planned for it.
struct Package {
    id: Option<PackageId>,
    alive: Vec<Current>,
    gone: Vec<ReleaseId>,
    incoming: Vec<Incoming>,
    /// Version and digest of each entry of `incoming`, in the same order.
    digests: Vec<(String, Sha256)>,
}

impl Package {
    fn read(c: &mut dyn Conn, work: &Work, pending: Seq, name: &str) -> Result<Package, DbError> {
        let id = db::package::by_name(c, Language::R, name)?;
        let mut alive = match id {
            Some(id) => db::life::current_of(c, work.tree, Seq(pending.0 - 1), id)?,
            None => Vec::new(),
        };
        alive.sort_by_key(|life| life.key.release);
        if alive.is_empty() {
            for (_, twin) in db::package::by_fold(c, Language::R, name)? {
                if twin != name {
                    tracing::warn!(package = name, twin, "another package's name differs only in case");
                }
            }
        }
        Ok(Package { id, alive, gone: Vec::new(), incoming: Vec::new(), digests: Vec::new() })
    }

    fn take(&mut self, c: &mut dyn Conn, staged: &Held, work: &Work) -> Result<Refused<Added>, DbError> {
        let Upload { package, version, sha256, .. } = &staged.upload;
        let present =
            self.alive.iter().find(|life| life.version == *version && !self.gone.contains(&life.key.release));
        let arriving = self.digests.iter().position(|(other, _)| other == version);
        let bytes = match (present, arriving) {
            (_, Some(place)) => Some(Some(self.digests[place].1)),
            (Some(life), None) => Some(life.sha256),
            (None, None) => None,
        };
        match (bytes, work.existing) {
            (None, _) => {
                let new = self.incoming(c, staged, work)?;
                self.push(version, *sha256, new);
                Ok(Ok(Added::New))
            }
            (Some(_), OnExisting::Fail) => Ok(Err(RepoError::Conflict(format!(
                "{package} {version} is in the source '{}' already; use --replace to replace it with this file, or \
                 --succeed-on-existing to leave it",
                work.source.name
            )))),
            (Some(_), OnExisting::Succeed) => Ok(Ok(Added::Existing)),
            (Some(old), OnExisting::Replace) if old == Some(*sha256) => Ok(Ok(Added::Existing)),
            (Some(_), OnExisting::Replace) => {
                if let Some(place) = arriving {
                    self.incoming.remove(place);
                    self.digests.remove(place);
                } else if let Some(life) = present {
                    self.gone.push(life.key.release);
                }
                let new = self.incoming(c, staged, work)?;
                self.push(version, *sha256, new);
                Ok(Ok(Added::Replaced))
            }
        }
    }

    fn push(&mut self, version: &str, sha256: Sha256, new: Incoming) {
        self.incoming.push(new);
        self.digests.push((version.to_owned(), sha256));
    }

    /// The release of an upload: its earlier release when the same bytes were removed before, or a new one with the
    /// next revision.
    fn incoming(&self, c: &mut dyn Conn, staged: &Held, work: &Work) -> Result<Incoming, DbError> {
        let version = &staged.upload.version;
        let Some(package) = self.id else { return Ok(Incoming::New(release(staged, 0, work.publish.now))) };
        let Some((release_id, revision)) = newest(c, work.source.id, package, version)? else {
            return Ok(Incoming::New(release(staged, 0, work.publish.now)));
        };
        let same = db::file::by_sha256(c, staged.upload.sha256)?;
        if same.iter().any(|file| file.release == release_id && file.state == db::file::FileState::Stored) {
            return Ok(Incoming::Known { package, release: release_id, version: version.clone() });
        }
        Ok(Incoming::New(release(staged, revision + 1, work.publish.now)))
    }
}

fn newest(
    c: &mut dyn Conn,
    origin: SourceId,
    package: PackageId,
    version: &str,
) -> Result<Option<(ReleaseId, i64)>, DbError> {
    db::life::newest_revision(c, origin, package, version)
}

fn release(staged: &Held, revision: i64, now: Timestamp) -> Box<NewRelease> {
    let upload = &staged.upload;
    Box::new(NewRelease {
        package: upload.package.clone(),
        version: upload.version.clone(),
        revision,
        published_at: Some(now),
        stanza: Some(staged.stanza.clone()),
        description: Some(staged.description.clone()),
        readme: staged.readme.map(|(sha256, _)| sha256),
        file: NewFile {
            name: format!("{}_{}.tar.gz", upload.package, upload.version),
            locator: String::new(),
            size: i64::try_from(upload.size).ok(),
            md5: Some(staged.md5),
            sha256: Some(upload.sha256),
            stored: true,
        },
    })
}

/// Inserts the rows of the stored objects: the archive, and its README, which has its own shelf.
pub(super) fn write_blobs(c: &mut dyn Conn, staged: &Held, now: Timestamp) -> Result<(), DbError> {
    let archive = (Key::Package(staged.class(), staged.upload.sha256), staged.upload.size);
    let readme = staged.readme.map(|(sha256, size)| (Key::Readme(sha256), size));
    for (key, size) in [Some(archive), readme].into_iter().flatten() {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let class = key.shelf().to_owned();
        db::blob::insert(c, &db::blob::Blob { sha256: *key.digest(), class, size, created_at: now })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
