//! Packages at the newest point of a repository, and their download counts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vulnerability::{ArchivedVulnerability, Vulnerability};
use crate::query::{Order, query};
use base::model::snapshot::Snapshot;

query! {
    /// The query of `GET /repos/{repo}/packages` and `GET /sources/{source}/packages`.
    ListPackages {
        /// rows per page, at most 1000
        limit as "_limit": Option<usize>,
        /// page number, from 1
        page as "_page": Option<usize>,
        /// name, version, date_publication, source or, for a search, relevance
        sort as "_sort": Option<String>,
        /// asc or desc
        order as "_order": Option<Order>,
        /// exact package name
        name: Option<String>,
        /// part of the name, case-insensitive; with % only at the end, a prefix
        name_like: Option<String>,
        /// as name_like
        name_search: Option<String>,
        /// words in name, title, description, keywords or people, the most relevant packages first
        search: Option<String>,
        /// true: sort the exact match first
        exact_first: bool,
        /// the version of a Bioconductor repository
        bioc_version: Option<String>,
        /// the snapshot of a repository: latest (default), a day or a transaction
        snapshot: Option<Snapshot>,
    }
}

query! {
    /// The query of `GET /repos/{repo}/packages/{name}`.
    ShowPackage {
        /// a version other than the listed one
        version: Option<String>,
        /// the version of a Bioconductor repository
        bioc_version: Option<String>,
        /// the snapshot of a repository: latest (default), a day or a transaction
        snapshot: Option<Snapshot>,
    }
}

query! {
    /// The query of `GET /repos/{repo}/packages/{name}/builds`.
    ListBinaries {
        /// latest (default), a day or a transaction
        snapshot: Option<Snapshot>,
        /// the version of a Bioconductor repository
        bioc_version: Option<String>,
    }
}

query! {
    /// The query of `GET /repos/{repo}/packages/{name}/binaries/logs`.
    ShowBuildLog {
        /// as in rspm list distributions
        distribution: Option<String>,
        /// a minor version of R: 4.5
        r_version: Option<String>,
        /// x86_64 (default) or arm64
        arch: Option<String>,
        /// a version other than the listed one
        version: Option<String>,
        /// the version of a Bioconductor repository
        bioc_version: Option<String>,
        /// the snapshot of a repository: latest (default), a day or a transaction
        snapshot: Option<Snapshot>,
    }
}

query! {
    /// The query of `GET /sources/{source}/packages/{name}/releases`.
    ListReleases {
        /// the version of a Bioconductor source
        bioc_version: Option<String>,
    }
}

/// A package. Lists omit `links`, `archived` and `readme_data`. A field is `null` if DESCRIPTION does not have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Package {
    /// Always 0, as clients expect.
    pub id: i64,
    /// Always empty.
    pub source_type: String,
    /// Name of the source.
    pub source: String,
    pub source_id: i64,
    pub name: String,
    /// The listed version.
    pub version: String,
    /// Id of the repository; 0 in requests for a source.
    pub repo_id: i64,
    /// `R`, `Bioconductor` or `Python`.
    pub repo_type: String,
    /// `RSPM`.
    pub repository: String,
    /// SHA-256 of the file; empty until it is fetched.
    pub checksum: String,
    /// Always 0; transactions are listed by `/transactions`.
    pub tran_create: i64,
    /// Always 0.
    pub tran_delete: i64,
    /// Always `null`.
    pub tran_archive: Option<i64>,
    /// Always empty.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: Option<String>,
    pub description: Option<String>,
    /// `Date`
    pub package_date: Option<String>,
    /// `Date/Publication`, or the time of publication upstream.
    pub date_publication: Option<String>,
    /// `Authors@R` as text; the R code is not evaluated.
    pub authors_r: Option<String>,
    pub author: Option<String>,
    pub maintainer: Option<String>,
    pub license: Option<String>,
    /// The licenses as an SPDX expression: `GPL-2.0-only OR GPL-3.0-only`; `null` if no license has an identifier, and
    /// for Python packages in lists.
    pub license_expression: Option<String>,
    /// The identifiers in the expression; `Unknown` for licenses without one. Empty for Python packages in lists.
    pub license_types: Vec<String>,
    pub url: Option<String>,
    pub bug_reports: Option<String>,
    pub depends: Option<String>,
    pub imports: Option<String>,
    pub suggests: Option<String>,
    pub linking_to: Option<String>,
    pub enhances: Option<String>,
    pub needs_compilation: Option<String>,
    /// `SystemRequirements`
    pub system_requirements: Option<String>,
    pub os_type: Option<String>,
    /// Size of the file in bytes, 0 if unknown.
    pub package_size: i64,
    /// Subdirectory in the index record.
    pub path: Option<String>,
    pub remote_sha: Option<String>,
    pub collate: Option<String>,
    pub bioc_views: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bioc_version: Option<String>,
    /// Its Bioconductor repository: `bioc`, `data/annotation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bioc_repo: Option<String>,
    /// Always `null`.
    pub r_dep: Option<String>,
    /// Always `null`.
    pub occurred: Option<String>,
    /// The files of each version of a Python package, as in PyPI's JSON API; `null` for R packages and in lists.
    pub releases: Option<serde_json::Value>,
    /// The metadata of a Python package with the keys of PyPI's JSON API; in lists its name and summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<serde_json::Value>,
    /// Always 0.
    pub last_serial: i64,
    /// Always empty.
    pub ash: String,
    /// A record whose fields are always empty.
    pub binary_record: BinaryRecord,
    /// Always false.
    pub installed: bool,
    /// Whether a rule blocks it.
    pub blocked: bool,
    /// The rule that blocks it, with the reason; only in the response for one R package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocking_rule: Option<String>,
    /// The rule that warns about it, with the reason; only in the response for one R package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Whether it has only archived versions.
    pub is_archived: bool,
    pub downloads: Downloads,
    /// Known vulnerabilities of the version, newest first.
    pub vulns: Vec<Vulnerability>,
    /// The metadata that administrators set for the version, by key; only in the response for one package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<KeyValue>>,
    /// `md` if there is a README; only in the response for one package.
    pub readme: Option<String>,
    /// The unrendered README from the archive; only in the response for one package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readme_data: Option<String>,
    /// Archived versions, newest first; only in the response for one package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<Vec<ArchivedRelease>>,
    /// Dependencies and reverse dependencies; only in the response for one package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<Link>>,
}

/// A key of the metadata that administrators set, with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyValue {
    pub key: String,
    /// The value: text.
    pub value: String,
}

impl KeyValue {
    /// Returns a row for each key.
    #[must_use]
    pub fn list(metadata: std::collections::BTreeMap<String, String>) -> Vec<KeyValue> {
        metadata.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
    }
}

/// Download count of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Downloads {
    /// Downloads of all versions from this source since counting began; 0 in lists, if downloads are not counted, and if the
    /// client may not read the source.
    pub count: i64,
}

/// A binary; all fields are always empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BinaryRecord {
    /// Always empty.
    pub id: String,
    /// Always empty.
    pub package_id: String,
    /// Always empty.
    pub checksum: String,
    /// Always empty.
    pub r_version: String,
    /// Always empty.
    pub distro: String,
    /// Always empty.
    pub arch: String,
    /// Always empty.
    pub ash: String,
}

/// One row of `GET /sources/{s}/packages/{name}/releases`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    pub source_id: i64,
    pub name: String,
    pub version: String,
    /// Whether it is in the archive, not in the index.
    pub is_archived: bool,
    /// Time of publication, RFC 3339, where known.
    pub date_publication: Option<String>,
    /// Size of the file in bytes, 0 if unknown.
    pub package_size: i64,
    /// SHA-256 of the file; empty until it is fetched.
    pub checksum: String,
    /// Whether a block rule that names no repository blocks the version: every repository that offers the version from
    /// this source then refuses it, unless the repository has an exception. True for a version of a Python package if
    /// all its files are blocked.
    pub blocked: bool,
    /// That rule, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocking_rule: Option<String>,
}

/// One archived version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArchivedRelease {
    /// Always 0.
    pub id: i64,
    pub source_id: i64,
    pub name: String,
    pub version: String,
    /// `Date`
    pub package_date: Option<String>,
    /// Time of publication, RFC 3339.
    pub date_publication: Option<String>,
    pub license: Option<String>,
    /// Whether a rule blocks it.
    pub blocked: bool,
    pub blocking_rule: Option<String>,
    /// The rule that warns about it, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Known vulnerabilities of the version, newest first.
    pub vulns: Vec<ArchivedVulnerability>,
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
    /// The version of the requirement.
    pub version: Option<String>,
    /// Name of the other package if it is in the repository, else `null`.
    pub linked_to: Option<String>,
    /// Whether the other package depends on this one.
    pub reverse: bool,
}

query! {
    /// The query of `GET /metrics/packages`.
    ListDownloads {
        /// r or python; default both
        source_type as "_sourceType": Option<String>,
        /// number of days up to today, at most 366; default 7
        days as "_days": Option<usize>,
        /// rows per page, at most 1000
        limit as "_limit": Option<usize>,
        /// page number, from 1
        page as "_page": Option<usize>,
    }
}

/// Downloads of one package, over all versions and platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageDownloads {
    pub name: String,
    /// `r` or `python`.
    pub source_type: String,
    /// Name of its source.
    pub source: String,
    /// Number of downloads in the requested days.
    pub count: i64,
}
