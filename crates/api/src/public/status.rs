//! Features of the server, the platforms it has binaries for, and current problems.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;
use base::model::time::{SECOND, Timestamp};

query! {
    /// The query of `GET /download`.
    Download {
        /// linux (the default), darwin or windows
        os: Option<String>,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools, reason = "the fields are those of Posit Package Manager")]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The time of the build, RFC 3339: `SOURCE_DATE_EPOCH`, or the time of the commit.
    pub build_date: String,
    /// Whether usage data is collected.
    pub metrics_enabled: bool,
    /// Always true.
    pub r_configured: bool,
    /// Whether the client may list a Python repository.
    pub python_configured: bool,
    /// Whether any binary is served.
    pub binaries_enabled: bool,
    /// Always false.
    pub display_ash: bool,
    /// Always false; true only on Posit's public service.
    pub public_p3m: bool,
    /// Always false.
    pub custom_home: bool,
    /// Always empty.
    pub custom_home_title: String,
    /// Always empty, because the server does not track users.
    pub ga_id: String,
    /// The older name of `auth_enabled`.
    pub auth_available: bool,
    /// Whether a token or a sign-in permits clients of the network more than anonymous ones: `Authentication.APITokenAuth` or
    /// `Authentication.RequireAuthForUI` is on, sign-in or identity federation is configured, or a repository requires a
    /// token.
    pub auth_enabled: bool,
    /// Whether any repository requires a token or a sign-in, also one that the client does not see.
    pub repos_require_auth: bool,
    /// Whether sign-in with an identity provider is configured (`[OpenIDConnect]`).
    pub sso_enabled: bool,
    /// The known platforms.
    pub distros: Vec<Platform>,
    /// Name of a repository that subscribes to CRAN; empty if there is none.
    pub cran_repo: String,
    /// Bioconductor versions, newest first.
    pub bioc_versions: Vec<BiocVersion>,
    /// R versions for which clients may request binaries, newest first.
    pub r_versions: Vec<String>,
    /// Folder of macOS binaries, by R version (or `default`) and architecture.
    pub macos_urls: BTreeMap<String, BTreeMap<String, String>>,
    /// License reminders, which are disabled because this server needs no license.
    pub support_window: SupportWindow,
}

/// A platform, as a row of `distros`. Clients require all fields, and compare `binaries` with `true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools, reason = "the fields are those of Posit Package Manager")]
pub struct Platform {
    /// Unique name.
    pub name: String,
    /// `linux`, `windows`, `macOS`.
    pub os: String,
    /// Display name of its binaries.
    #[serde(rename = "binaryDisplay")]
    pub binary_display: String,
    /// The segment after `__linux__`; without hyphens.
    #[serde(rename = "binaryURL")]
    pub binary_url: String,
    pub display: String,
    /// The name of the distribution in system requirements (`ID` in `/etc/os-release`).
    pub distribution: String,
    /// The release of the distribution in system requirements (`VERSION_ID` in `/etc/os-release`).
    pub release: String,
    /// The distribution on which the binaries are built, if it is another one; otherwise empty.
    pub build_distribution: String,
    /// Whether system requirements are known.
    #[serde(rename = "sysReqs")]
    pub sys_reqs: bool,
    /// Whether binaries are served.
    pub binaries: bool,
    /// Whether it is hidden in user interfaces.
    pub hidden: bool,
    /// Always true.
    pub official_rspm: bool,
    pub arch: Vec<String>,
}

/// The platform fields of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platforms {
    pub distros: Vec<Platform>,
    pub r_versions: Vec<String>,
    pub macos_urls: BTreeMap<String, BTreeMap<String, String>>,
}

/// A Bioconductor version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BiocVersion {
    /// The version, such as `3.22`.
    pub bioc_version: String,
    /// The minor version of R, such as `4.5`.
    pub r_version: String,
    /// `latest`, or the day of its snapshot of CRAN packages.
    pub cran_snapshot: String,
}

/// License reminders, which are disabled.
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
    /// The status of a server with CRAN in the repository `cran_repo` and binaries for `platforms`, and without usage data,
    /// Python repositories and authentication.
    #[must_use]
    pub fn new(cran_repo: Option<String>, platforms: Platforms) -> Status {
        // Set by the build script; absent if the program is built from an unpacked archive without `SOURCE_DATE_EPOCH`.
        let build_time =
            option_env!("RSTUDIO_PM_BUILT").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build_date: Timestamp(build_time * SECOND).to_string(),
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

/// A current problem. Details are in the server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// `job` (failed), `database` (read-only), `storage` (a class is unavailable or full), `storage-owner` (a class
    /// belongs to another database), `storage-sweep` (a sweep needs confirmation), `storage-lost` (objects are
    /// missing), `storage-damage` (objects are damaged), `backup` (the last backup or its test failed or is old), `history`
    /// (the log of what was published is paused, could not be written or lacks a cosignature),
    /// `clock` (transactions cannot be published), `system-requirements` (rules have patterns that this version does
    /// not support), `promoted-repository` (rules or advisories started or ceased to withhold versions in a repository that
    /// changes by promotion only, in the last 30 days), for administrators only: `job` of a
    /// sync that is late, `name-guard` (a mirror lists a guarded name), `token` and `certificate` (they end within 14 days),
    /// `notifications` (those of PostgreSQL do not arrive), `encryption` (tokens are sent without it).
    #[serde(rename = "type")]
    pub kind: String,
    /// The subject, such as a job: `sync:cran`.
    pub name: String,
    /// The problem as a sentence.
    pub message: String,
    /// Start of the problem, RFC 3339; `null` if unknown.
    pub since: Option<String>,
}
