//! The page of the known vulnerabilities of a snapshot.

use super::context::Context;
use crate::http::error::Failure;
use crate::http::public::vulnerabilities::rows;
use api::public::vulnerability::AffectedPackage;
use base::model::repository::RepoKind;
use content::serve;
use pages::vulnerabilities::{Row, Vulnerabilities};

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
    let (selected, total) = rows(app, point, principal, PER_PAGE * (page - 1)..PER_PAGE * page).await?;
    let rows: Vec<Row> = selected.into_iter().map(row).collect();
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

/// Converts a vulnerability to a row of the page, and of the feed.
pub(super) fn row(affected: AffectedPackage) -> Row {
    let scores = affected.severity.iter().filter_map(|severity| severity.calculated_score.as_ref());
    Row {
        score: scores.map(|score| score.base_score).reduce(f64::max),
        source: affected.source,
        summary: affected.summary.unwrap_or_default(),
        published: affected.published.map(|at| at.chars().take(10).collect()),
        package: affected.name,
        id: affected.id,
        aliases: affected.aliases,
        versions: affected.versions,
        fixed_in: affected.fixed_in,
    }
}
