//! Known vulnerabilities in the form of the public API.

use crate::advisory::{self, EventKind, Finding, base_score};
use crate::api::public::vulnerability::{
    ArchivedVulnerability, CalculatedScore, Event, Range, Severity, Vulnerability,
};
use crate::model::time::Timestamp;

/// The full record.
pub(super) fn wire(finding: &Finding<'_>) -> Vulnerability {
    Vulnerability {
        id: finding.id.to_owned(),
        aliases: finding.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        summary: finding.summary.map(str::to_owned),
        published: time(finding.published),
        modified: time(finding.modified),
        severity: finding.severity.iter().map(|one| severity(one)).collect(),
        ranges: finding.ranges.iter().map(|one| range(one)).collect(),
    }
}

/// The short record of an archived version; the full one is in the detail of that version.
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

fn severity(of: &advisory::Severity) -> Severity {
    let calculated_score = base_score(&of.score).map(|base_score| CalculatedScore { base_score });
    Severity { kind: of.kind.clone(), score: of.score.clone(), calculated_score }
}

fn range(of: &advisory::Range) -> Range {
    let event = |one: &advisory::Event| {
        let at = Some(one.version.to_string());
        match one.kind {
            EventKind::Introduced => Event { introduced: at, ..Event::default() },
            EventKind::Fixed => Event { fixed: at, ..Event::default() },
            EventKind::LastAffected => Event { last_affected: at, ..Event::default() },
            EventKind::Limit => Event { limit: at, ..Event::default() },
        }
    };
    Range { kind: of.kind.to_string(), events: of.events.iter().map(event).collect() }
}
