//! Repositories on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::SuggestedValues;
use crate::query::query;
use base::model::kind::ChangePolicy;

query! {
    /// The query of `GET /repos`.
    #[derive(Args)]
    ListRepos {
        /// Only repositories subscribed to this source
        #[arg(long)]
        source: Option<String>,
    }
}

query! {
    /// The query of `DELETE /repos/{name}/sources/{source}`.
    #[derive(Args)]
    #[group(skip)]
    Unsubscribe {
        /// Remove only the subscription for this version of Bioconductor
        #[arg(long)]
        version: Option<String>,
    }
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// Row id.
    pub id: i64,
    /// Unique among repositories; the first segment of its URLs.
    pub name: String,
    /// `R`, `Bioconductor`, `Python`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Free text.
    pub description: String,
    /// Whether it is hidden from public lists.
    pub hidden: bool,
    /// Whether reading requires a token.
    #[serde(default)]
    pub authenticated: bool,
    /// The accepted changes: `any`, `promotion` for promotions only, or `two-persons` for promotions that another
    /// person approved.
    #[serde(default)]
    #[schema(value_type = String)]
    pub changes: ChangePolicy,
    /// The cut-off time of the states of the sources, exclusive, RFC 3339; absent while the repository serves
    /// the newest states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_at: Option<String>,
    /// Creation time, RFC 3339.
    pub created: String,
    /// Subscriptions, in order of precedence.
    pub sources: Vec<Subscription>,
    /// URL of the newest snapshot; without a host if `Server.Address` is not set.
    pub url: String,
    /// Sentences about objects that a change made readable for everyone; only in the response to the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Returns a repository, with the version of Bioconductor: `bioc (Bioconductor 3.20)`.
pub(crate) fn place(repo: &str, bioc_version: Option<&str>) -> String {
    match bioc_version {
        Some(version) => format!("{repo} (Bioconductor {version})"),
        None => repo.to_owned(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// The source; its number if it was deleted.
    pub name: String,
    /// Display name of its type: `Local`, `CRAN`; `deleted source` if it was deleted.
    pub type_label: String,
    /// For a source of type Bioconductor, its served version; for any other source, the only version of Bioconductor
    /// for which it is served. Absent for all versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct CreateRepo {
    #[arg(long, help = "The new repository's name: the first part of its URLs")]
    pub name: String,
    /// Free text.
    #[serde(default)]
    #[arg(long, default_value = "", hide_default_value = true, help = "A one-line description")]
    pub description: String,
    /// `r`, `bioconductor` or `python`.
    #[serde(rename = "type", default = "default_type")]
    #[arg(long = "type", default_value = "r", value_name = "TYPE", value_parser = SuggestedValues(&["r", "bioconductor", "python"]), help = "Type of the repository")]
    pub kind: String,
    /// Whether reading requires a token; absent for the default of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help = "Require a token for reading; the default is Authentication.NewReposAuthByDefault")]
    pub authenticated: Option<bool>,
    /// The accepted changes: `any`, `promotion` or `two-persons`.
    #[serde(default = "any_change")]
    #[arg(long, default_value = "any", value_name = "POLICY", value_parser = SuggestedValues(&["any", "promotion", "two-persons"]), help = "Changes that the repository accepts: any, promotion, or two-persons for promotions that another person approves")]
    pub changes: String,
    /// Treat an existing repository with this name and type as success.
    #[serde(default)]
    #[arg(long, help = "Succeed when the repository exists with the same type")]
    pub succeed_on_existing: bool,
}

fn any_change() -> String {
    "any".to_owned()
}

fn default_type() -> String {
    "r".to_owned()
}

/// `PATCH /repos/{name}`; absent fields are not changed.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct EditRepo {
    #[arg(long, help = "New name of the repository")]
    pub new_name: Option<String>,
    /// Its new description; empty clears it.
    #[arg(long, conflicts_with = "clear_description", help = "New description of the repository")]
    pub description: Option<String>,
    /// Hide it from public lists.
    #[arg(long = "hide", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help = "Hide the repository from public listings; --hide=false shows it again")]
    pub hidden: Option<bool>,
    /// Whether reading requires a token.
    #[serde(default)]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help = "Require a token for reading; --authenticated=false opens the repository to everyone")]
    pub authenticated: Option<bool>,
    /// The accepted changes: `any`, `promotion` or `two-persons`.
    #[serde(default)]
    #[arg(long, value_name = "POLICY", value_parser = SuggestedValues(&["any", "promotion", "two-persons"]), help = "Changes that the repository accepts: any, promotion, or two-persons for promotions that another person approves")]
    pub changes: Option<String>,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct Subscribe {
    /// The source to append.
    #[arg(
        long,
        help = "The source to subscribe to (appended; in a Bioconductor repository placed before Bioconductor itself)"
    )]
    pub source: String,
    /// The only Bioconductor version to subscribe to; absent for all versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        help = "R repository: serve this version of Bioconductor; Bioconductor repository: serve the source only for this version"
    )]
    pub version: Option<String>,
    /// Treat an existing subscription as success.
    #[serde(default)]
    #[arg(long, help = "Succeed when the repository is already subscribed")]
    pub succeed_on_existing: bool,
}

/// `PUT /repos/{name}/sources`: the complete order.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct Reorder {
    /// All subscribed sources, in order of precedence.
    #[arg(
        long,
        value_delimiter = ',',
        required = true,
        help = "All sources of the repository in the new order, comma separated or repeated"
    )]
    pub sources: Vec<String>,
}
