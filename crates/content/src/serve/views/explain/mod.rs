//! Explains which file a client gets for a package and why, with the functions that serve it. Only servers
//! that negotiate binaries are queried, and the page of a project is read as for a client.

mod binaries;
mod index;
mod project;
mod rules;
mod sentences;
mod sources;

use super::vulnerabilities;
use crate::serve::files::located::LocatedFile;
use crate::serve::{RepoError, Repositories, find};
use base::model::ids::SourceId;
use base::model::kind::Layout;
use base::model::snapshot::Snapshot;
use formats::r::bioconductor::BioconductorVersion;
use formats::r::platform::Platform;
use runtime::catalog::Catalog;

/// The request to explain, as separate fields.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The repository, by name or number.
    pub repo: String,
    pub package: String,
    /// The version; `None` for the listed version.
    pub version: Option<String>,
    pub snapshot: Snapshot,
    /// The distribution of the client; `None` for an address of source packages.
    pub distribution: Option<String>,
    pub agent: Option<Vec<u8>>,
    /// The version of Bioconductor, in a Bioconductor repository; `None` for the default version.
    pub bioconductor: Option<BioconductorVersion>,
    /// The sources that are not named, because the client may not know their names.
    pub unnamed: Vec<SourceId>,
    /// Whether errors are described with paths of this machine and addresses of other servers.
    pub with_details: bool,
}

impl ExplainRequest {
    fn describe(&self, error: &RepoError) -> String {
        if self.with_details { error.to_string() } else { error.phrase() }
    }

    fn source_name(&self, catalog: &Catalog, id: SourceId) -> String {
        match catalog.source_by_id(id) {
            Some(_) if self.unnamed.contains(&id) => {
                "a source that is only in authenticated repositories now".to_owned()
            }
            Some(source) => source.name.to_string(),
            None => format!("source {id}, which was deleted"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Snapshot,
    Source,
    Release,
    Distribution,
    Client,
    /// The platform that fits the client.
    Match,
    Binary,
    /// A file that may be served.
    File,
}

/// One decision between a request and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub topic: Topic,
    /// Its subject: a source, a platform, a file.
    pub subject: String,
    pub state: String,
    pub is_selected: bool,
    /// The rule applied; empty if there is none.
    pub rule: String,
}

#[derive(Clone, Debug)]
pub struct ExplainResult {
    /// The file, if the client gets one.
    pub file: Option<ServedFile>,
    /// The reason why the file is not the binary that fits, or why there is no file: the error name of the service log.
    pub no_binary_reason: Option<&'static str>,
    pub answer: String,
}

#[derive(Clone, Debug)]
pub struct ServedFile {
    pub source: String,
    pub located: LocatedFile,
    /// The platform of a binary; `None` for a source package.
    pub platform: Option<Platform>,
    pub url: String,
}

#[derive(Clone, Debug)]
pub struct Explanation {
    pub decisions: Vec<Decision>,
    pub result: ExplainResult,
}

/// Explains the file that a client gets for a package, with the rule of every decision.
pub async fn explain(
    repositories: &Repositories,
    request: &ExplainRequest,
) -> Result<Explanation, RepoError> {
    let mut decisions = Vec::new();
    let layout = find::repo(&repositories.state.catalog.get(), &request.repo)?.kind.layout();
    let result = match layout {
        Layout::Lists => explain_package(repositories, request, &mut decisions).await?,
        Layout::Projects => project::explain_project(repositories, request, &mut decisions).await?,
    };
    Ok(Explanation { decisions, result })
}

async fn explain_package(
    repositories: &Repositories,
    request: &ExplainRequest,
    decisions: &mut Vec<Decision>,
) -> Result<ExplainResult, RepoError> {
    match sources::explain_release(repositories, request, decisions).await? {
        Err(answer) => Ok(ExplainResult { file: None, no_binary_reason: None, answer }),
        Ok(release) => {
            let (advisories, located) =
                (vulnerabilities::current(&repositories.state).await, &release.located);
            let findings = advisories.of(located.tree.source, &located.package, &located.version);
            decisions.extend(findings.iter().map(sentences::advisory));
            binaries::explain_file(repositories, request, &release, decisions).await
        }
    }
}
