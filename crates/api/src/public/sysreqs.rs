//! `…/sysreqs`: system requirements of packages, and the commands to install them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `GET /repos/{repo}/packages/{name}/sysreqs`.
    OfPackage {
        /// the distribution of a row of /status whose sysReqs is true
        distribution: Option<String>,
        /// the release of the same row of /status
        release: Option<String>,
    }
}

query! {
    /// The query of `GET /repos/{repo}/sysreqs`.
    OfPackages {
        /// the distribution of a row of /status whose sysReqs is true
        distribution: Option<String>,
        /// the release of the same row of /status
        release: Option<String>,
        /// true: all packages of the repository
        all: bool,
        /// a package; may be repeated, or a comma-separated list
        pkgname: Vec<String>,
    }
}

query! {
    /// The query of `POST /repos/{repo}/sysreqs`.
    OfDescription {
        /// the distribution of a row of /status whose sysReqs is true
        distribution: Option<String>,
        /// the release of the same row of /status
        release: Option<String>,
        /// true: include suggested packages
        suggests: bool,
    }
}

/// Returns whether a count is zero; such counts are omitted from responses.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// An action before or after the installation; exactly one of the two fields is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Action {
    /// A shell command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The URL of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// System requirements. All lists are present, even if empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Needs {
    /// Packages of the operating system.
    pub packages: Vec<String>,
    /// An installation command for each of `packages`.
    pub install_scripts: Vec<String>,
    /// Actions before the installation.
    pub pre_install: Vec<Action>,
    /// Actions after the installation.
    pub post_install: Vec<Action>,
}

/// System requirements of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requirement {
    /// The R package.
    pub name: String,
    /// Its own requirements; its dependencies have separate entries.
    pub requirements: Needs,
}

/// Response to `GET /repos/{r}/sysreqs`. Packages without requirements are omitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requirements {
    /// Requirements by package, sorted by name.
    pub requirements: Vec<Requirement>,
    /// All commands of `requirements`, each once.
    pub install_scripts: Vec<String>,
    /// All actions before the installation, each once.
    pub pre_install: Vec<Action>,
    /// All actions after the installation, each once.
    pub post_install: Vec<Action>,
    /// Number of requested packages and dependencies whose requirements are unknown, because the mirror has no package
    /// database and their files were not fetched. Absent if all are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_count: usize,
    /// The first hundred packages with unknown requirements, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// The system requirements of a package, or those of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependency {
    /// The R package, or the rule.
    pub name: String,
    #[serde(flatten)]
    pub needs: Needs,
}

/// Response to `POST /repos/{r}/sysreqs`: requirements of the package that a DESCRIPTION describes, and of its
/// dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DescriptionRequirements {
    /// The package, then its dependencies by name; packages without requirements are omitted.
    pub dependencies: Vec<Dependency>,
    /// All commands of `dependencies`, each once.
    pub install_scripts: Vec<String>,
    /// All actions before the installation, each once.
    pub pre_install: Vec<Action>,
    /// All actions after the installation, each once.
    pub post_install: Vec<Action>,
    /// Number of requested packages and dependencies whose requirements are unknown, because the mirror has no package
    /// database and their files were not fetched. Absent if all are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_count: usize,
    /// The first hundred packages with unknown requirements, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageRequirements {
    /// The R package.
    pub name: String,
    /// Files of the matching rules.
    pub source_files: Vec<String>,
    /// An entry for each rule that matches the package or a dependency; rules that match the package itself come first.
    pub dependencies: Vec<Dependency>,
    /// Number of requested packages and dependencies whose requirements are unknown, because the mirror has no package
    /// database and their files were not fetched. Absent if all are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_count: usize,
    /// The first hundred packages with unknown requirements, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}
