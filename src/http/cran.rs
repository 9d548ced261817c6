//! Handler of CRAN-like repositories: indexes, package files, the archive, `Meta`, and empty binary trees.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response};

use super::app::App;
use super::binaries::{self, Asked};
use super::bioconductor;
use super::body::Body;
use super::conditional::{self, Extent, Precondition};
use super::error::Failure;
use super::file::{self, Offer};
use super::response::{self, Card, Kind, Tongue};
use super::warm::Moment;
use crate::model::digest;
use crate::model::point::Point;
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::bioconductor::Part;
use crate::r::layout::{FileName, IndexFormat, LinuxBuild, RPath, Tree};
use crate::r::platform::Arch;
use crate::repo::RepoError;
use crate::repo::builds::Builds;
use crate::repo::file::Located;
use crate::repo::index::{BuildsIndex, Document, DocumentRequest, EmptyForm};

/// A resolved address.
pub struct Entry {
    /// What the resolution depends on.
    pub moment: Moment,
    wanted: Wanted,
}

/// The resource at an address.
pub enum Wanted {
    /// A generated document.
    Document(Box<Wished>),
    /// A package file.
    File(Box<Offer>),
}

/// A generated document of a point. Its bytes are held by the bounded index cache only.
pub struct Wished {
    document: DocumentRequest,
    /// Seconds since the epoch.
    modified: Option<i64>,
    card: OnceLock<Card>,
}

impl Wished {
    fn of(app: &App, point: Point, document: Document) -> Wanted {
        let catalog = app.state.catalog.get();
        // A new list of binaries changes the index of the same packages.
        let lists: &[_] = if let Document::Builds(index) = &document { &index.heads } else { &[] };
        let lists = lists.iter().filter_map(|(_, tree, _)| Some(catalog.tree(*tree)?.steps.last()?.at));
        let modified = lists.chain(point.modified).max().map(|at| catalog.modified(at));
        // Package details are added without a publish.
        let modified = modified.filter(|_| !matches!(document, Document::PackageDatabase { .. }));
        Wanted::Document(Box::new(Wished {
            document: DocumentRequest::new(point, document),
            modified,
            card: OnceLock::new(),
        }))
    }
}

impl Entry {
    /// An entry that was resolved under `moment`.
    #[must_use]
    pub fn new(moment: Moment, wanted: Wanted) -> Entry {
        Entry { moment, wanted }
    }

    /// True when resolving again would give the same entry. Not true of a file that is not fetched yet: its size
    /// becomes known with the fetch.
    #[must_use]
    pub fn lasting(&self) -> bool {
        match &self.wanted {
            // Package details are added without a publish.
            Wanted::Document(resolved) => {
                !matches!(resolved.document.document(), Document::PackageDatabase { .. })
            }
            Wanted::File(resolved) => resolved.lasting(),
        }
    }
}

/// Truncates a part of a request for repetition in a response, to 80 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Resolves an address to a document or a file of a point. Fetches and renders nothing.
///
/// # Errors
/// 404 for what does not exist, 503 when the database fails.
pub async fn find(
    app: &App,
    repo: &str,
    part: Option<Part>,
    snapshot: Snapshot,
    path: &RPath,
    asked: &Asked<'_>,
) -> Result<Wanted, Failure> {
    if part.is_none() {
        bioconductor::without_part(app, repo)?;
    }
    let point = app.repo.point_of(repo, part, snapshot).await?;
    let document = |document| Wished::of(app, point.clone(), document);
    Ok(match path {
        RPath::Index { tree: Tree::Source, format } => document(match format {
            IndexFormat::Text => Document::Packages,
            IndexFormat::Gz => Document::PackagesGz,
            IndexFormat::Rds => Document::PackagesRds,
        }),
        RPath::Index { tree: tree @ (Tree::Windows { .. } | Tree::MacOs { .. }), format } => {
            match binaries::elsewhere(app, tree) {
                Some(platform) => {
                    built(app, &point, &app.repo.builds(platform, snapshot), false, form(*format))
                }
                None => document(Document::Empty(form(*format))),
            }
        }
        RPath::Built { build, format } => {
            let builds = app.repo.builds(binaries::linux(app, build)?, snapshot);
            built(app, &point, &builds, false, form(*format))
        }
        whole @ RPath::Linux { build, path } => {
            let builds = app.repo.builds(binaries::linux(app, build)?, snapshot);
            match &**path {
                RPath::Index { tree: Tree::Source, format } => {
                    built(app, &point, &builds, true, form(*format))
                }
                RPath::ArchiveMeta => document(Document::ArchiveRds),
                RPath::CurrentMeta => document(Document::CurrentRds),
                path => {
                    let resolved = match built_name(path, build)? {
                        Some(file) => build_alone(app, &point, &builds, &file).await?,
                        None => {
                            let source = source_file(app, &point, path).await?;
                            Offer::of(app, source, Some(&builds)).await
                        }
                    };
                    Wanted::File(Box::new(resolved.named(&whole.up()).by_address()))
                }
            }
        }
        RPath::Build { platform, sha256, file } => {
            let builds = app.repo.builds(platform.clone(), snapshot);
            Wanted::File(Box::new(named_build(app, &point, &builds, *sha256, file).await?))
        }
        RPath::ArchiveMeta => document(Document::ArchiveRds),
        RPath::CurrentMeta => document(Document::CurrentRds),
        RPath::PackageDatabase => {
            let described = app.state.described.load(Ordering::Acquire);
            // Package details may be added to a closed point too.
            let point = Point { open: true, ..point };
            Wished::of(app, point, Document::PackageDatabase { described })
        }
        RPath::File { tree: tree @ (Tree::Windows { .. } | Tree::MacOs { .. }), file } => {
            let resolved = binary_file(app, &point, tree, file, snapshot).await?;
            Wanted::File(Box::new(resolved.named(&path.up()).by_address()))
        }
        path @ (RPath::File { tree: Tree::Source, .. } | RPath::SubFile { .. } | RPath::Archive { .. }) => {
            let source = source_file(app, &point, path).await?;
            let builds = asked.builds(app, snapshot);
            let resolved = Offer::of(app, source, builds.as_ref()).await.negotiated(asked.negotiated());
            Wanted::File(Box::new(resolved.named(&path.up())))
        }
    })
}

fn form(format: IndexFormat) -> EmptyForm {
    match format {
        IndexFormat::Text => EmptyForm::Text,
        IndexFormat::Gz => EmptyForm::Gz,
        IndexFormat::Rds => EmptyForm::Rds,
    }
}

/// An index of binaries. It may change for a closed point too: binaries may appear later than their source package.
fn built(app: &App, point: &Point, builds: &Builds, full: bool, form: EmptyForm) -> Wanted {
    let document = app.repo.builds_document(point, builds, full, form);
    Wished::of(app, Point { open: true, ..point.clone() }, document)
}

/// Locates a source package below `src/contrib`.
async fn source_file(app: &App, point: &Point, path: &RPath) -> Result<Located, Failure> {
    match path {
        RPath::File { tree: Tree::Source, file } => located(app, point, file, Place::Listed).await,
        RPath::SubFile { dir, file } => located(app, point, file, Place::Under(dir.as_str())).await,
        RPath::Archive { package, file } => located(app, point, file, Place::Archive(package.as_str())).await,
        RPath::File { .. }
        | RPath::Index { .. }
        | RPath::ArchiveMeta
        | RPath::CurrentMeta
        | RPath::PackageDatabase
        | RPath::Linux { .. }
        | RPath::Build { .. }
        | RPath::Built { .. } => Err(Failure::not_found("there is nothing at this address")),
    }
}

/// Locates a binary in a Windows or macOS tree, of superseded versions too.
async fn binary_file(
    app: &App,
    point: &Point,
    tree: &Tree,
    file: &FileName,
    snapshot: Snapshot,
) -> Result<Offer, Failure> {
    let platform = binaries::elsewhere(app, tree).ok_or_else(|| no_binary(file))?;
    build_alone(app, point, &app.repo.builds(platform, snapshot), file).await
}

/// Locates the binary of the version in a file's name, without falling back to the source package.
async fn build_alone(app: &App, point: &Point, builds: &Builds, file: &FileName) -> Result<Offer, Failure> {
    let absent = || no_binary(file);
    let parts = file.package_file().ok_or_else(absent)?;
    let source = format!("{}_{}.tar.gz", parts.package, parts.version);
    let source = app.repo.locate(point, parts.package, parts.version, &source, false).await?;
    let build = app.repo.build_of(&source, builds).await?.filter(|build| build.name == parts.name);
    Ok(Offer::build(app, build.ok_or_else(absent)?, builds))
}

/// The plain name of a file that is requested with the platform in its name, in a tree of Linux binaries.
///
/// # Errors
/// 404 for another platform than the tree's.
fn built_name(path: &RPath, build: &LinuxBuild) -> Result<Option<FileName>, Failure> {
    let RPath::File { tree: Tree::Source, file } = path else { return Ok(None) };
    let Some((usual, platform)) = file.without_platform() else { return Ok(None) };
    let arch = platform.split_once('-').and_then(|(arch, _)| Arch::parse(arch));
    if arch != Some(build.arch) || !platform.contains("-linux") {
        return Err(no_binary(file));
    }
    Ok(Some(usual))
}

fn no_binary(file: &FileName) -> Failure {
    Failure::not_found(format!("there is no binary package '{}'", shown(file.as_str())))
}

/// Locates a binary by its digest, of a version that is in the snapshot.
async fn named_build(
    app: &App,
    point: &Point,
    builds: &Builds,
    sha256: digest::Sha256,
    file: &FileName,
) -> Result<Offer, Failure> {
    let absent = || Failure::not_found(format!("there is no such binary of '{}'", shown(file.as_str())));
    let parts = file.package_file().ok_or_else(absent)?;
    let source = format!("{}_{}.tar.gz", parts.package, parts.version);
    let source = app.repo.locate(point, parts.package, parts.version, &source, false).await?;
    let build = app.repo.build_by_digest(&source, builds, sha256).await?;
    let build = build.filter(|build| build.name == parts.name).ok_or_else(absent)?;
    Ok(Offer::build(app, build, builds).at_its_own_address())
}

/// The directory in which a package file was requested.
enum Place<'a> {
    /// `src/contrib/`.
    Listed,
    /// `src/contrib/{dir}/`: a second record of the package, with another or the same version.
    Under(&'a str),
    /// `src/contrib/Archive/{package}/`.
    Archive(&'a str),
}

async fn located(app: &App, point: &Point, file: &FileName, place: Place<'_>) -> Result<Located, Failure> {
    let absent = || Failure::not_found(format!("there is no package file '{}'", shown(file.as_str())));
    let parts = file.package_file().ok_or_else(absent)?;
    let (name, archive) = match place {
        Place::Listed => (parts.name.to_owned(), false),
        Place::Under(dir) => (format!("{dir}/{}", parts.name), false),
        Place::Archive(package) if package == parts.package => (parts.name.to_owned(), true),
        Place::Archive(_) => return Err(absent()),
    };
    Ok(app.repo.locate(point, parts.package, parts.version, &name, archive).await?)
}

/// A header value from text made of digests, dates and plain names; empty if it is not valid.
pub(super) fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn last_modified(seconds: Option<i64>) -> Option<HeaderValue> {
    seconds.and_then(conditional::http_date).map(value)
}

fn document_card(resolved: &Wished, content: digest::Sha256) -> Card {
    let Wished { document, modified, .. } = resolved;
    let (media, compressed) = match document.document() {
        Document::Packages
        | Document::Empty(EmptyForm::Text)
        | Document::Builds(BuildsIndex { form: EmptyForm::Text, .. }) => ("text/plain; charset=utf-8", false),
        Document::PackagesGz
        | Document::Empty(EmptyForm::Gz)
        | Document::Builds(BuildsIndex { form: EmptyForm::Gz, .. }) => ("application/gzip", true),
        Document::PackagesRds
        | Document::ArchiveRds
        | Document::CurrentRds
        | Document::PackageDatabase { .. }
        | Document::Empty(EmptyForm::Rds)
        | Document::Builds(BuildsIndex { form: EmptyForm::Rds, .. }) => ("application/octet-stream", true),
    };
    // The ETag is of the decoded content: weak for compressed forms, whose bytes may differ between builds of the
    // server.
    let tag = hex::encode(&content.0[..16]);
    Card {
        etag: Some(value(if compressed { format!("W/\"{tag}\"") } else { format!("\"{tag}\"") })),
        former: None,
        modified: last_modified(*modified),
        kind: Kind::Document {
            media: HeaderValue::from_static(media),
            open: document.point().open,
            ranges: !compressed,
        },
    }
}

/// Answers a GET or HEAD of a resolved address.
pub async fn answer(
    app: &App,
    entry: &Entry,
    asked: &Asked<'_>,
    parts: &Parts,
    began: Timestamp,
) -> Response<Body> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return response::failure(&Failure::method("GET, HEAD"), Tongue::Text);
    }
    match &entry.wanted {
        Wanted::Document(resolved) => match answer_document(app, resolved, parts).await {
            Ok(response) => response,
            Err(error) => response::failure(&error.into(), Tongue::Text),
        },
        Wanted::File(resolved) => file::answer(app, resolved, asked, parts, began).await,
    }
}

/// 304 or 412, where the request's conditions require it.
pub(super) fn refused(card: &Card, modified: Option<i64>, parts: &Parts) -> Option<Response<Body>> {
    match conditional::precondition(&parts.headers, card.validators(modified)) {
        Precondition::Proceed => None,
        Precondition::NotModified => Some(response::not_modified(card)),
        Precondition::Failed => Some(response::precondition_failed(card)),
    }
}

async fn answer_document(app: &App, resolved: &Wished, parts: &Parts) -> Result<Response<Body>, RepoError> {
    let Wished { document, modified, card: known } = resolved;
    let modified = *modified;
    let conditional = conditional::is_conditional(&parts.headers);
    if conditional {
        // The digest may be known although the bytes are not cached: enough for a 304 without rendering.
        let card = match known.get() {
            Some(card) => Some(card),
            None => {
                let content = app.repo.document_content(document).await?;
                content.map(|content| known.get_or_init(|| document_card(resolved, content)))
            }
        };
        if let Some(response) = card.and_then(|card| refused(card, modified, parts)) {
            return Ok(response);
        }
    }
    let form = app.repo.document(document).await?;
    let card = known.get_or_init(|| document_card(resolved, form.content));
    if conditional && let Some(response) = refused(card, modified, parts) {
        return Ok(response);
    }
    let size = form.bytes.len() as u64;
    if parts.method == Method::HEAD {
        return Ok(response::whole(card, Some(size), Body::empty()));
    }
    let extent = match &card.kind {
        Kind::Document { ranges: true, .. } => {
            conditional::extent(&parts.headers, card.validators(modified), size)
        }
        Kind::Document { ranges: false, .. } | Kind::Package(_) => Extent::Whole,
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
