//! Why a client gets what it gets, on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a step of an explanation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// What the snapshot means.
    Snapshot,
    /// A subscribed source; they come in order of subscription.
    Source,
    /// The release that is asked for.
    Release,
    /// The distribution.
    Distribution,
    /// The client, by its `User-Agent`.
    Client,
    /// Which builds fit.
    Match,
    /// A build of the release.
    Build,
    /// A file that may be served.
    File,
}

/// One step of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What it is about.
    pub about: About,
    /// Its name.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// True of what goes on to the next step.
    pub wins: bool,
    /// By which rule; empty when there is nothing to say.
    pub rule: String,
}

/// The file that a client would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Given {
    /// The source it comes from.
    pub source: String,
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `current` or `archived`.
    pub class: String,
    /// `source` or `binary`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What a build is for: `4.5-noble`.
    pub platform: Option<String>,
    /// The path of its address.
    pub url: String,
    /// False while it has to be fetched from upstream first.
    pub stored: bool,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// SHA-256 of the bytes, where known.
    pub sha256: Option<String>,
}

/// The answer to `GET /repos/{name}/explain?package=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The repository as it was named.
    pub repo: String,
    /// The package.
    pub package: String,
    /// In the order in which a request goes them.
    pub steps: Vec<Step>,
    /// What the client would get; null when that is an error.
    pub file: Option<Given>,
    /// Why it is no build, in the words of the service log: `ua_error_…`, `match_error_…`, `service_error_…`.
    pub failed: Option<String>,
    /// All of it in a sentence.
    pub answer: String,
}
