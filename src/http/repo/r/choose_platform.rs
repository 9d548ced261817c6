//! Chooses the platform of a request, whose binary the client gets: by its address, its parameters or its `User-Agent`.

use std::borrow::Cow;

use http::request::Parts;

use super::platform_request::{PlatformRequest, user_agent};
use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use crate::http::response::Vary;
use crate::http::target::Query;
use base::config::platforms::{Distribution, Platforms};
use content::serve::{self, negotiate};
use formats::r::layout::{LinuxPlatform, RPath, Tree};
use formats::r::platform::{Arch, BinaryTarget, Platform};
use formats::r::user_agent::RVersion;
use formats::r::version::RMinor;

/// Chooses the platform of a file request; none for an index, the same for all. 404 for an unknown distribution.
pub(in crate::http) fn choose<'a>(
    app: &App,
    linux: Option<&'a str>,
    path: &'a RPath,
    parts: &Parts,
    query: &Query,
) -> Result<PlatformRequest<'a>, Failure> {
    let config = app.state.config.load();
    let linux = match linux {
        None => None,
        Some(name) => Some((name, distribution(&config.platforms, name)?)),
    };
    match path {
        RPath::File { tree: Tree::Source, .. } | RPath::SubFile { .. } | RPath::Archive { .. } => {}
        RPath::File { tree: Tree::Windows { r }, .. } => {
            return Ok(PlatformRequest::Tree { distro: "windows", r: *r, is_available: true });
        }
        RPath::File { tree: Tree::MacOs { r, .. }, .. } => {
            return Ok(PlatformRequest::Tree { distro: "macos", r: *r, is_available: true });
        }
        RPath::Linux { platform, .. } | RPath::File { tree: Tree::Linux(platform), .. } => {
            let (distro, r) = (platform.distribution.as_str(), platform.r);
            let distribution = config.platforms.linux(distro);
            let is_available = distribution
                .is_none_or(|distribution| serve::binaries::may_exist(&app.state, &distribution.name, r));
            return Ok(PlatformRequest::Tree { distro, r, is_available });
        }
        RPath::Binary { platform, .. } => {
            let distro = match &platform.target {
                BinaryTarget::Linux(name) => name.as_str(),
                BinaryTarget::Windows => "windows",
                BinaryTarget::MacOs => "macos",
            };
            return Ok(PlatformRequest::Tree { distro, r: platform.r, is_available: true });
        }
        RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::BinaryIndex { .. }
        | RPath::Directory { .. } => {
            return Ok(PlatformRequest::NoBinaries);
        }
    }
    let Some((distro, distribution)) = linux else { return Ok(PlatformRequest::NoBinaries) };
    let version = query.get("r_version").and_then(|text| RVersion::parse(text.as_bytes()));
    let client = match version {
        Some(r) => {
            negotiate::ClientPlatform::Explicit { r, arch: query.get("arch").and_then(Arch::of_spelling) }
        }
        None => negotiate::ClientPlatform::Header(user_agent(parts)),
    };
    let choice = serve::binaries::choose_platform(&app.state, distribution, &client);
    let vary = if version.is_none() { Vary::UserAgent } else { Vary::Nothing };
    Ok(PlatformRequest::BinaryOrSource { distro, choice: Cow::Owned(choice), vary })
}

fn distribution<'a>(platforms: &'a Platforms, name: &str) -> Result<&'a Distribution, Failure> {
    platforms.linux(name).ok_or_else(|| {
        Failure::not_found(format!(
            "there is no distribution '{}'; /__api__/status lists the known ones",
            truncate(name)
        ))
    })
}

/// Returns the platform of `bin/linux/{distribution}-{arch}/{r}`; 404 for an unknown distribution or architecture.
pub(in crate::http) fn linux_platform(app: &App, platform: &LinuxPlatform) -> Result<Platform, Failure> {
    let config = app.state.config.load();
    let distribution = distribution(&config.platforms, platform.distribution.as_str())?;
    if !distribution.architectures.iter().any(|name| name == platform.arch.as_str()) {
        let available = distribution.architectures.join(" and ");
        return Err(Failure::not_found(format!(
            "{} has no binaries for {}, only for {available}",
            distribution.name, platform.arch
        )));
    }
    Ok(Platform {
        r: platform.r,
        target: BinaryTarget::Linux(distribution.name.clone()),
        arch: platform.arch,
    })
}

/// Returns the platform of a tree of binaries; `None` for example for a folder of another version of R.
pub(in crate::http) fn tree_platform(app: &App, tree: &Tree) -> Option<Platform> {
    match tree {
        Tree::Source => None,
        Tree::Linux(platform) => linux_platform(app, platform).ok(),
        Tree::Windows { r } => Some(Platform { r: *r, target: BinaryTarget::Windows, arch: Arch::X86_64 }),
        Tree::MacOs { flavor, r } => {
            let config = app.state.config.load();
            let folder = flavor.as_ref().map_or("", |flavor| flavor.as_str());
            let arch = mac_arch(&config.platforms, *r, folder)?;
            Some(Platform { r: *r, target: BinaryTarget::MacOs, arch })
        }
    }
}

/// Returns the architecture of a folder of macOS binaries.
fn mac_arch(platforms: &Platforms, r: RMinor, folder: &str) -> Option<Arch> {
    let folders = platforms.macos_folders(&r.to_string())?;
    let is_folder = |name: &Option<String>| name.as_deref() == Some(folder);
    match (is_folder(&folders.arm64), is_folder(&folders.x86_64)) {
        (true, _) => Some(Arch::Arm64),
        (false, true) => Some(Arch::X86_64),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_macos_is_for_one_architecture_and_its_versions_of_r() {
        let config = base::config::parse("f", b"", []).expect("valid").config;
        let arch =
            |r: &str, folder: &str| mac_arch(&config.platforms, RMinor::parse(r).expect("a version"), folder);
        assert_eq!(arch("4.5", "big-sur-arm64"), Some(Arch::Arm64));
        assert_eq!(arch("4.5", "big-sur-x86_64"), Some(Arch::X86_64));
        assert_eq!(arch("4.6", "sonoma-arm64"), Some(Arch::Arm64));
        assert_eq!(arch("4.6", "big-sur-arm64"), None, "the folder of another R");
        assert_eq!((arch("4.1", ""), arch("4.5", "")), (Some(Arch::X86_64), None));
        assert_eq!(arch("5.0", "sonoma-arm64"), Some(Arch::Arm64), "as the default says");
    }
}
