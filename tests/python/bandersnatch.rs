//! bandersnatch, a program that mirrors PyPI, mirrors a repository of this server; its directory is then the index of
//! another server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::Digest;

use super::clients::{command, program, run, text};
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, start};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};

const OLD: &str = "2021-03-05T10:20:30.123456Z";

/// What a page states about a file: digest, size, time of upload, `Requires-Python`, and whether it is yanked.
type Stated = (Value, Value, Value, Value, bool);

fn stated(page: &Value) -> BTreeMap<String, Stated> {
    let files = page["files"].as_array().expect("files").iter();
    let file = |file: &Value| {
        let yanked = file["yanked"].as_bool().unwrap_or(true);
        let name = file["filename"].as_str().expect("a name").to_owned();
        let (size, uploaded) = (file["size"].clone(), file["upload-time"].clone());
        let requires_python = file.get("requires-python").cloned().unwrap_or_default();
        (name, (file["hashes"]["sha256"].clone(), size, uploaded, requires_python, yanked))
    };
    files.map(file).collect()
}

/// Mirrors the newest snapshot of a repository into a folder of the server's directory. Returns its directory `web`.
fn mirror(server: &Server, folder: &str) -> PathBuf {
    let directory = server.dir().join(folder);
    std::fs::create_dir_all(&directory).expect("a folder");
    let configuration = directory.join("bandersnatch.conf");
    let lines = format!(
        "[mirror]\ndirectory = {}\nmaster = {}\nallow-non-https = true\napi-method = simple\nstop-on-error = true\n",
        directory.display(),
        server.url("/py/latest"),
    );
    std::fs::write(&configuration, lines).expect("written");
    let mut bandersnatch = command(server, &program("bandersnatch", "bandersnatch"), "home-bandersnatch");
    bandersnatch.arg("-c").arg(&configuration).arg("mirror");
    let output = run(bandersnatch);
    assert!(output.status.success(), "{}", text(&output));
    // Written only by a run without errors.
    assert!(directory.join("status").exists(), "{}", text(&output));
    directory.join("web")
}

/// Compares the pages of a mirror with those of the server, and its files with the digests. Returns their number.
fn compare(web: &Path, server: &Server, projects: &[&str]) -> usize {
    let mut count = 0;
    for project in projects {
        let folder = web.join("simple").join(project);
        let bytes = std::fs::read(folder.join("index.v1_json")).expect("a page");
        let page: Value = serde_json::from_slice(&bytes).expect("JSON");
        let expected = get(server, &format!("/py/latest/simple/{project}/")).json();
        assert_eq!(stated(&page), stated(&expected), "{project}");
        for file in page["files"].as_array().expect("files") {
            let url = file["url"].as_str().expect("an address");
            let path = percent_encoding::percent_decode_str(url).decode_utf8().expect("UTF-8");
            let bytes = std::fs::read(folder.join(&*path)).expect("a file of the mirror");
            assert_eq!(file["hashes"]["sha256"], hex::encode(sha2::Sha256::digest(&bytes)), "{url}");
            count += 1;
        }
    }
    count
}

/// Starts a server whose index is a directory.
fn start_with_directory(web: &Path) -> Server {
    let gcfg = format!("[PyPI]\nURL = file://{}", web.display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server.sync_of("pypi").expect("an index");
    server
}

#[test]
fn bandersnatch_mirrors_pypi_through_this_server_and_back() {
    let pypi = Pypi::start();
    for version in ["1.0", "1.1+local.1"] {
        let package = Package::new("one", version);
        pypi.add("one", &package.wheel_name(), &package.wheel(), OLD);
        pypi.add("one", &package.sdist_name(), &package.sdist(), OLD);
    }
    pypi.edit("one", "one-1.0.tar.gz", |file| file.yanked = Some("broken".to_owned()));
    pypi.add("odd-name", "odd_name-1.0.tar.gz", b"x", OLD);
    pypi.display("odd-name", "Odd.Name");
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");

    let projects = ["one", "odd-name"];
    let web = mirror(&server, "mirror");
    assert_eq!(compare(&web, &server, &projects), 5);
    let served = start_with_directory(&web);
    assert_eq!(compare(&web, &served, &projects), 5);
    let page = get(&served, "/py/2022-01-01/simple/one/").json();
    let files = page["files"].as_array().expect("files");
    assert_eq!(files.len(), 4, "the history is that of the upload times");
    let assert_served = || {
        for file in files {
            let url = file["url"].as_str().expect("an address");
            let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
            let bytes = served.get(&path).body;
            assert_eq!(file["hashes"]["sha256"], hex::encode(sha2::Sha256::digest(&bytes)), "{url}");
        }
    };
    assert_served();
    // Requested files are in storage.
    std::fs::rename(web.join("packages"), web.join("moved")).expect("the folder");
    assert_served();
    std::fs::rename(web.join("moved"), web.join("packages")).expect("the folder");

    // A second run takes over what changed.
    pypi.add("one", "one-2.0.tar.gz", b"two", OLD);
    pypi.remove("one", "one-1.0.tar.gz");
    pypi.edit("one", "one-1.0-py3-none-any.whl", |file| file.yanked = Some(String::new()));
    server.sync_of("pypi").expect("an index");
    let web = mirror(&server, "mirror");
    assert_eq!(compare(&web, &server, &projects), 5);
    assert_eq!(compare(&web, &start_with_directory(&web), &projects), 5);
}

#[test]
fn bandersnatch_mirrors_a_local_source() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    add(&server, "team", &Package::new("Odd.Lib", "1.1+local"));
    let web = mirror(&server, "mirror");
    assert_eq!(compare(&web, &server, &["odd-lib"]), 2);
    server.rspm_stdout("yank --source=team --name=odd-lib@1.0 --reason=broken");
    add(&server, "team", &Package::new("app", "1.0").requires("odd-lib"));
    let web = mirror(&server, "mirror");
    assert_eq!(compare(&web, &server, &["odd-lib", "app"]), 3);
}
