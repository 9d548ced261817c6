//! `POST /filter/packages`: details of many packages, one JSON object per line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::package::KeyValue;
use super::vulnerability::Vulnerability;

/// The request. `names` is required, and `repo` if the address does not name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools, reason = "the fields are those of Posit Package Manager")]
pub struct Filter {
    #[serde(default)]
    pub repo: Option<String>,
    /// The snapshot: a day, a transaction or `latest`; `latest` if absent.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// Names of packages: `ggplot2`, or `ggplot2==3.5.2` for a listed or archived version. A Python package may have
    /// extras: `flask[async]==3.0`.
    #[serde(default)]
    pub names: Vec<String>,
    /// Include the metadata that administrators set.
    #[serde(default)]
    pub metadata: bool,
    /// Include known vulnerabilities.
    #[serde(default)]
    pub vulns: bool,
    #[serde(default)]
    pub omit_downloads: bool,
    #[serde(default)]
    pub omit_dependencies: bool,
    /// Return only `name`, `version`, `blocked` and `blocking_rule`.
    #[serde(default)]
    pub omit_package_details: bool,
}

/// One line of the response. Packages and versions that are not in the snapshot are omitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FilterResult {
    pub name: String,
    pub version: String,
    /// Whether a rule blocks it.
    pub blocked: bool,
    /// The rule that blocks it, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocking_rule: Option<String>,
    /// The details, unless omitted.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// Its dependencies, unless omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// Number of downloads, unless omitted; 0 if downloads are not counted, or the client may not read the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloads: Option<i64>,
    /// The metadata that administrators set for the version, by key, if requested and not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<KeyValue>,
    /// Known vulnerabilities, newest first, if requested and not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vulns: Vec<Vulnerability>,
}

/// The fields that `omit_package_details` omits; unknown values are `null`. Of a blocked version of a Python package, only
/// `available_versions` are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Details {
    /// `Title`; the summary of a Python package.
    pub summary: Option<String>,
    pub license: Option<String>,
    /// The alternative licenses: `GPL-2`, `GPL-3`.
    pub licenses: Vec<String>,
    /// The SPDX identifiers, such as `GPL-2.0-or-later`; `Unknown` for licenses without one.
    pub license_types: Vec<String>,
    /// `Date`, else the day of publication.
    pub package_date: Option<String>,
    /// Size of the file in bytes, 0 if unknown.
    pub package_size: i64,
    /// All versions in the snapshot that no rule blocks: the listed one first, then the archive, newest first; those of a
    /// Python package by version, the highest first.
    pub available_versions: Vec<String>,
}

/// Dependencies: names and version requirements in the form of DESCRIPTION. For a Python package, `suggests` contains
/// the requirements of extras and `imports` all others, as written in its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependencies {
    pub depends: Vec<String>,
    pub imports: Vec<String>,
    pub linking_to: Vec<String>,
    pub suggests: Vec<String>,
    pub enhances: Vec<String>,
}

/// A line of the response for an invalid name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilterError {
    /// The error, with the name.
    pub error: String,
    /// The error code of the API.
    pub code: u16,
}
