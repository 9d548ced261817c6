//! Explains step by step what a client gets for a package, by running the functions that serve it. Nothing is
//! fetched; servers that negotiate binaries are queried.

mod binaries;
mod sentences;
mod sources;

use super::located::Located;
use super::{RepoError, Repositories};
use crate::model::snapshot::Snapshot;
use crate::r::bioconductor::Version;
use crate::r::platform::Platform;
use crate::serve::vulnerabilities;

/// A request for a package, as separate fields.
#[derive(Clone, Debug)]
pub struct Question {
    /// The repository, by name or number.
    pub repo: String,
    /// The package.
    pub package: String,
    /// Its version; the listed one when `None`.
    pub version: Option<String>,
    /// The snapshot of the repository.
    pub snapshot: Snapshot,
    /// The distribution of the client; `None` for an address of source packages.
    pub distribution: Option<String>,
    /// The `User-Agent` of the client.
    pub agent: Option<Vec<u8>>,
    /// The version of Bioconductor, in a Bioconductor repository; its release when `None`.
    pub bioconductor: Option<Version>,
}

/// The topic of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The resolved snapshot.
    Snapshot,
    /// A subscribed source.
    Source,
    /// The requested release.
    Release,
    /// The distribution.
    Distribution,
    /// The client.
    Client,
    /// The platform that fits the client.
    Match,
    /// A binary of the release.
    Binary,
    /// A file that may be served.
    File,
}

/// One step of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its topic.
    pub topic: Topic,
    /// Its subject: a source, a platform, a file.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// True when it is selected for the next step.
    pub is_selected: bool,
    /// The rule that decided.
    pub rule: String,
}

/// What a client would get.
#[derive(Clone, Debug)]
pub struct ExplainResult {
    /// The file, if the client gets one.
    pub file: Option<ServedFile>,
    /// Why it is not the binary that fits, or no file at all: the error name of the service log.
    pub failed: Option<&'static str>,
    /// The result in one sentence.
    pub answer: String,
}

/// A file that a client gets.
#[derive(Clone, Debug)]
pub struct ServedFile {
    /// The source it comes from.
    pub source: String,
    /// The located file.
    pub located: Located,
    /// The platform of a binary; `None` for a source package.
    pub platform: Option<Platform>,
    /// The path of its URL.
    pub url: String,
}

/// The steps and their result.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What the client would get.
    pub outcome: ExplainResult,
}

/// Explains what a client would get for a package, and the rule of every step.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown repository, [`RepoError::Unresolved`] for a snapshot it does not have,
/// [`RepoError::Invalid`] for an unknown distribution; the database.
pub async fn explain(repositories: &Repositories, question: &Question) -> Result<Explanation, RepoError> {
    let mut steps = Vec::new();
    let outcome = match sources::explain_release(repositories, question, &mut steps).await? {
        Err(answer) => ExplainResult { file: None, failed: None, answer },
        Ok(release) => {
            let (advisories, located) =
                (vulnerabilities::current(&repositories.state).await, &release.located);
            let found = advisories.of(located.tree.source, &located.package, &located.version);
            steps.extend(found.iter().map(sentences::advisory_step));
            binaries::explain_file(repositories, question, &release, &mut steps).await?
        }
    };
    Ok(Explanation { steps, outcome })
}
