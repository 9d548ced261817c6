//! Indexes whose pages declare MD5 or no digests: each file is received once, and served with its SHA-256.

use super::clients::{command, installed_version, program, run, text};
use crate::support::http;
use crate::support::mirror_dir::file_url;
use crate::support::pypi::Pypi;
use crate::support::python::index::{files, get, names, start};
use crate::support::python::package::Package;
use crate::support::server::{Builder, Server};

const OLD: &str = "2021-03-05T00:00:00Z";

fn sha256(bytes: &[u8]) -> String {
    hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

/// The paths of requests for files since the last call.
fn file_requests(pypi: &Pypi) -> Vec<String> {
    pypi.take_requests().into_iter().filter(|path| path.starts_with("/packages/")).collect()
}

/// The digest of a file on a page of `one`.
fn digest_on_page(server: &Server, name: &str) -> String {
    let page = get(server, "/py/latest/simple/one/").json();
    let file = page["files"].as_array().expect("files").iter().find(|file| file["filename"] == name);
    file.expect("the file")["hashes"]["sha256"].as_str().expect("a digest").to_owned()
}

#[test]
fn files_with_md5_are_received_once_and_served_with_sha256() {
    let pypi = Pypi::start();
    pypi.declare_md5();
    let packages = ["1.0", "2.0"].map(|version| Package::new("one", version));
    for package in &packages {
        pypi.add("one", &package.wheel_name(), &package.wheel(), OLD);
    }
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    assert!(file_requests(&pypi).is_empty(), "a sync reads the list only");
    for package in &packages {
        assert_eq!(digest_on_page(&server, &package.wheel_name()), sha256(&package.wheel()));
    }
    assert_eq!(file_requests(&pypi).len(), 2, "each once");
    // With an upload time on the page, past days are there, too.
    assert_eq!(names(&server, "2022-01-01", "one").len(), 2);
    let url = server.url("/py/latest/simple");
    let target = server.dir().join("target");
    let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    pip.arg(&target).args(["-i", &url, "one"]);
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "one").as_deref(), Some("2.0"));

    // A page that changes: only the new file is received.
    file_requests(&pypi);
    let third = Package::new("one", "3.0");
    pypi.add("one", &third.wheel_name(), &third.wheel(), OLD);
    pypi.edit("one", &packages[0].wheel_name(), |file| file.yanked = Some("bad".to_owned()));
    server.sync_of("pypi").expect("an index");
    assert_eq!(digest_on_page(&server, &third.wheel_name()), sha256(&third.wheel()));
    let requests = file_requests(&pypi);
    assert!(
        requests.iter().all(|path| path.contains(&third.wheel_name())) && requests.len() == 1,
        "{requests:?}"
    );
    assert_eq!(files(&server, "latest", "one").expect("a page")[&packages[0].wheel_name()], "bad");

    // Other bytes with another MD5 under the same name are another file.
    let other = Package::new("one", "3.0").code("other = 1\n");
    pypi.edit("one", &third.wheel_name(), |file| file.bytes = other.wheel());
    server.sync_of("pypi").expect("an index");
    assert_eq!(digest_on_page(&server, &third.wheel_name()), sha256(&other.wheel()));
}

#[test]
fn a_file_with_another_md5_is_left_out_and_the_rest_is_served() {
    let pypi = Pypi::start();
    pypi.declare_md5();
    for version in ["1.0", "2.0"] {
        let package = Package::new("one", version);
        pypi.add("one", &package.wheel_name(), &package.wheel(), OLD);
    }
    let damaged = Package::new("one", "2.0").wheel_name();
    pypi.edit("one", &damaged, |file| file.sent = Some(b"other".to_vec()));
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one"), [Package::new("one", "1.0").wheel_name()]);
    assert_eq!(names(&server, "latest", "one").len(), 1);
    assert!(file_requests(&pypi).len() <= 2, "it is not received again for every request");
    pypi.edit("one", &damaged, |file| file.sent = None);
    server.sync_of("pypi").expect("an index");
    assert_eq!(names(&server, "latest", "one").len(), 2);
}

#[test]
fn a_directory_of_links_without_digests_is_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let package = Package::new("one", "1.0");
    std::fs::create_dir_all(root.join("simple/one")).unwrap();
    std::fs::write(root.join("simple/one").join(package.wheel_name()), package.wheel()).unwrap();
    let link =
        format!("<!DOCTYPE html><html><body><a href=\"{0}\">{0}</a></body></html>", package.wheel_name());
    std::fs::write(root.join("simple/one/index.html"), link).unwrap();
    std::fs::write(
        root.join("simple/index.html"),
        "<!DOCTYPE html><html><body><a href=\"one/\">one</a></body></html>",
    )
    .unwrap();
    let gcfg = format!("[PyPI]\nURL = {}", file_url(&root));
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server.sync_of("pypi").expect("a directory");
    let page = get(&server, "/py/latest/simple/one/").json();
    let file = &page["files"][0];
    assert_eq!(file["hashes"]["sha256"], sha256(&package.wheel()));
    assert_eq!(file["size"], package.wheel().len());
    let url = file["url"].as_str().expect("an address").strip_prefix("../../").expect("relative").to_owned();
    let answer = http::get(&server.url(&format!("/py/latest/{url}")));
    assert_eq!((answer.status, answer.body), (200, package.wheel()));
}
