//! Writes changes of a Python tree as rows that are invisible before the publish.

use super::file::FileState;
use super::import::{self, ImportTarget};
use super::project_file::{DISTRIBUTION, METADATA};
use super::{Conn, DbError, Value, attached_file, ids, package};
use base::model::change::{AttachedFiles, FileChange, NewProjectFile};
use base::model::ids::{FileId, PackageId, ReleaseId, Seq};
use base::model::project_path::FilePart;

/// Columns of lives of files, in the order in which rows are written.
pub(in crate::db) const LIFE_COLUMNS: [&str; 11] = with_column(import::LIFE_COLUMNS, "note");
/// Columns of files, in the order in which rows are written.
pub(in crate::db) const FILE_COLUMNS: [&str; 12] = with_column(import::FILE_COLUMNS, "facts");

/// Returns a list of columns with `last` at its end. `M` is `N + 1`.
const fn with_column<const N: usize, const M: usize>(
    columns: [&'static str; N],
    last: &'static str,
) -> [&'static str; M] {
    assert!(M == N + 1, "exactly one column is added");
    let mut extended = [last; M];
    let mut index = 0;
    while index < N {
        extended[index] = columns[index];
        index += 1;
    }
    extended
}

/// Writes changes.
///
/// # Errors
/// [`DbError::Conflict`] if a life to end is not open.
pub fn apply(c: &mut dyn Conn, target: &ImportTarget, changes: &[FileChange]) -> Result<(), DbError> {
    let end_keys = changes.iter().filter_map(|change| match change {
        FileChange::EndLife(key) => Some(key),
        FileChange::Introduce { .. }
        | FileChange::BeginLife { .. }
        | FileChange::Facts { .. }
        | FileChange::Attach { .. } => None,
    });
    import::end_lives(c, target, &end_keys.collect::<Vec<_>>())?;
    let (mut lives, mut facts) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            FileChange::Introduce { file, yanked } => {
                let (package, release, file) = insert(c, target, file)?;
                lives.push(life_row(target, package, release, file, 0, yanked.as_deref()));
            }
            FileChange::BeginLife { package, release, file, variant, yanked } => {
                lives.push(life_row(target, *package, *release, *file, *variant, yanked.as_deref()));
            }
            FileChange::Facts { file, variant, facts: json } => {
                facts.push(vec![(*file).into(), (*variant).into(), json.as_slice().into()]);
            }
            FileChange::Attach { file, attached } => attach(c, *file, attached)?,
            FileChange::EndLife(_) => {}
        }
    }
    c.batch_insert("file_fact", &["file_id", "variant", "facts"], &facts)?;
    c.batch_insert("life", &LIFE_COLUMNS, &lives).map(drop)
}

/// Writes the rows of files that were uploaded with a distribution.
fn attach(c: &mut dyn Conn, distribution: FileId, attached: &AttachedFiles) -> Result<(), DbError> {
    let AttachedFiles { signature, provenance } = *attached;
    for (part, object) in [(FilePart::Signature, signature), (FilePart::Provenance, provenance)] {
        if let Some((sha256, size)) = object {
            attached_file::put(c, distribution, part, "", sha256, size)?;
        }
    }
    Ok(())
}

fn life_row(
    target: &ImportTarget,
    package: PackageId,
    release: ReleaseId,
    file: FileId,
    variant: i64,
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
        variant.into(),
        file.into(),
        yanked.is_some().into(),
        Value::opt_text(yanked),
    ]
}

/// Writes a file, and its project and release if they are new.
fn insert(
    c: &mut dyn Conn,
    target: &ImportTarget,
    new_file: &NewProjectFile,
) -> Result<(PackageId, ReleaseId, FileId), DbError> {
    let package = package::upsert_many(c, target.origin, &[&new_file.project])?;
    let package = package.first().copied().unwrap_or(PackageId(0));
    let release = release(c, target, package, &new_file.version)?;
    let count = 1 + usize::from(new_file.metadata.is_some());
    let file = FileId(ids::reserve(c, ids::Sequence::File, count)?);
    let row = |id: FileId, role: &str, sha256: String, size: i64, facts: Value| -> Vec<Value> {
        vec![
            id.into(),
            release.into(),
            role.into(),
            "".into(),
            new_file.revision.into(),
            new_file.name.as_str().into(),
            "".into(),
            size.into(),
            Value::Null,
            sha256.into(),
            FileState::Stored.as_i64().into(),
            facts,
        ]
    };
    let facts = new_file.facts.as_slice().into();
    let mut rows = vec![row(file, DISTRIBUTION, new_file.sha256.to_string(), new_file.size, facts)];
    if let Some((sha256, size)) = new_file.metadata {
        rows.push(row(FileId(file.0 + 1), METADATA, sha256.to_string(), size, Value::Null));
    }
    c.batch_insert("file", &FILE_COLUMNS, &rows)?;
    attach(c, file, &new_file.attached)?;
    Ok((package, release, file))
}

/// Returns the release of a version, and inserts it if it is new.
fn release(
    c: &mut dyn Conn,
    target: &ImportTarget,
    package: PackageId,
    version: &str,
) -> Result<ReleaseId, DbError> {
    const FIND: &str =
        "SELECT id FROM release WHERE package_id = $1 AND version = $2 AND origin_id = $3 AND revision = 0";
    if let Some(id) = c.first(FIND, &[package.into(), version.into(), target.origin.into()])? {
        return Ok(id);
    }
    let id = ReleaseId(ids::reserve(c, ids::Sequence::Release, 1)?);
    let row = vec![id.into(), target.origin.into(), package.into(), version.into(), 0.into(), Value::Null];
    c.batch_insert("release", &import::RELEASE_COLUMNS, &[row])?;
    Ok(id)
}
