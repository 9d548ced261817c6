//! The source `pypi` with an index like PyPI: the list, pages at each time, files, faults of the index.

use serde_json::Value;

use super::clients::{command, installed_version, program, run, text};
use crate::support::fixtures::until;
use crate::support::history;
use crate::support::http;
use crate::support::pypi::{Pypi, hex};
use crate::support::python::index::{JSON, files, get, names, start, start_with, wheel};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::Builder;

#[test]
fn every_past_day_of_a_project_is_available_after_one_request() {
    let pypi = Pypi::start();
    let first = wheel(&pypi, &Package::new("one", "1.0"), "2015-03-04T05:06:07.123456Z");
    let second = wheel(&pypi, &Package::new("one", "2.0"), "2020-01-01T00:00:00Z");
    wheel(&pypi, &Package::new("other", "1.0"), "2020-01-01T00:00:00Z");
    let server = start(&pypi, "");
    assert_eq!(get(&server, "/py/latest/simple/one/").status, 404, "nothing is synced");
    assert!(server.json("info --source=pypi")["index"].get("first_sync").is_none());
    let message = server.sync_of("pypi").expect("an index");
    assert!(message.contains("2 projects, 2 added, 0 changed, 0 removed"), "{message}");
    assert_eq!(pypi.take_requests(), ["/simple/"], "a sync reads the list only");
    let root = get(&server, "/py/latest/simple/").json();
    assert_eq!(root["projects"].as_array().map(Vec::len), Some(2));
    let info = server.json("info --source=pypi");
    assert_eq!((&info["packages"], &info["index"]["read_projects"]), (&Value::from(2), &Value::from(0)));
    assert!(info["index"]["state_at"].is_string(), "{info}");
    let first_sync = info["index"]["first_sync"].clone();
    assert_eq!(first_sync, info["last_transaction"]["at"], "{info}");
    assert!(server.rspm_stdout("info --source=pypi").contains("First sync"));

    for (snapshot, expected) in [
        ("latest", vec![&first, &second]),
        ("2020-01-01", vec![&first, &second]),
        ("2019-12-31", vec![&first]),
        ("2015-03-04", vec![&first]),
        ("2015-03-03", Vec::new()),
    ] {
        assert_eq!(names(&server, snapshot, "one").iter().collect::<Vec<_>>(), expected, "{snapshot}");
    }
    assert_eq!(pypi.take_requests(), ["/simple/one/"], "one request for all days");
    // A name that is not on the list does not reach the index.
    assert_eq!(get(&server, "/py/latest/simple/none/").status, 404);
    assert!(pypi.take_requests().is_empty());

    // HTML lists the same files.
    let html = server.get("/py/2019-12-31/simple/one/");
    assert!(html.text().contains(&first) && !html.text().contains(&second), "{}", html.text());
    let latest = get(&server, "/py/latest/simple/one/");
    assert!(latest.header("cache-control").is_some_and(|value| value.contains("no-cache")), "{latest:?}");
}

#[test]
fn files_are_fetched_once_and_verified() {
    let pypi = Pypi::start();
    let package = Package::new("one", "1.0+local.1");
    let name = wheel(&pypi, &package, "2020-01-01T00:00:00Z");
    pypi.add("one", "one-2.0.tar.gz", b"declared", "2020-01-01T00:00:00Z");
    pypi.edit("one", "one-2.0.tar.gz", |file| file.sent = Some(b"replaced".to_vec()));
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let page = get(&server, "/py/latest/simple/one/").json();
    let entry = |name: &str| {
        let mut files = page["files"].as_array().expect("files").iter();
        files.find(|file| file["filename"] == *name).expect("a file").clone()
    };
    let path = |entry: &Value| {
        let url = entry["url"].as_str().expect("an address");
        format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"))
    };
    let wheel = path(&entry(&name));
    let head = http::request("HEAD", &server.url(&wheel), &[], b"");
    let length = package.wheel().len();
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*length.to_string())));
    let range = [("Range", "bytes=-100")];
    let part = http::request("GET", &server.url(&wheel), &range, b"");
    assert_eq!((part.status, part.body), (206, package.wheel()[length - 100..].to_vec()));
    assert_eq!(server.get(&wheel).body, package.wheel());
    let metadata = server.get(&format!("{wheel}.metadata"));
    assert_eq!((metadata.status, metadata.body), (200, package.metadata().into_bytes()));
    let requests = pypi.take_requests();
    assert_eq!(requests.iter().filter(|path| path.starts_with("/packages/")).count(), 2, "{requests:?}");
    let removed = server.get(&wheel.replace("one-1.0", "one-0.9"));
    assert!(removed.status == 404 && removed.text().contains("removed before"), "{}", removed.text());
    pypi.set_unavailable(true);
    assert_eq!(server.get(&wheel).status, 200, "it is stored");
    pypi.set_unavailable(false);
    let refused = server.get(&path(&entry("one-2.0.tar.gz")));
    assert_eq!((refused.status, refused.header("retry-after")), (502, Some("60")), "{refused:?}");
    assert!(refused.text().contains("other bytes than its index declares"), "{}", refused.text());
    let reason = format!("SHA-256 {}, not {}", hex(b"replaced"), hex(b"declared"));
    server.wait_for_log(&reason);
}

#[test]
fn a_page_is_read_again_once_after_a_file_with_another_digest() {
    let pypi = Pypi::start();
    let (file, other) = ("one-1.0.tar.gz", "one-2.0.tar.gz");
    for name in [file, other] {
        pypi.add("one", name, b"declared", "2020-01-01T00:00:00Z");
    }
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let address = |name: &str| {
        let page = get(&server, "/py/latest/simple/one/").json();
        let mut files = page["files"].as_array().expect("files").iter();
        let file = files.find(|file| file["filename"] == name).expect("a file");
        let url = file["url"].as_str().expect("an address");
        format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"))
    };
    let old = address(file);
    // The serial stays the same, so a sync does not read the page again.
    pypi.edit_silently("one", None, file, |file| {
        file.bytes = b"replaced".to_vec();
        file.earlier_digest = Some(hex(b"declared"));
    });
    pypi.edit_silently("one", None, other, |file| file.sent = Some(b"replaced".to_vec()));
    pypi.take_requests();
    assert_eq!(server.get(&old).status, 502);
    let new = old.replace(&hex(b"declared"), &hex(b"replaced"));
    until("the page is read again", || server.get(&new).status == 200);
    // Other files of the project, and further requests, do not cause another one.
    for path in [&old, &address(other), &old] {
        assert_eq!(server.get(path).status, 502);
    }
    assert_eq!(address(file), old, "`latest` moves with a sync");
    server.sync_of("pypi").expect("an index");
    assert_eq!(address(file), new);
    assert_eq!(server.get(&new).body, b"replaced");
    let requests = pypi.take_requests();
    assert_eq!(requests.iter().filter(|path| *path == "/simple/one/").count(), 1, "{requests:?}");
}

#[test]
fn final_pages_stay_while_the_project_changes() {
    let pypi = Pypi::start();
    let names_of: Vec<String> = ["1.0", "1.1", "1.2"]
        .iter()
        .map(|version| wheel(&pypi, &Package::new("one", version), "2021-03-05T00:00:00Z"))
        .collect();
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let day = "2022-01-01";
    let before = get(&server, &format!("/py/{day}/simple/one/"));
    // Earlier days have the list of sources at the end of the day of the first subscription, which is not over.
    assert_eq!(before.header("cache-control"), Some("no-cache"));
    assert_eq!(get(&server, "/py/latest/simple/one/").header("cache-control"), Some("no-cache"));
    assert_eq!(names(&server, "latest", "one"), names_of);

    pypi.edit("one", &names_of[0], |file| file.yanked = Some("broken".to_owned()));
    pypi.remove("one", &names_of[1]);
    let late = wheel(&pypi, &Package::new("one", "0.9"), "2021-03-05T00:00:00Z");
    assert_eq!(names(&server, "latest", "one"), names_of, "`latest` moves with a sync");
    let message = server.sync_of("pypi").expect("an index");
    assert!(
        message.contains(
            "0 added, 1 changed, 0 removed; changed pages of requested projects: 1 of 1 read again"
        ),
        "{message}"
    );
    pypi.take_requests();
    let latest = files(&server, "latest", "one").expect("a page");
    assert_eq!(latest.keys().collect::<Vec<_>>(), [&late, &names_of[0], &names_of[2]]);
    assert_eq!(latest[&names_of[0]], "broken");
    assert!(pypi.take_requests().is_empty(), "the page was read after the sync");
    let after = get(&server, &format!("/py/{day}/simple/one/"));
    assert_eq!((before.header("etag"), &before.body), (after.header("etag"), &after.body));
    // A file that was removed is still at its address.
    let old: Value = serde_json::from_slice(&after.body).expect("a page");
    let url = old["files"][1]["url"].as_str().expect("an address").to_owned();
    let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    let check_removed = || {
        let answer = server.get(&path);
        assert_eq!(answer.status, 404, "it was never fetched, and the index no longer has it");
        let text = format!("the index removed the file '{}', and no copy of it is stored here", names_of[1]);
        assert!(answer.text().contains(&text), "{}", answer.text());
    };
    check_removed();
    check_removed();
    // Another file has its name.
    pypi.add("one", &names_of[1], b"other bytes", "2024-01-05T00:00:00Z");
    server.sync_of("pypi").expect("an index");
    assert!(files(&server, "latest", "one").expect("a page").contains_key(&names_of[1]));
    check_removed();
    // Unyanked again.
    pypi.edit("one", &names_of[0], |file| file.yanked = None);
    server.sync_of("pypi").expect("an index");
    assert_eq!(files(&server, "latest", "one").expect("a page")[&names_of[0]], false);
    let unchanged = server.sync_of("pypi").expect("an index");
    assert!(unchanged.contains("up to date"), "{unchanged}");
}

#[test]
fn projects_that_are_removed_or_quarantined_are_not_offered() {
    let pypi = Pypi::start();
    for project in ["gone", "held"] {
        wheel(&pypi, &Package::new(project, "1.0"), "2021-03-05T00:00:00Z");
    }
    for number in 0..40 {
        pypi.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", "2021-03-05T00:00:00Z");
    }
    let server = start_with(history::builder(), &pypi, "");
    server.sync_of("pypi").expect("an index");
    for project in ["gone", "held"] {
        assert_eq!(names(&server, "2022-01-01", project).len(), 1);
    }
    server.rspm_stdout("history init --origin=example.org/log");
    server.signed();
    let page = get(&server, "/py/latest/simple/held/").json();
    let url = page["files"][0]["url"].as_str().expect("an address").to_owned();
    let file = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    assert_eq!(server.get(&file).status, 200);
    pypi.remove_project("gone");
    pypi.quarantine("held", true);
    server.sync_of("pypi").expect("an index");
    for project in ["gone", "held"] {
        assert!(files(&server, "latest", project).is_none());
    }
    assert_eq!(names(&server, "2022-01-01", "gone").len(), 1, "the days before stay");
    assert!(names(&server, "2022-01-01", "held").is_empty(), "a quarantine applies to every day");
    assert_eq!(server.get(&file).status, 404, "lock files do not help");
    let has_entry = |state: &str| {
        let entries = server.log_entries();
        entries.iter().any(|entry| entry.contains(" page\n") && entry.contains(state))
    };
    until("the log has the quarantine", || has_entry("project held\nfiles 0\n"));
    pypi.quarantine("held", false);
    server.sync_of("pypi").expect("an index");
    assert_eq!(server.get(&file).status, 200);
    for snapshot in ["latest", "2022-01-01"] {
        assert_eq!(names(&server, snapshot, "held").len(), 1, "{snapshot}");
    }
    until("the log has its end", || has_entry("project held\nfiles 1\n"));
}

#[test]
fn known_pages_are_served_while_the_index_does_not_answer() {
    let pypi = Pypi::start();
    let name = wheel(&pypi, &Package::new("one", "1.0"), "2021-03-05T00:00:00Z");
    wheel(&pypi, &Package::new("two", "1.0"), "2021-03-05T00:00:00Z");
    let server = start(&pypi, "Follow = false");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), [&*name]);
    pypi.edit("one", &name, |file| file.yanked = Some("bad".to_owned()));
    server.sync_of("pypi").expect("an index");
    pypi.set_unavailable(true);
    let outdated = || server.series("ppm_python_outdated_pages_total");
    assert_eq!(outdated(), Some(0.0));
    assert_eq!(files(&server, "latest", "one").expect("the last page")[&name], false);
    assert_eq!(outdated(), Some(1.0));
    let unknown = get(&server, "/py/latest/simple/two/");
    assert_eq!((unknown.status, unknown.header("retry-after")), (503, Some("30")), "{unknown:?}");
    assert!(server.sync_of("pypi").is_err());
    pypi.set_unavailable(false);
    crate::support::fixtures::until("the index gets a request again", || {
        files(&server, "latest", "one").is_some_and(|files| files[&name] == "bad")
    });
    crate::support::fixtures::until("the other project is requested again, too", || {
        get(&server, "/py/latest/simple/two/").status == 200
    });
    assert_eq!(names(&server, "latest", "two").len(), 1);
}

#[test]
fn an_older_page_does_not_replace_a_newer_one() {
    let pypi = Pypi::start();
    let name = wheel(&pypi, &Package::new("one", "1.0"), "2021-03-05T00:00:00Z");
    let server = start(&pypi, "Follow = false");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), [&*name]);
    pypi.remove("one", &name);
    pypi.set_page_serial("one", Some(1));
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), [&*name], "the page of the cache is older than the list");
    pypi.take_requests();
    assert_eq!(names(&server, "latest", "one"), [&*name]);
    assert!(pypi.take_requests().is_empty(), "it is not requested again at once");
}

#[test]
fn a_page_without_the_serial_that_earlier_ones_had_is_not_used() {
    let pypi = Pypi::start();
    for version in ["1.0", "2.0"] {
        wheel(&pypi, &Package::new("one", version), "2021-03-05T00:00:00Z");
    }
    let mut server = start(&pypi, "Follow = false");
    server.sync_of("pypi").expect("an index");
    let before = names(&server, "latest", "one");
    assert_eq!(before.len(), 2);
    wheel(&pypi, &Package::new("one", "3.0"), "2022-03-05T00:00:00Z");
    // An old copy, as a cache sends while the index does not answer.
    let copy = serde_json::json!({ "meta": { "api-version": "1.4" }, "name": "one", "files": [{
        "filename": "one-1.0-py3-none-any.whl", "url": "../../packages/x/one-1.0-py3-none-any.whl",
        "hashes": { "sha256": "0".repeat(64) },
    }] });
    pypi.set_raw_page("one", JSON, copy.to_string().as_bytes());
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), before, "the last page is served");
    assert!(server.log_lines().iter().any(|line| line.contains("it may be an old copy")));
    pypi.remove_raw_page("one");
    // Ends the time in which the page is not requested again.
    server.restart();
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one").len(), 3);
}

#[test]
fn lower_serials_must_be_accepted() {
    let pypi = Pypi::start();
    let name = wheel(&pypi, &Package::new("one", "1.0"), "2021-03-05T00:00:00Z");
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let dated = get(&server, "/py/2022-01-01/simple/one/");
    pypi.lower_serials();
    pypi.edit("one", &name, |file| file.yanked = Some("bad".to_owned()));
    let error = server.sync_of("pypi").expect_err("an older list");
    assert!(error.contains("--accept-serial"), "{error}");
    server.rspm_stdout("sync --type=pypi --accept-serial");
    let message = server.sync_of("pypi").expect("it was accepted");
    assert!(message.contains("up to date"), "{message}");
    // A page that was read before has a higher serial, and is read again.
    assert_eq!(files(&server, "latest", "one").expect("a page")[&name], "bad");
    assert_eq!(get(&server, "/py/2022-01-01/simple/one/").body, dated.body, "it was final");
}

#[test]
fn the_history_of_an_index_with_html_only_begins_with_the_first_reading() {
    let pypi = Pypi::start();
    pypi.set_plain();
    pypi.add("one", "one-1.0.tar.gz", b"one", "");
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), ["one-1.0.tar.gz"]);
    assert!(names(&server, "2020-01-01", "one").is_empty());
    let page = get(&server, "/py/latest/simple/one/").json();
    let url = page["files"][0]["url"].as_str().expect("an address").to_owned();
    let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    assert_eq!(server.get(&path).body, b"one");
}

#[test]
fn a_local_source_before_the_index_owns_its_names() {
    let pypi = Pypi::start();
    wheel(&pypi, &Package::new("mine", "9.0"), "2021-03-05T00:00:00Z");
    wheel(&pypi, &Package::new("theirs", "1.0"), "2021-03-05T00:00:00Z");
    let server =
        Builder::default().gcfg(&format!("[PyPI]\nURL = {}", pypi.url())).env("NO_PROXY", "*").start();
    repository(&server);
    add(&server, "team", &Package::new("Mine", "1.0"));
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "mine"), ["mine-1.0-py3-none-any.whl"]);
    assert_eq!(names(&server, "latest", "theirs"), ["theirs-1.0-py3-none-any.whl"]);
    let root = get(&server, "/py/latest/simple/").json();
    assert_eq!(root["projects"].as_array().map(Vec::len), Some(2), "{root}");
    assert!(pypi.take_requests().iter().all(|path| path != "/simple/mine/"));
}

#[test]
fn a_new_project_with_the_name_of_a_local_package_is_reported_once() {
    let pypi = Pypi::start();
    wheel(&pypi, &Package::new("theirs", "1.0"), "2021-03-05T00:00:00Z");
    let server =
        Builder::default().gcfg(&format!("[PyPI]\nURL = {}", pypi.url())).env("NO_PROXY", "*").start();
    repository(&server);
    add(&server, "team", &Package::new("Mine", "1.0"));
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    let first = server.sync_of("pypi").expect("an index");
    assert!(!first.contains("local packages"), "{first}");
    wheel(&pypi, &Package::new("mine", "9.0"), "2021-03-05T00:00:00Z");
    wheel(&pypi, &Package::new("other", "1.0"), "2021-03-05T00:00:00Z");
    let second = server.sync_of("pypi").expect("an index");
    assert!(second.contains("new projects have the names of local packages: mine"), "{second}");
    assert!(!second.contains("other"), "{second}");
    let is_logged = |line: &String| line.contains("has the name of a local package") && line.contains("mine");
    assert!(server.log_lines().iter().any(is_logged));
    assert_eq!(names(&server, "latest", "mine"), ["mine-1.0-py3-none-any.whl"]);
    wheel(&pypi, &Package::new("other", "2.0"), "2021-03-05T00:00:00Z");
    let third = server.sync_of("pypi").expect("an index");
    assert!(!third.contains("local packages"), "{third}");
}

#[test]
fn pip_and_uv_install_from_a_dated_index() {
    let pypi = Pypi::start();
    wheel(&pypi, &Package::new("lib", "1.0"), "2019-01-01T00:00:00Z");
    wheel(&pypi, &Package::new("lib", "2.0"), "2021-01-01T00:00:00Z");
    wheel(&pypi, &Package::new("app", "1.0").requires("lib"), "2019-01-01T00:00:00Z");
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for (snapshot, version) in [("2020-06-30", "1.0"), ("latest", "2.0")] {
        let index = server.url(&format!("/py/{snapshot}/simple"));
        let pip_target = server.dir().join(format!("pip-{snapshot}"));
        let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
        pip.arg(&pip_target).args(["-i", &index, "app"]);
        let uv_target = server.dir().join(format!("uv-{snapshot}"));
        let mut uv = command(&server, &program("uv", "uv"), "home-uv");
        uv.args(["pip", "install", "--target"]).arg(&uv_target).args(["--default-index", &index, "app"]);
        for (client, target) in [(pip, pip_target), (uv, uv_target)] {
            let output = run(client);
            assert!(output.status.success(), "{}", text(&output));
            assert_eq!(installed_version(&target, "lib").as_deref(), Some(version), "{}", target.display());
        }
    }
}
