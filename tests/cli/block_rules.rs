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
         Blocks the listed version of 1 of 2 packages in prod: one 1.0\nNothing was created: --dry-run\n"
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
    assert!(refused.err.contains("rule 1: 't*' is not the name of a package"), "{}", refused.err);
    assert_eq!(server.json("list blocklist-rules"), json!([]));
    let partial = server.rspm(&line);
    assert_eq!((partial.code, partial.out.as_str()), (1, "1 rules created.\n"));
    assert!(partial.err.contains("rule 2: there is no repository 'moon'"), "{}", partial.err);
    // The list is accepted as a file.
    let listed = server.json("list blocklist-rules");
    assert_eq!(listed[0]["created_by"].as_str().map(str::is_empty), Some(false));
    let path = file(&server, &listed);
    server.rspm_stdout(&format!("create bulk-blocklist-rules --path={path} --fail-all"));
    assert_eq!(server.json("list blocklist-rules").as_array().map(Vec::len), Some(2));
    // The example is valid but for the objects that it names.
    let example = server.rspm_stdout("create bulk-blocklist-rules --show-example");
    server.rspm_stdout("create source --name=internal");
    let mut command = server.rspm_command("create bulk-blocklist-rules --fail-all");
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("rspm runs");
    child.stdin.take().expect("a pipe").write_all(example.as_bytes()).expect("written");
    assert!(child.wait().expect("it ends").success());
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
        ("--license-types=MIT,NONE-1", "SPDX"),
        ("--min-severity=11", "0 to 10"),
        ("--min-age=soon", "7d or 36h"),
    ] {
        let error = server.refused(&format!("create blocklist-rule {flags}"));
        assert!(error.contains(reason), "{flags}: {error}");
    }
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
    for _ in 0..2 {
        assert_eq!(request("GET", "R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)"), 403);
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
