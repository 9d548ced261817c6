//! `rspm remove binary`, `rspm list binaries`, and lists of files to add.

use super::{add, get};
use crate::support::binary;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

fn agent() -> String {
    format!("R ({}.9 x86_64-pc-linux-gnu x86_64 linux-gnu)", binary::r_version())
}

fn kind(server: &Server, snapshot: &str, package: &str) -> String {
    let path = format!("/prod/__linux__/noble/{snapshot}/src/contrib/{package}.tar.gz");
    let answer = get(server, &path, Some(&agent()));
    assert_eq!(answer.status, 200, "{path}");
    answer.header("x-package-type").expect("a type").to_owned()
}

#[test]
fn a_removed_binary_stays_in_older_snapshots() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    add(&server, &[&tally], "bookworm");
    let r = binary::r_version();
    let before = server.json("info --source=team")["last_transaction"]["id"].to_string();
    let line = |platform: &str| {
        format!(
            "remove binary --source=team --name=tally --version=0.2.1 --platform={platform} --comment=broken"
        )
    };
    let all = server.json("list binaries --source=team --name=tally");
    let platforms: Vec<&str> =
        all.as_array().expect("rows").iter().filter_map(|row| row["platform"].as_str()).collect();
    assert_eq!(platforms, [format!("{r}-bookworm"), format!("{r}-noble")]);
    assert_eq!(
        (&all[1]["arch"], &all[1]["r_version"], &all[1]["distribution"]),
        (&"x86_64".into(), &r.clone().into(), &"noble".into())
    );
    assert!(
        server
            .rspm_stdout("list binaries --source=team --name=tally")
            .contains(&all[1]["sha256"].as_str().expect("known")[..16])
    );
    assert_eq!(
        server.rspm_stdout("list binaries --source=team --name=ledger"),
        "No binaries of ledger in source 'team'.\n"
    );

    assert_eq!(
        server.rspm_stdout(&line(&format!("{r}-noble"))),
        format!("Removed tally 0.2.1 for {r}-noble (x86_64) from source 'team'\n")
    );
    assert_eq!(kind(&server, "latest", "tally_0.2.1"), "source");
    assert_eq!(kind(&server, &before, "tally_0.2.1"), "binary");
    assert_eq!(kind(&server, "latest", "greeting_1.0.0"), "binary", "the binary of another package");
    let index = |snapshot: &str| {
        get(&server, &format!("/prod/{snapshot}/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES"), None)
            .text()
    };
    let record =
        |text: String| text.split("\n\n").find(|record| record.contains("Package: tally")).map(str::to_owned);
    assert!(!record(index("latest")).expect("listed").contains("Built:"));
    assert!(record(index(&before)).expect("listed").contains("Built:"));

    let error = server.refused(&line(&format!("{r}-noble")));
    assert_eq!(
        error,
        format!(
            "the source 'team' has no binary of tally 0.2.1 for {r}-noble; it has binaries for {r}-bookworm/x86_64"
        )
    );
    add(&server, &[&tally], "noble");
    assert_eq!(kind(&server, "latest", "tally_0.2.1"), "binary", "added again");
}

#[test]
fn a_binary_for_any_architecture_is_removed_with_the_platform_of_one() {
    let server = Server::start();
    let [greeting, ..] = server.team_with_examples();
    add(&server, &[&greeting], "noble");
    let r = binary::r_version();
    let line =
        format!("remove binary --source=team --name=greeting --version=1.0.0 --platform={r}-noble-arm64");
    assert_eq!(
        server.rspm_stdout(&line),
        format!("Removed greeting 1.0.0 for {r}-noble-arm64 (any architecture) from source 'team'\n")
    );
    assert_eq!(kind(&server, "latest", "greeting_1.0.0"), "source");
}

#[test]
fn a_replaced_binary_is_removed_together_with_its_replacement() {
    let server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    add(&server, &[&tally], "noble");
    let r = binary::r_version();
    let packed = server.dir().join(tally.binary.file_name().expect("a name"));
    binary::repack(&tally.binary, &packed);
    let line = format!("add binary --source=team --path={} --distribution=noble --replace", packed.display());
    assert_eq!(server.json(&line)["packages"][0]["outcome"], "replaced");
    let removed = server
        .json(&format!("remove binary --source=team --name=tally --version=0.2.1 --platform={r}-noble"));
    assert_eq!(removed["binaries"].as_array().map(Vec::len), Some(2), "{removed}");
    assert_eq!(kind(&server, "latest", "tally_0.2.1"), "source");
}

#[test]
fn an_impossible_removal_is_refused_with_the_remedy() {
    let server = Server::start();
    server.team_with_examples();
    let r = binary::r_version();
    let assert_refused = |line: &str, expected: &str| {
        let error = server.refused(&format!("remove binary {line}"));
        assert!(error.contains(expected), "{line}\n{error}");
    };
    assert_refused(
        "--source=team --name=tally --version=0.2.1 --platform=noble",
        "'noble' is not a platform; expected the form that",
    );
    assert_refused(
        &format!("--source=team --name=tally --version=0.2.1 --platform={r}-nobel"),
        "there is no distribution 'nobel'; did you mean 'noble'?",
    );
    assert_refused(
        &format!("--source=team --name=tally --version=0.2.1 --platform={r}-noble"),
        "it has no binaries of this version",
    );
    assert_refused(
        &format!("--source=team --name=tally --version=9.9 --platform={r}-noble"),
        "has no tally 9.9",
    );
    assert_refused(
        &format!("--source=cran --name=tally --version=0.2.1 --platform={r}-noble"),
        "only local sources",
    );
    assert_refused(
        &format!("--source=none --name=tally --version=0.2.1 --platform={r}-noble"),
        "there is no source 'none'",
    );
}

#[test]
fn files_to_add_can_be_given_in_a_list() {
    let server = Server::start();
    let examples = binary::examples();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    let list = |name: &str, lines: &[String]| {
        let path = server.dir().join(name);
        std::fs::write(&path, lines.join("\n")).expect("written");
        path.display().to_string()
    };
    let path = |path: &std::path::Path| path.display().to_string();
    let sources = list("sources", &examples.iter().map(|e| path(&e.source)).collect::<Vec<_>>());
    let output = server.rspm_stdout(&format!("add --source=team --file-in={sources}"));
    assert_eq!(output.matches("Added package").count(), 3, "{output}");
    let binaries = list(
        "builds",
        &[path(&examples[0].binary), String::new(), format!(" {} ", path(&examples[1].binary))],
    );
    let output =
        server.rspm_stdout(&format!("add binary --source=team --distribution=noble --file-in={binaries}"));
    assert_eq!(output.lines().count(), 2, "{output}");
    let empty = list("empty", &[]);
    let refusal = server.refused(&format!("add --source=team --file-in={empty}"));
    assert!(refusal.contains("names no file; write one path on each line"), "{refusal}");
    assert!(server.refused("add --source=team --file-in=/nowhere/list").contains("/nowhere/list"));
}

#[test]
fn the_list_of_binaries_has_only_versions_that_the_snapshot_has_and_no_rule_blocks() {
    let server = Server::start();
    let [_, tally, _] = binary::examples();
    server.store("team", &Tarball::new("tally", "0.1"));
    server.repository("prod", "team");
    let before = server.json("info --source=team")["last_transaction"]["id"].to_string();
    server.rspm_stdout(&format!("add --source=team --path={}", tally.source.display()));
    add(&server, &[&tally], "noble");
    let builds = |snapshot: &str| {
        let path = format!("/__api__/repos/prod/packages/tally/builds?snapshot={snapshot}");
        server.get(&path).json().as_array().expect("a list").len()
    };
    let page = |snapshot: &str| server.get(&format!("/prod/{snapshot}/web/packages/tally/binaries/")).text();
    assert_eq!((builds("latest"), builds(&before)), (1, 0));
    assert!(page("latest").contains("0.2.1") && !page(&before).contains("0.2.1"), "{}", page(&before));
    server.rspm_stdout("create blocklist-rule --package-name=tally --version=0.2.1");
    assert_eq!(builds("latest"), 0);
    assert!(!page("latest").contains("0.2.1"), "{}", page("latest"));
}
