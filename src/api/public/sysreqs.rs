//! `…/sysreqs`: what packages need of the operating system, and how it is installed there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a count is left out of an answer.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Something to be run before or after installing: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Action {
    /// A line for the shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The address of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// What is needed. Every list is there, also when it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Needs {
    /// Packages of the operating system.
    pub packages: Vec<String>,
    /// A command for each of them.
    pub install_scripts: Vec<String>,
    /// To be run before.
    pub pre_install: Vec<Action>,
    /// To be run after.
    pub post_install: Vec<Action>,
}

/// What one package needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requirement {
    /// The R package.
    pub name: String,
    /// What it needs itself; the packages it depends on have entries of their own.
    pub requirements: Needs,
}

/// `GET /repos/{r}/sysreqs`: packages that need nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requirements {
    /// By name.
    pub requirements: Vec<Requirement>,
    /// All commands of `requirements`, each once.
    pub install_scripts: Vec<String>,
    /// As `install_scripts`.
    pub pre_install: Vec<Action>,
    /// As `install_scripts`.
    pub post_install: Vec<Action>,
    /// How many packages were asked about, or are needed by those, whose requirements are not known: the mirror has no
    /// package database, and their files were not fetched. Absent when all are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_count: usize,
    /// The first hundred of them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// One entry of [`Posted`] and [`OfPackage`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependency {
    /// The R package, or the rule.
    pub name: String,
    /// What it needs.
    #[serde(flatten)]
    pub needs: Needs,
}

/// `POST /repos/{r}/sysreqs`: what the package of a DESCRIPTION and the packages it depends on need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Posted {
    /// The package itself first, then others by name; those that need nothing are left out.
    pub dependencies: Vec<Dependency>,
    /// All commands of `dependencies`, each once.
    pub install_scripts: Vec<String>,
    /// As `install_scripts`.
    pub pre_install: Vec<Action>,
    /// As `install_scripts`.
    pub post_install: Vec<Action>,
    /// How many packages were asked about, or are needed by those, whose requirements are not known: the mirror has no
    /// package database, and their files were not fetched. Absent when all are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_count: usize,
    /// The first hundred of them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// `GET /repos/{r}/packages/{name}/sysreqs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfPackage {
    /// The R package.
    pub name: String,
    /// The files of the rules that say so.
    pub source_files: Vec<String>,
    /// An entry for each rule that the package, or one it depends on, asks for; the package's own first.
    pub dependencies: Vec<Dependency>,
    /// How many packages were asked about, or are needed by those, whose requirements are not known: the mirror has no
    /// package database, and their files were not fetched. Absent when all are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_count: usize,
    /// The first hundred of them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}
