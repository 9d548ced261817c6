//! Definitions of curated sources on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /sources/{name}/definition`: plans an update of a curated source, or publishes it.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct UpdateDefinition {
    /// Lists of packages, requirements files or lock files: the main file first, then the files that it includes. If
    /// empty, only the snapshot is changed.
    #[serde(default)]
    #[arg(skip)]
    pub files: Vec<DefinitionFile>,
    /// Adds the packages of the files to the definition; otherwise the files replace it.
    #[serde(default)]
    #[arg(skip)]
    pub add: bool,
    /// The snapshot of PyPI or CRAN from which packages are selected, a day or a transaction; the newest state if
    /// absent. Required to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "DATE",
        help = "For a curated source: select from this day or transaction (default: the newest)"
    )]
    pub snapshot: Option<String>,
    /// Publishes the update; otherwise it is only planned.
    #[serde(default)]
    #[arg(
        long,
        requires = "snapshot",
        help = "For a curated source: publish the update; requires --snapshot. Otherwise only the plan is printed"
    )]
    pub commit: bool,
    /// Comment of the transaction.
    #[serde(default)]
    #[arg(skip)]
    pub comment: String,
    /// For lock files, allows only the files whose digests they list; otherwise all files of the listed versions.
    #[serde(default)]
    #[arg(
        long,
        help = "For a curated source: allow only the files whose digests a lock file lists, not all files of its versions"
    )]
    pub strict: bool,
    /// For R packages, the kinds of dependencies to include, separated by commas; those of the current definition if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "KINDS",
        help = "For a curated source of R packages: kinds of dependencies to include: imports, depends, linking-to, suggests, enhances, none, all (default: those of the current definition; for a new one imports,depends,linking-to)"
    )]
    pub include: Option<String>,
    /// For Python packages, whether to include the packages that the metadata of the newest allowed versions requires; as
    /// in the current definition if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help = "For a curated source of Python packages: also include the packages that the metadata of the newest allowed versions requires (default: as in the current definition)")]
    pub dependencies: Option<bool>,
    /// For R packages, also includes the packages that the packages named in the definition suggest.
    #[serde(default)]
    #[arg(skip)]
    pub include_suggests: bool,
    /// Omits dependencies that CRAN or PyPI does not have, and for Python packages also those that block rules or a name
    /// guard hide; otherwise they are problems.
    #[serde(default)]
    #[arg(
        long,
        help = "For a curated source: omit dependencies that CRAN or PyPI does not have, or that are blocked"
    )]
    pub allow_missing: bool,
}

/// A file of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefinitionFile {
    /// The path of the file, relative to the directory of the main file.
    pub name: String,
    pub text: String,
}

/// A planned or published update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefinitionPlan {
    /// The type of the source.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The packages by name.
    pub packages: Vec<PlannedPackage>,
    /// Problems that prevent the update; nothing is published if there is any.
    pub problems: Vec<String>,
    /// Notices about omitted or ignored lines.
    pub notices: Vec<String>,
    /// The snapshot to pass in the request that publishes this plan.
    pub snapshot: String,
    /// The time of the state of PyPI or CRAN from which packages are selected, RFC 3339.
    pub state_at: String,
    /// SHA-256 of the definition: of its only file, or of the output of `sha256sum` for all its files.
    pub sha256: String,
    /// Whether the update was published, or equals the current definition.
    pub committed: bool,
    /// The transaction; absent for a plan, and if nothing changed.
    pub transaction: Option<i64>,
}

/// A package of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedPackage {
    /// The name of the package; a Python package has its normalized name.
    pub name: String,
    /// The allowed versions of a Python package.
    pub constraint: String,
    /// The number of allowed files of a Python package; absent if all files are allowed.
    pub files: Option<i64>,
    /// The newest allowed version of a Python package; absent if all files are allowed.
    pub newest: Option<String>,
    /// For a Python package, the allowed files that block rules or a name guard hide from the clients of a repository.
    /// Block rules are compared with the files that were read from the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_files: Option<BlockedFiles>,
    /// `added`, `changed`, `removed` or `kept`; for an R package `updated` or `downgraded` instead of `changed`.
    pub state: String,
    /// For a Python package in a plan with dependencies, the shortest chain of packages from one that the definition
    /// names to this one: only this one if the definition names it. Absent for a removed package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// The selected release of an R package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<PlannedRelease>,
}

/// Files that block rules or a name guard hide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockedFiles {
    /// The number of files that block rules hide; absent if a name guard hides all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// The repository and the rule that blocks one of the files, or the name guard.
    pub reason: String,
}

/// The selected release of an R package; the current one of a removed package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedRelease {
    pub version: String,
    /// The version in the current definition, if it differs.
    pub previous: Option<String>,
    /// The shortest chain of dependencies from a package that the definition names.
    pub chain: Vec<String>,
    /// The field `License` of the index record.
    pub license: Option<String>,
    /// Whether it must be compiled, if known.
    pub needs_compilation: Option<bool>,
    /// Size of its file in bytes, if known.
    pub size: Option<i64>,
    /// Publication time, RFC 3339, if known.
    pub published: Option<String>,
    /// Number of known advisories about the release.
    pub advisories: i64,
    /// The rule that blocks the release in a repository, or the name guard that hides the package.
    pub blocked: Option<String>,
}

/// A package that a definition includes because others require it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefinitionDependency {
    /// The normalized name of the package.
    pub name: String,
    /// The shortest chain of packages from one that the definition names to this one.
    pub chain: Vec<String>,
}

/// The definition of a curated source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    /// The snapshot from which packages are selected, as the administrator named it.
    pub snapshot: String,
    /// The time of the state of PyPI or CRAN from which packages are selected, RFC 3339.
    pub state_at: String,
    /// For R packages, the included kinds of dependencies, separated by commas; `dependencies` for Python packages with
    /// their dependencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
    /// The Python packages that the files do not name, because others require them; absent in lists of sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<DefinitionDependency>,
    /// SHA-256 of the definition: of its only file, or of the output of `sha256sum` for all its files.
    pub sha256: String,
    /// The files as the administrator wrote them; absent in lists of sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<DefinitionFile>,
}
