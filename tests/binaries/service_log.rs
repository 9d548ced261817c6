//! The service log: the documented examples, every other reason for a source, failures, and requests without a line.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{add, get};
use crate::support::binary;
use crate::support::binary_server::{self, AGENT, TREE};
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::mirror::{Entry, Mirror};
use crate::support::rscript;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

const LOG: &str = "[Server]\nServiceLog = {dir}/service.log\n";

/// A server with a service log, and the number of lines read from it.
struct LoggedServer {
    server: Server,
    read: std::cell::Cell<usize>,
}

impl LoggedServer {
    fn new(server: Server) -> LoggedServer {
        LoggedServer { server, read: std::cell::Cell::new(0) }
    }

    fn file(&self) -> PathBuf {
        self.server.dir().join("service.log")
    }

    /// Waits for `count` unread lines and returns them.
    fn lines(&self, count: usize) -> Vec<String> {
        let text = || std::fs::read_to_string(self.file()).expect("the file exists");
        let known = self.read.get();
        until("the lines are written", || {
            let text = text();
            text.lines().count() >= known + count && text.ends_with('\n')
        });
        let lines: Vec<String> = text().lines().skip(known).map(str::to_owned).collect();
        assert_eq!(lines.len(), count, "{lines:#?}");
        self.read.set(known + count);
        lines
    }

    /// Sends a request; returns the answer and its one line, in which the time is checked and replaced by `0`.
    fn request(&self, path: &str, agent: Option<&str>) -> (Answer, String) {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let before = now();
        let answer = get(&self.server, path, agent);
        let line = self.lines(1).remove(0);
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let time = json["time"].as_u64().expect("whole seconds");
        assert!((before..=now()).contains(&time), "{line}");
        (answer, line.replace(&format!("{{\"time\":{time},"), "{\"time\":0,"))
    }

    /// Sends a request that must be answered with this kind of package; returns its line.
    fn served(&self, kind: &str, path: &str, agent: Option<&str>) -> String {
        let (answer, line) = self.request(path, agent);
        assert_eq!((answer.status, answer.header("x-package-type")), (200, Some(kind)), "{path}");
        line
    }

    /// Asserts that no line was written since the last one read: the line of the next request is the next line.
    fn assert_no_line(&self) {
        assert!(self.served("source", "/team/latest/src/contrib/last_1.0.tar.gz", None).contains("\"last\""));
    }
}

fn agent(r: &str) -> String {
    format!("R ({r} x86_64-pc-linux-gnu x86_64 linux-gnu)")
}

/// Writes a binary without compiled code, for this version of R, to a file.
fn build(server: &Server, package: &str, version: &str, r: &str) -> PathBuf {
    let rds = server.dir().join("package.rds");
    let code = "args <- commandArgs(TRUE)
        saveRDS(list(DESCRIPTION = c(Package = args[[2]], Version = args[[3]])), args[[1]])";
    rscript::run(code, &[rds.display().to_string(), package.to_owned(), version.to_owned()]);
    let built = format!("Built: R {r}; ; 2019-07-01 00:00:00 UTC; unix");
    let mut tarball = Tarball::new(package, version).field(&built);
    tarball.files.push(("Meta/package.rds".to_owned(), std::fs::read(rds).expect("saved")));
    let path = server.dir().join(format!("build_{package}_{version}.tar.gz"));
    let renamed_path = path.with_file_name(tarball.file());
    std::fs::write(&renamed_path, tarball.bytes()).expect("written");
    renamed_path
}

/// A server that has `plumber` 0.4.6 with a binary for R 3.5 on bionic, which has R 3.5.2.
fn plumber() -> LoggedServer {
    let server =
        Builder::default().gcfg(&format!("{LOG}[Distribution \"bionic\"]\nRVersion = 3.5.2\n")).start();
    server.local_repository("team", &[Tarball::new("plumber", "0.4.6"), Tarball::new("last", "1.0")]);
    let file = build(&server, "plumber", "0.4.6", "3.5.2");
    server.rspm_stdout(&format!("add binary --source=team --distribution=bionic --path={}", file.display()));
    LoggedServer::new(server)
}

const PLUMBER: &str = "/team/__linux__/bionic/latest/src/contrib/plumber_0.4.6.tar.gz";
const BEGIN: &str = "{\"time\":0,\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",";

#[test]
fn example_an_exact_match() {
    let line = plumber().served("binary", PLUMBER, Some(&agent("3.5.2")));
    let end = "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.5.2\",\
        \"match_type\":\"exact\",\"message\":\"ok\"}";
    assert_eq!(line, format!("{BEGIN}{end}"));
}

#[test]
fn example_a_best_match() {
    let line = plumber().served("binary", PLUMBER, Some(&agent("3.5.3")));
    let end = "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.5.3\",\
        \"match_type\":\"best\",\"message\":\"ok\"}";
    assert_eq!(line, format!("{BEGIN}{end}"));
}

#[test]
fn example_a_missing_binary() {
    let line = plumber().served("source", PLUMBER, Some(&agent("3.6.3")));
    let end = "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.6.3\",\
        \"match_type\":\"best\",\"error\":\"there is no binary of plumber 0.4.6 for 3.6-bionic\",\
        \"failed_service\":\"service_error_fetch\",\"message\":\"ok\"}";
    assert_eq!(line, format!("{BEGIN}{end}"));
}

#[test]
fn example_no_best_match() {
    let line = plumber().served("source", PLUMBER, Some(&agent("3.7.3")));
    let end = "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.7.3\",\
        \"failed_match\":\"match_error_no_best_match\",\"message\":\"ok\"}";
    assert_eq!(line, format!("{BEGIN}{end}"));
}

#[test]
fn example_a_user_agent_without_r() {
    let header = "Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)";
    let line = plumber().served("source", PLUMBER, Some(header));
    let end = "\"type\":\"binary_current\",\"distro\":\"bionic\",\"failed_ua\":\"ua_error_no_r\",\
        \"user_agent\":\"Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)\",\"message\":\"ok\"}";
    assert_eq!(line, format!("{BEGIN}{end}"));
}

#[test]
fn example_an_unsupported_system() {
    let path = PLUMBER.replace("bionic", "xenial");
    let line = plumber().served("source", &path, Some("python-requests/2.9.1"));
    let end = "\"type\":\"binary_current\",\"distro\":\"xenial\",\"failed_ua\":\"ua_error_unsupported_os\",\
        \"user_agent\":\"python-requests/2.9.1\",\"message\":\"ok\"}";
    assert_eq!(line, format!("{BEGIN}{end}"));
}

#[test]
fn example_a_source_package() {
    let path = "/team/latest/src/contrib/plumber_0.4.6.tar.gz";
    let line = plumber().served("source", path, Some(&agent("3.5.2")));
    assert_eq!(line, format!("{BEGIN}\"type\":\"source_current\",\"message\":\"ok\"}}"));
}

#[test]
fn the_other_reasons_for_a_source_and_the_forced_match() {
    let logged = LoggedServer::new(
        Builder::default()
            .gcfg(&format!(
                "{LOG}[Distribution \"bionic\"]\nRVersion = 3.5.2\nForceRVersion = true\n\
                 [Distribution \"ours\"]\nAlias = bionic\n"
            ))
            .start(),
    );
    let server = &logged.server;
    server.local_repository("team", &[Tarball::new("plumber", "0.4.6")]);
    let file = build(server, "plumber", "0.4.6", "3.5.2");
    server.rspm_stdout(&format!("add binary --source=team --distribution=bionic --path={}", file.display()));
    for (kind, header, end) in [
        (
            "binary",
            Some(agent("3.5.3")),
            "\"distro\":\"ours\",\"r_version\":\"3.5.3\",\"match_type\":\"forced\",\"message\":\"ok\"}",
        ),
        (
            "source",
            Some(agent("3.6.0")),
            "\"distro\":\"ours\",\"r_version\":\"3.6.0\",\"failed_match\":\"match_error_force_mismatch\",\
             \"message\":\"ok\"}",
        ),
        ("source", None, "\"distro\":\"ours\",\"failed_ua\":\"ua_error_none\",\"message\":\"ok\"}"),
        (
            "source",
            Some("R (3.5.2 x86_64-apple-darwin20 x86_64 darwin20)".to_owned()),
            "\"distro\":\"ours\",\"r_version\":\"3.5.2\",\"failed_ua\":\"ua_error_distro_mismatch\",\
             \"user_agent\":\"R (3.5.2 x86_64-apple-darwin20 x86_64 darwin20)\",\"message\":\"ok\"}",
        ),
        (
            "source",
            Some("R (3.5.2 ppc64le-pc-linux-gnu ppc64le linux-gnu)".to_owned()),
            "\"distro\":\"ours\",\"r_version\":\"3.5.2\",\"failed_match\":\"match_error_no_best_match\",\
             \"message\":\"ok\"}",
        ),
    ] {
        let line = logged.served(kind, &PLUMBER.replace("bionic", "ours"), header.as_deref());
        assert_eq!(line, format!("{BEGIN}\"type\":\"binary_current\",{end}"));
    }
}

#[test]
fn every_request_answered_from_memory_has_its_own_line() {
    let logged = plumber();
    for _ in 0..3 {
        for (kind, header, expected) in [
            ("binary", agent("3.5.2"), "\"r_version\":\"3.5.2\",\"match_type\":\"exact\""),
            ("binary", agent("3.5.0"), "\"r_version\":\"3.5.0\",\"match_type\":\"best\""),
            (
                "source",
                "curl/1".to_owned(),
                "\"failed_ua\":\"ua_error_unsupported_os\",\"user_agent\":\"curl/1\"",
            ),
            (
                "source",
                "curl/2".to_owned(),
                "\"failed_ua\":\"ua_error_unsupported_os\",\"user_agent\":\"curl/2\"",
            ),
            ("source", "R (x".to_owned(), "\"failed_ua\":\"ua_error_no_r\",\"user_agent\":\"R (x\""),
        ] {
            let line = logged.served(kind, PLUMBER, Some(&header));
            assert!(line.contains(expected), "{header}: {line}");
        }
    }
}

#[test]
fn requests_by_explicit_address_are_logged_without_a_match() {
    let logged = plumber();
    let tree = |r: &str| format!("/team/latest/bin/linux/bionic-x86_64/{r}/src/contrib/plumber_0.4.6.tar.gz");
    let rest = |line: String| line.strip_prefix(BEGIN).expect("the beginning").to_owned();
    assert_eq!(
        rest(logged.served("binary", &tree("3.5"), None)),
        "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.5\",\"message\":\"ok\"}"
    );
    assert_eq!(
        rest(logged.served("source", &tree("3.6"), None)),
        "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.6\",\
         \"error\":\"there is no binary of plumber 0.4.6 for 3.6-bionic\",\
         \"failed_service\":\"service_error_fetch\",\"message\":\"ok\"}"
    );
    assert_eq!(
        rest(logged.served("source", &tree("9.9"), None)),
        "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"9.9\",\
         \"failed_match\":\"match_error_no_best_match\",\"message\":\"ok\"}"
    );
    let (answer, line) = logged.request("/team/latest/bin/windows/contrib/4.5/plumber_0.4.6.zip", None);
    assert_eq!(answer.status, 404);
    assert_eq!(
        rest(line),
        "\"type\":\"binary_current\",\"distro\":\"windows\",\"r_version\":\"4.5\",\
         \"message\":\"there is no binary package 'plumber_0.4.6.zip'\"}"
    );
    let query = format!("{PLUMBER}?r_version=3.5.2&arch=x86_64");
    assert_eq!(
        rest(logged.served("binary", &query, Some("curl/8"))),
        "\"type\":\"binary_current\",\"distro\":\"bionic\",\"r_version\":\"3.5.2\",\
         \"match_type\":\"exact\",\"message\":\"ok\"}",
        "a query is matched like a header"
    );
}

#[test]
fn the_class_is_that_of_the_release_in_the_requested_snapshot() {
    let logged = plumber();
    logged.server.add("team", &Tarball::new("plumber", "1.0.0"));
    let archive = PLUMBER.replace("contrib/", "contrib/Archive/plumber/");
    let types = "\"class\":\"archived\",\"type\":\"binary_archived\",";
    for path in [archive.as_str(), PLUMBER] {
        let line = logged.served("binary", path, Some(&agent("3.5.2")));
        assert!(line.contains(types), "{path}: {line}");
    }
    let line = logged.served("source", &archive.replace("/__linux__/bionic", ""), None);
    assert!(
        line.contains("\"class\":\"archived\",\"type\":\"source_archived\",\"message\":\"ok\""),
        "{line}"
    );
}

/// The only object of a folder of the storage.
fn object(folder: &Path) -> PathBuf {
    let slot = std::fs::read_dir(folder).expect("the folder").flatten().next().expect("a folder").path();
    std::fs::read_dir(slot).expect("a folder").flatten().next().expect("an object").path()
}

#[test]
fn a_missing_or_damaged_binary_is_logged_and_the_source_served() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str, &str); 3] = [
        (|path| std::fs::remove_file(path).expect("removed"), "service_error_fetch", "is not in storage"),
        (
            |path| {
                let mut bytes = std::fs::read(path).expect("readable");
                *bytes.last_mut().expect("not empty") ^= 1;
                std::fs::write(path, bytes).expect("written");
            },
            "service_error_ash",
            "the stored bytes of plumber_0.4.6.tar.gz do not match its record: the object binaries/",
        ),
        (
            |path| {
                let file = std::fs::OpenOptions::new().write(true).open(path).expect("ours");
                file.set_len(100).expect("cut");
            },
            "service_error_ash",
            "do not match its record",
        ),
    ];
    for (damage, failed, expected) in damages {
        let logged = plumber();
        damage(&object(&logged.server.dir().join("data/binaries/binaries")));
        // The second request finds the address in the cache.
        for _ in 0..2 {
            let line = logged.served("source", PLUMBER, Some(&agent("3.5.2")));
            let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!((&json["failed_service"], &json["message"]), (&failed.into(), &"ok".into()), "{line}");
            assert_eq!((&json["match_type"], &json["type"]), (&"exact".into(), &"binary_current".into()));
            assert!(json["error"].as_str().expect("an error").contains(expected), "{line}");
        }
    }
}

#[test]
fn damage_of_a_large_binary_is_detected_before_a_byte_is_sent() {
    let logged = plumber();
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.flatten().take(3 << 20).collect();
    let server = &logged.server;
    server.add("team", &Tarball::new("large", "1.0"));
    let file = build(server, "large", "1.0", "3.5.2");
    // The same package with much content.
    let rds = std::fs::read(server.dir().join("package.rds")).expect("saved");
    let mut tarball = Tarball::new("large", "1.0").field("Built: R 3.5.2; ; 2019-07-01 00:00:00 UTC; unix");
    tarball.files.push(("Meta/package.rds".to_owned(), rds));
    tarball.files.push(("data/noise".to_owned(), noise));
    std::fs::write(&file, tarball.bytes()).expect("written");
    let sum = server.json(&format!(
        "add binary --source=team --distribution=bionic --path={}",
        file.display()
    ))["packages"][0]["sha256"]
        .clone();
    let sum = sum.as_str().expect("a digest");
    let path = PLUMBER.replace("plumber_0.4.6", "large_1.0");
    let stored = server.dir().join(format!("data/binaries/binaries/{}/{sum}", &sum[..2]));
    let original = std::fs::read(&stored).expect("stored");
    let mut damaged = original.clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    std::fs::write(&stored, &damaged).expect("written");
    let line = logged.served("source", &path, Some(&agent("3.5.2")));
    assert!(line.contains("\"failed_service\":\"service_error_ash\""), "{line}");
    let quarantined = server.dir().join(format!("data/binaries/damaged/binaries/{}/{sum}", &sum[..2]));
    assert!(!stored.exists());
    assert_eq!(
        std::fs::read(&quarantined).expect("moved to the directory damaged"),
        damaged,
        "for the administrator"
    );
}

#[test]
fn a_binary_whose_record_cannot_be_read_is_logged_and_the_source_served() {
    let logged = plumber();
    // This request puts the source into the cache.
    logged.served("source", PLUMBER, None);
    let database =
        rusqlite::Connection::open(logged.server.dir().join("data/db/rstudio-pm.db")).expect("ours");
    database.execute_batch("ALTER TABLE record RENAME TO elsewhere").expect("renamed");
    let line = logged.served("source", PLUMBER, Some(&agent("3.5.2")));
    database.execute_batch("ALTER TABLE elsewhere RENAME TO record").expect("renamed back");
    assert!(line.contains("\"failed_service\":\"service_error_ash\",\"message\":\"ok\"}"), "{line}");
    assert!(line.contains("\"match_type\":\"exact\",\"error\":\""), "{line}");
    let line = logged.served("binary", PLUMBER, Some(&agent("3.5.2")));
    assert!(!line.contains("failed"), "the failure is not remembered: {line}");
}

#[test]
fn requests_for_unknown_files_are_logged_with_the_reason() {
    let logged = plumber();
    for (path, begin, message) in [
        (
            "/team/latest/src/contrib/nothing_1.0.tar.gz",
            "\"name\":\"nothing\",\"version\":\"1.0\",\"class\":\"current\",\"type\":\"source_current\",",
            "there is no nothing 1.0 in this snapshot",
        ),
        (
            "/team/latest/src/contrib/Archive/plumber/plumber_9.9.tar.gz",
            "\"name\":\"plumber\",\"version\":\"9.9\",\"class\":\"archived\",\"type\":\"source_archived\",",
            "there is no plumber 9.9 in this snapshot",
        ),
        (
            "/nothing/latest/src/contrib/plumber_0.4.6.tar.gz",
            "\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\"type\":\"source_current\",",
            "there is no repository 'nothing'; rspm list repos shows all",
        ),
        (
            "/team/2001-01-01/src/contrib/plumber_0.4.6.tar.gz",
            "\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\"type\":\"source_current\",",
            "no snapshot of this repository is as old as 2001-01-01",
        ),
        (
            "/team/__linux__/hopeless/latest/src/contrib/plumber_0.4.6.tar.gz",
            "\"name\":\"plumber\",\"version\":\"0.4.6\",\"class\":\"current\",\"type\":\"binary_current\",\
             \"distro\":\"hopeless\",",
            "there is no distribution 'hopeless'; /__api__/status lists the known ones",
        ),
        (
            "/team/__linux__/bionic/latest/src/contrib/nothing_1.0.tar.gz",
            "\"name\":\"nothing\",\"version\":\"1.0\",\"class\":\"current\",\"type\":\"binary_current\",\
             \"distro\":\"bionic\",\"failed_ua\":\"ua_error_unsupported_os\",\"user_agent\":\"curl/8\",",
            "there is no nothing 1.0 in this snapshot",
        ),
    ] {
        let (answer, line) = logged.request(path, Some("curl/8"));
        assert_eq!(answer.status, 404, "{path}");
        let expected = format!("{{\"time\":0,{begin}\"message\":\"{message}");
        assert!(line.starts_with(&expected), "{path}:\n{line}\n{expected}");
        assert!(!line.contains("failed_service"), "{line}");
    }
    // A name may contain anything that can be encoded.
    let (_, line) = logged.request("/team/__linux__/%22%F0%9F%98%80/latest/src/contrib/a_1.tar.gz", None);
    assert!(line.contains("\"distro\":\"\\\"\\ud83d\\ude00\""), "{line}");
}

#[test]
fn only_get_requests_for_package_files_are_logged() {
    let logged = plumber();
    let source = "/team/latest/src/contrib/plumber_0.4.6.tar.gz";
    let url = logged.server.url(source);
    let etag = get(&logged.server, source, None).header("etag").expect("it has one").to_owned();
    logged.lines(1);
    for (status, header, message) in [
        (304, ("If-None-Match", etag.as_str()), "ok"),
        (206, ("Range", "bytes=0-9"), "ok"),
        (206, ("Range", "bytes=10-"), "ok"),
        (416, ("Range", "bytes=99999999-"), "416 Range Not Satisfiable"),
        (412, ("If-Match", "\"other\""), "412 Precondition Failed"),
    ] {
        assert_eq!(http::request("GET", &url, &[header], b"").status, status);
        let line = logged.lines(1).remove(0);
        assert!(line.ends_with(&format!("\"source_current\",\"message\":\"{message}\"}}")), "{line}");
    }
    assert_eq!(http::request("HEAD", &url, &[], b"").status, 200);
    assert_eq!(http::request("POST", &url, &[], b"").status, 405);
    for path in [
        "/",
        "/__ping__",
        "/__api__/status",
        "/team/latest/",
        "/team/latest/src/contrib/PACKAGES",
        "/team/latest/src/contrib/PACKAGES.rds",
        "/team/latest/src/contrib/Meta/archive.rds",
        "/team/latest/src/contrib/readme.txt",
        "/team/__linux__/bionic/latest/src/contrib/PACKAGES.gz",
        "/team/__linux__/hopeless/latest/src/contrib/PACKAGES.gz",
        "/team/latest/bin/linux/bionic-x86_64/3.5/src/contrib/PACKAGES",
        "/team/latest/bin/windows/contrib/4.5/PACKAGES",
    ] {
        get(&logged.server, path, None);
    }
    logged.assert_no_line();
    let admin = http::admin(&logged.server.admin_socket(), "GET", source, b"");
    assert_eq!(admin.status, 200);
    assert!(logged.lines(1)[0].contains("plumber"), "requests to the admin socket are logged too");
}

#[test]
fn hostile_headers_are_escaped_and_truncated() {
    let logged = plumber();
    let host = logged.server.host();
    let request = |header: &[u8]| {
        let mut head =
            format!("GET {PLUMBER} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nUser-Agent: ").into_bytes();
        head.extend_from_slice(header);
        head.extend_from_slice(b"\r\n\r\n");
        let answer = http::raw(host, &head);
        assert_eq!((answer.status, answer.header("x-package-type")), (200, Some("source")));
        let line = logged.lines(1).remove(0);
        assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        (json["failed_ua"].clone(), json["user_agent"].as_str().expect("a header").to_owned())
    };
    let (failed, user_agent) = request(&[b'x'; 64 << 10]);
    assert_eq!(failed, "ua_error_unsupported_os");
    assert_eq!(user_agent, format!("{}...", "x".repeat(4096)));
    let (failed, user_agent) = request(b"\xff\xfe\x80\"\\{}\xe2\x80\xa8\xc2\x9b31m");
    assert_eq!(failed, "ua_error_unsupported_os");
    assert_eq!(user_agent, "\u{fffd}\u{fffd}\u{fffd}\"\\{}\u{2028}\u{9b}31m");
    let (_, user_agent) = request(&[0xff; 64 << 10]);
    assert_eq!(user_agent, format!("{}...", "\u{fffd}".repeat(4096)));
}

#[test]
fn a_wrong_or_missing_file_of_a_mirror_fails_the_request_and_is_logged() {
    let (quiet, lying) = (Entry::new("quiet", "1.0", 1000), Entry::new("lying", "1.0", 300_000));
    let mirror = Mirror::of(&[quiet.clone(), lying.clone()], &[]);
    let logged =
        LoggedServer::new(Builder::default().gcfg(&format!("{LOG}[CRAN]\nURL = {}\n", mirror.url())).start());
    logged.server.sync().expect("the mirror exists");
    logged.server.repository("prod", "cran");
    let mut other = lying.bytes.clone();
    other[200_000] ^= 1;
    mirror.put(&lying.listed(), other);
    // The first part is sent before the error at its end is detected.
    let mut stream = http::connect(logged.server.host());
    let path = format!("/prod/latest/{}", lying.listed());
    std::io::Write::write_all(&mut stream, format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
        .expect("sent");
    let mut bytes = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&bytes[..100]));
    let line = logged.lines(1).remove(0);
    let begin = "\"name\":\"lying\",\"version\":\"1.0\",\"class\":\"current\",\"type\":\"source_current\",\
        \"failed_service\":\"service_error_fetch\",\"message\":\"";
    assert!(line.contains(begin) && line.contains("is not the file of the index"), "{line}");
    mirror.remove(&quiet.listed());
    let (answer, line) = logged.request(&format!("/prod/latest/{}", quiet.listed()), None);
    assert_eq!(answer.status, 404, "the mirror no longer has it");
    assert!(
        line.contains(
            "\"type\":\"source_current\",\"failed_service\":\"service_error_fetch\",\"message\":\""
        )
    );
}

#[test]
fn a_download_from_a_mirror_is_logged_once() {
    let entry = Entry::new("slow", "1.0", 300_000);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    let logged =
        LoggedServer::new(Builder::default().gcfg(&format!("{LOG}[CRAN]\nURL = {}\n", mirror.url())).start());
    logged.server.sync().expect("the mirror exists");
    logged.server.repository("prod", "cran");
    for _ in 0..2 {
        let line = logged.served("source", &format!("/prod/latest/{}", entry.listed()), None);
        assert!(line.ends_with("\"type\":\"source_current\",\"message\":\"ok\"}"), "{line}");
    }
}

#[test]
fn a_truncated_source_in_storage_is_fetched_again() {
    let entry = Entry::new("cut", "1.0", 5000);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    let server = Builder::default().gcfg(&format!("{LOG}[CRAN]\nURL = {}\n", mirror.url())).start();
    let logged = LoggedServer::new(server);
    logged.server.sync().expect("the mirror exists");
    logged.server.repository("prod", "cran");
    let path = format!("/prod/latest/{}", entry.listed());
    logged.served("source", &path, None);
    let stored = object(&logged.server.dir().join("data/cran/cran"));
    std::fs::OpenOptions::new().write(true).open(&stored).expect("ours").set_len(100).expect("cut");
    let (answer, line) = logged.request(&path, None);
    assert!(answer.body == entry.bytes, "the whole file, from the mirror");
    assert!(line.ends_with("\"type\":\"source_current\",\"message\":\"ok\"}"), "{line}");
    logged.server.wait_for_log("a stored object is damaged");
    assert_eq!(mirror.requests(&entry.listed()).len(), 2);
    assert!(std::fs::read(&stored).expect("replaced") == entry.bytes);
}

/// A synced server with binaries from this address and the repository `r`.
fn with_binaries_of(url: &str, names: &[&str]) -> LoggedServer {
    let lines = format!("{LOG}[CRAN]\nBinaryURL = {url}\n");
    let server = Builder::default().gcfg(&lines).env("NO_PROXY", "*").start();
    binary_server::write_sources(&server.dir().join("no-mirror"), names);
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    LoggedServer::new(server)
}

impl LoggedServer {
    /// Asserts that a request for a binary of another server gets the source and is logged with this error.
    fn assert_fallback(&self, name: &str, error: &str) {
        let path = format!("/r/__linux__/noble/latest/src/contrib/{name}_1.0.tar.gz");
        let line = self.served("source", &path, Some(AGENT));
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let values = (&json["type"], &json["match_type"], &json["failed_service"], &json["message"]);
        let expected = ["binary_current", "best", "service_error_fetch", "ok"].map(serde_json::Value::from);
        assert_eq!(values, (&expected[0], &expected[1], &expected[2], &expected[3]), "{line}");
        assert!(json["error"].as_str().expect("an error").contains(error), "{error}: {line}");
    }
}

#[test]
fn a_wrong_or_unavailable_binary_of_another_server_is_logged_and_the_source_served() {
    let names = ["good", "digest", "away"];
    let upstream = binary_server::start(&names);
    let path = |name: &str| format!("{TREE}/{name}_1.0.tar.gz");
    upstream.put(&path("digest"), binary_server::binary("digest", "1.0").with("more", "bytes").bytes());
    upstream.always(&path("away"), Fault::Status(503, ""));
    let logged = with_binaries_of(&binary_server::url(&upstream), &names);
    let package_path = "/r/__linux__/noble/latest/src/contrib/good_1.0.tar.gz";
    let line = logged.served("binary", package_path, Some(AGENT));
    assert!(line.ends_with("\"match_type\":\"best\",\"message\":\"ok\"}"), "{line}");
    logged.assert_fallback("digest", "upstream's digest_1.0.tar.gz");
    logged.assert_fallback("away", "503");
}

#[test]
fn a_missing_or_failed_answer_of_a_negotiating_server_is_logged_and_explained() {
    let upstream = Upstream::empty();
    let path = |name: &str| {
        format!("__linux__/noble/latest/src/contrib/{name}_1.0.tar.gz?r_version=4.5&arch=x86_64")
    };
    upstream.always(&path("away"), Fault::Status(503, ""));
    let logged = with_binaries_of(&format!("{}/__linux__/noble/latest", upstream.url()), &["none", "away"]);
    logged.assert_fallback("none", "there is no binary of none 1.0 for 4.5-noble");
    logged.assert_fallback("away", "503");
    for (name, expected) in [("none", "there is no binary of none 1.0 for 4.5-noble"), ("away", "503")] {
        let header = AGENT.replace(' ', "~");
        let line = format!("explain r {name} --distribution=noble --user-agent={header}");
        let explanation = logged.server.json(&line);
        assert_eq!(
            (&explanation["no_binary_reason"], &explanation["file"]["type"]),
            (&"service_error_fetch".into(), &"source".into())
        );
        assert!(explanation["answer"].as_str().expect("text").contains(expected), "{explanation}");
    }
}

#[test]
fn real_binaries_of_the_examples_are_logged_with_the_r_version_of_the_client() {
    let server = Builder::default().gcfg(LOG).start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let logged = LoggedServer::new(server);
    let r = binary::r_version();
    let path = |file: &str| format!("/prod/__linux__/noble/latest/src/contrib/{file}");
    let line = logged.served("binary", &path("tally_0.2.1.tar.gz"), Some(&agent(&format!("{r}.9"))));
    let expected =
        format!("\"distro\":\"noble\",\"r_version\":\"{r}.9\",\"match_type\":\"best\",\"message\":\"ok\"}}");
    assert!(line.ends_with(&expected), "{line}");
    let line = logged.served("source", &path("ledger_2.0-1.tar.gz"), Some(&agent(&format!("{r}.9"))));
    assert!(line.contains(&format!("there is no binary of ledger 2.0-1 for {r}-noble")), "{line}");
}

#[test]
fn the_log_exists_only_with_a_path_and_is_private_and_survives_rotation() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("last", "1.0")]);
    server.get("/team/latest/src/contrib/last_1.0.tar.gz");
    assert!(!server.dir().join("service.log").exists());
    server.hup(LOG);
    let logged = LoggedServer::new(server);
    let mode = |path: &Path| std::fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777;
    assert_eq!(mode(&logged.file()), 0o600);
    logged.assert_no_line();
    let old = logged.server.dir().join("service.log.1");
    std::fs::rename(logged.file(), &old).expect("renamed");
    get(&logged.server, "/team/latest/src/contrib/last_1.0.tar.gz", None);
    logged.server.rspm_stdout("logs reopen");
    assert_eq!(std::fs::read_to_string(&old).expect("the file exists").lines().count(), 2);
    logged.read.set(0);
    logged.assert_no_line();
    assert_eq!(mode(&logged.file()), 0o600);
    logged.server.hup("[Server]\nServiceLog =\n");
    get(&logged.server, "/team/latest/src/contrib/last_1.0.tar.gz", None);
    let mut server = logged.server;
    server.stop();
    let text = std::fs::read_to_string(server.dir().join("service.log")).expect("the file exists");
    assert_eq!(text.lines().count(), 1, "the log is off again: {text}");
}

#[test]
fn the_logged_requests_are_counted_in_the_metrics_and_the_usage_data() {
    let LoggedServer { server, .. } = plumber();
    let request = |agent: &str| assert_eq!(get(&server, PLUMBER, Some(agent)).status, 200, "{agent}");
    for (agent, times) in [
        (agent("3.5.2"), 2),
        (agent("3.5.3"), 1),
        (agent("3.7.3"), 1),
        ("Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)".to_owned(), 1),
    ] {
        (0..times).for_each(|_| request(&agent));
    }
    for (series, count) in [
        ("binary{match=\"exact\"}", 2.0),
        ("binary{match=\"best\"}", 1.0),
        ("fallback{reason=\"match_error_no_best_match\"}", 1.0),
        ("fallback{reason=\"ua_error_no_r\"}", 1.0),
        ("distro{distro=\"bionic\",status=\"binary\"}", 3.0),
        ("distro{distro=\"bionic\",status=\"source\"}", 2.0),
    ] {
        assert_eq!(server.series(&format!("ppm_binary_routing_{series}")), Some(count), "{series}");
    }
    until("all are counted", || server.series("ppm_usage_downloads_total") == Some(5.0));
    let database = rusqlite::Connection::open(server.dir().join("data/db/usage.db")).expect("a database");
    let mut statement =
        database.prepare("SELECT platform, count FROM usage_download ORDER BY platform").expect("SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let rows: Vec<(String, i64)> = rows.map(|row| row.expect("two columns")).collect();
    assert_eq!(rows, [("3.5-bionic".to_owned(), 3), ("source".to_owned(), 2)]);
}
