//! Responses at the addresses of a Python repository: pages, files, provenance objects, JSON documents and redirects.

pub(crate) mod json;
pub(crate) mod project;
mod provenance;
pub(crate) mod trusted_publishing;
pub(crate) mod upload;

use http::header::ACCEPT;
use http::request::Parts;
use http::{Response, StatusCode};

use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use crate::http::login::permission::repository_access;
use crate::http::net::body::Body;
use crate::http::repo::answer;
use crate::http::repo::document::ResolvedDocument;
use crate::http::repo::package_file::ResolvedFile;
use crate::http::repo::r::platform_request::PlatformRequest;
use crate::http::repo::resolve_cache::{Entry, EntryKey, Resource, Validity};
use crate::http::response::{self, header_value};
use crate::http::target::Query;
use base::model::kind::{Language, Layout, RepoKind};
use base::model::point::Point;
use base::model::project_name::ProjectName;
use base::model::project_page::PageFormat;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve;
use content::serve::project::detail;
use content::serve::project::document::{ProjectContent, ProjectDocument};
use formats::language;
use formats::python::accept::{self, SimpleFormat};
use formats::python::file_name::FileName;
use formats::python::layout::{self, FileId, FilePart, PythonPath, json_link};

/// The kind of the repositories with these addresses.
const KIND: RepoKind = RepoKind::Python;

/// A parsed address inside a Python repository.
pub(crate) struct PythonAddress<'a> {
    pub(crate) repo: &'a str,
    pub(crate) snapshot: Snapshot,
    pub(crate) path: &'a PythonPath,
    pub(crate) raw: &'a str,
}

/// Answers a GET or HEAD.
pub(crate) async fn answer(
    app: &App,
    address: &PythonAddress<'_>,
    query: &Query,
    parts: &Parts,
    received_at: Timestamp,
) -> Result<Response<Body>, Failure> {
    let kind = require_python(app, address.repo)?;
    let format = match address.path {
        PythonPath::Redirect(target) => return Ok(redirect(address, target, parts)),
        PythonPath::File { id: FileId::Sha256(sha256), file, part: FilePart::Provenance } => {
            return provenance::answer(app, address, *sha256, file, parts).await;
        }
        PythonPath::Named { project, file } => return find_named(app, address, project, file).await,
        PythonPath::Root | PythonPath::Project(_) => format(kind.language(), query, parts),
        PythonPath::File { .. } | PythonPath::Json { .. } => None,
    };
    // `dispatch` has looked up the entries of requests without a query, before it parsed the address.
    let key = EntryKey { path: address.raw, format };
    let entry = match app.resolve_cache.get(&app.state, received_at, key, None) {
        Some(entry) => entry,
        None => {
            // Determined before the resolution: a publish in between makes the cache entry outdated, not wrong.
            let validity = Validity::of(&app.state, received_at);
            let format = format.unwrap_or_else(|| SimpleFormat::TextHtml.page_format());
            let resource = resolve(app, address, format).await?;
            let access = repository_access(app, address.repo);
            app.resolve_cache.insert(key, Entry { validity, access, resource })
        }
    };
    Ok(answer::answer(app, &entry.resource, &PlatformRequest::NoBinaries, parts, received_at).await)
}

/// Returns the format at a raw path that may be a page of the simple API; `None` for other paths and with a
/// query, which may name the format.
pub(crate) fn page_format(path: &str, query: Option<&str>, parts: &Parts) -> Option<PageFormat> {
    let is_page = query.is_none() && path.ends_with('/') && path.contains("/simple/");
    is_page.then(|| accept::negotiate(accept_values(parts), None).page_format())
}

/// Refuses a path of a Python repository in one of another language: a 404 that names both.
fn require_python(app: &App, repo: &str) -> Result<RepoKind, Failure> {
    let kind = serve::find::repo(&app.state.catalog.get(), repo)?.kind;
    if kind == KIND {
        return Ok(kind);
    }
    Err(Failure::not_found(format!(
        "the repository '{repo}' is of type {}; those of type {} have simple/",
        kind.label(),
        KIND.label()
    )))
}

/// Refuses a path of a list in a repository with projects: a 404 that names the addresses of its packages.
pub(crate) fn refuse_r_path(app: &App, requested: &str) -> Result<(), Failure> {
    let catalog = app.state.catalog.get();
    match catalog.repo_by_name_or_id(requested) {
        Some(repo) if repo.kind.layout() == Layout::Projects => Err(Failure::not_found(format!(
            "the repository '{0}' is of type {1}; its packages are at /{0}/latest/{2}/",
            // SECURITY: the text that the client sent: a number must not disclose the name of a hidden repository.
            truncate(requested),
            repo.kind.label(),
            language::of(repo.kind.language()).nouns().directory
        ))),
        Some(_) | None => Ok(()),
    }
}

fn format(language: Language, query: &Query, parts: &Parts) -> Option<PageFormat> {
    // In a query, an unencoded + is a space.
    let format = query.get("format").map(|format| format.replace(' ', "+"));
    let projects = language::of(language).projects()?;
    Some(projects.negotiate(&mut accept_values(parts), format.as_deref()))
}

fn accept_values(parts: &Parts) -> impl Iterator<Item = &str> {
    parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok())
}

/// Returns a redirect: 308 to the address with a slash, 301 to the normalized name. It is relative: a proxy
/// may have removed a prefix.
fn redirect(address: &PythonAddress<'_>, target: &PythonPath, parts: &Parts) -> Response<Body> {
    let last = address.raw.rsplit('/').next().unwrap_or_default();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let name = match target {
        PythonPath::Json { project, version } => {
            // The segments below /{repository}/{snapshot}/pypi/.
            let depth = address.raw.split('/').count().saturating_sub(5);
            let location =
                format!("{}{}{query}", "../".repeat(depth), json_link(project, version.as_deref()));
            return response::redirect(StatusCode::MOVED_PERMANENTLY, header_value(location));
        }
        PythonPath::Project(name) => name.as_str(),
        PythonPath::Root | PythonPath::Redirect(_) | PythonPath::Named { .. } | PythonPath::File { .. } => {
            "simple"
        }
    };
    let (prefix, status) = match last {
        "" => ("../", StatusCode::MOVED_PERMANENTLY),
        last if last == name => ("", StatusCode::PERMANENT_REDIRECT),
        _ => ("", StatusCode::MOVED_PERMANENTLY),
    };
    response::redirect(status, header_value(format!("{prefix}{name}/{query}")))
}

/// Redirects to the address of a listed file with its digest. It is not permanent: `rspm add --replace` changes the digest.
async fn find_named(
    app: &App,
    address: &PythonAddress<'_>,
    project: &ProjectName,
    file: &FileName,
) -> Result<Response<Body>, Failure> {
    let point = serve::point::resolve(&app.repositories, address.repo, address.snapshot).await?;
    let found = detail::releases_within(&app.repositories, &point, project.as_str(), None).await?;
    let mut files = found.releases.iter().flat_map(|release| &release.files);
    if let Some(listed) = files.find(|listed| listed.name == file.as_str()) {
        let link = layout::link(FileId::Sha256(listed.sha256), file);
        return Ok(response::redirect(StatusCode::FOUND, header_value(format!("../../{link}"))));
    }
    let version = file.version(project, None).unwrap_or_default();
    Err(match found.blocked(&version) {
        Some(blocked) => Failure::blocked(blocked),
        None => Failure::not_found(format!("the project '{project}' has no file '{file}' in this snapshot")),
    })
}

async fn resolve(app: &App, address: &PythonAddress<'_>, format: PageFormat) -> Result<Resource, Failure> {
    let point = serve::point::resolve(&app.repositories, address.repo, address.snapshot).await?;
    let point = if matches!(address.path, PythonPath::Root) {
        serve::project::file::list_point(&app.repositories, point).await?
    } else {
        point
    };
    let list = |point: Point, content| {
        let document = ProjectDocument { language: point.language, format, content };
        Resource::Document(Box::new(ResolvedDocument::new(&app.state.catalog.get(), point, document.into())))
    };
    Ok(match address.path {
        PythonPath::Root if point.open => {
            let serial = serve::project::file::last_serial(&app.state.catalog.get(), &point);
            list(point, ProjectContent::LatestList(serial))
        }
        PythonPath::Root => list(point, ProjectContent::List),
        PythonPath::Project(project) => {
            let page = serve::project::file::locate_page(&app.repositories, &point, project).await?;
            let catalog = app.state.catalog.get();
            let links = provenance::links(app, &page.point, address);
            let document = page.document(project.clone(), format, links);
            let resolved = ResolvedDocument::new(&catalog, page.point, document.into());
            Resource::Document(Box::new(if page.is_cacheable { resolved } else { resolved.not_cacheable() }))
        }
        PythonPath::File { id: FileId::Sha256(sha256), file, part } => {
            // `provenance` answers requests for these objects.
            if *part == FilePart::Provenance {
                return Err(Failure::no_such_address());
            }
            let located =
                serve::project::file::locate(&app.repositories, &point, *sha256, file, *part).await?;
            Resource::File(Box::new(ResolvedFile::of_python(located, *part)))
        }
        // Not resolved to a resource: `json` answers documents of the JSON API, and `answer` the others.
        PythonPath::File { id: FileId::Row(_), .. }
        | PythonPath::Named { .. }
        | PythonPath::Redirect(_)
        | PythonPath::Json { .. } => {
            return Err(Failure::no_such_address());
        }
    })
}
