//! The page of the known vulnerabilities of a snapshot.

use super::context::Context;
use crate::http::api::public::vulnerabilities::rows;
use crate::http::error::Failure;
use base::model::kind::RepoKind;
use content::serve;
use pages::vulnerabilities::Vulnerabilities;

/// Number of rows on a page.
const PER_PAGE: usize = 100;
/// Maximum page number; later pages are always empty.
const MAX_PAGE: usize = 1_000_000;

/// Returns a page of the known vulnerabilities, sorted by package and id.
///
/// # Errors
/// 400 for a page that is not a number, failures of the database or storage.
pub(super) async fn list(context: Context<'_>) -> Result<String, Failure> {
    let Context { app, point, query, principal, .. } = context;
    let page = query.number("page", MAX_PAGE)?.unwrap_or(1).max(1);
    let (rows, total) = rows(app, point, principal, PER_PAGE * (page - 1)..PER_PAGE * page).await?;
    let list = Vulnerabilities {
        rows,
        total,
        page,
        pages: total.div_ceil(PER_PAGE),
        is_python: context.repo.kind == RepoKind::Python,
        printed: context.printed(),
        has_advisories: serve::vulnerabilities::current(&app.state).await.is_known(),
        json: Some(context.api(&format!("vulns?_limit={PER_PAGE}&_page={page}"))),
        location: context.location,
    };
    Ok(list.render(context.root))
}
