//! Sources on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::definition::Definition;

use crate::flag_values::SuggestedValues;
use crate::query::query;
use base::model::import_list::Event;
use base::model::kind::SourceKind;
use base::words;

query! {
    /// The query of `GET /sources`.
    #[derive(Args)]
    ListSources {
        /// Only sources that this repository is subscribed to
        #[arg(long)]
        repo: Option<String>,
        /// Only sources of this type
        #[arg(long = "type", value_name = "TYPE", value_parser = SuggestedValues(&["cran", "bioconductor", "pypi", "local", "local-python", "git", "git-python", "curated-cran", "cran-snapshot", "curated-pypi"]))]
        kind as "type": Option<String>,
    }
}

query! {
    /// The query of `DELETE /sources/{name}`.
    #[derive(Args)]
    #[group(skip)]
    DeleteSource {
        /// Also delete a source that has, or had, packages, or that has builders
        #[arg(long)]
        with_packages: bool,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Row id; CRAN is 1.
    pub id: i64,
    /// Unique among sources.
    pub name: String,
    /// `local`, `cran`, …
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: SourceKind,
    /// Display name of its type: `Local`, `CRAN`.
    pub type_label: String,
    /// Creation time, RFC 3339.
    pub created: String,
    /// Number of listed packages.
    pub packages: i64,
    /// The newest transaction, if any.
    pub last_transaction: Option<TransactionSummary>,
    /// The state of the index; only for the source `pypi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexState>,
    /// The definition; only for a curated source, and absent before its first definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
}

/// The state of an index of Python packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IndexState {
    /// Number of projects whose page was read; the page of any other project is read when a client requests it.
    pub read_projects: i64,
    /// The time of the first sync, RFC 3339, from which on the list of projects has a history; absent before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sync: Option<String>,
    /// The time of the newest state, `latest`, RFC 3339; absent before the first sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_at: Option<String>,
}

/// Summary of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Transaction)]
pub struct TransactionSummary {
    pub id: i64,
    /// Publication time, RFC 3339.
    pub at: String,
    /// Packages that became listed.
    pub added: i64,
    /// Packages whose version changed.
    pub updated: i64,
    /// Releases that moved to the archive.
    pub archived: i64,
    /// Packages that are no longer listed.
    pub removed: i64,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct CreateSource {
    #[arg(long, help = "The new source's name")]
    pub name: String,
    /// Its type, `local` when absent.
    #[serde(rename = "type", default = "default_type")]
    #[arg(long = "type", default_value = "local", value_name = "TYPE", value_parser = SuggestedValues(&["local", "local-python", "git", "git-python", "curated-cran", "cran-snapshot", "curated-pypi"]), help = "Type of the source; the sources cran, bioconductor and pypi always exist")]
    pub kind: String,
    /// For a source of type `curated-cran` or `cran-snapshot`, the snapshot of CRAN on which it is based: a day or a
    /// transaction; the newest state if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "DATE",
        help = "For a source of type curated-cran or cran-snapshot: the day or transaction of CRAN (default: the newest)"
    )]
    pub snapshot: Option<String>,
    /// For a source of type `curated-cran`, the kinds of dependencies to include, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "KINDS",
        help = "For a source of type curated-cran: kinds of dependencies to include: imports, depends, linking-to, suggests, enhances, none, all"
    )]
    pub include: Option<String>,
    /// Treat an existing source with this name and type as success.
    #[serde(default)]
    #[arg(long, help = "Succeed when the source exists with the same type")]
    pub succeed_on_existing: bool,
}

fn default_type() -> String {
    "local".to_owned()
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct EditSource {
    /// Its new name; absent to keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "New name of the source")]
    pub new_name: Option<String>,
    /// For a source of type `cran-snapshot`, or of type `curated-cran` without a definition, the new snapshot of CRAN
    /// on which it is based: a day or a transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        value_name = "DATE",
        help = "For a source of type cran-snapshot, or curated-cran without a definition: its new day or transaction of CRAN"
    )]
    pub snapshot: Option<String>,
}

/// `POST /sources/{name}/packages`: adds uploads to a local source in one transaction, or the changes of an import.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct AddPackages {
    /// Ids of earlier uploads.
    #[serde(default)]
    #[arg(skip)]
    pub uploads: Vec<u64>,
    /// Replace existing versions.
    #[serde(default)]
    #[arg(long, conflicts_with = "succeed_on_existing", help = "Replace versions that exist")]
    pub replace: bool,
    /// Keep existing versions and count them as success.
    #[serde(default)]
    #[arg(long, help = "Leave existing versions unchanged and succeed")]
    pub succeed_on_existing: bool,
    /// Instead of `uploads`: the changes of an import, oldest first, at most 500. Each is made at its time, all of them in one
    /// write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[arg(skip)]
    pub changes: Vec<ImportedChange>,
    /// Permits the changes to change past days of repositories; the response names them.
    #[serde(default)]
    #[arg(skip)]
    pub change_past_days: bool,
    /// Changes nothing: the response is what the changes would do, as far as it is known without the bytes of the files.
    #[serde(default)]
    #[arg(skip)]
    pub dry_run: bool,
}

/// A change of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedChange {
    /// A line of the list of an import: `op` is `add`, `replace`, `remove` or `yank`. Its time, `at`, requires the scope
    /// `global:admin`; without it, the change is made now.
    #[schema(value_type = Object)]
    pub event: Event,
    /// The upload of the file that the change adds; absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<u64>,
    /// Of a removal of a package without a time: files that later changes add. If the source has no others, it was made before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

words! {
    /// What became of a change of an import.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
    #[schema(rename_all = "lowercase")]
    pub enum ImportOutcome {
        Added = "added",
        Replaced = "replaced",
        Removed = "removed",
        Yanked = "yanked",
        /// The change was made before.
        Existing = "existing",
        /// In a dry run: the source has other bytes of the version, which may be those that it makes of the file.
        Differs = "differs",
        /// This change is refused, and the others are made.
        Refused = "refused",
    }
    else "outcome of a change"
}

/// One row for each change of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedResult {
    pub outcome: ImportOutcome,
    /// Why the change is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In a dry run: the source with a mirror that has the same file of an R package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
}

/// The past days of a repository that an import changes. Some days between the two may stay the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedDays {
    pub repo: String,
    /// The first day, YYYY-MM-DD.
    pub first: String,
    /// The last day, YYYY-MM-DD.
    pub last: String,
}

/// The change that an upload made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddOutcome {
    /// New in the source.
    Added,
    /// Replaced the bytes of an existing version.
    Replaced,
    /// The version existed and was not replaced.
    Existing,
}

/// One row of [`AddedPackages`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedPackage {
    /// The file name of the upload.
    pub file: String,
    pub name: String,
    pub version: String,
    /// SHA-256 of the served bytes.
    pub sha256: String,
    /// Size of the served file, in bytes.
    pub size: u64,
    /// The change that the upload made.
    pub outcome: AddOutcome,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedPackages {
    /// The transaction; absent if nothing changed.
    pub transaction: Option<i64>,
    /// One row per upload.
    pub packages: Vec<AddedPackage>,
    /// Sentences about uploaded names that a mirror has too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// One row for each change of an import.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ImportedResult>,
    /// Number of changes that are older than the newest state of the source, and are served after it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: usize,
    /// The repositories whose past days change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_days: Vec<ChangedDays>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct RemovePackage {
    #[arg(skip)]
    pub name: String,
    /// `all`, `current` or a version; for a Python package also a file name.
    #[arg(skip)]
    pub scope: String,
    /// Comment of the transaction.
    #[serde(default)]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        help = "The reason, stored with the transaction"
    )]
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedPackage {
    pub name: String,
    /// The removed versions, or the removed file; older snapshots still serve them.
    pub versions: Vec<String>,
}

/// `POST /sources/{name}/packages/yank`: marks files of a Python package as yanked, or removes this mark.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct YankFiles {
    /// The package.
    #[arg(skip)]
    pub name: String,
    /// `all`, `current`, a version or a file name.
    #[arg(skip)]
    pub scope: String,
    /// The reason, which may be empty; absent to remove the mark.
    #[arg(long, default_value = "", hide_default_value = true, help = "The reason, which installers show")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct YankedFiles {
    /// The transaction; absent if nothing changed.
    pub transaction: Option<i64>,
    /// The package.
    pub name: String,
    /// The names of the files.
    pub files: Vec<String>,
}
