//! HTML pages for a browser: the list of repositories, and one repository.

use std::fmt::Write as _;

use http::{Response, StatusCode};

use super::app::App;
use super::base_url::{self, RequestHead};
use super::body::Body;
use super::error::Failure;
use super::permission::Principal;
use super::response;
use crate::catalog::Catalog;
use crate::model::repository::RepoKind;
use crate::model::snapshot::Snapshot;
use crate::serve;

/// `/`: the list of repositories.
#[must_use]
pub(super) fn index_page(catalog: &Catalog, principal: &Principal, address: Option<&str>) -> Response<Body> {
    let base = address.unwrap_or_default();
    let mut items = String::new();
    for repo in catalog.repos.iter().filter(|repo| !repo.hidden && principal.may_read(repo)) {
        let (name, description) = (escape(repo.name.as_str()), escape(&repo.description));
        let _ =
            write!(items, "<li><a href=\"{}/{name}/latest/\">{name}</a> {description}</li>", escape(base));
    }
    if items.is_empty() {
        items.push_str("<li>none yet: <code>rspm create repo --name=…</code></li>");
    }
    response::page(html_page("Package repositories", &format!("<ul>{items}</ul>")))
}

/// `/{repo}` and `/{repo}/`: redirects to the newest snapshot.
///
/// # Errors
/// 404 if there is no such repository.
pub(super) fn redirect_to_latest(
    catalog: &Catalog,
    name: &str,
    trailing_slash: bool,
) -> Result<Response<Body>, Failure> {
    let repo = catalog.repo(name).ok_or_else(|| {
        Failure::not_found(
            "there is no such repository; the URL of a repository ends in a snapshot: /{repository}/latest, a date \
             (YYYY-MM-DD) or a transaction id",
        )
    })?;
    // Relative: a proxy may have removed a prefix of the path.
    let prefix = if trailing_slash { String::new() } else { format!("{}/", repo.name) };
    Ok(response::redirect(StatusCode::FOUND, response::header_value(format!("{prefix}latest/"))))
}

/// `/{repo}/{snapshot}/`: the client settings for the repository.
///
/// # Errors
/// 404 if there is no such repository or snapshot.
pub(super) async fn repository_page(
    app: &App,
    name: &str,
    snapshot: Snapshot,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let point = serve::point::resolve(&app.repositories, name, snapshot).await?;
    let catalog = app.state.catalog.get();
    let repo =
        catalog.repo_by_id(point.repo).ok_or_else(|| Failure::not_found("there is no such repository"))?;
    let base = base_url::base_url(&app.site.load(), head);
    // SECURITY: a number does not disclose the name of a hidden repository.
    let (repo_name, description) = match repo.hidden && !head.principal.is_administrator() {
        true if repo.name.as_str() != name => (name, ""),
        _ => (repo.name.as_str(), repo.description.as_str()),
    };
    let url = escape(&format!("{base}/{repo_name}/{snapshot}"));
    let (heading, code) = match repo.kind {
        RepoKind::Python => {
            ("With pip, uv and other installers", format!("pip config set global.index-url {url}/simple/"))
        }
        RepoKind::R => {
            let is_plain = !repo_name.contains('-') && !repo_name.starts_with(|c: char| c.is_ascii_digit());
            let name = if is_plain { repo_name.to_owned() } else { format!("`{repo_name}`") };
            ("In R", format!("options(repos = c({name} = \"{url}\"))"))
        }
        RepoKind::Bioconductor => {
            let code =
                format!("options(BioC_mirror = \"{url}\", BIOCONDUCTOR_CONFIG_FILE = \"{url}/config.yaml\")");
            ("In R", code)
        }
    };
    let state = match point.modified {
        Some(at) => format!("<p>This state was published at {at}.</p>"),
        None => String::new(),
    };
    let text = format!("<p>{}</p><p>{heading}:</p><pre>{code}</pre>{state}", escape(description),);
    Ok(response::page(html_page(repo_name, &text)))
}

/// An HTML page; `title` is plain text, `body` is HTML.
#[must_use]
pub(super) fn html_page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>body{{font:1rem/1.5 sans-serif;\
         margin:2rem auto;max-width:50rem;padding:0 1rem}}</style></head><body><h1>{title}</h1>{body}\
         </body></html>\n"
    )
}

/// Escapes text for HTML. SECURITY: required for all text that is not part of the page template.
#[must_use]
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_escape_user_text() {
        assert_eq!(escape("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    }
}
