//! Known vulnerabilities in the form of the public API.

use crate::advisory::{self, EventKind, Finding, base_score};
use crate::api::public::vulnerability::{
    ArchivedVulnerability, CalculatedScore, Event, Range, Severity, Vulnerability,
};
use crate::model::time::Timestamp;

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
