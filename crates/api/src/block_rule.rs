//! Block rules on the admin API.

use clap::Args;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::repo::place;
use super::row::Row;
use crate::flag_values::SuggestedValues;
use crate::query::query;
use base::model::kind::{Language, Layout};
use base::model::rule_effect::RuleEffect;
use base::model::text::count_of;

query! {
    /// The query of `GET /blocked`.
    #[derive(Args)]
    CountBlocked {
        /// First day, YYYY-MM-DD in UTC (default: the last seven days)
        #[arg(long, value_name = "DAY")]
        since: Option<String>,
    }
}

/// A block rule, in lists and in requests. The keys are those of `rspm create bulk-blocklist-rules`; the output of a
/// list is accepted as input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockRule {
    /// The number of the rule; ignored in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The priority, from 0; rules with a lower number are evaluated first. Among rules of equal priority,
    /// exceptions come first, then rules that block, then warnings, and of these the oldest first. The default is 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// The name of the package: exact for R, in any spelling for Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_name: Option<String>,
    /// A version, or a range: `<`, `<=`, `>` or `>=` followed by a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<i64>,
    /// The type of the source; allowed if there is only one source of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// The id of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<i64>,
    /// The name of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// A part of the text of the license, ignoring case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// SPDX identifiers, or `Unknown`; in requests also one string, separated by commas.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub license_types: Vec<String>,
    /// SPDX identifiers, or `Unknown`: the rule matches versions without an alternative license that consists of them; in
    /// requests also one string, separated by commas.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub license_types_except: Vec<String>,
    /// Whether the rule matches only versions with a known vulnerability.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vulns: bool,
    /// The lowest base score of a vulnerability, 0 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<f64>,
    /// Whether a vulnerability without a score counts for `min_severity`; default true. Refused without `min_severity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_unscored: Option<bool>,
    /// Whether the rule matches only packages that are no longer listed in any version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted_packages: bool,
    /// The age below which a version matches: `7d`, `36h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age: Option<String>,
    /// Whether versions that fix a vulnerability are exempt from `min_age`: `pass` (default) or `wait`. Refused without
    /// `min_age`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age_fixes: Option<String>,
    /// Whether the rule does not apply to dated snapshots: days, transactions and fixed URLs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_dated: bool,
    /// Whether the rule allows the versions that it matches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exception: bool,
    /// Whether the rule only warns: the versions that it matches stay available, with the reason as a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warn: bool,
    /// Free text, shown to clients.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Confirms a rule without a criterion other than the source and the repository, which matches all packages there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The language of the packages, `r` or `python`, if the source or the repository determines it. Ignored in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The reason why the rule has no effect, or none in new snapshots, such as a deleted source or repository. In requests,
    /// a rule with this key may refer to a deleted source or repository by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_effect: Option<String>,
    /// The user who created the rule. Ignored in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Creation time, RFC 3339. Ignored in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The packages that the rule matches now, by repository; only in the response to a change, and to a request that
    /// creates 2 to 20 rules. Ignored in requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<BlockRuleMatches>,
}

/// A criterion of a rule in lists.
pub struct ListedCriterion {
    /// Its name in the list of `rspm`, which is that of Posit Package Manager.
    pub name: &'static str,
    /// Its value in the list of `rspm`.
    pub value: Option<String>,
    /// Its name on the web page.
    pub label: &'static str,
    /// Its value on the web page; empty if the name says everything.
    pub labelled_value: Option<String>,
}

impl BlockRule {
    /// Returns the effect of the rule.
    #[must_use]
    pub fn effect(&self) -> RuleEffect {
        RuleEffect::of_flags(self.exception, self.warn)
    }

    /// Returns the language of the packages if those that the rule matches are not counted: an index lists projects, not
    /// their versions.
    #[must_use]
    pub fn language_without_counts(&self) -> Option<Language> {
        let language = self.language.as_deref().and_then(Language::parse);
        language.filter(|language| language.layout() == Layout::Projects)
    }

    /// Returns the criteria for lists, also those without a value; `number` formats the id of a deleted source or repository.
    #[must_use]
    pub fn criteria(&self, number: impl Fn(i64) -> String) -> Vec<ListedCriterion> {
        let criterion = |name, label, value: Option<String>| ListedCriterion {
            name,
            value: value.clone(),
            label,
            labelled_value: value,
        };
        let flag = |name, value: Option<&str>, label, is_listed: bool| ListedCriterion {
            name,
            value: value.map(str::to_owned),
            label,
            labelled_value: is_listed.then(String::new),
        };
        let named = |name: &Option<String>, id: Option<i64>| name.clone().or_else(|| id.map(&number));
        let list = |ids: &[String]| (!ids.is_empty()).then(|| ids.join(", "));
        let unscored = self.block_unscored.map(|blocks| if blocks { "match" } else { "do not match" });
        let fixes = self.min_age_fixes.as_deref();
        vec![
            criterion("Package name", "package", self.package_name.clone()),
            criterion("Versions", "versions", self.version.clone()),
            criterion("Source", "source", named(&self.source_name, self.source_id)),
            criterion("Repository", "repository", named(&self.repo, self.repo_id)),
            criterion("License", "license contains", self.license.clone()),
            criterion("License types", "licenses", list(&self.license_types)),
            criterion("License types except", "licenses except", list(&self.license_types_except)),
            flag("Vulnerabilities", self.vulns.then_some("any"), "with a known vulnerability", self.vulns),
            criterion(
                "Minimum severity",
                "severity at least",
                self.min_severity.map(|score| format!("{score:.1}")),
            ),
            flag(
                "Without a score",
                unscored,
                "vulnerabilities without a score do not count",
                self.block_unscored == Some(false),
            ),
            flag(
                "Deleted packages",
                self.deleted_packages.then_some("yes"),
                "not listed any more",
                self.deleted_packages,
            ),
            criterion("Younger than", "younger than", self.min_age.clone()),
            flag(
                "Fixes of vulnerabilities",
                fixes,
                "also versions that fix a vulnerability",
                fixes == Some("wait"),
            ),
        ]
    }
}

/// Reads a list, or a string of values separated by commas.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected an array of SPDX identifiers, or a text with identifiers separated by commas"
    )]
    enum Form {
        List(Vec<String>),
        Text(String),
        Null(()),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::List(list) => list,
        Form::Text(text) => {
            text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
        }
        Form::Null(()) => Vec::new(),
    })
}

/// Maximum number of rules in a request for which the packages that they match are counted.
pub const MAX_COUNTED_RULES: usize = 20;

/// The flags for the criteria and properties of a rule, with the keys of [`BlockRule`]; an empty text removes a criterion.
#[derive(Debug, Args, Serialize)]
pub struct RuleFlags {
    /// Name of the package: exact for R, any spelling for Python
    #[arg(long, value_name = "NAME")]
    pub package_name: Option<String>,
    /// One version, or all versions below or above it with <, <=, > or >= before the number
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub version: Option<String>,
    /// Only packages of this source
    #[arg(long, conflicts_with = "bioconductor")]
    #[serde(rename = "source_name")]
    pub source: Option<String>,
    /// Only in this repository
    #[arg(long)]
    pub repo: Option<String>,
    /// Only packages of Bioconductor
    #[arg(long)]
    #[serde(skip)]
    pub bioconductor: bool,
    /// A part of the text of the license, ignoring case
    #[arg(long, value_name = "TEXT")]
    pub license: Option<String>,
    /// SPDX identifiers, or Unknown, comma separated: versions of which every alternative license is in this list
    #[arg(long, value_name = "IDS")]
    pub license_types: Option<String>,
    /// SPDX identifiers, or Unknown, comma separated: versions of which no alternative license is in this list
    #[arg(long, value_name = "IDS")]
    pub license_types_except: Option<String>,
    /// Versions with a known vulnerability
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub vulns: Option<bool>,
    /// Versions with a vulnerability of at least this base score, 0 to 10
    #[arg(long, value_name = "SCORE", value_parser = score)]
    pub min_severity: Option<Value>,
    /// Whether a vulnerability without a score counts for --min-severity [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub block_unscored: Option<bool>,
    /// Packages that no longer have a listed version
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub deleted_packages: Option<bool>,
    /// Versions younger than this age: 7d, 36h
    #[arg(long, value_name = "AGE")]
    pub min_age: Option<String>,
    /// Whether a version that fixes a vulnerability is exempt from --min-age [default: pass]
    #[arg(long, value_name = "WHAT", value_parser = SuggestedValues(&["pass", "wait"]))]
    pub min_age_fixes: Option<String>,
    /// Do not apply the rule to dated snapshots: days, transactions and fixed URLs
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub not_dated: Option<bool>,
    /// Allow the versions that the rule matches, instead of blocking them
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub exception: Option<bool>,
    /// Leave the versions that the rule matches available, with the reason as a warning
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub warn: Option<bool>,
    /// Rules with a lower number are evaluated first [default: 100]
    #[arg(long, value_name = "NUMBER")]
    pub priority: Option<i64>,
    /// The reason, shown to clients
    #[arg(long)]
    pub description: Option<String>,
}

impl RuleFlags {
    /// Returns the keys of the API with the values of the flags that are set.
    ///
    /// # Errors
    /// A value has no JSON form.
    pub fn changes(&self) -> serde_json::Result<Map<String, Value>> {
        let mut values: Map<String, Value> = serde_json::from_value(serde_json::to_value(self)?)?;
        values.retain(|_, value| !value.is_null());
        if self.bioconductor {
            values.insert("source_type".to_owned(), "bioconductor".into());
        }
        Ok(values)
    }
}

/// The expected values of `--min-severity`.
pub const SCORES: &str = "give a number from 0 to 10, such as 7.0";

/// Parses a score; an empty text removes the criterion of a rule. JSON has no `NaN` and no `inf`: they would become null, a
/// rule without this criterion.
fn score(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::from(""));
    }
    let score = text.parse::<f64>().ok().filter(|score| score.is_finite());
    score.map(Value::from).ok_or_else(|| SCORES.to_owned())
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateBlockRules {
    /// The rules; at least one. A rule that cannot be read is refused like one that is not valid.
    #[schema(value_type = Vec<BlockRule>)]
    pub rules: Vec<Row>,
    /// Whether no rule is created if one of them is not valid.
    #[serde(default)]
    pub fail_all: bool,
    /// Whether to create nothing, and only return what the rules would block.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedBlockRules {
    /// The created rules; in a dry run the valid ones.
    pub rules: Vec<BlockRule>,
    /// The rules that are not valid.
    pub refused: Vec<RefusedBlockRule>,
    /// The packages that the rule matches now, by repository; only for a request with a single rule. With 2 to 20 rules,
    /// each of them has those that it would match alone.
    pub matches: Vec<BlockRuleMatches>,
}

/// A rule that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedBlockRule {
    /// Its position in the request, from 0. Messages state its number, from 1.
    pub index: usize,
    /// The reason.
    pub error: String,
}

/// The packages of a repository about whose versions a rule decides, in addition to the other rules and the name guards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockRuleMatches {
    /// The repository.
    pub repo: String,
    /// The version of Bioconductor, for a repository of Bioconductor: each has packages of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bioc_version: Option<String>,
    /// Packages about whose listed version the rule decides. It is the version that is listed without the rule; for an
    /// exception or a warning, the version that is listed with it.
    pub packages: usize,
    /// All packages that the repository lists now, and the others that `packages` counts.
    pub total: usize,
    /// At most three of these packages with the version: `name version`.
    pub examples: Vec<String>,
    /// The packages of `examples` with the versions that the index lists without and with the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ListedVersionChange>,
    /// Versions about which the rule decides and that only the archive has.
    #[serde(default)]
    pub archived: usize,
    /// At most three of the archived versions: `name version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archived_examples: Vec<String>,
}

impl BlockRuleMatches {
    /// Returns the repository, with the version of Bioconductor: `bioc (Bioconductor 3.20)`.
    #[must_use]
    pub fn place(&self) -> String {
        place(&self.repo, self.bioc_version.as_deref())
    }

    /// Describes a rule with this effect: `blocks the listed version of 1 of 3 packages in prod: one 2.0 (not replaced)`.
    #[must_use]
    pub fn describe(&self, effect: RuleEffect) -> String {
        let verb = match effect {
            RuleEffect::Allow => "exempts",
            RuleEffect::Warn => "warns about",
            RuleEffect::Block => "blocks",
        };
        let BlockRuleMatches { packages, total, archived, .. } = self;
        let mut line =
            format!("{verb} the listed version of {packages} of {total} packages in {}", self.place());
        let examples = self.described_examples(effect).join(", ");
        if !examples.is_empty() {
            line += &format!(": {examples}");
        }
        if *archived > 0 {
            let count = count_of(*archived, "version", "versions");
            let examples = self.archived_examples.join(", ");
            line += &format!("; and {count} that only the archive has: {examples}");
        }
        line
    }

    /// Returns the examples of a rule with this effect, each with the version that the index lists in its place, or that it
    /// replaces: `one 2.0 (replaced by 1.1)`.
    #[must_use]
    pub fn described_examples(&self, effect: RuleEffect) -> Vec<String> {
        let changes = self.changes.iter().map(Some).chain(std::iter::repeat(None));
        let describe = |(example, change): (&String, Option<&ListedVersionChange>)| {
            let Some(ListedVersionChange { from_version, to_version, .. }) = change else {
                return example.clone();
            };
            match (effect, from_version, to_version) {
                (RuleEffect::Block, _, Some(to)) => format!("{example} (replaced by {to})"),
                (RuleEffect::Block, _, None) => format!("{example} (not replaced)"),
                (_, Some(from), Some(to)) if from == to => example.clone(),
                (_, Some(from), _) => format!("{example} (replaces {from})"),
                (_, None, _) => format!("{example} (not listed before)"),
            }
        };
        self.examples.iter().zip(changes).map(describe).collect()
    }
}

/// The listed version of a package without and with a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedVersionChange {
    /// The package.
    pub name: String,
    /// The version that the index lists without the rule; absent if it lists none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<String>,
    /// The version that the index lists with the rule; absent if it lists none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_version: Option<String>,
}

/// `PATCH /block-rules/{id}`: the criteria to change. A null or an empty text removes a criterion. A rule that would match
/// all packages requires `all`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EditBlockRule {
    /// Whether to change nothing, and only return the changed rule with what it would match.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Keys of [`BlockRule`] with new values.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub changes: Map<String, Value>,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct DeleteBlockRules {
    /// Numbers and ranges of rules, separated by commas: `5`, `2-77`, `3,4,9`; or `all`.
    #[arg(long, help = "Numbers of the rules: 5, 2-77, 3,4,9 or all")]
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeletedBlockRules {
    /// The number of deleted rules.
    pub deleted: u64,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct TestBlockRules {
    /// The repository.
    #[arg(long)]
    pub repo: String,
    /// The package.
    #[arg(long)]
    pub package_name: String,
    /// The version; if absent, the version that would be listed without block rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long, help = "The version (default: the version that would be listed without block rules)")]
    pub version: Option<String>,
    /// The version of Bioconductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[arg(long)]
    pub bioc_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockRulesTest {
    pub package_name: String,
    /// The tested version.
    pub version: String,
    /// Whether the version is blocked.
    pub blocked: bool,
    /// The first rule that matches; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<BlockRule>,
    /// The reason why the rule matches.
    pub reason: String,
    /// The numbers of the evaluated rules, in the order of evaluation.
    pub compared: Vec<i64>,
    /// The highest allowed version; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// Whether the index lists the highest allowed version. An archived version whose record was never read is not
    /// listed.
    #[serde(default)]
    pub allowed_is_listed: bool,
    /// The duration of the evaluation, in microseconds.
    pub microseconds: u64,
}

/// Response to `GET /blocked`: requests that block rules refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockedRequests {
    /// The first day of the counts, in UTC.
    pub since: String,
    /// Number of requests.
    pub total: i64,
    /// The counts by rule, version and kind of client, the largest first, at most 10,000.
    pub requests: Vec<BlockedCount>,
}

/// Requests that a rule refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockedCount {
    pub rule: i64,
    pub package: String,
    pub version: String,
    /// `R`, `renv`, `pak`, `pip`, `uv`, `Poetry`, `PDM`, `bandersnatch`, `Python`, `browser`, `curl`, `other`.
    pub client: String,
    /// Number of requests.
    pub count: i64,
    /// The day of the last request.
    pub last: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_state_what_the_index_lists_instead() {
        let (old, new) = (Some("1.0"), Some("2.0"));
        for (effect, from, to, suffix) in [
            (RuleEffect::Block, new, old, " (replaced by 1.0)"),
            (RuleEffect::Block, new, None, " (not replaced)"),
            (RuleEffect::Allow, old, new, " (replaces 1.0)"),
            (RuleEffect::Allow, None, new, " (not listed before)"),
            (RuleEffect::Allow, new, new, ""),
            (RuleEffect::Warn, new, new, ""),
        ] {
            let change = ListedVersionChange {
                name: "one".to_owned(),
                from_version: from.map(str::to_owned),
                to_version: to.map(str::to_owned),
            };
            let matches = BlockRuleMatches {
                examples: vec!["one 2.0".to_owned(), "two 1".to_owned()],
                changes: vec![change],
                ..BlockRuleMatches::default()
            };
            let expected = [format!("one 2.0{suffix}"), "two 1".to_owned()];
            assert_eq!(matches.described_examples(effect), expected, "{effect:?}");
        }
    }
}
