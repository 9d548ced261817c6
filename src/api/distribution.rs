//! Distributions on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A distribution that binaries can be served for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Distribution {
    /// Unique.
    pub name: String,
    /// `linux`, `windows`, `macOS`.
    pub os: String,
    /// The segment after `__linux__`; distributions that share binaries share it. Empty for Windows and macOS.
    pub url: String,
    /// For people.
    pub display: String,
    /// As system requirements name it.
    pub distribution: String,
    /// Its release.
    pub release: String,
    /// Architectures.
    pub arch: Vec<String>,
    /// The R version it is meant for, when one is set.
    pub r_version: Option<String>,
    /// Other R versions get no binaries.
    pub forced: bool,
    /// Not offered to people.
    pub hidden: bool,
    /// Other names that are answered in URLs.
    pub aliases: Vec<String>,
}
