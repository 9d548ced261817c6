//! What can go wrong with a repository, by what the client is told.

use crate::catalog::resolve::Unresolved;
use crate::db::DbError;
use crate::storage::StorageError;
use crate::upstream::UpstreamError;

/// An error of the repo room.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// No such thing: what kind, its name, and what to do.
    #[error("{0}")]
    NotFound(String),
    /// Nothing has that name.
    #[error("{what}; {hint}")]
    Unknown {
        /// What kind of thing, and the name.
        what: String,
        /// How an administrator finds the names there are.
        hint: &'static str,
    },
    /// No such upload here.
    #[error("there is no upload {0}; uploads wait for an hour: upload the file again")]
    NoUpload(u64),
    /// The snapshot means nothing here.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// The request contradicts what is there (exists already, still subscribed, …) and the way out.
    #[error("{0}")]
    Conflict(String),
    /// The request or the package is not acceptable, and why.
    #[error("{0}")]
    Invalid(String),
    /// Nothing is known about what packages need there.
    #[error("nothing is known of the system requirements of {distribution} {release}")]
    Unsupported {
        /// As asked.
        distribution: String,
        /// As asked.
        release: String,
        /// What can be asked for, `ubuntu 22.04`.
        known: Vec<String>,
    },
    /// The rules of system requirements were never fetched.
    #[error(
        "no system requirements rules are there yet; `rspm sync --type=sysreqs` fetches them, or its schedule does"
    )]
    NoRules,
    /// The mirror could not give the file now.
    #[error("the package could not be fetched from upstream: {source}")]
    Upstream {
        /// Why.
        #[source]
        source: UpstreamError,
        /// Seconds after which trying again makes sense.
        retry_after: u64,
    },
    /// What is stored is not what was stored.
    #[error(
        "the stored bytes of {file} are not those of its record: {why}; what no mirror has is stored again by rspm add \
         --replace"
    )]
    Damaged {
        /// The file's name.
        file: String,
        /// What differs, and where it is stored.
        why: String,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
