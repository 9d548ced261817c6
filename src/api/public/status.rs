//! `GET /__api__/status`: what kind of server this is, and for which platforms it has binaries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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

/// R versions of the platforms, newest first.
const R_VERSIONS: [&str; 6] = ["4.6", "4.5", "4.4", "4.3", "4.2", "3.6"];

/// The platforms known by name. None has binaries yet: their trees answer with empty, valid indexes.
static PLATFORMS: LazyLock<Vec<Platform>> = LazyLock::new(|| {
    let rows = include_str!("platforms.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.map(platform).collect()
});

fn platform(row: &str) -> Platform {
    let mut columns = row.split('\t').map(str::to_owned);
    let mut next = || columns.next().expect("every row of platforms.tsv has nine columns");
    let (name, os, binary_url, display) = (next(), next(), next(), next());
    Platform {
        name,
        os,
        binary_display: display.clone(),
        binary_url,
        display,
        distribution: next(),
        release: next(),
        build_distribution: String::new(),
        sys_reqs: next() == "true",
        binaries: false,
        hidden: next() == "true",
        official_rspm: true,
        arch: next().split(' ').map(str::to_owned).collect(),
    }
}

impl Status {
    /// Of a server whose CRAN is in the repository `cran_repo`.
    #[must_use]
    pub fn new(cran_repo: Option<String>) -> Status {
        let folders = |arm: &str, intel: &str| {
            BTreeMap::from([("arm64".to_owned(), arm.to_owned()), ("x86_64".to_owned(), intel.to_owned())])
        };
        let big_sur = || folders("big-sur-arm64", "big-sur-x86_64");
        let macos_urls = BTreeMap::from([
            ("4.3".to_owned(), big_sur()),
            ("4.4".to_owned(), big_sur()),
            ("4.5".to_owned(), big_sur()),
            ("default".to_owned(), folders("sonoma-arm64", "big-sur-x86_64")),
        ]);
        // Written by the build script; a build of an unpacked archive without `SOURCE_DATE_EPOCH` has none.
        let built = option_env!("RSTUDIO_PM_BUILT").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build_date: Timestamp(built * SECOND).to_string(),
            metrics_enabled: false,
            r_configured: true,
            python_configured: false,
            binaries_enabled: false,
            display_ash: false,
            public_p3m: false,
            custom_home: false,
            custom_home_title: String::new(),
            ga_id: String::new(),
            auth_available: false,
            auth_enabled: false,
            repos_require_auth: false,
            sso_enabled: false,
            distros: PLATFORMS.clone(),
            cran_repo: cran_repo.unwrap_or_default(),
            bioc_versions: Vec::new(),
            r_versions: R_VERSIONS.map(str::to_owned).to_vec(),
            macos_urls,
            support_window: SupportWindow { disable_expiry_banner: true, days_left: 9999, days_reminder: 90 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_row_is_what_clients_can_use() {
        let status = Status::new(None);
        assert!(status.distros.len() > 15);
        let mut names: Vec<_> = status.distros.iter().map(|row| &row.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), status.distros.len(), "names are unique");
        for row in &status.distros {
            assert!(!row.binary_url.contains('-'), "clients split tags at hyphens: {row:?}");
            assert!(
                !row.arch.is_empty() && row.arch.iter().all(|a| a == "x86_64" || a == "arm64"),
                "{row:?}"
            );
            assert!(!row.distribution.is_empty() && !row.release.is_empty(), "{row:?}");
            assert!(!row.binaries, "none is served yet");
        }
    }
}
