//! `GET /__api__/status`: what kind of server this is, and for which platforms it has binaries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::time::{SECOND, Timestamp};

/// The answer. Clients demand every field of [`Platform`], and compare `binaries` with `true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools)] // The shape is not ours.
pub struct Status {
    /// Of this program.
    pub version: String,
    /// RFC 3339: `SOURCE_DATE_EPOCH` of the build, else the time of the commit.
    pub build_date: String,
    /// Usage data is collected.
    pub metrics_enabled: bool,
    /// R repositories are served.
    pub r_configured: bool,
    /// Python repositories are served.
    pub python_configured: bool,
    /// Any binary package is served.
    pub binaries_enabled: bool,
    /// Always false.
    pub display_ash: bool,
    /// Always false: this is nobody's public service.
    pub public_p3m: bool,
    /// Always false.
    pub custom_home: bool,
    /// Always empty.
    pub custom_home_title: String,
    /// Always empty: nobody is tracked.
    pub ga_id: String,
    /// Tokens can be used (older name).
    pub auth_available: bool,
    /// Tokens can be used.
    pub auth_enabled: bool,
    /// Some repository asks for a token.
    pub repos_require_auth: bool,
    /// Single sign-on is set up.
    pub sso_enabled: bool,
    /// Platforms known by name.
    pub distros: Vec<Platform>,
    /// Name of the repository that holds CRAN; empty when there is none.
    pub cran_repo: String,
    /// Bioconductor versions, newest first.
    pub bioc_versions: Vec<BiocVersion>,
    /// R versions clients may ask binaries for, newest first.
    pub r_versions: Vec<String>,
    /// Folder of macOS binaries, by R version (or `default`) and architecture.
    pub macos_urls: BTreeMap<String, BTreeMap<String, String>>,
    /// Licence reminders; there is no licence.
    pub support_window: SupportWindow,
}

/// One row of [`Status::distros`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools)]
pub struct Platform {
    /// Unique.
    pub name: String,
    /// `linux`, `windows`, `macOS`.
    pub os: String,
    /// For people.
    #[serde(rename = "binaryDisplay")]
    pub binary_display: String,
    /// The segment after `__linux__`; never with a hyphen.
    #[serde(rename = "binaryURL")]
    pub binary_url: String,
    /// For people.
    pub display: String,
    /// `ID` as system requirements name it.
    pub distribution: String,
    /// `VERSION_ID`.
    pub release: String,
    /// Where its binaries are built, when elsewhere.
    pub build_distribution: String,
    /// System requirements are known.
    #[serde(rename = "sysReqs")]
    pub sys_reqs: bool,
    /// Binaries are served.
    pub binaries: bool,
    /// Not offered to people any more.
    pub hidden: bool,
    /// Always true.
    pub official_rspm: bool,
    /// Architectures.
    pub arch: Vec<String>,
}

/// What [`Status`] tells of platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platforms {
    /// [`Status::distros`]
    pub distros: Vec<Platform>,
    /// [`Status::r_versions`]
    pub r_versions: Vec<String>,
    /// [`Status::macos_urls`]
    pub macos_urls: BTreeMap<String, BTreeMap<String, String>>,
}

/// One row of [`Status::bioc_versions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BiocVersion {
    /// `3.22`
    pub bioc_version: String,
    /// `4.5`
    pub r_version: String,
    /// `latest`, or the day its CRAN packages are frozen at.
    pub cran_snapshot: String,
}

/// [`Status::support_window`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SupportWindow {
    /// Always true.
    pub disable_expiry_banner: bool,
    /// Always 9999.
    pub days_left: u32,
    /// Always 90.
    pub days_reminder: u32,
}

impl Status {
    /// Of a server whose CRAN is in the repository `cran_repo`, serving binaries for `platforms`.
    #[must_use]
    pub fn new(cran_repo: Option<String>, platforms: Platforms) -> Status {
        // Written by the build script; a build of an unpacked archive without `SOURCE_DATE_EPOCH` has none.
        let built = option_env!("RSTUDIO_PM_BUILT").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build_date: Timestamp(built * SECOND).to_string(),
            // The caller knows.
            metrics_enabled: false,
            r_configured: true,
            python_configured: false,
            binaries_enabled: platforms.distros.iter().any(|row| row.binaries),
            display_ash: false,
            public_p3m: false,
            custom_home: false,
            custom_home_title: String::new(),
            ga_id: String::new(),
            auth_available: false,
            auth_enabled: false,
            repos_require_auth: false,
            sso_enabled: false,
            distros: platforms.distros,
            cran_repo: cran_repo.unwrap_or_default(),
            bioc_versions: Vec::new(),
            r_versions: platforms.r_versions,
            macos_urls: platforms.macos_urls,
            support_window: SupportWindow { disable_expiry_banner: true, days_left: 9999, days_reminder: 90 },
        }
    }
}
