//! Converts the configured platforms and the binaries for both APIs.

use std::collections::BTreeMap;

use api::binary::Binary;
use api::choices::Distribution;
use api::public::status::{self, Platform};
use base::config::platforms::{self, Os, Platforms};
use content::serve::binaries;
use content::serve::binary_rows::BinaryRow;
use formats::r::layout::{RPath, RepoFileName};
use formats::r::platform::{ANY_ARCH, BinaryTarget};
use runtime::catalog::Catalog;

/// Returns the platforms of the status response.
pub(crate) fn status(platforms: &Platforms, catalog: &Catalog) -> status::Platforms {
    let rows = platforms.distributions.iter().filter(|distribution| distribution.has_status_row);
    let folders = |mac: &platforms::MacFolders| {
        let entry = |arch: &str, folder: &Option<String>| Some((arch.to_owned(), folder.clone()?));
        let folders: BTreeMap<_, _> =
            [entry("arm64", &mac.arm64), entry("x86_64", &mac.x86_64)].into_iter().flatten().collect();
        (mac.r_version.clone(), folders)
    };
    status::Platforms {
        distros: rows.map(|distribution| row(distribution, catalog)).collect(),
        r_versions: platforms.r_versions.clone(),
        macos_urls: platforms.macos.iter().map(folders).collect(),
    }
}

fn row(distribution: &platforms::Distribution, catalog: &Catalog) -> Platform {
    let suffix = match distribution.os {
        Os::Linux => format!("-{}", distribution.url_segment()),
        Os::Windows => "-win".to_owned(),
        Os::MacOs => "-macos".to_owned(),
    };
    Platform {
        name: distribution.name.clone(),
        os: distribution.os.as_str().to_owned(),
        binary_display: distribution.display.clone(),
        binary_url: distribution.url_segment().to_owned(),
        display: distribution.display.clone(),
        distribution: distribution.rules_name.clone(),
        release: distribution.rules_release.clone(),
        build_distribution: String::new(),
        sys_reqs: distribution.has_system_requirements,
        binaries: binaries::has_binary_list(catalog, |label| label.ends_with(&suffix)),
        hidden: distribution.is_hidden,
        official_rspm: true,
        arch: distribution.architectures.clone(),
    }
}

/// Returns the rows of `rspm list distributions`; names without their own row are listed as aliases.
pub(crate) fn list(platforms: &Platforms) -> Vec<Distribution> {
    let rows = platforms.distributions.iter().filter(|distribution| distribution.has_status_row);
    let aliases = |distribution: &platforms::Distribution| {
        let has_no_row =
            |name: &&str| !platforms.distributions.iter().any(|o| o.has_status_row && o.name == *name);
        platforms.aliases(&distribution.name).filter(has_no_row).map(str::to_owned).collect()
    };
    rows.map(|distribution| Distribution {
        name: distribution.name.clone(),
        os: distribution.os.as_str().to_owned(),
        url: distribution.url_segment().to_owned(),
        display: distribution.display.clone(),
        distribution: distribution.rules_name.clone(),
        release: distribution.rules_release.clone(),
        arch: distribution.architectures.clone(),
        r_version: distribution.r_version.clone(),
        forced: distribution.is_r_version_forced,
        hidden: distribution.is_hidden,
        aliases: aliases(distribution),
    })
    .collect()
}

/// Converts a binary to its wire type.
pub(crate) fn wire_binary(row: BinaryRow) -> Binary {
    let BinaryRow { version, platform, any_arch, file, sha256, size, listed_at, stored } = row;
    let name = RepoFileName::parse(&file);
    let address = sha256.zip(name).map(|(sha256, file)| {
        let platform = platform.clone();
        RPath::Binary { platform, sha256, file }.path()
    });
    Binary {
        version,
        r_version: platform.r.to_string(),
        distribution: match &platform.target {
            BinaryTarget::Linux(name) => name.clone(),
            BinaryTarget::Windows => "windows".to_owned(),
            BinaryTarget::MacOs => "macos".to_owned(),
        },
        arch: if any_arch { ANY_ARCH } else { platform.arch.as_str() }.to_owned(),
        platform: platform.to_string(),
        file,
        sha256: sha256.map(|digest| digest.to_string()),
        size,
        published: listed_at.to_string(),
        address,
        stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config;

    fn platforms(text: &str) -> base::config::SharedPlatforms {
        config::parse("f", text.as_bytes(), []).expect("valid").config.platforms.clone()
    }

    #[test]
    fn every_row_is_usable_by_clients() {
        let answer = status(&platforms("[Distribution \"own\"]\nHidden = false\n"), &Catalog::default());
        assert!(answer.distros.len() > 25 && answer.distros.iter().any(|row| row.name == "own"));
        let mut names: Vec<_> = answer.distros.iter().map(|row| &row.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), answer.distros.len(), "names are unique");
        for row in &answer.distros {
            assert!(!row.binary_url.contains('-'), "clients split tags at hyphens: {row:?}");
            assert!(row.arch.iter().all(|a| a == "x86_64" || a == "arm64"), "{row:?}");
            assert!(!row.distribution.is_empty() && !row.release.is_empty(), "{row:?}");
        }
        let url = |name: &str| {
            answer.distros.iter().find(|row| row.name == name).map(|row| row.binary_url.as_str())
        };
        assert_eq!((url("rhel8"), url("windows"), url("rockylinux8")), (Some("centos8"), Some(""), None));
        assert_eq!(answer.macos_urls["4.2"]["x86_64"], "");
        assert!(!answer.macos_urls["3.6"].contains_key("arm64"));
    }

    #[test]
    fn an_alias_is_listed_with_its_distribution() {
        let listed = list(&platforms("[Distribution \"ours\"]\nAlias = rhel9\n"));
        let rhel9 = listed.iter().find(|distribution| distribution.name == "rhel9").expect("known");
        assert_eq!(rhel9.aliases, ["rockylinux9", "almalinux9", "centos9", "ours"]);
    }
}
