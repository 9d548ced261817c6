//! A server that serves Bioconductor from a bundle in a directory.

use crate::support::downloader::run;
use crate::support::server::{Builder, Server};
use crate::support::{data, shelf};

/// A server on that mirror or bundle, synced, with the repository `bioc`.
fn server(url: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[Bioconductor]\nURL = {url}")).start();
    server.told("create repo --name=bioc --type=bioconductor");
    server.sync_of("bioconductor").expect("it can be read");
    server
}

#[test]
fn a_bundle_of_two_versions_is_served_as_its_mirror_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let mirror = shelf::file_url(&data::path("bioc-mirror").canonicalize().expect("it is there"));
    let bundle = dir.path().join("data");
    let to = bundle.to_str().expect("UTF-8");
    let got =
        run(&["get", "bioconductor", "--base-url", &mirror, "--destination", to, "--versions", "3.16,3.20"]);
    assert_eq!(got.code, Some(0), "{}\n{}", got.out, got.err);
    let (from_bundle, from_mirror) = (server(&shelf::file_url(&bundle)), server(&mirror));
    let get = |server: &Server, path: &str| {
        let answer = server.get(&format!("/bioc/{path}"));
        (answer.status, answer.body)
    };
    for path in [
        "config.yaml",
        "packages/3.16/bioc/src/contrib/PACKAGES",
        "packages/3.20/bioc/src/contrib/PACKAGES",
        "packages/3.20/data/annotation/src/contrib/PACKAGES",
        "packages/3.16/bioc/src/contrib/XVector_0.38.0.tar.gz",
        "packages/3.20/bioc/src/contrib/Biobase_2.66.0.tar.gz",
    ] {
        let (ours, theirs) = (get(&from_bundle, path), get(&from_mirror, path));
        assert!(
            ours.0 == 200 && ours == theirs,
            "{path}: {} {}",
            ours.0,
            String::from_utf8_lossy(&ours.1).chars().take(500).collect::<String>()
        );
    }
    let again = from_bundle.sync_of("bioconductor").expect("a bundle");
    assert!(again.starts_with("2 versions of Bioconductor are up to date"), "{again}");
}
