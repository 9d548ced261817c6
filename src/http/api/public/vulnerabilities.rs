//! Known vulnerabilities in the form of the public API.

use std::cmp::Reverse;

use super::lookup::{positions, requested_point};
use super::{Answer, PublicCall};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::repo::python::project::fixed_in;
use api::public::vulnerability::{
    AffectedPackage, ArchivedVulnerability, CalculatedScore, Event, ListVulnerabilities, Range, Severity,
    Vulnerability,
};
use base::model::point::Point;
use base::model::time::Timestamp;
use content::serve;
use content::serve::vulnerabilities::Vulnerabilities;
use formats::advisory::{self, Finding, RangeEventKind, base_score};

/// Returns the vulnerabilities of the packages of a repository, by name and id.
pub(super) async fn of_repo(
    call: PublicCall<'_>,
    repo: &str,
    query: ListVulnerabilities,
) -> Answer<Vec<AffectedPackage>> {
    let point = requested_point(&call, repo, query.bioc_version.as_deref(), query.snapshot).await?;
    Ok(rows(call.app, &point, call.head.principal, positions(query.limit, query.page)).await?.0)
}

/// Returns the vulnerabilities of the packages of a point at `positions` in the order of package name and id, and their
/// total number. `principal` is the client; the names of sources that it may not read are empty.
pub(in crate::http) async fn rows(
    app: &App,
    point: &Point,
    principal: &Principal,
    positions: std::ops::Range<usize>,
) -> Result<(Vec<AffectedPackage>, usize), Failure> {
    let advisories = serve::vulnerabilities::current(&app.state).await;
    let affected = serve::affected::at_point(&app.repositories, point, &advisories).await?;
    let total = affected.rows.len();
    let selected = affected.rows.iter().skip(positions.start).take(positions.len()).cloned().collect();
    Ok((convert(app, selected, principal, advisories).await?, total))
}

/// Returns the vulnerabilities of the packages of a point whose advisories were changed last, the last one first.
pub(in crate::http) async fn last_changed(
    app: &App,
    point: &Point,
    principal: &Principal,
    count: usize,
) -> Result<Vec<AffectedPackage>, Failure> {
    let advisories = serve::vulnerabilities::current(&app.state).await;
    let affected = serve::affected::at_point(&app.repositories, point, &advisories).await?;
    let mut rows: Vec<&serve::affected::AffectedPackage> = affected.rows.iter().collect();
    rows.sort_by_key(|row| Reverse(row.changed));
    let selected = rows.into_iter().take(count).cloned().collect();
    convert(app, selected, principal, advisories).await
}

/// Converts vulnerabilities; omits those that were withdrawn since `rows` were computed.
async fn convert(
    app: &App,
    rows: Vec<serve::affected::AffectedPackage>,
    principal: &Principal,
    advisories: Vulnerabilities,
) -> Result<Vec<AffectedPackage>, Failure> {
    let (catalog, principal) = (app.state.catalog.get(), principal.clone());
    // A package may have hundreds of advisories, which are compared with the version of each row.
    let rows = tokio::task::spawn_blocking(move || {
        let row = |row: &serve::affected::AffectedPackage| {
            affected_package(row, &principal.source_name(&catalog, row.source), &advisories)
        };
        rows.iter().filter_map(row).collect::<Vec<_>>()
    });
    rows.await.map_err(|_| Failure::unavailable("the server is stopping", 5))
}

/// Converts a vulnerability of a package; `None` if it was withdrawn since `row` was computed.
fn affected_package(
    row: &serve::affected::AffectedPackage,
    source: &str,
    advisories: &Vulnerabilities,
) -> Option<AffectedPackage> {
    let findings = advisories.of(row.source, &row.name, row.versions.first()?);
    let finding = findings.iter().find(|finding| finding.id == row.id)?;
    let Vulnerability { id, aliases, summary, published, modified, severity, ranges: _ } = wire(finding);
    Some(AffectedPackage {
        id,
        name: row.name.clone(),
        source: source.to_owned(),
        versions: row.versions.clone(),
        aliases,
        summary,
        published,
        modified,
        severity,
        fixed_in: fixed_in(finding),
    })
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

/// Converts a finding to the short record of an archived version; the details of that version have the full record.
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
    let event = |event: &advisory::RangeEvent| {
        let version = Some(event.version.to_string());
        match event.kind {
            RangeEventKind::Introduced => Event { introduced: version, ..Event::default() },
            RangeEventKind::Fixed => Event { fixed: version, ..Event::default() },
            RangeEventKind::LastAffected => Event { last_affected: version, ..Event::default() },
            RangeEventKind::Limit => Event { limit: version, ..Event::default() },
        }
    };
    Range { kind: range.kind.to_string(), events: range.events.iter().map(event).collect() }
}
