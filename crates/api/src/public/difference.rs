//! The packages that differ between two snapshots.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;
use base::model::snapshot::Snapshot;

query! {
    /// The query of `GET /repos/{repo}/diff`.
    Compare {
        /// a day or a transaction
        from: Option<Snapshot>,
        /// latest (default), a day or a transaction
        to: Option<Snapshot>,
        /// added, removed, updated, downgraded, replaced or moved; default all
        kind: Option<String>,
        /// csv, or json (default)
        format: Option<String>,
        /// the version of a Bioconductor repository
        bioc_version: Option<String>,
    }
}

/// One row of `GET /repos/{r}/diff`: a package that differs between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageDifference {
    pub name: String,
    /// `added`, `removed`, `updated`, `downgraded`, `replaced` (different bytes under the same version) or `moved` (the
    /// same version from another source).
    pub kind: String,
    /// The version in the first snapshot; `null` if it does not list the package.
    pub from_version: Option<String>,
    /// Name of the source in the first snapshot.
    pub from_source: Option<String>,
    /// The version in the second snapshot; `null` if it does not list the package.
    pub to_version: Option<String>,
    /// Name of the source in the second snapshot.
    pub to_source: Option<String>,
    /// Publication time of `to_version`, RFC 3339, if known.
    pub published: Option<String>,
}
