//! Name guards on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::repo::place;
use crate::flag_values::SuggestedValues;
use crate::query::query;
use base::model::text::count_of;

query! {
    /// The query of `DELETE /name-guards/{id}`.
    DeleteNameGuard {
        /// true: show which packages of repositories would change, and delete nothing
        dry_run: Option<String>,
    }
}

/// A name guard: only one source may provide packages whose names match it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameGuard {
    /// The number of the guard; absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// A name, or a prefix followed by `*`. Names of Python packages are normalized.
    pub name: String,
    /// `r` or `python`.
    pub language: String,
    /// The source that may provide the names, or its number if it was deleted. For an automatic guard, the first source
    /// that had the name.
    pub source: String,
    /// Whether the source was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_deleted: bool,
    /// Whether it was created by the first upload of the name.
    pub automatic: bool,
    /// `in force`; `listed before`: has no effect, because a mirror listed the name before the first upload; `ended` by
    /// an administrator; `off`: has no effect, because automatic guards are disabled on the server.
    pub state: String,
    /// Free text.
    pub description: String,
    /// The user who created the guard.
    pub created_by: String,
    /// Creation time, RFC 3339.
    pub created: String,
}

/// A package that a repository lists in another version, or from another source, after a change of a name guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameChange {
    /// The repository.
    pub repo: String,
    /// The version of Bioconductor, for a repository of Bioconductor: each has packages of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bioc_version: Option<String>,
    /// The package.
    pub name: String,
    /// The version before the change; absent if there is none, and for a project of an index whose page was not read yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<String>,
    /// The source before the change; absent if the repository did not list the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_source: Option<String>,
    /// The version after the change, as `from_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_version: Option<String>,
    /// The source after the change; absent if the repository no longer lists the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_source: Option<String>,
}

impl NameChange {
    /// Returns the repository, with the version of Bioconductor: `bioc (Bioconductor 3.20)`.
    #[must_use]
    pub fn place(&self) -> String {
        place(&self.repo, self.bioc_version.as_deref())
    }
}

/// Response to `PATCH` and `DELETE /name-guards/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedNameGuard {
    /// The guard after the change; a deleted one with the state `ended`.
    pub guard: NameGuard,
    /// The packages that repositories list in another way after the change, by repository and name.
    pub changes: Vec<NameChange>,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[serde(deny_unknown_fields)]
pub struct CreateNameGuard {
    /// A name, or a prefix followed by `*`.
    #[arg(long, help = "A name, or a prefix followed by '*': acme.*")]
    pub name: String,
    /// `r` or `python`; absent for the language of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_parser = SuggestedValues(&["r", "python"]), help = "Language of the names [default: that of the source]")]
    pub language: Option<String>,
    /// The source that may provide the names.
    #[arg(long, help = "The only source that may provide the names")]
    pub source: String,
    /// Free text.
    #[serde(default)]
    #[arg(long, default_value = "", hide_default_value = true, help = "The reason, shown in lists")]
    pub description: String,
    /// Whether to create nothing, and only return what the guard would hide.
    #[serde(default)]
    #[arg(long, help = "Show what the guard would hide, and create nothing")]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedNameGuard {
    pub guard: NameGuard,
    /// The packages of other sources that it hides.
    pub hidden: Vec<HiddenName>,
}

/// A package that a guard hides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HiddenName {
    pub name: String,
    /// The source that lists or listed it.
    pub source: String,
}

/// Maximum number of names in a description.
const MAX_EXAMPLES: usize = 10;

/// Describes what a guard hides: `2 packages of other sources: one (cran), two (cran)`. Returns `None` if it hides nothing.
#[must_use]
pub fn describe_hidden(hidden: &[HiddenName]) -> Option<String> {
    let name = |hidden: &HiddenName| format!("{} ({})", hidden.name, hidden.source);
    let examples = hidden.iter().take(MAX_EXAMPLES).map(name).collect::<Vec<_>>().join(", ");
    let more = match hidden.len().saturating_sub(MAX_EXAMPLES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let count = count_of(hidden.len(), "package", "packages");
    (!hidden.is_empty()).then(|| format!("{count} of other sources: {examples}{more}"))
}

/// `PATCH /name-guards/{id}`: the values to change.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[serde(deny_unknown_fields)]
pub struct EditNameGuard {
    /// A name, or a prefix followed by `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "A name, or a prefix followed by '*': acme.*")]
    pub name: Option<String>,
    /// The source that may provide the names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "The only source that may provide the names")]
    pub source: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "The reason, shown in lists")]
    pub description: Option<String>,
    /// Whether to change nothing, and only return what the change would do.
    #[serde(default)]
    #[arg(long, help = "Show which packages of repositories would change, and change nothing")]
    pub dry_run: bool,
}

/// A row of `GET /audit/names`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditedName {
    /// `pattern`: a guard created by an administrator; `automatic`: a guard created by an upload; `unguarded`: an
    /// uploaded name without a guard in force; `overlap`: a guarded or uploaded name that a mirror lists; `similar`: a
    /// name in a mirror that differs from an uploaded name only in case, `.` and `_`; `version`: a suspicious version
    /// of a name that a mirror lists too.
    pub finding: String,
    /// `r` or `python`.
    pub language: String,
    /// The name or pattern.
    pub name: String,
    /// The source of the name, or its number if it was deleted.
    pub source: String,
    /// Whether the source was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_deleted: bool,
    /// The number of the guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<i64>,
    /// The name in the other source, if it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_name: Option<String>,
    /// The other source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_source: Option<String>,
    /// The time since which the guard exists or the other source lists the name, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// An explanation.
    pub note: String,
}
