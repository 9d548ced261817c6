//! Definitions of curated sources, and snapshots of CRAN, in state files.

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
    let output = apply(&curated, STATE, "nowhere\n", "--commit");
    assert_eq!(output.code, 1, "{output:?}");
    for part in [
        "definition day: done",
        "definition picked: lists/packages.txt, line 1: there is no package 'nowhere'",
        "repository picked: waits for the definition",
        "apply again",
    ] {
        assert!(output.err.contains(part), "{part}: {output:?}");
    }
    assert!(
        server.json("list repos").as_array().expect("a list").iter().all(|repo| repo["name"] != "picked")
    );
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
