//! `packages/release` and `packages/devel`: their version, when it changes, and their version on a day.

use std::path::Path;

use serde_json::json;

use crate::support::data;
use crate::support::http;
use crate::support::server::{Builder, Server};

/// A server on a mirror in its own directory that carries 3.16 and 3.20, the release; nothing is synced yet.
fn server() -> Server {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/mirror").start();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(data::path("bioc-mirror"))
        .arg(server.dir().join("mirror"))
        .status();
    assert!(copied.expect("cp runs").success());
    server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
    server
}

fn index(server: &Server, path: &str) -> (u16, String) {
    let answer = server.get(&format!("{path}/src/contrib/PACKAGES"));
    (answer.status, answer.text())
}

/// Changes the `config.yaml` of the mirror.
fn declare(root: &Path, change: impl FnOnce(String) -> String) {
    let path = root.join("config.yaml");
    let text = std::fs::read_to_string(&path).expect("it exists");
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(path, change(text)).expect("written");
}

#[test]
fn the_release_is_the_one_of_the_last_sync_and_of_the_day() {
    let server = server();
    let (status, text) = index(&server, "/bioc/packages/release/bioc");
    assert!(
        status == 404 && text.contains("Bioconductor has not been synced yet") && !text.contains("rspm"),
        "{text}"
    );
    assert_eq!(index(&server, "/none/packages/release/bioc").0, 404);
    server.sync_of("bioconductor").expect("a good mirror");
    for snapshot in ["", "/latest", "/2"] {
        for component in ["bioc", "data/annotation", "workflows", "books"] {
            let at =
                |version: &str| index(&server, &format!("/bioc{snapshot}/packages/{version}/{component}"));
            assert_eq!(at("release"), at("3.20"), "{snapshot} {component}");
            assert_eq!(at("release").0, 200, "{snapshot} {component}");
        }
    }
    let path = "/bioc/packages/release/bioc/src/contrib/Biobase_2.66.0.tar.gz";
    let file = server.get(path);
    assert_eq!((file.status, file.header("x-package-type")), (200, Some("source")));
    assert!(file.body == server.get(&path.replace("release", "3.20")).body);
    let head = http::request("HEAD", &server.url(path), &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(server.get(&path.replace("Biobase_2.66.0", "Biobase_2.58.0")).status, 404);
    assert_eq!(index(&server, "/bioc/__linux__/noble/latest/packages/release/bioc").0, 200);
    let (status, text) = index(&server, "/bioc/packages/devel/bioc");
    assert!(status == 404 && text.contains("Bioconductor 3.21/bioc is not on this server"), "{text}");
    assert_eq!(index(&server, "/bioc/packages/release/extra").0, 404, "3.20 has none");

    // By the dates in config.yaml: 3.19 from 2024-05-01, 3.17 from 2023-04-26, 3.16 before.
    for (day, version) in [("2024-06-01", "3.19"), ("2023-05-01", "3.17")] {
        let (status, text) = index(&server, &format!("/bioc/{day}/packages/release/bioc"));
        assert!(status == 404 && text.contains(&format!("Bioconductor {version}/bioc")), "{day}: {text}");
    }
    let (status, text) = index(&server, "/bioc/2023-01-01/packages/release/bioc");
    assert!(status == 404 && text.contains("its history starts at 2023-04-26"), "{text}");
    let devel = index(&server, "/bioc/2024-06-01/packages/devel/bioc");
    assert_eq!(devel.0, 404, "3.20 was devel then, and was not synced: {}", devel.1);
    assert!(devel.1.contains("no snapshot of this repository is as old as 2024-06-01"), "{}", devel.1);
    assert_eq!(index(&server, "/bioc/999/packages/release/bioc").0, 404);
    server.call("POST", "/repos", &json!({ "name": "plain" }));
    assert_eq!(index(&server, "/plain/packages/release/bioc").0, 404);
}

#[test]
fn a_new_release_changes_the_version_of_the_name_with_the_next_sync() {
    let server = server();
    server.sync_of("bioconductor").expect("a good mirror");
    let root = server.dir().join("mirror");
    let release = || index(&server, "/bioc/packages/release/bioc").1;
    assert!(release().contains("Version: 2.66.0\n"), "{}", release());
    // Declares 3.16 as the release: only config.yaml decides which version the name means.
    declare(&root, |text| {
        let text = text.replace("release_version: \"3.20\"", "release_version: \"3.16\"");
        text.replace("devel_version: \"3.21\"", "devel_version: \"3.20\"")
    });
    assert!(release().contains("Version: 2.66.0\n"), "nothing was synced yet");
    server.sync_of("bioconductor").expect("a good mirror");
    assert!(release().contains("Version: 2.58.0\n"), "{}", release());
    assert!(index(&server, "/bioc/packages/devel/bioc").1.contains("Version: 2.66.0\n"));
}

#[test]
fn one_version_is_synced_by_its_name() {
    let server = server();
    let job = server.json("sync --type=Bioconductor --version=release");
    assert_eq!((&job["key"], &job["status"]), (&json!("sync:bioconductor:release"), &json!("done")), "{job}");
    let message = job["message"].as_str().expect("a message");
    assert!(message.contains("Bioconductor 3.20 was synced") && !message.contains("3.16"), "{message}");
    let again = server.json("sync --type=bioconductor --version=3.20");
    assert_eq!(again["message"], "Bioconductor 3.20 is up to date; nothing changed");
    let output = server.rspm("sync --type=bioconductor --version=devel");
    assert!(
        output.code == 1 && output.err.contains("Bioconductor 3.21 is in the config.yaml"),
        "{}",
        output.err
    );
    let output = server.rspm("sync --type=bioconductor --version=newest");
    assert!(output.code == 1 && output.err.contains("such as 3.20, or release or devel"), "{}", output.err);
    let output = server.rspm("sync --type=cran --version=release");
    assert!(output.code == 1 && output.err.contains("--type=bioconductor"), "{}", output.err);
}
