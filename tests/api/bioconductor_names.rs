//! `packages/release` and `packages/devel`: their version, when it changes, and their version on a day.

use std::path::Path;

use serde_json::json;

use crate::support::data;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::today::stable_today;

/// A server with a copy of the mirror in its directory, which has 3.16 and 3.20, the release. Nothing is synced yet.
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
    server.sync_of("bioconductor").expect("a valid mirror");
    for snapshot in ["", "/latest", "/2"] {
        for component in ["bioc", "data/annotation", "workflows", "books"] {
            let at =
                |version: &str| index(&server, &format!("/bioc{snapshot}/packages/{version}/{component}"));
            assert_eq!(at("release"), at("3.20"), "{snapshot} {component}");
            assert_eq!(at("release").0, 200, "{snapshot} {component}");
        }
    }
    let path = format!("/bioc/{}", data::bioconductor_file("3.20", "Biobase")).replace("3.20", "release");
    let file = server.get(&path);
    assert_eq!((file.status, file.header("x-package-type")), (200, Some("source")));
    assert!(file.body == server.get(&path.replace("release", "3.20")).body);
    let head = http::request("HEAD", &server.url(&path), &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let [new, old] = ["3.20", "3.16"].map(|version| data::bioconductor_version(version, "Biobase"));
    assert_eq!(server.get(&path.replace(&new, &old)).status, 404);
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
fn a_new_release_changes_the_version_of_the_name_with_the_next_sync_and_older_days_keep_theirs() {
    let today = stable_today();
    let server = server();
    let root = server.dir().join("mirror");
    let at = |snapshot: &str, name: &str| index(&server, &format!("/bioc{snapshot}/packages/{name}/bioc"));
    let release_day = today.checked_add(jiff::Span::new().days(2)).expect("a date");
    // Only config.yaml decides which version a name means: 3.16 and 3.20 are successive versions, and 3.20 becomes the
    // release in two days.
    let set_versions = |release: &str, devel: &str| {
        declare(&root, |text| {
            let lines =
                text.lines().filter_map(|line| match line.trim().split_once(": ").unwrap_or((line, "")) {
                    ("\"3.17\"" | "\"3.18\"" | "\"3.19\"", _) => None,
                    ("\"3.20\"", date) if date.contains('/') => {
                        Some(format!("  \"3.20\": \"{}\"\n", release_day.strftime("%-m/%-d/%Y")))
                    }
                    ("release_version", _) => Some(format!("release_version: \"{release}\"\n")),
                    ("devel_version", _) => Some(format!("devel_version: \"{devel}\"\n")),
                    _ => Some(format!("{line}\n")),
                });
            lines.collect()
        });
    };
    set_versions("3.16", "3.20");
    server.sync_of("bioconductor").expect("a valid mirror");
    let (old, new) = (at("", "3.16"), at("", "3.20"));
    assert!(old.0 == 200 && new.0 == 200 && old != new, "{old:?} {new:?}");
    assert_eq!((at("", "release"), at("", "devel")), (old.clone(), new.clone()));

    let transactions = server.get("/__api__/sources/bioconductor/transactions").json();
    let ids = transactions.as_array().expect("a list").iter().filter_map(|row| row["id"].as_i64());
    let number = ids.max().unwrap_or_else(|| panic!("{transactions}"));
    set_versions("3.20", "3.21");
    assert_eq!(at("", "release"), old, "nothing was synced yet");
    server.sync_of("bioconductor").expect("a valid mirror");
    for snapshot in ["", "/latest"] {
        assert_eq!(at(snapshot, "release"), new, "{snapshot}");
        assert_eq!(at(snapshot, "devel").0, 404, "{snapshot}: 3.21 is not on the mirror");
    }
    for snapshot in [format!("/{today}"), format!("/{number}")] {
        assert_eq!(at(&snapshot, "release"), old, "{snapshot} is before the release of 3.20");
        assert_eq!(at(&snapshot, "devel"), new, "{snapshot}");
    }
}

#[test]
fn one_version_is_synced_by_its_name() {
    let server = server();
    let job = server.json("sync --type=Bioconductor --version=release");
    assert_eq!((&job["key"], &job["status"]), (&json!("sync:bioconductor:release"), &json!("done")), "{job}");
    let message = job["message"].as_str().expect("a message");
    assert!(message.contains("Bioconductor 3.20 was synced") && !message.contains("3.16"), "{message}");
    let second_sync = server.json("sync --type=bioconductor --version=3.20");
    assert_eq!(second_sync["message"], "Bioconductor 3.20 is up to date; nothing changed");
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
