//! The page of block rules.

use maud::{Markup, html};

use super::AdministrationFrame;
use super::form::{CONFIRM, Form, Kind, yes_or_no};
use crate::text::{number, time, visible};
use api::block_rule::{BlockRule, CreatedBlockRules};
use base::model::rule_effect::RuleEffect;
use base::model::text::count_of;

/// Maximum number of rules on the page: a server may have 200,000.
const MAX_ROWS: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct RuleObjects {
    pub sources: Vec<String>,
    pub repositories: Vec<String>,
}

/// Returns the page; `checked` is a rule that was tested against the packages, and not created.
pub fn list(
    page: &AdministrationFrame,
    rules: &[BlockRule],
    names: &RuleObjects,
    checked: Option<&CreatedBlockRules>,
) -> String {
    page.render(
        "Rules",
        &html! {
            @if let Some(checked) = checked { (matches(checked)) }
            p.prose {
                "Rules are compared in this order, and the first one that matches a version decides. A version that no "
                "rule matches is allowed."
            }
            @if rules.is_empty() {
                p { "There is no rule: all versions are allowed." }
            } @else {
                (table(page, rules.get(..MAX_ROWS).unwrap_or(rules)))
                @if rules.len() > MAX_ROWS {
                    p {
                        "These are the first " (number(MAX_ROWS)) " of " (number(rules.len())) " rules; all: "
                        code { "rspm list blocklist-rules" }
                    }
                }
            }
            h2 { "Create a rule" }
            p.prose { "All criteria of a rule must match; an empty criterion matches everything." }
            (form(names).render(page))
            p { "To see whether a version is blocked: " code { "rspm test blocklist-rules --repo=REPO --package-name=NAME" } }
        },
    )
}

/// Returns the form of a new rule. The names of its fields are those of the API, except `effect` and `dry_run`.
pub fn form(names: &RuleObjects) -> Form {
    let any = |all: &'static str, names: &[String]| {
        let names = names.iter().map(|name| (name.clone(), name.clone()));
        Kind::Choice(std::iter::once((String::new(), all.to_owned())).chain(names).collect())
    };
    let choice = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(value, label)| ((*value).to_owned(), (*label).to_owned()));
        Kind::Choice(pairs.collect())
    };
    let command =
        "rspm create blocklist-rule --package-name=NAME --version=VERSIONS --repo=REPO --dry-run".to_owned();
    Form::new("create", "Continue", command)
        .field("package_name", "Package", Kind::Text(200))
        .field("version", "Versions: 1.2, or <1.2, <=1.2, >1.2, >=1.2", Kind::Text(100))
        .field("source_name", "Source", any("all", &names.sources))
        .field("repo", "Repository", any("all", &names.repositories))
        .field("license", "Part of the license", Kind::Text(200))
        .field("license_types", "SPDX identifiers of licenses, with commas", Kind::Text(1000))
        .field("license_types_except", "All licenses except these SPDX identifiers", Kind::Text(1000))
        .filled("vulns", "Only with a known vulnerability", yes_or_no(), "false")
        .field("min_severity", "Severity of a vulnerability, from 0 to 10", Kind::Text(4))
        .filled("deleted_packages", "Only packages that are not listed any more", yes_or_no(), "false")
        .field("min_age", "Younger than: 7d, 36h", Kind::Text(10))
        .filled("not_dated", "Only in latest, not in dated snapshots", yes_or_no(), "false")
        .filled(
            "effect",
            "Effect",
            choice(&[("block", "blocks"), ("warn", "warns"), ("allow", "allows")]),
            "block",
        )
        .filled("priority", "Priority, the lowest first", Kind::Text(10), "100")
        .field("description", "Reason; clients see it", Kind::Text(500))
        .field(
            "all",
            "Confirm a rule that matches all packages: one without a criterion other than source and repository",
            Kind::Checkbox,
        )
        .filled(
            "dry_run",
            "Action",
            choice(&[("true", "show what matches"), ("false", "create the rule")]),
            "true",
        )
}

fn table(page: &AdministrationFrame, rules: &[BlockRule]) -> Markup {
    html! {
        section.scroll tabindex="0" aria-label="Rules" { table {
            thead { tr {
                th.number scope="col" { "Priority" } th.number scope="col" { "Rule" } th scope="col" { "Effect" }
                th scope="col" { "Criteria" } th scope="col" { "Reason" } th scope="col" { "Created" }
            } }
            tbody { @for rule in rules { (row(page, rule)) } }
        } }
    }
}

fn row(page: &AdministrationFrame, rule: &BlockRule) -> Markup {
    let id = rule.id.unwrap_or_default().to_string();
    let delete = Form::new("delete", "Delete", format!("rspm delete blocklist-rule --id={id}"))
        .of(&id)
        .field(CONFIRM, "The rule ends at once", Kind::Confirm);
    html! {
        tr {
            td.number { (number(rule.priority.unwrap_or(100))) }
            td.number { (id) }
            td {
                @match rule.effect() {
                    RuleEffect::Allow => span.ok { "allows" },
                    RuleEffect::Warn => span.changed { "warns" },
                    RuleEffect::Block => span.danger { "blocks" },
                }
            }
            td {
                ul.criteria { @for (name, value) in criteria(rule) {
                    li { (name) @if !value.is_empty() { ": " bdi { (visible(&value)) } } }
                } }
                @if let Some(reason) = &rule.without_effect { span.changed { "without effect: " (visible(reason)) } }
            }
            td dir="auto" { (visible(&rule.description)) }
            td {
                @if let Some(created) = &rule.created { (time(created)) }
                @if let Some(by) = &rule.created_by { " by " (visible(by)) }
            }
        }
        tr.action { td colspan="6" { (delete.render(page)) } }
    }
}

fn criteria(rule: &BlockRule) -> Vec<(&'static str, String)> {
    let listed = rule.criteria(|id| format!("number {id}")).into_iter();
    let mut present: Vec<(&str, String)> =
        listed.filter_map(|criterion| Some((criterion.label, criterion.labelled_value?))).collect();
    if present.is_empty() || rule.all {
        present.push(("all versions of all packages", String::new()));
    }
    present.extend(rule.not_dated.then(|| ("not in dated snapshots", String::new())));
    present
}

fn matches(checked: &CreatedBlockRules) -> Markup {
    let not_counted = checked.rules.iter().find_map(BlockRule::language_without_counts);
    let matches = &checked.matches;
    let effect = checked.rules.first().map_or(RuleEffect::Block, BlockRule::effect);
    html! {
        div.notice role="status" {
            @if let Some(language) = not_counted {
                p {
                    strong { "Nothing was created." }
                    " The rule matches only " (language.label()) " packages, which are not counted."
                }
            } @else {
                p { strong { "Nothing was created." } " The rule matches these packages now:" }
                @if matches.is_empty() {
                    p { "none, because no repository of R packages is affected." }
                } @else {
                    ul { @for found in matches { li {
                        (number(found.packages)) " of " (number(found.total)) " in " (found.place())
                        @if !found.examples.is_empty() { ": " (visible(&found.described_examples(effect).join(", "))) }
                        @if found.packages > found.examples.len() && !found.examples.is_empty() { ", …" }
                        @if found.archived > 0 {
                            "; and " (count_of(found.archived, "version", "versions")) " that only the archive has: "
                            (visible(&found.archived_examples.join(", ")))
                            @if found.archived > found.archived_examples.len() { ", …" }
                        }
                    } } }
                }
            }
            p { "Choose " em { "create the rule" } " below to create it." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::administration::AdministrationSection;
    use crate::administration::form::RejectedForm;
    use crate::frame::Root;
    use api::block_rule::{BlockRuleMatches, ListedVersionChange};

    fn page() -> AdministrationFrame {
        AdministrationFrame {
            root: Root::of_path("/__ui__/admin/rules/"),
            section: AdministrationSection::Rules,
            object: None,
            form_token: Some("0a".to_owned()),
            done: None,
            rejected: None,
        }
    }

    #[test]
    fn a_rule_has_its_criteria_its_reason_and_a_form_that_deletes_it() {
        let rule = BlockRule {
            id: Some(7),
            priority: Some(50),
            package_name: Some("<b>".to_owned()),
            version: Some("<4.0.0".to_owned()),
            min_severity: Some(7.0),
            block_unscored: Some(false),
            without_effect: Some("its repository was deleted".to_owned()),
            description: "ask \u{202e}legal".to_owned(),
            ..BlockRule::default()
        };
        let text = list(&page(), &[rule], &RuleObjects::default(), None);
        for part in [
            "package: <bdi>&lt;b&gt;</bdi>",
            "versions: <bdi>&lt;4.0.0</bdi>",
            "severity at least: <bdi>7.0</bdi>",
            "vulnerabilities without a score do not count",
            "without effect: its repository was deleted",
            "ask ⟨U+202E⟩legal",
            "rspm delete blocklist-rule --id=7",
            "name=\"object\" value=\"7\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_page_with_many_rules_is_bounded_and_a_rule_without_criteria_says_so() {
        let rules: Vec<BlockRule> =
            (1..=MAX_ROWS as i64 + 5).map(|id| BlockRule { id: Some(id), ..BlockRule::default() }).collect();
        let text = list(&page(), &rules, &RuleObjects::default(), None);
        assert_eq!(text.matches("all versions of all packages").count(), MAX_ROWS);
        assert!(text.contains("first 200 of 205 rules"), "{text}");
        let none = list(&page(), &[], &RuleObjects::default(), None);
        assert!(none.contains("There is no rule") && none.contains("Create a rule"), "{none}");
    }

    #[test]
    fn a_comparison_names_the_packages() {
        let change = |name: &str, from: &str, to: Option<&str>| ListedVersionChange {
            name: name.to_owned(),
            from_version: Some(from.to_owned()),
            to_version: to.map(str::to_owned),
        };
        let found = BlockRuleMatches {
            repo: "prod".to_owned(),
            bioc_version: None,
            packages: 4,
            total: 22_362,
            examples: ["a 1", "b 2", "c 3"].map(str::to_owned).to_vec(),
            changes: vec![change("a", "1", Some("0.9")), change("b", "2", None)],
            archived: 2_000,
            archived_examples: vec!["d <1>".to_owned()],
        };
        let checked = CreatedBlockRules { matches: vec![found], ..CreatedBlockRules::default() };
        let text = list(&page(), &[], &RuleObjects::default(), Some(&checked));
        for part in [
            "4 of 22\u{202f}362 in prod: a 1 (replaced by 0.9), b 2 (not replaced), c 3, …",
            "; and 2,000 versions that only the archive has: d &lt;1&gt;, …",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_rule_about_python_packages_has_no_count() {
        let rule = BlockRule { language: Some("python".to_owned()), ..BlockRule::default() };
        let checked = CreatedBlockRules { rules: vec![rule], ..CreatedBlockRules::default() };
        let text = list(&page(), &[], &RuleObjects::default(), Some(&checked));
        assert!(text.contains("matches only Python packages, which are not counted"), "{text}");
        assert!(!text.contains("matches these packages now"), "{text}");
    }

    #[test]
    fn the_box_that_confirms_a_rule_about_all_packages_is_not_required_and_stays_ticked() {
        let text = list(&page(), &[], &RuleObjects::default(), None);
        assert!(
            text.contains(r#"<input type="checkbox" id="create-all" name="all" value="true">"#),
            "{text}"
        );
        let rejected = RejectedForm {
            action: "create".to_owned(),
            values: vec![("all".to_owned(), "true".to_owned())],
            ..RejectedForm::default()
        };
        let page = AdministrationFrame { rejected: Some(rejected), ..page() };
        let text = list(&page, &[], &RuleObjects::default(), None);
        assert!(text.contains(r#"id="create-all" name="all" value="true" checked>"#), "{text}");
    }
}
