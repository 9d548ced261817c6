//! Writes changes of a tree as rows that are invisible before the publish.

use std::collections::HashMap;

use super::file::FileState;
use super::{Conn, DbError, Value, ids, package};
use base::model::change::{Change, LifeKey, LifeState, NewFile, NewRelease};
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId};

/// The tree and step that changes are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportTarget {
    pub tree: TreeId,
    /// The step being written, as returned by `tree::begin`.
    pub pending: Seq,
    /// The source that the bytes of new releases come from.
    pub origin: SourceId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewReleaseIds {
    pub package: PackageId,
    pub release: ReleaseId,
    /// Its first file; its other files have the following ids.
    pub first_file: FileId,
}

pub(in crate::db) const RELEASE_COLUMNS: [&str; 6] =
    ["id", "origin_id", "package_id", "version", "revision", "published_at"];
pub(in crate::db) const RECORD_COLUMNS: [&str; 3] = ["release_id", "variant", "stanza"];
const DETAIL_COLUMNS: [&str; 3] = ["release_id", "description", "readme_sha256"];
pub(in crate::db) const FILE_COLUMNS: [&str; 11] =
    ["id", "release_id", "role", "platform", "build", "name", "locator", "size", "md5", "sha256", "state"];
pub(in crate::db) const LIFE_COLUMNS: [&str; 10] = [
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
];

/// Writes changes and returns the ids of each [`Change::Introduce`], in order. At most 2,000 per call.
///
/// # Errors
/// [`DbError::Conflict`] if a release already exists with its version and revision, or a life to end is not open.
pub fn apply(
    c: &mut dyn Conn,
    target: &ImportTarget,
    changes: &[Change],
) -> Result<Vec<NewReleaseIds>, DbError> {
    let new_releases: Vec<(&NewRelease, LifeState, &str)> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Introduce { release, state, path } => Some((release, *state, path.as_str())),
            Change::BeginLife { .. } | Change::Record { .. } | Change::EndLife(_) => None,
        })
        .collect();
    let releases: Vec<&NewRelease> = new_releases.iter().map(|(release, ..)| *release).collect();
    let new_ids = insert_releases(c, target, &releases)?;
    let end_keys = changes.iter().filter_map(|change| match change {
        Change::EndLife(key) => Some(key),
        Change::Introduce { .. } | Change::BeginLife { .. } | Change::Record { .. } => None,
    });
    end_lives(c, target, &end_keys.collect::<Vec<_>>())?;
    write_records(c, changes)?;
    let mut lives = Vec::with_capacity(changes.len());
    for (ids, (_, state, path)) in new_ids.iter().zip(&new_releases) {
        lives.push(life_row(target, *state, ids.package, path, ids.release, 0));
    }
    for change in changes {
        if let Change::BeginLife { state, package, release, variant, path } = change {
            lives.push(life_row(target, *state, *package, path, *release, *variant));
        }
    }
    c.batch_insert("life", &LIFE_COLUMNS, &lives)?;
    Ok(new_ids)
}

/// Writes new releases without a life, and returns their ids.
pub(in crate::db) fn insert_releases(
    c: &mut dyn Conn,
    target: &ImportTarget,
    new_releases: &[&NewRelease],
) -> Result<Vec<NewReleaseIds>, DbError> {
    if new_releases.is_empty() {
        return Ok(Vec::new());
    }
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<&str> = Vec::new();
    for release in new_releases {
        indexes.entry(&release.package).or_insert_with(|| {
            names.push(&release.package);
            names.len() - 1
        });
    }
    let packages = package::upsert_many(c, target.origin, &names)?;
    let files: usize = new_releases.iter().map(|release| release.files.len()).sum();
    let first_release = ids::reserve(c, ids::Sequence::Release, new_releases.len())?;
    let mut next_file = ids::reserve(c, ids::Sequence::File, files)?;

    let mut new_ids = Vec::with_capacity(new_releases.len());
    let (mut release_rows, mut file_rows) =
        (Vec::with_capacity(new_releases.len()), Vec::with_capacity(files));
    let (mut record_rows, mut detail_rows): (Vec<Vec<Value>>, Vec<Vec<Value>>) = (Vec::new(), Vec::new());
    for (number, release) in (0..).zip(new_releases) {
        let ids = NewReleaseIds {
            package: packages[indexes[release.package.as_str()]],
            release: ReleaseId(first_release + number),
            first_file: FileId(next_file),
        };
        new_ids.push(ids);
        release_rows.push(vec![
            ids.release.into(),
            target.origin.into(),
            ids.package.into(),
            release.version.as_str().into(),
            release.revision.into(),
            release.published_at.into(),
        ]);
        if let Some(stanza) = &release.stanza {
            record_rows.push(vec![ids.release.into(), 0.into(), stanza.as_slice().into()]);
        }
        if release.description.is_some() || release.readme.is_some() {
            let description = release.description.as_deref().unwrap_or_default();
            detail_rows.push(vec![ids.release.into(), description.into(), Value::opt_text(release.readme)]);
        }
        for file in &release.files {
            file_rows.push(file_row(FileId(next_file), ids.release, file));
            next_file += 1;
        }
    }
    c.batch_insert("release", &RELEASE_COLUMNS, &release_rows)?;
    c.batch_insert("record", &RECORD_COLUMNS, &record_rows)?;
    c.batch_insert("detail", &DETAIL_COLUMNS, &detail_rows)?;
    c.batch_insert("file", &FILE_COLUMNS, &file_rows)?;
    Ok(new_ids)
}

fn file_row(id: FileId, release: ReleaseId, file: &NewFile) -> Vec<Value> {
    let state = if file.stored { FileState::Stored } else { FileState::Known };
    vec![
        id.into(),
        release.into(),
        "source".into(),
        "".into(),
        0.into(),
        file.name.as_str().into(),
        file.locator.as_str().into(),
        file.size.into(),
        Value::opt_text(file.md5),
        Value::opt_text(file.sha256),
        state.as_i64().into(),
    ]
}

fn life_row(
    target: &ImportTarget,
    state: LifeState,
    package: PackageId,
    path: &str,
    release: ReleaseId,
    variant: i64,
) -> Vec<Value> {
    vec![
        target.tree.into(),
        state.as_i64().into(),
        package.into(),
        path.into(),
        target.pending.into(),
        Seq::OPEN.into(),
        release.into(),
        variant.into(),
        0.into(),
        0.into(),
    ]
}

fn write_records(c: &mut dyn Conn, changes: &[Change]) -> Result<(), DbError> {
    // A conflicting record was left by an abandoned import; no published life refers to it.
    const WRITE: &str = "INSERT INTO record (release_id, variant, stanza) VALUES ($1, $2, $3) ON CONFLICT (release_id, \
        variant) DO UPDATE SET stanza = excluded.stanza";
    const FILL: &str = "UPDATE file SET md5 = coalesce(md5, $1), size = coalesce(size, $2) WHERE release_id = $3 \
        AND role = 'source' AND platform = ''";
    let (mut records, mut facts): (Vec<Vec<Value>>, Vec<Vec<Value>>) = (Vec::new(), Vec::new());
    for change in changes {
        if let Change::Record { release, variant, stanza, md5, size } = change {
            records.push(vec![(*release).into(), (*variant).into(), stanza.as_slice().into()]);
            facts.push(vec![Value::opt_text(*md5), (*size).into(), (*release).into()]);
        }
    }
    if !records.is_empty() {
        c.execute_many(WRITE, &records)?;
        c.execute_many(FILL, &facts)?;
    }
    Ok(())
}

/// Ends lives at the pending step. Fails with [`DbError::Conflict`] if one of them is not open.
pub(in crate::db) fn end_lives(
    c: &mut dyn Conn,
    target: &ImportTarget,
    keys: &[&LifeKey],
) -> Result<(), DbError> {
    // Only an open life is ended, so that a plan made from outdated rows cannot rewrite a published step.
    const END: &str = "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND state = $3 AND package_id = $4 AND path = $5 \
        AND from_seq = $6 AND release_id = $7 AND file_id = $8 AND to_seq = $9";
    let row = |key: &&LifeKey| -> Vec<Value> {
        vec![
            target.pending.into(),
            target.tree.into(),
            key.state.as_i64().into(),
            key.package.into(),
            key.path.as_str().into(),
            key.from_seq.into(),
            key.release.into(),
            key.file.into(),
            Seq::OPEN.into(),
        ]
    };
    let rows: Vec<Vec<Value>> = keys.iter().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let updated_rows = c.execute_many(END, &rows)?;
    if updated_rows == rows.len() as u64 {
        Ok(())
    } else {
        let missing = rows.len() as u64 - updated_rows;
        Err(DbError::Conflict(format!("{missing} of the lives to end in tree {} are not open", target.tree)))
    }
}
