//! An index as others see it through this server: a server whose index is another one of ours, and clients that follow
//! links.

use sha2::Digest;

use crate::support::http;
use crate::support::pypi::Pypi;
use crate::support::python::index::{files, get, names, start};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};

const OLD: &str = "2021-03-05T00:00:00Z";

/// Starts a server whose index is the newest snapshot of another one.
fn mirror(of: &Server) -> Server {
    let gcfg = format!("[PyPI]\nURL = {}", of.url("/py/latest"));
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server
}

#[test]
fn a_server_sees_the_yanks_and_removals_of_the_server_that_is_its_index() {
    let pypi = Pypi::start();
    for number in 0..40 {
        pypi.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", OLD);
    }
    for version in ["1.0", "2.0", "3.0"] {
        pypi.add("one", &format!("one-{version}.tar.gz"), version.as_bytes(), OLD);
    }
    let one = start(&pypi, "");
    one.sync_of("pypi").expect("an index");
    let two = mirror(&one);
    let message = two.sync_of("pypi").expect("an index");
    assert!(message.contains("41 projects, 41 added"), "{message}");
    for snapshot in ["latest", "2022-01-01"] {
        assert_eq!(names(&two, snapshot, "one").len(), 3, "{snapshot}");
    }
    let page = get(&two, "/py/latest/simple/one/").json();
    let url = page["files"][0]["url"].as_str().expect("an address").to_owned();
    let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    assert_eq!(two.get(&path).body, b"1.0", "the bytes come from the index of the index");

    // Nothing changed: the serial of the list is newer, those of projects are the same.
    one.sync_of("pypi").expect("an index");
    let message = two.sync_of("pypi").expect("an index");
    assert!(message.contains("is up to date"), "{message}");

    pypi.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("broken".to_owned()));
    pypi.remove("one", "one-2.0.tar.gz");
    pypi.remove_project("p0");
    one.sync_of("pypi").expect("an index");
    let message = two.sync_of("pypi").expect("an index");
    assert!(
        message.contains(
            "0 added, 1 changed, 1 removed; changed pages of requested projects: 1 of 1 read again"
        ),
        "{message}"
    );
    let expected = files(&one, "latest", "one").expect("a page");
    assert_eq!(files(&two, "latest", "one"), Some(expected.clone()));
    assert_eq!((expected.len(), &expected["one-1.0.tar.gz"]), (2, &"broken".into()));
    assert!(files(&two, "latest", "p0").is_none());
    assert_eq!(names(&two, "2022-01-01", "one").len(), 3, "past days stay");
}

#[test]
fn a_project_that_is_listed_again_has_its_files_at_once() {
    let pypi = Pypi::start();
    // A list that loses more than a twentieth of its projects is refused.
    for number in 0..40 {
        pypi.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", OLD);
    }
    pypi.add("one", "one-1.0.tar.gz", b"first", OLD);
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    assert_eq!(files(&server, "latest", "one").map(|files| files.len()), Some(1));
    pypi.remove_project("one");
    server.sync_of("pypi").expect("a list without the project");
    assert_eq!(files(&server, "latest", "one"), None);
    for (name, bytes) in [("one-1.0.tar.gz", b"first".as_slice()), ("one-2.0.tar.gz", b"second")] {
        pypi.add("one", name, bytes, OLD);
    }
    server.sync_of("pypi").expect("a list with the project");
    assert_eq!(files(&server, "latest", "one").map(|files| files.len()), Some(2));
}

/// The serial of a list or page, which the header repeats.
fn serial(server: &Server, path: &str) -> u64 {
    let answer = get(server, path);
    let serial = answer.json()["meta"]["_last-serial"].as_u64().expect("a serial");
    assert_eq!(answer.header("x-pypi-last-serial"), Some(&*serial.to_string()), "{path}");
    serial
}

#[test]
fn serials_of_a_local_source_grow_with_every_change() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    add(&server, "team", &Package::new("two", "1.0"));
    let of_list = |name: &str| {
        let list = get(&server, "/py/latest/simple/").json();
        let mut projects = list["projects"].as_array().expect("projects").iter();
        projects.find(|project| project["name"] == name).expect("a project")["_last-serial"].clone()
    };
    let two = of_list("two");
    let (mut list, mut page) = (0, 0);
    for command in ["yank --source=team --name=one@1.0", "unyank --source=team --name=one@1.0"] {
        server.rspm_stdout(command);
        let (new_list, new_page) =
            (serial(&server, "/py/latest/simple/"), serial(&server, "/py/latest/simple/one/"));
        assert!(new_list > list && new_page > page, "{command}");
        assert_eq!(of_list("one").as_u64(), Some(new_page));
        (list, page) = (new_list, new_page);
    }
    assert_eq!(of_list("two"), two, "it did not change");
    server.rspm_stdout("remove package --source=team --name=two@all");
    assert!(serial(&server, "/py/latest/simple/") > list, "the list of fewer projects");
    let json = server.get("/py/latest/pypi/one/json");
    assert_eq!(json.header("x-pypi-last-serial"), Some(&*json.json()["last_serial"].to_string()));
    assert_eq!(json.json()["last_serial"].as_u64(), Some(page));
}

#[test]
fn a_change_of_an_index_after_one_of_a_local_source_has_a_higher_serial() {
    let pypi = Pypi::start();
    for project in ["one", "two"] {
        pypi.add(project, &format!("{project}-1.0.tar.gz"), project.as_bytes(), OLD);
    }
    let server = start(&pypi, "");
    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("subscribe --repo=py --source=team");
    server.sync_of("pypi").expect("an index");
    add(&server, "team", &Package::new("own", "1.0"));
    // A mirror that has read this page next requests the projects with higher serials.
    let own = serial(&server, "/py/latest/simple/own/");
    let list = serial(&server, "/py/latest/simple/");
    assert!(list >= own, "{list} after {own}");
    pypi.add("one", "one-2.0.tar.gz", b"new", OLD);
    server.sync_of("pypi").expect("a change of the index");
    let page = serial(&server, "/py/latest/simple/one/");
    assert!(page > own, "{page} after {own}");
    let new_list = serial(&server, "/py/latest/simple/");
    assert!(new_list >= page && new_list >= list, "{new_list} after {page} and {list}");
    let rows = get(&server, "/py/latest/simple/").json();
    let row = |name: &str| {
        let mut projects = rows["projects"].as_array().expect("projects").iter();
        projects.find(|project| project["name"] == name).expect("a project")["_last-serial"].clone()
    };
    assert_eq!(row("one").as_u64(), Some(page));
    assert_eq!(row("own").as_u64(), Some(own), "it did not change");
    let json = server.get("/py/latest/pypi/one/json").json();
    assert_eq!(json["last_serial"].as_u64(), Some(page));
}

#[test]
fn names_and_the_status_of_a_project_are_those_of_the_index() {
    let pypi = Pypi::start();
    pypi.add("odd-name", "odd_name-1.0.tar.gz", b"x", OLD);
    pypi.display("odd-name", "Odd.Name");
    pypi.set_status("odd-name", Some("archived"));
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let list = get(&server, "/py/latest/simple/").json();
    assert_eq!(list["projects"][0]["name"], "Odd.Name");
    let html = server.get("/py/latest/simple/").text();
    assert!(html.contains("<a href=\"odd-name/\">Odd.Name</a>"), "{html}");
    for is_page_read in [false, true] {
        if is_page_read {
            assert_eq!(get(&server, "/py/latest/simple/odd-name/").status, 200);
        }
        let rows = server.get("/__api__/repos/py/packages?name_search=odd").json();
        assert_eq!((&rows[0]["name"], &rows[0]["info"]["name"]), (&"Odd.Name".into(), &"Odd.Name".into()));
        for listing in ["--repo=py", "--source=pypi"] {
            let rows = server.json(&format!("list packages {listing}"));
            assert_eq!(rows["packages"][0]["name"], "Odd.Name", "{listing}");
        }
        for list in ["/py/latest/web/packages/", "/?q=odd"] {
            let html = server.get(list).text();
            assert!(html.contains("/odd-name/\"") && html.contains(">Odd.Name</a>"), "{list}: {html}");
        }
    }
    let detail = server.get("/__api__/repos/py/packages/odd-name").json();
    assert_eq!((&detail["name"], &detail["info"]["name"]), (&"Odd.Name".into(), &"Odd.Name".into()));
    let document = server.get("/py/latest/pypi/odd-name/json").json();
    assert_eq!(document["info"]["name"], "Odd.Name");
    let html = server.get("/py/latest/web/packages/odd-name/").text();
    assert!(html.contains(">Odd.Name 1.0<"), "{html}");
    let page = get(&server, "/py/latest/simple/odd-name/").json();
    assert_eq!((&page["name"], &page["project-status"]["status"]), (&"odd-name".into(), &"archived".into()));
    assert_eq!(page["files"].as_array().map(Vec::len), Some(1), "files of an archived project are offered");
    let html = server.get("/py/latest/simple/odd-name/").text();
    assert!(html.contains("name=\"pypi:project-status\" content=\"archived\""), "{html}");
}

#[test]
fn the_address_of_provenance_is_that_of_the_index() {
    let pypi = Pypi::start();
    let url = "https://pypi.org/integrity/one/2.0/one-2.0.tar.gz/provenance?a=1&b=2";
    for (version, provenance) in [("1.0", None), ("2.0", Some(url)), ("3.0", Some("javascript:alert(1)"))] {
        let name = format!("one-{version}.tar.gz");
        pypi.add("one", &name, version.as_bytes(), OLD);
        pypi.edit("one", &name, |file| file.provenance = provenance.map(str::to_owned));
    }
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for snapshot in ["latest", "2022-01-01"] {
        let page = get(&server, &format!("/py/{snapshot}/simple/one/")).json();
        let addresses: Vec<_> =
            page["files"].as_array().expect("files").iter().map(|file| file["provenance"].as_str()).collect();
        assert_eq!(addresses, [None, Some(url), None], "{snapshot}");
        let html = server.get(&format!("/py/{snapshot}/simple/one/")).text();
        assert!(html.contains(&format!("data-provenance=\"{}\"", url.replace('&', "&amp;"))), "{html}");
    }
}

#[test]
fn explain_states_when_a_page_was_read_and_when_files_were_listed() {
    let pypi = Pypi::start();
    pypi.add("one", "one-1.0.tar.gz", b"x", OLD);
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let explain = || {
        let explained = server.json("explain py one");
        let decisions = explained["decisions"].as_array().expect("decisions").clone();
        let of = |topic: &str, subject: &str| {
            let is_it =
                |decision: &&serde_json::Value| decision["topic"] == topic && decision["subject"] == subject;
            let found: Vec<_> = decisions.iter().filter(is_it).cloned().collect();
            found
        };
        (of("source", "page of one"), of("file", "one-1.0.tar.gz"))
    };
    let (page, listed) = explain();
    assert!(
        page[0]["rule"].as_str().is_some_and(|rule| rule.contains("it had not been requested before")),
        "{page:?}"
    );
    let state = page[0]["state"].as_str().expect("a state");
    assert!(state.starts_with("active; serial 101 on the list; page with serial 101, read 20"), "{state}");
    assert_eq!(listed[0]["state"], "listed from 2021-03-05 00:00:00 UTC");
    pypi.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("bad".to_owned()));
    server.sync_of("pypi").expect("an index");
    let (page, listed) = explain();
    assert!(page[0]["rule"].as_str().is_some_and(|rule| rule.contains("read again once")), "{page:?}");
    let states: Vec<&str> = listed.iter().filter_map(|file| file["state"].as_str()).collect();
    assert!(
        states.len() == 2 && states[0].contains(" until ") && states[1].ends_with(", yanked: bad"),
        "{states:?}"
    );
}

#[test]
fn one_response_about_many_projects_causes_few_requests() {
    let pypi = Pypi::start();
    let projects: Vec<String> = (0..15).map(|number| format!("p{number}")).collect();
    for project in &projects {
        pypi.add(project, &format!("{project}-1.tar.gz"), b"x", OLD);
    }
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    pypi.take_requests();
    let body =
        serde_json::json!({ "repo": "py", "names": projects, "omit_package_details": true }).to_string();
    let path = server.url("/__api__/filter/packages");
    let count = || http::request("POST", &path, &[], body.as_bytes()).text().lines().count();
    assert_eq!((count(), pypi.take_requests().len()), (10, 10));
    assert_eq!((count(), pypi.take_requests().len()), (15, 5), "what is known is in it");
}

#[test]
fn every_link_of_a_page_leads_to_the_bytes_that_it_declares() {
    let pypi = Pypi::start();
    for version in ["1.0", "2.0"] {
        let package = Package::new("one", version);
        pypi.add("one", &package.wheel_name(), &package.wheel(), OLD);
        pypi.edit("one", &package.wheel_name(), |file| file.metadata = Some(package.metadata().into_bytes()));
        pypi.add("one", &package.sdist_name(), &package.sdist(), OLD);
    }
    pypi.edit("one", "one-1.0-py3-none-any.whl", |file| file.yanked = Some(String::new()));
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let is_declared = |path: &str, hashes: &serde_json::Value| {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(hashes["sha256"], hex::encode(sha2::Sha256::digest(&answer.body)), "{path}");
    };
    let (mut files, mut with_metadata) = (0, 0);
    for snapshot in ["latest", "2022-01-01"] {
        let page = get(&server, &format!("/py/{snapshot}/simple/one/")).json();
        for file in page["files"].as_array().expect("files") {
            let url = file["url"].as_str().expect("an address");
            let path = format!("/py/{snapshot}/{}", url.strip_prefix("../../").expect("relative"));
            is_declared(&path, &file["hashes"]);
            files += 1;
            if file["core-metadata"].is_object() {
                is_declared(&format!("{path}.metadata"), &file["core-metadata"]);
                with_metadata += 1;
            }
        }
    }
    assert_eq!((files, with_metadata), (8, 4));
}

#[test]
fn a_later_first_reading_results_in_the_same_pages_of_earlier_days() {
    let pypi = Pypi::start();
    for (version, uploaded) in [("1.0", "2019-01-01T00:00:00Z"), ("2.0", OLD)] {
        pypi.add("one", &format!("one-{version}.tar.gz"), version.as_bytes(), uploaded);
    }
    let pages = |server: &Server| {
        ["2018-12-31", "2019-01-01", "2021-03-04", "2022-01-01"].map(|day| {
            let answer = get(server, &format!("/py/{day}/simple/one/"));
            (answer.status, answer.header("etag").map(str::to_owned), answer.body)
        })
    };
    let first = start(&pypi, "");
    first.sync_of("pypi").expect("an index");
    let expected = pages(&first);
    pypi.add("one", "one-3.0.tar.gz", b"3.0", "2023-01-01T00:00:00Z");
    let later = start(&pypi, "");
    later.sync_of("pypi").expect("an index");
    assert_eq!(pages(&later), expected);
    first.sync_of("pypi").expect("an index");
    assert_eq!(pages(&first), expected, "the page was read again");
}
