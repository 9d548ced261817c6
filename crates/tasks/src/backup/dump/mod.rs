//! The format of a dump: eight bytes of magic, the format's number, and a zstd stream of frames. A frame is a tag, the
//! length of its content in four bytes, and the content. Numbers are big-endian; a name follows its length in one byte.
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

use sha2::Digest;

use base::model::digest::Sha256;
use store::db::schema::Schema;
use store::db::transfer::row::{MalformedRows, RowBlock};
use store::db::transfer::tables::Table;
use store::db::{Conn, DbError, identity};

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub key: DigestKey,
    /// The schemas, each with its newest migration.
    pub levels: Vec<(Schema, i64)>,
}

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
    Format { found: u16, known: u16 },
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
    #[error(
        "the dump has table {found}, where this version of rstudio-pm expects {expected}; use the version that wrote it"
    )]
    Table {
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

/// The key of the hashes of a [`RowDigest`], derived from the identity of the database, so that two dumps can be compared.
/// Without a key, rows could be chosen so that their hashes add up to a known sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestKey(pub [u8; 32]);

impl DigestKey {
    pub fn of(c: &mut dyn Conn) -> Result<DigestKey, DbError> {
        Ok(DigestKey(Sha256::of(format!("rows of {}", identity::get(c)?)).0))
    }
}

/// Digest of a table that does not depend on the order of its rows: the sum modulo 2^128 of a keyed hash of each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowDigest {
    pub rows: u64,
    /// Size of the encoded rows, in bytes.
    pub bytes: u64,
    pub sum: u128,
}

impl std::fmt::Display for RowDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

#[derive(Clone)]
pub struct RowHasher {
    /// A hasher that has processed the key, padded to a whole block.
    keyed_hasher: sha2::Sha256,
    digest: RowDigest,
}

impl RowHasher {
    pub fn new(key: DigestKey) -> RowHasher {
        let mut block = [0; 64];
        block[..key.0.len()].copy_from_slice(&key.0);
        RowHasher { keyed_hasher: sha2::Sha256::new_with_prefix(block), digest: RowDigest::default() }
    }

    pub fn add(&mut self, row: &[u8]) {
        let hash: [u8; 32] = self.keyed_hasher.clone().chain_update(row).finalize().into();
        let (half, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        self.digest.sum = self.digest.sum.wrapping_add(u128::from_be_bytes(*half));
        self.digest.rows += 1;
        self.digest.bytes += row.len() as u64;
    }

    pub fn digest(&self) -> RowDigest {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: u8, rows: &[&str]) -> RowDigest {
        let mut hasher = RowHasher::new(DigestKey([key; 32]));
        rows.iter().for_each(|row| hasher.add(row.as_bytes()));
        hasher.digest()
    }

    #[test]
    fn only_the_order_of_rows_is_irrelevant() {
        let all = digest(1, &["a", "bc", "a"]);
        assert_eq!(all, digest(1, &["bc", "a", "a"]));
        assert_eq!((all.rows, all.bytes), (3, 4));
        for other in [
            digest(2, &["a", "bc", "a"]),
            digest(1, &["a", "b", "ca"]),
            digest(1, &["a", "bc", "bc"]),
            digest(1, &["bc"]),
        ] {
            assert_ne!(all.sum, other.sum);
        }
    }
}
