//! Python packages over the air gap: from an index to a bundle, to a server without a network, to pip and uv.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::python::clients::{command, installed_version, program, run, text};
use crate::python::flask;
use crate::python::provenance::object;
use crate::support::data;
use crate::support::downloader::{self, copy_over, objects, tree, validate};
use crate::support::fixtures::until;
use crate::support::http::Answer;
use crate::support::mirror_dir::file_url;
use crate::support::nginx::Nginx;
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::pypi::{Pypi, hex};
use crate::support::python::index::{get, names};
use crate::support::python::package::Package;
use crate::support::rerun;
use crate::support::server::{Builder, Server};

/// Adds the wheel of a package with its metadata to an index; returns the name of the wheel.
pub(super) fn publish(pypi: &Pypi, package: &Package, uploaded: &str) -> String {
    let project = package.name.to_lowercase().replace('.', "-");
    let name = package.wheel_name();
    pypi.add(&project, &name, &package.wheel(), uploaded);
    pypi.edit(&project, &name, |file| file.metadata = Some(package.metadata().into_bytes()));
    name
}

/// An index with `app`, which requires `Odd.Lib`, which requires `base` on Windows only.
pub(super) fn index() -> Pypi {
    let pypi = Pypi::start();
    publish(&pypi, &Package::new("app", "1.0").requires("odd_lib>=1"), "2020-01-01T00:00:00Z");
    let lib = Package::new("Odd.Lib", "1.0").requires("base ; sys_platform == 'win32'");
    publish(&pypi, &lib, "2020-01-02T00:00:00Z");
    pypi.add("odd-lib", &lib.sdist_name(), &lib.sdist(), "2020-01-02T00:00:00Z");
    publish(&pypi, &Package::new("base", "1.0"), "2020-01-03T00:00:00Z");
    publish(&pypi, &Package::new("other", "1.0"), "2020-01-03T00:00:00Z");
    pypi
}

/// Runs `get pypi` for a file with these lines.
pub(super) fn get_pypi(from: &str, to: &Path, lines: &str, more_args: &[&str]) -> ProcessOutput {
    let list = to.with_extension("txt");
    std::fs::write(&list, lines).unwrap();
    let (to, list) = (to.to_str().unwrap(), list.to_str().unwrap());
    let args = ["get", "pypi", "--base-url", from, "--destination", to, "--file-in", list];
    run_to_end(downloader::command(&[&args[..], more_args].concat()).env("NO_PROXY", "*"))
}

/// [`get_pypi`], which must succeed.
pub(super) fn must_get_pypi(from: &str, to: &Path, lines: &str, more_args: &[&str]) -> String {
    let output = get_pypi(from, to, lines, more_args);
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
    output.err
}

pub(super) fn assert_complete(root: &Path) {
    assert_eq!(validate("pypi", root, &["--packages"]), (0, Vec::new()));
}

/// A server with the repository `py`, whose packages come from a bundle.
fn serve(url: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[PyPI]\nURL = {url}")).env("NO_PROXY", "*").start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server.sync_of("pypi").expect("a bundle");
    server
}

#[test]
fn projects_without_a_wheel_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let pypi = index();
    let built = Package::new("built", "1.0");
    pypi.add("built", &built.sdist_name(), &built.sdist(), "2020-01-02T00:00:00Z");
    let output = must_get_pypi(&pypi.url(), &dir.path().join("bundle"), "app\nbuilt\n", &[]);
    assert!(
        output.contains("built has no wheel: its installation needs the packages that build"),
        "{output}"
    );
    assert_eq!(output.matches("has no wheel").count(), 1, "{output}");
}

#[test]
fn pip_and_uv_install_from_a_copied_bundle_without_a_network() {
    if rerun::without_network() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (bundle, copied_bundle) = (dir.path().join("bundle"), dir.path().join("my disk"));
    let pypi = index();
    let flags = ["--dependencies", "--pythons", "3.11,3.12,3.13", "--platforms", "manylinux_2_28_x86_64"];
    must_get_pypi(&pypi.url(), &bundle, "app\n", &flags);
    drop(pypi);
    assert_complete(&bundle);
    // app, Odd.Lib as wheel and as source distribution, and METADATA of both wheels; base is for Windows.
    assert_eq!(objects(&bundle).len(), 5, "{:?}", objects(&bundle));
    std::fs::create_dir(&copied_bundle).unwrap();
    copy_over(&bundle, &copied_bundle);
    assert_complete(&copied_bundle);
    let server = serve(&file_url(&copied_bundle.canonicalize().unwrap()));
    let root = get(&server, "/py/latest/simple/").json();
    assert_eq!(root["projects"].as_array().map(Vec::len), Some(2));
    assert_eq!(install(&server, "copied_bundle"), [Some("1.0".to_owned()), Some("1.0".to_owned())]);
    let dependency = installed_version(&server.dir().join("pip-copied_bundle"), "odd_lib");
    assert_eq!(dependency.as_deref(), Some("1.0"));
    // A day before the bundle was made.
    assert_eq!(names(&server, "2020-01-01", "app").len(), 1);
    assert!(names(&server, "2020-01-01", "odd-lib").is_empty());
}

#[test]
fn metadata_that_the_index_does_not_have_is_read_from_the_wheel() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let package = Package::new("app", "1.0").requires("odd_lib>=1");
    // A partial mirror: the page states the digest of METADATA, which no file has.
    let web = dir.path().join("web");
    let wheel = package.wheel();
    let page = |metadata: &[u8]| {
        json!({ "meta": { "api-version": "1.1" }, "name": "app", "versions": ["1.0"], "files": [{
            "filename": package.wheel_name(), "url": format!("../../files/{}", package.wheel_name()),
            "hashes": { "sha256": hex(&wheel) }, "size": wheel.len(), "upload-time": "2020-01-01T00:00:00Z",
            "core-metadata": { "sha256": hex(metadata) },
        }] })
    };
    std::fs::create_dir_all(web.join("simple/app")).unwrap();
    std::fs::create_dir_all(web.join("files")).unwrap();
    std::fs::write(web.join("files").join(package.wheel_name()), &wheel).unwrap();
    let write_page = |metadata: &[u8]| {
        std::fs::write(web.join("simple/app/index.v1_json"), page(metadata).to_string()).unwrap();
    };
    write_page(package.metadata().as_bytes());
    must_get_pypi(&file_url(&web), &bundle, "app\n", &[]);
    assert_complete(&bundle);
    let server = serve(&file_url(&bundle.canonicalize().unwrap()));
    let (answer, metadata) = download(&server);
    assert_eq!((answer.status, answer.body), (200, wheel.clone()));
    assert_eq!((metadata.status, metadata.body), (200, package.metadata().into_bytes()));

    // METADATA with another digest than that of the page is not stored.
    let other_bundle = dir.path().join("other");
    write_page(b"other");
    must_get_pypi(&file_url(&web), &other_bundle, "app\n", &[]);
    assert_complete(&other_bundle);
    let server = serve(&file_url(&other_bundle.canonicalize().unwrap()));
    assert_eq!(download(&server).0.body, wheel);
    let file = get(&server, "/py/latest/simple/app/").json()["files"][0].clone();
    assert!(file.get("core-metadata").is_none_or(|value| *value == false), "{file}");
}

/// flask and its dependencies: the released ones if the test data has them, otherwise small packages in their place.
#[test]
fn pip_and_uv_install_flask_from_a_bundle_of_a_mirror_without_a_network() {
    if rerun::without_network() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let web = flask::mirror_without_metadata(data::path("pypi-mirror/web"), dir.path());
    let (bundle, copied_bundle) = (dir.path().join("bundle"), dir.path().join("copied_bundle"));
    let versions = "flask==3.1.3\nwerkzeug==3.1.9\njinja2==3.1.6\nmarkupsafe==3.0.4\nitsdangerous==2.2.0\nclick==8.5.1\n\
                    blinker==1.9.0\n";
    let flags = ["--pythons", "3.11", "--platforms", "manylinux_2_28_x86_64"];
    // The mirror has the wheels and not all of the source distributions, which are reported and left out.
    let output = get_pypi(&file_url(&web), &bundle, versions, &flags);
    assert!(matches!(output.code, Some(0 | 1)), "{}", output.err);
    std::fs::create_dir(&copied_bundle).unwrap();
    copy_over(&bundle, &copied_bundle);
    let wheels = objects(&copied_bundle).iter().filter(|path| path.ends_with(".whl")).count();
    assert_eq!(wheels, 7, "{:?}\n{}", objects(&copied_bundle), output.err);
    let server = serve(&file_url(&copied_bundle.canonicalize().unwrap()));
    let url = server.url("/py/latest/simple");
    let target = server.dir().join("pip-flask");
    let mut pip = command(&server, &program("pip-newest", "python"), "home-pip");
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--only-binary=:all:",
    ]);
    pip.args([
        "--implementation=cp",
        "--python-version=3.11",
        "--platform=manylinux_2_28_x86_64",
        "--target",
    ]);
    pip.arg(&target).args(["-i", &url, "flask"]);
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "werkzeug").as_deref(), Some("3.1.9"));
    let target = server.dir().join("uv-flask");
    let mut uv = command(&server, &program("uv", "uv"), "home-uv");
    uv.args(["pip", "install", "--only-binary=:all:", "--python-version=3.11", "--target"]).arg(&target);
    uv.args(["--python-platform=x86_64-manylinux_2_28", "--default-index", &url, "flask"]);
    let output = run(uv);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "markupsafe").as_deref(), Some("3.0.4"));
}

/// The answers to requests for the first file of `app` and for its metadata.
fn download(server: &Server) -> (Answer, Answer) {
    let page = get(server, "/py/latest/simple/app/").json();
    let url = page["files"][0]["url"].as_str().expect("a file").to_owned();
    let path = format!("/py/latest/{}", url.strip_prefix("../../").expect("relative"));
    (server.get(&path), server.get(&format!("{path}.metadata")))
}

#[test]
fn files_of_a_bundle_in_a_directory_are_read_in_place_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    must_get_pypi(&pypi.url(), &bundle, "app\n", &[]);
    drop(pypi);
    let mut server = serve(&file_url(&bundle.canonicalize().unwrap()));
    let package = Package::new("app", "1.0").requires("odd_lib>=1");
    for _ in 0..2 {
        let (wheel, metadata) = download(&server);
        assert_eq!((wheel.status, wheel.body), (200, package.wheel()));
        assert_eq!((metadata.status, metadata.body), (200, package.metadata().into_bytes()));
        server.restart();
    }
    let wheel = objects(&bundle).into_iter().find(|path| path.ends_with(".whl")).expect("a wheel");
    let wheel = bundle.join(wheel);
    // There is no copy of it.
    let other = Package::new("app", "1.0").code("other = 1\n").requires("odd_lib>=1").wheel();
    std::fs::remove_file(&wheel).unwrap();
    std::fs::write(&wheel, &other).unwrap();
    server.restart();
    let (damaged, metadata) = download(&server);
    assert!(damaged.status >= 500 && damaged.body != other, "{}", damaged.text());
    assert_eq!(metadata.status, 200);
    std::fs::remove_file(&wheel).unwrap();
    server.restart();
    assert_eq!(download(&server).0.status, 404);
    std::fs::write(&wheel, package.wheel()).unwrap();
    server.restart();
    assert_eq!(download(&server).0.body, package.wheel());
}

#[test]
fn later_runs_add_new_files_and_the_changes_of_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    must_get_pypi(&pypi.url(), &bundle, "app\nodd-lib\nother==1.0\n", &[]);
    let first_objects = objects(&bundle);
    let server = serve(&file_url(&bundle.canonicalize().unwrap()));
    assert_eq!((names(&server, "latest", "app").len(), names(&server, "latest", "other").len()), (1, 1));

    pypi.take_requests();
    let output = must_get_pypi(&pypi.url(), &bundle, "app\nodd-lib\nother==1.0\n", &[]);
    assert!(output.contains("nothing is new"), "{output}");
    assert!(pypi.take_requests().iter().all(|path| path.starts_with("/simple/")));

    let new = publish(&pypi, &Package::new("app", "2.0"), "2020-05-01T00:00:00Z");
    pypi.edit("odd-lib", "odd_lib-1.0.tar.gz", |file| file.yanked = Some("broken".to_owned()));
    pypi.remove("other", "other-1.0-py3-none-any.whl");
    // Without the file: the newest versions of the packages that the directory has.
    let (url, to) = (pypi.url(), bundle.to_str().unwrap().to_owned());
    let mut command = downloader::command(&["get", "pypi", "--base-url", &url, "--destination", &to]);
    let output = run_to_end(command.env("NO_PROXY", "*"));
    assert!(output.err.contains("other: no file of the index satisfies it"), "{}", output.err);
    assert_complete(&bundle);
    assert_eq!(objects(&bundle).len(), first_objects.len() + 2, "the wheel and its metadata");
    // The object of the removed file remains, and is not read.
    let digest = hex(&Package::new("other", "1.0").wheel());
    let object = objects(&bundle).into_iter().find(|path| path.contains(&digest)).expect("the object");
    std::fs::write(bundle.join(object), "damaged").unwrap();
    assert_complete(&bundle);
    let requests = pypi.take_requests();
    assert!(requests.iter().all(|path| path.starts_with("/simple/") || path.contains(&new)), "{requests:?}");

    server.sync_of("pypi").expect("a bundle");
    assert_eq!(names(&server, "latest", "app").len(), 2);
    assert!(names(&server, "latest", "other").is_empty());
    let page = get(&server, "/py/latest/simple/odd-lib/").json();
    let files = page["files"].as_array().unwrap();
    let sdist = files.iter().find(|file| file["filename"] == "odd_lib-1.0.tar.gz").unwrap();
    assert_eq!(sdist["yanked"], "broken");
}

/// Installs `app` with pip and with uv into new directories; returns the versions that they installed.
fn install(server: &Server, run_name: &str) -> [Option<String>; 2] {
    let url = server.url("/py/latest/simple");
    let target = server.dir().join(format!("pip-{run_name}"));
    let mut pip = command(server, &program("pip-newest", "python"), "home-pip");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
    pip.arg(&target).args(["-i", &url, "app"]);
    let output = run(pip);
    assert!(output.status.success(), "{}", text(&output));
    let by_pip = installed_version(&target, "app");
    let target = server.dir().join(format!("uv-{run_name}"));
    let mut uv = command(server, &program("uv", "uv"), "home-uv");
    uv.args(["pip", "install", "--refresh", "--target"]).arg(&target).args(["--default-index", &url, "app"]);
    let output = run(uv);
    assert!(output.status.success(), "{}", text(&output));
    [by_pip, installed_version(&target, "app")]
}

/// An index whose pages declare the MD5 of files, and no METADATA.
#[test]
fn files_without_sha256_and_metadata_are_stored_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = Pypi::start();
    pypi.declare_md5();
    let packages = [Package::new("app", "1.0").requires("lib"), Package::new("lib", "1.0")];
    for package in &packages {
        pypi.add(&package.name, &package.wheel_name(), &package.wheel(), "2020-01-01T00:00:00Z");
    }
    pypi.add("lib", &packages[1].sdist_name(), &packages[1].sdist(), "2020-01-01T00:00:00Z");
    must_get_pypi(&pypi.url(), &bundle, "app\n", &["--dependencies"]);
    assert_complete(&bundle);
    assert_eq!(objects(&bundle).len(), 5, "two wheels with METADATA, and a source distribution");
    let server = serve(&file_url(&bundle.canonicalize().unwrap()));
    let (wheel, metadata) = download(&server);
    assert_eq!((wheel.status, wheel.body), (200, packages[0].wheel()));
    assert_eq!((metadata.status, metadata.body), (200, packages[0].metadata().into_bytes()));
    let file = get(&server, "/py/latest/simple/app/").json()["files"][0].clone();
    assert_eq!(file["hashes"]["sha256"], hex(&packages[0].wheel()));
    assert_eq!(file["core-metadata"]["sha256"], hex(packages[0].metadata().as_bytes()));

    // The same MD5: nothing is fetched again. Another MD5: another file.
    pypi.take_requests();
    let output = must_get_pypi(&pypi.url(), &bundle, "app\nlib\n", &[]);
    assert!(output.contains("nothing is new") && !output.contains("has no wheel"), "{output}");
    let requests = pypi.take_requests();
    assert!(requests.iter().all(|path| path.starts_with("/simple/")), "{requests:?}");
    let rebuilt = Package::new("lib", "1.0").code("rebuilt = 1\n").wheel();
    pypi.edit("lib", &packages[1].wheel_name(), |file| file.bytes = rebuilt.clone());
    must_get_pypi(&pypi.url(), &bundle, "app\nlib\n", &[]);
    assert_complete(&bundle);
    server.sync_of("pypi").expect("a bundle");
    let page = get(&server, "/py/latest/simple/lib/").json();
    let entries = page["files"].as_array().unwrap();
    let wheel = entries.iter().find(|file| file["filename"] == packages[1].wheel_name()).unwrap();
    assert_eq!(wheel["hashes"]["sha256"], hex(&rebuilt));

    // A file with another MD5 than the page declares is left out.
    let third = Package::new("third", "1.0");
    pypi.add("third", &third.wheel_name(), &third.wheel(), "2020-01-01T00:00:00Z");
    pypi.edit("third", &third.wheel_name(), |file| file.sent = Some(vec![b'x'; third.wheel().len()]));
    let output = get_pypi(&pypi.url(), &bundle, "app\nthird\n", &[]);
    assert!(output.code == Some(1) && output.err.contains("its md5 is"), "{}", output.err);
    // A requirement with a digest is not satisfied by a file of unknown digest.
    let pinned = format!("third==1.0 --hash=sha256:{}\n", hex(&third.wheel()));
    let output = get_pypi(&pypi.url(), &bundle, &pinned, &[]);
    assert!(output.err.contains("no file of the index satisfies it"), "{}", output.err);
}

#[test]
fn provenance_objects_are_bundled_checked_and_validated() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    let wheel = Package::new("app", "1.0").requires("odd_lib>=1");
    let good = object(&wheel.wheel_name(), &hex(&wheel.wheel()));
    pypi.attest("app", &wheel.wheel_name(), &good);
    let other = Package::new("other", "1.0");
    pypi.attest("other", &other.wheel_name(), &good);
    let output = must_get_pypi(&pypi.url(), &bundle, "app\nother\n", &[]);
    assert!(output.contains("other-1.0-py3-none-any.whl: its provenance is left out"), "{output}");
    assert_complete(&bundle);
    let stored: Vec<String> =
        objects(&bundle).into_iter().filter(|path| path.ends_with(".provenance")).collect();
    assert_eq!(stored.len(), 1, "{stored:?}");

    // Without `Server.Address`, pages state no address; documents of the JSON API do.
    let bundle_url = file_url(&bundle.canonicalize().unwrap());
    let server = serve(&bundle_url);
    let file = get(&server, "/py/latest/simple/app/").json()["files"][0].clone();
    assert!(file.get("provenance").is_none(), "{file}");
    let document = server.get("/py/latest/pypi/app/json").json();
    let url = document["urls"][0]["provenance"].as_str().expect("an address").to_owned();
    let answer = server.get(url.strip_prefix(&server.url("")).expect("this server"));
    assert_eq!((answer.status, answer.body), (200, good.clone()));
    assert!(server.get("/py/latest/pypi/other/json").json()["urls"][0]["provenance"].is_null());

    let gcfg = format!("[Server]\nAddress = https://packages.example.com\n[PyPI]\nURL = {bundle_url}");
    let addressed = Builder::default().gcfg(&gcfg).start();
    addressed.rspm_stdout("create repo --name=py --type=python");
    addressed.rspm_stdout("subscribe --repo=py --source=pypi");
    addressed.sync_of("pypi").expect("a bundle");
    let file = get(&addressed, "/py/latest/simple/app/").json()["files"][0].clone();
    let url = file["provenance"].as_str().expect("an address");
    let path = url.strip_prefix("https://packages.example.com").expect("this server");
    assert_eq!(addressed.get(path).body, good);

    // A run with nothing new; an object that was changed or removed is found, and fetched again.
    let output = must_get_pypi(&pypi.url(), &bundle, "app\nother\n", &[]);
    assert!(output.contains("nothing is new"), "{output}");
    std::fs::write(bundle.join(&stored[0]), "changed").unwrap();
    let (code, findings) = validate("pypi", &bundle, &["--packages"]);
    assert_eq!((code, findings.len()), (3, 1), "{findings:?}");
    std::fs::remove_file(bundle.join(&stored[0])).unwrap();
    must_get_pypi(&pypi.url(), &bundle, "app\nother\n", &[]);
    assert_complete(&bundle);
}

#[test]
fn an_incremental_bundle_is_copied_over_its_base() {
    if rerun::without_network() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (base, difference) = (dir.path().join("base"), dir.path().join("difference"));
    let pypi = index();
    must_get_pypi(&pypi.url(), &base, "app\nodd-lib\nother\n", &[]);
    let server = serve(&file_url(&base.canonicalize().unwrap()));
    let version = |version: &str| [Some(version.to_owned()), Some(version.to_owned())];
    assert_eq!(install(&server, "base"), version("1.0"));
    let today = today();
    // Serials are seconds, and those of the incremental bundle must be later.
    let start = jiff::Timestamp::now().as_second();
    until("the next second", || jiff::Timestamp::now().as_second() > start);
    publish(&pypi, &Package::new("app", "2.0"), &format!("{today}T00:00:01Z"));
    must_get_pypi(&pypi.url(), &difference, "app\nodd-lib\nother\n", &["--starting-snapshot", &today]);
    assert_eq!(objects(&difference).len(), 2, "{:?}", objects(&difference));
    let (code, findings) = validate("pypi", &difference, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(findings[0].2.contains("the base is missing"), "{findings:?}");
    drop(pypi);
    copy_over(&difference, &base);
    assert_complete(&base);
    server.sync_of("pypi").expect("a bundle");
    assert_eq!(install(&server, "difference"), version("2.0"));
    assert_eq!(names(&server, "2020-01-01", "app"), ["app-1.0-py3-none-any.whl"], "a past day stays");
    let root = file_url(&base.canonicalize().unwrap());
    let copy = dir.path().join("copy");
    must_get_pypi(&root, &copy, "app\nother\n", &[]);
    assert_complete(&copy);
    let wheels: Vec<String> = objects(&copy).into_iter().filter(|path| path.ends_with(".whl")).collect();
    assert_eq!(wheels.len(), 2, "the newest of each");
}

/// The day in UTC whose first second `latest` has, which is the state of a quarter of an hour ago.
fn today() -> String {
    let now = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(16);
    now.to_string()[..10].to_owned()
}

#[test]
fn a_bundle_behind_a_static_web_server_is_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    must_get_pypi(&pypi.url(), &bundle, "app\n", &["--dependencies"]);
    drop(pypi);
    let web = Nginx::files(&bundle);
    let mut server = serve(&web.url());
    let package = Package::new("app", "1.0").requires("odd_lib>=1");
    let (wheel, metadata) = download(&server);
    assert_eq!((wheel.status, wheel.body), (200, package.wheel()));
    assert_eq!((metadata.status, metadata.body), (200, package.metadata().into_bytes()));
    // One request for the head of the bundle at the sync, and none for each page.
    assert_eq!(names(&server, "latest", "odd-lib").len(), 2);
    assert_eq!(web.requests("/pypi/v1/1/head.json"), 1);
    // After a restart a page is read before the list.
    server.restart();
    assert_eq!(names(&server, "latest", "odd-lib").len(), 2);
}

#[test]
fn a_directory_of_bandersnatch_with_a_hash_index_is_an_index_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("web");
    let package = Package::new("app", "1.0");
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(package.wheel()));
    let file = format!("packages/aa/bb/{}", package.wheel_name());
    let write = |path: &str, bytes: &[u8]| {
        let path: PathBuf = web.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write(&file, &package.wheel());
    let page = serde_json::json!({
        "meta": { "api-version": "1.1", "_last-serial": "77" },
        "name": "app",
        "versions": ["1.0"],
        "files": [{
            "filename": package.wheel_name(), "url": format!("../../../{file}"), "hashes": { "sha256": digest },
            "requires-python": "", "size": package.wheel().len(), "upload-time": "2020-01-01T00:00:00Z",
            "yanked": false,
        }],
    });
    write("simple/a/app/index.v1_json", page.to_string().as_bytes());
    write("simple/index.html", b"<!DOCTYPE html><html><body><a href=\"app/\">app</a></body></html>");
    let url = file_url(&web.canonicalize().unwrap());
    let server = serve(&url);
    assert_eq!(names(&server, "2020-01-01", "app"), [package.wheel_name()]);
    // It is also a source of bundles.
    let bundle = dir.path().join("bundle");
    must_get_pypi(&url, &bundle, "app\n", &[]);
    assert_complete(&bundle);
    assert_eq!(objects(&bundle).len(), 2, "the wheel and its METADATA");
}

#[test]
fn a_dry_run_prints_the_sum_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    let output = must_get_pypi(&pypi.url(), &bundle, "app\n", &["--dependencies", "--dryrun"]);
    assert!(output.contains("4 files with"), "{output}");
    assert!(!bundle.exists() || tree(&bundle).is_empty());
}
