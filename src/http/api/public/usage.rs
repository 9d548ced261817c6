//! Download counts of the public API.

use std::collections::HashSet;

use super::lookup::positions;
use super::{Answer, PublicCall};
use crate::http::error::Failure;
use api::public::package::{ListDownloads, PackageDownloads};
use base::model::kind::Language;
use tasks::usage::UsageError;

/// Default of `_days`.
const DEFAULT_DAYS: usize = 7;
/// Maximum of `_days`.
const MAX_DAYS: usize = 366;

/// Returns packages in the order of their number of downloads, the highest first.
pub(super) async fn packages(call: PublicCall<'_>, query: ListDownloads) -> Answer<Vec<PackageDownloads>> {
    let (principal, catalog) = (call.head.principal, &call.catalog);
    let language = query.source_type.as_deref().filter(|text| !text.is_empty()).map(language).transpose()?;
    let days = query.days.unwrap_or(DEFAULT_DAYS).clamp(1, MAX_DAYS);
    let positions = positions(query.limit, query.page);
    let counts = call.app.usage.packages(i64::try_from(days).unwrap_or(1)).await?;
    let readable_sources: HashSet<&str> = catalog
        .sources
        .iter()
        .filter(|source| principal.may_read_source(catalog, source))
        .map(|source| source.name.as_str())
        .collect();
    // SECURITY: a deleted or renamed source may have been private, so its packages are listed for administrators only.
    let is_listed = |source: &str| principal.is_administrator() || readable_sources.contains(source);
    let rows = counts.iter().filter(|row| {
        language.is_none_or(|language| row.language == language.as_str()) && is_listed(&row.source)
    });
    let rows = rows.skip(positions.start).take(positions.len()).map(|row| PackageDownloads {
        name: row.package.clone(),
        source_type: row.language.clone(),
        source: row.source.clone(),
        count: row.count,
    });
    Ok(rows.collect())
}

fn language(text: &str) -> Result<Language, Failure> {
    Language::ALL.into_iter().find(|language| language.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let words = Language::WORDS.join(" or ");
        Failure::bad_request(format!("the parameter _sourceType must be {words}"))
    })
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
