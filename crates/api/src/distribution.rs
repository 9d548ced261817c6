//! Distributions on the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A distribution that binaries can be served for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Distribution {
    /// Unique name.
    pub name: String,
    /// `linux`, `windows`, `macOS`.
    pub os: String,
    /// The segment after `__linux__`; distributions that share binaries share it. Empty for Windows and macOS.
    pub url: String,
    /// Display name.
    pub display: String,
    /// Its name in system requirements.
    pub distribution: String,
    /// Its release in system requirements.
    pub release: String,
    /// Architectures.
    pub arch: Vec<String>,
    /// The version of R for which the distribution is configured, if any.
    pub r_version: Option<String>,
    /// Whether R versions other than `r_version` get no binaries.
    pub forced: bool,
    /// Whether it is hidden in user interfaces.
    pub hidden: bool,
    /// Other names that are valid in URLs.
    pub aliases: Vec<String>,
}
