//! Handler of CRAN-like repositories: indexes, package files, the archive, `Meta`, and empty binary trees.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response};

use super::bioconductor;
use super::package_file::{self, ResolvedFile};
use super::platform_request::{self, PlatformRequest};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::conditional::{self, Extent};
use crate::http::error::{Failure, truncate};
use crate::http::permission::Permission;
use crate::http::resolve_cache::Validity;
use crate::http::response::{self, ErrorFormat, Representation, RepresentationKind, header_value};
use crate::model::digest;
use crate::model::point::Point;
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::bioconductor::Part;
use crate::r::layout::{FileName, IndexFormat, LinuxPlatform, RPath, Tree};
use crate::r::platform::Arch;
use crate::serve::RepoError;
use crate::serve::binaries::BinarySelector;
use crate::serve::file::Located;
use crate::serve::index::{BinaryIndex, Document, DocumentRequest, IndexEncoding};

/// A resolved address.
pub struct Entry {
    /// What the resolution depends on.
    pub validity: Validity,
    /// The permission that an answer requires.
    pub permission: Permission,
    resource: Resource,
}

/// The resource at an address.
pub enum Resource {
    /// A generated document.
    Document(Box<ResolvedDocument>),
    /// A package file.
    File(Box<ResolvedFile>),
}

/// A generated document of a point. Its bytes are held by the bounded index cache only.
pub struct ResolvedDocument {
    document: DocumentRequest,
    /// Seconds since the epoch.
    modified: Option<i64>,
    representation: OnceLock<Representation>,
}

impl ResolvedDocument {
    fn of(app: &App, point: Point, document: Document) -> Resource {
        let catalog = app.state.catalog.get();
        // A new list of binaries changes the index of the same packages.
        let lists: &[_] = if let Document::Binaries(index) = &document { &index.heads } else { &[] };
        let lists = lists.iter().filter_map(|(_, tree, _)| Some(catalog.tree(*tree)?.steps.last()?.at));
        let modified = lists.chain(point.modified).max().map(|at| catalog.modified(at));
        // Package details are added without a publish.
        let modified = modified.filter(|_| !matches!(document, Document::PackageDatabase { .. }));
        Resource::Document(Box::new(ResolvedDocument {
            document: DocumentRequest::new(point, document),
            modified,
            representation: OnceLock::new(),
        }))
    }
}

impl Entry {
    /// An entry that was resolved under `validity`.
    #[must_use]
    pub fn new(validity: Validity, permission: Permission, resource: Resource) -> Entry {
        Entry { validity, permission, resource }
    }

    /// True when resolving again would give the same entry. Not true of a file that is not fetched yet: its size
    /// becomes known with the fetch.
    #[must_use]
    pub fn is_cacheable(&self) -> bool {
        match &self.resource {
            // Package details are added without a publish.
            Resource::Document(resolved) => {
                !matches!(resolved.document.document(), Document::PackageDatabase { .. })
            }
            Resource::File(resolved) => resolved.is_cacheable(),
        }
    }
}

/// Resolves an address to a document or a file of a point. Fetches and renders nothing.
///
/// # Errors
/// 404 for what does not exist, 503 when the database fails.
pub(in crate::http) async fn resolve(
    app: &App,
    repo: &str,
    part: Option<Part>,
    snapshot: Snapshot,
    path: &RPath,
    asked: &PlatformRequest<'_>,
) -> Result<Resource, Failure> {
    if part.is_none() {
        bioconductor::require_part(app, repo)?;
    }
    let point = app.repositories.point_of(repo, part, snapshot).await?;
    let document = |document| ResolvedDocument::of(app, point.clone(), document);
    Ok(match path {
        RPath::Index { tree: Tree::Source, format } => document(match format {
            IndexFormat::Text => Document::Packages,
            IndexFormat::Gz => Document::PackagesGz,
            IndexFormat::Rds => Document::PackagesRds,
        }),
        RPath::Index { tree: tree @ (Tree::Windows { .. } | Tree::MacOs { .. }), format } => {
            match platform_request::tree_platform(app, tree) {
                Some(platform) => binary_index(
                    app,
                    &point,
                    &app.repositories.binary_selector(platform, snapshot),
                    false,
                    empty_form(*format),
                ),
                None => document(Document::Empty(empty_form(*format))),
            }
        }
        RPath::BinaryIndex { platform: build, format } => {
            let builds =
                app.repositories.binary_selector(platform_request::linux_platform(app, build)?, snapshot);
            binary_index(app, &point, &builds, false, empty_form(*format))
        }
        whole @ RPath::Linux { platform: build, path } => {
            let builds =
                app.repositories.binary_selector(platform_request::linux_platform(app, build)?, snapshot);
            match &**path {
                RPath::Index { tree: Tree::Source, format } => {
                    binary_index(app, &point, &builds, true, empty_form(*format))
                }
                RPath::ArchiveMeta => document(Document::ArchiveRds),
                RPath::CurrentMeta => document(Document::CurrentRds),
                path => {
                    let resolved = match plain_name(path, build)? {
                        Some(file) => binary_of_version(app, &point, &builds, &file).await?,
                        None => {
                            let source = source_file(app, &point, path).await?;
                            ResolvedFile::source_or_binary(app, source, Some(&builds)).await
                        }
                    };
                    Resource::File(Box::new(
                        resolved.with_permanent_address(&whole.path_to_root()).not_cacheable(),
                    ))
                }
            }
        }
        RPath::Binary { platform, sha256, file } => {
            let builds = app.repositories.binary_selector(platform.clone(), snapshot);
            Resource::File(Box::new(binary_by_digest(app, &point, &builds, *sha256, file).await?))
        }
        RPath::ArchiveMeta => document(Document::ArchiveRds),
        RPath::CurrentMeta => document(Document::CurrentRds),
        RPath::PackageDatabase => {
            let described = app.state.detail_updates.load(Ordering::Acquire);
            // Package details may be added to a closed point too.
            let point = Point { open: true, ..point };
            ResolvedDocument::of(app, point, Document::PackageDatabase { described })
        }
        RPath::File { tree: tree @ (Tree::Windows { .. } | Tree::MacOs { .. }), file } => {
            let resolved = binary_file(app, &point, tree, file, snapshot).await?;
            Resource::File(Box::new(resolved.with_permanent_address(&path.path_to_root()).not_cacheable()))
        }
        path @ (RPath::File { tree: Tree::Source, .. } | RPath::SubFile { .. } | RPath::Archive { .. }) => {
            let source = source_file(app, &point, path).await?;
            let builds = asked.binaries(app, snapshot);
            let resolved = ResolvedFile::source_or_binary(app, source, builds.as_ref())
                .await
                .with_negotiation(asked.negotiated());
            Resource::File(Box::new(resolved.with_permanent_address(&path.path_to_root())))
        }
    })
}

fn empty_form(format: IndexFormat) -> IndexEncoding {
    match format {
        IndexFormat::Text => IndexEncoding::Text,
        IndexFormat::Gz => IndexEncoding::Gz,
        IndexFormat::Rds => IndexEncoding::Rds,
    }
}

/// An index of binaries. It may change for a closed point too: binaries may appear later than their source package.
fn binary_index(
    app: &App,
    point: &Point,
    builds: &BinarySelector,
    full: bool,
    form: IndexEncoding,
) -> Resource {
    let document = app.repositories.binary_document(point, builds, full, form);
    ResolvedDocument::of(app, Point { open: true, ..point.clone() }, document)
}

/// Locates a source package below `src/contrib`.
async fn source_file(app: &App, point: &Point, path: &RPath) -> Result<Located, Failure> {
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
        | RPath::BinaryIndex { .. } => Err(Failure::no_such_address()),
    }
}

/// Locates a binary in a Windows or macOS tree, of superseded versions too.
async fn binary_file(
    app: &App,
    point: &Point,
    tree: &Tree,
    file: &FileName,
    snapshot: Snapshot,
) -> Result<ResolvedFile, Failure> {
    let platform = platform_request::tree_platform(app, tree).ok_or_else(|| no_binary(file))?;
    binary_of_version(app, point, &app.repositories.binary_selector(platform, snapshot), file).await
}

/// Locates the binary of the version in a file's name, without falling back to the source package.
async fn binary_of_version(
    app: &App,
    point: &Point,
    builds: &BinarySelector,
    file: &FileName,
) -> Result<ResolvedFile, Failure> {
    let absent = || no_binary(file);
    let parts = file.package_file().ok_or_else(absent)?;
    let source = format!("{}_{}.tar.gz", parts.package, parts.version);
    let source = app.repositories.locate(point, parts.package, parts.version, &source, false).await?;
    let build = app.repositories.binary_of(&source, builds).await?.filter(|build| build.name == parts.name);
    Ok(ResolvedFile::binary(app, build.ok_or_else(absent)?, builds))
}

/// The plain name of a file that is requested with the platform in its name, in a tree of Linux binaries.
///
/// # Errors
/// 404 for another platform than the tree's.
fn plain_name(path: &RPath, build: &LinuxPlatform) -> Result<Option<FileName>, Failure> {
    let RPath::File { tree: Tree::Source, file } = path else { return Ok(None) };
    let Some((usual, platform)) = file.without_platform() else { return Ok(None) };
    let arch = platform.split_once('-').and_then(|(arch, _)| Arch::parse(arch));
    if arch != Some(build.arch) || !platform.contains("-linux") {
        return Err(no_binary(file));
    }
    Ok(Some(usual))
}

fn no_binary(file: &FileName) -> Failure {
    Failure::not_found(format!("there is no binary package '{}'", truncate(file.as_str())))
}

/// Locates a binary by its digest, of a version that is in the snapshot.
async fn binary_by_digest(
    app: &App,
    point: &Point,
    builds: &BinarySelector,
    sha256: digest::Sha256,
    file: &FileName,
) -> Result<ResolvedFile, Failure> {
    let absent = || Failure::not_found(format!("there is no such binary of '{}'", truncate(file.as_str())));
    let parts = file.package_file().ok_or_else(absent)?;
    let source = format!("{}_{}.tar.gz", parts.package, parts.version);
    let source = app.repositories.locate(point, parts.package, parts.version, &source, false).await?;
    let build = app.repositories.binary_by_digest(&source, builds, sha256).await?;
    let build = build.filter(|build| build.name == parts.name).ok_or_else(absent)?;
    Ok(ResolvedFile::binary(app, build, builds).at_permanent_address())
}

/// The directory in which a package file was requested.
enum ContribDir<'a> {
    /// `src/contrib/`.
    Contrib,
    /// `src/contrib/{dir}/`: a second record of the package, with another or the same version.
    Subdirectory(&'a str),
    /// `src/contrib/Archive/{package}/`.
    Archive(&'a str),
}

async fn locate(
    app: &App,
    point: &Point,
    file: &FileName,
    place: ContribDir<'_>,
) -> Result<Located, Failure> {
    let absent = || Failure::not_found(format!("there is no package file '{}'", truncate(file.as_str())));
    let parts = file.package_file().ok_or_else(absent)?;
    let (name, archive) = match place {
        ContribDir::Contrib => (parts.name.to_owned(), false),
        ContribDir::Subdirectory(dir) => (format!("{dir}/{}", parts.name), false),
        ContribDir::Archive(package) if package == parts.package => (parts.name.to_owned(), true),
        ContribDir::Archive(_) => return Err(absent()),
    };
    Ok(app.repositories.locate(point, parts.package, parts.version, &name, archive).await?)
}

fn document_representation(resolved: &ResolvedDocument, content: digest::Sha256) -> Representation {
    let ResolvedDocument { document, modified, .. } = resolved;
    let (media, compressed) = match document.document() {
        Document::Packages
        | Document::Empty(IndexEncoding::Text)
        | Document::Binaries(BinaryIndex { form: IndexEncoding::Text, .. }) => {
            ("text/plain; charset=utf-8", false)
        }
        Document::PackagesGz
        | Document::Empty(IndexEncoding::Gz)
        | Document::Binaries(BinaryIndex { form: IndexEncoding::Gz, .. }) => ("application/gzip", true),
        Document::PackagesRds
        | Document::ArchiveRds
        | Document::CurrentRds
        | Document::PackageDatabase { .. }
        | Document::Empty(IndexEncoding::Rds)
        | Document::Binaries(BinaryIndex { form: IndexEncoding::Rds, .. }) => {
            ("application/octet-stream", true)
        }
    };
    // The ETag is of the decoded content: weak for compressed forms, whose bytes may differ between builds of the
    // server.
    let tag = hex::encode(&content.0[..16]);
    Representation {
        etag: Some(header_value(if compressed { format!("W/\"{tag}\"") } else { format!("\"{tag}\"") })),
        previous_etag: None,
        modified: response::last_modified(*modified),
        kind: RepresentationKind::Document {
            media_type: HeaderValue::from_static(media),
            open: document.point().open,
            accept_ranges: !compressed,
        },
    }
}

/// Answers a GET or HEAD of a resolved address.
pub(in crate::http) async fn answer(
    app: &App,
    entry: &Entry,
    asked: &PlatformRequest<'_>,
    parts: &Parts,
    began: Timestamp,
) -> Response<Body> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return response::failure(&Failure::method_not_allowed("GET, HEAD"), ErrorFormat::Text);
    }
    match &entry.resource {
        Resource::Document(resolved) => match answer_document(app, resolved, parts).await {
            Ok(response) => response,
            Err(error) => response::failure(&error.into(), ErrorFormat::Text),
        },
        Resource::File(resolved) => package_file::answer(app, resolved, asked, parts, began).await,
    }
}

async fn answer_document(
    app: &App,
    resolved: &ResolvedDocument,
    parts: &Parts,
) -> Result<Response<Body>, RepoError> {
    let ResolvedDocument { document, modified, representation: known } = resolved;
    let modified = *modified;
    let conditional = conditional::is_conditional(&parts.headers);
    if conditional {
        // The digest may be known although the bytes are not cached: enough for a 304 without rendering.
        let card = match known.get() {
            Some(card) => Some(card),
            None => {
                let content = app.repositories.document_content(document).await?;
                content.map(|content| known.get_or_init(|| document_representation(resolved, content)))
            }
        };
        if let Some(response) = card.and_then(|card| response::check_preconditions(card, modified, parts)) {
            return Ok(response);
        }
    }
    let form = app.repositories.document(document).await?;
    let card = known.get_or_init(|| document_representation(resolved, form.content));
    if conditional && let Some(response) = response::check_preconditions(card, modified, parts) {
        return Ok(response);
    }
    let size = form.bytes.len() as u64;
    if parts.method == Method::HEAD {
        return Ok(response::whole(card, Some(size), Body::empty()));
    }
    let extent = match &card.kind {
        RepresentationKind::Document { accept_ranges: true, .. } => {
            conditional::extent(&parts.headers, card.validators(modified), size)
        }
        RepresentationKind::Document { accept_ranges: false, .. } | RepresentationKind::Package(_) => {
            Extent::Whole
        }
    };
    Ok(match extent {
        Extent::Whole => response::whole(card, Some(size), Body::full(form.bytes)),
        Extent::Unsatisfiable => response::unsatisfiable(card, size),
        Extent::Part(range) => {
            #[allow(clippy::cast_possible_truncation, reason = "the range lies within bytes in memory")]
            let bytes = form.bytes.slice(range.start as usize..range.end as usize);
            response::part(card, &range, size, Body::full(bytes))
        }
    })
}
