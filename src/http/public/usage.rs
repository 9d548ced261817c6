//! Download counts of the public API.

use std::collections::HashSet;

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::permission::Principal;
use crate::http::target::Query;
use api::public::usage::PackageDownloads;
use base::model::language::Language;
use tasks::usage::UsageError;

/// Maximum number of rows in a response.
const MAX_ROWS: usize = 1000;
/// Maximum page number; later pages are always empty.
const MAX_PAGE: usize = 1_000_000;
/// Default of `_days`.
const DEFAULT_DAYS: usize = 7;
/// Maximum of `_days`.
const MAX_DAYS: usize = 366;

/// Returns packages in the order of their number of downloads, the highest first. Parameters: `_sourceType`,
/// `_days`, `_limit`, `_page`.
pub(super) async fn packages(
    app: &App,
    query: &Query,
    principal: &Principal,
) -> Result<Vec<PackageDownloads>, Failure> {
    let language = match query.get("_sourceType") {
        None | Some("") => None,
        Some(text) => Some(language(text)?),
    };
    let days = query.number("_days", MAX_DAYS)?.unwrap_or(DEFAULT_DAYS).max(1);
    let limit = query.number("_limit", MAX_ROWS)?.unwrap_or(MAX_ROWS);
    let page = query.number("_page", MAX_PAGE)?.unwrap_or(1).max(1);
    let counts = app.usage.packages(i64::try_from(days).unwrap_or(1)).await?;
    let catalog = app.state.catalog.get();
    let readable_sources: HashSet<&str> = catalog
        .sources
        .iter()
        .filter(|source| principal.may_read_source(&catalog, source))
        .map(|source| source.name.as_str())
        .collect();
    // SECURITY: a deleted or renamed source may have been private, so its packages are listed for administrators only.
    let is_listed = |source: &str| principal.is_administrator() || readable_sources.contains(source);
    let rows = counts.iter().filter(|row| {
        language.is_none_or(|language| row.language == language.as_str()) && is_listed(&row.source)
    });
    let rows = rows.skip(limit * (page - 1)).take(limit).map(|row| PackageDownloads {
        name: row.package.clone(),
        source_type: row.language.clone(),
        source: row.source.clone(),
        count: row.count,
    });
    Ok(rows.collect())
}

fn language(text: &str) -> Result<Language, Failure> {
    Language::ALL
        .into_iter()
        .find(|language| language.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| Failure::bad_request("the parameter _sourceType must be r or python"))
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Failure {
        match error {
            UsageError::Disabled => Failure::not_found("downloads are not counted on this server"),
            UsageError::Unavailable => Failure::unavailable(error.to_string(), 30),
            UsageError::Db(error) => error.into(),
            UsageError::Storage(error) => content::serve::RepoError::from(error).into(),
        }
    }
}
