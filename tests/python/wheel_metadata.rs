//! Indexes that declare no METADATA: it is read from a wheel once the wheel is in storage, and pages declare it from the
//! next sync on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::clients::{command, installed_version, program, request_count, run, text};
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::pypi::{Pypi, hex};
use crate::support::python::index::{get, start};
use crate::support::python::package::Package;
use crate::support::server::Server;

const OLD: &str = "2021-03-05T00:00:00Z";

/// Adds a wheel without METADATA beside it.
fn add(pypi: &Pypi, package: &Package) {
    pypi.add(&package.name, &package.wheel_name(), &package.wheel(), OLD);
}

/// The entry of a file on a page of the newest snapshot.
fn entry(server: &Server, project: &str, name: &str) -> Value {
    let page = get(server, &format!("/py/latest/simple/{project}/")).json();
    let mut files = page["files"].as_array().expect("files").iter();
    files.find(|file| file["filename"] == name).expect("the file").clone()
}

fn path(entry: &Value) -> String {
    let url = entry["url"].as_str().expect("an address");
    format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"))
}

/// Downloads a wheel, and syncs until METADATA was read from it.
fn store(server: &Server, package: &Package) -> String {
    let path = path(&entry(server, &package.name, &package.wheel_name()));
    assert_eq!(server.get(&path).body, package.wheel());
    // The row of a downloaded file is written a moment after the response.
    until("METADATA is read from the wheel", || {
        server.sync_of("pypi").expect("an index").contains("; METADATA was read from 1 stored wheel")
    });
    path
}

/// Both forms of pages, with their tags.
fn pages(server: &Server, snapshots: &[&str]) -> BTreeMap<String, (Option<String>, Vec<u8>)> {
    let page = |snapshot: &str, accept: &str| -> Answer {
        let url = server.url(&format!("/py/{snapshot}/simple/one/"));
        http::request("GET", &url, &[("Accept", accept)], b"")
    };
    let mut pages = BTreeMap::new();
    for snapshot in snapshots {
        for accept in ["application/vnd.pypi.simple.v1+json", "text/html"] {
            let answer = page(snapshot, accept);
            let etag = answer.header("etag").map(str::to_owned);
            pages.insert(format!("{snapshot} {accept}"), (etag, answer.body));
        }
    }
    pages
}

#[test]
fn metadata_of_a_stored_wheel_is_declared_from_the_next_sync_on() {
    let pypi = Pypi::start();
    let package = Package::new("one", "1.0").requires("two>=1");
    add(&pypi, &package);
    pypi.add("one", &package.sdist_name(), &package.sdist(), OLD);
    let mut server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let past_days = ["2021-03-04", "2021-03-05", "2022-01-01"];
    let before = pages(&server, &past_days);
    let name = package.wheel_name();
    let wheel = entry(&server, "one", &name);
    assert!(wheel.get("core-metadata").is_none(), "{wheel}");
    assert_eq!(server.get(&format!("{}.metadata", path(&wheel))).status, 404);
    pypi.take_requests();
    let address = store(&server, &package);

    let declared = json!({ "sha256": hex(package.metadata().as_bytes()) });
    let is_declared = |server: &Server, what: &str| {
        let wheel = entry(server, "one", &name);
        assert_eq!(wheel["core-metadata"], declared, "{what}: {wheel}");
        assert_eq!(wheel["data-dist-info-metadata"], declared, "{what}: {wheel}");
        let html = server.get("/py/latest/simple/one/").text();
        let attribute = format!("data-core-metadata=\"sha256={}\"", hex(package.metadata().as_bytes()));
        assert_eq!(html.matches(&attribute).count(), 1, "{what}: {html}");
        let answer = server.get(&format!("{address}.metadata"));
        assert_eq!((answer.status, &answer.body), (200, &package.metadata().into_bytes()), "{what}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{what}");
    };
    is_declared(&server, "after the sync");
    let sdist = entry(&server, "one", &package.sdist_name());
    assert!(sdist.get("core-metadata").is_none(), "{sdist}");
    assert_eq!(pages(&server, &past_days), before, "past days stay");
    let requests = pypi.take_requests();
    assert!(!requests.iter().any(|path| path.ends_with(".metadata")), "{requests:?}");

    // Further readings of the page, on which the index declares nothing, then other METADATA.
    pypi.edit("one", &name, |file| file.yanked = Some("broken".to_owned()));
    let message = server.sync_of("pypi").expect("an index");
    assert!(message.contains("1 changed") && message.contains("projects: 1 of 1 read again"), "{message}");
    assert_eq!(entry(&server, "one", &name)["yanked"], "broken");
    is_declared(&server, "after a yank");
    pypi.edit("one", &name, |file| file.metadata = Some(b"Name: other\n".to_vec()));
    server.sync_of("pypi").expect("an index");
    is_declared(&server, "after a declaration of other METADATA");
    pypi.edit("one", &name, |file| file.metadata = Some(package.metadata().into_bytes()));
    server.sync_of("pypi").expect("an index");
    is_declared(&server, "after the declaration of the same METADATA");
    server.restart();
    is_declared(&server, "after a restart");

    // The wheel can be fetched again, METADATA is not at the index.
    until("the wheel can be evicted", || server.json("evict --type=clear --dry-run")["files"] == 1);
    assert_eq!(server.json("evict --type=clear")["files"], 1);
    pypi.edit("one", &name, |file| file.metadata = None);
    pypi.set_unavailable(true);
    is_declared(&server, "after an eviction");
    assert_eq!(pages(&server, &past_days), before, "past days stay");
    assert_eq!(server.rspm("scrub --quick").code, 0, "every object of a row is in storage");
}

/// As in partial mirrors and caching proxies.
#[test]
fn metadata_that_the_index_declares_and_does_not_have_is_read_from_the_wheel() {
    let pypi = Pypi::start();
    let other = b"Metadata-Version: 2.1\nName: other\nVersion: 6.6\n".to_vec();
    for (project, sent) in [("absent", Vec::new()), ("wrong", other.clone())] {
        let package = Package::new(project, "1.0");
        add(&pypi, &package);
        pypi.edit(project, &package.wheel_name(), |file| {
            file.metadata = Some(package.metadata().into_bytes());
            file.sent_metadata = Some(sent);
        });
    }
    let differing = Package::new("differing", "1.0");
    add(&pypi, &differing);
    pypi.edit("differing", &differing.wheel_name(), |file| {
        file.metadata = Some(other);
        file.sent_metadata = Some(Vec::new());
    });
    let mut server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let wheel_requests =
        |pypi: &Pypi| pypi.take_requests().iter().filter(|path| path.ends_with(".whl")).count();
    let mut served = Vec::new();
    for project in ["absent", "wrong"] {
        let package = Package::new(project, "1.0");
        let address = format!("{}.metadata", path(&entry(&server, project, &package.wheel_name())));
        pypi.take_requests();
        let first = server.get(&address);
        assert_eq!((first.status, &first.body), (200, &package.metadata().into_bytes()), "{project}");
        assert_eq!(first.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(wheel_requests(&pypi), 1, "{project}");
        let etag = first.header("etag").expect("an ETag").to_owned();
        served.push((address, etag, first.body));
    }
    let address = format!("{}.metadata", path(&entry(&server, "differing", &differing.wheel_name())));
    for expected in [1, 0] {
        pypi.take_requests();
        let answer = server.get(&address);
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(answer.text().contains("the wheel has no METADATA with the digest"), "{}", answer.text());
        assert_eq!(wheel_requests(&pypi), expected, "read once");
    }
    // Stored as the object of its row.
    pypi.set_unavailable(true);
    server.restart();
    for (address, etag, body) in &served {
        let answer = server.get(address);
        assert_eq!((answer.status, &answer.body), (200, body), "{address}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()), "{address}");
    }
    assert_eq!(server.rspm("scrub --quick").code, 0, "every object of a row is in storage");
}

#[test]
fn metadata_of_an_index_in_html_without_serials_is_read_from_stored_wheels() {
    let pypi = Pypi::start();
    let package = Package::new("one", "1.0");
    add(&pypi, &package);
    pypi.set_plain();
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let address = store(&server, &package);
    let declared = json!({ "sha256": hex(package.metadata().as_bytes()) });
    assert_eq!(entry(&server, "one", &package.wheel_name())["core-metadata"], declared);
    assert_eq!(server.get(&format!("{address}.metadata")).body, package.metadata().into_bytes());
}

#[test]
fn a_wheel_without_usable_metadata_is_served_without_it() {
    let pypi = Pypi::start();
    let (good, other) = (Package::new("one", "1.0"), Package::new("other", "1.0"));
    add(&pypi, &good);
    let broken = ["one-2.0-py3-none-any.whl", "one-3.0-py3-none-any.whl"];
    pypi.add("one", broken[0], b"not a zip file", OLD);
    // The wheel of another project.
    pypi.add("one", broken[1], &other.wheel(), OLD);
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for (name, bytes) in [(broken[0], b"not a zip file".to_vec()), (broken[1], other.wheel())] {
        assert_eq!(server.get(&path(&entry(&server, "one", name))).body, bytes);
    }
    store(&server, &good);
    for name in broken {
        let wheel = entry(&server, "one", name);
        assert!(wheel.get("core-metadata").is_none(), "{wheel}");
        assert_eq!(server.get(&format!("{}.metadata", path(&wheel))).status, 404);
    }
    let log = server.log_lines();
    let lines = log.iter().filter(|line| line.contains("could not read METADATA of a wheel"));
    let names: Vec<bool> = lines.map(|line| broken.iter().any(|name| line.contains(name))).collect();
    assert_eq!(names, [true, true], "each once");
    let message = server.sync_of("pypi").expect("an index");
    assert!(!message.contains("METADATA"), "{message}");
}

#[test]
fn pip_and_uv_resolve_with_metadata_that_was_read_from_wheels() {
    let pypi = Pypi::start();
    let packages = [Package::new("app", "1.0").requires("one>=1"), Package::new("one", "1.0")];
    packages.iter().for_each(|package| add(&pypi, package));
    let mut server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for package in &packages {
        store(&server, package);
    }
    // Ends the log.
    server.restart();
    let (metadata, wheels) =
        (request_count(&server, ".whl.metadata HTTP"), request_count(&server, ".whl HTTP"));
    let url = server.url("/py/latest/simple");
    let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--dry-run"]);
    pip.args(["--ignore-installed", "-i", &url, "app"]);
    let mut uv = command(&server, &program("uv", "uv"), "home-uv");
    let requirements = server.dir().join("in.txt");
    std::fs::write(&requirements, "app\n").expect("written");
    uv.args(["pip", "compile", "--no-header", "--default-index", &url]).arg(&requirements);
    for client in [pip, uv] {
        let output = run(client);
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains("app") && text(&output).contains("one"), "{}", text(&output));
    }
    server.restart();
    assert_eq!(request_count(&server, ".whl.metadata HTTP") - metadata, 4, "two by each client");
    assert_eq!(request_count(&server, ".whl HTTP"), wheels, "no wheel was requested");
    // pip compares METADATA with the wheel that it installs.
    let target = server.dir().join("target");
    let url = server.url("/py/latest/simple");
    let mut pip = command(&server, &program("pip-newest", "python"), "home-install");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    pip.arg(&target).args(["-i", &url, "app"]);
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "one").as_deref(), Some("1.0"));
}
