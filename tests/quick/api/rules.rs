//! The sources of the rules for system requirements; a bad download changes nothing.

use serde_json::json;

use crate::support::downloader::tree;
use crate::support::fixtures;
use crate::support::mirror::Mirror;
use crate::support::rules::{archive, folder};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use rstudio_pm::r::rds::matrix::write_matrix;

const QUERY: &str = "/__api__/repos/team/sysreqs?all=true&distribution=ubuntu&release=22.04";

fn add_package(server: &Server) {
    server
        .local_repository("team", &[Tarball::new("first", "1.0").field("SystemRequirements: zlib and gmp")]);
}

/// The system packages that the only R package requires.
fn required_packages(server: &Server) -> String {
    let answer = server.get(QUERY).json();
    let packages =
        answer["requirements"][0]["requirements"]["packages"].as_array().cloned().unwrap_or_default();
    packages.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn server_over_http(mirror: &Mirror, file: &str) -> Server {
    let gcfg = format!("[SystemRequirements]\nURL = {}/base/{file}", mirror.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    add_package(&server);
    server
}

#[test]
fn without_rules_the_answer_names_the_command() {
    let server = Server::start();
    add_package(&server);
    let answer = server.get(QUERY);
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(8)));
    assert!(answer.text().contains("rspm sync --type=sysreqs") && answer.header("retry-after").is_some());
    assert_eq!(
        server.get(&QUERY.replace("ubuntu", "plan9")).json()["code"],
        14,
        "an unknown system is known without rules"
    );
    // `CRAN.URL` is a directory: the rules are read from its folder `sysreqs`, which is missing.
    let message = server.sync_of("SysReqs").expect_err("no rules");
    assert!(message.contains("no-mirror/sysreqs"), "{message}");
    assert_eq!(server.job_alerts()[0]["name"], "sync:sysreqs");
    folder(&server.dir().join("no-mirror/sysreqs"), &["zlib"]);
    assert!(
        server.sync_of("sysreqs").expect("rules").starts_with("1 rule for system requirements is in use")
    );
    assert_eq!(required_packages(&server), "zlib");
    assert_eq!(server.job_alerts(), json!([]));
}

#[test]
fn an_archive_is_fetched_once_and_then_revalidated() {
    let mirror = Mirror::start();
    mirror.put("base/main.tar.gz", archive(&["zlib"]));
    let server = server_over_http(&mirror, "main.tar.gz");
    server.sync_of("sysreqs").expect("an archive");
    assert_eq!(required_packages(&server), "zlib");
    assert!(
        server
            .sync_of("sysreqs")
            .expect("unchanged rules")
            .contains("the 1 rule for system requirements is up to date")
    );
    assert_eq!(mirror.requests("base/main.tar.gz").len(), 2);
    mirror.put("base/main.tar.gz", archive(&["zlib", "gmp"]));
    assert!(server.sync_of("sysreqs").expect("changed rules").contains("2 rules"));
    assert_eq!(required_packages(&server), "gmp zlib");
}

#[test]
fn a_single_document_is_accepted_compressed_or_not() {
    let document = r#"{"rules":{"zlib":{"patterns":["zlib"],"dependencies":[{"packages":["zlib1g-dev"],
        "constraints":[{"os":"linux","distribution":"ubuntu"}]}]}},"systems":[{"os":"linux"}],"source_commit":"61f1"}"#;
    let mirror = Mirror::start();
    mirror.put("base/rules.json", document);
    mirror.put("base/rules.json.zst", zstd::encode_all(document.as_bytes(), 3).expect("compressed"));
    for file in ["rules.json", "rules.json.zst"] {
        let server = server_over_http(&mirror, file);
        server.sync_of("sysreqs").expect(file);
        assert_eq!(required_packages(&server), "zlib1g-dev", "{file}");
    }
}

#[test]
fn unusable_rules_change_nothing() {
    let mirror = Mirror::start();
    let rules_archive = archive(&["zlib", "gmp"]);
    mirror.put("base/main.tar.gz", rules_archive.clone());
    let server = server_over_http(&mirror, "main.tar.gz");
    server.sync_of("sysreqs").expect("an archive");
    let before = server.get(QUERY).json();
    for (what, bytes) in [
        ("a page", b"<!doctype html><title>Sign in</title>".to_vec()),
        ("nothing", Vec::new()),
        ("half an archive", rules_archive[..rules_archive.len() / 2].to_vec()),
        ("an archive of something else", Tarball::new("other", "1").bytes()),
    ] {
        mirror.put("base/main.tar.gz", bytes);
        let message = server.sync_of("sysreqs").expect_err(what);
        assert!(message.contains(&mirror.url()), "{what}: {message}");
        assert_eq!(server.get(QUERY).json(), before, "{what}");
    }
    mirror.remove("base/main.tar.gz");
    assert!(server.sync_of("sysreqs").expect_err("the file is missing").contains("is not on the mirror"));
    assert_eq!(server.get(QUERY).json(), before);
}

#[test]
fn rules_survive_a_restart() {
    let mut server = Builder::default().gcfg("[SystemRequirements]\nURL = file://{dir}/rules").start();
    add_package(&server);
    folder(&server.dir().join("rules"), &["zlib"]);
    server.sync_of("sysreqs").expect("a folder");
    std::fs::remove_dir_all(server.dir().join("rules")).expect("removed");
    server.restart();
    assert_eq!(required_packages(&server), "zlib", "from storage");
    // Damage and loss of the stored rules are reported and do not prevent the start.
    let directory = server.dir().join("data/persistent/sysreqs");
    assert!(directory.is_dir());
    server.stop();
    for file in tree(&directory).into_keys() {
        let path = directory.join(file);
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes.push(b' ');
        std::fs::write(&path, bytes).expect("written");
    }
    server.launch();
    assert_eq!(server.get(QUERY).status, 503);
    server.wait_for_log("is damaged");
    server.stop();
    std::fs::remove_dir_all(&directory).expect("removed");
    server.launch();
    assert_eq!(server.get(QUERY).status, 503);
    server.wait_for_log("rspm sync --type=sysreqs");
}

#[test]
fn rspm_syncs_the_rules() {
    let server = Builder::default().gcfg("[SystemRequirements]\nURL = file://{dir}/rules").start();
    folder(&server.dir().join("rules"), &["zlib", "gmp"]);
    let job = server.json("sync --type=sysreqs");
    assert_eq!((&job["key"], &job["status"]), (&json!("sync:sysreqs"), &json!("done")), "{job}");
    assert!(server.json("sync --type=sysreqs")["message"].as_str().unwrap().contains("up to date"));
    let message = server.refused("sync --type=sysreq");
    assert!(
        message.contains("'sysreq' is not a source type") && message.contains("; and sysreqs, "),
        "{message}"
    );
}

#[test]
fn the_package_database_of_the_mirror_adds_what_its_index_lacks() {
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").start();
    let root = server.dir().join("mirror");
    fixtures::create_mirror(&root);
    folder(&root.join("sysreqs"), &["zlib"]);
    server.sync().expect("a mirror");
    server.repository("team", "cran");
    assert_eq!(server.get("/__api__/repos/team/packages/alpha").json()["title"], json!(null));
    let message = server.sync_of("sysreqs").expect("no database");
    assert!(
        message.contains("/mirror/web/packages/packages.rds: requirements of")
            && message.ends_with("; 1 package has not been fetched yet"),
        "{message}"
    );
    assert_eq!(server.get(QUERY).json()["requirements"], json!([]));

    let fields = ["Package", "Version", "Title", "Maintainer", "SystemRequirements"];
    let rows = [
        "Package: alpha\nVersion: 1.0\nTitle: The First\nMaintainer: Zoë <z@example.org>\nSystemRequirements: zlib (>= 1)\n",
        "Package: other\nVersion: 1.0\nTitle: Not There\n",
    ];
    let mut table = Vec::new();
    write_matrix(&mut table, &fields, &rows).expect("a Vec takes it");
    std::fs::create_dir_all(root.join("web/packages")).expect("a directory");
    std::fs::write(root.join("web/packages/packages.rds"), table).expect("written");
    let message = server.sync_of("sysreqs").expect("a database");
    assert!(message.contains("stored the descriptions of 1 package of cran"), "{message}");
    let alpha = server.get("/__api__/repos/team/packages/alpha").json();
    assert_eq!((&alpha["title"], &alpha["maintainer"]), (&json!("The First"), &json!("Zoë <z@example.org>")));
    assert_eq!(alpha["system_requirements"], "zlib (>= 1)");
    assert_eq!(server.get("/__api__/repos/team/packages").json()[0]["title"], "The First");
    assert_eq!(required_packages(&server), "zlib", "also of a state that was requested before");
    let message = server.sync_of("sysreqs").expect("again");
    assert!(!message.contains("descriptions"), "descriptions are stored once: {message}");
    let index = server.get("/team/latest/src/contrib/PACKAGES").text();
    assert!(!index.contains("SystemRequirements"), "the index is still that of the mirror: {index}");
}
