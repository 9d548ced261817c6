//! `rspm export state`, `rspm apply`: the objects of a server as files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::support::access::{bearer, send, token};
use crate::support::db::{Engine, settings};
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const SITE: &str = r#"format = 1

[sources.gitr]
type = "git"

[sources.py-team]
type = "local-python"

[sources.team]

[sources.team2]

[repositories.bioc]
type = "bioconductor"
sources = ["team", "bioconductor"]

[repositories.dev]
authenticated = true
sources = [{ source = "bioconductor", version = "3.20" }, "team2"]

[repositories.locked]
changes = "two-persons"
sources = ["team"]

[repositories.prod]
description = "what we \"run\" é"
changes = "promotion"
sources = ["cran", "team"]

[repositories.py]
type = "python"
hidden = true
sources = ["py-team"]

[git_credentials]

[git_builders]

[name_guards."python:Acme_Tools"]
source = "py-team"

[name_guards."r:acme.*"]
source = "team"
description = "our prefix"

[[block_rules]]
package_name = "evil"
description = "no \"evil\" é"

[[block_rules]]
package_name = "evil"
version = "<=1.0"
exception = true

[[block_rules]]
repo = "prod"
license_types = ["AGPL-3.0-only", "GPL-3.0-only"]

[[block_rules]]
priority = 50
source_name = "cran"
min_age = "168h"
min_age_fixes = "pass"
not_dated = true

[[block_rules]]
package_name = "twice"

[[block_rules]]
package_name = "twice"

[[metadata]]
package_name = "ggplot2"
version = "3.5.2"
repo = "prod"
key = "reviewed by"
value = '''
a=b
c'''

[[metadata]]
package_name = "ggplot2"
key = "status"
value = "approved"
"#;

pub(super) fn start(engine: Engine) -> Server {
    Builder::default().gcfg(&settings(engine)).start()
}

fn apply(server: &Server, text: &str, flags: &str) -> RspmOutput {
    let path = server.dir().join("site.toml");
    std::fs::write(&path, text).expect("written");
    server.rspm(&format!("apply {} {flags}", path.display()))
}

/// Applies a state; the command must succeed.
pub(super) fn commit(server: &Server, text: &str, flags: &str) -> String {
    let output = apply(server, text, &format!("--commit {flags}"));
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{text}\n{}", output.out);
    output.out
}

/// Returns the plan of a state.
fn plan(server: &Server, text: &str, flags: &str) -> Value {
    let output = apply(server, text, &format!("{flags} -o json"));
    serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Returns the reasons for which a state is refused.
fn refused(server: &Server, text: &str, flags: &str) -> String {
    let output = apply(server, text, flags);
    assert_eq!(output.code, 1, "{text}\n{output:?}");
    let path = server.dir().join("site.toml").display().to_string();
    output.err.trim_end().trim_start_matches("Error: ").replace(&path, "FILE")
}

/// Returns the exported objects; without the comments about tokens.
pub(super) fn export(server: &Server) -> String {
    let text = server.rspm_stdout("export state");
    text.split("\n# Not applied by rspm apply:").next().unwrap_or_default().trim_end().to_owned() + "\n"
}

fn changed_rows(server: &Server) -> usize {
    server.json("audit list --limit=10000").as_array().expect("rows").len()
}

#[test]
fn an_exported_site_is_the_same_on_another_server() {
    let (first, second) = (start(Engine::Sqlite), start(Engine::Postgres));
    let output = commit(&first, SITE, "--allow-weaker");
    assert!(output.ends_with("\n19 created, 1 protecting less (!); done\n"), "{output}");
    let exported = export(&first);
    for part in [
        "[repositories.prod]\ndescription = 'what we \"run\" é'\nchanges = \"promotion\"\n",
        "[name_guards.\"python:acme-tools\"]\nsource = \"py-team\"\n",
        "min_age = \"7d\"\nnot_dated = true\n",
    ] {
        assert!(exported.contains(part), "{part}: {exported}");
    }
    assert!(!exported.contains("min_age_fixes") && !exported.contains("id ="), "{exported}");
    assert_eq!(plan(&first, SITE, "--prune")["changes"], json!([]));
    commit(&second, &exported, "--allow-weaker");
    assert_eq!(export(&second), exported);
    for (server, text) in [(&first, SITE), (&second, exported.as_str())] {
        let before = changed_rows(server);
        let output = commit(server, text, "--prune");
        assert_eq!(output, "no changes; done\n");
        assert_eq!(changed_rows(server), before, "a second commit writes nothing");
        assert_eq!(apply(server, text, "--expect-no-changes").code, 0);
    }
    let folder = first.dir().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    first.rspm_stdout(&format!("export state --to {}", folder.display()));
    let json = first.rspm_stdout("export state -o json");
    std::fs::write(first.dir().join("site.json"), &json).expect("written");
    let third = start(Engine::Sqlite);
    third.rspm_stdout(&format!("apply {} --commit --allow-weaker", folder.display()));
    assert_eq!(export(&third), exported);
    let file = first.dir().join("site.json");
    third.rspm_stdout(&format!("apply {} --prune --expect-no-changes", file.display()));
    // A promoted repository has the list of sources as of its creation, and keeps its state.
    assert!(first.json("info --repo=prod")["state_at"].is_string());
    let audit = first.json("audit list --action=apply~state");
    let detail = audit[0]["detail"].as_str().expect("a text");
    assert!(detail.starts_with("SHA-256 ") && detail.contains(" created, 0 changed, 0 deleted"), "{detail}");
}

/// Every field of every type, other than the defaults.
const EVERY_FIELD: &str = r#"format = 1

[sources.a]
type = "local-python"
[sources.b]
type = "git"
[sources.c]
type = "git-python"

[repositories.r]
type = "python"
description = "d"
hidden = true
authenticated = true
changes = "two-persons"
sources = ["a", "c"]

[name_guards."python:x"]
source = "a"
description = "d"

[[block_rules]]
priority = 1
package_name = "p"
version = ">1.0"
source_name = "b"
license = "GPL"
license_types = "MIT, unknown"
license_types_except = ["ISC"]
vulns = true
min_severity = 7
block_unscored = false
deleted_packages = true
min_age = "36h"
min_age_fixes = "wait"
not_dated = true
warn = true
description = "d"

[[block_rules]]
repo = "r"
all = true
exception = true

[[metadata]]
package_name = "Acme_X"
version = "1"
source = "a"
repo = "r"
key = "k"
value = "v"
"#;

#[test]
fn a_plan_is_empty_after_a_commit_and_changes_fields_back_to_their_defaults() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = start(engine);
        let open = EVERY_FIELD.replace("changes = \"two-persons\"\n", "");
        commit(&server, &open, "--allow-weaker");
        assert_eq!(plan(&server, &open, "--prune")["changes"], json!([]), "{engine:?}");
        let fields = ["description = \"d\"\n", "hidden = true\n", "authenticated = true\n"];
        let plain = fields.iter().fold(open.clone(), |text, field| text.replace(field, ""));
        let planned = plan(&server, &plain, "--prune --allow-weaker --confirm-deletes=1");
        assert_eq!(planned["problems"], json!([]), "{planned}");
        let fields: Vec<&Value> = planned["changes"]
            .as_array()
            .expect("changes")
            .iter()
            .filter(|change| change["section"] == "repositories")
            .flat_map(|change| change["fields"].as_array().expect("fields"))
            .collect();
        assert_eq!(fields[0], &json!({ "field": "authenticated", "from": true, "to": null }));
        assert_eq!(fields.len(), 3, "{fields:?}");
        commit(&server, &plain, "--prune --allow-weaker --confirm-deletes=1");
        assert_eq!(plan(&server, &plain, "--prune")["changes"], json!([]));
        commit(&server, EVERY_FIELD, "--prune --allow-weaker --confirm-deletes=1");
        assert_eq!(plan(&server, EVERY_FIELD, "--prune")["changes"], json!([]));
    }
}

#[test]
fn a_refused_file_changes_nothing_and_names_the_object_and_the_remedy() {
    let server = start(Engine::Sqlite);
    commit(&server, SITE, "--allow-weaker");
    let (before, rows) = (export(&server), changed_rows(&server));
    let long = format!("[repositories.x]\ndescription=\"{}\"", "x".repeat(5 << 20));
    let twins = "[[metadata]]\npackage_name=\"Acme.X\"\nkey=\"k\"\nvalue=\"1\"\n[[metadata]]\npackage_name=\"acme.x\"\nkey=\"k\"\nvalue=\"2\"";
    for (text, reason) in [
        ("[sources.\"../x\"]", "FILE:2: sources.../x: '../x' cannot be a name"),
        ("[sources.client]", "'client' is a reserved name"),
        ("[sources.cran]", "sources.cran: 'cran' is built in and always exists"),
        ("[sources.x]\ntype=\"lokal\"", "FILE:2: sources.x: 'lokal' is not a source type; use "),
        (
            "[sources.team]\ntype=\"git\"",
            "'type' is git, but the source is of type local: types do not change",
        ),
        (
            "[sources.x]\nsnapshot=\"2020-01-01\"",
            "'snapshot' cannot be used here: a source of type local has none",
        ),
        (
            "[sources.x]\ntype=\"cran-snapshot\"\nsnapshot=\"9999-01-01\"",
            "'snapshot' is 9999-01-01, which is not over: name a past day or a transaction",
        ),
        (
            "[sources.x]\ntype=\"cran-snapshot\"\nsnapshot=\"latest\"",
            "'snapshot' is latest, which is not over",
        ),
        ("[sources.x]\ntype=\"curated-cran\"\nfiles=[{name=\"a\",text=\"R6\"}]", "'snapshot' is missing"),
        ("[sources.x]\ntype=\"curated-pypi\"\nsnapshot=\"2024-01-01\"", "'files' is missing"),
        (
            "[repositories.x]\nsources=[\"nope\"]",
            "FILE:2: repositories.x: 'sources': there is no source 'nope'",
        ),
        (
            "[repositories.x]\nsources=[\"py-team\"]",
            "'sources': the repository 'x' is of type R and cannot offer",
        ),
        ("[repositories.x]\nsources=[\"cran\",\"cran\"]", "'sources' names 'cran' twice"),
        ("[repositories.x]\nsources=[\"bioconductor\"]", "name it with --version="),
        (
            "[repositories.x]\ndescription=\"a\\u0000b\"",
            "'description' is refused: a description must be one line",
        ),
        (&long, "'description' is refused: a description must be one line of at most 1000 bytes"),
        ("[repositories.x]\nchanges=\"none\"", "'none' is not a change policy"),
        ("[repositories.py]\nsources=[\"py-team\"]", "'type' is r, but the repository is of type python"),
        (
            "[git_credentials.\"https:deploy\"]",
            "the git credential 'https:deploy' is missing: import it with",
        ),
        ("[git_builders.\"team/x\"]\nurl=\"https://h.invalid/x\"", "is of type local and has no builders"),
        (
            "[git_builders.\"gitr/x\"]\nurl=\"https://h.invalid/x\"\ncredential=\"deploy\"",
            "'deploy' is missing",
        ),
        (
            "[name_guards.\"acme\"]\nsource=\"team\"",
            "does not begin with a language: write it as r:name or python:name",
        ),
        ("[name_guards.\"r:*\"]\nsource=\"team\"", "would guard every name"),
        ("[name_guards.\"python:a\"]\nsource=\"team\"", "the source 'team' has packages of R, not of Python"),
        (
            "[name_guards.\"r:zz*\"]\nsource=\"team\"\n[name_guards.\"r:zz.a\"]\nsource=\"team2\"",
            "FILE:4: name_guards.r:zz.a: it has names in common with 'r:zz*' of the source 'team'",
        ),
        (
            "[name_guards.\"r:acme.db\"]\nsource=\"team2\"",
            "names in common with 'r:acme.*' of the source 'team'",
        ),
        (
            "[[block_rules]]\nexception=false",
            "FILE:2: [[block_rules]] number 1: a rule without a criterion matches everything: write all = true",
        ),
        ("[[block_rules]]\npackage_name=\"x\"\nmin_age=\"soon\"", "'soon' is not an age"),
        ("[[block_rules]]\npackage_name=\"x\"\nid=5", "'id' cannot be used here"),
        (
            "[[block_rules]]\npackage_name=\"x\"\nrepo_id=1",
            "'repo_id' cannot be used here: name the source by",
        ),
        ("[[block_rules]]\nrepo=\"moon\"\nvulns=true", "there is no repository 'moon'"),
        ("[[metadata]]\npackage_name=\"x\"\nkey=\"a=b\"\nvalue=\"\"", "a key of 'x' is refused"),
        (twins, "FILE:6: [[metadata]] number 2: 'acme.x' and 'Acme.X' are one Python project"),
        ("[repositories.prod]\nchanges=\"promotion\"\nsources=[\"cran\"]", "use rspm promote --to=prod"),
        (
            "[repositories.prod]\nsources=[\"cran\",\"team\"]",
            "the repository accepts promotion: run rspm edit repo --name=prod --changes=any first",
        ),
        (
            "[repositories.locked]\nchanges=\"promotion\"\nsources=[\"team\"]",
            "accepts two-persons: run rspm edit repo",
        ),
        (
            "[repositories.new]\nrenamed_from=\"prod\"",
            "accepts changes by promotion only, and is not renamed",
        ),
        ("[sources.team]\nrenamed_from=\"team2\"", "'team2' cannot be renamed to 'team': there are both"),
        ("[sources.a]\nrenamed_from=\"team\"\n[sources.team]\nrenamed_from=\"a\"", "rename in two steps"),
        (
            "[repositories.dev]\nsources=[\"team2\"]",
            "1 change with ! would protect less than now: --allow-weaker",
        ),
    ] {
        let error = refused(&server, &format!("format=1\n{text}\n"), "--commit");
        assert!(error.contains(reason), "{text:.100}: {error}");
        assert_eq!(changed_rows(&server), rows, "{text:.100}");
    }
    assert_eq!(export(&server), before);
    // The server reads the same types: another client gets its errors.
    for (body, status, reason) in [
        (
            json!({ "state": { "format": 2 } }),
            400,
            "the state has the format 2, and this server reads the format 1",
        ),
        (json!({ "state": { "format": 1, "users": {} } }), 400, "unknown field `users`, expected one of"),
        (json!({ "state": { "format": 1 }, "moon": 1 }), 400, "unknown field `moon`"),
    ] {
        let answer = server.admin("POST", "/state", &body);
        assert!(answer.status == status && answer.text().contains(reason), "{}", answer.text());
    }
    assert!(
        server
            .refused("export state --only=users")
            .contains("'users' is not a section of a state file; use ")
    );
}

#[test]
fn a_misspelt_source_does_not_change_a_live_repository() {
    let server = start(Engine::Sqlite);
    server.local_repository("prod", &[Tarball::new("alpha", "1.0")]);
    let index = || {
        let answer = server.get("/prod/latest/src/contrib/PACKAGES");
        (answer.status, answer.header("etag").map(str::to_owned), answer.text())
    };
    let before = index();
    refused(&server, "format=1\n[repositories.prod]\nsources=[\"prodd\"]", "--commit");
    assert_eq!(index(), before);
}

#[test]
fn deletions_need_prune_and_confirmation_and_keep_what_is_protected() {
    let server = start(Engine::Sqlite);
    server.local_repository("own", &[Tarball::new("alpha", "1.0")]);
    commit(&server, SITE, "--allow-weaker");
    let all = "format=1\nrepositories={}\nsources={}\nblock_rules=[]\nmetadata=[]\nname_guards={}";
    let planned = plan(&server, all, "");
    assert_eq!((&planned["changes"], &planned["problems"]), (&json!([]), &json!([])));
    assert!(planned["kept"].as_u64() > Some(15), "{planned}");
    let error = refused(&server, all, "--prune --commit");
    for part in [
        "repositories.locked: the repository accepts changes by promotion only and is not deleted by a state file",
        "sources.own: the source has packages or builders: --delete-packages-of=own",
        "--allow-weaker permits that",
        "would be deleted, more than 20 or more than half of a section: --confirm-deletes=",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(server.json("list repos").as_array().expect("a list").len() == 6);
    for repo in ["locked", "prod"] {
        server.rspm(&format!("edit repo --name={repo} --changes=any"));
    }
    let planned = plan(&server, all, "--prune --allow-weaker --delete-packages-of=own");
    let count = planned["changes"].as_array().expect("changes").len();
    let flags = format!("--prune --allow-weaker --delete-packages-of=own --confirm-deletes={count}");
    assert!(refused(&server, all, &flags.replace(&count.to_string(), "3")).contains("--confirm-deletes="));
    assert!(planned.to_string().contains("its 1 package stays in snapshots"), "{planned}");
    let output = commit(&server, all, &flags);
    assert!(output.contains(&format!("{count} deleted")), "{output}");
    assert_eq!(server.json("list repos"), json!([]));
    assert_eq!(plan(&server, all, "--prune")["changes"], json!([]));
    // A repository that no section has keeps its source.
    server.local_repository("kept", &[]);
    let error = refused(&server, "format=1\nsources={}", "--prune --confirm-deletes=1");
    assert!(
        error.contains("sources.kept: it is not deleted, because the repository 'kept' subscribes to it"),
        "{error}"
    );
}

#[test]
fn a_source_with_packages_is_deleted_only_with_a_flag() {
    let server = start(Engine::Sqlite);
    server.local_repository("own", &[Tarball::new("alpha", "1.0")]);
    server.rspm_stdout("delete repo --name=own");
    let error = server.refused("delete source --name=own");
    assert!(
        error.starts_with("the source 'own' has, or had, packages or builders: --with-packages"),
        "{error}"
    );
    assert_eq!(server.rspm_stdout("delete source --name=own --with-packages"), "Deleted source 'own'.\n");
}

#[test]
fn names_limit_what_is_compared_and_rules_never_become_wider() {
    let server = start(Engine::Sqlite);
    commit(&server, SITE, "--allow-weaker");
    let text = server.rspm_stdout("export state --names=team*");
    assert!(text.contains("[sources.team2]") && text.contains("[name_guards.\"r:acme.*\"]"), "{text}");
    assert!(!text.contains("evil") && !text.contains("repositories.prod"), "{text}");
    let rules = server.rspm_stdout("export state --names=prod --only=block_rules,metadata");
    assert!(
        rules.contains("repo = \"prod\"") && !rules.contains("evil") && !rules.contains("cran"),
        "{rules}"
    );
    let planned = plan(&server, "format=1\n[sources.team]\n[sources.other]", "--names=team* --prune");
    let changes: Vec<&Value> = planned["changes"].as_array().expect("changes").iter().collect();
    assert_eq!(changes.len(), 1, "{planned}");
    assert_eq!((&changes[0]["name"], &changes[0]["action"]), (&json!("team2"), &json!("delete")));
    let file = server.dir().join("nomatch.toml");
    std::fs::write(&file, "format=1\n[sources.nomatch]").expect("written");
    for names in ["*team", "tema*"] {
        let refused = server.refused(&format!("apply {} --names={names}", file.display()));
        assert!(
            refused.starts_with(&format!("--names='{names}' selects no object of the files")),
            "{refused}"
        );
    }
}

#[test]
fn rules_metadata_and_guards_of_deleted_objects_are_comments() {
    let server = start(Engine::Sqlite);
    for line in [
        "create source --name=gone",
        "create source --name=team",
        "create repo --name=gone",
        "create blocklist-rule --package-name=evil --repo=gone",
        "create blocklist-rule --package-name=worse --source=gone",
        "create name-guard --name=gone.* --source=gone",
        "delete repo --name=gone",
        "delete source --name=gone",
    ] {
        server.rspm_stdout(line);
    }
    server.add("team", &Tarball::new("alpha", "1.0"));
    server.rspm_stdout("create token --scope=repos:read --repos=* --description=reader --user=ann --quiet");
    let text = server.rspm_stdout("export state");
    let comments = text.split("# Not applied by rspm apply:\n").nth(1).expect("comments");
    for part in [
        "\"package_name\":\"evil\"",
        "\"package_name\":\"worse\"",
        "name guard r:gone.* of a deleted source",
        "automatic name guard r:alpha of team",
        "token of 'ann' (reader): --scope=repos:read '--repos=*'",
    ] {
        assert!(
            comments.lines().any(|line| line.starts_with("# ") && line.contains(part)),
            "{part}: {comments}"
        );
    }
    let other = start(Engine::Sqlite);
    commit(&other, &text, "");
    assert_eq!(other.json("list blocklist-rules"), json!([]));
    assert_eq!(other.json("list name-guards"), json!([]));
    assert_eq!(plan(&server, &text, "--prune")["changes"], json!([]), "they are not deleted either");
}

#[test]
fn a_rename_is_one_change_for_all_that_refers_to_the_object() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = start(engine);
        commit(&server, SITE, "--allow-weaker");
        for repo in ["locked", "prod"] {
            server.rspm(&format!("edit repo --name={repo} --changes=any"));
        }
        let site = export(&server);
        let renamed = site
            .replace("[sources.team]", "[sources.crew]\nrenamed_from = \"team\"")
            .replace("\"team\"", "\"crew\"")
            .replace("renamed_from = \"crew\"", "renamed_from = \"team\"")
            .replace("[repositories.prod]", "[repositories.live]\nrenamed_from = \"prod\"")
            .replace("repo = \"prod\"", "repo = \"live\"");
        let planned = plan(&server, &renamed, "--prune");
        assert_eq!(planned["problems"], json!([]), "{planned}");
        let changes = planned["changes"].as_array().expect("changes");
        let fields: Vec<&Value> = changes.iter().map(|change| &change["fields"]).collect();
        assert_eq!(
            fields,
            [
                &json!([{ "field": "name", "from": "team", "to": "crew" }]),
                &json!([{ "field": "name", "from": "prod", "to": "live" }])
            ]
        );
        commit(&server, &renamed, "--prune");
        assert_eq!(plan(&server, &renamed, "--prune")["changes"], json!([]));
        assert!(export(&server).contains("[repositories.live]"));
    }
}

#[test]
fn each_change_needs_the_scope_of_its_object() {
    let server = start(Engine::Sqlite);
    commit(&server, "format=1\n[sources.team]\n[sources.other]\n[repositories.prod]\n", "");
    let scopes = [
        ("admin", "--scope=global:admin"),
        ("blocklist", "--scope=blocklist:admin"),
        ("rules", "--scope=blocklist:read"),
        ("metadata", "--scope=metadata:admin"),
        ("team", "--scope=sources:write --sources=team"),
        ("sources", "--scope=sources:write --sources=*"),
        ("read", "--scope=repos:read --repos=*"),
    ];
    let tokens = scopes.map(|(name, flags)| (name, token(&server, flags)));
    let named = json!({ "x": {} });
    let rule = json!([{ "package_name": "evil" }]);
    let metadata = json!([{ "package_name": "a", "key": "k", "value": "v" }]);
    for (state, permitted) in [
        (json!({ "format": 1, "repositories": named }), vec!["admin"]),
        (json!({ "format": 1, "name_guards": { "r:a": { "source": "team" } } }), vec!["admin"]),
        (json!({ "format": 1, "block_rules": rule }), vec!["admin", "blocklist"]),
        (json!({ "format": 1, "metadata": metadata }), vec!["admin", "metadata"]),
        (json!({ "format": 1, "sources": named }), vec!["admin", "sources"]),
        (
            json!({ "format": 1, "sources": { "crew": { "renamed_from": "team" } } }),
            vec!["admin", "team", "sources"],
        ),
        (
            json!({ "format": 1, "sources": { "crew": { "renamed_from": "other" } } }),
            vec!["admin", "sources"],
        ),
        (json!({ "format": 1, "block_rules": rule, "metadata": metadata }), vec!["admin"]),
    ] {
        let body = json!({ "state": state }).to_string();
        for (name, token) in &tokens {
            let answer = send(&server, "POST", "/__api__/admin/v1/state", Some(&bearer(token)), &body);
            let expected = if permitted.contains(name) { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{name}: {state}: {}", answer.text());
        }
        assert_eq!(send(&server, "POST", "/__api__/admin/v1/state", None, &body).status, 401);
    }
    let both = json!({ "state": { "format": 1, "block_rules": rule, "metadata": metadata } }).to_string();
    let reader = bearer(&tokens[6].1);
    let text = send(&server, "POST", "/__api__/admin/v1/state", Some(&reader), &both).text();
    assert!(text.contains("blocklist:admin") && text.contains("metadata:admin"), "{text}");
    for (only, permitted) in [
        ("", vec!["admin"]),
        ("?only=sources", vec!["admin"]),
        ("?only=block_rules", vec!["admin", "blocklist", "rules"]),
        ("?only=metadata", vec!["admin", "metadata"]),
    ] {
        for (name, token) in &tokens {
            let path = format!("/__api__/admin/v1/state{only}");
            let status = send(&server, "GET", &path, Some(&bearer(token)), "").status;
            assert_eq!(status, if permitted.contains(name) { 200 } else { 403 }, "{name} {only}");
        }
    }
    let audit = server.json("audit list --outcome=refused --limit=1000");
    assert!(audit.to_string().contains("apply state"), "{audit}");
}

#[test]
fn the_objects_of_a_state_are_read_after_its_permissions_and_sizes() {
    let server = start(Engine::Sqlite);
    commit(&server, "format=1\n[sources.team]\n", "");
    let [reader, team, admin] =
        ["--scope=repos:read --repos=*", "--scope=sources:write --sources=team", "--scope=global:admin"]
            .map(|flags| bearer(&token(&server, flags)));
    let list = |object: &str, count: usize| format!("[{}]", vec![object; count].join(","));
    let sources = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("\"s{number:07}\":{{}}")).collect();
        format!("{{{}}}", names.join(","))
    };
    let files = format!("{{\"team\":{{\"files\":{}}}}}", list("\"\"", 800_000));
    for (token, section, objects, status, reason) in [
        // Without a permission, the body is not read; without that of a section, its objects.
        (&reader, "sources", "{", 403, "lacks the scope sources:write"),
        (&team, "block_rules", "[5]", 403, "lacks the scope blocklist:admin"),
        (&team, "repositories", "[5]", 403, "lacks the scope global:admin"),
        (&team, "sources", &sources(40_000), 403, "sources:write for all sources"),
        (&team, "sources", &sources(400_000), 400, "sources has 400000 objects, and at most 50000 are"),
        (
            &team,
            "sources",
            &files,
            400,
            "the section sources has 800002 values, and at most 800000 are accepted",
        ),
        (&admin, "block_rules", "[5]", 400, "the body is not valid JSON for this request: invalid type"),
        (&admin, "block_rules", &list("{}", 200_001), 400, "has 200001 objects, and at most 200000 are"),
        (&admin, "name_guards", &list("[[]]", 400_001), 400, "and at most 50000 are accepted"),
        (&admin, "sources", &sources(40_000), 200, "\"problems\":[]"),
    ] {
        let body = format!("{{\"state\":{{\"format\":1,\"{section}\":{objects}}}}}");
        let answer = send(&server, "POST", "/__api__/admin/v1/state", Some(token), &body);
        assert_eq!(answer.status, status, "{section}: {objects:.100}: {:.500}", answer.text());
        assert!(answer.text().contains(reason), "{section}: {objects:.100}: {:.500}", answer.text());
    }
    let rules = vec![json!({ "package_name": "a", "source_name": "taem" }); 3_000];
    let answer = server.admin("POST", "/state", &json!({ "state": { "format": 1, "block_rules": rules } }));
    let plan: Value = serde_json::from_str(&answer.text()).expect("JSON");
    let problems = plan["problems"].as_array().expect("problems");
    assert_eq!((problems.len(), &plan["changes"]), (1_001, &json!([])));
    assert_eq!(problems[1_000]["error"], "the objects after the first 1000 problems were not checked");
}

#[test]
fn a_source_without_a_definition_in_the_file_makes_no_change_wait() {
    let server = start(Engine::Sqlite);
    commit(&server, "format=1\n[[block_rules]]\npackage_name=\"evil\"\n", "");
    let site = "format=1\nblock_rules=[]\n[sources.picked]\ntype=\"curated-cran\"\n[sources.team]\n\
        [repositories.m]\nsources=[\"team\", \"picked\"]\n";
    let output = commit(&server, site, "--prune --allow-weaker --confirm-deletes=1");
    assert!(!output.contains("later"), "{output}");
    let state = server.json("export state");
    assert_eq!(state["repositories"]["m"]["sources"], json!(["team", "picked"]));
    assert_eq!(state["block_rules"], json!([]));
    let exported = export(&server);
    let other = start(Engine::Sqlite);
    commit(&other, &exported, "");
    assert_eq!(export(&other), exported);
    assert_eq!(plan(&other, &exported, "--prune")["changes"], json!([]));
}

#[test]
fn a_repository_that_makes_private_packages_readable_protects_less() {
    let server = start(Engine::Sqlite);
    let private =
        "format=1\n[sources.team]\n[repositories.private]\nauthenticated=true\nsources=[\"team\"]\n";
    commit(&server, private, "");
    commit(&server, "format=1\n[[block_rules]]\npackage_name=\"evil\"\n", "");
    let warning = "format=1\n[[block_rules]]\npackage_name=\"evil\"\nwarn=true\npriority=1\n";
    assert!(refused(&server, warning, "--commit").contains("--allow-weaker"), "it precedes the block");
    let without = "format=1\n[sources.team]\n[repositories]\n";
    assert!(refused(&server, without, "--prune --confirm-deletes=1 --commit").contains("--allow-weaker"));
    let open = format!("{private}[repositories.open]\nsources=[\"team\"]\n");
    assert!(refused(&server, &open, "--commit").contains("--allow-weaker"));
    let output = commit(&server, &open, "--allow-weaker");
    assert!(
        output.contains("everyone who can connect to the server can read the packages of 'team'"),
        "{output}"
    );
}

#[test]
fn an_object_with_an_error_is_not_shown_as_deleted() {
    let server = start(Engine::Sqlite);
    commit(&server, SITE, "--allow-weaker");
    let changes = [
        ("sources = [\"cran\", \"team\"]", "sources = [\"cran\", \"teem\"]"),
        ("sources = [\"cran\", \"team\"]", "sources = [\"team\"]"),
        ("[repositories.prod]", "[repositories.live]\nrenamed_from = \"prod\""),
        ("[sources.team2]\n", "[sources.team2]\ntype = \"git\"\n"),
        ("source = \"team\"\ndescription", "source = \"teem\"\ndescription"),
        ("Acme_Tools\"]\nsource = \"py-team\"", "Acme_Tools\"]\nsource = \"pi-team\""),
        ("min_age = \"168h\"", "min_age = \"soon\""),
        ("key = \"status\"", "key = \"a=b\""),
    ];
    for (old, new) in changes {
        let text = SITE.replace(old, new);
        assert_ne!(text, SITE);
        for flags in ["", "--prune"] {
            let planned = plan(&server, &text, flags);
            assert_eq!((&planned["changes"], &planned["kept"]), (&json!([]), &json!(0)), "{new}: {planned}");
            // The rule and the metadata of the file have the old name, which `--prune` would delete.
            let count = if new.contains("renamed_from") && flags == "--prune" { 3 } else { 1 };
            assert_eq!(planned["problems"].as_array().map(Vec::len), Some(count), "{new}: {planned}");
        }
    }
}

#[test]
fn a_refused_difference_is_a_difference() {
    let server = start(Engine::Sqlite);
    let text = "format=1\nname_guards={}\n[sources.team]\n";
    commit(&server, text, "");
    server.rspm_stdout("create name-guard --name=ours.* --source=team");
    let drift = apply(&server, text, "--prune --expect-no-changes");
    assert_eq!(drift.code, 5, "{drift:?}");
    for part in
        ["--allow-weaker permits that\n", "--confirm-deletes=1 permits that\n", "the server has 1 difference"]
    {
        assert!(drift.err.contains(part), "{part}: {drift:?}");
    }
    let kept = apply(&server, text, "").out;
    let expected = "no changes, 1 not in the files; what the files have is as on the server (--prune deletes the rest)\n";
    assert_eq!(kept, expected);
}

#[test]
fn a_source_that_is_deleted_with_its_repository_is_not_opened() {
    let server = start(Engine::Sqlite);
    let private =
        "format=1\n[sources.team]\n[repositories.private]\nauthenticated=true\nsources=[\"team\"]\n";
    commit(&server, private, "");
    let without = "format=1\nsources={}\nrepositories={}\n";
    assert_eq!(commit(&server, without, "--prune --confirm-deletes=2").matches('!').count(), 0);
}

#[test]
fn a_plan_is_printed_with_the_next_step() {
    let server = start(Engine::Sqlite);
    commit(
        &server,
        "format=1\n[sources.team]\n[repositories.prod]\ndescription=\"a\"\nauthenticated=true\n",
        "",
    );
    let text = "format=1\n[sources.team2]\n[repositories.prod]\ndescription=\"b\"\nsources=[\"team2\"]\n";
    let output = apply(&server, text, "--allow-weaker");
    assert_eq!(output.code, 0, "{output:?}");
    let digest = output.out.trim_end().rsplit('=').next().expect("a digest").to_owned();
    let path = server.dir().join("site.toml").display().to_string();
    let config = server.config_file().display().to_string();
    assert_eq!(
        output.out,
        format!(
            "+ source      team2\n\
             ! repository  prod   authenticated: true → default; description: \"a\" → \"b\"; sources: default → [\"team2\"]\n\
             1 created, 1 changed, 1 protecting less (!), 1 not in the files; to apply: rspm --config \
             {config} apply {path} --allow-weaker --commit --base={digest}\n"
        )
    );
    let different = apply(&server, text, "--expect-no-changes --allow-weaker");
    assert_eq!(
        (different.code, different.err.as_str()),
        (5, "Error: the server has 2 differences to the files\n")
    );
    server.rspm_stdout("edit repo --name=prod --description=c");
    let error = refused(&server, text, &format!("--commit --allow-weaker --base={digest}"));
    assert!(error.contains("changed since the plan with the base"), "{error}");
    let fresh = plan(&server, text, "--allow-weaker")["digest"].as_str().expect("a digest").to_owned();
    commit(&server, text, &format!("--allow-weaker --base={fresh} --comment=release~7"));
    let trail = server.json("audit list --limit=1000").to_string();
    assert!(trail.contains("; release 7\""), "{trail}");
    let other = apply(&server, text, "--commit --expect-no-changes");
    assert_eq!(other.code, 2, "{other:?}");
}

/// Returns the effects in a plan, by section and name.
fn effects(plan: &Value) -> BTreeMap<(String, String), Value> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let changes = plan["changes"].as_array().expect("changes").iter();
    changes
        .map(|change| ((text(&change["section"]), text(&change["name"])), change["effects"].clone()))
        .filter(|(_, effects)| !effects.is_null())
        .collect()
}

#[test]
fn a_plan_states_what_new_rules_and_guards_match() {
    let server = start(Engine::Sqlite);
    let packages = [("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0")];
    server.local_repository("prod", &packages.map(|(name, version)| Tarball::new(name, version)));
    commit(&server, "format=1\n[sources.team]\n", "");
    let text = "format=1\n[sources.new]\n[name_guards.\"r:al*\"]\nsource=\"team\"\n\
        [[block_rules]]\npackage_name=\"alpha\"\nversion=\">1.0\"\n\
        [[block_rules]]\npackage_name=\"beta\"\nsource_name=\"new\"\n\
        [[block_rules]]\npackage_name=\"gamma\"\n";
    let expected = [
        (
            ("block_rules".to_owned(), "{\"package_name\":\"alpha\",\"version\":\">1.0\"}".to_owned()),
            json!(["blocks the listed version of 1 of 2 packages in prod: alpha 2.0 (replaced by 1.0)"]),
        ),
        (
            ("name_guards".to_owned(), "r:al*".to_owned()),
            json!(["hides 1 package of other sources: alpha (prod)"]),
        ),
    ];
    assert_eq!(effects(&plan(&server, text, "")), BTreeMap::from(expected));
    let printed = apply(&server, text, "").out;
    assert!(printed.contains("; hides 1 package of other sources: alpha (prod)\n"), "{printed}");
    let many: String =
        (0..20).map(|number| format!("[[block_rules]]\npackage_name=\"p{number}\"\n")).collect();
    assert_eq!(effects(&plan(&server, &(text.to_owned() + &many), "")), BTreeMap::new(), "more than 20");
    commit(&server, text, "");
    assert_eq!(plan(&server, text, "")["changes"], json!([]));
}

#[test]
fn a_name_that_differs_only_in_case_is_an_effect() {
    let server = start(Engine::Sqlite);
    commit(&server, "format=1\n[sources.team]\n[repositories.prod]\n", "");
    let text = "format=1\n[sources.Team]\n[repositories.PROD]\n[repositories.team]\n";
    let effect = |name: &str| json!([format!("its name differs from '{name}' only in upper and lower case")]);
    let expected = [("sources", "Team", "team"), ("repositories", "PROD", "prod")]
        .map(|(section, name, other)| ((section.to_owned(), name.to_owned()), effect(other)));
    assert_eq!(effects(&plan(&server, text, "")), BTreeMap::from(expected));
    commit(&server, text, "");
    let renamed = format!("{text}[sources.TEAM2]\nrenamed_from=\"Team\"\n").replace("[sources.Team]\n", "");
    assert_eq!(effects(&plan(&server, &renamed, "")), BTreeMap::new());
    let renamed = renamed.replace("TEAM2", "TEAM");
    let planned = plan(&server, &renamed, "");
    assert_eq!(
        effects(&planned),
        BTreeMap::from([(("sources".to_owned(), "TEAM".to_owned()), effect("team"))])
    );
}

#[test]
fn a_repository_is_fixed_under_the_rules_of_the_same_commit() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = start(engine);
        let alpha = ["1.0", "2.0"].map(|version| Tarball::new("alpha", version));
        server.local_repository("old", &alpha);
        server.rspm_stdout("create blocklist-rule --package-name=alpha --version=1.0 --repo=old");
        let list = "changes=\"promotion\"\nsources=[\"old\"]\n";
        let rule = "package_name=\"alpha\"\nversion=\"2.0\"\n";
        let text = format!(
            "format=1\n[repositories.new]\n{list}[repositories.old]\n{list}\
             [[block_rules]]\nrepo=\"new\"\n{rule}[[block_rules]]\nrepo=\"old\"\n{rule}"
        );
        commit(&server, &text, "--prune --allow-weaker --confirm-deletes=1");
        let versions = |repo: &str| {
            let index = server.get(&format!("/{repo}/latest/src/contrib/PACKAGES")).text();
            let lines = index.lines().filter_map(|line| line.strip_prefix("Version: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!((versions("new"), versions("old")), (vec!["1.0".to_owned()], vec!["1.0".to_owned()]));
        commit(&server, "format=1\nblock_rules=[]", "--prune --allow-weaker --confirm-deletes=2");
        assert_eq!((versions("new"), versions("old")), (vec!["1.0".to_owned()], vec!["1.0".to_owned()]));
    }
}

/// The blocks of a language in the manual.
fn blocks(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin/state.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_commands_of_the_manual_run() {
    let (server, other) = (start(Engine::Sqlite), start(Engine::Sqlite));
    commit(&server, SITE, "--allow-weaker");
    let folder = server.dir().join("work");
    std::fs::create_dir_all(folder.join("site")).expect("a folder");
    server.rspm_stdout(&format!("export state --to {}", folder.join("site").display()));
    let program = env!("CARGO_BIN_EXE_rspm");
    let (own, test) = (server.config_file(), other.config_file());
    let function = format!(
        "set -e\nrspm() {{ case \"$1\" in --config) shift 2; {program} --config {} \"$@\";; *) {program} --config {} \
         \"$@\";; esac; }}\n",
        test.display(),
        own.display()
    );
    let all = blocks("sh");
    assert_eq!(all.len(), 3, "{all:?}");
    for block in all {
        let commands: Vec<&str> = block.lines().filter(|line| line.starts_with("rspm ")).collect();
        let script = format!("{function}{}\n", commands.join("\n"));
        let output = std::process::Command::new("sh").arg("-c").arg(&script).current_dir(&folder).output();
        let output = RspmOutput::from(output.expect("sh runs"));
        assert_eq!(output.code, 0, "{script}: {output:?}");
    }
    assert_eq!(export(&other), export(&server));
    // Commands in the files of other programs.
    for block in blocks("yaml").into_iter().chain(blocks("hcl")) {
        for (at, _) in block.match_indices("rspm apply") {
            let line = block[at..].split(['\n', '"']).next().unwrap_or_default();
            let parsed = clap::Parser::try_parse_from(line.split_whitespace());
            let _: rstudio_pm::cli::args::Cli = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
    // The example is refused only because of what a new server lacks.
    let [example] = blocks("toml").try_into().expect("one example");
    std::fs::create_dir(server.dir().join("pypi-subset")).expect("a folder");
    std::fs::write(server.dir().join("pypi-subset/requirements.txt"), "requests\n").expect("written");
    let error = refused(&server, &example, "");
    assert!(
        error.lines().all(|line| line.contains("'https:deploy' is missing")
            || line.contains("'deploy' is missing")
            || line.contains("use rspm promote")),
        "{error}"
    );
}

/// A generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Returns a state as the server exports it, without credentials and builders.
fn random_state(random: &mut Random) -> Value {
    let kinds = ["local", "git", "local-python"];
    let mut sources = Map::new();
    for number in 0..6_u64 {
        let kind = kinds[(number % 3) as usize];
        if random.flag() {
            let fields = if kind == "local" { json!({}) } else { json!({ "type": kind }) };
            sources.insert(format!("s{number}"), fields);
        }
    }
    let mut repositories = Map::new();
    for number in 0..6_u64 {
        if random.flag() {
            let is_python = number == 5;
            let mut list: Vec<Value> = sources
                .iter()
                .filter(|(_, fields)| (fields.get("type") == Some(&json!("local-python"))) == is_python)
                .map(|(name, _)| json!(name))
                .collect();
            if !is_python && random.flag() {
                list.push(json!("cran"));
            }
            if random.flag() {
                list.reverse();
            }
            list.truncate(random.below(4) as usize);
            let mut fields = Map::new();
            let mut set = |field: &str, value: Value, is_set: bool| {
                if is_set {
                    fields.insert(field.to_owned(), value);
                }
            };
            set("type", json!("python"), is_python);
            set("description", json!(format!("d{}", random.below(3))), random.flag());
            set("hidden", json!(true), random.flag());
            set("authenticated", json!(true), random.flag());
            set("changes", json!("promotion"), random.below(4) == 0);
            let is_set = !list.is_empty();
            set("sources", json!(list), is_set);
            repositories.insert(format!("r{number}"), Value::Object(fields));
        }
    }
    let mut guards = Map::new();
    for name in sources.keys() {
        let language = if sources[name].get("type") == Some(&json!("local-python")) { "python" } else { "r" };
        if random.flag() {
            guards.insert(format!("{language}:x{name}*"), json!({ "source": name }));
        }
        if let (true, Some(other)) = (random.flag(), sources.keys().find(|other| *other != name)) {
            let other_language =
                if sources[other].get("type") == Some(&json!("local-python")) { "python" } else { "r" };
            if other_language == language {
                guards.insert(format!("{language}:y{name}"), json!({ "source": other, "description": "d" }));
            }
        }
    }
    let mut rules = Vec::new();
    for _ in 0..random.below(5) {
        let mut rule = json!({ "package_name": format!("p{}", random.below(3)) });
        if random.flag() {
            rule["priority"] = json!(random.below(90));
        }
        if let (true, Some(name)) = (random.flag(), repositories.keys().next()) {
            rule["repo"] = json!(name);
        }
        match random.below(4) {
            0 => rule["exception"] = json!(true),
            1 => rule["warn"] = json!(true),
            _ => {}
        }
        rules.push(rule);
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..random.below(5) {
        let mut row = json!({ "package_name": format!("m{}", random.below(2)), "key": format!("k{}", random.below(2)) });
        if let (true, Some(name)) = (random.flag(), repositories.keys().next_back()) {
            row["repo"] = json!(name);
        }
        let key = row.to_string();
        row["value"] = json!(format!("v{}", random.below(3)));
        metadata.insert(key, row);
    }
    json!({
        "format": 1, "sources": sources, "repositories": repositories, "git_credentials": {}, "git_builders": {},
        "name_guards": guards, "block_rules": rules, "metadata": metadata.into_values().collect::<Vec<_>>(),
    })
}

/// Returns a state with its lists in one order.
fn ordered(mut state: Value) -> Value {
    for list in ["block_rules", "metadata"] {
        if let Some(list) = state[list].as_array_mut() {
            list.sort_by_key(ToString::to_string);
        }
    }
    state
}

fn random_transitions(engine: Engine, steps: usize, seed: u64) {
    let server = start(engine);
    let mut random = Random(seed);
    for step in 0..steps {
        // Repositories that accept promotions only are opened by hand: a state file must not do that.
        for repo in server.json("list repos").as_array().expect("a list") {
            if repo["changes"] != "any" {
                let name = repo["name"].as_str().expect("a name");
                assert_eq!(server.rspm(&format!("edit repo --name={name} --changes=any")).code, 0);
            }
        }
        let state = random_state(&mut random);
        let text = state.to_string();
        let planned = plan(&server, &text, "--prune --allow-weaker");
        let changes = planned["changes"].as_array().expect("changes");
        let deletions = changes.iter().filter(|change| change["action"] == "delete").count();
        commit(&server, &text, &format!("--prune --allow-weaker --confirm-deletes={deletions}"));
        assert_eq!(ordered(server.json("export state")), ordered(state), "step {step} of {seed}");
    }
    assert_eq!(server.rspm("scrub --database").code, 0);
}

#[test]
fn random_states_follow_each_other() {
    random_transitions(Engine::Sqlite, 100, 1);
}

#[test]
fn random_states_follow_each_other_on_postgresql() {
    random_transitions(Engine::Postgres, 100, 2);
}

/// Returns a state with many repositories of `label`.
fn large(label: &str, count: usize) -> String {
    let mut text = format!("format = 1\n[sources.{label}]\n");
    for number in 0..count {
        write!(text, "[repositories.r{number}]\ndescription = \"{label}\"\nsources = [\"{label}\"]\n")
            .expect("a text");
    }
    text
}

#[test]
fn two_commits_at_once_have_the_result_of_one_order() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = start(engine);
        commit(&server, &large("base", 3), "");
        let states = ["one", "two"].map(|label| {
            let path = server.dir().join(format!("{label}.toml"));
            std::fs::write(&path, large(label, 3)).expect("written");
            path.display().to_string()
        });
        let mut refusals = 0;
        for _ in 0..50 {
            let mut children = states.each_ref().map(|path| {
                let mut command =
                    server.rspm_command(&format!("apply {path} --commit --prune --confirm-deletes=1"));
                command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
                command.spawn().expect("rspm runs")
            });
            // A third writer, whose change is in none of the files.
            server.rspm("edit repo --name=r1 --description=other");
            for child in &mut children {
                let code = child.wait().expect("it ends").code();
                assert!(matches!(code, Some(0 | 1)), "{code:?}");
                refusals += usize::from(code == Some(1));
            }
            let state = server.json("export state --only=repositories,sources");
            for number in 0..3 {
                let repo = &state["repositories"][format!("r{number}")];
                let list = repo["sources"][0].as_str().expect("one source");
                assert_eq!(repo["sources"].as_array().map(Vec::len), Some(1), "{state}");
                assert!(state["sources"].get(list).is_some(), "{state}");
                assert_eq!(repo["sources"], state["repositories"]["r0"]["sources"], "a mixture: {state}");
            }
        }
        assert!(refusals < 100, "no commit succeeded");
    }
}

fn kill_during_commits(engine: Engine) {
    let mut server = start(engine);
    commit(&server, &large("base", 300), "");
    let path = server.dir().join("new.toml");
    std::fs::write(&path, large("new", 300)).expect("written");
    let mut results = [0, 0];
    for attempt in 0..12_u64 {
        let mut command = server.rspm_command(&format!("apply {} --commit", path.display()));
        let mut child = command
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("rspm runs");
        std::thread::sleep(std::time::Duration::from_millis(40 * attempt));
        server.kill();
        child.wait().expect("it ends");
        server.launch();
        let state = server.json("export state --only=repositories");
        let repos = state["repositories"].as_object().expect("repositories");
        let label = repos["r0"]["description"].as_str().expect("a text");
        assert!(repos.values().all(|repo| repo["description"] == *label), "attempt {attempt}");
        results[usize::from(label == "new")] += 1;
        commit(&server, &large("base", 300), "");
    }
    assert!(results[0] > 0, "{results:?}: the server was killed after each commit");
    assert_eq!(server.rspm("scrub --database").code, 0);
}

#[test]
fn a_killed_server_has_the_objects_from_before_or_after_a_commit() {
    kill_during_commits(Engine::Sqlite);
}

#[test]
fn a_killed_server_has_the_objects_from_before_or_after_a_commit_on_postgresql() {
    kill_during_commits(Engine::Postgres);
}
