//! `rspm import list`: the report, what is refused with which reason, an import with its past days, repetition after kills.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rstudio_pm::model::digest::Sha256;
use serde_json::{Value, json};

use crate::support::listener::Listener;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::team::team;
use crate::support::{db, kills, python};

/// A folder for a list and its files.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and returns the change that adds it.
    pub(super) fn file(&self, at: Option<&str>, name: &str, bytes: &[u8]) -> Value {
        std::fs::write(self.path().join(name), bytes).expect("written");
        let mut change = json!({ "op": "add", "file": name, "sha256": Sha256::of(bytes).to_string(), "size": bytes.len() });
        if let Some(at) = at {
            change["at"] = at.into();
            change["exact"] = "commit".into();
        }
        change
    }

    pub(super) fn package(&self, at: Option<&str>, package: &str, version: &str) -> Value {
        let tarball = Tarball::new(package, version);
        self.file(at, &tarball.file(), &tarball.bytes())
    }

    /// Writes a list of changes, one on each line.
    pub(super) fn list(&self, changes: &[Value]) -> PathBuf {
        let path = self.path().join("list.ndjson");
        let lines: String = changes.iter().fold(String::new(), |mut lines, change| {
            writeln!(lines, "{change}").expect("a String");
            lines
        });
        std::fs::write(&path, lines).expect("written");
        path
    }
}

pub(super) fn import(server: &Server, list: &Path, flags: &str) -> RspmOutput {
    server.rspm(&format!("import list {} --source=team {flags}", list.display()))
}

/// The report of an import as JSON, and its exit code.
pub(super) fn report(server: &Server, list: &Path, flags: &str) -> (Value, i32) {
    let output = import(server, list, &format!("{flags} -o json"));
    let report = serde_json::from_str(&output.out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (report, output.code)
}

pub(super) fn on(engine: db::Engine) -> Server {
    let server = Builder::default().gcfg(&db::settings(engine)).start();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    server
}

#[test]
fn a_package_that_comes_back_is_there_whatever_part_of_its_list_was_imported_before() {
    let kept = "--commit --change-past-days";
    for (flags, has_newer_state) in [(kept, false), ("--commit --dates=none", false), (kept, true)] {
        let server = on(db::Engine::Sqlite);
        let folder = Folder::new();
        if has_newer_state {
            let newer = folder.package(None, "newer", "1.0.0");
            let file = folder.path().join(newer["file"].as_str().expect("a name"));
            server.rspm_stdout(&format!("add --source=team --path={}", file.display()));
        }
        let changes = [
            folder.package(Some("2024-01-01T00:00:00Z"), "tally", "1.0.0"),
            json!({ "op": "remove", "at": "2024-01-04T00:00:00Z", "name": "tally", "version": "1.0.0" }),
            folder.package(Some("2024-01-07T00:00:00Z"), "tally", "1.0.0"),
        ];
        for length in [1, 2, 2, 1, 2, 3, 3] {
            let (done, code) = report(&server, &folder.list(&changes[..length]), flags);
            assert_eq!(code, 0, "{flags}: the first {length}: {done}");
            let is_listed =
                server.get("/prod/latest/src/contrib/PACKAGES").text().contains("Package: tally\n");
            let is_repeated = length == 1 && flags == kept;
            assert!(is_listed == (length != 2) || is_repeated, "{flags}: the first {length}");
        }
        let (again, _) = report(&server, &folder.list(&changes), flags);
        let existing = again["outcomes"].as_object().expect("an object");
        assert_eq!(existing.keys().collect::<Vec<_>>(), ["existing"], "{flags}: {again}");
        let lists = |day: &str| {
            server.get(&format!("/prod/{day}/src/contrib/PACKAGES")).text().contains("Package: tally\n")
        };
        assert!(lists("latest"), "{flags}");
        if flags == kept && !has_newer_state {
            assert!(lists("2024-01-03") && !lists("2024-01-05") && lists("2024-01-08"));
        }
    }
}

#[test]
fn a_requested_promotion_is_approved_as_it_was_requested() {
    let server = on(db::Engine::Sqlite);
    let folder = Folder::new();
    let listed = folder.package(None, "tally", "1.0.0");
    server.rspm_stdout(&format!(
        "add --source=team --path={}",
        folder.path().join("tally_1.0.0.tar.gz").display()
    ));
    server.rspm_stdout("create repo --name=live --changes=two-persons");
    server.rspm_stdout("promote --from=prod --to=live");
    let older = folder.package(Some("2024-01-01T00:00:00Z"), "evil", "1.0.0");
    let list = folder.list(&[older, listed]);
    let refused = import(&server, &list, "--commit --change-past-days");
    assert!(
        refused.code == 1 && refused.err.contains("is requested with a state that would change"),
        "{refused:?}"
    );
    let (done, code) = report(&server, &list, "--commit --dates=none");
    assert_eq!((code, &done["outcomes"]), (0, &json!({ "added": 1, "existing": 1 })), "{done}");
}

#[test]
fn past_days_are_those_of_the_other_server_on_sqlite() {
    past_days_are_those_of_the_other_server(db::Engine::Sqlite);
}

#[test]
fn past_days_are_those_of_the_other_server_on_postgres() {
    past_days_are_those_of_the_other_server(db::Engine::Postgres);
}

fn past_days_are_those_of_the_other_server(engine: db::Engine) {
    let server = on(engine);
    let folder = Folder::new();
    let changes = [
        folder.package(Some("2024-01-10T09:00:00Z"), "greeting", "1.0.0"),
        folder.package(Some("2024-02-11T04:30:00Z"), "tally", "0.2.1"),
        folder.package(Some("2024-03-10T09:00:00Z"), "greeting", "1.1.0"),
        json!({ "op": "remove", "at": "2024-05-10T09:00:00Z", "name": "tally", "version": "0.2.1" }),
        json!({ "op": "lost", "what": "the documentation of tally", "why": "not a package" }),
    ];
    let list = folder.list(&changes);
    let (planned, code) = report(&server, &list, "");
    assert_eq!((code, &planned["committed"]), (0, &json!(false)));
    assert_eq!(planned["outcomes"], json!({ "added": 3, "removed": 1 }));
    assert_eq!(planned["list"]["evidence"], json!({ "commit": 3, "not named": 1 }));
    assert_eq!(
        (&planned["list"]["first"], &planned["list"]["last"]),
        (&json!("2024-01-10"), &json!("2024-05-10"))
    );
    assert_eq!(server.get("/prod/2024-03-10/src/contrib/PACKAGES").status, 404, "nothing was changed");
    let text = import(&server, &list, "").out;
    assert!(text.contains("Lost: the documentation of tally: not a package\n"), "{text}");
    assert!(text.ends_with("Nothing was changed; import it with --commit\n"), "{text}");

    let (done, code) = report(&server, &list, "--commit");
    assert_eq!((code, &done["outcomes"]), (0, &planned["outcomes"]), "{done}");
    let listed = |day: &str| {
        let answer = server.get(&format!("/prod/{day}/src/contrib/PACKAGES"));
        let text = answer.text();
        let fields = text
            .lines()
            .filter_map(|line| line.strip_prefix("Package: ").or_else(|| line.strip_prefix("Version: ")));
        (answer.status, fields.collect::<Vec<_>>().join(" "))
    };
    for (day, packages) in [
        ("2024-01-10", "greeting 1.0.0"),
        ("2024-02-11", "greeting 1.0.0 tally 0.2.1"),
        ("2024-05-09", "greeting 1.1.0 tally 0.2.1"),
        ("2024-05-10", "greeting 1.1.0"),
        ("latest", "greeting 1.1.0"),
    ] {
        assert_eq!(listed(day), (200, packages.to_owned()), "{day}");
    }
    assert_eq!(listed("2024-01-09").0, 404);
    let archived = "/prod/2024-06-01/src/contrib/Archive/greeting/greeting_1.0.0.tar.gz";
    let file = server.get(archived);
    assert_eq!((file.status, file.header("last-modified")), (200, Some("Wed, 10 Jan 2024 09:00:00 GMT")));
    let (again, code) = report(&server, &list, "--commit");
    assert_eq!((code, &again["outcomes"]), (0, &json!({ "existing": 4 })));
    let verified = server.rspm("scrub --database");
    assert_eq!(verified.code, 0, "{verified:?}");

    // Re-adding the served files changes nothing.
    let served = folder.path().join("greeting_1.1.0.tar.gz");
    std::fs::write(&served, server.get("/prod/latest/src/contrib/greeting_1.1.0.tar.gz").body)
        .expect("written");
    let bytes = std::fs::read(&served).expect("written");
    let moved = folder.list(&[folder.file(Some("2024-03-10T09:00:00Z"), "greeting_1.1.0.tar.gz", &bytes)]);
    assert_eq!(report(&server, &moved, "--commit").0["outcomes"], json!({ "existing": 1 }));

    server.rspm_stdout("create source --name=py --type=local-python");
    server.rspm_stdout("create repo --name=simple --type=python");
    server.rspm_stdout("subscribe --repo=simple --source=py");
    let wheel = |at: &str, version: &str| {
        let package = python::package::Package::new("acme-tools", version);
        folder.file(Some(at), &package.wheel_name(), &package.wheel())
    };
    let first = python::package::Package::new("acme-tools", "1.0").wheel_name();
    let list = folder.list(&[
        wheel("2024-01-10T09:00:00Z", "1.0"),
        wheel("2024-02-10T09:00:00Z", "1.1"),
        json!({ "op": "yank", "at": "2024-03-10T09:00:00Z", "file": first, "reason": "broken" }),
    ]);
    let output = server.rspm(&format!("import list {} --source=py --commit", list.display()));
    assert_eq!(output.code, 0, "{output:?}");
    let page = |day: &str| {
        let headers = [("Accept", "application/vnd.pypi.simple.v1+json")];
        let url = server.url(&format!("/simple/{day}/simple/acme-tools/"));
        crate::support::http::request("GET", &url, &headers, b"").json()
    };
    let early = page("2024-01-31");
    assert_eq!(early["files"].as_array().map(Vec::len), Some(1), "{early}");
    assert!(
        early["files"][0]["upload-time"].as_str().is_some_and(|time| time.starts_with("2024-01-10T09:00:00"))
    );
    assert_eq!(page("2024-02-10")["files"].as_array().map(Vec::len), Some(2));
    let yanks = |day: &str| {
        let page = page(day);
        let files = page["files"].as_array().cloned().unwrap_or_default();
        files.iter().filter(|file| file["yanked"] == "broken").count()
    };
    assert_eq!((yanks("2024-03-09"), yanks("2024-03-10")), (0, 1));
}

#[test]
fn every_problem_of_a_list_has_its_line() {
    let server = team();
    let folder = Folder::new();
    let digest = "0".repeat(64);
    let lines = [
        json!({ "op": "add", "file": "../x_1.0.tar.gz" }),
        json!({ "op": "add", "file": "x_1.0.tar.gz", "from": "../x_1.0.tar.gz" }),
        json!({ "op": "add", "file": "x_1.0.tar.gz", "from": "/etc/passwd" }),
        json!({ "op": "add", "file": "x_1.0.tar.gz", "from": "file:///etc/passwd" }),
        json!({ "op": "add", "file": "x_1.0.tar.gz", "from": "http://169.254.169.254/latest" }),
        json!({ "op": "add", "file": "x_1.0.tar.gz", "from": "https://user:pw@files.example.org/x" }),
        json!({ "op": "add", "file": "x_1.0.tar.gz", "sha256": "12" }),
        json!({ "op": "add", "file": "y_1.0.tar.gz", "sha256": digest, "at": "2024-02-01T00:00:00Z" }),
        json!({ "op": "add", "file": "y_1.0.tar.gz", "sha256": "1".repeat(64) }),
        json!({ "op": "add", "file": "z_1.0.tar.gz", "at": "2024-01-01T00:00:00Z" }),
        json!({ "op": "add", "file": "z_1.0.tar.gz", "at": "yesterday" }),
        json!({ "op": "remove", "name": "z", "file": "z_1.0.tar.gz" }),
        json!({ "op": "delete", "file": "z_1.0.tar.gz" }),
        json!({ "op": "yank", "file": "z_1.0.tar.gz", "becuase": "x" }),
    ];
    let list = folder.list(&lines);
    let error =
        server.refused(&format!("import list {} --source=team --host=files.example.org", list.display()));
    let expected = [
        "'file': '../x_1.0.tar.gz' is not a name",
        "'from': '../x_1.0.tar.gz' is not a path below the folder of the list",
        "'from': '/etc/passwd' is not a path below",
        "'from': file:///etc/passwd is not an address on a host that --host names; write one that begins with http:// or https://",
        "'from': http://169.254.169.254/latest is not an address on a host that --host names",
        "'from': https://user:pw@files.example.org/x is not an address on a host that --host names; write it without a user",
        "'sha256' is not a SHA-256",
        "",
        "the file 'y_1.0.tar.gz' was added in line 8; write \"op\":\"replace\" for other bytes",
        "'at': 2024-01-01T00:00:00Z is before 2024-02-01T00:00:00Z in line 8",
        "'yesterday' is not a time written",
        "a removal has either 'file', or 'name' and 'version'",
        "unknown variant `delete`",
        "unknown field `becuase`",
    ];
    let problems: Vec<&str> = error.lines().collect();
    let numbered = (1..).zip(expected).filter(|(_, text)| !text.is_empty());
    for ((number, text), problem) in numbered.zip(&problems) {
        let place = format!("{}:{number}: ", list.display());
        assert!(problem.starts_with(&place) && problem.contains(text), "{text}: {problem}");
    }
    assert_eq!((problems.len(), problems.last()), (14, Some(&"Nothing was imported")));
}

#[test]
fn a_refused_file_is_named_and_the_others_are_imported() {
    let server = team();
    let folder = Folder::new();
    server.add("team", &Tarball::new("taken", "1.0"));
    let other = Tarball::new("taken", "1.0").field("Title: Other bytes");
    let mut damaged = folder.package(None, "damaged", "1.0");
    damaged["sha256"] = "0".repeat(64).into();
    let mut short = folder.package(None, "short", "1.0");
    short["size"] = 7.into();
    let mut linked = folder.package(None, "linked", "1.0");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).expect("created");
    linked["from"] = "link".into();
    let mut missing = folder.package(None, "missing", "1.0");
    missing["from"] = "nowhere".into();
    let changes = [
        folder.package(None, "alpha", "1.0"),
        folder.file(None, "taken_1.0.tar.gz", &other.bytes()),
        damaged,
        short,
        linked,
        missing,
        folder.file(None, "page_1.0.tar.gz", b"<html>not found</html>"),
        folder.package(None, "omega", "1.0"),
    ];
    let list = folder.list(&changes);
    // The digests and the content are only known when the files are read.
    let (planned, code) = report(&server, &list, "");
    let outcomes = json!({ "added": 4, "differs": 1, "refused": 3 });
    assert_eq!((code, &planned["outcomes"]), (1, &outcomes), "{planned}");
    let (report, code) = report(&server, &list, "--commit");
    assert_eq!((code, &report["outcomes"]), (1, &json!({ "added": 2, "refused": 6 })), "{report}");
    let refused = report["refused"].as_array().expect("a list");
    for (number, subject, reason) in [
        (
            2,
            "taken_1.0.tar.gz",
            "taken 1.0 is in the source 'team' already, with other bytes; write \"op\":\"replace\" in the list",
        ),
        (3, "damaged_1.0.tar.gz", "and 0000"),
        (4, "short_1.0.tar.gz", "and 7 in the list"),
        (5, "linked_1.0.tar.gz", "symbolic links are not followed"),
        (6, "missing_1.0.tar.gz", "nowhere is not in /"),
        (7, "page_1.0.tar.gz", "is refused"),
    ] {
        let found = refused.iter().find(|row| row["line"] == number).unwrap_or_else(|| panic!("{report}"));
        let is_reason = found["reason"].as_str().is_some_and(|text| text.contains(reason));
        assert!(found["subject"] == subject && is_reason, "{found}");
    }
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    for package in ["alpha", "omega", "taken"] {
        assert!(index.contains(&format!("Package: {package}\n")), "{index}");
    }
    assert!(!index.contains("Other bytes"), "{index}");
}

#[test]
fn other_bytes_with_the_time_of_an_earlier_import_are_refused() {
    let server = on(db::Engine::Sqlite);
    let folder = Folder::new();
    let at = "2024-01-10T09:00:00Z";
    let list = |change: &Value| folder.list(std::slice::from_ref(change));
    let mut first = folder.package(Some(at), "alpha", "1.0");
    let flags = "--commit --change-past-days";
    assert_eq!(report(&server, &list(&first), flags).0["outcomes"], json!({ "added": 1 }));
    assert_eq!(report(&server, &list(&first), "").0["outcomes"], json!({ "existing": 1 }));
    first.as_object_mut().expect("a change").remove("sha256");
    assert_eq!(report(&server, &list(&first), "").0["outcomes"], json!({ "existing": 1 }));
    let served = server.get("/prod/latest/src/contrib/alpha_1.0.tar.gz").body;

    let other = Tarball::new("alpha", "1.0").field("Title: Other bytes");
    let mut other = folder.file(Some(at), "alpha_1.0.tar.gz", &other.bytes());
    let with_digest = other.clone();
    other.as_object_mut().expect("a change").remove("sha256");
    for change in [&with_digest, &other] {
        assert_eq!(report(&server, &list(change), "").0["outcomes"], json!({ "differs": 1 }));
        let (refused, code) = report(&server, &list(change), flags);
        assert_eq!((code, &refused["outcomes"]), (1, &json!({ "refused": 1 })), "{refused}");
        assert_eq!(server.get("/prod/latest/src/contrib/alpha_1.0.tar.gz").body, served);
    }
    other["op"] = "replace".into();
    for outcome in ["replaced", "existing"] {
        assert_eq!(report(&server, &list(&other), flags).0["outcomes"], json!({ outcome: 1 }));
    }
    assert_ne!(server.get("/prod/latest/src/contrib/alpha_1.0.tar.gz").body, served);
}

#[test]
fn many_removals_without_times_and_a_byte_order_mark_are_accepted() {
    let server = on(db::Engine::Sqlite);
    let folder = Folder::new();
    let from = |name: &str| format!("http://127.0.0.1:1/{name}");
    for package in ["acme", "acme.part"] {
        let removal =
            |number: usize| json!({ "op": "remove", "name": package, "version": format!("0.{number}") });
        let addition = |number: usize| {
            let file = format!("{package}_1.{number}.tar.gz");
            json!({ "op": "add", "from": from(&file), "file": file })
        };
        let changes: Vec<Value> = (0..500).map(removal).chain((0..700).map(addition)).collect();
        let list = folder.list(&changes);
        let text = std::fs::read_to_string(&list).expect("a list");
        std::fs::write(&list, format!("\u{feff}{text}")).expect("written");
        let (planned, code) = report(&server, &list, "--host=127.0.0.1");
        assert_eq!((code, &planned["outcomes"]), (0, &json!({ "added": 700, "existing": 500 })), "{planned}");
    }
}

/// Answers every request with a redirect to a location.
fn redirect(location: String) -> Listener {
    Listener::open(move |stream: &TcpStream| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
            assert!(!line.to_ascii_lowercase().starts_with("authorization"), "{line}");
        }
        write!(
            &*stream,
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    })
}

#[test]
fn files_are_fetched_from_named_hosts_only_also_after_redirects() {
    let server = team();
    let folder = Folder::new();
    let origin = Server::start();
    origin.local_repository("r", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    let file = |package: &str| origin.url(&format!("/r/latest/src/contrib/{package}_1.0.tar.gz"));
    let permitted = redirect(file("alpha"));
    let forbidden = redirect("http://127.0.0.2:1/x".to_owned());
    let own = redirect("/again".to_owned());
    let change = |package: &str, from: String| json!({ "op": "add", "at": "2024-01-10T09:00:00Z", "file": format!("{package}_1.0.tar.gz"), "from": from });
    let list = folder.list(&[
        change("alpha", format!("http://{}/alpha", permitted.address)),
        change("beta", file("beta")),
        change("gamma", format!("http://{}/gamma", forbidden.address)),
        change("delta", format!("http://{}/delta", own.address)),
        change("epsilon", file("epsilon")),
    ]);
    let hosts = format!("--host={}", permitted.address.ip());
    let (report, code) = report(&server, &list, &format!("--commit {hosts}"));
    assert_eq!((code, &report["outcomes"]), (1, &json!({ "added": 2, "refused": 3 })), "{report}");
    let reasons: Vec<&str> = report["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["reason"].as_str())
        .collect();
    for part in ["http://127.0.0.2:1/x is not an address on a host", "more than 10 redirects", "404"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }
    let unnamed = import(&server, &list, "--commit");
    assert!(unnamed.err.contains("permit it with --host=127.0.0.1:"), "{unnamed:?}");
}

#[test]
fn times_that_a_copy_set_must_be_chosen_and_only_administrators_keep_them() {
    let server = team();
    let folder = Folder::new();
    let mut changes: Vec<Value> =
        (0..20).map(|n| folder.package(Some("2024-01-10T09:00:00Z"), &format!("copy{n}"), "1.0")).collect();
    let stated = import(&server, &folder.list(&changes), "");
    assert!(stated.code == 0 && !stated.err.contains("may have set"), "{stated:?}");
    changes.iter_mut().for_each(|change| change["exact"] = "mtime".into());
    let list = folder.list(&changes);
    let output = import(&server, &list, "");
    assert_eq!(output.code, 0);
    assert!(
        output.err.contains("20 files of the list, more than half, have the time 2024-01-10"),
        "{output:?}"
    );
    let refusal = import(&server, &list, "--commit");
    assert_eq!(refusal.code, 1);
    assert!(
        refusal.err.contains("choose --dates=keep") && refusal.err.contains("--dates=none"),
        "{refusal:?}"
    );

    let token =
        server.rspm_stdout("create token --description=ci --scope=sources:write --sources=team --quiet");
    let as_writer = |flags: &str| -> RspmOutput {
        let line = format!("import list {} --source=team --commit {flags}", list.display());
        let mut command = server.rspm_command(&line);
        command.env("PACKAGEMANAGER_ADDRESS", server.url("")).env("PACKAGEMANAGER_TOKEN", token.trim());
        command.output().expect("rspm runs").into()
    };
    let refusal = as_writer("--dates=keep");
    assert_eq!(refusal.code, 1);
    assert!(refusal.err.contains("the token lacks the scope global:admin"), "{refusal:?}");
    let permitted = as_writer("--dates=none");
    assert_eq!(permitted.code, 0, "{permitted:?}");
    assert!(server.get("/prod/latest/src/contrib/PACKAGES").text().contains("Package: copy19\n"));
    assert_eq!(server.get("/prod/2024-01-10/src/contrib/PACKAGES").status, 404);
    assert_eq!(report(&server, &list, "--commit --dates=none").0["outcomes"], json!({ "existing": 20 }));
    server.rspm_stdout("create source --name=kept");
    let keep = |flags: &str| server.rspm(&format!("import list {} --source=kept {flags}", list.display()));
    assert_eq!(keep("--commit --dates=keep").code, 0);
    let again = keep("");
    assert!(again.out.contains("existing 20") && !again.err.contains("may have set"), "{again:?}");
    let empty = import(&server, &folder.list(&[]), "").out;
    assert!(empty.ends_with("There is nothing to import\n"), "{empty}");
}

#[test]
fn an_import_that_was_killed_is_completed_by_the_same_command() {
    const FILES: usize = 1_100;
    let mut server = team();
    let folder = Folder::new();
    let changes: Vec<Value> = (0..FILES)
        .map(|number| {
            let at = format!("2024-01-{:02}T{:02}:{:02}:00Z", 1 + number / 60, number % 24, number % 60 / 2);
            (at, number)
        })
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .map(|(at, number)| folder.package(Some(&at), &format!("pkg{number}"), "1.0"))
        .collect();
    let list = folder.list(&changes);
    let line = format!("import list {} --source=team --commit", list.display());
    for round in 0..kills::points(4) {
        let mut client = server.rspm_command(&line);
        client.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let mut client = client.spawn().expect("rspm runs");
        std::thread::sleep(Duration::from_millis(u64::from(rand::random::<u16>() % 4_000)));
        if round % 2 == 0 {
            // It may have ended.
            let _ = client.kill();
        } else {
            server.kill();
            server.launch();
        }
        client.wait().expect("our own child");
    }
    let (done, code) = report(&server, &list, "--commit");
    assert_eq!(code, 0, "{done}");
    let count = |outcome: &str| done["outcomes"][outcome].as_u64().unwrap_or_default();
    assert_eq!(count("added") + count("existing"), FILES as u64, "{done}");
    assert_eq!(report(&server, &list, "--commit").0["outcomes"], json!({ "existing": FILES }));
    let verified = server.rspm("scrub --database");
    assert_eq!(verified.code, 0, "{verified:?}");
    let index = server.get("/prod/latest/src/contrib/PACKAGES").text();
    assert_eq!(index.matches("Package: ").count(), FILES);
    let transactions = server.get("/__api__/repos/prod/transaction-dates").text();
    assert!(transactions.contains("2024-01-01"), "{transactions}");
}

#[test]
fn the_origin_is_read_and_imported_by_one_command() {
    let server = on(db::Engine::Sqlite);
    let folder = Folder::new();
    let packages =
        [("greeting", "1.0.0", "2024-01-10T09:00:00Z"), ("tally", "0.2.1", "2024-02-11T04:30:00Z")];
    let origin = folder.path().join("origin");
    std::fs::create_dir(&origin).expect("a folder");
    for (name, version, time) in packages {
        let tarball = Tarball::new(name, version);
        let path = origin.join(tarball.file());
        std::fs::write(&path, tarball.bytes()).expect("written");
        let time = std::time::SystemTime::from(time.parse::<jiff::Timestamp>().expect("a time"));
        std::fs::File::options().append(true).open(path).expect("a file").set_modified(time).expect("set");
    }
    let command = format!("import from-folder {} --source=team -o json", origin.display());
    let imported = |command: &str| {
        let output = server.rspm(command);
        assert_eq!(output.code, 0, "{output:?}");
        output.out
    };
    let planned: Value = serde_json::from_str(&imported(&command)).expect("a report");
    assert_eq!((&planned["outcomes"], &planned["committed"]), (&json!({ "added": 2 }), &json!(false)));
    let kept = folder.path().join("kept.ndjson");
    imported(&format!("{command} --commit --list-out={}", kept.display()));
    let day = |day: &str| {
        server.get(&format!("/prod/{day}/src/contrib/PACKAGES")).text().matches("Package: ").count()
    };
    assert_eq!((day("2024-01-31"), day("2024-02-11")), (1, 2));
    let list = std::fs::read_to_string(&kept).expect("the list");
    assert!(list.lines().count() == 2 && list.contains("\"exact\":\"mtime\""), "{list}");

    let repository = folder.path().join("repository");
    let git = |args: &str| {
        let status = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-C"])
            .arg(&repository)
            .args(args.split(' '))
            .env("GIT_COMMITTER_DATE", "2024-03-10T09:00:00Z")
            .status();
        assert!(status.expect("git").success(), "git {args}");
    };
    std::fs::create_dir(&repository).expect("a folder");
    git("init --quiet");
    let tarball = Tarball::new("greeting", "1.1.0");
    std::fs::write(repository.join(tarball.file()), tarball.bytes()).expect("written");
    git("add .");
    git("commit --quiet -m add");
    imported(&format!("import from-git {} --source=team --commit", repository.display()));
    let listed = server.get("/prod/2024-03-10/src/contrib/PACKAGES").text().to_owned();
    assert!(listed.contains("Package: greeting\nVersion: 1.1.0"), "{listed}");
    let error = server.rspm("import from-git /nowhere/repository --source=team").err;
    assert!(error.contains("/nowhere/repository") && error.contains("nothing was imported"), "{error}");
}
