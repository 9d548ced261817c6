//! The snapshot in a URL: its meaning for clients, and the responses to invalid ones.

use super::{Mirror, add, curl, expected_output, r, repository};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A day `by` days from today, in UTC.
fn day(by: i64) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    today.checked_add(jiff::Span::new().days(by)).expect("a day").to_string()
}

fn team() -> Server {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    repository(&server, "prod", &["team"]);
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    server
}

fn index(server: &Server, snapshot: &str) -> super::Response {
    curl(&[], &server.url(&format!("/prod/{snapshot}/src/contrib/PACKAGES")))
}

fn transaction(server: &Server) -> i64 {
    server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a number")
}

#[test]
fn latest_today_and_the_old_form_of_a_date_are_the_newest_state() {
    let server = team();
    let latest = index(&server, "latest");
    assert_eq!(latest.status, 200);
    assert!(latest.text().contains("Package: alpha\nVersion: 1.0\n"), "{}", latest.text());
    // The date may change while this test runs.
    let today = || [day(0), format!("{}+Y3JhbiwyOjQ1", day(0)), format!("{}%2BY3JhbiwyOjQ1", day(0))];
    for snapshot in today() {
        let response = index(&server, &snapshot);
        if response.status != 200 {
            assert_ne!(snapshot.get(..10), day(0).get(..10), "{}", response.text());
            continue;
        }
        assert_eq!((response.body, response.status), (latest.body.clone(), 200), "{snapshot}");
    }
}

#[test]
fn responses_for_days_without_a_state_name_the_days_with_one() {
    let server = team();
    let first = day(0);
    let (yesterday, response) = (day(-1), index(&server, &day(-1)));
    if first != day(0) {
        return responses_for_days_without_a_state_name_the_days_with_one();
    }
    let expected =
        format!("no snapshot of this repository is as old as {yesterday}; its history starts at {first}\n");
    assert_eq!((response.status, response.text()), (404, expected));
    let (tomorrow, response) = (day(2), index(&server, &day(2)));
    assert_eq!(response.status, 404);
    let expected = format!("{tomorrow} is in the future; the newest snapshot is ");
    assert!(response.text().starts_with(&expected), "{}", response.text());
    assert!(response.header("content-type").starts_with("text/plain"));
}

#[test]
fn unknown_names_are_reported_in_one_line_with_the_remedy() {
    let server = team();
    for (path, expected) in [
        ("/prdo/latest/src/contrib/PACKAGES", "there is no repository 'prdo'; did you mean 'prod'?"),
        (
            "/prod/lastest/src/contrib/PACKAGES",
            "'lastest' is not a snapshot: use latest, a date (YYYY-MM-DD) or a transaction id",
        ),
        (
            "/prod/2024-02-30/src/contrib/PACKAGES",
            "'2024-02-30' is not a snapshot: use latest, a date (YYYY-MM-DD) or a transaction id",
        ),
        ("/prod/999999/src/contrib/PACKAGES", "there is no transaction 999999"),
        ("/prod/latest/src/contrib/beta_1.0.tar.gz", "there is no beta 1.0 in this snapshot"),
        ("/prod/latest/src/contrib/alpha_2.0.tar.gz", "there is no alpha 2.0 in this snapshot"),
        (
            "/prod/latest/src/contrib/Archive/beta/alpha_1.0.tar.gz",
            "there is no package file 'alpha_1.0.tar.gz'",
        ),
        ("/prod/latest/src/contrib/README", "there is no package file 'README'"),
        ("/prod/latest/bin/windows/contrib/4.5/alpha_1.0.zip", "there is no binary package 'alpha_1.0.zip'"),
    ] {
        let response = curl(&[], &server.url(path));
        assert_eq!((response.status, response.text().trim_end()), (404, expected), "{path}");
    }
}

#[test]
fn the_snapshot_of_a_transaction_never_changes() {
    let server = team();
    let first = transaction(&server);
    let before = index(&server, &first.to_string());
    add(&server, "team", &[Tarball::new("alpha", "2.0"), Tarball::new("beta", "1.0")]);
    let second = transaction(&server);
    assert!(second > first);
    let (old, new) = (index(&server, &first.to_string()), index(&server, &second.to_string()));
    assert_eq!((&old.body, old.header("etag")), (&before.body, before.header("etag")));
    assert_eq!(new.body, index(&server, "latest").body);
    let code = "old <- available.packages(repos = args[[1]]); new <- available.packages(repos = args[[2]])
        say('old', old[, 'Package'], old[, 'Version']); say('new', new[, 'Package'], new[, 'Version'])
        say('got', basename(download.packages('alpha', tempdir(), repos = args[[1]], quiet = TRUE)[, 2]))";
    let urls = [server.url(&format!("/prod/{first}")), server.url(&format!("/prod/{second}"))];
    let output = r(code, &[&urls[0], &urls[1]]);
    let expected = [("old", "alpha 1.0"), ("new", "alpha 2.0 beta 1.0"), ("got", "alpha_1.0.tar.gz")];
    assert_eq!(output, expected_output(&expected));
    // The first transaction is the subscription: the source had no packages yet.
    let start = index(&server, "1");
    assert_eq!((start.status, start.text().as_str()), (200, ""));
}

#[test]
fn r_does_not_warn_about_a_repository_without_packages() {
    let mirror = Mirror::of(&[]);
    let server = Builder::default().gcfg(&mirror.gcfg()).start();
    server.rspm_stdout("create source --name=team");
    repository(&server, "bare", &[]);
    repository(&server, "unsynced", &["cran"]);
    repository(&server, "unfilled", &["team"]);
    repository(&server, "emptied", &["team"]);
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    server.rspm_stdout("unsubscribe --repo=emptied --source=team");
    server.rspm_stdout("remove package --name=alpha@all --source=team");
    let code = "for (name in c('bare', 'unsynced', 'unfilled', 'emptied'))
        say(name, nrow(available.packages(repos = paste0(args[[1]], name, '/latest'))),
            nrow(available.packages(repos = paste0(args[[1]], name, '/', Sys.Date()))),
            length(readRDS(gzcon(url(paste0(args[[1]], name, '/latest/src/contrib/Meta/archive.rds'), 'rb')))))";
    let output = r(code, &[&server.url("/")]);
    let none = ["bare", "unsynced", "unfilled", "emptied"].map(|name| (name, "0 0 0"));
    assert_eq!(output, expected_output(&none));
}
