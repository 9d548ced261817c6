//! Pages of past days compared with an independent reader of the mirror's HTML, and what pip resolves on one of them.

use std::collections::BTreeMap;
use std::process::Command;

use rstudio_pm::model::point::PointTree;
use rstudio_pm::model::time::Day;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::name;
use rstudio_pm::serve;

use super::clients::{command, program, run, text};
use super::flask;
use super::index_history::{Files, files, page, subscribe, sync};
use crate::support::backend::{Backend, StoresConfig};
use crate::support::data;
use crate::support::server::{Builder, Server};

/// The variable that names another year of which every day is compared, for projects of any size.
const YEAR: &str = "RSPM_TEST_ORACLE_YEAR";
/// The number of changes up to which all of them are compared: a page with thousands of files is rendered for each.
const MAX_CHANGES: usize = 100;

/// The days to compare: every day of a year, and the days around those on which the generated mirror has uploads.
fn days() -> Vec<String> {
    if let Ok(year) = std::env::var(YEAR) {
        return days_of(&year);
    }
    let around = (2010..2018).flat_map(|year| (3..6).map(move |day| format!("{year}-03-{day:02}")));
    around.chain(days_of("2020")).collect()
}

/// All days of a year.
pub(super) fn days_of(year: &str) -> Vec<String> {
    let text = |month: u8, day: u8| format!("{year}-{month:02}-{day:02}");
    let days = (1..=12).flat_map(|month| (1..=31).map(move |day| (month, day)));
    days.map(|(month, day)| text(month, day)).filter(|day| day.parse::<Day>().is_ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_past_days_are_those_of_an_independent_reader() {
    let web = data::path("pypi-mirror/web");
    let days = days();
    let python = std::env::var("RSPM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/oracle_days.py");
    let output =
        Command::new(python).arg(script).arg(web.join("simple")).args(&days).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: BTreeMap<String, BTreeMap<String, Option<Files>>> =
        serde_json::from_slice(&output.stdout).expect("the files of each project and day");
    let compares_all = std::env::var(YEAR).is_ok();
    let gcfg = format!("[PyPI]\nURL = file://{}", web.display());
    let backend = Backend::with_stores(StoresConfig { gcfg }).await;
    // Later than every upload of the mirror.
    backend.advance_to_noon("2027-01-01");
    subscribe(&backend).await;
    // The day of the first subscription, which decides about all days before it, is over.
    backend.advance_to_noon("2027-01-02");
    sync(&backend).await;
    let mut compared_count = 0;
    for (project, by_day) in expected {
        let changes = by_day.values().flatten().count();
        let interval = if compares_all { 1 } else { changes.div_ceil(MAX_CHANGES) };
        let (mut current, mut is_changed, mut last_trees) = (Files::new(), true, Vec::new());
        for (number, (day, listed)) in by_day.into_iter().enumerate() {
            if let Some(listed) = listed {
                (current, is_changed) = (listed, true);
            }
            if number % interval != 0 {
                continue;
            }
            let trees = trees(&backend, &day, &project).await;
            if !is_changed {
                // The page is the same document.
                assert_eq!(trees, last_trees, "{project} on {day}");
                continue;
            }
            for format in [SimpleFormat::Json, SimpleFormat::Html] {
                let (page, _, is_final) = page(&backend, &day, &project, format).await;
                assert_eq!(files(&page), current, "{project} on {day}, {format:?}");
                assert!(is_final, "{project} on {day}");
            }
            (is_changed, last_trees) = (false, trees);
            compared_count += 1;
        }
    }
    assert!(compared_count > 10, "{compared_count}");
}

/// The trees that determine the page of a project on a day.
async fn trees(backend: &Backend, day: &str, project: &str) -> Vec<PointTree> {
    let point = serve::point::resolve(&backend.repositories, "py", day.parse().unwrap()).await.unwrap();
    let project = name::parse(project).unwrap();
    let located = serve::project::file::locate_page(&backend.repositories, &point, &project).await.unwrap();
    located.point.trees
}

/// pip resolves to the last releases before the end of that day that work together.
#[test]
fn pip_resolves_a_past_day_to_the_versions_of_that_day() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().canonicalize().expect("a folder");
    let gcfg =
        format!("[PyPI]\nURL = file://{}", flask::mirror(&data::path("pypi-mirror/web"), &folder).display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server.sync_of("pypi").expect("an index");
    assert_resolves_flask_and_requests(&server, "2020-06-30");
}

/// The versions of flask, requests and their dependencies at the end of 2020-06-30.
pub(super) const FLASK_AND_REQUESTS: [(&str, &str); 11] = [
    ("certifi", "2020.6.20"),
    ("chardet", "3.0.4"),
    ("click", "7.1.2"),
    ("flask", "1.1.2"),
    ("idna", "2.10"),
    ("itsdangerous", "1.1.0"),
    ("jinja2", "2.11.2"),
    ("markupsafe", "1.1.1"),
    ("requests", "2.24.0"),
    ("urllib3", "1.25.9"),
    ("werkzeug", "1.0.1"),
];

/// Resolves flask and requests with pip in a snapshot of the repository `py`.
pub(super) fn assert_resolves_flask_and_requests(server: &Server, snapshot: &str) {
    let report = server.dir().join("report.json");
    let mut pip = command(server, &program("pip-newest", "python"), "home-pip");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--dry-run"]);
    pip.args(["--ignore-installed", "--only-binary=:all:", "--implementation=cp", "--python-version=3.8"]);
    pip.args(["--platform=manylinux1_x86_64", "--target"]).arg(server.dir().join("target"));
    pip.arg("--report").arg(&report);
    pip.args(["-i", &server.url(&format!("/py/{snapshot}/simple")), "flask", "requests"]);
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON");
    let version = |package: &serde_json::Value| {
        let metadata = &package["metadata"];
        let name = metadata["name"].as_str().expect("a name").to_lowercase();
        (name, metadata["version"].as_str().expect("a version").to_owned())
    };
    let resolved: BTreeMap<String, String> =
        report["install"].as_array().expect("packages").iter().map(version).collect();
    let expected = FLASK_AND_REQUESTS.map(|(name, version)| (name.to_owned(), version.to_owned()));
    assert_eq!(resolved, expected.into());
}
