//! Decisions of rule sets.

use super::*;
use crate::advisory::{AdvisoryFeed, Batch, Format, Index};
use crate::language::Ecosystem;
use crate::policy::{Criteria, RuleIndexes, RuleScope, Verdict};
use base::model::digest::Sha256;
use base::model::ids::RepoId;
use base::model::kind::Language;
use base::model::rule_effect::RuleEffect;
use base::model::time::{DAY, Timestamp};

const REPO: RepoId = RepoId(3);
const SOURCE: SourceId = SourceId(12);
/// A source that selects packages from CRAN.
const CURATED: SourceId = SourceId(13);

fn rule(id: i64, criteria: Criteria) -> Rule {
    Rule { id, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() }
}

fn named(name: &str) -> Criteria {
    Criteria { package: Some(name.to_owned()), ..Criteria::default() }
}

fn set(rules: &[Rule]) -> RuleSet {
    let rules: Vec<Arc<Rule>> = rules.iter().cloned().map(Arc::new).collect();
    let origins = [(CURATED, SourceId::CRAN)];
    let indexes = RuleIndexes::of(Language::R, &rules);
    let scope = RuleScope { repo: REPO, sources: &[SOURCE, CURATED], origins: &origins };
    RuleSet::new(indexes.in_scope(scope), &origins)
}

fn release(version: &str, day: i64) -> ReleaseFacts {
    ReleaseFacts {
        version: version.to_owned(),
        license: Some("GPL-2 | AGPL-3".to_owned()),
        claimed_at: Some(Timestamp(day * DAY)),
        discovered_at: Timestamp(day * DAY),
        is_initial: false,
    }
}

fn package<'a>(name: &'a str, releases: &'a [ReleaseFacts]) -> PackageFacts<'a> {
    let (language, source) = (Language::R, SOURCE);
    PackageFacts { name, language, source, is_own: false, advisories: None, is_listed: true, releases }
}

const CLOCK: Clock =
    Clock { age_at: Timestamp(100 * DAY), now: Timestamp(100 * DAY), is_dated: false, is_promoted: false };

/// Returns the number of the rule that blocks the release; 0 if none does.
fn blocked_by(set: &RuleSet, package: &PackageFacts<'_>, release: &ReleaseFacts) -> i64 {
    set.decide(package, release, CLOCK).blocking_rule().map_or(0, |rule| rule.id)
}

#[test]
fn the_first_matching_rule_decides() {
    let one = [release("1.0", 1)];
    let package = package("one", &one);
    let block = rule(1, named("one"));
    let exception = Rule { effect: RuleEffect::Allow, ..rule(2, named("one")) };
    assert_eq!(blocked_by(&set(std::slice::from_ref(&block)), &package, &one[0]), 1);
    assert_eq!(blocked_by(&set(&[block.clone(), exception.clone()]), &package, &one[0]), 0);
    let earlier = Rule { priority: 50, ..rule(3, Criteria::default()) };
    assert_eq!(blocked_by(&set(&[block, exception.clone(), earlier]), &package, &one[0]), 3);
    let only_exception = set(&[exception]);
    assert!(only_exception.is_empty() && !only_exception.may_match("one"));
    let general =
        set(&[rule(4, Criteria::default()), Rule { effect: RuleEffect::Allow, ..rule(5, named("one")) }]);
    assert_eq!(general.decide(&package, &one[0], CLOCK).blocking_rule(), None);
    assert!(matches!(general.decide(&package, &one[0], CLOCK), Verdict::Exception(rule) if rule.id == 5));
    assert!(general.may_match("two") && general.only_packages(9).is_none());
}

#[test]
fn a_warning_blocks_nothing_and_does_not_cancel_a_block_of_the_same_priority() {
    let one = [release("1.0", 1)];
    let package = package("one", &one);
    let warning = Rule { effect: RuleEffect::Warn, ..rule(1, Criteria::default()) };
    let only = set(std::slice::from_ref(&warning));
    assert!(matches!(only.decide(&package, &one[0], CLOCK), Verdict::Warned(rule) if rule.id == 1));
    assert_eq!(blocked_by(&only, &package, &one[0]), 0);
    assert_eq!(only.only_packages(9), Some(BTreeSet::new()), "no release is looked for in the index");
    let block = rule(2, named("one"));
    assert_eq!(blocked_by(&set(&[warning.clone(), block.clone()]), &package, &one[0]), 2);
    let earlier = Rule { priority: 50, ..warning.clone() };
    assert_eq!(blocked_by(&set(&[earlier, block]), &package, &one[0]), 0, "a lower priority number");
    let exception = Rule { effect: RuleEffect::Allow, ..rule(3, named("one")) };
    let with_exception = set(&[warning, exception]);
    assert!(matches!(with_exception.decide(&package, &one[0], CLOCK), Verdict::Exception(_)));
}

#[test]
fn a_rule_that_is_not_dated_does_not_match_in_a_dated_snapshot() {
    let one = [release("1.0", 1)];
    let package = package("one", &one);
    let rules = set(&[rule(1, Criteria { not_dated: true, ..named("one") }), rule(2, named("two"))]);
    assert!(rules.needs_snapshot());
    assert_eq!(blocked_by(&rules, &package, &one[0]), 1);
    let dated = Clock { is_dated: true, ..CLOCK };
    assert_eq!(rules.decide(&package, &one[0], dated), Verdict::NoRule);
    let everywhere = set(&[rule(1, named("one"))]);
    assert!(!everywhere.needs_snapshot());
    assert!(everywhere.decide(&package, &one[0], dated).blocking_rule().is_some());
}

#[test]
fn rules_of_other_repositories_and_sources_are_left_out() {
    let elsewhere = rule(1, Criteria { repo: Some(RepoId(9)), ..named("one") });
    let other_source = rule(2, Criteria { source: Some(SourceId(7)), ..named("one") });
    assert!(set(&[elsewhere, other_source]).is_empty());
    let here = Criteria { repo: Some(REPO), source: Some(SOURCE), ..named("one") };
    let (one, set) = ([release("1.0", 1)], set(&[rule(3, here)]));
    assert_eq!(blocked_by(&set, &package("one", &one), &one[0]), 3);
    assert_eq!(blocked_by(&set, &package("One", &one), &one[0]), 0, "names of R have case");
    assert_eq!(set.only_packages(1), Some(BTreeSet::from(["one"])));
    assert_eq!(set.only_packages(0), None, "more than the limit");
}

#[test]
fn a_rule_about_a_source_applies_to_packages_that_other_sources_select_from_it() {
    let one = [release("1.0", 1)];
    let own = package("one", &one);
    let curated = PackageFacts { source: CURATED, ..own };
    for (source, of_own, of_curated) in
        [(SourceId::CRAN, 0, 1), (CURATED, 0, 1), (SOURCE, 1, 0), (SourceId::PYPI, 0, 0)]
    {
        let set = set(&[rule(1, Criteria { source: Some(source), ..named("one") })]);
        assert_eq!(blocked_by(&set, &own, &one[0]), of_own, "{source}");
        assert_eq!(blocked_by(&set, &curated, &one[0]), of_curated, "{source}");
    }
    let block = rule(1, named("one"));
    let exception = Rule {
        effect: RuleEffect::Allow,
        ..rule(2, Criteria { source: Some(SourceId::CRAN), ..Criteria::default() })
    };
    let set = set(&[block, exception]);
    assert_eq!((blocked_by(&set, &own, &one[0]), blocked_by(&set, &curated, &one[0])), (1, 0));
}

#[test]
fn a_license_type_matches_if_no_alternative_is_left() {
    let one = [release("1.0", 1), ReleaseFacts { license: None, ..release("0.9", 1) }];
    let package = package("one", &one);
    let types = |types: &[&str]| {
        let license_types = types.iter().map(|id| (*id).to_owned()).collect();
        set(&[rule(1, Criteria { license_types, ..Criteria::default() })])
    };
    assert_eq!(blocked_by(&types(&["AGPL-3.0-only"]), &package, &one[0]), 0);
    assert_eq!(blocked_by(&types(&["agpl-3.0-only", "GPL-2.0-only"]), &package, &one[0]), 1);
    let substring = set(&[rule(2, Criteria { license: Some("agpl".to_owned()), ..Criteria::default() })]);
    assert_eq!(blocked_by(&substring, &package, &one[0]), 2);
    assert_eq!(blocked_by(&substring, &package, &one[1]), 2, "that of the other release");
}

#[test]
fn only_listed_licenses_may_be_chosen() {
    let except = |types: &[&str]| {
        let license_types_except = types.iter().map(|id| (*id).to_owned()).collect();
        set(&[rule(1, Criteria { license_types_except, ..Criteria::default() })])
    };
    let is_blocked = |license: Option<&str>, types: &[&str]| {
        let one = [ReleaseFacts { license: license.map(str::to_owned), ..release("1.0", 1) }];
        blocked_by(&except(types), &package("one", &one), &one[0]) == 1
    };
    let permitted =
        ["gpl-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "MIT", "Apache-2.0"];
    for license in [
        "GPL-3 | file LICENSE",
        "GPL (>= 2) | file LICENSE",
        "GPL-2 | file LICENSE",
        "LGPL-3 | Apache License 2.0",
        "file LICENSE | GPL-3",
        "ACM | GPL (>= 3)",
        "MIT + file LICENSE",
        "GPL-2 | GPL-3",
        "GPL",
    ] {
        assert!(!is_blocked(Some(license), &permitted), "{license}");
    }
    for license in
        ["file LICENSE", "AGPL-3", "LGPL-3 | AGPL-3", "CC BY 4.0", "Unlimited", "ACM | file LICENSE", ""]
    {
        assert!(is_blocked(Some(license), &permitted), "{license}");
        assert!(!is_blocked(Some(license), &["Unknown", "AGPL-3.0-only", "CC-BY-4.0"]), "{license}");
    }
    assert!(is_blocked(None, &permitted) && !is_blocked(None, &["Unknown"]));
}

#[test]
fn deleted_packages_are_those_without_a_listed_version() {
    let one = [release("1.0", 1)];
    let set = set(&[rule(1, Criteria { deleted_packages: true, ..Criteria::default() })]);
    assert_eq!(blocked_by(&set, &package("one", &one), &one[0]), 0);
    let deleted = PackageFacts { is_listed: false, ..package("one", &one) };
    assert_eq!(blocked_by(&set, &deleted, &one[0]), 1);
}

#[test]
fn own_packages_have_an_age_only_for_rules_that_name_their_source() {
    let one = [release("1.0", 99)];
    let criteria = Criteria { min_age: Some(7 * DAY), ..Criteria::default() };
    let everywhere = set(&[rule(1, criteria.clone())]);
    let public = package("one", &one);
    let own = PackageFacts { is_own: true, ..public };
    assert_eq!((blocked_by(&everywhere, &public, &one[0]), blocked_by(&everywhere, &own, &one[0])), (1, 0));
    let here = set(&[rule(2, Criteria { source: Some(SOURCE), ..criteria })]);
    assert_eq!(blocked_by(&here, &own, &one[0]), 2);
    let old = Clock { age_at: Timestamp(106 * DAY), ..CLOCK };
    assert!(here.decide(&own, &one[0], old).blocking_rule().is_none(), "seven days later");
}

fn advisories(text: &str) -> Index {
    let mut batch = Batch::default();
    batch.add_file("a.json", Format::Json, text.as_bytes());
    Index::new(vec![AdvisoryFeed { name: "test".to_owned(), digest: Sha256([0; 32]), batch }])
}

/// Returns an index with an advisory about the versions of the package `one` below 2.0.
fn advisory(severity: &str, withdrawn: &str) -> Index {
    advisories(&format!(
        r#"{{"id":"RSEC-2026-1","modified":"1970-01-02T00:00:00Z"{withdrawn},"severity":[{severity}],
        "affected":[{{"package":{{"ecosystem":"CRAN","name":"one"}},
        "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"2.0"}}]}}]}}]}}"#
    ))
}

const CRITICAL: &str = r#"{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}"#;
const V4: &str =
    r#"{"type":"CVSS_V4","score":"CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N"}"#;

#[test]
fn vulnerabilities_are_compared_by_their_score() {
    let releases = [release("1.0", 1), release("2.0", 2)];
    let blocks = |index: &Index, criteria: Criteria| {
        let facts =
            PackageFacts { advisories: index.package(Ecosystem::Cran, "one"), ..package("one", &releases) };
        let set = set(&[rule(1, criteria)]);
        (blocked_by(&set, &facts, &releases[0]), blocked_by(&set, &facts, &releases[1]))
    };
    let any = Criteria { vulns: true, ..Criteria::default() };
    let least =
        |score, block_unscored| Criteria { min_severity: Some(score), block_unscored, ..Criteria::default() };
    assert_eq!(blocks(&advisory(CRITICAL, ""), any.clone()), (1, 0));
    assert_eq!(blocks(&advisory(CRITICAL, r#","withdrawn":"1970-01-03T00:00:00Z""#), any), (0, 0));
    assert_eq!(blocks(&advisory(CRITICAL, ""), least(9.8, false)).0, 1);
    assert_eq!(blocks(&advisory(CRITICAL, ""), least(9.9, false)).0, 0);
    assert_eq!(blocks(&advisory(V4, ""), least(4.8, false)).0, 1);
    assert_eq!(blocks(&advisory(V4, ""), least(5.0, true)).0, 0);
    assert_eq!(
        (blocks(&advisory("", ""), least(5.0, true)).0, blocks(&advisory("", ""), least(5.0, false)).0),
        (1, 0)
    );
}

#[test]
fn a_young_release_passes_if_it_fixes_the_release_that_is_allowed_without_it() {
    let releases = [release("1.0", 1), release("1.9", 98), release("2.0", 99)];
    let index = advisory(CRITICAL, "");
    let facts =
        PackageFacts { advisories: index.package(Ecosystem::Cran, "one"), ..package("one", &releases) };
    let gate =
        |fixes_pass| set(&[rule(1, Criteria { min_age: Some(7 * DAY), fixes_pass, ..Criteria::default() })]);
    let verdicts = |set: &RuleSet| [0, 1, 2].map(|index: usize| blocked_by(set, &facts, &releases[index]));
    assert_eq!(verdicts(&gate(true)), [0, 1, 0], "2.0 fixes the vulnerability of 1.0, 1.9 does not");
    assert_eq!(verdicts(&gate(false)), [0, 1, 1]);
    let texts = |set: &RuleSet| {
        [0, 1, 2].map(|index: usize| set.early_admission(&facts, &releases[index], CLOCK).unwrap_or_default())
    };
    let text = "rule 1 admits it early, because it fixes RSEC-2026-1";
    assert_eq!(texts(&gate(true)), ["", "", text], "1.0 is old enough");
    assert_eq!(texts(&gate(false)), ["", "", ""]);
}

#[test]
fn the_reason_names_rule_and_facts() {
    let releases = [release("1.0", 99)];
    let index = advisory(CRITICAL, "");
    let facts =
        PackageFacts { advisories: index.package(Ecosystem::Cran, "one"), ..package("one", &releases) };
    let reason = |criteria| RuleSet::reason(&rule(7, criteria), &facts, &releases[0], CLOCK);
    assert_eq!(reason(named("one")), "rule 7");
    let vulns = Criteria { vulns: true, ..Criteria::default() };
    assert_eq!(reason(vulns), "rule 7 (RSEC-2026-1, severity 9.8)");
    let age = Criteria { min_age: Some(7 * DAY), ..Criteria::default() };
    assert_eq!(reason(age), "rule 7 (published 1970-04-10, younger than 7 days)");
    let license = Criteria { license: Some("AGPL".to_owned()), ..Criteria::default() };
    let described = Rule { description: "no copyleft".to_owned(), ..rule(8, license) };
    let text = RuleSet::reason(&described, &facts, &releases[0], CLOCK);
    assert_eq!(text, "rule 8 (no copyleft; license GPL-2 | AGPL-3)");
}
