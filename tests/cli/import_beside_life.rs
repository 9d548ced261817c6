//! `rspm import list` while the server does other things, goes offline or has no space; names that differ in case, and files
//! that a mirror has too.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::import::{Folder, import, on, report};
use crate::support::db;
use crate::support::mirror_dir::MirrorDir;
use crate::support::rerun;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::team::team;

/// The packages that the repository `prod` lists, each with a space.
fn listed(server: &Server) -> String {
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    index.lines().filter_map(|line| line.strip_prefix("Package: ")).map(|name| format!("{name} ")).collect()
}

#[test]
fn two_imports_at_the_same_time_and_uploads_lose_nothing_on_sqlite() {
    two_imports_at_the_same_time_and_uploads_lose_nothing(db::Engine::Sqlite);
}

#[test]
fn two_imports_at_the_same_time_and_uploads_lose_nothing_on_postgres() {
    two_imports_at_the_same_time_and_uploads_lose_nothing(db::Engine::Postgres);
}

fn two_imports_at_the_same_time_and_uploads_lose_nothing(engine: db::Engine) {
    // Two writes of the server.
    const FILES: usize = 600;
    let server = on(engine);
    let folder = Folder::new();
    let at = |number: usize| format!("2024-01-{:02}T00:00:00Z", 1 + number / 30);
    let package = |number: usize| folder.package(Some(&at(number)), &format!("pkg{number}"), "1.0");
    let list = folder.list(&(0..FILES).map(package).collect::<Vec<Value>>());
    let line = format!("import list {} --source=team --commit -o json", list.display());
    let start = || -> Child {
        let mut client = server.rspm_command(&line);
        client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rspm runs")
    };
    let clients = [start(), start()];
    for version in ["1.0", "1.1", "1.2"] {
        server.add("team", &Tarball::new("own", version));
    }
    server.rspm_stdout("remove package --source=team --name=own@1.2");
    let added = clients.map(|client| {
        let output = RspmOutput::from(client.wait_with_output().expect("our own child"));
        assert_eq!(output.code, 0, "{output:?}");
        let report: Value = serde_json::from_str(&output.out).expect("a report");
        report["outcomes"]["added"].as_u64().unwrap_or_default()
    });
    assert_eq!(added.iter().sum::<u64>(), FILES as u64, "{added:?}");
    assert_eq!(report(&server, &list, "--commit").0["outcomes"], json!({ "existing": FILES }));
    assert_eq!(listed(&server).matches(' ').count(), FILES + 1);
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    assert!(index.contains("Package: own\nVersion: 1.1\n"), "{index}");
    let verified = server.rspm("scrub --database");
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn an_offline_server_refuses_an_import_which_is_made_when_it_is_online() {
    let server = team();
    let folder = Folder::new();
    let list = folder.list(&[folder.package(Some("2024-01-10T09:00:00Z"), "alpha", "1.0")]);
    server.rspm_stdout("offline");
    let refusal = import(&server, &list, "--commit");
    assert!(refusal.code == 1 && refusal.err.contains("rspm online"), "{refusal:?}");
    server.rspm_stdout("online");
    assert_eq!(listed(&server), "");
    assert_eq!(report(&server, &list, "--commit").0["outcomes"], json!({ "added": 1 }));
}

#[test]
fn on_a_full_disk_an_import_ends_and_is_continued_when_there_is_space() {
    let Some(disk) = rerun::small_disk() else { return };
    let gcfg = format!("[FileStorage \"packages\"]\nLocation = {}", disk.join("packages").display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.local_repository("prod", &[]);
    let folder = Folder::new();
    let names = ["alpha", "beta"];
    let list = folder.list(&names.map(|name| folder.package(Some("2024-01-10T09:00:00Z"), name, "1.0")));
    std::fs::write(disk.join("filler"), vec![0; 2 << 20]).expect_err("the disk is full");
    let line = format!("import list {} --source=prod --commit", list.display());
    let refusal = server.rspm(&line);
    assert!(
        refusal.code == 1
            && refusal.err.contains("no space left")
            && refusal.err.contains("Run the command again to continue the import"),
        "{refusal:?}"
    );
    assert_eq!(listed(&server), "");
    std::fs::remove_file(disk.join("filler")).expect("removed");
    let output = server.rspm(&line);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(listed(&server), "alpha beta ");
}

#[test]
fn names_that_differ_in_case_and_files_of_a_mirror_are_reported() {
    let folder = Folder::new();
    let mut mirror = MirrorDir::new(folder.path().join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-01-01");
    mirror.write();
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.rspm_stdout("create source --name=team");
    server.sync().expect("a mirror");
    let output = server.rspm(&format!("import from-cran {} --source=team -o json", mirror.root.display()));
    let planned: Value = serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!((&planned["mirrored"], &planned["outcomes"]), (&json!({ "cran": 2 }), &json!({ "added": 2 })));
    let alpha = std::fs::read(mirror.root.join("src/contrib/alpha_1.0.tar.gz")).expect("a file");
    let list = folder.list(&[
        json!({ "op": "add", "file": "alpha_1.0.tar.gz", "size": alpha.len() }),
        json!({ "op": "add", "file": "beta_1.0.tar.gz", "md5": "0".repeat(32) }),
        folder.package(None, "tally", "1.0"),
        folder.package(None, "Tally", "1.0"),
    ]);
    let (planned, code) = report(&server, &list, "");
    assert_eq!((code, &planned["mirrored"]), (0, &json!({ "cran": 1 })), "{planned}");
    let twins = "the names Tally, tally differ in case only: for R they are different packages";
    assert_eq!(planned["warnings"], json!([twins]));
    let text = import(&server, &list, "").out;
    assert!(text.contains("1 of 4 files are those of the source 'cran'"), "{text}");
}

#[test]
fn without_times_a_file_that_was_removed_and_added_again_is_there() {
    let server = team();
    let folder = Folder::new();
    let time = |month: usize| format!("2024-{month:02}-10T09:00:00Z");
    let removal =
        |month: usize| json!({ "op": "remove", "at": time(month), "name": "alpha", "version": "1.0" });
    let changes = [
        folder.package(Some(&time(1)), "alpha", "1.0"),
        removal(2),
        folder.package(Some(&time(3)), "alpha", "1.0"),
        folder.package(Some(&time(3)), "beta", "1.0"),
    ];
    let list = folder.list(&changes);
    let import = |flags: &str| report(&server, &list, flags).0["outcomes"].clone();
    assert_eq!(import("--commit --dates=none"), json!({ "added": 2 }));
    assert_eq!(listed(&server), "alpha beta ");
    assert_eq!(import("--commit --dates=none"), json!({ "existing": 2 }));
    folder.list(&[&changes[..], &[removal(4)]].concat());
    assert_eq!(import("--commit --dates=none"), json!({ "existing": 1, "removed": 1 }));
    assert_eq!(listed(&server), "beta ");
}
