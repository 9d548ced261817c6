//! Writes changes of a Python tree as rows that are invisible before the publish.

use super::file::FileState;
use super::import::{self, ImportTarget};
use super::python_file::{DISTRIBUTION, METADATA};
use super::{Conn, DbError, Value, ids, package};
use crate::model::file_change::{FileChange, NewPythonFile};
use crate::model::ids::{FileId, PackageId, ReleaseId, Seq};

const LIFE: [&str; 11] = [
    "tree_id",
    "state",
    "package_id",
    "path",
    "from_seq",
    "to_seq",
    "release_id",
    "variant",
    "file_id",
    "mark",
    "note",
];
const FILE: [&str; 12] = [
    "id",
    "release_id",
    "role",
    "platform",
    "build",
    "name",
    "locator",
    "size",
    "md5",
    "sha256",
    "state",
    "facts",
];

/// Writes changes.
///
/// # Errors
/// [`DbError::Conflict`] if a life to end is not open.
pub fn apply(c: &mut dyn Conn, target: &ImportTarget, changes: &[FileChange]) -> Result<(), DbError> {
    let ended = changes.iter().filter_map(|change| match change {
        FileChange::EndLife(key) => Some(key),
        FileChange::Introduce { .. } | FileChange::BeginLife { .. } => None,
    });
    import::end_lives(c, target, &ended.collect::<Vec<_>>())?;
    let mut lives = Vec::new();
    for change in changes {
        match change {
            FileChange::Introduce { file, yanked } => {
                let (package, release, file) = insert(c, target, file)?;
                lives.push(life(target, package, release, file, yanked.as_deref()));
            }
            FileChange::BeginLife { package, release, file, yanked } => {
                lives.push(life(target, *package, *release, *file, yanked.as_deref()));
            }
            FileChange::EndLife(_) => {}
        }
    }
    c.batch_insert("life", &LIFE, &lives).map(drop)
}

fn life(
    target: &ImportTarget,
    package: PackageId,
    release: ReleaseId,
    file: FileId,
    yanked: Option<&str>,
) -> Vec<Value> {
    vec![
        target.tree.into(),
        0.into(),
        package.into(),
        "".into(),
        target.pending.into(),
        Seq::OPEN.into(),
        release.into(),
        0.into(),
        file.into(),
        yanked.is_some().into(),
        Value::opt_text(yanked),
    ]
}

/// Writes a file, and its project and release if they are new.
fn insert(
    c: &mut dyn Conn,
    target: &ImportTarget,
    new: &NewPythonFile,
) -> Result<(PackageId, ReleaseId, FileId), DbError> {
    let package = package::upsert_many(c, target.origin, &[&new.project])?;
    let package = package.first().copied().unwrap_or(PackageId(0));
    let release = release(c, target, package, &new.version)?;
    let count = 1 + i64::from(new.metadata.is_some());
    let file = FileId(ids::reserve(c, ids::Sequence::File, count)?);
    let row = |id: FileId, role: &str, sha256: String, size: i64, facts: Value| -> Vec<Value> {
        vec![
            id.into(),
            release.into(),
            role.into(),
            "".into(),
            new.revision.into(),
            new.name.as_str().into(),
            "".into(),
            size.into(),
            Value::Null,
            sha256.into(),
            FileState::Stored.as_i64().into(),
            facts,
        ]
    };
    let facts = new.facts.as_slice().into();
    let mut rows = vec![row(file, DISTRIBUTION, new.sha256.to_string(), new.size, facts)];
    if let Some((sha256, size)) = new.metadata {
        rows.push(row(FileId(file.0 + 1), METADATA, sha256.to_string(), size, Value::Null));
    }
    c.batch_insert("file", &FILE, &rows)?;
    Ok((package, release, file))
}

/// Returns the release of a version, which is inserted if it is new.
fn release(
    c: &mut dyn Conn,
    target: &ImportTarget,
    package: PackageId,
    version: &str,
) -> Result<ReleaseId, DbError> {
    const FIND: &str =
        "SELECT id FROM release WHERE package_id = $1 AND version = $2 AND origin_id = $3 AND revision = 0";
    let rows = c.query(FIND, &[package.into(), version.into(), target.origin.into()])?;
    if let Some(row) = rows.first() {
        return Ok(ReleaseId(row.int(0)?));
    }
    let id = ReleaseId(ids::reserve(c, ids::Sequence::Release, 1)?);
    let row = vec![id.into(), target.origin.into(), package.into(), version.into(), 0.into(), Value::Null];
    c.batch_insert("release", &import::RELEASE, &[row])?;
    Ok(id)
}
