//! Builders of git repositories, builds and credentials.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::SuggestedValues;
use crate::query::query;
use base::model::recorded_words::BuildState;

query! {
    /// The query of `GET /git-builders`.
    #[derive(Args)]
    ListGitBuilders {
        /// Only builders of this source
        #[arg(long)]
        source: Option<String>,
    }
}

query! {
    /// The query of `GET /git-builds`.
    #[derive(Args)]
    ListGitBuilds {
        /// Only builds of this source
        #[arg(long)]
        source: Option<String>,
        /// Only builds of this package
        #[arg(long)]
        name: Option<String>,
        /// Number of builds per page
        #[arg(long, default_value = "100", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
        count: Option<usize>,
        /// Page number, from 1
        #[arg(long, default_value = "1", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
        page: Option<usize>,
    }
}

query! {
    /// The query of `GET /git-builds/{id}/log`.
    ReadGitBuildLog {
        /// The byte with which the part begins
        offset: Option<usize>,
    }
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct CreateGitBuilder {
    /// URL of the repository.
    #[arg(
        long,
        help = "URL of the repository: https://…, http://…, ssh://…, user@host:path, or file:///… below Git.LocalPaths"
    )]
    pub url: String,
    /// The branch; empty for the default branch.
    #[serde(default)]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        help = "The branch (default: the default branch of the repository)"
    )]
    pub branch: String,
    /// `commits` or `tags`.
    #[serde(default = "default_build_trigger")]
    #[arg(long, default_value = "commits", value_name = "TRIGGER", value_parser = SuggestedValues(&["commits", "tags"]), help = "Objects to build: the newest commit of the branch, or all tags")]
    pub build_trigger: String,
    /// Build all existing tags, not only the highest ones.
    #[serde(default)]
    #[arg(long, help = "Build all existing tags, not only the highest ones (Git.FirstTags)")]
    pub all_tags: bool,
    /// Relative path of the package.
    #[serde(default)]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "DIR",
        help = "Directory of the package in the repository"
    )]
    pub sub_dir: String,
    /// Number of commits to fetch; 0 for the full history.
    #[serde(default = "default_clone_depth")]
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub clone_depth: u32,
    /// Number of levels of submodules to fetch.
    #[serde(default)]
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=16), help = "Levels of submodules to fetch")]
    pub recurse_submodules: u32,
    /// Build the vignettes of an R package.
    #[serde(default)]
    #[arg(long, help = "Build the vignettes of an R package, with the packages that they need")]
    pub vignettes: bool,
    /// Name of a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "NAME", help = "Name of an SSH key or an HTTPS credential")]
    pub credential: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub webhook_secret: Option<String>,
    /// The package; read from the repository if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "The package (default: the name in DESCRIPTION; required for Python packages)")]
    pub name: Option<String>,
}

fn default_build_trigger() -> String {
    "commits".to_owned()
}

fn default_clone_depth() -> u32 {
    1
}

/// `PATCH /sources/{name}/git-builders/{builder}`; absent fields are not changed.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct EditGitBuilder {
    /// URL of the repository, with the same scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long = "new-url", value_name = "URL", help = "New URL of the repository, with the same scheme")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long = "new-branch", value_name = "BRANCH", help = "New branch")]
    pub branch: Option<String>,
    /// Name of a credential; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long = "new-credential",
        value_name = "NAME",
        conflicts_with = "remove_credential",
        help = "Name of another credential"
    )]
    pub credential: Option<String>,
    /// Secret of webhooks; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub webhook_secret: Option<String>,
    /// Relative path of the package; empty for the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long = "new-sub-dir",
        value_name = "DIR",
        conflicts_with = "remove_sub_dir",
        help = "New directory of the package in the repository"
    )]
    pub sub_dir: Option<String>,
    /// Number of levels of submodules to fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=16), help = "Levels of submodules to fetch")]
    pub recurse_submodules: Option<u32>,
    /// Build the vignettes of an R package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub vignettes: Option<bool>,
    /// Number of commits to fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "N", help = "Number of commits to fetch; 0 for the full history")]
    pub clone_depth: Option<u32>,
    /// Accept the SSH host key that the host sends now, instead of the recorded one.
    #[serde(default)]
    #[arg(long)]
    pub accept_host_key: bool,
}

/// A builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitBuilder {
    /// Its id, which is part of the address for webhooks.
    pub id: i64,
    /// The package that it builds.
    pub name: String,
    /// The source to which it publishes.
    pub source: String,
    /// URL of the repository.
    pub url: String,
    /// The branch; empty for the default branch.
    pub branch: String,
    /// `commits` or `tags`.
    pub build_trigger: String,
    /// Relative path of the package.
    pub sub_dir: String,
    /// Number of commits that are fetched; 0 for the full history.
    pub clone_depth: u32,
    /// Number of levels of submodules that are fetched.
    pub recurse_submodules: u32,
    /// Whether vignettes are built.
    #[serde(default)]
    pub vignettes: bool,
    /// Name of its credential.
    pub credential: Option<String>,
    /// Whether it accepts webhooks.
    pub webhook: bool,
    /// Time of the last poll that succeeded, RFC 3339.
    pub polled: Option<String>,
    /// Why the last poll failed; empty if it succeeded.
    pub error: String,
    /// Its newest build.
    pub last_build: Option<GitBuild>,
    /// Fingerprints of SSH host keys that this request accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_host_keys: Vec<String>,
}

/// A builder and the builds that a request put in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitPoll {
    pub builder: GitBuilder,
    /// Summary for display: the new builds, or that there are none.
    pub message: String,
    /// Ids of the builds in the queue.
    pub builds: Vec<i64>,
}

/// `POST /sources/{name}/git-builders/{builder}/rerun`: runs the build of a tag or a commit again; without either, the
/// newest build.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct RerunGitBuilder {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, conflicts_with = "commit", help = "The tag (default: the newest build)")]
    pub tag: Option<String>,
    /// A commit, or at least seven of its digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long = "commit-sha", value_name = "COMMIT", help = "The commit, or at least seven of its digits")]
    pub commit: Option<String>,
    /// Replace the version in the source if it exists.
    #[serde(default)]
    #[arg(long, help = "Build even if the version is published, and replace it (its checksum changes)")]
    pub replace: bool,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitBuild {
    pub id: i64,
    pub builder: String,
    /// The tag; empty for a commit of the branch.
    pub tag: String,
    pub commit: String,
    /// `queued`, `fetching`, `building`, `published`, `failed`, `skipped`, or `moved` for a tag that names another
    /// commit than the one that was built.
    #[schema(value_type = String)]
    pub state: BuildState,
    /// Whether the state is final.
    pub ended: bool,
    /// Number of attempts that were started.
    pub attempt: i64,
    /// The transaction that published its result; it also identifies the log.
    pub transaction: Option<i64>,
    /// The published version; empty until it is published.
    pub version: String,
    /// Why it failed, or a remark.
    pub reason: String,
    /// The user or trigger that requested it.
    pub actor: String,
    /// Start of the last attempt, RFC 3339.
    pub started_at: Option<String>,
    /// End of the build, RFC 3339; absent until then.
    pub ended_at: Option<String>,
}

/// Response to `GET /repos/{repo}/packages/{name}/binaries/logs` for a package that is built from git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitBuildSummary {
    /// The package.
    pub name: String,
    /// The published version; empty for a build that failed.
    pub version: String,
    /// `published` or `failed`.
    #[schema(value_type = String)]
    pub state: BuildState,
    pub commit: String,
    /// The tag; empty for a commit of a branch.
    pub tag: String,
    /// End time, RFC 3339.
    pub ended_at: Option<String>,
    /// Why it failed, or a remark.
    pub reason: String,
    /// The last 20 lines of the log.
    pub log: String,
}

/// A part of the log of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitBuildLog {
    /// The text from the offset of the request.
    pub text: String,
    /// The offset of the next part.
    pub next: u64,
    /// Whether the build has ended and this is the last part.
    pub end: bool,
}

/// `POST /git-credentials` and `PATCH /git-credentials/{type}/{name}`; `PATCH` does not change absent fields.
// The flags are those of `rspm import https-credential`.
#[derive(Args, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct ImportGitCredential {
    /// `https` or `ssh`.
    #[serde(rename = "type", default)]
    #[arg(skip)]
    pub kind: String,
    #[serde(default)]
    #[arg(long, help = "Name of the credential")]
    pub name: String,
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, required = true)]
    pub username: Option<String>,
    /// Password or token, plain or encrypted with the server's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        hide_env_values = true,
        help = "Password or token, plain (visible in the process list) or encrypted with rspm encrypt (default: prompt or standard input)"
    )]
    pub password: Option<String>,
    /// A private key for SSH, in the format of OpenSSH or OpenSSL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub private_key: Option<String>,
    /// The passphrase of the private key, which is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub passphrase: Option<String>,
    /// Accepted SSH host keys, in the format of `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(skip)]
    pub known_hosts: Option<String>,
    /// The only host to which the credential is sent; if empty, the host in the URL of each builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        help = "The only host for which the credential is used, such as git.example.com or git.example.com:8443"
    )]
    pub host: Option<String>,
    /// Treat an existing credential with this name as success.
    #[serde(default)]
    #[arg(long, help = "Succeed when a credential of this name exists, and leave it unchanged")]
    pub succeed_on_existing: bool,
}

// SECURITY: the output omits the secrets.
impl std::fmt::Debug for ImportGitCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportGitCredential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A credential, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitCredential {
    /// `https` or `ssh`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    /// User name; empty for SSH.
    pub username: String,
    /// Algorithm and fingerprint of an SSH key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// The only host to which the credential is sent; if empty, the host in the URL of each builder.
    pub host: String,
    /// Time of the import, RFC 3339.
    pub created: String,
    /// Builders that use it.
    pub builders: Vec<String>,
}
