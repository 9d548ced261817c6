//! Digest of a table that does not depend on the order of its rows: the sum modulo 2^128 of a keyed hash of each row.

use sha2::{Digest, Sha256};

use store::db::{Conn, DbError, identity};

/// The key of the hashes. It is derived from the identity of the database, so that the digests of two dumps of a
/// database can be compared. Without a key, rows could be chosen so that their hashes add up to a known sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestKey(pub [u8; 32]);

impl DigestKey {
    /// Returns the key for the dumps of a database.
    pub fn of(c: &mut dyn Conn) -> Result<DigestKey, DbError> {
        let identity = identity::get(c)?.to_string();
        Ok(DigestKey(Sha256::digest([b"rows of ".as_slice(), identity.as_bytes()].concat()).into()))
    }
}

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
    keyed_hasher: Sha256,
    digest: RowDigest,
}

impl RowHasher {
    pub fn new(key: DigestKey) -> RowHasher {
        let mut block = [0; 64];
        block[..key.0.len()].copy_from_slice(&key.0);
        RowHasher { keyed_hasher: Sha256::new_with_prefix(block), digest: RowDigest::default() }
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
