//! `rspm import list` while the server does other things, goes offline or has no space; names that differ in case, and files
//! that a mirror has too.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::import::{Folder, import, on, report};
use crate::support::db;
use crate::support::http;
use crate::support::mirror_dir::MirrorDir;
use crate::support::rerun;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::team::team;
use base::model::digest::Sha256;

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
fn an_upload_that_is_not_the_file_of_its_change_is_refused() {
    let server = on(db::Engine::Sqlite);
    let upload = |name: &str| {
        let package = Tarball::new(name, "1.0");
        let target = format!("/__api__/admin/v1/uploads?file={}", package.file());
        let upload = http::admin(&server.admin_socket(), "POST", &target, &package.bytes()).json();
        let sha256 = Sha256::of(package.bytes()).to_string();
        (json!({ "op": "add", "file": package.file(), "sha256": sha256 }), upload["id"].clone())
    };
    let ((one, one_id), (two, two_id)) = (upload("one"), upload("two"));
    let import = |ids: [&Value; 2]| {
        let changes = json!([{ "event": one, "upload": ids[0] }, { "event": two, "upload": ids[1] }]);
        server.admin("POST", "/sources/team/packages", &json!({ "changes": changes }))
    };
    let refused = import([&two_id, &one_id]);
    let text = refused.text();
    assert!(
        refused.status == 400 && text.contains("the upload of one_1.0.tar.gz has the SHA-256 "),
        "{text}"
    );
    assert_eq!(listed(&server), "");
    assert_eq!(import([&one_id, &two_id]).status, 200);
    assert_eq!(listed(&server), "one two ");
}

#[test]
fn the_server_checks_the_texts_of_a_change_and_makes_one_of_the_future_now() {
    let server = on(db::Engine::Sqlite);
    let import = |event: &Value| {
        let changes = json!([{ "event": event }]);
        server.admin("POST", "/sources/team/packages", &json!({ "changes": changes, "dry_run": true }))
    };
    for (key, value) in
        [("note", "a\nb".to_owned()), ("exact", "\u{1b}[2J".to_owned()), ("note", "x".repeat(501))]
    {
        let refused = import(&json!({ "op": "add", "file": "one_1.0.tar.gz", key: value }));
        let reason = format!("change 1: '{key}' is not one line of at most 500 bytes");
        assert!(refused.status == 400 && refused.text().contains(&reason), "{}", refused.text());
    }
    let future = import(&json!({ "op": "add", "at": "2999-01-01T00:00:00Z", "file": "one_1.0.tar.gz" }));
    assert_eq!((future.status, &future.json()["changes"][0]["outcome"]), (200, &json!("added")));
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
    assert!(refusal.out.ends_with("The import ended before its last change\n"), "{refusal:?}");
    let report: Value = serde_json::from_str(&server.rspm(&format!("{line} -o json")).out).expect("a report");
    assert_eq!((&report["committed"], &report["incomplete"]), (&json!(false), &json!(true)), "{report}");
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
    let [alpha, _] = ["alpha_1.0.tar.gz", "beta_1.0.tar.gz"].map(|name| {
        std::fs::copy(mirror.root.join("src/contrib").join(name), folder.path().join(name)).expect("copied")
    });
    let list = folder.list(&[
        json!({ "op": "add", "file": "alpha_1.0.tar.gz", "size": alpha }),
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

#[test]
fn a_removal_without_a_time_follows_an_addition_with_one() {
    let server = team();
    let folder = Folder::new();
    let list = folder.list(&[
        folder.package(Some("2024-01-10T09:00:00Z"), "alpha", "1.0"),
        json!({ "op": "remove", "name": "alpha", "version": "1.0" }),
    ]);
    let import = || report(&server, &list, "--commit").0["outcomes"].clone();
    assert_eq!(import(), json!({ "added": 1, "removed": 1 }));
    assert_eq!(listed(&server), "");
    assert_eq!(import(), json!({ "existing": 2 }));
}

#[test]
fn a_file_that_is_added_late_is_removed_with_its_package() {
    let server = team();
    let folder = Folder::new();
    let time = |month: usize| format!("2024-{month:02}-10T09:00:00Z");
    let changes = [
        folder.package(Some(&time(1)), "alpha", "1.0"),
        folder.package(Some(&time(2)), "alpha", "1.1"),
        json!({ "op": "remove", "at": time(3), "name": "alpha" }),
        folder.package(Some(&time(4)), "beta", "1.0"),
    ];
    let list = folder.list(&changes);
    let late = folder.path().join("alpha_1.1.tar.gz");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&late, &elsewhere).expect("moved");
    let import = || report(&server, &list, "--commit").0["outcomes"].clone();
    assert_eq!(import(), json!({ "added": 2, "refused": 1, "removed": 1 }));
    std::fs::rename(&elsewhere, &late).expect("moved");
    assert_eq!(import(), json!({ "added": 1, "existing": 2, "removed": 1 }));
    assert_eq!(listed(&server), "beta ");
    assert_eq!(import(), json!({ "existing": 4 }));
}

#[test]
fn changes_of_a_file_at_one_instant_are_different_changes() {
    let server = on(db::Engine::Sqlite);
    let folder = Folder::new();
    let (old, new) = ("2024-01-01T00:00:00Z", "2024-01-04T00:00:00Z");
    let add = |op: &str, at: &str, package: &str, title: &str| {
        let tarball =
            Tarball::new(package, "1.0").field(&format!("Title: {title}")).field("Repository: RSPM");
        let mut change = folder.file(Some(at), &tarball.file(), &tarball.bytes());
        let name = format!("{package}-{title}");
        std::fs::rename(folder.path().join(tarball.file()), folder.path().join(&name)).expect("renamed");
        (change["op"], change["from"]) = (op.into(), name.into());
        change
    };
    let removal = json!({ "op": "remove", "at": new, "name": "alpha", "version": "1.0" });
    let changes = [
        add("add", old, "alpha", "one"),
        add("add", old, "beta", "one"),
        removal.clone(),
        add("add", new, "alpha", "two"),
        removal,
        add("replace", new, "beta", "two"),
        add("replace", new, "beta", "one"),
    ];
    for length in [4, 6, 7, 7] {
        let (done, code) = report(&server, &folder.list(&changes[..length]), "--commit --change-past-days");
        assert_eq!(code, 0, "{length}: {done}");
    }
    let (again, _) = report(&server, &folder.list(&changes), "");
    assert_eq!(again["outcomes"], json!({ "existing": 7 }));
    assert_eq!(listed(&server), "beta ");
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    let beta = std::fs::read(folder.path().join("beta-one")).expect("a file");
    let served = server.get("/prod/latest/src/contrib/beta_1.0.tar.gz");
    assert_eq!(served.body, beta, "{index}");
}

#[test]
fn a_removal_of_all_versions_without_times_is_made_once() {
    let server = team();
    let folder = Folder::new();
    let removal = json!({ "op": "remove", "name": "alpha" });
    server.add("team", &Tarball::new("alpha", "0.9"));
    let changes = [
        folder.package(None, "alpha", "1.0"),
        folder.package(None, "alpha", "1.1"),
        removal.clone(),
        folder.package(None, "alpha", "1.1"),
    ];
    let import = |changes: &[Value]| report(&server, &folder.list(changes), "--commit").0["outcomes"].clone();
    assert_eq!(import(&changes), json!({ "added": 1, "removed": 1 }));
    assert_eq!(import(&changes), json!({ "existing": 2 }));
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    assert!(index.contains("Package: alpha\nVersion: 1.1\n"), "{index}");
    let archived = server.get("/prod/latest/src/contrib/Archive/alpha/alpha_0.9.tar.gz");
    assert_eq!(archived.status, 404, "all versions were removed");
    let ended = [&changes[..], &[removal]].concat();
    for outcome in ["removed", "existing"] {
        let outcomes = import(&ended);
        assert!(outcomes[outcome].as_u64() >= Some(1), "{outcomes}");
        assert_eq!(listed(&server), "");
    }
}

#[test]
fn the_report_of_a_list_from_standard_input_is_in_its_order_and_names_files_of_another_language() {
    let server = team();
    let folder = Folder::new();
    let mut missing = folder.package(None, "missing", "1.0");
    missing["from"] = "nowhere".into();
    let lines = [
        missing,
        json!({ "op": "add", "file": "acme-1.0-py3-none-any.whl" }),
        json!({ "op": "yank", "file": "acme-1.0-py3-none-any.whl", "reason": "broken" }),
        json!({ "op": "remove", "name": "nothing", "version": "1.0" }),
        folder.package(None, "alpha", "1.0"),
    ];
    let list = folder.list(&lines);
    let input = |flags: &str| {
        let mut command = server.rspm_command(&format!("import list - --source=team {flags}"));
        command.current_dir(folder.path()).stdin(std::fs::File::open(&list).expect("a list"));
        RspmOutput::from(command.output().expect("rspm runs"))
    };
    let planned = input("");
    assert_eq!(planned.code, 1, "{planned:?}");
    assert!(planned.out.starts_with("The list has 3 files ("), "{planned:?}");
    assert!(planned.out.contains(" bytes), 1 removal, 1 yank\n"), "{planned:?}");
    let wheel = "acme-1.0-py3-none-any.whl: 'acme-1.0-py3-none-any.whl' is a Python package; the source 'team' is of type local";
    for line in [2, 3] {
        assert!(planned.out.contains(&format!("Refused, line {line}: {wheel}")), "{planned:?}");
    }
    let done = input("--commit -o json");
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e}: {done:?}"));
    let refused: Vec<_> =
        report["refused"].as_array().expect("a list").iter().map(|row| row["line"].as_u64()).collect();
    assert_eq!(refused, [1, 2, 3].map(Some), "{report}");
    assert_eq!(report["outcomes"]["added"], 1, "{report}");
    assert_eq!(listed(&server), "alpha ");
}

#[test]
fn files_of_a_server_with_a_password_are_imported_from_the_origin_and_from_its_kept_list() {
    let origin = Server::start();
    origin.local_repository("priv", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    origin.rspm_stdout("edit repo --name=priv --authenticated");
    let token = origin.rspm_stdout("create token --description=ci --scope=repos:read --repos=priv --quiet");
    let address = origin.url("/priv/latest").replace("://", &format!("://__token__:{}@", token.trim()));
    let server = team();
    let folder = Folder::new();
    let kept = folder.path().join("kept.ndjson");
    let planned =
        server.rspm(&format!("import from-cran {address} --source=team --list-out={}", kept.display()));
    assert_eq!(planned.code, 0, "{planned:?}");
    let text = std::fs::read_to_string(&kept).expect("a list");
    assert!(text.lines().count() == 2 && !text.contains(token.trim()), "{text}");
    std::fs::write(&kept, text.lines().next().expect("a line")).expect("written");
    let refused = import(&server, &kept, &format!("--commit --origin={}", origin.url("/priv/latest")));
    assert!(refused.code == 1 && refused.out.contains("401 Unauthorized"), "{refused:?}");
    let done = import(&server, &kept, &format!("--commit --origin={address}"));
    assert!(done.code == 0 && !done.out.contains(token.trim()), "{done:?}");
    assert_eq!(listed(&server), "alpha ");
    let done = server.rspm(&format!("import from-cran {address} --source=team --commit"));
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(listed(&server), "alpha beta ");
}
