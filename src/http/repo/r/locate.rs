//! Locates the package file of an address: a source package, a binary, or both, one as fallback.

use super::choose_platform;
use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use crate::http::repo::package_file::{FileWithHeaders, MissingBinary, ResolvedFile};
use base::model::digest;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use content::serve::located::LocatedFile;
use content::serve::negotiate::BinarySelector;
use content::serve::{self, RepoError};
use formats::r::layout::{LinuxPlatform, RPath, RepoFileName, Tree};
use formats::r::platform::Arch;
use store::logs::ServiceError;

/// Resolves a source package, or its binary for the platform of `selector` if that exists.
pub(super) async fn source_or_binary(
    app: &App,
    source: LocatedFile,
    selector: Option<&BinarySelector>,
) -> ResolvedFile {
    // The size of a file that is not fetched yet may become known with the first fetch.
    let is_cacheable = serve::file::is_local(&app.repositories, &source);
    let without_binary = |source, missing_binary, is_cacheable| ResolvedFile {
        file: FileWithHeaders::new(&app.state.catalog.get(), source, None),
        platform: None,
        fallback: None,
        missing_binary,
        is_cacheable,
        is_download: true,
    };
    let Some(selector) = selector else { return without_binary(source, None, is_cacheable) };
    match serve::binaries::find(&app.repositories, &source, selector).await {
        Ok(Some(located)) => ResolvedFile {
            fallback: Some(FileWithHeaders::new(&app.state.catalog.get(), source, None)),
            ..binary(app, located, selector)
        },
        Ok(None) => {
            let (package, version, platform) = (&source.package, &source.version, &selector.platform);
            let error = format!("there is no binary of {package} {version} for {platform}");
            // A binary server that is queried for each package may have the binary at the next request.
            let is_cacheable = is_cacheable && !serve::remote_binaries::probes_servers(&app.state);
            without_binary(source, Some(MissingBinary { kind: ServiceError::Fetch, error }), is_cacheable)
        }
        Err(error) => {
            tracing::error!(file = %source.name, %error, "could not look up a binary; serving the source package");
            let is_upstream_error = matches!(error, RepoError::Upstream { .. });
            let kind = if is_upstream_error { ServiceError::Fetch } else { ServiceError::Binary };
            let missing_binary = MissingBinary { kind, error: error.to_string() };
            without_binary(source, Some(missing_binary), false)
        }
    }
}

pub(super) fn binary(app: &App, located: LocatedFile, selector: &BinarySelector) -> ResolvedFile {
    ResolvedFile {
        is_cacheable: serve::file::is_local(&app.repositories, &located),
        file: FileWithHeaders::new(&app.state.catalog.get(), located, Some(&selector.platform)),
        platform: Some(selector.platform.clone()),
        fallback: None,
        missing_binary: None,
        is_download: true,
    }
}

/// Locates a source package below `src/contrib`.
pub(super) async fn source_file(app: &App, point: &Point, path: &RPath) -> Result<LocatedFile, Failure> {
    match path {
        RPath::File { tree: Tree::Source, file } => locate(app, point, file, ContribDir::Contrib).await,
        RPath::SubFile { dir, file } => {
            locate(app, point, file, ContribDir::Subdirectory(dir.as_str())).await
        }
        RPath::Archive { package, file } => {
            locate(app, point, file, ContribDir::Archive(package.as_str())).await
        }
        RPath::File { .. }
        | RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::Linux { .. }
        | RPath::Binary { .. }
        | RPath::BinaryIndex { .. }
        | RPath::Directory { .. } => Err(Failure::no_such_address()),
    }
}

/// Locates a binary in a tree of binaries; superseded versions too.
pub(super) async fn binary_file(
    app: &App,
    point: &Point,
    tree: &Tree,
    file: &RepoFileName,
    snapshot: Snapshot,
) -> Result<ResolvedFile, Failure> {
    let platform = choose_platform::tree_platform(app, tree).ok_or_else(|| no_binary(file))?;
    binary_of_version(app, point, &serve::binaries::selector(&app.state, platform, snapshot), file).await
}

/// Locates the binary of the version in a file's name, without falling back to the source package.
pub(super) async fn binary_of_version(
    app: &App,
    point: &Point,
    selector: &BinarySelector,
    file: &RepoFileName,
) -> Result<ResolvedFile, Failure> {
    let absent = || no_binary(file);
    let parts = file.package_file().ok_or_else(absent)?;
    let source = format!("{}_{}.tar.gz", parts.package, parts.version);
    let source =
        serve::file::locate(&app.repositories, point, parts.package, parts.version, &source, false).await?;
    let located = serve::binaries::find(&app.repositories, &source, selector)
        .await?
        .filter(|located| located.name == parts.name);
    Ok(binary(app, located.ok_or_else(absent)?, selector))
}

/// Returns the plain name of a file that is requested with the platform in its name, in a tree of Linux
/// binaries; 404 for the platform of another tree.
pub(super) fn plain_name(
    path: &RPath,
    tree_platform: &LinuxPlatform,
) -> Result<Option<RepoFileName>, Failure> {
    let RPath::File { tree: Tree::Source, file } = path else { return Ok(None) };
    let Some((plain_name, platform)) = file.split_platform() else { return Ok(None) };
    let arch = platform.split_once('-').and_then(|(arch, _)| Arch::of_spelling(arch));
    if arch != Some(tree_platform.arch) || !platform.contains("-linux") {
        return Err(no_binary(file));
    }
    Ok(Some(plain_name))
}

fn no_binary(file: &RepoFileName) -> Failure {
    Failure::not_found(format!("there is no binary package '{}'", truncate(file.as_str())))
}

/// Locates a binary by its digest, if its version is in the snapshot.
pub(super) async fn binary_by_digest(
    app: &App,
    point: &Point,
    selector: &BinarySelector,
    sha256: digest::Sha256,
    file: &RepoFileName,
) -> Result<ResolvedFile, Failure> {
    let absent = || Failure::not_found(format!("there is no such binary of '{}'", truncate(file.as_str())));
    let parts = file.package_file().ok_or_else(absent)?;
    let source = format!("{}_{}.tar.gz", parts.package, parts.version);
    let source =
        serve::file::locate(&app.repositories, point, parts.package, parts.version, &source, false).await?;
    let located = serve::binaries::find_by_digest(&app.state, &source, selector, sha256).await?;
    let located = located.filter(|located| located.name == parts.name).ok_or_else(absent)?;
    Ok(binary(app, located, selector).at_permanent_address())
}

/// The directory in which a package file was requested.
enum ContribDir<'a> {
    /// `src/contrib/`.
    Contrib,
    /// `src/contrib/{dir}/`: a second record of the package, with the same or a different version.
    Subdirectory(&'a str),
    /// `src/contrib/Archive/{package}/`.
    Archive(&'a str),
}

async fn locate(
    app: &App,
    point: &Point,
    file: &RepoFileName,
    contrib_dir: ContribDir<'_>,
) -> Result<LocatedFile, Failure> {
    let absent = || Failure::not_found(format!("there is no package file '{}'", truncate(file.as_str())));
    let parts = file.package_file().ok_or_else(absent)?;
    let (name, is_archived) = match contrib_dir {
        ContribDir::Contrib => (parts.name.to_owned(), false),
        ContribDir::Subdirectory(dir) => (format!("{dir}/{}", parts.name), false),
        ContribDir::Archive(package) if package == parts.package => (parts.name.to_owned(), true),
        ContribDir::Archive(_) => return Err(absent()),
    };
    Ok(serve::file::locate(&app.repositories, point, parts.package, parts.version, &name, is_archived)
        .await?)
}
