//! Why a client gets what it gets: the way of a request for a package file, gone with the functions that serve it, and
//! told step by step. Nothing is fetched; servers that are asked for each build are asked.

mod builds;
mod sources;
mod words;

use super::file::Located;
use super::{Repo, RepoError};
use crate::model::snapshot::Snapshot;
use crate::r::bioconductor::Version;
use crate::r::platform::Platform;

/// What somebody asks for, in other words than a URL.
#[derive(Clone, Debug)]
pub struct Question {
    /// The repository, by name or number.
    pub repo: String,
    /// The package.
    pub package: String,
    /// Its version; the one that is listed when `None`.
    pub version: Option<String>,
    /// What state of the repository.
    pub snapshot: Snapshot,
    /// The distribution of the client; `None` for an address of source packages.
    pub distribution: Option<String>,
    /// The `User-Agent` of the client.
    pub agent: Option<Vec<u8>>,
    /// The version of Bioconductor, in a repository of that; its release when `None`.
    pub bioconductor: Option<Version>,
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// What the snapshot means.
    Snapshot,
    /// A subscribed source.
    Source,
    /// The release that is asked for.
    Release,
    /// The distribution.
    Distribution,
    /// The client.
    Client,
    /// Which builds fit.
    Match,
    /// A build of the release.
    Build,
    /// A file that may be served.
    File,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub about: About,
    /// Its name: a source, a platform, a file.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// True of what goes on to the next step.
    pub wins: bool,
    /// By which rule.
    pub rule: String,
}

/// What a client would get.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The file, if it gets one.
    pub file: Option<Given>,
    /// Why it is not the build that was wished for, or no file at all, in the words of the service log.
    pub failed: Option<&'static str>,
    /// All of it in a sentence.
    pub answer: String,
}

/// A file that is served.
#[derive(Clone, Debug)]
pub struct Given {
    /// The source it comes from.
    pub source: String,
    /// What it is.
    pub located: Located,
    /// What it is built for; `None` of a source package.
    pub platform: Option<Platform>,
    /// The path of its address.
    pub url: String,
}

/// The steps, and where they lead.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// In the order in which they are gone.
    pub steps: Vec<Step>,
    /// What the client would get.
    pub outcome: Outcome,
}

impl Repo {
    /// Tells what a client would get for a package, and by which rule at every step.
    ///
    /// # Errors
    /// [`RepoError::NotFound`] for an unknown repository, [`RepoError::Unresolved`] for a snapshot it does not have,
    /// [`RepoError::Invalid`] for an unknown distribution; the database.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, RepoError> {
        let mut steps = Vec::new();
        let outcome = match self.released(question, &mut steps).await? {
            Err(answer) => Outcome { file: None, failed: None, answer },
            Ok(release) => {
                let (known, located) = (self.vulnerabilities().await, &release.located);
                let found = known.of(located.tree.source, &located.package, &located.version);
                steps.extend(found.iter().map(words::vulnerable));
                self.built(question, &release, &mut steps).await?
            }
        };
        Ok(Explanation { steps, outcome })
    }
}
