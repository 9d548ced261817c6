//! Files of projects of an index: their rows, and the changes that a reading of a project causes. The lives are in a
//! tree whose sequence numbers are times, in microseconds since the epoch.

use std::collections::HashMap;

use super::file::FileState;
use super::life;
use super::project_file::{DISTRIBUTION, METADATA, METADATA_OF_WHEEL};
use super::project_write::{FILE_COLUMNS, LIFE_COLUMNS};
use super::{Conn, DbError, Value, ids, import};
use crate::db::engine::columns::{or_default, row, select};
use base::model::change::LifeState;
use base::model::digest::Sha256;
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId};

row! {
    /// A file that a project has or had.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct KnownIndexFile from "release r JOIN file f ON f.release_id = r.id AND f.role = 'python'" {
        pub release: ReleaseId = "f.release_id",
        pub file: FileId = "f.id",
        /// Number of earlier files of this name with other bytes.
        pub revision: i64 = "f.build",
        pub name: String = "f.name",
        pub sha256: Sha256 = "f.sha256",
        pub locator: String = "f.locator",
        /// The highest variant of its facts. Each set of facts of a file has a number, the variant.
        pub last_variant: i64 = _,
        /// The facts of the life that has not ended; without such a life, the facts of the first reading.
        pub facts: Vec<u8> = "f.facts" => or_default,
        /// The life that has not ended, if there is one.
        pub life: Option<OpenLife> = _,
        /// The latest end of its lives that have ended; `None` if none has ended.
        pub last_end: Option<i64> = _,
        pub metadata: Option<Sha256> = _,
        /// Whether METADATA was read from the wheel, because the index declares none.
        pub is_metadata_of_wheel: bool = _,
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OpenLife {
        pub from: i64,
        pub variant: i64,
        /// The reason why the file is yanked; `None` if it is not yanked.
        pub yanked: Option<String> => life::yanked,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its version, as the index states it.
    pub version: String,
    /// Number of earlier files of this name with other bytes.
    pub revision: i64,
    pub name: String,
    /// Its location: a path from the root of the index, an absolute path of its host, or an address.
    pub locator: String,
    /// Its size in bytes, if the index states it.
    pub size: Option<i64>,
    pub sha256: Sha256,
    /// Facts for the page of the project, as JSON, with the declared digest of its METADATA: a row of METADATA is written
    /// when it is requested, see [`attached_file::record_metadata`](super::attached_file::record_metadata).
    pub facts: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRowChange {
    /// A new file, listed from an instant on.
    Introduce {
        file: Box<NewFile>,
        from: i64,
        yanked: Option<String>,
        /// Start time of the yank; `None` if the file is yanked from `from` on, or is not yanked.
        marked_from: Option<i64>,
        /// Time of the reading that found the file; `None` if no earlier reading lacked it.
        read_at: Option<i64>,
    },
    Begin {
        release: ReleaseId,
        file: FileId,
        variant: i64,
        from: i64,
        yanked: Option<String>,
    },
    End {
        release: ReleaseId,
        file: FileId,
        from: i64,
        at: i64,
    },
    /// Further facts of a file, for later lives.
    Facts {
        file: FileId,
        variant: i64,
        facts: Vec<u8>,
    },
    Locate {
        file: FileId,
        locator: String,
    },
    /// METADATA of a file that had none, at the index.
    Metadata {
        release: ReleaseId,
        revision: i64,
        name: String,
        locator: String,
        sha256: Sha256,
    },
    /// METADATA of a file that had none, read from the wheel. Its object must be in storage.
    StoredMetadata {
        release: ReleaseId,
        revision: i64,
        name: String,
        sha256: Sha256,
        /// Its size in bytes.
        size: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexTarget {
    pub source: SourceId,
    pub tree: TreeId,
    pub package: PackageId,
}

/// Returns every file that a project has or had, in unspecified order.
pub fn of_project(c: &mut dyn Conn, target: IndexTarget) -> Result<Vec<KnownIndexFile>, DbError> {
    const LIVES: &str = "SELECT file_id, to_seq, from_seq, variant, mark, note FROM life \
        WHERE tree_id = $1 AND state = 0 AND package_id = $2";
    const FILES: &str = select!(KnownIndexFile, "WHERE r.package_id = $1 AND r.origin_id = $2");
    const FACTS: &str = "SELECT v.file_id, v.variant, v.facts FROM release r \
        JOIN file f ON f.release_id = r.id AND f.role = 'python' JOIN file_fact v ON v.file_id = f.id \
        WHERE r.package_id = $1 AND r.origin_id = $2";
    const METADATA_OF: &str = "SELECT f.id, m.sha256, m.locator FROM release r \
        JOIN file f ON f.release_id = r.id AND f.role = 'python' \
        JOIN file m ON m.release_id = r.id AND m.role = 'metadata' AND m.platform = '' AND m.build = f.build \
        AND m.name = f.name WHERE r.package_id = $1 AND r.origin_id = $2";
    let mut lives: HashMap<FileId, OpenLife> = HashMap::new();
    let mut ends: HashMap<FileId, i64> = HashMap::new();
    for (file, to, life) in
        c.all::<(FileId, i64, OpenLife)>(LIVES, &[target.tree.into(), target.package.into()])?
    {
        if to == Seq::OPEN.0 {
            lives.insert(file, life);
        } else {
            let end = ends.entry(file).or_insert(to);
            *end = to.max(*end);
        }
    }
    let params = [target.package.into(), target.source.into()];
    let mut files: Vec<KnownIndexFile> = c.all(FILES, &params)?;
    let mut facts: HashMap<(FileId, i64), Vec<u8>> = HashMap::new();
    let mut last_variants: HashMap<FileId, i64> = HashMap::new();
    for (file, variant, json) in c.all::<(FileId, i64, Option<Vec<u8>>)>(FACTS, &params)? {
        facts.insert((file, variant), json.unwrap_or_default());
        let last = last_variants.entry(file).or_insert(variant);
        *last = variant.max(*last);
    }
    let metadata = c.all::<(FileId, Sha256, String)>(METADATA_OF, &params)?;
    let metadata: HashMap<FileId, (Sha256, String)> =
        metadata.into_iter().map(|(file, sha256, locator)| (file, (sha256, locator))).collect();
    for known in &mut files {
        known.life = lives.remove(&known.file);
        known.last_end = ends.get(&known.file).copied();
        known.last_variant = last_variants.get(&known.file).copied().unwrap_or(0);
        let variant = known.life.as_ref().map_or(0, |life| life.variant);
        if let Some(of_life) = facts.remove(&(known.file, variant)) {
            known.facts = of_life;
        }
        if let Some((sha256, locator)) = metadata.get(&known.file) {
            known.metadata = Some(*sha256);
            known.is_metadata_of_wheel = locator == METADATA_OF_WHEEL;
        }
    }
    Ok(files)
}

/// Writes changes.
///
/// # Errors
/// [`DbError::Conflict`] if a life to end is not open.
pub fn apply(c: &mut dyn Conn, target: IndexTarget, changes: Vec<FileRowChange>) -> Result<(), DbError> {
    const END: &str = "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND state = 0 AND package_id = $3 AND path = '' \
        AND from_seq = $4 AND release_id = $5 AND file_id = $6 AND to_seq = $7";
    const LOCATE: &str = "UPDATE file SET locator = $1 WHERE id = $2";
    let (mut ends, mut locators) = (Vec::new(), Vec::new());
    let (mut lives, mut facts, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    let mut readings = Vec::new();
    let mut new_files: Vec<IntroducedFile> = Vec::new();
    for change in changes {
        match change {
            FileRowChange::Introduce { file, from, yanked, marked_from, read_at } => {
                new_files.push(IntroducedFile { file, from, yanked, marked_from, read_at });
            }
            FileRowChange::Begin { release, file, variant, from, yanked } => {
                lives.push(life(target, release, file, variant, from, Seq::OPEN.0, yanked));
            }
            FileRowChange::End { release, file, from, at } => ends.push(vec![
                at.into(),
                target.tree.into(),
                target.package.into(),
                from.into(),
                release.into(),
                file.into(),
                Seq::OPEN.into(),
            ]),
            FileRowChange::Facts { file, variant, facts: json } => {
                facts.push(vec![file.into(), variant.into(), Value::Bytes(json)]);
            }
            FileRowChange::Locate { file, locator } => {
                locators.push(vec![locator.into(), file.into()]);
            }
            FileRowChange::Metadata { release, revision, name, locator, sha256 } => {
                metadata.push(FileRow {
                    release,
                    role: METADATA,
                    revision,
                    name,
                    locator,
                    size: None,
                    sha256,
                    state: FileState::Known,
                    facts: Value::Null,
                });
            }
            FileRowChange::StoredMetadata { release, revision, name, sha256, size } => {
                metadata.push(FileRow {
                    release,
                    role: METADATA,
                    revision,
                    name,
                    locator: METADATA_OF_WHEEL.to_owned(),
                    size: Some(size),
                    sha256,
                    state: FileState::Stored,
                    facts: Value::Null,
                });
            }
        }
    }
    if c.execute_many(END, &ends)? != ends.len() as u64 {
        return Err(DbError::Conflict("a file of the project changed meanwhile".to_owned()));
    }
    c.execute_many(LOCATE, &locators)?;
    let releases = releases(c, target, &new_files)?;
    let count = new_files.len() + metadata.len();
    if count > 0 {
        let mut next = ids::reserve(c, ids::Sequence::File, count)?;
        let mut id = || {
            next += 1;
            FileId(next - 1)
        };
        let mut rows = Vec::new();
        for (IntroducedFile { file, from, yanked, marked_from, read_at }, release) in
            new_files.into_iter().zip(releases)
        {
            let NewFile { revision, name, locator, size, sha256, facts, .. } = *file;
            let (file_id, role) = (id(), DISTRIBUTION);
            let (state, facts) = (FileState::Known, Value::Bytes(facts));
            let row = FileRow { release, role, revision, name, locator, size, sha256, state, facts };
            rows.push(row.values(file_id));
            if let Some(at) = read_at {
                readings.push(vec![file_id.into(), at.into()]);
            }
            if let Some(at) = marked_from {
                lives.push(life(target, release, file_id, 0, from, at, None));
            }
            let from = marked_from.unwrap_or(from);
            lives.push(life(target, release, file_id, 0, from, Seq::OPEN.0, yanked));
        }
        rows.extend(metadata.into_iter().map(|row| row.values(id())));
        c.batch_insert("file", &FILE_COLUMNS, &rows)?;
    }
    c.batch_insert("file_fact", &["file_id", "variant", "facts"], &facts)?;
    c.batch_insert("file_reading", &["file_id", "read_at"], &readings)?;
    c.batch_insert("life", &LIFE_COLUMNS, &lives)
}

/// Changes the start of every life of a project that has not ended and begins after the instant `at` to `at`, so
/// that its file is listed from `at` on.
pub fn list_recent_files(c: &mut dyn Conn, target: IndexTarget, at: i64) -> Result<(), DbError> {
    // Deletes lives that ended before they were visible, and shortens those that a moved life would overlap.
    const DROP: &str = "DELETE FROM life WHERE tree_id = $1 AND state = 0 AND package_id = $2 AND from_seq >= $3 \
        AND to_seq < $4";
    const SHORTEN: &str = "UPDATE life SET to_seq = $1 WHERE from_seq < $1 AND to_seq > $1 AND tree_id = $2 \
        AND state = 0 AND package_id = $3 AND to_seq < $4 AND EXISTS (SELECT 1 FROM life n WHERE n.tree_id = $2 \
        AND n.state = 0 AND n.package_id = $3 AND n.file_id = life.file_id AND n.from_seq > $1 AND n.to_seq = $4)";
    const MOVE: &str = "UPDATE life SET from_seq = $1 WHERE from_seq > $1 AND tree_id = $2 AND state = 0 \
        AND package_id = $3 AND to_seq = $4";
    let (tree, package) = (target.tree, target.package);
    c.execute(DROP, &[tree.into(), package.into(), at.into(), Seq::OPEN.into()])?;
    c.execute(SHORTEN, &[at.into(), tree.into(), package.into(), Seq::OPEN.into()])?;
    c.execute(MOVE, &[at.into(), tree.into(), package.into(), Seq::OPEN.into()]).map(drop)
}

struct FileRow {
    release: ReleaseId,
    role: &'static str,
    revision: i64,
    name: String,
    locator: String,
    size: Option<i64>,
    sha256: Sha256,
    state: FileState,
    facts: Value,
}

impl FileRow {
    fn values(self, id: FileId) -> Vec<Value> {
        vec![
            id.into(),
            self.release.into(),
            self.role.into(),
            "".into(),
            self.revision.into(),
            self.name.into(),
            self.locator.into(),
            self.size.into(),
            Value::Null,
            self.sha256.to_string().into(),
            self.state.as_i64().into(),
            self.facts,
        ]
    }
}

fn life(
    target: IndexTarget,
    release: ReleaseId,
    file: FileId,
    variant: i64,
    from: i64,
    to: i64,
    yanked: Option<String>,
) -> Vec<Value> {
    vec![
        target.tree.into(),
        LifeState::Listed.as_i64().into(),
        target.package.into(),
        "".into(),
        from.into(),
        to.into(),
        release.into(),
        variant.into(),
        file.into(),
        yanked.is_some().into(),
        yanked.into(),
    ]
}

struct IntroducedFile {
    file: Box<NewFile>,
    from: i64,
    yanked: Option<String>,
    marked_from: Option<i64>,
    read_at: Option<i64>,
}

/// Returns the releases of new files, in their order, and inserts new ones.
fn releases(
    c: &mut dyn Conn,
    target: IndexTarget,
    new_files: &[IntroducedFile],
) -> Result<Vec<ReleaseId>, DbError> {
    const FIND: &str =
        "SELECT version, id FROM release WHERE package_id = $1 AND origin_id = $2 AND revision = 0";
    if new_files.is_empty() {
        return Ok(Vec::new());
    }
    let known = c.all(FIND, &[target.package.into(), target.source.into()])?;
    let known: HashMap<String, ReleaseId> = known.into_iter().collect();
    // The time of the first file of each new version.
    let mut missing: Vec<(&str, i64)> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for IntroducedFile { file, from, .. } in new_files {
        let version = file.version.as_str();
        if known.contains_key(version) {
            continue;
        }
        if let Some((_, first)) = positions.get(version).and_then(|at| missing.get_mut(*at)) {
            *first = (*first).min(*from);
        } else {
            positions.insert(version, missing.len());
            missing.push((version, *from));
        }
    }
    let mut new_releases = HashMap::with_capacity(missing.len());
    if !missing.is_empty() {
        let first = ids::reserve(c, ids::Sequence::Release, missing.len())?;
        let mut rows = Vec::with_capacity(missing.len());
        for (id, (version, from)) in (first..).zip(missing) {
            new_releases.insert(version, ReleaseId(id));
            rows.push(vec![
                id.into(),
                target.source.into(),
                target.package.into(),
                version.into(),
                0.into(),
                from.into(),
            ]);
        }
        c.batch_insert("release", &import::RELEASE_COLUMNS, &rows)?;
    }
    let release = |new: &IntroducedFile| {
        let version = new.file.version.as_str();
        known.get(version).or_else(|| new_releases.get(version)).copied().unwrap_or(ReleaseId(0))
    };
    Ok(new_files.iter().map(release).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rusqlite::OpenFlags;

    use super::*;
    use crate::db::engine::migrate::{self, MigrationMode};
    use crate::db::engine::page_checksum::Pages;
    use crate::db::engine::schema::Schema;
    use crate::db::engine::sqlite::{SqliteConn, connect};

    const FILES: i64 = 250;

    fn file(project: i64, number: i64) -> FileRowChange {
        let name = format!("project_{project:x}-1.{number}.tar.gz");
        let file = NewFile {
            version: format!("1.{number}"),
            revision: 0,
            locator: format!("https://files.example/packages/{name}"),
            size: Some(1_000),
            sha256: Sha256::of(&name),
            facts: br#"{"requires-python":">=3.9","upload-time":"2024-06-01T00:00:00.000001Z"}"#.to_vec(),
            name,
        };
        let (file, from) = (Box::new(file), number);
        FileRowChange::Introduce { file, from, yanked: None, marked_from: None, read_at: None }
    }

    /// Writes the first reading of a project. Returns the number of changed pages of the database.
    fn read_project(session: &mut SqliteConn, project: i64) -> i64 {
        session.parts().0.execute_batch("BEGIN").unwrap();
        let target = IndexTarget { source: SourceId::PYPI, tree: TreeId(2), package: PackageId(project) };
        let files: Vec<FileRowChange> = (0..FILES).map(|number| file(project, number)).collect();
        apply(session, target, files).unwrap();
        let connection = session.parts().0;
        connection.execute_batch("COMMIT").unwrap();
        // After a complete checkpoint, the next transaction begins the WAL anew.
        connection.query_row("PRAGMA wal_checkpoint", [], |row| row.get(1)).unwrap()
    }

    #[test]
    fn a_reading_does_not_change_a_page_of_the_database_for_each_file() {
        let folder = tempfile::tempdir().unwrap();
        let flags = OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_READ_WRITE;
        let path = folder.path().join("db");
        let mut session = connect(&path, flags, Pages::Marked, Duration::from_secs(5)).unwrap();
        session.parts().0.execute_batch("BEGIN").unwrap();
        migrate::run(&mut session, Schema::Core, MigrationMode::Exclusive).unwrap();
        // The first sync of the list of projects analyzes empty tables of files.
        session.parts().0.execute_batch("COMMIT; ANALYZE").unwrap();
        let pages: Vec<i64> = (1..=40).map(|project| read_project(&mut session, project)).collect();
        assert!(pages.iter().rev().take(10).all(|pages| *pages < FILES / 2), "{pages:?}");
        let first_step = |sql: &str| -> String {
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let session = connect(&path, flags, Pages::Marked, Duration::from_secs(5)).unwrap();
            session.parts().0.query_row(&explain, [], |row| row.get(3)).unwrap()
        };
        let of_project = "SELECT f.name FROM life l JOIN release r ON r.id = l.release_id JOIN file f ON f.id = l.file_id \
            AND f.role = 'python' WHERE l.tree_id = 2 AND l.state = 0 AND l.package_id = 7";
        let step = first_step(of_project);
        assert!(step.starts_with("SEARCH l USING PRIMARY KEY"), "{step}");
        let by_name = "SELECT f.id FROM file f WHERE f.sha256 = 'a' AND f.role = 'python' AND f.name = 'b'";
        assert!(first_step(by_name).starts_with("SEARCH f USING INDEX file_name"), "{}", first_step(by_name));
        let stored = "SELECT id FROM file f WHERE f.sha256 = 'a' AND f.state = 1";
        assert!(first_step(stored).starts_with("SEARCH f USING"), "{}", first_step(stored));
    }
}
