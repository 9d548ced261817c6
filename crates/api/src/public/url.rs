//! `POST /__api__/url`: the snapshot at a given time, for older scripts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /url`: a request for the snapshot at a given time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotQuery {
    pub repo: String,
    /// The time, in UTC: `2022-01-04T00:00:00Z`, or a day.
    pub snapshot: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The snapshot segment of the URL.
    pub upsi: String,
    /// The URL of the repository at that snapshot.
    pub url: String,
}
