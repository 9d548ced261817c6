//! Full-text search for packages: SQLite's FTS5 in an unnamed temporary file.
//!
//! The file ends with the process. Reading all texts again takes seconds, so nothing has to recognize a file that is
//! damaged, outdated, of another database, or in use by the process that an upgrade replaces.

mod expression;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, params};

use base::model::ids::{PackageId, SourceId};

pub use expression::Expression;

/// The packages of a source have the row ids from `source * PACKAGES` on.
const PACKAGES: i64 = 1 << 32;

const SCHEMA: &str = "
    PRAGMA page_size = 4096;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = MEMORY;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -4096;
    CREATE TABLE package (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, is_complete INTEGER NOT NULL);
    CREATE VIRTUAL TABLE words USING fts5 (name, title, keywords, people, description, content = '',
        contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2');";

/// The columns in which all words of a search are looked for, the most relevant ones first. The score of FTS5 takes five times
/// as long for words that many texts have.
const COLUMNS: [&str; 4] =
    ["{name}", "{name title}", "{name title keywords}", "{name title keywords people description}"];

/// The searchable texts of a package of a source. Any of them may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub name: String,
    pub title: String,
    pub keywords: String,
    /// Authors and maintainers.
    pub people: String,
    pub description: String,
}

/// What the texts of a package were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// A number that changes with the listed version of the package.
    pub revision: i64,
    /// Whether all texts of that version were known.
    pub is_complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub package: PackageId,
    /// 0 for words in the name, higher for those in less relevant texts.
    pub tier: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the file of the full-text search in {directory}: {source}", directory = directory.display())]
    File { directory: PathBuf, source: io::Error },
    #[error("full-text search: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// The searchable texts of the packages of all sources. All methods block, one at a time.
pub struct PackageTexts {
    directory: PathBuf,
    /// `None` before the first write, and after an error.
    connection: Mutex<Option<Connection>>,
    losses: AtomicU64,
}

impl PackageTexts {
    /// Creates an empty collection. The file will be in `directory`.
    pub fn new(directory: PathBuf) -> PackageTexts {
        PackageTexts { directory, connection: Mutex::new(None), losses: AtomicU64::new(0) }
    }

    /// Returns how many times an error removed all texts.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Returns the versions of the packages of a source whose texts are here.
    pub fn versions(&self, source: SourceId) -> Result<HashMap<PackageId, Version>, SearchError> {
        const ALL: &str = "SELECT id, revision, is_complete FROM package WHERE id BETWEEN ?1 AND ?2";
        let Some(ids) = ids(source) else { return Ok(HashMap::new()) };
        self.read(|connection| {
            let mut statement = connection.prepare_cached(ALL)?;
            let rows = statement.query_map(ids, |row| {
                let version = Version { revision: row.get(1)?, is_complete: row.get(2)? };
                Ok((PackageId(row.get::<_, i64>(0)?.rem_euclid(PACKAGES)), version))
            })?;
            rows.collect()
        })
    }

    /// Replaces and removes texts of a source in one transaction: few at a time, because searches wait meanwhile. After an
    /// error, all texts of all sources are lost.
    pub fn update(
        &self,
        source: SourceId,
        removed: &[PackageId],
        replaced: &[(PackageId, Version, Texts)],
    ) -> Result<(), SearchError> {
        let mut open = self.connection.lock();
        let connection = match open.take() {
            Some(connection) => connection,
            None => create(&self.directory)?,
        };
        self.run(&mut open, connection, |connection| {
            let transaction = connection.transaction()?;
            let outdated = removed.iter().chain(replaced.iter().map(|(package, ..)| package));
            for id in outdated.filter_map(|package| row_id(source, *package)) {
                remove(&transaction, id)?;
            }
            for (package, version, texts) in replaced {
                if let Some(id) = row_id(source, *package) {
                    insert(&transaction, id, *version, texts)?;
                }
            }
            transaction.commit()
        })
    }

    /// Returns the packages of a source whose texts have all words of an expression, at most `limit`, the most
    /// relevant ones first, those of equal relevance by number.
    pub fn find(
        &self,
        source: SourceId,
        expression: &Expression,
        limit: usize,
    ) -> Result<Vec<Match>, SearchError> {
        const FIND: &str =
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 LIMIT ?4";
        let Some((first, last)) = ids(source) else { return Ok(Vec::new()) };
        let max = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(FIND)?;
            let mut found: Vec<Match> = Vec::new();
            let mut packages = HashSet::new();
            for (tier, columns) in COLUMNS.iter().enumerate() {
                let expression = format!("{columns} : ({})", expression.as_str());
                let mut rows = statement.query(params![expression, first, last, max])?;
                while let Some(row) = rows.next()? {
                    let package = PackageId(row.get::<_, i64>(0)?.rem_euclid(PACKAGES));
                    if packages.insert(package) {
                        found.push(Match { package, tier });
                    }
                }
                if found.len() >= limit {
                    break;
                }
            }
            found.truncate(limit);
            Ok(found)
        })
    }

    /// Runs a query; returns nothing if there are no texts.
    fn read<T: Default>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, SearchError> {
        let mut open = self.connection.lock();
        let Some(connection) = open.take() else { return Ok(T::default()) };
        self.run(&mut open, connection, query)
    }

    /// Uses the connection and puts it back, unless there is an error: then the file is not usable.
    fn run<T>(
        &self,
        open: &mut Option<Connection>,
        mut connection: Connection,
        query: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, SearchError> {
        let result = query(&mut connection);
        match result {
            Ok(_) => *open = Some(connection),
            Err(_) => drop(self.losses.fetch_add(1, Ordering::Release)),
        }
        Ok(result?)
    }
}

/// Returns the first and the last row id of a source; `None` if its number is too large.
fn ids(source: SourceId) -> Option<(i64, i64)> {
    let first = source.0.checked_mul(PACKAGES)?;
    Some((first, first.checked_add(PACKAGES - 1)?))
}

fn row_id(source: SourceId, package: PackageId) -> Option<i64> {
    let (first, last) = ids(source)?;
    let id = first.checked_add(package.0).filter(|id| (first..=last).contains(id));
    if id.is_none() {
        tracing::debug!("the package {package} of the source {source} has a number without a row id");
    }
    id
}

/// Creates the file, opens it and removes its name.
fn create(directory: &Path) -> Result<Connection, SearchError> {
    let file = tempfile::Builder::new().prefix(".search-").tempfile_in(directory);
    let file = file.map_err(|source| SearchError::File { directory: directory.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file.path(), flags)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn remove(connection: &Connection, id: i64) -> Result<(), rusqlite::Error> {
    for sql in ["DELETE FROM words WHERE rowid = ?1", "DELETE FROM package WHERE id = ?1"] {
        connection.prepare_cached(sql)?.execute([id])?;
    }
    Ok(())
}

fn insert(connection: &Connection, id: i64, version: Version, texts: &Texts) -> Result<(), rusqlite::Error> {
    const INSERT: &str = "INSERT INTO package (id, revision, is_complete) VALUES (?1, ?2, ?3)";
    const INSERT_WORDS: &str = "INSERT INTO words (rowid, name, title, keywords, people, description) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let Texts { name, title, keywords, people, description } = texts;
    connection.prepare_cached(INSERT)?.execute(params![id, version.revision, version.is_complete])?;
    let words = params![id, name, title, keywords, people, description];
    connection.prepare_cached(INSERT_WORDS)?.execute(words)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRAN: SourceId = SourceId(1);
    const TEAM: SourceId = SourceId(-4);

    fn texts(name: &str, title: &str, description: &str) -> Texts {
        let (name, title, description) = (name.to_owned(), title.to_owned(), description.to_owned());
        Texts { name, title, description, ..Texts::default() }
    }

    fn version(revision: i64) -> Version {
        Version { revision, is_complete: true }
    }

    fn collection() -> (tempfile::TempDir, PackageTexts) {
        let directory = tempfile::tempdir().expect("a directory");
        let texts = PackageTexts::new(directory.path().to_owned());
        (directory, texts)
    }

    fn found(collection: &PackageTexts, source: SourceId, text: &str) -> Vec<i64> {
        let Some(expression) = Expression::of(text) else { return Vec::new() };
        let found = collection.find(source, &expression, 10).expect("a query");
        found.into_iter().map(|found| found.package.0).collect()
    }

    #[test]
    fn a_name_ranks_before_a_title_and_a_title_before_a_description() {
        let (_directory, collection) = collection();
        let packages = [
            (PackageId(1), version(1), texts("alpha", "Trees", "Fits a forest to tables")),
            (PackageId(2), version(1), texts("beta", "Random Forests", "Trees")),
            (PackageId(3), version(1), texts("forest", "Trees", "Grows them")),
            (PackageId(4), version(1), texts("gamma", "Tables", "Tables")),
        ];
        collection.update(CRAN, &[], &packages).expect("written");
        assert_eq!(found(&collection, CRAN, "forest"), [3, 2, 1]);
        assert_eq!(found(&collection, CRAN, "tables forests"), [1], "all words, in any order");
        assert_eq!(found(&collection, CRAN, "tables fore"), [1], "the beginning of the last word");
        assert_eq!(found(&collection, CRAN, "fore tables"), [0; 0]);
        assert_eq!(found(&collection, CRAN, "Fitting FORESTS"), [1], "other forms of the words");
        assert_eq!(found(&collection, TEAM, "forest"), [0; 0]);
    }

    #[test]
    fn replaced_and_removed_texts_are_not_found_any_more() {
        let (_directory, collection) = collection();
        assert!(collection.versions(TEAM).expect("no file yet").is_empty());
        let package = |revision, title| (PackageId(7), version(revision), texts("one", title, ""));
        for source in [CRAN, TEAM] {
            collection.update(source, &[], &[package(1, "Café")]).expect("written");
            assert_eq!(found(&collection, source, "cafe"), [7]);
        }
        collection.update(TEAM, &[], &[package(2, "Tea")]).expect("written");
        assert_eq!((found(&collection, TEAM, "café"), found(&collection, TEAM, "tea")), (vec![], vec![7]));
        assert_eq!(collection.versions(TEAM).expect("read"), HashMap::from([(PackageId(7), version(2))]));
        collection.update(TEAM, &[PackageId(7), PackageId(8)], &[]).expect("written");
        assert_eq!(found(&collection, TEAM, "tea"), [0; 0]);
        assert!(collection.versions(TEAM).expect("read").is_empty());
        assert_eq!(found(&collection, CRAN, "cafe"), [7], "the same package of another source");
    }

    #[test]
    fn the_file_has_no_name_and_a_missing_directory_is_an_error() {
        let (directory, collection) = collection();
        collection.update(CRAN, &[], &[(PackageId(1), version(1), texts("a", "b", "c"))]).expect("written");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
        assert_eq!(found(&collection, CRAN, "b"), [1]);
        let lost = PackageTexts::new(directory.path().join("missing"));
        assert!(matches!(lost.update(CRAN, &[], &[]), Err(SearchError::File { .. })));
        assert_eq!(found(&lost, CRAN, "b"), [0; 0]);
    }

    #[test]
    fn after_an_error_the_collection_is_empty_and_can_be_filled_again() {
        let (_directory, collection) = collection();
        let package = [(PackageId(1), version(1), texts("a", "bear", "c"))];
        collection.update(CRAN, &[], &package).expect("written");
        let damage = |connection: &Connection| connection.execute_batch("DROP TABLE words");
        damage(collection.connection.lock().as_ref().expect("open")).expect("dropped");
        let expression = Expression::of("bear").expect("words");
        assert!(matches!(collection.find(CRAN, &expression, 9), Err(SearchError::Sqlite(_))));
        assert!(collection.versions(CRAN).expect("empty").is_empty());
        assert_eq!(collection.losses(), 1);
        collection.update(CRAN, &[], &package).expect("written again");
        assert_eq!(found(&collection, CRAN, "bear"), [1]);
    }

    #[test]
    fn hostile_queries_are_words() {
        let (_directory, collection) = collection();
        collection
            .update(CRAN, &[], &[(PackageId(1), version(1), texts("or", "near not", "x"))])
            .expect("written");
        let long = "a\" OR ".repeat(2_000);
        for text in [
            "\" OR *",
            "\"",
            "\"\"",
            "*",
            "^near",
            "near NOT",
            "NEAR(near not, 2)",
            "title : near",
            "{title}: near",
            "- near",
            "near*",
            "(near",
            "near)",
            "near AND",
            "+",
            "near + not",
            "\0",
            "near\0not",
            "'; DROP TABLE words",
            "\u{900}\u{93f}",
            "ɐ",
            "🦀",
            "%00",
            "\u{202e}near",
            long.as_str(),
        ] {
            let Some(expression) = Expression::of(text) else { continue };
            let found = collection.find(CRAN, &expression, 9);
            assert!(found.is_ok(), "{text:?}: {found:?}");
        }
        assert_eq!(found(&collection, CRAN, "NEAR(near"), [0; 0], "a phrase of two words");
        assert_eq!(found(&collection, CRAN, "near NOT"), [1]);
        assert_eq!(found(&collection, CRAN, "near OR absent"), [0; 0]);
        assert_eq!(found(&collection, CRAN, "title:near"), [0; 0], "not the name of a column");
    }
}
