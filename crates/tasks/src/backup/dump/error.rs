//! The error of reading a dump.

use store::db::transfer::row::MalformedRows;

/// An error of reading a dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("the dump cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("this is not a dump of rstudio-pm")]
    NotADump,
    #[error("the dump has format {found}; this version of rstudio-pm reads format {known}")]
    Format {
        /// The format of the dump.
        found: u16,
        /// The format of this program.
        known: u16,
    },
    /// A schema of a newer program.
    #[error(
        "the dump has migration {found} of the schema '{schema}'; this version of rstudio-pm supports migrations up to {known}: use the version that wrote the dump, or a later one"
    )]
    Schema {
        schema: &'static str,
        /// The newest migration of the schema in the dump.
        found: i64,
        /// The newest migration of this program.
        known: i64,
    },
    #[error("the dump is damaged: {0}")]
    Damaged(String),
    #[error("the dump is damaged: rows of table {table}: {reason}")]
    Rows { table: &'static str, reason: MalformedRows },
    #[error("the dump is damaged: the digest of table {0} differs from its rows")]
    Digest(&'static str),
    /// A table with different columns than in this program.
    #[error(
        "the dump has table {found}, where this version of rstudio-pm expects {expected}; use the version that wrote it"
    )]
    Table {
        /// The table of the dump.
        found: String,
        /// The next table of this program.
        expected: String,
    },
}

impl DumpError {
    pub(super) fn damaged(reason: impl Into<String>) -> DumpError {
        DumpError::Damaged(reason.into())
    }
}
