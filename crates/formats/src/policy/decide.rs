//! The decision about the releases of one package, and the time from which the age of a release is measured.

use std::cmp::Ordering;
use std::sync::Arc;

use super::rule::{Criteria, Rule, age_text};
use crate::advisory::{Finding, PackageAdvisories, base_score};
use crate::language;
use base::model::ids::SourceId;
use base::model::kind::Language;
use base::model::license::UNKNOWN;
use base::model::time::{SECOND, Timestamp};

#[derive(Clone, Copy)]
pub struct PackageFacts<'a> {
    /// Its name, normalized for a Python project.
    pub name: &'a str,
    pub language: Language,
    /// The source that provides it in the repository.
    pub source: SourceId,
    /// Whether its packages are uploaded or built here. Rules about the age then apply only if they name the source.
    pub is_own: bool,
    pub advisories: Option<PackageAdvisories<'a>>,
    /// Whether any version of it is listed.
    pub is_listed: bool,
    pub releases: &'a [ReleaseFacts],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFacts {
    pub version: String,
    /// The field `License`, or an SPDX expression; `None` if it is not known.
    pub license: Option<String>,
    /// The publication time that upstream claims.
    pub claimed_at: Option<Timestamp>,
    /// The time of the first sync of the source that found it.
    pub discovered_at: Timestamp,
    /// Whether `discovered_at` was the first sync of the source.
    pub is_initial: bool,
}

/// The snapshot and the times of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The time at which the age is measured.
    pub age_at: Timestamp,
    /// The current time: advisories that have been withdrawn are ignored.
    pub now: Timestamp,
    /// Whether the decision is about a dated snapshot.
    pub is_dated: bool,
    /// Whether the decision is about a promoted state: then only a fix of a vulnerability that was published before
    /// `age_at` exempts a release from a minimum age.
    pub is_promoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict<'a> {
    NoRule,
    Exception(&'a Arc<Rule>),
    Blocked(&'a Arc<Rule>),
    /// A rule warns about it; the release is available.
    Warned(&'a Arc<Rule>),
}

impl<'a> Verdict<'a> {
    pub fn blocking_rule(self) -> Option<&'a Arc<Rule>> {
        match self {
            Verdict::Blocked(rule) => Some(rule),
            Verdict::NoRule | Verdict::Exception(_) | Verdict::Warned(_) => None,
        }
    }
}

impl PackageFacts<'_> {
    pub fn compare(&self, a: &str, b: &str) -> Ordering {
        language::of(self.language).compare(a, b)
    }

    fn findings(&self, version: &str, clock: Clock) -> Vec<Finding<'_>> {
        self.advisories.map(|advisories| advisories.vulnerabilities(version, clock.now)).unwrap_or_default()
    }

    /// Returns the license of a release, or else of another one, because licenses rarely change.
    fn license<'b>(&'b self, release: &'b ReleaseFacts) -> Option<&'b str> {
        let mut others = self.releases.iter().filter_map(|other| other.license.as_deref());
        release.license.as_deref().or_else(|| others.next_back())
    }

    /// Returns whether a release is younger than `min_age` microseconds.
    fn is_young(&self, release: &ReleaseFacts, min_age: i64, clock: Clock) -> bool {
        let since = effective_time(release.claimed_at, release.discovered_at, release.is_initial);
        clock.age_at.0.saturating_sub(since.0) < min_age
    }

    /// Returns the ids of the vulnerabilities that `release` fixes: the vulnerabilities of the highest lower version
    /// that is old enough for `min_age`, except those that `release` has too.
    fn fixed(&self, release: &ReleaseFacts, min_age: i64, clock: Clock) -> Vec<String> {
        let older = self.releases.iter().filter(|other| {
            self.compare(&other.version, &release.version).is_lt() && !self.is_young(other, min_age, clock)
        });
        let Some(older) = older.max_by(|a, b| self.compare(&a.version, &b.version)) else {
            return Vec::new();
        };
        let own = self.findings(&release.version, clock);
        let fixed = self.findings(&older.version, clock);
        let is_known = |finding: &&Finding<'_>| {
            !clock.is_promoted || finding.published.is_none_or(|published| published <= clock.age_at)
        };
        let fixed =
            fixed.iter().filter(|finding| own.iter().all(|other| other.id != finding.id)).filter(is_known);
        fixed.map(|finding| finding.id.to_owned()).collect()
    }
}

/// A release about which rules decide.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) package: &'a PackageFacts<'a>,
    pub(super) release: &'a ReleaseFacts,
    pub(super) clock: Clock,
}

impl Case<'_> {
    /// Returns whether all criteria match, except the repository and the source, which a [`super::RuleSet`] compares.
    pub(super) fn matches(self, criteria: &Criteria) -> bool {
        self.applies(criteria) && self.admitting_fixes(criteria).is_empty()
    }

    /// Returns the ids of vulnerabilities if their fix is the only reason why a rule with a minimum age does not match.
    pub(super) fn fixes(self, criteria: &Criteria) -> Vec<String> {
        if self.applies(criteria) { self.admitting_fixes(criteria) } else { Vec::new() }
    }

    /// Returns the ids of the vulnerabilities whose fix exempts the release from the minimum age.
    fn admitting_fixes(self, criteria: &Criteria) -> Vec<String> {
        match criteria.min_age {
            Some(min_age) if criteria.fixes_pass => self.package.fixed(self.release, min_age, self.clock),
            Some(_) | None => Vec::new(),
        }
    }

    /// Returns whether all criteria of [`Case::matches`] match, regardless of exemptions for fixes of vulnerabilities.
    fn applies(self, criteria: &Criteria) -> bool {
        let Case { package, release, clock } = self;
        let Criteria { version, source, license, license_types, license_types_except, min_age, .. } =
            criteria;
        let is_named = |name: &String| language::of(package.language).fold(name) == package.name;
        !(criteria.not_dated && clock.is_dated)
            && criteria.package.as_ref().is_none_or(is_named)
            && version.as_ref().is_none_or(|range| range.contains(package.language, &release.version))
            && (!criteria.deleted_packages || !package.is_listed)
            && license.as_ref().is_none_or(|part| {
                let text = package.license(release).unwrap_or_default();
                text.to_lowercase().contains(&part.to_lowercase())
            })
            && (license_types.is_empty() || !self.may_choose(|id| !is_type(license_types, id)))
            && (license_types_except.is_empty() || !self.may_choose(|id| is_type(license_types_except, id)))
            && (!criteria.needs_advisories() || self.is_vulnerable(criteria))
            && min_age.is_none_or(|min_age| {
                (!package.is_own || source.is_some()) && package.is_young(release, min_age, clock)
            })
    }

    /// Returns whether a user may choose an alternative of the license of which all identifiers are accepted.
    fn may_choose(self, is_accepted: impl Fn(&str) -> bool) -> bool {
        match self.package.license(self.release) {
            None => is_accepted(UNKNOWN),
            Some(license) => language::of(self.package.language).may_choose(license, &is_accepted),
        }
    }

    fn is_vulnerable(self, criteria: &Criteria) -> bool {
        let findings = self.package.findings(&self.release.version, self.clock);
        findings.iter().any(|finding| is_severe(criteria, finding))
    }

    /// Returns short texts about the facts that make a rule match; none for self-evident criteria, such as the name.
    pub(super) fn evidence(self, criteria: &Criteria) -> Vec<String> {
        let Case { package, release, clock } = self;
        let mut evidence = Vec::new();
        if let Some(range) = &criteria.version {
            evidence.push(format!("versions {range}"));
        }
        if criteria.needs_license() {
            evidence.push(format!("license {}", package.license(release).unwrap_or(UNKNOWN)));
        }
        if criteria.needs_advisories() {
            let findings = package.findings(&release.version, clock);
            let matching = findings.iter().filter(|finding| is_severe(criteria, finding));
            let worst = matching.max_by(|a, b| score(a).unwrap_or(-1.0).total_cmp(&score(b).unwrap_or(-1.0)));
            evidence.extend(worst.map(|finding| match score(finding) {
                Some(score) => format!("{}, severity {score:.1}", finding.id),
                None => format!("{}, without a score", finding.id),
            }));
        }
        if criteria.deleted_packages {
            evidence.push("no version of the package is listed any more".to_owned());
        }
        if let Some(min_age) = criteria.min_age {
            let since = effective_time(release.claimed_at, release.discovered_at, release.is_initial);
            let basis = if Some(since) == release.claimed_at { "published" } else { "first found here" };
            evidence.push(format!("{basis} {}, younger than {}", since.day(), age_text(min_age)));
        }
        evidence
    }
}

fn is_type(types: &[String], id: &str) -> bool {
    types.iter().any(|type_id| type_id.eq_ignore_ascii_case(id))
}

fn is_severe(criteria: &Criteria, finding: &Finding<'_>) -> bool {
    criteria
        .min_severity
        .is_none_or(|least| score(finding).map_or(criteria.block_unscored, |score| score >= least))
}

/// Returns the highest base score of a vulnerability, from 0 to 10.
fn score(finding: &Finding<'_>) -> Option<f64> {
    finding.severity.iter().filter_map(|severity| base_score(&severity.score)).reduce(f64::max)
}

/// Maximum time, in microseconds, from the publication time that upstream claims to the first sync that found the
/// release. If the claimed time is older, the age is measured from that sync.
pub const MAX_CLAIM_LEAD: i64 = 48 * 3600 * SECOND;

/// Returns the time from which the age of a release is measured: the publication time that upstream claims, if the
/// first sync of the source (`is_initial`) found the release, or the sync that found it at most [`MAX_CLAIM_LEAD`]
/// later. Otherwise, and for a later claim, the time of that sync.
pub fn effective_time(claimed: Option<Timestamp>, discovered_at: Timestamp, is_initial: bool) -> Timestamp {
    match claimed {
        Some(claimed) if claimed > discovered_at => discovered_at,
        Some(claimed) if is_initial => claimed,
        Some(claimed) if discovered_at.0.saturating_sub(claimed.0) <= MAX_CLAIM_LEAD => claimed,
        Some(_) | None => discovered_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::DAY;

    #[test]
    fn the_age_of_a_backdated_release_counts_from_its_first_sync() {
        let seen = Timestamp(1000 * DAY);
        let old = Some(Timestamp(500 * DAY));
        assert_eq!(effective_time(old, seen, false), seen);
        assert_eq!(effective_time(old, seen, true), Timestamp(500 * DAY), "a mirror with years of history");
        let yesterday = Some(Timestamp(999 * DAY));
        assert_eq!(effective_time(yesterday, seen, false), Timestamp(999 * DAY));
        assert_eq!(effective_time(Some(Timestamp(998 * DAY)), seen, false), Timestamp(998 * DAY));
        assert_eq!(effective_time(Some(Timestamp(998 * DAY - 1)), seen, false), seen);
        assert_eq!(effective_time(Some(Timestamp(1001 * DAY)), seen, true), seen, "from the future");
        assert_eq!(effective_time(None, seen, true), seen);
    }
}
