//! `POST /__api__/url`: from a time to the snapshot of that time; scripts of some years ago ask it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Moment {
    /// The repository.
    pub repo: String,
    /// `2022-01-04T00:00:00Z`: the state at that time. A day alone is its beginning.
    pub snapshot: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The segment after the repository.
    pub upsi: String,
    /// The address of the repository in that state.
    pub url: String,
}
