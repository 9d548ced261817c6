//! The table `upstream`: validators of upstream responses by URL, for conditional requests; and under keys that are not
//! URLs, the current rules, stored advisories, and failed jobs. And Bioconductor's `config.yaml`.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

/// Key of the row for the current rules for system requirements. `etag` is the address from which they were fetched,
/// `sha256` the digest of the stored document.
pub const RULES: &str = "sysreqs:rules";

/// Prefix of the keys of stored advisories, before their address. `sha256` is that of the stored document.
pub const ADVISORIES: &str = "vulns:";

/// Prefix of the keys of jobs that failed and have not succeeded since, before the key of the job. `fetched_at` is the
/// time of the first failure.
pub const FAILED_JOBS: &str = "failed:";

row! {
    /// A row: the validators and the digest of a response. In the rows of rules, advisories and failed jobs, the fields
    /// have the meaning stated with their keys.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredValidators from "upstream" {
        /// `ETag`, as sent.
        pub etag: Option<String>,
        /// `Last-Modified`, as sent.
        pub modified: Option<String>,
        pub sha256: Sha256,
        pub fetched_at: Timestamp,
    }
}

impl StoredValidators {
    /// Creates the row that records a successful sync from a mirror. Its address is stored as `etag`.
    pub fn success(mirror_address: String, fetched_at: Timestamp) -> StoredValidators {
        StoredValidators { etag: Some(mirror_address), modified: None, sha256: Sha256([0; 32]), fetched_at }
    }

    /// Returns the address of the mirror in a row that [`StoredValidators::success`] created.
    pub fn mirror_address(&self) -> Option<&str> {
        self.etag.as_deref()
    }
}

/// Returns the row of a key; `None` if there is none. The key is a URL without userinfo, or one of those above.
pub fn get(c: &mut dyn Conn, key: &str) -> Result<Option<StoredValidators>, DbError> {
    const GET: &str = select!(StoredValidators, "WHERE url = $1");
    c.first(GET, &[key.into()])
}

/// Returns the rows of stored advisories by address, without the prefix [`ADVISORIES`].
pub fn advisories(c: &mut dyn Conn) -> Result<Vec<(String, StoredValidators)>, DbError> {
    const ALL: &str = "SELECT url, etag, modified, sha256, fetched_at FROM upstream \
        WHERE SUBSTR(url, 1, 6) = 'vulns:' ORDER BY url";
    let decode = |row: super::Row| {
        let (url, validators): (String, StoredValidators) = row.decode()?;
        Ok((url.strip_prefix(ADVISORIES).unwrap_or(&url).to_owned(), validators))
    };
    c.query(ALL, &[])?.into_iter().map(decode).collect()
}

/// Returns the keys of the jobs that failed and have not succeeded since, each with the time of the first failure.
pub fn failures(c: &mut dyn Conn) -> Result<Vec<(String, Timestamp)>, DbError> {
    const ALL: &str = "SELECT url, fetched_at FROM upstream WHERE SUBSTR(url, 1, 7) = 'failed:' ORDER BY url";
    let decode = |row: super::Row| {
        let (url, at): (String, Timestamp) = row.decode()?;
        Ok((url.strip_prefix(FAILED_JOBS).unwrap_or(&url).to_owned(), at))
    };
    c.query(ALL, &[])?.into_iter().map(decode).collect()
}

/// Writes the row of a key. Validators must be written in the transaction that publishes the response's changes:
/// otherwise a crash between the two would skip these changes.
pub fn put(c: &mut dyn Conn, key: &str, validators: &StoredValidators) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO upstream (url, etag, modified, sha256, fetched_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (url) DO UPDATE SET etag = excluded.etag, modified = excluded.modified, sha256 = excluded.sha256, \
        fetched_at = excluded.fetched_at";
    let etag = Value::opt_text(validators.etag.as_ref());
    let modified = Value::opt_text(validators.modified.as_ref());
    let params =
        [key.into(), etag, modified, validators.sha256.to_string().into(), validators.fetched_at.into()];
    c.execute(PUT, &params).map(drop)
}

/// Deletes the row of a key, so that the next request for this URL is unconditional.
pub fn delete(c: &mut dyn Conn, key: &str) -> Result<(), DbError> {
    c.execute("DELETE FROM upstream WHERE url = $1", &[key.into()]).map(drop)
}

/// Returns the `config.yaml` of Bioconductor's mirror, which lists its versions; `None` before the first sync.
pub fn bioconductor_config(c: &mut dyn Conn) -> Result<Option<String>, DbError> {
    const CONFIG: &str = "SELECT config FROM bioconductor WHERE id = 1";
    c.first(CONFIG, &[])
}

/// Replaces the text of `config.yaml`. Call `clock::bump_catalog` afterwards.
pub fn set_bioconductor_config(c: &mut dyn Conn, config: &str) -> Result<(), DbError> {
    const SET_CONFIG: &str = "INSERT INTO bioconductor (id, config) VALUES (1, $1) \
        ON CONFLICT (id) DO UPDATE SET config = excluded.config";
    c.execute(SET_CONFIG, &[config.into()]).map(drop)
}
