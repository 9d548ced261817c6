//! Resolves an address in a CRAN-like repository: indexes, package files, the archive, `Meta`, and trees of binaries.

use std::sync::atomic::Ordering;

use super::platform_request::PlatformRequest;
use super::{bioconductor, choose_platform, locate};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::repo::document::ResolvedDocument;
use crate::http::repo::resolve_cache::Resource;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use content::serve;
use content::serve::document::Document;
use content::serve::negotiate::BinarySelector;
use content::serve::r::document::{Listing, RDocument};
use formats::r::bioconductor::Part;
use formats::r::layout::{Directory, IndexFormat, RPath, Tree};

/// Resolves an address to a document or a file of a point. Fetches and renders nothing.
pub(in crate::http) async fn resolve(
    app: &App,
    repo: &str,
    part: Option<Part>,
    snapshot: Snapshot,
    path: &RPath,
    platform_request: &PlatformRequest<'_>,
) -> Result<Resource, Failure> {
    if part.is_none() {
        bioconductor::require_part(app, repo)?;
    }
    let point = serve::point::resolve_part(&app.repositories, repo, part, snapshot).await?;
    let document = |document| generated_document(app, point.clone(), document);
    Ok(match path {
        RPath::Index { tree: Tree::Source, format } => document(RDocument::Packages(*format)),
        RPath::Index { tree: tree @ (Tree::Windows { .. } | Tree::MacOs { .. }), format } => {
            match choose_platform::tree_platform(app, tree) {
                Some(platform) => binary_index(
                    app,
                    &point,
                    &serve::binaries::selector(&app.state, platform, snapshot),
                    false,
                    *format,
                ),
                None => document(RDocument::Empty(*format)),
            }
        }
        RPath::BinaryIndex { platform, format } | RPath::Index { tree: Tree::Linux(platform), format } => {
            let selector = serve::binaries::selector(
                &app.state,
                choose_platform::linux_platform(app, platform)?,
                snapshot,
            );
            binary_index(app, &point, &selector, false, *format)
        }
        linux_path @ RPath::Linux { platform, path } => {
            let selector = serve::binaries::selector(
                &app.state,
                choose_platform::linux_platform(app, platform)?,
                snapshot,
            );
            match &**path {
                RPath::Index { tree: Tree::Source, format } => {
                    binary_index(app, &point, &selector, true, *format)
                }
                RPath::ArchiveMeta => document(RDocument::ArchiveRds),
                RPath::CurrentMeta => document(RDocument::CurrentRds),
                RPath::Directory { directory, .. } => listing(app, &point, directory, snapshot),
                path => {
                    let resolved = match locate::plain_name(path, platform)? {
                        Some(file) => locate::binary_of_version(app, &point, &selector, &file).await?,
                        None => {
                            let source = locate::source_file(app, &point, path).await?;
                            locate::source_or_binary(app, source, Some(&selector)).await
                        }
                    };
                    Resource::File(Box::new(
                        resolved.with_permanent_address(&linux_path.path_to_root()).not_cacheable(),
                    ))
                }
            }
        }
        RPath::Binary { platform, sha256, file } => {
            let selector = serve::binaries::selector(&app.state, platform.clone(), snapshot);
            Resource::File(Box::new(locate::binary_by_digest(app, &point, &selector, *sha256, file).await?))
        }
        RPath::ArchiveMeta => document(RDocument::ArchiveRds),
        RPath::CurrentMeta => document(RDocument::CurrentRds),
        RPath::PackageDatabase => {
            let detail_updates = app.state.detail_updates.load(Ordering::Acquire);
            // Package details may be added to a closed point too.
            let point = Point { open: true, ..point };
            generated_document(app, point, RDocument::PackageDatabase { detail_updates })
        }
        RPath::Directory { directory, .. } => listing(app, &point, directory, snapshot),
        RPath::File { tree: tree @ (Tree::Windows { .. } | Tree::MacOs { .. } | Tree::Linux(_)), file } => {
            let resolved = locate::binary_file(app, &point, tree, file, snapshot).await?;
            Resource::File(Box::new(resolved.with_permanent_address(&path.path_to_root()).not_cacheable()))
        }
        path @ (RPath::File { tree: Tree::Source, .. } | RPath::SubFile { .. } | RPath::Archive { .. }) => {
            let source = locate::source_file(app, &point, path).await?;
            let selector = platform_request
                .platform()
                .map(|platform| serve::binaries::selector(&app.state, platform.clone(), snapshot));
            let resolved = locate::source_or_binary(app, source, selector.as_ref())
                .await
                .with_vary(platform_request.vary());
            Resource::File(Box::new(resolved.with_permanent_address(&path.path_to_root())))
        }
    })
}

/// Returns the list of the files in a directory. It is never stored: most are requested once.
fn listing(app: &App, point: &Point, directory: &Directory, snapshot: Snapshot) -> Resource {
    let listing = match directory {
        Directory::Tree(Tree::Source) => Listing::Sources,
        Directory::Archive => Listing::Archive,
        Directory::Package(package) => Listing::Package(package.as_str().to_owned()),
        Directory::Tree(tree) => {
            let index = choose_platform::tree_platform(app, tree).map(|platform| {
                let selector = serve::binaries::selector(&app.state, platform, snapshot);
                serve::binaries::document(&app.state, point, &selector, false, IndexFormat::Text)
            });
            match index {
                Some(RDocument::Binaries(index)) => Listing::Binaries(index),
                Some(_) | None => Listing::Empty,
            }
        }
    };
    generated_document(app, Point { open: true, ..point.clone() }, RDocument::Listing(listing))
}

fn generated_document(app: &App, point: Point, document: RDocument) -> Resource {
    let document = Document::Lists(document);
    Resource::Document(Box::new(ResolvedDocument::new(&app.state.catalog.get(), point, document)))
}

/// Returns an index of binaries, which may still change at a closed point: binaries may appear later than their source.
fn binary_index(
    app: &App,
    point: &Point,
    selector: &BinarySelector,
    with_source_packages: bool,
    format: IndexFormat,
) -> Resource {
    let document = serve::binaries::document(&app.state, point, selector, with_source_packages, format);
    generated_document(app, Point { open: true, ..point.clone() }, document)
}
