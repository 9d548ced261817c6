//! The source `pypi` on two servers of one database.

use std::collections::BTreeMap;

use crate::support::cluster::Shared;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, wheel};
use crate::support::python::package::Package;
use crate::support::server::Server;

const OLD: &str = "2021-03-05T00:00:00Z";

/// Status, `ETag`, serial and body of a list or page.
type Answer = (u16, Option<String>, Option<String>, Vec<u8>);

/// The answers of a server in both formats, at the newest state and on past days.
fn answers(server: &Server) -> BTreeMap<String, Answer> {
    let mut answers = BTreeMap::new();
    for snapshot in ["latest", "2020-01-01", "2022-01-01"] {
        for project in ["", "one/", "two/", "gone/"] {
            for accept in ["application/vnd.pypi.simple.v1+json", "text/html"] {
                let path = format!("/py/{snapshot}/simple/{project}");
                let answer = http::request("GET", &server.url(&path), &[("Accept", accept)], b"");
                let header = |name: &str| answer.header(name).map(str::to_owned);
                let (etag, serial) = (header("etag"), header("x-pypi-last-serial"));
                answers.insert(format!("{path} {accept}"), (answer.status, etag, serial, answer.body));
            }
        }
    }
    answers
}

#[test]
fn two_servers_serve_the_same_bytes_of_an_index() {
    let pypi = Pypi::start();
    for project in ["one", "two", "gone"] {
        for version in ["1.0", "2.0", "3.0"] {
            pypi.add(project, &format!("{project}-{version}.tar.gz"), version.as_bytes(), OLD);
        }
    }
    for number in 0..30 {
        pypi.add(&format!("p{number}"), &format!("p{number}-1.tar.gz"), b"x", OLD);
    }
    let shared = Shared::new();
    let start = |name: &str| {
        let builder = shared.builder(name).gcfg(&format!("[PyPI]\nURL = {}", pypi.url()));
        builder.env("NO_PROXY", "*").start()
    };
    let (pm1, pm2) = (start("pm1"), start("pm2"));
    pm1.rspm_stdout("create repo --name=py --type=python");
    pm1.rspm_stdout("subscribe --repo=py --source=pypi");
    pm1.sync_of("pypi").expect("an index");
    let compare = |what: &str| {
        // Both read the projects that neither has read.
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| answers(&pm2));
            (answers(&pm1), second.join().expect("answers"))
        });
        assert_eq!(first, second, "{what}");
        first
    };
    let list = "/py/latest/simple/";
    let has_list = |server: &Server, count: usize| {
        let links = server.get(list).text().matches("<a ").count();
        links == count
    };
    until("the other server has the list", || has_list(&pm2, 33));
    let before = compare("first readings");
    let latest = format!("{list}one/ application/vnd.pypi.simple.v1+json");
    assert_eq!(before[&latest].0, 200);
    pypi.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("broken".to_owned()));
    pypi.remove("two", "two-2.0.tar.gz");
    pypi.remove_project("gone");
    pm2.sync_of("pypi").expect("an index");
    until("the first server has the list", || has_list(&pm1, 32));
    let after = compare("changes");
    assert_ne!(before[&latest], after[&latest]);
    let past = "/py/2022-01-01/simple/one/ application/vnd.pypi.simple.v1+json";
    assert_eq!(before[past], after[past], "a past day stays");
}

/// The page of a project is read by one server; each file of metadata gets its row when a server is asked for it first.
#[test]
fn metadata_is_found_by_the_first_requests_to_both_servers() {
    let pypi = Pypi::start();
    let packages = ["1.0", "2.0", "3.0"].map(|version| Package::new("one", version));
    for package in &packages {
        wheel(&pypi, package, OLD);
    }
    let shared = Shared::new();
    let start = |name: &str| {
        let builder = shared.builder(name).gcfg(&format!("[PyPI]\nURL = {}", pypi.url()));
        builder.env("NO_PROXY", "*").start()
    };
    let servers = [start("pm1"), start("pm2")];
    servers[0].rspm_stdout("create repo --name=py --type=python");
    servers[0].rspm_stdout("subscribe --repo=py --source=pypi");
    servers[0].sync_of("pypi").expect("an index");
    let page = get(&servers[0], "/py/latest/simple/one/").json();
    for package in &packages {
        let mut files = page["files"].as_array().expect("files").iter();
        let file = files.find(|file| file["filename"] == package.wheel_name()).expect("the file");
        let url = file["url"].as_str().and_then(|url| url.strip_prefix("../../")).expect("relative");
        let path = format!("/py/2022-01-01/{url}.metadata");
        let ask = |server: &Server| {
            let answer = server.get(&path);
            (answer.status, answer.body)
        };
        let answers = std::thread::scope(|scope| {
            let second = scope.spawn(|| ask(&servers[1]));
            [ask(&servers[0]), second.join().expect("an answer")]
        });
        assert_eq!(answers, [(); 2].map(|()| (200, package.metadata().into_bytes())), "{path}");
    }
    pypi.edit("one", &packages[0].wheel_name(), |file| file.metadata = Some(b"Name: other\n".to_vec()));
    servers[1].sync_of("pypi").expect("an index");
    let page = get(&servers[1], "/py/latest/simple/one/").json();
    let declared = page["files"].as_array().expect("files").iter();
    assert_eq!(declared.filter(|file| file.get("core-metadata").is_some()).count(), 2, "{page}");
    pypi.edit("one", &packages[0].wheel_name(), |file| {
        file.metadata = Some(packages[0].metadata().into_bytes())
    });
    servers[1].sync_of("pypi").expect("an index");
    let page = get(&servers[1], "/py/latest/simple/one/").json();
    let declared = page["files"].as_array().expect("files").iter();
    assert_eq!(declared.filter(|file| file.get("core-metadata").is_some()).count(), 3, "{page}");
}

/// Random uploads, yanks, removals, syncs and readings on either server: both give the same bytes, and past days stay.
#[test]
fn two_servers_agree_after_random_changes() {
    let pypi = Pypi::start();
    for project in ["one", "two", "gone"] {
        pypi.add(project, &format!("{project}-0.1.tar.gz"), project.as_bytes(), OLD);
    }
    let shared = Shared::new();
    let start = |name: &str| {
        let builder = shared.builder(name).gcfg(&format!("[PyPI]\nURL = {}", pypi.url()));
        builder.env("NO_PROXY", "*").start()
    };
    let servers = [start("pm1"), start("pm2")];
    servers[0].rspm_stdout("create repo --name=py --type=python");
    servers[0].rspm_stdout("subscribe --repo=py --source=pypi");
    let seed: u32 = rand::random();
    let mut random = seed;
    let mut next = |limit: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize % limit
    };
    let state = |server: &Server| {
        let list = http::request("GET", &server.url("/py/latest/simple/"), &[], b"");
        list.header("x-pypi-last-serial").map(str::to_owned)
    };
    let mut files: Vec<(&str, String)> =
        ["one", "two"].map(|project| (project, format!("{project}-0.1.tar.gz"))).to_vec();
    let mut last_added = 0;
    let mut past: Option<BTreeMap<String, Answer>> = None;
    for round in 0..8 {
        for _ in 0..next(4) {
            let project = ["one", "two"][next(2)];
            match next(4) {
                0 | 1 => {
                    last_added += 1;
                    let name = format!("{project}-1.{last_added}.tar.gz");
                    pypi.add(project, &name, name.as_bytes(), OLD);
                    files.push((project, name));
                }
                2 => {
                    let (project, name) = &files[next(files.len())];
                    let reason = [None, Some(String::new()), Some("bad".to_owned())][next(3)].clone();
                    pypi.edit(project, name, |file| file.yanked = reason);
                }
                _ if files.len() > 2 => {
                    let (project, name) = files.swap_remove(next(files.len()));
                    pypi.remove(project, &name);
                }
                _ => {}
            }
        }
        servers[next(2)].sync_of("pypi").expect("an index");
        until("both servers have the list", || {
            let state = servers.each_ref().map(state);
            state[0].is_some() && state[0] == state[1]
        });
        // Some pages are read by one server before the other requests them.
        for _ in 0..next(3) {
            let path =
                format!("/py/{}/simple/{}/", ["latest", "2022-01-01"][next(2)], ["one", "two"][next(2)]);
            assert_eq!(servers[next(2)].get(&path).status, 200, "{path}, seed {seed}");
        }
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| answers(&servers[1]));
            (answers(&servers[0]), second.join().expect("answers"))
        });
        assert_eq!(first, second, "round {round}, seed {seed}");
        let mut days = first;
        days.retain(|path, _| !path.contains("/latest/") && !path.contains("/simple/ "));
        assert_eq!(*past.get_or_insert_with(|| days.clone()), days, "round {round}, seed {seed}");
    }
}
