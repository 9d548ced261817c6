//! Responses at the addresses of a repository with projects: lists, pages, files and redirects.

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
use crate::http::repo::python::{json, provenance};
use crate::http::repo::r::platform_request::PlatformRequest;
use crate::http::repo::resolve_cache::{Entry, EntryKey, Resource, Validity};
use crate::http::response::{self, header_value};
use crate::http::target::Query;
use base::model::kind::{Language, Layout};
use base::model::point::Point;
use base::model::project_name::ProjectName;
use base::model::project_page::PageFormat;
use base::model::project_path::{FilePart, ProjectPath, link};
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve;
use content::serve::project::detail;
use content::serve::project::document::{ProjectContent, ProjectDocument};
use formats::language::{self, Projects};

/// A parsed address inside a repository with projects.
pub(crate) struct ProjectAddress<'a> {
    pub(crate) repo: &'a str,
    pub(crate) snapshot: Snapshot,
    /// The language that has this address; `None` if all languages with projects have it.
    pub(crate) language: Option<Language>,
    pub(crate) path: &'a ProjectPath,
    pub(crate) raw: &'a str,
}

/// Answers a GET or HEAD.
pub(crate) async fn answer(
    app: &App,
    address: &ProjectAddress<'_>,
    query: &Query,
    parts: &Parts,
    received_at: Timestamp,
) -> Result<Response<Body>, Failure> {
    let projects = require_language(app, address.repo, address.language)?;
    let format = match address.path {
        ProjectPath::Redirect(target) => {
            return Ok(redirect(address, target, projects.nouns().directory, parts));
        }
        ProjectPath::Named { project, file, version } => {
            return find_named(app, address, project, file, version.as_deref()).await;
        }
        ProjectPath::List | ProjectPath::Page(_) => Some(format(projects, query, parts)),
        ProjectPath::File { sha256, file, part } => {
            projects.check_name(file).map_err(Failure::not_found)?;
            if *part == FilePart::Provenance {
                return provenance::answer(app, address.repo, address.snapshot, *sha256, file, parts).await;
            }
            None
        }
        ProjectPath::Json { .. } => None,
    };
    // `dispatch` has looked up the entries of requests without a query, before it parsed the address.
    let key = EntryKey { path: address.raw, format };
    let entry = match app.resolve_cache.get(&app.state, received_at, key, None) {
        Some(entry) => entry,
        None => {
            // Determined before the resolution: a publish in between makes the cache entry outdated, not wrong.
            let validity = Validity::of(&app.state, received_at);
            let format = format.unwrap_or_else(|| projects.main_format());
            let resource = resolve(app, address, format).await?;
            let access = repository_access(app, address.repo);
            app.resolve_cache.insert(key, Entry { validity, access, resource })
        }
    };
    Ok(answer::answer(app, &entry.resource, &PlatformRequest::NoBinaries, parts, received_at).await)
}

/// Returns the format at a raw path that may be a list or a page, of the language whose directory is in the path; `None`
/// for other paths and with a query, which may name the format. Allocates nothing: it is called for each request.
pub(crate) fn page_format(path: &str, query: Option<&str>, parts: &Parts) -> Option<PageFormat> {
    if query.is_some() || !path.ends_with('/') {
        return None;
    }
    // `/{repository}/{snapshot}/{directory}/`.
    let (_, projects) = language::with_directory(path.split('/').nth(3)?)?;
    Some(projects.negotiate(&mut accept_values(parts), None))
}

/// Returns the language of a repository at an address of `language`, or of all languages with projects. Refuses a
/// repository of another language: a 404 that names both.
pub(in crate::http) fn require_language(
    app: &App,
    repo: &str,
    language: Option<Language>,
) -> Result<&'static dyn Projects, Failure> {
    let kind = serve::find::repo(&app.state.catalog.get(), repo)?.kind;
    let is_accepted = |other: &Language| language.is_none_or(|language| language == *other);
    if let Some(projects) = language::of(kind.language()).projects().filter(|_| is_accepted(&kind.language()))
    {
        return Ok(projects);
    }
    let others = language::with_projects()
        .filter(|(other, _)| language.map_or(other.is_listed(), |language| language == *other));
    let others = others.map(|(other, projects)| {
        format!("those of type {} have {}/", other.label(), projects.nouns().directory)
    });
    Err(Failure::not_found(format!(
        "the repository '{repo}' is of type {}; {}",
        kind.label(),
        others.collect::<Vec<_>>().join(", ")
    )))
}

/// Refuses a path of a list in a repository with projects: a 404 that names the addresses of its packages.
pub(crate) fn refuse_list_path(app: &App, requested: &str) -> Result<(), Failure> {
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

fn format(projects: &dyn Projects, query: &Query, parts: &Parts) -> PageFormat {
    // In a query, an unencoded + is a space.
    let format = query.get("format").map(|format| format.replace(' ', "+"));
    projects.negotiate(&mut accept_values(parts), format.as_deref())
}

fn accept_values(parts: &Parts) -> impl Iterator<Item = &str> {
    parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok())
}

/// Returns a redirect, 308 to add a slash, 301 to normalize; relative, as a proxy may have removed a prefix.
fn redirect(
    address: &ProjectAddress<'_>,
    target: &ProjectPath,
    directory: &str,
    parts: &Parts,
) -> Response<Body> {
    let last = address.raw.rsplit('/').next().unwrap_or_default();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let name = match target {
        ProjectPath::Json { project, version } => {
            return json::redirect(address.raw, project, version.as_deref(), &query);
        }
        ProjectPath::Page(name) => name.as_str(),
        ProjectPath::List
        | ProjectPath::Redirect(_)
        | ProjectPath::Named { .. }
        | ProjectPath::File { .. } => directory,
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
    address: &ProjectAddress<'_>,
    project: &ProjectName,
    file: &str,
    version: Option<&str>,
) -> Result<Response<Body>, Failure> {
    let point = serve::point::resolve(&app.repositories, address.repo, address.snapshot).await?;
    let found = detail::releases_within(&app.repositories, &point, project.as_str(), None).await?;
    let mut files = found.releases.iter().flat_map(|release| &release.files);
    if let Some(listed) = files.find(|listed| listed.name == file) {
        let link = link(listed.sha256, file);
        return Ok(response::redirect(StatusCode::FOUND, header_value(format!("../../{link}"))));
    }
    Err(match found.blocked(version.unwrap_or_default()) {
        Some(blocked) => Failure::blocked(blocked),
        None => Failure::not_found(format!("the project '{project}' has no file '{file}' in this snapshot")),
    })
}

async fn resolve(app: &App, address: &ProjectAddress<'_>, format: PageFormat) -> Result<Resource, Failure> {
    let point = serve::point::resolve(&app.repositories, address.repo, address.snapshot).await?;
    let list = |point: Point, content| {
        let document = ProjectDocument { language: point.language, format, content };
        Resource::Document(Box::new(ResolvedDocument::new(&app.state.catalog.get(), point, document.into())))
    };
    Ok(match address.path {
        ProjectPath::List => {
            let point = serve::project::file::list_point(&app.repositories, point).await?;
            let content = match point.follows_sources() {
                true => ProjectContent::LatestList(serve::project::file::last_serial(
                    &app.state.catalog.get(),
                    &point,
                )),
                false => ProjectContent::List,
            };
            list(point, content)
        }
        ProjectPath::Page(project) => {
            let page = serve::project::file::locate_page(&app.repositories, &point, project).await?;
            let catalog = app.state.catalog.get();
            let links = provenance::links(app, &page.point, address.repo, address.snapshot);
            let document = page.document(project.clone(), format, links);
            let resolved = ResolvedDocument::new(&catalog, page.point, document.into());
            Resource::Document(Box::new(if page.is_cacheable { resolved } else { resolved.not_cacheable() }))
        }
        ProjectPath::File { sha256, file, part } => {
            let located =
                serve::project::file::locate(&app.repositories, &point, *sha256, file, *part).await?;
            Resource::File(Box::new(ResolvedFile::of_project(located, *part)))
        }
        // Not resolved to a resource: `json` answers documents of the JSON API, and `answer` the others.
        ProjectPath::Named { .. } | ProjectPath::Redirect(_) | ProjectPath::Json { .. } => {
            return Err(Failure::no_such_address());
        }
    })
}
