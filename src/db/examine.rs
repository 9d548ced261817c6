//! Examines a database in use: by the database's own checks, then by the rules of [`super::invariants`].

use super::{Conn, Db, DbError, Engine, invariants};

/// The result of an examination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// What is wrong, as sentences.
    pub problems: Vec<String>,
    /// Checks that were done, and those that were not with the reason.
    pub notes: Vec<String>,
}

impl Examination {
    /// Adds the violations of the rules, on one snapshot. What a damaged database cannot answer is a problem, too.
    pub(super) fn add_violations(&mut self, c: &mut dyn Conn) -> Result<(), DbError> {
        match invariants::violations(c) {
            Ok(violations) => {
                self.problems.extend(violations);
                self.notes.push("the rules of the history were checked".to_owned());
            }
            Err(error @ (DbError::NotADatabase { .. } | DbError::Shape { .. })) => {
                self.problems.push(format!("the rules of the history could not be checked: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Examines the database on a connection of its own, so that it is read and not a cache of it.
///
/// # Errors
/// It cannot be reached. Damage is no error, but a problem in the result.
pub async fn examine(db: &Db) -> Result<Examination, DbError> {
    let db = db.clone();
    let examination = tokio::task::spawn_blocking(move || match &*db.engine {
        Engine::Sqlite(engine) => engine.examine(),
        Engine::Postgres(engine) => engine.examine(),
    });
    examination.await.unwrap_or(Err(DbError::Closed))
}
