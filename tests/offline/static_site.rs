//! A repository that was exported as files, behind a static web server and with real clients.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::origins::{lines, list};
use crate::python::clients::{command, installed_version, program, run as run_client, text};
use crate::support::downloader::{get_cran, run, tree};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::listener::Listener;
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::nginx::Nginx;
use crate::support::process::ProcessOutput;
use crate::support::pypi::Pypi;
use crate::support::python::index::start;
use crate::support::python::package::{self, Package};
use crate::support::rscript;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A server with a history of R packages in the repository `prod`.
fn r_server(mirror: &MirrorDir) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.sync().expect("a mirror");
    server.rspm_stdout("backfill --source=cran --since=2019-12-01");
    server
}

fn mirror(dir: &Path) -> MirrorDir {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-02-01");
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.write();
    mirror
}

/// Runs `rspm export files`, which must succeed; returns its standard error.
fn export(server: &Server, repository: &str, to: &Path, more: &str) -> String {
    let output = export_from(&server.url(""), server, repository, to, more);
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
    output.err
}

fn export_from(address: &str, server: &Server, repository: &str, to: &Path, more: &str) -> RspmOutput {
    let to = to.display();
    server.rspm(&format!("--address={address} export files --repo={repository} --to={to} {more}"))
}

/// Passes requests on to a server, after `change` for those whose number `is_due`; also returns their count.
fn changing(
    server: &Arc<Server>,
    is_due: impl Fn(usize) -> bool + Clone + Send + 'static,
    change: impl Fn(&Server) + Clone + Send + 'static,
) -> (Listener, Arc<AtomicUsize>) {
    let (server, count) = (Arc::clone(server), Arc::new(AtomicUsize::new(0)));
    let request_count = Arc::clone(&count);
    let listener = Listener::open(move |mut stream: &TcpStream| {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        if is_due(request_count.fetch_add(1, Ordering::SeqCst)) {
            change(&server);
        }
        let accept = head.iter().filter_map(|line| line.split_once(": "));
        let accept = accept.filter(|(name, _)| name.eq_ignore_ascii_case("accept")).map(|(_, value)| value);
        let fields: Vec<(&str, &str)> = accept.map(|value| ("Accept", value)).collect();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let answer = http::request("GET", &server.url(path), &fields, b"");
        write!(
            stream,
            "HTTP/1.1 {} x\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.status,
            answer.header("content-type").unwrap_or("text/plain"),
            answer.body.len()
        )?;
        stream.write_all(&answer.body)
    });
    (listener, count)
}

/// Exports a repository that changes before one of the requests, another one each time, and checks each export.
fn export_while_changing(
    server: &Arc<Server>,
    repository: &str,
    change: impl Fn(&Server) + Clone + Send + 'static,
    check: impl Fn(&BTreeMap<String, Vec<u8>>),
) {
    let dir = tempfile::tempdir().unwrap();
    for due in (0_usize..).step_by(2) {
        let (listener, count) = changing(server, move |number| number == due, change.clone());
        let to = dir.path().join(due.to_string());
        let output = export_from(&format!("http://{}", listener.address), server, repository, &to, "");
        assert_eq!(output.code, 0, "before request {due}: {}{}", output.out, output.err);
        check(&tree(&to));
        if count.load(Ordering::SeqCst) <= due {
            return;
        }
    }
}

/// The fields of an index, record by record.
fn records(index: &str) -> Vec<BTreeMap<&str, &str>> {
    let texts = index.split("\n\n").filter(|text| !text.trim().is_empty());
    texts.map(|text| text.lines().filter_map(|line| line.split_once(": ")).collect()).collect()
}

/// The files of an export with their times, in seconds.
fn times(root: &Path) -> BTreeMap<String, i64> {
    tree(root).into_keys().map(|path| (path.clone(), root.join(path).metadata().unwrap().mtime())).collect()
}

#[test]
fn r_installs_from_the_files_of_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = mirror(dir.path());
    let server = r_server(&mirror);
    let site = dir.path().join("site");
    let message = export(&server, "prod", &site, "");
    assert!(message.contains("8 files, 8 of them written"), "{message}");
    // The answers of the server, unchanged.
    let files = tree(&site);
    for (path, bytes) in &files {
        assert!(server.get(&format!("/prod/latest/{path}")).body == *bytes, "{path}");
    }
    let seconds = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    let times_before = times(&site);
    assert_eq!(times_before["src/contrib/Archive/alpha/alpha_1.0.tar.gz"], seconds("2020-01-01T12:00:00Z"));
    assert_eq!(times_before["src/contrib/PACKAGES.gz"], seconds("2020-03-01T12:00:00Z"));
    let web = Nginx::files(&site);
    let output = rscript::run(
        r#"repo <- commandArgs(TRUE)[[1]]
        listing <- available.packages(repos = repo, type = "source")
        files <- download.packages(rownames(listing), tempdir(), repos = repo, type = "source", quiet = TRUE)
        cat(sort(basename(files[, 2])), nrow(listing), "\n")
        install.packages("alpha", repos = repo, type = "source", quiet = TRUE)
        cat(as.character(packageVersion("alpha")), "\n")"#,
        &[web.url()],
    );
    assert_eq!(output, "alpha_1.1.tar.gz beta_1.0.tar.gz 2 \n1.1 \n");

    // A second export writes nothing; a damaged file and a changed index are written again.
    let message = export(&server, "prod", &site, "");
    assert!(message.contains("8 files, 0 of them written"), "{message}");
    assert_eq!(times(&site), times_before);
    std::fs::write(site.join("src/contrib/PACKAGES"), "damaged").unwrap();
    std::fs::write(site.join("src/contrib/beta_1.0.tar.gz"), "damaged").unwrap();
    std::fs::write(site.join("src/contrib/old_1.0.tar.gz"), "old").unwrap();
    let message = export(&server, "prod", &site, "");
    assert!(message.contains("8 files, 2 of them written"), "{message}");
    assert!(site.join("src/contrib/old_1.0.tar.gz").exists());
    export(&server, "prod", &site, "--prune");
    assert_eq!((tree(&site), times(&site)), (files, times_before));

    // An earlier day, with links to equal files, and without the archive.
    let old_site = dir.path().join("old");
    export(&server, "prod", &old_site, &format!("--date=2020-02-15 --hardlink={}", site.display()));
    let beta = "src/contrib/beta_1.0.tar.gz";
    assert_eq!(old_site.join(beta).metadata().unwrap().ino(), site.join(beta).metadata().unwrap().ino());
    let index = std::fs::read_to_string(old_site.join("src/contrib/PACKAGES")).unwrap();
    assert!(index.contains("Package: alpha\nVersion: 1.0\n"), "{index}");
    let small_site = dir.path().join("small");
    export(&server, "prod", &small_site, "--no-archive");
    assert!(!tree(&small_site).keys().any(|path| path.contains("rchive")), "{:?}", tree(&small_site).keys());

    // The files of an export can be imported again, with their days.
    let expected = [
        "2020-01-01T12:00:00Z add alpha_1.0.tar.gz",
        "2020-02-01T12:00:00Z add beta_1.0.tar.gz",
        "2020-03-01T12:00:00Z add alpha_1.1.tar.gz",
    ];
    for (kind, evidence) in [
        ("from-folder", ["mtime"; 3]),
        ("from-cran", ["Meta/archive.rds", "Meta/current.rds", "Meta/current.rds"]),
    ] {
        let expected: Vec<String> =
            expected.iter().zip(evidence).map(|(line, exact)| format!("{line} {exact}")).collect();
        assert_eq!(lines(&list(&[kind, site.to_str().unwrap()])), expected, "{kind}");
    }
    let output = server.rspm(&format!(
        "--address={} export files --repo=none --to={}",
        server.url(""),
        site.display()
    ));
    assert!(output.code == 1 && output.err.contains("neither src/contrib/PACKAGES nor"), "{}", output.err);
}

#[test]
fn a_damaged_file_with_its_size_and_time_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = mirror(dir.path());
    let server = r_server(&mirror);
    let (site, next_site) = (dir.path().join("site"), dir.path().join("next"));
    export(&server, "prod", &site, "");
    let files = tree(&site);
    let paths = ["src/contrib/Archive/alpha/alpha_1.0.tar.gz", "src/contrib/beta_1.0.tar.gz"];
    let damage = || {
        for path in paths.map(|path| site.join(path)) {
            let time = path.metadata().unwrap().modified().unwrap();
            let size = std::fs::read(&path).unwrap().len();
            std::fs::write(&path, vec![0; size]).unwrap();
            File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    };
    until("the server states the digests, which it records soon after it has fetched the files", || {
        paths.iter().all(|path| {
            let answer = server.get(&format!("/prod/latest/{path}"));
            answer.header("etag").is_some_and(|etag| etag.trim_matches('"').len() == 64)
        })
    });
    damage();
    export(&server, "prod", &next_site, &format!("--hardlink={}", site.display()));
    assert!(tree(&next_site) == files);
    let inode = |path: &Path| path.metadata().unwrap().ino();
    assert!(paths.iter().all(|path| inode(&site.join(path)) != inode(&next_site.join(path))));
    let message = export(&server, "prod", &site, "");
    assert!(message.contains("8 files, 2 of them written"), "{message}");
    assert!(tree(&site) == files);
}

#[test]
fn a_repository_without_packages_is_exported_and_old_files_are_removed() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1")]);
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    export(&server, "team", &site, "");
    let packages = |site: &Path| tree(site).into_keys().filter(|path| path.ends_with(".tar.gz")).count();
    assert_eq!(packages(&site), 2);
    server.rspm_stdout("remove package --source=team --name=alpha@all");
    export(&server, "team", &site, "--prune");
    assert_eq!(packages(&site), 0);
    let index = "src/contrib/PACKAGES";
    let served = server.get(&format!("/team/latest/{index}"));
    assert_eq!((served.status, std::fs::read(site.join(index)).unwrap()), (200, served.body));
    // The list of an import is empty, too; of a mirror, such an index is refused.
    assert!(list(&["from-cran", site.to_str().unwrap()]).is_empty());
    let output = get_cran(&server.url("/team/latest"), &dir.path().join("bundle"), &[]);
    assert!(output.code == Some(1) && output.err.contains("the index lists no package"), "{}", output.err);
}

#[test]
fn a_folder_has_one_export_which_removes_the_temporary_files_of_others() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    export(&server, "team", &site, "");
    let files = tree(&site);
    for path in [".tmp-abc", "src/.tmp-abc", "src/contrib/.tmp-abc"] {
        std::fs::write(site.join(path), "a part").unwrap();
    }
    let folder = File::open(&site).unwrap();
    folder.lock().unwrap();
    let output = export_from(&server.url(""), &server, "team", &site, "");
    assert!(output.code == 1 && output.err.contains("another rspm-offline-downloader"), "{}", output.err);
    assert!(site.join(".tmp-abc").exists());
    drop(folder);
    export(&server, "team", &site, "");
    assert!(tree(&site) == files);
}

#[test]
fn pip_and_uv_install_from_the_files_of_a_repository() {
    let pypi = Pypi::start();
    let lib = Package::new("Odd.Lib", "1.0");
    let app = Package::new("app", "1.0").requires("odd_lib>=1");
    pypi.add("app", &app.wheel_name(), &app.wheel(), "2020-01-01T00:00:00Z");
    pypi.add("odd-lib", &lib.wheel_name(), &lib.wheel(), "2020-01-02T00:00:00Z");
    pypi.add("odd-lib", &lib.sdist_name(), &lib.sdist(), "2020-01-03T00:00:00Z");
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    // Names of METADATA are on a page once the wheels were read.
    export(&server, "py", &site, "");
    let message = export(&server, "py", &site, "--prune");
    let files = tree(&site);
    assert!(message.contains("of them written") && files.contains_key("simple/index.html"), "{message}");
    for name in [
        "simple/app/index.html",
        "simple/app/index.v1_json",
        "simple/odd-lib/index.html",
        "simple/index.v1_json",
    ] {
        assert!(files.contains_key(name), "{name}: {:?}", files.keys());
    }
    let before = times(&site);
    assert!(export(&server, "py", &site, "").contains(" 0 of them written"));
    assert_eq!(times(&site), before);
    let wheel = before.iter().find(|(path, _)| path.ends_with("/app-1.0-py3-none-any.whl")).expect("a wheel");
    assert_eq!(*wheel.1, "2020-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second());

    let web =
        Nginx::start(&format!("root {}; index index.html; types {{ text/html html; }}", site.display()));
    let index = format!("{}/simple/", web.url());
    let mut pip = command(&server, &program("pip-newest", "python"), "pip");
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--target",
        "installed",
        "-i",
        &index,
        "app",
    ]);
    let output = run_client(pip);
    assert!(output.status.success(), "{}", text(&output));
    let mut uv = command(&server, &program("uv", "uv"), "uv");
    uv.args(["pip", "install", "--target", "installed", "--default-index", &index, "app"]);
    let output = run_client(uv);
    assert!(output.status.success(), "{}", text(&output));
    for client in ["pip", "uv"] {
        let folder = server.dir().join(client).join("installed");
        assert_eq!(installed_version(&folder, "odd_lib").as_deref(), Some("1.0"), "{client}");
    }

    // With upload times in the folder, with those of the files over HTTP: the same files and times.
    let expected = |exact: &str| {
        [
            ("01", "app-1.0-py3-none-any.whl"),
            ("02", "odd_lib-1.0-py3-none-any.whl"),
            ("03", "odd_lib-1.0.tar.gz"),
        ]
        .map(|(day, file)| format!("2020-01-{day}T00:00:00Z add {file} {exact}"))
    };
    assert_eq!(lines(&list(&["from-index", &file_url(&site)])), expected("upload-time"));
    assert_eq!(lines(&list(&["from-index", &web.url()])), expected("Last-Modified"));
    assert_eq!(lines(&list(&["from-folder", site.to_str().unwrap()])), expected("mtime"));
}

#[test]
fn an_export_needs_the_address_of_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("site");
    let run = |url: &str| run(&["export-files", "--base-url", url, "--to", to.to_str().unwrap()]);
    let ProcessOutput { code, err, .. } = run("ftp://h/prod");
    assert!(code == Some(2) && err.contains("--base-url"), "{err}");
    let ProcessOutput { code, err, .. } = run("http://me:secret@127.0.0.1:1/prod/latest");
    assert!(code == Some(1) && !err.contains("secret"), "{err}");
    let web = Nginx::start("location /denied { return 401; }");
    let err = run(&format!("{}/denied/latest", web.url())).err;
    assert!(err.contains("401 Unauthorized") && err.contains("set PACKAGEMANAGER_TOKEN to a token"), "{err}");
    let err = run(&format!("{}/nope/latest", web.url())).err;
    assert!(err.contains("/nope/latest has neither") && err.contains("rspm list repos"), "{err}");
    assert!(!to.exists());
}

#[test]
fn pages_of_several_projects_are_requested_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (active_requests, most_requests) = (Arc::clone(&active), Arc::clone(&most));
    let index = Listener::open(move |mut stream: &TcpStream| {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let is_json = head.iter().any(|line| line.contains("json"));
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path.starts_with("/r/simple/p") {
            most_requests.fetch_max(active_requests.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(200));
            active_requests.fetch_sub(1, Ordering::SeqCst);
        }
        let meta = json!({ "api-version": "1.0" });
        let (status, body) = match (path.trim_matches('/').split_at_checked("r/simple".len()), is_json) {
            (Some(("r/simple", "")), true) => {
                let names = ["p1", "p2", "p3", "p4"].map(|name| json!({ "name": name }));
                (200, json!({ "meta": meta, "projects": names }).to_string())
            }
            (Some(("r/simple", name)), true) => {
                (200, json!({ "meta": meta, "name": name.trim_matches('/'), "files": [] }).to_string())
            }
            (Some(("r/simple", _)), false) => (200, "<!DOCTYPE html><title>Links</title>".to_owned()),
            _ => (404, String::new()),
        };
        let kind = if is_json { "application/vnd.pypi.simple.v1+json" } else { "text/html" };
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    });
    let url = format!("http://{}/r", index.address);
    let to = dir.path().join("site");
    let output = run(&["export-files", "--base-url", &url, "--to", to.to_str().unwrap()]);
    assert_eq!(output.code, Some(0), "{}{}", output.out, output.err);
    assert_eq!(tree(&to).len(), 10, "two pages of four projects, and the list");
    assert!(most.load(Ordering::SeqCst) > 1 && active.load(Ordering::SeqCst) == 0);
}

#[test]
fn an_export_of_r_packages_is_of_one_state() {
    let server = Arc::new(Server::start());
    server.local_repository("team", &["stay", "p0"].map(|name| Tarball::new(name, "1.0")));
    let number = Arc::new(AtomicUsize::new(0));
    let change = move |server: &Server| {
        let old = number.fetch_add(1, Ordering::SeqCst);
        server.add("team", &Tarball::new(&format!("p{}", old + 1), "1.0"));
        server.rspm_stdout(&format!("remove package --source=team --name=p{old}@all"));
    };
    export_while_changing(&server, "team", change.clone(), |files| {
        let index = String::from_utf8_lossy(&files["src/contrib/PACKAGES"]);
        let mut text = String::new();
        let compressed = files["src/contrib/PACKAGES.gz"].as_slice();
        flate2::read::MultiGzDecoder::new(compressed).read_to_string(&mut text).unwrap();
        assert_eq!(text, index);
        let records = records(&index);
        assert_eq!(records.len(), 2, "{index}");
        for record in records {
            let file = format!("src/contrib/{}_{}.tar.gz", record["Package"], record["Version"]);
            assert!(files.contains_key(&file), "{file}: {:?}", files.keys());
        }
    });

    // Without a pause there is no state to export.
    let (listener, _) = changing(&server, |number| number % 4 == 0, change);
    let dir = tempfile::tempdir().unwrap();
    let output = export_from(&format!("http://{}", listener.address), &server, "team", dir.path(), "");
    assert!(output.code == 1 && output.err.contains("changed while it was exported"), "{}", output.err);
    let files = tree(dir.path());
    assert!(!files.is_empty() && !files.keys().any(|path| path.contains("PACKAGES")), "{:?}", files.keys());
}

#[test]
fn an_export_of_python_packages_is_of_one_state() {
    let server = Arc::new(Server::start());
    package::repository(&server);
    package::add(&server, "team", &Package::new("stay", "1.0"));
    package::add(&server, "team", &Package::new("p0", "1.0"));
    let number = Arc::new(AtomicUsize::new(0));
    let change = move |server: &Server| {
        let old = number.fetch_add(1, Ordering::SeqCst);
        package::add(server, "team", &Package::new(&format!("p{}", old + 1), "1.0"));
        package::add(server, "team", &Package::new("stay", &format!("1.{}", old + 1)));
        server.rspm_stdout(&format!("remove package --source=team --name=p{old}@all"));
        server.rspm_stdout(&format!("remove package --source=team --name=stay@1.{old}"));
    };
    // The addresses of a page without their fragments.
    let links = |page: &[u8]| -> BTreeSet<String> {
        let page = String::from_utf8_lossy(page);
        let links = page.split("href=\"").skip(1).filter_map(|link| link.split(['"', '#']).next());
        links.map(str::to_owned).collect()
    };
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let json = |bytes: &[u8]| -> serde_json::Value { serde_json::from_slice(bytes).expect("JSON") };
    export_while_changing(&server, "py", change, |files| {
        let list = json(&files["simple/index.v1_json"]);
        let names = list["projects"].as_array().expect("projects").iter();
        let names: BTreeSet<String> = names.map(|project| text(&project["name"])).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let listed = links(&files["simple/index.html"]);
        for name in &names {
            assert!(listed.iter().any(|link| link.contains(name.as_str())), "{name}: {listed:?}");
            let page = json(&files[&format!("simple/{name}/index.v1_json")]);
            let page_files = page["files"].as_array().expect("files").iter();
            let urls: BTreeSet<String> = page_files.map(|file| text(&file["url"])).collect();
            assert_eq!(urls, links(&files[&format!("simple/{name}/index.html")]), "{name}");
            assert_eq!(urls.len(), 1, "{name}: {urls:?}");
            for url in urls {
                let path = url.trim_start_matches("../");
                assert!(files.contains_key(path), "{url}: {:?}", files.keys());
            }
        }
        assert_eq!(listed.len(), names.len(), "{listed:?}");
    });
}
