//! Indexes without a list of projects, or with an incomplete one: `PyPI.Unlisted`.

use crate::support::pypi::Pypi;
use crate::support::python::index::{get, names, start};
use crate::support::python::package::{Package, add};
use crate::support::server::Server;

const OLD: &str = "2021-03-05T00:00:00Z";

fn index() -> Pypi {
    let pypi = Pypi::start();
    for project in ["one", "two"] {
        pypi.add(project, &format!("{project}-1.0.tar.gz"), project.as_bytes(), OLD);
    }
    pypi
}

#[test]
fn an_index_without_a_list_is_requested_by_name_if_that_is_configured() {
    let pypi = index();
    pypi.remove_list();
    let refused = start(&pypi, "").sync_of("pypi").expect_err("there is no list");
    assert!(refused.contains("[PyPI] Unlisted = true"), "{refused}");

    let server = start(&pypi, "Unlisted = true");
    assert!(names(&server, "latest", "one").is_empty(), "it is not synced");
    let message = server.sync_of("pypi").expect("pages");
    assert!(message.contains("0 projects") && message.contains("others are requested by name"), "{message}");
    pypi.take_requests();
    assert_eq!(names(&server, "latest", "one"), ["one-1.0.tar.gz"]);
    assert_eq!(pypi.take_requests(), ["/simple/one/"], "one request");
    let page = get(&server, "/py/latest/simple/one/").json();
    let url = page["files"][0]["url"].as_str().expect("an address");
    let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    assert_eq!(server.get(&path).body, b"one");

    // A name that the index does not have is requested once a minute.
    pypi.take_requests();
    for _ in 0..3 {
        assert_eq!(get(&server, "/py/latest/simple/three/").status, 404);
    }
    assert_eq!(pypi.take_requests(), ["/simple/three/"]);
    // Past days do not change.
    assert_eq!(get(&server, "/py/2022-01-01/simple/two/").status, 404);
    assert!(pypi.take_requests().is_empty());

    server.sync_of("pypi").expect("pages");
    assert_eq!(names(&server, "latest", "one"), ["one-1.0.tar.gz"], "a sync does not remove it");
    let list = get(&server, "/py/latest/simple/").json();
    assert_eq!(list["projects"][0]["name"], "one");
}

#[test]
fn a_project_that_the_list_lacks_belongs_to_the_first_source_that_has_it() {
    let pypi = index();
    pypi.unlist("two");
    let server = start(&pypi, "Unlisted = true");
    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("create repo --name=own --type=python");
    server.rspm_stdout("subscribe --repo=own --source=team");
    server.rspm_stdout("subscribe --repo=own --source=pypi");
    server.rspm_stdout("subscribe --repo=py --source=team");
    add(&server, "team", &Package::new("two", "9.0"));
    add(&server, "team", &Package::new("three", "9.0"));
    server.sync_of("pypi").expect("an index");
    // The index did not list these names before the uploads, which therefore guard them.
    let answer = get(&server, "/py/latest/simple/two/").json();
    assert_eq!(answer["files"][0]["filename"], "two-9.0-py3-none-any.whl");
    server.rspm_stdout("delete name-guard --id=1");
    server.rspm_stdout("delete name-guard --id=2");
    pypi.take_requests();
    let files = |repo: &str, project: &str| {
        let page = get(&server, &format!("/{repo}/latest/simple/{project}/")).json();
        page["files"][0]["filename"].as_str().expect("a file").to_owned()
    };
    assert_eq!(files("own", "two"), "two-9.0-py3-none-any.whl");
    assert!(pypi.take_requests().is_empty(), "the local source is before the index");
    // In `py` the index is first.
    assert_eq!(files("py", "two"), "two-1.0.tar.gz");
    assert_eq!(files("py", "three"), "three-9.0-py3-none-any.whl");
    assert_eq!(pypi.take_requests(), ["/simple/two/", "/simple/three/"]);
    assert_eq!(files("own", "two"), "two-9.0-py3-none-any.whl");
}

#[test]
fn the_age_of_a_project_that_the_list_lacks_counts_from_its_uploads() {
    let pypi = index();
    pypi.unlist("two");
    let server = start(&pypi, "Unlisted = true");
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create blocklist-rule --min-age=7d");
    // The list is incomplete, so it does not state that the project is new.
    assert_eq!(names(&server, "latest", "two"), ["two-1.0.tar.gz"]);
}

/// A server of an index that does not list `two`, with the source `team`; the index is first in the repository `py`, and
/// the only source of the repository `index`.
fn start_with_team(pypi: &Pypi, gcfg: &str) -> Server {
    pypi.unlist("two");
    let server = start(pypi, &format!("Unlisted = true\n{gcfg}"));
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("subscribe --repo=py --source=team");
    server.rspm_stdout("create repo --name=index --type=python");
    server.rspm_stdout("subscribe --repo=index --source=pypi");
    server
}

/// Runs `change` during a request for `two`, which is repeated later.
fn assert_guarded_during_the_request(server: &Server, pypi: &Pypi, change: impl FnOnce()) {
    pypi.hold_pages(true);
    let answer = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| get(server, "/index/latest/simple/two/"));
        while pypi.max_held_pages() == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        change();
        pypi.hold_pages(false);
        waiting.join().expect("an answer")
    });
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert!(answer.text().contains("'two' was guarded for another source"), "{}", answer.text());
    assert_eq!(get(server, "/index/latest/simple/two/").status, 403);
    let failures: Vec<String> =
        server.log_lines().into_iter().filter(|line| line.contains("could not serve a request")).collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn an_upload_during_the_request_for_its_name_hides_the_project_of_the_index() {
    let pypi = index();
    let server = start_with_team(&pypi, "");
    let upload = || add(&server, "team", &Package::new("two", "9.0"));
    assert_guarded_during_the_request(&server, &pypi, upload);
    assert_eq!(names(&server, "latest", "two"), ["two-9.0-py3-none-any.whl"], "the index is first in py");
}

#[test]
fn a_guard_that_is_created_during_the_request_for_its_name_hides_the_project_of_the_index() {
    let pypi = index();
    let server = start_with_team(&pypi, "[Server]\nAutomaticNameGuard = no");
    let create = || drop(server.rspm_stdout("create name-guard --name=two --source=team"));
    assert_guarded_during_the_request(&server, &pypi, create);
}

#[test]
fn a_name_whose_automatic_guard_has_no_effect_is_served_by_the_index_at_once() {
    let pypi = index();
    let server = start_with_team(&pypi, "[Server]\nAutomaticNameGuard = no");
    add(&server, "team", &Package::new("two", "9.0"));
    let answer = get(&server, "/index/latest/simple/two/");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["files"][0]["filename"], "two-1.0.tar.gz");
}
