//! Repositories on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Not listed publicly.
    pub hidden: bool,
    /// RFC 3339.
    pub created: String,
    /// Subscriptions, the winner of a name first.
    pub sources: Vec<Subscription>,
    /// The newest snapshot's URL, without a host where `Server.Address` is not set.
    pub url: String,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// The source.
    pub name: String,
    /// The word people read: `Local`, `CRAN`.
    pub type_label: String,
    /// The version of Bioconductor that is taken of it, or for which it is offered; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// `POST /repos`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateRepo {
    /// Its name.
    pub name: String,
    /// `r`, `bioconductor` or `python`.
    #[serde(rename = "type", default = "r")]
    pub kind: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// An existing repository of that name and type is a success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

fn r() -> String {
    "r".to_owned()
}

/// `PATCH /repos/{name}`; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EditRepo {
    /// Its new name.
    pub new_name: Option<String>,
    /// Its new description; empty clears it.
    pub description: Option<String>,
    /// Listed publicly or not.
    pub hidden: Option<bool>,
}

/// `POST /repos/{name}/sources`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscribe {
    /// The source to append.
    pub source: String,
    /// A version of Bioconductor, where only that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A subscription that exists is a success.
    #[serde(default)]
    pub succeed_on_existing: bool,
}

/// `PUT /repos/{name}/sources`: the complete order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reorder {
    /// Exactly the subscribed sources, the winner of a name first.
    pub sources: Vec<String>,
}
