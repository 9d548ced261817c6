//! The READMEs of packages that a server has in a bundle, and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::downloader::{got_cran, run, tree};
use crate::support::mirror_dir::{Shelf, file_url};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn server(bundle: &Path) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", file_url(bundle))).start();
    server.told("create repo --name=prod");
    server.told("subscribe --repo=prod --source=cran");
    server.sync().expect("a bundle");
    server
}

/// What package detail shows: the kind of README, and its text.
fn readme(server: &Server, package: &str) -> (Option<String>, Option<String>) {
    let told = server.get(&format!("/__api__/repos/prod/packages/{package}"));
    assert_eq!(told.status, 200, "{}", told.text());
    let told = told.json();
    let text = |key: &str| told[key].as_str().map(str::to_owned);
    (text("readme"), text("readme_data"))
}

fn shown(text: &str) -> (Option<String>, Option<String>) {
    (Some("md".to_owned()), Some(text.to_owned()))
}

/// The files of READMEs.
fn packs(bundle: &Path) -> Vec<PathBuf> {
    let named = |path: &String| path.starts_with("v3/1/doc/");
    let found: Vec<PathBuf> = tree(bundle).into_keys().filter(named).map(|path| bundle.join(path)).collect();
    assert!(!found.is_empty(), "{:?}", tree(bundle).into_keys().collect::<Vec<_>>());
    found
}

fn made(dir: &Path) -> (Shelf, PathBuf) {
    let mut shelf = Shelf::new(dir.join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.simple("beta", "1.0", "2020-02-01");
    shelf.publish(&Tarball::new("silent", "1.0"), "2020-02-02");
    shelf.simple("alpha", "1.1", "2020-03-01");
    shelf.write();
    let bundle = dir.join("bundle");
    got_cran(&shelf.url(), &bundle, &[]);
    (shelf, bundle)
}

#[test]
fn a_package_that_was_never_fetched_shows_its_readme() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, bundle) = made(dir.path());
    let server = server(&bundle);
    assert_eq!(readme(&server, "alpha"), shown("# alpha 1.1\n"));
    assert_eq!(readme(&server, "alpha?version=1.0"), shown("# alpha 1.0\n"), "archived ones too");
    assert_eq!(readme(&server, "silent"), (None, None));
    // What comes later is found beside what was there.
    shelf.simple("alpha", "1.2", "2020-04-01");
    shelf.write();
    got_cran(&shelf.url(), &bundle, &[]);
    server.sync().expect("the new state");
    assert_eq!(readme(&server, "alpha"), shown("# alpha 1.2\n"));
    assert_eq!(readme(&server, "alpha?version=1.1"), shown("# alpha 1.1\n"));
    assert_eq!(readme(&server, "beta"), shown("# beta 1.0\n"));
    let kept = tree(&server.dir().join("data")).into_keys().filter(|path| path.starts_with("v3/1/doc/"));
    assert_eq!(kept.collect::<Vec<_>>(), [""; 0], "there is no second copy");
}

#[test]
fn a_damaged_file_of_readmes_gives_none_and_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = made(dir.path());
    let server = server(&bundle);
    let files = packs(&bundle);
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, bytes) in files.iter().zip(&whole) {
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        fs::write(file, flipped).unwrap();
    }
    assert_eq!(readme(&server, "beta"), (None, None));
    server.wait_for_log("could not read READMEs of the bundle; packages are shown without them");
    server.wait_for_log("its sha256 is not the one in the head");
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    assert_eq!(readme(&server, "beta"), (None, None), "missing ones");
    for (file, bytes) in files.iter().zip(&whole) {
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(readme(&server, "beta"), shown("# beta 1.0\n"), "mended without a restart");
    assert_eq!(server.get("/prod/latest/src/contrib/beta_1.0.tar.gz").status, 200);
}

#[test]
fn packages_of_bioconductor_show_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = dir.path().join("mirror");
    crate::clients::bioconductor::mirror(&mirror, "4.4");
    let contrib = mirror.join("packages/3.16/bioc/src/contrib");
    let package = Tarball::new("readable", "1.0").with("README.md", "# Read me\n");
    fs::write(contrib.join(package.file()), package.bytes()).unwrap();
    let index = fs::read_to_string(contrib.join("PACKAGES")).unwrap();
    let record = "\nPackage: readable\nVersion: 1.0\nLicense: MIT\nNeedsCompilation: no\n";
    fs::write(contrib.join("PACKAGES"), index + record).unwrap();
    for other in ["PACKAGES.gz", "PACKAGES.rds"] {
        let _ = fs::remove_file(contrib.join(other));
    }
    let bundle = dir.path().join("data");
    let (from, to) = (file_url(&mirror), bundle.to_str().unwrap());
    let got = run(&["get", "bioconductor", "--base-url", &from, "--destination", to, "--versions", "3.16"]);
    assert_eq!(got.code, Some(0), "{}", got.err);
    let server = Builder::default().gcfg(&format!("[Bioconductor]\nURL = {}", file_url(&bundle))).start();
    server.told("create repo --name=prod --type=bioconductor");
    server.sync_of("bioconductor").expect("a bundle");
    assert_eq!(readme(&server, "readable"), shown("# Read me\n"));
}
