//! Definitions of curated sources, and snapshots of CRAN, in state files.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Curated, listed, start};
use crate::support::rspm::RspmOutput;

const STATE: &str = r#"format = 1
[sources.day]
type = "cran-snapshot"
snapshot = "2025-10-10"
[sources.picked]
type = "curated-cran"
snapshot = "2025-10-12"
include = "imports, depends"
files = ["lists/packages.txt"]
[repositories.day]
sources = ["day"]
[repositories.picked]
sources = ["picked", "cran"]
[[block_rules]]
repo = "picked"
package_name = "nothing"
"#;

/// Capacity of a pipe of Linux, in bytes.
const PIPE_BYTES: usize = 1 << 16;

fn apply(curated: &Curated, state: &str, definition: &str, flags: &str) -> RspmOutput {
    std::fs::create_dir_all(curated.server.dir().join("lists")).expect("a folder");
    curated.file("lists/packages.txt", definition);
    let path = curated.file("site.toml", state);
    curated.server.rspm(&format!("apply {} {flags}", path.display()))
}

fn plan(curated: &Curated, state: &str, definition: &str) -> Value {
    let output = apply(curated, state, definition, "-o json");
    serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn definitions_follow_the_other_changes_and_repositories_wait_for_them() {
    let curated = start();
    let server = &curated.server;
    let planned = plan(&curated, STATE, "lib\n");
    let later = |change: &Value| change["later"] == true;
    let changes = planned["changes"].as_array().expect("changes");
    let names: Vec<&Value> =
        changes.iter().filter(|change| later(change)).map(|change| &change["name"]).collect();
    assert_eq!(names[..4], [&json!("day"), &json!("picked"), &json!("day"), &json!("picked")], "{planned}");
    assert_eq!(names.len(), 5, "the rule of the waiting repository waits too: {planned}");
    let printed = apply(&curated, STATE, "lib\n", "").out;
    assert!(printed.contains("\n2 created, 5 later, 2 not in the files; to apply: "), "{printed}");
    let output = apply(&curated, STATE, "nowhere\n", "--commit");
    assert_eq!(output.code, 1, "{output:?}");
    for part in [
        "definition day: done",
        "definition picked: lists/packages.txt, line 1: there is no package 'nowhere'",
        "repository picked: waits for the definition",
        "Apply again",
    ] {
        assert!(output.err.contains(part), "{part}: {output:?}");
    }
    assert!(
        server.json("list repos").as_array().expect("a list").iter().all(|repo| repo["name"] != "picked")
    );
    let exported = server.rspm_stdout("export state");
    assert!(exported.contains("\n# definition of picked: the source has none yet\n"), "{exported}");
    let output = apply(&curated, STATE, "lib\n", "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(listed(server, "/picked/latest")[..2], ["app 2.0", "bonus 1.0"]);
    assert!(listed(server, "/picked/latest").contains(&"lib 1.5".to_owned()));
    assert!(listed(server, "/day/latest").contains(&"app 1.0".to_owned()));
    assert_eq!(plan(&curated, STATE, "lib\n")["changes"], json!([]));
    let output = apply(&curated, STATE, "lib\n", "--prune --expect-no-changes --names=picked");
    assert_eq!(output.code, 0, "{output:?}");
    // Another snapshot and other packages.
    let changed = STATE.replace("2025-10-12", "2025-10-14").replace("include = \"imports, depends\"\n", "");
    let output = apply(&curated, &changed, "lib\nutil\n", "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(listed(server, "/picked/latest").contains(&"lib 2.0".to_owned()));
    assert_eq!(plan(&curated, &changed, "lib\nutil\n")["changes"], json!([]));
    // The export has the texts of the files, and can be applied to the server.
    let path = server.dir().join("export.toml");
    server.rspm_stdout(&format!("export state --to={}", path.display()));
    let text = std::fs::read_to_string(&path).expect("exported");
    assert!(
        text.contains("snapshot = \"2025-10-14\"") && text.contains("lib\\nutil")
            || text.contains("lib\nutil"),
        "{text}"
    );
    let same = server.rspm(&format!("apply {} --prune --expect-no-changes", path.display()));
    assert_eq!(same.code, 0, "{same:?}");
    let without = changed.replace("snapshot = \"2025-10-14\"\nfiles = [\"lists/packages.txt\"]\n", "");
    let refused = apply(&curated, &without, "lib\n", "");
    assert!(refused.err.contains("has a definition, which cannot be removed"), "{refused:?}");
}

#[test]
fn what_protects_is_removed_after_its_replacement() {
    let curated = start();
    let server = &curated.server;
    for line in ["delete repo --name=prod", "delete source --name=subset --with-packages"] {
        server.rspm_stdout(line);
    }
    let before = "format = 1\n[sources.more]\n[sources.old]\n[repositories.live]\nsources = [\"old\", \"cran\"]\n\
        [[block_rules]]\npackage_name = \"util\"\n[name_guards.\"r:ours*\"]\nsource = \"old\"\n";
    let output = apply(&curated, before, "", "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    let after = "format = 1\n[sources.more]\n[sources.new]\ntype = \"curated-cran\"\nsnapshot = \"2025-10-12\"\n\
        files = [\"lists/packages.txt\"]\n[repositories.live]\nsources = [\"new\", \"cran\"]\n\
        [[block_rules]]\npackage_name = \"util\"\nrepo = \"live\"\n[name_guards.\"r:ours.*\"]\nsource = \"new\"\n";
    let flags = "--commit --prune --allow-weaker --confirm-deletes=3";
    let output = apply(&curated, after, "nowhere\n", flags);
    assert_eq!(output.code, 1, "{output:?}");
    for part in [
        "block rule {\"package_name\":\"util\"}: waits for the definition of a source",
        "source old: waits for the definition",
        "name guard r:ours*: waits for the definition",
        "name guard r:ours.*: waits for the definition",
    ] {
        assert!(output.err.contains(part), "{part}: {output:?}");
    }
    let has_util = || listed(server, "/live/latest").iter().any(|package| package.starts_with("util "));
    let guards = || {
        let guards = server.json("list name-guards");
        guards.as_array().expect("a list").iter().map(|guard| guard["name"].clone()).collect::<Vec<_>>()
    };
    assert!(!has_util(), "the rule that blocks it was deleted before its replacement");
    assert_eq!(guards(), ["ours*"]);
    let output = apply(&curated, after, "app [suggests]\n", flags);
    assert_eq!(output.code, 0, "{output:?}");
    let notice = "definition new: 1 dependency is not in CRAN at 2025-10-12 and was omitted: absent\n";
    assert!(output.err.contains(notice), "{output:?}");
    let same = apply(&curated, after, "app [suggests]\n", "--prune --expect-no-changes");
    assert_eq!(same.code, 0, "{same:?}");
    assert!(!has_util() && listed(server, "/live/latest").contains(&"lib 1.5".to_owned()));
    assert_eq!(guards(), ["ours.*"]);
}

#[test]
fn what_protects_more_does_not_wait_for_the_list_of_a_repository() {
    let curated = start();
    let server = &curated.server;
    let output = apply(&curated, "format = 1\n[repositories.live]\nsources = [\"cran\"]\n", "", "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    let after = "format = 1\n[sources.new]\ntype = \"curated-cran\"\nsnapshot = \"2025-10-12\"\n\
        files = [\"lists/packages.txt\"]\n[repositories.live]\nauthenticated = true\nsources = [\"new\", \"cran\"]\n\
        [[block_rules]]\npackage_name = \"util\"\nrepo = \"live\"\n";
    let output = apply(&curated, after, "nowhere\n", "--commit");
    assert!(
        output.code == 1 && output.err.contains("repository live: waits for the definition"),
        "{output:?}"
    );
    assert_eq!(server.get("/live/latest/src/contrib/PACKAGES").status, 401);
    assert_eq!(server.json("list blocklist-rules").as_array().map(Vec::len), Some(1));
    let output = apply(&curated, after, "lib\n", "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(plan(&curated, after, "lib\n")["changes"], json!([]));
    assert_eq!(server.get("/live/latest/src/contrib/PACKAGES").status, 401);
}

/// Commits `site.toml`, and runs `commands` between the two commits of `apply`. Returns its exit code and its errors.
fn apply_beside(curated: &Curated, flags: &str, commands: &[&str]) -> (Option<i32>, String) {
    let server = &curated.server;
    // The command waits when it reports its first definition, because the pipe is full.
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'\n'; PIPE_BYTES]).expect("written");
    let path = server.dir().join("site.toml");
    let mut command = server.rspm_command(&format!("apply {} --commit {flags}", path.display()));
    let mut apply_process = command.stderr(writer).stdout(Stdio::null()).spawn().expect("rspm");
    drop(command);
    let is_waiting = |state: &str| state.contains("[sources.day]") && !state.contains("# definition of day:");
    while !is_waiting(&server.rspm_stdout("export state")) {
        std::thread::sleep(Duration::from_millis(50));
    }
    for command in commands {
        server.rspm_stdout(command);
    }
    let mut errors = String::new();
    reader.read_to_string(&mut errors).expect("read");
    let code = apply_process.wait().expect("ended").code();
    assert!(errors.contains("definition picked: done"), "{errors}");
    (code, errors)
}

#[test]
fn what_others_change_before_the_waiting_changes_stays() {
    let curated = start();
    let server = &curated.server;
    for line in [
        "delete repo --name=prod",
        "delete source --name=subset --with-packages",
        "create metadata --package-name=pp --key=status --value=tested",
        "create blocklist-rule --package-name=evil",
    ] {
        server.rspm_stdout(line);
    }
    let state = STATE.replace("format = 1\n", "format = 1\nmetadata = []\n");
    let state =
        format!("{state}[repositories.open]\nsources = [\"cran\"]\ndescription = \"as in the file\"\n");
    plan(&curated, &state, "lib\n");
    let commands = [
        "edit repo --name=open --description=other",
        "create metadata --package-name=pp --key=status --value=forbidden --update-existing",
        "create blocklist-rule --package-name=evil",
    ];
    let flags = "--prune --allow-weaker --confirm-deletes=2";
    let (code, errors) = apply_beside(&curated, flags, &commands);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("repository open: was changed at the same time"), "{errors}");
    assert!(errors.contains("metadata pp: status: was changed at the same time"), "{errors}");
    assert!(errors.contains("block rule {\"package_name\":\"evil\"}: was changed"), "{errors}");
    let rules = server.json("list blocklist-rules");
    assert_eq!(rules.as_array().map(Vec::len), Some(2), "both equal rules: {errors}");
    let exported = server.rspm_stdout("export state");
    assert!(
        exported.contains("description = \"other\"") && !exported.contains("[repositories.picked]"),
        "{exported}"
    );
    assert!(exported.contains("forbidden"), "{exported}");
    let output = apply(&curated, &state, "lib\n", "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(plan(&curated, &state, "lib\n")["changes"], json!([]));
}

#[test]
fn what_others_protect_before_the_waiting_changes_is_not_opened_by_them() {
    let curated = start();
    let server = &curated.server;
    for line in ["create source --name=own", "create repo --name=shop", "subscribe --repo=shop --source=own"]
    {
        server.rspm_stdout(line);
    }
    let state = STATE.replace("[\"picked\", \"cran\"]", "[\"picked\", \"own\"]");
    let state = state.replace("[sources.day]", "[sources.own]\n[sources.day]");
    let planned = plan(&curated, &state, "lib\n");
    assert!(!planned.to_string().contains("weaker"), "{planned}");
    let (code, errors) = apply_beside(&curated, "--allow-weaker", &["edit repo --name=shop --authenticated"]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("repository picked: was changed at the same time"), "{errors}");
    assert!(!server.rspm_stdout("export state").contains("[repositories.picked]"));
    let refused = apply(&curated, &state, "lib\n", "--commit");
    assert!(refused.code == 1 && refused.err.contains("--allow-weaker"), "{refused:?}");
}

#[test]
fn a_change_that_waits_is_judged_by_the_protection_at_that_time() {
    let curated = start();
    let output = apply(
        &curated,
        "format = 1\n[sources.own]\n[repositories.shop]\nsources = [\"own\"]\n",
        "",
        "--commit",
    );
    assert_eq!(output.code, 0, "{output:?}");
    let closed = "authenticated = true\nsources = [\"own\"]\n";
    for (source, rest) in [
        // The repository of a source requires a token from the first commit on.
        (
            "first",
            format!("[sources.own]\n[repositories.shop]\n{closed}[repositories.open]\nsources = [\"own\", \"first\"]\n"),
        ),
        // A source is new, like the repository that requires a token.
        (
            "second",
            "[sources.crew]\n[repositories.crew]\nauthenticated = true\nsources = [\"crew\"]\n\
             [repositories.wide]\nsources = [\"crew\", \"second\"]\n"
                .to_owned(),
        ),
        // A warning precedes a rule that blocks from the first commit on.
        (
            "third",
            "[repositories.next]\nsources = [\"third\"]\n[[block_rules]]\npackage_name = \"util\"\npriority = 10\n\
             [[block_rules]]\npackage_name = \"util\"\nrepo = \"next\"\npriority = 5\nwarn = true\n"
                .to_owned(),
        ),
    ] {
        let state = format!(
            "format = 1\n{rest}[sources.{source}]\ntype = \"curated-cran\"\nsnapshot = \"2025-10-12\"\n\
             files = [\"lists/packages.txt\"]\n"
        );
        let planned = plan(&curated, &state, "lib\n");
        let changes = planned["changes"].as_array().expect("changes");
        let weaker: Vec<&Value> = changes.iter().filter(|change| change["weaker"] == true).collect();
        assert!(weaker.len() == 1 && weaker[0]["later"] == true, "{planned}");
        let refused = apply(&curated, &state, "lib\n", "--commit");
        assert!(refused.code == 1 && refused.err.contains("1 change with ! would"), "{refused:?}");
        assert_eq!(plan(&curated, &state, "lib\n"), planned, "nothing was changed");
        let output = apply(&curated, &state, "lib\n", "--commit --allow-weaker");
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(plan(&curated, &state, "lib\n")["changes"], json!([]));
    }
}
