//! A server that serves from a bundle behind a static web server.

use std::path::Path;

use crate::support::data;
use crate::support::downloader::{must_get_cran, run, tree};
use crate::support::fixtures::until;
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::nginx::Nginx;
use crate::support::server::{Builder, Server};

fn server(url: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {url}")).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server
}

fn stored_files(server: &Server, folder: &str) -> usize {
    let folder = server.dir().join("data").join(folder);
    tree(&folder).into_keys().filter(|path| path.len() > 64).count()
}

const WINDOWS: [&str; 5] = ["--include-binaries", "--r-versions", "4.5", "--distributions", "windows"];

#[test]
fn a_bundle_behind_a_static_web_server_is_served_with_the_content_of_the_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, cran) = (file_url(&data::path("cran-mirror").canonicalize().unwrap()), data::cran());
    let bundle = dir.path().join("data");
    must_get_cran(&mirror, &bundle, &WINDOWS);
    let web = Nginx::files(&bundle);
    let (mut bundle_server, mirror_server) = (server(&web.url()), server(&mirror));
    let message = bundle_server.sync().expect("a bundle");
    assert!(message.contains(&cran.added_message()) && message.contains("binaries were synced"), "{message}");
    mirror_server.sync().expect("a mirror");
    let assert_same = |bundle_server: &Server, file: &str| {
        let path = format!("/prod/latest/src/contrib/{file}");
        let (bundle_answer, mirror_answer) = (bundle_server.get(&path), mirror_server.get(&path));
        assert_eq!(
            (bundle_answer.status, bundle_answer.body == mirror_answer.body),
            (200, true),
            "{file}: {}",
            mirror_answer.status
        );
    };
    for file in ["PACKAGES", "Meta/archive.rds", "Meta/current.rds", cran.file("R6")] {
        assert_same(&bundle_server, file);
    }
    until("the fetched file is stored", || stored_files(&bundle_server, "cran") == 1);
    assert!(bundle_server.sync().expect("a bundle").contains("up to date"));
    // After a restart files are found by their digests before the bundle is read, and no segment is read.
    bundle_server.restart();
    let read_count = segment_reads(&web, &bundle);
    assert_same(&bundle_server, &format!("Archive/R6/{}", cran.archived_files("R6")[0]));
    assert_same(&bundle_server, cran.file("rlang"));
    let path = format!("bin/windows/contrib/4.5/{}", cran.binary("glue"));
    let binary = bundle_server.get(&format!("/prod/latest/{path}"));
    let original = data::path("cran-mirror").join(path);
    assert_eq!((binary.status, binary.body == std::fs::read(original).unwrap()), (200, true));
    assert_eq!(segment_reads(&web, &bundle), read_count);
}

/// The number of requests for segments.
fn segment_reads(web: &Nginx, bundle: &Path) -> usize {
    let segments = tree(bundle).into_keys().filter(|path| path.contains("/log/"));
    segments.map(|path| web.requests(&format!("/{path}"))).sum()
}

#[test]
fn history_and_new_packages_are_served_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-02-01");
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.write();
    let bundle = dir.path().join("bundle");
    must_get_cran(&mirror.url(), &bundle, &[]);
    let web = Nginx::files(&bundle);
    let server = server(&web.url());
    server.sync().expect("a bundle");
    server.rspm_stdout("backfill --source=cran --since=2020-01-01");
    let old_index = server.get("/prod/2020-01-15/src/contrib/PACKAGES").text();
    assert!(old_index.contains("Version: 1.0") && !old_index.contains("beta"), "{old_index}");
    assert_eq!(server.get("/prod/2020-01-15/src/contrib/alpha_1.0.tar.gz").status, 200);
    mirror.simple("gamma", "1.0", "2020-04-01");
    mirror.write();
    must_get_cran(&mirror.url(), &bundle, &[]);
    server.sync().expect("the new state");
    assert_eq!(server.get("/prod/latest/src/contrib/gamma_1.0.tar.gz").status, 200);
    // A mirror that replaces the bundle is recognized.
    std::fs::remove_dir_all(&bundle).unwrap();
    mirror.simple("delta", "1.0", "2020-05-01");
    mirror.write();
    let status = std::process::Command::new("cp").arg("-r").arg(&mirror.root).arg(&bundle).status();
    assert!(status.expect("cp").success());
    server.sync().expect_err("the bundle is missing");
    server.sync().expect("a mirror");
    assert_eq!(server.get("/prod/latest/src/contrib/delta_1.0.tar.gz").status, 200);
}

#[test]
fn bioconductor_is_served_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = file_url(&data::path("bioc-mirror").canonicalize().unwrap());
    let bundle = dir.path().join("data");
    let destination = bundle.to_str().unwrap();
    let result = run(&[
        "get",
        "bioconductor",
        "--base-url",
        &mirror,
        "--destination",
        destination,
        "--versions",
        "3.16,3.20",
    ]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let web = Nginx::files(&bundle);
    let server = Builder::default().gcfg(&format!("[Bioconductor]\nURL = {}", web.url())).start();
    server.rspm_stdout("create repo --name=bioc --type=bioconductor");
    server.sync_of("bioconductor").expect("a bundle");
    for file in [&*data::bioconductor_file("3.20", "Biobase"), "packages/3.16/bioc/src/contrib/PACKAGES"] {
        assert_eq!(server.get(&format!("/bioc/{file}")).status, 200, "{file}");
    }
    let message = server.sync_of("bioconductor").expect("a bundle");
    assert!(message.starts_with("2 versions of Bioconductor are up to date"), "{message}");
}

#[test]
fn rules_of_a_bundle_are_read_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.write();
    let bundle = dir.path().join("bundle");
    let rules = file_url(&data::path("sysreqs").canonicalize().unwrap());
    must_get_cran(&mirror.url(), &bundle, &["--requirements-url", &rules]);
    let web = Nginx::files(&bundle);
    let gcfg = format!("[SystemRequirements]\nURL = {}/sysreqs", web.url());
    let server = Builder::default().gcfg(&gcfg).start();
    let message = server.sync_of("sysreqs").expect("rules");
    assert!(message.contains("rules for system requirements are in use now"), "{message}");
    assert!(server.sync_of("sysreqs").expect("the same").contains("are up to date"));
}
