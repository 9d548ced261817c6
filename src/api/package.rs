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
    /// The source it comes from.
    pub source: String,
    /// Publication time, RFC 3339, where known.
    pub published: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Packages {
    /// All that match, not only this page.
    pub total: i64,
    /// From 1.
    pub page: i64,
    /// This page, by name.
    pub packages: Vec<Package>,
}
