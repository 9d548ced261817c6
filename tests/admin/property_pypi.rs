//! `[PyPI]`: one test per property, which sets it and checks its effect, at the start and by a reload.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::fixtures::until;
use crate::support::pypi::Pypi;
use crate::support::python::index::{files, get, names, start};
use crate::support::server::{Builder, Server};

const OLD: &str = "2021-03-05T00:00:00Z";

/// An index with the project `one`.
fn index(file: &str) -> Pypi {
    let pypi = Pypi::start();
    pypi.add("one", file, b"one", OLD);
    pypi
}

#[test]
pub(super) fn url_is_the_index_with_or_without_simple() {
    let pypi = index("one-1.0.tar.gz");
    let server = start(&pypi, "");
    assert!(server.sync_of("pypi").expect("an index").contains("1 project, 1 added"));
    let gcfg = format!("[PyPI]\nURL = {}/simple/", pypi.url());
    let other = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    assert!(other.sync_of("PyPI").expect("an index").contains("1 project, 1 added"));
}

#[test]
pub(super) fn url_is_the_index_of_the_next_sync() {
    let (first, second) = (index("one-1.0.tar.gz"), index("one-2.0.tar.gz"));
    let server = start(&first, "");
    server.sync_of("pypi").expect("an index");
    server.hup_applies(
        &format!("[PyPI]\nURL = {}", second.url()),
        &[&format!("PyPI.URL is '{}' now, was '{}'", second.url(), first.url())],
    );
    first.take_requests();
    server.sync_of("pypi").expect("the other index");
    assert_eq!((first.take_requests().len(), second.take_requests().len()), (0, 1));
    assert_eq!(names(&server, "latest", "one"), ["one-2.0.tar.gz"]);
}

/// An index whose files are on another server, which is returned too, with its host.
fn index_with_file_server() -> (Pypi, Pypi, String) {
    let (pypi, files) = (index("one-1.0.tar.gz"), index("one-1.0.tar.gz"));
    let host = files.url().replace("http://127.0.0.1", "localhost");
    pypi.set_file_server(&format!("http://{host}"));
    (pypi, files, host)
}

/// The status of the only file.
fn file_status(server: &Server) -> u16 {
    let page = get(server, "/py/latest/simple/one/").json();
    let url = page["files"][0]["url"].as_str().expect("an address").to_owned();
    server.get(&format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"))).status
}

#[test]
pub(super) fn file_hosts_may_send_files() {
    let (pypi, files, host) = index_with_file_server();
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    assert!(file_status(&server) >= 500);
    assert!(files.take_requests().is_empty());
    let server = start(&pypi, &format!("FileHosts = {host}"));
    server.sync_of("pypi").expect("an index");
    assert_eq!(file_status(&server), 200);
}

#[test]
pub(super) fn file_hosts_apply_to_the_next_files() {
    let (pypi, _files, host) = index_with_file_server();
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    server.hup_applies(
        &format!("[PyPI]\nURL = {}\nFileHosts = {host}", pypi.url()),
        &[&format!("PyPI.FileHosts is '{host}' now, was ''")],
    );
    assert_eq!(file_status(&server), 200);
}

/// Adds a file that was uploaded yesterday.
fn add_recent(pypi: &Pypi, file: &str) {
    let day_ago = SystemTime::now() - Duration::from_secs(86_400);
    let seconds = day_ago.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let time = rstudio_pm::model::time::Timestamp(i64::try_from(seconds).expect("small") * 1_000_000);
    pypi.add("one", file, b"two", &time.to_string());
}

#[test]
pub(super) fn delay_sync_duration_hides_files_that_are_younger() {
    let pypi = index("one-1.0.tar.gz");
    add_recent(&pypi, "one-2.0.tar.gz");
    let all = ["one-1.0.tar.gz", "one-2.0.tar.gz"];
    for (gcfg, expected) in [("", &all[..]), ("DelaySyncDuration = 7d", &all[..1])] {
        let server = start(&pypi, gcfg);
        server.sync_of("pypi").expect("an index");
        assert_eq!(names(&server, "latest", "one"), expected, "{gcfg}");
    }
}

#[test]
pub(super) fn delay_except_lists_the_files_of_a_project_at_once() {
    let pypi = index("one-1.0.tar.gz");
    add_recent(&pypi, "one-2.0.tar.gz");
    for (except, expected) in [("other", 1), ("One", 2)] {
        let server = start(&pypi, &format!("DelaySyncDuration = 7d\nDelayExcept = {except}"));
        server.sync_of("pypi").expect("an index");
        assert_eq!(names(&server, "latest", "one").len(), expected, "{except}");
    }
}

#[test]
fn delay_except_lists_the_files_of_pages_that_were_read_before() {
    let pypi = index("one-1.0.tar.gz");
    add_recent(&pypi, "one-2.0.tar.gz");
    let mut server = start(&pypi, "DelaySyncDuration = 7d");
    server.sync_of("pypi").expect("an index");
    let before = get(&server, "/py/2022-01-01/simple/one/").body;
    assert_eq!(names(&server, "latest", "one"), ["one-1.0.tar.gz"]);
    server.stop();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let gcfg = gcfg.replace("DelaySyncDuration = 7d", "DelaySyncDuration = 7d\nDelayExcept = One");
    std::fs::write(server.config_file(), gcfg).expect("written");
    server.launch();
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), ["one-1.0.tar.gz", "one-2.0.tar.gz"]);
    assert_eq!(get(&server, "/py/2022-01-01/simple/one/").body, before, "past days stay");
}

#[test]
pub(super) fn earlier_yanks_are_on_all_days_or_not() {
    let pypi = index("one-1.0.tar.gz");
    pypi.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("broken".to_owned()));
    for (gcfg, on_past_days) in [
        ("", json!("broken")),
        ("EarlierYanks = show", json!("broken")),
        ("EarlierYanks = hide-mark", json!(false)),
    ] {
        let server = start(&pypi, gcfg);
        server.sync_of("pypi").expect("an index");
        let mark =
            |snapshot: &str| files(&server, snapshot, "one").expect("a page")["one-1.0.tar.gz"].clone();
        assert_eq!(mark("latest"), "broken", "{gcfg}");
        assert_eq!(mark("2022-01-01"), on_past_days, "{gcfg}");
        assert!(names(&server, "2021-03-04", "one").is_empty(), "before its upload");
    }
}

#[test]
pub(super) fn unlisted_projects_are_requested_by_name() {
    let pypi = index("one-1.0.tar.gz");
    pypi.add("two", "two-1.0.tar.gz", b"two", OLD);
    pypi.unlist("two");
    for (gcfg, expected) in [("", 0), ("Unlisted = true", 1)] {
        let server = start(&pypi, gcfg);
        server.sync_of("pypi").expect("an index");
        assert_eq!(names(&server, "latest", "two").len(), expected, "{gcfg}");
    }
}

#[test]
pub(super) fn concurrency_limits_the_requests_for_pages() {
    let pypi = index("one-1.0.tar.gz");
    let projects = ["one", "two", "three", "four"];
    for project in &projects[1..] {
        pypi.add(project, &format!("{project}-1.0.tar.gz"), b"x", OLD);
    }
    let server = start(&pypi, "Concurrency = 2");
    server.sync_of("pypi").expect("an index");
    pypi.hold_pages(true);
    std::thread::scope(|scope| {
        for project in projects {
            let server = &server;
            scope.spawn(move || assert_eq!(names(server, "latest", project).len(), 1, "{project}"));
        }
        until("two requests wait", || pypi.max_held_pages() == 2);
        pypi.hold_pages(false);
    });
    assert_eq!(pypi.max_held_pages(), 2);
}

/// Whether a sync reads the page of a project that was requested before and changed.
fn is_followed(server: &Server, pypi: &Pypi, file: &str) -> bool {
    pypi.add("one", file, file.as_bytes(), OLD);
    pypi.take_requests();
    server.sync_of("pypi").expect("an index");
    pypi.take_requests().iter().any(|path| path == "/simple/one/")
}

#[test]
pub(super) fn follow_reads_pages_that_were_requested_before() {
    let pypi = index("one-1.0.tar.gz");
    for (gcfg, expected) in [("", true), ("Follow = false", false)] {
        let server = start(&pypi, gcfg);
        server.sync_of("pypi").expect("an index");
        assert!(!names(&server, "latest", "one").is_empty());
        let file = if expected { "one-1.1.tar.gz" } else { "one-1.2.tar.gz" };
        assert_eq!(is_followed(&server, &pypi, file), expected, "{gcfg}");
    }
}

#[test]
pub(super) fn follow_applies_to_the_next_sync() {
    let pypi = index("one-1.0.tar.gz");
    let server = start(&pypi, "Follow = false");
    server.sync_of("pypi").expect("an index");
    assert!(!names(&server, "latest", "one").is_empty());
    server.hup_applies(
        &format!("[PyPI]\nURL = {}\nFollow = true", pypi.url()),
        &["PyPI.Follow is 'true' now, was 'false'"],
    );
    assert!(is_followed(&server, &pypi, "one-1.1.tar.gz"));
}

#[test]
pub(super) fn sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down() {
    let pypi = index("one-1.0.tar.gz");
    let mut server = start(&pypi, "SyncSchedule = 0 0 30 2 *");
    server.sync_of("pypi").expect("an index");
    server.stop();
    let database = server.dir().join("data/db/rstudio-pm.db");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let connection = rusqlite::Connection::open(&database).expect("a database");
    connection
        .execute("UPDATE upstream SET fetched_at = ?1 WHERE url = 'sync:3'", [1_583_020_800_000_000_i64])
        .expect("written");
    drop(connection);
    pypi.take_requests();
    std::fs::write(server.config_file(), gcfg.replace("0 0 30 2 *", "* * * * *")).expect("written");
    server.launch();
    until("the missed sync reads the list", || pypi.take_requests().iter().any(|path| path == "/simple/"));
}

#[test]
pub(super) fn sync_schedule_replaces_the_time_of_the_next_sync() {
    let pypi = index("one-1.0.tar.gz");
    let server = start(&pypi, "SyncSchedule = 0 0 30 2 *");
    server.hup_applies(
        &format!("[PyPI]\nURL = {}\nSyncSchedule = 17 3 * * *", pypi.url()),
        &["PyPI.SyncSchedule is '17 3 * * *' now, was '0 0 30 2 *'"],
    );
    let is_logged = |text: &str| server.log_lines().iter().any(|line| line.contains(text));
    until("the next sync is scheduled", || {
        is_logged("the next scheduled sync is at ") && is_logged("T03:17:00Z")
    });
}
