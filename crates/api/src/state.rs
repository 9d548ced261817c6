//! The configured objects of a server as one value: the content of state files, and the difference to the current objects.

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::block_rule::BlockRule;
use super::definition::DefinitionFile;
use super::metadata::MetadataRecord;
use crate::query::query;
use base::model::members::Members;
use base::words;

/// The format of state files that this version reads and writes.
pub const FORMAT: u32 = 1;

words! {
    /// The sections of a state file, in the order in which their objects refer to each other.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Section {
        Sources = "sources",
        Repositories = "repositories",
        GitCredentials = "git_credentials",
        GitBuilders = "git_builders",
        NameGuards = "name_guards",
        BlockRules = "block_rules",
        Metadata = "metadata",
    }
    else "section of a state file"
}

/// The objects of the sections that the file has; a section that is absent is not managed. Absent fields have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The format of the file: 1.
    pub format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub sources: Option<BTreeMap<String, StateSource>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub repositories: Option<BTreeMap<String, StateRepository>>,
    /// Credentials that must exist, by type and name: `https:deploy`. They are never created, changed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub git_credentials: Option<BTreeMap<String, StateCredential>>,
    /// Builders by source and package: `team-git/acme`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub git_builders: Option<BTreeMap<String, StateBuilder>>,
    /// Guards by language and name or pattern: `r:acme.*`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub name_guards: Option<BTreeMap<String, StateGuard>>,
    /// Block rules, without numbers and authors; rules name sources and repositories by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_rules: Option<Vec<BlockRule>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<MetadataRecord>>,
}

/// Reads objects by name. A repeated name is an error, also in JSON.
fn named<'de, D, T>(deserializer: D) -> Result<Option<BTreeMap<String, T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut objects = BTreeMap::new();
    for (name, object) in Members::<T>::deserialize(deserializer)?.0 {
        if let Some(name) = objects.contains_key(&name).then_some(&name) {
            return Err(serde::de::Error::custom(format!("'{name}' is repeated")));
        }
        objects.insert(name, object);
    }
    Ok(Some(objects))
}

/// A source that is not built in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSource {
    /// Its type; default `local`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its previous name: a source of this name is renamed. Ignored if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// For a curated source or a snapshot of CRAN: the past day or the transaction from which it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// For a curated source of R packages: the kinds of dependencies to include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
    /// For a curated source of Python packages: whether it includes dependencies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dependencies: bool,
    /// The definition of a curated source, the main file first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<StateFile>,
}

/// A file of a definition: its text, or in a file of `rspm` its path relative to that file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected the path of a file, or a table with the keys name and text")]
pub enum StateFile {
    Path(String),
    File(DefinitionFile),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRepository {
    /// Its type; default `r`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its previous name: a repository of this name is renamed. Ignored if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// One line of text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is hidden from public lists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Whether reading requires a token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authenticated: bool,
    /// The accepted changes: `any`, `promotion` or `two-persons`; default `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// The subscribed sources, in order of precedence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StateSubscription>,
}

/// A subscribed source: its name, or its name with a version of Bioconductor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected the name of a source, or a table with the keys source and version")]
pub enum StateSubscription {
    Name(String),
    Version { source: String, version: String },
}

/// A credential for git repositories, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateCredential {
    /// User name; empty for SSH.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The only host to which it is sent; empty for the host of each builder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Algorithm and fingerprint of an SSH key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateBuilder {
    /// URL of the git repository.
    pub url: String,
    /// The branch; empty for the default branch.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub branch: String,
    /// `commits` or `tags`; default `commits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_trigger: Option<String>,
    /// Relative path of the package.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub_dir: String,
    /// Number of commits to fetch, 0 for the full history; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_depth: Option<u32>,
    /// Number of levels of submodules to fetch; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurse_submodules: Option<u32>,
    /// Whether vignettes are built.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vignettes: bool,
    /// Name of a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateGuard {
    /// The only source that may provide the names.
    pub source: String,
    /// One line of text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

query! {
    /// The query of `GET /state`.
    #[derive(Args)]
    ExportState {
        /// Only these sections, comma separated: sources, repositories, git_credentials, git_builders, name_guards,
        /// block_rules, metadata
        #[arg(long, value_delimiter = ',', value_name = "SECTIONS")]
        only: Vec<String>,
        /// Only objects with this name, or prefix and '*'; rules, metadata and guards of such sources and repositories
        #[arg(long, value_name = "PATTERN")]
        names: Option<String>,
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExportedState {
    /// The version of the server.
    pub version: String,
    pub state: State,
    /// Lines about objects that are not in the state, because they cannot be created from it.
    pub comments: Vec<String>,
}

/// `POST /state`: compares a state with the objects of the server, or makes the changes.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[serde(deny_unknown_fields)]
pub struct ApplyState {
    #[arg(skip)]
    pub state: State,
    /// Make the changes; otherwise they are only planned
    #[serde(default)]
    #[arg(long)]
    pub commit: bool,
    /// Delete objects that are not in the state, of the sections that it has
    #[serde(default)]
    #[arg(long)]
    pub prune: bool,
    /// Compare only objects with this name, or prefix and '*', and rules, metadata and guards of such sources and
    /// repositories
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "PATTERN")]
    pub names: Option<String>,
    /// Refuse the changes if the objects of the sections changed since the plan with this digest
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "DIGEST")]
    pub base: Option<String>,
    /// Permit changes that protect less: open repositories, deleted rules, exceptions, changed guards
    #[serde(default)]
    #[arg(long)]
    pub allow_weaker: bool,
    /// With --prune: sources that may be deleted with their packages and builders
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[arg(long, value_delimiter = ',', value_name = "SOURCES")]
    pub delete_packages_of: Vec<String>,
    /// With --prune: confirms the exact number of deletions, if it is more than 20 or more than half of a section
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "N")]
    pub confirm_deletes: Option<usize>,
    /// The reason, stored with the transactions and in the audit trail
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub comment: String,
}

/// The changes that make the objects of a server equal to a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatePlan {
    /// The digest of the current objects of the sections, for `base`.
    pub digest: String,
    pub changes: Vec<StateChange>,
    /// Reasons why nothing is changed; empty if the changes can be made.
    pub problems: Vec<StateProblem>,
    /// Number of objects that the sections of the state do not have and that stay.
    pub kept: usize,
    /// Whether the changes, except later ones, were made.
    pub committed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateChange {
    pub action: StateAction,
    #[schema(value_type = String)]
    pub section: Section,
    /// The name of the object; the content of a rule; the package, its limits and the key of metadata.
    pub name: String,
    /// The fields that change; all of an object that is created or deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<ChangedField>,
    /// Whether less is protected afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weaker: bool,
    /// Whether it is made after the others by an operation of its own, or waits for such a change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
    /// Sentences about what follows from the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateAction {
    Create,
    Change,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedField {
    pub field: String,
    /// The current value; null for the default.
    pub from: Value,
    /// The new value; null for the default.
    pub to: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateProblem {
    /// The section; absent for a problem of all changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub section: Option<Section>,
    /// The name of the object in the section, or its position in a list, from 0.
    pub name: String,
    pub error: String,
}
