//! Promotions on the admin API.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flag_values::SuggestedValues;
use crate::query::query;
use base::model::recorded_words::PromotionState;

query! {
    /// The query of `GET /promotions`.
    #[derive(Args)]
    ListPromotions {
        /// Only promotions to this repository
        #[arg(long)]
        repo: Option<String>,
        /// Only promotions in this state
        #[arg(long, value_name = "STATE", value_parser = SuggestedValues(&["requested", "applied", "rejected", "superseded"]))]
        state: Option<String>,
    }
}

/// `POST /repos/{name}/promotions`: plans or requests a promotion to the repository.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct RequestPromotion {
    /// The repository whose state is promoted. If it is the repository in the address, that repository returns to its
    /// state at `snapshot`.
    #[arg(skip)]
    pub from: String,
    /// The snapshot of `from`: `latest`, a day, or a transaction; absent for the newest state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(
        long,
        requires = "from",
        value_name = "DATE",
        help = "Day or transaction of the promoted repository (default: the newest state)"
    )]
    pub snapshot: Option<String>,
    /// Comment, for the transaction and the audit trail.
    #[serde(default)]
    #[arg(skip)]
    pub comment: String,
    /// Return only the difference.
    #[serde(default)]
    #[arg(long, requires = "from", help = "Only print what would change")]
    pub plan: bool,
}

/// The response to a request for a promotion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestedPromotion {
    /// The promotion; absent for a plan, and if the repository already has the promoted state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// The difference, if the request had `plan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PromotionPlan>,
}

/// `POST /promotions/{id}/approve` and `POST /promotions/{id}/reject`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecidePromotion {
    /// Comment, for the audit trail.
    #[serde(default)]
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Promotion {
    /// Its number.
    pub id: i64,
    /// `requested`, `applied`, `rejected`, or `superseded` by another change of the repository.
    #[schema(value_type = String)]
    pub state: PromotionState,
    /// The name of the promoted repository at the time of the request.
    pub from: String,
    /// The repository that changes.
    pub to: String,
    /// The snapshot as the request named it.
    pub snapshot: String,
    /// The cut-off time of the states of the sources, exclusive, RFC 3339.
    pub state_at: String,
    /// The author of the request.
    pub requested_by: String,
    /// Time of the request, RFC 3339.
    pub requested: String,
    /// Comment of the request.
    pub comment: String,
    /// The author of the decision; if no other person has to approve, the author of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Time of the decision, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// Comment of the decision.
    #[serde(default)]
    pub reason: String,
    /// The transaction that applied the promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<i64>,
    /// The difference that the promotion made or would make; only in the response to `GET /promotions/{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PromotionPlan>,
}

/// The difference between two states of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionPlan {
    /// The sources in the order of the new state, then the removed ones.
    pub sources: Vec<PromotedSource>,
    /// The packages that differ, by name, as clients get them under the block rules and name guards of the time of the
    /// plan; for Bioconductor, those of the release version.
    pub packages: Vec<PromotedPackage>,
    /// Whether block rules or name guards can hide packages in the repository. A later change of them can withhold
    /// versions of the plan, without a promotion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_rules: bool,
    /// Sources whose packages are not compared, because their versions are known only for projects that were requested.
    pub not_compared: Vec<String>,
    /// SHA-256 of the plan as it was recorded with the request, which the audit trail names too; absent for a plan that was
    /// not requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The transaction whose snapshot is the new state, even after later changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<i64>,
    /// Sentences about packages that the new state makes readable for everyone, and about names that come from an index
    /// afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A source in two states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotedSource {
    pub name: String,
    /// The Bioconductor version of the subscription, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its state before the promotion; absent if it was not subscribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<PromotedState>,
    /// Its state after the promotion; absent if it is no longer subscribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PromotedState>,
}

/// The state of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotedState {
    /// Its position among the subscriptions, from 1.
    pub position: i64,
    /// Publication time of the state, RFC 3339; absent if nothing was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The transaction of the state; absent for an index of Python packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<i64>,
}

/// A package that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotedPackage {
    pub name: String,
    /// `added`, `removed`, `updated`, `downgraded`, `replaced` (other bytes), `changed` (the same version of a Python
    /// package, other files or yanks), `moved` (another source).
    pub change: String,
    /// The version before the promotion; absent for an added package, and if an index of Python packages had the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<String>,
    /// The version after the promotion; absent for a removed package, and if an index of Python packages has the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_version: Option<String>,
    /// The source after the promotion; for a removed package, the source before it.
    pub source: String,
    /// The source before the promotion, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_source: Option<String>,
    /// The files that differ of a Python package that both states have, of all versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PromotedFile>,
}

/// A file of a Python package that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotedFile {
    /// The file name.
    pub name: String,
    pub version: String,
    /// `added`, `replaced` (other bytes), `removed`, `yanked`, `unyanked`.
    pub change: String,
}
