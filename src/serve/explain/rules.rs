//! Explains which releases of a package block rules forbid, and which version is listed instead.

use super::sentences::format_time;
use super::{Decision, Topic};
use crate::serve::allowed::{self, Decided};

/// Maximum number of releases that are explained.
const MAX_RELEASES: usize = 12;

/// One decision for each release that a rule matches, with the time from which its age counts, and one for the version
/// that replaces a blocked one.
pub(super) fn decisions(package: &[Decided]) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = package.iter().filter_map(decision).take(MAX_RELEASES).collect();
    decisions.extend(allowed::substitute(package).map(|substitute| Decision {
        topic: Topic::Release,
        subject: format!("{} {}", substitute.name, substitute.version),
        state: "listed in place of a blocked version".to_owned(),
        is_selected: true,
        rule: "the highest allowed version below the blocked one replaces it".to_owned(),
    }));
    decisions
}

fn decision(decided: &Decided) -> Option<Decision> {
    let (verb, reason) = match &decided.decision {
        allowed::Decision::NoRule => return None,
        allowed::Decision::AdmittedEarly(reason) => ("admitted early", reason),
        allowed::Decision::Exception(_, reason) => ("allowed by an exception", reason),
        allowed::Decision::Blocked(_, reason) => ("blocked", reason),
    };
    Some(Decision {
        topic: Topic::Release,
        subject: format!("{} {}", decided.release.name, decided.release.version),
        state: format!("{verb}; {}", age(decided)),
        is_selected: false,
        rule: reason.clone(),
    })
}

/// Both times of a release, and the one from which its age counts.
fn age(decided: &Decided) -> String {
    let first_seen = format_time(decided.first_seen);
    match decided.release.published_at {
        None => format!("first synchronized {first_seen}, from which its age counts"),
        Some(claim) if claim == decided.since => {
            format!(
                "published {}, from which its age counts; first synchronized {first_seen}",
                format_time(claim)
            )
        }
        Some(claim) => {
            format!(
                "published {}; first synchronized {first_seen}, from which its age counts",
                format_time(claim)
            )
        }
    }
}

/// The version that replaces a blocked one.
pub(super) fn replacement(package: &[Decided]) -> Option<String> {
    allowed::substitute(package).map(|substitute| substitute.version)
}
