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
        allowed::Decision::Exception(_, reason) => ("allowed by an exception", reason),
        allowed::Decision::Blocked(_, reason) => ("blocked", reason),
    };
    let clock = if decided.is_claim_believed { "publication" } else { "first sync that saw it" };
    Some(Decision {
        topic: Topic::Release,
        subject: format!("{} {}", decided.release.name, decided.release.version),
        state: format!("{verb}; its age counts from {} ({clock})", format_time(decided.since)),
        is_selected: false,
        rule: reason.clone(),
    })
}

/// The version that replaces a blocked one.
pub(super) fn replacement(package: &[Decided]) -> Option<String> {
    allowed::substitute(package).map(|substitute| substitute.version)
}
