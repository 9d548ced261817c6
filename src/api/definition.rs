//! Definitions of curated sources on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /sources/{name}/definition`: plans an update of a curated source, or publishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateDefinition {
    /// Lists of packages, requirements files or lock files, the main one first, then those that it names; without any, the definition
    /// stays and only the snapshot changes.
    #[serde(default)]
    pub files: Vec<DefinitionFile>,
    /// Adds the packages of the files to the definition; otherwise the files replace it.
    #[serde(default)]
    pub add: bool,
    /// A day or a transaction whose state of PyPI or CRAN is selected from; the newest state when absent. Required to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Of lock files, only the files whose digests they have; otherwise all files of their versions.
    #[serde(default)]
    pub strict: bool,
    /// Of R packages, the kinds of dependencies that are included, separated by commas; those of the current definition
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
    /// Of R packages, also includes packages that the named ones suggest.
    #[serde(default)]
    pub include_suggests: bool,
    /// Of R packages, omits dependencies that CRAN does not have.
    #[serde(default)]
    pub allow_missing: bool,
    /// Publishes the update; otherwise it is only planned.
    #[serde(default)]
    pub commit: bool,
    /// Comment of the transaction.
    #[serde(default)]
    pub comment: String,
}

/// A file of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefinitionFile {
    /// Its path relative to the directory of the main file.
    pub name: String,
    /// Its text.
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
    /// The snapshot to name to publish it.
    pub snapshot: String,
    /// The time of the state of PyPI or CRAN that is selected from, RFC 3339.
    pub state_at: String,
    /// SHA-256 of the definition: of its only file, or of the lines of `sha256sum` for all files.
    pub sha256: String,
    /// Whether it was published, or is what the source has.
    pub committed: bool,
    /// The transaction; absent for a plan, and if nothing changed.
    pub transaction: Option<i64>,
}

/// A package of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedPackage {
    /// Its name; that of a Python package is normalized.
    pub name: String,
    /// The allowed versions of a Python package.
    pub constraint: String,
    /// The number of allowed files; absent if all are allowed, which are not counted.
    pub files: Option<i64>,
    /// The newest allowed version; absent like `files`.
    pub newest: Option<String>,
    /// `added`, `changed`, `removed` or `kept`; of an R package `updated` or `downgraded` instead of `changed`.
    pub state: String,
    /// The selected release of an R package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<PlannedRelease>,
}

/// The selected release of an R package; of one that is removed, the current one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedRelease {
    /// Its version.
    pub version: String,
    /// The current version, if it is another one.
    pub previous: Option<String>,
    /// The shortest chain of packages from one that the definition names.
    pub chain: Vec<String>,
    /// Field `License` of its record.
    pub license: Option<String>,
    /// Whether it must be compiled, if known.
    pub needs_compilation: Option<bool>,
    /// Size of its file in bytes, if known.
    pub size: Option<i64>,
    /// Publication time, RFC 3339, if known.
    pub published: Option<String>,
    /// Number of known advisories about it.
    pub advisories: i64,
    /// The rule that blocks it in a repository.
    pub blocked: Option<String>,
}

/// The definition of a curated source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    /// The snapshot from which it selects, as the administrator named it.
    pub snapshot: String,
    /// The time of the state of PyPI or CRAN in it, RFC 3339.
    pub state_at: String,
    /// Of R packages, the included kinds of dependencies, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
    /// Its SHA-256, as in [`DefinitionPlan`].
    pub sha256: String,
    /// The files as the administrator wrote them; absent in lists of sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<DefinitionFile>,
}
