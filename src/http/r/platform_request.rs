//! The platform a request wants binaries for: by its address, its parameters or its `User-Agent`.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::request::Parts;

use crate::config::platforms::{Distribution, Platforms};
use crate::http::app::App;
use crate::http::download_log::RequestedBinary;
use crate::http::error::{Failure, truncate};
use crate::http::target::Query;
use crate::model::snapshot::Snapshot;
use crate::r::layout::{LinuxPlatform, RMinor, RPath, Tree};
use crate::r::platform::{Arch, Platform, Target};
use crate::r::user_agent::RVersion;
use crate::serve::binaries::BinarySelector;
use crate::serve::negotiate::{self, MatchFailure, PlatformChoice};

/// The binaries that a request wants in place of source packages.
#[derive(Clone, Debug)]
pub enum PlatformRequest<'a> {
    /// None: source packages, or an index.
    NoBinaries,
    /// A binary, if there is one, or else the source package.
    BinaryOrSource {
        /// The distribution as the address names it.
        distro: &'a str,
        /// The chosen platform.
        choice: Cow<'a, PlatformChoice>,
        /// Whether the `User-Agent` decided.
        negotiated: bool,
    },
    /// A file of a tree of binaries: its address names the platform.
    Tree {
        /// The distribution as the address names it.
        distro: &'a str,
        /// The version of R.
        r: RMinor,
        /// False if no binaries are available for this version of R.
        available: bool,
    },
}

impl<'a> PlatformRequest<'a> {
    /// The part of the cache key beside the address; `None` where the address alone decides.
    pub(in crate::http) fn cache_key(&self) -> Option<String> {
        match self {
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => None,
            PlatformRequest::BinaryOrSource { choice, .. } => Some(match &choice.platform {
                Err(_) => "source".to_owned(),
                Ok((platform, _)) => platform.to_string(),
            }),
        }
    }

    /// The binaries to look up, as of a snapshot.
    pub(in crate::http) fn binaries(&self, app: &App, snapshot: Snapshot) -> Option<BinarySelector> {
        match self {
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => None,
            PlatformRequest::BinaryOrSource { choice, .. } => {
                let (platform, _) = choice.platform.as_ref().ok()?;
                Some(app.repositories.binary_selector(platform.clone(), snapshot))
            }
        }
    }

    /// Whether the `User-Agent` decides.
    pub(in crate::http) fn negotiated(&self) -> bool {
        matches!(self, PlatformRequest::BinaryOrSource { negotiated: true, .. })
    }

    /// What is logged about the requested binary.
    pub(in crate::http) fn requested_binary(&self, parts: &'a Parts) -> Option<RequestedBinary<'a>> {
        match self {
            PlatformRequest::NoBinaries => None,
            PlatformRequest::BinaryOrSource { distro, choice, .. } => {
                let fit = choice.platform.as_ref().map(|(_, how)| Some(*how)).map_err(|failed| *failed);
                Some(RequestedBinary { distro, r: choice.r, match_result: fit, agent: user_agent(parts) })
            }
            PlatformRequest::Tree { distro, r, available: built } => {
                let r = RVersion { major: r.major, minor: r.minor, patch: None };
                let fit = if *built { Ok(None) } else { Err(MatchFailure::NoMatch) };
                Some(RequestedBinary { distro, r: Some(r), match_result: fit, agent: user_agent(parts) })
            }
        }
    }
}

/// What is logged about a request for binaries of an unknown distribution.
pub(in crate::http) fn unknown_distribution<'a>(distro: &'a str, parts: &'a Parts) -> RequestedBinary<'a> {
    RequestedBinary { distro, r: None, match_result: Ok(None), agent: user_agent(parts) }
}

/// The raw `User-Agent`.
pub(in crate::http) fn user_agent(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)
}

/// Chooses the platform for a request for a file; an index is the same for all clients.
///
/// # Errors
/// 404 for an unknown distribution after `__linux__`.
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
            return Ok(PlatformRequest::Tree { distro: "windows", r: *r, available: true });
        }
        RPath::File { tree: Tree::MacOs { r, .. }, .. } => {
            return Ok(PlatformRequest::Tree { distro: "macos", r: *r, available: true });
        }
        RPath::Linux { platform: build, .. } => {
            let (distro, r) = (build.distribution.as_str(), build.r);
            let known = config.platforms.linux(distro);
            let built = known.is_none_or(|known| app.repositories.may_have_binaries(&known.name, r));
            return Ok(PlatformRequest::Tree { distro, r, available: built });
        }
        RPath::Binary { platform, .. } => {
            let distro = match &platform.target {
                Target::Linux(name) => name.as_str(),
                Target::Windows => "windows",
                Target::MacOs => "macos",
            };
            return Ok(PlatformRequest::Tree { distro, r: platform.r, available: true });
        }
        RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::BinaryIndex { .. } => {
            return Ok(PlatformRequest::NoBinaries);
        }
    }
    let Some((distro, distribution)) = linux else { return Ok(PlatformRequest::NoBinaries) };
    let version = query.get("r_version").and_then(|text| RVersion::parse(text.as_bytes()));
    let asked = match version {
        Some(r) => negotiate::ClientPlatform::Explicit { r, arch: query.get("arch").and_then(Arch::parse) },
        None => negotiate::ClientPlatform::Header(user_agent(parts)),
    };
    let choice = app.repositories.choose_platform(distribution, &asked);
    Ok(PlatformRequest::BinaryOrSource { distro, choice: Cow::Owned(choice), negotiated: version.is_none() })
}

fn distribution<'a>(platforms: &'a Platforms, name: &str) -> Result<&'a Distribution, Failure> {
    platforms.linux(name).ok_or_else(|| {
        Failure::not_found(format!(
            "there is no distribution '{}'; /__api__/status lists the known ones",
            truncate(name)
        ))
    })
}

/// The platform of `bin/linux/{distribution}-{arch}/{r}`.
///
/// # Errors
/// 404 for an unknown distribution, or an architecture without binaries.
pub(in crate::http) fn linux_platform(app: &App, build: &LinuxPlatform) -> Result<Platform, Failure> {
    let config = app.state.config.load();
    let distribution = distribution(&config.platforms, build.distribution.as_str())?;
    if !distribution.architectures.iter().any(|known| known == build.arch.as_str()) {
        let has = distribution.architectures.join(" and ");
        return Err(Failure::not_found(format!(
            "{} has no binaries for {}, only for {has}",
            distribution.name, build.arch
        )));
    }
    Ok(Platform { r: build.r, target: Target::Linux(distribution.name.clone()), arch: build.arch })
}

/// The platform of a Windows or macOS tree; `None` where there is none, such as a folder that belongs to another
/// version of R.
pub(in crate::http) fn tree_platform(app: &App, tree: &Tree) -> Option<Platform> {
    match tree {
        Tree::Source => None,
        Tree::Windows { r } => Some(Platform { r: *r, target: Target::Windows, arch: Arch::X86_64 }),
        Tree::MacOs { flavour: build, r } => {
            let config = app.state.config.load();
            let folder = build.as_ref().map_or("", |build| build.as_str());
            let arch = mac_arch(&config.platforms, *r, folder)?;
            Some(Platform { r: *r, target: Target::MacOs, arch })
        }
    }
}

/// The architecture of a folder of macOS binaries.
fn mac_arch(platforms: &Platforms, r: RMinor, folder: &str) -> Option<Arch> {
    let known = platforms.macos_folders(&r.to_string())?;
    let is = |of: &Option<String>| of.as_deref() == Some(folder);
    match (is(&known.arm64), is(&known.x86_64)) {
        (true, _) => Some(Arch::Arm64),
        (false, true) => Some(Arch::X86_64),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_macos_is_for_one_processor_and_its_versions_of_r() {
        let config = crate::config::parse("f", b"", []).expect("valid").config;
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
