//! The configured objects of a server as one value: the content of state files, and the difference to the current objects.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
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

/// A state as JSON, of which a server reads the sections and their sizes before the objects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateText(Box<RawValue>);

impl StateText {
    /// # Errors
    /// Those of `serde_json`; the types of the sections have none.
    pub fn new(state: &State) -> serde_json::Result<StateText> {
        to_raw_value(state).map(StateText)
    }

    /// Reads the format, and the size of each section. Stores no objects.
    ///
    /// # Errors
    /// A key that a state does not have, or that is repeated; a missing format.
    pub fn contents(&self) -> serde_json::Result<Contents> {
        serde_json::from_str(self.0.get())
    }

    /// # Errors
    /// The first key or value that a state cannot have.
    pub fn parse(&self) -> serde_json::Result<State> {
        serde_json::from_str(self.0.get())
    }
}

/// The format of a state, and the size of each section that it has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    pub format: u32,
    #[serde(default)]
    sources: Option<Size>,
    #[serde(default)]
    repositories: Option<Size>,
    #[serde(default)]
    git_credentials: Option<Size>,
    #[serde(default)]
    git_builders: Option<Size>,
    #[serde(default)]
    name_guards: Option<Size>,
    #[serde(default)]
    block_rules: Option<Size>,
    #[serde(default)]
    metadata: Option<Size>,
}

impl Contents {
    /// Returns the sections that the state has, with their sizes.
    pub fn sections(&self) -> impl Iterator<Item = (Section, Size)> {
        Section::ALL.into_iter().filter_map(|section| {
            let size = match section {
                Section::Sources => self.sources,
                Section::Repositories => self.repositories,
                Section::GitCredentials => self.git_credentials,
                Section::GitBuilders => self.git_builders,
                Section::NameGuards => self.name_guards,
                Section::BlockRules => self.block_rules,
                Section::Metadata => self.metadata,
            };
            Some((section, size?))
        })
    }
}

/// The size of a JSON value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Number of members of the object, or of elements of the list; 0 for another value.
    pub objects: usize,
    /// The same with those of all objects and lists in it.
    pub values: usize,
}

impl Size {
    fn add(&mut self, object: Size) {
        self.objects += 1;
        self.values += 1 + object.values;
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Size, A::Error> {
        let mut size = Size::default();
        while let Some((IgnoredAny, member)) = members.next_entry()? {
            size.add(member);
        }
        Ok(size)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Size, A::Error> {
        let mut size = Size::default();
        while let Some(element) = elements.next_element()? {
            size.add(element);
        }
        Ok(size)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Size, E> {
        Ok(Size::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Size, E> {
        Ok(Size::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Size, E> {
        Ok(Size::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Size, E> {
        Ok(Size::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Size, E> {
        Ok(Size::default())
    }

    fn visit_unit<E>(self) -> Result<Size, E> {
        Ok(Size::default())
    }
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
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[group(skip)]
#[serde(deny_unknown_fields)]
pub struct ApplyState {
    #[arg(skip)]
    #[schema(value_type = State)]
    pub state: StateText,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> StateText {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn the_sections_of_a_state_have_the_sizes_of_their_contents() {
        let state = text(
            r#"{"format":1,"sources":{"a":{},"b":{"files":["x",{"name":"y","text":"z"}]}},"block_rules":[{},{"vulns":true}],
                "repositories":{},"metadata":null}"#,
        );
        let contents = state.contents().expect("contents");
        let size = |objects, values| Size { objects, values };
        let expected = [
            (Section::Sources, size(2, 7)),
            (Section::Repositories, size(0, 0)),
            (Section::BlockRules, size(2, 3)),
        ];
        assert_eq!(contents.sections().collect::<Vec<_>>(), expected);
        let of_other_types =
            text(r#"{"format":1,"name_guards":[1,-1,1.5,"a",true,null,[]],"git_builders":5}"#);
        let sizes = of_other_types.contents().expect("contents").sections().collect::<Vec<_>>();
        assert_eq!(sizes, [(Section::GitBuilders, size(0, 0)), (Section::NameGuards, size(7, 7))]);
        assert!(of_other_types.parse().is_err());
    }

    #[test]
    fn a_state_has_only_its_keys_and_no_deep_values() {
        let deep = format!(r#"{{"format":1,"sources":{}{}}}"#, "[".repeat(120), "]".repeat(120));
        let too_deep = format!(r#"{{"format":1,"sources":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(text(&deep).contents().is_ok());
        // The text of a value is skipped without recursion.
        assert!(text(&too_deep).contents().expect_err("deep").to_string().contains("recursion limit"));
        for (json, reason) in [
            (r#"{"format":1,"users":{}}"#, "unknown field `users`, expected one of `format`, `sources`"),
            (r#"{"format":1,"sources":{},"sources":{}}"#, "duplicate field `sources`"),
            (r#"{"sources":{}}"#, "missing field `format`"),
            ("[]", "invalid length 0"),
            ("null", "invalid type: null"),
        ] {
            let error = text(json).contents().expect_err(json).to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
