//! Examines a database in use with the database's own checks and the rules of [`super::invariants`].

use super::{Conn, Db, DbError, Engine, invariants};

/// The result of an examination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// The problems found, as sentences.
    pub problems: Vec<String>,
    /// The checks that were performed, and those that were omitted, with the reason.
    pub notes: Vec<String>,
}

impl Examination {
    /// Adds the violations of the rules, on one snapshot. An error caused by damage to the database is added as a
    /// problem.
    pub(in crate::db) fn add_violations(&mut self, c: &mut dyn Conn) -> Result<(), DbError> {
        match invariants::violations(c) {
            Ok(violations) => {
                self.problems.extend(violations);
                self.notes.push("the consistency rules between rows were checked".to_owned());
            }
            Err(error @ (DbError::NotADatabase { .. } | DbError::Shape { .. })) => {
                self.problems
                    .push(format!("the consistency rules between rows could not be checked: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Examines the database on a new connection, so that the files are read and not the cache of an open connection.
///
/// # Errors
/// The database cannot be reached. Damage is not an error, but a problem in the result.
pub async fn examine(db: &Db) -> Result<Examination, DbError> {
    let db = db.clone();
    let examination = tokio::task::spawn_blocking(move || match &*db.engine {
        Engine::Sqlite(engine) => engine.examine(),
        Engine::Postgres(engine) => engine.examine(),
    });
    examination.await.unwrap_or(Err(DbError::Closed))
}
