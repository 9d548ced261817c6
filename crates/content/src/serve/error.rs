//! Errors of serving, editing and upkeep, grouped by how the client must react.

use tokio::task::JoinHandle;

use crate::index::PageError;
use base::model::digest::Sha256;
use runtime::catalog::resolve::Unresolved;
use store::db::{DbError, WriteError};
use store::storage::StorageError;
use upstream::UpstreamError;

/// The existing file of a project that has the name of a new file, or stands for the same distribution.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct ExistingFile {
    pub source_name: String,
    pub file: String,
    pub new_file: String,
    pub sha256: Sha256,
    /// Whether the source lists it; otherwise it was removed.
    pub is_listed: bool,
}

impl ExistingFile {
    fn text(&self) -> String {
        let ExistingFile { source_name: source, file, new_file, sha256, is_listed } = self;
        let is_same_name = file == new_file;
        match (*is_listed, is_same_name) {
            (true, true) => format!(
                "'{file}' is in the source '{source}' already, with other bytes (SHA-256 {sha256}); build a new version, \
                 use --replace to replace it with this file, or --succeed-on-existing to leave it"
            ),
            (true, false) => format!(
                "the source '{source}' has '{file}' already (SHA-256 {sha256}), which stands for the same distribution as \
                 '{new_file}'; build a new version, use --replace to replace it with this file, or --succeed-on-existing to \
                 leave it"
            ),
            (false, true) => format!(
                "the source '{source}' had a file '{file}' with other bytes (SHA-256 {sha256}), which lock files may \
                 contain; build a new version, or use --replace to add this file"
            ),
            (false, false) => format!(
                "the source '{source}' had a file '{file}' (SHA-256 {sha256}), which stands for the same distribution as \
                 '{new_file}', and lock files may contain it; build a new version, or use --replace to add this file"
            ),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct BlockedRelease {
    pub package: String,
    pub version: String,
    pub rule: i64,
    /// Whether the rule is about vulnerabilities.
    pub needs_advisories: bool,
    /// The rule and the facts that it matches: `rule 7 (no copyleft; license AGPL-3)`.
    pub reason: String,
    pub allowed: Option<AllowedVersion>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedVersion {
    pub version: String,
    /// Whether the index lists it. An archived version whose record was never read is not listed.
    pub is_listed: bool,
}

impl BlockedRelease {
    fn text(&self) -> String {
        let BlockedRelease { package, version, reason, allowed, .. } = self;
        let rest = match allowed {
            Some(AllowedVersion { version, is_listed: true }) => {
                format!("the highest allowed version is {version}")
            }
            Some(AllowedVersion { version, is_listed: false }) => {
                format!("the highest allowed version is {version}, which only the archive has")
            }
            None => "no version of the package is allowed".to_owned(),
        };
        format!("{package} {version} is blocked in this repository by {reason}; {rest}")
    }
}

/// Only one source may provide the name, and the repository does not have the package from that source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name '{package}' is guarded here by {reason}: only one source may provide it, and the requested package is not from \
     there"
)]
pub struct GuardedName {
    pub package: String,
    /// The guard: `name guard 7`.
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    #[error("{0}")]
    NotFound(String),
    #[error("{message}; {hint}")]
    Unknown { message: String, hint: &'static str },
    #[error("there is no upload {0}; uploads expire after one hour: upload the file again")]
    NoUpload(u64),
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    #[error(transparent)]
    Blocked(#[from] Box<BlockedRelease>),
    #[error(transparent)]
    Guarded(#[from] Box<GuardedName>),
    /// The request conflicts with the current state (already exists, still subscribed, …), with the remedy.
    #[error("{0}")]
    Conflict(String),
    #[error("the token lacks the scope global:admin: {0}")]
    AdministratorOnly(String),
    /// A source has, or had, different bytes under the name of a new file.
    #[error(transparent)]
    FileExists(#[from] Box<ExistingFile>),
    #[error("{0}")]
    Invalid(String),
    #[error("the system requirements of {distribution} {release} are not known")]
    Unsupported {
        distribution: String,
        /// Its release, as in the request.
        release: String,
        /// Such as `ubuntu 22.04`, all of them.
        supported: Vec<String>,
    },
    #[error(
        "the rules for system requirements have not been fetched yet; the schedule or `rspm sync --type=sysreqs` fetches them"
    )]
    NoRules,
    /// The memory for indexes is used up by responses that clients still read, or too many requests wait.
    #[error("the server is busy with other requests of this kind; repeat the request later")]
    Busy {
        /// Seconds after which a retry makes sense.
        retry_after: u64,
    },
    /// The state to which the request refers changed during the request, which the client should repeat.
    #[error("{0}")]
    Superseded(String),
    #[error("could not fetch the package from upstream: {source}")]
    Upstream {
        #[source]
        source: UpstreamError,
        retry_after: u64,
    },
    #[error(
        "the stored bytes of {file} do not match its record: {reason}; if no mirror has the file, store it again with rspm \
        add --replace, or a binary with rspm add binary --replace"
    )]
    Damaged { file: String, reason: String },
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RepoError {
    /// Returns whether a mirror did not answer, so that a later attempt may succeed.
    pub fn may_succeed_later(&self) -> bool {
        matches!(self, RepoError::Upstream { source: UpstreamError::Unavailable { .. }, .. })
    }

    /// Returns the error for a client that is no administrator: without local paths and addresses of other servers.
    pub fn phrase(&self) -> String {
        let phrase = match self {
            RepoError::Upstream { source: UpstreamError::Missing(_), .. } => {
                "the upstream repository no longer has this file"
            }
            RepoError::Upstream { source: UpstreamError::Unavailable { .. }, .. } => {
                "the upstream repository is unavailable"
            }
            RepoError::Upstream { source: UpstreamError::Refused { .. }, .. } => {
                "the upstream repository sent an address, a page or a file that cannot be used, such as other bytes than \
                 its index declares; the server log states the reason"
            }
            RepoError::Damaged { .. } => {
                "the stored copy of this file is damaged, and no mirror has it; the server log has the details"
            }
            RepoError::Db(DbError::Full { .. }) | RepoError::Storage(StorageError::Full(_)) => {
                "the server has no space left"
            }
            RepoError::Db(
                DbError::Nul(_)
                | DbError::Busy { .. }
                | DbError::Conflict(_)
                | DbError::NoRepo(_)
                | DbError::SourceDeleted(_)
                | DbError::Skew(_)
                | DbError::ClockAhead { .. },
            )
            | RepoError::Storage(StorageError::Refused { .. }) => return self.to_string(),
            RepoError::Db(_) => "the database is unavailable",
            RepoError::Storage(_) => "the storage is unavailable",
            RepoError::NotFound(_)
            | RepoError::Unknown { .. }
            | RepoError::NoUpload(_)
            | RepoError::Blocked(_)
            | RepoError::Guarded(_)
            | RepoError::Unresolved(_)
            | RepoError::Conflict(_)
            | RepoError::AdministratorOnly(_)
            | RepoError::FileExists(_)
            | RepoError::Invalid(_)
            | RepoError::Unsupported { .. }
            | RepoError::NoRules
            | RepoError::Superseded(_)
            | RepoError::Busy { .. } => return self.to_string(),
        };
        phrase.to_owned()
    }
}

impl From<RepoError> for WriteError<RepoError> {
    fn from(refusal: RepoError) -> WriteError<RepoError> {
        WriteError::Refused(refusal)
    }
}

impl From<WriteError<RepoError>> for RepoError {
    fn from(error: WriteError<RepoError>) -> RepoError {
        match error {
            WriteError::Db(error) => error.into(),
            WriteError::Refused(refusal) => refusal,
        }
    }
}

impl From<PageError> for RepoError {
    fn from(error: PageError) -> RepoError {
        match error {
            PageError::Missing(reason) => RepoError::NotFound(reason),
            PageError::NoPage { project, .. } => {
                RepoError::NotFound(format!("the index lists the project '{project}', but has no page of it"))
            }
            PageError::Unlisted(_) => RepoError::NotFound(error.to_string()),
            PageError::Guarded(_) | PageError::ClockRepaired => RepoError::Superseded(error.to_string()),
            PageError::Busy => RepoError::Busy { retry_after: 5 },
            PageError::Upstream(source) => RepoError::Upstream { source, retry_after: 30 },
            PageError::Failed(reason) => RepoError::Storage(StorageError::Other(reason)),
        }
    }
}

/// Runs work that needs milliseconds or more outside the async threads. A panic of the work continues in the caller.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StorageError> {
    join(tokio::task::spawn_blocking(work)).await
}

/// Returns the result of a task. A panic of the task continues in the caller.
pub(super) async fn join<T>(task: JoinHandle<T>) -> Result<T, StorageError> {
    match task.await {
        Ok(result) => Ok(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(stopping()),
    }
}

pub fn stopping() -> StorageError {
    StorageError::Other("the server is stopping".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_work_continues_in_the_caller() {
        let caller = tokio::spawn(run_blocking(|| -> u8 { panic!("broken") }));
        let panic = caller.await.expect_err("a panic").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"broken"));
    }
}
