//! Known vulnerabilities in the form of the public API.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::advisory::{self, EventKind, Finding, base_score};
use crate::api::public::vulnerability::{
    AffectedPackage, ArchivedVulnerability, CalculatedScore, Event, Range, Severity, Vulnerability,
};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::permission::Principal;
use crate::http::python::project::fixed_in;
use crate::http::target::Query;
use crate::model::language::Language;
use crate::model::point::Point;
use crate::model::time::Timestamp;
use crate::python::version::Version;
use crate::r;
use crate::serve;
use crate::serve::affected::AdvisedPackage;
use crate::serve::vulnerabilities::Vulnerabilities;

/// Maximum number of rows in a response.
const MAX_ROWS: usize = 1000;
/// Maximum page number; later pages are always empty.
const MAX_PAGE: usize = 1_000_000;

/// Returns the vulnerabilities of the packages of a repository, by name and id. Parameters: `_limit`, `_page`.
pub(super) async fn of_repository(
    app: &App,
    point: &Point,
    query: &Query,
    principal: &Principal,
) -> Result<Vec<AffectedPackage>, Failure> {
    let limit = query.number("_limit", MAX_ROWS)?.unwrap_or(MAX_ROWS);
    let page = query.number("_page", MAX_PAGE)?.unwrap_or(1).max(1);
    Ok(all(app, point, principal).await?.into_iter().skip(limit * (page - 1)).take(limit).collect())
}

/// Returns all vulnerabilities of the packages of a point, by name and id; `principal` is the client, which may not know the
/// names of all sources.
///
/// # Errors
/// Failures of the stores.
pub(in crate::http) async fn all(
    app: &App,
    point: &Point,
    principal: &Principal,
) -> Result<Vec<AffectedPackage>, Failure> {
    let advisories = serve::vulnerabilities::current(&app.state).await;
    let packages = serve::affected::advised_packages(&app.repositories, point, &advisories).await?;
    let (catalog, principal) = (app.state.catalog.get(), principal.clone());
    // Thousands of versions are compared.
    let rows = tokio::task::spawn_blocking(move || {
        let rows = packages.iter().flat_map(|package| {
            let source = catalog.source_by_id(package.source);
            let language = source.map_or(Language::R, |source| source.kind.language());
            affected(package, language, &principal.source_name(&catalog, package.source), &advisories)
        });
        rows.collect()
    });
    rows.await.map_err(|_| Failure::unavailable("the server is stopping", 5))
}

/// Returns the vulnerabilities of a package by id.
fn affected(
    package: &AdvisedPackage,
    language: Language,
    source: &str,
    advisories: &Vulnerabilities,
) -> Vec<AffectedPackage> {
    let mut rows: BTreeMap<String, AffectedPackage> = BTreeMap::new();
    for version in sorted(&package.versions, language) {
        for finding in advisories.of(package.source, &package.name, version) {
            let row = rows.entry(finding.id.to_owned()).or_insert_with(|| {
                let Vulnerability { id, aliases, summary, published, modified, severity, ranges: _ } =
                    wire(&finding);
                AffectedPackage {
                    id,
                    name: package.name.clone(),
                    source: source.to_owned(),
                    versions: Vec::new(),
                    aliases,
                    summary,
                    published,
                    modified,
                    severity,
                    fixed_in: fixed_in(&finding),
                }
            });
            row.versions.push(version.clone());
        }
    }
    rows.into_values().collect()
}

/// Returns versions in the order of their language, the highest first.
fn sorted(versions: &[String], language: Language) -> Vec<&String> {
    let mut versions: Vec<&String> = versions.iter().collect();
    match language {
        Language::R => versions.sort_by(|a, b| r::version::compare(b, a)),
        Language::Python => versions.sort_by_cached_key(|text| Reverse(Version::lenient(text))),
    }
    versions
}

/// Converts a finding to the full record.
pub(super) fn wire(finding: &Finding<'_>) -> Vulnerability {
    Vulnerability {
        id: finding.id.to_owned(),
        aliases: finding.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        summary: finding.summary.map(str::to_owned),
        published: time(finding.published),
        modified: time(finding.modified),
        severity: finding.severity.iter().map(|score| severity(score)).collect(),
        ranges: finding.ranges.iter().map(|versions| range(versions)).collect(),
    }
}

/// Converts a finding to the short record of an archived version; the full record is in the detail of that version.
pub(super) fn wire_archived(finding: &Finding<'_>) -> ArchivedVulnerability {
    ArchivedVulnerability {
        id: finding.id.to_owned(),
        summary: finding.summary.map(str::to_owned),
        published: time(finding.published),
    }
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn severity(severity: &advisory::Severity) -> Severity {
    let calculated_score = base_score(&severity.score).map(|base_score| CalculatedScore { base_score });
    Severity { kind: severity.kind.clone(), score: severity.score.clone(), calculated_score }
}

fn range(range: &advisory::Range) -> Range {
    let event = |event: &advisory::Event| {
        let version = Some(event.version.to_string());
        match event.kind {
            EventKind::Introduced => Event { introduced: version, ..Event::default() },
            EventKind::Fixed => Event { fixed: version, ..Event::default() },
            EventKind::LastAffected => Event { last_affected: version, ..Event::default() },
            EventKind::Limit => Event { limit: version, ..Event::default() },
        }
    };
    Range { kind: range.kind.to_string(), events: range.events.iter().map(event).collect() }
}
