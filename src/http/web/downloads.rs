//! The downloads of a package.

use super::context::Context;
use super::project;
use crate::http::error::Failure;
use base::model::ids::SourceId;
use base::model::kind::RepoKind;
use pages::downloads::Downloads;

/// Number of weeks on the page.
const WEEKS: i64 = 13;

/// Returns the page of an R package or a Python project.
///
/// # Errors
/// 404, also where downloads are not counted; failures of the database or storage.
pub(super) async fn page(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let app = context.app;
    let (source, package): (SourceId, String) = match context.repo.kind {
        RepoKind::Python => {
            let detail = project::python_detail(&context, package, None).await?;
            (detail.source, detail.project.to_string())
        }
        RepoKind::R | RepoKind::Bioconductor => {
            let detail = project::detail(&context, package).await?;
            (detail.source, detail.release.package)
        }
    };
    // SECURITY: downloads are counted over all repositories of a source; the client may not be permitted to read
    // them all.
    if context.principal.source_name(context.catalog, source).is_empty() {
        return Err(Failure::not_found("the downloads of this source are not shown"));
    }
    let weeks = app.usage.weeks(source, &package, WEEKS).await?;
    let total = app.usage.totals(&[(source, &package)]).await.into_iter().next().unwrap_or(0);
    Ok(Downloads { location: context.location, package, weeks, total }.render(context.root))
}
