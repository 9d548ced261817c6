//! The format of a dump: eight bytes of magic, the number of the format, and a zstd stream of frames. A frame is a tag,
//! the length of its content in four bytes, and the content. Numbers are big-endian; a name follows its length in one
//! byte.
//!
//! | tag | content |
//! |---|---|
//! | 1 | head: the key of the digests, the number of schemas, and the code and level of each |
//! | 2 | table: the code of its schema, its name, the number of columns, and the type and name of each |
//! | 3 | rows of that table: their number and the [encoded values](store::db::transfer::row) |
//! | 4 | end of the table: number of rows, bytes, sum of the row hashes, SHA-256 of all encoded rows |
//! | 5 | end: the number of tables |

pub mod reader;
pub mod writer;

use super::digest::{DigestKey, RowDigest};
use base::model::digest::Sha256;
use store::db::schema::Schema;
use store::db::transfer::row::{MalformedRows, RowBlock};
use store::db::transfer::tables::Table;

const MAGIC: &[u8; 8] = b"RSPMDUMP";
pub const FORMAT: u16 = 1;
/// Maximum length of the content of a frame, in bytes.
const MAX_FRAME: usize = RowBlock::MAX + 4;
/// Maximum size of the window of a zstd stream, as a power of two: 16 MB.
const MAX_WINDOW: u32 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Head = 1,
    Table = 2,
    Rows = 3,
    EndOfTable = 4,
    End = 5,
}

/// The beginning of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub key: DigestKey,
    /// The schemas, each with its newest migration.
    pub levels: Vec<(Schema, i64)>,
}

/// The properties of a table in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSummary {
    pub table: &'static Table,
    /// Number, size and digest of its rows.
    pub digest: RowDigest,
    /// SHA-256 of its encoded rows, in the order of the dump.
    pub sha256: Sha256,
}

const SCHEMAS: [(Schema, u8); 2] = [(Schema::Core, 1), (Schema::Usage, 2)];

fn schema_code(schema: Schema) -> u8 {
    SCHEMAS.iter().find(|(known, _)| *known == schema).map_or(0, |(_, code)| *code)
}

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
    fn damaged(reason: impl Into<String>) -> DumpError {
        DumpError::Damaged(reason.into())
    }
}
