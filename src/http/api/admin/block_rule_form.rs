//! Conversion of block rules between their JSON form and that of `policy`: names, units and checks.

use crate::http::error::{Failure, truncate};
use api::block_rule as wire;
use base::model::ids::{RepoId, SourceId};
use base::model::kind::{Layout, SourceKind};
use base::model::license::{UNKNOWN, similar_identifier};
use base::model::license_expression::{BadLicense, LicenseExpression};
use base::model::rule_effect::RuleEffect;
use base::model::time::SECOND;
use content::serve::find;
use formats::language;
use formats::policy::{BadRule, Criteria, MAX_MIN_AGE, Rule};
use formats::r;
use runtime::catalog::Catalog;

/// The default priority of a rule.
pub(super) const DEFAULT_PRIORITY: i64 = 100;
const MAX_PRIORITY: i64 = 1_000_000;
/// Maximum length of a description, in characters.
const MAX_DESCRIPTION: usize = 500;
/// Maximum length of a name or a part of a license, in characters.
const MAX_TEXT: usize = 200;

/// Checks a rule and finds its source and repository. Fails with 400 for an invalid criterion or an
/// [unconfirmed](Failure::unconfirmed) rule, 404 for an unknown source or repository.
pub(super) fn rule_of_wire(catalog: &Catalog, rule: &wire::BlockRule) -> Result<Rule, Failure> {
    let priority = rule.priority.unwrap_or(DEFAULT_PRIORITY);
    if !(0..=MAX_PRIORITY).contains(&priority) {
        return Err(bad(format!("the priority must be a number from 0 to {MAX_PRIORITY}, not {priority}")));
    }
    let description = rule.description.trim();
    if description.chars().count() > MAX_DESCRIPTION || description.chars().any(char::is_control) {
        return Err(bad(format!("the description must be one line of at most {MAX_DESCRIPTION} characters")));
    }
    let min_severity = rule.min_severity.map(severity).transpose()?;
    if min_severity.is_none() && rule.block_unscored.is_some() {
        return Err(bad("block_unscored (--block-unscored) applies only with min_severity (--min-severity)"));
    }
    let min_age = rule.min_age.as_deref().map(age).transpose()?;
    let fixes_pass = match rule.min_age_fixes.as_deref() {
        None | Some("pass") => true,
        Some("wait") => false,
        Some(_) => return Err(bad("min_age_fixes is pass or wait")),
    };
    if min_age.is_none() && rule.min_age_fixes.is_some() {
        return Err(bad("min_age_fixes (--min-age-fixes) applies only with min_age (--min-age)"));
    }
    let criteria = Criteria {
        package: rule.package_name.as_deref().map(package_name).transpose()?,
        version: rule
            .version
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|e: BadRule| bad(e.to_string()))?,
        source: source(catalog, rule)?,
        repo: repo(catalog, rule)?,
        license: rule.license.as_deref().map(|text| line("part of a license", text)).transpose()?,
        license_types: license_types(&rule.license_types)?,
        license_types_except: license_types(&rule.license_types_except)?,
        vulns: rule.vulns,
        min_severity,
        block_unscored: min_severity.is_some() && rule.block_unscored.unwrap_or(true),
        deleted_packages: rule.deleted_packages,
        min_age,
        fixes_pass: min_age.is_some() && fixes_pass,
        not_dated: rule.not_dated,
    };
    if !criteria.has_release_criterion() && !rule.all {
        return Err(Failure::unconfirmed(match (criteria.source, criteria.repo) {
            (None, None) => "a rule without a criterion matches everything",
            (None, Some(_)) => {
                "a rule without a criterion other than the repository matches everything there"
            }
            (Some(_), None) => {
                "a rule without a criterion other than the source matches all packages of the source"
            }
            (Some(_), Some(_)) => {
                "a rule without a criterion other than the source and the repository matches all packages of the source \
                 there"
            }
        }));
    }
    // A rule that a list returned may have no effect.
    if let (Some(reason), None) = (never_matches(catalog, &criteria), &rule.without_effect) {
        return Err(bad(reason));
    }
    if rule.exception && rule.warn {
        return Err(bad("a rule is an exception or a warning, not both"));
    }
    Ok(Rule { id: 0, priority, effect: rule.effect(), criteria, description: description.to_owned() })
}

fn bad(reason: impl Into<String>) -> Failure {
    Failure::bad_request(reason)
}

fn line(noun: &str, text: &str) -> Result<String, Failure> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(bad(format!("a {noun} is one line of 1 to {MAX_TEXT} characters")));
    }
    Ok(text.to_owned())
}

fn package_name(text: &str) -> Result<String, Failure> {
    let name = line("package name", text)?;
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(bad(format!(
            "'{}' is not the name of a package; rules compare whole names, without patterns",
            truncate(&name)
        )));
    }
    Ok(name)
}

fn severity(score: f64) -> Result<f64, Failure> {
    if (0.0..=10.0).contains(&score) {
        Ok(score)
    } else {
        Err(bad(format!("a severity is a base score from 0 to 10, not {score}")))
    }
}

fn license_types(ids: &[String]) -> Result<Vec<String>, Failure> {
    ids.iter().map(|id| license_type(id)).collect()
}

fn license_type(id: &str) -> Result<String, Failure> {
    let id = id.trim();
    if id.eq_ignore_ascii_case(UNKNOWN) {
        return Ok(UNKNOWN.to_owned());
    }
    let expression: LicenseExpression = match id.parse() {
        Ok(expression) => expression,
        Err(BadLicense::Identifier(_) | BadLicense::Form(_)) => return Err(unknown_license_type(id)),
    };
    let mut ids = expression.ids();
    match (ids.next(), ids.next()) {
        // Of the deprecated identifiers of GNU licenses, such as GPL-3.0, packages have the current form.
        (Some(only), None) if expression.to_string() == only => Ok(match known_types(only).as_deref() {
            Some([current]) => current.clone(),
            Some(_) | None => only.to_owned(),
        }),
        _ => {
            Err(bad(format!("'{}' is not one identifier of SPDX; separate several by commas", truncate(id))))
        }
    }
}

/// Returns the identifiers for the text of a field `License` of R; `None` if it has a license without an identifier.
fn known_types(text: &str) -> Option<Vec<String>> {
    let types = r::license::licenses(text).types().to_vec();
    (!types.iter().any(|id| id == UNKNOWN)).then_some(types)
}

/// Returns the error for a text that is no identifier: with the identifiers that R's name of a license stands for, such
/// as `GPL-3`, otherwise with the most similar identifier.
fn unknown_license_type(text: &str) -> Failure {
    let suggestion = match known_types(text) {
        Some(types) => Some(types.join(", ")),
        None => similar_identifier(text).map(str::to_owned),
    };
    let hint = match suggestion {
        Some(suggestion) => format!("did you mean '{suggestion}'?"),
        None => "rspm list license-types shows all".to_owned(),
    };
    bad(format!("'{}' is not a license identifier of SPDX; {hint}", truncate(text)))
}

/// Parses `7d`, `36h` or a number of days; returns microseconds.
fn age(text: &str) -> Result<i64, Failure> {
    let text = text.trim();
    let (digits, hours) = match text.char_indices().last() {
        Some((end, 'd')) => (&text[..end], 24),
        Some((end, 'h')) => (&text[..end], 1),
        Some(_) | None => (text, 24),
    };
    let micros = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(hours * 3600 * SECOND));
    micros.filter(|age| (1..=MAX_MIN_AGE).contains(age)).ok_or_else(|| {
        bad(format!(
            "'{}' is not an age: write days or hours, such as 7d or 36h, up to 3650d",
            truncate(text)
        ))
    })
}

fn age_text(micros: i64) -> String {
    let hours = micros / (3600 * SECOND);
    if hours % 24 == 0 { format!("{}d", hours / 24) } else { format!("{hours}h") }
}

/// Returns the reason why a rule with these criteria matches no package, whatever the sources and repositories contain;
/// `None` if it can match. Sources and repositories that do not exist are not compared.
pub(super) fn never_matches(catalog: &Catalog, criteria: &Criteria) -> Option<String> {
    let source = criteria.source.and_then(|id| catalog.source_by_id(id));
    let repo = criteria.repo.and_then(|id| catalog.repo_by_id(id));
    if let (Some(source), Some(repo)) = (source, repo)
        && source.kind.language() != repo.kind.language()
    {
        return Some(format!(
            "the repository '{}' is of type {} and cannot offer packages of the source '{}'",
            repo.name,
            repo.kind.label(),
            source.name
        ));
    }
    let (place, language) = match (source, repo) {
        (Some(source), _) => (format!("the source '{}'", source.name), source.kind.language()),
        (None, Some(repo)) => (format!("the repository '{}'", repo.name), repo.kind.language()),
        (None, None) => return None,
    };
    let label = language.label();
    if criteria.needs_license() && !language::of(language).states_licenses() {
        return Some(format!(
            "{place} has {label} packages, to which criteria of licenses do not apply: the pages of their files do not \
             state licenses"
        ));
    }
    (criteria.deleted_packages && language.layout() == Layout::Projects).then(|| {
        format!("{place} has {label} packages, to which the criterion of deleted packages does not apply")
    })
}

/// Returns whether a rule refers by its id to a source or repository that was deleted, as a list returns it. Fails if
/// there is another object with this id: the list is from another server.
fn was_deleted(rule: &wire::BlockRule, noun: &str, id: i64, present: Option<&str>) -> Result<bool, Failure> {
    match (&rule.without_effect, present) {
        (Some(_), None) => Ok(true),
        (Some(reason), Some(name)) => Err(bad(format!(
            "the rule has no effect because {reason}, but there is a {noun} with the id {id}: '{name}'; remove the rule \
             from the file, or name a {noun} in it"
        ))),
        (None, _) => Ok(false),
    }
}

fn source(catalog: &Catalog, rule: &wire::BlockRule) -> Result<Option<SourceId>, Failure> {
    if let Some(name) = &rule.source_name {
        return Ok(Some(find::source(catalog, name)?.id));
    }
    if let Some(id) = rule.source_id {
        let source = catalog.source_by_id(SourceId(id));
        if was_deleted(rule, "source", id, source.map(|source| source.name.as_str()))? {
            return Ok(Some(SourceId(id)));
        }
        let unknown = || Failure::not_found(format!("there is no source with the id {id}"));
        return Ok(Some(source.ok_or_else(unknown)?.id));
    }
    let Some(kind) = rule.source_type.as_deref() else { return Ok(None) };
    let kind: SourceKind = kind.parse()?;
    let mut sources = catalog.sources.iter().filter(|source| source.kind == kind);
    match (sources.next(), sources.next()) {
        (Some(only), None) => Ok(Some(only.id)),
        (None, _) => Err(Failure::not_found(format!("there is no source of type {kind}"))),
        (Some(_), Some(_)) => {
            Err(bad(format!("there are several sources of type {kind}: name one by source_name")))
        }
    }
}

fn repo(catalog: &Catalog, rule: &wire::BlockRule) -> Result<Option<RepoId>, Failure> {
    if let Some(name) = &rule.repo {
        return Ok(Some(find::repo(catalog, name)?.id));
    }
    let Some(id) = rule.repo_id else { return Ok(None) };
    let repo = catalog.repo_by_id(RepoId(id));
    if was_deleted(rule, "repository", id, repo.map(|repo| repo.name.as_str()))? {
        return Ok(Some(RepoId(id)));
    }
    Ok(Some(repo.ok_or_else(|| Failure::not_found(format!("there is no repository with the id {id}")))?.id))
}

/// Returns the JSON form of a rule.
pub(super) fn wire_of_rule(catalog: &Catalog, rule: &Rule) -> wire::BlockRule {
    let Criteria { package, version, source, repo, license, license_types, .. } = &rule.criteria;
    let known_source = source.and_then(|id| catalog.source_by_id(id));
    let known_repo = repo.and_then(|id| catalog.repo_by_id(id));
    let without_effect = match (source, known_source, repo, known_repo) {
        (_, _, Some(id), None) => Some(format!("its repository (id {id}) was deleted")),
        (Some(id), None, ..) => {
            Some(format!("its source (id {id}) was deleted, except in snapshots that contain it"))
        }
        _ => never_matches(catalog, &rule.criteria),
    };
    let language = known_source
        .map(|source| source.kind.language())
        .or_else(|| known_repo.map(|repo| repo.kind.language()));
    wire::BlockRule {
        id: Some(rule.id),
        priority: Some(rule.priority),
        package_name: package.clone(),
        version: version.as_ref().map(ToString::to_string),
        source_id: source.map(|id| id.0),
        source_type: known_source.map(|source| source.kind.as_str().to_owned()),
        source_name: known_source.map(|source| source.name.to_string()),
        repo_id: repo.map(|id| id.0),
        repo: known_repo.map(|repo| repo.name.to_string()),
        license: license.clone(),
        license_types: license_types.clone(),
        license_types_except: rule.criteria.license_types_except.clone(),
        vulns: rule.criteria.vulns,
        min_severity: rule.criteria.min_severity,
        block_unscored: rule.criteria.min_severity.map(|_| rule.criteria.block_unscored),
        deleted_packages: rule.criteria.deleted_packages,
        min_age: rule.criteria.min_age.map(age_text),
        min_age_fixes: rule
            .criteria
            .min_age
            .map(|_| if rule.criteria.fixes_pass { "pass" } else { "wait" }.to_owned()),
        not_dated: rule.criteria.not_dated,
        exception: rule.effect == RuleEffect::Allow,
        warn: rule.effect == RuleEffect::Warn,
        description: rule.description.clone(),
        all: !rule.criteria.has_release_criterion(),
        language: language.map(|language| language.as_str().to_owned()),
        matches: Vec::new(),
        without_effect,
        created_by: None,
        created: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_a_valid_form() {
        let catalog = Catalog::default();
        let parse = |text: &str| {
            let rule: wire::BlockRule = serde_json::from_str(text).expect("an object with known keys");
            rule_of_wire(&catalog, &rule).map_err(|failure| failure.phrase)
        };
        for good in [
            r#"{"package_name":"ggplot2","version":"<4.0.0"}"#,
            r#"{"license_types":"MIT, unknown"}"#,
            r#"{"license_types":["apache-2.0"]}"#,
            r#"{"license_types_except":["mit","Unknown"]}"#,
            r#"{"min_severity":7.5,"block_unscored":false}"#,
            r#"{"min_age":"7d","min_age_fixes":"wait"}"#,
            r#"{"all":true}"#,
            r#"{"all":true,"warn":true,"not_dated":true}"#,
            r#"{"vulns":true,"exception":true}"#,
            r#"{"source_id":9,"without_effect":"its source was deleted","all":true}"#,
            r#"{"vulns":true,"repo_id":9,"without_effect":"its repository was deleted"}"#,
        ] {
            let rule = parse(good).unwrap_or_else(|error| panic!("{good}: {error}"));
            let again = rule_of_wire(&catalog, &wire_of_rule(&catalog, &rule)).expect("its own form");
            assert_eq!(again, rule, "{good}");
        }
        // A deprecated identifier is replaced by the one that packages have; a current one does not change.
        let types = |text: &str| license_type(text).map_err(|failure| failure.phrase);
        assert_eq!(types("gpl-3.0"), Ok("GPL-3.0-only".to_owned()));
        for (id, _) in crate::model::license::all() {
            assert_eq!(types(id).as_deref(), Ok(id));
        }
        for (bad, reason) in [
            ("{}", "--all"),
            (r#"{"not_dated":true}"#, "--all"),
            (r#"{"source_id":9}"#, "no source with the id 9"),
            (r#"{"source_id":9,"without_effect":"its source was deleted"}"#, "--all"),
            (r#"{"vulns":true,"repo_id":9}"#, "no repository with the id 9"),
            (r#"{"package_name":"gg","warn":true,"exception":true}"#, "not both"),
            (r#"{"package_name":"gg*"}"#, "without patterns"),
            (r#"{"package_name":""}"#, "1 to 200"),
            (r#"{"version":"~=1.0"}"#, "operators"),
            (r#"{"license_types":["MYOWN"]}"#, "of SPDX; rspm list license-types shows all"),
            (
                r#"{"license_types":["MIT2"]}"#,
                "'MIT2' is not a license identifier of SPDX; did you mean 'MIT'?",
            ),
            (r#"{"license_types_except":["GPL-3"]}"#, "did you mean 'GPL-3.0-only'?"),
            (r#"{"license_types":["GPL-3"]}"#, "did you mean 'GPL-3.0-only'?"),
            (r#"{"license_types":["GPL (>= 2)"]}"#, "did you mean 'GPL-2.0-or-later'?"),
            (r#"{"license_types":["Artistic"]}"#, "did you mean 'Artistic-1.0, Artistic-2.0'?"),
            (
                r#"{"vulns":true,"block_unscored":false}"#,
                "block_unscored (--block-unscored) applies only with",
            ),
            (r#"{"vulns":true,"min_age_fixes":"pass"}"#, "min_age_fixes (--min-age-fixes) applies only with"),
            (r#"{"license_types":["MIT OR ISC"]}"#, "SPDX"),
            (r#"{"min_severity":11}"#, "0 to 10"),
            (r#"{"min_age":"soon"}"#, "7d"),
            (r#"{"min_age":"0d"}"#, "7d"),
            (r#"{"min_age":"9999999999999999d"}"#, "7d"),
            (r#"{"vulns":true,"priority":-1}"#, "priority"),
            (r#"{"source_name":"moon"}"#, "no source 'moon'"),
            (r#"{"source_type":"local"}"#, "no source of type"),
            (r#"{"repo":"moon"}"#, "no repository 'moon'"),
            (r#"{"vulns":true,"description":"two\nlines"}"#, "one line"),
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
