//! Definitions of curated sources on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /sources/{name}/definition`: plans an update of a curated source, or publishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateDefinition {
    /// Requirements files or lock files, the main one first, then those that it names; without any, the definition
    /// stays and only the snapshot changes.
    #[serde(default)]
    pub files: Vec<DefinitionFile>,
    /// Adds the packages of the files to the definition; otherwise the files replace it.
    #[serde(default)]
    pub add: bool,
    /// A day or a transaction whose state of PyPI is selected from; the newest state when absent. Required to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Of lock files, only the files whose digests they have; otherwise all files of their versions.
    #[serde(default)]
    pub strict: bool,
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
    /// The packages by name.
    pub packages: Vec<PlannedPackage>,
    /// Problems that prevent the update; nothing is published if there is any.
    pub problems: Vec<String>,
    /// Notices about omitted or ignored lines.
    pub notices: Vec<String>,
    /// The snapshot to name to publish it.
    pub snapshot: String,
    /// The time of the state of PyPI that is selected from, RFC 3339.
    pub state_at: String,
    /// SHA-256 of the definition: of its only file, or of the lines of `sha256sum` for all files.
    pub sha256: String,
    /// Whether it was published, or is what the source has.
    pub committed: bool,
    /// The transaction; absent for a plan, and if nothing changed.
    pub transaction: Option<i64>,
}

/// A package of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedPackage {
    /// Its normalized name.
    pub name: String,
    /// The allowed versions.
    pub constraint: String,
    /// The number of allowed files; absent if all are allowed, which are not counted.
    pub files: Option<i64>,
    /// The newest allowed version; absent like `files`.
    pub newest: Option<String>,
    /// `added`, `changed`, `removed` or `kept`.
    pub state: String,
}

/// The definition of a curated source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    /// The snapshot from which it selects, as the administrator named it.
    pub snapshot: String,
    /// The time of the state of PyPI in it, RFC 3339.
    pub state_at: String,
    /// Its SHA-256, as in [`DefinitionPlan`].
    pub sha256: String,
    /// The files as the administrator wrote them; absent in lists of sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<DefinitionFile>,
}
