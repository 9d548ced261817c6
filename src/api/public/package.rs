//! `GET /__api__/repos/{r}/packages…`: packages of a repository's newest state.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vulnerability::{Known, Vulnerability};

/// A package: in lists without `links`, `archived` and `readme_data`. `null` where DESCRIPTION has no such field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Package {
    /// Always 0, as clients are used to.
    pub id: i64,
    /// Always empty.
    pub source_type: String,
    /// Name of the source.
    pub source: String,
    /// Number of the source.
    pub source_id: i64,
    /// The package.
    pub name: String,
    /// The listed version.
    pub version: String,
    /// Number of the repository; 0 when a source was asked.
    pub repo_id: i64,
    /// `R` or `Bioconductor`.
    pub repo_type: String,
    /// `RSPM`.
    pub repository: String,
    /// SHA-256 of the file; empty until its bytes were seen.
    pub checksum: String,
    /// Always 0, as the three below: transactions are told by `/transactions`.
    pub tran_create: i64,
    /// Always 0.
    pub tran_delete: i64,
    /// Always `null`.
    pub tran_archive: Option<i64>,
    /// Always empty.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Title`
    pub title: Option<String>,
    /// `Description`
    pub description: Option<String>,
    /// `Date`
    pub package_date: Option<String>,
    /// `Date/Publication`, or when upstream published it.
    pub date_publication: Option<String>,
    /// `Authors@R`, never evaluated.
    pub authors_r: Option<String>,
    /// `Author`
    pub author: Option<String>,
    /// `Maintainer`
    pub maintainer: Option<String>,
    /// `License`
    pub license: Option<String>,
    /// `URL`
    pub url: Option<String>,
    /// `BugReports`
    pub bug_reports: Option<String>,
    /// `Depends`
    pub depends: Option<String>,
    /// `Imports`
    pub imports: Option<String>,
    /// `Suggests`
    pub suggests: Option<String>,
    /// `LinkingTo`
    pub linking_to: Option<String>,
    /// `Enhances`
    pub enhances: Option<String>,
    /// `NeedsCompilation`
    pub needs_compilation: Option<String>,
    /// `SystemRequirements`
    pub system_requirements: Option<String>,
    /// `OS_type`
    pub os_type: Option<String>,
    /// Bytes of the file, 0 while unknown.
    pub package_size: i64,
    /// Sub-directory of the index record.
    pub path: Option<String>,
    /// `RemoteSha`
    pub remote_sha: Option<String>,
    /// `Collate`
    pub collate: Option<String>,
    /// `biocViews`
    pub bioc_views: Option<String>,
    /// The version of Bioconductor it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bioc_version: Option<String>,
    /// The repository of Bioconductor that has it: `bioc`, `data/annotation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bioc_repo: Option<String>,
    /// Always `null`.
    pub r_dep: Option<String>,
    /// Always `null`.
    pub occurred: Option<String>,
    /// Always `null`: of Python packages only.
    pub releases: Option<serde_json::Value>,
    /// Always 0: of Python packages only.
    pub last_serial: i64,
    /// Always empty: builds are not named by such a digest here.
    pub ash: String,
    /// Always empty: builds are found under the addresses of their platforms.
    pub binary_record: BinaryRecord,
    /// Always false.
    pub installed: bool,
    /// A rule forbids it.
    pub blocked: bool,
    /// Only in the archive.
    pub is_archived: bool,
    /// Usage.
    pub downloads: Downloads,
    /// Known vulnerabilities of that version, newest first.
    pub vulns: Vec<Vulnerability>,
    /// `md` where there is a README; in the detail only.
    pub readme: Option<String>,
    /// The README as it stands in the archive, never rendered; in the detail only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readme_data: Option<String>,
    /// Archived versions, newest first; in the detail only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<Vec<Archived>>,
    /// Dependencies and reverse dependencies; in the detail only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<Link>>,
}

/// [`Package::downloads`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Downloads {
    /// Downloads of any version from this source since counting began, in the detail; 0 in lists, and where downloads
    /// are not counted.
    pub count: i64,
}

/// [`Package::binary_record`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BinaryRecord {
    /// Always empty, as all here.
    pub id: String,
    /// Empty.
    pub package_id: String,
    /// Empty.
    pub checksum: String,
    /// Empty.
    pub r_version: String,
    /// Empty.
    pub distro: String,
    /// Empty.
    pub arch: String,
    /// Empty.
    pub ash: String,
}

/// One row of `GET /sources/{s}/packages/{name}/releases`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// Number of the source.
    pub source_id: i64,
    /// The package.
    pub name: String,
    /// The version.
    pub version: String,
    /// In the archive, not in the index.
    pub is_archived: bool,
    /// When it was published, RFC 3339, where known.
    pub date_publication: Option<String>,
    /// Bytes of the file, 0 while unknown.
    pub package_size: i64,
    /// SHA-256 of the file; empty until its bytes were seen.
    pub checksum: String,
    /// A rule forbids it.
    pub blocked: bool,
}

/// One archived version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Archived {
    /// Always 0.
    pub id: i64,
    /// Number of the source.
    pub source_id: i64,
    /// The package.
    pub name: String,
    /// The version.
    pub version: String,
    /// `Date`
    pub package_date: Option<String>,
    /// When it was published.
    pub date_publication: Option<String>,
    /// `License`
    pub license: Option<String>,
    /// A rule forbids it.
    pub blocked: bool,
    /// Which one.
    pub blocking_rule: Option<String>,
    /// Known vulnerabilities of that version, newest first.
    pub vulns: Vec<Known>,
}

/// One dependency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Always 0.
    pub package_id: i64,
    /// 0 Imports, 1 Depends, 2 Suggests, 3 LinkingTo, 4 Enhances.
    #[serde(rename = "type")]
    pub kind: i64,
    /// The other package.
    pub name: String,
    /// 0 `==`, 1 `>`, 2 `>=`, 3 `<`, 4 `<=`; `null` without a version.
    pub operator: Option<i64>,
    /// The version compared with.
    pub version: Option<String>,
    /// Not `null` when the other package is in the repository.
    pub linked_to: Option<String>,
    /// The other package depends on this one.
    pub reverse: bool,
}
