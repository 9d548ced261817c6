//! Why a release is blocked, or has a warning, for clients, and all versions that rules withhold in a tree.

use std::collections::BTreeMap;

use super::{DecidedRelease, RuleDecision, View, project, substitute};
use crate::serve::{AllowedVersion, BlockedRelease};
use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId};
use base::model::kind::Layout;
use formats::r::version;
use store::db::{Conn, DbError};

pub(in crate::serve) fn highest_allowed(package: &[DecidedRelease]) -> Option<AllowedVersion> {
    let allowed = package.iter().filter(|decided| !decided.is_blocked());
    let highest = allowed.max_by(|a, b| version::compare(&a.release.version, &b.release.version))?;
    let is_listed = match highest.release.state {
        LifeState::Listed => true,
        LifeState::Archived => substitute(package).is_some_and(|it| it.version == highest.release.version),
    };
    Some(AllowedVersion { version: highest.release.version.clone(), is_listed })
}

/// Returns the reason why a release is blocked, and the highest allowed version; `None` if it is not blocked.
pub(in crate::serve) fn of_release(package: &[DecidedRelease], release: ReleaseId) -> Option<BlockedRelease> {
    let decided = package.iter().find(|decided| decided.release.release == release)?;
    let RuleDecision::Blocked(rule, reason) = &decided.decision else { return None };
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

/// Returns the packages and ids of the releases, or files of projects, that rules withhold; none of an index.
pub(in crate::serve) fn withheld(view: &View, c: &mut dyn Conn) -> Result<Vec<(PackageId, i64)>, DbError> {
    let Some(policy) = &view.policy else { return Ok(Vec::new()) };
    match policy.repo.language.layout() {
        Layout::Lists => {
            let decided = view.decisions(c, None)?.into_iter().flatten();
            let blocked = decided.filter(DecidedRelease::is_blocked).map(|decided| decided.release);
            Ok(blocked.map(|release| (release.package, release.release.0)).collect())
        }
        Layout::Projects => project::withheld(c, view),
    }
}

/// Returns the versions that rules withhold, by package and version, with the reasons; none of an index.
pub(in crate::serve) fn withheld_versions(
    view: &View,
    c: &mut dyn Conn,
) -> Result<BTreeMap<(String, String), String>, DbError> {
    let Some(policy) = &view.policy else { return Ok(BTreeMap::new()) };
    match policy.repo.language.layout() {
        // The reasons are read by package, because reasons about all of CRAN take seconds.
        Layout::Lists => {
            let blocked = view.blocked_releases(c, None)?;
            let versions = blocked.stems.iter().filter_map(|stem| stem.split_once('_'));
            Ok(versions
                .map(|(name, version)| ((name.to_owned(), version.to_owned()), String::new()))
                .collect())
        }
        Layout::Projects => project::withheld_versions(c, view),
    }
}
