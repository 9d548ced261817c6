//! READMEs of packages that a server reads from a bundle.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::downloader::{must_get_cran, run, tree};
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn server(bundle: &Path) -> Server {
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", file_url(bundle))).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.sync().expect("a bundle");
    server
}

/// The README in the package detail: its kind and its text.
fn readme(server: &Server, package: &str) -> (Option<String>, Option<String>) {
    let answer = server.get(&format!("/__api__/repos/prod/packages/{package}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let detail = answer.json();
    let text = |key: &str| detail[key].as_str().map(str::to_owned);
    (text("readme"), text("readme_data"))
}

fn markdown(text: &str) -> (Option<String>, Option<String>) {
    (Some("md".to_owned()), Some(text.to_owned()))
}

/// The bundle's files of READMEs.
fn readme_files(bundle: &Path) -> Vec<PathBuf> {
    let is_readme_file = |path: &String| path.starts_with("v3/1/doc/");
    let readme_files: Vec<PathBuf> =
        tree(bundle).into_keys().filter(is_readme_file).map(|path| bundle.join(path)).collect();
    assert!(!readme_files.is_empty(), "{:?}", tree(bundle).into_keys().collect::<Vec<_>>());
    readme_files
}

fn mirror_and_bundle(dir: &Path) -> (MirrorDir, PathBuf) {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-02-01");
    mirror.publish(&Tarball::new("silent", "1.0"), "2020-02-02");
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.write();
    let bundle = dir.join("bundle");
    must_get_cran(&mirror.url(), &bundle, &[]);
    (mirror, bundle)
}

#[test]
fn a_package_that_was_never_fetched_shows_its_readme() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, bundle) = mirror_and_bundle(dir.path());
    let server = server(&bundle);
    assert_eq!(readme(&server, "alpha"), markdown("# alpha 1.1\n"));
    assert_eq!(readme(&server, "alpha?version=1.0"), markdown("# alpha 1.0\n"), "an archived release");
    assert_eq!(readme(&server, "silent"), (None, None));
    // A later state has new and old READMEs.
    mirror.simple("alpha", "1.2", "2020-04-01");
    mirror.write();
    must_get_cran(&mirror.url(), &bundle, &[]);
    server.sync().expect("the new state");
    assert_eq!(readme(&server, "alpha"), markdown("# alpha 1.2\n"));
    assert_eq!(readme(&server, "alpha?version=1.1"), markdown("# alpha 1.1\n"));
    assert_eq!(readme(&server, "beta"), markdown("# beta 1.0\n"));
    let copies = tree(&server.dir().join("data")).into_keys().filter(|path| path.starts_with("v3/1/doc/"));
    assert_eq!(copies.collect::<Vec<_>>(), [""; 0], "there is no second copy");
}

#[test]
fn a_damaged_file_of_readmes_logs_a_warning_and_packages_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let (_, bundle) = mirror_and_bundle(dir.path());
    let server = server(&bundle);
    let files = readme_files(&bundle);
    let originals: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, bytes) in files.iter().zip(&originals) {
        let mut changed_bytes = bytes.clone();
        changed_bytes[bytes.len() / 2] ^= 1;
        fs::write(file, changed_bytes).unwrap();
    }
    assert_eq!(readme(&server, "beta"), (None, None));
    server.wait_for_log("could not read READMEs of the bundle; packages are listed without them");
    server.wait_for_log("its sha256 is not the one in the head");
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    assert_eq!(readme(&server, "beta"), (None, None), "missing files");
    for (file, bytes) in files.iter().zip(&originals) {
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(readme(&server, "beta"), markdown("# beta 1.0\n"), "it is shown again without a restart");
    assert_eq!(server.get("/prod/latest/src/contrib/beta_1.0.tar.gz").status, 200);
}

#[test]
fn packages_of_bioconductor_show_their_readmes() {
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
    let (url, destination) = (file_url(&mirror), bundle.to_str().unwrap());
    let result =
        run(&["get", "bioconductor", "--base-url", &url, "--destination", destination, "--versions", "3.16"]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let server = Builder::default().gcfg(&format!("[Bioconductor]\nURL = {}", file_url(&bundle))).start();
    server.rspm_stdout("create repo --name=prod --type=bioconductor");
    server.sync_of("bioconductor").expect("a bundle");
    assert_eq!(readme(&server, "readable"), markdown("# Read me\n"));
}
