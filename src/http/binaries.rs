//! Which builds a request means: by its address, by its parameters, or by its `User-Agent`.

use http::header::{self, HeaderValue};
use http::request::Parts;

use super::app::App;
use super::cran::shown;
use super::error::Failure;
use super::target::Query;
use crate::config::platforms::{Distribution, MacFolders, Platforms};
use crate::model::snapshot::Snapshot;
use crate::r::layout::{LinuxBuild, RMinor, RPath, Tree};
use crate::r::platform::{Arch, Platform, Target};
use crate::r::user_agent::RVersion;
use crate::repo::builds::Builds;
use crate::repo::negotiate::{self, Choice};

/// What a request asks for in place of sources.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Nothing: sources are what it means, or its address tells the rest.
    Nothing,
    /// A build, when there is one.
    Builds {
        /// What was decided.
        choice: Choice,
        /// By the `User-Agent`.
        negotiated: bool,
    },
}

impl Asked {
    /// What tells apart the answers at one address.
    pub(super) fn name(&self) -> String {
        match self {
            Asked::Nothing | Asked::Builds { choice: Choice { wanted: Err(_), .. }, .. } => {
                "source".to_owned()
            }
            Asked::Builds { choice: Choice { wanted: Ok((platform, _)), .. }, .. } => platform.to_string(),
        }
    }

    /// The builds to look for, as a snapshot shows them.
    pub(super) fn builds(&self, app: &App, snapshot: Snapshot) -> Option<Builds> {
        match self {
            Asked::Nothing | Asked::Builds { choice: Choice { wanted: Err(_), .. }, .. } => None,
            Asked::Builds { choice: Choice { wanted: Ok((platform, _)), .. }, .. } => {
                Some(builds(app, platform.clone(), snapshot))
            }
        }
    }

    /// Whether the `User-Agent` decides.
    pub(super) fn negotiated(&self) -> bool {
        matches!(self, Asked::Builds { negotiated: true, .. })
    }
}

/// Builds for a platform, as a snapshot shows them.
pub(super) fn builds(app: &App, platform: Platform, snapshot: Snapshot) -> Builds {
    Builds { platform, until: app.repo.builds_until(snapshot) }
}

/// Decides for a request below `__linux__/{distribution}`; only files are negotiated, an index is the same for all.
///
/// # Errors
/// 404 for an unknown distribution.
pub(super) fn asked(
    app: &App,
    linux: Option<&str>,
    path: &RPath,
    parts: &Parts,
    query: &Query,
) -> Result<Asked, Failure> {
    let Some(name) = linux else { return Ok(Asked::Nothing) };
    let config = app.state.config.load();
    let distribution = distribution(&config.platforms, name)?;
    match path {
        RPath::File { tree: Tree::Source, .. } | RPath::SubFile { .. } | RPath::Archive { .. } => {}
        RPath::File { .. }
        | RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::Linux { .. }
        | RPath::Built { .. } => return Ok(Asked::Nothing),
    }
    let version = query.get("r_version").and_then(|text| RVersion::parse(text.as_bytes()));
    let asked = match version {
        Some(r) => negotiate::Asked::Plainly { r, arch: query.get("arch").and_then(Arch::parse) },
        None => negotiate::Asked::Header(parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)),
    };
    let choice = negotiate::choose(distribution, &asked, |r| app.repo.may_be_built(&distribution.name, r));
    Ok(Asked::Builds { choice, negotiated: version.is_none() })
}

fn distribution<'a>(platforms: &'a Platforms, name: &str) -> Result<&'a Distribution, Failure> {
    platforms.linux(name).ok_or_else(|| {
        Failure::not_found(format!(
            "there is no distribution '{}'; /__api__/status lists those there are",
            shown(name)
        ))
    })
}

/// The platform of `bin/linux/{distribution}-{arch}/{r}`.
///
/// # Errors
/// 404 for an unknown distribution, or a processor it has no builds for.
pub(super) fn linux(app: &App, build: &LinuxBuild) -> Result<Platform, Failure> {
    let config = app.state.config.load();
    let distribution = distribution(&config.platforms, build.distribution.as_str())?;
    if !distribution.architectures.iter().any(|known| known == build.arch.as_str()) {
        let has = distribution.architectures.join(" and ");
        return Err(Failure::not_found(format!(
            "{} has no builds for {}, only for {has}",
            distribution.name, build.arch
        )));
    }
    Ok(Platform { r: build.r, target: Target::Linux(distribution.name.clone()), arch: build.arch })
}

/// The platform of a Windows or macOS tree; `None` where there is none, such as the folder of another R's builds.
pub(super) fn elsewhere(app: &App, tree: &Tree) -> Option<Platform> {
    match tree {
        Tree::Source => None,
        Tree::Windows { r } => Some(Platform { r: *r, target: Target::Windows, arch: Arch::X86_64 }),
        Tree::MacOs { build, r } => {
            let config = app.state.config.load();
            let folder = build.as_ref().map_or("", |build| build.as_str());
            let arch = mac_arch(&config.platforms.macos, *r, folder)?;
            Some(Platform { r: *r, target: Target::MacOs, arch })
        }
    }
}

/// The processor a folder of macOS builds is for.
fn mac_arch(folders: &[MacFolders], r: RMinor, folder: &str) -> Option<Arch> {
    let of = |version: &str| folders.iter().find(|known| known.r_version == version);
    let known = of(&r.to_string()).or_else(|| of("default"))?;
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
        let arch = |r: &str, folder: &str| {
            mac_arch(&config.platforms.macos, RMinor::parse(r).expect("a version"), folder)
        };
        assert_eq!(arch("4.5", "big-sur-arm64"), Some(Arch::Arm64));
        assert_eq!(arch("4.5", "big-sur-x86_64"), Some(Arch::X86_64));
        assert_eq!(arch("4.6", "sonoma-arm64"), Some(Arch::Arm64));
        assert_eq!(arch("4.6", "big-sur-arm64"), None, "the folder of another R");
        assert_eq!((arch("4.1", ""), arch("4.5", "")), (Some(Arch::X86_64), None));
        assert_eq!(arch("5.0", "sonoma-arm64"), Some(Arch::Arm64), "as the default says");
    }
}
