//! `POST /filter/packages`: many packages in one question; the answer is one JSON object in each line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vulnerability::Vulnerability;

/// The question. Only `names` is needed, and `repo` where the address does not name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools)] // The shape is not ours.
pub struct Filter {
    /// The repository.
    #[serde(default)]
    pub repo: Option<String>,
    /// Its state: a day, a transaction, `latest`; `latest` when missing.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// `ggplot2`, or `ggplot2==3.5.2` for a version, listed or archived.
    #[serde(default)]
    pub names: Vec<String>,
    /// Tell metadata of administrators; there is none yet.
    #[serde(default)]
    pub metadata: bool,
    /// Tell known vulnerabilities.
    #[serde(default)]
    pub vulns: bool,
    /// Leave `downloads` out.
    #[serde(default)]
    pub omit_downloads: bool,
    /// Leave `dependencies` out.
    #[serde(default)]
    pub omit_dependencies: bool,
    /// Only `name`, `version`, `blocked`.
    #[serde(default)]
    pub omit_package_details: bool,
}

/// One line of the answer. Packages and versions that the snapshot does not have get none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Filtered {
    /// The package.
    pub name: String,
    /// The version told about.
    pub version: String,
    /// A rule forbids it.
    pub blocked: bool,
    /// The rest, unless it was left out.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// What it depends on, unless it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// How often it was fetched, unless it was left out: 0 until usage is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloads: Option<i64>,
    /// Known vulnerabilities, newest first, where they were asked for and there are some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vulns: Vec<Vulnerability>,
}

/// What [`Filter::omit_package_details`] leaves out. `null` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Details {
    /// `Title`
    pub summary: Option<String>,
    /// `License`
    pub license: Option<String>,
    /// The licences one may choose from: `GPL-2`, `GPL-3`.
    pub licenses: Vec<String>,
    /// Their families: `GPL`.
    pub license_types: Vec<String>,
    /// `Date`, else the day of publication.
    pub package_date: Option<String>,
    /// Bytes of the file, 0 while unknown.
    pub package_size: i64,
    /// Every version of that snapshot: the listed one first, then the archive, newest first.
    pub available_versions: Vec<String>,
}

/// [`Filtered::dependencies`]: names and what is asked of them, as DESCRIPTION writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependencies {
    /// `Depends`
    pub depends: Vec<String>,
    /// `Imports`
    pub imports: Vec<String>,
    /// `LinkingTo`
    pub linking_to: Vec<String>,
    /// `Suggests`
    pub suggests: Vec<String>,
    /// `Enhances`
    pub enhances: Vec<String>,
}

/// A line for a name that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilterError {
    /// What is wrong, with the name.
    pub error: String,
    /// As in every error of the API.
    pub code: u16,
}
