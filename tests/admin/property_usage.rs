//! `Server.UsageData…` and `Postgres.UsageData…`: one test per property, which sets it and checks its effect.

use rstudio_pm::config::Config;
use rstudio_pm::db::Db;
use rstudio_pm::db::download::{self, Count};
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::property_database::{on_postgres, schema_over_tcp};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::postgres::{self, PASSWORD};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::today::stable_today;

const FILE: &str = "/team/latest/src/contrib/alpha_1.0.tar.gz";

/// Starts a server with one package, and downloads the package once.
fn server_with_download(builder: Builder) -> Server {
    let server = builder.start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    assert_eq!(server.get(FILE).status, 200);
    server
}

/// Returns the download count of the package, which is written with a delay.
fn downloads(server: &Server) -> i64 {
    let detail = server.get("/__api__/repos/team/packages/alpha").json();
    detail["downloads"]["count"].as_i64().expect("a number")
}

#[test]
pub(super) fn usage_data_enabled_decides_whether_downloads_are_counted_and_a_database_is_opened() {
    let server = server_with_download(Builder::default());
    until("the download is written", || downloads(&server) == 1);
    assert!(server.dir().join("data/db/usage.db").is_file());
    assert_eq!(server.get("/__api__/status").json()["metrics_enabled"], true);

    let mut server = server_with_download(Builder::default().gcfg("[Server]\nUsageDataEnabled = false"));
    assert_eq!(server.get("/__api__/status").json()["metrics_enabled"], false);
    let answer = server.get("/__api__/metrics/packages?_sourceType=r&_days=7");
    assert_eq!((answer.status, answer.json()["code"].as_i64()), (404, Some(4)));
    assert_eq!(downloads(&server), 0);
    server.stop();
    assert!(!server.dir().join("data/db/usage.db").exists());
}

/// Returns the current day in days since the epoch.
fn today() -> i64 {
    stable_today();
    let elapsed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after the epoch");
    i64::try_from(elapsed.as_secs() / 86_400).expect("a day")
}

/// Inserts into the database of a stopped server downloads of `beta`, one for each number of days ago in `days`, and
/// the time of the last aggregation in microseconds since the epoch.
fn write_downloads(server: &Server, days: &[i64], last: Option<i64>) {
    let dir = server.dir().join("data/db");
    let text = format!("[SQLite]\nDir = {}\n", dir.display());
    let config = Config::example(server.dir(), &text).expect("valid").config;
    let db = Db::open_usage(&config).expect("it opens");
    let row = |ago: &i64| Count {
        day: today() - ago,
        language: "r".to_owned(),
        source: "team".to_owned(),
        package: "beta".to_owned(),
        version: "1.0".to_owned(),
        platform: "source".to_owned(),
        // Days with equal content would be stored as one object.
        count: 100 + ago,
    };
    let rows: Vec<Count> = days.iter().map(row).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime
        .block_on(db.bulk(move |c| {
            download::add(c, "test", 1, Timestamp(1), &rows)?;
            last.map_or(Ok(()), |last| download::record_run(c, "night", Timestamp(last)))
        }))
        .expect("written");
    db.close();
}

/// Returns the number of stored objects of aggregated days.
fn stored_day_count(server: &Server) -> usize {
    let dir = server.dir().join("data/metrics/usage");
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

/// Returns the downloads of `beta` in the last `days` days, as reported by the API.
fn downloads_of_beta(server: &Server, days: i64) -> i64 {
    // Counts of sources that do not exist are for administrators.
    let target = format!("/__api__/metrics/packages?_sourceType=r&_days={days}");
    let answer = http::admin(&server.admin_socket(), "GET", &target, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows = answer.json();
    let row = rows.as_array().expect("rows").iter().find(|row| row["name"] == "beta").cloned();
    row.map_or(0, |row| row["count"].as_i64().expect("a number"))
}

#[test]
pub(super) fn usage_data_schedule_runs_an_aggregation_that_was_missed_while_the_server_was_down() {
    // 2020-03-01: the time after it contains a 29th of February (2024), but no 30th of February.
    let last_aggregation = 1_583_020_800 * SECOND;
    for (schedule, is_due) in [("0 0 29 2 *", true), ("0 0 30 2 *", false)] {
        let mut server =
            Builder::default().gcfg(&format!("[Server]\nUsageDataSchedule = {schedule}")).prepare();
        write_downloads(&server, &[1, 2], Some(last_aggregation));
        server.launch();
        until("the database is open", || server.get("/__api__/metrics/packages").status == 200);
        if is_due {
            until("both days are in storage", || stored_day_count(&server) == 2);
            server.wait_for_log("usage data: 2 days aggregated, 0 removed");
        } else {
            assert_eq!(stored_day_count(&server), 0);
        }
        // Today and the days before, from storage or from the rows.
        assert_eq!(
            (downloads_of_beta(&server, 1), downloads_of_beta(&server, 2), downloads_of_beta(&server, 3)),
            (0, 101, 203),
            "{schedule}"
        );
    }
}

#[test]
pub(super) fn usage_data_retention_is_the_number_of_days_that_are_stored() {
    let last_aggregation = 1_583_020_800 * SECOND;
    let mut server = Builder::default()
        .gcfg("[Server]\nUsageDataSchedule = 0 0 29 2 *\nUsageDataRetention = 10d")
        .prepare();
    write_downloads(&server, &[5, 10, 11, 300], Some(last_aggregation));
    server.launch();
    server.wait_for_log("usage data: 4 days aggregated, 2 removed");
    assert_eq!((stored_day_count(&server), downloads_of_beta(&server, 366)), (2, 215));
}

#[test]
fn an_untrusted_clock_removes_no_day() {
    let last_aggregation = 1_583_020_800 * SECOND;
    let mut server = Builder::default()
        .gcfg("[Server]\nUsageDataSchedule = 0 0 29 2 *\nUsageDataRetention = 10d")
        .prepare();
    write_downloads(&server, &[5, 300], Some(last_aggregation));
    // The last publish was forty days ago.
    let text = format!("[SQLite]\nDir = {}\n", server.dir().join("data/db").display());
    let db = Db::open(&Config::example(server.dir(), &text).expect("valid").config).expect("it opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let last_publish = (today() - 40) * 86_400 * SECOND;
    let update = db.write(move |c| c.execute("UPDATE clock SET at = $1", &[last_publish.into()]));
    assert_eq!(runtime.block_on(update).expect("written"), 1);
    db.close();
    server.launch();
    server.wait_for_log("could not aggregate usage data");
    assert_eq!((stored_day_count(&server), downloads_of_beta(&server, 366)), (0, 505));
    let sweep = server.rspm("storage sweep");
    assert!(sweep.code != 0 && sweep.err.contains("nothing is removed from storage"), "{sweep:?}");
}

/// Asserts that the schema has the tables of usage data.
fn assert_usage_tables(schema: &str) {
    postgres::server().sql(&format!("SELECT count(*) FROM {schema}.usage_download"));
}

#[test]
pub(super) fn postgres_usage_data_url_is_another_schema() {
    let (core_schema, url) = schema_over_tcp("postgres", "");
    let (own_schema, usage) = schema_over_tcp("postgres", "");
    let server = server_with_download(on_postgres(&url, &format!("UsageDataURL = \"{usage}\"")));
    until("the download is written", || downloads(&server) == 1);
    assert_usage_tables(&own_schema);
    postgres::server().sql(&format!(
        "DO $$ BEGIN IF to_regclass('{core_schema}.usage_download') IS NOT NULL THEN RAISE 'usage tables in the main schema'; END IF; END $$"
    ));
    let (shared_schema, url) = schema_over_tcp("postgres", "");
    let server = server_with_download(on_postgres(&url, ""));
    until("the download is written", || downloads(&server) == 1);
    assert_usage_tables(&shared_schema);
}

#[test]
pub(super) fn postgres_usage_data_password_is_used_when_the_url_contains_none() {
    let (_, url) = schema_over_tcp("postgres", "");
    let (own_schema, usage) = schema_over_tcp("pm", "");
    let lines = |further_lines: &str| format!("UsageDataURL = \"{usage}\"\n{further_lines}");
    let server_with_password =
        server_with_download(on_postgres(&url, &lines(&format!("UsageDataPassword = \"{PASSWORD}\""))));
    until("the download is written", || downloads(&server_with_password) == 1);
    assert_usage_tables(&own_schema);
    let (_, url) = schema_over_tcp("postgres", "");
    let server_without_password = server_with_download(on_postgres(&url, &lines("")));
    server_without_password.wait_for_log("could not write usage data; packages are served");
    server_without_password.wait_for_log("check the user and password of Postgres.UsageDataURL");
    let output = server_without_password.failed_check("Database");
    assert!(output.contains("refused user 'pm'") && output.contains("UsageDataURL"), "{output}");
    let (_, url) = schema_over_tcp("postgres", "");
    let shared_server =
        server_with_download(on_postgres(&url, &lines(&format!("Password = \"{PASSWORD}\""))));
    until("the download is written", || downloads(&shared_server) >= 1);
}
