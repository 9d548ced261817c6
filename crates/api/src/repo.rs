//! Repositories on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

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
    #[serde(default = "any_change")]
    pub changes: String,
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

/// One subscription.
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

/// `POST /repos`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateRepo {
    /// Its name.
    pub name: String,
    /// `r`, `bioconductor` or `python`.
    #[serde(rename = "type", default = "default_type")]
    pub kind: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Whether reading requires a token; absent for the default of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// The accepted changes: `any`, `promotion` or `two-persons`.
    #[serde(default = "any_change")]
    pub changes: String,
    /// Treat an existing repository with this name and type as success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

fn any_change() -> String {
    "any".to_owned()
}

fn default_type() -> String {
    "r".to_owned()
}

/// `PATCH /repos/{name}`; absent fields are not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EditRepo {
    /// Its new name.
    pub new_name: Option<String>,
    /// Its new description; empty clears it.
    pub description: Option<String>,
    /// Hide it from public lists.
    pub hidden: Option<bool>,
    /// Whether reading requires a token.
    #[serde(default)]
    pub authenticated: Option<bool>,
    /// The accepted changes: `any`, `promotion` or `two-persons`.
    #[serde(default)]
    pub changes: Option<String>,
}

/// `POST /repos/{name}/sources`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscribe {
    /// The source to append.
    pub source: String,
    /// The only Bioconductor version to subscribe to; absent for all versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Treat an existing subscription as success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

/// `PUT /repos/{name}/sources`: the complete order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reorder {
    /// All subscribed sources, in order of precedence.
    pub sources: Vec<String>,
}
