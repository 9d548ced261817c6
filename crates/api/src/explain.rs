//! Explanation of which file a client gets, on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `GET /repos/{name}/explain`.
    #[derive(Args)]
    #[group(skip)]
    Explain {
        /// The package
        #[arg(required = true)]
        package: Option<String>,
        /// The requested version (default: the version in the index)
        #[arg(long)]
        version: Option<String>,
        /// The client's distribution, as after `__linux__/` in a URL (default: none, as in a URL without it)
        #[arg(long, value_name = "NAME")]
        distribution: Option<String>,
        /// The client's User-Agent header (default: none)
        #[arg(long, value_name = "TEXT")]
        user_agent: Option<String>,
        /// The snapshot: latest, a day (YYYY-MM-DD) or a transaction id
        #[arg(long, default_value = "latest", value_name = "SNAPSHOT")]
        date: Option<String>,
        /// The version of Bioconductor, in a Bioconductor repository (default: the current release)
        #[arg(long, value_name = "VERSION")]
        bioc_version as "bioconductor": Option<String>,
    }
}

/// The topic of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// The resolution of the snapshot.
    Snapshot,
    /// A subscribed source, in order of subscription.
    Source,
    /// The requested release.
    Release,
    /// The distribution.
    Distribution,
    /// The client, by its `User-Agent`.
    Client,
    /// The match between binaries and the requested platform.
    Match,
    /// A binary of the release.
    Binary,
    /// A file that may be served.
    File,
    /// The last build from git, if it failed; `rule` contains the end of its log.
    Build,
}

/// One decision in the resolution of a request to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    pub topic: Topic,
    /// Its subject: a source, a platform, a file.
    pub subject: String,
    /// The state of the subject.
    pub state: String,
    /// Whether the subject is selected.
    pub selected: bool,
    /// The rule applied; empty if there is none.
    pub rule: String,
}

/// The file that a client would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServedFile {
    pub source: String,
    /// The package.
    pub name: String,
    pub version: String,
    /// `current` or `archived`.
    pub class: String,
    /// `source` or `binary`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The platform of a binary: `4.5-noble`.
    pub platform: Option<String>,
    /// The path of its URL.
    pub url: String,
    /// Whether the file is in storage; otherwise it is fetched from upstream first.
    pub stored: bool,
    /// Size in bytes, where known.
    pub size: Option<u64>,
    /// SHA-256 of the bytes, where known.
    pub sha256: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The requested repository.
    pub repo: String,
    pub package: String,
    /// The decisions, in the order in which the server makes them for a request.
    pub decisions: Vec<Decision>,
    /// The file that the client would get; `null` if the request fails.
    pub file: Option<ServedFile>,
    /// The reason why the file is not a binary, as in the service log: `ua_error_…`, `match_error_…` or
    /// `service_error_…`.
    pub no_binary_reason: Option<String>,
    /// The result as a sentence.
    pub answer: String,
}
