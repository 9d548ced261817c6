//! Why a release is blocked, or has a warning, for clients.

use super::{DecidedRelease, Decision, substitute};
use crate::serve::{AllowedVersion, BlockedRelease};
use base::model::change::LifeState;
use base::model::ids::ReleaseId;
use formats::r::version;

/// Returns the highest version that is not blocked.
pub(in crate::serve) fn highest_allowed(package: &[DecidedRelease]) -> Option<AllowedVersion> {
    let allowed = package.iter().filter(|decided| !decided.is_blocked());
    let highest = allowed.max_by(|a, b| version::compare(&a.release.version, &b.release.version))?;
    let is_listed = match highest.release.state {
        LifeState::Listed => true,
        LifeState::Archived => substitute(package).is_some_and(|it| it.version == highest.release.version),
    };
    Some(AllowedVersion { version: highest.release.version.clone(), is_listed })
}

/// Returns the reason why a release is blocked, and the highest allowed version of its package; `None` if it is not
/// blocked.
pub(in crate::serve) fn of_release(package: &[DecidedRelease], release: ReleaseId) -> Option<BlockedRelease> {
    let decided = package.iter().find(|decided| decided.release.release == release)?;
    let Decision::Blocked(rule, reason) = &decided.decision else { return None };
    Some(BlockedRelease {
        package: decided.release.name.clone(),
        version: decided.release.version.clone(),
        rule: rule.id,
        needs_advisories: rule.criteria.needs_advisories(),
        reason: reason.clone(),
        allowed: highest_allowed(package),
    })
}

/// Returns the rule that warns about a release, with the reason.
pub(in crate::serve) fn warning_of(package: &[DecidedRelease], release: ReleaseId) -> Option<String> {
    let decided = package.iter().find(|decided| decided.release.release == release)?;
    decided.warning().map(str::to_owned)
}
