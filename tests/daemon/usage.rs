//! Download counts: the requests that count, the counts after a stop and a crash, two servers, an unavailable database.

use crate::support::db::{self, Engine};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::postgres;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const FILE: &str = "/team/latest/src/contrib/alpha_1.0.tar.gz";

/// Creates the local repository `team` with the packages `alpha` and `beta`.
fn create_team(server: &Server) {
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
}

/// The number of downloads of a package in the database.
fn download_count(server: &Server, package: &str) -> i64 {
    let detail = server.get(&format!("/__api__/repos/team/packages/{package}")).json();
    detail["downloads"]["count"].as_i64().expect("a number")
}

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> u16 {
    http::request("GET", &server.url(path), headers, b"").status
}

#[test]
fn only_requests_from_the_first_byte_of_a_file_count_as_downloads() {
    let server = Server::start();
    create_team(&server);
    let etag =
        server.get("/team/latest/src/contrib/beta_1.0.tar.gz").header("etag").expect("an ETag").to_owned();
    for (headers, status) in [
        (&[][..], 200),
        (&[("Range", "bytes=0-9")][..], 206),
        (&[("Range", "bytes=0-")][..], 206),
        (&[("Range", "bytes=5-")][..], 206),
        (&[("Range", "bytes=-5")][..], 206),
        (&[("Range", "bytes=99999999-")][..], 416),
        (&[("If-None-Match", etag.as_str())][..], 200),
        (&[("If-None-Match", "*")][..], 304),
        (&[("If-Match", "\"other\"")][..], 412),
    ] {
        assert_eq!(get(&server, FILE, headers), status, "{headers:?}");
    }
    assert_eq!(http::request("HEAD", &server.url(FILE), &[], b"").status, 200);
    for path in ["/team/latest/src/contrib/PACKAGES", "/team/latest/src/contrib/alpha_2.0.tar.gz", "/"] {
        server.get(path);
    }
    // Another address of the same package.
    assert_eq!(get(&server, "/team/latest/src/contrib/Archive/alpha/alpha_1.0.tar.gz", &[]), 200);
    // This download is written after all of these.
    assert_eq!(get(&server, "/team/latest/src/contrib/beta_1.0.tar.gz", &[]), 200);
    until("all are written", || download_count(&server, "beta") == 2);
    assert_eq!(download_count(&server, "alpha"), 5);
    let rows = server.get("/__api__/metrics/packages?_sourceType=r&_days=7").json();
    let row = serde_json::json!({ "name": "alpha", "source_type": "r", "source": "team", "count": 5 });
    assert_eq!((&rows[0], rows.as_array().map(Vec::len)), (&row, Some(2)), "{rows}");
    let metrics = |query: &str| server.get(&format!("/__api__/metrics/packages?{query}"));
    assert_eq!(metrics("_sourceType=python").json(), serde_json::json!([]));
    assert_eq!(metrics("_limit=1&_page=2").json()[0]["name"], "beta");
    assert_eq!((metrics("_sourceType=perl").status, metrics("_days=x").status), (400, 400));
    let filter = |option: &str| {
        let body = format!("{{\"names\":[\"alpha\",\"beta==1.0\"]{option}}}");
        let url = server.url("/__api__/repos/team/filter/packages");
        let answer =
            http::request("POST", &url, &[("Content-Type", "application/json")], body.as_bytes()).text();
        let lines = answer.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
        lines.map(|line| line["downloads"].as_i64()).collect::<Vec<_>>()
    };
    assert_eq!(filter(""), [Some(5), Some(2)]);
    assert_eq!(filter(",\"omit_downloads\":true"), [None, None]);
    assert_eq!(server.series("ppm_usage_downloads_total"), Some(7.0));
    assert_eq!(server.series("ppm_usage_downloads_lost_total"), Some(0.0));
}

#[test]
fn a_stop_writes_all_counts_and_a_crash_loses_those_since_the_last_write() {
    let mut server = Server::start();
    create_team(&server);
    assert_eq!(get(&server, FILE, &[]), 200);
    server.restart();
    until("the database is open", || download_count(&server, "alpha") == 1);
    // A write may follow the last download before the kill: repeated until one is lost.
    let mut written_count = 1;
    let is_lost = (0..10).any(|_| {
        assert_eq!(get(&server, FILE, &[]), 200);
        until("it is written", || download_count(&server, "alpha") == written_count + 1);
        assert_eq!(get(&server, FILE, &[]), 200);
        server.kill();
        server.launch();
        until("the database is open", || download_count(&server, "alpha") > 0);
        let count_before = written_count + 1;
        written_count = download_count(&server, "alpha");
        assert!(
            (count_before..=count_before + 1).contains(&written_count),
            "{count_before} before the last download, {written_count} after"
        );
        written_count == count_before
    });
    assert!(is_lost, "each of ten kills followed a write of the last download");
    // Offline mode writes the counts before it closes the database.
    assert_eq!(get(&server, FILE, &[]), 200);
    server.rspm_stdout("offline");
    server.rspm_stdout("online");
    until("the database is open", || download_count(&server, "alpha") == written_count + 1);
}

#[test]
fn two_servers_on_one_database_add_their_counts() {
    let shared = tempfile::tempdir().expect("a directory");
    let gcfg = format!("{}[Server]\nDataDir = {}\n", db::settings(Engine::Postgres), shared.path().display());
    let (first, second) = (Builder::default().gcfg(&gcfg).start(), Builder::default().gcfg(&gcfg).start());
    create_team(&first);
    until("the second server has the repository", || second.get(FILE).status == 200);
    until("the download is written", || download_count(&second, "alpha") > 0);
    let count_before = download_count(&first, "alpha");
    for _ in 0..3 {
        assert_eq!((get(&first, FILE, &[]), get(&second, FILE, &[])), (200, 200));
    }
    until("both have written", || download_count(&first, "alpha") == count_before + 6);
    assert_eq!(download_count(&second, "alpha"), count_before + 6);
}

#[test]
fn an_unavailable_database_causes_one_log_line_and_fails_no_download() {
    let mut server = Builder::default().prepare();
    let file = server.dir().join("data/db/usage.db");
    std::fs::create_dir_all(server.dir().join("data/db")).expect("created");
    std::fs::write(&file, "no database".repeat(100)).expect("written");
    server.launch();
    create_team(&server);
    assert_eq!(get(&server, FILE, &[]), 200);
    server.wait_for_log("could not write usage data; packages are served");
    assert_eq!((download_count(&server, "alpha"), get(&server, FILE, &[])), (0, 200));
    assert_eq!(server.get("/__api__/metrics/packages").status, 503);
    until("a row waits", || server.series("ppm_usage_rows_waiting") >= Some(1.0));
    let lines =
        || server.log_lines().iter().filter(|line| line.contains("could not write usage data")).count();
    assert_eq!(lines(), 1, "several attempts cause one line");
    std::fs::remove_file(&file).expect("removed");
    server.wait_for_log("the usage database is available again");
    until("nothing is lost", || download_count(&server, "alpha") == 2);
    assert_eq!(lines(), 1);
}

#[test]
fn counts_that_a_stop_cannot_write_are_logged() {
    let mut server = Builder::default().prepare();
    std::fs::create_dir_all(server.dir().join("data/db")).expect("created");
    std::fs::write(server.dir().join("data/db/usage.db"), "no database".repeat(100)).expect("written");
    server.launch();
    create_team(&server);
    assert_eq!(get(&server, FILE, &[]), 200);
    server.rspm_stdout("create blocklist-rule --package-name=beta");
    assert_eq!(get(&server, "/team/latest/src/contrib/beta_1.0.tar.gz", &[]), 403);
    server.stop();
    let text = "could not write 1 downloads and 1 refused requests; they are not counted";
    assert!(server.log_lines().iter().any(|line| line.contains(text)), "{:#?}", server.log_lines());
}

#[test]
fn a_postgresql_that_ends_sessions_loses_no_download() {
    let server = Builder::default().gcfg(&db::settings(Engine::Postgres)).start();
    create_team(&server);
    assert_eq!(get(&server, FILE, &[]), 200);
    until("it is written", || download_count(&server, "alpha") == 1);
    postgres::server().sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%usage_%' AND pid <> pg_backend_pid()",
    );
    assert_eq!(get(&server, FILE, &[]), 200);
    until("the second download is written once", || download_count(&server, "alpha") == 2);
}
