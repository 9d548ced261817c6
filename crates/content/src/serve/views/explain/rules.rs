//! Explains which releases of a package block rules forbid or warn about, and which version is listed instead.

use super::sentences::format_time;
use super::{Decision, Topic};
use crate::serve::selection::allowed::{self, DecidedRelease, blocked};
use base::model::change::LifeState;
use formats::r::version;

const MAX_RELEASES: usize = 12;

/// Returns one decision for each release that a rule matches, and one for the version that replaces a blocked one.
pub(super) fn decisions(package: &[DecidedRelease]) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = package.iter().filter_map(decision).take(MAX_RELEASES).collect();
    decisions.extend(allowed::substitute(package).map(|substitute| Decision {
        topic: Topic::Release,
        subject: format!("{} {}", substitute.name, substitute.version),
        state: "listed in place of a blocked version".to_owned(),
        is_selected: true,
        rule: "the highest allowed version below the blocked one replaces it".to_owned(),
    }));
    decisions.extend(without_record(package));
    decisions
}

/// Returns a decision about an allowed archived version that the index does not list in place of a blocked one.
fn without_record(package: &[DecidedRelease]) -> Option<Decision> {
    let listed =
        |decided: &&DecidedRelease| decided.release.state == LifeState::Listed && decided.is_blocked();
    let listed = package.iter().find(listed)?;
    let allowed = blocked::highest_allowed(package).filter(|allowed| !allowed.is_listed)?;
    version::compare(&allowed.version, &listed.release.version).is_lt().then(|| Decision {
        topic: Topic::Release,
        subject: format!("{} {}", listed.release.name, allowed.version),
        state: "allowed, in the archive only".to_owned(),
        is_selected: false,
        rule:
            "only a version whose record was read replaces a blocked one; rspm backfill reads earlier records"
                .to_owned(),
    })
}

fn decision(decided: &DecidedRelease) -> Option<Decision> {
    let (verb, reason) = match &decided.decision {
        allowed::RuleDecision::NoRule => return None,
        allowed::RuleDecision::AdmittedEarly(reason) => ("admitted early", reason),
        allowed::RuleDecision::Exception(_, reason) => ("allowed by an exception", reason),
        allowed::RuleDecision::Blocked(_, reason) => ("blocked", reason),
        allowed::RuleDecision::Warned(_, reason) => ("available with a warning", reason),
    };
    Some(Decision {
        topic: Topic::Release,
        subject: format!("{} {}", decided.release.name, decided.release.version),
        state: format!("{verb}; {}", age(decided)),
        is_selected: false,
        rule: reason.clone(),
    })
}

/// Returns the times of publication and of the first sync, the one from which the age counts marked.
fn age(decided: &DecidedRelease) -> String {
    const COUNTS: &str = ", from which its age counts";
    let claim = decided.release.published_at;
    let (of_claim, of_sync) = if claim == Some(decided.since) { (COUNTS, "") } else { ("", COUNTS) };
    let published = claim.map(|claim| format!("published {}{of_claim}; ", format_time(claim)));
    let published = published.unwrap_or_default();
    format!("{published}first synchronized {}{of_sync}", format_time(decided.discovered_at))
}

pub(super) fn replacement(package: &[DecidedRelease]) -> Option<String> {
    allowed::substitute(package).map(|substitute| substitute.version)
}
