//! The platform a request wants binaries for: by its address, its parameters or its `User-Agent`.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::request::Parts;

use super::app::App;
use super::cran::shown;
use super::error::Failure;
use super::served::Wish;
use super::target::Query;
use crate::config::platforms::{Distribution, Platforms};
use crate::model::snapshot::Snapshot;
use crate::r::layout::{LinuxBuild, RMinor, RPath, Tree};
use crate::r::platform::{Arch, Platform, Target};
use crate::r::user_agent::RVersion;
use crate::repo::builds::Builds;
use crate::repo::negotiate::{self, Choice, Failed};

/// The binaries that a request wants in place of source packages.
#[derive(Clone, Debug)]
pub enum Asked<'a> {
    /// None: source packages, or an index.
    Nothing,
    /// A binary, if there is one, or else the source package.
    Builds {
        /// The distribution as the address names it.
        distro: &'a str,
        /// The chosen platform.
        choice: Cow<'a, Choice>,
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
        built: bool,
    },
}

impl<'a> Asked<'a> {
    /// The part of the cache key beside the address; `None` where the address alone decides.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Asked::Nothing | Asked::Tree { .. } => None,
            Asked::Builds { choice, .. } => Some(match &choice.wanted {
                Err(_) => "source".to_owned(),
                Ok((platform, _)) => platform.to_string(),
            }),
        }
    }

    /// The binaries to look up, as of a snapshot.
    pub(super) fn builds(&self, app: &App, snapshot: Snapshot) -> Option<Builds> {
        match self {
            Asked::Nothing | Asked::Tree { .. } => None,
            Asked::Builds { choice, .. } => {
                let (platform, _) = choice.wanted.as_ref().ok()?;
                Some(app.repo.builds(platform.clone(), snapshot))
            }
        }
    }

    /// Whether the `User-Agent` decides.
    pub(super) fn negotiated(&self) -> bool {
        matches!(self, Asked::Builds { negotiated: true, .. })
    }

    /// What is logged about the requested binary.
    pub(super) fn wish(&self, parts: &'a Parts) -> Option<Wish<'a>> {
        match self {
            Asked::Nothing => None,
            Asked::Builds { distro, choice, .. } => {
                let fit = choice.wanted.as_ref().map(|(_, how)| Some(*how)).map_err(|failed| *failed);
                Some(Wish { distro, r: choice.r, fit, agent: agent(parts) })
            }
            Asked::Tree { distro, r, built } => {
                let r = RVersion { major: r.major, minor: r.minor, patch: None };
                let fit = if *built { Ok(None) } else { Err(Failed::NoMatch) };
                Some(Wish { distro, r: Some(r), fit, agent: agent(parts) })
            }
        }
    }
}

/// What is logged about a request for binaries of an unknown distribution.
pub(super) fn unknown<'a>(distro: &'a str, parts: &'a Parts) -> Wish<'a> {
    Wish { distro, r: None, fit: Ok(None), agent: agent(parts) }
}

/// The raw `User-Agent`.
pub(super) fn agent(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)
}

/// Chooses the platform for a request for a file; an index is the same for all clients.
///
/// # Errors
/// 404 for an unknown distribution after `__linux__`.
pub(super) fn asked<'a>(
    app: &App,
    linux: Option<&'a str>,
    path: &'a RPath,
    parts: &Parts,
    query: &Query,
) -> Result<Asked<'a>, Failure> {
    let config = app.state.config.load();
    let linux = match linux {
        None => None,
        Some(name) => Some((name, distribution(&config.platforms, name)?)),
    };
    match path {
        RPath::File { tree: Tree::Source, .. } | RPath::SubFile { .. } | RPath::Archive { .. } => {}
        RPath::File { tree: Tree::Windows { r }, .. } => {
            return Ok(Asked::Tree { distro: "windows", r: *r, built: true });
        }
        RPath::File { tree: Tree::MacOs { r, .. }, .. } => {
            return Ok(Asked::Tree { distro: "macos", r: *r, built: true });
        }
        RPath::Linux { build, .. } => {
            let (distro, r) = (build.distribution.as_str(), build.r);
            let known = config.platforms.linux(distro);
            let built = known.is_none_or(|known| app.repo.may_be_built(&known.name, r));
            return Ok(Asked::Tree { distro, r, built });
        }
        RPath::Build { platform, .. } => {
            let distro = match &platform.target {
                Target::Linux(name) => name.as_str(),
                Target::Windows => "windows",
                Target::MacOs => "macos",
            };
            return Ok(Asked::Tree { distro, r: platform.r, built: true });
        }
        RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::Built { .. } => {
            return Ok(Asked::Nothing);
        }
    }
    let Some((distro, distribution)) = linux else { return Ok(Asked::Nothing) };
    let version = query.get("r_version").and_then(|text| RVersion::parse(text.as_bytes()));
    let asked = match version {
        Some(r) => negotiate::Asked::Plainly { r, arch: query.get("arch").and_then(Arch::parse) },
        None => negotiate::Asked::Header(agent(parts)),
    };
    let choice = app.repo.choice(distribution, &asked);
    Ok(Asked::Builds { distro, choice: Cow::Owned(choice), negotiated: version.is_none() })
}

fn distribution<'a>(platforms: &'a Platforms, name: &str) -> Result<&'a Distribution, Failure> {
    platforms.linux(name).ok_or_else(|| {
        Failure::not_found(format!(
            "there is no distribution '{}'; /__api__/status lists the known ones",
            shown(name)
        ))
    })
}

/// The platform of `bin/linux/{distribution}-{arch}/{r}`.
///
/// # Errors
/// 404 for an unknown distribution, or an architecture without binaries.
pub(super) fn linux(app: &App, build: &LinuxBuild) -> Result<Platform, Failure> {
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
pub(super) fn elsewhere(app: &App, tree: &Tree) -> Option<Platform> {
    match tree {
        Tree::Source => None,
        Tree::Windows { r } => Some(Platform { r: *r, target: Target::Windows, arch: Arch::X86_64 }),
        Tree::MacOs { build, r } => {
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
