//! Commands of block rules: their output, bulk files, refusals, the audit trail.

use std::io::Write;

use serde_json::json;

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn server() -> Server {
    let server = Server::start();
    server.local_repository("prod", &[Tarball::new("one", "1.0"), Tarball::new("two", "1.0")]);
    server
}

fn file(server: &Server, rules: &serde_json::Value) -> String {
    let path = server.dir().join("rules.json");
    std::fs::write(&path, rules.to_string()).expect("written");
    path.display().to_string()
}

#[test]
fn a_rule_is_planned_created_changed_listed_and_deleted() {
    let server = server();
    assert_eq!(
        server.rspm_stdout("create blocklist-rule --package-name=one --version=<4.0.0 --dry-run"),
        "ID: new  Priority: 100\n -- Match criteria:\n  - Package name: one\n  - Versions: <4.0.0\n\
         Blocks the listed version of 1 of 2 packages in prod: one 1.0 (not replaced)\nNothing was created: --dry-run\n"
    );
    assert_eq!(
        server.rspm_stdout("list blocklist-rules"),
        "There is no rule. Create one: rspm create blocklist-rule\n"
    );
    let created = server.rspm_stdout("create blocklist-rule --package-name=one --version=<4.0.0 --repo=prod");
    assert!(created.starts_with("ID: 1  Priority: 100\n"), "{created}");
    server.rspm_stdout("create blocklist-rule --license=AGPL --priority=50 --description=no~copyleft");
    assert_eq!(
        server.rspm_stdout("list blocklist-rules"),
        "Rules are printed in order of execution\n\nID: 2  Priority: 50\n -- Match criteria:\n  - License: AGPL\n \
         -- Description: no copyleft\n\nID: 1  Priority: 100\n -- Match criteria:\n  - Package name: one\n  - Versions: \
         <4.0.0\n  - Repository: prod\n"
    );
    server.rspm_stdout("edit blocklist-rule --id=1 --version=<=1.0 --priority=10");
    let rules = server.json("list blocklist-rules");
    assert_eq!((&rules[0]["id"], &rules[0]["version"]), (&json!(1), &json!("<=1.0")));
    assert_eq!(server.rspm_stdout("delete blocklist-rule --id=1-2"), "Deleted 2 rules.\n");
    let audit = server.rspm_stdout("audit list");
    for action in ["create block rules", "change block rule", "delete block rules"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
}

#[test]
fn a_test_names_the_rule_and_has_its_own_exit_code() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --package-name=two --exception");
    server.rspm_stdout("create blocklist-rule --all --description=closed");
    let blocked = server.rspm("test blocklist-rules --repo=prod --package-name=one --version=1.0");
    assert_eq!(blocked.code, 1, "{}", blocked.err);
    assert!(
        blocked.out.starts_with("one 1.0 is blocked in prod by rule 2 (closed).\nID: 2  Priority: 100\n"),
        "{}",
        blocked.out
    );
    assert!(
        blocked.out.contains("Highest allowed version: none\nRules compared: 2\nEvaluation time: "),
        "{}",
        blocked.out
    );
    let allowed = server.json("test blocklist-rules --repo=prod --package-name=two");
    assert_eq!((&allowed["blocked"], &allowed["rule"]["id"]), (&json!(false), &json!(1)));
    assert_eq!(allowed["compared"], json!([1]));
    assert!(
        server
            .refused("test blocklist-rules --repo=prod --package-name=three")
            .contains("no package 'three'")
    );
    assert!(
        server.refused("test blocklist-rules --repo=prd --package-name=one").contains("did you mean 'prod'?")
    );
    server.rspm_stdout("create repo --name=py --type=python");
    assert_eq!(
        server.refused("test blocklist-rules --repo=py --package-name=one"),
        "the repository 'py' has Python packages, whose rules this command does not test; run: rspm explain py PACKAGE"
    );
}

#[test]
fn a_test_of_a_hidden_name_states_the_guard() {
    let server = server();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create name-guard --name=one --source=team");
    let hidden = server.refused("test blocklist-rules --repo=prod --package-name=one");
    assert!(hidden.starts_with("the name 'one' is guarded here by name guard "), "{hidden}");
    assert!(!server.refused("test blocklist-rules --repo=prod --package-name=none").contains("guard"));
}

#[test]
fn a_file_of_rules_is_created_as_far_as_it_is_valid() {
    let server = server();
    let rules =
        json!([{ "package_name": "one" }, { "package_name": "t*" }, { "vulns": true, "repo": "moon" }]);
    let path = file(&server, &rules);
    let line = format!("create bulk-blocklist-rules --path={path}");
    let refused = server.rspm(&format!("{line} --fail-all"));
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let reasons = ["rule 2: 't*' is not the name of a package", "rule 3: there is no repository 'moon'"];
    assert!(reasons.iter().all(|reason| refused.err.contains(reason)), "{}", refused.err);
    assert_eq!(server.json("list blocklist-rules"), json!([]));
    let partial = server.rspm(&line);
    let created = "1 rule created.\nrule 1: Blocks the listed version of 1 of 2 packages in prod: one 1.0 (not replaced)\n";
    assert_eq!((partial.code, partial.out.as_str()), (1, created));
    assert!(partial.err.contains("rule 3: there is no repository 'moon'"), "{}", partial.err);
    // The example is valid but for the objects that it names.
    let example = server.rspm_stdout("create bulk-blocklist-rules --show-example");
    server.rspm_stdout("create source --name=internal");
    let mut command = server.rspm_command("create bulk-blocklist-rules --fail-all");
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("rspm runs");
    child.stdin.take().expect("a pipe").write_all(example.as_bytes()).expect("written");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn wrong_types_and_unknown_keys_of_a_file_are_reported_by_the_number_of_the_rule() {
    let server = server();
    let rules = json!([
        { "package_name": "one" },
        { "min_severity": "7.0" },
        { "vulns": true, "versoin": "<1.0" },
        "two",
        null,
        { "vulns": "yes" },
        { "license_types": [5] },
        { "package_name": "two", "priority": 5 }
    ]);
    let reasons = [
        "rule 2: 'min_severity': invalid type: string \"7.0\", expected f64",
        "rule 3: unknown field `versoin`, expected one of `id`, `priority`, `package_name`",
        "rule 4: it is not a JSON object",
        "rule 5: it is not a JSON object",
        "rule 6: 'vulns': invalid type: string \"yes\", expected a boolean",
        "rule 7: 'license_types': ",
    ];
    let assert_reported = |text: &str| {
        for reason in reasons {
            assert!(text.contains(reason), "{reason}: {text}");
        }
        assert!(!text.contains("rule 1:") && !text.contains("rule 8"), "{text}");
    };
    let line = format!("create bulk-blocklist-rules --path={}", file(&server, &rules));
    let refused = server.rspm(&format!("{line} --fail-all"));
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert_reported(&refused.err);
    assert_eq!(server.json("list blocklist-rules"), json!([]));
    let partial = server.rspm(&line);
    let created = "2 rules created.\nrule 1: Blocks the listed version of 1 of 2 packages in prod: one 1.0 (not replaced)\n\
                   rule 8: Blocks the listed version of 1 of 2 packages in prod: two 1.0 (not replaced)\n";
    assert_eq!((partial.code, partial.out.as_str()), (1, created));
    assert!(partial.err.contains("6 rules are not valid"), "{}", partial.err);
    assert_reported(&partial.err);
    let names: Vec<_> = server.json("list blocklist-rules").as_array().expect("rules").clone();
    assert_eq!((&names[0]["package_name"], &names[1]["package_name"]), (&json!("two"), &json!("one")));
    // The same through the API, and a file that is no list of rules.
    let body = json!({ "rules": rules, "dry_run": true });
    let answer = server.admin("POST", "/block-rules", &body);
    let refused: Vec<_> = answer.json()["refused"].as_array().expect("rows").clone();
    assert_eq!((answer.status, refused.len(), &refused[5]["index"]), (200, 6, &json!(6)), "from 0");
    // Matches are counted up to a limit.
    let many = vec![json!({ "package_name": "none" }); 21];
    for (count, expected) in
        [(20, "rule 20: Matches no listed version"), (21, "Matches are counted for at most 20 rules")]
    {
        let path = file(&server, &json!(many[..count]));
        let out = server.rspm_stdout(&format!("create bulk-blocklist-rules --dry-run --path={path}"));
        assert!(
            out.starts_with(&format!("{count} rules would be created.\n")) && out.contains(expected),
            "{out}"
        );
    }
    let path = file(&server, &json!({ "package_name": "one" }));
    let error = server.refused(&format!("create bulk-blocklist-rules --path={path}"));
    assert!(error.contains("rules.json is not an array of rules: invalid type: map"), "{error}");
}

#[test]
fn a_repeated_key_is_refused_and_the_only_rule_of_a_file_has_a_number() {
    let server = server();
    let path = server.dir().join("rules.json");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    let line = format!("create bulk-blocklist-rules --path={}", path.display());
    let twice = r#"{"package_name": "one", "version": "1.0", "package_name": "two"}"#;
    write(&format!(r#"[{twice}, {{"package_name": "one"}}]"#));
    let partial = server.rspm(&line);
    let created = "1 rule created.\nrule 2: Blocks the listed version of 1 of 2 packages in prod: one 1.0 (not replaced)\n";
    assert_eq!((partial.code, partial.out.as_str()), (1, created));
    assert_eq!(partial.err, "Error: 1 rule is not valid\nrule 1: the key 'package_name' is repeated\n");
    write(&format!("[{twice}]"));
    for flag in ["", " --fail-all", " --dry-run"] {
        assert_eq!(
            server.refused(&format!("{line}{flag}")),
            "rule 1: the key 'package_name' is repeated",
            "{flag}"
        );
    }
    write(r#"[{"license_types": {"MIT": true}}]"#);
    assert_eq!(
        server.refused(&line),
        "rule 1: 'license_types': expected an array of SPDX identifiers, or a text with identifiers separated by commas"
    );
    assert_eq!(server.json("list blocklist-rules").as_array().map(Vec::len), Some(1));
    // A request through the API, too.
    let body = format!(r#"{{"rules": [{twice}, {{"vulns": true}}], "fail_all": true}}"#);
    let target = "/__api__/admin/v1/block-rules";
    let answer = http::admin(&server.admin_socket(), "POST", target, body.as_bytes());
    assert!(
        answer.status == 400 && answer.text().contains("rule 1: the key 'package_name'"),
        "{}",
        answer.text()
    );
}

/// A list of all kinds of rules, without what only a created rule has.
fn listed(server: &Server) -> Vec<serde_json::Value> {
    let mut rules = server.json("list blocklist-rules").as_array().expect("rules").clone();
    for rule in &mut rules {
        for key in ["id", "created"] {
            assert!(rule.as_object_mut().expect("a rule").remove(key).is_some(), "{rule}");
        }
    }
    rules
}

#[test]
fn the_list_of_rules_of_every_kind_is_a_file_of_rules() {
    let server = server();
    server.rspm_stdout("create source --name=gone");
    server.rspm_stdout("create repo --name=gone");
    server.rspm_stdout("create repo --name=py --type=python");
    for flags in [
        "--package-name=one --version=<=1.0 --priority=10 --description=two~words",
        "--package-name=one --source=prod --exception",
        "--bioconductor --vulns --warn",
        "--license=AGPL --not-dated",
        "--license-types=AGPL-3.0-only,Unknown",
        "--min-severity=7.5 --block-unscored=false --repo=prod",
        "--min-severity=5",
        "--deleted-packages --source=cran",
        "--min-age=36h --min-age-fixes=wait",
        "--min-age=7d --repo=py",
        "--source=prod --all",
        "--repo=prod --all --warn",
        "--all --exception --priority=900",
        "--vulns --source=gone",
        "--source=gone --all",
        "--vulns --repo=gone",
        "--repo=gone --all",
        "--package-name=one --source=gone --repo=gone",
    ] {
        server.rspm_stdout(&format!("create blocklist-rule {flags}"));
    }
    server.rspm_stdout("delete source --name=gone --with-packages");
    server.rspm_stdout("delete repo --name=gone");
    let before = listed(&server);
    let without_effect = before.iter().filter(|rule| rule["without_effect"].is_string()).count();
    assert_eq!((before.len(), without_effect), (18, 5), "{before:?}");
    let whole = server.json("list blocklist-rules");
    let path = file(&server, &whole);
    server.rspm_stdout("delete blocklist-rule --id=all");
    server.rspm_stdout(&format!("create bulk-blocklist-rules --path={path} --fail-all"));
    assert_eq!(listed(&server), before);

    // A rule of a deleted source can be changed, and get another source.
    let rules = server.json("list blocklist-rules");
    let rules = rules.as_array().expect("rules");
    let gone = rules.iter().find(|rule| rule["without_effect"].is_string() && rule["vulns"] == true);
    let id = &gone.expect("a rule of a deleted source")["id"];
    let edited = server.rspm_stdout(&format!("edit blocklist-rule --id={id} --priority=7"));
    assert!(edited.contains(" -- Without effect: its source (id "), "{edited}");
    let edited = server.rspm_stdout(&format!("edit blocklist-rule --id={id} --source=prod"));
    assert!(edited.contains("  - Source: prod\n") && !edited.contains("Without effect"), "{edited}");

    // On another server, the id may be that of another source: such a rule is refused, not created for that source.
    let foreign = json!([{ "source_id": 1, "without_effect": "its source (id 1) was deleted" }]);
    let path = file(&server, &foreign);
    let error = server.refused(&format!("create bulk-blocklist-rules --path={path}"));
    assert!(error.contains("there is a source with the id 1: 'cran'"), "{error}");
}

#[test]
fn a_change_that_leaves_no_criterion_of_packages_requires_a_confirmation_and_prints_the_matches() {
    let server = server();
    let refused = server.refused("create blocklist-rule --repo=prod");
    assert!(
        refused.contains("other than the repository matches everything there; --all confirms"),
        "{refused}"
    );
    for (flags, reason) in [
        ("--source=prod", "other than the source matches all packages of the source; --all confirms"),
        ("--bioconductor --exception", "matches all packages of the source; --all confirms"),
        (
            "--source=prod --repo=prod",
            "the source and the repository matches all packages of the source there; --all",
        ),
    ] {
        let refused = server.refused(&format!("create blocklist-rule {flags}"));
        assert!(refused.contains(reason), "{flags}: {refused}");
    }
    assert_eq!(server.json("list blocklist-rules"), json!([]));
    let created = server.rspm_stdout("create blocklist-rule --repo=prod --all --dry-run");
    assert!(created.contains("Blocks the listed version of 2 of 2 packages in prod"), "{created}");
    for (flags, rest, reason) in [
        ("--package-name=one --repo=prod", "--package-name=", "matches everything there; --all confirms"),
        ("--package-name=one", "--package-name=", "matches everything; --all confirms"),
        ("--package-name=one --source=prod", "--package-name=", "all packages of the source; --all confirms"),
        ("--vulns --repo=prod", "--vulns=false", "matches everything there; --all confirms"),
        ("--min-severity=5 --source=prod", "--repo=prod --source= --min-severity=1", ""),
        (
            "--source=prod --all",
            "--source= --repo=prod",
            "of other repositories or sources, or block packages that it did not block; --all",
        ),
    ] {
        server.rspm_stdout(&format!("create blocklist-rule {flags}"));
        let before = server.json("list blocklist-rules");
        let id = &before[0]["id"];
        if reason.is_empty() {
            server.rspm_stdout(&format!("edit blocklist-rule --id={id} {rest}"));
            server.rspm_stdout("delete blocklist-rule --id=all");
            continue;
        }
        let refused = server.refused(&format!("edit blocklist-rule --id={id} {rest}"));
        assert!(refused.contains(reason), "{flags}: {refused}");
        assert_eq!(server.json("list blocklist-rules"), before, "{flags}");
        let edited = server.rspm_stdout(&format!("edit blocklist-rule --id={id} {rest} --all"));
        let all = "2 of 2 packages in prod: one 1.0 (not replaced), two 1.0 (not replaced)\n";
        assert!(edited.ends_with(all), "{flags}: {edited}");
        // A confirmed rule stays one.
        server.rspm_stdout(&format!("edit blocklist-rule --id={id} --priority=5"));
        server.rspm_stdout("delete blocklist-rule --id=all");
    }
    for (flags, rest) in [("--repo=prod --all", "--repo="), ("--all --warn", "--warn=false")] {
        server.rspm_stdout(&format!("create blocklist-rule {flags}"));
        let before = server.json("list blocklist-rules");
        let line = format!("edit blocklist-rule --id={} {rest}", before[0]["id"]);
        let refused = server.refused(&line);
        assert!(
            refused
                .contains("of other repositories or sources, or block packages that it did not block; --all"),
            "{refused}"
        );
        assert_eq!(server.json("list blocklist-rules"), before, "{flags}");
        server.rspm_stdout(&format!("{line} --all"));
        server.rspm_stdout("delete blocklist-rule --id=all");
    }
    server.rspm_stdout("create blocklist-rule --package-name=one --warn");
    let id = server.json("list blocklist-rules")[0]["id"].clone();
    let edit = |flags: &str| server.rspm_stdout(&format!("edit blocklist-rule --id={id} {flags}"));
    let warned = edit("--version=<4.0.0");
    assert!(
        warned.ends_with("\nWarns about the listed version of 1 of 2 packages in prod: one 1.0\n"),
        "{warned}"
    );
    let none = edit("--version=>4.0.0 --warn=false");
    assert!(
        none.ends_with(
            "\nMatches no listed version of an R package now; packages of other languages are not counted.\n"
        ),
        "{none}"
    );
    let scored = edit("--min-severity=7 --block-unscored=false");
    assert!(scored.contains("  - Minimum severity: 7.0\n  - Without a score: do not match\n"), "{scored}");
    let unscored = edit("--min-severity=");
    assert!(unscored.contains("  - Versions: >4.0.0\n") && !unscored.contains("score"), "{unscored}");
    let rule = server.json("list blocklist-rules")[0].clone();
    assert!(rule.get("min_severity").is_none() && rule.get("block_unscored").is_none(), "{rule}");
    let json = server.json(&format!("edit blocklist-rule --id={id} --version=1.0"));
    assert_eq!((&json["version"], &json["matches"][0]["packages"]), (&json!("1.0"), &json!(1)));

    let before = server.json("list blocklist-rules");
    // The job that records what rules withhold adds rows at any time.
    let commands = || {
        let mut rows = server.json("audit list").as_array().cloned().expect("rows");
        rows.retain(|row| row["actor_kind"] == "socket");
        rows
    };
    let trail = commands();
    let planned = edit("--package-name=two --warn --dry-run");
    assert!(planned.contains("\n  - Package name: two\n  - Versions: 1.0\n"), "{planned}");
    let end = "\nWarns about the listed version of 1 of 1 packages in prod: two 1.0\nNothing was changed: --dry-run\n";
    assert!(planned.ends_with(end), "{planned}");
    assert!(
        server.refused(&format!("edit blocklist-rule --id={id} --repo=moon --dry-run")).contains("'moon'")
    );
    assert_eq!(server.json("list blocklist-rules"), before);
    assert_eq!(commands(), trail);
}

#[test]
fn criteria_that_python_packages_do_not_have_are_refused_for_them() {
    let server = server();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("create source --name=wheels --type=local-python");
    let licenses = "has Python packages, to which criteria of licenses do not apply";
    for (flags, reason) in [
        ("--license=GPL --repo=py", licenses),
        ("--license=GPL --source=wheels", licenses),
        ("--license-types=MIT --source=pypi --package-name=one", licenses),
        ("--deleted-packages --source=pypi", "the criterion of deleted packages does not apply"),
        (
            "--vulns --source=cran --repo=py",
            "the repository 'py' is of type Python and cannot offer packages",
        ),
        ("--vulns --source=wheels --repo=prod", "cannot offer packages of the source 'wheels'"),
    ] {
        let refused = server.refused(&format!("create blocklist-rule {flags}"));
        assert!(refused.contains(reason), "{flags}: {refused}");
    }
    assert_eq!(server.json("list blocklist-rules"), json!([]));
    let not_counted = "\nMatches only Python packages, which are not counted; rspm explain states its effect on a package.\n";
    for flags in ["--source=pypi --all", "--repo=py --vulns", "--package-name=one --source=wheels --repo=py"]
    {
        let planned = server.rspm_stdout(&format!("create blocklist-rule {flags} --dry-run"));
        assert!(planned.contains(not_counted) && !planned.contains("R package"), "{flags}: {planned}");
    }
    let planned = server.rspm_stdout("create blocklist-rule --source=cran --vulns --dry-run");
    assert!(
        planned.contains(
            "\nMatches no listed version of an R package now; packages of other languages are not counted.\n"
        ),
        "{planned}"
    );
    server.rspm_stdout("create blocklist-rule --license=GPL");
    let refused = server.refused("edit blocklist-rule --id=1 --repo=py");
    assert!(refused.contains(licenses), "{refused}");
    // One that is stored nevertheless is listed with the reason.
    let path = file(&server, &json!([{ "license": "GPL", "repo": "py", "without_effect": "known" }]));
    server.rspm_stdout(&format!("create bulk-blocklist-rules --path={path}"));
    let listed = server.rspm_stdout("list blocklist-rules");
    assert!(listed.contains(&format!(" -- Without effect: the repository 'py' {licenses}")), "{listed}");

    // A rule of a deleted source can be changed, but not so that it is about Python packages.
    server.rspm_stdout("create source --name=gone");
    server.rspm_stdout("create blocklist-rule --license=AGPL --source=gone --priority=7");
    server.rspm_stdout("delete source --name=gone --with-packages");
    let rules = server.json("list blocklist-rules");
    assert_eq!((&rules[0]["priority"], rules[0]["without_effect"].is_string()), (&json!(7), true), "{rules}");
    let edit = format!("edit blocklist-rule --id={}", rules[0]["id"]);
    for place in ["--source=pypi", "--source=wheels", "--repo=py"] {
        let refused = server.refused(&format!("{edit} {place}"));
        assert!(refused.contains(licenses), "{place}: {refused}");
    }
    assert_eq!(server.json("list blocklist-rules"), rules);
    let edited = server.rspm_stdout(&format!("{edit} --description=old"));
    assert!(edited.contains(" -- Without effect: its source (id "), "{edited}");
    // A rule of Python packages that has no effect already can be changed, too.
    server.rspm_stdout("edit blocklist-rule --id=2 --description=old");
}

#[test]
fn invalid_rules_are_refused_with_the_reason() {
    let server = server();
    for (flags, reason) in [
        ("", "--all confirms that"),
        ("--package-name=gg*", "without patterns"),
        ("--version=^1.0", "at most one of the operators"),
        ("--vulns --source=prd", "did you mean 'prod'?"),
        ("--vulns --repo=moon", "there is no repository 'moon'"),
        ("--license-types=MIT,NONE-1", "'NONE-1' is not a license identifier of SPDX"),
        ("--license-types=MIT2", "'MIT2' is not a license identifier of SPDX; did you mean 'MIT'?"),
        (
            "--license-types=GPL-3",
            "'GPL-3' is not a license identifier of SPDX; did you mean 'GPL-3.0-only'?",
        ),
        (
            "--vulns --block-unscored=false",
            "(--block-unscored) applies only with min_severity (--min-severity)",
        ),
        ("--vulns --min-age-fixes=wait", "(--min-age-fixes) applies only with min_age (--min-age)"),
        ("--min-severity=11", "0 to 10"),
        ("--package-name=one --min-severity=", "--min-severity is empty: give a number from 0 to 10"),
        ("--min-age=soon", "7d or 36h"),
    ] {
        let error = server.refused(&format!("create blocklist-rule {flags}"));
        assert!(error.contains(reason), "{flags}: {error}");
    }
    server.rspm_stdout("create blocklist-rule --license-types=GPL-3.0");
    assert_eq!(server.json("list blocklist-rules")[0]["license_types"], json!(["GPL-3.0-only"]));
    let refused = server.refused("edit blocklist-rule --id=1 --block-unscored");
    assert!(refused.contains("applies only with min_severity"), "{refused}");
    server.rspm_stdout("delete blocklist-rule --id=1");
    assert!(server.refused("edit blocklist-rule --id=9 --priority=5").contains("no block rule 9"));
    assert!(server.refused("edit blocklist-rule --id=9").contains("nothing to change"));
    assert!(server.refused("delete blocklist-rule --id=9").contains("no block rule 9"));
    assert!(server.refused("delete blocklist-rule --id=x").contains("--id 2-77"));
    let output = server.rspm("create blocklist-rule --vulns --source=prod --bioconductor");
    assert_eq!(output.code, 2, "{}", output.err);
    for score in ["nan", "inf", "high"] {
        let output = server.rspm(&format!("create blocklist-rule --package-name=one --min-severity={score}"));
        assert!(output.code == 2 && output.err.contains("a number from 0 to 10"), "{score}: {}", output.err);
    }
    assert_eq!(server.json("list blocklist-rules").as_array().map(Vec::len), Some(0));
}

#[test]
fn refused_requests_are_counted_by_rule_version_and_client() {
    let server = server();
    assert!(server.rspm_stdout("list blocked").starts_with("No request was refused by a block rule since "));
    server.rspm_stdout("create blocklist-rule --package-name=one");
    let path = "/prod/latest/src/contrib/one_1.0.tar.gz";
    let request = |method: &str, agent: &str| {
        http::request(method, &server.url(path), &[("User-Agent", agent)], b"").status
    };
    for agent in ["R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", "libcurl/7.88.1"] {
        assert_eq!(request("GET", agent), 403);
    }
    assert_eq!(request("GET", "renv/1.1.5; R (4.5.1 x86_64-pc-linux-gnu)"), 403);
    assert_eq!(request("HEAD", "curl/8.5.0"), 403);
    assert_eq!(server.get("/prod/latest/src/contrib/two_1.0.tar.gz").status, 200);
    until("the counts are written", || server.json("list blocked")["total"] == 3);
    let report = server.json("list blocked --since=2026-01-01");
    let rows: Vec<_> = report["requests"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            (row["rule"].as_i64(), row["package"].as_str(), row["client"].as_str(), row["count"].as_i64())
        })
        .collect();
    assert_eq!(
        rows,
        [(Some(1), Some("one"), Some("R"), Some(2)), (Some(1), Some("one"), Some("renv"), Some(1))]
    );
    let text = server.rspm_stdout("list blocked");
    assert!(text.contains("Rule  Package  Version  Client  Requests  Last"), "{text}");
    assert_eq!(server.json("list blocked --since=2999-01-01")["total"], 0);
    assert!(server.refused("list blocked --since=today").contains("is not a day"));
    let server = Builder::default().gcfg("[Server]\nUsageDataEnabled = false").start();
    assert!(server.refused("list blocked").contains("UsageDataEnabled is false"));
}
