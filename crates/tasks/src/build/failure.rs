//! Failures of fetches and builds.

use std::time::Duration;

use builder::connection::JobError;
use builder::message::JobFailure;
use content::serve::RepoError;
use store::db::DbError;

/// A failure of a job, classified by the action that follows.
#[derive(Debug)]
pub(super) enum BuildFailure {
    /// Another attempt would fail too.
    Final(String),
    /// Another attempt may succeed.
    Temporary(String),
    /// The detected sandbox no longer exists. Another attempt may succeed in another sandbox.
    NoSandbox(String),
    /// The git server requests a pause of this duration.
    RetryAfter(String, Duration),
    /// The commit is not to be built. This is not an error: nothing is published for it.
    Skipped(String),
    /// The server is stopping, or another server has taken over the build: nothing is recorded.
    Interrupted,
}

impl BuildFailure {
    /// Returns the reason as one sentence.
    pub(super) fn reason(self) -> String {
        match self {
            BuildFailure::Final(reason)
            | BuildFailure::Temporary(reason)
            | BuildFailure::NoSandbox(reason)
            | BuildFailure::RetryAfter(reason, _)
            | BuildFailure::Skipped(reason) => reason,
            BuildFailure::Interrupted => "the server is stopping".to_owned(),
        }
    }

    /// Returns the pause that the git server requests.
    pub(super) fn pause(&self) -> Option<Duration> {
        match self {
            BuildFailure::RetryAfter(_, pause) => Some(*pause),
            BuildFailure::Final(_)
            | BuildFailure::Temporary(_)
            | BuildFailure::NoSandbox(_)
            | BuildFailure::Skipped(_)
            | BuildFailure::Interrupted => None,
        }
    }

    /// Appends notes that may explain a final failure to its reason.
    pub(super) fn with_notes(self, notes: &[String]) -> BuildFailure {
        match self {
            BuildFailure::Final(reason) if !notes.is_empty() => {
                BuildFailure::Final(format!("{reason}; {}", notes.join("; ")))
            }
            failure => failure,
        }
    }

    /// Converts a final failure to a temporary one, so that another attempt follows.
    pub(super) fn into_temporary(self) -> BuildFailure {
        match self {
            BuildFailure::Final(reason) => BuildFailure::Temporary(reason),
            failure => failure,
        }
    }

    /// Replaces the words "see the log" at the end of the reason with `log`, lines of the log.
    pub(super) fn with_log(self, log: &str) -> BuildFailure {
        self.map_reason(|reason| match reason.strip_suffix(": see the log") {
            Some(reason) if !log.is_empty() => format!("{reason}: {log}"),
            _ => reason,
        })
    }

    /// Appends a remedy to the reason, if there is one.
    pub(super) fn with_remedy(self, remedy: Option<String>) -> BuildFailure {
        match remedy {
            Some(remedy) => self.map_reason(|reason| format!("{reason}; {remedy}")),
            None => self,
        }
    }

    fn map_reason(self, change: impl FnOnce(String) -> String) -> BuildFailure {
        match self {
            BuildFailure::Final(reason) => BuildFailure::Final(change(reason)),
            BuildFailure::Temporary(reason) => BuildFailure::Temporary(change(reason)),
            BuildFailure::NoSandbox(reason) => BuildFailure::NoSandbox(change(reason)),
            BuildFailure::RetryAfter(reason, pause) => BuildFailure::RetryAfter(change(reason), pause),
            BuildFailure::Skipped(reason) => BuildFailure::Skipped(change(reason)),
            BuildFailure::Interrupted => BuildFailure::Interrupted,
        }
    }
}

impl From<JobFailure> for BuildFailure {
    fn from(failure: JobFailure) -> BuildFailure {
        if failure.cause.is_temporary() {
            BuildFailure::Temporary(failure.reason)
        } else {
            BuildFailure::Final(failure.reason)
        }
    }
}

impl From<JobError> for BuildFailure {
    fn from(error: JobError) -> BuildFailure {
        match error {
            JobError::Refused(_) | JobError::Message(_) => BuildFailure::Final(error.to_string()),
            JobError::Busy | JobError::Exit | JobError::Ended | JobError::Io(_) => {
                BuildFailure::Temporary(error.to_string())
            }
        }
    }
}

impl From<std::io::Error> for BuildFailure {
    fn from(error: std::io::Error) -> BuildFailure {
        BuildFailure::Temporary(error.to_string())
    }
}

impl From<RepoError> for BuildFailure {
    fn from(error: RepoError) -> BuildFailure {
        match error {
            RepoError::Db(DbError::SourceDeleted(_)) => BuildFailure::Final(error.to_string()),
            RepoError::Db(_) | RepoError::Storage(_) => BuildFailure::Temporary(error.to_string()),
            error => BuildFailure::Final(error.to_string()),
        }
    }
}

impl From<BuildFailure> for RepoError {
    fn from(failure: BuildFailure) -> RepoError {
        RepoError::Invalid(failure.reason())
    }
}
