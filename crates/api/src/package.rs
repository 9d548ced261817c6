//! Packages in listings of the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One listed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The listed version.
    pub version: String,
    /// Its source.
    pub source: String,
    /// Publication time, RFC 3339, where known.
    pub published: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Packages {
    /// Total number of matching packages.
    pub total: i64,
    /// Page number, from 1.
    pub page: i64,
    /// Packages of this page, by name.
    pub packages: Vec<Package>,
}
