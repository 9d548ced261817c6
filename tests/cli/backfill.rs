//! `rspm backfill` on a running server: what it tells, what everybody sees afterwards, and that nothing but `--stop`
//! ends it.

use std::time::{Duration, Instant};

use crate::support::cran_history::Cran;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

/// alpha: 1.0 on 2025-10-09, 1.1 on the 11th, 2.0 on the 14th; beta on the 10th, away on the 12th.
fn cran() -> Cran {
    let package = |name: &str, version: &str| Tarball::new(name, version).field("NeedsCompilation: no");
    let mut cran = Cran::default();
    cran.publish(0, &package("alpha", "1.0").field("SystemRequirements: libcurl"));
    cran.publish(1, &package("beta", "0.1"));
    cran.publish(2, &package("alpha", "1.1"));
    cran.take_away(3, "beta");
    cran.publish(5, &package("alpha", "2.0"));
    cran
}

fn served() -> (Upstream, Server) {
    let web = Upstream::empty();
    cran().serve(&web);
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", web.url())).start();
    server.told("sync");
    server.told("create repo --name=prod");
    server.told("subscribe --repo=prod --source=cran");
    (web, server)
}

fn index(server: &Server, day: &str) -> (u16, String) {
    let got = server.get(&format!("/prod/{day}/src/contrib/PACKAGES"));
    (got.status, got.text())
}

#[test]
fn what_was_filled_in_is_seen_by_everybody() {
    let (_web, server) = served();
    assert_eq!(index(&server, "2025-10-12").0, 404);
    let told = server.told("backfill --source=cran --since=2025-10-01 --dry-run");
    assert_eq!(
        told,
        "5 days of cran from 2025-10-09 to 2025-10-14, 4 releases, would be filled in; 3 archives have to be read, \
         which at 8 requests a second over 4 connections takes about 0 h 01 min and reads about 1 MB\n"
    );
    assert_eq!(index(&server, "2025-10-12").0, 404, "nothing was done");
    let job = server.json("backfill --since=2025-10-01 --rate=1000");
    let said = job["message"].as_str().unwrap_or_default();
    assert!(
        said.starts_with("5 days of cran from 2025-10-09 to 2025-10-14, 4 releases, were filled in"),
        "{job}"
    );
    assert_eq!((&job["status"], &job["key"]), (&"done".into(), &"backfill:cran".into()));

    let (status, text) = index(&server, "2025-10-11");
    assert_eq!(status, 200);
    assert_eq!(
        text,
        "Package: alpha\nVersion: 1.1\nLicense: MIT\nNeedsCompilation: no\n\n\
         Package: beta\nVersion: 0.1\nLicense: MIT\nNeedsCompilation: no\n"
    );
    assert!(index(&server, "2025-10-09").1.contains("SystemRequirements: libcurl"));
    assert!(!index(&server, "2025-10-13").1.contains("beta"));
    for form in ["PACKAGES.gz", "PACKAGES.rds", "Meta/archive.rds", "Meta/current.rds"] {
        let got = server.get(&format!("/prod/2025-10-11/src/contrib/{form}"));
        assert_eq!(got.status, 200, "{form}");
    }
    // The old version as the listed one of its day, from where the mirror keeps it now.
    let file = server.get("/prod/2025-10-10/src/contrib/alpha_1.0.tar.gz");
    let old =
        cran().archive.into_iter().find(|release| release.file() == "alpha_1.0.tar.gz").expect("it exists");
    assert_eq!((file.status, file.body == old.bytes), (200, true));
    assert_eq!(server.get("/prod/2025-10-11/src/contrib/Archive/alpha/alpha_1.0.tar.gz").status, 200);
    assert_eq!(server.get("/prod/2025-10-10/src/contrib/alpha_1.1.tar.gz").status, 404, "not yet");
    assert_eq!(index(&server, "2025-10-08").0, 404);

    let dates = server.get("/__api__/repos/prod/transaction-dates").json();
    let days: Vec<&str> =
        dates.as_array().expect("a list").iter().filter_map(|date| date["alias"].as_str()).collect();
    assert!(
        days.ends_with(&["2025-10-14", "2025-10-12", "2025-10-11", "2025-10-10", "2025-10-09"]),
        "{days:?}"
    );
    let first = server.get("/__api__/repos/prod/first-transaction").json();
    assert_eq!(first["alias"], "2025-10-09");
    let rows = server.get("/__api__/sources/1/transactions").json();
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), 6);
    // Old clients look for a date among the rows, and ask for the number beside it.
    assert_eq!(rows[0]["action"], "Sync");
    let row = rows.iter().find(|row| row["completed"] == "2025-10-11").expect("a row of that day");
    assert_eq!((&row["action"], &row["published_to"]), (&"Backfill".into(), &"2025-10-11T23:59:59Z".into()));
    assert_eq!(index(&server, &row["id"].to_string()).1, text);
    let explained = server.told("explain prod alpha --date=2025-10-12");
    assert!(explained.contains("1.1") && explained.contains("2025-10-12"), "{explained}");
    let explained = server.told("explain prod beta --date=2025-10-13");
    assert!(explained.contains("archive"), "{explained}");
}

#[test]
fn what_cannot_be_done_says_what_can() {
    let (_web, server) = served();
    for (line, words) in [
        ("backfill --source=nope --since=2025-10-01", "there is no source 'nope'"),
        ("backfill --source=pypi --since=2025-10-01", "it is for cran"),
        ("backfill --source=pypi --stop", "it is for cran"),
    ] {
        let said = server.refused(line);
        assert!(said.contains(words), "{line}: {said}");
    }
    for (line, words) in [
        ("backfill --source=cran", "--since"),
        ("backfill --since=yesterday", "YYYY-MM-DD"),
        ("backfill --since=2025-10-01 --rate=0", "1..=1000"),
        ("backfill --since=2025-10-01 --stop", "cannot be used with"),
    ] {
        let ran = server.rspm(line);
        assert!(ran.code == 2 && ran.err.contains(words), "{line}: {} {}", ran.code, ran.err);
    }
    assert_eq!(server.told("backfill --stop"), "No back-fill of cran is under way.\n");
    let later = server.told("backfill --since=2999-01-01");
    assert!(later.starts_with("the history of cran begins on"), "{later}");
}

/// Waits until the past is there.
fn comes(server: &Server) {
    let begun = Instant::now();
    while index(server, "2025-10-12").0 != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "it does not go on: {:?}",
            server.log_lines().last()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

const SLOW: &str = "src/contrib/Archive/alpha/alpha_1.0.tar.gz";

#[test]
fn one_goes_on_after_a_kill_and_after_offline() {
    let (web, mut server) = served();
    web.always(SLOW, Fault::Slow(Duration::from_secs(60)));
    let job = server.json("backfill --since=2025-10-01 --no-wait");
    assert_eq!(job["status"], "running");
    let again = server.json("backfill --since=2025-10-01 --no-wait");
    assert_eq!((&again["id"], &again["attached"]), (&job["id"], &true.into()));
    assert!(server.told("status").contains("backfill:cran"), "{}", server.told("status"));
    // A sync is not kept waiting, and going offline neither.
    let synced = server.told("sync");
    assert!(synced.contains("nothing changed"), "{synced}");
    let begun = Instant::now();
    server.told("offline --timeout=40s");
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "half of the time is for what begins from its beginning"
    );
    web.asked();
    server.told("online");
    let begun = Instant::now();
    while !web.asked().iter().any(|asked| asked.path == "src/contrib/Meta/archive.rds") {
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    web.always(SLOW, Fault::Also("X: y"));
    server.launch();
    comes(&server);
    // What it published is seen a moment before the job has ended.
    let told = server.told("backfill --stop");
    assert!(told.contains("were filled in") || told.contains("No back-fill of cran is under way"), "{told}");
    assert_eq!(server.told("backfill --stop"), "No back-fill of cran is under way.\n");
}

#[test]
fn one_that_was_stopped_goes_on_when_it_is_asked_for_again() {
    let (web, mut server) = served();
    web.always(SLOW, Fault::Slow(Duration::from_secs(60)));
    server.told("backfill --since=2025-10-01 --no-wait");
    let told = server.told("backfill --stop");
    assert!(told.contains("was stopped"), "{told}");
    server.restart();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.json("status")["jobs"].as_array().map(Vec::len).unwrap_or_default(), 0);
    web.always(SLOW, Fault::Also("X: y"));
    server.told("backfill --since=2025-10-01");
    comes(&server);
}
