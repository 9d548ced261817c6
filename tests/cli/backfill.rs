//! `rspm backfill` on a running server: its output, the snapshots that it adds, and that only `--stop` ends it.

use std::time::{Duration, Instant};

use crate::support::cran_history::CranHistory;
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

/// alpha: 1.0 on 2025-10-09, 1.1 on the 11th, 2.0 on the 14th; beta on the 10th, removed on the 12th.
fn cran() -> CranHistory {
    let package = |name: &str, version: &str| Tarball::new(name, version).field("NeedsCompilation: no");
    let mut cran = CranHistory::default();
    cran.publish(0, &package("alpha", "1.0").field("SystemRequirements: libcurl"));
    cran.publish(1, &package("beta", "0.1"));
    cran.publish(2, &package("alpha", "1.1"));
    cran.archive_package(3, "beta");
    cran.publish(5, &package("alpha", "2.0"));
    cran
}

fn start() -> (Upstream, Server) {
    let web = Upstream::empty();
    cran().serve(&web);
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", web.url())).start();
    server.rspm_stdout("sync");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    (web, server)
}

/// Status and text of `PACKAGES` in the snapshot of a day or with a number.
fn index(server: &Server, day: &str) -> (u16, String) {
    let answer = server.get(&format!("/prod/{day}/src/contrib/PACKAGES"));
    (answer.status, answer.text())
}

#[test]
fn back_filled_snapshots_are_served_to_all_clients() {
    let (_web, server) = start();
    assert_eq!(index(&server, "2025-10-12").0, 404);
    let output = server.rspm_stdout("backfill --source=cran --since=2025-10-01 --dry-run");
    assert_eq!(
        output,
        "5 days of cran from 2025-10-09 to 2025-10-14, 4 releases, would be added; 3 archives have to be read, \
         which at 8 requests a second over 4 connections takes about 0 h 01 min and reads about 1 MB\n"
    );
    assert_eq!(index(&server, "2025-10-12").0, 404, "a dry run changes nothing");
    let job = server.json("backfill --since=2025-10-01 --rate=1000");
    let message = job["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("5 days of cran from 2025-10-09 to 2025-10-14, 4 releases, were added"),
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
        let answer = server.get(&format!("/prod/2025-10-11/src/contrib/{form}"));
        assert_eq!(answer.status, 200, "{form}");
    }
    // The old version is the listed one of its day; its file comes from the archive of the mirror.
    let file = server.get("/prod/2025-10-10/src/contrib/alpha_1.0.tar.gz");
    let old =
        cran().archive.into_iter().find(|release| release.file() == "alpha_1.0.tar.gz").expect("it exists");
    assert_eq!((file.status, file.body == old.bytes), (200, true));
    assert_eq!(server.get("/prod/2025-10-11/src/contrib/Archive/alpha/alpha_1.0.tar.gz").status, 200);
    assert_eq!(server.get("/prod/2025-10-10/src/contrib/alpha_1.1.tar.gz").status, 404, "not published yet");
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
    // Old clients search the rows for a date and request the number in the same row.
    assert_eq!(rows[0]["action"], "Sync");
    let row = rows.iter().find(|row| row["completed"] == "2025-10-11").expect("a row of that day");
    assert_eq!((&row["action"], &row["published_to"]), (&"Backfill".into(), &"2025-10-11T23:59:59Z".into()));
    assert_eq!(index(&server, &row["id"].to_string()).1, text);
    let explanation = server.rspm_stdout("explain prod alpha --date=2025-10-12");
    assert!(explanation.contains("1.1") && explanation.contains("2025-10-12"), "{explanation}");
    let explanation = server.rspm_stdout("explain prod beta --date=2025-10-13");
    assert!(explanation.contains("archive"), "{explanation}");
}

#[test]
fn errors_name_what_is_supported() {
    let (_web, server) = start();
    for (line, words) in [
        ("backfill --source=nope --since=2025-10-01", "there is no source 'nope'"),
        ("backfill --source=pypi --since=2025-10-01", "it is for cran"),
        ("backfill --source=pypi --stop", "it is for cran"),
    ] {
        let message = server.refused(line);
        assert!(message.contains(words), "{line}: {message}");
    }
    for (line, words) in [
        ("backfill --source=cran", "--since"),
        ("backfill --since=yesterday", "YYYY-MM-DD"),
        ("backfill --since=2025-10-01 --rate=0", "1..=1000"),
        ("backfill --since=2025-10-01 --stop", "cannot be used with"),
    ] {
        let result = server.rspm(line);
        assert!(result.code == 2 && result.err.contains(words), "{line}: {} {}", result.code, result.err);
    }
    assert_eq!(server.rspm_stdout("backfill --stop"), "No back-fill of cran is under way.\n");
    assert_eq!(server.json("audit list --action=stop~back-fill").as_array().map(Vec::len), Some(0));
    let message = server.rspm_stdout("backfill --since=2999-01-01");
    assert!(message.starts_with("the history of cran begins on"), "{message}");
}

/// Waits until the back-filled snapshots are served.
fn wait_for_snapshots(server: &Server) {
    let start = Instant::now();
    while index(server, "2025-10-12").0 != 200 {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the back-fill does not continue: {:?}",
            server.log_lines().last()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The file that the mirror delays.
const SLOW: &str = "src/contrib/Archive/alpha/alpha_1.0.tar.gz";

#[test]
fn a_back_fill_resumes_after_a_kill_and_after_offline() {
    let (web, mut server) = start();
    web.always(SLOW, Fault::Slow(Duration::from_secs(60)));
    let job = server.json("backfill --since=2025-10-01 --no-wait");
    assert_eq!(job["status"], "running");
    let second_job = server.json("backfill --since=2025-10-01 --no-wait");
    assert_eq!((&second_job["id"], &second_job["attached"]), (&job["id"], &true.into()));
    assert!(server.rspm_stdout("status").contains("backfill:cran"), "{}", server.rspm_stdout("status"));
    // Neither `rspm sync` nor `rspm offline` waits for the back-fill.
    let message = server.rspm_stdout("sync");
    assert!(message.contains("nothing changed"), "{message}");
    until("the slow archive is read", || web.pending().iter().any(|path| path == SLOW));
    web.take_requests();
    // Jobs that restart from the beginning may use half of the timeout, which is longer than the delay of the mirror.
    server.rspm_stdout("offline --timeout=200s");
    assert!(
        web.take_requests().iter().all(|request| request.path != SLOW),
        "the back-fill did not wait for the mirror"
    );
    server.rspm_stdout("online");
    until("the back-fill resumes", || {
        web.take_requests().iter().any(|request| request.path == "src/contrib/Meta/archive.rds")
    });
    server.kill();
    web.always(SLOW, Fault::ExtraHeader("X: y"));
    server.launch();
    wait_for_snapshots(&server);
    // The snapshots are visible shortly before the job ends.
    let output = server.rspm_stdout("backfill --stop");
    assert!(
        output.contains("were added") || output.contains("No back-fill of cran is under way"),
        "{output}"
    );
    assert_eq!(server.rspm_stdout("backfill --stop"), "No back-fill of cran is under way.\n");
}

#[test]
fn a_stopped_back_fill_resumes_when_it_is_requested_again() {
    let (web, mut server) = start();
    web.always(SLOW, Fault::Slow(Duration::from_secs(60)));
    server.rspm_stdout("backfill --since=2025-10-01 --no-wait");
    let output = server.rspm_stdout("backfill --stop");
    assert!(output.contains("was stopped"), "{output}");
    server.restart();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.json("status")["jobs"].as_array().map(Vec::len).unwrap_or_default(), 0);
    web.always(SLOW, Fault::ExtraHeader("X: y"));
    server.rspm_stdout("backfill --since=2025-10-01");
    wait_for_snapshots(&server);
}

#[test]
fn a_back_filled_version_takes_the_place_of_a_blocked_one() {
    let (_web, server) = start();
    server.rspm_stdout("create blocklist-rule --package-name=alpha --version=2.0");
    assert!(!index(&server, "latest").1.contains("Package: alpha"), "no other version is known");
    let answer = server.get("/prod/latest/src/contrib/alpha_2.0.tar.gz");
    let only_archived = "the highest allowed version is 1.1, which only the archive has";
    assert!(answer.status == 403 && answer.text().contains(only_archived), "{}", answer.text());
    let explained = server.rspm_stdout("explain prod alpha");
    assert!(explained.contains("allowed, in the archive only"), "{explained}");
    let test = server.rspm("test blocklist-rules --repo=prod --package-name=alpha");
    assert!(test.out.contains("Highest allowed version: 1.1, in the archive only"), "{test:?}");
    server.rspm_stdout("backfill --since=2025-10-01 --rate=1000");
    let text = index(&server, "latest").1;
    assert!(text.contains("Package: alpha\nVersion: 1.1\n"), "{text}");
    let explained = server.rspm_stdout("explain prod alpha");
    assert!(explained.contains("alpha 1.1") && !explained.contains("in the archive only"), "{explained}");
    let answer = server.get("/prod/latest/src/contrib/alpha_2.0.tar.gz");
    assert!(answer.text().ends_with("the highest allowed version is 1.1\n"), "{}", answer.text());
    let test = server.rspm("test blocklist-rules --repo=prod --package-name=alpha");
    assert!(test.out.contains("Highest allowed version: 1.1\n"), "{test:?}");
}
