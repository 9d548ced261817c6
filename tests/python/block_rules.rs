//! Block rules on Python repositories: pages, files, metadata and the JSON API agree, and what pip and uv print.

use serde_json::{Value, json};
use sha2::Digest;

use super::clients::{command, installed_version, program, run, text};
use crate::support::advisories::{folder, record};
use crate::support::http::{self, Answer};
use crate::support::pypi::Pypi;
use crate::support::python::index::{files, get, names, start, wheel};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::Server;

/// A local source with versions 1.0 and 2.0 of the package `one`.
fn server() -> Server {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    add(&server, "team", &Package::new("one", "2.0"));
    server
}

fn assert_blocked(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.header("x-pm-reason"), Some(reason), "{}", answer.text());
}

/// The path of the wheel of a version.
fn path(version: &str) -> String {
    let package = Package::new("one", version);
    let sha256 = hex::encode(sha2::Sha256::digest(package.wheel()));
    format!("/py/latest/packages/{sha256}/{}", package.wheel_name())
}

#[test]
fn blocked_files_are_left_out_of_pages_and_forbidden_by_their_addresses() {
    let server = server();
    assert_eq!(server.get(&path("2.0")).status, 200);
    server.rspm_stdout("create blocklist-rule --package-name=One --version=>=2.0rc1 --description=broken");
    let reason = "rule 1 (broken; versions >=2.0rc1)";
    assert_eq!(names(&server, "latest", "one"), ["one-1.0-py3-none-any.whl"]);
    let page = get(&server, "/py/latest/simple/one/").json();
    assert_eq!(page["versions"], json!(["1.0"]));
    let html = server.get("/py/latest/simple/one/").text();
    assert!(html.contains("one-1.0") && !html.contains("one-2.0"), "{html}");
    let answer = server.get(&path("2.0"));
    assert_blocked(&answer, reason);
    assert_eq!(
        answer.text(),
        format!("one 2.0 is blocked in this repository by {reason}; the highest allowed version is 1.0\n")
    );
    assert_blocked(&http::request("HEAD", &server.url(&path("2.0")), &[], b""), reason);
    assert_blocked(&http::request("GET", &server.url(&path("2.0")), &[("Range", "bytes=0-9")], b""), reason);
    assert_blocked(&server.get(&format!("{}.metadata", path("2.0"))), reason);
    assert_eq!(server.get(&path("1.0")).status, 200);
    let document = server.get("/py/latest/pypi/one/json").json();
    assert_eq!(document["info"]["version"], "1.0");
    assert_eq!(server.get("/__api__/repos/py/packages/one").json()["version"], "1.0");
    server.rspm_stdout("delete blocklist-rule --id=1");
    assert_eq!(names(&server, "latest", "one").len(), 2);
    assert_eq!(server.get(&path("2.0")).status, 200);
}

#[test]
fn the_api_states_the_rule_that_blocks_a_version() {
    let server = server();
    add(&server, "team", &Package::new("two", "1.0"));
    server.rspm_stdout("create blocklist-rule --package-name=one --version=2.0");
    server.rspm_stdout("create blocklist-rule --package-name=two --description=unwanted");
    let reason = "rule 1 (versions 2.0)";
    for path in ["/__api__/repos/py/packages/one?version=2.0.0", "/py/latest/pypi/one/2.0/json"] {
        assert_blocked(&server.get(path), reason);
    }
    let page = server.get("/py/latest/web/packages/one/?version=2.0");
    assert!(page.status == 403 && page.text().contains(reason), "{}", page.text());
    assert_eq!(server.get("/__api__/repos/py/packages/one?version=3.0").status, 404);

    let body = json!({ "repo": "py", "names": ["one", "one==2.0", "two", "two==9.0", "gone"] });
    let headers = [("Content-Type", "application/json")];
    let url = server.url("/__api__/filter/packages");
    let answer = http::request("POST", &url, &headers, body.to_string().as_bytes());
    let rows: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let expected = [
        ("one", "1.0", Value::Null, json!(["1.0"])),
        ("one", "2.0", json!(reason), json!(["1.0"])),
        ("two", "1.0", json!("rule 2 (unwanted)"), json!([])),
    ];
    assert_eq!(rows.len(), expected.len(), "{}", answer.text());
    for (row, (name, version, rule, versions)) in rows.iter().zip(expected) {
        assert_eq!((&row["name"], &row["version"]), (&json!(name), &json!(version)), "{row}");
        assert_eq!((&row["blocked"], &row["blocking_rule"]), (&json!(!rule.is_null()), &rule), "{row}");
        assert_eq!(row["available_versions"], versions, "{row}");
    }
    let body = json!({ "repo": "py", "names": ["two"], "omit_package_details": true });
    let answer = http::request("POST", &url, &headers, body.to_string().as_bytes());
    assert_eq!(
        answer.json(),
        json!({ "name": "two", "version": "1.0", "blocked": true, "blocking_rule": "rule 2 (unwanted)" })
    );
}

/// Installs `one` with pip into a new folder; returns the folder and the output.
#[test]
fn the_versions_of_a_source_state_the_rules_of_all_repositories() {
    let server = server();
    let blocked = || -> Vec<serde_json::Value> {
        let rows = server.get("/__api__/sources/team/packages/One/releases").json();
        let rows = rows.as_array().expect("releases").clone();
        rows.iter().map(|row| json!([row["version"], row["blocked"], row["blocking_rule"]])).collect()
    };
    server.rspm_stdout("create blocklist-rule --package-name=one --version=1.0 --repo=py");
    assert_eq!(blocked(), [json!(["2.0", false, null]), json!(["1.0", false, null])]);
    server.rspm_stdout("create blocklist-rule --package-name=ONE --version=>=2.0 --description=broken");
    let reason = "rule 2 (broken; versions >=2.0)";
    assert_eq!(blocked(), [json!(["2.0", true, reason]), json!(["1.0", false, null])]);
    server.rspm_stdout("create blocklist-rule --package-name=one --exception --source=team");
    assert_eq!(blocked(), [json!(["2.0", false, null]), json!(["1.0", false, null])]);
}

fn pip(server: &Server, requirement: &str) -> (std::path::PathBuf, std::process::Output) {
    let target = server.dir().join("target");
    let mut pip = command(server, &program("pip-newest", "python"), "home");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    pip.arg(&target).args(["-i", &server.url("/py/latest/simple"), requirement]);
    let output = run(pip);
    (target, output)
}

#[test]
fn the_page_of_a_project_whose_files_are_all_blocked_is_forbidden_not_missing() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --package-name=one");
    assert_blocked(&get(&server, "/py/latest/simple/one/"), "rule 1");
    assert_eq!(get(&server, "/py/latest/simple/two/").status, 404);
    let (target, output) = pip(&server, "one");
    assert!(!output.status.success());
    assert!(text(&output).contains("No matching distribution found for one"), "{}", text(&output));
    assert_eq!(installed_version(&target, "one"), None);
    let mut uv = command(&server, &program("uv", "uv"), "uv");
    let url = server.url("/py/latest/simple");
    uv.args(["pip", "install", "--target", "uv-target", "--index-url", &url, "one"]);
    let output = run(uv);
    assert!(!output.status.success());
    assert!(text(&output).contains("403"), "{}", text(&output));
}

/// Installs a project with two indexes; returns the installed version.
fn install_from_two(
    server: &Server,
    client: &str,
    (index, extra): (&str, &str),
    project: &str,
) -> Option<String> {
    let target = server.dir().join(format!("{client}-{index}-{project}"));
    let [index, extra] = [index, extra].map(|repo| server.url(&format!("/{repo}/latest/simple")));
    let mut install = match client {
        "pip" => {
            let mut pip = command(server, &program("pip-newest", "python"), "home");
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir"]);
            pip
        }
        _ => {
            let mut uv = command(server, &program("uv", "uv"), "uv");
            uv.args(["pip", "install", "--no-cache"]);
            uv
        }
    };
    install.arg("--target").arg(&target);
    install.args(["--index-url", &index, "--extra-index-url", &extra, project]);
    let output = run(install);
    let installed = installed_version(&target, project);
    assert_eq!(output.status.success(), installed.is_some(), "{}", text(&output));
    installed
}

#[test]
fn with_a_further_index_pip_installs_blocked_versions_and_uv_prefers_the_extra_index() {
    let server = server();
    add(&server, "team", &Package::new("two", "1.0"));
    server.rspm_stdout("create repo --name=open --type=python");
    server.rspm_stdout("subscribe --repo=open --source=team");
    server.rspm_stdout("create blocklist-rule --repo=py --package-name=one --version=2.0");
    server.rspm_stdout("create blocklist-rule --repo=py --package-name=two");
    for (client, indexes, project, expected) in [
        ("pip", ("py", "open"), "one", Some("2.0")),
        ("pip", ("open", "py"), "one", Some("2.0")),
        ("pip", ("open", "py"), "two", Some("1.0")),
        ("uv", ("py", "open"), "one", Some("2.0")),
        ("uv", ("py", "open"), "two", Some("1.0")),
        ("uv", ("open", "py"), "one", Some("1.0")),
        ("uv", ("open", "py"), "two", None),
    ] {
        let installed = install_from_two(&server, client, indexes, project);
        assert_eq!(installed.as_deref(), expected, "{client}, {indexes:?}, {project}");
    }
}

#[test]
fn a_file_with_a_warning_is_yanked_and_pip_and_uv_print_the_reason() {
    let server = server();
    let description = "ask~security@example.org";
    server.rspm_stdout(&format!(
        "create blocklist-rule --package-name=one --version=2.0 --warn --description={description}"
    ));
    let reason = "rule 1 (ask security@example.org; versions 2.0)";
    assert_eq!(names(&server, "latest", "one").len(), 2);
    let page = get(&server, "/py/latest/simple/one/").json();
    let yanked: Vec<_> =
        page["files"].as_array().expect("files").iter().map(|file| &file["yanked"]).collect();
    assert_eq!(yanked, [&json!(false), &json!(reason)]);
    assert_eq!(page["versions"], json!(["1.0", "2.0"]));
    let html = server.get("/py/latest/simple/one/").text();
    assert!(html.contains(&format!("data-yanked=\"{reason}\"")), "{html}");
    for path in [path("2.0"), format!("{}.metadata", path("2.0"))] {
        let answer = server.get(&path);
        assert_eq!((answer.status, answer.header("x-pm-reason")), (200, Some(reason)), "{path}");
    }
    assert_eq!(server.get(&path("1.0")).header("x-pm-reason"), None);
    let document = server.get("/py/latest/pypi/one/json").json();
    assert_eq!(document["info"]["version"], "1.0", "installers prefer it");
    assert_eq!(document["releases"]["2.0"][0]["yanked_reason"], reason);
    let page = server.get("/py/latest/web/packages/one/?version=2.0").text();
    assert!(page.contains("rule 1 (ask security@example.org"), "{page}");
    let explained = server.rspm_stdout("explain py one");
    assert!(explained.contains("yanked with a warning") && explained.contains(reason), "{explained}");

    let (target, output) = pip(&server, "one");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(
        installed_version(&target, "one").as_deref(),
        Some("1.0"),
        "a yanked version is not preferred"
    );
    let url = server.url("/py/latest/simple");
    std::fs::remove_dir_all(&target).expect("removed");
    let (target, output) = pip(&server, "one==2.0");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "one").as_deref(), Some("2.0"));
    assert!(text(&output).contains(&format!("Reason for being yanked: {reason}")), "{}", text(&output));
    let mut uv = command(&server, &program("uv", "uv"), "uv");
    uv.args(["pip", "install", "--target", "uv-target", "--index-url", &url, "one==2.0"]);
    let output = run(uv);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("is yanked") && text(&output).contains(reason), "{}", text(&output));

    server.rspm_stdout("delete blocklist-rule --id=1");
    let page = get(&server, "/py/latest/simple/one/").json();
    assert_eq!(page["files"][1]["yanked"], false);
}

#[test]
fn pip_installs_the_highest_allowed_version_and_not_a_blocked_one() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --package-name=one --version=2.0");
    let (target, output) = pip(&server, "one");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "one").as_deref(), Some("1.0"));
    let (_, output) = pip(&server, "one==2.0");
    assert!(!output.status.success());
    assert!(text(&output).contains("No matching distribution found for one==2.0"), "{}", text(&output));
}

#[test]
fn pip_and_uv_print_the_reason_for_a_file_that_they_request_by_its_address() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --package-name=one --version=2.0 --description=ticket-9");
    let url = server.url(&path("2.0"));
    let (_, output) = pip(&server, &url);
    let message = "403 Client Error: Forbidden: rule 1 (ticket-9; versions 2.0) for url";
    assert!(!output.status.success() && text(&output).contains(message), "{}", text(&output));
    let mut uv = command(&server, &program("uv", "uv"), "uv");
    let index = server.url("/py/latest/simple");
    uv.args(["pip", "install", "--target", "uv-target", "--index-url", &index, &format!("one @ {url}")]);
    let output = run(uv);
    let message = "(403 Forbidden: rule 1 (ticket-9; versions 2.0))";
    assert!(!output.status.success() && text(&output).contains(message), "{}", text(&output));
}

#[test]
fn files_of_an_index_have_the_age_of_their_upload_and_the_vulnerabilities_of_pypi() {
    let pypi = Pypi::start();
    let wheel = |version: &str, uploaded: &str| {
        let package = Package::new("one", version);
        pypi.add("one", &package.wheel_name(), &package.wheel(), uploaded);
    };
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    wheel("1.0", "2015-03-04T05:06:07Z");
    wheel("2.0", "2020-01-01T00:00:00Z");
    wheel("3.0", &yesterday.to_string());
    let server = start(&pypi, "[Vulnerabilities]\nURL = file://{dir}/own\n");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one").len(), 3);
    server.rspm_stdout("create blocklist-rule --min-age=7d");
    let versions = |snapshot: &str| -> Vec<String> {
        names(&server, snapshot, "one")
            .iter()
            .map(|name| name.split('-').nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(versions("latest"), ["1.0", "2.0"]);
    assert_eq!(versions("2020-01-01"), ["1.0"], "2.0 was a day old at most");
    assert_eq!(versions("2020-01-09"), ["1.0", "2.0"]);
    folder(&server.dir().join("own"), &[record("x_OWN-1", "PyPI", "one", "2.5")]);
    server.sync_of("vulns").expect("advisories");
    assert_eq!(versions("latest"), ["1.0", "2.0", "3.0"], "3.0 fixes a vulnerability of 2.0");
    server.rspm_stdout("create blocklist-rule --vulns");
    assert_eq!(versions("latest"), ["3.0"]);
}

#[test]
fn the_age_of_a_file_that_an_index_backdates_counts_from_the_reading_that_found_it() {
    let pypi = Pypi::start();
    let first = wheel(&pypi, &Package::new("one", "1.0"), "2015-03-04T05:06:07Z");
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), [first.as_str()]);
    server.rspm_stdout("create blocklist-rule --min-age=7d");
    let second = Package::new("one", "2.0");
    let backdated = wheel(&pypi, &second, "2016-01-01T00:00:00Z");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), [first.as_str()], "2.0 was not there at the first reading");
    let sha256 = hex::encode(sha2::Sha256::digest(second.wheel()));
    let path = format!("/py/latest/packages/{sha256}/{backdated}");
    let answer = server.get(&path);
    let reason = answer.header("x-pm-reason").unwrap_or_default();
    assert!(answer.status == 403 && reason.contains("first found here"), "{}", answer.text());
    // A yank begins a new life of the file, which is not a new age.
    pypi.edit("one", &first, |file| file.yanked = Some("broken".to_owned()));
    server.sync_of("pypi").expect("an index");
    assert_eq!(files(&server, "latest", "one").unwrap()[&first], "broken");
    server.rspm_stdout("delete blocklist-rule --id=1");
    server.rspm_stdout("create blocklist-rule --min-age=7d --package-name=two");
    assert_eq!(names(&server, "latest", "one").len(), 2);
    assert_eq!(server.get(&path).status, 200);
}

#[test]
fn the_list_of_projects_lacks_a_project_whose_files_are_all_blocked() {
    let server = server();
    add(&server, "team", &Package::new("two", "1.0"));
    let listed = || -> Vec<String> {
        let html = server.get("/py/latest/simple/").text();
        let list = get(&server, "/py/latest/simple/").json();
        let projects = list["projects"].as_array().expect("projects").iter();
        let names: Vec<String> =
            projects.map(|project| project["name"].as_str().expect("a name").to_owned()).collect();
        for name in ["one", "two"] {
            let is_linked = html.contains(&format!("\"{name}/\""));
            assert_eq!(is_linked, names.iter().any(|listed| listed == name), "{name}: {html}");
        }
        names
    };
    assert_eq!(listed(), ["one", "two"]);
    server.rspm_stdout("create blocklist-rule --package-name=one --version=>=2");
    assert_eq!(listed(), ["one", "two"], "1.0 is not blocked");
    server.rspm_stdout("create blocklist-rule --package-name=one");
    assert_eq!(listed(), ["two"]);
    assert_eq!(get(&server, "/py/latest/simple/one/").status, 403);
    server.rspm_stdout("create blocklist-rule --package-name=one --version=1.0 --exception");
    assert_eq!(listed(), ["one", "two"], "an exception allows 1.0");
    server.rspm_stdout("delete blocklist-rule --id=all");
    server.rspm_stdout("create blocklist-rule --all");
    assert_eq!(listed(), [] as [&str; 0]);
}

#[test]
fn a_rule_that_blocks_no_file_does_not_change_the_files_on_the_page_of_an_index() {
    let pypi = Pypi::start();
    let first = wheel(&pypi, &Package::new("one", "1.0"), "2015-03-04T05:06:07Z");
    wheel(&pypi, &Package::new("one", "10.0"), "2015-03-05T00:00:00Z");
    wheel(&pypi, &Package::new("one", "2.0"), "2015-03-06T05:06:07.5Z");
    pypi.edit("one", &first, |file| {
        file.yanked = Some("a \"bad\" <one>".to_owned());
        file.requires_python = Some(">=3.9, <4".to_owned());
    });
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let pages = || {
        ["latest", "2015-03-05"].map(|snapshot| {
            let path = format!("/py/{snapshot}/simple/one/");
            let (page, html) = (get(&server, &path).json(), server.get(&path).text());
            let links = html.lines().filter(|line| line.starts_with("<a ")).map(str::to_owned);
            (page["files"].clone(), page["versions"].clone(), links.collect::<Vec<_>>())
        })
    };
    // A later change of a project changes its serial, but not its past days, which have none.
    let serials = || {
        ["latest", "2015-03-05"].map(|snapshot| {
            ["simple/", "simple/one/", "pypi/one/json"].map(|path| {
                let answer = get(&server, &format!("/py/{snapshot}/{path}"));
                answer.header("x-pypi-last-serial").map(str::to_owned)
            })
        })
    };
    let (before, serials_before) = (pages(), serials());
    assert!(serials_before[0].iter().any(Option::is_some), "{serials_before:?}");
    assert_eq!(before[0].1, json!(["1.0", "2.0", "10.0"]));
    assert_eq!((before[0].2.len(), before[1].2.len()), (3, 2));
    server.rspm_stdout("create blocklist-rule --package-name=one --version=9.0");
    assert_eq!(pages(), before);
    assert_eq!(serials(), serials_before);
}
