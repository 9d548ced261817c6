//! The list of repositories, as JSON, or as names and addresses for the RStudio IDE.

use http::header::{HeaderValue, VARY};
use http::{Response, StatusCode};

use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::body::Body;
use crate::http::response;
use crate::http::target::Query;
use api::public::repo::Repo;
use base::model::repository::RepoKind;
use runtime::catalog::{Catalog, Repository};

/// The media type of the list that the RStudio IDE reads to offer secondary repositories.
const INI: &str = "text/ini";

/// Returns the repositories that are not hidden and that the client may read; `type` selects a kind.
pub(super) fn list(app: &App, catalog: &Catalog, query: &Query, head: &RequestHead<'_>) -> Response<Body> {
    let kind = query.get("type");
    let is_visible = |repo: &&Repository| {
        head.principal.may_list_publicly(repo)
            && kind.is_none_or(|kind| repo.kind.label().eq_ignore_ascii_case(kind))
    };
    let repos = catalog.repos.iter().filter(is_visible);
    let mut response = if head.accepts(INI) {
        let base = base_url::base_url(&app.site.load(), head);
        // `install.packages()` can use the address of a repository of this kind only.
        let repos = repos.filter(|repo| repo.kind == RepoKind::R);
        let lines: String = repos.map(|repo| format!("{0}={base}/{0}/latest\n", repo.name)).collect();
        response::text(INI, lines.into_bytes())
    } else {
        response::json(StatusCode::OK, &repos.map(wire).collect::<Vec<_>>())
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    response
}

/// Returns a repository as the API shows it.
pub(super) fn wire(repo: &Repository) -> Repo {
    Repo {
        id: repo.id.0,
        name: repo.name.to_string(),
        created: repo.created_at.to_string(),
        description: repo.description.clone(),
        kind: repo.kind.label().to_owned(),
        auth: repo.authenticated,
        hidden: repo.hidden,
    }
}
