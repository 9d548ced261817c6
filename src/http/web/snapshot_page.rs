//! Pages below `/{repo}/{snapshot}/web/`: the package list, packages, their versions and DESCRIPTION files.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::context::{self, Context};
use super::{
    answer, badge, changes, choice, dependencies, explanation, feed, files, lock_file, packages, project,
    versions,
};
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::response::{self, header_value};
use crate::http::route::web::{PackagePage, WebPath};
use crate::http::target::Query;
use base::model::kind::Layout;
use base::model::snapshot::Snapshot;
use content::serve;
use formats::language;
use pages::frame::Location;

/// Answers a request; `posted` is the body of a POST.
pub(in crate::http) async fn answer(
    app: &App,
    requested: &str,
    snapshot: Snapshot,
    path: &WebPath,
    query: &Query,
    head: &RequestHead<'_>,
    posted: Option<lock_file::Posted>,
) -> Result<Response<Body>, Failure> {
    let part = choice::part(serve::find::repo(&app.state.catalog.get(), requested)?, query)?;
    let point = serve::point::resolve_part(&app.repositories, requested, part, snapshot).await?;
    let catalog = app.state.catalog.get();
    let repo =
        catalog.repo_by_id(point.repo).ok_or_else(|| Failure::not_found("there is no such repository"))?;
    let (name, _) = repo.response_name(requested);
    let base = base_url::base_url(&app.site.load(), head);
    let context = Context {
        app,
        catalog: &catalog,
        repo,
        point: &point,
        part,
        snapshot,
        location: Location { repo: name.to_owned(), snapshot: snapshot.to_string() },
        root: context::root(app, head).with_bioconductor(part.map(|part| part.version.to_string())),
        query,
        principal: head.principal,
        client: app.client(head.peer),
        base: &base,
    };
    let (package, page) = match path {
        WebPath::Package(package, page) => (package, page),
        WebPath::Packages => return packages::answer(context, head).await,
        WebPath::Changes => return changes::answer(context, part, head).await,
        WebPath::Feed => return feed::answer(&context, snapshot, head).await,
        WebPath::LockFile => {
            return Ok(match lock_file::page(context, posted).await? {
                (StatusCode::OK, html) => answer::page(head, html, false),
                (status, html) => answer::private_page(status, html),
            });
        }
        WebPath::Vulnerabilities => {
            return Ok(answer::page(head, packages::vulnerabilities(context).await?, false));
        }
        WebPath::VulnerabilityFeed => return feed::of_vulnerabilities(&context, head).await,
    };
    let language = repo.kind.language();
    // A package has one address, that of its folded name, as in the index.
    let rules = language::of(language);
    let folded = rules.fold(package);
    if rules.is_name(package, false) && folded != *package {
        let below = head.path.split_once("/web/packages/").and_then(|(_, path)| path.split_once('/'));
        let query = head.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let page = context.root.package(&context.location, &folded, below.map_or("", |(_, below)| below));
        let target = format!("{page}{query}");
        return Ok(response::redirect(StatusCode::MOVED_PERMANENTLY, header_value(target)));
    }
    let layout = language.layout();
    if let PackagePage::File(file) = page
        && layout == Layout::Lists
        && let Some(response) = files::figure(&context, package.as_str(), file.as_str(), head).await?
    {
        return Ok(response);
    }
    let label = language.label();
    let html = match (page, layout) {
        (PackagePage::Versions, Layout::Projects) => versions::of_project(context, package).await?,
        (PackagePage::Versions, Layout::Lists) => versions::of_package(context, package).await?,
        (PackagePage::History, Layout::Projects) => {
            return Err(Failure::not_found(format!(
                "there is no history page for {label} projects; the page of their versions shows the day of each upload"
            )));
        }
        (PackagePage::History, Layout::Lists) => versions::history(context, package).await?,
        (PackagePage::Explanation, _) => explanation::page(context, package, snapshot, part).await?,
        (PackagePage::Dependents | PackagePage::Dependencies | PackagePage::Binaries, Layout::Projects) => {
            return Err(Failure::not_found("pages of dependencies and binaries are for R packages"));
        }
        (PackagePage::Dependents, Layout::Lists) => dependencies::dependents(context, package).await?,
        (PackagePage::Dependencies, Layout::Lists) => dependencies::closure(context, package).await?,
        (PackagePage::Binaries, Layout::Lists) => versions::binaries(context, package).await?,
        (PackagePage::Badge, _) => return badge::answer(&context, package, head).await,
        (PackagePage::Downloads, _) => versions::downloads(context, package).await?,
        (PackagePage::VersionFeed, Layout::Projects) => {
            return Err(Failure::not_found("feeds of versions are for R packages"));
        }
        (PackagePage::VersionFeed, Layout::Lists) => return feed::of_package(&context, package, head).await,
        (PackagePage::News | PackagePage::License, Layout::Projects) => {
            return Err(Failure::not_found(format!(
                "NEWS and LICENSE of a {label} package are among its files"
            )));
        }
        (PackagePage::Files | PackagePage::File(_), Layout::Projects) => {
            files::of_project(context, page, package).await?
        }
        (
            PackagePage::News | PackagePage::License | PackagePage::Files | PackagePage::File(_),
            Layout::Lists,
        ) => files::page(context, page, package).await?,
        (PackagePage::Description, Layout::Projects) => {
            return Err(Failure::not_found(format!("{label} packages have no DESCRIPTION")));
        }
        (PackagePage::Description, Layout::Lists) => return description(&context, package, head).await,
        (PackagePage::Summary, Layout::Projects) => project::project_page(context, package).await?,
        (PackagePage::Summary, Layout::Lists) => project::r_package(context, package).await?,
    };
    Ok(answer::page(head, html, false))
}

/// Returns DESCRIPTION as text, or the index record of an archive never read. 403 for a blocked version.
async fn description(
    context: &Context<'_>,
    package: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let detail = project::detail(context, package).await?;
    project::require_not_blocked(&detail.release)?;
    let content = |bytes| response::text("text/plain; charset=utf-8", bytes);
    let mut response = answer::with_etag(head, detail.description, content);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
