//! Builders in state files.

use serde_json::json;

use super::{repository, server};

#[test]
fn builders_are_created_changed_and_deleted_after_the_other_changes() {
    let server = server("");
    let repository = repository("1.0");
    let path = server.dir().join("site.toml");
    let apply = |text: &str, flags: &str| {
        std::fs::write(&path, text).expect("written");
        server.rspm(&format!("apply {} {flags}", path.display()))
    };
    let site = format!(
        "format = 1\n[sources.dev]\ntype = \"git\"\n[sources.more]\n[git_builders.\"dev/tested\"]\nurl = \"{}\"\n",
        repository.url()
    );
    let output = apply(&site, "--commit");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.err.contains("git builder dev/tested: done"), "{output:?}");
    assert_eq!(server.json("list git-builders")[0]["name"], json!("tested"));
    assert_eq!(apply(&site, "--prune --expect-no-changes").code, 0);
    let deep = format!("{site}clone_depth = 0\nvignettes = true\n");
    assert_eq!(apply(&deep, "--expect-no-changes").code, 5);
    assert_eq!(apply(&deep, "--commit").code, 0);
    assert_eq!(server.json("list git-builders")[0]["clone_depth"], json!(0));
    assert_eq!(apply(&deep, "--expect-no-changes").code, 0);
    let tags = apply(&format!("{site}build_trigger = \"tags\"\n"), "");
    assert!(tags.err.contains("'build_trigger' of a builder does not change"), "{tags:?}");
    let broken =
        site.replace("dev/tested", "dev/other").replace(&repository.url(), "file:///tmp/nowhere.git");
    let output = apply(&format!("{broken}[sources.third]\n"), "--commit");
    assert!(output.code == 1 && output.err.contains("git builder dev/other: "), "{output:?}");
    assert!(server.json("list sources").to_string().contains("third"), "the other changes are made");
    // The number of deletions is that of the plan, also when some are made later than others.
    server.rspm_stdout("create blocklist-rule --package-name=evil");
    let waiting = "format = 1\ngit_builders = {}\nblock_rules = []\n[sources.dev]\ntype = \"git\"\n[sources.more]\n\
        [sources.third]\n[sources.day]\ntype = \"cran-snapshot\"\nsnapshot = \"2024-01-01\"\n\
        [repositories.dev]\nsources = [\"dev\"]\n[repositories.day]\nsources = [\"day\"]\n";
    let output = apply(waiting, "--commit --prune --allow-weaker --confirm-deletes=2");
    assert_eq!(output.code, 1, "{output:?}");
    for part in
        ["builder dev/tested: done\n", "block rule {\"package_name\":\"evil\"}: waits for the definition"]
    {
        assert!(output.err.contains(part), "{part}: {output:?}");
    }
    assert!(!output.err.contains("--confirm-deletes"), "{output:?}");
    assert_eq!(apply(&site, "--commit").code, 0);
    let output = apply("format = 1\ngit_builders = {}\n", "--commit --prune --confirm-deletes=1");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(server.json("list git-builders"), json!([]));
}
