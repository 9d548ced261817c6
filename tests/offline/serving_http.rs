//! A server that serves from a bundle behind a web server that knows nothing of bundles.

use std::path::Path;

use crate::support::data;
use crate::support::downloader::{got_cran, run, tree};
use crate::support::fixtures::until;
use crate::support::mirror_dir::{Shelf, file_url};
use crate::support::nginx::Nginx;
use crate::support::server::{Builder, Server};

fn server(url: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {url}")).start();
    server.told("create repo --name=prod");
    server.told("subscribe --repo=prod --source=cran");
    server
}

fn stored(server: &Server, folder: &str) -> usize {
    let folder = server.dir().join("data").join(folder);
    tree(&folder).into_keys().filter(|path| path.len() > 64).count()
}

const WINDOWS: [&str; 5] = ["--include-binaries", "--r-versions", "4.5", "--distributions", "windows"];

#[test]
fn a_bundle_behind_any_web_server_is_as_good_as_its_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, cran) = (file_url(&data::path("cran-mirror").canonicalize().unwrap()), data::cran());
    let bundle = dir.path().join("data");
    got_cran(&mirror, &bundle, &WINDOWS);
    let web = Nginx::files(&bundle);
    let (mut remote, from_mirror) = (server(&web.url()), server(&mirror));
    let told = remote.sync().expect("a bundle");
    assert!(told.contains(&cran.added()) && told.contains("binaries were synced"), "{told}");
    from_mirror.sync().expect("a mirror");
    let same = |remote: &Server, file: &str| {
        let path = format!("/prod/latest/src/contrib/{file}");
        let (ours, theirs) = (remote.get(&path), from_mirror.get(&path));
        assert_eq!((ours.status, ours.body == theirs.body), (200, true), "{file}: {}", theirs.status);
    };
    for file in ["PACKAGES", "Meta/archive.rds", "Meta/current.rds", cran.file("R6")] {
        same(&remote, file);
    }
    until("what is fetched is stored", || stored(&remote, "cran") == 1);
    assert!(remote.sync().expect("a bundle").contains("up to date"));
    // After a restart nobody has asked yet what it is: files are found by their digests, and nothing else is read.
    remote.restart();
    let before = segment_reads(&web, &bundle);
    same(&remote, &format!("Archive/R6/{}", cran.older("R6")[0]));
    same(&remote, cran.file("rlang"));
    let path = format!("bin/windows/contrib/4.5/{}", cran.build("glue"));
    let build = remote.get(&format!("/prod/latest/{path}"));
    let original = data::path("cran-mirror").join(path);
    assert_eq!((build.status, build.body == std::fs::read(original).unwrap()), (200, true));
    assert_eq!(segment_reads(&web, &bundle), before);
}

/// How often segments were asked for.
fn segment_reads(web: &Nginx, bundle: &Path) -> usize {
    let segments = tree(bundle).into_keys().filter(|path| path.contains("/log/"));
    segments.map(|path| web.requests(&format!("/{path}"))).sum()
}

#[test]
fn its_history_and_what_is_new_come_over_http_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.simple("beta", "1.0", "2020-02-01");
    shelf.simple("alpha", "1.1", "2020-03-01");
    shelf.write();
    let bundle = dir.path().join("bundle");
    got_cran(&shelf.url(), &bundle, &[]);
    let web = Nginx::files(&bundle);
    let server = server(&web.url());
    server.sync().expect("a bundle");
    server.told("backfill --source=cran --since=2020-01-01");
    let old = server.get("/prod/2020-01-15/src/contrib/PACKAGES").text();
    assert!(old.contains("Version: 1.0") && !old.contains("beta"), "{old}");
    assert_eq!(server.get("/prod/2020-01-15/src/contrib/alpha_1.0.tar.gz").status, 200);
    shelf.simple("gamma", "1.0", "2020-04-01");
    shelf.write();
    got_cran(&shelf.url(), &bundle, &[]);
    server.sync().expect("what is new");
    assert_eq!(server.get("/prod/latest/src/contrib/gamma_1.0.tar.gz").status, 200);
    // A mirror that takes its place is one.
    std::fs::remove_dir_all(&bundle).unwrap();
    shelf.simple("delta", "1.0", "2020-05-01");
    shelf.write();
    let copied = std::process::Command::new("cp").arg("-r").arg(&shelf.root).arg(&bundle).status();
    assert!(copied.expect("cp").success());
    server.sync().expect_err("the bundle is gone");
    server.sync().expect("a mirror");
    assert_eq!(server.get("/prod/latest/src/contrib/delta_1.0.tar.gz").status, 200);
}

#[test]
fn bioconductor_comes_over_http_too() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = file_url(&data::path("bioc-mirror").canonicalize().unwrap());
    let bundle = dir.path().join("data");
    let to = bundle.to_str().unwrap();
    let got =
        run(&["get", "bioconductor", "--base-url", &mirror, "--destination", to, "--versions", "3.16,3.20"]);
    assert_eq!(got.code, Some(0), "{}", got.err);
    let web = Nginx::files(&bundle);
    let server = Builder::default().gcfg(&format!("[Bioconductor]\nURL = {}", web.url())).start();
    server.told("create repo --name=bioc --type=bioconductor");
    server.sync_of("bioconductor").expect("a bundle");
    for file in
        ["packages/3.20/bioc/src/contrib/Biobase_2.66.0.tar.gz", "packages/3.16/bioc/src/contrib/PACKAGES"]
    {
        assert_eq!(server.get(&format!("/bioc/{file}")).status, 200, "{file}");
    }
    let again = server.sync_of("bioconductor").expect("a bundle");
    assert!(again.starts_with("2 versions of Bioconductor are up to date"), "{again}");
}

#[test]
fn rules_of_a_bundle_come_over_http_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.write();
    let bundle = dir.path().join("bundle");
    let rules = file_url(&data::path("sysreqs").canonicalize().unwrap());
    got_cran(&shelf.url(), &bundle, &["--requirements-url", &rules]);
    let web = Nginx::files(&bundle);
    let gcfg = format!("[SystemRequirements]\nURL = {}/sysreqs", web.url());
    let server = Builder::default().gcfg(&gcfg).start();
    let told = server.sync_of("sysreqs").expect("rules");
    assert!(told.contains("rules of system requirements are in force now"), "{told}");
    assert!(server.sync_of("sysreqs").expect("the same").contains("are up to date"));
}
